//! Deltas to cumulative values, series by series.
//!
//! A run is the sum of a series' deltas that follow one another. A point that begins after the last
//! one has ended begins a new run, and so does the first one of a series. The state is in memory
//! only and bounded; what forgets it (idleness, a restart) makes a new run, which readers see as a
//! counter's reset.

use super::points::{Buckets, Exponential, Histogram};
use hashbrown::HashMap;

/// What the deltas of a run add up to.
#[derive(Debug, Clone, PartialEq)]
pub enum Total {
    Number(f64),
    Histogram(Histogram),
    Exponential(Exponential),
}

/// More buckets than this are merged into coarser ones.
const MAX_BUCKETS: usize = 2_000;
/// The coarsest scale of native histograms.
const MIN_SCALE: i64 = -4;

impl Total {
    /// Nothing yet, of the same kind and bounds.
    fn zero(&self) -> Self {
        match self {
            Self::Number(_) => Self::Number(0.0),
            Self::Histogram(h) => Self::Histogram(Histogram {
                count: 0,
                sum: h.sum.map(|_| 0.0),
                counts: vec![0; h.counts.len()],
                bounds: h.bounds.clone(),
            }),
            Self::Exponential(h) => Self::Exponential(Exponential {
                sum: h.sum.map(|_| 0.0),
                scale: h.scale,
                zero_threshold: h.zero_threshold,
                ..Exponential::default()
            }),
        }
    }

    /// Adds what came; false where they cannot be added, since their shapes differ.
    fn add(&mut self, delta: &Self) -> bool {
        match (self, delta) {
            (Self::Number(total), Self::Number(delta)) => *total += delta,
            (Self::Histogram(total), Self::Histogram(delta)) => {
                if total.bounds != delta.bounds || total.sum.is_some() != delta.sum.is_some() {
                    return false;
                }
                total.count = total.count.saturating_add(delta.count);
                total.sum = total.sum.zip(delta.sum).map(|(a, b)| a + b);
                for (total, delta) in total.counts.iter_mut().zip(&delta.counts) {
                    *total = total.saturating_add(*delta);
                }
            }
            (Self::Exponential(total), Self::Exponential(delta)) => {
                if total.zero_threshold.to_bits() != delta.zero_threshold.to_bits() {
                    return false;
                }
                add_exponential(total, delta);
            }
            _ => return false,
        }
        true
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Histogram(h) => (h.counts.capacity() + h.bounds.capacity()) * 8,
            Self::Exponential(h) => (h.positive.capacity() + h.negative.capacity()) * 16,
        }
    }
}

fn add_exponential(total: &mut Exponential, delta: &Exponential) {
    total.count = total.count.saturating_add(delta.count);
    total.sum = total.sum.zip(delta.sum).map(|(a, b)| a + b);
    total.zero_count = total.zero_count.saturating_add(delta.zero_count);
    let scale = total.scale.min(delta.scale);
    for (buckets, more) in
        [(&mut total.positive, &delta.positive), (&mut total.negative, &delta.negative)]
    {
        *buckets = merged(
            &downscaled(buckets, total.scale - scale),
            &downscaled(more, delta.scale - scale),
        );
    }
    total.scale = scale;
    while total.positive.len().max(total.negative.len()) > MAX_BUCKETS && total.scale > MIN_SCALE {
        total.scale -= 1;
        total.positive = downscaled(&total.positive, 1);
        total.negative = downscaled(&total.negative, 1);
    }
}

/// The same buckets at a scale that is coarser by `shift`.
#[must_use]
pub fn downscaled(buckets: &Buckets, shift: i64) -> Buckets {
    let shift = shift.clamp(0, 63);
    let mut out: Buckets = Vec::with_capacity(buckets.len());
    for &(index, count) in buckets {
        match out.last_mut() {
            Some((last, sum)) if *last == index >> shift => *sum = sum.saturating_add(count),
            _ => out.push((index >> shift, count)),
        }
    }
    out
}

fn merged(a: &Buckets, b: &Buckets) -> Buckets {
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(&&(i, x)), Some(&&(j, y))) if i == j => {
                out.push((i, x.saturating_add(y)));
                left.next();
                right.next();
            }
            (Some(&&(i, x)), other) if other.is_none_or(|&&(j, _)| i < j) => {
                out.push((i, x));
                left.next();
            }
            (_, Some(&&bucket)) => {
                out.push(bucket);
                right.next();
            }
            (_, None) => return out,
        }
    }
}

