//! Which rows of a unit match: first what its head and filter rule out, then the values of its
//! columns, each once, and rows only where these do not decide.

use super::builder::Part;
use super::chunk::{
    attributes_of, group_parts, resource_attributes, scope_attributes, service_of, text_field,
};
use super::granule::{Corrupt, Head, NAME, SERVICE, hash_value};
use super::otlp::{NO_SPAN, SpanId};
use super::predicate::{Field, Op, Predicate, Test};
use super::sources::{Unit, View};
use crate::columns::bits::Bits;
use crate::columns::stored::Stored;
use crate::columns::value::{Value, hex, map};

/// False when no row of the unit can match.
#[must_use]
pub fn may_match(predicate: &Predicate, unit: &Unit) -> bool {
    let Unit::Stored(granule) = unit else { return true };
    match predicate {
        Predicate::And(of) => of.iter().all(|p| may_match(p, unit)),
        Predicate::Or(of) => of.iter().any(|p| may_match(p, unit)),
        Predicate::Compare(field, test) => {
            if is_above(&granule.head, field, test) {
                return false;
            }
            let field: &[u8] = match field {
                Field::Name => NAME,
                Field::Service => SERVICE,
                Field::Span(key) | Field::Resource(key) | Field::Any(key) => key.as_bytes(),
                _ => return true,
            };
            let hash = test.equal_to().and_then(|value| hash_value(field, value));
            hash.is_none_or(|hash| granule.may_contain(hash))
        }
        Predicate::All | Predicate::Not(_) | Predicate::Has(_) | Predicate::Traces(_) => true,
    }
}

/// Whether more is asked of a number than the head says there is.
fn is_above(head: &Head, field: &Field, test: &Test) -> bool {
    match field {
        Field::Duration => test.at_least().is_some_and(|least| least > head.max_duration_ns),
        Field::Start => test.at_least().is_some_and(|least| least > head.max_ns),
        Field::Status => head.errors == 0 && matches!(test, Test::Int(Op::Equal, 2)),
        _ => false,
    }
}

/// The rows that match and start in the range.
///
/// # Errors
/// A column is damaged.
pub fn matching(
    predicate: &Predicate,
    view: &View,
    (start_ns, end_ns): (i64, i64),
) -> Result<Bits, Corrupt> {
    let rows = view.rows();
    let (low, high) = view.range();
    if high < start_ns || low >= end_ns || !may_match(predicate, &view.unit) {
        return Ok(Bits::none(rows));
    }
    let mut bits = select(predicate, view)?;
    if let Some(replaced) = view.replaced() {
        let mut live = replaced.clone();
        live.negate();
        bits.and(&live);
    }
    if (low < start_ns || high >= end_ns) && !bits.is_empty() {
        let starts = view.starts()?;
        bits.and(&Bits::of(rows, |row| (start_ns..end_ns).contains(&starts[row])));
    }
    Ok(bits)
}

fn select(predicate: &Predicate, view: &View) -> Result<Bits, Corrupt> {
    let rows = view.rows();
    Ok(match predicate {
        Predicate::All => Bits::all(rows),
        Predicate::And(of) => {
            let mut found = Bits::all(rows);
            for part in of {
                if found.is_empty() {
                    break;
                }
                found.and(&select(part, view)?);
            }
            found
        }
        Predicate::Or(of) => {
            let mut found = Bits::none(rows);
            for part in of {
                found.or(&select(part, view)?);
            }
            found
        }
        Predicate::Not(part) => {
            let mut found = select(part, view)?;
            found.negate();
            found
        }
        Predicate::Traces(wanted) => {
            let ids = view.trace_ids()?;
            Bits::of(rows, |row| wanted.contains(&ids[row]))
        }
        _ if !may_match(predicate, &view.unit) => Bits::none(rows),
        Predicate::Compare(Field::SpanId, Test::Text(Op::Equal, text)) => {
            with_id(rows, &view.span_ids()?, text)
        }
        Predicate::Compare(Field::ParentId, Test::Text(Op::Equal, text)) => {
            with_id(rows, &view.parent_ids()?, text)
        }
        Predicate::Has(field) => of_field(field, view, &|value| !value.is_null())?,
        Predicate::Compare(field, test) => of_field(field, view, &|value| test.matches(value))?,
    })
}

/// The rows of an id in hexadecimal digits.
fn with_id(rows: usize, ids: &[SpanId], text: &str) -> Bits {
    match parse_id(text) {
        Some(id) if id != NO_SPAN => Bits::of(rows, |row| ids[row] == id),
        _ => Bits::none(rows),
    }
}

/// An id from its lower-case hexadecimal digits.
#[must_use]
pub fn parse_id<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut id = [0; N];
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(id)
}

/// Which values of a column pass.
fn passes(column: &Stored, test: impl Fn(&[u8]) -> bool) -> Vec<bool> {
    let values = column.values();
    (0..values.len()).map(|id| test(values.bytes(id))).collect()
}

