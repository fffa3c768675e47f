//! What must be in a granule's filter for any of its rows to match: the hashes of a predicate's
//! tokens, found once for all granules.

use super::granule::Granule;
use super::predicate::{Bound, Field, Predicate, Test};
use super::text::{hash_token, tokens};

/// What a granule must have.
#[derive(Debug)]
pub enum Needed<'p> {
    Nothing,
    Tokens(Vec<u64>),
    /// A number between these, both included.
    Rows(i64, i64),
    /// A pattern knows by itself which of its literals are needed together.
    Regex(&'p Test),
    All(Vec<Needed<'p>>),
    Any(Vec<Needed<'p>>),
}

impl<'p> Needed<'p> {
    #[must_use]
    pub fn of(predicate: &'p Predicate) -> Self {
        match predicate {
            Predicate::And(of) => {
                let parts = of.iter().map(Self::of);
                let mut parts: Vec<_> = parts.filter(|p| !matches!(p, Self::Nothing)).collect();
                match parts.len() {
                    0 => Self::Nothing,
                    1 => parts.remove(0),
                    _ => Self::All(parts),
                }
            }
            Predicate::Or(of) => {
                let parts: Vec<_> = of.iter().map(Self::of).collect();
                let any_row = parts.iter().any(|part| matches!(part, Self::Nothing));
                if any_row { Self::Nothing } else { Self::Any(parts) }
            }
            Predicate::Rows(first, last) => Self::Rows(*first, *last),
            // Their tokens are not in the filter.
            Predicate::Test(
                Field::Time | Field::Level | Field::SeverityText | Field::SeverityNumber,
                _,
            )
            | Predicate::Everything
            | Predicate::Not(_)
            | Predicate::Level(_) => Self::Nothing,
            Predicate::Test(_, test) => of_test(test),
        }
    }

    /// False when no row of the granule can match.
    #[must_use]
    pub fn may_match(&self, granule: &Granule) -> bool {
        let all = |text: &str| tokens(text).all(|t| granule.may_contain(hash_token(t)));
        match self {
            Self::Nothing => true,
            Self::Tokens(hashes) => hashes.iter().all(|hash| granule.may_contain(*hash)),
            Self::Rows(first, last) => granule.last_row >= *first && granule.first_row <= *last,
            Self::Regex(Test::Regex(pattern)) => pattern.may_match(|literal| all(inside(literal))),
            Self::Regex(_) => true,
            Self::All(parts) => parts.iter().all(|part| part.may_match(granule)),
            Self::Any(parts) => parts.iter().any(|part| part.may_match(granule)),
        }
    }
}

/// The tokens that a matching text must have.
fn of_test(test: &Test) -> Needed<'_> {
    let hashes = |text: &str| tokens(text).map(hash_token).collect::<Vec<_>>();
    let found = match test {
        Test::Token(token) => hashes(token),
        Test::Phrase(phrase) => phrase.iter().flat_map(|token| hashes(token)).collect(),
        Test::Equals(value, None) => hashes(value),
        // A double is another text than the number that is looked for; it is put into the filter as
        // an integer where it is one.
        Test::Equals(value, Some(Bound::Int(n)))
            if n.abs() < 1_000_000_000_000_000_000 && n.to_string() == *value =>
        {
            hashes(value)
        }
        Test::Substring(part) => hashes(inside(part.text())),
        Test::Regex(_) => return Needed::Regex(test),
        _ => return Needed::Nothing,
    };
    if found.is_empty() { Needed::Nothing } else { Needed::Tokens(found) }
}

/// A part of a text without its first and last token, which may be pieces of longer ones.
fn inside(part: &str) -> &str {
    part.trim_matches(|c: char| c.is_alphanumeric() || c == '_')
}
