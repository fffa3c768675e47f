//! A set of rows of a granule.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits {
    rows: usize,
    words: Vec<u64>,
}

impl Bits {
    #[must_use]
    pub fn none(rows: usize) -> Self {
        Self { rows, words: vec![0; rows.div_ceil(64)] }
    }

    #[must_use]
    pub fn all(rows: usize) -> Self {
        let mut bits = Self { rows, words: vec![u64::MAX; rows.div_ceil(64)] };
        bits.trim();
        bits
    }

    /// The rows for which `holds`.
    #[must_use]
    pub fn of(rows: usize, mut holds: impl FnMut(usize) -> bool) -> Self {
        let mut bits = Self::none(rows);
        for (index, word) in bits.words.iter_mut().enumerate() {
            let first = index * 64;
            for row in first..rows.min(first + 64) {
                *word |= u64::from(holds(row)) << (row - first);
            }
        }
        bits
    }

    fn trim(&mut self) {
        if let Some(last) = self.words.last_mut()
            && !self.rows.is_multiple_of(64)
        {
            *last &= (1 << (self.rows % 64)) - 1;
        }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    #[must_use]
    pub fn is_all(&self) -> bool {
        self.count() == self.rows
    }

    pub fn set(&mut self, row: usize) {
        self.words[row / 64] |= 1 << (row % 64);
    }

    pub fn and(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub fn or(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub fn negate(&mut self) {
        self.words.iter_mut().for_each(|w| *w = !*w);
        self.trim();
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_sets(rows in 1_usize..200, step in 1_usize..7) {
            let mut bits = Bits::of(rows, |row| row % step == 0);
            let expected: Vec<_> = (0..rows).step_by(step).collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(bits.count(), expected.len());
            bits.negate();
            prop_assert_eq!(bits.count(), rows - expected.len());
            bits.or(&Bits::of(rows, |row| row % step == 0));
            prop_assert!(bits.is_all() && bits == Bits::all(rows));
        }
    }
}
