//! Reads a log up to a mark, so that the reader does not wait for background processes that keep the pipe
//! open.

use std::io::{self, Read, Write};

use crate::{Input, Masker, copy};

/// The mark that a program writes after the last byte of its log: the byte 1, the name, and the byte 2.
///
/// A process that knows the name can end the log, so choose a random name.
pub fn end_mark(name: &str) -> String {
    format!("\u{1}{name}\u{2}")
}

/// Copies the text of a pipe before the [`end_mark`] to `output`, and masks it. If no mark comes, copies all
/// text.
///
/// Background processes may still have the pipe open after the mark. This function does not wait for them. On
/// Unix, the program `cat` reads and discards the text after the mark, so that SIGPIPE does not end these
/// processes. On Windows, or without the program `cat`, their writes fail.
///
/// # Errors
/// If reading the pipe or writing `output` fails.
pub fn copy_to_mark(masker: Masker, pipe: impl Input, name: &str, output: &mut dyn Write) -> io::Result<()> {
    let mut log = Until::new(pipe, name);
    copy(masker, &mut log, output)?;
    if log.found {
        log.discard_the_rest();
    }
    Ok(())
}

/// Reads `input` up to the mark. Holds back only bytes that may be the beginning of the mark.
struct Until<R> {
    input: R,
    mark: Vec<u8>,
    /// Bytes that may still be a part of the mark.
    held: Vec<u8>,
    found: bool,
}

impl<R: Read> Until<R> {
    fn new(input: R, name: &str) -> Self {
        Self {
            input,
            mark: end_mark(name).into_bytes(),
            held: Vec::new(),
            found: false,
        }
    }
}

impl<R: Input> Input for Until<R> {
    fn pauses(&self) -> bool {
        self.input.pauses()
    }

    fn discard_the_rest(self) {
        self.input.discard_the_rest();
    }
}

impl<R: Read> Read for Until<R> {
    /// Reads into `buffer`. The buffer must be longer than the mark.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while !self.found && filled == 0 {
            let held = self.held.len();
            let (before, free) = buffer.split_at_mut(held);
            let read = self.input.read(free)?;
            before.copy_from_slice(&self.held);
            self.held.clear();
            filled = held + read;
            if read == 0 {
                break;
            }
            let text = &buffer[..filled];
            let may_begin = |at: &usize| {
                let rest = &text[*at..];
                rest.starts_with(&self.mark) || self.mark.starts_with(rest)
            };
            if let Some(begin) = memchr::memchr_iter(self.mark[0], text).find(may_begin) {
                self.found = text.len() - begin >= self.mark.len();
                if !self.found {
                    self.held.extend_from_slice(&text[begin..]);
                }
                filled = begin;
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns each part separately.
    struct Parts(Vec<Vec<u8>>);

    impl Read for Parts {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(part) = (!self.0.is_empty()).then(|| self.0.remove(0)) else {
                return Ok(0);
            };
            buffer[..part.len()].copy_from_slice(&part);
            Ok(part.len())
        }
    }

    fn read(parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let parts = parts.iter().map(|part| part.to_vec()).collect();
        let mut until = Until::new(Parts(parts), "end");
        let (mut text, mut buffer) = (Vec::new(), [0; 64]);
        loop {
            match until.read(&mut buffer).expect("memory can be read") {
                0 => break,
                filled => text.extend_from_slice(&buffer[..filled]),
            }
        }
        (text, until.found)
    }

    #[test]
    fn it_ends_at_the_mark_wherever_the_chunks_end() {
        let text = b"a\x01b\x01\x01en\x01end\x02rest";
        for first in 1..text.len() {
            for second in first..text.len() {
                let (one, two, three) = (&text[..first], &text[first..second], &text[second..]);
                let parts: Vec<_> = [one, two, three]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect();
                assert_eq!(
                    read(&parts),
                    (b"a\x01b\x01\x01en".to_vec(), true),
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn without_a_mark_nothing_is_lost() {
        assert_eq!(
            read(&[b"a\x01en", b"d", b"\x01"]),
            (b"a\x01end\x01".to_vec(), false)
        );
    }

    #[test]
    fn text_that_does_not_begin_the_mark_is_there_at_once() {
        let mut until = Until::new(Parts(vec![b"50%\x01e".to_vec(), b"x".to_vec()]), "end");
        let mut buffer = [0; 64];
        assert_eq!(until.read(&mut buffer).expect("read"), 3);
        assert_eq!(until.read(&mut buffer).expect("read"), 3);
        assert_eq!(&buffer[..3], b"\x01ex");
    }
}
