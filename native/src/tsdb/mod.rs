//! The metrics engine's kernels.
pub mod codec;
pub mod columns;
pub mod fingerprint;
pub mod flush;
pub mod gorilla;
pub mod head;
pub mod ingest;
pub mod matcher;
pub mod merge;
pub mod part;
pub mod postings;
pub mod registry;
pub mod rollup;
pub mod select;
pub mod series_source;
pub mod slab;
pub mod symbols;

pub mod python;

use pyo3::prelude::*;

/// The NaN that ends a series, compared by bits: Prometheus' staleness marker.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Adds this module's classes and functions to `obsd._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    rollup::register(m)?;
    part::python::register(m)?;
    merge::python::register(m)?;
    python::register(m)
}
