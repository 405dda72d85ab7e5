//! Looks at text without the control sequences of a terminal that a program printed as text.

use std::ops::Range;

use super::{AROUND, PART, Scan, only, scan, words};
use crate::views::{FEW_PRINTED, is_token_byte, printed, sequence};

/// The number of bytes in which the look counts control sequences.
const NEAR: usize = 512;

impl Scan<'_> {
    /// Control sequences, and characters that others replace. Some of them must be near one another.
    pub(super) fn printed(&self, see: &mut dyn FnMut(Range<usize>)) {
        let is_printed = |at: &usize| match self.text[*at..] {
            [b'[', ..] => sequence(&self.text[*at..]) > 0,
            [b'^', next, ..] => next == b'H',
            // Random bytes seldom have text on both sides of a backspace.
            _ => {
                let is_text = |byte: Option<&u8>| byte.is_some_and(|byte| (b' '..=b'~').contains(byte));
                is_text(self.text[..*at].last()) && is_text(self.text.get(at + 1))
            }
        };
        let places = memchr::memchr3_iter(b'[', b'^', 8, self.text).filter(is_printed);
        let (mut recent, mut read_to) = ([0; FEW_PRINTED - 1], 0);
        for (count, at) in places.enumerate() {
            let first = std::mem::replace(&mut recent[count % (FEW_PRINTED - 1)], at);
            if count + 1 < FEW_PRINTED || at < read_to || at - first > NEAR {
                continue;
            }
            let part = self.around(NEAR + AROUND, at, PART);
            read_to = part.end.saturating_sub(AROUND);
            let text = &self.text[part.clone()];
            let mut bytes = Vec::with_capacity(text.len());
            let mut from = 0;
            for hidden in printed(text) {
                bytes.extend_from_slice(&text[from..hidden.start]);
                from = hidden.end;
            }
            bytes.extend_from_slice(&text[from..]);
            let secrets = self.look.secrets;
            words(
                secrets,
                &only(&bytes, is_token_byte),
                self.look.least,
                &mut |_| see(part.clone()),
            );
            scan(self.look, &bytes, self.depth, &mut |_| see(part.clone()));
        }
    }
}
