//! Remote write requests, 1.0 and 2.0, walked in place: where each series' labels stand, and its
//! samples. Labels are not parsed here; most series are known by their fingerprint.
//!
//! Source: <https://prometheus.io/docs/specs/prw/remote_write_spec/> and `…_2_0`.

use super::protobuf::{Fields, Value, WireError, each_varint, put_bytes, put_double, put_varint};
use crate::tsdb::fingerprint::Fingerprint;
use crate::tsdb::head::BlobKind;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Keeps fingerprints of 2.0 requests, which hash symbols, apart from those of 1.0.
const V2_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is wrong with a request as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("too many series, samples or symbols for a limit of {0} bytes")]
    TooMany(usize),
    #[error("cannot decode snappy: {0}")]
    Snappy(String),
    #[error("decompressed body is larger than the limit of {0} bytes")]
    TooLarge(usize),
    #[error("cannot decode protobuf: {0}")]
    Wire(#[from] WireError),
    #[error("symbols[0] must be the empty string")]
    FirstSymbol,
}

/// Decompresses a snappy block into `buffer`, whose allocation is used again.
///
/// # Errors
/// It is not snappy, or its declared size is over `limit`: then nothing is allocated for it.
pub fn decompress(body: &[u8], limit: usize, buffer: &mut Vec<u8>) -> Result<(), RequestError> {
    let snappy = |e: snap::Error| RequestError::Snappy(e.to_string());
    let length = snap::raw::decompress_len(body).map_err(snappy)?;
    if length > limit {
        return Err(RequestError::TooLarge(limit));
    }
    // Snappy copies at most 64 bytes for three of input: a body cannot hold more than it declares
    // by much, so a tiny body that declares a lot is a lie and need not be allocated for.
    if length / 32 > body.len() {
        return Err(RequestError::Snappy("declared size exceeds what the body can hold".into()));
    }
    buffer.resize(length, 0);
    snap::raw::Decoder::new().decompress(body, buffer).map_err(snappy)?;
    Ok(())
}

/// Where a series' labels stand.
#[derive(Debug, Clone)]
pub enum LabelSource {
    /// Label fields of a 1.0 series, in the request's bytes.
    Fields(Range<u32>),
    /// Label fields that do not stand together, copied into `Parsed::scattered`.
    Scattered(Range<u32>),
    /// Symbol references of a 2.0 series, in `Parsed::refs`.
    Refs(Range<u32>),
}

/// A histogram or exemplar of a series.
#[derive(Debug, Clone)]
pub struct BlobRef {
    pub kind: BlobKind,
    /// In the request's bytes.
    pub bytes: Range<u32>,
}

/// One series of a request.
#[derive(Debug, Clone)]
pub struct Series {
    pub fingerprint: Fingerprint,
    pub labels: LabelSource,
    pub samples: Range<u32>,
    pub blobs: Range<u32>,
    /// 2.0: (type, help symbol, unit symbol).
    pub metadata: Option<(u8, u32, u32)>,
}

/// A request's parts. The vectors keep their memory for the next request.
#[derive(Debug, Default)]
pub struct Parsed {
    pub series: Vec<Series>,
    /// (Unix milliseconds, bits of the float)
    pub samples: Vec<(i64, u64)>,
    pub blobs: Vec<BlobRef>,
    pub refs: Vec<u32>,
    pub scattered: Vec<u8>,
    /// 1.0: metadata messages, in the request's bytes.
    pub metadata: Vec<Range<u32>>,
    /// 2.0: symbols, in the request's bytes.
    pub symbols: Vec<Range<u32>>,
    pub symbol_hashes: Vec<u128>,
    /// Bytes that may still be taken: tiny fields take more memory than they have bytes.
    room: usize,
    limit: usize,
}

