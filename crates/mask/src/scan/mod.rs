//! The first look at a text: it finds the places where a view may find a piece of a secret.
//!
//! Most of a log gets only this look. The look searches for words of the secrets. The classes of the
//! text's bytes ([`Classes`]) tell it where the text looks like an encoding. It decodes this text, but keeps
//! no positions of the decoded bytes. The views read a window only if the look found words in it.

mod decode;
mod dense;
mod diffs;
mod few;
mod fields;
mod padding;
mod printed;
mod records;
mod rows;
mod strings;

use std::{
    cell::{LazyCell, RefCell},
    ops::Range,
};

pub(crate) use self::decode::is_of_numbers;
use self::decode::{Numbers, base64, labels, literal, may_have_words, numbers, table, unescape};
use self::dense::{Sample, dense, samples};
use self::few::Few;
use crate::{
    ANYWHERE, ESCAPE, LEAST, PIECE,
    classes::{BLOCK, Bits, Class, Classes, in_a_row, ones, positions},
    grams::{SHORT_WORD, word},
    secrets::Secrets,
    stream::{line_start, merged},
    text::Text,
    views::{
        ROWS, caret, chains, escape, has_carets, has_characters, is_token_byte, latin, unescaped_bytes,
        without_frame,
    },
};

/// The least number of bytes of a secret in a row for which views read the window. Fewer bytes are often common
/// words.
pub(crate) const SEEN: usize = 12;

/// Like [`SEEN`], for bytes that come from numbers: a fold may leave only a few of them in a row.
const SEEN_IN_NUMBERS: usize = LEAST;

/// The distance between two short words that the look reads in a text. Every stretch of [`LEAST`] bytes has
/// one of these words.
const GRID: usize = LEAST + 1 - SHORT_WORD;

/// Like [`GRID`], for a brief look. Every stretch of [`PIECE`] bytes has one of these words.
const BRIEF_GRID: usize = PIECE + 1 - SHORT_WORD;

/// The number of bytes before and after a find in dense text that can belong to the same piece. A brief look does
/// not read all of them.
const AROUND_FIND: usize = 2 << 10;

/// The bits of every fifth byte of a block.
const EACH_FIFTH: u64 = 0x1084_2108_4210_8421;

/// The least length of a secret whose encoding covers many samples of a text.
const LONG: usize = 64;

/// The distance between two samples of the text, and the number of bytes of a sample that count.
const SAMPLE: usize = 16;
const COUNTED: usize = 8;

/// The least length of a run of base64 that the look decodes (for short secrets, it is less): ten characters
/// of a signature, encoded twice. Base64 may have lost two more at its ends.
const RUN: usize = 19;

/// The least number of capitals in a run of base64, because paths and words have few. Also the least number
/// of capitals and of small letters in escaped text.
const LETTERS: usize = 3;

/// The length of a run of base64 from which on [`LETTERS`] capitals are enough. Between [`RUN`] and this
/// length, a run needs twice as many, because a name can have some capitals.
const LONG_RUN: usize = 32;

/// The least number of digits in a run of numbers that the look decodes.
const DIGITS: usize = 2 * LEAST;

/// The least number of hexadecimal digits in a row that are more than a short hash: they may stand for
/// another encoding.
const MANY_DIGITS: usize = 28;

/// The least number of digits of an address from which the look recognises a dump.
const ADDRESS: usize = 7;

/// The least number of bytes of a piece behind a label.
const SHORTEST_PIECE: usize = 3;

/// The greatest number of bytes between the numbers of two lines of a dump.
const COLUMN: usize = 64;

/// The greatest number of bytes between the last number of a line and the end of the line.
const FRAME: usize = 8;

/// The number of bytes that the look decodes at once, and the number of bytes that two such parts share.
const PART: usize = 2048;
const OVERLAP: usize = 256;

/// The number of bytes around a place that are read without separators, or without escapes.
const AROUND: usize = 48;

/// The number of bytes on each side of a separator that the look joins into a word.
const HALF: usize = LEAST / 2;

/// The least number of separators in half a block for which the look joins its words even without capitals.
const SEPARATORS: u32 = 10;

/// The least number of words in this half, if the capitals lead to longer words.
const WORDS: u32 = 8;

/// The least number of different capitals, and of different small letters, among the characters that stand
/// alone in a list, and the number of bytes before the text in which such characters count, too: a list can
/// have one in each line.
const DIFFERENT: u32 = 4;
const OLDER: usize = 512;

/// The number of characters that stand alone near one another from which on they may be any text, such as
/// numbers in the output of `od -c`.
const MANY: usize = 64;

/// The number of samples in a row with an escape after which escapes are dense.
const DENSE: usize = 3;

/// The least number of samples with an escape, among eight in a row with many digits, after which the escapes
/// may be folded: each line can have a prefix.
const FOLDED: u32 = 4;

/// The number of bytes before a sample in which the look counts lines, and the least number of lines that may
/// be the rows of a table. Other logs have longer lines.
const TABLE: usize = 384;
const ROWS_BEFORE: usize = 8;

/// The least number of equal texts between the numbers of a list.
const EQUAL: usize = 5;

