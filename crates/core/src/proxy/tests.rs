//! A proxy between a client and a small API server, over TLS on both sides.

use std::{
    convert::Infallible,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    client::conn::{http1, http2},
    server, service, upgrade,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rstest::rstest;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::cluster::{AttemptError, Offer};

const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqb2IifQ.c2ln";

type Body = BoxBody<Bytes, Infallible>;

/// A small API server that speaks TLS.
struct Server {
    connection: Connection,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The number of bytes of all bodies so far.
    received: Arc<AtomicU64>,
    /// The senders of further lines, one for each watch.
    lines: Arc<Mutex<Vec<mpsc::Sender<Bytes>>>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Seen {
    uri: String,
    headers: HeaderMap,
    version: Version,
}

impl Server {
    async fn start(http2: bool) -> Self {
        Self::start_below(http2, "").await
    }

    async fn start_below(http2: bool, base: &str) -> Self {
        install_crypto();
        let Certificate { authority, tls } = Certificate::new().expect("a certificate");
        let mut tls: ServerConfig = tls;
        if !http2 {
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}{base}", listener.local_addr().expect("an address"));
        let (seen, received, lines) = Default::default();
        let server = Self {
            connection: Connection {
                certificate_authority: Some(authority),
                ..Connection::new("server", &url, None).expect("a server")
            },
            seen: Arc::clone(&seen),
            received: Arc::clone(&received),
            lines: Arc::clone(&lines),
            task: tokio::spawn(async {}),
        };
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let acceptor = acceptor.clone();
                let (seen, received, lines) = (Arc::clone(&seen), Arc::clone(&received), Arc::clone(&lines));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service::service_fn(move |request| {
                        let (seen, received, lines) =
                            (Arc::clone(&seen), Arc::clone(&received), Arc::clone(&lines));
                        answer(request, seen, received, lines)
                    });
                    let stream = TokioIo::new(stream);
                    let _ = match is_http2 {
                        true => {
                            let builder = server::conn::http2::Builder::new(TokioExecutor::new());
                            builder.serve_connection(stream, service).await
                        }
                        false => {
                            let connection =
                                server::conn::http1::Builder::new().serve_connection(stream, service);
                            connection.with_upgrades().await
                        }
                    };
                });
            }
        });
        Self { task, ..server }
    }

    fn proxy(&self, settings: &Settings) -> LoopbackProxy {
        let token = Token::parse(TOKEN, "token").expect("a token");
        let account = Account {
            namespace: "ci".into(),
            name: "scanner".into(),
        };
        LoopbackProxy::start(&self.connection, &token, settings, &account).expect("a proxy")
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("free").clone()
    }
}

async fn answer(
    mut request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    received: Arc<AtomicU64>,
    lines: Arc<Mutex<Vec<mpsc::Sender<Bytes>>>>,
) -> Result<Response<Body>, Infallible> {
    seen.lock().expect("free").push(Seen {
        uri: request
            .uri()
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        headers: request.headers().clone(),
        version: request.version(),
    });
    let path = request.uri().path().to_owned();
    if request.headers().contains_key(header::UPGRADE) {
        let upgraded = upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.expect("upgraded"));
            let mut text = Vec::new();
            if path == "/curt" {
                stream.read_exact(&mut [0]).await.expect("read");
                stream.write_all(b"last words").await.expect("written");
                return stream.flush().await.expect("written");
            }
            // The client sends everything, and then closes its side. The proxy may close the connection at
            // any time. A panic here would add to the time that a test measures.
            if stream.read_to_end(&mut text).await.is_ok() && stream.write_all(&text).await.is_ok() {
                let _ = stream.shutdown().await;
            }
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "SPDY/3.1");
        return Ok(response.body(Empty::new().boxed()).expect("a response"));
    }
    if path.ends_with("/watched") {
        let (sender, mut receiver) = mpsc::channel(1);
        lines.lock().expect("free").push(sender);
        let stream = futures_util::stream::poll_fn(move |context| {
            receiver
                .poll_recv(context)
                .map(|line| line.map(|line| Ok(Frame::data(line))))
        });
        return Ok(Response::new(StreamBody::new(stream).boxed()));
    }
    if path.ends_with("/stalled") {
        // `request` lives on, so its body stays unread.
        std::future::pending::<()>().await;
    }
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        received.fetch_add(length as u64, Ordering::Relaxed);
    }
    let response = Response::builder()
        .status(if path.ends_with("/denied") { 401 } else { 200 })
        .header(header::CONTENT_ENCODING, "gzip")
        .header("keep-alive", "timeout=5")
        .header("x-audit", "1");
    let body = Full::new(Bytes::from_static(b"\x1f\x8bhello")).boxed();
    Ok(response.body(body).expect("a response"))
}

