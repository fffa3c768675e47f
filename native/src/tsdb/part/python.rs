//! The Python face of parts and merges.

use super::format::{PartInfo, Partition};
use super::{Part, PartError, PartStats};
use crate::tsdb::python::corrupt;
use crate::tsdb::series_source::{ReadError, SeriesReader, SeriesSource};
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

/// An `OSError` for the disk, a `CorruptError` for what is stored.
pub fn part_error(error: PartError) -> PyErr {
    match error {
        PartError::Io { path, source } => match source.raw_os_error() {
            Some(code) => {
                PyOSError::new_err((code, source.to_string(), path.display().to_string()))
            }
            None => PyOSError::new_err(format!("{}: {source}", path.display())),
        },
        error @ PartError::Corrupt { .. } => corrupt(&ReadError::from(error)),
    }
}

/// What a part holds.
#[pyclass(name = "PartStats", frozen, get_all, eq, module = "obsd._native")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PyPartStats {
    min_ts: i64,
    max_ts: i64,
    samples: u64,
    chunks: u64,
    series: u32,
    size_bytes: u64,
    seq_min: u64,
    seq_max: u64,
    level: u32,
    /// Start and length, both in ms.
    partition: Option<(i64, i64)>,
}

impl From<PartStats> for PyPartStats {
    fn from(s: PartStats) -> Self {
        Self {
            min_ts: s.min_ts,
            max_ts: s.max_ts,
            samples: s.samples,
            chunks: s.chunks,
            series: s.series,
            size_bytes: s.size_bytes,
            seq_min: s.info.seq_min,
            seq_max: s.info.seq_max,
            level: s.info.level,
            partition: s.info.partition.map(|p| (p.start_ms, p.length_ms)),
        }
    }
}

/// An open part.
#[pyclass(name = "Part", frozen, module = "obsd._native")]
pub struct PyPart(pub Arc<Part>);

impl PyPart {
    /// The part as a source of samples.
    #[must_use]
    pub fn source(&self) -> Arc<dyn SeriesSource> {
        Arc::clone(&self.0) as Arc<dyn SeriesSource>
    }
}

type SampleArrays<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>);

#[pymethods]
impl PyPart {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Part::open(&path)).map(|p| Self(Arc::new(p))).map_err(part_error)
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    #[getter]
    fn stats(&self) -> PyPartStats {
        self.0.stats().into()
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.0.stats().size_bytes
    }

    /// The highest series id; None in an empty part.
    #[getter]
    fn last_id(&self) -> Option<u32> {
        self.0.last_id()
    }

    /// The samples of a series from `start_ms` to `end_ms`: (timestamps, values).
    fn read<'py>(
        &self,
        py: Python<'py>,
        series_id: u32,
        start_ms: i64,
        end_ms: i64,
    ) -> PyResult<SampleArrays<'py>> {
        let mut reader = SeriesReader::default();
        let source = [self.source()];
        py.detach(|| reader.read(&source, series_id, start_ms, end_ms)).map_err(|e| corrupt(&e))?;
        Ok((reader.ts.into_pyarray(py), reader.values.into_pyarray(py)))
    }

    /// Checks every byte.
    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.verify()).map_err(part_error)
    }

    fn series_ids(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        py.detach(|| self.0.series_ids()).map_err(part_error)
    }
}

/// (seq_min, seq_max, level, (partition start, length) or None) as Python gives it.
pub type InfoTuple = (u64, u64, u32, Option<(i64, i64)>);

/// A part's own description from Python's.
#[must_use]
pub fn part_info((seq_min, seq_max, level, partition): InfoTuple) -> PartInfo {
    let partition = partition.map(|(start_ms, length_ms)| Partition { start_ms, length_ms });
    PartInfo { seq_min, seq_max, level, partition }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyPart>()?;
    m.add_class::<PyPartStats>()
}
