//! Names and values as a map of JSON or of Python has them: of one name the last value counts, at
//! the place of the first.

use std::borrow::Cow;
use std::collections::HashMap;

/// Up to so many are searched one by one.
const FEW: usize = 32;

/// Texts by name, in order; `None` is a value that is no text.
#[derive(Debug, Default)]
pub struct Pairs<'a> {
    entries: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    places: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Pairs<'a> {
    pub fn insert(&mut self, name: Cow<'a, str>, value: Option<Cow<'a, str>>) {
        if let Some(place) = self.place(&name) {
            self.entries[place].1 = value;
            return;
        }
        if self.entries.len() == FEW {
            self.places =
                self.entries.iter().enumerate().map(|(i, (n, _))| (n.clone(), i)).collect();
        }
        if self.entries.len() >= FEW {
            self.places.insert(name.clone(), self.entries.len());
        }
        self.entries.push((name, value));
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.entries.len() <= FEW {
            return self.entries.iter().position(|(n, _)| n == name);
        }
        self.places.get(name).copied()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries[self.place(name)?].1.as_deref()
    }

    /// Names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.entries.iter().filter_map(|(name, value)| Some((&**name, value.as_deref()?)))
    }
}
