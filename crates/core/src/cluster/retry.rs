//! Decides whether and when jobpass repeats a call.

use std::time::Duration;

use super::denial::{self, Denial};

/// The longest wait between two attempts, without its random part and without a Retry-After.
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);
/// The longest time for which jobpass waits if a server sends a Retry-After.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Returns the next step for a person if the answer is transient: another attempt may get another answer.
/// `None` if the answer is final.
pub(super) fn transient(status: u16, denial: Option<Denial<'_>>) -> Option<&'static str> {
    match (status, denial) {
        (_, Some(Denial::Unanswered(_))) => Some(denial::UNANSWERED),
        // A webhook that refuses once refuses again, whatever status it uses.
        (_, Some(_)) => None,
        (429 | 500 | 502 | 503 | 504, None) => {
            Some("the API server cannot answer at the moment: try again later")
        }
        (_, None) => None,
    }
}

/// The wait after an attempt. `attempt` is 1 for the first one.
pub(super) fn pause(attempt: u32, retry_after: Option<Duration>) -> Duration {
    retry_after
        .unwrap_or_else(|| backoff(attempt))
        .min(LONGEST_RETRY_AFTER)
}

/// The wait doubles from 0.25 s to at most 4 s. jobpass adds a random part of up to half, so that the jobs
/// of one pipeline do not repeat their calls at the same moment.
fn backoff(attempt: u32) -> Duration {
    let mut byte = [0];
    // Without random bytes, the waits only lack their random part.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
    // The exponent has a limit, so that the multiplication does not overflow.
    let base = (Duration::from_millis(250) * 2_u32.pow((attempt - 1).min(8))).min(LONGEST_BACKOFF);
    base + base.mul_f32(f32::from(byte[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(200, None, false)]
    #[case(400, None, false)]
    #[case(401, None, false)]
    #[case(403, None, false)]
    #[case(404, None, false)]
    #[case(409, None, false)]
    #[case(422, None, false)]
    #[case::too_many_requests(429, None, true)]
    #[case(500, None, true)]
    #[case(501, None, false)]
    #[case(502, None, true)]
    #[case(503, None, true)]
    #[case(504, None, true)]
    #[case::a_webhook_refuses_with_any_status(500, Some(Denial::Webhook("w")), false)]
    #[case::a_webhook_is_down(500, Some(Denial::Unanswered("w")), true)]
    #[case(403, Some(Denial::Quota), false)]
    fn which_answers_may_be_other_ones_soon(
        #[case] status: u16,
        #[case] denial: Option<Denial<'_>>,
        #[case] expected: bool,
    ) {
        assert_eq!(transient(status, denial).is_some(), expected);
    }

    #[rstest]
    #[case(1, None, 250, 375)]
    #[case(2, None, 500, 750)]
    #[case(3, None, 1000, 1500)]
    #[case(5, None, 4000, 6000)]
    #[case(u32::MAX, None, 4000, 6000)]
    #[case::the_server_says(1, Some(0), 0, 0)]
    #[case::the_server_says(4, Some(7), 7000, 7000)]
    #[case::the_server_asks_too_much(1, Some(3600), 10_000, 10_000)]
    fn how_long_it_waits(
        #[case] attempt: u32,
        #[case] retry_after: Option<u64>,
        #[case] least: u64,
        #[case] most: u64,
    ) {
        let pause = pause(attempt, retry_after.map(Duration::from_secs));
        assert!((least..=most).contains(&(pause.as_millis() as u64)), "{pause:?}");
    }
}
