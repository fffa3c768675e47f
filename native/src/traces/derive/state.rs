//! All that one project's spans were counted to, up to a row.

use super::graph::Graph;
use super::histogram::{Bounds, Origin};
use super::limit::{Life, Limit};
use super::operations::{KeyOf, Operations};
use super::pending::Pending;
use super::resources::{Resource, Resources};
use super::roles::{Attributes, Found, Roles};
use super::targets::Targets;
use crate::logs::seen::Seen;
use std::borrow::Cow;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Spans that are known by their ids, so that one that is sent again does not count: at least the
/// last so many, and after a restart at least the last [`KEPT`].
const KNOWN: usize = 1 << 18;
const KEPT: usize = 1 << 15;

/// Spans that are taken in together; their places among the known ones are read ahead.
pub const CHUNK: usize = 32;

/// OTLP's numbers of kinds and of the status.
pub mod otlp {
    pub const SERVER: u8 = 2;
    pub const CLIENT: u8 = 3;
    pub const PRODUCER: u8 = 4;
    pub const CONSUMER: u8 = 5;
    pub const ERROR: u8 = 2;
}

/// How spans are counted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Attributes of spans or resources, and the labels that they become.
    pub dimensions: Vec<(String, String)>,
    /// Bounds in seconds.
    pub latency_buckets: Vec<f64>,
    pub graph_buckets: Vec<f64>,
    /// How long the other side of a call is waited for.
    pub wait_ms: i64,
    /// Between two samples of a series.
    pub interval_ms: i64,
    /// After how long without a span series end.
    pub idle_ms: i64,
    pub max_series: usize,
    pub max_pending: usize,
    pub has_target_info: bool,
    /// Whether operations are told apart by `job` and `instance`.
    pub has_instances: bool,
}

impl Options {
    /// Of what makes the counters of one run those of another.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = u64::from(self.has_instances);
        for (attribute, label) in &self.dimensions {
            hash = xxh3_64_with_seed(attribute.as_bytes(), hash);
            hash = xxh3_64_with_seed(label.as_bytes(), hash);
        }
        for buckets in [&self.latency_buckets, &self.graph_buckets] {
            let bits: Vec<u8> = buckets.iter().flat_map(|bound| bound.to_le_bytes()).collect();
            hash = xxh3_64_with_seed(&bits, hash ^ buckets.len() as u64);
        }
        hash
    }
}

/// A span on its way into the counters.
#[derive(Debug, Clone)]
pub struct SpanInput<'a, A> {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// Zeros for none.
    pub parent_id: [u8; 8],
    pub name: Cow<'a, str>,
    pub kind: u8,
    pub status: u8,
    pub start_ns: i64,
    pub end_ns: i64,
    /// As protobuf.
    pub size_bytes: u64,
    pub resource: &'a Arc<Resource>,
    pub attributes: A,
}

/// What happened beside the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub spans: u64,
    /// Spans that had been counted before.
    pub repeated: u64,
    /// Calls whose other side did not come in time, and which tell nothing of it.
    pub unpaired: u64,
}

pub struct State {
    pub options: Options,
    pub roles: Roles,
    pub resources: Resources,
    pub operations: Operations,
    pub graph: Graph,
    pub targets: Targets,
    pub pending: Pending,
    pub seen: Seen,
    pub limit: Limit,
    pub totals: Totals,
    /// The last span that was taken in; -1 before the first.
    pub row: i64,
    /// Anything, since it was last kept.
    pub has_changed: bool,
    pub last_deadline_ms: i64,
}

impl State {
    #[must_use]
    pub fn new(options: Options) -> Self {
        let names: Vec<String> = options.dimensions.iter().map(|(name, _)| name.clone()).collect();
        Self {
            roles: Roles::new(&names),
            resources: Resources::default(),
            operations: Operations::new(Bounds::new(&options.latency_buckets)),
            graph: Graph::new(Bounds::new(&options.graph_buckets)),
            targets: Targets::default(),
            pending: Pending::new(options.max_pending),
            seen: Seen::new(KNOWN, 1, KEPT),
            limit: Limit::new(options.max_series),
            totals: Totals::default(),
            row: -1,
            has_changed: false,
            last_deadline_ms: 0,
            options,
        }
    }

