//! The far side of the proxy: connections to the API server.
//!
//! The connections of [`crate::cluster`] carry small requests, and read whole answers. The connections of the
//! proxy carry streams of any length. A slow watch or upload must not delay another stream. So one HTTP/2
//! connection has few streams, and its window is as large as the windows of all its streams together.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, Response, Uri, header, uri::Authority};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::listener::WINDOW;
use crate::cluster::{AttemptError, Dial, Failure, Offer};

/// The time limit for opening a connection, including the HTTP proxy and the TLS handshake.
const CONNECT: Duration = Duration::from_secs(15);
/// The greatest number of streams on one HTTP/2 connection. API servers allow 100, and some load balancers
/// fewer.
const STREAMS: usize = 32;
/// The greatest number of bytes that one connection keeps in memory: a full window for each stream.
const CONNECTION_WINDOW: u32 = WINDOW * STREAMS as u32;
/// The time after which jobpass pings a silent connection, and the time limit for the answer. Both as in
/// client-go.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));
/// The time after which jobpass no longer uses an idle HTTP/1.1 connection.
const IDLE: Duration = Duration::from_secs(60);
/// The greatest number of connections that one request tries. The server may close an idle connection at any
/// time.
const ATTEMPTS: usize = 4;

/// The connections to the API server.
pub(super) struct Far {
    dial: Dial,
    authority: Option<Authority>,
    /// The path of the API server, without the slash at its end.
    base: String,
    open: Mutex<Open>,
    /// The lock of the request that opens a connection. Other requests wait for it: over HTTP/2, they can
    /// share the new connection.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Open {
    http2: Vec<Http2>,
    /// The idle connections, each with the time at which it became idle.
    http1: Vec<(Http1, Instant)>,
    /// Whether the newest connection speaks HTTP/1.1.
    is_http1: bool,
}

type Http1 = http1::SendRequest<Incoming>;

#[derive(Clone)]
struct Http2 {
    sender: http2::SendRequest<Incoming>,
    /// Counts the streams. Each stream holds a reference, and [`Open`] holds one more.
    streams: Arc<()>,
}

/// A place among the streams of an HTTP/2 connection. Dropping this value frees the place. For HTTP/1.1, the
/// value counts nothing.
pub(super) struct Stream {
    _counted: Option<Arc<()>>,
}

enum Connection {
    Http1(Http1),
    Http2(Http2),
}

impl Far {
    pub(super) fn new(dial: Dial) -> Self {
        let server = dial.server();
        Self {
            authority: server.authority().cloned(),
            base: server.path().trim_end_matches('/').to_owned(),
            dial,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Sends a request. Its URI has only a path and a query. Returns the answer when its headers have
    /// arrived.
    ///
    /// # Errors
    /// If jobpass cannot reach the API server, or if the connection ends before the answer.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<(Response<Incoming>, Stream), AttemptError> {
        let path = request.uri().clone();
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let is_last = attempts.next() == Some(ATTEMPTS);
            let sent = match self.connection().await? {
                Connection::Http2(Http2 { mut sender, streams }) => {
                    self.address(&mut request, &path, true);
                    let sent = sender.try_send_request(request).await;
                    sent.map(|answer| {
                        let stream = Stream {
                            _counted: Some(streams),
                        };
                        (answer, stream)
                    })
                }
                Connection::Http1(mut sender) => {
                    self.address(&mut request, &path, false);
                    let sent = sender.try_send_request(request).await;
                    if sent.is_ok() {
                        tokio::spawn(Arc::clone(self).keep(sender));
                    }
                    sent.map(|answer| (answer, Stream { _counted: None }))
                }
            };
            match sent {
                Ok(sent) => return Ok(sent),
                Err(mut error) => match error.take_message() {
                    // hyper returns a request that it did not send.
                    Some(unsent) if !is_last => request = unsent,
                    message => {
                        let maybe_done = message.is_none() && !is_unprocessed(error.error());
                        return Err(AttemptError::of(error.error(), maybe_done));
                    }
                },
            }
        }
    }

