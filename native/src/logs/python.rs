//! The Python face of the log engine's kernels.

use super::arrived::arrived;
use super::cache::COLUMNS;
use super::entry::write_page;
use super::granule::{Corrupt, Granule, View};
use super::grouping::Weight;
use super::logql::python::PyLogScan;
use super::logql::scan::Scan;
use super::memtable::Memtable;
use super::otlp::{Batch, DecodeError, Limits, MAX_PARTS_BYTES};
use super::predicate::Field;
use super::python_predicate::predicate;
use super::python_value::record;
use super::search::{HistogramSpec, Hit, PageSpec, Query, SearchError};
use super::seen::Seen;
use super::segment::{self, Segment, SegmentError};
use super::sightings::{Kinds, sightings};
use super::statistics::{Cell, StatisticsSpec};
use crate::columns::python_value::entries;
use crate::tsdb::python::{CorruptError, TooLargeError};
use numpy::{IntoPyArray, PyArray1};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const WAL_LEVEL: i32 = 1;

pub(super) fn corrupt(error: Corrupt) -> PyErr {
    CorruptError::new_err((error.path, error.detail))
}

fn segment_error(error: SegmentError) -> PyErr {
    match error {
        SegmentError::Corrupt(error) => corrupt(error),
        SegmentError::Io { path, source } => match source.raw_os_error() {
            Some(code) => {
                PyOSError::new_err((code, source.to_string(), path.display().to_string()))
            }
            None => PyOSError::new_err(format!("{}: {source}", path.display())),
        },
    }
}

pub(super) fn search_error(error: SearchError<PyErr>) -> PyErr {
    match error {
        SearchError::Corrupt(error) => corrupt(error),
        SearchError::Stopped(error) => error,
        many @ SearchError::TooManyGroups => PyOverflowError::new_err(many.to_string()),
    }
}

enum Body {
    Python(PyBackedBytes),
    Own(Vec<u8>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Python(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// A decoded request, on its way into a memtable.
#[pyclass(name = "LogBatch", frozen, module = "obsd._native")]
pub struct PyLogBatch {
    body: Body,
    batch: Batch,
}

/// (now, oldest, newest, body bytes, metadata bytes, attributes) as Python gives it.
type LimitsTuple = (i64, i64, i64, usize, usize, usize);

fn decode(
    py: Python<'_>,
    body: Body,
    (now_ns, min_ns, max_ns, body_bytes, metadata_bytes, attributes): LimitsTuple,
    dropped: &[u32],
) -> PyResult<PyLogBatch> {
    let limits = Limits { now_ns, min_ns, max_ns, body_bytes, metadata_bytes, attributes };
    let decoded = py.detach(|| Batch::decode_without(body.bytes(), &limits, dropped));
    let batch = decoded.map_err(|e| match e {
        DecodeError::TooManyParts => TooLargeError::new_err(e.to_string()),
        DecodeError::Wire(e) => PyValueError::new_err(format!("not an OTLP logs request: {e}")),
    })?;
    Ok(PyLogBatch { body, batch })
}

#[pymethods]
impl PyLogBatch {
    #[classattr]
    const MAX_BYTES: usize = MAX_PARTS_BYTES;

    #[staticmethod]
    #[pyo3(signature = (body, limits, dropped = Vec::new()))]
    fn decode(
        py: Python<'_>,
        body: PyBackedBytes,
        limits: LimitsTuple,
        dropped: Vec<u32>,
    ) -> PyResult<Self> {
        decode(py, Body::Python(body), limits, &dropped)
    }

    /// Reads what `packed` gave.
    #[staticmethod]
    #[pyo3(signature = (packed, size_bytes, limits, dropped = Vec::new()))]
    fn unpack(
        py: Python<'_>,
        packed: &[u8],
        size_bytes: usize,
        limits: LimitsTuple,
        dropped: Vec<u32>,
    ) -> PyResult<Self> {
        let body = py
            .detach(|| zstd::bulk::decompress(packed, size_bytes))
            .map_err(|e| PyValueError::new_err(format!("bad zstd stream: {e}")))?;
        decode(py, Body::Own(body), limits, &dropped)
    }

    /// The request, compressed.
    fn packed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let packed = py
            .detach(|| zstd::bulk::compress(self.body.bytes(), WAL_LEVEL))
            .map_err(|e| TooLargeError::new_err(e.to_string()))?;
        Ok(PyBytes::new(py, &packed))
    }

    #[getter]
    fn records(&self) -> usize {
        self.batch.records.len()
    }

    #[getter]
    fn rejected(&self) -> BTreeMap<&'static str, u64> {
        self.batch.refused.iter().map(|(reason, count)| (reason.name(), *count)).collect()
    }

    #[getter]
    fn messages(&self) -> Vec<String> {
        self.batch.messages.clone()
    }
}

/// Which records have come of late.
#[pyclass(name = "LogSeen", frozen, module = "obsd._native")]
pub struct PyLogSeen(Mutex<Seen>);

#[pymethods]
impl PyLogSeen {
    #[new]
    fn new(records: usize, requests: usize, kept: usize) -> Self {
        Self(Mutex::new(Seen::new(records, requests, kept)))
    }

