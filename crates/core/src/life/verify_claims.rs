//! The comparison of a token's claims with the request.

use crate::{
    claims::Claims,
    error::{Error, Kind},
    inputs::spec::Spec,
    life::token_request::another_account,
    names::is_identifier,
    text::{harmless, in_words},
};

impl Claims {
    /// Checks that the API server issued the requested token. Returns a warning if the token expires sooner
    /// than requested.
    ///
    /// # Errors
    /// If the token is for another account or for other audiences than requested, is not bound to the anchor,
    /// never expires, has no time of issue, or lives longer than requested. Also if its audiences are too
    /// long, or if its credential id is malformed.
    pub fn verify(
        &self,
        spec: &Spec,
        anchor_uid: &str,
        account_uid: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let wrong = |what: String| {
            Err(Error::new(
                Kind::Claims,
                format!("the API server issued a token that jobpass did not ask for: {what}"),
            )
            .help(
                "jobpass did not hand the token over. Look for an admission webhook, or a proxy in front of \
                 the API server, that changes TokenRequests or their answers",
            ))
        };
        let subject = format!(
            "system:serviceaccount:{}:{}",
            spec.namespace, spec.service_account
        );
        if self.sub.as_deref() != Some(&subject) {
            return wrong(format!("its subject is `{}`, not `{subject}`", shown(&self.sub)));
        }
        // API servers before Kubernetes 1.34 do not compare the uid.
        if account_uid.is_some() && self.account_uid() != account_uid {
            return Err(another_account(spec));
        }
        let uid = self
            .kubernetes
            .as_ref()
            .and_then(|k| k.secret.as_ref())
            .and_then(|secret| secret.uid.as_deref());
        if uid != Some(anchor_uid) {
            return wrong(
                "it is not bound to the anchor, so deleting the anchor would not revoke the token".into(),
            );
        }
        if !spec.audiences.is_empty() && !same_set(&self.aud, &spec.audiences) {
            let [issued, requested] = [&self.aud, &spec.audiences].map(|list| harmless(&list.join(", ")));
            return wrong(format!("its audiences are `{issued}`, not `{requested}`"));
        }
        if self.aud.iter().map(String::len).sum::<usize>() > 8 << 10 {
            return wrong("its audiences are longer than 8 KiB".into());
        }
        if self.jti.as_deref().is_some_and(|jti| !is_identifier(jti)) {
            return wrong("its credential id (`jti`) is malformed".into());
        }
        let (Some(issued), Some(expires)) = (self.iat, self.exp) else {
            return wrong("it never expires, or has no time of issue".into());
        };
        // Both times are by the API server's clock, so this machine's clock does not matter.
        let lifetime = u64::try_from(expires.saturating_sub(issued)).unwrap_or(0);
        let asked = spec.lifetime.seconds();
        if lifetime > asked {
            return wrong(format!(
                "it lives for {}, not {}",
                in_words(lifetime),
                in_words(asked)
            ));
        }
        Ok((lifetime < asked).then(|| {
            format!(
                "the API server shortened the token's lifetime: the token lives for {}, not {}. The API \
                 server's flag --service-account-max-token-expiration sets the limit",
                in_words(lifetime),
                in_words(asked)
            )
        }))
    }
}

fn shown(text: &Option<String>) -> String {
    harmless(text.as_deref().unwrap_or("nobody"))
}

fn same_set(a: &[String], b: &[String]) -> bool {
    a.iter().all(|x| b.contains(x)) && b.iter().all(|x| a.contains(x))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::{
        inputs::options::{Inputs, Opt},
        token::Token,
    };

    fn asked() -> Value {
        json!({
            "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:ci:scanner", "jti": "j",
            "aud": ["https://kubernetes.default.svc"], "iat": 1000, "nbf": 1000, "exp": 4600,
            "kubernetes.io": {
                "namespace": "ci", "serviceaccount": {"name": "scanner", "uid": "s"},
                "secret": {"name": "jobpass-a", "uid": "anchor-uid"}
            }
        })
    }

    fn token(claims: &Value) -> Token {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        Token::parse(
            &format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims)),
            "token",
        )
        .expect("a token")
    }

    #[test]
    fn another_account_of_the_same_name_is_refused() {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let claims = Claims::decode(&token(&asked())).expect("claims");
        assert!(claims.verify(&spec, "anchor-uid", Some("s")).is_ok());
        let error = claims
            .verify(&spec, "anchor-uid", Some("t"))
            .expect_err("another");
        assert!(
            error.to_string().contains("created another with its name"),
            "{error}"
        );
    }

    fn verify(claims: &Value, audiences: &str) -> Result<Option<String>, Error> {
        let inputs = Inputs::from([
            (Opt::ServiceAccount, "scanner"),
            (Opt::Namespace, "ci"),
            (Opt::Audiences, audiences),
        ]);
        Claims::decode(&token(claims))?.verify(&Spec::parse(&inputs, None)?, "anchor-uid", None)
    }

    #[test]
    fn what_was_asked_for_is_accepted() {
        assert_eq!(verify(&asked(), "").expect("accepted"), None);
        let mut one = asked();
        one["aud"] = json!("vault");
        assert_eq!(verify(&one, "vault").expect("accepted"), None);
        let mut null = asked();
        null["aud"] = Value::Null;
        assert_eq!(verify(&null, "").expect("accepted"), None);
    }

    #[test]
    fn a_shorter_life_is_a_warning() {
        let mut short = asked();
        short["exp"] = json!(2800);
        let warning = verify(&short, "").expect("accepted").expect("a warning");
        assert!(warning.contains("30 min, not 1 h"), "{warning}");
    }

    #[rstest]
    #[case("/sub", json!("system:serviceaccount:ci:admin"), "its subject is `system:serviceaccount:ci:admin`")]
    #[case("/sub", Value::Null, "its subject is `nobody`")]
    #[case("/kubernetes.io/secret/uid", json!("another"), "not bound to the anchor")]
    #[case("/kubernetes.io/secret", Value::Null, "not bound to the anchor")]
    #[case("/exp", json!(4601), "1 h 1 s")]
    #[case("/exp", Value::Null, "never expires")]
    #[case("/iat", Value::Null, "never expires")]
    #[case("/jti", json!("x\n::add-mask::y"), "credential id")]
    #[case("/aud", json!(["a".repeat(9000)]), "8 KiB")]
    fn anything_else_is_refused(#[case] claim: &str, #[case] value: Value, #[case] why: &str) {
        let mut claims = asked();
        *claims.pointer_mut(claim).expect("a claim") = value;
        let error = verify(&claims, "").expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn other_audiences_are_refused() {
        assert!(verify(&asked(), "vault").is_err());
        assert!(verify(&asked(), "https://kubernetes.default.svc,vault").is_err());
    }
}
