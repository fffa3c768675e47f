//! A head becomes a part: its chunks are copied as they are, late samples are merged in.

use super::codec;
use super::gorilla;
use super::head::{BlobKind, Head, TimedBlob};
use super::part::format::PartInfo;
use super::part::{ChunkMeta, PartStats, PartWriter};
use super::series_source;
use std::io;
use std::path::Path;

/// Samples of a chunk that is encoded here.
const CHUNK_SAMPLES: usize = 4096;
/// Histograms and exemplars of a chunk, and their bytes: far below what a chunk may hold.
const CHUNK_BLOBS: usize = 1024;
const CHUNK_BLOB_BYTES: usize = 1 << 20;

/// Writes all that a head holds as one part.
///
/// # Errors
/// The disk refuses, or a chunk of the head does not decode, which no input can bring about.
pub fn write_part(head: &Head, path: &Path, info: &PartInfo) -> io::Result<PartStats> {
    let mut writer = PartWriter::create(path)?;
    let mut buffer = Vec::new();
    for id in head.ids() {
        let copied = head.ordered_chunks(id, &mut buffer, |min_ts, max_ts, count, bytes| {
            let meta = ChunkMeta { min_ts, max_ts, count: count as u32, encoding: codec::GORILLA };
            writer.add_chunk(id, &meta, bytes)
        });
        match copied {
            Some(result) => result?,
            None => write_merged(head, id, &mut writer, &mut buffer)?,
        }
        write_blobs(head, id, &mut writer)?;
    }
    writer.finish(info)
}

/// Chunks of a series whose late samples overlap the others.
fn write_merged(
    head: &Head,
    id: u32,
    writer: &mut PartWriter,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    head.read(id, i64::MIN, i64::MAX, &mut ts, &mut values).map_err(io::Error::other)?;
    // Stable, so that of equal times the last one written stays last.
    let mut order: Vec<usize> = (0..ts.len()).collect();
    order.sort_by_key(|i| ts[*i]);
    let last_of_its_time = |w: usize| order.get(w + 1).is_none_or(|next| ts[*next] != ts[order[w]]);
    let kept: Vec<usize> =
        (0..order.len()).filter(|w| last_of_its_time(*w)).map(|w| order[w]).collect();
    for chunk in kept.chunks(CHUNK_SAMPLES) {
        let chunk_ts: Vec<i64> = chunk.iter().map(|i| ts[*i]).collect();
        let chunk_values: Vec<f64> = chunk.iter().map(|i| values[*i]).collect();
        buffer.clear();
        gorilla::encode(&chunk_ts, &chunk_values, buffer);
        let meta = ChunkMeta {
            min_ts: chunk_ts[0],
            max_ts: chunk_ts[chunk_ts.len() - 1],
            count: chunk.len() as u32,
            encoding: codec::GORILLA,
        };
        writer.add_chunk(id, &meta, buffer)?;
    }
    Ok(())
}

/// How many of the blobs, at least one, make the next chunk.
fn chunk_length(blobs: &[TimedBlob]) -> usize {
    let mut bytes = 0;
    let fits = |(_, blob): &&TimedBlob| {
        bytes += blob.len();
        bytes <= CHUNK_BLOB_BYTES
    };
    blobs.iter().take(CHUNK_BLOBS).take_while(fits).count().max(1)
}

fn write_blobs(head: &Head, id: u32, writer: &mut PartWriter) -> io::Result<()> {
    let mut buffer = Vec::new();
    for kind in [BlobKind::Histogram, BlobKind::Exemplar] {
        let mut blobs = head.blobs(id, kind).to_vec();
        series_source::order_blobs(kind, &mut blobs);
        let mut rest = blobs.as_slice();
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(chunk_length(rest));
            rest = later;
            let meta = ChunkMeta {
                min_ts: chunk[0].0,
                max_ts: chunk[chunk.len() - 1].0,
                count: chunk.len() as u32,
                encoding: match kind {
                    BlobKind::Histogram => codec::HISTOGRAMS,
                    BlobKind::Exemplar => codec::EXEMPLARS,
                },
            };
            let chunk: Vec<(i64, &[u8])> = chunk.iter().map(|(t, b)| (*t, &**b)).collect();
            buffer.clear();
            codec::encode_blobs(&chunk, &mut buffer)?;
            writer.add_chunk(id, &meta, &buffer)?;
        }
    }
    Ok(())
}
