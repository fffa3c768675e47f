//! Groups of a granule's rows, by the texts of some fields, and what is counted of them.

use super::bits::Bits;
use super::column::TEMPLATE;
use super::eval::{row_levels, sources};
use super::granule::{Corrupt, View};
use super::levels::LEVELS;
use super::predicate::Field;
use super::text::{MIXED, NUMBER};
use hashbrown::HashMap;

/// Pairs of groups that are told apart by a table; more by a map.
const TABLE: usize = 1 << 16;

/// What a record counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// One.
    Records,
    /// The UTF-8 bytes of its body's text, or JSON.
    Bytes,
}

impl Weight {
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "records" => Some(Self::Records),
            "bytes" => Some(Self::Bytes),
            _ => None,
        }
    }
}

/// The texts of a field, and for each row which of them it has.
#[derive(Debug)]
pub struct Texts {
    /// The first stands for none.
    pub labels: Vec<String>,
    /// Of rows that are not among those that were asked for it may be 0.
    pub groups: Vec<u32>,
}

/// Numbers texts in the order of their appearance.
#[derive(Default)]
struct Interner {
    labels: Vec<String>,
    known: HashMap<String, u32>,
}

impl Interner {
    fn new() -> Self {
        Self { labels: vec![String::new()], known: HashMap::new() }
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.labels.len() as u32;
        self.labels.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }
}

impl Texts {
    /// Of the rows that `bits` has.
    ///
    /// # Errors
    /// A column is damaged.
    pub fn read(view: &View, field: &Field, bits: &Bits) -> Result<Self, Corrupt> {
        if *field == Field::Level {
            let mut labels = vec![String::new()];
            labels.extend(LEVELS.map(str::to_owned));
            let group = |level: u8| if level == 255 { 0 } else { u32::from(level) + 1 };
            let groups = row_levels(view)?.into_iter().map(group).collect();
            return Ok(Self { labels, groups });
        }
        let mut interner = Interner::new();
        let mut groups = vec![0; view.granule.rows];
        if matches!(field, Field::Body | Field::Prose) {
            let mut buffer = Vec::new();
            for row in bits.iter() {
                let value = view.body(row, &mut buffer)?;
                if !value.is_null() {
                    groups[row] = interner.number(&value.text_or_json());
                }
            }
        } else if *field == Field::Time {
            let times = view.times()?;
            bits.iter().for_each(|row| groups[row] = interner.number(&times[row].to_string()));
        }
        for (column, step) in sources(view, field)? {
            let values = column.values();
            let mut of_value =
                |id| step.apply(values.get(id)).map_or(0, |v| interner.number(&v.text_or_json()));
            let ids: Vec<u32> = (0..values.len()).map(&mut of_value).collect();
            if ids.iter().all(|id| *id == 0) {
                continue;
            }
            for (row, group) in groups.iter_mut().enumerate() {
                if *group == 0
                    && let Some(id) = column.id(row)
                {
                    *group = ids[id];
                }
            }
        }
        Ok(Self { labels: interner.labels, groups })
    }
}

impl Texts {
    /// With other texts in place of these; rows whose texts become one are of one group then.
    #[must_use]
    pub fn mapped(self, text: impl Fn(&str) -> String) -> Self {
        let mut interner = Interner::new();
        // The first stands for none, and stays so.
        let others = self.labels.iter().skip(1);
        let numbers: Vec<u32> =
            std::iter::once(0).chain(others.map(|label| interner.number(&text(label)))).collect();
        let groups = self.groups.into_iter().map(|group| numbers[group as usize]).collect();
        Self { labels: interner.labels, groups }
    }
}

/// Rows by the texts of several fields at one time.
pub struct Groups {
    fields: Vec<Texts>,
    /// Of each group the number of each field's text.
    members: Vec<Vec<u32>>,
    /// By row; empty where there is one group alone.
    rows: Vec<u32>,
}

