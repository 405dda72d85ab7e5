//! Characters that a program printed apart from each other: in a list, in a table, or one in each line.

use crate::text::Text;

/// Calls `emit` with the characters that stand alone: with all of them, then with every second one, from the
/// first and from the second on. The characters between those can be indexes or lengths.
pub(crate) fn characters(text: &Text, emit: &mut dyn FnMut(Text)) {
    let is_alone = |at: &usize| {
        let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| is_part(*byte));
        let before = at.checked_sub(1).and_then(|before| text.bytes.get(before));
        is_part(text.bytes.get(*at)) && !is_part(before) && !is_part(text.bytes.get(at + 1))
    };
    let alone: Vec<_> = (0..text.len()).filter(is_alone).collect();
    for (first, step) in [(0, 1), (0, 2), (1, 2)] {
        let mut out = Text::with_room(alone.len() / step);
        for &at in alone.iter().skip(first).step_by(step) {
            out.push_near(text.bytes[at], text.from(at), text.to(at), true);
        }
        emit(out);
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
