//! `key=value` lines, as Go's loggers and Heroku write them.

use super::draft::{Entry, Val};
use super::names;
use memchr::memchr2;
use std::borrow::Cow;

/// The pairs of a line.
#[derive(Debug)]
pub struct Pairs<'t> {
    pub entries: Vec<Entry<'t>>,
    /// Whether there is nothing else in the line.
    pub is_whole: bool,
}

/// Whether a line may begin with a pair: cheap, and mostly no.
#[inline]
#[must_use]
pub fn may_be_logfmt(line: &[u8]) -> bool {
    line.first().is_some_and(|b| is_first(*b))
        && memchr2(b'=', b' ', &line[..line.len().min(64)]).is_some_and(|at| line[at] == b'=')
}

fn is_first(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'@'
}

fn is_key(key: &[u8]) -> bool {
    let rest = |b: &u8| b.is_ascii_alphanumeric() || b"_.-/@:[]".contains(b);
    key.first().is_some_and(|b| is_first(*b)) && key.iter().all(rest)
}

/// The pairs of a line that is mostly pairs.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<Pairs<'_>> {
    let mut entries = Vec::new();
    let (mut at, mut other_bytes) = (0, 0);
    while at < line.len() {
        if line[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        match pair(line, at) {
            Some((entry, end)) => {
                entries.push(entry);
                at = end;
            }
            None => {
                let end = word_end(line, at);
                other_bytes += end - at;
                at = end;
            }
        }
    }
    let is_told = |(key, _): &Entry<'_>| {
        let key = std::str::from_utf8(key).unwrap_or_default();
        names::LEVEL.contains(&key) || matches!(key, "msg" | "message")
    };
    let is_enough = entries.len() >= 2 || entries.iter().any(is_told);
    (is_enough && other_bytes * 4 <= line.len())
        .then_some(Pairs { entries, is_whole: other_bytes == 0 })
}

fn word_end(line: &[u8], from: usize) -> usize {
    let length = line[from..].iter().position(u8::is_ascii_whitespace);
    length.map_or(line.len(), |length| from + length)
}

fn pair(line: &[u8], at: usize) -> Option<(Entry<'_>, usize)> {
    let equals = at + memchr2(b'=', b' ', &line[at..])?;
    if line[equals] != b'=' || !is_key(&line[at..equals]) {
        return None;
    }
    let key = Cow::Borrowed(&line[at..equals]);
    let start = equals + 1;
    if line.get(start) == Some(&b'"') {
        let (value, end) = quoted(line, start + 1)?;
        let is_end = line.get(end).is_none_or(u8::is_ascii_whitespace);
        return is_end.then_some(((key, Val::Text(value)), end));
    }
    let end = word_end(line, start);
    Some(((key, typed(&line[start..end])), end))
}

/// The text up to the closing quote, and where that ends.
fn quoted(line: &[u8], from: usize) -> Option<(Cow<'_, [u8]>, usize)> {
    let mut own: Option<Vec<u8>> = None;
    let mut start = from;
    loop {
        let at = start + memchr2(b'"', b'\\', &line[start..])?;
        if line[at] == b'"' {
            let piece = &line[start..at];
            let value = match own {
                None => Cow::Borrowed(piece),
                Some(mut own) => {
                    own.extend_from_slice(piece);
                    Cow::Owned(own)
                }
            };
            return Some((value, at + 1));
        }
        let own = own.get_or_insert_default();
        own.extend_from_slice(&line[start..at]);
        match line.get(at + 1)? {
            b'n' => own.push(b'\n'),
            b't' => own.push(b'\t'),
            b'r' => own.push(b'\r'),
            c @ (b'"' | b'\\') => own.push(*c),
            // An escape that is none stands for itself.
            _ => {
                own.push(b'\\');
                start = at + 1;
                continue;
            }
        }
        start = at + 2;
    }
}

/// A number or a boolean, where writing it gives the same text again.
fn typed(text: &[u8]) -> Val<'_> {
    match text {
        b"true" => return Val::Bool(true),
        b"false" => return Val::Bool(false),
        [b'-' | b'0'..=b'9', ..] if text.len() < 25 => {}
        _ => return Val::text(text),
    }
    let as_str = std::str::from_utf8(text).unwrap_or_default();
    if let Ok(number) = as_str.parse::<i64>()
        && number.to_string() == as_str
    {
        return Val::Int(number);
    }
    match as_str.parse::<f64>() {
        Ok(number) if crate::logs::value::double_text(number) == as_str => Val::Double(number),
        _ => Val::text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(line: &str) -> Option<String> {
        let pairs = parse_line(line.as_bytes())?;
        let part = |(key, value): &Entry<'_>| {
            format!("{}={:?}", String::from_utf8_lossy(key), value.view().text_or_json())
        };
        Some(pairs.entries.iter().map(part).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn pairs_have_types_and_quotes() {
        let line = r#"level=info msg="it \"is\" \d done\n" n=5 x=0.5 v=1.10 ok=true empty= id=007"#;
        let expected = r#"level="info" msg="it \"is\" \\d done\n" n="5" x="0.5" v="1.10" ok="true" empty="" id="007""#;
        assert_eq!(shown(line).as_deref(), Some(expected));
        let pairs = parse_line(line.as_bytes()).expect("pairs");
        assert_eq!(pairs.entries[2].1, Val::Int(5));
        assert_eq!(pairs.entries[7].1, Val::text(b"007"));
    }

    #[test]
    fn prose_is_no_logfmt() {
        for line in [
            "",
            "a=1",
            "GET /x?a=1&b=2 took x=1 seconds to y=2",
            "the value a=1 is not b=2 at all",
            "=1 =2",
            r#"a="x b="y"#,
        ] {
            assert_eq!(shown(line), None, "{line}");
        }
        assert!(shown("msg=done").is_some() && shown("a=1 b=2").is_some());
        assert!(may_be_logfmt(b"ts=1 x") && !may_be_logfmt(b"hello a=1") && !may_be_logfmt(b""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_pairs_or_not(bytes: Vec<u8>) {
            let _ = parse_line(&bytes);
            let _ = parse_line(&[b"a=\"", &bytes[..], b"\" b=1"].concat());
        }
    }
}
