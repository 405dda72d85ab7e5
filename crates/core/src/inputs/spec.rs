//! What was asked for, parsed. Once a [`Spec`] exists, it needs no more checks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    access::Checks,
    anchor,
    error::Error,
    inputs::{metadata::Metadata, options::Inputs},
    life::revoke::Verify,
    rbac::{self, Rule},
    text::harmless,
};

/// The token that was asked for.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Whom the token speaks for: a ServiceAccount that is there, or, with `rules`, one that is made for this job and called
    /// as the anchor is.
    pub service_account: String,
    /// What the ServiceAccount made for this job may do; empty if none is made.
    pub rules: Vec<Rule>,
    /// Where the ServiceAccount and the anchor are.
    pub namespace: String,
    /// What kind of token it is.
    pub token_type: TokenType,
    /// The longest that the token may live.
    pub lifetime: Lifetime,
    /// How long new tokens take its place while the job runs.
    pub renew_for: Option<Duration>,
    /// Whom the token is for; empty means the API server itself.
    pub audiences: Vec<String>,
    /// What is asked about it before it is handed over.
    pub checks: Checks,
    /// What the anchor, and what is made for this job, carries beside what jobpass itself writes.
    pub metadata: Metadata,
}

impl Spec {
    /// Parses the inputs. `minter_namespace` is the namespace that the minter's configuration names.
    ///
    /// # Errors
    /// The first input that is missing or wrong: its name, its value, what is allowed.
    pub fn parse(inputs: &Inputs, minter_namespace: Option<&str>) -> Result<Self, Error> {
        let rules = rbac::parse("rules", inputs.get("rules").unwrap_or_default())?;
        let service_account = match (inputs.get("service-account"), rules.is_empty()) {
            (Some(name), true) => dns_name("service-account", name, 253, true)?,
            (None, false) => anchor::random_name()?,
            (Some(_), false) => {
                return Err(Error::input(
                    "rules",
                    "and input `service-account` are both given",
                    "leave out `service-account`, for a ServiceAccount that is made for this job and has these rules; or leave \
                     out `rules`, and give the ServiceAccount a Role",
                ));
            }
            (None, true) => {
                return Err(Error::input(
                    "service-account",
                    "is missing",
                    "name the ServiceAccount that the token speaks for, for example `service-account: scanner`; or give `rules`, \
                     for one that is made for this job",
                ));
            }
        };
        let token_type = TokenType::parse(inputs)?;
        let duration = inputs.get("duration").unwrap_or_default();
        let lifetime = match token_type {
            TokenType::Bound => Lifetime::parse(duration)?,
            TokenType::Legacy => Lifetime::of_legacy(duration)?,
        };
        Ok(Self {
            token_type,
            service_account,
            rules,
            namespace: namespace(inputs, minter_namespace)?,
            lifetime,
            renew_for: inputs
                .get("renew-for")
                .map(|text| renew_for(text, lifetime))
                .transpose()?,
            audiences: audiences(inputs.get("audiences").unwrap_or_default())?,
            checks: Checks::parse(inputs)?,
            metadata: Metadata::parse(inputs)?,
        })
    }
}

/// The namespace that is meant: the input's, else the one that the minter's configuration names, else `default`.
///
/// # Errors
/// If no namespace can be called that.
pub fn namespace(inputs: &Inputs, minter_namespace: Option<&str>) -> Result<String, Error> {
    let namespace = inputs.get("namespace").or(minter_namespace).unwrap_or("default");
    dns_name("namespace", namespace, 63, false)
}

fn renew_for(text: &str, lifetime: Lifetime) -> Result<Duration, Error> {
    let time = time("renew-for", text)?;
    let problem = match time.as_secs() {
        seconds if seconds <= lifetime.seconds() => "that is no longer than one token lives (`duration`)",
        seconds if seconds > Lifetime::MOST => "that is longer than any job takes",
        _ => return Ok(time),
    };
    let problem = format!("is `{}`: {problem}", harmless(text));
    let allowed = "give the time that the job may take, for example `duration: 15m` and `renew-for: 6h`; or leave it out";
    Err(Error::input("renew-for", problem, allowed))
}

