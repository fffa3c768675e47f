//! Granules: some thousand rows, as compressed columns behind a filter of their tokens.
//! Format: docs/format/log-segment.md.

use super::builder::Builder;
use super::cache::{COLUMNS, Kept, next_granule};
use super::column::{ColumnError, Strings, TEMPLATE, decode_ints, encode_ints};
use super::fuse;
use super::stored::Stored;
use super::text::{MIXED, NUMBER};
use super::value::Value;
pub use super::view::View;
use crate::columns::unpack::unpack;
use crate::wire::varint::{Reader, put_uvarint, unzigzag, zigzag};
use memmap2::Mmap;
use std::path::PathBuf;
use std::sync::Arc;

const MAX_BLOCK_BYTES: usize = 1 << 30;

/// A column tells that many values apart.
const MAX_ROWS: usize = 1 << 24;

/// A granule of more than this, uncompressed, is full, however few rows it has.
pub const FULL_BYTES: usize = 16 << 20;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Times = 0,
    Rows = 1,
    Observed = 2,
    Severity = 3,
    SeverityText = 4,
    Resource = 5,
    TraceId = 6,
    SpanId = 7,
    Body = 8,
    Variables = 9,
    Rest = 10,
    Attribute = 11,
    Details = 12,
}

pub(super) const KINDS: [Kind; 13] = [
    Kind::Times,
    Kind::Rows,
    Kind::Observed,
    Kind::Severity,
    Kind::SeverityText,
    Kind::Resource,
    Kind::TraceId,
    Kind::SpanId,
    Kind::Body,
    Kind::Variables,
    Kind::Rest,
    Kind::Attribute,
    Kind::Details,
];

#[derive(Debug, Clone)]
struct Block {
    kind: Kind,
    offset: usize,
    stored_bytes: usize,
    size_bytes: usize,
    checksum: u32,
}

/// An attribute column's name and what is known of it without reading it.
#[derive(Debug, Clone)]
pub struct AttributeInfo {
    pub key: String,
    pub has_words: bool,
    pub has_prose: bool,
    /// Its prose is whole numbers alone; false where that is not known.
    pub is_whole_numbers: bool,
    block: usize,
}

/// Where a granule's bytes are.
#[derive(Clone)]
pub enum Store {
    Memory(Arc<[u8]>),
    File { map: Arc<Mmap>, path: Arc<PathBuf>, start: usize, end: usize },
}

impl Store {
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File { map, start, end, .. } => &map[*start..*end],
        }
    }
}

/// Stored bytes are not a granule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {detail}")]
pub struct Corrupt {
    pub path: String,
    pub detail: String,
}

/// Its number among all granules of the process, and the columns of it that are in the cache.
struct Cached {
    number: u64,
    blocks: usize,
}

impl Drop for Cached {
    fn drop(&mut self) {
        COLUMNS.forget(self.number, self.blocks);
    }
}

/// A stored granule; columns are read when they are asked for.
pub struct Granule {
    store: Store,
    cached: Cached,
    pub rows: usize,
    pub min_ns: i64,
    pub max_ns: i64,
    pub first_row: i64,
    pub last_row: i64,
    filter: std::ops::Range<usize>,
    blocks: Vec<Block>,
    pub attributes: Vec<AttributeInfo>,
}

/// Writes blocks and remembers where they are.
struct BlockWriter {
    compressor: zstd::bulk::Compressor<'static>,
    directory: Vec<u8>,
    data: Vec<u8>,
    scratch: Vec<u8>,
    count: u64,
}

