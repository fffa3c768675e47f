//! Which patterns are one: families of the same length that differ in one place, or in two, with
//! many values there. All of them are compared by hashes of what they have in common.

use super::drain::{Node, Token};
use hashbrown::HashMap;

/// Values of a place that make it a variable: words, where enough else is said in words.
const MANY: usize = 5;

/// The same where but one other word is.
const MANY_OF_LITTLE: usize = 12;

/// The same of a line's first word, which most often says what the line is about.
const MANY_FIRST: usize = 32;

/// Words that must be there beside two places that vary together.
const WORDS_BESIDE_TWO: usize = 3;

/// Looking for two places at once costs the square of the words.
const MAX_PAIR_PLACES: usize = 14;
const MAX_PAIR_NODES: usize = 3000;

pub const MAX_ROUNDS: usize = 8;

/// A node whose places, or some of them, vary.
#[derive(Debug)]
pub struct Change {
    pub node: u32,
    pub places: Vec<u16>,
}

fn mix(hash: u64, token: u64) -> u64 {
    (hash.rotate_left(25) ^ token).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// One of a family: what it has in common with the others, and who.
struct Member {
    common: u64,
    node: u32,
    place: u16,
    second: u16,
}

struct Family {
    members: std::ops::Range<usize>,
    score: usize,
}

/// What is to be merged next; nothing when all is.
#[must_use]
pub fn changes(nodes: &[Node], roots: &[u32]) -> Vec<Change> {
    let found = single_places(nodes, roots);
    if !found.is_empty() {
        return found;
    }
    let found = covered(nodes, roots);
    if !found.is_empty() || roots.len() > MAX_PAIR_NODES {
        return found;
    }
    double_places(nodes, roots)
}

fn named(node: &Node) -> usize {
    node.tokens.iter().filter(|t| t.is_named()).count()
}

/// Families that differ in one place.
fn single_places(nodes: &[Node], roots: &[u32]) -> Vec<Change> {
    let mut members = Vec::new();
    for root in roots {
        let tokens = &nodes[*root as usize].tokens;
        let mut after = vec![0; tokens.len() + 1];
        for place in (0..tokens.len()).rev() {
            after[place] = mix(after[place + 1], tokens[place].hash());
        }
        let mut before = tokens.len() as u64;
        for (place, token) in tokens.iter().enumerate() {
            if token.is_hole() || token.is_named() {
                let common = mix(mix(before, after[place + 1]), place as u64);
                members.push(Member { common, node: *root, place: place as u16, second: 0 });
            }
            before = mix(before, token.hash());
        }
    }
    let families = families(&mut members, |family| {
        let [first, ..] = family else { return None };
        let place = first.place as usize;
        let token = |m: &Member| nodes[m.node as usize].tokens[place];
        let values = family.iter().filter(|m| !token(m).is_hole()).count();
        let words = family.iter().filter(|m| token(m).is_word()).count();
        let has_hole = values < family.len();
        let of_first = &nodes[first.node as usize];
        let beside = named(of_first) - usize::from(token(first).is_named());
        let mut needed = if beside < 2 { MANY_OF_LITTLE } else { MANY };
        if place == 0 && 2 * words > values {
            needed = MANY_FIRST;
        }
        if has_hole {
            needed = 1;
        }
        let score = values + if has_hole { 1 << 20 } else { 0 };
        (beside > 0 && values >= needed).then_some(score)
    });
    take(nodes, &members, families, |m| vec![m.place])
}

/// Families that differ in two places.
fn double_places(nodes: &[Node], roots: &[u32]) -> Vec<Change> {
    let mut members = Vec::new();
    for root in roots {
        let tokens = &nodes[*root as usize].tokens;
        let places: Vec<usize> = (1..tokens.len()).filter(|p| tokens[*p].is_named()).collect();
        if places.len() > MAX_PAIR_PLACES || named(&nodes[*root as usize]) < WORDS_BESIDE_TWO + 2 {
            continue;
        }
        // A sum of hashes by place can be taken apart again.
        let part = |place: usize| mix(place as u64 + 1, tokens[place].hash());
        let whole = (0..tokens.len()).fold(0_u64, |sum, place| sum.wrapping_add(part(place)));
        for (index, place) in places.iter().enumerate() {
            for second in &places[index + 1..] {
                let rest = whole.wrapping_sub(part(*place)).wrapping_sub(part(*second));
                let common =
                    mix(mix(rest, *place as u64), mix(*second as u64, tokens.len() as u64));
                let (place, second) = (*place as u16, *second as u16);
                members.push(Member { common, node: *root, place, second });
            }
        }
    }
    let families = families(&mut members, |family| {
        let distinct = |place: fn(&Member) -> u16| {
            let token = |m: &Member| nodes[m.node as usize].tokens[place(m) as usize];
            let mut values: Vec<Token> = family.iter().map(token).collect();
            values.sort_unstable();
            values.dedup();
            values.len()
        };
        if family.len() < MANY {
            return None;
        }
        let fewer = distinct(|m| m.place).min(distinct(|m| m.second));
        (fewer >= MANY).then_some(fewer)
    });
    take(nodes, &members, families, |m| vec![m.place, m.second])
}

/// Those of which another pattern is the same with places that were found to vary.
fn covered(nodes: &[Node], roots: &[u32]) -> Vec<Change> {
    let rest = |node: &Node, varies: &[u16]| {
        let mut left = varies.iter().peekable();
        let mut hash = node.tokens.len() as u64;
        for (place, token) in node.tokens.iter().enumerate() {
            if left.next_if(|v| **v as usize == place).is_some() {
                if !token.is_hole() && !token.is_named() {
                    return None;
                }
            } else {
                hash = mix(hash, token.hash());
            }
        }
        Some(hash)
    };
    let mut shapes: HashMap<(usize, &[u16]), HashMap<u64, u32>> = HashMap::new();
    for root in roots {
        let node = &nodes[*root as usize];
        if node.varies.len() > 1
            && let Some(hash) = rest(node, &node.varies)
        {
            let shape = shapes.entry((node.tokens.len(), &node.varies)).or_default();
            shape.insert(hash, *root);
        }
    }
    let mut shapes: Vec<_> = shapes.into_iter().collect();
    shapes.sort_unstable_by_key(|((length, varies), _)| (*length, *varies));
    let mut found = Vec::new();
    for root in roots {
        let node = &nodes[*root as usize];
        let fitting = shapes.iter().filter(|((length, _), _)| *length == node.tokens.len());
        for ((_, varies), of_shape) in fitting {
            let covering = rest(node, varies).and_then(|hash| of_shape.get(&hash));
            let opens = varies.iter().any(|v| !node.tokens[*v as usize].is_hole());
            if covering.is_some_and(|other| other != root) && opens {
                found.push(Change { node: *root, places: varies.to_vec() });
                break;
            }
        }
    }
    found
}

/// The families that are one pattern, in the order in which they are made it.
fn families(members: &mut [Member], score: impl Fn(&[Member]) -> Option<usize>) -> Vec<Family> {
    members.sort_unstable_by_key(|m| (m.common, m.node));
    let mut found = Vec::new();
    let mut start = 0;
    for family in members.chunk_by(|a, b| a.common == b.common) {
        if family.len() > 1
            && let Some(score) = score(family)
        {
            found.push(Family { members: start..start + family.len(), score });
        }
        start += family.len();
    }
    found
}

/// Each node's change, by the family with the most values.
fn take(
    nodes: &[Node],
    members: &[Member],
    mut families: Vec<Family>,
    places: impl Fn(&Member) -> Vec<u16>,
) -> Vec<Change> {
    // By ids and not by the order in which lines came, so that the same lines give the same.
    let least =
        |f: &Family| members[f.members.clone()].iter().map(|m| nodes[m.node as usize].id).min();
    families.sort_by_cached_key(|f| {
        (std::cmp::Reverse(f.score), members[f.members.start].place, least(f))
    });
    let mut taken = hashbrown::HashSet::new();
    let mut found = Vec::new();
    for family in families {
        for member in &members[family.members] {
            if taken.insert(member.node) {
                let tokens = &nodes[member.node as usize].tokens;
                let mut places = places(member);
                places.retain(|p| !tokens[*p as usize].is_hole());
                if !places.is_empty() {
                    found.push(Change { node: member.node, places });
                }
            }
        }
    }
    found
}
