//! Base64 of short pieces, each with its own padding: `['d492+A==', 'Rkt9ww==']`, `key: cm93MA==`. A piece of
//! three bytes between other pieces has none.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::{View, base64_value, is_near_end, uses};
use crate::text::{LONGEST_GAP, Text};

/// The greatest number of digits of a piece. The search finds longer pieces without this view.
const LONGEST: usize = 44;

/// The least number of pieces.
pub(crate) const PADDED: usize = 3;

/// The number of bytes before a piece in which its label is.
const LABEL: usize = 16;

/// A value that no digit of base64 has.
const NO_DIGIT: u8 = 0xff;

/// Calls `emit` with the bytes of all padded pieces in a text, and with those of the pieces behind a label.
pub(crate) fn padded(text: &Text, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Padded) {
        return;
    }
    let mut pieces: Vec<_> = padded_pieces(&text.bytes).collect();
    // More text can complete the padding of the last piece.
    if text.goes_on {
        pieces.pop_if(|last| last.end == text.len());
    }
    if pieces.len() < PADDED {
        return;
    }
    let pieces = with_whole(&text.bytes, &pieces);
    let mut labels = FxHashMap::<&[u8], Vec<Range<usize>>>::default();
    let mut before = 0;
    for piece in &pieces {
        let label = label(&text.bytes[before.max(piece.start.saturating_sub(LABEL))..piece.start]);
        before = piece.end;
        labels.entry(label).or_default().push(piece.clone());
    }
    if labels.len() > 1 {
        let of_labels = labels.values().filter(|pieces| pieces.len() >= PADDED);
        of_labels.for_each(|pieces| emit(decoded(text, pieces)));
    }
    emit(decoded(text, &pieces));
}

/// The padded pieces, and behind each the pieces without padding that have the same bytes around them.
fn with_whole(text: &[u8], padded: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut pieces = Vec::with_capacity(padded.len());
    let ends = padded.iter().skip(1).map(|next| next.start).chain([text.len()]);
    for (piece, end) in padded.iter().zip(ends) {
        pieces.push(piece.clone());
        let (before, after) = (text[..piece.start].last(), text.get(piece.end));
        let mut at = piece.end;
        let end = end.min(piece.end + LONGEST_GAP as usize);
        while let Some(skipped) = text
            .get(at..end)
            .and_then(|rest| rest.iter().position(|byte| base64_value(*byte) != NO_DIGIT))
        {
            let start = at + skipped;
            let digits = text[start..]
                .iter()
                .take_while(|byte| base64_value(**byte) != NO_DIGIT);
            at = start + digits.count();
            let is_whole = at - start <= LONGEST && (at - start) % 4 == 0;
            // A name also has quotes around it.
            let is_name = matches!(text[at..], [b'"' | b'\'', b':' | b'=', ..]);
            if is_whole && !is_name && at < end && text[..start].last() == before && text.get(at) == after {
                pieces.push(start..at);
            }
        }
    }
    pieces
}

/// The padded pieces of base64 in a text, with their padding.
fn padded_pieces(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    memchr::memchr_iter(b'=', text).filter_map(|at| padded_piece(text, at))
}

/// The piece whose padding begins at a position.
pub(crate) fn padded_piece(text: &[u8], at: usize) -> Option<Range<usize>> {
    if text[at] != b'=' {
        return None;
    }
    let value = base64_value(*text[..at].last()?);
    let padding = if text.get(at + 1) == Some(&b'=') { 2 } else { 1 };
    // The bits that the last byte does not use are zeros.
    if value == NO_DIGIT || value & if padding == 2 { 0xf } else { 3 } != 0 {
        return None;
    }
    let end = at + padding;
    let after = text.get(end).copied();
    if after.is_some_and(|after| after == b'=' || base64_value(after) != NO_DIGIT) {
        return None;
    }
    let digits = text[..at].iter().rev().take(LONGEST + 1);
    let digits = digits.take_while(|byte| base64_value(**byte) != NO_DIGIT).count();
    let start = at - digits;
    // The quote after a name, such as `msg="..."`, begins a string.
    let is_name = matches!(after, Some(b'"' | b'\'')) && text[..start].last().copied() != after;
    (digits <= LONGEST && (digits + padding) % 4 == 0 && !is_name).then_some(start..end)
}

/// The word before a piece, unless a bracket is between the two.
fn label(before: &[u8]) -> &[u8] {
    let bracket = before.iter().rposition(|byte| b"[({".contains(byte));
    let before = &before[bracket.map_or(0, |bracket| bracket + 1)..];
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic();
    let end = before.iter().rposition(is_letter).map_or(0, |last| last + 1);
    let start = before[..end].iter().rposition(|byte| !is_letter(byte));
    &before[start.map_or(0, |start| start + 1)..end]
}

/// The bytes that some pieces stand for, as one text.
fn decoded(text: &Text, pieces: &[Range<usize>]) -> Text {
    let mut out = Text::with_room(text.len() / 2);
    for piece in pieces {
        let padding = text.bytes[piece.clone()].iter().filter(|byte| **byte == b'=');
        let digits = piece.len() - padding.count();
        let value = |digit: usize| u32::from(base64_value(text.bytes[piece.start + digit]));
        let count = digits * 3 / 4;
        for at in 0..count {
            let first = at / 3 * 4 + at % 3;
            let two = value(first) << 6 | value(first + 1);
            let last = if at + 1 == count {
                piece.end - 1
            } else {
                piece.start + first + 1
            };
            out.push_near(
                (two >> (4 - at % 3 * 2)) as u8,
                text.from(piece.start + first),
                text.to(last),
                at == 0,
            );
        }
    }
    out.parted_at_end = true;
    out.goes_on = text.goes_on && is_near_end(&out, text);
    out
}
