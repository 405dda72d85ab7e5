//! Tables with one byte in each row: its number, its character, or both, with or without an index. Also
//! tables with a few bytes in each row: a number of some bytes, or a list of numbers. Also numbers and
//! characters behind the same label: records with one field in each line.

use std::{
    iter,
    ops::{Range, RangeInclusive},
};

use rustc_hash::FxHashMap;

use super::{View, is_near_end, is_token_byte, numbers::value, uses};
use crate::{PIECE, text::Text};

/// The number of columns that this view reads from the beginning of a row, and from its end.
const FIRST: usize = 6;
const LAST: usize = 4;

/// The least number of rows of a table.
const ROWS: usize = 8;

/// The least number of rows of a table of words.
const FEW: usize = 3;

/// The greatest length of the text of a number, such as `65-79-4A-68-62-47-63-69`.
const LONGEST: usize = 23;

/// The greatest length of a label, and of the text between a label and its number.
const LABEL: usize = 32;
const BEHIND: usize = 16;

/// The number of bytes that are the same behind the first characters of some lines.
const TOUCHING: usize = 6;

/// How often a log can show each byte in a row: in the message and in the place of an error.
const TIMES: RangeInclusive<usize> = 2..=3;

/// The number of bytes of lists that the view puts together, and the number of the last of them that it also
/// puts together with the next ones. A long text has many, and no token is longer.
const BLOCK: usize = 4 << 10;
const AGAIN: usize = 2 << 10;

/// The greatest length of a row with a list, such as a line of a log with the time before the list.
const LINE: usize = 160;

/// The lengths of words that the view reads down a column. Other views find longer words.
const WORD: RangeInclusive<usize> = 2..=11;

/// The number of ways to read a cell as a byte.
pub(crate) const WAYS: usize = 8;

/// A cell of a table, and a byte that it stands for. A long text has many cells, so their positions are small.
#[derive(Clone)]
pub(crate) struct Cell {
    place: Range<u32>,
    pub(crate) byte: u8,
    /// Whether the cell is the first one of a list. It may be an index.
    is_first: bool,
}

impl Cell {
    fn new(place: Range<usize>, byte: u8) -> Self {
        Self {
            place: place.start as u32..place.end as u32,
            byte,
            is_first: false,
        }
    }
}

/// The cells of a column or behind a label, for each way to read them.
type Ways = [Vec<Cell>; WAYS];

/// Calls `emit` with each column of a table that has bytes, once for each way to read it.
pub(crate) fn table(text: &Text, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Table) {
        return;
    }
    let mut emit = |count: usize, cells: &mut dyn Iterator<Item = Cell>| {
        let (mut out, mut before) = (Text::with_room(count), None);
        for Cell { place, byte, .. } in cells {
            // The characters of one word are not parted.
            let is_parted = before.replace(place.end) != Some(place.start);
            let (from, to) = (text.from(place.start as usize), text.to(place.end as usize - 1));
            out.push_near(byte, from, to, is_parted);
        }
        out.parted_at_end = true;
        out.goes_on = text.goes_on && is_near_end(&out, text);
        emit(out);
    };
    let (rows, cells) = rows(&text.bytes, text.goes_on);
    words(&text.bytes, &rows, &cells, &mut emit);
    let mut emit = |cells: &[Cell]| emit(cells.len(), &mut cells.iter().cloned());
    each_table(&text.bytes, &rows, &cells, &mut emit);
    kinds(&text.bytes, &rows, &cells, &mut emit);
}

/// Calls `emit` with the cells of each column of a table and with the bytes that they stand for. Does the
/// same for the longest list of numbers in each row, and for the cells behind each label.
pub(crate) fn columns(text: &[u8], emit: &mut dyn FnMut(&[Cell])) {
    let (rows, cells) = rows(text, false);
    each_table(text, &rows, &cells, emit);
}

/// Like [`columns`], for the rows of a text and for its lines.
fn each_table(text: &[u8], rows: &[Row], cells: &[Range<usize>], emit: &mut dyn FnMut(&[Cell])) {
    labelled(text, cells, emit);
    touching(text, emit);
    let lines = lines(rows);
    if lines.len() < rows.len() {
        each_column(text, &lines, cells, emit);
    }
    each_column(text, rows, cells, emit);
}

