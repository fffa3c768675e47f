//! The Python face of the engine's kernels: borrow buffers, release the GIL, map errors.

mod reads;

use super::flush;
use super::head::{Appended, Head};
use super::ingest::{self, Limits, Reason};
use super::matcher::{Matcher, Op};
use super::part::python::{InfoTuple, PyPartStats, part_info};
use super::registry::{LogMark, Metadata, Registry, SeriesTable};
use super::series_source::ReadError;
use crate::wire::remote_write::RequestError;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use parking_lot::RwLock;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::sync::Arc;

create_exception!(_native, CorruptError, PyException, "Stored bytes are not what was written.");
create_exception!(_native, TooLargeError, PyException, "A body decompresses to too much.");

pub fn corrupt(error: &ReadError) -> PyErr {
    match error {
        ReadError::Corrupt(path, detail) => CorruptError::new_err((path.clone(), detail.clone())),
        ReadError::Chunk(e) => CorruptError::new_err((String::new(), e.to_string())),
    }
}

/// The series registry of one project.
#[pyclass(name = "Registry", frozen, module = "obsd._native")]
pub struct PyRegistry(pub Arc<Registry>);

type MarkTuple = (usize, usize, usize);

#[pymethods]
impl PyRegistry {
    #[new]
    fn new(seed: u64) -> Self {
        Self(Arc::new(Registry::new(seed)))
    }

    fn load(&self, py: Python<'_>, record: &[u8]) -> PyResult<()> {
        py.detach(|| self.0.load(record))
            .map_err(|e| CorruptError::new_err((String::new(), e.to_string())))
    }

