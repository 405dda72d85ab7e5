//! The decision whether to mask a piece of a secret.
//!
//! A *piece* is a stretch of the log that stands for a part of a secret. The *window* is the part of the log
//! that the masker has in memory.

use std::{collections::VecDeque, ops::Range};

use crate::{
    PIECE,
    search::{LOSS, Piece},
    secrets::{LONG, Secret, Secrets},
    stream::merged,
    views::{View, is_token_byte, uses},
};

/// The bytes that may be between masked text and a piece that follows it.
const BETWEEN: &[u8] = b" \t\r\n|\"',\\";

/// The greatest distance, in bytes of the log, between a piece and the one that continues it.
const DISTANCE: u64 = 1024;

/// The number of bytes of the secret that may be in two pieces, at the end of one and at the beginning of the
/// next. By chance, a decoration between two pieces can look like a few bytes of the secret.
const OVERLAP: i64 = 4;

/// The number of pieces that the masker remembers.
const MOST: usize = 512;

/// If the window begins within a piece, a view finds only the rest of the piece. The rest begins less than
/// this many bytes after the beginning of the window.
const CUT: u32 = 256;

/// The least number of hexadecimal digits of the address at the start of a dump's line.
const ADDRESS: usize = 4;

/// The number of bytes before a piece in which the masker looks for the beginning of the line.
const INDENT: usize = 64;

/// The greatest number of bytes that a piece can have behind a stretch of a whole secret by chance: the first
/// digits of a dump's next address can continue the text column before them.
const CHANCE: u64 = 4;

/// The latest pieces, by which the masker judges the next ones.
#[derive(Clone, Default)]
pub(crate) struct Pieces {
    known: VecDeque<Known>,
    /// The stretches of the latest whole secrets, merged. Positions count from the beginning of the log.
    whole: Vec<Range<u64>>,
}

/// A piece. Positions count from the beginning of the log.
#[derive(Clone)]
struct Known {
    span: Range<u64>,
    secret: u32,
    part: Range<u32>,
    /// The number of secret bytes in this piece and in the pieces that it continues.
    own: usize,
    /// Whether this piece, or one that it continues, is long enough that other text seldom has it by chance.
    is_rare: bool,
    is_masked: bool,
    /// The ends of the stretches that the masker replaces.
    ends: Vec<u64>,
}

impl Pieces {
    /// Whether to mask a piece. Callers pass the pieces in the order in which they begin. `base` is the
    /// position of the window in the log.
    pub(crate) fn is_masked(&mut self, secrets: &Secrets, piece: &Piece, window: &[u8], base: u64) -> bool {
        let span = base + u64::from(piece.from)..base + u64::from(piece.to);
        self.known.retain(|known| known.span.end + DISTANCE >= span.start);
        self.whole.retain(|whole| whole.end > span.start);
        let secret = secrets.get(piece.secret);
        let (from, to) = (piece.part.start as usize, piece.part.end as usize);
        let stretches = || {
            let stretches = piece.stretches.iter();
            stretches.map(|stretch| base + u64::from(stretch.start)..base + u64::from(stretch.end))
        };
        let is_whole = to - from == secret.bytes().len() && to - from >= LONG;
        if is_whole {
            self.whole.extend(stretches());
            self.whole = merged(std::mem::take(&mut self.whole));
        }
        // Another secret can begin with this one. So the masker remembers the piece, and the rest continues
        // it.
        let is_chance = !is_whole && self.is_chance(span.start, span.end);
        // The window may begin within a piece that an earlier window has as a whole. A view can find the same
        // part in another way, with other stretches.
        let ends: Vec<_> = stretches().map(|stretch| stretch.end).collect();
        let is_rest = |known: &&Known| {
            (known.secret, known.part.end) == (piece.secret, piece.part.end)
                && known.span.start < span.start
                && known.ends.ends_with(&ends)
        };
        if base > 0
            && piece.from < CUT
            && let Some(known) = self.known.iter().find(is_rest)
        {
            return known.is_masked;
        }
        let own = secret.own(from, to);
        let mut before = None;
        // The search leaves out the first bytes of a piece of decoded bytes, but it has found them.
        let first = from.saturating_sub(secret.hidden_after());
        let mut is_rare = secret.is_sole(first, to);
        for known in &self.known {
            if uses(View::Chain) && known.is_before(secrets, piece, &span, window, base) {
                // Bytes of the secret that are in both pieces count once.
                let rest = to.min(from.max(known.part.end as usize));
                before = before.max(Some(known.own + secret.own(rest, to)));
                is_rare |= known.is_rare;
            }
        }
        let chain = own.max(before.unwrap_or(0));
        let lost = |bytes: usize| if bytes > 0 { bytes + piece.loss } else { 0 };
        let sole = lost(secret.sole(from.saturating_sub(secret.counted_before()), to));
        let (piece_of_any, most) = (secret.need(PIECE), secret.need_of_sole());
        // A piece can also begin before the claims or the signature, and contain their beginning.
        let begins = secret.starts.iter().any(|start| {
            *start == from || (from..to).contains(start) && lost(secret.own(*start, to)) >= piece_of_any
        });
        let is_masked = sole >= most
            || before.is_some() && is_rare && chain >= piece_of_any
            || begins && lost(own) >= piece_of_any
            || sole >= piece_of_any
                && (begins_line(&window[..piece.from as usize]) || self.follows_mark(&span, window, base));
        let is_masked = is_masked && !is_chance;
        let new = Known {
            span,
            secret: piece.secret,
            part: piece.part.clone(),
            own: chain,
            is_rare,
            is_masked,
            ends,
        };
        // The masker judges a piece again as long as its end is undecided.
        if let Some(known) = self.known.iter_mut().find(|known| known.is_same(&new)) {
            known.own = known.own.max(chain);
            known.is_rare |= is_rare;
            known.is_masked |= is_masked;
            return known.is_masked;
        }
        if self.known.len() == MOST {
            self.known.pop_front();
        }
        self.known.push_back(new);
        is_masked
    }

