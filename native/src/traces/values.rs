//! What spans have: a field's values, by span, as columns, and the names of fields.

use super::builder::Part;
use super::chunk::{
    attributes_of, group_parts, resource_attributes, scope_attributes, service_of, text_field,
};
use super::granule::Corrupt;
use super::otlp::NO_SPAN;
use super::predicate::Field;
use super::sources::View;
use crate::columns::bits::Bits;
use crate::columns::value::{Value, hex, map};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A place of a span's value among those of its unit, or -1.
pub type Codes = Vec<i32>;

/// A scalar value, by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Constant {
    Bool(bool),
    Int(i64),
    /// The bits of a double.
    Double(u64),
    Text(String),
}

impl Constant {
    #[must_use]
    pub fn of(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Self::Bool(b),
            Value::Int(n) => Self::Int(n),
            Value::Double(n) => Self::Double(n.to_bits()),
            Value::Text(text) => Self::Text(lossy(text)),
            _ => return None,
        })
    }
}

/// Calls `each` with a value, or with the elements of a list.
fn elements(value: Value<'_>, each: &mut dyn FnMut(Constant)) {
    match value {
        Value::List(items) => {
            crate::columns::value::list(items).for_each(|item| elements(item, each));
        }
        other => {
            if let Some(constant) = Constant::of(other) {
                each(constant);
            }
        }
    }
}

/// Gives the constants that are in some bytes.
type Constants<'a> = dyn Fn(&[u8], &mut dyn FnMut(Constant)) + 'a;

/// The values of a field, all of each row that matches.
///
/// # Errors
/// A column is damaged.
pub fn row_values(
    field: &Field,
    view: &View,
    bits: &Bits,
    each: &mut dyn FnMut(usize, &Constant),
) -> Result<(), Corrupt> {
    let by_part = |part: Part,
                   each: &mut dyn FnMut(usize, &Constant),
                   of: &Constants<'_>|
     -> Result<(), Corrupt> {
        let column = view.column(part)?;
        let mut known: Vec<Option<Vec<Constant>>> = vec![None; column.values().len()];
        for row in bits.iter() {
            let Some(id) = column.id(row) else { continue };
            let values = known[id].get_or_insert_with(|| {
                let mut found = Vec::new();
                of(column.values().bytes(id), &mut |constant| found.push(constant));
                found
            });
            values.iter().for_each(|value| each(row, value));
        }
        Ok(())
    };
    let text = |bytes: &[u8], each: &mut dyn FnMut(Constant)| {
        if !bytes.is_empty() {
            each(Constant::Text(lossy(bytes)));
        }
    };
    match field {
        Field::Span(key) => span_values(key, view, bits, each).map(drop),
        Field::Any(key) => {
            let own = span_values(key, view, bits, each)?;
            let mut others = own;
            others.negate();
            others.and(bits);
            if others.is_empty() {
                return Ok(());
            }
            row_values(&Field::Resource(key.clone()), view, &others, each)
        }
        Field::Resource(key) => by_part(Part::Resource, each, &|message, each| {
            first_of(resource_attributes(message), key, each);
        }),
        Field::Scope(key) => by_part(Part::Scope, each, &|message, each| {
            first_of(scope_attributes(message), key, each);
        }),
        Field::Name => by_part(Part::Name, each, &text),
        Field::Service => {
            by_part(Part::Resource, each, &|message, each| text(service_of(message), each))
        }
        Field::StatusMessage => by_part(Part::StatusMessage, each, &text),
        Field::ScopeName => by_part(Part::Scope, each, &|message, each| {
            text(text_field(group_parts(message).0, 1), each);
        }),
        Field::ScopeVersion => by_part(Part::Scope, each, &|message, each| {
            text(text_field(group_parts(message).0, 2), each);
        }),
        Field::Kind | Field::Status => {
            let part = if *field == Field::Kind { Part::Kind } else { Part::Status };
            let column = view.column(part)?;
            for row in bits.iter() {
                let id = column.id(row);
                let byte = id.and_then(|id| column.values().bytes(id).first().copied());
                each(row, &Constant::Int(i64::from(byte.unwrap_or(0))));
            }
            Ok(())
        }
        Field::Duration | Field::Start => {
            let numbers = if *field == Field::Start { view.starts()? } else { view.durations()? };
            bits.iter().for_each(|row| each(row, &Constant::Int(numbers[row])));
            Ok(())
        }
        Field::TraceId => {
            let ids = view.trace_ids()?;
            bits.iter().for_each(|row| each(row, &Constant::Text(hex(&ids[row]))));
            Ok(())
        }
        Field::SpanId | Field::ParentId => {
            let ids = if *field == Field::SpanId { view.span_ids()? } else { view.parent_ids()? };
            let named = bits.iter().filter(|row| ids[*row] != NO_SPAN);
            named.for_each(|row| each(row, &Constant::Text(hex(&ids[row]))));
            Ok(())
        }
        Field::Event(_) | Field::EventName => {
            let events = view.events()?;
            for row in bits.iter() {
                for at in events.of_row(row) {
                    let message = events.message(at);
                    let mut found = |constant: Constant| each(row, &constant);
                    match field {
                        Field::Event(key) => {
                            first_of(attributes_of(message, 3), key, &mut found);
                        }
                        _ => text(text_field(message, 2), &mut found),
                    }
                }
            }
            Ok(())
        }
        Field::Link(_) | Field::LinkTraceId | Field::LinkSpanId => {
            let (links, ids) = view.links()?;
            for row in bits.iter() {
                for at in links.of_row(row) {
                    let mut found = |constant: Constant| each(row, &constant);
                    match field {
                        Field::Link(key) => {
                            first_of(attributes_of(links.message(at), 4), key, &mut found);
                        }
                        Field::LinkTraceId => found(Constant::Text(hex(&ids[at][..16]))),
                        _ => found(Constant::Text(hex(&ids[at][16..]))),
                    }
                }
            }
            Ok(())
        }
    }
}

