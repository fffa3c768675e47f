//! The counters as remote write requests, with exemplars.

use super::graph::{Connection, Edge};
use super::histogram::{Bounds, Exemplar, Histogram};
use super::limit::Life;
use super::operations::Operation;
use super::state::State;
use crate::columns::value::hex;
use crate::wire::write_request::{self, Metadata, TooLong, WriteRequest};

/// Samples of one request; more of them take more memory while they are stored.
const MAX_SAMPLES: usize = 10_000;

/// What became of everything that found no room.
const OVERFLOW: [(&str, &str); 1] = [("metric_overflow", "true")];

const NAME: &str = "__name__";
const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

const COUNTER: u64 = 1;
const GAUGE: u64 = 2;
const HISTOGRAM: u64 = 3;

const CALLS: &str = "traces_spanmetrics_calls_total";
const SIZE: &str = "traces_spanmetrics_size_total";
const REQUESTS: &str = "traces_service_graph_request_total";
const FAILED: &str = "traces_service_graph_request_failed_total";
const TARGET_INFO: &str = "traces_target_info";

/// Names of a histogram's series.
struct HistogramNames {
    bucket: &'static str,
    sum: &'static str,
    count: &'static str,
}

const LATENCY: HistogramNames = HistogramNames {
    bucket: "traces_spanmetrics_latency_bucket",
    sum: "traces_spanmetrics_latency_sum",
    count: "traces_spanmetrics_latency_count",
};
const SERVER: HistogramNames = HistogramNames {
    bucket: "traces_service_graph_request_server_seconds_bucket",
    sum: "traces_service_graph_request_server_seconds_sum",
    count: "traces_service_graph_request_server_seconds_count",
};
const CLIENT: HistogramNames = HistogramNames {
    bucket: "traces_service_graph_request_client_seconds_bucket",
    sum: "traces_service_graph_request_client_seconds_sum",
    count: "traces_service_graph_request_client_seconds_count",
};
const QUEUED: HistogramNames = HistogramNames {
    bucket: "traces_service_graph_request_messaging_system_seconds_bucket",
    sum: "traces_service_graph_request_messaging_system_seconds_sum",
    count: "traces_service_graph_request_messaging_system_seconds_count",
};

const FAMILIES: [Metadata<'static>; 8] = [
    family(CALLS, COUNTER, "Spans of an operation.", ""),
    family("traces_spanmetrics_latency", HISTOGRAM, "How long spans took.", "seconds"),
    family(SIZE, COUNTER, "Size of an operation's spans.", "bytes"),
    family(REQUESTS, COUNTER, "Requests from one node to another.", ""),
    family(FAILED, COUNTER, "Requests that failed at either side.", ""),
    family(
        "traces_service_graph_request_server_seconds",
        HISTOGRAM,
        "How long requests took, as their server saw it.",
        "seconds",
    ),
    family(
        "traces_service_graph_request_client_seconds",
        HISTOGRAM,
        "How long requests took, as their client saw it.",
        "seconds",
    ),
    family(
        "traces_service_graph_request_messaging_system_seconds",
        HISTOGRAM,
        "How long messages were under way from their producer to their consumer.",
        "seconds",
    ),
];

const fn family(
    family: &'static str,
    kind: u64,
    help: &'static str,
    unit: &'static str,
) -> Metadata<'static> {
    Metadata { family, kind, help, unit }
}

/// Requests under construction, all of one moment.
struct Writer {
    requests: Vec<WriteRequest>,
    samples: usize,
    now_ms: i64,
}

impl Writer {
    fn push(
        &mut self,
        labels: &[(&str, &str)],
        time_ms: i64,
        value: f64,
        exemplar: Option<write_request::Exemplar<'_>>,
    ) {
        if self.samples.is_multiple_of(MAX_SAMPLES) {
            self.requests.push(WriteRequest::default());
        }
        self.samples += 1;
        if let Some(request) = self.requests.last_mut() {
            request.push(labels, time_ms, value, exemplar);
        }
    }
}

/// The label set of a group of series that begin together.
struct Series<'a> {
    /// By name, with room for the metric's.
    labels: Vec<(&'a str, &'a str)>,
    /// The same with room for `le`.
    bucket_labels: Vec<(&'a str, &'a str)>,
    zero_ms: Option<i64>,
}

impl<'a> Series<'a> {
    fn new(labels: impl Iterator<Item = (&'a str, &'a str)>, life: &mut Life) -> Self {
        let mut labels: Vec<_> = labels.filter(|(_, value)| !value.is_empty()).collect();
        labels.push((NAME, ""));
        let mut bucket_labels = labels.clone();
        bucket_labels.push(("le", ""));
        labels.sort_unstable();
        bucket_labels.sort_unstable();
        let zero_ms = life.hand_over().then_some(life.zero_ms);
        Self { labels, bucket_labels, zero_ms }
    }

    fn push(&mut self, name: &'a str, value: f64, writer: &mut Writer) {
        set(&mut self.labels, NAME, name);
        if let Some(zero_ms) = self.zero_ms {
            writer.push(&self.labels, zero_ms, 0.0, None);
        }
        writer.push(&self.labels, writer.now_ms, value, None);
    }

