//! The connections to a server: one HTTP/2 connection that carries all requests, or up to 16 HTTP/1.1
//! connections if the server or a proxy lacks HTTP/2.
//!
//! hyper-util's `legacy::Client` also pools connections. But it dials for each request that finds no idle
//! connection, and keeps a connection that went silent. The escape check sends some 55 requests at the same
//! time if the API server does not list all rules of the account. Measured with 43 first requests on two busy
//! cores (handshakes, time; median of seven runs):
//!
//! | | `legacy::Client` | this pool |
//! |---|---|---|
//! | HTTP/2 | 43, 309 ms | 1, 8 ms |
//! | HTTP/2, 40 ms before a handshake, 20 ms before an answer | 43, 276 ms | 1, 79 ms |
//! | HTTP/1.1 | 43, 143 ms | 16, 67 ms |
//! | requests after a time-out over HTTP/2 | wait on the same connection | get a new one |
//!
//! The last row decides: a revocation must not spend all its time on a dead connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::{TrySendError, http1, http2},
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};
use tower::Service;

use super::{
    attempt_error::AttemptError,
    dial::{Dial, Failure, HttpConnection},
    transport::{Exchange, Reply},
};

/// The greatest number of HTTP/1.1 connections at a time. Each costs both sides a TLS handshake.
const MOST_HTTP1: usize = 16;
/// The longest time for which jobpass keeps an idle connection. After longer idleness, a firewall or a proxy
/// may have dropped the connection without telling either side. The time is longer than any attempt.
const IDLE: Duration = Duration::from_secs(20);

/// The connections to one server, as a service that carries requests.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    dial: Dial,
    open: Mutex<Open>,
    http1: Semaphore,
}

/// The connections that can carry a request.
enum Open {
    /// No connection has been open yet, so jobpass does not know the server's version of HTTP.
    Unknown,
    Http2(Http2),
    /// The idle connections, each with the time at which it became idle.
    Http1(Vec<(Http1, Instant)>),
}

type Http1 = http1::SendRequest<Full<Bytes>>;

/// A connection that carries many requests at a time.
#[derive(Clone)]
struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    used: Instant,
    /// Whether a request on this connection got no answer. Then no further request may use the connection.
    failed: Arc<AtomicBool>,
}

impl Service<Exchange> for Pool {
    type Response = Reply;
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, AttemptError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.send(&exchange).await })
    }
}

impl Pool {
    pub(super) fn new(dial: Dial) -> Self {
        Self(Arc::new(Shared {
            dial,
            open: Mutex::new(Open::Unknown),
            http1: Semaphore::new(MOST_HTTP1),
        }))
    }
}

impl Shared {
    /// Sends a request and reads the answer.
    ///
    /// After a failure, or after a caller stops waiting, the next request gets another connection. The old
    /// connection may be broken without a sign, and the new one may reach another API server.
    async fn send(&self, exchange: &Exchange) -> Result<Reply, AttemptError> {
        let mut again = true;
        loop {
            let http2 = self
                .http2()
                .await
                .map_err(|error| AttemptError::of(&*error, false))?;
            let (sent, reused) = match http2 {
                Some(connection) => (connection.send(exchange).await, true),
                None => self.send_over_http1(exchange).await?,
            };
            match sent {
                // The server has just closed the connection, or had announced that it would. So jobpass did
                // not send the request, and tries again at once.
                Err(AttemptError { sent: false, .. }) if reused && again => again = false,
                sent => return sent,
            }
        }
    }

    /// The HTTP/2 connection, unless the server speaks HTTP/1.1. All requests wait for the first
    /// connection, because it may carry them all.
    async fn http2(&self) -> Result<Option<Http2>, Failure> {
        let mut open = self.open.lock().await;
        match &mut *open {
            Open::Http2(connection) if connection.is_usable() => {
                connection.used = Instant::now();
                return Ok(Some(connection.clone()));
            }
            Open::Http1(_) => return Ok(None),
            Open::Http2(_) | Open::Unknown => {}
        }
        match self.dial.dial().await? {
            HttpConnection::Http2(sender) => {
                let connection = Http2::new(sender);
                *open = Open::Http2(connection.clone());
                Ok(Some(connection))
            }
            HttpConnection::Http1(sender) => {
                *open = Open::Http1(vec![(sender, Instant::now())]);
                Ok(None)
            }
        }
    }