/// The secrets, and how closely to look for them.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    secrets: &'a Secrets,
    /// Whether a word of a secret is near. Then shorter encodings also count.
    is_close: bool,
    /// The least number of bytes of a secret in a row that count.
    least: usize,
    /// Whether the look may stop at the first part that it finds.
    is_first: bool,
    /// Whether the look decodes only text that is dense with characters of encodings.
    is_brief: bool,
}

impl<'a> Look<'a> {
    /// A look at a part of a log.
    pub(crate) fn far(secrets: &'a Secrets) -> Self {
        Self {
            secrets,
            is_close: false,
            least: SEEN,
            is_first: false,
            is_brief: false,
        }
    }

    /// A look at a part of a very long log.
    fn brief(secrets: &'a Secrets) -> Self {
        Self {
            is_brief: true,
            ..Self::far(secrets)
        }
    }

    /// A look at text near a word of a secret. It stops at the first part that it finds.
    pub(crate) fn close(secrets: &'a Secrets) -> Self {
        Self {
            secrets,
            is_close: true,
            least: LEAST,
            is_first: true,
            is_brief: false,
        }
    }

    /// A look at text that numbers stand for. It stops at the first part that it finds.
    fn in_numbers(self) -> Self {
        Self {
            least: SEEN_IN_NUMBERS,
            ..self.first()
        }
    }

    /// A look that stops at the first part that it finds.
    fn first(self) -> Self {
        Self {
            is_first: true,
            ..self
        }
    }
}

/// Whether a brief look can find these secrets. A short secret needs few characters, so they are not dense.
pub(crate) fn is_brief_enough(secrets: &Secrets) -> bool {
    secrets.least() >= LONG
}

/// Calls `see` with each part of a text in which up to `depth` views may read a piece.
pub(crate) fn scan(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    let Some(depth) = depth.checked_sub(1) else {
        return words(look.secrets, text, look.least, see);
    };
    if look.is_brief {
        look_briefly(look, text, depth, &mut |part, _| see(part));
    } else {
        stages(look, text, depth, see);
    }
}

/// Calls `see` like [`scan`], for a part of a very long log. Also tells it which text around each find can belong to
/// the same piece.
pub(crate) fn scan_briefly(
    secrets: &Secrets,
    text: &[u8],
    depth: usize,
    see: &mut dyn FnMut(Range<usize>, Range<usize>),
) {
    look_briefly(Look::brief(secrets), text, depth - 1, see);
}

fn look_briefly(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>, Range<usize>)) {
    let step = if look.least < SEEN { GRID } else { BRIEF_GRID };
    words_at(look.secrets, text, step, look.least, &mut |part| {
        let rest = &text[part.end..text.len().min(part.end + AROUND_FIND)];
        let end = part.end + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        see(part.clone(), line_start(text, part.start)..end);
    });
    for part in dense(text) {
        for Sample { at, is_one_of_many } in samples(look.secrets, part.clone(), text) {
            // One find is enough there, because the masker masks the text around it, too.
            let look = if is_one_of_many { look.first() } else { look };
            stages(look, &text[at.clone()], depth, &mut |found| {
                let found = at.start + found.start..at.start + found.end;
                let around = found.start.saturating_sub(AROUND_FIND)..found.end + AROUND_FIND;
                see(found, around.start.max(part.start)..around.end.min(part.end));
            });
        }
    }
}

/// Calls `see` like [`scan`], for a text of which the look reads all.
fn stages(look: Look<'_>, text: &[u8], depth: usize, see: &mut dyn FnMut(Range<usize>)) {
    let classes = Classes::of(text);
    let found = RefCell::new(Vec::new());
    let see = &mut |part: Range<usize>| {
        found.borrow_mut().push(part.clone());
        see(part);
    };
    let mut scan = Scan {
        look,
        text,
        classes: &classes,
        depth,
        // The encoding of a short secret is short. In decoded text, a line of an encoding is often short.
        is_short: look.is_close || look.secrets.least() < LONG,
        found: &found,
        known: Vec::new(),
        is_first_found: false,
    };
    scan.plain(see);
    if scan.goes_on() {
        scan.base64(see);
    }
    if scan.goes_on() {
        scan.numbers(see);
    }
    if scan.goes_on() {
        scan.joined(see);
    }
    if scan.goes_on() {
        scan.labelled(see);
    }
    // In dense text, a piece of a few characters is seldom one of a signature.
    if scan.goes_on() && !look.is_brief {
        for chain in chains(look.secrets, text) {
            chain.pieces.into_iter().for_each(&mut *see);
        }
    }
    if scan.goes_on() {
        scan.alone(see);
    }
    if scan.goes_on() {
        scan.latin(see);
        scan.escapes(see);
        scan.diffs(see);
        scan.printed(see);
        scan.padding(see);
        scan.strings(see);
    }
}

/// A look at one text.
struct Scan<'a> {
    look: Look<'a>,
    text: &'a [u8],
    classes: &'a Classes,
    /// The number of views that may read the text which another view returns.
    depth: usize,
    is_short: bool,
    /// The parts that the present stage has found.
    found: &'a RefCell<Vec<Range<usize>>>,
    /// The long parts that the stages before have found, in order.
    known: Vec<Range<usize>>,
    /// Whether a stage before has found the first part, and the look may stop there.
    is_first_found: bool,
}

impl<'a> Scan<'a> {
    /// Whether the present stage has found enough.
    fn is_done(&self) -> bool {
        self.look.is_first && !self.found.borrow().is_empty()
    }

