//! How many records of a search have each skeleton. Bodies are stored as templates already, so
//! that mostly each template of a granule is looked at once and its rows are only counted.

use super::bits::Bits;
use super::column::{TEMPLATE, Values};
use super::eval::{Step, row_levels};
use super::granule::{Corrupt, Granule, Kind, View, fill};
use super::levels::LEVELS;
use super::patterns_skeleton::{HOLE, Skeleton};
use super::search::{Query, SearchError};
use super::text::{MIXED, NUMBER};
use super::value::Value;
use hashbrown::HashMap;
use std::sync::Arc;

/// Skeletons that a search tells apart; records of further ones are counted as one, `<_>`.
pub const MAX_SKELETONS: usize = 20_000;

/// Services of a pattern that are counted apart; the others are of "".
const MAX_SERVICES: usize = 1000;

pub const LEVEL_COUNT: usize = LEVELS.len() + 1;

/// Records of one skeleton, or of one pattern.
#[derive(Clone)]
pub struct Found {
    /// By step; only those with some.
    pub counts: HashMap<usize, u64>,
    pub total: u64,
    pub first_ns: i64,
    pub last_ns: i64,
    /// The newest.
    pub sample: (Arc<Granule>, usize),
    /// By the level's place among all; the last is of records without one.
    pub levels: [u64; LEVEL_COUNT],
    pub services: HashMap<String, u64>,
}

impl Found {
    pub fn add(&mut self, other: Self) {
        for (step, count) in other.counts {
            *self.counts.entry(step).or_insert(0) += count;
        }
        self.total += other.total;
        self.first_ns = self.first_ns.min(other.first_ns);
        if other.last_ns > self.last_ns {
            self.last_ns = other.last_ns;
            self.sample = other.sample;
        }
        self.levels.iter_mut().zip(other.levels).for_each(|(own, more)| *own += more);
        for (service, count) in other.services {
            let full = self.services.len() >= MAX_SERVICES;
            let known = !full || self.services.contains_key(&service);
            let service = if known { service } else { String::new() };
            *self.services.entry(service).or_insert(0) += count;
        }
    }
}

/// The tokens of a skeleton as they are shown, and its records.
type Shown = (Box<[u8]>, Found);

/// A skeleton's key, and its tokens as they are shown.
pub type Shape = (Box<[u8]>, Box<[u8]>);

/// Which of a granule's skeletons each of its rows has.
pub struct Shapes {
    pub shapes: Vec<Shape>,
    /// By row; only of those that were asked for.
    pub of_row: Vec<u32>,
}

#[derive(Default)]
struct Cutter {
    skeleton: Skeleton,
    known: HashMap<Box<[u8]>, u32>,
    shapes: Vec<Shape>,
}

impl Cutter {
    fn shape(&mut self, body: &[u8]) -> u32 {
        let key = self.skeleton.read(body);
        if let Some(shape) = self.known.get(key) {
            return *shape;
        }
        let key: Box<[u8]> = key.into();
        let shape = self.shapes.len() as u32;
        self.known.insert(key.clone(), shape);
        self.shapes.push((key, self.skeleton.display(body).into()));
        shape
    }
}

const UNKNOWN: u32 = u32::MAX;

/// A template as a body: a number is a number, whichever it is.
fn with_numbers(template: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend(template.iter().map(|b| if *b == NUMBER { b'1' } else { *b }));
}

/// What of a variable the skeleton of its body depends on: its letters if digits follow them, or
/// whether it can be of a hardware address.
fn variable_sort(variable: &[u8]) -> u64 {
    let letters = variable.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let numbered = letters > 0 && variable[letters..].iter().all(u8::is_ascii_digit);
    let hex = variable.iter().all(u8::is_ascii_hexdigit);
    let shape = u64::from(hex) + 2 * u64::from(variable.len() <= 4);
    let long = 4 * u64::from(hex && variable.len() >= 8);
    if numbered {
        xxhash_rust::xxh3::xxh3_64(&variable[..letters]) ^ (shape + long)
    } else {
        let other = variable.iter().any(|b| *b >= 128 || *b == b'_');
        shape + long + 8 * u64::from(other) + 16 * u64::from(letters > 0)
    }
}

