//! Passes a request to the API server, and the answer back to the job.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    upgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
};

use super::{
    bearer::{Bearer, Verdict},
    far::{Far, Stream},
    record::{Pending, Record},
    status::Status,
};
use crate::{
    cluster::AttemptError,
    error::Error,
    rbac::{self, Allowed},
    token::Token,
};

/// The size of each of the two buffers of an upgraded connection, in bytes.
const COPY: usize = 32 << 10;

/// The prefix of a WebSocket subprotocol that carries a credential. kube-apiserver accepts it like
/// `Authorization` (`k8s.io/apiserver/pkg/authentication/request/websocket/protocol.go`).
const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// The headers that concern one connection alone (RFC 9110, 7.6.1), and the credentials for an HTTP proxy.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // hyper itself answers `Expect: 100-continue` when jobpass begins to read the body.
    header::EXPECT,
];
const HOP_BY_HOP_NAMES: [&str; 2] = ["keep-alive", "proxy-connection"];

/// The part of the proxy that all connections share.
pub(super) struct Forward {
    far: Arc<Far>,
    bearer: Bearer,
    /// The value of `Authorization` for the API server: the job's token.
    token: RwLock<HeaderValue>,
    allow: Option<Allowed>,
    record: Option<Arc<Record>>,
    refusals: Arc<Notify>,
}

impl Forward {
    pub(super) fn new(
        far: Far,
        bearer: Bearer,
        token: &Token,
        allow: Option<Allowed>,
        record: Option<Arc<Record>>,
    ) -> Result<Self, Error> {
        Ok(Self {
            far: Arc::new(far),
            bearer,
            token: RwLock::new(authorization(token)?),
            allow,
            record,
            refusals: Arc::default(),
        })
    }

    pub(super) fn replace_token(&self, token: &Token) -> Result<(), Error> {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = authorization(token)?;
        Ok(())
    }

    pub(super) fn refusals(&self) -> Arc<Notify> {
        Arc::clone(&self.refusals)
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let mut pending = None;
        let asked = read(&request);
        let is_discovery = asked.as_ref().is_ok_and(|asked| rbac::is_discovery(&asked.path));
        let answer = self.pass_on(request, asked, &mut pending).await;
        let mut answer = answer.unwrap_or_else(|status| match is_discovery {
            true => status.text(),
            false => status.response(),
        });
        if let Some(mut pending) = pending {
            pending.answered(answer.status().as_u16());
            answer.body_mut().pending = Some(pending);
        }
        Ok(answer)
    }

    async fn pass_on(
        &self,
        mut request: Request<Incoming>,
        asked: Result<rbac::Request, Status>,
        pending: &mut Option<Pending>,
    ) -> Result<Response<Answer>, Status> {
        self.authenticate(request.headers())?;
        let asked = asked?;
        let is_allowed = self.allow.as_ref().is_none_or(|allow| allow.has(&asked));
        let refused = (!is_allowed).then(|| Status::not_allowed(&asked));
        *pending = self.record.as_ref().map(|record| record.begin(asked));
        if let Some(refused) = refused {
            return Err(refused);
        }

        let protocol = protocol_of(request.headers(), request.version());
        // Only the path and the query: `Far` adds the address of the API server.
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Default::default, Into::into);
        *request.version_mut() = Version::HTTP_11;
        remove_hop_by_hop(request.headers_mut());
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner).clone();
        request.headers_mut().insert(header::AUTHORIZATION, token);
        let answer = match protocol {
            Some(protocol) => self.upgrade(request, protocol, pending).await?,
            None => {
                let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
                let sent = self.far.send(request).await;
                let (answer, stream) = sent.map_err(|error| unanswered(&error, is_read))?;
                passed_back(answer, Some(stream))
            }
        };
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.refusals.notify_one();
            return Err(Status::new(
                StatusCode::UNAUTHORIZED,
                "the API server answers 401 to the token that jobpass holds for this job: the token is revoked, \
                 or it has expired and jobpass could not renew it",
            ));
        }
        Ok(answer)
    }

    /// Refuses a request without the bearer, with a second credential, or with impersonation.
    fn authenticate(&self, headers: &HeaderMap) -> Result<(), Status> {
        match self.bearer.check(headers) {
            Verdict::Known => {}
            Verdict::Unknown => {
                return Err(Status::new(
                    StatusCode::UNAUTHORIZED,
                    "this is the proxy of a jobpass job, and the request lacks its bearer: use the kubeconfig of the \
                     job as it is",
                ));
            }
            Verdict::NotAlone => {
                return Err(Status::new(
                    StatusCode::FORBIDDEN,
                    "jobpass does not pass on a second `Authorization`: send the bearer of the job's kubeconfig alone",
                ));
            }
        }
        if headers
            .keys()
            .any(|name| name.as_str().starts_with("impersonate-"))
        {
            return Err(Status::new(
                StatusCode::FORBIDDEN,
                "jobpass does not pass on impersonation: the token of a job speaks for its ServiceAccount alone. \
                 Leave out `--as`, `--as-group` and `--as-uid`",
            ));
        }
        let mut protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        if protocols.any(|value| String::from_utf8_lossy(value.as_bytes()).contains(WEBSOCKET_BEARER)) {
            return Err(Status::new(
                StatusCode::FORBIDDEN,
                "jobpass does not pass on a credential in `Sec-WebSocket-Protocol`: send the bearer of the job's \
                 kubeconfig as `Authorization`",
            ));
        }
        Ok(())
    }

    /// Passes on a request that changes the protocol, and then the bytes of that protocol in both directions.
    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
        protocol: HeaderValue,
        pending: &mut Option<Pending>,
    ) -> Result<Response<Answer>, Status> {
        let near = upgrade::on(&mut request);
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
        let mut answer = self
            .far
            .upgrade(request)
            .await
            .map_err(|error| unanswered(&error, false))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(passed_back(answer, None));
        }
        let far = upgrade::on(&mut answer);
        let protocol = answer.headers().get(header::UPGRADE).cloned();
        let (status, mut headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        remove_hop_by_hop(&mut headers);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.extend(protocol.map(|protocol| (header::UPGRADE, protocol)));
        // The line in the record is complete when the streams end, not when the headers arrive.
        let mut pending = pending.take();
        if let Some(pending) = &mut pending {
            pending.answered(status.as_u16());
        }
        tokio::spawn(async move {
            let _pending = pending;
            let Ok((near, far)) = tokio::try_join!(near, far) else {
                return;
            };
            let (near_reader, near_writer) = tokio::io::split(TokioIo::new(near));
            let (far_reader, far_writer) = tokio::io::split(TokioIo::new(far));
            // At the end, this drops both sides, so that both connections close.
            let _ = tokio::try_join!(copy(near_reader, far_writer), copy(far_reader, near_writer));
        });
        let mut passed = Response::new(Answer::own(""));
        (*passed.status_mut(), *passed.headers_mut()) = (status, headers);
        Ok(passed)
    }
}

