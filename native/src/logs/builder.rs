//! A granule that is being filled: records become columns and a set of tokens in one pass.

use super::column::{Column, Strings, TEMPLATE};
use super::otlp::{Batch, Record, put_details};
use super::text::{hash_any_case, hash_token, lower, split, tokens};
use super::value::{Value, map};
use crate::wire::protobuf::put_bytes;
use hashbrown::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Attribute columns of a granule; other keys share one column of maps.
pub const MAX_COLUMNS: usize = 128;

/// Templates of a granule; bodies beyond are kept whole.
const MAX_TEMPLATES: usize = 4096;

/// Variables of all of a granule's templates; each is a list of its own.
const MAX_HOLES: usize = 65_536;

/// What a hole takes in memory with its first variable, and what a hash takes.
const HOLE_BYTES: usize = 112;
const HASH_BYTES: usize = 16;

/// Takes hashes for what they are.
#[derive(Default, Clone, Copy)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are put in");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub type Hashes = HashSet<u64, BuildHasherDefault<Identity>>;

/// Bodies: templates, or whole values, and the variables of each template.
#[derive(Debug, Default, Clone)]
pub struct Bodies {
    pub column: Column,
    /// By value of the column: a list for each hole, with an entry for each row, in sequence.
    pub variables: Vec<Vec<Strings>>,
}

/// An attribute's column.
#[derive(Debug, Clone)]
pub struct Attribute {
    pub key: String,
    pub column: Column,
    /// Some token of its texts and integers has no digit.
    pub has_words: bool,
    /// It has texts or integers.
    pub has_prose: bool,
    /// It has texts.
    pub has_texts: bool,
}

/// Rows so far.
#[derive(Default, Clone)]
pub struct Builder {
    pub times: Vec<i64>,
    pub observed: Vec<i64>,
    pub rows: Vec<i64>,
    pub severity: Column,
    pub severity_text: Column,
    pub resource: Column,
    pub trace_id: Column,
    pub span_id: Column,
    pub bodies: Bodies,
    pub attributes: Vec<Attribute>,
    keys: HashMap<Vec<u8>, usize>,
    /// Maps of the attributes that have no column.
    pub rest: Column,
    /// Maps of what there is beside the attributes: scope, flags, event name, schemas.
    pub details: Column,
    pub hashes: Hashes,
    holes: usize,
    template: Vec<u8>,
    places: Vec<(usize, usize)>,
}

/// The resource and the scope of a batch that were written last, and their indices in the columns.
pub type LastResource = (Option<(u32, usize)>, Option<(u32, usize)>);

impl Builder {
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Appends a record of a batch. `sequence` is its own number.
    ///
    /// Returns what this takes beside the record's own bytes: its resource if that is a new one,
    /// and what searches are helped by.
    pub fn push(
        &mut self,
        body: &[u8],
        batch: &Batch,
        record: &Record,
        sequence: i64,
        last: &mut LastResource,
    ) -> usize {
        let row = self.start_row(record.time_ns, record.observed_ns, sequence, record.severity);
        self.push_severity_text(row, record.severity_text.get(body));
        let (mut resource_bytes, help_bytes) = (0, self.help_bytes());
        match last.0 {
            Some((same, id)) if same == record.resource => self.resource.set(row, id),
            _ => {
                let known = self.resource.values().len();
                let resource = &batch.resources[record.resource as usize];
                last.0 = Some((record.resource, self.push_resource(row, resource)));
                if self.resource.values().len() > known {
                    resource_bytes = resource.len();
                }
            }
        }
        match last.1 {
            Some((same, id)) if same == record.scope && !record.has_details() => {
                self.details.set(row, id);
            }
            _ => {
                let known = self.details.values().len();
                let mut details = batch.scopes[record.scope as usize].clone();
                put_details(body, record, &mut details);
                let id = self.push_details(row, &details);
                last.1 = id.filter(|_| !record.has_details()).map(|id| (record.scope, id));
                if self.details.values().len() > known {
                    resource_bytes += details.len();
                }
            }
        }
        self.push_id(row, record.trace_id.get(body), false);
        self.push_id(row, record.span_id.get(body), true);
        self.push_body(row, Value::parse(record.body.get(body)).unwrap_or(Value::Null));
        let range = record.attributes.start as usize..record.attributes.end as usize;
        let mut rest = Vec::new();
        for (key, any) in &batch.attributes[range] {
            let value = Value::parse(any.get(body)).unwrap_or(Value::Null);
            self.push_attribute(row, key.get(body), value, &mut rest);
        }
        self.push_rest(row, &rest);
        resource_bytes + self.help_bytes() - help_bytes
    }

    fn help_bytes(&self) -> usize {
        self.holes * HOLE_BYTES + self.hashes.len() * HASH_BYTES
    }

    /// Begins a row; its other values follow.
    pub fn start_row(
        &mut self,
        time_ns: i64,
        observed_ns: i64,
        sequence: i64,
        severity: u8,
    ) -> usize {
        let row = self.len();
        self.times.push(time_ns);
        self.observed.push(observed_ns);
        self.rows.push(sequence);
        self.severity.push_tagged(row, 1, &[severity]);
        row
    }

    pub fn push_severity_text(&mut self, row: usize, text: &[u8]) {
        if !text.is_empty() {
            self.severity_text.push(row, Value::Text(text));
        }
    }

    pub fn push_resource(&mut self, row: usize, entries: &[u8]) -> usize {
        let (id, new) = self.resource.push(row, Value::Map(entries));
        if new {
            let hashes = &mut self.hashes;
            Value::Map(entries).each_leaf(&mut |leaf| {
                add_field_tokens(leaf, hashes);
            });
        }
        id
    }

