//! The parts of a text that are dense with the characters of encodings. A brief look decodes only these.

use std::ops::Range;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use crate::{
    classes::{BLOCK, Class, Kernel},
    scan::count,
    secrets::Secrets,
    stream::merged,
};

/// The number of bytes in a group. A group is dense or not as a whole.
const BYTES: usize = 4 * BLOCK;

/// The least number of decimal digits in a group of numbers. The lines of most logs have fewer, also with the
/// time and an identifier in each.
const DIGITS: usize = BYTES * 7 / 16;

/// Like [`DIGITS`], if a group has at least [`LISTED`] characters of lists of numbers. Source code has these
/// characters, too, but few digits.
const FEW_DIGITS: usize = BYTES * 3 / 16;
const LISTED: usize = BYTES * 7 / 8;

/// The least number of escapes in a group. An escape has up to six characters, and the longer ones end in
/// digits.
const ESCAPES: usize = BYTES / 8;

/// The least number of characters in a group that stand alone, such as those of a list: `'e', 'y'`. Also the
/// least number of short lines.
const ALONE: usize = BYTES / 7;

/// The least number of bytes in a group that begin a character of Latin-1 in UTF-8. Also the least number of
/// bytes above 0x7f in a group of random bytes, in which short words mean nothing.
const LATIN: usize = BYTES / 8;

/// The least number of words in a group of short words.
const SHORT_WORDS: usize = BYTES / 4;

/// The greatest number of characters in a block of base64 that are no base64, such as the ends of lines.
const OTHERS: usize = 4;

/// The least number of capitals in a block of base64.
const CAPITALS: usize = 14;

/// The least number of bytes of a last group or block that counts.
const SHORTEST: usize = 32;

/// The number of bytes before and after a dense group that belong to the part.
const AROUND: usize = 512;

/// The number of bytes at both ends of a long part of which a brief look reads all.
const ENDS: usize = 2 * AROUND;

/// The number of bytes of a sample of a long part.
const SAMPLE: usize = 256;

/// The distance between the beginnings of two samples. The text between them is shorter than the 684 hexadecimal
/// digits of the 342 characters of an RS256 signature.
const STEP: usize = 896;

/// The least number of bytes of a secret of which no encoding is between two samples, even if it is encoded twice.
/// The hexadecimal digits of base64 are 8 for 3 bytes.
const LEAST_TEXT: usize = 400;

/// Like [`LEAST_TEXT`], for a decoded signature of RS256, of which lenient decoders leave out some of the 256 bytes.
/// Some of its encodings are between two samples.
const LEAST_DECODED: usize = 200;

/// A stretch of a dense part that a brief look reads.
pub(super) struct Sample {
    pub(super) at: Range<usize>,
    /// Whether the look skips the text before and after the stretch.
    pub(super) is_one_of_many: bool,
}

/// The stretches of a dense part of a text that a brief look reads.
pub(super) fn samples(secrets: &Secrets, part: Range<usize>, text: &[u8]) -> Vec<Sample> {
    let whole = |at| Sample {
        at,
        is_one_of_many: false,
    };
    let are_long = || secrets.are_at_least(LEAST_TEXT, LEAST_DECODED);
    // A sample has only a few bytes of a list with deep indents.
    let is_indented = || 2 * count(&text[part.clone()], |byte| byte == b' ') > part.len();
    if part.len() <= 2 * ENDS + STEP || !are_long() || is_indented() {
        return vec![whole(part)];
    }
    // At the end of a slice, the dense text goes on outside, so it has no end there.
    let first = if part.start == 0 { 0 } else { part.start + ENDS };
    let last = if part.end == text.len() {
        part.end
    } else {
        part.end - ENDS
    };
    let between = (first..last).step_by(STEP).map(|at| Sample {
        at: at..last.min(at + SAMPLE),
        is_one_of_many: true,
    });
    let ends = [part.start..first, last..part.end].map(whole);
    let samples = ends.into_iter().chain(between);
    samples.filter(|sample| !sample.at.is_empty()).collect()
}

