//! Searches over granules: counts and pages, histograms, values of fields.

use super::bits::Bits;
use super::eval::select;
use super::granule::{Corrupt, Granule, View};
use super::grouping::{Groups, Texts, Weight, body_bytes};
use super::needed::Needed;
use super::predicate::{Field, Predicate};
use super::selected::Selected;
use super::top::Top;
use super::value::map;
use hashbrown::HashMap;
use rayon::prelude::*;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Granules between two looks at whether the search may go on.
const WAVE: usize = 64;

/// Granules that are looked at sooner than other threads are woken.
const ALONE: usize = 4;

/// Granules that a thread takes at one time: one of a few columns is asked in microseconds.
const TOGETHER: usize = 8;

/// Groups that a result may have.
pub const MAX_GROUPS: usize = 100_000;

/// Bytes of all texts of a result.
pub const MAX_TEXT_BYTES: usize = 64 << 20;

/// Granules whose results are in memory together before they are merged.
const AT_ONCE: usize = 32;

/// Counts of a granule that have a place each; more are kept in a map.
const DENSE: usize = 1 << 16;

#[derive(Debug, thiserror::Error)]
pub enum SearchError<E> {
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error("more than {MAX_GROUPS} different values, or more than 64 MiB of them")]
    TooManyGroups,
    #[error("stopped")]
    Stopped(E),
}

/// What to look for, from `start_ns` to before `end_ns`.
pub struct Query {
    pub predicate: Predicate,
    pub start_ns: i64,
    pub end_ns: i64,
}

/// A record's place in the order of results.
pub type Key = (i64, i64);

pub struct Hit {
    pub key: Key,
    pub granule: Arc<Granule>,
    pub row: usize,
}

/// Limits of a page.
pub struct PageSpec {
    pub limit: usize,
    pub newest_first: bool,
    /// Only records behind this one.
    pub after: Option<Key>,
}

/// What a histogram counts.
pub struct HistogramSpec {
    /// More than 0.
    pub step_ns: u64,
    pub by: Vec<Field>,
    pub weight: Weight,
}

/// The texts of a group, and its counts by step.
type Counted = (Vec<String>, Vec<(usize, u64)>);

impl Query {
    /// Those that may have a row that matches. The filters are asked here, so that of many granules
    /// the few are left for other threads.
    pub(super) fn candidates(&self, mut granules: Vec<Arc<Granule>>) -> Vec<Arc<Granule>> {
        let needed = Needed::of(&self.predicate);
        let overlaps = |g: &Arc<Granule>| g.max_ns >= self.start_ns && g.min_ns < self.end_ns;
        granules.retain(|granule| overlaps(granule) && needed.may_match(granule));
        granules
    }

