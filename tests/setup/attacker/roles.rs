//! Attacks that create accounts and grant permissions to them.

use serde_json::{Value, json};

use super::{FOR_JOBS, FRESH, NOBODY, OWN, RBAC, SPARE, Try, Who, World, listed, names, owner};

impl World {
    /// A minter for jobs may create the ServiceAccount, Role and RoleBinding of a job. Each is named after
    /// the job's anchor, and has no other owner. The Role and the RoleBinding grant only the listed rules,
    /// and only to this ServiceAccount.
    pub(super) fn roles(&self) -> Vec<Try> {
        let namespace = self.namespace();
        let path = |kind: &str| match kind {
            "serviceaccounts" => format!("/api/v1/namespaces/{namespace}/{kind}"),
            kind => format!("/apis/{RBAC}/v1/namespaces/{namespace}/{kind}"),
        };
        let mine = |name: &str| json!([owner(name, &json!({ "metadata": { "uid": "u" } }))]);
        let changed = |field: &str, value: Value| {
            let mut owners = mine(FRESH);
            owners[0][field] = value;
            owners
        };
        let mut both = mine(FRESH);
        both.as_array_mut()
            .expect("a list")
            .push(owner("victim", &json!({ "metadata": { "uid": "v" } })));
        let owners = [
            mine(FRESH),
            json!([]),
            both,
            changed("apiVersion", "nowhere.example/v1".into()),
            changed("kind", "ConfigMap".into()),
            changed("name", "loot".into()),
            changed("blockOwnerDeletion", true.into()),
        ];
        let mut tries = Vec::new();
        for names in names() {
            for owners in owners.iter().chain([&mine("loot")]) {
                for finalizers in [json!([]), json!(["a.example/b"])] {
                    let of_job = names["name"] == FRESH && *owners == mine(FRESH) && finalizers == json!([]);
                    let may = if of_job { FOR_JOBS } else { NOBODY };
                    let mut meta = names.clone();
                    meta["ownerReferences"] = owners.clone();
                    meta["finalizers"] = finalizers;
                    tries.extend(Try::both(
                        "POST",
                        &path("serviceaccounts"),
                        &json!({ "metadata": meta }),
                        may,
                    ));
                    let role = json!({ "metadata": meta, "rules": listed() });
                    tries.extend(Try::both("POST", &path("roles"), &role, may));
                }
            }
        }
        for (rules, may) in rules() {
            let role =
                json!({ "metadata": { "name": FRESH, "ownerReferences": mine(FRESH) }, "rules": rules });
            tries.extend(Try::both("POST", &path("roles"), &role, may));
        }
        let subject = |kind: &str, name: &str, namespace: &str| match kind {
            "ServiceAccount" => json!({ "kind": kind, "name": name, "namespace": namespace }),
            kind => json!({ "kind": kind, "name": name, "apiGroup": RBAC }),
        };
        let own = subject("ServiceAccount", SPARE, namespace);
        let subjects = [
            json!([own]),
            json!([]),
            json!([own, subject("ServiceAccount", "for-jobs", namespace)]),
            json!([subject("ServiceAccount", OWN, namespace)]),
            json!([subject("ServiceAccount", "scanner", namespace)]),
            json!([subject("ServiceAccount", SPARE, "kube-system")]),
            json!([subject("User", SPARE, "")]),
            json!([subject("Group", "system:authenticated", "")]),
        ];
        for (kind, role) in [
            ("Role", SPARE),
            ("Role", OWN),
            ("Role", "jobpass-minter.with-rules"),
            ("Role", "jobpass-sweeper"),
            ("ClusterRole", "view"),
            ("ClusterRole", "cluster-admin"),
        ] {
            for subjects in &subjects {
                let fits = role == SPARE && *subjects == json!([own]);
                let may = if fits { FOR_JOBS } else { NOBODY };
                let binding = json!({
                    "metadata": { "name": SPARE, "ownerReferences": mine(SPARE) },
                    "roleRef": { "apiGroup": RBAC, "kind": kind, "name": role }, "subjects": subjects,
                });
                tries.extend(Try::both("POST", &path("rolebindings"), &binding, may));
            }
        }
        tries
    }
}

/// The rules of a Role, and the attackers who may create that Role. `Mighty` may escalate, so RBAC itself
/// refuses none of these rules to it.
fn rules() -> Vec<(Value, &'static [Who])> {
    let one = |group: &str, resource: &str, names: &[&str], verb: &str| {
        let mut rule = json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] });
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    let may = FOR_JOBS;
    let mut rules = vec![
        (listed(), may),
        (json!([one("", "pods", &[], "get")]), may),
        (json!([one("", "pods", &["a", "b"], "list")]), may),
        (json!([one("", "configmaps", &["shared"], "get")]), may),
    ];
    for never in [
        one("", "configmaps", &[], "get"),
        one("", "configmaps", &[""], "get"),
        one("", "configmaps", &["shared", "kube-root-ca.crt"], "get"),
        one("", "configmaps", &["shared"], "delete"),
        one("", "pods", &[], "delete"),
        one("", "pods", &[], "*"),
        one("", "pods/exec", &[], "create"),
        one("", "pods/exec", &["other-pod"], "create"),
        one("apps", "pods", &[], "get"),
        one("*", "pods", &[], "get"),
        one("", "*", &[], "get"),
        one("", "*/exec", &["target-pod"], "create"),
        one("*", "*", &[], "*"),
        one("", "secrets", &[], "create"),
        one("", "secrets", &[], "delete"),
        one("", "secrets", &[], "get"),
        one("", "secrets", &["pods"], "create"),
        one("", "serviceaccounts", &[], "create"),
        one("", "serviceaccounts/token", &[], "create"),
        one("", "serviceaccounts/token", &["scanner"], "create"),
        one("", "serviceaccounts", &[], "impersonate"),
        one(RBAC, "roles", &[], "create"),
        one(RBAC, "roles", &[], "escalate"),
        one(RBAC, "rolebindings", &[], "create"),
        one(RBAC, "rolebindings", &[], "delete"),
    ] {
        rules.push((json!([never]), NOBODY));
        rules.push((json!([one("", "pods", &[], "get"), never]), NOBODY));
    }
    rules
}
