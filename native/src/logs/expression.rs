//! Regular expressions, with the literals that every text they are found in must have.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

/// Compiled regular expressions may take so much memory.
const REGEX_BYTES: usize = 4 << 20;

/// Alternatives that are kept apart.
const MAX_ALTERNATIVES: usize = 16;

#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// Whether what is around a match does not matter.
    is_local: bool,
    /// The text that it is, where it is one.
    literal: Option<Box<memchr::memmem::Finder<'static>>>,
    /// In lower case; a text that matches has one of these in its lower case. Empty where nothing
    /// is known.
    required: Vec<String>,
}

impl Pattern {
    /// # Errors
    /// It is no regular expression, or too large.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        let mut builder = RegexBuilder::new(pattern);
        let regex = builder.size_limit(REGEX_BYTES).dot_matches_new_line(true).build()?;
        let mut parser = regex_syntax::ParserBuilder::new().dot_matches_new_line(true).build();
        let hir = parser.parse(pattern).ok();
        let literal = hir.as_ref().and_then(|hir| match hir.kind() {
            HirKind::Literal(literal) => Some(&literal.0),
            _ => None,
        });
        let finder = |bytes| Box::new(memchr::memmem::Finder::new(bytes).into_owned());
        let literal = literal.map(finder);
        let required = hir.as_ref().and_then(required).unwrap_or_default();
        let is_local = hir.is_some_and(|hir| hir.properties().look_set().is_empty());
        Ok(Self { regex, is_local, literal, required })
    }

    #[must_use]
    #[inline]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.literal {
            Some(finder) => finder.find(text.as_bytes()).is_some(),
            None => self.regex.is_match(text),
        }
    }

    /// Whether what has a piece in which it is found has it, too.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// False only where none of the texts of which `may_have` is asked, literal by literal, can
    /// match.
    pub fn may_match(&self, may_have: impl FnMut(&String) -> bool) -> bool {
        self.required.is_empty() || self.required.iter().any(may_have)
    }
}

/// One of these, in lower case, is in every match; `None` where nothing is known.
fn required(hir: &Hir) -> Option<Vec<String>> {
    let mut best: Option<Vec<String>> = None;
    let mut offer = |offered: Vec<String>| {
        let least = |set: &[String]| set.iter().map(String::len).min().unwrap_or(0);
        if least(&offered) > best.as_deref().map_or(0, least) {
            best = Some(offered);
        }
    };
    match hir.kind() {
        HirKind::Concat(parts) => {
            let mut run = String::new();
            for part in parts {
                if let Some(text) = exact(part) {
                    run.push_str(&text);
                    continue;
                }
                offer(vec![std::mem::take(&mut run)]);
                required(part).into_iter().for_each(&mut offer);
            }
            offer(vec![run]);
        }
        HirKind::Alternation(parts) => {
            let sets: Option<Vec<Vec<String>>> = parts.iter().map(required).collect();
            let all: Vec<String> = sets?.into_iter().flatten().collect();
            if all.len() <= MAX_ALTERNATIVES {
                offer(all);
            }
        }
        HirKind::Capture(capture) => return required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => return required(&repetition.sub),
        _ => offer(vec![exact(hir)?]),
    }
    best
}

/// The lower case of all that matches, where that is one text.
fn exact(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(String::new()),
        HirKind::Literal(literal) if literal.0.is_ascii() => {
            Some(String::from_utf8_lossy(&literal.0).to_ascii_lowercase())
        }
        HirKind::Class(Class::Unicode(class)) => {
            let mut found = None;
            for range in class.iter() {
                // One letter has few forms.
                if range.len() > 4 {
                    return None;
                }
                for c in range.start()..=range.end() {
                    let mut lowered = c.to_lowercase();
                    let (first, more) = (lowered.next()?, lowered.next());
                    if more.is_some() || !first.is_ascii() || found.is_some_and(|own| own != first)
                    {
                        return None;
                    }
                    found = Some(first);
                }
            }
            found.map(String::from)
        }
        HirKind::Capture(capture) => exact(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(exact).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn required_of(pattern: &str) -> Vec<String> {
        Pattern::new(pattern).expect("a pattern").required
    }

    #[test]
    fn literals_that_a_match_must_have() {
        assert_eq!(required_of("Pool exhausted"), ["pool exhausted"]);
        assert_eq!(required_of("^GET /api/(v1|v2)/users"), ["get /api/"]);
        assert_eq!(required_of("(refused|reset by peer)"), ["refused", "reset by peer"]);
        assert_eq!(required_of("(?i)POOL"), ["pool"]);
        assert_eq!(required_of("(?i)pass"), ["pa"], "ſ is an s, too, and its own lower case");
        assert_eq!(required_of("x+(yz)*"), ["x"]);
        assert!(required_of("a*|b").is_empty() && required_of("[a-z]+").is_empty());
        assert!(required_of("é+").is_empty());
        assert!(Pattern::new(r"a\.b").expect("a pattern").literal.is_some());
        assert!(Pattern::new("(?i)ab").expect("a pattern").literal.is_none());
        assert!(Pattern::new("[ab]c").expect("a pattern").is_local());
        assert!(!Pattern::new(r"ab\b").expect("a pattern").is_local());
    }

    proptest! {
        #[test]
        fn a_match_has_what_is_required(
            pattern in r"(\(\?i\))?([abKsS.é^$]|\(a\|bc\)|\[ab\]|\(k\+b\)\?|a\*|b\{2\}){0,6}",
            text in "[abckKsSſé\u{212a}\n.]{0,12}",
        ) {
            let pattern = Pattern::new(&pattern).expect("a pattern");
            prop_assert_eq!(pattern.is_match(&text), pattern.regex.is_match(&text));
            if pattern.is_match(&text) {
                let lowered = text.to_lowercase();
                prop_assert!(pattern.may_match(|literal| lowered.contains(literal.as_str())));
            }
        }
    }
}
