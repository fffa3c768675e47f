//! Columns of a granule: a list of values, and for each row which of them it has.

use super::value::Value;
use crate::wire::varint::{Reader, Truncated, put_uvarint};
use hashbrown::HashTable;
use pco::{ChunkConfig, DeltaSpec, ModeSpec};
use xxhash_rust::xxh3::xxh3_64;

/// A body with a hole for each of its variables; only of body columns.
pub const TEMPLATE: u8 = 8;

/// A text.
pub const TEXT: u8 = 1;

/// Rows after which a column whose values hardly repeat gives up looking for repetitions.
const DICTIONARY_TRIAL: usize = 256;

/// Fewer integers are as small as text.
const MIN_NUMBERS: usize = 32;

/// What is stored is not a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad column: {0}")]
pub struct ColumnError(pub &'static str);

impl From<Truncated> for ColumnError {
    fn from(_: Truncated) -> Self {
        Self("it ends early")
    }
}

/// Byte strings, end to end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Strings {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Strings {
    pub fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push(self.bytes.len() as u32);
    }

    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// What they take in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        4 * self.ends.len() + self.bytes.len()
    }

    fn lengths(&self) -> impl Iterator<Item = u32> + '_ {
        let starts = std::iter::once(&0).chain(&self.ends);
        self.ends.iter().zip(starts).map(|(end, start)| end - start)
    }

    /// Appends lengths (one for all, or bytes, or varints), then the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut lengths = self.lengths();
        let first = lengths.next().unwrap_or(0);
        if lengths.all(|n| n == first) {
            out.push(0);
            put_uvarint(out, u64::from(first));
        } else if self.lengths().all(|n| n < 256) {
            out.push(1);
            out.extend(self.lengths().map(|n| n as u8));
        } else {
            out.push(2);
            self.lengths().for_each(|n| put_uvarint(out, u64::from(n)));
        }
        out.extend_from_slice(&self.bytes);
    }

    /// Appends the strings, as integers where they are the decimal digits of some.
    pub fn encode_variables(&self, out: &mut Vec<u8>) {
        match self.as_numbers() {
            Some(numbers) if numbers.len() >= MIN_NUMBERS => {
                out.push(3);
                encode_ints(&numbers, out);
            }
            _ => self.encode(out),
        }
    }

    /// The numbers whose decimal digits the strings are; `None` where one is not.
    fn as_numbers(&self) -> Option<Vec<i64>> {
        let number = |digits: &[u8]| {
            let canonical = digits.len() < 2 || digits[0] != b'0';
            if digits.is_empty() || digits.len() > 18 || !canonical {
                return None;
            }
            digits.iter().try_fold(0_i64, |n, digit| {
                digit.is_ascii_digit().then(|| 10 * n + i64::from(digit - b'0'))
            })
        };
        (0..self.ends.len()).map(|index| number(self.get(index))).collect()
    }

    fn push_number(&mut self, mut n: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    /// Goes past `count` strings.
    ///
    /// # Errors
    /// They are not there.
    pub fn skip(input: &mut Reader<'_>, count: usize) -> Result<(), ColumnError> {
        let length = match input.array::<1>()?[0] {
            0 => usize::try_from(input.uvarint()?).ok().and_then(|n| n.checked_mul(count)),
            1 => Some(input.bytes(count)?.iter().map(|n| *n as usize).sum()),
            2 => (0..count).try_fold(Some(0_usize), |sum, _| {
                let length = usize::try_from(input.uvarint()?).ok();
                Ok::<_, ColumnError>(sum.zip(length).and_then(|(a, b)| a.checked_add(b)))
            })?,
            3 => usize::try_from(input.uvarint()?).ok(),
            _ => return Err(ColumnError("unknown kind of lengths")),
        };
        input.bytes(length.ok_or(ColumnError("lengths are too large"))?)?;
        Ok(())
    }

    /// Reads `count` strings.
    ///
    /// # Errors
    /// They are not there.
    pub fn decode(input: &mut Reader<'_>, count: usize) -> Result<Self, ColumnError> {
        let mut ends = Vec::new();
        let mut end = 0_u32;
        let mut add = |length: u64| {
            let length = u32::try_from(length).map_err(|_| ColumnError("a length is too large"))?;
            end = end.checked_add(length).ok_or(ColumnError("lengths are too large"))?;
            ends.push(end);
            Ok::<(), ColumnError>(())
        };
        match input.array::<1>()?[0] {
            3 => {
                let mut strings = Self::default();
                decode_ints(input, count)?.iter().for_each(|n| strings.push_number(*n as u64));
                return Ok(strings);
            }
            0 => {
                let length = input.uvarint()?;
                (0..count).try_for_each(|_| add(length))?;
            }
            1 => input.bytes(count)?.iter().try_for_each(|n| add(u64::from(*n)))?,
            2 => (0..count).try_for_each(|_| add(input.uvarint()?))?,
            _ => return Err(ColumnError("unknown kind of lengths")),
        }
        let bytes = input.bytes(end as usize)?.to_vec();
        Ok(Self { ends, bytes })
    }
}

