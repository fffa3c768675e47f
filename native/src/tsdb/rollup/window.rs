//! The window that slides over the samples of one series.
use super::Spec;

/// All samples of a series, in time order.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    pub ts: &'a [i64],
    pub vals: &'a [f64],
}

/// The samples that one step sees; never empty.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    pub ts: &'a [i64],
    pub vals: &'a [f64],
    /// Where the window stands in the series.
    pub first: usize,
    /// Samples lie in `(range_start_ms, range_end_ms]`: the step, shifted by the offset.
    pub range_start_ms: i64,
    pub range_end_ms: i64,
    /// The step itself.
    pub time_ms: i64,
}

impl Window<'_> {
    pub fn first_time_s(&self) -> f64 {
        self.ts.first().map_or(f64::NAN, |&ts| ts as f64 / 1000.0)
    }

    pub fn last_time_s(&self) -> f64 {
        self.ts.last().map_or(f64::NAN, |&ts| ts as f64 / 1000.0)
    }

    /// Where the window ends in the series, exclusive.
    pub fn end(&self) -> usize {
        self.first + self.ts.len()
    }
}

/// Where the values of a series' steps go.
pub struct Output<'a> {
    pub spec: &'a Spec,
    pub out: &'a mut [f64],
    pub present: &'a mut [bool],
}

impl Output<'_> {
    /// Calls `function` for every step whose window has samples, in order; both bounds only move
    /// forward, so all windows together cost one pass over the samples.
    #[inline]
    pub fn fill(
        &mut self,
        samples: Samples<'_>,
        mut function: impl FnMut(&Window<'_>) -> Option<f64>,
    ) {
        let Samples { ts, vals } = samples;
        let spec = self.spec;
        let (mut first, mut end) = (0, 0);
        let mut time_ms = spec.start_ms;
        for (out, present) in self.out.iter_mut().zip(self.present.iter_mut()) {
            let range_end_ms = time_ms.saturating_sub(spec.offset_ms);
            let range_start_ms = range_end_ms.saturating_sub(spec.window_ms);
            first = advance(ts, first, range_start_ms);
            end = advance(ts, end.max(first), range_end_ms);
            let value = if first < end {
                let (ts, vals) = (&ts[first..end], &vals[first..end]);
                function(&Window { ts, vals, first, range_start_ms, range_end_ms, time_ms })
            } else {
                None
            };
            *present = value.is_some();
            *out = value.unwrap_or(0.0);
            time_ms = time_ms.saturating_add(spec.step_ms);
        }
    }
}

/// The first index from `from` on whose timestamp is after `bound`. Looks at a few samples one by
/// one, as overlapping windows move by a few, and then gallops.
#[inline]
fn advance(ts: &[i64], from: usize, bound: i64) -> usize {
    const STRIDES: usize = 8;
    let near = (from + STRIDES).min(ts.len());
    let mut index = from;
    while index < near && ts[index] <= bound {
        index += 1;
    }
    if index < near || near == ts.len() {
        return index;
    }
    let mut width = STRIDES;
    while index + width < ts.len() && ts[index + width] <= bound {
        index += width;
        width *= 2;
    }
    let stop = (index + width).min(ts.len());
    index + ts[index..stop].partition_point(|&t| t <= bound)
}
