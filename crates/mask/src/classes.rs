//! The classes of the bytes of a text, with one bit for each byte. Vectors of the processor find the bits of
//! 64 bytes at once.

use std::ops::Range;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

/// The number of bytes in a block. One 64-bit integer has a bit for each of them.
pub(crate) const BLOCK: usize = 64;

/// A class of bytes. Bytes above 0x7f belong only to `High` and `Latin`.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    /// The bytes of a token and of base64 without padding. All other bytes are separators.
    Token,
    /// The bytes of a JWT. For this class, `+` and `/` are also separators.
    Part,
    Base64,
    /// All characters in lists of numbers, including the separators.
    Number,
    Capital,
    Small,
    Digit,
    /// The hexadecimal digits.
    Hex,
    /// The first bytes of escapes.
    Escape,
    LineBreak,
    /// The brackets that end a tuple, a list or an object.
    Bracket,
    High,
    /// The first bytes of the characters U+0080 to U+00FF in UTF-8.
    Latin,
}

/// The classes that have only ASCII.
const ASCII: [Class; 11] = [
    Class::Token,
    Class::Part,
    Class::Base64,
    Class::Number,
    Class::Capital,
    Class::Small,
    Class::Digit,
    Class::Hex,
    Class::Escape,
    Class::LineBreak,
    Class::Bracket,
];

/// The number of classes.
const CLASSES: usize = ASCII.len() + 2;

const fn belongs(byte: u8, class: Class) -> bool {
    match class {
        Class::Token => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'.'),
        Class::Part => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
        Class::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_'),
        Class::Number => {
            matches!(byte, 9 | 10 | 13 | b' '..=b'/' | b':'..=b'>' | b'['..=b']' | b'_' | b'{'..=b'}')
                || byte.is_ascii_hexdigit()
                || matches!(byte, b'x' | b'X' | b'u' | b'U' | b'o' | b'i' | b'n' | b't')
        }
        Class::Capital => byte.is_ascii_uppercase(),
        Class::Small => byte.is_ascii_lowercase(),
        Class::Digit => byte.is_ascii_digit(),
        Class::Hex => byte.is_ascii_hexdigit(),
        Class::Escape => matches!(byte, b'\\' | b'%' | b'&' | b'=' | b'<' | b'^'),
        Class::LineBreak => byte == b'\n',
        Class::Bracket => matches!(byte, b')' | b']' | b'}'),
        Class::High => byte >= 0x80,
        Class::Latin => matches!(byte, 0xc2 | 0xc3),
    }
}

/// For each class and each lower half of a byte, the upper halves with which the byte belongs to the class:
/// one bit for each.
const TABLES: [[u8; 16]; ASCII.len()] = {
    let mut tables = [[0; 16]; ASCII.len()];
    let mut class = 0;
    while class < ASCII.len() {
        let mut byte = 0;
        while byte < 0x80 {
            if belongs(byte, ASCII[class]) {
                tables[class][(byte & 15) as usize] |= 1 << (byte >> 4);
            }
            byte += 1;
        }
        class += 1;
    }
    tables
};

/// The bit of each upper half of a byte in [`TABLES`].
const UPPER: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

/// The bytes of a text that belong to each class.
pub(crate) struct Classes {
    /// The blocks of the first class, then those of the second one, and so on.
    bits: Vec<u64>,
    blocks: usize,
}

impl Classes {
    pub(crate) fn of(text: &[u8]) -> Self {
        let blocks = text.len().div_ceil(BLOCK);
        let mut bits = vec![0; blocks * CLASSES];
        if blocks > 0 {
            let level = Level::new();
            dispatch!(level, simd => classify(simd, text, &mut bits));
        }
        Self { bits, blocks }
    }

    pub(crate) fn get(&self, class: Class) -> Bits<'_> {
        let from = class as usize * self.blocks;
        Bits(&self.bits[from..from + self.blocks])
    }
}

