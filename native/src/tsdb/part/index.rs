//! The index of a part: blocks of series with their chunks, and one fixed-size entry a block.

use super::ChunkMeta;
use crate::wire::varint::{Reader, Truncated, put_uvarint, unzigzag, zigzag};
use std::ops::Range;

/// Series in a block: a lookup parses half a block, some 0.5 us.
pub const BLOCK_SERIES: u32 = 64;
pub const TOP_BYTES: usize = 40;

/// What is known of a block without parsing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopEntry {
    pub first_id: u32,
    pub last_id: u32,
    /// From the start of the index.
    pub index_offset: u64,
    /// From the start of the data.
    pub data_offset: u64,
    pub min_ts: i64,
    pub max_ts: i64,
}

impl TopEntry {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first_id.to_le_bytes());
        out.extend_from_slice(&self.last_id.to_le_bytes());
        out.extend_from_slice(&self.index_offset.to_le_bytes());
        out.extend_from_slice(&self.data_offset.to_le_bytes());
        out.extend_from_slice(&self.min_ts.to_le_bytes());
        out.extend_from_slice(&self.max_ts.to_le_bytes());
    }

    /// Entry `block` of the top index.
    #[must_use]
    pub fn read(top: &[u8], block: usize) -> Self {
        let entry = &top[block * TOP_BYTES..(block + 1) * TOP_BYTES];
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&entry[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            first_id: word(0) as u32,
            last_id: (word(0) >> 32) as u32,
            index_offset: word(8),
            data_offset: word(16),
            min_ts: word(24) as i64,
            max_ts: word(32) as i64,
        }
    }
}

/// Appends the index entry of a chunk that follows one which ends at `after`.
pub fn put_chunk(out: &mut Vec<u8>, after: i64, meta: &ChunkMeta, bytes: usize) {
    put_uvarint(out, zigzag(meta.min_ts.wrapping_sub(after)));
    put_uvarint(out, meta.max_ts.wrapping_sub(meta.min_ts) as u64);
    put_uvarint(out, u64::from(meta.count));
    out.push(meta.encoding);
    put_uvarint(out, bytes as u64);
}

/// A series and its chunks, each with its range of the data.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SeriesEntry {
    pub id: u32,
    pub chunks: Vec<(ChunkMeta, Range<u64>)>,
}

/// Reads one block front to back.
pub struct BlockReader<'a> {
    reader: Reader<'a>,
    id: u64,
    base_ts: i64,
    data_offset: u64,
}

impl<'a> BlockReader<'a> {
    #[must_use]
    pub fn new(block: &'a [u8], top: &TopEntry) -> Self {
        Self {
            reader: Reader::new(block),
            id: u64::from(top.first_id),
            base_ts: top.min_ts,
            data_offset: top.data_offset,
        }
    }

    /// Moves to the next series: its id and number of chunks.
    fn next_series(&mut self) -> Result<Option<(u32, u64)>, Truncated> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.id = self.id.checked_add(self.reader.uvarint()?).ok_or(Truncated)?;
        let id = u32::try_from(self.id).map_err(|_| Truncated)?;
        Ok(Some((id, self.reader.uvarint()?)))
    }

    fn next_chunk(&mut self, after: i64) -> Result<(ChunkMeta, Range<u64>), Truncated> {
        let min_ts = after.wrapping_add(unzigzag(self.reader.uvarint()?));
        let max_ts = min_ts.wrapping_add(self.reader.uvarint()? as i64);
        let count = u32::try_from(self.reader.uvarint()?).map_err(|_| Truncated)?;
        let [encoding] = self.reader.array()?;
        let start = self.data_offset;
        self.data_offset = start.checked_add(self.reader.uvarint()?).ok_or(Truncated)?;
        Ok((ChunkMeta { min_ts, max_ts, count, encoding }, start..self.data_offset))
    }

    /// Fills `entry` with the next series; false after the last one.
    ///
    /// # Errors
    /// The block is damaged.
    pub fn next(&mut self, entry: &mut SeriesEntry) -> Result<bool, Truncated> {
        entry.chunks.clear();
        let Some((id, count)) = self.next_series()? else {
            return Ok(false);
        };
        entry.id = id;
        let mut after = self.base_ts;
        for _ in 0..count {
            let chunk = self.next_chunk(after)?;
            after = chunk.0.max_ts;
            entry.chunks.push(chunk);
        }
        Ok(true)
    }

    /// Calls `each` with the chunks of a series until it fails; `None` when the block lacks it.
    ///
    /// # Errors
    /// The block is damaged.
    pub fn find<E>(
        &mut self,
        id: u32,
        mut each: impl FnMut(&ChunkMeta, Range<u64>) -> Result<(), E>,
    ) -> Result<Option<Result<(), E>>, Truncated> {
        while let Some((found, count)) = self.next_series()? {
            if found > id {
                return Ok(None);
            }
            let mut after = self.base_ts;
            for _ in 0..count {
                let (meta, range) = self.next_chunk(after)?;
                after = meta.max_ts;
                if found == id
                    && let Err(error) = each(&meta, range)
                {
                    return Ok(Some(Err(error)));
                }
            }
            if found == id {
                return Ok(Some(Ok(())));
            }
        }
        Ok(None)
    }
}