impl BlockWriter {
    fn block(
        &mut self,
        kind: Kind,
        name: Option<(&str, u8)>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> std::io::Result<()> {
        self.scratch.clear();
        fill(&mut self.scratch);
        let packed = self.compressor.compress(&self.scratch)?;
        self.directory.push(kind as u8);
        if let Some((key, flags)) = name {
            self.directory.push(flags);
            put_uvarint(&mut self.directory, key.len() as u64);
            self.directory.extend_from_slice(key.as_bytes());
        }
        put_uvarint(&mut self.directory, packed.len() as u64);
        put_uvarint(&mut self.directory, self.scratch.len() as u64);
        self.directory.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        self.data.extend_from_slice(&packed);
        self.count += 1;
        Ok(())
    }
}

/// Encodes the rows of a builder, at least one, as a granule.
///
/// # Errors
/// The compressor fails, which only a lack of memory makes it do.
pub fn encode(builder: &Builder, level: i32) -> std::io::Result<Vec<u8>> {
    let rows = builder.len();
    let mut w = BlockWriter {
        compressor: zstd::bulk::Compressor::new(level)?,
        directory: Vec::new(),
        data: Vec::new(),
        scratch: Vec::new(),
        count: 0,
    };
    w.block(Kind::Times, None, |out| encode_ints(&builder.times, out))?;
    w.block(Kind::Rows, None, |out| encode_ints(&builder.rows, out))?;
    w.block(Kind::Observed, None, |out| {
        let later = builder.observed.iter().zip(&builder.times);
        let later: Vec<i64> = later.map(|(o, t)| o.wrapping_sub(*t)).collect();
        encode_ints(&later, out);
    })?;
    let columns = [
        (Kind::Severity, &builder.severity),
        (Kind::SeverityText, &builder.severity_text),
        (Kind::Resource, &builder.resource),
        (Kind::TraceId, &builder.trace_id),
        (Kind::SpanId, &builder.span_id),
        (Kind::Body, &builder.bodies.column),
        (Kind::Rest, &builder.rest),
        (Kind::Details, &builder.details),
    ];
    for (kind, column) in columns {
        if column.values().len() > 0 {
            w.block(kind, None, |out| column.encode(rows, out))?;
        }
    }
    if builder.bodies.variables.iter().any(|columns| !columns.is_empty()) {
        w.block(Kind::Variables, None, |out| {
            builder
                .bodies
                .variables
                .iter()
                .flatten()
                .for_each(|column| column.encode_variables(out));
        })?;
    }
    for attribute in &builder.attributes {
        let flags = u8::from(attribute.has_words)
            | u8::from(attribute.has_prose) << 1
            | u8::from(!attribute.has_texts) << 2;
        w.block(Kind::Attribute, Some((&attribute.key, flags)), |out| {
            attribute.column.encode(rows, out);
        })?;
    }
    let hashes: Vec<u64> = builder.hashes.iter().copied().collect();
    let filter = fuse::build(&hashes).unwrap_or_default();
    Ok(assemble(builder, &w, &filter))
}

fn assemble(builder: &Builder, w: &BlockWriter, filter: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    put_uvarint(&mut head, builder.len() as u64);
    let min_ns = builder.times.iter().copied().min().unwrap_or(0);
    let max_ns = builder.times.iter().copied().max().unwrap_or(0);
    let first_row = builder.rows.iter().copied().min().unwrap_or(0);
    let last_row = builder.rows.iter().copied().max().unwrap_or(0);
    for number in [min_ns, max_ns, first_row, last_row] {
        put_uvarint(&mut head, zigzag(number));
    }
    put_uvarint(&mut head, filter.len() as u64);
    put_uvarint(&mut head, w.count);
    head.extend_from_slice(&w.directory);
    let mut out = Vec::with_capacity(8 + head.len() + filter.len() + w.data.len());
    out.extend_from_slice(&(head.len() as u32).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), filter);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(filter);
    out.extend_from_slice(&w.data);
    out
}

