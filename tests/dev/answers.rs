//! Every kind of answer of the dev cluster. `tests/replay` compares these answers with those of Kubernetes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, claims_of},
    support,
};

const METADATA: (&str, &str) = (
    "accept",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
);
const JSON: (&str, &str) = ("content-type", "application/json");
const ANCHORS: &str = "fieldSelector=type%3Djobpass.dev%2Fanchor";
const ACCESS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A client of the dev cluster.
struct Asking<'a> {
    cluster: &'a Cluster,
    token: String,
}

impl Asking<'_> {
    /// Sends a request, and panics unless the answer has this status.
    fn gets(&self, status: u16, method: &str, path: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let headers = [JSON, ("accept", "application/json")];
        let headers = if path.contains("METADATA") {
            [JSON, METADATA]
        } else {
            headers
        };
        let path = path
            .replace("NAMESPACE", self.cluster.namespace())
            .replace("METADATA", "");
        let (found, answer) = self.cluster.ask_with(&self.token, method, &path, &headers, &body);
        assert_eq!(found, status, "{method} {path}: {answer}");
        answer
    }

    fn lists(&self, path: &str, items: usize) -> Value {
        let list = self.gets(200, "GET", path, &Value::Null);
        let found = list["items"].as_array().map_or(0, Vec::len);
        assert_eq!(found, items, "{path}: {list}");
        list
    }

    fn may(&self, attributes: Value) -> bool {
        let review = self.gets(
            201,
            "POST",
            ACCESS,
            &json!({"spec": {"resourceAttributes": attributes}}),
        );
        review["status"]["allowed"] == true
    }
}

/// A cluster with a minter, and a user with all permissions for Secrets and tokens.
fn cluster() -> Cluster {
    let cluster = Cluster::dev();
    cluster.apply(&support::MANIFESTS.replace("create\", \"delete\"]", "create\", \"delete\", \"list\"]"));
    cluster.apply(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: mighty, namespace: NAMESPACE, labels: {}, annotations: {why: "to see every answer"}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE-mighty}
rules:
- {apiGroups: [""], resources: ["secrets", "*/token"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-mighty}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-mighty}
subjects: [{kind: ServiceAccount, name: mighty, namespace: NAMESPACE}]
"#,
    );
    cluster
}

impl Cluster {
    fn of<'a>(&'a self, account: &str) -> Asking<'a> {
        Asking {
            cluster: self,
            token: self.service_account_token(self.namespace(), account, Duration::from_secs(600)),
        }
    }
}

fn anchor(name: &str) -> Value {
    json!({"metadata": {"name": name}, "type": "jobpass.dev/anchor"})
}

#[test]
fn secrets() {
    let cluster = cluster();
    let mighty = cluster.of("mighty");
    let secrets = "/api/v1/namespaces/NAMESPACE/secrets";
    for path in [
        secrets,
        "/api/v1/namespaces/NAMESPACE/secretsMETADATA",
        "/api/v1/namespaces/nowhere/secrets",
    ] {
        mighty.lists(path, 0);
    }
    for name in ["a", "b-1", "b", "c"] {
        mighty.gets(201, "POST", secrets, &anchor(name));
    }
    let mut other =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "labels": {"a": "b"}}});
    other["metadata"]["namespace"] = cluster.namespace().into();
    mighty.gets(201, "POST", secrets, &other);
    mighty.gets(409, "POST", secrets, &anchor("a"));
    mighty.gets(404, "POST", "/api/v1/namespaces/nowhere/secrets", &anchor("a"));

    mighty.lists(secrets, 5);
    for path in ["/api/v1/namespaces/NAMESPACE/secrets", "/api/v1/secrets"] {
        let all = mighty.lists(&format!("{path}METADATA?{ANCHORS}"), 4);
        let mut page = mighty.lists(&format!("{path}METADATA?{ANCHORS}&limit=3"), 3);
        let next = page["metadata"]["continue"].take();
        let next = next.as_str().expect("there is more");
        let rest = mighty.lists(&format!("{path}METADATA?{ANCHORS}&limit=3&continue={next}"), 1);
        assert_eq!(all["items"][3], rest["items"][0]);
    }
    let page = mighty.lists(&format!("{secrets}?limit=2"), 2);
    assert_eq!(page["metadata"]["remainingItemCount"], 3);

    let preconditions = |uid: &str| json!({"preconditions": {"uid": uid}, "propagationPolicy": "Background"});
    let delete =
        |status, name: &str, body: Value| mighty.gets(status, "DELETE", &format!("{secrets}/{name}"), &body);
    delete(409, "a", preconditions("11111111-1111-4111-8111-111111111111"));
    let list = mighty.lists(secrets, 5);
    let uid = list["items"][0]["metadata"]["uid"].as_str().expect("a uid");
    delete(200, "a", preconditions(uid));
    delete(404, "a", Value::Null);
    delete(200, "b", Value::Null);
    mighty.lists(secrets, 3);
}

