use super::*;
use crate::tsdb::merge::tests::Directory;
use std::fs;

fn chunk(min_ts: i64, count: i64, out: &mut Vec<u8>) -> ChunkMeta {
    let ts: Vec<i64> = (0..count).map(|i| min_ts + i * 1000).collect();
    let values: Vec<f64> = ts.iter().map(|t| (*t as f64).sqrt()).collect();
    out.clear();
    crate::tsdb::gorilla::encode(&ts, &values, out);
    let max_ts = ts[ts.len() - 1];
    ChunkMeta { min_ts, max_ts, count: count as u32, encoding: codec::GORILLA }
}

fn info() -> PartInfo {
    PartInfo { seq_min: 3, seq_max: 9, level: 0, partition: None }
}

/// 300 series with gaps between their ids, two chunks each.
fn write(path: &Path, series: u32) -> PartStats {
    let mut writer = PartWriter::create(path).unwrap();
    let mut bytes = Vec::new();
    for id in 0..series {
        for start in [0, 1_000_000] {
            let meta = chunk(start + i64::from(id), 100, &mut bytes);
            writer.add_chunk(id * 3, &meta, &bytes).unwrap();
        }
    }
    writer.finish(&info()).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let directory = Directory::new();
    let path = directory.0.join("p");
    let written = write(&path, 300);
    let part = Part::open(&path).unwrap();
    assert_eq!(part.stats(), written);
    assert_eq!(written.size_bytes, fs::metadata(&path).unwrap().len());
    assert_eq!((written.samples, written.chunks, written.series), (60_000, 600, 300));
    assert_eq!((written.min_ts, written.max_ts), (0, 1_000_000 + 299 + 99_000));
    assert_eq!(part.series_ids().unwrap(), (0..300).map(|i| i * 3).collect::<Vec<_>>());
    for id in 0..900 {
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        assert!(!part.read(id, 1_000_000, 2_000_000, &mut ts, &mut values).unwrap());
        if id % 3 == 0 {
            let first = 1_000_000 + i64::from(id / 3);
            assert_eq!(ts, (0..100).map(|i| first + i * 1000).collect::<Vec<_>>());
            assert!(ts.iter().zip(&values).all(|(t, v)| (*t as f64).sqrt() == *v));
        } else {
            assert!(ts.is_empty());
        }
        assert_eq!(part.has_samples(id, 200_000, 2_000_000), id % 3 == 0);
        assert!(!part.has_samples(id, 200_000, 900_000));
    }
    assert!(!part.has_samples(100_000, 0, 2_000_000));
}

#[test]
fn a_part_without_series_is_empty() {
    let directory = Directory::new();
    let path = directory.0.join("p");
    PartWriter::create(&path).unwrap().finish(&info()).unwrap();
    let part = Part::open(&path).unwrap();
    part.verify().unwrap();
    assert!(part.series_ids().unwrap().is_empty());
    assert!(!part.has_samples(0, i64::MIN, i64::MAX));
}

#[test]
fn any_flipped_byte_is_found() {
    let directory = Directory::new();
    let path = directory.0.join("p");
    write(&path, 3);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        let found = Part::open(&path).and_then(|part| part.verify());
        assert!(matches!(found, Err(PartError::Corrupt { .. })), "byte {at}");
    }
}

#[test]
fn a_cut_file_does_not_open() {
    let directory = Directory::new();
    let path = directory.0.join("p");
    write(&path, 1);
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(Part::open(&path).is_err(), "{length} bytes");
    }
}

#[test]
fn damaged_data_is_an_error_only_where_it_is_read() {
    let directory = Directory::new();
    let path = directory.0.join("p");
    write(&path, 300);
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER_BYTES + 10] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let part = Part::open(&path).unwrap();
    let read = |id| part.read(id, 0, i64::MAX, &mut Vec::new(), &mut Vec::new());
    assert!(matches!(read(0), Err(ReadError::Corrupt(..))));
    assert!(read(299 * 3).is_ok());
}

#[test]
fn an_abandoned_writer_leaves_nothing() {
    let directory = Directory::new();
    let mut writer = PartWriter::create(&directory.0.join("p")).unwrap();
    let mut bytes = Vec::new();
    let meta = chunk(0, 10, &mut bytes);
    writer.add_chunk(7, &meta, &bytes).unwrap();
    for (id, meta) in [(6, meta), (7, meta), (8, ChunkMeta { count: 0, ..meta })] {
        let refused = writer.add_chunk(id, &meta, &bytes).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
    drop(writer);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
}
