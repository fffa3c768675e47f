//! Samples of several series in compressed-sparse-row form, as numpy holds them.
use pyo3::PyErr;
use pyo3::exceptions::PyValueError;

/// Arrays that do not fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} do not fit each other")]
pub struct LengthError(&'static str);

impl From<LengthError> for PyErr {
    fn from(error: LengthError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

/// Samples of some series, end to end.
#[derive(Debug, Clone, Copy)]
pub struct Csr<'a> {
    offsets: &'a [i64],
    pub ts: &'a [i64],
    pub vals: &'a [f64],
}

impl<'a> Csr<'a> {
    /// # Errors
    /// The offsets do not cut the samples into series.
    pub fn new(offsets: &'a [i64], ts: &'a [i64], vals: &'a [f64]) -> Result<Self, LengthError> {
        if ts.len() != vals.len() {
            return Err(LengthError("timestamps and values"));
        }
        let bounded = offsets.first() == Some(&0) && offsets.last() == Some(&(ts.len() as i64));
        if !bounded || !offsets.is_sorted() {
            return Err(LengthError("offsets and samples"));
        }
        Ok(Self { offsets, ts, vals })
    }

    #[must_use]
    pub fn series_count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Where the samples of series `index` are.
    #[must_use]
    pub fn range(&self, index: usize) -> std::ops::Range<usize> {
        self.offsets[index] as usize..self.offsets[index + 1] as usize
    }
}
