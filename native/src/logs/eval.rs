//! Which rows of a granule match: first what its filter rules out, then the values of its columns,
//! each once, and only where these do not decide, rows.

use super::bits::Bits;
use super::builder::Bodies;
use super::column::{Column, TEMPLATE};
use super::granule::{Corrupt, Granule, Kind, View, fill};
use super::levels::level_of;
use super::predicate::{Bound, Field, Predicate, Test};
use super::text::{MIXED, NUMBER, has_digit, hash_token, lower, tokens};
use super::value::{Value, lookup};

/// False when no row of the granule can match.
#[must_use]
pub fn may_match(predicate: &Predicate, granule: &Granule) -> bool {
    match predicate {
        Predicate::And(of) => of.iter().all(|p| may_match(p, granule)),
        Predicate::Or(of) => of.iter().any(|p| may_match(p, granule)),
        Predicate::Test(Field::Time | Field::Level, _) => true,
        Predicate::Test(_, test) => has_tokens(test, granule),
        Predicate::Rows(first, last) => granule.last_row >= *first && granule.first_row <= *last,
        Predicate::Everything | Predicate::Not(_) | Predicate::Level(_) => true,
    }
}

/// Whether the tokens that a matching text must have are in the granule.
fn has_tokens(test: &Test, granule: &Granule) -> bool {
    let all = |text: &str| tokens(text).all(|token| granule.may_contain(hash_token(token)));
    match test {
        Test::Token(token) => all(token),
        Test::Phrase(phrase) => phrase.iter().all(|token| all(token)),
        Test::Equals(value, None) => all(value),
        // A double is another text than the number that is looked for; it is put into the filter as
        // an integer where it is one.
        Test::Equals(value, Some(Bound::Int(n))) if n.abs() < 1_000_000_000_000_000_000 => {
            n.to_string() != *value || all(value)
        }
        Test::Substring(part) => {
            // The first and the last token may be pieces of longer ones.
            let inner = part.trim_matches(|c: char| c.is_alphanumeric() || c == '_');
            all(inner)
        }
        _ => true,
    }
}

/// The rows that match.
///
/// # Errors
/// A column is damaged.
pub fn matching(predicate: &Predicate, view: &View) -> Result<Bits, Corrupt> {
    let rows = view.granule.rows;
    match predicate {
        Predicate::Everything => Ok(Bits::all(rows)),
        Predicate::And(of) => {
            let mut bits = Bits::all(rows);
            for part in of {
                if bits.is_empty() {
                    break;
                }
                bits.and(&matching(part, view)?);
            }
            Ok(bits)
        }
        Predicate::Or(of) => {
            let mut bits = Bits::none(rows);
            for part in of {
                if bits.is_all() {
                    break;
                }
                bits.or(&matching(part, view)?);
            }
            Ok(bits)
        }
        Predicate::Not(part) => {
            let mut bits = matching(part, view)?;
            bits.negate();
            Ok(bits)
        }
        _ if !may_match(predicate, &view.granule) => Ok(Bits::none(rows)),
        Predicate::Level(level) => levels(view, *level),
        Predicate::Rows(first, last) => {
            let granule = &view.granule;
            if granule.first_row >= *first && granule.last_row <= *last {
                return Ok(Bits::all(rows));
            }
            let numbers = view.rows()?;
            Ok(Bits::of(rows, |row| (*first..=*last).contains(&numbers[row])))
        }
        Predicate::Test(field, test) => match field {
            Field::Prose => prose(view, test),
            Field::Body => bodies(view, test),
            Field::Level => Ok(Bits::none(rows)),
            Field::Time => {
                let times = view.times()?;
                Ok(Bits::of(rows, |row| test.value(Value::Int(times[row]))))
            }
            _ => field_values(view, field, test),
        },
    }
}

/// The level of each row, by its place among all; 255 without one.
///
/// # Errors
/// A column is damaged.
pub fn row_levels(view: &View) -> Result<Vec<u8>, Corrupt> {
    let (severity, text) = (view.column(Kind::Severity)?, view.column(Kind::SeverityText)?);
    let numbers: Vec<u8> = (0..severity.values().len())
        .map(|id| severity.values().bytes(id).first().copied().unwrap_or(0))
        .collect();
    let of_row = |row: usize| {
        let number = severity.id(row).map_or(0, |id| numbers[id]);
        let text = text.id(row).map_or(&b""[..], |id| text.values().bytes(id));
        level_of(number, text).unwrap_or(255)
    };
    Ok((0..view.granule.rows).map(of_row).collect())
}

