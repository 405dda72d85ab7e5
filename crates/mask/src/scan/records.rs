//! Looks at records that have one number in each of some lines, such as `"code": 101` in a list of objects.

use std::ops::Range;

use super::{AROUND, OVERLAP, PART, Scan, decode::table};
use crate::classes::{BLOCK, Bits, Class};

/// The least number of samples with a digit among eight in a row.
const DIGITS: u32 = 4;

/// The least number of line breaks in the two blocks before a sample.
const BREAKS: u32 = 3;

/// The number of bytes around a sample in which the texts between the numbers of a list must be equal.
const SEEN: usize = 4 * AROUND;

impl Scan<'_> {
    /// Numbers that stand behind the same label, in short lines. `digits` are the samples with a digit.
    pub(super) fn records(&self, digits: &[u64], step: usize, see: &mut dyn FnMut(Range<usize>)) {
        let breaks = self.bits(Class::LineBreak);
        let digits = frequent(digits);
        let mut next = 0;
        while let Some(sample) = Bits(&digits).first_from(next) {
            let at = sample * step;
            next = sample + 1;
            let lines = [at, at.saturating_sub(BLOCK)].map(|at| breaks.before(at).count_ones());
            if lines[0] + lines[1] < BREAKS {
                continue;
            }
            let end = if self.is_list(self.around(SEEN, at, SEEN)) {
                let part = self.around(SEEN, at, PART);
                table(self.look.secrets, &self.text[part.clone()], &mut |_| {
                    see(part.clone())
                });
                part.end.saturating_sub(AROUND)
            } else if self.is_short {
                at
            } else {
                // The records of a long secret are longer than the skipped text.
                at + OVERLAP
            };
            next = next.max(end / step);
        }
    }
}

/// The samples with at least [`DIGITS`] set samples among the eight that end with the sample itself.
fn frequent(samples: &[u64]) -> Vec<u64> {
    let mut before = 0;
    let frequent = samples.iter().map(|&bits| {
        let all = u128::from(bits) << BLOCK | u128::from(std::mem::replace(&mut before, bits));
        // Most text has few digits.
        if (all >> (BLOCK - 7)).count_ones() < DIGITS {
            return 0;
        }
        // The binary digits of each count. The last one stays set from four on.
        let (mut one, mut two, mut four) = (0, 0, 0);
        for back in 0..8 {
            let bits = (all << back >> BLOCK) as u64;
            let carry = one & bits;
            one ^= bits;
            four |= two & carry;
            two ^= carry;
        }
        bits & four
    });
    frequent.collect()
}
