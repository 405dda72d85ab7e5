//! The list of the decoders, and base64.

use crate::{bytes, numbers, text};

/// A decoder. It returns its readings of a text, or none.
pub(crate) type Decoder = fn(&[u8]) -> Vec<Vec<u8>>;

/// Every decoder, by the name that a finding shows.
pub(crate) const DECODERS: &[(&str, Decoder)] = &[
    ("without terminal control", text::without_control),
    ("without blanks", text::without_blanks),
    ("without punctuation", text::without_punctuation),
    ("one word of each line", text::one_word),
    ("without the beginning of each line", text::without_beginnings),
    ("the ends of each line", text::cut),
    ("by columns", text::by_columns),
    ("C escapes", text::c_escapes),
    ("decimal escapes", text::decimal_escapes),
    ("characters and numbers", text::characters),
    ("carets", text::carets),
    ("Latin-1", text::latin),
    ("words behind the same label", text::by_label),
    ("percent-encoding", text::percent),
    ("XML references", text::xml),
    ("quoted-printable", text::quoted_printable),
    ("base64", base64),
    ("hexadecimal", numbers::hexadecimal),
    ("a dump", numbers::dump),
    ("a list of numbers", numbers::list),
    ("binary digits", numbers::binary),
    ("GUIDs", numbers::guids),
];

/// The length of the shortest run of base64 that the judge decodes, in characters.
const RUN: usize = 10;
/// Decodes every run of base64, of either alphabet, at each of the four alignments. The text and the binary
/// data of each alignment are readings of their own.
fn base64(read: &[u8]) -> Vec<Vec<u8>> {
    let mut readings = vec![Vec::new(); 8];
    for run in read.split(|byte| !bytes::is_base64(*byte)) {
        if run.len() < RUN {
            continue;
        }
        for alignment in 0..4 {
            let decoded = of_base64(&run[alignment..]);
            let at = alignment + if bytes::is_text(&decoded) { 0 } else { 4 };
            readings[at].extend(decoded);
        }
    }
    readings
}

/// Decodes base64 of either alphabet, which may be cut anywhere. Ignores other characters.
pub(crate) fn of_base64(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    for value in text.iter().filter_map(|byte| sextet(*byte)) {
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count & 0xff).to_be_bytes()[3]);
        }
    }
    decoded
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