/// The skeletons of the rows that match.
///
/// # Errors
/// A column is damaged.
pub fn shapes(view: &View, bits: &Bits) -> Result<Shapes, Corrupt> {
    let column = view.column(Kind::Body)?;
    let values = column.values();
    let mut cutter = Cutter::default();
    let mut of_value = vec![UNKNOWN; values.len()];
    let mut sorted: HashMap<(usize, u64), u32> = HashMap::new();
    let mut of_row = vec![UNKNOWN; view.granule.rows];
    let mut buffer = Vec::new();
    for row in bits.iter() {
        let Some(id) = column.id(row) else {
            of_row[row] = cutter.shape(b"");
            continue;
        };
        if of_value[id] != UNKNOWN {
            of_row[row] = of_value[id];
            continue;
        }
        if !is_mixed(values, id) {
            if values.tag(id) == TEMPLATE {
                with_numbers(values.bytes(id), &mut buffer);
                of_value[id] = cutter.shape(&buffer);
            } else {
                of_value[id] = cutter.shape(values.get(id).text_or_json().as_bytes());
            }
            of_row[row] = of_value[id];
            continue;
        }
        let (bodies, ordinals) = view.bodies()?;
        let (variables, ordinal) = (&bodies.variables[id], ordinals[row] as usize);
        let holes = memchr::memchr2_iter(NUMBER, MIXED, values.bytes(id));
        let mixed = holes.zip(variables).filter(|(at, _)| values.bytes(id)[*at] == MIXED);
        let sort = mixed.fold(0_u64, |sort, (_, column)| {
            sort.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ variable_sort(column.get(ordinal))
        });
        of_row[row] = match sorted.get(&(id, sort)) {
            Some(shape) => *shape,
            None => {
                fill(values.bytes(id), variables, ordinal, &mut buffer);
                let shape = cutter.shape(&buffer);
                sorted.insert((id, sort), shape);
                shape
            }
        };
    }
    Ok(Shapes { shapes: cutter.shapes, of_row })
}

fn is_mixed(values: &Values, id: usize) -> bool {
    values.tag(id) == TEMPLATE && memchr::memchr(MIXED, values.bytes(id)).is_some()
}

/// Counts by place: side by side where the places are few.
enum Tally {
    Few(Vec<u64>),
    Many(HashMap<usize, u64>),
}

impl Tally {
    const FEW: usize = 1 << 16;

    fn new(places: usize) -> Self {
        if places <= Self::FEW { Self::Few(vec![0; places]) } else { Self::Many(HashMap::new()) }
    }

    #[inline]
    fn add(&mut self, place: usize) {
        match self {
            Self::Few(counts) => counts[place] += 1,
            Self::Many(counts) => *counts.entry(place).or_insert(0) += 1,
        }
    }

    fn counts(self) -> Vec<(usize, u64)> {
        match self {
            Self::Few(counts) => {
                counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
            }
            Self::Many(counts) => counts.into_iter().collect(),
        }
    }
}

/// The service of each resource.
fn services(view: &View) -> Result<Vec<String>, Corrupt> {
    let values = view.column(Kind::Resource)?.values();
    let name = |id| match values.get(id) {
        map @ Value::Map(_) => {
            Step::Service.apply(map).map_or_else(String::new, |s| s.text_or_json().into_owned())
        }
        _ => String::new(),
    };
    Ok((0..values.len()).map(name).collect())
}

impl Query {
    /// What matches, by skeleton.
    ///
    /// # Errors
    /// Damage, or `check` says so.
    pub fn skeletons<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        step_ns: u64,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<(Shape, Found)>, SearchError<E>> {
        let mut all: HashMap<Box<[u8]>, Shown> = HashMap::new();
        let work = |view: &View, bits: &Bits| self.skeletons_of_granule(view, bits, step_ns);
        self.each(&self.candidates(granules), check, work, |counted| {
            for ((key, display), found) in counted {
                let room = all.len() < MAX_SKELETONS || all.contains_key(&key);
                let hole: Box<[u8]> = [HOLE].into();
                let (key, display) = if room { (key, display) } else { (hole.clone(), hole) };
                match all.get_mut(&key) {
                    Some((_, known)) => known.add(found),
                    None => drop(all.insert(key, (display, found))),
                }
            }
            Ok(())
        })?;
        let mut sorted: Vec<_> =
            all.into_iter().map(|(key, (display, found))| ((key, display), found)).collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(sorted)
    }

