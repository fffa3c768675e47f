//! Tests over the whole way of a span: request, memtable, segment, merge, and back; and damage.

use super::memtable::Memtable;
use super::merge::{Keep, MergeSpec, erase, merge};
use super::otlp::{Batch, ERROR, Limits, TraceId, put_fixed32};
use super::otlp_trace::encode;
use super::predicate::{Field, Op, Predicate, Test};
use super::search::{Order, Query, TracePage};
use super::segment::{Segment, SegmentError, flush};
use super::sources::{Source, Sources};
use crate::columns::value::Value;
use crate::wire::protobuf::{put_bytes, put_key, put_varint};
use hashbrown::HashSet;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LIMITS: Limits =
    Limits { now_ns: 1_000, oldest_ns: 0, span_bytes: 1 << 20, attributes: 1_000 };

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("obsd-spans-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug, Clone)]
struct TestSpan {
    trace: u8,
    number: u8,
    parent: u8,
    kind: u8,
    start: u16,
    length: u16,
    status: u8,
    service: u8,
    words: Vec<(u8, u8)>,
    events: Vec<u8>,
    link: bool,
}

fn spans() -> impl Strategy<Value = Vec<TestSpan>> {
    let span = (
        (1_u8..9, 1_u8..6, 0_u8..8, 0_u8..3),
        (1_u16..2_000, 0_u16..500, 0_u8..3, 0_u8..3),
        (
            proptest::collection::vec((0_u8..200, any::<u8>()), 0..4),
            proptest::collection::vec(any::<u8>(), 0..2),
            any::<bool>(),
        ),
    );
    let made = span.prop_map(|((trace, number, parent, kind), times, rest)| TestSpan {
        trace,
        number,
        parent,
        kind,
        start: times.0,
        length: times.1,
        status: times.2,
        service: times.3,
        words: rest.0,
        events: rest.1,
        link: rest.2,
    });
    proptest::collection::vec(made, 1..80)
}

fn attribute(key: &str, value: Value<'_>) -> Vec<u8> {
    let (mut any, mut entry) = (Vec::new(), Vec::new());
    value.encode(&mut any);
    put_bytes(&mut entry, 1, key.as_bytes());
    put_bytes(&mut entry, 2, &any);
    entry
}

fn trace_id(trace: u8) -> TraceId {
    [trace; 16]
}

fn message(span: &TestSpan) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &trace_id(span.trace));
    put_bytes(&mut out, 2, &[span.number; 8]);
    if span.parent > 0 {
        put_bytes(&mut out, 4, &[span.parent; 8]);
    }
    put_bytes(&mut out, 5, format!("op {}", span.number).as_bytes());
    put_varint(&mut out, 6, u64::from(span.kind));
    for (field, ns) in [(7, span.start), (8, span.start + span.length)] {
        put_key(&mut out, field, 1);
        out.extend_from_slice(&u64::from(ns).to_le_bytes());
    }
    let mut known = HashSet::new();
    for (key, value) in span.words.iter().filter(|(key, _)| known.insert(*key)) {
        let text = format!("v{value}");
        let value = match value % 4 {
            0 => Value::Int(i64::from(*value)),
            1 => Value::Bool(true),
            2 => Value::Double(0.5),
            _ => Value::Text(text.as_bytes()),
        };
        put_bytes(&mut out, 9, &attribute(&format!("k{key}"), value));
    }
    for event in &span.events {
        let mut message = vec![9];
        message.extend_from_slice(&u64::from(*event).to_le_bytes());
        put_bytes(&mut message, 2, &[b'e', b'0' + event % 10]);
        put_bytes(&mut message, 3, &attribute("why", Value::Int(i64::from(*event))));
        put_bytes(&mut out, 11, &message);
    }
    if span.link {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, &[7; 16]);
        put_bytes(&mut message, 2, &[8; 8]);
        put_fixed32(&mut message, 6, 257);
        put_bytes(&mut out, 13, &message);
    }
    if span.status > 0 {
        let mut status = Vec::new();
        put_varint(&mut status, 3, u64::from(span.status));
        put_bytes(&mut out, 15, &status);
    }
    put_fixed32(&mut out, 16, 257);
    out
}

fn request(spans: &[TestSpan]) -> Vec<u8> {
    let mut out = Vec::new();
    for span in spans {
        let (mut resource, mut scope, mut group) = (Vec::new(), Vec::new(), Vec::new());
        let name = format!("s{}", span.service);
        let name = attribute("service.name", Value::Text(name.as_bytes()));
        put_bytes(&mut resource, 1, &name);
        put_bytes(&mut scope, 2, &message(span));
        put_bytes(&mut group, 1, &resource);
        put_bytes(&mut group, 2, &scope);
        put_bytes(&mut out, 1, &group);
    }
    out
}