/// The rows whose field has a value that passes.
fn of_field(field: &Field, view: &View, test: &dyn Fn(Value<'_>) -> bool) -> Result<Bits, Corrupt> {
    let rows = view.rows();
    let by_bytes = |part: Part, passing: &dyn Fn(&[u8]) -> bool| -> Result<Bits, Corrupt> {
        let column = view.column(part)?;
        Ok(column.select(rows, &passes(&column, passing)))
    };
    let text = |bytes: &[u8]| !bytes.is_empty() && test(Value::Text(bytes));
    Ok(match field {
        Field::Span(key) => attribute(key, view, test)?,
        Field::Resource(key) => by_bytes(Part::Resource, &|message| {
            has_attribute(resource_attributes(message), key, test)
        })?,
        Field::Scope(key) => {
            by_bytes(Part::Scope, &|message| has_attribute(scope_attributes(message), key, test))?
        }
        Field::Any(key) => {
            let own = attribute(key, view, test)?;
            let mut others = of_field(&Field::Resource(key.clone()), view, test)?;
            if !others.is_empty() {
                let mut without = attribute(key, view, &|value| !value.is_null())?;
                without.negate();
                others.and(&without);
            }
            others.or(&own);
            others
        }
        Field::Name => by_bytes(Part::Name, &text)?,
        Field::Service => by_bytes(Part::Resource, &|message| text(service_of(message)))?,
        Field::Kind => numbers(&*view.column(Part::Kind)?, rows, test),
        Field::Status => numbers(&*view.column(Part::Status)?, rows, test),
        Field::StatusMessage => by_bytes(Part::StatusMessage, &text)?,
        Field::Duration => {
            let durations = view.durations()?;
            Bits::of(rows, |row| test(Value::Int(durations[row])))
        }
        Field::Start => {
            let starts = view.starts()?;
            Bits::of(rows, |row| test(Value::Int(starts[row])))
        }
        Field::TraceId => match view.traces()? {
            Some(traces) => {
                let mut bits = Bits::none(rows);
                for (trace, id) in traces.ids.iter().enumerate() {
                    if text(hex(id).as_bytes()) {
                        traces.rows(trace).for_each(|row| bits.set(row));
                    }
                }
                bits
            }
            None => {
                let ids = view.trace_ids()?;
                Bits::of(rows, |row| text(hex(&ids[row]).as_bytes()))
            }
        },
        Field::SpanId => {
            let ids = view.span_ids()?;
            Bits::of(rows, |row| text(hex(&ids[row]).as_bytes()))
        }
        Field::ParentId => {
            let ids = view.parent_ids()?;
            Bits::of(rows, |row| ids[row] != NO_SPAN && text(hex(&ids[row]).as_bytes()))
        }
        Field::ScopeName => {
            by_bytes(Part::Scope, &|message| text(text_field(group_parts(message).0, 1)))?
        }
        Field::ScopeVersion => {
            by_bytes(Part::Scope, &|message| text(text_field(group_parts(message).0, 2)))?
        }
        Field::Event(key) => {
            events(view, &|message| has_attribute(attributes_of(message, 3), key, test))?
        }
        Field::EventName => events(view, &|message| text(text_field(message, 2)))?,
        Field::Link(key) => {
            let (links, _) = view.links()?;
            let passing = passes(&links.column, |m| has_attribute(attributes_of(m, 4), key, test));
            let pass = |at: usize| links.column.id(at).is_some_and(|id| passing[id]);
            Bits::of(rows, |row| links.of_row(row).any(pass))
        }
        Field::LinkTraceId => link_ids(view, &|id| text(hex(&id[..16]).as_bytes()))?,
        Field::LinkSpanId => link_ids(view, &|id| text(hex(&id[16..]).as_bytes()))?,
    })
}

fn link_ids(view: &View, test: &dyn Fn(&[u8; 24]) -> bool) -> Result<Bits, Corrupt> {
    let (links, ids) = view.links()?;
    Ok(Bits::of(view.rows(), |row| links.of_row(row).any(|at| test(&ids[at]))))
}

fn events(view: &View, test: &dyn Fn(&[u8]) -> bool) -> Result<Bits, Corrupt> {
    let events = view.events()?;
    let passing = passes(&events.column, test);
    let pass = |at: usize| events.column.id(at).is_some_and(|id| passing[id]);
    Ok(Bits::of(view.rows(), |row| events.of_row(row).any(pass)))
}

fn has_attribute<'a>(
    mut attributes: impl Iterator<Item = (&'a [u8], Value<'a>)>,
    key: &str,
    test: &dyn Fn(Value<'_>) -> bool,
) -> bool {
    attributes.find(|(own, _)| *own == key.as_bytes()).is_some_and(|(_, value)| test(value))
}

/// Of a column of one byte, where a row without one is 0.
fn numbers(column: &Stored, rows: usize, test: &dyn Fn(Value<'_>) -> bool) -> Bits {
    let number = |bytes: &[u8]| i64::from(bytes.first().copied().unwrap_or(0));
    let mut found = column.select(rows, &passes(column, |bytes| test(Value::Int(number(bytes)))));
    if test(Value::Int(0)) {
        found.or(&Bits::of(rows, |row| !column.has(row)));
    }
    found
}

fn attribute(key: &str, view: &View, test: &dyn Fn(Value<'_>) -> bool) -> Result<Bits, Corrupt> {
    let rows = view.rows();
    let mut found = Bits::none(rows);
    if let Some(column) = view.attribute(key)? {
        let values = column.values();
        let passing: Vec<bool> = (0..values.len()).map(|id| test(values.get(id))).collect();
        found = column.select(rows, &passing);
    }
    let rest = view.column(Part::Rest)?;
    if rest.values().len() > 0 {
        let passing = passes(&rest, |entries| has_attribute(map(entries), key, test));
        found.or(&rest.select(rows, &passing));
    }
    Ok(found)
}
