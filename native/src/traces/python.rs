//! The Python face of the span engine's kernels.

use super::eval::matching;
use super::granule::{COLUMNS, Corrupt};
use super::memtable::Memtable;
use super::merge::{self, Keep, MergeSpec};
use super::otlp::{Batch, DecodeError, Limits, MAX_PARTS_BYTES, TraceId};
use super::predicate::{Field, Op, Predicate, Test};
use super::python_predicate::{field, predicate};
use super::search::{Order, Query, SearchError, TracePage, summarize};
use super::segment::{self, Segment, SegmentError};
use super::sources::{Source, Sources, Unit, View};
use super::values::{Constant, columns};
use super::{catalog, otlp_trace, python_span};
use crate::tsdb::python::{CorruptError, TooLargeError};
use hashbrown::HashSet;
use numpy::{IntoPyArray, PyArray1};
use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const WAL_LEVEL: i32 = 1;

fn corrupt(error: Corrupt) -> PyErr {
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

fn search_error(error: SearchError<PyErr>) -> PyErr {
    match error {
        SearchError::Corrupt(error) => corrupt(error),
        SearchError::Stopped(error) => error,
    }
}

enum Body {
    Python(PyBackedBytes),
    Own(Vec<u8>),
}

/// A decoded request, on its way into a memtable.
#[pyclass(name = "SpanBatch", frozen, module = "obsd._native")]
pub struct PySpanBatch {
    body: Body,
    pub batch: Batch,
}

/// (now, oldest, bytes of a span, attributes of a span) as Python gives it.
type LimitsTuple = (i64, i64, usize, usize);

fn decode(
    py: Python<'_>,
    body: Body,
    (now_ns, oldest_ns, span_bytes, attributes): LimitsTuple,
) -> PyResult<PySpanBatch> {
    let limits = Limits { now_ns, oldest_ns, span_bytes, attributes };
    let mut new = PySpanBatch { body, batch: Batch::default() };
    let decoded = py.detach(|| Batch::decode(new.body(), &limits));
    new.batch = decoded.map_err(|e| match e {
        DecodeError::TooManyParts => TooLargeError::new_err(e.to_string()),
        DecodeError::Wire(e) => PyValueError::new_err(format!("not an OTLP trace request: {e}")),
    })?;
    Ok(new)
}

impl PySpanBatch {
    /// The request, which the batch has places in.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Python(bytes) => bytes,
            Body::Own(bytes) => bytes,
        }
    }
}

#[pymethods]
impl PySpanBatch {
    #[classattr]
    const MAX_BYTES: usize = MAX_PARTS_BYTES;

    #[staticmethod]
    fn decode(py: Python<'_>, body: PyBackedBytes, limits: LimitsTuple) -> PyResult<Self> {
        decode(py, Body::Python(body), limits)
    }

    /// Reads what `packed` gave.
    #[staticmethod]
    fn unpack(
        py: Python<'_>,
        packed: &[u8],
        size_bytes: usize,
        limits: LimitsTuple,
    ) -> PyResult<Self> {
        let body = py
            .detach(|| zstd::bulk::decompress(packed, size_bytes))
            .map_err(|e| PyValueError::new_err(format!("bad zstd stream: {e}")))?;
        decode(py, Body::Own(body), limits)
    }

