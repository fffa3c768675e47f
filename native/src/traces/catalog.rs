//! What there is to search for: services, operations, fields and their values.

use super::builder::Part;
use super::chunk::service_of;
use super::predicate::Field;
use super::search::{MAX_VALUES, MAX_VALUES_BYTES, Query, SearchError};
use super::sources::Sources;
use super::values::{Constant, field_names as names_of, row_values};
use crate::columns::bits::Bits;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names of services, sorted.
///
/// # Errors
/// Damage, or `check` says so; so in what follows.
pub fn services<E>(
    query: &Query,
    sources: &Sources,
    check: impl FnMut() -> Result<(), E>,
) -> Result<Vec<String>, SearchError<E>> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    query.collect(
        sources,
        check,
        |view, bits| {
            let column = view.column(Part::Resource)?;
            // Every value is of some row.
            let mut seen = vec![bits.is_all(); column.values().len()];
            let rows = Some(bits).filter(|bits| !bits.is_all()).into_iter();
            rows.flat_map(Bits::iter)
                .filter_map(|row| column.id(row))
                .for_each(|id| seen[id] = true);
            let ids = (0..seen.len()).filter(|id| seen[*id]);
            let names: HashSet<String> =
                ids.map(|id| lossy(service_of(column.values().bytes(id)))).collect();
            Ok(names)
        },
        |names| {
            all.extend(names.into_iter().filter(|name| !name.is_empty()));
            Ok(())
        },
    )?;
    Ok(all.into_iter().collect())
}

/// Names and kinds of spans that match, sorted.
pub fn operations<E>(
    query: &Query,
    sources: &Sources,
    check: impl FnMut() -> Result<(), E>,
) -> Result<Vec<(String, u8)>, SearchError<E>> {
    let mut all: BTreeSet<(String, u8)> = BTreeSet::new();
    query.collect(
        sources,
        check,
        |view, bits| {
            let (names, kinds) = (view.column(Part::Name)?, view.column(Part::Kind)?);
            let seen: HashSet<(Option<usize>, Option<usize>)> =
                bits.iter().map(|row| (names.id(row), kinds.id(row))).collect();
            let kind = |id: usize| kinds.values().bytes(id).first().copied();
            let of = |(name, of_kind): (Option<usize>, Option<usize>)| {
                let name = name.map_or_else(String::new, |id| lossy(names.values().bytes(id)));
                (name, of_kind.and_then(kind).unwrap_or(0))
            };
            Ok(seen.into_iter().map(of).collect::<Vec<_>>())
        },
        |found| {
            all.extend(found);
            Ok(())
        },
    )?;
    Ok(all.into_iter().collect())
}

/// Scopes and keys of the attributes of spans that match, sorted, at most so many.
pub fn field_names<E>(
    query: &Query,
    sources: &Sources,
    limit: usize,
    check: impl FnMut() -> Result<(), E>,
) -> Result<Vec<(&'static str, String)>, SearchError<E>> {
    let mut all: BTreeSet<(&'static str, String)> = BTreeSet::new();
    query.collect(sources, check, names_of, |names| {
        all.extend(names);
        // What is behind the limit is never shown.
        while all.len() > limit {
            all.pop_last();
        }
        Ok(())
    })?;
    Ok(all.into_iter().collect())
}

/// The most frequent values of a field, with how many spans have each; of fields with very many
/// values, at least how many.
pub fn field_values<E>(
    query: &Query,
    sources: &Sources,
    field: &Field,
    limit: usize,
    check: impl FnMut() -> Result<(), E>,
) -> Result<Vec<(Constant, u64)>, SearchError<E>> {
    let mut all: HashMap<Constant, u64> = HashMap::new();
    let mut size_bytes = 0;
    query.collect(
        sources,
        check,
        |view, bits| {
            let mut counts: HashMap<Constant, u64> = HashMap::new();
            let (mut last, mut seen) = (usize::MAX, Vec::new());
            row_values(field, view, bits, &mut |row, value| {
                if row != last {
                    (last, seen) = (row, Vec::new());
                }
                // A span counts once, however often it has a value.
                if seen.contains(value) {
                    return;
                }
                seen.push(value.clone());
                match counts.get_mut(value) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(value.clone(), 1);
                    }
                }
            })?;
            Ok(counts)
        },
        |counts| {
            for (value, count) in counts {
                let size = size_of(&value);
                *all.entry(value).or_insert_with(|| {
                    size_bytes += size;
                    0
                }) += count;
            }
            while all.len() > MAX_VALUES || size_bytes > MAX_VALUES_BYTES {
                halve(&mut all);
                size_bytes = all.keys().map(size_of).sum();
            }
            Ok(())
        },
    )?;
    let mut ranked: Vec<(Constant, u64)> = all.into_iter().collect();
    ranked.sort_by_cached_key(|(value, count)| (std::cmp::Reverse(*count), shown(value)));
    ranked.truncate(limit);
    Ok(ranked)
}

/// Takes as much off every count as makes half of them vanish: what is most frequent stays. Source:
/// Misra & Gries, "Finding repeated elements", Science of Computer Programming, 1982.
fn halve(counts: &mut HashMap<Constant, u64>) {
    let mut sorted: Vec<u64> = counts.values().copied().collect();
    let middle = sorted.len() / 2;
    let (_, least, _) = sorted.select_nth_unstable_by(middle, |a, b| b.cmp(a));
    let least = *least;
    counts.retain(|_, count| {
        *count = count.saturating_sub(least);
        *count > 0
    });
}

/// What a value takes in a map, about.
fn size_of(value: &Constant) -> usize {
    const ENTRY_BYTES: usize = 64;
    if let Constant::Text(text) = value { text.len() + ENTRY_BYTES } else { ENTRY_BYTES }
}

fn shown(value: &Constant) -> String {
    match value {
        Constant::Bool(b) => if *b { "True" } else { "False" }.to_owned(),
        Constant::Int(n) => n.to_string(),
        Constant::Double(bits) => crate::columns::value::double_text(f64::from_bits(*bits)),
        Constant::Text(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_most_frequent_stays() {
        let count = |n: i64| if n < 3 { 100 } else { 1 + n as u64 % 3 };
        let mut counts: HashMap<Constant, u64> =
            (0..1000).map(|n| (Constant::Int(n), count(n))).collect();
        halve(&mut counts);
        assert!(counts.len() <= 500);
        assert!((0..3).all(|n| counts[&Constant::Int(n)] >= 97));
    }
}
