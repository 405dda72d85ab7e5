//! Bytes as numbers: hexadecimal, decimal, octal and binary, in lists, groups, escapes and dumps.

use std::ops::{Range, RangeInclusive};

use super::{
    View, is_near_end,
    text_column::without_frame,
    tokens::{ADDRESS, BITS, Kind, LONG, Token, Tokens, hex_value, is_negative_byte, without_sign},
    uses,
};
use crate::text::{LONGEST_GAP, Text};

/// Calls `emit` with the bytes that the numbers in a text stand for: one text for each way to read them. Also
/// calls it with the text columns of dumps.
pub(crate) fn numbers(text: &Text, emit: &mut dyn FnMut(Text)) {
    let mut tokens = Tokens::default();
    tokens.read(&text.bytes, true, |at| text.from(at) as usize);
    let Tokens { tokens, columns, .. } = tokens;
    if uses(View::Column) && !columns.is_empty() {
        let wide = wide_columns(text, &columns);
        emit(joined_columns(text, columns));
        if wide.len() > 0 {
            emit(wide);
        }
    }
    let Some(last) = tokens.last() else { return };
    // A longer number is no address.
    let is_lone = last.begins_line
        && last.digits.len() <= *ADDRESS.end()
        && !text.bytes[last.digits.end..].contains(&b'\n');
    let sure = text.sure();
    let open = tokens.partition_point(|token| token.digits.end < sure);
    let reader = Reader {
        text,
        open: open.min(tokens.len() - usize::from(is_lone)),
        tokens,
    };
    if uses(View::Hexadecimal) {
        let digits = reader.hex_digits();
        for phase in 0..2 {
            emit(reader.pairs(&digits, phase));
        }
    }
    if uses(View::Guids) {
        emit(reader.guids());
    }
    reader.words(emit);
}

/// The greatest digit of a number, the numbers of digits that it may have, and the function that reads it.
type Rule = (View, u8, RangeInclusive<usize>, Way);

/// The ways to read numbers as bytes.
const WAYS: [Rule; 12] = [
    (View::Hexadecimal, 15, 1..=16, hex_byte),
    (View::LittleEndian, 15, 4..=16, little_endian),
    (View::Decimal, 9, 1..=LENGTHS, decimal),
    (View::DecimalWords, 9, 3..=LENGTHS, |digits, token| {
        decimal_word(digits, token, 2)
    }),
    (View::DecimalWords, 9, 5..=LENGTHS, |digits, token| {
        decimal_word(digits, token, 4)
    }),
    (View::DecimalWords, 9, 10..=LENGTHS, |digits, token| {
        decimal_word(digits, token, 8)
    }),
    (View::DecimalWords, 9, 3..=LENGTHS, |digits, token| {
        big_endian(decimal_word(digits, token, 2)?)
    }),
    (View::DecimalWords, 9, 5..=LENGTHS, |digits, token| {
        big_endian(decimal_word(digits, token, 4)?)
    }),
    (View::DecimalWords, 9, 10..=LENGTHS, |digits, token| {
        big_endian(decimal_word(digits, token, 8)?)
    }),
    (View::Octal, 7, 1..=LENGTHS, octal_byte),
    (View::OctalWords, 7, 6..=22, |digits, _| {
        let words = [(6, 2), (11, 4), (22, 8)];
        words
            .iter()
            .find_map(|(length, size)| octal(digits, *length, *size))
    }),
    (View::Binary, 1, 1..=BITS, binary_byte),
];

/// The number of digits from which on a number can have any more digits.
const LENGTHS: usize = 32;

/// For each number of digits, one bit for each way that reads such numbers.
const BY_LENGTH: [u16; LENGTHS + 1] = {
    let mut ways = [0; LENGTHS + 1];
    let mut way = 0;
    while way < WAYS.len() {
        let mut length = *WAYS[way].2.start();
        while length <= *WAYS[way].2.end() {
            ways[length] |= 1 << way;
            length += 1;
        }
        way += 1;
    }
    ways
};

/// For each greatest digit, one bit for each way that reads numbers with it.
const BY_DIGIT: [u16; 16] = {
    let mut ways = [0; 16];
    let mut way = 0;
    while way < WAYS.len() {
        let mut digit = 0;
        while digit <= WAYS[way].1 {
            ways[digit as usize] |= 1 << way;
            digit += 1;
        }
        way += 1;
    }
    ways
};

