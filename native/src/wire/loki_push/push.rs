//! A push being put together: Loki's limits of streams and entries, and what is over them.

use super::hints::{find_id, find_level};
use super::pairs::Pairs;
use crate::logs::pipeline::names;
use crate::wire::log_request::{LogRequest, TextRecord, TooLarge};

// Loki's own defaults.
const MAX_LINE_BYTES: usize = 256 << 10;
const MAX_LABELS: usize = 15;
const MAX_LABEL_NAME_BYTES: usize = 1024;
const MAX_LABEL_VALUE_BYTES: usize = 2048;
const MAX_METADATA_ENTRIES: usize = 128;
const MAX_METADATA_BYTES: usize = 64 << 10;

const MAX_NAMED: usize = 20;
const SERVICE: &str = "service.name";
const SERVICE_LABELS: [&str; 11] = [
    "service_name",
    "service",
    "app",
    "application",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "component",
    "workload",
    "job",
];

/// Why an entry or a stream is left out, with a text of the sender's in the midst of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub before: String,
    pub quoted: Option<String>,
    pub after: String,
}

impl Refusal {
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { before: text.into(), quoted: None, after: String::new() }
    }

    #[must_use]
    pub fn quoting(before: &str, quoted: &str, after: impl Into<String>) -> Self {
        Self { before: before.into(), quoted: Some(quoted.into()), after: after.into() }
    }
}

/// Streams and entries so far.
pub struct Push {
    pub request: LogRequest,
    /// Of the first few that are left out.
    pub refusals: Vec<Refusal>,
    pub refused_count: usize,
    level: (u8, String),
}

impl Push {
    #[must_use]
    pub fn new(max_memory_bytes: usize) -> Self {
        Self {
            request: LogRequest::new(max_memory_bytes),
            refusals: Vec::new(),
            refused_count: 0,
            level: (0, String::new()),
        }
    }

    pub fn refuse(&mut self, refusal: impl FnOnce() -> Refusal) {
        self.refused_count += 1;
        if self.refusals.len() < MAX_NAMED {
            self.refusals.push(refusal());
        }
    }

    /// Begins a stream; false if it is refused.
    ///
    /// # Errors
    /// The request becomes too large.
    pub fn start_stream(&mut self, labels: &mut Pairs<'_>) -> Result<bool, TooLarge> {
        if let Err(refusal) = check_labels(labels) {
            self.refuse(|| refusal);
            return Ok(false);
        }
        let (number, text) = find_level(labels);
        self.level = (number, text.to_owned());
        let service = SERVICE_LABELS
            .iter()
            .find_map(|name| labels.get(name).filter(|value| !value.is_empty()))
            .unwrap_or("unknown_service")
            .to_owned();
        labels.insert(SERVICE.into(), Some(service.into()));
        self.request.begin_group(labels.iter())?;
        Ok(true)
    }

    /// Takes an entry of the stream that was begun last.
    ///
    /// # Errors
    /// The request becomes too large.
    pub fn add(&mut self, time_ns: i128, line: &str, metadata: &Pairs<'_>) -> Result<(), TooLarge> {
        let time_ns = match check_entry(time_ns, line, metadata) {
            Ok(time_ns) => time_ns,
            Err(refusal) => {
                self.refuse(|| refusal);
                return Ok(());
            }
        };
        let (mut severity_number, mut severity_text) = find_level(metadata);
        if severity_number == 0 {
            (severity_number, severity_text) = (self.level.0, &self.level.1);
        }
        let trace = find_id::<16>(metadata, &names::TRACE);
        let span = find_id::<8>(metadata, &names::SPAN);
        let record = TextRecord {
            time_ns,
            severity_number,
            severity_text,
            body: line,
            trace_id: trace.as_ref().map_or(&[], |id| &id[..]),
            span_id: span.as_ref().map_or(&[], |id| &id[..]),
        };
        self.request.add(&record, metadata.iter())
    }
}

fn check_labels(labels: &Pairs<'_>) -> Result<(), Refusal> {
    if labels.is_empty() {
        return Err(Refusal::plain("a stream needs at least one label"));
    }
    if labels.len() > MAX_LABELS {
        let count = labels.len();
        let text = format!("a stream has {count} labels; the limit is {MAX_LABELS}");
        return Err(Refusal::plain(text));
    }
    for (name, value) in labels.iter() {
        if name.len() > MAX_LABEL_NAME_BYTES {
            let start: String = name.chars().take(60).collect();
            let after = format!("… is over {MAX_LABEL_NAME_BYTES} bytes");
            return Err(Refusal::quoting("label name ", &start, after));
        }
        if value.len() > MAX_LABEL_VALUE_BYTES {
            let after = format!(" is over {MAX_LABEL_VALUE_BYTES} bytes");
            return Err(Refusal::quoting("the value of label ", name, after));
        }
    }
    Ok(())
}

fn check_entry(time_ns: i128, line: &str, metadata: &Pairs<'_>) -> Result<u64, Refusal> {
    let Some(time) = i64::try_from(time_ns).ok().and_then(|time| u64::try_from(time).ok()) else {
        return Err(Refusal::plain(format!("timestamp {time_ns} is out of range")));
    };
    if line.len() > MAX_LINE_BYTES {
        let text = format!("a line is over the limit of {MAX_LINE_BYTES} bytes");
        return Err(Refusal::plain(text));
    }
    if metadata.len() > MAX_METADATA_ENTRIES {
        let text = format!("an entry has more than {MAX_METADATA_ENTRIES} metadata entries");
        return Err(Refusal::plain(text));
    }
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_METADATA_BYTES {
        let text = format!("an entry's metadata is over the limit of {MAX_METADATA_BYTES} bytes");
        return Err(Refusal::plain(text));
    }
    Ok(time)
}
