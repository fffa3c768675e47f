//! What a search reads: memtables and segments, as units of some thousand rows, and whole traces.

use super::builder::{Builder, Part};
use super::chunk::{Chunk, Many};
use super::granule::{Corrupt, Granule, Traces, row_ids};
use super::memtable::{Live, Memtable};
use super::otlp::{SpanId, TraceId};
use super::segment::Segment;
use crate::columns::bits::Bits;
use crate::columns::stored::Stored;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// A memtable or a segment.
#[derive(Clone)]
pub enum Source {
    Memtable(Arc<Memtable>),
    Segment(Arc<Segment>),
}

impl Source {
    /// Whether it has a trace, or seldom seems to.
    #[must_use]
    pub fn may_have(&self, id: &TraceId) -> bool {
        match self {
            Self::Memtable(memtable) => memtable.entry(id).is_some(),
            Self::Segment(segment) => segment.may_have(id),
        }
    }
}

/// Some thousand rows.
#[derive(Clone)]
pub enum Unit {
    Memory(Live),
    Stored(Arc<Granule>),
}

/// A unit with the columns that have been asked for, for one search.
pub struct View {
    pub unit: Unit,
    traces: OnceLock<Traces>,
    starts: OnceLock<Arc<Vec<i64>>>,
    durations: OnceLock<Arc<Vec<i64>>>,
    events: OnceLock<Many>,
    links: OnceLock<(Many, Arc<Vec<[u8; 24]>>)>,
    trace_ids: OnceLock<Arc<Vec<TraceId>>>,
    span_ids: OnceLock<Arc<Vec<SpanId>>>,
}

fn once<T>(cell: &OnceLock<T>, read: impl FnOnce() -> Result<T, Corrupt>) -> Result<&T, Corrupt> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = read()?;
    Ok(cell.get_or_init(|| value))
}

impl View {
    #[must_use]
    pub fn new(unit: Unit) -> Self {
        Self {
            unit,
            traces: OnceLock::new(),
            starts: OnceLock::new(),
            durations: OnceLock::new(),
            events: OnceLock::new(),
            links: OnceLock::new(),
            trace_ids: OnceLock::new(),
            span_ids: OnceLock::new(),
        }
    }

    /// Of rows that are only in memory.
    #[must_use]
    pub fn of_chunk(chunk: Arc<Chunk>) -> Self {
        Self::new(Unit::Memory(Live { chunk, replaced: None }))
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.unit {
            Unit::Memory(live) => live.chunk.rows(),
            Unit::Stored(granule) => granule.head.rows,
        }
    }

    /// The rows that later ones replace.
    #[must_use]
    pub fn replaced(&self) -> Option<&Bits> {
        match &self.unit {
            Unit::Memory(live) => live.replaced.as_deref(),
            Unit::Stored(_) => None,
        }
    }

    /// # Errors
    /// A column is damaged; so in what follows.
    pub fn column(&self, part: Part) -> Result<Arc<Stored>, Corrupt> {
        match &self.unit {
            Unit::Memory(live) => Ok(Arc::clone(&live.chunk.columns[part as usize])),
            Unit::Stored(granule) => granule.column(part),
        }
    }

    pub fn attribute(&self, key: &str) -> Result<Option<Arc<Stored>>, Corrupt> {
        match &self.unit {
            Unit::Memory(live) => {
                let found = live.chunk.attributes.iter().find(|a| a.key == key);
                Ok(found.map(|a| Arc::clone(&a.column)))
            }
            Unit::Stored(granule) => granule.attribute(key),
        }
    }

