//! Writes a part, front to back, into a temporary file that is removed unless it is finished.

use super::format::{self, Footer, HEADER_BYTES, PAGE_BYTES, PartInfo};
use super::index::{BLOCK_SERIES, TopEntry, put_chunk};
use super::{ChunkMeta, Kind, PartStats};
use crate::wire::varint::put_uvarint;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The name that a part has until it is complete.
#[must_use]
pub fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Chunks of one series that wait for their number to be known.
#[derive(Default)]
struct OpenSeries {
    id: u32,
    chunks: Vec<(ChunkMeta, usize)>,
}

/// A part in the making.
pub struct PartWriter {
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once finished.
    file: Option<BufWriter<File>>,
    data_bytes: u64,
    page_checksum: u32,
    checksums: Vec<u8>,
    index: Vec<u8>,
    top: Vec<u8>,
    /// Series of the block under construction, before their times' base is known.
    block: Vec<OpenSeries>,
    block_data_offset: u64,
    spare: Vec<Vec<(ChunkMeta, usize)>>,
    series: u32,
    samples: u64,
    chunks: u64,
    min_ts: i64,
    max_ts: i64,
}

impl PartWriter {
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let temporary = temporary_path(path);
        let mut file = BufWriter::with_capacity(256 << 10, File::create(&temporary)?);
        let mut writer = Self {
            path: path.to_owned(),
            temporary,
            file: None,
            data_bytes: 0,
            page_checksum: 0,
            checksums: Vec::new(),
            index: Vec::new(),
            top: Vec::new(),
            block: Vec::new(),
            block_data_offset: 0,
            spare: Vec::new(),
            series: 0,
            samples: 0,
            chunks: 0,
            min_ts: i64::MAX,
            max_ts: i64::MIN,
        };
        let written = file.write_all(&format::header());
        writer.file = Some(file);
        written.map(|()| writer)
    }

    /// Adds a chunk. Series ascend; a series' chunks ascend by kind, then by time, and do not
    /// overlap (those of exemplars may touch).
    ///
    /// # Errors
    /// The disk refuses, or the chunk is out of order.
    pub fn add_chunk(&mut self, id: u32, meta: &ChunkMeta, bytes: &[u8]) -> io::Result<()> {
        self.check_order(id, meta)?;
        let open = self.block.last().is_some_and(|s| s.id == id);
        if !open {
            if self.block.len() == BLOCK_SERIES as usize {
                self.close_block();
            }
            if self.block.is_empty() {
                self.block_data_offset = self.data_bytes;
            }
            self.block.push(OpenSeries { id, chunks: self.spare.pop().unwrap_or_default() });
            self.series += 1;
        }
        if let Some(series) = self.block.last_mut() {
            series.chunks.push((*meta, bytes.len()));
        }
        if Kind::of(meta.encoding) != Kind::Exemplars {
            self.samples += u64::from(meta.count);
        }
        self.chunks += 1;
        self.min_ts = self.min_ts.min(meta.min_ts);
        self.max_ts = self.max_ts.max(meta.max_ts);
        self.write_data(bytes)
    }

    fn check_order(&self, id: u32, meta: &ChunkMeta) -> io::Result<()> {
        let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if meta.count == 0 || meta.min_ts > meta.max_ts {
            return refuse("a chunk without samples");
        }
        let Some(last) = self.block.last() else {
            return Ok(());
        };
        if id < last.id {
            return refuse("series out of order");
        }
        if let Some((before, _)) = last.chunks.last()
            && id == last.id
        {
            let (kind, kind_before) = (Kind::of(meta.encoding), Kind::of(before.encoding));
            let touches = i64::from(kind != Kind::Exemplars);
            if kind < kind_before
                || kind == kind_before && meta.min_ts < before.max_ts.saturating_add(touches)
            {
                return refuse("chunks out of order");
            }
        }
        Ok(())
    }

    fn write_data(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("already finished"))?;
        file.write_all(bytes)?;
        while !bytes.is_empty() {
            let room = PAGE_BYTES - self.data_bytes % PAGE_BYTES;
            let (now, later) = bytes.split_at((room as usize).min(bytes.len()));
            self.page_checksum = crc32c::crc32c_append(self.page_checksum, now);
            self.data_bytes += now.len() as u64;
            if self.data_bytes.is_multiple_of(PAGE_BYTES) {
                self.close_page();
            }
            bytes = later;
        }
        Ok(())
    }

    fn close_page(&mut self) {
        self.checksums.extend_from_slice(&self.page_checksum.to_le_bytes());
        self.page_checksum = 0;
    }

    fn close_block(&mut self) {
        let (Some(first), Some(last)) = (self.block.first(), self.block.last()) else {
            return;
        };
        let chunks = || self.block.iter().flat_map(|s| s.chunks.iter().map(|(meta, _)| meta));
        let top = TopEntry {
            first_id: first.id,
            last_id: last.id,
            index_offset: self.index.len() as u64,
            data_offset: self.block_data_offset,
            min_ts: chunks().map(|m| m.min_ts).min().unwrap_or(0),
            max_ts: chunks().map(|m| m.max_ts).max().unwrap_or(0),
        };
        top.write(&mut self.top);
        let mut before = first.id;
        for mut series in self.block.drain(..) {
            put_uvarint(&mut self.index, u64::from(series.id - before));
            put_uvarint(&mut self.index, series.chunks.len() as u64);
            before = series.id;
            let mut after = top.min_ts;
            for (meta, bytes) in series.chunks.drain(..) {
                put_chunk(&mut self.index, after, &meta, bytes);
                after = meta.max_ts;
            }
            self.spare.push(series.chunks);
        }
    }

    /// Writes the index, syncs the file and gives it its name. The directory is the caller's to
    /// sync.
    ///
    /// # Errors
    /// The disk refuses; the temporary file is gone then.
    pub fn finish(mut self, info: &PartInfo) -> io::Result<PartStats> {
        self.close_block();
        if !self.data_bytes.is_multiple_of(PAGE_BYTES) {
            self.close_page();
        }
        let empty = self.chunks == 0;
        let footer = Footer {
            data_bytes: self.data_bytes,
            index_bytes: self.index.len() as u64,
            block_count: (self.top.len() / super::index::TOP_BYTES) as u32,
            series: self.series,
            samples: self.samples,
            chunks: self.chunks,
            min_ts: if empty { 0 } else { self.min_ts },
            max_ts: if empty { -1 } else { self.max_ts },
            info: *info,
        };
        let mut checksum = crc32c::crc32c(&format::header());
        for area in [&self.checksums, &self.index, &self.top] {
            checksum = crc32c::crc32c_append(checksum, area);
        }
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("already finished"))?;
        let mut size_bytes = HEADER_BYTES as u64 + self.data_bytes;
        for area in [&self.checksums, &self.index, &self.top, &footer.encode(checksum)] {
            file.write_all(area)?;
            size_bytes += area.len() as u64;
        }
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.file = None;
        Ok(footer.stats(size_bytes))
    }
}

impl Drop for PartWriter {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Without writing what is still buffered: it is of no use to anybody.
            drop(file.into_parts());
            // An error leaves a temporary file, which the next start removes.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
