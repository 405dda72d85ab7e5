//! How a token is renewed, and what the journal says of it afterwards.

use serde::{Deserialize, Serialize};

use crate::{
    inputs::lifetime::Lifetime,
    record::{journal::Entry, state::State},
    text::{in_words, time},
};

/// How a token is renewed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Renewal {
    /// What is asked for each time.
    pub(crate) lifetime: Lifetime,
    /// How long.
    pub(crate) seconds: u64,
}

impl Renewal {
    /// As it reads after when the token expires.
    pub fn in_words(this: Option<&Self>) -> String {
        this.map_or_else(String::new, |renewal| {
            format!("; renewed before, for {}", in_words(renewal.seconds))
        })
    }
}

impl State {
    /// Completes the receipt with what the journal says of renewing, and gives what a person should know of that.
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
                    failed = Some(format!("the token was not renewed from {} on: {why}", time(*at)));
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
            true => "`renew-for` was over: give more of it",
            false => "its renewer had ended before the job did: something stopped it",
        };
        Some(format!("the token expired at {}, and {why}", time(expired)))
    }
}
