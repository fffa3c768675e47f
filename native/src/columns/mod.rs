//! Columns of values, with what searches over them need: shared by logs and traces.
pub mod bits;
pub mod cache;
pub mod column;
pub mod fuse;
pub mod python_value;
pub mod stored;
pub mod unpack;
pub mod value;
