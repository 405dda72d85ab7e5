//! Pieces of a signature in their order, with any other text between them. One program prints the pieces, and
//! another one writes to the same log: `sPoablDEBUG:root:sent 6`.

use super::{View, is_near_end, uses};
use crate::{
    secrets::{Place, Secrets},
    text::{LONGEST_GAP, Text},
};

/// The least number of different bytes in the pieces of a chain. In random text, three bytes of a signature
/// are seldom near the three before them. So a chain of four pieces is not there by chance.
const LEAST_IN_CHAIN: usize = 12;

/// The number of pieces before a piece among which the view looks for the one that the piece continues. Most
/// text has few pieces.
const MOST_BEFORE: usize = 64;

/// The greatest number of times that a log can show each piece, such as once in a trace and once as output.
const TIMES: usize = 4;

/// A piece of at least three bytes.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// The position of the piece in the text.
    pub(crate) at: usize,
    pub(crate) length: usize,
    /// The piece's place in a secret.
    place: Place,
}

/// A piece, and the pieces that it continues.
struct Node {
    link: Link,
    /// The index of the piece before.
    before: Option<usize>,
    /// The end of the chain's part of the secret.
    end: usize,
    /// The number of different bytes in the chain.
    count: usize,
    is_last: bool,
}

impl Link {
    pub(crate) fn end(&self) -> usize {
        self.at + self.length
    }

    fn start_of_part(&self) -> usize {
        self.place.at as usize
    }

    fn end_of_part(&self) -> usize {
        self.start_of_part() + self.length
    }
}

/// Calls `emit` with the pieces of each chain as one text. If the log shows a piece several times, also calls
/// it with the second one of each, and so on.
pub(crate) fn scattered(secrets: &Secrets, text: &Text, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Scattered) {
        return;
    }
    chains(secrets, &text.bytes, &mut |chain| {
        let same: Vec<_> = chain.chunk_by(|one, other| one.place == other.place).collect();
        let times = same.iter().map(|same| same.len()).max().unwrap_or(0);
        for time in 0..times.min(TIMES) {
            emit(together(
                &mut same.iter().map(|same| same[time.min(same.len() - 1)]),
                text,
            ));
        }
    });
}

/// Some pieces as one text. Each byte of the secret is there once.
fn together(links: &mut dyn Iterator<Item = Link>, text: &Text) -> Text {
    let mut out = Text::default();
    let mut end = None;
    for link in links {
        let known = end.map_or(0, |end: usize| end.saturating_sub(link.start_of_part()));
        if known >= link.length {
            continue;
        }
        // A shorter copy of the piece before may lack its end.
        if end.is_some_and(|end| end < link.start_of_part()) {
            out.cut();
        }
        for at in link.at + known..link.end() {
            let is_first = at == link.at + known;
            // The first byte also stands for the ones that the text has already.
            let from = text.from(if is_first { link.at } else { at });
            out.push_near(text.bytes[at], from, text.to(at), is_first || text.is_parted(at));
        }
        end = Some(link.end_of_part());
    }
    out.goes_on = text.goes_on && is_near_end(&out, text);
    out
}

/// Calls `emit` with the pieces of each chain in a text.
pub(crate) fn chains(secrets: &Secrets, text: &[u8], emit: &mut dyn FnMut(&[Link])) {
    let mut nodes: Vec<Node> = Vec::new();
    each_link(secrets, text, &mut |link| {
        let near = nodes.iter().enumerate().rev().take(MOST_BEFORE);
        let before = near.filter(|(_, node)| node.is_before(&link));
        let before = before.max_by_key(|(index, node)| (node.count, *index));
        let (before, known, count) = match before {
            Some((index, node)) => (Some(index), node.end, node.count),
            None => (None, link.start_of_part(), 0),
        };
        if let Some(before) = before {
            nodes[before].is_last = false;
        }
        let end = known.max(link.end_of_part());
        nodes.push(Node {
            before,
            end,
            count: count + end - known.max(link.start_of_part()),
            is_last: true,
            link,
        });
    });
    let is_chain = |node: &&Node| node.is_last && node.before.is_some() && node.count >= LEAST_IN_CHAIN;
    for last in nodes.iter().filter(is_chain) {
        let mut chain = vec![last.link];
        let mut before = last.before;
        while let Some(node) = before.map(|index| &nodes[index]) {
            chain.push(node.link);
            before = node.before;
        }
        chain.reverse();
        emit(&chain);
    }
}

impl Node {
    /// Whether a piece continues this one, or is the same one again. Text after a piece can look like a few
    /// more bytes of it.
    fn is_before(&self, link: &Link) -> bool {
        let distance = link.at.checked_sub(self.link.end());
        self.link.place.secret == link.place.secret
            && distance.is_some_and(|distance| distance <= LONGEST_GAP as usize)
            && (self.link.start_of_part()..=self.link.end_of_part()).contains(&link.start_of_part())
    }
}

/// Calls `see` with each piece in a text that is as long as it can be.
fn each_link(secrets: &Secrets, text: &[u8], see: &mut dyn FnMut(Link)) {
    let mut latest: Vec<Link> = Vec::new();
    for at in 0..text.len() {
        if !secrets.may_link(&text[at..]) {
            continue;
        }
        for place in secrets.linked(&text[at..]) {
            latest.retain(|link| link.end() > at);
            // The pieces that begin at the same distance from the beginning of a secret are one.
            let is_of = |link: &Link| {
                link.place.secret == place.secret
                    && at - link.at == (place.at as usize).wrapping_sub(link.start_of_part())
            };
            if latest.iter().any(is_of) {
                continue;
            }
            let signature = secrets.signature(place.secret);
            let (before, after) = signature.split_at(place.at as usize);
            let same = |(one, other): &(&u8, &u8)| one == other;
            let pairs = before.iter().rev().zip(text[..at].iter().rev());
            let first = pairs.take_while(same).count();
            let rest = after.iter().zip(&text[at..]).take_while(same).count();
            let link = Link {
                at: at - first,
                length: first + rest,
                place: Place {
                    at: place.at - first as u32,
                    ..place
                },
            };
            latest.push(link);
            see(link);
        }
    }
}
