//! The claims of a token, read without verifying its signature.
//!
//! jobpass gets its tokens from the API server over verified TLS. It reads the claims to show them, and to
//! check that the API server issued the requested token.

pub mod account;
pub mod warnings;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use crate::{
    error::{Error, Kind},
    json::remove_nulls,
    text::harmless,
    token::Token,
};

/// The claims of a ServiceAccount token (`pkg/serviceaccount/claims.go`). Times are seconds since 1970.
///
/// ```
/// use jobpass_core::{claims::Claims, token::Token};
///
/// // The claims are `{"sub":"system:serviceaccount:ci:scanner","exp":1800003600}`.
/// let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6c2Nhbm5lciIsImV4cCI6MTgwMDAwMzYwMH0.c2ln";
/// let claims = Claims::decode(&Token::parse(token, "token")?)?;
/// assert_eq!(claims.sub.as_deref(), Some("system:serviceaccount:ci:scanner"));
/// assert_eq!(claims.exp, Some(1_800_003_600));
/// # Ok::<(), jobpass_core::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: Option<String>,
    /// The user of the token: `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: Option<String>,
    /// The audiences: the servers that may accept the token.
    #[serde(default, deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// The time of issue.
    pub iat: Option<i64>,
    /// The time from which the token is valid.
    pub nbf: Option<i64>,
    /// The time at which the token expires. `None` for a legacy token.
    pub exp: Option<i64>,
    /// The credential id. API servers set it from Kubernetes 1.30 on, and in 1.29 behind a feature gate
    /// (`ServiceAccountTokenJTI`).
    pub jti: Option<String>,
    /// The private claims of Kubernetes.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Option<Kubernetes>,
    /// The Secret that holds the token, if it is a legacy token (`pkg/serviceaccount/legacy.go`).
    #[serde(
        rename = "kubernetes.io/serviceaccount/secret.name",
        skip_serializing_if = "Option::is_none"
    )]
    pub legacy_secret: Option<String>,
    /// The namespace of the Secret that holds a legacy token.
    #[serde(
        rename = "kubernetes.io/serviceaccount/namespace",
        skip_serializing_if = "Option::is_none"
    )]
    pub legacy_namespace: Option<String>,
}

/// The private claims of Kubernetes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kubernetes {
    /// The namespace of the ServiceAccount, and of the bound Secret or Pod.
    pub namespace: Option<String>,
    /// The ServiceAccount.
    pub serviceaccount: Option<Reference>,
    /// The bound Secret. For the tokens of jobpass, it is the anchor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The bound Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The bound Node, or the Node of a bound Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The time by which a client should have renewed the token. Afterwards, the API server still accepts the
    /// token, and notes that in its audit log (`authentication.k8s.io/stale-token`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// An object by name and uid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: Option<String>,
}

/// The issuer of the tokens in Secrets of type `kubernetes.io/service-account-token`
/// (`pkg/serviceaccount/legacy.go`).
pub(crate) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// The next step if a Secret holds another token than the one of Kubernetes' token controller.
const OTHER_WRITER: &str = "jobpass did not hand the token over. Find out which program other than the token \
    controller of Kubernetes writes to Secrets of this type";

impl Claims {
    /// Reads the claims of a JWT.
    ///
    /// # Errors
    /// If the token is not a JWT, or a claim has another type than Kubernetes gives it. The error names the
    /// faulty part and position, and never quotes the token.
    pub fn decode(token: &Token) -> Result<Self, Error> {
        part(token, 1)
    }

    /// Like [`Claims::decode`], for a token that the API server issued a moment ago.
    ///
    /// # Errors
    /// As [`Claims::decode`], with a next step.
    pub(crate) fn of_issued(token: &Token) -> Result<Self, Error> {
        Self::decode(token).map_err(|error| {
            error.help(
                "check the server's URL: Kubernetes issues no such token. If the server is a Kubernetes API \
                 server, report this message to https://github.com/jobpass/jobpass/issues",
            )
        })
    }

    /// Like [`Claims::decode`], for the token in the new Secret `namespace`/`secret` of a legacy token.
    ///
    /// # Errors
    /// As [`Claims::decode`], with a next step.
    pub(crate) fn of_legacy_secret(token: &Token, namespace: &str, secret: &str) -> Result<Self, Error> {
        Self::decode(token).map_err(|error| {
            let message = format!(
                "Secret {namespace}/{secret} does not hold the token that jobpass requested: {}",
                error.message()
            );
            Error::new(Kind::Claims, message).help(OTHER_WRITER)
        })
    }

    /// The uid of the ServiceAccount.
    pub(crate) fn account_uid(&self) -> Option<&str> {
        self.kubernetes.as_ref()?.serviceaccount.as_ref()?.uid.as_deref()
    }

