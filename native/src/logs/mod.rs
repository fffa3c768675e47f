//! The log engine's kernels: records to columns and token filters, and searches over them.
pub mod arrived;
pub mod bits;
pub mod builder;
pub mod column;
pub mod eval;
pub mod fuse;
pub mod granule;
pub mod grouping;
pub mod levels;
pub mod memtable;
pub mod otlp;
pub mod predicate;
pub mod resources;
pub mod search;
pub mod segment;
pub mod text;
pub mod value;

mod python;
mod python_predicate;
mod python_value;

pub use python::register;