/// The text columns of dumps as one text.
fn joined_columns(text: &Text, columns: Vec<Range<usize>>) -> Text {
    let mut out = Text::with_room(columns.iter().map(ExactSizeIterator::len).sum());
    for column in columns {
        let column = without_frame(&text.bytes, column);
        for at in column.clone() {
            out.push_near(text.bytes[at], text.from(at), text.to(at), at == column.start);
        }
    }
    out.goes_on = text.goes_on && is_near_end(&out, text);
    out.parted_at_end = true;
    out
}

/// The text columns of dumps of UTF-16 as one text, without the dots that stand for the zeros between two
/// characters. Leaves out all other columns.
fn wide_columns(text: &Text, columns: &[Range<usize>]) -> Text {
    let mut out = Text::default();
    for column in columns {
        let column = without_frame(&text.bytes, column.clone());
        let is_dot = |at: usize| text.bytes[at] == b'.';
        let Some(first) = (column.start..column.end.min(column.start + 2)).find(|first| {
            (first + 1..column.end).step_by(2).all(is_dot)
                && (*first == column.start || is_dot(column.start))
                && !(*first..column.end).all(is_dot)
        }) else {
            continue;
        };
        for at in (first..column.end).step_by(2) {
            let last = (at + 1).min(column.end - 1);
            out.push_near(text.bytes[at], text.from(at), text.to(last), at == first);
        }
    }
    out.goes_on = text.goes_on && is_near_end(&out, text);
    out.parted_at_end = true;
    out
}

/// The hexadecimal digits of numbers.
struct HexDigits {
    values: Vec<u8>,
    /// The position of each digit in the text.
    at: Vec<u32>,
    /// The digits before which a line begins.
    begins: Vec<usize>,
}

/// A function that reads a number as bytes: from its digits, and from its sign and prefix. Returns the bytes
/// and their count.
type Way = fn(&[u8], &Token) -> Option<([u8; 8], usize)>;

struct Reader<'a> {
    text: &'a Text,
    tokens: Vec<Token>,
    /// The index of the first number that more text can change, or the count of numbers. More digits can
    /// follow the last number, or replace an unfinished escape after a number. If the last line has only one
    /// number, it may be an address.
    open: usize,
}

