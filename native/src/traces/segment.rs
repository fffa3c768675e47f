//! Segments: immutable files of granules. Format: docs/format/span-segment.md.

use super::builder::Builder;
use super::granule::{Corrupt, Encoded, Granule, Location, encode};
use super::index::{self, Index};
use super::memtable::Snapshot;
use super::otlp::TraceId;
use crate::columns::cache::next_granule;
use crate::wire::varint::{Reader, put_uvarint};
use memmap2::Mmap;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"OBSDSPAN";
const END_MAGIC: [u8; 8] = *b"OBSDSEND";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const FOOTER_BYTES: usize = 48;

pub const DAY_NS: i64 = 86_400_000_000_000;

/// Days that a memtable tells apart: traces of others go with the nearest day before, so that odd
/// times do not make a segment each.
const MAX_DAYS: usize = 32;

/// A trace of more rows is cut.
pub const MAX_TRACE_ROWS: usize = 8;

/// Fast: what a flush writes may be merged again.
const FLUSH_LEVEL: i32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

fn io_error(path: &Path, source: io::Error) -> SegmentError {
    SegmentError::Io { path: path.to_owned(), source }
}

/// An open segment.
pub struct Segment {
    /// No other segment of the process has it.
    pub number: u64,
    pub path: PathBuf,
    pub size_bytes: u64,
    pub granules: Vec<Arc<Granule>>,
    map: Arc<Mmap>,
    index: Index,
    index_bytes: Range<usize>,
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// A segment that is being written; without `finish` no file is left.
pub struct SegmentWriter<'p> {
    path: &'p Path,
    temporary: PathBuf,
    file: BufWriter<File>,
    filters: Vec<u8>,
    directory: Vec<u8>,
    traces: Vec<(u64, u32)>,
    pub granules: u32,
    is_finished: bool,
}

impl<'p> SegmentWriter<'p> {
    /// # Errors
    /// The disk refuses; so in what follows.
    pub fn create(path: &'p Path) -> Result<Self, SegmentError> {
        let temporary = path.with_extension("tmp");
        let file = File::create(&temporary).map_err(|e| io_error(path, e))?;
        let mut new = Self {
            path,
            temporary,
            file: BufWriter::with_capacity(1 << 20, file),
            filters: Vec::new(),
            directory: Vec::new(),
            traces: Vec::new(),
            granules: 0,
            is_finished: false,
        };
        new.write(&header())?;
        Ok(new)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SegmentError> {
        self.file.write_all(bytes).map_err(|e| io_error(self.path, e))
    }

    pub fn push(&mut self, granule: &Encoded) -> Result<(), SegmentError> {
        let Encoded { head, filter, data, traces } = granule;
        self.write(data)?;
        self.filters.extend_from_slice(filter);
        for length in [data.len(), filter.len(), head.len()] {
            put_uvarint(&mut self.directory, length as u64);
        }
        self.directory.extend_from_slice(head);
        self.traces.extend(traces.iter().map(|hash| (*hash, self.granules)));
        self.granules += 1;
        Ok(())
    }

    /// Encodes rows, if there are some, and appends them.
    pub fn push_rows(
        &mut self,
        rows: &Builder,
        last_row: i64,
        level: i32,
    ) -> Result<(), SegmentError> {
        if rows.is_empty() {
            return Ok(());
        }
        let encoded = encode(rows, last_row, level).map_err(|e| io_error(self.path, e))?;
        self.push(&encoded)
    }

    /// Syncs the file and gives it its name.
    pub fn finish(mut self) -> Result<(), SegmentError> {
        let filters = std::mem::take(&mut self.filters);
        let index = index::encode(std::mem::take(&mut self.traces));
        let directory = std::mem::take(&mut self.directory);
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        for length in [filters.len(), index.len(), directory.len()] {
            footer.extend_from_slice(&(length as u64).to_le_bytes());
        }
        footer.extend_from_slice(&u64::from(self.granules).to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header()), &directory);
        let checksum = crc32c::crc32c_append(checksum, &footer);
        footer.extend_from_slice(&checksum.to_le_bytes());
        footer.extend_from_slice(&END_MAGIC);
        for part in [&filters, &index, &directory, &footer] {
            self.write(part)?;
        }
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        let done = done.and_then(|()| std::fs::rename(&self.temporary, self.path));
        done.map_err(|e| io_error(self.path, e))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for SegmentWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is at the next start.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

struct Layout {
    index: Range<usize>,
    granules: Vec<(Range<usize>, Range<usize>, Range<usize>)>,
}

impl Segment {
    /// Opens a segment and reads the heads of its granules.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let io = |source| SegmentError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: a segment never changes once it has its name, and a file that is unlinked stays
        // for those who have mapped it.
        let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(io)?);
        let corrupt =
            |detail: &str| Corrupt { path: path.display().to_string(), detail: detail.to_owned() };
        let layout = layout(&map).map_err(corrupt)?;
        let name = Arc::new(path.to_owned());
        let mut granules = Vec::with_capacity(layout.granules.len());
        for (head, data, filter) in layout.granules {
            let (map, path) = (Arc::clone(&map), Arc::clone(&name));
            let head = map[head].to_vec();
            granules.push(Arc::new(Granule::open(&head, Location { map, path, data, filter })?));
        }
        let index =
            Index::parse(&map[layout.index.clone()]).map_err(|_| corrupt("bad index of traces"))?;
        Ok(Self {
            number: next_granule(),
            path: path.to_owned(),
            size_bytes: map.len() as u64,
            granules,
            map,
            index,
            index_bytes: layout.index,
        })
    }

