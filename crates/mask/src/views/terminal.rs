//! Text as a terminal shows it: without control sequences and invisible characters.

use std::{borrow::Cow, ops::Range};

use super::{View, is_token_byte, printed::sequence, uses};
use crate::{
    ESCAPE, LEAST,
    classes::{Bits, specials},
    grams::word,
    secrets::{LONG, Secrets},
    text::{Near, Text},
};

/// The control sequence introducer as one byte (ECMA-48, section 5.4).
const CSI: u8 = 0x9b;

/// The greatest length of a control sequence.
const LONGEST: usize = 1024;

/// The bytes of a text that a terminal shows.
pub(crate) struct Visible<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// The beginning of each run of visible bytes: in `bytes`, and in the text.
    runs: Vec<(u32, u32)>,
    /// Whether a part of a secret or of a number may be in text that the terminal does not show, or on both
    /// sides of such text.
    pub(crate) hides: bool,
    /// The parts of the text in which a view may read more than what the terminal shows. Most logs hide only
    /// [colours](is_plain_colour).
    pub(crate) raw: Vec<Range<usize>>,
    /// The beginning of a control sequence that the text does not complete.
    pub(crate) unsure: Option<u32>,
    end: u32,
}

/// Leaves out the bytes of a text that a terminal does not show. `secrets` decide [`Visible::hides`].
/// `goes_on` tells whether more text can follow.
pub(crate) fn visible<'a>(text: &'a [u8], secrets: &Secrets, goes_on: bool) -> Visible<'a> {
    let mut seen = Visible::all(text);
    let specials = specials(text);
    let specials = Bits(&specials);
    let Some(mut special) = specials.first_from(0).filter(|_| uses(View::Terminal)) else {
        return seen;
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut raw = Near::new(text);
    let mut at = 0;
    loop {
        if special > at {
            seen.runs.push((bytes.len() as u32, at as u32));
            bytes.extend_from_slice(&text[at..special]);
        }
        if special == text.len() {
            break;
        }
        let rest = &text[special..];
        let (length, erased) = match rest[0] {
            // Bold and underlined text, as `man` shows it.
            8 => (1, 1),
            _ => (hidden(text, special), 0),
        };
        if erased > 0 {
            bytes.truncate(bytes.len().saturating_sub(erased));
            while seen
                .runs
                .pop_if(|(run, _)| *run as usize >= bytes.len())
                .is_some()
            {}
        }
        let end = special + length;
        // A word that begins in a short sequence also has the byte after it.
        let may_go_on =
            length > LEAST || !secrets.is_plain() || text.get(end).is_none_or(|byte| is_token_byte(*byte));
        let has_word = |at: usize| word(&text[at..]).is_none_or(|word| secrets.gate().has(word));
        // Without the hidden text, a number may be a part of a longer word.
        let is_in_number = bytes.last().is_some_and(u8::is_ascii_hexdigit)
            && text.get(end).is_some_and(u8::is_ascii_hexdigit);
        let hides = erased > 0
            || may_go_on && (special + 1..end).any(has_word)
            || hides_digit(&text[special..end], &text[end..])
            || is_in_number
            // A short secret has no digit to lose.
            || length > 0 && secrets.least() < LONG;
        seen.hides |= hides;
        let is_colour = !hides && is_plain_colour(&bytes, &text[special..end], &text[end..]);
        if length > 0 && !is_colour {
            raw.add(special);
            raw.add(end);
        }
        if length == 0 {
            // An incomplete sequence at the end, or a byte that only looks special.
            if goes_on && is_incomplete(rest) {
                seen.unsure = Some(special as u32);
                raw.add(special);
                break;
            }
            seen.runs.push((bytes.len() as u32, special as u32));
            bytes.push(text[special]);
        }
        at = special + length.max(1);
        special = specials.first_from(at).unwrap_or(text.len());
    }
    seen.bytes = Cow::Owned(bytes);
    seen.raw = raw.parts;
    seen
}

/// The number of bytes beside a colour in which a number begins or ends.
const BESIDE: usize = 6;

