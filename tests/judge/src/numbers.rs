//! Bytes that a log shows as numbers: runs of hexadecimal digits, the dumps of tools, lists.

use crate::bytes;

/// Two hexadecimal digits a byte, with any text between: `65:79`, `0x65, 0x79`, `\x65\x79`, `6579`.
pub(crate) fn hexadecimal(text: &[u8]) -> Vec<Vec<u8>> {
    let mut decoded = Vec::new();
    for token in text.split(|byte| !byte.is_ascii_alphanumeric()) {
        let token = match token {
            [b'0', b'x' | b'X', digits @ ..] | [b'x' | b'X', digits @ ..] => digits,
            // The escapes of UTF-16 and of code points: `u0065`, `U00000065`.
            [b'u' | b'U', b'0', b'0', digits @ ..] => digits,
            digits => digits,
        };
        if let Some(bytes) = digits(token) {
            decoded.extend(bytes);
        }
    }
    vec![decoded]
}

/// The bytes of an even number of hexadecimal digits.
fn digits(token: &[u8]) -> Option<Vec<u8>> {
    if token.is_empty() || !token.len().is_multiple_of(2) {
        return None;
    }
    let pairs = token.chunks(2).map(|pair| number(pair, 16));
    pairs
        .map(|byte| byte.and_then(|byte| u8::try_from(byte).ok()))
        .collect()
}

fn number(token: &[u8], radix: u32) -> Option<u64> {
    let token = std::str::from_utf8(token)
        .ok()
        .filter(|token| !token.starts_with('+'))?;
    u64::from_str_radix(token, radix).ok()
}

/// The form of the numbers in a dump.
struct Numbers {
    radix: u32,
    /// The number of digits. `None` if it differs from number to number.
    digits: Option<usize>,
    bytes: usize,
    little_endian: bool,
}

const fn numbers(radix: u32, digits: Option<usize>, bytes: usize, little_endian: bool) -> Numbers {
    Numbers {
        radix,
        digits,
        bytes,
        little_endian,
    }
}

/// The forms of `xxd`, `hexdump`, `od`, `curl --trace` and others.
const DUMPS: [Numbers; 14] = [
    numbers(16, Some(2), 1, false),
    numbers(16, Some(4), 2, false),
    numbers(16, Some(8), 4, false),
    numbers(16, Some(16), 8, false),
    numbers(16, Some(32), 16, false),
    numbers(16, Some(4), 2, true),
    numbers(16, Some(8), 4, true),
    numbers(16, Some(16), 8, true),
    numbers(8, Some(3), 1, false),
    numbers(8, Some(6), 2, true),
    numbers(8, Some(11), 4, true),
    numbers(10, None, 1, false),
    numbers(10, None, 2, true),
    numbers(10, None, 4, true),
];

/// The numbers of each line, from the second word on, because the first word is an address. The numbers end
/// where the text column begins: at a word that is not such a number.
pub(crate) fn dump(text: &[u8]) -> Vec<Vec<u8>> {
    let mut readings = Vec::new();
    for form in &DUMPS {
        let mut reading = Vec::new();
        for line in bytes::lines(text) {
            // A frame may come before the address.
            let mut words = bytes::words(line).skip_while(|word| !word.iter().any(u8::is_ascii_alphanumeric));
            let address = words.next().unwrap_or_default();
            let address = address.strip_prefix(b"0x").unwrap_or(address);
            if !address.first().is_some_and(u8::is_ascii_hexdigit) {
                continue;
            }
            reading.extend(words.map_while(|word| form.bytes_of(word)).flatten());
        }
        readings.push(reading);
    }
    readings
}

