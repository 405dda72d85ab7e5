//! The time that jobpass may spend on a piece of work.

use std::time::Duration;

use tokio::time::Instant;

/// The greatest number of attempts at one call. [`Budget::to_the_end`] lifts it where giving up would do
/// harm.
const ATTEMPTS: u32 = 4;

/// The time limit of a piece of work, retries included.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub(super) total: Duration,
    until: Instant,
    pub(super) attempts: u32,
}

impl Budget {
    /// A budget that starts now, with at most four attempts at each call.
    pub fn new(total: Duration) -> Self {
        Self {
            total,
            until: Instant::now() + total,
            attempts: ATTEMPTS,
        }
    }

    /// A budget that starts now, and allows attempts until it ends. Revoking uses it, because giving up would
    /// leave a token alive.
    pub fn to_the_end(total: Duration) -> Self {
        Self {
            attempts: u32::MAX,
            ..Self::new(total)
        }
    }

    /// The same budget, but at most `longest` from now on.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_of_a_budget_ends_with_the_whole() {
        let seconds = Duration::from_secs;
        let budget = Budget::new(seconds(10));
        tokio::time::advance(seconds(4)).await;
        assert_eq!(budget.left(), seconds(6));
        assert_eq!(budget.at_most(seconds(2)).left(), seconds(2));
        assert_eq!(budget.at_most(seconds(60)).left(), seconds(6));
        assert_eq!(budget.at_most(seconds(2)).attempts, budget.attempts);
        tokio::time::advance(seconds(7)).await;
        assert_eq!(budget.left(), Duration::ZERO);
    }
}
