//! The labels of a stream as a push spells them: `{app="api", env="prod"}`.

use super::pairs::Pairs;
use super::push::Refusal;
use std::borrow::Cow;

const MAX_SHOWN_CHARS: usize = 120;

fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn wrong(&self, at: usize, expected: &str) -> Refusal {
        let shown: String = self.text.chars().take(MAX_SHOWN_CHARS).collect();
        let position = self.text[..at].chars().count() + 1;
        Refusal::quoting(
            "invalid labels ",
            &shown,
            format!(": expected {expected} at position {position}"),
        )
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Blanks of ASCII, as between the parts of a label.
    fn skip_blanks(&mut self) {
        let blank = |c: char| c.is_ascii() && is_space(c);
        self.at = self.text.len() - self.rest().trim_start_matches(blank).len();
    }

    /// Blanks of any kind, as around values.
    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_space).len();
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += usize::from(found);
        found
    }

    /// A name and the `=` behind it.
    fn name(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let rest = self.rest();
        let end = rest
            .bytes()
            .position(|b| !(b.is_ascii_alphanumeric() || b == b'_'))
            .unwrap_or(rest.len());
        let name = &rest[..end];
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        self.at += end;
        self.skip_blanks();
        if !self.eat('=') {
            return None;
        }
        self.skip_blanks();
        Some(name)
    }

    fn value(&mut self) -> Result<Cow<'a, str>, Refusal> {
        let start = self.at;
        if self.eat('`') {
            if let Some(end) = self.rest().find('`') {
                let raw = &self.rest()[..end];
                self.at += end + 1;
                return Ok(raw.into());
            }
        } else if self.eat('"')
            && let Some(end) = quote_end(self.rest().as_bytes())
        {
            let inner = &self.rest()[..end];
            self.at += end + 1;
            return unquote(inner).map_err(|expected| self.wrong(start, &expected));
        }
        Err(self.wrong(start, "a quoted value"))
    }
}

/// Where the quote that is not escaped stands.
fn quote_end(inner: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match inner.get(at)? {
            b'"' => return Some(at),
            b'\n' => return None,
            b'\\' if inner.get(at + 1) == Some(&b'\n') => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Reads the set of labels that only `=` can stand in.
///
/// # Errors
/// The text is none.
pub fn parse_labels(text: &str) -> Result<Pairs<'_>, Refusal> {
    let mut input = Parser { text, at: 0 };
    let mut labels = Pairs::default();
    input.skip_spaces();
    if !input.eat('{') {
        return Err(input.wrong(input.at, "\"{\""));
    }
    if input.rest().trim_matches(is_space) == "}" {
        return Ok(labels);
    }
    loop {
        let start = input.at;
        let Some(name) = input.name() else {
            return Err(input.wrong(start, "a label's name and ="));
        };
        let value_at = input.at;
        let value = input.value();
        if labels.contains(name) && value_is_quoted(&value, &input, value_at) {
            return Err(input.wrong(start, &format!("{name} only once, not again")));
        }
        labels.insert(name.into(), Some(value?));
        let end = input.at;
        input.skip_spaces();
        let more = input.eat(',');
        if more {
            let next = input.at;
            input.skip_spaces();
            if !input.eat('}') {
                input.at = next;
                continue;
            }
        } else if !input.eat('}') {
            return Err(input.wrong(end, "\",\" or \"}\""));
        }
        // After `,}` a further label is refused by what follows: only blanks may.
        if !input.rest().trim_matches(is_space).is_empty() {
            return Err(input.wrong(input.at, "the end"));
        }
        return Ok(labels);
    }
}

/// A name that comes again is told before an escape that is wrong, but after a missing quote.
fn value_is_quoted(
    value: &Result<Cow<'_, str>, Refusal>,
    input: &Parser<'_>,
    value_at: usize,
) -> bool {
    value.is_ok() || input.at > value_at + 1
}

/// Go's escapes; octal and hexadecimal ones stand for bytes of UTF-8.
fn unquote(inner: &str) -> Result<Cow<'_, str>, String> {
    if !inner.contains('\\') {
        return Ok(inner.into());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let digits = |start: usize, count: usize, radix: u32| {
            let digits = escape.get(start..start + count)?;
            let all = digits.chars().all(|c| c.is_digit(radix));
            all.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
        };
        let (number, length) = if let Some(octal) = digits(0, 3, 8) {
            let byte = u8::try_from(octal).map_err(|_| "an octal escape of a byte")?;
            out.push(byte);
            rest = &escape[3..];
            continue;
        } else {
            match escape.as_bytes().first() {
                Some(b'x') => (digits(1, 2, 16), 3),
                Some(b'u') => (digits(1, 4, 16), 5),
                Some(b'U') => (digits(1, 8, 16), 9),
                _ => (None, 0),
            }
        };
        if let Some(number) = number {
            if length == 3 {
                out.push(number as u8);
            } else {
                let c = char::from_u32(number).ok_or("an escape of a character")?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            rest = &escape[length..];
            continue;
        }
        let Some(single) = escape.chars().next() else {
            break;
        };
        out.push(match single {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' | '\'' | '"' => single as u8,
            _ => return Err(format!("an escape that there is, not \\{single}")),
        });
        rest = &escape[single.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
}