/// Calls `emit` with the lists in the rows that begin with the same word: a logger can write two lines for
/// each record.
fn kinds(text: &[u8], rows: &[Row], cells: &[Range<usize>], emit: &mut dyn FnMut(&[Cell])) {
    let mut kinds = FxHashMap::<&[u8], Vec<Row>>::default();
    for row in rows {
        let mut words = cells[row.cells.clone()].iter().map(|cell| &text[cell.clone()]);
        let first = words.find(|word| word.iter().all(u8::is_ascii_alphabetic));
        kinds
            .entry(first.unwrap_or_default())
            .or_default()
            .push(row.clone());
    }
    let kinds = kinds
        .values()
        .filter(|kind| (ROWS..rows.len()).contains(&kind.len()));
    kinds.for_each(|kind| lists(text, kind, cells, emit));
}

/// Calls `emit` with the columns and with the lists of some rows.
fn each_column(text: &[u8], rows: &[Row], cells: &[Range<usize>], emit: &mut dyn FnMut(&[Cell])) {
    if rows.len() < ROWS {
        return;
    }
    lists(text, rows, cells, emit);
    // If all rows have the same number of cells, and at most `FIRST`, then the first columns have all of
    // their cells.
    let is_even = rows
        .iter()
        .all(|row| row.cells.len() == rows[0].cells.len() && row.cells.len() <= FIRST);
    let mut ways = Ways::default();
    for column in 0..if is_even {
        rows[0].cells.len()
    } else {
        FIRST + LAST
    } {
        ways.iter_mut().for_each(Vec::clear);
        for row in rows {
            let cells = &cells[row.cells.clone()];
            let cell = match column.checked_sub(FIRST) {
                None => cells.get(column),
                Some(column) => cells.iter().nth_back(column),
            };
            if let Some(cell) = cell.filter(|cell| cell.len() <= LONGEST)
                && let Some(values) = values(&text[cell.clone()])
            {
                add(&mut ways, cell, values);
            }
        }
        ways.iter().for_each(|cells| each_time(cells, emit));
    }
}

/// Calls `emit` with the longest list of numbers in each row, such as `65:79:4a`, once for each way to read a
/// number, and with the list without its first number, which may be an index. A prefix with the time can be
/// before the list. If a row has several lists of this length, calls it with the first ones and with the last
/// ones: a row can show the same bytes twice. Also calls it with the last list of each row.
fn lists(text: &[u8], rows: &[Row], cells: &[Range<usize>], emit: &mut dyn FnMut(&[Cell])) {
    let mut found: [Lists; WAYS] = Default::default();
    let mut values: Vec<[Option<Value>; WAYS]> = Vec::new();
    for row in rows.iter().filter(|row| row.length <= LINE) {
        let of_row = &cells[row.cells.clone()];
        values.clear();
        values.extend(
            of_row
                .iter()
                .map(|cell| self::values(&text[cell.clone()]).unwrap_or_default()),
        );
        // A character is not a number.
        for way in 1..WAYS {
            let [first, others @ ..] = longest(text, of_row, &values, way);
            if first.len() < 2 {
                continue;
            }
            let put = |found: &mut Vec<Cell>, list: &Range<usize>| {
                for at in list.clone() {
                    let bytes = values[at][way].iter().flat_map(Value::bytes);
                    found.extend(bytes.map(|byte| Cell {
                        is_first: at == list.start,
                        ..Cell::new(of_row[at].clone(), byte)
                    }));
                }
            };
            let lists = &mut found[way];
            lists.rows += 1;
            for (list, others) in others.iter().zip(&mut lists.others) {
                // Most rows have only one list.
                if *list != first || others.is_some() {
                    put(others.get_or_insert_with(|| lists.first.clone()), list);
                }
            }
            put(&mut lists.first, &first);
            if lists.first.len() >= BLOCK {
                lists.put_out(AGAIN, emit);
            }
        }
    }
    found.iter_mut().for_each(|lists| lists.put_out(0, emit));
}

