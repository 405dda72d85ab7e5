//! The search for pieces of the secret in one reading.

use std::collections::HashMap;

use crate::decode::of_base64;

/// The length of the shortest piece, in bytes. A log hardly ever has 8 characters of a signature in a row by
/// chance.
const PIECE: usize = 8;
/// The number of bits of an index into the filter, which spares most lookups.
const FILTER: u32 = 16;

/// The pieces of a secret: every run of [`PIECE`] bytes in it, each with its positions.
pub(crate) struct Pieces {
    length: usize,
    characters: Windows,
    /// The bytes that the signature of a JWT encodes. A lenient decoder reads the whole token as one text, so
    /// it can begin with any of the first four characters.
    decoded: Vec<Windows>,
}

#[derive(Default)]
struct Windows {
    filter: Vec<bool>,
    positions: HashMap<u64, Vec<usize>>,
}

impl Pieces {
    /// The pieces of `secret`. Treats `-` and `+`, and `_` and `/`, as the same characters, because base64
    /// has two alphabets. With `base64`, the bytes that the secret encodes are pieces as well.
    pub(crate) fn of(secret: &str, base64: bool) -> Self {
        let alignments = if base64 { 4.min(secret.len()) } else { 0 };
        let decoded = (0..alignments).map(|skipped| Windows::of(&of_base64(&secret.as_bytes()[skipped..])));
        let characters = secret.bytes().map(url_safe).collect::<Vec<_>>();
        Self {
            length: secret.len(),
            characters: Windows::of(&characters),
            decoded: decoded.collect(),
        }
    }

    /// The marks for the characters of the secret, before any character is found.
    pub(crate) fn nothing(&self) -> Vec<bool> {
        vec![false; self.length]
    }

    /// Marks the characters that a reading shows. Returns the number of newly marked characters.
    pub(crate) fn find(&self, reading: &[u8], covered: &mut [bool]) -> usize {
        let mut new = 0;
        let mut cover = |from: usize, to: usize| {
            for covered in &mut covered[from..to] {
                new += usize::from(!*covered);
                *covered = true;
            }
        };
        let (mut character, mut byte) = (0, 0);
        for (at, read) in reading.iter().enumerate() {
            character = character << 8 | u64::from(url_safe(*read));
            byte = byte << 8 | u64::from(*read);
            if at + 1 < PIECE {
                continue;
            }
            for from in self.characters.positions(character) {
                cover(*from, from + PIECE);
            }
            for (skipped, decoded) in self.decoded.iter().enumerate() {
                for from in decoded.positions(byte) {
                    // Three bytes are four characters. A character at an edge may belong to two bytes.
                    cover(skipped + (from * 4).div_ceil(3), skipped + (from + PIECE) * 4 / 3);
                }
            }
        }
        new
    }
}

impl Windows {
    fn of(bytes: &[u8]) -> Self {
        let mut windows = Self {
            filter: vec![false; 1 << FILTER],
            positions: HashMap::new(),
        };
        for (from, window) in bytes.windows(PIECE).enumerate() {
            let window = window.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            windows.filter[index(window)] = true;
            windows.positions.entry(window).or_default().push(from);
        }
        windows
    }

    fn positions(&self, window: u64) -> &[usize] {
        let found = self.filter[index(window)]
            .then(|| self.positions.get(&window))
            .flatten();
        found.map_or(&[], Vec::as_slice)
    }
}

fn index(window: u64) -> usize {
    (window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER)) as usize
}

fn url_safe(byte: u8) -> u8 {
    match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}
