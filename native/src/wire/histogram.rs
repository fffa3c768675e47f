//! Native histograms on the wire: what makes one valid.
//!
//! Source: <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>, "io.prometheus.write.v2"
//! `Histogram`; 1.0 uses the same field numbers.

use super::protobuf::{Fields, Value, WireError, each_double, each_varint, put_bytes, put_key};
use super::varint::{put_uvarint, unzigzag, zigzag};
use crate::tsdb::STALE_NAN_BITS;

/// The schema of histograms with custom bucket bounds.
const CUSTOM_BUCKETS: i64 = -53;
/// Histograms of a finer schema are reduced to this one.
const FINEST_SCHEMA: i64 = 8;
/// Exponential schemas that senders may use.
const SCHEMAS: std::ops::RangeInclusive<i64> = -4..=52;
/// More buckets than any client makes.
const MAX_BUCKETS: usize = 100_000;

/// Why a histogram is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("histogram does not decode: {0}")]
    Wire(#[from] WireError),
    #[error("histogram schema is neither in -4..52 nor -53")]
    Schema,
    #[error("histogram has custom bucket bounds that do not strictly increase or are not finite")]
    CustomBounds,
    #[error("histogram with custom buckets has a zero bucket or negative buckets")]
    CustomShape,
    #[error("histogram spans describe another number of buckets than there are")]
    Spans,
    #[error("histogram span has a negative offset")]
    Offset,
    #[error("histogram has a negative count")]
    NegativeCount,
    #[error("histogram buckets do not sum up to its count")]
    Count,
    #[error("histogram mixes integer and float counts")]
    Mixed,
}

/// One side's buckets: (index, count), by index.
type Buckets = Vec<(i64, f64)>;

#[derive(Default)]
struct Side {
    spans: Vec<(i64, u64)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    /// Absolute buckets, checked against the spans.
    fn buckets(&self, float: bool) -> Result<Buckets, Invalid> {
        if (float && !self.deltas.is_empty()) || (!float && !self.counts.is_empty()) {
            return Err(Invalid::Mixed);
        }
        let counts: Vec<f64> = if float {
            self.counts.clone()
        } else {
            let mut sum = 0_i64;
            self.deltas
                .iter()
                .map(|d| {
                    sum = sum.wrapping_add(*d);
                    sum as f64
                })
                .collect()
        };
        if counts.iter().any(|c| *c < 0.0) {
            return Err(Invalid::NegativeCount);
        }
        let mut index = 0_i64;
        let mut buckets = Vec::with_capacity(counts.len());
        let mut rest = counts.into_iter();
        for (i, &(offset, length)) in self.spans.iter().enumerate() {
            if i > 0 && offset < 0 {
                return Err(Invalid::Offset);
            }
            index = index.saturating_add(offset);
            for _ in 0..length {
                buckets.push((index, rest.next().ok_or(Invalid::Spans)?));
                index = index.saturating_add(1);
            }
        }
        if rest.next().is_some() { Err(Invalid::Spans) } else { Ok(buckets) }
    }
}

#[derive(Default)]
struct Histogram {
    count: Option<(f64, bool)>,
    zero_threshold: f64,
    zero_count: f64,
    sum: f64,
    schema: i64,
    negative: Side,
    positive: Side,
    custom: Vec<f64>,
    timestamp_ms: i64,
}

