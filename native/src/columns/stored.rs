//! A granule's column as searches read it: values, how many rows have each, and the rows' ids in
//! as few bytes as will do.

use super::bits::Bits;
use super::column::{Column, ColumnError, Values};
use super::value::Value;
use crate::wire::varint::Reader;

/// For each row 0, or the place of its value and 1.
#[derive(Debug)]
enum Ids {
    /// Every row has a value of its own, in sequence.
    Each,
    Narrow(Vec<u8>),
    Wide(Vec<u32>),
}

/// A column; rows past its end have no value.
#[derive(Debug)]
pub struct Stored {
    ids: Ids,
    values: Values,
    /// By value, the rows that have it; empty where each has one.
    counts: Vec<u32>,
}

impl Default for Stored {
    fn default() -> Self {
        Self { ids: Ids::Narrow(Vec::new()), values: Values::default(), counts: Vec::new() }
    }
}

impl Stored {
    /// A column of so many rows that is in memory.
    #[must_use]
    pub fn of(column: &Column, rows: usize) -> Self {
        let values = column.values.clone();
        if column.ids.is_empty() {
            return Self { values, ..Self::default() };
        }
        let mut counts = vec![0_u32; values.len() + 1];
        column.ids.iter().for_each(|id| counts[*id as usize] += 1);
        counts.remove(0);
        let ids = if values.len() < 256 {
            let mut narrow: Vec<u8> = column.ids.iter().map(|id| *id as u8).collect();
            narrow.resize(rows, 0);
            Ids::Narrow(narrow)
        } else {
            let mut wide = column.ids.clone();
            wide.resize(rows, 0);
            Ids::Wide(wide)
        };
        Self { ids, values, counts }
    }

    /// Reads a column of so many rows.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(input: &mut Reader<'_>, rows: usize) -> Result<Self, ColumnError> {
        let ids = match input.array::<1>()?[0] {
            0 => Ids::Each,
            1 => {
                let bits = input.bytes(rows.div_ceil(8))?;
                let mut next = 0;
                let ids = (0..rows).map(|row| {
                    let present = u32::from(bits[row / 8] >> (row % 8) & 1);
                    next += present;
                    next * present
                });
                Ids::Wide(ids.collect())
            }
            2 => Ids::Narrow(input.bytes(rows)?.to_vec()),
            3 => {
                let low = input.bytes(rows)?;
                let middle = input.bytes(rows)?;
                let high = input.bytes(rows)?;
                let bytes = low.iter().zip(middle).zip(high);
                let ids = bytes
                    .map(|((a, b), c)| u32::from(*a) | u32::from(*b) << 8 | u32::from(*c) << 16);
                Ids::Wide(ids.collect())
            }
            _ => return Err(ColumnError("unknown kind of ids")),
        };
        let values = Values::decode(input, rows)?;
        let counts = match &ids {
            Ids::Each if values.len() == rows => Vec::new(),
            Ids::Each => return Err(ColumnError("an id without a value")),
            Ids::Narrow(ids) => count_ids(ids.iter().map(|id| *id as usize), values.len())?,
            Ids::Wide(ids) => count_ids(ids.iter().map(|id| *id as usize), values.len())?,
        };
        Ok(Self { ids, values, counts })
    }

    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The index of a row's value.
    #[must_use]
    #[inline]
    pub fn id(&self, row: usize) -> Option<usize> {
        match &self.ids {
            Ids::Each => (row < self.values.len()).then_some(row),
            Ids::Narrow(ids) => (*ids.get(row)? as usize).checked_sub(1),
            Ids::Wide(ids) => (*ids.get(row)? as usize).checked_sub(1),
        }
    }

    /// A row's value.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Value<'_>> {
        self.id(row).map(|id| self.values.get(id))
    }

    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.id(row).is_some()
    }

    /// The rows that have a value.
    #[must_use]
    pub fn count_of(&self, id: usize) -> usize {
        self.counts.get(id).map_or(1, |count| *count as usize)
    }

    /// The rows whose values pass.
    #[must_use]
    pub fn count(&self, passes: &[bool]) -> usize {
        if self.counts.is_empty() {
            return passes.iter().filter(|passes| **passes).count();
        }
        let counts = self.counts.iter().zip(passes).filter(|(_, passes)| **passes);
        counts.map(|(count, _)| *count as usize).sum()
    }

    /// The rows, of so many, whose values pass.
    #[must_use]
    pub fn select(&self, rows: usize, passes: &[bool]) -> Bits {
        match &self.ids {
            Ids::Each => Bits::of(rows, |row| passes.get(row).is_some_and(|passes| *passes)),
            Ids::Wide(ids) => {
                let passes = |id: u32| id > 0 && passes[id as usize - 1];
                Bits::of(rows, |row| ids.get(row).is_some_and(|id| passes(*id)))
            }
            Ids::Narrow(ids) => {
                let wanted: Vec<u8> =
                    (0..passes.len()).filter(|id| passes[*id]).map(|id| id as u8 + 1).collect();
                if wanted.len() <= FEW {
                    return Bits::of_equal(rows, ids, &wanted);
                }
                let mut table = [0_u8; 256];
                wanted.iter().for_each(|id| table[*id as usize] = 1);
                Bits::of_table(rows, ids, &table)
            }
        }
    }

    /// What it takes in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let ids = match &self.ids {
            Ids::Each => 0,
            Ids::Narrow(ids) => ids.len(),
            Ids::Wide(ids) => 4 * ids.len(),
        };
        size_of::<Self>() + ids + 4 * self.counts.len() + self.values.size_bytes()
    }
}

