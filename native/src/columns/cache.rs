//! What searches have read lately of columns, of all granules of the process, within a bound.
//!
//! A granule that is opened has a number that no other ever had, and takes its columns along when
//! it goes: what is here is never of another file than its reader's. What must make room is chosen
//! at random: searches go over the same granules again and again, and the least recently used would
//! be the one that is needed next.

use super::column::Strings;
use super::stored::Stored;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Larger columns have values that hardly repeat: few searches gain from them.
pub const SMALL_BYTES: usize = 64 << 10;

/// Of granules whose records are shown, which are the newest mostly and shown again and again.
pub const LARGE_BYTES: usize = 512 << 10;

/// What an entry takes beside its column.
const ENTRY_BYTES: usize = 96;

const SHARDS: usize = 16;

/// Until something else is said.
const DEFAULT_BYTES: usize = 64 << 20;

/// A granule and its block.
type Key = (u64, usize);

/// A block as it was read.
#[derive(Debug, Clone)]
pub enum Kept {
    Column(Arc<Stored>),
    Integers(Arc<Vec<i64>>),
    /// Decompressed.
    Bytes(Arc<Vec<u8>>),
    Variables(Arc<Vec<Vec<Strings>>>),
}

impl Kept {
    /// What it takes in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Column(column) => column.size_bytes(),
            Self::Integers(ints) => 8 * ints.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Variables(lists) => {
                let of = |list: &Strings| size_of::<Strings>() + list.size_bytes();
                lists.iter().map(|l| size_of_val(l) + l.iter().map(of).sum::<usize>()).sum()
            }
        }
    }
}

#[derive(Default)]
struct Shard {
    places: HashMap<Key, usize>,
    entries: Vec<(Key, Kept, usize)>,
    size_bytes: usize,
    random: u64,
}

impl Shard {
    fn remove(&mut self, place: usize) {
        let (key, _, bytes) = self.entries.swap_remove(place);
        self.places.remove(&key);
        self.size_bytes -= bytes;
        if let Some((moved, _, _)) = self.entries.get(place) {
            self.places.insert(*moved, place);
        }
    }

    fn shrink(&mut self, max_bytes: usize) {
        while self.size_bytes > max_bytes && !self.entries.is_empty() {
            self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let place = (self.random >> 33) as usize % self.entries.len();
            self.remove(place);
        }
    }
}

/// A bounded set of columns.
pub struct ColumnCache {
    shards: [Mutex<Shard>; SHARDS],
    max_bytes: AtomicUsize,
}

/// The one that all granules share.
pub static COLUMNS: LazyLock<ColumnCache> = LazyLock::new(|| ColumnCache::new(DEFAULT_BYTES));

/// The number of the next granule.
#[must_use]
pub fn next_granule() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl ColumnCache {
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { shards: Default::default(), max_bytes: AtomicUsize::new(max_bytes) }
    }

    fn shard(&self, granule: u64) -> &Mutex<Shard> {
        &self.shards[granule as usize % SHARDS]
    }

    fn shard_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed) / SHARDS
    }

    #[must_use]
    pub fn get(&self, granule: u64, block: usize) -> Option<Kept> {
        let shard = self.shard(granule).lock();
        let place = shard.places.get(&(granule, block))?;
        Some(shard.entries[*place].1.clone())
    }

    /// Keeps a block, unless it takes more than it may.
    pub fn put(&self, granule: u64, block: usize, what: &Kept, most_bytes: usize) {
        let bytes = what.size_bytes() + ENTRY_BYTES;
        let max_bytes = self.shard_bytes();
        if bytes > most_bytes.min(max_bytes) {
            return;
        }
        let mut shard = self.shard(granule).lock();
        let key = (granule, block);
        if shard.places.contains_key(&key) {
            return;
        }
        shard.shrink(max_bytes - bytes);
        let place = shard.entries.len();
        shard.entries.push((key, what.clone(), bytes));
        shard.places.insert(key, place);
        shard.size_bytes += bytes;
    }

    /// Lets go of a granule that is no more.
    pub fn forget(&self, granule: u64, blocks: usize) {
        let mut shard = self.shard(granule).lock();
        for block in 0..blocks {
            if let Some(place) = shard.places.get(&(granule, block)).copied() {
                shard.remove(place);
            }
        }
    }

    /// Says how much it may take from now on.
    pub fn bound(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
        self.shards.iter().for_each(|shard| shard.lock().shrink(max_bytes / SHARDS));
    }

    /// What it takes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().size_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_its_bound_and_never_mixes_granules(
            asked in proptest::collection::vec((0_u64..40, 0_usize..4, 0_u8..9), 1..400),
            max in 0_usize..60_000,
        ) {
            let cache = ColumnCache::new(max);
            let mut made: HashMap<Key, Arc<Stored>> = HashMap::new();
            for (granule, block, what) in asked {
                match what {
                    0 => {
                        cache.forget(granule, 4);
                        made.retain(|key, _| key.0 != granule);
                    }
                    1..5 => {
                        let column = made.entry((granule, block)).or_default();
                        cache.put(granule, block, &Kept::Column(Arc::clone(column)), SMALL_BYTES);
                    }
                    _ => {
                        if let Some(Kept::Column(found)) = cache.get(granule, block) {
                            let own = made.get(&(granule, block));
                            prop_assert!(own.is_some_and(|own| Arc::ptr_eq(own, &found)));
                        }
                    }
                }
                prop_assert!(cache.size_bytes() <= max);
            }
            cache.bound(0);
            prop_assert_eq!(cache.size_bytes(), 0);
        }
    }
}