impl Groups {
    /// Of the rows that `bits` has.
    ///
    /// # Errors
    /// A column is damaged.
    pub fn read(view: &View, by: &[Field], bits: &Bits) -> Result<Self, Corrupt> {
        let mut found = Self { fields: Vec::new(), members: vec![Vec::new()], rows: Vec::new() };
        for field in by {
            found.split(Texts::read(view, field, bits)?, bits);
        }
        Ok(found)
    }

    /// Tells the rows of each group apart by one more field.
    pub fn split(&mut self, texts: Texts, bits: &Bits) {
        let count = texts.labels.len();
        if self.fields.is_empty() {
            self.members = (0..count as u32).map(|label| vec![label]).collect();
            self.rows.clone_from(&texts.groups);
            self.fields.push(texts);
            return;
        }
        let mut members = Vec::new();
        let mut number = |known: &mut u32, group: u32, label: u32| {
            if *known == 0 {
                let mut member = self.members[group as usize].clone();
                member.push(label);
                members.push(member);
                *known = members.len() as u32;
            }
            *known - 1
        };
        let mut rows = vec![0; self.rows.len()];
        if self.members.len() * count <= TABLE {
            let mut table = vec![0; self.members.len() * count];
            for row in bits.iter() {
                let (group, label) = (self.rows[row], texts.groups[row]);
                let known = &mut table[group as usize * count + label as usize];
                rows[row] = number(known, group, label);
            }
        } else {
            let mut map: HashMap<(u32, u32), u32> = HashMap::new();
            for row in bits.iter() {
                let (group, label) = (self.rows[row], texts.groups[row]);
                rows[row] = number(map.entry((group, label)).or_insert(0), group, label);
            }
        }
        self.members = members;
        self.rows = rows;
        self.fields.push(texts);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    #[must_use]
    #[inline]
    pub fn of(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, |group| *group as usize)
    }

    /// The texts of a group, one of each field.
    #[must_use]
    pub fn labels(&self, group: usize) -> Vec<String> {
        let texts = self.fields.iter().zip(&self.members[group]);
        texts.map(|(field, label)| field.labels[*label as usize].clone()).collect()
    }
}

/// The bytes of each row's body as text.
///
/// # Errors
/// A column is damaged.
pub fn body_bytes(view: &View) -> Result<Vec<u64>, Corrupt> {
    let (bodies, ordinals) = view.bodies()?;
    let values = bodies.column.values();
    let own = |id: usize| {
        if values.tag(id) == TEMPLATE {
            let template = values.bytes(id);
            template.len() - memchr::memchr2_iter(NUMBER, MIXED, template).count()
        } else {
            values.get(id).text_or_json().len()
        }
    };
    let lengths: Vec<usize> = (0..values.len()).map(own).collect();
    let of_row = |row: usize| {
        let Some(id) = bodies.column.id(row) else { return 0 };
        let ordinal = ordinals[row] as usize;
        let variables = bodies.variables[id].iter().map(|column| column.get(ordinal).len());
        (lengths[id] + variables.sum::<usize>()) as u64
    };
    Ok((0..view.granule.rows).map(of_row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_are_the_distinct_rows_of_their_texts(
            cells in proptest::collection::vec((0_u32..300, 0_u32..300, 0_u32..3), 1..400)
        ) {
            let columns: [Vec<u32>; 3] = [
                cells.iter().map(|c| c.0).collect(),
                cells.iter().map(|c| c.1).collect(),
                cells.iter().map(|c| c.2).collect(),
            ];
            let bits = Bits::of(cells.len(), |row| row % 7 != 3);
            let mut groups = Groups { fields: vec![], members: vec![vec![]], rows: vec![] };
            for column in columns {
                let labels = (0..300).map(|n| n.to_string()).collect();
                groups.split(Texts { labels, groups: column }, &bits);
            }
            for row in bits.iter() {
                let (a, b, c) = cells[row];
                let expected = [a.to_string(), b.to_string(), c.to_string()];
                prop_assert_eq!(groups.labels(groups.of(row)), expected);
            }
        }
    }
}