/// What a part of a request takes here and in the batch that is made of it.
const SERIES_BYTES: usize = size_of::<Series>() + size_of::<&[u8]>() + 4;
const SAMPLE_BYTES: usize = 40;
const BLOB_BYTES: usize = 64;
const REF_BYTES: usize = 20;
const SYMBOL_BYTES: usize = 24;
/// A request may take so much beside the limit of its size: small ones need some in any case.
const SPARE_BYTES: usize = 16 << 20;

impl Parsed {
    fn clear(&mut self, limit: usize) {
        self.limit = limit;
        self.room = limit.saturating_add(SPARE_BYTES);
        self.series.clear();
        self.samples.clear();
        self.blobs.clear();
        self.refs.clear();
        self.scattered.clear();
        self.metadata.clear();
        self.symbols.clear();
        self.symbol_hashes.clear();
    }

    /// Memory that the vectors keep.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.series.capacity() * size_of::<Series>()
            + self.samples.capacity() * size_of::<(i64, u64)>()
            + (self.blobs.capacity() + self.symbol_hashes.capacity()) * 16
            + (self.refs.capacity() + self.metadata.capacity() + self.symbols.capacity()) * 8
            + self.scattered.capacity()
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Result<(), RequestError> {
        self.room = self.room.checked_sub(bytes).ok_or(RequestError::TooMany(self.limit))?;
        Ok(())
    }

    fn push_blob(&mut self, kind: BlobKind, bytes: Range<u32>) -> Result<(), RequestError> {
        self.take(BLOB_BYTES)?;
        self.blobs.push(BlobRef { kind, bytes });
        Ok(())
    }
}

fn range_in(whole: &[u8], part: &[u8]) -> Range<u32> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start as u32..(start + part.len()) as u32
}

/// Walks a 1.0 `WriteRequest`.
///
/// # Errors
/// It is not one.
pub fn parse_v1(
    body: &[u8],
    seed: u64,
    limit: usize,
    parsed: &mut Parsed,
) -> Result<(), RequestError> {
    parsed.clear(limit);
    let mut fields = Fields::new(body);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => parse_series_v1(body, value.bytes(1)?, seed, parsed)?,
            3 => {
                parsed.take(size_of::<Range<u32>>())?;
                parsed.metadata.push(range_in(body, value.bytes(3)?));
            }
            _ => {}
        }
    }
    Ok(())
}

fn parse_series_v1(
    body: &[u8],
    message: &[u8],
    seed: u64,
    parsed: &mut Parsed,
) -> Result<(), RequestError> {
    parsed.take(SERIES_BYTES)?;
    let first_sample = parsed.samples.len() as u32;
    let first_blob = parsed.blobs.len() as u32;
    let labels_end = label_run(message)?;
    let mut scattered: Option<u32> = None;
    let mut fields = Fields::new(&message[labels_end..]);
    loop {
        let before = fields.rest();
        let Some((field, value)) = fields.next_field()? else { break };
        match field {
            1 => {
                let start = *scattered.get_or_insert_with(|| {
                    let start = parsed.scattered.len() as u32;
                    parsed.scattered.extend_from_slice(&message[..labels_end]);
                    start
                });
                debug_assert!(start as usize <= parsed.scattered.len());
                let taken = before.len() - fields.rest().len();
                parsed.scattered.extend_from_slice(&before[..taken]);
            }
            2 => {
                parsed.take(SAMPLE_BYTES)?;
                parsed.samples.push(parse_sample(value.bytes(2)?)?);
            }
            3 => parsed.push_blob(BlobKind::Exemplar, range_in(body, value.bytes(3)?))?,
            4 => parsed.push_blob(BlobKind::Histogram, range_in(body, value.bytes(4)?))?,
            _ => {}
        }
    }
    let (labels, bytes) = match scattered {
        Some(start) => {
            let range = start..parsed.scattered.len() as u32;
            let bytes = &parsed.scattered[start as usize..];
            (LabelSource::Scattered(range), bytes)
        }
        None => {
            let bytes = &message[..labels_end];
            (LabelSource::Fields(range_in(body, bytes)), bytes)
        }
    };
    parsed.series.push(Series {
        fingerprint: Fingerprint::of(bytes, seed),
        labels,
        samples: first_sample..parsed.samples.len() as u32,
        blobs: first_blob..parsed.blobs.len() as u32,
        metadata: None,
    });
    Ok(())
}

