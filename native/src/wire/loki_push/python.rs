//! Binds the readers of pushes.

use super::PushError;
use super::protobuf;
use super::push::{Push, Refusal};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(read_loki_protobuf, m)?)
}

type Read<'py> = (Bound<'py, PyBytes>, usize, Vec<String>, usize);

/// The request, its records, why the first few entries and streams are left out, and how many are.
///
/// Raises `ValueError` for what is no such message, `MemoryError` for what takes too much of it.
#[pyfunction]
fn read_loki_protobuf<'py>(
    py: Python<'py>,
    body: &[u8],
    max_memory_bytes: usize,
) -> PyResult<Read<'py>> {
    let mut push = Push::new(max_memory_bytes);
    py.detach(|| protobuf::read(body, &mut push)).map_err(|error| match error {
        PushError::TooLarge(_) => PyMemoryError::new_err(error.to_string()),
        PushError::Wire(_) => PyValueError::new_err(error.to_string()),
    })?;
    let refusals = push.refusals.iter().map(|each| text(py, each)).collect::<PyResult<_>>()?;
    let (record_count, refused_count) = (push.request.record_count, push.refused_count);
    let request = py.detach(|| push.request.finish());
    Ok((PyBytes::new(py, &request), record_count, refusals, refused_count))
}

/// Quoted as Python quotes.
fn text(py: Python<'_>, refusal: &Refusal) -> PyResult<String> {
    let quoted = match &refusal.quoted {
        Some(text) => PyString::new(py, text).repr()?.extract::<String>()?,
        None => String::new(),
    };
    Ok(format!("{}{quoted}{}", refusal.before, refusal.after))
}
