//! Bytes as numbers: hexadecimal, decimal, octal and binary, in lists, groups, escapes and dumps.

use std::ops::{Range, RangeInclusive};

use super::{View, is_near_end, uses};
use crate::text::Text;

/// The least and the greatest number of digits of the address with which a line of a dump begins.
const ADDRESS: RangeInclusive<usize> = 4..=16;

/// The least number of numbers before a text column in a line without an address.
const FEW: usize = 4;

/// The least number of numbers, and of their digits, that are too many for the prefix of a log's line.
const PREFIX: usize = 16;
const PREFIX_DIGITS: usize = 40;

/// The greatest distance, in bytes of the log, between a text column and the numbers and the address to which
/// it belongs. The masker may not know more of a long line.
const LINE: usize = 1024;

/// The greatest length of a number and the bytes around it in a table, and of the blanks between two of them.
const CELL: usize = 24;
const BLANKS: usize = 64;

/// The greatest number of digits of an index.
const INDEX: usize = 5;

/// The least number of equal steps in a row that make every second number a counter.
const COUNTERS: usize = 4;

/// The number of binary digits of a byte.
const BITS: usize = 8;

/// The number of hexadecimal digits of a negative byte with its sign.
const SIGNED: usize = 8;

/// The least number of hexadecimal digits in a row that are a number even between other letters.
const LONG: usize = 16;

/// A run of letters and digits, such as a number. It has nothing to do with a secret token.
pub(crate) struct Token {
    /// The digits, without a prefix such as `0x`, and without a suffix such as `h`.
    pub(crate) digits: Range<usize>,
    pub(crate) kind: Kind,
    /// Whether the token begins a line.
    begins_line: bool,
    /// Whether a minus sign is right before the digits.
    pub(crate) is_negative: bool,
    /// Whether the line has the address and the text column of a dump.
    is_in_dump: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    /// Digits, including hexadecimal ones.
    Digits,
    /// Digits with a prefix such as `0x`, or with the suffix `h`.
    Prefixed,
}

/// Calls `emit` with the bytes that the numbers in a text stand for: one text for each way to read them. Also
/// calls it with the text columns of dumps. Leaves out the other ways if `emit` returns `true` for digits.
pub(crate) fn numbers(text: &Text, emit: &mut dyn FnMut(Text) -> bool) {
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
            if emit(reader.pairs(&digits, phase)) {
                return;
            }
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
        let unsure = places.remainder().first();
        let unsure = unsure.map(|rest| self.text.from(*rest as usize));
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
        // A long token stays a number, whatever follows.
        let token = self.open_token().filter(|token| token.digits.len() < LONG);
        self.end(&mut out, unsure, token);
        out
    }

    /// Calls `emit` with the words of each of the [`WAYS`].
    fn words(&self, emit: &mut dyn FnMut(Text) -> bool) {
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
                self.end(&mut text, None, self.open_token());
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
        self.end(&mut out, None, self.open_token());
        out
    }

    fn open_token(&self) -> Option<&Token> {
        self.tokens.get(self.open)
    }

    /// Marks the end of a text that may go on. `token` is the first number that more text can change.
    fn end(&self, out: &mut Text, unsure: Option<u32>, token: Option<&Token>) {
        let end = self.tokens.last().map_or(0, |token| token.digits.end);
        out.parted_at_end = self.text.bytes[end..].contains(&b'\n') || self.text.parted_at_end;
        let token = token.filter(|_| self.text.goes_on);
        out.unsure = token
            .map(|token| self.text.from(token.digits.start))
            .into_iter()
            .chain(unsure)
            .chain(self.text.unsure)
            .min();
        out.goes_on = self.text.goes_on && is_near_end(out, self.text);
    }
}

/// The numbers of a text.
#[derive(Default)]
pub(crate) struct Tokens {
    /// The numbers, without the addresses of dumps, indexes and counters.
    pub(crate) tokens: Vec<Token>,
    /// The places of the text columns of dumps.
    pub(crate) columns: Vec<Range<usize>>,
    /// Whether the first number is the address of a dump.
    pub(crate) has_address_first: bool,
}

