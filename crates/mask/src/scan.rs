//! The first look at a text: it finds the places where a view may find a piece of a secret.
//!
//! Most of a log gets only this look. The look searches for 8-byte words of the secrets, and counts the kinds
//! of characters in samples of the text. It decodes text that looks like an encoding, but keeps no positions
//! of the decoded bytes. Then the views read only the text around the words that the look found.

use std::ops::Range;

use crate::{
    LEAST,
    grams::word,
    secrets::Secrets,
    text::Text,
    views::{
        Kind, ROWS, Token, Tokens, alone, base64_value, columns, count_alone, has_carets, has_escapes,
        hex_byte, hex_value, is_text, is_token_byte, latin, uncareted, unescaped,
    },
};

/// The least number of bytes of a secret in a row for which views read the text around them. Fewer bytes are
/// often common words.
pub(crate) const SEEN: usize = 12;

/// Like [`SEEN`], for bytes that come from numbers: a fold may leave only a few of them in a row.
const SEEN_IN_NUMBERS: usize = LEAST;

/// The least length of a secret that shows in many samples of a text.
const LONG: usize = 64;

/// The distance between two samples of the text, and the number of bytes of a sample whose kinds are counted.
const SAMPLE: usize = 16;
const COUNTED: usize = 8;

/// The least length of a run of base64 that the look decodes (for short secrets, it is less), and the least
/// number of capitals and of small letters in this run: paths and words have few capitals.
const RUN: usize = 32;
const LETTERS: usize = 3;

/// The least number of digits in a run of numbers that the look decodes.
const DIGITS: usize = 2 * LEAST;

/// The least number of hexadecimal digits in a row that are more than a short hash: they may stand for
/// another encoding.
const MANY_DIGITS: usize = 28;

/// The least number of digits of the address of a dump.
const ADDRESS: usize = 7;

/// The greatest number of bytes between the numbers of two lines of a dump.
const COLUMN: usize = 64;

/// The number of bytes that the look decodes at once, and the number of bytes that two such parts share.
const PART: usize = 2048;
const OVERLAP: usize = 256;

/// The number of bytes around a sample that are read without separators, or without escapes.
const AROUND: usize = 48;

/// The number of samples in a row with an escape after which escapes are dense.
const DENSE: u32 = 3;

/// The least number of samples with an escape, among eight in a row with many digits, after which the escapes
/// may be folded: each line can have a prefix.
const FOLDED: u32 = 4;

/// The least number of samples with a digit, among eight in a row, in text that may be a list of numbers.
const SAMPLES_WITH_DIGITS: u32 = 6;

/// The number of bytes before a sample in which the look counts lines, and the least number of lines that may
/// be the rows of a table. Other logs have longer lines.
const TABLE: usize = 384;
const ROWS_BEFORE: usize = 8;

/// The least number of equal texts between the numbers of a list.
const EQUAL: usize = 5;

/// The number of bytes of each class in some text. Each class has one byte of the integer.
#[derive(Clone, Copy, Default)]
struct Counts(u64);

/// A class of bytes. Its value is the number of bits below its count in [`Counts`].
#[derive(Clone, Copy)]
enum Class {
    Base64 = 0,
    /// All characters in lists of numbers, including the separators.
    Number = 8,
    Capital = 16,
    Small = 24,
    Separator = 32,
    Escape = 40,
    Digit = 48,
    /// The first bytes of the characters U+0080 to U+00FF in UTF-8.
    Latin = 56,
}

const CLASSES: [u64; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let mut counts = 0;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_') {
            counts |= 1 << Class::Base64 as u32;
        } else if byte != b'.' {
            counts |= 1 << Class::Separator as u32;
        }
        if byte.is_ascii_uppercase() {
            counts |= 1 << Class::Capital as u32;
        }
        if byte.is_ascii_lowercase() {
            counts |= 1 << Class::Small as u32;
        }
        if matches!(byte, b'\\' | b'%' | b'&' | b'=' | b'<' | b'^') {
            counts |= 1 << Class::Escape as u32;
        }
        if byte.is_ascii_digit() {
            counts |= 1 << Class::Digit as u32;
        }
        if matches!(byte, 0xc2 | 0xc3) {
            counts |= 1 << Class::Latin as u32;
        }
        let is_mark =
            matches!(byte, 9 | 10 | 13 | b' '..=b'/' | b':'..=b'>' | b'['..=b']' | b'_' | b'{'..=b'}');
        if is_mark
            || byte.is_ascii_hexdigit()
            || matches!(byte, b'x' | b'X' | b'u' | b'U' | b'o' | b'i' | b'n' | b't')
        {
            counts |= 1 << Class::Number as u32;
        }
        table[at] = counts;
        at += 1;
    }
    table
};

