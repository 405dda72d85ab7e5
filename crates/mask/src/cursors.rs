//! The search for pieces of forms, byte by byte.

use crate::{
    ESCAPE,
    patterns::{Pattern, Patterns},
};

/// The length of the longest CSI sequence that may be inside a form.
pub(crate) const LONGEST_GAP: u32 = 64;

/// The bytes that may be between two pieces of one secret.
const BETWEEN: &[u8] = b" \t\r\n|\"',\\";

/// All patterns of which the latest bytes may be a part. Positions count from the beginning of the stream.
#[derive(Clone, Default)]
pub(crate) struct Cursors {
    live: Candidates,
    /// The candidates from before the current escape sequence.
    asleep: Candidates,
    gap: Option<Gap>,
    /// The end of the last escape sequence, if a piece may begin there.
    fresh_at: Option<u64>,
    /// The end of the last piece.
    masked_to: Option<u64>,
    /// Whether the stream has had only [`BETWEEN`] since then.
    between: bool,
    /// The positions in patterns at which pieces ended, while no other text has followed.
    torn: Vec<Torn>,
    /// Whether this byte is in the address at the start of a line of a dump.
    address: bool,
}

#[derive(Clone, Default)]
struct Candidates {
    cursors: Vec<Cursor>,
    seeds: Vec<Seed>,
}

/// A part of a pattern that the stream has from `start` on. The part ends at `at`.
#[derive(Clone)]
struct Cursor {
    pattern: usize,
    at: usize,
    /// The number of bytes that the part still lacks to be a piece. At 0, masking begins at `start`.
    left: usize,
    start: u64,
}

/// A position from which on the stream may hold the inside of a pattern. After 4 bytes, each of the few
/// patterns with these bytes gets a cursor.
#[derive(Clone)]
struct Seed {
    bytes: u32,
    count: u32,
    start: u64,
}

/// The end of a piece whose pattern continues at `at`.
#[derive(Clone)]
struct Torn {
    pattern: usize,
    at: usize,
    position: u64,
}

/// An unfinished escape sequence.
#[derive(Clone)]
struct Gap {
    length: u32,
    fresh: bool,
}

impl Cursors {
    /// Reads the byte at a position. `fresh` says whether a piece may begin there. Calls `mask` with every
    /// range to mask.
    pub(crate) fn read(
        &mut self,
        patterns: &Patterns,
        position: u64,
        byte: u8,
        fresh: bool,
        mask: &mut impl FnMut(u64, u64),
    ) {
        let separates = BETWEEN.contains(&byte);
        self.address = (fresh || self.address) && (separates || byte == b':' || byte.is_ascii_hexdigit());
        let fresh = fresh || self.between || self.fresh_at == Some(position);
        let after_piece = self.between || self.masked_to == Some(position);
        if byte == ESCAPE {
            self.asleep.clone_from(&self.live);
            self.gap = Some(Gap { length: 0, fresh });
        }
        if fresh && !separates {
            self.resume(patterns, position, byte);
        }
        self.advance(patterns, position, byte, mask);
        self.live.begin(patterns, position, byte, fresh);
        if !separates && !self.address && self.live.is_empty() && self.masked_to != Some(position + 1) {
            self.torn.clear();
        }
        self.between =
            separates && self.masked_to != Some(position + 1) && (after_piece || !self.torn.is_empty());
        self.pass_gap(position, byte);
    }

    /// Continues at the positions in patterns at which pieces ended. There, even a short end of a form is
    /// masked.
    fn resume(&mut self, patterns: &Patterns, position: u64, byte: u8) {
        for &Torn { pattern, at, .. } in &self.torn {
            let bytes = patterns.get(pattern).bytes();
            if bytes[at] == byte {
                self.live.cursors.push(Cursor {
                    pattern,
                    at,
                    left: patterns.get(pattern).left(at, at).min(bytes.len() - at),
                    start: position,
                });
            }
        }
    }

    fn advance(&mut self, patterns: &Patterns, position: u64, byte: u8, mask: &mut impl FnMut(u64, u64)) {
        let torn = &mut self.torn;
        let masked_to = &mut self.masked_to;
        self.live.cursors.retain_mut(|cursor| {
            let pattern = patterns.get(cursor.pattern);
            if pattern.bytes()[cursor.at] != byte {
                if BETWEEN.contains(&byte) && cursor.left == 0 {
                    tear(torn, pattern, cursor, position);
                }
                return false;
            }
            cursor.at += 1;
            if cursor.at > pattern.public() {
                cursor.left = cursor.left.saturating_sub(1);
            }
            if cursor.left == 0 {
                mask(cursor.start, position + 1);
                *masked_to = Some(position + 1);
                cursor.start = position + 1;
            }
            cursor.at < pattern.bytes().len()
        });
    }