impl Tokens {
    /// Replaces the numbers by those of `text`. `begins_line` tells whether the first number of `text` is the
    /// first one of its line. `place` returns the position in the log of a byte of `text`.
    pub(crate) fn read(&mut self, text: &[u8], mut begins_line: bool, place: impl Fn(usize) -> usize) {
        let Self {
            tokens,
            columns,
            has_address_first,
        } = self;
        tokens.clear();
        columns.clear();
        *has_address_first = false;
        let mut at = 0;
        let mut has_address = false;
        let mut address_to = 0;
        // The number of digits of the latest number in this line, and the number of tokens before the line.
        let (mut latest, mut before) = (0, 0);
        // The letters before the digits of the latest two words, and whether numbers touch: `0x770x76-0x71`.
        let (mut letters, mut touch) = ([None; 2], false);
        while at < text.len() {
            if !text[at].is_ascii_alphanumeric() {
                if text[at] == b'\n' {
                    (begins_line, has_address, latest) = (true, false, 0);
                    before = tokens.len();
                } else if matches!(text[at..], [b' ', b' ' | b'|' | b'>', ..])
                    && latest > 0
                    && (has_address || tokens.len() >= before + FEW)
                    && let near = near(&tokens[before..], at, &place)
                    && (is_column(text, at, latest) || has_address && fills_line(at, near, text))
                    && (has_address && place(address_to) + LINE >= place(at) || near.len() >= FEW)
                {
                    let length = memchr::memchr(b'\n', &text[at..]);
                    let end = length.map_or(text.len(), |length| at + length);
                    let end = end.min(at + column_width(near, text));
                    columns.push(at..end);
                    // Other numbers can be far before the dump in its line.
                    let far = tokens.len() - near.len();
                    tokens[far..]
                        .iter_mut()
                        .for_each(|token| token.is_in_dump = has_address);
                    // The next line of the dump can follow in the same line of the log.
                    (begins_line, has_address, latest, before) = (true, false, 0, tokens.len());
                    at = end;
                    continue;
                }
                at += 1;
                continue;
            }
            let first = hex_digits(&text[at..text.len().min(at + LONG)]);
            let is_word =
                first > 0 && first < LONG && !text.get(at + first).is_some_and(u8::is_ascii_alphanumeric);
            let (length, skipped, kind);
            if is_word && !matches!(text[at..at + first], [b'0', b'b' | b'B', ..] | [.., b'b' | b'B']) {
                // Most numbers have only digits.
                (length, skipped, kind) = (first, 0..first, Kind::Digits);
                letters = [letters[1], None];
            } else {
                length = word_length(&text[at..]);
                let word = &text[at..at + length];
                (skipped, kind) = self::kind(word, at.checked_sub(1).map(|before| text[before]), letters);
                letters = [letters[1], letter(word)];
            }
            let digits = at + skipped.start..at + skipped.end;
            let may_be_address = begins_line || is_sure_address(text, &digits);
            if may_be_address && !has_address && kind != Kind::Word && is_address(text, &digits) {
                // The prefix of a log's line can be before the address. A list of bytes has more numbers.
                let digits = tokens[before..].iter().map(|token| token.digits.len());
                if digits.len() < PREFIX && digits.sum::<usize>() < PREFIX_DIGITS {
                    tokens.truncate(before);
                }
                at += length;
                (has_address, begins_line, address_to) = (true, true, at);
                *has_address_first |= tokens.is_empty();
                continue;
            }
            latest = if kind == Kind::Word { 0 } else { digits.len() };
            if kind == Kind::Word || is_index(text, at, &digits) {
                at += length;
                continue;
            }
            touch |= skipped.start == 2 && at > 0 && text[at - 1].is_ascii_hexdigit();
            tokens.push(Token {
                kind,
                begins_line: std::mem::take(&mut begins_line),
                // Between other numbers, the minus sign is a separator.
                is_negative: at > 0
                    && text[at - 1] == b'-'
                    && (touch || at < 2 || !text[at - 2].is_ascii_alphanumeric()),
                is_in_dump: false,
                digits,
            });
            at += length;
        }
        remove_counters(text, tokens);
    }
}

