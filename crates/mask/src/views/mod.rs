//! The views. Each undoes one change that programs make to a text, such as base64 or colours.

mod base64;
mod bits;
mod cells;
mod characters;
mod diff;
mod escapes;
mod literals;
mod numbers;
mod padded;
mod printed;
mod scattered;
mod strings;
mod table;
mod terminal;
mod text_column;
mod tokens;

use crate::{
    ESCAPE,
    text::{LONGEST_GAP, Text},
};

pub(crate) use base64::{base64, base64_value};
pub(crate) use bits::{bit_runs, bits, byte};
pub(crate) use cells::cells;
pub(crate) use characters::{ROWS, alone, characters};
pub(crate) use diff::{LINES as DIFF_LINES, SIGNS, diff, side, sign};
pub(crate) use escapes::{
    caret, decimal, escape, has_carets, has_escapes, uncareted, undecimal, unescaped, unescaped_bytes,
};
pub(crate) use literals::{has_characters, literals};
pub(crate) use numbers::{GUID, binary_byte, guid, hex_byte, negative, numbers, word_bytes};
pub(crate) use padded::{PADDED, padded, padded_piece};
pub(crate) use printed::{FEW as FEW_PRINTED, printed, sequence, unprinted};
pub(crate) use scattered::chains;
pub(crate) use strings::{string_bytes, strings};
pub(crate) use table::{WAYS, columns, table, values};
pub(crate) use terminal::{Visible, hidden, visible};
pub(crate) use text_column::without_frame;
pub(crate) use tokens::{Kind, Token, Tokens, hex_value, without_sign};

/// A view, or another part of the search, that a test can switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Text without its separators.
    Joined,
    Characters,
    /// Literals of characters, and words such as those of `od -c`.
    Literals,
    Base64,
    Hexadecimal,
    LittleEndian,
    /// GUIDs as Windows stores them.
    Guids,
    Decimal,
    DecimalWords,
    Octal,
    OctalWords,
    Binary,
    /// Bits alone or in small groups.
    Bits,
    /// The text beside the numbers of a dump, and the words in the columns of a table.
    Column,
    /// The columns of a table with one byte in each row.
    Table,
    /// Pieces behind the same label.
    Cells,
    /// Pieces of a signature in their order, with any other text between.
    Scattered,
    /// The bytes of short strings.
    Strings,
    /// Base64 of short pieces, each with its own padding.
    Padded,
    /// The old and the new text of a diff.
    Diff,
    Escapes,
    /// Escapes with decimal numbers.
    DecimalEscapes,
    /// Control characters and other bytes as `cat -v` prints them.
    Carets,
    Latin,
    /// Control sequences of a terminal that are printed as text.
    Printed,
    Terminal,
    /// Any view that reads the bytes that another view returned.
    Second,
    /// Pieces that continue other pieces.
    Chain,
}

/// Whether the masker uses a view.
#[inline]
pub(crate) fn uses(view: View) -> bool {
    #[cfg(test)]
    {
        !crate::tests::is_off(view)
    }
    #[cfg(not(test))]
    {
        let _ = view;
        true
    }
}

/// Whether a byte that a view returns belongs to text: printable ASCII, tabs, ends of lines, escape
/// sequences, backspaces, and the zeros of UTF-16.
pub(crate) fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n' | 0 | 8 | ESCAPE)
}

/// Whether a token or base64 without padding can have this byte. All other bytes are separators: folds,
/// quotes, columns.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+' | b'/');
        byte += 1;
    }
    table
};

/// The characters of Windows-1252 from 0x80 to 0x9f. Five of these bytes mean no character.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text with each character of Latin-1 or Windows-1252 above 0x7f replaced by its byte. Some programs
/// take bytes for these characters, and print them in UTF-8.
pub(crate) fn latin(text: &Text) -> Text {
    let mut out = Text::with_room(text.len());
    let mut at = 0;
    while at < text.len() {
        let (length, byte) = match text.bytes[at..] {
            [lead @ 0xc2..=0xc3, next @ 0x80..=0xbf, ..] => (2, lead << 6 | next & 0x3f),
            [0xc5 | 0xc6 | 0xcb | 0xe2, ..] => windows(&text.bytes[at..]),
            [byte, ..] => (1, byte),
            [] => break,
        };
        out.push_from(byte, text, at, at + length - 1);
        at += length;
    }
    out.parted_at_end = text.parted_at_end;
    out.unsure = text.unsure;
    out.is_padded = text.is_padded;
    out.goes_on = text.goes_on;
    out
}

/// The length of the character of Windows-1252 with which a text begins, and its byte. If there is none, the
/// first byte means itself.
fn windows(text: &[u8]) -> (usize, u8) {
    let mut bytes = [0; 4];
    let is_here = |character: &char| text.starts_with(character.encode_utf8(&mut bytes).as_bytes());
    match WINDOWS.iter().position(is_here) {
        Some(at) => (WINDOWS[at].len_utf8(), 0x80 + at as u8),
        None => (1, text[0]),
    }
}

/// The text without the zeros of UTF-16.
pub(crate) fn narrow(text: &Text) -> Text {
    let mut out = Text::with_room(text.len());
    let mut parted = false;
    for (at, byte) in text.bytes.iter().enumerate() {
        parted |= text.is_parted(at);
        if *byte != 0 {
            out.push_near(*byte, text.from(at), text.to(at), std::mem::take(&mut parted));
        }
    }
    out.parted_at_end = text.parted_at_end;
    out.unsure = text.unsure;
    out.is_padded = text.is_padded;
    out.goes_on = text.goes_on && is_near_end(&out, text);
    out
}

/// The text without its separators.
pub(crate) fn joined(text: &Text) -> Text {
    let mut out = Text::with_room(text.len());
    let mut parted = false;
    let mut at = 0;
    while at < text.len() {
        let tokens = text.bytes[at..]
            .iter()
            .take_while(|byte| is_token_byte(**byte))
            .count();
        if tokens > 0 {
            out.extend_near(text, at..at + tokens, parted);
            parted = false;
            at += tokens;
        } else {
            // UTF-16 has a zero between two characters, and that separates nothing.
            parted |= text.bytes[at] != 0 || text.is_parted(at);
            at += 1;
        }
    }
    out.parted_at_end = text.parted_at_end || parted;
    out.unsure = text.unsure;
    out.is_padded = text.is_padded;
    out.goes_on = text.goes_on && is_near_end(&out, text);
    out
}

/// Whether the last byte is near the end of the text that it comes from.
fn is_near_end(out: &Text, text: &Text) -> bool {
    match (out.len(), text.len()) {
        (0, _) | (_, 0) => true,
        (last, end) => text.to(end - 1).saturating_sub(out.to(last - 1)) <= LONGEST_GAP,
    }
}
