//! Fingerprints: the labels of a series as they stand in a request, hashed to 96 bits.
//!
//! A request names each series by some hundred bytes of labels. To know the series again, ingest
//! hashes those bytes and looks the hash up; it neither parses nor compares labels. The hash is
//! XXH3-128 under a secret random seed, cut to 96 bits: among ten million series two collide with
//! a probability below 1e-15 (docs/decisions, "fingerprints").

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// 96 bits of a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    pub high: u64,
    pub low: u32,
}

impl Fingerprint {
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8], seed: u64) -> Self {
        let hash = xxh3_128_with_seed(bytes, seed);
        Self { high: (hash >> 64) as u64, low: hash as u32 }
    }
}

const EMPTY: u32 = u32::MAX;

/// 16 bytes, so that four share a cache line and none straddles two.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Slot {
    high: u64,
    low: u32,
    id: u32,
}

/// An open-addressing hash table from fingerprints to series ids.
pub struct FingerprintIndex {
    slots: Vec<Slot>,
    len: usize,
}

impl FingerprintIndex {
    #[must_use]
    pub fn new() -> Self {
        Self { slots: vec![Slot { high: 0, low: 0, id: EMPTY }; 1024], len: 0 }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }

    #[inline]
    fn start(&self, key: Fingerprint) -> usize {
        key.high as usize & (self.slots.len() - 1)
    }

    /// Asks the processor to load what `get` will read.
    #[inline]
    pub fn prefetch(&self, key: Fingerprint) {
        prefetch(&self.slots[self.start(key)]);
    }

    #[inline]
    #[must_use]
    pub fn get(&self, key: Fingerprint) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.start(key);
        loop {
            let slot = &self.slots[at];
            if slot.id == EMPTY {
                return None;
            }
            if slot.high == key.high && slot.low == key.low {
                return Some(slot.id);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a key that is not in the table, or changes what it stands for.
    pub fn insert(&mut self, key: Fingerprint, id: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        if Self::place(&mut self.slots, Slot { high: key.high, low: key.low, id }) {
            self.len += 1;
        }
    }

    fn place(slots: &mut [Slot], slot: Slot) -> bool {
        let mask = slots.len() - 1;
        let mut at = slot.high as usize & mask;
        loop {
            let there = &mut slots[at];
            if there.id == EMPTY {
                *there = slot;
                return true;
            }
            if there.high == slot.high && there.low == slot.low {
                there.id = slot.id;
                return false;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let mut larger = vec![Slot { high: 0, low: 0, id: EMPTY }; self.slots.len() * 2];
        for slot in self.slots.iter().filter(|s| s.id != EMPTY) {
            Self::place(&mut larger, *slot);
        }
        self.slots = larger;
    }

    /// Every fingerprint and what it stands for, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Fingerprint, u32)> + '_ {
        let used = self.slots.iter().filter(|s| s.id != EMPTY);
        used.map(|s| (Fingerprint { high: s.high, low: s.low }, s.id))
    }
}

impl Default for FingerprintIndex {
    fn default() -> Self {
        Self::new()
    }
}

/// A hint to load the cache line of `target`.
#[inline]
pub fn prefetch<T>(target: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching reads nothing into the program and cannot fault; SSE is part of x86_64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn agrees_with_a_hash_map(keys in prop::collection::vec(0..500_u32, 0..3000)) {
            let mut index = FingerprintIndex::new();
            let mut model = HashMap::new();
            for (i, key) in keys.iter().enumerate() {
                // A few distinct high halves make long probe runs.
                let fp = Fingerprint { high: u64::from(key % 7), low: *key };
                index.insert(fp, i as u32);
                model.insert(*key, i as u32);
            }
            prop_assert_eq!(index.len(), model.len());
            for key in 0..600_u32 {
                let fp = Fingerprint { high: u64::from(key % 7), low: key };
                prop_assert_eq!(index.get(fp), model.get(&key).copied());
            }
        }
    }
}
