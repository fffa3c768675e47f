//! Lines to records, for what reads lines one after the other.

use super::stack::{Joining, MAX_RECORD_BYTES, MAX_RECORD_LINES};

/// Joins the lines of stack traces.
#[derive(Debug)]
pub struct Joiner {
    max_bytes: usize,
    max_lines: usize,
    joining: Joining,
    text: Vec<u8>,
    head_bytes: usize,
    lines: usize,
}

impl Default for Joiner {
    fn default() -> Self {
        Self::new(MAX_RECORD_BYTES, MAX_RECORD_LINES)
    }
}

impl Joiner {
    /// A record takes no more bytes, unless a line of its own does, and no more lines.
    #[must_use]
    pub fn new(max_bytes: usize, max_lines: usize) -> Self {
        let joining = Joining::default();
        Self { max_bytes, max_lines, joining, text: Vec::new(), head_bytes: 0, lines: 0 }
    }

    /// Takes the next line, without its end. Returns the record before it, and of how many lines
    /// it is, when this line is none of its.
    pub fn feed(&mut self, line: &[u8]) -> Option<(Vec<u8>, usize)> {
        let continues = self.joining.continues(line, &self.text[..self.head_bytes]);
        let has_room = self.text.len() + line.len() < self.max_bytes && self.lines < self.max_lines;
        if continues && has_room && self.lines > 0 {
            self.text.push(b'\n');
            self.text.extend_from_slice(line);
            self.lines += 1;
            return None;
        }
        let record = self.flush();
        self.text.extend_from_slice(line);
        self.head_bytes = line.len();
        self.lines = 1;
        record
    }

    /// The record that is waiting for more lines.
    pub fn flush(&mut self) -> Option<(Vec<u8>, usize)> {
        let lines = std::mem::take(&mut self.lines);
        let text = std::mem::take(&mut self.text);
        self.head_bytes = 0;
        (lines > 0).then_some((text, lines))
    }

    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.text.len()
    }

    #[must_use]
    pub fn pending_lines(&self) -> usize {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first words of the records that a text becomes.
    fn records(text: &str) -> Vec<(String, usize)> {
        let mut joiner = Joiner::default();
        let mut found = Vec::new();
        for line in text.split('\n') {
            found.extend(joiner.feed(line.as_bytes()));
        }
        found.extend(joiner.flush());
        let first = |text: Vec<u8>| {
            String::from_utf8_lossy(&text).split_whitespace().next().unwrap_or("").to_owned()
        };
        found.into_iter().map(|(text, lines)| (first(text), lines)).collect()
    }

    fn assert_records(text: &str, expected: &[(&str, usize)]) {
        let found = records(text);
        let found: Vec<(&str, usize)> = found.iter().map(|(w, n)| (w.as_str(), *n)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_java_trace_is_one_record() {
        assert_records(
            "before\n2026-01-31 12:00:00 ERROR x - it failed\njava.lang.IllegalStateException: no\n\
             \tat a.B.c(B.java:1)\n\tat a.D.e(D.java:2)\nCaused by: java.io.IOException: disk\n\
             \tat a.F.g(F.java:3)\n\t... 12 more\n2026-01-31 12:00:01 INFO x - on",
            &[("before", 1), ("2026-01-31", 7), ("2026-01-31", 1)],
        );
    }

    #[test]
    fn a_python_trace_with_its_cause_is_one_record() {
        assert_records(
            "ERROR:root:failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n\
             \x20   g()\n  File \"a.py\", line 2, in g\nKeyError: 'x'\n\nDuring handling of the above \
             exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \
             \"a.py\", line 3\napp.Bad: worse\nINFO:root:on",
            &[("ERROR:root:failed", 12), ("INFO:root:on", 1)],
        );
    }

    #[test]
    fn a_go_panic_is_one_record() {
        assert_records(
            "start\npanic: boom\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/a/main.go:5 +0x1d\n\
             main.main()\n\t/a/main.go:9 +0x20\nexit status 2\nnext line",
            &[("start", 1), ("panic:", 8), ("next", 1)],
        );
    }

    #[test]
    fn traces_of_other_languages_are_one_record() {
        assert_records(
            "x\nTypeError: no\n    at f (/a.js:1:2)\n    at g (/a.js:3:4) {\n  code: 'E'\n}\ny",
            &[("x", 1), ("TypeError:", 5), ("y", 1)],
        );
        assert_records(
            "Unhandled exception. System.Exception: no\n ---> System.IO.IOException: disk\n   at \
             P.M() in /p.cs:line 1\n   --- End of inner exception stack trace ---\n   at P.N()\ny",
            &[("Unhandled", 5), ("y", 1)],
        );
        assert_records(
            "a.rb:1:in 'f': no (ArgumentError)\n\tfrom a.rb:2:in 'g'\n\tfrom a.rb:3:in '<main>'\ny",
            &[("a.rb:1:in", 3), ("y", 1)],
        );
        assert_records(
            "PHP Fatal error:  Uncaught Exception: no in /a.php:3\nStack trace:\n#0 /a.php(5): f()\n\
             #1 {main}\n  thrown in /a.php on line 3\ny",
            &[("PHP", 5), ("y", 1)],
        );
        assert_records(
            "thread 'main' panicked at src/main.rs:2:5:\nboom\nnote: run with \
             `RUST_BACKTRACE=1`\nstack backtrace:\n   0: f\n             at ./main.rs:2:5\ny",
            &[("thread", 6), ("y", 1)],
        );
    }

    #[test]
    fn prose_stays_apart() {
        assert_records(
            "a\nb: c\nat home\nTypeError: x\nTypeError: y\n\nlast",
            &[
                ("a", 1),
                ("b:", 1),
                ("at", 1),
                ("TypeError:", 1),
                ("TypeError:", 1),
                ("", 1),
                ("last", 1),
            ],
        );
    }

    #[test]
    fn a_record_is_bounded() {
        let mut joiner = Joiner::new(100, 3);
        let mut counts = Vec::new();
        for line in ["x", "\tat a", "\tat b", "\tat c"] {
            counts.extend(joiner.feed(line.as_bytes()).map(|(_, lines)| lines));
        }
        counts.extend(joiner.flush().map(|(_, lines)| lines));
        assert_eq!(counts, [3, 1]);
        let long = "\tat ".to_owned() + &"x".repeat(200);
        assert!(joiner.feed(b"x").is_none() && joiner.feed(long.as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn no_line_is_lost(lines in prop::collection::vec("(\tat |Traceback |panic: |  |Caused by: |}|E|)[a-z:.()']{0,9}", 0..40)) {
            let mut joiner = Joiner::new(60, 5);
            let mut found = Vec::new();
            for line in &lines {
                found.extend(joiner.feed(line.as_bytes()));
            }
            found.extend(joiner.flush());
            prop_assert_eq!(found.iter().map(|(_, count)| count).sum::<usize>(), lines.len());
            let texts: Vec<Vec<u8>> = found.into_iter().map(|(text, _)| text).collect();
            prop_assert_eq!(texts.join(&b'\n'), lines.join("\n").into_bytes());
        }
    }
}
