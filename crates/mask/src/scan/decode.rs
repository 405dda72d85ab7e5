//! Looks at the texts that encodings stand for.

use std::{cell::Cell, ops::Range};

use super::{DIGITS, LONG, LONG_RUN, Look, SEEN_IN_NUMBERS, count, only, scan, words};
use crate::{
    LEAST,
    grams::{SHORT_WORD, word},
    secrets::Secrets,
    text::Text,
    views::{
        GUID, Kind, Token, Tokens, base64_value, binary_byte, bit_runs, byte, cells, columns, decimal,
        escape, guid, has_escapes, hex_byte, hex_value, is_text, is_token_byte, literals, negative, padded,
        unescaped_bytes, without_sign, word_bytes,
    },
};

/// Scans the bytes that an encoding stands for.
fn decoded(look: Look<'_>, bytes: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    let is_seen = Cell::new(false);
    let see = &mut |part| {
        is_seen.set(true);
        see(part);
    };
    words(look.secrets, bytes, look.least, see);
    if look.is_first && is_seen.get() {
        return;
    }
    let shortest = if look.is_close { LEAST } else { LONG_RUN / 2 };
    if depth > 0 {
        // Other encodings are text. Most bytes that are decoded at a wrong alignment are not text.
        let mut at = 0;
        while let Some(eight) = bytes.get(at..).and_then(word) {
            if eight & 0x8080_8080_8080_8080 != 0 {
                at += LEAST;
                continue;
            }
            let start = bytes[..at]
                .iter()
                .rposition(|byte| !is_text(*byte))
                .map_or(0, |before| before + 1);
            let length = bytes[at..].iter().position(|byte| !is_text(*byte));
            let end = length.map_or(bytes.len(), |length| at + length);
            // If the run ends here, the look has already scanned it.
            if end > at && end >= start + shortest {
                scan(look, &bytes[start..end], depth, &mut |part| {
                    see(start + part.start..start + part.end)
                });
            }
            at = end.max(at + 1);
        }
    }
    // The characters of UTF-16 have zeros between them, and integers can begin with zeros.
    let (mut zeros, mut in_a_row, mut latest) = (0, 0, 0);
    let mut is_wide = false;
    for at in memchr::memchr_iter(0, bytes) {
        in_a_row = if at == latest + 2 { in_a_row + 1 } else { 1 };
        (zeros, latest) = (zeros + 1, at);
        is_wide |= in_a_row >= LEAST - 1;
    }
    let visible = || only(bytes, |byte| byte != 0);
    if is_wide || zeros > bytes.len() / 5 {
        let visible = visible();
        scan(look, &visible, depth, &mut |part| {
            see(part.start..bytes.len());
        });
        // Each fold can leave a number of its prefix between the characters.
        let joined = only(&visible, is_token_byte);
        words(look.secrets, &joined, look.least, &mut |_| see(0..bytes.len()));
    } else if zeros > 0 && look.secrets.least() < LONG {
        // A few zeros can be in the numbers of a short secret: `\u0068, \u00210x41`.
        words(look.secrets, &visible(), look.least, &mut |_| see(0..bytes.len()));
    }
}

/// Scans the bytes that a run of base64 stands for, at all four alignments.
pub(super) fn base64(look: Look<'_>, run: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    // Zeros complete the last group.
    let mut values: Vec<u8> = run.iter().map(|byte| base64_value(*byte)).collect();
    values.extend([0; 3]);
    let mut bytes = vec![0; values.len() / 4 * 3];
    for alignment in 0..4 {
        let groups = values[alignment..].chunks_exact(4);
        let length = (run.len() - alignment) * 3 / 4;
        for (group, bytes) in groups.zip(bytes.chunks_exact_mut(3)) {
            let [one, two, three, four] = [group[0], group[1], group[2], group[3]];
            bytes.copy_from_slice(&[one << 2 | two >> 4, two << 4 | three >> 2, three << 6 | four]);
        }
        decoded(look, &bytes[..length], depth, &mut |part| {
            let digit = |at: usize| alignment + at / 3 * 4;
            see(digit(part.start)..run.len().min(digit(part.end) + 4));
        });
    }
}

