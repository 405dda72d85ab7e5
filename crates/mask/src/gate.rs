//! A first look at a text: the zones in which a view could find a piece.
//!
//! The masker reads most of a log only here, at a few bytes in each sixteen.

use std::ops::Range;

use crate::{LEAST, grams::word, secrets::Secrets};

/// The views that a zone needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) plain: bool,
    pub(crate) base64: bool,
    pub(crate) numbers: bool,
}

impl Kinds {
    const PLAIN: Self = Self {
        plain: true,
        base64: false,
        numbers: false,
    };
    const BASE64: Self = Self {
        plain: false,
        base64: true,
        numbers: false,
    };
    const NUMBERS: Self = Self {
        plain: false,
        base64: false,
        numbers: true,
    };
    pub(crate) const ALL: Self = Self {
        plain: true,
        base64: true,
        numbers: true,
    };
}

/// The number of bytes before and after a first sight that belong to its zone. The part after it has room for
/// the next piece behind a decoration.
const BEFORE: usize = 96;
const AFTER: usize = 288;

/// The number of bytes around a run of base64 or of numbers that belong to its zone.
const MARGIN: usize = 32;

/// The number of bytes at the end of a text that are always a zone. Shorter beginnings of pieces can escape
/// the first look.
const TAIL: usize = 128;

/// The length of a text that the masker reads as a whole, without a first look.
const FEW: usize = 2048;

/// The greatest distance between two words of a long text that are looked up.
const STRIDE: usize = 5;

/// The least length of a run of base64 that may hold a secret in an inner encoding, and the least number of
/// capitals and of small letters in it. Paths and words have few capitals.
const RUN: usize = 48;
const LETTERS: usize = 4;

/// The least number of digits in a run of numbers.
const DIGITS: usize = 28;

/// The greatest length of a short line of numbers.
const SHORT: usize = 8;

/// The distance between two places that the masker looks at.
const SAMPLE: usize = 16;

/// Classes of bytes.
const BASE64: u8 = 1;
const NUMBER: u8 = 2;
const DIGIT: u8 = 4;
const CAPITAL: u8 = 8;
const SMALL: u8 = 16;
const SEPARATOR: u8 = 32;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_') {
            class |= BASE64;
        } else if byte != b'.' {
            class |= SEPARATOR;
        }
        if byte.is_ascii_uppercase() {
            class |= CAPITAL;
        }
        if byte.is_ascii_lowercase() {
            class |= SMALL;
        }
        if byte.is_ascii_hexdigit() {
            class |= DIGIT | NUMBER;
        }
        if matches!(
            byte,
            b'x' | b'X'
                | b'u'
                | b'U'
                | b'o'
                | b' '
                | b'\t'
                | b'\r'
                | b'\n'
                | b'\\'
                | b'%'
                | b'&'
                | b'#'
                | b';'
                | b','
                | b':'
                | b'-'
                | b'['
                | b']'
                | b'{'
                | b'}'
                | b'('
                | b')'
                | b'"'
                | b'\''
                | b'|'
                | b'='
                | b'.'
                | b'<'
                | b'>'
                | b'+'
        ) {
            class |= NUMBER;
        }
        table[at] = class;
        at += 1;
    }
    table
};

fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// The zones of a text, for each kind of view.
pub(crate) struct Zones {
    lists: [(Kinds, Vec<Range<usize>>); 3],
    length: usize,
}

impl Zones {
    /// Takes a first look at a text. Its end is a zone if more text can follow.
    pub(crate) fn of(secrets: &Secrets, text: &[u8], goes_on: bool) -> Self {
        let kinds = [Kinds::PLAIN, Kinds::BASE64, Kinds::NUMBERS];
        let mut zones = Self {
            lists: kinds.map(|kind| (kind, Vec::new())),
            length: text.len(),
        };
        zones.words(secrets, text);
        zones.runs(secrets, text);
        zones.merge();
        zones.add_end(text, goes_on);
        zones
    }

    /// Only the end of a text, if more text can follow.
    pub(crate) fn end(text: &[u8], goes_on: bool) -> Self {
        let kinds = [Kinds::PLAIN, Kinds::BASE64, Kinds::NUMBERS];
        let mut zones = Self {
            lists: kinds.map(|kind| (kind, Vec::new())),
            length: text.len(),
        };
        zones.add_end(text, goes_on);
        zones
    }

    fn add_end(&mut self, text: &[u8], goes_on: bool) {
        if goes_on || text.len() <= FEW {
            let end = text.len().saturating_sub(if goes_on { TAIL } else { FEW })..text.len();
            for list in 0..self.lists.len() {
                self.add_zone(list, end.clone());
            }
        }
    }