/// The length of the run of label fields that a series begins with.
#[inline]
fn label_run(message: &[u8]) -> Result<usize, WireError> {
    const LABELS_KEY: u8 = 1 << 3 | 2;
    let mut at = 0;
    while message.get(at) == Some(&LABELS_KEY) {
        // Labels are short: their length is one byte, most often.
        let Some(&short @ 0..=0x7f) = message.get(at + 1) else {
            let mut fields = Fields::new(&message[at..]);
            fields.next_field()?;
            at = message.len() - fields.rest().len();
            continue;
        };
        at += 2 + usize::from(short);
    }
    if at > message.len() { Err(WireError::Truncated) } else { Ok(at) }
}

/// A `Sample`: (Unix milliseconds, bits of the float).
#[inline]
fn parse_sample(message: &[u8]) -> Result<(i64, u64), WireError> {
    let (mut ts, mut bits) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match (field, value) {
            (1, Value::Fixed64(v)) => bits = v,
            (2, Value::Varint(v)) => ts = v as i64,
            (1 | 2, _) => return Err(WireError::WireType(field)),
            // 3 is 2.0's start timestamp.
            _ => {}
        }
    }
    Ok((ts, bits))
}

/// Walks a 2.0 `Request`.
///
/// # Errors
/// It is not one, or its symbol table does not begin with the empty string.
pub fn parse_v2(
    body: &[u8],
    seed: u64,
    limit: usize,
    parsed: &mut Parsed,
) -> Result<(), RequestError> {
    parsed.clear(limit);
    let mut fields = Fields::new(body);
    let mut pending = Vec::new();
    while let Some((field, value)) = fields.next_field()? {
        match field {
            4 => {
                let symbol = value.bytes(4)?;
                parsed.take(SYMBOL_BYTES)?;
                parsed.symbols.push(range_in(body, symbol));
                parsed.symbol_hashes.push(xxh3_128_with_seed(symbol, seed));
            }
            5 => {
                parsed.take(SERIES_BYTES)?;
                pending.push(value.bytes(5)?);
            }
            _ => {}
        }
    }
    // Symbols may stand behind the series that refer to them.
    if parsed.symbols.first().is_some_and(|first| !first.is_empty())
        || (parsed.symbols.is_empty() && !pending.is_empty())
    {
        return Err(RequestError::FirstSymbol);
    }
    let mut hashes = Vec::new();
    for message in pending {
        parse_series_v2(body, message, seed, parsed, &mut hashes)?;
    }
    Ok(())
}

fn parse_series_v2(
    body: &[u8],
    message: &[u8],
    seed: u64,
    parsed: &mut Parsed,
    hashes: &mut Vec<u8>,
) -> Result<(), RequestError> {
    let first_sample = parsed.samples.len() as u32;
    let first_blob = parsed.blobs.len() as u32;
    let first_ref = parsed.refs.len();
    let mut metadata = None;
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => {
                let most = if let Value::Bytes(packed) = value { packed.len() } else { 1 };
                parsed.take(most.saturating_mul(REF_BYTES))?;
                each_varint(1, value, |r| {
                    parsed.refs.push(u32::try_from(r).unwrap_or(u32::MAX));
                })?;
            }
            2 => {
                parsed.take(SAMPLE_BYTES)?;
                parsed.samples.push(parse_sample(value.bytes(2)?)?);
            }
            3 => parsed.push_blob(BlobKind::Histogram, range_in(body, value.bytes(3)?))?,
            4 => parsed.push_blob(BlobKind::Exemplar, range_in(body, value.bytes(4)?))?,
            5 => metadata = Some(parse_metadata_v2(value.bytes(5)?)?),
            _ => {}
        }
    }
    hashes.clear();
    for &r in &parsed.refs[first_ref..] {
        // A reference outside of the table is found when labels are parsed: such a series is
        // never known.
        let hash = parsed.symbol_hashes.get(r as usize).copied().unwrap_or_default();
        hashes.extend_from_slice(&hash.to_le_bytes());
    }
    parsed.series.push(Series {
        fingerprint: Fingerprint::of(hashes, seed ^ V2_SEED),
        labels: LabelSource::Refs(first_ref as u32..parsed.refs.len() as u32),
        samples: first_sample..parsed.samples.len() as u32,
        blobs: first_blob..parsed.blobs.len() as u32,
        metadata,
    });
    Ok(())
}

