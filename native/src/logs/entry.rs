//! Records as the product's API shows them in JSON: docs/api/logs.md, "logs". What is written here
//! is what `obsd/api/log_entry.py` makes of a record in Python; a test compares the two.

use super::column::{Strings, TEMPLATE};
use super::eval::Step;
use super::granule::{Corrupt, Kind, View, fill};
use super::levels::{LEVELS, level_of};
use super::search::Hit;
use super::value::{Value, list, map};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// A page's records may take so much; it ends early then.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// Granules that are read at one time.
const WAVE: usize = 4;

/// The entries of hits, in order, of as many of the first as there is room for, at least one.
///
/// # Errors
/// A column is damaged.
pub fn write_page(hits: &[Hit]) -> Result<Vec<String>, Corrupt> {
    // The columns of only a few granules are in memory as a whole.
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_by_key(|index| Arc::as_ptr(&hits[*index].granule));
    let mut found: BTreeMap<usize, String> = BTreeMap::new();
    let (mut size_bytes, mut end) = (0, hits.len());
    let same = |a: &usize, b: &usize| Arc::ptr_eq(&hits[*a].granule, &hits[*b].granule);
    let granules: Vec<&[usize]> = order.chunk_by(same).collect();
    for wave in granules.chunks(WAVE) {
        // Other threads are not woken for one.
        let written: Vec<Vec<(usize, String)>> = match wave {
            [one] => vec![write_rows(hits, one, end)?],
            _ => wave
                .par_iter()
                .map(|of_granule| write_rows(hits, of_granule, end))
                .collect::<Result<_, Corrupt>>()?,
        };
        for (index, entry) in written.into_iter().flatten() {
            if index >= end {
                continue;
            }
            size_bytes += entry.len();
            found.insert(index, entry);
            while size_bytes > MAX_PAGE_BYTES
                && found.len() > 1
                && let Some((last, entry)) = found.pop_last()
            {
                size_bytes -= entry.len();
                end = last;
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The entries of some hits of one granule, of those before `end`.
fn write_rows(
    hits: &[Hit],
    of_granule: &[usize],
    end: usize,
) -> Result<Vec<(usize, String)>, Corrupt> {
    let wanted = || of_granule.iter().filter(|index| **index < end);
    let Some(first) = wanted().next() else { return Ok(Vec::new()) };
    let view = View::for_page(Arc::clone(&hits[*first].granule));
    let mut writer = EntryWriter::new(&view, wanted().map(|index| hits[*index].row))?;
    let mut size_bytes = 0;
    let mut written = Vec::new();
    for index in wanted() {
        let mut entry = String::new();
        writer.write(hits[*index].row, &mut entry)?;
        size_bytes += entry.len();
        written.push((*index, entry));
        if size_bytes > MAX_PAGE_BYTES {
            break;
        }
    }
    Ok(written)
}

/// Writes entries of rows of a granule.
struct EntryWriter<'v> {
    view: &'v View,
    variables: Arc<Vec<Vec<Strings>>>,
    ordinals: Vec<u32>,
    buffer: Vec<u8>,
}

impl<'v> EntryWriter<'v> {
    /// For these rows alone.
    fn new(view: &'v View, rows: impl Iterator<Item = usize>) -> Result<Self, Corrupt> {
        let column = view.column(Kind::Body)?;
        let mut wanted = vec![false; column.values().len()];
        rows.filter_map(|row| column.id(row)).for_each(|id| wanted[id] = true);
        let variables = view.variables(&wanted)?;
        Ok(Self { view, variables, ordinals: view.ordinals()?, buffer: Vec::new() })
    }

    /// Appends a row's entry.
    fn write(&mut self, row: usize, out: &mut String) -> Result<(), Corrupt> {
        let view = self.view;
        let number = bytes(view, Kind::Severity, row)?.first().copied().unwrap_or(0);
        let word = bytes(view, Kind::SeverityText, row)?;
        let resource = bytes(view, Kind::Resource, row)?;
        out.push_str("{\"timestamp\":\"");
        write_time(view.times()?[row], out);
        out.push_str("\",\"observed_timestamp\":\"");
        write_time(view.observed()?[row], out);
        let level = level_of(number, word).map_or("", |level| LEVELS[level as usize]);
        let _ = write!(out, "\",\"level\":\"{level}\",\"severity_number\":{number}");
        out.push_str(",\"severity_text\":");
        write_text(&String::from_utf8_lossy(word), out);
        out.push_str(",\"service\":");
        let service = Step::Service.apply(Value::Map(resource));
        write_text(&service.map_or_else(Default::default, Value::text_or_json), out);
        self.write_body(row, out)?;
        for (name, kind) in [("trace_id", Kind::TraceId), ("span_id", Kind::SpanId)] {
            let _ = write!(out, ",\"{name}\":\"");
            for byte in bytes(view, kind, row)? {
                let _ = write!(out, "{byte:02x}");
            }
            out.push('"');
        }
        out.push_str(",\"attributes\":{");
        let mut entries = Entries::default();
        for (index, info) in view.granule.attributes.iter().enumerate() {
            if let Some(value) = view.attribute(index)?.get(row) {
                entries.write(info.key.as_bytes(), value, out);
            }
        }
        map(bytes(view, Kind::Rest, row)?).for_each(|(key, value)| entries.write(key, value, out));
        out.push_str("},\"resource\":");
        write_value(Value::Map(resource), out);
        out.push_str(",\"details\":");
        write_value(Value::Map(bytes(view, Kind::Details, row)?), out);
        out.push('}');
        Ok(())
    }

    fn write_body(&mut self, row: usize, out: &mut String) -> Result<(), Corrupt> {
        let column = self.view.column(Kind::Body)?;
        let value = match column.id(row) {
            None => Value::Null,
            Some(id) if column.values().tag(id) == TEMPLATE => {
                let (template, variables) = (column.values().bytes(id), &self.variables[id]);
                fill(template, variables, self.ordinals[row] as usize, &mut self.buffer);
                Value::Text(&self.buffer)
            }
            Some(id) => column.values().get(id),
        };
        out.push_str(",\"message\":");
        match value {
            Value::Text(text) => write_text(&String::from_utf8_lossy(text), out),
            Value::Null => out.push_str("\"\""),
            other => {
                let mut json = String::new();
                write_value(other, &mut json);
                write_text(&json, out);
            }
        }
        out.push_str(",\"body\":");
        match value {
            Value::Text(_) => out.push_str("null"),
            other => write_value(other, out),
        }
        Ok(())
    }
}

fn bytes(view: &View, kind: Kind, row: usize) -> Result<&[u8], Corrupt> {
    Ok(match view.column(kind)?.get(row) {
        Some(Value::Text(bytes) | Value::Bytes(bytes) | Value::Map(bytes)) => bytes,
        _ => &[],
    })
}

/// The entries of a map so far: of equal keys the first counts.
#[derive(Default)]
struct Entries<'a>(Vec<&'a [u8]>);

impl<'a> Entries<'a> {
    fn write(&mut self, key: &'a [u8], value: Value<'_>, out: &mut String) {
        if self.0.contains(&key) {
            return;
        }
        if !self.0.is_empty() {
            out.push(',');
        }
        self.0.push(key);
        write_text(&String::from_utf8_lossy(key), out);
        out.push(':');
        write_value(value, out);
    }
}

/// Bytes are base64, and numbers that JSON has not are texts.
fn write_value(value: Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Text(text) => write_text(&String::from_utf8_lossy(text), out),
        Value::Int(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Double(n) if n.is_nan() => out.push_str("\"NaN\""),
        Value::Double(n) if n.is_infinite() => {
            out.push_str(if n > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
        }
        Value::Double(n) => out.push_str(ryu::Buffer::new().format_finite(n)),
        Value::Bool(b) => out.push_str(if b { "true" } else { "false" }),
        Value::Bytes(bytes) => {
            out.push('"');
            write_base64(bytes, out);
            out.push('"');
        }
        Value::List(message) => {
            out.push('[');
            for (index, item) in list(message).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Map(message) => {
            out.push('{');
            let mut entries = Entries::default();
            map(message).for_each(|(key, value)| entries.write(key, value, out));
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

fn write_base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit > three.len() {
                out.push('=');
            } else {
                out.push(DIGITS[(word >> (18 - 6 * digit) & 63) as usize] as char);
            }
        }
    }
}

/// RFC 3339 in UTC, with three, six or nine digits of a second: as few as say it all.
pub fn write_time(time_ns: i64, out: &mut String) {
    const NS: i64 = 1_000_000_000;
    let (seconds, mut fraction) = (time_ns.div_euclid(NS), time_ns.rem_euclid(NS));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(out, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
    let mut digits = 9;
    while digits > 3 && fraction % 1000 == 0 {
        (digits, fraction) = (digits - 3, fraction / 1000);
    }
    let _ = write!(out, "{fraction:0digits$}Z");
}

/// The date of a day, counted from 1970-01-01. Source: Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`, <https://howardhinnant.github.io/date_algorithms.html>.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + 400 * era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_as_few_digits_as_say_it_all() {
        let of = |ns: i64| {
            let mut out = String::new();
            write_time(ns, &mut out);
            out
        };
        assert_eq!(of(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(of(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(of(951_782_400_000_001_000), "2000-02-29T00:00:00.000001Z");
        assert_eq!(of(1_769_860_800_120_000_000), "2026-01-31T12:00:00.120Z");
        assert_eq!(of(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(of(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn bytes_are_base64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            let mut out = String::new();
            write_base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, text);
        }
    }
}
