//! Which lines belong to the one before them: stack traces of Java, .NET, Python, Go, Node, Ruby,
//! PHP and Rust. A line is looked at once, and only its first bytes mostly.

use super::headers::level_at_start;
use super::time::parse_stamp;
use memchr::{memchr, memmem};

/// Limits of one record that is joined of lines.
pub const MAX_RECORD_BYTES: usize = 64 << 10;
pub const MAX_RECORD_LINES: usize = 1000;

/// Of a line's start, what tells its kind.
const MAX_LOOK_BYTES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Outside of a trace.
    #[default]
    Prose,
    /// Frames of whatever language has them after the exception.
    Frames,
    /// Python's frames, before the exception.
    Python,
    /// After Python's exception.
    PythonEnd,
    Go,
    /// Before the message.
    RustPanic,
    Rust,
    Php,
}

/// Goes from line to line.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    state: State,
}

impl Joining {
    /// Whether this line continues the one before.
    #[inline]
    pub fn continues(&mut self, line: &[u8], before: &[u8]) -> bool {
        let line = &line[..line.len().min(MAX_LOOK_BYTES)];
        let (state, continues) = step(self.state, line, before);
        self.state = state;
        continues
    }
}

/// The state after the line, and whether it continues the one before.
fn step(state: State, line: &[u8], before: &[u8]) -> (State, bool) {
    use State::{Frames, Go, Php, Prose, Python, PythonEnd, Rust, RustPanic};
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let first = line.first().copied().unwrap_or_default();
    let inside = match state {
        // A log's line may tell that there was an exception, and then comes its trace.
        Prose if is_trace_start(line) && is_header(before) => Some(start(line)),
        Python => {
            let is_frame = matches!(first, 0 | b' ' | b'\t') || is_traceback(line);
            // The exception itself is the first line that is not indented.
            let is_end = !is_frame && is_python_exception(line);
            (is_frame || is_end).then_some(if is_end { PythonEnd } else { Python })
        }
        PythonEnd if is_chain(line) || is_traceback(line) => Some(Python),
        PythonEnd if line.is_empty() => Some(PythonEnd),
        Go if is_go(line) => Some(Go),
        RustPanic if !line.is_empty() => Some(Rust),
        Rust if is_rust(line) => Some(Rust),
        Php if is_php(line) => Some(Php),
        // Fields of an object that Node prints behind the frames.
        Frames if line.starts_with(b"  ") || line == b"}" || line.starts_with(b"\t") => {
            Some(Frames)
        }
        _ => None,
    };
    if let Some(next) = inside {
        return (next, true);
    }
    if is_frame(line, first) {
        return (Frames, true);
    }
    (start(line), false)
}

/// What a line begins that continues nothing.
fn start(line: &[u8]) -> State {
    match line.first() {
        Some(b'T') if is_traceback(line) => State::Python,
        Some(b'p') if line.starts_with(b"panic: ") => State::Go,
        Some(b'f') if line.starts_with(b"fatal error: ") => State::Go,
        Some(b'g') if is_goroutine(line) => State::Go,
        Some(b't') if is_rust_panic(line) => State::RustPanic,
        Some(b'P') if line.starts_with(b"PHP ") => State::Php,
        Some(b'S') if line == b"Stack trace:" => State::Php,
        Some(b'F') if line.starts_with(b"Fatal error: ") => State::Php,
        _ => State::Prose,
    }
}

/// A line of a log that begins with a time or a level.
fn is_header(line: &[u8]) -> bool {
    let line = &line[..line.len().min(MAX_LOOK_BYTES)];
    match line.first() {
        Some(b'0'..=b'9') => parse_stamp(line).is_some(),
        Some(b'[') => parse_stamp(&line[1..]).is_some() || level_at_start(line).is_some(),
        Some(b'A'..=b'Z') => level_at_start(line).is_some() || parse_stamp(line).is_some(),
        _ => false,
    }
}

#[inline]
fn is_trace_start(line: &[u8]) -> bool {
    match line.first() {
        Some(b'T') if is_traceback(line) => true,
        Some(b'S') if line == b"Stack trace:" => true,
        Some(b'a'..=b'z' | b'A'..=b'Z') => is_exception(line),
        _ => false,
    }
}

