//! Which of an object's fields are its message, level, time, service, trace and span.

use super::draft::{Entry, Val};
use super::findings::{Findings, Found};
use super::level::{severity_of, severity_of_number};
use super::names;
use super::request::is_unknown;
use super::time::{Moment, parse_time, time_of_double, time_of_int};
use crate::logs::value::{Value, lookup};
use std::borrow::Cow;

/// Hexadecimal digits, as many as fill the id; an id of zeros is none.
#[must_use]
pub fn parse_id<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut id = [0; N];
    for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |b: u8| (b as char).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    id.iter().any(|b| *b != 0).then_some(id)
}

/// The ids of a W3C `traceparent`, `00-<trace>-<span>-01`.
#[must_use]
pub fn parse_traceparent(text: &[u8]) -> Option<([u8; 16], [u8; 8])> {
    let [b'0'..=b'9', b'0'..=b'9', b'-', rest @ ..] = text else {
        return None;
    };
    let trace = rest.get(..32)?;
    let span = rest.get(33..49)?;
    (rest[32] == b'-' && rest.get(49) == Some(&b'-'))
        .then(|| Some((parse_id(trace)?, parse_id(span)?)))?
}

struct Object<'t> {
    entries: Vec<Option<Entry<'t>>>,
}

impl<'t> Object<'t> {
    /// The first of these names whose value passes. A whole field is taken out; one inside a map
    /// stays there.
    fn find<T>(
        &mut self,
        names: &[&str],
        mut read: impl FnMut(Value<'_>) -> Option<T>,
    ) -> Option<Found<'t, T>> {
        for name in names {
            for slot in &mut self.entries {
                let Some((key, value)) = slot else { continue };
                if **key == *name.as_bytes() {
                    if let Some(value) = read(value.view()) {
                        return Some(Found { value, field: slot.take() });
                    }
                } else if let (Some(path), Value::Map(inner)) = (below(name, key), value.view())
                    && let Some(value) = lookup(inner, path).and_then(&mut read)
                {
                    return Some(Found { value, field: None });
                }
            }
        }
        None
    }

    fn has(&self, name: &str) -> bool {
        self.entries.iter().flatten().any(|(key, _)| **key == *name.as_bytes())
    }

    fn take(&mut self, name: &str, fits: impl Fn(&Val<'_>) -> bool) -> Option<Val<'t>> {
        let fits = |(key, value): &Entry<'_>| **key == *name.as_bytes() && fits(value);
        let slot = self.entries.iter_mut().find(|slot| slot.as_ref().is_some_and(fits))?;
        slot.take().map(|(_, value)| value)
    }
}

/// What of a dotted name stands below a key: `level` of `log.level` below `log`.
fn below<'n>(name: &'n str, key: &[u8]) -> Option<&'n str> {
    let (first, rest) = name.split_at_checked(key.len())?;
    (first.as_bytes() == key).then(|| rest.strip_prefix('.'))?
}

fn text<'v>(value: Value<'v>) -> Option<&'v [u8]> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A name; `service=18ms` of a router is none.
fn service(value: Value<'_>) -> Option<Vec<u8>> {
    let name = text(value)?;
    let is_name = !name[0].is_ascii_digit() && name.len() <= 256 && !is_unknown(name);
    is_name.then(|| name.to_vec())
}

fn time(value: Value<'_>, moment: Moment) -> Option<u64> {
    match value {
        Value::Text(text) => parse_time(text, moment),
        Value::Int(number) => time_of_int(number, moment),
        Value::Double(number) => time_of_double(number, moment),
        _ => None,
    }
}

fn level(value: Value<'_>, is_syslog: bool) -> Option<(u8, Cow<'static, [u8]>)> {
    let (number, word) = match value {
        Value::Text(word) => (severity_of(word), Cow::Owned(word.to_vec())),
        Value::Int(number) => {
            (severity_of_number(number, is_syslog), Cow::Owned(number.to_string().into_bytes()))
        }
        _ => return None,
    };
    (number != 0).then_some((number, word))
}

/// What the fields say. Those that say nothing of this kind are attributes, with their types.
#[must_use]
pub fn read_fields<'t>(entries: Vec<Entry<'t>>, moment: Moment) -> Findings<'t> {
    let mut object = Object { entries: entries.into_iter().map(Some).collect() };
    let is_gelf = object.has("short_message");
    let is_clef = object.has("@t") && !object.has("@l");
    let mut found = Findings {
        time_ns: object.find(&names::TIME, |value| time(value, moment)),
        level: object.find(&names::LEVEL, |value| level(value, is_gelf)),
        trace_id: object.find(&names::TRACE, |value| {
            // Google's has the project in front.
            parse_id(text(value)?.rsplit(|b| *b == b'/').next()?)
        }),
        span_id: object.find(&names::SPAN, |value| parse_id(text(value)?)),
        service: object.find(&names::SERVICE, service),
        ..Findings::default()
    };
    if found.level.is_none() && is_clef {
        // Serilog leaves out the commonest level.
        found.level(9, b"");
    }
    if found.trace_id.is_none()
        && let Some(parent) = object.find(&["traceparent"], |v| parse_traceparent(text(v)?))
    {
        let (trace, span) = parent.value;
        found.trace_id = Some(trace.into());
        found.span_id = found.span_id.take().or(Some(span.into()));
        // Its flags are in nothing else.
        found.attributes.extend(parent.field);
    }
    let is_text = |value: &Val<'_>| value.as_text().is_some_and(|text| !text.is_empty());
    found.body = names::MESSAGE.iter().find_map(|name| object.take(name, is_text)).or_else(|| {
        // A message that is no text is one all the same; "event" and "log" are often objects.
        let is_set = |value: &Val<'_>| !value.view().is_null();
        ["message", "msg", "body"].iter().find_map(|name| object.take(name, is_set))
    });
    found.attributes.extend(object.entries.into_iter().flatten());
    found
}
