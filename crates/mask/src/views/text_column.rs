//! The text columns of dumps. They look like the columns of a table, and a number can look like text.

use std::ops::Range;

use super::tokens::{BITS, LINE, Token, hex_digits};

/// The greatest length of a number and the bytes around it in a table, and of the blanks between two of them.
const CELL: usize = 24;
const BLANKS: usize = 64;

/// The greatest number of digits of a number in a table with padded cells.
const LONGEST: usize = 8;

/// A text column without the blanks and the lines around it.
pub(crate) fn without_frame(text: &[u8], column: Range<usize>) -> Range<usize> {
    let bytes = &text[column.clone()];
    let is_frame = |byte: &u8| matches!(byte, b' ' | b'|' | b'>' | b'\r');
    let end = bytes
        .iter()
        .rposition(|byte| !is_frame(byte))
        .map_or(0, |last| last + 1);
    let begin = bytes.iter().position(|byte| !is_frame(byte)).unwrap_or(end);
    column.start + begin..column.start + end
}

/// Whether the text column of a dump begins at a position, after a number with `latest` digits.
pub(super) fn is_column(text: &[u8], at: usize, latest: usize) -> bool {
    let (before, rest) = text.split_at(at);
    let rest = &rest[..rest.len().min(LINE)];
    if has_same_separator(before, rest) {
        return false;
    }
    if !rest.starts_with(b"  ") {
        return match rest {
            [b' ', frame @ (b'|' | b'>'), cell @ ..] => {
                !is_cell(cell, *frame, latest) && !are_alike(before, cell)
            }
            _ => false,
        };
    }
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if has_more_columns(line) {
        return false;
    }
    let Some(first) = line.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'-')) else {
        return false;
    };
    let next = line[first..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let word = &line[first..first + next];
    let is_hex = word.iter().all(u8::is_ascii_hexdigit);
    let is_decimal = next <= 11 && word.iter().all(u8::is_ascii_digit);
    let is_number = next > 0 && (is_hex && next == latest || is_decimal);
    !is_number && !are_alike(before, line)
}

/// Whether a text begins with an ellipsis in place of some columns, and then numbers, as pandas prints wide
/// tables: `  ...  223  180`.
fn has_more_columns(line: &[u8]) -> bool {
    let rest = line.trim_ascii_start().strip_prefix(b"...  ");
    rest.map(<[u8]>::trim_ascii).is_some_and(|rest| {
        let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let is_number = |word: &[u8]| {
            let digits = word.strip_prefix(b"-").unwrap_or(word);
            (1..=LONGEST).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        };
        rest.len() > 1 && words.all(is_number)
    })
}

/// Whether the last cell of a text and the first one of another text have the same bytes around their digits,
/// such as `0x8f,` and `0x76`. Then both are numbers of a table.
fn are_alike(before: &[u8], after: &[u8]) -> bool {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let is_end = |byte: &u8| is_blank(byte) || *byte == b'\n';
    let before = &before[before.len().saturating_sub(CELL + BLANKS)..];
    let after = &after[..after.len().min(CELL + BLANKS + 1)];
    let end = before
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(0, |last| last + 1);
    let cell = &before[end.saturating_sub(CELL)..end];
    let cell = cell.rsplit(is_end).next().unwrap_or_default();
    // Most dumps have bare digits.
    if cell.iter().all(u8::is_ascii_hexdigit) && !is_prefixed_binary(cell) {
        return false;
    }
    let first = after.iter().take_while(|byte| is_blank(byte)).count();
    let next = after[first..].split(is_end).next().unwrap_or_default();
    next.len() <= CELL && frame(cell) == frame(next)
}

/// Whether the same separator, such as `|`, is on both sides of the last number of a text or of the first
/// number of the text after it, with any blanks around it. Then both are numbers of a table with padded
/// cells.
fn has_same_separator(before: &[u8], after: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric();
    let gap = |text: &[u8]| text.iter().position(is_digit);
    let before = before[before.len().saturating_sub(CELL + 2 * BLANKS)..].trim_ascii_end();
    let after = &after[..after.len().min(2 * (CELL + BLANKS))];
    let after = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(start) = gap(after).filter(|start| after[*start].is_ascii_hexdigit()) else {
        return false;
    };
    let this = separator(&after[..start]);
    let number = before.iter().rev().take_while(|byte| is_digit(byte)).count();
    let before = &before[..before.len() - number];
    let last = before
        .iter()
        .rposition(is_digit)
        .map(|last| separator(&before[last + 1..]));
    let length = hex_digits(&after[start..]);
    let rest = &after[start + length..];
    // The text column of a dump can begin within a list.
    let may_be_text = matches!(this, b"," | b";" | b":") && !rest.starts_with(b" ");
    let next = gap(rest)
        .filter(|gap| *gap > 0 && length <= LONGEST && !may_be_text)
        .map(|gap| separator(&rest[..gap]));
    !this.is_empty() && [last, next].contains(&Some(this))
}