    /// Ends a stage. Returns whether the look needs the next one.
    #[inline]
    fn goes_on(&mut self) -> bool {
        if !self.found.borrow().is_empty() {
            let found = self.found.take();
            self.is_first_found |= self.look.is_first;
            self.known
                .extend(found.into_iter().filter(|part| part.len() >= ANYWHERE));
            self.known = merged(std::mem::take(&mut self.known));
        }
        !self.is_first_found
    }

    /// Whether the stages before have found all of a part, so that no other look at it tells more.
    fn is_known(&self, part: &Range<usize>) -> bool {
        let after = self.known.partition_point(|known| known.end < part.end);
        self.known
            .get(after)
            .is_some_and(|known| known.start <= part.start)
    }

    fn bits(&self, class: Class) -> Bits<'a> {
        self.classes.get(class)
    }

    /// The text around a position.
    fn around(&self, before: usize, at: usize, after: usize) -> Range<usize> {
        at.saturating_sub(before)..self.text.len().min(at + after)
    }

    /// Words of secrets.
    fn plain(&self, see: &mut dyn FnMut(Range<usize>)) {
        let secrets = self.look.secrets;
        let least = self.look.least;
        if !secrets.is_plain() {
            return words_at(secrets, self.text, GRID, least, see);
        }
        let tokens = self.bits(Class::Token);
        let (mut seen_to, mut before) = (0, 0);
        for block in 0..tokens.blocks() {
            let bits = u128::from(tokens.block(block)) | u128::from(tokens.block(block + 1)) << BLOCK;
            // A short word belongs to a long one that begins with it, or up to four bytes before it.
            let long = in_a_row(bits, LEAST) as u64;
            let near = u128::from(long) << BLOCK | u128::from(std::mem::replace(&mut before, long));
            let near = near | near << 1;
            let near = (near | near << 2 | near << 3) >> BLOCK;
            let first = block * BLOCK;
            let each_fifth = EACH_FIFTH << ((GRID - first % GRID) % GRID);
            for at in positions(near as u64 & each_fifth).map(|at| first + at) {
                if at >= seen_to
                    && let Some(part) = secrets.seen_near(self.text, at, least)
                {
                    seen_to = part.end;
                    see(part);
                }
            }
        }
        let mut look = |part: Range<usize>| {
            words_at(secrets, &self.text[part.clone()], GRID, least, &mut |seen| {
                see(part.start + seen.start..part.start + seen.end);
            });
        };
        // Most often, one of eight random bytes is above 0x7f.
        let high = self.bits(Class::High);
        let mut part = 0..0;
        for block in (0..high.blocks()).filter(|block| high.block(*block) != 0) {
            let start = (block * BLOCK).saturating_sub(SEEN);
            if start > part.end {
                look(std::mem::replace(&mut part, start..start));
            }
            part.end = self.text.len().min((block + 1) * BLOCK + SEEN);
        }
        look(part);
    }

    /// Runs of base64.
    fn base64(&self, see: &mut dyn FnMut(Range<usize>)) {
        let shortest = if self.look.is_close {
            LEAST
        } else {
            self.look.secrets.shortest()
        };
        for run in self.bits(Class::Base64).runs(RUN.min(2 * shortest - 2)) {
            if self.is_known(&run) {
                continue;
            }
            let is_name = (RUN..LONG_RUN).contains(&run.len());
            let capitals = if is_name { 2 * LETTERS } else { LETTERS };
            // A constant has no small letter, and a short run has few.
            if self.bits(Class::Capital).count(run.clone()) >= capitals
                && self.bits(Class::Small).count(run.clone()) > 0
            {
                base64(self.look, &self.text[run.clone()], self.depth, &mut |part| {
                    see(run.start + part.start..run.start + part.end);
                });
            }
        }
    }

    /// Runs of numbers, and lists of numbers with other text between them.
    fn numbers(&self, see: &mut dyn FnMut(Range<usize>)) {
        let (mut numbers, mut read) = (Numbers::default(), Vec::new());
        let mut decode = |run: Option<Range<usize>>| {
            let run = run.map(|run| {
                if !self.is_short {
                    return run;
                }
                // The end of a word, such as `hunter2`, is no number.
                let word = self.text[..run.start].iter().rev().take(FRAME);
                let word = word.take_while(|byte| byte.is_ascii_alphanumeric()).count();
                // A fold can put the last numbers of a short secret into a line of their own.
                let ends_line = self.text[self.around(FRAME, run.end, FRAME)].contains(&b'\n');
                self.around(word, run.start, run.len() + if ends_line { COLUMN } else { 0 })
            });
            self.decode(run.into_iter(), &mut numbers, see);
        };
        let mut dump: Option<Range<usize>> = None;
        let least = if self.is_short { COUNTED } else { 2 * COUNTED - 1 };
        for run in self.bits(Class::Number).runs(least) {
            match self.kind(&run) {
                Run::Words => {}
                Run::Hash(hash) => {
                    if may_have_words(self.look.secrets, &self.text[hash]) {
                        decode(Some(run));
                    }
                }
                Run::Few(few) => {
                    if few.may_have_words(self.look.secrets, &self.text[run.clone()]) {
                        decode(Some(run));
                    }
                }
                Run::Other if !self.is_numbers(&run) => {}
                Run::Other => {
                    read.push(run.clone());
                    // The lines of a dump have a text column between them.
                    match dump.as_mut().filter(|dump| dump.end + COLUMN >= run.start) {
                        Some(dump) => dump.end = run.end,
                        None => decode(dump.replace(run)),
                    }
                }
            }
        }
        decode(dump);
        if !self.is_done() {
            self.lists(&read, see);
        }
    }

    /// Reads the numbers of some stretches.
    fn decode(
        &self,
        stretches: impl Iterator<Item = Range<usize>>,
        read: &mut Numbers,
        see: &mut dyn FnMut(Range<usize>),
    ) {
        let secrets = self.look.secrets;
        for part in stretches.flat_map(parts) {
            if self.is_done() {
                return;
            }
            // The next byte tells an address from another number.
            let known = &self.text[part.start..self.text.len().min(part.end + 1)];
            let mut see = |_| see(part.clone());
            let mut numbers = |text: &[u8], begins_line| {
                read.read(text, begins_line);
                numbers(self.look, read, self.depth, &mut see);
                let columns = std::mem::take(&mut read.tokens.columns);
                (read.tokens.has_address_first, columns)
            };
            let (has_address, columns) = numbers(known, true);
            if self.is_short {
                // A short secret has no number to lose. Another number may be before this one in its line.
                if has_address {
                    numbers(known, false);
                }
            }
            // What looks like the text columns of a dump can be numbers. A short secret can be in two of
            // them.
            let hex = self.bits(Class::Hex);
            let is_list = |column: &Range<usize>| {
                self.is_short || hex.count(part.start + column.start..part.start + column.end) >= DIGITS
            };
            let columns = columns.into_iter().filter(is_list);
            let columns = columns.flat_map(|column| &known[without_frame(known, column)]);
            let columns: Vec<_> = columns.copied().collect();
            if !columns.is_empty() {
                numbers(&columns, true);
            }
            // The forms of a short secret are secrets, also its hexadecimal digits.
            if secrets.least() < LONG {
                // They are at least 16 characters, so a coarse grid is enough.
                words_at(secrets, &only(known, is_token_byte), GRID, LEAST, &mut see);
            }
        }
    }

    /// Whether a run has many digits in one line or in all its whole lines together, or the address of a dump
    /// in a line. The first and the last line may be parts of longer lines. Their digits add to the total
    /// only for short encodings, because a log may have the time and a hash there.
    fn is_numbers(&self, run: &Range<usize>) -> bool {
        let hex = self.bits(Class::Hex);
        let (mut together, mut start) = (0, run.start);
        let breaks = memchr::memchr_iter(b'\n', &self.text[run.clone()]).map(|at| run.start + at);
        breaks.chain([run.end]).any(|end| {
            let line = start..end;
            start = end + 1;
            let found = hex.count(line.clone());
            let is_whole = (line.start > run.start || run.start == 0)
                && (line.end < run.end || run.end == self.text.len());
            let adds_up = self.is_short || is_whole;
            together += if adds_up { found } else { 0 };
            found >= DIGITS || together >= DIGITS || found > ADDRESS && has_address(&self.text[line])
        })
    }

    /// The kind of a run of numbers, at first sight.
    fn kind(&self, run: &Range<usize>) -> Run {
        // A longer run may be a list.
        if self.is_short || run.len() > 2 * MANY_DIGITS {
            return Run::Other;
        }
        let of_run = |class| self.bits(class).from(run.start) & ones(run.len());
        let digits = of_run(Class::Hex);
        if digits.count_ones() as usize <= ADDRESS {
            return Run::Words;
        }
        let long = in_a_row(digits, DIGITS);
        let start = long.trailing_zeros() as usize;
        let length = digits.checked_shr(start as u32).unwrap_or(0).trailing_ones() as usize;
        let hash = start..start + length;
        let has_few_others = (digits.count_ones() as usize) < length + DIGITS;
        // A number without letters may also be decimal.
        let letters = digits & !of_run(Class::Digit) & ones(hash.end) & !ones(hash.start);
        if letters != 0 && length < MANY_DIGITS && has_few_others {
            return Run::Hash(run.start + hash.start..run.start + hash.end);
        }
        let few = Few::of(&self.text[run.clone()], digits, of_run(Class::Digit));
        few.map_or(Run::Other, Run::Few)
    }

    /// Lists of numbers with other text between them, and tables of numbers. `read` are the stretches whose
    /// numbers are already read.
    fn lists(&self, read: &[Range<usize>], see: &mut dyn FnMut(Range<usize>)) {
        let (digits, breaks) = (self.bits(Class::Digit), self.bits(Class::LineBreak));
        let step = if self.is_short { COUNTED } else { SAMPLE };
        let (mut numbers, mut read) = (Numbers::default(), read.iter().peekable());
        let (mut listed_to, mut table_to) = (0, 0);
        let samples = digits.samples(step);
        // Dense text has no notes beside its numbers.
        if !self.look.is_brief {
            self.records(&samples, step, see);
            self.rows(see);
            self.fields(see);
        }
        let often = often(&samples);
        let mut next = 0;
        while let Some(sample) = Bits(&often).first_from(next) {
            let at = sample * step;
            while let Some(run) = read.next_if(|run| run.start <= at) {
                listed_to = listed_to.max(run.end);
            }
            if at >= listed_to {
                let part = self.around(2 * AROUND, at, 2 * AROUND);
                // A log can be full of digits, so this skips some text. A list of a whole long secret is
                // longer than the skipped text.
                listed_to = part.end + if self.is_short { 0 } else { 2 * OVERLAP };
                if self.is_list(part.clone()) {
                    let part = part.start..self.text.len().min(part.start + PART);
                    listed_to = part.end.saturating_sub(AROUND);
                    table(self.look.secrets, &self.text[part.clone()], &mut |_| {
                        see(part.clone())
                    });
                    self.decode([part].into_iter(), &mut numbers, see);
                }
            }
            if at >= table_to {
                let before = at.saturating_sub(TABLE);
                table_to = at + TABLE / 2;
                // Each 64 bytes of the table have a line break, so most counts are not needed.
                let has_rows = [at, at.saturating_sub(BLOCK), at.saturating_sub(2 * BLOCK)]
                    .into_iter()
                    .all(|at| breaks.before(at) != 0);
                if has_rows && breaks.count(before..at) >= ROWS_BEFORE {
                    let part = before..self.text.len().min(at + PART);
                    table_to = part.end - AROUND;
                    table(self.look.secrets, &self.text[part.clone()], &mut |_| {
                        see(part.clone())
                    });
                }
            }
            next = (sample + 1).max(listed_to.min(table_to).div_ceil(step));
        }
    }

    /// Whether the texts between numbers are often equal, as in `byte(101), byte(121)`. It is enough if every
    /// second text is equal, as in `0 => 101, 1 => 121`.
    fn is_list(&self, part: Range<usize>) -> bool {
        let (digits, hex) = (self.bits(Class::Digit), self.bits(Class::Hex));
        let mut gaps: [&[u8]; 2] = [&[], &[]];
        let (mut equal, mut seen) = ([0; 2], 0);
        let mut number = digits.first_from(part.start);
        // In a list, most of the texts are equal. In other text, this loop stops after a few of them.
        while let Some(at) = number.filter(|at| *at < part.end && seen <= 2 * equal[0].max(equal[1]) + EQUAL)
        {
            let is_hex = matches!(self.text[at..], [b'0', b'x' | b'X', ..]);
            let end = if is_hex { hex.end(at + 2) } else { digits.end(at) };
            number = digits.first_from(end);
            let gap = &self.text[end.min(part.end)..number.unwrap_or(part.end).min(part.end)];
            // The number may also end or begin with letters: `&H5F, &HF5`.
            let is_other = |byte: &u8| !byte.is_ascii_hexdigit();
            let Some(first) = gap.iter().position(is_other) else {
                continue;
            };
            let last = gap.iter().rposition(is_other).map_or(first, |last| last + 1);
            let gap = &gap[first..last];
            for (equal, other) in equal.iter_mut().zip(gaps) {
                *equal += usize::from(gap.len() > 1 && gap.len() == other.len() && gap == other);
            }
            gaps = [gap, gaps[0]];
            seen += 1;
        }
        // A fold can divide the numbers of a short secret.
        let least = if self.is_short { EQUAL - 1 } else { EQUAL };
        equal.iter().any(|equal| *equal >= least)
    }

    /// Words that separators divide.
    fn joined(&self, see: &mut dyn FnMut(Range<usize>)) {
        let secrets = self.look.secrets;
        if self.look.is_close {
            let joined = only(self.text, is_token_byte);
            return words(secrets, &joined, LEAST, &mut |_| see(0..self.text.len()));
        }
        let mut joined = Vec::new();
        let (tokens, capitals) = (self.bits(Class::Token), self.bits(Class::Capital));
        let (mut is_token, mut carry, mut before, mut next) = (1, 0, 0, 0);
        let mut read = |part: Range<usize>, joined: &mut Vec<u8>| {
            if self.is_known(&part) {
                return;
            }
            put_only(&self.text[part.clone()], is_token_byte, joined);
            words(secrets, joined, self.look.least, &mut |_| see(part.clone()));
        };
        for block in 0..tokens.blocks() {
            let (token, capital) = (tokens.block(block), capitals.block(block));
            let behind = behind(capital, std::mem::replace(&mut before, capital));
            // The first byte of each gap that has a capital before it.
            let gaps =
                !token & (token << 1 | std::mem::replace(&mut is_token, token >> (BLOCK - 1))) & behind;
            // The sum carries each of these bits over its gap, to the byte after it.
            let sum = u128::from(!token) + u128::from(gaps) + std::mem::replace(&mut carry, 0);
            carry = sum >> BLOCK;
            let starts = sum as u64 & token & ahead(capital, capitals.block(block + 1));
            let first = block * BLOCK;
            if first >= next && is_parted(token, secrets.are_mixed()) {
                next = first + OVERLAP;
                read(self.around(BLOCK, first, OVERLAP + BLOCK), &mut joined);
            }
            for at in positions(starts).map(|at| first + at) {
                if at >= next && self.divided(at).is_some_and(|word| secrets.gate().has(word)) {
                    next = at + AROUND;
                    read(self.around(AROUND, at, 2 * AROUND), &mut joined);
                }
            }
        }
    }

    /// Short pieces behind the same label. There are many pieces, so every second block of words is enough.
    fn labelled(&self, see: &mut dyn FnMut(Range<usize>)) {
        let mut next = 0;
        for block in (0..self.bits(Class::Token).blocks()).step_by(2) {
            for at in self.capitalised(block) {
                if at >= next && self.may_be_piece(at) && (self.is_short || self.has_other_piece(at)) {
                    next = at + PART - AROUND;
                    let part = self.around(AROUND, at, PART);
                    if self.is_known(&part) {
                        continue;
                    }
                    labels(self.look, &self.text[part.clone()], self.depth, &mut |_| {
                        see(part.clone())
                    });
                }
            }
        }
    }

    /// The words of a block that have a capital among their first characters, but not a word at its
    /// beginning.
    fn capitalised(&self, block: usize) -> impl Iterator<Item = usize> {
        let (tokens, capitals) = (self.bits(Class::Token), self.bits(Class::Capital));
        let token = tokens.block(block);
        let words = token & !(token << 1) & !1 & ahead(capitals.block(block), capitals.block(block + 1));
        positions(words).map(move |at| block * BLOCK + at)
    }

    /// Whether another word soon after a position may also begin a piece of a secret. A word of other text
    /// can do so by chance, and the text can have this word often.
    fn has_other_piece(&self, at: usize) -> bool {
        let first = &self.text[at..][..SHORTEST_PIECE];
        let blocks = at / BLOCK..self.bits(Class::Token).blocks().min((at + 2 * OVERLAP) / BLOCK);
        let mut others = blocks.flat_map(|block| self.capitalised(block));
        others.any(|other| other > at && !self.text[other..].starts_with(first) && self.may_be_piece(other))
    }

    /// Whether the word at a position may begin a piece of a secret.
    fn may_be_piece(&self, at: usize) -> bool {
        let length = self.bits(Class::Token).from(at).trailing_ones().min(4) as usize;
        let capitals = (self.bits(Class::Capital).from(at) & ones(length)).count_ones();
        // Many logs have a word of three letters that a secret also has.
        (length > 3 || (1..3).contains(&capitals)) && self.look.secrets.may_begin(&self.text[at..at + length])
    }

    /// The word that the separators before a position divide into two halves.
    fn divided(&self, at: usize) -> Option<u64> {
        let tokens = self.bits(Class::Token);
        let before = tokens.before(at);
        let gap = before.leading_zeros();
        let is_whole = gap < BLOCK as u32 && before << gap >> (BLOCK - HALF) == ones(HALF);
        let mut bytes = [0; LEAST];
        let (first, second) = bytes.split_at_mut(HALF);
        if is_whole && tokens.from(at) & ones(HALF) == ones(HALF) {
            let end = at - gap as usize;
            first.copy_from_slice(&self.text[end - HALF..end]);
            second.copy_from_slice(&self.text[at..at + HALF]);
            return word(&bytes);
        }
        let mut end = at;
        for byte in first.iter_mut().rev() {
            end = tokens.last_before(end)?;
            *byte = self.text[end];
        }
        let mut rest = tokens.positions_from(at);
        for byte in second {
            *byte = self.text[rest.next()?];
        }
        word(&bytes)
    }

    /// Characters that stand alone.
    fn alone(&self, see: &mut dyn FnMut(Range<usize>)) {
        const BLOCKS: usize = OVERLAP / BLOCK;
        let parts = self.bits(Class::Part);
        let letters = [Class::Capital, Class::Small, Class::Digit].map(|class| self.bits(class));
        let (mut before, mut dash_before) = (0, 0);
        let alone = (0..parts.blocks()).map(|block| {
            let here = parts.block(block);
            let after = parts.block(block + 1) << (BLOCK - 1);
            let before = std::mem::replace(&mut before, here >> (BLOCK - 1));
            let starts = here & !(here << 1 | before);
            let dashes = starts & !letters.iter().fold(0, |bits, class| bits | class.block(block));
            let behind = dashes << 1 | std::mem::replace(&mut dash_before, dashes >> (BLOCK - 1));
            (starts | here & behind) & !(here >> 1 | after)
        });
        let alone: Vec<_> = alone.collect();
        let (mut next, mut rows_to) = (0, 0);
        let mut characters = Vec::new();
        for end in (1..=alone.len()).filter(|end| alone[end - 1] != 0) {
            let near = end.saturating_sub(BLOCKS)..end;
            let count: u32 = alone[near.clone()].iter().map(|bits| bits.count_ones()).sum();
            // The characters at both ends of the blocks may be parts of words outside of them.
            if end < next.min(alone.len()) || count + 2 < LEAST as u32 {
                continue;
            }
            next = end + BLOCKS;
            let blocks = near.start.saturating_sub(1)..alone.len().min(end + BLOCKS);
            let part = blocks.start * BLOCK..self.text.len().min(blocks.end * BLOCK);
            characters.clear();
            let positions_from = |at: usize| Bits(&alone[..blocks.end]).positions_from(at);
            characters.extend(positions_from(part.start).map(|at| self.text[at]));
            let letters = || positions_from(part.start.saturating_sub(OLDER)).map(|at| self.text[at]);
            if has_characters(&characters)
                && (self.is_short || characters.len() >= MANY || has_many_letters(letters()))
                && !is_binary(&self.text[part.clone()])
            {
                literal(self.look, &self.text[part.clone()], self.depth, &mut |_| {
                    see(part.clone())
                });
                if part.end > rows_to {
                    rows_to = part.start + PART - AROUND;
                    let part = part.start..self.text.len().min(part.start + PART);
                    table(self.look.secrets, &self.text[part.clone()], &mut |_| {
                        see(part.clone())
                    });
                    labels(self.look, &self.text[part.clone()], self.depth, &mut |_| {
                        see(part.clone())
                    });
                }
            }
            for (first, step) in ROWS {
                let row: Vec<_> = characters.iter().copied().skip(first).step_by(step).collect();
                words(self.look.secrets, &row, LEAST, &mut |_| see(part.clone()));
            }
        }
    }

    /// Bytes that a program printed as if they were characters.
    fn latin(&self, see: &mut dyn FnMut(Range<usize>)) {
        let leads = self.bits(Class::Latin);
        let mut next = 0;
        while let Some(at) = leads.first_from(next) {
            next = at + 1;
            if (leads.from(at) & ones(COUNTED)).count_ones() < 2 {
                continue;
            }
            let part = self.around(AROUND, at, OVERLAP);
            if self.is_known(&part) {
                continue;
            }
            next = at + OVERLAP - AROUND;
            self.strings_of(&part, see);
            let bytes = latin(&Text::plain(&self.text[part.clone()]));
            for bytes in [latin(&bytes).bytes, bytes.bytes] {
                words(self.look.secrets, &bytes, SEEN_IN_NUMBERS, &mut |_| {
                    see(part.clone())
                });
            }
        }
    }

    /// Whether a text has some escapes. Source code has the same characters as operators.
    fn has_escapes(&self, part: Range<usize>) -> bool {
        let escapes = self.bits(Class::Escape).positions_from(part.start);
        let escapes = escapes.take_while(|at| *at < part.end);
        let is_escape = |at: &usize| {
            let rest = &self.text[*at..];
            escape(rest).0 > 1 || caret(rest).0 > 1
        };
        escapes.filter(is_escape).take(DENSE).count() == DENSE
    }

    /// Dense escapes.
    fn escapes(&self, see: &mut dyn FnMut(Range<usize>)) {
        let (step, dense) = if self.is_short {
            (COUNTED, 1)
        } else {
            (SAMPLE, DENSE)
        };
        let escapes = self.bits(Class::Escape).samples(step);
        let escapes = Bits(&escapes);
        // Most logs have few escapes.
        let digits = LazyCell::new(|| often(&self.bits(Class::Digit).samples(step)));
        let mut next = 0;
        while let Some(sample) = escapes.first_from(next) {
            next = sample + 1;
            let recent = escapes.before(sample + 1) >> (BLOCK - 8);
            let is_dense = recent >> (8 - dense) == ones(dense);
            let is_folded = recent.count_ones() >= FOLDED && Bits(&digits).from(sample) & 1 == 1;
            if !is_dense && !is_folded {
                continue;
            }
            let at = sample * step;
            let before = if is_folded { 8 } else { DENSE } * step;
            if !self.is_short && !self.has_escapes(self.around(before, at, step)) {
                continue;
            }
            next = (at + OVERLAP).div_ceil(step);
            let mut part = self.around(before + AROUND, at, OVERLAP + AROUND);
            // A part needs the whole of a short secret, and numbers take many bytes for each byte of it.
            let is_of_digits =
                |part: Range<usize>| 4 * self.bits(Class::Digit).count(part.clone()) > part.len();
            let end = self.around(BLOCK, part.end, BLOCK);
            if self.is_short && (is_of_digits(part.clone()) || is_of_digits(end)) {
                part.end = self.text.len().min(at + PART + 2 * OVERLAP);
                next = (at + PART).div_ceil(step);
            }
            // The digits before the first escape can belong to the same list.
            if self.is_short && is_of_digits(self.around(AROUND, at, 0)) {
                part.start = at.saturating_sub(2 * OVERLAP);
            }
            // Escapes have digits, or they stand for bytes between the letters of a secret.
            let count = |class| self.bits(class).count(part.clone());
            let has_letters = || count(Class::Capital) >= LETTERS && count(Class::Small) >= LETTERS;
            let is_other = self.look.secrets.are_mixed() && count(Class::Digit) < SEEN && !has_letters();
            if !self.is_short && is_other || self.is_known(&part) {
                continue;
            }
            let text = &self.text[part.clone()];
            unescape(self.look, text, self.depth, &mut |_| see(part.clone()));
            if has_carets(text) {
                let bytes = unescaped_bytes(text, caret);
                words(self.look.secrets, &bytes, SEEN_IN_NUMBERS, &mut |_| {
                    see(part.clone())
                });
                let joined = only(&bytes, is_token_byte);
                words(self.look.secrets, &joined, self.look.least, &mut |_| {
                    see(part.clone())
                });
            }
        }
    }
}