impl Granule {
    /// Opens a granule; only its head is read.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn open(store: Store) -> Result<Self, Corrupt> {
        match Self::parse(store.bytes()) {
            Ok(granule) => Ok(Self { store, ..granule }),
            Err(error) => Err(corrupt(&store, error.0)),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, ColumnError> {
        let mut input = Reader::new(bytes);
        let head_bytes = input.u32_le()? as usize;
        let checksum = input.u32_le()?;
        let head = input.bytes(head_bytes)?;
        let mut fields = Reader::new(head);
        let rows = fields.uvarint()? as usize;
        let mut number = || fields.uvarint().map(unzigzag);
        let (min_ns, max_ns, first_row, last_row) = (number()?, number()?, number()?, number()?);
        let filter_bytes = fields.uvarint()? as usize;
        let filter = input.bytes(filter_bytes)?;
        if crc32c::crc32c_append(crc32c::crc32c(head), filter) != checksum {
            return Err(ColumnError("bad checksum of a granule's head"));
        }
        let filter = 8 + head_bytes..8 + head_bytes + filter_bytes;
        let count = fields.uvarint()?;
        let (mut blocks, mut attributes) = (Vec::new(), Vec::new());
        let mut offset = filter.end;
        for _ in 0..count {
            let kind = fields.array::<1>()?[0] as usize;
            let kind = *KINDS.get(kind).ok_or(ColumnError("unknown kind of block"))?;
            if kind == Kind::Attribute {
                let flags = fields.array::<1>()?[0];
                let length = fields.uvarint()? as usize;
                attributes.push(AttributeInfo {
                    key: String::from_utf8_lossy(fields.bytes(length)?).into_owned(),
                    has_words: flags & 1 != 0,
                    has_prose: flags & 2 != 0,
                    is_whole_numbers: flags & 4 != 0,
                    block: blocks.len(),
                });
            }
            let stored_bytes = fields.uvarint()? as usize;
            let size_bytes = fields.uvarint()? as usize;
            let checksum = fields.u32_le()?;
            blocks.push(Block { kind, offset, stored_bytes, size_bytes, checksum });
            offset = offset.checked_add(stored_bytes).ok_or(ColumnError("a block is too large"))?;
        }
        if offset != bytes.len() {
            return Err(ColumnError("blocks do not fill the granule"));
        }
        if rows > MAX_ROWS || min_ns > max_ns || first_row > last_row {
            return Err(ColumnError("a granule's head makes no sense"));
        }
        // One more for all variables.
        let cached = Cached { number: next_granule(), blocks: blocks.len() + 1 };
        Ok(Self {
            store: Store::Memory(Arc::default()),
            cached,
            rows,
            min_ns,
            max_ns,
            first_row,
            last_row,
            filter,
            blocks,
            attributes,
        })
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.store.bytes()
    }

    /// Of all columns, uncompressed.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.size_bytes).sum()
    }

    /// False only when no text of the granule has a token with this hash.
    #[must_use]
    pub fn may_contain(&self, hash: u64) -> bool {
        fuse::may_contain(&self.store.bytes()[self.filter.clone()], hash)
    }

    pub(super) fn corrupt(&self, error: &ColumnError) -> Corrupt {
        corrupt(&self.store, error.0)
    }

    /// Calls `work` with a block's bytes.
    fn with_block<T>(
        &self,
        block: &Block,
        work: impl FnOnce(&[u8]) -> Result<T, ColumnError>,
    ) -> Result<T, ColumnError> {
        let end = block.offset + block.stored_bytes;
        let packed = self.store.bytes().get(block.offset..end).ok_or(ColumnError("cut"))?;
        if crc32c::crc32c(packed) != block.checksum {
            return Err(ColumnError("bad checksum of a block"));
        }
        if block.size_bytes > MAX_BLOCK_BYTES {
            return Err(ColumnError("a block is too large"));
        }
        unpack(packed, block.size_bytes, work)
    }

    fn block(&self, kind: Kind) -> Option<usize> {
        self.blocks.iter().position(|block| block.kind == kind)
    }

    pub(super) fn read_ints(&self, kind: Kind) -> Result<Vec<i64>, ColumnError> {
        let index = self.block(kind).ok_or(ColumnError("a column is missing"))?;
        self.with_block(&self.blocks[index], |data| decode_ints(&mut Reader::new(data), self.rows))
    }

    /// The same, all between what the head tells, on which searches rely; kept in memory if they
    /// take at most `keep` bytes.
    pub(super) fn read_shared_ints(
        &self,
        kind: Kind,
        (least, greatest): (i64, i64),
        keep: usize,
    ) -> Result<Arc<Vec<i64>>, ColumnError> {
        let index = self.block(kind).ok_or(ColumnError("a column is missing"))?;
        if let Some(Kept::Integers(ints)) = COLUMNS.get(self.cached.number, index) {
            return Ok(ints);
        }
        let ints = Arc::new(self.read_ints(kind)?);
        if ints.iter().any(|n| *n < least || *n > greatest) {
            return Err(ColumnError("integers beyond what the head tells"));
        }
        COLUMNS.put(self.cached.number, index, &Kept::Integers(Arc::clone(&ints)), keep);
        Ok(ints)
    }

