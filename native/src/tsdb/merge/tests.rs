use super::*;
use crate::tsdb::codec;
use crate::tsdb::gorilla;
use crate::tsdb::head::BlobKind;
use crate::tsdb::part::{ChunkMeta, PartWriter};
use crate::tsdb::series_source::SeriesSource;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

type Samples = BTreeMap<(u32, i64), u64>;

/// A directory that goes away with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("obsd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn write(path: &Path, sequence: u64, samples: &Samples, chunk: usize) -> Arc<Part> {
    let mut writer = PartWriter::create(path).unwrap();
    let mut by_id: BTreeMap<u32, (Vec<i64>, Vec<f64>)> = BTreeMap::new();
    for (&(id, ts), &bits) in samples {
        let series = by_id.entry(id).or_default();
        series.0.push(ts);
        series.1.push(f64::from_bits(bits));
    }
    for (id, (ts, values)) in by_id {
        for (ts, values) in ts.chunks(chunk).zip(values.chunks(chunk)) {
            let mut bytes = Vec::new();
            gorilla::encode(ts, values, &mut bytes);
            let (min_ts, max_ts) = (ts[0], ts[ts.len() - 1]);
            let count = ts.len() as u32;
            let meta = ChunkMeta { min_ts, max_ts, count, encoding: codec::GORILLA };
            writer.add_chunk(id, &meta, &bytes).unwrap();
        }
    }
    let info = PartInfo { seq_min: sequence, seq_max: sequence, level: 0, partition: None };
    writer.finish(&info).unwrap();
    Arc::new(Part::open(path).unwrap())
}

fn read(part: &Part) -> Samples {
    let mut samples = Samples::new();
    for id in part.series_ids().unwrap() {
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        part.read(id, i64::MIN, i64::MAX, &mut ts, &mut values).unwrap();
        for (t, v) in ts.into_iter().zip(values) {
            assert!(samples.insert((id, t), v.to_bits()).is_none(), "a sample twice");
        }
    }
    samples
}

fn spec(directory: &Directory, best: bool) -> MergeSpec {
    MergeSpec {
        prefix: directory.0.join("m-"),
        level: 1,
        partition_ms: 7_200_000,
        best,
        drop_before_ms: None,
        keep_ids: None,
    }
}

fn samples() -> impl Strategy<Value = Samples> {
    let value = prop_oneof![
        any::<u64>(),
        (0..1000_i32).prop_map(|v| f64::from(v).to_bits()),
        Just(1.5_f64.to_bits())
    ];
    let sparse = prop::collection::btree_map((0..6_u32, -30..30_i64), value, 0..60)
        .prop_map(|m| m.into_iter().map(|((id, t), v)| ((id * 1000, t * 700_000), v)).collect());
    let dense = (0..3_u32, -400..400_i64, 1..900_i64, any::<bool>()).prop_map(|(id, at, n, up)| {
        (0..n)
            .map(|i| ((id, (at + i) * 15_000), (if up { i as f64 } else { 0.5 }).to_bits()))
            .collect()
    });
    prop_oneof![sparse, dense]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_merge_keeps_the_last_of_each_sample(
        inputs in prop::collection::vec((samples(), 1..300_usize), 1..5),
        best: bool,
        drop_before in prop_oneof![Just(None), (-10_000_000..10_000_000_i64).prop_map(Some)],
    ) {
        let directory = Directory::new();
        let mut expected = Samples::new();
        let mut parts = Vec::new();
        for (i, (samples, chunk)) in inputs.iter().enumerate() {
            expected.extend(samples.iter().map(|(k, v)| (*k, *v)));
            parts.push(write(&directory.0.join(i.to_string()), i as u64 + 1, samples, *chunk));
        }
        let spec = MergeSpec { drop_before_ms: drop_before, ..spec(&directory, best) };
        let oldest = drop_before.unwrap_or(i64::MIN);
        let mut merged = Samples::new();
        for (path, stats) in merge(&parts, &spec).unwrap() {
            let part = Part::open(&path).unwrap();
            part.verify().unwrap();
            prop_assert_eq!(part.stats(), stats);
            let partition = stats.info.partition.unwrap();
            prop_assert_eq!(partition.start_ms.rem_euclid(spec.partition_ms), 0);
            prop_assert!(partition.start_ms <= stats.min_ts);
            prop_assert!(stats.max_ts < partition.start_ms + spec.partition_ms);
            prop_assert_eq!((stats.info.seq_min, stats.info.seq_max), (1, inputs.len() as u64));
            let samples = read(&part);
            prop_assert_eq!(samples.len() as u64, stats.samples);
            merged.extend(samples);
        }
        // Copied chunks may keep what is older than the limit.
        merged.retain(|(_, ts), _| *ts >= oldest);
        expected.retain(|(_, ts), _| *ts >= oldest);
        prop_assert_eq!(merged, expected);
    }
}

