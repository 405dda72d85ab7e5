//! What the command prints, masked.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Write as _, pipe, stderr, stdout},
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    thread::{self, JoinHandle},
};

use jobpass_core::{
    Error, Kind, anchor,
    mask::{self, Masker},
    text::harmless,
    token::Token,
};
use rustix::fs::fstat;

/// The streams that the command is given.
pub(super) struct Streams {
    pub(super) output: Stdio,
    pub(super) error: Stdio,
}

/// The threads that mask them.
pub(super) struct Masked(Vec<Stream>);

struct Stream {
    writer: PipeWriter,
    mark: String,
    thread: JoinHandle<io::Result<()>>,
}

impl Masked {
    /// Puts a masker in front of standard output and standard error. Where both are one, so are they, and what is written
    /// to them keeps its order.
    pub(super) fn start(secrets: &[Token]) -> Result<(Self, Streams), Error> {
        let masker = Masker::new(secrets.iter().map(Token::expose));
        Self::streams(&masker).map_err(|error| cannot_mask(&error))
    }

    fn streams(masker: &Masker) -> io::Result<(Self, Streams)> {
        let mut masked = Self(Vec::new());
        let output = masked.add(masker, stdout().as_fd().try_clone_to_owned()?)?;
        let error = if is_same(stdout(), stderr()) {
            output.try_clone()?
        } else {
            masked.add(masker, stderr().as_fd().try_clone_to_owned()?)?
        };
        Ok((
            masked,
            Streams {
                output: output.into(),
                error: error.into(),
            },
        ))
    }

    fn add(&mut self, masker: &Masker, to: OwnedFd) -> io::Result<PipeWriter> {
        let (reader, writer): (PipeReader, _) = pipe()?;
        let mark = anchor::random_name().map_err(|error| io::Error::other(error.to_string()))?;
        let (masker, name, mut to) = (masker.clone(), mark.clone(), File::from(to));
        let thread = thread::spawn(move || mask::copy_to_mark(masker, reader, &name, &mut to));
        let for_command = writer.try_clone()?;
        self.0.push(Stream { writer, mark, thread });
        Ok(for_command)
    }

    /// Waits until all is written that the command has printed, but not for what it left in the background.
    pub(super) fn finish(self) -> Result<(), Error> {
        let mut result = Ok(());
        for Stream {
            mut writer,
            mark,
            thread,
        } in self.0
        {
            // Nobody reads any more if what it reads could not be written: the thread says so.
            let _ = writer.write_all(mask::end_mark(&mark).as_bytes());
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
