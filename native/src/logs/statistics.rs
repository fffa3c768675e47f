//! Statistics of a field: how many different values, and of those that are numbers what they come
//! to, by step and by the texts of other fields.

use super::bits::Bits;
use super::granule::{Corrupt, Granule, View};
use super::grouping::{Groups, Texts};
use super::predicate::{Bound, Field, parse_number};
use super::search::{Query, SearchError};
use super::summary::{Distinct, Numbers};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Each holds up to some ten kilobytes.
const MAX_CELLS: usize = 5_000;

/// What is asked of which field.
pub struct StatisticsSpec {
    pub field: Field,
    /// More than 0.
    pub step_ns: u64,
    pub by: Vec<Field>,
}

/// A field's values in one step of one group.
#[derive(Default)]
pub struct Cell {
    /// Records that have the field.
    pub records: u64,
    pub distinct: Distinct,
    pub numbers: Numbers,
}

/// The texts of a group, a step, the records with the field, hashes of its values, its numbers.
type Part = (Vec<String>, usize, u64, Vec<u64>, Vec<f64>);

/// By the texts of a group's fields, the steps that have something.
pub type Cells = BTreeMap<Vec<String>, BTreeMap<usize, Cell>>;

impl Query {
    /// By group, the steps in which records have the field.
    ///
    /// # Errors
    /// Damage, too many groups and steps, or `check` says so.
    pub fn statistics<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        spec: &StatisticsSpec,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<Cells, SearchError<E>> {
        let mut all = Cells::new();
        let mut cells = 0;
        let work = |view: &View, bits: &Bits| self.parts(view, bits, spec);
        self.each(&self.candidates(granules), check, work, |parts| {
            for (labels, step, records, hashes, numbers) in parts {
                let steps = all.entry(labels).or_default();
                cells -= steps.len();
                let cell = steps.entry(step).or_default();
                cell.records += records;
                hashes.into_iter().for_each(|hash| cell.distinct.add(hash));
                numbers.into_iter().for_each(|number| cell.numbers.add(number));
                cells += steps.len();
                if cells > MAX_CELLS {
                    return Err(SearchError::TooManyGroups);
                }
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn parts(&self, view: &View, bits: &Bits, spec: &StatisticsSpec) -> Result<Vec<Part>, Corrupt> {
        let groups = Groups::read(view, &spec.by, bits)?;
        let texts = Texts::read(view, &spec.field, bits)?;
        let number = |text: &String| match parse_number(text)? {
            Bound::Int(n) => Some(n as f64),
            Bound::Double(n) => Some(n),
            Bound::Text(_) => None,
        };
        let numbers: Vec<Option<f64>> = texts.labels.iter().map(number).collect();
        let granule = &view.granule;
        let first = self.step(granule.min_ns.max(self.start_ns), spec.step_ns);
        let last = self.step(granule.max_ns.min(self.end_ns - 1), spec.step_ns);
        let times = if first == last { &[][..] } else { view.times()? };
        let step_of = |row: usize| times.get(row).map_or(first, |ns| self.step(*ns, spec.step_ns));
        // By cell, its records of each text.
        let mut cells: HashMap<(usize, usize), HashMap<u32, u64>> = HashMap::new();
        for row in bits.iter().filter(|row| texts.groups[*row] != 0) {
            let cell = cells.entry((groups.of(row), step_of(row))).or_default();
            *cell.entry(texts.groups[row]).or_insert(0) += 1;
        }
        let part = |((group, step), counts): ((usize, usize), HashMap<u32, u64>)| {
            let hash = |text: &u32| xxh3_64(texts.labels[*text as usize].as_bytes());
            let hashes = counts.keys().map(hash).collect();
            let mut found = Vec::new();
            for (text, count) in &counts {
                let number = numbers[*text as usize];
                found.extend(number.into_iter().flat_map(|n| (0..*count).map(move |_| n)));
            }
            (groups.labels(group), step, counts.values().sum(), hashes, found)
        };
        Ok(cells.into_iter().map(part).collect())
    }
}
