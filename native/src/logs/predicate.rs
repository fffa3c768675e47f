//! What a search asks of a record: `obsd/model/log_predicate.py` has the rules.

use super::expression::Pattern;
use super::text::{has_digit, lower, tokens};
use super::value::Value;
use std::cmp::Ordering;

#[derive(Debug, Clone)]
pub enum Predicate {
    Everything,
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
    /// The level's place among all levels; without one, any.
    Level(Option<u8>),
    /// The record's number is between these, both included.
    Rows(i64, i64),
    Test(Field, Test),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The body and the attributes' texts.
    Prose,
    Body,
    Level,
    Service,
    TraceId,
    SpanId,
    SeverityText,
    SeverityNumber,
    Time,
    /// A path into bodies that are maps.
    InBody(String),
    /// A label of the stream, without the service.
    Label(String),
    /// What LogQL calls structured metadata, without what a record tells of itself.
    Metadata(String),
    /// An attribute, or else of the resource.
    Named(String),
}

impl Predicate {
    /// The same, the parts that cost least first.
    #[must_use]
    pub fn arranged(self) -> Self {
        let arrange = |of: Vec<Self>| {
            let mut of: Vec<Self> = of.into_iter().map(Self::arranged).collect();
            of.sort_by_key(Self::cost);
            of
        };
        match self {
            Self::And(of) => Self::And(arrange(of)),
            Self::Or(of) => Self::Or(arrange(of)),
            Self::Not(of) => Self::Not(Box::new(of.arranged())),
            other => other,
        }
    }

    /// Least of what the heads and dictionaries of granules tell, most of what rows do.
    fn cost(&self) -> u8 {
        match self {
            Self::Everything | Self::Rows(..) => 0,
            Self::And(of) | Self::Or(of) => of.iter().map(Self::cost).max().unwrap_or(0),
            Self::Not(of) => of.cost(),
            Self::Level(_) | Self::Test(Field::Service, _) => 1,
            Self::Test(Field::Time, _) => 3,
            Self::Test(Field::Prose | Field::Body, test) => match test {
                Test::Token(token) if !has_digit(token) => 2,
                Test::Phrase(phrase) if !phrase.iter().any(|token| has_digit(token)) => 2,
                Test::Token(_) | Test::Phrase(_) => 4,
                Test::Substring(_) | Test::Prefix(_) => 5,
                _ => 6,
            },
            Self::Test(..) => 2,
        }
    }

    /// Whether it is of use to know which rows are still in question.
    #[must_use]
    pub fn looks_at_rows(&self) -> bool {
        self.cost() > 3
    }
}

impl Field {
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "body" => Self::Body,
            "level" => Self::Level,
            "service" => Self::Service,
            "trace_id" => Self::TraceId,
            "span_id" => Self::SpanId,
            "severity_text" => Self::SeverityText,
            "severity_number" => Self::SeverityNumber,
            "time" => Self::Time,
            _ => match name.split_once([':', '.']) {
                Some(("body", path)) if name.starts_with("body.") => Self::InBody(path.to_owned()),
                Some(("label", label)) if name.starts_with("label:") => {
                    Self::Label(label.to_owned())
                }
                Some(("metadata", of)) if name.starts_with("metadata:") => {
                    Self::Metadata(of.to_owned())
                }
                _ => Self::Named(name.to_owned()),
            },
        }
    }
}

/// A number, or a text in lower case.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    Int(i128),
    Double(f64),
    Text(String),
}

/// What is asked of a value; all but the regular expression are in lower case.
#[derive(Debug, Clone)]
pub enum Test {
    Token(String),
    Phrase(Vec<String>),
    Substring(Part),
    Prefix(String),
    /// Matches a token or value in lower case from end to end.
    Wildcard(Pattern),
    Regex(Pattern),
    Equals(String, Option<Bound>),
    /// Between these, and whether they are included.
    Range(Option<(Bound, bool)>, Option<(Bound, bool)>),
    Exists,
}

/// A text to find in others.
#[derive(Debug, Clone)]
pub struct Part {
    text: String,
    finder: Box<memchr::memmem::Finder<'static>>,
}

