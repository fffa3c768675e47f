//! The Python binding: rollups of samples in compressed-sparse-row form.
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray1, ToPyArray};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rayon::prelude::*;

use crate::tsdb::columns::Csr;

use super::{RollupError, RollupFn, Spec, rollup};

/// Below this many samples and results, starting threads costs more than it saves.
const PARALLEL_WORK: usize = 1 << 16;

impl From<RollupError> for PyErr {
    fn from(error: RollupError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

/// Adds `rollup_columns` to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(rollup_columns, m)?)
}

type Rolled<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<bool>>);

/// Rolls up every series of a columns triple: values and present, both of shape (series, steps).
#[pyfunction]
#[allow(clippy::too_many_arguments)] // Flat, since the caller is Python.
fn rollup_columns<'py>(
    py: Python<'py>,
    function: &str,
    args: Vec<f64>,
    offsets: PyReadonlyArray1<'py, i64>,
    timestamps: PyReadonlyArray1<'py, i64>,
    values: PyReadonlyArray1<'py, f64>,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    window_ms: i64,
    offset_ms: i64,
) -> PyResult<Rolled<'py>> {
    let function = RollupFn::parse(function)?;
    let spec = Spec { start_ms, end_ms, step_ms, window_ms, offset_ms };
    let (offsets, ts, vals) = (offsets.as_slice()?, timestamps.as_slice()?, values.as_slice()?);
    let columns = Csr::new(offsets, ts, vals)?;
    function.check_args(&args)?;
    let steps = spec.step_count()?;
    let (out, present) = py.detach(|| roll_all(columns, function, &args, &spec, steps))?;
    let shape = [columns.series_count(), steps];
    Ok((out.to_pyarray(py).reshape(shape)?, present.to_pyarray(py).reshape(shape)?))
}

fn roll_all(
    columns: Csr<'_>,
    function: RollupFn,
    args: &[f64],
    spec: &Spec,
    steps: usize,
) -> Result<(Vec<f64>, Vec<bool>), RollupError> {
    let cells = columns.series_count().saturating_mul(steps);
    let (mut out, mut present) = (vec![0.0; cells], vec![false; cells]);
    if steps == 0 {
        return Ok((out, present));
    }
    let one = |index: usize, out: &mut [f64], present: &mut [bool]| {
        let range = columns.range(index);
        let (ts, vals) = (&columns.ts[range.clone()], &columns.vals[range]);
        rollup(function, args, ts, vals, spec, out, present)
    };
    if cells + columns.ts.len() < PARALLEL_WORK {
        let rows = out.chunks_mut(steps).zip(present.chunks_mut(steps)).enumerate();
        rows.into_iter().try_for_each(|(i, (out, present))| one(i, out, present))?;
    } else {
        let rows = out.par_chunks_mut(steps).zip(present.par_chunks_mut(steps)).enumerate();
        rows.try_for_each(|(i, (out, present))| one(i, out, present))?;
    }
    Ok((out, present))
}
