//! Granules: some thousand spans, trace by trace, as compressed columns.
//! Format: docs/format/span-segment.md.

use super::builder::{Attribute, Builder, PARTS, Part};
use super::chunk::{Chunk, Many, Named, resource_attributes, service_of};
use super::index::hash_id;
use super::otlp::{ERROR, NO_SPAN, SpanId, TraceId};
use crate::columns::cache::{ColumnCache, Kept, LARGE_BYTES, next_granule};
use crate::columns::column::{Column, ColumnError, decode_ints, encode_ints};
use crate::columns::fuse;
use crate::columns::stored::Stored;
use crate::columns::value::{Value, map};
use crate::wire::varint::{Reader, put_uvarint, unzigzag, zigzag};
use hashbrown::{HashMap, HashSet};
use memmap2::Mmap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const MAX_BLOCK_BYTES: usize = 1 << 30;
const MAX_ROWS: usize = 1 << 24;

/// Columns that searches have read lately.
pub static COLUMNS: LazyLock<ColumnCache> = LazyLock::new(|| ColumnCache::new(64 << 20));

/// What a block holds; below [`TRACE_IDS`] a [`Part`].
const TRACE_IDS: u8 = 16;
const TRACE_SPANS: u8 = 17;
const TRACE_STARTS: u8 = 18;
const SPAN_IDS: u8 = 19;
const STARTS: u8 = 20;
const DURATIONS: u8 = 21;
const PARENTS: u8 = 22;
const OTHER_PARENTS: u8 = 23;
const EVENT_COUNTS: u8 = 24;
const EVENT_TIMES: u8 = 25;
const EVENTS: u8 = 26;
const LINK_COUNTS: u8 = 27;
const LINK_IDS: u8 = 28;
const LINKS: u8 = 29;
const ATTRIBUTE: u8 = 32;

#[derive(Debug, Clone)]
struct Block {
    kind: u8,
    offset: usize,
    stored_bytes: usize,
    size_bytes: usize,
    checksum: u32,
}

/// Stored bytes are not a granule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {detail}")]
pub struct Corrupt {
    pub path: String,
    pub detail: String,
}

/// What is known of a granule without reading it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub rows: usize,
    pub traces: usize,
    pub min_ns: i64,
    pub max_ns: i64,
    pub max_duration_ns: i64,
    pub max_trace_duration_ns: i64,
    pub max_trace_spans: usize,
    pub errors: usize,
    pub last_row: i64,
}

/// A granule as it will be written.
pub struct Encoded {
    pub head: Vec<u8>,
    pub filter: Vec<u8>,
    pub data: Vec<u8>,
    /// The hashes of its traces.
    pub traces: Vec<u64>,
}

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
        kind: u8,
        name: Option<&str>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> std::io::Result<()> {
        self.scratch.clear();
        fill(&mut self.scratch);
        let packed = self.compressor.compress(&self.scratch)?;
        // What does not become smaller stays as it is.
        let stored = if packed.len() < self.scratch.len() { &packed } else { &self.scratch };
        self.directory.push(kind);
        if let Some(key) = name {
            put_uvarint(&mut self.directory, key.len() as u64);
            self.directory.extend_from_slice(key.as_bytes());
        }
        put_uvarint(&mut self.directory, stored.len() as u64);
        put_uvarint(&mut self.directory, self.scratch.len() as u64);
        self.directory.extend_from_slice(&crc32c::crc32c(stored).to_le_bytes());
        self.data.extend_from_slice(stored);
        self.count += 1;
        Ok(())
    }

    fn column(&mut self, kind: u8, column: &Column, rows: usize) -> std::io::Result<()> {
        if column.values().len() == 0 {
            return Ok(());
        }
        self.block(kind, None, |out| column.encode(rows, out))
    }

    fn ints(&mut self, kind: u8, ints: &[i64]) -> std::io::Result<()> {
        self.block(kind, None, |out| encode_ints(ints, out))
    }
}

/// The hash of an attribute's value, or of another field's, for filters.
#[must_use]
pub fn hash_value(field: &[u8], value: Value<'_>) -> Option<u64> {
    let seed = xxh3_64(field);
    Some(match value {
        Value::Text(text) => xxh3_64_with_seed(text, seed),
        // Equal numbers have one hash, whatever they are.
        Value::Int(n) => hash_number(n as f64, seed),
        Value::Double(n) => hash_number(n, seed),
        Value::Bool(b) => xxh3_64_with_seed(&[u8::from(b)], seed ^ 2),
        _ => return None,
    })
}

