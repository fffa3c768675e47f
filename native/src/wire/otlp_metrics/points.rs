//! Data points of OTLP metrics, read in place.
//! Source: opentelemetry/proto/metrics/v1/metrics.proto.

use crate::wire::protobuf::{Fields, Value, WireError, each_double, each_varint};
use crate::wire::varint::{Reader, unzigzag};

/// Set in a point that says that there is no value any more.
const NO_RECORDED_VALUE: u64 = 1;

/// Attributes of one point, resource or scope; series have far fewer labels.
pub const MAX_ATTRIBUTES: usize = 1024;
/// Exemplars of one point that are looked at.
const MAX_EXEMPLARS: usize = 4096;
/// Buckets or quantiles of one point; native histograms may not have more.
pub const MAX_BUCKETS: usize = 100_000;

/// What points of all kinds have. `start_ns` and `time_ns` are 0 where they are unset.
#[derive(Debug, Default)]
pub struct Point<'a> {
    pub start_ns: u64,
    pub time_ns: u64,
    pub stale: bool,
    /// `KeyValue`s, of which there may be one more than [`MAX_ATTRIBUTES`].
    pub attributes: Vec<&'a [u8]>,
    /// Messages.
    pub exemplars: Vec<&'a [u8]>,
}

impl<'a> Point<'a> {
    fn push_attribute(&mut self, message: &'a [u8]) {
        if self.attributes.len() <= MAX_ATTRIBUTES {
            self.attributes.push(message);
        }
    }

    fn push_exemplar(&mut self, message: &'a [u8]) {
        if self.exemplars.len() < MAX_EXEMPLARS {
            self.exemplars.push(message);
        }
    }

    /// Keeps its memory for the next one.
    fn clear(&mut self) {
        (self.start_ns, self.time_ns, self.stale) = (0, 0, false);
        self.attributes.clear();
        self.exemplars.clear();
    }

    fn set_flags(&mut self, flags: u64) {
        self.stale = flags & NO_RECORDED_VALUE != 0;
    }
}

fn fixed(value: Value<'_>, field: u32) -> Result<u64, WireError> {
    match value {
        Value::Fixed64(bits) => Ok(bits),
        _ => Err(WireError::WireType(field)),
    }
}

/// Reads a `NumberDataPoint` and gives its value, if it has one.
///
/// # Errors
/// The bytes are no such message.
pub fn read_number<'a>(message: &'a [u8], point: &mut Point<'a>) -> Result<Option<f64>, WireError> {
    point.clear();
    let mut number = None;
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            2 => point.start_ns = fixed(value, 2)?,
            3 => point.time_ns = fixed(value, 3)?,
            4 => number = Some(value.double(4)?),
            5 => point.push_exemplar(value.bytes(5)?),
            6 => number = Some(fixed(value, 6)? as i64 as f64),
            7 => point.push_attribute(value.bytes(7)?),
            8 => point.set_flags(value.varint(8)?),
            _ => {}
        }
    }
    Ok(number)
}

/// A histogram of given bounds.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Histogram {
    pub count: u64,
    pub sum: Option<f64>,
    /// Not cumulative: one more than there are bounds, or none.
    pub counts: Vec<u64>,
    pub bounds: Vec<f64>,
}

/// Reads a `HistogramDataPoint`.
///
/// # Errors
/// The bytes are no such message.
pub fn read_histogram<'a>(
    message: &'a [u8],
    point: &mut Point<'a>,
) -> Result<Histogram, WireError> {
    point.clear();
    let mut histogram = Histogram::default();
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            2 => point.start_ns = fixed(value, 2)?,
            3 => point.time_ns = fixed(value, 3)?,
            4 => histogram.count = fixed(value, 4)?,
            5 => histogram.sum = Some(value.double(5)?),
            6 => each_fixed(6, value, |count| histogram.counts.push(count))?,
            7 => each_double(7, value, |bound| histogram.bounds.push(bound))?,
            8 => point.push_exemplar(value.bytes(8)?),
            9 => point.push_attribute(value.bytes(9)?),
            10 => point.set_flags(value.varint(10)?),
            _ => {}
        }
    }
    Ok(histogram)
}

fn each_fixed(field: u32, value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), WireError> {
    match value {
        Value::Fixed64(one) => each(one),
        Value::Bytes(packed) => {
            let mut input = Reader::new(packed);
            while !input.is_empty() {
                each(input.u64_le()?);
            }
        }
        _ => return Err(WireError::WireType(field)),
    }
    Ok(())
}