/// Removes every second token where these tokens grow by the same number (or 0) each time. They are indexes
/// of a table, the addresses of a list of pairs, or a part of each number: `16#65#`, `101.0`. A dump has none
/// of these. But every second byte of a text can be equal, and a byte between is often the same. Between two
/// such bytes is the same text.
fn remove_counters(text: &[u8], tokens: &mut Vec<Token>) {
    let count = |token: &Token| {
        let may_count = token.digits.len() <= INDEX && !token.is_in_dump;
        may_count
            .then(|| value(&text[token.digits.clone()], 10))
            .flatten()
    };
    let gap = |tokens: &[Token], at: usize| &text[tokens[at - 1].digits.end..tokens[at].digits.start];
    // The latest two counts, the latest step to each, and the number of equal steps.
    let mut latest = [(None, None, 0); 2];
    let mut counters: Vec<bool> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let [(before, last, steps), next] = latest;
        let count = count(token);
        let step = before
            .zip(count)
            .and_then(|(before, count)| u64::checked_sub(count, before))
            .filter(|step| {
                // The value of a counter is not among the numbers between. In a list of escapes, every
                // second one of these numbers is the backslash.
                let other = |back: usize| Some(&text[tokens[at.checked_sub(back)?].digits.clone()]);
                let is_same = |back: usize| other(back) == other(0);
                let alternate = |back: usize| other(back).is_some() && other(back) == other(back + 4);
                *step > 0
                    || gap(tokens, at) != gap(tokens, at - 1)
                    || !((1..=2 * COUNTERS).step_by(2).any(is_same) || alternate(1) || alternate(3))
            });
        let steps = match step {
            Some(_) if step == last => steps + 1,
            Some(_) => 1,
            None => 0,
        };
        if steps >= COUNTERS {
            counters.resize(tokens.len(), false);
            (0..=COUNTERS).for_each(|step| counters[at - 2 * step] = true);
        }
        latest = [next, (count, step, steps)];
    }
    if !counters.is_empty() {
        let mut counters = counters.into_iter();
        tokens.retain(|_| !counters.next().unwrap_or_default());
    }
}

