//! Passes requests from the front to a real API server.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::random;
use crate::transcript::Asker;

/// The audience of the API server itself, as kubeadm and the tests' control plane name it.
pub(super) const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The API server that an administrator's kubeconfig names.
pub(super) struct Upstream {
    server: String,
    /// The clients with the administrator's certificate.
    admin: Clients,
    /// The clients without a credential of their own.
    plain: Clients,
}

struct Clients {
    any: Https,
    /// The client for requests that change the protocol, as `kubectl exec` does. Only HTTP/1.1 has upgrades.
    http1: Https,
}

impl Upstream {
    /// Reads an administrator's kubeconfig.
    ///
    /// # Errors
    ///
    /// If the kubeconfig cannot be read, if its server is not `https`, or if it does not contain the
    /// certificates and the key themselves. Paths of files are not enough.
    pub(super) fn new(kubeconfig: &Path) -> Result<Self> {
        let text = fs::read_to_string(kubeconfig)
            .with_context(|| format!("cannot read {}", kubeconfig.display()))?;
        Self::parse(&text).with_context(|| {
            format!(
                "the tests cannot use {}: give an administrator's kubeconfig that contains one cluster and one \
                 user with the certificates and the key, as `kubectl config view --raw --minify --flatten` \
                 prints it",
                kubeconfig.display()
            )
        })
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Value = serde_yaml::from_str(text).map_err(|_| anyhow::anyhow!("it is not YAML"))?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let decoded = |value: &Value, name: &str| {
            let text = value[name]
                .as_str()
                .with_context(|| format!("it has no {name}"))?;
            STANDARD
                .decode(text)
                .with_context(|| format!("{name} is not base64"))
        };
        let server = cluster["server"].as_str().context("it has no server")?;
        ensure!(server.starts_with("https://"), "its server is not https");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&decoded(cluster, "certificate-authority-data")?) {
            roots.add(certificate?)?;
        }
        let chain = CertificateDer::pem_slice_iter(&decoded(user, "client-certificate-data")?)
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&decoded(user, "client-key-data")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            admin: Clients::new(&tls.clone().with_client_auth_cert(chain, key)?),
            plain: Clients::new(&tls.with_no_client_auth()),
        })
    }

    /// Forwards a request to the API server.
    pub(super) async fn send(&self, asked: &Asked) -> Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(asked.body.clone()));
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = format!("{}{}", self.server, asked.uri).parse::<Uri>()?;
        *request.headers_mut() = asked.headers.clone();
        // These headers belong to the client's connection to the front, not to the front's connection to the
        // API server.
        for name in [header::HOST, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            request.headers_mut().remove(name);
        }
        let clients = match asked.by {
            Asker::Admin => &self.admin,
            Asker::Anonymous | Asker::Bearer(_) => &self.plain,
        };
        let client = match request.headers().contains_key(header::UPGRADE) {
            true => &clients.http1,
            false => {
                request.headers_mut().remove(header::CONNECTION);
                &clients.any
            }
        };
        client
            .request(request)
            .await
            .context("the API server does not answer")
    }

    /// Forwards a request, and reads the whole answer.
    pub(super) async fn ask(&self, asked: &Asked) -> Result<Response<Bytes>> {
        let (parts, body) = self.send(asked).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }

    /// The user of a token. `None` if the API server refuses the token.
    ///
    /// The API server caches its results separately for each list of audiences
    /// (k8s.io/apiserver/pkg/authentication/token/cache). This request names a random audience as well, so
    /// the API server reads no cached result for this request, and caches a result that no later request
    /// gets.
    pub(super) async fn user(&self, token: &str, audience: &str) -> Result<Option<String>> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience, random::uid()]},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let answer = self.ask(&Asked::by_admin("POST", path, Some(&review))).await?;
        let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let status = &answer["status"];
        let name = status["user"]["username"].as_str().map(str::to_owned);
        Ok(name.filter(|_| status["authenticated"] == true))
    }
}

impl Clients {
    fn new(tls: &ClientConfig) -> Self {
        let builder = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_only()
                .enable_http1()
        };
        let client = |connector| Client::builder(TokioExecutor::new()).build(connector);
        Self {
            any: client(builder().enable_http2().build()),
            http1: client(builder().build()),
        }
    }
}