/// A client of the proxy.
enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    async fn connect(proxy: &LoopbackProxy, http2: bool) -> Self {
        let dial = Dial::new(&proxy.door().connection, &Identity::default()).expect("a way");
        let offer = if http2 { Offer::Both } else { Offer::Http1 };
        let (stream, is_http2) = dial.connect(offer).await.expect("the proxy listens");
        assert_eq!(is_http2, http2);
        match http2 {
            true => {
                let handshake = http2::handshake(TokioExecutor::new(), stream).await;
                let (sender, connection) = handshake.expect("HTTP/2");
                tokio::spawn(connection);
                Self::Http2(sender)
            }
            false => {
                let (sender, connection) = http1::handshake(stream).await.expect("HTTP/1.1");
                tokio::spawn(connection.with_upgrades());
                Self::Http1(sender)
            }
        }
    }

    async fn send(&mut self, mut request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                let headers = request.headers_mut();
                headers.insert(header::HOST, "127.0.0.1".parse().expect("a host"));
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                let uri = format!("https://127.0.0.1{}", request.uri());
                *request.uri_mut() = uri.parse().expect("a URI");
                sender.send_request(request).await
            }
        }
    }
}

fn request(proxy: &LoopbackProxy, method: &str, path: &str) -> http::request::Builder {
    let bearer = format!("Bearer {}", proxy.door().bearer.expose());
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, bearer)
}

fn empty() -> Body {
    Empty::new().boxed()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

/// The body of a watch, after its first line has arrived.
async fn watch(server: &Server, client: &mut Client, proxy: &LoopbackProxy) -> Incoming {
    let watch = request(proxy, "GET", "/watched").body(empty());
    let response = client.send(watch.expect("a request")).await.expect("a watch");
    let mut body = response.into_body();
    let lines = server
        .lines
        .lock()
        .expect("free")
        .last()
        .expect("a watch")
        .clone();
    lines.send(Bytes::from_static(b"first\n")).await.expect("sent");
    let first = body.frame().await.expect("a frame").expect("a line");
    assert_eq!(first.into_data().expect("data"), "first\n");
    body
}

#[rstest]
#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are(
    #[values(false, true)] near: bool,
    #[values(false, true)] far: bool,
) {
    let server = Server::start_below(far, "/k8s/clusters/c-1").await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, near).await;
    let uri = "/api/v1/namespaces/ci/pods/a%2Fb?fieldSelector=metadata.name%3Da&x=%20+y&empty";
    let sent = request(&proxy, "POST", uri)
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::CONTENT_TYPE, "application/vnd.kubernetes.protobuf")
        .body(Full::new(Bytes::from_static(b"k8s\0body")).boxed());
    let response = client.send(sent.expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(response.headers()["x-audit"], "1");
    assert!(!response.headers().contains_key("keep-alive"));
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(&*body, b"\x1f\x8bhello");

    let seen = server.seen();
    let [seen] = &seen[..] else { panic!("one request") };
    assert_eq!(seen.uri, format!("/k8s/clusters/c-1{uri}"));
    assert_eq!(seen.version == Version::HTTP_2, far);
    assert_eq!(seen.headers[header::AUTHORIZATION], format!("Bearer {TOKEN}"));
    assert_eq!(
        seen.headers[header::CONTENT_TYPE],
        "application/vnd.kubernetes.protobuf"
    );
    let host = server.connection.server.trim_start_matches("https://");
    let host = host.split('/').next().expect("a host");
    assert!(far || seen.headers[header::HOST] == *host, "{:?}", seen.headers);
    assert_eq!(server.received.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn headers_of_one_connection_stay_on_it() {
    let server = Server::start(false).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, false).await;
    let sent = request(&proxy, "GET", "/api")
        .header(header::CONNECTION, "keep-alive, X-Mine")
        .header("x-mine", "1")
        .header("keep-alive", "5")
        .header(header::TE, "trailers")
        .header(header::PROXY_AUTHORIZATION, "Basic eDp5")
        .header("x-theirs", "1");
    client
        .send(sent.body(empty()).expect("a request"))
        .await
        .expect("an answer");
    let headers = &server.seen()[0].headers;
    for name in ["connection", "x-mine", "keep-alive", "te", "proxy-authorization"] {
        assert!(!headers.contains_key(name), "{name}: {headers:?}");
    }
    assert_eq!(headers["x-theirs"], "1");
}

#[rstest]
#[case::no_bearer(&[], 401)]
#[case::another_bearer(&[("authorization", "Bearer other")], 401)]
#[case::a_password(&[("authorization", "Basic eDp5")], 401)]
#[case::a_second_credential(&[("authorization", "BEARER"), ("authorization", "Bearer other")], 403)]
#[case::another_user(&[("authorization", "BEARER"), ("impersonate-user", "admin")], 403)]
#[case::more_of_a_user(&[("authorization", "BEARER"), ("Impersonate-Extra-Scopes", "view")], 403)]
#[case::a_credential_for_websockets(
    &[("authorization", "BEARER"), ("sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YQ")],
    403
)]
#[tokio::test]
async fn only_the_bearer_speaks_for_the_job(#[case] headers: &[(&str, &str)], #[case] status: u16) {
    let server = Server::start(true).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, true).await;
    let bearer = format!("Bearer {}", proxy.door().bearer.expose());
    let mut sent = Request::get("/api/v1/namespaces/ci/pods");
    for (name, value) in headers {
        sent = sent.header(*name, value.replace("BEARER", &bearer));
    }
    let sent = sent.body(empty()).expect("a request");
    let response = client.send(sent).await.expect("an answer");
    assert_eq!(response.status(), status);
    let body = text(response).await;
    let json = serde_json::from_str::<serde_json::Value>(&body).expect("JSON");
    assert_eq!((&json["kind"], &json["code"]), (&"Status".into(), &status.into()));
    assert!(server.seen().is_empty(), "the API server must not see it");
}

