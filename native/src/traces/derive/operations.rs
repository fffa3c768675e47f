//! Calls, durations and sizes of every operation: service, span name, kind, status and dimensions.

use super::histogram::{Bounds, Histogram, Origin};
use super::limit::{Life, Limit, Written};
use super::roles::{MAX_NAME_BYTES, cut_str, text};
use crate::columns::value::Value;
use hashbrown::HashTable;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Series of a label set beside those of buckets: calls, size, sum and count.
const OTHER_SERIES: usize = 4;

/// What sets an operation's series apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub service: Arc<str>,
    pub name: Box<str>,
    pub kind: u8,
    pub status: u8,
    /// Of each dimension; "" where there is none.
    pub dimensions: Box<[Box<str>]>,
    /// `job` and `instance`, where they are wanted.
    pub target: Option<Arc<(Box<str>, Box<str>)>>,
}

/// The same, borrowed of a span.
#[derive(Debug, Clone, Copy)]
pub struct KeyOf<'a> {
    pub service: &'a Arc<str>,
    pub name: &'a str,
    pub kind: u8,
    pub status: u8,
    pub resource_dimensions: &'a [Option<Box<str>>],
    pub dimensions: &'a [Option<Value<'a>>],
    pub target: Option<&'a Arc<(Box<str>, Box<str>)>>,
}

/// What was counted of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// `None` is all that found no room.
    pub key: Option<Key>,
    pub calls: u64,
    pub size_bytes: u64,
    pub latency: Histogram,
    pub life: Life,
}

/// All operations.
#[derive(Debug)]
pub struct Operations {
    pub bounds: Bounds,
    sets: Vec<Operation>,
    places: HashTable<u32>,
    overflow: Option<Box<Operation>>,
}

impl KeyOf<'_> {
    fn dimension(&self, at: usize) -> std::borrow::Cow<'_, str> {
        match self.resource_dimensions.get(at) {
            Some(Some(of_resource)) => of_resource.as_ref().into(),
            _ => self.dimensions.get(at).copied().flatten().and_then(text).unwrap_or_default(),
        }
    }

    fn count(&self) -> usize {
        self.resource_dimensions.len()
    }

    fn hash(&self) -> u64 {
        let seed = u64::from(self.kind) << 8 | u64::from(self.status);
        let mut hash = xxh3_64_with_seed(self.service.as_bytes(), seed);
        hash = xxh3_64_with_seed(self.name.as_bytes(), hash);
        for at in 0..self.count() {
            hash = xxh3_64_with_seed(self.dimension(at).as_bytes(), hash);
        }
        hash
    }

    fn is(&self, key: &Key) -> bool {
        key.kind == self.kind
            && key.status == self.status
            && *key.name == *self.name
            && key.service == *self.service
            && key.target.as_ref() == self.target
            && key.dimensions.iter().enumerate().all(|(at, own)| **own == *self.dimension(at))
    }

    fn to_key(self) -> Key {
        Key {
            service: Arc::clone(self.service),
            name: self.name.into(),
            kind: self.kind,
            status: self.status,
            dimensions: (0..self.count()).map(|at| self.dimension(at).into()).collect(),
            target: self.target.cloned(),
        }
    }
}

impl Key {
    fn hash(&self) -> u64 {
        let seed = u64::from(self.kind) << 8 | u64::from(self.status);
        let mut hash = xxh3_64_with_seed(self.service.as_bytes(), seed);
        hash = xxh3_64_with_seed(self.name.as_bytes(), hash);
        for dimension in &self.dimensions {
            hash = xxh3_64_with_seed(dimension.as_bytes(), hash);
        }
        hash
    }
}

impl Operations {
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, sets: Vec::new(), places: HashTable::new(), overflow: None }
    }

    /// Series of one label set.
    #[must_use]
    pub fn series_of_set(&self) -> usize {
        self.bounds.len() + OTHER_SERIES
    }

    /// Label sets, the one of what found no room last.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.sets.iter().chain(self.overflow.as_deref())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Operation> {
        self.sets.iter_mut().chain(self.overflow.as_deref_mut())
    }

    /// Counts a span.
    pub fn count(
        &mut self,
        mut key: KeyOf<'_>,
        (nanos, size_bytes): (u64, u64),
        origin: Origin,
        (zero_ms, now_ms): (i64, i64),
        limit: &mut Limit,
    ) {
        key.name = cut_str(key.name, MAX_NAME_BYTES);
        let hash = key.hash();
        let (sets, bounds) = (&mut self.sets, &self.bounds);
        let is = |at: &u32| sets[*at as usize].key.as_ref().is_some_and(|own| key.is(own));
        let found = self.places.find(hash, is).map(|at| *at as usize);
        let fresh = |key| Operation {
            key,
            calls: 0,
            size_bytes: 0,
            latency: Histogram::new(bounds.len()),
            life: Life::new(zero_ms, now_ms),
        };
        let set = match found {
            Some(at) => &mut sets[at],
            None if limit.take(bounds.len() + OTHER_SERIES) => {
                let at = sets.len();
                sets.push(fresh(Some(key.to_key())));
                self.places.insert_unique(hash, at as u32, |at| hash_of(sets, *at));
                &mut self.sets[at]
            }
            None => {
                limit.overflowed += 1;
                self.overflow.get_or_insert_with(|| Box::new(fresh(None)))
            }
        };
        set.calls += 1;
        set.size_bytes += size_bytes;
        set.latency.observe(&self.bounds, nanos, origin);
        set.life.used_ms = now_ms;
    }

    /// Takes in what was kept; of a label set that is there already, nothing.
    pub fn restore(&mut self, set: Operation, limit: &mut Limit) {
        let Some(key) = &set.key else {
            self.overflow = Some(Box::new(set));
            return;
        };
        let (hash, sets) = (key.hash(), &mut self.sets);
        let is = |at: &u32| sets[*at as usize].key.as_ref() == Some(key);
        if self.places.find(hash, is).is_some() {
            return;
        }
        limit.take_anyway(self.bounds.len() + OTHER_SERIES);
        sets.push(set);
        let at = sets.len() as u32 - 1;
        self.places.insert_unique(hash, at, |at| hash_of(sets, *at));
    }

    /// Ends the series that nothing was added to since a time, and that are stored.
    pub fn forget_before(&mut self, used_ms: i64, limit: &mut Limit) {
        let is_live = |set: &Operation| is_live(&set.life, used_ms);
        if self.sets.iter().all(is_live) {
            return;
        }
        let before = self.sets.len();
        self.sets.retain(is_live);
        limit.give_back((before - self.sets.len()) * self.series_of_set());
        self.places.clear();
        let sets = &self.sets;
        for at in 0..sets.len() as u32 {
            self.places.insert_unique(hash_of(sets, at), at, |at| hash_of(sets, *at));
        }
    }
}

/// Whether series still get samples.
#[must_use]
pub fn is_live(life: &Life, used_ms: i64) -> bool {
    life.used_ms >= used_ms || life.written != Written::Stored
}

fn hash_of(sets: &[Operation], at: u32) -> u64 {
    sets[at as usize].key.as_ref().map_or(xxh3_64(b""), Key::hash)
}