    /// Replaces the indexes of secrets in `old` by those in `new`. Forgets the pieces of secrets that `new`
    /// lacks.
    pub(crate) fn follow(&mut self, new: &Secrets, old: &[Secret]) {
        self.known.retain_mut(|known| {
            let index = new.index_of(&old[known.secret as usize]);
            known.secret = index.unwrap_or_default();
            index.is_some()
        });
    }

    /// Forgets all pieces.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a piece begins in a whole secret, and ends there, or a few bytes behind one of the secret's
    /// stretches.
    fn is_chance(&self, first: u64, end: u64) -> bool {
        let before = |position: u64| {
            let after = self.whole.partition_point(|whole| whole.start < position);
            self.whole[..after].last().map_or(0, |whole| whole.end)
        };
        before(first + 1) > first && before(end) + CHANCE >= end
    }

    fn follows_mark(&self, span: &Range<u64>, window: &[u8], base: u64) -> bool {
        // In a dump, the text column separates the stretches of one piece. So each end of a stretch counts.
        let ends = self
            .known
            .iter()
            .filter(|known| known.is_masked)
            .flat_map(|known| {
                let after = known.ends.partition_point(|end| *end <= span.start);
                known.ends[..after].last()
            });
        ends.into_iter().any(|end| {
            let from = end.checked_sub(base).map(|from| from as usize);
            let between = from.and_then(|from| window.get(from..(span.start - base) as usize));
            between.is_some_and(|between| between.iter().all(|byte| BETWEEN.contains(byte)))
        })
    }
}

impl Known {
    fn is_same(&self, other: &Self) -> bool {
        (&self.span, self.secret, &self.part) == (&other.span, other.secret, &other.part)
    }

    /// Whether a piece continues this one.
    fn is_before(
        &self,
        secrets: &Secrets,
        piece: &Piece,
        span: &Range<u64>,
        window: &[u8],
        base: u64,
    ) -> bool {
        let ahead = i64::from(piece.part.start) - i64::from(self.part.end);
        let between = self
            .span
            .end
            .checked_sub(base)
            .map(|from| from as usize..(span.start - base) as usize);
        let is_parted = || {
            let between = between.and_then(|between| window.get(between));
            between.is_some_and(|between| between.iter().any(|byte| !is_token_byte(*byte)))
        };
        // The window may begin within a piece.
        let is_cut = base > 0 && piece.from < CUT;
        let is_rest = is_cut && span.start < self.span.end && self.secret == piece.secret && ahead < 0;
        let is_next =
            (is_rest || (-OVERLAP..=0).contains(&ahead) || (0..=LOSS as i64).contains(&ahead) && is_parted())
                && self.span.start < span.start
                && span.end > self.span.end
                && self.part.start < piece.part.start;
        // Two tokens of one issuer have the same header.
        let bytes = |secret: u32| {
            let bytes = secrets.get(secret).bytes();
            bytes.get(self.part.start as usize..self.part.end as usize)
        };
        is_next && (self.secret == piece.secret || bytes(self.secret) == bytes(piece.secret))
    }
}

/// Whether a text ends at the beginning of a line, or after only spaces, tabs or the address of a dump in
/// that line.
fn begins_line(before: &[u8]) -> bool {
    let before = &before[before.len().saturating_sub(INDENT)..];
    let trimmed = |text: &'_ [u8], remove: fn(u8) -> bool| {
        text.iter()
            .rposition(|byte| !remove(*byte))
            .map_or(0, |last| last + 1)
    };
    let ends_line = |text: &[u8]| text.last().is_none_or(|last| b"\r\n".contains(last));
    let line = &before[..trimmed(before, |byte| b" \t".contains(&byte))];
    let digits = line.strip_suffix(b":").unwrap_or(line);
    let address = &digits[..trimmed(digits, |byte| byte.is_ascii_hexdigit())];
    ends_line(line)
        || (line.len() < before.len() && digits.len() - address.len() >= ADDRESS && ends_line(address))
}