/// How the end of the job goes: read apart from [`Spec`], as revoking needs no other input.
///
/// # Errors
/// If `verify-revocation` is not one of its three words.
pub fn verify_revocation(inputs: &Inputs) -> Result<Verify, Error> {
    match inputs.get("verify-revocation") {
        Some("off") => Ok(Verify::Off),
        Some("quick") | None => Ok(Verify::Quick),
        Some("wait") => Ok(Verify::Wait),
        Some(other) => Err(Error::input(
            "verify-revocation",
            format!("is `{}`", harmless(other)),
            "use `off`, `quick` or `wait`",
        )),
    }
}

/// What the option `type` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenType {
    /// From the TokenRequest API, bound to an anchor.
    #[default]
    Bound,
    /// From a Secret of type `kubernetes.io/service-account-token`, which is its own anchor. It never expires by itself.
    Legacy,
}

impl TokenType {
    /// Parses the input `type`, and sees whether all others make sense with it.
    ///
    /// # Errors
    /// If it is no such word, or one of the others makes none.
    pub fn parse(inputs: &Inputs) -> Result<Self, Error> {
        match inputs.get("type") {
            Some("bound") | None => return Ok(Self::Bound),
            Some("legacy") => {}
            Some(other) => {
                let problem = format!("is `{}`", harmless(other));
                return Err(Error::input("type", problem, "use `bound` or `legacy`"));
            }
        }
        let senseless = [
            (
                "audiences",
                "a legacy token is for the API server and nobody else",
            ),
            (
                "renew-for",
                "a legacy token never expires, so that none ever takes its place",
            ),
            (
                "rules",
                "the ServiceAccount of a legacy token must be there before its Secret, and one that is made for the job belongs to it",
            ),
        ];
        match senseless.iter().find(|(name, _)| inputs.get(name).is_some()) {
            Some((name, why)) => Err(Error::input(
                name,
                format!("and `type: legacy` are both given: {why}"),
                format!(
                    "leave out `{name}`; or `type`, for a bound token, which is the better one in any case"
                ),
            )),
            None => Ok(Self::Legacy),
        }
    }
}

/// A lifetime that the TokenRequest API accepts, in seconds; or, of a legacy token, when it is swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime(u64);

impl Lifetime {
    /// The least that any API server issues (`pkg/apis/authentication/validation/validation.go`).
    pub(crate) const LEAST: u64 = 600;
    /// The most that any API server takes (same file).
    pub(crate) const MOST: u64 = 1 << 32;
    /// With this number of seconds the API server may issue a token for a year
    /// (`WarnOnlyBoundTokenExpirationPeriod`, `pkg/serviceaccount/claims.go`).
    const MAGIC: u64 = 3607;

