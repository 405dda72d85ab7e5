//! The new Secret: its name in the old one, its creation, the verification of its token, and its deletion
//! after a failure.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core;
use kube::core::params::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    Rotation,
    earlier::{ROTATED_FROM, ROTATED_TO, from},
};
use crate::{
    anchor::{
        self, Deletion,
        legacy::{self, ACCOUNT, LegacySecret},
    },
    claims::Claims,
    cluster::{Budget, Call, Cluster, objects, probe::is_accepted},
    error::{Error, Kind},
    refusal::RequiredPermission,
    token::Token,
};

/// The annotations and labels that the new Secret does not take over, because Kubernetes writes them or they
/// hold only for the old Secret.
const NOT_CARRIED_OVER: [&str; 6] = [
    ROTATED_TO,
    ROTATED_FROM,
    "kubernetes.io/service-account.uid",
    "kubernetes.io/legacy-token-last-used",
    "kubernetes.io/legacy-token-invalid-since",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// The time for deleting the new Secret after a failure.
const CLEAN_UP: Duration = Duration::from_secs(2);
/// The time in which an API server must accept a new token. It may learn of the Secret late.
const KNOWN: Duration = Duration::from_secs(10);

impl Rotation<'_> {
    /// Records the name of the new Secret in the old one, unless somebody has changed the old one since it
    /// was read. With `None`, removes the record.
    pub(super) async fn record(&self, new: Option<&str>, budget: &Budget) -> Result<(), Error> {
        let mut metadata = json!({ "annotations": { ROTATED_TO: new } });
        if new.is_some() {
            metadata["resourceVersion"] = json!(self.old.secret.metadata.resource_version);
        }
        let patch = json!({ "metadata": metadata });
        let call = patch_call("record the rotation", &self.namespace, &self.old.name, patch)?;
        let answer = self.cluster.send(&call, budget).await?;
        match answer.status {
            200 => Ok(()),
            // An earlier attempt, whose answer was lost, has written it.
            409 if answer.repeated && self.is_recorded(new, budget).await? => Ok(()),
            409 => {
                let (namespace, name) = (&self.namespace, &self.old.name);
                let what = format!("Secret {namespace}/{name} was changed by somebody else in the meantime");
                Err(Error::new(Kind::Refused, what)
                    .help("another rotation may be running: run the same command again in a moment"))
            }
            _ => Err(self.cluster.refused(&call, &answer, &self.permission())),
        }
    }

    async fn is_recorded(&self, new: Option<&str>, budget: &Budget) -> Result<bool, Error> {
        let old = LegacySecret::get(
            self.cluster,
            &self.namespace,
            &self.old.name,
            &self.permission(),
            budget,
        )
        .await?;
        Ok(old.is_some_and(|old| old.metadata.annotations.get(ROTATED_TO).map(String::as_str) == new))
    }

    /// Creates the new Secret and returns its uid.
    pub(super) async fn create(&self, new: &str, budget: &Budget) -> Result<String, Error> {
        let request = objects::<core::v1::Secret>(Some(&self.namespace))
            .create(&PostParams::default(), self.manifest(new).to_string().into());
        let call = Call::new("create the new Secret", request)?;
        let answer = self.cluster.send(&call, budget).await?;
        if answer.status != 201 && !answer.is_already_exists() {
            return Err(self.cluster.refused(&call, &answer, &self.permission()));
        }
        // Nobody else knows the name: an existing Secret is from an earlier attempt whose answer was lost.
        let secret =
            LegacySecret::get(self.cluster, &self.namespace, new, &self.permission(), budget).await?;
        match secret {
            Some(secret) => Ok(secret.metadata.uid),
            None => Err(Error::new(
                Kind::Refused,
                "the new Secret was deleted as soon as it was created",
            )
            .help(self.permission().no_account())),
        }
    }

    /// The new Secret, with the labels and annotations of the old one.
    fn manifest(&self, new: &str) -> Value {
        let metadata = &self.old.secret.metadata;
        let carried = |texts: &BTreeMap<String, String>| {
            let mut texts = texts.clone();
            texts.retain(|key, _| !NOT_CARRIED_OVER.contains(&&**key));
            texts
        };
        let mut annotations = carried(&metadata.annotations);
        annotations.insert(ACCOUNT.into(), self.account.clone());
        annotations.insert(ROTATED_FROM.into(), from(&self.old));
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": legacy::TYPE,
            "metadata": {
                "name": new, "namespace": self.namespace, "labels": carried(&metadata.labels), "annotations": annotations,
                "ownerReferences": metadata.owner_references,
            }
        })
    }

    /// The token of the new Secret, once its claims are verified and the API server accepts it.
    pub(super) async fn verified(&self, new: &str, uid: &str, budget: &Budget) -> Result<Token, Error> {
        let filled = legacy::filled(
            self.cluster,
            &self.namespace,
            new,
            uid,
            &self.permission(),
            budget,
        )
        .await?;
        Claims::decode(&filled.token)?.verify_legacy(&self.namespace, &self.account, new)?;
        let holder = self.cluster.with_token(&filled.token)?;
        let known = budget.at_most(KNOWN);
        let until = tokio::time::Instant::now() + KNOWN;
        while !is_accepted(&holder, &known).await?.0 {
            if tokio::time::Instant::now() >= until {
                return Err(
                    Error::new(Kind::Claims, "the API server does not accept the new token (401)").help(
                        "the new token was not written anywhere. Check whether legacy tokens are switched off in this cluster",
                    ),
                );
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(filled.token)
    }

    /// Deletes the new Secret after `error`, if this rotation requested its creation: `created` holds the
    /// uid, if the API server returned it.
    pub(super) async fn undo(&self, error: Error, new: &str, created: Option<Option<String>>) -> Error {
        let Some(uid) = created else { return error };
        let budget = Budget::to_the_end(CLEAN_UP);
        let deleted = delete_secret(self.cluster, new, uid.as_deref(), &self.permission(), &budget).await;
        match deleted {
            Ok(()) => {
                // Without its uid, the Secret may still be created late. The record stays, so that the next
                // rotation finds it.
                if uid.is_some() || error.kind() == Kind::Refused {
                    let _ = self.record(None, &budget).await;
                }
                error
            }
            Err(left) => error.help(format!(
                "the old token is still in its place and works. The new Secret could not be deleted: {}. Delete it by hand:\n\n  \
                 kubectl delete secret {new} --namespace {}",
                left.message(),
                self.namespace
            )),
        }
    }
}

/// Patches a Secret.
pub(super) fn patch_call(
    doing: &'static str,
    namespace: &str,
    name: &str,
    patch: Value,
) -> Result<Call, Error> {
    let secrets = objects::<core::v1::Secret>(Some(namespace));
    Call::new(
        doing,
        secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)),
    )
}

/// Deletes a Secret. It may be gone already, or belong to somebody else.
pub(super) async fn delete_secret(
    cluster: &Cluster,
    name: &str,
    uid: Option<&str>,
    permission: &RequiredPermission<'_>,
    budget: &Budget,
) -> Result<(), Error> {
    match anchor::delete(cluster, permission.namespace(), name, uid, budget).await? {
        Deletion::Done | Deletion::Gone { .. } | Deletion::AnotherUid => Ok(()),
        Deletion::Held => Err(anchor::held(permission.namespace(), name)),
        Deletion::Refused(call, answer) => Err(cluster.refused(&call, &answer, permission)),
    }
}
