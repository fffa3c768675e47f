//! Finds which skeletons are of one pattern, as they come: a template miner after Drain, for
//! skeletons of one length, that asks how many values each place has instead of how similar two
//! lines are (docs/log-patterns.md has the rules; docs/decisions/0022 why).
//!
//! Invariants: a node's parent is a node whose template has more holes, or itself; a pattern is a
//! node that is its own parent, its id the hash of its key, so that it is the same in every process.

use super::drain_merge::{self, Change};
use super::patterns_skeleton::{BREAK, HOLE, Skeleton};
use hashbrown::{HashMap, HashTable};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64;

/// Of those that are known when another is too much, the part that is kept.
const KEPT: (usize, usize) = (3, 4);

/// One in so many skeletons is new before all are compared again; always while there are few.
const FEW: usize = 32;
const SMALL: usize = 1000;

const WORD: u64 = 1;
const NAME: u64 = 2;

/// A token as the search for families sees it: its hash, of which the last two bits tell whether
/// it is a word, a name (of letters and other signs), a hole or else a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    pub const HOLE: Self = Self(3);

    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        if text == [HOLE] {
            return Self::HOLE;
        }
        let letter = |b: &u8| b.is_ascii_alphabetic() || *b >= 128;
        let kind = if !text.iter().any(|b| letter(b) || b.is_ascii_digit()) {
            0
        } else if text.iter().all(letter) {
            WORD
        } else {
            NAME
        };
        Self((xxh3_64(text) & !3) | kind)
    }

    #[must_use]
    pub fn hash(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn is_hole(self) -> bool {
        self == Self::HOLE
    }

    /// Of letters alone.
    #[must_use]
    pub fn is_word(self) -> bool {
        self.0 & 3 == WORD
    }

    /// A word or a name.
    #[must_use]
    pub fn is_named(self) -> bool {
        self.is_word() || self.0 & 3 == NAME
    }
}

/// A skeleton, or what several have become.
#[derive(Debug, Clone)]
pub struct Node {
    pub key: Box<[u8]>,
    /// The tokens as they are shown.
    pub display: Box<[u8]>,
    pub tokens: Box<[Token]>,
    /// Places that were found to vary, in order; holes of the skeleton itself are not among them.
    pub varies: Box<[u16]>,
    pub id: u64,
    pub count: u64,
    /// When a line of it came last.
    pub used: u64,
    pub parent: u32,
}

impl Node {
    #[must_use]
    pub fn new(key: &[u8], display: &[u8], varies: &[u16]) -> Self {
        Self {
            key: key.into(),
            display: display.into(),
            tokens: key.split(|b| *b == BREAK).map(Token::of).collect(),
            varies: varies.into(),
            id: xxh3_64(key),
            count: 0,
            used: 0,
            parent: 0,
        }
    }

    /// Places that are holes, of the skeleton itself or not.
    #[must_use]
    pub fn holes(&self) -> usize {
        self.tokens.iter().filter(|t| t.is_hole()).count()
    }

    fn add_varies(&mut self, places: &[u16]) {
        let mut varies: Vec<u16> = self.varies.iter().chain(places).copied().collect();
        varies.sort_unstable();
        varies.dedup();
        self.varies = varies.into();
    }

    /// The same with more places that vary.
    #[must_use]
    pub fn with_holes(&self, places: &[u16]) -> Self {
        let open = |text: &[u8]| {
            let mut out = Vec::with_capacity(text.len());
            for (place, token) in text.split(|b| *b == BREAK).enumerate() {
                if place > 0 {
                    out.push(BREAK);
                }
                let opened = u16::try_from(place).is_ok_and(|p| places.contains(&p));
                out.extend_from_slice(if opened { &[HOLE] } else { token });
            }
            out
        };
        let mut node = Self::new(&open(&self.key), &open(&self.display), &self.varies);
        node.add_varies(places);
        node
    }
}

