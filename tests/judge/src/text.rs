//! Decoders for text with terminal control, blanks, decorated lines or escapes.

use std::collections::BTreeMap;

use crate::bytes;

/// Removes escape sequences (ECMA-48), other control characters except tabs and line breaks, and characters
/// without width. A backspace removes the character before it.
pub(crate) fn without_control(text: &[u8]) -> Vec<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, rest) {
            (0x1b, [b'[', after @ ..]) | (0xc2, [0x9b, after @ ..]) => rest = after_sequence(after),
            (0x1b, [b']' | b'P' | b'X' | b'^' | b'_', after @ ..])
            | (0xc2, [0x9d | 0x90 | 0x98 | 0x9e | 0x9f, after @ ..]) => rest = after_string(after),
            (0x1b, _) => {
                let intermediates = rest.iter().take_while(|byte| matches!(byte, b' '..=b'/')).count();
                rest = rest.get(intermediates + 1..).unwrap_or_default();
            }
            // The byte 0x9b alone is also CSI, unless it is part of a UTF-8 character.
            (0x9b, _) if plain.last().is_none_or(u8::is_ascii) => rest = after_sequence(rest),
            (0xc2, [0x80..=0x9f | 0xad, after @ ..])
            | (0xe2, [0x80, 0x8b..=0x8f | 0xaa..=0xae, after @ ..])
            | (0xe2, [0x81, 0xa0..=0xaf, after @ ..])
            | (0xef, [0xbb, 0xbf, after @ ..])
            | (0xef, [0xb8, 0x80..=0x8f, after @ ..])
            | (0xcd, [0x8f, after @ ..]) => rest = after,
            (0x08, _) => drop(plain.pop()),
            (b'\n' | b'\t', _) => plain.push(*first),
            (0..=0x1f | 0x7f, _) => {}
            (other, _) => plain.push(other),
        }
    }
    vec![plain]
}

fn after_sequence(text: &[u8]) -> &[u8] {
    let parameters = text.iter().take_while(|byte| matches!(byte, b' '..=b'?')).count();
    text.get(parameters + 1..).unwrap_or_default()
}

/// The text after a control string, which BEL or ST ends.
fn after_string(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, 0x07 | 0x1b | 0x9c));
    let end = end.map_or(text.len(), |end| end + if text[end] == 0x1b { 2 } else { 1 });
    text.get(end..).unwrap_or_default()
}

pub(crate) fn without_blanks(text: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
    vec![rest.by_ref().collect()]
}

/// Keeps the characters of base64 and dots.
pub(crate) fn without_punctuation(text: &[u8]) -> Vec<Vec<u8>> {
    let kept = text
        .iter()
        .copied()
        .filter(|byte| bytes::is_base64(*byte) || *byte == b'.');
    vec![kept.collect()]
}

/// The longest word of each line, and its last word.
pub(crate) fn one_word(text: &[u8]) -> Vec<Vec<u8>> {
    let longest = bytes::lines(text).filter_map(|line| bytes::words(line).max_by_key(|word| word.len()));
    let last = bytes::lines(text).filter_map(|line| bytes::words(line).last());
    vec![bytes::of_lines(longest), bytes::of_lines(last)]
}

/// The marks that end the decoration at the beginning of a line: `12:`, `app-1 |`, `>`, `+`, `│`.
const MARKS: [&[u8]; 10] = [
    b":",
    b"|",
    b">",
    b"#",
    b"+",
    b"]",
    b"-",
    "│".as_bytes(),
    "║".as_bytes(),
    b"*",
];

/// The lines without their first words, and the lines without the text up to their first marks.
pub(crate) fn without_beginnings(text: &[u8]) -> Vec<Vec<u8>> {
    let after_word = bytes::lines(text).map(|line| {
        let line = line.trim_ascii_start();
        let word = line.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        &line[word..]
    });
    let after_mark = bytes::lines(text).map(|line| {
        let ends = MARKS.iter().filter_map(|mark| {
            let at = line.windows(mark.len()).position(|window| window == *mark)?;
            Some(at + mark.len())
        });
        ends.min().map_or(line, |end| &line[end..])
    });
    vec![bytes::of_lines(after_word), bytes::of_lines(after_mark)]
}