    /// The granules that have a trace, or seldom seem to.
    pub fn find(&self, id: &TraceId) -> impl Iterator<Item = &Arc<Granule>> {
        let bytes = &self.map[self.index_bytes.clone()];
        let found = self.index.find(bytes, index::hash_id(id));
        let mut found: Vec<usize> = found.collect();
        found.dedup();
        found.into_iter().filter_map(|granule| self.granules.get(granule))
    }

    /// Whether it has a trace, or seldom seems to.
    #[must_use]
    pub fn may_have(&self, id: &TraceId) -> bool {
        let bytes = &self.map[self.index_bytes.clone()];
        self.index.find(bytes, index::hash_id(id)).next().is_some()
    }

    /// How many first bits of its traces' hashes are known, and these, in order, with granules.
    pub fn hashes(&self) -> (u32, impl Iterator<Item = (u64, usize)>) {
        let bytes = &self.map[self.index_bytes.clone()];
        (self.index.known_bits(), self.index.entries(bytes))
    }

    /// Checks every block.
    ///
    /// # Errors
    /// The first damage.
    pub fn verify(&self) -> Result<(), Corrupt> {
        self.granules.iter().try_for_each(|granule| granule.verify())
    }
}

fn layout(file: &[u8]) -> Result<Layout, &'static str> {
    if file.len() < HEADER_BYTES + FOOTER_BYTES {
        return Err("too few bytes for a segment");
    }
    if file[..8] != MAGIC {
        return Err("not a span segment: bad magic number");
    }
    if file[8..10] != VERSION.to_le_bytes() {
        return Err("unknown version");
    }
    let (body, footer) = file.split_at(file.len() - FOOTER_BYTES);
    if footer[40..] != END_MAGIC {
        return Err("the file is cut or overwritten at its end");
    }
    let mut fields = Reader::new(footer);
    let mut length = || fields.u64_le().map_err(|_| "bad footer").map(|n| n as usize);
    let (filter_bytes, index_bytes, directory_bytes, count) =
        (length()?, length()?, length()?, length()?);
    let index_checksum = fields.u32_le().map_err(|_| "bad footer")?;
    let checksum = fields.u32_le().map_err(|_| "bad footer")?;
    let before = |end: usize, length: usize| {
        end.checked_sub(length).filter(|at| *at >= HEADER_BYTES).ok_or("bad footer")
    };
    let directory_at = before(body.len(), directory_bytes)?;
    let index_at = before(directory_at, index_bytes)?;
    let filters_at = before(index_at, filter_bytes)?;
    let own = crc32c::crc32c_append(crc32c::crc32c(&file[..HEADER_BYTES]), &body[directory_at..]);
    if crc32c::crc32c_append(own, &footer[..36]) != checksum {
        return Err("bad checksum of the footer");
    }
    if crc32c::crc32c(&body[index_at..directory_at]) != index_checksum {
        return Err("bad checksum of the index of traces");
    }
    let mut granules = Vec::new();
    let (mut data_at, mut filter_at) = (HEADER_BYTES, filters_at);
    let mut directory = Reader::new(&body[directory_at..]);
    while !directory.is_empty() {
        let mut length = || directory.uvarint().map_err(|_| "bad directory").map(|n| n as usize);
        let (data, filter, head) = (length()?, length()?, length()?);
        let head_at = body.len() - directory.rest().len();
        directory.bytes(head).map_err(|_| "bad directory")?;
        let end = |at: usize, length: usize, most: usize| {
            at.checked_add(length).filter(|end| *end <= most).ok_or("bad directory")
        };
        let (data_end, filter_end) =
            (end(data_at, data, filters_at)?, end(filter_at, filter, index_at)?);
        granules.push((head_at..head_at + head, data_at..data_end, filter_at..filter_end));
        (data_at, filter_at) = (data_end, filter_end);
    }
    if granules.len() != count || data_at != filters_at || filter_at != index_at {
        return Err("granules do not fill the file");
    }
    Ok(Layout { index: index_at..directory_at, granules })
}

