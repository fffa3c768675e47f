//! Which records have come of late, so that one that is sent again is not kept twice.
//!
//! Two generations of hashes: the younger takes in what comes and takes the older one's place when
//! it is full. So what came as far back as a generation is always known. Requests have generations
//! of their own, which reach further back: mostly a request is sent again as it was.
//! Format: docs/format/log-seen.md.

use crate::wire::varint::Reader;

const MAGIC: [u8; 8] = *b"OBSDSEEN";

/// Requests of fewer records are known by these alone.
const MIN_REQUEST: usize = 8;

/// Hashes whose slots are read together, so that their cache misses overlap.
const AHEAD: usize = 32;

/// Odd, with bits at random: the golden ratio's.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A set of hashes that are not 0, in a table with linear probing. It is half full at most.
#[derive(Default)]
struct Table {
    slots: Vec<u64>,
    count: usize,
}

impl Table {
    /// The slot of a hash, or the empty one where it would be.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 && self.slots[at] != hash {
            at = (at + 1) & mask;
        }
        at
    }

    #[inline]
    fn contains(&self, hash: u64) -> bool {
        !self.slots.is_empty() && self.slots[self.place(hash)] == hash
    }

    /// False when it is there already.
    #[inline]
    fn insert(&mut self, hash: u64) -> bool {
        if 2 * (self.count + 1) > self.slots.len() {
            self.grow();
        }
        let at = self.place(hash);
        if self.slots[at] == hash {
            return false;
        }
        self.slots[at] = hash;
        self.count += 1;
        true
    }

    fn grow(&mut self) {
        let larger = vec![0; (2 * self.slots.len()).max(1024)];
        let before = std::mem::replace(&mut self.slots, larger);
        for hash in before.into_iter().filter(|hash| *hash != 0) {
            let at = self.place(hash);
            self.slots[at] = hash;
        }
    }

    fn reset(&mut self) {
        self.slots.fill(0);
        self.count = 0;
    }

    fn size_bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }
}

/// The last hashes, in sequence.
#[derive(Default)]
struct Ring {
    hashes: Vec<u64>,
    next: usize,
}

impl Ring {
    #[inline]
    fn push(&mut self, hash: u64, limit: usize) {
        if self.hashes.len() < limit {
            self.hashes.push(hash);
            return;
        }
        self.hashes[self.next] = hash;
        self.next = (self.next + 1) % limit;
    }

    fn in_sequence(&self) -> impl Iterator<Item = &u64> {
        self.hashes[self.next..].iter().chain(&self.hashes[..self.next])
    }
}

#[derive(Default)]
struct Generations {
    young: Table,
    old: Table,
    limit: usize,
}

impl Generations {
    fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), ..Self::default() }
    }

    /// False when it is there already.
    #[inline]
    fn insert(&mut self, hash: u64) -> bool {
        if self.old.contains(hash) || !self.young.insert(hash) {
            return false;
        }
        if self.young.count >= self.limit {
            // The next generation will be as large: it has the memory of the one that goes.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.reset();
        }
        true
    }

    /// Has the slots of hashes at hand.
    #[inline]
    fn fetch(&self, hashes: &[u64]) {
        let first = |table: &Table, hash: u64| {
            table.slots.get(hash as usize & table.slots.len().wrapping_sub(1)).copied()
        };
        let read = hashes.iter().fold(0, |read, hash| {
            read ^ first(&self.young, *hash).unwrap_or(0) ^ first(&self.old, *hash).unwrap_or(0)
        });
        std::hint::black_box(read);
    }

    fn rotate(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    fn size_bytes(&self) -> usize {
        self.young.size_bytes() + self.old.size_bytes()
    }
}

pub struct Seen {
    records: Generations,
    requests: Generations,
    last: Ring,
    kept: usize,
}

/// What a request is known by: the hashes of its records, in sequence.
fn of_request(hashes: &[u64]) -> u64 {
    let fold = |whole: u64, hash: &u64| (whole.rotate_left(23) ^ hash).wrapping_mul(FACTOR);
    (hashes.iter().fold(hashes.len() as u64, fold) ^ FACTOR).max(1)
}

impl Seen {
    /// Knows at least the last so many records and requests, and can tell the last `kept` records.
    #[must_use]
    pub fn new(records: usize, requests: usize, kept: usize) -> Self {
        let (records, requests) = (Generations::new(records), Generations::new(requests));
        Self { records, requests, last: Ring::default(), kept: kept.max(1) }
    }

