//! Masks a stream while it passes.
//!
//! The *window* is the part of the stream that the masker has in memory. Text is *decided* when
//! the masker knows all pieces of secrets in it. The *first look* ([`scan`]) finds words of secrets. Then
//! *views* decode the text around these words.

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    ANYWHERE, ESCAPE, Input, MARK,
    pieces::Pieces,
    scan::is_of_numbers,
    search::{DEPTH, Piece, Search},
    secrets::{Known, Secrets},
    source::{AnySource, SecretSource},
    text::Text,
    views::{Visible, is_token_byte, visible},
    whole::Whole,
};

/// The number of bytes that the masker searches at once, unless the caller calls `flush` or `pause`. Each
/// such search ends at a multiple of this number, so that the chunks in which the stream comes make no
/// difference.
pub(crate) const SLICE: usize = 32 << 10;

/// The number of bytes at the end of a slice that the masker holds back, and searches again with the next
/// slice. The first look at a slice can miss a piece that begins in these bytes, but the look at the next
/// slice finds it. So the masker need not read the end of a slice with views.
const HELD: u64 = 1024;

/// Like [`HELD`], if the slice ends in numbers. Most often one byte of a secret has up to 10 bytes there, and
/// the first look does not know the header and the first claims of a JWT.
const HELD_IN_NUMBERS: u64 = 4 << 10;

/// Like [`HELD_IN_NUMBERS`], if the numbers stand for numbers, and the window is full. Then one byte of a
/// secret has up to 60 bytes. While the window is not full, the masker holds all of it back: such numbers can
/// be lines or dumps in the text that they stand for, so views read them best from their beginning on.
const HELD_OF_NUMBERS: u64 = 16 << 10;

/// The number of decided bytes that the masker keeps in the window, so that views can read the text before a
/// piece. The masker also keeps the beginning of their line.
const CONTEXT: usize = 2048;

/// The number of bytes before and after a word of a secret that the masker reads with all views.
const SIGHT: usize = 128;

/// Like [`SIGHT`], around a piece, because the next piece may be near.
const NEAR: usize = 1536;

/// If the caller calls `flush` or `pause`, the number of bytes at the end of the text that the masker reads
/// with views in any case. A piece that begins there may still be too short for the first look.
const TAIL: usize = 128;

/// Like [`TAIL`], for a text with many digits and escapes. Its numbers can stand for the text of other
/// numbers. Then it has up to 60 bytes for one byte of a secret.
const TAIL_OF_NUMBERS: usize = 1024;

/// The greatest number of bytes before a stretch that the masker also reads, so that the views begin with a
/// whole line. From the middle of a line on, a view can take the text column of a dump for numbers, or the
/// title of a terminal for text that it shows.
const LINE: usize = 1024;

/// The greatest number of bytes of a number or word before a stretch that the masker also reads.
const WORD: usize = 64;

/// If the window has more undecided bytes than this, the masker decides about all of them.
const MOST: usize = 4 * SLICE;

/// Masks some secrets in a stream of any bytes. The same text gives the same output, however the caller cuts
/// it into chunks, unless the caller calls [`flush`](Self::flush) or [`pause`](Self::pause) between them.
///
/// After a [`flush`](Self::flush), the masker holds back only bytes that may become the beginning of a
/// [piece](crate#what-is-masked). Its memory does not grow with the stream.
#[derive(Clone)]
pub struct Masker {
    known: Known,
    pub(crate) secrets: Arc<Secrets>,
    /// The sources of later secrets.
    sources: Vec<Box<dyn AnySource>>,
    /// The latest bytes of the stream: all that the masker has not written, and some before them.
    pub(crate) window: Vec<u8>,
    /// The position in the stream at which `window` begins, in bytes.
    base: u64,
    /// The position before which the masker has searched.
    searched: u64,
    /// The position before which all pieces are known.
    decided: u64,
    /// The position before which the masker has written all bytes, or a mark in their place.
    pub(crate) written: u64,
    /// The position before which `pause` writes all bytes.
    firm: u64,
    pieces: Pieces,
    /// The whole secrets in the window that are masked already.
    whole: Whole,
    /// The ranges to mask that the masker has not written yet.
    spans: Vec<Range<u64>>,
    /// The position in the stream at which the last masked range ends.
    marked_to: Option<u64>,
}

