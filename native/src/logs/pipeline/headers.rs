//! What stands before the message in lines of text: time, level, logger, process, thread.

use super::draft::Val;
use super::findings::Findings;
use super::level::{severity_of, severity_of_letter};
use super::time::{Moment, Stamp, parse_klog, parse_stamp};
use memchr::memchr;
use memchr::memmem;

/// How far a header goes.
const MAX_TOKENS: usize = 10;
/// Of one piece in brackets.
const MAX_BRACKET_BYTES: usize = 96;
/// How far a level is looked for where there is no header.
const MAX_PROSE_BYTES: usize = 160;

/// What a line's header says; nothing at all, mostly, where there is none.
#[must_use]
pub fn read_header(line: &[u8], moment: Moment) -> Findings<'_> {
    let known = klog(line, moment).or_else(|| ruby(line, moment)).or_else(|| redis(line, moment));
    if let Some(found) = known {
        return found;
    }
    let (open, rest) = match line.strip_prefix(b"[") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let mut found = match parse_stamp(rest) {
        Some(stamp) => stamped(&rest[stamp.len..], open, stamp, moment),
        None => first_word(line),
    };
    if found.level.is_none()
        && let Some((number, word)) = in_prose(&line[..line.len().min(MAX_PROSE_BYTES)])
    {
        found.level(number, word);
    }
    found
}

/// Whether a line is of klog's form, by its first bytes.
#[inline]
#[must_use]
pub fn may_be_klog(line: &[u8]) -> bool {
    matches!(line, [b'I' | b'W' | b'E' | b'F', a, b, c, d, b' ', ..]
        if [a, b, c, d].iter().all(|b| b.is_ascii_digit()))
}

/// `I0102 15:04:05.678901       1 file.go:12] message`.
#[must_use]
pub fn klog(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    if !may_be_klog(line) {
        return None;
    }
    let stamp = parse_klog(&line[1..])?;
    let header = &line[1 + stamp.len..];
    let header = &header[..memchr(b']', header)?];
    let mut parts = header.split(|b| *b == b' ').filter(|part| !part.is_empty());
    let (process, place) = (parts.next()?, parts.next()?);
    let mut found = Findings::at(stamp.resolve(moment));
    found.level(severity_of_letter(line[0]), &line[..1]);
    found.number("thread.id", process);
    code_place(place, &mut found);
    Some(found)
}

/// `file.go:12`; false when it is none.
fn code_place<'t>(place: &'t [u8], found: &mut Findings<'t>) -> bool {
    let Some(colon) = memchr::memrchr(b':', place) else {
        return false;
    };
    let (file, line) = (&place[..colon], &place[colon + 1..]);
    let is_line = !line.is_empty() && line.iter().all(u8::is_ascii_digit);
    if !is_line || !file.contains(&b'.') {
        return false;
    }
    found.text("code.file.path", file);
    found.number("code.line.number", line);
    true
}

/// `I, [2026-01-31T12:00:00.123456 #123]  INFO -- program: message`.
fn ruby(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    let [b'D' | b'I' | b'W' | b'E' | b'F' | b'A', b',', b' ', b'[', rest @ ..] = line else {
        return None;
    };
    let stamp = parse_stamp(rest)?;
    let rest = rest[stamp.len..].strip_prefix(b" #")?;
    let close = memchr(b']', rest)?;
    let (process, rest) = (&rest[..close], rest[close + 1..].trim_ascii_start());
    let (word, rest) = rest.split_at(memchr(b' ', rest)?);
    let mut found = Findings::at(stamp.resolve(moment));
    let number = severity_of(word);
    found.level(if number == 0 { 9 } else { number }, word);
    found.number("process.pid", process);
    if let Some(rest) = rest.strip_prefix(b" -- ")
        && let Some(colon) = memchr(b':', rest).filter(|at| *at > 0)
        && is_name(&rest[..colon])
    {
        found.text("logger", &rest[..colon]);
    }
    Some(found)
}

