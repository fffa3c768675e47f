//! What a search asks of a span: `obsd/model/span_predicate.py` has the rules.

use super::otlp::TraceId;
use crate::columns::value::{Value, list};
use hashbrown::HashSet;
use regex::Regex;
use std::cmp::Ordering;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub enum Predicate {
    All,
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
    Has(Field),
    Compare(Field, Test),
    /// The span's trace is one of these.
    Traces(Arc<HashSet<TraceId>>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    Span(String),
    Resource(String),
    Scope(String),
    Event(String),
    Link(String),
    /// The span's attributes, else the resource's.
    Any(String),
    Name,
    Service,
    Kind,
    Status,
    StatusMessage,
    Duration,
    Start,
    TraceId,
    SpanId,
    ParentId,
    ScopeName,
    ScopeVersion,
    EventName,
    LinkTraceId,
    LinkSpanId,
}

impl Field {
    /// A field by its scope and name; `None` where there is none such.
    #[must_use]
    pub fn of(scope: &str, name: &str) -> Option<Self> {
        let own = || name.to_owned();
        Some(match scope {
            "span" => Self::Span(own()),
            "resource" => Self::Resource(own()),
            "scope" => Self::Scope(own()),
            "event" => Self::Event(own()),
            "link" => Self::Link(own()),
            "any" => Self::Any(own()),
            "intrinsic" => match name {
                "name" => Self::Name,
                "service" => Self::Service,
                "kind" => Self::Kind,
                "status" => Self::Status,
                "status_message" => Self::StatusMessage,
                "duration" => Self::Duration,
                "start" => Self::Start,
                "trace_id" => Self::TraceId,
                "span_id" => Self::SpanId,
                "parent_id" => Self::ParentId,
                "scope.name" => Self::ScopeName,
                "scope.version" => Self::ScopeVersion,
                "event.name" => Self::EventName,
                "link.trace_id" => Self::LinkTraceId,
                "link.span_id" => Self::LinkSpanId,
                _ => return None,
            },
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Some(match text {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// What it says of an order; `None` is of what is not a number.
    #[must_use]
    pub fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// What is asked of a value.
#[derive(Debug, Clone)]
pub enum Test {
    Text(Op, String),
    Int(Op, i64),
    Double(Op, f64),
    Bool(Op, bool),
    /// Matches from end to end, or does not.
    Regex(Regex, bool),
}

/// An expression, in the syntax of RE2, that matches from end to end.
///
/// # Errors
/// It is none, or too large.
pub fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    // By itself first: a closing bracket too many must not end what is around it.
    Regex::new(pattern)?;
    regex::RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
        .dot_matches_new_line(true)
        .size_limit(4 << 20)
        .build()
}

fn compare_int_double(a: i64, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    // Above and below all integers of this type.
    if b >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if b < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    let whole = b.trunc();
    let fraction = 0.0.partial_cmp(&(b - whole)).unwrap_or(Ordering::Equal);
    Some(a.cmp(&(whole as i64)).then(fraction))
}

impl Test {
    /// Whether a value compares so; of a list one of its elements.
    #[must_use]
    pub fn matches(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (_, Value::List(items)) => list(items).any(|item| self.matches(item)),
            (Self::Text(op, wanted), Value::Text(text)) => {
                op.holds(Some(text.cmp(wanted.as_bytes())))
            }
            (Self::Regex(pattern, is_wanted), Value::Text(text)) => {
                pattern.is_match(&String::from_utf8_lossy(text)) == *is_wanted
            }
            (Self::Bool(op, wanted), Value::Bool(own)) => op.holds(Some(own.cmp(wanted))),
            (Self::Int(op, wanted), Value::Int(own)) => op.holds(Some(own.cmp(wanted))),
            (Self::Int(op, wanted), Value::Double(own)) => {
                op.holds(compare_int_double(*wanted, own).map(Ordering::reverse))
            }
            (Self::Double(op, wanted), Value::Int(own)) => {
                op.holds(compare_int_double(own, *wanted))
            }
            (Self::Double(op, wanted), Value::Double(own)) => op.holds(own.partial_cmp(wanted)),
            _ => false,
        }
    }

    /// What a value must be for it, and nothing else will do.
    #[must_use]
    pub fn equal_to(&self) -> Option<Value<'_>> {
        Some(match self {
            Self::Text(Op::Equal, text) => Value::Text(text.as_bytes()),
            Self::Int(Op::Equal, n) => Value::Int(*n),
            Self::Double(Op::Equal, n) => Value::Double(*n),
            Self::Bool(Op::Equal, b) => Value::Bool(*b),
            _ => return None,
        })
    }

    /// What a number must be more than, or as much as, for it.
    #[must_use]
    pub fn at_least(&self) -> Option<i64> {
        match self {
            Self::Int(Op::Greater | Op::GreaterOrEqual | Op::Equal, n) => Some(*n),
            // A cast stays within the type.
            Self::Double(Op::Greater | Op::GreaterOrEqual | Op::Equal, n) => Some(n.floor() as i64),
            _ => None,
        }
    }
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

    /// Traces that a span must be of to match; `None` where it may be of any.
    #[must_use]
    pub fn traces(&self) -> Option<&HashSet<TraceId>> {
        match self {
            Self::Traces(ids) => Some(ids),
            Self::And(of) => of.iter().find_map(Self::traces),
            _ => None,
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Self::All => 0,
            Self::And(of) | Self::Or(of) => of.iter().map(Self::cost).max().unwrap_or(0),
            Self::Not(of) => of.cost(),
            Self::Traces(_) => 4,
            Self::Has(field) | Self::Compare(field, _) => match field {
                Field::Service | Field::Kind | Field::Status | Field::Name => 1,
                Field::Duration | Field::Start => 3,
                Field::TraceId | Field::SpanId | Field::ParentId => 5,
                _ => 2,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_is_whole_or_refused() {
        assert!(anchored("a|b").is_ok_and(|p| p.is_match("b") && !p.is_match("ab")));
        assert!(anchored("a.b").is_ok_and(|p| p.is_match("a\nb")));
        assert!(anchored("a)(b").is_err());
    }

    proptest! {
        #[test]
        fn integers_and_doubles_are_compared_as_they_are(a: i64, b: i32, half: bool) {
            let double = f64::from(b) + if half { 0.5 } else { 0.0 };
            let exact = (i128::from(a) * 2).cmp(&(i128::from(b) * 2 + i128::from(half)));
            prop_assert_eq!(compare_int_double(a, double), Some(exact));
            prop_assert_eq!(compare_int_double(a, f64::NAN), None);
        }
    }
}
