//! From a remote write request to samples with series ids.
//!
//! A known series is found by its fingerprint; a new one is parsed, checked and registered.

use super::head::{Blob, BlobKind, Sample};
use super::registry::{METRIC_NAME, Metadata, Registry, SeriesTable};
use crate::wire::histogram;
use crate::wire::protobuf::{Fields, Value};
use crate::wire::remote_write::{
    self, LabelSource, Parsed, RequestError, Series, encode_exemplar, parse_label, parse_v1,
    parse_v2,
};
use std::cell::RefCell;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub decompressed_bytes: usize,
    pub labels: usize,
    pub name_bytes: usize,
    pub value_bytes: usize,
    /// New series that may be registered.
    pub new_series: usize,
    /// Series and bytes of the registry: beyond either, no series is registered.
    pub registered_series: usize,
    pub registry_bytes: usize,
    /// Samples before this are too old, after `max_ts` too far in the future.
    pub min_ts: i64,
    pub max_ts: i64,
}

/// Why samples are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Reason {
    InvalidLabels,
    LabelLimit,
    SeriesLimit,
    TooOld,
    TooFarInFuture,
    InvalidHistogram,
    InvalidExemplar,
    NoSamples,
    Mixed,
}

impl Reason {
    pub const NAMES: [&'static str; 9] = [
        "invalid_labels",
        "label_limit",
        "series_limit",
        "too_old",
        "too_far_in_future",
        "invalid_histogram",
        "invalid_exemplar",
        "no_samples",
        "mixed_kinds",
    ];
}

/// Messages kept for the answer; the counts say how many more there are.
const MAX_MESSAGES: usize = 5;

/// A decoded request, ready for the head.
#[derive(Default)]
pub struct Batch {
    pub samples: Vec<Sample>,
    pub blobs: Vec<Blob>,
    pub metadata: u64,
    /// Refused samples (or series without any) by reason.
    pub rejected: [u64; Reason::NAMES.len()],
    pub messages: Vec<String>,
    /// Series that a limit refused, by their place in the request, ascending.
    pub refused: Vec<u32>,
    pub new_series: usize,
    /// The registry's generation that the ids are of.
    pub generation: u64,
}

impl Batch {
    fn reject(&mut self, reason: Reason, count: usize, message: impl FnOnce() -> String) {
        self.rejected[reason as usize] += count as u64;
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message());
        }
    }
}

#[derive(Default)]
struct Scratch {
    body: Vec<u8>,
    parsed: Parsed,
    ids: Vec<u32>,
}

/// A thread keeps its buffers unless one request made them this large.
const KEEP_BYTES: usize = 16 << 20;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

const UNKNOWN: u32 = u32::MAX;
const REJECTED: u32 = u32::MAX - 1;

/// Decodes a snappy-compressed remote write request and registers its new series. Those in
/// `refused` (places in the request, ascending) are refused whatever the limits say: a request of
/// the WAL is decoded as it was the first time.
///
/// # Errors
/// The request as a whole is not one; nothing has been registered then.
pub fn decode(
    registry: &Registry,
    body: &[u8],
    version_2: bool,
    limits: &Limits,
    refused: &[u32],
) -> Result<Batch, RequestError> {
    SCRATCH.with_borrow_mut(|scratch| {
        let result = decode_with(registry, body, version_2, limits, refused, scratch);
        if scratch.body.capacity() + scratch.parsed.capacity_bytes() > KEEP_BYTES {
            *scratch = Scratch::default();
        }
        result
    })
}

