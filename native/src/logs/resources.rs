//! What produced the records that match: each resource once, with its records and bytes over time.

use super::bits::Bits;
use super::granule::{Corrupt, Granule, Kind, View};
use super::grouping::body_bytes;
use super::search::{MAX_GROUPS, MAX_TEXT_BYTES, Query, SearchError};
use super::value::Value;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records, and the bytes of their bodies' texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub records: u64,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// What a step of a resource holds, by the step's number.
type Steps = BTreeMap<usize, Amount>;

/// OTLP's `KeyValueList` of a resource; of records without one nothing.
pub type Resource = Vec<u8>;

impl Query {
    /// The resources of the records that match, and how much each has in every step that has
    /// something; `bytes` are counted only where they are asked for.
    ///
    /// # Errors
    /// Damage, too many resources, or `check` says so.
    pub fn resources<E>(
        &self,
        granules: Vec<Arc<Granule>>,
        step_ns: u64,
        bytes: bool,
        check: impl FnMut() -> Result<(), E>,
    ) -> Result<HashMap<Resource, Steps>, SearchError<E>> {
        let mut all: HashMap<Resource, Steps> = HashMap::new();
        let (mut held, mut text_bytes) = (0, 0);
        let work = |view: &View, bits: &Bits| self.of_granule(view, bits, step_ns, bytes);
        self.each(&self.candidates(granules), check, work, |found| {
            for (resource, steps) in found {
                let own_bytes = resource.len();
                let known = all.entry(resource).or_insert_with(|| {
                    text_bytes += own_bytes;
                    Steps::new()
                });
                held -= known.len();
                for (step, amount) in steps {
                    known.entry(step).or_default().add(amount);
                }
                held += known.len();
            }
            // What a resource is takes more than a step of it.
            let are_many = all.len() > MAX_GROUPS || held > 20 * MAX_GROUPS;
            if are_many || text_bytes > MAX_TEXT_BYTES {
                return Err(SearchError::TooManyGroups);
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn of_granule(
        &self,
        view: &View,
        bits: &Bits,
        step_ns: u64,
        bytes: bool,
    ) -> Result<Vec<(Resource, Steps)>, Corrupt> {
        let column = view.column(Kind::Resource)?;
        let values = column.values();
        // The last is that of the records without a resource.
        let mut steps = vec![Steps::new(); values.len() + 1];
        let group_of = |row: usize| column.id(row).unwrap_or(values.len());
        let granule = &view.granule;
        let first = self.step(granule.min_ns.max(self.start_ns), step_ns);
        let is_one_step = first == self.step(granule.max_ns.min(self.end_ns - 1), step_ns);
        let times = if is_one_step { &[][..] } else { view.times()? };
        let step_of = |row: usize| times.get(row).map_or(first, |ns| self.step(*ns, step_ns));
        let sizes = if bytes { body_bytes(view)? } else { Vec::new() };
        for row in bits.iter() {
            let bytes = sizes.get(row).copied().unwrap_or(0);
            steps[group_of(row)].entry(step_of(row)).or_default().add(Amount { records: 1, bytes });
        }
        let of_id = |id: usize| match (id < values.len()).then(|| values.get(id)) {
            Some(Value::Map(message)) => message.to_vec(),
            _ => Vec::new(),
        };
        let found = steps.into_iter().enumerate().filter(|(_, steps)| !steps.is_empty());
        Ok(found.map(|(id, steps)| (of_id(id), steps)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::builder::Builder;
    use crate::logs::granule::{Store, encode};
    use crate::logs::predicate::Predicate;
    use crate::wire::protobuf::put_bytes;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn resource(name: u8) -> Vec<u8> {
        let (mut value, mut entry, mut message) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut value, 1, &[name]);
        put_bytes(&mut entry, 1, b"app");
        put_bytes(&mut entry, 2, &value);
        put_bytes(&mut message, 1, &entry);
        message
    }

    /// (time, resource, body) of each record.
    fn granule(records: &[(i64, Option<u8>, String)]) -> Arc<Granule> {
        let mut builder = Builder::default();
        for (number, (time, name, body)) in records.iter().enumerate() {
            let row = builder.start_row(*time, *time, number as i64, 0);
            if let Some(name) = name {
                builder.push_resource(row, &resource(*name));
            }
            builder.push_body(row, Value::Text(body.as_bytes()));
        }
        let bytes = encode(&builder, 1).expect("a granule");
        Arc::new(Granule::open(Store::Memory(bytes.into())).expect("a granule"))
    }

    proptest! {
        #[test]
        fn every_record_in_the_range_is_counted_once(
            records in proptest::collection::vec(
                (0_i64..100, proptest::option::of(b'a'..b'e'), "[a-z]{0,3} [0-9]{1,6} é{0,2}"), 1..60),
            start_ns in 0_i64..50, span in 1_i64..80, step_ns in 1_u64..40, bytes: bool,
        ) {
            let query = Query { predicate: Predicate::Everything, start_ns, end_ns: start_ns + span };
            let (half, rest) = records.split_at(records.len() / 2);
            let halves = [half, rest].into_iter().filter(|r| !r.is_empty()).map(granule);
            let found = query
                .resources::<Infallible>(halves.collect(), step_ns, bytes, || Ok(()))
                .expect("resources");
            let mut expected: HashMap<Resource, Steps> = HashMap::new();
            for (time, name, body) in &records {
                if *time >= start_ns && *time < start_ns + span {
                    let step = ((time - start_ns) as u64 / step_ns) as usize;
                    let of = name.map_or_else(Vec::new, resource);
                    let amount = expected.entry(of).or_default().entry(step).or_default();
                    amount.add(Amount { records: 1, bytes: if bytes { body.len() as u64 } else { 0 } });
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
