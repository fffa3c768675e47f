//! Values of bodies and attributes: OTLP's `AnyValue`, read in place, and its texts.

use crate::wire::protobuf::{Fields, Value as Wire, WireError, put_bytes, put_double, put_key};
use crate::wire::varint::put_uvarint;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Lists and maps in one another that a value may have; more is a trap, not a log.
pub const MAX_DEPTH: usize = 32;

/// One value. Lists and maps are the bytes of OTLP's `ArrayValue` and `KeyValueList`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Text(&'a [u8]),
    Int(i64),
    Double(f64),
    Bool(bool),
    Bytes(&'a [u8]),
    List(&'a [u8]),
    Map(&'a [u8]),
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("values are nested too deep")]
    Depth,
}

impl<'a> Value<'a> {
    /// Reads an `AnyValue`; of several kinds in one the last counts, as protobuf has it.
    ///
    /// # Errors
    /// The bytes are no such message. What is inside lists and maps is not looked at.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        let mut value = Self::Null;
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            value = match field {
                1 => Self::Text(wire.bytes(1)?),
                2 => Self::Bool(wire.varint(2)? != 0),
                3 => Self::Int(wire.varint(3)? as i64),
                4 => Self::Double(wire.double(4)?),
                5 => Self::List(wire.bytes(5)?),
                6 => Self::Map(wire.bytes(6)?),
                7 => Self::Bytes(wire.bytes(7)?),
                _ => value,
            };
        }
        Ok(value)
    }

    /// Whether lists and maps inside are well-formed and not too deep.
    ///
    /// # Errors
    /// They are not.
    pub fn check(self, depth: usize) -> Result<(), ValueError> {
        let (message, field_of_value) = match self {
            Self::List(message) => (message, None),
            Self::Map(message) => (message, Some(2)),
            _ => return Ok(()),
        };
        if depth == 0 {
            return Err(ValueError::Depth);
        }
        let mut fields = Fields::new(message);
        while let Some((field, wire)) = fields.next_field()? {
            if field != 1 {
                continue;
            }
            let inner = wire.bytes(1)?;
            match field_of_value {
                None => Value::parse(inner)?.check(depth - 1)?,
                Some(_) => parse_entry(inner)?.1.check(depth - 1)?,
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn is_null(self) -> bool {
        self == Self::Null
    }

    /// The value's text; `None` for lists, maps and null, which have none.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        Some(match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes),
            Self::Int(n) => Cow::Owned(n.to_string()),
            Self::Double(n) => Cow::Owned(double_text(n)),
            Self::Bool(b) => Cow::Borrowed(if b { "true" } else { "false" }),
            Self::Bytes(bytes) => Cow::Owned(hex(bytes)),
            Self::Null | Self::List(_) | Self::Map(_) => return None,
        })
    }

    /// The text, or compact JSON for a list or map; null is "".
    #[must_use]
    pub fn text_or_json(self) -> Cow<'a, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::List(_) | Self::Map(_) => {
                let mut out = String::new();
                self.write_json(&mut out);
                Cow::Owned(out)
            }
            _ => self.text().unwrap_or_default(),
        }
    }

    fn write_json(self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Text(bytes) => write_json_string(&String::from_utf8_lossy(bytes), out),
            Self::Bytes(bytes) => write_json_string(&hex(bytes), out),
            Self::Double(n) if !n.is_finite() => write_json_string(&double_text(n), out),
            Self::Int(_) | Self::Double(_) | Self::Bool(_) => {
                out.push_str(&self.text().unwrap_or_default());
            }
            Self::List(message) => {
                out.push('[');
                for (i, value) in list(message).enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    value.write_json(out);
                }
                out.push(']');
            }
            Self::Map(message) => {
                out.push('{');
                for (i, (key, value)) in map(message).enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_json_string(&String::from_utf8_lossy(key), out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// Calls `each` with the value, or with every value in its lists and maps.
    pub fn each_leaf(self, each: &mut impl FnMut(Self)) {
        match self {
            Self::List(message) => list(message).for_each(|v| v.each_leaf(each)),
            Self::Map(message) => map(message).for_each(|(_, v)| v.each_leaf(each)),
            leaf => each(leaf),
        }
    }

    /// Appends the value as an `AnyValue`.
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Text(bytes) => put_bytes(out, 1, bytes),
            Self::Bool(b) => {
                put_key(out, 2, 0);
                out.push(u8::from(b));
            }
            Self::Int(n) => {
                put_key(out, 3, 0);
                put_uvarint(out, n as u64);
            }
            Self::Double(n) => put_double(out, 4, n),
            Self::List(message) => put_bytes(out, 5, message),
            Self::Map(message) => put_bytes(out, 6, message),
            Self::Bytes(bytes) => put_bytes(out, 7, bytes),
        }
    }
}

