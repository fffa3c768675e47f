//! A granule with the columns that have been asked for, for one search.

use super::cache::{LARGE_BYTES, SMALL_BYTES};
use super::column::{ColumnError, Strings, TEMPLATE};
use super::granule::{Corrupt, Granule, KINDS, Kind, fill};
use super::stored::Stored;
use super::value::Value;
use std::sync::{Arc, OnceLock};

const ANY: (i64, i64) = (i64::MIN, i64::MAX);

/// Bodies: templates, or whole values, and the variables of each template.
pub struct StoredBodies {
    pub column: Arc<Stored>,
    /// By value of the column: a list for each hole, with an entry for each row, in sequence.
    pub variables: Arc<Vec<Vec<Strings>>>,
}

/// A granule with the columns that have been asked for, for one search.
pub struct View {
    pub granule: Arc<Granule>,
    /// Columns of up to so many bytes are kept for later searches.
    keep: usize,
    /// The same of what every row has one of: only a page has a few rows of a granule.
    keep_rows: usize,
    times: OnceLock<Arc<Vec<i64>>>,
    rows: OnceLock<Arc<Vec<i64>>>,
    observed: OnceLock<Vec<i64>>,
    columns: [OnceLock<Arc<Stored>>; KINDS.len()],
    bodies: OnceLock<(StoredBodies, Vec<u32>)>,
    attributes: Vec<OnceLock<Arc<Stored>>>,
}

impl View {
    #[must_use]
    pub fn new(granule: Arc<Granule>) -> Self {
        let attributes = granule.attributes.iter().map(|_| OnceLock::new()).collect();
        Self {
            granule,
            keep: SMALL_BYTES,
            keep_rows: 0,
            times: OnceLock::new(),
            rows: OnceLock::new(),
            observed: OnceLock::new(),
            columns: Default::default(),
            bodies: OnceLock::new(),
            attributes,
        }
    }

    /// For a page of records.
    #[must_use]
    pub fn for_page(granule: Arc<Granule>) -> Self {
        Self { keep: LARGE_BYTES, keep_rows: LARGE_BYTES, ..Self::new(granule) }
    }

    /// For a page of records, if these are likely to be shown.
    #[must_use]
    pub fn keeping(granule: Arc<Granule>, likely: bool) -> Self {
        if likely { Self::for_page(granule) } else { Self::new(granule) }
    }

    fn once<'a, T>(
        &self,
        cell: &'a OnceLock<T>,
        read: impl FnOnce() -> Result<T, ColumnError>,
    ) -> Result<&'a T, Corrupt> {
        if let Some(value) = cell.get() {
            return Ok(value);
        }
        let value = read().map_err(|e| self.granule.corrupt(&e))?;
        Ok(cell.get_or_init(|| value))
    }

    /// # Errors
    /// The column is damaged; so in what follows.
    pub fn times(&self) -> Result<&[i64], Corrupt> {
        let (bounds, keep) = ((self.granule.min_ns, self.granule.max_ns), self.keep_rows);
        Ok(self.once(&self.times, || self.granule.read_shared_ints(Kind::Times, bounds, keep))?)
    }

    pub fn rows(&self) -> Result<&[i64], Corrupt> {
        let (bounds, keep) = ((self.granule.first_row, self.granule.last_row), self.keep_rows);
        Ok(self.once(&self.rows, || self.granule.read_shared_ints(Kind::Rows, bounds, keep))?)
    }

    pub fn observed(&self) -> Result<&[i64], Corrupt> {
        let times = self.times()?;
        Ok(self.once(&self.observed, || {
            let later = self.granule.read_shared_ints(Kind::Observed, ANY, self.keep_rows)?;
            Ok(later.iter().zip(times).map(|(later, time)| later.wrapping_add(*time)).collect())
        })?)
    }

    /// A column that every granule may have.
    pub fn column(&self, kind: Kind) -> Result<&Stored, Corrupt> {
        Ok(self.shared(kind)?)
    }

    fn shared(&self, kind: Kind) -> Result<&Arc<Stored>, Corrupt> {
        self.once(&self.columns[kind as usize], || self.granule.read_column(kind, self.keep))
    }

    /// The column of the n-th attribute.
    pub fn attribute(&self, index: usize) -> Result<&Stored, Corrupt> {
        Ok(self.once(&self.attributes[index], || self.granule.read_attribute(index, self.keep))?)
    }

    /// Bodies, and for each row which it is of those with its template.
    pub fn bodies(&self) -> Result<&(StoredBodies, Vec<u32>), Corrupt> {
        let column = self.shared(Kind::Body)?;
        self.once(&self.bodies, || {
            let wanted = vec![true; column.values().len()];
            let variables = self.granule.read_variables(column, &wanted, self.keep_rows)?;
            let bodies = StoredBodies { column: Arc::clone(column), variables };
            Ok((bodies, ordinals(column, self.granule.rows)))
        })
    }

    /// The variables of some of the bodies' templates; of others there may be none here.
    pub fn variables(&self, wanted: &[bool]) -> Result<Arc<Vec<Vec<Strings>>>, Corrupt> {
        let column = self.column(Kind::Body)?;
        self.granule
            .read_variables(column, wanted, self.keep_rows)
            .map_err(|e| self.granule.corrupt(&e))
    }

    /// For each row, which it is of those with its body's template.
    pub fn ordinals(&self) -> Result<Vec<u32>, Corrupt> {
        Ok(ordinals(self.column(Kind::Body)?, self.granule.rows))
    }

    /// Reads every column.
    pub fn load(&self) -> Result<(), Corrupt> {
        KINDS[Kind::Severity as usize..Kind::Variables as usize]
            .iter()
            .chain(&[Kind::Rest, Kind::Details])
            .try_for_each(|kind| self.column(*kind).map(drop))?;
        (0..self.attributes.len()).try_for_each(|index| self.attribute(index).map(drop))?;
        self.bodies()?;
        self.rows()?;
        self.observed().map(drop)
    }

    /// A row's body; a template is filled in, into `buffer`.
    pub fn body<'a>(&'a self, row: usize, buffer: &'a mut Vec<u8>) -> Result<Value<'a>, Corrupt> {
        let (bodies, ordinals) = self.bodies()?;
        let Some(id) = bodies.column.id(row) else { return Ok(Value::Null) };
        let values = bodies.column.values();
        if values.tag(id) != TEMPLATE {
            return Ok(values.get(id));
        }
        fill(values.bytes(id), &bodies.variables[id], ordinals[row] as usize, buffer);
        Ok(Value::Text(buffer))
    }
}

fn ordinals(column: &Stored, rows: usize) -> Vec<u32> {
    let mut counts = vec![0; column.values().len()];
    let ordinal = |row: usize| {
        let Some(id) = column.id(row) else { return 0 };
        counts[id] += 1;
        counts[id] - 1
    };
    (0..rows).map(ordinal).collect()
}