    /// Takes in the hashes of a request's records; a 0 stands for one that is never the same as
    /// another.
    ///
    /// Returns the places of those that were there already.
    pub fn admit(&mut self, hashes: &[u64]) -> Vec<u32> {
        let known = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        if hashes.len() >= MIN_REQUEST && !self.requests.insert(of_request(hashes)) {
            return (0..hashes.len()).filter(|at| hashes[*at] != 0).map(known).collect();
        }
        let mut found = Vec::new();
        for (chunk, start) in hashes.chunks(AHEAD).zip((0..).step_by(AHEAD)) {
            self.records.fetch(chunk);
            for (offset, hash) in chunk.iter().enumerate().filter(|(_, hash)| **hash != 0) {
                if self.records.insert(*hash) {
                    self.last.push(*hash, self.kept);
                } else {
                    found.push(known(start + offset));
                }
            }
        }
        found
    }

    /// Lets go of the older generations.
    pub fn rotate(&mut self) {
        self.records.rotate();
        self.requests.rotate();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.records.limit, self.requests.limit, self.kept);
    }

    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.records.size_bytes() + self.requests.size_bytes() + self.last.hashes.len() * 8
    }

    /// The last hashes, to be kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + 8 * self.last.hashes.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(self.last.hashes.len() as u64).to_le_bytes());
        self.last.in_sequence().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Takes in what `encode` gave; false when it is not that.
    pub fn restore(&mut self, stored: &[u8]) -> bool {
        let Some(hashes) = decode(stored) else { return false };
        self.admit(&hashes);
        true
    }
}

fn decode(stored: &[u8]) -> Option<Vec<u64>> {
    let (data, checksum) = stored.split_at_checked(stored.len().checked_sub(4)?)?;
    if crc32c::crc32c(data).to_le_bytes() != checksum || data.get(..8)? != MAGIC {
        return None;
    }
    let mut input = Reader::new(&data[8..]);
    let count = input.u64_le().ok()?;
    let mut hashes = Vec::new();
    while !input.is_empty() {
        hashes.push(input.u64_le().ok()?);
    }
    (hashes.len() as u64 == count).then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admit(seen: &mut Seen, hashes: impl Iterator<Item = u64>) -> Vec<u32> {
        seen.admit(&hashes.collect::<Vec<_>>())
    }

    #[test]
    fn what_came_within_a_generation_is_known() {
        let mut seen = Seen::new(100, 100, 10);
        assert!(admit(&mut seen, 1..=350).is_empty());
        let known = admit(&mut seen, 251..=350);
        assert_eq!(known, (0..100).collect::<Vec<_>>());
        assert!(admit(&mut seen, 1..=20).is_empty());
        assert_eq!(seen.admit(&[0, 0, 9_999, 0, 9_999]), [4]);
    }

    #[test]
    fn a_request_is_known_for_longer_than_its_records() {
        let mut seen = Seen::new(100, 10, 10);
        assert!(admit(&mut seen, (1..=8).chain([0])).is_empty());
        assert!(admit(&mut seen, 1_001..=2_000).is_empty());
        assert_eq!(admit(&mut seen, (1..=8).chain([0])), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(admit(&mut seen, (1..=8).rev()).is_empty(), "its records alone are forgotten");
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut seen = Seen::new(100, 100, 10);
        admit(&mut seen, 1..=25);
        let stored = seen.encode();
        let mut again = Seen::new(100, 100, 10);
        assert!(again.restore(&stored));
        assert_eq!(admit(&mut again, 1..=25).len(), 10);
        assert_eq!(admit(&mut again, 16..=25).len(), 10);
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 4;
            assert!(!Seen::new(100, 100, 10).restore(&damaged));
            assert!(!Seen::new(100, 100, 10).restore(&stored[..at]));
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set(hashes in proptest::collection::vec(0_u64..200, 0..600)) {
            let mut seen = Seen::new(1000, 100, 1);
            let mut oracle = std::collections::HashSet::new();
            let expected: Vec<u32> = (0..)
                .zip(&hashes)
                .filter(|(_, hash)| **hash != 0 && !oracle.insert(**hash))
                .map(|(place, _)| place).collect();
            prop_assert_eq!(seen.admit(&hashes), expected);
        }
    }
}