    /// A column that every granule may have; it is kept in memory if it takes at most `keep` bytes.
    pub(super) fn read_column(&self, kind: Kind, keep: usize) -> Result<Arc<Stored>, ColumnError> {
        match self.block(kind) {
            Some(index) => self.read_cached(index, keep),
            None => Ok(Arc::default()),
        }
    }

    /// The column of the n-th attribute.
    pub(super) fn read_attribute(
        &self,
        index: usize,
        keep: usize,
    ) -> Result<Arc<Stored>, ColumnError> {
        self.read_cached(self.attributes[index].block, keep)
    }

    fn read_cached(&self, index: usize, keep: usize) -> Result<Arc<Stored>, ColumnError> {
        if let Some(Kept::Column(column)) = COLUMNS.get(self.cached.number, index) {
            return Ok(column);
        }
        let column = self.with_block(&self.blocks[index], |data| {
            Stored::decode(&mut Reader::new(data), self.rows)
        })?;
        let column = Arc::new(column);
        COLUMNS.put(self.cached.number, index, &Kept::Column(Arc::clone(&column)), keep);
        Ok(column)
    }

    /// By value of the bodies' column: a list for each hole, with an entry for each row. Those that
    /// are not wanted may have no lists. What is read is kept if it takes at most `keep` bytes.
    pub(super) fn read_variables(
        &self,
        column: &Stored,
        wanted: &[bool],
        keep: usize,
    ) -> Result<Arc<Vec<Vec<Strings>>>, ColumnError> {
        let Some(index) = self.block(Kind::Variables) else {
            return Ok(Arc::new(decode_variables(&[], column, wanted)?));
        };
        let (number, of_all) = (self.cached.number, self.blocks.len());
        if let Some(Kept::Variables(variables)) = COLUMNS.get(number, of_all) {
            return Ok(variables);
        }
        if 4 * wanted.iter().filter(|wanted| **wanted).count() > wanted.len()
            && self.blocks[index].size_bytes <= keep
        {
            let all = vec![true; wanted.len()];
            let decode = |data: &[u8]| decode_variables(data, column, &all);
            let variables = Arc::new(self.with_block(&self.blocks[index], decode)?);
            COLUMNS.put(number, of_all, &Kept::Variables(Arc::clone(&variables)), keep);
            return Ok(variables);
        }
        let decode = |data: &[u8]| decode_variables(data, column, wanted).map(Arc::new);
        self.with_kept_block(index, keep, decode)
    }

    /// Calls `work` with a block's bytes, which are kept if they are at most `keep`.
    fn with_kept_block<T>(
        &self,
        index: usize,
        keep: usize,
        work: impl FnOnce(&[u8]) -> Result<T, ColumnError>,
    ) -> Result<T, ColumnError> {
        let (number, block) = (self.cached.number, &self.blocks[index]);
        if let Some(Kept::Bytes(data)) = COLUMNS.get(number, index) {
            return work(&data);
        }
        if block.size_bytes > keep {
            return self.with_block(block, work);
        }
        let data = Arc::new(self.with_block(block, |data| Ok(data.to_vec()))?);
        COLUMNS.put(number, index, &Kept::Bytes(Arc::clone(&data)), keep);
        work(&data)
    }

    /// Checks the head, which may have been damaged since it was read, and every block.
    ///
    /// # Errors
    /// The first damage.
    pub fn verify(&self) -> Result<(), Corrupt> {
        Self::parse(self.bytes()).map_err(|e| self.corrupt(&e))?;
        for block in &self.blocks {
            self.with_block(block, |_| Ok(())).map_err(|e| self.corrupt(&e))?;
        }
        Ok(())
    }
}