/// Lists of numbers in the rows of a table.
#[derive(Default)]
struct Lists {
    /// The number of rows that have a list.
    rows: usize,
    /// The first one of the longest lists in each row.
    first: Vec<Cell>,
    /// The last one of the longest lists in each row, and the last list. `None` as long as this is the first one.
    others: [Option<Vec<Cell>>; 2],
}

impl Lists {
    /// Calls `emit` with the cells of the lists, and with those that are not the first ones of their lists. Keeps
    /// the last cells.
    fn put_out(&mut self, kept: usize, emit: &mut dyn FnMut(&[Cell])) {
        if self.rows < ROWS {
            return;
        }
        for list in iter::once(&mut self.first).chain(self.others.iter_mut().flatten()) {
            emit(list);
            let rest = list.iter().filter(|cell| !cell.is_first);
            emit(&rest.cloned().collect::<Vec<_>>());
            list.drain(..list.len().saturating_sub(kept));
        }
    }
}

/// Calls `emit` with the cells behind each label, once for each way to read them. A label is a word that
/// begins with a letter, and the text between this word and the cell: `"code": 101`, `<value>101`, `x -> 101`.
/// All words with digits are the same label, because the digits can count. Before a colon or an equals sign and
/// a blank, the same number in some lines can also be a label: `1: 101`.
fn labelled(text: &[u8], cells: &[Range<usize>], emit: &mut dyn FnMut(&[Cell])) {
    let mut labels = FxHashMap::<(&[u8], &[u8]), Ways>::default();
    let is_word = |cell: &&Range<usize>| text[(*cell).clone()].iter().any(u8::is_ascii_alphanumeric);
    for (before, cell) in cells.iter().enumerate().skip(1) {
        // Only signs can be between the word and the cell.
        let word = cells[before.saturating_sub(2)..before].iter().rfind(is_word);
        let Some(word) = word else { continue };
        let (word, between) = (&text[word.clone()], &text[word.end..cell.start]);
        let is_number = word.iter().all(u8::is_ascii_digit) && matches!(between, b": " | b" = ");
        let is_label = is_number || word[0].is_ascii_alphabetic();
        if is_label
            && word.len() <= LABEL
            && between.len() <= BEHIND
            && cell.len() <= LONGEST
            && let Some(values) = values(&text[cell.clone()])
            && values.iter().any(Option::is_some)
        {
            let word = if !is_number && word.iter().any(u8::is_ascii_digit) {
                &[]
            } else {
                word
            };
            add(labels.entry((word, between)).or_default(), cell, values);
        }
    }
    let ways = labels.values().flatten();
    ways.for_each(|cells| each_time(cells, emit));
}

/// Calls `emit` with the first characters of all lines in which the same text touches them: a program prints
/// characters into the log of another one, as in `eDEBUG:root:sent 1`. Does the same for the first two of each
/// line. Other views read longer pieces.
fn touching(text: &[u8], emit: &mut dyn FnMut(&[Cell])) {
    for length in 1..=2 {
        let mut labels = FxHashMap::<&[u8], Vec<Cell>>::default();
        let mut start = 0;
        for line in text.split(|byte| *byte == b'\n') {
            if let Some((piece, label)) = line.split_at_checked(length)
                && let Some(label) = label.first_chunk::<TOUCHING>()
                && piece.iter().all(|byte| is_token_byte(*byte))
                && label[0] != b' '
            {
                let cells = (start..)
                    .zip(piece)
                    .map(|(at, byte)| Cell::new(at..at + 1, *byte));
                labels.entry(label).or_default().extend(cells);
            }
            start += line.len() + 1;
        }
        labels.values().for_each(|cells| each_time(cells, emit));
    }
}