    fn log<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, MarkTuple) {
        let (record, mark) = py.detach(|| self.0.log());
        (PyBytes::new(py, &record), mark.into())
    }

    fn confirm(&self, py: Python<'_>, mark: MarkTuple) {
        py.detach(|| self.0.confirm(LogMark::from(mark)));
    }

    #[getter]
    fn id_end(&self, py: Python<'_>) -> u32 {
        look(py, &self.0.table, SeriesTable::id_end)
    }

    #[getter]
    fn series_count(&self, py: Python<'_>) -> usize {
        look(py, &self.0.table, SeriesTable::live)
    }

    #[getter]
    fn size_bytes(&self, py: Python<'_>) -> usize {
        look(py, &self.0.table, SeriesTable::size_bytes)
    }

    #[pyo3(signature = (body, version_2, decompressed_bytes, labels, name_bytes, value_bytes,
        new_series, min_ts, max_ts, refused, registered_series=usize::MAX,
        registry_bytes=usize::MAX))]
    #[allow(clippy::too_many_arguments)]
    fn decode(
        &self,
        py: Python<'_>,
        body: &[u8],
        version_2: bool,
        decompressed_bytes: usize,
        labels: usize,
        name_bytes: usize,
        value_bytes: usize,
        new_series: usize,
        min_ts: i64,
        max_ts: i64,
        refused: Vec<u32>,
        registered_series: usize,
        registry_bytes: usize,
    ) -> PyResult<PyBatch> {
        let limits = Limits {
            decompressed_bytes,
            labels,
            name_bytes,
            value_bytes,
            new_series,
            registered_series,
            registry_bytes,
            min_ts,
            max_ts,
        };
        let batch = detached(py, || ingest::decode(&self.0, body, version_2, &limits, &refused))?;
        batch.map(|b| PyBatch(Arc::new(b))).map_err(|e| match e {
            RequestError::TooLarge(_) | RequestError::TooMany(_) => {
                TooLargeError::new_err(e.to_string())
            }
            other => PyValueError::new_err(other.to_string()),
        })
    }

    /// Ids of the series that satisfy any of the selectors, sorted by labels.
    fn select<'py>(
        &self,
        py: Python<'py>,
        selectors: Vec<Vec<(String, String, String)>>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        // Compiling a regular expression may take most of a second.
        let ids = detached(py, || {
            let ids = self.0.select(&compile(selectors)?);
            let mut ids: Vec<u32> = ids.iter().collect();
            let table = self.0.table.read();
            ids.sort_by(|a, b| table.compare(*a, *b));
            Ok::<_, String>(ids)
        })?
        .map_err(PyValueError::new_err)?;
        Ok(ids.into_pyarray(py))
    }

    /// Label pairs of each series.
    fn labels<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'py, u32>,
    ) -> PyResult<Bound<'py, PyList>> {
        let ids = ids.as_slice()?;
        // Making Python objects may run any Python code, by way of the garbage collector: not
        // while the lock is held.
        let (series, texts) = detached(py, || label_texts(&self.0.table.read(), ids))?
            .map_err(|id| PyValueError::new_err(format!("no series {id}")))?;
        let texts: Vec<_> = texts.iter().map(|t| PyString::new(py, t)).collect();
        let list = PyList::empty(py);
        for pairs in series {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|&(name, value)| PyTuple::new(py, [&texts[name], &texts[value]]))
                .collect::<PyResult<_>>()?;
            list.append(PyTuple::new(py, pairs)?)?;
        }
        Ok(list)
    }

    /// Names of the labels on these series, or on any; sorted.
    #[pyo3(signature = (ids=None))]
    fn label_names(
        &self,
        py: Python<'_>,
        ids: Option<PyReadonlyArray1<'_, u32>>,
    ) -> PyResult<Vec<String>> {
        let ids = ids.map(bitmap).transpose()?;
        Ok(py.detach(|| {
            self.0.indexed(|table, index| {
                sorted_text(index.label_names(ids.as_ref()), |s| table.symbols.get(s))
            })
        }))
    }

    /// Values of a label on these series, or on any; sorted.
    #[pyo3(signature = (name, ids=None))]
    fn label_values(
        &self,
        py: Python<'_>,
        name: &str,
        ids: Option<PyReadonlyArray1<'_, u32>>,
    ) -> PyResult<Vec<String>> {
        let ids = ids.map(bitmap).transpose()?;
        Ok(py.detach(|| {
            self.0.indexed(|table, index| {
                let values = index.label_values(name, ids.as_ref(), &table.symbols);
                sorted_text(values, |s| table.symbols.get(s))
            })
        }))
    }

    #[getter]
    fn generation(&self) -> u64 {
        self.0.generation()
    }

    /// Removes every series but these, and gives the record of a whole new log.
    fn retain<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'py, u32>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let keep = bitmap(ids)?;
        let record = detached(py, || self.0.retain(&keep))?;
        Ok(PyBytes::new(py, &record))
    }

    /// (name, values, series, bytes of text) of each label, and (name, value, series) of the
    /// `limit` most used pairs.
    #[allow(clippy::type_complexity)]
    fn cardinality(
        &self,
        py: Python<'_>,
        limit: usize,
    ) -> (Vec<(String, usize, u64, usize)>, Vec<(String, String, u64)>) {
        py.detach(|| {
            self.0.indexed(|table, index| {
                let text = |s| table.symbols.get(s).to_owned();
                let names = index.name_sizes(&table.symbols);
                let names = names.map(|(n, v, s, b)| (text(n), v, s, b)).collect();
                let mut pairs: Vec<_> = index.pair_sizes().collect();
                keep_largest(&mut pairs, limit, |p| p.2);
                (names, pairs.into_iter().map(|(n, v, s)| (text(n), text(v), s)).collect())
            })
        })
    }

    /// (value, series) of the `limit` most used values of a label.
    fn label_sizes(&self, py: Python<'_>, name: &str, limit: usize) -> Vec<(String, u64)> {
        py.detach(|| {
            self.0.indexed(|table, index| {
                let mut sizes = index.value_sizes(name, &table.symbols);
                keep_largest(&mut sizes, limit, |s| s.1);
                sizes.into_iter().map(|(v, s)| (table.symbols.get(v).to_owned(), s)).collect()
            })
        })
    }

    #[getter]
    fn metadata_version(&self) -> u64 {
        // Held for moments only, and by nobody who waits for anything.
        self.0.metadata.lock().version
    }

    /// (family, type number, help, unit) of every described family.
    fn metadata(&self) -> Vec<(String, u8, String, String)> {
        let table = self.0.metadata.lock();
        table
            .families
            .iter()
            .map(|(f, m)| (f.clone(), m.kind, m.help.clone(), m.unit.clone()))
            .collect()
    }

    fn set_metadata(&self, family: &str, kind: u8, help_text: String, unit: String) {
        self.0.metadata.lock().set(family, Metadata { kind, help: help_text, unit });
    }
}

