//! The time that a piece of work may take.

use std::time::Duration;

use tokio::time::Instant;

/// Attempts at one call, the first included, where giving up harms nobody.
const ATTEMPTS: u32 = 4;

/// The time that a piece of work may take in all, retries included.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub(super) total: Duration,
    until: Instant,
    pub(super) attempts: u32,
}

impl Budget {
    /// Starts to run now; at most four attempts at a call.
    pub fn new(total: Duration) -> Self {
        Self {
            total,
            until: Instant::now() + total,
            attempts: ATTEMPTS,
        }
    }

    /// Starts to run now, and attempts go on until it ends: for revoking, where giving up leaves a token alive.
    pub fn to_the_end(total: Duration) -> Self {
        Self {
            attempts: u32::MAX,
            ..Self::new(total)
        }
    }

    /// The same, but no longer than `longest` from now on.
    pub(crate) fn at_most(&self, longest: Duration) -> Self {
        Self {
            until: self.until.min(Instant::now() + longest),
            ..*self
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