    /// The index of the row's value; `None` where there are no details.
    pub fn push_details(&mut self, row: usize, entries: &[u8]) -> Option<usize> {
        if entries.is_empty() {
            return None;
        }
        let (id, new) = self.details.push(row, Value::Map(entries));
        if new {
            let hashes = &mut self.hashes;
            Value::Map(entries).each_leaf(&mut |leaf| {
                add_field_tokens(leaf, hashes);
            });
        }
        Some(id)
    }

    pub fn push_id(&mut self, row: usize, id: &[u8], of_span: bool) {
        if id.is_empty() {
            return;
        }
        let column = if of_span { &mut self.span_id } else { &mut self.trace_id };
        if column.push(row, Value::Bytes(id)).1 {
            self.hashes.insert(hash_token(&super::value::hex(id)));
        }
    }

    pub fn push_body(&mut self, row: usize, value: Value<'_>) {
        let Value::Text(bytes) = value else {
            if !value.is_null() {
                let id = self.bodies.column.push(row, value).0;
                let count = self.bodies.variables.len().max(id + 1);
                self.bodies.variables.resize_with(count, Vec::new);
                add_tokens(&value.text_or_json(), &mut self.hashes);
                value.each_leaf(&mut |leaf| {
                    add_field_tokens(leaf, &mut self.hashes);
                });
            }
            return;
        };
        let text = String::from_utf8_lossy(bytes);
        let bodies = &mut self.bodies;
        let few = bodies.column.values().len() < MAX_TEMPLATES && bodies.column.repeats();
        let whole = !few
            || !split(&text, &mut self.template, &mut self.places)
            || self.holes + self.places.len() > MAX_HOLES;
        if whole {
            let (id, new) = bodies.column.push_tagged(row, 1, text.as_bytes());
            bodies.variables.resize_with(bodies.variables.len().max(id + 1), Vec::new);
            if new {
                add_tokens(&text, &mut self.hashes);
            }
            return;
        }
        let (id, new) = bodies.column.push_tagged(row, TEMPLATE, &self.template);
        if new {
            bodies.variables.resize_with(id, Vec::new);
            bodies.variables.push(vec![Strings::default(); self.places.len()]);
            self.holes += self.places.len();
            add_tokens(&String::from_utf8_lossy(&self.template), &mut self.hashes);
        }
        for ((start, end), column) in self.places.iter().zip(&mut bodies.variables[id]) {
            let variable = &text[*start..*end];
            self.hashes.insert(hash_any_case(variable));
            column.push(variable.as_bytes());
        }
    }

    /// Puts an attribute into its column, or, where there are too many, to those of `rest`. Of equal
    /// keys in a record the first counts.
    pub fn push_attribute(&mut self, row: usize, key: &[u8], value: Value<'_>, rest: &mut Vec<u8>) {
        let index = match self.keys.get(key) {
            Some(index) => *index,
            None if self.attributes.len() < MAX_COLUMNS => {
                let Ok(name) = std::str::from_utf8(key) else {
                    let name = String::from_utf8_lossy(key).into_owned();
                    return self.push_attribute(row, name.as_bytes(), value, rest);
                };
                let index = self.attributes.len();
                self.keys.insert(key.to_vec(), index);
                self.attributes.push(Attribute {
                    key: name.to_owned(),
                    column: Column::default(),
                    has_words: false,
                    has_prose: false,
                    has_texts: false,
                });
                index
            }
            None => {
                let (mut any, mut entry) = (Vec::new(), Vec::new());
                value.encode(&mut any);
                put_bytes(&mut entry, 1, String::from_utf8_lossy(key).as_bytes());
                put_bytes(&mut entry, 2, &any);
                return put_bytes(rest, 1, &entry);
            }
        };
        let attribute = &mut self.attributes[index];
        if attribute.column.has(row) {
            return;
        }
        if attribute.column.push(row, value).1 {
            let hashes = &mut self.hashes;
            value.each_leaf(&mut |leaf| {
                attribute.has_words |= add_field_tokens(leaf, hashes);
                attribute.has_prose |= matches!(leaf, Value::Text(_) | Value::Int(_));
                attribute.has_texts |= matches!(leaf, Value::Text(_));
            });
        }
    }

    pub fn push_rest(&mut self, row: usize, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        self.rest.push(row, Value::Map(rest));
        for (_, value) in map(rest) {
            value.each_leaf(&mut |leaf| {
                add_field_tokens(leaf, &mut self.hashes);
            });
        }
    }
}

/// Adds a text's tokens; true when one of them has no digit.
fn add_tokens(text: &str, hashes: &mut Hashes) -> bool {
    let lowered = if text.is_ascii() { std::borrow::Cow::Borrowed(text) } else { lower(text) };
    let mut has_words = false;
    for token in tokens(&lowered) {
        has_words |= !super::text::has_digit(token);
        hashes.insert(hash_any_case(token));
    }
    has_words
}

/// Adds the tokens by which a search for a field's value may look for it.
fn add_field_tokens(leaf: Value<'_>, hashes: &mut Hashes) -> bool {
    match leaf {
        // Compared as a number it equals the integer.
        Value::Double(n) if n.fract() == 0.0 && n.abs() < 1e18 => {
            add_tokens(&(n as i64).to_string(), hashes);
            add_tokens(&super::value::double_text(n), hashes)
        }
        Value::Null => false,
        _ => add_tokens(&leaf.text().unwrap_or_default(), hashes),
    }
}