#[tokio::test]
async fn what_allow_does_not_list_is_refused_and_recorded() {
    let server = Server::start(true).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    let proxy = server.proxy(&Settings {
        allow: Some("list pods".into()),
        record: Some(path.clone()),
    });
    let mut client = Client::connect(&proxy, true).await;
    for (path, status) in [
        ("/api/v1/namespaces/ci/pods", 200),
        ("/api/v1/namespaces/ci/secrets/a", 403),
        ("/api", 200),
    ] {
        let sent = request(&proxy, "GET", path).body(empty()).expect("a request");
        let response = client.send(sent).await.expect("an answer");
        assert_eq!(response.status(), status, "{path}");
        let body = text(response).await;
        if status == 403 {
            assert!(
                body.contains("jobpass refuses `get secrets a in namespace ci`: the input `allow`"),
                "{body}"
            );
        }
    }
    assert_eq!(server.seen().len(), 2);
    proxy.close().await;
    let record = std::fs::read_to_string(path).expect("a record");
    let statuses = record.lines().map(|line| {
        let line = serde_json::from_str::<record::Line>(line).expect("a line");
        match line {
            record::Line::Request(line) => line.status,
            record::Line::Cut { .. } => None,
        }
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [Some(200), Some(403), Some(200)]);
}

/// `kubectl exec` of older versions asks to change the protocol, over HTTP/1.1.
#[rstest]
#[tokio::test]
async fn another_protocol_passes_in_both_directions(#[values(false, true)] far: bool) {
    let server = Server::start(far).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, false).await;
    let sent = request(&proxy, "POST", "/api/v1/namespaces/ci/pods/a/exec?command=sh")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .body(empty());
    let response = client.send(sent.expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[header::UPGRADE], "SPDY/3.1");
    let mut stream = TokioIo::new(upgrade::on(response).await.expect("upgraded"));
    let said = vec![7; 1 << 20];
    let (mut reading, mut writing) = tokio::io::split(&mut stream);
    let write = async {
        writing.write_all(&said).await.expect("written");
        // The server answers after this half of the connection has ended.
        writing.shutdown().await.expect("closed");
    };
    let mut heard = Vec::new();
    let (read, ()) = tokio::join!(reading.read_to_end(&mut heard), write);
    read.expect("read");
    assert!(heard == said, "{} of {} bytes", heard.len(), said.len());
}