    /// The request, compressed.
    fn packed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let packed = py
            .detach(|| zstd::bulk::compress(self.body(), WAL_LEVEL))
            .map_err(|e| TooLargeError::new_err(e.to_string()))?;
        Ok(PyBytes::new(py, &packed))
    }

    #[getter]
    fn spans(&self) -> usize {
        self.batch.spans.len()
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

/// Trace ids.
#[pyclass(name = "SpanTraceSet", frozen, module = "obsd._native")]
pub struct PySpanTraceSet(Arc<HashSet<TraceId>>);

impl PySpanTraceSet {
    #[must_use]
    pub fn ids(&self) -> Arc<HashSet<TraceId>> {
        Arc::clone(&self.0)
    }
}

fn trace_id(id: &[u8]) -> PyResult<TraceId> {
    let wrong = || PyValueError::new_err(format!("a trace id has 16 bytes, not {}", id.len()));
    id.try_into().map_err(|_| wrong())
}

#[pymethods]
impl PySpanTraceSet {
    #[new]
    fn new(trace_ids: Vec<PyBackedBytes>) -> PyResult<Self> {
        let ids: PyResult<HashSet<TraceId>> = trace_ids.iter().map(|id| trace_id(id)).collect();
        Ok(Self(Arc::new(ids?)))
    }

    fn __contains__(&self, trace_id: &[u8]) -> bool {
        <TraceId>::try_from(trace_id).is_ok_and(|id| self.0.contains(&id))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

/// The newest spans, in memory.
#[pyclass(name = "SpanMemtable", frozen, module = "obsd._native")]
pub struct PySpanMemtable {
    memtable: Arc<Memtable>,
    granule_rows: usize,
}

#[pymethods]
impl PySpanMemtable {
    #[new]
    fn new(granule_spans: usize) -> Self {
        let granule_rows = granule_spans.clamp(1, 1 << 20);
        Self { memtable: Arc::new(Memtable::new(granule_rows)), granule_rows }
    }

    /// Appends the spans of a batch, numbered from `first_row`.
    fn append(&self, py: Python<'_>, batch: &PySpanBatch, first_row: i64) {
        py.detach(|| self.memtable.append(batch.body(), &batch.batch, first_row));
    }

    /// Writes a segment for each day, synced; their paths are `prefix`, the day, and `.spans`.
    fn write_segments(&self, py: Python<'_>, prefix: PathBuf) -> PyResult<Vec<PathBuf>> {
        py.detach(|| segment::flush(&self.memtable.snapshot(), &prefix, self.granule_rows))
            .map_err(segment_error)
    }

    #[getter]
    fn spans(&self) -> u64 {
        self.memtable.stats().spans
    }

    #[getter]
    fn traces(&self) -> u64 {
        self.memtable.stats().traces
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.memtable.stats().size_bytes
    }

    /// The least and the greatest start, in nanoseconds; `None` when empty.
    #[getter]
    fn time_range(&self) -> Option<(i64, i64)> {
        self.memtable.stats().range
    }
}

/// What a segment holds.
#[pyclass(name = "SpanSegmentStats", frozen, get_all, module = "obsd._native")]
#[derive(Debug, Clone, Copy)]
pub struct PySpanSegmentStats {
    min_ns: i64,
    max_ns: i64,
    spans: u64,
    traces: u64,
    granules: usize,
    last_row: i64,
    size_bytes: u64,
}

/// An open segment.
#[pyclass(name = "SpanSegment", frozen, module = "obsd._native")]
pub struct PySpanSegment(Arc<Segment>);

#[pymethods]
impl PySpanSegment {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Segment::open(&path)).map(|s| Self(Arc::new(s))).map_err(segment_error)
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.0.path.clone()
    }

    #[getter]
    fn stats(&self) -> PySpanSegmentStats {
        let heads = || self.0.granules.iter().map(|granule| &granule.head);
        PySpanSegmentStats {
            min_ns: heads().map(|h| h.min_ns).min().unwrap_or(0),
            max_ns: heads().map(|h| h.max_ns).max().unwrap_or(0),
            spans: heads().map(|h| h.rows as u64).sum(),
            traces: heads().map(|h| h.traces as u64).sum(),
            granules: self.0.granules.len(),
            last_row: heads().map(|h| h.last_row).max().unwrap_or(-1),
            size_bytes: self.0.size_bytes,
        }
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.verify()).map_err(corrupt)
    }
}

/// (start, count of the slowest, share, kept): see `merge::Keep`.
type KeepTuple<'py> = (i64, usize, f64, PyRef<'py, PySpanTraceSet>);

