//! Rows of a granule, as an answer has them before it is known whether their places are asked for.

use super::bits::Bits;
use super::stored::Stored;

/// Some of a granule's rows.
pub enum Selected<'v> {
    None,
    All,
    /// Those of the values of a column that pass, at least one row and not all.
    Values(&'v Stored, Vec<bool>),
    /// At least one, and not all.
    Rows(Bits),
}

impl<'v> Selected<'v> {
    /// The rows whose values pass.
    #[must_use]
    pub fn of_values(column: &'v Stored, passes: Vec<bool>, rows: usize) -> Self {
        match column.count(&passes) {
            0 => Self::None,
            all if all == rows => Self::All,
            _ => Self::Values(column, passes),
        }
    }

    #[must_use]
    pub fn of_bits(bits: Bits) -> Self {
        if bits.is_empty() {
            Self::None
        } else if bits.is_all() {
            Self::All
        } else {
            Self::Rows(bits)
        }
    }

    /// How many of so many rows.
    #[must_use]
    pub fn count(&self, rows: usize) -> usize {
        match self {
            Self::None => 0,
            Self::All => rows,
            Self::Values(column, passes) => column.count(passes),
            Self::Rows(bits) => bits.count(),
        }
    }

    #[must_use]
    pub fn into_bits(self, rows: usize) -> Bits {
        match self {
            Self::None => Bits::none(rows),
            Self::All => Bits::all(rows),
            Self::Values(column, passes) => column.select(rows, &passes),
            Self::Rows(bits) => bits,
        }
    }

    /// The same, with its places if it is neither none nor all.
    #[must_use]
    pub fn placed(self, rows: usize) -> Self {
        match self {
            Self::Values(column, passes) => Self::Rows(column.select(rows, &passes)),
            placed => placed,
        }
    }

    /// The places, where they are known.
    #[must_use]
    pub fn bits(&self) -> Option<&Bits> {
        match self {
            Self::Rows(bits) => Some(bits),
            _ => None,
        }
    }

    #[must_use]
    pub fn and(self, other: Self, rows: usize) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, rest) | (rest, Self::All) => rest,
            (Self::Values(a, mut passes), Self::Values(b, others)) if std::ptr::eq(a, b) => {
                passes.iter_mut().zip(others).for_each(|(one, other)| *one &= other);
                Self::of_values(a, passes, rows)
            }
            (one, other) => {
                let mut bits = one.into_bits(rows);
                bits.and(&other.into_bits(rows));
                Self::of_bits(bits)
            }
        }
    }

    #[must_use]
    pub fn or(self, other: Self, rows: usize) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, rest) | (rest, Self::None) => rest,
            (Self::Values(a, mut passes), Self::Values(b, others)) if std::ptr::eq(a, b) => {
                passes.iter_mut().zip(others).for_each(|(one, other)| *one |= other);
                Self::of_values(a, passes, rows)
            }
            (one, other) => {
                let mut bits = one.into_bits(rows);
                bits.or(&other.into_bits(rows));
                Self::of_bits(bits)
            }
        }
    }

    #[must_use]
    pub fn not(self, rows: usize) -> Self {
        match self {
            Self::None => Self::All,
            Self::All => Self::None,
            rest => {
                let mut bits = rest.into_bits(rows);
                bits.negate();
                Self::of_bits(bits)
            }
        }
    }
}
