//! What samples are read from, and one series read across several of them.

use super::gorilla::ChunkError;
use super::head::{BlobKind, Head, TimedBlob};
use parking_lot::RwLock;
use std::sync::Arc;

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The file's path and what is wrong with it.
    #[error("{0}: {1}")]
    Corrupt(String, String),
}

/// A head or a part. Sources are listed oldest first: for one series and timestamp, the sample
/// of the last source wins, and within a source the last one read.
pub trait SeriesSource: Send + Sync {
    /// Appends samples of the series that cover `start` to `end`, and says whether they may not
    /// be in order. Samples outside of the range may come along.
    ///
    /// # Errors
    /// The source is damaged.
    fn read(
        &self,
        id: u32,
        start: i64,
        end: i64,
        ts: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<bool, ReadError>;

    /// Calls `each` with the series' histograms or exemplars that cover `start` to `end`.
    ///
    /// # Errors
    /// The source is damaged.
    fn read_blobs(
        &self,
        id: u32,
        kind: BlobKind,
        start: i64,
        end: i64,
        each: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<(), ReadError>;

    /// Whether the series may have a sample or histogram from `start` to `end`.
    fn has_samples(&self, id: u32, start: i64, end: i64) -> bool;
}

impl SeriesSource for RwLock<Head> {
    fn read(
        &self,
        id: u32,
        start: i64,
        end: i64,
        ts: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<bool, ReadError> {
        Ok(RwLock::read(self).read(id, start, end, ts, values)?)
    }

    fn read_blobs(
        &self,
        id: u32,
        kind: BlobKind,
        _start: i64,
        _end: i64,
        each: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<(), ReadError> {
        for (ts, bytes) in RwLock::read(self).blobs(id, kind) {
            each(*ts, bytes);
        }
        Ok(())
    }

    fn has_samples(&self, id: u32, start: i64, end: i64) -> bool {
        RwLock::read(self).has_samples(id, start, end)
    }
}

/// Sources of one query.
pub type Sources = [Arc<dyn SeriesSource>];

/// Reads series, one after the other, into buffers that are used again.
#[derive(Default)]
pub struct SeriesReader {
    pub ts: Vec<i64>,
    pub values: Vec<f64>,
    order: Vec<(i64, u32)>,
}

impl SeriesReader {
    /// Fills `ts` and `values` with the samples from `start` to `end`, both included, strictly
    /// ascending.
    ///
    /// # Errors
    /// A source is damaged.
    pub fn read(
        &mut self,
        sources: &Sources,
        id: u32,
        start: i64,
        end: i64,
    ) -> Result<(), ReadError> {
        self.ts.clear();
        self.values.clear();
        let mut ordered = true;
        for source in sources {
            let first = self.ts.len();
            let late = source.read(id, start, end, &mut self.ts, &mut self.values)?;
            let overlaps =
                first > 0 && self.ts.len() > first && self.ts[first] <= self.ts[first - 1];
            ordered &= !late && !overlaps;
        }
        if !ordered {
            self.sort();
        }
        self.trim(start, end);
        Ok(())
    }

    /// Sorts by time; of equal times the sample that was read last stays.
    fn sort(&mut self) {
        self.order.clear();
        self.order.extend(self.ts.iter().enumerate().map(|(i, t)| (*t, i as u32)));
        self.order.sort_unstable();
        let unsorted = std::mem::take(&mut self.values);
        self.ts.clear();
        self.values.reserve(unsorted.len());
        for (i, &(ts, at)) in self.order.iter().enumerate() {
            let last_of_its_time = self.order.get(i + 1).is_none_or(|next| next.0 != ts);
            if last_of_its_time {
                self.ts.push(ts);
                self.values.push(unsorted[at as usize]);
            }
        }
    }

    fn trim(&mut self, start: i64, end: i64) {
        let to = self.ts.partition_point(|t| *t <= end);
        let from = self.ts[..to].partition_point(|t| *t < start);
        self.ts.truncate(to);
        self.values.truncate(to);
        self.ts.drain(..from);
        self.values.drain(..from);
    }
}

/// A series' histograms or exemplars from `start` to `end`, both included, by time. Of histograms
/// with one timestamp the last read stays; of exemplars, those that differ.
///
/// # Errors
/// A source is damaged.
pub fn read_blobs(
    sources: &Sources,
    id: u32,
    kind: BlobKind,
    start: i64,
    end: i64,
) -> Result<Vec<TimedBlob>, ReadError> {
    let mut blobs: Vec<TimedBlob> = Vec::new();
    for source in sources {
        source.read_blobs(id, kind, start, end, &mut |ts, bytes| {
            if (start..=end).contains(&ts) {
                blobs.push((ts, bytes.into()));
            }
        })?;
    }
    order_blobs(kind, &mut blobs);
    Ok(blobs)
}

/// Sorts by time what was read in order of priority. Of histograms with one timestamp the last
/// stays; of exemplars, those that differ.
pub fn order_blobs(kind: BlobKind, blobs: &mut Vec<TimedBlob>) {
    blobs.sort_by_key(|(ts, _)| *ts);
    // dedup_by removes the first argument, the later one: swapped, the later one stays.
    blobs.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0 && (kind == BlobKind::Histogram || later.1 == earlier.1);
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
}
