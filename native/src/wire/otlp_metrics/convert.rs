//! An OTLP `ExportMetricsServiceRequest` to remote write requests, in one pass.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>.

use super::attributes::{AttributeError, CommonLabels, put_label, read_attribute, translate};
use super::delta::{Added, Deltas, NotAdded, Total, downscaled};
use super::label_cache::LabelCache;
use super::names::{Shape, Strategy, Unit, metric_name};
use super::output::{Native, Output, TooLarge, exemplar_message};
use super::points::{
    Buckets, Exponential, Histogram, MAX_ATTRIBUTES, MAX_BUCKETS, Point, Summary, read_exemplar,
    read_exponential, read_histogram, read_number, read_summary,
};
use super::refusal::{Refusal, Refusals};
use super::resource::{Resource, add_scope, read_resource};
use crate::logs::value::hex;
use crate::tsdb::STALE_NAN_BITS;
use crate::wire::protobuf::{Fields, WireError};
use crate::wire::varint::put_uvarint;
use hashbrown::HashSet;
use parking_lot::{Mutex, MutexGuard};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128, xxh3_128_with_seed};

/// How metrics are to look in Prometheus' model.
#[derive(Debug, Clone)]
pub struct Options {
    pub strategy: Strategy,
    /// Attributes of resources that become labels of all their series.
    pub promoted: Vec<String>,
    /// All of them do, but for those in `ignored`.
    pub promote_all: bool,
    pub ignored: Vec<String>,
    pub keep_identifying: bool,
    pub promote_scope: bool,
    /// Histograms of given bounds become native ones.
    pub custom_buckets: bool,
    /// How far back instant selectors look.
    pub lookback_ms: i64,
}

/// Now, and the times that are accepted, in Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub now_ms: i64,
    pub min_ms: i64,
    pub max_ms: i64,
}

/// Why a request is not taken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error("cannot decode protobuf: {0}")]
    Wire(#[from] WireError),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// What became of a request.
#[derive(Debug)]
pub struct Converted {
    /// Remote write 1.0 requests, each a snappy block.
    pub bodies: Vec<Vec<u8>>,
    /// Points that are in them.
    pub points: u64,
    pub refusals: Refusals,
}

const NO_THRESHOLD: f64 = 1e-128;
const FINEST_SCALE: i64 = 8;
const COARSEST_SCALE: i64 = -4;
const CUSTOM_SCHEMA: i64 = -53;
/// Label fields of one series; the engine takes less still.
const MAX_LABEL_BYTES: usize = 1 << 20;
/// Names and values of an exemplar together, in characters.
const MAX_EXEMPLAR_CHARS: usize = 128;
/// Samples of one `target_info`, whose points may be years apart.
const MAX_INFO_SAMPLES: i64 = 1_000;
/// The engine keeps no more of a description.
const MAX_HELP_CHARS: usize = 1024;

const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// A metric's kind, by the number of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl Kind {
    fn of(field: u32) -> Option<Self> {
        Some(match field {
            5 => Self::Gauge,
            7 => Self::Sum,
            9 => Self::Histogram,
            10 => Self::Exponential,
            11 => Self::Summary,
            _ => return None,
        })
    }
}

/// What all points of a metric share.
struct Family<'a> {
    /// As it came, for messages.
    name: &'a str,
    kind: Kind,
    is_delta: bool,
    is_monotonic: bool,
    /// Encoded `__name__` labels of its series.
    base: Vec<u8>,
    bucket: Vec<u8>,
    sum: Vec<u8>,
    count: Vec<u8>,
}