impl Counts {
    fn of(bytes: &[u8; COUNTED]) -> Self {
        Self(bytes.iter().map(|byte| CLASSES[usize::from(*byte)]).sum())
    }

    fn get(self, class: Class) -> usize {
        (self.0 >> class as u32 & 0xff) as usize
    }

    /// The classes of which the text has so many bytes that a look at it may be of use. Each class has the
    /// upper bit of its byte.
    fn reached(self) -> u64 {
        // No count is greater than 8, so none overflows into the next.
        (self.0 + TO_REACH) & 0x8080_8080_8080_8080
    }
}

/// For each class, the number that sets the upper bit of its byte if it is added to a count that is just
/// enough.
const TO_REACH: u64 = {
    let enough = [
        (Class::Base64, COUNTED),
        (Class::Number, COUNTED),
        (Class::Capital, 2),
        (Class::Separator, 4),
        (Class::Escape, 1),
        (Class::Digit, 1),
        (Class::Latin, 2),
    ];
    let (mut all, mut at) = (0, 0);
    while at < enough.len() {
        let (class, count) = enough[at];
        all |= (0x80 - count as u64) << class as u32;
        at += 1;
    }
    all
};

fn is(byte: u8, class: Class) -> bool {
    CLASSES[usize::from(byte)] >> class as u32 & 1 == 1
}

/// The secrets, and how closely to look for them.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    secrets: &'a Secrets,
    /// Whether a known word is near. Then shorter encodings also count.
    is_close: bool,
    /// The least number of bytes of a secret in a row that count.
    least: usize,
}

impl<'a> Look<'a> {
    /// A look at a whole log.
    pub(crate) fn far(secrets: &'a Secrets) -> Self {
        Self {
            secrets,
            is_close: false,
            least: SEEN,
        }
    }

    /// A look at text near a known word.
    pub(crate) fn close(secrets: &'a Secrets) -> Self {
        Self {
            secrets,
            is_close: true,
            least: LEAST,
        }
    }

    /// A look at text that numbers stand for.
    fn in_numbers(self) -> Self {
        let least = SEEN_IN_NUMBERS;
        Self { least, ..self }
    }
}

