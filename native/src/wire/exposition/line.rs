//! One line of an exposition, parsed into what it says.
use std::borrow::Cow;

use super::float;

/// Text formats that differ in timestamps, exemplars and escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0: ends in `# EOF`.
    OpenMetrics,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// Blank, or a comment.
    Nothing,
    Eof,
    Help {
        family: Cow<'a, str>,
        help: String,
    },
    Type {
        family: Cow<'a, str>,
        kind: Kind,
    },
    Unit {
        family: Cow<'a, str>,
        unit: &'a str,
    },
    Sample(Sample<'a>),
}

/// A metric family's type, by its number in remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    GaugeHistogram = 4,
    Summary = 5,
    Info = 6,
    StateSet = 7,
}

pub type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    pub name: Cow<'a, str>,
    /// In the order written; names are distinct, and values can be empty.
    pub labels: Labels<'a>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
    pub exemplar: Option<Exemplar<'a>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar<'a> {
    pub labels: Labels<'a>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

/// What a line lacks, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("expected {expected}, found {found:?}")]
    Expected { expected: &'static str, found: String },
    #[error("metric name is missing")]
    NoName,
    #[error("metric name is given twice")]
    TwoNames,
    #[error("label name is empty")]
    EmptyLabelName,
    #[error("label {0:?} is given twice")]
    DuplicateLabel(String),
    #[error("label {0:?} is reserved for the metric name")]
    ReservedLabel(String),
}

/// # Errors
/// The line is none of the format's.
pub fn parse(text: &str, format: Format) -> Result<Line<'_>, LineError> {
    let mut cursor = Cursor { rest: text, format };
    cursor.skip_blanks();
    match cursor.rest.as_bytes().first() {
        None => Ok(Line::Nothing),
        Some(b'#') => cursor.comment(),
        Some(_) => cursor.sample().map(Line::Sample),
    }
}

