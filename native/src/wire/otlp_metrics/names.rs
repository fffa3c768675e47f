//! Names of metrics and labels, out of OpenTelemetry's into Prometheus'.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>,
//! "Metric Metadata" and "Metric Attributes".

use std::borrow::Cow;

/// What becomes of characters that classic names lack, and whether units and types are suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategy {
    /// Names are made of `[a-zA-Z0-9_]`, and metrics' of `:`, too.
    pub escapes: bool,
    pub suffixes: bool,
}

impl Strategy {
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (escapes, suffixes) = match name {
            "UnderscoreEscapingWithSuffixes" => (true, true),
            "UnderscoreEscapingWithoutSuffixes" => (true, false),
            "NoUTF8EscapingWithSuffixes" => (false, true),
            "NoTranslation" => (false, false),
            _ => return None,
        };
        Some(Self { escapes, suffixes })
    }
}

/// What of a metric's kind is seen in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Gauge,
    Counter,
    Other,
}

const UNITS: [(&str, &str); 27] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("kBy", "kilobytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
    ("1", ""),
];

const PER_UNITS: [(&str, &str); 7] = [
    ("s", "second"),
    ("min", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// A unit's words: `m/s` is meters and second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    main: String,
    per: String,
}

impl Unit {
    /// Reads a unit as UCUM has it, without its annotations in braces.
    #[must_use]
    pub fn parse(unit: &str) -> Self {
        let bare = without_annotations(unit);
        let (main, per) = bare.split_once('/').unwrap_or((&bare, ""));
        Self { main: word(main.trim(), &UNITS), per: word(per.trim(), &PER_UNITS) }
    }

    /// Both words in one, as metadata names the unit.
    #[must_use]
    pub fn words(&self) -> String {
        match (self.main.is_empty(), self.per.is_empty()) {
            (_, true) => self.main.clone(),
            (true, false) => format!("per_{}", self.per),
            (false, false) => format!("{}_per_{}", self.main, self.per),
        }
    }
}

fn without_annotations(unit: &str) -> Cow<'_, str> {
    if !unit.contains('{') {
        return Cow::Borrowed(unit);
    }
    let mut out = String::with_capacity(unit.len());
    let mut rest = unit;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = rest[open..].find('}').map_or("", |close| &rest[open + close + 1..]);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn word(unit: &str, table: &[(&str, &str)]) -> String {
    match table.iter().find(|(symbol, _)| *symbol == unit) {
        Some((_, word)) => (*word).to_owned(),
        None => tokens(unit, |c| c.is_ascii_alphanumeric()).collect::<Vec<_>>().join("_"),
    }
}

fn tokens(text: &str, kept: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    text.split(move |c| !kept(c)).filter(|token| !token.is_empty())
}

/// A metric's name; empty where nothing of it is left.
#[must_use]
pub fn metric_name(name: &str, unit: &str, shape: Shape, strategy: Strategy) -> String {
    match (strategy.escapes, strategy.suffixes) {
        (false, false) => name.to_owned(),
        (false, true) => suffixed(name, unit, shape),
        (true, suffixes) => escaped(name, unit, shape, suffixes),
    }
}

fn escaped(name: &str, unit: &str, shape: Shape, suffixes: bool) -> String {
    let mut parts: Vec<&str> = tokens(name, |c| c.is_ascii_alphanumeric() || c == ':').collect();
    if parts.is_empty() {
        return String::new();
    }
    let words = Unit::parse(unit);
    if suffixes {
        if !words.main.is_empty() && !parts.contains(&words.main.as_str()) {
            parts.push(&words.main);
        }
        if !words.per.is_empty() && !parts.contains(&words.per.as_str()) {
            parts.extend(["per", &words.per]);
        }
        if let Some(last) = type_suffix(unit, shape) {
            parts.retain(|part| *part != last);
            parts.push(last);
        }
    }
    let joined = parts.join("_");
    if joined.starts_with(|c: char| c.is_ascii_digit()) { format!("_{joined}") } else { joined }
}

fn type_suffix(unit: &str, shape: Shape) -> Option<&'static str> {
    match shape {
        Shape::Counter => Some("total"),
        Shape::Gauge if unit == "1" => Some("ratio"),
        Shape::Gauge | Shape::Other => None,
    }
}