fn decode_variables(
    data: &[u8],
    column: &Stored,
    wanted: &[bool],
) -> Result<Vec<Vec<Strings>>, ColumnError> {
    let values = column.values();
    let mut input = Reader::new(data);
    let mut variables = Vec::with_capacity(values.len());
    for (id, wanted) in wanted.iter().enumerate() {
        let holes = if values.tag(id) == TEMPLATE {
            memchr::memchr2_iter(NUMBER, MIXED, values.bytes(id)).count()
        } else {
            0
        };
        if !wanted {
            (0..holes).try_for_each(|_| Strings::skip(&mut input, column.count_of(id)))?;
            variables.push(Vec::new());
            continue;
        }
        let columns = (0..holes).map(|_| Strings::decode(&mut input, column.count_of(id)));
        variables.push(columns.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(variables)
}

fn corrupt(store: &Store, detail: &str) -> Corrupt {
    let path = match store {
        Store::Memory(_) => "memory".to_owned(),
        Store::File { path, .. } => path.display().to_string(),
    };
    Corrupt { path, detail: detail.to_owned() }
}

/// Puts the variables of one body into its template.
pub fn fill(template: &[u8], variables: &[Strings], ordinal: usize, out: &mut Vec<u8>) {
    out.clear();
    let mut copied = 0;
    for (hole, column) in memchr::memchr2_iter(NUMBER, MIXED, template).zip(variables) {
        out.extend_from_slice(&template[copied..hole]);
        out.extend_from_slice(column.get(ordinal));
        copied = hole + 1;
    }
    out.extend_from_slice(&template[copied..]);
}

/// A builder with the rows of granules, in sequence.
///
/// # Errors
/// A granule is damaged.
pub fn rebuild(granules: &[Arc<Granule>]) -> Result<Builder, Corrupt> {
    let mut builder = Builder::default();
    for granule in granules {
        append_rows(&mut builder, &View::new(Arc::clone(granule)), 0..granule.rows)?;
    }
    Ok(builder)
}

/// Puts some rows of a granule, in sequence, behind those of a builder.
///
/// # Errors
/// The granule is damaged.
pub fn append_rows(
    builder: &mut Builder,
    view: &View,
    of: impl Iterator<Item = usize>,
) -> Result<(), Corrupt> {
    let mut buffer = Vec::new();
    let columns = [Kind::Severity, Kind::SeverityText, Kind::Resource, Kind::TraceId]
        .map(|kind| view.column(kind));
    let [severity, text, resource, trace_id] = columns;
    let (severity, text, resource, trace_id) = (severity?, text?, resource?, trace_id?);
    let (span_id, rest) = (view.column(Kind::SpanId)?, view.column(Kind::Rest)?);
    let details = view.column(Kind::Details)?;
    let (times, rows, observed) = (view.times()?, view.rows()?, view.observed()?);
    for row in of {
        let severity = match severity.get(row) {
            Some(Value::Text([number])) => *number,
            _ => 0,
        };
        let at = builder.start_row(times[row], observed[row], rows[row], severity);
        if let Some(Value::Text(text)) = text.get(row) {
            builder.push_severity_text(at, text);
        }
        if let Some(Value::Map(entries)) = resource.get(row) {
            builder.push_resource(at, entries);
        }
        if let Some(Value::Map(entries)) = details.get(row) {
            builder.push_details(at, entries);
        }
        for (ids, of_span) in [(trace_id, false), (span_id, true)] {
            if let Some(Value::Bytes(id)) = ids.get(row) {
                builder.push_id(at, id, of_span);
            }
        }
        builder.push_body(at, view.body(row, &mut buffer)?);
        let mut over = Vec::new();
        for (index, info) in view.granule.attributes.iter().enumerate() {
            if let Some(value) = view.attribute(index)?.get(row) {
                builder.push_attribute(at, info.key.as_bytes(), value, &mut over);
            }
        }
        if let Some(Value::Map(entries)) = rest.get(row) {
            for (key, value) in super::value::map(entries) {
                builder.push_attribute(at, key, value, &mut over);
            }
        }
        builder.push_rest(at, &over);
    }
    Ok(())
}
