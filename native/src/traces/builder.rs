//! Spans on their way into columns: in order of arrival in a memtable, trace by trace in a segment.

use super::chunk::Chunk;
use super::otlp::{Batch, Link, Span, SpanId, TraceId, put_fixed32};
use super::place::Place;
use crate::columns::column::Column;
use crate::columns::value::{Value, map};
use crate::wire::protobuf::{put_bytes, put_varint};
use hashbrown::HashMap;

/// What every span may have, beside its ids, times and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    Name = 0,
    /// One byte; none is 0.
    Kind = 1,
    /// One byte; none is 0.
    Status = 2,
    StatusMessage = 3,
    /// A `ResourceSpans` without spans.
    Resource = 4,
    /// A `ScopeSpans` without spans.
    Scope = 5,
    TraceState = 6,
    /// A `Span` with flags and dropped counts alone.
    Extra = 7,
    /// Attributes that have no column, as a `KeyValueList`.
    Rest = 8,
}

pub const PARTS: [Part; 9] = [
    Part::Name,
    Part::Kind,
    Part::Status,
    Part::StatusMessage,
    Part::Resource,
    Part::Scope,
    Part::TraceState,
    Part::Extra,
    Part::Rest,
];

/// Attributes with a column of their own; further keys share one.
pub const MAX_ATTRIBUTES: usize = 128;

/// No attribute.
const NONE: usize = usize::MAX;

const TEXT: u8 = 1;
const BYTES: u8 = 5;
const MAP: u8 = 7;

pub struct Attribute {
    pub key: String,
    pub column: Column,
    /// The attribute that followed this one in the last span with both.
    next: usize,
}

/// Rows that are being gathered.
#[derive(Default)]
pub struct Builder {
    pub trace_ids: Vec<TraceId>,
    pub span_ids: Vec<SpanId>,
    pub parent_ids: Vec<SpanId>,
    pub starts: Vec<i64>,
    pub durations: Vec<i64>,
    pub columns: [Column; PARTS.len()],
    pub attributes: Vec<Attribute>,
    keys: HashMap<Box<[u8]>, usize>,
    first_key: usize,
    /// Where a row's events end, of rows up to the last one with some.
    pub event_ends: Vec<u32>,
    pub event_times: Vec<i64>,
    pub events: Column,
    pub link_ends: Vec<u32>,
    pub link_ids: Vec<[u8; 24]>,
    pub links: Column,
}

/// The last resource and scope of a batch that a builder has, by their places in both.
#[derive(Debug, Default, Clone, Copy)]
pub struct LastGroup {
    resource: Option<(u32, Option<usize>)>,
    scope: Option<(u32, Option<usize>)>,
}

impl Builder {
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn column(&mut self, part: Part) -> &mut Column {
        &mut self.columns[part as usize]
    }

