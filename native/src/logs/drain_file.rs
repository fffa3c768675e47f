//! A miner in bytes. Format: docs/format/log-patterns.md.

use super::drain::Node;
use super::patterns_skeleton::{BREAK, MAX_LINE_BYTES, MAX_TOKENS};
use crate::wire::varint::{Reader, Truncated, put_uvarint};
use std::borrow::Cow;

const MAGIC: &[u8; 4] = b"OBPT";
const VERSION: u8 = 1;
const MAX_NODES: u64 = 10_000_000;

#[must_use]
pub fn encode(nodes: &[Node]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    put_uvarint(&mut out, nodes.len() as u64);
    for node in nodes {
        put_uvarint(&mut out, u64::from(node.parent));
        put_uvarint(&mut out, node.count);
        put_uvarint(&mut out, node.used);
        put_uvarint(&mut out, node.varies.len() as u64);
        node.varies.iter().for_each(|place| put_uvarint(&mut out, u64::from(*place)));
        for text in [&node.key, &node.display] {
            put_uvarint(&mut out, text.len() as u64);
            out.extend_from_slice(text);
        }
    }
    let checksum = crc32c::crc32c(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

/// Nodes, and of each its parent.
///
/// # Errors
/// The bytes are none.
pub fn decode(bytes: &[u8]) -> Result<(Vec<Node>, Vec<u32>), Cow<'static, str>> {
    let Some((content, checksum)) = bytes.split_last_chunk::<4>() else {
        return Err("it ends early".into());
    };
    if content.get(..4) != Some(MAGIC) {
        return Err("no file of patterns".into());
    }
    if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
        return Err("bad checksum".into());
    }
    match content.get(4) {
        Some(&VERSION) => read(&content[5..]),
        Some(version) => Err(format!("unknown version {version}").into()),
        None => Err("it ends early".into()),
    }
}

fn read(content: &[u8]) -> Result<(Vec<Node>, Vec<u32>), Cow<'static, str>> {
    let ends_early = |_: Truncated| Cow::from("it ends early");
    let mut input = Reader::new(content);
    let count = input.uvarint().map_err(ends_early)?;
    if count > MAX_NODES {
        return Err("too many patterns".into());
    }
    let (mut nodes, mut parents) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut number = || input.uvarint().map_err(ends_early);
        let (parent, lines, used, holes) = (number()?, number()?, number()?, number()?);
        if parent >= count || holes > MAX_TOKENS as u64 + 1 {
            return Err("a number is too large".into());
        }
        let mut varies = Vec::new();
        for _ in 0..holes {
            varies.push(u16::try_from(number()?).map_err(|_| "a place is too far")?);
        }
        let mut text = || {
            let length = input.uvarint().map_err(ends_early)? as usize;
            // A key has signs between its tokens, too.
            if length > MAX_LINE_BYTES + 2 * MAX_TOKENS {
                return Err(Cow::from("a template is too long"));
            }
            input.bytes(length).map_err(ends_early)
        };
        let (key, display) = (text()?, text()?);
        let tokens = |text: &[u8]| text.iter().filter(|b| **b == BREAK).count();
        let fits = varies.iter().all(|v| (*v as usize) <= tokens(key));
        if tokens(key) != tokens(display) || !fits {
            return Err("a template without its tokens".into());
        }
        let mut node = Node::new(key, display, &varies);
        (node.count, node.used) = (lines, used);
        nodes.push(node);
        parents.push(parent as u32);
    }
    // A parent has more holes: there is no way round in a circle.
    let higher = |(node, parent): (usize, &u32)| {
        let parent = *parent as usize;
        node == parent || nodes[node].holes() < nodes[parent].holes()
    };
    if !parents.iter().enumerate().all(higher) {
        return Err("a pattern that leads nowhere".into());
    }
    Ok((nodes, parents))
}
