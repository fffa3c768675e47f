//! Many series at once: their samples as columns, or rolled up into a matrix.

use super::head::{BlobKind, TimedBlob};
use super::rollup::{self, RollupFn, Spec};
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
pub type BlobColumns = (Vec<i64>, Vec<TimedBlob>);

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

/// One value a series and step.
#[derive(Debug, Default)]
pub struct Matrix {
    /// Row-major, a row a series.
    pub values: Vec<f64>,
    pub present: Vec<bool>,
    /// Samples that were read for it.
    pub samples: u64,
}

/// Rolls up series without keeping their samples.
///
/// # Errors
/// A source is damaged, or the arguments do not fit the function.
pub fn rollup(
    sources: &Sources,
    ids: &[u32],
    function: RollupFn,
    args: &[f64],
    spec: &Spec,
) -> Result<Matrix, SelectError> {
    let function_error = |e: rollup::RollupError| SelectError::Function(e.to_string());
    function.check_args(args).map_err(function_error)?;
    let steps = spec.step_count().map_err(function_error)?;
    let mut matrix = Matrix {
        values: vec![0.0; ids.len() * steps],
        present: vec![false; ids.len() * steps],
        samples: 0,
    };
    if steps == 0 || ids.is_empty() {
        return Ok(matrix);
    }
    let last = spec.start_ms + (steps as i64 - 1) * spec.step_ms;
    // Windows are left-open: the first one begins after this.
    let from = (spec.start_ms.saturating_sub(spec.offset_ms)).saturating_sub(spec.window_ms);
    let to = last.saturating_sub(spec.offset_ms);
    matrix.samples = ids
        .par_iter()
        .zip(matrix.values.par_chunks_mut(steps))
        .zip(matrix.present.par_chunks_mut(steps))
        .with_min_len(8)
        .map_init(SeriesReader::default, |reader, ((&id, out), present)| {
            reader.read(sources, id, from.saturating_add(1), to)?;
            rollup::rollup(function, args, &reader.ts, &reader.values, spec, out, present)
                .map_err(function_error)?;
            Ok::<_, SelectError>(reader.ts.len() as u64)
        })
        .try_reduce(|| 0, |a, b| Ok(a + b))?;
    Ok(matrix)
}