impl Masker {
    /// Creates a masker of these secrets. Leaves out secrets of fewer than [`LEAST`](crate::LEAST) bytes.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with(Known::new(secrets), Vec::new())
    }

    /// Also masks the secrets that these sources tell about later. Every [`push`](Self::push) asks them for
    /// new secrets.
    ///
    /// A clone of the masker asks a clone of each source, so that each masker learns of every secret.
    #[must_use]
    pub fn with_sources<S>(mut self, sources: impl IntoIterator<Item = S>) -> Self
    where
        S: SecretSource + Clone + Send + Sync + 'static,
    {
        let sources = sources
            .into_iter()
            .map(|source| Box::new(source) as Box<dyn AnySource>);
        self.sources.extend(sources);
        self
    }

    fn with(known: Known, sources: Vec<Box<dyn AnySource>>) -> Self {
        Self {
            secrets: Arc::new(known.secrets()),
            known,
            sources,
            window: Vec::new(),
            base: 0,
            searched: 0,
            decided: 0,
            written: 0,
            firm: 0,
            pieces: Pieces::default(),
            whole: Whole::default(),
            spans: Vec::new(),
            marked_to: None,
        }
    }

    /// Reads the next bytes of the stream. Each time that 32 KiB are complete, writes the bytes that cannot
    /// be a part of a secret, except for about the last 1,024. If the text ends in numbers that stand for
    /// numbers, keeps up to 128 KiB of it. [`flush`](Self::flush) also writes those.
    ///
    /// Each mark takes several small writes. So give this a buffered writer, and flush that writer.
    ///
    /// # Errors
    /// If the write to `out` fails. Do not use the masker after that: later output may show secrets.
    pub fn push(&mut self, chunk: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.learn();
        let mut rest = chunk;
        while !rest.is_empty() {
            let free = SLICE - self.end() as usize % SLICE;
            let (slice, later) = rest.split_at(free.min(rest.len()));
            self.window.extend_from_slice(slice);
            rest = later;
            if slice.len() == free {
                self.search(Next::Slice);
                self.write(out)?;
            }
        }
        Ok(())
    }

    /// Writes all bytes that cannot be a part of a secret.
    ///
    /// # Errors
    /// Like [`push`](Self::push).
    pub fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.searched < self.end() {
            self.search(Next::Text);
        }
        self.write(out)
    }

    /// Tells the masker that the stream pauses. Writes all bytes that [`flush`](Self::flush) writes. Also
    /// writes the last bytes if they stand for only a few bytes of a secret (at most 3).
    ///
    /// So a program that pauses within the first 3 bytes of a piece can show these bytes.
    ///
    /// # Errors
    /// Like [`push`](Self::push).
    pub fn pause(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.waits() {
            self.search(Next::Pause);
        }
        self.write(out)
    }

    /// Whether the masker holds back bytes that [`pause`](Self::pause) may write.
    pub fn waits(&self) -> bool {
        self.searched < self.end() || self.firm > self.decided
    }

    /// The position of the end of the window.
    fn end(&self) -> u64 {
        self.base + self.window.len() as u64
    }

    /// Ends the stream, and writes the bytes that the masker held back. A new stream may follow.
    ///
    /// # Errors
    /// If the write to `out` fails.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.search(Next::End);
        self.write(out)?;
        self.window.clear();
        (self.base, self.searched, self.decided) = (0, 0, 0);
        (self.written, self.firm) = (0, 0);
        self.pieces.clear();
        self.whole = Whole::default();
        self.spans.clear();
        self.marked_to = None;
        Ok(())
    }

    fn learn(&mut self) {
        let Self { known, sources, .. } = self;
        let mut is_new = false;
        for source in sources {
            source.new_secrets(&mut |secret| is_new |= known.learn(secret));
        }
        if is_new {
            known.forget();
            let old = self.secrets.list();
            // The old index goes first, so that memory holds only one.
            self.secrets = Arc::new(Secrets::new([]));
            self.secrets = Arc::new(known.secrets());
            self.pieces.follow(&self.secrets, &old);
            self.whole = Whole::default();
        }
    }

    /// Whether this masker and another one are in the same state. Before the first search, the state depends
    /// only on the secrets and the window.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.secrets, &other.secrets)
            && self.searched + other.searched == 0
            && self.window == other.window
    }

    /// Finds the pieces in the window. Decides about all text before the first piece that may go on.
    fn search(&mut self, next: Next) {
        let secrets = Arc::clone(&self.secrets);
        let end = self.end();
        let is_long = self.window.len() > MOST + CONTEXT + LINE;
        let (mut open, mut firm, mut found) = (end, end, Vec::new());
        let mut whole = Whole::default();
        if next != Next::End {
            let search;
            (search, whole) = look(&secrets, &self.window, next, self.whole.clone());
            (open, firm) = (
                self.base + u64::from(search.open),
                self.base + u64::from(search.firm),
            );
            // More text can contradict a secret that has only begun, also where an earlier search has
            // decided.
            whole.shift(0, search.open);
            found = search.pieces;
        }
        if next == Next::Slice {
            let held = held(&self.window);
            open = open.min(end.saturating_sub(held)).max(self.decided);
            firm = end;
        }
        // The masker writes this text now, so it reads the text as if nothing followed.
        if matches!(next, Next::Pause | Next::End) || is_long {
            open = if next == Next::Pause && !is_long {
                firm
            } else {
                end
            };
            let search;
            (search, whole) = look(&secrets, &self.window, Next::End, self.whole.clone());
            found = search.pieces;
        }
        whole.shift(0, (open - self.base) as u32);
        self.whole = whole;
        self.searched = if next == Next::Slice { open } else { end };
        self.firm = firm.max(open);
        found.sort_by_key(|piece| (piece.from, u32::MAX - piece.to, piece.secret, piece.part.start));
        found.dedup();
        for piece in found {
            let [from, to] = [piece.from, piece.to].map(|at| self.base + u64::from(at));
            // A piece that begins at `open` or later may still grow. A later search judges it.
            if from >= open {
                continue;
            }
            // An earlier search may have missed a piece of decided text. A later piece can continue it.
            let is_masked = self.pieces.is_masked(&secrets, &piece, &self.window, self.base);
            if is_masked && to > self.decided {
                let stretches = piece.stretches.iter();
                let spans = stretches
                    .map(|stretch| self.base + u64::from(stretch.start)..self.base + u64::from(stretch.end));
                self.spans.extend(spans);
            }
        }
        self.decided = self.decided.max(open);
    }

    /// Writes all decided text. Keeps its last [`CONTEXT`] bytes, from the beginning of their line.
    fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let (base, to) = (self.base, self.decided);
        let index = |position: u64| (position - base) as usize;
        self.spans.sort_unstable_by_key(|span| span.start);
        let known = self.spans.partition_point(|span| span.start < to);
        // A span can end within a colour, and another span contain all of it.
        let spans = merged(self.spans.drain(..known).collect());
        for span in spans {
            let start = span.start.max(self.written);
            if span.end > start {
                out.write_all(&self.window[index(self.written)..index(start)])?;
                // Text that is already written can be between two marks.
                if self.marked_to.is_none_or(|end| end < start) {
                    out.write_all(MARK.as_bytes())?;
                }
                colours(&self.window[index(start)..index(span.end)], out)?;
                self.written = span.end;
                self.marked_to = Some(span.end);
            }
        }
        if to > self.written {
            out.write_all(&self.window[index(self.written)..index(to)])?;
            self.written = to;
        }
        let kept = index(self.decided.min(self.written)).saturating_sub(CONTEXT);
        let kept = line_start(&self.window, kept);
        self.window.drain(..kept);
        self.whole.shift(kept as u32, u32::MAX);
        self.base += kept as u64;
        Ok(())
    }
}