    /// Takes in the records of a batch; returns the places of those that were there already.
    fn admit(&self, py: Python<'_>, batch: &PyLogBatch) -> Vec<u32> {
        py.detach(|| {
            let records = batch.batch.records.iter();
            let identities: Vec<u64> = records.map(|record| record.identity).collect();
            self.0.lock().admit(&identities)
        })
    }

    /// Lets go of what came a generation ago.
    fn rotate(&self, py: Python<'_>) {
        py.detach(|| self.0.lock().rotate());
    }

    fn clear(&self, py: Python<'_>) {
        py.detach(|| self.0.lock().clear());
    }

    /// What came last, for `restore`.
    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let encoded = py.detach(|| self.0.lock().encode());
        PyBytes::new(py, &encoded)
    }

    /// Takes in what `encode` gave; false when it is not that.
    fn restore(&self, py: Python<'_>, stored: &[u8]) -> bool {
        py.detach(|| self.0.lock().restore(stored))
    }

    #[getter]
    fn size_bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.lock().size_bytes())
    }
}

/// The newest records, in memory.
#[pyclass(name = "LogMemtable", frozen, module = "obsd._native")]
pub struct PyLogMemtable(Arc<Memtable>);

#[pymethods]
impl PyLogMemtable {
    #[new]
    fn new(granule_rows: usize) -> Self {
        Self(Arc::new(Memtable::new(granule_rows.max(1))))
    }

    /// Appends the records of a batch, numbered from `first_row`.
    fn append(&self, py: Python<'_>, batch: &PyLogBatch, first_row: i64) -> PyResult<()> {
        let body = batch.body.bytes();
        py.detach(|| self.0.append(body, &batch.batch, first_row)).map_err(corrupt)
    }

    /// Writes a segment for each day, synced; their paths are `prefix`, the day, and `.logs`.
    fn write_segments(&self, py: Python<'_>, prefix: PathBuf) -> PyResult<Vec<PathBuf>> {
        py.detach(|| {
            let mut days: BTreeMap<i64, Vec<Arc<Granule>>> = BTreeMap::new();
            for (day, granule) in self.0.by_day().map_err(SegmentError::from)? {
                days.entry(day).or_default().push(granule);
            }
            let mut paths = Vec::with_capacity(days.len());
            for (day, granules) in days {
                let mut name = prefix.clone().into_os_string();
                name.push(format!("{day}.logs"));
                let bytes: Vec<&[u8]> = granules.iter().map(|g| g.bytes()).collect();
                segment::write(&PathBuf::from(&name), &bytes)?;
                paths.push(PathBuf::from(name));
            }
            Ok(paths)
        })
        .map_err(segment_error)
    }