/// Buckets of one sign: (index, count) by index, without empty ones. Bucket `i` holds what is
/// over base^i, up to base^(i+1).
pub type Buckets = Vec<(i64, u64)>;

/// A histogram whose bounds grow by a factor.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Exponential {
    pub count: u64,
    pub sum: Option<f64>,
    pub scale: i64,
    pub zero_count: u64,
    pub zero_threshold: f64,
    pub positive: Buckets,
    pub negative: Buckets,
}

/// Reads an `ExponentialHistogramDataPoint`.
///
/// # Errors
/// The bytes are no such message.
pub fn read_exponential<'a>(
    message: &'a [u8],
    point: &mut Point<'a>,
) -> Result<Exponential, WireError> {
    point.clear();
    let mut histogram = Exponential::default();
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => point.push_attribute(value.bytes(1)?),
            2 => point.start_ns = fixed(value, 2)?,
            3 => point.time_ns = fixed(value, 3)?,
            4 => histogram.count = fixed(value, 4)?,
            5 => histogram.sum = Some(value.double(5)?),
            6 => histogram.scale = unzigzag(value.varint(6)?),
            7 => histogram.zero_count = fixed(value, 7)?,
            8 => histogram.positive = read_buckets(value.bytes(8)?)?,
            9 => histogram.negative = read_buckets(value.bytes(9)?)?,
            10 => point.set_flags(value.varint(10)?),
            11 => point.push_exemplar(value.bytes(11)?),
            14 => histogram.zero_threshold = value.double(14)?,
            _ => {}
        }
    }
    Ok(histogram)
}

fn read_buckets(message: &[u8]) -> Result<Buckets, WireError> {
    // The offset may stand behind the counts.
    let mut offset = 0;
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        if field == 1 {
            offset = i64::from(unzigzag(value.varint(1)?) as i32);
        }
    }
    let mut buckets = Vec::new();
    let mut index = offset;
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        if field == 2 {
            each_varint(2, value, |count| {
                if count != 0 && buckets.len() <= MAX_BUCKETS {
                    buckets.push((index, count));
                }
                index += 1;
            })?;
        }
    }
    Ok(buckets)
}

/// Values at quantiles.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Summary {
    pub count: u64,
    pub sum: f64,
    pub quantiles: Vec<(f64, f64)>,
}

/// Reads a `SummaryDataPoint`.
///
/// # Errors
/// The bytes are no such message.
pub fn read_summary<'a>(message: &'a [u8], point: &mut Point<'a>) -> Result<Summary, WireError> {
    point.clear();
    let mut summary = Summary::default();
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            2 => point.start_ns = fixed(value, 2)?,
            3 => point.time_ns = fixed(value, 3)?,
            4 => summary.count = fixed(value, 4)?,
            5 => summary.sum = value.double(5)?,
            6 => {
                let quantile = read_quantile(value.bytes(6)?)?;
                if summary.quantiles.len() <= MAX_BUCKETS {
                    summary.quantiles.push(quantile);
                }
            }
            7 => point.push_attribute(value.bytes(7)?),
            8 => point.set_flags(value.varint(8)?),
            _ => {}
        }
    }
    Ok(summary)
}

fn read_quantile(message: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut quantile, mut number) = (0.0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => quantile = value.double(1)?,
            2 => number = value.double(2)?,
            _ => {}
        }
    }
    Ok((quantile, number))
}

/// An example of what was measured.
#[derive(Debug, Default)]
pub struct Exemplar<'a> {
    pub time_ns: u64,
    pub value: f64,
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    /// `KeyValue`s.
    pub attributes: Vec<&'a [u8]>,
}

/// # Errors
/// The bytes are no `Exemplar`.
pub fn read_exemplar(message: &[u8]) -> Result<Exemplar<'_>, WireError> {
    let mut exemplar = Exemplar::default();
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            2 => exemplar.time_ns = fixed(value, 2)?,
            3 => exemplar.value = value.double(3)?,
            4 => exemplar.span_id = value.bytes(4)?,
            5 => exemplar.trace_id = value.bytes(5)?,
            6 => exemplar.value = fixed(value, 6)? as i64 as f64,
            7 => exemplar.attributes.push(value.bytes(7)?),
            _ => {}
        }
    }
    Ok(exemplar)
}
