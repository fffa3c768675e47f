//! The state on disk: docs/format/span-metrics.md.

use super::graph::{Connection, Edge, Key as EdgeKey};
use super::histogram::Histogram;
use super::limit::{Life, Written};
use super::operations::{Key, Operation};
use super::pending::Half;
use super::state::{State, Totals};
use crate::wire::varint::{Reader, Truncated, put_uvarint, unzigzag, zigzag};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"OBSDSPMT";
const VERSION: u64 = 1;
const LEVEL: i32 = 1;

/// What a file may become when it is decompressed.
const MAX_BYTES: usize = 1 << 30;

/// Why a file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("it is torn or damaged")]
    Damaged,
    #[error("it is of another version")]
    Version,
}

impl From<Truncated> for CheckpointError {
    fn from(_: Truncated) -> Self {
        Self::Damaged
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

fn put_life(out: &mut Vec<u8>, life: &Life) {
    put_i64(out, life.zero_ms);
    put_i64(out, life.used_ms);
    out.push(u8::from(life.written == Written::Stored));
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    histogram.counts.iter().for_each(|count| put_uvarint(out, *count));
    out.extend_from_slice(&histogram.sum_nanos.to_le_bytes());
}

fn put_operation(out: &mut Vec<u8>, set: &Operation) {
    out.push(u8::from(set.key.is_some()));
    if let Some(key) = &set.key {
        put_text(out, &key.service);
        put_text(out, &key.name);
        out.extend_from_slice(&[key.kind, key.status]);
        key.dimensions.iter().for_each(|value| put_text(out, value));
        out.push(u8::from(key.target.is_some()));
        if let Some(target) = &key.target {
            put_text(out, &target.0);
            put_text(out, &target.1);
        }
    }
    put_uvarint(out, set.calls);
    put_uvarint(out, set.size_bytes);
    put_histogram(out, &set.latency);
    put_life(out, &set.life);
}

fn put_edge(out: &mut Vec<u8>, edge: &Edge) {
    out.push(u8::from(edge.key.is_some()));
    if let Some(key) = &edge.key {
        put_text(out, &key.client);
        put_text(out, &key.server);
        out.push(key.connection as u8);
    }
    put_uvarint(out, edge.requests);
    put_uvarint(out, edge.failed);
    [&edge.client, &edge.server, &edge.queued].iter().for_each(|each| put_histogram(out, each));
    put_life(out, &edge.life);
}

fn put_half(out: &mut Vec<u8>, half: &Half) {
    out.extend_from_slice(&half.call.0);
    out.extend_from_slice(&half.call.1);
    out.extend_from_slice(&half.span_id);
    let flags = [half.is_client, half.is_message, half.is_root, half.failed, half.is_paired];
    out.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
    put_i64(out, half.time_ns);
    put_uvarint(out, half.nanos);
    put_i64(out, half.deadline_ms);
    put_text(out, &half.service);
    out.push(u8::from(half.peer.is_some()));
    if let Some((name, connection)) = &half.peer {
        put_text(out, name);
        out.push(*connection as u8);
    }
}

struct Input<'a> {
    reader: Reader<'a>,
}

impl Input<'_> {
    fn u64(&mut self) -> Result<u64, CheckpointError> {
        Ok(self.reader.uvarint()?)
    }

    fn i64(&mut self) -> Result<i64, CheckpointError> {
        Ok(unzigzag(self.reader.uvarint()?))
    }

    fn u8(&mut self) -> Result<u8, CheckpointError> {
        let [byte] = self.reader.array()?;
        Ok(byte)
    }

    fn flag(&mut self) -> Result<bool, CheckpointError> {
        Ok(self.u8()? != 0)
    }

    fn text(&mut self) -> Result<Box<str>, CheckpointError> {
        let length = usize::try_from(self.u64()?).map_err(|_| CheckpointError::Damaged)?;
        let bytes = self.reader.bytes(length)?;
        std::str::from_utf8(bytes).map(Into::into).map_err(|_| CheckpointError::Damaged)
    }

    fn life(&mut self) -> Result<Life, CheckpointError> {
        let (zero_ms, used_ms) = (self.i64()?, self.i64()?);
        let written = if self.flag()? { Written::Stored } else { Written::Nothing };
        Ok(Life { zero_ms, used_ms, written })
    }

    fn histogram(&mut self, buckets: usize) -> Result<Histogram, CheckpointError> {
        let mut histogram = Histogram::new(buckets);
        for count in &mut histogram.counts {
            *count = self.u64()?;
        }
        histogram.sum_nanos = u128::from_le_bytes(self.reader.array()?);
        Ok(histogram)
    }

    fn connection(&mut self) -> Result<Connection, CheckpointError> {
        Connection::of(self.u8()?).ok_or(CheckpointError::Damaged)
    }

    fn operation(
        &mut self,
        dimensions: usize,
        buckets: usize,
    ) -> Result<Operation, CheckpointError> {
        let key = if self.flag()? {
            let (service, name) = (self.text()?, self.text()?);
            let (kind, status) = (self.u8()?, self.u8()?);
            let dimensions = (0..dimensions).map(|_| self.text()).collect::<Result<_, _>>()?;
            let target =
                if self.flag()? { Some(Arc::new((self.text()?, self.text()?))) } else { None };
            Some(Key { service: service.into(), name, kind, status, dimensions, target })
        } else {
            None
        };
        Ok(Operation {
            key,
            calls: self.u64()?,
            size_bytes: self.u64()?,
            latency: self.histogram(buckets)?,
            life: self.life()?,
        })
    }