/// Merges segments, older ones first, into one at `path`: traces in several become one, and those
/// that end before `min_ns` are left out.
///
/// Returns how many spans are kept and how many sampling has dropped. There is no file where none
/// is kept.
#[pyfunction]
fn merge_span_segments(
    py: Python<'_>,
    segments: Vec<PyRef<'_, PySpanSegment>>,
    path: PathBuf,
    granule_spans: usize,
    min_ns: i64,
    keep: Option<KeepTuple<'_>>,
    level: i32,
) -> PyResult<(u64, u64)> {
    let inputs: Vec<_> = segments.iter().map(|s| Arc::clone(&s.0)).collect();
    drop(segments);
    let keep = keep.map(|(before_ns, slowest, share, kept)| Keep {
        before_ns,
        slowest,
        share,
        kept: kept.ids(),
    });
    let spec = MergeSpec { granule_rows: granule_spans.clamp(1, 1 << 20), min_ns, keep, level };
    py.detach(|| merge::merge(&inputs, &path, &spec)).map_err(segment_error)
}

/// Writes a segment at `path` again without some traces; returns how many spans these have there.
/// There is no file where that is none, or all.
#[pyfunction]
fn erase_span_traces(
    py: Python<'_>,
    segment: PyRef<'_, PySpanSegment>,
    gone: PyRef<'_, PySpanTraceSet>,
    path: PathBuf,
    level: i32,
) -> PyResult<u64> {
    let (segment, gone) = (Arc::clone(&segment.0), gone.ids());
    py.detach(|| merge::erase(&segment, &gone, &path, level)).map_err(segment_error)
}

#[derive(FromPyObject)]
enum PySource<'py> {
    Segment(PyRef<'py, PySpanSegment>),
    Memtable(PyRef<'py, PySpanMemtable>),
}

fn sources(all: Vec<PySource<'_>>) -> Sources {
    let open = |source: PySource<'_>| match source {
        PySource::Segment(segment) => Source::Segment(Arc::clone(&segment.0)),
        PySource::Memtable(memtable) => Source::Memtable(Arc::clone(&memtable.memtable)),
    };
    Sources::new(all.into_iter().map(open).collect())
}

/// Calls the budget's check.
fn checker(check: &Py<PyAny>) -> impl FnMut() -> PyResult<()> {
    || Python::attach(|py| check.call0(py).map(drop))
}

fn query(of: &Bound<'_, PyAny>, (start_ns, end_ns): (i64, i64)) -> PyResult<Query> {
    Ok(Query { predicate: predicate(of)?.arranged(), start_ns, end_ns })
}

/// A trace's spans by start.
#[pyfunction]
fn span_trace<'py>(
    py: Python<'py>,
    sources: Vec<PySource<'py>>,
    trace_id: &[u8],
    check: Py<PyAny>,
) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let (sources, id) = (self::sources(sources), self::trace_id(trace_id)?);
    check.call0(py)?;
    match py.detach(|| sources.whole(&id)).map_err(corrupt)? {
        None => Ok(Vec::new()),
        Some(whole) => python_span::spans(py, &whole.chunk, 0..whole.chunk.rows()),
    }
}

/// A trace as OTLP's `TracesData`; `None` where it is not known.
#[pyfunction]
fn span_otlp<'py>(
    py: Python<'py>,
    sources: Vec<PySource<'py>>,
    trace_id: &[u8],
    check: Py<PyAny>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let (sources, id) = (self::sources(sources), self::trace_id(trace_id)?);
    check.call0(py)?;
    let encoded = py
        .detach(|| Ok(sources.whole(&id)?.map(|whole| otlp_trace::encode(&whole.chunk))))
        .map_err(corrupt)?;
    Ok(encoded.map(|bytes| PyBytes::new(py, &bytes)))
}