/// The text that follows the text that the masker has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// More text. A slice is complete, and the masker searches its end again together with the next slice.
    Slice,
    /// More text.
    Text,
    /// More text, but not soon.
    Pause,
    /// Nothing.
    End,
}

/// Searches a window. `whole` are secrets that the masker knows already. Also returns the secrets that the
/// window shows whole.
fn look<'a>(secrets: &'a Secrets, window: &'a [u8], next: Next, mut whole: Whole) -> (Search<'a>, Whole) {
    let is_last = next == Next::End;
    let mut search = Search::new(secrets, window);
    let seen = visible(window, secrets, !is_last);
    let all = Visible::all(window);
    let views: &[_] = if seen.has_hidden() {
        &[&seen, &all]
    } else {
        &[&seen]
    };
    let looked_at = &views[..if seen.hides { views.len() } else { 1 }];
    // The stretches in which the first look found words of secrets.
    let mut sights: Vec<_> = looked_at
        .iter()
        .flat_map(|seen| whole.sights(secrets, seen, 0..seen.bytes.len()))
        .collect();
    sights.sort_by_key(|sight| sight.start);
    // The terminal may show a secret in another way than the window.
    let is_shown = |piece: &Piece| {
        piece.stretches.iter().all(|stretch| {
            let [from, to] = [stretch.start, stretch.end].map(|at| at as usize);
            seen.index(to) - seen.index(from) == to - from
        })
    };
    let mut found = plain(&search, &mut sights, is_shown);
    whole.add(found.iter().cloned());
    let around = |sight: Range<usize>| {
        // A long stretch is probably a piece, and this saves a second reading of the text around it.
        let is_long = sight.len() >= ANYWHERE;
        around(window, sight, if is_long { NEAR } else { SIGHT })
    };
    let mut left = merged(sights.iter().cloned().map(around).collect());
    for island in &left {
        for seen in views {
            let zone = seen.index(island.start)..seen.index(island.end);
            search.once(&part(seen, zone, is_last));
        }
    }
    let (mut more, pieces) = (search.whole(), std::mem::take(&mut search.pieces));
    more.retain(is_shown);
    if !more.is_empty() {
        whole.add(more);
        let is_in = |piece: &Piece| whole.contains(piece.from, piece.to);
        let (inside, others): (Vec<_>, Vec<_>) = pieces.into_iter().partition(is_in);
        found.extend(inside);
        let others = others.iter().map(|piece| piece.from as usize);
        let apart = sights.iter().filter(|sight| !whole.touches(sight));
        let open: Vec<_> = others.chain(apart.map(|sight| sight.start)).collect();
        left.retain(|island| {
            open.iter().any(|at| island.contains(at)) || has_rest(secrets, views, island, &whole)
        });
    }
    if matches!(next, Next::Text | Next::Pause) {
        left.push(tail(&seen, window.len())..window.len());
    }
    read(&mut search, views, merged(left), &whole, is_last);
    search.pieces.extend(found);
    // The terminal may show the text of a sequence that never ends.
    search.open = search.open.min(seen.unsure.unwrap_or(u32::MAX));
    (search, whole)
}

