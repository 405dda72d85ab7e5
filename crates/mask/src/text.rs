//! A text as a view reads it: bytes, each with the stretch of the log that it stands for.

/// The greatest distance, in bytes of the log, between two bytes that a view reads as neighbours.
pub(crate) const LONGEST_GAP: u32 = 256;

/// The byte that stands for a place where a view reads no further. No piece spans it.
const BREAK: u8 = b'\n';

/// The bytes that a view reads. Positions count from the beginning of the window of the log.
#[derive(Default, Clone)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// The stretch of the log that each byte stands for.
    from: Vec<u32>,
    to: Vec<u32>,
    /// Whether the view left out a separator right before each byte.
    parted: Vec<bool>,
    /// Whether the view left out a separator after the last byte.
    pub(crate) parted_at_end: bool,
    /// The position in the log from which on the bytes depend on the text that follows.
    pub(crate) unsure: Option<u32>,
    /// Whether the text comes from base64, which can end in padding.
    pub(crate) is_padded: bool,
    /// Whether a later byte of the log can follow the last byte.
    pub(crate) goes_on: bool,
}

impl Text {
    /// An empty text with room for bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            from: Vec::with_capacity(bytes),
            to: Vec::with_capacity(bytes),
            parted: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, byte: u8, from: u32, to: u32, parted: bool) {
        self.bytes.push(byte);
        self.from.push(from);
        self.to.push(to);
        self.parted.push(parted);
    }

    /// Adds a byte that stands for the bytes `first` to `last` of another text.
    pub(crate) fn push_from(&mut self, byte: u8, text: &Self, first: usize, last: usize) {
        let parted = text.parted[first..=last].contains(&true);
        self.push(byte, text.from[first], text.to[last], parted);
    }

    /// Ends all pieces here.
    pub(crate) fn cut(&mut self) {
        if let (Some(last), Some(&to)) = (self.bytes.last(), self.to.last())
            && *last != BREAK
        {
            self.push(BREAK, to, to, true);
        }
    }

    /// Adds a byte that replaces the ones before it if it is far away from them.
    pub(crate) fn push_near(&mut self, byte: u8, from: u32, to: u32, parted: bool) {
        if self
            .to
            .last()
            .is_some_and(|last| from.saturating_sub(*last) > LONGEST_GAP)
        {
            self.cut();
        }
        self.push(byte, from, to, parted);
    }

    pub(crate) fn from(&self, at: usize) -> u32 {
        self.from[at]
    }

    pub(crate) fn to(&self, at: usize) -> u32 {
        self.to[at]
    }

    pub(crate) fn is_parted(&self, at: usize) -> bool {
        self.parted[at]
    }

    /// A part of the text.
    pub(crate) fn part(&self, part: std::ops::Range<usize>) -> Self {
        let is_end = part.end == self.len();
        Self {
            bytes: self.bytes[part.clone()].to_vec(),
            from: self.from[part.clone()].to_vec(),
            to: self.to[part.clone()].to_vec(),
            parted: self.parted[part].to_vec(),
            parted_at_end: is_end && self.parted_at_end,
            unsure: self.unsure.filter(|_| is_end),
            is_padded: self.is_padded,
            goes_on: is_end && self.goes_on,
        }
    }

    /// The bytes that stay as they are, whatever follows.
    pub(crate) fn part_that_is_sure(&self) -> Self {
        Self {
            parted_at_end: self.parted_at_end,
            unsure: self.unsure,
            goes_on: self.goes_on,
            ..self.part(0..self.sure())
        }
    }

    /// The number of bytes that stay as they are, whatever follows.
    pub(crate) fn sure(&self) -> usize {
        self.unsure.map_or(self.len(), |unsure| {
            let after = self.to.iter().rev().take_while(|to| **to > unsure).count();
            self.len() - after
        })
    }
}
