//! The servers of a case: an API server with a certificate of any kind, and proxies of each kind.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

/// The requests that a server or a proxy received, in order.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

/// Servers on a thread of their own. Dropping this value stops them.
pub(crate) struct Servers {
    runtime: Option<Runtime>,
    pub(crate) seen: Seen,
}

/// The user and the password that a proxy requires.
pub(crate) const CREDENTIALS: &str = "me:pa@ss";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Http,
    Https,
    Socks,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            runtime: Some(runtime),
            seen: Seen::default(),
        }
    }

    /// Returns the requests since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("no thread panics with this lock"))
    }

    /// Starts an API server that accepts every client and records each request. Returns its port.
    pub(crate) fn api_server(&self, chain: &str, key: &str, clients: &str) -> u16 {
        let acceptor = acceptor(chain, key, Some(clients));
        let seen = Arc::clone(&self.seen);
        self.serve(move |stream| {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            async move {
                let stream = acceptor.accept(stream).await?;
                answer(stream, &seen).await
            }
        })
    }

    /// Starts a proxy that may require credentials. Returns its port.
    pub(crate) fn proxy(&self, kind: Kind, asks: bool, chain: &str, key: &str) -> u16 {
        let acceptor = acceptor(chain, key, None);
        let seen = Arc::clone(&self.seen);
        self.serve(move |stream| {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            async move {
                match kind {
                    Kind::Http => connect(stream, asks, "http", &seen).await,
                    Kind::Https => connect(acceptor.accept(stream).await?, asks, "https", &seen).await,
                    Kind::Socks => socks(stream, asks, &seen).await,
                }
            }
        })
    }

    fn serve<F>(&self, handle: impl Fn(TcpStream) -> F + Send + 'static) -> u16
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("it runs");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(handle(stream));
            }
        });
        port
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn acceptor(chain: &str, key: &str, clients: Option<&str>) -> TlsAcceptor {
    let certificates = |pem: &str| {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| der.expect("PEM"))
            .collect::<Vec<_>>()
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(authority));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .expect("a verifier");
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    // The chain may be invalid. This server sends it unchecked, because the client must refuse it.
    let certified = rustls::sign::CertifiedKey::new(
        certificates(chain),
        rustls::crypto::ring::sign::any_supported_type(&key).expect("a key"),
    );
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    TlsAcceptor::from(Arc::new(builder.with_cert_resolver(resolver)))
}

/// Reads the head of a request, and as many bytes of its body as the head announces.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = header(&head, "content-length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(head)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut values = headers.filter(|(header, _)| header.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim())
}

async fn answer(mut stream: tokio_rustls::server::TlsStream<TcpStream>, seen: &Seen) -> io::Result<()> {
    let head = request(&mut stream).await?;
    let (_, tls) = stream.get_ref();
    let certified = tls.peer_certificates().is_some_and(|chain| !chain.is_empty());
    let line = head.lines().next().unwrap_or_default();
    let show = |name| header(&head, name).unwrap_or("-");
    let impersonated = head
        .lines()
        .filter(|line| line.to_ascii_lowercase().starts_with("impersonate-"))
        .map(str::to_ascii_lowercase);
    let mut impersonated: Vec<_> = impersonated.collect();
    impersonated.sort();
    seen.lock()
        .expect("no thread panics with this lock")
        .push(format!(
            "{line}, {}, certificate {certified}, name {}, {impersonated:?}",
            show("authorization"),
            tls.server_name().unwrap_or("-"),
        ));
    // A GET request stands for one to a platform's endpoint of ID tokens.
    let (status, token) = match line.starts_with("GET") {
        true => ("200 OK", "e30.e30.c2ln"),
        false => ("201 Created", ""),
    };
    let body = json!({
        "value": token, "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
        "status": {"userInfo": {"username": "somebody"}},
    });
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn connect(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    asks: bool,
    scheme: &str,
    seen: &Seen,
) -> io::Result<()> {
    let head = request(&mut stream).await?;
    let target = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let shown = header(&head, "proxy-authorization").unwrap_or("-").to_owned();
    seen.lock()
        .expect("no thread panics with this lock")
        .push(format!("{scheme} proxy, to {target}, {shown}"));
    let expected = format!("Basic {}", encoded(CREDENTIALS));
    if asks && shown != expected {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await?;
        return stream.shutdown().await;
    }
    let mut server = TcpStream::connect(target).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Serves one connection as a SOCKS5 proxy (RFC 1928 and 1929).
async fn socks(mut stream: TcpStream, asks: bool, seen: &Seen) -> io::Result<()> {
    let mut start = [0; 2];
    stream.read_exact(&mut start).await?;
    let mut methods = vec![0; usize::from(start[1])];
    stream.read_exact(&mut methods).await?;
    let method = if asks { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, method]).await?;
    let mut shown = "-".to_owned();
    if method == 2 {
        let text = |stream: TcpStream| async move {
            let mut stream = stream;
            let length = stream.read_u8().await?;
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await?;
            io::Result::Ok((stream, String::from_utf8_lossy(&bytes).into_owned()))
        };
        stream.read_u8().await?;
        let (rest, user) = text(stream).await?;
        let (rest, password) = text(rest).await?;
        stream = rest;
        shown = format!("{user}:{password}");
        let right = !asks || shown == CREDENTIALS;
        stream.write_all(&[1, u8::from(!right)]).await?;
        if !right {
            return Ok(());
        }
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
        // Go sends an IPv4-mapped IPv6 address as the IPv4 address.
        4 => Ipv6Addr::from(stream.read_u128().await?)
            .to_canonical()
            .to_string(),
        _ => {
            let length = stream.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
    };
    let target = format!("{host}:{}", stream.read_u16().await?);
    seen.lock()
        .expect("no thread panics with this lock")
        .push(format!("socks proxy, to {target}, {shown}"));
    let mut server = TcpStream::connect(&target).await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}
