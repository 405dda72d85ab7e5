//! The numbers of a text: where they are, and which of them are addresses, indexes or counters.

use std::ops::{Range, RangeInclusive};

use super::{
    numbers::value,
    text_column::{column_width, fills_line, is_column, near},
};

/// The least and the greatest number of digits of the address with which a line of a dump begins.
pub(super) const ADDRESS: RangeInclusive<usize> = 4..=16;

/// The least number of numbers before a text column in a line without an address.
const FEW: usize = 4;

/// The least number of numbers, and of their digits, that are too many for the prefix of a log's line.
const PREFIX: usize = 16;
const PREFIX_DIGITS: usize = 40;

/// The greatest distance, in bytes of the log, between a text column and the numbers and the address to which
/// it belongs. The masker may not know more of a long line.
pub(super) const LINE: usize = 1024;

/// The greatest number of digits of an index.
const INDEX: usize = 5;

/// The least number of equal steps in a row that make every second number a counter.
const COUNTERS: usize = 4;

/// The least number of rows in a table whose rows have numbers.
const ROWS: usize = 4;

/// The number of binary digits of a byte.
pub(super) const BITS: usize = 8;

/// The number of hexadecimal digits of a negative byte with its sign.
const SIGNED: usize = 8;

/// The least number of hexadecimal digits in a row that are a number even between other letters.
pub(super) const LONG: usize = 16;

/// A run of letters and digits, such as a number. It has nothing to do with a secret token.
pub(crate) struct Token {
    /// The digits, without a prefix such as `0x`, and without a suffix such as `h`.
    pub(crate) digits: Range<usize>,
    pub(crate) kind: Kind,
    /// Whether the token begins a line.
    pub(super) begins_line: bool,
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
        remove_row_numbers(text, tokens);
        remove_counters(text, tokens);
    }
}

/// Removes the numbers of the rows of a table of numbers: the first token in each line, where it is one more
/// than the first token in the line before.
fn remove_row_numbers(text: &[u8], tokens: &mut Vec<Token>) {
    let number = |at: usize| {
        let digits = &tokens[at].digits;
        let before = text[..digits.start].iter().rev().find(|byte| **byte != b' ');
        let digits = &text[digits.clone()];
        let is_number = digits.len() <= INDEX && digits.iter().all(u8::is_ascii_digit);
        let is_row = is_number && before.is_none_or(|before| *before == b'\n');
        is_row.then(|| value(digits, 10)).flatten()
    };
    // The search masks the text between numbers, and words there tell people something. Most words have one of
    // these letters, and a prefix such as `0x` has none.
    let has_words = |first: usize, last: usize| {
        let line = &text[tokens[first].digits.start..tokens[last].digits.end];
        line.iter().any(|byte| matches!(byte, b'g'..=b'w' | b'G'..=b'W'))
    };
    let lines: Vec<_> = (0..tokens.len()).filter(|at| tokens[*at].begins_line).collect();
    let ends = lines.iter().skip(1).copied().chain([tokens.len()]);
    let rows = lines.iter().copied().zip(ends);
    let rows = rows.filter(|(first, end)| end - first > FEW && !has_words(*first, end - 1));
    let rows: Vec<_> = rows.map(|(first, _)| (first, number(first))).collect();
    let rows = rows.chunk_by(|(_, one), (_, other)| one.is_some_and(|one| *other == Some(one + 1)));
    let rows = rows.filter(|rows| rows.len() >= ROWS).flatten();
    let rows: Vec<_> = rows.map(|(at, _)| *at).collect();
    let (mut at, mut rows) = (0, rows.into_iter().peekable());
    tokens.retain(|_| {
        at += 1;
        rows.next_if_eq(&(at - 1)).is_none()
    });
}

