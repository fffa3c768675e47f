//! The fixed pieces of a part file: header, footer, and where the areas between them are.

use super::PartStats;

pub const MAGIC: [u8; 8] = *b"OBSDPART";
pub const END_MAGIC: [u8; 8] = *b"OBSDPEND";
pub const VERSION: u16 = 1;
/// Magic, version, six zero bytes.
pub const HEADER_BYTES: usize = 16;
pub const FOOTER_BYTES: usize = 160;
/// Data that one checksum covers: enough that checksums are 0.006 % of a part, little enough that
/// reading one chunk does not read much more.
pub const PAGE_BYTES: u64 = 64 << 10;
pub const CHECKSUM_BYTES: u64 = 4;
const WRITER_BYTES: usize = 16;

/// The 2 h, 24 h or other partition that a part is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub start_ms: i64,
    pub length_ms: i64,
}

/// What the writer of a part knows about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartInfo {
    /// The flushes whose samples are here: of equal timestamps the higher sequence wins.
    pub seq_min: u64,
    pub seq_max: u64,
    /// 0 as flushed, 1 merged, 2 merged for good.
    pub level: u32,
    pub partition: Option<Partition>,
}

/// All that is known without reading the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    pub data_bytes: u64,
    pub index_bytes: u64,
    pub block_count: u32,
    pub series: u32,
    pub samples: u64,
    pub chunks: u64,
    pub min_ts: i64,
    pub max_ts: i64,
    pub info: PartInfo,
}

#[must_use]
pub fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header
}

impl Footer {
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.data_bytes.div_ceil(PAGE_BYTES)
    }

    fn checksums_start(&self) -> usize {
        HEADER_BYTES + self.data_bytes as usize
    }

    fn index_start(&self) -> usize {
        self.checksums_start() + (self.page_count() * CHECKSUM_BYTES) as usize
    }

    #[must_use]
    pub fn index_range(&self) -> std::ops::Range<usize> {
        let start = self.index_start();
        start..start + self.index_bytes as usize
    }

    #[must_use]
    pub fn top_range(&self) -> std::ops::Range<usize> {
        let start = self.index_range().end;
        start..start + self.block_count as usize * super::index::TOP_BYTES
    }

    #[must_use]
    pub fn page_checksum(&self, file: &[u8], page: u64) -> u32 {
        let at = self.checksums_start() + (page * CHECKSUM_BYTES) as usize;
        u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]])
    }

    #[must_use]
    pub fn stats(&self, size_bytes: u64) -> PartStats {
        PartStats {
            min_ts: self.min_ts,
            max_ts: self.max_ts,
            samples: self.samples,
            chunks: self.chunks,
            series: self.series,
            size_bytes,
            info: self.info,
        }
    }

    /// The footer's bytes; `checksum` is of the header and of all that follows the data, and goes
    /// on here over the footer's fields.
    #[must_use]
    pub fn encode(&self, checksum: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        let partition = self.info.partition.unwrap_or(Partition { start_ms: 0, length_ms: 0 });
        out.extend_from_slice(&self.data_bytes.to_le_bytes());
        out.extend_from_slice(&self.index_bytes.to_le_bytes());
        out.extend_from_slice(&self.block_count.to_le_bytes());
        out.extend_from_slice(&self.series.to_le_bytes());
        out.extend_from_slice(&self.samples.to_le_bytes());
        out.extend_from_slice(&self.chunks.to_le_bytes());
        out.extend_from_slice(&self.min_ts.to_le_bytes());
        out.extend_from_slice(&self.max_ts.to_le_bytes());
        out.extend_from_slice(&self.info.seq_min.to_le_bytes());
        out.extend_from_slice(&self.info.seq_max.to_le_bytes());
        out.extend_from_slice(&partition.start_ms.to_le_bytes());
        out.extend_from_slice(&partition.length_ms.to_le_bytes());
        out.extend_from_slice(&self.info.level.to_le_bytes());
        let mut writer = [0; WRITER_BYTES];
        let version = env!("CARGO_PKG_VERSION").as_bytes();
        let length = version.len().min(WRITER_BYTES);
        writer[..length].copy_from_slice(&version[..length]);
        out.extend_from_slice(&writer);
        out.resize(FOOTER_BYTES - 12, 0);
        let checksum = crc32c::crc32c_append(checksum, &out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&END_MAGIC);
        out
    }

    /// Reads and checks the footer, the index and the header of a file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        if file.len() < HEADER_BYTES + FOOTER_BYTES {
            return Err(format!("{} bytes are too few for a part", file.len()));
        }
        let (body, footer) = file.split_at(file.len() - FOOTER_BYTES);
        if file[..8] != MAGIC {
            return Err("not a part: bad magic number".to_owned());
        }
        let version = u16::from_le_bytes([file[8], file[9]]);
        if version != VERSION {
            return Err(format!("version {version}, expected {VERSION}"));
        }
        if footer[FOOTER_BYTES - 8..] != END_MAGIC {
            return Err("the file is cut or overwritten at its end".to_owned());
        }
        let fields = Self::parse(footer).ok_or("bad footer")?;
        if !fields.fits(file.len()) {
            return Err("the footer does not fit the file's size".to_owned());
        }
        let mut checksum = crc32c::crc32c(&file[..HEADER_BYTES]);
        checksum = crc32c::crc32c_append(checksum, &body[fields.checksums_start()..]);
        checksum = crc32c::crc32c_append(checksum, &footer[..FOOTER_BYTES - 12]);
        if footer[FOOTER_BYTES - 12..FOOTER_BYTES - 8] != checksum.to_le_bytes() {
            return Err("bad checksum of the index".to_owned());
        }
        Ok(fields)
    }

    fn parse(footer: &[u8]) -> Option<Self> {
        let mut fields = crate::wire::varint::Reader::new(footer);
        let mut u64_le = || fields.u64_le().ok();
        let (data_bytes, index_bytes, blocks_and_series) = (u64_le()?, u64_le()?, u64_le()?);
        let (samples, chunks) = (u64_le()?, u64_le()?);
        let (min_ts, max_ts) = (u64_le()? as i64, u64_le()? as i64);
        let (seq_min, seq_max) = (u64_le()?, u64_le()?);
        let (start_ms, length_ms) = (u64_le()? as i64, u64_le()? as i64);
        let level = fields.u32_le().ok()?;
        let partition = (length_ms > 0).then_some(Partition { start_ms, length_ms });
        Some(Self {
            data_bytes,
            index_bytes,
            block_count: blocks_and_series as u32,
            series: (blocks_and_series >> 32) as u32,
            samples,
            chunks,
            min_ts,
            max_ts,
            info: PartInfo { seq_min, seq_max, level, partition },
        })
    }

    fn fits(&self, file_bytes: usize) -> bool {
        let areas = [
            HEADER_BYTES as u64,
            self.data_bytes,
            self.page_count().saturating_mul(CHECKSUM_BYTES),
            self.index_bytes,
            u64::from(self.block_count) * super::index::TOP_BYTES as u64,
            FOOTER_BYTES as u64,
        ];
        let total = areas.iter().try_fold(0_u64, |sum, area| sum.checked_add(*area));
        total == Some(file_bytes as u64)
    }
}
