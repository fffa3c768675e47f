//! OTLP's `ExportLogsServiceRequest` to a batch of records, which stay where they are in its bytes.
//! Source: opentelemetry/proto/logs/v1/logs.proto.

use super::entry::write_time;
use super::value::{MAX_DEPTH, Value, ValueError};
use crate::wire::protobuf::{Fields, WireError, put_bytes};
use std::ops::Range;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A place in the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The place of `part`, which lies in `whole`.
    fn of(whole: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        if part.is_empty() || start > whole.len() {
            return Self::default();
        }
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }

    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The bytes there.
    #[must_use]
    pub fn get(self, whole: &[u8]) -> &[u8] {
        whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A record; its parts are places in the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub time_ns: i64,
    pub observed_ns: i64,
    pub severity: u8,
    pub severity_text: Span,
    pub body: Span,
    pub trace_id: Span,
    pub span_id: Span,
    pub event_name: Span,
    pub flags: u32,
    pub dropped_attributes: u32,
    /// Of its attributes, ids and texts together, without the body.
    pub metadata_bytes: u32,
    /// Of [`Batch::attributes`].
    pub attributes: Range<u32>,
    /// Of [`Batch::resources`].
    pub resource: u32,
    /// Of [`Batch::scopes`].
    pub scope: u32,
    /// Of all that makes it the same record as another one; 0 where none can be.
    pub identity: u64,
}

impl Record {
    /// Whether it has anything for [`put_details`].
    #[must_use]
    pub fn has_details(&self) -> bool {
        self.event_name.len() > 0 || self.flags != 0 || self.dropped_attributes != 0
    }
}

/// Times that are accepted, and limits of one record.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub now_ns: i64,
    pub min_ns: i64,
    pub max_ns: i64,
    pub body_bytes: usize,
    pub metadata_bytes: usize,
    /// Of its own, apart from its resource's and its scope's.
    pub attributes: usize,
}

/// Why a record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    TooOld,
    TooFarInFuture,
    BodyTooLarge,
    MetadataTooLarge,
    TooManyAttributes,
    TooDeep,
}

impl Refusal {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooFarInFuture => "too_far_in_future",
            Self::BodyTooLarge => "body_too_large",
            Self::MetadataTooLarge => "metadata_too_large",
            Self::TooManyAttributes => "too_many_attributes",
            Self::TooDeep => "too_deep",
        }
    }

    fn message(self, record: &Record, limits: &Limits) -> String {
        match self {
            Self::TooOld => format!(
                "record of time {} is older than the retention keeps, {}",
                shown(record.time_ns),
                shown(limits.min_ns)
            ),
            Self::TooFarInFuture => format!(
                "record of time {} is later than accepted, {}",
                shown(record.time_ns),
                shown(limits.max_ns)
            ),
            Self::BodyTooLarge => {
                format!("a record's body is larger than the limit of {} bytes", limits.body_bytes)
            }
            Self::MetadataTooLarge => format!(
                "a record's attributes are larger than the limit of {} bytes",
                limits.metadata_bytes
            ),
            Self::TooManyAttributes => {
                format!("a record has more attributes than the limit of {}", limits.attributes)
            }
            Self::TooDeep => {
                format!("a record's values are nested deeper than the limit of {MAX_DEPTH}")
            }
        }
    }
}

/// A time as people read it.
fn shown(time_ns: i64) -> String {
    let mut out = String::new();
    write_time(time_ns, &mut out);
    out
}

/// The observed time with its key.
const OBSERVED_BYTES: usize = 9;

const MAX_MESSAGES: usize = 5;

/// What the parts of a request may take beside its bytes. Of two bytes on the wire, an empty record
/// takes a hundred.
pub const MAX_PARTS_BYTES: usize = 256 << 20;

/// Why a request is not taken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the request has too many parts")]
    TooManyParts,
}

