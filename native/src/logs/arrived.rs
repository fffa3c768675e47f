//! Records in the order of their arrival, which is that of their numbers.

use super::eval::{matching, may_match};
use super::granule::{Corrupt, Granule, View};
use super::predicate::Predicate;
use super::search::{Hit, SearchError};
use rayon::prelude::*;
use std::sync::Arc;

/// Granules that are looked at together at first, and at most. Who wants few records has them in
/// the first granules mostly.
const FIRST_WAVE: usize = 2;
const LAST_WAVE: usize = 64;

/// The first `limit` records with a number above `after` and up to `through` that match, by number.
/// Returns the last number that was looked at, too: below `through` only where more may match.
///
/// # Errors
/// Damage, or `check` says so.
pub fn arrived<E>(
    predicate: &Predicate,
    mut granules: Vec<Arc<Granule>>,
    (after, through): (i64, i64),
    limit: usize,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<(Vec<Hit>, i64), SearchError<E>> {
    let inside = Predicate::Rows(after.saturating_add(1), through);
    granules.retain(|granule| may_match(&inside, granule) && may_match(predicate, granule));
    granules.sort_by_key(|granule| granule.first_row);
    let mut hits: Vec<Hit> = Vec::new();
    let (mut left, mut wave) = (granules.as_slice(), FIRST_WAVE);
    while !left.is_empty() {
        check().map_err(SearchError::Stopped)?;
        let full = hits.len() > limit;
        if full && hits.last().is_none_or(|last| last.key.1 < left[0].first_row) {
            break;
        }
        let (now, later) = left.split_at(wave.min(left.len()));
        let found: Vec<Vec<Hit>> = now
            .par_iter()
            .map(|granule| of_granule(&inside, predicate, granule))
            .collect::<Result<_, Corrupt>>()?;
        hits.extend(found.into_iter().flatten());
        hits.sort_by_key(|hit| hit.key.1);
        // One more than asked for tells whether this is all.
        hits.truncate(limit.saturating_add(1));
        (left, wave) = (later, LAST_WAVE.min(2 * wave));
    }
    let more = hits.len() > limit;
    hits.truncate(limit);
    let last = if more { hits.last().map_or(after, |hit| hit.key.1) } else { through };
    Ok((hits, last.max(after)))
}

fn of_granule(
    inside: &Predicate,
    predicate: &Predicate,
    granule: &Arc<Granule>,
) -> Result<Vec<Hit>, Corrupt> {
    let view = View::new(Arc::clone(granule));
    let mut bits = matching(inside, &view)?;
    if !bits.is_empty() {
        bits.and(&matching(predicate, &view)?);
    }
    if bits.is_empty() {
        return Ok(Vec::new());
    }
    let (times, rows) = (view.times()?, view.rows()?);
    let hit = |row: usize| Hit { key: (times[row], rows[row]), granule: Arc::clone(granule), row };
    Ok(bits.iter().map(hit).collect())
}
