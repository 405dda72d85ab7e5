//! `jobpass inspect`.

use std::io::Read as _;

use clap::{Arg, ArgMatches, Command};
use jobpass_core::{
    Error,
    claims::{Claims, Reference},
    spec::in_words,
    text::harmless,
    token::Token,
};

use crate::output;

pub(crate) fn command() -> Command {
    Command::new("inspect")
        .about("Show what a token says of itself, without showing the token (nothing is asked of a cluster)")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .help("File that holds the token; without it, standard input"),
        )
        .arg(output::flag())
        .after_help("Example:\n  kubectl create token scanner --namespace ci | jobpass inspect")
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Error> {
    let text = match matches.get_one::<String>("file") {
        Some(path) => jobpass_core::files::read(path.as_ref()),
        None => {
            let mut text = String::new();
            std::io::stdin()
                .take(1 << 20)
                .read_to_string(&mut text)
                .map(|_| text)
        }
    };
    let text = text.map_err(|error| {
        Error::input(
            "file",
            format!("cannot be read: {}", harmless(&error.to_string())),
            "name a file that holds a token",
        )
    })?;
    let claims = Claims::decode(&Token::parse(&text, "file")?).map_err(|error| {
        Error::input(
            "file",
            format!("holds something else: {}", error.what()),
            "give a Kubernetes token",
        )
    })?;
    if output::is_json(matches) {
        return output::result(&serde_json::to_string(&claims).unwrap_or_default());
    }
    output::result(&text_of(&claims, jiff::Timestamp::now()))
}

fn text_of(claims: &Claims, now: jiff::Timestamp) -> String {
    let time = |seconds: Option<i64>| {
        seconds
            .and_then(|s| jiff::Timestamp::from_second(s).ok())
            .map(output::time)
    };
    let kubernetes = claims.kubernetes.as_ref();
    let bound = kubernetes.and_then(|k| {
        let named = |kind: &str, object: &Option<Reference>| {
            object.as_ref().map(|o| format!("{kind} {}", harmless(&o.name)))
        };
        named("Secret", &k.secret)
            .or_else(|| named("Pod", &k.pod))
            .or_else(|| named("Node", &k.node))
    });
    let expires = match (time(claims.exp), claims.expires_in(now)) {
        (Some(at), Some(left)) if left > 0 => format!("{at}, in {}", in_words(left.unsigned_abs())),
        (Some(at), Some(left)) => format!("{at}, {} ago", in_words(left.unsigned_abs())),
        _ => "never".into(),
    };
    let lifetime = claims
        .iat
        .zip(claims.exp)
        .map(|(iat, exp)| in_words(exp.saturating_sub(iat).unsigned_abs()));
    let shown = |text: &Option<String>| text.as_deref().map_or_else(|| "(none)".into(), harmless);
    let rows = [
        ("subject", shown(&claims.sub)),
        ("issuer", shown(&claims.iss)),
        (
            "audiences",
            if claims.aud.is_empty() {
                "(none)".into()
            } else {
                harmless(&claims.aud.join(", "))
            },
        ),
        (
            "bound to",
            bound
                .unwrap_or_else(|| "nothing: only its expiry ends it, or deleting the ServiceAccount".into()),
        ),
        ("issued", time(claims.iat).unwrap_or_else(|| "(not said)".into())),
        ("expires", expires),
        ("lifetime", lifetime.unwrap_or_else(|| "unlimited".into())),
        ("credential id", shown(&claims.jti)),
    ];
    rows.map(|(name, value)| format!("{name:<14} {value}")).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_sees() {
        let claims = serde_json::from_value::<Claims>(serde_json::json!({
            "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:ci:scanner", "aud": ["https://kubernetes.default.svc"],
            "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_003_600, "jti": "11111111-2222-3333-4444-555555555555",
            "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "scanner", "uid": "s"}, "secret": {"name": "jobpass-a", "uid": "u"}}
        }))
        .expect("claims");
        let now = |seconds| jiff::Timestamp::from_second(seconds).expect("a time");
        insta::assert_snapshot!(text_of(&claims, now(1_800_001_080)), @r"
        subject        system:serviceaccount:ci:scanner
        issuer         https://kubernetes.default.svc
        audiences      https://kubernetes.default.svc
        bound to       Secret jobpass-a
        issued         2027-01-15 08:00:00 UTC
        expires        2027-01-15 09:00:00 UTC, in 42 min
        lifetime       1 h
        credential id  11111111-2222-3333-4444-555555555555
        ");
        let legacy = Claims {
            iat: None,
            exp: None,
            jti: None,
            aud: vec![],
            kubernetes: None,
            ..claims
        };
        insta::assert_snapshot!(text_of(&legacy, now(1_800_001_080)), @r"
        subject        system:serviceaccount:ci:scanner
        issuer         https://kubernetes.default.svc
        audiences      (none)
        bound to       nothing: only its expiry ends it, or deleting the ServiceAccount
        issued         (not said)
        expires        never
        lifetime       unlimited
        credential id  (none)
        ");
    }
}
