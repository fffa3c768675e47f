//! Matchers: one condition on one label. Regular expressions are anchored at both ends, in
//! linear time (the `regex` crate), and `.` matches a newline too.

use regex::{Regex, RegexBuilder};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl Op {
    /// The operator of its PromQL text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "=~" => Self::Regex,
            "!~" => Self::NotRegex,
            _ => return None,
        })
    }

    #[must_use]
    pub fn negated(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }
}

/// Compiled programs larger than this are refused: a pattern like `(a{1000}){1000}` is an attack.
const REGEX_SIZE_LIMIT: usize = 10 << 20;

#[derive(Debug, Clone)]
pub struct Matcher {
    pub op: Op,
    pub name: String,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// # Errors
    /// The pattern does not compile.
    pub fn new(op: Op, name: String, value: String) -> Result<Self, regex::Error> {
        let is_regex = matches!(op, Op::Regex | Op::NotRegex);
        // A pattern without any operator is a plain string.
        let literal = is_regex && regex_syntax_free(&value);
        let op = match (literal, op) {
            (true, Op::Regex) => Op::Equal,
            (true, Op::NotRegex) => Op::NotEqual,
            _ => op,
        };
        let regex = if is_regex && !literal { Some(anchored(&value)?) } else { None };
        Ok(Self { op, name, value, regex })
    }

    #[must_use]
    pub fn matches(&self, label_value: &str) -> bool {
        let hit = match &self.regex {
            Some(regex) => regex.is_match(label_value),
            None => self.value == label_value,
        };
        hit != self.op.negated()
    }

    /// The one value that satisfies this matcher, if it is an equality.
    #[must_use]
    pub fn equals(&self) -> Option<&str> {
        (self.op == Op::Equal).then_some(self.value.as_str())
    }

    /// The matcher that holds where this one does not.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let op = match self.op {
            Op::Equal => Op::NotEqual,
            Op::NotEqual => Op::Equal,
            Op::Regex => Op::NotRegex,
            Op::NotRegex => Op::Regex,
        };
        Self { op, ..self.clone() }
    }
}

fn anchored(pattern: &str) -> Result<Regex, regex::Error> {
    // Compiled alone first, so that `a)(b` cannot escape the group below.
    RegexBuilder::new(pattern).size_limit(REGEX_SIZE_LIMIT).build()?;
    RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(REGEX_SIZE_LIMIT).build()
}

fn regex_syntax_free(pattern: &str) -> bool {
    !pattern.bytes().any(|b| br"\.+*?()|[]{}^$".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(op: Op, value: &str) -> Matcher {
        Matcher::new(op, "l".into(), value.into()).unwrap()
    }

    #[test]
    fn patterns_are_anchored_and_dots_match_newlines() {
        assert!(matcher(Op::Regex, "a.c").matches("a\nc"));
        assert!(!matcher(Op::Regex, "a.c").matches("xabc"));
        assert!(matcher(Op::Regex, "a|bc").matches("bc"));
        assert!(!matcher(Op::Regex, "a|bc").matches("ac"));
        assert!(matcher(Op::NotRegex, "a.*").matches("ba"));
        assert!(Matcher::new(Op::Regex, "l".into(), "a)(b".into()).is_err());
    }

    #[test]
    fn a_pattern_without_operators_is_an_equality() {
        assert_eq!(matcher(Op::Regex, "node-exporter_1").equals(), Some("node-exporter_1"));
        assert_eq!(matcher(Op::Regex, "a.b").equals(), None);
    }
}
