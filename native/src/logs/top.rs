//! The most frequent of any number of texts, in bounded memory.
//!
//! When there are too many, as much is taken off every count as makes half of them vanish. So a count
//! is too low by what was taken off in all, at most, and a text that is missing had no more than
//! that. Source: Misra & Gries, "Finding repeated elements", Science of Computer Programming, 1982.

use hashbrown::HashMap;

/// What a text takes beside its bytes.
const ENTRY_BYTES: usize = 64;

/// Texts and how often they came.
pub struct Top {
    counts: HashMap<String, u64>,
    size_bytes: usize,
    max_texts: usize,
    max_bytes: usize,
    taken_off: u64,
}

impl Top {
    #[must_use]
    pub fn new(max_texts: usize, max_bytes: usize) -> Self {
        Self { counts: HashMap::new(), size_bytes: 0, max_texts, max_bytes, taken_off: 0 }
    }

    /// Adds what a part of all has, each of its texts once.
    pub fn add(&mut self, part: Vec<(String, u64)>) {
        for (text, count) in part {
            let size_bytes = text.len() + ENTRY_BYTES;
            match self.counts.get_mut(&text) {
                Some(known) => *known += count,
                None => {
                    self.counts.insert(text, count);
                    self.size_bytes += size_bytes;
                }
            }
        }
        while self.counts.len() > self.max_texts || self.size_bytes > self.max_bytes {
            self.halve();
        }
    }

    fn halve(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let middle = counts.len() / 2;
        let (_, least, _) = counts.select_nth_unstable_by(middle, |a, b| b.cmp(a));
        let least = *least;
        self.taken_off += least;
        self.counts.retain(|text, count| {
            *count = count.saturating_sub(least);
            if *count == 0 {
                self.size_bytes -= text.len() + ENTRY_BYTES;
            }
            *count > 0
        });
    }

    /// How much counts may be too low, and texts that are missing may have had.
    #[must_use]
    pub fn max_error(&self) -> u64 {
        self.taken_off
    }

    /// The most frequent ones, those of one count by their texts.
    #[must_use]
    pub fn first(self, limit: usize) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self.counts.into_iter().collect();
        let order =
            |a: &(String, u64), b: &(String, u64)| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0));
        if limit < all.len() {
            all.select_nth_unstable_by(limit, order);
            all.truncate(limit);
        }
        all.sort_unstable_by(order);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_within_what_it_says(
            parts in proptest::collection::vec(proptest::collection::vec(0_u32..60, 0..40), 0..40),
            max_texts in 1_usize..80,
            max_bytes in 100_usize..6_000,
            limit in 0_usize..70,
        ) {
            let mut top = Top::new(max_texts, max_bytes);
            let mut oracle: HashMap<String, u64> = HashMap::new();
            for part in &parts {
                let mut own: HashMap<String, u64> = HashMap::new();
                for n in part {
                    *own.entry((n * n / 40).to_string()).or_insert(0) += 1;
                }
                own.iter().for_each(|(text, n)| *oracle.entry(text.clone()).or_insert(0) += n);
                top.add(own.into_iter().collect());
                prop_assert!(top.counts.len() <= max_texts && top.size_bytes <= max_bytes);
            }
            let error = top.max_error();
            let kept: usize = top.counts.keys().map(|text| text.len() + ENTRY_BYTES).sum();
            prop_assert_eq!(kept, top.size_bytes);
            for (text, n) in &oracle {
                let found = top.counts.get(text).copied().unwrap_or(0);
                prop_assert!(found <= *n && *n <= found + error, "{found} of {n}, {error}");
            }
            if oracle.len() <= max_texts && oracle.keys().map(|t| t.len() + 64).sum::<usize>() <= max_bytes {
                prop_assert_eq!(error, 0);
            }
            let mut expected: Vec<_> = top.counts.clone().into_iter().collect();
            expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            expected.truncate(limit);
            prop_assert_eq!(top.first(limit), expected);
        }
    }
}
