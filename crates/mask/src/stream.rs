//! Masks a stream while it passes.
//!
//! The *window* is the part of the stream that the masker has in memory. Text is *decided* when
//! the masker knows all pieces of secrets in it. *Views* decode the window. A fast log fills one *slice* after
//! another. After [`CREDIT`] bytes of slices, the *first look* ([`scan`]) finds out whether the views need to
//! read the window. After [`LOOKS`] more, this look is *brief*.

use std::{
    borrow::Cow,
    io::{self, BufWriter, ErrorKind, Write},
    iter,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    ESCAPE, Input, MARK,
    pieces::Pieces,
    scan::{Look, count, is_binary, is_brief_enough, is_of_numbers, scan, scan_briefly},
    search::{DEPTH, Piece, Search},
    secrets::{Known, Secrets},
    source::{AnySource, SecretSource},
    views::{Visible, is_token_byte, visible},
};

/// The number of bytes after which the masker searches the window, unless the caller calls `flush` or `pause`
/// before. A slice begins where the last search ended, so the chunks in which the stream comes make no
/// difference.
pub(crate) const SLICE: usize = 32 << 10;

/// The number of bytes of slices that views read before the first look must choose the slices for them. Few
/// outputs of a program are longer, such as those of a failed test suite.
const CREDIT: usize = 512 << 10;

/// The number of bytes of slices, after those that views read, that get a first look before the look becomes
/// brief. By default, GitLab Runner discards a log of more than 4 MiB (`output_limit` in its
/// `common/config.go`).
const LOOKS: usize = (4 << 20) - CREDIT;

/// The number of bytes of slices that views read after a brief look, if they find a signature there.
const FINDS: usize = 512 << 10;

/// The number of bytes at the end of a slice that the masker holds back, and searches again with the next
/// slice. The first look at a slice can miss a piece that begins in these bytes, but the look at the next
/// slice finds it.
const HELD: u64 = 1024;

/// Like [`HELD`], after a brief look, which skips some text.
const HELD_AFTER_BRIEF: u64 = 2 << 10;

/// Like [`HELD`], if the slice ends in numbers. Most often one byte of a secret has up to 10 bytes there, and
/// the first look does not know the header and the first claims of a JWT.
const HELD_IN_NUMBERS: u64 = 4 << 10;

/// Like [`HELD_IN_NUMBERS`], if the numbers stand for numbers, and the window is full. Then one byte of a
/// secret has up to 60 bytes. While the window is not full, the masker holds all of it back: such numbers can
/// be lines or dumps in the text that they stand for, so views read them best from their beginning on.
const HELD_OF_NUMBERS: u64 = 16 << 10;

/// The number of decided bytes that a brief look reads again.
const BEFORE: usize = 512;

/// The number of decided bytes that the masker keeps in the window, so that views can read the text before a
/// piece. The masker also keeps the beginning of their line.
const CONTEXT: usize = 2048;

/// The number of bytes that the first look reads while the views read one.
const LOOKS_FOR_VIEWS: usize = 32;

/// The number of bytes at the end of a slice that tell whether the slice ends in numbers.
const LAST: usize = 1024;

/// The greatest number of bytes of a line before [`CONTEXT`] that the masker also keeps, so that the views
/// begin with a whole line. From the middle of a line on, a view can take the text column of a dump for
/// numbers, or the title of a terminal for text that it shows.
const LINE: usize = 1024;

