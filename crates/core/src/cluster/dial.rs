//! How a connection is made: directly or through a proxy, with which certificates, and which HTTP is agreed on.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use http_body_util::Full;
use hyper::{
    body::Bytes,
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::{
    client::legacy::connect::{Connection as _, HttpConnector, proxy::Tunnel},
    rt::TokioExecutor,
};
use kube::client::ConfigExt as _;
use rustls::{ClientConfig, pki_types::ServerName};
use tower_service::Service as _;

use crate::{
    cluster::{Connection, Identity, certificates},
    error::{Error, Kind},
    text::harmless,
};

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where to, and with what.
pub(super) struct Dial {
    server: Uri,
    tls: Arc<ClientConfig>,
    names: Arc<dyn ResolveServerName + Send + Sync>,
    proxy: Option<Proxy>,
}

struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
    /// If it is spoken to over TLS: the same certificates, as with kubectl.
    tls: Arc<ClientConfig>,
}

/// A new connection.
pub(super) enum Dialled {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

trait Stream: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Stream for T {}

impl Dial {
    /// # Errors
    /// If the certificates, the key or the server's name cannot be used.
    pub(super) fn new(connection: &Connection, identity: &Identity) -> Result<Self, Error> {
        let server = connection
            .server
            .parse::<Uri>()
            .map_err(|error| unusable(&error))?;
        let mut config = kube::Config::new(server.clone());
        // Loading the system's roots takes a hundred times as long as the rest: only if no authority was given.
        config.root_cert = connection
            .certificate_authority
            .as_deref()
            .map(|pem| certificates("certificate-authority", pem))
            .transpose()?;
        config.auth_info = identity.client_certificate();
        let plain = config.rustls_client_config().map_err(|error| unusable(&error))?;
        let mut tls = plain.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let names: Arc<dyn ResolveServerName + Send + Sync> = match &connection.tls_server_name {
            Some(name) => {
                let name = ServerName::try_from(name.clone()).map_err(|_| {
                    let problem = format!("is `{}`, which is no host name or address", harmless(name));
                    Error::input(
                        "tls-server-name",
                        problem,
                        "give the name that the server's certificate carries",
                    )
                })?;
                Arc::new(FixedServerNameResolver::new(name))
            }
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        let proxy = connection.proxy.as_ref().map(|proxy| {
            let uri = proxy.url().parse().map_err(|error| unusable(&error))?;
            Ok::<_, Error>(Proxy {
                uri,
                authorization: proxy.authorization(),
                tls: Arc::new(plain),
            })
        });
        Ok(Self {
            server,
            tls: Arc::new(tls),
            names,
            proxy: proxy.transpose()?,
        })
    }

    pub(super) async fn dial(&self) -> Result<Dialled, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // A request is small, and follows others.
        tcp.set_nodelay(true);
        let Some(Proxy {
            uri,
            authorization,
            tls,
        }) = &self.proxy
        else {
            return self.through(tcp).await;
        };
        match uri.scheme_str() {
            Some("https") => {
                let names = Arc::new(DefaultServerNameResolver::default());
                let tcp = HttpsConnector::new(tcp, Arc::clone(tls), true, names);
                self.through(tunnel(uri, authorization, tcp)).await
            }
            _ => self.through(tunnel(uri, authorization, tcp)).await,
        }
    }

    async fn through<C>(&self, connector: C) -> Result<Dialled, Failure>
    where
        C: tower_service::Service<Uri>,
        C::Response: hyper_util::client::legacy::connect::Connection + Stream + 'static,
        C::Future: Send + 'static,
        C::Error: Into<Failure>,
    {
        // Nothing of what it consists of has to be waited for to be ready.
        let mut connector =
            HttpsConnector::new(connector, Arc::clone(&self.tls), true, Arc::clone(&self.names));
        let stream = connector.call(self.server.clone()).await?;
        let http2 = stream.connected().is_negotiated_h2();
        dialled(Box::new(stream), http2).await
    }
}

fn tunnel<C>(proxy: &Uri, authorization: &Option<HeaderValue>, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.clone(), connector);
    match authorization {
        Some(authorization) => tunnel.with_auth(authorization.clone()),
        None => tunnel,
    }
}

/// Apart from how the stream came about, so that it is compiled once.
async fn dialled(stream: Box<dyn Stream>, http2: bool) -> Result<Dialled, Failure> {
    if http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        // It ends when nobody can send any more. Each request learns itself what became of it.
        tokio::spawn(connection);
        Ok(Dialled::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Dialled::Http1(sender))
    }
}

pub(super) fn unusable(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Kind::Input,
        format!("cannot set up a connection: {}", harmless(&error.to_string())),
    )
    .help("check the certificate authority, the client certificate and its key")
}
