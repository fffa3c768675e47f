//! Range functions: one value a step from the samples of a sliding window.
//!
//! Every function is pure over the samples of one series, in time order. Windows are left-open,
//! `(t - offset - window, t - offset]`; a step whose window gives no value stays absent. Results
//! are those of computing each window by itself, to the last bit: no running sum is carried from
//! one window to the next. Semantics: <https://prometheus.io/docs/prometheus/latest/querying/functions/>.
mod columns;
mod compare;
mod counter;
mod kahan;
mod over_time;
mod quantile;
mod trend;
mod window;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::STALE_NAN_BITS;
pub use columns::register;
use window::{Output, Samples};

/// A function over the samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollupFn {
    Instant,
    InstantTimestamp,
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Resets,
    Changes,
    AvgOverTime,
    SumOverTime,
    MinOverTime,
    MaxOverTime,
    CountOverTime,
    LastOverTime,
    FirstOverTime,
    PresentOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    MadOverTime,
    TsOfMinOverTime,
    TsOfMaxOverTime,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    DoubleExponentialSmoothing,
}

/// Why a rollup cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RollupError {
    #[error("unknown rollup function {0:?}")]
    UnknownFunction(String),
    #[error("{function} takes {expected} scalar arguments, got {found}")]
    ArgumentCount { function: &'static str, expected: usize, found: usize },
    #[error("invalid smoothing factor. Expected: 0 < sf < 1, got: {0}")]
    SmoothingFactor(f64),
    #[error("invalid trend factor. Expected: 0 < tf < 1, got: {0}")]
    TrendFactor(f64),
    #[error("invalid rollup: {0}")]
    Spec(&'static str),
    #[error("samples and results differ in length: {0}")]
    Length(&'static str),
}

/// The steps, and the window that each of them sees. All times are Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    pub start_ms: i64,
    /// The last step is not after this.
    pub end_ms: i64,
    pub step_ms: i64,
    pub window_ms: i64,
    pub offset_ms: i64,
}

impl Spec {
    /// How many values one series gets.
    ///
    /// # Errors
    /// The step or the window is not positive, or the range is too long to count.
    pub fn step_count(&self) -> Result<usize, RollupError> {
        if self.step_ms <= 0 {
            return Err(RollupError::Spec("step is not positive"));
        }
        if self.window_ms <= 0 {
            return Err(RollupError::Spec("window is not positive"));
        }
        if self.end_ms < self.start_ms {
            return Ok(0);
        }
        let span = self.end_ms.checked_sub(self.start_ms);
        let steps = span.and_then(|span| usize::try_from(span / self.step_ms).ok());
        let count = steps.and_then(|steps| steps.checked_add(1));
        count.ok_or(RollupError::Spec("range is too long"))
    }
}

impl RollupFn {
    /// # Errors
    /// No function has that name.
    pub fn parse(name: &str) -> Result<Self, RollupError> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|&(_, function)| function)
            .ok_or_else(|| RollupError::UnknownFunction(name.to_owned()))
    }

    /// The name in PromQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, function)| *function == self).map_or("", |&(name, _)| name)
    }

    /// Checks the scalar arguments once for a whole query.
    ///
    /// # Errors
    /// Their number is wrong, or a smoothing factor is outside (0, 1).
    pub fn check_args(self, args: &[f64]) -> Result<(), RollupError> {
        let expected = match self {
            Self::PredictLinear | Self::QuantileOverTime => 1,
            Self::DoubleExponentialSmoothing => 2,
            _ => 0,
        };
        if args.len() != expected {
            let found = args.len();
            return Err(RollupError::ArgumentCount { function: self.name(), expected, found });
        }
        if self == Self::DoubleExponentialSmoothing {
            if args[0] <= 0.0 || args[0] >= 1.0 {
                return Err(RollupError::SmoothingFactor(args[0]));
            }
            if args[1] <= 0.0 || args[1] >= 1.0 {
                return Err(RollupError::TrendFactor(args[1]));
            }
        }
        Ok(())
    }
}

const NAMES: [(&str, RollupFn); 28] = [
    ("instant", RollupFn::Instant),
    ("instant_timestamp", RollupFn::InstantTimestamp),
    ("rate", RollupFn::Rate),
    ("increase", RollupFn::Increase),
    ("delta", RollupFn::Delta),
    ("irate", RollupFn::Irate),
    ("idelta", RollupFn::Idelta),
    ("deriv", RollupFn::Deriv),
    ("predict_linear", RollupFn::PredictLinear),
    ("resets", RollupFn::Resets),
    ("changes", RollupFn::Changes),
    ("avg_over_time", RollupFn::AvgOverTime),
    ("sum_over_time", RollupFn::SumOverTime),
    ("min_over_time", RollupFn::MinOverTime),
    ("max_over_time", RollupFn::MaxOverTime),
    ("count_over_time", RollupFn::CountOverTime),
    ("last_over_time", RollupFn::LastOverTime),
    ("first_over_time", RollupFn::FirstOverTime),
    ("present_over_time", RollupFn::PresentOverTime),
    ("stddev_over_time", RollupFn::StddevOverTime),
    ("stdvar_over_time", RollupFn::StdvarOverTime),
    ("quantile_over_time", RollupFn::QuantileOverTime),
    ("mad_over_time", RollupFn::MadOverTime),
    ("ts_of_min_over_time", RollupFn::TsOfMinOverTime),
    ("ts_of_max_over_time", RollupFn::TsOfMaxOverTime),
    ("ts_of_first_over_time", RollupFn::TsOfFirstOverTime),
    ("ts_of_last_over_time", RollupFn::TsOfLastOverTime),
    ("double_exponential_smoothing", RollupFn::DoubleExponentialSmoothing),
];

