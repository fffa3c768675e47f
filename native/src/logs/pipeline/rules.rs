//! What a project's users want done with its records: rules in order, each perhaps with a
//! condition.

use super::draft::{Draft, Val};
use super::fields::parse_id;
use super::level::severity_of;
use super::mask::Mask;
use super::time::{Moment, parse_time};
use super::when::matches;
use crate::logs::expression::Pattern;
use crate::logs::predicate::Predicate;
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::sync::Arc;

/// A compiled regular expression may take so much memory.
pub const REGEX_BYTES: usize = 4 << 20;

/// Compiles a user's regular expression.
///
/// # Errors
/// It is none, or too large.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build()
}

/// What a part of a text that matched becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
    Double,
}

impl Kind {
    fn read(self, text: &str) -> Val<'static> {
        let number = match self {
            Self::Text => None,
            Self::Int => text.parse().ok().map(Val::Int),
            Self::Double => text.parse().ok().filter(|n: &f64| n.is_finite()).map(Val::Double),
        };
        number.unwrap_or_else(|| Val::Text(Cow::Owned(text.as_bytes().to_vec())))
    }
}

/// A regular expression whose groups become fields.
#[derive(Debug)]
pub struct Extract {
    pub field: String,
    pub regex: Regex,
    /// The group's number, the field's name and its type.
    pub groups: Vec<(usize, String, Kind)>,
}

#[derive(Debug)]
pub enum Action {
    Extract(Extract),
    Rename { from: String, to: String },
    Drop,
    DropFields(Vec<Pattern>),
    KeepFields(Vec<Pattern>),
    Mask(Mask),
    Set { field: String, value: Val<'static> },
}

#[derive(Debug)]
pub struct Rule {
    pub when: Option<Predicate>,
    pub action: Action,
}

/// What a record's resource says.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// `KeyValue`s.
    pub entries: &'a [&'a [u8]],
    pub service: Option<&'a [u8]>,
}

/// The rules of a project.
#[derive(Debug)]
pub struct Rules {
    /// Whether texts are parsed before the rules run.
    pub parses: bool,
    pub rules: Vec<Arc<Rule>>,
}

impl Rules {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Runs the first `count` rules in order; false when the record is to be dropped.
    pub fn run(
        &self,
        draft: &mut Draft<'_>,
        source: Source<'_>,
        moment: Moment,
        count: usize,
    ) -> bool {
        for rule in self.rules.iter().take(count) {
            if rule.when.as_ref().is_some_and(|when| !matches(when, draft, source)) {
                continue;
            }
            if matches!(rule.action, Action::Drop) {
                return false;
            }
            rule.action.run(draft, source, moment);
        }
        true
    }
}

impl Action {
    fn run(&self, draft: &mut Draft<'_>, source: Source<'_>, moment: Moment) {
        match self {
            Self::Drop => {}
            Self::Extract(extract) => extract.run(draft, source, moment),
            Self::Rename { from, to } => rename(draft, from, to, moment),
            Self::DropFields(names) => draft.retain(|key| !is_one_of(names, key)),
            Self::KeepFields(names) => draft.retain(|key| is_one_of(names, key)),
            Self::Mask(mask) => mask.run(draft),
            Self::Set { field, value } => set(draft, field, value.clone(), moment),
        }
    }
}

fn is_one_of(names: &[Pattern], key: &[u8]) -> bool {
    let key = String::from_utf8_lossy(key);
    names.iter().any(|name| name.is_match(&key))
}

/// The text of a field; `None` when the record has none.
fn text_of<'d>(draft: &'d Draft<'_>, field: &str, source: Source<'d>) -> Option<Cow<'d, str>> {
    match field {
        "body" => draft.body.as_ref().map(|body| body.view().text_or_json()),
        "service" => draft.service.as_deref().or(source.service).map(String::from_utf8_lossy),
        "level" => Some(String::from_utf8_lossy(&draft.severity_text)),
        _ => super::when::find(draft, field, source).map(|value| value.text_or_json()),
    }
}

/// Gives a field a value. What is none of the record's own kind becomes an attribute.
fn set(draft: &mut Draft<'_>, field: &str, value: Val<'static>, moment: Moment) {
    draft.is_changed = true;
    let text = value.view().text_or_json().into_owned().into_bytes();
    match field {
        "body" => {
            draft.body = Some(value);
            return;
        }
        "level" if severity_of(&text) != 0 => {
            draft.severity = u64::from(severity_of(&text));
            draft.severity_text = Cow::Owned(text);
            return;
        }
        "service" if !text.is_empty() => {
            draft.service = Some(text);
            return;
        }
        "trace_id" => {
            if let Some(id) = parse_id::<16>(&text) {
                draft.trace_id = Cow::Owned(id.to_vec());
                return;
            }
        }
        "span_id" => {
            if let Some(id) = parse_id::<8>(&text) {
                draft.span_id = Cow::Owned(id.to_vec());
                return;
            }
        }
        "time" => {
            if let Some(time_ns) = parse_time(&text, moment) {
                draft.time_ns = time_ns;
                return;
            }
        }
        _ => {}
    }
    draft.set(field.as_bytes(), value);
}

fn rename(draft: &mut Draft<'_>, from: &str, to: &str, moment: Moment) {
    let place = draft.attributes.iter().position(|a| *a.key == *from.as_bytes());
    let Some(place) = place else { return };
    if matches!(to, "body" | "level" | "service" | "trace_id" | "span_id" | "time") {
        let value = draft.attributes.remove(place).value.into_owned();
        set(draft, to, value, moment);
        return;
    }
    // Of two fields of one name the newer counts.
    let old = draft.attributes.iter().position(|a| *a.key == *to.as_bytes());
    draft.rename(place, to.as_bytes());
    if let Some(old) = old.filter(|old| *old != place) {
        draft.attributes.remove(old);
    }
}

impl Extract {
    fn run(&self, draft: &mut Draft<'_>, source: Source<'_>, moment: Moment) {
        let Some(text) = text_of(draft, &self.field, source) else {
            return;
        };
        let Some(found) = self.regex.captures(&text) else {
            return;
        };
        let values: Vec<(&str, Val<'static>)> = self
            .groups
            .iter()
            .filter_map(|(group, name, kind)| {
                Some((name.as_str(), kind.read(found.get(*group)?.as_str())))
            })
            .collect();
        drop(found);
        drop(text);
        for (name, value) in values {
            set(draft, name, value, moment);
        }
    }
}