    #[getter]
    fn records(&self) -> u64 {
        self.0.stats().records
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.0.stats().size_bytes
    }

    /// The least and the greatest time, in nanoseconds; `None` when empty.
    #[getter]
    fn time_range(&self) -> Option<(i64, i64)> {
        self.0.stats().range
    }
}

/// What a segment holds.
#[pyclass(name = "LogSegmentStats", frozen, get_all, module = "obsd._native")]
#[derive(Debug, Clone, Copy)]
pub struct PyLogSegmentStats {
    min_ns: i64,
    max_ns: i64,
    records: u64,
    granules: usize,
    last_row: i64,
    size_bytes: u64,
}

/// An open segment.
#[pyclass(name = "LogSegment", frozen, module = "obsd._native")]
pub struct PyLogSegment(Arc<Segment>);

#[pymethods]
impl PyLogSegment {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Segment::open(&path)).map(|s| Self(Arc::new(s))).map_err(segment_error)
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.0.path.clone()
    }

    #[getter]
    fn stats(&self) -> PyLogSegmentStats {
        let granules = &self.0.granules;
        PyLogSegmentStats {
            min_ns: granules.iter().map(|g| g.min_ns).min().unwrap_or(0),
            max_ns: granules.iter().map(|g| g.max_ns).max().unwrap_or(0),
            records: granules.iter().map(|g| g.rows as u64).sum(),
            granules: granules.len(),
            last_row: granules.iter().map(|g| g.last_row).max().unwrap_or(-1),
            size_bytes: self.0.size_bytes,
        }
    }

    /// How many records match.
    fn count(&self, py: Python<'_>, wanted: &Bound<'_, PyAny>) -> PyResult<u64> {
        let wanted = predicate(wanted)?;
        py.detach(|| segment::count(&self.0, &wanted)).map_err(corrupt)
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.verify()).map_err(corrupt)
    }
}

/// Merges segments into one at `path`, without granules that end before `min_ns`; false, and no
/// file, when nothing is left.
#[pyfunction]
fn merge_log_segments(
    py: Python<'_>,
    segments: Vec<PyRef<'_, PyLogSegment>>,
    path: PathBuf,
    granule_rows: usize,
    min_ns: i64,
    level: i32,
) -> PyResult<bool> {
    let inputs: Vec<_> = segments.iter().map(|s| Arc::clone(&s.0)).collect();
    drop(segments);
    py.detach(|| segment::merge(&inputs, &path, granule_rows.max(1), min_ns, level))
        .map_err(segment_error)
}

/// Writes a segment at `path` again, without the records that match; returns how many these are.
/// There is no file where that is none, or all.
#[pyfunction]
fn erase_log_records(
    py: Python<'_>,
    segment: PyRef<'_, PyLogSegment>,
    gone: &Bound<'_, PyAny>,
    path: PathBuf,
    level: i32,
) -> PyResult<u64> {
    let (segment, gone) = (Arc::clone(&segment.0), predicate(gone)?);
    py.detach(|| segment::erase(&segment, &gone, &path, level)).map_err(segment_error)
}

#[derive(FromPyObject)]
pub(super) enum Source<'py> {
    Segment(PyRef<'py, PyLogSegment>),
    Memtable(PyRef<'py, PyLogMemtable>),
}

pub(super) enum Opened {
    Segment(Arc<Segment>),
    Memtable(Arc<Memtable>),
}

/// What all searches are given.
pub(super) struct Search {
    sources: Vec<Opened>,
    pub(super) query: Query,
}

impl Search {
    pub(super) fn new(
        sources: Vec<Source<'_>>,
        of: &Bound<'_, PyAny>,
        (start_ns, end_ns): (i64, i64),
    ) -> PyResult<Self> {
        let open = |source: Source<'_>| match source {
            Source::Segment(segment) => Opened::Segment(Arc::clone(&segment.0)),
            Source::Memtable(memtable) => Opened::Memtable(Arc::clone(&memtable.0)),
        };
        let query = Query { predicate: predicate(of)?.arranged(), start_ns, end_ns };
        Ok(Self { sources: sources.into_iter().map(open).collect(), query })
    }

    pub(super) fn granules(&self) -> Result<Vec<Arc<Granule>>, Corrupt> {
        let mut all = Vec::new();
        for source in &self.sources {
            match source {
                Opened::Segment(segment) => all.extend(segment.granules.iter().cloned()),
                Opened::Memtable(memtable) => all.extend(memtable.granules()?),
            }
        }
        Ok(all)
    }
}

