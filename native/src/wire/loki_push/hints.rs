//! What names of texts say about a record: `obsd/ingest/record_hints.py` has the rules.

use super::pairs::Pairs;
use crate::logs::pipeline::{level::severity_of, names};

/// OTLP's severity number of a word; 0 for an unknown one.
#[must_use]
fn severity_number(text: &str) -> u8 {
    // As Python strips: its white space has four control characters more.
    let blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    severity_of(text.trim_matches(blank).as_bytes())
}

/// The severity number and its text; (0, "") where no field tells.
#[must_use]
pub fn find_level<'a>(fields: &'a Pairs<'_>) -> (u8, &'a str) {
    if fields.is_empty() {
        return (0, "");
    }
    for name in names::LEVEL {
        if let Some(text) = fields.get(name) {
            let number = severity_number(text);
            if number != 0 {
                return (number, text);
            }
        }
    }
    (0, "")
}

/// The id of `N` bytes that the first fitting field has in hexadecimal.
#[must_use]
pub fn find_id<const N: usize>(fields: &Pairs<'_>, names: &[&str]) -> Option<[u8; N]> {
    if fields.is_empty() {
        return None;
    }
    names.iter().find_map(|name| parse_hex(fields.get(name)?))
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut id = [0; N];
    for (out, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *out = (high << 4 | low) as u8;
    }
    Some(id)
}