#[test]
fn tokens() {
    let cluster = cluster();
    let mighty = cluster.of("mighty");
    let path = |account: &str| format!("/api/v1/namespaces/NAMESPACE/serviceaccounts/{account}/token");
    let request =
        |spec: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let plain = request(json!({"expirationSeconds": 600}));
    mighty.gets(201, "POST", &path("scanner"), &plain);
    mighty.gets(404, "POST", &path("nobody"), &plain);
    mighty.gets(
        404,
        "POST",
        "/api/v1/namespaces/nowhere/serviceaccounts/scanner/token",
        &plain,
    );
    let elsewhere = request(json!({"expirationSeconds": 3600, "audiences": ["https://vault.example.com"]}));
    let elsewhere = mighty.gets(201, "POST", &path("scanner"), &elsewhere);

    let secrets = "/api/v1/namespaces/NAMESPACE/secrets";
    let bound = |uid: &Value| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "name": "anchor", "uid": uid});
        request(json!({"expirationSeconds": 600, "boundObjectRef": secret}))
    };
    let missing = json!("11111111-1111-4111-8111-111111111111");
    mighty.gets(404, "POST", &path("scanner"), &bound(&missing));
    let made = mighty.gets(201, "POST", secrets, &anchor("anchor"));
    let answer = mighty.gets(201, "POST", &path("scanner"), &bound(&made["metadata"]["uid"]));
    let token = answer["status"]["token"].as_str().expect("a token").to_owned();

    let asking = |token: String| Asking {
        cluster: &cluster,
        token,
    };
    let who = |status, token: &str| asking(token.to_owned()).gets(status, "POST", WHOAMI, &json!({}));
    who(201, &token);
    who(401, "garbage");
    who(401, &format!("{token}x"));
    who(401, elsewhere["status"]["token"].as_str().expect("a token"));
    let claims = claims_of(&token);
    let signed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims.clone();
        change(&mut claims);
        cluster.sign(&claims)
    };
    let seconds = |claims: &Value| claims["iat"].as_i64().expect("a time");
    who(
        201,
        &signed(&|claims| claims["exp"] = (seconds(claims) - 30).into()),
    );
    who(
        401,
        &signed(&|claims| claims["exp"] = (seconds(claims) - 90).into()),
    );
    who(
        401,
        &signed(&|claims| claims["nbf"] = (seconds(claims) + 90).into()),
    );
    who(
        201,
        &signed(&|claims| claims["sub"] = "system:serviceaccount:default:default".into()),
    );
    who(
        401,
        &signed(&|claims| claims["iss"] = "https://elsewhere.example.com".into()),
    );
    who(
        401,
        &signed(&|claims| claims["kubernetes.io"]["serviceaccount"]["uid"] = missing.clone()),
    );
    who(
        401,
        &signed(&|claims| claims["kubernetes.io"]["secret"]["uid"] = missing.clone()),
    );
    who(
        201,
        &signed(&|claims| drop(claims.as_object_mut().expect("claims").remove("jti"))),
    );

    // The API server has cached the token. So it accepts the token after the deletion of its Secret, until
    // ten seconds after it first accepted it.
    who(201, &token);
    mighty.gets(200, "DELETE", &format!("{secrets}/anchor"), &Value::Null);
    who(201, &token);
    cluster.advance(Duration::from_secs(10));
    who(401, &token);
    cluster.advance(Duration::from_secs(600 + 60));
    mighty.gets(401, "POST", WHOAMI, &json!({}));
}

