//! Masks: what must not be stored is replaced, in the body and in attributes, however deep.

use super::draft::{Draft, Val};
use super::rules::compile;
use crate::logs::value::{Value, hex, list, map};
use crate::wire::protobuf::put_bytes;
use regex::{Captures, Regex};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// What to put in place of a part that is masked.
#[derive(Debug, Clone)]
pub enum Instead {
    Text(String),
    /// A digest of the part with this before it: equal parts stay equal, and are not told.
    Hash(Vec<u8>),
}

type Check = fn(&str) -> bool;

/// What is masked.
#[derive(Debug)]
pub struct Kind {
    regex: Regex,
    /// What a match must pass besides.
    check: Option<Check>,
}

impl Kind {
    /// # Errors
    /// The pattern is none, or too large.
    pub fn of_pattern(pattern: &str) -> Result<Self, regex::Error> {
        Ok(Self { regex: compile(pattern)?, check: None })
    }

    /// One of the kinds that have a name; `None` when there is none of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Result<Self, regex::Error>> {
        let (pattern, check): (&str, Option<Check>) = match name {
            "email" => (
                r"(?-u:\b)[A-Za-z0-9_.%+-]{1,64}@(?:[A-Za-z0-9_-]{1,63}\.){1,8}[A-Za-z]{2,24}(?-u:\b)",
                None,
            ),
            "ip" => (
                concat!(
                    r"(?-u:\b)(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?-u:\b)",
                    r"|(?-u:\b)(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?-u:\b)",
                    r"|(?:(?-u:\b)[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6}(?-u:\b))?",
                ),
                Some(is_ip),
            ),
            "credit_card" => (r"(?-u:\b)[0-9](?:[ -]?[0-9]){12,18}(?-u:\b)", Some(passes_luhn)),
            "bearer" => (r"(?-u:\b)(?i:bearer|basic) +(?P<secret>[A-Za-z0-9_.~+/=-]{8,})", None),
            "jwt" => (r"(?-u:\b)eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*", None),
            _ => return None,
        };
        Some(compile(pattern).map(|regex| Self { regex, check }))
    }

    /// The text with its matches replaced; `None` without any.
    fn replace(&self, text: &str, instead: &Instead) -> Option<String> {
        let is_match = |found: &Captures<'_>| {
            let whole = found.get(0).map_or("", |whole| whole.as_str());
            !whole.is_empty() && self.check.is_none_or(|check| check(whole))
        };
        let mut out = String::new();
        let mut upto = 0;
        for found in self.regex.captures_iter(text).filter(is_match) {
            // Of a pattern with a group of this name only that is the secret.
            let Some(part) = found.name("secret").or_else(|| found.get(0)) else { continue };
            out.push_str(&text[upto..part.start()]);
            match instead {
                Instead::Text(text) => out.push_str(text),
                Instead::Hash(salt) => out.push_str(&digest(salt, part.as_str())),
            }
            upto = part.end();
        }
        (upto > 0).then(|| out + &text[upto..])
    }
}

fn digest(salt: &[u8], text: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(text).finalize();
    hex(&digest[..8])
}

/// Without a digit it is rather the path of a name, `a::b`.
fn is_ip(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.parse::<std::net::IpAddr>().is_ok()
}

/// The check digit of card numbers. Source: ISO/IEC 7812-1.
fn passes_luhn(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, twice) => twice / 10 + twice % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A rule that masks.
#[derive(Debug)]
pub struct Mask {
    pub kinds: Vec<Kind>,
    pub instead: Instead,
    /// Fields to look into; empty for the body and all attributes.
    pub fields: Vec<String>,
}

