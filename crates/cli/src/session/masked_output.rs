//! Masks the token in the output of the command that a verb runs.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Write, pipe},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use jobpass_core::{Error, Kind, names, text::harmless};
use jobpass_mask::Masker;
use same_file::Handle;

use super::system;

/// The standard output and standard error of the command.
pub(crate) struct Streams {
    /// The command's standard output.
    pub(crate) output: Stdio,
    /// The command's standard error.
    pub(crate) error: Stdio,
}

/// The threads that mask the standard output and standard error of a command.
pub(crate) struct Masked(Vec<Stream>);

/// One thread, with the writing end of its pipe, and the mark at which it stops.
struct Stream {
    writer: PipeWriter,
    mark: String,
    thread: JoinHandle<io::Result<()>>,
}

impl Masked {
    /// Masks the command's standard output and standard error on their way to those of jobpass.
    ///
    /// If those of jobpass lead to one file, the command gets one pipe for both, so that its lines keep their
    /// order.
    pub(crate) fn start(masker: &Masker) -> Result<(Self, Streams), Error> {
        let error = (!are_one_stream()).then(system::stderr_file);
        let output = system::stdout_file();
        Self::streams(masker, output, error).map_err(|error| cannot_mask(&error))
    }

    /// Masks the command's standard output and standard error on their way to the standard error of jobpass.
    /// Also looks for the words with which a client reports that the API server refused its token.
    pub(crate) fn start_watched(masker: &Masker, refusal: RefusalFlag) -> Result<(Self, Streams), Error> {
        let output = system::stderr_file().map(|to| RefusalDetector {
            to,
            refusal,
            word: Vec::new(),
        });
        Self::streams(masker, output, None).map_err(|error| cannot_mask(&error))
    }

    /// Starts to mask the command's standard output into `output`, and its standard error into `error`.
    /// Without `error`, both go to `output`.
    fn streams(
        masker: &Masker,
        output: io::Result<impl Write + Send + 'static>,
        error: Option<io::Result<File>>,
    ) -> io::Result<(Self, Streams)> {
        let mut masked = Self(Vec::new());
        let output = masked.add(masker, output?)?;
        let error = match error {
            Some(error) => masked.add(masker, error?)?,
            None => output.try_clone()?,
        };
        Ok((
            masked,
            Streams {
                output: output.into(),
                error: error.into(),
            },
        ))
    }

    fn add(&mut self, masker: &Masker, mut to: impl Write + Send + 'static) -> io::Result<PipeWriter> {
        let (reader, writer): (PipeReader, _) = pipe()?;
        // The mark is random, because a command that knew it could end the masking.
        let mark = names::random_name().map_err(|error| io::Error::other(error.to_string()))?;
        let (masker, name) = (masker.clone(), mark.clone());
        let thread = thread::spawn(move || jobpass_mask::copy_to_mark(masker, reader, &name, &mut to));
        let for_command = writer.try_clone()?;
        self.0.push(Stream { writer, mark, thread });
        Ok(for_command)
    }

    /// Waits until jobpass has written the output of the command. Does not wait for processes that the
    /// command has left in the background, although they hold the pipes open.
    ///
    /// If the reader of the output stops reading, the wait never ends. So the caller may drop the future.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        let finished = tokio::task::spawn_blocking(move || self.join()).await;
        finished.unwrap_or(Ok(()))
    }

    fn join(self) -> Result<(), Error> {
        let mut result = Ok(());
        for Stream {
            mut writer,
            mark,
            thread,
        } in self.0
        {
            // This write fails if the thread has ended after its own write failed. `join` below returns that
            // failure.
            let _ = writer.write_all(jobpass_mask::end_mark(&mark).as_bytes());
            drop(writer);
            let ended = thread.join().unwrap_or_else(|_| {
                Err(io::Error::other(
                    "jobpass panicked while it masked the output of \
                                                          the command",
                ))
            });
            // A broken pipe is not a failure: a reader such as `head` ends when it has enough lines.
            if let Err(error) = ended
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                result = Err(cannot_mask(&error));
            }
        }
        result
    }
}

/// Whether the command has reported that the API server refused its token.
pub(crate) type RefusalFlag = Arc<AtomicBool>;

/// The words with which clients report that the API server refused their token, in lower case. Clients of
/// Kubernetes print `Unauthorized`.
const REFUSALS: [&[u8]; 3] = [b"unauthorized", b"unauthenticated", b"401"];

/// A writer that looks for the words of [`REFUSALS`] in the text that it passes on.
struct RefusalDetector {
    to: File,
    refusal: RefusalFlag,
    /// The beginning of the current word, in lower case.
    word: Vec<u8>,
}

impl Write for RefusalDetector {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for byte in text {
            if !byte.is_ascii_alphanumeric() {
                self.end_of_word();
            } else if self.word.len() < 32 {
                // No word of `REFUSALS` has 32 letters. The limit keeps an endless word from filling the
                // memory.
                self.word.push(byte.to_ascii_lowercase());
            }
        }
        self.to.write_all(text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl RefusalDetector {
    fn end_of_word(&mut self) {
        if REFUSALS.contains(&&*self.word) {
            self.refusal.store(true, Ordering::Relaxed);
        }
        self.word.clear();
    }
}

impl Drop for RefusalDetector {
    fn drop(&mut self) {
        self.end_of_word();
    }
}

fn cannot_mask(error: &io::Error) -> Error {
    let why = harmless(&error.to_string());
    Error::new(
        Kind::Deliver,
        format!("cannot mask the output of the command: {why}"),
    )
    .help(
        "check the file or program that the output of jobpass leads to, its free space, and the limit for \
         open files (`ulimit -n`)",
    )
}

fn are_one_stream() -> bool {
    matches!((Handle::stdout(), Handle::stderr()), (Ok(output), Ok(error)) if output == error)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["error: You must be logged in to the server (Unauthor", "ized)\n"], true)]
    #[case(&["HTTP/1.1 401"], true)]
    #[case(&["status=UNAUTHENTICATED"], true)]
    #[case(&["took 1401 ms, line 4012, unauthorizedly"], false)]
    #[case(&["4", "0", "2"], false)]
    fn a_refusal_is_a_whole_word(#[case] parts: &[&str], #[case] expected: bool) {
        let refusal = RefusalFlag::default();
        let mut detector = RefusalDetector {
            to: File::create("/dev/null").expect("opened"),
            refusal: RefusalFlag::clone(&refusal),
            word: Vec::new(),
        };
        for part in parts {
            detector.write_all(part.as_bytes()).expect("written");
        }
        drop(detector);
        assert_eq!(refusal.load(Ordering::Relaxed), expected);
    }
}
