//! What the recordings in `tests/contract` do not show: time, garbage, faults.

mod admission;
mod faults;
mod lifetimes;
mod objects;
mod oidc;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

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