/// Values of any types.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Values {
    tags: Vec<u8>,
    strings: Strings,
}

const INT: u8 = 2;

/// The tag of a value, and its bytes in a column.
fn parts<'a>(value: Value<'a>, buffer: &'a mut [u8; 8]) -> (u8, &'a [u8]) {
    match value {
        Value::Null => (0, &[]),
        Value::Text(bytes) => (TEXT, bytes),
        Value::Int(n) => {
            *buffer = n.to_le_bytes();
            (INT, buffer)
        }
        Value::Double(n) => {
            *buffer = n.to_le_bytes();
            (3, buffer)
        }
        Value::Bool(b) => {
            buffer[0] = u8::from(b);
            (4, &buffer[..1])
        }
        Value::Bytes(bytes) => (5, bytes),
        Value::List(bytes) => (6, bytes),
        Value::Map(bytes) => (7, bytes),
    }
}

impl Values {
    #[must_use]
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    #[must_use]
    #[inline]
    pub fn tag(&self, index: usize) -> u8 {
        self.tags[index]
    }

    #[must_use]
    #[inline]
    pub fn bytes(&self, index: usize) -> &[u8] {
        self.strings.get(index)
    }

    /// A value; a template is not one and counts as text.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Value<'_> {
        let bytes = self.strings.get(index);
        let word = || <[u8; 8]>::try_from(bytes).unwrap_or_default();
        match self.tags[index] {
            TEXT | TEMPLATE => Value::Text(bytes),
            INT => Value::Int(i64::from_le_bytes(word())),
            3 => Value::Double(f64::from_le_bytes(word())),
            4 => Value::Bool(bytes == [1]),
            5 => Value::Bytes(bytes),
            6 => Value::List(bytes),
            7 => Value::Map(bytes),
            _ => Value::Null,
        }
    }

    fn push(&mut self, tag: u8, bytes: &[u8]) {
        self.tags.push(tag);
        self.strings.push(bytes);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_uvarint(out, self.tags.len() as u64);
        let first = self.tags.first().copied().unwrap_or(0);
        if self.tags.iter().all(|tag| *tag == first) {
            out.push(first);
        } else {
            out.push(0xff);
            out.extend_from_slice(&self.tags);
        }
        if !self.tags.is_empty() && self.tags.iter().all(|tag| *tag == INT) {
            let ints: Vec<i64> = (0..self.len()).map(|i| self.int(i)).collect();
            encode_ints(&ints, out);
        } else {
            self.strings.encode(out);
        }
    }

    fn int(&self, index: usize) -> i64 {
        <[u8; 8]>::try_from(self.strings.get(index)).map_or(0, i64::from_le_bytes)
    }

    /// What they take in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.tags.len() + self.strings.size_bytes()
    }

    /// Reads at most `max` values.
    ///
    /// # Errors
    /// They are not there.
    pub fn decode(input: &mut Reader<'_>, max: usize) -> Result<Self, ColumnError> {
        let count = input.uvarint()? as usize;
        if count > max {
            return Err(ColumnError("more values than rows"));
        }
        let tags = match input.array::<1>()?[0] {
            0xff => input.bytes(count)?.to_vec(),
            tag => vec![tag; count],
        };
        let strings = if count > 0 && tags.iter().all(|tag| *tag == INT) {
            let ints = decode_ints(input, count)?;
            let mut strings = Strings {
                ends: (1..=count as u32).map(|end| 8 * end).collect(),
                bytes: Vec::with_capacity(8 * count),
            };
            ints.iter().for_each(|n| strings.bytes.extend_from_slice(&n.to_le_bytes()));
            strings
        } else {
            Strings::decode(input, count)?
        };
        Ok(Self { tags, strings })
    }
}

