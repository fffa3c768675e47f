//! The span engine's kernels: spans to columns, traces by id, and searches over them.
pub mod builder;
pub mod catalog;
pub mod chunk;
pub mod derive;
pub mod eval;
pub mod granule;
pub mod index;
pub mod memtable;
pub mod merge;
pub mod otlp;
pub mod otlp_trace;
pub mod place;
pub mod predicate;
pub mod search;
pub mod segment;
pub mod sources;
pub mod split;
pub mod values;

#[cfg(test)]
mod round_trip;

mod python;
mod python_predicate;
mod python_span;

use pyo3::prelude::*;

/// Adds this directory's classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    python::register(m)?;
    derive::python::register(m)
}
