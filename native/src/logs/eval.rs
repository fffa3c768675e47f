//! Which rows of a granule match: first what its filter rules out, then the values of its columns,
//! each once, and only where these do not decide, rows.

use super::bits::Bits;
use super::column::{Strings, TEMPLATE, TEXT};
use super::granule::{Corrupt, Granule, Kind, View, fill};
use super::levels::level_of;
use super::logql::labels;
use super::needed::Needed;
use super::predicate::{Field, Predicate, Test};
use super::selected::Selected;
use super::stored::Stored;
use super::text::{MIXED, NUMBER, has_digit, lower, text, tokens};
use super::value::{Value, lookup};

/// False when no row of the granule can match.
#[must_use]
pub fn may_match(predicate: &Predicate, granule: &Granule) -> bool {
    Needed::of(predicate).may_match(granule)
}

/// The rows that match.
///
/// # Errors
/// A column is damaged.
pub fn matching(predicate: &Predicate, view: &View) -> Result<Bits, Corrupt> {
    Ok(select(predicate, view, None)?.into_bits(view.granule.rows))
}

/// The rows that match, as far as they are `within`; of others the answer says nothing. The filter
/// is the caller's to ask, but for the parts of what is asked.
///
/// # Errors
/// A column is damaged.
pub fn select<'v>(
    predicate: &Predicate,
    view: &'v View,
    within: Option<&Bits>,
) -> Result<Selected<'v>, Corrupt> {
    let rows = view.granule.rows;
    match predicate {
        Predicate::Everything => Ok(Selected::All),
        Predicate::And(of) => all_of(of, view, within),
        Predicate::Or(of) => {
            let mut found = Selected::None;
            for part in of {
                if matches!(found, Selected::All) {
                    break;
                }
                found = found.or(select_filtered(part, view, within)?, rows);
            }
            Ok(found)
        }
        Predicate::Not(part) => Ok(select_filtered(part, view, within)?.not(rows)),
        Predicate::Level(level) => levels(view, *level),
        Predicate::Rows(first, last) => {
            let granule = &view.granule;
            if granule.first_row >= *first && granule.last_row <= *last {
                return Ok(Selected::All);
            }
            let numbers = view.rows()?;
            let inside = |row: usize| (*first..=*last).contains(&numbers[row]);
            Ok(Selected::of_bits(Bits::of(rows, inside)))
        }
        Predicate::Test(field, test) => match field {
            Field::Prose => prose(view, test, within),
            Field::Body => bodies(view, test, within),
            Field::Level => Ok(Selected::None),
            Field::Time => {
                let times = view.times()?;
                Ok(Selected::of_bits(Bits::of(rows, |row| test.value(Value::Int(times[row])))))
            }
            _ => field_values(view, field, test),
        },
    }
}

/// The same behind the filter, where that has not been asked for this part alone.
fn select_filtered<'v>(
    predicate: &Predicate,
    view: &'v View,
    within: Option<&Bits>,
) -> Result<Selected<'v>, Corrupt> {
    if !may_match(predicate, &view.granule) {
        return Ok(Selected::None);
    }
    select(predicate, view, within)
}

fn all_of<'v>(
    of: &[Predicate],
    view: &'v View,
    within: Option<&Bits>,
) -> Result<Selected<'v>, Corrupt> {
    let rows = view.granule.rows;
    let mut found = Selected::All;
    for part in of {
        if matches!(found, Selected::None) {
            break;
        }
        if part.looks_at_rows() {
            found = found.placed(rows);
        }
        let next = select(part, view, found.bits().or(within))?;
        found = found.and(next, rows);
    }
    Ok(found)
}

/// The levels that a column of severity numbers tells by itself, by value; `None` where one does
/// not, so that the text counts.
fn levels_of_numbers(severity: &Stored) -> Option<Vec<u8>> {
    let values = severity.values();
    (0..values.len())
        .map(|id| {
            let number = values.bytes(id).first().copied().unwrap_or(0);
            (1..=24).contains(&number).then(|| level_of(number, b"")).flatten()
        })
        .collect()
}

