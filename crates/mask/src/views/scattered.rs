//! Pieces of a signature in their order, with any other text between them. One program prints the pieces, and
//! another one writes to the same log: `sPoablDEBUG:root:sent 6`.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::{
    ANYWHERE,
    secrets::{LINK, Place, Secrets},
    text::LONGEST_GAP,
};

/// The least number of different bytes in the pieces of a chain. In random text, three bytes of a signature
/// are seldom near the three before them. So a chain of four pieces is not there by chance.
const LEAST_IN_CHAIN: usize = 12;

/// The number of pieces of the same signature among which this looks for the one that a piece continues. Most
/// text has few.
const MOST_BEFORE: usize = 64;

/// The greatest number of bytes after a piece that look like its next bytes by chance.
const CHANCE: usize = 2;

/// Some pieces of a signature that continue each other. A log can show each of them several times, such as once
/// in a trace and once as output.
pub(crate) struct Chain {
    pub(crate) secret: u32,
    /// The part of the secret that all pieces show together.
    pub(crate) part: Range<usize>,
    /// The places of the pieces in the text, in order. Leaves out those that other views find.
    pub(crate) pieces: Vec<Range<usize>>,
}

/// A piece of at least three bytes.
#[derive(Clone)]
struct Link {
    /// The place of the piece in the text.
    piece: Range<usize>,
    /// The beginning of the piece in the secret.
    from: usize,
}

/// A piece, and the pieces that it continues.
struct Node {
    link: Link,
    /// The index of the piece before.
    before: Option<usize>,
    /// The index of the first piece.
    first: usize,
    /// The part of the secret that the pieces up to here show.
    part: Range<usize>,
    is_in_chain: bool,
}

/// The chains in a text.
pub(crate) fn chains(secrets: &Secrets, text: &[u8]) -> Vec<Chain> {
    let mut nodes = FxHashMap::<u32, Vec<Node>>::default();
    each_link(secrets, text, &mut |secret, link| {
        add(nodes.entry(secret).or_default(), link);
    });
    let chains = nodes
        .into_iter()
        .flat_map(|(secret, nodes)| of_nodes(secret, nodes));
    chains.collect()
}

/// Adds a piece behind the one that it continues.
fn add(nodes: &mut Vec<Node>, link: Link) {
    let near = nodes.iter().enumerate().rev().take(MOST_BEFORE);
    let before = near.filter(|(_, node)| node.link.is_before(&link));
    let before = before.max_by_key(|(index, node)| (node.part.len(), *index));
    let end = link.from + link.piece.len();
    nodes.push(match before {
        Some((index, node)) => Node {
            before: Some(index),
            first: node.first,
            part: node.part.start..node.part.end.max(end),
            is_in_chain: false,
            link,
        },
        None => Node {
            before: None,
            first: nodes.len(),
            part: link.from..end,
            is_in_chain: false,
            link,
        },
    });
}

/// The pieces that are long enough together.
fn of_nodes(secret: u32, mut nodes: Vec<Node>) -> impl Iterator<Item = Chain> {
    let mut chains = FxHashMap::<usize, Chain>::default();
    for at in (0..nodes.len()).rev() {
        let node = &nodes[at];
        if !node.is_in_chain && node.part.len() < LEAST_IN_CHAIN {
            continue;
        }
        let chain = chains.entry(node.first).or_insert_with(|| Chain {
            secret,
            part: node.part.clone(),
            pieces: Vec::new(),
        });
        chain.part.end = chain.part.end.max(node.part.end);
        if node.link.piece.len() < ANYWHERE {
            chain.pieces.push(node.link.piece.clone());
        }
        if let Some(before) = node.before {
            nodes[before].is_in_chain = true;
        }
    }
    // A piece that needs no other one is not scattered.
    let chains = chains.into_values().filter(|chain| chain.pieces.len() > 1);
    chains.map(|mut chain| {
        chain.pieces.reverse();
        chain
    })
}

impl Link {
    /// Whether a piece continues this one, or is the same one again. Text after a piece can look like a few
    /// more bytes of it. A program cuts a token into pieces of about the same length, so a word that looks like a
    /// few bytes does not continue a long piece.
    fn is_before(&self, link: &Self) -> bool {
        let distance = link.piece.start.checked_sub(self.piece.end);
        let (length, end) = (self.piece.len(), self.from + self.piece.len());
        let continues = (end.saturating_sub(CHANCE)..=end).contains(&link.from) && link.from > self.from;
        let is_next = continues && 2 * link.piece.len() >= length;
        let is_same = link.from == self.from && link.piece.len() + CHANCE >= length;
        distance.is_some_and(|distance| distance <= LONGEST_GAP as usize) && (is_next || is_same)
    }
}

/// Calls `see` with each piece in a text that is as long as it can be, and with the index of its secret.
fn each_link(secrets: &Secrets, text: &[u8], see: &mut dyn FnMut(u32, Link)) {
    let mut latest: Vec<(u32, Link)> = Vec::new();
    let mut word = 0;
    for (end, byte) in (1..).zip(text) {
        word = word >> 8 | u32::from(*byte) << 16;
        if end < LINK || !secrets.may_link(word) {
            continue;
        }
        let at = end - LINK;
        latest.retain(|(_, link)| link.piece.end > at);
        for Place { secret, at: from } in secrets.linked(&text[at..]) {
            let from = from as usize;
            // The words of one piece are at the same distance from the beginning of the secret.
            let is_of =
                |(other, link): &(u32, Link)| *other == secret && link.from + (at - link.piece.start) == from;
            if latest.iter().any(is_of) {
                continue;
            }
            let (before, after) = secrets.get(secret).bytes().split_at(from);
            let same = |(one, other): &(&u8, &u8)| one == other;
            let pairs = before.iter().rev().zip(text[..at].iter().rev());
            let first = pairs.take_while(same).count();
            let rest = after.iter().zip(&text[at..]).take_while(same).count();
            let link = Link {
                piece: at - first..at + rest,
                from: from - first,
            };
            latest.push((secret, link.clone()));
            see(secret, link);
        }
    }
}
