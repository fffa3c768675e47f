//! What a record's text is, and what is in it. Most texts are prose, and are told so by their first
//! bytes.

use super::access;
use super::draft::Val;
use super::exception::read_exception;
use super::fields::{parse_id, parse_traceparent, read_fields};
use super::findings::{Findings, Terms};
use super::headers;
use super::json;
use super::logfmt;
use super::syslog;
use super::time::Moment;
use crate::logs::value::Value;
use crate::wire::protobuf::{Fields, Value as Wire, WireError};
use memchr::{memchr, memmem};
use std::borrow::Cow;
use std::sync::LazyLock;

/// Texts within texts: a container's line that is JSON that has a line.
const MAX_WRAPPINGS: usize = 3;
/// Ids are looked for so far into a text.
const MAX_ID_BYTES: usize = 4096;

static TRACE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("race"));

/// What of a record decides whether its text is looked at.
#[derive(Debug, Clone, Default)]
pub struct Scan<'a> {
    pub time_ns: u64,
    pub observed_ns: u64,
    severity: u64,
    severity_text: &'a [u8],
    /// The body, where that is a text.
    pub text: Option<&'a [u8]>,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    /// From the first attribute to the last.
    attributes: &'a [u8],
}

impl<'a> Scan<'a> {
    /// Looks at the fields of a `LogRecord`.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn read(message: &'a [u8]) -> Result<Self, WireError> {
        let mut scan = Self::default();
        let mut attributes: Option<(usize, usize)> = None;
        let mut fields = Fields::new(message);
        loop {
            let before = fields.rest();
            let Some((field, wire)) = fields.next_field()? else { break };
            match (field, wire) {
                (1, Wire::Fixed64(ns)) => scan.time_ns = ns,
                (11, Wire::Fixed64(ns)) => scan.observed_ns = ns,
                (2, Wire::Varint(number)) => scan.severity = number,
                (3, Wire::Bytes(text)) => scan.severity_text = text,
                (5, Wire::Bytes(any)) => {
                    scan.text = match Value::parse(any)? {
                        Value::Text(text) => Some(text),
                        _ => None,
                    };
                }
                (6, Wire::Bytes(_)) => {
                    let start = message.len() - before.len();
                    let end = message.len() - fields.rest().len();
                    attributes = Some((attributes.map_or(start, |(first, _)| first), end));
                }
                (9, Wire::Bytes(id)) => scan.trace_id = id,
                (10, Wire::Bytes(id)) => scan.span_id = id,
                _ => {}
            }
        }
        if let Some((start, end)) = attributes {
            scan.attributes = &message[start..end];
        }
        Ok(scan)
    }

    #[must_use]
    pub fn any_time_ns(&self) -> u64 {
        if self.time_ns == 0 { self.observed_ns } else { self.time_ns }
    }

    fn has_level(&self) -> bool {
        self.severity != 0 || !self.severity_text.is_empty()
    }

    /// Whether the record says nothing that `head` does not say as well.
    #[must_use]
    pub fn may_join(&self, head: &Scan<'_>) -> bool {
        let same = |own: &[u8], heads: &[u8]| own.is_empty() || own == heads;
        same(self.attributes, head.attributes)
            && same(self.trace_id, head.trace_id)
            && same(self.span_id, head.span_id)
            && same(self.severity_text, head.severity_text)
            && (self.severity == 0 || self.severity == head.severity)
    }

    /// Whether there may be something in the text that the record does not say yet.
    #[inline]
    #[must_use]
    pub fn is_worth_a_look(&self) -> bool {
        let Some(text) = self.text else { return false };
        let Some(first) = text.first() else { return false };
        if !self.has_level() || self.time_ns == 0 {
            return true;
        }
        match first {
            b'{' | b'<' | b'\x1b' | b' ' | b'\t' => return true,
            b'0'..=b'9' if access::may_be_access(text) => return true,
            b'I' | b'W' | b'E' | b'F' if headers::may_be_klog(text) => return true,
            _ if logfmt::may_be_logfmt(text) => return true,
            _ => {}
        }
        memchr(b'\n', text).is_some()
            || (self.trace_id.is_empty() && TRACE.find(head(text, MAX_ID_BYTES)).is_some())
            || (!first.is_ascii_digit() && access::may_be_access(text))
    }
}