/// The template as it is shown, `<_>` for each hole.
#[must_use]
pub fn template(display: &[u8]) -> String {
    let bytes: Vec<u8> = display.iter().copied().filter(|b| *b != BREAK).collect();
    let text = String::from_utf8_lossy(&bytes);
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest: &str = &text;
    while let Some(c) = rest.chars().next() {
        let name = named_capture(rest);
        if c == '\0' || name > 0 {
            // Two holes with nothing between are one.
            if !out.ends_with("<_>") {
                out.push_str("<_>");
            }
            rest = &rest[name.max(1)..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// The length of a `<name>` that this begins with, else 0: in a pattern it would be a hole.
fn named_capture(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('<') else { return 0 };
    let name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let length = inner.bytes().take_while(|b| name(*b)).count();
    let is_name = length > 0 && !inner.as_bytes()[0].is_ascii_digit();
    if is_name && inner.as_bytes().get(length) == Some(&b'>') { length + 2 } else { 0 }
}

/// A pattern as it is told to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub id: u64,
    pub template: String,
    pub count: u64,
}

/// The skeletons of one kind of logs, and their patterns.
pub struct Miner {
    nodes: Vec<Node>,
    by_key: HashTable<u32>,
    by_id: HashMap<u64, u32>,
    max_nodes: usize,
    clock: u64,
    /// New since the last `merge`; those before `joined` were looked at by themselves.
    fresh: Vec<u32>,
    joined: usize,
    skeleton: Skeleton,
}

impl Miner {
    /// # Panics
    /// Never: a limit below what the rules need is raised.
    #[must_use]
    pub fn new(max_nodes: usize) -> Self {
        Self {
            nodes: Vec::new(),
            by_key: HashTable::new(),
            by_id: HashMap::new(),
            max_nodes: max_nodes.max(64),
            clock: 0,
            fresh: Vec::new(),
            joined: 0,
            skeleton: Skeleton::default(),
        }
    }

    /// Patterns and the skeletons that they have taken in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Begins a batch: what is used in it is used at one time.
    pub fn begin(&mut self) {
        self.clock += 1;
    }

    /// Counts a line `weight` times; returns its skeleton's node, for `settle` to name.
    pub fn add(&mut self, line: &[u8], weight: u64) -> u32 {
        let mut skeleton = std::mem::take(&mut self.skeleton);
        let key = skeleton.read(line);
        let hash = xxh3_64(key);
        let node = match self.find(hash, key) {
            Some(node) => node,
            None => {
                let display = skeleton.display(line);
                let key = skeleton.read(line);
                self.insert(Node::new(key, &display, &[]))
            }
        };
        self.skeleton = skeleton;
        self.count(node, weight);
        node
    }

    /// The same of a skeleton that was made before.
    pub fn add_key(&mut self, key: &[u8], display: &[u8], weight: u64) -> u32 {
        let known = self.find(xxh3_64(key), key);
        let node = known.unwrap_or_else(|| self.insert(Node::new(key, display, &[])));
        self.count(node, weight);
        node
    }

    fn count(&mut self, node: u32, weight: u64) {
        let node = &mut self.nodes[node as usize];
        node.count = node.count.saturating_add(weight);
        node.used = self.clock;
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let nodes = &self.nodes;
        let same = |n: &u32| nodes[*n as usize].id == hash && *nodes[*n as usize].key == *key;
        self.by_key.find(hash, same).copied()
    }

    /// Adds a node that is not there, as a pattern of its own.
    fn insert(&mut self, mut node: Node) -> u32 {
        let index = self.nodes.len() as u32;
        node.parent = index;
        node.used = self.clock;
        self.by_id.insert(node.id, index);
        let hash = node.id;
        self.nodes.push(node);
        let nodes = &self.nodes;
        self.by_key.insert_unique(hash, index, |n| nodes[*n as usize].id);
        self.fresh.push(index);
        index
    }

    /// Finds what the newly seen skeletons are of. Nodes stay where they are.
    pub fn settle(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        if self.fresh.len() * FEW >= self.nodes.len() || self.nodes.len() < SMALL {
            self.merge();
        } else {
            self.join_fresh();
        }
    }

    /// Compares all patterns with each other.
    pub fn merge(&mut self) {
        for _ in 0..drain_merge::MAX_ROUNDS {
            let all = 0..self.nodes.len() as u32;
            let roots: Vec<u32> = all.filter(|n| self.is_root(*n)).collect();
            let changes = drain_merge::changes(&self.nodes, &roots);
            if changes.is_empty() {
                break;
            }
            changes.iter().for_each(|change| self.apply(change));
        }
        self.fresh.clear();
        self.joined = 0;
    }

    /// Looks for each new skeleton only whether a pattern has a hole where it has a word; it may
    /// become more in the next `merge`.
    fn join_fresh(&mut self) {
        for index in self.joined..self.fresh.len() {
            let node = self.fresh[index];
            let tokens = &self.nodes[node as usize].tokens;
            let named: Vec<u16> = (0..tokens.len())
                .filter(|place| tokens[*place].is_named())
                .map(|place| place as u16)
                .collect();
            let joined = (named.len() > 1)
                .then(|| named.iter().find(|place| self.has_hole(node, **place)))
                .flatten();
            if let Some(place) = joined {
                self.apply(&Change { node, places: vec![*place] });
            }
        }
        self.joined = self.fresh.len();
    }

    fn has_hole(&self, node: u32, place: u16) -> bool {
        let opened = self.nodes[node as usize].with_holes(&[place]);
        self.find(opened.id, &opened.key).is_some()
    }

    fn apply(&mut self, change: &Change) {
        let merged = self.nodes[change.node as usize].with_holes(&change.places);
        let parent = match self.find(merged.id, &merged.key) {
            Some(known) => {
                self.nodes[known as usize].add_varies(&merged.varies);
                self.root(known)
            }
            None => self.insert(merged),
        };
        if parent != change.node {
            self.nodes[change.node as usize].parent = parent;
        }
    }

    fn is_root(&self, node: u32) -> bool {
        self.nodes[node as usize].parent == node
    }

    /// The pattern that a node has become.
    #[must_use]
    pub fn root(&self, node: u32) -> u32 {
        let mut at = node;
        // Each step has more holes than the one before, so there is an end.
        while self.nodes[at as usize].parent != at {
            at = self.nodes[at as usize].parent;
        }
        at
    }

    /// The id of a node's pattern.
    #[must_use]
    pub fn id(&self, node: u32) -> u64 {
        self.nodes[self.root(node) as usize].id
    }

    /// The id of a skeleton's pattern, if it is known.
    #[must_use]
    pub fn id_of_key(&self, key: &[u8]) -> Option<u64> {
        self.find(xxh3_64(key), key).map(|node| self.id(node))
    }

    /// The id of the pattern that one of this id has become; `None` when there is none.
    #[must_use]
    pub fn resolve(&self, id: u64) -> Option<u64> {
        self.by_id.get(&id).map(|node| self.id(*node))
    }

    #[must_use]
    pub fn display(&self, id: u64) -> Option<&[u8]> {
        let node = *self.by_id.get(&id)?;
        Some(&self.nodes[self.root(node) as usize].display)
    }

    /// The pattern that a line is of, if one is known; learns nothing.
    pub fn lookup(&mut self, line: &[u8]) -> Option<u64> {
        let mut skeleton = std::mem::take(&mut self.skeleton);
        let key = skeleton.read(line);
        let node = self.find(xxh3_64(key), key);
        self.skeleton = skeleton;
        node.map(|node| self.id(node))
    }

    /// All patterns with what was counted of them, the most frequent first.
    #[must_use]
    pub fn patterns(&self) -> Vec<Pattern> {
        let mut counts = vec![0_u64; self.nodes.len()];
        for (node, of) in self.nodes.iter().enumerate() {
            let root = self.root(node as u32) as usize;
            counts[root] = counts[root].saturating_add(of.count);
        }
        let roots = (0..self.nodes.len()).filter(|n| self.is_root(*n as u32));
        let mut found: Vec<Pattern> = roots
            .map(|n| {
                let node = &self.nodes[n];
                Pattern { id: node.id, template: template(&node.display), count: counts[n] }
            })
            .collect();
        found.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(&b.template)));
        found
    }

    /// Forgets what was not used for the longest time, where there is too much; after `settle`.
    /// Nodes move.
    pub fn evict(&mut self) {
        if self.nodes.len() <= self.max_nodes {
            return;
        }
        let keep = self.max_nodes * KEPT.0 / KEPT.1;
        let mut order: Vec<u32> = (0..self.nodes.len() as u32).collect();
        for node in 0..self.nodes.len() {
            let (used, mut at) = (self.nodes[node].used, node);
            while self.nodes[at].parent as usize != at {
                at = self.nodes[at].parent as usize;
                self.nodes[at].used = self.nodes[at].used.max(used);
            }
        }
        // What others have become is at least as new as they are, and before them when it is not
        // newer, so that no node loses its parent.
        order.sort_by_key(|n| {
            let node = &self.nodes[*n as usize];
            let depth = node.holes();
            (std::cmp::Reverse((node.used, depth)), std::cmp::Reverse(node.count), node.id)
        });
        order.truncate(keep);
        let kept: Vec<Node> = order.iter().map(|n| self.nodes[*n as usize].clone()).collect();
        let mut moved = vec![u32::MAX; self.nodes.len()];
        order.iter().enumerate().for_each(|(to, from)| moved[*from as usize] = to as u32);
        let parents: Vec<u32> = kept.iter().map(|node| moved[node.parent as usize]).collect();
        self.rebuild(kept, &parents);
    }

    /// Takes nodes instead of those that are there.
    fn rebuild(&mut self, nodes: Vec<Node>, parents: &[u32]) {
        self.nodes.clear();
        self.by_key.clear();
        self.by_id.clear();
        for (node, parent) in nodes.into_iter().zip(parents) {
            let used = node.used;
            let index = self.insert(node);
            let node = &mut self.nodes[index as usize];
            node.used = used;
            node.parent = if *parent == u32::MAX { index } else { *parent };
        }
        self.fresh.clear();
        self.joined = 0;
    }

    /// Puts the miner into bytes. Format: docs/format/log-patterns.md.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        super::drain_file::encode(&self.nodes)
    }

    /// Reads what `dump` gave.
    ///
    /// # Errors
    /// It is not that.
    pub fn load(bytes: &[u8], max_nodes: usize) -> Result<Self, Cow<'static, str>> {
        let (nodes, parents) = super::drain_file::decode(bytes)?;
        let mut miner = Self::new(max_nodes);
        miner.clock = nodes.iter().map(|n| n.used).max().unwrap_or(0);
        miner.rebuild(nodes, &parents);
        miner.evict();
        Ok(miner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mine(lines: &[String]) -> (Miner, Vec<u64>) {
        let mut miner = Miner::new(10_000);
        miner.begin();
        let nodes: Vec<u32> = lines.iter().map(|line| miner.add(line.as_bytes(), 1)).collect();
        miner.settle();
        let ids = nodes.iter().map(|n| miner.id(*n)).collect();
        (miner, ids)
    }

    fn lines(template: &str, words: &[&str]) -> Vec<String> {
        words.iter().map(|word| template.replace("{}", word)).collect()
    }

    #[test]
    fn a_place_of_many_values_varies() {
        let users = ["ada", "grace", "edsger", "barbara", "donald", "alan"];
        let (miner, ids) = mine(&lines("login of {} refused by policy", &users));
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(miner.patterns()[0].template, "login of <_> refused by policy");
    }

    #[test]
    fn a_place_of_few_values_does_not() {
        let (_, ids) = mine(&lines("state went to {} at last", &["up", "down", "idle"]));
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    }

    #[test]
    fn a_word_where_others_have_a_number_is_its_value() {
        let (_, ids) = mine(&["exit status 3 of job".into(), "exit status unknown of job".into()]);
        assert_eq!(ids[0], ids[1]);
    }

    #[test]
    fn what_was_learnt_stays_when_it_is_loaded() {
        let users = ["ada", "grace", "edsger", "barbara", "donald", "alan"];
        let (miner, ids) = mine(&lines("login of {} refused by policy", &users));
        let mut loaded = Miner::load(&miner.dump(), 10_000).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.patterns(), miner.patterns());
        loaded.begin();
        let node = loaded.add(b"login of linus refused by policy", 1);
        loaded.settle();
        assert_eq!(loaded.id(node), ids[0]);
    }

    #[test]
    fn templates_are_patterns_of_the_query_language() {
        assert_eq!(template(b"a \0\x01\0 <ok> <5>"), "a <_> <_> <5>");
    }

    proptest! {
        #[test]
        fn any_lines_are_learnt_within_bounds(
            lines in proptest::collection::vec("[ab]{1,3}( [abc=,<>1]{0,3}){0,4}", 0..300),
        ) {
            let mut miner = Miner::new(64);
            for part in lines.chunks(50) {
                miner.begin();
                let nodes: Vec<u32> = part.iter().map(|l| miner.add(l.as_bytes(), 1)).collect();
                miner.settle();
                for node in nodes {
                    prop_assert_eq!(miner.resolve(miner.id(node)), Some(miner.id(node)));
                }
                miner.evict();
                prop_assert!(miner.len() <= 64);
            }
            let loaded = Miner::load(&miner.dump(), 64);
            prop_assert_eq!(loaded.map(|m| m.patterns()), Ok(miner.patterns()));
        }

        #[test]
        fn any_bytes_load_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Miner::load(&bytes, 100).map(|m| m.patterns());
        }
    }
}
