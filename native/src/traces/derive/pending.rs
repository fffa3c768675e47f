//! Calls of which one side's span has come, and the other's is waited for.
//!
//! A caller's span waits to the end of its time even if its other side has come, since a message
//! can have more than one receiver; the receivers' spans go as soon as they have met their
//! caller's. So which pairs are found does not depend on the order within the wait.

use super::graph::Connection;
use super::histogram::Origin;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::sync::Arc;

/// The span that both sides name: the caller's own, and the receiver's parent.
pub type CallId = ([u8; 16], [u8; 8]);

/// One side of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half {
    pub call: CallId,
    pub span_id: [u8; 8],
    pub is_client: bool,
    /// A producer's or consumer's.
    pub is_message: bool,
    /// It has no parent.
    pub is_root: bool,
    pub failed: bool,
    /// Its other side came.
    pub is_paired: bool,
    /// A client's end, or a server's start.
    pub time_ns: i64,
    pub nanos: u64,
    pub service: Arc<str>,
    /// What it tells of the other side, and how that is connected.
    pub peer: Option<(Box<str>, Connection)>,
    /// Unix milliseconds, until which the other side is waited for.
    pub deadline_ms: i64,
}

impl Half {
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin { trace_id: self.call.0, span_id: self.span_id }
    }
}

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    half: Option<Half>,
    older: u32,
    newer: u32,
    /// Among servers of one call.
    next_server: u32,
}

/// Where the halves of one call are.
#[derive(Debug, Clone, Copy)]
struct Places {
    client: u32,
    first_server: u32,
    last_server: u32,
}

const NOWHERE: Places = Places { client: NONE, first_server: NONE, last_server: NONE };

/// Halves by call and by age.
#[derive(Debug)]
pub struct Pending {
    calls: HashMap<CallId, Places>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    max: usize,
    /// Halves that found no room.
    pub dropped: u64,
}

impl Pending {
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            calls: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            max,
            dropped: 0,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Halves, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Half> {
        std::iter::successors(self.slot_at(self.oldest), |slot| self.slot_at(slot.newer))
            .filter_map(|slot| slot.half.as_ref())
    }

