//! Minimum and maximum over time, and when they were: a monotonic queue holds the samples that can
//! still become the extreme, so a sample enters and leaves once, however wide the window.
use std::collections::VecDeque;

use super::window::{Output, Samples};

/// Writes for every window the value, or the time in seconds, of its extreme. `beats` says that a
/// newer value makes an older one irrelevant; strict, the first of equals wins, else the last. A
/// NaN never wins, unless the window has nothing else; then its last NaN does.
#[inline]
pub fn fill(
    samples: Samples<'_>,
    output: &mut Output<'_>,
    beats: impl Fn(f64, f64) -> bool,
    tell: impl Fn(i64, f64) -> f64,
) {
    let Samples { ts, vals } = samples;
    let mut queue: VecDeque<usize> = VecDeque::new();
    let mut queued = 0;
    output.fill(samples, |w| {
        for index in queued.max(w.first)..w.end() {
            let value = vals[index];
            if value.is_nan() {
                continue;
            }
            while queue.back().is_some_and(|&older| beats(value, vals[older])) {
                queue.pop_back();
            }
            queue.push_back(index);
        }
        queued = w.end();
        while queue.front().is_some_and(|&index| index < w.first) {
            queue.pop_front();
        }
        let index = queue.front().copied().unwrap_or(w.end() - 1);
        Some(tell(ts[index], vals[index]))
    });
}
