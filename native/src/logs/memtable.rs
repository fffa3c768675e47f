//! The newest records: full granules, and for each day one that is being filled.

use super::builder::{Builder, LastResource};
use super::granule::{Corrupt, Granule, Store, encode};
use super::otlp::Batch;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const DAY_NS: i64 = 86_400_000_000_000;

/// Fast: what a flush writes may be merged again.
const LEVEL: i32 = 1;

/// Days that a memtable tells apart. Records of others go with the nearest day before, so that odd
/// times do not make a segment each.
const MAX_DAYS: usize = 32;

#[derive(Default)]
struct Day {
    builder: Builder,
    size_bytes: usize,
    /// The builder's rows as a granule, for searches, until more come.
    snapshot: Option<Arc<Granule>>,
}

#[derive(Default)]
struct Inner {
    days: BTreeMap<i64, Day>,
    known_days: BTreeSet<i64>,
    sealed: Vec<(i64, Arc<Granule>)>,
    sealed_bytes: usize,
    records: u64,
    range: Option<(i64, i64)>,
}

pub struct Memtable {
    inner: Mutex<Inner>,
    /// Held for a moment alone: who asks must not wait for granules that are being made.
    stats: Mutex<MemtableStats>,
    granule_rows: usize,
}

/// A memtable in numbers.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemtableStats {
    pub records: u64,
    pub size_bytes: usize,
    pub range: Option<(i64, i64)>,
}

fn seal(builder: &Builder) -> Result<Arc<Granule>, Corrupt> {
    let failed = |e: std::io::Error| Corrupt { path: "memory".to_owned(), detail: e.to_string() };
    let bytes = encode(builder, LEVEL).map_err(failed)?;
    Ok(Arc::new(Granule::open(Store::Memory(bytes.into()))?))
}

impl Inner {
    /// The day that a record is put to.
    fn day_of(&mut self, time_ns: i64) -> i64 {
        let day = time_ns.div_euclid(DAY_NS);
        if self.known_days.len() < MAX_DAYS {
            self.known_days.insert(day);
            return day;
        }
        let before = self.known_days.range(..=day).next_back();
        before.or_else(|| self.known_days.first()).copied().unwrap_or(day)
    }

    fn append(
        &mut self,
        body: &[u8],
        batch: &Batch,
        first_row: i64,
        granule_rows: usize,
    ) -> Result<(), Corrupt> {
        // Of each day that is being filled, the last resource: those of a batch come in sequence.
        let mut resources: BTreeMap<i64, LastResource> = BTreeMap::new();
        for (record, sequence) in batch.records.iter().zip(first_row..) {
            let key = self.day_of(record.time_ns);
            let day = self.days.entry(key).or_default();
            let last = resources.entry(key).or_default();
            day.size_bytes += day.builder.push(body, batch, record, sequence, last);
            day.snapshot = None;
            let (low, high) = self.range.unwrap_or((record.time_ns, record.time_ns));
            self.range = Some((low.min(record.time_ns), high.max(record.time_ns)));
            self.records += 1;
            day.size_bytes += record.body.len() + record.metadata_bytes as usize + 64;
            if day.builder.len() >= granule_rows || day.size_bytes > super::granule::FULL_BYTES {
                let granule = seal(&day.builder)?;
                self.sealed_bytes += granule.bytes().len();
                self.sealed.push((key, granule));
                self.days.remove(&key);
                resources.remove(&key);
            }
        }
        Ok(())
    }

    fn stats(&self) -> MemtableStats {
        let open: usize = self.days.values().map(|day| day.size_bytes).sum();
        MemtableStats {
            records: self.records,
            size_bytes: self.sealed_bytes + open,
            range: self.range,
        }
    }
}

impl Memtable {
    #[must_use]
    pub fn new(granule_rows: usize) -> Self {
        Self { inner: Mutex::default(), stats: Mutex::default(), granule_rows }
    }

    /// Appends the records of a batch, numbered from `first_row`.
    ///
    /// # Errors
    /// Memory is short.
    pub fn append(&self, body: &[u8], batch: &Batch, first_row: i64) -> Result<(), Corrupt> {
        let mut inner = self.inner.lock();
        let appended = inner.append(body, batch, first_row, self.granule_rows);
        *self.stats.lock() = inner.stats();
        appended
    }

    /// Every record, as granules.
    ///
    /// # Errors
    /// Memory is short.
    pub fn granules(&self) -> Result<Vec<Arc<Granule>>, Corrupt> {
        Ok(self.by_day()?.into_iter().map(|(_, granule)| granule).collect())
    }

    /// The same with the day, since 1970, of each.
    ///
    /// # Errors
    /// Memory is short.
    pub fn by_day(&self) -> Result<Vec<(i64, Arc<Granule>)>, Corrupt> {
        let mut inner = self.inner.lock();
        let mut granules = inner.sealed.clone();
        for (key, day) in &mut inner.days {
            let snapshot = match &day.snapshot {
                Some(granule) => Arc::clone(granule),
                None => Arc::clone(day.snapshot.insert(seal(&day.builder)?)),
            };
            granules.push((*key, snapshot));
        }
        Ok(granules)
    }

    #[must_use]
    pub fn stats(&self) -> MemtableStats {
        *self.stats.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_wait_for_work() {
        let memtable = Memtable::new(8);
        let _at_work = memtable.inner.lock();
        assert_eq!(memtable.stats().records, 0);
    }
}
