//! The lifetimes of tokens, and other durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{error::Error, inputs::options::Opt, text};

/// The lifetime of a token, in seconds. The TokenRequest API accepts the lifetime of each bound token. A
/// legacy token never expires: after its lifetime, `jobpass sweep` deletes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime(u64);

impl Lifetime {
    /// The shortest lifetime that an API server accepts, in seconds
    /// (`pkg/apis/authentication/validation/validation.go`).
    pub const LEAST: u64 = 600;
    /// The longest lifetime that an API server accepts, in seconds
    /// (`pkg/apis/authentication/validation/validation.go`).
    pub(crate) const MOST: u64 = 1 << 32;
    /// The lifetime that kube-apiserver extends to a year if the token is bound to a Pod, in seconds
    /// (`WarnOnlyBoundTokenExpirationSeconds`, `pkg/serviceaccount/claims.go`). jobpass binds its tokens to a
    /// Secret, and refuses this lifetime as a precaution.
    pub const MAGIC: u64 = 3607;

    /// The shortest lifetime of a bound token.
    pub(crate) const SHORTEST: Self = Self(Self::LEAST);

    /// Parses the lifetime of a bound token, such as `30m`, `1h`, `1h30m`, `900s` or `900`.
    ///
    /// # Errors
    /// If the text is not a duration of whole seconds, or if the duration is negative, less than 10 minutes,
    /// more than 2^32 seconds, or exactly 3607 seconds.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match seconds(text)? {
            ..Self::LEAST => Err(wrong_duration(
                text,
                "no Kubernetes cluster issues a token for less than 10 minutes",
                "use `10m` or more: jobpass revokes the token when the job ends, even if it could live \
                 longer. For one command, `jobpass exec --duration 30s` revokes it after 30 seconds",
            )),
            Self::MAGIC => Err(wrong_duration(
                text,
                "exactly 3607 seconds is a special case in Kubernetes, which extends a Pod's token of this \
                 lifetime to a year",
                "use `1h` or `3608s`",
            )),
            seconds @ ..=Self::MOST => Ok(Self(seconds)),
            _ => Err(wrong_duration(
                text,
                "no Kubernetes cluster issues a token for more than 2^32 seconds",
                "use the length of the job, for example `1h`; clusters often allow no more than `24h`",
            )),
        }
    }

    /// Parses the lifetime of a legacy token, after which `jobpass sweep` deletes the token. It may be less
    /// than 10 minutes, because the API server does not limit it.
    ///
    /// # Errors
    /// If the text is not a duration of whole seconds, or if the duration is negative, zero, or more than
    /// 2^32 seconds.
    pub fn of_legacy(text: &str) -> Result<Self, Error> {
        match seconds(text)? {
            seconds @ 1..=Self::MOST => Ok(Self(seconds)),
            0 => Err(wrong_duration(text, "the time is zero", DURATIONS)),
            _ => Err(wrong_duration(
                text,
                "that is longer than any job takes",
                DURATIONS,
            )),
        }
    }

    /// Like [`Lifetime::parse`], for callers that revoke the token themselves. They may ask for less than 10
    /// minutes. Then this returns a lifetime of 10 minutes, and the time after which the caller must revoke.
    ///
    /// # Errors
    /// As [`Lifetime::parse`], but accepts less than 10 minutes. Also if the duration is zero.
    pub fn parse_or_sooner(text: &str) -> Result<(Self, Option<Duration>), Error> {
        match seconds(text)? {
            0 => Err(wrong_duration(text, "the time is zero", DURATIONS)),
            seconds @ 1..Self::LEAST => Ok((Self(Self::LEAST), Some(Duration::from_secs(seconds)))),
            _ => Ok((Self::parse(text)?, None)),
        }
    }

    /// The number of seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

const DURATIONS: &str = "use a duration such as `30m`, `1h`, `1h30m`, `900s` or `900` (seconds)";

fn wrong_duration(text: &str, problem: &str, allowed: &str) -> Error {
    Error::input(
        Opt::Duration,
        format!("is `{}`: {problem}", text::wrong(text)),
        allowed,
    )
}

/// Parses the value of the input `input`, a duration that is not a token's lifetime.
///
/// # Errors
/// If the text is not a duration of whole seconds, or if the duration is negative or zero.
pub fn time(input: &str, text: &str) -> Result<Duration, Error> {
    match seconds(text) {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => {
            let problem = format!(
                "is `{}`, which jobpass cannot use as a duration",
                text::wrong(text)
            );
            Err(Error::input(input, problem, DURATIONS))
        }
    }
}

/// The number of whole seconds of a duration.
fn seconds(text: &str) -> Result<u64, Error> {
    let bare = !text.is_empty() && text.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
    let with_unit = if bare { format!("{text}s") } else { text.to_owned() };
    let Ok(parsed) = with_unit.parse::<jiff::SignedDuration>() else {
        return Err(wrong_duration(text, "this is not a duration", DURATIONS));
    };
    if parsed.is_negative() {
        return Err(wrong_duration(
            text,
            "a token cannot live for a negative time",
            DURATIONS,
        ));
    }
    if parsed.subsec_nanos() != 0 {
        return Err(wrong_duration(text, "tokens live for whole seconds", DURATIONS));
    }
    Ok(parsed.as_secs().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("30m", 1800)]
    #[case("1h", 3600)]
    #[case("1h30m", 5400)]
    #[case("900s", 900)]
    #[case("900", 900)]
    #[case("600", 600)]
    #[case("4294967296", 1 << 32)]
    fn durations_that_are_taken(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(Lifetime::parse(text).expect(text).seconds(), seconds);
    }

    #[rstest]
    #[case("30s", "less than 10 minutes")]
    #[case("599", "less than 10 minutes")]
    #[case("0", "less than 10 minutes")]
    #[case("-5m", "negative")]
    #[case("-900", "negative")]
    #[case("abc", "not a duration")]
    #[case("", "not a duration")]
    #[case("1 fortnight", "not a duration")]
    #[case("600.5s", "whole seconds")]
    #[case("3607", "a year")]
    #[case("1h7s", "a year")]
    #[case("4294967297", "2^32")]
    #[case("99999999999999999999", "not a duration")]
    fn durations_that_are_refused(#[case] text: &str, #[case] why: &str) {
        let error = Lifetime::parse(text).expect_err(text).to_string();
        assert!(
            error.contains("input `duration`") && error.contains(&format!("`{text}`")),
            "{error}"
        );
        assert!(error.contains(why), "{error}");
    }
}