/// Whether hidden text is a colour, or erases text, and has no number beside it in its line. What looks like the text
/// column of a dump can be numbers behind a colour, and a colour can begin or end a list of them.
fn is_plain_colour(before: &[u8], hidden: &[u8], rest: &[u8]) -> bool {
    let is_colour = matches!(hidden, [ESCAPE, b'[', ..]) && sequence(&hidden[1..]) == hidden.len() - 1;
    let is_of_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'\\' | b'%' | b'&' | b'#' | b'=');
    let in_line = |byte: &u8| *byte != b'\n';
    let before = before.iter().rev().take(BESIDE).copied().take_while(in_line);
    let after = rest.iter().take(BESIDE).copied().take_while(in_line);
    let word = rest.iter().skip_while(|byte| !byte.is_ascii_alphanumeric());
    let mut word = word.take_while(|byte| byte.is_ascii_alphanumeric());
    let is_hex = word.next().is_some_and(u8::is_ascii_hexdigit) && word.all(u8::is_ascii_hexdigit);
    is_colour && !is_hex && !before.chain(after).any(is_of_number)
}

/// The least number of digits in the eight bytes after hidden text that are a list of numbers.
const DIGITS: usize = 3;

/// Whether the end of a hidden text can belong to a number or an escape of the text that follows it.
fn hides_digit(hidden: &[u8], rest: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let is_of_list = |byte: &u8| {
        let is_prefix = matches!(byte, b'x' | b'X' | b'u' | b'U' | b'o');
        is_digit(byte) || is_prefix || byte.is_ascii_punctuation() || byte.is_ascii_whitespace()
    };
    match hidden {
        // The end of a string.
        [ESCAPE, b']' | b'P' | b'X' | b'^' | b'_', ..] => false,
        [ESCAPE, .., b'\\'] | [CSI, .., b'\\'] => true,
        // The move of a cursor also ends with such a letter, but text follows it.
        [.., last] => {
            let next = rest.first_chunk::<8>().filter(|_| is_digit(last));
            next.is_some_and(|next| {
                next.iter().all(is_of_list) && next.iter().filter(|byte| is_digit(byte)).count() >= DIGITS
            })
        }
        _ => false,
    }
}

impl<'a> Visible<'a> {
    /// All bytes of a text, also those that a terminal does not show.
    pub(crate) fn all(text: &'a [u8]) -> Self {
        Self {
            bytes: Cow::Borrowed(text),
            runs: Vec::new(),
            hides: false,
            raw: Vec::new(),
            unsure: None,
            end: text.len() as u32,
        }
    }

    /// A part of the visible bytes as a text.
    pub(crate) fn text(&self, part: Range<usize>) -> Text {
        let mut text = Text::with_room(part.len());
        let is_end = part.end == self.bytes.len();
        let mut run = self.runs.partition_point(|(run, _)| *run as usize <= part.start);
        let mut shift = run.checked_sub(1).map_or(0, |run| self.shift(run));
        let mut at = part.start;
        while at < part.end {
            while self.runs.get(run).is_some_and(|(run, _)| *run as usize <= at) {
                shift = self.shift(run);
                run += 1;
            }
            let next = self.runs.get(run).map_or(part.end, |(next, _)| *next as usize);
            let end = next.min(part.end);
            text.extend_plain(&self.bytes[at..end], at as u32 + shift);
            at = end;
        }
        if is_end {
            text.goes_on = text
                .len()
                .checked_sub(1)
                .is_none_or(|last| self.end - text.to(last) <= LONGEST as u32);
            text.unsure = self.unsure;
        }
        text
    }

    /// The number of visible bytes before a position in the text.
    pub(crate) fn index(&self, position: usize) -> usize {
        let runs = &self.runs;
        let run = runs.partition_point(|(_, text)| *text as usize <= position);
        let Some((bytes, text)) = run.checked_sub(1).map(|run| runs[run]) else {
            return if runs.is_empty() {
                position.min(self.bytes.len())
            } else {
                0
            };
        };
        let end = runs.get(run).map_or(self.bytes.len(), |(next, _)| *next as usize);
        end.min(bytes as usize + position - text as usize)
    }

