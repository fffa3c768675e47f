//! The span engine's kernels: spans to columns, traces by id, and searches over them.
pub mod otlp;
pub mod place;

mod python;

pub use python::register;