fn decode_with(
    registry: &Registry,
    body: &[u8],
    version_2: bool,
    limits: &Limits,
    refused: &[u32],
    scratch: &mut Scratch,
) -> Result<Batch, RequestError> {
    let Scratch { body: buffer, parsed, ids } = scratch;
    remote_write::decompress(body, limits.decompressed_bytes, buffer)?;
    if version_2 {
        parse_v2(buffer, registry.seed, limits.decompressed_bytes, parsed)?;
    } else {
        parse_v1(buffer, registry.seed, limits.decompressed_bytes, parsed)?;
    }
    let mut batch = Batch { generation: registry.generation(), ..Batch::default() };
    look_up(registry, &parsed.series, ids);
    for place in refused {
        if let Some(id) = ids.get_mut(*place as usize) {
            *id = REJECTED;
        }
    }
    let source = Source { body: buffer, parsed, version_2 };
    refuse_bad_metadata(&source, ids, &mut batch);
    register_unknown(registry, &source, limits, ids, &mut batch);
    collect(&source, limits, ids, &mut batch);
    take_metadata(registry, &source, ids, &mut batch);
    Ok(batch)
}

/// Finds the ids of known series, asking for hash table slots some series ahead.
fn look_up(registry: &Registry, series: &[Series], ids: &mut Vec<u32>) {
    const AHEAD: usize = 16;
    let table = registry.table.read();
    ids.clear();
    ids.reserve(series.len());
    for (i, one) in series.iter().enumerate() {
        if let Some(next) = series.get(i + AHEAD) {
            table.fingerprints.prefetch(next.fingerprint);
        }
        ids.push(table.fingerprints.get(one.fingerprint).unwrap_or(UNKNOWN));
    }
}

/// Refuses the series of a 2.0 request whose metadata refers to symbols that are not there.
fn refuse_bad_metadata(source: &Source<'_>, ids: &mut [u32], batch: &mut Batch) {
    let symbols = source.parsed.symbols.len();
    for (id, series) in ids.iter_mut().zip(&source.parsed.series) {
        let Some((_, help, unit)) = series.metadata else { continue };
        let last = help.max(unit);
        if *id != REJECTED && last as usize >= symbols {
            *id = REJECTED;
            let count = (series.samples.len() + series.blobs.len()).max(1);
            batch.reject(Reason::InvalidLabels, count, || {
                let series = named(source, series);
                format!("{series}: metadata reference {last} is outside of the symbol table")
            });
        }
    }
}

/// Name and value of each label, as they came.
type RawLabels<'a> = Vec<(&'a [u8], &'a [u8])>;

/// A request's bytes and where its parts stand in them.
struct Source<'a> {
    body: &'a [u8],
    parsed: &'a Parsed,
    version_2: bool,
}

