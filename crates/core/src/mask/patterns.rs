//! The forms of all secrets, made ready to be looked for.

use std::ops::RangeInclusive;

use memchr::memmem;
use zeroize::Zeroizing;

use super::{LEAST, PIECE, cursors::ESCAPE, forms::Form, grams::Grams};

/// A form that is looked for.
pub(super) struct Pattern {
    text: Zeroizing<String>,
    /// So many of its first bytes are no secret.
    public: usize,
    /// So many secret bytes in a row are a piece.
    need: usize,
}

pub(super) struct Patterns {
    list: Vec<Pattern>,
    /// By first byte, the patterns that begin so.
    first: Vec<Vec<usize>>,
    /// Every place inside a pattern where a piece can begin, sorted by the 4 bytes there.
    inside: Vec<Inside>,
    grams: Grams,
    stride: usize,
    has_escape: bool,
}

pub(super) struct Inside {
    key: u32,
    pub(super) pattern: usize,
    pub(super) at: usize,
}

impl Patterns {
    pub(super) fn new(forms: Vec<Form>) -> Self {
        let mut list: Vec<_> = forms.into_iter().map(Pattern::new).collect();
        list.sort_by(|a, b| (&*a.text, a.public).cmp(&(&*b.text, b.public)));
        list.dedup_by(|b, a| a.text == b.text);

        let mut first = vec![Vec::new(); 256];
        for (at, pattern) in list.iter().enumerate() {
            first[usize::from(pattern.bytes()[0])].push(at);
        }
        let mut inside = Vec::new();
        for (at, pattern) in list.iter().enumerate() {
            // A piece of a part is a piece of the whole.
            let is_part = |whole: &Pattern| {
                whole.bytes().len() > pattern.bytes().len()
                    && memmem::find(whole.bytes(), pattern.bytes()).is_some()
            };
            if !list.iter().any(is_part) {
                inside.extend(pattern.inside(at));
            }
        }
        inside.sort_unstable_by_key(|inside| inside.key);
        let shortest = list.iter().map(|pattern| pattern.need).min().unwrap_or(PIECE);
        Self {
            first,
            inside,
            grams: Grams::new(list.iter().map(Pattern::bytes)),
            stride: shortest - LEAST + 1,
            has_escape: list.iter().any(|pattern| pattern.bytes().contains(&ESCAPE)),
            list,
        }
    }

    pub(super) fn get(&self, pattern: usize) -> &Pattern {
        &self.list[pattern]
    }

    pub(super) fn beginning_with(&self, byte: u8) -> &[usize] {
        &self.first[usize::from(byte)]
    }

    /// Where a piece can begin with these bytes, 1 to 4 of them, the last one lowest.
    pub(super) fn inside(&self, bytes: u32, count: u32) -> &[Inside] {
        let free = u32::BITS - 8 * count;
        let keys: RangeInclusive<u32> = bytes << free..=bytes << free | ((1_u64 << free) - 1) as u32;
        let from = self.inside.partition_point(|inside| inside.key < *keys.start());
        let to = self.inside.partition_point(|inside| inside.key <= *keys.end());
        &self.inside[from..to]
    }

    pub(super) fn grams(&self) -> &Grams {
        &self.grams
    }

    /// How far apart words of the text can be looked up so that no piece is missed.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Whether a secret has an escape sequence in it.
    pub(super) fn has_escape(&self) -> bool {
        self.has_escape
    }
}

impl Pattern {
    fn new(form: Form) -> Self {
        Self {
            need: PIECE.min(form.text.len() - form.public),
            public: form.public,
            text: form.text,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(super) fn public(&self) -> usize {
        self.public
    }

    /// How many more bytes make a piece of what begins at `from` and has been found up to `to`.
    pub(super) fn left(&self, from: usize, to: usize) -> usize {
        self.need.saturating_sub(to.saturating_sub(from.max(self.public)))
    }

    fn inside(&self, pattern: usize) -> impl Iterator<Item = Inside> {
        let last = self.bytes().len() - self.need;
        let keys = self.bytes().windows(4).enumerate().skip(1);
        keys.take_while(move |(at, _)| *at <= last)
            .filter_map(move |(at, bytes)| {
                let key = u32::from_be_bytes(*bytes.first_chunk()?);
                Some(Inside { key, pattern, at })
            })
    }
}
