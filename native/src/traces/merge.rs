//! Merges of segments, with sampling, and segments without some traces.

use super::builder::{Builder, Part};
use super::chunk::{Chunk, service_of};
use super::granule::Granule;
use super::index::hash_id;
use super::otlp::{ERROR, NO_SPAN, TraceId};
use super::segment::{MAX_TRACE_ROWS, Segment, SegmentError, SegmentWriter};
use super::sources::keep_last;
use hashbrown::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Which traces sampling keeps.
pub struct Keep {
    /// Of traces that start before.
    pub before_ns: i64,
    /// So many of the slowest of each root service and operation.
    pub slowest: usize,
    /// Of all, by their ids' hashes: 0 to 1.
    pub share: f64,
    pub kept: Arc<HashSet<TraceId>>,
}

/// How to merge.
pub struct MergeSpec {
    pub granule_rows: usize,
    /// Traces that end before are left out.
    pub min_ns: i64,
    pub keep: Option<Keep>,
    pub level: i32,
}

/// Granules in memory at one time, beside one for each input.
const SPARE_GRANULES: usize = 4;

/// A trace and where it is: granules, and the places among their traces.
struct Parts {
    id: TraceId,
    start_ns: i64,
    at: Vec<(u32, u32)>,
}

/// Granules that were read lately.
struct Loaded<'a> {
    granules: &'a [Arc<Granule>],
    chunks: Vec<(u32, Arc<Chunk>, Vec<u32>)>,
    most: usize,
}

impl Loaded<'_> {
    /// A granule's chunk, and where each of its traces ends.
    fn get(&mut self, granule: u32) -> Result<(Arc<Chunk>, &[u32]), SegmentError> {
        let place = match self.chunks.iter().position(|(own, ..)| *own == granule) {
            Some(place) => place,
            None => {
                if self.chunks.len() >= self.most {
                    self.chunks.remove(0);
                }
                let of = &self.granules[granule as usize];
                let (chunk, ends) = (Arc::new(of.load()?), of.traces()?.ends);
                self.chunks.push((granule, chunk, ends));
                self.chunks.len() - 1
            }
        };
        let (_, chunk, ends) = &self.chunks[place];
        Ok((Arc::clone(chunk), ends))
    }

    fn rows(
        &mut self,
        parts: &Parts,
        chunks: &mut Vec<Arc<Chunk>>,
    ) -> Result<Vec<(u32, u32)>, SegmentError> {
        let mut rows = Vec::new();
        for (granule, trace) in &parts.at {
            let (chunk, ends) = self.get(*granule)?;
            let trace = *trace as usize;
            let (start, end) = (if trace == 0 { 0 } else { ends[trace - 1] }, ends[trace]);
            let known = chunks.iter().rposition(|own| Arc::ptr_eq(own, &chunk));
            let place = known.unwrap_or_else(|| {
                chunks.push(chunk);
                chunks.len() - 1
            });
            rows.extend((start..end).map(|row| (place as u32, row)));
        }
        if parts.at.len() > 1 {
            keep_last(chunks, &mut rows);
            rows.sort_by_key(|(chunk, row)| chunks[*chunk as usize].starts[*row as usize]);
        }
        Ok(rows)
    }
}

/// Merges segments, older ones first, into one at `path`.
///
/// Returns how many spans are kept, and how many sampling has dropped. There is no file where none
/// is kept.
///
/// # Errors
/// An input is damaged, or the disk refuses; no file is left.
pub fn merge(
    segments: &[Arc<Segment>],
    path: &Path,
    spec: &MergeSpec,
) -> Result<(u64, u64), SegmentError> {
    let granules: Vec<Arc<Granule>> =
        segments.iter().flat_map(|segment| segment.granules.iter().cloned()).collect();
    let last_row = granules.iter().map(|g| g.head.last_row).max().unwrap_or(-1);
    let traces = all_traces(&granules)?;
    let mut loaded =
        Loaded { granules: &granules, chunks: Vec::new(), most: segments.len() + SPARE_GRANULES };
    let slow = match &spec.keep {
        Some(keep) => slowest(&traces, &mut loaded, keep)?,
        None => HashSet::new(),
    };
    let mut writer = SegmentWriter::create(path)?;
    let (mut kept, mut dropped) = (0, 0);
    let mut chunks: Vec<Arc<Chunk>> = Vec::new();
    let mut rows: Vec<(u32, u32)> = Vec::new();
    let write = |writer: &mut SegmentWriter<'_>,
                 chunks: &mut Vec<Arc<Chunk>>,
                 rows: &mut Vec<(u32, u32)>| {
        let of: Vec<&Chunk> = chunks.iter().map(|chunk| &**chunk).collect();
        let mut builder = Builder::default();
        builder.gather(&of, rows);
        chunks.clear();
        rows.clear();
        writer.push_rows(&builder, last_row, spec.level)
    };
    for parts in &traces {
        // Chunks hold memory for as long as rows of theirs wait.
        if chunks.len() > 2 * loaded.most {
            write(&mut writer, &mut chunks, &mut rows)?;
        }
        let mut own = loaded.rows(parts, &mut chunks)?;
        let is_over =
            own.iter().all(|(chunk, row)| chunks[*chunk as usize].end(*row as usize) < spec.min_ns);
        if is_over {
            continue;
        }
        let sampled = spec.keep.as_ref().filter(|keep| parts.start_ns < keep.before_ns);
        if let Some(keep) = sampled
            && !slow.contains(&parts.id)
            && !is_kept(&parts.id, &own, &chunks, keep)
        {
            dropped += own.len() as u64;
            continue;
        }
        kept += own.len() as u64;
        while !own.is_empty() {
            let rest = own.split_off(own.len().min(spec.granule_rows * MAX_TRACE_ROWS));
            if !rows.is_empty() && rows.len() + own.len() > spec.granule_rows {
                // What is behind waits with the chunks it is in.
                let still = chunks.clone();
                write(&mut writer, &mut chunks, &mut rows)?;
                chunks = still;
            }
            rows.append(&mut own);
            own = rest;
        }
        if rows.len() >= spec.granule_rows {
            write(&mut writer, &mut chunks, &mut rows)?;
        }
    }
    write(&mut writer, &mut chunks, &mut rows)?;
    if kept > 0 {
        writer.finish()?;
    }
    Ok((kept, dropped))
}