fn parse(message: &[u8]) -> Result<Histogram, Invalid> {
    let mut h = Histogram::default();
    let mut fields = Fields::new(message);
    let mut buckets = 0;
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => h.count = Some((value.varint(1)? as f64, false)),
            2 => h.count = Some((value.double(2)?, true)),
            3 => h.sum = value.double(3)?,
            4 => h.schema = unzigzag(value.varint(4)?),
            5 => h.zero_threshold = value.double(5)?,
            6 => h.zero_count = value.varint(6)? as f64,
            7 => h.zero_count = value.double(7)?,
            8 => h.negative.spans.push(parse_span(value.bytes(8)?)?),
            9 => each_varint(9, value, |d| h.negative.deltas.push(unzigzag(d)))?,
            10 => each_double(10, value, |c| h.negative.counts.push(c))?,
            11 => h.positive.spans.push(parse_span(value.bytes(11)?)?),
            12 => each_varint(12, value, |d| h.positive.deltas.push(unzigzag(d)))?,
            13 => each_double(13, value, |c| h.positive.counts.push(c))?,
            15 => h.timestamp_ms = value.varint(15)? as i64,
            16 => each_double(16, value, |b| h.custom.push(b))?,
            _ => {}
        }
        if let (8 | 11, Value::Bytes(_)) = (field, value) {
            let spans = if field == 8 { &h.negative.spans } else { &h.positive.spans };
            buckets += spans.last().map_or(0, |(_, length)| *length) as usize;
            if buckets > MAX_BUCKETS {
                return Err(Invalid::Spans);
            }
        }
    }
    Ok(h)
}

fn parse_span(message: &[u8]) -> Result<(i64, u64), WireError> {
    let (mut offset, mut length) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => offset = unzigzag(value.varint(1)?),
            2 => length = value.varint(2)?.min(u64::from(u32::MAX)),
            _ => {}
        }
    }
    Ok((offset, length))
}

/// Checks a histogram and gives its time (Unix milliseconds) and the bytes to store: those given,
/// or the histogram at the finest schema that is stored.
///
/// # Errors
/// It breaks a rule of the format.
pub fn validate(message: &[u8]) -> Result<(i64, Box<[u8]>), Invalid> {
    let h = parse(message)?;
    // A staleness marker carries no buckets.
    if h.sum.to_bits() == STALE_NAN_BITS {
        return Ok((h.timestamp_ms, message.into()));
    }
    let (count, float) = h.count.unwrap_or((0.0, false));
    if count < 0.0 || h.zero_count < 0.0 {
        return Err(Invalid::NegativeCount);
    }
    if h.schema == CUSTOM_BUCKETS {
        if h.zero_count != 0.0 || h.zero_threshold != 0.0 || !h.negative.spans.is_empty() {
            return Err(Invalid::CustomShape);
        }
        let increasing = h.custom.windows(2).all(|w| w[0] < w[1]);
        if !increasing || h.custom.iter().any(|b| !b.is_finite()) {
            return Err(Invalid::CustomBounds);
        }
    } else if !SCHEMAS.contains(&h.schema) {
        return Err(Invalid::Schema);
    }
    let (negative, positive) = (h.negative.buckets(float)?, h.positive.buckets(float)?);
    if h.schema == CUSTOM_BUCKETS
        && positive.iter().any(|(i, _)| *i < 0 || *i > h.custom.len() as i64)
    {
        return Err(Invalid::Spans);
    }
    let in_buckets: f64 = h.zero_count + negative.iter().chain(&positive).map(|b| b.1).sum::<f64>();
    // Observations of NaN are in no bucket.
    let too_many = in_buckets > count * (1.0 + 1e-9);
    let too_few = in_buckets < count * (1.0 - 1e-9) && !h.sum.is_nan();
    if too_many || too_few {
        return Err(Invalid::Count);
    }
    if h.schema > FINEST_SCHEMA {
        return Ok((h.timestamp_ms, reduce(message, &h, float, negative, positive)?));
    }
    Ok((h.timestamp_ms, message.into()))
}

/// The same histogram at the finest schema that is stored: neighbouring buckets are merged.
fn reduce(
    message: &[u8],
    h: &Histogram,
    float: bool,
    negative: Buckets,
    positive: Buckets,
) -> Result<Box<[u8]>, Invalid> {
    let shift = h.schema - FINEST_SCHEMA;
    let mut out = Vec::with_capacity(message.len());
    let mut fields = Fields::new(message);
    loop {
        let before = fields.rest();
        let Some((field, _)) = fields.next_field()? else { break };
        if !matches!(field, 4 | 8..=13) {
            out.extend_from_slice(&before[..before.len() - fields.rest().len()]);
        }
    }
    put_key(&mut out, 4, 0);
    put_uvarint(&mut out, zigzag(FINEST_SCHEMA));
    for (buckets, first_field) in [(negative, 8), (positive, 11)] {
        put_side(&mut out, &merged(buckets, shift), first_field, float);
    }
    Ok(out.into())
}

