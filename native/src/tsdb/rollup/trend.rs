//! Lines and curves through a window's samples.
use super::kahan::Kahan;
use super::window::Window;

/// The slope a second of a least-squares line.
pub fn deriv(w: &Window<'_>) -> Option<f64> {
    // Times count from the first sample: near zero they lose no digits.
    w.ts.get(..2).map(|first| regression(w, first[0]).slope)
}

/// Where a least-squares line is `ahead_s` seconds after the step.
pub fn predict_linear(w: &Window<'_>, ahead_s: f64) -> Option<f64> {
    w.ts.get(..2).map(|_| {
        let line = regression(w, w.time_ms);
        line.slope * ahead_s + line.intercept
    })
}

struct Line {
    slope: f64,
    /// The line's value at the origin.
    intercept: f64,
}

fn regression(w: &Window<'_>, origin_ms: i64) -> Line {
    let first = w.vals[0];
    if w.vals[1..].iter().all(|&value| value == first) {
        return if first.is_infinite() {
            Line { slope: f64::NAN, intercept: f64::NAN }
        } else {
            Line { slope: 0.0, intercept: first }
        };
    }
    let n = w.vals.len() as f64;
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Kahan::default(); 4];
    for (&t, &y) in w.ts.iter().zip(w.vals) {
        let x = t.wrapping_sub(origin_ms) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let (x, y) = (x_sum.total(), y_sum.total());
    let covariance = xy_sum.total() - x * y / n;
    let variance = xx_sum.total() - x * x / n;
    let slope = covariance / variance;
    Line { slope, intercept: y / n - slope * x / n }
}

/// Holt's linear method: the last smoothed value, following a smoothed trend.
pub fn double_exponential_smoothing(w: &Window<'_>, smoothing: f64, trending: f64) -> Option<f64> {
    let &[first, second, ..] = w.vals else {
        return None;
    };
    let (mut smoothed, mut trend) = (first, second - first);
    let mut before = None;
    for &value in &w.vals[1..] {
        if let Some(before) = before {
            trend = trending * (smoothed - before) + (1.0 - trending) * trend;
        }
        before = Some(smoothed);
        smoothed = smoothing * value + (1.0 - smoothing) * (smoothed + trend);
    }
    Some(smoothed)
}
