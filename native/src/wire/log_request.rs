//! OTLP log requests, written record by record: the one form in which logs enter an engine.
//! Messages: `obsd/services/log_encoding.py`, whose bytes these are.

use super::protobuf::{put_bytes, put_key, put_varint};
use super::varint::put_uvarint;

/// The pieces of a request take more memory than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request takes too much memory")]
pub struct TooLarge;

/// What a piece takes beside its bytes.
const PIECE_BYTES: usize = 64;

/// A request under construction: whole groups, and the records of the one that is open.
pub struct LogRequest {
    out: Vec<u8>,
    resource: Vec<u8>,
    records: Vec<u8>,
    record: Vec<u8>,
    part: Vec<u8>,
    room: usize,
    pub record_count: usize,
}

/// A record of which everything is text; what is 0 or empty is left out, but for the body.
pub struct TextRecord<'a> {
    pub time_ns: u64,
    pub severity_number: u8,
    pub severity_text: &'a str,
    pub body: &'a str,
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
}

impl LogRequest {
    #[must_use]
    pub fn new(max_memory_bytes: usize) -> Self {
        Self {
            out: Vec::new(),
            resource: Vec::new(),
            records: Vec::new(),
            record: Vec::new(),
            part: Vec::new(),
            room: max_memory_bytes,
            record_count: 0,
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.room = self.room.checked_sub(bytes + PIECE_BYTES).ok_or(TooLarge)?;
        Ok(())
    }

    /// Begins a group whose resource has these attributes; ends the one before.
    ///
    /// # Errors
    /// The request becomes too large.
    pub fn begin_group<'a>(
        &mut self,
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), TooLarge> {
        self.end_group();
        self.resource.clear();
        put_texts(&mut self.resource, &mut self.part, 1, attributes);
        self.take(self.resource.len())
    }

    fn end_group(&mut self) {
        if self.records.is_empty() {
            return;
        }
        self.part.clear();
        put_bytes(&mut self.part, 1, &self.resource);
        put_key(&mut self.part, 2, 2);
        put_uvarint(&mut self.part, self.records.len() as u64);
        put_key(&mut self.out, 1, 2);
        put_uvarint(&mut self.out, (self.part.len() + self.records.len()) as u64);
        self.out.extend_from_slice(&self.part);
        self.out.append(&mut self.records);
    }

    /// Appends a record to the group that was begun last.
    ///
    /// # Errors
    /// The request becomes too large.
    pub fn add<'a>(
        &mut self,
        record: &TextRecord<'_>,
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), TooLarge> {
        let out = &mut self.record;
        out.clear();
        if record.time_ns != 0 {
            put_key(out, 1, 1);
            out.extend_from_slice(&record.time_ns.to_le_bytes());
        }
        if record.severity_number != 0 {
            put_varint(out, 2, u64::from(record.severity_number));
        }
        if !record.severity_text.is_empty() {
            put_bytes(out, 3, record.severity_text.as_bytes());
        }
        put_key(out, 5, 2);
        put_uvarint(out, text_size(record.body) as u64);
        put_bytes(out, 1, record.body.as_bytes());
        put_texts(out, &mut self.part, 6, attributes);
        if !record.trace_id.is_empty() {
            put_bytes(out, 9, record.trace_id);
        }
        if !record.span_id.is_empty() {
            put_bytes(out, 10, record.span_id);
        }
        let size = out.len();
        self.take(size)?;
        put_bytes(&mut self.records, 2, &self.record);
        self.record_count += 1;
        Ok(())
    }

    /// The whole request; empty where no record is in it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.end_group();
        self.out
    }
}

/// Bytes of an `AnyValue` with this text.
fn text_size(text: &str) -> usize {
    let mut length = 1;
    let mut rest = text.len();
    while rest >= 0x80 {
        rest >>= 7;
        length += 1;
    }
    1 + length + text.len()
}

/// Repeated `KeyValue`s with texts.
fn put_texts<'a>(
    out: &mut Vec<u8>,
    part: &mut Vec<u8>,
    field: u32,
    attributes: impl Iterator<Item = (&'a str, &'a str)>,
) {
    for (name, value) in attributes {
        part.clear();
        put_bytes(part, 1, name.as_bytes());
        put_key(part, 2, 2);
        put_uvarint(part, text_size(value) as u64);
        put_bytes(part, 1, value.as_bytes());
        put_bytes(out, field, part);
    }
}
