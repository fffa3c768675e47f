//! A record that is being changed. What it does not know of a record it keeps as it came.

use crate::logs::value::Value;
use crate::wire::protobuf::{Fields, Value as Wire, WireError, put_bytes, put_key, put_varint};
use std::borrow::Cow;

/// A record may have so many, with those that it came with; else the engine would refuse it.
pub const MAX_ATTRIBUTES: usize = 128;

/// A value of a body or an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Val<'a> {
    Null,
    Text(Cow<'a, [u8]>),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// Anything, as an `AnyValue`.
    Any(Cow<'a, [u8]>),
}

impl<'a> Val<'a> {
    #[must_use]
    pub fn text(text: &'a [u8]) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// As the engine has it; null where an encoded one is malformed.
    #[must_use]
    pub fn view(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text),
            Self::Int(n) => Value::Int(*n),
            Self::Double(n) => Value::Double(*n),
            Self::Bool(b) => Value::Bool(*b),
            Self::Any(any) => Value::parse(any).unwrap_or(Value::Null),
        }
    }

    /// The text, of one that is a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&[u8]> {
        match self.view() {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the value as an `AnyValue`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Any(any) => out.extend_from_slice(any),
            other => other.view().encode(out),
        }
    }

    #[must_use]
    pub fn into_owned(self) -> Val<'static> {
        match self {
            Self::Null => Val::Null,
            Self::Text(text) => Val::Text(Cow::Owned(text.into_owned())),
            Self::Int(n) => Val::Int(n),
            Self::Double(n) => Val::Double(n),
            Self::Bool(b) => Val::Bool(b),
            Self::Any(any) => Val::Any(Cow::Owned(any.into_owned())),
        }
    }

    /// About what it takes on the wire.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Any(bytes) => bytes.len() + 4,
            _ => 10,
        }
    }
}

/// A name and its value.
pub type Entry<'a> = (Cow<'a, [u8]>, Val<'a>);

/// An attribute of a record.
#[derive(Debug, Clone)]
pub struct Attribute<'a> {
    pub key: Cow<'a, [u8]>,
    pub value: Val<'a>,
    /// The `KeyValue` as it came; gone once something of it has changed.
    entry: Option<&'a [u8]>,
}

/// A record, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    pub time_ns: u64,
    pub observed_ns: u64,
    pub severity: u64,
    pub severity_text: Cow<'a, [u8]>,
    pub body: Option<Val<'a>>,
    pub attributes: Vec<Attribute<'a>>,
    pub trace_id: Cow<'a, [u8]>,
    pub span_id: Cow<'a, [u8]>,
    /// What its resource should say, where it says nothing.
    pub service: Option<Vec<u8>>,
    /// Whether it is another record than the one that came.
    pub is_changed: bool,
    /// Other fields, with their keys.
    rest: Vec<&'a [u8]>,
}

/// The last part of `message` that was read when `before` was left.
fn read_part<'a>(before: &'a [u8], fields: &Fields<'a>) -> &'a [u8] {
    &before[..before.len() - fields.rest().len()]
}

