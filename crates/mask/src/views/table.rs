//! Tables with one byte in each row: its number, its character, or both, with or without an index.

use std::ops::{Range, RangeInclusive};

use super::{View, is_near_end, is_token_byte, numbers::value, uses};
use crate::text::Text;

/// The number of columns that this view reads from the beginning of a row, and from its end.
const FIRST: usize = 6;
const LAST: usize = 4;

/// The least number of rows of a table.
const ROWS: usize = 8;

/// The greatest length of the text of a byte, such as `0b01100101`.
const LONGEST: usize = 10;

/// The number of ways to read a cell as a byte.
const WAYS: usize = 5;

/// A cell of a table, and the byte that it stands for.
type Cell = (Range<usize>, u8);

/// Calls `emit` with each column of a table that has bytes, once for each way to read it.
pub(crate) fn table(text: &Text, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Table) {
        return;
    }
    columns(&text.bytes, text.goes_on, &mut |cells| {
        let mut out = Text::with_room(cells.len());
        for (cell, byte) in cells {
            out.push_near(*byte, text.from(cell.start), text.to(cell.end - 1), true);
        }
        out.parted_at_end = true;
        out.goes_on = text.goes_on && is_near_end(&out, text);
        emit(out);
    });
}

/// Calls `emit` with the cells of each column of a table and with the bytes that they stand for.
pub(crate) fn columns(text: &[u8], goes_on: bool, emit: &mut dyn FnMut(&[Cell])) {
    let rows = rows(text, goes_on);
    if rows.len() < ROWS {
        return;
    }
    // If all rows have the same number of cells, and at most `FIRST`, then `first` has all of their cells.
    let is_even = rows
        .iter()
        .all(|row| row.count == rows[0].count && row.count <= FIRST);
    let mut ways: [Vec<Cell>; WAYS] = Default::default();
    for column in 0..if is_even { rows[0].count } else { FIRST + LAST } {
        ways.iter_mut().for_each(Vec::clear);
        for row in &rows {
            let cell = match column.checked_sub(FIRST) {
                None => &row.first[column],
                Some(column) => &row.last[column],
            };
            if (1..=LONGEST).contains(&cell.len()) {
                for (way, byte) in ways.iter_mut().zip(values(&text[cell.clone()])) {
                    way.extend(byte.map(|byte| (cell.clone(), byte)));
                }
            }
        }
        ways.iter()
            .filter(|cells| cells.len() >= ROWS)
            .for_each(|cells| emit(cells));
    }
}

/// The first and the last cells of a row. The cells that a row lacks are empty.
struct Row {
    count: usize,
    first: [Range<usize>; FIRST],
    /// The last cell comes first.
    last: [Range<usize>; LAST],
}

/// The rows of a table: lines, or the tuples, lists or objects of one line.
fn rows(text: &[u8], goes_on: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = text[at..].iter().position(|byte| ends_row(*byte));
        // More text can complete the last row.
        let end = match length {
            None if goes_on => break,
            None => text.len(),
            Some(length) => at + length,
        };
        let mut row = Row {
            count: 0,
            first: Default::default(),
            last: Default::default(),
        };
        while let Some(skipped) = text[at..end].iter().position(|byte| is_token_byte(*byte)) {
            let start = at + skipped;
            let rest = text[start..end].iter();
            at = start + rest.take_while(|byte| is_token_byte(**byte)).count();
            if let Some(cell) = row.first.get_mut(row.count) {
                *cell = start..at;
            }
            row.last.rotate_right(1);
            row.last[0] = start..at;
            row.count += 1;
        }
        if row.count > 0 {
            rows.push(row);
        }
        at = end + 1;
    }
    rows
}

/// Whether a byte ends a row of a table.
fn ends_row(byte: u8) -> bool {
    matches!(byte, b'\n' | b']' | b')' | b'}')
}

/// The bytes that a cell can stand for: its character, or a hexadecimal, decimal, octal or binary number.
fn values(cell: &[u8]) -> [Option<u8>; WAYS] {
    let (radix, digits) = match cell {
        [b'0', b'x' | b'X', digits @ ..] | [b'x', digits @ ..] if !digits.is_empty() => (Some(16), digits),
        [b'U', b'+', b'0', b'0', digits @ ..] | [b'u', b'0', b'0', digits @ ..] => (Some(16), digits),
        [b'0', b'o', digits @ ..] if !digits.is_empty() => (Some(8), digits),
        [b'0', b'b', digits @ ..] if !digits.is_empty() => (Some(2), digits),
        digits => (None, digits),
    };
    let number = |in_radix: u32, lengths: RangeInclusive<usize>| {
        let is_number = radix.is_none_or(|radix| radix == in_radix) && lengths.contains(&digits.len());
        let value = is_number.then(|| value(digits, in_radix)).flatten()?;
        u8::try_from(value).ok()
    };
    [
        (cell.len() == 1).then_some(cell[0]),
        number(16, if radix.is_some() { 1..=2 } else { 2..=2 }),
        number(10, 1..=3),
        number(8, 2..=4),
        number(2, 6..=8),
    ]
}
