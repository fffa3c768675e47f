//! OTLP's `ExportTraceServiceRequest` to a batch of spans, which stay where they are in its bytes.
//! Source: opentelemetry/proto/trace/v1/trace.proto.

use super::place::Place;
use crate::columns::value::{MAX_DEPTH, Value, ValueError};
use crate::wire::protobuf::{Fields, Value as Wire, WireError, put_bytes, put_key, put_varint};
use std::ops::Range;

pub type TraceId = [u8; 16];
pub type SpanId = [u8; 8];

/// Without a parent; no span has this id.
pub const NO_SPAN: SpanId = [0; 8];

pub const ERROR: u8 = 2;

/// A span; its parts are places in the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// [`NO_SPAN`] of a root.
    pub parent_id: SpanId,
    pub start_ns: i64,
    /// Never negative.
    pub duration_ns: i64,
    pub kind: u8,
    pub status: u8,
    pub name: Place,
    pub status_message: Place,
    pub trace_state: Place,
    pub flags: u32,
    pub dropped_attributes: u32,
    pub dropped_events: u32,
    pub dropped_links: u32,
    /// Of [`Batch::attributes`].
    pub attributes: Range<u32>,
    /// Of [`Batch::events`].
    pub events: Range<u32>,
    /// Of [`Batch::links`].
    pub links: Range<u32>,
    /// Of [`Batch::resources`].
    pub resource: u32,
    /// Of [`Batch::scopes`].
    pub scope: u32,
    /// Of its message.
    pub size_bytes: u32,
}

/// An event of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub time_ns: i64,
    /// The `Event` without its time.
    pub rest: Vec<u8>,
}

/// A link of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Trace and span; zeros where they are not of 16 and 8 bytes.
    pub ids: [u8; 24],
    /// The `Link` without these.
    pub rest: Vec<u8>,
}

/// What is accepted of a span.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub now_ns: i64,
    /// Spans that start before are too old.
    pub oldest_ns: i64,
    pub span_bytes: usize,
    pub attributes: usize,
}

/// Why a span is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    TraceId,
    SpanId,
    Time,
    TooOld,
    TooLarge,
    TooManyAttributes,
    TooDeep,
}

impl Refusal {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TraceId => "invalid_trace_id",
            Self::SpanId => "invalid_span_id",
            Self::Time => "invalid_time",
            Self::TooOld => "too_old",
            Self::TooLarge => "too_large",
            Self::TooManyAttributes => "too_many_attributes",
            Self::TooDeep => "too_deep",
        }
    }

    fn message(self, span: &Span, body: &[u8], limits: &Limits) -> String {
        let name = shown(span.name.get(body));
        match self {
            Self::TraceId => {
                format!("span {name}: invalid trace id, 16 bytes that are not all zero are wanted")
            }
            Self::SpanId => {
                format!("span {name}: invalid span id, 8 bytes that are not all zero are wanted")
            }
            Self::Time => format!("span {name}: its time is after the year 2262"),
            Self::TooOld => format!(
                "span {name} of time {} ns is older than the retention keeps, {} ns",
                span.start_ns, limits.oldest_ns
            ),
            Self::TooLarge => format!(
                "span {name} of {} bytes is larger than the limit of {}",
                span.size_bytes, limits.span_bytes
            ),
            Self::TooManyAttributes => {
                format!("span {name} has more attributes than the limit of {}", limits.attributes)
            }
            Self::TooDeep => {
                format!("span {name}: values are nested deeper than the limit of {MAX_DEPTH}")
            }
        }
    }
}

const MAX_SHOWN_BYTES: usize = 100;

fn shown(name: &[u8]) -> String {
    let cut = &name[..name.len().min(MAX_SHOWN_BYTES)];
    format!("{:?}", String::from_utf8_lossy(cut))
}

const MAX_MESSAGES: usize = 5;

