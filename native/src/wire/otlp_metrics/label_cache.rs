//! Label fields of attribute sets that came before: most points have those of the last request.

use hashbrown::HashMap;
use std::hash::{BuildHasher, RandomState};

/// What an entry takes beside its bytes.
const ENTRY_BYTES: usize = 64;
const MAX_BYTES: usize = 16 << 20;

/// Encoded labels by the hash of what they were made of. Bounded by forgetting all of them.
#[derive(Debug)]
pub struct LabelCache {
    entries: HashMap<u128, Box<[u8]>>,
    size_bytes: usize,
    /// Keeps senders from choosing what collides.
    pub seed: u64,
}

impl Default for LabelCache {
    fn default() -> Self {
        Self { entries: HashMap::new(), size_bytes: 0, seed: RandomState::new().hash_one(0) }
    }
}

impl LabelCache {
    #[inline]
    #[must_use]
    pub fn get(&self, key: u128) -> Option<&[u8]> {
        self.entries.get(&key).map(AsRef::as_ref)
    }

    pub fn insert(&mut self, key: u128, labels: &[u8]) {
        let size = ENTRY_BYTES + labels.len();
        if self.size_bytes + size > MAX_BYTES {
            self.entries = HashMap::new();
            self.size_bytes = 0;
        }
        if self.entries.insert(key, labels.into()).is_none() {
            self.size_bytes += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut cache = LabelCache::default();
        let labels = vec![7; 1 << 20];
        for key in 0..40 {
            cache.insert(key, &labels);
            cache.insert(key, &labels);
            assert!(cache.size_bytes <= MAX_BYTES);
            assert_eq!(cache.get(key), Some(&labels[..]));
        }
        assert_eq!(cache.get(0), None);
    }
}
