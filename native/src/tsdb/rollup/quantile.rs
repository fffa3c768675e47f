//! Quantiles of a window's values.

/// The `q`-quantile, interpolated linearly between the two nearest ranks. NaNs rank lowest.
pub fn quantile(q: f64, vals: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if vals.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    scratch.clear();
    scratch.extend_from_slice(vals);
    of_unsorted(q, scratch)
}

/// The median distance from the median; NaN if any value is.
pub fn mad(vals: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if vals.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, vals, scratch);
    for value in scratch.iter_mut() {
        *value = (*value - median).abs();
    }
    of_unsorted(0.5, scratch)
}

fn of_unsorted(q: f64, vals: &mut [f64]) -> f64 {
    let rank = q * (vals.len() - 1) as f64;
    let (floor, weight) = (rank.floor(), rank - rank.floor());
    let lower = (floor as usize).min(vals.len() - 1);
    let (_, &mut low, above) = vals.select_nth_unstable_by(lower, by_value);
    let high = above.iter().copied().min_by(by_value).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

fn by_value(a: &f64, b: &f64) -> std::cmp::Ordering {
    let nan_first = b.is_nan().cmp(&a.is_nan());
    nan_first.then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
}
