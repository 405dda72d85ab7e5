//! A text as a view returns it: bytes, each with the stretch of the log that it stands for.
//!
//! A *view* undoes one change that programs make to a text, such as base64, and returns another text.
//! *Separators* are all bytes that neither a token nor base64 without padding can have. A *piece* is a part
//! of a secret. The *window* is the part of the log that the masker has in memory.

use std::ops::Range;

use crate::stream::line_start;

/// The greatest distance, in bytes of the log, between two bytes that a view reads as neighbours.
pub(crate) const LONGEST_GAP: u32 = 1024;

/// The number of bytes before and after a place that can belong to one piece with it.
const NEAR: usize = 2 * LONGEST_GAP as usize;

/// The byte between two bytes that are far apart in the log. No piece spans it, unless the secret itself has
/// a line break there.
const BREAK: u8 = b'\n';

/// Bytes with their places in the log. Positions count from the beginning of the window.
#[derive(Default, Clone)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// The place of each byte.
    places: Vec<Place>,
    /// Whether the view left out a separator after the last byte.
    pub(crate) parted_at_end: bool,
    /// The position in the window after which later text can still change the bytes.
    pub(crate) unsure: Option<u32>,
    /// Whether the text comes from base64, which can end in padding.
    pub(crate) is_padded: bool,
    /// Whether a later byte of the log can follow the last byte.
    pub(crate) goes_on: bool,
}

/// The stretch of the log that a byte stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    from: u32,
    /// The end of the stretch. The highest bit tells whether the view left out a separator right before the
    /// byte. A window is much shorter than the other 31 bits allow.
    to: u32,
}

/// The highest bit of a place's end.
const PARTED: u32 = 1 << 31;

impl Place {
    fn new(from: u32, to: u32, is_parted: bool) -> Self {
        let parted = if is_parted { PARTED } else { 0 };
        Self {
            from,
            to: to | parted,
        }
    }

    fn to(self) -> u32 {
        self.to & !PARTED
    }

    fn is_parted(self) -> bool {
        self.to & PARTED != 0
    }
}

impl Text {
    /// A text in which each byte stands for itself.
    pub(crate) fn plain(bytes: &[u8]) -> Self {
        let mut text = Self::with_room(bytes.len());
        for (at, &byte) in (0..).zip(bytes) {
            text.push(byte, at, at + 1, false);
        }
        text
    }