fn is_traceback(line: &[u8]) -> bool {
    line.starts_with(b"Traceback (most recent call last):")
        || line.starts_with(b"  + Exception Group Traceback")
}

fn is_chain(line: &[u8]) -> bool {
    line.starts_with(b"During handling of the above exception")
        || line.starts_with(b"The above exception was the direct cause")
}

/// `ValueError: text`, `pkg.Error`, `KeyboardInterrupt`.
fn is_python_exception(line: &[u8]) -> bool {
    let name = &line[..memchr(b':', line).unwrap_or(line.len())];
    let inside = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'.' || *b >= 0x80;
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(inside)
}

/// `java.lang.IllegalStateException: text`, at the start of a line.
fn is_exception(line: &[u8]) -> bool {
    let end = line.iter().position(|b| *b == b':' || *b == b' ').unwrap_or(line.len());
    let name = &line[..end];
    let is_end = matches!(line.get(end), None | Some(b':'));
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"._$".contains(b);
    let last = name.rsplit(|b| *b == b'.').next().unwrap_or_default();
    let is_named = [&b"Exception"[..], b"Error", b"Throwable"].iter().any(|n| last.ends_with(n));
    is_end && is_named && last.len() < name.len() && name.iter().all(inside)
}

/// A frame, a cause, or an end of frames, that needs no look at what was before.
fn is_frame(line: &[u8], first: u8) -> bool {
    match first {
        b' ' | b'\t' => {
            let text = line.trim_ascii_start();
            match text.first() {
                Some(b'a') => text.starts_with(b"at "),
                Some(b'.') => is_more(text),
                Some(b'S') => text.starts_with(b"Suppressed: "),
                Some(b'C') => text.starts_with(b"Caused by: "),
                Some(b'f') => text.starts_with(b"from ") && memmem::find(text, b":in ").is_some(),
                Some(b'-') => text.starts_with(b"---> ") || text.starts_with(b"--- End of "),
                _ => false,
            }
        }
        b'C' => line.starts_with(b"Caused by: "),
        b'.' => is_more(line),
        _ => false,
    }
}

/// `... 12 more`.
fn is_more(text: &[u8]) -> bool {
    text.strip_prefix(b"... ").is_some_and(|rest| {
        rest.first().is_some_and(u8::is_ascii_digit)
            && (memmem::find(rest, b" more").is_some() || memmem::find(rest, b" common ").is_some())
    })
}

fn is_goroutine(line: &[u8]) -> bool {
    line.starts_with(b"goroutine ") && line.ends_with(b"]:")
}

fn is_go(line: &[u8]) -> bool {
    match line.first() {
        None | Some(b'\t') => true,
        Some(b'g') if is_goroutine(line) => true,
        Some(b'[') => line.starts_with(b"[signal "),
        Some(b'c') if line.starts_with(b"created by ") => true,
        Some(b'e') if line.starts_with(b"exit status ") => true,
        Some(b'p') if line.starts_with(b"panic: ") || line.starts_with(b"panic(") => true,
        Some(b'.') => line.starts_with(b"...additional frames"),
        // `main.(*Server).run(0xc000, …)`
        Some(_) => {
            let name = &line[..memchr(b' ', line).unwrap_or(line.len())];
            (line.ends_with(b")") || line.ends_with(b"...)"))
                && name.contains(&b'(')
                && name.contains(&b'.')
        }
    }
}

fn is_rust_panic(line: &[u8]) -> bool {
    line.starts_with(b"thread '") && memmem::find(line, b"' panicked at ").is_some()
        || line.starts_with(b"thread '") && memmem::find(line, b") panicked at ").is_some()
}

/// What comes after the message.
fn is_rust(line: &[u8]) -> bool {
    line.starts_with(b"note: ") || line == b"stack backtrace:" || line.starts_with(b"  ")
}

fn is_php(line: &[u8]) -> bool {
    match line.first() {
        Some(b'#') => line.get(1).is_some_and(u8::is_ascii_digit),
        Some(b'S') => line == b"Stack trace:",
        Some(b' ') => line.starts_with(b"  thrown in "),
        Some(b'P') => line.starts_with(b"PHP Stack trace:") || line.starts_with(b"PHP   "),
        _ => false,
    }
}