fn levels(view: &View, level: Option<u8>) -> Result<Bits, Corrupt> {
    let found = row_levels(view)?;
    Ok(Bits::of(found.len(), |row| match level {
        Some(level) => found[row] == level,
        None => found[row] != 255,
    }))
}

/// How a stored value leads to the field's.
#[derive(Debug, Clone, Copy)]
pub enum Step<'n> {
    Whole,
    Path(&'n str),
    Service,
}

impl Step<'_> {
    /// The field's value in a stored one; `None` where it has none.
    #[must_use]
    pub fn apply<'v>(self, value: Value<'v>) -> Option<Value<'v>> {
        match (self, value) {
            (Self::Whole, value) => Some(value).filter(|v| !v.is_null()),
            (Self::Path(path), Value::Map(message)) => lookup(message, path),
            (Self::Service, Value::Map(message)) => {
                let mut entries = super::value::map(message);
                let service = entries.find(|(key, _)| *key == b"service.name")?.1;
                matches!(service, Value::Text([_, ..])).then_some(service)
            }
            _ => None,
        }
    }
}

/// Where a field's value is looked for: the first column with one decides.
///
/// # Errors
/// A column is damaged.
pub fn sources<'v, 'n>(
    view: &'v View,
    field: &'n Field,
) -> Result<Vec<(&'v Column, Step<'n>)>, Corrupt> {
    Ok(match field {
        Field::Service => vec![(view.column(Kind::Resource)?, Step::Service)],
        Field::TraceId => vec![(view.column(Kind::TraceId)?, Step::Whole)],
        Field::SpanId => vec![(view.column(Kind::SpanId)?, Step::Whole)],
        Field::InBody(path) => vec![(view.column(Kind::Body)?, Step::Path(path))],
        Field::Named(name) => {
            let mut found = Vec::new();
            let attributes = view.granule.attributes.iter().enumerate();
            for (index, _) in attributes.clone().filter(|(_, a)| a.key == *name) {
                found.push((view.attribute(index)?, Step::Whole));
            }
            for (dot, _) in name.match_indices('.') {
                for (index, _) in attributes.clone().filter(|(_, a)| a.key == name[..dot]) {
                    found.push((view.attribute(index)?, Step::Path(&name[dot + 1..])));
                }
            }
            found.push((view.column(Kind::Rest)?, Step::Path(name)));
            found.push((view.column(Kind::Resource)?, Step::Path(name)));
            found
        }
        Field::Prose | Field::Body | Field::Level | Field::Time => Vec::new(),
    })
}

fn field_values(view: &View, field: &Field, test: &Test) -> Result<Bits, Corrupt> {
    const ABSENT: u8 = 0;
    const PASSES: u8 = 1;
    const FAILS: u8 = 2;
    let rows = view.granule.rows;
    let mut decided = vec![ABSENT; rows];
    for (column, step) in sources(view, field)? {
        let values = column.values();
        let outcomes: Vec<u8> = (0..values.len())
            .map(|id| match step.apply(values.get(id)) {
                None => ABSENT,
                Some(value) if test.value(value) => PASSES,
                Some(_) => FAILS,
            })
            .collect();
        if outcomes.iter().all(|o| *o == ABSENT) {
            continue;
        }
        for (row, outcome) in decided.iter_mut().enumerate() {
            if *outcome == ABSENT
                && let Some(id) = column.id(row)
            {
                *outcome = outcomes[id];
            }
        }
    }
    Ok(Bits::of(rows, |row| decided[row] == PASSES))
}

/// Rows of a column whose values pass.
fn passing(column: &Column, rows: usize, passes: impl Fn(Value<'_>) -> bool) -> Bits {
    let values = column.values();
    let outcomes: Vec<bool> = (0..values.len()).map(|id| passes(values.get(id))).collect();
    if outcomes.iter().any(|o| *o) {
        Bits::of(rows, |row| column.id(row).is_some_and(|id| outcomes[id]))
    } else {
        Bits::none(rows)
    }
}

fn prose(view: &View, test: &Test) -> Result<Bits, Corrupt> {
    let rows = view.granule.rows;
    let mut bits = bodies(view, test)?;
    let needs_words = match test {
        Test::Token(token) => !has_digit(token),
        Test::Phrase(phrase) => phrase.iter().any(|token| !has_digit(token)),
        _ => false,
    };
    for (index, info) in view.granule.attributes.iter().enumerate() {
        if bits.is_all() {
            return Ok(bits);
        }
        if info.has_prose && (info.has_words || !needs_words) {
            bits.or(&passing(view.attribute(index)?, rows, |v| test.prose(v)));
        }
    }
    let of_map = |v: Value<'_>| matches!(v, Value::Map(m) if super::value::map(m).any(|(_, v)| test.prose(v)));
    bits.or(&passing(view.column(Kind::Rest)?, rows, of_map));
    Ok(bits)
}

/// What a template says of all bodies that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    /// It depends on the variables.
    Look,
}

