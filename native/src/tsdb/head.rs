//! The head: each series' newest samples, compressed as they arrive.
//!
//! A series' state is one cache line; its chunk grows in blocks of a slab, so that a million
//! series cost no million allocations. Samples that do not come after the newest one of their
//! series are kept apart, in order of arrival, and win over what they overlap.

use super::fingerprint::prefetch;
use super::gorilla::{self, BitSink, ChunkError, Last};
use super::slab::{Block, Slab};
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// Longer chunks save little, and are decoded whole for any part of them.
const MAX_CHUNK_SAMPLES: u16 = 4096;

/// A sample on its way into the head.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub id: u32,
    pub ts: i64,
    /// Bits of the float.
    pub value: u64,
}

/// What is stored as opaque bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobKind {
    /// A native histogram, in remote write 2.0's protobuf form.
    Histogram,
    /// An exemplar, in remote write 1.0's protobuf form.
    Exemplar,
}

/// Unix milliseconds, and the stored form of what was observed then.
pub type TimedBlob = (i64, Box<[u8]>);

/// A native histogram or an exemplar.
#[derive(Debug, Clone)]
pub struct Blob {
    pub id: u32,
    pub kind: BlobKind,
    pub ts: i64,
    pub bytes: Box<[u8]>,
}

/// A series whose chunk is being built. All zero is a series without samples.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Series {
    last_ts: i64,
    last_delta: i64,
    last_value: u64,
    first_ts: i64,
    first_value: u64,
    /// Bits that do not fill a word yet, from the top.
    acc: u64,
    /// Where full words go; meaningful when `words` > 0.
    block: Block,
    words: u16,
    count: u16,
    acc_bits: u8,
    leading: u8,
    significant: u8,
}

/// Bits into a series' accumulator, and from there by words into the slab.
struct SeriesSink<'a> {
    acc: &'a mut u64,
    acc_bits: &'a mut u8,
    words: &'a mut u16,
    block: &'a mut Block,
    slab: &'a mut Slab,
}

impl BitSink for SeriesSink<'_> {
    #[inline]
    fn put(&mut self, bits: u64, count: u32) {
        let free = 64 - u32::from(*self.acc_bits);
        if count < free {
            *self.acc |= bits << (free - count);
            *self.acc_bits += count as u8;
            return;
        }
        let rest = count - free;
        let word = *self.acc | bits >> rest;
        self.slab.push(self.block, *self.words, word);
        *self.words += 1;
        *self.acc = if rest == 0 { 0 } else { bits << (64 - rest) };
        *self.acc_bits = rest as u8;
    }
}

/// A finished chunk.
pub struct Sealed {
    pub min_ts: i64,
    pub max_ts: i64,
    pub count: u16,
    last_value: u64,
    pub bytes: Box<[u8]>,
}

/// Series states come in pages, so that growth never copies them and untouched ones cost nothing.
const PAGE_SERIES: usize = 4096;

/// What `append` did with samples.
#[derive(Debug, Clone, Copy, Default)]
pub struct Appended {
    pub out_of_order: u64,
    /// The same sample once more: nothing to do.
    pub duplicates: u64,
    /// The same time with another value: the new one wins.
    pub overwrites: u64,
    pub exemplars: u64,
    pub exemplars_out_of_order: u64,
    /// Not kept, since there are too many of them.
    pub exemplars_over_limit: u64,
    pub histograms: u64,
}

/// What a series' first late sample, and its first histogram or exemplar, take in the tables.
const LATE_SERIES_BYTES: usize = 128;
const BLOB_SERIES_BYTES: usize = 192;

/// Exemplars kept between two flushes; more are counted, not kept.
const MAX_EXEMPLARS: usize = 100_000;