struct Cursor<'a> {
    rest: &'a str,
    format: Format,
}

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, LineError> {
        Err(LineError::Expected { expected, found: self.rest.chars().take(32).collect() })
    }

    /// Takes `token` and the blanks after it.
    fn take(&mut self, token: char) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else {
            return false;
        };
        self.rest = rest;
        self.skip_blanks();
        true
    }

    /// Takes everything up to a blank, and the blanks after it.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip_blanks();
        word
    }

    fn comment(&mut self) -> Result<Line<'a>, LineError> {
        if self.format == Format::OpenMetrics && self.rest == "# EOF" {
            return Ok(Line::Eof);
        }
        let after = &self.rest[1..];
        // Without a blank behind the sign it is a comment, whatever follows.
        if !after.starts_with([' ', '\t']) {
            return Ok(Line::Nothing);
        }
        self.rest = after;
        self.skip_blanks();
        let start = self.rest;
        match self.word() {
            "HELP" if start != "HELP" => {
                let family = self.family()?;
                Ok(Line::Help {
                    family,
                    help: unescape(self.rest, self.format, false).into_owned(),
                })
            }
            "TYPE" if start != "TYPE" => {
                let family = self.family()?;
                match kind(self.rest.trim_end_matches([' ', '\t'])) {
                    Some(kind) => Ok(Line::Type { family, kind }),
                    None => self.error("a metric type"),
                }
            }
            "UNIT" if start != "UNIT" && self.format == Format::OpenMetrics => {
                Ok(Line::Unit { family: self.family()?, unit: self.rest })
            }
            _ => Ok(Line::Nothing),
        }
    }

    fn family(&mut self) -> Result<Cow<'a, str>, LineError> {
        let family = if self.rest.starts_with('"') {
            self.quoted()?
        } else {
            Cow::Borrowed(self.identifier(true, "a metric name")?)
        };
        if !self.rest.is_empty() && !self.rest.starts_with([' ', '\t']) {
            return self.error("a blank after the metric name");
        }
        self.skip_blanks();
        Ok(family)
    }

    fn identifier(&mut self, colons: bool, what: &'static str) -> Result<&'a str, LineError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
        let end = self.rest.find(|c| !inner(c)).unwrap_or(self.rest.len());
        if end == 0 || self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.error(what);
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name)
    }

    /// Takes a quoted text.
    fn quoted(&mut self) -> Result<Cow<'a, str>, LineError> {
        let Some(body) = self.rest.strip_prefix('"') else {
            return self.error("a quoted text");
        };
        let mut escaped = false;
        for (at, byte) in body.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.rest = &body[at + 1..];
                    return Ok(unescape(&body[..at], self.format, true));
                }
                _ => {}
            }
        }
        self.error("a closing quote")
    }

    fn sample(&mut self) -> Result<Sample<'a>, LineError> {
        let mut name = None;
        if !self.rest.starts_with('{') {
            name = Some(Cow::Borrowed(self.identifier(true, "a metric name")?));
            self.skip_blanks();
        }
        let mut labels = Vec::new();
        if self.take('{') {
            labels = self.labels(&mut name)?;
        }
        let name = name.filter(|name| !name.is_empty()).ok_or(LineError::NoName)?;
        let value = self.number("a value")?;
        let timestamp_ms = self.timestamp()?;
        let exemplar = self.exemplar()?;
        if !self.rest.is_empty() {
            return self.error("the end of the line");
        }
        Ok(Sample { name, labels, value, timestamp_ms, exemplar })
    }

    /// Takes labels up to the closing brace; a quoted text that stands alone is the metric's name.
    fn labels(&mut self, name: &mut Option<Cow<'a, str>>) -> Result<Labels<'a>, LineError> {
        let mut labels: Labels<'a> = Vec::new();
        while !self.take('}') {
            let quoted = self.rest.starts_with('"');
            let label = if quoted {
                self.quoted()?
            } else {
                Cow::Borrowed(self.identifier(false, "a label name")?)
            };
            self.skip_blanks();
            if quoted && self.rest.starts_with([',', '}']) {
                if name.replace(label).is_some() {
                    return Err(LineError::TwoNames);
                }
            } else {
                if !self.take('=') {
                    return self.error("an equals sign");
                }
                let value = self.quoted()?;
                self.skip_blanks();
                add_label(&mut labels, label, value)?;
            }
            if !self.take(',') && !self.rest.starts_with('}') {
                return self.error("a comma or a closing brace");
            }
        }
        Ok(labels)
    }

    fn number(&mut self, what: &'static str) -> Result<f64, LineError> {
        let before = self.rest;
        float::parse(self.word()).ok_or_else(|| LineError::Expected {
            expected: what,
            found: before.chars().take(32).collect(),
        })
    }

    fn timestamp(&mut self) -> Result<Option<i64>, LineError> {
        if self.rest.is_empty() || self.rest.starts_with('#') {
            return Ok(None);
        }
        match self.format {
            Format::Prometheus => {
                let before = self.rest;
                let timestamp = self.word().parse().ok();
                self.or_else_at(before, timestamp, "a timestamp in milliseconds")
            }
            Format::OpenMetrics => {
                let before = self.rest;
                let ms = (self.number("a timestamp in seconds")? * 1000.0).round();
                // i64's bounds as floats; the upper one is not an i64 itself.
                let inside =
                    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&ms);
                self.or_else_at(before, inside.then_some(ms as i64), "a timestamp in seconds")
            }
        }
    }

    fn or_else_at(
        &mut self,
        before: &'a str,
        timestamp: Option<i64>,
        what: &'static str,
    ) -> Result<Option<i64>, LineError> {
        if timestamp.is_none() {
            self.rest = before;
            return self.error(what);
        }
        Ok(timestamp)
    }

    fn exemplar(&mut self) -> Result<Option<Exemplar<'a>>, LineError> {
        if self.format != Format::OpenMetrics || !self.take('#') {
            return Ok(None);
        }
        if !self.take('{') {
            return self.error("an exemplar's labels");
        }
        let mut name = None;
        let labels = self.labels(&mut name)?;
        if name.is_some() {
            return self.error("a label, not a metric name");
        }
        let value = self.number("an exemplar's value")?;
        Ok(Some(Exemplar { labels, value, timestamp_ms: self.timestamp()? }))
    }
}

fn add_label<'a>(
    labels: &mut Labels<'a>,
    name: Cow<'a, str>,
    value: Cow<'a, str>,
) -> Result<(), LineError> {
    if name == "__name__" {
        return Err(LineError::ReservedLabel(name.into_owned()));
    }
    if name.is_empty() {
        return Err(LineError::EmptyLabelName);
    }
    if labels.iter().any(|(known, _)| *known == name) {
        return Err(LineError::DuplicateLabel(name.into_owned()));
    }
    labels.push((name, value));
    Ok(())
}

fn kind(text: &str) -> Option<Kind> {
    Some(match text {
        "untyped" | "unknown" => Kind::Unknown,
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "gaugehistogram" => Kind::GaugeHistogram,
        "summary" => Kind::Summary,
        "info" => Kind::Info,
        "stateset" => Kind::StateSet,
        _ => return None,
    })
}

/// Resolves `\\`, `\n` and, where quotes are escaped, `\"`; any other backslash stays.
fn unescape(text: &str, format: Format, in_quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let quotes = in_quotes || format == Format::OpenMetrics;
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => plain.push('\\'),
            Some('n') => plain.push('\n'),
            Some('"') if quotes => plain.push('"'),
            other => plain.extend(['\\'].into_iter().chain(other)),
        }
    }
    Cow::Owned(plain)
}