type SummaryPage<'py> = (Vec<Bound<'py, PyTuple>>, Option<(i64, Bound<'py, PyBytes>)>);

/// Summaries of the first traces in an order, and the last one's place when there are more.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn span_search<'py>(
    py: Python<'py>,
    sources: Vec<PySource<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    duration: (Option<i64>, Option<i64>),
    order: &str,
    limit: usize,
    after: Option<(i64, PyBackedBytes)>,
    check: Py<PyAny>,
) -> PyResult<SummaryPage<'py>> {
    let (sources, query) = (self::sources(sources), query(predicate, span)?);
    let order = match order {
        "newest" => Order::Newest,
        "slowest" => Order::Slowest,
        "most_spans" => Order::MostSpans,
        _ => return Err(PyValueError::new_err(format!("unknown order {order:?}"))),
    };
    let page = TracePage {
        order,
        min_duration_ns: duration.0.unwrap_or(0),
        max_duration_ns: duration.1.unwrap_or(i64::MAX),
        // One more than shown tells whether there is another page.
        limit: limit.saturating_add(1),
        after: after.map(|(key, id)| Ok::<_, PyErr>((key, trace_id(&id)?))).transpose()?,
    };
    let mut found =
        py.detach(|| query.traces(&sources, &page, checker(&check))).map_err(search_error)?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let last = last.map(|(key, summary)| (*key, PyBytes::new(py, &summary.id)));
    let shown = found.iter().map(|(_, summary)| python_span::summary(py, summary));
    Ok((shown.collect::<PyResult<_>>()?, last))
}

/// Summaries of traces, of those that are known.
#[pyfunction]
fn span_summaries<'py>(
    py: Python<'py>,
    sources: Vec<PySource<'py>>,
    trace_ids: Vec<PyBackedBytes>,
    check: Py<PyAny>,
) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let sources = self::sources(sources);
    let ids: Vec<TraceId> = trace_ids.iter().map(|id| trace_id(id)).collect::<PyResult<_>>()?;
    let mut check = checker(&check);
    let found = py
        .detach(|| {
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                check().map_err(SearchError::Stopped)?;
                found.extend(sources.whole(id)?.map(|whole| summarize(&whole.chunk)));
            }
            Ok(found)
        })
        .map_err(search_error)?;
    found.iter().map(|summary| python_span::summary(py, summary)).collect()
}

/// The ids of traces with a span that matches, at most so many.
#[pyfunction]
fn span_trace_ids<'py>(
    py: Python<'py>,
    sources: Vec<PySource<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let (sources, query) = (self::sources(sources), query(predicate, span)?);
    let found =
        py.detach(|| query.trace_ids(&sources, limit, checker(&check))).map_err(search_error)?;
    Ok(found.iter().map(|id| PyBytes::new(py, id)).collect())
}

/// Spans that match, the newest first.
#[pyfunction]
fn span_find<'py>(
    py: Python<'py>,
    sources: Vec<PySource<'py>>,
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let (sources, query) = (self::sources(sources), query(predicate, span)?);
    let found =
        py.detach(|| query.spans(&sources, limit, checker(&check))).map_err(search_error)?;
    python_span::spans(py, &found, 0..found.rows())
}

type Arrived<'py> = (Vec<Bound<'py, PyTuple>>, i64);

