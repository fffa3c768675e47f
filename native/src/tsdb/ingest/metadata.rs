//! What a request says about metric families.

use super::labels::Source;
use super::{Batch, REJECTED, Reason};
use crate::tsdb::registry::{METRIC_NAME, Metadata, Registry};
use crate::wire::protobuf::{Fields, Value};
use crate::wire::remote_write::{LabelSource, Series};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Takes the metadata of a request, once for each that differs from what is known.
pub fn take_metadata(registry: &Registry, source: &Source<'_>, ids: &[u32], batch: &mut Batch) {
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