    /// The keys of its attributes' columns.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match &self.unit {
            Unit::Memory(live) => live.chunk.attributes.iter().map(|a| a.key.clone()).collect(),
            Unit::Stored(granule) => granule.keys().map(str::to_owned).collect(),
        }
    }

    /// The traces of a granule; of a chunk there are none here.
    pub fn traces(&self) -> Result<Option<&Traces>, Corrupt> {
        match &self.unit {
            Unit::Memory(_) => Ok(None),
            Unit::Stored(granule) => once(&self.traces, || granule.traces()).map(Some),
        }
    }

    pub fn starts(&self) -> Result<&[i64], Corrupt> {
        let granule = match &self.unit {
            Unit::Memory(live) => return Ok(&live.chunk.starts),
            Unit::Stored(granule) => granule,
        };
        let traces = once(&self.traces, || granule.traces())?;
        Ok(once(&self.starts, || granule.starts(traces).map(Arc::new))?)
    }

    pub fn durations(&self) -> Result<&[i64], Corrupt> {
        match &self.unit {
            Unit::Memory(live) => Ok(&live.chunk.durations),
            Unit::Stored(granule) => {
                Ok(once(&self.durations, || granule.durations().map(Arc::new))?)
            }
        }
    }

    /// The trace of each row.
    pub fn trace_ids(&self) -> Result<&[TraceId], Corrupt> {
        let granule = match &self.unit {
            Unit::Memory(live) => return Ok(&live.chunk.trace_ids),
            Unit::Stored(granule) => granule,
        };
        let traces = once(&self.traces, || granule.traces())?;
        let ids = || Ok(Arc::new(row_ids(traces, granule.head.rows)));
        Ok(once(&self.trace_ids, ids)?)
    }

    pub fn span_ids(&self) -> Result<Arc<Vec<SpanId>>, Corrupt> {
        match &self.unit {
            Unit::Memory(live) => Ok(Arc::clone(&live.chunk.span_ids)),
            Unit::Stored(granule) => {
                once(&self.span_ids, || granule.span_ids().map(Arc::new)).map(Arc::clone)
            }
        }
    }

    pub fn parent_ids(&self) -> Result<Arc<Vec<SpanId>>, Corrupt> {
        match &self.unit {
            Unit::Memory(live) => Ok(Arc::clone(&live.chunk.parent_ids)),
            Unit::Stored(granule) => {
                let traces = once(&self.traces, || granule.traces())?;
                granule.parent_ids(traces, &self.span_ids()?).map(Arc::new)
            }
        }
    }

    pub fn events(&self) -> Result<&Many, Corrupt> {
        match &self.unit {
            Unit::Memory(live) => Ok(&live.chunk.events),
            Unit::Stored(granule) => once(&self.events, || granule.events()),
        }
    }

    pub fn links(&self) -> Result<(&Many, &[[u8; 24]]), Corrupt> {
        match &self.unit {
            Unit::Memory(live) => Ok((&live.chunk.links, &live.chunk.link_ids)),
            Unit::Stored(granule) => {
                let read = || granule.links().map(|(many, ids)| (many, Arc::new(ids)));
                let (many, ids) = once(&self.links, read)?;
                Ok((many, ids))
            }
        }
    }

    /// The least and the greatest start.
    #[must_use]
    pub fn range(&self) -> (i64, i64) {
        match &self.unit {
            Unit::Memory(live) => {
                let starts = live.chunk.starts.iter().copied();
                (starts.clone().min().unwrap_or(0), starts.max().unwrap_or(0))
            }
            Unit::Stored(granule) => (granule.head.min_ns, granule.head.max_ns),
        }
    }

    /// The rows of a trace.
    pub fn rows_of(&self, id: &TraceId) -> Result<Vec<usize>, Corrupt> {
        match self.traces()? {
            Some(traces) => {
                let found = traces.ids.iter().position(|own| own == id);
                Ok(found.map_or_else(Vec::new, |trace| traces.rows(trace).collect()))
            }
            None => {
                let ids = self.trace_ids()?;
                let live = |row: &usize| !self.replaced().is_some_and(|bits| bits.has(*row));
                Ok((0..ids.len()).filter(|row| ids[*row] == *id).filter(live).collect())
            }
        }
    }
}

/// Granules that are kept whole while traces are read.
const MAX_LOADED: usize = 24;

/// All that a search reads, older sources first.
pub struct Sources {
    pub all: Vec<Source>,
    loaded: Mutex<HashMap<usize, Arc<Chunk>>>,
    views: Mutex<HashMap<usize, Arc<View>>>,
    shared: OnceLock<HashSet<usize>>,
}

/// Rows of a trace, and whether they came from more than one place.
pub struct Whole {
    /// In the order of their starts; of the same span the last one alone.
    pub chunk: Arc<Chunk>,
    pub is_joined: bool,
}

impl Sources {
    #[must_use]
    pub fn new(all: Vec<Source>) -> Self {
        Self { all, loaded: Mutex::default(), views: Mutex::default(), shared: OnceLock::new() }
    }

