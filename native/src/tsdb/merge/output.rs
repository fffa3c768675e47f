//! The parts that a merge writes, one a partition.

use super::super::part::format::PartInfo;
use super::super::part::{ChunkMeta, PartError, PartStats, PartWriter};
use super::MergeSpec;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Parts under construction at once: each takes a file and a buffer. Samples of more partitions
/// than this, a backfill of a year say, take another pass.
const MAX_OPEN: usize = 64;

/// The earliest partitions from some time on; later ones are left to the next pass.
pub struct Outputs<'a> {
    spec: &'a MergeSpec,
    from: i64,
    next_from: Option<i64>,
    writers: BTreeMap<i64, PartWriter>,
}

impl<'a> Outputs<'a> {
    #[must_use]
    pub fn new(spec: &'a MergeSpec, from: i64) -> Self {
        Self { spec, from, next_from: None, writers: BTreeMap::new() }
    }

    /// Where the next pass begins, if one is needed.
    #[must_use]
    pub fn next_from(&self) -> Option<i64> {
        self.next_from
    }

    /// Whether samples of this partition belong into this pass.
    #[must_use]
    pub fn wants(&self, start: i64) -> bool {
        start >= self.from && self.next_from.is_none_or(|next| start < next)
    }

    fn path(&self, start: i64) -> PathBuf {
        let mut path = self.spec.prefix.as_os_str().to_owned();
        path.push(format!("{start}.part"));
        PathBuf::from(path)
    }

    /// Adds a chunk to the partition's part, unless that is for another pass.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add_chunk(
        &mut self,
        start: i64,
        id: u32,
        meta: &ChunkMeta,
        bytes: &[u8],
    ) -> Result<(), PartError> {
        if !self.wants(start) {
            return Ok(());
        }
        let path = self.path(start);
        let failed = |source| PartError::Io { path: path.clone(), source };
        if !self.writers.contains_key(&start) {
            if self.writers.len() == MAX_OPEN && !self.make_room(start) {
                return Ok(());
            }
            self.writers.insert(start, PartWriter::create(&path).map_err(failed)?);
        }
        match self.writers.get_mut(&start) {
            Some(writer) => writer.add_chunk(id, meta, bytes).map_err(failed),
            None => Ok(()),
        }
    }

    /// Gives up the latest partition; false when that is the one to be added.
    fn make_room(&mut self, start: i64) -> bool {
        let last = self.writers.last_key_value().map_or(i64::MIN, |(last, _)| *last);
        self.next_from = Some(last.max(start));
        if last < start {
            return false;
        }
        self.writers.pop_last();
        true
    }

    /// Completes the parts and appends them to `finished`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn finish(
        self,
        info: impl Fn(i64) -> PartInfo,
        finished: &mut Vec<(PathBuf, PartStats)>,
    ) -> Result<(), PartError> {
        let paths: Vec<PathBuf> = self.writers.keys().map(|start| self.path(*start)).collect();
        for ((start, writer), path) in self.writers.into_iter().zip(paths) {
            match writer.finish(&info(start)) {
                Ok(stats) => finished.push((path, stats)),
                Err(source) => return Err(PartError::Io { path, source }),
            }
        }
        Ok(())
    }
}

/// Removes parts that no manifest knows yet.
pub fn remove(finished: &[(PathBuf, PartStats)]) {
    for (path, _) in finished {
        // What cannot be removed is removed at the next start.
        let _ = fs::remove_file(path);
    }
}