/// A column in memory.
#[derive(Debug, Default, Clone)]
pub struct Column {
    /// One a row: 0 is absent, else the value's index and 1. Rows past the end are absent.
    pub(super) ids: Vec<u32>,
    pub(super) values: Values,
    dictionary: HashTable<u32>,
    gave_up: bool,
    pushed: usize,
}

impl Column {
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The index of a row's value.
    #[must_use]
    #[inline]
    pub fn id(&self, row: usize) -> Option<usize> {
        self.ids.get(row).and_then(|id| id.checked_sub(1)).map(|id| id as usize)
    }

    /// Whether its values are looked up among those before; not so once they hardly repeat.
    #[must_use]
    pub fn repeats(&self) -> bool {
        !self.gave_up
    }

    /// Whether a row has a value already.
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.id(row).is_some()
    }

    /// Gives a row, later than those before, its value.
    ///
    /// Returns the value's index, and whether it is a new one.
    pub fn push(&mut self, row: usize, value: Value<'_>) -> (usize, bool) {
        let mut buffer = [0; 8];
        let (tag, bytes) = parts(value, &mut buffer);
        self.push_tagged(row, tag, bytes)
    }

    pub fn push_tagged(&mut self, row: usize, tag: u8, bytes: &[u8]) -> (usize, bool) {
        let (id, new) = self.intern(tag, bytes);
        self.set(row, id);
        (id, new)
    }

    /// Gives a row a value that is there.
    pub fn set(&mut self, row: usize, id: usize) {
        self.ids.resize(row, 0);
        self.ids.push(id as u32 + 1);
    }

    /// The index of a value, and whether it is a new one.
    pub fn intern(&mut self, tag: u8, bytes: &[u8]) -> (usize, bool) {
        self.pushed += 1;
        let next = self.values.len();
        if self.gave_up {
            self.values.push(tag, bytes);
            return (next, true);
        }
        let hash = xxh3_64(bytes) ^ u64::from(tag);
        let values = &self.values;
        let same =
            |id: &u32| values.tag(*id as usize) == tag && values.bytes(*id as usize) == bytes;
        if let Some(id) = self.dictionary.find(hash, same) {
            return (*id as usize, false);
        }
        self.values.push(tag, bytes);
        let values = &self.values;
        self.dictionary.insert_unique(hash, next as u32, |id| {
            xxh3_64(values.bytes(*id as usize)) ^ u64::from(values.tag(*id as usize))
        });
        if self.pushed == DICTIONARY_TRIAL && 4 * next > 3 * self.pushed {
            self.gave_up = true;
            self.dictionary = HashTable::new();
        }
        (next, true)
    }

    pub fn encode(&self, rows: usize, out: &mut Vec<u8>) {
        self.encode_ids(rows, out);
        self.values.encode(out);
    }

    fn encode_ids(&self, rows: usize, out: &mut Vec<u8>) {
        let mut next = 1;
        let in_sequence = self.ids.iter().filter(|id| **id != 0).all(|id| {
            next += 1;
            *id == next - 1
        });
        let padded = self.ids.iter().copied().chain(std::iter::repeat_n(0, rows - self.ids.len()));
        let count = self.values.len();
        if in_sequence && count == rows {
            out.push(0);
        } else if in_sequence {
            out.push(1);
            let present: Vec<bool> = padded.map(|id| id != 0).collect();
            out.extend(present.chunks(8).map(|bits| {
                bits.iter().enumerate().fold(0_u8, |byte, (i, bit)| byte | u8::from(*bit) << i)
            }));
        } else if count < 256 {
            out.push(2);
            out.extend(padded.map(|id| id as u8));
        } else {
            // Low bytes and high bytes apart compress better.
            out.push(3);
            let ids: Vec<u32> = padded.collect();
            out.extend(ids.iter().map(|id| *id as u8));
            out.extend(ids.iter().map(|id| (id >> 8) as u8));
            out.extend(ids.iter().map(|id| (id >> 16) as u8));
        }
    }
}

