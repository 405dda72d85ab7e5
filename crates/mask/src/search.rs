//! The search for pieces of secrets in all texts that the views return.
//!
//! A *view* undoes one change that programs make to a text, such as base64. The *window* is the part of the
//! log that the masker has in memory.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::{
    LEAST, PIECE,
    grams::word,
    scan::{Look, scan},
    secrets::{LONG, Place, Secrets},
    stream::merged,
    text::Text,
    views::{
        View, base64, bits, cells, chains, characters, diff, has_carets, has_escapes, hidden, is_text,
        is_token_byte, joined, latin, literals, narrow, numbers, padded, strings, table, uncareted,
        undecimal, unescaped, unprinted, uses,
    },
};

/// The greatest number of views that the search applies one after the other. Only the views whose texts the
/// search reads with all views again count: base64, numbers, literals, cells, escapes,
/// printed control sequences, diffs and padded pieces.
pub(crate) const DEPTH: usize = 3;

/// The least number of characters of a piece before the first separator in it. Fewer can be there by chance.
const HEAD: usize = 4;

/// The number of bytes that base64 can lose at both ends together, because four characters of base64 stand
/// for three bytes.
pub(crate) const LOSS: usize = 2;

/// The least length of a run of text in the bytes that a view returns. Other views read a shorter run only if
/// more bytes can follow it.
const RUN: usize = 8;

/// The greatest number of bytes of a JWT before and after a part of it.
const LONGEST_JWT: usize = 2 << 10;

/// The length of the shortest signature of a JWT: HMAC with SHA-256 (RFC 7518, section 3.2).
const SHORTEST_SIGNATURE: usize = 43;

/// The least number of pieces between the tags of records.
const FEW: usize = 4;

/// The number of bytes at the end of decoded base64 in which the search looks for the beginning of a piece.
const TAIL: usize = 96;

/// A stretch of the log that stands for a part of a secret. Positions count from the beginning of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) secret: u32,
    /// The part of the secret.
    pub(crate) part: Range<u32>,
    /// The number of bytes that the view may have lost at both ends together.
    pub(crate) loss: usize,
    /// The stretches that the masker replaces: all of the piece but the ends of lines.
    pub(crate) stretches: Vec<Range<u32>>,
}

impl Piece {
    /// A whole secret that the log shows as it is.
    pub(crate) fn whole(secret: u32, span: Range<usize>) -> Self {
        let part = 0..span.len() as u32;
        let span = span.start as u32..span.end as u32;
        Self {
            from: span.start,
            to: span.end,
            secret,
            part,
            loss: 0,
            stretches: vec![span],
        }
    }
}

/// A part of a secret in a text.
struct Part {
    /// Whether the part is not of another JWT.
    is_own: bool,
    /// The place in the secret at which the part begins.
    place: Place,
    at: Range<usize>,
}

/// The parts of secrets in a text that are of another JWT. A search meets each of them at each of its words.
#[derive(Default)]
struct Others(FxHashMap<(u32, i64), Range<usize>>);

impl Others {
    /// The secret of a word, and the distance between the beginnings of the text and of the secret. `place` is the
    /// place of the word in the secret.
    fn key(place: Place, word_at: usize) -> (u32, i64) {
        (place.secret, word_at as i64 - i64::from(place.at))
    }

    fn get(&self, place: Place, word_at: usize) -> Option<&Range<usize>> {
        let part = self.0.get(&Self::key(place, word_at));
        part.filter(|part| part.contains(&word_at))
    }

    fn add(&mut self, place: Place, word_at: usize, part: &Range<usize>) {
        self.0.insert(Self::key(place, word_at), part.clone());
    }
}

/// A search in one window of the log.
pub(crate) struct Search<'a> {
    secrets: &'a Secrets,
    window: &'a [u8],
    pub(crate) pieces: Vec<Piece>,
    /// The first position that may be the beginning of a piece that continues after the window.
    pub(crate) open: u32,
    /// Like `open`, for beginnings of pieces that are too long to be there by chance.
    pub(crate) firm: u32,
}

