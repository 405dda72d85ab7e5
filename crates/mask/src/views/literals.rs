//! Bytes as the characters of a programming language: in a list of literals (`'w', '\x8f'`), in a list of
//! characters and numbers (`'w', 143`), or as words (`w 217 \n`), as `od -c` prints them.

use super::{
    View, alone,
    escapes::{Meaning, backslash},
    numbers::value,
    uses,
};
use crate::text::Text;

/// The meaning of the words in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Nothing: each byte is a character in quotes.
    Nothing,
    /// The byte of a number, beside characters in quotes.
    Number,
    /// A byte: this number of digits in this radix, or a character without quotes, or an escape.
    Digits(usize, u32),
}

/// The number of numbers in a row after a character from which on they do not count. They probably belong to
/// a list without characters, which another view reads.
const MOST: usize = 24;

const WAYS: [Words; 4] = [
    Words::Nothing,
    Words::Number,
    Words::Digits(3, 8),
    Words::Digits(2, 16),
];

/// The least number of letters that stand alone in a list of characters.
const FEW: usize = 4;

/// Whether characters that stand alone may belong to a list of characters and numbers.
pub(crate) fn has_characters(alone: &[u8]) -> bool {
    alone
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .nth(FEW - 1)
        .is_some()
}

/// Calls `emit` with the bytes that the characters in a text stand for, once for each way to read the words
/// between them.
pub(crate) fn literals(text: &Text, emit: &mut dyn FnMut(Text)) {
    let alone: Vec<_> = alone(&text.bytes).into_iter().map(|at| text.bytes[at]).collect();
    if !uses(View::Literals) || !has_characters(&alone) {
        return;
    }
    for way in WAYS {
        let mut out = Text::with_room(text.len() / 4);
        let (mut at, mut numbers) = (0, MOST);
        while at < text.len() {
            let (length, byte) = match way {
                Words::Digits(digits, radix) => word(&text.bytes[at..], digits, radix),
                Words::Nothing | Words::Number => item(&text.bytes[at..], way),
            };
            let byte = match byte {
                Some(Item::Character(byte)) => {
                    // In a folded list of numbers, a part of a number or a prefix can stand alone.
                    if !byte.is_ascii_digit() && !b"+>|".contains(&byte) {
                        numbers = 0;
                    }
                    Some(byte)
                }
                Some(Item::Number(byte)) => {
                    numbers += 1;
                    Some(byte).filter(|_| numbers < MOST)
                }
                None => None,
            };
            if let Some(byte) = byte {
                let is_negative = way == Words::Number && at > 0 && text.bytes[at - 1] == b'-';
                let byte = if is_negative { byte.wrapping_neg() } else { byte };
                out.push_near(byte, text.from(at), text.to(at + length - 1), true);
            }
            at += length;
        }
        out.parted_at_end = true;
        emit(out);
    }
}

enum Item {
    Character(u8),
    Number(u8),
}

/// The length of the item with which a text begins, and its byte: a character in quotes, or a number.
fn item(text: &[u8], way: Words) -> (usize, Option<Item>) {
    let quote = text[0];
    if quote.is_ascii_alphanumeric() {
        let word = &text[..text
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count()];
        let number = match word {
            [b'0', b'x' | b'X', digits @ ..] | [digits @ .., b'h' | b'H'] => value(digits, 16),
            digits => value(digits, 10),
        };
        let number = number.filter(|_| way == Words::Number);
        return (
            word.len(),
            number
                .and_then(|number| u8::try_from(number).ok())
                .map(Item::Number),
        );
    }
    if !matches!(quote, b'\'' | b'"') {
        return (1, None);
    }
    let (length, byte) = character(&text[1..]);
    match byte {
        Some(byte) if text.get(1 + length) == Some(&quote) => (2 + length, Some(Item::Character(byte))),
        _ => (1, None),
    }
}

/// The length of the word with which a text begins, and its byte.
fn word(text: &[u8], digits: usize, radix: u32) -> (usize, Option<Item>) {
    let length = text.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
    let word = &text[..length];
    let byte = match character(word) {
        (whole, byte) if whole == length => byte.map(Item::Character),
        _ if length == digits => value(word, radix)
            .and_then(|number| u8::try_from(number).ok())
            .map(Item::Number),
        _ => None,
    };
    (length.max(1), byte)
}

/// The length of the character with which a text begins, and its byte.
fn character(text: &[u8]) -> (usize, Option<u8>) {
    match *text {
        [b'\\', ref tail @ ..] => match backslash(tail) {
            (length, Meaning::Text([byte, ..], 1) | Meaning::Short(byte)) => (length, Some(byte)),
            (length, _) => (length, None),
        },
        [lead @ 0xc2..=0xc3, next @ 0x80..=0xbf, ..] => (2, Some(lead << 6 | next & 0x3f)),
        [byte @ b' '..=b'~', ..] => (1, Some(byte)),
        _ => (1, None),
    }
}