    fn put(&mut self, row: usize, part: Part, tag: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.column(part).push_tagged(row, tag, bytes);
        }
    }

    /// Appends a span of a request.
    pub fn push(&mut self, body: &[u8], batch: &Batch, span: &Span, last: &mut LastGroup) {
        let row = self.len();
        self.trace_ids.push(span.trace_id);
        self.span_ids.push(span.span_id);
        self.parent_ids.push(span.parent_id);
        self.starts.push(span.start_ns);
        self.durations.push(span.duration_ns);
        self.put(row, Part::Name, TEXT, span.name.get(body));
        if span.kind > 0 {
            self.put(row, Part::Kind, TEXT, &[span.kind]);
        }
        if span.status > 0 {
            self.put(row, Part::Status, TEXT, &[span.status]);
        }
        self.put(row, Part::StatusMessage, TEXT, span.status_message.get(body));
        self.put(row, Part::TraceState, TEXT, span.trace_state.get(body));
        self.push_group(row, Part::Resource, span.resource, &batch.resources, &mut last.resource);
        self.push_group(row, Part::Scope, span.scope, &batch.scopes, &mut last.scope);
        self.push_extra(row, span);
        let places =
            &batch.attributes[span.attributes.start as usize..span.attributes.end as usize];
        self.push_attributes(row, body, places);
        for event in &batch.events[span.events.start as usize..span.events.end as usize] {
            let at = self.event_times.len();
            self.event_times.push(event.time_ns);
            self.events.push_tagged(at, BYTES, &event.rest);
        }
        end_row(&mut self.event_ends, row, self.event_times.len());
        for link in &batch.links[span.links.start as usize..span.links.end as usize] {
            self.push_link(link);
        }
        end_row(&mut self.link_ends, row, self.link_ids.len());
    }

    fn push_link(&mut self, link: &Link) {
        let at = self.link_ids.len();
        self.link_ids.push(link.ids);
        self.links.push_tagged(at, BYTES, &link.rest);
    }

    /// What a batch's spans have in common is looked up once for those in sequence.
    fn push_group(
        &mut self,
        row: usize,
        part: Part,
        place: u32,
        messages: &[Vec<u8>],
        last: &mut Option<(u32, Option<usize>)>,
    ) {
        let column = self.column(part);
        let id = match *last {
            Some((known, id)) if known == place => id,
            _ => {
                let message = &messages[place as usize];
                (!message.is_empty()).then(|| column.intern(BYTES, message).0)
            }
        };
        *last = Some((place, id));
        if let Some(id) = id {
            column.set(row, id);
        }
    }

    fn push_extra(&mut self, row: usize, span: &Span) {
        let counts =
            [(10, span.dropped_attributes), (12, span.dropped_events), (14, span.dropped_links)];
        if span.flags == 0 && counts.iter().all(|(_, count)| *count == 0) {
            return;
        }
        let mut extra = Vec::new();
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            put_varint(&mut extra, field, u64::from(count));
        }
        if span.flags > 0 {
            put_fixed32(&mut extra, 16, span.flags);
        }
        self.put(row, Part::Extra, BYTES, &extra);
    }

    fn push_attributes(&mut self, row: usize, body: &[u8], places: &[(Place, Place)]) {
        let (mut rest, mut before) = (Vec::new(), NONE);
        for (key, value) in places {
            let value = Value::parse(value.get(body)).unwrap_or(Value::Null);
            before = self.push_attribute(row, key.get(body), value, before, &mut rest);
        }
        self.put(row, Part::Rest, MAP, &rest);
    }

    /// Puts an attribute into its column, or into `rest`; of equal keys the first counts.
    ///
    /// `before` is the attribute before it in its span; returns itself.
    fn push_attribute(
        &mut self,
        row: usize,
        key: &[u8],
        value: Value<'_>,
        before: usize,
        rest: &mut Vec<u8>,
    ) -> usize {
        let guess = self.attributes.get(before).map_or(self.first_key, |a| a.next);
        let is_it = |a: &Attribute| a.key.as_bytes() == key;
        let index = if self.attributes.get(guess).is_some_and(is_it) {
            guess
        } else {
            let Some(index) = self.attribute(key) else {
                put_entry(rest, key, value);
                return before;
            };
            match self.attributes.get_mut(before) {
                Some(before) => before.next = index,
                None => self.first_key = index,
            }
            index
        };
        let column = &mut self.attributes[index].column;
        if !column.has(row) {
            column.push(row, value);
        }
        index
    }

    /// The attribute of a key; `None` where there are too many.
    fn attribute(&mut self, key: &[u8]) -> Option<usize> {
        if let Some(index) = self.keys.get(key) {
            return Some(*index);
        }
        if self.attributes.len() >= MAX_ATTRIBUTES {
            return None;
        }
        let index = self.attributes.len();
        self.keys.insert(key.into(), index);
        let key = String::from_utf8_lossy(key).into_owned();
        self.attributes.push(Attribute { key, column: Column::default(), next: NONE });
        Some(index)
    }

    /// Appends rows of chunks: places among these, and rows.
    pub fn gather(&mut self, chunks: &[&Chunk], rows: &[(u32, u32)]) {
        let first = self.len();
        for (place, row) in rows {
            let (chunk, row) = (chunks[*place as usize], *row as usize);
            self.trace_ids.push(chunk.trace_ids[row]);
            self.span_ids.push(chunk.span_ids[row]);
            self.parent_ids.push(chunk.parent_ids[row]);
            self.starts.push(chunk.starts[row]);
            self.durations.push(chunk.durations[row]);
        }
        for part in PARTS {
            if part != Part::Rest {
                let of = chunks.iter().map(|chunk| Some(&*chunk.columns[part as usize]));
                copy_column(self.column(part), first, &of.collect::<Vec<_>>(), rows);
            }
        }
        self.gather_attributes(chunks, rows, first);
        self.gather_many(chunks, rows, first);
    }

    fn gather_attributes(&mut self, chunks: &[&Chunk], rows: &[(u32, u32)], first: usize) {
        let mut used = vec![false; chunks.len()];
        rows.iter().for_each(|(place, _)| used[*place as usize] = true);
        let mut keys: Vec<&str> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (chunk, _) in chunks.iter().zip(&used).filter(|(_, used)| **used) {
            for attribute in &chunk.attributes {
                known.entry(&attribute.key).or_insert_with(|| {
                    keys.push(&attribute.key);
                    keys.len() - 1
                });
            }
        }
        let mut rests: HashMap<usize, Vec<u8>> = HashMap::new();
        for key in keys {
            let of: Vec<_> = chunks.iter().map(|chunk| chunk.attribute(key)).collect();
            match self.attribute(key.as_bytes()) {
                Some(index) => copy_column(&mut self.attributes[index].column, first, &of, rows),
                None => {
                    for (at, (place, row)) in rows.iter().enumerate() {
                        let value = of[*place as usize].and_then(|c| c.get(*row as usize));
                        if let Some(value) = value {
                            let rest = rests.entry(first + at).or_default();
                            put_entry(rest, key.as_bytes(), value);
                        }
                    }
                }
            }
        }
        for (at, (place, row)) in rows.iter().enumerate() {
            let column = &chunks[*place as usize].columns[Part::Rest as usize];
            if let Some(Value::Map(entries)) = column.get(*row as usize) {
                let mut rest = rests.remove(&(first + at)).unwrap_or_default();
                for (key, value) in map(entries) {
                    self.push_attribute(first + at, key, value, NONE, &mut rest);
                }
                rests.insert(first + at, rest);
            }
        }
        let mut rests: Vec<_> = rests.into_iter().collect();
        rests.sort_unstable();
        rests.iter().for_each(|(row, rest)| self.put(*row, Part::Rest, MAP, rest));
    }

    fn gather_many(&mut self, chunks: &[&Chunk], rows: &[(u32, u32)], first: usize) {
        for (at, (place, row)) in rows.iter().enumerate() {
            let (chunk, row) = (chunks[*place as usize], *row as usize);
            for event in chunk.events.of_row(row) {
                let own = self.event_times.len();
                self.event_times.push(chunk.event_times[event]);
                self.events.push_tagged(own, BYTES, chunk.events.message(event));
            }
            end_row(&mut self.event_ends, first + at, self.event_times.len());
            for link in chunk.links.of_row(row) {
                let own = self.link_ids.len();
                self.link_ids.push(chunk.link_ids[link]);
                self.links.push_tagged(own, BYTES, chunk.links.message(link));
            }
            end_row(&mut self.link_ends, first + at, self.link_ids.len());
        }
    }
}