fn memtable(spans: &[TestSpan], first_row: i64, granule_rows: usize) -> Arc<Memtable> {
    let memtable = Memtable::new(granule_rows);
    let body = request(spans);
    let batch = Batch::decode(&body, &LIMITS).expect("a request");
    assert!(batch.refused.is_empty(), "{:?}", batch.messages);
    memtable.append(&body, &batch, first_row);
    Arc::new(memtable)
}

fn flushed(memtable: &Memtable, directory: &Path, name: &str) -> Arc<Segment> {
    let paths = flush(&memtable.snapshot(), &directory.join(name), 8).expect("segments");
    assert_eq!(paths.len(), 1);
    Arc::new(Segment::open(&paths[0]).expect("a segment"))
}

/// By trace, id and kind what the last such span was, by OTLP.
type Found = BTreeMap<(u8, u8, u8), (u16, u16, u8, usize)>;

fn expected(spans: &[TestSpan]) -> Found {
    let of = |s: &TestSpan| (s.start, s.length, s.status, s.events.len());
    spans.iter().map(|s| ((s.trace, s.number, s.kind), of(s))).collect()
}

fn found(sources: &Sources) -> Found {
    let mut all = Found::new();
    for trace in 0..10 {
        let Some(whole) = sources.whole(&trace_id(trace)).expect("a trace") else { continue };
        let body = encode(&whole.chunk);
        let batch = Batch::decode(&body, &LIMITS).expect("what was written");
        assert_eq!(batch.spans.len(), whole.chunk.rows());
        assert!(batch.spans.is_sorted_by_key(|span| span.start_ns));
        for span in &batch.spans {
            let key = (span.trace_id[0], span.span_id[0], span.kind);
            let times = (span.start_ns as u16, span.duration_ns as u16);
            let before = all.insert(key, (times.0, times.1, span.status, span.events.len()));
            assert_eq!((before, span.flags), (None, 257));
        }
    }
    all
}

fn page(order: Order) -> TracePage {
    TracePage { order, min_duration_ns: 0, max_duration_ns: i64::MAX, limit: 3, after: None }
}

/// Page after page, the keys of all traces with an error.
fn failed(sources: &Sources, order: Order, min_duration_ns: i64) -> Vec<(i64, TraceId)> {
    let predicate = Predicate::Compare(Field::Status, Test::Int(Op::Equal, i64::from(ERROR)));
    let query = Query { predicate, start_ns: 0, end_ns: i64::MAX };
    let mut all = Vec::new();
    let mut page = TracePage { min_duration_ns, ..page(order) };
    loop {
        let found = query.traces::<Infallible>(sources, &page, || Ok(())).expect("traces");
        let Some((key, last)) = found.last() else { return all };
        page.after = Some((*key, last.id));
        all.extend(found.iter().map(|(key, summary)| (*key, summary.id)));
    }
}