impl<'a> Search<'a> {
    pub(crate) fn new(secrets: &'a Secrets, window: &'a [u8]) -> Self {
        Self {
            secrets,
            window,
            pieces: Vec::new(),
            open: window.len() as u32,
            firm: window.len() as u32,
        }
    }

    /// Sorts the pieces, and keeps only one of several equal ones.
    pub(crate) fn sort(&mut self) {
        self.pieces
            .sort_by_key(|piece| (piece.from, u32::MAX - piece.to, piece.secret, piece.part.start));
        self.pieces.dedup();
    }

    /// Searches a text, and the texts that up to `depth` views read in it.
    pub(crate) fn text(&mut self, text: &Text, depth: usize) {
        self.find(text, false);
        let together = joined(text);
        if uses(View::Joined) {
            self.find(&together, true);
        }
        if depth > 0 && uses(View::Base64) {
            self.base64(&together, depth - 1);
        }
        // A long text takes much memory.
        drop(together);
        if uses(View::Characters) {
            characters(text, &mut |alone| self.find(&alone, true));
        }
        if uses(View::Latin) && memchr::memchr2(0xc2, 0xc3, &text.bytes).is_some() {
            let bytes = latin(text);
            self.find(&bytes, false);
            // A program may take the bytes of UTF-8 for characters again.
            self.find(&latin(&bytes), false);
        }
        if uses(View::Carets) && has_carets(&text.bytes) {
            let plain = uncareted(text);
            self.find(&plain, false);
            // `cat -A` prints `^I` for a tab.
            if uses(View::Joined) {
                self.find(&joined(&plain), true);
            }
        }
        if let Some(plain) = unprinted(text) {
            self.find(&plain, false);
            if uses(View::Joined) {
                self.find(&joined(&plain), true);
            }
            if depth > 0 {
                self.changed(&plain, text, depth - 1);
            }
        }
        if uses(View::DecimalEscapes) && text.bytes.contains(&b'\\') {
            self.find(&undecimal(text), false);
        }
        self.scattered(text);
        if depth == 0 {
            return;
        }
        if uses(View::Escapes) && has_escapes(&text.bytes) {
            self.changed(&unescaped(text), text, depth - 1);
        }
        numbers(text, &mut |bytes| self.bytes(&bytes, depth - 1));
        literals(text, &mut |bytes| self.bytes(&bytes, depth - 1));
        strings(text, &mut |bytes| self.find(&bytes, false));
        padded(text, &mut |bytes| self.bytes(&bytes, depth - 1));
        table(text, &mut |column| self.find(&column, false));
        bits(text, &mut |bytes| self.find(&bytes, false));
        let secrets = self.secrets;
        cells(text, |word| secrets.may_begin(word), &mut |pieces| {
            self.text(&pieces, depth - 1);
        });
        diff(text, &mut |side| self.text(&side, depth - 1));
    }

    /// Searches a text that a view made from another one, but only near the bytes that the view changed. The
    /// search has read the rest in the other text.
    fn changed(&mut self, text: &Text, before: &Text, depth: usize) {
        let parts = text.changed(before);
        // A copy of a long text takes much memory.
        if 2 * parts.iter().map(Range::len).sum::<usize>() > text.len() {
            return self.text(text, depth);
        }
        for part in parts {
            self.text(&text.part(part), depth);
        }
    }

    /// Finds the pieces of a signature that have other text between them. All pieces of a chain count as one. They
    /// hold nothing back, because the text after them seldom continues them.
    fn scattered(&mut self, text: &Text) {
        if !uses(View::Scattered) {
            return;
        }
        for chain in chains(self.secrets, &text.bytes[..text.sure()]) {
            let mut stretches: Vec<Range<u32>> = Vec::new();
            for at in chain.pieces.into_iter().flatten() {
                let (from, to) = (text.from(at), text.to(at));
                match stretches.last_mut().filter(|last| last.end == from) {
                    Some(last) => last.end = to,
                    None => stretches.push(from..to),
                }
            }
            let (Some(first), Some(last)) = (stretches.first(), stretches.last()) else {
                continue;
            };
            self.push(Piece {
                from: first.start,
                to: last.end,
                secret: chain.secret,
                part: chain.part.start as u32..chain.part.end as u32,
                loss: 0,
                stretches,
            });
        }
    }