impl<'a> Draft<'a> {
    /// Takes a `LogRecord` apart.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn read(message: &'a [u8]) -> Result<Self, WireError> {
        let mut draft = Self::default();
        let mut fields = Fields::new(message);
        loop {
            let before = fields.rest();
            let Some((field, wire)) = fields.next_field()? else {
                return Ok(draft);
            };
            match (field, wire) {
                (1, Wire::Fixed64(ns)) => draft.time_ns = ns,
                (11, Wire::Fixed64(ns)) => draft.observed_ns = ns,
                (2, Wire::Varint(number)) => draft.severity = number,
                (3, Wire::Bytes(text)) => draft.severity_text = Cow::Borrowed(text),
                (5, Wire::Bytes(any)) => draft.body = Some(Val::Any(Cow::Borrowed(any))),
                (6, Wire::Bytes(entry)) => draft.read_attribute(entry)?,
                (9, Wire::Bytes(id)) => draft.trace_id = Cow::Borrowed(id),
                (10, Wire::Bytes(id)) => draft.span_id = Cow::Borrowed(id),
                _ => draft.rest.push(read_part(before, &fields)),
            }
        }
    }

    fn read_attribute(&mut self, entry: &'a [u8]) -> Result<(), WireError> {
        let (mut key, mut value): (&[u8], _) = (&[], Val::Null);
        let mut fields = Fields::new(entry);
        while let Some((field, wire)) = fields.next_field()? {
            match field {
                1 => key = wire.bytes(1)?,
                2 => value = Val::Any(Cow::Borrowed(wire.bytes(2)?)),
                _ => {}
            }
        }
        self.attributes.push(Attribute { key: Cow::Borrowed(key), value, entry: Some(entry) });
        Ok(())
    }

    #[must_use]
    pub fn attribute(&self, name: &[u8]) -> Option<&Val<'a>> {
        self.attributes.iter().find(|a| *a.key == *name).map(|a| &a.value)
    }

    /// Whether the sender told a level.
    #[must_use]
    pub fn has_level(&self) -> bool {
        self.severity != 0 || !self.severity_text.is_empty()
    }

    /// Gives an attribute this value, whatever it had.
    pub fn set(&mut self, name: &[u8], value: Val<'a>) {
        self.is_changed = true;
        match self.attributes.iter_mut().find(|a| *a.key == *name) {
            Some(attribute) => {
                attribute.value = value;
                attribute.entry = None;
            }
            None => self.push(Cow::Owned(name.to_vec()), value),
        }
    }

    /// Of a record that has as many as it may have, this one is left out.
    fn push(&mut self, key: Cow<'a, [u8]>, value: Val<'a>) {
        if self.attributes.len() >= MAX_ATTRIBUTES {
            return;
        }
        self.attributes.push(Attribute { key, value, entry: None });
    }

    /// Adds what was found in a body. What the sender said under that name stays; then the other
    /// value goes under another one.
    pub fn add(&mut self, key: Cow<'a, [u8]>, value: Val<'a>) {
        self.is_changed = true;
        match self.attribute(&key) {
            None => self.push(key, value),
            Some(own) if own.view() == value.view() => {}
            Some(_) => {
                let other = [&key, &b"_extracted"[..]].concat();
                if self.attribute(&other).is_none() {
                    self.push(Cow::Owned(other), value);
                }
            }
        }
    }

    /// Replaces the value of an attribute that is there, by its place.
    pub fn replace(&mut self, place: usize, value: Val<'a>) {
        if let Some(attribute) = self.attributes.get_mut(place) {
            attribute.value = value;
            attribute.entry = None;
            self.is_changed = true;
        }
    }

    /// Gives an attribute another name.
    pub fn rename(&mut self, place: usize, name: &[u8]) {
        if let Some(attribute) = self.attributes.get_mut(place) {
            attribute.key = Cow::Owned(name.to_vec());
            attribute.entry = None;
            self.is_changed = true;
        }
    }

    /// Keeps the attributes that pass.
    pub fn retain(&mut self, mut keeps: impl FnMut(&[u8]) -> bool) {
        let before = self.attributes.len();
        self.attributes.retain(|a| keeps(&a.key));
        self.is_changed |= self.attributes.len() != before;
    }

    /// About what the engine counts against its limit for attributes.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|a| a.key.len() + a.value.size_bytes() + 8);
        attributes.sum::<usize>() + self.severity_text.len() + 24
    }

    /// Appends the record as a `LogRecord`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let put_time = |out: &mut Vec<u8>, field, ns: u64| {
            if ns != 0 {
                put_key(out, field, 1);
                out.extend_from_slice(&ns.to_le_bytes());
            }
        };
        put_time(out, 1, self.time_ns);
        if self.severity != 0 {
            put_varint(out, 2, self.severity);
        }
        if !self.severity_text.is_empty() {
            put_bytes(out, 3, &self.severity_text);
        }
        let mut any = Vec::new();
        if let Some(body) = &self.body {
            body.encode(&mut any);
            put_bytes(out, 5, &any);
        }
        let mut pair = Vec::new();
        for attribute in &self.attributes {
            if let Some(entry) = attribute.entry {
                put_bytes(out, 6, entry);
                continue;
            }
            any.clear();
            pair.clear();
            attribute.value.encode(&mut any);
            put_bytes(&mut pair, 1, &attribute.key);
            put_bytes(&mut pair, 2, &any);
            put_bytes(out, 6, &pair);
        }
        for id in [(9, &self.trace_id), (10, &self.span_id)] {
            if !id.1.is_empty() {
                put_bytes(out, id.0, id.1);
            }
        }
        put_time(out, 11, self.observed_ns);
        self.rest.iter().for_each(|field| out.extend_from_slice(field));
    }
}