impl Reader<'_> {
    /// The hexadecimal digits of all numbers.
    fn hex_digits(&self) -> HexDigits {
        let mut digits = HexDigits {
            values: Vec::with_capacity(self.text.len()),
            at: Vec::with_capacity(self.text.len()),
            begins: Vec::new(),
        };
        for token in &self.tokens {
            let mut range = token.digits.clone();
            if token.begins_line {
                digits.begins.push(digits.values.len());
            }
            if token.kind == Kind::Prefixed
                && range.len() == 4
                && self.text.bytes[range.start..].starts_with(b"00")
            {
                range.start += 2;
            }
            range.start = range.end - without_sign(&self.text.bytes[range.clone()]).len();
            // A long number is many bytes, of which the last one can be cut.
            if token.kind == Kind::Prefixed && range.len() % 2 == 1 && range.len() < LONG {
                digits.values.push(0);
                digits.at.push(range.start as u32);
            }
            let values = self.text.bytes[range.clone()].iter();
            digits
                .values
                .extend(values.map(|byte| hex_value(*byte).unwrap_or_default()));
            digits.at.extend(range.start as u32..range.end as u32);
        }
        digits
    }

    fn pairs(&self, digits: &HexDigits, phase: usize) -> Text {
        let mut out = Text::with_room(digits.values.len() / 2);
        let begins = digits.begins.iter().copied();
        let mut begins = begins.skip_while(|begin| *begin < phase).peekable();
        let values = digits.values.get(phase..).unwrap_or_default().chunks_exact(2);
        let places = digits.at.get(phase..).unwrap_or_default().chunks_exact(2);
        let rest = places.remainder().first().map(|rest| *rest as usize);
        for ((pair, places), at) in values.zip(places).zip((phase..).step_by(2)) {
            let (from, to) = (
                self.text.from(places[0] as usize),
                self.text.to(places[1] as usize),
            );
            let mut is_first = false;
            while begins.next_if(|begin| *begin < at + 2).is_some() {
                is_first = true;
            }
            out.push_near(pair[0] << 4 | pair[1], from, to, is_first);
        }
        self.end(&mut out, rest, LONG);
        out
    }

    /// Calls `emit` with the words of each of the [`WAYS`].
    fn words(&self, emit: &mut dyn FnMut(Text)) {
        let mut out: [Text; WAYS.len()] = Default::default();
        // One bit for each way: whether a line begins before its next byte.
        let mut begins = 0_u16;
        for token in &self.tokens {
            begins |= if token.begins_line { u16::MAX } else { 0 };
            let digits = &self.text.bytes[token.digits.clone()];
            let most = digits.iter().filter_map(|digit| hex_value(*digit)).max();
            let by_digit = BY_DIGIT[usize::from(most.unwrap_or_default())];
            let mut ways = BY_LENGTH[digits.len().min(LENGTHS)] & by_digit;
            while ways != 0 {
                let way = ways.trailing_zeros() as usize;
                ways &= ways - 1;
                let Some((bytes, count)) = WAYS[way].3(digits, token) else {
                    continue;
                };
                let from = self.text.from(token.digits.start);
                let to = self.text.to(token.digits.end - 1);
                for &byte in &bytes[..count] {
                    out[way].push_near(byte, from, to, begins >> way & 1 == 1);
                    begins &= !(1 << way);
                }
            }
        }
        for (mut text, (view, ..)) in out.into_iter().zip(WAYS) {
            if uses(view) {
                self.end(&mut text, None, LENGTHS);
                emit(text);
            }
        }
    }

    fn guids(&self) -> Text {
        let mut out = Text::with_room(self.tokens.len());
        let mut begins = false;
        for (first, token) in self.tokens.iter().enumerate() {
            begins |= token.begins_line;
            let numbers = self.tokens.get(first..first + GUID.len()).unwrap_or_default();
            for (at, byte) in guid(numbers, &self.text.bytes).unwrap_or_default() {
                let digits = &numbers[at].digits;
                let (from, to) = (self.text.from(digits.start), self.text.to(digits.end - 1));
                out.push_near(byte, from, to, std::mem::take(&mut begins));
            }
        }
        self.end(&mut out, None, LENGTHS);
        out
    }

    /// Marks the end of a text that may go on. `rest` is a digit without its pair. A number of `long` digits
    /// stays a number, whatever follows.
    fn end(&self, out: &mut Text, rest: Option<usize>, long: usize) {
        let end = self.tokens.last().map_or(0, |token| token.digits.end);
        out.parted_at_end = self.text.bytes[end..].contains(&b'\n') || self.text.parted_at_end;
        let open = self.tokens.get(self.open).map(|token| &token.digits);
        let open = open.filter(|open| self.text.goes_on && open.len() < long);
        let open = open.map(|open| open.start).into_iter().chain(rest).min();
        // No view joins this number with the text after the end, if the two are far apart.
        let is_near = |from: &u32| {
            let last = self.text.len().checked_sub(1);
            last.is_some_and(|last| self.text.to(last).saturating_sub(*from) <= LONGEST_GAP)
        };
        let open = open.map(|at| self.text.from(at)).filter(is_near);
        out.unsure = open.into_iter().chain(self.text.unsure).min();
        out.goes_on = self.text.goes_on && is_near_end(out, self.text);
    }
}

/// The byte of a number of one or two hexadecimal digits, and zeros before them. C and Java print a negative
/// byte as an integer of 16, 32 or 64 bits: `ffffff8f`.
pub(crate) fn hex_byte(digits: &[u8], token: &Token) -> Option<([u8; 8], usize)> {
    let (before, byte) = digits.split_at(digits.len().saturating_sub(2));
    (before.iter().all(|digit| *digit == b'0') || is_negative_byte(digits))
        .then(|| self::byte(value(byte, 16)?, token))
        .flatten()
}

/// The value of a number. `None` if it does not fit into 64 bits, or has other digits.
pub(super) fn value(digits: &[u8], radix: u32) -> Option<u64> {
    let radix = u64::from(radix);
    let digits = digits.iter().map(|byte| hex_value(*byte).map(u64::from));
    digits.into_iter().try_fold(0_u64, |value, digit| {
        value
            .checked_mul(radix)?
            .checked_add(digit.filter(|digit| *digit < radix)?)
    })
}

fn bytes(value: u64, count: usize) -> Option<([u8; 8], usize)> {
    let fits = count == 8 || value >> (8 * count) == 0;
    fits.then_some((value.to_le_bytes(), count))
}