/// The kind of a run of numbers, at first sight.
enum Run {
    /// Text with few digits.
    Words,
    /// The hash of a commit or an image: a number with few other digits around it.
    Hash(Range<usize>),
    Few(Few),
    Other,
}

/// The positions of the bits that are 1 in a block or in the next one, and the three positions before each.
fn ahead(bits: u64, next: u64) -> u64 {
    let bits = u128::from(bits) | u128::from(next) << BLOCK;
    let bits = bits | bits >> 1;
    (bits | bits >> 2) as u64
}

/// The positions that are 1 to 8 bytes after a bit that is 1 in a block or in the block before it.
fn behind(bits: u64, before: u64) -> u64 {
    let mut near = bits << 1 | bits << 2;
    near |= near << 2;
    near |= near << 4;
    let rest = (before >> (BLOCK - 8)).checked_ilog2();
    near | rest.map_or(0, |last| ones(last as usize + 1))
}

/// Whether characters have many different capitals and small letters, like those of a token. The names and
/// words of one letter in other text do not.
fn has_many_letters(characters: impl Iterator<Item = u8>) -> bool {
    let (mut capitals, mut smalls) = (0_u32, 0_u32);
    for byte in characters {
        let letter = 1 << (byte & 31);
        capitals |= if byte.is_ascii_uppercase() { letter } else { 0 };
        smalls |= if byte.is_ascii_lowercase() { letter } else { 0 };
    }
    capitals.count_ones() >= DIFFERENT && smalls.count_ones() >= DIFFERENT
}

