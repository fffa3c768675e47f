//! What of a line is fixed: its words and signs in sequence, with a hole for each variable that can
//! be told by its own shape (numbers, addresses, ids, paths, dates, sizes). Lines of one skeleton
//! are of one pattern; which skeletons are, too, is for `drain` to find.

/// Bytes of a line that are looked at; the rest is one variable.
pub const MAX_LINE_BYTES: usize = 4096;

/// Tokens of a line that are looked at; the rest is one variable.
pub const MAX_TOKENS: usize = 192;

/// A hole in a key and in a display.
pub const HOLE: u8 = 0;

/// Between the tokens of a key and of a display.
pub const BREAK: u8 = 1;

/// In a key after letters, stands for the digits of a name such as `eth0`.
const DIGITS: u8 = 2;

/// Numbers side by side of which there are more are a list of any length.
const MAX_RUN: usize = 8;

const SPACE: u8 = 1;
const DELIMITER: u8 = 2;
const DIGIT: u8 = 4;
const HEX: u8 = 8;
const LETTER: u8 = 16;
/// What paths and addresses have between their parts.
const SIGN: u8 = 32;

const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = match b {
            0..=b' ' | 0x7f => SPACE,
            b'0'..=b'9' => DIGIT | HEX,
            b'a'..=b'f' | b'A'..=b'F' => LETTER | HEX,
            b'g'..=b'z' | b'G'..=b'Z' => LETTER,
            b'=' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'"' | b'\'' | b'<'
            | b'>' | b'|' => DELIMITER,
            b':' | b'/' | b'\\' => SIGN,
            _ => 0,
        };
        byte += 1;
    }
    table
}

fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Hole,
    Literal,
    /// Letters and then digits.
    Numbered,
    /// Two dots or more.
    Dots,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    start: u32,
    end: u32,
}

const DATE_WORDS: [&[u8]; 31] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
    b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun", b"UTC", b"GMT", b"PST", b"PDT", b"EST",
    b"EDT", b"CST", b"CDT", b"MST", b"MDT", b"CET", b"CEST",
];

/// How many of `DATE_WORDS` announce a date; the others, time zones, only follow one.
const ANNOUNCING: usize = 19;

const UNITS: [&[u8]; 37] = [
    b"B",
    b"KB",
    b"MB",
    b"GB",
    b"TB",
    b"PB",
    b"KiB",
    b"MiB",
    b"GiB",
    b"TiB",
    b"kB",
    b"ns",
    b"us",
    b"ms",
    b"s",
    b"sec",
    b"secs",
    b"second",
    b"seconds",
    b"min",
    b"mins",
    b"minute",
    b"minutes",
    b"hour",
    b"hours",
    b"h",
    b"m",
    b"d",
    b"day",
    b"days",
    b"msec",
    b"msecs",
    b"usec",
    b"usecs",
    b"millis",
    b"milliseconds",
    b"microseconds",
];

/// Names that have digits and yet are words.
const NAMES: [&[u8]; 2] = [b"ipv4", b"ipv6"];

const CONSTANTS: [&[u8]; 5] = [b"true", b"false", b"null", b"none", b"nil"];

/// The longest of them.
const LONGEST_UNIT: usize = 12;
const LONGEST_DATE_WORD: usize = 4;

fn is_one_of(word: &[u8], names: &[&[u8]]) -> bool {
    names.contains(&word)
}

