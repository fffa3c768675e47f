//! Searches: the first traces in an order, spans by time, and columns of what matches.

use super::builder::Part;
use super::chunk::{Chunk, service_of};
use super::eval::{matching, may_match};
use super::granule::Corrupt;
use super::otlp::{ERROR, NO_SPAN, TraceId};
use super::predicate::Predicate;
use super::sources::{Source, Sources, Unit, View, gathered, place_of};
use super::split::Split;
use crate::columns::bits::Bits;
use hashbrown::{HashMap, HashSet};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Units that are looked at between two checks of the budget.
const WAVE: usize = 16;

/// Traces that indexes are asked for, rather than every granule.
const MAX_LOOKED_UP: usize = 4096;

/// Values of one field that are counted at a time, and what they may take.
pub const MAX_VALUES: usize = 1 << 18;
pub const MAX_VALUES_BYTES: usize = 64 << 20;

/// Why a search has no answer.
#[derive(Debug)]
pub enum SearchError<E> {
    Corrupt(Corrupt),
    Stopped(E),
}

impl<E> From<Corrupt> for SearchError<E> {
    fn from(error: Corrupt) -> Self {
        Self::Corrupt(error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Newest,
    Slowest,
    MostSpans,
}

/// Spans that match and start in a range.
pub struct Query {
    pub predicate: Predicate,
    pub start_ns: i64,
    pub end_ns: i64,
}

/// Which traces, and how many.
pub struct TracePage {
    pub order: Order,
    pub min_duration_ns: i64,
    pub max_duration_ns: i64,
    pub limit: usize,
    /// Behind this place.
    pub after: Option<(i64, TraceId)>,
}

/// A trace as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub id: TraceId,
    pub root_service: String,
    pub root_name: String,
    pub start_ns: i64,
    pub duration_ns: i64,
    pub spans: usize,
    pub errors: usize,
    /// Spans and errors of each service.
    pub services: BTreeMap<String, (usize, usize)>,
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a list shows of a whole trace.
#[must_use]
pub fn summarize(trace: &Chunk) -> Summary {
    let rows = trace.rows();
    let start_ns = trace.starts.first().copied().unwrap_or(0);
    let end_ns = (0..rows).map(|row| trace.end(row)).max().unwrap_or(start_ns);
    let root = (0..rows).find(|row| trace.parent_ids[*row] == NO_SPAN).unwrap_or(0);
    let resources = &trace.columns[Part::Resource as usize];
    let names: Vec<String> = (0..resources.values().len())
        .map(|id| lossy(service_of(resources.values().bytes(id))))
        .collect();
    let service = |row: usize| resources.id(row).map_or("", |id| names[id].as_str());
    let mut services: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut errors = 0;
    for row in 0..rows {
        let is_error = usize::from(trace.number(Part::Status, row) == ERROR);
        errors += is_error;
        match services.get_mut(service(row)) {
            Some(own) => *own = (own.0 + 1, own.1 + is_error),
            None => {
                services.insert(service(row).to_owned(), (1, is_error));
            }
        }
    }
    Summary {
        id: trace.trace_ids.first().copied().unwrap_or_default(),
        root_service: service(root).to_owned(),
        root_name: lossy(trace.bytes(Part::Name, root)),
        start_ns,
        duration_ns: end_ns.saturating_sub(start_ns),
        spans: rows,
        errors,
        services,
    }
}

/// A trace that has a span that matches.
struct Candidate {
    id: TraceId,
    /// Of what the unit has of it.
    start_ns: i64,
    end_ns: i64,
    spans: usize,
    /// The last start of what matches: where earlier rows are replaced, the trace starts by then.
    latest_ns: i64,
    /// There may be more of it beside the unit.
    is_part: bool,
}

/// A trace's place among others: the greatest key first, then by id.
type Place = (std::cmp::Reverse<i64>, TraceId);

impl Query {
    fn range(&self) -> (i64, i64) {
        (self.start_ns, self.end_ns)
    }

    /// The units that may have a match.
    #[must_use]
    pub fn units(&self, sources: &Sources) -> Vec<(usize, Unit)> {
        let few = self.predicate.traces().filter(|ids| ids.len() <= MAX_LOOKED_UP);
        let mut units = few.map_or_else(|| sources.units(), |ids| sources.units_of(ids));
        units.retain(|(_, unit)| {
            let (low, high) = View::new(unit.clone()).range();
            high >= self.start_ns && low < self.end_ns && may_match(&self.predicate, unit)
        });
        units
    }

    /// The rows of a unit that match and that nothing replaces.
    ///
    /// # Errors
    /// A column is damaged.
    pub fn live(&self, sources: &Sources, place: usize, view: &View) -> Result<Bits, Corrupt> {
        let mut bits = matching(&self.predicate, view, self.range())?;
        sources.drop_replaced(place, view, &mut bits)?;
        Ok(bits)
    }

    /// Works at units, some at a time; `take` gets the results in sequence, until it says false.
    fn each<T: Send, E>(
        &self,
        units: &[(usize, Unit)],
        rows: impl Fn(usize, &View) -> Result<Bits, Corrupt> + Sync,
        mut check: impl FnMut() -> Result<(), E>,
        work: impl Fn(&View, &Bits) -> Result<T, Corrupt> + Sync,
        mut take: impl FnMut(usize, T) -> Result<bool, SearchError<E>>,
    ) -> Result<(), SearchError<E>> {
        let mut first = 0;
        // The first ones are often enough.
        let mut wave = 2;
        while first < units.len() {
            check().map_err(SearchError::Stopped)?;
            let some = &units[first..units.len().min(first + wave)];
            let found: Vec<Option<T>> = some
                .par_iter()
                .map(|(place, unit)| {
                    let view = View::new(unit.clone());
                    let bits = rows(*place, &view)?;
                    if bits.is_empty() { Ok(None) } else { work(&view, &bits).map(Some) }
                })
                .collect::<Result<_, Corrupt>>()?;
            for (at, found) in found.into_iter().enumerate() {
                if let Some(found) = found
                    && !take(first + at, found)?
                {
                    return Ok(());
                }
            }
            first += some.len();
            wave = WAVE;
        }
        Ok(())
    }

    /// The first traces of a page with their keys.
    ///
    /// # Errors
    /// Damage, or `check` says so.
    pub fn traces<E>(
        &self,
        sources: &Sources,
        page: &TracePage,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<(i64, Summary)>, SearchError<E>> {
        // Where durations and counts decide, those of parts do not tell.
        let is_newest = page.order == Order::Newest;
        let counts = !is_newest || page.min_duration_ns > 0;
        let split = counts.then(|| Split::of(sources));
        let bound = |unit: &Unit| match &split {
            Some(split) if !is_newest && split.is_in(unit) => i64::MAX,
            _ => bound(unit, page.order),
        };
        let lasts = |unit: &Unit| match (&split, unit) {
            (Some(split), Unit::Stored(granule)) => {
                granule.head.max_trace_duration_ns >= page.min_duration_ns || split.is_in(unit)
            }
            _ => true,
        };
        let mut units = self.units(sources);
        units.retain(|(_, unit)| lasts(unit));
        units.sort_by_cached_key(|(_, unit)| std::cmp::Reverse(bound(unit)));
        let bounds: Vec<i64> = units.iter().map(|(_, unit)| bound(unit)).collect();
        let mut best: BTreeMap<Place, Summary> = BTreeMap::new();
        let mut seen: HashSet<TraceId> = HashSet::new();
        let after = page.after.map(|(key, id)| (std::cmp::Reverse(key), id));
        // The least key that still gets in.
        let least = |best: &BTreeMap<Place, Summary>| {
            let full = best.len() >= page.limit;
            best.last_key_value().filter(|_| full).map_or(i64::MIN, |(place, _)| place.0.0)
        };
        // What is replaced shows when a trace is whole.
        let rows = |_: usize, view: &View| matching(&self.predicate, view, self.range());
        self.each(&units, rows, check, candidates, |at, mut found| {
            if bounds[at] < least(&best) {
                return Ok(false);
            }
            let most = |c: &Candidate| if is_newest { c.latest_ns } else { c.key(page.order) };
            found.sort_by_key(|candidate| std::cmp::Reverse(most(candidate)));
            for candidate in found {
                if is_newest && candidate.latest_ns < least(&best) {
                    break;
                }
                if seen.contains(&candidate.id)
                    || !self.may_be_in(&candidate, sources, split.as_ref(), page, least(&best))
                {
                    continue;
                }
                if !seen.insert(candidate.id) {
                    continue;
                }
                let Some(whole) = sources.whole(&candidate.id)? else { continue };
                let summary = summarize(&whole.chunk);
                let key = page.order.key(&summary);
                let place = (std::cmp::Reverse(key), candidate.id);
                let lasts =
                    (page.min_duration_ns..=page.max_duration_ns).contains(&summary.duration_ns);
                if !lasts || after.is_some_and(|after| place <= after) {
                    continue;
                }
                if whole.is_joined {
                    // What matched may have been replaced.
                    let view = View::of_chunk(Arc::clone(&whole.chunk));
                    if matching(&self.predicate, &view, self.range())?.is_empty() {
                        continue;
                    }
                }
                best.insert(place, summary);
                if best.len() > page.limit {
                    best.pop_last();
                }
            }
            Ok(true)
        })?;
        Ok(best.into_iter().map(|(place, summary)| (place.0.0, summary)).collect())
    }

    /// Whether a trace may be on a page, behind its first places.
    fn may_be_in(
        &self,
        candidate: &Candidate,
        sources: &Sources,
        split: Option<&Split>,
        page: &TracePage,
        least: i64,
    ) -> bool {
        match split {
            None if candidate.is_part || sources.places(&candidate.id) > 1 => true,
            Some(split) if split.has(&candidate.id) => true,
            Some(_) if candidate.is_part => {
                // As much as it can be, where later spans replace some of these.
                let whole = candidate.in_memory(sources);
                let duration = whole.end_ns.saturating_sub(whole.start_ns);
                let is_least = page.order == Order::Newest || whole.key(page.order) >= least;
                is_least && duration >= page.min_duration_ns
            }
            _ => candidate.may_be_in(page, candidate.key(page.order), least),
        }
    }

    /// The ids of traces with a span that matches, of at most so many.
    ///
    /// # Errors
    /// As `traces`.
    pub fn trace_ids<E>(
        &self,
        sources: &Sources,
        limit: usize,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<TraceId>, SearchError<E>> {
        let mut found: HashSet<TraceId> = HashSet::new();
        let units = self.units(sources);
        let rows = |place: usize, view: &View| self.live(sources, place, view);
        self.each(&units, rows, check, candidates, |_, candidates| {
            found.extend(candidates.iter().map(|candidate| candidate.id));
            Ok(found.len() < limit)
        })?;
        let mut found: Vec<TraceId> = found.into_iter().collect();
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }

    /// The newest spans that match, at most so many, the newest first.
    ///
    /// # Errors
    /// As `traces`.
    pub fn spans<E>(
        &self,
        sources: &Sources,
        limit: usize,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<Chunk, SearchError<E>> {
        let high = |unit: &Unit| View::new(unit.clone()).range().1;
        let mut units = self.units(sources);
        units.sort_by_cached_key(|(_, unit)| std::cmp::Reverse(high(unit)));
        let highs: Vec<i64> = units.iter().map(|(_, unit)| high(unit)).collect();
        let rows = |place: usize, view: &View| self.live(sources, place, view);
        // Starts of the best ones, with trace and span ids and kind.
        let mut best: BTreeMap<(std::cmp::Reverse<i64>, TraceId, [u8; 8], u8), ()> =
            BTreeMap::new();
        let work = |view: &View, bits: &Bits| {
            let (starts, ids, spans) = (view.starts()?, view.trace_ids()?, view.span_ids()?);
            let kinds = view.column(Part::Kind)?;
            let kind = |row: usize| {
                let id = kinds.id(row);
                id.and_then(|id| kinds.values().bytes(id).first().copied()).unwrap_or(0)
            };
            let mut found: Vec<_> = bits
                .iter()
                .map(|row| (std::cmp::Reverse(starts[row]), ids[row], spans[row], kind(row)))
                .collect();
            found.sort_unstable();
            found.truncate(limit);
            Ok(found)
        };
        self.each(&units, rows, check, work, |at, found| {
            let full = best.len() >= limit;
            if let Some((last, ())) = best.last_key_value().filter(|_| full)
                && highs[at] < last.0.0
            {
                return Ok(false);
            }
            for place in found {
                if best.len() >= limit
                    && best.last_key_value().is_none_or(|(last, ())| place >= *last)
                {
                    break;
                }
                best.insert(place, ());
                if best.len() > limit {
                    best.pop_last();
                }
            }
            Ok(true)
        })?;
        let (mut chunks, mut rows) = (Vec::new(), Vec::new());
        let mut wholes: HashMap<TraceId, Arc<Chunk>> = HashMap::new();
        for (_, id, span, kind) in best.into_keys() {
            if !wholes.contains_key(&id)
                && let Some(whole) = sources.whole(&id)?
            {
                wholes.insert(id, whole.chunk);
            }
            let Some(chunk) = wholes.get(&id) else { continue };
            let is_it = |row: &usize| {
                chunk.span_ids[*row] == span && chunk.number(Part::Kind, *row) == kind
            };
            if let Some(row) = (0..chunk.rows()).find(is_it) {
                rows.push((place_of(&mut chunks, chunk), row as u32));
            }
        }
        Ok(gathered(&chunks, &rows))
    }

    /// What `work` makes of each unit with matches.
    ///
    /// # Errors
    /// As `traces`.
    pub fn collect<T: Send, E>(
        &self,
        sources: &Sources,
        check: impl FnMut() -> Result<(), E>,
        work: impl Fn(&View, &Bits) -> Result<T, Corrupt> + Sync,
        mut take: impl FnMut(T) -> Result<(), SearchError<E>>,
    ) -> Result<(), SearchError<E>> {
        let units = self.units(sources);
        let rows = |place: usize, view: &View| self.live(sources, place, view);
        self.each(&units, rows, check, work, |_, found| take(found).map(|()| true))
    }
}

impl Order {
    fn key(self, summary: &Summary) -> i64 {
        match self {
            Self::Newest => summary.start_ns,
            Self::Slowest => summary.duration_ns,
            Self::MostSpans => summary.spans as i64,
        }
    }
}

impl Candidate {
    /// The same of all that memtables have of the trace, replaced spans included.
    fn in_memory(&self, sources: &Sources) -> Self {
        let mut whole = Self { is_part: false, spans: usize::MAX >> 1, ..*self };
        for source in &sources.all {
            if let Source::Memtable(memtable) = source
                && let Some(entry) = memtable.entry(&self.id)
            {
                whole.start_ns = whole.start_ns.min(entry.start_ns);
                whole.end_ns = whole.end_ns.max(entry.end_ns);
            }
        }
        whole
    }

    fn key(&self, order: Order) -> i64 {
        match order {
            Order::Newest => self.start_ns,
            Order::Slowest => self.end_ns.saturating_sub(self.start_ns),
            Order::MostSpans => self.spans as i64,
        }
    }

    /// Whether a trace that is all here may be on a page.
    fn may_be_in(&self, page: &TracePage, key: i64, least: i64) -> bool {
        let duration = self.end_ns.saturating_sub(self.start_ns);
        let after = page.after.is_none_or(|(after, id)| {
            (std::cmp::Reverse(key), self.id) > (std::cmp::Reverse(after), id)
        });
        after && key >= least && (page.min_duration_ns..=page.max_duration_ns).contains(&duration)
    }
}

/// No trace of the unit comes before this, as far as it is here.
fn bound(unit: &Unit, order: Order) -> i64 {
    match (unit, order) {
        (Unit::Stored(granule), Order::Newest) => granule.head.max_ns,
        (Unit::Stored(granule), Order::Slowest) => granule.head.max_trace_duration_ns,
        (Unit::Stored(granule), Order::MostSpans) => granule.head.max_trace_spans as i64,
        (Unit::Memory(_), Order::Newest) => View::new(unit.clone()).range().1,
        (Unit::Memory(_), _) => i64::MAX,
    }
}

/// The traces of a unit that have a row that matches.
fn candidates(view: &View, bits: &Bits) -> Result<Vec<Candidate>, Corrupt> {
    let (starts, durations) = (view.starts()?, view.durations()?);
    let end = |row: usize| starts[row].saturating_add(durations[row]);
    let mut found: Vec<Candidate> = Vec::new();
    if let Some(traces) = view.traces()? {
        let mut rows = bits.iter().peekable();
        while let Some(row) = rows.next() {
            let trace = traces.ends.partition_point(|end| *end as usize <= row);
            let own = traces.rows(trace);
            let mut latest_ns = starts[row];
            while let Some(row) = rows.next_if(|row| *row < own.end) {
                latest_ns = latest_ns.max(starts[row]);
            }
            found.push(Candidate {
                id: traces.ids[trace],
                start_ns: traces.starts[trace],
                end_ns: own.clone().map(end).max().unwrap_or(0),
                spans: own.len(),
                latest_ns,
                is_part: false,
            });
        }
        return Ok(found);
    }
    let ids = view.trace_ids()?;
    let mut places: HashMap<TraceId, usize> = HashMap::new();
    for row in bits.iter() {
        let place = *places.entry(ids[row]).or_insert_with(|| {
            found.push(Candidate {
                id: ids[row],
                start_ns: i64::MAX,
                end_ns: i64::MIN,
                spans: 0,
                latest_ns: i64::MIN,
                is_part: true,
            });
            found.len() - 1
        });
        let own = &mut found[place];
        own.start_ns = own.start_ns.min(starts[row]);
        own.latest_ns = own.latest_ns.max(starts[row]);
        own.end_ns = own.end_ns.max(end(row));
        own.spans += 1;
    }
    Ok(found)
}
