//! One series' chunks from several parts, made into the chunks of the merged parts.

use super::super::codec;
use super::super::gorilla;
use super::super::part::{ChunkMeta, Kind, Part, PartError};
use super::{MergeSpec, Outputs};
use std::ops::Range;

/// Chunks below are joined with their neighbours: an index entry and a first sample weigh on them.
const MIN_SAMPLES: usize = 120;
/// Where a hot merge ends a chunk.
const FAST_SAMPLES: usize = 256;
/// Longer chunks compress hardly better, and make a short query decode more.
const MAX_SAMPLES: usize = 4096;
/// Merged chunks of this many samples are left as they are.
const GOOD_SAMPLES: usize = 1024;
const MAX_BLOBS: usize = 1024;
const MAX_BLOB_BYTES: usize = 1 << 20;

/// A chunk of a part.
pub struct Input<'a> {
    pub part: &'a Part,
    pub meta: ChunkMeta,
    pub range: Range<u64>,
    /// Of the chunk's part among the inputs: later ones win.
    pub order: usize,
}

impl Input<'_> {
    fn bytes(&self) -> Result<&[u8], PartError> {
        self.part.data(self.range.clone())
    }

    fn corrupt(&self, detail: impl ToString) -> PartError {
        PartError::Corrupt { path: self.part.path().to_owned(), detail: detail.to_string() }
    }

    /// Appends the samples; they are as the index entry says.
    fn decode(&self, ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), PartError> {
        let meta = &self.meta;
        let start = ts.len();
        codec::decode(meta.encoding, self.bytes()?, meta.count as usize, ts, values)
            .map_err(|e| self.corrupt(e))?;
        if ts.get(start) != Some(&meta.min_ts) || ts.last() != Some(&meta.max_ts) {
            return Err(self.corrupt("a chunk's times are not its index entry's"));
        }
        Ok(())
    }
}

/// Buffers for one series after the other.
pub struct SeriesMerge<'a> {
    spec: &'a MergeSpec,
    inputs: [Vec<Input<'a>>; 3],
    /// Samples that wait to fill a chunk, all of one partition.
    ts: Vec<i64>,
    values: Vec<f64>,
    partition: i64,
    /// Samples just decoded.
    new_ts: Vec<i64>,
    new_values: Vec<f64>,
    order: Vec<(i64, u32)>,
    bytes: Vec<u8>,
}

impl<'a> SeriesMerge<'a> {
    #[must_use]
    pub fn new(spec: &'a MergeSpec) -> Self {
        Self {
            spec,
            inputs: Default::default(),
            ts: Vec::new(),
            values: Vec::new(),
            partition: 0,
            new_ts: Vec::new(),
            new_values: Vec::new(),
            order: Vec::new(),
            bytes: Vec::new(),
        }
    }

    pub fn clear(&mut self) {
        self.inputs.iter_mut().for_each(Vec::clear);
    }

