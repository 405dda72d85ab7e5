//! The list of the decoders, and base64.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{bytes, numbers, text};

/// A decoder: the readings that it makes of a text. It may find none.
pub(super) type Decoder = fn(&[u8]) -> Vec<Vec<u8>>;

/// Every decoder, by the name that a finding shows.
pub(super) const DECODERS: &[(&str, Decoder)] = &[
    ("without terminal control", text::without_control),
    ("without blanks", text::without_blanks),
    ("without punctuation", text::without_punctuation),
    ("one word of each line", text::one_word),
    ("without the beginning of each line", text::without_beginnings),
    ("by columns", text::by_columns),
    ("C escapes", text::c_escapes),
    ("percent-encoding", text::percent),
    ("XML references", text::xml),
    ("quoted-printable", text::quoted_printable),
    ("base64", base64),
    ("hexadecimal", numbers::hexadecimal),
    ("a dump", numbers::dump),
    ("a list of numbers", numbers::list),
    ("binary digits", numbers::binary),
];

/// The shortest run of characters that is decoded.
const RUN: usize = 10;
/// Accepts what is left of a text that was cut anywhere.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes every run of base64, of either alphabet, at each of the four alignments. The text and the binary
/// data of each alignment are readings of their own.
fn base64(read: &[u8]) -> Vec<Vec<u8>> {
    let mut readings = vec![Vec::new(); 8];
    for run in read.split(|byte| !bytes::is_base64(*byte)) {
        if run.len() < RUN {
            continue;
        }
        let standard = run.iter().map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        });
        let standard = standard.collect::<Vec<_>>();
        for alignment in 0..4 {
            let rest = &standard[alignment..];
            // One character alone is no byte.
            let whole = rest.len() - usize::from(rest.len() % 4 == 1);
            if let Ok(decoded) = LENIENT.decode(&rest[..whole]) {
                let at = alignment + if bytes::is_text(&decoded) { 0 } else { 4 };
                readings[at].extend(decoded);
            }
        }
    }
    readings
}
