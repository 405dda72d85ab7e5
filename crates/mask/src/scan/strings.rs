//! Looks at lists of short strings with escapes.

use std::ops::Range;

use super::{COUNTED, OVERLAP, PART, SEEN_IN_NUMBERS, Scan, words};
use crate::views::string_bytes;

/// The number of escapes that are near one another in a list of strings.
const ESCAPES: usize = COUNTED;

impl Scan<'_> {
    /// Strings with escapes of bytes. Each line can have one string behind a label.
    pub(super) fn strings(&self, see: &mut dyn FnMut(Range<usize>)) {
        let (mut recent, mut read_to) = ([0; ESCAPES - 1], 0);
        let escapes = memchr::memchr_iter(b'\\', self.text).filter(|at| is_byte(&self.text[at + 1..]));
        for (count, at) in escapes.enumerate() {
            let first = std::mem::replace(&mut recent[count % (ESCAPES - 1)], at);
            if count + 1 < ESCAPES || at - first > 2 * OVERLAP || at < read_to {
                continue;
            }
            let part = self.around(2 * OVERLAP, at, PART);
            read_to = part.end.saturating_sub(OVERLAP);
            if !self.is_known(&part) {
                self.strings_of(&part, see);
            }
        }
    }

    /// Looks up words of the bytes of short strings.
    pub(super) fn strings_of(&self, part: &Range<usize>, see: &mut dyn FnMut(Range<usize>)) {
        string_bytes(&self.text[part.clone()], &mut |bytes| {
            words(self.look.secrets, bytes, SEEN_IN_NUMBERS, &mut |_| {
                see(part.clone())
            });
        });
    }
}

/// Whether a backslash before a text begins an escape of a byte by its number. The backslash can have an
/// escape of its own. Leaves out colours, and the characters that JSON for web pages escapes.
fn is_byte(text: &[u8]) -> bool {
    match text {
        [b'x', b'1', b'b' | b'B', ..] => false,
        [b'u', b'0', b'0', b'2' | b'3', ..] | [b'u', b'0', b'0', b'1', b'b' | b'B', ..] => false,
        [b'x', digit, ..] => digit.is_ascii_hexdigit(),
        [b'u', b'0', b'0', ..] => true,
        [digit, ..] => digit.is_ascii_digit(),
        [] => false,
    }
}
