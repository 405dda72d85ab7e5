//! Looks at numbers and characters that stand behind the same few bytes, however long the text between them
//! is: `value=101` in some lines, `<td>101</td>`, `(7, 101, 'comment'),`.

use std::ops::Range;

use super::Scan;
use crate::{
    LEAST,
    classes::{BLOCK, Class, in_a_row, positions},
    search::DEPTH,
    secrets::Secrets,
    text::LONGEST_GAP,
    views::{WAYS, hex_value, values},
};

/// The least length of a text that this look reads.
const SHORTEST: usize = 64;

/// If all secrets are long, the look reads this number of bytes in each second period, and half of it in the
/// others. Most tables with one byte of such a secret in each row are longer than a period.
const READ: usize = 1 << 10;
const PERIOD: usize = 8 << 10;

/// The number of bytes that the look also reads after five bytes that may belong to a secret.
const MORE: usize = 4 << 10;

/// The least and the greatest number of bytes before a number that make its label. Some labels differ only at
/// the beginning of a word: `'old_value': 101, 'new_value': 121`.
const LABEL: usize = 6;
const LONGEST_LABEL: usize = 20;

/// The number of labels that the look knows at once, and the number of places that one label can have.
const LABELS: usize = 128;
const PLACES: usize = 4;

/// The label of all numbers, whatever is before them. Only short secrets have it.
const ANY: u64 = u64::MAX;

/// The bits by which the label of a list differs from the label of its first number.
const LIST: u64 = 0xff << 56;

/// The greatest length of the text of a number.
const LONGEST: usize = 23;

/// The greatest length of a number with a sign, a type or a decimal point.
const SHORT: usize = 6;

/// The greatest number of bytes between two numbers of a list.
const GAP: usize = 4;

/// The way to read a number that reads its characters.
const TEXT: usize = 0;

/// The latest numbers behind a label.
#[derive(Clone, Copy, Default)]
struct Field {
    label: u64,
    count: usize,
    /// The beginnings of the latest numbers, each at its number modulo the count.
    starts: [u32; LEAST],
    /// The end of the latest number.
    end: u32,
    /// For each way to read the numbers, their latest eight bytes. The highest byte is the latest one.
    latest: [u64; WAYS],
}

/// What the latest numbers behind a label are.
#[derive(PartialEq, Eq)]
enum Found {
    Nothing,
    /// Five bytes that may belong to a secret.
    Few,
    /// Eight bytes of a secret.
    Word,
}

impl Field {
    /// Adds a number.
    fn add(&mut self, secrets: &Secrets, text: &[u8], number: Range<usize>) -> Found {
        if self.count == 0 || number.start as u32 > self.end + LONGEST_GAP {
            (self.starts, self.count) = ([number.start as u32; LEAST], 0);
            self.latest = [0; WAYS];
        }
        self.starts[self.count % LEAST] = number.start as u32;
        (self.count, self.end) = (self.count + 1, number.end as u32);
        let mut found = Found::Nothing;
        let latest = &mut self.latest;
        read(&text[number], &mut |way, byte| {
            latest[way] = latest[way] >> 8 | u64::from(byte) << 56;
            let [four, before] = [latest[way] >> 32, latest[way] >> 24].map(|bytes| bytes as u32);
            // The forms of a secret have many digits.
            let has_letters = way != TEXT || four & 0x4040_4040 != 0;
            if has_letters && is_likely(four) && secrets.may_have(four) && secrets.may_have(before) {
                let is_word = secrets.gate().has(latest[way])
                    && secrets.seen(&latest[way].to_le_bytes(), 0, LEAST).is_some();
                match is_word {
                    true => found = Found::Word,
                    false if found == Found::Nothing => found = Found::Few,
                    false => {}
                }
            }
        });
        found
    }

    /// The stretch of the latest numbers.
    fn part(&self) -> Range<usize> {
        self.starts[self.count % LEAST] as usize..self.end as usize
    }
}

/// Whether the look reads a position of a text in any case. Every second stretch is shorter.
fn is_read(at: usize) -> bool {
    let is_even = (at / PERIOD).is_multiple_of(2);
    at % PERIOD < if is_even { READ } else { READ / 2 }
}

/// Whether four bytes are text or random bytes. Most numbers of a log stand for other bytes, or are equal.
fn is_likely(four: u32) -> bool {
    let high = four & 0x8080_8080;
    let is_text = four.wrapping_sub(0x2020_2020) & 0x8080_8080 == 0;
    (high != 0 || is_text) && four != four.rotate_left(8)
}

/// Calls `add` with the bytes that a number or one or two characters stand for, and the way to read it.
#[inline]
fn read(number: &[u8], add: &mut impl FnMut(usize, u8)) {
    // Most logs have many numbers of two digits.
    if matches!(number, [_] | [b'A'..=b'z', _] | [_, b'A'..=b'z']) {
        number.iter().for_each(|byte| add(TEXT, *byte));
    }
    if number.len() <= 3 {
        let (mut hex, mut decimal, mut octal, mut most) = (0_u32, 0_u32, 0_u32, 0);
        for byte in number {
            let digit = u32::from(hex_value(*byte).unwrap_or(16));
            (hex, decimal, octal) = (hex << 4 | digit, decimal * 10 + digit, octal << 3 | digit);
            most = most.max(digit);
        }
        // Most numbers are that short.
        if most < 16 {
            if number.len() == 2 {
                add(1, hex as u8);
            }
            if most < 10 && decimal < 0x100 {
                add(2, decimal as u8);
            }
            if number.len() == 3 && most < 8 && octal < 0x100 {
                add(3, octal as u8);
            }
            return;
        }
    }
    for (way, value) in values(number).into_iter().flatten().enumerate().skip(1) {
        let Some(value) = value else { continue };
        value.bytes().for_each(|byte| add(way, byte));
    }
}