/// Calls the budget's check; between waves of granules.
pub(super) fn checker(check: &Py<PyAny>) -> impl FnMut() -> PyResult<()> {
    || Python::attach(|py| check.call0(py).map(drop))
}

/// The records of a page, granule after granule: only one is in memory as a whole.
pub(super) fn records<'py>(py: Python<'py>, hits: &[Hit]) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_by_key(|index| Arc::as_ptr(&hits[*index].granule));
    let mut found = Vec::with_capacity(hits.len());
    for of_granule in order.chunk_by(|a, b| Arc::ptr_eq(&hits[*a].granule, &hits[*b].granule)) {
        let view = View::new(Arc::clone(&hits[of_granule[0]].granule));
        py.detach(|| view.load()).map_err(corrupt)?;
        for index in of_granule {
            found.push((*index, record(py, &view, hits[*index].row, corrupt)?));
        }
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, record)| record).collect())
}

type Page<'py> = (u64, Vec<Bound<'py, PyTuple>>, Option<(i64, i64)>);

/// (total, records, the last one's place when there are more).
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_page<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    limit: usize,
    newest_first: bool,
    after: Option<(i64, i64)>,
    check: Py<PyAny>,
) -> PyResult<Page<'py>> {
    let search = Search::new(sources, predicate, span)?;
    // One more than shown tells whether there is another page.
    let page = PageSpec { limit: limit.saturating_add(1), newest_first, after };
    let (total, mut hits) = py
        .detach(|| search.query.page(search.granules()?, &page, checker(&check)))
        .map_err(search_error)?;
    let more = hits.len() > limit;
    hits.truncate(limit);
    let last = hits.last().filter(|_| more).map(|hit| hit.key);
    Ok((total, records(py, &hits)?, last))
}

type EntryPage<'py> = (u64, Bound<'py, PyBytes>, Option<(i64, i64)>);

/// The same as `log_page`, its records as a list in JSON: see docs/api/logs.md.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_entries<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    limit: usize,
    newest_first: bool,
    after: Option<(i64, i64)>,
    check: Py<PyAny>,
) -> PyResult<EntryPage<'py>> {
    let search = Search::new(sources, predicate, span)?;
    let page = PageSpec { limit: limit.saturating_add(1), newest_first, after };
    let (total, json, last) = py
        .detach(|| {
            let (total, hits) = search.query.page(search.granules()?, &page, checker(&check))?;
            let entries = write_page(&hits[..limit.min(hits.len())])?;
            let more = entries.len() < hits.len();
            let last = entries.len().checked_sub(1).filter(|_| more).map(|last| hits[last].key);
            Ok((total, format!("[{}]", entries.join(",")), last))
        })
        .map_err(search_error)?;
    Ok((total, PyBytes::new(py, json.as_bytes()), last))
}

type Arrived<'py> = (Vec<Bound<'py, PyTuple>>, i64);

/// (records by number, the last number that was looked at); those numbered above `after`, and up to
/// `through`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_arrived<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    after: i64,
    through: i64,
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<Arrived<'py>> {
    let search = Search::new(sources, predicate, (i64::MIN, i64::MAX))?;
    let (hits, last) = py
        .detach(|| {
            let granules = search.granules()?;
            let rows = (after, through);
            arrived(&search.query.predicate, granules, rows, limit, checker(&check))
        })
        .map_err(search_error)?;
    Ok((records(py, &hits)?, last))
}