/// Calls `emit` with some cells, unless they are too few. If each byte is there several times in a row, also
/// calls it with the first of each, the second of each, and so on.
fn each_time(cells: &[Cell], emit: &mut dyn FnMut(&[Cell])) {
    if cells.len() < ROWS {
        return;
    }
    emit(cells);
    let is_same = |cells: &&[Cell]| cells.iter().all(|cell| cell.byte == cells[0].byte);
    for times in TIMES.filter(|times| cells.len() >= times * ROWS && !is_same(&cells)) {
        let same = |before: usize| cells[before..].chunks_exact(times).filter(is_same).count();
        let same = (0..times).map(same).max().unwrap_or(0);
        // Other bytes can be among them.
        if 2 * same >= cells.len() / times {
            for first in 0..times {
                let one = cells.iter().skip(first).step_by(times);
                emit(&one.cloned().collect::<Vec<_>>());
            }
        }
    }
}

/// Calls `emit` with the short words in each column, from the top to the bottom, and with those of all rows
/// without the first cells, which may be numbers of the rows. Also gives it the count of characters.
fn words(
    text: &[u8],
    rows: &[Row],
    cells: &[Range<usize>],
    emit: &mut dyn FnMut(usize, &mut dyn Iterator<Item = Cell>),
) {
    if !uses(View::Column) {
        return;
    }
    let row = |row: &Row| &cells[row.cells.clone()];
    let is_word = |cell: &&Range<usize>| WORD.contains(&cell.len());
    let is_of_words = |cells: &&Row| matches!(row(cells), [_, rest @ ..] if !rest.is_empty() && rest.iter().all(|cell| is_word(&cell)));
    if rows.iter().filter(is_of_words).count() < FEW {
        return;
    }
    let mut put = |words: &mut dyn Iterator<Item = &Range<usize>>| {
        let words: Vec<_> = words.filter(is_word).collect();
        let has = |is: fn(&u8) -> bool| words.iter().any(|word| text[(*word).clone()].iter().any(is));
        let count = words.iter().map(|word| word.len()).sum();
        if count >= PIECE && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) {
            let places = words.into_iter().cloned().flatten();
            emit(count, &mut places.map(|at| Cell::new(at..at + 1, text[at])));
        }
    };
    for column in 0..FIRST {
        put(&mut rows.iter().filter_map(|cells| row(cells).get(column)));
    }
    for column in 0..LAST {
        put(&mut rows.iter().filter_map(|cells| row(cells).iter().nth_back(column)));
    }
    put(&mut rows.iter().flat_map(|cells| row(cells).iter().skip(1)));
}

/// Adds the bytes that a cell stands for.
fn add(ways: &mut Ways, cell: &Range<usize>, values: [Option<Value>; WAYS]) {
    for (way, value) in ways.iter_mut().zip(values) {
        let bytes = value.iter().flat_map(Value::bytes);
        way.extend(bytes.map(|byte| Cell::new(cell.clone(), byte)));
    }
}

/// The lists of numbers in the cells of a row: the first and the last one of the longest lists, and the last
/// list. Between the numbers is the same character.
fn longest(
    text: &[u8],
    cells: &[Range<usize>],
    values: &[[Option<Value>; WAYS]],
    way: usize,
) -> [Range<usize>; 3] {
    let separator = |at: usize| text[cells[at].end];
    let (mut first, mut longest, mut last, mut start) = (0..0, 0..0, 0..0, 0);
    for (at, values) in values.iter().enumerate() {
        if values[way].is_none() {
            start = at + 1;
        } else if at > start + 1 && separator(at - 1) != separator(at - 2) {
            // Only one of two numbers is an index, but all three are a time.
            start = if at == start + 2 { at - 1 } else { at };
        }
        let list = start..at + 1;
        if list.len() > first.len() {
            first = list.clone();
        }
        if list.len() >= longest.len().max(1) {
            longest = list.clone();
        }
        if list.len() > 1 {
            last = list;
        }
    }
    [first, longest, last]
}

#[derive(Clone)]
struct Row {
    begins_line: bool,
    length: usize,
    /// The cells of the row, among the cells of the table.
    cells: Range<usize>,
}