/// Whether a byte is of a decimal number or an escape.
fn is_of_number(byte: &&u8) -> bool {
    byte.is_ascii_digit() || b"\\%&#;".contains(byte)
}

/// The number of bytes at the end of a slice that the masker holds back.
fn held(window: &[u8]) -> u64 {
    // A line of a dump in binary digits has some 600 bytes, a quarter of them for its text column.
    let last = &window[window.len().saturating_sub(TAIL_OF_NUMBERS)..];
    let digits = last.iter().filter(is_of_number).count();
    match is_of_numbers(last) {
        true if window.len() + SLICE <= MOST => MOST as u64,
        true => HELD_OF_NUMBERS,
        // The lines of most logs have fewer digits, also with the time in each.
        _ if digits > last.len() / 3 => HELD_IN_NUMBERS,
        _ => HELD,
    }
}

/// The beginning of the text at the end of the window that the masker reads with views in any case. `seen` is
/// the text that a terminal shows, because overstruck text has three bytes for each of these.
fn tail(seen: &Visible<'_>, end: usize) -> usize {
    let tail = seen.bytes.len().saturating_sub(TAIL);
    let tail = match seen.bytes[tail..].iter().filter(is_of_number).count() {
        // Two lines of a log with the time in each have about 40.
        0..48 => tail,
        _ => seen.bytes.len().saturating_sub(TAIL_OF_NUMBERS),
    };
    seen.position(tail).min(end.saturating_sub(TAIL))
}

