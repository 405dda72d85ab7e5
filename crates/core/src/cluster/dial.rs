//! Opens a connection: through its proxy, with its certificates, in the version of HTTP that both sides
//! speak.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Uri};
use http_body_util::Full;
use hyper::{
    body::Bytes,
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::{
    client::legacy::connect::{
        Connection as _, HttpConnector,
        proxy::{SocksV5, Tunnel as HttpTunnel},
    },
    rt::TokioExecutor,
};
use rustls::{ClientConfig, pki_types::ServerName, sign::SingleCertAndKey};
use tower::Service as _;

use super::{Connection, Identity, authority::Verifier};
use crate::{
    error::{Error, Kind},
    text::harmless,
};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The time for which a connection is idle before its first TCP keep-alive probe, as in client-go
/// (`transport/cache.go`). Also the time between two probes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The target of a connection, with its proxy and certificates.
pub(crate) struct Dial {
    server: Uri,
    /// The TLS settings that offer HTTP/2 and HTTP/1.1.
    tls: Arc<ClientConfig>,
    /// The TLS settings that offer HTTP/1.1 alone.
    tls_http1: Arc<ClientConfig>,
    names: Arc<dyn ResolveServerName + Send + Sync>,
    proxy: Option<Tunnel>,
}

/// A proxy to connect through.
struct Tunnel {
    uri: Uri,
    protocol: Protocol,
    authorization: Option<HeaderValue>,
    /// The user and the password for a SOCKS proxy.
    credentials: Option<(Vec<u8>, Vec<u8>)>,
    /// The TLS settings for a proxy that speaks TLS. They hold the same certificates as those for the server,
    /// as in kubectl.
    tls: Arc<ClientConfig>,
}

/// The protocol that a proxy speaks.
#[derive(Clone, Copy)]
enum Protocol {
    Http,
    Https,
    Socks,
}

/// A new connection, by its version of HTTP.
pub(super) enum HttpConnection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// The versions of HTTP that a connection offers.
#[derive(Clone, Copy)]
pub(crate) enum Offer {
    /// HTTP/2 and HTTP/1.1.
    Both,
    /// HTTP/1.1 alone, whose connections can change to another protocol.
    Http1,
}

/// A connection as a stream of bytes.
pub(crate) trait Stream: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Stream for T {}

impl Dial {
    /// Prepares a connection.
    ///
    /// # Errors
    /// If jobpass cannot use the certificates, the key, the URL of the server or of the proxy, or the name
    /// that the server's certificate must carry. Also if jobpass should trust this system's authorities, but
    /// the system has none.
    pub(crate) fn new(connection: &Connection, identity: &Identity) -> Result<Self, Error> {
        let server = connection.server.parse::<Uri>().map_err(|error| {
            unusable("the URL of the server", &error)
                .help("check the input `server` or `job-server`, or `server` in the kubeconfig")
        })?;
        let plain = tls_config(connection, identity)?;
        let (mut tls, mut tls_http1) = (plain.clone(), plain.clone());
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        tls_http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let names: Arc<dyn ResolveServerName + Send + Sync> = match &connection.tls_server_name {
            Some(name) => {
                let name = ServerName::try_from(name.clone()).map_err(|_| {
                    let problem = format!(
                        "has the `tls-server-name` `{}`, which is neither a host name nor an address",
                        harmless(name)
                    );
                    Error::input(
                        "kubeconfig",
                        problem,
                        "give the name that the server's certificate carries, without `https://` and port",
                    )
                })?;
                Arc::new(FixedServerNameResolver::new(name))
            }
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        let proxy = connection.proxy.as_ref().map(|proxy| {
            // Go accepts some characters in a host name that `Uri` refuses.
            let wrong = |why: &dyn std::fmt::Display| {
                unusable("the URL of the proxy", why)
                    .help("check `proxy-url` in the kubeconfig, or the variable HTTPS_PROXY")
            };
            let uri = proxy.url().parse::<Uri>().map_err(|error| wrong(&error))?;
            let protocol = match uri.scheme_str().unwrap_or_default() {
                "http" => Protocol::Http,
                "https" => Protocol::Https,
                "socks5" | "socks5h" => Protocol::Socks,
                other => {
                    let why = format!("`{other}` is not `http`, `https`, `socks5` or `socks5h`");
                    return Err(wrong(&why));
                }
            };
            Ok::<_, Error>(Tunnel {
                uri,
                protocol,
                authorization: proxy.authorization(),
                credentials: proxy.credentials(),
                tls: Arc::new(plain),
            })
        });
        Ok(Self {
            server,
            tls: Arc::new(tls),
            tls_http1: Arc::new(tls_http1),
            names,
            proxy: proxy.transpose()?,
        })
    }

    /// The URL of the server.
    pub(crate) fn server(&self) -> &Uri {
        &self.server
    }

    pub(super) async fn dial(&self) -> Result<HttpConnection, Failure> {
        let (stream, is_http2) = self.connect(Offer::Both).await?;
        dialled(stream, is_http2).await
    }

    /// Connects. Returns the connection, and whether the server chose HTTP/2.
    pub(crate) async fn connect(&self, offer: Offer) -> Result<(Box<dyn Stream>, bool), Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Requests are small and follow each other. Nagle's algorithm would delay them.
        tcp.set_nodelay(true);
        // jobpass must notice a dead peer on a connection that is idle for hours. `kubectl exec` can have
        // such a connection through the job's proxy.
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        let Some(proxy) = &self.proxy else {
            return self.through(tcp, offer).await;
        };
        match proxy.protocol {
            Protocol::Http => self.through(proxy.http(tcp), offer).await,
            Protocol::Https => {
                // kubectl uses `tls-server-name` as the name of the proxy as well.
                let tls = Arc::clone(&proxy.tls);
                let tcp = HttpsConnector::new(tcp, tls, true, Arc::clone(&self.names));
                self.through(proxy.http(tcp), offer).await
            }
            Protocol::Socks => match self.through(proxy.socks(tcp.clone(), true), offer).await {
                // Go's client offers both methods in one message: with a password, and without one. This
                // client can offer only one method, so jobpass connects a second time.
                Err(error) if proxy.credentials.is_some() && says(&*error, "not support user/pass") => {
                    self.through(proxy.socks(tcp, false), offer).await
                }
                result => result,
            },
        }
    }

    async fn through<C>(&self, connector: C, offer: Offer) -> Result<(Box<dyn Stream>, bool), Failure>
    where
        C: tower::Service<Uri>,
        C::Response: hyper_util::client::legacy::connect::Connection + Stream + 'static,
        C::Future: Send + 'static,
        C::Error: Into<Failure>,
    {
        // This does not call `poll_ready`: each part of the connector is always ready.
        let tls = match offer {
            Offer::Both => &self.tls,
            Offer::Http1 => &self.tls_http1,
        };
        let mut connector = HttpsConnector::new(connector, Arc::clone(tls), true, Arc::clone(&self.names));
        let stream = connector.call(self.server.clone()).await?;
        let is_http2 = stream.connected().is_negotiated_h2();
        Ok((Box::new(stream), is_http2))
    }
}

impl Tunnel {
    fn http<C>(&self, connector: C) -> HttpTunnel<C> {
        let tunnel = HttpTunnel::new(self.uri.clone(), connector);
        match &self.authorization {
            Some(authorization) => tunnel.with_auth(authorization.clone()),
            None => tunnel,
        }
    }

    /// Builds a connector for a SOCKS proxy. The proxy looks names up, as with kubectl: some names exist only
    /// in the proxy's network.
    fn socks<C>(&self, connector: C, with_credentials: bool) -> SocksV5<C> {
        let tunnel = SocksV5::new(with_port(&self.uri, 1080), connector);
        match self.credentials.as_ref().filter(|_| with_credentials) {
            Some((user, password)) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                tunnel.with_auth(text(user), text(password))
            }
            None => tunnel,
        }
    }
}