/// (name, value) of each label of each series, as places in the list of texts.
type LabelTexts = (Vec<Vec<(usize, usize)>>, Vec<String>);

/// The labels of series; the id of one that there is not.
fn label_texts(table: &SeriesTable, ids: &[u32]) -> Result<LabelTexts, u32> {
    let mut places = hashbrown::HashMap::new();
    let mut texts = Vec::new();
    let mut place = |symbol: u32| {
        *places.entry(symbol).or_insert_with(|| {
            texts.push(table.symbols.get(symbol).to_owned());
            texts.len() - 1
        })
    };
    let mut series = Vec::with_capacity(ids.len());
    for &id in ids {
        if id >= table.id_end() {
            return Err(id);
        }
        series.push(table.pairs(id).map(|(n, v)| (place(n), place(v))).collect());
    }
    Ok((series, texts))
}

/// Runs `work` without the GIL. A panic, which is a mistake in here, becomes a `RuntimeError`:
/// `PanicException` is no `Exception`, and would end the thread that it reaches.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let done = py.detach(|| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
    done.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        PyRuntimeError::new_err(format!("panic: {}", text.unwrap_or("without words")))
    })
}

/// Reads what a lock guards. Whoever holds the lock may take long, so it is not waited for with
/// the GIL, which letting go of costs more than most reads.
fn look<T, R: Send>(py: Python<'_>, lock: &RwLock<T>, read: impl Fn(&T) -> R + Send + Sync) -> R
where
    T: Send + Sync,
{
    if let Some(guard) = lock.try_read() {
        return read(&guard);
    }
    py.detach(|| read(&lock.read()))
}

impl From<LogMark> for MarkTuple {
    fn from(mark: LogMark) -> Self {
        (mark.symbols, mark.series, mark.fingerprints)
    }
}

impl From<MarkTuple> for LogMark {
    fn from((symbols, series, fingerprints): MarkTuple) -> Self {
        Self { symbols, series, fingerprints }
    }
}

/// Leaves the `limit` largest entries, largest first.
fn keep_largest<T>(entries: &mut Vec<T>, limit: usize, size: impl Fn(&T) -> u64) {
    let keep = limit.min(entries.len());
    if keep > 0 {
        entries.select_nth_unstable_by_key(keep - 1, |e| std::cmp::Reverse(size(e)));
    }
    entries.truncate(keep);
    entries.sort_by_key(|e| std::cmp::Reverse(size(e)));
}

fn compile(selectors: Vec<Vec<(String, String, String)>>) -> Result<Vec<Vec<Matcher>>, String> {
    let compile_one = |(op, name, value): (String, String, String)| {
        let op = Op::parse(&op).ok_or_else(|| format!("unknown matcher operator {op:?}"))?;
        Matcher::new(op, name, value).map_err(|e| e.to_string())
    };
    selectors.into_iter().map(|s| s.into_iter().map(compile_one).collect()).collect()
}

fn bitmap(ids: PyReadonlyArray1<'_, u32>) -> PyResult<RoaringBitmap> {
    let mut ids = ids.as_slice()?.to_vec();
    ids.sort_unstable();
    Ok(ids.into_iter().collect())
}

fn sorted_text<'a>(symbols: Vec<u32>, text: impl Fn(u32) -> &'a str) -> Vec<String> {
    let mut texts: Vec<&str> = symbols.into_iter().map(text).collect();
    texts.sort_unstable();
    texts.into_iter().map(str::to_owned).collect()
}

/// A decoded request, on its way into a head.
#[pyclass(name = "Batch", frozen, module = "obsd._native")]
pub struct PyBatch(Arc<ingest::Batch>);

#[pymethods]
impl PyBatch {
    #[getter]
    fn samples(&self) -> usize {
        self.0.samples.len()
    }