/// Converts a request; `piece_bytes` is about how long each of the results may be before its
/// compression. Sums of deltas are changed even where the results are not stored later: a sender
/// may send the same again.
///
/// # Errors
/// The bytes are no such request, or would become too much.
pub fn convert<'r>(
    body: &[u8],
    options: &'r Options,
    times: Times,
    deltas: &'r Mutex<Deltas>,
    cache: Option<MutexGuard<'r, LabelCache>>,
    piece_bytes: usize,
) -> Result<Converted, ConvertError> {
    check_shape(body)?;
    let mut converter = Converter {
        options,
        times,
        output: Output::new(piece_bytes),
        deltas,
        locked: None,
        refusals: Refusals::default(),
        points: 0,
        families: HashSet::new(),
        infos: HashSet::new(),
        labels: Vec::new(),
        cache,
        key: Vec::new(),
        first_ms: i64::MAX,
        last_ms: i64::MIN,
    };
    each_message(body, 1, |message| converter.resource_metrics(message))?;
    let Converter { output, points, refusals, .. } = converter;
    Ok(Converted { bodies: output.finish()?, points, refusals })
}

/// Walks the upper messages, so that most of what is malformed is found before anything is added
/// to sums of deltas.
fn check_shape(body: &[u8]) -> Result<(), WireError> {
    let mut fields = Fields::new(body);
    while let Some((field, value)) = fields.next_field()? {
        if field != 1 {
            continue;
        }
        let mut fields = Fields::new(value.bytes(1)?);
        while let Some((field, value)) = fields.next_field()? {
            if field != 2 {
                continue;
            }
            let mut fields = Fields::new(value.bytes(2)?);
            while let Some((field, value)) = fields.next_field()? {
                if field != 2 {
                    continue;
                }
                let mut fields = Fields::new(value.bytes(2)?);
                while fields.next_field()?.is_some() {}
            }
        }
    }
    Ok(())
}

fn each_message<'a>(
    message: &'a [u8],
    number: u32,
    mut each: impl FnMut(&'a [u8]) -> Result<(), ConvertError>,
) -> Result<(), ConvertError> {
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next_field()? {
        if field == number {
            each(value.bytes(number)?)?;
        }
    }
    Ok(())
}

/// The last message of a field; what is not repeated may stand anywhere.
fn last_message(message: &[u8], number: u32) -> Result<&[u8], ConvertError> {
    let mut found: &[u8] = &[];
    each_message(message, number, |bytes| {
        found = bytes;
        Ok(())
    })?;
    Ok(found)
}

/// Bad attributes refuse the points that have them; a malformed message the whole request.
fn refused<T>(result: Result<T, AttributeError>) -> Result<Result<T, Refusal>, WireError> {
    Ok(match result {
        Ok(value) => Ok(value),
        Err(AttributeError::Wire(error)) => return Err(error),
        Err(AttributeError::Utf8) => Err(Refusal::Utf8),
        Err(AttributeError::Depth) => Err(Refusal::TooDeep),
        Err(AttributeError::TooMany) => Err(Refusal::Labels),
    })
}

struct Converter<'r> {
    options: &'r Options,
    times: Times,
    output: Output,
    deltas: &'r Mutex<Deltas>,
    /// Taken by the first delta of a request; most have none.
    locked: Option<MutexGuard<'r, Deltas>>,
    refusals: Refusals,
    points: u64,
    /// Hashes of metadata that was written.
    families: HashSet<u64>,
    /// Hashes of `target_info`s and their times that were written.
    infos: HashSet<u128>,
    /// Label fields of the point at hand.
    labels: Vec<u8>,
    cache: Option<MutexGuard<'r, LabelCache>>,
    /// Attributes of the point at hand, one after the other.
    key: Vec<u8>,
    /// Of the resource at hand.
    first_ms: i64,
    last_ms: i64,
}

impl<'r> Converter<'r> {
    fn resource_metrics(&mut self, message: &[u8]) -> Result<(), ConvertError> {
        let resource = refused(read_resource(last_message(message, 1)?, self.options))?;
        (self.first_ms, self.last_ms) = (i64::MAX, i64::MIN);
        each_message(message, 2, |scope| self.scope_metrics(scope, &resource))?;
        match resource {
            Ok(Resource { target_info: Some(labels), .. }) => self.target_info(&labels),
            _ => Ok(()),
        }
    }

