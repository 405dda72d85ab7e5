//! Pieces behind the same label: `data: {"delta":"eyJh"}` in each line, `[0]="eyJh" [1]="bGci"`, a column of
//! a table, `test_eyJh`.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::{View, is_near_end, is_token_byte, uses};
use crate::text::Text;

/// The greatest length of a piece. The search finds longer pieces without this view.
const LONGEST: usize = 32;

/// The least length of a word, in bytes, that `may_begin` knows.
const SHORT: usize = 3;

/// The least number of pieces behind the same label.
const FEW: usize = 6;

/// The number of bytes after a piece that must be the same for all pieces behind a label.
const AFTER: usize = 2;

/// Calls `emit` with the pieces behind each label as one text, with a blank between two pieces. Leaves out
/// labels with fewer than [`FEW`] pieces, and pieces that all lack capitals or all lack small letters.
/// `may_begin` tells whether a word may be a piece.
pub(crate) fn cells(text: &Text, may_begin: impl Fn(&[u8]) -> bool, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Cells) {
        return;
    }
    let labelled = labelled(text, may_begin);
    for pieces in labelled.values().filter(|pieces| pieces.len() >= FEW) {
        let mut bytes = pieces.iter().flat_map(|piece| &text.bytes[piece.clone()]);
        // Counts, units and names are not pieces.
        if !bytes.clone().any(u8::is_ascii_uppercase) || !bytes.any(u8::is_ascii_lowercase) {
            continue;
        }
        let mut out = Text::with_room(text.len() / 4);
        for piece in pieces {
            for at in piece.clone() {
                let is_first = at == piece.start;
                if is_first && out.len() > 0 {
                    out.push_near(b' ', text.from(at), text.from(at), true);
                }
                out.push_near(
                    text.bytes[at],
                    text.from(at),
                    text.to(at),
                    is_first || text.is_parted(at),
                );
            }
        }
        out.parted_at_end = true;
        out.goes_on = text.goes_on && is_near_end(&out, text);
        emit(out);
    }
}

/// The label of a piece: the word before the piece, the separators on both sides, and whether the piece is
/// short.
type Label<'a> = (&'a [u8], &'a [u8], &'a [u8], bool);

/// The words that may be pieces, by their label.
fn labelled(text: &Text, may_begin: impl Fn(&[u8]) -> bool) -> FxHashMap<Label<'_>, Vec<Range<usize>>> {
    let bytes = &text.bytes;
    let mut labels = FxHashMap::<Label<'_>, Vec<Range<usize>>>::default();
    let (mut before, mut at) = (0..0, 0);
    while let Some(skipped) = bytes[at..].iter().position(|byte| is_token_byte(*byte)) {
        let start = at + skipped;
        let length = bytes[start..]
            .iter()
            .take_while(|byte| is_token_byte(**byte))
            .count();
        at = start + length;
        let after = &bytes[at..bytes.len().min(at + AFTER)];
        // More text can complete the last piece.
        if text.goes_on && after.len() < AFTER {
            break;
        }
        // The label can touch the piece: `chunk-eyJh`.
        let word = &bytes[start..at];
        let label = word.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        if let Some(b'-' | b'_') = word.get(label).filter(|_| label > 0)
            && let (label, piece) = word.split_at(label + 1)
            && (SHORT..=LONGEST).contains(&piece.len())
            && may_begin(piece)
        {
            let label = (label, &[][..], &[][..], false);
            labels.entry(label).or_default().push(at - piece.len()..at);
        }
        if before.end > 0 && length <= LONGEST && (length < SHORT || may_begin(&bytes[start..at])) {
            let word = &bytes[before.clone()];
            let after = &after[..after.iter().take_while(|byte| !is_token_byte(**byte)).count()];
            // A word with digits can be a counter or a time.
            let word = if word.iter().any(u8::is_ascii_digit) {
                &[]
            } else {
                word
            };
            let label = (word, &bytes[before.end..start], after, length < SHORT);
            labels.entry(label).or_default().push(start..at);
        }
        before = start..at;
    }
    labels
}