fn merged(buckets: Buckets, shift: i64) -> Buckets {
    let mut out: Buckets = Vec::new();
    for (index, count) in buckets {
        // Index i holds (base^(i-1), base^i]: the coarser bucket of i is ceil(i / 2^shift).
        let coarse = ((index - 1) >> shift) + 1;
        match out.last_mut() {
            Some((last, sum)) if *last == coarse => *sum += count,
            _ => out.push((coarse, count)),
        }
    }
    out
}

fn put_side(out: &mut Vec<u8>, buckets: &Buckets, first_field: u32, float: bool) {
    let mut next = 0;
    let mut runs: Vec<(i64, u64)> = Vec::new();
    for &(index, _) in buckets {
        match runs.last_mut() {
            Some((_, length)) if index == next => *length += 1,
            _ => runs.push((index - next, 1)),
        }
        next = index + 1;
    }
    for (offset, length) in runs {
        let mut span = Vec::new();
        put_key(&mut span, 1, 0);
        put_uvarint(&mut span, zigzag(offset));
        put_key(&mut span, 2, 0);
        put_uvarint(&mut span, length);
        put_bytes(out, first_field, &span);
    }
    if buckets.is_empty() {
        return;
    }
    let mut packed = Vec::new();
    if float {
        for (_, count) in buckets {
            packed.extend_from_slice(&count.to_le_bytes());
        }
        put_bytes(out, first_field + 2, &packed);
    } else {
        let mut previous = 0_i64;
        for (_, count) in buckets {
            put_uvarint(&mut packed, zigzag(*count as i64 - previous));
            previous = *count as i64;
        }
        put_bytes(out, first_field + 1, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn integer(schema: i64, start: i64, counts: &[u64], sum: f64) -> Vec<u8> {
        let mut out = Vec::new();
        put_key(&mut out, 1, 0);
        put_uvarint(&mut out, counts.iter().sum());
        put_key(&mut out, 3, 1);
        out.extend_from_slice(&sum.to_le_bytes());
        put_key(&mut out, 4, 0);
        put_uvarint(&mut out, zigzag(schema));
        let buckets: Buckets =
            counts.iter().enumerate().map(|(i, c)| (start + i as i64, *c as f64)).collect();
        put_side(&mut out, &buckets, 11, false);
        put_key(&mut out, 15, 0);
        put_uvarint(&mut out, 1234);
        out
    }

    #[test]
    fn a_valid_histogram_is_stored_as_it_came() {
        let message = integer(3, -2, &[1, 0, 5], 2.5);
        assert_eq!(validate(&message), Ok((1234, message.into())));
    }

    #[test]
    fn a_fine_histogram_is_reduced_without_losing_counts() {
        let reduced = validate(&integer(10, 1, &[1, 2, 3, 4, 5], 2.5)).unwrap().1;
        let h = parse(&reduced).unwrap();
        assert_eq!(h.schema, 8);
        assert_eq!(h.positive.buckets(false).unwrap(), vec![(1, 10.0), (2, 5.0)]);
        assert!(validate(&reduced).is_ok());
    }

    #[test]
    fn broken_rules_are_named() {
        assert_eq!(validate(&integer(60, 0, &[1], 1.0)), Err(Invalid::Schema));
        let mut custom = integer(CUSTOM_BUCKETS, 0, &[1, 2], 1.0);
        put_key(&mut custom, 16, 1);
        custom.extend_from_slice(&1.0_f64.to_le_bytes());
        assert!(validate(&custom).is_ok());
        put_key(&mut custom, 5, 1);
        custom.extend_from_slice(&0.001_f64.to_le_bytes());
        assert_eq!(validate(&custom), Err(Invalid::CustomShape));
        let mut message = integer(3, 0, &[1, 2], 1.0);
        put_key(&mut message, 1, 0);
        put_uvarint(&mut message, 9);
        assert_eq!(validate(&message), Err(Invalid::Count));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = validate(&bytes);
        }
    }
}
