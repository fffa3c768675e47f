//! What is done with records before they are stored: texts are parsed, stack traces joined, and
//! the rules of a project run.
mod access;
mod detect;
mod draft;
mod edit;
mod exception;
mod fields;
mod findings;
mod grok;
mod headers;
mod json;
pub mod level;
mod lines;
mod logfmt;
mod mask;
pub mod names;
mod python;
mod request;
mod rules;
mod split;
mod stack;
mod syslog;
mod time;
mod when;

pub use python::register;