    /// Searches base64, and the texts in it that up to `depth` views read.
    fn base64(&mut self, joined: &Text, depth: usize) {
        let mut bytes = Vec::new();
        let mut from = 0;
        for run in joined.bytes.split(|byte| *byte == b'\n') {
            let (start, end) = (from, from + run.len());
            from = end + 1;
            if run.len() < LEAST && !(end == joined.len() && joined.goes_on) {
                continue;
            }
            let part;
            let part = if start == 0 && end == joined.len() {
                joined
            } else {
                part = joined.part(start..end);
                &part
            };
            let digits = base64(part);
            for alignment in 0..4.min(digits.len()) {
                digits.bytes(alignment, &mut bytes);
                let parts = self.parts(&bytes);
                let is_to_end = parts.last().is_some_and(|last| last.end == bytes.len());
                for part in parts {
                    self.find(&digits.text(alignment, &bytes, part), false);
                }
                if part.goes_on && !is_to_end {
                    let tail = bytes.len().saturating_sub(TAIL)..bytes.len();
                    self.end(&digits.text(alignment, &bytes, tail), false);
                }
                for run in self.runs(&bytes, part.goes_on, depth) {
                    let text = digits.text(alignment, &bytes, run);
                    self.wide(&text);
                    self.inner(&text, depth);
                }
            }
        }
    }

    /// Searches the bytes that a view has read.
    fn bytes(&mut self, text: &Text, depth: usize) {
        self.find(text, false);
        self.wide(text);
        self.between_tags(text);
        let sure;
        let text = if text.goes_on && text.unsure.is_some() {
            sure = text.part_that_is_sure();
            &sure
        } else {
            text
        };
        for run in self.runs(&text.bytes, text.goes_on, depth) {
            self.inner(&text.part(run), depth);
        }
    }

    /// Searches the pieces between bytes that are no text, such as the tags and lengths of records. Other views
    /// read each piece alone.
    fn between_tags(&mut self, text: &Text) {
        let secrets = self.secrets;
        let pieces = text.bytes.split(|byte| !is_token_byte(*byte));
        let pieces = pieces.filter(|piece| secrets.may_begin(piece));
        if pieces.take(FEW).count() < FEW || text.bytes.iter().all(|byte| is_text(*byte)) {
            return;
        }
        if uses(View::Joined) {
            self.find(&joined(text), true);
        }
        cells(text, |word| secrets.may_begin(word), &mut |pieces| {
            self.find(&joined(&pieces), true);
        });
    }

    /// Searches the characters of UTF-16, or of larger integers, in bytes that a view has read. In the log,
    /// the view of the terminal leaves out these zeros.
    fn wide(&mut self, text: &Text) {
        if uses(View::Terminal) && text.bytes.contains(&0) {
            self.find(&narrow(text), false);
        }
    }

    /// Searches text in the bytes that a view has read.
    fn inner(&mut self, text: &Text, depth: usize) {
        let depth = if uses(View::Second) { depth } else { 0 };
        self.text(text, depth);
    }

    /// The runs of text in which another view may read a piece. If `goes_on`, more bytes can follow the last
    /// run.
    fn runs<'b>(
        &self,
        bytes: &'b [u8],
        goes_on: bool,
        depth: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<'a, 'b> {
        let secrets = self.secrets;
        runs(bytes, goes_on).filter(move |run| {
            goes_on && run.end == bytes.len() || is_seen(secrets, &bytes[run.clone()], depth)
        })
    }

