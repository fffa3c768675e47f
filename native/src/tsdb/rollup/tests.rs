//! Every function against the plain computation of each window by itself, and known answers.
use proptest::prelude::*;

use super::{RollupError, RollupFn, Spec, rollup};
use crate::tsdb::STALE_NAN_BITS;

type Steps = Vec<Option<f64>>;

fn run(name: &str, args: &[f64], ts: &[i64], vals: &[f64], spec: &Spec) -> Steps {
    let steps = spec.step_count().expect("a valid spec");
    let (mut out, mut present) = (vec![f64::NAN; steps], vec![true; steps]);
    let function = RollupFn::parse(name).expect("a known function");
    rollup(function, args, ts, vals, spec, &mut out, &mut present).expect("valid arguments");
    out.iter().zip(present).map(|(&value, present)| present.then_some(value)).collect()
}

fn one(name: &str, args: &[f64], samples: &[(i64, f64)], window_ms: i64, at: i64) -> Option<f64> {
    let (ts, vals): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
    let spec = Spec { start_ms: at, end_ms: at, step_ms: 1, window_ms, offset_ms: 0 };
    run(name, args, &ts, &vals, &spec)[0]
}

fn stale() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

#[test]
fn windows_are_open_on_the_left() {
    let samples = [(1_000, 1.0), (2_000, 2.0), (3_000, 4.0)];
    assert_eq!(one("sum_over_time", &[], &samples, 2_000, 3_000), Some(6.0));
    assert_eq!(one("sum_over_time", &[], &samples, 2_001, 3_000), Some(7.0));
    assert_eq!(one("sum_over_time", &[], &samples, 500, 3_600), None);
}

#[test]
fn an_offset_shifts_the_window_into_the_past() {
    let spec = Spec {
        start_ms: 10_000,
        end_ms: 12_500,
        step_ms: 1_000,
        window_ms: 1_000,
        offset_ms: 9_000,
    };
    let got = run("instant", &[], &[1_000, 2_500], &[7.0, 8.0], &spec);
    assert_eq!(got, [Some(7.0), None, Some(8.0)]);
}

#[test]
fn a_stale_marker_ends_the_instant_value_but_not_a_range() {
    let samples = [(1_000, 1.0), (2_000, stale())];
    assert_eq!(one("instant", &[], &samples, 5_000, 2_500), None);
    assert_eq!(one("instant_timestamp", &[], &samples, 5_000, 1_500), Some(1.0));
    assert_eq!(one("last_over_time", &[], &samples, 5_000, 2_500), Some(1.0));
    assert_eq!(one("count_over_time", &[], &[(2_000, stale())], 5_000, 2_500), None);
    let ordinary_nan = [(1_000, f64::NAN)];
    assert!(one("instant", &[], &ordinary_nan, 5_000, 2_500).is_some_and(f64::is_nan));
}

#[test]
fn rate_extrapolates_to_close_bounds_and_stops_at_zero() {
    // One sample every 10 s over a whole minute: the increase is that of the whole window.
    let samples: Vec<_> = (0..7).map(|i| (i * 10_000, 100.0 + i as f64)).collect();
    assert_eq!(one("increase", &[], &samples, 60_000, 60_000), Some(6.0));
    assert_eq!(one("rate", &[], &samples, 60_000, 60_000), Some(0.1));
    // Started from zero inside the window: nothing is added before the zero point.
    let young = [(100_000, 0.0), (110_000, 10.0)];
    assert_eq!(one("increase", &[], &young, 60_000, 110_000), Some(10.0));
    assert_eq!(one("delta", &[], &young, 60_000, 110_000), Some(15.0));
    assert_eq!(one("rate", &[], &young[..1], 60_000, 110_000), None);
}

#[test]
fn a_drop_is_a_restart_for_counters_alone() {
    let samples = [(10_000, 5.0), (20_000, 9.0), (30_000, 2.0), (40_000, 3.0)];
    let increase = one("increase", &[], &samples, 30_001, 40_000);
    assert!(increase.is_some_and(|v| (v - 7.0).abs() < 0.001));
    assert_eq!(one("resets", &[], &samples, 60_000, 40_000), Some(1.0));
    assert_eq!(one("irate", &[], &samples[..3], 60_000, 40_000), Some(0.2));
    assert_eq!(one("idelta", &[], &samples[..3], 60_000, 40_000), Some(-7.0));
}

#[test]
fn extremes_skip_nan_unless_alone_and_tell_the_last_time() {
    let samples = [(1, f64::NAN), (2, 3.0), (3, 1.0), (4, 1.0), (5, f64::NAN)];
    assert_eq!(one("min_over_time", &[], &samples, 10, 5), Some(1.0));
    assert_eq!(one("max_over_time", &[], &samples, 10, 5), Some(3.0));
    assert_eq!(one("ts_of_min_over_time", &[], &samples, 10, 5), Some(0.004));
    assert_eq!(one("ts_of_max_over_time", &[], &samples, 10, 5), Some(0.002));
    assert!(one("max_over_time", &[], &samples[..1], 10, 5).is_some_and(f64::is_nan));
}

