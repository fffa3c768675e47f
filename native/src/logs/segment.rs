//! Segments: immutable files of granules. Format: docs/format/log-segment.md.

use super::granule::{Corrupt, FULL_BYTES, Granule, Store, encode, rebuild};
use crate::wire::varint::Reader;
use memmap2::Mmap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"OBSDLOGS";
const END_MAGIC: [u8; 8] = *b"OBSDLEND";
const VERSION: u16 = 1;
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

/// Writes granules as a segment, synced, under its name.
///
/// # Errors
/// The disk refuses; no file is left.
pub fn write(path: &Path, granules: &[&[u8]]) -> Result<(), SegmentError> {
    let temporary = path.with_extension("tmp");
    let written = write_file(&temporary, granules).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|source| {
        // What cannot be removed now is at the next start, and the first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
        SegmentError::Io { path: path.to_owned(), source }
    })
}

fn write_file(path: &Path, granules: &[&[u8]]) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&header())?;
    let mut directory = Vec::new();
    for bytes in granules {
        file.write_all(bytes)?;
        directory.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    }
    file.write_all(&directory)?;
    let mut footer = Vec::with_capacity(FOOTER_BYTES);
    footer.extend_from_slice(&(granules.len() as u64).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header()), &directory);
    footer.extend_from_slice(&crc32c::crc32c_append(checksum, &footer).to_le_bytes());
    footer.extend_from_slice(&END_MAGIC);
    file.write_all(&footer)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
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
    if file[8..10] != VERSION.to_le_bytes() {
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
