//! JSON objects to names and values, in one pass; lists and maps inside come out encoded.

use super::draft::{Entry, Val};
use crate::wire::protobuf::put_bytes;
use memchr::memchr2;
use std::borrow::Cow;

/// One less than an attribute's value may have, since the object itself is gone then.
const MAX_DEPTH: usize = crate::logs::value::MAX_DEPTH - 1;

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

/// The members of the one object that the text is, in order; `None` when it is anything else.
#[must_use]
pub fn parse_object(text: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    let mut entries = Vec::with_capacity(8);
    reader.expect(b'{')?;
    reader.members(0, &mut |key, value| entries.push((key, value)))?;
    reader.skip_space();
    (reader.at == text.len()).then_some(entries)
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// What follows `{`, up to and with `}`.
    fn members(
        &mut self,
        depth: usize,
        each: &mut impl FnMut(Cow<'t, [u8]>, Val<'t>),
    ) -> Option<()> {
        self.skip_space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            let value = self.value(depth)?;
            each(key, value);
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Val<'t>> {
        self.skip_space();
        match self.peek()? {
            b'"' => self.string().map(Val::Text),
            b'{' => self.map(depth + 1),
            b'[' => self.list(depth + 1),
            b't' => self.word(b"true", Val::Bool(true)),
            b'f' => self.word(b"false", Val::Bool(false)),
            b'n' => self.word(b"null", Val::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8], value: Val<'t>) -> Option<Val<'t>> {
        let found = self.text[self.at..].starts_with(word);
        found.then(|| {
            self.at += word.len();
            value
        })
    }

    fn map(&mut self, depth: usize) -> Option<Val<'t>> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.at += 1;
        let (mut list, mut pair, mut any) = (Vec::new(), Vec::new(), Vec::new());
        self.members(depth, &mut |key, value| {
            pair.clear();
            any.clear();
            value.encode(&mut any);
            put_bytes(&mut pair, 1, &key);
            put_bytes(&mut pair, 2, &any);
            put_bytes(&mut list, 1, &pair);
        })?;
        Some(encoded(6, &list))
    }

    fn list(&mut self, depth: usize) -> Option<Val<'t>> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.at += 1;
        let (mut list, mut any) = (Vec::new(), Vec::new());
        self.skip_space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(encoded(5, &list));
        }
        loop {
            any.clear();
            self.value(depth)?.encode(&mut any);
            put_bytes(&mut list, 1, &any);
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(encoded(5, &list));
                }
                _ => return None,
            }
        }
    }

    /// Whole numbers of 64 bits are integers, longer ones stay the text that they are.
    fn number(&mut self) -> Option<Val<'t>> {
        let start = self.at;
        let mut is_whole = true;
        while let Some(byte) = self.peek() {
            match byte {
                b'0'..=b'9' | b'-' => {}
                b'+' | b'.' | b'e' | b'E' => is_whole = false,
                _ => break,
            }
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        let text = std::str::from_utf8(digits).ok()?;
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let starts_well = match unsigned.as_bytes() {
            [b'0', b'0'..=b'9', ..] => false,
            [b'0'..=b'9', ..] => true,
            _ => false,
        };
        if !starts_well {
            return None;
        }
        if is_whole {
            if unsigned.contains('-') {
                return None;
            }
            return Some(text.parse().map_or_else(|_| Val::text(digits), Val::Int));
        }
        let number: f64 = text.parse().ok()?;
        Some(if number.is_finite() { Val::Double(number) } else { Val::text(digits) })
    }

    fn string(&mut self) -> Option<Cow<'t, [u8]>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut own: Option<Vec<u8>> = None;
        loop {
            let from = self.at;
            self.at += memchr2(b'"', b'\\', &self.text[from..])?;
            let piece = &self.text[from..self.at];
            let is_end = self.text[self.at] == b'"';
            self.at += 1;
            if is_end {
                return Some(match own {
                    None => Cow::Borrowed(&self.text[start..self.at - 1]),
                    Some(mut own) => {
                        own.extend_from_slice(piece);
                        Cow::Owned(own)
                    }
                });
            }
            let own = own.get_or_insert_default();
            own.extend_from_slice(piece);
            self.escape(own)?;
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let byte = self.peek()?;
        self.at += 1;
        out.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let c = self.unicode()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        });
        Some(())
    }

    /// The character of `\u`; half a surrogate pair is the replacement character.
    fn unicode(&mut self) -> Option<char> {
        let high = self.hex4()?;
        if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                return char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
            }
            self.at = back;
        }
        Some(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |n, d| Some(n << 4 | (*d as char).to_digit(16)?))
    }
}

fn encoded(field: u32, message: &[u8]) -> Val<'static> {
    let mut any = Vec::with_capacity(message.len() + 4);
    put_bytes(&mut any, field, message);
    Val::Any(Cow::Owned(any))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Option<String> {
        let entries = parse_object(text.as_bytes())?;
        let parts = entries.iter().map(|(key, value)| {
            format!("{}={}", String::from_utf8_lossy(key), value.view().text_or_json())
        });
        Some(parts.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn objects_keep_types_and_order() {
        let text = r#" {"b": 1, "a":-2.5e3,"t":true,"n":null,"s":"x\n\u00e9\ud83d\ude00","m":{"l":[1,"2",{}]}} "#;
        let expected = "b=1 a=-2500.0 t=true n= s=x\né😀 m={\"l\":[1,\"2\",{}]}";
        assert_eq!(shown(text).as_deref(), Some(expected));
        assert_eq!(shown("{}").as_deref(), Some(""));
    }

    #[test]
    fn numbers_that_do_not_fit_stay_texts() {
        let text = r#"{"a":18446744073709551616,"b":1e999,"c":9223372036854775807}"#;
        assert_eq!(
            shown(text).as_deref(),
            Some("a=18446744073709551616 b=1e999 c=9223372036854775807")
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        assert_eq!(
            shown(r#"{"a":"\ud83dx\ud83d\u0041"}"#).as_deref(),
            Some("a=\u{fffd}x\u{fffd}A")
        );
    }

    #[test]
    fn what_is_no_object_is_left_alone() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
        for text in [
            "",
            "{",
            "{}x",
            "[1]",
            "1",
            r#"{"a":01}"#,
            r#"{"a":}"#,
            r#"{"a" 1}"#,
            r#"{"a":"x}"#,
            r#"{"a":1,}"#,
            r#"{"a":-}"#,
            r#"{"a":1-2}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":tru}"#,
            &deep,
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_object_or_not(bytes: Vec<u8>) {
            let _ = parse_object(&bytes);
            let _ = parse_object(&[b"{\"a\":", &bytes[..]].concat());
        }
    }
}