/// Spans that match behind a row, in order of arrival, and the row up to which that was seen.
#[pyfunction]
fn span_arrived<'py>(
    py: Python<'py>,
    memtables: Vec<PyRef<'py, PySpanMemtable>>,
    predicate: &Bound<'py, PyAny>,
    after_row: i64,
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<Arrived<'py>> {
    let predicate = self::predicate(predicate)?;
    let memtables: Vec<_> = memtables.iter().map(|m| Arc::clone(&m.memtable)).collect();
    let (mut found, mut last) = (Vec::new(), after_row);
    for memtable in memtables {
        for (chunk, numbers) in py.detach(|| memtable.arrived(after_row)) {
            check.call0(py)?;
            let view = View::of_chunk(Arc::clone(&chunk));
            let all = (i64::MIN, i64::MAX);
            let bits = py.detach(|| matching(&predicate, &view, all)).map_err(corrupt)?;
            let mut rows: Vec<usize> =
                bits.iter().filter(|row| numbers[*row] > after_row).collect();
            let is_full = rows.len() >= limit - found.len();
            rows.truncate(limit - found.len());
            found.extend(python_span::spans(py, &chunk, rows.iter().copied())?);
            if is_full {
                return Ok((found, rows.last().map_or(last, |row| numbers[*row])));
            }
            last = last.max(numbers.last().copied().unwrap_or(last));
        }
    }
    Ok((found, last))
}

/// Matching spans as columns, unit by unit.
#[pyclass(name = "SpanScan", frozen, module = "obsd._native")]
pub struct PySpanScan {
    query: Query,
    fields: Vec<Field>,
    with_ids: bool,
    sources: Sources,
    units: Mutex<Vec<(usize, Unit)>>,
}

fn constant<'py>(py: Python<'py>, value: &Constant) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Constant::Bool(b) => b.into_bound_py_any(py),
        Constant::Int(n) => n.into_bound_py_any(py),
        Constant::Double(bits) => f64::from_bits(*bits).into_bound_py_any(py),
        Constant::Text(text) => text.as_str().into_bound_py_any(py),
    }
}

type ScanColumns<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Vec<Bound<'py, PyArray1<i32>>>,
    Vec<Vec<Bound<'py, PyAny>>>,
    Option<Vec<String>>,
);

#[pymethods]
impl PySpanScan {
    /// The next columns; `None` at the end.
    fn next<'py>(&self, py: Python<'py>, check: Py<PyAny>) -> PyResult<Option<ScanColumns<'py>>> {
        loop {
            check.call0(py)?;
            let unit = py.detach(|| self.units.lock().pop());
            let Some((place, unit)) = unit else { return Ok(None) };
            let found = py
                .detach(|| {
                    let view = View::new(unit);
                    let bits = self.query.live(&self.sources, place, &view)?;
                    if bits.is_empty() {
                        return Ok(None);
                    }
                    columns(&view, &bits, &self.fields, self.with_ids).map(Some)
                })
                .map_err(corrupt)?;
            let Some(found) = found else { continue };
            let mut values = Vec::with_capacity(found.values.len());
            for of_field in &found.values {
                let shown = of_field.iter().map(|value| constant(py, value));
                values.push(shown.collect::<PyResult<Vec<_>>>()?);
            }
            let codes = found.codes.into_iter().map(|codes| codes.into_pyarray(py)).collect();
            let (starts, durations) =
                (found.starts.into_pyarray(py), found.durations.into_pyarray(py));
            return Ok(Some((starts, durations, codes, values, found.trace_ids)));
        }
    }
}

fn fields(of: &[(String, String)]) -> PyResult<Vec<Field>> {
    of.iter().map(|(scope, name)| field(scope, name)).collect()
}

/// Columns of matching spans.
#[pyfunction]
fn span_scan(
    py: Python<'_>,
    sources: Vec<PySource<'_>>,
    predicate: &Bound<'_, PyAny>,
    fields: Vec<(String, String)>,
    span: (i64, i64),
    trace_ids: bool,
) -> PyResult<PySpanScan> {
    let (sources, query) = (self::sources(sources), query(predicate, span)?);
    let fields = self::fields(&fields)?;
    let units = py.detach(|| query.units(&sources));
    Ok(PySpanScan { query, fields, with_ids: trace_ids, sources, units: Mutex::new(units) })
}

fn everything((start_ns, end_ns): (i64, i64)) -> Query {
    Query { predicate: Predicate::All, start_ns, end_ns }
}

