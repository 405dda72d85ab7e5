//! The time that the runner gives a job.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobpass_core::process::environment::Environment;

/// The time before the job's timeout at which the guard revokes the token. For a timeout of less than a
/// minute, it is a quarter of the timeout. At the timeout, a runner kills the whole container of the job, and
/// no process is left to revoke.
const MARGIN: Duration = Duration::from_secs(15);
/// The default of `RUNNER_AFTER_SCRIPT_TIMEOUT`, the time for `after_script`.
const AFTER_SCRIPT: Duration = Duration::from_secs(300);

/// The moment of the job's timeout.
#[derive(Clone, Copy)]
pub(crate) struct Timeout {
    at: Timestamp,
    margin: Duration,
}

impl Timeout {
    /// The timeout from the variables CI_JOB_TIMEOUT (gitlab-runner 15.7 and later) and CI_JOB_STARTED_AT
    /// (GitLab 13.10 and later). `None` if CI_JOB_TIMEOUT is not a positive number of seconds. Without
    /// a credible CI_JOB_STARTED_AT, the timeout counts from `now`.
    pub(crate) fn of(environment: &Environment, now: Timestamp) -> Option<Self> {
        let seconds = environment.get("CI_JOB_TIMEOUT")?.trim().parse::<i64>().ok()?;
        let timeout = SignedDuration::from_secs(seconds);
        let length = Duration::try_from(timeout)
            .ok()
            .filter(|length| !length.is_zero())?;
        let started = environment.get("CI_JOB_STARTED_AT");
        let started = started.and_then(|time| time.trim().parse::<Timestamp>().ok());
        // If the start is later than now, or the timeout has passed already, the clocks of GitLab and of this
        // machine differ. Then the timeout counts from now, because the job has certainly begun.
        let started = started.filter(|&started| {
            let age = now.duration_since(started);
            !age.is_negative() && age < timeout
        });
        Some(Self {
            at: started.unwrap_or(now).checked_add(timeout).ok()?,
            margin: MARGIN.min(length / 4),
        })
    }

    /// The time by which the guard revokes the token.
    pub(crate) fn deadline(self) -> Timestamp {
        self.at.checked_sub(self.margin).unwrap_or(self.at)
    }

    /// The time by which the guard has revoked the token, if the API server answers within a third of
    /// [`Self::margin`].
    pub(crate) fn revoked_by(self) -> Timestamp {
        let deadline = self.deadline();
        deadline.checked_add(self.margin / 3).unwrap_or(deadline)
    }

    /// The time that [`Self::deadline`] leaves before the timeout.
    pub(crate) fn margin(self) -> Duration {
        self.margin
    }

    /// The whole seconds that the job has left.
    pub(crate) fn seconds_left(self, now: Timestamp) -> u64 {
        let left = self.at.duration_since(now);
        left.as_secs().max(0).unsigned_abs()
    }
}

/// The time limit of `after_script`.
pub(crate) fn of_after_script(environment: &Environment) -> Duration {
    let given = environment.get("RUNNER_AFTER_SCRIPT_TIMEOUT");
    let given = given.and_then(|text| text.trim().parse::<SignedDuration>().ok());
    let given = given.and_then(|given| Duration::try_from(given).ok());
    given.unwrap_or(AFTER_SCRIPT)
}

/// The time from `now` until `then`. Zero if `then` has passed.
pub(crate) fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: &str = "2026-11-26T10:00:00Z";

    #[rstest]
    #[case::both(Some("3600"), Some("2026-11-26T09:50:00Z"), Some((3000, 15)))]
    #[case::an_offset(Some("3600"), Some("2026-11-26T10:50:00+01:00"), Some((3000, 15)))]
    #[case::only_the_length(Some("3600"), None, Some((3600, 15)))]
    #[case::only_the_beginning(None, Some("2026-11-26T09:50:00Z"), None)]
    #[case::neither(None, None, None)]
    #[case::a_short_job(Some("20"), Some(NOW), Some((20, 5)))]
    #[case::gitlab_s_clock_is_ahead(Some("600"), Some("2026-11-26T10:05:00Z"), Some((600, 15)))]
    #[case::gitlab_s_clock_is_behind(Some("600"), Some("2026-11-26T09:00:00Z"), Some((600, 15)))]
    #[case::nonsense(Some("1h"), Some(NOW), None)]
    #[case::negative(Some("-5"), Some(NOW), None)]
    #[case::zero(Some("0"), Some(NOW), None)]
    #[case::nonsense_of_a_beginning(Some("600"), Some("yesterday"), Some((600, 15)))]
    fn a_job_knows_its_timeout(
        #[case] timeout: Option<&str>,
        #[case] started: Option<&str>,
        #[case] expected: Option<(u64, u64)>,
    ) {
        let environment = Environment::default()
            .with("CI_JOB_TIMEOUT", timeout)
            .with("CI_JOB_STARTED_AT", started);
        let now = NOW.parse::<Timestamp>().expect("a time");
        let timeout = Timeout::of(&environment, now);
        let found = timeout.map(|timeout| (timeout.seconds_left(now), timeout.margin().as_secs()));
        assert_eq!(found, expected);
        if let Some(timeout) = timeout {
            let left = Duration::from_secs(timeout.seconds_left(now));
            assert_eq!(until(timeout.deadline(), now), left - timeout.margin());
        }
    }

    #[rstest]
    #[case(None, 300)]
    #[case(Some("1m"), 60)]
    #[case(Some("1h 30m"), 5400)]
    #[case(Some("soon"), 300)]
    fn after_script_has_its_own_time(#[case] given: Option<&str>, #[case] seconds: u64) {
        let environment = Environment::default().with("RUNNER_AFTER_SCRIPT_TIMEOUT", given);
        assert_eq!(of_after_script(&environment), Duration::from_secs(seconds));
    }
}