    fn scope_metrics(
        &mut self,
        message: &[u8],
        resource: &Result<Resource, Refusal>,
    ) -> Result<(), ConvertError> {
        let common = match resource {
            Ok(resource) => {
                let mut common = resource.common.clone();
                let (scope, schema) = (last_message(message, 1)?, last_message(message, 3)?);
                refused(add_scope(&mut common, scope, schema, self.options))?
                    .map(|()| common.sealed())
            }
            Err(refusal) => Err(*refusal),
        };
        each_message(message, 2, |metric| self.metric(metric, &common))
    }

    fn metric(
        &mut self,
        message: &[u8],
        common: &Result<CommonLabels, Refusal>,
    ) -> Result<(), ConvertError> {
        let (mut name, mut description, mut unit): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let mut data = None;
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.next_field()? {
            match field {
                1 => name = value.bytes(1)?,
                2 => description = value.bytes(2)?,
                3 => unit = value.bytes(3)?,
                _ => {
                    if let Some(kind) = Kind::of(field) {
                        data = Some((kind, value.bytes(field)?));
                    }
                }
            }
        }
        let Some((kind, data)) = data else { return Ok(()) };
        let (mut temporality, mut is_monotonic) = (0, false);
        let mut fields = Fields::new(data);
        while let Some((field, value)) = fields.next_field()? {
            match (kind, field) {
                (Kind::Sum | Kind::Histogram | Kind::Exponential, 2) => {
                    temporality = value.varint(2)?;
                }
                (Kind::Sum, 3) => is_monotonic = value.varint(3)? != 0,
                _ => {}
            }
        }
        let text = std::str::from_utf8(name).ok();
        let unit = std::str::from_utf8(unit).unwrap_or("");
        let shape = match kind {
            Kind::Gauge => Shape::Gauge,
            Kind::Sum if is_monotonic => Shape::Counter,
            _ => Shape::Other,
        };
        let full = metric_name(text.unwrap_or(""), unit, shape, self.options.strategy);
        let has_temporality = matches!(kind, Kind::Gauge | Kind::Summary)
            || matches!(temporality, DELTA | CUMULATIVE);
        let refusal = match common {
            Err(refusal) => Some(*refusal),
            _ if full.is_empty() => Some(Refusal::Name),
            _ if full.len() > MAX_LABEL_BYTES => Some(Refusal::Labels),
            _ if !has_temporality => Some(Refusal::Temporality),
            _ => None,
        };
        let (Ok(common), None) = (common, refusal) else {
            let name = text.unwrap_or("");
            let refusal = refusal.unwrap_or(Refusal::Name);
            return each_message(data, 1, |_| {
                self.refusals.add(refusal, name);
                Ok(())
            });
        };
        self.metadata(&full, kind, is_monotonic, description, &Unit::parse(unit).words());
        let named = |suffix: &str| {
            let mut out = Vec::new();
            put_label(&mut out, "__name__", &format!("{full}{suffix}"));
            out
        };
        let family = Family {
            name: text.unwrap_or(""),
            kind,
            is_delta: temporality == DELTA && !matches!(kind, Kind::Gauge | Kind::Summary),
            is_monotonic,
            base: named(""),
            bucket: named("_bucket"),
            sum: named("_sum"),
            count: named("_count"),
        };
        let mut point = Point::default();
        each_message(data, 1, |message| {
            match self.point(message, &mut point, &family, common)? {
                Ok(()) => self.points += 1,
                Err(refusal) => self.refusals.add(refusal, family.name),
            }
            Ok(())
        })
    }

    fn metadata(
        &mut self,
        family: &str,
        kind: Kind,
        is_monotonic: bool,
        description: &[u8],
        unit: &str,
    ) {
        let number = match kind {
            Kind::Sum if is_monotonic => 1,
            Kind::Gauge | Kind::Sum => 2,
            Kind::Histogram | Kind::Exponential => 3,
            Kind::Summary => 5,
        };
        let hash = xxh3_64_with_seed(description, xxh3_64_with_seed(family.as_bytes(), number));
        if !self.families.insert(xxh3_64_with_seed(unit.as_bytes(), hash)) {
            return;
        }
        let text = std::str::from_utf8(description).unwrap_or("");
        let help = text.char_indices().nth(MAX_HELP_CHARS).map_or(text, |(at, _)| &text[..at]);
        self.output.metadata(family, number, help, unit);
    }