/// The parts of a text that are dense with characters of encodings.
pub(super) fn dense(text: &[u8]) -> Vec<Range<usize>> {
    let mut dense = Vec::new();
    let level = Level::new();
    dispatch!(level, simd => find_dense(simd, text, &mut dense));
    let parts = dense.into_iter().map(|group: usize| {
        let group = group * BYTES..(group + 1) * BYTES;
        group.start.saturating_sub(AROUND)..text.len().min(group.end + AROUND)
    });
    merged(parts.collect())
}

/// Finds the groups of a text that are dense.
#[inline(always)]
fn find_dense<S: Simd>(simd: S, text: &[u8], dense: &mut Vec<usize>) {
    let kernel = Kernel::new(simd, CLASSES);
    for (at, group) in text.chunks(BYTES).enumerate() {
        let mut counts = Counts::default();
        for block in group.chunks(BLOCK) {
            // A zero has no class.
            let mut padded = [0; BLOCK];
            let whole = block.first_chunk().unwrap_or_else(|| {
                padded[..block.len()].copy_from_slice(block);
                &padded
            });
            let bytes = u8x64::from_slice(simd, whole);
            counts.add(kernel.bits(bytes), block.len());
            let blank = (bytes.simd_eq(b' ') | bytes.simd_eq(b'\t')).to_bitmask();
            counts.indents += (blank & blank << 1).count_ones() as usize;
            counts.high += bytes.simd_ge(0x80).to_bitmask().count_ones() as usize;
            counts.latin += (bytes & 0xfe).simd_eq(0xc2).to_bitmask().count_ones() as usize;
        }
        if group.len() >= SHORTEST && counts.are_dense(group.len()) {
            dense.push(at);
        }
    }
}

/// The classes that [`Counts::add`] gets the bits of.
const CLASSES: [Class; 7] = [
    Class::Number,
    Class::Digit,
    Class::Escape,
    Class::Part,
    Class::LineBreak,
    Class::Base64,
    Class::Capital,
];

/// What a group has.
#[derive(Default)]
struct Counts {
    listed: usize,
    digits: usize,
    escapes: usize,
    words: usize,
    alone: usize,
    breaks: usize,
    high: usize,
    latin: usize,
    /// Blanks after other blanks, such as those of an indented list.
    indents: usize,
    has_base64: bool,
}

impl Counts {
    #[inline(always)]
    fn add(&mut self, [number, digit, escape, part, line_break, base64, capital]: [u64; 7], length: usize) {
        let count = |bits: u64| bits.count_ones() as usize;
        // What crosses the end of a block makes no difference.
        let starts = part & !(part << 1);
        self.listed += count(number);
        self.digits += count(digit);
        self.escapes += count(escape);
        self.words += count(starts);
        self.alone += count(starts & !(part >> 1));
        self.breaks += count(line_break);
        self.has_base64 |= length >= SHORTEST
            && count(base64) + OTHERS >= length
            && count(capital) * BLOCK >= CAPITALS * length;
    }

    /// Whether a group of `length` bytes is dense.
    #[inline(always)]
    fn are_dense(&self, length: usize) -> bool {
        let length = length.saturating_sub(self.indents);
        let has = |count: usize, least: usize| count * BYTES >= (least * length).max(1);
        has(self.digits, DIGITS)
            || has(self.digits, FEW_DIGITS) && has(self.listed, LISTED)
            || has(self.escapes, ESCAPES)
            || has(self.breaks, ALONE)
            || has(self.latin, LATIN)
            || self.has_base64
            || !has(self.high, LATIN) && (has(self.words, SHORT_WORDS) || has(self.alone, ALONE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A brief look decodes nothing in an ordinary log, in prose or in source code.
    #[test]
    fn ordinary_text_is_not_dense() {
        let line =
            "2026-11-24T10:00:01.123Z INFO  [worker-7] GET /api/v1/pods/app-1f0e3dad9990434b 200 in 12 ms\n";
        let sources = [
            include_str!("mod.rs"),
            include_str!("../../README.md"),
            &line.repeat(50),
        ];
        for text in sources {
            let found = dense(text.as_bytes());
            assert!(found.is_empty(), "{found:?} of {text}");
        }
    }
}