    fn edge(&mut self, buckets: usize) -> Result<Edge, CheckpointError> {
        let key = if self.flag()? {
            let (client, server) = (self.text()?.into(), self.text()?.into());
            Some(EdgeKey { client, server, connection: self.connection()? })
        } else {
            None
        };
        Ok(Edge {
            key,
            requests: self.u64()?,
            failed: self.u64()?,
            client: self.histogram(buckets)?,
            server: self.histogram(buckets)?,
            queued: self.histogram(buckets)?,
            life: self.life()?,
        })
    }

    fn half(&mut self) -> Result<Half, CheckpointError> {
        let call = (self.reader.array()?, self.reader.array()?);
        let span_id = self.reader.array()?;
        let flags = self.u8()?;
        let (time_ns, nanos, deadline_ms) = (self.i64()?, self.u64()?, self.i64()?);
        let service = self.text()?.into();
        let peer = if self.flag()? { Some((self.text()?, self.connection()?)) } else { None };
        Ok(Half {
            call,
            span_id,
            is_client: flags & 1 != 0,
            is_message: flags & 2 != 0,
            is_root: flags & 4 != 0,
            failed: flags & 8 != 0,
            is_paired: flags & 16 != 0,
            time_ns,
            nanos,
            service,
            peer,
            deadline_ms,
        })
    }
}

impl State {
    /// All that has to outlive the process.
    ///
    /// # Errors
    /// The compressor's.
    pub fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        put_i64(&mut body, self.row);
        body.extend_from_slice(&self.options.fingerprint().to_le_bytes());
        let Totals { spans, repeated, unpaired } = self.totals;
        [spans, repeated, unpaired, self.pending.dropped, self.limit.overflowed]
            .iter()
            .for_each(|total| put_uvarint(&mut body, *total));
        let seen = self.seen.encode();
        put_uvarint(&mut body, seen.len() as u64);
        body.extend_from_slice(&seen);
        put_uvarint(&mut body, self.pending.len() as u64);
        self.pending.iter().for_each(|half| put_half(&mut body, half));
        put_uvarint(&mut body, self.operations.iter().count() as u64);
        self.operations.iter().for_each(|set| put_operation(&mut body, set));
        put_uvarint(&mut body, self.graph.iter().count() as u64);
        self.graph.iter().for_each(|edge| put_edge(&mut body, edge));
        put_uvarint(&mut body, self.targets.iter().count() as u64);
        for (labels, life) in self.targets.iter() {
            put_i64(&mut body, life.used_ms);
            put_uvarint(&mut body, labels.len() as u64);
            for (name, value) in labels.iter() {
                put_text(&mut body, name);
                put_text(&mut body, value);
            }
        }
        let mut out = MAGIC.to_vec();
        put_uvarint(&mut out, VERSION);
        put_uvarint(&mut out, body.len() as u64);
        out.extend_from_slice(&zstd::bulk::compress(&body, LEVEL)?);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        Ok(out)
    }

    /// Takes in what `encode` gave, into a state that is new. Counters of other options are passed
    /// over: they begin anew, behind the same row.
    ///
    /// # Errors
    /// It is not that; the state is new as before, as far as counters go.
    pub fn restore(&mut self, stored: &[u8]) -> Result<(), CheckpointError> {
        let body = unpack(stored)?;
        let mut input = Input { reader: Reader::new(&body) };
        let row = input.i64()?;
        let is_same = input.reader.u64_le()? == self.options.fingerprint();
        let totals = Totals { spans: input.u64()?, repeated: input.u64()?, unpaired: input.u64()? };
        let (dropped, overflowed) = (input.u64()?, input.u64()?);
        let length = usize::try_from(input.u64()?).map_err(|_| CheckpointError::Damaged)?;
        if !self.seen.restore(input.reader.bytes(length)?) {
            return Err(CheckpointError::Damaged);
        }
        for _ in 0..input.u64()? {
            let half = input.half()?;
            self.last_deadline_ms = self.last_deadline_ms.max(half.deadline_ms);
            self.pending.restore(half);
        }
        (self.row, self.totals, self.pending.dropped) = (row, totals, dropped);
        self.limit.overflowed = overflowed;
        if is_same { self.restore_counters(&mut input) } else { Ok(()) }
    }

    fn restore_counters(&mut self, input: &mut Input<'_>) -> Result<(), CheckpointError> {
        let (dimensions, buckets) = (self.roles.dimensions(), self.operations.bounds.len());
        for _ in 0..input.u64()? {
            let set = input.operation(dimensions, buckets)?;
            self.operations.restore(set, &mut self.limit);
        }
        let buckets = self.graph.bounds.len();
        for _ in 0..input.u64()? {
            let edge = input.edge(buckets)?;
            self.graph.restore(edge, &mut self.limit);
        }
        for _ in 0..input.u64()? {
            let used_ms = input.i64()?;
            let mut labels = Vec::new();
            for _ in 0..input.u64()? {
                labels.push((input.text()?, input.text()?));
            }
            self.targets.restore(labels.into(), used_ms, &mut self.limit);
        }
        Ok(())
    }
}

fn unpack(stored: &[u8]) -> Result<Vec<u8>, CheckpointError> {
    let at = stored.len().checked_sub(4).ok_or(CheckpointError::Damaged)?;
    let (data, checksum) = stored.split_at(at);
    if crc32c::crc32c(data).to_le_bytes() != checksum || data.get(..8) != Some(&MAGIC) {
        return Err(CheckpointError::Damaged);
    }
    let mut reader = Reader::new(&data[8..]);
    if reader.uvarint()? != VERSION {
        return Err(CheckpointError::Version);
    }
    let length = usize::try_from(reader.uvarint()?).map_err(|_| CheckpointError::Damaged)?;
    if length > MAX_BYTES {
        return Err(CheckpointError::Damaged);
    }
    zstd::bulk::decompress(reader.rest(), length).map_err(|_| CheckpointError::Damaged)
}
