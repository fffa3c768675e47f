//! Texts and their tokens: maximal runs of letters, digits and `_`, compared in lower case.

use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64;

/// Stands for a variable of digits alone in a body's template; a body that has it is kept whole.
pub const NUMBER: u8 = 0x11;

/// The same for a variable that has other characters, too.
pub const MIXED: u8 = 0x12;

const WORD: u8 = 1;
const DIGIT: u8 = 2;
const UPPER: u8 = 4;
const LETTER: u8 = 8;

const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        if b.is_ascii_digit() {
            table[byte] = WORD | DIGIT;
        } else if b.is_ascii_uppercase() {
            table[byte] = WORD | LETTER | UPPER;
        } else if b.is_ascii_lowercase() || b == b'_' {
            table[byte] = WORD | LETTER;
        }
        byte += 1;
    }
    table
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text of bytes, mostly as they are.
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    // The check of the whole is several times as fast as that for where it is none.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The text in lower case, as Unicode has it.
#[must_use]
pub fn lower(text: &str) -> Cow<'_, str> {
    if !text.is_ascii() {
        return Cow::Owned(text.to_lowercase());
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    Cow::Borrowed(text)
}

/// Where the word at or after `from` is; `None` when there is none. Returns the classes of its
/// characters, too.
#[inline]
fn next_word(text: &str, from: usize) -> Option<(usize, usize, u8)> {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut start = None;
    let mut class = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let (own, length) = if byte < 128 {
            (CLASS[byte as usize], 1)
        } else {
            let c = text[at..].chars().next().unwrap_or(' ');
            (if is_word(c) { WORD | LETTER } else { 0 }, c.len_utf8())
        };
        let word = own & WORD != 0;
        match (word, start) {
            (true, None) => {
                start = Some(at);
                class = own;
            }
            (true, Some(_)) => class |= own,
            (false, Some(first)) => return Some((first, at, class)),
            (false, None) => {}
        }
        at += length;
    }
    start.map(|first| (first, at, class))
}

/// The text with `MIXED` in place of each token that has a digit.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut at, mut written) = (0, 0);
    while let Some((start, end, class)) = next_word(text, at) {
        if class & DIGIT != 0 {
            out.push_str(&text[written..start]);
            out.push(MIXED as char);
            written = end;
        }
        at = end;
    }
    out.push_str(&text[written..]);
    out
}

/// The tokens of a text, in sequence, as they are written.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (start, end, _) = next_word(text, at)?;
        at = end;
        Some(&text[start..end])
    })
}

/// What the filter holds of a token that is in lower case.
#[must_use]
pub fn hash_token(token: &str) -> u64 {
    xxh3_64(token.as_bytes())
}

/// The same of a token as it is written.
#[must_use]
pub fn hash_any_case(token: &str) -> u64 {
    let bytes = token.as_bytes();
    if !bytes.iter().any(|b| CLASS[*b as usize] & UPPER != 0 || *b >= 128) {
        return xxh3_64(bytes);
    }
    hash_token(&lower(token))
}

/// Whether a token has an ASCII digit, and so is a variable of a template.
#[must_use]
pub fn has_digit(token: &str) -> bool {
    token.bytes().any(|b| b.is_ascii_digit())
}

/// Cuts a body into its template, which has a hole for each token with a digit, and these
/// variables, as places in the body. False when the body must be kept whole: its lower case would
/// cut it into other tokens than it has itself.
pub fn split(body: &str, template: &mut Vec<u8>, variables: &mut Vec<(usize, usize)>) -> bool {
    template.clear();
    variables.clear();
    let bytes = body.as_bytes();
    if memchr::memchr2(NUMBER, MIXED, bytes).is_some() {
        return false;
    }
    // İ becomes two characters, and what Σ becomes depends on what is around it.
    if !bytes.is_ascii() && body.contains(['\u{130}', '\u{3a3}']) {
        return false;
    }
    let (mut copied, mut at) = (0, 0);
    while let Some((start, end, class)) = next_word(body, at) {
        if class & DIGIT != 0 {
            template.extend_from_slice(&bytes[copied..start]);
            template.push(if class & LETTER == 0 { NUMBER } else { MIXED });
            variables.push((start, end));
            copied = end;
        }
        at = end;
    }
    template.extend_from_slice(&bytes[copied..]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_runs_of_word_characters() {
        let found: Vec<_> = tokens("GET /a_b/7?x=é9 [ok]").collect();
        assert_eq!(found, ["GET", "a_b", "7", "x", "é9", "ok"]);
        assert_eq!(hash_any_case("GeT"), hash_token("get"));
        assert_eq!(hash_any_case("ÉT"), hash_token("ét"));
    }

    proptest! {
        #[test]
        fn a_body_is_its_template_and_variables(body in "\\PC*") {
            let (mut template, mut variables) = (Vec::new(), Vec::new());
            if !split(&body, &mut template, &mut variables) {
                return Ok(());
            }
            let mut rebuilt = Vec::new();
            let mut next = variables.iter();
            for byte in template {
                if byte == NUMBER || byte == MIXED {
                    let (start, end) = next.next().copied().unwrap_or((0, 0));
                    prop_assert!(has_digit(&body[start..end]));
                    rebuilt.extend_from_slice(&body.as_bytes()[start..end]);
                } else {
                    rebuilt.push(byte);
                }
            }
            prop_assert_eq!(rebuilt, body.as_bytes());
            prop_assert!(next.next().is_none());
        }
    }
}
