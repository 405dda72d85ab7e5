//! The dev cluster and the handle with which tests hold it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::api::{self, Answer, Body, Credential, Request};
use crate::authn::{self, Authenticator, Cache, ISSUER};
use crate::clock::Clock;
use crate::front::{Front, Listen};
use crate::issuer::Issuer;
use crate::jwt::SigningKey;
use crate::policy;
use crate::resources::{NAMESPACES, RESOURCES, Resource, SECRETS, SERVICE_ACCOUNTS, Version};
use crate::status::{self, Status};
use crate::store::Store;
use crate::validate::LEGACY_TOKEN;

/// The type of the Secrets that jobpass makes.
const ANCHOR: &str = "jobpass.dev/anchor";

/// A running dev cluster. Dropping it stops it.
pub struct DevCluster {
    cluster: Arc<Cluster>,
    front: Front,
}

/// How a [`DevCluster`] is to be.
pub struct Builder {
    version: Version,
    max_token_lifetime: Option<Duration>,
    controllers: bool,
    listen: Listen,
}

/// What the server's thread and the handle share.
pub(crate) struct Cluster {
    pub(crate) version: Version,
    pub(crate) max_token_lifetime: Option<Duration>,
    pub(crate) controllers: bool,
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) cache: Cache,
    /// What an `AuthenticationConfiguration` says.
    pub(crate) issuers: Vec<Authenticator>,
    /// Lists that began before this version cannot be continued.
    pub(crate) compacted: u64,
}

impl DevCluster {
    /// A cluster of the newest known release on a free port.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start() -> DevCluster {
        Self::builder().start().expect("the dev cluster starts")
    }

    pub fn builder() -> Builder {
        Builder {
            version: Version::default(),
            max_token_lifetime: None,
            controllers: true,
            listen: Listen::default(),
        }
    }

    /// Creates or replaces the objects of a multi-document YAML text, and the namespaces that they are in. An object
    /// that names no namespace goes to `default`.
    ///
    /// # Panics
    ///
    /// When the API server refuses one of them.
    pub fn apply(&self, manifests: &str) {
        for document in serde_yaml::Deserializer::from_str(manifests) {
            let object = Value::deserialize(document).expect("manifests are YAML");
            if !object.is_null() {
                self.cluster.apply(&object);
            }
        }
    }

    /// A token of this ServiceAccount that is bound to nothing.
    ///
    /// # Panics
    ///
    /// When there is no such ServiceAccount.
    pub fn service_account_token(&self, namespace: &str, name: &str, lifetime: Duration) -> String {
        let state = self.cluster.state();
        let account = state
            .store
            .get(&SERVICE_ACCOUNTS, namespace, name)
            .expect("the ServiceAccount exists");
        let now = self.cluster.clock.unix_seconds();
        let lifetime = lifetime.as_secs() as i64;
        self.sign(&api::claims(
            account,
            &[ISSUER.into()],
            now,
            lifetime,
            self.cluster.version,
        ))
    }

    /// Trusts the issuers of an `AuthenticationConfiguration`, in place of those before, as kube-apiserver does when its
    /// `--authentication-config` file changes. Their keys are those of `issuers`.
    ///
    /// # Errors
    ///
    /// What kube-apiserver would not start with.
    pub fn trust(&self, configuration: &str, issuers: &[&Issuer]) -> Result<()> {
        anyhow::ensure!(
            self.cluster.version >= Version::V1_36,
            "Kubernetes 1.27 has no AuthenticationConfiguration"
        );
        let issuers = authn::config::parse(configuration, issuers)?;
        self.cluster.state().issuers = issuers;
        Ok(())
    }

    /// Signs any claims with the cluster's key.
    pub fn sign(&self, claims: &Value) -> String {
        SigningKey::shared().sign(claims)
    }

    /// Creates anchors in the namespace `ci`, such as jobs leave behind whose runners died, and moves the clock an hour ahead:
    /// their tokens would have expired.
    ///
    /// # Panics
    ///
    /// When the API server refuses one of them.
    pub fn leave_behind(&self, anchors: usize) {
        for number in 0..anchors {
            let run = (number / 4).to_string();
            self.cluster.apply(&json!({
                "kind": "Secret", "apiVersion": "v1", "type": ANCHOR,
                "metadata": {
                    "name": format!("jobpass-{number:020}"),
                    "namespace": "ci",
                    "labels": {
                        "app.kubernetes.io/managed-by": "jobpass", "jobpass.dev/platform": "github", "jobpass.dev/run-id": run,
                        "jobpass.dev/job": "scan", "jobpass.dev/service-account": "scanner",
                    },
                    "annotations": {
                        "jobpass.dev/platform": "github", "jobpass.dev/repository": "team/app", "jobpass.dev/run-id": run,
                        "jobpass.dev/job": "scan", "jobpass.dev/requested-by": "someone",
                        "jobpass.dev/url": format!("https://github.com/team/app/actions/runs/{run}"),
                        "jobpass.dev/service-account": "scanner", "jobpass.dev/lifetime": "1800s",
                    },
                },
            }));
        }
        if anchors > 0 {
            self.advance(Duration::from_secs(3600));
        }
    }

    /// The Secrets that are stored in a namespace now.
    pub fn secrets(&self, namespace: &str) -> Vec<Value> {
        let state = self.cluster.state();
        state
            .store
            .scan(&SECRETS, Some(namespace), None)
            .map(|(_, secret)| secret.clone())
            .collect()
    }

    /// The anchors that are stored now, in all namespaces.
    pub fn anchors(&self) -> Vec<Value> {
        self.of_type(ANCHOR)
    }

    /// The Secrets of legacy tokens that are stored now, in all namespaces.
    pub fn legacy_secrets(&self) -> Vec<Value> {
        self.of_type(LEGACY_TOKEN)
    }

    fn of_type(&self, secret_type: &str) -> Vec<Value> {
        let state = self.cluster.state();
        let secrets = state.store.scan(&SECRETS, None, None).map(|(_, secret)| secret);
        secrets
            .filter(|secret| secret["type"] == secret_type)
            .cloned()
            .collect()
    }

    /// Whether the API server would let this token in now, had it not seen it before.
    pub fn accepts(&self, token: &str) -> bool {
        let state = self.cluster.state();
        let now = self.cluster.clock.now();
        authn::check(&state, token, &[ISSUER.to_owned()], now, self.cluster.version).is_ok()
    }

    /// Moves the cluster's clock, which lifetimes and the cache of authentications follow.
    pub fn advance(&self, by: Duration) {
        self.cluster.clock.advance(by);
    }

    /// Forgets older versions, as etcd is made to every five minutes: lists that were begun before, and after which something
    /// changed, cannot be continued as they were.
    pub fn compact(&self) {
        let mut state = self.cluster.state();
        state.compacted = state.store.version();
    }
}