/// `123:M 31 Jan 2026 12:00:00.123 * message`.
fn redis(line: &[u8], moment: Moment) -> Option<Findings<'_>> {
    let colon = memchr(b':', &line[..line.len().min(12)])?;
    let (process, rest) = (&line[..colon], &line[colon + 1..]);
    let [b'M' | b'S' | b'C' | b'X', b' ', rest @ ..] = rest else {
        return None;
    };
    if process.is_empty() || !process.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let stamp = parse_stamp(rest)?;
    let [b' ', mark, b' ', ..] = &rest[stamp.len..] else {
        return None;
    };
    let mut found = Findings::at(stamp.resolve(moment));
    match mark {
        b'.' | b'-' => found.level(5, b"debug"),
        b'*' => found.level(10, b"notice"),
        b'#' => found.level(13, b"warning"),
        _ => return None,
    }
    found.number("process.pid", process);
    Some(found)
}

/// A name of a logger, a module or a program.
fn is_name(text: &[u8]) -> bool {
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"._-:$/<>@#[]{}*".contains(b);
    (1..=128).contains(&text.len())
        && text.iter().any(u8::is_ascii_alphabetic)
        && text.iter().all(inside)
}

/// A name of several parts: one word before a colon may as well begin the message.
fn is_path(name: &[u8]) -> bool {
    name.iter().any(|b| b"._/:".contains(b)) && memmem::find(name, b"//").is_none()
}

fn is_mark(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|b| b"-|:>".contains(b)) || word == "–".as_bytes()
}

/// A level, also before a slash or behind a colon: `INFO/MainProcess`, `core:error`.
fn level_in(word: &[u8]) -> Option<(u8, &[u8])> {
    let word = word.trim_ascii();
    let pieces = [
        Some(word),
        memchr(b'/', word).map(|at| &word[..at]),
        memchr(b':', word).map(|at| &word[at + 1..]),
    ];
    pieces.into_iter().flatten().map(|w| (severity_of(w), w)).find(|(number, _)| *number != 0)
}

/// PostgreSQL's own words.
fn is_postgres(word: &[u8], rest: &[u8]) -> bool {
    matches!(word, b"LOG:" | b"STATEMENT:" | b"DETAIL:" | b"HINT:" | b"CONTEXT:" | b"QUERY:")
        && rest.starts_with(b"  ")
}

struct Tokens<'t> {
    rest: &'t [u8],
}

enum Token<'t> {
    Bracket(&'t [u8]),
    Word(&'t [u8]),
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        self.rest = self.rest.trim_ascii_start();
        if let Some(inner) = self.rest.strip_prefix(b"[")
            && let Some(close) = memchr(b']', &inner[..inner.len().min(MAX_BRACKET_BYTES)])
        {
            self.rest = &inner[close + 1..];
            return Some(Token::Bracket(&inner[..close]));
        }
        let ends = |b: &u8| b.is_ascii_whitespace();
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        if end == 0 {
            return None;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Token::Word(word))
    }
}

