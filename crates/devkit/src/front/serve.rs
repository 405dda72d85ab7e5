//! HTTP/2 and HTTP/1.1 over TLS, and what faults do to them.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use http::{HeaderMap, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::api::{self, Answer, Body, Credential, Request};
use crate::authn::User;
use crate::clock;
use crate::cluster::Cluster;
use crate::fault::{self, FaultKind};
use crate::log::LoggedRequest;
use crate::pki;
use crate::protobuf;
use crate::random;

/// A stream that is reset; over HTTP/1.1, a connection that is closed.
type Answered = Result<Response<Full<Bytes>>, h2::Error>;

/// One connection.
struct Line {
    number: usize,
    /// Whom its certificate is for.
    user: Option<User>,
    /// Closes it.
    hang_up: Notify,
    /// Lets it end once what is under way is answered.
    go_away: Notify,
}

pub(crate) fn serve(
    cluster: Arc<Cluster>,
    listener: TcpListener,
    tls: ServerConfig,
) -> impl Future<Output = ()> + Send + 'static {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(connection(Arc::clone(&cluster), acceptor.clone(), stream, number));
        }
    }
}

async fn connection(cluster: Arc<Cluster>, acceptor: TlsAcceptor, stream: TcpStream, number: usize) {
    drop(stream.set_nodelay(true));
    // A client that does not like our certificate has said so to its own user.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
        .and_then(pki::subject);
    let line = Arc::new(Line {
        number,
        user: certificate.map(|(name, groups)| User::named(&name, groups)),
        hang_up: Notify::new(),
        go_away: Notify::new(),
    });
    let service = {
        let line = Arc::clone(&line);
        service_fn(move |request| respond(Arc::clone(&cluster), Arc::clone(&line), request))
    };
    let mut http = auto::Builder::new(TokioExecutor::new());
    // `newServer` in k8s.io/apiserver/pkg/server/secure_serving.go
    http.http2().max_concurrent_streams(100);
    http.http1().timer(TokioTimer::new());
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            _ = &mut serving => return,
            () = line.hang_up.notified() => return,
            () = line.go_away.notified() => serving.as_mut().graceful_shutdown(),
        }
    }
}

async fn respond(cluster: Arc<Cluster>, line: Arc<Line>, request: http::Request<Incoming>) -> Answered {
    let (parts, body) = request.into_parts();
    let uri = parts
        .uri
        .path_and_query()
        .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    let body = body.collect().await;
    let body = body.map_err(|_| h2::Reason::CANCEL)?.to_bytes().to_vec();
    let mut content_type = text(&parts.headers, header::CONTENT_TYPE)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let body = match content_type.as_str() {
        "application/vnd.kubernetes.protobuf" => match protobuf::to_json(&body) {
            Some(object) => {
                "application/json".clone_into(&mut content_type);
                object.to_string().into_bytes()
            }
            None => body,
        },
        _ => body,
    };
    let request = Request {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: query(parts.uri.query().unwrap_or_default()),
        accept: text(&parts.headers, header::ACCEPT).to_owned(),
        content_type,
        credential: credential(&parts.headers, line.user.clone()),
        body,
    };
    let number = cluster.log.arrived(LoggedRequest {
        connection: line.number,
        http2: parts.version == Version::HTTP_2,
        method: request.method.to_string(),
        path: uri.clone(),
        user: api::user_name(&cluster, &request),
        status: None,
        body: serde_json::from_slice(&request.body).ok(),
    });
    let fault = {
        let mut faults = cluster.faults.lock().unwrap_or_else(PoisonError::into_inner);
        fault::take(&mut faults, request.method.as_str(), &uri)
    };

    let carry_out = || api::handle(&cluster, &request);
    let answer = match fault {
        None => carry_out(),
        Some(FaultKind::Answer {
            status,
            headers,
            body,
        }) => {
            let body = serde_json::from_str(&body).map_or_else(|_| Body::Text(body), Body::Json);
            Answer {
                status,
                headers,
                body,
            }
        }
        Some(FaultKind::AnswerAfter { status }) => {
            carry_out();
            Answer {
                status,
                headers: Vec::new(),
                body: Body::Text(String::new()),
            }
        }
        Some(FaultKind::HoldBefore) => pending().await,
        Some(FaultKind::HoldAfter) => {
            carry_out();
            cluster.log.wake();
            pending().await
        }
        Some(FaultKind::DropBefore) => {
            line.hang_up.notify_one();
            pending().await
        }
        Some(FaultKind::DropAfter) => {
            carry_out();
            line.hang_up.notify_one();
            pending().await
        }
        Some(FaultKind::Refuse) => return Err(h2::Reason::REFUSED_STREAM.into()),
        Some(FaultKind::GoAway) => {
            line.go_away.notify_one();
            carry_out()
        }
        Some(FaultKind::Together(all)) => {
            all.wait().await;
            carry_out()
        }
        Some(FaultKind::CarryOutLate(delay)) => {
            let (sender, receiver) = oneshot::channel();
            let cluster = Arc::clone(&cluster);
            // A task of its own: hyper drops this future when the client goes away.
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let answer = api::handle(&cluster, &request);
                cluster.log.answered(number, answer.status);
                drop(sender.send(answer));
            });
            receiver.await.map_err(|_| h2::Reason::INTERNAL_ERROR)?
        }
        Some(FaultKind::Warn(text)) => {
            let mut answer = carry_out();
            answer.warn(&text);
            answer
        }
        Some(FaultKind::RewriteBody(rewrite)) => {
            let mut answer = carry_out();
            if let Body::Json(body) = &mut answer.body {
                rewrite(body);
            }
            answer
        }
    };
    cluster.log.answered(number, answer.status);
    Ok(response(answer, &clock::http_date(cluster.clock.unix_seconds())))
}

fn response(answer: Answer, date: &str) -> Response<Full<Bytes>> {
    let (body, content_type) = match answer.body {
        Body::Json(body) => (json_line(&body), "application/json"),
        Body::Text(text) => (text, "text/plain; charset=utf-8"),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (
            header::HeaderName::try_from(name),
            header::HeaderValue::try_from(value),
        ) {
            headers.append(name, value);
        }
    }
    let audit_id = random::uid();
    for (name, value) in [
        ("cache-control", "no-cache, private"),
        ("content-type", content_type),
        ("audit-id", &audit_id),
        ("date", date),
    ] {
        if !headers.contains_key(name) {
            headers.insert(name, value.try_into().expect("these are printable"));
        }
    }
    response
}

/// Go's encoder ends with a newline.
fn json_line(body: &Value) -> String {
    format!("{body}\n")
}

/// `k8s.io/apiserver/pkg/authentication/request/bearertoken`. A certificate counts more than a token.
fn credential(headers: &HeaderMap, user: Option<User>) -> Credential {
    if let Some(user) = user {
        return Credential::Certificate(user);
    }
    match text(headers, header::AUTHORIZATION).split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Credential::Bearer(token.trim().to_owned())
        }
        _ => Credential::None,
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

pub(crate) fn query(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(value))
        })
        .collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