    /// A resource, worked out once; it made spans now.
    pub fn resource(
        &mut self,
        hash: u128,
        attributes: &impl Attributes,
        now_ms: i64,
    ) -> Arc<Resource> {
        let resource = self.resources.get(hash, attributes, &self.roles);
        if self.options.has_target_info
            && let Some(info) = &resource.info
        {
            self.targets.touch(info, now_ms, &mut self.limit);
        }
        resource
    }

    /// Counts spans in order of arrival. `row` is moved by the caller.
    pub fn observe<A: Attributes>(&mut self, spans: &[SpanInput<'_, A>], now_ms: i64) {
        self.has_changed |= !spans.is_empty();
        let mut hashes = Vec::with_capacity(CHUNK);
        let (zero_ms, deadline_ms) = (now_ms - self.options.interval_ms, self.deadline(now_ms));
        for chunk in spans.chunks(CHUNK) {
            hashes.clear();
            hashes.extend(chunk.iter().map(identity));
            let repeated = self.seen.admit(&hashes);
            let mut repeated = repeated.iter().copied().peekable();
            let mut found = Found::default();
            for (place, span) in (0_u32..).zip(chunk) {
                if repeated.next_if_eq(&place).is_some() {
                    self.totals.repeated += 1;
                    continue;
                }
                self.totals.spans += 1;
                self.count(span, &mut found, (zero_ms, now_ms), deadline_ms);
            }
        }
    }

    /// Of this moment; never before an earlier one, whatever the clock does.
    fn deadline(&mut self, now_ms: i64) -> i64 {
        self.last_deadline_ms = self.last_deadline_ms.max(now_ms + self.options.wait_ms);
        self.last_deadline_ms
    }

    fn count<'a, A: Attributes>(
        &mut self,
        span: &'a SpanInput<'_, A>,
        found: &mut Found<'a>,
        times: (i64, i64),
        deadline_ms: i64,
    ) {
        let is_edge = (otlp::SERVER..=otlp::CONSUMER).contains(&span.kind);
        if is_edge || self.roles.dimensions() > 0 {
            found.fill(&self.roles, &span.attributes);
        }
        let nanos = u64::try_from(span.end_ns.saturating_sub(span.start_ns)).unwrap_or(0);
        let origin = Origin { trace_id: span.trace_id, span_id: span.span_id };
        let key = KeyOf {
            service: &span.resource.service,
            name: &span.name,
            kind: span.kind,
            status: span.status,
            resource_dimensions: &span.resource.dimensions,
            dimensions: &found.dimensions,
            target: self.options.has_instances.then_some(&span.resource.target),
        };
        let size = (nanos, span.size_bytes);
        self.operations.count(key, size, origin, times, &mut self.limit);
        if is_edge {
            self.count_edge(span, found, nanos, times, deadline_ms);
        }
    }

    /// Ends series without spans for long.
    pub fn forget_idle(&mut self, now_ms: i64) {
        let (used_ms, before) = (now_ms - self.options.idle_ms, self.limit.used());
        self.operations.forget_before(used_ms, &mut self.limit);
        self.graph.forget_before(used_ms, &mut self.limit);
        self.targets.forget_before(used_ms, &mut self.limit);
        self.has_changed |= self.limit.used() != before;
    }

    /// The samples that were handed over are stored.
    pub fn confirm(&mut self) {
        let operations = self.operations.iter_mut().map(|set| &mut set.life);
        let edges = self.graph.iter_mut().map(|edge| &mut edge.life);
        let confirmed =
            operations.chain(edges).map(Life::confirm).fold(false, |any, new| any | new);
        self.has_changed |= confirmed;
    }
}

