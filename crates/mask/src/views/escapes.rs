//! Escapes and entities: of URLs, JSON, XML, HTML, shells, C, Python and quoted-printable.

use crate::text::Text;

/// The greatest number of bytes after the `<` of an HTML tag that separates parts of a word, such as `<wbr>`.
const TAG: usize = 16;

/// Whether a text has a byte with which an escape begins.
pub(crate) fn has_escapes(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| matches!(byte, b'\\' | b'%' | b'&' | b'=' | b'<' | b'\''))
}

/// The text with each escape replaced by the bytes that it stands for.
pub(crate) fn unescaped(text: &Text) -> Text {
    replaced(text, escape)
}

/// Whether a text may have the carets of [`uncareted`].
pub(crate) fn has_carets(text: &[u8]) -> bool {
    memchr::memchr(b'^', text).is_some()
}

/// The text with the bytes for which `cat -v` and `less` print `^A`, `M-a`, `M-^A` or `<8F>`. A token may
/// have `M-` itself, so this is not a part of [`unescaped`].
pub(crate) fn uncareted(text: &Text) -> Text {
    replaced(text, caret)
}

/// The text with each decimal escape of Haskell, Lua and OCaml, such as `\143`, replaced by its byte.
pub(crate) fn undecimal(text: &Text) -> Text {
    replaced(text, decimal)
}

/// The bytes that [`unescaped`] returns, without their places. The escapes are those that `read` knows:
/// [`escape`], [`caret`] or [`decimal`].
pub(crate) fn unescaped_bytes(text: &[u8], read: impl Fn(&[u8]) -> (usize, Meaning)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let (length, meaning) = read(&text[at..]);
        match meaning {
            Meaning::Nothing => {}
            Meaning::Text(meant, count) => bytes.extend_from_slice(&meant[..count]),
            Meaning::Short(byte) => bytes.push(byte),
            Meaning::Unfinished => bytes.push(text[at]),
        }
        at += length;
    }
    bytes
}

fn replaced(text: &Text, read: fn(&[u8]) -> (usize, Meaning)) -> Text {
    let mut out = Text::with_room(text.len());
    let mut at = 0;
    let mut parted = false;
    while at < text.len() {
        let rest = &text.bytes[at..];
        let (length, meaning) = read(rest);
        let last = at + length - 1;
        let is_open = matches!(meaning, Meaning::Unfinished | Meaning::Short(_));
        if is_open && text.goes_on && out.unsure.is_none() {
            out.unsure = Some(text.from(at));
        }
        let bytes = match &meaning {
            Meaning::Nothing => {
                parted = true;
                &[]
            }
            Meaning::Text(bytes, count) => &bytes[..*count],
            Meaning::Short(byte) => std::slice::from_ref(byte),
            Meaning::Unfinished => {
                out.push_near(rest[0], text.from(at), text.to(at), parted || text.is_parted(at));
                parted = false;
                at += 1;
                continue;
            }
        };
        for &byte in bytes {
            let parted = std::mem::take(&mut parted) || (at..=last).any(|at| text.is_parted(at));
            out.push_near(byte, text.from(at), text.to(last), parted);
        }
        at += length;
    }
    out.parted_at_end = parted || text.parted_at_end;
    out.unsure = out.unsure.into_iter().chain(text.unsure).min();
    out.goes_on = text.goes_on;
    out.is_padded = text.is_padded;
    out
}

pub(crate) enum Meaning {
    /// A fold or a tag: the next byte continues the word.
    Nothing,
    Text([u8; 4], usize),
    /// A byte, unless the text goes on with more digits.
    Short(u8),
    /// Bytes that more text may complete to an escape.
    Unfinished,
}

fn one(byte: u8) -> Meaning {
    Meaning::Text([byte, 0, 0, 0], 1)
}

fn character(code: u32) -> Meaning {
    let mut bytes = [0; 4];
    // Python's surrogate escapes mean bytes that are not UTF-8.
    if let 0xdc80..=0xdcff = code {
        return one(code as u8);
    }
    // The character in UTF-8. `\xff` does not come here, because it means a byte.
    match char::from_u32(code) {
        Some(character) => {
            let length = character.encode_utf8(&mut bytes).len();
            Meaning::Text(bytes, length)
        }
        None => one(b'?'),
    }
}