pub struct Head {
    pages: Vec<Option<Box<[Series; PAGE_SERIES]>>>,
    slab: Slab,
    sealed: HashMap<u32, Vec<Sealed>>,
    late: HashMap<u32, Vec<(i64, u64)>>,
    blobs: HashMap<(u32, BlobKind), Vec<TimedBlob>>,
    extra_bytes: usize,
    exemplars: usize,
    series: usize,
    histogram_series: usize,
    samples: u64,
    min_ts: i64,
    max_ts: i64,
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

impl Head {
    #[must_use]
    pub fn new() -> Self {
        Self {
            pages: Vec::new(),
            slab: Slab::new(),
            sealed: HashMap::new(),
            late: HashMap::new(),
            blobs: HashMap::new(),
            extra_bytes: 0,
            exemplars: 0,
            series: 0,
            histogram_series: 0,
            samples: 0,
            min_ts: i64::MAX,
            max_ts: i64::MIN,
        }
    }

    /// Series with samples or histograms here; one with both counts twice.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series + self.histogram_series
    }

    /// Samples and histograms here.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples == 0 && self.blobs.is_empty()
    }

    /// The oldest and newest timestamp, unless empty.
    #[must_use]
    pub fn time_range(&self) -> Option<(i64, i64)> {
        (self.min_ts <= self.max_ts).then_some((self.min_ts, self.max_ts))
    }

    /// Memory that grows with what is stored.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        pages * size_of::<[Series; PAGE_SERIES]>() + self.slab.size_bytes() + self.extra_bytes
    }

    /// Adds samples in order of arrival; all their ids are below `id_end`.
    pub fn append(&mut self, samples: &[Sample], id_end: u32) -> Appended {
        let pages = (id_end as usize).div_ceil(PAGE_SERIES);
        if self.pages.len() < pages {
            self.pages.resize_with(pages, || None);
        }
        let mut appended = Appended::default();
        // A series' state is a cache miss: ask for it some samples ahead.
        const AHEAD: usize = 12;
        for (i, sample) in samples.iter().enumerate() {
            if let Some(next) = samples.get(i + AHEAD) {
                let page = &self.pages[next.id as usize / PAGE_SERIES];
                if let Some(page) = page {
                    prefetch(&page[next.id as usize % PAGE_SERIES]);
                }
            }
            self.append_one(sample, &mut appended);
        }
        appended
    }

    #[inline]
    fn append_one(&mut self, sample: &Sample, appended: &mut Appended) {
        let &Sample { id, ts, value } = sample;
        let page = self.pages[id as usize / PAGE_SERIES].get_or_insert_with(new_page);
        let series = &mut page[id as usize % PAGE_SERIES];
        let newest = match series.count {
            0 if self.sealed.is_empty() => None,
            0 => self.sealed.get(&id).and_then(|s| s.last()).map(|s| (s.max_ts, s.last_value)),
            _ => Some((series.last_ts, series.last_value)),
        };
        match newest {
            Some((newest_ts, newest_value)) if ts <= newest_ts => {
                if ts < newest_ts {
                    appended.out_of_order += 1;
                } else if value == newest_value && !self.late.contains_key(&id) {
                    appended.duplicates += 1;
                    return;
                } else {
                    appended.overwrites += 1;
                }
                let late = self.late.entry(id).or_default();
                self.extra_bytes += if late.is_empty() { LATE_SERIES_BYTES } else { 16 };
                late.push((ts, value));
            }
            _ if series.count == 0 => {
                series.first_ts = ts;
                series.first_value = value;
                series.last_ts = ts;
                series.last_value = value;
                series.leading = gorilla::NO_WINDOW;
                series.count = 1;
                self.series += usize::from(newest.is_none());
            }
            _ => {
                if Self::extend(series, &mut self.slab, ts, value) {
                    self.seal(id);
                }
            }
        }
        self.samples += 1;
        self.min_ts = self.min_ts.min(ts);
        self.max_ts = self.max_ts.max(ts);
    }

    /// Encodes one more sample of a series and says whether its chunk is then full.
    #[inline]
    fn extend(series: &mut Series, slab: &mut Slab, ts: i64, value: u64) -> bool {
        let mut last = Last {
            ts: series.last_ts,
            delta: series.last_delta,
            value: series.last_value,
            leading: series.leading,
            significant: series.significant,
        };
        let mut sink = SeriesSink {
            acc: &mut series.acc,
            acc_bits: &mut series.acc_bits,
            words: &mut series.words,
            block: &mut series.block,
            slab,
        };
        gorilla::append(&mut last, ts, value, &mut sink);
        series.last_ts = last.ts;
        series.last_delta = last.delta;
        series.last_value = last.value;
        series.leading = last.leading;
        series.significant = last.significant;
        series.count += 1;
        // A sample takes at most three words: room for it is kept.
        series.count == MAX_CHUNK_SAMPLES || series.words >= Slab::MAX_WORDS - 3
    }

    /// Ends a series' chunk; its next sample begins a new one.
    fn seal(&mut self, id: u32) {
        let Some(bytes) = self.chunk_bytes(id) else { return };
        let Some(page) = &mut self.pages[id as usize / PAGE_SERIES] else { return };
        let series = &mut page[id as usize % PAGE_SERIES];
        self.slab.free(series.block, series.words);
        self.extra_bytes += bytes.len() + size_of::<Sealed>();
        self.sealed.entry(id).or_default().push(Sealed {
            min_ts: series.first_ts,
            max_ts: series.last_ts,
            count: series.count,
            last_value: series.last_value,
            bytes: bytes.into(),
        });
        *series = EMPTY;
    }

    fn get(&self, id: u32) -> Option<&Series> {
        let page = self.pages.get(id as usize / PAGE_SERIES)?.as_ref()?;
        let series = &page[id as usize % PAGE_SERIES];
        (series.count > 0).then_some(series)
    }

    fn chunk_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_chunk(self.get(id)?, &mut bytes);
        Some(bytes)
    }

    fn write_chunk(&self, series: &Series, out: &mut Vec<u8>) {
        out.extend_from_slice(&series.first_ts.to_be_bytes());
        out.extend_from_slice(&series.first_value.to_be_bytes());
        for word in self.slab.words(series.block, series.words) {
            out.extend_from_slice(&word.to_be_bytes());
        }
        let tail = usize::from(series.acc_bits).div_ceil(8);
        out.extend_from_slice(&series.acc.to_be_bytes()[..tail]);
    }

    /// Adds histograms and exemplars.
    pub fn append_blobs(&mut self, blobs: Vec<Blob>) -> Appended {
        let mut appended = Appended::default();
        for blob in blobs {
            let stored = self.blobs.entry((blob.id, blob.kind)).or_default();
            if stored.is_empty() {
                self.extra_bytes += BLOB_SERIES_BYTES;
                self.histogram_series += usize::from(blob.kind == BlobKind::Histogram);
            }
            if blob.kind == BlobKind::Exemplar {
                match stored.last() {
                    Some((ts, bytes)) if *ts == blob.ts && *bytes == blob.bytes => {
                        appended.exemplars += 1;
                        continue;
                    }
                    Some((ts, _)) if *ts > blob.ts => {
                        appended.exemplars_out_of_order += 1;
                        continue;
                    }
                    _ if self.exemplars >= MAX_EXEMPLARS => {
                        appended.exemplars_over_limit += 1;
                        continue;
                    }
                    _ => appended.exemplars += 1,
                }
                self.exemplars += 1;
            } else {
                appended.histograms += 1;
                self.samples += 1;
            }
            self.min_ts = self.min_ts.min(blob.ts);
            self.max_ts = self.max_ts.max(blob.ts);
            self.extra_bytes += blob.bytes.len() + 24;
            stored.push((blob.ts, blob.bytes));
        }
        appended
    }

    /// Appends a series' samples from `start` to `end`, both included, to the buffers, and says
    /// whether late ones follow those in order: the buffers are then not sorted.
    ///
    /// # Errors
    /// A chunk does not decode, which no input can bring about.
    pub fn read(
        &self,
        id: u32,
        start: i64,
        end: i64,
        ts: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<bool, ChunkError> {
        if self.time_range().is_none_or(|(min, max)| max < start || end < min) {
            return Ok(false);
        }
        for sealed in self.sealed.get(&id).into_iter().flatten() {
            if sealed.max_ts >= start && sealed.min_ts <= end {
                gorilla::decode(&sealed.bytes, usize::from(sealed.count), ts, values)?;
            }
        }
        if let Some(series) = self.get(id)
            && series.last_ts >= start
            && series.first_ts <= end
        {
            let mut bytes = Vec::with_capacity(usize::from(series.words) * 8 + 24);
            self.write_chunk(series, &mut bytes);
            gorilla::decode(&bytes, usize::from(series.count), ts, values)?;
        }
        let Some(late) = self.late.get(&id) else {
            return Ok(false);
        };
        for &(t, value) in late {
            ts.push(t);
            values.push(f64::from_bits(value));
        }
        Ok(true)
    }

    /// Whether the series has a sample or histogram from `start` to `end`, both included. Chunks
    /// count whole: it may say yes for a gap inside one.
    #[must_use]
    pub fn has_samples(&self, id: u32, start: i64, end: i64) -> bool {
        self.get(id).is_some_and(|s| s.last_ts >= start && s.first_ts <= end)
            || self
                .sealed
                .get(&id)
                .is_some_and(|chunks| chunks.iter().any(|c| c.max_ts >= start && c.min_ts <= end))
            || self
                .late
                .get(&id)
                .is_some_and(|late| late.iter().any(|(ts, _)| (start..=end).contains(ts)))
            || self
                .blobs
                .get(&(id, BlobKind::Histogram))
                .is_some_and(|blobs| blobs.iter().any(|(ts, _)| (start..=end).contains(ts)))
    }

    /// A series' histograms or exemplars, in order of arrival.
    #[must_use]
    pub fn blobs(&self, id: u32, kind: BlobKind) -> &[TimedBlob] {
        self.blobs.get(&(id, kind)).map_or(&[], Vec::as_slice)
    }

    /// Ids with anything stored, ascending.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        let mut extra: BTreeSet<u32> = self.sealed.keys().copied().collect();
        extra.extend(self.blobs.keys().map(|(id, _)| *id));
        let mut ids = Vec::with_capacity(self.series + extra.len());
        for (p, page) in self.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            for (i, series) in page.iter().enumerate() {
                let id = (p * PAGE_SERIES + i) as u32;
                if series.count > 0 {
                    extra.remove(&id);
                    ids.push(id);
                }
            }
        }
        if !extra.is_empty() {
            ids.extend(extra);
            ids.sort_unstable();
        }
        ids
    }

    /// The chunks of a series that has no late samples: (min, max, count, bytes) in time order.
    /// `None` where late samples make its chunks overlap.
    pub fn ordered_chunks(
        &self,
        id: u32,
        buffer: &mut Vec<u8>,
        mut emit: impl FnMut(i64, i64, usize, &[u8]) -> std::io::Result<()>,
    ) -> Option<std::io::Result<()>> {
        if self.late.contains_key(&id) {
            return None;
        }
        for s in self.sealed.get(&id).into_iter().flatten() {
            if let Err(error) = emit(s.min_ts, s.max_ts, usize::from(s.count), &s.bytes) {
                return Some(Err(error));
            }
        }
        if let Some(series) = self.get(id) {
            buffer.clear();
            self.write_chunk(series, buffer);
            let (min, max) = (series.first_ts, series.last_ts);
            return Some(emit(min, max, usize::from(series.count), buffer));
        }
        Some(Ok(()))
    }
}

