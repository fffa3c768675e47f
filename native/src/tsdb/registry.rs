//! The series registry of one project: labels <-> series id, with what ingest and queries need to
//! go from one to the other.
//!
//! Ids are dense, ascend in order of first sight and are never used again. The registry is kept
//! on disk as a log of records (docs/format/series.md) that `log` gives out and `load` takes in.

use super::fingerprint::{Fingerprint, FingerprintIndex};
use super::postings::PostingsIndex;
use super::symbols::{Symbols, SymbolsFull};
use crate::wire::varint::{self, put_uvarint};
use hashbrown::{HashMap, HashTable};
use parking_lot::{Mutex, RwLock, RwLockUpgradableReadGuard};
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering as MemoryOrdering};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub const METRIC_NAME: &str = "__name__";

/// Marks the shape of a series that was removed.
const NO_SHAPE: u32 = u32::MAX;

/// The bytes of a registry log are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("series record is damaged: {0}")]
pub struct BadRecord(pub &'static str);

/// Labels by id, and ids by labels and by fingerprint.
pub struct SeriesTable {
    seed: u64,
    pub symbols: Symbols,
    /// Distinct lists of name symbols. Series of one metric share theirs, so that a series keeps
    /// only its values.
    shapes: Vec<Box<[u32]>>,
    shape_ids: HashMap<Box<[u32]>, u32>,
    series_shape: Vec<u32>,
    series_values: Vec<u32>,
    values: Vec<u32>,
    by_labels: HashTable<u32>,
    pub fingerprints: FingerprintIndex,
    /// Fingerprints of series that `log` has not given out yet.
    unlogged: Vec<Fingerprint>,
    logged_symbols: usize,
    logged_series: usize,
    live: usize,
}

impl SeriesTable {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            symbols: Symbols::new(seed),
            shapes: Vec::new(),
            shape_ids: HashMap::new(),
            series_shape: Vec::new(),
            series_values: Vec::new(),
            values: Vec::new(),
            by_labels: HashTable::new(),
            fingerprints: FingerprintIndex::new(),
            unlogged: Vec::new(),
            logged_symbols: 0,
            logged_series: 0,
            live: 0,
        }
    }

    /// One past the highest id.
    #[must_use]
    pub fn id_end(&self) -> u32 {
        self.series_shape.len() as u32
    }

    /// Series that are registered now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Memory of the table without its postings.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.symbols.text_bytes()
            + self.symbols.len() * 10
            + (self.values.len() + 2 * self.series_shape.len()) * 4
            + self.by_labels.capacity() * 5
            + self.fingerprints.size_bytes()
    }

    fn label_symbols(&self, id: u32) -> (&[u32], &[u32]) {
        let shape = self.series_shape[id as usize];
        if shape == NO_SHAPE {
            return (&[], &[]);
        }
        let names = &self.shapes[shape as usize];
        let start = self.series_values[id as usize] as usize;
        (names, &self.values[start..start + names.len()])
    }

    /// (name, value) symbols, sorted by the names' text.
    pub fn pairs(&self, id: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let (names, values) = self.label_symbols(id);
        names.iter().copied().zip(values.iter().copied())
    }

    /// Prometheus' order of label sets.
    #[must_use]
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        let ((names_a, values_a), (names_b, values_b)) =
            (self.label_symbols(a), self.label_symbols(b));
        for i in 0..names_a.len().min(names_b.len()) {
            for (x, y) in [(names_a[i], names_b[i]), (values_a[i], values_b[i])] {
                if x != y {
                    return self.symbols.raw(x).cmp(self.symbols.raw(y));
                }
            }
        }
        names_a.len().cmp(&names_b.len())
    }

    fn hash(seed: u64, shape: u32, values: &[u32]) -> u64 {
        let mut bytes = [0_u8; 4 * 65];
        if values.len() < 65 {
            bytes[..4].copy_from_slice(&shape.to_le_bytes());
            for (i, v) in values.iter().enumerate() {
                bytes[4 + 4 * i..8 + 4 * i].copy_from_slice(&v.to_le_bytes());
            }
            return xxh3_64_with_seed(&bytes[..4 + 4 * values.len()], seed);
        }
        let mut long = Vec::with_capacity(4 + 4 * values.len());
        long.extend_from_slice(&shape.to_le_bytes());
        values.iter().for_each(|v| long.extend_from_slice(&v.to_le_bytes()));
        xxh3_64_with_seed(&long, seed)
    }

    fn shape_of(&mut self, names: &[u32]) -> u32 {
        if let Some(&shape) = self.shape_ids.get(names) {
            return shape;
        }
        let shape = self.shapes.len() as u32;
        self.shapes.push(names.into());
        self.shape_ids.insert(names.into(), shape);
        shape
    }

    /// The id of a label set, which is sorted and valid; None if there is no such series.
    #[must_use]
    pub fn find(&self, labels: &[(&str, &str)]) -> Option<u32> {
        let mut names = Vec::with_capacity(labels.len());
        let mut values = Vec::with_capacity(labels.len());
        for (name, value) in labels {
            names.push(self.symbols.find(name)?);
            values.push(self.symbols.find(value)?);
        }
        let shape = *self.shape_ids.get(names.as_slice())?;
        self.find_symbols(shape, &values)
    }

    fn find_symbols(&self, shape: u32, values: &[u32]) -> Option<u32> {
        self.by_labels
            .find(Self::hash(self.seed, shape, values), |&id| {
                self.series_shape[id as usize] == shape && self.label_symbols(id).1 == values
            })
            .copied()
    }

    /// Registers a label set, which is sorted, valid and new.
    ///
    /// # Errors
    /// When there is no room for its text.
    pub fn register(
        &mut self,
        labels: &[(&str, &str)],
        fingerprint: Fingerprint,
    ) -> Result<u32, SymbolsFull> {
        let mut names = Vec::with_capacity(labels.len());
        let mut values = Vec::with_capacity(labels.len());
        for (name, value) in labels {
            names.push(self.symbols.intern(name)?);
            values.push(self.symbols.intern(value)?);
        }
        let id = self.id_end();
        self.place(id, &names, &values)?;
        self.fingerprints.insert(fingerprint, id);
        self.unlogged.push(fingerprint);
        Ok(id)
    }

    fn place(&mut self, id: u32, names: &[u32], values: &[u32]) -> Result<(), SymbolsFull> {
        let start = u32::try_from(self.values.len()).map_err(|_| SymbolsFull)?;
        let shape = self.shape_of(names);
        while self.id_end() < id {
            self.series_shape.push(NO_SHAPE);
            self.series_values.push(0);
        }
        self.series_shape.push(shape);
        self.series_values.push(start);
        self.values.extend_from_slice(values);
        let Self { seed, series_shape, series_values, values: all, shapes, by_labels, .. } = self;
        by_labels.insert_unique(Self::hash(*seed, shape, values), id, |&id| {
            let shape = series_shape[id as usize];
            let start = series_values[id as usize] as usize;
            Self::hash(*seed, shape, &all[start..start + shapes[shape as usize].len()])
        });
        self.live += 1;
        Ok(())
    }

    fn copy_series(&mut self, from: &Self, id: u32) -> Result<(), SymbolsFull> {
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (name, value) in from.pairs(id) {
            names.push(self.symbols.intern(from.symbols.get(name))?);
            values.push(self.symbols.intern(from.symbols.get(value))?);
        }
        self.place(id, &names, &values)
    }

    /// A record of the symbols and series from these marks on; empty when there are none.
    fn encode_from(&self, symbol_mark: usize, series_mark: usize, fps: &[Fingerprint]) -> Vec<u8> {
        let mut out = Vec::new();
        let (symbol_end, series_end) = (self.symbols.len(), self.series_shape.len());
        if symbol_mark == symbol_end && series_mark == series_end {
            return out;
        }
        put_uvarint(&mut out, (symbol_end - symbol_mark) as u64);
        for symbol in symbol_mark..symbol_end {
            let text = self.symbols.raw(symbol as u32);
            put_uvarint(&mut out, text.len() as u64);
            out.extend_from_slice(text);
        }
        let ids = (series_mark..series_end).filter(|&i| self.series_shape[i] != NO_SHAPE);
        put_uvarint(&mut out, ids.clone().count() as u64);
        for (id, fp) in ids.zip(fps) {
            put_uvarint(&mut out, id as u64);
            out.extend_from_slice(&fp.high.to_le_bytes());
            out.extend_from_slice(&fp.low.to_le_bytes());
            let (names, values) = self.label_symbols(id as u32);
            put_uvarint(&mut out, names.len() as u64);
            for (n, v) in names.iter().zip(values) {
                put_uvarint(&mut out, u64::from(*n));
                put_uvarint(&mut out, u64::from(*v));
            }
        }
        out
    }

    fn load_record(&mut self, record: &[u8]) -> Result<(), BadRecord> {
        let mut input = varint::Reader::new(record);
        let bad = |what| move |_| BadRecord(what);
        for _ in 0..input.uvarint().map_err(bad("symbol count"))? {
            let length = input.uvarint().map_err(bad("symbol length"))? as usize;
            let text = input.bytes(length).map_err(bad("symbol text"))?;
            let text = std::str::from_utf8(text).map_err(|_| BadRecord("symbol is not UTF-8"))?;
            self.symbols.intern(text).map_err(|_| BadRecord("too many symbols"))?;
        }
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for _ in 0..input.uvarint().map_err(bad("series count"))? {
            let id = input.uvarint().map_err(bad("series id"))?;
            if id < u64::from(self.id_end()) || id >= u64::from(u32::MAX) {
                return Err(BadRecord("series ids do not ascend"));
            }
            // A gap costs memory: no more of it than ids that could have been registered.
            if id > u64::from(self.id_end()) + (1 << 28) {
                return Err(BadRecord("series id out of range"));
            }
            let high = input.u64_le().map_err(bad("fingerprint"))?;
            let low = input.u32_le().map_err(bad("fingerprint"))?;
            names.clear();
            values.clear();
            for _ in 0..input.uvarint().map_err(bad("label count"))? {
                for list in [&mut names, &mut values] {
                    let symbol = input.uvarint().map_err(bad("label symbol"))?;
                    if symbol >= self.symbols.len() as u64 {
                        return Err(BadRecord("unknown symbol"));
                    }
                    list.push(symbol as u32);
                }
            }
            self.place(id as u32, &names, &values).map_err(|_| BadRecord("too many labels"))?;
            self.fingerprints.insert(Fingerprint { high, low }, id as u32);
        }
        if !input.is_empty() {
            return Err(BadRecord("bytes after the last series"));
        }
        self.logged_symbols = self.symbols.len();
        self.logged_series = self.series_shape.len();
        Ok(())
    }
}

