//! Looks at base64 of short pieces, each with its own padding.

use std::ops::Range;

use super::{AROUND, OVERLAP, PART, Scan, decode::padded_bytes};
use crate::{
    classes::{BLOCK, Class, positions},
    views::{PADDED, padded_piece},
};

impl Scan<'_> {
    /// Padded pieces of base64 that are near one another.
    pub(super) fn padding(&self, see: &mut dyn FnMut(Range<usize>)) {
        let (mut recent, mut read_to) = ([0; PADDED - 1], 0);
        let pieces = self.paddings().filter_map(|at| padded_piece(self.text, at));
        for (count, piece) in pieces.enumerate() {
            let first = std::mem::replace(&mut recent[count % (PADDED - 1)], piece.start);
            let is_near = count + 1 >= PADDED && piece.end - first <= 2 * OVERLAP;
            if !is_near || piece.start < read_to {
                continue;
            }
            let part = self.around(2 * OVERLAP, piece.start, PART);
            read_to = part.end.saturating_sub(AROUND);
            if !self.is_known(&part) {
                padded_bytes(self.look, &self.text[part.clone()], self.depth, &mut |_| {
                    see(part.clone())
                });
            }
        }
    }

    /// The positions that may begin the padding of base64. Values of fields follow most other equals signs.
    fn paddings(&self) -> impl Iterator<Item = usize> {
        let (escapes, digits) = (self.bits(Class::Escape), self.bits(Class::Base64));
        let mut before = 0;
        (0..escapes.blocks()).flat_map(move |block| {
            let digit = digits.block(block);
            let after = digit >> 1 | digits.block(block + 1) << (BLOCK - 1);
            let before = digit << 1 | std::mem::replace(&mut before, digit >> (BLOCK - 1));
            positions(escapes.block(block) & before & !after).map(move |at| block * BLOCK + at)
        })
    }
}