/// The first characters of each line, and the last ones: `cut -c1-6` and so on, for 1 to 8 characters.
pub(crate) fn cut(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = || bytes::lines(text);
    let cut = |end: fn(&[u8], usize) -> &[u8]| {
        let readings = (1..=8).map(|width| {
            let longer = lines().filter(|line| line.len() > width);
            longer.map(|line| end(line, width)).collect::<Vec<_>>().concat()
        });
        readings.collect::<Vec<_>>().join(&b'\n')
    };
    vec![
        cut(|line, width| &line[..width]),
        cut(|line, width| &line[line.len() - width..]),
    ]
}

/// The first words of all lines, then the second words, and so on.
pub(crate) fn by_columns(text: &[u8]) -> Vec<Vec<u8>> {
    let rows = bytes::lines(text).map(|line| bytes::words(line).collect::<Vec<_>>());
    let rows = rows.collect::<Vec<_>>();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    // A line of more than 16 words is prose.
    if !(2..=16).contains(&columns) {
        return Vec::new();
    }
    let words = (0..columns).flat_map(|column| rows.iter().filter_map(move |row| row.get(column).copied()));
    vec![bytes::of_lines(words)]
}

/// Decodes the escapes of C, JSON, Python, Go and shells: letters, octal and hexadecimal digits, code points.
/// Removes a backslash before another character or at the end of a line.
pub(crate) fn c_escapes(text: &[u8]) -> Vec<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            decoded.push(*first);
            continue;
        }
        let (byte, length) = match rest {
            [b'x', digits @ ..] => code(digits, 2, 16, 1),
            [b'u', b'{', digits @ ..] => {
                let (byte, length) = code(digits, 6, 16, 2);
                (byte, length + 1)
            }
            [b'u', digits @ ..] => code(digits, 4, 16, 1),
            [b'U', digits @ ..] => code(digits, 8, 16, 1),
            [b'0'..=b'7', ..] => code(rest, 3, 8, 0),
            [b'n' | b'r' | b't', ..] => (Some(b'\n'), 1),
            [b'\n', ..] => (None, 1),
            [b'\r', b'\n', ..] => (None, 2),
            [other, ..] => (Some(*other), 1),
            [] => (None, 0),
        };
        decoded.extend(byte);
        rest = rest.get(length..).unwrap_or_default();
    }
    vec![decoded]
}

/// Decodes escapes whose numbers are decimal, such as those of Haskell and Lua.
pub(crate) fn decimal_escapes(text: &[u8]) -> Vec<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let (byte, length) = match (first, rest) {
            (b'\\', [b'0'..=b'9', ..]) => code(rest, 3, 10, 0),
            (b'\\', [b'D', b'E', b'L', ..]) => (Some(0x7f), 3),
            (b'\\', [b'&', ..]) => (None, 1),
            _ => (Some(*first), 0),
        };
        decoded.extend(byte);
        rest = &rest[length..];
    }
    vec![decoded]
}

/// Decodes a list of characters in quotes and of numbers (`'w', 143`), or the words of `od -c`.
pub(crate) fn characters(text: &[u8]) -> Vec<Vec<u8>> {
    let items = text.split(|byte| matches!(byte, b',' | b'[' | b']' | b'{' | b'}'));
    let items = items.filter_map(|item| {
        let item = item.trim_ascii();
        let item = item.strip_prefix(b"b").unwrap_or(item);
        match item {
            [b'\'' | b'"', inner @ .., b'\'' | b'"'] => c_escapes(inner).concat().first().copied(),
            [b'0', b'x', digits @ ..] => code(digits, 2, 16, 0).0,
            _ => code(item, 3, 10, 0).0,
        }
    });
    let words = bytes::words(text).filter_map(|word| match word {
        [byte] => Some(*byte),
        [b'\\', ..] => c_escapes(word).concat().first().copied(),
        [_, _, _] => code(word, 3, 8, 0).0,
        _ => None,
    });
    vec![items.collect(), words.collect()]
}

/// The bytes of characters up to U+00FF.
pub(crate) fn latin(text: &[u8]) -> Vec<Vec<u8>> {
    let characters = text.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
    vec![
        characters
            .filter_map(|character| u8::try_from(character).ok())
            .collect(),
    ]
}