#[inline(always)]
fn classify<S: Simd>(simd: S, text: &[u8], bits: &mut [u64]) {
    let blocks = bits.len() / CLASSES;
    let kernel = Kernel::new(simd, ASCII);
    for (at, bytes) in text.chunks(BLOCK).enumerate() {
        // The byte 0 belongs to no class.
        let mut block = [0; BLOCK];
        let bytes = match bytes.len() {
            BLOCK => u8x64::from_slice(simd, bytes),
            length => {
                block[..length].copy_from_slice(bytes);
                u8x64::from_slice(simd, &block)
            }
        };
        for (class, belongs) in kernel.bits(bytes).into_iter().enumerate() {
            bits[class * blocks + at] = belongs;
        }
        bits[Class::High as usize * blocks + at] = bytes.simd_ge(0x80).to_bitmask();
        bits[Class::Latin as usize * blocks + at] = (bytes & 0xfe).simd_eq(0xc2).to_bitmask();
    }
}

/// The [`TABLES`] of some classes of [`ASCII`], and [`UPPER`], in vectors.
pub(crate) struct Kernel<S: Simd, const N: usize> {
    tables: [u8x64<S>; N],
    upper: u8x64<S>,
}

impl<S: Simd, const N: usize> Kernel<S, N> {
    // Each function that uses vectors must become a part of its caller: only the outermost one may use the
    // instructions of the processor.
    #[inline(always)]
    pub(crate) fn new(simd: S, classes: [Class; N]) -> Self {
        let mut tables = [u8x64::splat(simd, 0); N];
        for (vector, class) in tables.iter_mut().zip(classes) {
            *vector = u8x64::from_slice(simd, [TABLES[class as usize]; 4].as_flattened());
        }
        let upper = u8x64::from_slice(simd, [UPPER; 4].as_flattened());
        Self { tables, upper }
    }

    /// The bits of each class in one block.
    #[inline(always)]
    pub(crate) fn bits(&self, bytes: u8x64<S>) -> [u64; N] {
        let upper = self.upper.swizzle_dyn_within_blocks(bytes >> 4);
        let lower = bytes & 15;
        let mut bits = [0; N];
        for (bits, table) in bits.iter_mut().zip(&self.tables) {
            let belongs = table.swizzle_dyn_within_blocks(lower) & upper;
            *bits = !belongs.simd_eq(0).to_bitmask();
        }
        bits
    }
}

/// The bytes with which text can begin that a terminal does not show: control characters, and the first bytes
/// of invisible characters in UTF-8.
const SPECIAL: [u8; 8] = [0, 8, 0x1b, 0x7f, 0x9b, 0xc2, 0xe2, 0xef];

/// The positions of the bytes in [`SPECIAL`], as one bit for each byte.
pub(crate) fn specials(text: &[u8]) -> Vec<u64> {
    let mut bits = vec![0; text.len().div_ceil(BLOCK)];
    let level = Level::new();
    dispatch!(level, simd => find_specials(simd, text, &mut bits));
    bits
}

#[inline(always)]
fn find_specials<S: Simd>(simd: S, text: &[u8], bits: &mut [u64]) {
    for (bytes, bits) in text.chunks(BLOCK).zip(bits) {
        let mut block = [b' '; BLOCK];
        let vector = if bytes.len() == BLOCK {
            u8x64::from_slice(simd, bytes)
        } else {
            block[..bytes.len()].copy_from_slice(bytes);
            u8x64::from_slice(simd, &block)
        };
        let mut is_special = vector.simd_eq(SPECIAL[0]);
        for special in SPECIAL {
            is_special |= vector.simd_eq(special);
        }
        *bits = is_special.to_bitmask();
    }
}

/// One bit for each byte of a text, the first byte as the lowest bit of the first block.
#[derive(Clone, Copy)]
pub(crate) struct Bits<'a>(pub(crate) &'a [u64]);

