//! Segments: immutable files of granules. Format: docs/format/log-segment.md.

use super::bits::Bits;
use super::builder::Builder;
use super::eval::{matching, may_match};
use super::granule::{Corrupt, FULL_BYTES, Granule, Store, View, append_rows, encode, rebuild};
use super::predicate::Predicate;
use crate::wire::varint::Reader;
use memmap2::Mmap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"OBSDLOGS";
const END_MAGIC: [u8; 8] = *b"OBSDLEND";
const VERSION: u16 = 2;

/// The first version has no details of records.
const READABLE: [u16; 2] = [1, VERSION];
const HEADER_BYTES: usize = 16;
const FOOTER_BYTES: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// An open segment.
pub struct Segment {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub granules: Vec<Arc<Granule>>,
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// A segment that is being written; without `finish` no file is left.
struct SegmentWriter<'p> {
    path: &'p Path,
    temporary: PathBuf,
    file: BufWriter<File>,
    directory: Vec<u8>,
    count: u64,
    is_finished: bool,
}

impl<'p> SegmentWriter<'p> {
    fn create(path: &'p Path) -> Result<Self, SegmentError> {
        let temporary = path.with_extension("tmp");
        let file = File::create(&temporary).map_err(|e| io_error(path, e))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let directory = Vec::new();
        let mut new = Self { path, temporary, file, directory, count: 0, is_finished: false };
        new.write(&header())?;
        Ok(new)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SegmentError> {
        self.file.write_all(bytes).map_err(|e| io_error(self.path, e))
    }

    fn push(&mut self, granule: &[u8]) -> Result<(), SegmentError> {
        self.write(granule)?;
        self.directory.extend_from_slice(&(granule.len() as u64).to_le_bytes());
        self.count += 1;
        Ok(())
    }

    /// Syncs the file and gives it its name.
    fn finish(mut self) -> Result<(), SegmentError> {
        let mut end = std::mem::take(&mut self.directory);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header()), &end);
        let count = self.count.to_le_bytes();
        end.extend_from_slice(&count);
        end.extend_from_slice(&crc32c::crc32c_append(checksum, &count).to_le_bytes());
        end.extend_from_slice(&END_MAGIC);
        self.write(&end)?;
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

fn io_error(path: &Path, source: io::Error) -> SegmentError {
    SegmentError::Io { path: path.to_owned(), source }
}

/// Writes granules as a segment, synced, under its name.
///
/// # Errors
/// The disk refuses; no file is left.
pub fn write(path: &Path, granules: &[&[u8]]) -> Result<(), SegmentError> {
    let mut writer = SegmentWriter::create(path)?;
    granules.iter().try_for_each(|granule| writer.push(granule))?;
    writer.finish()
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
        let bounds = bounds(&map).map_err(corrupt)?;
        let name = Arc::new(path.to_owned());
        let mut granules = Vec::with_capacity(bounds.len());
        for (start, end) in bounds {
            let store = Store::File { map: Arc::clone(&map), path: Arc::clone(&name), start, end };
            granules.push(Arc::new(Granule::open(store)?));
        }
        Ok(Self { path: path.to_owned(), size_bytes: map.len() as u64, granules })
    }

    /// Checks every block.
    ///
    /// # Errors
    /// The first damage.
    pub fn verify(&self) -> Result<(), Corrupt> {
        self.granules.iter().try_for_each(|granule| granule.verify())
    }
}

/// Where the granules of a file are.
fn bounds(file: &[u8]) -> Result<Vec<(usize, usize)>, &'static str> {
    if file.len() < HEADER_BYTES + FOOTER_BYTES {
        return Err("too few bytes for a segment");
    }
    if file[..8] != MAGIC {
        return Err("not a log segment: bad magic number");
    }
    if !READABLE.iter().any(|version| file[8..10] == version.to_le_bytes()) {
        return Err("unknown version");
    }
    let (body, footer) = file.split_at(file.len() - FOOTER_BYTES);
    if footer[12..] != END_MAGIC {
        return Err("the file is cut or overwritten at its end");
    }
    let mut fields = Reader::new(footer);
    let count = fields.u64_le().map_err(|_| "bad footer")? as usize;
    let checksum = fields.u32_le().map_err(|_| "bad footer")?;
    let directory_bytes = count.checked_mul(8).ok_or("bad footer")?;
    let at = body.len().checked_sub(directory_bytes).ok_or("bad footer")?;
    let own = crc32c::crc32c_append(crc32c::crc32c(&file[..HEADER_BYTES]), &body[at..]);
    if crc32c::crc32c_append(own, &footer[..8]) != checksum {
        return Err("bad checksum of the footer");
    }
    let mut bounds = Vec::with_capacity(count);
    let mut start = HEADER_BYTES;
    let mut directory = Reader::new(&body[at..]);
    while !directory.is_empty() {
        let length = directory.u64_le().map_err(|_| "bad footer")? as usize;
        let end = start.checked_add(length).filter(|end| *end <= at).ok_or("bad footer")?;
        bounds.push((start, end));
        start = end;
    }
    if start == at { Ok(bounds) } else { Err("granules do not fill the file") }
}