fn head(text: &[u8], size: usize) -> &[u8] {
    &text[..text.len().min(size)]
}

/// What a text says; `None` when nothing.
#[must_use]
pub fn detect<'t>(text: &'t [u8], scan: &Scan<'_>, terms: Terms<'_>) -> Option<Findings<'t>> {
    // What a record says itself need not be looked for in prose.
    let needs_header = !scan.has_level() || scan.time_ns == 0;
    let mut found = read_text(text, terms.moment, needs_header, 0);
    if scan.trace_id.is_empty() && found.trace_id.is_none() {
        let place = head(text, MAX_ID_BYTES);
        found.trace_id = trace_in(place).map(Into::into);
        if found.trace_id.is_some() && scan.span_id.is_empty() && found.span_id.is_none() {
            found.span_id = id_in(place, b"pan").map(Into::into);
        }
    }
    Some(found)
}

fn read_text(text: &[u8], moment: Moment, needs_header: bool, wrappings: usize) -> Findings<'_> {
    if memchr(b'\x1b', head(text, 1024)).is_some() {
        let plain = without_colours(text);
        let mut found = read_text(&plain, moment, needs_header, wrappings).into_owned();
        if wrappings == 0 && found.attributes.is_empty() {
            found.body = None;
        }
        return found;
    }
    let trimmed = text.trim_ascii();
    if trimmed.first() == Some(&b'{') {
        return match json::parse_object(trimmed) {
            Some(entries) => object(entries, moment, wrappings),
            None if needs_header => headers::read_header(line_of(trimmed), moment),
            None => Findings::default(),
        };
    }
    let line = line_of(text);
    let mut found = read_line(line, moment, needs_header, wrappings);
    if let Some(thrown) = read_exception(text) {
        found.text("exception.type", thrown.kind);
        found.text("exception.message", thrown.message);
        found.text("exception.stacktrace", thrown.trace);
        if found.level.is_none() {
            found.level(17, b"error");
        }
    }
    found
}

/// The first line.
fn line_of(text: &[u8]) -> &[u8] {
    let line = &text[..memchr(b'\n', text).unwrap_or(text.len())];
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn read_line(line: &[u8], moment: Moment, needs_header: bool, wrappings: usize) -> Findings<'_> {
    if line.first() == Some(&b'<')
        && let Some(found) = syslog::parse_syslog(line, moment)
    {
        return found;
    }
    if logfmt::may_be_logfmt(line)
        && let Some(pairs) = logfmt::parse_line(line)
    {
        let mut found = read_fields(pairs.entries, moment);
        if !pairs.is_whole {
            found.body = None;
        }
        return found;
    }
    if access::may_be_access(line)
        && let Some(found) = access::parse_line(line, moment)
    {
        return found;
    }
    if wrappings < MAX_WRAPPINGS
        && let Some(found) = syslog::parse_cri(line, moment)
    {
        return unwrap(found, moment, wrappings);
    }
    if needs_header {
        return headers::read_header(line, moment);
    }
    headers::klog(line, moment).unwrap_or_default()
}