/// A decoded request.
#[derive(Debug, Default)]
pub struct Batch {
    pub records: Vec<Record>,
    /// Keys, and values as `AnyValue`.
    pub attributes: Vec<(Span, Span)>,
    /// Each as a `KeyValueList`.
    pub resources: Vec<Vec<u8>>,
    /// What is told of records by their scopes, each as a `KeyValueList`.
    pub scopes: Vec<Vec<u8>>,
    /// Counts by reason.
    pub refused: Vec<(Refusal, u64)>,
    /// The first few refusals in words.
    pub messages: Vec<String>,
    resource_bytes: usize,
}

impl Batch {
    /// Reads a request. The records at `dropped` places among those that are accepted, ascending, are left out.
    ///
    /// # Errors
    /// The bytes are no such message, or more than 4 GiB, or of too many parts.
    pub fn decode_without(
        body: &[u8],
        limits: &Limits,
        dropped: &[u32],
    ) -> Result<Self, DecodeError> {
        let mut batch = Self::decode(body, limits)?;
        let (mut place, mut next) = (0, dropped.iter().copied().peekable());
        batch.records.retain(|_| {
            place += 1;
            next.next_if_eq(&(place - 1)).is_none()
        });
        Ok(batch)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// As `decode_without`.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        if u32::try_from(body.len()).is_err() {
            return Err(DecodeError::TooManyParts);
        }
        let mut batch = Self::default();
        let mut fields = Fields::new(body);
        while let Some((field, wire)) = fields.next_field()? {
            if field == 1 {
                batch.read_resource_logs(body, wire.bytes(1)?, limits)?;
            }
        }
        Ok(batch)
    }

    fn read_resource_logs(
        &mut self,
        body: &[u8],
        message: &[u8],
        limits: &Limits,
    ) -> Result<(), DecodeError> {
        // The resource may stand behind the records.
        let (mut resource, mut details) = (Vec::new(), Vec::new());
        let mut refusal = None;
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            match field {
                1 => read_resource(wire.bytes(1)?, &mut resource, &mut details, &mut refusal)?,
                3 => put_text(&mut details, "resource.schema_url", wire.bytes(3)?),
                _ => {}
            }
        }
        let source = xxh3_64(&resource);
        if resource.len() > limits.metadata_bytes {
            refusal = Some(Refusal::MetadataTooLarge);
        }
        if refusal.is_some() {
            resource.clear();
        }
        self.resource_bytes += size_of::<Vec<u8>>() + resource.capacity();
        self.resources.push(resource);
        self.check_parts()?;
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            if field == 2 {
                let scope = details.clone();
                self.read_scope_logs(body, wire.bytes(2)?, limits, refusal, (scope, source))?;
            }
        }
        Ok(())
    }

    fn read_scope_logs(
        &mut self,
        body: &[u8],
        message: &[u8],
        limits: &Limits,
        mut refusal: Option<Refusal>,
        (mut details, mut source): (Vec<u8>, u64),
    ) -> Result<(), DecodeError> {
        // The scope may stand behind the records.
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            match field {
                1 => {
                    let scope = wire.bytes(1)?;
                    source = mix(scope, source);
                    read_scope(scope, &mut details, &mut refusal)?;
                }
                3 => put_text(&mut details, "scope.schema_url", wire.bytes(3)?),
                _ => {}
            }
        }
        if details.len() > limits.metadata_bytes {
            refusal = Some(Refusal::MetadataTooLarge);
        }
        if refusal.is_some() {
            details.clear();
        }
        self.resource_bytes += size_of::<Vec<u8>>() + details.capacity();
        self.scopes.push(details);
        self.check_parts()?;
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            if field == 2 {
                self.read_record(body, wire.bytes(2)?, limits, refusal, source)?;
            }
        }
        Ok(())
    }

    fn read_record(
        &mut self,
        whole: &[u8],
        message: &[u8],
        limits: &Limits,
        mut refusal: Option<Refusal>,
        source: u64,
    ) -> Result<(), DecodeError> {
        let mut record = Record::default();
        let first = self.attributes.len();
        let (mut time, mut observed, mut metadata_bytes) = (0, 0, 0);
        // When a record was observed does not make it another one: who sends it again may observe
        // it again.
        let (mut identity, mut unhashed) = (source, message);
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            use crate::wire::protobuf::Value as Wire;
            match (field, wire) {
                (1, Wire::Fixed64(ns)) => time = ns,
                (11, Wire::Fixed64(ns)) => {
                    observed = ns;
                    let before = unhashed.len() - fields.rest().len();
                    let piece = &unhashed[..before.saturating_sub(OBSERVED_BYTES)];
                    identity = mix(piece, identity);
                    unhashed = fields.rest();
                }
                (2, Wire::Varint(number)) => record.severity = u8::try_from(number).unwrap_or(0),
                (3, Wire::Bytes(text)) => record.severity_text = Span::of(whole, text),
                (5, Wire::Bytes(any)) => {
                    check(any, &mut refusal)?;
                    record.body = Span::of(whole, any);
                    if any.len() > limits.body_bytes {
                        refusal = Some(Refusal::BodyTooLarge);
                    }
                }
                (6, Wire::Bytes(entry)) => {
                    // With its key and length: empty ones are something, too.
                    metadata_bytes += entry.len() + 2;
                    self.read_attribute(whole, entry, &mut refusal)?;
                }
                (9, Wire::Bytes(id)) => record.trace_id = Span::of(whole, id),
                (10, Wire::Bytes(id)) => record.span_id = Span::of(whole, id),
                (7, Wire::Varint(count)) => {
                    record.dropped_attributes = u32::try_from(count).unwrap_or(u32::MAX);
                }
                (8, Wire::Fixed32(flags)) => record.flags = flags,
                (12, Wire::Bytes(name)) => record.event_name = Span::of(whole, name),
                (1 | 2 | 3 | 5..=12, _) => {
                    return Err(WireError::WireType(field).into());
                }
                _ => {}
            }
        }
        let ids = record.trace_id.get(whole).len() + record.span_id.get(whole).len();
        metadata_bytes += record.severity_text.get(whole).len() + ids;
        metadata_bytes += record.event_name.get(whole).len();
        let as_time = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        record.observed_ns = if observed == 0 { limits.now_ns } else { as_time(observed) };
        record.time_ns = if time == 0 { record.observed_ns } else { as_time(time) };
        if metadata_bytes > limits.metadata_bytes {
            refusal = Some(Refusal::MetadataTooLarge);
        } else if self.attributes.len() - first > limits.attributes {
            refusal = Some(Refusal::TooManyAttributes);
        } else if record.time_ns < limits.min_ns {
            refusal = Some(Refusal::TooOld);
        } else if record.time_ns > limits.max_ns {
            refusal = Some(Refusal::TooFarInFuture);
        }
        if let Some(refusal) = refusal {
            self.attributes.truncate(first);
            self.refuse(refusal, &record, limits);
            return Ok(());
        }
        record.identity = match (time, observed) {
            (0, 0) => 0,
            (0, _) => mix(&observed.to_le_bytes(), mix(unhashed, identity)).max(1),
            _ => mix(unhashed, identity).max(1),
        };
        record.metadata_bytes = u32::try_from(metadata_bytes).unwrap_or(u32::MAX);
        record.attributes = first as u32..self.attributes.len() as u32;
        record.resource = (self.resources.len() - 1) as u32;
        record.scope = (self.scopes.len() - 1) as u32;
        self.records.push(record);
        self.check_parts()
    }

    fn check_parts(&self) -> Result<(), DecodeError> {
        let records = self.records.len() * size_of::<Record>();
        let attributes = self.attributes.len() * size_of::<(Span, Span)>();
        if records + attributes + self.resource_bytes > MAX_PARTS_BYTES {
            return Err(DecodeError::TooManyParts);
        }
        Ok(())
    }

    fn read_attribute(
        &mut self,
        whole: &[u8],
        entry: &[u8],
        refusal: &mut Option<Refusal>,
    ) -> Result<(), DecodeError> {
        let (mut key, mut value) = (Span::default(), Span::default());
        let mut fields = Fields::new(entry);
        while let Some((field, wire)) = fields.next_field()? {
            match field {
                1 => key = Span::of(whole, wire.bytes(1)?),
                2 => {
                    let any = wire.bytes(2)?;
                    check(any, refusal)?;
                    value = Span::of(whole, any);
                }
                _ => {}
            }
        }
        self.attributes.push((key, value));
        self.check_parts()
    }

    fn refuse(&mut self, refusal: Refusal, record: &Record, limits: &Limits) {
        match self.refused.iter_mut().find(|(reason, _)| *reason == refusal) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((refusal, 1)),
        }
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(refusal.message(record, limits));
        }
    }
}

