//! The checks that need no request: the minter's credential, and the certificate authority.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use x509_parser::parse_x509_certificate;

use super::{Finding, Health};
use crate::{
    claims,
    error::Kind,
    inputs::spec::Spec,
    minter::Minter,
    oidc::audiences,
    text::{harmless, in_words},
    token::Token,
};

/// The remaining lifetime of a certificate below which doctor warns, in seconds. People need some days to
/// renew a certificate.
const SOON: i64 = 14 * 86_400;
/// The remaining lifetime of a stored token below which doctor warns, in seconds.
const TOKEN_SOON: i64 = 7 * 86_400;
/// The end of a warning about a credential or certificate that expires soon.
const SOON_IN_WORDS: &str = ", which is soon";

/// The finding about the minter's credential: its kind, and the time until it expires.
pub(super) fn finding(minter: &Minter, spec: &Spec, now: Timestamp) -> Finding {
    let check = "credential";
    let identity = &minter.identity;
    let finding = match (&identity.certificate, &identity.bearer) {
        (Some(pair), _) => lasting(
            check,
            "client certificate",
            not_after(&pair.certificate).min(),
            now,
            Kind::Refused,
            "get a new client certificate and put it into the kubeconfig",
        ),
        (None, Some(token)) => of_token(token, now),
        (None, None) => Finding::new(
            check,
            Health::Failed(Kind::Refused),
            "none: the API server sees an anonymous user",
        )
        .fix("give the kubeconfig's user a token, a client certificate or an exec plugin"),
    };
    // `None` if jobpass can get a new credential, or does not know when this one expires.
    let left = minter
        .expires()
        .map(|expires| expires.as_second() - now.as_second());
    match left {
        Some(left) if matches!(finding.health, Health::Ok | Health::Warning) => {
            // For a proxy, the input `duration` says for how long jobpass renews the token.
            let input = match spec.proxy {
                Some(_) => "duration",
                None => "renew-for",
            };
            let renewal = spec.renew_for.map(|time| (input, time.as_secs()));
            match (&identity.certificate, &identity.bearer) {
                // doctor cannot tell whether the end of the job gets a fresh ID token. If it does not, mint
                // warns.
                (None, Some(token)) if is_id_token(token) => finding,
                (certificate, _) => {
                    let is_token = certificate.is_none();
                    ending(finding, is_token, left, spec.lifetime.seconds(), renewal)
                }
            }
        }
        _ => finding,
    }
}

/// The finding about a stored credential that works for `left` seconds more. `lifetime` is the lifetime of a
/// job's token. `renewal` is the time for which jobpass renews the token, with the input that names this
/// time. All times are in seconds.
fn ending(
    mut finding: Finding,
    is_token: bool,
    left: i64,
    lifetime: u64,
    renewal: Option<(&str, u64)>,
) -> Finding {
    let fix = match is_token {
        true => {
            "store a new token for the minter. `jobpass setup --apply --minter-kubeconfig FILE` writes one \
             for a minter that is a ServiceAccount"
        }
        false => "get a new client certificate and put it into the kubeconfig",
    };
    let (input, seconds) = renewal.unwrap_or(("duration", lifetime));
    if left < i64::try_from(seconds).unwrap_or(i64::MAX) {
        finding.health = Health::Warning;
        let time = in_words(seconds);
        finding.said += &match renewal {
            Some(_) => format!(
                ". A job whose token jobpass renews for {time} from now would outlive this credential, and \
                 could not revoke its token"
            ),
            None => format!(
                ". A token of {time} that a job gets now would outlive this credential, and that job could \
                 not revoke its token"
            ),
        };
        finding.fix = format!("ask for a shorter `{input}`, or {fix}");
    } else if is_token && left < TOKEN_SOON {
        finding.health = Health::Warning;
        finding.said += SOON_IN_WORDS;
        finding.fix = fix.to_owned();
    }
    finding
}