    /// Each zone with the views that it needs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kinds, Range<usize>)> {
        let lists = self.lists.iter();
        lists.flat_map(|(kinds, zones)| zones.iter().map(move |zone| (*kinds, zone.clone())))
    }

    fn merge(&mut self) {
        for list in 0..self.lists.len() {
            let mut zones = std::mem::take(&mut self.lists[list].1);
            zones.sort_by_key(|zone| zone.start);
            zones.into_iter().for_each(|zone| self.add_zone(list, zone));
        }
    }

    fn words(&mut self, secrets: &Secrets, text: &[u8]) {
        let stride = STRIDE.min(secrets.shortest() + 1 - LEAST);
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| secrets.gate().find(rest, stride)) {
            let place = at + found;
            let Some(gram) = word(&text[place..]).filter(|gram| secrets.has_word(*gram)) else {
                at = place + stride;
                continue;
            };
            self.add(0, place..place + LEAST);
            if !secrets.grams().has(gram) {
                self.add(1, place..place + LEAST);
                self.add(2, place..place + LEAST);
            }
            at = place + LEAST;
        }
    }

    fn runs(&mut self, secrets: &Secrets, text: &[u8]) {
        let digits = DIGITS.min(2 * secrets.shortest());
        let (mut numbers_to, mut base64_to, mut sparse_to) = (0, 0, 0);
        let mut at = 0;
        while at + LEAST <= text.len() {
            let first = class(text[at]);
            if at >= numbers_to && all(text, at, NUMBER) {
                let run = run(text, at, NUMBER);
                numbers_to = run.end;
                if is_numbers(&text[run.clone()], digits) {
                    self.add_run(2, run);
                }
            }
            if at >= base64_to && first & BASE64 != 0 && is_solid(text, at) && is_solid(text, at + 8) {
                let run = run(text, at, BASE64);
                base64_to = run.end;
                let letters = |kind| count(&text[run.clone()], kind) >= LETTERS;
                if run.len() >= RUN && letters(CAPITAL) && letters(SMALL) {
                    self.add_run(1, run);
                }
            }
            if at >= sparse_to && (0..3).all(|word| is_sparse(text, at + 8 * word)) {
                sparse_to = at + SAMPLE;
                for list in 0..2 {
                    self.add_run(list, at.saturating_sub(SAMPLE)..at + 2 * SAMPLE);
                }
            }
            at += SAMPLE;
        }
    }

    fn add(&mut self, list: usize, place: Range<usize>) {
        self.add_zone(list, place.start.saturating_sub(BEFORE)..place.end + AFTER);
    }

    fn add_run(&mut self, list: usize, run: Range<usize>) {
        self.add_zone(list, run.start.saturating_sub(MARGIN)..run.end + MARGIN);
    }

    fn add_zone(&mut self, list: usize, zone: Range<usize>) {
        let zone = zone.start..zone.end.min(self.length);
        let zones = &mut self.lists[list].1;
        match zones.last_mut().filter(|last| last.start <= zone.start) {
            Some(last) if last.end >= zone.start => {
                last.start = last.start.min(zone.start);
                last.end = last.end.max(zone.end);
            }
            _ => zones.push(zone),
        }
    }
}

fn all(text: &[u8], at: usize, kind: u8) -> bool {
    text[at..at + 8].iter().all(|byte| class(*byte) & kind != 0)
}

/// The bytes around a position that are of a kind.
fn run(text: &[u8], at: usize, kind: u8) -> Range<usize> {
    let is_other = |byte: &u8| class(*byte) & kind == 0;
    let start = text[..at]
        .iter()
        .rposition(is_other)
        .map_or(0, |before| before + 1);
    let end = text[at..]
        .iter()
        .position(is_other)
        .map_or(text.len(), |length| at + length);
    start..end
}

/// Whether there are many digits in one line, or in short lines. The time at the beginning of the next line
/// does not belong to the number at the end of a line.
fn is_numbers(text: &[u8], digits: usize) -> bool {
    let in_line = |line: &[u8]| count(line, DIGIT);
    if in_line(text) < digits {
        return false;
    }
    let lines = || text.split(|byte| *byte == b'\n');
    let short = lines().filter(|line| line.len() <= SHORT).map(in_line);
    lines().any(|line| in_line(line) >= digits) || short.sum::<usize>() >= digits
}

fn count(text: &[u8], kind: u8) -> usize {
    text.iter().filter(|byte| class(**byte) & kind != 0).count()
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The bytes of a word that are below a limit, as their highest bits.
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS
}

/// Whether 8 bytes have no space, line break or quote.
fn is_solid(text: &[u8], at: usize) -> bool {
    text.get(at..)
        .and_then(word)
        .is_some_and(|word| below(word, b'+') == 0)
}

/// Whether at least half of 8 bytes are separators, but not all.
fn is_sparse(text: &[u8], at: usize) -> bool {
    let Some(word) = text.get(at..).and_then(word) else {
        return false;
    };
    below(word, b'0').count_ones() >= 4 && {
        let separators = count(&text[at..at + 8], SEPARATOR);
        (4..=7).contains(&separators)
    }
}