    fn push_histogram(
        &mut self,
        names: &HistogramNames,
        histogram: &mut Histogram,
        bounds: &'a Bounds,
        writer: &mut Writer,
    ) {
        set(&mut self.bucket_labels, NAME, names.bucket);
        let mut below = 0;
        for (at, bound) in bounds.texts().iter().enumerate() {
            below += histogram.counts[at];
            set(&mut self.bucket_labels, "le", bound);
            if let Some(zero_ms) = self.zero_ms {
                writer.push(&self.bucket_labels, zero_ms, 0.0, None);
            }
            self.push_bucket(below, histogram.exemplars[at].take(), writer);
        }
        self.push(names.sum, histogram.sum_seconds(), writer);
        self.push(names.count, below as f64, writer);
    }

    fn push_bucket(&self, count: u64, exemplar: Option<Exemplar>, writer: &mut Writer) {
        let now_ms = writer.now_ms;
        let Some(exemplar) = exemplar else {
            writer.push(&self.bucket_labels, now_ms, count as f64, None);
            return;
        };
        let (span_id, trace_id) = (hex(&exemplar.origin.span_id), hex(&exemplar.origin.trace_id));
        let labels = [("span_id", span_id.as_str()), ("trace_id", trace_id.as_str())];
        let exemplar = write_request::Exemplar {
            labels: &labels,
            value: exemplar.nanos as f64 / 1e9,
            timestamp_ms: now_ms,
        };
        writer.push(&self.bucket_labels, now_ms, count as f64, Some(exemplar));
    }
}

fn set<'a>(labels: &mut [(&'a str, &'a str)], name: &str, value: &'a str) {
    if let Some(label) = labels.iter_mut().find(|label| label.0 == name) {
        label.1 = value;
    }
}

impl State {
    /// Samples of all series as compressed remote write requests. Once these are stored,
    /// [`State::confirm`] is to be called.
    ///
    /// # Errors
    /// A request is too long, which its number of samples does not allow.
    pub fn samples(&mut self, now_ms: i64, with_metadata: bool) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut writer = Writer { requests: Vec::new(), samples: 0, now_ms };
        let dimensions: Vec<&str> =
            self.options.dimensions.iter().map(|(_, label)| label.as_str()).collect();
        let bounds = self.operations.bounds.clone();
        for set in self.operations.iter_mut() {
            push_operation(set, &dimensions, &bounds, &mut writer);
        }
        let bounds = self.graph.bounds.clone();
        for edge in self.graph.iter_mut() {
            push_edge(edge, &bounds, &mut writer);
        }
        for (info, _) in self.targets.iter() {
            let mut labels: Vec<(&str, &str)> =
                info.iter().map(|(name, value)| (&**name, &**value)).collect();
            labels.push((NAME, TARGET_INFO));
            labels.sort_unstable();
            writer.push(&labels, now_ms, 1.0, None);
        }
        if with_metadata && let Some(request) = writer.requests.first_mut() {
            FAMILIES.iter().for_each(|family| request.push_metadata(family));
            let help = "A resource that makes spans, with its attributes.";
            request.push_metadata(&family(TARGET_INFO, GAUGE, help, ""));
        }
        writer.requests.iter().map(WriteRequest::compress).collect()
    }
}

fn push_operation(set: &mut Operation, dimensions: &[&str], bounds: &Bounds, writer: &mut Writer) {
    let Operation { key, calls, size_bytes, latency, life } = set;
    let mut series = match key {
        None => Series::new(OVERFLOW.into_iter(), life),
        Some(key) => {
            let kind = KINDS.get(usize::from(key.kind)).copied().unwrap_or(KINDS[0]);
            let status = STATUSES.get(usize::from(key.status)).copied().unwrap_or(STATUSES[0]);
            let intrinsic = [
                ("service", &*key.service),
                ("span_name", &*key.name),
                ("span_kind", kind),
                ("status_code", status),
            ];
            let target = key
                .target
                .iter()
                .flat_map(|target| [("job", &*target.0), ("instance", &*target.1)]);
            let values = key.dimensions.iter().map(|value| &**value);
            let own = dimensions.iter().copied().zip(values);
            Series::new(intrinsic.into_iter().chain(target).chain(own), life)
        }
    };
    series.push(CALLS, *calls as f64, writer);
    series.push(SIZE, *size_bytes as f64, writer);
    series.push_histogram(&LATENCY, latency, bounds, writer);
}

fn push_edge(edge: &mut Edge, bounds: &Bounds, writer: &mut Writer) {
    let Edge { key, requests, failed, client, server, queued, life } = edge;
    let is_message = key.as_ref().is_none_or(|key| key.connection == Connection::Messaging);
    let mut series = match key {
        None => Series::new(OVERFLOW.into_iter(), life),
        Some(key) => {
            let labels = [
                ("client", &*key.client),
                ("server", &*key.server),
                ("connection_type", key.connection.name()),
            ];
            Series::new(labels.into_iter(), life)
        }
    };
    series.push(REQUESTS, *requests as f64, writer);
    series.push(FAILED, *failed as f64, writer);
    series.push_histogram(&SERVER, server, bounds, writer);
    series.push_histogram(&CLIENT, client, bounds, writer);
    if is_message {
        series.push_histogram(&QUEUED, queued, bounds, writer);
    }
}
