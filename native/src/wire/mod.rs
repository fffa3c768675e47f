//! Bytes from the wire to columns and back.
pub mod go_text;
pub mod result_json;

use pyo3::prelude::*;

/// Adds this module's classes and functions to `obsd._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    result_json::register(m)?;
    Ok(())
}