impl<'a> Source<'a> {
    fn symbol(&self, reference: u32) -> Option<&'a [u8]> {
        let range = self.parsed.symbols.get(reference as usize)?;
        Some(&self.body[range.start as usize..range.end as usize])
    }

    /// Name and value of each label, in the request's order.
    fn raw_labels(&self, source: &LabelSource) -> Result<RawLabels<'a>, String> {
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
fn checked_labels<'a>(
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
fn named(source: &Source<'_>, series: &Series) -> String {
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
fn series_text(labels: &[(&str, &str)]) -> String {
    let name = labels.iter().find(|(n, _)| *n == METRIC_NAME).map_or("", |(_, v)| *v);
    let rest: Vec<String> = labels
        .iter()
        .filter(|(n, _)| *n != METRIC_NAME)
        .take(4)
        .map(|(n, v)| format!("{}={:?}", shortened(n), shortened(v)))
        .collect();
    format!("{}{{{}}}", shortened(name), rest.join(", "))
}

fn register_unknown(
    registry: &Registry,
    source: &Source<'_>,
    limits: &Limits,
    ids: &mut [u32],
    batch: &mut Batch,
) {
    if !ids.contains(&UNKNOWN) {
        return;
    }
    let mut table = registry.table.write();
    for (place, (id, series)) in ids.iter_mut().zip(&source.parsed.series).enumerate() {
        if *id != UNKNOWN {
            continue;
        }
        if !source.version_2 && series.samples.is_empty() && series.blobs.is_empty() {
            // Nothing to store, and nothing that 1.0 calls an error.
            *id = REJECTED;
            continue;
        }
        match resolve(&mut table, source, series, limits, batch.new_series) {
            Ok((found, new)) => {
                *id = found;
                batch.new_series += usize::from(new);
            }
            Err((reason, message)) => {
                *id = REJECTED;
                if matches!(reason, Reason::SeriesLimit | Reason::LabelLimit) {
                    batch.refused.push(place as u32);
                }
                let count = (series.samples.len() + series.blobs.len()).max(1);
                batch.reject(reason, count, || message);
            }
        }
    }
}

/// Spellings of one label set (orders, versions) that are remembered beyond one for each series.
const MAX_ALIASES: usize = 1 << 16;

fn resolve(
    table: &mut SeriesTable,
    source: &Source<'_>,
    series: &Series,
    limits: &Limits,
    new_series: usize,
) -> Result<(u32, bool), (Reason, String)> {
    // Another request, or this one, may have brought it since it was looked up.
    if let Some(id) = table.fingerprints.get(series.fingerprint) {
        return Ok((id, false));
    }
    let raw = source.raw_labels(&series.labels).map_err(|m| (Reason::InvalidLabels, m))?;
    let labels = checked_labels(raw, limits).map_err(|(reason, message)| {
        // A message about the labels as a whole shows them already.
        let whole = message.starts_with("series ");
        (reason, if whole { message } else { format!("{}: {message}", named(source, series)) })
    })?;
    if let Some(id) = table.find(&labels) {
        if table.fingerprints.len() < 3 * table.live() + MAX_ALIASES {
            table.fingerprints.insert(series.fingerprint, id);
        }
        return Ok((id, false));
    }
    if source.version_2 && series.samples.is_empty() && !has_histogram(source, series) {
        return Err((
            Reason::NoSamples,
            format!("series {} has neither samples nor histograms", series_text(&labels)),
        ));
    }
    if new_series >= limits.new_series {
        return Err((
            Reason::SeriesLimit,
            format!("series {} is over the limit of active series", series_text(&labels)),
        ));
    }
    if table.live() >= limits.registered_series || table.size_bytes() >= limits.registry_bytes {
        return Err((
            Reason::SeriesLimit,
            format!(
                "series {} is over the limit of registered series: there are {} in {} MiB, and \
                 those that are gone count until their last sample is past the retention",
                series_text(&labels),
                table.live(),
                table.size_bytes() >> 20
            ),
        ));
    }
    match table.register(&labels, series.fingerprint) {
        Ok(id) => Ok((id, true)),
        Err(full) => Err((Reason::SeriesLimit, full.to_string())),
    }
}

fn has_histogram(source: &Source<'_>, series: &Series) -> bool {
    source.parsed.blobs[series.blobs.start as usize..series.blobs.end as usize]
        .iter()
        .any(|b| b.kind == BlobKind::Histogram)
}

fn collect(source: &Source<'_>, limits: &Limits, ids: &[u32], batch: &mut Batch) {
    batch.samples.reserve_exact(source.parsed.samples.len());
    for (&id, series) in ids.iter().zip(&source.parsed.series) {
        if id == REJECTED {
            continue;
        }
        let samples =
            &source.parsed.samples[series.samples.start as usize..series.samples.end as usize];
        if !series.blobs.is_empty() || (source.version_2 && samples.is_empty()) {
            collect_blobs(source, limits, id, series, batch);
            if source.version_2 && !samples.is_empty() && has_histogram(source, series) {
                continue;
            }
        }
        for &(ts, value) in samples {
            if let Some(reason) = time_error(ts, limits) {
                batch
                    .reject(reason, 1, || time_message(reason, ts, limits, &named(source, series)));
                continue;
            }
            batch.samples.push(Sample { id, ts, value });
        }
    }
}

#[inline]
fn time_error(ts: i64, limits: &Limits) -> Option<Reason> {
    if ts < limits.min_ts {
        Some(Reason::TooOld)
    } else if ts > limits.max_ts {
        Some(Reason::TooFarInFuture)
    } else {
        None
    }
}

fn time_message(reason: Reason, ts: i64, limits: &Limits, series: &str) -> String {
    match reason {
        Reason::TooOld => format!(
            "too old sample: {series} at {ts} ms is before the retention limit of {} ms",
            limits.min_ts
        ),
        _ => {
            format!("out of bounds: {series} at {ts} ms is after the limit of {} ms", limits.max_ts)
        }
    }
}

fn collect_blobs(
    source: &Source<'_>,
    limits: &Limits,
    id: u32,
    series: &Series,
    batch: &mut Batch,
) {
    let histograms = has_histogram(source, series);
    if source.version_2 {
        let count = (series.samples.len() + series.blobs.len()).max(1);
        if histograms && !series.samples.is_empty() {
            batch.reject(Reason::Mixed, count, || {
                format!("series {} has both samples and histograms", named(source, series))
            });
            return;
        }
        // Prometheus 3 sends exemplars in series of their own: a known series may come so.
        if !histograms && series.samples.is_empty() && series.blobs.is_empty() {
            batch.reject(Reason::NoSamples, count, || {
                format!("series {} has neither samples nor histograms", named(source, series))
            });
            return;
        }
    }
    for blob in &source.parsed.blobs[series.blobs.start as usize..series.blobs.end as usize] {
        let bytes = &source.body[blob.bytes.start as usize..blob.bytes.end as usize];
        let checked = match blob.kind {
            BlobKind::Histogram if bytes.len() > MAX_HISTOGRAM_BYTES => Err((
                Reason::InvalidHistogram,
                format!("histogram has {} bytes, the limit is {MAX_HISTOGRAM_BYTES}", bytes.len()),
            )),
            BlobKind::Histogram => {
                histogram::validate(bytes).map_err(|e| (Reason::InvalidHistogram, e.to_string()))
            }
            BlobKind::Exemplar => exemplar(source, bytes).map_err(|e| (Reason::InvalidExemplar, e)),
        };
        match checked {
            Ok((ts, bytes)) => match time_error(ts, limits) {
                Some(reason) => batch
                    .reject(reason, 1, || time_message(reason, ts, limits, &named(source, series))),
                None => batch.blobs.push(Blob { id, kind: blob.kind, ts, bytes }),
            },
            Err((reason, message)) => {
                batch.reject(reason, 1, || format!("{}: {message}", named(source, series)));
            }
        }
    }
}

/// Ten thousands of buckets: more is an attack on the memory of queries.
const MAX_HISTOGRAM_BYTES: usize = 1 << 20;

/// OpenMetrics' limit on the names and values of an exemplar's labels together.
const MAX_EXEMPLAR_RUNES: usize = 128;

/// An exemplar's time and its 1.0 form.
fn exemplar(source: &Source<'_>, message: &[u8]) -> Result<(i64, Box<[u8]>), String> {
    let (mut labels, mut refs, mut value, mut ts) = (Vec::new(), Vec::new(), 0.0, 0);
    let mut fields = Fields::new(message);
    while let Some((field, v)) = fields.next_field().map_err(|e| e.to_string())? {
        match (field, v) {
            (1, v) if source.version_2 => {
                crate::wire::protobuf::each_varint(1, v, |r| refs.push(r))
                    .map_err(|e| e.to_string())?;
            }
            (1, Value::Bytes(label)) => {
                labels.push(parse_label(label).map_err(|e| e.to_string())?);
            }
            (2, v) => value = v.double(2).map_err(|e| e.to_string())?,
            (3, v) => ts = v.varint(3).map_err(|e| e.to_string())? as i64,
            _ => {}
        }
    }
    if !refs.len().is_multiple_of(2) {
        return Err("exemplar with an odd number of label references".into());
    }
    for pair in refs.chunks_exact(2) {
        let symbol = |r: u64| {
            u32::try_from(r)
                .ok()
                .and_then(|r| source.symbol(r))
                .ok_or_else(|| format!("exemplar label reference {r} is outside of the symbols"))
        };
        labels.push((symbol(pair[0])?, symbol(pair[1])?));
    }
    let mut runes = 0;
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        let text = std::str::from_utf8(text).map_err(|_| "exemplar label is not UTF-8")?;
        runes += text.chars().count();
    }
    if runes > MAX_EXEMPLAR_RUNES {
        return Err(format!(
            "exemplar labels have {runes} characters, the limit is {MAX_EXEMPLAR_RUNES}"
        ));
    }
    Ok((ts, encode_exemplar(&labels, value, ts).into()))
}