/// The hash of a piece behind others that have one.
fn mix(piece: &[u8], before: u64) -> u64 {
    if piece.is_empty() { before } else { xxh3_64_with_seed(piece, before) }
}

/// Takes the attributes of a `Resource` as a `KeyValueList`.
fn read_resource(
    message: &[u8],
    out: &mut Vec<u8>,
    details: &mut Vec<u8>,
    refusal: &mut Option<Refusal>,
) -> Result<(), WireError> {
    let mut fields = Fields::new(message);
    while let Some((field, wire)) = fields.next_field()? {
        match field {
            1 => put_bytes(out, 1, wire.bytes(1)?),
            2 => put_number(details, "resource.dropped_attributes", wire.varint(2)?),
            _ => {}
        }
    }
    check_value(Value::Map(out), refusal)
}

/// Takes an `InstrumentationScope` into the details of its records.
fn read_scope(
    message: &[u8],
    details: &mut Vec<u8>,
    refusal: &mut Option<Refusal>,
) -> Result<(), WireError> {
    let mut attributes = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((field, wire)) = fields.next_field()? {
        match field {
            1 => put_text(details, "scope.name", wire.bytes(1)?),
            2 => put_text(details, "scope.version", wire.bytes(2)?),
            3 => put_bytes(&mut attributes, 1, wire.bytes(3)?),
            4 => put_number(details, "scope.dropped_attributes", wire.varint(4)?),
            _ => {}
        }
    }
    if !attributes.is_empty() {
        check_value(Value::Map(&attributes), refusal)?;
        put_entry(details, "scope", Value::Map(&attributes));
    }
    Ok(())
}

