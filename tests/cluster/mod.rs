//! The cluster of a test: Kubernetes itself, or the dev cluster for the few tests that `where.txt` lists.
//!
//! ```ignore
//! let cluster = Cluster::start();
//! cluster.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: scanner, namespace: NAMESPACE}}");
//! support::kubectl(admin.path(), &["get", "serviceaccounts", "--namespace", cluster.namespace()]);
//! ```
//!
//! All tests share one control plane, and each test has a namespace of its own. The name of a cluster-scoped
//! object contains the test's namespace. In a list over all namespaces, a test looks only at its own objects.
//!
//! Each test reaches the API server through its own [`Front`], which records the requests and can make them
//! fail.

mod control_plane;
mod place;
mod rbac;
mod trust;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    ops::{Deref, DerefMut},
    sync::MutexGuard,
    thread,
    time::{Duration, Instant},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jobpass_devkit::{DevCluster, Front};
use serde::Deserialize as _;
use serde_json::{Value, json};

use self::control_plane::ControlPlane;

/// The type of anchors.
const ANCHOR: &str = "jobpass.dev/anchor";
const LEGACY_TOKEN: &str = "kubernetes.io/service-account-token";
/// The issuer of the cluster's own tokens, and their audience.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The time limit for the API server to forget a token that it accepted. It forgets the token after 10 s.
const CACHE: Duration = Duration::from_secs(20);
/// The time limit for controllers. On an idle machine they need 10 ms.
const CONTROLLER: Duration = Duration::from_secs(60);

/// A cluster for one test. Clients reach it through a [`Front`].
pub(crate) struct Cluster {
    server: Server,
    namespace: String,
    /// The lock that a test holds while it changes the issuers of the second API server.
    turn: Option<MutexGuard<'static, ()>>,
}

enum Server {
    Real(Front),
    Dev(DevCluster),
}

impl Cluster {
    /// A cluster on Kubernetes itself. The first call starts the control plane, unless the tests run on
    /// somebody else's cluster.
    pub(crate) fn start() -> Self {
        Self::real(ControlPlane::shared().front(true))
    }

    /// Like [`Cluster::start`], behind a load balancer that does not speak HTTP/2.
    pub(crate) fn without_http2() -> Self {
        Self::real(ControlPlane::shared().front(false))
    }

    /// Like [`Cluster::start`], with `--service-account-max-token-expiration=1h`, the shortest limit that
    /// kube-apiserver accepts.
    pub(crate) fn capped() -> Self {
        Self::real(ControlPlane::shared().second_front())
    }

    /// Starts the dev cluster, for a test that `where.txt` lists with a reason.
    pub(crate) fn dev() -> Self {
        place::assert_listed(place::DEV);
        Self::new(Server::Dev(DevCluster::start()))
    }

    /// Like [`Cluster::start`], with tokens that live for a second, so that jobpass renews them all the time.
    /// kube-apiserver issues no token for less than ten minutes, but it accepts a token of any
    /// lifetime if the signature is valid. So the front changes the tokens and signs them again.
    pub(crate) fn hasty() -> Self {
        let cluster = Self::start();
        cluster.reissue(|answer| {
            sign_anew(answer, |claims| {
                let issued = claims["iat"].as_i64().expect("a time");
                claims["exp"] = (issued + 1).into();
            });
        });
        cluster
    }

    fn real(front: Front) -> Self {
        Self::new(Server::Real(front))
    }

