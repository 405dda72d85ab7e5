//! Legacy tokens: those of Secrets of type `kubernetes.io/service-account-token`.
//!
//! The cluster's token controller puts the token into the Secret. It has no end: only deleting the Secret, or the
//! ServiceAccount, revokes it. So the Secret is its anchor.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core;
use kube::api::GetParams;
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
/// The annotation that says how many seconds after its creation a Secret is to go. Nothing in Kubernetes reads it;
/// `jobpass sweep` does.
pub const EXPIRATION: &str = "kubernetes.io/service-account.expiration";
/// The key under which the Secret holds the token.
pub(crate) const KEY: &str = "token";

/// How long the token controller may take. On an idle cluster it takes 10 ms.
const FILL: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A Secret that the controller has filled.
pub(crate) struct Filled {
    pub(crate) token: Token,
    /// When the Secret was created, by the API server's clock.
    pub(crate) created: Timestamp,
}

/// A Secret with its data. Unlike the type of k8s-openapi, it holds the data in memory that is wiped, and cannot be printed.
#[derive(Deserialize)]
pub(crate) struct Secret {
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

impl Secret {
    /// Reads one; `None` if it, or its namespace, is not there.
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

    /// What is under a key, decoded. The error says why there is none, after "the Secret".
    pub(crate) fn value(&self, key: &str) -> Result<Zeroizing<String>, &'static str> {
        let encoded = self.data.get(key).ok_or("has no such key")?;
        let bytes = STANDARD.decode(encoded.expose_secret());
        let bytes = bytes.map_err(|_| "holds no base64 under that key")?;
        String::from_utf8(bytes)
            .map(Zeroizing::new)
            .map_err(|_| "holds no text under that key")
    }
}

/// What a cluster says about the Secret of a legacy token: that nothing will ever delete it. `None` if something will, or it cannot
/// be known from here.
pub async fn forgotten(cluster: &Cluster, claims: &Claims, budget: &Budget) -> Option<Warning> {
    let (namespace, name) = (
        claims.legacy_namespace.as_deref()?,
        claims.legacy_secret.as_deref()?,
    );
    if !claims.is_of_secret(namespace, name) || ![namespace, name].into_iter().all(is_dns_subdomain) {
        return None;
    }
    let permission = RequiredPermission::rotating(namespace, "");
    let secret = Secret::get(cluster, namespace, name, &permission, budget)
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
            "Secret {namespace}/{name} neither says when it is to go ({EXPIRATION}) nor belongs to anything: nothing will ever delete it"
        ),
    })
}

/// How many seconds after its creation a Secret is to go, as its annotation says: a whole number above zero, as in
/// `"86400"`.
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
/// If it does not within 20 s, or deletes the Secret: there is no such ServiceAccount.
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
        let secret = Secret::get(cluster, namespace, name, permission, &budget).await?;
        let Some(secret) = secret.filter(|secret| secret.metadata.uid == uid) else {
            let error = Error::new(
                Kind::Refused,
                "cannot get a legacy token: its Secret was gone as soon as it was there",
            );
            return Err(error.help(permission.no_account()));
        };
        if secret.data.contains_key(KEY) {
            let token = secret.value(KEY).ok();
            let token = token.and_then(|text| Token::parse(&text, KEY).ok());
            let token = token
                .ok_or_else(|| Error::new(Kind::Claims, "the Secret holds no token, but something else"))?;
            let created = secret.metadata.creation_timestamp;
            return Ok(Filled { token, created });
        }
        if Instant::now() + pause >= until {
            let seconds = FILL.as_secs();
            let what =
                format!("cannot get a legacy token: nothing put one into its Secret within {seconds} s");
            return Err(Error::new(Kind::Refused, what).help(
                "the cluster's token controller does that (kube-controller-manager, `serviceaccount-token`): it is switched off \
                 here, or overloaded. Use a bound token (`type: bound`), which needs none",
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
}