/// Like [`LINE`], for a number or a word in a longer line.
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
    /// The position at which the present slice begins: the end of the last search.
    slice: u64,
    /// The position before which all pieces are known.
    decided: u64,
    /// The position before which the masker has written all bytes, or a mark in their place.
    pub(crate) written: u64,
    /// The position before which `pause` writes all bytes.
    firm: u64,
    pieces: Pieces,
    /// The secrets that the window shows whole and unencoded. No view finds more in them.
    whole: Vec<Range<u64>>,
    /// The ranges to mask that the masker has not written yet.
    spans: Vec<Range<u64>>,
    /// The position in the stream at which the last masked range ends.
    marked_to: Option<u64>,
    /// The number of bytes of slices that views may still read without a first look.
    pub(crate) credit: usize,
    /// The number of bytes of slices that still get a first look.
    pub(crate) looks: usize,
    /// The number of bytes of slices that views may still read after a brief look, if they find a signature there.
    /// After these, the masker masks the text around each find.
    pub(crate) finds: usize,
    /// Whether each search begins with a first look. Tests of the first look set this.
    pub(crate) looks_first: bool,
    /// The number of bytes of a slice. Tests set a smaller one.
    pub(crate) size: usize,
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
            slice: 0,
            decided: 0,
            written: 0,
            firm: 0,
            pieces: Pieces::default(),
            whole: Vec::new(),
            spans: Vec::new(),
            marked_to: None,
            credit: CREDIT,
            looks: LOOKS,
            finds: FINDS,
            looks_first: false,
            size: SLICE,
        }
    }

    /// Reads the next bytes of the stream. Each time that 32 KiB are complete, writes the bytes that cannot
    /// be a part of a secret, except for about the last 1,024 to 4,096. If the text ends in numbers that stand for
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
            let free = self.size - (self.end() - self.slice) as usize;
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
        (self.base, self.searched, self.slice) = (0, 0, 0);
        (self.decided, self.written, self.firm) = (0, 0, 0);
        self.pieces.clear();
        self.whole.clear();
        self.spans.clear();
        self.marked_to = None;
        (self.credit, self.looks, self.finds) = (CREDIT, LOOKS, FINDS);
        Ok(())
    }

    /// Lets views read some more bytes of slices, up to [`CREDIT`]. Gives more slices a first look, up to [`LOOKS`].
    /// Lets views read more slices after a brief look, up to [`FINDS`].
    fn refill(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes).min(CREDIT);
        self.finds = self.finds.saturating_add(bytes).min(FINDS);
        self.looks = self
            .looks
            .saturating_add(bytes.saturating_mul(LOOKS_FOR_VIEWS))
            .min(LOOKS);
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
            self.whole.clear();
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
        let (way, mut is_read) = (self.way(next), false);
        if next != Next::End {
            let look = self.look(&secrets, next, way);
            (open, firm) = (self.base + u64::from(look.open), self.base + u64::from(look.firm));
            // More text can contradict a secret that has only begun, also where an earlier search has
            // decided.
            self.whole.retain(|whole| whole.start < open);
            (found, is_read) = (look.pieces, look.is_read);
        }
        if next == Next::Slice {
            let held = match way {
                Way::Brief => HELD_AFTER_BRIEF,
                _ => held(&self.window),
            };
            open = open.min(end.saturating_sub(held)).max(self.decided);
            firm = end;
        }
        // The masker writes this text now, so it reads the text as if nothing followed. If no piece is open,
        // that makes no difference.
        let is_open = next == Next::Pause && open < end;
        if is_open || next == Next::End || is_long {
            open = if next == Next::Pause && !is_long {
                firm
            } else {
                end
            };
            found = self.look(&secrets, Next::End, self.way(Next::End)).pieces;
        }
        self.whole.retain(|whole| whole.start < open);
        self.searched = if next == Next::Slice { open } else { end };
        self.slice = end;
        self.firm = firm.max(open);
        let mut has_signature = false;
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
                let secret = secrets.get(piece.secret);
                // The first look finds a whole secret without the views.
                let is_plain = (to - from) as usize == secret.bytes().len();
                let signature = secret.starts.get(2);
                has_signature |= !is_plain && signature.is_none_or(|start| piece.part.end as usize > *start);
            }
        }
        // Other tokens of the same cluster have the same claims.
        if way == Way::Brief && is_read && has_signature {
            self.finds = self.finds.saturating_sub(self.size);
        }
        self.decided = self.decided.max(open);
    }

    /// The way to search the window.
    fn way(&self, next: Next) -> Way {
        // Random bytes, very long lines and numbers of numbers take the views most memory and time, and the first
        // look finds most secrets in them.
        let last = last(&self.window);
        let is_long = self.window.len() > 2 * SLICE && (!last.contains(&b'\n') || is_of_numbers(last));
        let is_large = || is_long || is_binary(&self.window);
        let has_credit = next != Next::Slice || self.credit > 0 && !is_large();
        if has_credit && !self.looks_first {
            Way::Views
        } else if next == Next::Slice && self.looks == 0 && is_brief_enough(&self.secrets) {
            Way::Brief
        } else {
            Way::Look
        }
    }

    /// Searches the window. The views read it at once, or if a look finds something.
    fn look(&mut self, secrets: &Secrets, next: Next, way: Way) -> Found {
        let is_last = next == Next::End;
        if next == Next::Slice {
            let left = if way == Way::Views {
                &mut self.credit
            } else {
                &mut self.looks
            };
            *left = left.saturating_sub(self.size);
        }
        if way == Way::Views {
            return read(secrets, &self.window, is_last);
        }
        let seen = visible(&self.window, secrets, !is_last);
        let all = seen.hides.then(|| Visible::all(&self.window));
        let mut sights = Vec::new();
        for seen in iter::once(&seen).chain(&all) {
            let position = |part: Range<usize>| seen.position(part.start)..seen.position(part.end);
            let text = self.unknown(seen);
            if way == Way::Brief {
                // The looks at the slices before have read all decided text. A dense part can begin there.
                let decided = seen.index((self.decided - self.base) as usize);
                let first = decided.saturating_sub(BEFORE);
                scan_briefly(secrets, &text[first..], DEPTH, &mut |part, around| {
                    let [part, around] = [part, around].map(|part| first + part.start..first + part.end);
                    if part.end > decided {
                        let (found, around) = (position(part), position(around));
                        sights.push(Sight { found, around });
                    }
                });
            } else {
                scan(Look::far(secrets), &text, DEPTH, &mut |part| {
                    let found = position(part);
                    sights.push(Sight {
                        around: found.clone(),
                        found,
                    });
                });
            }
        }
        sights.sort_by_key(|sight| sight.found.start);
        // The terminal may show a secret in another way than the window.
        let is_shown = |span: &Range<usize>| seen.index(span.end) - seen.index(span.start) == span.len();
        let pieces = plain(secrets, &self.window, &mut sights, is_shown);
        let end = self.window.len();
        // The next search finds all of a secret that has only begun.
        let last = end.saturating_sub(secrets.longest());
        let begun = sights[sights.partition_point(|sight| sight.found.start < last)..]
            .iter()
            .filter_map(|sight| secrets.begun(&self.window, sight.found.start))
            .find(|start| !is_last && is_shown(&(*start..end)));
        let open = begun.unwrap_or(end);
        sights.retain(|sight| sight.found.start < open);
        let spans = pieces
            .iter()
            .map(|piece| self.base + u64::from(piece.from)..self.base + u64::from(piece.to));
        self.whole.extend(spans);
        // The terminal may show the text of a sequence that never ends.
        let open = seen.unsure.unwrap_or(u32::MAX).min(open as u32);
        let may_read = way != Way::Brief || self.finds >= self.size;
        if may_read && !sights.is_empty() {
            return read(secrets, &self.window, is_last);
        }
        self.hide(sights);
        Found {
            pieces,
            open,
            firm: end as u32,
            is_read: false,
        }
    }

    /// Masks places with the text around them, as no view tells what they have of a secret.
    fn hide(&mut self, sights: Vec<Sight>) {
        let around = sights.into_iter().map(|sight| sight.around);
        let spans = around.map(|around| self.base + around.start as u64..self.base + around.end as u64);
        self.spans.extend(spans);
    }

    /// The visible bytes, with zeros in place of the secrets that the masker has found already: no view reads
    /// a zero as a part of a secret.
    fn unknown<'a>(&self, seen: &'a Visible<'_>) -> Cow<'a, [u8]> {
        let mut bytes = Cow::Borrowed(&*seen.bytes);
        for whole in &self.whole {
            let index = |position: u64| seen.index(position.saturating_sub(self.base) as usize);
            bytes.to_mut()[index(whole.start)..index(whole.end)].fill(0);
        }
        bytes
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
        self.base += kept as u64;
        self.whole.retain(|whole| whole.end > self.base);
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

/// The way to search the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The views read all of it.
    Views,
    /// The views read it if the first look finds something.
    Look,
    /// Like `Look`, but the look is brief.
    Brief,
}