    /// The rows of a granule that match, one of the candidates.
    fn selected<'v>(&self, view: &'v View) -> Result<Selected<'v>, Corrupt> {
        let granule = &view.granule;
        let selected = select(&self.predicate, view, None)?;
        let is_inside = granule.min_ns >= self.start_ns && granule.max_ns < self.end_ns;
        if is_inside || matches!(selected, Selected::None) {
            return Ok(selected);
        }
        let times = view.times()?;
        let inside = |row: usize| (self.start_ns..self.end_ns).contains(&times[row]);
        Ok(selected.and(Selected::of_bits(Bits::of(granule.rows, inside)), granule.rows))
    }

    /// The same with their places; `None` where none does. For candidates.
    pub(super) fn rows(&self, granule: &Arc<Granule>) -> Result<Option<(View, Bits)>, Corrupt> {
        self.rows_of(View::new(Arc::clone(granule)))
    }

    fn rows_of(&self, view: View) -> Result<Option<(View, Bits)>, Corrupt> {
        let bits = self.selected(&view)?.into_bits(view.granule.rows);
        Ok((!bits.is_empty()).then_some((view, bits)))
    }

    /// Calls `work` with the matching rows of each granule, in parallel, and `merge` with what it
    /// gives; `check` between waves.
    pub(super) fn each<T: Send, E>(
        &self,
        granules: &[Arc<Granule>],
        check: impl FnMut() -> Result<(), E>,
        work: impl Fn(&View, &Bits) -> Result<T, Corrupt> + Sync,
        merge: impl FnMut(T) -> Result<(), SearchError<E>>,
    ) -> Result<(), SearchError<E>> {
        let of_granule = |granule: &Arc<Granule>| {
            let rows = self.rows(granule)?;
            rows.map(|(view, bits)| work(&view, &bits)).transpose()
        };
        each_of(granules, check, of_granule, merge)
    }

    /// How many records match, and the page of them that is asked for.
    ///
    /// # Errors
    /// Damage, or `check` says so.
    pub fn page<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        page: &PageSpec,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<(u64, Vec<Hit>), SearchError<E>> {
        let mut granules = self.candidates(granules);
        if page.newest_first {
            granules.sort_by_key(|g| std::cmp::Reverse((g.max_ns, g.last_row)));
        } else {
            granules.sort_by_key(|g| (g.min_ns, g.first_row));
        }
        // Where there are so few, their records are likely to be shown.
        let few = granules.len() <= ALONE;
        let (mut total, mut found) = (0, Vec::new());
        let count = |granule: &Arc<Granule>| {
            let view = View::keeping(Arc::clone(granule), few);
            let count = self.selected(&view)?.count(granule.rows);
            Ok((count > 0).then(|| (count, Arc::clone(granule))))
        };
        each_of(&granules, check, count, |(count, granule)| {
            total += count as u64;
            found.push(granule);
            Ok(())
        })?;
        Ok((total, self.choose(page, found)?))
    }

    /// The first records in order, of granules in order of what could come first in them. Few are
    /// looked at, so that it costs less to find their rows again than to keep those of all.
    fn choose(&self, page: &PageSpec, found: Vec<Arc<Granule>>) -> Result<Vec<Hit>, Corrupt> {
        let mut hits: Vec<Hit> = Vec::new();
        for granule in found {
            let (first, last) = page.ends(&granule);
            let full = hits.len() >= page.limit;
            if full && hits.last().is_none_or(|last| !page.before(&first, &last.key)) {
                break;
            }
            if page.after.is_some_and(|after| !page.before(&after, &last)) {
                continue;
            }
            let Some((view, rows)) = self.rows_of(View::for_page(Arc::clone(&granule)))? else {
                continue;
            };
            let (times, numbers) = (view.times()?, view.rows()?);
            let keys = rows.iter().map(|row| ((times[row], numbers[row]), row));
            let behind = |key: &Key| page.after.is_none_or(|after| page.before(&after, key));
            let own = page.first(keys.filter(|(key, _)| behind(key)).collect());
            let hit = |(key, row)| Hit { key, granule: Arc::clone(&granule), row };
            hits.extend(own.into_iter().map(hit));
            hits.sort_by(|a, b| page.order(&a.key, &b.key));
            hits.truncate(page.limit);
        }
        Ok(hits)
    }

    /// Counts by the texts of some fields, and by step; records without a field are of "".
    ///
    /// # Errors
    /// Damage, too many values, or `check` says so.
    pub fn histogram<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        spec: &HistogramSpec,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<BTreeMap<Vec<String>, Vec<u64>>, SearchError<E>> {
        let steps = self.end_ns.wrapping_sub(self.start_ns) as u64;
        let steps = usize::try_from(steps.div_ceil(spec.step_ns)).unwrap_or(0);
        let work = |view: &View, bits: &Bits| self.count_granule(view, bits, spec);
        let mut groups: BTreeMap<Vec<String>, Vec<u64>> = BTreeMap::new();
        let mut text_bytes = 0;
        self.each(&self.candidates(granules), check, work, |counted| {
            for (labels, counts) in counted {
                let own_bytes: usize = labels.iter().map(String::len).sum();
                let all = groups.entry(labels).or_insert_with(|| {
                    text_bytes += own_bytes;
                    vec![0; steps]
                });
                counts.into_iter().for_each(|(step, count)| all[step] += count);
                let cells = groups.len().saturating_mul(steps);
                let are_many = groups.len() > MAX_GROUPS || cells > 50 * MAX_GROUPS;
                if are_many || text_bytes > MAX_TEXT_BYTES {
                    return Err(SearchError::TooManyGroups);
                }
            }
            Ok(())
        })?;
        Ok(groups)
    }

    /// The step of a time in the range.
    #[inline]
    pub(super) fn step(&self, time_ns: i64, step_ns: u64) -> usize {
        (time_ns.wrapping_sub(self.start_ns) as u64 / step_ns) as usize
    }

    fn count_granule(
        &self,
        view: &View,
        bits: &Bits,
        spec: &HistogramSpec,
    ) -> Result<Vec<Counted>, Corrupt> {
        let groups = Groups::read(view, &spec.by, bits)?;
        let weights = match spec.weight {
            Weight::Records => None,
            Weight::Bytes => Some(body_bytes(view)?),
        };
        let weight = |row: usize| weights.as_ref().map_or(1, |bytes| bytes[row]);
        let granule = &view.granule;
        let first = self.step(granule.min_ns.max(self.start_ns), spec.step_ns);
        let last = self.step(granule.max_ns.min(self.end_ns - 1), spec.step_ns);
        let width = last - first + 1;
        let mut counts: Vec<Vec<(usize, u64)>> = vec![Vec::new(); groups.len()];
        if groups.len().saturating_mul(width) <= DENSE {
            let mut sums = vec![(0_u64, false); groups.len() * width];
            let mut add = |row: usize, step: usize| {
                let (sum, seen) = &mut sums[groups.of(row) * width + step];
                *sum += weight(row);
                *seen = true;
            };
            if width == 1 {
                bits.iter().for_each(|row| add(row, 0));
            } else {
                let times = view.times()?;
                bits.iter().for_each(|row| add(row, self.step(times[row], spec.step_ns) - first));
            }
            for (at, (sum, _)) in sums.into_iter().enumerate().filter(|(_, (_, seen))| *seen) {
                counts[at / width].push((first + at % width, sum));
            }
        } else {
            let times = view.times()?;
            let mut sums: HashMap<(usize, usize), u64> = HashMap::new();
            for row in bits.iter() {
                let step = self.step(times[row], spec.step_ns);
                *sums.entry((groups.of(row), step)).or_insert(0) += weight(row);
            }
            sums.into_iter().for_each(|((group, step), sum)| counts[group].push((step, sum)));
        }
        let counted = counts.into_iter().enumerate().filter(|(_, counts)| !counts.is_empty());
        Ok(counted.map(|(group, counts)| (groups.labels(group), counts)).collect())
    }

    /// How often values of a field occur; records without it are not counted.
    ///
    /// # Errors
    /// Damage, or `check` says so.
    pub fn values<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        field: &Field,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<Top, SearchError<E>> {
        let work = |view: &View, bits: &Bits| {
            let Texts { labels, groups } = Texts::read(view, field, bits)?;
            let mut counts = vec![0_u64; labels.len()];
            bits.iter().for_each(|row| counts[groups[row] as usize] += 1);
            // The first label is that of the records without a value.
            Ok(labels.into_iter().zip(counts).skip(1).filter(|(_, n)| *n > 0).collect::<Vec<_>>())
        };
        let mut all = Top::new(MAX_GROUPS, MAX_TEXT_BYTES);
        self.each(&self.candidates(granules), check, work, |counted| {
            all.add(counted);
            Ok(())
        })?;
        Ok(all)
    }

    /// How many records have each attribute, of their own or of their resource.
    ///
    /// # Errors
    /// As `values`.
    pub fn names<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<Top, SearchError<E>> {
        let mut all = Top::new(MAX_GROUPS, MAX_TEXT_BYTES);
        let candidates = self.candidates(granules);
        self.each(&candidates, check, count_names, |counted| {
            all.add(counted);
            Ok(())
        })?;
        Ok(all)
    }
}

