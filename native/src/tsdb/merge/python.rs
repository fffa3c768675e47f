//! The Python face of merges, and parts written from arrays.

use super::super::codec;
use super::super::columns::Csr;
use super::super::gorilla;
use super::super::part::python::{InfoTuple, PyPart, PyPartStats, part_error, part_info};
use super::super::part::{ChunkMeta, Part, PartError, PartStats, PartWriter};
use super::super::python::detached;
use super::MergeSpec;
use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Merges parts, in ascending sequence, into one part a partition; the paths and statistics of
/// the outputs, `<prefix><partition start>.part`.
#[pyfunction]
#[pyo3(signature = (parts, prefix, level, partition_ms, best, drop_before_ms=None, keep_ids=None))]
#[allow(clippy::too_many_arguments)]
fn merge_parts(
    py: Python<'_>,
    parts: Vec<Py<PyPart>>,
    prefix: PathBuf,
    level: u32,
    partition_ms: i64,
    best: bool,
    drop_before_ms: Option<i64>,
    keep_ids: Option<PyReadonlyArray1<'_, u32>>,
) -> PyResult<Vec<(PathBuf, PyPartStats)>> {
    if partition_ms <= 0 {
        return Err(PyValueError::new_err("partition_ms must be positive"));
    }
    let parts: Vec<Arc<Part>> = parts.iter().map(|p| Arc::clone(&p.get().0)).collect();
    let keep_ids = match &keep_ids {
        Some(ids) => Some(ids.as_slice()?.iter().copied().collect()),
        None => None,
    };
    let spec = MergeSpec { prefix, level, partition_ms, best, drop_before_ms, keep_ids };
    let outputs = detached(py, || super::merge(&parts, &spec))?.map_err(part_error)?;
    Ok(outputs.into_iter().map(|(path, stats)| (path, stats.into())).collect())
}

/// Writes samples of series, in ascending id and time, as a part.
#[pyfunction]
fn write_part<'py>(
    py: Python<'py>,
    path: PathBuf,
    info: InfoTuple,
    ids: PyReadonlyArray1<'py, u32>,
    offsets: PyReadonlyArray1<'py, i64>,
    timestamps: PyReadonlyArray1<'py, i64>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<PyPartStats> {
    let csr = Csr::new(offsets.as_slice()?, timestamps.as_slice()?, values.as_slice()?)?;
    let ids = ids.as_slice()?;
    if csr.series_count() != ids.len() {
        return Err(PyValueError::new_err("ids and offsets do not fit each other"));
    }
    py.detach(|| write_columns(&path, info, ids, &csr))
        .map(PyPartStats::from)
        .map_err(|source| part_error(PartError::Io { path: path.clone(), source }))
}

/// Samples of a chunk, as the head's.
const CHUNK_SAMPLES: usize = 240;

fn write_columns(
    path: &Path,
    info: InfoTuple,
    ids: &[u32],
    csr: &Csr<'_>,
) -> io::Result<PartStats> {
    let mut writer = PartWriter::create(path)?;
    let mut bytes = Vec::new();
    for (i, &id) in ids.iter().enumerate() {
        let range = csr.range(i);
        let chunks = csr.ts[range.clone()].chunks(CHUNK_SAMPLES);
        for (ts, values) in chunks.zip(csr.vals[range].chunks(CHUNK_SAMPLES)) {
            if !ts.is_sorted_by(|a, b| a < b) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "timestamps must ascend"));
            }
            bytes.clear();
            gorilla::encode(ts, values, &mut bytes);
            let (min_ts, max_ts) = (ts[0], ts[ts.len() - 1]);
            let meta =
                ChunkMeta { min_ts, max_ts, count: ts.len() as u32, encoding: codec::GORILLA };
            writer.add_chunk(id, &meta, &bytes)?;
        }
    }
    writer.finish(&part_info(info))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(merge_parts, m)?)?;
    m.add_function(wrap_pyfunction!(write_part, m)?)
}
