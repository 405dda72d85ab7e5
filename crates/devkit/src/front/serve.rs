//! The front's server for HTTP/2 and HTTP/1.1 over TLS. The server also carries out the injected faults.

use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::upgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

use super::fault::{self, FaultKind};
use super::log::LoggedRequest;
use super::{Backend, Shared, dev, lock, upstream};
use crate::asked::Asked;
use crate::clock;
use crate::cluster;
use crate::jwt;
use crate::transcript::Asker;

/// An answer, or a reset of the stream. Over HTTP/1.1, a reset closes the connection.
type Answered = Result<Response<Whole>, h2::Error>;
type Whole = BoxBody<Bytes, io::Error>;

/// One connection.
struct Line {
    number: usize,
    /// Whether the client sent the administrator's certificate.
    certified: bool,
    /// Notified to close the connection at once.
    hang_up: Notify,
    /// Notified to close the connection after the answers to its outstanding requests.
    go_away: Notify,
}

pub(super) fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: ServerConfig,
) -> impl Future<Output = ()> + Send + 'static {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(connection(Arc::clone(&shared), acceptor.clone(), stream, number));
        }
    }
}

async fn connection(shared: Arc<Shared>, acceptor: TlsAcceptor, stream: TcpStream, number: usize) {
    drop(stream.set_nodelay(true));
    // If a client does not accept the certificate, the client reports that to its own user.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let certified = stream.get_ref().1.peer_certificates().is_some();
    let line = Arc::new(Line {
        number,
        certified,
        hang_up: Notify::new(),
        go_away: Notify::new(),
    });
    let service = {
        let line = Arc::clone(&line);
        service_fn(move |request| respond(Arc::clone(&shared), Arc::clone(&line), request))
    };
    let mut http = auto::Builder::new(TokioExecutor::new());
    // `SecureServingInfo.Serve` in k8s.io/apiserver/pkg/server/secure_serving.go.
    http.http2().max_concurrent_streams(100);
    http.http1().timer(TokioTimer::new());
    let mut serving = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            _ = &mut serving => return,
            () = line.hang_up.notified() => return,
            () = line.go_away.notified() => serving.as_mut().graceful_shutdown(),
        }
    }
}

async fn respond(shared: Arc<Shared>, line: Arc<Line>, mut request: http::Request<Incoming>) -> Answered {
    let near = upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let uri = parts
        .uri
        .path_and_query()
        .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    let body = body.collect().await;
    let body = body.map_err(|_| h2::Reason::CANCEL)?.to_bytes();
    let mut asked = Asked {
        method: parts.method,
        uri,
        by: asker(&parts.headers, line.certified),
        headers: parts.headers,
        body,
    };
    if let Asker::Bearer(bearer) = &mut asked.by
        && let Some(token) = lock(&shared.stand_ins).get(bearer)
    {
        let header = HeaderValue::try_from(format!("Bearer {token}")).expect("a token");
        asked.headers.insert(header::AUTHORIZATION, header);
        bearer.clone_from(token);
    }
    let number = shared.log.arrived(LoggedRequest {
        connection: line.number,
        http2: parts.version == Version::HTTP_2,
        method: asked.method.to_string(),
        path: asked.uri.clone(),
        user: shared.user(&asked.by).await,
        status: None,
        body: serde_json::from_slice(&asked.body).ok(),
        arrived: Instant::now(),
    });
    let fault = fault::take(&mut lock(&shared.faults), asked.method.as_str(), &asked.uri);

    let mut answer = match fault {
        None => shared.carry_out(&asked).await?,
        Some(FaultKind::Answer {
            status,
            headers,
            body,
        }) => {
            let mut answer = plain(status, body);
            answer
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            for (name, value) in headers {
                let name = header::HeaderName::try_from(name).expect("a header's name");
                answer
                    .headers_mut()
                    .append(name, value.try_into().expect("a header's value"));
            }
            answer
        }
        Some(FaultKind::AnswerAfter { status }) => {
            drop(shared.carry_out(&asked).await?);
            plain(status, String::new())
        }
        Some(FaultKind::CutBody) => {
            let (mut parts, body) = shared.carry_out(&asked).await?.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|_| h2::Reason::INTERNAL_ERROR)?
                .to_bytes();
            parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
            let half = Ok(Frame::data(body.slice(..body.len() / 2)));
            let cut = Err(io::Error::from(io::ErrorKind::ConnectionReset));
            let body = StreamBody::new(stream::iter([half, cut]));
            Response::from_parts(parts, BodyExt::boxed(body))
        }
        Some(FaultKind::HoldBefore) => pending().await,
        Some(FaultKind::HoldAfter) => {
            drop(shared.carry_out(&asked).await?);
            shared.log.wake();
            pending().await
        }
        Some(FaultKind::DropBefore) => {
            line.hang_up.notify_one();
            pending().await
        }
        Some(FaultKind::DropAfter) => {
            drop(shared.carry_out(&asked).await?);
            line.hang_up.notify_one();
            pending().await
        }
        Some(FaultKind::Refuse) => return Err(h2::Reason::REFUSED_STREAM.into()),
        Some(FaultKind::GoAway) => {
            line.go_away.notify_one();
            shared.carry_out(&asked).await?
        }
        Some(FaultKind::Together(all)) => {
            all.wait().await;
            shared.carry_out(&asked).await?
        }
        Some(FaultKind::CarryOutLate(delay)) => {
            let (sender, receiver) = oneshot::channel();
            let shared = Arc::clone(&shared);
            // A task of its own carries the request out, because hyper drops this future when the client
            // closes the connection.
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let answer = shared.carry_out(&asked).await;
                if let Ok(answer) = &answer {
                    shared.log.answered(number, answer.status().as_u16());
                }
                drop(sender.send(answer));
            });
            receiver.await.map_err(|_| h2::Reason::INTERNAL_ERROR)??
        }
        Some(FaultKind::Warn(text)) => {
            let mut answer = shared.carry_out(&asked).await?;
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            let warning = HeaderValue::try_from(format!("299 - \"{text}\"")).expect("a warning");
            answer.headers_mut().append(header::WARNING, warning);
            answer
        }
        Some(FaultKind::RewriteBody(rewrite)) => {
            let (mut parts, body) = shared.carry_out(&asked).await?.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|_| h2::Reason::INTERNAL_ERROR)?
                .to_bytes();
            let mut body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            rewrite(&mut body);
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, whole(body.to_string()))
        }
    };
    shared.move_date(answer.headers_mut());
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let far = upgrade::on(&mut answer);
        tokio::spawn(async move {
            if let Ok((near, far)) = tokio::try_join!(near, far) {
                drop(tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut TokioIo::new(far)).await);
            }
        });
    }
    shared.log.answered(number, answer.status().as_u16());
    Ok(answer)
}