/// The level of each row, by its place among all; 255 without one.
///
/// # Errors
/// A column is damaged.
pub fn row_levels(view: &View) -> Result<Vec<u8>, Corrupt> {
    let rows = view.granule.rows;
    let severity = view.column(Kind::Severity)?;
    if let Some(levels) = levels_of_numbers(severity) {
        return Ok((0..rows).map(|row| severity.id(row).map_or(255, |id| levels[id])).collect());
    }
    let text = view.column(Kind::SeverityText)?;
    let (numbers, texts) = (severity.values(), text.values());
    // By number, then by text; the first of each stands for none.
    let number = |id: usize| {
        id.checked_sub(1).map_or(0, |id| numbers.bytes(id).first().copied().unwrap_or(0))
    };
    let word = |id: usize| id.checked_sub(1).map_or(&b""[..], |id| texts.bytes(id));
    let width = texts.len() + 1;
    let mut levels: Vec<Option<u8>> = vec![None; (numbers.len() + 1) * width];
    let place = |column: &Stored, row: usize| column.id(row).map_or(0, |id| id + 1);
    let of_row = |row: usize| {
        let (a, b) = (place(severity, row), place(text, row));
        let level = &mut levels[a * width + b];
        *level.get_or_insert_with(|| level_of(number(a), word(b)).unwrap_or(255))
    };
    Ok((0..rows).map(of_row).collect())
}

fn levels(view: &View, level: Option<u8>) -> Result<Selected<'_>, Corrupt> {
    let rows = view.granule.rows;
    let severity = view.column(Kind::Severity)?;
    if let Some(levels) = levels_of_numbers(severity) {
        let passes = levels.into_iter().map(|own| level.is_none_or(|wanted| wanted == own));
        return Ok(Selected::of_values(severity, passes.collect(), rows));
    }
    let found = row_levels(view)?;
    Ok(Selected::of_bits(Bits::of(found.len(), |row| match level {
        Some(level) => found[row] == level,
        None => found[row] != 255,
    })))
}

