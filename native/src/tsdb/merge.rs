//! Merges parts into one part a partition, series by series, so that memory holds one series.
//!
//! Parts come in ascending sequence: for one series and timestamp the last part's sample stays.
//! Chunks that overlap no other and are long enough are copied as they are.

mod output;
pub mod python;
mod series;

use super::part::format::{PartInfo, Partition};
use super::part::index::SeriesEntry;
use super::part::{Kind, Part, PartError, PartStats, SeriesCursor};
use output::Outputs;
use roaring::RoaringBitmap;
use series::{Input, SeriesMerge};
use std::path::PathBuf;
use std::sync::Arc;

/// How to merge.
pub struct MergeSpec {
    /// Path of the outputs up to the partition: `<prefix><partition start>.part`.
    pub prefix: PathBuf,
    /// Level of the outputs.
    pub level: u32,
    pub partition_ms: i64,
    /// Take the smallest encoding, for parts that are kept; else the fastest.
    pub best: bool,
    /// Leave out what is older.
    pub drop_before_ms: Option<i64>,
    /// Leave out other series.
    pub keep_ids: Option<RoaringBitmap>,
}

impl MergeSpec {
    /// Start of the partition with the time; the first ones of all may be cut short.
    fn partition_start(&self, ts: i64) -> i64 {
        ts.saturating_sub(ts.rem_euclid(self.partition_ms))
    }

    fn info(&self, parts: &[Arc<Part>], start_ms: i64) -> PartInfo {
        let infos = || parts.iter().map(|p| p.stats().info);
        PartInfo {
            seq_min: infos().map(|i| i.seq_min).min().unwrap_or(0),
            seq_max: infos().map(|i| i.seq_max).max().unwrap_or(0),
            level: self.level,
            partition: Some(Partition { start_ms, length_ms: self.partition_ms }),
        }
    }
}

/// Merges the parts; the outputs by ascending partition, none for what is wholly left out.
///
/// # Errors
/// A part is damaged or the disk refuses; no output is left behind then.
pub fn merge(
    parts: &[Arc<Part>],
    spec: &MergeSpec,
) -> Result<Vec<(PathBuf, PartStats)>, PartError> {
    let mut finished = Vec::new();
    let mut from = i64::MIN;
    loop {
        let pass = merge_pass(parts, spec, from).and_then(|outputs| {
            let next = outputs.next_from();
            outputs.finish(|start| spec.info(parts, start), &mut finished).map(|()| next)
        });
        match pass {
            Ok(Some(next)) => from = next,
            Ok(None) => return Ok(finished),
            Err(error) => {
                output::remove(&finished);
                return Err(error);
            }
        }
    }
}

/// Merges what is in the partitions from `from` on, as many as may be open at once.
fn merge_pass<'a>(
    parts: &[Arc<Part>],
    spec: &'a MergeSpec,
    from: i64,
) -> Result<Outputs<'a>, PartError> {
    let mut outputs = Outputs::new(spec, from);
    let mut cursors: Vec<SeriesCursor<'_>> = parts.iter().map(|p| p.series()).collect();
    for cursor in &mut cursors {
        cursor.next()?;
    }
    let oldest = spec.drop_before_ms.unwrap_or(i64::MIN).max(from);
    let mut series = SeriesMerge::new(spec);
    while let Some(id) = cursors.iter().filter_map(|c| c.entry().map(|e| e.id)).min() {
        series.clear();
        for (order, (cursor, part)) in cursors.iter_mut().zip(parts).enumerate() {
            if let Some(entry) = cursor.entry().filter(|e| e.id == id) {
                collect(part, order, entry, oldest, &mut series);
                cursor.next()?;
            }
        }
        if spec.keep_ids.as_ref().is_none_or(|keep| keep.contains(id)) {
            series.write(id, &mut outputs)?;
        }
    }
    Ok(outputs)
}

fn collect<'a>(
    part: &'a Part,
    order: usize,
    entry: &SeriesEntry,
    from: i64,
    series: &mut SeriesMerge<'a>,
) {
    for (meta, range) in entry.chunks.iter().filter(|(meta, _)| meta.max_ts >= from) {
        let input = Input { part, meta: *meta, range: range.clone(), order };
        series.add(Kind::of(meta.encoding), input);
    }
}

#[cfg(test)]
pub mod tests;
