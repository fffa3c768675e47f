//! Values as Python objects.

use super::value::{Value, list, map};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

/// A text; what is no UTF-8 in it is replaced.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::new(py, &String::from_utf8_lossy(bytes))
}

/// A value.
pub fn value<'py>(py: Python<'py>, value_: Value<'_>) -> PyResult<Bound<'py, PyAny>> {
    match value_ {
        Value::Null => py.None().into_bound_py_any(py),
        Value::Text(bytes) => Ok(text(py, bytes).into_any()),
        Value::Int(n) => n.into_bound_py_any(py),
        Value::Double(n) => n.into_bound_py_any(py),
        Value::Bool(b) => b.into_bound_py_any(py),
        Value::Bytes(bytes) => Ok(PyBytes::new(py, bytes).into_any()),
        Value::List(message) => {
            let items = PyList::empty(py);
            for item in list(message) {
                items.append(value(py, item)?)?;
            }
            Ok(items.into_any())
        }
        Value::Map(message) => {
            let entries = PyDict::new(py);
            add_entries(&entries, message)?;
            Ok(entries.into_any())
        }
    }
}

/// Adds an entry, unless one of its key is there.
pub fn add(entries: &Bound<'_, PyDict>, key: &[u8], item: Value<'_>) -> PyResult<()> {
    let key = text(entries.py(), key);
    // Of equal keys the first counts, as in searches.
    if entries.contains(&key)? {
        return Ok(());
    }
    entries.set_item(key, value(entries.py(), item)?)
}

/// Adds the entries of a `KeyValueList`.
pub fn add_entries(entries: &Bound<'_, PyDict>, message: &[u8]) -> PyResult<()> {
    map(message).try_for_each(|(key, item)| add(entries, key, item))
}

/// The attributes of an OTLP `KeyValueList`.
pub fn entries<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    add_entries(&found, message)?;
    Ok(found)
}