/// The text between two numbers, without the blanks around it and the minus sign of the second number.
fn separator(gap: &[u8]) -> &[u8] {
    let gap = gap.trim_ascii();
    gap.strip_suffix(b"-").unwrap_or(gap).trim_ascii_end()
}

/// Whether a cell is a byte such as `0b01100101`, whose letter is also a hexadecimal digit.
fn is_prefixed_binary(cell: &[u8]) -> bool {
    cell.len() == 2 + BITS && cell.starts_with(b"0b")
}

/// The bytes of a table's cell, with a zero in place of each number.
fn frame(cell: &[u8]) -> Vec<u8> {
    let mut frame = cell.to_vec();
    // The last number of a string has a quote behind it.
    let is_end = |last: &mut u8| matches!(last, b',' | b';' | b'\r' | b'"' | b'\'');
    while frame.pop_if(is_end).is_some() {}
    let is_binary = is_prefixed_binary(&frame);
    frame
        .iter_mut()
        .skip(if is_binary { 2 } else { 0 })
        .filter(|byte| byte.is_ascii_hexdigit())
        .for_each(|byte| *byte = b'0');
    frame.dedup_by(|next, last| *next == b'0' && *last == b'0');
    frame
}

/// Whether a text begins with a number of a table's row, such as ` 79 | 45`. `frame` is the byte between two
/// numbers. `latest` is the number of digits of the number before.
fn is_cell(text: &[u8], frame: u8, latest: usize) -> bool {
    let blanks = |text: &[u8]| text.iter().take_while(|byte| **byte == b' ').count();
    let first = blanks(text);
    let (number, rest) = text[first..].split_at(hex_digits(&text[first..]));
    let is_number =
        number.len() == latest || (1..=3).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    let is_end = |byte: &u8| *byte == frame || matches!(byte, b'\r' | b'\n' | b'"' | b'\'' | 0x80..);
    first > 0 && is_number && rest.get(blanks(rest)).is_none_or(is_end)
}

/// Whether the rest of a dump's line has as many characters as the line has bytes, and is more than numbers.
/// The text column of such a line can begin with a number: `37;&#x63;&#x69`.
pub(super) fn fills_line(at: usize, numbers: &[Token], text: &[u8]) -> bool {
    let (before, rest) = text.split_at(at);
    let [first, inner @ ..] = numbers else {
        return false;
    };
    let (last, inner) = inner.split_last().unwrap_or((first, inner));
    // Decimal numbers are not as regular.
    let (group, latest) = (first.digits.len(), last.digits.len());
    let is_regular =
        || group % 2 == 0 && latest <= group && inner.iter().all(|token| token.digits.len() == group);
    let is_table = || are_alike(before, rest) || has_same_separator(before, rest);
    if !rest.starts_with(b"  ") || !is_regular() || is_table() {
        return false;
    }
    let rest = &rest[..rest.len().min(LINE)];
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let line = &rest[..end.unwrap_or(rest.len())];
    let blanks = line.len().checked_sub(byte_count(numbers, text));
    let Some(blanks) = blanks.filter(|blanks| *blanks >= 2) else {
        // The text ends within the column, or within numbers.
        let is_other = |byte: &u8| !byte.is_ascii_hexdigit() && *byte != b' ';
        return end.is_none() && line.iter().any(is_other);
    };
    let (blanks, column) = line.split_at(blanks);
    let mut words = column.split(|byte| *byte == b' ');
    let is_number = |word: &[u8]| word.len() == latest && word.iter().all(u8::is_ascii_hexdigit);
    // A table has the same blanks between the numbers before.
    let is_table = memchr::memmem::find(
        &text[first.digits.end..last.digits.start.max(first.digits.end)],
        b"  ",
    )
    .is_some();
    let is_list = words.all(|word| is_number(word) || is_table && word.is_empty());
    blanks.iter().all(|byte| *byte == b' ') && !is_list
}

/// The numbers of a line that are near a position.
pub(super) fn near(numbers: &[Token], at: usize, place: impl Fn(usize) -> usize) -> &[Token] {
    let far = numbers.partition_point(|token| place(token.digits.start) + LINE < place(at));
    &numbers[far..]
}

/// The greatest length of the text column after the numbers of a line, with the blanks before it.
pub(super) fn column_width(numbers: &[Token], text: &[u8]) -> usize {
    let last = numbers.last().map_or(0, |token| token.digits.end);
    let blanks = text[last..]
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'|' | b'>'));
    blanks.count() + byte_count(numbers, text) + 1
}

/// The number of bytes that the hexadecimal or binary numbers of a line stand for.
fn byte_count(numbers: &[Token], text: &[u8]) -> usize {
    let is_bits = |token: &Token| {
        let digits = &text[token.digits.clone()];
        digits.len() == BITS && digits.iter().all(|digit| matches!(digit, b'0' | b'1'))
    };
    if numbers.iter().all(is_bits) {
        return numbers.len();
    }
    let digits: usize = numbers.iter().map(|token| token.digits.len()).sum();
    digits.div_ceil(2)
}