fn hash_number(n: f64, seed: u64) -> u64 {
    // 0 is -0.
    let bits = if n == 0.0 { 0 } else { n.to_bits() };
    xxh3_64_with_seed(&bits.to_le_bytes(), seed ^ 1)
}

/// The names by which filters know these fields; no attribute is called so.
pub const NAME: &[u8] = b"\0name";
pub const SERVICE: &[u8] = b"\0service";

fn filter_of(builder: &Builder) -> Vec<u8> {
    let mut hashes: HashSet<u64> = HashSet::new();
    let mut add = |field: &[u8], value: Value<'_>| match value {
        Value::List(_) => value.each_leaf(&mut |leaf| hashes.extend(hash_value(field, leaf))),
        _ => hashes.extend(hash_value(field, value)),
    };
    let names = builder.columns[Part::Name as usize].values();
    (0..names.len()).for_each(|id| add(NAME, names.get(id)));
    let resources = builder.columns[Part::Resource as usize].values();
    for id in 0..resources.len() {
        let message = resources.bytes(id);
        add(SERVICE, Value::Text(service_of(message)));
        resource_attributes(message).for_each(|(key, value)| add(key, value));
    }
    for Attribute { key, column, .. } in &builder.attributes {
        let values = column.values();
        (0..values.len()).for_each(|id| add(key.as_bytes(), values.get(id)));
    }
    let rests = builder.columns[Part::Rest as usize].values();
    for id in 0..rests.len() {
        map(rests.bytes(id)).for_each(|(key, value)| add(key, value));
    }
    let hashes: Vec<u64> = hashes.into_iter().collect();
    fuse::build(&hashes).unwrap_or_default()
}

/// Encodes a builder's rows, at least one, trace by trace.
///
/// # Errors
/// The compressor fails, which only a lack of memory makes it do.
pub fn encode(builder: &Builder, last_row: i64, level: i32) -> std::io::Result<Encoded> {
    let rows = builder.len();
    let mut w = BlockWriter {
        compressor: zstd::bulk::Compressor::new(level)?,
        directory: Vec::new(),
        data: Vec::new(),
        scratch: Vec::new(),
        count: 0,
    };
    let mut head = Head { rows, last_row, ..Head::default() };
    let traces: Vec<Range<usize>> = trace_ranges(&builder.trace_ids);
    describe(builder, &traces, &mut head);
    let starts: Vec<i64> = traces.iter().map(|t| min_of(&builder.starts[t.clone()])).collect();
    w.block(TRACE_IDS, None, |out| {
        traces.iter().for_each(|t| out.extend_from_slice(&builder.trace_ids[t.start]));
    })?;
    w.ints(TRACE_SPANS, &traces.iter().map(|t| t.len() as i64).collect::<Vec<_>>())?;
    w.ints(TRACE_STARTS, &starts)?;
    w.block(SPAN_IDS, None, |out| out.extend_from_slice(builder.span_ids.as_flattened()))?;
    let of_trace = traces.iter().zip(&starts);
    let later = of_trace.flat_map(|(t, start)| t.clone().map(move |row| (row, start)));
    let later: Vec<i64> =
        later.map(|(row, start)| builder.starts[row].wrapping_sub(*start)).collect();
    w.ints(STARTS, &later)?;
    w.ints(DURATIONS, &builder.durations)?;
    let (parents, others) = parents_of(builder, &traces);
    w.ints(PARENTS, &parents)?;
    if !others.is_empty() {
        w.block(OTHER_PARENTS, None, |out| out.extend_from_slice(others.as_flattened()))?;
    }
    for part in PARTS {
        w.column(part as u8, &builder.columns[part as usize], rows)?;
    }
    if !builder.event_times.is_empty() {
        w.ints(EVENT_COUNTS, &counts(&builder.event_ends, rows))?;
        w.ints(EVENT_TIMES, &event_delays(builder))?;
        w.column(EVENTS, &builder.events, builder.event_times.len())?;
    }
    if !builder.link_ids.is_empty() {
        w.ints(LINK_COUNTS, &counts(&builder.link_ends, rows))?;
        w.block(LINK_IDS, None, |out| out.extend_from_slice(builder.link_ids.as_flattened()))?;
        w.column(LINKS, &builder.links, builder.link_ids.len())?;
    }
    for attribute in &builder.attributes {
        if attribute.column.values().len() > 0 {
            w.block(ATTRIBUTE, Some(&attribute.key), |out| attribute.column.encode(rows, out))?;
        }
    }
    let filter = filter_of(builder);
    Ok(Encoded {
        head: encode_head(&head, &w, &filter),
        filter,
        data: w.data,
        traces: traces.iter().map(|t| hash_id(&builder.trace_ids[t.start])).collect(),
    })
}