    /// The stretches of some bytes in which [`Self::find`] finds parts of secrets, with a few bytes around
    /// them.
    fn parts(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut parts: Vec<Range<usize>> = Vec::new();
        let (mut at, mut others) = (0, Others::default());
        while let Some(found) = self.word_from(bytes, at) {
            at = found + 1;
            let around = self.around(bytes, found, false, |_| false, &mut others);
            let longest =
                around
                    .map(|part| (part.is_own, part.at))
                    .reduce(|(one_is_own, one), (is_own, other)| {
                        let part = one.start.min(other.start)..one.end.max(other.end);
                        (one_is_own || is_own, part)
                    });
            if let Some((is_own, part)) = longest {
                // Another secret can be in a part of another JWT.
                if is_own || part.len() <= self.secrets.least() {
                    at = at.max(part.end + 1 - LEAST);
                }
                let near = part.start.saturating_sub(LEAST)..bytes.len().min(part.end + LEAST);
                parts.extend(is_own.then_some(near));
            }
        }
        merged(parts)
    }

    /// The first position, at `from` or later, with a word of a secret.
    fn word_from(&self, bytes: &[u8], from: usize) -> Option<usize> {
        Some(from + self.secrets.grams().find(bytes.get(from..)?)?)
    }

    /// Finds the parts of secrets, of at least [`LEAST`] bytes each, in a text.
    fn find(&mut self, text: &Text, is_joined: bool) {
        if text.len() < LEAST && !text.goes_on {
            return;
        }
        let (mut at, mut others) = (0, Others::default());
        while let Some(found) = self.word_from(&text.bytes, at) {
            at = found + 1;
            // No word of these parts tells more.
            if self.is_of_others(&text.bytes, found, &others) {
                continue;
            }
            let Some(best) = self.best(text, found, is_joined, &mut others) else {
                continue;
            };
            let (is_own, place, part) = (best.is_own, best.place, best.at);
            // A part of one secret can contain another, short secret as a whole.
            let hides = part.len() > self.secrets.least()
                && (!is_own || part.len() < LONG && !self.is_enough(text, place, part.len()));
            if is_own {
                self.add(text, place, part.clone());
            }
            if !hides {
                at = at.max(part.end + 1 - LEAST);
            }
        }
        self.end(text, is_joined);
    }

    /// The part of a secret that contains the word at `word_at`. If there are several, those that are not of
    /// another JWT come first, then those that the masker masks without the parts around them. Among these, the
    /// longest part wins.
    fn best(&self, text: &Text, word_at: usize, is_joined: bool, others: &mut Others) -> Option<Part> {
        let parts = self.around(&text.bytes, word_at, is_joined, |at| text.is_parted(at), others);
        parts.max_by_key(|part| {
            let (from, length) = (part.place.at as usize, part.at.len());
            let own = self.secrets.get(part.place.secret).own(from, from + length);
            let is_enough = self.is_enough(text, part.place, length);
            (part.is_own, is_enough, length, own, u32::MAX - part.place.secret)
        })
    }

    /// The parts of secrets that contain the word at `word_at`.
    fn around(
        &self,
        bytes: &[u8],
        word_at: usize,
        is_joined: bool,
        is_parted: impl Fn(usize) -> bool,
        others: &mut Others,
    ) -> impl Iterator<Item = Part> {
        let places = word(&bytes[word_at..])
            .into_iter()
            .flat_map(|word| self.secrets.places(word));
        places.filter_map(move |place| {
            if let Some(part) = others.get(place, word_at) {
                let first = place.at - (word_at - part.start) as u32;
                return Some(Part {
                    is_own: false,
                    place: Place { at: first, ..place },
                    at: part.clone(),
                });
            }
            let (place_of_part, part) = self.part_at(bytes, place, word_at, is_joined)?;
            let is_own = !self.is_of_another(bytes, place_of_part, &part, &is_parted);
            if !is_own {
                others.add(place, word_at, &part);
            }
            Some(Part {
                is_own,
                place: place_of_part,
                at: part,
            })
        })
    }

