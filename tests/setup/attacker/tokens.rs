//! Attacks that create Secrets and request tokens.

use serde_json::{Value, json};

use super::{
    ANCHOR, AUDIENCE, FOR_JOBS, FRESH, GIFTED, MINTERS, NOBODY, OTHER, OWN, Try, Who, Who::OfScanner, World,
    names,
};

impl World {
    /// A minter may create anchors: Secrets with jobpass's names and type, without content, and without
    /// finalizers.
    pub(super) fn secrets(&self) -> Vec<Try> {
        let path = format!("/api/v1/namespaces/{}/secrets", self.namespace());
        let mut tries = Vec::new();
        for names in names() {
            for kind in [ANCHOR, "Opaque", "kubernetes.io/service-account-token"] {
                for content in [
                    json!({}),
                    json!({ "data": { "a": "Yg==" } }),
                    json!({ "stringData": { "a": "b" } }),
                ] {
                    for finalizers in [json!([]), json!(["a.example/b"])] {
                        let an_anchor = names["name"] == FRESH && kind == ANCHOR;
                        let empty = content == json!({}) && finalizers == json!([]);
                        let mut secret = content.clone();
                        secret["type"] = kind.into();
                        secret["metadata"] = names.clone();
                        secret["metadata"]["finalizers"] = finalizers;
                        secret["metadata"]["annotations"] =
                            json!({ "kubernetes.io/service-account.name": "powerful" });
                        let may = if an_anchor && empty { MINTERS } else { NOBODY };
                        tries.extend(Try::both("POST", &path, &secret, may));
                    }
                }
            }
        }
        for query in [
            "",
            "?watch=true&timeoutSeconds=1",
            "/victim",
            "/victim?resourceVersion=0",
            &format!("/{OWN}"),
        ] {
            tries.push(Try::new("GET", format!("{path}{query}"), &Value::Null, NOBODY));
        }
        tries
    }

    /// A minter of one ServiceAccount may get tokens of this account that are bound to an anchor. A minter
    /// for jobs may get tokens of a job's account that are bound to this job's anchor. The tokens live for an
    /// hour at most, and have the audiences of the set-up.
    pub(super) fn tokens(&self) -> Vec<Try> {
        let own = json!({ "apiVersion": "v1", "kind": "Secret", "name": OWN, "uid": self.uid(OWN) });
        let with = |field: &str, value: Value| {
            let mut bound = own.clone();
            bound[field] = value;
            bound
        };
        let secret =
            |name: &str| json!({ "apiVersion": "v1", "kind": "Secret", "name": name, "uid": self.uid(name) });
        let other = secret(OTHER);
        let bounds = [
            Value::Null,
            own.clone(),
            other.clone(),
            secret("victim"),
            secret("borrowed"),
            secret("powerful-token"),
            with("uid", Value::Null),
            with("uid", "".into()),
            with("uid", "00000000-0000-0000-0000-000000000000".into()),
            with("apiVersion", Value::Null),
            with("apiVersion", "v2".into()),
            with("apiVersion", "apps/v1".into()),
            with("kind", "secret".into()),
            with("kind", "Node".into()),
            json!({ "apiVersion": "v1", "kind": "Pod", "name": "target-pod" }),
            json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "name": OWN }),
        ];
        let may_bind = |account: &str, bound: &Value| -> &'static [Who] {
            match account {
                "scanner" if *bound == own || *bound == other => &[OfScanner],
                OWN if *bound == own => FOR_JOBS,
                OTHER if *bound == other => FOR_JOBS,
                _ => NOBODY,
            }
        };
        let accounts = [
            "scanner",
            OWN,
            OTHER,
            GIFTED,
            "of-scanner",
            "for-jobs",
            "jobpass-sweeper",
            "default",
            "powerful",
        ];
        let mut tries = Vec::new();
        let mut ask = |account: &str, spec: Value, may| {
            let path = format!(
                "/api/v1/namespaces/{}/serviceaccounts/{account}/token",
                self.namespace()
            );
            tries.push(Try::new("POST", path, &json!({ "spec": spec }), may));
        };
        for account in accounts {
            for bound in &bounds {
                ask(
                    account,
                    json!({ "boundObjectRef": bound }),
                    may_bind(account, bound),
                );
            }
            for seconds in [600, 3600, 3601, 7200, 172_800] {
                for audiences in [
                    json!([]),
                    json!([AUDIENCE]),
                    json!(["vault", AUDIENCE]),
                    json!(["other"]),
                    json!(["vault", "other"]),
                ] {
                    let fits = seconds <= 3600 && !audiences.to_string().contains("other");
                    let may = if fits { may_bind(account, &own) } else { NOBODY };
                    let spec = json!({ "boundObjectRef": own, "expirationSeconds": seconds, "audiences": audiences });
                    ask(account, spec, may);
                }
            }
        }
        tries
    }
}
