//! Whether a record is one that a rule is for: `obsd/model/log_predicate.py` has the meaning of
//! conditions, which is that of searches.

use super::draft::Draft;
use super::rules::Source;
use crate::logs::levels::level_of;
use crate::logs::logql::labels;
use crate::logs::predicate::{Field, Predicate, Test};
use crate::logs::value::{Value, hex, lookup, parse_entry};
use std::borrow::Cow;

/// Whether the record matches.
#[must_use]
pub fn matches(predicate: &Predicate, draft: &Draft<'_>, source: Source<'_>) -> bool {
    match predicate {
        Predicate::Everything => true,
        Predicate::And(of) => of.iter().all(|part| matches(part, draft, source)),
        Predicate::Or(of) => of.iter().any(|part| matches(part, draft, source)),
        Predicate::Not(part) => !matches(part, draft, source),
        Predicate::Level(level) => {
            let number = u8::try_from(draft.severity).unwrap_or(0);
            let own = level_of(number, &draft.severity_text);
            level.map_or(own.is_some(), |level| own == Some(level))
        }
        // Rows are numbered when they are stored.
        Predicate::Rows(..) => false,
        Predicate::Test(field, test) => passes(field, test, draft, source),
    }
}

fn passes(field: &Field, test: &Test, draft: &Draft<'_>, source: Source<'_>) -> bool {
    let body = draft.body.as_ref().map(|body| body.view());
    let of_body =
        || body.filter(|body| !body.is_null()).is_some_and(|b| test.text(&b.text_or_json(), true));
    let of_text = |text: &[u8]| !text.is_empty() && test.value(Value::Text(text));
    match field {
        Field::Prose => of_body() || draft.attributes.iter().any(|a| test.prose(a.value.view())),
        Field::Body => of_body(),
        Field::Level => false,
        Field::Service => of_text(draft.service.as_deref().or(source.service).unwrap_or_default()),
        Field::TraceId => of_text(hex(&draft.trace_id).as_bytes()),
        Field::SpanId => of_text(hex(&draft.span_id).as_bytes()),
        Field::SeverityText => of_text(&draft.severity_text),
        Field::SeverityNumber => {
            let number = i64::try_from(draft.severity).unwrap_or(0);
            number > 0 && test.value(Value::Int(number))
        }
        Field::Time => {
            let time_ns = if draft.time_ns == 0 { draft.observed_ns } else { draft.time_ns };
            test.value(Value::Int(i64::try_from(time_ns).unwrap_or(i64::MAX)))
        }
        Field::InBody(path) => match body {
            Some(Value::Map(map)) => lookup(map, path).is_some_and(|value| test.value(value)),
            _ => false,
        },
        Field::Label(name) => {
            let labels = entries(source).filter(|(key, value)| labels::is_label(key, *value));
            first(labels, name).is_some_and(|value| test.value(value))
        }
        Field::Metadata(name) => {
            let own = draft
                .attributes
                .iter()
                .map(|a| (String::from_utf8_lossy(&a.key), a.value.view()))
                .filter(|(_, value)| labels::tells_something(*value));
            let others = entries(source).filter(|(key, value)| {
                labels::tells_something(*value) && !labels::is_label(key, *value)
            });
            first(own.chain(others), name).is_some_and(|value| test.value(value))
        }
        Field::Named(name) => find(draft, name, source).is_some_and(|value| test.value(value)),
    }
}

fn entries(source: Source<'_>) -> impl Iterator<Item = (Cow<'_, str>, Value<'_>)> {
    let pairs = source.entries.iter().filter_map(|entry| parse_entry(entry).ok());
    pairs.map(|(key, value)| (String::from_utf8_lossy(key), value))
}

/// The first of these whose name as a label's this is.
fn first<'v>(
    mut entries: impl Iterator<Item = (Cow<'v, str>, Value<'v>)>,
    name: &str,
) -> Option<Value<'v>> {
    entries.find(|(key, _)| labels::label_name(key) == name).map(|(_, value)| value)
}

/// What a name leads to among the attributes, or else in the resource.
#[must_use]
pub fn find<'d>(draft: &'d Draft<'_>, name: &str, source: Source<'d>) -> Option<Value<'d>> {
    let own = |key: &[u8]| draft.attribute(key).map(|value| value.view());
    let of_resource = |key: &[u8]| {
        source.entries.iter().find_map(|entry| match parse_entry(entry) {
            Ok((k, value)) if k == key => Some(value),
            _ => None,
        })
    };
    named(name, own).or_else(|| named(name, of_resource))
}

fn named<'d>(name: &str, of_key: impl Fn(&[u8]) -> Option<Value<'d>>) -> Option<Value<'d>> {
    if let Some(value) = of_key(name.as_bytes()).filter(|value| !value.is_null()) {
        return Some(value);
    }
    name.match_indices('.').find_map(|(dot, _)| match of_key(&name.as_bytes()[..dot]) {
        Some(Value::Map(inner)) => lookup(inner, &name[dot + 1..]),
        _ => None,
    })
}