    fn slot_at(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)
    }

    /// Takes in a half; calls `pair` with the client's and server's of each call that is whole now.
    pub fn add(&mut self, half: Half, pair: impl FnMut(&Half, &Half)) {
        if half.is_client { self.add_client(half, pair) } else { self.add_server(half, pair) }
    }

    fn add_client(&mut self, mut half: Half, mut pair: impl FnMut(&Half, &Half)) {
        let mut at = self.calls.get(&half.call).map_or(NONE, |places| places.first_server);
        while at != NONE {
            let next = self.slots[at as usize].next_server;
            if let Some(server) = self.remove(at) {
                pair(&half, &server);
                half.is_paired = true;
            }
            at = next;
        }
        // One that is paired waits for more of them where there is room; nobody will miss it.
        let is_paired = half.is_paired;
        if !self.insert(half) && !is_paired {
            self.dropped += 1;
        }
    }

    fn add_server(&mut self, half: Half, mut pair: impl FnMut(&Half, &Half)) {
        let client = self.calls.get(&half.call).map_or(NONE, |places| places.client);
        if let Some(slot) = self.slots.get_mut(client as usize)
            && let Some(client) = &mut slot.half
        {
            pair(client, &half);
            client.is_paired = true;
        } else if !self.insert(half) {
            self.dropped += 1;
        }
    }

    /// Takes in what was kept.
    pub fn restore(&mut self, half: Half) {
        if !self.insert(half) {
            self.dropped += 1;
        }
    }

    /// Takes out the oldest half if its time is over.
    pub fn expired(&mut self, now_ms: i64) -> Option<Half> {
        let deadline_ms = self.slot_at(self.oldest)?.half.as_ref()?.deadline_ms;
        if deadline_ms <= now_ms { self.remove(self.oldest) } else { None }
    }

    fn insert(&mut self, half: Half) -> bool {
        let oldest_is_paired = self
            .slot_at(self.oldest)
            .and_then(|slot| slot.half.as_ref())
            .is_some_and(|half| half.is_paired);
        if self.len() >= self.max {
            if !oldest_is_paired {
                return false;
            }
            self.remove(self.oldest);
        }
        let (call, is_client) = (half.call, half.is_client);
        let slot = Slot { half: Some(half), older: self.newest, newer: NONE, next_server: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        match self.slots.get_mut(self.newest as usize) {
            Some(newest) => newest.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        let places = self.calls.entry(call).or_insert(NOWHERE);
        if is_client {
            // Of two callers of one id the later counts; the earlier still ends in its time.
            places.client = at;
        } else {
            match self.slots.get_mut(places.last_server as usize) {
                Some(last) => last.next_server = at,
                None => places.first_server = at,
            }
            places.last_server = at;
        }
        true
    }

    /// Takes out a client, or the first server of its call.
    fn remove(&mut self, at: u32) -> Option<Half> {
        let slot = self.slots.get_mut(at as usize)?;
        let half = slot.half.take()?;
        let (older, newer, next_server) = (slot.older, slot.newer, slot.next_server);
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        self.free.push(at);
        if let Entry::Occupied(mut entry) = self.calls.entry(half.call) {
            let places = entry.get_mut();
            if places.client == at {
                places.client = NONE;
            }
            if places.first_server == at {
                places.first_server = next_server;
                if next_server == NONE {
                    places.last_server = NONE;
                }
            }
            if places.client == NONE && places.first_server == NONE {
                entry.remove();
            }
        }
        Some(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(call: u8, is_client: bool, span: u8, deadline_ms: i64) -> Half {
        Half {
            call: ([1; 16], [call; 8]),
            span_id: [span; 8],
            is_client,
            is_message: false,
            is_root: false,
            failed: false,
            is_paired: false,
            time_ns: 0,
            nanos: 0,
            service: "a".into(),
            peer: None,
            deadline_ms,
        }
    }

    fn pairs(pending: &mut Pending, half: Half) -> Vec<(u8, u8)> {
        let mut found = Vec::new();
        pending.add(half, |client, server| found.push((client.span_id[0], server.span_id[0])));
        found
    }

    #[test]
    fn a_caller_meets_all_its_receivers_in_any_order() {
        let mut pending = Pending::new(10);
        assert!(pairs(&mut pending, half(1, false, 11, 10)).is_empty());
        assert!(pairs(&mut pending, half(1, false, 12, 10)).is_empty());
        assert!(pairs(&mut pending, half(2, false, 13, 10)).is_empty());
        assert_eq!(pairs(&mut pending, half(1, true, 1, 20)), [(1, 11), (1, 12)]);
        assert_eq!(pairs(&mut pending, half(1, false, 14, 20)), [(1, 14)]);
        assert_eq!(pending.len(), 2);
        assert_eq!(pending.expired(9), None);
        assert_eq!(pending.expired(10).unwrap().span_id[0], 13);
        let client = pending.expired(20).unwrap();
        assert!(client.is_paired && pending.expired(20).is_none());
        assert!(pending.calls.is_empty());
    }

    #[test]
    fn receivers_of_one_call_end_in_their_order() {
        let mut pending = Pending::new(10);
        for span in 1..=4 {
            assert!(pairs(&mut pending, half(1, false, span, i64::from(span))).is_empty());
        }
        assert_eq!(pending.expired(2).unwrap().span_id[0], 1);
        assert_eq!(pending.expired(2).unwrap().span_id[0], 2);
        assert_eq!(pending.expired(2), None);
        assert_eq!(pairs(&mut pending, half(1, true, 9, 9)), [(9, 3), (9, 4)]);
    }

    #[test]
    fn only_paired_callers_make_room() {
        let mut pending = Pending::new(2);
        assert!(pairs(&mut pending, half(1, true, 1, 10)).is_empty());
        assert!(pairs(&mut pending, half(2, true, 2, 10)).is_empty());
        assert!(pairs(&mut pending, half(3, true, 3, 10)).is_empty());
        assert_eq!((pending.len(), pending.dropped), (2, 1));
        assert_eq!(pairs(&mut pending, half(1, false, 11, 10)), [(1, 11)]);
        assert!(pairs(&mut pending, half(4, true, 4, 10)).is_empty());
        assert_eq!((pending.len(), pending.dropped), (2, 1));
        let left: Vec<u8> = pending.iter().map(|half| half.span_id[0]).collect();
        assert_eq!(left, [2, 4]);
    }
}