#[derive(Debug)]
struct Run {
    total: Total,
    last_ns: u64,
    /// When it came, in Unix milliseconds.
    seen_ms: i64,
    /// Whether it has one point so far.
    first: bool,
}

/// Why a delta is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdded {
    Late,
    Limit,
}

/// A delta's place in its run.
#[derive(Debug, PartialEq)]
pub struct Added {
    pub total: Total,
    /// Of a run that begins: what it begins with.
    pub zero: Option<Total>,
}

/// What a run takes beside its buckets.
const RUN_BYTES: usize = size_of::<Run>() + size_of::<u128>() + 16;

/// The runs of one project.
#[derive(Debug)]
pub struct Deltas {
    runs: HashMap<u128, Run>,
    bucket_bytes: usize,
    swept_ms: i64,
    idle_ms: i64,
    limit_bytes: usize,
}

impl Deltas {
    #[must_use]
    pub fn new(idle_ms: i64, limit_bytes: usize) -> Self {
        Self {
            runs: HashMap::new(),
            bucket_bytes: 0,
            swept_ms: i64::MIN,
            idle_ms: idle_ms.max(1),
            limit_bytes,
        }
    }

    #[must_use]
    pub fn series(&self) -> usize {
        self.runs.len()
    }

    fn size_bytes(&self) -> usize {
        self.runs.len() * RUN_BYTES + self.bucket_bytes
    }

    /// Ends the run of a series.
    pub fn end(&mut self, key: u128) {
        if let Some(run) = self.runs.remove(&key) {
            self.bucket_bytes -= run.total.size_bytes();
        }
    }

    /// Ends the runs that nobody has added to for long.
    pub fn expire(&mut self, now_ms: i64) {
        let since = now_ms.saturating_sub(self.idle_ms);
        let freed = &mut self.bucket_bytes;
        self.runs.retain(|_, run| {
            let keeps = run.seen_ms >= since;
            if !keeps {
                *freed -= run.total.size_bytes();
            }
            keeps
        });
        self.swept_ms = now_ms;
    }