/// What follows a time; `open` when that stood in a bracket that may still be open.
fn stamped(after: &[u8], open: bool, stamp: Stamp, moment: Moment) -> Findings<'_> {
    let mut found = Findings::at(stamp.resolve(moment));
    let closed = after.strip_prefix(b"]");
    let is_open = open && closed.is_none();
    let after = closed.unwrap_or(after);
    let after = after.strip_prefix(b":").unwrap_or(after);
    if !open && stamp.is_bsd() && syslog_tag(after, &mut found) {
        return found;
    }
    let mut tokens = Tokens { rest: after };
    let mut logger: Option<&[u8]> = None;
    let mut about = Findings::default();
    for _ in 0..MAX_TOKENS {
        let Some(token) = tokens.next() else { break };
        match token {
            Token::Bracket(text) => match level_in(text).filter(|_| found.level.is_none()) {
                Some((number, word)) => found.level(number, word),
                None => bracket(text, &mut about),
            },
            Token::Word(word) if is_mark(word) => {}
            Token::Word(word) if is_postgres(word, tokens.rest) => {
                found.level(9, word.strip_suffix(b":").unwrap_or(word));
                break;
            }
            Token::Word(word) => {
                let ends_header = is_open && word.ends_with(b"]");
                let bare = word.strip_suffix(b"]").filter(|_| ends_header).unwrap_or(word);
                let bare = bare.trim_ascii_end();
                let named = bare.strip_suffix(b":").or_else(|| bare.strip_suffix(b","));
                let bare = named.unwrap_or(bare);
                if found.level.is_none()
                    && let Some((number, word)) = level_in(bare)
                {
                    found.level(number, word);
                    if bare.len() > word.len() && bare.get(word.len()) == Some(&b':') {
                        break;
                    }
                } else if let Some(process) = process_id(bare) {
                    about.number("process.pid", process);
                } else if found.level.is_none() && bare.contains(&b'@') {
                    // Who is asking: PostgreSQL writes user@database there.
                } else if named.is_some() && code_place(bare, &mut about) {
                    // Go writes where, and no level.
                    break;
                } else if is_name(bare)
                    && (named.is_some_and(is_path) || ends_header || is_marked(tokens.rest))
                {
                    logger = logger.or(Some(bare));
                    if found.level.is_some() {
                        break;
                    }
                } else {
                    break;
                }
                if ends_header {
                    break;
                }
            }
        }
    }
    if found.level.is_some() {
        about.text("logger", logger.unwrap_or_default());
        found.attributes.append(&mut about.attributes);
    } else if about.attributes.iter().any(|(key, _)| **key == *b"code.file.path") {
        found.attributes.append(&mut about.attributes);
    }
    if let Some(client) = nginx_client(tokens.rest).filter(|_| found.level.is_some()) {
        found.text("client.address", client);
    }
    found
}

/// Whether a mark comes next, as after a name.
fn is_marked(rest: &[u8]) -> bool {
    matches!(Tokens { rest }.next(), Some(Token::Word(word)) if is_mark(word))
}

/// `123`, or nginx's `123#456`.
fn process_id(word: &[u8]) -> Option<&[u8]> {
    let id = &word[..memchr(b'#', word).unwrap_or(word.len())];
    (!id.is_empty() && id.len() < 11 && word.iter().all(|b| b.is_ascii_digit() || *b == b'#'))
        .then_some(id)
}

fn bracket<'t>(text: &'t [u8], about: &mut Findings<'t>) {
    let has = |about: &Findings<'_>, name: &str| {
        about.attributes.iter().any(|(key, _)| **key == *name.as_bytes())
    };
    if let Some(ids) = text.strip_prefix(b"pid ") {
        about.number("process.pid", &ids[..memchr(b':', ids).unwrap_or(ids.len())]);
    } else if let Some(client) = text.strip_prefix(b"client ") {
        about.text("client.address", client);
    } else if let Some(id) = process_id(text) {
        about.number("process.pid", id);
    } else if !text.is_empty() && !has(about, "thread.name") {
        about.text("thread.name", text);
    } else if !text.is_empty() {
        // Spring writes the application before the thread.
        let place = about.attributes.iter_mut().find(|(key, _)| **key == *b"thread.name");
        if let Some((_, value)) = place {
            *value = Val::text(text);
        }
    }
}

/// The address in nginx's `, client: 10.0.0.1, server: …`.
fn nginx_client(rest: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b", client: ";
    let at = memmem::find(rest, MARK)? + MARK.len();
    let value = &rest[at..];
    Some(&value[..memchr(b',', value).unwrap_or(value.len())])
}

