//! The forms of all secrets, prepared for the search.

use std::ops::RangeInclusive;

use memchr::memmem;
use zeroize::Zeroizing;

use crate::{ESCAPE, LEAST, PIECE, forms::Form, grams::Grams};

/// A form to search for.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: Zeroizing<String>,
    /// The number of bytes at the beginning that are not secret.
    public: usize,
    /// The number of secret bytes in a row that count as a piece.
    need: usize,
    /// Whether the pattern is a part of another form of the same secret.
    is_part: bool,
}

pub(crate) struct Patterns {
    list: Vec<Pattern>,
    /// The patterns that begin with each byte.
    first: Vec<Vec<usize>>,
    /// Every position inside a pattern at which a piece can begin, sorted by the 4 bytes there.
    inside: Vec<Inside>,
    grams: Grams,
    stride: usize,
    has_escape: bool,
}

pub(crate) struct Inside {
    key: u32,
    pub(crate) pattern: usize,
    pub(crate) at: usize,
}

impl Patterns {
    /// Creates the patterns of some secrets. Each item has all forms of one secret.
    pub(crate) fn new(secrets: impl IntoIterator<Item = Vec<Form>>) -> Self {
        Self::of(secrets.into_iter().flat_map(Pattern::all).collect())
    }

    /// Creates the same patterns, and those of one more secret.
    pub(crate) fn with(&self, secret: Vec<Form>) -> Self {
        Self::of(self.list.iter().cloned().chain(Pattern::all(secret)).collect())
    }

    fn of(mut list: Vec<Pattern>) -> Self {
        list.sort_by(|a, b| (&*a.text, a.public).cmp(&(&*b.text, b.public)));
        list.dedup_by(|b, a| {
            let is_same = a.text == b.text;
            a.is_part |= is_same && b.is_part;
            is_same
        });

        let mut first = vec![Vec::new(); 256];
        for (at, pattern) in list.iter().enumerate() {
            first[usize::from(pattern.bytes()[0])].push(at);
        }
        // A piece of a part is also a piece of the whole form.
        let wholes = list.iter().enumerate().filter(|(_, pattern)| !pattern.is_part);
        let mut inside: Vec<_> = wholes.flat_map(|(at, pattern)| pattern.inside(at)).collect();
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

    pub(crate) fn get(&self, pattern: usize) -> &Pattern {
        &self.list[pattern]
    }

    /// The index in `self` of the pattern with the index `pattern` in `other`.
    pub(crate) fn place(&self, pattern: usize, other: &Self) -> Option<usize> {
        let text = &other.list[pattern].text;
        self.list.binary_search_by(|pattern| pattern.text.cmp(text)).ok()
    }

    pub(crate) fn beginning_with(&self, byte: u8) -> &[usize] {
        &self.first[usize::from(byte)]
    }

    /// The positions at which a piece can begin with these 1 to 4 bytes. The last byte is the lowest.
    pub(crate) fn inside(&self, bytes: u32, count: u32) -> &[Inside] {
        let free = u32::BITS - 8 * count;
        let keys: RangeInclusive<u32> = bytes << free..=bytes << free | ((1_u64 << free) - 1) as u32;
        let from = self.inside.partition_point(|inside| inside.key < *keys.start());
        let to = self.inside.partition_point(|inside| inside.key <= *keys.end());
        &self.inside[from..to]
    }

    pub(crate) fn grams(&self) -> &Grams {
        &self.grams
    }

    /// The largest distance between two looked-up words with which the search misses no piece.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Whether a secret contains an escape sequence.
    pub(crate) fn has_escape(&self) -> bool {
        self.has_escape
    }
}

impl Pattern {
    /// All forms of one secret.
    fn all(forms: Vec<Form>) -> Vec<Self> {
        let is_part = |form: &Form| {
            forms.iter().any(|whole| {
                whole.text.len() > form.text.len()
                    && memmem::find(whole.text.as_bytes(), form.text.as_bytes()).is_some()
            })
        };
        let parts: Vec<_> = forms.iter().map(is_part).collect();
        let patterns = forms.into_iter().zip(parts).map(|(form, is_part)| Self {
            need: PIECE.min(form.text.len() - form.public),
            public: form.public,
            text: form.text,
            is_part,
        });
        patterns.collect()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(crate) fn public(&self) -> usize {
        self.public
    }

    /// The number of bytes that the range from `from` to `to` still lacks to be a piece.
    pub(crate) fn left(&self, from: usize, to: usize) -> usize {
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
