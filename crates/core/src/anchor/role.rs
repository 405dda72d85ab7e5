//! A role for one job: a ServiceAccount, a Role and a RoleBinding, called as the anchor is and owned by it.
//!
//! Deleting the anchor is deleting all of them, sooner or later: the cluster's garbage collector sees to that. Revoking
//! does not wait for it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    access::{self, Verdict},
    cluster::{Budget, Call, Cluster},
    error::Error,
    inputs::spec::Spec,
    names,
    rbac::Permission,
    refusal::Need,
    text::harmless,
};

/// How long an API server may take to learn of a new RoleBinding. It took 8 ms where that was measured.
const IN_EFFECT: Duration = Duration::from_secs(5);

/// What there is besides the anchor, in the order in which it is made.
const OBJECTS: [Object; 3] = [
    Object {
        kind: "ServiceAccount",
        collection: ("/api/v1", "serviceaccounts"),
        create: "create the job's ServiceAccount",
        delete: "delete the job's ServiceAccount",
    },
    Object {
        kind: "Role",
        collection: (RBAC, "roles"),
        create: "create the job's Role",
        delete: "delete the job's Role",
    },
    BINDING,
];
const BINDING: Object = Object {
    kind: "RoleBinding",
    collection: (RBAC, "rolebindings"),
    create: "create the job's RoleBinding",
    delete: "delete the job's RoleBinding",
};
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

struct Object {
    kind: &'static str,
    collection: (&'static str, &'static str),
    create: &'static str,
    delete: &'static str,
}

/// Makes all three, owned by the anchor.
///
/// Repeating it is safe: nobody else has the name, so what is there already is ours, from an attempt whose answer was lost.
pub(crate) async fn create(
    cluster: &Cluster,
    spec: &Spec,
    anchor_uid: &str,
    budget: &Budget,
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    for object in &OBJECTS {
        let call = Call {
            doing: object.create,
            method: http::Method::POST,
            path: object.path(&spec.namespace, ""),
            body: Some(object.manifest(spec, anchor_uid)),
        };
        let answer = cluster.send(&call, budget).await?;
        if answer.status != 201 && !answer.is_already_exists() {
            return Err(cluster.refused(&call, &answer, &Need::minting(spec)));
        }
        warnings.extend(answer.warnings);
    }
    Ok(warnings)
}

/// Waits until the role is in effect, so that neither the job nor a check comes too early. A warning, if it takes too long.
pub(crate) async fn in_effect(as_token: &Cluster, spec: &Spec, budget: &Budget) -> Option<String> {
    let first = Permission::of_rule(spec.rules.first()?)?;
    let wait = async {
        while let (Verdict::Denied, _) = access::review(as_token, &first, &spec.namespace, budget).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let late = tokio::time::timeout(IN_EFFECT, wait).await.is_err();
    late.then(|| {
        format!(
            "the API server does not let the token do `{first}`, {} s after it took the role that allows it",
            IN_EFFECT.as_secs()
        )
    })
}

/// Takes the rights away. They are looked up whenever the token is used, where the token itself may be remembered.
pub(crate) async fn unbind(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    budget: &Budget,
) -> Result<(), Error> {
    BINDING.delete(cluster, namespace, name, budget).await
}

/// Deletes all three at the same time, so that none waits for another.
pub(crate) async fn delete(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    budget: &Budget,
) -> Result<(), Error> {
    let deletions = OBJECTS
        .iter()
        .map(|object| object.delete(cluster, namespace, name, budget));
    let outcomes = futures_util::future::join_all(deletions).await;
    outcomes.into_iter().collect()
}

impl Object {
    fn path(&self, namespace: &str, name: &str) -> String {
        let (root, plural) = self.collection;
        let path = format!("{root}/namespaces/{namespace}/{plural}/{name}");
        path.trim_end_matches('/').to_owned()
    }

    fn manifest(&self, spec: &Spec, anchor_uid: &str) -> Value {
        let (name, namespace) = (&spec.service_account, &spec.namespace);
        let (root, _) = self.collection;
        let api_version = root.trim_start_matches("/apis/").trim_start_matches("/api/");
        let mut labels = spec.metadata.labels.clone();
        labels.insert(names::MANAGED_BY.into(), "jobpass".into());
        let mut manifest = json!({
            "apiVersion": api_version, "kind": self.kind,
            "metadata": {
                "name": name, "namespace": namespace, "labels": labels, "annotations": spec.metadata.annotations,
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Secret", "name": name, "uid": anchor_uid }],
            },
        });
        match self.kind {
            // No Pod is to get a token of it.
            "ServiceAccount" => manifest["automountServiceAccountToken"] = false.into(),
            "Role" => manifest["rules"] = json!(spec.rules),
            _ => {
                manifest["roleRef"] =
                    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name });
                manifest["subjects"] =
                    json!([{ "kind": "ServiceAccount", "name": name, "namespace": namespace }]);
            }
        }
        manifest
    }

    /// Without a uid: nobody else has the name. What is gone is deleted.
    async fn delete(
        &self,
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        budget: &Budget,
    ) -> Result<(), Error> {
        let call = Call {
            doing: self.delete,
            method: http::Method::DELETE,
            path: self.path(namespace, name),
            body: Some(
                json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background" }),
            ),
        };
        let answer = cluster.send(&call, budget).await?;
        match answer.status {
            200 | 202 => Ok(()),
            404 if answer.is_not_found() => Ok(()),
            status => Err(Error::new(
                crate::Kind::Refused,
                format!(
                    "cannot {}: the API server answered {status} {}",
                    self.delete,
                    harmless(&answer.message())
                ),
            )),
        }
    }
}