    /// Sends a request that may change to another protocol, over a connection of its own.
    ///
    /// # Errors
    /// As [`Far::send`].
    pub(super) async fn upgrade(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Incoming>, AttemptError> {
        let path = request.uri().clone();
        self.address(&mut request, &path, false);
        let (stream, _) = self.connect(Offer::Http1).await?;
        let handshake = http1::handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(|error| AttemptError::of(&error, false))?;
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(request).await;
        answer.map_err(|error| AttemptError::of(&error, true))
    }

    /// Addresses a request to the API server: in the URI over HTTP/2, in `Host` over HTTP/1.1.
    fn address(&self, request: &mut Request<Incoming>, path: &Uri, is_http2: bool) {
        request.headers_mut().remove(header::HOST);
        let path = path.path_and_query().map_or("/", |path| path.as_str());
        let path = format!("{}{path}", self.base);
        let host = self.authority.as_ref().map_or("", Authority::as_str);
        let uri = match is_http2 {
            true => format!("https://{host}{path}"),
            false => path,
        };
        // Neither of these two conversions can fail: both texts come from parsed URIs.
        if let Ok(uri) = uri.parse() {
            *request.uri_mut() = uri;
        }
        if let (false, Ok(host)) = (is_http2, host.parse()) {
            request.headers_mut().insert(header::HOST, host);
        }
    }

    async fn connection(&self) -> Result<Connection, AttemptError> {
        if let Some(connection) = self.idle().await {
            return Ok(connection);
        }
        // Over HTTP/1.1, each request needs a connection, so none waits for another.
        let is_http1 = self.open().is_http1;
        let _opening = match is_http1 {
            true => None,
            false => Some(self.opening.lock().await),
        };
        if let Some(connection) = self.idle().await {
            return Ok(connection);
        }
        let (stream, is_http2) = self.connect(Offer::Both).await?;
        self.open().is_http1 = !is_http2;
        if !is_http2 {
            let handshake = http1::handshake(stream).await;
            let (sender, connection) = handshake.map_err(|error| AttemptError::of(&error, false))?;
            tokio::spawn(connection);
            return Ok(Connection::Http1(sender));
        }
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(WINDOW as usize)
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .handshake(stream)
            .await;
        let (sender, connection) = handshake.map_err(|error| AttemptError::of(&error, false))?;
        tokio::spawn(connection);
        let streams = Arc::new(());
        self.open().http2.push(Http2 {
            sender: sender.clone(),
            streams: Arc::clone(&streams),
        });
        Ok(Connection::Http2(Http2 { sender, streams }))
    }

    async fn connect(&self, offer: Offer) -> Result<(Box<dyn crate::cluster::Stream>, bool), AttemptError> {
        let failed = |error: Failure| AttemptError::of(&*error, false);
        match timeout(CONNECT, self.dial.connect(offer)).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(failed(
                format!("no connection within {} s", CONNECT.as_secs()).into(),
            )),
        }
    }

    /// An open connection that can take one more request.
    async fn idle(&self) -> Option<Connection> {
        loop {
            let (mut sender, _) = {
                let mut open = self.open();
                open.http2.retain(|connection| !connection.sender.is_closed());
                let free = |connection: &&Http2| Arc::strong_count(&connection.streams) <= STREAMS;
                if let Some(connection) = open.http2.iter().find(free) {
                    return Some(Connection::Http2(connection.clone()));
                }
                open.http1
                    .retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
                open.http1.pop()?
            };
            if sender.ready().await.is_ok() {
                return Some(Connection::Http1(sender));
            }
        }
    }

    /// Waits until the answer has ended, and keeps the connection for another request.
    async fn keep(self: Arc<Self>, mut sender: Http1) {
        if sender.ready().await.is_ok() {
            self.open().http1.push((sender, Instant::now()));
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server says that it has not begun to process the request (RFC 9113, 8.7). Such a server
/// refuses the stream, or closes the connection before it has seen the stream.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        if let Some(http2) = current.downcast_ref::<h2::Error>() {
            let refused = http2.is_reset() && http2.reason() == Some(h2::Reason::REFUSED_STREAM);
            let gone = http2.is_go_away() && http2.reason() == Some(h2::Reason::NO_ERROR);
            return http2.is_remote() && (refused || gone);
        }
        cause = current.source();
    }
    false
}