    /// Adds a chunk; those of later parts come later.
    pub fn add(&mut self, kind: Kind, input: Input<'a>) {
        self.inputs[kind as usize].push(input);
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// A chunk is damaged, or the disk refuses.
    pub fn write(&mut self, id: u32, outputs: &mut Outputs<'_>) -> Result<(), PartError> {
        let inputs = std::mem::take(&mut self.inputs);
        let [samples, histograms, exemplars] = &inputs;
        self.write_samples(id, samples, outputs)?;
        self.write_blobs(id, codec::HISTOGRAMS, histograms, outputs)?;
        self.write_blobs(id, codec::EXEMPLARS, exemplars, outputs)?;
        self.inputs = inputs;
        Ok(())
    }

    fn write_samples(
        &mut self,
        id: u32,
        inputs: &[Input<'a>],
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PartError> {
        let mut by_time: Vec<&Input<'a>> = inputs.iter().collect();
        // Stable: of two that begin together, the later part's stays behind.
        by_time.sort_by_key(|i| i.meta.min_ts);
        let mut rest = by_time.as_mut_slice();
        while let Some(first) = rest.first() {
            let mut end = first.meta.max_ts;
            let mut together = 1;
            while let Some(next) = rest.get(together).filter(|n| n.meta.min_ts <= end) {
                end = end.max(next.meta.max_ts);
                together += 1;
            }
            let (group, later) = rest.split_at_mut(together);
            match group {
                [one] => self.take_chunk(id, one, outputs)?,
                many => self.take_overlapping(id, many, outputs)?,
            }
            rest = later;
        }
        self.flush(id, true, outputs)
    }

    /// A chunk that overlaps no other: copied, or decoded to fill a longer one.
    fn take_chunk(
        &mut self,
        id: u32,
        input: &Input<'a>,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PartError> {
        let meta = &input.meta;
        let partition = self.spec.partition_start(meta.min_ts);
        let good = if self.spec.best {
            meta.encoding != codec::GORILLA && meta.count as usize >= GOOD_SAMPLES
        } else {
            meta.count as usize >= MIN_SAMPLES
        };
        let fits = partition == self.spec.partition_start(meta.max_ts);
        let joins =
            !self.ts.is_empty() && self.ts.len() < MIN_SAMPLES && self.partition == partition;
        if good && fits && !joins {
            self.flush(id, true, outputs)?;
            return outputs.add_chunk(partition, id, meta, input.bytes()?);
        }
        self.new_ts.clear();
        self.new_values.clear();
        input.decode(&mut self.new_ts, &mut self.new_values)?;
        self.push_new(id, outputs)
    }

    /// Chunks that overlap: of equal timestamps the last input's sample stays.
    fn take_overlapping(
        &mut self,
        id: u32,
        group: &mut [&Input<'a>],
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PartError> {
        group.sort_by_key(|i| i.order);
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        for input in group.iter() {
            input.decode(&mut ts, &mut values)?;
        }
        self.order.clear();
        self.order.extend(ts.iter().enumerate().map(|(i, t)| (*t, i as u32)));
        self.order.sort_unstable();
        self.new_ts.clear();
        self.new_values.clear();
        for (i, &(time, at)) in self.order.iter().enumerate() {
            if self.order.get(i + 1).is_none_or(|next| next.0 != time) {
                self.new_ts.push(time);
                self.new_values.push(values[at as usize]);
            }
        }
        self.push_new(id, outputs)
    }

    /// Moves the samples just decoded to those that wait, partition by partition.
    fn push_new(&mut self, id: u32, outputs: &mut Outputs<'_>) -> Result<(), PartError> {
        let new_ts = std::mem::take(&mut self.new_ts);
        let drop_before = self.spec.drop_before_ms.unwrap_or(i64::MIN);
        let mut at = new_ts.partition_point(|t| *t < drop_before);
        while let Some(&first) = new_ts.get(at) {
            let partition = self.spec.partition_start(first);
            let next = partition.saturating_add(self.spec.partition_ms);
            let end = if next == i64::MAX {
                new_ts.len()
            } else {
                at + new_ts[at..].partition_point(|t| *t < next)
            };
            if partition != self.partition {
                self.flush(id, true, outputs)?;
                self.partition = partition;
            }
            self.ts.extend_from_slice(&new_ts[at..end]);
            self.values.extend_from_slice(&self.new_values[at..end]);
            at = end;
        }
        self.new_ts = new_ts;
        self.flush(id, false, outputs)
    }

    /// Writes waiting samples as chunks of equal length: all of them, or while there are plenty.
    fn flush(&mut self, id: u32, all: bool, outputs: &mut Outputs<'_>) -> Result<(), PartError> {
        let count = self.ts.len();
        let plenty = if self.spec.best { 2 * MAX_SAMPLES } else { FAST_SAMPLES };
        if count == 0 || !all && count < plenty {
            return Ok(());
        }
        let pieces = count.div_ceil(if self.spec.best { MAX_SAMPLES } else { 2 * FAST_SAMPLES });
        // The last piece stays, so that what comes next is not left alone with few samples.
        let written = if all || !self.spec.best { count } else { count / pieces * (pieces - 1) };
        let mut from = 0;
        for piece in 1..=pieces {
            let to = count * piece / pieces;
            if to <= written {
                self.write_chunk(id, from..to, outputs)?;
                from = to;
            }
        }
        self.ts.drain(..from);
        self.values.drain(..from);
        Ok(())
    }

    fn write_chunk(
        &mut self,
        id: u32,
        range: Range<usize>,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PartError> {
        let (ts, values) = (&self.ts[range.clone()], &self.values[range]);
        let (Some(&min_ts), Some(&max_ts)) = (ts.first(), ts.last()) else {
            return Ok(());
        };
        if !outputs.wants(self.partition) {
            return Ok(());
        }
        self.bytes.clear();
        let encoding = if self.spec.best {
            codec::encode_best(ts, values, &mut self.bytes)
        } else {
            gorilla::encode(ts, values, &mut self.bytes);
            codec::GORILLA
        };
        let meta = ChunkMeta { min_ts, max_ts, count: ts.len() as u32, encoding };
        outputs.add_chunk(self.partition, id, &meta, &self.bytes)
    }

    fn write_blobs(
        &mut self,
        id: u32,
        encoding: u8,
        inputs: &[Input<'a>],
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PartError> {
        let mut blobs: Vec<(i64, Vec<u8>)> = Vec::new();
        for input in inputs {
            let each = |ts, bytes: &[u8]| blobs.push((ts, bytes.to_vec()));
            codec::decode_blobs(input.bytes()?, input.meta.count as usize, each)
                .map_err(|e| input.corrupt(e))?;
        }
        let drop_before = self.spec.drop_before_ms.unwrap_or(i64::MIN);
        blobs.retain(|(ts, _)| *ts >= drop_before);
        if encoding == codec::EXEMPLARS {
            blobs.sort_unstable();
            blobs.dedup();
        } else {
            blobs.sort_by_key(|(ts, _)| *ts);
            blobs.reverse();
            blobs.dedup_by_key(|(ts, _)| *ts);
            blobs.reverse();
        }
        let mut rest = blobs.as_slice();
        while let Some((first, _)) = rest.first() {
            let partition = self.spec.partition_start(*first);
            let mut size = 0;
            let fits = |(ts, bytes): &&(i64, Vec<u8>)| {
                size += bytes.len();
                size <= MAX_BLOB_BYTES && self.spec.partition_start(*ts) == partition
            };
            let count = rest.iter().take(MAX_BLOBS).take_while(fits).count().max(1);
            let (chunk, later) = rest.split_at(count);
            self.write_blob_chunk(id, encoding, partition, chunk, outputs)?;
            rest = later;
        }
        Ok(())
    }

    fn write_blob_chunk(
        &mut self,
        id: u32,
        encoding: u8,
        partition: i64,
        blobs: &[(i64, Vec<u8>)],
        outputs: &mut Outputs<'_>,
    ) -> Result<(), PartError> {
        let (Some((min_ts, _)), Some((max_ts, _))) = (blobs.first(), blobs.last()) else {
            return Ok(());
        };
        let borrowed: Vec<(i64, &[u8])> = blobs.iter().map(|(t, b)| (*t, b.as_slice())).collect();
        self.bytes.clear();
        codec::encode_blobs(&borrowed, &mut self.bytes)
            .map_err(|source| PartError::Io { path: self.spec.prefix.clone(), source })?;
        let (min_ts, max_ts) = (*min_ts, *max_ts);
        let meta = ChunkMeta { min_ts, max_ts, count: blobs.len() as u32, encoding };
        outputs.add_chunk(partition, id, &meta, &self.bytes)
    }
}
