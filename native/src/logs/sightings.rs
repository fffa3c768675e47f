//! What arrived, by the shapes of bodies and the texts of fields: how many records of each kind there
//! are, with one of them, instead of all.

use super::bits::Bits;
use super::column::TEMPLATE;
use super::eval::{matching, may_match};
use super::granule::{Corrupt, Granule, View};
use super::grouping::{Groups, Texts};
use super::predicate::{Field, Predicate};
use super::search::{Hit, SearchError};
use super::text::{MIXED, masked};
use hashbrown::HashMap;
use rayon::prelude::*;
use std::sync::Arc;

/// Records of one granule that are of one kind.
pub struct Sighting {
    /// Of the fields that were asked for.
    pub texts: Vec<String>,
    pub step: i64,
    pub count: u64,
    pub first_ns: i64,
    pub last_ns: i64,
    /// The newest.
    pub sample: Hit,
}

/// What to tell apart: the texts of fields, shapes of fields and of bodies, and steps of time.
pub struct Kinds {
    pub by: Vec<Field>,
    /// Told apart without their digits, and not told.
    pub shapes: Vec<Field>,
    pub step_ns: i64,
}

/// The records numbered above `after` and up to `through` that match, by kind, granule by granule.
///
/// # Errors
/// Damage, or `check` says so.
pub fn sightings<E>(
    predicate: &Predicate,
    mut granules: Vec<Arc<Granule>>,
    (after, through): (i64, i64),
    kinds: &Kinds,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<Vec<Sighting>, SearchError<E>> {
    let inside = Predicate::Rows(after.saturating_add(1), through);
    granules.retain(|granule| may_match(&inside, granule) && may_match(predicate, granule));
    let mut found = Vec::new();
    for wave in granules.chunks(16) {
        check().map_err(SearchError::Stopped)?;
        let several: Vec<Vec<Sighting>> = wave
            .par_iter()
            .map(|granule| of_granule(&inside, predicate, granule, kinds))
            .collect::<Result<_, Corrupt>>()?;
        found.extend(several.into_iter().flatten());
    }
    Ok(found)
}

fn of_granule(
    inside: &Predicate,
    predicate: &Predicate,
    granule: &Arc<Granule>,
    kinds: &Kinds,
) -> Result<Vec<Sighting>, Corrupt> {
    let view = View::new(Arc::clone(granule));
    let mut bits = matching(inside, &view)?;
    if !bits.is_empty() {
        bits.and(&matching(predicate, &view)?);
    }
    if bits.is_empty() {
        return Ok(Vec::new());
    }
    let mut groups = Groups::read(&view, &kinds.by, &bits)?;
    for field in &kinds.shapes {
        groups.split(shapes(&view, field, &bits)?, &bits);
    }
    let (times, rows) = (view.times()?, view.rows()?);
    let mut found: HashMap<(usize, i64), Sighting> = HashMap::new();
    for row in bits.iter() {
        let (group, step) = (groups.of(row), times[row].div_euclid(kinds.step_ns));
        let hit = || Hit { key: (times[row], rows[row]), granule: Arc::clone(granule), row };
        let kind = found.entry((group, step)).or_insert_with(|| Sighting {
            texts: groups.labels(group).into_iter().take(kinds.by.len()).collect(),
            step: step.saturating_mul(kinds.step_ns),
            count: 0,
            first_ns: times[row],
            last_ns: times[row],
            sample: hit(),
        });
        kind.count += 1;
        kind.first_ns = kind.first_ns.min(times[row]);
        if (times[row], rows[row]) > kind.sample.key {
            kind.last_ns = times[row];
            kind.sample = hit();
        }
    }
    let mut found: Vec<Sighting> = found.into_values().collect();
    found.sort_by_key(|sighting| sighting.sample.key);
    Ok(found)
}

/// The texts of a field without their digits; of bodies, templates are that already.
fn shapes(view: &View, field: &Field, bits: &Bits) -> Result<Texts, Corrupt> {
    if *field != Field::Body {
        return Ok(Texts::read(view, field, bits)?.mapped(masked));
    }
    let column = view.column(super::granule::Kind::Body)?;
    let values = column.values();
    let mut labels = vec![String::new()];
    labels.extend((0..values.len()).map(|id| {
        if values.tag(id) == TEMPLATE {
            // Whether a variable has letters, too, is not of its shape.
            let bytes = values.bytes(id).iter();
            let alike: Vec<u8> =
                bytes.map(|b| if *b == super::text::NUMBER { MIXED } else { *b }).collect();
            String::from_utf8_lossy(&alike).into_owned()
        } else {
            masked(&values.get(id).text_or_json())
        }
    }));
    let id = |row: usize| column.id(row).map_or(0, |id| id as u32 + 1);
    let groups = (0..view.granule.rows).map(id).collect();
    Ok(Texts { labels, groups }.mapped(|text| text.to_owned()))
}