/// Appends integers, packed by pco.
pub fn encode_ints(ints: &[i64], out: &mut Vec<u8>) {
    let config = ChunkConfig::default()
        .with_compression_level(4)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::Auto);
    let packed = match pco::standalone::simple_compress(ints, &config) {
        Ok(packed) => packed,
        Err(error) => unreachable!("pco refused a granule's integers: {error}"),
    };
    put_uvarint(out, packed.len() as u64);
    out.extend_from_slice(&packed);
}

/// Reads so many integers.
///
/// # Errors
/// They are not there.
pub fn decode_ints(input: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, ColumnError> {
    let length = input.uvarint()? as usize;
    let packed = input.bytes(length)?;
    // Into so much memory: a stream of a few bytes may claim to hold any number of them.
    let mut ints = vec![0; count];
    let read = pco::standalone::simple_decompress_into(packed, &mut ints)
        .map_err(|_| ColumnError("bad stream of integers"))?;
    if read.n_processed != count || !read.finished {
        return Err(ColumnError("wrong number of integers"));
    }
    Ok(ints)
}

#[cfg(test)]
mod tests {
    use super::super::stored::Stored;
    use super::*;
    use proptest::prelude::*;

    fn cells() -> impl Strategy<Value = Vec<Option<(u8, Vec<u8>)>>> {
        let cell = prop_oneof![
            Just(None),
            (0_u8..4).prop_map(|n| Some((1, vec![n]))),
            any::<i64>().prop_map(|n| Some((INT, n.to_le_bytes().to_vec()))),
            any::<Vec<u8>>().prop_map(|bytes| Some((6, bytes))),
        ];
        proptest::collection::vec(cell, 0..600)
    }

    proptest! {
        #[test]
        fn columns_round_trip(cells in cells()) {
            let mut column = Column::default();
            for (row, cell) in cells.iter().enumerate() {
                if let Some((tag, bytes)) = cell {
                    column.push_tagged(row, *tag, bytes);
                }
            }
            let mut out = Vec::new();
            column.encode(cells.len(), &mut out);
            let mut input = Reader::new(&out);
            let back = Stored::decode(&mut input, cells.len()).expect("a column");
            prop_assert!(input.is_empty());
            for (row, cell) in cells.iter().enumerate() {
                let values = back.values();
                let found = back.id(row).map(|id| (values.tag(id), values.bytes(id).to_vec()));
                prop_assert_eq!(&found, cell);
            }
        }

        #[test]
        fn variables_round_trip(items in proptest::collection::vec("(0|[1-9][0-9]{0,17}|[0-9a-z]{0,20})", 0..80)) {
            let mut strings = Strings::default();
            items.iter().for_each(|item| strings.push(item.as_bytes()));
            let mut out = Vec::new();
            strings.encode_variables(&mut out);
            let mut past = Reader::new(&out);
            prop_assert!(Strings::skip(&mut past, items.len()).is_ok() && past.is_empty());
            prop_assert_eq!(Strings::decode(&mut Reader::new(&out), items.len()), Ok(strings));
        }

        #[test]
        fn numbers_round_trip(items in proptest::collection::vec(0_u64..1_000_000_000_000_000_000, 32..80)) {
            let mut strings = Strings::default();
            items.iter().for_each(|n| strings.push(n.to_string().as_bytes()));
            let mut out = Vec::new();
            strings.encode_variables(&mut out);
            prop_assert_eq!(out[0], 3);
            prop_assert_eq!(Strings::decode(&mut Reader::new(&out), items.len()), Ok(strings));
        }
    }
}