/// Scans the bytes that numbers stand for.
pub(super) fn numbers(look: Look<'_>, read: &mut Numbers, depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    let look = look.in_numbers();
    let Numbers {
        digits,
        pairs,
        bytes,
        bits,
        ..
    } = read;
    let is_seen = Cell::new(false);
    let see = &mut |part| {
        is_seen.set(true);
        see(part);
    };
    for phase in 0..2 {
        if is_seen.get() {
            return;
        }
        pairs.clear();
        let digits = digits.get(phase..).unwrap_or_default();
        pairs.extend(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
        decoded(look, pairs, depth, see);
    }
    bits.iter()
        .for_each(|bytes| words(look.secrets, bytes, look.least, see));
    for (bytes, word) in bytes.iter_mut().zip([1, 1, 2, 4, 8, 1, 1, 1, 1, 1]) {
        if is_seen.get() {
            return;
        }
        if bytes.len() >= LEAST {
            decoded(look, bytes, depth, see);
            // The same words in big-endian order.
            if word > 1 {
                bytes.chunks_exact_mut(word).for_each(<[u8]>::reverse);
                decoded(look, bytes, depth, see);
            }
        }
    }
}

/// The bytes of numbers, as one text for each way to read them. A scan uses the same memory for all of its
/// numbers.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) tokens: Tokens,
    /// The hexadecimal digits of all numbers.
    digits: Vec<u8>,
    /// Little-endian words, decimal bytes, decimal words of 2, 4 and 8 bytes, octal bytes and words, binary
    /// bytes, numbers of at most two hexadecimal digits, and GUIDs.
    bytes: [Vec<u8>; 10],
    /// The bytes that runs of bits stand for.
    bits: Vec<Vec<u8>>,
    /// The bytes that pairs of hexadecimal digits stand for.
    pairs: Vec<u8>,
}

impl Numbers {
    /// Replaces the bytes by those that the numbers in `text` stand for.
    pub(super) fn read(&mut self, text: &[u8], begins_line: bool) {
        let mut tokens = std::mem::take(&mut self.tokens);
        tokens.read(text, begins_line, |at| at);
        self.digits.clear();
        self.bytes.iter_mut().for_each(Vec::clear);
        for token in &tokens.tokens {
            self.add(token, &text[token.digits.clone()]);
        }
        for numbers in tokens.tokens.windows(GUID.len()) {
            if numbers[0].digits.len() == GUID[0] {
                let bytes = guid(numbers, text).unwrap_or_default();
                self.bytes[9].extend(bytes.into_iter().map(|(_, byte)| byte));
            }
        }
        // The pairs of digits are the same bytes.
        let is_pair = |token: &Token| token.digits.len() == 2 && !token.is_negative;
        if tokens.tokens.iter().all(is_pair) {
            self.bytes[8].clear();
        }
        self.tokens = tokens;
        self.bits.clear();
        // A fold can divide a group of bits: `011<wbr>0`.
        if self.read_bits(text) && has_escapes(text) {
            self.read_bits(&unescaped_bytes(text, escape));
        }
    }

    /// Adds the bytes that runs of bits stand for. Returns whether the text may have bits.
    fn read_bits(&mut self, text: &[u8]) -> bool {
        bit_runs(text, false, &mut |run, _, _| {
            let of_eight = |first: usize| run[first..].chunks_exact(8).map(|places| byte(text, places));
            self.bits.extend((0..8).map(|first| of_eight(first).collect()));
        })
    }

    fn add(&mut self, token: &Token, digits: &[u8]) {
        let word = word_bytes(digits, token);
        let digits = without_sign(digits);
        let short = digits.strip_prefix(b"00").filter(|rest| rest.len() == 2);
        let digits = short.filter(|_| token.kind == Kind::Prefixed).unwrap_or(digits);
        let (mut hex, mut decimal, mut octal, mut most) = (0_u64, 0_u64, 0_u64, 0);
        for byte in digits {
            let digit = hex_value(*byte).unwrap_or_default();
            let value = u64::from(digit);
            self.digits.push(digit);
            hex = hex << 4 | value;
            decimal = decimal.wrapping_mul(10).wrapping_add(value);
            octal = octal << 3 | value & 7;
            most = most.max(digit);
        }
        let length = digits.len();
        let mut add = |way: usize, value: u64, count: usize| match count {
            1 => self.bytes[way].push(value as u8),
            2 => self.bytes[way].extend((value as u16).to_le_bytes()),
            4 => self.bytes[way].extend((value as u32).to_le_bytes()),
            _ => self.bytes[way].extend(value.to_le_bytes()),
        };
        // Beside other words, `\u0065` can also be a word.
        if let Some(count) = word {
            add(0, hex, count);
        }
        if let Some((byte, _)) = hex_byte(digits, token) {
            add(8, byte[0].into(), 1);
        }
        let signed = |decimal: u64| {
            if token.is_negative {
                decimal.wrapping_neg()
            } else {
                decimal
            }
        };
        match decimal {
            _ if most > 9 || length > 20 => {}
            0..0x100 => add(1, signed(decimal), 1),
            0x100..0x1_0000 => add(2, signed(decimal), 2),
            0x1_0000..0x1_0000_0000 => add(3, signed(decimal), 4),
            _ => add(4, signed(decimal), 8),
        }
        if most < 10
            && length <= 20
            && let Some(byte) = negative(decimal)
        {
            add(1, byte, 1);
        }
        match length {
            _ if most > 7 => {}
            6 => add(6, octal, 2),
            11 => add(6, octal, 4),
            22 => add(6, octal, 8),
            _ => {}
        }
        if most < 8 && length < 22 && octal < 0x100 {
            add(5, signed(octal), 1);
        }
        if most < 2
            && let Some((byte, _)) = binary_byte(digits, token)
        {
            add(7, byte[0].into(), 1);
        }
    }
}

