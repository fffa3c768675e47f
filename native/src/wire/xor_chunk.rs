//! Prometheus' XOR chunks, for streamed remote reads. Unlike our own chunks they count samples in
//! 16 bits, begin with varints, and spend other widths on a delta of deltas.
//! Format: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::tsdb::columns::Csr;

use super::varint::{put_uvarint, zigzag};

/// As many as Prometheus puts into a chunk, and its readers expect.
pub const MAX_SAMPLES: usize = 120;

/// Adds this file's function to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(encode_xor_chunks, m)?)
}

type PyChunk<'py> = (i64, i64, Bound<'py, PyBytes>);

/// The samples of one series as chunks: first and last timestamp, and data.
#[pyfunction]
fn encode_xor_chunks<'py>(
    py: Python<'py>,
    timestamps: PyReadonlyArray1<'py, i64>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<Vec<PyChunk<'py>>> {
    let (ts, vals) = (timestamps.as_slice()?, values.as_slice()?);
    Csr::new(&[0, ts.len() as i64], ts, vals)?;
    let chunks = py.detach(|| {
        let parts = ts.chunks(MAX_SAMPLES).zip(vals.chunks(MAX_SAMPLES));
        parts.map(|(ts, vals)| (ts[0], ts[ts.len() - 1], encode(ts, vals))).collect::<Vec<_>>()
    });
    let bind = |(first, last, data): (i64, i64, Vec<u8>)| (first, last, PyBytes::new(py, &data));
    Ok(chunks.into_iter().map(bind).collect())
}

/// Encodes at most [`MAX_SAMPLES`] samples.
#[must_use]
pub fn encode(ts: &[i64], vals: &[f64]) -> Vec<u8> {
    let mut bits = Bits { bytes: (ts.len() as u16).to_be_bytes().to_vec(), free: 0 };
    let (mut last_ts, mut last_delta) = (0i64, 0i64);
    let mut xor = Xor { last: 0, window: None };
    for (index, (&ts, &value)) in ts.iter().zip(vals).enumerate() {
        let delta = ts.wrapping_sub(last_ts);
        match index {
            0 => {
                put_uvarint(&mut bits.bytes, zigzag(ts));
                bits.put(value.to_bits(), 64);
                xor.last = value.to_bits();
            }
            1 => {
                put_uvarint(&mut bits.bytes, delta as u64);
                xor.put(value.to_bits(), &mut bits);
            }
            _ => {
                put_delta_of_delta(delta.wrapping_sub(last_delta), &mut bits);
                xor.put(value.to_bits(), &mut bits);
            }
        }
        (last_ts, last_delta) = (ts, delta);
    }
    bits.bytes
}

fn put_delta_of_delta(dod: i64, bits: &mut Bits) {
    // A width of n holds one more above zero than below it.
    match dod {
        0 => bits.put(0, 1),
        -8_191..=8_192 => bits.put(0b10 << 14 | (dod as u64 & 0x3fff), 16),
        -65_535..=65_536 => bits.put(0b110 << 17 | (dod as u64 & 0x1_ffff), 20),
        -524_287..=524_288 => bits.put(0b1110 << 20 | (dod as u64 & 0xf_ffff), 24),
        _ => {
            bits.put(0b1111, 4);
            bits.put(dod as u64, 64);
        }
    }
}

/// The value before, and the leading and trailing zeros of the last explicit window.
struct Xor {
    last: u64,
    window: Option<(u32, u32)>,
}

impl Xor {
    fn put(&mut self, value: u64, bits: &mut Bits) {
        let xor = value ^ self.last;
        self.last = value;
        if xor == 0 {
            return bits.put(0, 1);
        }
        // Five bits hold the leading zeros.
        let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        if let Some((wide, low)) = self.window
            && leading >= wide
            && trailing >= low
        {
            bits.put(0b10, 2);
            return bits.put(xor >> low, 64 - wide - low);
        }
        self.window = Some((leading, trailing));
        let width = 64 - leading - trailing;
        // A width of 64 overflows its six bits to 0, which no width can be.
        bits.put(0b11 << 11 | u64::from(leading) << 6 | u64::from(width & 63), 13);
        bits.put(xor >> trailing, width);
    }
}

/// Bits, the most significant of a byte first.
struct Bits {
    bytes: Vec<u8>,
    /// How many low bits of the last byte are unused.
    free: u32,
}

impl Bits {
    /// Appends the `count` (1..=64) low bits of `bits`; the bits above them are ignored.
    fn put(&mut self, bits: u64, mut count: u32) {
        while count > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = count.min(self.free);
            count -= take;
            self.free -= take;
            let piece = (bits >> count) as u8 & (0xff >> (8 - take));
            if let Some(last) = self.bytes.last_mut() {
                *last |= piece << self.free;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_the_documented_bits() {
        let data = encode(&[1_000, 2_000, 3_000, 4_001], &[1.0, 1.0, 2.0, 2.0]);
        let (head, rest) = data.split_at(2);
        assert_eq!(head, [0, 4]);
        assert_eq!(rest[..2], [0xd0, 0x0f]); // zigzag(1000), a varint
        assert_eq!(rest[2..10], 1.0f64.to_bits().to_be_bytes());
        assert_eq!(rest[10..12], [0xe8, 0x07]); // the delta, a varint
        // 0: same value. 0: same delta. 11 00001 001011: a new window of 11 bits from bit 1 on,
        // 11111111111. Then 10 00000000000001: the delta grew by 1. 0: same value.
        assert_eq!(rest[12..], [0b0011_0000, 0b1001_0111, 0xff, 0b1110_0000, 0, 0b0100_0000]);
    }
}