fn count_names(view: &View, bits: &Bits) -> Result<Vec<(String, u64)>, Corrupt> {
    use super::granule::Kind;
    let mut counts: HashMap<String, Bits> = HashMap::new();
    let rows = view.granule.rows;
    for (index, info) in view.granule.attributes.iter().enumerate() {
        let column = view.attribute(index)?;
        let present = Bits::of(rows, |row| column.has(row));
        counts.entry(info.key.clone()).or_insert_with(|| Bits::none(rows)).or(&present);
    }
    for kind in [Kind::Rest, Kind::Details, Kind::Resource] {
        let column = view.column(kind)?;
        let values = column.values();
        let keys: Vec<Vec<Cow<'_, str>>> = (0..values.len())
            .map(|id| match values.get(id) {
                super::value::Value::Map(message) => {
                    map(message).map(|(key, _)| String::from_utf8_lossy(key)).collect()
                }
                _ => Vec::new(),
            })
            .collect();
        for row in bits.iter() {
            for key in column.id(row).into_iter().flat_map(|id| &keys[id]) {
                let present = match counts.get_mut(key.as_ref()) {
                    Some(present) => present,
                    None => counts.entry(key.to_string()).or_insert_with(|| Bits::none(rows)),
                };
                present.set(row);
            }
        }
    }
    let counted = counts.into_iter().map(|(key, mut present)| {
        present.and(bits);
        (key, present.count() as u64)
    });
    Ok(counted.filter(|(_, count)| *count > 0).collect())
}