impl Mask {
    fn wants(&self, field: &[u8]) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|name| name.as_bytes() == field)
    }

    /// Replaces what is to be masked in a record.
    pub fn run(&self, draft: &mut Draft<'_>) {
        if self.wants(b"body")
            && let Some(body) = &draft.body
            && let Some(masked) = self.value(body.view())
        {
            draft.body = Some(masked);
            draft.is_changed = true;
        }
        for place in 0..draft.attributes.len() {
            let attribute = &draft.attributes[place];
            if self.wants(&attribute.key)
                && let Some(masked) = self.value(attribute.value.view())
            {
                draft.replace(place, masked);
            }
        }
    }

    fn text(&self, text: &str) -> Option<String> {
        let mut own: Option<String> = None;
        for kind in &self.kinds {
            let masked = kind.replace(own.as_deref().unwrap_or(text), &self.instead);
            own = masked.or(own);
        }
        own
    }

    /// The value with its texts and numbers masked; `None` when nothing is.
    fn value(&self, value: Value<'_>) -> Option<Val<'static>> {
        match value {
            Value::Text(_) | Value::Int(_) | Value::Double(_) => {
                let masked = self.text(&value.text()?)?;
                Some(Val::Text(Cow::Owned(masked.into_bytes())))
            }
            Value::List(message) => {
                let mut is_masked = false;
                let (mut out, mut any) = (Vec::new(), Vec::new());
                for value in list(message) {
                    any.clear();
                    is_masked |= self.write(value, &mut any);
                    put_bytes(&mut out, 1, &any);
                }
                is_masked.then(|| any_of(5, &out))
            }
            Value::Map(message) => {
                let mut is_masked = false;
                let (mut out, mut pair, mut any) = (Vec::new(), Vec::new(), Vec::new());
                for (key, value) in map(message) {
                    any.clear();
                    pair.clear();
                    is_masked |= self.write(value, &mut any);
                    put_bytes(&mut pair, 1, key);
                    put_bytes(&mut pair, 2, &any);
                    put_bytes(&mut out, 1, &pair);
                }
                is_masked.then(|| any_of(6, &out))
            }
            Value::Null | Value::Bool(_) | Value::Bytes(_) => None,
        }
    }

    /// Writes the value, masked where need be; whether it was.
    fn write(&self, value: Value<'_>, out: &mut Vec<u8>) -> bool {
        match self.value(value) {
            Some(masked) => {
                masked.encode(out);
                true
            }
            None => {
                value.encode(out);
                false
            }
        }
    }
}

fn any_of(field: u32, message: &[u8]) -> Val<'static> {
    let mut any = Vec::new();
    put_bytes(&mut any, field, message);
    Val::Any(Cow::Owned(any))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(kind: &str, text: &str) -> String {
        let kind = Kind::of_name(kind).expect("a kind").expect("a pattern");
        let instead = Instead::Text("*".to_owned());
        kind.replace(text, &instead).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn kinds_find_what_they_are_named_for() {
        let cases = [
            ("email", "to a.b+c@mail.example.org, x@y", "to *, x@y"),
            (
                "ip",
                "10.0.0.1:80 [::1] fe80::1 1.2.3 300.1.1.1 12:00:00 a::b::c",
                "*:80 [*] * 1.2.3 300.1.1.1 12:00:00 a::b::c",
            ),
            ("credit_card", "4111 1111 1111 1111 and 4111111111111112", "* and 4111111111111112"),
            ("bearer", "Authorization: Bearer abc.def-ghi", "Authorization: Bearer *"),
            ("jwt", "t=eyJhbGciOi.eyJzdWIi.sig-x", "t=*"),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(masked(kind, text), expected, "{kind}");
        }
    }

    #[test]
    fn equal_parts_have_equal_digests() {
        let kind = Kind::of_pattern(r"user=(?P<secret>\w+)").expect("a pattern");
        let of = |salt: &str| kind.replace("user=a user=a", &Instead::Hash(salt.into()));
        let once = of("x").expect("masked");
        let parts: Vec<&str> = once.split(' ').collect();
        assert_eq!(parts[0], parts[1]);
        assert_eq!(parts[0].len(), "user=".len() + 16);
        assert_ne!(of("y"), Some(once));
    }
}
