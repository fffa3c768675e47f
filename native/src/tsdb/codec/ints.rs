//! A stream of integers: offsets from the least one, packed to the same number of bits, or pco.

use super::super::gorilla::ChunkError;
use crate::wire::varint::{Reader, put_uvarint, unzigzag, zigzag};
use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};
use std::panic::{AssertUnwindSafe, catch_unwind};

const PCO: u8 = 0xff;
/// Wider offsets do not fit one unaligned read of 64 bits, and hardly pack.
const MAX_WIDTH: u8 = 56;
/// Bytes of packed integers below which pco's own header cannot win.
const PACK_BYTES: usize = 24;
/// pco's levels above find little more in a few thousand numbers, and take longer.
const PCO_LEVEL: usize = 6;

/// How far from each other the integers are, in bits of their mean: cheap, to compare streams.
#[must_use]
pub fn bits(numbers: &[i64]) -> u64 {
    let Some(&middle) = numbers.get(numbers.len() / 2) else {
        return 0;
    };
    let sum: u64 = numbers
        .iter()
        .map(|n| u64::from(64 - n.wrapping_sub(middle).unsigned_abs().leading_zeros()))
        .sum();
    sum / numbers.len() as u64
}

fn range(numbers: &[i64]) -> (i64, u8) {
    let min = numbers.iter().copied().min().unwrap_or(0);
    let max = numbers.iter().copied().max().unwrap_or(0);
    (min, 64 - (max.wrapping_sub(min) as u64).leading_zeros() as u8)
}

/// Appends the integers; nothing for none.
pub fn encode(numbers: &[i64], out: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    let (min, width) = range(numbers);
    let packed = (numbers.len() * usize::from(width)).div_ceil(8);
    if packed <= PACK_BYTES && width <= MAX_WIDTH {
        return pack(numbers, min, width, out);
    }
    let squeezed = compress(numbers);
    // A little larger, packed integers are still worth their faster decoding.
    if width <= MAX_WIDTH && packed + 3 <= squeezed.len() + squeezed.len() / 32 {
        return pack(numbers, min, width, out);
    }
    out.push(PCO);
    put_uvarint(out, squeezed.len() as u64);
    out.extend_from_slice(&squeezed);
}

fn pack(numbers: &[i64], min: i64, width: u8, out: &mut Vec<u8>) {
    out.push(width);
    put_uvarint(out, zigzag(min));
    let (mut word, mut used) = (0_u64, 0_u32);
    for n in numbers {
        let offset = n.wrapping_sub(min) as u64;
        word |= offset << used;
        used += u32::from(width);
        if used >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            word = if used == 0 { 0 } else { offset >> (u32::from(width) - used) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// Appends `count` integers to `numbers`.
///
/// # Errors
/// The bytes are not such a stream.
pub fn decode(
    reader: &mut Reader<'_>,
    count: usize,
    numbers: &mut Vec<i64>,
) -> Result<(), ChunkError> {
    if count == 0 {
        return Ok(());
    }
    let [width] = reader.array()?;
    if width == PCO {
        let length = reader.uvarint()?;
        let bytes = reader.bytes(usize::try_from(length).map_err(|_| ChunkError::Truncated)?)?;
        return decompress(bytes, count, numbers);
    }
    if width > MAX_WIDTH {
        return Err(ChunkError::Invalid("integers too wide"));
    }
    let min = unzigzag(reader.uvarint()?);
    let bytes = reader.bytes((count * usize::from(width)).div_ceil(8))?;
    unpack(bytes, count, min, width, numbers);
    Ok(())
}

fn unpack(bytes: &[u8], count: usize, min: i64, width: u8, numbers: &mut Vec<i64>) {
    if width == 0 {
        numbers.resize(numbers.len() + count, min);
        return;
    }
    let width = usize::from(width);
    let mask = (1_u64 << width) - 1;
    let number = |word: u64, bit: usize| min.wrapping_add((word >> (bit % 8) & mask) as i64);
    // Whole words may be read up to the last seven bytes; the others come from a padded copy.
    let whole = bytes.len().saturating_sub(7) * 8 / width;
    let whole = whole.min(count);
    numbers.extend((0..whole).map(|i| {
        let bit = i * width;
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[bit / 8..bit / 8 + 8]);
        number(u64::from_le_bytes(word), bit)
    }));
    let tail_start = bytes.len().saturating_sub(16);
    let mut tail = [0; 24];
    tail[..bytes.len() - tail_start].copy_from_slice(&bytes[tail_start..]);
    numbers.extend((whole..count).map(|i| {
        let bit = i * width;
        let at = bit / 8 - tail_start;
        let mut word = [0; 8];
        word.copy_from_slice(&tail[at..at + 8]);
        number(u64::from_le_bytes(word), bit)
    }));
}

/// Appends the floats through pco, which keeps their bits.
pub fn encode_floats(values: &[f64], out: &mut Vec<u8>) {
    let squeezed = compress(values);
    put_uvarint(out, squeezed.len() as u64);
    out.extend_from_slice(&squeezed);
}

/// Appends `count` floats to `values`.
///
/// # Errors
/// The bytes are not such a stream.
pub fn decode_floats(
    reader: &mut Reader<'_>,
    count: usize,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let length = reader.uvarint()?;
    let bytes = reader.bytes(usize::try_from(length).map_err(|_| ChunkError::Truncated)?)?;
    decompress(bytes, count, values)
}

fn compress<T: Number>(numbers: &[T]) -> Vec<u8> {
    let config = ChunkConfig::default()
        .with_compression_level(PCO_LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::None);
    let written = || {
        let file = FileCompressor::default();
        let out = file.write_header(Vec::with_capacity(numbers.len()))?;
        let chunk = file.chunk_compressor(numbers, &config)?;
        let out = chunk.write_chunk_meta(out)?;
        chunk.write_page(0, out)
    };
    match written() {
        Ok(bytes) => bytes,
        // Only a bad configuration or count fails, and a vector takes all bytes.
        Err(error) => unreachable!("pco refused a chunk: {error}"),
    }
}

fn decompress<T: Number + Default>(
    bytes: &[u8],
    count: usize,
    numbers: &mut Vec<T>,
) -> Result<(), ChunkError> {
    let start = numbers.len();
    numbers.resize(start + count, T::default());
    let slots = &mut numbers[start..];
    // pco checks what it reads, but does not promise that no lie gets past it. The slots are
    // plain numbers: whatever is in them after a panic is as good as the zeros before.
    let done = catch_unwind(AssertUnwindSafe(|| {
        let (file, rest) = FileDecompressor::new(bytes).ok()?;
        let (chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
        let mut page = chunk.page_decompressor(rest, slots.len()).ok()?;
        page.decompress(slots).ok().filter(|p| p.finished)?;
        page.into_src().is_empty().then_some(())
    }));
    match done {
        Ok(Some(())) => Ok(()),
        _ => Err(ChunkError::Invalid("pco stream")),
    }
}
