//! The renewal of a token: its settings, and its result in the receipt.

use serde::{Deserialize, Serialize};

use crate::{
    inputs::lifetime::Lifetime,
    record::{journal::Entry, state::State},
    text::{in_words, time},
};

/// The settings of a token's renewal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Renewal {
    /// The requested lifetime of each new token.
    pub(crate) lifetime: Lifetime,
    /// The time for which jobpass renews the token, in seconds.
    pub(crate) seconds: u64,
}

impl Renewal {
    /// The text about the renewal. The log shows it on the line with the token's expiry. Empty without
    /// renewal.
    pub fn in_words(this: Option<&Self>) -> String {
        this.map_or_else(String::new, |renewal| {
            format!("; renewed before then, for {}", in_words(renewal.seconds))
        })
    }
}

impl State {
    /// Completes the receipt from the journal. Returns a note for a person if the last renewal failed, or if
    /// the token expired before the end of the job. Does nothing for a token without a journal.
    pub(crate) fn settle_renewals(&mut self, journal: &[Entry], now: jiff::Timestamp) -> Option<String> {
        self.files.journal.as_ref()?;
        let receipt = &mut self.receipt;
        let mut failed = None;
        for entry in journal {
            match entry {
                Entry::Announced { .. } => {}
                Entry::Renewed { expires } => {
                    receipt.renewed += 1;
                    receipt.expires = *expires;
                    failed = None;
                }
                Entry::Failed { at, why } => {
                    failed = Some(format!(
                        "from {} on, jobpass could not renew the token: {why}",
                        time(*at)
                    ));
                }
            }
        }
        let expired = receipt.expires.filter(|expires| *expires < now);
        let (Some(expired), Some(renewal), None) = (expired, &self.renewal, &failed) else {
            return failed;
        };
        let renewed_for = receipt
            .minted
            .map_or(0, |minted| now.as_second() - minted.as_second());
        let why = match renewed_for.unsigned_abs() > renewal.seconds {
            true if self.proxy.is_some() => "the time of `duration` was over: give a longer `duration`",
            true => "the time of `renew-for` was over: give a longer `renew-for`",
            false if self.proxy.is_some() => {
                "its proxy stopped before the job ended: find the program that killed the proxy's process"
            }
            false => "its renewer stopped before the job ended: find the program that killed it",
        };
        Some(format!("the token expired at {}, and {why}", time(expired)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use rstest::rstest;

    use super::*;
    use crate::record::state::tests::least;

    /// The time `minutes` after the token's issue.
    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(30_000_000 + minutes)
    }

    fn renewed(minutes: i64) -> Entry {
        Entry::Renewed {
            expires: Some(at(minutes)),
        }
    }

    fn failed() -> Entry {
        Entry::Failed {
            at: at(30),
            why: "no route".into(),
        }
    }

    /// The job ends after `now` minutes. Its token lives for an hour, and jobpass renews it for two hours.
    #[rstest]
    #[case::in_time(vec![], 50, 0, 60, None)]
    #[case::renewed(vec![renewed(90), renewed(130)], 100, 2, 130, None)]
    #[case::its_renewer_was_stopped(vec![renewed(90)], 100, 1, 90, Some("its renewer stopped before the job ended"))]
    #[case::longer_than_asked_for(vec![renewed(120)], 130, 1, 120, Some("`renew-for` was over"))]
    #[case::not_renewed(vec![failed()], 70, 0, 60, Some("on, jobpass could not renew the token: no route"))]
    #[case::renewed_after_a_failure(vec![failed(), renewed(95)], 80, 1, 95, None)]
    #[case::failed_after_it_was_renewed(vec![renewed(90), failed()], 80, 1, 90, Some("no route"))]
    fn a_person_learns_why_a_token_expired_before_the_end(
        #[case] journal: Vec<Entry>,
        #[case] now: i64,
        #[case] times: u32,
        #[case] expires: i64,
        #[case] expected: Option<&str>,
    ) {
        let mut state = least();
        state.files.journal = Some("/tmp/journal".into());
        state.renewal = Some(Renewal {
            lifetime: Lifetime::parse("1h").expect("a lifetime"),
            seconds: 7200,
        });
        state.receipt.minted = Some(at(0));
        state.receipt.expires = Some(at(60));
        let note = state.settle_renewals(&journal, at(now));
        assert_eq!(
            (state.receipt.renewed, state.receipt.expires),
            (times, Some(at(expires)))
        );
        assert_eq!(note.is_some(), expected.is_some(), "{note:?}");
        assert!(note.unwrap_or_default().contains(expected.unwrap_or_default()));
    }

    #[test]
    fn a_token_that_is_not_renewed_may_expire() {
        let mut state = least();
        state.receipt.expires = Some(at(60));
        assert_eq!(state.settle_renewals(&[], at(90)), None);
    }
}
