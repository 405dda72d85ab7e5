//! Base64 of both alphabets, at every alignment.

use crate::text::Text;

const NO_DIGIT: u8 = 0xff;

const DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 26 {
        table[b'A' as usize + value] = value as u8;
        table[b'a' as usize + value] = value as u8 + 26;
        value += 1;
    }
    value = 0;
    while value < 10 {
        table[b'0' as usize + value] = value as u8 + 52;
        value += 1;
    }
    table[b'+' as usize] = 62;
    table[b'-' as usize] = 62;
    table[b'/' as usize] = 63;
    table[b'_' as usize] = 63;
    table
};

/// The value of a digit of base64, or 0xff for any other byte.
pub(crate) fn base64_value(byte: u8) -> u8 {
    DIGITS[usize::from(byte)]
}

/// The digits of base64 in a text without separators, with the position of each in the text.
pub(crate) fn base64(joined: &Text) -> Digits<'_> {
    let mut digits = Digits {
        text: joined,
        values: Vec::with_capacity(joined.len()),
        at: Vec::new(),
    };
    for (at, &byte) in joined.bytes.iter().enumerate() {
        let value = DIGITS[usize::from(byte)];
        if value != NO_DIGIT {
            if digits.at.is_empty() && at != digits.values.len() {
                digits.at = (0..digits.values.len() as u32).collect();
            }
            if at != digits.values.len() || !digits.at.is_empty() {
                digits.at.push(at as u32);
            }
            digits.values.push(value);
        }
    }
    digits
}

pub(crate) struct Digits<'a> {
    text: &'a Text,
    values: Vec<u8>,
    /// The position of each digit in the text. Empty if all bytes are digits.
    at: Vec<u32>,
}

impl Digits<'_> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Decodes the digits into `out`. `alignment` is the index of the digit to begin with: one of the first
    /// four.
    pub(crate) fn bytes(&self, alignment: usize, out: &mut Vec<u8>) {
        out.clear();
        let digits = self.values.get(alignment..).unwrap_or_default();
        let groups = digits.chunks_exact(4);
        let rest = groups.remainder();
        for group in groups {
            let [one, two, three, four] = [group[0], group[1], group[2], group[3]];
            out.extend_from_slice(&[one << 2 | two >> 4, two << 4 | three >> 2, three << 6 | four]);
        }
        if let [one, two, ..] = rest {
            out.push(one << 2 | two >> 4);
        }
        if let [_, two, three] = rest {
            out.push(two << 4 | three >> 2);
        }
    }

    /// A part of the decoded bytes as a text.
    pub(crate) fn text(&self, alignment: usize, bytes: &[u8], part: std::ops::Range<usize>) -> Text {
        let mut text = Text::with_room(part.len());
        let is_end = part.end == bytes.len();
        text.is_padded = true;
        for at in part {
            let first = alignment + at / 3 * 4 + at % 3;
            text.push_from(bytes[at], self.text, self.place(first), self.place(first + 1));
        }
        if is_end {
            text.goes_on = self.text.goes_on;
            text.parted_at_end = self.text.parted_at_end;
            // The last digits may be a part of a byte that is incomplete.
            let used = alignment + bytes.len() / 3 * 4 + bytes.len() % 3;
            let rest = (used < self.values.len()).then(|| self.text.from(self.place(used)));
            text.unsure = rest.into_iter().chain(self.text.unsure).min();
        }
        text
    }

    fn place(&self, digit: usize) -> usize {
        self.at.get(digit).map_or(digit, |at| *at as usize)
    }
}
