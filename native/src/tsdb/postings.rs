//! Postings: for each label name and value, the ids of the series that carry it.

use super::matcher::{Matcher, Op};
use super::symbols::Symbols;
use hashbrown::HashMap;
use roaring::RoaringBitmap;

/// Series ids. Most label values of a large store are on one series only: those cost no bitmap.
enum Postings {
    One(u32),
    Many(RoaringBitmap),
}

impl Postings {
    fn push(&mut self, id: u32) {
        match self {
            Self::One(first) => {
                let mut bitmap = RoaringBitmap::new();
                bitmap.insert(*first);
                bitmap.insert(id);
                *self = Self::Many(bitmap);
            }
            Self::Many(bitmap) => {
                bitmap.insert(id);
            }
        }
    }

    fn add_to(&self, bitmap: &mut RoaringBitmap) {
        match self {
            Self::One(id) => {
                bitmap.insert(*id);
            }
            Self::Many(ids) => *bitmap |= ids,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Many(ids) => ids.len(),
        }
    }

    fn intersects(&self, other: &RoaringBitmap) -> bool {
        match self {
            Self::One(id) => other.contains(*id),
            Self::Many(ids) => !ids.is_disjoint(other),
        }
    }
}

#[derive(Default)]
struct Name {
    values: HashMap<u32, Postings>,
    /// Every series with this label, whatever its value.
    all: RoaringBitmap,
}

/// The inverted index of a registry.
#[derive(Default)]
pub struct PostingsIndex {
    names: HashMap<u32, Name>,
    all: RoaringBitmap,
}

impl PostingsIndex {
    /// Adds a series; ids come in ascending order.
    pub fn add(&mut self, id: u32, pairs: impl Iterator<Item = (u32, u32)>) {
        self.all.insert(id);
        for (name, value) in pairs {
            let entry = self.names.entry(name).or_default();
            entry.all.insert(id);
            entry.values.entry(value).and_modify(|p| p.push(id)).or_insert(Postings::One(id));
        }
    }

    /// Every series.
    #[must_use]
    pub fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    /// The series that satisfy all matchers.
    #[must_use]
    pub fn select(&self, matchers: &[Matcher], symbols: &Symbols) -> RoaringBitmap {
        let (required, excluded): (Vec<_>, Vec<_>) =
            matchers.iter().partition(|m| !m.matches("") || !m.op.negated());
        let mut result: Option<RoaringBitmap> = None;
        // Equality first: it is the cheapest to look up and most often the smallest.
        let mut required = required;
        required.sort_by_key(|m| m.op != Op::Equal);
        for matcher in required {
            let ids = self.matching(matcher, symbols);
            let narrowed = match result {
                None => ids,
                Some(so_far) => so_far & ids,
            };
            if narrowed.is_empty() {
                return narrowed;
            }
            result = Some(narrowed);
        }
        let mut result = result.unwrap_or_else(|| self.all.clone());
        for matcher in excluded {
            result -= self.with_value(&matcher.inverse(), symbols);
        }
        result
    }

    /// Series that satisfy one matcher; a label that a series lacks counts as "".
    fn matching(&self, matcher: &Matcher, symbols: &Symbols) -> RoaringBitmap {
        if !matcher.matches("") {
            return self.with_value(matcher, symbols);
        }
        let mut ids = self.all.clone();
        if let Some(name) = self.name(&matcher.name, symbols) {
            ids -= &name.all;
        }
        ids | self.with_value(matcher, symbols)
    }

    /// Series that have the label, with a value that satisfies the matcher.
    fn with_value(&self, matcher: &Matcher, symbols: &Symbols) -> RoaringBitmap {
        let mut ids = RoaringBitmap::new();
        let Some(name) = self.name(&matcher.name, symbols) else {
            return ids;
        };
        if let Some(literal) = matcher.equals() {
            if let Some(postings) = symbols.find(literal).and_then(|v| name.values.get(&v)) {
                postings.add_to(&mut ids);
            }
            return ids;
        }
        let (mut singles, mut matched, mut count) = (Vec::new(), Vec::new(), 0);
        for (&value, postings) in &name.values {
            if matcher.matches(symbols.get(value)) {
                count += postings.len();
                match postings {
                    Postings::One(id) => singles.push(*id),
                    Postings::Many(bitmap) => matched.push(bitmap),
                }
            }
        }
        if count == name.all.len() {
            return name.all.clone();
        }
        singles.sort_unstable();
        ids.extend(singles);
        for bitmap in matched {
            ids |= bitmap;
        }
        ids
    }

    fn name(&self, name: &str, symbols: &Symbols) -> Option<&Name> {
        self.names.get(&symbols.find(name)?)
    }

    /// Symbols of the names that any of `ids` carries; None means all series.
    #[must_use]
    pub fn label_names(&self, ids: Option<&RoaringBitmap>) -> Vec<u32> {
        self.names
            .iter()
            .filter(|(_, name)| ids.is_none_or(|ids| !name.all.is_disjoint(ids)))
            .map(|(&symbol, _)| symbol)
            .collect()
    }

    /// Symbols of the values of `name` that any of `ids` carries; None means all series.
    #[must_use]
    pub fn label_values(
        &self,
        name: &str,
        ids: Option<&RoaringBitmap>,
        symbols: &Symbols,
    ) -> Vec<u32> {
        let Some(name) = self.name(name, symbols) else {
            return Vec::new();
        };
        name.values
            .iter()
            .filter(|(_, postings)| ids.is_none_or(|ids| postings.intersects(ids)))
            .map(|(&symbol, _)| symbol)
            .collect()
    }

    /// For each name symbol: how many values it has, how many series carry it, and the bytes of
    /// its values' text.
    pub fn name_sizes<'a>(
        &'a self,
        symbols: &'a Symbols,
    ) -> impl Iterator<Item = (u32, usize, u64, usize)> + 'a {
        self.names.iter().map(|(&symbol, name)| {
            let text = name.values.keys().map(|v| symbols.raw(*v).len()).sum();
            (symbol, name.values.len(), name.all.len(), text)
        })
    }

    /// For each value symbol of a name: how many series carry it.
    #[must_use]
    pub fn value_sizes(&self, name: &str, symbols: &Symbols) -> Vec<(u32, u64)> {
        self.name(name, symbols).map_or_else(Vec::new, |name| {
            name.values.iter().map(|(&value, postings)| (value, postings.len())).collect()
        })
    }

    /// For each (name, value) pair: how many series carry it.
    pub fn pair_sizes(&self) -> impl Iterator<Item = (u32, u32, u64)> + '_ {
        self.names.iter().flat_map(|(&symbol, name)| {
            name.values.iter().map(move |(&value, postings)| (symbol, value, postings.len()))
        })
    }
}
