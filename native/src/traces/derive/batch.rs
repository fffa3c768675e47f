//! Spans of a decoded request, on their way into the counters.

use super::resources::Resource;
use super::roles::Attributes;
use super::state::{SpanInput, State};
use crate::columns::value::{Value, parse_entry};
use crate::traces::otlp::{Batch, Span};
use crate::traces::place::Place;
use crate::wire::protobuf::Fields;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Attributes of a span, as places in the request.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    pub body: &'a [u8],
    pub places: &'a [(Place, Place)],
}

impl Attributes for Placed<'_> {
    fn each<'s>(&'s self, each: &mut dyn FnMut(&'s [u8], Value<'s>)) {
        for (key, value) in self.places {
            // It was found to be well-formed when the request was decoded.
            let value = Value::parse(value.get(self.body)).unwrap_or(Value::Null);
            each(key.get(self.body), value);
        }
    }
}

/// A resource as a `ResourceSpans` without spans.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a>(pub &'a [u8]);

impl Attributes for Encoded<'_> {
    fn each<'s>(&'s self, each: &mut dyn FnMut(&'s [u8], Value<'s>)) {
        each_bytes(self.0, 1, &mut |resource| {
            each_bytes(resource, 1, &mut |entry| {
                if let Ok((key, value)) = parse_entry(entry) {
                    each(key, value);
                }
            });
        });
    }
}

fn each_bytes<'a>(message: &'a [u8], wanted: u32, each: &mut dyn FnMut(&'a [u8])) {
    let mut fields = Fields::new(message);
    while let Ok(Some((field, wire))) = fields.next_field() {
        if field == wanted
            && let Ok(bytes) = wire.bytes(field)
        {
            each(bytes);
        }
    }
}

impl State {
    /// The resources of a request, each worked out once.
    pub fn resources_of(&mut self, encoded: &[Vec<u8>], now_ms: i64) -> Vec<Arc<Resource>> {
        encoded
            .iter()
            .map(|bytes| self.resource(xxh3_128(bytes), &Encoded(bytes), now_ms))
            .collect()
    }

    /// Counts the spans of a request that came at a time, the first of which has this number, as far
    /// as they are behind the row of the counters. Calls that were given up by then are counted
    /// before, so that replay counts alike.
    pub fn count_batch(&mut self, batch: &Batch, body: &[u8], first_row: i64, now_ms: i64) {
        let done = usize::try_from((self.row + 1).saturating_sub(first_row)).unwrap_or(0);
        let Some(spans) = batch.spans.get(done..).filter(|spans| !spans.is_empty()) else { return };
        self.expire(now_ms);
        let resources = self.resources_of(&batch.resources, now_ms);
        let input = |span: &Span| {
            let places = span.attributes.start as usize..span.attributes.end as usize;
            Some(SpanInput {
                trace_id: span.trace_id,
                span_id: span.span_id,
                parent_id: span.parent_id,
                name: String::from_utf8_lossy(span.name.get(body)),
                kind: span.kind,
                status: span.status,
                start_ns: span.start_ns,
                end_ns: span.start_ns.saturating_add(span.duration_ns),
                size_bytes: u64::from(span.size_bytes),
                resource: resources.get(span.resource as usize)?,
                attributes: Placed { body, places: batch.attributes.get(places)? },
            })
        };
        for chunk in spans.chunks(super::state::CHUNK) {
            let inputs: Vec<_> = chunk.iter().filter_map(input).collect();
            self.observe(&inputs, now_ms);
        }
        self.row = first_row + batch.spans.len() as i64 - 1;
    }
}