/// The labels that the look knows.
struct Fields(Vec<Field>);

impl Fields {
    /// The numbers behind a label. Forgets another label if there is no place for this one.
    #[inline]
    fn get(&mut self, label: u64, at: usize) -> &mut Field {
        let hash = label.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - (LABELS / PLACES).ilog2());
        let places = &mut self.0[hash as usize * PLACES..][..PLACES];
        let known = places.iter().position(|field| field.label == label);
        let place = known.unwrap_or_else(|| {
            // A label that came once is probably a word of the log.
            let is_used = |field: &Field| (field.count > 1 && field.end + LONGEST_GAP > at as u32, field.end);
            let oldest = (0..PLACES)
                .min_by_key(|place| is_used(&places[*place]))
                .unwrap_or(0);
            (places[oldest].label, places[oldest].count) = (label, 0);
            oldest
        });
        &mut places[place]
    }
}

impl Scan<'_> {
    /// Numbers and characters behind the same label.
    pub(super) fn fields(&self, see: &mut dyn FnMut(Range<usize>)) {
        if self.text.len() < SHORTEST || self.depth + 1 < DEPTH {
            return;
        }
        let (tokens, digits) = (self.bits(Class::Token), self.bits(Class::Digit));
        let hex = self.bits(Class::Hex);
        let mut fields = Fields(vec![Field::default(); LABELS]);
        // The labels of the first and of the second number of the latest list, and the number of its numbers.
        let (mut list, mut count, mut list_end) = ([0; 2], 0, 0);
        let mut read_to = 0;
        let mut next = 0;
        while next < tokens.blocks() {
            let (block, first) = (next, next * BLOCK);
            if !self.is_short && !is_read(first) && first >= read_to {
                next = first.next_multiple_of(PERIOD) / BLOCK;
                continue;
            }
            next += 1;
            let after = |bits: u64, next: u64, by: usize| bits >> by | next << (BLOCK - by);
            let (token, token_after) = (tokens.block(block), tokens.block(block + 1));
            let is_token_before = block
                .checked_sub(1)
                .map_or(0, |before| tokens.block(before) >> (BLOCK - 1));
            let starts = token & !(token << 1 | is_token_before);
            let short = !(after(token, token_after, 1) & after(token, token_after, 2));
            let (digit, digit_after) = (digits.block(block), digits.block(block + 1));
            let words = in_a_row(
                u128::from(hex.block(block)) | u128::from(hex.block(block + 1)) << BLOCK,
                4,
            );
            let numbers = digit | after(digit, digit_after, 1) | words as u64;
            // Single characters of a long secret are near one another, or many.
            let chosen = if self.is_short { short | numbers } else { numbers };
            for start in positions(starts & chosen).map(|bit| first + bit) {
                let end = start + tokens.from(start).trailing_ones() as usize;
                // Names, times and versions are longer.
                let is_number = || {
                    let digits = hex.from(start).trailing_ones() as usize;
                    end - start <= SHORT || start + digits >= end || digits == 1 && hex.end(start + 2) >= end
                };
                if end - start > LONGEST || !self.is_short && !is_number() {
                    continue;
                }
                let own = self.label(start);
                let mut labels = [own, ANY, 0, 0];
                let mut used = 1;
                if self.is_short {
                    let is_in_list =
                        count > 0 && start <= list_end + GAP && !self.text[list_end..start].contains(&b'\n');
                    count = if is_in_list { count + 1 } else { 1 };
                    list_end = end;
                    if count <= list.len() {
                        list[count - 1] = own ^ LIST;
                    }
                    labels[2..].copy_from_slice(&list);
                    used = labels.len().min(2 + count);
                }
                for label in &labels[..used] {
                    let field = fields.get(*label, start);
                    match field.add(self.look.secrets, self.text, start..end) {
                        Found::Nothing => {}
                        Found::Few => read_to = start + MORE,
                        Found::Word => {
                            read_to = start + MORE;
                            see(field.part());
                        }
                    }
                }
            }
            if self.is_done() {
                return;
            }
        }
    }

    /// The bytes before a number, with all of the word among them, from the latest digit or the beginning of
    /// the line on.
    #[inline]
    fn label(&self, at: usize) -> u64 {
        let digits = self.bits(Class::Digit).before(at);
        let breaks = self.bits(Class::LineBreak).before(at);
        let words = self.bits(Class::Token).before(at);
        let gap = words.leading_zeros();
        let word = words.checked_shl(gap).unwrap_or(0).leading_ones();
        // The word before a wide gap is that of another column.
        let word = if gap < LABEL as u32 { word } else { 0 };
        let longest = ((gap + word) as usize).clamp(LABEL, LONGEST_LABEL);
        let length = ((digits | breaks).leading_zeros() as usize).min(longest).min(at);
        let is_first = breaks.leading_zeros() as usize == length;
        let mut bytes = &self.text[at - length..at];
        // Names such as `alpha.value` can differ before the last point.
        if length > LABEL
            && let Some(point) = memchr::memrchr2(b'.', b'/', &bytes[..length - LABEL])
        {
            bytes = &bytes[point + 1..];
        }
        let label = bytes
            .iter()
            .fold(0_u64, |label, byte| label.rotate_left(7) ^ u64::from(*byte));
        label << 1 | u64::from(is_first)
    }
}
