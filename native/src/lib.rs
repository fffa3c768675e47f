//! The per-byte and per-sample loops of obsd. This file only assembles the Python module; each
//! binding stands beside what it binds.
use pyo3::prelude::*;

mod columns;
mod logs;
mod traces;
mod tsdb;
mod wire;

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    logs::register(m)?;
    traces::register(m)?;
    tsdb::register(m)?;
    wire::register(m)
}
