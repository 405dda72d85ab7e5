//! What a token says of itself, read without verifying its signature.
//!
//! jobpass gets its tokens from the API server over verified TLS; the claims are read to check that the server issued
//! what was asked for, and to show them.

pub mod account;
pub mod warnings;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Kind},
    json::remove_nulls,
    text::harmless,
    token::Token,
};

/// The claims of a ServiceAccount token (`pkg/serviceaccount/claims.go`); times are seconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: Option<String>,
    /// Whom it speaks for: `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: Option<String>,
    /// Whom it is for.
    #[serde(default, deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it was issued.
    pub iat: Option<i64>,
    /// From when on it is valid.
    pub nbf: Option<i64>,
    /// When it expires. Legacy tokens have none.
    pub exp: Option<i64>,
    /// Its credential id; API servers before about 1.29 set none.
    pub jti: Option<String>,
    /// What Kubernetes adds.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Option<Kubernetes>,
    /// The Secret that holds it, if it is a legacy token (`pkg/serviceaccount/legacy.go`).
    #[serde(
        rename = "kubernetes.io/serviceaccount/secret.name",
        skip_serializing_if = "Option::is_none"
    )]
    pub legacy_secret: Option<String>,
    /// The namespace of that Secret.
    #[serde(
        rename = "kubernetes.io/serviceaccount/namespace",
        skip_serializing_if = "Option::is_none"
    )]
    pub legacy_namespace: Option<String>,
}

/// The private claims of Kubernetes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kubernetes {
    /// The namespace of the ServiceAccount and of the bound object.
    pub namespace: Option<String>,
    /// The ServiceAccount.
    pub serviceaccount: Option<Reference>,
    /// The bound Secret; for jobpass's tokens, the anchor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The bound Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The bound Node, or the one that a bound Pod runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// From when on the API server only warns: the token was meant to expire then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// An object by name and uid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Option<String>,
}

/// The issuer of the tokens in Secrets of type `kubernetes.io/service-account-token` (`pkg/serviceaccount/legacy.go`).
pub(crate) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

impl Claims {
    /// Reads the claims of a JWT.
    ///
    /// # Errors
    /// If it is none. The text says where, never what.
    pub fn decode(token: &Token) -> Result<Self, Error> {
        part(token, 1)
    }

    /// Whether it is the token of that Secret, of type `kubernetes.io/service-account-token`: whose deletion ends it.
    pub fn is_of_secret(&self, namespace: &str, name: &str) -> bool {
        self.iss.as_deref() == Some(LEGACY_ISSUER)
            && self.legacy_namespace.as_deref() == Some(namespace)
            && self.legacy_secret.as_deref() == Some(name)
    }

    /// Checks that a legacy token is that of this Secret, speaks for this ServiceAccount, and has neither end nor audience.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn verify_legacy(&self, namespace: &str, account: &str, secret: &str) -> Result<(), Error> {
        let subject = format!("system:serviceaccount:{namespace}:{account}");
        let what = match () {
            () if self.sub.as_deref() != Some(&subject) => {
                format!("it speaks for `{}`, not `{subject}`", shown(&self.sub))
            }
            () if !self.is_of_secret(namespace, secret) => {
                "it is not the legacy token of that Secret, so deleting the Secret would not revoke it".into()
            }
            () if self.exp.is_some() || !self.aud.is_empty() => {
                "it has an end or audiences, which no legacy token has".into()
            }
            () => return Ok(()),
        };
        let what = format!("Secret {namespace}/{secret} holds a token that was not asked for: {what}");
        Err(Error::new(Kind::Claims, what)
            .help("It was not handed over. Something other than the token controller fills Secrets, or changes them."))
    }

    /// The kind and the name of the object without which it is refused, as the server wrote them.
    pub fn bound_to(&self) -> Option<(&'static str, &str)> {
        let legacy = self.legacy_secret.as_deref().map(|name| ("Secret", name));
        let private = self.kubernetes.as_ref();
        let bound = private.and_then(|k| {
            let objects = [("Secret", &k.secret), ("Pod", &k.pod), ("Node", &k.node)];
            objects
                .into_iter()
                .find_map(|(kind, object)| Some((kind, &*object.as_ref()?.name)))
        });
        bound.or(legacy)
    }

    /// Whether it is for somebody else than the API server. That the issuer is also the API server's audience is its default
    /// (`--api-audiences`), and nothing in a token says more.
    pub fn is_for_others(&self) -> bool {
        !self.aud.is_empty() && self.iss.as_ref().is_some_and(|issuer| !self.aud.contains(issuer))
    }

    /// Seconds between its beginning and its end, if it has both.
    pub fn lifetime(&self) -> Option<i64> {
        Some(self.exp?.saturating_sub(self.iat?))
    }

    /// Seconds until it expires, negative if it has.
    pub fn expires_in(&self, now: jiff::Timestamp) -> Option<i64> {
        self.exp.map(|exp| exp - now.as_second())
    }
}

/// Reads the header (0) or the claims (1) of a JWT.
///
/// # Errors
/// If it is none. The text says where, never what.
pub(crate) fn part<T: for<'de> Deserialize<'de>>(token: &Token, index: usize) -> Result<T, Error> {
    let not_a_jwt = |why: &str| Error::new(Kind::Claims, format!("the token is not a JWT: {why}"));
    let parts = token.expose().split('.').collect::<Vec<_>>();
    if parts.len() != 3 {
        return Err(not_a_jwt("it does not have three parts"));
    }
    let (name, position) = [("header", "first"), ("claims", "middle")][index];
    let mut json = URL_SAFE_NO_PAD
        .decode(parts[index].trim_end_matches('='))
        .map_err(|_| not_a_jwt(&format!("its {position} part is not base64url")))?;
    remove_nulls(&mut json);
    serde_json::from_slice(&json).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        not_a_jwt(&format!(
            "its {name} cannot be read (line {line}, column {column})"
        ))
    })
}

fn shown(text: &Option<String>) -> String {
    harmless(text.as_deref().unwrap_or("nobody"))
}

/// RFC 7519, section 4.1.3: one audience may be a plain string.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("opaque")]
    #[case("a.b")]
    #[case("a.%%%.c")]
    #[case("a.c2VjcmV0.c")]
    #[case("a.b.c.d")]
    fn what_is_no_jwt_is_refused_unseen(#[case] text: &str) {
        let error = Claims::decode(&Token::parse(text, "token").expect("text"))
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("the token is not a JWT") && !error.contains("secret"),
            "{error}"
        );
    }
}