/// The finding about the certificate authority. Only the TLS handshake can show whether this authority signed
/// the API server's certificate.
pub(super) fn authority(minter: &Minter, now: Timestamp) -> Finding {
    match &minter.connection.certificate_authority {
        // A bundle works until its last certificate expires.
        Some(pem) => lasting(
            "TLS",
            "certificate authority",
            not_after(pem).max(),
            now,
            Kind::Unreachable,
            "give jobpass the cluster's new certificate authority",
        ),
        None => Finding::new("TLS", Health::Ok, "the system's certificate authorities"),
    }
}

/// The finding about a credential or certificate that expires.
fn lasting(
    check: &'static str,
    what: &str,
    until: Option<i64>,
    now: Timestamp,
    kind: Kind,
    fix: &'static str,
) -> Finding {
    let Some(left) = until.map(|until| until - now.as_second()) else {
        let said = format!("{what}, which jobpass cannot read");
        return Finding::new(check, Health::Unknown, said);
    };
    let words = in_words(left.unsigned_abs());
    if left <= 0 {
        return Finding::new(
            check,
            Health::Failed(kind),
            format!("{what}, expired {words} ago"),
        )
        .fix(format!("{fix}, or correct this machine's clock"));
    }
    let said = format!("{what}, expires in {words}");
    match left < SOON {
        true => Finding::new(check, Health::Warning, said + SOON_IN_WORDS).fix(fix),
        false => Finding::new(check, Health::Ok, said),
    }
}

/// The times at which the certificates in a PEM text expire, in seconds since 1970.
fn not_after(pem: &str) -> impl Iterator<Item = i64> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .flatten()
        .filter_map(|der| {
            Some(
                parse_x509_certificate(&der)
                    .ok()?
                    .1
                    .validity()
                    .not_after
                    .timestamp(),
            )
        })
}

/// Whether this is a JWT that Kubernetes did not issue.
fn is_id_token(token: &Token) -> bool {
    // Legacy tokens lack the claim `kubernetes.io`, and have this issuer.
    let is_foreign =
        |claims: Value| claims.get("kubernetes.io").is_none() && claims["iss"] != "kubernetes/serviceaccount";
    claims::part(token, 1).is_ok_and(is_foreign)
}