/// Notes where a row's entries end; rows behind the last one with some have no end.
fn end_row(ends: &mut Vec<u32>, row: usize, end: usize) {
    let before = ends.last().copied().unwrap_or(0);
    if end as u32 > before {
        ends.resize(row, before);
        ends.push(end as u32);
    }
}

fn put_entry(out: &mut Vec<u8>, key: &[u8], value: Value<'_>) {
    let (mut any, mut entry) = (Vec::new(), Vec::new());
    value.encode(&mut any);
    put_bytes(&mut entry, 1, key);
    put_bytes(&mut entry, 2, &any);
    put_bytes(out, 1, &entry);
}

/// Copies rows of columns; each value is looked up once.
fn copy_column(
    to: &mut Column,
    first: usize,
    from: &[Option<&crate::columns::stored::Stored>],
    rows: &[(u32, u32)],
) {
    let mut known: Vec<Vec<u32>> =
        from.iter().map(|c| vec![0; c.map_or(0, |c| c.values().len())]).collect();
    if known.iter().all(Vec::is_empty) {
        return;
    }
    for (at, (place, row)) in rows.iter().enumerate() {
        let place = *place as usize;
        let Some(column) = from[place] else { continue };
        let Some(id) = column.id(*row as usize) else { continue };
        let own = &mut known[place][id];
        if *own == 0 {
            let values = column.values();
            *own = to.intern(values.tag(id), values.bytes(id)).0 as u32 + 1;
        }
        to.set(first + at, *own as usize - 1);
    }
}
