//! A trace as OTLP's `TracesData`.

use super::builder::Part;
use super::chunk::Chunk;
use super::otlp::{NO_SPAN, put_fixed32};
use crate::columns::value::Value;
use crate::wire::protobuf::{Fields, Value as Wire, put_bytes, put_key, put_varint};

/// Encodes a trace; spans of one resource and scope that follow each other are in one group.
#[must_use]
pub fn encode(trace: &Chunk) -> Vec<u8> {
    let mut out = Vec::new();
    let rows: Vec<usize> = (0..trace.rows()).collect();
    let of = |row: &usize, part: Part| trace.columns[part as usize].id(*row);
    for resource in rows.chunk_by(|a, b| of(a, Part::Resource) == of(b, Part::Resource)) {
        let mut group = trace.bytes(Part::Resource, resource[0]).to_vec();
        for scope in resource.chunk_by(|a, b| of(a, Part::Scope) == of(b, Part::Scope)) {
            let mut spans = trace.bytes(Part::Scope, scope[0]).to_vec();
            scope.iter().for_each(|row| put_bytes(&mut spans, 2, &span(trace, *row)));
            put_bytes(&mut group, 2, &spans);
        }
        put_bytes(&mut out, 1, &group);
    }
    out
}

fn put_fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    put_key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &[u8]) {
    if !text.is_empty() {
        put_bytes(out, field, text);
    }
}

fn span(trace: &Chunk, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &trace.trace_ids[row]);
    put_bytes(&mut out, 2, &trace.span_ids[row]);
    put_text(&mut out, 3, trace.bytes(Part::TraceState, row));
    if trace.parent_ids[row] != NO_SPAN {
        put_bytes(&mut out, 4, &trace.parent_ids[row]);
    }
    put_text(&mut out, 5, trace.bytes(Part::Name, row));
    let kind = trace.number(Part::Kind, row);
    if kind > 0 {
        put_varint(&mut out, 6, u64::from(kind));
    }
    put_fixed64(&mut out, 7, trace.starts[row] as u64);
    put_fixed64(&mut out, 8, trace.end(row) as u64);
    for attribute in &trace.attributes {
        if let Some(value) = attribute.column.get(row) {
            put_entry(&mut out, attribute.key.as_bytes(), value);
        }
    }
    let mut rest = Fields::new(trace.rest(row));
    while let Ok(Some((1, Wire::Bytes(entry)))) = rest.next_field() {
        put_bytes(&mut out, 9, entry);
    }
    for at in trace.events.of_row(row) {
        let mut event = Vec::new();
        put_fixed64(&mut event, 1, trace.event_times[at] as u64);
        event.extend_from_slice(trace.events.message(at));
        put_bytes(&mut out, 11, &event);
    }
    for at in trace.links.of_row(row) {
        let mut link = Vec::new();
        for (field, id) in [(1, &trace.link_ids[at][..16]), (2, &trace.link_ids[at][16..])] {
            if id.iter().any(|byte| *byte > 0) {
                put_bytes(&mut link, field, id);
            }
        }
        link.extend_from_slice(trace.links.message(at));
        put_bytes(&mut out, 13, &link);
    }
    put_status(&mut out, trace, row);
    put_extra(&mut out, trace.bytes(Part::Extra, row));
    out
}

fn put_entry(out: &mut Vec<u8>, key: &[u8], value: Value<'_>) {
    let (mut any, mut entry) = (Vec::new(), Vec::new());
    value.encode(&mut any);
    put_bytes(&mut entry, 1, key);
    put_bytes(&mut entry, 2, &any);
    put_bytes(out, 9, &entry);
}

fn put_status(out: &mut Vec<u8>, trace: &Chunk, row: usize) {
    let (code, text) = (trace.number(Part::Status, row), trace.bytes(Part::StatusMessage, row));
    if code > 0 || !text.is_empty() {
        let mut status = Vec::new();
        put_text(&mut status, 2, text);
        put_varint(&mut status, 3, u64::from(code));
        put_bytes(out, 15, &status);
    }
}

/// Flags and dropped counts, which are stored as fields of the span.
fn put_extra(out: &mut Vec<u8>, extra: &[u8]) {
    let mut fields = Fields::new(extra);
    while let Ok(Some((field, wire))) = fields.next_field() {
        match wire {
            Wire::Varint(count) => put_varint(out, field, count),
            Wire::Fixed32(flags) => put_fixed32(out, field, flags),
            _ => {}
        }
    }
}
