//! What a text says about its record, and how that goes together with what the sender said.

use super::draft::{Draft, Entry, MAX_ATTRIBUTES, Val};
use super::time::Moment;
use std::borrow::Cow;

/// Attributes beyond this are not taken out of a body, since the engine would refuse the record.
pub const MAX_METADATA_BYTES: usize = 48 << 10;

/// Time, level, ids and service, each of which may stay a field.
const KEPT_FIELDS: usize = 5;

/// A value, and the field that it was read from: it stays one where the value is not taken.
#[derive(Debug, Clone)]
pub struct Found<'t, T> {
    pub value: T,
    pub field: Option<Entry<'t>>,
}

impl<T> From<T> for Found<'_, T> {
    fn from(value: T) -> Self {
        Self { value, field: None }
    }
}

/// What a text says.
#[derive(Debug, Clone, Default)]
pub struct Findings<'t> {
    pub time_ns: Option<Found<'t, u64>>,
    /// The severity's number and its word.
    pub level: Option<Found<'t, (u8, Cow<'t, [u8]>)>>,
    pub trace_id: Option<Found<'t, [u8; 16]>>,
    pub span_id: Option<Found<'t, [u8; 8]>>,
    pub service: Option<Found<'t, Vec<u8>>>,
    /// What remains of the text once its fields are attributes.
    pub body: Option<Val<'t>>,
    pub attributes: Vec<Entry<'t>>,
    /// Whether the text is an object without a message.
    pub is_object: bool,
}

impl<'t> Findings<'t> {
    /// A time, if there is one, and nothing else yet.
    #[must_use]
    pub fn at(time_ns: Option<u64>) -> Self {
        Self { time_ns: time_ns.map(Into::into), ..Self::default() }
    }

    pub fn attribute(&mut self, name: &'static str, value: Val<'t>) {
        self.attributes.push((Cow::Borrowed(name.as_bytes()), value));
    }

    pub fn text(&mut self, name: &'static str, text: &'t [u8]) {
        if !text.is_empty() {
            self.attribute(name, Val::text(text));
        }
    }

    /// A whole number, or the text that is none.
    pub fn number(&mut self, name: &'static str, text: &'t [u8]) {
        let number = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
        match number {
            Some(number) => self.attribute(name, Val::Int(number)),
            None => self.text(name, text),
        }
    }

    pub fn level(&mut self, number: u8, word: &'t [u8]) {
        if number != 0 {
            self.level = Some((number, Cow::Borrowed(word)).into());
        }
    }

    /// Takes over what `self` lacks.
    pub fn fill(&mut self, other: Self) {
        self.time_ns = self.time_ns.take().or(other.time_ns);
        self.level = self.level.take().or(other.level);
        self.trace_id = self.trace_id.take().or(other.trace_id);
        self.span_id = self.span_id.take().or(other.span_id);
        self.service = self.service.take().or(other.service);
        if other.body.is_some() {
            self.body = other.body;
        }
        self.attributes.extend(other.attributes);
    }

    #[must_use]
    pub fn into_owned(self) -> Findings<'static> {
        fn entry((key, value): Entry<'_>) -> Entry<'static> {
            (Cow::Owned(key.into_owned()), value.into_owned())
        }
        fn found<T>(found: Found<'_, T>) -> Found<'static, T> {
            Found { value: found.value, field: found.field.map(entry) }
        }
        Findings {
            time_ns: self.time_ns.map(found),
            level: self.level.map(|f| Found {
                value: (f.value.0, Cow::Owned(f.value.1.into_owned())),
                field: f.field.map(entry),
            }),
            trace_id: self.trace_id.map(found),
            span_id: self.span_id.map(found),
            service: self.service.map(found),
            body: self.body.map(Val::into_owned),
            attributes: self.attributes.into_iter().map(entry).collect(),
            is_object: self.is_object,
        }
    }

    fn size_bytes(&self) -> usize {
        let size = |(key, value): &Entry<'_>| key.len() + value.size_bytes() + 8;
        self.attributes.iter().map(size).sum()
    }
}

/// What may be done with a record.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'r> {
    pub moment: Moment,
    /// The service that the resource tells; `None` without one.
    pub service: Option<&'r [u8]>,
    /// Whether the body stays as it came, whatever is found in it.
    pub keeps_body: bool,
    /// Whether the record may name a service that its resource does not.
    pub takes_service: bool,
}

impl<'a> Draft<'a> {
    /// Takes what the sender did not say.
    pub fn adopt(&mut self, mut found: Findings<'a>, terms: Terms<'_>) {
        if found.size_bytes() + self.metadata_bytes() > MAX_METADATA_BYTES {
            // Then level and time at least, beside the whole body.
            found.attributes.clear();
            found.body = None;
            found.service = None;
            for field in [
                found.time_ns.as_mut().map(|f| &mut f.field),
                found.level.as_mut().map(|f| &mut f.field),
                found.trace_id.as_mut().map(|f| &mut f.field),
                found.span_id.as_mut().map(|f| &mut f.field),
            ]
            .into_iter()
            .flatten()
            {
                *field = None;
            }
        }
        // A receiver of documents writes one without a message as a text, and its fields beside it.
        let is_known = found.is_object && found.attributes.iter().any(|(key, _)| self.tells(key));
        let room = MAX_ATTRIBUTES.saturating_sub(self.attributes.len() + KEPT_FIELDS);
        if is_known {
            found.attributes.clear();
        } else if found.attributes.len() > room {
            // The others are in the body, which stays whole.
            found.attributes.truncate(room);
            found.body = None;
        }
        if let Some(Found { value, field }) = found.time_ns {
            let is_taken = self.time_ns == 0;
            if is_taken {
                self.time_ns = value;
                self.is_changed = true;
            }
            self.keep_unless(is_taken || self.time_ns == value, field);
        }
        if let Some(Found { value: (number, word), field }) = found.level {
            let is_taken = !self.has_level();
            if is_taken {
                self.severity = u64::from(number);
                self.severity_text = word;
                self.is_changed = true;
            }
            self.keep_unless(is_taken || self.severity == u64::from(number), field);
        }
        if let Some(Found { value, field }) = found.trace_id {
            let is_taken = self.trace_id.is_empty();
            if is_taken {
                self.trace_id = Cow::Owned(value.to_vec());
                self.is_changed = true;
            }
            self.keep_unless(*self.trace_id == value, field);
        }
        if let Some(Found { value, field }) = found.span_id {
            if self.span_id.is_empty() {
                self.span_id = Cow::Owned(value.to_vec());
                self.is_changed = true;
            }
            self.keep_unless(*self.span_id == value, field);
        }
        if let Some(Found { value, field }) = found.service {
            let is_taken = terms.service.is_none() && terms.takes_service;
            let is_known = terms.service == Some(&value[..]);
            if is_taken {
                self.service = Some(value);
                self.is_changed = true;
            }
            self.keep_unless(is_taken || is_known, field);
        }
        for (key, value) in found.attributes {
            self.add(key, value);
        }
        if let Some(body) = found.body.filter(|_| !terms.keeps_body) {
            self.body = Some(body);
            self.is_changed = true;
        }
    }

    /// Whether there is an attribute of this name, or one within a map of this name.
    fn tells(&self, name: &[u8]) -> bool {
        let of_name = |key: &[u8]| {
            key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
        };
        self.attributes.iter().any(|a| of_name(&a.key))
    }

    fn keep_unless(&mut self, is_told: bool, field: Option<Entry<'a>>) {
        if let Some((key, value)) = field.filter(|_| !is_told) {
            self.add(key, value);
        }
    }
}