/// The shortest text that reads back as the number: `500.0`, `1e16`, `NaN`, `inf`.
#[must_use]
pub fn double_text(n: f64) -> String {
    ryu::Buffer::new().format(n).to_owned()
}

#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out
}

fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A `KeyValue`'s key and value.
///
/// # Errors
/// The bytes are no such message.
pub fn parse_entry(message: &[u8]) -> Result<(&[u8], Value<'_>), WireError> {
    let (mut key, mut value): (&[u8], _) = (&[], Value::Null);
    let mut fields = Fields::new(message);
    while let Some((field, wire)) = fields.next_field()? {
        match field {
            1 => key = wire.bytes(1)?,
            2 => value = Value::parse(wire.bytes(2)?)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn repeated(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields::new(message);
    std::iter::from_fn(move || {
        loop {
            match fields.next_field() {
                Ok(Some((1, Wire::Bytes(bytes)))) => return Some(bytes),
                Ok(Some(_)) => {}
                // What is stored was checked when it came.
                Ok(None) | Err(_) => return None,
            }
        }
    })
}

/// The elements of an `ArrayValue` that [`Value::check`] has passed.
pub fn list(message: &[u8]) -> impl Iterator<Item = Value<'_>> {
    repeated(message).map(|v| Value::parse(v).unwrap_or(Value::Null))
}

/// The entries of a `KeyValueList` that [`Value::check`] has passed.
pub fn map(message: &[u8]) -> impl Iterator<Item = (&[u8], Value<'_>)> {
    repeated(message).map(|entry| parse_entry(entry).unwrap_or((&[], Value::Null)))
}

/// What a name leads to in a map: the whole name as a key, or its dots as a path. Of equal keys
/// the first counts.
#[must_use]
pub fn lookup<'a>(message: &'a [u8], name: &str) -> Option<Value<'a>> {
    let of_key = |key: &str| map(message).find(|(k, _)| *k == key.as_bytes()).map(|(_, v)| v);
    if let Some(value) = of_key(name).filter(|v| !v.is_null()) {
        return Some(value);
    }
    name.match_indices('.').find_map(|(dot, _)| match of_key(&name[..dot]) {
        Some(Value::Map(inner)) => lookup(inner, &name[dot + 1..]),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(key: &str, value: Value<'_>) -> Vec<u8> {
        let (mut any, mut entry, mut out) = (Vec::new(), Vec::new(), Vec::new());
        value.encode(&mut any);
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, &any);
        put_bytes(&mut out, 1, &entry);
        out
    }

    #[test]
    fn names_lead_into_maps() {
        let inner = entry("c.d", Value::Int(7));
        let outer = [entry("a", Value::Null), entry("b", Value::Map(&inner))].concat();
        assert_eq!(lookup(&outer, "b.c.d"), Some(Value::Int(7)));
        assert_eq!(lookup(&outer, "b.c"), None);
        assert_eq!(lookup(&outer, "a"), None);
        assert_eq!(Value::Map(&outer).text_or_json(), r#"{"a":null,"b":{"c.d":7}}"#);
    }

    #[test]
    fn depth_has_a_limit() {
        let mut message = Vec::new();
        for _ in 0..MAX_DEPTH + 1 {
            let (mut any, mut list) = (Vec::new(), Vec::new());
            Value::List(&message).encode(&mut any);
            put_bytes(&mut list, 1, &any);
            message = list;
        }
        assert_eq!(Value::List(&message).check(MAX_DEPTH), Err(ValueError::Depth));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>) {
            if let Ok(value) = Value::parse(&bytes) {
                let _ = value.check(MAX_DEPTH);
                let _ = value.text_or_json();
            }
        }

        #[test]
        fn numbers_round_trip(n: i64, x: f64) {
            for value in [Value::Int(n), Value::Double(x)] {
                let mut any = Vec::new();
                value.encode(&mut any);
                let back = Value::parse(&any);
                prop_assert_eq!(format!("{:?}", back), format!("{:?}", Ok::<_, WireError>(value)));
            }
        }
    }
}
