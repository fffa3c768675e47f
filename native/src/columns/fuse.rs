//! Binary fuse filters: a set of hashes in about 1.15 bytes each, with one false positive in 256.
//! Source: Graf & Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor Filters", JEA 2022,
//! <https://arxiv.org/abs/2201.01174>.

const MAX_TRIES: u64 = 64;
pub const HEADER_BYTES: usize = 20;

/// Where the three fingerprints of a hash are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    seed: u64,
    segment_bits: u32,
    segment_count: u32,
    length: u32,
}

fn mix(hash: u64, seed: u64) -> u64 {
    let mut h = hash.wrapping_add(seed);
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

fn fingerprint(mixed: u64) -> u8 {
    (mixed ^ (mixed >> 32)) as u8
}

impl Shape {
    fn of(keys: usize) -> Self {
        let n = keys.max(2) as f64;
        let segment_bits = ((n.ln() / 3.33_f64.ln() + 2.25).floor() as u32).min(18);
        let segment = 1_u32 << segment_bits;
        let factor = (0.875 + 0.25 * 1e6_f64.ln() / n.ln()).max(1.125);
        let capacity = (n * factor).round() as u32;
        let segment_count = capacity.div_ceil(segment).saturating_sub(2).max(1);
        Self { seed: 0, segment_bits, segment_count, length: (segment_count + 2) * segment }
    }

    #[inline]
    fn places(&self, mixed: u64) -> [usize; 3] {
        let span = u64::from(self.segment_count) << self.segment_bits;
        let first = ((u128::from(mixed) * u128::from(span)) >> 64) as u64;
        let segment = 1_u64 << self.segment_bits;
        let mask = segment - 1;
        let second = (first + segment) ^ ((mixed >> 18) & mask);
        let third = (first + 2 * segment) ^ (mixed & mask);
        [first as usize, second as usize, third as usize]
    }

    fn parse(header: &[u8]) -> Option<Self> {
        let seed = u64::from_le_bytes(header.get(..8)?.try_into().ok()?);
        let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let shape =
            Self { seed, segment_bits: word(8)?, segment_count: word(12)?, length: word(16)? };
        let fits = shape.segment_bits <= 18
            && u64::from(shape.segment_count)
                .checked_add(2)
                .is_some_and(|n| n << shape.segment_bits == u64::from(shape.length));
        fits.then_some(shape)
    }
}

/// The filter of distinct hashes: header and fingerprints. `None` when it cannot be built, which
/// for distinct hashes does not happen.
#[must_use]
pub fn build(hashes: &[u64]) -> Option<Vec<u8>> {
    let mut shape = Shape::of(hashes.len());
    let length = shape.length as usize;
    let mut counts = vec![0_u32; length];
    let mut sums = vec![0_u64; length];
    let mut queue: Vec<usize> = Vec::with_capacity(length);
    let mut stack: Vec<(u64, usize)> = Vec::with_capacity(hashes.len());
    for seed in 1..=MAX_TRIES {
        shape.seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        counts.fill(0);
        sums.fill(0);
        queue.clear();
        stack.clear();
        for hash in hashes {
            let mixed = mix(*hash, shape.seed);
            for place in shape.places(mixed) {
                counts[place] += 1;
                sums[place] ^= mixed;
            }
        }
        queue.extend((0..length).filter(|i| counts[*i] == 1));
        while let Some(place) = queue.pop() {
            if counts[place] != 1 {
                continue;
            }
            let mixed = sums[place];
            stack.push((mixed, place));
            for other in shape.places(mixed) {
                counts[other] -= 1;
                sums[other] ^= mixed;
                if counts[other] == 1 {
                    queue.push(other);
                }
            }
        }
        if stack.len() == hashes.len() {
            return Some(assign(&shape, &stack));
        }
    }
    None
}

fn assign(shape: &Shape, stack: &[(u64, usize)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + shape.length as usize);
    out.extend_from_slice(&shape.seed.to_le_bytes());
    for word in [shape.segment_bits, shape.segment_count, shape.length] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.resize(HEADER_BYTES + shape.length as usize, 0);
    let prints = &mut out[HEADER_BYTES..];
    for (mixed, place) in stack.iter().rev() {
        let mut print = fingerprint(*mixed);
        for other in shape.places(*mixed) {
            if other != *place {
                print ^= prints[other];
            }
        }
        prints[*place] = print;
    }
    out
}

/// False only when the hash is not in the set. A filter that is not whole rules nothing out.
#[must_use]
pub fn may_contain(filter: &[u8], hash: u64) -> bool {
    let Some(shape) = Shape::parse(filter) else { return true };
    let prints = &filter[HEADER_BYTES..];
    if prints.len() != shape.length as usize {
        return true;
    }
    let mixed = mix(hash, shape.seed);
    let found = shape.places(mixed).iter().fold(0, |print, place| print ^ prints[*place]);
    found == fingerprint(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn hashes(range: std::ops::Range<u64>) -> Vec<u64> {
        range.map(|n| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes())).collect()
    }

    #[test]
    fn nothing_in_the_set_is_ruled_out_and_little_else_is_not() {
        for size in [0, 1, 2, 3, 10, 100, 1_000, 12_345, 60_000] {
            let filter = build(&hashes(0..size)).expect("distinct hashes");
            assert!(hashes(0..size).iter().all(|h| may_contain(&filter, *h)));
            let strangers = hashes(1_000_000..1_010_000);
            let wrong = strangers.iter().filter(|h| may_contain(&filter, **h)).count();
            assert!(wrong < 100, "{wrong} of 10,000 with {size} in the set");
            if size > 10_000 {
                assert!((filter.len() as f64) < 1.3 * size as f64);
            }
        }
    }

    #[test]
    fn distinct_is_what_the_caller_promises() {
        let once: HashSet<u64> = hashes(0..50).into_iter().collect();
        assert_eq!(once.len(), 50);
        assert!(may_contain(&[0; 5], 1));
    }
}