fn of_token(token: &Token, now: Timestamp) -> Finding {
    let check = "credential";
    let Ok(claims) = claims::part::<Value>(token, 1) else {
        return Finding::new(
            check,
            Health::Ok,
            "bearer token that is not a JWT, so its expiry is not known",
        );
    };
    let text = |name: &str| claims[name].as_str().map(harmless).unwrap_or_default();
    let audiences = harmless(&audiences(&claims).join(", "));
    let (what, renewed) = match is_id_token(token) {
        true => (
            format!("ID token of {} for {audiences}", text("iss")),
            ": each job gets a new one",
        ),
        false => (format!("token of {}", text("sub")), ""),
    };
    let begins = claims["nbf"].as_i64().unwrap_or_default();
    if begins > now.as_second() {
        let said = format!(
            "{what}, not valid yet: it becomes valid in {}",
            in_words((begins - now.as_second()).unsigned_abs())
        );
        return Finding::new(check, Health::Failed(Kind::Refused), said)
            .fix("correct this machine's clock, or use a token that is valid now");
    }
    match claims["exp"].as_i64() {
        None => Finding::new(check, Health::Warning, format!("{what}, which never expires")).fix(
            "replace it with a token that expires: `jobpass setup --apply --minter-kubeconfig FILE` writes \
                  one for a minter that is a ServiceAccount. Or use OIDC, which stores no token",
        ),
        Some(until) if until <= now.as_second() => {
            let ago = in_words((now.as_second() - until).unsigned_abs());
            Finding::new(
                check,
                Health::Failed(Kind::Refused),
                format!("{what}, expired {ago} ago"),
            )
            .fix("give the job a new token, or correct this machine's clock")
        }
        Some(until) => {
            let left = in_words((until - now.as_second()).unsigned_abs());
            Finding::new(check, Health::Ok, format!("{what}, expires in {left}{renewed}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// Two certificates: the first expires at the end of 2027, the second at the end of 2028.
    fn two() -> String {
        let pem = |year| {
            let mut certificate = rcgen::CertificateParams::default();
            certificate.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            certificate.self_signed(&key).expect("signed").pem()
        };
        pem(2028) + &pem(2029)
    }

    #[rstest]
    #[case("2027-06-01T00:00:00Z", Health::Ok, "expires in 214 d")]
    #[case("2027-12-22T00:00:00Z", Health::Warning, "expires in 10 d, which is soon")]
    #[case("2028-01-02T00:00:00Z", Health::Failed(Kind::Refused), "expired 1 d ago")]
    fn the_first_certificate_to_end_counts(#[case] now: &str, #[case] health: Health, #[case] said: &str) {
        let until = not_after(&two()).min();
        let finding = lasting("x", "certificate", until, at(now), Kind::Refused, "renew");
        assert_eq!(
            (finding.health, &*finding.said),
            (health, &*format!("certificate, {said}"))
        );
    }

    /// A job must be able to revoke its token, and people need some days to renew a credential.
    #[rstest]
    #[case::long(true, 8 * 86_400, None, Health::Ok, "x")]
    #[case::this_week(true, 6 * 86_400, None, Health::Warning, "x, which is soon")]
    #[case::a_certificate_this_week(false, 6 * 86_400, None, Health::Ok, "x")]
    #[case::before_the_token(
        true,
        600,
        None,
        Health::Warning,
        "x. A token of 1 h that a job gets now would outlive this credential"
    )]
    #[case::a_certificate_before_the_token(false, 600, None, Health::Warning, "x. A token of 1 h")]
    #[case::before_the_last_renewal(
        true,
        7200,
        Some(("renew-for", 10_800)),
        Health::Warning,
        "x. A job whose token jobpass renews for 3 h from now would outlive this credential"
    )]
    #[case::before_the_end_of_the_proxy(
        true,
        7200,
        Some(("duration", 10_800)),
        Health::Warning,
        "x. A job whose token jobpass renews for 3 h from now would outlive this credential"
    )]
    fn a_stored_credential_outlives_the_tokens(
        #[case] is_token: bool,
        #[case] left: i64,
        #[case] renewal: Option<(&str, u64)>,
        #[case] health: Health,
        #[case] said: &str,
    ) {
        let finding = Finding::new("credential", Health::Ok, "x");
        let finding = ending(finding, is_token, left, 3600, renewal);
        assert_eq!(finding.health, health);
        assert!(finding.said.starts_with(said), "{}", finding.said);
        assert_eq!(finding.fix.is_empty(), health == Health::Ok);
        if let Some((input, _)) = renewal {
            assert!(
                finding.fix.starts_with(&format!("ask for a shorter `{input}`")),
                "{}",
                finding.fix
            );
        }
        // Only a stored token can be replaced by another stored token.
        let proposes = finding.fix.contains("--minter-kubeconfig");
        assert_eq!(proposes, health != Health::Ok && is_token);
    }

    #[rstest]
    #[case(json!({"iss": "https://i", "aud": "k8s", "exp": 1_800_000_060}), Health::Ok, "ID token of https://i for k8s, expires in 1 min: each job gets a new one")]
    #[case(json!({"iss": "https://i", "aud": ["a", "b"], "exp": 1}), Health::Failed(Kind::Refused), "ID token of https://i for a, b, expired")]
    #[case(json!({"iss": "https://i", "nbf": 1_800_000_060, "exp": 1_800_000_160}), Health::Failed(Kind::Refused), "not valid yet: it becomes valid in 1 min")]
    #[case(json!({"sub": "system:serviceaccount:ci:m", "kubernetes.io": {}}), Health::Warning, "token of system:serviceaccount:ci:m, which never expires")]
    #[case(json!({"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ci:m"}), Health::Warning, "token of system:serviceaccount:ci:m, which never expires")]
    fn tokens(#[case] claims: Value, #[case] health: Health, #[case] said: &str) {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.c2ln", part(&json!({})), part(&claims));
        let finding = of_token(
            &Token::parse(&token, "x").expect("a token"),
            at("2027-01-15T08:00:00Z"),
        );
        assert!(
            finding.health == health && finding.said.contains(said),
            "{}",
            finding.said
        );
    }
}