/// Names of services, sorted.
#[pyfunction]
fn span_services(
    py: Python<'_>,
    sources: Vec<PySource<'_>>,
    span: (i64, i64),
    check: Py<PyAny>,
) -> PyResult<Vec<String>> {
    let sources = self::sources(sources);
    py.detach(|| catalog::services(&everything(span), &sources, checker(&check)))
        .map_err(search_error)
}

/// Names and kinds of a service's spans, sorted.
#[pyfunction]
fn span_operations(
    py: Python<'_>,
    sources: Vec<PySource<'_>>,
    service: String,
    span: (i64, i64),
    check: Py<PyAny>,
) -> PyResult<Vec<(String, u8)>> {
    let sources = self::sources(sources);
    let mut query = everything(span);
    query.predicate = Predicate::Compare(Field::Service, Test::Text(Op::Equal, service));
    py.detach(|| catalog::operations(&query, &sources, checker(&check))).map_err(search_error)
}

/// Scopes and keys of attributes, sorted, at most so many.
#[pyfunction]
fn span_field_names(
    py: Python<'_>,
    sources: Vec<PySource<'_>>,
    span: (i64, i64),
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<Vec<(&'static str, String)>> {
    let sources = self::sources(sources);
    py.detach(|| catalog::field_names(&everything(span), &sources, limit, checker(&check)))
        .map_err(search_error)
}

/// The most frequent values of a field among spans that match, with their counts.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn span_field_values<'py>(
    py: Python<'py>,
    sources: Vec<PySource<'py>>,
    field: (String, String),
    predicate: &Bound<'py, PyAny>,
    span: (i64, i64),
    limit: usize,
    check: Py<PyAny>,
) -> PyResult<Vec<(Bound<'py, PyAny>, u64)>> {
    let (sources, query) = (self::sources(sources), query(predicate, span)?);
    let field = self::field(&field.0, &field.1)?;
    let found = py
        .detach(|| catalog::field_values(&query, &sources, &field, limit, checker(&check)))
        .map_err(search_error)?;
    found.iter().map(|(value, count)| Ok((constant(py, value)?, *count))).collect()
}

/// Says how much the columns that searches have read may take.
#[pyfunction]
fn bound_span_columns(py: Python<'_>, max_bytes: usize) {
    py.detach(|| COLUMNS.bound(max_bytes));
}

/// What they take.
#[pyfunction]
fn span_columns_bytes(py: Python<'_>) -> usize {
    py.detach(|| COLUMNS.size_bytes())
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PySpanBatch>()?;
    m.add_class::<PySpanTraceSet>()?;
    m.add_class::<PySpanMemtable>()?;
    m.add_class::<PySpanSegment>()?;
    m.add_class::<PySpanSegmentStats>()?;
    m.add_class::<PySpanScan>()?;
    m.add_function(wrap_pyfunction!(merge_span_segments, m)?)?;
    m.add_function(wrap_pyfunction!(erase_span_traces, m)?)?;
    m.add_function(wrap_pyfunction!(bound_span_columns, m)?)?;
    m.add_function(wrap_pyfunction!(span_columns_bytes, m)?)?;
    m.add_function(wrap_pyfunction!(span_trace, m)?)?;
    m.add_function(wrap_pyfunction!(span_otlp, m)?)?;
    m.add_function(wrap_pyfunction!(span_search, m)?)?;
    m.add_function(wrap_pyfunction!(span_summaries, m)?)?;
    m.add_function(wrap_pyfunction!(span_trace_ids, m)?)?;
    m.add_function(wrap_pyfunction!(span_find, m)?)?;
    m.add_function(wrap_pyfunction!(span_arrived, m)?)?;
    m.add_function(wrap_pyfunction!(span_scan, m)?)?;
    m.add_function(wrap_pyfunction!(span_services, m)?)?;
    m.add_function(wrap_pyfunction!(span_operations, m)?)?;
    m.add_function(wrap_pyfunction!(span_field_names, m)?)?;
    m.add_function(wrap_pyfunction!(span_field_values, m)?)
}