#[test]
fn avg_survives_a_sum_beyond_the_largest_float() {
    let samples = [(1, f64::MAX), (2, f64::MAX), (3, f64::MAX)];
    let avg = one("avg_over_time", &[], &samples, 10, 5);
    assert!(avg.is_some_and(|v| (v / f64::MAX - 1.0).abs() < 1e-15));
    let cancelling = [(1, 1e100), (2, 1.0), (3, -1e100), (4, 1.0)];
    assert_eq!(one("sum_over_time", &[], &cancelling, 10, 5), Some(2.0));
    assert_eq!(one("avg_over_time", &[], &cancelling, 10, 5), Some(0.5));
}

#[test]
fn quantiles_interpolate_and_refuse_nothing() {
    let samples = [(1, 4.0), (2, 1.0), (3, 2.0), (4, 3.0)];
    let quantile = |q: f64| one("quantile_over_time", &[q], &samples, 10, 5);
    assert_eq!(quantile(0.5), Some(2.5));
    assert_eq!(quantile(1.0), Some(4.0));
    assert_eq!(quantile(-0.1), Some(f64::NEG_INFINITY));
    assert_eq!(quantile(1.1), Some(f64::INFINITY));
    assert!(quantile(f64::NAN).is_some_and(f64::is_nan));
    assert_eq!(one("mad_over_time", &[], &samples, 10, 5), Some(1.0));
}

#[test]
fn trends_follow_a_line() {
    let line: Vec<_> = (0..10).map(|i| (i * 1_000, 3.0 * i as f64 + 1.0)).collect();
    assert_eq!(one("deriv", &[], &line, 60_000, 9_000), Some(3.0));
    assert_eq!(one("predict_linear", &[10.0], &line, 60_000, 9_000), Some(58.0));
    assert_eq!(one("double_exponential_smoothing", &[0.5, 0.5], &line, 60_000, 9_000), Some(28.0));
    let flat_infinity = [(1, f64::INFINITY), (2, f64::INFINITY)];
    assert!(one("deriv", &[], &flat_infinity, 10, 5).is_some_and(f64::is_nan));
}

#[test]
fn wrong_arguments_are_errors() {
    let spec = Spec { start_ms: 0, end_ms: 0, step_ms: 1, window_ms: 1, offset_ms: 0 };
    let (mut out, mut present) = ([0.0], [false]);
    let mut call =
        |function, args: &[f64]| rollup(function, args, &[], &[], &spec, &mut out, &mut present);
    let smoothing = RollupFn::DoubleExponentialSmoothing;
    assert_eq!(call(smoothing, &[1.0, 0.5]), Err(RollupError::SmoothingFactor(1.0)));
    assert_eq!(call(smoothing, &[0.5, 0.0]), Err(RollupError::TrendFactor(0.0)));
    assert!(call(RollupFn::QuantileOverTime, &[]).is_err());
    assert!(RollupFn::parse("rat").is_err());
    assert!(Spec { step_ms: 0, ..spec }.step_count().is_err());
    assert_eq!(Spec { end_ms: -1, ..spec }.step_count(), Ok(0));
}

/// A sample train with uneven gaps, drops, NaNs and staleness markers.
fn series() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![
        8 => (-50i32..50).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::from_bits(STALE_NAN_BITS)),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1e300)],
    ];
    prop::collection::vec((1i64..40, value), 0..120).prop_map(|steps| {
        let mut now = -200;
        steps
            .into_iter()
            .map(|(gap, value)| {
                now += gap;
                (now, value)
            })
            .collect()
    })
}

fn args_of(function: RollupFn) -> &'static [f64] {
    match function {
        RollupFn::QuantileOverTime => &[0.7],
        RollupFn::PredictLinear => &[3.5],
        RollupFn::DoubleExponentialSmoothing => &[0.3, 0.6],
        _ => &[],
    }
}

proptest! {
    #[test]
    fn a_step_of_a_range_is_that_step_alone(
        samples in series(),
        start_ms in -300i64..2_000,
        length_ms in 0i64..1_500,
        step_ms in 1i64..300,
        window_ms in 1i64..400,
        offset_ms in -100i64..100,
    ) {
        let (ts, vals): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        let spec = Spec { start_ms, end_ms: start_ms + length_ms, step_ms, window_ms, offset_ms };
        for (name, function) in super::NAMES {
            let args = args_of(function);
            for (index, got) in run(name, args, &ts, &vals, &spec).into_iter().enumerate() {
                let at = start_ms + index as i64 * step_ms;
                let end = at - offset_ms;
                let seen: Vec<_> = samples.iter().copied()
                    .filter(|&(t, _)| t > end - window_ms && t <= end).collect();
                let (ts, vals): (Vec<i64>, Vec<f64>) = seen.iter().copied().unzip();
                let alone = Spec { start_ms: at, end_ms: at, ..spec };
                let want = run(name, args, &ts, &vals, &alone)[0];
                prop_assert_eq!(got.map(f64::to_bits), want.map(f64::to_bits), "{} at {}", name, at);
            }
        }
    }
}
