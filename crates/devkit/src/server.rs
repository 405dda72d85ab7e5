//! HTTP/1.1 over TLS, and what faults do to it.

use std::future::{Future, pending};
use std::sync::{Arc, PoisonError};

use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
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

/// Makes hyper close a connection without an answer.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is dropped")
    }
}

impl std::error::Error for Dropped {}

type Answered = Result<Response<Full<Bytes>>, Dropped>;

pub(crate) fn serve(
    cluster: Arc<Cluster>,
    listener: TcpListener,
    tls: ServerConfig,
) -> impl Future<Output = ()> + Send + 'static {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(connection(Arc::clone(&cluster), acceptor.clone(), stream));
        }
    }
}

async fn connection(cluster: Arc<Cluster>, acceptor: TlsAcceptor, stream: TcpStream) {
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
    let user = certificate.map(|(name, groups)| User::named(&name, groups));
    let service = service_fn(move |request| respond(Arc::clone(&cluster), user.clone(), request));
    let mut http = hyper::server::conn::http1::Builder::new();
    drop(
        http.timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn respond(cluster: Arc<Cluster>, user: Option<User>, request: http::Request<Incoming>) -> Answered {
    let (parts, body) = request.into_parts();
    let uri = parts
        .uri
        .path_and_query()
        .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes().to_vec();
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
        credential: credential(&parts.headers, user),
        body,
    };
    let number = cluster.log.arrived(LoggedRequest {
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
        Some(FaultKind::DropBefore) => return Err(Dropped),
        Some(FaultKind::DropAfter) => {
            carry_out();
            return Err(Dropped);
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
            receiver.await.map_err(|_| Dropped)?
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