fn first_of<'a>(
    mut attributes: impl Iterator<Item = (&'a [u8], Value<'a>)>,
    key: &str,
    each: &mut dyn FnMut(Constant),
) {
    if let Some((_, value)) = attributes.find(|(own, _)| *own == key.as_bytes()) {
        elements(value, each);
    }
}

/// The values of a span attribute; returns the rows that have it.
fn span_values(
    key: &str,
    view: &View,
    bits: &Bits,
    each: &mut dyn FnMut(usize, &Constant),
) -> Result<Bits, Corrupt> {
    let mut having = Bits::none(view.rows());
    if let Some(column) = view.attribute(key)? {
        let mut known: Vec<Option<Vec<Constant>>> = vec![None; column.values().len()];
        for row in bits.iter() {
            let Some(id) = column.id(row) else { continue };
            let value = column.values().get(id);
            if value.is_null() {
                continue;
            }
            having.set(row);
            let values = known[id].get_or_insert_with(|| {
                let mut found = Vec::new();
                elements(value, &mut |constant| found.push(constant));
                found
            });
            values.iter().for_each(|value| each(row, value));
        }
    }
    let rest = view.column(Part::Rest)?;
    for row in bits.iter().filter(|_| rest.values().len() > 0) {
        let Some(Value::Map(entries)) = rest.get(row) else { continue };
        let found = map(entries).find(|(own, value)| *own == key.as_bytes() && !value.is_null());
        if let Some((_, value)) = found
            && !having.has(row)
        {
            having.set(row);
            elements(value, &mut |constant| each(row, &constant));
        }
    }
    Ok(having)
}

/// What a unit's matches have as columns.
pub struct Columns {
    pub starts: Vec<i64>,
    pub durations: Vec<i64>,
    pub codes: Vec<Codes>,
    pub values: Vec<Vec<Constant>>,
    pub trace_ids: Option<Vec<String>>,
}

/// Makes columns of a unit's matches.
///
/// # Errors
/// A column is damaged.
pub fn columns(
    view: &View,
    bits: &Bits,
    fields: &[Field],
    with_ids: bool,
) -> Result<Columns, Corrupt> {
    let (starts, durations) = (view.starts()?, view.durations()?);
    let mut place = vec![0_u32; view.rows()];
    bits.iter().zip(0..).for_each(|(row, at)| place[row] = at);
    let count = bits.count();
    let (mut codes, mut values) = (Vec::new(), Vec::new());
    for field in fields {
        let mut own: Codes = vec![-1; count];
        let mut known: HashMap<Constant, i32> = HashMap::new();
        let mut distinct: Vec<Constant> = Vec::new();
        row_values(field, view, bits, &mut |row, value| {
            let code = &mut own[place[row] as usize];
            // Of several the first counts.
            if *code >= 0 {
                return;
            }
            *code = known.get(value).copied().unwrap_or_else(|| {
                distinct.push(value.clone());
                known.insert(value.clone(), distinct.len() as i32 - 1);
                distinct.len() as i32 - 1
            });
        })?;
        codes.push(own);
        values.push(distinct);
    }
    let trace_ids = if with_ids {
        let ids = view.trace_ids()?;
        Some(bits.iter().map(|row| hex(&ids[row])).collect())
    } else {
        None
    };
    Ok(Columns {
        starts: bits.iter().map(|row| starts[row]).collect(),
        durations: bits.iter().map(|row| durations[row]).collect(),
        codes,
        values,
        trace_ids,
    })
}

/// Names of a unit's fields that rows which match have: scopes and keys.
///
/// # Errors
/// A column is damaged.
pub fn field_names(view: &View, bits: &Bits) -> Result<HashSet<(&'static str, String)>, Corrupt> {
    let mut found: HashSet<(&'static str, String)> = HashSet::new();
    for key in view.keys() {
        let is_there =
            |column: Arc<crate::columns::stored::Stored>| bits.iter().any(|row| column.has(row));
        if view.attribute(&key)?.is_some_and(is_there) {
            found.insert(("span", key));
        }
    }
    let rest = view.column(Part::Rest)?;
    for row in bits.iter().filter(|_| rest.values().len() > 0) {
        if let Some(Value::Map(entries)) = rest.get(row) {
            found.extend(map(entries).map(|(key, _)| ("span", lossy(key))));
        }
    }
    for (part, scope) in [(Part::Resource, "resource"), (Part::Scope, "scope")] {
        let column = view.column(part)?;
        let ids: HashSet<usize> = bits.iter().filter_map(|row| column.id(row)).collect();
        for id in ids {
            let message = column.values().bytes(id);
            if part == Part::Resource {
                found.extend(resource_attributes(message).map(|(key, _)| (scope, lossy(key))));
            } else {
                found.extend(scope_attributes(message).map(|(key, _)| (scope, lossy(key))));
            }
        }
    }
    let (events, (links, _)) = (view.events()?, view.links()?);
    for (many, scope, field) in [(events, "event", 3), (links, "link", 4)] {
        let ids: HashSet<usize> = bits
            .iter()
            .flat_map(|row| many.of_row(row))
            .filter_map(|at| many.column.id(at))
            .collect();
        for id in ids {
            let message = many.column.values().bytes(id);
            found.extend(attributes_of(message, field).map(|(key, _)| (scope, lossy(key))));
        }
    }
    Ok(found)
}