/// What makes a span the same as another.
fn identity<A>(span: &SpanInput<'_, A>) -> u64 {
    let mut bytes = [0; 25];
    bytes[..16].copy_from_slice(&span.trace_id);
    bytes[16..24].copy_from_slice(&span.span_id);
    bytes[24] = span.kind;
    xxh3_64(&bytes).max(1)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::columns::value::Value;
    use proptest::prelude::*;

    type Attribute = (&'static str, Value<'static>);

    pub fn options() -> Options {
        Options {
            dimensions: vec![("region".to_owned(), "region".to_owned())],
            latency_buckets: vec![0.002, 0.004],
            graph_buckets: vec![0.1],
            wait_ms: 10_000,
            interval_ms: 15_000,
            idle_ms: 60_000,
            max_series: 1_000,
            max_pending: 100,
            has_target_info: true,
            has_instances: false,
        }
    }

    #[derive(Debug, Clone)]
    struct Given {
        service: &'static str,
        kind: u8,
        id: u8,
        parent: u8,
        failed: bool,
        attributes: Vec<Attribute>,
    }

    fn given(service: &'static str, kind: u8, id: u8, parent: u8) -> Given {
        Given { service, kind, id, parent, failed: false, attributes: Vec::new() }
    }

    fn text(text: &'static str) -> Value<'static> {
        Value::Text(text.as_bytes())
    }

    fn observe(state: &mut State, spans: &[Given], now_ms: i64) {
        for span in spans {
            let name: &[_] = &[("service.name", text(span.service)), ("host.name", text("h"))];
            let hash = u128::from(xxh3_64(span.service.as_bytes()));
            let resource = state.resource(hash, &name, now_ms);
            let input = SpanInput {
                trace_id: [7; 16],
                span_id: [span.id; 8],
                parent_id: [span.parent; 8],
                name: "GET /".into(),
                kind: span.kind,
                status: if span.failed { otlp::ERROR } else { 0 },
                start_ns: 1_000_000_000 + i64::from(span.id) * 1_000_000,
                end_ns: 1_000_000_000 + i64::from(span.id) * 4_000_000,
                size_bytes: 50,
                resource: &resource,
                attributes: &*span.attributes,
            };
            state.observe(std::slice::from_ref(&input), now_ms);
            state.row += 1;
        }
    }

    type Counted = (String, String, &'static str, u64, u64);

    fn edges(state: &State) -> Vec<Counted> {
        let mut edges: Vec<Counted> = state
            .graph
            .iter()
            .filter_map(|edge| {
                let key = edge.key.as_ref()?;
                let ends = (key.client.to_string(), key.server.to_string());
                Some((ends.0, ends.1, key.connection.name(), edge.requests, edge.failed))
            })
            .collect();
        edges.sort();
        edges
    }

    fn edge(client: &str, server: &str, connection: &'static str, failed: u64) -> Counted {
        (client.to_owned(), server.to_owned(), connection, 1, failed)
    }

    #[test]
    fn calls_are_paired_and_others_have_virtual_nodes() {
        let mut state = State::new(options());
        let mut front = given("front", otlp::SERVER, 1, 0);
        front.failed = true;
        let mut to_db = given("cart", otlp::CLIENT, 4, 3);
        to_db.attributes = vec![("db.system", text("redis")), ("server.address", text("cache"))];
        let mut outside = given("cart", otlp::CLIENT, 5, 3);
        outside.attributes = vec![("peer.service", text("bank"))];
        let mut sends = given("cart", otlp::PRODUCER, 6, 3);
        sends.attributes = vec![("messaging.destination.name", text("orders"))];
        let mut reads = given("mail", otlp::CONSUMER, 7, 99);
        reads.attributes = vec![("messaging.system", text("kafka"))];
        let lost = given("cart", otlp::SERVER, 8, 98);
        let calls = given("front", otlp::CLIENT, 2, 1);
        let called = given("cart", otlp::SERVER, 3, 2);
        let all = [front, called, calls, to_db, outside, sends, reads, lost];
        observe(&mut state, &all, 1_000_000);
        observe(&mut state, &all, 1_000_000);
        assert_eq!(
            edges(&state),
            [edge("cart", "cache", "database", 0), edge("front", "cart", "", 0)]
        );
        state.expire(1_009_999);
        assert_eq!(edges(&state).len(), 2);
        state.expire(1_010_000);
        assert_eq!(
            edges(&state),
            [
                edge("cart", "bank", "virtual_node", 0),
                edge("cart", "cache", "database", 0),
                edge("cart", "orders", "messaging_system", 0),
                edge("front", "cart", "", 0),
                edge("kafka", "mail", "messaging_system", 0),
                edge("user", "front", "virtual_node", 1),
            ]
        );
        assert_eq!(state.totals, Totals { spans: 8, repeated: 8, unpaired: 1 });
        assert_eq!(state.pending.len(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_together() {
        let series = Operations::new(Bounds::new(&options().latency_buckets)).series_of_set();
        let mut state =
            State::new(Options { max_series: series, has_target_info: false, ..options() });
        let spans: Vec<Given> =
            (1..=5).map(|id| given(["a", "b"][usize::from(id % 2)], 1, id, 0)).collect();
        observe(&mut state, &spans, 0);
        let counted: Vec<_> =
            state.operations.iter().map(|set| (set.key.is_some(), set.calls)).collect();
        assert_eq!(counted, [(true, 3), (false, 2)]);
        assert_eq!(state.limit.overflowed, 2);
        state.samples(1, true).unwrap();
        state.confirm();
        state.forget_idle(100_000);
        assert_eq!((state.limit.used(), state.operations.iter().count()), (0, 1));
        observe(&mut state, &[given("c", 1, 9, 0)], 100_000);
        assert_eq!(state.operations.iter().count(), 2);
    }

    #[test]
    fn series_begin_at_zero_until_that_is_stored() {
        let mut state = State::new(options());
        observe(&mut state, &[given("a", 1, 1, 0)], 100_000);
        let body = |state: &mut State| {
            let bodies = state.samples(101_000, false).unwrap();
            snap::raw::Decoder::new().decompress_vec(&bodies[0]).unwrap().len()
        };
        let (first, again) = (body(&mut state), body(&mut state));
        assert!(again < first, "exemplars are written once");
        state.confirm();
        assert!(body(&mut state) < again, "so are zeros that are stored");
    }

    fn some_span() -> impl Strategy<Value = Given> {
        let attributes = prop_oneof![
            Just(vec![]),
            Just(vec![("peer.service", text("bank"))]),
            Just(vec![("db.system", text("redis")), ("region", text("eu"))]),
            Just(vec![("messaging.system", text("kafka"))]),
        ];
        (0..3_usize, 0_u8..6, 1_u8..20, 0_u8..20, any::<bool>(), attributes).prop_map(
            |(service, kind, id, parent, failed, attributes)| Given {
                service: ["a", "b", "c"][service],
                kind,
                id,
                parent,
                failed,
                attributes,
            },
        )
    }

    proptest! {
        #[test]
        fn a_state_that_was_kept_goes_on_as_if_nothing_had_been(
            spans in proptest::collection::vec(some_span(), 0..60),
            cut in 0_usize..60,
        ) {
            let mut state = State::new(options());
            let cut = cut.min(spans.len());
            observe(&mut state, &spans[..cut], 1_000);
            state.samples(2_000, true).unwrap();
            state.confirm();
            let mut again = State::new(options());
            again.restore(&state.encode().unwrap()).unwrap();
            for state in [&mut state, &mut again] {
                observe(state, &spans[cut..], 3_000);
                state.expire(20_000);
            }
            prop_assert_eq!(state.totals, again.totals);
            prop_assert_eq!(state.row, again.row);
            prop_assert_eq!(state.limit.used(), again.limit.used());
            prop_assert_eq!(edges(&state), edges(&again));
            let sums = |state: &State| -> Vec<_> {
                state
                    .operations
                    .iter()
                    .map(|set| (set.key.clone(), set.latency.counts.clone(), set.life))
                    .collect()
            };
            prop_assert_eq!(sums(&state), sums(&again));
        }

        #[test]
        fn damage_is_found(
            spans in proptest::collection::vec(some_span(), 0..10),
            at in any::<prop::sample::Index>(),
        ) {
            let mut state = State::new(options());
            observe(&mut state, &spans, 1_000);
            let mut stored = state.encode().unwrap();
            let at = at.index(stored.len());
            prop_assert!(State::new(options()).restore(&stored[..at]).is_err());
            stored[at] ^= 4;
            prop_assert!(State::new(options()).restore(&stored).is_err());
        }
    }

    #[test]
    fn other_options_begin_anew_behind_the_same_row() {
        let mut state = State::new(options());
        observe(&mut state, &[given("a", otlp::SERVER, 1, 5)], 1_000);
        let stored = state.encode().unwrap();
        let mut other = State::new(Options { graph_buckets: vec![0.2], ..options() });
        other.restore(&stored).unwrap();
        assert_eq!((other.row, other.pending.len(), other.operations.iter().count()), (0, 1, 0));
    }
}
