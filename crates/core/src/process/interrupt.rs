//! The signals that end a job: SIGINT, SIGTERM, SIGHUP and SIGQUIT. On Windows: Ctrl-C, Ctrl-Break, and the
//! ends of the console and of the system.

use std::io;

use super::system::Signals;
use crate::error::{Error, Kind};

/// A signal that ends a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, or Ctrl-C on Windows.
    Int,
    /// SIGTERM, or the end of the system on Windows.
    Term,
    /// SIGHUP, or the end of the console on Windows.
    Hup,
    /// SIGQUIT, or Ctrl-Break on Windows.
    Quit,
}

/// The signals that this process has received since [`Interrupt::listen`].
///
/// Each signal reaches one caller: the first that waits, even if nobody was waiting when the signal arrived.
/// Two slots let a second caller learn about the signal:
///
/// - *pending*: a signal that the next caller receives before any new one. [`Interrupt::redeliver`] fills
///   this slot. `jobpass exec` needs it: one caller passes the signal on to the command, and a second one
///   must revoke the command's token in less time. [`Interrupt::discard_redelivered`] empties the slot.
/// - *handled*: the last signal that a caller has received. [`Interrupt::take_handled`] empties this slot and
///   returns the signal. A function calls it after a call that may have received a signal, such as a
///   revocation.
pub struct Interrupt {
    signals: Signals,
    pending: Option<Signal>,
    handled: Option<Signal>,
}

impl Interrupt {
    /// Starts to listen. From now on, no [`Signal`] ends the process. Exception: after the end of the console
    /// or of the system, Windows ends the process within seconds.
    ///
    /// # Errors
    /// If the kernel refuses the handler.
    pub fn listen() -> Result<Self, Error> {
        Ok(Self {
            signals: Signals::listen().map_err(|error| cannot_listen(&error))?,
            pending: None,
            handled: None,
        })
    }

    /// Waits for the next signal.
    pub async fn signal(&mut self) -> Signal {
        let signal = match self.pending.take() {
            Some(signal) => signal,
            None => self.signals.next().await,
        };
        self.handled = Some(signal);
        signal
    }

    /// Waits for the next signal, and returns it as a failure.
    pub async fn wait(&mut self) -> Error {
        failure(self.signal().await)
    }

    /// Runs `work` until it ends or a signal arrives. The next caller also receives that signal.
    ///
    /// # Errors
    /// As `work`, or if a signal arrives.
    pub async fn run_until_signal<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let signal = tokio::select! {
            signal = self.signal() => signal,
            done = work => return done,
        };
        self.redeliver(signal);
        Err(failure(signal))
    }

    /// Delivers `signal` to the next caller, although another caller has received it.
    pub fn redeliver(&mut self, signal: Signal) {
        self.pending = Some(signal);
    }

    /// Discards the signal that [`Interrupt::redeliver`] left, unless a caller has received it.
    pub fn discard_redelivered(&mut self) {
        self.pending = None;
    }

    /// The last signal that a caller has received since the last call of this function.
    pub fn take_handled(&mut self) -> Option<Signal> {
        self.handled.take()
    }
}

/// The error if the kernel refuses a signal handler.
pub fn cannot_listen(error: &io::Error) -> Error {
    Error::new(Kind::Internal, format!("cannot listen for signals: {error}"))
        .help("check this machine's limit for open files")
}

fn failure(signal: Signal) -> Error {
    let (kind, what) = match signal {
        Signal::Int => (Kind::Interrupted, "interrupted"),
        Signal::Term | Signal::Hup | Signal::Quit => (Kind::Terminated, "terminated"),
    };
    Error::new(kind, format!("{what} ({})", signal.name()))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Signal::Int, "interrupted (SIGINT)", 130)]
    #[case(Signal::Term, "terminated (SIGTERM)", 143)]
    #[case(Signal::Hup, "terminated (SIGHUP)", 143)]
    #[case(Signal::Quit, "terminated (SIGQUIT)", 143)]
    #[tokio::test]
    async fn a_signal_is_a_failure_with_its_exit_code(
        #[case] signal: Signal,
        #[case] text: &str,
        #[case] exit_code: u8,
    ) {
        let mut interrupt = Interrupt::listen().expect("handlers");
        interrupt.redeliver(signal);
        let error = interrupt.wait().await;
        assert_eq!((error.message(), error.kind().exit_code()), (text, exit_code));
    }

    #[tokio::test]
    async fn a_signal_that_a_caller_received_is_known_once_to_the_one_above() {
        let mut interrupt = Interrupt::listen().expect("handlers");
        assert_eq!(interrupt.take_handled(), None);
        interrupt.redeliver(Signal::Quit);
        interrupt.wait().await;
        assert_eq!(interrupt.take_handled(), Some(Signal::Quit));
        assert_eq!(interrupt.take_handled(), None);
    }

    #[tokio::test]
    async fn a_signal_ends_the_work_and_reaches_the_next_caller() {
        let mut interrupt = Interrupt::listen().expect("handlers");
        interrupt.redeliver(Signal::Term);
        let ended = interrupt.run_until_signal(pending::<Result<(), Error>>()).await;
        assert_eq!(ended.map_err(|error| error.kind()), Err(Kind::Terminated));
        assert_eq!(interrupt.signal().await, Signal::Term);
    }

    #[tokio::test]
    async fn a_signal_that_is_discarded_reaches_no_caller() {
        let mut interrupt = Interrupt::listen().expect("handlers");
        interrupt.redeliver(Signal::Term);
        interrupt.discard_redelivered();
        assert!(interrupt.run_until_signal(ready(Ok(()))).await.is_ok());
    }
}