/// What the masker finds in the window. Positions count from its beginning.
pub(crate) struct Found {
    pub(crate) pieces: Vec<Piece>,
    /// The first position that may be the beginning of a piece that continues after the window.
    open: u32,
    /// Like `open`, for beginnings of pieces that are too long to be there by chance.
    firm: u32,
    /// Whether the views have read the window.
    is_read: bool,
}

/// Reads a window with all views. `is_last` tells that no text follows the window.
pub(crate) fn read(secrets: &Secrets, window: &[u8], is_last: bool) -> Found {
    let mut search = Search::new(secrets, window);
    let seen = visible(window, secrets, !is_last);
    let all = Visible::all(window);
    let parts = seen.raw.iter().map(|part| (&all, part.clone()));
    for (seen, part) in iter::once((&seen, 0..seen.bytes.len())).chain(parts) {
        let mut text = seen.text(part);
        if is_last {
            (text.goes_on, text.unsure) = (false, None);
        }
        search.text(&text, DEPTH);
    }
    search.sort();
    Found {
        pieces: search.pieces,
        open: search.open.min(seen.unsure.unwrap_or(u32::MAX)),
        firm: search.firm,
        is_read: true,
    }
}

/// The end of a slice, which tells whether the slice ends in numbers. A line of a dump in binary digits has
/// some 600 bytes, a quarter of them for its text column.
fn last(window: &[u8]) -> &[u8] {
    &window[window.len().saturating_sub(LAST)..]
}

