//! The newest spans: chunks in order of arrival, and each trace's rows.

use super::builder::{Builder, LastGroup};
use super::chunk::Chunk;
use super::otlp::{Batch, Span, SpanId, TraceId};
use crate::columns::bits::Bits;
use hashbrown::{HashMap, HashTable};
use parking_lot::Mutex;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A chunk of more than this is full, however few rows it has.
const FULL_BYTES: usize = 16 << 20;

/// What a span takes in a memtable beside its request's share: its places in maps.
const ROW_BYTES: usize = 80;

const NO_ROW: u32 = u32::MAX;

/// What is known of a trace here.
#[derive(Debug, Clone, Copy)]
pub struct TraceEntry {
    /// The others follow in `Inner::before`.
    last_row: u32,
    pub start_ns: i64,
    pub end_ns: i64,
}

/// A row by what makes it the same span as another one.
struct Seen {
    tag: u32,
    row: u32,
}

#[derive(Default)]
struct Inner {
    chunks: Vec<Arc<Chunk>>,
    /// The first row of each chunk and of the builder.
    firsts: Vec<u32>,
    /// Rows of each chunk, and of the builder, that a later one replaces.
    replaced: Vec<Option<Arc<Bits>>>,
    builder: Builder,
    builder_bytes: usize,
    /// The builder's rows for searches, until more come.
    snapshot: Option<Arc<Chunk>>,
    traces: HashMap<TraceId, TraceEntry>,
    before: Vec<u32>,
    seen: HashTable<Seen>,
    /// The first row of each batch, and its number in the engine.
    numbers: Vec<(u32, i64)>,
    /// Replaced rows of the builder, while it is open.
    open_replaced: Vec<u32>,
    sealed_bytes: usize,
    range: Option<(i64, i64)>,
}

/// A chunk for a search: its rows, but those that later ones replace.
#[derive(Clone)]
pub struct Live {
    pub chunk: Arc<Chunk>,
    pub replaced: Option<Arc<Bits>>,
}

pub struct Memtable {
    inner: Mutex<Inner>,
    /// Held for a moment alone: who asks must not wait for chunks that are being made.
    stats: Mutex<MemtableStats>,
    granule_rows: usize,
}

/// A memtable in numbers.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemtableStats {
    pub spans: u64,
    pub traces: u64,
    pub size_bytes: usize,
    pub range: Option<(i64, i64)>,
    pub last_row: i64,
}

fn identity(trace_id: &TraceId, span_id: &SpanId, kind: u8) -> u64 {
    let mut key = [0; 25];
    key[..16].copy_from_slice(trace_id);
    key[16..24].copy_from_slice(span_id);
    key[24] = kind;
    xxh3_64(&key)
}

