//! Removes a credential from the disk, after the runner has read it into memory.
//!
//! After a step, the runner reads the file of the step's state. It keeps that file until the job ends, so
//! every later step can read the file (`FileCommandManager.cs`). So main starts a process that waits until
//! the runner has read the file, and then overwrites the credential in it.
//!
//! Of the systems that jobpass runs on, only Linux tells a process that another process has read a file. On
//! the others, the credential stays in the file. jobpass lets only this user read the file, if the file
//! system can.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jobpass_core::{
    Error, Kind,
    process::{beside, files},
    text::harmless,
};

/// The verb of the process that overwrites the credential.
pub(crate) const VERB: &str = "forget";

/// The character that replaces each byte of the credential.
pub(crate) const FORGOTTEN: &str = "*";

/// The position of a credential in a file, in bytes.
#[derive(Debug, PartialEq)]
struct Place {
    file: PathBuf,
    from: u64,
    length: usize,
}

/// The name of the folder in which GitHub's own runner keeps the files of a step. That runner reads each of
/// these files once. Other runners (`act`) may read them later or again.
const FOLDER: &str = "_runner_file_commands";

/// Starts the process that overwrites `secret` in `file`. The process does not get the secret itself. Does
/// nothing if the file does not contain the secret, on another system than Linux, or below another runner
/// than GitHub's.
pub(crate) fn start(file: &Path, secret: &str) -> io::Result<()> {
    if file.parent().and_then(Path::file_name) != Some(FOLDER.as_ref()) {
        return Ok(());
    }
    let Some(place) = Place::find(file, secret)? else {
        return Ok(());
    };
    match cfg!(target_os = "linux") {
        true => beside::start(&[VERB], &place.line(std::process::id())),
        false => Ok(()),
    }
}

/// The time limit for the runner to read the file. Usually, the runner reads it some milliseconds after the
/// step.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the runner has read the file, and overwrites the credential.
///
/// # Errors
/// If the standard input does not name the file and the position, if the kernel cannot report that the runner
/// reads the file, or if jobpass cannot overwrite the credential.
pub(crate) fn run(input: impl io::Read, output: impl io::Write) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Internal, harmless(&error.to_string()));
    let line = io::read_to_string(input).map_err(failed)?;
    let (parent, place) = Place::parse(&line).ok_or_else(|| {
        Error::new(
            Kind::Internal,
            "standard input does not name the file \
            and the position of the credential",
        )
    })?;
    forget(&place, parent, PATIENCE, || beside::ready(output)).map_err(failed)
}

/// Waits for the runner to read the file, and overwrites the credential. A fast runner may have read the file
/// before this process began to watch it. So this also overwrites the credential if `patience` passes without
/// a read.
fn forget(place: &Place, parent: u32, patience: Duration, ready: impl FnOnce()) -> io::Result<()> {
    wait::until_read(&place.file, parent, patience, ready)?;
    place.overwrite()
}

impl Place {
    fn find(file: &Path, secret: &str) -> io::Result<Option<Self>> {
        let content = fs::read(file)?;
        let mut places = content.windows(secret.len().max(1));
        let from = places.position(|bytes| bytes == secret.as_bytes());
        Ok(from.map(|from| Self {
            file: file.to_owned(),
            from: from as u64,
            length: secret.len(),
        }))
    }

    fn line(&self, parent: u32) -> String {
        format!("{parent} {} {} {}", self.from, self.length, self.file.display())
    }

    fn parse(line: &str) -> Option<(u32, Self)> {
        let mut words = line.splitn(4, ' ');
        let parent = words.next()?.parse().ok()?;
        let place = Self {
            from: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok()?,
            file: words.next()?.into(),
        };
        Some((parent, place))
    }

    /// Overwrites the credential. If the file is shorter than expected, it is another file, and stays as it
    /// is.
    fn overwrite(&self) -> io::Result<()> {
        files::overwrite(&self.file, self.from, FORGOTTEN.repeat(self.length).as_bytes())
    }
}

#[cfg(target_os = "linux")]
mod wait {
    use std::{io, mem::MaybeUninit, path::Path, time::Duration};

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        fs::inotify::{self, CreateFlags, Reader, WatchFlags},
        io::retry_on_intr,
        process::{PidfdFlags, getppid, pidfd_open},
    };

    /// Waits until another process reads `file` after the process `parent` has ended, for at most `patience`
    /// after that end. An earlier reader does not count, because it may be a virus scanner.
    pub(super) fn until_read(
        file: &Path,
        parent: u32,
        patience: Duration,
        ready: impl FnOnce(),
    ) -> io::Result<()> {
        let reads = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&reads, file, WatchFlags::CLOSE_NOWRITE)?;
        // If the parent has ended, its id may belong to another process by now.
        let parent = getppid().filter(|pid| pid.as_raw_nonzero().get().unsigned_abs() == parent);
        let parent = parent
            .map(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .transpose()?;
        ready();
        if let Some(parent) = parent {
            retry_on_intr(|| poll(&mut [PollFd::new(&parent, PollFlags::IN)], None))?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut before = Reader::new(&reads, &mut buffer);
            // A read before the end of the step was not the runner's.
            while before.next().is_ok() {}
        }
        let patience = Timespec::try_from(patience).ok();
        let mut read = [PollFd::new(&reads, PollFlags::IN)];
        retry_on_intr(|| poll(&mut read, patience.as_ref()))?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod wait {
    use std::{io, path::Path, time::Duration};

    pub(super) fn until_read(_: &Path, _: u32, _: Duration, _: impl FnOnce()) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_overwritten_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("save state");
        fs::write(&file, "a<<X\nsecret\nX\nb<<Y\nother\nY\n").expect("written");
        let place = Place::find(&file, "secret").expect("read").expect("a place");
        let line = place.line(7);
        assert!(!line.contains("secret"), "{line}");
        let (parent, place) = Place::parse(&line).expect("a place");
        assert_eq!(parent, 7);
        place.overwrite().expect("written");
        let text = fs::read_to_string(&file).expect("read");
        assert_eq!(text, "a<<X\n******\nX\nb<<Y\nother\nY\n");
        assert_eq!(Place::find(&file, "secret").expect("read"), None);

        fs::write(&file, "short").expect("written");
        place.overwrite().expect("left alone");
        assert_eq!(fs::read_to_string(&file).expect("read"), "short");
    }

    /// In this test, the runner has read the file before any process watched it.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_read_that_nobody_saw_leaves_no_credential() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("save_state");
        fs::write(&file, "a<<X\nsecret\nX\n").expect("written");
        let place = Place::find(&file, "secret").expect("read").expect("a place");
        forget(&place, 0, Duration::from_millis(1), || ()).expect("overwritten");
        assert_eq!(fs::read_to_string(&file).expect("read"), "a<<X\n******\nX\n");
    }
}