/// Reads a hexadecimal word. The last byte comes first.
fn little_endian(digits: &[u8], token: &Token) -> Option<([u8; 8], usize)> {
    bytes(value(digits, 16)?, word_bytes(digits, token)?)
}

/// The number of bytes of a hexadecimal word: 2, 4 or 8. Assemblers write a zero before a letter:
/// `0F9650643h`.
pub(crate) fn word_bytes(digits: &[u8], token: &Token) -> Option<usize> {
    let has_zero = token.kind == Kind::Prefixed && digits.len() % 2 == 1 && digits[0] == b'0';
    let length = digits.len() - usize::from(has_zero);
    matches!(length, 4 | 8 | 16).then_some(length / 2)
}

/// Reads a decimal byte, with or without zeros before it. Programs print a negative byte also as an unsigned
/// integer of 32 or 64 bits.
fn decimal(digits: &[u8], token: &Token) -> Option<([u8; 8], usize)> {
    let value = value(digits, 10)?;
    byte(negative(value).unwrap_or(value), token)
}

/// The byte of an integer of 32 or 64 bits that is negative, if it were signed.
pub(crate) fn negative(value: u64) -> Option<u64> {
    const LAST: u64 = u32::MAX as u64;
    let is_negative = matches!(value, 0xffff_ff80..=LAST | 0xffff_ffff_ffff_ff80..);
    is_negative.then_some(value & 0xff)
}

/// The byte of a number, which may have a minus sign. `None` if it does not fit into a byte.
fn byte(value: u64, token: &Token) -> Option<([u8; 8], usize)> {
    let is_negative = token.is_negative && value > 0;
    bytes(
        if is_negative {
            256_u64.checked_sub(value)?
        } else {
            value
        },
        1,
    )
}

/// Reads a decimal word of `count` bytes. The last byte comes first. `None` if the number has more bytes, or
/// if it is so small that it is rather a word of fewer bytes.
fn decimal_word(digits: &[u8], token: &Token, count: usize) -> Option<([u8; 8], usize)> {
    let value = value(digits, 10)?;
    let is_word = value >> (4 * count) > 0;
    if token.is_negative {
        let fits = value <= 1 << (8 * count - 1);
        (is_word && fits).then(|| (value.wrapping_neg().to_le_bytes(), count))
    } else {
        bytes(value, count).filter(|_| is_word)
    }
}

/// The numbers of digits of the numbers in a GUID.
pub(crate) const GUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The bytes of a GUID as Windows stores it, each with the index of its number: in the first three numbers,
/// the last byte comes first. `None` if the numbers are not a GUID.
pub(crate) fn guid(numbers: &[Token], text: &[u8]) -> Option<Vec<(usize, u8)>> {
    let touch = |pair: &[Token]| pair[0].digits.end + 1 == pair[1].digits.start;
    let is_guid = numbers.iter().map(|number| number.digits.len()).eq(GUID) && numbers.windows(2).all(touch);
    let bytes = |(at, number): (usize, &Token)| {
        let value = value(&text[number.digits.clone()], 16).unwrap_or_default();
        let mut bytes = value.to_be_bytes()[8 - number.digits.len() / 2..].to_vec();
        if at < 3 {
            bytes.reverse();
        }
        bytes.into_iter().map(move |byte| (at, byte))
    };
    is_guid.then(|| numbers.iter().enumerate().flat_map(bytes).collect())
}

fn big_endian((mut bytes, count): ([u8; 8], usize)) -> Option<([u8; 8], usize)> {
    bytes[..count].reverse();
    Some((bytes, count))
}

fn octal(digits: &[u8], length: usize, count: usize) -> Option<([u8; 8], usize)> {
    (digits.len() == length)
        .then(|| bytes(value(digits, 8)?, count))
        .flatten()
}

/// Reads an octal byte, such as `\0145`, `0o61`, or `61` from `printf %o`.
fn octal_byte(digits: &[u8], token: &Token) -> Option<([u8; 8], usize)> {
    byte(value(digits, 8)?, token)
}

/// Reads a byte in binary. Without a prefix, a short number is rather a decimal one.
pub(crate) fn binary_byte(digits: &[u8], token: &Token) -> Option<([u8; 8], usize)> {
    let least = if token.kind == Kind::Prefixed { 1 } else { BITS - 2 };
    if !(least..=BITS).contains(&digits.len()) {
        return None;
    }
    byte(value(digits, 2)?, token)
}