/// What `log` gave out, to be confirmed when it is on disk.
#[derive(Debug, Clone, Copy)]
pub struct LogMark {
    pub symbols: usize,
    pub series: usize,
    pub fingerprints: usize,
}

/// A family's metadata, as senders describe it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Prometheus' `MetricType` number of remote write 2.0.
    pub kind: u8,
    pub help: String,
    pub unit: String,
}

/// Families beyond this are not described: their number is the senders' to choose.
const MAX_FAMILIES: usize = 100_000;
/// Text of all of them together.
const MAX_METADATA_BYTES: usize = 64 << 20;

#[derive(Default)]
pub struct MetadataTable {
    pub families: HashMap<String, Metadata>,
    /// Hashes of 2.0 metadata already taken, so that each request's repetition costs a look-up.
    pub seen: hashbrown::HashSet<u64>,
    /// Counts changes.
    pub version: u64,
    text_bytes: usize,
}

impl MetadataTable {
    pub fn set(&mut self, family: &str, metadata: Metadata) {
        let known = self.families.get(family);
        if known == Some(&metadata) || (known.is_none() && self.families.len() >= MAX_FAMILIES) {
            return;
        }
        let size = |m: &Metadata| family.len() + m.help.len() + m.unit.len();
        let text_bytes = self.text_bytes - known.map_or(0, size) + size(&metadata);
        if text_bytes > MAX_METADATA_BYTES {
            return;
        }
        self.families.insert(family.to_owned(), metadata);
        self.text_bytes = text_bytes;
        self.version += 1;
    }
}

