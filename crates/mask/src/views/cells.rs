//! Pieces behind the same label: `data: {"delta":"eyJh"}` in each line, `[0]="eyJh" [1]="bGci"`, a column of
//! a table, `test_eyJh`, `part_7_eyJh`.

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

/// The greatest number of times that a log can show each piece in a row behind the same label: one line for
/// each step of a debugger, one frame for each step of a progress bar.
const TIMES: usize = 4;

/// Calls `emit` with the pieces behind each label as one text, with a blank between two pieces. If a log shows
/// each piece several times in a row, also calls it with the first of each, the second of each, and so on.
/// Leaves out labels with fewer than [`FEW`] pieces, and pieces that all lack capitals or all lack small
/// letters. `may_begin` tells whether a word may be a piece.
pub(crate) fn cells(text: &Text, may_begin: impl Fn(&[u8]) -> bool, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Cells) {
        return;
    }
    let may_be_piece = |word: &[u8]| word.len() <= LONGEST && (word.len() < SHORT || may_begin(word));
    each_label(&labelled(text, is_token_byte, &may_be_piece), text, emit);
    // In names of files and of fields, points and slashes separate pieces of base64 for URLs.
    let words = text.bytes.split(|byte| !is_token_byte(*byte));
    let names = words.filter(|word| word.iter().any(|byte| !is_url_safe(*byte)));
    let parts = names.flat_map(|name| name.split(|byte| !is_url_safe(*byte)));
    let is_piece = |part: &&[u8]| !part.is_empty() && may_be_piece(part);
    let pieces = parts.filter(|part| is_piece(part) || behind_number(part, may_be_piece).is_some());
    if pieces.take(FEW).count() == FEW {
        each_label(&labelled(text, is_url_safe, &may_be_piece), text, emit);
    }
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn each_label(labels: &Labels<'_>, text: &Text, emit: &mut dyn FnMut(Text)) {
    for pieces in labels.values().filter(|pieces| pieces.len() >= FEW) {
        let mut bytes = pieces.iter().flat_map(|piece| &text.bytes[piece.clone()]);
        // Counts, units and names are not pieces.
        if !bytes.clone().any(u8::is_ascii_uppercase) || !bytes.any(u8::is_ascii_lowercase) {
            continue;
        }
        emit(together(&mut pieces.iter(), text));
        let of_bytes = |piece: &Range<usize>| &text.bytes[piece.clone()];
        let is_same = |one: &Range<usize>, other: &Range<usize>| of_bytes(one) == of_bytes(other);
        let same = || pieces.chunk_by(is_same);
        // Two pieces of one character can be equal by chance.
        let count = same().count();
        if count >= FEW && 3 * count <= 2 * pieces.len() {
            for time in 0..same().map(<[_]>::len).max().unwrap_or(0).min(TIMES) {
                emit(together(
                    &mut same().map(|same| &same[time.min(same.len() - 1)]),
                    text,
                ));
            }
        }
    }
}

/// Some pieces as one text.
fn together(pieces: &mut dyn Iterator<Item = &Range<usize>>, text: &Text) -> Text {
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
    out
}

/// The label of a piece.
#[derive(PartialEq, Eq, Hash)]
struct Label<'a> {
    kind: Kind,
    word: &'a [u8],
    /// The separators on both sides of the piece, or of the word that has the piece.
    between: &'a [u8],
    after: &'a [u8],
    /// Whether the piece is too short for `may_begin`.
    is_short: bool,
}

/// Where the word of a label is.
#[derive(PartialEq, Eq, Hash)]
enum Kind {
    /// Before the piece.
    Before,
    /// Before the piece, which it touches: `chunk-eyJh`.
    Touching,
    /// Before a number that touches the piece: `part-7-eyJh`.
    Numbered,
    /// Before the first character of the piece: `unexpected token 'e' in "eyJh"`. The label has no word.
    First,
}

type Labels<'a> = FxHashMap<Label<'a>, Vec<Range<usize>>>;

/// The words that may be pieces, by their label. `belongs` tells which bytes a word has.
fn labelled<'a>(
    text: &'a Text,
    belongs: impl Fn(u8) -> bool,
    may_be_piece: &impl Fn(&[u8]) -> bool,
) -> Labels<'a> {
    let bytes = &text.bytes;
    let mut labels = Labels::default();
    let (mut before, mut at) = (0..0, 0);
    while let Some(skipped) = bytes[at..].iter().position(|byte| belongs(*byte)) {
        let start = at + skipped;
        let length = bytes[start..].iter().take_while(|byte| belongs(**byte)).count();
        at = start + length;
        let after = &bytes[at..bytes.len().min(at + AFTER)];
        // More text can complete the last piece.
        if text.goes_on && after.len() < AFTER {
            break;
        }
        let after = &after[..after.iter().take_while(|byte| !belongs(**byte)).count()];
        let word = &bytes[start..at];
        let between = &bytes[before.end..start];
        let mut add = |kind: Kind, label: &'a [u8], piece: &[u8]| {
            let is_alike = kind != Kind::Touching;
            let label = Label {
                kind,
                word: label,
                between: if is_alike { between } else { &[] },
                after: if is_alike { after } else { &[] },
                is_short: piece.len() < SHORT,
            };
            labels.entry(label).or_default().push(at - piece.len()..at);
        };
        let label = word.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        if let Some(b'-' | b'_') = word.get(label).filter(|_| label > 0)
            && let (label, piece) = word.split_at(label + 1)
            && piece.len() >= SHORT
            && may_be_piece(piece)
        {
            add(Kind::Touching, label, piece);
        }
        if let Some((label, piece)) = behind_number(word, may_be_piece) {
            add(Kind::Numbered, label, piece);
        }
        if before.end > 0 && may_be_piece(word) {
            let label = &bytes[before.clone()];
            // A word with digits can be a counter or a time.
            let has_digit = label.iter().any(u8::is_ascii_digit);
            add(Kind::Before, if has_digit { &[] } else { label }, word);
            if word.len() >= SHORT && *label == word[..1] {
                add(Kind::First, &[], word);
            }
        }
        before = start..at;
    }
    labels
}

/// The label of a word and a number before a piece, and the piece: `part-7-eyJh`, `000_e`.
fn behind_number(word: &[u8], may_be_piece: impl Fn(&[u8]) -> bool) -> Option<(&[u8], &[u8])> {
    memchr::memchr2_iter(b'-', b'_', word).find_map(|at| {
        let digits = word[..at].iter().rev().take_while(|byte| byte.is_ascii_digit());
        let (digits, piece) = (digits.count(), &word[at + 1..]);
        (digits > 0 && !piece.is_empty() && may_be_piece(piece)).then(|| (&word[..at - digits], piece))
    })
}
