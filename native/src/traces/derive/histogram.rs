//! Classic histograms of durations, with the last span of each bucket as its exemplar.

use crate::wire::go_text::push_float;

/// Upper bounds, in ascending order.
#[derive(Debug, Clone)]
pub struct Bounds {
    nanos: Vec<u64>,
    texts: Vec<String>,
}

impl Bounds {
    /// Bounds in seconds; one above all of them is added.
    #[must_use]
    pub fn new(seconds: &[f64]) -> Self {
        let text = |bound: &f64| {
            let mut out = Vec::new();
            push_float(&mut out, *bound);
            String::from_utf8_lossy(&out).into_owned()
        };
        Self {
            nanos: seconds.iter().map(|bound| (bound * 1e9).round() as u64).collect(),
            texts: seconds.iter().map(text).chain(["+Inf".to_owned()]).collect(),
        }
    }

    /// Buckets, the one above all bounds included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    #[must_use]
    pub fn nanos(&self) -> &[u64] {
        &self.nanos
    }

    /// Values of the label `le`.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    #[inline]
    fn bucket(&self, nanos: u64) -> usize {
        self.nanos.partition_point(|bound| *bound < nanos)
    }
}

/// Where a duration comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
}

/// A bucket's last span that was not written yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exemplar {
    pub origin: Origin,
    pub nanos: u64,
}

/// Durations by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// Of each bucket, without those below.
    pub counts: Box<[u64]>,
    pub sum_nanos: u128,
    pub exemplars: Box<[Option<Exemplar>]>,
}

impl Histogram {
    #[must_use]
    pub fn new(buckets: usize) -> Self {
        Self {
            counts: vec![0; buckets].into(),
            sum_nanos: 0,
            exemplars: vec![None; buckets].into(),
        }
    }

    #[inline]
    pub fn observe(&mut self, bounds: &Bounds, nanos: u64, origin: Origin) {
        let bucket = bounds.bucket(nanos);
        self.counts[bucket] += 1;
        self.sum_nanos += u128::from(nanos);
        self.exemplars[bucket] = Some(Exemplar { origin, nanos });
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let bounds = Bounds::new(&[0.002, 0.004, 16.384]);
        assert_eq!(bounds.texts(), ["0.002", "0.004", "16.384", "+Inf"]);
        let mut histogram = Histogram::new(bounds.len());
        for nanos in [0, 2_000_000, 2_000_001, 4_000_000, 16_384_000_001] {
            histogram.observe(&bounds, nanos, Origin::default());
        }
        assert_eq!(*histogram.counts, [2, 2, 0, 1]);
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum_nanos, 16_392_000_002);
    }
}