/// How a stored value leads to the field's.
#[derive(Debug, Clone, Copy)]
pub enum Step<'n> {
    Whole,
    Path(&'n str),
    Service,
    Label(&'n str),
    /// The resource's attributes that are no labels.
    Metadata(&'n str),
    /// An attribute under the name that it has as metadata.
    Sanitized(&'n str),
    /// An attribute's value, where that is metadata.
    Telling,
    /// What a record has beside its attributes, under the name that it has as metadata.
    Detail(&'n str),
    /// A severity's number.
    Number,
}

impl Step<'_> {
    /// The field's value in a stored one; `None` where it has none.
    #[must_use]
    pub fn apply<'v>(self, value: Value<'v>) -> Option<Value<'v>> {
        match (self, value) {
            (Self::Whole, value) => Some(value).filter(|v| !v.is_null()),
            (Self::Telling, value) => Some(value).filter(|v| labels::tells_something(*v)),
            (Self::Path(path), Value::Map(message)) => lookup(message, path),
            (Self::Label(name), Value::Map(message)) => labels::label(message, name),
            (Self::Metadata(name), Value::Map(message)) => labels::metadata(message, name),
            (Self::Sanitized(name), Value::Map(message)) => labels::sanitized(message, name),
            (Self::Detail(name), Value::Map(message)) => labels::detail(message, name),
            (Self::Number, Value::Text([number, ..]) | Value::Bytes([number, ..])) => {
                (*number > 0).then_some(Value::Int(i64::from(*number)))
            }
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
) -> Result<Vec<(&'v Stored, Step<'n>)>, Corrupt> {
    Ok(match field {
        Field::Service => vec![(view.column(Kind::Resource)?, Step::Service)],
        Field::TraceId => vec![(view.column(Kind::TraceId)?, Step::Whole)],
        Field::SpanId => vec![(view.column(Kind::SpanId)?, Step::Whole)],
        Field::SeverityText => vec![(view.column(Kind::SeverityText)?, Step::Whole)],
        Field::SeverityNumber => vec![(view.column(Kind::Severity)?, Step::Number)],
        Field::InBody(path) => vec![(view.column(Kind::Body)?, Step::Path(path))],
        Field::Label(name) => vec![(view.column(Kind::Resource)?, Step::Label(name))],
        Field::Metadata(name) => {
            let mut found = Vec::new();
            match name.as_str() {
                "trace_id" => found.push((view.column(Kind::TraceId)?, Step::Whole)),
                "span_id" => found.push((view.column(Kind::SpanId)?, Step::Whole)),
                _ => {}
            }
            for (index, info) in view.granule.attributes.iter().enumerate() {
                if labels::label_name(&info.key) == *name {
                    found.push((view.attribute(index)?, Step::Telling));
                }
            }
            found.push((view.column(Kind::Rest)?, Step::Sanitized(name)));
            found.push((view.column(Kind::Resource)?, Step::Metadata(name)));
            found.push((view.column(Kind::Details)?, Step::Detail(name)));
            found
        }
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
            found.push((view.column(Kind::Details)?, Step::Path(name)));
            found.push((view.column(Kind::Resource)?, Step::Path(name)));
            found
        }
        Field::Prose | Field::Body | Field::Level | Field::Time => Vec::new(),
    })
}

fn field_values<'v>(view: &'v View, field: &Field, test: &Test) -> Result<Selected<'v>, Corrupt> {
    const ABSENT: u8 = 0;
    const PASSES: u8 = 1;
    const FAILS: u8 = 2;
    let rows = view.granule.rows;
    let mut columns: Vec<(&'v Stored, Vec<u8>)> = Vec::new();
    for (column, step) in sources(view, field)? {
        let values = column.values();
        let outcome = |id: usize| match step.apply(values.get(id)) {
            None => ABSENT,
            Some(value) if test.value(value) => PASSES,
            Some(_) => FAILS,
        };
        let outcomes: Vec<u8> = match test.only_text() {
            // An id is looked for among thousands.
            Some(wanted) if matches!(step, Step::Whole | Step::Telling) => (0..values.len())
                .map(|id| match values.tag(id) {
                    TEXT if !values.bytes(id).is_empty() => match values.bytes(id) == wanted {
                        true => PASSES,
                        false => FAILS,
                    },
                    _ => outcome(id),
                })
                .collect(),
            _ => (0..values.len()).map(outcome).collect(),
        };
        if outcomes.iter().all(|outcome| *outcome == ABSENT) {
            continue;
        }
        let decided: Vec<bool> = outcomes.iter().map(|outcome| *outcome != ABSENT).collect();
        let decides_all = column.count(&decided) == rows;
        columns.push((column, outcomes));
        if decides_all {
            break;
        }
    }
    // Where no column has a value that passes, it does not matter which one decides.
    if !columns.iter().any(|(_, outcomes)| outcomes.contains(&PASSES)) {
        return Ok(Selected::None);
    }
    if let [(column, outcomes)] = columns.as_slice() {
        let passes = outcomes.iter().map(|outcome| *outcome == PASSES).collect();
        return Ok(Selected::of_values(column, passes, rows));
    }
    let mut decided = vec![ABSENT; rows];
    for (column, outcomes) in columns {
        for (row, outcome) in decided.iter_mut().enumerate() {
            if *outcome == ABSENT
                && let Some(id) = column.id(row)
            {
                *outcome = outcomes[id];
            }
        }
    }
    Ok(Selected::of_bits(Bits::of(rows, |row| decided[row] == PASSES)))
}

/// Rows of a column whose values pass.
fn passing(column: &Stored, rows: usize, passes: impl Fn(Value<'_>) -> bool) -> Selected<'_> {
    let values = column.values();
    let outcomes = (0..values.len()).map(|id| passes(values.get(id))).collect();
    Selected::of_values(column, outcomes, rows)
}

fn prose<'v>(view: &'v View, test: &Test, within: Option<&Bits>) -> Result<Selected<'v>, Corrupt> {
    let rows = view.granule.rows;
    let mut found = bodies(view, test, within)?;
    let (needs_words, needs_texts) = (test.needs_words(), test.needs_texts());
    for (index, info) in view.granule.attributes.iter().enumerate() {
        if matches!(found, Selected::All) {
            return Ok(found);
        }
        let has_words = info.has_words || !needs_words;
        if info.has_prose && has_words && !(needs_texts && info.is_whole_numbers) {
            found = found.or(passing(view.attribute(index)?, rows, |v| test.prose(v)), rows);
        }
    }
    let of_map = |v: Value<'_>| matches!(v, Value::Map(m) if super::value::map(m).any(|(_, v)| test.prose(v)));
    Ok(found.or(passing(view.column(Kind::Rest)?, rows, of_map), rows))
}

/// What a template says of all bodies that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    /// It depends on the variables.
    Look,
}