impl Numbers {
    fn bytes_of(&self, word: &[u8]) -> Option<Vec<u8>> {
        let word = word.strip_prefix(b"0x").unwrap_or(word);
        let width = self.digits.unwrap_or(word.len());
        // The last number of a dump may be shorter: `xxd` leaves out the bytes that are not there.
        if self.radix == 16 && word.len() < width {
            return digits(word);
        }
        let (signed, word) = word.strip_prefix(b"-").map_or((false, word), |rest| (true, rest));
        if self.digits.is_some_and(|digits| digits != word.len()) || self.bytes > 8 {
            return digits(word).filter(|bytes| bytes.len() == self.bytes);
        }
        let number = number(word, self.radix)?;
        let number = if signed { number.wrapping_neg() } else { number };
        let all = number.to_le_bytes();
        let (low, high) = all.split_at(self.bytes);
        if !high.iter().all(|byte| *byte == if signed { 0xff } else { 0 }) {
            return None;
        }
        let mut low = low.to_vec();
        if !self.little_endian {
            low.reverse();
        }
        Some(low)
    }
}

/// One number a byte, signed or not: `[101 121 74]`, `101,-121`, in decimal, octal, hexadecimal or binary
/// digits. Also reads only every second number.
pub(crate) fn list(text: &[u8]) -> Vec<Vec<u8>> {
    let mut readings = Vec::new();
    for radix in [10, 8, 16, 2] {
        let mut reading = Vec::new();
        let mut before = b' ';
        for token in text.split_inclusive(|byte| !byte.is_ascii_alphanumeric()) {
            let (token, after) = match token.split_last() {
                Some((last, token)) if !last.is_ascii_alphanumeric() => (token, *last),
                _ => (token, b' '),
            };
            let bytes = numbers_of(token, radix).filter_map(|number| u8::try_from(number).ok());
            // Java's bytes are signed.
            reading.extend(bytes.map(|byte| if before == b'-' { byte.wrapping_neg() } else { byte }));
            before = after;
        }
        for first in 0..2 {
            readings.push(reading.iter().copied().skip(first).step_by(2).collect());
        }
        readings.push(reading);
    }
    readings
}

/// The numbers of a token: one, or several if each has the prefix `0x`.
fn numbers_of(token: &[u8], radix: u32) -> impl Iterator<Item = u64> {
    let parts = token.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let parts: Vec<_> = match radix {
        16 => parts.split("0x").collect(),
        _ => vec![parts],
    };
    parts.into_iter().filter_map(move |digits| {
        let digits = match radix {
            16 => digits
                .trim_start_matches(['h', 'H', 'x', 'X', 'r'])
                .trim_end_matches(['h', 'H']),
            8 => digits.trim_start_matches("0o"),
            2 => digits.trim_start_matches("0b"),
            _ => digits,
        };
        number(digits.as_bytes(), radix)
    })
}

/// Eight binary digits a byte, with or without blanks, also folded anywhere.
pub(crate) fn binary(text: &[u8]) -> Vec<Vec<u8>> {
    let runs = text.split(|byte| !byte.is_ascii_alphanumeric());
    let runs = runs.filter(|run| run.len() >= 8 && run.iter().all(|digit| matches!(digit, b'0' | b'1')));
    let bytes = |digits: &[u8]| -> Vec<u8> {
        let bytes = digits
            .as_chunks::<8>()
            .0
            .iter()
            .filter_map(|bits| number(bits, 2));
        bytes.filter_map(|byte| u8::try_from(byte).ok()).collect()
    };
    let whole = runs.clone().filter(|run| run.len().is_multiple_of(8));
    vec![
        bytes(&whole.flatten().copied().collect::<Vec<_>>()),
        bytes(&runs.flatten().copied().collect::<Vec<_>>()),
    ]
}

/// The bytes of GUIDs, whose first three numbers are little-endian.
pub(crate) fn guids(text: &[u8]) -> Vec<Vec<u8>> {
    let words = text.split(|byte| !byte.is_ascii_hexdigit() && *byte != b'-');
    let guids = words.filter_map(|word| {
        let numbers = word.split(|byte| *byte == b'-').map(digits);
        let mut numbers = numbers.collect::<Option<Vec<_>>>()?;
        numbers.iter().map(Vec::len).eq([4, 2, 2, 2, 6]).then(|| {
            numbers[..3].iter_mut().for_each(|number| number.reverse());
            numbers.concat()
        })
    });
    vec![guids.flatten().collect()]
}