/// Spreads a tag, which is half of a hash.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Inner {
    fn rows(&self) -> u32 {
        self.before.len() as u32
    }

    /// The first row of the builder.
    fn open_first(&self) -> u32 {
        self.rows() - self.builder.len() as u32
    }

    /// A row's chunk, which is the number of all chunks for the builder, and its place there.
    fn locate(&self, row: u32) -> (usize, usize) {
        let open = self.open_first();
        if row >= open {
            return (self.chunks.len(), (row - open) as usize);
        }
        let chunk = self.firsts.partition_point(|first| *first <= row) - 1;
        (chunk, (row - self.firsts[chunk]) as usize)
    }

    fn is_same(&self, row: u32, span: &Span) -> bool {
        use super::builder::Part;
        let (chunk, at) = self.locate(row);
        if let Some(chunk) = self.chunks.get(chunk) {
            return chunk.trace_ids[at] == span.trace_id
                && chunk.span_ids[at] == span.span_id
                && chunk.number(Part::Kind, at) == span.kind;
        }
        let kinds = &self.builder.columns[Part::Kind as usize];
        let kind = kinds.id(at).and_then(|id| kinds.values().bytes(id).first().copied());
        self.builder.trace_ids[at] == span.trace_id
            && self.builder.span_ids[at] == span.span_id
            && kind.unwrap_or(0) == span.kind
    }

    /// Notes a row; of the same span the one before is replaced.
    fn note(&mut self, row: u32, span: &Span) {
        let tag = (identity(&span.trace_id, &span.span_id, span.kind) >> 32) as u32;
        let found = self
            .seen
            .find(spread(tag), |seen| seen.tag == tag && self.is_same(seen.row, span))
            .map(|seen| seen.row);
        match found {
            Some(old) => {
                self.replace(old);
                let same = |seen: &Seen| seen.tag == tag && seen.row == old;
                if let Some(seen) = self.seen.find_mut(spread(tag), same) {
                    seen.row = row;
                }
            }
            None => {
                self.seen.insert_unique(spread(tag), Seen { tag, row }, |seen| spread(seen.tag));
            }
        }
    }

    fn replace(&mut self, row: u32) {
        let (chunk, at) = self.locate(row);
        match self.chunks.get(chunk) {
            Some(sealed) => {
                let rows = sealed.rows();
                let bits = self.replaced[chunk].get_or_insert_with(|| Arc::new(Bits::none(rows)));
                Arc::make_mut(bits).set(at);
            }
            None => self.open_replaced.push(at as u32),
        }
    }

    fn append(&mut self, body: &[u8], batch: &Batch, first_row: i64, granule_rows: usize) {
        let mut last = LastGroup::default();
        self.numbers.push((self.rows(), first_row));
        for span in &batch.spans {
            let row = self.rows();
            self.note(row, span);
            let end_ns = span.start_ns.saturating_add(span.duration_ns);
            let new = TraceEntry { last_row: NO_ROW, start_ns: span.start_ns, end_ns };
            let entry = self.traces.entry(span.trace_id).or_insert(new);
            self.before.push(std::mem::replace(&mut entry.last_row, row));
            entry.start_ns = entry.start_ns.min(span.start_ns);
            entry.end_ns = entry.end_ns.max(end_ns);
            self.builder.push(body, batch, span, &mut last);
            self.builder_bytes += span.size_bytes as usize + ROW_BYTES;
            let (low, high) = self.range.unwrap_or((span.start_ns, span.start_ns));
            self.range = Some((low.min(span.start_ns), high.max(span.start_ns)));
            if self.builder.len() >= granule_rows || self.builder_bytes > FULL_BYTES {
                self.seal();
                last = LastGroup::default();
            }
        }
        self.snapshot = None;
    }

    fn seal(&mut self) {
        self.firsts.push(self.open_first());
        let chunk = Chunk::of(&std::mem::take(&mut self.builder));
        self.replaced.push(self.open_bits(chunk.rows()));
        self.open_replaced.clear();
        self.sealed_bytes += chunk.size_bytes() + ROW_BYTES * chunk.rows();
        self.builder_bytes = 0;
        self.chunks.push(Arc::new(chunk));
    }

    fn open_bits(&self, rows: usize) -> Option<Arc<Bits>> {
        if self.open_replaced.is_empty() {
            return None;
        }
        let mut bits = Bits::none(rows);
        self.open_replaced.iter().for_each(|at| bits.set(*at as usize));
        Some(Arc::new(bits))
    }

    /// All chunks, the last one of what is in the builder.
    fn live(&mut self) -> Vec<Live> {
        let sealed = self.chunks.iter().zip(&self.replaced);
        let mut all: Vec<Live> = sealed
            .map(|(chunk, replaced)| Live { chunk: Arc::clone(chunk), replaced: replaced.clone() })
            .collect();
        if !self.builder.is_empty() {
            let builder = &self.builder;
            let chunk = self.snapshot.get_or_insert_with(|| Arc::new(Chunk::of(builder)));
            let chunk = Arc::clone(chunk);
            let replaced = self.open_bits(chunk.rows());
            all.push(Live { chunk, replaced });
        }
        all
    }

    /// A trace's rows in order of arrival, without those that are replaced: places in `live`, and
    /// rows there.
    fn rows_of(&self, entry: &TraceEntry) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        let mut row = entry.last_row;
        while row != NO_ROW {
            let (chunk, at) = self.locate(row);
            let is_replaced = match self.replaced.get(chunk) {
                Some(bits) => bits.as_ref().is_some_and(|bits| bits.has(at)),
                None => self.open_replaced.contains(&(at as u32)),
            };
            if !is_replaced {
                found.push((chunk as u32, at as u32));
            }
            row = self.before[row as usize];
        }
        found.reverse();
        found
    }

    fn stats(&self) -> MemtableStats {
        MemtableStats {
            spans: u64::from(self.rows()),
            traces: self.traces.len() as u64,
            size_bytes: self.sealed_bytes + self.builder_bytes + 64 * self.traces.len(),
            range: self.range,
            last_row: self.numbers.last().map_or(-1, |(first, number)| {
                number + i64::from(self.rows()) - i64::from(*first) - 1
            }),
        }
    }
}

