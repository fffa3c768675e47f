//! The log engine's kernels: records to columns and token filters, and searches over them.
pub mod arrived;
pub mod builder;
pub mod drain;
pub mod drain_file;
pub mod drain_merge;
pub mod entry;
pub mod eval;
pub mod expression;
pub mod granule;
pub mod grouping;
pub mod levels;
pub mod logql;
pub mod memtable;
pub mod needed;
pub mod otlp;
pub mod patterns_search;
pub mod patterns_skeleton;
pub mod patterns_values;
pub mod pipeline;
pub mod predicate;
pub mod resources;
pub mod search;
pub mod seen;
pub mod segment;
pub mod selected;
pub mod sightings;
pub mod statistics;
pub mod summary;
pub mod text;
pub mod view;

mod patterns_python;
mod python;
mod python_predicate;
mod python_value;

pub use crate::columns::{bits, cache, column, fuse, stored, value};
pub use python::register;