/// A command that ends before its input: the server closes the connection while the client still writes.
#[rstest]
#[tokio::test]
async fn the_last_words_of_a_server_that_reads_no_more_arrive(#[values(false, true)] far: bool) {
    let server = Server::start(far).await;
    let proxy = server.proxy(&Settings::default());
    for _ in 0..50 {
        let mut client = Client::connect(&proxy, false).await;
        let sent = request(&proxy, "POST", "/curt")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "SPDY/3.1")
            .body(empty());
        let response = client.send(sent.expect("a request")).await.expect("an answer");
        let stream = TokioIo::new(upgrade::on(response).await.expect("upgraded"));
        let (mut reading, mut writing) = tokio::io::split(stream);
        let write = tokio::spawn(async move { while writing.write_all(&[7; 1 << 14]).await.is_ok() {} });
        let mut heard = Vec::new();
        // If the connection is cut, TLS reports an error.
        let _ = reading.read_to_end(&mut heard).await;
        assert_eq!(String::from_utf8_lossy(&heard), "last words");
        write.abort();
    }
}

#[rstest]
#[tokio::test]
async fn the_end_closes_what_is_open_at_once(#[values(false, true)] near: bool) {
    let server = Server::start(true).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, near).await;
    let mut watched = watch(&server, &mut client, &proxy).await;
    let mut shell = Client::connect(&proxy, false).await;
    let sent = request(&proxy, "POST", "/api/v1/namespaces/ci/pods/a/exec")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .body(empty());
    let response = shell.send(sent.expect("a request")).await.expect("an answer");
    let mut stream = TokioIo::new(upgrade::on(response).await.expect("upgraded"));

    let door = proxy.door().clone();
    let begun = Instant::now();
    proxy.close().await;
    let end = watched.frame().await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    let mut rest = Vec::new();
    // If the connection is cut, TLS reports an error.
    let _ = stream.read_to_end(&mut rest).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert!(rest.is_empty());
    let dial = Dial::new(&door.connection, &Identity::default()).expect("a way");
    let Err(refused) = dial.connect(Offer::Both).await else {
        panic!("nobody listens");
    };
    let why = AttemptError::of(&*refused, false).why;
    assert!(why.contains("refused"), "{why}");
}

/// A watch whose client has gone does not stay open on the far side.
#[rstest]
#[tokio::test]
async fn a_client_that_goes_away_ends_its_watch(
    #[values(false, true)] near: bool,
    #[values(false, true)] far: bool,
) {
    let server = Server::start(far).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, near).await;
    let watched = watch(&server, &mut client, &proxy).await;
    let lines = server.lines.lock().expect("free").pop().expect("a watch");
    drop((watched, client));
    tokio::time::timeout(Duration::from_secs(10), lines.closed())
        .await
        .expect("the API server's side ends");
}

