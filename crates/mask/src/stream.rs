//! Masks a stream while it passes.

use std::{
    io::{self, BufWriter, ErrorKind, Read, Write},
    ops::Range,
    sync::Arc,
};

use crate::{
    ESCAPE, MARK,
    cursors::Cursors,
    forms::forms,
    patterns::Patterns,
    source::{AnySource, SecretSource},
};

/// The number of bytes that the masker processes at once: the size of a pipe (pipe(7)). It limits the memory
/// for bytes that the masker holds back.
const SLICE: usize = 64 << 10;

/// The number of bytes in which the masker looks for the beginning of a line.
const LOOK_BACK: usize = 32;

/// The least number of hexadecimal digits of the address at the start of a dump's line: 7 for `od`. `xxd` and
/// `hexdump` have 8.
const ADDRESS: usize = 7;

/// Masks all [forms](crate::forms()) of some secrets in a stream of any bytes. The same text gives the same
/// output, however the caller cuts it into chunks.
///
/// The masker holds back only bytes that may become the beginning of a [piece](crate#what-is-masked), and
/// writes all others at once. Its memory does not grow with the stream.
#[derive(Clone)]
pub struct Masker {
    patterns: Arc<Patterns>,
    /// The sources of later secrets.
    sources: Vec<Box<dyn AnySource>>,
    cursors: Cursors,
    /// The ranges to mask that the masker has not written yet. They are in order and do not touch.
    spans: Vec<Range<u64>>,
    /// The bytes that the masker has read and not written yet.
    pub(crate) held: Vec<u8>,
    /// The position in the stream at which `held` begins, in bytes. The masker has written all bytes before
    /// it, or a mark in their place.
    written: u64,
    /// The last bytes before that position.
    before: Vec<u8>,
    /// The position in the stream after the last mark.
    marked_to: Option<u64>,
}

