//! Spans as columns in memory: what a memtable has sealed, or a whole granule of a segment.

use super::builder::{Builder, PARTS, Part};
use super::otlp::{SpanId, TraceId};
use crate::columns::stored::Stored;
use crate::columns::value::Value;
use crate::wire::protobuf::{Fields, Value as Wire};
use std::ops::Range;
use std::sync::Arc;

/// An attribute's column.
pub struct Named {
    pub key: String,
    pub column: Arc<Stored>,
}

/// Events or links: some for each row.
#[derive(Default, Clone)]
pub struct Many {
    /// Where those of a row end; rows past its end have none.
    pub ends: Arc<Vec<u32>>,
    /// Their messages, as bytes.
    pub column: Arc<Stored>,
}

impl Many {
    #[must_use]
    pub fn of_row(&self, row: usize) -> Range<usize> {
        let Some(end) = self.ends.get(row) else { return 0..0 };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        start as usize..*end as usize
    }

    #[must_use]
    pub fn message(&self, place: usize) -> &[u8] {
        self.column.id(place).map_or(&[], |id| self.column.values().bytes(id))
    }
}

/// Rows, whole and immutable.
#[derive(Default)]
pub struct Chunk {
    pub trace_ids: Arc<Vec<TraceId>>,
    pub span_ids: Arc<Vec<SpanId>>,
    pub parent_ids: Arc<Vec<SpanId>>,
    pub starts: Arc<Vec<i64>>,
    pub durations: Arc<Vec<i64>>,
    pub columns: [Arc<Stored>; PARTS.len()],
    pub attributes: Vec<Named>,
    pub event_times: Vec<i64>,
    pub events: Many,
    pub link_ids: Arc<Vec<[u8; 24]>>,
    pub links: Many,
}

impl Chunk {
    /// What a builder has so far.
    #[must_use]
    pub fn of(builder: &Builder) -> Self {
        let rows = builder.len();
        let named = |a: &super::builder::Attribute| Named {
            key: a.key.clone(),
            column: Arc::new(Stored::of(&a.column, rows)),
        };
        let (events, links) = (builder.event_times.len(), builder.link_ids.len());
        Self {
            trace_ids: Arc::new(builder.trace_ids.clone()),
            span_ids: Arc::new(builder.span_ids.clone()),
            parent_ids: Arc::new(builder.parent_ids.clone()),
            starts: Arc::new(builder.starts.clone()),
            durations: Arc::new(builder.durations.clone()),
            columns: PARTS.map(|part| Arc::new(Stored::of(&builder.columns[part as usize], rows))),
            attributes: builder.attributes.iter().map(named).collect(),
            event_times: builder.event_times.clone(),
            events: Many {
                ends: Arc::new(builder.event_ends.clone()),
                column: Arc::new(Stored::of(&builder.events, events)),
            },
            link_ids: Arc::new(builder.link_ids.clone()),
            links: Many {
                ends: Arc::new(builder.link_ends.clone()),
                column: Arc::new(Stored::of(&builder.links, links)),
            },
        }
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.len()
    }

    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&Stored> {
        self.attributes.iter().find(|a| a.key == key).map(|a| &*a.column)
    }

    /// A part's bytes; of a row without it none.
    #[must_use]
    pub fn bytes(&self, part: Part, row: usize) -> &[u8] {
        let column = &self.columns[part as usize];
        column.id(row).map_or(&[], |id| column.values().bytes(id))
    }

    /// A part that is one byte.
    #[must_use]
    pub fn number(&self, part: Part, row: usize) -> u8 {
        self.bytes(part, row).first().copied().unwrap_or(0)
    }

    #[must_use]
    pub fn end(&self, row: usize) -> i64 {
        self.starts[row].saturating_add(self.durations[row])
    }

    /// What it takes in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let columns = self.columns.iter().map(|c| c.size_bytes()).sum::<usize>();
        let named = self.attributes.iter().map(|a| a.column.size_bytes() + a.key.len() + 64);
        let many = |many: &Many| 4 * many.ends.len() + many.column.size_bytes();
        let (events, links) = (8 * self.event_times.len(), 24 * self.link_ids.len());
        let own = 48 * self.rows() + events + links;
        own + columns + named.sum::<usize>() + many(&self.events) + many(&self.links)
    }

    /// The row's attributes that have no column, as a `KeyValueList`.
    #[must_use]
    pub fn rest(&self, row: usize) -> &[u8] {
        self.bytes(Part::Rest, row)
    }
}

/// The `Resource` or `InstrumentationScope` of a stored group, and its schema URL.
#[must_use]
pub fn group_parts(message: &[u8]) -> (&[u8], &[u8]) {
    let (mut inner, mut schema_url): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new(message);
    while let Ok(Some((field, wire))) = fields.next_field() {
        match (field, wire) {
            (1, Wire::Bytes(bytes)) => inner = bytes,
            (3, Wire::Bytes(bytes)) => schema_url = bytes,
            _ => {}
        }
    }
    (inner, schema_url)
}

/// Attributes that are a repeated field of a message.
pub fn attributes_of(message: &[u8], field: u32) -> impl Iterator<Item = (&[u8], Value<'_>)> {
    let mut fields = Fields::new(message);
    std::iter::from_fn(move || {
        loop {
            match fields.next_field() {
                Ok(Some((found, Wire::Bytes(entry)))) if found == field => {
                    // What is stored was checked when it came.
                    let entry = crate::columns::value::parse_entry(entry);
                    return Some(entry.unwrap_or((&[], Value::Null)));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    })
}

/// The attributes of a stored resource.
pub fn resource_attributes(message: &[u8]) -> impl Iterator<Item = (&[u8], Value<'_>)> {
    attributes_of(group_parts(message).0, 1)
}

/// The attributes of a stored scope.
pub fn scope_attributes(message: &[u8]) -> impl Iterator<Item = (&[u8], Value<'_>)> {
    attributes_of(group_parts(message).0, 3)
}

/// The service of a stored resource; none where that is no text.
#[must_use]
pub fn service_of(resource: &[u8]) -> &[u8] {
    match resource_attributes(resource).find(|(key, _)| *key == b"service.name") {
        Some((_, Value::Text(name))) => name,
        _ => &[],
    }
}

/// A field of a message that is bytes or text; the last one counts.
#[must_use]
pub fn text_field(message: &[u8], field: u32) -> &[u8] {
    let mut found: &[u8] = &[];
    let mut fields = Fields::new(message);
    while let Ok(Some((number, wire))) = fields.next_field() {
        if let (true, Wire::Bytes(bytes)) = (number == field, wire) {
            found = bytes;
        }
    }
    found
}

/// A field of a message that is a number; 0 without it.
#[must_use]
pub fn number_field(message: &[u8], field: u32) -> u64 {
    let mut found = 0;
    let mut fields = Fields::new(message);
    while let Ok(Some((number, wire))) = fields.next_field() {
        match wire {
            Wire::Varint(value) if number == field => found = value,
            Wire::Fixed32(value) if number == field => found = u64::from(value),
            _ => {}
        }
    }
    found
}