/// Calls `see` with each part of a text in which up to `depth` views may read a piece.
pub(crate) fn scan(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    let secrets = look.secrets;
    words(secrets, text, look.least, see);
    if depth == 0 {
        return;
    }
    let (mut numbers_to, mut base64_to, mut mixed_to, mut mixed, mut alone_to) = (0, 0, 0, 0, 0);
    let (mut escapes_to, mut escapes) = (0, 0_u8);
    let (mut listed_to, mut digits, mut latin_to, mut table_to) = (0, 0_u8, 0, 0);
    let mut dump: Option<Range<usize>> = None;
    // The encoding of a short secret is short. In decoded text, a line of an encoding is often short.
    let is_short = look.is_close || secrets.least() < LONG;
    let shortest = if look.is_close { LEAST } else { secrets.shortest() };
    let (step, dense, least_mixed) = if is_short {
        (COUNTED, 1, 1)
    } else {
        (SAMPLE, DENSE, 2)
    };
    let mut read = Numbers::default();
    let mut numbers = |run: Option<Range<usize>>, see: &mut dyn FnMut(Range<usize>)| {
        for part in run.into_iter().flat_map(parts) {
            // The next byte tells an address from another number.
            let known = &text[part.start..text.len().min(part.end + 1)];
            let mut see = |_| see(part.clone());
            let mut numbers = |text: &[u8], begins_line| {
                read.read(text, begins_line);
                numbers(look, &mut read, depth - 1, &mut see);
                (
                    read.tokens.has_address_first,
                    std::mem::take(&mut read.tokens.columns),
                )
            };
            let (has_address, columns) = numbers(known, true);
            if is_short {
                // A short secret has no number to lose. Another number may be before this one in its line.
                if has_address {
                    numbers(known, false);
                }
                // What looks like the text column of a dump can be numbers.
                for column in columns {
                    numbers(&known[column], true);
                }
            }
            // The forms of a short secret are secrets, also its hexadecimal digits.
            if secrets.least() < LONG {
                words(secrets, &only(known, is_token_byte), LEAST, &mut see);
            }
        }
    };
    let mut at = 0;
    while let Some(sample) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let counts = Counts::of(sample);
        let reached = counts.reached();
        let is_digit = reached >> (Class::Digit as u32 + 7) & 1;
        digits = digits << 1 | is_digit as u8;
        if is_digit > 0 && at >= listed_to && digits.count_ones() >= SAMPLES_WITH_DIGITS {
            let part = at.saturating_sub(2 * AROUND)..text.len().min(at + 2 * AROUND);
            // A log can be full of digits, so this skips some text. A list of a whole secret is longer than
            // the skipped text.
            listed_to = part.end + 2 * OVERLAP;
            if is_list(&text[part.clone()]) {
                let part = part.start..text.len().min(part.start + PART);
                listed_to = part.end - AROUND;
                table(secrets, &text[part.clone()], &mut |_| see(part.clone()));
                numbers(Some(part), see);
            }
        }
        if is_digit > 0 && at >= table_to && digits.count_ones() >= SAMPLES_WITH_DIGITS {
            let before = at.saturating_sub(TABLE);
            table_to = at + TABLE / 2;
            if memchr::memchr_iter(b'\n', &text[before..at]).count() >= ROWS_BEFORE {
                let part = before..text.len().min(at + PART);
                table_to = part.end - AROUND;
                table(secrets, &text[part.clone()], &mut |_| see(part.clone()));
            }
        }
        if reached & !(0x80 << Class::Digit as u32) == 0 {
            (mixed, escapes) = (0, escapes << 1);
            at += step;
            continue;
        }
        let has = |class| counts.get(class);
        let next = |class| {
            let next = text[at + COUNTED..].first_chunk();
            next.map_or(COUNTED, |next| Counts::of(next).get(class))
        };
        let is_long = || is_short || next(Class::Number) >= COUNTED - 1;
        if has(Class::Number) == COUNTED && at >= numbers_to && is_long() {
            let run = run(text, at, Class::Number);
            numbers_to = run.end;
            let digits = Digits::of(&text[run.clone()]);
            if !is_numbers(&text[run.clone()], digits, is_short) {
                // Most runs are too short.
            } else if let Some(hash) = digits.filter(|_| !is_short).and_then(Digits::hash) {
                if has_words(secrets, &text[run.clone()][hash]) {
                    numbers(Some(run), see);
                }
            } else {
                listed_to = listed_to.max(run.end);
                // The lines of a dump have a text column between them.
                match dump.as_mut().filter(|dump| dump.end + COLUMN >= run.start) {
                    Some(dump) => dump.end = run.end,
                    None => numbers(dump.replace(run), see),
                }
            }
        }
        let is_long = || is_short || next(Class::Base64) == COUNTED;
        if has(Class::Base64) == COUNTED && at >= base64_to && is_long() {
            let run = run(text, at, Class::Base64);
            base64_to = run.end;
            let enough = |class| {
                text[run.clone()]
                    .iter()
                    .filter(|byte| is(**byte, class))
                    .nth(LETTERS - 1)
            };
            if run.len() >= RUN.min(2 * shortest - 2)
                && enough(Class::Capital).is_some()
                && enough(Class::Small).is_some()
            {
                base64(look, &text[run.clone()], depth - 1, &mut |part| {
                    see(run.start + part.start..run.start + part.end);
                });
            }
        }
        let separators = has(Class::Separator);
        let is_mixed = has(Class::Capital) >= 2 && has(Class::Small) >= 1 && separators > 0;
        mixed = if is_mixed { mixed + 1 } else { 0 };
        let goes_on = || look.is_close || separators + next(Class::Separator) >= 5;
        let is_parted = || (4..COUNTED).contains(&separators) && goes_on();
        if at >= mixed_to && (mixed >= least_mixed || is_parted()) {
            let part = at.saturating_sub(AROUND)..text.len().min(at + 2 * AROUND);
            mixed_to = at + AROUND;
            let joined = only(&text[part.clone()], is_token_byte);
            words(secrets, &joined, look.least, &mut |_| see(part.clone()));
            let near = at.saturating_sub(COUNTED)..text.len().min(at + 2 * SAMPLE);
            if at >= alone_to && count_alone(&text[near]) > 0 {
                let part = part.start..text.len().min(at + OVERLAP);
                alone_to = at + OVERLAP - 2 * AROUND;
                // The first and the last byte may stand alone, too.
                let alone = match count_alone(&text[part.clone()]) + 2 >= LEAST {
                    true => alone(&text[part.clone()]),
                    false => Vec::new(),
                };
                let alone: Vec<_> = alone.into_iter().map(|at| text[part.start + at]).collect();
                for (first, step) in ROWS {
                    let row: Vec<_> = alone.iter().copied().skip(first).step_by(step).collect();
                    words(secrets, &row, LEAST, &mut |_| see(part.clone()));
                }
            }
        }
        if has(Class::Latin) >= 2 && at >= latin_to {
            let part = at.saturating_sub(AROUND)..text.len().min(at + OVERLAP);
            latin_to = at + OVERLAP - AROUND;
            let bytes = latin(&Text::plain(&text[part.clone()])).bytes;
            words(secrets, &bytes, SEEN_IN_NUMBERS, &mut |_| see(part.clone()));
        }
        escapes = escapes << 1 | u8::from(has(Class::Escape) > 0);
        let is_folded = escapes.count_ones() >= FOLDED && digits.count_ones() >= SAMPLES_WITH_DIGITS;
        if at >= escapes_to && (escapes.trailing_ones() >= dense || is_folded) {
            escapes_to = at + OVERLAP;
            let samples = if is_folded { 8 } else { DENSE as usize };
            let part = at.saturating_sub(samples * step + AROUND)..text.len().min(escapes_to + AROUND);
            unescape(look, &text[part.clone()], depth - 1, &mut |_| see(part.clone()));
            if has_carets(&text[part.clone()]) {
                let bytes = uncareted(&Text::plain(&text[part.clone()])).bytes;
                words(secrets, &bytes, SEEN_IN_NUMBERS, &mut |_| see(part.clone()));
                let joined = only(&bytes, is_token_byte);
                words(secrets, &joined, look.least, &mut |_| see(part.clone()));
            }
        }
        at += step;
    }
    numbers(dump, see);
}