/// The length of the escape with which a text begins, and its meaning. Other bytes mean themselves.
#[inline]
pub(crate) fn escape(rest: &[u8]) -> (usize, Meaning) {
    match rest {
        [b'\'', b'\\', b'\'', b'\'', ..] => (4, one(b'\'')),
        [b'\'', b'"', b'\'', b'"', b'\'', ..] => (5, one(b'\'')),
        [b'\'', ..] if b"'\\''".starts_with(rest) || b"'\"'\"'".starts_with(rest) => (1, Meaning::Unfinished),
        [b'\\', tail @ ..] => backslash(tail),
        [b'%', tail @ ..] => match number(tail, 2, 16) {
            Some((2, byte)) => (3, one(byte as u8)),
            _ if tail.len() < 2 => (1, Meaning::Unfinished),
            _ => (1, one(b'%')),
        },
        [b'=', b'\n', ..] => (2, Meaning::Nothing),
        [b'=', b'\r', b'\n', ..] => (3, Meaning::Nothing),
        [b'=', tail @ ..] => match number(tail, 2, 16) {
            Some((2, byte)) if !tail[..2].iter().any(u8::is_ascii_lowercase) => (3, one(byte as u8)),
            _ if tail.len() < 2 => (1, Meaning::Unfinished),
            _ => (1, one(b'=')),
        },
        [b'&', tail @ ..] => entity(tail),
        [b'<', tail @ ..] => tag(tail),
        [byte, ..] => (1, one(*byte)),
        [] => (1, one(0)),
    }
}

/// Like [`escape`], for control characters and bytes above 0x7f as `cat -v` and `less` print them. `cat -A`
/// also prints `$` before a line break.
pub(crate) fn caret(rest: &[u8]) -> (usize, Meaning) {
    let is_control = |byte: u8| matches!(byte, b'?'..=b'_');
    match *rest {
        [b'M', b'-', b'^', byte, ..] if is_control(byte) => (4, one(byte ^ 0xc0)),
        [b'M', b'-', b'^'] | [b'M', b'-'] | [b'M'] | [b'^'] => (1, Meaning::Unfinished),
        [b'M', b'-', byte @ b' '..=b'~', ..] => (3, one(byte | 0x80)),
        [b'^', byte, ..] if is_control(byte) => (2, one(byte ^ 0x40)),
        [b'$', b'\n', ..] => (2, one(b'\n')),
        [b'<', _, _, b'>', ..] => match number(&rest[1..], 2, 16) {
            Some((2, byte)) => (4, one(byte as u8)),
            _ => (1, one(b'<')),
        },
        [b'<'] | [b'<', _] | [b'<', _, _] => (1, Meaning::Unfinished),
        [byte, ..] => (1, one(byte)),
        [] => (1, one(0)),
    }
}

/// The names of control characters in Haskell, from 0 on. The letters `abtnvfr` mean 7 to 13.
const NAMES: [&str; 32] = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "a", "b", "t", "n", "v", "f", "r", "SO", "SI", "DLE",
    "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
];

/// Like [`escape`], for escapes with decimal numbers, and with names of control characters.
pub(crate) fn decimal(rest: &[u8]) -> (usize, Meaning) {
    let [b'\\', tail @ ..] = rest else {
        return (1, one(rest.first().copied().unwrap_or_default()));
    };
    match number(tail, 3, 10) {
        Some((length, code)) => (1 + length, digits(length, code, tail)),
        // An empty text, between a number and a digit.
        None if tail.starts_with(b"&") => (2, Meaning::Nothing),
        None if tail.starts_with(b"DEL") => (4, one(0x7f)),
        None => match NAMES.iter().position(|name| tail.starts_with(name.as_bytes())) {
            Some(byte) => (1 + NAMES[byte].len(), one(byte as u8)),
            None => backslash(tail),
        },
    }
}