fn take_metadata(registry: &Registry, source: &Source<'_>, ids: &[u32], batch: &mut Batch) {
    for range in &source.parsed.metadata {
        let message = &source.body[range.start as usize..range.end as usize];
        match metadata_v1(message) {
            Some((family, metadata)) => {
                registry.metadata.lock().set(family, metadata);
                batch.metadata += 1;
            }
            None => batch.reject(Reason::InvalidLabels, 0, || "metadata does not decode".into()),
        }
    }
    if !source.version_2 {
        return;
    }
    for (&id, series) in ids.iter().zip(&source.parsed.series) {
        if let (Some(metadata), true) = (series.metadata, id < REJECTED) {
            take_metadata_v2(registry, source, series, metadata);
            batch.metadata += 1;
        }
    }
}

const MAX_FAMILY_BYTES: usize = 1024;

fn metadata_v1(message: &[u8]) -> Option<(&str, Metadata)> {
    let mut family = "";
    let mut metadata = Metadata::default();
    let mut fields = Fields::new(message);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    while let Some((field, value)) = fields.next_field().ok()? {
        match (field, value) {
            (1, Value::Varint(kind)) => metadata.kind = u8::try_from(kind).ok()?,
            (2, Value::Bytes(name)) => family = text(name)?,
            (4, Value::Bytes(help)) => metadata.help = shortened_help(text(help)?),
            (5, Value::Bytes(unit)) => metadata.unit = shortened_help(text(unit)?),
            _ => {}
        }
    }
    (!family.is_empty() && family.len() <= MAX_FAMILY_BYTES).then_some((family, metadata))
}