fn parse_metadata_v2(message: &[u8]) -> Result<(u8, u32, u32), WireError> {
    let (mut kind, mut help, mut unit) = (0, 0, 0);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => kind = u8::try_from(value.varint(1)?).unwrap_or(0),
            // Beyond 32 bits is outside of the symbol table, as any other bad reference.
            3 => help = u32::try_from(value.varint(3)?).unwrap_or(u32::MAX),
            4 => unit = u32::try_from(value.varint(4)?).unwrap_or(u32::MAX),
            _ => {}
        }
    }
    Ok((kind, help, unit))
}

/// The name and value of a 1.0 `Label`.
///
/// # Errors
/// It is not one.
pub fn parse_label(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut name, mut text): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => name = value.bytes(1)?,
            2 => text = value.bytes(2)?,
            _ => {}
        }
    }
    Ok((name, text))
}

/// The 1.0 form of an exemplar.
#[must_use]
pub fn encode_exemplar(labels: &[(&[u8], &[u8])], value: f64, ts: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut label = Vec::new();
    for (name, text) in labels {
        label.clear();
        put_bytes(&mut label, 1, name);
        put_bytes(&mut label, 2, text);
        put_bytes(&mut out, 1, &label);
    }
    put_double(&mut out, 2, value);
    put_varint(&mut out, 3, ts as u64);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut parsed = Parsed::default();
            let _ = parse_v1(&bytes, 1, 1 << 20, &mut parsed);
            let _ = parse_v2(&bytes, 1, 1 << 20, &mut parsed);
            let _ = decompress(&bytes, 1 << 20, &mut Vec::new());
        }
    }

    #[test]
    fn tiny_fields_take_no_more_memory_than_the_limit() {
        // Empty series, samples of one series, symbols, and references of one series.
        let many = |field: u8| [field << 3 | 2, 0].repeat(8 << 20);
        let within = |message: Vec<u8>, field: u8| {
            let mut body = Vec::new();
            put_bytes(&mut body, u32::from(field), &message);
            body
        };
        let mut parsed = Parsed::default();
        for body in [many(1), within(many(2), 1), within(many(3), 1), many(3)] {
            let refused = parse_v1(&body, 1, 1 << 20, &mut parsed);
            assert_eq!(refused, Err(RequestError::TooMany(1 << 20)));
            assert!(parsed.capacity_bytes() < 64 << 20);
            parsed = Parsed::default();
        }
        let packed = within(vec![1; 8 << 20], 1);
        for body in [many(4), many(5), [vec![0x22, 0], within(packed, 5)].concat()] {
            let refused = parse_v2(&body, 1, 1 << 20, &mut parsed);
            assert_eq!(refused, Err(RequestError::TooMany(1 << 20)));
            assert!(parsed.capacity_bytes() < 64 << 20);
            parsed = Parsed::default();
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_preamble() {
        let mut body = vec![];
        crate::wire::varint::put_uvarint(&mut body, 1 << 31);
        let mut buffer = Vec::new();
        assert_eq!(decompress(&body, 1 << 27, &mut buffer), Err(RequestError::TooLarge(1 << 27)));
        body.clear();
        crate::wire::varint::put_uvarint(&mut body, 1 << 26);
        assert!(decompress(&body, 1 << 27, &mut buffer).is_err());
        assert_eq!(buffer.capacity(), 0);
    }
}
