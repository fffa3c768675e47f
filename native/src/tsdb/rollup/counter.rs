//! Functions of how a value moves: rate, increase, delta, irate, idelta, resets, changes.
use super::window::{Output, Samples, Window};

/// What an extrapolated difference means.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// A drop is a restart from zero, and extrapolation stops at zero.
    counter: bool,
    per_second: bool,
}

impl Kind {
    pub const RATE: Self = Self { counter: true, per_second: true };
    pub const INCREASE: Self = Self { counter: true, per_second: false };
    pub const DELTA: Self = Self { counter: false, per_second: false };
}

/// A gap up to this many average intervals between a sample and the window's bound is taken for
/// the usual spacing, so the series is assumed to reach the bound.
const EXTRAPOLATION_THRESHOLD: f64 = 1.1;

/// The difference between a window's ends, extrapolated to its bounds.
pub fn extrapolated(samples: Samples<'_>, output: &mut Output<'_>, kind: Kind) {
    let window_s = seconds(output.spec.window_ms);
    let drops = if kind.counter { drops(samples.vals) } else { Vec::new() };
    let mut cursor = Cursor::default();
    output.fill(samples, |w| {
        let lost = cursor.slide(&drops, w);
        extrapolated_window(w, kind, lost, samples.vals, window_s)
    });
}

fn extrapolated_window(
    w: &Window<'_>,
    kind: Kind,
    drops: &[usize],
    vals: &[f64],
    window_s: f64,
) -> Option<f64> {
    let (&[first, .., last], &[first_ms, .., last_ms]) = (w.vals, w.ts) else {
        return None;
    };
    // Added one by one in time order: a running total would round differently.
    let difference = drops.iter().fold(last - first, |sum, &index| sum + vals[index - 1]);

    let sampled_s = last_ms.saturating_sub(first_ms) as f64 / 1000.0;
    let average_s = sampled_s / (w.ts.len() - 1) as f64;
    let threshold_s = average_s * EXTRAPOLATION_THRESHOLD;

    let mut to_start_s = first_ms.saturating_sub(w.range_start_ms) as f64 / 1000.0;
    if to_start_s >= threshold_s {
        to_start_s = average_s / 2.0;
    }
    if kind.counter && difference > 0.0 && first >= 0.0 {
        let to_zero_s = sampled_s * (first / difference);
        if to_zero_s < to_start_s {
            to_start_s = to_zero_s;
        }
    }
    let mut to_end_s = w.range_end_ms.saturating_sub(last_ms) as f64 / 1000.0;
    if to_end_s >= threshold_s {
        to_end_s = average_s / 2.0;
    }

    let factor = (sampled_s + to_start_s + to_end_s) / sampled_s;
    Some(difference * if kind.per_second { factor / window_s } else { factor })
}

/// Whole seconds and the rest apart, which rounds like a duration of seconds and nanoseconds.
fn seconds(duration_ms: i64) -> f64 {
    (duration_ms / 1000) as f64 + (duration_ms % 1000 * 1_000_000) as f64 / 1e9
}

/// Indices of the samples that are lower than their predecessor; a NaN is neither.
fn drops(vals: &[f64]) -> Vec<usize> {
    (1..vals.len()).filter(|&i| vals[i] < vals[i - 1]).collect()
}

/// Indices of the samples that differ from their predecessor; two NaNs do not differ.
fn moves(vals: &[f64]) -> Vec<usize> {
    let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
    (1..vals.len()).filter(|&i| differ(vals[i], vals[i - 1])).collect()
}

/// Which of a series' events, each between a sample and its predecessor, are inside the window.
#[derive(Debug, Default)]
struct Cursor {
    start: usize,
    end: usize,
}

impl Cursor {
    #[inline]
    fn slide<'a>(&mut self, events: &'a [usize], w: &Window<'_>) -> &'a [usize] {
        while self.start < events.len() && events[self.start] <= w.first {
            self.start += 1;
        }
        self.end = self.end.max(self.start);
        while self.end < events.len() && events[self.end] < w.end() {
            self.end += 1;
        }
        &events[self.start..self.end]
    }
}

pub fn resets(samples: Samples<'_>, output: &mut Output<'_>) {
    count(samples, output, &drops(samples.vals));
}

pub fn changes(samples: Samples<'_>, output: &mut Output<'_>) {
    count(samples, output, &moves(samples.vals));
}

fn count(samples: Samples<'_>, output: &mut Output<'_>, events: &[usize]) {
    let mut cursor = Cursor::default();
    output.fill(samples, |w| Some(cursor.slide(events, w).len() as f64));
}

/// The rate between the window's last two samples.
pub fn irate(w: &Window<'_>) -> Option<f64> {
    let (&[.., before, last], &[.., before_ms, last_ms]) = (w.vals, w.ts) else {
        return None;
    };
    let increase = if last < before { last } else { last - before };
    Some(increase / (last_ms.saturating_sub(before_ms) as f64 / 1000.0))
}

/// The difference between the window's last two samples.
pub fn idelta(w: &Window<'_>) -> Option<f64> {
    match w.vals {
        &[.., before, last] => Some(last - before),
        _ => None,
    }
}
