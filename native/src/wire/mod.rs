//! Bytes from the wire to columns and back.
pub mod exposition;
pub mod go_text;
pub mod histogram;
pub mod log_request;
pub mod loki_push;
pub mod otlp_metrics;
pub mod protobuf;
pub mod remote_write;
pub mod result_json;
pub mod varint;
pub mod write_request;
pub mod xor_chunk;

use pyo3::prelude::*;

/// Adds this module's classes and functions to `obsd._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    exposition::register(m)?;
    loki_push::register(m)?;
    otlp_metrics::register(m)?;
    write_request::register(m)?;
    xor_chunk::register(m)?;
    result_json::register(m)
}
