//! The span engine's kernels: spans to columns, traces by id, and searches over them.
pub mod derive;
pub mod otlp;
pub mod place;

mod python;

use pyo3::prelude::*;

/// Adds this directory's classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    python::register(m)?;
    derive::python::register(m)
}
