//! Lines that have been wrapped on their way: syslog messages with their priority, and the lines of
//! container runtimes (CRI).

use super::draft::Val;
use super::findings::{Findings, Found};
use super::level::severity_of_syslog;
use super::time::{Moment, parse_stamp};
use memchr::memchr;
use std::borrow::Cow;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// A message of RFC 5424 or RFC 3164, `<34>…`. The text stays whole.
#[must_use]
pub fn parse_syslog(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    let rest = line.strip_prefix(b"<")?;
    let close = memchr(b'>', &rest[..rest.len().min(4)])?;
    let digits = &rest[..close];
    let is_number =
        digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    let priority: u8 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    if priority > 191 {
        return None;
    }
    let rest = &rest[close + 1..];
    let mut found = match rest.strip_prefix(b"1 ") {
        Some(rest) => rfc5424(rest, moment)?,
        None => rfc3164(rest, moment)?,
    };
    let level = priority & 7;
    found.level(severity_of_syslog(level), LEVELS[usize::from(level)].as_bytes());
    found.text("syslog.facility", FACILITIES[usize::from(priority >> 3)].as_bytes());
    Some(found)
}

fn program<'t>(found: &mut Findings<'t>, name: &'t [u8]) {
    if !name.is_empty() {
        found.service = Some(Found {
            value: name.to_vec(),
            field: Some((Cow::Borrowed(b"syslog.appname"), Val::text(name))),
        });
    }
}

fn rfc5424(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    let mut rest = line;
    let mut parts: [&[u8]; 5] = [b""; 5];
    for part in &mut parts {
        let space = memchr(b' ', rest)?;
        (*part, rest) = (&rest[..space], &rest[space + 1..]);
        if *part == b"-" {
            *part = b"";
        }
    }
    let [time, host, name, process, message_id] = parts;
    let mut found = Findings::default();
    if !time.is_empty() {
        let stamp = parse_stamp(time).filter(|stamp| stamp.len == time.len())?;
        found.time_ns = stamp.resolve(moment).map(Into::into);
    }
    found.text("host.name", host);
    program(&mut found, name);
    found.number("process.pid", process);
    found.text("syslog.msgid", message_id);
    structured_data(rest, &mut found)?;
    Some(found)
}

/// `[id name="value" …]…` or `-`.
fn structured_data<'t>(mut rest: &'t [u8], found: &mut Findings<'t>) -> Option<()> {
    if rest == b"-" || rest.starts_with(b"- ") {
        return Some(());
    }
    while let Some(inner) = rest.strip_prefix(b"[") {
        let end = inner.iter().position(|b| *b == b' ' || *b == b']')?;
        let id = &inner[..end];
        rest = &inner[end..];
        while let Some(pair) = rest.strip_prefix(b" ") {
            let equals = memchr(b'=', pair)?;
            let (value, after) = quoted(pair[equals + 1..].strip_prefix(b"\"")?)?;
            let key = [&b"syslog."[..], id, b".", &pair[..equals]].concat();
            found.attributes.push((Cow::Owned(key), Val::Text(value)));
            rest = after;
        }
        rest = rest.strip_prefix(b"]")?;
    }
    Some(())
}

/// The value before the closing quote, without its escapes, and what follows it.
fn quoted(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut own: Option<Vec<u8>> = None;
    let (mut start, mut at) = (0, 0);
    loop {
        match *text.get(at)? {
            b'"' => {
                let piece = &text[start..at];
                let value = match own {
                    None => Cow::Borrowed(piece),
                    Some(own) => Cow::Owned([&own, piece].concat()),
                };
                return Some((value, &text[at + 1..]));
            }
            b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\' | b']')) => {
                own.get_or_insert_default().extend_from_slice(&text[start..at]);
                start = at + 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

fn rfc3164(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    let stamp = parse_stamp(line)?;
    let rest = line[stamp.len..].strip_prefix(b" ")?;
    let mut found = Findings::at(stamp.resolve(moment));
    let mut words = rest.splitn(3, |b| *b == b' ');
    let (first, second) = (words.next()?, words.next().unwrap_or_default());
    // The host may be missing: then the tag comes first.
    let tag = if first.ends_with(b":") {
        first
    } else {
        found.text("host.name", first);
        second
    };
    let tag = tag.strip_suffix(b":").unwrap_or(tag);
    match memchr(b'[', tag) {
        Some(open) => {
            program(&mut found, &tag[..open]);
            let process = &tag[open + 1..];
            found.number("process.pid", process.strip_suffix(b"]").unwrap_or(process));
        }
        None => program(&mut found, tag),
    }
    Some(found)
}

/// `2026-01-31T12:00:00.123456789Z stdout F message`, as container runtimes write files.
#[must_use]
pub fn parse_cri(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let stamp = parse_stamp(line)?;
    let rest = line[stamp.len..].strip_prefix(b" std")?;
    let (stream, rest) = rest.split_at_checked(3)?;
    let (stream, rest) = match (stream, rest) {
        (b"out", rest) => (&b"stdout"[..], rest),
        (b"err", rest) => (&b"stderr"[..], rest),
        _ => return None,
    };
    let message = rest.strip_prefix(b" F").or_else(|| rest.strip_prefix(b" P"))?;
    let message = if message.is_empty() { message } else { message.strip_prefix(b" ")? };
    let mut found = Findings::at(stamp.resolve(moment));
    found.text("log.iostream", stream);
    found.body = Some(Val::text(message));
    Some(found)
}
