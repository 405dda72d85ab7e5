//! What the command prints, masked.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Write, pipe, stderr, stdout},
    os::fd::AsFd,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use jobpass_core::{Error, Kind, names, text::harmless};
use jobpass_mask::Masker;
use rustix::fs::fstat;

/// The streams that the command is given.
pub(crate) struct Streams {
    pub(crate) output: Stdio,
    pub(crate) error: Stdio,
}

/// The threads that mask them.
pub(crate) struct Masked(Vec<Stream>);

struct Stream {
    writer: PipeWriter,
    mark: String,
    thread: JoinHandle<io::Result<()>>,
}

impl Masked {
    /// Puts a masker in front of standard output and standard error. Where both are one, so are they, and what is written
    /// to them keeps its order.
    pub(crate) fn start(masker: &Masker) -> Result<(Self, Streams), Error> {
        let error = (!is_same(stdout(), stderr())).then(stderr_itself);
        let output = stdout().as_fd().try_clone_to_owned().map(File::from);
        Self::streams(masker, output, error).map_err(|error| cannot_mask(&error))
    }

    /// The same in front of standard error alone, for both; it notices in `seen` if the command says that it is not let in.
    pub(crate) fn start_watched(masker: &Masker, seen: Seen) -> Result<(Self, Streams), Error> {
        let output = stderr_itself().map(|to| Watched {
            to,
            seen,
            word: Vec::new(),
        });
        Self::streams(masker, output, None).map_err(|error| cannot_mask(&error))
    }

    /// Without `error`, all goes to `output`.
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
        let mark = names::random_name().map_err(|error| io::Error::other(error.to_string()))?;
        let (masker, name) = (masker.clone(), mark.clone());
        let thread = thread::spawn(move || jobpass_mask::copy_to_mark(masker, reader, &name, &mut to));
        let for_command = writer.try_clone()?;
        self.0.push(Stream { writer, mark, thread });
        Ok(for_command)
    }

    /// Waits until all is written that the command has printed, but not for what it left in the background. It can be given up:
    /// perhaps nobody reads it.
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
            // Nobody reads any more if what it reads could not be written: the thread says so.
            let _ = writer.write_all(jobpass_mask::end_mark(&mark).as_bytes());
            drop(writer);
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a defect")));
            // Whoever does not read to the end wants no more.
            if let Err(error) = ended
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                result = Err(cannot_mask(&error));
            }
        }
        result
    }
}

fn stderr_itself() -> io::Result<File> {
    stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// Whether something was seen.
pub(crate) type Seen = Arc<AtomicBool>;

/// What programs say whose token is refused, in small letters: `Unauthorized` alone in Kubernetes.
const REFUSALS: [&[u8]; 3] = [b"unauthorized", b"unauthenticated", b"401"];

/// Notices [`REFUSALS`] as words of what passes.
struct Watched {
    to: File,
    seen: Seen,
    /// The word so far, as much of it as matters.
    word: Vec<u8>,
}

impl Write for Watched {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for byte in text {
            if !byte.is_ascii_alphanumeric() {
                self.end_of_word();
            } else if self.word.len() < 32 {
                self.word.push(byte.to_ascii_lowercase());
            }
        }
        self.to.write_all(text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Watched {
    fn end_of_word(&mut self) {
        if REFUSALS.contains(&&*self.word) {
            self.seen.store(true, Ordering::Relaxed);
        }
        self.word.clear();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end_of_word();
    }
}

fn cannot_mask(error: &io::Error) -> Error {
    let why = harmless(&error.to_string());
    Error::new(
        Kind::Deliver,
        format!("cannot mask what the command prints: {why}"),
    )
}

fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
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
    fn a_refusal_is_a_word(#[case] parts: &[&str], #[case] expected: bool) {
        let seen = Seen::default();
        let mut watched = Watched {
            to: File::create("/dev/null").expect("it is there"),
            seen: Seen::clone(&seen),
            word: Vec::new(),
        };
        for part in parts {
            watched.write_all(part.as_bytes()).expect("written");
        }
        drop(watched);
        assert_eq!(seen.load(Ordering::Relaxed), expected);
    }
}