fn expected_failed(spans: &[TestSpan], order: Order, least: i64) -> Vec<(i64, TraceId)> {
    let mut traces: BTreeMap<u8, Vec<(u16, u16, u8, usize)>> = BTreeMap::new();
    for ((trace, ..), span) in expected(spans) {
        traces.entry(trace).or_default().push(span);
    }
    let mut all = Vec::new();
    for (trace, spans) in traces {
        let start = spans.iter().map(|s| i64::from(s.0)).min().unwrap_or(0);
        let end = spans.iter().map(|s| i64::from(s.0) + i64::from(s.1)).max().unwrap_or(0);
        let key = match order {
            Order::Newest => start,
            Order::Slowest => end - start,
            Order::MostSpans => spans.len() as i64,
        };
        if end - start >= least && spans.iter().any(|s| s.2 == ERROR) {
            all.push((key, trace_id(trace)));
        }
    }
    all.sort_by_key(|(key, id)| (std::cmp::Reverse(*key), *id));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_is_found_wherever_it_is(
        first in spans(), second in spans(), third in spans(), least in 0_i64..2_500,
    ) {
        let directory = Directory::new();
        let tables: Vec<_> =
            [&first, &second, &third].iter().map(|spans| memtable(spans, 0, 8)).collect();
        let segments: Vec<_> = ["a", "b", "c"]
            .iter()
            .zip(&tables)
            .map(|(name, table)| flushed(table, &directory.0, name))
            .collect();
        segments.iter().for_each(|segment| segment.verify().expect("whole"));
        let spec = MergeSpec { granule_rows: 8, min_ns: i64::MIN, keep: None, level: 3 };
        let path = directory.0.join("merged.spans");
        merge(&segments, &path, &spec).expect("a merge");
        let merged = Arc::new(Segment::open(&path).expect("a segment"));
        let all = [first, second, third].concat();
        let in_memory = tables.iter().map(|t| Source::Memtable(Arc::clone(t)));
        let in_files = segments.iter().map(|s| Source::Segment(Arc::clone(s)));
        let mixed: Vec<Source> =
            in_files.clone().take(2).chain(in_memory.clone().skip(2)).collect();
        let places =
            [in_memory.collect(), in_files.collect(), mixed, vec![Source::Segment(merged)]];
        for sources in places {
            let sources = Sources::new(sources);
            prop_assert_eq!(found(&sources), expected(&all));
            for order in [Order::Newest, Order::Slowest, Order::MostSpans] {
                let wanted = expected_failed(&all, order, least);
                prop_assert_eq!(failed(&sources, order, least), wanted);
            }
            let query = Query { predicate: Predicate::All, start_ns: 0, end_ns: 1_000 };
            let newest = query.spans::<Infallible>(&sources, 7, || Ok(())).expect("spans");
            let mut wanted: Vec<i64> = expected(&all).values().map(|s| i64::from(s.0)).collect();
            wanted.retain(|start| *start < 1_000);
            wanted.sort_unstable_by_key(|start| std::cmp::Reverse(*start));
            wanted.truncate(7);
            prop_assert_eq!(&*newest.starts, &wanted);
        }
    }

    #[test]
    fn sampling_keeps_what_it_should(spans in spans(), kept in 1_u8..9) {
        let directory = Directory::new();
        let segment = flushed(&memtable(&spans, 0, 8), &directory.0, "a");
        let path = directory.0.join("merged.spans");
        let kept_ids = Arc::new(HashSet::from([trace_id(kept)]));
        let keep = Keep { before_ns: 1_500, slowest: 0, share: 0.0, kept: kept_ids };
        let spec = MergeSpec { granule_rows: 8, min_ns: i64::MIN, keep: Some(keep), level: 3 };
        let all = expected(&spans);
        let stays = |trace: u8| {
            let own = || all.iter().filter(|(key, _)| key.0 == trace).map(|(_, span)| span);
            trace == kept || own().any(|s| s.2 == ERROR) || own().all(|s| s.0 >= 1_500)
        };
        let wanted: Found =
            all.iter().filter(|(key, _)| stays(key.0)).map(|(k, s)| (*k, *s)).collect();
        let (left, dropped) = merge(&[segment], &path, &spec).expect("a merge");
        prop_assert_eq!(left as usize, wanted.len());
        prop_assert_eq!(dropped as usize, all.len() - wanted.len());
        prop_assert_eq!(path.exists(), left > 0);
        if left > 0 {
            let merged = Arc::new(Segment::open(&path).expect("a segment"));
            prop_assert_eq!(found(&Sources::new(vec![Source::Segment(merged)])), wanted);
        }
    }

    #[test]
    fn erased_traces_are_gone(spans in spans(), gone in 1_u8..9) {
        let directory = Directory::new();
        let segment = flushed(&memtable(&spans, 0, 8), &directory.0, "a");
        let path = directory.0.join("left.spans");
        let erased = erase(&segment, &HashSet::from([trace_id(gone)]), &path, 3).expect("a file");
        let mut wanted = expected(&spans);
        let before = wanted.len();
        wanted.retain(|key, _| key.0 != gone);
        prop_assert_eq!(erased as usize, before - wanted.len());
        prop_assert_eq!(path.exists(), erased > 0 && !wanted.is_empty());
        if path.exists() {
            let left = Arc::new(Segment::open(&path).expect("a segment"));
            prop_assert_eq!(found(&Sources::new(vec![Source::Segment(left)])), wanted);
        }
    }

    #[test]
    fn damage_is_told(spans in spans(), at: prop::sample::Index, bit in 0_u8..8, cut: bool) {
        let directory = Directory::new();
        let segment = flushed(&memtable(&spans, 0, 8), &directory.0, "a");
        let mut bytes = std::fs::read(&segment.path).expect("a file");
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        let path = directory.0.join("damaged.spans");
        std::fs::write(&path, &bytes).expect("a file");
        let told = match Segment::open(&path) {
            Err(SegmentError::Corrupt(_)) => true,
            // What is empty cannot be mapped.
            Err(SegmentError::Io { .. }) => bytes.is_empty(),
            Ok(opened) => {
                let told = opened.verify().is_err();
                let sources = Sources::new(vec![Source::Segment(Arc::new(opened))]);
                for trace in 0..10 {
                    let _ = sources.whole(&trace_id(trace));
                }
                let _ = failed_or_error(&sources);
                told
            }
        };
        // Six bytes of the header are of no use.
        prop_assert!(told || (10..16).contains(&at));
    }
}

fn failed_or_error(sources: &Sources) -> bool {
    let query = Query { predicate: Predicate::All, start_ns: 0, end_ns: i64::MAX };
    query.traces::<Infallible>(sources, &page(Order::Slowest), || Ok(())).is_ok()
}
