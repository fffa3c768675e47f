//! Reading series across heads and parts: columns, matrices, histograms and exemplars.

use super::{PyHead, corrupt, detached};
use crate::tsdb::head::BlobKind;
use crate::tsdb::part::python::PyPart;
use crate::tsdb::rollup::{RollupError, RollupFn, Spec};
use crate::tsdb::select::{self, SelectError};
use crate::tsdb::series_source::SeriesSource;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::Arc;

fn select_error(error: SelectError) -> PyErr {
    match error {
        SelectError::Read(e) => corrupt(&e),
        other => PyValueError::new_err(other.to_string()),
    }
}

/// The heads and parts of a list, oldest first.
fn read_sources(list: &Bound<'_, PyList>) -> PyResult<Vec<Arc<dyn SeriesSource>>> {
    list.iter()
        .map(|item| match item.cast::<PyPart>() {
            Ok(part) => Ok(part.get().source()),
            Err(_) => Ok(Arc::clone(&item.cast::<PyHead>()?.get().0) as Arc<dyn SeriesSource>),
        })
        .collect()
}

type CsrArrays<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>);

/// Samples of each series from `start` to `end`, both included: (offsets, timestamps, values).
#[pyfunction]
fn select_samples<'py>(
    py: Python<'py>,
    sources: &Bound<'py, PyList>,
    ids: PyReadonlyArray1<'py, u32>,
    start: i64,
    end: i64,
) -> PyResult<CsrArrays<'py>> {
    let sources = read_sources(sources)?;
    let ids = ids.as_slice()?;
    let columns =
        detached(py, || select::samples(&sources, ids, start, end))?.map_err(|e| corrupt(&e))?;
    Ok((
        columns.offsets.into_pyarray(py),
        columns.ts.into_pyarray(py),
        columns.values.into_pyarray(py),
    ))
}

type MatrixArrays<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<bool>>, u64);

/// A function over a sliding window of each series: (values, present, samples read), the arrays
/// of shape (series, steps).
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn rollup<'py>(
    py: Python<'py>,
    sources: &Bound<'py, PyList>,
    ids: PyReadonlyArray1<'py, u32>,
    function: &str,
    args: Vec<f64>,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    window_ms: i64,
    offset_ms: i64,
) -> PyResult<MatrixArrays<'py>> {
    let sources = read_sources(sources)?;
    let ids = ids.as_slice()?;
    let value_error = |e: RollupError| PyValueError::new_err(e.to_string());
    let function = RollupFn::parse(function).map_err(value_error)?;
    let spec = Spec { start_ms, end_ms, step_ms, window_ms, offset_ms };
    let steps = spec.step_count().map_err(value_error)?;
    let matrix = detached(py, || select::rollup(&sources, ids, function, &args, &spec))?
        .map_err(select_error)?;
    let shape = [ids.len(), steps];
    Ok((
        matrix.values.into_pyarray(py).reshape(shape)?,
        matrix.present.into_pyarray(py).reshape(shape)?,
        matrix.samples,
    ))
}

/// Histograms ("histogram") or exemplars ("exemplar") of each series: (offsets, timestamps,
/// messages).
#[pyfunction]
#[allow(clippy::type_complexity)]
fn select_blobs<'py>(
    py: Python<'py>,
    sources: &Bound<'py, PyList>,
    ids: PyReadonlyArray1<'py, u32>,
    kind: &str,
    start: i64,
    end: i64,
) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyList>)> {
    let kind = match kind {
        "histogram" => BlobKind::Histogram,
        "exemplar" => BlobKind::Exemplar,
        _ => return Err(PyValueError::new_err(format!("unknown kind {kind:?}"))),
    };
    let sources = read_sources(sources)?;
    let ids = ids.as_slice()?;
    let (offsets, blobs) = detached(py, || select::blobs(&sources, ids, kind, start, end))?
        .map_err(|e| corrupt(&e))?;
    let (mut ts, messages) = (Vec::with_capacity(blobs.len()), PyList::empty(py));
    for (at, bytes) in blobs {
        ts.push(at);
        messages.append(PyBytes::new(py, &bytes))?;
    }
    Ok((offsets.into_pyarray(py), ts.into_pyarray(py), messages))
}

/// Those of the ids that have samples or histograms from `start` to `end`, in the given order.
#[pyfunction]
fn with_samples<'py>(
    py: Python<'py>,
    sources: &Bound<'py, PyList>,
    ids: PyReadonlyArray1<'py, u32>,
    start: i64,
    end: i64,
) -> PyResult<Bound<'py, PyArray1<u32>>> {
    let sources = read_sources(sources)?;
    let ids = ids.as_slice()?;
    let found = detached(py, || select::with_samples(&sources, ids, start, end))?;
    Ok(found.into_pyarray(py))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(select_samples, m)?)?;
    m.add_function(wrap_pyfunction!(rollup, m)?)?;
    m.add_function(wrap_pyfunction!(select_blobs, m)?)?;
    m.add_function(wrap_pyfunction!(with_samples, m)?)
}
