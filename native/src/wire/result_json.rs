//! Query results as the JSON arrays of Prometheus' HTTP API. The labels of a series come encoded.
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::tsdb::columns::Csr;

use super::go_text::{push_float, push_seconds};

/// A point is about this long: `[1700000000.123,"0.123456789"],`.
const POINT_BYTES: usize = 32;

/// What is reserved at most; pages that stay untouched cost nothing.
const MAX_RESERVED_BYTES: usize = 1 << 28;

/// Adds this file's functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(format_float, m)?)?;
    m.add_function(wrap_pyfunction!(matrix_json, m)?)?;
    m.add_function(wrap_pyfunction!(vector_json, m)?)?;
    m.add_function(wrap_pyfunction!(columns_json, m)?)
}

/// A sample value's text.
#[pyfunction]
fn format_float(value: f64) -> String {
    let mut text = Vec::with_capacity(24);
    push_float(&mut text, value);
    text.into_iter().map(char::from).collect()
}

/// The array of a range result; `values` and `present` have the shape (series, steps).
#[pyfunction]
fn matrix_json<'py>(
    py: Python<'py>,
    label_json: Vec<PyBackedBytes>,
    start_ms: i64,
    step_ms: i64,
    values: PyReadonlyArray2<'py, f64>,
    present: PyReadonlyArray2<'py, bool>,
) -> PyResult<Bound<'py, PyBytes>> {
    let [rows, steps] = [values.shape()[0], values.shape()[1]];
    if present.shape() != [rows, steps] || label_json.len() != rows {
        return Err(PyValueError::new_err("labels, values and present differ in shape"));
    }
    let (values, present) = (values.as_slice()?, present.as_slice()?);
    let json = py.detach(|| {
        let openings = Openings::new(start_ms, step_ms, steps);
        let mut json = SeriesArray::with_points(present.len());
        for (row, labels) in label_json.iter().enumerate() {
            let cells = row * steps..(row + 1) * steps;
            let (values, present) = (&values[cells.clone()], &present[cells]);
            if !present.contains(&true) {
                continue;
            }
            json.begin(labels, "values");
            let out = &mut json.out;
            out.push(b'[');
            for (step, (&value, _)) in
                values.iter().zip(present).enumerate().filter(|(_, (_, present))| **present)
            {
                // Once for all parts of the point.
                out.reserve(2 * POINT_BYTES);
                out.extend_from_slice(openings.of(step));
                push_float(out, value);
                out.extend_from_slice(b"\"],");
            }
            close_list(out);
            json.end();
        }
        json.finish()
    });
    Ok(PyBytes::new(py, &json))
}

/// The array of an instant vector: one sample an entry.
#[pyfunction]
fn vector_json<'py>(
    py: Python<'py>,
    label_json: Vec<PyBackedBytes>,
    timestamps_ms: PyReadonlyArray1<'py, i64>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (timestamps, values) = (timestamps_ms.as_slice()?, values.as_slice()?);
    if timestamps.len() != values.len() || label_json.len() != values.len() {
        return Err(PyValueError::new_err("labels, timestamps and values differ in length"));
    }
    let json = py.detach(|| {
        let mut json = SeriesArray::with_points(values.len());
        for (labels, (&ts, &value)) in label_json.iter().zip(timestamps.iter().zip(values)) {
            json.begin(labels, "value");
            push_point(&mut json.out, ts, value);
            json.end();
        }
        json.finish()
    });
    Ok(PyBytes::new(py, &json))
}

/// The array of a range vector: series `i` owns the samples from `offsets[i]` to `offsets[i + 1]`.
#[pyfunction]
fn columns_json<'py>(
    py: Python<'py>,
    label_json: Vec<PyBackedBytes>,
    offsets: PyReadonlyArray1<'py, i64>,
    timestamps: PyReadonlyArray1<'py, i64>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let columns = Csr::new(offsets.as_slice()?, timestamps.as_slice()?, values.as_slice()?)?;
    if label_json.len() != columns.series_count() {
        return Err(PyValueError::new_err("labels and offsets differ in length"));
    }
    let json = py.detach(|| {
        let mut json = SeriesArray::with_points(columns.ts.len());
        for (index, labels) in label_json.iter().enumerate() {
            let range = columns.range(index);
            if range.is_empty() {
                continue;
            }
            json.begin(labels, "values");
            json.out.push(b'[');
            for (&ts, &value) in columns.ts[range.clone()].iter().zip(&columns.vals[range]) {
                push_point(&mut json.out, ts, value);
                json.out.push(b',');
            }
            close_list(&mut json.out);
            json.end();
        }
        json.finish()
    });
    Ok(PyBytes::new(py, &json))
}

/// A JSON array of series under construction.
struct SeriesArray {
    out: Vec<u8>,
}

impl SeriesArray {
    fn with_points(count: usize) -> Self {
        let mut out =
            Vec::with_capacity(count.saturating_mul(POINT_BYTES).min(MAX_RESERVED_BYTES) + 2);
        out.push(b'[');
        Self { out }
    }

    fn begin(&mut self, labels: &[u8], key: &str) {
        self.out.extend_from_slice(b"{\"metric\":");
        self.out.extend_from_slice(labels);
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn end(&mut self) {
        self.out.extend_from_slice(b"},");
    }

    fn finish(mut self) -> Vec<u8> {
        close_list(&mut self.out);
        self.out
    }
}

/// Every element has left a comma behind; the last one is not wanted.
fn close_list(out: &mut Vec<u8>) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b']');
}

fn push_point(out: &mut Vec<u8>, ts: i64, value: f64) {
    out.push(b'[');
    push_seconds(out, ts);
    out.extend_from_slice(b",\"");
    push_float(out, value);
    out.extend_from_slice(b"\"]");
}

/// How the point of each step begins, `[1700000000,"`: the same for every series.
struct Openings {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Openings {
    fn new(start_ms: i64, step_ms: i64, steps: usize) -> Self {
        let mut openings = Self { text: Vec::new(), ends: Vec::with_capacity(steps + 1) };
        openings.ends.push(0);
        let mut now = start_ms;
        for _ in 0..steps {
            openings.text.push(b'[');
            push_seconds(&mut openings.text, now);
            openings.text.extend_from_slice(b",\"");
            openings.ends.push(openings.text.len());
            now = now.saturating_add(step_ms);
        }
        openings
    }

    fn of(&self, step: usize) -> &[u8] {
        &self.text[self.ends[step]..self.ends[step + 1]]
    }
}
