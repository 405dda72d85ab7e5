//! Characters that a program printed apart from each other: in a list, in a table, or one in each line.

use super::is_near_end;
use crate::text::Text;

/// Calls `emit` three times with the characters that stand alone: with all of them, with the first, third,
/// fifth and so on, and with the second, fourth, sixth and so on. In the last two calls, the characters that
/// are left out can be indexes or lengths.
pub(crate) fn characters(text: &Text, emit: &mut dyn FnMut(Text)) {
    let alone = alone(&text.bytes);
    for (first, step) in ROWS {
        let mut out = Text::with_room(alone.len() / step);
        for &at in alone.iter().skip(first).step_by(step) {
            out.push_near(text.bytes[at], text.from(at), text.to(at), true);
        }
        out.parted_at_end = true;
        out.goes_on = text.goes_on && is_near_end(&out, text);
        emit(out);
    }
}

/// The ways to read the characters: the index of the first one, and the distance from one to the next.
pub(crate) const ROWS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

/// The positions of the characters that stand alone. A character behind a dash, a dot or an underscore that
/// begins a word also counts: `Illegal option -d`.
pub(crate) fn alone(bytes: &[u8]) -> Vec<usize> {
    let (mut found, mut positions) = (0, vec![0; bytes.len()]);
    let (mut is_after_part, mut is_here) = (false, bytes.first().is_some_and(is_part));
    let mut is_after_dash = false;
    // This has no branch for each byte, because a processor could not predict it.
    for (at, byte) in bytes.iter().enumerate() {
        let is_before_part = bytes.get(at + 1).is_some_and(is_part);
        positions[found] = at;
        found += usize::from(is_here & (!is_after_part | is_after_dash) & !is_before_part);
        is_after_dash = is_here & !is_after_part & !byte.is_ascii_alphanumeric();
        (is_after_part, is_here) = (is_here, is_before_part);
    }
    positions.truncate(found);
    positions
}

fn is_part(byte: &u8) -> bool {
    // A JWT contains neither `+` nor `/`, so they are separators here.
    byte.is_ascii_alphanumeric() | (*byte == b'-') | (*byte == b'.') | (*byte == b'_')
}
