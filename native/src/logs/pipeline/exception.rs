//! The type and message of the exception whose stack trace a text has.

use memchr::{memchr, memmem};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exception<'t> {
    /// "" where the trace does not name one.
    pub kind: &'t [u8],
    pub message: &'t [u8],
    /// The trace, from the exception's name on.
    pub trace: &'t [u8],
}

/// Lines with where they begin.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    text.split(|b| *b == b'\n').map(move |line| {
        let start = at;
        at += line.len() + 1;
        (start, line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// The exception of a text of several lines; `None` when it has no trace.
#[must_use]
pub fn read_exception(text: &[u8]) -> Option<Exception<'_>> {
    memchr(b'\n', text)?;
    python(text)
        .or_else(|| rust(text))
        .or_else(|| go(text))
        .or_else(|| php(text))
        .or_else(|| ruby(text))
        .or_else(|| frames(text))
}

/// `pkg.Type: message`, where the message may be missing.
fn named(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|b| *b == b':' || b.is_ascii_whitespace());
    let (kind, rest) = line.split_at(end.unwrap_or(line.len()));
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"._$`".contains(b) || *b >= 0x80;
    let is_kind = kind.first().is_some_and(|b| !b.is_ascii_digit()) && kind.iter().all(inside);
    if !is_kind || rest.first().is_some_and(|b| *b != b':') {
        return None;
    }
    Some((kind, rest.strip_prefix(b":").unwrap_or_default().trim_ascii()))
}

fn python(text: &[u8]) -> Option<Exception<'_>> {
    const START: &[u8] = b"Traceback (most recent call last):";
    let first = memmem::find(text, START)?;
    let last = memmem::rfind(text, START)?;
    let of_line = |(_, line): (usize, &'_ [u8])| -> bool {
        !line.is_empty() && !line[0].is_ascii_whitespace()
    };
    let (_, line) = lines(&text[last..]).skip(1).find(|line| of_line(*line))?;
    let (kind, message) = named(line)?;
    Some(Exception { kind, message, trace: &text[first..] })
}

fn go(text: &[u8]) -> Option<Exception<'_>> {
    memmem::find(text, b"goroutine ")?;
    lines(text).find_map(|(at, line)| {
        let (kind, message) = [&b"panic"[..], b"fatal error"]
            .into_iter()
            .find_map(|kind| Some((kind, line.strip_prefix(kind)?.strip_prefix(b": ")?)))?;
        let message = message.strip_suffix(b" [recovered]").unwrap_or(message);
        Some(Exception { kind, message, trace: &text[at..] })
    })
}

fn rust(text: &[u8]) -> Option<Exception<'_>> {
    const MARK: &[u8] = b" panicked at ";
    let mark = memmem::find(text, MARK)?;
    let at = text[..mark].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if !text[at..].starts_with(b"thread '") {
        return None;
    }
    let place = &text[mark + MARK.len()..];
    // Before Rust 1.73 the message stood in quotes before the place.
    let message = match place.strip_prefix(b"'") {
        Some(quoted) => &quoted[..memmem::find(quoted, b"', ").unwrap_or(0)],
        None => lines(place).nth(1)?.1,
    };
    Some(Exception { kind: b"panic", message, trace: &text[at..] })
}

fn php(text: &[u8]) -> Option<Exception<'_>> {
    const MARK: &[u8] = b"Uncaught ";
    memmem::find(text, b"\nStack trace:")?;
    let at = memmem::find(text, MARK)? + MARK.len();
    let line = lines(&text[at..]).next()?.1;
    let (kind, message) = named(line)?;
    let message = &message[..memmem::rfind(message, b" in /").unwrap_or(message.len())];
    Some(Exception { kind, message, trace: &text[at..] })
}

/// `app.rb:10:in 'work': message (Type)`, then `from` lines.
fn ruby(text: &[u8]) -> Option<Exception<'_>> {
    let from = memmem::find(text, b"\n\tfrom ")?;
    let at = text[..from].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let line = &text[at..from];
    let (start, rest) = (memmem::find(line, b": ")?, line.strip_suffix(b")")?);
    let open = rest.iter().rposition(|b| *b == b'(')?;
    let message = rest.get(start + 2..open)?.trim_ascii();
    Some(Exception { kind: &rest[open + 1..], message, trace: &text[at..] })
}

