//! Parts: immutable files with the chunks of many series, memory-mapped.
//!
//! Format: docs/format/part.md. Opening a part checks its index and footer; a page of chunk data
//! is checked when it is first touched, and nothing is parsed that no query needs. A part that was
//! unlinked stays readable for whoever holds it.

pub mod format;
pub mod index;
pub mod python;
pub mod writer;

use super::codec;
use super::head::BlobKind;
use super::series_source::{ReadError, SeriesSource};
use format::{Footer, HEADER_BYTES, PAGE_BYTES, PartInfo};
use index::{BlockReader, SeriesEntry, TopEntry};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
pub use writer::PartWriter;

/// What an index entry says of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    pub min_ts: i64,
    pub max_ts: i64,
    pub count: u32,
    pub encoding: u8,
}

/// What a chunk holds. A series' chunks are sorted by this first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Samples,
    Histograms,
    Exemplars,
}

impl Kind {
    /// The kind that an encoding is for.
    #[must_use]
    pub fn of(encoding: u8) -> Self {
        match encoding {
            codec::HISTOGRAMS => Self::Histograms,
            codec::EXEMPLARS => Self::Exemplars,
            _ => Self::Samples,
        }
    }
}

impl From<BlobKind> for Kind {
    fn from(kind: BlobKind) -> Self {
        match kind {
            BlobKind::Histogram => Self::Histograms,
            BlobKind::Exemplar => Self::Exemplars,
        }
    }
}

/// Why a part cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {detail}")]
    Corrupt { path: PathBuf, detail: String },
}

impl PartError {
    fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), detail: detail.into() }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl From<PartError> for ReadError {
    fn from(error: PartError) -> Self {
        match error {
            PartError::Io { path, source } => {
                Self::Corrupt(path.display().to_string(), source.to_string())
            }
            PartError::Corrupt { path, detail } => {
                Self::Corrupt(path.display().to_string(), detail)
            }
        }
    }
}

/// What a part holds, from its footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartStats {
    pub min_ts: i64,
    pub max_ts: i64,
    pub samples: u64,
    pub chunks: u64,
    pub series: u32,
    pub size_bytes: u64,
    pub info: PartInfo,
}

/// An open part.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    map: Mmap,
    footer: Footer,
    /// One bit for each data page: its checksum has been found right.
    checked: Box<[AtomicU64]>,
}

impl Part {
    /// # Errors
    /// The file cannot be read, is of an unknown version, or its index is damaged.
    pub fn open(path: &Path) -> Result<Self, PartError> {
        let file = File::open(path).map_err(|e| PartError::io(path, e))?;
        // SAFETY: a part never changes after it was renamed into place, and nothing truncates it.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| PartError::io(path, e))?;
        let footer = Footer::read(&map).map_err(|detail| PartError::corrupt(path, detail))?;
        let words = (footer.page_count() as usize).div_ceil(64);
        let checked = (0..words).map(|_| AtomicU64::new(0)).collect();
        let part = Self { path: path.to_owned(), map, footer, checked };
        part.check_top()?;
        Ok(part)
    }

    /// Top entries must point into the index and the data, so that readers may rely on it.
    fn check_top(&self) -> Result<(), PartError> {
        let mut last: Option<TopEntry> = None;
        for top in self.blocks(0) {
            let ordered = last.is_none_or(|l| {
                l.last_id < top.first_id
                    && l.index_offset < top.index_offset
                    && l.data_offset <= top.data_offset
            });
            if !ordered
                || top.first_id > top.last_id
                || top.index_offset >= self.footer.index_bytes
                || top.data_offset > self.footer.data_bytes
            {
                return Err(self.corrupt("block index out of order"));
            }
            last = Some(top);
        }
        Ok(())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn stats(&self) -> PartStats {
        self.footer.stats(self.map.len() as u64)
    }

    /// The highest series id; `None` in an empty part.
    #[must_use]
    pub fn last_id(&self) -> Option<u32> {
        self.block_count().checked_sub(1).map(|last| self.top(last).last_id)
    }

    fn corrupt(&self, detail: impl Into<String>) -> PartError {
        PartError::corrupt(&self.path, detail)
    }

    fn block_count(&self) -> usize {
        self.footer.block_count as usize
    }

    fn top(&self, block: usize) -> TopEntry {
        TopEntry::read(&self.map[self.footer.top_range()], block)
    }

    fn blocks(&self, from: usize) -> impl Iterator<Item = TopEntry> {
        (from..self.block_count()).map(|b| self.top(b))
    }

    /// The first block that may have the series or later ones.
    fn block_of(&self, id: u32) -> usize {
        let (mut low, mut high) = (0, self.block_count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.top(middle).last_id < id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn block_reader(&self, block: usize) -> BlockReader<'_> {
        let top = self.top(block);
        let end = if block + 1 < self.block_count() {
            self.top(block + 1).index_offset
        } else {
            self.footer.index_bytes
        };
        let index = &self.map[self.footer.index_range()];
        BlockReader::new(&index[top.index_offset as usize..end as usize], &top)
    }

    /// The chunk bytes of a range of the data area, their pages checked.
    ///
    /// # Errors
    /// A page's checksum is wrong.
    pub fn data(&self, range: Range<u64>) -> Result<&[u8], PartError> {
        if range.start > range.end || range.end > self.footer.data_bytes {
            return Err(self.corrupt("chunk outside of the data"));
        }
        if range.is_empty() {
            return Ok(&[]);
        }
        for page in range.start / PAGE_BYTES..=(range.end - 1) / PAGE_BYTES {
            self.check_page(page)?;
        }
        let base = HEADER_BYTES as u64;
        Ok(&self.map[(base + range.start) as usize..(base + range.end) as usize])
    }

    fn check_page(&self, page: u64) -> Result<(), PartError> {
        let word = &self.checked[page as usize / 64];
        let bit = 1 << (page % 64);
        // Relaxed: the bit guards nothing but work done twice.
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let start = HEADER_BYTES as u64 + page * PAGE_BYTES;
        let end = (start + PAGE_BYTES).min(HEADER_BYTES as u64 + self.footer.data_bytes);
        let found = crc32c::crc32c(&self.map[start as usize..end as usize]);
        if found != self.footer.page_checksum(&self.map, page) {
            return Err(self.corrupt(format!("bad checksum of data page {page}")));
        }
        word.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }

    /// Checks every byte of the part.
    ///
    /// # Errors
    /// It is damaged.
    pub fn verify(&self) -> Result<(), PartError> {
        for page in 0..self.footer.page_count() {
            self.check_page(page)?;
        }
        let mut cursor = self.series();
        while cursor.next()?.is_some() {}
        Ok(())
    }

    /// All series, ascending.
    #[must_use]
    pub fn series(&self) -> SeriesCursor<'_> {
        SeriesCursor { part: self, block: 0, reader: None, entry: SeriesEntry::default() }
    }

    /// Ids of all series, ascending.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn series_ids(&self) -> Result<Vec<u32>, PartError> {
        let mut ids = Vec::with_capacity(self.footer.series as usize);
        let mut cursor = self.series();
        while let Some(entry) = cursor.next()? {
            ids.push(entry.id);
        }
        Ok(ids)
    }