/// Whether the numbers of a text stand for text that is itself numbers, in one of the ways to read them.
pub(crate) fn is_of_numbers(text: &[u8]) -> bool {
    let is_of_list = |byte: u8| {
        let is_other = || {
            matches!(
                byte,
                b' ' | b','
                    | b';'
                    | b':'
                    | b'x'
                    | b'\\'
                    | b'%'
                    | b'&'
                    | b'#'
                    | b'u'
                    | b'\n'
                    | b'\r'
                    | b'"'
                    | b'\''
                    | b'['
                    | b']'
            )
        };
        byte.is_ascii_hexdigit() || is_other()
    };
    let is_listed = |text: &[u8]| count(text, is_of_list) > text.len() / 4 * 3;
    // The letters of `&#x6c, ` are not decimal digits.
    let has_digits = || count(text, |byte| byte.is_ascii_digit()) >= text.len() / 5;
    if !has_digits() || !is_listed(text) {
        return false;
    }
    let mut numbers = Numbers::default();
    numbers.read(text, true);
    let Numbers { digits, bytes, .. } = numbers;
    let pairs = |phase: usize| {
        let digits = digits.get(phase..).unwrap_or_default();
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    };
    bytes
        .into_iter()
        .chain([pairs(0), pairs(1)])
        .any(|bytes| bytes.len() >= DIGITS && is_listed(&bytes))
}

/// Looks up words of the bytes that the columns of a table stand for.
pub(super) fn table(secrets: &Secrets, text: &[u8], see: &mut dyn FnMut(Range<usize>)) {
    let mut bytes = Vec::new();
    columns(text, &mut |cells| {
        bytes.clear();
        bytes.extend(cells.iter().map(|cell| cell.byte));
        words(secrets, &bytes, LEAST, see);
    });
}

/// Replaces the escapes in a text by the bytes that they stand for, and scans the result.
pub(super) fn unescape(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    if has_escapes(text) {
        let bytes = unescaped_bytes(text, escape);
        scan(look, &bytes, depth, see);
        words(look.secrets, &bytes, SEEN_IN_NUMBERS, see);
    }
    if text.contains(&b'\\') {
        let bytes = unescaped_bytes(text, decimal);
        words(look.secrets, &bytes, SEEN_IN_NUMBERS, see);
    }
}

/// Scans the pieces behind the same label.
pub(super) fn labels(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    let may_begin = |word: &[u8]| look.secrets.may_begin(word);
    cells(&Text::plain(text), may_begin, &mut |pieces| {
        words(look.secrets, &only(&pieces.bytes, is_token_byte), LEAST, see);
        scan(look, &pieces.bytes, depth, see);
    });
}

/// Scans the bytes that a list of characters and numbers stands for.
pub(super) fn literal(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    literals(&Text::plain(text), &mut |bytes| {
        decoded(look.in_numbers(), &bytes.bytes, depth, see);
    });
}

/// Scans the bytes that padded pieces of base64 stand for.
pub(super) fn padded_bytes(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    padded(&Text::plain(text), &mut |bytes| {
        decoded(look.in_numbers(), &bytes.bytes, depth, see);
    });
}

/// Whether the bytes that some hexadecimal digits stand for may have a word of a secret.
pub(super) fn may_have_words(secrets: &Secrets, hash: &[u8]) -> bool {
    let number = |at: usize| hash.get(at..).and_then(word).map(hex_number);
    let may_have = |at: usize| number(at).is_some_and(|number| secrets.may_have(number.swap_bytes()));
    // A long word contains the fifth to the eighth byte or, after one byte more, the next four, and so on. It
    // can begin with any digit.
    let mut at = LEAST;
    while at + LEAST <= hash.len() {
        if may_have(at) || may_have(at + 1) {
            return true;
        }
        at += 2 * (LEAST + 1 - SHORT_WORD);
    }
    // A word of a dump may begin with its last byte.
    hash.len() == DIGITS
        && number(0)
            .zip(number(LEAST))
            .is_some_and(|(high, low)| secrets.gate().has(u64::from(high) << 32 | u64::from(low)))
}

/// The number that eight hexadecimal digits stand for.
fn hex_number(digits: u64) -> u32 {
    let digits = digits.swap_bytes();
    // The lower bits of a letter are 1 to 6.
    let mut digits = (digits & (0x0f * EACH)) + 9 * (digits >> 6 & EACH);
    digits = (digits | digits >> 4) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits >> 8) & 0x0000_ffff_0000_ffff;
    (digits | digits >> 16) as u32
}

/// The number whose bytes are all 1.
const EACH: u64 = 0x0101_0101_0101_0101;