type Sightings<'py> = Vec<(Vec<String>, i64, u64, i64, i64, Bound<'py, PyTuple>)>;

/// (texts, start of the step, count, first time, last time, the newest record) of each kind of
/// records numbered above `after`, and up to `through`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_sightings<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    rows: (i64, i64),
    by: Vec<String>,
    shapes: Vec<String>,
    step_ns: i64,
    check: Py<PyAny>,
) -> PyResult<Sightings<'py>> {
    let search = Search::new(sources, predicate, (i64::MIN, i64::MAX))?;
    let fields = |names: &[String]| names.iter().map(|name| Field::of(name)).collect();
    let kinds = Kinds { by: fields(&by), shapes: fields(&shapes), step_ns: step_ns.max(1) };
    let found = py
        .detach(|| {
            let granules = search.granules()?;
            sightings(&search.query.predicate, granules, rows, &kinds, checker(&check))
        })
        .map_err(search_error)?;
    let mut hits = Vec::with_capacity(found.len());
    let mut told = Vec::with_capacity(found.len());
    for kind in found {
        told.push((kind.texts, kind.step, kind.count, kind.first_ns, kind.last_ns));
        hits.push(kind.sample);
    }
    let samples = records(py, &hits)?;
    let together = told.into_iter().zip(samples);
    Ok(together.map(|((t, s, c, f, l), sample)| (t, s, c, f, l, sample)).collect())
}

/// All matching lines in order.
#[pyfunction]
fn log_scan(
    py: Python<'_>,
    sources: Vec<Source<'_>>,
    predicate: &Bound<'_, PyAny>,
    span: (i64, i64),
    newest_first: bool,
    after: Option<(i64, i64)>,
) -> PyResult<PyLogScan> {
    let search = Search::new(sources, predicate, span)?;
    let granules = py.detach(|| search.granules()).map_err(corrupt)?;
    Ok(PyLogScan::new(Scan::new(search.query, granules, newest_first, after)))
}

type Histogram<'py> = Vec<(Bound<'py, PyTuple>, Bound<'py, PyArray1<u64>>)>;

/// [(values of the fields `by`, counts by step)], sorted by values. `weight` is `records` or
/// `bytes`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_histogram<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    step_ns: u64,
    by: Vec<String>,
    weight: &str,
    check: Py<PyAny>,
) -> PyResult<Histogram<'py>> {
    let search = Search::new(sources, predicate, span)?;
    let weight = Weight::of(weight)
        .ok_or_else(|| PyValueError::new_err(format!("unknown weight {weight:?}")))?;
    let by = by.iter().map(|name| Field::of(name)).collect();
    let spec = HistogramSpec { step_ns: step_ns.max(1), by, weight };
    let groups = py
        .detach(|| search.query.histogram(search.granules()?, &spec, checker(&check)))
        .map_err(search_error)?;
    let group = |(labels, counts): (Vec<String>, Vec<u64>)| {
        Ok((PyTuple::new(py, labels)?, counts.into_pyarray(py)))
    };
    groups.into_iter().map(group).collect()
}

type Values = (Vec<(String, u64)>, u64);

/// ([(value, records)] of a field, or of no field [(name, records)], how much may be missing from
/// each count); the `limit` most frequent ones.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_values<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    field: Option<String>,
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<Values> {
    let search = Search::new(sources, predicate, span)?;
    let field = field.as_deref().map(Field::of);
    py.detach(|| {
        let granules = search.granules()?;
        let counts = match &field {
            Some(field) => search.query.values(granules, field, checker(&check))?,
            None => search.query.names(granules, checker(&check))?,
        };
        let max_error = counts.max_error();
        Ok((counts.first(limit), max_error))
    })
    .map_err(search_error)
}

type ResourceSteps<'py> = Vec<(Bound<'py, PyDict>, Vec<(usize, u64, u64)>)>;