/// Rolls up one series: `out[i]` is the value at step `i` where `present[i]`, and 0 elsewhere.
/// `ts` strictly increases. Both outputs are overwritten whole and hold `spec.step_count()`.
///
/// # Errors
/// The arguments do not fit the function, or a length is wrong; the outputs are then unspecified.
pub fn rollup(
    function: RollupFn,
    args: &[f64],
    ts: &[i64],
    vals: &[f64],
    spec: &Spec,
    out: &mut [f64],
    present: &mut [bool],
) -> Result<(), RollupError> {
    function.check_args(args)?;
    if ts.len() != vals.len() {
        return Err(RollupError::Length("timestamps and values"));
    }
    let steps = spec.step_count()?;
    if out.len() != steps || present.len() != steps {
        return Err(RollupError::Length("steps and results"));
    }
    let mut output = Output { spec, out, present };
    match function {
        RollupFn::Instant => output.fill(Samples { ts, vals }, over_time::newest),
        RollupFn::InstantTimestamp => {
            output.fill(Samples { ts, vals }, |w| over_time::newest(w).map(|_| w.last_time_s()));
        }
        _ => {
            let (ts, vals) = without_stale_markers(ts, vals);
            fill_range(function, args, Samples { ts: &ts, vals: &vals }, &mut output);
        }
    }
    Ok(())
}

fn fill_range(function: RollupFn, args: &[f64], samples: Samples<'_>, output: &mut Output<'_>) {
    use RollupFn as F;
    let whole = |value: f64| Some(value);
    let time_s = |ts: i64, _| ts as f64 / 1000.0;
    match function {
        F::Instant | F::InstantTimestamp => unreachable!("these see staleness markers"),
        F::Rate => counter::extrapolated(samples, output, counter::Kind::RATE),
        F::Increase => counter::extrapolated(samples, output, counter::Kind::INCREASE),
        F::Delta => counter::extrapolated(samples, output, counter::Kind::DELTA),
        F::Irate => output.fill(samples, counter::irate),
        F::Idelta => output.fill(samples, counter::idelta),
        F::Resets => counter::resets(samples, output),
        F::Changes => counter::changes(samples, output),
        F::Deriv => output.fill(samples, trend::deriv),
        F::PredictLinear => output.fill(samples, |w| trend::predict_linear(w, args[0])),
        F::DoubleExponentialSmoothing => {
            output.fill(samples, |w| trend::double_exponential_smoothing(w, args[0], args[1]));
        }
        F::AvgOverTime => output.fill(samples, |w| whole(over_time::avg(w.vals))),
        F::SumOverTime => output.fill(samples, |w| whole(over_time::sum(w.vals))),
        F::StdvarOverTime => output.fill(samples, |w| whole(over_time::variance(w.vals))),
        F::StddevOverTime => output.fill(samples, |w| whole(over_time::variance(w.vals).sqrt())),
        F::CountOverTime => output.fill(samples, |w| whole(w.vals.len() as f64)),
        F::PresentOverTime => output.fill(samples, |_| whole(1.0)),
        F::LastOverTime => output.fill(samples, |w| w.vals.last().copied()),
        F::FirstOverTime => output.fill(samples, |w| w.vals.first().copied()),
        F::TsOfFirstOverTime => output.fill(samples, |w| whole(w.first_time_s())),
        F::TsOfLastOverTime => output.fill(samples, |w| whole(w.last_time_s())),
        F::MinOverTime => compare::fill(samples, output, |new, old| new < old, |_, v| v),
        F::MaxOverTime => compare::fill(samples, output, |new, old| new > old, |_, v| v),
        F::TsOfMinOverTime => compare::fill(samples, output, |new, old| new <= old, time_s),
        F::TsOfMaxOverTime => compare::fill(samples, output, |new, old| new >= old, time_s),
        F::QuantileOverTime => {
            let mut scratch = Vec::new();
            output.fill(samples, |w| whole(quantile::quantile(args[0], w.vals, &mut scratch)));
        }
        F::MadOverTime => {
            let mut scratch = Vec::new();
            output.fill(samples, |w| whole(quantile::mad(w.vals, &mut scratch)));
        }
    }
}

/// A range window has no staleness markers; most series have none, and then nothing is copied.
fn without_stale_markers<'a>(ts: &'a [i64], vals: &'a [f64]) -> (Cow<'a, [i64]>, Cow<'a, [f64]>) {
    if !vals.iter().any(|v| v.to_bits() == STALE_NAN_BITS) {
        return (Cow::Borrowed(ts), Cow::Borrowed(vals));
    }
    let kept = ts.iter().zip(vals).filter(|(_, v)| v.to_bits() != STALE_NAN_BITS);
    let (ts, vals): (Vec<i64>, Vec<f64>) = kept.unzip();
    (Cow::Owned(ts), Cow::Owned(vals))
}