/// The rows of a table: lines, or the tuples, lists or objects of one line. Also returns all of their cells,
/// and after them those of a row that more text can complete.
fn rows(text: &[u8], goes_on: bool) -> (Vec<Row>, Vec<Range<usize>>) {
    let (mut rows, mut cells) = (Vec::new(), Vec::new());
    let (mut at, mut begins_line) = (0, true);
    while at < text.len() {
        let length = text[at..].iter().position(|byte| ends_row(*byte));
        let end = length.map_or(text.len(), |length| at + length);
        let (row, first) = (at, cells.len());
        while let Some(skipped) = text[at..end].iter().position(|byte| is_token_byte(*byte)) {
            let start = at + skipped;
            let rest = text[start..end].iter();
            at = start + rest.take_while(|byte| is_token_byte(**byte)).count();
            // A character can be behind its number: `12-a`.
            let start = if is_numbered(&text[start..at]) {
                at - 1
            } else {
                start
            };
            cells.push(start..at);
        }
        if goes_on && length.is_none() {
            cells.pop_if(|last| last.end == end);
            break;
        }
        if cells.len() > first {
            rows.push(Row {
                begins_line,
                length: end - row,
                cells: first..cells.len(),
            });
            begins_line = false;
        }
        begins_line |= text.get(end) == Some(&b'\n');
        at = end + 1;
    }
    (rows, cells)
}

/// The lines that consist of these rows.
fn lines(rows: &[Row]) -> Vec<Row> {
    let mut lines: Vec<Row> = Vec::new();
    for row in rows {
        match lines.last_mut().filter(|_| !row.begins_line) {
            None => lines.push(row.clone()),
            Some(line) => {
                line.length += 1 + row.length;
                line.cells.end = row.cells.end;
            }
        }
    }
    lines
}

/// Whether a word is a number and a character, such as `12-a`. But `101.0` and `101_2` can be one number.
fn is_numbered(word: &[u8]) -> bool {
    matches!(word, [number @ .., b'-' | b'_' | b'.', _]
        if !number.is_empty() && number.iter().all(u8::is_ascii_digit))
        && !matches!(word, [.., b'.', b'0'] | [.., b'_', b'0'..=b'9'])
}

/// Whether a byte ends a row of a table.
fn ends_row(byte: u8) -> bool {
    matches!(byte, b'\n' | b']' | b')' | b'}')
}

/// The bytes that a cell stands for.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    pub(crate) value: u64,
    pub(crate) count: usize,
}

impl Value {
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> + use<> {
        let bytes = self.value.to_be_bytes();
        bytes.into_iter().skip(8 - self.count)
    }

    /// The same bytes in the other order. `None` if there is only one byte.
    fn reversed(self) -> Option<Self> {
        let Self { value, count } = self;
        let value = value.swap_bytes() >> (8 * (8 - count));
        (count > 1).then_some(Self { value, count })
    }
}