/// What the parts of a request may take beside its bytes. Of two bytes on the wire, an empty event
/// takes fifty.
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
    pub spans: Vec<Span>,
    /// Keys, and values as `AnyValue`.
    pub attributes: Vec<(Place, Place)>,
    pub events: Vec<Event>,
    pub links: Vec<Link>,
    /// Each as a `ResourceSpans` with a resource and schema URL alone.
    pub resources: Vec<Vec<u8>>,
    /// Each as a `ScopeSpans` with a scope and schema URL alone.
    pub scopes: Vec<Vec<u8>>,
    /// Counts by reason.
    pub refused: Vec<(Refusal, u64)>,
    /// The first few refusals, and what was mended, in words.
    pub messages: Vec<String>,
    kept_bytes: usize,
}

impl Batch {
    /// Reads a request.
    ///
    /// # Errors
    /// The bytes are no such message, or more than 4 GiB, or of too many parts.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        if u32::try_from(body.len()).is_err() {
            return Err(DecodeError::TooManyParts);
        }
        let mut batch = Self::default();
        let mut fields = Fields::new(body);
        while let Some((field, wire)) = fields.next_field()? {
            if field == 1 {
                batch.read_resource_spans(body, wire.bytes(1)?, limits)?;
            }
        }
        Ok(batch)
    }

    fn read_resource_spans(
        &mut self,
        body: &[u8],
        message: &[u8],
        limits: &Limits,
    ) -> Result<(), DecodeError> {
        // The resource may stand behind the spans.
        let group = read_group(message, 1)?;
        self.keep(group.kept.capacity())?;
        self.resources.push(group.kept);
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            if field == 2 {
                self.read_scope_spans(body, wire.bytes(2)?, limits, group.refusal)?;
            }
        }
        Ok(())
    }

    fn read_scope_spans(
        &mut self,
        body: &[u8],
        message: &[u8],
        limits: &Limits,
        refusal: Option<Refusal>,
    ) -> Result<(), DecodeError> {
        let group = read_group(message, 3)?;
        self.keep(group.kept.capacity())?;
        self.scopes.push(group.kept);
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            if field == 2 {
                let refusal = refusal.or(group.refusal);
                self.read_span(body, wire.bytes(2)?, limits, refusal)?;
            }
        }
        Ok(())
    }

    fn read_span(
        &mut self,
        whole: &[u8],
        message: &[u8],
        limits: &Limits,
        mut refusal: Option<Refusal>,
    ) -> Result<(), DecodeError> {
        let mut span = Span { size_bytes: message.len() as u32, ..Span::default() };
        let (attributes, events, links) =
            (self.attributes.len(), self.events.len(), self.links.len());
        let (mut start, mut end) = (0, 0);
        let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
        let too_large = message.len() > limits.span_bytes;
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            match (field, wire) {
                (1, Wire::Bytes(id)) => trace_id = id,
                (2, Wire::Bytes(id)) => span_id = id,
                (3, Wire::Bytes(text)) => span.trace_state = Place::of(whole, text),
                (4, Wire::Bytes(id)) => span.parent_id = id.try_into().unwrap_or(NO_SPAN),
                (5, Wire::Bytes(text)) => span.name = Place::of(whole, text),
                (6, Wire::Varint(kind)) => {
                    span.kind = u8::try_from(kind).ok().filter(|k| *k <= 5).unwrap_or(0);
                }
                (7, Wire::Fixed64(ns)) => start = ns,
                (8, Wire::Fixed64(ns)) => end = ns,
                // What is refused anyway takes no memory.
                (9 | 11 | 13, Wire::Bytes(_)) if too_large => {}
                (9, Wire::Bytes(entry)) => self.read_attribute(whole, entry, &mut refusal)?,
                (10, Wire::Varint(count)) => span.dropped_attributes = saturate(count),
                (11, Wire::Bytes(event)) => self.read_event(event, &mut refusal)?,
                (12, Wire::Varint(count)) => span.dropped_events = saturate(count),
                (13, Wire::Bytes(link)) => self.read_link(link, &mut refusal)?,
                (14, Wire::Varint(count)) => span.dropped_links = saturate(count),
                (15, Wire::Bytes(status)) => read_status(whole, status, &mut span)?,
                (16, Wire::Fixed32(flags)) => span.flags = flags,
                (1..=16, _) => return Err(WireError::WireType(field).into()),
                _ => {}
            }
        }
        if self.attributes.len() - attributes > limits.attributes {
            refusal = Some(Refusal::TooManyAttributes);
        }
        if too_large {
            refusal = Some(Refusal::TooLarge);
        }
        let ends_early = match as_times(start, end, limits.now_ns) {
            Some((start_ns, duration_ns)) => {
                (span.start_ns, span.duration_ns) = (start_ns, duration_ns.max(0));
                if start_ns < limits.oldest_ns {
                    refusal = Some(Refusal::TooOld);
                }
                duration_ns < 0
            }
            None => {
                refusal = Some(Refusal::Time);
                false
            }
        };
        match id(span_id) {
            Some(id) => span.span_id = id,
            None => refusal = Some(Refusal::SpanId),
        }
        match id(trace_id) {
            Some(id) => span.trace_id = id,
            None => refusal = Some(Refusal::TraceId),
        }
        if let Some(refusal) = refusal {
            self.attributes.truncate(attributes);
            self.events.truncate(events);
            self.links.truncate(links);
            self.refuse(refusal, refusal.message(&span, whole, limits));
            return Ok(());
        }
        if ends_early {
            self.tell(|| {
                let name = shown(span.name.get(whole));
                format!("span {name} ends before it starts: its duration is taken as 0")
            });
        }
        let places = |from: usize, to: usize| from as u32..to as u32;
        span.attributes = places(attributes, self.attributes.len());
        span.events = places(events, self.events.len());
        span.links = places(links, self.links.len());
        span.resource = (self.resources.len() - 1) as u32;
        span.scope = (self.scopes.len() - 1) as u32;
        self.spans.push(span);
        self.check_parts()
    }

    /// Accounts for memory that a part takes.
    fn keep(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.kept_bytes += bytes + size_of::<Event>();
        self.check_parts()
    }

    fn check_parts(&self) -> Result<(), DecodeError> {
        let spans = self.spans.len() * size_of::<Span>();
        let attributes = self.attributes.len() * size_of::<(Place, Place)>();
        if spans + attributes + self.kept_bytes > MAX_PARTS_BYTES {
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
        let (mut key, mut value) = (Place::default(), Place::default());
        let mut fields = Fields::new(entry);
        while let Some((field, wire)) = fields.next_field()? {
            match field {
                1 => key = Place::of(whole, wire.bytes(1)?),
                2 => {
                    let any = wire.bytes(2)?;
                    check(Value::parse(any)?, refusal)?;
                    value = Place::of(whole, any);
                }
                _ => {}
            }
        }
        self.attributes.push((key, value));
        self.check_parts()
    }

    fn read_event(
        &mut self,
        message: &[u8],
        refusal: &mut Option<Refusal>,
    ) -> Result<(), DecodeError> {
        let (mut time, mut rest) = (0, Vec::new());
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            match (field, wire) {
                (1, Wire::Fixed64(ns)) => time = ns,
                (2, Wire::Bytes(name)) => put_bytes(&mut rest, 2, name),
                (3, Wire::Bytes(entry)) => put_entry(&mut rest, 3, entry, refusal)?,
                (4, Wire::Varint(count)) => put_varint(&mut rest, 4, u64::from(saturate(count))),
                (1..=4, _) => return Err(WireError::WireType(field).into()),
                _ => {}
            }
        }
        // Times that no span may have are the last there is.
        let time_ns = i64::try_from(time).unwrap_or(i64::MAX);
        self.keep(rest.capacity())?;
        self.events.push(Event { time_ns, rest });
        Ok(())
    }

    fn read_link(
        &mut self,
        message: &[u8],
        refusal: &mut Option<Refusal>,
    ) -> Result<(), DecodeError> {
        let (mut ids, mut rest) = ([0; 24], Vec::new());
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            match (field, wire) {
                (1, Wire::Bytes(id)) if id.len() == 16 => ids[..16].copy_from_slice(id),
                (2, Wire::Bytes(id)) if id.len() == 8 => ids[16..].copy_from_slice(id),
                (1..=3, Wire::Bytes(other)) => put_bytes(&mut rest, field, other),
                (4, Wire::Bytes(entry)) => put_entry(&mut rest, 4, entry, refusal)?,
                (5, Wire::Varint(count)) => put_varint(&mut rest, 5, u64::from(saturate(count))),
                (6, Wire::Fixed32(flags)) => put_fixed32(&mut rest, 6, flags),
                (1..=6, _) => return Err(WireError::WireType(field).into()),
                _ => {}
            }
        }
        self.keep(rest.capacity())?;
        self.links.push(Link { ids, rest });
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal, message: String) {
        match self.refused.iter_mut().find(|(reason, _)| *reason == refusal) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((refusal, 1)),
        }
        self.tell(|| message);
    }

    fn tell(&mut self, message: impl FnOnce() -> String) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message());
        }
    }
}

