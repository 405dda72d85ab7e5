//! The new Secret.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    Rotation,
    earlier::{FROM, TO, from},
};
use crate::{
    anchor::{
        delete_call,
        legacy::{self, ACCOUNT, Secret},
    },
    claims::Claims,
    cluster::{Answer, Budget, Call, objects, probe::is_accepted},
    error::{Error, Kind},
    token::Token,
};

/// What the new Secret does not take over: what Kubernetes writes itself, and what holds for the old one alone.
const OWN: [&str; 6] = [
    TO,
    FROM,
    "kubernetes.io/service-account.uid",
    "kubernetes.io/legacy-token-last-used",
    "kubernetes.io/legacy-token-invalid-since",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// Deleting the new Secret again.
const CLEAN_UP: Duration = Duration::from_secs(2);
/// How long an API server may take to know a new token.
const KNOWN: Duration = Duration::from_secs(10);

impl Rotation<'_> {
    /// Notes the new name in the old Secret, if nobody has changed that since it was read; or takes the note away.
    pub(super) async fn record(&self, new: Option<&str>, budget: &Budget) -> Result<(), Error> {
        let mut metadata = json!({ "annotations": { TO: new } });
        if new.is_some() {
            metadata["resourceVersion"] = json!(self.old.secret.metadata.resource_version);
        }
        let patch = json!({ "metadata": metadata });
        let call = patch_call("record the rotation", &self.namespace, &self.old.name, patch)?;
        let answer = self.cluster.send(&call, budget).await?;
        match answer.status {
            200 => Ok(()),
            // By an attempt of ours whose answer was lost.
            409 if answer.repeated && self.is_recorded(new, budget).await? => Ok(()),
            409 => {
                let (namespace, name) = (&self.namespace, &self.old.name);
                let what = format!("Secret {namespace}/{name} was changed by somebody else in the meantime");
                Err(Error::new(Kind::Refused, what)
                    .help("perhaps it is being rotated already; try again in a moment"))
            }
            _ => Err(self.cluster.refused(&call, &answer, &self.need())),
        }
    }

    async fn is_recorded(&self, new: Option<&str>, budget: &Budget) -> Result<bool, Error> {
        let old = Secret::get(
            self.cluster,
            &self.namespace,
            &self.old.name,
            &self.need(),
            budget,
        )
        .await?;
        Ok(old.is_some_and(|old| old.metadata.annotations.get(TO).map(String::as_str) == new))
    }

    pub(super) async fn create(&self, new: &str, budget: &Budget) -> Result<String, Error> {
        let request = objects::<core::v1::Secret>(Some(&self.namespace))
            .create(&PostParams::default(), self.manifest(new).to_string().into());
        let call = Call::new("create the new Secret", request)?;
        let answer = self.cluster.send(&call, budget).await?;
        if answer.status != 201 && !answer.is_already_exists() {
            return Err(self.cluster.refused(&call, &answer, &self.need()));
        }
        // Nobody else knows the name: what is there already is ours, from an attempt whose answer was lost.
        let secret = Secret::get(self.cluster, &self.namespace, new, &self.need(), budget).await?;
        match secret {
            Some(secret) => Ok(secret.metadata.uid),
            None => Err(
                Error::new(Kind::Refused, "the new Secret was gone as soon as it was there")
                    .help(self.need().no_account()),
            ),
        }
    }

    fn manifest(&self, new: &str) -> Value {
        let metadata = &self.old.secret.metadata;
        let carried = |texts: &BTreeMap<String, String>| {
            let mut texts = texts.clone();
            texts.retain(|key, _| !OWN.contains(&&**key));
            texts
        };
        let mut annotations = carried(&metadata.annotations);
        annotations.insert(ACCOUNT.into(), self.account.clone());
        annotations.insert(FROM.into(), from(&self.old));
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": legacy::TYPE,
            "metadata": {
                "name": new, "namespace": self.namespace, "labels": carried(&metadata.labels), "annotations": annotations,
                "ownerReferences": metadata.owner_references,
            }
        })
    }

    /// The new token: it says what it should, and the API server takes it.
    pub(super) async fn verified(&self, new: &str, uid: &str, budget: &Budget) -> Result<Token, Error> {
        let filled = legacy::filled(self.cluster, &self.namespace, new, uid, &self.need(), budget).await?;
        Claims::decode(&filled.token)?.verify_legacy(&self.namespace, &self.account, new)?;
        let holder = self.cluster.with_token(&filled.token)?;
        let known = budget.at_most(KNOWN);
        let until = tokio::time::Instant::now() + KNOWN;
        while !is_accepted(&holder, &known).await?.0 {
            if tokio::time::Instant::now() >= until {
                return Err(
                    Error::new(Kind::Claims, "the API server does not take the new token (401)").help(
                        "it was not written anywhere. Legacy tokens may be switched off in this cluster",
                    ),
                );
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(filled.token)
    }

    /// Deletes the new Secret, if it was created here: asked for, or with its uid.
    pub(super) async fn undo(&self, error: Error, new: &str, created: Option<Option<String>>) -> Error {
        let Some(uid) = created else { return error };
        let budget = Budget::to_the_end(CLEAN_UP);
        let delete = async || {
            let call = delete_call(&self.namespace, new, uid.as_deref())?;
            let answer = self.cluster.send(&call, &budget).await?;
            match is_deleted(&answer) {
                true => Ok(()),
                false => Err(self.cluster.refused(&call, &answer, &self.need())),
            }
        };
        let deleted = delete().await;
        match deleted {
            Ok(()) => {
                // A Secret that is created late, after all, is taken by the next rotation.
                if uid.is_some() || error.kind() == Kind::Refused {
                    let _ = self.record(None, &budget).await;
                }
                error
            }
            Err(left) => error.help(format!(
                "the old token is where it was, and works. The new Secret could not be deleted: {}; do it by hand:\n\n  \
                 kubectl delete secret {new} --namespace {}",
                left.what(),
                self.namespace
            )),
        }
    }
}

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

/// Or gone already, or another's by now.
pub(super) fn is_deleted(answer: &Answer) -> bool {
    matches!(answer.status, 200 | 202) || answer.is_secret_not_found() || answer.is_uid_mismatch()
}