/// A client closes its side of the connection after it sent a request. kube-apiserver treats this client as
/// gone, and so does the proxy: it ends the request and both connections.
#[rstest]
#[tokio::test]
async fn a_client_that_closes_one_half_ends_its_requests(#[values(false, true)] far: bool) {
    let server = Server::start(far).await;
    let proxy = server.proxy(&Settings::default());
    let dial = Dial::new(&proxy.door().connection, &Identity::default()).expect("a way");
    let (stream, _) = dial.connect(Offer::Http1).await.expect("the proxy listens");
    let mut stream = TokioIo::new(stream);
    let watch = format!(
        "GET /watched HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        proxy.door().bearer.expose()
    );
    stream.write_all(watch.as_bytes()).await.expect("written");
    let opened = async {
        loop {
            let lines = server.lines.lock().expect("free").pop();
            match lines {
                Some(lines) => return lines,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let lines = opened.await;
    stream.shutdown().await.expect("closed");
    let both = async {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        lines.closed().await;
    };
    tokio::time::timeout(Duration::from_secs(10), both)
        .await
        .expect("both ends");
}

#[tokio::test]
async fn a_stalled_watch_delays_no_other_request() {
    let server = Server::start(true).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, true).await;
    let mut watches = Vec::new();
    for _ in 0..2 * 32 {
        watches.push(watch(&server, &mut client, &proxy).await);
    }
    // Nobody reads these lines.
    let senders = server.lines.lock().expect("free").clone();
    for sender in senders {
        tokio::spawn(async move { while sender.send(vec![b'x'; 1 << 16].into()).await.is_ok() {} });
    }
    for _ in 0..50 {
        let sent = request(&proxy, "GET", "/api").body(empty()).expect("a request");
        let answer = tokio::time::timeout(Duration::from_secs(10), client.send(sent));
        let response = answer.await.expect("in time").expect("an answer");
        assert_eq!(response.status(), 200);
    }
}

/// The proxy reads no faster than the slower side, so it keeps only a small part of a body in memory.
#[rstest]
#[tokio::test]
async fn a_body_that_nobody_reads_is_not_read(
    #[values(false, true)] near: bool,
    #[values(false, true)] far: bool,
) {
    let server = Server::start(far).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, near).await;
    let mut watched = watch(&server, &mut client, &proxy).await;
    let down = server.lines.lock().expect("free").pop().expect("a watch");

    let (up, mut receiver) = mpsc::channel(1);
    let stream = futures_util::stream::poll_fn(move |context| {
        receiver
            .poll_recv(context)
            .map(|part| part.map(|part| Ok(Frame::data(part))))
    });
    let body = StreamBody::new(stream).boxed();
    let mut client = Client::connect(&proxy, near).await;
    let sent = request(&proxy, "POST", "/stalled").body(body).expect("a request");
    let sending = tokio::spawn(async move { client.send(sent).await });
    for sender in [&down, &up] {
        let mut passed = 0;
        let part = Bytes::from(vec![b'x'; 1 << 16]);
        // The windows of HTTP/2 and the buffers of the kernel hold a part of the body.
        while let Ok(sent) = tokio::time::timeout(Duration::from_secs(2), sender.send(part.clone())).await {
            sent.expect("a reader");
            passed += part.len();
            assert!(passed < 64 << 20, "somebody keeps {passed} bytes");
        }
    }
    sending.abort();
    // Reading the body makes room for more.
    let more = tokio::spawn(async move { down.send(Bytes::from_static(b"last")).await.is_ok() });
    while !more.is_finished() {
        let frame = tokio::time::timeout(Duration::from_secs(10), watched.frame()).await;
        assert!(matches!(frame, Ok(Some(Ok(_)))));
    }
}

#[tokio::test]
async fn a_new_token_counts_for_the_next_request() {
    let server = Server::start(true).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, false).await;
    let refusals = proxy.refusals();
    let sent = request(&proxy, "GET", "/denied")
        .body(empty())
        .expect("a request");
    let response = client.send(sent).await.expect("an answer");
    assert_eq!(response.status(), 401);
    let body = text(response).await;
    assert!(body.contains("the token is revoked, or it has expired"), "{body}");
    tokio::time::timeout(Duration::from_secs(10), refusals.notified())
        .await
        .expect("the renewer learns of it");

    let new = Token::parse("eyJhbGciOiJub25lIn0.new.c2ln", "token").expect("a token");
    proxy.replace_token(&new).expect("replaced");
    let sent = request(&proxy, "GET", "/api").body(empty()).expect("a request");
    client.send(sent).await.expect("an answer");
    let seen = server.seen();
    assert_eq!(
        seen.last().expect("a request").headers[header::AUTHORIZATION],
        format!("Bearer {}", new.expose())
    );
}

#[rstest]
#[tokio::test]
async fn a_server_that_is_gone_is_a_status_and_one_that_is_back_answers(#[values(false, true)] far: bool) {
    let server = Server::start(far).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, true).await;
    let get = || request(&proxy, "GET", "/api").body(empty()).expect("a request");
    assert_eq!(client.send(get()).await.expect("an answer").status(), 200);
    let address = server.connection.server.trim_start_matches("https://").to_owned();
    server.task.abort();
    let _ = server.task.await;
    drop((server.seen, server.lines));
    // The connections of the server are tasks of their own. An idle connection may still answer.
    let mut shell = Client::connect(&proxy, false).await;
    let sent = request(&proxy, "GET", "/api/v1/namespaces/ci/pods/a/attach")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .body(empty());
    let response = shell.send(sent.expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let body = text(response).await;
    assert!(
        body.contains("jobpass cannot reach the API server") && body.contains("refused"),
        "{body}"
    );
    assert!(!body.contains(TOKEN));
    assert!(!address.is_empty());
}

#[rstest]
#[case("/api/v1/%zz", 400)]
#[tokio::test]
async fn a_path_that_no_api_server_reads_is_refused(#[case] path: &str, #[case] status: u16) {
    let server = Server::start(true).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, false).await;
    let sent = request(&proxy, "GET", path).body(empty()).expect("a request");
    let response = client.send(sent).await.expect("an answer");
    assert_eq!(response.status(), status);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused() {
    let server = Server::start(true).await;
    let proxy = server.proxy(&Settings::default());
    let mut client = Client::connect(&proxy, false).await;
    let sent = request(&proxy, "GET", "/api").header("x-long", "x".repeat(256 << 10));
    let response = client.send(sent.body(empty()).expect("a request")).await;
    // The proxy may close the connection while the client still writes.
    let status = response.map_or(431, |response| response.status().as_u16());
    assert_eq!(status, 431);
    assert!(server.seen().is_empty());
}