/// [(resource, [(step, records, bytes)])]: steps in order, those without a record left out.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_resources<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    step_ns: u64,
    weigh: bool,
    check: Py<PyAny>,
) -> PyResult<ResourceSteps<'py>> {
    let search = Search::new(sources, predicate, span)?;
    let found = py
        .detach(|| {
            search.query.resources(search.granules()?, step_ns.max(1), weigh, checker(&check))
        })
        .map_err(search_error)?;
    found
        .into_iter()
        .map(|(resource, steps)| {
            let steps = steps.into_iter().map(|(step, of)| (step, of.records, of.bytes));
            Ok((entries(py, &resource)?, steps.collect()))
        })
        .collect()
}

type Statistics = Vec<(usize, u64, (u64, bool), (u64, f64, f64, f64), Vec<f64>, bool)>;

/// [(values of the fields `by`, [(step, records with the field, (different values, exact), (numbers,
/// sum, least, greatest), quantiles, exact)])], sorted by values and step.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn log_statistics<'py>(
    py: Python<'py>,
    sources: Vec<Source<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    step_ns: u64,
    field: &str,
    by: Vec<String>,
    quantiles: Vec<f64>,
    check: Py<PyAny>,
) -> PyResult<Vec<(Bound<'py, PyTuple>, Statistics)>> {
    let search = Search::new(sources, predicate, span)?;
    let by = by.iter().map(|name| Field::of(name)).collect();
    let spec = StatisticsSpec { field: Field::of(field), step_ns: step_ns.max(1), by };
    let groups = py
        .detach(|| search.query.statistics(search.granules()?, &spec, checker(&check)))
        .map_err(search_error)?;
    let of_step = |(step, mut cell): (usize, Cell)| {
        let found = quantiles.iter().map(|share| cell.numbers.quantile(*share)).collect();
        let n = &cell.numbers;
        let sums = (n.count, n.sum, n.min, n.max);
        (step, cell.records, cell.distinct.count(), sums, found, n.is_exact())
    };
    let group = |(labels, steps): (Vec<String>, BTreeMap<usize, Cell>)| {
        Ok((PyTuple::new(py, labels)?, steps.into_iter().map(of_step).collect()))
    };
    groups.into_iter().map(group).collect()
}

/// Says how much memory the columns may take that searches have read lately.
#[pyfunction]
fn bound_log_columns(py: Python<'_>, max_bytes: usize) {
    py.detach(|| COLUMNS.bound(max_bytes));
}

/// What they take.
#[pyfunction]
fn log_columns_bytes(py: Python<'_>) -> usize {
    py.detach(|| COLUMNS.size_bytes())
}

/// Adds the log engine's classes and functions to `obsd._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyLogBatch>()?;
    m.add_class::<PyLogMemtable>()?;
    m.add_class::<PyLogSeen>()?;
    m.add_class::<PyLogSegment>()?;
    m.add_class::<PyLogSegmentStats>()?;
    super::patterns_python::register(m)?;
    m.add_function(wrap_pyfunction!(merge_log_segments, m)?)?;
    m.add_function(wrap_pyfunction!(erase_log_records, m)?)?;
    m.add_function(wrap_pyfunction!(bound_log_columns, m)?)?;
    m.add_function(wrap_pyfunction!(log_columns_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(log_page, m)?)?;
    m.add_function(wrap_pyfunction!(log_entries, m)?)?;
    m.add_class::<PyLogScan>()?;
    m.add_function(wrap_pyfunction!(log_arrived, m)?)?;
    m.add_function(wrap_pyfunction!(log_sightings, m)?)?;
    m.add_function(wrap_pyfunction!(log_scan, m)?)?;
    m.add_function(wrap_pyfunction!(log_histogram, m)?)?;
    m.add_function(wrap_pyfunction!(log_resources, m)?)?;
    m.add_function(wrap_pyfunction!(log_statistics, m)?)?;
    m.add_function(wrap_pyfunction!(log_values, m)?)?;
    super::pipeline::register(m)
}