/// Whether a text has so many control characters that it is no output for people. Random bytes have one in
/// nine.
pub(crate) fn is_binary(text: &[u8]) -> bool {
    let is_text =
        |byte: u8| (byte == 0) | (byte == b'\t') | (byte == b'\n') | (byte == b'\r') | (byte == ESCAPE);
    let is_control = |byte: u8| (byte < b' ') & !is_text(byte) | (byte == 0x7f);
    16 * count(text, is_control) > text.len()
}

/// The number of bytes of a text for which `belongs` returns `true`. It needs no branch, so that the compiler
/// can use vectors.
pub(crate) fn count(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    let counts = text
        .chunks(BLOCK)
        .map(|block| block.iter().map(|byte| u8::from(belongs(*byte))).sum::<u8>());
    counts.map(usize::from).sum()
}

/// Whether one of the halves of a block has many separators. `tokens` has the bits of all other bytes. In
/// secrets that are `mixed`, the capitals lead to words that are longer than a few bytes.
fn is_parted(tokens: u64, mixed: bool) -> bool {
    [tokens, tokens >> 32].into_iter().any(|half| {
        let half = half as u32;
        let words = (half & !(half << 1)).count_ones();
        half.count_zeros() >= SEPARATORS && (!mixed || words >= WORDS)
    })
}

