//! Control sequences of a terminal that a program printed as text, such as `\u001b[32m` or `^[[0m`, and
//! characters that others replace, such as those of `e^He`. Also the same in bytes that another view read.

use std::ops::Range;

use super::{View, is_near_end, uses};
use crate::{ESCAPE, text::Text};

/// The least number of control sequences and replaced characters. Other text can have a few by chance.
pub(crate) const FEW: usize = 3;

/// The greatest length of the parameters of a sequence.
const PARAMETERS: usize = 24;

/// The ways to print the escape character. A program can also leave it out.
const ESCAPES: [&[u8]; 18] = [
    &[ESCAPE],
    b"\\u001b",
    b"\\u001B",
    b"\\x1b",
    b"\\x1B",
    b"\\033",
    b"\\e",
    b"\\E",
    b"`e",
    b"^[",
    b"#033",
    b"%1b",
    b"%1B",
    b"=1B",
    b"&#27;",
    b"<0x1b>",
    "\u{241b}".as_bytes(),
    "\u{2190}".as_bytes(),
];

/// The text without the control sequences in it, and without replaced characters. `None` if there are fewer
/// than [`FEW`] of them.
pub(crate) fn unprinted(text: &Text) -> Option<Text> {
    if !uses(View::Printed) {
        return None;
    }
    let hidden = printed(&text.bytes);
    if hidden.len() < FEW {
        return None;
    }
    let mut out = Text::with_room(text.len());
    let ends = hidden.iter().map(|hidden| hidden.start).chain([text.len()]);
    let starts = [0].into_iter().chain(hidden.iter().map(|hidden| hidden.end));
    for (start, end) in starts.zip(ends).filter(|(start, end)| start < end) {
        out.extend_near(text, start..end, false);
    }
    out.parted_at_end = text.parted_at_end;
    out.unsure = text.unsure;
    out.is_padded = text.is_padded;
    out.goes_on = text.goes_on && is_near_end(&out, text);
    Some(out)
}

/// The control sequences in a text, and the replaced characters with what replaces them, in order.
pub(crate) fn printed(text: &[u8]) -> Vec<Range<usize>> {
    let mut hidden: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b'[', b'^', 8, &text[at..]).map(|found| at + found) {
        let before = hidden.last().map_or(0, |last| last.end);
        let (start, length) = match text[found..] {
            [b'[', ..] => (escape_before(text, before, found), sequence(&text[found..])),
            // The character before it is gone from the screen.
            [b'^', b'H', ..] => (found.saturating_sub(1), 2),
            [8, ..] => (found.saturating_sub(1), 1),
            _ => (found, 0),
        };
        if length > 0 {
            hidden.push(start.max(before)..found + length);
        }
        at = found + length.max(1);
    }
    hidden
}

/// The length of a control sequence that sets a colour or erases text, without its escape character. 0 if
/// the text does not begin with one.
pub(crate) fn sequence(text: &[u8]) -> usize {
    let rest = text.get(1..).unwrap_or_default();
    let is_parameter = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b';' | b':' | b'?');
    let length = rest.iter().take(PARAMETERS).take_while(is_parameter).count();
    match rest.get(length) {
        Some(b'm' | b'K' | b'G' | b'J' | b'D') => length + 2,
        _ => 0,
    }
}

/// The beginning of the escape character that is printed right before a position, but not before `first`.
fn escape_before(text: &[u8], first: usize, at: usize) -> usize {
    let escape = |at: usize| {
        let escape = ESCAPES.iter().find(|escape| text[first..at].ends_with(escape));
        escape.map(|escape| at - escape.len())
    };
    let start = escape(at).unwrap_or(at);
    // `tput sgr0` also prints `^[(B` before it.
    let charset = text[first..start].strip_suffix(b"(B");
    charset
        .and_then(|before| escape(first + before.len()))
        .unwrap_or(start)
}