pub(super) fn backslash(tail: &[u8]) -> (usize, Meaning) {
    let Some(&kind) = tail.first() else {
        return (1, Meaning::Unfinished);
    };
    let rest = &tail[1..];
    let fixed = |length: usize| match number(rest, length, 16) {
        Some((found, code)) if found == length => {
            let meaning = if length == 2 {
                one(code as u8)
            } else {
                character(code)
            };
            (2 + length, meaning)
        }
        _ if rest.len() < length => (1, Meaning::Unfinished),
        _ => (2, one(kind)),
    };
    match kind {
        b'x' | b'u' if rest.first() == Some(&b'{') => {
            let end = rest.iter().take(10).position(|byte| *byte == b'}');
            match end.and_then(|end| number(&rest[1..end], end - 1, 16).map(|(_, code)| (end, code))) {
                // Perl prints a byte like a character.
                Some((end, code)) if kind == b'x' && code < 0x100 => (3 + end, one(code as u8)),
                Some((end, code)) => (3 + end, character(code)),
                None if rest.len() < 10 && rest[1..].iter().all(u8::is_ascii_hexdigit) => {
                    (1, Meaning::Unfinished)
                }
                None => (2, one(kind)),
            }
        }
        b'x' => fixed(2),
        b'u' => fixed(4),
        b'U' => fixed(8),
        b'0'..=b'7' => match number(tail, 3, 8) {
            Some((length, code)) => (1 + length, digits(length, code, tail)),
            None => (2, one(kind)),
        },
        b'\n' => (2, Meaning::Nothing),
        b'a' => (2, one(7)),
        b'b' => (2, one(8)),
        b't' => (2, one(b'\t')),
        b'n' => (2, one(b'\n')),
        b'v' => (2, one(11)),
        b'f' => (2, one(12)),
        b'r' => (2, one(b'\r')),
        b'e' => (2, one(0x1b)),
        _ => (2, one(kind)),
    }
}

fn entity(tail: &[u8]) -> (usize, Meaning) {
    const NAMES: [(&[u8], u8); 6] = [
        (b"amp;", b'&'),
        (b"lt;", b'<'),
        (b"gt;", b'>'),
        (b"quot;", b'"'),
        (b"apos;", b'\''),
        (b"nbsp;", b' '),
    ];
    const FOLDS: [&[u8]; 5] = [b"shy;", b"ZeroWidthSpace;", b"#8203;", b"#173;", b"#x200b;"];
    if let Some(fold) = FOLDS.iter().find(|fold| tail.starts_with(fold)) {
        return (1 + fold.len(), Meaning::Nothing);
    }
    if let Some((name, byte)) = NAMES.iter().find(|(name, _)| tail.starts_with(name)) {
        return (1 + name.len(), one(*byte));
    }
    let found = match tail {
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 8, 16).map(|(length, code)| (3 + length, code)),
        [b'#', digits @ ..] => number(digits, 8, 10).map(|(length, code)| (2 + length, code)),
        _ => None,
    };
    match found {
        Some((length, code)) if tail.get(length - 1) == Some(&b';') => (length + 1, character(code)),
        _ if tail.len() < 8 && !tail.contains(&b';') => (1, Meaning::Unfinished),
        _ => (1, one(b'&')),
    }
}

fn tag(tail: &[u8]) -> (usize, Meaning) {
    let end = tail.iter().take(TAG).position(|byte| *byte == b'>');
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b' ');
    match end {
        Some(end) if tail[..end].iter().all(is_name) => (end + 2, Meaning::Nothing),
        None if tail.len() < TAG && tail.iter().all(is_name) => (1, Meaning::Unfinished),
        _ => (1, one(b'<')),
    }
}

/// The byte of an escape with one to three digits.
fn digits(length: usize, code: u32, tail: &[u8]) -> Meaning {
    if length < 3 && length == tail.len() {
        Meaning::Short(code as u8)
    } else {
        one(code as u8)
    }
}

/// The number of digits with which a text begins, at most `most`, and the value of these digits.
fn number(text: &[u8], most: usize, radix: u32) -> Option<(usize, u32)> {
    let digits = text
        .iter()
        .take(most)
        .map_while(|byte| char::from(*byte).to_digit(radix));
    let (length, number) = digits.fold((0, 0_u32), |(length, number), digit| {
        (length + 1, number.wrapping_mul(radix).wrapping_add(digit))
    });
    (length > 0).then_some((length, number))
}
