//! What LogQL asks of the log engine: labels of streams, and lines with them in order of time.

pub mod labels;
pub mod python;
pub mod scan;
