//! Legacy tokens: the tokens of Secrets of type `kubernetes.io/service-account-token`.
//!
//! The cluster's token controller puts the token into the Secret. The token never expires. The deletion of
//! the Secret or of the ServiceAccount revokes it. So the Secret is the token's anchor.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core;
use kube::core::params::GetParams;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    claims::{Claims, warnings::Warning},
    cluster::{Budget, Call, Cluster, objects},
    error::{Error, Kind},
    names::is_dns_subdomain,
    refusal::RequiredPermission,
    token::Token,
};

/// The type of the Secrets that the token controller fills.
pub const TYPE: &str = "kubernetes.io/service-account-token";
/// The annotation that names the ServiceAccount.
pub(crate) const ACCOUNT: &str = "kubernetes.io/service-account.name";
/// The annotation with the lifetime of a Secret in seconds, counted from its creation. Kubernetes ignores it;
/// `jobpass sweep` reads it.
pub const EXPIRATION: &str = "kubernetes.io/service-account.expiration";
/// The key under which the Secret holds the token.
pub(crate) const KEY: &str = "token";

/// The time limit for the token controller to fill a Secret. On an idle cluster, that takes 10 ms.
const FILL: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A Secret that the token controller has filled.
pub(crate) struct Filled {
    pub(crate) token: Token,
    /// The time of the Secret's creation, by the API server's clock.
    pub(crate) created: Timestamp,
}

/// A Secret with its data. Unlike the type of k8s-openapi, this type wipes the memory of the data, and has no
/// `Debug`.
#[derive(Deserialize)]
pub(crate) struct LegacySecret {
    #[serde(default, rename = "type")]
    pub(crate) secret_type: String,
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) data: BTreeMap<String, SecretString>,
    #[serde(default)]
    pub(crate) immutable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) creation_timestamp: Timestamp,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) owner_references: Vec<serde_json::Value>,
}

impl LegacySecret {
    /// Reads a Secret. `None` if the Secret or its namespace does not exist.
    pub(crate) async fn get(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        permission: &RequiredPermission<'_>,
        budget: &Budget,
    ) -> Result<Option<Self>, Error> {
        let request = objects::<core::v1::Secret>(Some(namespace)).get(name, &GetParams::default());
        let call = Call::new("read the Secret", request)?;
        let answer = cluster.send(&call, budget).await?;
        match answer.status {
            200 => answer.parse(&call).map(Some),
            404 if answer.is_secret_not_found() => Ok(None),
            _ => Err(cluster.refused(&call, &answer, permission)),
        }
    }

    /// The decoded value of a key. The text of an error continues a sentence that begins with "the Secret".
    pub(crate) fn value(&self, key: &str) -> Result<Zeroizing<String>, &'static str> {
        let encoded = self.data.get(key).ok_or("has no such key")?;
        let bytes = STANDARD.decode(encoded.expose_secret());
        let bytes = bytes.map_err(|_| "holds no base64 under that key")?;
        String::from_utf8(bytes)
            .map(Zeroizing::new)
            .map_err(|_| "holds no text under that key")
    }
}

/// Warns that `jobpass sweep` never deletes the Secret of a legacy token, if the Secret has neither a
/// lifetime nor an owner. `None` for any other token, and if jobpass cannot read the Secret.
pub async fn forgotten(cluster: &Cluster, claims: &Claims, budget: &Budget) -> Option<Warning> {
    let (namespace, name) = (
        claims.legacy_namespace.as_deref()?,
        claims.legacy_secret.as_deref()?,
    );
    if !claims.is_of_secret(namespace, name) || ![namespace, name].into_iter().all(is_dns_subdomain) {
        return None;
    }
    let permission = RequiredPermission::rotating(namespace, "");
    let secret = LegacySecret::get(cluster, namespace, name, &permission, budget)
        .await
        .ok()??;
    let Metadata {
        annotations,
        owner_references,
        ..
    } = secret.metadata;
    let kept = annotations.contains_key(EXPIRATION) || !owner_references.is_empty();
    (!kept).then(|| Warning {
        kind: "forgotten",
        why: format!(
            "Secret {namespace}/{name} has neither a lifetime ({EXPIRATION}) nor an owner: `jobpass sweep` \
             never deletes it"
        ),
    })
}

/// The lifetime of a Secret from its annotation: a whole number of seconds above zero, such as `"86400"`.
pub(crate) fn expiration(annotation: &str) -> Option<SignedDuration> {
    let digits = !annotation.is_empty() && annotation.bytes().all(|b| b.is_ascii_digit());
    let seconds = annotation
        .parse::<i64>()
        .ok()
        .filter(|seconds| digits && *seconds > 0)?;
    Some(SignedDuration::from_secs(seconds))
}