fn object(entries: Vec<super::draft::Entry<'_>>, moment: Moment, wrappings: usize) -> Findings<'_> {
    let has = |name: &[u8]| entries.iter().any(|(key, _)| **key == *name);
    let is_container = has(b"log") && has(b"stream");
    let mut found = read_fields(entries, moment);
    if is_container && wrappings < MAX_WRAPPINGS {
        return unwrap(found, moment, wrappings);
    }
    if found.level.is_none()
        && let Some(Val::Text(message)) = &found.body
    {
        let level = headers::read_header(line_of(message), moment).level;
        found.level = level.map(|level| {
            let (number, word) = level.value;
            (number, Cow::Owned(word.into_owned())).into()
        });
    }
    found.is_object = found.body.is_none();
    trace_of_fields(&mut found);
    found
}

/// The exception whose trace is in one of the fields that loggers have for it.
fn trace_of_fields(found: &mut Findings<'_>) {
    const NAMES: [&[u8]; 9] = [
        b"exception.stacktrace",
        b"error.stack_trace",
        b"stack_trace",
        b"stacktrace",
        b"exc_info",
        b"exception",
        b"@x",
        b"stack",
        b"error.stack",
    ];
    let thrown = found.attributes.iter().find_map(|(key, value)| {
        let text = NAMES.contains(&key.as_ref()).then(|| value.as_text())??;
        let thrown = read_exception(text)?;
        Some((thrown.kind.to_vec(), thrown.message.to_vec()))
    });
    let Some((kind, message)) = thrown else { return };
    for (name, text) in [("exception.type", kind), ("exception.message", message)] {
        let has = found.attributes.iter().any(|(key, _)| **key == *name.as_bytes());
        if !has && !text.is_empty() {
            found.attribute(name, Val::Text(Cow::Owned(text)));
        }
    }
}

/// What the text says that another one wraps. The outer one's time is of that very line; its level
/// would be the stream's.
fn unwrap(mut found: Findings<'_>, moment: Moment, wrappings: usize) -> Findings<'_> {
    let Some(Val::Text(message)) = found.body.take() else {
        return found;
    };
    let line = message.strip_suffix(b"\n").unwrap_or(&message);
    let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let mut inner = read_text(&line, moment, true, wrappings + 1).into_owned();
    inner.body = inner.body.or(Some(Val::Text(Cow::Owned(line))));
    found.fill(inner);
    found
}

/// The text without its escape sequences of colours.
fn without_colours(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'\x1b', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(sequence) = rest.strip_prefix(b"[") {
            let end = sequence.iter().position(|b| (0x40..0x7f).contains(b));
            rest = end.map_or(&[][..], |end| &sequence[end + 1..]);
        }
    }
    out.extend_from_slice(rest);
    out
}

/// `trace_id=…`, `traceId: …`, `"dd.trace_id":"…"`, `traceparent=…`.
fn trace_in(text: &[u8]) -> Option<[u8; 16]> {
    id_in(text, b"race").or_else(|| {
        let at = memmem::find(text, b"traceparent")? + b"traceparent".len();
        parse_traceparent(value_at(&text[at..])?).map(|(trace, _)| trace)
    })
}

/// The id that stands after a name such as `trace_id`, whose first letter is left out of `name`.
fn id_in<const N: usize>(text: &[u8], name: &[u8]) -> Option<[u8; N]> {
    memmem::find_iter(text, name).find_map(|at| {
        let rest = &text[at + name.len()..];
        let rest = rest.strip_prefix(b"_").or_else(|| rest.strip_prefix(b".")).unwrap_or(rest);
        let rest = rest.strip_prefix(b"-").unwrap_or(rest);
        let [b'i' | b'I', b'd' | b'D', rest @ ..] = rest else {
            return None;
        };
        let value = value_at(rest)?;
        let digits = value.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(value.len());
        let is_end = !value.get(digits).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-');
        is_end.then(|| parse_id(&value[..digits]))?
    })
}

/// What stands behind `=` or `:`, quotes and spaces aside.
fn value_at(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest).trim_ascii_start();
    let [b'=' | b':', rest @ ..] = rest else {
        return None;
    };
    let rest = rest.trim_ascii_start();
    Some(rest.strip_prefix(b"\"").unwrap_or(rest))
}