/// Looks up words of a text, often enough to find each stretch of `least` known bytes.
fn words(secrets: &Secrets, text: &[u8], least: usize, see: &mut dyn FnMut(Range<usize>)) {
    let stride = least.min(secrets.shortest()) + 1 - LEAST;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| secrets.gate().find(rest, stride)) {
        at += found;
        match secrets.seen(text, at, least) {
            Some(part) => {
                at = part.end.max(at + 1);
                see(part);
            }
            None => at += stride,
        }
    }
}

/// Scans the bytes that an encoding stands for.
fn decoded(look: Look<'_>, bytes: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    words(look.secrets, bytes, look.least, see);
    let shortest = if look.is_close { LEAST } else { RUN / 2 };
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
    // The characters of UTF-16 have zeros between them.
    let zeros = memchr::memchr_iter(0, bytes).count();
    if zeros > bytes.len() / 3 {
        let visible = only(bytes, |byte| byte != 0);
        scan(look, &visible, depth, &mut |part| {
            see(part.start..bytes.len());
        });
        // Each fold can leave a number of its prefix between the characters.
        words(
            look.secrets,
            &only(&visible, is_token_byte),
            look.least,
            &mut |_| {
                see(0..bytes.len());
            },
        );
    }
}

/// Scans the bytes that a run of base64 stands for, at all four alignments.
fn base64(look: Look<'_>, run: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
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
fn numbers(look: Look<'_>, read: &mut Numbers, depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    let Numbers {
        digits, pairs, bytes, ..
    } = read;
    let look = look.in_numbers();
    for phase in 0..2 {
        pairs.clear();
        let digits = digits.get(phase..).unwrap_or_default();
        pairs.extend(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
        decoded(look, pairs, depth, see);
    }
    for (bytes, word) in bytes.iter_mut().zip([1, 1, 2, 4, 8, 1, 1, 1, 1]) {
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
struct Numbers {
    tokens: Tokens,
    /// The hexadecimal digits of all numbers.
    digits: Vec<u8>,
    /// Little-endian words, decimal bytes, decimal words of 2, 4 and 8 bytes, octal bytes and words, binary
    /// bytes, and numbers of at most two hexadecimal digits.
    bytes: [Vec<u8>; 9],
    /// The bytes that pairs of hexadecimal digits stand for.
    pairs: Vec<u8>,
}

impl Numbers {
    /// Replaces the bytes by those of another text.
    fn read(&mut self, text: &[u8], begins_line: bool) {
        let mut tokens = std::mem::take(&mut self.tokens);
        tokens.read(text, begins_line);
        self.digits.clear();
        self.bytes.iter_mut().for_each(Vec::clear);
        for token in &tokens.tokens {
            self.add(token, &text[token.digits.clone()]);
        }
        // The pairs of digits are the same bytes.
        if tokens.tokens.iter().all(|token| token.digits.len() == 2) {
            self.bytes[8].clear();
        }
        self.tokens = tokens;
    }

    fn add(&mut self, token: &Token, digits: &[u8]) {
        let short = digits.strip_prefix(b"00").filter(|rest| rest.len() == 2);
        let digits = short.filter(|_| token.kind == Kind::Prefixed).unwrap_or(digits);
        let (mut hex, mut decimal, mut octal, mut binary, mut most) = (0_u64, 0_u64, 0_u64, 0_u64, 0);
        for byte in digits {
            let digit = hex_value(*byte).unwrap_or_default();
            let value = u64::from(digit);
            self.digits.push(digit);
            hex = hex << 4 | value;
            decimal = decimal.wrapping_mul(10).wrapping_add(value);
            octal = octal << 3 | value & 7;
            binary = binary << 1 | value & 1;
            most = most.max(digit);
        }
        let length = digits.len();
        let mut add = |way: usize, value: u64, count: usize| {
            self.bytes[way].extend_from_slice(&value.to_le_bytes()[..count]);
        };
        // Beside other words, `\u0065` can also be a word.
        if matches!(token.digits.len(), 4 | 8 | 16) {
            add(0, hex, token.digits.len() / 2);
        }
        if let Some((byte, _)) = hex_byte(digits) {
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
        match length {
            _ if most > 7 => {}
            1..=4 if octal < 0x100 => add(5, octal, 1),
            6 => add(6, octal, 2),
            11 => add(6, octal, 4),
            22 => add(6, octal, 8),
            8 if most < 2 => add(7, binary, 1),
            _ => {}
        }
    }
}

/// Looks up words of the bytes that the columns of a table stand for.
fn table(secrets: &Secrets, text: &[u8], see: &mut dyn FnMut(Range<usize>)) {
    let mut bytes = Vec::new();
    columns(text, false, &mut |cells| {
        bytes.clear();
        bytes.extend(cells.iter().map(|(_, byte)| *byte));
        words(secrets, &bytes, LEAST, see);
    });
}

/// Replaces the escapes in a text by the bytes that they stand for, and scans the result.
fn unescape(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    if has_escapes(text) {
        let plain = unescaped(&Text::plain(text));
        scan(look, &plain.bytes, depth, see);
    }
}

/// The bytes of a text for which `belongs` returns `true`.
fn only(text: &[u8], belongs: impl Fn(u8) -> bool) -> Vec<u8> {
    let (mut found, mut bytes) = (0, vec![0; text.len()]);
    // This has no branch for each byte, because a processor could not predict it.
    for &byte in text {
        bytes[found] = byte;
        found += usize::from(belongs(byte));
    }
    bytes.truncate(found);
    bytes
}

/// The run of bytes of a class around a sample. All bytes of the sample are of that class.
fn run(text: &[u8], at: usize, class: Class) -> Range<usize> {
    let is_other = |byte: &u8| !is(*byte, class);
    let before = text[..at].iter().rposition(is_other);
    let after = at + COUNTED;
    let length = text[after..].iter().position(is_other);
    before.map_or(0, |before| before + 1)..length.map_or(text.len(), |length| after + length)
}

/// The parts of a run, which overlap.
fn parts(run: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let last = run.len().saturating_sub(OVERLAP + 1) / (PART - OVERLAP);
    (0..=last).map(move |part| {
        let start = run.start + part * (PART - OVERLAP);
        start..run.end.min(start + PART)
    })
}

/// Whether the texts between numbers are often equal, as in `byte(101), byte(121)`. It is enough if every
/// second text is equal, as in `0 => 101, 1 => 121`.
fn is_list(text: &[u8]) -> bool {
    let mut gaps: [&[u8]; 2] = [&[], &[]];
    let (mut equal, mut seen) = ([0; 2], 0);
    let mut at = text.iter().position(u8::is_ascii_digit).unwrap_or(text.len());
    // In a list, most of the texts are equal. In other text, this loop stops after a few of them.
    while at < text.len() && seen <= 2 * equal[0].max(equal[1]) + EQUAL {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let is_hex = matches!(text[at..], [b'0', b'x' | b'X', ..]);
        at += match text.get(at + 2..).filter(|_| is_hex) {
            Some(digits) => 2 + digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count(),
            None => text[at..].iter().take_while(|byte| is_digit(byte)).count(),
        };
        let length = text[at..].iter().position(is_digit).unwrap_or(text.len() - at);
        let gap = &text[at..at + length];
        for (equal, other) in equal.iter_mut().zip(gaps) {
            *equal += usize::from(gap == other && length > 1);
        }
        gaps = [gap, gaps[0]];
        seen += 1;
        at += length;
    }
    equal.iter().any(|equal| *equal >= EQUAL)
}

/// The digits of a short run of numbers. Each byte of the run has one bit, the first byte the lowest one.
#[derive(Clone, Copy)]
struct Digits {
    /// The hexadecimal digits.
    all: u64,
    /// The digits that are letters.
    letters: u64,
    line_breaks: u64,
    /// The number of bytes of the run.
    length: usize,
}

impl Digits {
    /// `None` if the run has more than 64 bytes.
    fn of(run: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        bytes.get_mut(..run.len())?.copy_from_slice(run);
        let mut digits = Self {
            all: 0,
            letters: 0,
            line_breaks: 0,
            length: run.len(),
        };
        // Eight bytes at once. A run is ASCII, so that no sum of two bytes overflows into the next byte.
        for (at, eight) in bytes.chunks_exact(8).enumerate().take(run.len().div_ceil(8)) {
            let eight = word(eight).unwrap_or_default();
            let at_least = |eight: u64, byte: u8| eight + EACH * u64::from(0x80 - byte);
            let numerals = at_least(eight, b'0') & !at_least(eight, b'9' + 1);
            let small = eight | (EACH * u64::from(b' '));
            let letters = at_least(small, b'a') & !at_least(small, b'f' + 1);
            let line_breaks = at_least(eight, b'\n') & !at_least(eight, b'\n' + 1);
            digits.all |= upper_bits(numerals | letters) << (8 * at);
            digits.letters |= upper_bits(letters) << (8 * at);
            digits.line_breaks |= upper_bits(line_breaks) << (8 * at);
        }
        Some(digits)
    }

    /// The number in the run that looks like a short hash: the run has few other digits.
    fn hash(self) -> Option<Range<usize>> {
        // A longer run may be a list.
        if self.length > 2 * MANY_DIGITS {
            return None;
        }
        let (mut rest, mut hash) = (self.all, 0..0);
        while rest != 0 {
            let start = rest.trailing_zeros();
            let length = (rest >> start).trailing_ones();
            if length as usize > hash.len() {
                hash = start as usize..(start + length) as usize;
            }
            rest &= u64::MAX.checked_shl(start + length).unwrap_or(0);
        }
        let has_few_others = (self.all.count_ones() as usize) < hash.len() + DIGITS;
        // A number without letters may also be decimal or binary, so this does not return it.
        let has_letters = self.letters >> hash.start << hash.start << (64 - hash.end.max(1)) != 0;
        ((DIGITS..MANY_DIGITS).contains(&hash.len()) && has_few_others && has_letters).then_some(hash)
    }

    /// The number of digits in each line, and the place of the line in the run.
    fn in_lines(self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let start = next?;
            let rest = self.line_breaks.checked_shr(start).unwrap_or(0);
            let end = (start + rest.trailing_zeros()).min(self.length as u32);
            next = (rest != 0).then_some(end + 1);
            let before_end = u64::MAX.checked_shr(64 - end).unwrap_or(0);
            let of_line = before_end & u64::MAX.checked_shl(start).unwrap_or(0);
            Some((
                (self.all & of_line).count_ones() as usize,
                start as usize..end as usize,
            ))
        })
    }
}

/// The number whose bytes are all 1.
const EACH: u64 = 0x0101_0101_0101_0101;

/// The upper bits of eight bytes, that of the first byte as the lowest one.
fn upper_bits(eight: u64) -> u64 {
    // For each byte, one of the factor's bits moves the byte's bit to its place in the highest byte.
    (eight >> 7 & EACH).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Whether the bytes that a hash stands for have a word of a secret.
fn has_words(secrets: &Secrets, hash: &[u8]) -> bool {
    let mut number = 0;
    let has_word = hash.iter().enumerate().any(|(at, digit)| {
        number = number << 4 | u64::from(hex_value(*digit).unwrap_or_default());
        at + 1 >= DIGITS && secrets.gate().has(number.swap_bytes())
    });
    // A word of a dump may begin with its last byte.
    has_word || hash.len() == DIGITS && secrets.gate().has(number)
}

/// Whether a run has many digits in one line or in all its whole lines together, or the address of a dump in
/// a line. The first and the last line may be parts of longer lines. Their digits add to the total only if
/// `is_short`, because a log may have the time and a hash there.
fn is_numbers(text: &[u8], short: Option<Digits>, is_short: bool) -> bool {
    if text.len() < DIGITS {
        return text.len() >= ADDRESS && text.split(|byte| *byte == b'\n').any(has_address);
    }
    let mut together = 0;
    let mut counts = |found: usize, line: Range<usize>| {
        let adds_up = is_short || line.start > 0 && line.end < text.len();
        together += if adds_up { found } else { 0 };
        found >= DIGITS || together >= DIGITS || has_address(&text[line])
    };
    if let Some(short) = short {
        return short.in_lines().any(|(found, line)| counts(found, line));
    }
    let mut end = 0;
    text.split(|byte| *byte == b'\n').any(|line| {
        let start = end;
        end += line.len() + 1;
        let found = line.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
        counts(found, start..start + line.len())
    })
}

/// Whether a line has the address of a dump and a digit after it.
fn has_address(line: &[u8]) -> bool {
    memchr::memchr_iter(b' ', line).any(|blank| {
        let Some((address, b':' | b' ')) = line[..blank].split_last().map(|(last, before)| (before, last))
        else {
            return false;
        };
        let digits = address.last_chunk::<ADDRESS>();
        matches!(line.get(blank + 1), Some(b'0'..=b'9' | b'a'..=b'f'))
            && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Numbers, letters, line breaks and separators in any order and number.
        #[test]
        fn eight_bytes_at_once_are_read_like_one_by_one(run in "[0-9/:@A-G`a-g\n\t ~]{0,64}") {
            let digits = Digits::of(run.as_bytes()).expect("it is short");
            let bits = |belongs: fn(&u8) -> bool| {
                run.bytes().rev().fold(0, |bits, byte| bits << 1 | u64::from(belongs(&byte)))
            };
            prop_assert_eq!(digits.all, bits(u8::is_ascii_hexdigit));
            prop_assert_eq!(digits.letters, bits(|byte| byte.is_ascii_hexdigit() && byte.is_ascii_alphabetic()));
            prop_assert_eq!(digits.line_breaks, bits(|byte| *byte == b'\n'));
            let of_lines = digits.in_lines().map(|(found, line)| (found, line.len()));
            let lines = run.split('\n').map(|line| {
                (line.bytes().filter(u8::is_ascii_hexdigit).count(), line.len())
            });
            prop_assert!(of_lines.eq(lines));
        }

        #[test]
        fn a_hash_is_the_longest_number(run in "[0-9a-f .:]{0,20}[0-9a-f]{12,30}[0-9a-f .:]{0,14}") {
            let is_digit = |c: char| c.is_ascii_hexdigit();
            let longest = run.split(|c| !is_digit(c)).max_by_key(|number| number.len()).unwrap_or_default();
            let others = run.chars().filter(|c| is_digit(*c)).count() - longest.len();
            let is_hash = run.len() <= 2 * MANY_DIGITS
                && (DIGITS..MANY_DIGITS).contains(&longest.len())
                && others < DIGITS
                && longest.bytes().any(|byte| byte.is_ascii_alphabetic());
            let found = Digits::of(run.as_bytes()).and_then(Digits::hash);
            prop_assert_eq!(found.map(|hash| hash.len()), is_hash.then_some(longest.len()));
        }
    }
}
