//! The checks that need no request: the minter's credential, and the certificate authority.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use x509_parser::parse_x509_certificate;

use super::{Finding, Health};
use crate::{
    claims,
    cluster::Identity,
    error::Kind,
    minter::Minter,
    oidc::audiences,
    text::{harmless, in_words},
    token::Token,
};

/// The time before the expiry of a certificate from which doctor warns, in seconds. People need some days to
/// renew a certificate.
const SOON: i64 = 14 * 86_400;

/// The finding about the minter's credential: its kind, and the time until it expires.
pub(super) fn finding(identity: &Identity, now: Timestamp) -> Finding {
    let check = "credential";
    match (&identity.certificate, &identity.bearer) {
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
    }
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
        true => Finding::new(check, Health::Warning, said).fix(fix),
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
    let what = match claims.get("kubernetes.io") {
        Some(_) => format!("token of {}", text("sub")),
        // The issuer of legacy tokens.
        None if claims["iss"] == "kubernetes/serviceaccount" => format!("token of {}", text("sub")),
        None => format!("ID token of {} for {audiences}", text("iss")),
    };
    let begins = claims["nbf"].as_i64().unwrap_or_default();
    if begins > now.as_second() {
        let said = format!(
            "{what}, not valid before another {}",
            in_words((begins - now.as_second()).unsigned_abs())
        );
        return Finding::new(check, Health::Failed(Kind::Refused), said).fix("correct this machine's clock");
    }
    match claims["exp"].as_i64() {
        None => Finding::new(check, Health::Warning, format!("{what}, which never expires"))
            .fix("replace it by a token that expires (`kubectl create token NAME --duration 720h`), or use OIDC, which stores no token"),
        Some(until) if until <= now.as_second() => {
            let ago = in_words((now.as_second() - until).unsigned_abs());
            Finding::new(check, Health::Failed(Kind::Refused), format!("{what}, expired {ago} ago"))
                .fix("give the job a new token, or correct this machine's clock")
        }
        Some(until) => {
            let left = in_words((until - now.as_second()).unsigned_abs());
            Finding::new(check, Health::Ok, format!("{what}, expires in {left}"))
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
    #[case("2027-12-22T00:00:00Z", Health::Warning, "expires in 10 d")]
    #[case("2028-01-02T00:00:00Z", Health::Failed(Kind::Refused), "expired 1 d ago")]
    fn the_first_certificate_to_end_counts(#[case] now: &str, #[case] health: Health, #[case] said: &str) {
        let until = not_after(&two()).min();
        let finding = lasting("x", "certificate", until, at(now), Kind::Refused, "renew");
        assert_eq!(
            (finding.health, &*finding.said),
            (health, &*format!("certificate, {said}"))
        );
    }

    #[rstest]
    #[case(json!({"iss": "https://i", "aud": "k8s", "exp": 1_800_000_060}), Health::Ok, "ID token of https://i for k8s, expires in 1 min")]
    #[case(json!({"iss": "https://i", "aud": ["a", "b"], "exp": 1}), Health::Failed(Kind::Refused), "ID token of https://i for a, b, expired")]
    #[case(json!({"iss": "https://i", "nbf": 1_800_000_060, "exp": 1_800_000_160}), Health::Failed(Kind::Refused), "not valid before another 1 min")]
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