fn bodies<'v>(view: &'v View, test: &Test, within: Option<&Bits>) -> Result<Selected<'v>, Corrupt> {
    let rows = view.granule.rows;
    let column = view.column(Kind::Body)?;
    let values = column.values();
    let verdict = |id: usize| {
        if values.tag(id) == TEMPLATE {
            of_template(test, &text(values.bytes(id)))
        } else if !values.get(id).is_null() && test.text(&values.get(id).text_or_json(), true) {
            Verdict::Yes
        } else {
            Verdict::No
        }
    };
    let verdicts: Vec<Verdict> = (0..values.len()).map(verdict).collect();
    let rows_of = |wanted: Verdict| {
        let passes = verdicts.iter().map(|verdict| *verdict == wanted).collect();
        Selected::of_values(column, passes, rows)
    };
    let found = rows_of(Verdict::Yes);
    if !verdicts.contains(&Verdict::Look) {
        return Ok(found);
    }
    let mut look = rows_of(Verdict::Look).into_bits(rows);
    if let Some(within) = within {
        look.and(within);
    }
    if look.is_empty() {
        return Ok(found);
    }
    let wanted: Vec<bool> = verdicts.iter().map(|verdict| *verdict == Verdict::Look).collect();
    let (variables, ordinals) = (view.variables(&wanted)?, view.ordinals()?);
    let mut bits = found.into_bits(rows);
    let mut buffer = Vec::new();
    for row in look.iter() {
        let Some(id) = column.id(row) else { continue };
        if body_passes(test, values.bytes(id), &variables[id], ordinals[row] as usize, &mut buffer)
        {
            bits.set(row);
        }
    }
    Ok(Selected::of_bits(bits))
}

fn body_passes(
    test: &Test,
    template: &[u8],
    variables: &[Strings],
    ordinal: usize,
    buffer: &mut Vec<u8>,
) -> bool {
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
    fill(template, variables, ordinal, buffer);
    test.text(&text(buffer), true)
}

/// A variable is a whole token and has a digit; so tokens without one are the template's alone.
fn of_template(test: &Test, template: &str) -> Verdict {
    const HOLES: [char; 2] = [NUMBER as char, MIXED as char];
    let decide = |passes: bool| if passes { Verdict::Yes } else { Verdict::No };
    // Most templates are of other bodies: this rules them out without making texts.
    if !may_have_words(test, template) {
        return Verdict::No;
    }
    if !template.contains(HOLES) {
        return decide(test.text(template, true));
    }
    let by_words = || test.text(&template.replace(HOLES, " "), true);
    let covers = |part: &str| {
        if may_cover(part, &lower(template)) { Verdict::Look } else { Verdict::No }
    };
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
        // Only a variable may have it: the template's own tokens have not.
        Test::Prefix(start) if !start.is_empty() => {
            let only_numbers = !template.contains(HOLES[1]);
            decide_look(!only_numbers || start.bytes().all(|b| b.is_ascii_digit()))
        }
        Test::Wildcard(pattern) => {
            decide_look(pattern.may_match(|literal| may_cover(literal, &lower(template))))
        }
        Test::Substring(part) => {
            if template.split(HOLES).any(|piece| test.text(piece, true)) {
                Verdict::Yes
            } else {
                covers(part.text())
            }
        }
        Test::Regex(pattern) => {
            if pattern.is_local() && template.split(HOLES).any(|piece| test.text(piece, true)) {
                Verdict::Yes
            } else {
                decide_look(pattern.may_match(|literal| may_cover(literal, &lower(template))))
            }
        }
        Test::Exists => Verdict::Yes,
        _ => Verdict::Look,
    }
}