    /// Sends a request over an HTTP/1.1 connection, which carries one request at a time. Returns the answer,
    /// and whether the connection was open before.
    async fn send_over_http1(
        &self,
        exchange: &Exchange,
    ) -> Result<(Result<Reply, AttemptError>, bool), AttemptError> {
        // The semaphore is never closed, so every caller gets a permit in the end.
        let _permit = self.http1.acquire().await;
        let (mut sender, reused) = match self.idle().await {
            Some(sender) => (sender, true),
            None => match self.dial.dial().await {
                Ok(HttpConnection::Http1(sender)) => (sender, false),
                // Behind one address, some servers may speak HTTP/2 and others HTTP/1.1.
                Ok(HttpConnection::Http2(sender)) => {
                    return Ok((Http2::new(sender).send(exchange).await, false));
                }
                Err(error) => return Err(AttemptError::of(&*error, false)),
            },
        };
        let request = in_origin_form(exchange.request.clone());
        let sent = read(sender.try_send_request(request), exchange.longest).await;
        // A connection cannot carry another request while a part of an answer is left on it.
        let read_to_the_end = sent.as_ref().is_ok_and(|reply| reply.body().is_some());
        if read_to_the_end
            && sender.ready().await.is_ok()
            && let Open::Http1(idle) = &mut *self.open.lock().await
        {
            idle.push((sender, Instant::now()));
        }
        Ok((sent, reused))
    }

    async fn idle(&self) -> Option<Http1> {
        loop {
            let mut sender = {
                let mut open = self.open.lock().await;
                let Open::Http1(idle) = &mut *open else {
                    return None;
                };
                idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
                idle.pop()?.0
            };
            // A new connection is ready only after its task has run.
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }
}

impl Http2 {
    fn new(sender: http2::SendRequest<Full<Bytes>>) -> Self {
        Self {
            sender,
            used: Instant::now(),
            failed: Arc::default(),
        }
    }

    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.failed.load(Ordering::Relaxed) && self.used.elapsed() < IDLE
    }

    async fn send(mut self, exchange: &Exchange) -> Result<Reply, AttemptError> {
        let mut guard = FailedIfDropped(Some(&self.failed));
        let sent = read(
            self.sender.try_send_request(exchange.request.clone()),
            exchange.longest,
        )
        .await;
        if sent.is_ok() {
            guard.0 = None;
        }
        sent
    }
}

/// Marks a connection as failed when this value is dropped, unless its field is `None` by then. A caller that
/// stops waiting drops the future of the request, which owns this value.
struct FailedIfDropped<'a>(Option<&'a AtomicBool>);

impl Drop for FailedIfDropped<'_> {
    fn drop(&mut self) {
        if let Some(failed) = self.0 {
            failed.store(true, Ordering::Relaxed);
        }
    }
}

async fn read(
    answering: impl Future<Output = Result<http::Response<Incoming>, TrySendError<Request<Full<Bytes>>>>>,
    longest: usize,
) -> Result<Reply, AttemptError> {
    let answer = answering.await.map_err(|error| {
        // hyper returns a request that it did not send.
        let sent = error.message().is_none();
        AttemptError::of(error.error(), sent)
    })?;
    let (parts, body) = answer.into_parts();
    match Limited::new(body, longest).collect().await {
        Ok(body) => Ok(Reply::from_parts(parts, Some(body.to_bytes()))),
        Err(error) if error.is::<LengthLimitError>() => Ok(Reply::from_parts(parts, None)),
        Err(_) => Err(AttemptError {
            why: "the connection broke in the middle of the answer".into(),
            help: "check the network and proxies between this machine and the server",
            transient: true,
            sent: true,
        }),
    }
}

/// Rewrites a request for HTTP/1.1: `GET /path`, `Host: host`.
fn in_origin_form(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let host = request.uri().authority().map(|host| host.as_str().try_into());
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    request
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_may_be_dead_is_not_used_again() {
        let (ours, _theirs) = tokio::io::duplex(1 << 16);
        let handshake = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(ours)).await;
        let (sender, _connection) = handshake.expect("a handshake needs no answer");
        let http2 = |idle, failed| Http2 {
            sender: sender.clone(),
            used: Instant::now()
                .checked_sub(idle)
                .expect("this machine started earlier"),
            failed: Arc::new(AtomicBool::new(failed)),
        };
        assert!(http2(Duration::ZERO, false).is_usable());
        assert!(
            !http2(Duration::ZERO, true).is_usable(),
            "a request on it got no answer"
        );
        assert!(!http2(IDLE, false).is_usable(), "it was idle for too long");
    }

    #[test]
    fn a_server_below_a_path_is_asked_there() {
        let request =
            Request::get("https://rancher.example.com:8443/k8s/clusters/c-1/api/v1/secrets?limit=5");
        let request = in_origin_form(request.body(Full::default()).expect("a request"));
        assert_eq!(request.uri(), "/k8s/clusters/c-1/api/v1/secrets?limit=5");
        assert_eq!(request.headers()[header::HOST], "rancher.example.com:8443");
    }
}
