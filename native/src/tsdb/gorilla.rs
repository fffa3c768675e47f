//! Gorilla chunks: the samples of one series in one bit stream, in time order.
//!
//! Format: docs/format/chunk.md, "Gorilla". Source: Pelkonen et al., "Gorilla", VLDB 2015,
//! section 4.1, <https://www.vldb.org/pvldb/vol8/p1816-teller.pdf>. Timestamps strictly increase.
//! Values are compared and kept as bits: a NaN's payload survives.

/// What can be wrong with the bytes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("chunk ends early")]
    Truncated,
    #[error("invalid chunk: {0}")]
    Invalid(&'static str),
}

/// Bytes of the first sample: timestamp and value, 64 bits each, big-endian.
pub const HEADER_BYTES: usize = 16;

/// No window of meaningful bits has been written yet.
pub const NO_WINDOW: u8 = 0xff;

/// Where the bits of a chunk under construction go, most significant bit first.
pub trait BitSink {
    /// Appends the `count` (1..=64) low bits of `bits`; the bits above them are zero.
    fn put(&mut self, bits: u64, count: u32);
}

/// What the next sample is encoded against.
#[derive(Debug, Clone, Copy)]
pub struct Last {
    pub ts: i64,
    pub delta: i64,
    pub value: u64,
    /// Leading zeros and length of the last explicit window of meaningful bits.
    pub leading: u8,
    pub significant: u8,
}

impl Last {
    /// The state after the first sample.
    #[must_use]
    pub fn first(ts: i64, value: u64) -> Self {
        Self { ts, delta: 0, value, leading: NO_WINDOW, significant: 0 }
    }
}

/// Encodes one more sample; `ts` is greater than `last.ts`.
#[inline]
pub fn append(last: &mut Last, ts: i64, value: u64, sink: &mut impl BitSink) {
    let delta = ts.wrapping_sub(last.ts);
    put_delta_of_delta(delta.wrapping_sub(last.delta), sink);
    last.ts = ts;
    last.delta = delta;
    put_value(last, value, sink);
}

#[inline]
fn put_delta_of_delta(dod: i64, sink: &mut impl BitSink) {
    match dod {
        0 => sink.put(0, 1),
        -64..=63 => sink.put(0b10 << 7 | (dod as u64 & 0x7f), 9),
        -256..=255 => sink.put(0b110 << 9 | (dod as u64 & 0x1ff), 12),
        -2048..=2047 => sink.put(0b1110 << 12 | (dod as u64 & 0xfff), 16),
        -524_288..=524_287 => sink.put(0b11110 << 20 | (dod as u64 & 0xf_ffff), 25),
        _ => {
            sink.put(0b11111, 5);
            sink.put(dod as u64, 64);
        }
    }
}

#[inline]
fn put_value(last: &mut Last, value: u64, sink: &mut impl BitSink) {
    let xor = value ^ last.value;
    last.value = value;
    if xor == 0 {
        sink.put(0, 1);
        return;
    }
    // Five bits hold the leading zeros; more than 31 of them are worth no sixth bit.
    let leading = xor.leading_zeros().min(31) as u8;
    let trailing = xor.trailing_zeros() as u8;
    if last.leading != NO_WINDOW
        && leading >= last.leading
        && trailing >= 64 - last.leading - last.significant
    {
        let shift = 64 - last.leading - last.significant;
        sink.put(0b10, 2);
        sink.put(xor >> shift, u32::from(last.significant));
        return;
    }
    let significant = 64 - leading - trailing;
    last.leading = leading;
    last.significant = significant;
    // A length of 64 overflows its 6 bits, and a length of 0 cannot occur, so 0 means 64.
    sink.put(0b11 << 11 | u64::from(leading) << 6 | u64::from(significant & 63), 13);
    sink.put(xor >> trailing, u32::from(significant));
}

/// A [`BitSink`] into bytes.
struct ByteSink<'a> {
    out: &'a mut Vec<u8>,
    acc: u64,
    used: u32,
}

impl BitSink for ByteSink<'_> {
    #[inline]
    fn put(&mut self, bits: u64, count: u32) {
        let free = 64 - self.used;
        if count < free {
            self.acc |= bits << (free - count);
            self.used += count;
            return;
        }
        let rest = count - free;
        self.out.extend_from_slice(&(self.acc | bits >> rest).to_be_bytes());
        self.acc = if rest == 0 { 0 } else { bits << (64 - rest) };
        self.used = rest;
    }
}

impl ByteSink<'_> {
    fn finish(self) {
        let bytes = self.used.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.acc.to_be_bytes()[..bytes]);
    }
}

/// Appends the chunk of these samples to `out`; nothing for no samples.
pub fn encode(ts: &[i64], values: &[f64], out: &mut Vec<u8>) {
    let (Some((&first_ts, rest_ts)), Some((first_value, rest_values))) =
        (ts.split_first(), values.split_first())
    else {
        return;
    };
    let mut last = Last::first(first_ts, first_value.to_bits());
    out.extend_from_slice(&first_ts.to_be_bytes());
    out.extend_from_slice(&last.value.to_be_bytes());
    let mut sink = ByteSink { out, acc: 0, used: 0 };
    for (&t, v) in rest_ts.iter().zip(rest_values) {
        append(&mut last, t, v.to_bits(), &mut sink);
    }
    sink.finish();
}