/// `host program[123]: `, as syslog daemons write it behind the time.
fn syslog_tag<'t>(after: &'t [u8], found: &mut Findings<'t>) -> bool {
    let Some(rest) = after.strip_prefix(b" ") else {
        return false;
    };
    let Some(space) = memchr(b' ', rest).filter(|at| *at > 0) else {
        return false;
    };
    let (host, rest) = (&rest[..space], &rest[space + 1..]);
    let Some(colon) = memchr(b':', &rest[..rest.len().min(80)]) else {
        return false;
    };
    let tag = &rest[..colon];
    let (program, process) = match memchr(b'[', tag) {
        Some(open) if tag.ends_with(b"]") => (&tag[..open], &tag[open + 1..tag.len() - 1]),
        _ => (tag, &b""[..]),
    };
    if !is_name(program) || severity_of(program) != 0 || !is_name(host) && !is_address(host) {
        return false;
    }
    found.text("host.name", host);
    found.service = Some(super::findings::Found {
        value: program.to_vec(),
        field: Some((b"syslog.appname"[..].into(), Val::text(program))),
    });
    if !process.is_empty() {
        found.number("process.pid", process);
    }
    if let Some((number, word)) = level_at_start(rest[colon + 1..].trim_ascii_start()) {
        found.level(number, word);
    }
    true
}

fn is_address(host: &[u8]) -> bool {
    host.iter().all(|b| b.is_ascii_hexdigit() || b".:".contains(b))
}

/// A level at the very start, marked as one, and the logger that Python writes behind it.
fn first_word(line: &[u8]) -> Findings<'_> {
    let mut found = Findings::default();
    let line = line.trim_ascii_start();
    let Some((number, word)) = level_at_start(line) else {
        return found;
    };
    found.level(number, word);
    if let Some(rest) = line[word.len()..].strip_prefix(b":")
        && line.starts_with(word)
        && word.iter().all(u8::is_ascii_uppercase)
        && let Some(colon) = memchr(b':', rest)
        && is_name(&rest[..colon])
    {
        found.text("logger", &rest[..colon]);
    }
    found
}

/// `[ERROR] `, `ERROR: `, `error: `, `ERROR `, `<error>`; in small letters only with a mark.
#[must_use]
pub fn level_at_start(line: &[u8]) -> Option<(u8, &[u8])> {
    let (is_bracket, rest) = match line {
        [b'[' | b'<' | b'(', rest @ ..] => (true, rest.trim_ascii_start()),
        _ => (false, line),
    };
    let end = rest.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let word = &rest[..end];
    let mark = rest[end..].trim_ascii_start().first();
    let number = match word {
        b"fail" => 17,
        b"trce" => 1,
        b"dbug" => 5,
        _ => severity_of(word),
    };
    let is_marked = match mark {
        Some(b']' | b'>' | b')') => is_bracket,
        Some(b':') => !is_bracket && rest.get(end) == Some(&b':'),
        _ => false,
    };
    let is_shouted = !is_bracket
        && word.iter().all(u8::is_ascii_uppercase)
        && matches!(rest.get(end), Some(b' ' | b'\t' | b'|' | b'-'));
    (number != 0 && (is_marked || is_shouted)).then_some((number, word))
}

/// A level within a line: ` WARN `, `[error]`, `level=error`, `"severity":"ERROR"`.
fn in_prose(line: &[u8]) -> Option<(u8, &[u8])> {
    named_level(line).or_else(|| {
        let words = line.split(|b| b.is_ascii_whitespace() || *b == b'|').take(MAX_TOKENS);
        words
            .map(|word| word.strip_suffix(b":").unwrap_or(word))
            .map(|word| match word {
                [b'[' | b'<' | b'(', inner @ .., b']' | b'>' | b')'] => (true, inner),
                _ => (false, word),
            })
            .filter(|(is_bracket, word)| *is_bracket || word.iter().all(u8::is_ascii_uppercase))
            .map(|(_, word)| (severity_of(word), word))
            .find(|(number, word)| *number != 0 && word.len() > 2)
    })
}

fn named_level(line: &[u8]) -> Option<(u8, &[u8])> {
    [&b"level"[..], b"severity", b"lvl"].iter().find_map(|name| {
        let at = memmem::find(line, name)? + name.len();
        let rest = line[at..].strip_prefix(b"\"").unwrap_or(&line[at..]);
        let rest = match rest {
            [b'=' | b':', rest @ ..] => rest.trim_ascii_start(),
            _ => return None,
        };
        let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
        let end = rest.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = &rest[..end];
        Some((severity_of(word), word)).filter(|(number, _)| *number != 0)
    })
}