    /// Calls `each` with the series' chunks of a kind that overlap the range, by time.
    ///
    /// # Errors
    /// The part is damaged, or `each` failed.
    pub fn for_each_chunk<E: From<PartError>>(
        &self,
        id: u32,
        kind: Kind,
        start: i64,
        end: i64,
        mut each: impl FnMut(&ChunkMeta, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((top, mut reader)) = self.find(id, start, end) else {
            return Ok(());
        };
        if top.first_id > id {
            return Ok(());
        }
        let found = reader
            .find(id, |meta, range| {
                if Kind::of(meta.encoding) == kind && meta.max_ts >= start && meta.min_ts <= end {
                    let bytes = self.data(range)?;
                    each(meta, bytes)?;
                }
                Ok::<_, E>(())
            })
            .map_err(|e| E::from(self.corrupt(e.to_string())))?;
        found.unwrap_or(Ok(()))
    }

    /// The block that may have chunks of the series in the range.
    fn find(&self, id: u32, start: i64, end: i64) -> Option<(TopEntry, BlockReader<'_>)> {
        if self.footer.max_ts < start || self.footer.min_ts > end {
            return None;
        }
        let block = self.block_of(id);
        if block == self.block_count() {
            return None;
        }
        let top = self.top(block);
        let overlaps = top.first_id <= id && top.max_ts >= start && top.min_ts <= end;
        overlaps.then(|| (top, self.block_reader(block)))
    }
}

/// Walks the series of a part in ascending order.
pub struct SeriesCursor<'a> {
    part: &'a Part,
    block: usize,
    reader: Option<BlockReader<'a>>,
    entry: SeriesEntry,
}

impl SeriesCursor<'_> {
    /// The next series with its chunks.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn next(&mut self) -> Result<Option<&SeriesEntry>, PartError> {
        loop {
            if self.reader.is_none() {
                if self.block == self.part.block_count() {
                    return Ok(None);
                }
                self.reader = Some(self.part.block_reader(self.block));
                self.block += 1;
            }
            let Some(reader) = &mut self.reader else { continue };
            let more =
                reader.next(&mut self.entry).map_err(|e| self.part.corrupt(e.to_string()))?;
            if more {
                return Ok(Some(&self.entry));
            }
            self.reader = None;
        }
    }
}

impl SeriesCursor<'_> {
    /// The series that `next` found last; `None` before the first and after the last one.
    #[must_use]
    pub fn entry(&self) -> Option<&SeriesEntry> {
        self.reader.is_some().then_some(&self.entry)
    }
}

impl SeriesSource for Part {
    fn read(
        &self,
        id: u32,
        start: i64,
        end: i64,
        ts: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<bool, ReadError> {
        self.for_each_chunk(id, Kind::Samples, start, end, |meta, bytes| {
            codec::decode(meta.encoding, bytes, meta.count as usize, ts, values)
                .map_err(|e| ReadError::from(self.corrupt(e.to_string())))
        })?;
        Ok(false)
    }

    fn read_blobs(
        &self,
        id: u32,
        kind: BlobKind,
        start: i64,
        end: i64,
        each: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<(), ReadError> {
        self.for_each_chunk(id, Kind::from(kind), start, end, |meta, bytes| {
            codec::decode_blobs(bytes, meta.count as usize, |ts, blob| each(ts, blob))
                .map_err(|e| ReadError::from(self.corrupt(e.to_string())))
        })
    }

    fn has_samples(&self, id: u32, start: i64, end: i64) -> bool {
        let mut has = false;
        let Some((_, mut reader)) = self.find(id, start, end) else {
            return false;
        };
        let found = reader.find(id, |meta, _| {
            has |= Kind::of(meta.encoding) != Kind::Exemplars
                && meta.max_ts >= start
                && meta.min_ts <= end;
            Ok::<_, PartError>(())
        });
        // A damaged index says "may have": reading it then tells what is wrong.
        has || found.is_err()
    }
}

#[cfg(test)]
mod tests;
