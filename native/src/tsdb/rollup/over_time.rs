//! Aggregations of a window's values, with compensated sums.
use super::kahan::Kahan;
use super::window::Window;
use crate::tsdb::STALE_NAN_BITS;

/// The newest value, unless it says that the series has ended.
pub fn newest(w: &Window<'_>) -> Option<f64> {
    w.vals.last().copied().filter(|value| value.to_bits() != STALE_NAN_BITS)
}

pub fn sum(vals: &[f64]) -> f64 {
    let sum = vals.iter().fold(Kahan::default(), |sum, &value| sum.plus(value));
    if sum.sum.is_infinite() { sum.sum } else { sum.total() }
}

/// The mean, as sum over count while the sum is finite; where it overflows, from there on as a
/// running mean.
pub fn avg(vals: &[f64]) -> f64 {
    let Some((&first, rest)) = vals.split_first() else {
        return f64::NAN;
    };
    let mut sum = Kahan::new(first);
    for (index, &value) in rest.iter().enumerate() {
        let next = sum.plus(value);
        if next.sum.is_infinite() {
            return running_mean(sum, index + 1, &rest[index..]);
        }
        sum = next;
    }
    let count = vals.len() as f64;
    sum.sum / count + sum.lost / count
}

/// Continues from the sum of `seen` values.
fn running_mean(sum: Kahan, seen: usize, rest: &[f64]) -> f64 {
    let mut count = seen as f64;
    let mut mean = Kahan { sum: sum.sum / count, lost: sum.lost / count };
    for &value in rest {
        count += 1.0;
        let share = (count - 1.0) / count;
        mean = Kahan { sum: share * mean.sum, lost: share * mean.lost }.plus(value / count);
    }
    mean.total()
}

/// Population variance. Source: Welford, "Note on a method for calculating corrected sums of
/// squares and products", Technometrics 4 (1962).
pub fn variance(vals: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    let mut count = 0.0;
    for &value in vals {
        count += 1.0;
        let delta = value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (value - mean.total()));
    }
    squares.total() / count
}
