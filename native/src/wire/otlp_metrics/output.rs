//! Remote write 1.0 requests that are written series by series, in pieces of bounded size.

use crate::wire::protobuf::{put_bytes, put_double, put_key, put_varint};
use crate::wire::remote_write::encode_exemplar;
use crate::wire::varint::{put_uvarint, zigzag};

/// What one OTLP request may become before its compression. Labels of a resource stand in each of
/// its series, so little may become a lot.
const MAX_BYTES: usize = 1 << 30;

/// The requests would be too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metrics take more than {MAX_BYTES} bytes with their labels")]
pub struct TooLarge;

/// Requests under construction.
#[derive(Debug)]
pub struct Output {
    message: Vec<u8>,
    /// Samples, exemplars and histograms of the series that comes next.
    pub tail: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    piece_bytes: usize,
    total_bytes: usize,
}

impl Output {
    #[must_use]
    pub fn new(piece_bytes: usize) -> Self {
        Self {
            message: Vec::new(),
            tail: Vec::new(),
            bodies: Vec::new(),
            piece_bytes,
            total_bytes: 0,
        }
    }

    /// Appends a sample to the series that comes next.
    #[inline]
    pub fn sample(&mut self, ts_ms: i64, value: f64) {
        self.tail.extend_from_slice(&[2 << 3 | 2, 0, 1 << 3 | 1]);
        let start = self.tail.len() - 1;
        self.tail.extend_from_slice(&value.to_le_bytes());
        put_varint(&mut self.tail, 2, ts_ms as u64);
        // A sample is never longer than 20 bytes.
        self.tail[start - 1] = (self.tail.len() - start) as u8;
    }

    pub fn exemplar(&mut self, exemplar: &[u8]) {
        put_bytes(&mut self.tail, 3, exemplar);
    }

    pub fn histogram(&mut self, histogram: &[u8]) {
        put_bytes(&mut self.tail, 4, histogram);
    }

    /// Ends the series; its label fields are those of all `parts`.
    ///
    /// # Errors
    /// All series together are too large.
    pub fn end_series(&mut self, parts: &[&[u8]]) -> Result<(), TooLarge> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>() + self.tail.len();
        self.total_bytes += length;
        if self.total_bytes > MAX_BYTES {
            return Err(TooLarge);
        }
        put_key(&mut self.message, 1, 2);
        put_uvarint(&mut self.message, length as u64);
        for part in parts {
            self.message.extend_from_slice(part);
        }
        self.message.extend_from_slice(&self.tail);
        self.tail.clear();
        if self.message.len() >= self.piece_bytes {
            self.end_piece()?;
        }
        Ok(())
    }

    /// Appends what is known of a family.
    pub fn metadata(&mut self, family: &str, kind: u64, help: &str, unit: &str) {
        let mut message = Vec::with_capacity(family.len() + help.len() + unit.len() + 16);
        put_varint(&mut message, 1, kind);
        put_bytes(&mut message, 2, family.as_bytes());
        put_bytes(&mut message, 4, help.as_bytes());
        put_bytes(&mut message, 5, unit.as_bytes());
        put_bytes(&mut self.message, 3, &message);
        self.total_bytes += message.len();
    }

    fn end_piece(&mut self) -> Result<(), TooLarge> {
        let body = snap::raw::Encoder::new().compress_vec(&self.message).map_err(|_| TooLarge)?;
        self.bodies.push(body);
        self.message.clear();
        Ok(())
    }

    /// The requests, each a snappy block.
    ///
    /// # Errors
    /// One is longer than a block may be.
    pub fn finish(mut self) -> Result<Vec<Vec<u8>>, TooLarge> {
        if !self.message.is_empty() {
            self.end_piece()?;
        }
        Ok(self.bodies)
    }
}

/// A native histogram; buckets by index, as Prometheus numbers them.
#[derive(Debug)]
pub struct Native<'a> {
    pub count: u64,
    pub sum: f64,
    pub schema: i64,
    pub zero_threshold: f64,
    pub zero_count: u64,
    pub positive: &'a [(i64, u64)],
    pub negative: &'a [(i64, u64)],
    pub custom_bounds: &'a [f64],
    pub ts_ms: i64,
}

/// A gap of up to so many empty buckets costs less than a span.
const MAX_GAP: i64 = 2;

impl Native<'_> {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, 1, self.count);
        put_double(&mut out, 3, self.sum);
        put_varint(&mut out, 4, zigzag(self.schema));
        if self.zero_threshold != 0.0 {
            put_double(&mut out, 5, self.zero_threshold);
        }
        if self.zero_count != 0 {
            put_varint(&mut out, 6, self.zero_count);
        }
        put_side(&mut out, 8, self.negative);
        put_side(&mut out, 11, self.positive);
        put_varint(&mut out, 15, self.ts_ms as u64);
        if !self.custom_bounds.is_empty() {
            let packed: Vec<u8> = self.custom_bounds.iter().flat_map(|b| b.to_le_bytes()).collect();
            put_bytes(&mut out, 16, &packed);
        }
        out
    }
}

/// Spans and, in the next field, deltas.
fn put_side(out: &mut Vec<u8>, field: u32, buckets: &[(i64, u64)]) {
    if buckets.is_empty() {
        return;
    }
    let mut deltas = Vec::new();
    let (mut next, mut previous) = (0, 0_i64);
    let (mut offset, mut length) = (0, 0);
    let mut span = Vec::new();
    for (place, &(index, count)) in buckets.iter().enumerate() {
        let gap = index - next;
        if place == 0 || gap > MAX_GAP {
            put_span(out, field, offset, length, &mut span);
            (offset, length) = (gap, 0);
        } else {
            for _ in 0..gap {
                put_uvarint(&mut deltas, zigzag(-previous));
                previous = 0;
                length += 1;
            }
        }
        put_uvarint(&mut deltas, zigzag((count as i64).wrapping_sub(previous)));
        previous = count as i64;
        length += 1;
        next = index + 1;
    }
    put_span(out, field, offset, length, &mut span);
    put_bytes(out, field + 1, &deltas);
}

fn put_span(out: &mut Vec<u8>, field: u32, offset: i64, length: u64, span: &mut Vec<u8>) {
    if length == 0 {
        return;
    }
    span.clear();
    put_varint(span, 1, zigzag(offset));
    put_varint(span, 2, length);
    put_bytes(out, field, span);
}

/// An exemplar; labels are names and values.
#[must_use]
pub fn exemplar_message(labels: &[(String, String)], value: f64, ts_ms: i64) -> Vec<u8> {
    let labels: Vec<(&[u8], &[u8])> =
        labels.iter().map(|(name, text)| (name.as_bytes(), text.as_bytes())).collect();
    encode_exemplar(&labels, value, ts_ms)
}
