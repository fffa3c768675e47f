//! Which traces are in more than one place, so that what one place has is not all of a trace.

use super::index::hash_id;
use super::otlp::TraceId;
use super::segment::Segment;
use super::sources::{Source, Sources, Unit};
use hashbrown::HashSet;
use parking_lot::Mutex;
use std::sync::Arc;

/// Sets of segments whose split traces are kept: of as many projects that are searched in turn.
const KEPT: usize = 8;

/// Traces that segments share, by what their indexes know of hashes: some that they do not share
/// look so, too.
#[derive(Default)]
struct Shared {
    known_bits: u32,
    hashes: HashSet<u64>,
    /// Segments' numbers and their granules.
    granules: HashSet<(u64, usize)>,
}

type Known = Vec<(Vec<u64>, Arc<Shared>)>;

static KNOWN: Mutex<Known> = Mutex::new(Vec::new());

/// Traces of some sources that may be in more than one place.
pub struct Split {
    shared: Arc<Shared>,
    /// Of memtables, those that segments may have, too.
    in_memory: HashSet<TraceId>,
    /// Addresses of granules that have some of them.
    granules: HashSet<usize>,
}

impl Split {
    /// Looks at all traces of memtables and at the indexes of all segments.
    #[must_use]
    pub fn of(sources: &Sources) -> Self {
        let segments = segments_of(sources);
        let shared = shared(&segments);
        let mut granules = sources.shared_granules().clone();
        let mut in_memory = HashSet::new();
        for source in &sources.all {
            let Source::Memtable(memtable) = source else { continue };
            for id in memtable.trace_ids() {
                for granule in segments.iter().flat_map(|segment| segment.find(&id)) {
                    granules.insert(Arc::as_ptr(granule) as usize);
                    in_memory.insert(id);
                }
            }
        }
        Self { shared, in_memory, granules }
    }

    /// False only when a trace is in one place, or in memtables alone.
    #[must_use]
    pub fn has(&self, id: &TraceId) -> bool {
        let hash = hash_id(id);
        self.shared.hashes.contains(&cut(hash, self.shared.known_bits))
            || self.in_memory.contains(id)
    }

    /// False only when all traces of a unit are whole.
    #[must_use]
    pub fn is_in(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Memory(_) => true,
            Unit::Stored(granule) => self.granules.contains(&(Arc::as_ptr(granule) as usize)),
        }
    }
}

fn segments_of(sources: &Sources) -> Vec<&Arc<Segment>> {
    fn segment(source: &Source) -> Option<&Arc<Segment>> {
        match source {
            Source::Segment(segment) => Some(segment),
            Source::Memtable(_) => None,
        }
    }
    sources.all.iter().filter_map(segment).collect()
}

/// The addresses of granules that have traces of which other granules seem to have some spans.
#[must_use]
pub fn shared_granules(sources: &Sources) -> HashSet<usize> {
    let segments = segments_of(sources);
    let shared = shared(&segments);
    let mut granules = HashSet::new();
    for segment in segments {
        for (place, granule) in segment.granules.iter().enumerate() {
            if shared.granules.contains(&(segment.number, place)) {
                granules.insert(Arc::as_ptr(granule) as usize);
            }
        }
    }
    granules
}

fn cut(hash: u64, bits: u32) -> u64 {
    if bits == 0 { 0 } else { hash & u64::MAX << (64 - bits.min(64)) }
}

fn shared(segments: &[&Arc<Segment>]) -> Arc<Shared> {
    let mut numbers: Vec<u64> = segments.iter().map(|segment| segment.number).collect();
    numbers.sort_unstable();
    if let Some((_, found)) = KNOWN.lock().iter().find(|(own, _)| *own == numbers) {
        return Arc::clone(found);
    }
    let found = Arc::new(find_shared(segments));
    let mut known = KNOWN.lock();
    if known.len() >= KEPT {
        known.remove(0);
    }
    known.push((numbers, Arc::clone(&found)));
    found
}

fn find_shared(segments: &[&Arc<Segment>]) -> Shared {
    let known_bits = segments.iter().map(|segment| segment.hashes().0).min().unwrap_or(0);
    let mut all: Vec<(u64, u64, usize)> = Vec::new();
    for segment in segments {
        let hashes = segment.hashes().1;
        all.extend(hashes.map(|(hash, at)| (cut(hash, known_bits), segment.number, at)));
    }
    // The hashes of each segment are in order already.
    all.sort_by_key(|(hash, ..)| *hash);
    let mut shared = Shared { known_bits, ..Shared::default() };
    for same in all.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
        // In one place twice is a trace of another hash, but for the bits that are not known.
        let first = (same[0].1, same[0].2);
        if same.iter().any(|(_, segment, at)| (*segment, *at) != first) {
            shared.hashes.insert(same[0].0);
            shared.granules.extend(same.iter().map(|(_, segment, at)| (*segment, *at)));
        }
    }
    shared
}