    /// Adds a delta to its series' run. One that came before changes nothing, so that a request
    /// may be sent again.
    ///
    /// # Errors
    /// It ends before the run's last one, or begins one that there is no room for.
    pub fn add(
        &mut self,
        key: u128,
        (start_ns, time_ns): (u64, u64),
        now_ms: i64,
        delta: Total,
    ) -> Result<Added, NotAdded> {
        if now_ms.saturating_sub(self.swept_ms) > self.idle_ms / 4 {
            self.expire(now_ms);
        }
        // Buckets may grow by as much as comes; numbers do not.
        let grown = self.size_bytes() + delta.size_bytes();
        if let Some(run) = self.runs.get_mut(&key) {
            if delta.size_bytes() > 0 && grown > self.limit_bytes {
                return Err(NotAdded::Limit);
            }
            if time_ns < run.last_ns {
                return Err(NotAdded::Late);
            }
            run.seen_ms = now_ms;
            if time_ns == run.last_ns {
                let zero = run.first.then(|| run.total.zero());
                return Ok(Added { total: run.total.clone(), zero });
            }
            let before = run.total.size_bytes();
            let follows = start_ns <= run.last_ns && run.total.add(&delta);
            if !follows {
                run.total = delta;
            }
            run.first = !follows;
            run.last_ns = time_ns;
            self.bucket_bytes = self.bucket_bytes - before + run.total.size_bytes();
            let zero = run.first.then(|| run.total.zero());
            return Ok(Added { total: run.total.clone(), zero });
        }
        if grown + RUN_BYTES > self.limit_bytes {
            return Err(NotAdded::Limit);
        }
        self.bucket_bytes += delta.size_bytes();
        let added = Added { total: delta.clone(), zero: Some(delta.zero()) };
        let run = Run { total: delta, last_ns: time_ns, seen_ms: now_ms, first: true };
        self.runs.insert(key, run);
        Ok(added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deltas() -> Deltas {
        Deltas::new(1000, 1 << 20)
    }

    fn number(deltas: &mut Deltas, times: (u64, u64), value: f64) -> Result<(f64, bool), NotAdded> {
        let added = deltas.add(1, times, 0, Total::Number(value))?;
        let Total::Number(total) = added.total else { panic!("not a number") };
        Ok((total, added.zero.is_some()))
    }

    #[test]
    fn deltas_that_follow_add_up() {
        let mut d = deltas();
        assert_eq!(number(&mut d, (10, 20), 5.0), Ok((5.0, true)));
        assert_eq!(number(&mut d, (20, 30), 7.0), Ok((12.0, false)));
        // Sent again.
        assert_eq!(number(&mut d, (20, 30), 7.0), Ok((12.0, false)));
        // Before the last.
        assert_eq!(number(&mut d, (10, 20), 5.0), Err(NotAdded::Late));
        // Overlapping, as of two senders.
        assert_eq!(number(&mut d, (25, 35), 1.0), Ok((13.0, false)));
        // A gap.
        assert_eq!(number(&mut d, (36, 40), 2.0), Ok((2.0, true)));
        // Without a start.
        assert_eq!(number(&mut d, (0, 50), 2.0), Ok((4.0, false)));
    }

    #[test]
    fn idle_runs_end_and_memory_is_bounded() {
        let mut d = Deltas::new(1000, RUN_BYTES);
        assert!(d.add(1, (0, 1), 0, Total::Number(1.0)).is_ok());
        assert_eq!(d.add(2, (0, 1), 0, Total::Number(1.0)), Err(NotAdded::Limit));
        assert!(d.add(2, (0, 1), 1001, Total::Number(1.0)).is_ok());
        assert_eq!(d.series(), 1);
        d.end(2);
        assert_eq!((d.series(), d.size_bytes()), (0, 0));
    }

    #[test]
    fn histograms_of_other_bounds_begin_a_run() {
        let mut d = deltas();
        let histogram = |bound, count| {
            Total::Histogram(Histogram {
                count,
                sum: Some(1.0),
                counts: vec![count, 0],
                bounds: vec![bound],
            })
        };
        assert!(d.add(1, (0, 1), 0, histogram(1.0, 3)).is_ok());
        let added = d.add(1, (1, 2), 0, histogram(1.0, 4)).unwrap();
        assert!(matches!(added.total, Total::Histogram(h) if h.counts == [7, 0] && h.count == 7));
        let added = d.add(1, (2, 3), 0, histogram(2.0, 4)).unwrap();
        assert!(matches!(added.total, Total::Histogram(h) if h.counts == [4, 0]));
        assert!(added.zero.is_some());
    }

    #[test]
    fn negative_indexes_are_shifted_downward() {
        let buckets = vec![(-3, 1), (-2, 2), (-1, 4), (0, 8), (1, 16), (2, 32)];
        assert_eq!(downscaled(&buckets, 1), vec![(-2, 1), (-1, 6), (0, 24), (1, 32)]);
        assert_eq!(downscaled(&buckets, 40), vec![(-1, 7), (0, 56)]);
    }

    fn exponential() -> impl Strategy<Value = Exponential> {
        let side = prop::collection::btree_map(-2000_i64..2000, 1_u64..100, 0..60);
        (side.clone(), side, 0_i64..9, 0_u64..9).prop_map(|(positive, negative, scale, zeros)| {
            let positive: Buckets = positive.into_iter().collect();
            let negative: Buckets = negative.into_iter().collect();
            let count = zeros + positive.iter().chain(&negative).map(|b| b.1).sum::<u64>();
            Exponential {
                count,
                sum: Some(1.0),
                scale,
                zero_count: zeros,
                positive,
                negative,
                zero_threshold: 0.0,
            }
        })
    }

    proptest! {
        #[test]
        fn no_count_is_lost(parts in prop::collection::vec(exponential(), 1..6)) {
            let mut d = deltas();
            let mut expected = 0;
            for (i, part) in parts.into_iter().enumerate() {
                expected += part.count;
                let times = (i as u64, i as u64 + 1);
                let added = d.add(1, times, 0, Total::Exponential(part)).unwrap();
                let Total::Exponential(h) = added.total else { panic!("another kind") };
                let held: u64 = h.positive.iter().chain(&h.negative).map(|b| b.1).sum();
                prop_assert_eq!(held + h.zero_count, expected);
                prop_assert!(h.positive.windows(2).all(|w| w[0].0 < w[1].0));
            }
            d.end(1);
            prop_assert_eq!(d.size_bytes(), 0);
        }
    }
}