/// Writes a memtable's spans as segments, one for each day that traces start on, synced; their
/// paths are `prefix`, the day, and `.spans`.
///
/// # Errors
/// The disk refuses.
pub fn flush(
    snapshot: &Snapshot,
    prefix: &Path,
    granule_rows: usize,
) -> Result<Vec<PathBuf>, SegmentError> {
    let mut days: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut order: Vec<usize> = (0..snapshot.traces.len()).collect();
    order.sort_unstable_by_key(|at| (snapshot.traces[*at].start_ns, snapshot.traces[*at].id));
    for at in order {
        let mut day = snapshot.traces[at].start_ns.div_euclid(DAY_NS);
        if days.len() >= MAX_DAYS && !days.contains_key(&day) {
            day = days.keys().next_back().copied().unwrap_or(day);
        }
        days.entry(day).or_default().push(at);
    }
    let chunks: Vec<_> = snapshot.chunks.iter().map(|live| &*live.chunk).collect();
    let mut paths = Vec::with_capacity(days.len());
    for (day, traces) in days {
        let mut name = prefix.to_owned().into_os_string();
        name.push(format!("{day}.spans"));
        let path = PathBuf::from(name);
        let mut writer = SegmentWriter::create(&path)?;
        let mut rows: Vec<(u32, u32)> = Vec::with_capacity(granule_rows);
        let mut flush = |rows: &mut Vec<(u32, u32)>| {
            let mut builder = Builder::default();
            builder.gather(&chunks, rows);
            rows.clear();
            writer.push_rows(&builder, snapshot.last_row, FLUSH_LEVEL)
        };
        for at in traces {
            let trace = &snapshot.traces[at].rows;
            let mut own = trace.clone();
            own.sort_by_key(|(chunk, row)| chunks[*chunk as usize].starts[*row as usize]);
            for piece in own.chunks(granule_rows * MAX_TRACE_ROWS) {
                if !rows.is_empty() && rows.len() + piece.len() > granule_rows {
                    flush(&mut rows)?;
                }
                rows.extend_from_slice(piece);
            }
        }
        flush(&mut rows)?;
        writer.finish()?;
        paths.push(path);
    }
    Ok(paths)
}
