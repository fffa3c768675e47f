//! The labels of a series in a request: where they stand, and which of them are valid.

use super::{Limits, Reason};
use crate::tsdb::registry::METRIC_NAME;
use crate::wire::protobuf::{Fields, Value};
use crate::wire::remote_write::{LabelSource, Parsed, Series, parse_label};

/// Name and value of each label, as they came.
pub type RawLabels<'a> = Vec<(&'a [u8], &'a [u8])>;

/// A request's bytes and where its parts stand in them.
pub struct Source<'a> {
    pub body: &'a [u8],
    pub parsed: &'a Parsed,
    pub version_2: bool,
}

impl<'a> Source<'a> {
    pub fn symbol(&self, reference: u32) -> Option<&'a [u8]> {
        let range = self.parsed.symbols.get(reference as usize)?;
        Some(&self.body[range.start as usize..range.end as usize])
    }

    /// Name and value of each label, in the request's order.
    pub fn raw_labels(&self, source: &LabelSource) -> Result<RawLabels<'a>, String> {
        match source {
            LabelSource::Fields(range) => {
                labels_of_fields(&self.body[range.start as usize..range.end as usize])
            }
            LabelSource::Scattered(range) => {
                let bytes = &self.parsed.scattered[range.start as usize..range.end as usize];
                labels_of_fields(bytes)
            }
            LabelSource::Refs(range) => {
                let refs = &self.parsed.refs[range.start as usize..range.end as usize];
                let symbol = |r: u32| {
                    self.symbol(r).ok_or_else(|| {
                        format!("label reference {r} is outside of the symbol table")
                    })
                };
                if !refs.len().is_multiple_of(2) {
                    return Err("odd number of label references".into());
                }
                refs.chunks_exact(2).map(|p| Ok((symbol(p[0])?, symbol(p[1])?))).collect()
            }
        }
    }
}

fn labels_of_fields(bytes: &[u8]) -> Result<RawLabels<'_>, String> {
    let mut labels = Vec::with_capacity(16);
    let mut fields = Fields::new(bytes);
    while let Some((_, value)) = fields.next_field().map_err(|e| e.to_string())? {
        if let Value::Bytes(label) = value {
            labels.push(parse_label(label).map_err(|e| e.to_string())?);
        }
    }
    Ok(labels)
}

/// Labels as they are stored: valid, sorted by name, without empty values.
pub fn checked_labels<'a>(
    raw: RawLabels<'a>,
    limits: &Limits,
) -> Result<Vec<(&'a str, &'a str)>, (Reason, String)> {
    let invalid = |message: String| (Reason::InvalidLabels, message);
    let mut labels = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let name = std::str::from_utf8(name)
            .map_err(|_| invalid(format!("label name {:?} is not UTF-8", lossy(name))))?;
        if name.is_empty() {
            return Err(invalid("label with an empty name".into()));
        }
        let value = std::str::from_utf8(value)
            .map_err(|_| invalid(format!("value of label {name:?} is not UTF-8")))?;
        labels.push((name, value));
    }
    labels.sort_unstable_by_key(|(name, _)| *name);
    if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(invalid(format!("label {:?} is there twice", pair[0].0)));
    }
    labels.retain(|(_, value)| !value.is_empty());
    if !labels.iter().any(|(name, _)| *name == METRIC_NAME) {
        return Err(invalid(format!("series {} has no metric name", series_text(&labels))));
    }
    let over = |message: String| Err((Reason::LabelLimit, message));
    if labels.len() > limits.labels {
        return over(format!(
            "series {} has {} labels, the limit is {}",
            series_text(&labels),
            labels.len(),
            limits.labels
        ));
    }
    for (name, value) in &labels {
        if name.len() > limits.name_bytes {
            return over(format!(
                "label name {:?}… has {} bytes, the limit is {}",
                shortened(name),
                name.len(),
                limits.name_bytes
            ));
        }
        if value.len() > limits.value_bytes {
            return over(format!(
                "value of label {name:?} has {} bytes, the limit is {}",
                value.len(),
                limits.value_bytes
            ));
        }
    }
    Ok(labels)
}

/// A series as messages name it, whatever its labels are like.
pub fn named(source: &Source<'_>, series: &Series) -> String {
    let raw = source.raw_labels(&series.labels).unwrap_or_default();
    let texts: Vec<_> =
        raw.iter().map(|(n, v)| (String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect();
    let labels: Vec<_> = texts.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
    series_text(&labels)
}

fn lossy(bytes: &[u8]) -> String {
    shortened(&String::from_utf8_lossy(bytes)).to_owned()
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(at, _)| &text[..at])
}

/// `name{label="value", …}` of the first few labels, for messages.
pub fn series_text(labels: &[(&str, &str)]) -> String {
    let name = labels.iter().find(|(n, _)| *n == METRIC_NAME).map_or("", |(_, v)| *v);
    let rest: Vec<String> = labels
        .iter()
        .filter(|(n, _)| *n != METRIC_NAME)
        .take(4)
        .map(|(n, v)| format!("{}={:?}", shortened(n), shortened(v)))
        .collect();
    format!("{}{{{}}}", shortened(name), rest.join(", "))
}