/// Removes every second token where these tokens grow by the same number (or 0) each time. They are indexes
/// of a table, the addresses of a list of words, or a part of each number: `16#65#`, `101.0`. A dump has none
/// of these. But every second byte of a text can be equal, and a byte between is often the same. Between two
/// such bytes is the same text.
fn remove_counters(text: &[u8], tokens: &mut Vec<Token>) {
    let is_long = |token: &Token| token.digits.len() > INDEX;
    let count = |token: &Token| {
        let may_count = token.digits.len() <= *ADDRESS.end() && !token.is_in_dump;
        let is_hex = is_long(token) || token.kind == Kind::Prefixed;
        let base = if is_hex { 16 } else { 10 };
        may_count
            .then(|| value(&text[token.digits.clone()], base))
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
                let is_backslash = |back: usize| matches!(other(back), Some(b"92" | b"092" | b"134"));
                let alternate = |back: usize| is_backslash(back) && is_backslash(back + 4);
                let repeats = || (1..=2 * COUNTERS).step_by(2).any(is_same) || alternate(1) || alternate(3);
                let may_stay = || gap(tokens, at) != gap(tokens, at - 1) || !repeats();
                *step > 0 || !is_long(token) && may_stay()
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
    if first == LONG
        && is_negative_byte(&text[..LONG])
        && !text.get(LONG).is_some_and(u8::is_ascii_alphanumeric)
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

/// Whether hexadecimal digits are a negative byte as an integer of 16, 32 or 64 bits.
pub(super) fn is_negative_byte(digits: &[u8]) -> bool {
    matches!(digits.len(), 4 | 8 | 16) && {
        let (sign, byte) = digits.split_at(digits.len() - 2);
        byte[0] >= b'8' && sign.iter().all(|digit| matches!(digit, b'f' | b'F'))
    }
}

/// The digits of a byte whose sign C printed. Other digits stay.
pub(crate) fn without_sign(digits: &[u8]) -> &[u8] {
    let is_signed = digits.len() == SIGNED && sign(digits).is_some();
    if is_signed { &digits[SIGNED - 2..] } else { digits }
}

/// The number of hexadecimal digits with which a text begins.
pub(super) fn hex_digits(text: &[u8]) -> usize {
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

/// The place of a number's digits in a word, and the kind of the word. `letters` are the letters before the
/// digits of the two words before.
fn kind(word: &[u8], before: Option<u8>, letters: [Option<u8>; 2]) -> (Range<usize>, Kind) {
    let all = 0..word.len();
    let is_hex = |word: &[u8]| !word.is_empty() && hex_digits(word) == word.len();
    let is_binary = |word: &[u8]| {
        (1..=BITS).contains(&word.len()) && word.iter().all(|digit| matches!(digit, b'0' | b'1'))
    };
    let is_escape = matches!(before, Some(b'\\' | b'#' | b'%'));
    match word {
        [b'0', b'b' | b'B', rest @ ..] if is_binary(rest) => (2..all.end, Kind::Prefixed),
        [rest @ .., b'b' | b'B'] if rest.len() == BITS && is_binary(rest) => (0..BITS, Kind::Prefixed),
        _ if is_hex(word) => (all, Kind::Digits),
        [b'0', b'x' | b'X' | b'o', rest @ ..] if is_hex(rest) => (2..all.end, Kind::Prefixed),
        // The next word may follow the last escape of a list without a separator.
        [b'u', digits @ ..] if is_escape && digits.first_chunk::<4>().is_some_and(|four| is_hex(four)) => {
            (1..5, Kind::Prefixed)
        }
        [b'U', digits @ ..] if is_escape && digits.first_chunk::<8>().is_some_and(|eight| is_hex(eight)) => {
            (1..9, Kind::Prefixed)
        }
        [b'x' | b'X' | b'u' | b'U', rest @ ..] if is_escape && is_hex(rest) => (1..all.end, Kind::Prefixed),
        [b'x', digits @ ..] if is_escape && digits.first_chunk::<2>().is_some_and(|two| is_hex(two)) => {
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
    if !ADDRESS.contains(&digits.len()) || text[..digits.start].ends_with(b"U+") {
        return false;
    }
    match &text[digits.end..] {
        [b':', after, ..] => *after == b' ' || *after == b'\t',
        [b':'] => true,
        rest => {
            // An offset in brackets begins with zeros.
            let rest = match rest {
                [b']' | b')', rest @ ..] if text[digits.start] == b'0' => rest,
                rest => rest,
            };
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
            let is_other = next > 0 && next != prefix + digits.len();
            blanks > 0 && is_other && !is_negative_byte(&text[digits.clone()])
        }
    }
}
