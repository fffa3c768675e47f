//! Which granules of a segment have a trace: 32 bits of each trace id's hash, in buckets.
//!
//! Buckets are the first bits of the hash, so that all entries are in the order of hashes.
//! Format: docs/format/span-segment.md.

use super::otlp::TraceId;
use crate::wire::varint::{Reader, Truncated};
use xxhash_rust::xxh3::xxh3_64;

/// Entries of a bucket, mostly.
const BUCKET: usize = 8;

#[must_use]
pub fn hash_id(id: &TraceId) -> u64 {
    xxh3_64(id)
}

fn place(hash: u64, bits: u32) -> (usize, u32) {
    let bucket = if bits == 0 { 0 } else { (hash >> (64 - bits)) as usize };
    (bucket, (hash << bits >> 32) as u32)
}

/// Encodes the index of traces: hashes, and the granules they are in.
#[must_use]
pub fn encode(mut entries: Vec<(u64, u32)>) -> Vec<u8> {
    entries.sort_unstable();
    let bits = (entries.len() / BUCKET).max(1).ilog2();
    let mut ends = vec![0_u32; 1 << bits];
    for (hash, _) in &entries {
        ends[place(*hash, bits).0] += 1;
    }
    let mut out = Vec::with_capacity(16 + 4 * ends.len() + 8 * entries.len());
    out.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    out.extend_from_slice(&bits.to_le_bytes());
    let mut end = 0;
    for count in ends {
        end += count;
        out.extend_from_slice(&end.to_le_bytes());
    }
    for (hash, _) in &entries {
        out.extend_from_slice(&place(*hash, bits).1.to_le_bytes());
    }
    let is_wide = entries.iter().any(|(_, granule)| *granule > u32::from(u16::MAX));
    for (_, granule) in &entries {
        let bytes = granule.to_le_bytes();
        out.extend_from_slice(if is_wide { &bytes } else { &bytes[..2] });
    }
    out
}

/// Where the parts of an index are in its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    bits: u32,
    count: usize,
    is_wide: bool,
}

const HEAD_BYTES: usize = 12;

impl Index {
    /// Reads the head of an index.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut input = Reader::new(bytes);
        let count = usize::try_from(input.u64_le()?).map_err(|_| Truncated)?;
        let bits = input.u32_le()?;
        if bits > 32 {
            return Err(Truncated);
        }
        let fixed = HEAD_BYTES + (4 << bits);
        let entries = bytes.len().checked_sub(fixed).ok_or(Truncated)?;
        let is_wide = match entries {
            n if count.checked_mul(6) == Some(n) => false,
            n if count.checked_mul(8) == Some(n) => true,
            _ => return Err(Truncated),
        };
        let new = Self { bits, count, is_wide };
        let last = new.end(bytes, (1 << bits) - 1);
        if last == count { Ok(new) } else { Err(Truncated) }
    }

    fn end(&self, bytes: &[u8], bucket: usize) -> usize {
        let at = HEAD_BYTES + 4 * bucket;
        let end = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
        (end.map_or(0, u32::from_le_bytes) as usize).min(self.count)
    }

    /// How many first bits of a hash are known.
    #[must_use]
    pub fn known_bits(&self) -> u32 {
        self.bits + 32
    }

    /// The known bits of all hashes, as the first of 64, in order; with the granules.
    pub fn entries<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (u64, usize)> + use<'a> {
        let new = *self;
        let prints = HEAD_BYTES + (4 << self.bits);
        let granules = prints + 4 * self.count;
        let mut bucket = 0;
        (0..self.count).filter_map(move |entry| {
            while new.end(bytes, bucket) <= entry {
                bucket += 1;
            }
            let print = bytes.get(prints + 4 * entry..)?.first_chunk::<4>()?;
            let print = u64::from(u32::from_le_bytes(*print)) << 32 >> new.bits;
            let first = if new.bits == 0 { 0 } else { (bucket as u64) << (64 - new.bits) };
            Some((first | print, new.granule(bytes, granules, entry)?))
        })
    }

    fn granule(&self, bytes: &[u8], at: usize, entry: usize) -> Option<usize> {
        if self.is_wide {
            let granule = bytes.get(at + 4 * entry..)?.first_chunk::<4>()?;
            return Some(u32::from_le_bytes(*granule) as usize);
        }
        let granule = bytes.get(at + 2 * entry..)?.first_chunk::<2>()?;
        Some(u16::from_le_bytes(*granule) as usize)
    }

    /// The granules that may have a trace of this hash; hardly ever is there none.
    pub fn find<'a>(&self, bytes: &'a [u8], hash: u64) -> impl Iterator<Item = usize> + use<'a> {
        let new = *self;
        let (bucket, print) = place(hash, self.bits);
        let start = if bucket == 0 { 0 } else { self.end(bytes, bucket - 1) };
        let prints = HEAD_BYTES + (4 << self.bits);
        let granules = prints + 4 * self.count;
        (start..self.end(bytes, bucket)).filter_map(move |entry| {
            let own = bytes.get(prints + 4 * entry..)?.first_chunk::<4>()?;
            if u32::from_le_bytes(*own) != print {
                return None;
            }
            new.granule(bytes, granules, entry)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hashes(count: u64) -> Vec<u64> {
        (0..count).map(|n| hash_id(&u128::from(n).to_le_bytes())).collect()
    }

    #[test]
    fn what_is_in_is_found_and_little_else() {
        for (count, granules) in [(0, 1), (1, 1), (7, 2), (5_000, 600), (70_000, 70_000)] {
            let all = hashes(count);
            let entries = all.iter().zip(0..).map(|(h, n)| (*h, n % granules)).collect();
            let bytes = encode(entries);
            let index = Index::parse(&bytes).expect("an index");
            for (hash, n) in all.iter().zip(0..) {
                assert!(index.find(&bytes, *hash).any(|g| g == (n % granules) as usize));
            }
            let found: Vec<(u64, usize)> = index.entries(&bytes).collect();
            let mut sorted = all.clone();
            sorted.sort_unstable();
            let known = u64::MAX << (64 - index.known_bits());
            assert!(found.iter().map(|(h, _)| *h).eq(sorted.iter().map(|h| h & known)));
            let strangers = hashes(count + 20_000).split_off(count as usize);
            let wrong: usize = strangers.iter().map(|h| index.find(&bytes, *h).count()).sum();
            assert!(wrong == 0, "{wrong} of 20,000");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_index_or_an_error(bytes: Vec<u8>, hash: u64) {
            if let Ok(index) = Index::parse(&bytes) {
                let _ = index.find(&bytes, hash).count();
                let _ = index.entries(&bytes).count();
            }
        }
    }
}
