//! The metrics engine's kernels.
pub mod columns;
pub mod gorilla;
pub mod rollup;

use pyo3::prelude::*;

/// Adds this module's classes and functions to `obsd._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    rollup::register(m)?;
    Ok(())
}
