//! The Python face of the counters of spans.

use super::state::{Options, State};
use crate::traces::python::PySpanBatch;
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;

/// What one project's spans were counted to.
#[pyclass(name = "SpanCounters", frozen, module = "obsd._native")]
pub struct PySpanCounters {
    state: Mutex<State>,
}

impl PySpanCounters {
    /// Works on the state without the interpreter's lock, which is not held while waiting.
    pub fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut State) -> T + Send) -> T {
        py.detach(|| work(&mut self.state.lock()))
    }
}

#[pymethods]
impl PySpanCounters {
    /// Dimensions as attribute and label; bounds in seconds; wait, interval and idle time in
    /// milliseconds; series and waiting spans at most; whether there are targets and instances.
    #[new]
    fn new(
        dimensions: Vec<(String, String)>,
        latency_buckets: Vec<f64>,
        graph_buckets: Vec<f64>,
        times_ms: (i64, i64, i64),
        limits: (usize, usize),
        wanted: (bool, bool),
    ) -> Self {
        let (wait_ms, interval_ms, idle_ms) = times_ms;
        let (max_series, max_pending) = limits;
        let (has_target_info, has_instances) = wanted;
        let options = Options {
            dimensions,
            latency_buckets,
            graph_buckets,
            wait_ms,
            interval_ms,
            idle_ms,
            max_series,
            max_pending,
            has_target_info,
            has_instances,
        };
        Self { state: Mutex::new(State::new(options)) }
    }

    /// Counts a request's spans, the first of which has this number.
    fn count_batch(&self, py: Python<'_>, batch: &PySpanBatch, first_row: i64, now_ms: i64) {
        self.with(py, |state| state.count_batch(&batch.batch, batch.body(), first_row, now_ms));
    }

    /// Counts the calls whose other side did not come in time.
    fn expire(&self, py: Python<'_>, now_ms: i64) {
        self.with(py, |state| state.expire(now_ms));
    }

    /// Ends series without spans for long.
    fn forget_idle(&self, py: Python<'_>, now_ms: i64) {
        self.with(py, |state| state.forget_idle(now_ms));
    }

    /// Samples of all series as compressed remote write requests.
    fn samples<'py>(
        &self,
        py: Python<'py>,
        now_ms: i64,
        with_metadata: bool,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let bodies = self.with(py, |state| state.samples(now_ms, with_metadata))?;
        Ok(bodies.iter().map(|body| PyBytes::new(py, body)).collect())
    }

    /// The samples are stored.
    fn confirm(&self, py: Python<'_>) {
        self.with(py, State::confirm);
    }

    /// Whether anything has changed since this was asked.
    fn take_changes(&self, py: Python<'_>) -> bool {
        self.with(py, |state| std::mem::take(&mut state.has_changed))
    }

    fn encode<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let stored = self.with(py, |state| state.encode());
        Ok(PyBytes::new(py, &stored.map_err(|error| PyOSError::new_err(error.to_string()))?))
    }

    fn restore(&self, py: Python<'_>, stored: &[u8]) -> PyResult<()> {
        self.with(py, |state| state.restore(stored))
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// The last span that was counted; -1 before the first.
    #[getter]
    fn row(&self, py: Python<'_>) -> i64 {
        self.with(py, |state| state.row)
    }

    #[setter]
    fn set_row(&self, py: Python<'_>, row: i64) {
        self.with(py, |state| state.row = row);
    }

    fn totals(&self, py: Python<'_>) -> BTreeMap<&'static str, u64> {
        self.with(py, |state| {
            BTreeMap::from([
                ("spans", state.totals.spans),
                ("repeated", state.totals.repeated),
                ("unpaired", state.totals.unpaired),
                ("dropped", state.pending.dropped),
                ("overflowed", state.limit.overflowed),
                ("pending", state.pending.len() as u64),
                ("series", state.limit.used() as u64),
            ])
        })
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PySpanCounters>()
}