/// The length of the word with which a text begins. A long run of hexadecimal digits is a word even inside a
/// longer word. In a long run of binary digits, each eight digits are a word.
fn word_length(text: &[u8]) -> usize {
    let first = hex_digits(&text[..text.len().min(LONG)]);
    if (1..LONG).contains(&first) && !text.get(first).is_some_and(u8::is_ascii_alphanumeric) {
        return first;
    }
    if first >= 2 * BITS && text[..2 * BITS].iter().all(|byte| matches!(byte, b'0' | b'1')) {
        return BITS;
    }
    if first == LONG && is_wide_sign(&text[..LONG]) && !text.get(LONG).is_some_and(u8::is_ascii_alphanumeric)
    {
        return LONG;
    }
    if first == LONG
        && let Some(at) = sign(&text[..text.len().min(LONG + SIGNED)])
    {
        return if at == 0 { SIGNED } else { at };
    }
    // A letter after a whole number is a unit or a type, or ends an escape sequence.
    let is_unit = |byte: &u8| byte.is_ascii_alphabetic() && !matches!(byte, b'x' | b'X' | b'o');
    if let [b'0', b'x' | b'X', rest @ ..] = text {
        let digits = hex_digits(rest);
        // The next number may follow without a separator.
        if let ([_, .., b'0'], [b'x' | b'X', ..]) = rest.split_at(digits) {
            return 1 + digits;
        }
        let is_end = |byte: &u8| is_unit(byte) || !byte.is_ascii_alphanumeric();
        if digits > 0 && rest.get(digits).is_none_or(is_end) {
            return 2 + digits;
        }
    }
    let digits = first + hex_digits(&text[first..]);
    if let [b'h' | b'H'] | [b'h' | b'H', b'\0'..=b'/' | b':'..=b'@' | b'['..=b'`' | b'{'.., ..] =
        text[digits..]
    {
        return digits + 1;
    }
    let is_whole = || digits.is_multiple_of(2) || text[..digits].iter().all(u8::is_ascii_digit);
    if digits >= LONG || digits > 0 && text.get(digits).is_some_and(is_unit) && is_whole() {
        return sign(&text[..digits]).filter(|at| *at > 0).unwrap_or(digits);
    }
    let mut run = 0;
    for (at, byte) in text.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() {
            return at;
        }
        // The text may begin within numbers that touch. One such number may follow others: `21-0f0x55`.
        let is_end = |byte: Option<&u8>| !byte.is_some_and(u8::is_ascii_alphanumeric);
        let is_number = match &text[at..] {
            _ if at == 0 => false,
            [b'0', b'x', _, b'0', b'x', ..] | [b'0', b'x', _, _, b'0', b'x', ..] => true,
            [b'0', b'x', pair @ ..] if at == 2 => {
                hex_digits(&text[..2]) == 2 && hex_digits(pair) == 2 && is_end(pair.get(2))
            }
            // A letter can be right before a list of binary numbers.
            [b'0' | b'1', ..] => {
                hex_value(text[at - 1]).is_none()
                    && text[at..]
                        .iter()
                        .take_while(|byte| matches!(byte, b'0' | b'1'))
                        .count()
                        == BITS
                    && is_end(text.get(at + BITS))
            }
            _ => false,
        };
        if is_number {
            return at;
        }
        run = if byte.is_ascii_hexdigit() { run + 1 } else { 0 };
        if run == LONG && at >= LONG {
            return at + 1 - LONG;
        }
    }
    text.len()
}

/// The first place in a run of hexadecimal digits where C printed a negative byte with its sign:
/// `77ffffff8f76`.
fn sign(digits: &[u8]) -> Option<usize> {
    let is_sign = |eight: &[u8]| {
        let (sign, byte) = eight.split_at(SIGNED - 2);
        matches!(sign, b"ffffff" | b"FFFFFF") && byte[0] >= b'8' && hex_digits(byte) == 2
    };
    // Each byte has an even number of digits.
    let found = digits.windows(SIGNED).step_by(2).position(is_sign);
    found.map(|at| 2 * at)
}

/// Whether 16 hexadecimal digits are a negative byte as an integer of 64 bits.
fn is_wide_sign(digits: &[u8]) -> bool {
    let (sign, byte) = digits.split_at(LONG - 2);
    byte[0] >= b'8' && sign.iter().all(|digit| matches!(digit, b'f' | b'F'))
}

/// The digits of a byte whose sign C printed. Other digits stay.
pub(crate) fn without_sign(digits: &[u8]) -> &[u8] {
    let is_signed = digits.len() == SIGNED && sign(digits).is_some();
    if is_signed { &digits[SIGNED - 2..] } else { digits }
}

/// The number of hexadecimal digits with which a text begins.
fn hex_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| hex_value(**byte).is_some()).count()
}

/// The value of a hexadecimal digit.
pub(crate) fn hex_value(byte: u8) -> Option<u8> {
    const NONE: u8 = 0xff;
    const VALUES: [u8; 256] = {
        let mut values = [NONE; 256];
        let mut value = 0;
        while value < 16 {
            values[b"0123456789abcdef"[value] as usize] = value as u8;
            values[b"0123456789ABCDEF"[value] as usize] = value as u8;
            value += 1;
        }
        values
    };
    Some(VALUES[usize::from(byte)]).filter(|value| *value != NONE)
}

