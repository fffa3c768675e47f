//! What many values come to: how many differ, and their least, greatest, sum and quantiles. Exact
//! for the first thousand; beyond, sketches of bounded size take over.
//!
//! Sources: Masson et al., "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
//! Relative-Error Guarantees", VLDB 2019; Flajolet et al., "HyperLogLog", AofA 2007.

use hashbrown::HashSet;
use std::collections::BTreeMap;

/// Values that are kept as they are.
const EXACT: usize = 1024;

/// A quantile of a sketch is within this share of the value.
const ACCURACY: f64 = 0.01;

/// Of each sign; beyond, those nearest to zero are put together.
const MAX_BUCKETS: usize = 2048;

/// 8192 registers: a standard error of 1.15 %.
const REGISTER_BITS: u32 = 13;

/// How many different values, by their hashes.
pub enum Distinct {
    Exact(HashSet<u64>),
    Sketch(Box<[u8; 1 << REGISTER_BITS]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(HashSet::new())
    }
}

impl Distinct {
    pub fn add(&mut self, hash: u64) {
        match self {
            Self::Exact(known) => {
                known.insert(hash);
                if known.len() > EXACT {
                    let known = std::mem::take(known);
                    *self = Self::Sketch(Box::new([0; 1 << REGISTER_BITS]));
                    known.into_iter().for_each(|hash| self.add(hash));
                }
            }
            Self::Sketch(registers) => {
                let register = &mut registers[(hash >> (64 - REGISTER_BITS)) as usize];
                let rank =
                    (hash << REGISTER_BITS).leading_zeros().min(64 - REGISTER_BITS) as u8 + 1;
                *register = rank.max(*register);
            }
        }
    }

    /// How many, and whether that is exact.
    #[must_use]
    pub fn count(&self) -> (u64, bool) {
        match self {
            Self::Exact(known) => (known.len() as u64, true),
            Self::Sketch(registers) => {
                let m = registers.len() as f64;
                let sum: f64 = registers.iter().map(|rank| 0.5_f64.powi(i32::from(*rank))).sum();
                let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
                let empty = registers.iter().filter(|rank| **rank == 0).count();
                let few = estimate <= 2.5 * m && empty > 0;
                ((if few { m * (m / empty as f64).ln() } else { estimate }).round() as u64, false)
            }
        }
    }
}

/// Numbers, by the logarithm of their size.
#[derive(Default)]
struct Buckets {
    negative: BTreeMap<i32, u64>,
    zeros: u64,
    positive: BTreeMap<i32, u64>,
}

fn log_gamma() -> f64 {
    ((1.0 + ACCURACY) / (1.0 - ACCURACY)).ln()
}

impl Buckets {
    fn add(&mut self, number: f64) {
        if number == 0.0 {
            self.zeros += 1;
            return;
        }
        let side = if number < 0.0 { &mut self.negative } else { &mut self.positive };
        *side.entry((number.abs().ln() / log_gamma()).ceil() as i32).or_insert(0) += 1;
        if side.len() > MAX_BUCKETS
            && let Some((_, count)) = side.pop_first()
            && let Some(mut next) = side.first_entry()
        {
            *next.get_mut() += count;
        }
    }

    /// The number of this rank, counted from 0.
    fn at(&self, mut rank: u64) -> f64 {
        let size = |index: i32| {
            let gamma = log_gamma();
            2.0 * (f64::from(index) * gamma).exp() / (1.0 + gamma.exp())
        };
        let negative = self.negative.iter().rev().map(|(index, count)| (-size(*index), *count));
        let positive = self.positive.iter().map(|(index, count)| (size(*index), *count));
        for (number, count) in negative.chain([(0.0, self.zeros)]).chain(positive) {
            if rank < count {
                return number;
            }
            rank -= count;
        }
        f64::NAN
    }
}

/// Finite numbers.
#[derive(Default)]
pub struct Numbers {
    pub count: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    exact: Vec<f64>,
    sketch: Option<Box<Buckets>>,
}

impl Numbers {
    pub fn add(&mut self, number: f64) {
        let first = self.count == 0;
        self.min = if first { number } else { self.min.min(number) };
        self.max = if first { number } else { self.max.max(number) };
        self.count += 1;
        self.sum += number;
        match &mut self.sketch {
            Some(buckets) => buckets.add(number),
            None => {
                self.exact.push(number);
                if self.exact.len() > EXACT {
                    let mut buckets = Box::<Buckets>::default();
                    std::mem::take(&mut self.exact).into_iter().for_each(|n| buckets.add(n));
                    self.sketch = Some(buckets);
                }
            }
        }
    }

    /// Whether quantiles are those of the numbers themselves.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.sketch.is_none()
    }

    /// The number below or at which this share of all is; NaN of none.
    #[must_use]
    pub fn quantile(&mut self, share: f64) -> f64 {
        let Some(last) = self.count.checked_sub(1) else { return f64::NAN };
        let rank = (share.clamp(0.0, 1.0) * last as f64).round() as u64;
        match &self.sketch {
            Some(buckets) => buckets.at(rank).clamp(self.min, self.max),
            None => {
                self.exact.sort_by(f64::total_cmp);
                self.exact[rank as usize]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_different_values_are_counted_nearly() {
        for count in [0_u64, 1, 1024, 1025, 20_000, 300_000] {
            let mut distinct = Distinct::default();
            for n in 0..count {
                distinct.add(xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()));
                distinct.add(xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()));
            }
            let (found, exact) = distinct.count();
            assert_eq!(exact, count <= 1024);
            assert!(found.abs_diff(count) as f64 <= 0.05 * count as f64, "{found} of {count}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_near(
            numbers in proptest::collection::vec(
                prop_oneof![-1e6_f64..1e6, Just(0.0), 0.0..1e-3], 1..4000
            ),
            share in 0.0_f64..=1.0,
        ) {
            let mut found = Numbers::default();
            numbers.iter().for_each(|n| found.add(*n));
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let expected = sorted[(share * (sorted.len() - 1) as f64).round() as usize];
            let quantile = found.quantile(share);
            let tolerance = if found.is_exact() { 0.0 } else { 1.001 * ACCURACY * expected.abs() };
            prop_assert!((quantile - expected).abs() <= tolerance, "{quantile} for {expected}");
            prop_assert_eq!((found.min, found.max), (sorted[0], sorted[sorted.len() - 1]));
        }
    }
}