fn put_entry(out: &mut Vec<u8>, key: &str, value: Value<'_>) {
    let (mut any, mut entry) = (Vec::new(), Vec::new());
    value.encode(&mut any);
    put_bytes(&mut entry, 1, key.as_bytes());
    put_bytes(&mut entry, 2, &any);
    put_bytes(out, 1, &entry);
}

fn put_text(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    if !text.is_empty() {
        put_entry(out, key, Value::Text(text));
    }
}

fn put_number(out: &mut Vec<u8>, key: &str, number: u64) {
    if number != 0 {
        put_entry(out, key, Value::Int(i64::try_from(number).unwrap_or(i64::MAX)));
    }
}

/// Appends what a record itself has beside its attributes.
pub fn put_details(body: &[u8], record: &Record, out: &mut Vec<u8>) {
    put_text(out, "event_name", record.event_name.get(body));
    put_number(out, "flags", u64::from(record.flags));
    put_number(out, "dropped_attributes", u64::from(record.dropped_attributes));
}

/// Notes a value that is nested too deep; a malformed one fails the request.
fn check(any: &[u8], refusal: &mut Option<Refusal>) -> Result<(), WireError> {
    check_value(Value::parse(any)?, refusal)
}

fn check_value(value: Value<'_>, refusal: &mut Option<Refusal>) -> Result<(), WireError> {
    match value.check(MAX_DEPTH) {
        Ok(()) => Ok(()),
        Err(ValueError::Depth) => {
            *refusal = Some(Refusal::TooDeep);
            Ok(())
        }
        Err(ValueError::Wire(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        now_ns: 50,
        min_ns: 10,
        max_ns: 100,
        body_bytes: 20,
        metadata_bytes: 30,
        attributes: 3,
    };

    fn request(record: &[u8]) -> Vec<u8> {
        let (mut scope, mut resource, mut out) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut scope, 2, record);
        put_bytes(&mut resource, 2, &scope);
        put_bytes(&mut out, 1, &resource);
        out
    }

    fn timed(ns: u64) -> Vec<u8> {
        let mut record = vec![9];
        record.extend_from_slice(&ns.to_le_bytes());
        record
    }

    #[test]
    fn times_outside_the_limits_are_refused_one_by_one() {
        let mut body = request(&timed(5));
        body.extend(request(&timed(20)));
        body.extend(request(&timed(101)));
        body.extend(request(&[]));
        let batch = Batch::decode(&body, &LIMITS).expect("a request");
        let times: Vec<_> = batch.records.iter().map(|r| r.time_ns).collect();
        assert_eq!(times, [20, 50]);
        assert_eq!(batch.refused, [(Refusal::TooOld, 1), (Refusal::TooFarInFuture, 1)]);
        let late = "record of time 1970-01-01T00:00:00.000000101Z is later than accepted, \
                    1970-01-01T00:00:00.000000100Z";
        assert_eq!(batch.messages[1..], [late]);
    }

    fn identities(body: &[u8]) -> Vec<u64> {
        let batch = Batch::decode(body, &LIMITS).expect("a request");
        batch.records.iter().map(|record| record.identity).collect()
    }

    #[test]
    fn a_record_is_the_same_whenever_it_was_observed() {
        let observed = |ns: u64| {
            let mut field = vec![89];
            field.extend_from_slice(&ns.to_le_bytes());
            field
        };
        let mut first = request(&[timed(20), observed(30)].concat());
        first.extend(request(&[observed(31), timed(20)].concat()));
        first.extend(request(&timed(20)));
        first.extend(request(&timed(21)));
        first.extend(request(&observed(20)));
        first.extend(request(&observed(21)));
        first.extend(request(&[]));
        let [a, b, c, d, e, f, none] = identities(&first)[..] else { panic!("seven records") };
        assert!(a != 0 && e != 0);
        assert_eq!(none, 0);
        assert!(a == b && a == c);
        assert!(a != d && e != f && a != e);
    }

    #[test]
    fn places_are_left_out() {
        let body = [20, 21, 22, 5, 23].map(|ns| request(&timed(ns))).concat();
        let batch = Batch::decode_without(&body, &LIMITS, &[0, 3]).expect("a request");
        let times: Vec<_> = batch.records.iter().map(|r| r.time_ns).collect();
        assert_eq!(times, [21, 22]);
    }

    #[test]
    fn more_attributes_than_allowed_are_refused() {
        let attributes = |count| [50, 0].repeat(count);
        let mut body = request(&attributes(3));
        body.extend(request(&attributes(4)));
        let batch = Batch::decode(&body, &LIMITS).expect("a request");
        assert_eq!(batch.records.len(), 1);
        assert_eq!(batch.attributes.len(), 3);
        assert_eq!(batch.refused, [(Refusal::TooManyAttributes, 1)]);
    }

    #[test]
    fn a_large_body_is_refused() {
        let (mut any, mut record) = (Vec::new(), Vec::new());
        put_bytes(&mut any, 1, &[b'x'; 30]);
        put_bytes(&mut record, 5, &any);
        let batch = Batch::decode(&request(&record), &LIMITS).expect("a request");
        assert_eq!(batch.refused, [(Refusal::BodyTooLarge, 1)]);
        assert!(batch.records.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes: Vec<u8>) {
            let _ = Batch::decode(&bytes, &LIMITS);
            let _ = Batch::decode(&request(&bytes), &LIMITS);
        }
    }
}