/// The byte of a number of one or two hexadecimal digits, and zeros before them. C and Java print a negative
/// byte as an integer of 16, 32 or 64 bits: `ffffff8f`.
pub(crate) fn hex_byte(digits: &[u8], token: &Token) -> Option<([u8; 8], usize)> {
    let (before, byte) = digits.split_at(digits.len().saturating_sub(2));
    let all = |digit: u8| before.iter().all(|byte| byte.to_ascii_lowercase() == digit);
    let is_negative = matches!(digits.len(), 4 | 8 | 16) && byte[0] >= b'8' && all(b'f');
    (is_negative || all(b'0'))
        .then(|| self::byte(value(byte, 16)?, token))
        .flatten()
}

/// The place of a number's digits in a word, and the kind of the word. `letters` are the letters before the
/// digits of the two words before.
fn kind(word: &[u8], before: Option<u8>, letters: [Option<u8>; 2]) -> (Range<usize>, Kind) {
    let all = 0..word.len();
    let is_hex = |word: &[u8]| !word.is_empty() && hex_digits(word) == word.len();
    let is_binary = |word: &[u8]| {
        (1..=BITS).contains(&word.len()) && word.iter().all(|digit| matches!(digit, b'0' | b'1'))
    };
    match word {
        [b'0', b'b' | b'B', rest @ ..] if is_binary(rest) => (2..all.end, Kind::Prefixed),
        [rest @ .., b'b' | b'B'] if rest.len() == BITS && is_binary(rest) => (0..BITS, Kind::Prefixed),
        _ if is_hex(word) => (all, Kind::Digits),
        [b'0', b'x' | b'X' | b'o', rest @ ..] if is_hex(rest) => (2..all.end, Kind::Prefixed),
        [b'x' | b'X' | b'u' | b'U', rest @ ..]
            if is_hex(rest) && matches!(before, Some(b'\\' | b'#' | b'%')) =>
        {
            (1..all.end, Kind::Prefixed)
        }
        // The next word may follow the last escape of a list without a separator.
        [b'x', first, second, ..] if matches!(before, Some(b'\\' | b'#')) && is_hex(&[*first, *second]) => {
            (1..3, Kind::Prefixed)
        }
        // Assemblers write a zero before a letter: `0A5h`.
        [b'0', rest @ .., b'h' | b'H'] if rest.len() == 2 && is_hex(rest) => (1..3, Kind::Prefixed),
        [rest @ .., b'h' | b'H'] if is_hex(rest) => (0..rest.len(), Kind::Prefixed),
        // In a list, all numbers have the same letter: `&H58`, `8'h58`.
        _ if letter(word).is_some_and(|letter| letters.contains(&Some(letter))) => {
            (1..all.end, Kind::Prefixed)
        }
        _ => (all, Kind::Word),
    }
}

/// The letter before a number.
fn letter(word: &[u8]) -> Option<u8> {
    match word {
        [letter @ (b'g'..=b'z' | b'G'..=b'Z'), rest @ ..] => {
            (!rest.is_empty() && hex_digits(rest) == rest.len()).then_some(*letter)
        }
        _ => None,
    }
}

/// Whether the number that begins at `start` is the index of a list: `[7]=>` of PHP, `[7]="` of a shell,
/// `"7":` of JSON, `[0x7] =` of gdb.
fn is_index(text: &[u8], start: usize, digits: &Range<usize>) -> bool {
    let begins_with = |byte| start > 0 && text[start - 1] == byte;
    let is_decimal = || text[digits.clone()].iter().all(u8::is_ascii_digit);
    (match &text[digits.end..] {
        [b']', b'=' | b':', ..] | [b']', b' ', b'=' | b':', ..] => begins_with(b'['),
        [b'"', b':', ..] | [b'"', b' ', b':', ..] => begins_with(b'"'),
        _ => false,
    }) && digits.len() <= INDEX
        && (start < digits.start || is_decimal())
}

/// Whether a number is an address even within a line, because it looks like one of `xxd` or `hexdump -C`.
fn is_sure_address(text: &[u8], digits: &Range<usize>) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    digits.len() >= 7
        && match &text[digits.end..] {
            [b':', b' ', ..] | [b':'] => true,
            [b' ', b' ', first, second, b' ', ..] => is_digit(first) && is_digit(second),
            _ => false,
        }
}