#[test]
fn rights() {
    let cluster = cluster();
    cluster.apply(
        r#"
{apiVersion: v1, kind: ServiceAccount, metadata: {name: lost, namespace: NAMESPACE}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lost, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: nothing}
subjects: [{kind: ServiceAccount, name: lost, namespace: NAMESPACE}]
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: quite-lost, namespace: NAMESPACE}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: quite-lost-1, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: nothing}
subjects: [{kind: ServiceAccount, name: quite-lost, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: quite-lost-2, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nothing}
subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccounts:NAMESPACE"}, {kind: ServiceAccount, name: quite-lost, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: by-name, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: scanner}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccount:NAMESPACE:by-name"}]
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: by-name, namespace: NAMESPACE}}
"#,
    );
    let (scanner, minter, lost) = (cluster.of("scanner"), cluster.of("minter"), cluster.of("lost"));
    let (mighty, quite_lost, by_name) = (
        cluster.of("mighty"),
        cluster.of("quite-lost"),
        cluster.of("by-name"),
    );
    let here = cluster.namespace();
    assert!(by_name.may(json!({"namespace": here, "verb": "list", "resource": "pods"})));
    assert!(scanner.may(json!({"namespace": here, "verb": "list", "resource": "pods"})));
    assert!(!scanner.may(json!({"namespace": here, "verb": "list", "group": "apps", "resource": "pods"})));
    assert!(
        !scanner
            .may(json!({"namespace": here, "verb": "delete", "resource": "pods", "name": "a", "group": ""}))
    );
    assert!(!scanner.may(json!({"verb": "list", "resource": "pods"})));
    let token = |name| json!({"namespace": here, "verb": "create", "resource": "serviceaccounts", "subresource": "token", "name": name});
    assert!(minter.may(token("scanner")));
    assert!(!minter.may(token("minter")));
    assert!(mighty.may(token("minter")));
    assert!(!lost.may(token("scanner")));
    for who in [&scanner, &minter, &mighty, &lost, &quite_lost, &by_name] {
        who.gets(201, "POST", RULES, &json!({"spec": {"namespace": here}}));
        who.gets(201, "POST", WHOAMI, &json!({}));
        who.gets(200, "GET", "/version", &Value::Null);
        who.gets(403, "GET", "/metrics", &Value::Null);
        who.gets(403, "GET", "/api/v1/nodes", &Value::Null);
        who.gets(
            403,
            "PUT",
            "/apis/apps/v1/namespaces/NAMESPACE/deployments/web/scale",
            &json!({}),
        );
        who.gets(403, "PATCH", "/api/v1/namespaces/NAMESPACE/pods/web", &json!({}));
        who.gets(403, "DELETE", "/api/v1/namespaces/NAMESPACE", &Value::Null);
        who.gets(403, "DELETE", "/api/v1/namespaces/NAMESPACE/pods", &Value::Null);
    }
    let review = json!({"spec": {"resourceAttributes": {"verb": "escalate", "resource": "everything"}}});
    assert_eq!(
        cluster.ask("POST", ACCESS, Some(&review)).1["status"]["allowed"],
        true
    );
    let rules = json!({"spec": {"namespace": here}});
    assert_eq!(cluster.ask("POST", RULES, Some(&rules)).0, 201);
    scanner.lists("/api/v1/namespaces/NAMESPACE/pods", 0);
    scanner.lists("/api/v1/namespaces/NAMESPACE/podsMETADATA", 0);
    lost.gets(403, "POST", "/api/v1/namespaces/NAMESPACE/secrets", &anchor("a"));
}
