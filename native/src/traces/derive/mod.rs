//! Metrics derived from spans as they arrive: requests, errors and durations of every operation,
//! and the graph of who calls whom.
//!
//! Names, labels and default buckets are those of Grafana Tempo's metrics generator,
//! <https://grafana.com/docs/tempo/latest/metrics-from-traces/>; docs/span-metrics.md tells where
//! what is counted differs. All values are whole numbers until they are written, so that the order
//! of arrival does not change them.

pub mod batch;
pub mod calls;
pub mod checkpoint;
pub mod graph;
pub mod histogram;
pub mod limit;
pub mod operations;
pub mod pending;
pub mod python;
pub mod resources;
pub mod roles;
pub mod samples;
pub mod state;
pub mod targets;
