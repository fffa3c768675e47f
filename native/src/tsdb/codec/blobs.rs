//! Blob chunks: native histograms or exemplars of one series, as zstd of columns.

use super::super::gorilla::ChunkError;
use super::MAX_COUNT;
use crate::wire::varint::{Reader, put_uvarint, unzigzag, zigzag};
use std::io;

/// A chunk that claims to be larger when decompressed is damaged; writers stay below.
const MAX_BYTES: usize = 64 << 20;
const ZSTD_LEVEL: i32 = 3;

/// Appends the chunk of these blobs, at most [`MAX_COUNT`] of them; timestamps do not descend.
///
/// # Errors
/// They are larger together than a chunk may be.
pub fn encode_blobs(blobs: &[(i64, &[u8])], out: &mut Vec<u8>) -> io::Result<()> {
    let mut columns = Vec::new();
    let mut before = 0;
    for (i, (ts, _)) in blobs.iter().enumerate() {
        let delta = ts.wrapping_sub(before);
        put_uvarint(&mut columns, if i == 0 { zigzag(delta) } else { delta as u64 });
        before = *ts;
    }
    for (_, bytes) in blobs {
        put_uvarint(&mut columns, bytes.len() as u64);
    }
    for (_, bytes) in blobs {
        columns.extend_from_slice(bytes);
    }
    if columns.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "blobs too large for a chunk"));
    }
    put_uvarint(out, columns.len() as u64);
    out.extend_from_slice(&zstd::bulk::compress(&columns, ZSTD_LEVEL)?);
    Ok(())
}

/// Calls `each` with the blobs of a chunk.
///
/// # Errors
/// The bytes are not such a chunk; `each` may have been called for some blobs.
pub fn decode_blobs(
    bytes: &[u8],
    count: usize,
    mut each: impl FnMut(i64, &[u8]),
) -> Result<(), ChunkError> {
    let mut reader = Reader::new(bytes);
    let size = usize::try_from(reader.uvarint()?).unwrap_or(usize::MAX);
    if size > MAX_BYTES || count > MAX_COUNT || count > size {
        return Err(ChunkError::Invalid("blobs out of range"));
    }
    let columns = zstd::bulk::decompress(reader.rest(), size)
        .map_err(|_| ChunkError::Invalid("zstd stream"))?;
    if columns.len() != size {
        return Err(ChunkError::Truncated);
    }
    let mut times = Reader::new(&columns);
    let mut lengths = times.clone();
    for _ in 0..count {
        lengths.uvarint()?;
    }
    let mut data = lengths.clone();
    for _ in 0..count {
        data.uvarint()?;
    }
    let mut ts = 0_i64;
    for i in 0..count {
        let delta = times.uvarint()?;
        let step = if i == 0 { unzigzag(delta) } else { delta as i64 };
        ts = ts.wrapping_add(step);
        let length = lengths.uvarint()?;
        each(ts, data.bytes(usize::try_from(length).map_err(|_| ChunkError::Truncated)?)?);
    }
    if data.is_empty() { Ok(()) } else { Err(ChunkError::Invalid("bytes left over")) }
}