/// Values for which rows are compared with each; more are looked up.
const FEW: usize = 3;

fn count_ids(ids: impl Iterator<Item = usize>, values: usize) -> Result<Vec<u32>, ColumnError> {
    let mut counts = vec![0_u32; values + 1];
    for id in ids {
        *counts.get_mut(id).ok_or(ColumnError("an id without a value"))? += 1;
    }
    counts.remove(0);
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::super::column::Column;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_column_stores_is_read(
            cells in proptest::collection::vec(proptest::option::of(0_u32..300), 0..700),
            narrow: bool,
            wanted in 0_u32..6,
        ) {
            let cells: Vec<Option<u32>> =
                cells.iter().map(|cell| cell.map(|n| if narrow { n % 9 } else { n })).collect();
            let mut column = Column::default();
            for (row, cell) in cells.iter().enumerate() {
                if let Some(n) = cell {
                    column.push(row, Value::Int(i64::from(*n)));
                }
            }
            let mut out = Vec::new();
            column.encode(cells.len(), &mut out);
            let stored = Stored::decode(&mut Reader::new(&out), cells.len()).expect("a column");
            for (row, cell) in cells.iter().enumerate() {
                prop_assert_eq!(stored.get(row), cell.map(|n| Value::Int(i64::from(n))));
            }
            let passes: Vec<bool> = (0..stored.values().len())
                .map(|id| matches!(stored.values().get(id), Value::Int(n) if n < i64::from(wanted)))
                .collect();
            let expected = Bits::of(cells.len(), |row| cells[row].is_some_and(|n| n < wanted));
            prop_assert_eq!(stored.count(&passes), expected.count());
            prop_assert_eq!(stored.select(cells.len(), &passes), expected.clone());
            let unstored = Stored::of(&column, cells.len());
            prop_assert_eq!(unstored.count(&passes), expected.count());
            prop_assert_eq!(unstored.select(cells.len(), &passes), expected);
        }

        #[test]
        fn any_bytes_are_a_stored_column_or_an_error(bytes: Vec<u8>) {
            let _ = Stored::decode(&mut Reader::new(&bytes), 100);
        }
    }
}
