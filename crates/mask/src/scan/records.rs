//! Looks at records that have one number in each of some lines, such as `"code": 101` in a list of objects.

use std::ops::Range;

use super::{AROUND, OVERLAP, PART, Scan, decode::table};
use crate::classes::{BLOCK, Bits, Class};

/// The number of samples in a row of which [`DIGITS`] have a digit.
const SAMPLES: usize = 8;
const DIGITS: u32 = 3;

/// The least number of line breaks in the two blocks before a position.
const BREAKS: u32 = 3;

/// The number of bytes around a sample in which the texts between the numbers of a list must be equal.
const SEEN: usize = 4 * AROUND;

impl Scan<'_> {
    /// Numbers that stand behind the same label, in short lines. `digits` are the samples with a digit.
    pub(super) fn records(&self, digits: &[u64], step: usize, see: &mut dyn FnMut(Range<usize>)) {
        let breaks = self.bits(Class::LineBreak);
        let stride = if self.is_short { step } else { BLOCK };
        let mut at = stride;
        while at < self.text.len() + stride {
            let here = breaks.before(at);
            // Most logs have longer lines.
            let is_short_line = here != 0 && {
                let before = breaks.before(at.saturating_sub(BLOCK));
                here.count_ones() + before.count_ones() >= BREAKS
            };
            let samples = || Bits(digits).before(at.div_ceil(step)) >> (BLOCK - SAMPLES);
            if is_short_line && samples().count_ones() >= DIGITS {
                if self.is_list(self.around(SEEN, at, SEEN)) {
                    let part = self.around(SEEN, at, PART);
                    table(self.look.secrets, &self.text[part.clone()], &mut |_| {
                        see(part.clone())
                    });
                    at = at.max(part.end.saturating_sub(AROUND));
                } else if !self.is_short {
                    // The records of a long secret are longer than the skipped text.
                    at += OVERLAP;
                }
            }
            at += stride;
        }
    }
}