    /// Whether all parts of secrets that contain a word are known as parts of other JWTs.
    fn is_of_others(&self, bytes: &[u8], word_at: usize, others: &Others) -> bool {
        let is_known = |word| {
            let mut places = self.secrets.places(word);
            places.all(|place| others.get(place, word_at).is_some())
        };
        !others.0.is_empty() && word(&bytes[word_at..]).is_some_and(is_known)
    }

    /// Whether the masker masks a part without the parts around it.
    fn is_enough(&self, text: &Text, place: Place, length: usize) -> bool {
        let secret = self.secrets.get(place.secret);
        let at = place.at as usize;
        let loss = self.loss(text, place.secret);
        secret.sole(at, at + length) + loss >= secret.need_of_sole()
            || secret.starts.contains(&at) && secret.own(at, at + length) + loss >= secret.need(PIECE)
    }

    /// Whether a part belongs to another JWT, which has the same claims there, but another signature.
    /// `is_parted` tells whether a separator is before a byte.
    fn is_of_another(
        &self,
        bytes: &[u8],
        place: Place,
        part: &Range<usize>,
        is_parted: impl Fn(usize) -> bool,
    ) -> bool {
        let secret = self.secrets.get(place.secret);
        let [_, _, signature] = *secret.starts else {
            return false;
        };
        let at = place.at as usize;
        if secret.sole(at, at + part.len()) > 0 {
            return false;
        }
        let signature = &secret.bytes()[signature..];
        let is_of_jwt =
            |at: &usize| matches!(bytes[*at], b'-' | b'_' | b'.') || bytes[*at].is_ascii_alphanumeric();
        let before = (part.start.saturating_sub(LONGEST_JWT)..part.start).rev();
        let start = part.start
            - before
                .take_while(|at| is_of_jwt(at) && !is_parted(at + 1))
                .count();
        let after = part.end..bytes.len().min(part.end + LONGEST_JWT);
        let end = part.end + after.take_while(|at| is_of_jwt(at) && !is_parted(*at)).count();
        let mut segment = start;
        memchr::memchr_iter(b'.', &bytes[start..end]).any(|dot| {
            let (header, claims) = (std::mem::replace(&mut segment, start + dot + 1), start + dot + 1);
            let Some(length) = memchr::memchr(b'.', &bytes[claims..end]) else {
                return false;
            };
            let others = &bytes[claims + length + 1..end];
            let others = &others[..memchr::memchr(b'.', others).unwrap_or(others.len())];
            let begins = memchr::memmem::find(&bytes[header..start + dot], b"eyJ").map(|at| header + at);
            begins.is_some_and(|begins| begins <= part.start && part.end <= claims + length + 1)
                && others.len() >= SHORTEST_SIGNATURE
                && !signature.starts_with(&others[..PIECE])
        })
    }

    /// The part of a secret around one of its words, and the place of this part in the secret. `None` if
    /// `is_joined`, and the secret is not a token.
    fn part_at(
        &self,
        bytes: &[u8],
        place: Place,
        word_at: usize,
        is_joined: bool,
    ) -> Option<(Place, Range<usize>)> {
        let secret = self.secrets.get(place.secret);
        if is_joined && !secret.is_token() {
            return None;
        }
        let at = place.at as usize;
        let (head, tail) = (&secret.bytes()[..at], &secret.bytes()[at..]);
        let before = head.iter().rev().zip(bytes[..word_at].iter().rev());
        let before = before.take_while(|(one, other)| one == other).count();
        let after = tail.iter().zip(&bytes[word_at..]);
        let after = after.take_while(|(one, other)| one == other).count();
        let first = Place {
            secret: place.secret,
            at: (at - before) as u32,
        };
        Some((first, word_at - before..word_at + after))
    }