fn encode_head(head: &Head, w: &BlockWriter, filter: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for count in [head.rows, head.traces, head.max_trace_spans, head.errors] {
        put_uvarint(&mut out, count as u64);
    }
    let times =
        [head.min_ns, head.max_ns, head.max_duration_ns, head.max_trace_duration_ns, head.last_row];
    for number in times {
        put_uvarint(&mut out, zigzag(number));
    }
    put_uvarint(&mut out, filter.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(filter).to_le_bytes());
    put_uvarint(&mut out, w.count);
    out.extend_from_slice(&w.directory);
    out
}

fn min_of(numbers: &[i64]) -> i64 {
    numbers.iter().copied().min().unwrap_or(0)
}

fn max_of(numbers: impl Iterator<Item = i64>) -> i64 {
    numbers.max().unwrap_or(0)
}

fn describe(builder: &Builder, traces: &[Range<usize>], head: &mut Head) {
    let end = |row: usize| builder.starts[row].saturating_add(builder.durations[row]);
    head.traces = traces.len();
    head.min_ns = min_of(&builder.starts);
    head.max_ns = max_of(builder.starts.iter().copied());
    head.max_duration_ns = max_of(builder.durations.iter().copied());
    head.max_trace_duration_ns =
        max_of(traces.iter().map(|t| {
            max_of(t.clone().map(end)).saturating_sub(min_of(&builder.starts[t.clone()]))
        }));
    head.max_trace_spans = traces.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
    let statuses = &builder.columns[Part::Status as usize];
    let is_error =
        |row: &usize| statuses.id(*row).is_some_and(|id| statuses.values().bytes(id) == [ERROR]);
    head.errors = (0..head.rows).filter(is_error).count();
}

/// Where each trace is: rows of the same id in sequence.
#[must_use]
pub fn trace_ranges(ids: &[TraceId]) -> Vec<Range<usize>> {
    let mut start = 0;
    ids.chunk_by(|a, b| a == b)
        .map(|trace| {
            start += trace.len();
            start - trace.len()..start
        })
        .collect()
}

/// Of each row 0 without a parent, the parent's place in the trace and 1, or -1 where it is not
/// there; and the parents that are not there.
fn parents_of(builder: &Builder, traces: &[Range<usize>]) -> (Vec<i64>, Vec<SpanId>) {
    let (mut places, mut others) = (Vec::with_capacity(builder.len()), Vec::new());
    let mut known: HashMap<SpanId, i64> = HashMap::new();
    for trace in traces {
        let ids = &builder.span_ids[trace.clone()];
        let is_small = ids.len() <= 16;
        if !is_small {
            known.clear();
            ids.iter().zip(1..).for_each(|(id, place)| {
                known.entry(*id).or_insert(place);
            });
        }
        for parent in &builder.parent_ids[trace.clone()] {
            let place = if *parent == NO_SPAN {
                Some(0)
            } else if is_small {
                ids.iter().position(|id| id == parent).map(|place| place as i64 + 1)
            } else {
                known.get(parent).copied()
            };
            if place.is_none() {
                others.push(*parent);
            }
            places.push(place.unwrap_or(-1));
        }
    }
    (places, others)
}

fn counts(ends: &[u32], rows: usize) -> Vec<i64> {
    let mut before = 0;
    let mut counts: Vec<i64> =
        ends.iter().map(|end| i64::from(*end - std::mem::replace(&mut before, *end))).collect();
    counts.resize(rows, 0);
    counts
}

/// How much later than its span an event is.
fn event_delays(builder: &Builder) -> Vec<i64> {
    let mut start = 0;
    let mut delays = Vec::with_capacity(builder.event_times.len());
    for (row, end) in builder.event_ends.iter().enumerate() {
        for time in &builder.event_times[start..*end as usize] {
            delays.push(time.wrapping_sub(builder.starts[row]));
        }
        start = *end as usize;
    }
    delays
}

/// The traces of a granule, and where their rows end.
pub struct Traces {
    pub ids: Vec<TraceId>,
    pub ends: Vec<u32>,
    pub starts: Vec<i64>,
}