impl Part {
    #[must_use]
    pub fn new(text: String) -> Self {
        let finder = memchr::memmem::Finder::new(text.as_bytes()).into_owned();
        Self { text, finder: Box::new(finder) }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The regular expression of a wildcard pattern, from end to end.
///
/// # Errors
/// The pattern is too large.
pub fn wildcard(pattern: &str) -> Result<Pattern, regex::Error> {
    let mut out = String::from("(?s)^");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '\\' => out.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push('$');
    Pattern::new(&out)
}

/// A decimal number, as a bound.
#[must_use]
pub fn parse_number(text: &str) -> Option<Bound> {
    if text.len() < 39
        && let Ok(n) = text.parse::<i128>()
    {
        return Some(Bound::Int(n));
    }
    let decimal = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
    if !text.bytes().all(decimal) {
        return None;
    }
    text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Bound::Double)
}

fn compare_int_double(a: i128, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    if b.abs() >= 1e37 {
        return Some(if b > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let whole = b.trunc();
    let fraction = 0.0.partial_cmp(&(b - whole)).unwrap_or(Ordering::Equal);
    Some(a.cmp(&(whole as i128)).then(fraction))
}

fn compare_numbers(a: &Bound, b: &Bound) -> Option<Ordering> {
    match (a, b) {
        (Bound::Int(a), Bound::Int(b)) => Some(a.cmp(b)),
        (Bound::Int(a), Bound::Double(b)) => compare_int_double(*a, *b),
        (Bound::Double(a), Bound::Int(b)) => compare_int_double(*b, *a).map(Ordering::reverse),
        (Bound::Double(a), Bound::Double(b)) => a.partial_cmp(b),
        _ => None,
    }
}

/// How a value compares with a bound; `None` where they do not compare.
fn compare(value: Value<'_>, bound: &Bound) -> Option<Ordering> {
    match (value, bound) {
        (Value::Text(bytes), Bound::Text(text)) => {
            Some(lower(&String::from_utf8_lossy(bytes)).as_ref().cmp(text.as_str()))
        }
        (Value::Text(bytes), bound) => {
            compare_numbers(&parse_number(std::str::from_utf8(bytes).ok()?)?, bound)
        }
        (Value::Int(n), bound) => compare_numbers(&Bound::Int(i128::from(n)), bound),
        (Value::Double(n), bound) => compare_numbers(&Bound::Double(n), bound),
        _ => None,
    }
}

fn within(value: Value<'_>, low: Option<&(Bound, bool)>, high: Option<&(Bound, bool)>) -> bool {
    let above = low.is_none_or(|(bound, included)| match compare(value, bound) {
        Some(Ordering::Greater) => true,
        Some(Ordering::Equal) => *included,
        _ => false,
    });
    above
        && high.is_none_or(|(bound, included)| match compare(value, bound) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => *included,
            _ => false,
        })
}

fn has_phrase(text: &str, phrase: &[String]) -> bool {
    if phrase.is_empty() {
        return true;
    }
    let found: Vec<&str> = tokens(text).collect();
    found.windows(phrase.len()).any(|run| run.iter().zip(phrase).all(|(a, b)| a == b))
}

impl Test {
    /// Whether a text passes only if one of its tokens has no digit.
    #[must_use]
    pub fn needs_words(&self) -> bool {
        match self {
            Self::Token(token) => !has_digit(token),
            Self::Phrase(phrase) => phrase.iter().any(|token| !has_digit(token)),
            _ => false,
        }
    }

    /// Whether no text passes that is a whole number.
    #[must_use]
    pub fn needs_texts(&self) -> bool {
        let numeric = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        match self {
            Self::Token(text) | Self::Prefix(text) => !numeric(text),
            Self::Phrase(phrase) => !phrase.iter().all(|token| numeric(token)),
            Self::Substring(part) => !numeric(&part.text),
            Self::Wildcard(pattern) | Self::Regex(pattern) => {
                !pattern.may_match(|literal| numeric(literal))
            }
            Self::Equals(..) | Self::Range(..) | Self::Exists => false,
        }
    }

    /// The one text that passes, where letters in another case cannot make another.
    #[must_use]
    pub fn only_text(&self) -> Option<&[u8]> {
        match self {
            // Of digits alone nothing else is in another case.
            Self::Equals(wanted, _)
                if wanted.is_ascii() && !wanted.bytes().any(|b| b.is_ascii_alphabetic()) =>
            {
                Some(wanted.as_bytes())
            }
            _ => None,
        }
    }

    /// Whether a text passes; in prose, words count.
    #[must_use]
    pub fn text(&self, text: &str, prose: bool) -> bool {
        let lowered = match self {
            Self::Regex(regex) => return regex.is_match(text),
            Self::Range(low, high) => {
                return within(Value::Text(text.as_bytes()), low.as_ref(), high.as_ref());
            }
            Self::Exists => return true,
            _ => lower(text),
        };
        match self {
            Self::Token(token) => tokens(&lowered).any(|t| t == token),
            Self::Phrase(phrase) => has_phrase(&lowered, phrase),
            Self::Substring(part) => part.finder.find(lowered.as_bytes()).is_some(),
            Self::Prefix(start) if prose => tokens(&lowered).any(|t| t.starts_with(start)),
            Self::Prefix(start) => lowered.starts_with(start),
            Self::Wildcard(regex) if prose => tokens(&lowered).any(|t| regex.is_match(t)),
            Self::Wildcard(regex) => regex.is_match(&lowered),
            Self::Equals(value, _) => lowered == *value,
            Self::Regex(_) | Self::Range(..) | Self::Exists => false,
        }
    }

    /// Whether a field's value passes.
    #[must_use]
    pub fn value(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (_, Value::Null) => false,
            (Self::Exists, _) => true,
            (_, Value::List(message)) => super::value::list(message).any(|v| self.value(v)),
            (Self::Range(low, high), _) => within(value, low.as_ref(), high.as_ref()),
            (Self::Equals(_, Some(number)), Value::Int(_) | Value::Double(_))
                if compare(value, number) == Some(Ordering::Equal) =>
            {
                true
            }
            (Self::Equals(wanted, _), Value::Text(bytes)) if bytes.is_ascii() => {
                bytes.eq_ignore_ascii_case(wanted.as_bytes())
            }
            // Of another whole number the text is another one, too.
            (Self::Equals(_, Some(_)), Value::Int(_)) => false,
            _ => value.text().is_some_and(|text| self.text(&text, false)),
        }
    }

    /// Whether a text or integer somewhere in an attribute passes, as prose.
    #[must_use]
    pub fn prose(&self, value: Value<'_>) -> bool {
        let mut found = false;
        value.each_leaf(&mut |leaf| {
            if !found && matches!(leaf, Value::Text(_) | Value::Int(_)) {
                found = leaf.text().is_some_and(|text| self.text(&text, true));
            }
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let big = i64::MAX;
        assert_eq!(compare(Value::Int(big), &Bound::Double(big as f64)), Some(Ordering::Less));
        assert_eq!(compare(Value::Int(2), &Bound::Double(2.5)), Some(Ordering::Less));
        assert_eq!(compare(Value::Int(-2), &Bound::Double(-2.5)), Some(Ordering::Greater));
        assert_eq!(compare(Value::Text(b"12"), &Bound::Int(12)), Some(Ordering::Equal));
        assert_eq!(compare(Value::Text(b"nan"), &Bound::Int(12)), None);
        assert_eq!(compare(Value::Double(f64::NAN), &Bound::Int(12)), None);
    }

    #[test]
    fn a_number_equals_in_any_notation() {
        let test = Test::Equals("500".to_owned(), parse_number("500"));
        assert!(test.value(Value::Int(500)) && test.value(Value::Double(500.0)));
        assert!(test.value(Value::Text(b"500")) && !test.value(Value::Text(b"500.0")));
    }

    #[test]
    fn wildcards_stand_for_characters() {
        let regex = wildcard(r"a*c?\*").expect("small");
        assert!(regex.is_match("abbbcd*") && regex.is_match("acd*"));
        assert!(!regex.is_match("acd") && !regex.is_match("xacd*"));
    }
}