fn is_any_case(word: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// Cuts lines into tokens. One is used for many lines, so that its room is.
#[derive(Default)]
pub struct Skeleton {
    tokens: Vec<Token>,
    key: Vec<u8>,
    run: usize,
    run_start: usize,
}

impl Skeleton {
    /// Takes a line; the key is what two lines of a skeleton have in common.
    pub fn read(&mut self, line: &[u8]) -> &[u8] {
        let seen = &line[..line.len().min(MAX_LINE_BYTES)];
        self.cut(seen);
        if seen.len() < line.len() {
            self.hole(seen.len(), seen.len(), seen);
        }
        while self.tokens.last().is_some_and(|t| t.kind == Kind::Space) {
            self.tokens.pop();
        }
        self.write_key(seen);
        &self.key
    }

    fn write_key(&mut self, line: &[u8]) {
        self.key.clear();
        for token in &self.tokens {
            if !self.key.is_empty() {
                self.key.push(BREAK);
            }
            let text = &line[token.start as usize..token.end as usize];
            match token.kind {
                Kind::Space => self.key.push(b' '),
                Kind::Hole => self.key.push(HOLE),
                Kind::Literal => self.key.extend_from_slice(text),
                Kind::Dots => self.key.extend_from_slice(b".."),
                Kind::Numbered => {
                    let letters = text.iter().take_while(|b| !is(**b, DIGIT)).count();
                    self.key.extend_from_slice(&text[..letters]);
                    self.key.push(DIGITS);
                }
            }
        }
    }

    /// The tokens as they are shown, of the line that was read last: as many as the key has.
    #[must_use]
    pub fn display(&self, line: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(line.len().min(MAX_LINE_BYTES) + self.tokens.len());
        for (index, token) in self.tokens.iter().enumerate() {
            if index > 0 {
                out.push(BREAK);
            }
            let text = &line[token.start as usize..token.end as usize];
            match token.kind {
                Kind::Hole => out.push(HOLE),
                Kind::Literal | Kind::Dots => out.extend_from_slice(text),
                Kind::Numbered => {
                    out.extend(text.iter().take_while(|b| !is(**b, DIGIT)));
                    out.push(HOLE);
                }
                Kind::Space => {
                    // Columns of numbers are padded; a hole takes in what varies so.
                    let hole = |at: Option<&Token>| at.is_some_and(|t| t.kind == Kind::Hole);
                    let before = hole(index.checked_sub(1).and_then(|i| self.tokens.get(i)));
                    let beside = before || hole(self.tokens.get(index + 1));
                    let control = text.iter().any(|b| *b < b'\t');
                    out.extend_from_slice(if beside || control { b" " } else { text });
                }
            }
        }
        out
    }

    fn cut(&mut self, line: &[u8]) {
        self.tokens.clear();
        self.run = 0;
        let mut at = 0;
        while at < line.len() {
            if self.tokens.len() >= MAX_TOKENS {
                self.hole(at, line.len(), line);
                return;
            }
            let byte = line[at];
            if is(byte, SPACE) {
                let end = line[at..].iter().position(|b| !is(*b, SPACE));
                let end = end.map_or(line.len(), |n| at + n);
                if !self.tokens.is_empty() {
                    self.push(Kind::Space, at, end);
                }
                at = end;
            } else if is(byte, DELIMITER) {
                self.push(Kind::Literal, at, at + 1);
                at += 1;
            } else if let Some(end) = path_end(line, at) {
                self.hole(at, end, line);
                at = end;
            } else {
                at = self.piece(line, at);
            }
        }
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        self.tokens.push(Token { kind, start: start as u32, end: end as u32 });
    }

    /// Takes what is up to the next sign that ends it; returns where that is.
    fn piece(&mut self, line: &[u8], start: usize) -> usize {
        let mut end = start;
        while let Some(&byte) = line.get(end) {
            let next = line.get(end + 1).copied().unwrap_or(b' ');
            if is(byte, SPACE | DELIMITER) {
                break;
            }
            if byte == b'.' && (next == b'.' || is(next, SPACE)) {
                break;
            }
            if byte == b':' {
                if end == start && next != b':' {
                    break;
                }
                if next == b':' || is(next, SPACE) {
                    if next == b':'
                        && let Some(end) = short_address_end(line, start)
                    {
                        self.hole(start, end, line);
                        return end;
                    }
                    break;
                }
                if next == b'/' {
                    let slashes = line.get(end + 2) == Some(&b'/');
                    if slashes && is_scheme(&line[start..end]) {
                        let end = run_end(line, end);
                        self.hole(start, end, line);
                        return end;
                    }
                    end += 1;
                    break;
                }
            }
            end += 1;
        }
        if end > start {
            self.classify(line, start, end);
            return end;
        }
        if line[start] == b':' {
            let end = if line.get(start + 1) == Some(&b':') { start + 2 } else { start + 1 };
            self.push(Kind::Literal, start, end);
            return end;
        }
        let dots = line[start..].iter().take_while(|b| **b == b'.').count();
        self.push(if dots > 1 { Kind::Dots } else { Kind::Literal }, start, start + dots);
        start + dots
    }

    fn classify(&mut self, line: &[u8], start: usize, end: usize) {
        let piece = &line[start..end];
        let classes = piece.iter().fold(0, |all, b| all | CLASS[*b as usize]);
        if classes & (DIGIT | SIGN) == 0 {
            return self.word(line, start, end);
        }
        let count = |sign: u8| piece[1..].iter().filter(|b| **b == sign).count();
        if classes & DIGIT == 0 {
            if (count(b':') >= 4 && is_address(piece)) || count(b'/') >= 2 || count(b'\\') >= 2 {
                return self.hole(start, end, line);
            }
            return self.word(line, start, end);
        }
        if classes & LETTER != 0 {
            if piece.starts_with(b"localhost:") {
                return self.hole(start, end, line);
            }
            if is_any_case(piece, &NAMES) {
                return self.push(Kind::Literal, start, end);
            }
            let colon = piece.iter().position(|b| *b == b':');
            if let Some(colon) = colon
                && !is_address(piece)
                && count(b'/') < 2
                && colon > 0
                && colon + 1 < piece.len()
                && piece[..colon].iter().all(|b| is(*b, LETTER) || *b == b'_')
            {
                self.push(Kind::Literal, start, start + colon);
                self.push(Kind::Literal, start + colon, start + colon + 1);
                return self.classify(line, start + colon + 1, end);
            }
            let letters = piece.iter().take_while(|b| is(**b, LETTER)).count();
            let numbered = letters >= 2 && piece[letters..].iter().all(|b| is(*b, DIGIT));
            if numbered && !is_long_hex(piece) {
                return self.push(Kind::Numbered, start, end);
            }
        }
        self.hole(start, end, line);
    }

    /// A piece without digits; some words belong to what is beside them.
    fn word(&mut self, line: &[u8], start: usize, end: usize) {
        let word = &line[start..end];
        let after_hole = matches!(
            self.tokens.as_slice(),
            [.., Token { kind: Kind::Hole, .. }, Token { kind: Kind::Space, .. }]
        );
        if after_hole && word.len() <= LONGEST_UNIT && is_one_of(word, &UNITS) {
            self.tokens.pop();
            if let Some(hole) = self.tokens.last_mut() {
                hole.end = end as u32;
            }
            return;
        }
        let may_be_date = word.len() <= LONGEST_DATE_WORD && word[0].is_ascii_uppercase();
        if may_be_date && is_one_of(word, &DATE_WORDS) {
            let rest = line[end..].trim_ascii_start();
            let next = &rest[..rest.len().min(3)];
            let announces = is_one_of(word, &DATE_WORDS[..ANNOUNCING]);
            let dated = next.first().is_some_and(|b| is(*b, DIGIT))
                || is_one_of(next, &DATE_WORDS[..ANNOUNCING]);
            if after_hole || (announces && dated) {
                return self.hole(start, end, line);
            }
        }
        let assigned = matches!(self.tokens.last(), Some(t) if t.kind == Kind::Literal
            && matches!(line[t.start as usize..t.end as usize], [b'=' | b':']));
        if assigned && is_any_case(word, &CONSTANTS) {
            return self.hole(start, end, line);
        }
        self.push(Kind::Literal, start, end);
    }

    /// Adds a hole, or widens the one before where there is nothing fixed between.
    fn hole(&mut self, start: usize, end: usize, line: &[u8]) {
        if let [.., first, between] = self.tokens.as_slice()
            && first.kind == Kind::Hole
            && between.kind == Kind::Literal
            && matches!(&line[between.start as usize..between.end as usize], b"," | b"::" | b"|")
        {
            self.tokens.pop();
        }
        if let Some(last) = self.tokens.last_mut() {
            let literal = last.kind == Kind::Literal;
            if last.kind == Kind::Hole {
                last.end = end as u32;
                return;
            }
            // `<1 sec` is a number, `<1>` one between signs.
            if literal && line[last.start as usize] == b'<' && line.get(end) != Some(&b'>') {
                self.tokens.pop();
                return self.hole(start - 1, end, line);
            }
        }
        let count = self.tokens.len();
        let listed = matches!(
            self.tokens.as_slice(),
            [.., Token { kind: Kind::Hole, .. }, Token { kind: Kind::Space, .. }]
        );
        if listed && self.run > 0 {
            self.run += 1;
        } else {
            self.run = 1;
            self.run_start = count;
        }
        if self.run > MAX_RUN && self.run_start < count {
            self.tokens.truncate(self.run_start + 1);
            self.tokens[self.run_start].end = end as u32;
            return;
        }
        self.push(Kind::Hole, start, end);
    }
}

/// Where the path that begins here ends; `None` when none begins.
fn path_end(line: &[u8], at: usize) -> Option<usize> {
    let follows = |n: usize| {
        let next = line.get(at + n).copied().unwrap_or(b' ');
        !is(next, SPACE) && !b"\"'),;]}>".contains(&next)
    };
    let begins = match &line[at..] {
        [b'/', ..] => follows(1),
        [b'~' | b'.', b'/', ..] => follows(2),
        [b'.', b'.', b'/', ..] => follows(3),
        [drive, b':', b'\\', ..] => drive.is_ascii_alphabetic(),
        [b'\\', b'\\', ..] => true,
        _ => false,
    };
    begins.then(|| run_end(line, at))
}

/// The end of a path or an address that is already in one; no sign of a sentence is its last.
fn run_end(line: &[u8], at: usize) -> usize {
    let ends = |b: &u8| is(*b, SPACE) || b"\"'),;]}>".contains(b);
    let mut end = line[at..].iter().position(ends).map_or(line.len(), |n| at + n);
    while end > at + 1 && (line[end - 1] == b':' || line[end - 1] == b'.') {
        end -= 1;
    }
    end
}

fn is_scheme(word: &[u8]) -> bool {
    let inner = |b: &u8| is(*b, LETTER | DIGIT) || b"+.-".contains(b);
    word.first().is_some_and(|b| is(*b, LETTER)) && word.iter().all(inner)
}

/// A hardware or IPv6 address: groups of at most four hexadecimal digits between colons.
fn is_address(piece: &[u8]) -> bool {
    let mut groups = 0;
    let short = piece.split(|b| *b == b':').all(|group| {
        groups += 1;
        group.len() <= 4 && group.iter().all(|b| is(*b, HEX))
    });
    short && groups > 2
}

/// Where an IPv6 address with `::` in it that begins here ends.
fn short_address_end(line: &[u8], start: usize) -> Option<usize> {
    let signs = |b: &u8| !is(*b, HEX) && *b != b':';
    let end = line[start..].iter().position(signs).map_or(line.len(), |n| start + n);
    let address = &line[start..end];
    let has_digit = address.iter().any(|b| is(*b, DIGIT));
    let ends = line.get(end).is_none_or(|b| !is(*b, LETTER) && *b != b'_');
    (has_digit && ends && is_address(address)).then_some(end)
}

fn is_long_hex(piece: &[u8]) -> bool {
    let digits = piece.strip_prefix(b"0x").or_else(|| piece.strip_prefix(b"0X")).unwrap_or(piece);
    digits.len() >= 8 && digits.iter().all(|b| is(*b, HEX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(line: &str) -> String {
        let mut skeleton = Skeleton::default();
        skeleton.read(line.as_bytes());
        let display = skeleton.display(line.as_bytes());
        let text: Vec<u8> = display.into_iter().filter(|b| *b != BREAK).collect();
        String::from_utf8_lossy(&text).replace('\0', "<_>")
    }

    #[test]
    fn variables_are_told_by_their_shape() {
        for (line, expected) in [
            ("took 12 ms", "took <_>"),
            ("took 3.5s", "took <_>"),
            ("read 5.2 KB of 1 GiB", "read <_> of <_>"),
            ("lifetime <1 sec", "lifetime <_>"),
            ("lifetime 00:02", "lifetime <_>"),
            ("on <5>", "on <<_>>"),
            ("from 10.0.0.1:80, 10.0.0.2:80", "from <_>, <_>"),
            ("from 10.0.0.1,10.0.0.2", "from <_>"),
            ("GET /a/b?c=d HTTP/1.1", "GET <_> <_>"),
            ("open (/etc/x): no such file", "open (<_>): no such file"),
            ("at https://a.b/c?d=e: refused", "at <_>: refused"),
            ("at C:\\Windows\\x.dll.", "at <_>."),
            ("up on eth0", "up on eth<_>"),
            ("over IPv6", "over IPv6"),
            ("to localhost:80 or a.b:80", "to <_> or <_>"),
            ("bssid ac:bc:de:ff:ac:ab ok", "bssid <_> ok"),
            ("since Tue Nov 24 13:51:31 UTC 2026 idle", "since <_> <_> <_> <_> <_> <_> idle"),
            ("May I?", "May I?"),
            ("depth.......0", "depth.......<_>"),
            ("a=true,b=null c", "a=<_>,b=<_> c"),
            ("Errno:1 x", "Errno:<_> x"),
            ("{\"n\":1,\"s\":null}", "{\"n\":<_>,\"s\":<_>}"),
            ("in std::map", "in std::map"),
            ("to fe80::1 or ::1", "to <_> or <_>"),
            ("1 2 3 4 5 6 7 8 9 10 end", "<_> end"),
            ("1 2 3 end", "<_> <_> <_> end"),
            ("", ""),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn padding_beside_a_variable_makes_no_other_skeleton() {
        let mut skeleton = Skeleton::default();
        let one = skeleton.read(b"used    7 of 9").to_vec();
        assert_eq!(skeleton.read(b"used 1234 of 9"), one);
    }

    proptest! {
        #[test]
        fn any_line_has_a_skeleton(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut skeleton = Skeleton::default();
            let key = skeleton.read(&line).to_vec();
            let display = skeleton.display(&line);
            let tokens = |text: &[u8]| text.iter().filter(|b| **b == BREAK).count();
            prop_assert!(tokens(&key) <= MAX_TOKENS);
            prop_assert_eq!(tokens(&key), tokens(&display));
            prop_assert_eq!(skeleton.read(&line), key);
        }
    }
}