/// False only when a word without a digit that every match must have is nowhere in a template.
fn may_have_words(test: &Test, template: &str) -> bool {
    let lowered = lower(template);
    let may_have = |token: &String| has_digit(token) || lowered.contains(token.as_str());
    match test {
        Test::Token(token) => may_have(token),
        Test::Phrase(phrase) => phrase.iter().all(may_have),
        _ => true,
    }
}

fn decide_look(may_match: bool) -> Verdict {
    if may_match { Verdict::Look } else { Verdict::No }
}

/// False only when no body with this template has the part in it; both are in lower case. A
/// variable is a whole token with a digit: after it no letter, digit or `_` follows, nor before it.
fn may_cover(part: &str, template: &str) -> bool {
    part.is_empty()
        || template.char_indices().any(|(at, c)| {
            let from = &template[at..];
            // From this character on, or, where it is a variable, from within that.
            covers_from(part, from, false) || (is_hole(c) && covers_from(part, from, true))
        })
}

fn is_hole(c: char) -> bool {
    c == NUMBER as char || c == MIXED as char
}

/// Whether the part may begin where the rest of a template does, or within its first variable.
fn covers_from(part: &str, template: &str, within: bool) -> bool {
    let (mut left, mut begins_within) = (part, within);
    for c in template.chars() {
        if left.is_empty() {
            return true;
        }
        if !is_hole(c) {
            match left.strip_prefix(c) {
                Some(rest) => left = rest,
                None => return false,
            }
            continue;
        }
        let end = left.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(left.len());
        let (run, rest) = left.split_at(end);
        if c == NUMBER as char && !run.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        if run.is_empty() || (!begins_within && !rest.is_empty() && !has_digit(run)) {
            return false;
        }
        (left, begins_within) = (rest, false);
    }
    left.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::text::split;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_part_of_a_body_may_be_in_its_template(
            body in "([a-cA-C1-3é_Ǆ]{0,4}[ .:]?){0,5}", from in 0_usize..30, length in 0_usize..12,
        ) {
            let (mut template, mut places) = (Vec::new(), Vec::new());
            if !split(&body, &mut template, &mut places) {
                return Ok(());
            }
            let part: String = lower(&body).chars().skip(from).take(length).collect();
            let template = String::from_utf8(template).expect("of a text");
            prop_assert!(may_cover(&part, &lower(&template)), "{:?} in {:?}", part, template);
        }
    }

    #[test]
    fn parts_that_cannot_be_in_a_template() {
        let of = |text: &str| {
            let (mut template, mut places) = (Vec::new(), Vec::new());
            assert!(split(text, &mut template, &mut places));
            String::from_utf8(template).expect("of a text")
        };
        let (order, mixed) = (of("order 7 placed with 12 items"), of("job a7 done"));
        assert!(may_cover("order 99", &order) && may_cover("9 placed with 1", &order));
        assert!(!may_cover("order x", &order) && !may_cover("carts 7", &order));
        assert!(!may_cover("order 7 items", &order) && !may_cover("r placed", &order));
        assert!(
            may_cover("job b8 d", &mixed)
                && may_cover("b", &mixed)
                && may_cover("b8b done", &mixed)
        );
        assert!(!may_cover("job b done", &mixed));
        assert!(may_cover("job done", &mixed), "of `job 7job done`");
    }
}