impl Masker {
    /// Creates a masker of these secrets. Leaves out secrets of fewer than [`LEAST`](crate::LEAST) bytes.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let patterns = Patterns::new(secrets.into_iter().map(forms));
        Self::with(Arc::new(patterns), Vec::new())
    }

    /// Also masks the secrets that these sources learn later. Every [`push`](Self::push) asks the sources for
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

    fn with(patterns: Arc<Patterns>, sources: Vec<Box<dyn AnySource>>) -> Self {
        Self {
            patterns,
            sources,
            cursors: Cursors::default(),
            spans: Vec::new(),
            held: Vec::new(),
            written: 0,
            // A stream begins at the start of a line.
            before: vec![b'\n'],
            marked_to: None,
        }
    }

    /// Reads the next bytes of the stream, and writes all bytes that cannot be a part of a secret.
    ///
    /// This writes before and after each mark, so give it a buffered writer and flush that writer.
    ///
    /// # Errors
    /// If the write to `out` fails. The text is then lost, and later output may show parts of secrets.
    pub fn push(&mut self, chunk: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.learn();
        for slice in chunk.chunks(SLICE) {
            if self.held.is_empty() {
                self.pass(slice, 0, out)?;
            } else {
                let mut text = std::mem::take(&mut self.held);
                let new = text.len();
                text.extend_from_slice(slice);
                self.pass(&text, new, out)?;
            }
        }
        Ok(())
    }

    /// Ends the stream, and writes the bytes that the masker held back. A new stream may follow.
    ///
    /// # Errors
    /// If the write to `out` fails.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let end = self.written + held.len() as u64;
        self.write(&held, end, out)?;
        *self = Self::with(self.patterns.clone(), std::mem::take(&mut self.sources));
        Ok(())
    }

    fn learn(&mut self) {
        let Self {
            patterns,
            cursors,
            sources,
            ..
        } = self;
        for source in sources {
            source.new_secrets(&mut |secret| {
                let more = Arc::new(patterns.with(forms(secret)));
                cursors.follow(&more, patterns);
                *patterns = more;
            });
        }
    }

    /// Reads the bytes of `text` from `new` on, and writes those that are decided.
    fn pass(&mut self, text: &[u8], new: usize, out: &mut dyn Write) -> io::Result<()> {
        self.read(text, new);
        let end = self.written + text.len() as u64;
        let undecided = self
            .cursors
            .undecided()
            .map_or(end, |undecided| undecided.clamp(self.written, end));
        let begin = self.written;
        self.write(text, undecided, out)?;
        let (written, held) = text.split_at((self.written - begin) as usize);
        self.held.extend_from_slice(held);
        self.before
            .extend_from_slice(&written[written.len().saturating_sub(LOOK_BACK)..]);
        self.before.drain(..self.before.len().saturating_sub(LOOK_BACK));
        Ok(())
    }

    fn read(&mut self, text: &[u8], new: usize) {
        let mut at = new;
        while at < text.len() {
            let position = self.written + at as u64;
            if self.cursors.is_idle(position) {
                let skipped = self.patterns.skip(&text[at..]);
                at += skipped;
                if skipped > 0 {
                    continue;
                }
            }
            let fresh = self.begins_line(text, at);
            let spans = &mut self.spans;
            self.cursors
                .read(&self.patterns, position, text[at], fresh, &mut |start, end| {
                    add(spans, start..end);
                });
            at += 1;
        }
    }

    /// Whether the line has only spaces, tabs or the address of a dump before this byte.
    fn begins_line(&self, text: &[u8], at: usize) -> bool {
        let last = at
            .checked_sub(1)
            .map_or(self.before.last(), |last| text.get(last));
        if !last.is_some_and(|last| b"\r\n \t".contains(last)) {
            return false;
        }
        let known = &text[at.saturating_sub(LOOK_BACK)..at];
        let older = &self.before[(self.before.len() + known.len())
            .saturating_sub(LOOK_BACK)
            .min(self.before.len())..];
        let before = [older, known].concat();
        let ends_line = |text: &[u8]| text.last().is_some_and(|last| b"\r\n".contains(last));
        let line = trim(&before, |byte| b" \t".contains(&byte));
        let digits = line.strip_suffix(b":").unwrap_or(line);
        let address = trim(digits, |byte| byte.is_ascii_hexdigit());
        ends_line(line)
            || (line.len() < before.len() && digits.len() - address.len() >= ADDRESS && ends_line(address))
    }

    /// Writes up to a position, or up to the end of a masked range that begins there or before.
    fn write(&mut self, text: &[u8], to: u64, out: &mut dyn Write) -> io::Result<()> {
        let begin = self.written;
        let index = |position: u64| (position - begin) as usize;
        let known = self.spans.partition_point(|span| span.start <= to);
        for span in self.spans.drain(..known) {
            let start = span.start.max(self.written);
            out.write_all(&text[index(self.written)..index(start)])?;
            if self.marked_to.is_none_or(|end| end < span.start) {
                out.write_all(MARK.as_bytes())?;
            }
            let end = span.end.max(start);
            colours(&text[index(start)..index(end)], out)?;
            self.written = end;
            self.marked_to = Some(span.end);
        }
        if to > self.written {
            out.write_all(&text[index(self.written)..index(to)])?;
            self.written = to;
        }
        Ok(())
    }
}

/// Adds a range that ends after all others, and joins it to the ranges that it touches.
fn add(spans: &mut Vec<Range<u64>>, mut span: Range<u64>) {
    while let Some(last) = spans.pop_if(|last| last.end >= span.start) {
        span.start = span.start.min(last.start);
    }
    spans.push(span);
}

/// Writes the escape sequences of a masked range, so that the text after it has its colours.
fn colours(masked: &[u8], out: &mut dyn Write) -> io::Result<()> {
    for from in memchr::memchr_iter(ESCAPE, masked) {
        let sequence = &masked[from..];
        let parameters = sequence
            .iter()
            .skip(2)
            .take_while(|byte| (b' '..=b'?').contains(byte));
        let length = 3 + parameters.count();
        if let Some(sequence) = sequence.get(..length) {
            out.write_all(sequence)?;
        }
    }
    Ok(())
}

fn trim(text: &[u8], remove: impl Fn(u8) -> bool) -> &[u8] {
    let kept = text
        .iter()
        .rposition(|&byte| !remove(byte))
        .map_or(0, |last| last + 1);
    &text[..kept]
}

/// Masks all of `input` into `output`. Writes the bytes that it has read before it reads more.
///
/// # Errors
/// If reading `input` or writing `output` fails.
pub fn copy(mut masker: Masker, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(SLICE, output);
    let mut buffer = vec![0; SLICE];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => masker.push(&buffer[..read], &mut output)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        output.flush()?;
    }
    masker.finish(&mut output)?;
    output.flush()
}