/// A trace of a memtable with its rows: places in [`Snapshot::chunks`], and rows there.
pub struct TraceRows {
    pub id: TraceId,
    pub start_ns: i64,
    pub rows: Vec<(u32, u32)>,
}

/// Everything of a memtable at one moment.
pub struct Snapshot {
    pub chunks: Vec<Live>,
    pub traces: Vec<TraceRows>,
    pub last_row: i64,
}

impl Memtable {
    #[must_use]
    pub fn new(granule_rows: usize) -> Self {
        Self { inner: Mutex::default(), stats: Mutex::default(), granule_rows }
    }

    /// Appends the spans of a batch, numbered from `first_row`.
    pub fn append(&self, body: &[u8], batch: &Batch, first_row: i64) {
        let mut inner = self.inner.lock();
        inner.append(body, batch, first_row, self.granule_rows);
        *self.stats.lock() = inner.stats();
    }

    /// Every chunk.
    #[must_use]
    pub fn live(&self) -> Vec<Live> {
        self.inner.lock().live()
    }

    /// What is known of a trace.
    #[must_use]
    pub fn entry(&self, id: &TraceId) -> Option<TraceEntry> {
        self.inner.lock().traces.get(id).copied()
    }

    /// The ids of all traces.
    #[must_use]
    pub fn trace_ids(&self) -> Vec<TraceId> {
        self.inner.lock().traces.keys().copied().collect()
    }

    /// A trace's rows in order of arrival, without those that are replaced.
    #[must_use]
    pub fn trace(&self, id: &TraceId) -> Vec<(Arc<Chunk>, u32)> {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.traces.get(id).copied() else { return Vec::new() };
        let rows = inner.rows_of(&entry);
        let sealed = inner.chunks.len() as u32;
        if rows.iter().any(|(chunk, _)| *chunk >= sealed) {
            let live = inner.live();
            return rows.iter().map(|(c, r)| (Arc::clone(&live[*c as usize].chunk), *r)).collect();
        }
        rows.iter().map(|(c, r)| (Arc::clone(&inner.chunks[*c as usize]), *r)).collect()
    }

    /// Everything, trace by trace.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut inner = self.inner.lock();
        let chunks = inner.live();
        let of = |(id, entry): (&TraceId, &TraceEntry)| TraceRows {
            id: *id,
            start_ns: entry.start_ns,
            rows: inner.rows_of(entry),
        };
        let traces = inner.traces.iter().map(of).collect();
        Snapshot { chunks, traces, last_row: inner.stats().last_row }
    }

    /// The rows behind a number, of every chunk: the chunk, its first such row, and its number.
    ///
    /// The numbers of a chunk's rows follow each other, but at the places that are told besides.
    #[must_use]
    pub fn arrived(&self, after_row: i64) -> Vec<(Arc<Chunk>, Vec<i64>)> {
        let mut inner = self.inner.lock();
        let chunks = inner.live();
        let mut first = 0_u32;
        let mut found = Vec::new();
        for live in chunks {
            let rows = live.chunk.rows() as u32;
            let at = inner.numbers.partition_point(|(of, _)| *of <= first).saturating_sub(1);
            let mut batches = inner.numbers[at..].iter().peekable();
            let mut numbers = Vec::with_capacity(rows as usize);
            let mut batch = batches.next();
            for row in first..first + rows {
                while batches.peek().is_some_and(|(of, _)| *of <= row) {
                    batch = batches.next();
                }
                numbers.push(batch.map_or(-1, |(of, number)| number + i64::from(row - of)));
            }
            first += rows;
            if numbers.last().is_some_and(|last| *last > after_row) {
                found.push((live.chunk, numbers));
            }
        }
        found
    }

    #[must_use]
    pub fn stats(&self) -> MemtableStats {
        *self.stats.lock()
    }
}