/// Whether the message of an error, or of one of its causes, contains `text`.
fn says(error: &(dyn std::error::Error + 'static), text: &str) -> bool {
    error.to_string().contains(text) || error.source().is_some_and(|source| says(source, text))
}

fn with_port(uri: &Uri, port: u16) -> Uri {
    let host = uri.host().filter(|_| uri.port().is_none());
    let complete = host.and_then(|host| format!("socks5://{host}:{port}").parse().ok());
    complete.unwrap_or_else(|| uri.clone())
}

/// The TLS settings: the authorities, and the client's own certificate.
fn tls_config(connection: &Connection, identity: &Identity) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match &connection.certificate_authority {
        Some(pem) => Verifier::of(pem, Arc::clone(&provider)),
        // Loading the system's roots takes a hundred times as long as the rest, so it happens only without a
        // given authority.
        None => Verifier::of_system(
            &connection.server,
            connection.extra_authorities.as_deref(),
            Arc::clone(&provider),
        )?,
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::defect(format!("cannot set up TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match &identity.certificate {
        Some(certificate) => {
            let certified = certificate.certified(&provider).map_err(|why| {
                unusable("the client certificate", &why)
                    .help("give the certificate and the key that belongs to it, both in PEM")
            })?;
            Ok(config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
        }
        None => Ok(config.with_no_client_auth()),
    }
}

/// Starts HTTP on a stream. [`Dial::through`] is generic; this function is not, so that the compiler
/// generates it once.
async fn dialled(stream: Box<dyn Stream>, http2: bool) -> Result<HttpConnection, Failure> {
    if http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        // The task ends when no sender is left. Each request gets its own error.
        tokio::spawn(connection);
        Ok(HttpConnection::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(HttpConnection::Http1(sender))
    }
}

fn unusable(what: &str, why: &dyn std::fmt::Display) -> Error {
    let why = harmless(&why.to_string());
    Error::new(Kind::Input, format!("cannot use {what}: {why}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{cluster::Proxy, process::environment::Environment};

    fn connection(server: &str, proxy: Option<&str>) -> Connection {
        let mut connection = Connection::new("server", server, None).expect("a server");
        let variables = Environment::default().with("https_proxy", proxy);
        connection.proxy = Proxy::from_environment(&connection.server, &variables);
        connection
    }

    #[rstest]
    #[case("socks5://proxy", "socks5://proxy:1080")]
    #[case("socks5://proxy:9050", "socks5://proxy:9050")]
    #[case("socks5h://[fd00::1]", "socks5://[fd00::1]:1080")]
    fn a_socks_proxy_has_a_port(#[case] uri: &str, #[case] complete: &str) {
        let complete = complete.parse::<Uri>().expect("a URI");
        let with_port = with_port(&uri.parse().expect("a URI"), 1080);
        assert_eq!(
            (with_port.host(), with_port.port_u16()),
            (complete.host(), complete.port_u16())
        );
    }

    #[rstest]
    #[case::a_name("kubernetes.internal", true)]
    #[case::an_address("10.0.0.1", true)]
    #[case::a_url("https://kubernetes.internal", false)]
    #[case::hostile("a\n::error::b", false)]
    fn a_name_that_no_certificate_carries_is_a_wrong_input(#[case] name: &str, #[case] is_one: bool) {
        let connection = Connection {
            tls_server_name: Some(name.into()),
            ..connection("https://127.0.0.1:1", None)
        };
        match Dial::new(&connection, &Identity::default()) {
            Ok(_) => assert!(is_one),
            Err(error) => {
                assert!(!is_one && error.kind() == Kind::Input, "{error}");
                assert!(!error.message().contains('\n'), "{error}");
            }
        }
    }

    /// Each case is a URL that Go accepts: Go fails only when it connects.
    #[rstest]
    #[case::no_uri("http://user:s3cret@pro\"xy:3128")]
    #[case::another_protocol("ftp://user:s3cret@proxy:3128")]
    fn a_proxy_that_jobpass_cannot_use_is_a_wrong_input(#[case] proxy: &str) {
        let proxy = Some(proxy);
        let dial = Dial::new(
            &connection("https://k8s.example.com", proxy),
            &Identity::default(),
        );
        let error = dial.err().expect("no URI");
        let said = error.to_string();
        assert_eq!(error.kind(), Kind::Input, "{said}");
        assert!(said.starts_with("cannot use the URL of the proxy: "), "{said}");
        assert!(said.contains("HTTPS_PROXY") && !said.contains("s3cret"), "{said}");
    }

    /// Starts a SOCKS proxy that accepts only one method of authentication (RFC 1928). Returns its address,
    /// and a task that returns the methods that clients offered: one list for each connection.
    async fn socks_proxy(accepts: u8) -> (String, tokio::task::JoinHandle<Vec<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let offered = tokio::spawn(async move {
            let mut offered = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = [0; 2];
                stream.read_exact(&mut head).await.expect("a greeting");
                let mut methods = vec![0; head[1].into()];
                stream.read_exact(&mut methods).await.expect("methods");
                let is_accepted = methods.contains(&accepts);
                offered.push(methods);
                let method = if is_accepted { accepts } else { 0xff };
                stream.write_all(&[5, method]).await.expect("an answer");
                if is_accepted {
                    return offered;
                }
            }
        });
        (address.to_string(), offered)
    }

    /// Method 0 is no authentication. Method 2 is a user and a password.
    #[rstest]
    #[case::no_password("", 0, vec![vec![0]])]
    #[case::a_password("user:secret@", 2, vec![vec![2]])]
    #[case::a_password_that_the_proxy_does_not_want("user:secret@", 0, vec![vec![2], vec![0]])]
    #[tokio::test]
    async fn a_socks_proxy_without_passwords_is_tried_without_one(
        #[case] credentials: &str,
        #[case] accepts: u8,
        #[case] expected: Vec<Vec<u8>>,
    ) {
        let (address, offered) = socks_proxy(accepts).await;
        let url = format!("socks5://{credentials}{address}");
        let dial = Dial::new(
            &connection("https://k8s.example.com", Some(&url)),
            &Identity::default(),
        );
        // The proxy closes the connection after the greeting.
        assert!(dial.expect("a dial").dial().await.is_err());
        let offered = tokio::time::timeout(Duration::from_secs(10), offered).await;
        assert_eq!(
            offered
                .expect("the proxy accepted a greeting in time")
                .expect("offered"),
            expected
        );
    }
}