fn bodies(view: &View, test: &Test) -> Result<Bits, Corrupt> {
    let rows = view.granule.rows;
    let column = view.column(Kind::Body)?;
    let values = column.values();
    let verdict = |id: usize| {
        if values.tag(id) == TEMPLATE {
            of_template(test, &String::from_utf8_lossy(values.bytes(id)))
        } else if !values.get(id).is_null() && test.text(&values.get(id).text_or_json(), true) {
            Verdict::Yes
        } else {
            Verdict::No
        }
    };
    let verdicts: Vec<Verdict> = (0..values.len()).map(verdict).collect();
    let is = |row: usize, verdict| column.id(row).is_some_and(|id| verdicts[id] == verdict);
    let mut bits = Bits::of(rows, |row| is(row, Verdict::Yes));
    if verdicts.contains(&Verdict::Look) {
        let (bodies, ordinals) = view.bodies()?;
        let mut buffer = Vec::new();
        for row in (0..rows).filter(|row| is(*row, Verdict::Look)) {
            let Some(id) = column.id(row) else { continue };
            if body_passes(test, bodies, id, ordinals[row] as usize, &mut buffer) {
                bits.set(row);
            }
        }
    }
    Ok(bits)
}

fn body_passes(
    test: &Test,
    bodies: &Bodies,
    id: usize,
    ordinal: usize,
    buffer: &mut Vec<u8>,
) -> bool {
    let variables = &bodies.variables[id];
    if let Test::Token(token) = test
        && token.is_ascii()
    {
        let is = |v: &[u8]| v.eq_ignore_ascii_case(token.as_bytes());
        return variables.iter().any(|column| is(column.get(ordinal)));
    }
    if matches!(test, Test::Prefix(_) | Test::Wildcard(_)) {
        // The template's own tokens have been looked at.
        let passes = |v: &[u8]| test.text(&String::from_utf8_lossy(v), true);
        return variables.iter().any(|column| passes(column.get(ordinal)));
    }
    fill(bodies.column.values().bytes(id), variables, ordinal, buffer);
    test.text(&String::from_utf8_lossy(buffer), true)
}

/// A variable is a whole token and has a digit; so tokens without one are the template's alone.
fn of_template(test: &Test, template: &str) -> Verdict {
    const HOLES: [char; 2] = [NUMBER as char, MIXED as char];
    let decide = |passes: bool| if passes { Verdict::Yes } else { Verdict::No };
    if !template.contains(HOLES) {
        return decide(test.text(template, true));
    }
    // Variables that are digits alone have no part in what has no digit.
    let look_if = |text: &str| {
        let numbers_only = !template.contains(HOLES[1]);
        if numbers_only && !has_digit(text) { Verdict::No } else { Verdict::Look }
    };
    let by_words = || test.text(&template.replace(HOLES, " "), true);
    match test {
        Test::Token(token) if has_digit(token) => Verdict::Look,
        Test::Token(_) => decide(by_words()),
        Test::Phrase(phrase) => {
            // A hole is a token, though an unknown one.
            let filled = template.replace(HOLES, "0");
            let lowered = lower(&filled);
            let words = || phrase.iter().filter(|token| !has_digit(token));
            if words().count() == phrase.len() {
                decide(test.text(&filled, true))
            } else if words().all(|word| tokens(&lowered).any(|token| token == word)) {
                Verdict::Look
            } else {
                Verdict::No
            }
        }
        Test::Prefix(_) | Test::Wildcard(_) if by_words() => Verdict::Yes,
        Test::Prefix(start) if !start.is_empty() => look_if(start),
        Test::Substring(part) => {
            if template.split(HOLES).any(|piece| test.text(piece, true)) {
                Verdict::Yes
            } else {
                look_if(part)
            }
        }
        Test::Exists => Verdict::Yes,
        _ => Verdict::Look,
    }
}
