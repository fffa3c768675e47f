//! Who calls whom: requests, failures and durations of every pair of services.

use super::histogram::{Bounds, Histogram, Origin};
use super::limit::{Life, Limit};
use super::operations::is_live;
use hashbrown::HashTable;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Series of an edge beside those of buckets: requests, failures, sums and counts.
const OTHER_SERIES: usize = 8;
const HISTOGRAMS: usize = 3;

/// What connects two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Connection {
    #[default]
    Direct = 0,
    Messaging = 1,
    Database = 2,
    /// One side makes no spans; only the other tells of it.
    Virtual = 3,
}

impl Connection {
    /// The label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "",
            Self::Messaging => "messaging_system",
            Self::Database => "database",
            Self::Virtual => "virtual_node",
        }
    }

    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        [Self::Direct, Self::Messaging, Self::Database, Self::Virtual]
            .into_iter()
            .find(|each| *each as u8 == number)
    }
}

/// The two ends of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub client: Arc<str>,
    pub server: Arc<str>,
    pub connection: Connection,
}

/// One request, as far as its spans tell of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    pub failed: bool,
    pub client_nanos: Option<u64>,
    pub server_nanos: Option<u64>,
    /// From the end of sending to the begin of handling.
    pub queued_nanos: Option<u64>,
    pub origin: Origin,
}

/// What was counted of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// `None` is all that found no room.
    pub key: Option<Key>,
    pub requests: u64,
    pub failed: u64,
    pub client: Histogram,
    pub server: Histogram,
    pub queued: Histogram,
    pub life: Life,
}

/// All edges.
#[derive(Debug)]
pub struct Graph {
    pub bounds: Bounds,
    edges: Vec<Edge>,
    places: HashTable<u32>,
    overflow: Option<Box<Edge>>,
}

fn hash(client: &str, server: &str, connection: Connection) -> u64 {
    let hash = xxh3_64_with_seed(client.as_bytes(), connection as u64);
    xxh3_64_with_seed(server.as_bytes(), hash)
}

impl Graph {
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, edges: Vec::new(), places: HashTable::new(), overflow: None }
    }

    /// Series of one edge.
    #[must_use]
    pub fn series_of_edge(&self) -> usize {
        HISTOGRAMS * self.bounds.len() + OTHER_SERIES
    }

    /// Edges, the one of what found no room last.
    pub fn iter(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().chain(self.overflow.as_deref())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Edge> {
        self.edges.iter_mut().chain(self.overflow.as_deref_mut())
    }

    /// Counts a request.
    pub fn count(
        &mut self,
        (client, server, connection): (&str, &str, Connection),
        request: &Request,
        (zero_ms, now_ms): (i64, i64),
        limit: &mut Limit,
    ) {
        let hash = hash(client, server, connection);
        let series = self.series_of_edge();
        let edges = &mut self.edges;
        let is = |at: &u32| {
            edges[*at as usize].key.as_ref().is_some_and(|key| {
                key.connection == connection && *key.client == *client && *key.server == *server
            })
        };
        let found = self.places.find(hash, is).map(|at| *at as usize);
        let buckets = self.bounds.len();
        let fresh = |key| Edge {
            key,
            requests: 0,
            failed: 0,
            client: Histogram::new(buckets),
            server: Histogram::new(buckets),
            queued: Histogram::new(buckets),
            life: Life::new(zero_ms, now_ms),
        };
        let edge = match found {
            Some(at) => &mut edges[at],
            None if limit.take(series) => {
                let at = edges.len();
                edges.push(fresh(Some(Key {
                    client: client.into(),
                    server: server.into(),
                    connection,
                })));
                self.places.insert_unique(hash, at as u32, |at| hash_of(edges, *at));
                &mut self.edges[at]
            }
            None => {
                limit.overflowed += 1;
                self.overflow.get_or_insert_with(|| Box::new(fresh(None)))
            }
        };
        edge.requests += 1;
        edge.failed += u64::from(request.failed);
        for (histogram, nanos) in [
            (&mut edge.client, request.client_nanos),
            (&mut edge.server, request.server_nanos),
            (&mut edge.queued, request.queued_nanos),
        ] {
            if let Some(nanos) = nanos {
                histogram.observe(&self.bounds, nanos, request.origin);
            }
        }
        edge.life.used_ms = now_ms;
    }

    /// Takes in what was kept; of an edge that is there already, nothing.
    pub fn restore(&mut self, edge: Edge, limit: &mut Limit) {
        let Some(key) = &edge.key else {
            self.overflow = Some(Box::new(edge));
            return;
        };
        let hash = hash(&key.client, &key.server, key.connection);
        let series = self.series_of_edge();
        let edges = &mut self.edges;
        if self.places.find(hash, |at| edges[*at as usize].key.as_ref() == Some(key)).is_some() {
            return;
        }
        limit.take_anyway(series);
        edges.push(edge);
        let at = edges.len() as u32 - 1;
        self.places.insert_unique(hash, at, |at| hash_of(edges, *at));
    }

    /// Ends the series that nothing was added to since a time, and that are stored.
    pub fn forget_before(&mut self, used_ms: i64, limit: &mut Limit) {
        let is_live = |edge: &Edge| is_live(&edge.life, used_ms);
        if self.edges.iter().all(is_live) {
            return;
        }
        let before = self.edges.len();
        self.edges.retain(is_live);
        limit.give_back((before - self.edges.len()) * self.series_of_edge());
        self.places.clear();
        let edges = &self.edges;
        for at in 0..edges.len() as u32 {
            self.places.insert_unique(hash_of(edges, at), at, |at| hash_of(edges, *at));
        }
    }
}

fn hash_of(edges: &[Edge], at: u32) -> u64 {
    edges[at as usize].key.as_ref().map_or(0, |key| hash(&key.client, &key.server, key.connection))
}