/// Help texts are bounded: each family keeps one in memory.
fn shortened_help(text: &str) -> String {
    text.char_indices().nth(1024).map_or(text, |(at, _)| &text[..at]).to_owned()
}

/// Metadata that stands with a 2.0 series describes its family: the metric's name without the
/// suffixes that its type adds.
fn take_metadata_v2(
    registry: &Registry,
    source: &Source<'_>,
    series: &Series,
    (kind, help, unit): (u8, u32, u32),
) {
    let LabelSource::Refs(range) = &series.labels else { return };
    let refs = &source.parsed.refs[range.start as usize..range.end as usize];
    let name = refs
        .chunks_exact(2)
        .find(|pair| source.symbol(pair[0]) == Some(METRIC_NAME.as_bytes()))
        .map(|pair| pair[1]);
    let hash_of = |r: u32| source.parsed.symbol_hashes.get(r as usize).copied().unwrap_or(0);
    let Some(name) = name else { return };
    let mut key = Vec::with_capacity(49);
    for r in [name, help, unit] {
        key.extend_from_slice(&hash_of(r).to_le_bytes());
    }
    key.push(kind);
    let mut table = registry.metadata.lock();
    let hash = xxh3_64_with_seed(&key, registry.seed);
    // Bounded by forgetting: what is forgotten is only looked at once more.
    if table.seen.len() > 1 << 20 {
        table.seen.clear();
    }
    if !table.seen.insert(hash) {
        return;
    }
    let text = |r| source.symbol(r).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("");
    let family = family_name(text(name), kind);
    let metadata =
        Metadata { kind, help: shortened_help(text(help)), unit: shortened_help(text(unit)) };
    table.set(family, metadata);
}

fn family_name(metric: &str, kind: u8) -> &str {
    const HISTOGRAM: u8 = 3;
    const SUMMARY: u8 = 5;
    let suffixes: &[&str] = match kind {
        HISTOGRAM => &["_bucket", "_sum", "_count"],
        SUMMARY => &["_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().find_map(|s| metric.strip_suffix(s)).unwrap_or(metric)
}