/// What clients meet of it.
impl Deref for DevCluster {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Builder {
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// `--service-account-max-token-expiration` of kube-apiserver.
    pub fn max_token_lifetime(mut self, longest: Duration) -> Self {
        self.max_token_lifetime = Some(longest);
        self
    }

    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.address = address;
        self
    }

    /// Whether there is a controller-manager: garbage collection, the ends of namespaces, `default` ServiceAccounts and
    /// legacy tokens. On by default.
    pub fn controllers(mut self, on: bool) -> Self {
        self.controllers = on;
        self
    }

    /// Whether HTTP/2 is spoken, as kube-apiserver does; off, as with some load balancers before it. On by default.
    pub fn http2(mut self, on: bool) -> Self {
        self.listen.http2 = on;
        self
    }

    pub fn start(self) -> Result<DevCluster> {
        let mut started = None;
        let front = Front::of(self.listen, |url, ca_pem| {
            let cluster = Arc::new(Cluster {
                version: self.version,
                max_token_lifetime: self.max_token_lifetime,
                controllers: self.controllers,
                url,
                ca_pem,
                clock: Clock::default(),
                state: Mutex::default(),
            });
            for object in policy::objects(self.version) {
                cluster.apply(&object);
            }
            for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
                cluster.ensure_namespace(name);
            }
            started = Some(Arc::clone(&cluster));
            cluster
        })?;
        let cluster = started.context("the front has a cluster behind it")?;
        Ok(DevCluster { cluster, front })
    }
}

impl Cluster {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, object: &Value) {
        let kind = object["kind"].as_str().unwrap_or_default();
        let resource = RESOURCES
            .iter()
            .find(|resource| resource.kind == kind && resource.is_stored())
            .unwrap_or_else(|| panic!("the dev cluster knows no kind {kind:?}"));
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        let root = if resource.group.is_empty() {
            "/api"
        } else {
            "/apis"
        };
        let collection = if resource.is_namespaced() {
            self.ensure_namespace(namespace);
            format!(
                "{root}/{}/namespaces/{namespace}/{}",
                resource.api_version(),
                resource.plural
            )
        } else {
            format!("{root}/{}/{}", resource.api_version(), resource.plural)
        };
        let mut answer = self.as_admin(Method::POST, collection.clone(), object);
        if let (409, Some(name)) = (answer.status, object["metadata"]["name"].as_str()) {
            answer = self.as_admin(Method::PUT, format!("{collection}/{name}"), object);
        }
        if let (400.., Body::Json(refusal)) = (answer.status, &answer.body) {
            panic!("the dev cluster refuses a {kind}: {}", refusal["message"]);
        }
    }

    fn ensure_namespace(&self, name: &str) {
        if self.state().store.get(&NAMESPACES, "", name).is_none() {
            self.apply(&json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}));
        }
    }

    fn as_admin(&self, method: Method, path: String, object: &Value) -> Answer {
        let request = Request {
            method,
            path,
            query: vec![("fieldValidation".to_owned(), "Strict".to_owned())],
            accept: String::new(),
            content_type: String::new(),
            credential: Credential::None,
            body: object.to_string().into_bytes(),
        };
        api::handle_as_admin(self, &request)
    }
}

impl State {
    /// An object that has to be there.
    pub(crate) fn find(&self, resource: &Resource, namespace: &str, name: &str) -> status::Result<&Value> {
        self.store
            .get(resource, namespace, name)
            .ok_or_else(|| Status::not_found(resource, name))
    }
}