    fn add(&mut self, text: &Text, place: Place, mut part: Range<usize>) {
        // The first digit after a fold can complete a byte by chance.
        if text.is_padded && part.len() > LEAST && self.inner_separator(text, part.end - 1).is_some() {
            part.end -= 1;
        }
        let secret = self.secrets.get(place.secret);
        // In a whole secret, no byte is there by chance.
        let is_whole = part.len() == secret.bytes().len();
        let head = if is_whole {
            part.start
        } else {
            after_head(text, part.clone())
        };
        let start = head + secret.hidden_after();
        let mut stretches: Vec<Range<u32>> = Vec::new();
        let mut mask = |from: u32, to: u32, is_new: bool| match stretches.last_mut() {
            Some(last) if !is_new => last.end = last.end.max(to),
            _ => stretches.push(from..to),
        };
        let mut begin = text.from(start);
        for at in start..part.end {
            let (from, to) = (text.from(at), text.to(at));
            let is_new = text.is_parted(at) && self.has_line_end(text.to(at.max(1) - 1), from);
            // A byte of base64 can begin before the end of a line, and end after it. The digit before the
            // separator may not belong to the piece.
            let is_first = at == start && text.is_padded;
            if let Some(after) = is_first.then(|| self.inner_separator(text, at)).flatten() {
                begin = after;
                mask(begin, to, true);
                continue;
            }
            match self.fold(from, to) {
                Some(fold) => {
                    mask(from, fold.start, is_new);
                    mask(fold.end, to, true);
                }
                None => mask(from, to, is_new),
            }
        }
        let first = place.at + (start - part.start) as u32;
        let mut to = text.to(part.end - 1);
        // Nobody prints the decoded bytes of a secret with `echo`, or completes a signature to groups of four
        // characters.
        let is_text = secret.hidden_after() == 0;
        if text.is_padded && is_text && self.is_end_of_secret(place, &part) {
            to = self.with_padding(text, part.end);
            if let Some(last) = stretches.last_mut() {
                last.end = to;
            }
        }
        self.push(Piece {
            from: begin,
            to,
            secret: place.secret,
            part: first..place.at + part.len() as u32,
            loss: self.loss(text, place.secret),
            stretches,
        });
    }

    fn push(&mut self, piece: Piece) {
        // Several views often find the same piece.
        if self.pieces.len() == self.pieces.capacity() {
            self.sort();
            self.pieces.reserve(self.pieces.len().max(LEAST));
        }
        self.pieces.push(piece);
    }

    /// The separators in the stretch of one byte, if the end of a line is among them.
    fn fold(&self, from: u32, to: u32) -> Option<Range<u32>> {
        if to - from < 2 {
            return None;
        }
        let bytes = &self.window[from as usize..to as usize];
        let is_separator = |byte: &u8| !is_token_byte(*byte);
        // A view can read a quoted character together with its quotes.
        let is_break = |byte: &u8| b"\r\n".contains(byte);
        let first = bytes.iter().position(is_separator).filter(|first| *first > 0);
        let first = first.or_else(|| bytes.iter().position(is_break))?;
        let last = bytes.iter().rposition(is_separator)?;
        self.has_line_end(from, to)
            .then(|| from + first as u32..from + last as u32 + 1)
    }

    /// The number of bytes that a piece may lack at its ends. A piece of a short secret lacks none, because
    /// the masker also knows the forms of such a secret.
    fn loss(&self, text: &Text, secret: u32) -> usize {
        let is_long = self.secrets.get(secret).need(PIECE) >= PIECE;
        if text.is_padded && is_long { LOSS } else { 0 }
    }

    /// The position after the last separator within the stretch of a byte.
    fn inner_separator(&self, text: &Text, at: usize) -> Option<u32> {
        let (mut at, to) = (text.from(at) as usize, text.to(at) as usize);
        let mut after = None;
        while at < to {
            let hidden = hidden(&self.window[..to], at);
            if hidden == 0 && !is_token_byte(self.window[at]) {
                after = Some(at as u32 + 1);
            }
            at += hidden.max(1);
        }
        after
    }

    fn is_end_of_secret(&self, place: Place, part: &Range<usize>) -> bool {
        place.at as usize + part.len() == self.secrets.get(place.secret).bytes().len()
    }