/// What a cell can stand for: its character, or a hexadecimal, decimal, octal or binary number, which may
/// have a minus sign. A hexadecimal number may have several bytes, also as .NET prints them: `65-79-4A`. A
/// decimal one may be an IPv4 address. The last three are a hexadecimal word with its last byte first, and a
/// decimal word with its first or its last byte first.
/// `None` if the cell can stand for none of these.
pub(crate) fn values(cell: &[u8]) -> Option<[Option<Value>; WAYS]> {
    let untyped = without_type(cell);
    // `12.0` and `12_3` are also the characters `0` and `3` behind their numbers.
    let numbered = match cell {
        [.., b'.', last @ b'0'] | [.., b'_', last @ b'0'..=b'9'] if untyped.len() < cell.len() => Some(*last),
        _ => None,
    };
    let cell = untyped;
    let is_number = |cell: &[u8]| {
        matches!(cell, [first, .., last] if last.is_ascii_hexdigit()
            && (first.is_ascii_hexdigit() || matches!(first, b'x' | b'U' | b'u' | b'-')))
    };
    if cell.len() > 1 && !is_number(cell) {
        return None;
    }
    let (is_negative, number) = match cell {
        [b'-', number @ ..] => (true, number),
        number => (false, number),
    };
    let (radix, digits) = match number {
        [b'0', b'x' | b'X', digits @ ..] | [b'x', digits @ ..] if !digits.is_empty() => (Some(16), digits),
        [b'U', b'+', b'0', b'0', digits @ ..] | [b'u', b'0', b'0', digits @ ..] => (Some(16), digits),
        [b'0', b'o', digits @ ..] if !digits.is_empty() => (Some(8), digits),
        [b'0', b'b', digits @ ..] if !digits.is_empty() => (Some(2), digits),
        digits => (None, digits),
    };
    let is_in = |in_radix: u32| radix.is_none_or(|radix| radix == in_radix);
    let number = |in_radix: u32, lengths: RangeInclusive<usize>| {
        let is_number = is_in(in_radix) && lengths.contains(&digits.len());
        let value = is_number.then(|| value(digits, in_radix)).flatten()?;
        let value = if is_negative {
            0x100_u64.checked_sub(value)?
        } else {
            value
        };
        (value < 0x100).then_some(Value { value, count: 1 })
    };
    let word = || {
        let is_word = !is_negative && is_in(16) && matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14 | 16);
        let value = is_word.then(|| value(digits, 16)).flatten()?;
        let count = digits.len() / 2;
        Some(Value { value, count })
    };
    let decimal_word = || {
        let is_word =
            uses(View::DecimalWords) && !is_negative && radix.is_none() && (3..=20).contains(&digits.len());
        let value = is_word.then(|| value(digits, 10)).flatten()?;
        let count = [2, 4, 8]
            .into_iter()
            .find(|count| *count == 8 || value >> (8 * count) == 0)?;
        (value >= 0x100).then_some(Value { value, count })
    };
    let character = |byte: u8| Value {
        value: byte.into(),
        count: 1,
    };
    Some([
        numbered
            .or_else(|| (cell.len() == 1).then(|| cell[0]))
            .map(character),
        // The numbers may have zeros before them.
        number(16, if radix.is_some() { 1..=8 } else { 2..=3 })
            .or_else(word)
            .or_else(|| pairs(cell)),
        number(10, 1..=10).or_else(|| address(cell)),
        number(8, 2..=10),
        number(2, 6..=8),
        word()
            .filter(|_| uses(View::LittleEndian))
            .and_then(Value::reversed),
        decimal_word(),
        decimal_word().and_then(Value::reversed),
    ])
}

/// A decimal number without what tells its type: `101.0`, `101i`, `101u8`, `101L`. Also without the full stop
/// of a sentence, and without what makes equal names different: `test[101_2]` of pytest.
fn without_type(cell: &[u8]) -> &[u8] {
    let digits = cell.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match cell.split_at(digits) {
        ([_, ..], b"." | b".0" | b".00" | b"i" | b"u" | b"u8" | b"_u8" | b"U" | b"L") => &cell[..digits],
        ([_, ..], [b'_', rest @ ..]) if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => {
            &cell[..digits]
        }
        _ => cell,
    }
}

/// The bytes of an IPv4 address.
fn address(cell: &[u8]) -> Option<Value> {
    if memchr::memchr_iter(b'.', cell).count() != 3 {
        return None;
    }
    let mut numbers = cell.split(|byte| *byte == b'.');
    let value = numbers.try_fold(0, |all, number| {
        let byte = value(number, 10).filter(|byte| *byte < 0x100 && !number.is_empty());
        Some(all << 8 | byte?)
    })?;
    Some(Value { value, count: 4 })
}

/// The bytes of pairs of hexadecimal digits with a dash between two pairs.
fn pairs(cell: &[u8]) -> Option<Value> {
    let count = (cell.len() + 1) / 3;
    let is_dashed = (2..=8).contains(&count) && cell.len() == 3 * count - 1;
    let mut pairs = cell.chunks(3).filter(|_| is_dashed);
    let value = pairs.try_fold(0, |all, pair| match pair {
        [_, _, b'-'] | [_, _] => Some(all << 8 | value(&pair[..2], 16)?),
        _ => None,
    })?;
    is_dashed.then_some(Value { value, count })
}
