//! SIGINT, SIGTERM, SIGHUP and SIGQUIT, from the moment they are listened for.

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

use crate::error::{Error, Kind};

/// Remembers a signal that came while nobody waited.
pub struct Interrupt {
    int: unix::Signal,
    term: unix::Signal,
    hup: unix::Signal,
    quit: unix::Signal,
    again: Option<Signal>,
    last: Option<Signal>,
}

impl Interrupt {
    /// Starts listening: from now on none of them ends the process by itself.
    ///
    /// # Errors
    /// If the kernel refuses the handler.
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Error::new(Kind::Internal, format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            int: listen(SignalKind::interrupt())?,
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
            again: None,
            last: None,
        })
    }

    /// Has the next who waits see a signal that was only the first to be obeyed by somebody else.
    pub fn again(&mut self, signal: Signal) {
        self.again = Some(signal);
    }

    /// Forgets what was to be seen again.
    pub fn forget(&mut self) {
        self.again = None;
    }

    /// Does `work` unless a signal comes, which whoever waits next sees too.
    ///
    /// # Errors
    /// As `work`, or the failure that the signal is.
    pub async fn unless<T>(&mut self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let signal = tokio::select! {
            signal = self.signal() => signal,
            done = work => return done,
        };
        self.again(signal);
        let interrupted = self.wait().await;
        self.again(signal);
        Err(interrupted)
    }

    /// Resolves at the first signal, to the failure that it is.
    pub async fn wait(&mut self) -> Error {
        match self.signal().await {
            Signal::INT => Error::new(Kind::Interrupted, "interrupted (SIGINT)"),
            Signal::HUP => Error::new(Kind::Terminated, "terminated (SIGHUP)"),
            Signal::QUIT => Error::new(Kind::Terminated, "terminated (SIGQUIT)"),
            _ => Error::new(Kind::Terminated, "terminated (SIGTERM)"),
        }
    }

    /// Resolves at the first signal.
    pub async fn signal(&mut self) -> Signal {
        let signal = match self.again.take() {
            Some(signal) => signal,
            None => tokio::select! {
                _ = self.int.recv() => Signal::INT,
                _ = self.term.recv() => Signal::TERM,
                _ = self.hup.recv() => Signal::HUP,
                _ = self.quit.recv() => Signal::QUIT,
            },
        };
        self.last = Some(signal);
        signal
    }

    /// The signal that somebody else has obeyed since this was last asked, if any.
    pub fn obeyed(&mut self) -> Option<Signal> {
        self.last.take()
    }
}