/// Looks up words of a text, often enough to find each stretch of `least` known bytes.
fn words(secrets: &Secrets, text: &[u8], least: usize, see: &mut dyn FnMut(Range<usize>)) {
    let stride = least.min(secrets.shortest()) + 1 - SHORT_WORD;
    words_at(secrets, text, stride, least, see);
}

/// Looks up the words of a text that are `stride` bytes apart.
fn words_at(secrets: &Secrets, text: &[u8], stride: usize, least: usize, see: &mut dyn FnMut(Range<usize>)) {
    let mut at = 0;
    while at + SHORT_WORD <= text.len() {
        match secrets.seen_near(text, at, least) {
            Some(part) => {
                at = part.end.max(at + 1);
                see(part);
            }
            None => at += stride,
        }
    }
}

/// The bytes of a text for which `belongs` returns `true`.
fn only(text: &[u8], belongs: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_only(text, belongs, &mut bytes);
    bytes
}

/// Replaces `bytes` by the bytes of a text for which `belongs` returns `true`.
fn put_only(text: &[u8], belongs: impl Fn(u8) -> bool, bytes: &mut Vec<u8>) {
    bytes.resize(text.len(), 0);
    let mut found = 0;
    // This has no branch for each byte, because a processor could not predict it.
    for &byte in text {
        bytes[found] = byte;
        found += usize::from(belongs(byte));
    }
    bytes.truncate(found);
}