    /// Whether the token is the legacy token of the Secret `namespace`/`name` (type
    /// `kubernetes.io/service-account-token`). The deletion of that Secret revokes the token.
    pub fn is_of_secret(&self, namespace: &str, name: &str) -> bool {
        self.iss.as_deref() == Some(LEGACY_ISSUER)
            && self.legacy_namespace.as_deref() == Some(namespace)
            && self.legacy_secret.as_deref() == Some(name)
    }

    /// Checks that the token is the legacy token of the ServiceAccount `account` in the Secret `secret`, and
    /// has neither an expiry nor audiences.
    ///
    /// # Errors
    /// [`Kind::Claims`] if the token is another one, or has an expiry or audiences.
    pub fn verify_legacy(&self, namespace: &str, account: &str, secret: &str) -> Result<(), Error> {
        let subject = format!("system:serviceaccount:{namespace}:{account}");
        let what = match () {
            () if self.sub.as_deref() != Some(&subject) => {
                format!("its subject is `{}`, not `{subject}`", shown(&self.sub))
            }
            () if !self.is_of_secret(namespace, secret) => {
                "it is not the legacy token of that Secret, so deleting the Secret would not revoke the \
                 token"
                    .into()
            }
            () if self.exp.is_some() || !self.aud.is_empty() => {
                "it has an expiry or audiences, which legacy tokens do not have".into()
            }
            () => return Ok(()),
        };
        let message =
            format!("Secret {namespace}/{secret} does not hold the token that jobpass requested: {what}");
        Err(Error::new(Kind::Claims, message).help(OTHER_WRITER))
    }

    /// The kind and the name of the object that the token is bound to. The name is as the issuer wrote it,
    /// and not safe to show. The API server refuses the token when that object is gone.
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

    /// Whether the token is for other servers, and not for the API server.
    ///
    /// By default, the API server accepts its issuer as an audience. The flag `--api-audiences` can change
    /// that, and no claim shows whether a cluster sets the flag.
    pub fn is_for_others(&self) -> bool {
        !self.aud.is_empty() && self.iss.as_ref().is_some_and(|issuer| !self.aud.contains(issuer))
    }

    /// The seconds from the token's issue to its expiry. `None` if one of the times is missing.
    pub fn lifetime(&self) -> Option<i64> {
        Some(self.exp?.saturating_sub(self.iat?))
    }

    /// The seconds until the token expires; negative afterwards.
    pub fn expires_in(&self, now: jiff::Timestamp) -> Option<i64> {
        self.exp.map(|exp| exp - now.as_second())
    }
}

/// Reads the header (0) or the claims (1) of a JWT.
///
/// # Errors
/// As [`Claims::decode`].
pub(crate) fn part<T: for<'de> Deserialize<'de>>(token: &Token, index: usize) -> Result<T, Error> {
    let wrong = |what: String| Error::new(Kind::Claims, what);
    let not_a_jwt = |why: &str| wrong(format!("the token is not a JWT: {why}"));
    let parts = token.expose().split('.').collect::<Vec<_>>();
    if parts.len() != 3 {
        return Err(not_a_jwt("it does not have three parts"));
    }
    let (name, have, position) = [("header", "has", "first"), ("claims", "have", "middle")][index];
    let mut json = URL_SAFE_NO_PAD
        .decode(parts[index].trim_end_matches('='))
        .map_err(|_| not_a_jwt(&format!("its {position} part is not base64url")))?;
    remove_nulls(&mut json);
    serde_json::from_slice(&json).map_err(|e| {
        let place = format!(
            "(line {}, column {}, without members that are `null`)",
            e.line(),
            e.column()
        );
        match e.classify() {
            Category::Data => wrong(format!(
                "the {name} of the token {have} a value of another type than in Kubernetes {place}"
            )),
            Category::Io | Category::Syntax | Category::Eof => {
                not_a_jwt(&format!("its {position} part is not JSON {place}"))
            }
        }
    })
}

fn shown(text: &Option<String>) -> String {
    harmless(text.as_deref().unwrap_or("nobody"))
}

/// Reads the audiences: a plain string (RFC 7519, section 4.1.3) or a list.
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
    fn a_text_that_is_not_a_jwt_is_refused_without_quoting_it(#[case] text: &str) {
        let error = Claims::decode(&Token::parse(text, "token").expect("text"))
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("the token is not a JWT") && !error.contains("secret"),
            "{error}"
        );
    }

    /// RFC 7519 allows an expiry with a fraction of a second.
    #[test]
    fn a_claim_of_another_type_is_told_apart_from_broken_json() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1800003600.5}"#);
        let token = Token::parse(&format!("e30.{claims}.c2ln"), "token").expect("text");
        assert_eq!(
            Claims::decode(&token).expect_err("refused").to_string(),
            "the claims of the token have a value of another type than in Kubernetes (line 1, column 19, without members that are `null`)"
        );
    }
}