    #[getter]
    fn blobs(&self) -> usize {
        self.0.blobs.len()
    }

    #[getter]
    fn metadata(&self) -> u64 {
        self.0.metadata
    }

    #[getter]
    fn new_series(&self) -> usize {
        self.0.new_series
    }

    #[getter]
    fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Series that a limit refused, by their place in the request.
    #[getter]
    fn refused(&self) -> Vec<u32> {
        self.0.refused.clone()
    }

    /// Refused samples by reason; empty when nothing was refused.
    #[getter]
    fn rejected<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, count) in Reason::NAMES.iter().zip(self.0.rejected) {
            if count > 0 {
                dict.set_item(name, count)?;
            }
        }
        Ok(dict)
    }

    #[getter]
    fn messages(&self) -> Vec<String> {
        self.0.messages.clone()
    }
}

/// The newest samples of each series, in memory.
#[pyclass(name = "Head", frozen, module = "obsd._native")]
pub struct PyHead(pub Arc<RwLock<Head>>);

#[pymethods]
impl PyHead {
    #[new]
    fn new() -> Self {
        Self(Arc::new(RwLock::new(Head::new())))
    }

    /// Adds a batch: (out of order, duplicates, overwrites, histograms, exemplars, exemplars out
    /// of order, exemplars over the limit).
    fn append(
        &self,
        py: Python<'_>,
        registry: &PyRegistry,
        batch: &PyBatch,
    ) -> PyResult<(u64, u64, u64, u64, u64, u64, u64)> {
        let a = detached(py, || {
            let id_end = registry.0.table.read().id_end();
            let mut head = self.0.write();
            let samples = head.append(&batch.0.samples, id_end);
            let blobs = if batch.0.blobs.is_empty() {
                Appended::default()
            } else {
                head.append_blobs(batch.0.blobs.clone())
            };
            Appended {
                out_of_order: samples.out_of_order,
                duplicates: samples.duplicates,
                overwrites: samples.overwrites,
                ..blobs
            }
        })?;
        Ok((
            a.out_of_order,
            a.duplicates,
            a.overwrites,
            a.histograms,
            a.exemplars,
            a.exemplars_out_of_order,
            a.exemplars_over_limit,
        ))
    }

    /// Writes all that is here as one part: `path` under its temporary name, synced.
    fn write_part(&self, py: Python<'_>, path: PathBuf, info: InfoTuple) -> PyResult<PyPartStats> {
        let stats = detached(py, || flush::write_part(&self.0.read(), &path, &part_info(info)))??;
        Ok(stats.into())
    }

    /// Ids of the series that have anything here, ascending.
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        py.detach(|| self.0.read().ids()).into_pyarray(py)
    }

    #[getter]
    fn series(&self, py: Python<'_>) -> usize {
        look(py, &self.0, Head::series)
    }

    #[getter]
    fn samples(&self, py: Python<'_>) -> u64 {
        look(py, &self.0, Head::samples)
    }

    #[getter]
    fn size_bytes(&self, py: Python<'_>) -> usize {
        look(py, &self.0, Head::size_bytes)
    }

    #[getter]
    fn is_empty(&self, py: Python<'_>) -> bool {
        look(py, &self.0, Head::is_empty)
    }

    #[getter]
    fn time_range(&self, py: Python<'_>) -> Option<(i64, i64)> {
        look(py, &self.0, Head::time_range)
    }
}

/// CRC-32C of the data, going on from `seed`.
#[pyfunction]
#[pyo3(name = "crc32c", signature = (data, seed=0))]
fn checksum(py: Python<'_>, data: &[u8], seed: u32) -> u32 {
    py.detach(|| crc32c::crc32c_append(seed, data))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    reads::register(m)?;
    m.add("CorruptError", m.py().get_type::<CorruptError>())?;
    m.add("TooLargeError", m.py().get_type::<TooLargeError>())?;
    m.add_class::<PyRegistry>()?;
    m.add_class::<PyBatch>()?;
    m.add_class::<PyHead>()?;
    m.add_function(wrap_pyfunction!(checksum, m)?)
}