/// Java, .NET, Node: `Type: message`, then `at` lines.
fn frames(text: &[u8]) -> Option<Exception<'_>> {
    let mut head: Option<Exception<'_>> = None;
    let mut before = (0, &b""[..]);
    for (at, line) in lines(text) {
        let inner = line.trim_ascii_start();
        if inner.len() < line.len() && inner.starts_with(b"at ") {
            if at == 0 {
                return None;
            }
            let unnamed = Exception { message: before.1, trace: &text[before.0..], kind: b"" };
            return Some(head.unwrap_or(unnamed));
        }
        if !line.first().is_some_and(u8::is_ascii_whitespace)
            && let Some((place, kind, message)) = thrown(line)
        {
            head = Some(Exception { kind, message, trace: &text[at + place..] });
        }
        before = (at, line);
    }
    None
}

/// Where in a line an exception is named, its type and its message.
fn thrown(line: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let mut at = 0;
    loop {
        if let Some((kind, message)) = named(&line[at..])
            && is_exception_name(kind)
        {
            return Some((at, kind, message));
        }
        at += memchr(b' ', &line[at..])? + 1;
    }
}

fn is_exception_name(kind: &[u8]) -> bool {
    let last = kind.rsplit(|b| *b == b'.').next().unwrap_or_default();
    [&b"Exception"[..], b"Error", b"Throwable", b"Failure", b"Fault"]
        .iter()
        .any(|end| last.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn traces_name_what_was_thrown() {
        let cases = [
            (
                "java.io.IOException: no: disk\n\tat a.B.c(B.java:1)",
                "java.io.IOException",
                "no: disk",
            ),
            (
                "12:00 ERROR x - failed\njava.lang.NullPointerException\n\tat a.B.c(B.java:1)",
                "java.lang.NullPointerException",
                "",
            ),
            (
                "Exception in thread \"main\" a.FooError: x\n\tat a.B\nCaused by: b.Error: y\n\tat c",
                "a.FooError",
                "x",
            ),
            (
                "TypeError: x is not a function\n    at f (/a.js:1:2)",
                "TypeError",
                "x is not a function",
            ),
            (
                "Unhandled exception. System.InvalidOperationException: no\n   at P.Main()",
                "System.InvalidOperationException",
                "no",
            ),
            (
                "it failed\nTraceback (most recent call last):\n  File \"a\", line 1\nKeyError: 'x'\n\nDuring \
                 handling of the above exception, another exception occurred:\n\nTraceback (most recent call \
                 last):\n  File \"b\"\napp.Bad: worse",
                "app.Bad",
                "worse",
            ),
            ("panic: boom [recovered]\n\ngoroutine 1 [running]:\nmain.main()", "panic", "boom"),
            ("thread 'main' panicked at src/main.rs:2:5:\nboom\nnote: run", "panic", "boom"),
            ("thread 'main' panicked at 'old', src/main.rs:2:5\nnote: run", "panic", "old"),
            (
                "PHP Fatal error:  Uncaught Exception: no in /a.php:3\nStack trace:\n#0 {main}",
                "Exception",
                "no",
            ),
            ("a.rb:1:in 'f': no (ArgumentError)\n\tfrom a.rb:2:in 'g'", "ArgumentError", "no"),
        ];
        for (text, kind, message) in cases {
            let found = read_exception(text.as_bytes()).unwrap_or_default();
            let shown = [found.kind, found.message].map(String::from_utf8_lossy);
            assert_eq!(shown, [kind, message], "{text}");
        }
        assert_eq!(read_exception(b"two\nlines"), None);
        assert_eq!(read_exception(b"java.io.IOException: no"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_trace_or_not(text in "[ \t\n:a-zA'()]{0,40}(\n\tat |\n\tfrom |' panicked at |Traceback \\(most recent call last\\):\n|goroutine |Uncaught |\nStack trace:)[ \t\n:a-zA'()]{0,40}") {
            let _ = read_exception(text.as_bytes());
        }
    }
}