/// Start and duration, this less than 0 where the end comes before the start. Of two times one may
/// be missing, and of both now is taken.
fn as_times(start: u64, end: u64, now_ns: i64) -> Option<(i64, i64)> {
    let (start, end) = match (start, end) {
        (0, 0) => return Some((now_ns, 0)),
        (0, one) | (one, 0) => (one, one),
        both => both,
    };
    let (start, end) = (i64::try_from(start).ok()?, i64::try_from(end).ok()?);
    Some((start, end - start))
}

fn saturate(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// An id of the right size that is not all zero.
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok().filter(|id| *id != [0; N])
}

/// Appends a `fixed32` field.
pub fn put_fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    put_key(out, field, 5);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_entry(
    out: &mut Vec<u8>,
    field: u32,
    entry: &[u8],
    refusal: &mut Option<Refusal>,
) -> Result<(), DecodeError> {
    check(crate::columns::value::parse_entry(entry)?.1, refusal)?;
    put_bytes(out, field, entry);
    Ok(())
}

fn read_status(whole: &[u8], message: &[u8], span: &mut Span) -> Result<(), DecodeError> {
    let mut fields = Fields::new(message);
    while let Some((field, wire)) = fields.next_field()? {
        match field {
            2 => span.status_message = Place::of(whole, wire.bytes(2)?),
            3 => {
                let code = wire.varint(3)?;
                span.status = u8::try_from(code).ok().filter(|c| *c <= ERROR).unwrap_or(0);
            }
            _ => {}
        }
    }
    Ok(())
}