    /// The position of a visible byte in the text. The end of the visible bytes is the end of the text.
    pub(crate) fn position(&self, index: usize) -> usize {
        if index == self.bytes.len() {
            return self.end as usize;
        }
        let run = self.runs.partition_point(|(run, _)| *run as usize <= index);
        run.checked_sub(1)
            .map_or(index, |run| index + self.shift(run) as usize)
    }

    fn shift(&self, run: usize) -> u32 {
        let (bytes, text) = self.runs[run];
        text - bytes
    }
}

/// The length of the hidden text that begins at a position. 0 if none begins there.
pub(crate) fn hidden(text: &[u8], at: usize) -> usize {
    let rest = &text[at..text.len().min(at + LONGEST)];
    match rest {
        [0 | 0x7f, ..] => 1,
        [ESCAPE, b'[', rest @ ..] => csi(rest).map_or(0, |length| length + 2),
        // In UTF-8, this byte can also be a part of a character.
        [CSI, rest @ ..] if at == 0 || text[at - 1] < 0x80 => csi(rest).map_or(0, |length| length + 1),
        [0xc2, CSI, rest @ ..] => csi(rest).map_or(0, |length| length + 2),
        // C1 controls and the soft hyphen.
        [0xc2, 0x80..=0x9f | 0xad, ..] => 2,
        // Strings: the title of the window, links.
        [ESCAPE, b']' | b'P' | b'X' | b'^' | b'_', rest @ ..] => string(rest).map_or(0, |length| length + 2),
        // Zero-width and direction marks (U+200B to U+200F, U+202A to U+202E, U+2060 to U+206F, U+FEFF).
        [0xe2, 0x80, 0x8b..=0x8f | 0xaa..=0xae, ..]
        | [0xe2, 0x81, 0xa0..=0xaf, ..]
        | [0xef, 0xbb, 0xbf, ..] => 3,
        [ESCAPE, rest @ ..] => {
            let between = rest
                .iter()
                .take_while(|byte| (b' '..=b'/').contains(byte))
                .count();
            let is_end = rest.get(between).is_some_and(|byte| (b'0'..=b'~').contains(byte));
            if is_end { between + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn csi(rest: &[u8]) -> Option<usize> {
    let parameters = csi_parameters(rest);
    let last = rest.get(parameters)?;
    (b'@'..=b'~').contains(last).then_some(parameters + 1)
}

/// The length of the parameters and the intermediate bytes of a control sequence.
fn csi_parameters(rest: &[u8]) -> usize {
    let parameters = rest
        .iter()
        .take_while(|byte| (b'0'..=b'?').contains(byte))
        .count();
    let between = rest[parameters..]
        .iter()
        .take_while(|byte| (b' '..=b'/').contains(byte));
    parameters + between.count()
}

/// The length of a string and its end: BEL, or escape and a backslash.
fn string(rest: &[u8]) -> Option<usize> {
    let end = rest.iter().position(|byte| matches!(*byte, 7 | ESCAPE | b'\n'))?;
    match rest[end..] {
        [7, ..] => Some(end + 1),
        [ESCAPE, b'\\', ..] => Some(end + 2),
        _ => None,
    }
}

/// Whether a text is incomplete hidden text, which more text can complete.
fn is_incomplete(rest: &[u8]) -> bool {
    if rest.len() >= LONGEST {
        return false;
    }
    match rest {
        [ESCAPE] | [CSI] | [0xc2] | [0xe2] | [0xef] | [0xe2, 0x80 | 0x81] | [0xef, 0xbb] => true,
        [ESCAPE, b'[', rest @ ..] | [0xc2, CSI, rest @ ..] | [CSI, rest @ ..] => {
            csi_parameters(rest) == rest.len()
        }
        [ESCAPE, b']' | b'P' | b'X' | b'^' | b'_', rest @ ..] => {
            let end = rest.iter().position(|byte| matches!(*byte, 7 | ESCAPE | b'\n'));
            end.is_none_or(|end| rest[end..] == [ESCAPE])
        }
        [ESCAPE, rest @ ..] => rest.iter().all(|byte| (b' '..=b'/').contains(byte)),
        _ => false,
    }
}