/// Merges segments into one: full granules as they are, small ones together. Granules that end
/// before `min_ns` are left out. False, and no file, when nothing is left.
///
/// # Errors
/// An input is damaged, or the disk refuses; no file is left.
pub fn merge(
    segments: &[Arc<Segment>],
    path: &Path,
    granule_rows: usize,
    min_ns: i64,
    level: i32,
) -> Result<bool, SegmentError> {
    let all = segments.iter().flat_map(|segment| &segment.granules);
    let mut kept: Vec<&Arc<Granule>> = all.filter(|granule| granule.max_ns >= min_ns).collect();
    kept.sort_by_key(|granule| granule.first_row);
    let (mut pieces, mut small) = (Vec::new(), Vec::new());
    let (mut small_rows, mut small_bytes) = (0, 0);
    for granule in kept {
        let size_bytes = granule.size_bytes();
        if 2 * granule.rows > granule_rows || 2 * size_bytes > FULL_BYTES {
            granule.verify()?;
            pieces.push(Piece::Whole(Arc::clone(granule)));
            continue;
        }
        small.push(Arc::clone(granule));
        small_rows += granule.rows;
        small_bytes += size_bytes;
        if small_rows >= granule_rows || small_bytes > FULL_BYTES {
            pieces.push(together(&std::mem::take(&mut small), level, path)?);
            (small_rows, small_bytes) = (0, 0);
        }
    }
    if !small.is_empty() {
        pieces.push(together(&small, level, path)?);
    }
    if pieces.is_empty() {
        return Ok(false);
    }
    let bytes: Vec<&[u8]> = pieces.iter().map(Piece::bytes).collect();
    write(path, &bytes)?;
    Ok(true)
}

/// Writes a segment again without the records that match.
///
/// Returns how many these are; without any no file is written, and neither is where none are left:
/// then all of the segment's match.
///
/// # Errors
/// The segment is damaged, or the disk refuses; no file is left.
pub fn erase(
    segment: &Segment,
    gone: &Predicate,
    path: &Path,
    level: i32,
) -> Result<u64, SegmentError> {
    let mut writer = None;
    let mut erased = 0;
    for (place, granule) in segment.granules.iter().enumerate() {
        let found = matching_rows(gone, granule)?;
        let Some((view, mut bits)) = found else {
            if let Some(writer) = &mut writer {
                copy(writer, granule)?;
            }
            continue;
        };
        if writer.is_none() {
            let mut new = SegmentWriter::create(path)?;
            segment.granules[..place].iter().try_for_each(|granule| copy(&mut new, granule))?;
            writer = Some(new);
        }
        erased += bits.count() as u64;
        bits.negate();
        if let Some(writer) = &mut writer
            && !bits.is_empty()
        {
            let mut builder = Builder::default();
            append_rows(&mut builder, &view, bits.iter())?;
            writer.push(&encode(&builder, level).map_err(|e| io_error(path, e))?)?;
        }
    }
    if let Some(writer) = writer.filter(|writer| writer.count > 0) {
        writer.finish()?;
    }
    Ok(erased)
}

/// How many records of a segment match.
///
/// # Errors
/// It is damaged where they could be.
pub fn count(segment: &Segment, wanted: &Predicate) -> Result<u64, Corrupt> {
    let of = |granule| Ok(matching_rows(wanted, granule)?.map_or(0, |(_, b)| b.count() as u64));
    segment.granules.iter().map(of).sum()
}

fn matching_rows(
    wanted: &Predicate,
    granule: &Arc<Granule>,
) -> Result<Option<(View, Bits)>, Corrupt> {
    if !may_match(wanted, granule) {
        return Ok(None);
    }
    let view = View::new(Arc::clone(granule));
    let bits = matching(wanted, &view)?;
    Ok((!bits.is_empty()).then_some((view, bits)))
}

fn copy(writer: &mut SegmentWriter<'_>, granule: &Granule) -> Result<(), SegmentError> {
    granule.verify()?;
    writer.push(granule.bytes())
}

enum Piece {
    Whole(Arc<Granule>),
    Made(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(granule) => granule.bytes(),
            Self::Made(bytes) => bytes,
        }
    }
}

fn together(granules: &[Arc<Granule>], level: i32, path: &Path) -> Result<Piece, SegmentError> {
    if let [one] = granules {
        one.verify()?;
        return Ok(Piece::Whole(Arc::clone(one)));
    }
    let builder = rebuild(granules)?;
    let io = |source| SegmentError::Io { path: path.to_owned(), source };
    Ok(Piece::Made(encode(&builder, level).map_err(io)?))
}
