//! Scraped text to a remote-write request: Prometheus text 0.0.4, and OpenMetrics 1.0 where the
//! text ends in `# EOF`.
//!
//! A line that does not parse is skipped and reported, so one bad metric does not hide the others.
//! Formats: <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
mod float;
mod line;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use hashbrown::{HashMap, HashSet};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xxhash_rust::xxh3::Xxh3;

use super::write_request::{Exemplar, Metadata, WriteRequest};
use line::{Format, Kind, Labels, Line, LineError, Sample};

/// So many bad lines tell what is wrong; a scrape of garbage has millions.
const MAX_ERRORS: usize = 20;

/// Adds this directory's function to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(exposition_to_write_request, m)?)
}

/// The snappy-compressed remote-write 1.0 request, its samples, and what is wrong with the lines
/// that it lacks.
#[pyfunction]
fn exposition_to_write_request<'py>(
    py: Python<'py>,
    text: &[u8],
    default_timestamp_ms: i64,
    extra_labels: Vec<(String, String)>,
    honor_timestamps: bool,
) -> PyResult<(Bound<'py, PyBytes>, usize, Vec<String>)> {
    let options = Options { default_timestamp_ms, extra_labels: &extra_labels, honor_timestamps };
    let (body, converted) = py.detach(|| {
        let converted = convert(text, &options);
        converted.request.compress().map(|body| (body, converted))
    })?;
    Ok((PyBytes::new(py, &body), converted.samples, converted.errors))
}

/// What an exposition does not say itself.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The time of samples without one.
    pub default_timestamp_ms: i64,
    /// Labels that every series gets; an empty value is no label.
    pub extra_labels: &'a [(String, String)],
    /// Whether a sample's own time is taken.
    pub honor_timestamps: bool,
}

/// A whole exposition.
#[derive(Debug, Default)]
pub struct Converted {
    pub request: WriteRequest,
    pub samples: usize,
    /// `line 3: ...`, the first few.
    pub errors: Vec<String>,
}

/// Converts any bytes.
#[must_use]
pub fn convert(text: &[u8], options: &Options<'_>) -> Converted {
    let mut converter = Converter::new(options);
    let format = format_of(text);
    let mut ended = false;
    for (index, bytes) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match parse_line(bytes, format) {
            Ok(Line::Eof) => ended = true,
            Ok(Line::Nothing) => {}
            Ok(_) if ended => converter.report(index, "data after # EOF"),
            Ok(line) => converter.accept(index, line),
            Err(error) => converter.report(index, &error),
        }
    }
    converter.finish()
}

fn format_of(text: &[u8]) -> Format {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let last = text.rsplit(|&byte| byte == b'\n').next();
    if last == Some(b"# EOF") { Format::OpenMetrics } else { Format::Prometheus }
}

fn parse_line(bytes: &[u8], format: Format) -> Result<Line<'_>, String> {
    let whole = bytes.strip_suffix(b"\n");
    let bytes = whole.unwrap_or(bytes);
    let bytes = match format {
        Format::Prometheus => bytes.strip_suffix(b"\r").unwrap_or(bytes),
        Format::OpenMetrics => bytes,
    };
    let text = std::str::from_utf8(bytes).map_err(|_| "invalid UTF-8".to_owned())?;
    let line = line::parse(text, format).map_err(|error: LineError| error.to_string())?;
    // A line that is cut can look whole, with a shorter number.
    if whole.is_none() && matches!(line, Line::Sample(_)) {
        return Err("no line feed at the end".to_owned());
    }
    Ok(line)
}

/// What the text said of a family so far.
#[derive(Debug)]
struct Family {
    name: String,
    kind: Kind,
    help: String,
    unit: String,
}

struct Converter<'o> {
    options: &'o Options<'o>,
    families: Vec<Family>,
    family_index: HashMap<String, usize>,
    /// Hashes of the series that came without a time; 128 bits do not collide.
    seen: HashSet<u128>,
    converted: Converted,
}

impl<'o> Converter<'o> {
    fn new(options: &'o Options<'o>) -> Self {
        let (families, family_index, seen) = (Vec::new(), HashMap::new(), HashSet::new());
        Self { options, families, family_index, seen, converted: Converted::default() }
    }

    fn report(&mut self, index: usize, error: &str) {
        let errors = &mut self.converted.errors;
        if errors.len() < MAX_ERRORS {
            errors.push(format!("line {}: {error}", index + 1));
        }
    }

