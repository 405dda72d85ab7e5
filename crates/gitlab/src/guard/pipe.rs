//! The named pipe for requests to a guard. The process that sends a request waits until the guard has carried
//! it out, or until the time limit of that process is over.
//!
//! The guard reads the pipe while it lives. If the guard closes its end, or if somebody kills the guard, the
//! kernel tells the processes that have written to the pipe.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::{Errno, retry_on_intr},
    process::geteuid,
};
use tokio::net::unix::pipe::Receiver;

use crate::named_pipe;

/// A request to a guard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// The shell is about to end.
    Over,
    /// The token is no longer needed.
    Revoke,
}

impl Request {
    const OVER: u8 = b'o';
    const REVOKE: u8 = b'r';

    fn byte(self) -> u8 {
        match self {
            Self::Over => Self::OVER,
            Self::Revoke => Self::REVOKE,
        }
    }
}

/// The guard's end of the pipe. Dropping it removes the pipe and lets the waiting processes go on.
pub(super) struct Pipe {
    path: PathBuf,
    receiver: Option<Receiver>,
    /// The pipe before this one, while it may hold a request that the guard has not carried out.
    earlier: Option<(Receiver, Option<Request>)>,
}

impl Pipe {
    /// Creates the pipe. If that fails, for example on a file system without pipes, no process can send a
    /// request, but the guard still notices the end of the shell.
    pub(super) fn make(path: PathBuf) -> Self {
        let receiver = receiver(&path).ok();
        Self {
            path,
            receiver,
            earlier: None,
        }
    }

    /// Waits for the next request. Without a pipe, this function waits for ever.
    pub(super) async fn request(&mut self) -> Request {
        if let Some(request) = self.earlier.as_mut().and_then(|(_, request)| request.take()) {
            return request;
        }
        loop {
            let Some(receiver) = &self.receiver else {
                return std::future::pending().await;
            };
            match receiver.readable().await.and_then(|()| read(receiver)) {
                Ok(Some(request)) => return request,
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.close(),
            }
        }
    }

    /// Lets the waiting processes go on, and listens at a new pipe. The kernel wakes those processes only
    /// when the guard closes the pipe that they have written to.
    pub(super) fn let_go(&mut self) {
        // The next pipe must exist before the processes go on: if no process reads a pipe, its guard counts
        // as killed.
        let next = receiver(&self.path);
        if next.is_err() {
            self.close();
        }
        let before = std::mem::replace(&mut self.receiver, next.ok());
        // No process finds the earlier pipe any more. A process that has sent a request into it still waits.
        self.earlier = before.and_then(|before| match read(&before) {
            Ok(Some(request)) => Some((before, Some(request))),
            _ => None,
        });
    }

    /// Lets the waiting processes go on, and stops listening.
    pub(super) fn close(&mut self) {
        let _ = fs::remove_file(&self.path);
        self.receiver = None;
        self.earlier = None;
    }
}

/// The next request in a pipe. `None` for a byte that is not a request.
fn read(receiver: &Receiver) -> io::Result<Option<Request>> {
    let mut byte = [0];
    receiver.try_read(&mut byte)?;
    Ok(match byte[0] {
        Request::OVER => Some(Request::Over),
        Request::REVOKE => Some(Request::Revoke),
        _ => None,
    })
}