    fn point<'a>(
        &mut self,
        message: &'a [u8],
        point: &mut Point<'a>,
        family: &Family<'_>,
        common: &CommonLabels,
    ) -> Result<Result<(), Refusal>, ConvertError> {
        match family.kind {
            Kind::Gauge | Kind::Sum => {
                let number = read_number(message, point)?;
                match self.begin(point, family, common)? {
                    Ok(ts) => self.number(number, point, family, ts),
                    Err(refusal) => Ok(Err(refusal)),
                }
            }
            Kind::Histogram => {
                let histogram = read_histogram(message, point)?;
                match self.begin(point, family, common)? {
                    Ok(ts) => self.histogram(histogram, point, family, ts),
                    Err(refusal) => Ok(Err(refusal)),
                }
            }
            Kind::Exponential => {
                let histogram = read_exponential(message, point)?;
                match self.begin(point, family, common)? {
                    Ok(ts) => self.exponential(histogram, point, family, ts),
                    Err(refusal) => Ok(Err(refusal)),
                }
            }
            Kind::Summary => {
                let summary = read_summary(message, point)?;
                match self.begin(point, family, common)? {
                    Ok(ts) => self.summary(&summary, point, family, ts),
                    Err(refusal) => Ok(Err(refusal)),
                }
            }
        }
    }

    /// Checks a point's time and encodes its labels.
    fn begin(
        &mut self,
        point: &mut Point<'_>,
        family: &Family<'_>,
        common: &CommonLabels,
    ) -> Result<Result<i64, Refusal>, ConvertError> {
        if point.time_ns == 0 {
            point.time_ns = u64::try_from(self.times.now_ms).unwrap_or(0) * 1_000_000;
        }
        if point.start_ns > point.time_ns {
            point.start_ns = 0;
        }
        let ts = (point.time_ns / 1_000_000) as i64;
        if ts < self.times.min_ms {
            return Ok(Err(Refusal::TooOld));
        }
        if ts > self.times.max_ms {
            return Ok(Err(Refusal::TooFarInFuture));
        }
        if point.attributes.len() > MAX_ATTRIBUTES {
            return Ok(Err(Refusal::Labels));
        }
        let without = match family.kind {
            Kind::Histogram if !self.options.custom_buckets => Some("le"),
            Kind::Summary => Some("quantile"),
            _ => None,
        };
        if let Err(refusal) = self.encode_labels(&point.attributes, without, common)? {
            return Ok(Err(refusal));
        }
        Ok(Ok(ts))
    }

    /// Puts the label fields of a point into `labels`.
    fn encode_labels(
        &mut self,
        messages: &[&[u8]],
        without: Option<&str>,
        common: &CommonLabels,
    ) -> Result<Result<(), Refusal>, ConvertError> {
        self.labels.clear();
        self.key.clear();
        for message in messages {
            put_uvarint(&mut self.key, message.len() as u64);
            self.key.extend_from_slice(message);
        }
        self.key.extend_from_slice(without.unwrap_or("").as_bytes());
        self.key.extend_from_slice(&common.hash().to_le_bytes());
        let key = self.cache.as_ref().map(|cache| xxh3_128_with_seed(&self.key, cache.seed));
        if let (Some(cache), Some(key)) = (&self.cache, key)
            && let Some(known) = cache.get(key)
        {
            self.labels.extend_from_slice(known);
            return Ok(Ok(()));
        }
        let mut attributes = Vec::with_capacity(messages.len());
        for message in messages {
            match refused(read_attribute(message))? {
                Ok(attribute) => attributes.push(attribute),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let labels = translate(&mut attributes, self.options.strategy);
        common.encode(&labels, without, &mut self.labels);
        if self.labels.len() > MAX_LABEL_BYTES {
            return Ok(Err(Refusal::Labels));
        }
        if let (Some(cache), Some(key)) = (&mut self.cache, key) {
            cache.insert(key, &self.labels);
        }
        Ok(Ok(()))
    }

    /// Notes when the resource was there.
    fn seen(&mut self, ts: i64) {
        self.first_ms = self.first_ms.min(ts);
        self.last_ms = self.last_ms.max(ts);
    }

    fn deltas(&mut self) -> &mut Deltas {
        let mutex = self.deltas;
        self.locked.get_or_insert_with(|| mutex.lock())
    }

    /// The point's series among the deltas: all labels and the kind.
    fn delta_key(&self, family: &Family<'_>) -> u128 {
        let seed = xxh3_64_with_seed(
            &family.base,
            family.kind as u64 * 2 + u64::from(family.is_monotonic),
        );
        xxh3_128_with_seed(&self.labels, seed)
    }

    /// The run's total so far, and what it began with if this point begins it.
    fn add_delta(
        &mut self,
        point: &Point<'_>,
        family: &Family<'_>,
        delta: Total,
    ) -> Result<Added, Refusal> {
        let (key, now_ms) = (self.delta_key(family), self.times.now_ms);
        let added = self.deltas().add(key, (point.start_ns, point.time_ns), now_ms, delta);
        added.map_err(|error| match error {
            NotAdded::Late => Refusal::LateDelta,
            NotAdded::Limit => Refusal::DeltaLimit,
        })
    }

    /// When a run's zero is written: a moment into it, since the run before may end where it
    /// begins.
    fn zero_ms(&self, point: &Point<'_>, ts: i64) -> Option<i64> {
        let start = (point.start_ns / 1_000_000) as i64 + 1;
        (point.start_ns != 0 && start < ts && start >= self.times.min_ms).then_some(start)
    }

    fn end_series(&mut self, name: &[u8], extra: &[u8]) -> Result<(), TooLarge> {
        self.output.end_series(&[name, &self.labels, extra])
    }

    fn number(
        &mut self,
        number: Option<f64>,
        point: &Point<'_>,
        family: &Family<'_>,
        ts: i64,
    ) -> Result<Result<(), Refusal>, ConvertError> {
        let value = if point.stale {
            if family.is_delta {
                let key = self.delta_key(family);
                self.deltas().end(key);
            }
            f64::from_bits(STALE_NAN_BITS)
        } else {
            let Some(value) = number else { return Ok(Err(Refusal::NoValue)) };
            value
        };
        if family.is_delta && !point.stale {
            if family.is_monotonic && (value.is_nan() || value < 0.0) {
                return Ok(Err(Refusal::NegativeDelta));
            }
            let added = match self.add_delta(point, family, Total::Number(value)) {
                Ok(added) => added,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if let (Some(_), true, Some(zero_ms)) =
                (added.zero, family.is_monotonic, self.zero_ms(point, ts))
            {
                self.output.sample(zero_ms, 0.0);
            }
            let Total::Number(total) = added.total else { return Ok(Err(Refusal::NoValue)) };
            self.output.sample(ts, total);
        } else {
            self.output.sample(ts, value);
        }
        for message in &point.exemplars {
            let (exemplar, _) = encode_exemplar(message, ts, self.options.strategy)?;
            self.output.exemplar(&exemplar);
        }
        self.seen(ts);
        self.end_series(&family.base, &[])?;
        Ok(Ok(()))
    }

    fn histogram(
        &mut self,
        histogram: Histogram,
        point: &Point<'_>,
        family: &Family<'_>,
        ts: i64,
    ) -> Result<Result<(), Refusal>, ConvertError> {
        let bounds = &histogram.bounds;
        let counts = histogram.counts.len();
        let are_none = bounds.is_empty() && counts == 0;
        let fits = are_none || counts == bounds.len() + 1 || (point.stale && counts == 0);
        if !fits || !bounds.windows(2).all(|w| w[0] < w[1]) || bounds.iter().any(|b| b.is_nan()) {
            return Ok(Err(Refusal::Buckets));
        }
        if self.options.custom_buckets && !point.stale {
            let sum: u128 = histogram.counts.iter().map(|c| u128::from(*c)).sum();
            if !are_none && sum != u128::from(histogram.count) {
                return Ok(Err(Refusal::Count));
            }
            if counts > MAX_BUCKETS || bounds.iter().any(|b| !b.is_finite()) {
                return Ok(Err(Refusal::BucketRange));
            }
        }
        let (total, zero) = match self.total(Total::Histogram(histogram), point, family) {
            Ok((Total::Histogram(total), zero)) => (total, zero),
            Ok(_) => return Ok(Err(Refusal::Buckets)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let exemplars = self.exemplars(point, ts)?;
        self.seen(ts);
        if let (Some(Total::Histogram(zero)), Some(zero_ms)) = (zero, self.zero_ms(point, ts)) {
            self.put_histogram(&zero, zero_ms, false, family, &[])?;
        }
        self.put_histogram(&total, ts, point.stale, family, &exemplars)?;
        Ok(Ok(()))
    }

    /// What is to be stored of a point: itself, or its run's total and what that began with.
    fn total(
        &mut self,
        came: Total,
        point: &Point<'_>,
        family: &Family<'_>,
    ) -> Result<(Total, Option<Total>), Refusal> {
        if !family.is_delta {
            return Ok((came, None));
        }
        if point.stale {
            let key = self.delta_key(family);
            self.deltas().end(key);
            return Ok((came, None));
        }
        let added = self.add_delta(point, family, came)?;
        Ok((added.total, added.zero))
    }

    fn put_histogram(
        &mut self,
        histogram: &Histogram,
        ts: i64,
        stale: bool,
        family: &Family<'_>,
        exemplars: &[(f64, Vec<u8>)],
    ) -> Result<(), TooLarge> {
        if self.options.custom_buckets {
            return self.put_custom(histogram, ts, stale, family, exemplars);
        }
        let stale_value = f64::from_bits(STALE_NAN_BITS);
        let shown = |value: f64| if stale { stale_value } else { value };
        if stale || histogram.sum.is_some() {
            self.output.sample(ts, shown(histogram.sum.unwrap_or(0.0)));
            self.end_series(&family.sum, &[])?;
        }
        self.output.sample(ts, shown(histogram.count as f64));
        self.end_series(&family.count, &[])?;
        let mut cumulative = 0_u64;
        let mut below = f64::NEG_INFINITY;
        let mut le = Vec::new();
        for (place, &bound) in histogram.bounds.iter().enumerate() {
            cumulative =
                cumulative.saturating_add(histogram.counts.get(place).copied().unwrap_or_default());
            if bound == f64::INFINITY {
                continue;
            }
            le.clear();
            put_label(&mut le, "le", &plain_decimal(bound));
            self.output.sample(ts, shown(cumulative as f64));
            for (_, exemplar) in
                exemplars.iter().filter(|(v, _)| *v <= bound && (*v > below || place == 0))
            {
                self.output.exemplar(exemplar);
            }
            self.end_series(&family.bucket, &le)?;
            below = bound;
        }
        le.clear();
        put_label(&mut le, "le", "+Inf");
        self.output.sample(ts, shown(histogram.count as f64));
        let is_first = histogram.bounds.first().is_none_or(|b| *b == f64::INFINITY);
        for (value, exemplar) in exemplars {
            if is_first || value.is_nan() || *value > below {
                self.output.exemplar(exemplar);
            }
        }
        self.end_series(&family.bucket, &le)
    }

    fn put_custom(
        &mut self,
        histogram: &Histogram,
        ts: i64,
        stale: bool,
        family: &Family<'_>,
        exemplars: &[(f64, Vec<u8>)],
    ) -> Result<(), TooLarge> {
        let buckets: Buckets = if histogram.counts.is_empty() {
            vec![(0, histogram.count)]
        } else {
            (0_i64..).zip(histogram.counts.iter().copied()).collect()
        };
        let buckets: Buckets = buckets.into_iter().filter(|(_, count)| *count != 0).collect();
        self.put_native(
            &Native {
                count: histogram.count,
                sum: histogram.sum.unwrap_or(0.0),
                schema: CUSTOM_SCHEMA,
                zero_threshold: 0.0,
                zero_count: 0,
                positive: &buckets,
                negative: &[],
                custom_bounds: &histogram.bounds,
                ts_ms: ts,
            },
            stale,
            family,
            exemplars,
        )
    }

    fn put_native(
        &mut self,
        native: &Native<'_>,
        stale: bool,
        family: &Family<'_>,
        exemplars: &[(f64, Vec<u8>)],
    ) -> Result<(), TooLarge> {
        let message = if stale {
            Native {
                count: 0,
                sum: f64::from_bits(STALE_NAN_BITS),
                zero_count: 0,
                positive: &[],
                negative: &[],
                ..*native
            }
            .encode()
        } else {
            native.encode()
        };
        self.output.histogram(&message);
        for (_, exemplar) in exemplars {
            self.output.exemplar(exemplar);
        }
        self.end_series(&family.base, &[])
    }

    fn exponential(
        &mut self,
        mut histogram: Exponential,
        point: &Point<'_>,
        family: &Family<'_>,
        ts: i64,
    ) -> Result<Result<(), Refusal>, ConvertError> {
        if !point.stale {
            if let Err(refusal) = check_exponential(&histogram) {
                return Ok(Err(refusal));
            }
            if histogram.scale > FINEST_SCALE {
                let shift = histogram.scale - FINEST_SCALE;
                histogram.positive = downscaled(&histogram.positive, shift);
                histogram.negative = downscaled(&histogram.negative, shift);
                histogram.scale = FINEST_SCALE;
            }
            let fits = |buckets: &Buckets| {
                buckets.iter().all(|(index, _)| i32::try_from(index + 1).is_ok())
            };
            if !fits(&histogram.positive) || !fits(&histogram.negative) {
                return Ok(Err(Refusal::BucketRange));
            }
        }
        let (total, zero) = match self.total(Total::Exponential(histogram), point, family) {
            Ok((Total::Exponential(total), zero)) => (total, zero),
            Ok(_) => return Ok(Err(Refusal::Buckets)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let exemplars = self.exemplars(point, ts)?;
        self.seen(ts);
        if let (Some(Total::Exponential(zero)), Some(zero_ms)) = (zero, self.zero_ms(point, ts)) {
            self.put_exponential(&zero, zero_ms, false, family, &[])?;
        }
        self.put_exponential(&total, ts, point.stale, family, &exemplars)?;
        Ok(Ok(()))
    }

    fn put_exponential(
        &mut self,
        histogram: &Exponential,
        ts: i64,
        stale: bool,
        family: &Family<'_>,
        exemplars: &[(f64, Vec<u8>)],
    ) -> Result<(), TooLarge> {
        // Native histograms number a bucket by its upper bound.
        let by_upper = |buckets: &Buckets| -> Buckets {
            buckets.iter().map(|&(index, count)| (index + 1, count)).collect()
        };
        let (positive, negative) = (by_upper(&histogram.positive), by_upper(&histogram.negative));
        let threshold = histogram.zero_threshold;
        self.put_native(
            &Native {
                count: histogram.count,
                sum: histogram.sum.unwrap_or(0.0),
                schema: histogram.scale.clamp(COARSEST_SCALE, FINEST_SCALE),
                zero_threshold: if threshold > 0.0 { threshold } else { NO_THRESHOLD },
                zero_count: histogram.zero_count,
                positive: &positive,
                negative: &negative,
                custom_bounds: &[],
                ts_ms: ts,
            },
            stale,
            family,
            exemplars,
        )
    }

    fn summary(
        &mut self,
        summary: &Summary,
        point: &Point<'_>,
        family: &Family<'_>,
        ts: i64,
    ) -> Result<Result<(), Refusal>, ConvertError> {
        if summary.quantiles.len() > MAX_BUCKETS {
            return Ok(Err(Refusal::Buckets));
        }
        let stale = f64::from_bits(STALE_NAN_BITS);
        let shown = |value: f64| if point.stale { stale } else { value };
        self.seen(ts);
        self.output.sample(ts, shown(summary.sum));
        self.end_series(&family.sum, &[])?;
        self.output.sample(ts, shown(summary.count as f64));
        self.end_series(&family.count, &[])?;
        let mut label = Vec::new();
        for &(quantile, value) in &summary.quantiles {
            label.clear();
            put_label(&mut label, "quantile", &plain_decimal(quantile));
            self.output.sample(ts, shown(value));
            self.end_series(&family.base, &label)?;
        }
        Ok(Ok(()))
    }

    /// A point's exemplars, encoded, with their values.
    fn exemplars(&self, point: &Point<'_>, ts: i64) -> Result<Vec<(f64, Vec<u8>)>, ConvertError> {
        let encode = |message: &&[u8]| -> Result<_, ConvertError> {
            let (exemplar, value) = encode_exemplar(message, ts, self.options.strategy)?;
            Ok((value, exemplar))
        };
        point.exemplars.iter().map(encode).collect()
    }

    /// Says that the resource was there, from its first point to its last.
    fn target_info(&mut self, labels: &[u8]) -> Result<(), ConvertError> {
        if self.first_ms > self.last_ms {
            return Ok(());
        }
        let step = (self.options.lookback_ms / 2).max(1);
        let step = step.max((self.last_ms - self.first_ms) / MAX_INFO_SAMPLES);
        let series = xxh3_128(labels);
        let mut ts = self.first_ms;
        while ts < self.last_ms {
            self.info_sample(series, ts);
            ts += step;
        }
        self.info_sample(series, self.last_ms);
        if !self.output.tail.is_empty() {
            self.output.end_series(&[labels])?;
        }
        Ok(())
    }

    fn info_sample(&mut self, series: u128, ts: i64) {
        if self.infos.insert(xxh3_128_with_seed(&series.to_le_bytes(), ts as u64)) {
            self.output.sample(ts, 1.0);
        }
    }
}

fn check_exponential(histogram: &Exponential) -> Result<(), Refusal> {
    let Some(sum) = histogram.sum else { return Err(Refusal::NoSum) };
    if histogram.scale < COARSEST_SCALE {
        return Err(Refusal::Scale);
    }
    if histogram.positive.len().max(histogram.negative.len()) > MAX_BUCKETS {
        return Err(Refusal::BucketRange);
    }
    let buckets = histogram.positive.iter().chain(&histogram.negative);
    let held = buckets.map(|(_, count)| u128::from(*count)).sum::<u128>()
        + u128::from(histogram.zero_count);
    let count = u128::from(histogram.count);
    // Observations of NaN are in no bucket.
    if held > count || (held < count && !sum.is_nan()) || i64::try_from(histogram.count).is_err() {
        return Err(Refusal::Count);
    }
    Ok(())
}

/// The shortest digits without an exponent.
fn plain_decimal(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format!("{number}")
}

/// An exemplar's remote write form and its value. Attributes are left out where they are too long.
fn encode_exemplar(
    message: &[u8],
    ts: i64,
    strategy: Strategy,
) -> Result<(Vec<u8>, f64), WireError> {
    let exemplar = read_exemplar(message)?;
    let mut labels: Vec<(String, String)> = Vec::new();
    for (name, id, size) in [("trace_id", exemplar.trace_id, 16), ("span_id", exemplar.span_id, 8)]
    {
        if id.len() == size {
            labels.push((name.to_owned(), hex(id)));
        }
    }
    let ids = labels.len();
    let mut attributes = Vec::new();
    for attribute in exemplar.attributes.iter().take(MAX_EXEMPLAR_CHARS) {
        if let Ok(attribute) = refused(read_attribute(attribute))? {
            attributes.push(attribute);
        }
    }
    for (name, value) in translate(&mut attributes, strategy) {
        if !value.is_empty() && name != "trace_id" && name != "span_id" {
            labels.push((name.into_owned(), value.into_owned()));
        }
    }
    let chars: usize = labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
    if chars > MAX_EXEMPLAR_CHARS {
        labels.truncate(ids);
    }
    let own_ms = (exemplar.time_ns / 1_000_000) as i64;
    let at_ms = if exemplar.time_ns == 0 { ts } else { own_ms };
    Ok((exemplar_message(&labels, exemplar.value, at_ms), exemplar.value))
}