/// The number of bytes at the end of a slice that the masker holds back.
fn held(window: &[u8]) -> u64 {
    let last = last(window);
    let is_escape =
        |byte| (byte == b'\\') | (byte == b'%') | (byte == b'&') | (byte == b'#') | (byte == b';');
    let digits = count(last, |byte| byte.is_ascii_digit() | is_escape(byte));
    match is_of_numbers(last) {
        true if window.len() + SLICE <= MOST => MOST as u64,
        true => HELD_OF_NUMBERS,
        // The lines of most logs have fewer digits, also with the time in each.
        _ if digits > last.len() / 3 => HELD_IN_NUMBERS,
        _ => HELD,
    }
}

/// A place where a view may read a piece.
struct Sight {
    found: Range<usize>,
    /// The text that the masker masks if no view reads it.
    around: Range<usize>,
}

/// The long secrets that the window shows whole and unencoded, and that the terminal shows as they are.
/// Removes the stretches in them from `sights`, because no view finds more there.
fn plain(
    secrets: &Secrets,
    window: &[u8],
    sights: &mut Vec<Sight>,
    is_shown: impl Fn(&Range<usize>) -> bool,
) -> Vec<Piece> {
    let mut whole: Vec<Piece> = Vec::new();
    sights.retain(|sight| {
        let part = &sight.found;
        let is_in = |piece: &Piece| piece.from as usize <= part.start && part.end <= piece.to as usize;
        if whole.last().is_some_and(is_in) {
            return false;
        }
        let found = secrets.whole(window, part.start);
        let found = found
            .filter(|(_, span)| is_shown(span))
            .map(|(secret, span)| Piece::whole(secret, span));
        let is_found = found.as_ref().is_some_and(is_in);
        whole.extend(found);
        !is_found
    });
    whole
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
pub(crate) fn line_start(text: &[u8], position: usize) -> usize {
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

/// After a search, [`copy`] collects text for this many times as long as the search took, unless the input
/// pauses. So the searches of a log that never pauses take at most a tenth of the time.
const REST: u32 = 9;

/// The number of bytes by which [`copy`] refills the credit in a second in which it waits for input. The time
/// for which the masker worked, [`REST`] times, does not count.
const REFILL: f64 = 300e3;

/// Copies `input` to `output`, and masks it. Every 2 ms, and whenever the input pauses, this writes the bytes
/// that cannot be a part of a secret. If that takes more than 0.2 ms, this writes less often.
///
/// If the input pauses, this also writes last bytes that stand for only a few bytes of a secret (at most 3):
/// a program may be asking a question.
///
/// # Errors
/// If reading `input` or writing `output` fails.
pub fn copy(mut masker: Masker, input: &mut impl Input, output: &mut dyn Write) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(SLICE, output);
    let mut buffer = vec![0; SLICE];
    // When `copy` began to collect text, when the last search ended, and how long that took.
    let (mut since, mut searched, mut took) = (Instant::now(), Instant::now(), Duration::ZERO);
    // When the masker ended its work on a slice, and the work for which it has not rested.
    let (mut pushed, mut work) = (Instant::now(), Duration::ZERO);
    let ended = loop {
        if masker.waits() || !output.buffer().is_empty() {
            let is_pause = input.pauses();
            let has_rested = searched.elapsed() > REST * took;
            if is_pause || has_rested && since.elapsed() > PATIENCE {
                let begin = Instant::now();
                if is_pause {
                    masker.pause(&mut output)?;
                } else {
                    masker.flush(&mut output)?;
                }
                (searched, took) = (Instant::now(), begin.elapsed());
                output.flush()?;
                since = Instant::now();
            }
        }
        match input.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(read) => {
                if !masker.waits() {
                    since = Instant::now();
                }
                let (begin, waited) = (Instant::now(), pushed.elapsed());
                let rest = waited.saturating_sub(REST * work);
                masker.refill((rest.as_secs_f64() * REFILL) as usize);
                work = work.saturating_sub(waited / REST);
                let before = masker.slice;
                masker.push(&buffer[..read], &mut output)?;
                (pushed, work) = (Instant::now(), work + begin.elapsed());
                // A fast log completes a slice every few milliseconds, so the masker need not search parts.
                if masker.slice > before {
                    output.flush()?;
                    since = Instant::now();
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