/// Whether a number looks like the address of a dump, by its length and by the text after it.
fn is_address(text: &[u8], digits: &Range<usize>) -> bool {
    // `U+0065` is a character.
    if !ADDRESS.contains(&digits.len()) || text[..digits.start].ends_with(b"+") {
        return false;
    }
    match &text[digits.end..] {
        [b':', after, ..] => *after == b' ' || *after == b'\t',
        [b':'] => true,
        rest => {
            let blanks = rest
                .iter()
                .take_while(|byte| matches!(byte, b' ' | b'\t'))
                .count();
            let next = rest[blanks..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .count();
            // Numbers can all have the same prefix.
            let prefix = if matches!(text[..digits.start], [.., b'0', b'x' | b'X' | b'b' | b'B' | b'o']) {
                2
            } else {
                0
            };
            let is_negative = text[digits.clone()].starts_with(b"ffffff");
            blanks > 0 && next > 0 && next != prefix + digits.len() && !is_negative
        }
    }
}

/// The numbers of a line that are near a position.
fn near(numbers: &[Token], at: usize, place: impl Fn(usize) -> usize) -> &[Token] {
    let far = numbers.partition_point(|token| place(token.digits.start) + LINE < place(at));
    &numbers[far..]
}

/// The greatest length of the text column after the numbers of a line, with the blanks before it.
fn column_width(numbers: &[Token], text: &[u8]) -> usize {
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

/// Whether the text column of a dump begins at a position, after a number with `latest` digits.
fn is_column(text: &[u8], at: usize, latest: usize) -> bool {
    let (before, rest) = text.split_at(at);
    let rest = &rest[..rest.len().min(LINE)];
    if !rest.starts_with(b"  ") {
        return match rest {
            [b' ', frame @ (b'|' | b'>'), cell @ ..] => {
                !is_cell(cell, *frame, latest) && !are_alike(before, cell)
            }
            _ => false,
        };
    }
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(first) = line.iter().position(|byte| !matches!(byte, b' ' | b'-')) else {
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

fn is_prefixed_binary(cell: &[u8]) -> bool {
    cell.len() == 2 + BITS && cell.starts_with(b"0b")
}

/// The bytes of a table's cell, with a zero in place of each number.
fn frame(cell: &[u8]) -> Vec<u8> {
    let mut frame = cell.to_vec();
    while frame.pop_if(|last| matches!(last, b',' | b';' | b'\r')).is_some() {}
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
    let is_end = |byte: &u8| *byte == frame || matches!(byte, b'\r' | b'\n');
    first > 0 && is_number && rest.get(blanks(rest)).is_none_or(is_end)
}

/// Whether the rest of a dump's line has as many characters as the line has bytes, and is more than numbers.
/// The text column of such a line can begin with a number: `37;&#x63;&#x69`.
fn fills_line(at: usize, numbers: &[Token], text: &[u8]) -> bool {
    let (before, rest) = text.split_at(at);
    let [first, inner @ ..] = numbers else {
        return false;
    };
    let (last, inner) = inner.split_last().unwrap_or((first, inner));
    // Decimal numbers are not as regular.
    let (group, latest) = (first.digits.len(), last.digits.len());
    let is_regular =
        || group % 2 == 0 && latest <= group && inner.iter().all(|token| token.digits.len() == group);
    if !rest.starts_with(b"  ") || !is_regular() || are_alike(before, rest) {
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
    // Text seldom has two blanks between numbers.
    let is_table = memchr::memmem::find(column, b"  ").is_some();
    let is_list = words.all(|word| is_number(word) || is_table && word.is_empty());
    blanks.iter().all(|byte| *byte == b' ') && !is_list
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

/// Reads a hexadecimal word of 2, 4 or 8 bytes. The last byte comes first.
fn little_endian(digits: &[u8], _: &Token) -> Option<([u8; 8], usize)> {
    matches!(digits.len(), 4 | 8 | 16)
        .then(|| bytes(value(digits, 16)?, digits.len() / 2))
        .flatten()
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