/// The long secrets that the window shows whole and unencoded, and that the terminal shows as they are.
/// Removes the stretches in them from `sights`, because no view finds more there.
fn plain(
    search: &Search<'_>,
    sights: &mut Vec<Range<usize>>,
    is_shown: impl Fn(&Piece) -> bool,
) -> Vec<Piece> {
    let mut whole: Vec<Piece> = Vec::new();
    sights.retain(|sight| {
        let is_in = |piece: &Piece| piece.from as usize <= sight.start && sight.end <= piece.to as usize;
        if whole.last().is_some_and(is_in) {
            return false;
        }
        let found = search.plain(sight.start).filter(&is_shown);
        let is_found = found.as_ref().is_some_and(is_in);
        whole.extend(found);
        !is_found
    });
    whole
}

/// Whether the first look finds words of secrets other than `whole` in an island. Then all views read all of
/// the island, because a short part of a secret can be beside a whole one.
fn has_rest(secrets: &Secrets, views: &[&Visible<'_>], island: &Range<usize>, whole: &Whole) -> bool {
    views.iter().any(|seen| {
        let zone = seen.index(island.start)..seen.index(island.end);
        let others = whole.sights(secrets, seen, zone);
        others.iter().any(|other| other.end > island.start)
    })
}

/// Reads some islands of the window with all views, and everything around the pieces in them.
///
/// If a stretch grows, this reads it anew. So the pieces depend only on the text around them, and not on the
/// stretch in which this found the first piece.
fn read(
    search: &mut Search<'_>,
    views: &[&Visible<'_>],
    mut islands: Vec<Range<usize>>,
    whole: &Whole,
    is_last: bool,
) {
    let window = search.window();
    let mut near = NEAR;
    let mut unread = islands.clone();
    while !unread.is_empty() {
        search.pieces.retain(|piece| {
            let is_in = |island: &Range<usize>| island.contains(&(piece.from as usize));
            !unread.iter().any(is_in)
        });
        for island in &unread {
            for seen in views {
                let zone = seen.index(island.start)..seen.index(island.end);
                search.text(&part(seen, zone, is_last), DEPTH);
            }
        }
        let grown = |near: usize| {
            // Nothing continues a secret that is whole.
            let is_other = |piece: &&Piece| !whole.contains(piece.from, piece.to);
            let pieces = search.pieces.iter().filter(is_other);
            let around = pieces.map(|piece| {
                // A common word seldom has a piece near it.
                let near = if search.is_word(piece) { SIGHT } else { near };
                around(window, piece.from as usize..piece.to as usize, near)
            });
            merged(around.chain(islands.iter().cloned()).collect())
        };
        let is_new = |island: &Range<usize>| !islands.contains(island);
        unread = grown(NEAR).into_iter().filter(is_new).collect();
        // A long row of pieces is read a few times, and not once for each piece.
        if !unread.is_empty() && near > NEAR {
            let wider = grown(near);
            unread = wider.iter().filter(|island| is_new(island)).cloned().collect();
            islands = wider;
        } else if !unread.is_empty() {
            islands = grown(NEAR);
        }
        near = (2 * near).min(1 << 20);
    }
}

/// A stretch of the window and the text near it.
fn around(window: &[u8], stretch: Range<usize>, near: usize) -> Range<usize> {
    line_start(window, stretch.start.saturating_sub(near))..window.len().min(stretch.end + near)
}

/// The stretches in order. Stretches that touch become one.
pub(crate) fn merged<P: Copy + Ord>(mut stretches: Vec<Range<P>>) -> Vec<Range<P>> {
    stretches.sort_by_key(|stretch| stretch.start);
    stretches.dedup_by(|next, last| {
        let touches = next.start <= last.end;
        if touches {
            last.end = last.end.max(next.end);
        }
        touches
    });
    stretches
}

/// The beginning of the line around a position. If that is more than [`LINE`] bytes before, the beginning of
/// the number or word around the position, or the position itself.
fn line_start(text: &[u8], position: usize) -> usize {
    let from = position.saturating_sub(LINE);
    let before = &text[from..position];
    match memchr::memrchr(b'\n', before) {
        Some(last) => from + last + 1,
        None if from == 0 => 0,
        // From the middle of a number on, a view can read all following digits in other pairs.
        None => before
            .iter()
            .rev()
            .take(WORD)
            .position(|byte| !is_token_byte(*byte))
            .map_or(position, |back| position - back),
    }
}

/// A zone of the visible bytes as a text, from the beginning of the zone's first line. `is_last` tells that
/// no text follows the window.
fn part(seen: &Visible<'_>, zone: Range<usize>, is_last: bool) -> Text {
    let zone = line_start(&seen.bytes, zone.start)..zone.end;
    let mut text = seen.text(zone);
    if is_last {
        (text.goes_on, text.unsure) = (false, None);
    }
    text
}

/// Writes the control sequences (CSI) of a masked range, so that the text after the range keeps its colours.
pub(crate) fn colours(masked: &[u8], out: &mut dyn Write) -> io::Result<()> {
    for from in memchr::memchr_iter(ESCAPE, masked) {
        let sequence = &masked[from..];
        let parameters = sequence
            .iter()
            .skip(2)
            .take_while(|byte| (b' '..=b'?').contains(byte));
        let length = 3 + parameters.count();
        let is_whole =
            |sequence: &&[u8]| sequence[1] == b'[' && (b'@'..=b'~').contains(&sequence[length - 1]);
        if let Some(sequence) = sequence.get(..length).filter(is_whole) {
            out.write_all(sequence)?;
        }
    }
    Ok(())
}

/// The time for which [`copy`] collects text before it writes the part that is decided.
const PATIENCE: Duration = Duration::from_millis(2);

/// Copies `input` to `output`, and masks it. Every 2 ms, and whenever the input pauses, this writes the bytes
/// that cannot be a part of a secret.
///
/// If the input pauses, this also writes last bytes that stand for only a few bytes of a secret (at most 3):
/// a program may be asking a question.
///
/// # Errors
/// If reading `input` or writing `output` fails.
pub fn copy(mut masker: Masker, input: &mut impl Input, output: &mut dyn Write) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(SLICE, output);
    let mut buffer = vec![0; SLICE];
    let mut written = Instant::now();
    let ended = loop {
        if masker.waits() || !output.buffer().is_empty() {
            let is_pause = input.pauses();
            if is_pause {
                masker.pause(&mut output)?;
            } else if written.elapsed() > PATIENCE {
                masker.flush(&mut output)?;
            }
            if is_pause || written.elapsed() > PATIENCE {
                output.flush()?;
                written = Instant::now();
            }
        }
        match input.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(read) => {
                let before = masker.end() / SLICE as u64;
                masker.push(&buffer[..read], &mut output)?;
                // A fast log completes a slice every few milliseconds, so the masker need not search parts.
                if masker.end() / SLICE as u64 > before {
                    output.flush()?;
                    written = Instant::now();
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => break Err(error),
        }
    };
    masker.finish(&mut output)?;
    output.flush()?;
    ended
}