impl Shared {
    /// Passes a request on to the API server behind the front. Records the token in the answer to a
    /// TokenRequest.
    async fn carry_out(&self, asked: &Asked) -> Answered {
        let issues = asked.method == Method::POST
            && asked
                .uri
                .split('?')
                .next()
                .is_some_and(|path| path.ends_with("/token"));
        let answer = match &self.backend {
            Backend::Dev(cluster) => dev::carry_out(cluster, asked).map(whole),
            Backend::Api(upstream) => {
                let answer = upstream
                    .send(asked)
                    .await
                    .map_err(|_| h2::Reason::INTERNAL_ERROR)?;
                let mut answer = answer.map(|body| body.map_err(io::Error::other).boxed());
                answer.headers_mut().remove(header::TRANSFER_ENCODING);
                if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                    answer.headers_mut().remove(header::CONNECTION);
                }
                answer
            }
        };
        if !issues {
            return Ok(answer);
        }
        let (mut parts, body) = answer.into_parts();
        let mut body = body
            .collect()
            .await
            .map_err(|_| h2::Reason::INTERNAL_ERROR)?
            .to_bytes();
        let reissue = *lock(&self.reissue);
        if let Some(rewrite) = reissue.filter(|_| parts.status == StatusCode::CREATED) {
            let mut answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
            rewrite(&mut answer);
            parts.headers.remove(header::CONTENT_LENGTH);
            body = answer.to_string().into();
        }
        // kubectl accepts protobuf, in which a token is plain text. So this searches the body as text.
        if let Some(token) = jwt::find(&String::from_utf8_lossy(&body)) {
            lock(&self.issued).push(token.to_owned());
        }
        Ok(Response::from_parts(parts, whole(body)))
    }

    fn move_date(&self, headers: &mut HeaderMap) {
        let ahead = *lock(&self.ahead);
        if let Some(date) = headers.get_mut(header::DATE).filter(|_| !ahead.is_zero()) {
            let said = date.to_str().ok().and_then(clock::parse_http_date);
            let later = clock::http_date(said.expect("a date") + ahead.as_secs() as i64);
            *date = later.try_into().expect("it is printable");
        }
    }

    /// The name of the user who sent a request. Does not change the API server's cache of tokens.
    async fn user(&self, by: &Asker) -> String {
        let token = match by {
            Asker::Admin => return "kubernetes-admin".to_owned(),
            Asker::Anonymous => return "system:anonymous".to_owned(),
            Asker::Bearer(token) => token,
        };
        match &self.backend {
            Backend::Dev(cluster) => cluster::user_of(cluster, token).unwrap_or_default(),
            Backend::Api(upstream) => {
                if let Some(known) = lock(&self.users).get(token) {
                    return known.clone();
                }
                let name = upstream.user(token, upstream::AUDIENCE).await;
                let name = name.ok().flatten().unwrap_or_default();
                if !name.is_empty() {
                    lock(&self.users).insert(token.clone(), name.clone());
                }
                name
            }
        }
    }
}

/// An answer of a proxy between the client and the API server.
fn plain(status: u16, body: String) -> Response<Whole> {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}

fn whole(body: impl Into<Bytes>) -> Whole {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

/// Finds the credential of a request, as `k8s.io/apiserver/pkg/authentication/request/bearertoken` does. A
/// certificate takes precedence over a token.
fn asker(headers: &HeaderMap, certified: bool) -> Asker {
    if certified {
        return Asker::Admin;
    }
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match authorization.and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Asker::Bearer(token.trim().to_owned())
        }
        _ => Asker::Anonymous,
    }
}