impl PageSpec {
    fn order(&self, a: &Key, b: &Key) -> Ordering {
        if self.newest_first { b.cmp(a) } else { a.cmp(b) }
    }

    fn before(&self, a: &Key, b: &Key) -> bool {
        self.order(a, b) == Ordering::Less
    }

    /// Before which, and behind which, no record of a granule comes.
    fn ends(&self, granule: &Granule) -> (Key, Key) {
        let (low, high) = ((granule.min_ns, i64::MIN), (granule.max_ns, i64::MAX));
        if self.newest_first { (high, low) } else { (low, high) }
    }

    /// As many of these as a page has, the first ones.
    fn first(&self, mut rows: Vec<(Key, usize)>) -> Vec<(Key, usize)> {
        if rows.len() > self.limit && self.limit > 0 {
            rows.select_nth_unstable_by(self.limit - 1, |(a, _), (b, _)| self.order(a, b));
        }
        rows.truncate(self.limit);
        rows
    }
}

/// Calls `work` with each granule, in parallel, and `merge` with what it gives; `check` between
/// waves.
fn each_of<T: Send, E>(
    granules: &[Arc<Granule>],
    mut check: impl FnMut() -> Result<(), E>,
    work: impl Fn(&Arc<Granule>) -> Result<Option<T>, Corrupt> + Sync,
    mut merge: impl FnMut(T) -> Result<(), SearchError<E>>,
) -> Result<(), SearchError<E>> {
    for wave in granules.chunks(WAVE) {
        check().map_err(SearchError::Stopped)?;
        if wave.len() <= ALONE {
            for granule in wave {
                work(granule)?.map_or(Ok(()), &mut merge)?;
            }
            continue;
        }
        for several in wave.chunks(AT_ONCE) {
            let found: Vec<Option<T>> = several
                .par_iter()
                .with_min_len(TOGETHER)
                .map(&work)
                .collect::<Result<_, Corrupt>>()?;
            found.into_iter().flatten().try_for_each(&mut merge)?;
        }
    }
    Ok(())
}