impl Traces {
    #[must_use]
    pub fn rows(&self, trace: usize) -> Range<usize> {
        let start = if trace == 0 { 0 } else { self.ends[trace - 1] };
        start as usize..self.ends[trace] as usize
    }
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
    map: Arc<Mmap>,
    path: Arc<PathBuf>,
    cached: Cached,
    pub head: Head,
    data: Range<usize>,
    filter: Range<usize>,
    filter_checksum: u32,
    filter_is_whole: OnceLock<bool>,
    blocks: Vec<Block>,
    attributes: Vec<(String, usize)>,
}

/// Where a granule's bytes are in its file.
pub struct Location {
    pub map: Arc<Mmap>,
    pub path: Arc<PathBuf>,
    pub data: Range<usize>,
    pub filter: Range<usize>,
}

impl Granule {
    /// Opens a granule by its head.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn open(head: &[u8], at: Location) -> Result<Self, Corrupt> {
        Self::parse(head, &at)
            .map_err(|e| Corrupt { path: at.path.display().to_string(), detail: e.0.to_owned() })
    }

    fn parse(bytes: &[u8], at: &Location) -> Result<Self, ColumnError> {
        let mut fields = Reader::new(bytes);
        let mut count = || fields.uvarint().map(|n| n as usize);
        let (rows, traces, max_trace_spans, errors) = (count()?, count()?, count()?, count()?);
        let mut number = || fields.uvarint().map(unzigzag);
        let head = Head {
            rows,
            traces,
            max_trace_spans,
            errors,
            min_ns: number()?,
            max_ns: number()?,
            max_duration_ns: number()?,
            max_trace_duration_ns: number()?,
            last_row: number()?,
        };
        if fields.uvarint()? as usize != at.filter.len() {
            return Err(ColumnError("a filter of another size"));
        }
        let filter_checksum = fields.u32_le()?;
        let block_count = fields.uvarint()?;
        let (mut blocks, mut attributes) = (Vec::new(), Vec::new());
        let mut offset = at.data.start;
        for _ in 0..block_count {
            let kind = fields.array::<1>()?[0];
            if kind == ATTRIBUTE {
                let length = fields.uvarint()? as usize;
                let key = String::from_utf8_lossy(fields.bytes(length)?).into_owned();
                attributes.push((key, blocks.len()));
            }
            let stored_bytes = fields.uvarint()? as usize;
            let size_bytes = fields.uvarint()? as usize;
            let checksum = fields.u32_le()?;
            blocks.push(Block { kind, offset, stored_bytes, size_bytes, checksum });
            offset = offset.checked_add(stored_bytes).ok_or(ColumnError("a block is too large"))?;
        }
        if offset != at.data.end || rows > MAX_ROWS || traces > rows {
            return Err(ColumnError("blocks do not fill the granule"));
        }
        Ok(Self {
            map: Arc::clone(&at.map),
            path: Arc::clone(&at.path),
            cached: Cached { number: next_granule(), blocks: blocks.len() },
            head,
            data: at.data.clone(),
            filter: at.filter.clone(),
            filter_checksum,
            filter_is_whole: OnceLock::new(),
            blocks,
            attributes,
        })
    }

    #[must_use]
    pub fn filter(&self) -> &[u8] {
        &self.map[self.filter.clone()]
    }

    /// Has the disk read it, before it is asked for bit by bit.
    fn prefetch(&self) {
        let length = self.data.len();
        // It is a hint: without it things only take longer.
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, self.data.start, length);
    }

    /// False only when the granule has no value with this hash.
    #[must_use]
    pub fn may_contain(&self, hash: u64) -> bool {
        // A damaged filter rules nothing out.
        let is_whole = *self
            .filter_is_whole
            .get_or_init(|| crc32c::crc32c(self.filter()) == self.filter_checksum);
        !is_whole || fuse::may_contain(self.filter(), hash)
    }

    #[must_use]
    pub fn corrupt(&self, error: &ColumnError) -> Corrupt {
        Corrupt { path: self.path.display().to_string(), detail: error.0.to_owned() }
    }

    fn read<T>(
        &self,
        block: &Block,
        work: impl FnOnce(&[u8]) -> Result<T, ColumnError>,
    ) -> Result<T, ColumnError> {
        let end = block.offset + block.stored_bytes;
        let stored = self.map.get(block.offset..end).ok_or(ColumnError("cut"))?;
        if crc32c::crc32c(stored) != block.checksum {
            return Err(ColumnError("bad checksum of a block"));
        }
        if block.stored_bytes == block.size_bytes {
            return work(stored);
        }
        if block.size_bytes > MAX_BLOCK_BYTES {
            return Err(ColumnError("a block is too large"));
        }
        crate::columns::unpack::unpack(stored, block.size_bytes, work)
    }

    fn place(&self, kind: u8) -> Option<usize> {
        self.blocks.iter().position(|block| block.kind == kind)
    }

    fn ints(&self, kind: u8, count: usize) -> Result<Vec<i64>, ColumnError> {
        let place = self.place(kind).ok_or(ColumnError("a column is missing"))?;
        self.read(&self.blocks[place], |data| decode_ints(&mut Reader::new(data), count))
    }

    fn arrays<const N: usize>(&self, kind: u8, count: usize) -> Result<Vec<[u8; N]>, ColumnError> {
        let place = self.place(kind).ok_or(ColumnError("a column is missing"))?;
        self.read(&self.blocks[place], |data| {
            let (arrays, rest) = data.as_chunks::<N>();
            if arrays.len() != count || !rest.is_empty() {
                return Err(ColumnError("wrong number of ids"));
            }
            Ok(arrays.to_vec())
        })
    }

    fn cached(&self, place: usize, rows: usize) -> Result<Arc<Stored>, ColumnError> {
        if let Some(Kept::Column(column)) = COLUMNS.get(self.cached.number, place) {
            return Ok(column);
        }
        let column =
            self.read(&self.blocks[place], |data| Stored::decode(&mut Reader::new(data), rows))?;
        let column = Arc::new(column);
        let kept = Kept::Column(Arc::clone(&column));
        COLUMNS.put(self.cached.number, place, &kept, LARGE_BYTES);
        Ok(column)
    }

    fn column_of(&self, kind: u8, rows: usize) -> Result<Arc<Stored>, ColumnError> {
        self.place(kind).map_or_else(|| Ok(Arc::default()), |place| self.cached(place, rows))
    }

    fn wrap<T>(&self, read: Result<T, ColumnError>) -> Result<T, Corrupt> {
        read.map_err(|e| self.corrupt(&e))
    }

    /// # Errors
    /// The column is damaged; so in what follows.
    pub fn column(&self, part: Part) -> Result<Arc<Stored>, Corrupt> {
        self.wrap(self.column_of(part as u8, self.head.rows))
    }

    pub fn attribute(&self, key: &str) -> Result<Option<Arc<Stored>>, Corrupt> {
        let place = self.attributes.iter().find(|(own, _)| own == key).map(|(_, place)| *place);
        let column = place.map(|place| self.cached(place, self.head.rows));
        self.wrap(column.transpose())
    }

    /// The keys of its attributes' columns.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(key, _)| key.as_str())
    }

    pub fn traces(&self) -> Result<Traces, Corrupt> {
        self.wrap(self.read_traces())
    }

    fn read_traces(&self) -> Result<Traces, ColumnError> {
        let count = self.head.traces;
        let (spans, starts) = (self.ints(TRACE_SPANS, count)?, self.ints(TRACE_STARTS, count)?);
        let mut end = 0_usize;
        let mut ends = Vec::with_capacity(count);
        for spans in spans {
            let spans = usize::try_from(spans).map_err(|_| ColumnError("a negative count"))?;
            end = end.checked_add(spans).ok_or(ColumnError("too many spans"))?;
            ends.push(end as u32);
        }
        if end != self.head.rows {
            return Err(ColumnError("traces do not fill the granule"));
        }
        Ok(Traces { ids: self.arrays(TRACE_IDS, count)?, ends, starts })
    }

    /// The start of each row.
    pub fn starts(&self, traces: &Traces) -> Result<Vec<i64>, Corrupt> {
        let mut starts = self.wrap(self.ints(STARTS, self.head.rows))?;
        for (trace, start) in traces.starts.iter().enumerate() {
            starts[traces.rows(trace)].iter_mut().for_each(|s| *s = s.wrapping_add(*start));
        }
        Ok(starts)
    }

    pub fn durations(&self) -> Result<Vec<i64>, Corrupt> {
        self.wrap(self.ints(DURATIONS, self.head.rows))
    }

    pub fn span_ids(&self) -> Result<Vec<SpanId>, Corrupt> {
        self.wrap(self.arrays(SPAN_IDS, self.head.rows))
    }

    pub fn parent_ids(&self, traces: &Traces, ids: &[SpanId]) -> Result<Vec<SpanId>, Corrupt> {
        self.wrap(self.read_parents(traces, ids))
    }

    fn read_parents(&self, traces: &Traces, ids: &[SpanId]) -> Result<Vec<SpanId>, ColumnError> {
        let places = self.ints(PARENTS, self.head.rows)?;
        let count = places.iter().filter(|place| **place < 0).count();
        let others = if count > 0 { self.arrays(OTHER_PARENTS, count)? } else { Vec::new() };
        let mut others = others.into_iter();
        let mut parents = Vec::with_capacity(places.len());
        for trace in 0..traces.ids.len() {
            let rows = traces.rows(trace);
            let own = &ids[rows.clone()];
            for place in &places[rows] {
                parents.push(match usize::try_from(*place) {
                    Ok(0) => NO_SPAN,
                    Ok(place) => *own.get(place - 1).ok_or(ColumnError("a parent is missing"))?,
                    Err(_) => others.next().ok_or(ColumnError("a parent is missing"))?,
                });
            }
        }
        Ok(parents)
    }

    fn many(&self, counts: u8, column: u8) -> Result<(Many, usize), ColumnError> {
        if self.place(counts).is_none() {
            return Ok((Many::default(), 0));
        }
        let mut end = 0_u32;
        let mut ends = Vec::with_capacity(self.head.rows);
        for count in self.ints(counts, self.head.rows)? {
            let count = u32::try_from(count).map_err(|_| ColumnError("a negative count"))?;
            end = end.checked_add(count).ok_or(ColumnError("too many events"))?;
            ends.push(end);
        }
        let column = self.column_of(column, end as usize)?;
        Ok((Many { ends: Arc::new(ends), column }, end as usize))
    }

    pub fn events(&self) -> Result<Many, Corrupt> {
        Ok(self.wrap(self.many(EVENT_COUNTS, EVENTS))?.0)
    }

    pub fn links(&self) -> Result<(Many, Vec<[u8; 24]>), Corrupt> {
        self.wrap(self.many(LINK_COUNTS, LINKS).and_then(|(many, count)| {
            let ids = if count > 0 { self.arrays(LINK_IDS, count)? } else { Vec::new() };
            Ok((many, ids))
        }))
    }

    /// Everything.
    pub fn load(&self) -> Result<Chunk, Corrupt> {
        self.prefetch();
        let traces = self.traces()?;
        let starts = self.starts(&traces)?;
        let span_ids = self.span_ids()?;
        let parent_ids = self.parent_ids(&traces, &span_ids)?;
        let events = self.events()?;
        let mut event_times = match events.ends.last() {
            Some(count) => self.wrap(self.ints(EVENT_TIMES, *count as usize))?,
            None => Vec::new(),
        };
        for (row, start) in starts.iter().enumerate() {
            let own = &mut event_times[events.of_row(row)];
            own.iter_mut().for_each(|time| *time = time.wrapping_add(*start));
        }
        let (links, link_ids) = self.links()?;
        let mut columns: [Arc<Stored>; PARTS.len()] = Default::default();
        for part in PARTS {
            columns[part as usize] = self.column(part)?;
        }
        let mut attributes = Vec::with_capacity(self.attributes.len());
        for (key, place) in &self.attributes {
            let column = self.wrap(self.cached(*place, self.head.rows))?;
            attributes.push(Named { key: key.clone(), column });
        }
        Ok(Chunk {
            trace_ids: Arc::new(row_ids(&traces, self.head.rows)),
            span_ids: Arc::new(span_ids),
            parent_ids: Arc::new(parent_ids),
            starts: Arc::new(starts),
            durations: Arc::new(self.durations()?),
            columns,
            attributes,
            event_times,
            events,
            link_ids: Arc::new(link_ids),
            links,
        })
    }

    /// Checks every block.
    ///
    /// # Errors
    /// The first damage.
    pub fn verify(&self) -> Result<(), Corrupt> {
        for block in &self.blocks {
            self.wrap(self.read(block, |_| Ok(())))?;
        }
        if crc32c::crc32c(self.filter()) != self.filter_checksum {
            return Err(self.corrupt(&ColumnError("bad checksum of a filter")));
        }
        Ok(())
    }
}

/// The trace of each row.
#[must_use]
pub fn row_ids(traces: &Traces, rows: usize) -> Vec<TraceId> {
    let mut ids = Vec::with_capacity(rows);
    for (id, end) in traces.ids.iter().zip(&traces.ends) {
        ids.resize(*end as usize, *id);
    }
    ids
}
