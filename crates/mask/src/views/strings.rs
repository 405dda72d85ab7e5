//! Lists of short strings: `[b'w\x8f', b'v\xf8']`, `{"w\\217","v\\370"}`, `'w\x8F', 'vø'`. In such a
//! list, the quotes part the bytes of a secret, and each string can have escapes.

use std::ops::Range;

use super::{View, decimal, escape, is_near_end, latin, undecimal, unescaped, unescaped_bytes, uses};
use crate::text::{LONGEST_GAP, Text};

/// The greatest length of a string. The search finds the bytes of longer strings without this view.
const LONGEST: usize = 96;

/// The least number of strings.
const FEW: usize = 4;

/// The greatest number of bytes of the strings for each escape in them. Most random bytes need one.
const SHARE: usize = 12;

/// The least length of a string that can be a word of other text.
const WORD: usize = 4;

/// Calls `emit` with the bytes of all short strings in a text, once for each way to read the escapes, and
/// once more without the strings that are words. Leaves out a text whose strings have few escapes.
pub(crate) fn strings(text: &Text, emit: &mut dyn FnMut(Text)) {
    for parts in lists(&text.bytes) {
        for way in ways(&text.bytes, &parts) {
            let bytes = together(text, &parts, *way);
            if has_latin(&bytes.bytes) {
                emit(latin(&bytes));
            }
            emit(bytes);
        }
    }
}

/// The bytes that [`strings`] returns, without their places.
pub(crate) fn string_bytes(text: &[u8], emit: &mut dyn FnMut(&[u8])) {
    for parts in lists(text) {
        for way in ways(text, &parts) {
            let mut bytes = Vec::with_capacity(text.len() / 2);
            for part in &parts {
                let part = &text[part.clone()];
                match way {
                    Way::Once => bytes.extend(unescaped_bytes(part, escape)),
                    Way::Twice => {
                        bytes.extend(unescaped_bytes(&unescaped_bytes(part, escape), escape));
                    }
                    Way::Decimal => bytes.extend(unescaped_bytes(part, decimal)),
                }
            }
            if has_latin(&bytes) {
                emit(&latin(&Text::plain(&bytes)).bytes);
            }
            emit(&bytes);
        }
    }
}

/// A way to read the escapes of a string.
#[derive(Clone, Copy)]
enum Way {
    Once,
    /// PostgreSQL puts the escapes of bytes into the strings of an array, and JSON those of other strings.
    Twice,
    Decimal,
}

/// The ways to read the escapes of some strings.
fn ways(text: &[u8], parts: &[Range<usize>]) -> &'static [Way] {
    let mut strings = parts.iter().map(|part| &text[part.clone()]);
    let has = |string: &[u8], is_next: fn(u8) -> bool| {
        let mut escapes = memchr::memchr_iter(b'\\', string);
        escapes.any(|at| string.get(at + 1).is_some_and(|next| is_next(*next)))
    };
    if strings.clone().any(|string| has(string, |next| next == b'\\')) {
        &[Way::Once, Way::Twice, Way::Decimal]
    } else if strings.any(|string| has(string, |next| next.is_ascii_digit() || next.is_ascii_uppercase())) {
        &[Way::Once, Way::Decimal]
    } else {
        &[Way::Once]
    }
}

/// Whether bytes may have characters of Latin-1: some programs take bytes for them.
fn has_latin(bytes: &[u8]) -> bool {
    memchr::memchr2(0xc2, 0xc3, bytes).is_some()
}

/// The strings as one text.
fn together(text: &Text, parts: &[Range<usize>], way: Way) -> Text {
    let mut out = Text::with_room(text.len() / 2);
    for part in parts {
        let part = text.part(part.clone());
        let bytes = match way {
            Way::Once => unescaped(&part),
            Way::Twice => unescaped(&unescaped(&part)),
            Way::Decimal => undecimal(&part),
        };
        out.extend_near(&bytes, 0..bytes.len(), true);
    }
    out.parted_at_end = true;
    out.goes_on = text.goes_on && is_near_end(&out, text);
    out
}

/// The strings to join: those that are no words, and all.
fn lists(text: &[u8]) -> impl Iterator<Item = Vec<Range<usize>>> {
    let mut all = if uses(View::Strings) {
        parts(text)
    } else {
        Vec::new()
    };
    let string = |part: &Range<usize>| &text[part.clone()];
    let mut others: Vec<_> = all
        .iter()
        .filter(|part| !is_word(string(part)))
        .cloned()
        .collect();
    let codes: usize = others.iter().map(|part| codes(string(part))).sum();
    let length: usize = others.iter().map(ExactSizeIterator::len).sum();
    if codes < FEW.max(length / SHARE) {
        all.clear();
    }
    // The same strings a second time tell no more.
    if others.len() == all.len() {
        others.clear();
    }
    [others, all].into_iter().filter(|strings| strings.len() >= FEW)
}

/// The number of escapes of bytes in a string, and of characters of Latin-1.
fn codes(string: &[u8]) -> usize {
    let is_code = |pair: &[u8]| match pair {
        [b'\\', next] => matches!(next, b'x' | b'u' | b'0'..=b'9' | b'A'..=b'Z'),
        [0xc2 | 0xc3, _] => true,
        _ => false,
    };
    string.windows(2).filter(|pair| is_code(pair)).count()
}

/// What is between the quotes of each short string. Leaves out the names of fields.
fn parts(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut parts, mut at, mut before) = (Vec::new(), 0, 0);
    while let Some(skipped) = memchr::memchr2(b'\'', b'"', &bytes[at..]) {
        let start = at + skipped + 1;
        let Some(length) = length(&bytes[start..], bytes[start - 1]) else {
            at = start;
            continue;
        };
        let end = start + length;
        let part = &bytes[start..end];
        // A text can begin within a string. Then the next quote is an opening one.
        if is_between(part) && !is_between(&bytes[before..start - 1]) {
            at = end;
            continue;
        }
        at = end + 1;
        before = at;
        let after = bytes[at..].iter().find(|byte| **byte != b' ');
        if length > 0 && !matches!(after, Some(b':' | b'=')) {
            parts.push(start..end);
        }
    }
    parts
}

/// The number of bytes before the quote that ends a string. `None` if the string is long or has a line break.
fn length(text: &[u8], quote: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at).filter(|_| at <= LONGEST)? {
            b'\n' => return None,
            b'\\' => at += 2,
            byte if *byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// Whether a text between two quotes is what parts two strings of a list, such as `, b`.
fn is_between(text: &[u8]) -> bool {
    text.len() <= LONGEST_GAP as usize
        && text.first().is_some_and(|byte| b",;:=+ \t\n)]}".contains(byte))
        && !text.iter().any(is_code)
}

/// Whether a byte belongs to an escape or is no ASCII.
fn is_code(byte: &u8) -> bool {
    *byte == b'\\' || *byte >= 0x80
}

/// Whether a string can be a word of other text, a number or a time.
fn is_word(text: &[u8]) -> bool {
    text.len() >= WORD
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/ ".contains(byte))
}