impl Bits<'_> {
    /// The bits of a block. Zeros after the end of the text.
    pub(crate) fn block(self, block: usize) -> u64 {
        self.0.get(block).copied().unwrap_or(0)
    }

    pub(crate) fn blocks(self) -> usize {
        self.0.len()
    }

    /// The bits of the 64 bytes from a position on.
    pub(crate) fn from(self, at: usize) -> u64 {
        let (block, bit) = (at / BLOCK, at % BLOCK);
        let later = self.block(block + 1).checked_shl((BLOCK - bit) as u32);
        self.block(block) >> bit | later.unwrap_or(0)
    }

    /// The number of bytes of the class in a part of the text.
    pub(crate) fn count(self, part: Range<usize>) -> usize {
        let mut count = 0;
        let mut at = part.start;
        while at < part.end {
            let length = (part.end - at).min(BLOCK);
            count += (self.from(at) & ones(length)).count_ones() as usize;
            at += length;
        }
        count
    }

    /// The last byte of the class before a position.
    pub(crate) fn last_before(self, at: usize) -> Option<usize> {
        let mut block = at / BLOCK;
        let mut bits = self.block(block) & ones(at % BLOCK);
        while bits == 0 {
            block = block.checked_sub(1)?;
            bits = self.block(block);
        }
        Some(block * BLOCK + bits.ilog2() as usize)
    }

    /// The first byte of the class from a position on.
    pub(crate) fn first_from(self, at: usize) -> Option<usize> {
        // Most often it is near.
        match self.from(at) {
            0 => self.first(at + BLOCK, |bits, _| bits),
            near => Some(at + near.trailing_zeros() as usize),
        }
    }

    /// The bits of the 64 bytes before a position. The highest bit is that of the last byte.
    pub(crate) fn before(self, at: usize) -> u64 {
        match at.checked_sub(BLOCK) {
            Some(from) => self.from(from),
            None => self.block(0).checked_shl((BLOCK - at) as u32).unwrap_or(0),
        }
    }

    /// The positions of the bytes of the class from `at` on.
    pub(crate) fn positions_from(self, at: usize) -> impl Iterator<Item = usize> {
        let first = at / BLOCK;
        (first..self.0.len()).flat_map(move |block| {
            let skipped = if block == first { ones(at % BLOCK) } else { 0 };
            positions(self.block(block) & !skipped).map(move |at| block * BLOCK + at)
        })
    }

    /// One bit for every `step`th byte of the text, where `step` is 8 or 16: whether one of the 8 bytes from
    /// there on is of the class.
    pub(crate) fn samples(self, step: usize) -> Vec<u64> {
        let mut samples = vec![0; self.0.len().div_ceil(step)];
        for (block, &bits) in self.0.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            let mut any = bits | bits >> 1;
            any |= any >> 2;
            any = (any | any >> 4) & 0x0101_0101_0101_0101;
            // For each byte, one of the factor's bits moves the byte's bit to its place in the highest byte.
            let eight = any.wrapping_mul(0x0102_0408_1020_4080) >> 56;
            let (count, eight) = match step {
                8 => (8, eight),
                _ => (
                    4,
                    (eight & 1) | (eight >> 1 & 2) | (eight >> 2 & 4) | (eight >> 3 & 8),
                ),
            };
            samples[block * count / BLOCK] |= eight << (block * count % BLOCK);
        }
        samples
    }

    /// The first position from `at` on whose byte is not of the class.
    pub(crate) fn end(self, at: usize) -> usize {
        let near = !self.from(at);
        if near != 0 {
            return at + near.trailing_zeros() as usize;
        }
        let mut block = (at + BLOCK) / BLOCK;
        let at = at + BLOCK;
        let mut others = !self.block(block) & !ones(at % BLOCK);
        while others == 0 {
            block += 1;
            others = !self.block(block);
        }
        block * BLOCK + others.trailing_zeros() as usize
    }

    /// The longest stretches in which all bytes are of the class, and which have at least `least` bytes:
    /// 1 to 64.
    pub(crate) fn runs(self, least: usize) -> impl Iterator<Item = Range<usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let known = self.within_run(at, least)?;
                let start = self.start(known);
                at = self.end(known);
                if at - start >= least {
                    return Some(start..at);
                }
            }
        })
    }

    /// A position from `at` on that may be within a run of `least` bytes. No such run ends before it.
    fn within_run(self, at: usize, least: usize) -> Option<usize> {
        match least {
            // A run of 23 bytes has two whole eighths of a block in a row.
            23.. => self.first(at, |bits, next| {
                let next = u64::from(next & 0xff == 0xff) << (BLOCK - 8);
                eighths(bits) & (eighths(bits) >> 8 | next)
            }),
            // A run of 15 bytes has a whole eighth of a block.
            15.. => self.first(at, |bits, _| eighths(bits)),
            // A run of 11 bytes has two whole sixteenths in a row.
            11.. => self.first(at, |bits, next| {
                let next = u64::from(next & 15 == 15) << (BLOCK - 4);
                sixteenths(bits) & (sixteenths(bits) >> 4 | next)
            }),
            _ => self.first(at, |bits, next| {
                in_a_row(u128::from(bits) | u128::from(next) << BLOCK, least) as u64
            }),
        }
    }

    /// The first position from `at` on among those that `choose` returns for a block. `choose` also gets the
    /// next block.
    #[inline]
    fn first(self, at: usize, choose: impl Fn(u64, u64) -> u64) -> Option<usize> {
        let mut seen = ones(at % BLOCK);
        let blocks = self.0.get(at / BLOCK..)?;
        for (block, &bits) in blocks.iter().enumerate() {
            let next = blocks.get(block + 1).copied().unwrap_or(0);
            let chosen = choose(bits, next) & !seen;
            if chosen != 0 {
                return Some((at / BLOCK + block) * BLOCK + chosen.trailing_zeros() as usize);
            }
            seen = 0;
        }
        None
    }

    /// The first position of the stretch of the class that ends at `at`.
    fn start(self, at: usize) -> usize {
        let near = !self.before(at);
        if at >= BLOCK && near != 0 {
            return at - near.leading_zeros() as usize;
        }
        let mut block = at / BLOCK;
        let mut others = !self.block(block) & ones(at % BLOCK);
        while others == 0 && block > 0 {
            block -= 1;
            others = !self.block(block);
        }
        others
            .checked_ilog2()
            .map_or(0, |last| block * BLOCK + last as usize + 1)
    }
}