    fn skeletons_of_granule(
        &self,
        view: &View,
        bits: &Bits,
        step_ns: u64,
    ) -> Result<Vec<(Shape, Found)>, Corrupt> {
        let Shapes { shapes, of_row } = shapes(view, bits)?;
        let (times, levels) = (view.times()?, row_levels(view)?);
        let (resources, services) = (view.column(Kind::Resource)?, services(view)?);
        let mut found: Vec<Found> = shapes
            .iter()
            .map(|_| Found {
                counts: HashMap::new(),
                total: 0,
                first_ns: i64::MAX,
                last_ns: i64::MIN,
                sample: (Arc::clone(&view.granule), 0),
                levels: [0; LEVEL_COUNT],
                services: HashMap::new(),
            })
            .collect();
        // Places for each resource, and one for records without.
        let width = resources.values().len() + 1;
        let mut of_service = Tally::new(shapes.len() * width);
        // Mostly rows come in sequence, and so of one step.
        let mut last_steps: Vec<(usize, u64)> = vec![(0, 0); shapes.len()];
        let mut step = (i64::MAX, i64::MAX, 0);
        for row in bits.iter() {
            let (shape, time_ns) = (of_row[row] as usize, times[row]);
            if !(step.0..step.1).contains(&time_ns) {
                let number = self.step(time_ns, step_ns);
                let first = i128::from(self.start_ns) + number as i128 * i128::from(step_ns);
                let narrow = |ns: i128| i64::try_from(ns).unwrap_or(i64::MAX);
                step = (narrow(first), narrow(first + i128::from(step_ns)), number);
            }
            let of_shape = &mut found[shape];
            let last = &mut last_steps[shape];
            if last.0 == step.2 {
                last.1 += 1;
            } else {
                *of_shape.counts.entry(last.0).or_insert(0) += last.1;
                *last = (step.2, 1);
            }
            of_shape.total += 1;
            of_shape.first_ns = of_shape.first_ns.min(time_ns);
            if time_ns >= of_shape.last_ns {
                of_shape.last_ns = time_ns;
                of_shape.sample.1 = row;
            }
            of_shape.levels[usize::from(levels[row]).min(LEVELS.len())] += 1;
            of_service.add(shape * width + resources.id(row).map_or(0, |id| id + 1));
        }
        for (of_shape, (step, count)) in found.iter_mut().zip(last_steps) {
            *of_shape.counts.entry(step).or_insert(0) += count;
            of_shape.counts.retain(|_, count| *count > 0);
        }
        for (place, count) in of_service.counts() {
            let resource = (place % width).checked_sub(1).and_then(|id| services.get(id));
            let service = resource.cloned().unwrap_or_default();
            *found[place / width].services.entry(service).or_insert(0) += count;
        }
        Ok(shapes.into_iter().zip(found).filter(|(_, found)| found.total > 0).collect())
    }

    /// Bodies of the records whose skeleton is `wanted`, the newest granules first; at most `limit`.
    ///
    /// # Errors
    /// Damage, or `check` says so.
    pub fn bodies_like<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        limit: usize,
        wanted: impl Fn(&Shape) -> bool,
        mut check: impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<String>, SearchError<E>> {
        let mut granules = self.candidates(granules);
        granules.sort_by_key(|g| std::cmp::Reverse((g.max_ns, g.last_row)));
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        for granule in granules {
            check().map_err(SearchError::Stopped)?;
            let Some((view, bits)) = self.rows(&granule)? else { continue };
            let Shapes { shapes, of_row } = shapes(&view, &bits)?;
            let wanted: Vec<bool> = shapes.iter().map(&wanted).collect();
            if !wanted.contains(&true) {
                continue;
            }
            let rows: Vec<usize> =
                bits.iter().filter(|row| wanted[of_row[*row] as usize]).collect();
            for row in rows.into_iter().rev() {
                if found.len() >= limit {
                    return Ok(found);
                }
                found.push(view.body(row, &mut buffer)?.text_or_json().into_owned());
            }
        }
        Ok(found)
    }
}
