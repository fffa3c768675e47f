//! The Python face of the span engine's kernels.

use super::otlp::{Batch, DecodeError, Limits, MAX_PARTS_BYTES};
use crate::tsdb::python::TooLargeError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;

const WAL_LEVEL: i32 = 1;

enum Body {
    Python(PyBackedBytes),
    Own(Vec<u8>),
}

/// A decoded request, on its way into a memtable.
#[pyclass(name = "SpanBatch", frozen, module = "obsd._native")]
pub struct PySpanBatch {
    body: Body,
    pub batch: Batch,
}

/// (now, oldest, bytes of a span, attributes of a span) as Python gives it.
type LimitsTuple = (i64, i64, usize, usize);

fn decode(
    py: Python<'_>,
    body: Body,
    (now_ns, oldest_ns, span_bytes, attributes): LimitsTuple,
) -> PyResult<PySpanBatch> {
    let limits = Limits { now_ns, oldest_ns, span_bytes, attributes };
    let mut new = PySpanBatch { body, batch: Batch::default() };
    let decoded = py.detach(|| Batch::decode(new.body(), &limits));
    new.batch = decoded.map_err(|e| match e {
        DecodeError::TooManyParts => TooLargeError::new_err(e.to_string()),
        DecodeError::Wire(e) => PyValueError::new_err(format!("not an OTLP trace request: {e}")),
    })?;
    Ok(new)
}

impl PySpanBatch {
    /// The request, which the batch has places in.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Python(bytes) => bytes,
            Body::Own(bytes) => bytes,
        }
    }
}

#[pymethods]
impl PySpanBatch {
    #[classattr]
    const MAX_BYTES: usize = MAX_PARTS_BYTES;

    #[staticmethod]
    fn decode(py: Python<'_>, body: PyBackedBytes, limits: LimitsTuple) -> PyResult<Self> {
        decode(py, Body::Python(body), limits)
    }

    /// Reads what `packed` gave.
    #[staticmethod]
    fn unpack(
        py: Python<'_>,
        packed: &[u8],
        size_bytes: usize,
        limits: LimitsTuple,
    ) -> PyResult<Self> {
        let body = py
            .detach(|| zstd::bulk::decompress(packed, size_bytes))
            .map_err(|e| PyValueError::new_err(format!("bad zstd stream: {e}")))?;
        decode(py, Body::Own(body), limits)
    }

    /// The request, compressed.
    fn packed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let packed = py
            .detach(|| zstd::bulk::compress(self.body(), WAL_LEVEL))
            .map_err(|e| TooLargeError::new_err(e.to_string()))?;
        Ok(PyBytes::new(py, &packed))
    }

    #[getter]
    fn spans(&self) -> usize {
        self.batch.spans.len()
    }

    #[getter]
    fn rejected(&self) -> BTreeMap<&'static str, u64> {
        self.batch.refused.iter().map(|(reason, count)| (reason.name(), *count)).collect()
    }

    #[getter]
    fn messages(&self) -> Vec<String> {
        self.batch.messages.clone()
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PySpanBatch>()
}
