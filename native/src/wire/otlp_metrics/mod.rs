//! OTLP metrics in Prometheus' model: from export requests to remote write requests.

mod attributes;
mod convert;
mod delta;
mod label_cache;
mod names;
mod output;
mod points;
mod refusal;
mod resource;

use self::convert::{ConvertError, Options, Times, convert};
use self::delta::Deltas;
use self::label_cache::LabelCache;
use self::names::{Shape, Strategy, label_name, metric_name};
use crate::tsdb::python::TooLargeError;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::borrow::Cow;
use std::collections::HashMap;

/// Adds this directory's class and functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<OtlpMetrics>()?;
    m.add_function(wrap_pyfunction!(otlp_metric_name, m)?)?;
    m.add_function(wrap_pyfunction!(otlp_label_name, m)?)
}

/// Attributes as labels by name, with the names that they have in Prometheus' model.
#[must_use]
pub fn labels_of<'a>(
    attributes: &mut [(&'a str, Cow<'a, str>)],
) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    attributes::translate(attributes, Strategy { escapes: true, suffixes: true })
}

impl From<ConvertError> for PyErr {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::Wire(_) => PyValueError::new_err(error.to_string()),
            ConvertError::TooLarge(_) => TooLargeError::new_err(error.to_string()),
        }
    }
}

fn parse_strategy(name: &str) -> PyResult<Strategy> {
    Strategy::parse(name)
        .ok_or_else(|| PyValueError::new_err(format!("unknown translation strategy {name:?}")))
}

/// Requests, points that are in them, refused points by reason, and the first few in words.
type Answer<'py> = (Vec<Bound<'py, PyBytes>>, u64, HashMap<&'static str, u64>, Vec<String>);

/// One project's metrics: how they are to look, and its sums of deltas. Any thread.
#[pyclass(frozen)]
struct OtlpMetrics {
    options: Options,
    deltas: Mutex<Deltas>,
    labels: Mutex<LabelCache>,
}

#[pymethods]
impl OtlpMetrics {
    #[new]
    #[pyo3(signature = (*, strategy, promoted, promote_all, ignored, keep_identifying,
        promote_scope, custom_buckets, lookback_ms, delta_idle_ms, delta_memory_bytes))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn new(
        strategy: &str,
        promoted: Vec<String>,
        promote_all: bool,
        ignored: Vec<String>,
        keep_identifying: bool,
        promote_scope: bool,
        custom_buckets: bool,
        lookback_ms: i64,
        delta_idle_ms: i64,
        delta_memory_bytes: usize,
    ) -> PyResult<Self> {
        Ok(Self {
            options: Options {
                strategy: parse_strategy(strategy)?,
                promoted,
                promote_all,
                ignored,
                keep_identifying,
                promote_scope,
                custom_buckets,
                lookback_ms,
            },
            deltas: Mutex::new(Deltas::new(delta_idle_ms, delta_memory_bytes)),
            labels: Mutex::default(),
        })
    }

    /// An `ExportMetricsServiceRequest` as snappy-compressed remote write 1.0 requests.
    fn convert<'py>(
        &self,
        py: Python<'py>,
        body: &[u8],
        now_ms: i64,
        min_ms: i64,
        max_ms: i64,
        piece_bytes: usize,
    ) -> PyResult<Answer<'py>> {
        let times = Times { now_ms, min_ms, max_ms };
        let converted = py.detach(|| {
            // Another request may have it: then this one goes without.
            let cache = self.labels.try_lock();
            convert(body, &self.options, times, &self.deltas, cache, piece_bytes)
        })?;
        let bodies = converted.bodies.iter().map(|body| PyBytes::new(py, body)).collect();
        let rejected = converted.refusals.counts.into_iter().collect();
        Ok((bodies, converted.points, rejected, converted.refusals.messages))
    }

    /// Ends the runs of deltas that nobody has added to for long, and gives how many go on.
    fn expire(&self, py: Python<'_>, now_ms: i64) -> usize {
        py.detach(|| {
            let mut deltas = self.deltas.lock();
            deltas.expire(now_ms);
            deltas.series()
        })
    }
}

/// The name of a metric of a shape: `gauge`, `counter` or another one.
#[pyfunction]
fn otlp_metric_name(name: &str, unit: &str, shape: &str, strategy: &str) -> PyResult<String> {
    let shape = match shape {
        "gauge" => Shape::Gauge,
        "counter" => Shape::Counter,
        _ => Shape::Other,
    };
    Ok(metric_name(name, unit, shape, parse_strategy(strategy)?))
}

/// The name of the label that an attribute becomes.
#[pyfunction]
fn otlp_label_name(key: &str, strategy: &str) -> PyResult<String> {
    Ok(label_name(key, parse_strategy(strategy)?).into_owned())
}
