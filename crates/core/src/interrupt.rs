//! SIGINT, SIGTERM and SIGHUP, from the moment they are listened for.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Kind};

/// Remembers a signal that came while nobody waited.
pub struct Interrupt {
    int: Signal,
    term: Signal,
    hup: Signal,
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
        })
    }

    /// Resolves at the first signal, to the failure that it is.
    pub async fn wait(&mut self) -> Error {
        tokio::select! {
            _ = self.int.recv() => Error::new(Kind::Interrupted, "interrupted (SIGINT)"),
            _ = self.term.recv() => Error::new(Kind::Terminated, "terminated (SIGTERM)"),
            _ = self.hup.recv() => Error::new(Kind::Terminated, "terminated (SIGHUP)"),
        }
    }
}