    /// Reads a CSI sequence (ECMA-48, section 5.4): escape, `[`, parameters and intermediates, one final
    /// byte.
    fn pass_gap(&mut self, position: u64, byte: u8) {
        let Some(gap) = &mut self.gap else { return };
        gap.length += 1;
        match (gap.length, byte) {
            (1, ESCAPE) | (2, b'[') | (3..LONGEST_GAP, b' '..=b'?') => {}
            (3..=LONGEST_GAP, b'@'..=b'~') => {
                self.fresh_at = gap.fresh.then_some(position + 1);
                self.live.cursors.append(&mut self.asleep.cursors);
                self.live.seeds.append(&mut self.asleep.seeds);
                self.gap = None;
            }
            _ => {
                self.asleep = Candidates::default();
                self.gap = None;
            }
        }
    }

    /// Replaces the patterns `old` by `new`, which include all of `old` at other indexes.
    pub(crate) fn follow(&mut self, new: &Patterns, old: &Patterns) {
        let all = [&mut self.live, &mut self.asleep].into_iter();
        let cursors = all
            .flat_map(|all| &mut all.cursors)
            .map(|cursor| &mut cursor.pattern);
        let torn = self.torn.iter_mut().map(|torn| &mut torn.pattern);
        for pattern in cursors.chain(torn) {
            *pattern = new.place(*pattern, old).unwrap_or(*pattern);
        }
    }

    /// Whether no byte before this position matters to the bytes that follow.
    pub(crate) fn is_idle(&self, position: u64) -> bool {
        self.live.is_empty()
            && self.gap.is_none()
            && !self.between
            && self.torn.is_empty()
            && self.masked_to != Some(position)
    }

    /// The first position that may still become a part of a piece. Within a piece, that is an escape sequence
    /// after which the piece may continue.
    pub(crate) fn undecided(&self) -> Option<u64> {
        let all = [&self.live, &self.asleep];
        let cursors = all
            .into_iter()
            .flat_map(|all| &all.cursors)
            .map(|cursor| cursor.start);
        let seeds = all.into_iter().flat_map(|all| &all.seeds).map(|seed| seed.start);
        cursors.chain(seeds).min()
    }
}

impl Candidates {
    fn begin(&mut self, patterns: &Patterns, position: u64, byte: u8, fresh: bool) {
        let mut grown = Vec::new();
        self.seeds.retain_mut(|seed| {
            seed.bytes = seed.bytes << 8 | u32::from(byte);
            seed.count += 1;
            let found = patterns.inside(seed.bytes, seed.count);
            if seed.count == 4 {
                grown.extend(found.iter().map(|inside| Cursor {
                    pattern: inside.pattern,
                    at: inside.at + 4,
                    left: patterns.get(inside.pattern).left(inside.at, inside.at + 4),
                    start: seed.start,
                }));
            }
            seed.count < 4 && !found.is_empty()
        });
        self.cursors.append(&mut grown);
        if fresh && !patterns.inside(byte.into(), 1).is_empty() {
            self.seeds.push(Seed {
                bytes: byte.into(),
                count: 1,
                start: position,
            });
        }
        let first = patterns.beginning_with(byte).iter();
        self.cursors.extend(first.map(|&pattern| Cursor {
            pattern,
            at: 1,
            left: patterns.get(pattern).left(0, 1),
            start: position,
        }));
    }

    fn is_empty(&self) -> bool {
        self.cursors.is_empty() && self.seeds.is_empty()
    }
}

/// Records the position at which a piece of the pattern ended last.
fn tear(torn: &mut Vec<Torn>, pattern: &Pattern, cursor: &Cursor, position: u64) {
    torn.retain(|torn| torn.pattern != cursor.pattern || torn.position == position);
    let rest = &pattern.bytes()[cursor.at..];
    // Padding alone proves nothing: lines of `=` are frequent.
    if rest.iter().all(|byte| *byte == b'=') {
        return;
    }
    if let Some(ahead) = rest.iter().position(|byte| !BETWEEN.contains(byte)) {
        torn.push(Torn {
            pattern: cursor.pattern,
            at: cursor.at + ahead,
            position,
        });
    }
}
