//! Bits that stand alone or in small groups: `0 1 1 0`, `0110 0101`, and the digits of base64 in binary. Also
//! bits in lines that do not end with a byte.

use super::{View, is_near_end, uses};
use crate::{LEAST, text::Text};

/// The numbers of bits in a small group. Another view reads groups of whole bytes.
const GROUPS: [usize; 3] = [1, 4, 6];

/// The least number of bits in a line.
const LINE: usize = 16;

/// Every run of [`LEAST`] bytes contains so many characters from a multiple of their number on.
const CHUNK: usize = 32;

/// The number of bits of a byte.
const BYTE: usize = 8;

/// Calls `emit` with the bytes that bits stand for, once for each bit with which the first byte can begin.
pub(crate) fn bits(text: &Text, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Bits) {
        return;
    }
    bit_runs(&text.bytes, text.goes_on, &mut |run, group, is_last| {
        let goes_on = is_last && text.goes_on;
        for first in 0..BYTE.min(run.len()) {
            let mut out = Text::with_room(run.len() / BYTE);
            let places = run[first..].chunks_exact(BYTE);
            let whole = first + BYTE * places.len();
            for (at, places) in places.enumerate() {
                let (from, to) = (text.from(places[0]), text.to(places[BYTE - 1]));
                out.push_near(byte(&text.bytes, places), from, to, at == 0);
            }
            out.goes_on = goes_on && is_near_end(&out, text);
            // More digits can follow the last group. Then it is not a group.
            let unsure = run.get(whole.min(run.len().saturating_sub(group)));
            let unsure = unsure.filter(|_| goes_on).map(|at| text.from(*at));
            out.unsure = unsure.into_iter().chain(text.unsure).min();
            let end = run.last().map_or(0, |last| last + 1);
            out.parted_at_end = text.bytes[end..].contains(&b'\n') || text.parted_at_end;
            emit(out);
        }
    });
}

/// Calls `emit` with the positions of the bits in each run of groups that all have the same number of bits.
/// Leaves out runs of fewer than [`LEAST`] bytes. If the text goes on, a shorter run can be at its end. Also
/// tells the number of bits in a group, and whether a run is the last one. Returns whether the text may have
/// bits.
pub(crate) fn bit_runs(text: &[u8], goes_on: bool, emit: &mut dyn FnMut(&[usize], usize, bool)) -> bool {
    let least = BYTE * LEAST;
    let is_bit = |byte: &u8| matches!(byte, b'0' | b'1');
    if !goes_on && !text.chunks(CHUNK).any(has_only_bits) {
        return false;
    }
    let (mut run, mut group, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let length = text[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        let word = &text[at..at + length];
        let digits = word.strip_prefix(b"0b").unwrap_or(word);
        // More digits can complete the last group.
        let is_begun = goes_on && at + length == text.len() && digits.len() < group;
        let is_line = digits.len() >= LINE && !digits.len().is_multiple_of(BYTE);
        let is_group = (is_begun || is_line || GROUPS.contains(&digits.len())) && digits.iter().all(is_bit);
        // In UTF-16, zeros are between the digits. The view reads the text without them.
        // The last line can be shorter.
        let is_rest = group >= LINE && !run.is_empty() && digits.len() < group && digits.iter().all(is_bit);
        let goes_on_here = is_rest || is_group && (is_begun || digits.len() == group);
        let ends = text[at] == 0 || length > 0 && !goes_on_here;
        if ends {
            if run.len() >= least {
                emit(&run, group, false);
            }
            run.clear();
            group = digits.len();
        }
        if is_group || is_rest {
            run.extend(at + length - digits.len()..at + length);
        }
        at += length.max(1);
    }
    if goes_on || run.len() >= least {
        emit(&run, group, true);
    }
    true
}

/// Whether some bytes have bits, and neither other digits nor words.
fn has_only_bits(text: &[u8]) -> bool {
    let is_bit = |byte: u8| (byte == b'0') | (byte == b'1');
    let is_other = |byte: u8| byte.is_ascii_alphanumeric() & !is_bit(byte) & (byte != b'b');
    // This has no branch for each byte, so that the compiler can use vectors.
    let (other, bits) = text.iter().fold((false, false), |(other, bits), byte| {
        (other | is_other(*byte), bits | is_bit(*byte))
    });
    bits && !other
}

/// The byte of the bits at some positions of a text.
pub(crate) fn byte(text: &[u8], places: &[usize]) -> u8 {
    places.iter().fold(0, |byte, at| byte << 1 | text[*at] & 1)
}
