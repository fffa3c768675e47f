//! Records as Python objects; only what a page shows becomes some.

use super::granule::{Corrupt, Kind, View};
use super::value::{Value, hex};
use crate::columns::python_value::{add, add_entries, entries, text, value};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A record, its fields in the order of `obsd.model.log_record.LogRecord`.
pub fn record<'py>(
    py: Python<'py>,
    view: &View,
    row: usize,
    error: impl Fn(Corrupt) -> PyErr,
) -> PyResult<Bound<'py, PyTuple>> {
    let bytes = |kind: Kind| -> PyResult<Vec<u8>> {
        let found = view.column(kind).map_err(&error)?.get(row);
        Ok(match found {
            Some(Value::Text(bytes) | Value::Bytes(bytes) | Value::Map(bytes)) => bytes.to_vec(),
            _ => Vec::new(),
        })
    };
    let severity = bytes(Kind::Severity)?.first().copied().unwrap_or(0);
    let (resource, attributes) = (PyDict::new(py), PyDict::new(py));
    let resource_bytes = bytes(Kind::Resource)?;
    add_entries(&resource, &resource_bytes)?;
    for (index, info) in view.granule.attributes.iter().enumerate() {
        if let Some(item) = view.attribute(index).map_err(&error)?.get(row) {
            add(&attributes, info.key.as_bytes(), item)?;
        }
    }
    add_entries(&attributes, &bytes(Kind::Rest)?)?;
    let service = super::eval::Step::Service.apply(Value::Map(&resource_bytes));
    let mut buffer = Vec::new();
    let body = value(py, view.body(row, &mut buffer).map_err(&error)?)?;
    let fields = [
        view.times().map_err(&error)?[row].into_bound_py_any(py)?,
        view.observed().map_err(&error)?[row].into_bound_py_any(py)?,
        severity.into_bound_py_any(py)?,
        text(py, &bytes(Kind::SeverityText)?).into_any(),
        service
            .map_or_else(String::new, |s| s.text_or_json().into_owned())
            .into_bound_py_any(py)?,
        body,
        hex(&bytes(Kind::TraceId)?).into_bound_py_any(py)?,
        hex(&bytes(Kind::SpanId)?).into_bound_py_any(py)?,
        resource.into_any(),
        attributes.into_any(),
        entries(py, &bytes(Kind::Details)?)?.into_any(),
    ];
    PyTuple::new(py, fields)
}
