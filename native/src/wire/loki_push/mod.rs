//! Loki's pushes as OTLP log requests: docs/api/logs.md.

mod hints;
mod labels;
mod pairs;
mod protobuf;
mod push;
mod python;

pub use python::register;

use super::log_request::TooLarge;
use super::protobuf::WireError;

/// What is wrong with a push as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("cannot decode protobuf: {0}")]
    Wire(#[from] WireError),
}