/// The parts of a run, which overlap.
fn parts(run: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let last = run.len().saturating_sub(OVERLAP + 1) / (PART - OVERLAP);
    (0..=last).map(move |part| {
        let start = run.start + part * (PART - OVERLAP);
        start..run.end.min(start + PART)
    })
}

/// The set samples for which at least six of the last eight samples are set, with the sample itself.
fn often(samples: &[u64]) -> Vec<u64> {
    let mut before = 0;
    let often = samples.iter().map(|&bits| {
        let all = u128::from(bits) << BLOCK | u128::from(std::mem::replace(&mut before, bits));
        // Most text has few digits.
        if (all >> (BLOCK - 7)).count_ones() < 6 {
            return 0;
        }
        // The samples that have at least one, two and three gaps.
        let (mut one, mut two, mut three) = (0, 0, 0);
        for back in 0..8 {
            let gap = !((all << back >> BLOCK) as u64);
            three |= two & gap;
            two |= one & gap;
            one |= gap;
        }
        bits & !three
    });
    often.collect()
}

/// Whether a line has the address of a dump and a digit after it.
fn has_address(line: &[u8]) -> bool {
    memchr::memchr_iter(b' ', line).any(|blank| {
        let Some((address, b':' | b' ')) = line[..blank].split_last().map(|(last, before)| (before, last))
        else {
            return false;
        };
        let digits = address.last_chunk::<ADDRESS>();
        matches!(line.get(blank + 1), Some(b'0'..=b'9' | b'a'..=b'f'))
            && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}
