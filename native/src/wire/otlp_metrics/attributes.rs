//! Attributes as labels: their texts, and the label sets of series, encoded.

use super::names::{Strategy, label_name};
use crate::logs::value::{MAX_DEPTH, Value, ValueError, list, map, parse_entry};
use crate::wire::go_text::push_float;
use crate::wire::protobuf::{WireError, put_bytes};
use crate::wire::varint::put_uvarint;
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_128;

/// Why attributes are no labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("an attribute is no UTF-8")]
    Utf8,
    #[error("an attribute is nested too deep")]
    Depth,
    #[error("there are too many attributes")]
    TooMany,
}

/// An attribute's key and text.
pub type Attribute<'a> = (&'a str, Cow<'a, str>);

/// Reads a `KeyValue`.
///
/// # Errors
/// It is none, or no text can be made of it.
pub fn read_attribute(message: &[u8]) -> Result<Attribute<'_>, AttributeError> {
    let (key, value) = parse_entry(message)?;
    value.check(MAX_DEPTH).map_err(|error| match error {
        ValueError::Wire(error) => AttributeError::Wire(error),
        ValueError::Depth => AttributeError::Depth,
    })?;
    let key = std::str::from_utf8(key).map_err(|_| AttributeError::Utf8)?;
    Ok((key, value_text(value)?))
}

/// The text of a value: JSON of lists and maps, base 64 of bytes.
fn value_text(value: Value<'_>) -> Result<Cow<'_, str>, AttributeError> {
    if let Value::Text(bytes) = value {
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| AttributeError::Utf8);
    }
    let mut out = Vec::new();
    match value {
        Value::Null => {}
        Value::Bytes(bytes) => push_base64(&mut out, bytes),
        other => push_json(&mut out, other),
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| AttributeError::Utf8)
}

fn push_json(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(bytes) => push_json_string(out, bytes),
        Value::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
        Value::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::Double(n) => push_float(out, n),
        Value::Bytes(bytes) => {
            out.push(b'"');
            push_base64(out, bytes);
            out.push(b'"');
        }
        Value::List(message) => {
            out.push(b'[');
            for (i, inner) in list(message).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push_json_inner(out, inner);
            }
            out.push(b']');
        }
        Value::Map(message) => {
            let mut entries: Vec<_> = map(message).collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (i, (key, inner)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push_json_string(out, key);
                out.push(b':');
                push_json_inner(out, inner);
            }
            out.push(b'}');
        }
    }
}

/// JSON has no numbers that are not finite.
fn push_json_inner(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Double(n) if !n.is_finite() => {
            out.push(b'"');
            push_float(out, n);
            out.push(b'"');
        }
        other => push_json(out, other),
    }
}

fn push_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for piece in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..piece.len()].copy_from_slice(piece);
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for place in 0..4 {
            let sextet = bits >> (18 - 6 * place) & 63;
            out.push(if place <= piece.len() { ALPHABET[sextet as usize] } else { b'=' });
        }
    }
}

/// Appends one label field.
pub fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    let length = 2 + length_of(name.len()) + name.len() + length_of(value.len()) + value.len();
    out.push(1 << 3 | 2);
    put_uvarint(out, length as u64);
    put_bytes(out, 1, name.as_bytes());
    put_bytes(out, 2, value.as_bytes());
}

/// Bytes of a varint.
#[must_use]
pub fn length_of(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Labels by name; of those of one name, the values in the order of keys, joined.
#[must_use]
pub fn translate<'a>(
    attributes: &mut [Attribute<'a>],
    strategy: Strategy,
) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    attributes.sort_by_key(|(key, _)| *key);
    let mut named: Vec<(Cow<'a, str>, Cow<'a, str>)> = attributes
        .iter_mut()
        .map(|(key, value)| (label_name(key, strategy), std::mem::take(value)))
        .filter(|(name, _)| !name.is_empty() && *name != "__name__")
        .collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            let joined = first.1.to_mut();
            joined.push(';');
            joined.push_str(&later.1);
        }
        same
    });
    named
}

/// Labels that all series of a scope have.
#[derive(Debug, Default, Clone)]
pub struct CommonLabels {
    /// By name: (name, encoded field, whether a point's own attribute gives way to it).
    labels: Vec<(String, Vec<u8>, bool)>,
    hash: u128,
}

impl CommonLabels {
    /// Adds a label, in place of one of its name that gives way; an empty value is no label.
    pub fn set(&mut self, name: &str, value: &str, overrides: bool) {
        if value.is_empty() || name.is_empty() {
            return;
        }
        let mut field = Vec::new();
        put_label(&mut field, name, value);
        let label = (name.to_owned(), field, overrides);
        match self.labels.binary_search_by(|(other, ..)| other.as_str().cmp(name)) {
            Ok(at) => self.labels[at] = label,
            Err(at) => self.labels.insert(at, label),
        }
    }

    /// Takes the hash of all labels, once there are no more.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.hash = self.labels.iter().fold(0, |hash, (_, field, overrides)| {
            xxh3_128(&[&hash.to_le_bytes()[..], &[u8::from(*overrides)], field].concat())
        });
        self
    }

    /// Of all labels of a sealed set.
    #[must_use]
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// Appends the label fields of a point, by name, without one that the caller adds itself.
    pub fn encode(
        &self,
        labels: &[(Cow<'_, str>, Cow<'_, str>)],
        without: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let mut common = self.labels.iter().filter(|(name, ..)| Some(name.as_str()) != without);
        let mut next = common.next();
        for (name, value) in labels {
            if Some(name.as_ref()) == without {
                continue;
            }
            let mut overridden = false;
            while let Some((other, field, overrides)) = next {
                if other.as_str() > name.as_ref() {
                    break;
                }
                let same = other == name.as_ref();
                if !same || *overrides {
                    out.extend_from_slice(field);
                }
                overridden |= same && *overrides;
                next = common.next();
            }
            if !overridden && !value.is_empty() {
                put_label(out, name, value);
            }
        }
        while let Some((_, field, _)) = next {
            out.extend_from_slice(field);
            next = common.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_padded() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe", "//4="),
        ] {
            let mut out = Vec::new();
            push_base64(&mut out, bytes);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn lengths_of_varints() {
        assert_eq!([0, 1, 127, 128, 16_383, 16_384].map(length_of), [1, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn a_resource_overrides_or_gives_way() {
        let mut common = CommonLabels::default();
        common.set("job", "shop", true);
        common.set("zone", "eu", false);
        let mut attributes = [
            ("zone", Cow::from("us")),
            ("job", Cow::from("mine")),
            ("a.b", Cow::from("2")),
            ("a_b", Cow::from("3")),
            ("le", Cow::from("x")),
            ("empty", Cow::from("")),
        ];
        let strategy = Strategy { escapes: true, suffixes: true };
        let labels = translate(&mut attributes, strategy);
        let mut out = Vec::new();
        common.encode(&labels, Some("le"), &mut out);
        let mut expected = Vec::new();
        for (name, value) in [("a_b", "2;3"), ("job", "shop"), ("zone", "us")] {
            put_label(&mut expected, name, value);
        }
        assert_eq!(out, expected);
    }
}