const EMPTY: Series = Series {
    last_ts: 0,
    last_delta: 0,
    last_value: 0,
    first_ts: 0,
    first_value: 0,
    acc: 0,
    block: Block::NONE,
    words: 0,
    count: 0,
    acc_bits: 0,
    leading: 0,
    significant: 0,
};

fn new_page() -> Box<[Series; PAGE_SERIES]> {
    let page = vec![EMPTY; PAGE_SERIES].into_boxed_slice();
    match page.try_into() {
        Ok(page) => page,
        Err(_) => unreachable!("the slice has the array's length"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::series_source::{SeriesReader, SeriesSource};
    use super::*;
    use parking_lot::RwLock;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn sample() -> impl Strategy<Value = Sample> {
        let ts = prop_oneof![0..40_i64, 0..100_000_i64];
        let value = prop_oneof![any::<u64>(), (0..3_u64).prop_map(|n| (n as f64).to_bits())];
        (prop_oneof![0..3_u32, Just(5000)], ts, value).prop_map(|(id, ts, value)| Sample {
            id,
            ts,
            value,
        })
    }

    fn read(head: Head, id: u32, start: i64, end: i64) -> Vec<(i64, u64)> {
        let sources: [Arc<dyn SeriesSource>; 1] = [Arc::new(RwLock::new(head))];
        let mut reader = SeriesReader::default();
        reader.read(&sources, id, start, end).unwrap();
        reader.ts.iter().copied().zip(reader.values.iter().map(|v| v.to_bits())).collect()
    }

    proptest! {
        #[test]
        fn the_last_write_of_a_time_wins(
            batches in prop::collection::vec(prop::collection::vec(sample(), 0..200), 1..5),
            id in prop_oneof![0..3_u32, Just(5000)],
            start in 0..50_i64,
            length in 0..100_000_i64,
        ) {
            let mut head = Head::new();
            let mut model: BTreeMap<i64, u64> = BTreeMap::new();
            for samples in &batches {
                head.append(samples, 5001);
                model.extend(samples.iter().filter(|s| s.id == id).map(|s| (s.ts, s.value)));
            }
            let expected: Vec<_> =
                model.range(start..=start + length).map(|(t, v)| (*t, *v)).collect();
            prop_assert_eq!(head.has_samples(id, 0, 100_000), !model.is_empty());
            prop_assert_eq!(read(head, id, start, start + length), expected);
        }
    }

    #[test]
    fn long_series_are_cut_into_chunks_and_keep_their_order() {
        let mut head = Head::new();
        let samples: Vec<Sample> = (0..10_000_u64)
            .map(|i| Sample { id: 7, ts: i as i64 * 15_000, value: i.wrapping_mul(0x9e37_79b9) })
            .collect();
        for batch in samples.chunks(700) {
            head.append(batch, 8);
        }
        assert_eq!((head.series(), head.samples(), head.ids()), (1, 10_000, vec![7]));
        // Older than the newest chunk, though no chunk is being built for it alone.
        let late = Sample { id: 7, ts: 15_000 * 4096 - 1, value: 1 };
        assert_eq!(head.append(&[late], 8).out_of_order, 1);
        assert_eq!(head.append(&[samples[9999]], 8).duplicates, 0);
        let found = read(head, 7, 0, i64::MAX);
        assert_eq!(found.len(), 10_001);
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn exemplars_keep_their_order_and_their_limit() {
        let mut head = Head::new();
        let exemplar =
            |ts: i64, text: &[u8]| Blob { id: 1, kind: BlobKind::Exemplar, ts, bytes: text.into() };
        let added = head.append_blobs(vec![
            exemplar(10, b"a"),
            exemplar(10, b"a"),
            exemplar(10, b"b"),
            exemplar(9, b"late"),
        ]);
        assert_eq!((added.exemplars, added.exemplars_out_of_order), (3, 1));
        assert_eq!(head.blobs(1, BlobKind::Exemplar).len(), 2);
    }
}
