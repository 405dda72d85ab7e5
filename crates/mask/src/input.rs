//! The pipe or terminal from which a masker reads a log.

use std::io::Read;

/// An input with a log, such as the reading end of a pipe.
pub trait Input: Read {
    /// Waits for more input. Returns `true` if none comes for 2 ms.
    ///
    /// On Windows, no function of the standard library can wait until a pipe has input. So this returns
    /// `true` at once, and each read counts as a pause.
    fn pauses(&self) -> bool;

    /// Discards the rest of the input, so that processes that still write to it can continue.
    ///
    /// On Unix, a write to a pipe without a reader ends the process that writes (SIGPIPE). So if a process
    /// still has the pipe open after 100 ms, this starts the program `cat` as a reader. On Windows, this does
    /// nothing, and the writes fail.
    fn discard_the_rest(self)
    where
        Self: Sized;
}

#[cfg(unix)]
mod unix {
    use std::{
        io::Read,
        os::fd::AsFd,
        process::{Command, Stdio},
        time::Duration,
    };

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        io::retry_on_intr,
    };

    use super::Input;

    /// The time without input after which [`Input::pauses`] returns `true`.
    const PAUSE: Duration = Duration::from_millis(2);

    /// The time that the last writer has to close the pipe. If a process has the pipe open for longer, `cat`
    /// reads it.
    const LETTING_GO: Duration = Duration::from_millis(100);

    impl<I: Read + AsFd> Input for I {
        fn pauses(&self) -> bool {
            !happens(self, PollFlags::IN, PAUSE)
        }

        fn discard_the_rest(self) {
            // `poll` reports the end of the pipe (POLLHUP) although this asks for no event.
            if happens(&self, PollFlags::empty(), LETTING_GO) {
                return;
            }
            let Ok(pipe) = self.as_fd().try_clone_to_owned() else {
                return;
            };
            let mut reader = Command::new("cat");
            // On a system without `cat`, the processes that still write lose their reader.
            let _ = reader
                .stdin(pipe)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
        }
    }

    /// Waits for an event or the end of the input. Returns `false` only if neither comes within `time`.
    fn happens(input: &impl AsFd, event: PollFlags, time: Duration) -> bool {
        let mut state = [PollFd::new(input, event)];
        let happened = Timespec::try_from(time).map(|time| retry_on_intr(|| poll(&mut state, Some(&time))));
        !matches!(happened, Ok(Ok(0)))
    }
}

#[cfg(windows)]
impl<I: Read + std::os::windows::io::AsHandle> Input for I {
    fn pauses(&self) -> bool {
        true
    }

    fn discard_the_rest(self) {}
}
