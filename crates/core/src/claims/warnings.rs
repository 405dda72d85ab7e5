//! Warnings about a token, for a maintainer who decides whether a pipeline may have it.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    claims::{Claims, LEGACY_ISSUER},
    text::{harmless, in_words},
};

/// The tolerance of API servers for differing clocks, in seconds (go-jose's `DefaultLeeway`). They accept a
/// token this long before it becomes valid, and this long after it expires.
pub const LEEWAY: i64 = 60;
/// The longest lifetime without a warning, in seconds: few jobs take longer than a day.
const LONG: i64 = 24 * 3600;

/// An unusual property of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The word for programs. `docs/reference.md` lists all of them.
    pub kind: &'static str,
    /// The sentence for people.
    pub why: String,
}

/// The warnings about a token with these claims, the most severe first.
pub fn warnings(claims: &Claims, now: Timestamp) -> Vec<Warning> {
    let now = now.as_second();
    let time_to = |at: i64| in_words(at.saturating_sub(now).unsigned_abs());
    let mut found = Vec::new();
    let mut add = |kind, why: String| found.push(Warning { kind, why });
    if let Some(exp) = claims.exp.filter(|exp| *exp <= now) {
        let still = if now <= exp.saturating_add(LEEWAY) {
            "; API servers accept a token for up to a minute after its expiry"
        } else {
            ""
        };
        add("expired", format!("it expired {} ago{still}", time_to(exp)));
    }
    if let Some(from) = claims.nbf.max(claims.iat).filter(|from| *from > now + LEEWAY) {
        let why = format!(
            "it is not valid yet: it becomes valid in {}, unless the clock of this machine is wrong",
            time_to(from)
        );
        add("not-yet-valid", why);
    }
    let legacy = claims.iss.as_deref() == Some(LEGACY_ISSUER);
    if !legacy && claims.kubernetes.is_none() {
        let why = "it is not a ServiceAccount token: another issuer made it, for example a CI platform";
        add("not-kubernetes", why.into());
    }
    if legacy {
        let why = "it is a legacy token: everyone who may read its Secret has it";
        add("legacy", why.into());
    }
    match (claims.lifetime(), claims.exp) {
        (_, None) => add("no-expiry", "it never expires".into()),
        (Some(lifetime), _) if lifetime > LONG => {
            let why = format!(
                "it lives for {}, longer than most jobs",
                in_words(lifetime.unsigned_abs())
            );
            add("long-lived", why);
        }
        _ => {}
    }
    let private = claims.kubernetes.as_ref();
    if let Some(after) = private.and_then(|private| private.warnafter) {
        let when = match after > now {
            true => format!("in {}", time_to(after)),
            false => format!("{} ago", time_to(after)),
        };
        let why = format!(
            "Kubernetes extended its lifetime: its intended end is {when} (`warnafter`). After that time, \
             API servers still accept it, and note that only in their audit logs"
        );
        add("warnafter", why);
    }
    if private.is_some() && claims.bound_to().is_none() {
        let why = "it is not bound to an object: until it expires, it can be revoked only by deleting its \
                   ServiceAccount";
        add("unbound", why.into());
    }
    if claims.is_for_others() {
        let why = format!(
            "it is for {}, not for the API server. The API server answers 401 to it, unless its own \
             audience is among these",
            harmless(&claims.aud.join(", "))
        );
        add("other-audience", why);
    }
    found
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn kinds(change: &[(&str, Value)]) -> Vec<&'static str> {
        let mut claims = json!({
            "iss": "https://k8s", "sub": "system:serviceaccount:ci:scanner", "aud": ["https://k8s"],
            "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3540,
            "kubernetes.io": {"namespace": "ci", "secret": {"name": "jobpass-a", "uid": "u"}},
        });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        let claims = serde_json::from_value(claims).expect("claims");
        let now = Timestamp::from_second(NOW).expect("a time");
        warnings(&claims, now)
            .into_iter()
            .map(|found| found.kind)
            .collect()
    }

    #[rstest]
    #[case(&[], &[])]
    #[case(&[("exp", json!(NOW))], &["expired"])]
    #[case(&[("nbf", json!(NOW + 61))], &["not-yet-valid"])]
    #[case(&[("nbf", json!(NOW + 60))], &[])]
    #[case(&[("exp", json!(NOW + 24 * 3600 - 60))], &[])]
    #[case(&[("exp", json!(NOW + 24 * 3600 - 59))], &["long-lived"])]
    #[case(&[("exp", Value::Null)], &["no-expiry"])]
    #[case(&[("aud", json!(["vault"]))], &["other-audience"])]
    #[case(&[("aud", json!(["vault", "https://k8s"]))], &[])]
    #[case(&[("kubernetes.io", json!({"namespace": "ci"}))], &["unbound"])]
    #[case(&[("kubernetes.io", json!({"pod": {"name": "p"}, "warnafter": NOW + 3600}))], &["warnafter"])]
    #[case(&[("kubernetes.io", Value::Null)], &["not-kubernetes"])]
    #[case(
        &[("iss", json!("kubernetes/serviceaccount")), ("kubernetes.io", Value::Null), ("aud", json!([])), ("exp", Value::Null)],
        &["legacy", "no-expiry"]
    )]
    fn each_warning_has_its_word(#[case] change: &[(&str, Value)], #[case] expected: &[&str]) {
        assert_eq!(kinds(change), expected);
    }
}
