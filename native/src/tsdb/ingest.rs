//! From a remote write request to samples with series ids.
//!
//! A known series is found by its fingerprint; a new one is parsed, checked and registered.

mod labels;
mod metadata;

use self::labels::{Source, checked_labels, named, series_text};
use self::metadata::take_metadata;
use super::head::{Blob, BlobKind, Sample};
use super::registry::{Registry, SeriesTable};
use crate::wire::histogram;
use crate::wire::protobuf::{Fields, Value};
use crate::wire::remote_write::{
    self, Parsed, RequestError, Series, encode_exemplar, parse_label, parse_v1, parse_v2,
};
use std::cell::RefCell;

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