/// Reads bits most significant first; past the end it reads zeros and remembers that.
struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next byte to load.
    at: usize,
    acc: u64,
    left: u32,
    /// Zero bits invented past the end.
    missing: u32,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, acc: 0, left: 0, missing: 0 }
    }

    #[inline]
    fn refill(&mut self) {
        if let Some(word) = self.bytes.get(self.at..self.at + 8) {
            let mut buf = [0; 8];
            buf.copy_from_slice(word);
            let take = (64 - self.left) / 8;
            self.acc |= u64::from_be_bytes(buf) >> self.left;
            self.at += take as usize;
            self.left += take * 8;
            // Bits below `left` belong to bytes that are loaded again.
            if self.left < 64 {
                self.acc &= !(u64::MAX >> self.left);
            }
            return;
        }
        while self.left <= 56 {
            let byte = self.bytes.get(self.at).copied().unwrap_or_else(|| {
                self.missing += 8;
                0
            });
            self.at += 1;
            self.acc |= u64::from(byte) << (56 - self.left);
            self.left += 8;
        }
    }

    /// The next `count` (1..=57) bits.
    #[inline]
    fn take(&mut self, count: u32) -> u64 {
        if self.left < count {
            self.refill();
        }
        let bits = self.acc >> (64 - count);
        self.acc <<= count;
        self.left -= count;
        bits
    }

    #[inline]
    fn take_long(&mut self, count: u32) -> u64 {
        if count <= 32 {
            return self.take(count);
        }
        let high = self.take(count - 32);
        high << 32 | self.take(32)
    }

    /// More bits were read than there are.
    fn overrun(&self) -> bool {
        self.missing > self.left
    }
}

#[inline]
fn sign_extend(bits: u64, count: u32) -> i64 {
    (bits << (64 - count)) as i64 >> (64 - count)
}

#[inline]
fn take_delta_of_delta(bits: &mut BitReader<'_>) -> i64 {
    if bits.take(1) == 0 {
        return 0;
    }
    if bits.take(1) == 0 {
        return sign_extend(bits.take(7), 7);
    }
    if bits.take(1) == 0 {
        return sign_extend(bits.take(9), 9);
    }
    if bits.take(1) == 0 {
        return sign_extend(bits.take(12), 12);
    }
    if bits.take(1) == 0 {
        return sign_extend(bits.take(20), 20);
    }
    bits.take_long(64) as i64
}

/// Appends the `count` samples of a chunk to `ts` and `values`.
///
/// # Errors
/// `Truncated` when the bytes end before the last sample, `Invalid` when they cannot have been
/// written by [`encode`]. The buffers then hold some of the samples.
pub fn decode(
    bytes: &[u8],
    count: usize,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    if count == 0 {
        return Ok(());
    }
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(ChunkError::Truncated)?;
    // Two bits are the least that a sample takes: a lying count is found before it costs memory.
    if (count - 1) as u64 * 2 > (bytes.len() - HEADER_BYTES) as u64 * 8 {
        return Err(ChunkError::Truncated);
    }
    let (head_ts, head_value) = header.split_at(8);
    let mut time = i64::from_be_bytes(head_ts.try_into().map_err(|_| ChunkError::Truncated)?);
    let mut value = u64::from_be_bytes(head_value.try_into().map_err(|_| ChunkError::Truncated)?);
    ts.reserve(count);
    values.reserve(count);
    ts.push(time);
    values.push(f64::from_bits(value));

    let mut bits = BitReader::new(&bytes[HEADER_BYTES..]);
    let mut delta = 0_i64;
    let (mut shift, mut significant) = (0_u32, 0_u32);
    for _ in 1..count {
        delta = delta.wrapping_add(take_delta_of_delta(&mut bits));
        let next = time.wrapping_add(delta);
        if next <= time {
            let error = if bits.overrun() {
                ChunkError::Truncated
            } else {
                ChunkError::Invalid("timestamps do not increase")
            };
            return Err(error);
        }
        time = next;
        if bits.take(1) == 1 {
            if bits.take(1) == 1 {
                let leading = bits.take(5) as u32;
                significant = match bits.take(6) as u32 {
                    0 => 64,
                    n => n,
                };
                if leading + significant > 64 {
                    return Err(ChunkError::Invalid("window of more than 64 bits"));
                }
                shift = 64 - leading - significant;
            }
            if significant == 0 {
                return Err(ChunkError::Invalid("window reused before it is given"));
            }
            value ^= bits.take_long(significant) << shift;
        }
        ts.push(time);
        values.push(f64::from_bits(value));
    }
    if bits.overrun() {
        return Err(ChunkError::Truncated);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
        let delta = prop_oneof![Just(15_000_i64), 1..200_000_i64, 1..(1_i64 << 40)];
        let value = prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (0..1000_i32).prop_map(f64::from),
            Just(1.5)
        ];
        (any::<i32>(), prop::collection::vec((delta, value), 1..300)).prop_map(|(start, steps)| {
            let mut at = i64::from(start);
            steps
                .into_iter()
                .map(|(d, v)| {
                    at += d;
                    (at, v)
                })
                .unzip()
        })
    }

    proptest! {
        #[test]
        fn decode_inverts_encode((ts, values) in series()) {
            let mut bytes = Vec::new();
            encode(&ts, &values, &mut bytes);
            let (mut ts_out, mut values_out) = (Vec::new(), Vec::new());
            decode(&bytes, ts.len(), &mut ts_out, &mut values_out).unwrap();
            prop_assert_eq!(ts, ts_out);
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&values), bits(&values_out));
        }

        #[test]
        fn a_cut_chunk_is_an_error((ts, values) in series(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            encode(&ts, &values, &mut bytes);
            let cut = cut.index(bytes.len());
            let result = decode(&bytes[..cut], ts.len(), &mut Vec::new(), &mut Vec::new());
            prop_assert!(result.is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0..5000_usize) {
            let _ = decode(&bytes, count, &mut Vec::new(), &mut Vec::new());
        }
    }
}
