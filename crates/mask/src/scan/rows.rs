//! Looks at tables with a byte, or a few, in each row, where a row is a long line, tuple or object: a listing
//! with comments, CSV, the statements of a database, an array of objects.

use std::ops::Range;

use super::{Scan, decode::table};
use crate::{
    classes::{BLOCK, Class, positions},
    text::LONGEST_GAP,
};

/// The lengths of rows. The look finds tables with shorter rows by their many digits, and no view reads
/// longer rows.
const LENGTHS: Range<usize> = 16..LONGEST_GAP as usize;

/// The greatest difference between the lengths of two rows that follow each other: their numbers have up to
/// three digits, and so have their indexes.
const DIFFERENCE: usize = 5;

/// The least number of rows of a table.
const ROWS: usize = 8;

/// The number of rows that the look reads at once. A short secret can begin in any of them.
const SHORT: usize = 2 * ROWS;
const LONG: usize = ROWS + 2;

/// The share of a long secret's bytes that the look expects in rows one after the other.
const SHARE: usize = 4;

/// The latest rows, all of almost the same length.
#[derive(Default)]
struct Rows {
    /// The beginnings of the latest rows and of the next one, each at its number modulo the count.
    starts: [usize; SHORT + 1],
    /// The number of the next row.
    next: usize,
    /// The length of the latest row.
    length: usize,
    count: usize,
    /// The number of rows that the look has not read.
    unread: usize,
}

impl Rows {
    /// The beginning of the row that is `back` rows before the next one.
    fn start(&mut self, back: usize) -> &mut usize {
        let count = self.starts.len();
        &mut self.starts[(self.next - back) % count]
    }

    /// Forgets all rows. The next one begins at `start`.
    fn clear(&mut self, start: usize) {
        (self.count, self.unread) = (0, 0);
        *self.start(0) = start;
    }

    /// Adds the row that ends at `end`.
    fn add(&mut self, end: usize) {
        self.length = end - *self.start(0);
        (self.next, self.count, self.unread) = (self.next + 1, self.count + 1, self.unread + 1);
        *self.start(0) = end + 1;
    }

    /// Whether a row that ends at `end` is not like the latest one.
    fn differ(&mut self, end: usize) -> bool {
        let length = end - *self.start(0);
        length.abs_diff(self.length) > DIFFERENCE || !LENGTHS.contains(&length)
    }
}

impl Scan<'_> {
    /// Tables whose rows have almost the same length. Most lines of other logs differ more. A row ends with
    /// its line, or with a bracket.
    pub(super) fn rows(&self, see: &mut dyn FnMut(Range<usize>)) {
        for ends in [Class::LineBreak, Class::Bracket] {
            let ends = self.bits(ends);
            let mut rows = Rows::default();
            for block in 0..ends.blocks() {
                let bits = ends.block(block);
                // Code has many brackets near one another.
                if bits & near(bits) != 0 {
                    self.last_rows(&mut rows, see);
                    rows.clear(block * BLOCK + bits.ilog2() as usize + 1);
                    continue;
                }
                for bit in positions(bits) {
                    self.row(block * BLOCK + bit, &mut rows, see);
                }
            }
            // The last row can end with the text.
            self.row(self.text.len(), &mut rows, see);
            self.last_rows(&mut rows, see);
        }
    }

    /// Looks at a row that ends at `end`.
    fn row(&self, end: usize, rows: &mut Rows, see: &mut dyn FnMut(Range<usize>)) {
        if rows.differ(end) {
            self.last_rows(rows, see);
            let start = *rows.start(0);
            rows.clear(start);
        }
        rows.add(end);
        let stride = if self.is_short {
            ROWS
        } else {
            self.look.secrets.least() / SHARE
        };
        if rows.unread >= stride {
            self.read(rows, see);
        }
    }

    /// Looks at the rows before one that differs. All rows of a short secret count.
    fn last_rows(&self, rows: &mut Rows, see: &mut dyn FnMut(Range<usize>)) {
        if self.is_short && rows.unread > 0 && rows.count >= ROWS {
            self.read(rows, see);
        }
    }

    fn read(&self, rows: &mut Rows, see: &mut dyn FnMut(Range<usize>)) {
        rows.unread = 0;
        let count = rows.count.min(if self.is_short { SHORT } else { LONG });
        let part = *rows.start(count)..*rows.start(0) - 1;
        // Each row has a number.
        if !self.is_done() && self.bits(Class::Digit).count(part.clone()) >= count {
            table(self.look.secrets, &self.text[part.clone()], &mut |_| {
                see(part.clone())
            });
        }
    }
}

/// The positions that are 1 to 15 bytes after a bit that is 1.
fn near(bits: u64) -> u64 {
    let mut near = bits << 1 | bits << 2;
    near |= near << 2;
    near |= near << 4;
    near | near << 7
}
