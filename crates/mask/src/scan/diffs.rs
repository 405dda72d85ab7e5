//! Looks at the lines of a diff, without the signs at their beginnings.

use std::ops::Range;

use super::{AROUND, PART, Scan, scan};
use crate::{
    classes::Class,
    views::{DIFF_LINES, SIGNS, side, sign},
};

/// The number of lines among which many have a sign.
const RECENT: u32 = 8;

/// The least number of these lines that have any sign. Lists of YAML have fewer.
const MOST: usize = 6;

/// The greatest length of a line. The look finds the pieces in longer lines behind their signs.
const LINE: usize = 44;

/// The greatest length of a piece that the look does not find behind its sign.
const SHORT: usize = 12;

impl Scan<'_> {
    /// The old and the new lines of diffs.
    pub(super) fn diffs(&self, see: &mut dyn FnMut(Range<usize>)) {
        // For the latest lines, the lowest bit for the last one: whether they have each of the signs.
        let mut recent = [0_u64; 2];
        let (mut read_to, mut next) = (0, 0);
        // A short secret has few pieces.
        let most = if self.is_short { DIFF_LINES } else { MOST };
        let breaks = self.bits(Class::LineBreak).positions_from(0);
        for end in breaks.chain([self.text.len()]) {
            let start = std::mem::replace(&mut next, end + 1);
            let line = &self.text[start..end];
            let found = match line.len() {
                ..=LINE => sign(line).filter(|(_, at)| may_be_piece(&line[at + 1..])),
                _ => None,
            };
            for (recent, sign) in recent.iter_mut().zip(SIGNS) {
                *recent = *recent << 1 | u64::from(found.is_some_and(|found| found.0 == sign));
            }
            if found.is_none() || start < read_to {
                continue;
            }
            let latest = recent.map(|recent| recent & ((1 << RECENT) - 1));
            let has_many = latest
                .iter()
                .any(|recent| recent.count_ones() as usize >= DIFF_LINES);
            if has_many && (latest[0] | latest[1]).count_ones() as usize >= most {
                let part = self.around(PART / 2, start, PART);
                read_to = part.end.saturating_sub(AROUND);
                self.sides(part, see);
            }
        }
    }

    /// Scans the old and the new text of a part.
    fn sides(&self, part: Range<usize>, see: &mut dyn FnMut(Range<usize>)) {
        let text = &self.text[part.clone()];
        for lines in SIGNS.into_iter().filter_map(|sign| side(text, sign)) {
            let bytes: Vec<_> = lines.into_iter().flat_map(|line| &text[line]).copied().collect();
            scan(self.look, &bytes, self.depth, &mut |_| see(part.clone()));
        }
    }
}

/// Whether a line consists of one short word or of numbers. Lists in prose and in YAML have other words.
fn may_be_piece(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let digits = line.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    line.len() <= SHORT && !line.contains(&b' ') || 2 * digits >= line.len()
}
