//! Attacks that delete or change existing objects, and requests of all other kinds.

use serde_json::{Value, json};

use super::{
    FOR_JOBS, FRESH, MINTERS, NOBODY, OTHER, OWN, RBAC, SPARE, Try, Who,
    Who::{ForJobs, Gifted, Job, Mighty},
    World, anchor,
};

impl World {
    /// A minter may delete anchors. A minter for jobs may also delete the objects of a job. Both must use
    /// background propagation.
    pub(super) fn deletions(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let core = format!("/api/v1/namespaces/{namespace}");
        let rbac = format!("/apis/{RBAC}/v1/namespaces/{namespace}");
        let mut tries = Vec::new();
        for (path, may) in [
            (format!("{core}/secrets/{SPARE}"), MINTERS),
            (format!("{core}/secrets/{OTHER}"), MINTERS),
            (format!("{core}/secrets/borrowed"), NOBODY),
            (format!("{core}/secrets/victim"), NOBODY),
            (format!("{core}/secrets/powerful-token"), NOBODY),
            (format!("{core}/secrets/{OWN}-data"), NOBODY),
            (format!("{core}/serviceaccounts/{OTHER}"), FOR_JOBS),
            (format!("{core}/serviceaccounts/scanner"), NOBODY),
            (format!("{core}/serviceaccounts/for-jobs"), NOBODY),
            (format!("{rbac}/roles/{OTHER}"), FOR_JOBS),
            (format!("{rbac}/roles/jobpass-minter.with-rules"), NOBODY),
            (format!("{rbac}/rolebindings/{OTHER}"), FOR_JOBS),
            (format!("{rbac}/rolebindings/jobpass-sweeper"), NOBODY),
        ] {
            for (query, body, in_background) in [
                ("", Value::Null, true),
                ("propagationPolicy=Background", Value::Null, true),
                ("propagationPolicy=Foreground", Value::Null, false),
                ("propagationPolicy=Orphan", Value::Null, false),
                ("orphanDependents=true", Value::Null, false),
                ("gracePeriodSeconds=0", Value::Null, true),
                ("", json!({ "propagationPolicy": "Background" }), true),
                ("", json!({ "propagationPolicy": "Foreground" }), false),
                ("", json!({ "propagationPolicy": "Orphan" }), false),
                ("", json!({ "orphanDependents": true }), false),
                ("", json!({ "orphanDependents": false }), true),
                (
                    "propagationPolicy=Background",
                    json!({ "propagationPolicy": "Foreground" }),
                    false,
                ),
            ] {
                let may = if in_background { may } else { NOBODY };
                // If a request has a body, the values in the body count, and not those in the query.
                let mut body = body;
                let mut all = query.to_owned();
                match body.is_null() {
                    true => all = format!("{query}&dryRun=All"),
                    false => {
                        body["kind"] = "DeleteOptions".into();
                        body["apiVersion"] = "v1".into();
                    }
                }
                let for_real = body.clone();
                if !body.is_null() {
                    body["dryRun"] = json!(["All"]);
                }
                tries.push(Try {
                    dry: true,
                    ..Try::new("DELETE", format!("{path}?{all}"), &body, may)
                });
                if may.is_empty() {
                    tries.push(Try::new("DELETE", format!("{path}?{query}"), &for_real, may));
                }
            }
        }
        // These requests delete a whole collection, without a name.
        for (collection, one) in [
            (format!("{core}/secrets"), "victim"),
            (format!("{core}/serviceaccounts"), "scanner"),
            (format!("{rbac}/roles"), "jobpass-sweeper"),
            (format!("{rbac}/rolebindings"), "jobpass-sweeper"),
        ] {
            for name in [one, OWN] {
                let one = format!("{collection}?fieldSelector=metadata.name%3D{name}");
                for query in [
                    &one,
                    &format!("{one}&propagationPolicy=Foreground"),
                    &format!("{one}&dryRun=All"),
                ] {
                    tries.push(Try::new("DELETE", query, &Value::Null, NOBODY));
                }
            }
            tries.push(Try::new("DELETE", &collection, &Value::Null, NOBODY));
        }
        tries
    }

