//! The old and the new text of a diff, whose lines begin with `-` or `+`. These signs are also characters of
//! tokens and of numbers.

use std::ops::Range;

use super::{View, is_near_end, uses};
use crate::text::Text;

/// The least number of lines that begin with a sign.
pub(crate) const LINES: usize = 4;

/// Calls `emit` with the old text of a diff, and with the new one. Each has the lines that both texts have.
/// Leaves out a text of which fewer than [`LINES`] lines have a sign.
pub(crate) fn diff(text: &Text, emit: &mut dyn FnMut(Text)) {
    if !uses(View::Diff) {
        return;
    }
    for sign in SIGNS {
        let Some(lines) = side(&text.bytes, sign) else {
            continue;
        };
        let mut out = Text::with_room(text.len());
        for line in lines {
            out.extend_near(text, line, true);
        }
        out.parted_at_end = text.parted_at_end;
        out.unsure = text.unsure;
        out.goes_on = text.goes_on && is_near_end(&out, text);
        emit(out);
    }
}

/// The signs of old and of new lines.
pub(crate) const SIGNS: [u8; 2] = *b"-+";

/// The lines of one side of a diff, each without its sign and with its line break. `None` if fewer than
/// [`LINES`] lines have the sign.
pub(crate) fn side(text: &[u8], sign: u8) -> Option<Vec<Range<usize>>> {
    let (mut lines, mut signs, mut start) = (Vec::new(), 0, 0);
    while start < text.len() {
        let length = memchr::memchr(b'\n', &text[start..]).map(|length| length + 1);
        let end = length.map_or(text.len(), |length| start + length);
        let line = &text[start..end];
        match self::sign(line) {
            Some((found, at)) if found == sign => {
                signs += 1;
                lines.push(start + at + 1..end);
            }
            None if line.starts_with(b" ") || line.starts_with(b"E ") => lines.push(start + 1..end),
            _ => {}
        }
        start = end;
    }
    (signs >= LINES).then_some(lines)
}

/// The sign with which a line of a diff begins, and its place. Blanks can be before it, with the letter that
/// pytest prints before the text of an error.
pub(crate) fn sign(line: &[u8]) -> Option<(u8, usize)> {
    let first = usize::from(line.starts_with(b"E "));
    let blanks = line[first..].iter().take_while(|byte| **byte == b' ').count();
    let at = first + blanks;
    line.get(at)
        .filter(|byte| SIGNS.contains(byte))
        .map(|byte| (*byte, at))
}