/// Every trace with all that there is of it, by start.
fn all_traces(granules: &[Arc<Granule>]) -> Result<Vec<Parts>, SegmentError> {
    let mut places: HashMap<TraceId, usize> = HashMap::new();
    let mut all: Vec<Parts> = Vec::new();
    for (granule, number) in granules.iter().zip(0..) {
        let traces = granule.traces()?;
        for ((id, start_ns), trace) in traces.ids.iter().zip(traces.starts).zip(0..) {
            let place = *places.entry(*id).or_insert_with(|| {
                all.push(Parts { id: *id, start_ns, at: Vec::with_capacity(1) });
                all.len() - 1
            });
            all[place].start_ns = all[place].start_ns.min(start_ns);
            all[place].at.push((number, trace));
        }
    }
    all.sort_unstable_by_key(|parts| (parts.start_ns, parts.id));
    Ok(all)
}

/// A service and a name.
type Operation = (Vec<u8>, Vec<u8>);

/// The slowest traces of each root service and operation, of those that are sampled.
fn slowest(
    traces: &[Parts],
    loaded: &mut Loaded<'_>,
    keep: &Keep,
) -> Result<HashSet<TraceId>, SegmentError> {
    let mut slow: HashMap<Operation, Vec<(i64, TraceId)>> = HashMap::new();
    if keep.slowest == 0 {
        return Ok(HashSet::new());
    }
    for parts in traces.iter().filter(|parts| parts.start_ns < keep.before_ns) {
        let mut chunks = Vec::new();
        let rows = loaded.rows(parts, &mut chunks)?;
        let of = |(chunk, row): (u32, u32)| (&*chunks[chunk as usize], row as usize);
        let is_root = |at: &&(u32, u32)| {
            let (chunk, row) = of(**at);
            chunk.parent_ids[row] == NO_SPAN
        };
        let Some(root) = rows.iter().find(is_root).or_else(|| rows.first()) else { continue };
        let (chunk, row) = of(*root);
        let operation = (
            service_of(chunk.bytes(Part::Resource, row)).to_vec(),
            chunk.bytes(Part::Name, row).to_vec(),
        );
        let end = rows.iter().map(|at| of(*at)).map(|(chunk, row)| chunk.end(row)).max();
        let duration = end.unwrap_or(parts.start_ns).saturating_sub(parts.start_ns);
        let own = slow.entry(operation).or_default();
        own.push((duration, parts.id));
        if own.len() >= 2 * keep.slowest + 16 {
            own.sort_unstable_by_key(|(duration, id)| (std::cmp::Reverse(*duration), *id));
            own.truncate(keep.slowest);
        }
    }
    let mut all = HashSet::new();
    for mut own in slow.into_values() {
        own.sort_unstable_by_key(|(duration, id)| (std::cmp::Reverse(*duration), *id));
        all.extend(own.into_iter().take(keep.slowest).map(|(_, id)| id));
    }
    Ok(all)
}

fn is_kept(id: &TraceId, rows: &[(u32, u32)], chunks: &[Arc<Chunk>], keep: &Keep) -> bool {
    // The same of every trace, in every merge.
    let place = hash_id(id) as f64 / 2_f64.powi(64);
    let is_error = |(chunk, row): &(u32, u32)| {
        chunks[*chunk as usize].number(Part::Status, *row as usize) == ERROR
    };
    place < keep.share || keep.kept.contains(id) || rows.iter().any(is_error)
}

/// Writes a segment again without some traces.
///
/// Returns how many spans these have there; there is no file where that is none, or all.
///
/// # Errors
/// The segment is damaged, or the disk refuses; no file is left.
pub fn erase(
    segment: &Segment,
    gone: &HashSet<TraceId>,
    path: &Path,
    level: i32,
) -> Result<u64, SegmentError> {
    if !gone.iter().any(|id| segment.may_have(id)) {
        return Ok(0);
    }
    let mut writer = SegmentWriter::create(path)?;
    let mut erased = 0;
    for granule in &segment.granules {
        let chunk = granule.load()?;
        let kept: Vec<(u32, u32)> = (0..)
            .zip(chunk.trace_ids.iter())
            .filter(|(_, id)| !gone.contains(*id))
            .map(|(row, _)| (0, row))
            .collect();
        erased += (chunk.rows() - kept.len()) as u64;
        let mut builder = Builder::default();
        builder.gather(&[&chunk], &kept);
        writer.push_rows(&builder, granule.head.last_row, level)?;
    }
    if erased > 0 && writer.granules > 0 {
        writer.finish()?;
    }
    Ok(erased)
}