    /// The addresses of granules with traces that are in other granules, too.
    #[must_use]
    pub fn shared_granules(&self) -> &HashSet<usize> {
        self.shared.get_or_init(|| super::split::shared_granules(self))
    }

    /// Everything as units, each with its source's place.
    #[must_use]
    pub fn units(&self) -> Vec<(usize, Unit)> {
        let mut units = Vec::new();
        for (place, source) in self.all.iter().enumerate() {
            match source {
                Source::Memtable(memtable) => {
                    let live = memtable.live().into_iter();
                    units.extend(live.map(|live| (place, Unit::Memory(live))));
                }
                Source::Segment(segment) => {
                    let granules = segment.granules.iter().cloned();
                    units.extend(granules.map(|granule| (place, Unit::Stored(granule))));
                }
            }
        }
        units
    }

    /// The units that may have some traces.
    #[must_use]
    pub fn units_of(&self, ids: &HashSet<TraceId>) -> Vec<(usize, Unit)> {
        let mut units = self.units();
        let mut having: HashSet<usize> = HashSet::new();
        for source in &self.all {
            if let Source::Segment(segment) = source {
                let found = ids.iter().flat_map(|id| segment.find(id));
                having.extend(found.map(|granule| Arc::as_ptr(granule) as usize));
            }
        }
        units.retain(|(_, unit)| match unit {
            Unit::Memory(_) => true,
            Unit::Stored(granule) => having.contains(&(Arc::as_ptr(granule) as usize)),
        });
        units
    }

    /// Takes out rows of a source's unit that sources behind it replace.
    ///
    /// # Errors
    /// A granule is damaged.
    pub fn drop_replaced(&self, place: usize, view: &View, bits: &mut Bits) -> Result<(), Corrupt> {
        let is_shared = match &view.unit {
            Unit::Memory(_) => true,
            Unit::Stored(granule) => {
                self.shared_granules().contains(&(Arc::as_ptr(granule) as usize))
            }
        };
        let may_have = |source: &&Source| is_shared || matches!(source, Source::Memtable(_));
        let later: Vec<&Source> = self.all[place + 1..].iter().filter(may_have).collect();
        if later.is_empty() || bits.is_empty() {
            return Ok(());
        }
        let ids = view.trace_ids()?;
        let mut known: HashMap<TraceId, Option<HashSet<(SpanId, u8)>>> = HashMap::new();
        let (mut last, mut is_there) = (None, false);
        let mut gone = Vec::new();
        for row in bits.iter() {
            let id = ids[row];
            if last != Some(id) {
                last = Some(id);
                is_there = match known.get(&id) {
                    Some(spans) => spans.is_some(),
                    None => {
                        let may_have = later.iter().any(|source| source.may_have(&id));
                        let spans = if may_have { Some(self.spans_of(&later, &id)?) } else { None };
                        known.insert(id, spans);
                        may_have
                    }
                };
            }
            if !is_there {
                continue;
            }
            let kinds = view.column(Part::Kind)?;
            let kind = kinds.id(row).and_then(|id| kinds.values().bytes(id).first().copied());
            let key = (view.span_ids()?[row], kind.unwrap_or(0));
            if known.get(&id).is_some_and(|s| s.as_ref().is_some_and(|s| s.contains(&key))) {
                gone.push(row);
            }
        }
        if !gone.is_empty() {
            let mut kept = Bits::none(view.rows());
            gone.into_iter().for_each(|row| kept.set(row));
            kept.negate();
            bits.and(&kept);
        }
        Ok(())
    }