    fn new(server: Server) -> Self {
        let cluster = Self {
            namespace: format!(
                "ci-{}",
                jobpass_core::names::random_name().expect("a name")[8..16].to_owned()
            ),
            server,
            turn: None,
        };
        let kind = match cluster.server {
            Server::Real(_) => "real",
            Server::Dev(_) => "dev",
        };
        record("clusters", &format!("{kind} {}", place::test()));
        cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: NAMESPACE}}");
        cluster
    }

    /// The namespace of this test.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Another namespace of this test.
    pub(crate) fn other_namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// Creates or replaces the objects of a multi-document YAML text. Replaces `NAMESPACE` by the test's
    /// namespace, and creates missing namespaces. Changes to permissions are in effect when this returns.
    pub(crate) fn apply(&self, manifests: &str) {
        let manifests = manifests.replace("NAMESPACE", &self.namespace);
        let mut roles = BTreeSet::new();
        for document in serde_yaml::Deserializer::from_str(&manifests) {
            let object = Value::deserialize(document).expect("manifests are YAML");
            if object.is_null() {
                continue;
            }
            let path = path_of(&object);
            let mut answer = self.put(&path, &object);
            if let (404, Some(namespace)) = (answer.0, object["metadata"]["namespace"].as_str()) {
                self.apply(&format!(
                    "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"
                ));
                answer = self.put(&path, &object);
            }
            assert!(answer.0 < 300, "the API server refuses {path}: {}", answer.1);
            if object["type"] == LEGACY_TOKEN {
                wait_until_filled(self, &path);
            }
            let kind = object["kind"].as_str().unwrap_or_default();
            let kind = kind.strip_suffix("Binding").unwrap_or(kind);
            if matches!(kind, "Role" | "ClusterRole") {
                roles.insert(kind.to_owned());
            }
        }
        // In the dev cluster, roles are in effect at once.
        let roles = roles.iter().filter(|_| matches!(self.server, Server::Real(_)));
        for kind in roles {
            self.wait_for_rbac(kind);
        }
    }

    /// Creates or replaces an object. The dev cluster replaces nothing.
    fn put(&self, path: &str, object: &Value) -> (u16, Value) {
        match self.server {
            Server::Real(_) => {
                let path = format!("{path}?fieldManager=tests&force=true");
                self.ask("APPLY", &path, Some(object))
            }
            Server::Dev(_) => {
                let (collection, _) = path.rsplit_once('/').expect("an object's path");
                self.ask("POST", collection, Some(object))
            }
        }
    }

    /// Runs a Pod of the ServiceAccount `scanner`, and waits until it runs. Its container is this shell
    /// script, on this machine, with its standard input open.
    pub(crate) fn run_pod(&self, name: &str, script: &str) {
        let namespace = &self.namespace;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "nodeName": ControlPlane::shared().node(),
                "serviceAccountName": "scanner", "automountServiceAccountToken": false,
                "containers": [
                    {"name": "main", "image": "none", "stdin": true, "command": ["sh", "-c", script]},
                ],
            },
        });
        self.apply(&pod.to_string());
        let deadline = Instant::now() + CONTROLLER;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        while self.ask("GET", &path, None).1["status"]["phase"] != "Running" {
            assert!(Instant::now() < deadline, "the Pod does not run");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Requests a token for the ServiceAccount. The token is not bound to an object.
    pub(crate) fn service_account_token(&self, namespace: &str, name: &str, lifetime: Duration) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": lifetime.as_secs()},
        });
        let (status, answer) = self.ask("POST", &path, Some(&request));
        assert_eq!(status, 201, "{answer}");
        answer["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// Signs any claims with the cluster's key.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        match &self.server {
            Server::Real(_) => ControlPlane::shared().sign(claims),
            Server::Dev(cluster) => cluster.sign(claims),
        }
    }

    /// Whether the API server would accept this token if its cache were empty. Waits for the watch by which
    /// the API server learns of deleted Secrets.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        let front = match &self.server {
            Server::Dev(cluster) => return cluster.accepts(token),
            Server::Real(front) => front,
        };
        let deadline = Instant::now() + CONTROLLER;
        while front.user_of(token, ISSUER).is_some() {
            if is_secret_there(front, &claims_of(token)) || Instant::now() > deadline {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Waits until the API server answers 401 to this token. It may have cached the token for up to 10 s.
    pub(crate) fn wait_until_refused(&self, token: &str) {
        let Server::Real(front) = &self.server else {
            return self.advance(Duration::from_secs(11));
        };
        let deadline = Instant::now() + CACHE;
        while front.status_for(token) != 401 {
            assert!(Instant::now() < deadline, "the token is not refused");
            // No event tells that the API server forgot a cached token.
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The Secrets of every type in a namespace.
    pub(crate) fn secrets(&self, namespace: &str) -> Vec<Value> {
        list(self, &format!("/api/v1/namespaces/{namespace}/secrets"))
    }

    /// The anchors in all of this test's namespaces.
    pub(crate) fn anchors(&self) -> Vec<Value> {
        self.of_type(ANCHOR)
    }

    /// The Secrets of legacy tokens in all of this test's namespaces.
    pub(crate) fn legacy_secrets(&self) -> Vec<Value> {
        self.of_type(LEGACY_TOKEN)
    }

    /// Like [`Cluster::legacy_secrets`], after the token controller has filled each Secret.
    pub(crate) fn filled_legacy_secrets(&self) -> Vec<Value> {
        let deadline = Instant::now() + CONTROLLER;
        loop {
            let secrets = self.legacy_secrets();
            if secrets.iter().all(|secret| secret["data"]["token"].is_string()) {
                return secrets;
            }
            assert!(Instant::now() < deadline, "no controller fills the Secrets");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn of_type(&self, type_: &str) -> Vec<Value> {
        let type_ = type_.replace('/', "%2F");
        let mut secrets = list(self, &format!("/api/v1/secrets?fieldSelector=type%3D{type_}"));
        if let Server::Dev(_) = self.server {
            // Each test has a dev cluster of its own, so all these Secrets belong to this test.
            return secrets;
        }
        secrets.retain(|secret| {
            let namespace = secret["metadata"]["namespace"].as_str();
            namespace.is_some_and(|namespace| {
                namespace == self.namespace || namespace.starts_with(&format!("{}-", self.namespace))
            })
        });
        secrets
    }

    /// Moves the clock of a dev cluster, which decides lifetimes and the age of cached tokens.
    pub(crate) fn advance(&self, by: Duration) {
        match &self.server {
            Server::Dev(cluster) => cluster.advance(by),
            Server::Real(_) => panic!("only a dev cluster can move its clock"),
        }
    }

    /// The audit log of kube-apiserver: its entries about this test's namespace, and about requests of the
    /// namespace's ServiceAccounts.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let log = ControlPlane::shared().audit_log();
        let text = fs::read_to_string(log).expect("the audit log");
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = |event: &Value| {
            let namespace = event["objectRef"]["namespace"].as_str();
            let user = event["user"]["username"].as_str();
            namespace == Some(&self.namespace)
                || user.is_some_and(|user| user.contains(&format!(":{}:", self.namespace)))
        };
        events.filter(ours).collect()
    }
}

impl Deref for Cluster {
    type Target = Front;

    fn deref(&self) -> &Front {
        match &self.server {
            Server::Real(front) => front,
            Server::Dev(cluster) => cluster,
        }
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Front {
        match &mut self.server {
            Server::Real(front) => front,
            Server::Dev(_) => panic!("the dev cluster has no front of its own"),
        }
    }
}

impl Drop for Cluster {
    /// Removes the test's objects from somebody else's cluster. The name of each cluster-scoped object
    /// contains the test's namespace.
    fn drop(&mut self) {
        let Server::Real(front) = &self.server else {
            return;
        };
        if !ControlPlane::shared().is_borrowed() {
            return;
        }
        for collection in OF_THE_CLUSTER {
            let (_, list) = front.ask("GET", collection, None);
            let names = list["items"].as_array().into_iter().flatten();
            let names = names.filter_map(|item| item["metadata"]["name"].as_str());
            for name in names.filter(|name| name.contains(&self.namespace)) {
                front.ask("DELETE", &format!("{collection}/{name}"), None);
            }
        }
    }
}

/// The cluster-scoped kinds that tests leave in a cluster. Webhooks and policies come first, because they
/// could refuse the deletion of the others.
const OF_THE_CLUSTER: [&str; 6] = [
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/api/v1/namespaces",
];

/// Writes a line for `cargo xtask test`, which counts the lines at the end.
fn record(file: &str, line: &str) {
    if let Some(folder) = std::env::var_os("JOBPASS_TEST_RECORDS") {
        let path = std::path::Path::new(&folder).join(file);
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("the folder for records");
        file.write_all(format!("{line}\n").as_bytes()).expect("written");
    }
}

fn list(front: &Front, path: &str) -> Vec<Value> {
    let (status, mut answer) = front.ask("GET", path, None);
    assert_eq!(status, 200, "{answer}");
    match answer["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// Whether the Secret in a token's claims exists. `true` if the claims name no Secret.
fn is_secret_there(front: &Front, claims: &Value) -> bool {
    let bound = &claims["kubernetes.io"];
    let names = [
        (&bound["namespace"], &bound["secret"]["name"]),
        (
            &claims["kubernetes.io/serviceaccount/namespace"],
            &claims["kubernetes.io/serviceaccount/secret.name"],
        ),
    ];
    let names = names
        .into_iter()
        .find_map(|(namespace, name)| Some((namespace.as_str()?, name.as_str()?)));
    names.is_none_or(|(namespace, name)| {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let (status, secret) = front.ask("GET", &path, None);
        let uid = &bound["secret"]["uid"];
        status == 200 && (uid.is_null() || secret["metadata"]["uid"] == *uid)
    })
}

/// Waits until the token controller has filled a Secret, or has deleted it because its ServiceAccount does
/// not exist.
fn wait_until_filled(front: &Front, path: &str) {
    let deadline = Instant::now() + CONTROLLER;
    loop {
        let (status, secret) = front.ask("GET", path, None);
        if status == 404 || secret["data"]["token"].is_string() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no controller puts a token into {path}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// The path of an object, for every kind that the tests create.
fn path_of(object: &Value) -> String {
    let kind = object["kind"].as_str().expect("a kind");
    let version = object["apiVersion"].as_str().expect("an apiVersion");
    let name = object["metadata"]["name"].as_str().expect("a name");
    let root = if version.contains('/') { "apis" } else { "api" };
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{}ies", stem.to_lowercase()),
        None => format!("{}s", kind.to_lowercase()),
    };
    let of_the_cluster =
        kind.starts_with("Cluster") || kind.starts_with("Validating") || matches!(kind, "Namespace" | "Node");
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) if !of_the_cluster => {
            format!("/{root}/{version}/namespaces/{namespace}/{plural}/{name}")
        }
        None if of_the_cluster => format!("/{root}/{version}/{plural}/{name}"),
        _ => panic!("{kind} {name} needs a namespace, or must not have one"),
    }
}

/// The claims of a token.
pub(crate) fn claims_of(token: &str) -> Value {
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    serde_json::from_slice(&claims.expect("a JWT")).expect("claims")
}

/// Changes the claims of the token in a TokenRequest's answer, and signs the token as the API server does.
pub(crate) fn sign_anew(answer: &mut Value, change: impl FnOnce(&mut Value)) {
    let token = answer["status"]["token"].as_str().expect("a token");
    let mut claims = claims_of(token);
    change(&mut claims);
    answer["status"]["token"] = ControlPlane::shared().sign(&claims).into();
}

/// The token in a Secret that the token controller filled.
pub(crate) fn token_of(secret: &Value) -> String {
    let encoded = secret["data"]["token"].as_str().expect("a filled Secret");
    String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text")
}