/// Copies one direction of an upgraded connection until one side ends it.
///
/// # Errors
/// If a read fails. The caller then closes both connections. A failed write is not an error, because the side
/// that no longer reads may still send its last words in the other direction.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; COPY];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 || write(&mut to, &buffer[..length]).await.is_err() {
            let _ = to.shutdown().await;
            return Ok(());
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    // TLS may keep a part of the bytes until the flush.
    to.flush().await
}

fn authorization(token: &Token) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|_| Error::defect("no header can carry the job's token"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a request as RBAC sees it. The proxy compares the result with `allow`, and records it.
fn read(request: &Request<Incoming>) -> Result<rbac::Request, Status> {
    let bad = |why| Err(Status::new(StatusCode::BAD_REQUEST, why));
    let uri = request.uri();
    if *request.method() == Method::CONNECT || !uri.path().starts_with('/') {
        return bad("this is the proxy of a jobpass job, and accepts only paths of the job's API server");
    }
    match rbac::Request::read(request.method(), uri.path(), uri.query().unwrap_or_default()) {
        Some(asked) => Ok(asked),
        None => bad("no API server accepts this path: correct the path or its percent-encoding"),
    }
}

/// The protocol to which a request upgrades its connection. `None` without an upgrade. Only HTTP/1.1 has
/// upgrades.
fn protocol_of(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let mut options = headers.get_all(header::CONNECTION).iter();
    let is_upgrade = |value: &HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        value.split(',').any(|option| option.trim() == "upgrade")
    };
    (version == Version::HTTP_11 && options.any(is_upgrade))
        .then(|| headers.get(header::UPGRADE).cloned())
        .flatten()
}

/// Removes the headers that concern one connection alone, including the headers that `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter();
    let named = named.flat_map(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let names = value.split(',').map(|name| name.trim().to_ascii_lowercase());
        names.collect::<Vec<_>>()
    });
    let named = named.collect::<Vec<_>>();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let named = named.iter().map(String::as_str).chain(HOP_BY_HOP_NAMES);
    // `Content-Length` describes the body, even if `Connection` names it.
    for name in named.filter(|name| *name != "content-length") {
        headers.remove(name);
    }
}

/// The answer of the API server, as the job gets it.
fn passed_back(answer: Response<Incoming>, stream: Option<Stream>) -> Response<Answer> {
    let (mut parts, body) = answer.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    let mut passed = Response::new(Answer {
        content: Content::Far(body),
        _stream: stream,
        pending: None,
    });
    (*passed.status_mut(), *passed.headers_mut()) = (parts.status, parts.headers);
    passed
}

/// The proxy's own answer if the API server gave none. The client may send the request again if the API
/// server has not seen the request, or if the request only reads. Without a proxy, client-go repeats the same
/// requests.
fn unanswered(error: &AttemptError, is_read: bool) -> Status {
    let AttemptError { why, help, sent, .. } = error;
    let (code, what) = match sent {
        true => (
            StatusCode::BAD_GATEWAY,
            "the connection to the API server broke before its answer",
        ),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "jobpass cannot reach the API server",
        ),
    };
    Status {
        again: is_read || !sent,
        ..Status::new(code, format!("{what}: {why}; {help}"))
    }
}

/// The body of an answer. Dropping it completes the line of the request in the record.
pub(super) struct Answer {
    content: Content,
    _stream: Option<Stream>,
    pending: Option<Pending>,
}

enum Content {
    Own(Full<Bytes>),
    Far(Incoming),
}

impl Answer {
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self {
            content: Content::Own(Full::new(text.into())),
            _stream: None,
            pending: None,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.content {
            Content::Own(body) => Pin::new(body)
                .poll_frame(context)
                .map_err(|never: Infallible| match never {}),
            Content::Far(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(body) => body.is_end_stream(),
            Content::Far(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(body) => body.size_hint(),
            Content::Far(body) => body.size_hint(),
        }
    }
}