    /// An empty text with room for bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            places: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, byte: u8, from: u32, to: u32, is_parted: bool) {
        self.bytes.push(byte);
        self.places.push(Place::new(from, to, is_parted));
    }

    /// Adds a byte that stands for the bytes `first` to `last` of another text.
    pub(crate) fn push_from(&mut self, byte: u8, text: &Self, first: usize, last: usize) {
        let is_parted = (first..=last).any(|at| text.is_parted(at));
        self.push(byte, text.from(first), text.to(last), is_parted);
    }

    /// Adds [`BREAK`] at the end, unless the text is empty or ends with one. No piece spans it, unless the
    /// secret itself has a line break there.
    pub(crate) fn cut(&mut self) {
        if let (Some(last), Some(place)) = (self.bytes.last(), self.places.last())
            && *last != BREAK
        {
            self.push(BREAK, place.to(), place.to(), true);
        }
    }

    /// Adds a byte. If the byte before it is more than [`LONGEST_GAP`] away, puts [`BREAK`] between the two,
    /// as [`Text::cut`] does.
    pub(crate) fn push_near(&mut self, byte: u8, from: u32, to: u32, parted: bool) {
        if self
            .places
            .last()
            .is_some_and(|last| from.saturating_sub(last.to()) > LONGEST_GAP)
        {
            self.cut();
        }
        self.push(byte, from, to, parted);
    }

    /// Adds bytes that stand for themselves: the first one for the byte of the log at `from`, and so on.
    pub(crate) fn extend_plain(&mut self, bytes: &[u8], from: u32) {
        if let Some((first, rest)) = bytes.split_first() {
            self.push_near(*first, from, from + 1, false);
            self.bytes.extend_from_slice(rest);
            self.places
                .extend((from + 1..from + bytes.len() as u32).map(|from| Place::new(from, from + 1, false)));
        }
    }

    /// Adds a part of another text, with [`BREAK`] between bytes that are far apart, as [`Text::push_near`]
    /// does. `is_parted` tells whether a separator is before the first byte.
    pub(crate) fn extend_near(&mut self, text: &Self, part: Range<usize>, is_parted: bool) {
        /// The number of bytes at a time. Most bytes of the log are neighbours.
        const CHUNK: usize = LONGEST_GAP as usize / 2;
        let mut start = part.start;
        while start < part.end {
            let end = part.end.min(start + CHUNK);
            let is_parted = start == part.start && is_parted || text.is_parted(start);
            self.push_near(text.bytes[start], text.from(start), text.to(start), is_parted);
            if text.from(end - 1).saturating_sub(text.to(start)) <= LONGEST_GAP {
                self.bytes.extend_from_slice(&text.bytes[start + 1..end]);
                self.places.extend_from_slice(&text.places[start + 1..end]);
            } else {
                for at in start + 1..end {
                    self.push_near(text.bytes[at], text.from(at), text.to(at), text.is_parted(at));
                }
            }
            start = end;
        }
    }

    pub(crate) fn from(&self, at: usize) -> u32 {
        self.places[at].from
    }

    pub(crate) fn to(&self, at: usize) -> u32 {
        self.places[at].to()
    }

    pub(crate) fn is_parted(&self, at: usize) -> bool {
        self.places[at].is_parted()
    }

    /// A part of the text.
    pub(crate) fn part(&self, part: Range<usize>) -> Self {
        let is_end = part.end == self.len();
        Self {
            bytes: self.bytes[part.clone()].to_vec(),
            places: self.places[part].to_vec(),
            parted_at_end: is_end && self.parted_at_end,
            unsure: self.unsure.filter(|_| is_end),
            is_padded: self.is_padded,
            goes_on: is_end && self.goes_on,
        }
    }

    /// The bytes that later text of the log cannot change.
    pub(crate) fn part_that_is_sure(&self) -> Self {
        Self {
            parted_at_end: self.parted_at_end,
            unsure: self.unsure,
            goes_on: self.goes_on,
            ..self.part(0..self.sure())
        }
    }

    /// The parts of this text that are near a change, if a view made this text from another one.
    pub(crate) fn changed(&self, before: &Self) -> Vec<Range<usize>> {
        let mut changes = Near::new(&self.bytes);
        let mut old = 0;
        for at in 0..self.len() {
            let is_same = |other: usize| {
                before.places.get(other) == Some(&self.places[at]) && before.bytes[other] == self.bytes[at]
            };
            if !is_same(old) {
                changes.add(at);
                let is_before = |place: &&Place| place.from < self.from(at);
                old += before.places[old..].iter().take_while(is_before).count();
            }
            old += usize::from(is_same(old));
        }
        if old < before.len() || self.unsure != before.unsure {
            changes.add(self.len());
        }
        changes.parts
    }

    /// The number of bytes that later text of the log cannot change.
    pub(crate) fn sure(&self) -> usize {
        self.unsure.map_or(self.len(), |unsure| {
            let after = self.places.iter().rev().take_while(|place| place.to() > unsure);
            self.len() - after.count()
        })
    }
}

/// The parts of a text that are near some places. Each begins with a whole line, unless the line is very long.
pub(crate) struct Near<'a> {
    text: &'a [u8],
    pub(crate) parts: Vec<Range<usize>>,
}

impl<'a> Near<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            parts: Vec::new(),
        }
    }

    /// Adds a place, which is after the others.
    pub(crate) fn add(&mut self, at: usize) {
        let end = self.text.len().min(at + NEAR);
        match self.parts.last_mut().filter(|last| at <= last.end + NEAR) {
            Some(last) => last.end = end,
            None => {
                let start = line_start(self.text, at.saturating_sub(NEAR));
                self.parts.push(start..end);
            }
        }
    }
}
