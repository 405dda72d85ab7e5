//! The dev cluster for tests and the demo: its API server, and the [`Front`] that clients connect to.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};
use crate::front::{Front, Listen};
use crate::jwt::SigningKey;
use crate::transcript::{Entry, Transcript};

/// A running dev cluster. It stops when it is dropped.
pub struct DevCluster {
    cluster: Arc<Cluster>,
    front: Front,
}

/// The options of a [`DevCluster`].
#[derive(Default)]
pub struct Builder {
    listen: Listen,
}

impl DevCluster {
    /// Starts a cluster on a free port.
    ///
    /// # Panics
    ///
    /// If the cluster does not start.
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
    /// If the text is not YAML, if an object has a kind that the dev cluster lacks, or if the API server
    /// refuses an object.
    pub fn apply(&self, manifests: &str) {
        for document in serde_yaml::Deserializer::from_str(manifests) {
            let object = Value::deserialize(document).expect("manifests are YAML");
            if object.is_null() {
                continue;
            }
            let path = cluster::collection(&object);
            let (status, answer) = self.front.ask("POST", &path, Some(&object));
            assert_eq!(status, 201, "the dev cluster refuses {object}: {answer}");
        }
    }

    /// Requests a token for the ServiceAccount. The token is not bound to an object.
    ///
    /// # Panics
    ///
    /// If the ServiceAccount does not exist, or if the API server refuses the lifetime.
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

    /// Signs claims of any kind with the cluster's key.
    pub fn sign(&self, claims: &Value) -> String {
        let sign = || SigningKey::shared().sign(claims);
        self.cluster
            .write(sign, |token| Entry::Signed { token: token.clone() })
    }

    /// Whether the API server would accept this token now if its cache were empty.
    pub fn accepts(&self, token: &str) -> bool {
        cluster::user_of(&self.cluster, token).is_some()
    }

    /// Returns the messages of the answers to unsupported requests, and forgets them. If some are left when
    /// the cluster is dropped, the drop panics and so fails the test.
    pub fn refused(&self) -> Vec<String> {
        self.cluster.refused()
    }

    /// Moves the cluster's clock forward. Tokens and cached authentications expire by this clock.
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

/// A cluster offers all functions of its [`Front`].
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

    /// Sets whether the server speaks HTTP/2. kube-apiserver does by default; some load balancers in front of
    /// it do not.
    pub fn http2(mut self, on: bool) -> Self {
        self.listen.http2 = on;
        self
    }

    /// Starts the cluster.
    ///
    /// # Errors
    ///
    /// If the cluster cannot listen on the address, or if this test run records transcripts and the file
    /// cannot be created.
    pub fn start(self) -> Result<DevCluster> {
        let transcript = Transcript::begin().context("failed to begin the transcript of the dev cluster")?;
        let cluster = Arc::new(Cluster::new(transcript));
        let front = Front::of(self.listen, Arc::clone(&cluster))?;
        Ok(DevCluster { cluster, front })
    }
}
