//! Skips text without a piece, including the colours in that text.

use memchr::memchr;

use crate::{ESCAPE, LEAST, PIECE, cursors::LONGEST_GAP, patterns::Patterns};

/// The greatest number of visible bytes, on one side of an escape sequence, that can belong to a piece around
/// it.
const SIDE: usize = PIECE - 1;

/// The visible bytes around an escape sequence.
struct Around {
    bytes: [u8; 2 * SIDE],
    /// The position at which to begin reading, for each byte before the sequence.
    from: [usize; SIDE],
    before: usize,
    /// The length of the shortest piece, minus one byte.
    side: usize,
}

impl Patterns {
    /// The first position in a text at which a piece may begin. The caller can skip the bytes before it.
    ///
    /// If an escape sequence cuts a piece in two, the visible bytes around the sequence hold a word of that
    /// piece. Reading cannot begin right after a sequence, because only the bytes before it tell whether a
    /// line begins there.
    pub(crate) fn skip(&self, text: &[u8]) -> usize {
        let mut around = Around::new(self.stride() + LEAST - 2);
        let (mut begin, mut plain) = (0, 0);
        loop {
            let escape = memchr(ESCAPE, &text[plain..]).map_or(text.len(), |ahead| plain + ahead);
            let place = match self.grams().find(&text[plain..escape], self.stride()) {
                // The search would have found a piece that begins earlier one stride before.
                Ok(found) => Some((found + 1).saturating_sub(self.stride())),
                Err(next) if escape == text.len() || self.has_escape() => {
                    Some((next + 1).saturating_sub(self.stride()))
                }
                Err(_) => None,
            };
            match place {
                Some(0) => return begin,
                Some(place) => return plain + place,
                None => around.push(text, begin, plain..escape),
            }
            let behind = sequences(text, escape).filter(|behind| around.look(text, *behind));
            match behind {
                Some(behind)
                    if self
                        .grams()
                        .find(&around.bytes[..around.before + around.side], self.stride())
                        .is_err()
                        && !self.begins_in(text, escape..behind) =>
                {
                    (begin, plain) = (escape, behind);
                }
                _ => return around.begin().unwrap_or(begin),
            }
        }
    }

    /// Whether a word begins in the sequences themselves. A terminal does not show the digits in them, but
    /// they can be digits of a secret.
    fn begins_in(&self, text: &[u8], sequences: std::ops::Range<usize>) -> bool {
        let last = text.len().min(sequences.end + LEAST - 1);
        self.grams().find(&text[sequences.start..last], 1).is_ok()
    }
}

impl Around {
    fn new(side: usize) -> Self {
        Self {
            bytes: [0; 2 * SIDE],
            from: [0; SIDE],
            before: 0,
            side,
        }
    }

    /// Adds plain text. Unless the text is the first one, it follows a sequence that begins at `begin`.
    fn push(&mut self, text: &[u8], begin: usize, plain: std::ops::Range<usize>) {
        let added = plain.len().min(self.side);
        let kept = self.before.min(self.side - added);
        self.bytes.copy_within(self.before - kept..self.before, 0);
        self.from.copy_within(self.before - kept..self.before, 0);
        self.before = kept + added;
        let first = plain.end - added;
        self.bytes[kept..self.before].copy_from_slice(&text[first..plain.end]);
        for (at, from) in self.from[kept..self.before].iter_mut().enumerate() {
            *from = if first + at == plain.start {
                begin
            } else {
                first + at
            };
        }
    }

    /// Reads the visible bytes after the sequence. Returns whether they are enough to decide.
    fn look(&mut self, text: &[u8], mut at: usize) -> bool {
        let ahead = &mut self.bytes[self.before..][..self.side];
        let mut seen = 0;
        while seen < ahead.len() {
            let rest = &text[at..];
            let wanted = rest.len().min(ahead.len() - seen);
            let plain = memchr(ESCAPE, &rest[..wanted]).unwrap_or(wanted);
            ahead[seen..seen + plain].copy_from_slice(&rest[..plain]);
            seen += plain;
            at += plain;
            if seen < ahead.len() {
                match sequences(text, at) {
                    Some(behind) => at = behind,
                    None => return false,
                }
            }
        }
        true
    }

    fn begin(&self) -> Option<usize> {
        (self.before > 0).then(|| self.from[0])
    }
}

/// The end of the CSI sequences that begin here. `None` if no sequence begins here, or if the last one is
/// incomplete.
fn sequences(text: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    while text.get(at) == Some(&ESCAPE) {
        let sequence = &text[at..];
        let parameters = sequence
            .iter()
            .skip(2)
            .take_while(|byte| (b' '..=b'?').contains(byte));
        let length = 3 + parameters.count();
        let is_csi = sequence.get(1) == Some(&b'[') && length <= LONGEST_GAP as usize;
        if !is_csi
            || !sequence
                .get(length - 1)
                .is_some_and(|last| (b'@'..=b'~').contains(last))
        {
            return None;
        }
        at += length;
    }
    (at > begin).then_some(at)
}