/// Creates a pipe that has a reader before it has its name. The pipe replaces an earlier one.
fn receiver(path: &Path) -> io::Result<Receiver> {
    let unnamed = path.with_extension("guard-to-be");
    let _ = fs::remove_file(&unnamed);
    named_pipe::make(&unnamed)?;
    // The guard opens the pipe for writing as well. Otherwise, after a process has opened and closed the
    // pipe, the guard would read the end of the file.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
        .open(&unnamed);
    let receiver = file.and_then(Receiver::from_file);
    let receiver = receiver.and_then(|receiver| fs::rename(&unnamed, path).map(|()| receiver));
    receiver.inspect_err(|_| drop(fs::remove_file(&unnamed)))
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sends a request to the guards that read these pipes. Waits until each guard has carried it out, or until
/// `patience` has passed. Returns the pipes of the guards that have not carried it out. If no process reads a
/// pipe, somebody killed its guard, and this function removes the pipe.
pub(super) fn tell(
    pipes: impl Iterator<Item = PathBuf>,
    request: Request,
    patience: Duration,
) -> Vec<PathBuf> {
    let told = pipes.map(|path| {
        let writer =
            writer(&path).and_then(|mut writer| writer.write_all(&[request.byte()]).map(|()| writer));
        (path, writer)
    });
    // This sends the request to all guards before the first wait, so that they work at the same time.
    let told = told.collect::<Vec<_>>();
    let begun = Instant::now();
    let mut left_undone = Vec::new();
    for (path, writer) in told {
        let left = Timespec::try_from(patience.saturating_sub(begun.elapsed())).ok();
        // Even without a flag, `poll` reports that the other end has closed.
        let is_late = writer.is_ok_and(|writer| {
            let closed =
                retry_on_intr(|| poll(&mut [PollFd::new(&writer, PollFlags::empty())], left.as_ref()));
            closed == Ok(0)
        });
        let is_unread = is_unread(&path);
        if is_unread {
            let _ = fs::remove_file(&path);
        }
        if is_late || is_unread {
            left_undone.push(path);
        }
    }
    left_undone
}

fn is_unread(path: &Path) -> bool {
    let is_pipe = path
        .symlink_metadata()
        .is_ok_and(|file| file.file_type().is_fifo());
    // The kernel answers ENXIO if no process has the pipe open for reading.
    is_pipe && writer(path).is_err_and(|error| error.raw_os_error() == Some(Errno::NXIO.raw_os_error()))
}

/// Writes text for a person into the pipe of a log filter, if a filter reads it.
pub(super) fn say(pipe: &Path, text: &str) {
    let _ = writer(pipe).and_then(|mut writer| writer.write_all(text.as_bytes()));
}

/// Opens a pipe for writing. Fails at once if no process reads the pipe, or if it is not a pipe of this user.
fn writer(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    // Only a pipe of this user can have a guard at its other end.
    match metadata.file_type().is_fifo() && metadata.uid() == geteuid().as_raw() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    }

    #[test]
    fn the_caller_waits_until_the_guard_has_done_its_work() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.guard");
        runtime().block_on(async {
            let mut pipe = Pipe::make(path.clone());
            let asked = path.clone();
            let asking = thread::spawn(move || tell([asked].into_iter(), Request::Over, PATIENCE));
            assert_eq!(pipe.request().await, Request::Over);
            assert!(!asking.is_finished(), "before the guard has done its work");
            pipe.let_go();
            assert!(asking.join().expect("it goes on").is_empty());

            let asked = path.clone();
            let asking = thread::spawn(move || tell([asked].into_iter(), Request::Revoke, PATIENCE));
            assert_eq!(pipe.request().await, Request::Revoke);
            drop(pipe);
            assert!(asking.join().expect("it goes on").is_empty());
        });
        assert!(!path.exists());
    }

    /// A request must not get lost if it arrives just before the guard changes to the next pipe.
    #[test]
    fn no_request_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.guard");
        runtime().block_on(async {
            let mut pipe = Pipe::make(path.clone());
            assert!(!is_unread(&path));
            let asked = path.clone();
            let asking = thread::spawn(move || tell([asked].into_iter(), Request::Over, PATIENCE));
            assert_eq!(pipe.request().await, Request::Over);
            let mut late = writer(&path).expect("read");
            late.write_all(&[Request::REVOKE]).expect("sent");
            pipe.let_go();
            assert_eq!(pipe.request().await, Request::Revoke);
            let open = |writer: &File| {
                poll(
                    &mut [PollFd::new(writer, PollFlags::empty())],
                    Some(&Timespec::default()),
                )
            };
            assert_eq!(open(&late), Ok(0), "it waits until the guard has revoked");
            drop(pipe);
            assert_eq!(open(&late), Ok(1));
            assert!(asking.join().expect("it goes on").is_empty());
        });
    }

    #[test]
    fn a_late_guard_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.guard");
        let _runtime = runtime();
        let _guard = _runtime.enter();
        let _pipe = Pipe::make(path.clone());
        let late = tell(
            [path.clone()].into_iter(),
            Request::Over,
            Duration::from_millis(1),
        );
        assert_eq!(late, std::slice::from_ref(&path));
        assert!(path.exists());
    }

    /// When somebody kills a guard, the kernel closes its end of the pipe. The pipe keeps its name.
    #[test]
    fn a_guard_that_is_killed_while_it_works_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.guard");
        runtime().block_on(async {
            let mut pipe = Pipe::make(path.clone());
            let asked = path.clone();
            let asking = thread::spawn(move || tell([asked].into_iter(), Request::Over, PATIENCE));
            assert_eq!(pipe.request().await, Request::Over);
            pipe.receiver = None;
            assert_eq!(asking.join().expect("it goes on"), [path]);
        });
    }

    #[test]
    fn nobody_waits_for_a_guard_that_was_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.guard");
        named_pipe::make(&path).expect("made");
        let told = || tell([path.clone()].into_iter(), Request::Over, PATIENCE);
        assert_eq!(told(), std::slice::from_ref(&path));
        assert!(!path.exists());
        fs::write(&path, "not a pipe").expect("written");
        assert!(told().is_empty());
        assert_eq!(fs::read_to_string(&path).expect("read"), "not a pipe");
    }
}