struct Group {
    kept: Vec<u8>,
    refusal: Option<Refusal>,
}

/// What the spans of a `ResourceSpans` or `ScopeSpans` have in common, fields 1 and 3. Attributes
/// are field `attributes` of field 1.
fn read_group(message: &[u8], attributes: u32) -> Result<Group, DecodeError> {
    let (mut kept, mut refusal) = (Vec::new(), None);
    let mut fields = Fields::new(message);
    while let Some((field, wire)) = fields.next_field()? {
        match field {
            1 => {
                let inner = wire.bytes(1)?;
                let mut parts = Fields::new(inner);
                while let Some((part, wire)) = parts.next_field()? {
                    if part == attributes {
                        let entry = crate::columns::value::parse_entry(wire.bytes(part)?)?;
                        check(entry.1, &mut refusal)?;
                    }
                }
                put_bytes(&mut kept, 1, inner);
            }
            3 => put_bytes(&mut kept, 3, wire.bytes(3)?),
            _ => {}
        }
    }
    if refusal.is_some() {
        kept = Vec::new();
    }
    Ok(Group { kept, refusal })
}

fn check(value: Value<'_>, refusal: &mut Option<Refusal>) -> Result<(), WireError> {
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

    const LIMITS: Limits = Limits { now_ns: 50, oldest_ns: 10, span_bytes: 200, attributes: 3 };

    fn request(span: &[u8]) -> Vec<u8> {
        let (mut scope, mut resource, mut out) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut scope, 2, span);
        put_bytes(&mut resource, 2, &scope);
        put_bytes(&mut out, 1, &resource);
        out
    }

    fn span(trace_id: &[u8], span_id: &[u8], start: u64, end: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, trace_id);
        put_bytes(&mut out, 2, span_id);
        put_bytes(&mut out, 5, b"a name");
        for (field, ns) in [(7, start), (8, end)] {
            put_key(&mut out, field, 1);
            out.extend_from_slice(&ns.to_le_bytes());
        }
        out
    }

    fn decode(spans: &[Vec<u8>]) -> Batch {
        let body: Vec<u8> = spans.iter().flat_map(|span| request(span)).collect();
        Batch::decode(&body, &LIMITS).expect("a request")
    }

    #[test]
    fn bad_spans_are_refused_one_by_one() {
        let many = (0..4).fold(span(&[1; 16], &[1; 8], 20, 30), |mut span, _| {
            put_bytes(&mut span, 9, &[]);
            span
        });
        let large = [span(&[1; 16], &[1; 8], 20, 30), vec![0x1a, 127], vec![b'x'; 127]].concat();
        let batch = decode(&[
            span(&[0; 16], &[1; 8], 20, 30),
            span(&[1; 15], &[1; 8], 20, 30),
            span(&[1; 16], &[0; 8], 20, 30),
            span(&[1; 16], &[1; 9], 20, 30),
            span(&[1; 16], &[1; 8], 9, 30),
            span(&[1; 16], &[1; 8], 20, u64::MAX),
            many,
            [large.clone(), large].concat(),
            span(&[1; 16], &[1; 8], 20, 30),
        ]);
        assert_eq!(batch.spans.len(), 1);
        assert_eq!(
            batch.refused,
            [
                (Refusal::TraceId, 2),
                (Refusal::SpanId, 2),
                (Refusal::TooOld, 1),
                (Refusal::Time, 1),
                (Refusal::TooManyAttributes, 1),
                (Refusal::TooLarge, 1),
            ]
        );
        assert_eq!(batch.messages.len(), MAX_MESSAGES);
        assert!(batch.attributes.is_empty());
    }

    #[test]
    fn times_that_are_missing_or_wrong_are_mended() {
        let times = [(20, 30), (20, 0), (0, 30), (0, 0), (30, 20)];
        let spans: Vec<_> = times.iter().map(|(s, e)| span(&[1; 16], &[1; 8], *s, *e)).collect();
        let batch = decode(&spans);
        let found: Vec<_> = batch.spans.iter().map(|s| (s.start_ns, s.duration_ns)).collect();
        assert_eq!(found, [(20, 10), (20, 0), (30, 0), (50, 0), (30, 0)]);
        assert_eq!(batch.messages.len(), 1);
        assert!(batch.refused.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes: Vec<u8>) {
            let _ = Batch::decode(&bytes, &LIMITS);
            let _ = Batch::decode(&request(&bytes), &LIMITS);
            let mut in_span = span(&[1; 16], &[1; 8], 20, 30);
            for field in [9, 11, 13, 15] {
                put_bytes(&mut in_span, field, &bytes);
            }
            let _ = Batch::decode(&request(&in_span), &LIMITS);
        }
    }
}
