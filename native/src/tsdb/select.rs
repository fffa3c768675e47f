//! Many series at once: their samples as columns, or rolled up into a matrix.

use super::head::BlobKind;
use super::series_source::{self, ReadError, SeriesReader, Sources};
use rayon::prelude::*;

/// Why a selection failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SelectError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Function(String),
}

/// Samples in compressed-sparse-row form.
#[derive(Debug, Default)]
pub struct Columns {
    pub offsets: Vec<i64>,
    pub ts: Vec<i64>,
    pub values: Vec<f64>,
}

/// Series that a thread reads in one go.
const SERIES_A_TASK: usize = 64;

/// # Errors
/// A source is damaged.
pub fn samples(sources: &Sources, ids: &[u32], start: i64, end: i64) -> Result<Columns, ReadError> {
    let pieces: Vec<Columns> = ids
        .par_chunks(SERIES_A_TASK)
        .map_init(SeriesReader::default, |reader, ids| {
            let mut piece = Columns::default();
            for &id in ids {
                reader.read(sources, id, start, end)?;
                piece.ts.extend_from_slice(&reader.ts);
                piece.values.extend_from_slice(&reader.values);
                piece.offsets.push(piece.ts.len() as i64);
            }
            Ok(piece)
        })
        .collect::<Result<_, ReadError>>()?;
    let mut all = Columns { offsets: vec![0], ..Columns::default() };
    for piece in pieces {
        let base = all.ts.len() as i64;
        all.offsets.extend(piece.offsets.iter().map(|o| o + base));
        all.ts.extend_from_slice(&piece.ts);
        all.values.extend_from_slice(&piece.values);
    }
    Ok(all)
}

/// Offsets, and (time, message) of all series one after the other.
pub type BlobColumns = (Vec<i64>, Vec<(i64, Vec<u8>)>);

/// # Errors
/// A source is damaged.
pub fn blobs(
    sources: &Sources,
    ids: &[u32],
    kind: BlobKind,
    start: i64,
    end: i64,
) -> Result<BlobColumns, ReadError> {
    let (mut offsets, mut all) = (vec![0], Vec::new());
    for &id in ids {
        all.extend(series_source::read_blobs(sources, id, kind, start, end)?);
        offsets.push(all.len() as i64);
    }
    Ok((offsets, all))
}

/// Those of the ids that may have samples from `start` to `end`.
#[must_use]
pub fn with_samples(sources: &Sources, ids: &[u32], start: i64, end: i64) -> Vec<u32> {
    let has = |id: &&u32| sources.iter().rev().any(|s| s.has_samples(**id, start, end));
    ids.par_iter().filter(has).copied().collect()
}