/// Waits until the token controller has filled a Secret.
///
/// # Errors
/// If the controller writes nothing within 20 s, or writes text that is not a token. Also if the Secret is
/// gone: the controller deletes it if the ServiceAccount does not exist. Also if the API server refuses, or
/// gives no usable answer.
pub(crate) async fn filled(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    uid: &str,
    permission: &RequiredPermission<'_>,
    budget: &Budget,
) -> Result<Filled, Error> {
    let budget = budget.at_most(FILL);
    let until = Instant::now() + FILL;
    let mut pause = Duration::from_millis(20);
    loop {
        let secret = LegacySecret::get(cluster, namespace, name, permission, &budget).await?;
        let Some(secret) = secret.filter(|secret| secret.metadata.uid == uid) else {
            let error = Error::new(
                Kind::Refused,
                "cannot get a legacy token: another program deleted its Secret right after jobpass created \
                 the Secret",
            );
            return Err(error.help(permission.no_secret()));
        };
        if secret.data.contains_key(KEY) {
            let token = secret.value(KEY).ok();
            let token = token.and_then(|text| Token::parse(&text, KEY).ok());
            let token = token.ok_or_else(|| {
                Error::new(
                    Kind::Claims,
                    "the Secret of the legacy token holds text that is not a token",
                )
                .help(
                    "find out which program other than the token controller of Kubernetes writes to Secrets \
                     of this type",
                )
            })?;
            let created = secret.metadata.creation_timestamp;
            return Ok(Filled { token, created });
        }
        if Instant::now() + pause >= until {
            let seconds = FILL.as_secs();
            let what = format!(
                "cannot get a legacy token: the cluster's token controller wrote no token into the Secret \
                 within {seconds} s"
            );
            return Err(Error::new(Kind::Refused, what).help(
                "the controller `serviceaccount-token-controller` of kube-controller-manager writes these \
                 tokens. In this cluster, it is switched off or overloaded. Use a bound token (`type: \
                 bound`), which needs no controller",
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cluster::{
        Identity,
        scripted::{self, Fate},
    };

    #[rstest]
    #[case("86400", Some(86_400))]
    #[case("1", Some(1))]
    #[case("0", None)]
    #[case("-5", None)]
    #[case("+5", None)]
    #[case("24h", None)]
    #[case("", None)]
    #[case(" 5", None)]
    #[case("99999999999999999999", None)]
    fn only_seconds_are_an_expiration(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(expiration(text).map(|time| time.as_secs()), seconds);
    }

    fn secret(uid: &str, data: &str) -> Fate {
        Fate::answer(
            200,
            format!(
                r#"{{"kind":"Secret","type":"{TYPE}","metadata":{{"name":"a","uid":"{uid}","resourceVersion":"1",
                   "creationTimestamp":"2026-11-24T10:00:00Z"}},"data":{data}}}"#
            ),
        )
    }

    /// Returns the token or the kind of the error, and the number of times that jobpass read the Secret.
    async fn filled_from(fates: Vec<Fate>) -> (Result<String, Kind>, usize) {
        let (cluster, log) = scripted::cluster(&Identity::default(), fates);
        let permission = RequiredPermission::rotating("ci", "scanner");
        let budget = Budget::new(Duration::from_secs(60));
        let filled = filled(&cluster, "ci", "a", "u-1", &permission, &budget).await;
        let token = filled.map(|filled| filled.token.expose().to_owned());
        (token.map_err(|error| error.kind()), log.lines().len())
    }

    #[rstest]
    #[case::at_once(vec![secret("u-1", r#"{"token":"dDBrZW4="}"#)], Ok("t0ken"), 1)]
    #[case::soon(vec![secret("u-1", "{}"), secret("u-1", "null"), secret("u-1", r#"{"token":"dDBrZW4="}"#)], Ok("t0ken"), 3)]
    #[case::deleted(
        vec![secret("u-1", "{}"), Fate::status(404, "NotFound", "secrets", "not found")],
        Err(Kind::Refused),
        2
    )]
    #[case::replaced(vec![secret("u-2", r#"{"token":"dDBrZW4="}"#)], Err(Kind::Refused), 1)]
    #[case::not_base64(vec![secret("u-1", r#"{"token":"?"}"#)], Err(Kind::Claims), 1)]
    #[tokio::test(start_paused = true)]
    async fn a_secret_is_waited_for(
        #[case] fates: Vec<Fate>,
        #[case] expected: Result<&str, Kind>,
        #[case] times: usize,
    ) {
        let (token, read) = filled_from(fates).await;
        assert_eq!((token.as_deref().map_err(|kind| *kind), read), (expected, times));
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_nobody_fills_is_not_waited_for_for_ever() {
        let started = Instant::now();
        let (token, _) = filled_from(vec![secret("u-1", "{}")]).await;
        assert_eq!(token, Err(Kind::Refused));
        assert!(started.elapsed() <= FILL, "{:?}", started.elapsed());
    }
}
