//! A scan: all matching rows in order of time and number, granule by granule.
//!
//! A granule is read when the scan comes to the first time in it, and let go when its last row has
//! been given; so as many are in memory as overlap in time.

use super::super::bits::Bits;
use super::super::eval::{matching, may_match};
use super::super::granule::{Corrupt, Granule, View};
use super::super::search::{Key, Query};
use std::sync::Arc;

/// Rows of one granule, in the scan's order.
pub struct Run {
    pub view: Arc<View>,
    pub rows: Vec<u32>,
}

struct Open {
    view: Arc<View>,
    /// The scan's order, reversed: the next is the last.
    rows: Vec<(Key, u32)>,
}

impl Open {
    fn head(&self) -> Option<Key> {
        self.rows.last().map(|(key, _)| *key)
    }
}

pub struct Scan {
    query: Query,
    newest_first: bool,
    /// Only rows behind this one.
    after: Option<Key>,
    /// Those to come, the next one last.
    waiting: Vec<Arc<Granule>>,
    open: Vec<Open>,
}

impl Scan {
    #[must_use]
    pub fn new(
        query: Query,
        granules: Vec<Arc<Granule>>,
        newest_first: bool,
        after: Option<Key>,
    ) -> Self {
        let mut waiting: Vec<_> = granules
            .into_iter()
            .filter(|g| g.max_ns >= query.start_ns && g.min_ns < query.end_ns)
            .filter(|g| match after {
                Some((time, _)) if newest_first => g.min_ns <= time,
                Some((time, _)) => g.max_ns >= time,
                None => true,
            })
            .collect();
        if newest_first {
            waiting.sort_by_key(|g| (g.max_ns, g.last_row));
        } else {
            waiting.sort_by_key(|g| std::cmp::Reverse((g.min_ns, g.first_row)));
        }
        Self { query, newest_first, after, waiting, open: Vec::new() }
    }

    fn before(&self, a: Key, b: Key) -> bool {
        if self.newest_first { a > b } else { a < b }
    }

    /// Whether a row comes before every row of the granules to come.
    fn is_certain(&self, key: Key) -> bool {
        self.waiting
            .last()
            .is_none_or(|g| if self.newest_first { key.0 > g.max_ns } else { key.0 < g.min_ns })
    }

    fn read(&self, granule: Arc<Granule>) -> Result<Option<Open>, Corrupt> {
        if !may_match(&self.query.predicate, &granule) {
            return Ok(None);
        }
        let view = View::new(Arc::clone(&granule));
        let bits: Bits = matching(&self.query.predicate, &view)?;
        if bits.is_empty() {
            return Ok(None);
        }
        let (times, numbers) = (view.times()?, view.rows()?);
        let span = self.query.start_ns..self.query.end_ns;
        let mut rows: Vec<(Key, u32)> = bits
            .iter()
            .filter(|row| span.contains(&times[*row]))
            .map(|row| ((times[row], numbers[row]), row as u32))
            .filter(|(key, _)| self.after.is_none_or(|after| self.before(after, *key)))
            .collect();
        if self.newest_first {
            rows.sort_unstable_by_key(|(key, _)| *key);
        } else {
            rows.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
        }
        Ok((!rows.is_empty()).then(|| Open { view: Arc::new(view), rows }))
    }

    /// Which open granule has the next row.
    fn first(&self) -> Option<usize> {
        let mut best: Option<(usize, Key)> = None;
        for (index, open) in self.open.iter().enumerate() {
            if let Some(head) = open.head()
                && best.is_none_or(|(_, key)| self.before(head, key))
            {
                best = Some((index, head));
            }
        }
        best.map(|(index, _)| index)
    }

    /// The next rows, at most so many; none at the end.
    ///
    /// # Errors
    /// Damage, or `check`, which is called before a granule is read, says so.
    pub fn next<E: From<Corrupt>>(
        &mut self,
        limit: usize,
        mut check: impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<Run>, E> {
        let mut runs: Vec<Run> = Vec::new();
        let mut left = limit;
        while left > 0 {
            let first = self.first();
            let head = first.and_then(|index| self.open[index].head());
            if head.is_none_or(|key| !self.is_certain(key)) {
                let Some(granule) = self.waiting.pop() else {
                    if first.is_none() {
                        break;
                    }
                    continue;
                };
                check()?;
                if let Some(open) = self.read(granule)? {
                    self.open.push(open);
                }
                continue;
            }
            let Some(index) = first else { break };
            let others = self.open.iter().enumerate().filter(|(other, _)| *other != index);
            let limit_key = others
                .filter_map(|(_, open)| open.head())
                .reduce(|a, b| if self.before(a, b) { a } else { b });
            let mut rows = Vec::new();
            while let Some(key) = self.open[index].head()
                && left > 0
                && self.is_certain(key)
                && limit_key.is_none_or(|other| self.before(key, other))
            {
                if let Some((_, row)) = self.open[index].rows.pop() {
                    rows.push(row);
                    left -= 1;
                    self.after = Some(key);
                }
            }
            runs.push(Run { view: Arc::clone(&self.open[index].view), rows });
            if self.open[index].rows.is_empty() {
                self.open.swap_remove(index);
            }
        }
        Ok(runs)
    }
}
