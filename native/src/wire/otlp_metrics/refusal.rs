//! Why data points are refused, counted and in words.

/// One reason; the texts say what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the name has no character that may be kept")]
    Name,
    #[error("the aggregation temporality is neither delta nor cumulative")]
    Temporality,
    #[error("the point has no value")]
    NoValue,
    #[error("the delta ends before one that has been added already")]
    LateDelta,
    #[error("a monotonic delta is negative or not a number")]
    NegativeDelta,
    #[error("there is no memory left for another series of deltas (otlp.delta_memory)")]
    DeltaLimit,
    #[error("there must be one more bucket count than bounds, and bounds must increase")]
    Buckets,
    #[error("the scale is below -4, the coarsest of native histograms")]
    Scale,
    #[error("an exponential histogram without a sum")]
    NoSum,
    #[error("the buckets do not sum up to the count")]
    Count,
    #[error("more buckets, or further from zero, than a native histogram has")]
    BucketRange,
    #[error("the time is older than the retention keeps")]
    TooOld,
    #[error("the time is too far in the future")]
    TooFarInFuture,
    #[error("an attribute is no UTF-8")]
    Utf8,
    #[error("an attribute is nested too deep")]
    TooDeep,
    #[error("the attributes are too long")]
    Labels,
}

impl Refusal {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "invalid_name",
            Self::Temporality => "unspecified_temporality",
            Self::NoValue => "no_value",
            Self::LateDelta => "late_delta",
            Self::NegativeDelta => "negative_delta",
            Self::DeltaLimit => "delta_limit",
            Self::Buckets | Self::BucketRange => "invalid_buckets",
            Self::Scale => "unsupported_scale",
            Self::NoSum => "no_sum",
            Self::Count => "invalid_count",
            Self::TooOld => "too_old",
            Self::TooFarInFuture => "too_far_in_future",
            Self::Utf8 | Self::TooDeep => "invalid_attributes",
            Self::Labels => "label_limit",
        }
    }
}

/// Messages kept for the answer; the counts say how many more there are.
const MAX_MESSAGES: usize = 5;
/// Of a metric's name in a message.
const MAX_NAME_CHARS: usize = 100;

/// All refusals of a request.
#[derive(Debug, Default)]
pub struct Refusals {
    pub counts: Vec<(&'static str, u64)>,
    pub messages: Vec<String>,
}

impl Refusals {
    pub fn add(&mut self, refusal: Refusal, metric: &str) {
        match self.counts.iter_mut().find(|(name, _)| *name == refusal.name()) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((refusal.name(), 1)),
        }
        if self.messages.len() < MAX_MESSAGES {
            let metric: String = metric.chars().take(MAX_NAME_CHARS).collect();
            let message = format!("metric {metric:?}: {refusal}");
            if !self.messages.contains(&message) {
                self.messages.push(message);
            }
        }
    }
}