#[test]
fn small_chunks_become_long_ones() {
    let directory = Directory::new();
    let parts: Vec<Arc<Part>> = (0..48)
        .map(|i| {
            let samples = (0..10).map(|j| ((5, (i * 10 + j) * 15_000), (i as f64).to_bits()));
            write(&directory.0.join(i.to_string()), i as u64, &samples.collect(), 240)
        })
        .collect();
    for (best, chunks) in [(true, 1), (false, 2)] {
        let outputs = merge(&parts, &spec(&directory, best)).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!((outputs[0].1.samples, outputs[0].1.chunks), (480, chunks));
    }
}

#[test]
fn more_partitions_than_may_be_open_take_several_passes() {
    let directory = Directory::new();
    let days = |step: i64, n: i64| {
        (0..n).rev().map(move |i| ((i as u32 % 7, i * step * 7_200_000 - 5), i as u64)).collect()
    };
    let (a, b): (Samples, Samples) = (days(1, 150), days(3, 90));
    let parts =
        [write(&directory.0.join("a"), 1, &a, 10), write(&directory.0.join("b"), 2, &b, 10)];
    let outputs = merge(&parts, &spec(&directory, true)).unwrap();
    let mut expected = a;
    expected.extend(b);
    let mut merged = Samples::new();
    for (path, _) in &outputs {
        merged.extend(read(&Part::open(path).unwrap()));
    }
    assert_eq!(merged, expected);
    assert!(outputs.is_sorted_by_key(|(_, s)| s.min_ts));
    let left: Vec<_> = fs::read_dir(&directory.0).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left.len(), outputs.len() + 2, "{left:?}");
}

#[test]
fn histograms_keep_the_last_and_exemplars_all_that_differ() {
    let directory = Directory::new();
    let blob_part = |name: &str, seq, histogram: &[u8], exemplars: &[&[u8]]| {
        let path = directory.0.join(name);
        let mut writer = PartWriter::create(&path).unwrap();
        let chunks = [(codec::HISTOGRAMS, vec![histogram]), (codec::EXEMPLARS, exemplars.to_vec())];
        for (encoding, blobs) in chunks {
            let blobs: Vec<(i64, &[u8])> = blobs.into_iter().map(|b| (1000, b)).collect();
            let mut bytes = Vec::new();
            codec::encode_blobs(&blobs, &mut bytes).unwrap();
            let count = blobs.len() as u32;
            let meta = ChunkMeta { min_ts: 1000, max_ts: 1000, count, encoding };
            writer.add_chunk(3, &meta, &bytes).unwrap();
        }
        let info = PartInfo { seq_min: seq, seq_max: seq, level: 0, partition: None };
        writer.finish(&info).unwrap();
        Arc::new(Part::open(&path).unwrap())
    };
    let parts =
        [blob_part("a", 1, b"old", &[b"x", b"y"]), blob_part("b", 2, b"new", &[b"y", b"z"])];
    let outputs = merge(&parts, &spec(&directory, false)).unwrap();
    let part = Part::open(&outputs[0].0).unwrap();
    let blobs = |kind| {
        let mut blobs = Vec::new();
        part.read_blobs(3, kind, 0, 2000, &mut |ts, b| blobs.push((ts, b.to_vec()))).unwrap();
        blobs
    };
    assert_eq!(blobs(BlobKind::Histogram), [(1000, b"new".to_vec())]);
    let exemplars = [b"x", b"y", b"z"].map(|b| (1000, b.to_vec()));
    assert_eq!(blobs(BlobKind::Exemplar), exemplars);
    assert!(part.has_samples(3, 0, 2000) && !part.has_samples(3, 1001, 2000));
}