/// The registry, shared by ingest and queries.
pub struct Registry {
    pub seed: u64,
    /// Counts removals: ids looked up before one may be gone after it.
    generation: AtomicU64,
    pub table: RwLock<SeriesTable>,
    postings: RwLock<Indexed>,
    pub metadata: Mutex<MetadataTable>,
}

#[derive(Default)]
struct Indexed {
    index: PostingsIndex,
    upto: u32,
}

impl Registry {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            generation: AtomicU64::new(0),
            table: RwLock::new(SeriesTable::new(seed)),
            postings: RwLock::default(),
            metadata: Mutex::default(),
        }
    }

    /// Takes in one record of the log.
    ///
    /// # Errors
    /// The record is not one; what it held before the damage may have been taken.
    pub fn load(&self, record: &[u8]) -> Result<(), BadRecord> {
        self.table.write().load_record(record)
    }

    /// What has been registered since the last confirmed log, as one record.
    pub fn log(&self) -> (Vec<u8>, LogMark) {
        let table = self.table.read();
        let record = table.encode_from(table.logged_symbols, table.logged_series, &table.unlogged);
        let mark = LogMark {
            symbols: table.symbols.len(),
            series: table.series_shape.len(),
            fingerprints: table.unlogged.len(),
        };
        (record, mark)
    }

    /// What `log` gave out with this mark is on disk.
    pub fn confirm(&self, mark: LogMark) {
        let mut table = self.table.write();
        table.logged_symbols = mark.symbols;
        table.logged_series = mark.series;
        table.unlogged.drain(..mark.fingerprints);
    }

    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(MemoryOrdering::Acquire)
    }

    /// Removes every series but those to keep, and gives a whole new log: one record. The highest
    /// id stays, so that no id is used again after a restart either.
    pub fn retain(&self, keep: &RoaringBitmap) -> Vec<u8> {
        let mut table = self.table.write();
        let mut postings = self.postings.write();
        let last = table.id_end().wrapping_sub(1);
        let kept = |id: u32| {
            (keep.contains(id) || id == last) && table.series_shape[id as usize] != NO_SHAPE
        };
        let mut fresh = SeriesTable::new(self.seed);
        let mut fingerprints = vec![Fingerprint { high: 0, low: 0 }; table.series_shape.len()];
        for (fingerprint, id) in table.fingerprints.iter().filter(|(_, id)| kept(*id)) {
            fresh.fingerprints.insert(fingerprint, id);
            fingerprints[id as usize] = fingerprint;
        }
        let mut kept_fingerprints = Vec::new();
        for id in (0..table.id_end()).filter(|id| kept(*id)) {
            // What fitted before fits now: a subset of the text.
            let copied = fresh.copy_series(&table, id);
            debug_assert!(copied.is_ok());
            kept_fingerprints.push(fingerprints[id as usize]);
        }
        let record = fresh.encode_from(0, 0, &kept_fingerprints);
        fresh.logged_symbols = fresh.symbols.len();
        fresh.logged_series = fresh.series_shape.len();
        *table = fresh;
        *postings = Indexed::default();
        self.generation.fetch_add(1, MemoryOrdering::Release);
        record
    }

    /// Calls `read` with the table and an index that covers it. Series are indexed here, by the
    /// first query that comes after them, and not on the way in.
    pub fn indexed<R>(&self, read: impl FnOnce(&SeriesTable, &PostingsIndex) -> R) -> R {
        let table = self.table.read();
        let mut postings = self.postings.upgradable_read();
        if postings.upto < table.id_end() {
            postings.with_upgraded(|indexed| {
                for id in indexed.upto..table.id_end() {
                    if table.series_shape[id as usize] != NO_SHAPE {
                        indexed.index.add(id, table.pairs(id));
                    }
                }
                indexed.upto = table.id_end();
            });
        }
        // Upgradable readers exclude each other: queries must not.
        let postings = RwLockUpgradableReadGuard::downgrade(postings);
        read(&table, &postings.index)
    }

    /// The ids of the series that satisfy any of these selectors; all for none.
    #[must_use]
    pub fn select(&self, selectors: &[Vec<super::matcher::Matcher>]) -> RoaringBitmap {
        self.indexed(|table, index| {
            if selectors.is_empty() {
                return index.all().clone();
            }
            selectors
                .iter()
                .map(|matchers| index.select(matchers, &table.symbols))
                .fold(RoaringBitmap::new(), |all, ids| all | ids)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::{Matcher, Op};
    use super::*;
    use proptest::prelude::*;

    fn labels() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
        prop::collection::btree_map("[a-d]", "[x-z]{1,2}", 0..4)
    }

    fn pattern() -> impl Strategy<Value = String> {
        let patterns = ["", "x", "yz", "[x-z]", "x.", "y+", "zz?", ".*", ".+", "x|yy", "|z"];
        prop::sample::select(patterns.map(str::to_owned).to_vec())
    }

    fn register(registry: &Registry, labels: &[(&str, &str)]) -> u32 {
        let mut table = registry.table.write();
        if let Some(id) = table.find(labels) {
            return id;
        }
        let text = format!("{labels:?}");
        table.register(labels, Fingerprint::of(text.as_bytes(), registry.seed)).unwrap()
    }

    fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<(&str, &str)> {
        map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    proptest! {
        #[test]
        fn select_agrees_with_a_scan(
            sets in prop::collection::vec(labels(), 0..40),
            conditions in prop::collection::vec(("[a-e]", pattern(), 0..4_usize), 1..4),
        ) {
            let registry = Registry::new(7);
            let ids: Vec<u32> = sets.iter().map(|s| register(&registry, &pairs(s))).collect();
            let ops = [Op::Equal, Op::NotEqual, Op::Regex, Op::NotRegex];
            let matchers: Vec<Matcher> = conditions
                .into_iter()
                .map(|(name, value, op)| Matcher::new(ops[op], name, value).unwrap())
                .collect();
            let expected: RoaringBitmap = ids
                .iter()
                .zip(&sets)
                .filter(|(_, set)| {
                    matchers.iter().all(|m| m.matches(set.get(&m.name).map_or("", |v| v)))
                })
                .map(|(id, _)| *id)
                .collect();
            prop_assert_eq!(registry.select(&[matchers]), expected);
        }

        #[test]
        fn a_loaded_log_gives_the_same_series(
            first in prop::collection::vec(labels(), 0..20),
            second in prop::collection::vec(labels(), 0..20),
        ) {
            let registry = Registry::new(7);
            let copy = Registry::new(7);
            for batch in [&first, &second] {
                for set in batch {
                    register(&registry, &pairs(set));
                }
                let (record, mark) = registry.log();
                registry.confirm(mark);
                if !record.is_empty() {
                    copy.load(&record).unwrap();
                }
            }
            prop_assert!(registry.log().0.is_empty());
            for set in first.iter().chain(&second) {
                let id = registry.table.read().find(&pairs(set));
                prop_assert!(id.is_some());
                prop_assert_eq!(copy.table.read().find(&pairs(set)), id);
            }
        }

        #[test]
        fn retained_series_keep_their_ids(
            sets in prop::collection::vec(labels(), 1..30),
            keep in prop::collection::vec(any::<bool>(), 30),
        ) {
            let registry = Registry::new(7);
            let ids: Vec<u32> = sets.iter().map(|s| register(&registry, &pairs(s))).collect();
            let last = registry.table.read().id_end() - 1;
            let keep: RoaringBitmap = (0..=last).filter(|id| keep[*id as usize]).collect();
            let log = registry.retain(&keep);
            let copy = Registry::new(7);
            copy.load(&log).unwrap();
            for (id, set) in ids.iter().zip(&sets) {
                let expected = (keep.contains(*id) || *id == last).then_some(*id);
                prop_assert_eq!(registry.table.read().find(&pairs(set)), expected);
                prop_assert_eq!(copy.table.read().find(&pairs(set)), expected);
            }
            prop_assert_eq!(copy.table.read().id_end(), last + 1);
            prop_assert_eq!(registry.select(&[vec![]]), copy.select(&[vec![]]));
            prop_assert!(registry.log().0.is_empty());
        }

        #[test]
        fn arbitrary_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Registry::new(1).load(&bytes);
        }
    }
}
