//! Bytes from the wire to columns and back.
use pyo3::prelude::*;

/// Adds this module's classes and functions to `obsd._native`.
pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