/// The positions of the bits that are 1.
pub(crate) fn positions(bits: u64) -> impl Iterator<Item = usize> {
    let mut rest = bits;
    std::iter::from_fn(move || {
        let next = (rest != 0).then(|| rest.trailing_zeros() as usize);
        rest &= rest.wrapping_sub(1);
        next
    })
}

/// The lowest bit of each eighth whose bits are all ones.
fn eighths(bits: u64) -> u64 {
    let bits = sixteenths(bits);
    bits & bits >> 4 & 0x0101_0101_0101_0101
}

/// The lowest bit of each sixteenth whose bits are all ones.
fn sixteenths(bits: u64) -> u64 {
    let bits = bits & bits >> 1;
    bits & bits >> 2 & 0x1111_1111_1111_1111
}

/// The bits that begin `least` ones in a row.
pub(crate) fn in_a_row<B>(bits: B, least: usize) -> B
where
    B: Copy + std::ops::BitAndAssign + std::ops::Shr<usize, Output = B>,
{
    let (mut bits, mut length) = (bits, 1);
    while length < least {
        let more = length.min(least - length);
        bits &= bits >> more;
        length += more;
    }
    bits
}

/// An integer whose lowest `count` bits are 1. From 64 on, all bits are 1.
pub(crate) fn ones(count: usize) -> u64 {
    !u64::MAX.checked_shl(count as u32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_byte_has_its_classes() {
        let text: Vec<u8> = (0..=255).chain([b'A']).collect();
        let classes = Classes::of(&text);
        for class in ASCII.into_iter().chain([Class::High, Class::Latin]) {
            for (at, byte) in text.iter().enumerate() {
                let bit = classes.get(class).from(at) & 1;
                assert_eq!(bit == 1, belongs(*byte, class), "{byte:#x}");
            }
            assert_eq!(classes.get(class).from(text.len()), 0);
        }
        let specials = specials(&text);
        let found: Vec<u8> = Bits(&specials).positions_from(0).map(|at| text[at]).collect();
        assert_eq!(found, SPECIAL);
    }

    proptest! {
        #[test]
        fn bits_are_read_like_bytes(text in "[a. ]{0,9}([a]{0,140}[. ]{1,70}){0,4}", at in 0..300_usize, least in 1..65_usize) {
            let is = |byte: Option<&u8>| byte == Some(&b'a');
            let text = text.as_bytes();
            let at = at.min(text.len());
            let classes = Classes::of(text);
            let bits = classes.get(Class::Small);
            prop_assert_eq!(bits.count(at..text.len()), text[at..].iter().filter(|byte| is(Some(*byte))).count());
            prop_assert_eq!(bits.last_before(at), text[..at].iter().rposition(|byte| is(Some(byte))));
            let end = text[at..].iter().position(|byte| !is(Some(byte)));
            prop_assert_eq!(bits.end(at), end.map_or(text.len(), |end| at + end));
            let mut runs = Vec::new();
            let mut start = 0;
            for end in 0..=text.len() {
                if !is(text.get(end)) {
                    runs.extend((end - start >= least).then_some(start..end));
                    start = end + 1;
                }
            }
            prop_assert_eq!(bits.runs(least).collect::<Vec<_>>(), runs);
        }
    }
}