    /// No attacker may change an existing object. One exception: an account with the permission may change a
    /// job's objects into objects that it could also create.
    pub(super) fn changes(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let core = format!("/api/v1/namespaces/{namespace}");
        let rbac = format!("/apis/{RBAC}/v1/namespaces/{namespace}");
        let admission = "/apis/admissionregistration.k8s.io/v1";
        let user = json!({ "kind": "User", "name": "jane", "apiGroup": RBAC });
        let secrets = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
        let mut tries = Vec::new();
        for path in [
            format!("{core}/secrets/victim"),
            format!("{core}/secrets/borrowed"),
            format!("{core}/secrets/{OWN}"),
            format!("{core}/secrets/{FRESH}"),
            format!("{core}/serviceaccounts/scanner"),
            format!("{core}/serviceaccounts/{OWN}"),
            format!("{core}/serviceaccounts/{FRESH}"),
            format!("{core}/pods/target-pod"),
            format!("{core}/configmaps/shared"),
            format!("{rbac}/roles/jobpass-minter.with-rules"),
            format!("{rbac}/roles/{OWN}"),
            format!("{rbac}/roles/{FRESH}"),
            format!("{rbac}/rolebindings/jobpass-minter.with-rules"),
            format!("{rbac}/rolebindings/{OWN}"),
            format!("{rbac}/rolebindings/{FRESH}"),
            format!("/api/v1/namespaces/{namespace}"),
            format!("{admission}/validatingadmissionpolicies/jobpass-jobs.{namespace}"),
            format!("{admission}/validatingadmissionpolicybindings/jobpass-jobs.{namespace}"),
        ] {
            let (status, mut object) = self.desk.cluster.ask("GET", &path, None);
            if status != 200 {
                object = json!({
                    "metadata": { "name": FRESH }, "rules": [], "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": OWN },
                });
            }
            object["metadata"]["labels"]["a"] = "b".into();
            let harmless: &'static [Who] = match path.ends_with(OWN) {
                true => &[Mighty],
                false => NOBODY,
            };
            tries.extend(Try::both("PUT", &path, &object, harmless));
            let mut labelled = json!({ "metadata": { "labels": { "a": "b" } } });
            for (kind, body, may) in [
                ("merge-patch+json", labelled.clone(), harmless),
                ("strategic-merge-patch+json", labelled.clone(), harmless),
                (
                    "json-patch+json",
                    json!([{ "op": "add", "path": "/metadata/finalizers", "value": ["a.example/b"] }]),
                    NOBODY,
                ),
                // The API server ignores fields that an object cannot have. So one request can set the wrong
                // fields of several kinds of objects.
                (
                    "merge-patch+json",
                    json!({ "metadata": { "ownerReferences": null, "finalizers": ["a.example/b"] }, "data": { "a": "Yg==" } }),
                    NOBODY,
                ),
                (
                    "merge-patch+json",
                    json!({ "metadata": { "finalizers": ["a.example/b"] }, "rules": secrets, "subjects": [user] }),
                    NOBODY,
                ),
            ] {
                let headers = match kind {
                    "merge-patch+json" => "application/merge-patch+json",
                    "strategic-merge-patch+json" => "application/strategic-merge-patch+json",
                    _ => "application/json-patch+json",
                };
                tries.extend(Try::both("PATCH", &path, &body, may).into_iter().map(|one| Try {
                    headers: vec![("content-type", headers)],
                    ..one
                }));
            }
            labelled["apiVersion"] = object["apiVersion"].clone();
            labelled["kind"] = object["kind"].clone();
            let applied = Try::new(
                "PATCH",
                format!("{path}?fieldManager=attacker&force=true&dryRun=All"),
                &labelled,
                harmless,
            );
            tries.push(Try {
                headers: vec![("content-type", "application/apply-patch+yaml")],
                dry: true,
                ..applied
            });
            if path.starts_with(admission) || path.ends_with(namespace) {
                tries.push(Try::new("DELETE", path, &Value::Null, NOBODY));
            }
        }
        // Each of these requests has one fault.
        for (path, body) in [
            (
                format!("{core}/secrets/{OWN}"),
                json!({ "data": { "a": "Yg==" } }),
            ),
            (format!("{rbac}/roles/{OWN}"), json!({ "rules": secrets })),
            (
                format!("{rbac}/roles/{OWN}"),
                json!({ "metadata": { "ownerReferences": null } }),
            ),
            (
                format!("{rbac}/rolebindings/{OWN}"),
                json!({ "subjects": [user] }),
            ),
            (
                format!("{core}/serviceaccounts/{OWN}"),
                json!({ "metadata": { "ownerReferences": null } }),
            ),
        ] {
            tries.extend(
                Try::both("PATCH", &path, &body, NOBODY)
                    .into_iter()
                    .map(|one| Try {
                        headers: vec![("content-type", "application/merge-patch+json")],
                        ..one
                    }),
            );
        }
        tries
    }

    /// A minter for jobs may use the permissions that it gives to jobs, and so may the jobs. The cluster
    /// refuses all other requests.
    pub(super) fn everything_else(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let core = format!("/api/v1/namespaces/{namespace}");
        let get = |path: String, may| Try::new("GET", path, &Value::Null, may);
        let given: &'static [Who] = &[ForJobs, Mighty, Job, Gifted];
        let mut tries = vec![
            get(format!("{core}/pods"), given),
            get(format!("{core}/configmaps/shared"), given),
            get(format!("{core}/configmaps"), NOBODY),
            get(format!("{core}/configmaps/kube-root-ca.crt"), NOBODY),
            get(format!("{core}/pods/other-pod/exec?command=id"), NOBODY),
            get(format!("{core}/serviceaccounts"), NOBODY),
            get("/api/v1/secrets".into(), NOBODY),
            get("/api/v1/namespaces/kube-system/secrets".into(), NOBODY),
            get(format!("/apis/{RBAC}/v1/namespaces/{namespace}/roles"), NOBODY),
        ];
        let pod = json!({
            "serviceAccountName": "for-jobs", "restartPolicy": "Never", "containers": [{ "name": "a", "image": "a" }],
        });
        let template = json!({ "metadata": { "labels": { "a": "b" } }, "spec": pod });
        let meta = json!({ "name": "loot" });
        let subject = json!({ "kind": "ServiceAccount", "name": "for-jobs", "namespace": namespace });
        let deployment = json!({ "selector": { "matchLabels": { "a": "b" } }, "template": template });
        let admin = json!({ "apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin" });
        for (path, object) in [
            (format!("{core}/pods"), json!({ "metadata": meta, "spec": pod })),
            (format!("{core}/configmaps"), json!({ "metadata": meta })),
            (
                format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
                json!({ "metadata": meta, "spec": deployment }),
            ),
            (
                format!("/apis/batch/v1/namespaces/{namespace}/jobs"),
                json!({ "metadata": meta, "spec": { "template": template } }),
            ),
            ("/api/v1/namespaces".into(), json!({ "metadata": meta })),
            (
                format!("/apis/{RBAC}/v1/clusterroles"),
                json!({ "metadata": meta, "rules": [] }),
            ),
            (
                format!("/apis/{RBAC}/v1/clusterrolebindings"),
                json!({ "metadata": meta, "roleRef": admin, "subjects": [subject] }),
            ),
            (
                "/api/v1/namespaces/kube-system/secrets".into(),
                anchor(&json!({ "name": FRESH })),
            ),
            (
                "/api/v1/namespaces/kube-system/serviceaccounts/default/token".into(),
                json!({ "spec": {} }),
            ),
            (
                "/apis/authentication.k8s.io/v1/tokenreviews".into(),
                json!({ "spec": { "token": "a" } }),
            ),
        ] {
            tries.extend(Try::both("POST", &path, &object, NOBODY));
        }
        for (name, value) in [
            ("impersonate-user", "kubernetes-admin"),
            (
                "impersonate-user",
                "system:serviceaccount:kube-system:generic-garbage-collector",
            ),
            ("impersonate-group", "system:masters"),
            ("impersonate-uid", "u"),
        ] {
            let mut headers = vec![(name, value)];
            if name != "impersonate-user" {
                headers.push(("impersonate-user", "jane"));
            }
            tries.push(Try {
                headers,
                ..get(format!("{core}/secrets"), NOBODY)
            });
        }
        tries
    }
}
