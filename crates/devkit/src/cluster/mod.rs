//! The dev cluster. It answers the requests of jobpass and its demo as Kubernetes does. It answers 501 to
//! every other request, and fails the test that sent it.
//!
//! `tests/replay` plays a transcript of these requests on Kubernetes itself, and compares the answers.

mod objects;
mod rbac;
mod request;
mod reviews;
mod status;
mod store;
mod tokens;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::{Value, json};

use self::store::Store;
use self::tokens::Cache;
use crate::clock::Clock;
use crate::front::{Front, Listen};
use crate::jwt::SigningKey;
use crate::transcript::{Entry, Transcript};

pub(crate) use self::request::{Answer, answer};
pub(crate) use self::tokens::user_of;

/// The issuer of the cluster's tokens, and the audience of its API server.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A running dev cluster. Dropping it stops it.
pub struct DevCluster {
    cluster: Arc<Cluster>,
    front: Front,
}

/// The options of a [`DevCluster`].
#[derive(Default)]
pub struct Builder {
    listen: Listen,
}

/// The state that the server's thread and the handle share.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) clock: Clock,
    transcript: Option<Transcript>,
    state: Mutex<State>,
    /// The answers to unsupported requests.
    refused: Mutex<Vec<String>>,
}

/// The state that requests change.
#[derive(Default)]
struct State {
    store: Store,
    cache: Cache,
}

impl DevCluster {
    /// Starts a cluster on a free port.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start() -> DevCluster {
        Self::builder().start().expect("the dev cluster starts")
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Creates the objects of a multi-document YAML text.
    ///
    /// # Panics
    ///
    /// If the API server refuses one of them.
    pub fn apply(&self, manifests: &str) {
        for document in serde_yaml::Deserializer::from_str(manifests) {
            let object = Value::deserialize(document).expect("manifests are YAML");
            if object.is_null() {
                continue;
            }
            let path = objects::collection(&object);
            let (status, answer) = self.front.ask("POST", &path, Some(&object));
            assert_eq!(status, 201, "the dev cluster refuses {object}: {answer}");
        }
    }

    /// An unbound token of this ServiceAccount.
    ///
    /// # Panics
    ///
    /// If the ServiceAccount does not exist.
    pub fn service_account_token(&self, namespace: &str, name: &str, lifetime: Duration) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": lifetime.as_secs()},
        });
        let (status, answer) = self.front.ask("POST", &path, Some(&request));
        assert_eq!(status, 201, "{answer}");
        answer["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// Signs any claims with the cluster's key.
    pub fn sign(&self, claims: &Value) -> String {
        let sign = || SigningKey::shared().sign(claims);
        self.cluster
            .write(sign, |token| Entry::Signed { token: token.clone() })
    }

    /// Whether the API server would accept this token now, without its cache.
    pub fn accepts(&self, token: &str) -> bool {
        user_of(&self.cluster, token).is_some()
    }

    /// Takes the answers to unsupported requests. If a test leaves any, dropping the cluster panics, so that
    /// the test fails.
    pub fn refused(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.cluster.refused))
    }

    /// Moves the cluster's clock, which decides about lifetimes and the cache of authentications.
    pub fn advance(&self, by: Duration) {
        self.cluster.clock.advance(by);
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        let refused = self.refused();
        assert!(
            refused.is_empty() || thread::panicking(),
            "{}",
            refused.join("\n")
        );
    }
}

/// The front of the cluster.
impl Deref for DevCluster {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Builder {
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.address = address;
        self
    }

    /// Whether to speak HTTP/2, as kube-apiserver does by default. Some load balancers in front of it do not.
    pub fn http2(mut self, on: bool) -> Self {
        self.listen.http2 = on;
        self
    }

    /// # Errors
    ///
    /// If no port is free, or the transcript of a test run cannot be written.
    pub fn start(self) -> Result<DevCluster> {
        let cluster = Arc::new(Cluster {
            transcript: Transcript::begin().context("no transcript of the dev cluster can be written")?,
            ..Cluster::default()
        });
        rbac::create_defaults(&mut cluster.state().store);
        objects::create_default_namespace(&mut cluster.state().store, cluster.clock.unix_seconds());
        let front = Front::of(self.listen, Arc::clone(&cluster))?;
        Ok(DevCluster { cluster, front })
    }
}

impl Cluster {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Keeps the answer to an unsupported request.
    pub(crate) fn refuse(&self, answer: &Value) {
        let message = answer["message"].as_str().unwrap_or_default();
        lock(&self.refused).push(message.to_owned());
    }

    /// Runs a call of the test, and records it if this test run keeps a transcript.
    pub(crate) fn write<T>(&self, act: impl FnOnce() -> T, entry: impl FnOnce(&T) -> Entry) -> T {
        match &self.transcript {
            Some(transcript) => transcript.write(act, entry),
            None => act(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
