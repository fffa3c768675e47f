//! Chunk encodings of parts, and the choice of the smallest.
//!
//! Format: docs/format/chunk.md. Decoders take arbitrary bytes: they fail with a [`ChunkError`],
//! never panic, and never take more memory than `count` samples need.

pub mod blobs;
pub mod ints;
pub mod scaled;

use super::gorilla::{self, ChunkError};
use crate::wire::varint::{Reader, Truncated, put_uvarint, unzigzag, zigzag};
pub use blobs::{decode_blobs, encode_blobs};

/// The head's bit stream (gorilla.rs).
pub const GORILLA: u8 = 1;
/// Timestamps and values apart, each in its own stream.
pub const MERGED: u8 = 2;
/// Native histograms.
pub const HISTOGRAMS: u8 = 16;
/// Exemplars.
pub const EXEMPLARS: u8 = 17;

/// Samples of the longest chunk: constant ones take no bytes, so only this bounds their memory.
pub const MAX_COUNT: usize = 1 << 16;

/// How the values of a merged chunk are kept.
mod value_kind {
    /// One value's bits.
    pub const CONSTANT: u8 = 0;
    /// pco over the floats.
    pub const FLOATS: u8 = 1;
    /// Integers after decimal scaling.
    pub const SCALED: u8 = 2;
    /// The differences of such integers.
    pub const SCALED_DELTAS: u8 = 3;
}

impl From<Truncated> for ChunkError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// Appends the smallest encoding of the samples to `out`, and tells which one it is. There are
/// at least one and at most [`MAX_COUNT`] of them; timestamps strictly ascend.
pub fn encode_best(ts: &[i64], values: &[f64], out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    out.push(0);
    encode_timestamps(ts, out);
    let is_small = encode_values(values, start, out);
    // XOR wins over the merged streams only where values are floats without pattern.
    if is_small {
        return MERGED;
    }
    let merged_bytes = out.len() - start;
    let mut bits = Vec::with_capacity(merged_bytes);
    gorilla::encode(ts, values, &mut bits);
    if merged_bytes <= bits.len() {
        return MERGED;
    }
    out.truncate(start);
    out.extend_from_slice(&bits);
    GORILLA
}

fn encode_timestamps(ts: &[i64], out: &mut Vec<u8>) {
    let Some(&first) = ts.first() else { return };
    put_uvarint(out, zigzag(first));
    let deltas: Vec<i64> = ts.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
    ints::encode(&deltas, out);
}

/// Appends the values and sets the kind at `kind_at`; whether they are surely smaller than XOR.
fn encode_values(values: &[f64], kind_at: usize, out: &mut Vec<u8>) -> bool {
    let Some(&first) = values.first() else { return false };
    if values.iter().all(|v| v.to_bits() == first.to_bits()) {
        out[kind_at] = value_kind::CONSTANT;
        out.extend_from_slice(&first.to_bits().to_le_bytes());
        return true;
    }
    if let Some(scaled) = scaled::scale(values) {
        scaled.put_header(out);
        let deltas: Vec<i64> = scaled.numbers.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
        if ints::bits(&deltas) < ints::bits(&scaled.numbers) {
            out[kind_at] = value_kind::SCALED_DELTAS;
            put_uvarint(out, zigzag(scaled.numbers[0]));
            ints::encode(&deltas, out);
        } else {
            out[kind_at] = value_kind::SCALED;
            ints::encode(&scaled.numbers, out);
        }
        return scaled.exceptions.is_empty();
    }
    out[kind_at] = value_kind::FLOATS;
    ints::encode_floats(values, out);
    false
}

/// Appends the `count` samples of a chunk to `ts` and `values`.
///
/// # Errors
/// The bytes are not such a chunk; the buffers then hold some samples, or zeros.
pub fn decode(
    encoding: u8,
    bytes: &[u8],
    count: usize,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    match encoding {
        GORILLA => gorilla::decode(bytes, count, ts, values),
        MERGED => decode_merged(bytes, count, ts, values),
        _ => Err(ChunkError::Invalid("unknown encoding")),
    }
}

fn decode_merged(
    bytes: &[u8],
    count: usize,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    if count == 0 || count > MAX_COUNT {
        return Err(ChunkError::Invalid("count out of range"));
    }
    let mut reader = Reader::new(bytes);
    let [kind] = reader.array()?;
    decode_timestamps(&mut reader, count, ts)?;
    decode_values(kind, &mut reader, count, values)?;
    if reader.is_empty() { Ok(()) } else { Err(ChunkError::Invalid("bytes left over")) }
}

fn decode_timestamps(
    reader: &mut Reader<'_>,
    count: usize,
    ts: &mut Vec<i64>,
) -> Result<(), ChunkError> {
    let mut time = unzigzag(reader.uvarint()?);
    let start = ts.len();
    ts.push(time);
    ints::decode(reader, count - 1, ts)?;
    let mut ascends = true;
    for slot in &mut ts[start + 1..] {
        let next = time.wrapping_add(*slot);
        ascends &= next > time;
        time = next;
        *slot = next;
    }
    if ascends { Ok(()) } else { Err(ChunkError::Invalid("timestamps do not increase")) }
}

fn decode_values(
    kind: u8,
    reader: &mut Reader<'_>,
    count: usize,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    match kind {
        value_kind::CONSTANT => {
            let value = f64::from_bits(reader.u64_le()?);
            values.resize(values.len() + count, value);
            Ok(())
        }
        value_kind::FLOATS => ints::decode_floats(reader, count, values),
        value_kind::SCALED => {
            let header = scaled::Header::read(reader, count)?;
            let mut numbers = Vec::with_capacity(count);
            ints::decode(reader, count, &mut numbers)?;
            header.unscale(&numbers, values);
            Ok(())
        }
        value_kind::SCALED_DELTAS => {
            let header = scaled::Header::read(reader, count)?;
            let mut number = unzigzag(reader.uvarint()?);
            let mut numbers = Vec::with_capacity(count);
            numbers.push(number);
            ints::decode(reader, count - 1, &mut numbers)?;
            for slot in &mut numbers[1..] {
                number = number.wrapping_add(*slot);
                *slot = number;
            }
            header.unscale(&numbers, values);
            Ok(())
        }
        _ => Err(ChunkError::Invalid("unknown value kind")),
    }
}

#[cfg(test)]
mod tests;
