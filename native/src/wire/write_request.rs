//! Prometheus' protobuf messages, written: remote write 1.0 requests and remote read results.
//! Field numbers: docs of `prometheus/prompb`, `types.proto` and `remote.proto`.
use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::tsdb::columns::Csr;

use super::protobuf::{put_bytes, put_double, put_varint};

/// Names and values of one series, borrowed; sorted by name.
pub type Labels<'a> = [(&'a str, &'a str)];

type OwnedLabels = Vec<(String, String)>;

/// Adds this file's functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(encode_write_request, m)?)?;
    m.add_function(wrap_pyfunction!(encode_read_result, m)?)
}

/// A request is too long for a snappy block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is too long for a snappy block")]
pub struct TooLong(usize);

impl From<TooLong> for PyErr {
    fn from(error: TooLong) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

/// A sample's example of where its value came from.
#[derive(Debug, Clone, Copy)]
pub struct Exemplar<'a> {
    pub labels: &'a Labels<'a>,
    pub value: f64,
    pub timestamp_ms: i64,
}

/// What is known of a metric family; `kind` is the number of the type in the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    pub family: &'a str,
    pub kind: u64,
    pub help: &'a str,
    pub unit: &'a str,
}

/// A `prometheus.WriteRequest` under construction.
#[derive(Debug, Default)]
pub struct WriteRequest {
    message: Vec<u8>,
    series: Vec<u8>,
    part: Vec<u8>,
}

impl WriteRequest {
    /// Appends one sample of a series, with at most one exemplar.
    pub fn push(
        &mut self,
        labels: &Labels<'_>,
        timestamp_ms: i64,
        value: f64,
        exemplar: Option<Exemplar<'_>>,
    ) {
        self.series.clear();
        put_labels(&mut self.series, labels, &mut self.part);
        put_sample(&mut self.series, timestamp_ms, value, &mut self.part);
        if let Some(exemplar) = exemplar {
            let mut message = Vec::new();
            put_labels(&mut message, exemplar.labels, &mut self.part);
            put_double(&mut message, 2, exemplar.value);
            put_varint(&mut message, 3, exemplar.timestamp_ms as u64);
            put_bytes(&mut self.series, 3, &message);
        }
        put_bytes(&mut self.message, 1, &self.series);
    }

    pub fn push_metadata(&mut self, metadata: &Metadata<'_>) {
        self.part.clear();
        put_varint(&mut self.part, 1, metadata.kind);
        put_bytes(&mut self.part, 2, metadata.family.as_bytes());
        put_bytes(&mut self.part, 4, metadata.help.as_bytes());
        put_bytes(&mut self.part, 5, metadata.unit.as_bytes());
        put_bytes(&mut self.message, 3, &self.part);
    }

    /// The message as a snappy block.
    ///
    /// # Errors
    /// The message has 4 GiB or more.
    pub fn compress(&self) -> Result<Vec<u8>, TooLong> {
        let compressed = snap::raw::Encoder::new().compress_vec(&self.message);
        compressed.map_err(|_| TooLong(self.message.len()))
    }
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels<'_>, part: &mut Vec<u8>) {
    for (name, value) in labels {
        part.clear();
        put_bytes(part, 1, name.as_bytes());
        put_bytes(part, 2, value.as_bytes());
        put_bytes(out, 1, part);
    }
}

fn put_sample(out: &mut Vec<u8>, timestamp_ms: i64, value: f64, part: &mut Vec<u8>) {
    part.clear();
    put_double(part, 1, value);
    put_varint(part, 2, timestamp_ms as u64);
    put_bytes(out, 2, part);
}

fn borrow(labels: &OwnedLabels) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A snappy-compressed remote-write 1.0 request with one sample an entry; labels get sorted.
#[pyfunction]
fn encode_write_request<'py>(
    py: Python<'py>,
    mut labels: Vec<OwnedLabels>,
    timestamps_ms: PyReadonlyArray1<'py, i64>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (timestamps, values) = (timestamps_ms.as_slice()?, values.as_slice()?);
    if timestamps.len() != values.len() || labels.len() != values.len() {
        return Err(PyValueError::new_err("labels, timestamps and values differ in length"));
    }
    let body = py.detach(|| {
        let mut request = WriteRequest::default();
        for (labels, (&ts, &value)) in labels.iter_mut().zip(timestamps.iter().zip(values)) {
            labels.sort_unstable();
            request.push(&borrow(labels), ts, value, None);
        }
        request.compress()
    })?;
    Ok(PyBytes::new(py, &body))
}

/// A `prometheus.QueryResult` of all series, in the order given; one without samples is kept.
#[must_use]
pub fn query_result(labels: &[OwnedLabels], columns: Csr<'_>) -> Vec<u8> {
    let mut result = Vec::with_capacity(columns.ts.len() * 20);
    let (mut series, mut part) = (Vec::new(), Vec::new());
    for (index, labels) in labels.iter().enumerate() {
        series.clear();
        put_labels(&mut series, &borrow(labels), &mut part);
        let range = columns.range(index);
        for (&ts, &value) in columns.ts[range.clone()].iter().zip(&columns.vals[range]) {
            put_sample(&mut series, ts, value, &mut part);
        }
        put_bytes(&mut result, 1, &series);
    }
    result
}

/// One query's `prometheus.QueryResult`, not compressed.
#[pyfunction]
fn encode_read_result<'py>(
    py: Python<'py>,
    labels: Vec<OwnedLabels>,
    offsets: PyReadonlyArray1<'py, i64>,
    timestamps: PyReadonlyArray1<'py, i64>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let columns = Csr::new(offsets.as_slice()?, timestamps.as_slice()?, values.as_slice()?)?;
    if labels.len() != columns.series_count() {
        return Err(PyValueError::new_err("labels and offsets differ in length"));
    }
    let result = py.detach(|| query_result(&labels, columns));
    Ok(PyBytes::new(py, &result))
}