/// Suffixes on a name that keeps its characters.
fn suffixed(name: &str, unit: &str, shape: Shape) -> String {
    if name.is_empty() {
        return String::new();
    }
    let words = Unit::parse(unit);
    let per = if words.per.is_empty() { String::new() } else { format!("per_{}", words.per) };
    let suffixes = [words.main.as_str(), &per, type_suffix(unit, shape).unwrap_or("")];
    let mut bare = name;
    for suffix in suffixes.iter().rev().filter(|suffix| !suffix.is_empty()) {
        bare = without_suffix(bare, suffix);
    }
    let mut out = bare.to_owned();
    for suffix in suffixes.iter().filter(|suffix| !suffix.is_empty()) {
        if !out.is_empty() {
            out.push('_');
        }
        out.push_str(suffix);
    }
    out
}

/// The name without a suffix and the character that sets it apart.
fn without_suffix<'a>(name: &'a str, suffix: &str) -> &'a str {
    let Some(rest) = name.strip_suffix(suffix) else { return name };
    match rest.chars().next_back() {
        Some(last) if last.is_ascii() && !last.is_ascii_alphanumeric() => {
            &rest[..rest.len() - last.len_utf8()]
        }
        _ => name,
    }
}

/// A label's name; empty for an empty key.
#[must_use]
pub fn label_name(key: &str, strategy: Strategy) -> Cow<'_, str> {
    let clean = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let plain_start = !key.starts_with(|c: char| c.is_ascii_digit() || c == '_');
    if !strategy.escapes || (plain_start && key.bytes().all(clean)) {
        return Cow::Borrowed(key);
    }
    let mut out = String::with_capacity(key.len() + 4);
    if key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push_str("key_");
    }
    out.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    if out.starts_with('_') && !out.starts_with("__") {
        out.insert_str(0, "key");
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Strategy = Strategy { escapes: true, suffixes: true };

    #[test]
    fn names_get_units_and_then_types() {
        for (name, unit, shape, expected) in [
            ("http.server.duration", "s", Shape::Other, "http_server_duration_seconds"),
            ("system.io", "By", Shape::Counter, "system_io_bytes_total"),
            ("io.bytes.total", "By", Shape::Counter, "io_bytes_total"),
            ("total.io", "By", Shape::Counter, "io_bytes_total"),
            ("speed", "m/s", Shape::Gauge, "speed_meters_per_second"),
            ("hits", "{hit}/s", Shape::Gauge, "hits_per_second"),
            ("cpu.use", "1", Shape::Gauge, "cpu_use_ratio"),
            ("requests", "{request}", Shape::Counter, "requests_total"),
            ("2xx", "1", Shape::Counter, "_2xx_total"),
            ("a::b--c", "", Shape::Gauge, "a::b_c"),
            ("x", "foo bar", Shape::Gauge, "x_foo_bar"),
            ("…", "s", Shape::Gauge, ""),
        ] {
            assert_eq!(metric_name(name, unit, shape, DEFAULT), expected);
        }
    }

    #[test]
    fn strategies_differ_in_characters_and_suffixes() {
        let named = |strategy: &str| {
            let strategy = Strategy::parse(strategy).unwrap();
            let metric = metric_name("request.bytes.total", "By", Shape::Counter, strategy);
            (metric, label_name("http.method", strategy).into_owned())
        };
        assert_eq!(
            ["UnderscoreEscapingWithoutSuffixes", "NoUTF8EscapingWithSuffixes", "NoTranslation"]
                .map(named),
            [
                ("request_bytes_total".into(), "http_method".into()),
                ("request_bytes_total".into(), "http.method".into()),
                ("request.bytes.total".into(), "http.method".into()),
            ]
        );
    }

    #[test]
    fn labels_never_begin_with_a_digit_or_one_underscore() {
        for (key, expected) in [
            ("http.method", "http_method"),
            ("1st", "key_1st"),
            ("_own", "key_own"),
            (".own", "key_own"),
            ("__own", "__own"),
            ("größe", "gr__e"),
            ("", ""),
        ] {
            assert_eq!(label_name(key, DEFAULT), expected);
        }
    }
}