    /// Parses `30m`, `1h`, `1h30m`, `900s`, `900`.
    ///
    /// # Errors
    /// If it is no duration, negative, less than 10 minutes, more than 2^32 seconds, or 3607 seconds.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match seconds(text)? {
            ..Self::LEAST => Err(wrong_duration(
                text,
                "no Kubernetes cluster issues a token for less than 10 minutes",
                "use `10m` or more: jobpass revokes the token when the job ends, however long it might still have \
                 lived; for one command, `jobpass exec --duration 30s` revokes it after 30 seconds",
            )),
            Self::MAGIC => Err(wrong_duration(
                text,
                "with exactly 3607 seconds Kubernetes may issue a token that lives for a year",
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

    /// When a legacy token is swept. No API server has a say in it, so it may be less than 10 minutes.
    ///
    /// # Errors
    /// If it is no duration, negative, zero, or more than 2^32 seconds.
    pub fn of_legacy(text: &str) -> Result<Self, Error> {
        match seconds(text)? {
            seconds @ 1..=Self::MOST => Ok(Self(seconds)),
            0 => Err(wrong_duration(text, "nothing can be done in no time", DURATIONS)),
            _ => Err(wrong_duration(
                text,
                "that is longer than any job takes",
                DURATIONS,
            )),
        }
    }

    /// The same for who can revoke sooner than a token may expire: a time of less than 10 minutes is given back beside the
    /// shortest lifetime.
    ///
    /// # Errors
    /// As [`Lifetime::parse`], but for less than 10 minutes; if it is zero.
    pub fn parse_or_sooner(text: &str) -> Result<(Self, Option<Duration>), Error> {
        match seconds(text)? {
            0 => Err(wrong_duration(text, "nothing can be done in no time", DURATIONS)),
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
    Error::input("duration", format!("is `{}`: {problem}", harmless(text)), allowed)
}

/// A time that is no token's lifetime, for the input `input`.
///
/// # Errors
/// If it is no duration, or none at all.
pub fn time(input: &str, text: &str) -> Result<Duration, Error> {
    match seconds(text) {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => {
            let problem = format!("is `{}`: this is no usable length of time", harmless(text));
            Err(Error::input(input, problem, DURATIONS))
        }
    }
}

/// The whole seconds of a duration.
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

/// `5400` as `1 h 30 min`; the two largest units.
pub fn in_words(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let words = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .take(2)
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect::<Vec<_>>();
    if words.is_empty() {
        "0 s".into()
    } else {
        words.join(" ")
    }
}

/// RFC 1123 subdomain (with dots) or label (without), as Kubernetes names objects and namespaces.
pub(crate) fn dns_name(input: &str, value: &str, longest: usize, dots: bool) -> Result<String, Error> {
    let valid = if dots {
        is_dns_subdomain(value)
    } else {
        is_dns_label(value)
    };
    if valid && value.len() <= longest {
        return Ok(value.to_owned());
    }
    let dots = if dots { "`-` and `.`" } else { "and `-`" };
    Err(Error::input(
        input,
        format!(
            "is `{}`: no object of Kubernetes can be called that",
            harmless(value)
        ),
        format!(
            "use at most {longest} lowercase letters, digits, {dots}, with a letter or digit at both ends; \
             just the name, without the namespace"
        ),
    ))
}

/// What objects are called, and what can stand in a URL.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// Lowercase letters, digits and hyphens, with a letter or digit at both ends.
pub(crate) fn is_dns_label(label: &str) -> bool {
    label
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && label.starts_with(|c: char| c.is_ascii_alphanumeric())
        && label.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Audiences, separated by commas or line breaks.
///
/// # Errors
/// If one has spaces.
pub(crate) fn audiences(text: &str) -> Result<Vec<String>, Error> {
    let audiences = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|a| !a.is_empty())
        .map(str::to_owned);
    let audiences = audiences.collect::<Vec<_>>();
    match audiences
        .iter()
        .find(|audience| audience.chars().any(|c| c.is_control() || c.is_whitespace()))
    {
        Some(wrong) => Err(Error::input(
            "audiences",
            format!("has `{}`: an audience has no spaces", harmless(wrong)),
            "separate audiences with commas or line breaks, for example `https://vault.example.com, vault`",
        )),
        None => Ok(audiences),
    }
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

    #[rstest]
    #[case("service-account", "Scanner")]
    #[case("service-account", "-scanner")]
    #[case("service-account", "team/scanner")]
    #[case("service-account", "a..b")]
    #[case("namespace", "team.a")]
    #[case(
        "namespace",
        "0123456789012345678901234567890123456789012345678901234567890123"
    )]
    #[case("audiences", "two words")]
    fn names_that_are_refused(#[case] input: &str, #[case] value: &str) {
        let mut values = [
            ("service-account", "scanner"),
            ("namespace", "ci"),
            ("audiences", ""),
        ];
        values
            .iter_mut()
            .filter(|(name, _)| *name == input)
            .for_each(|(_, v)| *v = value);
        let error = Spec::parse(&Inputs::from(values), None)
            .expect_err(value)
            .to_string();
        assert!(
            error.contains(&format!("input `{input}`")) && error.contains(value),
            "{error}"
        );
    }

    #[test]
    fn the_namespace_comes_from_the_input_then_the_minter_then_default() {
        let named = Inputs::from([("service-account", "scanner"), ("namespace", "asked")]);
        let unnamed = Inputs::from([("service-account", "scanner.v2"), ("audiences", "a, b\nc")]);
        let spec = |inputs, minter| Spec::parse(inputs, minter).expect("a spec");
        assert_eq!(spec(&named, Some("context")).namespace, "asked");
        assert_eq!(spec(&unnamed, Some("context")).namespace, "context");
        assert_eq!(spec(&unnamed, None).namespace, "default");
        assert_eq!(spec(&unnamed, None).audiences, ["a", "b", "c"]);
    }

    #[test]
    fn an_empty_duration_is_not_silently_the_default() {
        let read = |option: &crate::inputs::options::Opt| (option.name == "duration").then(String::new);
        let error = Inputs::read(read).map(|_| ()).expect_err("refused").to_string();
        assert!(
            error.starts_with("input `duration` is empty\n\nleave it out for `1h`"),
            "{error}"
        );
    }
}
