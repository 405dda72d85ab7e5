//! What the recordings in `tests/contract` do not show: time, garbage, faults.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::{DevCluster, Fault, FaultKind};

const SECRETS: &str = "/api/v1/namespaces/ci/secrets";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/ci/roles";

/// A cluster with an administrator, and a ServiceAccount that may do nothing yet.
struct Fixture {
    cluster: DevCluster,
    admin: String,
}

impl Fixture {
    fn new() -> Self {
        Self::with(DevCluster::start())
    }

    fn with(cluster: DevCluster) -> Self {
        cluster.apply(
            "
kind: ServiceAccount
apiVersion: v1
metadata: {name: admin, namespace: kube-system}
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: admin}
roleRef: {kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: admin, namespace: kube-system}]
---
kind: ServiceAccount
apiVersion: v1
metadata: {name: job, namespace: ci}
",
        );
        let admin = cluster.service_account_token("kube-system", "admin", Duration::from_secs(24 * 3600));
        Fixture { cluster, admin }
    }

    fn admin(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, _, body) = self.ask(&self.admin, method, path, body).expect("an answer");
        (status, body)
    }

    fn job_token(&self) -> String {
        self.cluster
            .service_account_token("ci", "job", Duration::from_secs(3600))
    }

    fn status(&self, token: &str) -> u16 {
        self.ask(token, "GET", "/version", Value::Null)
            .expect("an answer")
            .0
    }

    /// An anchor, and a token that is bound to it.
    fn anchored(&self, name: &str) -> String {
        let anchor = json!({"metadata": {"name": name}, "type": "jobpass.dev/anchor"});
        assert_eq!(self.admin("POST", SECRETS, anchor).0, 201);
        let bound = json!({"spec": {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": name}}});
        let (_, answer) = self.admin("POST", "/api/v1/namespaces/ci/serviceaccounts/job/token", bound);
        answer["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// None when the connection ends without an answer.
    fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> Option<(u16, String, Value)> {
        let mut stream = self.send(token, method, path, body);
        let mut answer = String::new();
        // A connection that is dropped is not shut down properly.
        drop(stream.read_to_string(&mut answer));
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((
            status,
            head.to_owned(),
            serde_json::from_str(body).unwrap_or_default(),
        ))
    }

    fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.cluster.ca_pem().as_bytes()).expect("PEM"))
            .expect("a CA");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerName::try_from("127.0.0.1").expect("an address");
        let connection = ClientConnection::new(Arc::new(config), server).expect("a configuration");
        let url = self.cluster.url();
        let socket = TcpStream::connect(url.trim_start_matches("https://")).expect("the cluster listens");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let content_type = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let mut stream = StreamOwned::new(connection, socket);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("the cluster reads");
        stream.flush().expect("the cluster reads");
        stream
    }

    fn inject(&self, method: &'static str, kind: FaultKind) {
        self.cluster.inject(Fault {
            method,
            path_contains: SECRETS.to_owned(),
            times: 1,
            kind,
        });
    }

    fn names(&self) -> Vec<String> {
        let names = self.cluster.secrets("ci").into_iter();
        names
            .filter_map(|secret| secret["metadata"]["name"].as_str().map(str::to_owned))
            .collect()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_used_token_outlives_its_anchor_for_ten_seconds_after_its_first_use() {
    let it = Fixture::new();
    let token = it.anchored("a");
    assert_eq!(it.status(&token), 200);
    it.cluster.advance(seconds(6));
    // A hit, which must not prolong the entry.
    assert_eq!(it.status(&token), 200);
    assert_eq!(it.admin("DELETE", &format!("{SECRETS}/a"), Value::Null).0, 200);
    assert!(!it.cluster.accepts(&token));
    assert_eq!(it.status(&token), 200);
    it.cluster.advance(seconds(5));
    assert_eq!(it.status(&token), 401);
}

#[test]
fn a_recreated_anchor_does_not_revive_a_token() {
    let it = Fixture::new();
    let token = it.anchored("a");
    it.admin("DELETE", &format!("{SECRETS}/a"), Value::Null);
    it.anchored("a");
    assert!(!it.cluster.accepts(&token));
}

#[test]
fn an_expired_token_gets_a_minute_of_leeway() {
    let it = Fixture::new();
    let token = it.cluster.service_account_token("ci", "job", seconds(600));
    it.cluster.advance(seconds(658));
    assert!(it.cluster.accepts(&token));
    it.cluster.advance(seconds(4));
    assert!(!it.cluster.accepts(&token));
}

#[test]
fn a_marked_anchor_keeps_its_token_alive_for_a_minute() {
    let it = Fixture::new();
    let token = it.anchored("a");
    let path = format!("{SECRETS}/a");
    assert_eq!(
        it.admin(
            "PATCH",
            &path,
            json!({"metadata": {"finalizers": ["example.com/x"]}})
        )
        .0,
        200
    );
    let (status, marked) = it.admin("DELETE", &path, Value::Null);
    assert_eq!((status, &marked["kind"]), (200, &json!("Secret")));
    assert!(it.cluster.accepts(&token));
    it.cluster.advance(seconds(63));
    assert!(!it.cluster.accepts(&token));
    assert_eq!(
        it.admin("PATCH", &path, json!({"metadata": {"finalizers": null}}))
            .0,
        200
    );
    assert!(it.names().is_empty());
}

#[test]
fn longer_tokens_are_shortened_with_a_warning() {
    let it = Fixture::with(
        DevCluster::builder()
            .max_token_lifetime(seconds(900))
            .start()
            .expect("it starts"),
    );
    let path = "/api/v1/namespaces/ci/serviceaccounts/job/token";
    let request = json!({"spec": {"expirationSeconds": 3600}});
    let (status, head, answer) = it.ask(&it.admin, "POST", path, request).expect("an answer");
    assert_eq!((status, &answer["spec"]["expirationSeconds"]), (201, &json!(900)));
    assert!(
        head.contains("warning: 299 - \"requested expiration of 3600 seconds shortened to 900 seconds\""),
        "{head}"
    );
}

#[test]
fn owned_objects_go_with_their_last_owner() {
    let it = Fixture::new();
    let owner = |name: &str| {
        it.anchored(name);
        let (_, anchor) = it.admin("GET", &format!("{SECRETS}/{name}"), Value::Null);
        json!({"apiVersion": "v1", "kind": "Secret", "name": name, "uid": anchor["metadata"]["uid"]})
    };
    let owned = |name: &str, owners: Value| {
        let body = json!({"metadata": {"name": name, "ownerReferences": owners}, "rules": []});
        assert_eq!(it.admin("POST", ROLES, body).0, 201);
    };
    let exists = |name: &str| it.admin("GET", &format!("{ROLES}/{name}"), Value::Null).0 == 200;
    let delete = |name: &str, policy: &str| {
        let options = json!({"propagationPolicy": policy});
        assert_eq!(it.admin("DELETE", &format!("{SECRETS}/{name}"), options).0, 200);
    };
    let (a, b, c) = (owner("a"), owner("b"), owner("c"));
    owned("of-a", json!([a]));
    owned("of-both", json!([a, b]));
    owned("of-c", json!([c]));

    delete("a", "Background");
    assert_eq!((exists("of-a"), exists("of-both")), (false, true));
    delete("b", "Foreground");
    assert!(!exists("of-both"));
    delete("c", "Orphan");
    assert!(exists("of-c"));
    assert!(it.names().is_empty());

    owned("late", json!([a]));
    assert!(!exists("late"), "its owner was gone before it came");
}

/// As in the recording of a real control plane, at the moment before the garbage collector comes.
#[test]
fn a_foreground_deletion_shows_the_object() {
    let it = Fixture::with(
        DevCluster::builder()
            .controllers(false)
            .start()
            .expect("it starts"),
    );
    it.anchored("a");
    let (status, marked) = it.admin(
        "DELETE",
        &format!("{SECRETS}/a"),
        json!({"propagationPolicy": "Foreground"}),
    );
    assert_eq!((status, &marked["type"]), (200, &json!("jobpass.dev/anchor")));
    let metadata = &marked["metadata"];
    assert!(metadata["deletionTimestamp"].is_string());
    assert_eq!(metadata["deletionGracePeriodSeconds"], 0);
    assert_eq!(metadata["finalizers"], json!(["foregroundDeletion"]));
}

#[test]
fn a_namespace_takes_its_content_along() {
    let it = Fixture::new();
    let token = it.anchored("a");
    let (status, namespace) = it.admin("DELETE", "/api/v1/namespaces/ci", Value::Null);
    assert_eq!(
        (status, &namespace["status"]["phase"]),
        (200, &json!("Terminating"))
    );
    assert_eq!(it.admin("GET", "/api/v1/namespaces/ci", Value::Null).0, 404);
    assert!(it.names().is_empty());
    assert!(!it.cluster.accepts(&token));
}

#[test]
fn legacy_tokens_live_as_long_as_their_secret() {
    let it = Fixture::new();
    let create = |name: &str, account: &str| {
        let annotations = json!({"kubernetes.io/service-account.name": account});
        let secret = json!({
            "metadata": {"name": name, "annotations": annotations},
            "type": "kubernetes.io/service-account-token",
        });
        assert_eq!(it.admin("POST", SECRETS, secret).0, 201);
    };
    create("orphan", "nobody");
    create("legacy", "job");
    assert_eq!(it.names(), ["legacy"]);
    let secret = &it.cluster.secrets("ci")[0];
    let token = STANDARD
        .decode(secret["data"]["token"].as_str().expect("a token"))
        .expect("base64");
    let token = String::from_utf8(token).expect("a JWT");
    assert_eq!(it.status(&token), 200);
    assert!(
        it.cluster.secrets("ci")[0]["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"].is_string()
    );
    it.admin("DELETE", &format!("{SECRETS}/legacy"), Value::Null);
    assert!(!it.cluster.accepts(&token));
}

#[test]
fn what_is_immutable_stays() {
    let it = Fixture::new();
    let secret = json!({"metadata": {"name": "a"}, "immutable": true, "data": {"x": "eQ=="}});
    assert_eq!(it.admin("POST", SECRETS, secret).0, 201);
    let path = format!("{SECRETS}/a");
    for (patch, field) in [
        (json!({"type": "other"}), "type"),
        (json!({"immutable": false}), "immutable"),
        (json!({"data": {"x": null}}), "data"),
    ] {
        let (status, refusal) = it.admin("PATCH", &path, patch);
        assert_eq!(
            (status, &refusal["details"]["causes"][0]["field"]),
            (422, &json!(field))
        );
    }
    let (status, patched) = it.admin("PATCH", &path, json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!((status, &patched["metadata"]["labels"]["a"]), (200, &json!("b")));
    let mut stale = patched;
    stale["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(it.admin("PUT", &path, stale).0, 409);
}

#[test]
fn pages_cover_all_namespaces_once() {
    let it = Fixture::new();
    for namespace in ["ci", "default", "kube-system"] {
        for name in ["a", "b"] {
            it.cluster.apply(&format!(
                "{{kind: Secret, apiVersion: v1, metadata: {{name: {name}, namespace: {namespace}}}}}"
            ));
        }
    }
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let (_, page) = it.admin(
            "GET",
            &format!("/api/v1/secrets?limit=4&continue={next}"),
            Value::Null,
        );
        let metadata = page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| &item["metadata"]);
        seen.extend(metadata.map(|item| format!("{}/{}", item["namespace"], item["name"])));
        let Some(token) = page["metadata"]["continue"].as_str() else {
            break;
        };
        assert_eq!(page["metadata"]["remainingItemCount"], 2);
        next = token.to_owned();
    }
    assert_eq!(seen.len(), 6);
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[test]
fn rights_are_as_narrow_as_their_rules() {
    let it = Fixture::new();
    let job = it.job_token();
    it.cluster.apply(
        r#"
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: job, namespace: ci}
rules:
- {apiGroups: [""], resources: [serviceaccounts/token], verbs: [create], resourceNames: [job]}
- {apiGroups: [""], resources: ["*/log"], verbs: [get]}
- {apiGroups: [""], resources: [secrets], verbs: [create, delete]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [create]}
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: job, namespace: ci}
roleRef: {kind: Role, name: job}
subjects: [{kind: ServiceAccount, name: job}]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: dangling, namespace: ci}
roleRef: {kind: Role, name: gone}
subjects: [{kind: Group, name: system:serviceaccounts}]
"#,
    );
    let ask = |method, path: &str, body| it.ask(&job, method, path, body).expect("an answer");
    let can = |verb: &str, resource: &str, subresource: &str, name: &str| {
        let wanted = json!({"namespace": "ci", "verb": verb, "resource": resource, "subresource": subresource, "name": name});
        let review = json!({"spec": {"resourceAttributes": wanted}});
        ask(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            review,
        )
        .2["status"]["allowed"]
            == true
    };
    assert!(can("create", "serviceaccounts", "token", "job"));
    assert!(!can("create", "serviceaccounts", "token", "default"));
    assert!(!can("create", "serviceaccounts", "token", ""));
    assert!(can("get", "pods", "log", ""));
    assert!(!can("get", "pods", "", ""));
    assert!(!can("*", "secrets", "", ""));

    let (status, _, refusal) = ask("GET", SECRETS, Value::Null);
    assert_eq!(status, 403);
    let message = refusal["message"].as_str().expect("a message");
    assert!(
        message.ends_with(r#"in the namespace "ci": RBAC: role.rbac.authorization.k8s.io "gone" not found"#)
    );

    let role = |rules: Value| json!({"metadata": {"name": "new"}, "rules": rules});
    let held =
        json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"], "resourceNames": ["x"]}]);
    assert_eq!(ask("POST", ROLES, role(held)).0, 201);
    let more = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete", "get", "list"]}]);
    let (status, _, refusal) = ask("POST", ROLES, role(more));
    assert_eq!(status, 403);
    let message = refusal["message"].as_str().expect("a message");
    assert!(message.contains(r#"not currently held:"#), "{message}");
    assert!(
        message.contains(r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#),
        "{message}"
    );
    let bindings = ROLES.replace("roles", "rolebindings");
    let binding = json!({"metadata": {"name": "up"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": []});
    assert_eq!(ask("POST", &bindings, binding).0, 403);
}

#[test]
fn faults() {
    let it = Fixture::new();
    let create = |name: &str| it.ask(&it.admin, "POST", SECRETS, json!({"metadata": {"name": name}}));

    let body = json!({"kind": "Status", "code": 429}).to_string();
    let headers = vec![("retry-after".to_owned(), "1".to_owned())];
    it.inject(
        "POST",
        FaultKind::Answer {
            status: 429,
            headers,
            body,
        },
    );
    it.inject("POST", FaultKind::DropBefore);
    it.inject("POST", FaultKind::DropAfter);
    it.inject("POST", FaultKind::Warn("careful".to_owned()));
    it.inject(
        "POST",
        FaultKind::RewriteBody(|body| body["metadata"]["name"] = "else".into()),
    );
    let (status, head, answer) = create("answer").expect("an answer");
    assert_eq!((status, &answer["code"]), (429, &json!(429)));
    assert!(head.contains("retry-after: 1"));
    assert!(create("drop-before").is_none());
    assert!(create("drop-after").is_none());
    assert!(
        create("warn")
            .expect("an answer")
            .1
            .contains("warning: 299 - \"careful\"")
    );
    assert_eq!(
        create("rewrite").expect("an answer").2["metadata"]["name"],
        "else"
    );
    assert_eq!(create("plain").expect("an answer").0, 201);
    assert_eq!(it.names(), ["drop-after", "plain", "rewrite", "warn"]);
}

#[test]
fn held_and_late_requests() {
    let it = Fixture::new();
    let delete = |name: &str| it.send(&it.admin, "DELETE", &format!("{SECRETS}/{name}"), Value::Null);
    let seen = |name: &str| {
        let path = format!("{SECRETS}/{name}");
        it.cluster.wait_for(seconds(30), |log| {
            log.iter()
                .find(|request| request.method == "DELETE" && request.path == path)
                .cloned()
        })
    };
    for name in ["before", "after", "late"] {
        it.anchored(name);
    }
    it.inject("DELETE", FaultKind::HoldBefore);
    it.inject("DELETE", FaultKind::HoldAfter);
    it.inject("DELETE", FaultKind::CarryOutLate(Duration::from_millis(50)));

    let before = delete("before");
    let request = seen("before");
    assert_eq!(
        (request.status, request.user.as_str()),
        (None, "system:serviceaccount:kube-system:admin")
    );
    let _after = delete("after");
    seen("after");
    drop(before);
    drop({
        let late = delete("late");
        seen("late");
        late
    });
    let path = format!("{SECRETS}/late");
    let status = it.cluster.wait_for(seconds(30), |log| {
        log.iter()
            .find(|request| request.method == "DELETE" && request.path == path)?
            .status
    });
    assert_eq!(status, 200);
    assert_eq!(it.names(), ["before"]);
}

#[test]
fn the_log_holds_no_token() {
    let it = Fixture::new();
    let job = it.job_token();
    it.admin(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        json!({"spec": {"token": job}}),
    );
    let log = format!("{:#?}", it.cluster.requests());
    assert!(log.contains("tokenreviews") && !log.contains(&job) && !log.contains(&it.admin));
}

#[test]
fn a_runtime_may_be_there_already() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async { drop(DevCluster::start()) });
}