    /// Span ids and kinds of a trace in some sources.
    fn spans_of(
        &self,
        sources: &[&Source],
        id: &TraceId,
    ) -> Result<HashSet<(SpanId, u8)>, Corrupt> {
        let mut found = HashSet::new();
        let mut add = |chunk: &Chunk, row: usize| {
            found.insert((chunk.span_ids[row], chunk.number(Part::Kind, row)));
        };
        for source in sources {
            match source {
                Source::Memtable(memtable) => {
                    memtable.trace(id).iter().for_each(|(chunk, row)| add(chunk, *row as usize));
                }
                Source::Segment(segment) => {
                    for granule in segment.find(id) {
                        let rows = self.view(granule).rows_of(id)?;
                        if !rows.is_empty() {
                            let chunk = self.load(granule)?;
                            rows.into_iter().for_each(|row| add(&chunk, row));
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    fn load(&self, granule: &Arc<Granule>) -> Result<Arc<Chunk>, Corrupt> {
        let key = Arc::as_ptr(granule) as usize;
        if let Some(chunk) = self.loaded.lock().get(&key) {
            return Ok(Arc::clone(chunk));
        }
        let chunk = Arc::new(granule.load()?);
        let mut loaded = self.loaded.lock();
        if loaded.len() >= MAX_LOADED {
            loaded.clear();
        }
        loaded.insert(key, Arc::clone(&chunk));
        Ok(chunk)
    }

    /// A granule with what is known of its traces.
    fn view(&self, granule: &Arc<Granule>) -> Arc<View> {
        let mut views = self.views.lock();
        if views.len() >= 8 * MAX_LOADED {
            views.clear();
        }
        let new = || Arc::new(View::new(Unit::Stored(Arc::clone(granule))));
        Arc::clone(views.entry(Arc::as_ptr(granule) as usize).or_insert_with(new))
    }

    /// In how many places a trace is, or seldom seems to be.
    #[must_use]
    pub fn places(&self, id: &TraceId) -> usize {
        let of = |source: &Source| match source {
            Source::Memtable(memtable) => usize::from(memtable.entry(id).is_some()),
            Source::Segment(segment) => segment.find(id).count(),
        };
        self.all.iter().map(of).sum()
    }

    /// A trace; `None` where it is not known.
    ///
    /// # Errors
    /// A granule of it is damaged.
    pub fn whole(&self, id: &TraceId) -> Result<Option<Whole>, Corrupt> {
        let mut chunks: Vec<Arc<Chunk>> = Vec::new();
        let mut rows: Vec<(u32, u32)> = Vec::new();
        let mut places = 0;
        for source in &self.all {
            match source {
                Source::Memtable(memtable) => {
                    let found = memtable.trace(id);
                    places += usize::from(!found.is_empty());
                    for (chunk, row) in found {
                        rows.push((place_of(&mut chunks, &chunk), row));
                    }
                }
                Source::Segment(segment) => {
                    for granule in segment.find(id) {
                        let found = self.view(granule).rows_of(id)?;
                        if found.is_empty() {
                            continue;
                        }
                        places += 1;
                        let place = place_of(&mut chunks, &self.load(granule)?);
                        rows.extend(found.into_iter().map(|row| (place, row as u32)));
                    }
                }
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        if places > 1 {
            keep_last(&chunks, &mut rows);
        }
        rows.sort_by_key(|(chunk, row)| chunks[*chunk as usize].starts[*row as usize]);
        Ok(Some(Whole { chunk: Arc::new(gathered(&chunks, &rows)), is_joined: places > 1 }))
    }
}

/// The place of a chunk among others, at the end of which it is put where it is not there.
pub fn place_of(chunks: &mut Vec<Arc<Chunk>>, chunk: &Arc<Chunk>) -> u32 {
    let known = chunks.iter().rposition(|own| Arc::ptr_eq(own, chunk));
    known.unwrap_or_else(|| {
        chunks.push(Arc::clone(chunk));
        chunks.len() - 1
    }) as u32
}

/// Rows of chunks as one.
#[must_use]
pub fn gathered(chunks: &[Arc<Chunk>], rows: &[(u32, u32)]) -> Chunk {
    let chunks: Vec<&Chunk> = chunks.iter().map(|chunk| &**chunk).collect();
    let mut builder = Builder::default();
    builder.gather(&chunks, rows);
    Chunk::of(&builder)
}

/// Of rows with the same span id and kind keeps the last one.
pub fn keep_last(chunks: &[Arc<Chunk>], rows: &mut Vec<(u32, u32)>) {
    let mut last: HashMap<(SpanId, u8), (u32, u32)> = HashMap::with_capacity(rows.len());
    let key = |(chunk, row): (u32, u32)| {
        let chunk = &chunks[chunk as usize];
        (chunk.span_ids[row as usize], chunk.number(Part::Kind, row as usize))
    };
    for at in rows.iter() {
        last.insert(key(*at), *at);
    }
    if last.len() < rows.len() {
        rows.retain(|at| last.get(&key(*at)) == Some(at));
    }
}
