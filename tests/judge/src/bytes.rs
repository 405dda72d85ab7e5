//! The classes of bytes that the decoders share.

/// Whether a reading is mostly text, so that another decoder is worth a try.
pub(crate) fn is_text(reading: &[u8]) -> bool {
    let text = reading.utf8_chunks().map(|chunk| {
        let bytes = chunk.valid().bytes();
        bytes.filter(|byte| is_readable(*byte)).count()
    });
    text.sum::<usize>() * 100 >= reading.len() * 80
}

/// Whether a byte of UTF-8 occurs in text, also in text of UTF-16 and of a terminal.
fn is_readable(byte: u8) -> bool {
    matches!(byte, 0 | 0x07..=0x0d | 0x1b | b' '..=b'~' | 0x80..)
}

/// Whether a byte occurs in base64 of either alphabet.
pub(crate) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// The lines of a text, without the ends of lines.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// The words of a line.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

/// Joins lines to a text. A line break ends each line.
pub(crate) fn of_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    lines.fold(Vec::new(), |mut text, line| {
        text.extend_from_slice(line);
        text.push(b'\n');
        text
    })
}