    /// The position after the base64 of a secret, after the line break that `echo` adds, and after the
    /// padding.
    fn with_padding(&self, text: &Text, end: usize) -> u32 {
        let is_echo = text.bytes.get(end) == Some(&b'\n') && !text.is_parted(end);
        let to = text.to(if is_echo { end } else { end - 1 });
        let padding = self.window[to as usize..]
            .iter()
            .take(2)
            .take_while(|byte| **byte == b'=');
        to + padding.count() as u32
    }

    fn has_line_end(&self, from: u32, to: u32) -> bool {
        from < to
            && self.window[from as usize..to as usize]
                .iter()
                .any(|byte| b"\r\n".contains(byte))
    }

    /// Finds the beginning of a piece that may continue after the window.
    fn end(&mut self, text: &Text, is_joined: bool) {
        if !text.goes_on {
            return;
        }
        self.end_at(text, text.len(), is_joined);
        if let Some(unsure) = text.unsure.filter(|_| !text.parted_at_end) {
            let sure = text.sure();
            if !self.end_at(text, sure, is_joined) && self.may_begin(unsure) {
                self.open = self.open.min(unsure);
            }
        }
    }

    /// Whether the byte at a position of the window can begin an encoded piece. Only visible ASCII characters
    /// can.
    fn may_begin(&self, position: u32) -> bool {
        self.window
            .get(position as usize)
            .is_some_and(|byte| byte.is_ascii_graphic())
    }

    fn end_at(&mut self, text: &Text, end: usize, is_joined: bool) -> bool {
        let bytes = &text.bytes[..end];
        let mut start = end - self.secrets.short_end(bytes);
        let mut whole = end;
        let long = end
            .checked_sub(LEAST)
            .and_then(|at| Some((at, word(&bytes[at..])?)));
        if let Some((at, word)) = long.filter(|(_, word)| self.secrets.grams().has(*word)) {
            for place in self.secrets.places(word) {
                let Some((place, part)) = self.part_at(bytes, place, at, is_joined) else {
                    continue;
                };
                // After the end of a secret no more of it can follow, but more of its base64 can.
                if !self.is_end_of_secret(place, &part) {
                    start = start.min(part.start);
                    // If the secret becomes whole, the piece begins with its first byte.
                    if place.at == 0 {
                        whole = whole.min(part.start);
                    }
                } else if text.is_padded {
                    self.open = self.open.min(text.from(part.start));
                }
            }
        }
        let begin = whole.min(after_head(text, start..end));
        let is_short =
            end - begin < HEAD && text.parted_at_end && !(begin + 1..end).any(|at| text.is_parted(at));
        if begin == end || is_short {
            return false;
        }
        self.open = self.open.min(text.from(begin));
        if end - begin >= self.secrets.firm() {
            self.firm = self.firm.min(text.from(begin));
        }
        true
    }
}

/// Whether a view may read a piece in a text.
fn is_seen(secrets: &Secrets, text: &[u8], depth: usize) -> bool {
    let mut is_seen = false;
    // The characters of UTF-16 have zeros between them.
    let visible: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).collect();
    scan(Look::close(secrets), &visible, depth, &mut |_| is_seen = true);
    is_seen
}

/// The beginning of a part. Leaves out a few characters before the first separator: they can be there by
/// chance.
fn after_head(text: &Text, part: Range<usize>) -> usize {
    let head = part.start + 1..part.end.min(part.start + HEAD);
    head.into_iter()
        .find(|at| text.is_parted(*at))
        .unwrap_or(part.start)
}

/// The runs of text in some bytes. Leaves out runs shorter than [`RUN`], unless they may go on after the end.
fn runs(bytes: &[u8], goes_on: bool) -> impl Iterator<Item = Range<usize>> {
    let is_text = |byte: &u8| is_text(*byte);
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += bytes.get(at..)?.iter().position(is_text)?;
            let start = at;
            at += bytes[at..].iter().take_while(|byte| is_text(byte)).count();
            if at - start >= RUN || (goes_on && at == bytes.len()) {
                return Some(start..at);
            }
        }
    })
}