    fn accept(&mut self, index: usize, line: Line<'_>) {
        match line {
            Line::Nothing | Line::Eof => {}
            Line::Help { family, help } => self.family(family).help = help,
            Line::Type { family, kind } => self.family(family).kind = kind,
            Line::Unit { family, unit } => unit.clone_into(&mut self.family(family).unit),
            Line::Sample(sample) => self.sample(index, sample),
        }
    }

    fn family(&mut self, name: Cow<'_, str>) -> &mut Family {
        let index = *self.family_index.entry_ref(name.as_ref()).or_insert(self.families.len());
        if index == self.families.len() {
            let (help, unit) = (String::new(), String::new());
            self.families.push(Family { name: name.into_owned(), kind: Kind::Unknown, help, unit });
        }
        &mut self.families[index]
    }

    fn kind_of(&self, family: &str) -> Kind {
        self.family_index.get(family).map_or(Kind::Unknown, |&index| self.families[index].kind)
    }

    fn sample(&mut self, index: usize, sample: Sample<'_>) {
        let Sample { name, mut labels, value, timestamp_ms, exemplar } = sample;
        self.normalise_bounds(&name, &mut labels);
        let labels = with_extra_labels(name, labels, self.options.extra_labels);
        let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (&**n, &**v)).collect();

        let own_time = timestamp_ms.filter(|_| self.options.honor_timestamps);
        if own_time.is_none() && !self.seen.insert(hash(&labels)) {
            return self.report(index, "duplicate sample");
        }
        let timestamp_ms = own_time.unwrap_or(self.options.default_timestamp_ms);
        let mut exemplar_labels: Vec<(&str, &str)> = Vec::new();
        let exemplar = exemplar.as_ref().map(|exemplar| {
            exemplar_labels.extend(exemplar.labels.iter().map(|(n, v)| (&**n, &**v)));
            exemplar_labels.sort_unstable();
            Exemplar {
                labels: &exemplar_labels,
                value: exemplar.value,
                timestamp_ms: exemplar.timestamp_ms.unwrap_or(timestamp_ms),
            }
        });
        self.converted.request.push(&labels, timestamp_ms, value, exemplar);
        self.converted.samples += 1;
    }

    /// `le="1"` and `le="1.0"` are one bucket: clients of different ages write either.
    fn normalise_bounds(&self, name: &str, labels: &mut Labels<'_>) {
        for (label, value) in labels {
            let bound = match label.as_ref() {
                "le" => name.strip_suffix("_bucket").is_some_and(|family| {
                    matches!(self.kind_of(family), Kind::Histogram | Kind::GaugeHistogram)
                }),
                "quantile" => self.kind_of(name) == Kind::Summary,
                _ => false,
            };
            if bound && let Some(number) = float::parse(value) {
                *value = Cow::Owned(float::canonical(number));
            }
        }
    }

    fn finish(mut self) -> Converted {
        for family in &self.families {
            self.converted.request.push_metadata(&Metadata {
                family: &family.name,
                kind: family.kind as u64,
                help: &family.help,
                unit: &family.unit,
            });
        }
        self.converted
    }
}

/// All labels of a series, sorted by name. An extra label wins over a scraped one, which is kept
/// under the name `exported_...`, prefixed until that is free. Empty values are no labels.
fn with_extra_labels<'a>(
    name: Cow<'a, str>,
    mut scraped: Labels<'a>,
    extra: &'a [(String, String)],
) -> Labels<'a> {
    scraped.retain(|(_, value)| !value.is_empty());
    let is_extra =
        |name: &str| extra.iter().any(|(known, value)| known == name && !value.is_empty());
    for index in 0..scraped.len() {
        if !is_extra(&scraped[index].0) {
            continue;
        }
        let mut renamed = format!("exported_{}", scraped[index].0);
        while is_extra(&renamed) || scraped.iter().any(|(known, _)| *known == renamed) {
            renamed.insert_str(0, "exported_");
        }
        scraped[index].0 = Cow::Owned(renamed);
    }
    scraped.push((Cow::Borrowed("__name__"), name));
    let extra = extra.iter().filter(|(_, value)| !value.is_empty());
    scraped.extend(extra.map(|(name, value)| (Cow::from(name), Cow::from(value))));
    scraped.sort_unstable();
    scraped.dedup_by(|later, earlier| later.0 == earlier.0);
    scraped
}

fn hash(labels: &[(&str, &str)]) -> u128 {
    let mut hasher = Xxh3::new();
    for text in labels.iter().flat_map(|&(name, value)| [name, value]) {
        // With its length, since any byte can be in a text.
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.digest128()
}