/// The words after the same word and the same separators. Takes all words with digits for the same counter.
pub(crate) fn by_label(text: &[u8]) -> Vec<Vec<u8>> {
    let is_word = |byte: &u8| bytes::is_base64(*byte) || *byte == b'.';
    let mut labels = BTreeMap::<(&[u8], &[u8], Option<&u8>), Vec<&[u8]>>::new();
    let (mut rest, mut label): (_, &[u8]) = (text, b"");
    while let Some(skipped) = rest.iter().position(is_word) {
        let (between, after) = rest.split_at(skipped);
        let (word, after) = after.split_at(after.iter().take_while(|byte| is_word(byte)).count());
        labels
            .entry((label, between, after.first()))
            .or_default()
            .push(word);
        label = if word.iter().any(u8::is_ascii_digit) {
            b"0"
        } else {
            word
        };
        rest = after;
    }
    labels
        .into_values()
        .filter(|words| words.len() > 8)
        .map(|words| words.concat())
        .collect()
}

/// Decodes the output of `cat -v`: `^A`, `M-a`, `M-^A`.
pub(crate) fn carets(text: &[u8]) -> Vec<Vec<u8>> {
    if !text.contains(&b'^') {
        return Vec::new();
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        let high = rest.strip_prefix(b"M-").filter(|low| !low.is_empty());
        let low = high.unwrap_or(rest);
        let (byte, length) = match low {
            [b'^', control @ b'?'..=b'_', ..] => (control ^ 0x40, 2),
            [other, ..] => (*other, 1),
            [] => (*first, 1),
        };
        decoded.push(byte | if high.is_some() { 0x80 } else { 0 });
        rest = &low[length..];
    }
    vec![decoded]
}

/// Reads up to `most` digits. Returns the byte for which they stand, and the count of digits plus `more`, the
/// count of characters before them.
fn code(text: &[u8], most: usize, radix: u32, more: usize) -> (Option<u8>, usize) {
    let digits = text
        .iter()
        .take(most)
        .take_while(|byte| char::from(**byte).is_digit(radix))
        .count();
    let number = std::str::from_utf8(&text[..digits]).ok();
    let number = number.and_then(|digits| u32::from_str_radix(digits, radix).ok());
    (number.and_then(|number| u8::try_from(number).ok()), digits + more)
}

pub(crate) fn percent(text: &[u8]) -> Vec<Vec<u8>> {
    vec![pairs(text, b'%')]
}

pub(crate) fn quoted_printable(text: &[u8]) -> Vec<Vec<u8>> {
    vec![pairs(text, b'=')]
}

/// Replaces each mark and the two hexadecimal digits after it by the byte of the digits. Removes a mark at
/// the end of a line, with the line break.
fn pairs(text: &[u8], mark: u8) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (rest, code(rest, 2, 16, 0)) {
            (_, (Some(byte), 2)) if *first == mark => {
                decoded.push(byte);
                rest = &rest[2..];
            }
            ([b'\n', after @ ..] | [b'\r', b'\n', after @ ..], _) if *first == mark => rest = after,
            _ => decoded.push(*first),
        }
    }
    decoded
}

/// Decodes numeric character references, and the five named ones.
pub(crate) fn xml(text: &[u8]) -> Vec<Vec<u8>> {
    const NAMES: [(&[u8], u8); 5] = [
        (b"amp;", b'&'),
        (b"lt;", b'<'),
        (b"gt;", b'>'),
        (b"quot;", b'"'),
        (b"apos;", b'\''),
    ];
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'&' {
            decoded.push(*first);
            continue;
        }
        let name = NAMES.iter().find(|(name, _)| rest.starts_with(name));
        let (byte, length) = match (rest, name) {
            (_, Some((name, byte))) => (Some(*byte), name.len()),
            ([b'#', b'x' | b'X', digits @ ..], _) => code(digits, 8, 16, 2),
            ([b'#', digits @ ..], _) => code(digits, 8, 10, 1),
            _ => (Some(b'&'), 0),
        };
        decoded.extend(byte);
        rest = rest.get(length..).unwrap_or_default();
        rest = rest.strip_prefix(b";").filter(|_| length > 0).unwrap_or(rest);
    }
    vec![decoded]
}
