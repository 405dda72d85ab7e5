//! The connections to a server. Where it speaks HTTP/2, as API servers do, one carries all requests; where something in between
//! does not, each request at a time has one of its own.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Uri, header, response::Parts};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::{TrySendError, http1, http2},
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};

use super::{
    dial::{Dial, Dialled, Failure},
    trouble::Trouble,
};

/// Requests on their way at a time to a server that speaks HTTP/1.1 only: the first of each is a TLS handshake.
const WITHOUT_HTTP2: usize = 16;
/// How long a connection may have been idle and be used again: after that, something in between may have forgotten it without a
/// word. Longer than any attempt.
const IDLE: Duration = Duration::from_secs(20);

/// All that are open to one server.
pub(super) struct Connections {
    dial: Dial,
    pool: Mutex<Pool>,
    each: Semaphore,
}

enum Pool {
    /// Nobody knows yet what the server speaks.
    Unknown,
    One(One),
    /// Those that are idle, and since when.
    Each(Vec<(http1::SendRequest<Full<Bytes>>, Instant)>),
}

#[derive(Clone)]
struct One {
    sender: http2::SendRequest<Full<Bytes>>,
    used: Instant,
    /// An answer did not come: nobody is to wait for another over the same connection.
    failed: Arc<AtomicBool>,
}

/// What a request is sent over.
enum Sender {
    One(One),
    Each(http1::SendRequest<Full<Bytes>>),
}

impl Connections {
    pub(super) fn new(dial: Dial) -> Self {
        Self {
            dial,
            pool: Mutex::new(Pool::Unknown),
            each: Semaphore::new(WITHOUT_HTTP2),
        }
    }

    /// Sends a request and reads the answer, up to `longest` bytes; `None` if it is longer.
    ///
    /// Whoever gives up waiting, or gets an error, has the next request sent over another connection: this one may be broken in a
    /// way that only shows in silence, and the next may reach another API server.
    pub(super) async fn send(
        &self,
        request: &Request<Full<Bytes>>,
        longest: usize,
    ) -> Result<(Parts, Option<Bytes>), Trouble> {
        let mut again = true;
        loop {
            let shared = self.shared().await.map_err(|error| Trouble::of(&*error, false))?;
            let (sent, reused) = match shared {
                Some(one) => (one.send(request.clone(), longest).await, true),
                None => self.send_alone(request, longest).await?,
            };
            match sent {
                // The server closed it just then, or had said that it would: no reason to wait.
                Err(Trouble { sent: false, .. }) if reused && again => again = false,
                sent => return sent,
            }
        }
    }

    /// The one connection. All wait for the first, as it may carry them all.
    async fn shared(&self) -> Result<Option<One>, Failure> {
        let mut pool = self.pool.lock().await;
        match &mut *pool {
            Pool::One(one) if one.is_usable() => {
                one.used = Instant::now();
                return Ok(Some(one.clone()));
            }
            Pool::Each(_) => return Ok(None),
            Pool::One(_) | Pool::Unknown => {}
        }
        match Sender::of(self.dial.dial().await?) {
            Sender::One(one) => {
                *pool = Pool::One(one.clone());
                Ok(Some(one))
            }
            Sender::Each(sender) => {
                *pool = Pool::Each(vec![(sender, Instant::now())]);
                Ok(None)
            }
        }
    }

    /// Over a connection of its own; and whether that had been used before.
    async fn send_alone(
        &self,
        request: &Request<Full<Bytes>>,
        longest: usize,
    ) -> Result<(Result<(Parts, Option<Bytes>), Trouble>, bool), Trouble> {
        // Never closed.
        let _turn = self.each.acquire().await;
        let (sender, reused) = match self.idle().await {
            Some(sender) => (Sender::Each(sender), true),
            None => {
                let dialled = self.dial.dial().await;
                let dialled = dialled.map_err(|error| Trouble::of(&*error, false))?;
                (Sender::of(dialled), false)
            }
        };
        let mut sender = match sender {
            Sender::One(one) => return Ok((one.send(request.clone(), longest).await, reused)),
            Sender::Each(sender) => sender,
        };
        let sent = read(sender.try_send_request(in_origin_form(request.clone())), longest).await;
        if matches!(sent, Ok((_, Some(_))))
            && sender.ready().await.is_ok()
            && let Pool::Each(idle) = &mut *self.pool.lock().await
        {
            idle.push((sender, Instant::now()));
        }
        Ok((sent, reused))
    }

    async fn idle(&self) -> Option<http1::SendRequest<Full<Bytes>>> {
        loop {
            let mut sender = {
                let mut pool = self.pool.lock().await;
                let Pool::Each(idle) = &mut *pool else { return None };
                idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
                idle.pop()?.0
            };
            // A new one is ready only after its task has run.
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }
}

impl Sender {
    fn of(dialled: Dialled) -> Self {
        match dialled {
            Dialled::Http1(sender) => Self::Each(sender),
            Dialled::Http2(sender) => Self::One(One {
                sender,
                used: Instant::now(),
                failed: Arc::default(),
            }),
        }
    }
}

impl One {
    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.failed.load(Ordering::Relaxed) && self.used.elapsed() < IDLE
    }

    async fn send(
        mut self,
        request: Request<Full<Bytes>>,
        longest: usize,
    ) -> Result<(Parts, Option<Bytes>), Trouble> {
        let mut unanswered = Unanswered(Some(&self.failed));
        let sent = read(self.sender.try_send_request(request), longest).await;
        if sent.is_ok() {
            unanswered.0 = None;
        }
        sent
    }
}

/// Dropped with a connection in it by whoever gives up.
struct Unanswered<'a>(Option<&'a AtomicBool>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(failed) = self.0 {
            failed.store(true, Ordering::Relaxed);
        }
    }
}

async fn read(
    answering: impl Future<Output = Result<http::Response<Incoming>, TrySendError<Request<Full<Bytes>>>>>,
    longest: usize,
) -> Result<(Parts, Option<Bytes>), Trouble> {
    let answer = answering.await.map_err(|error| {
        // Whoever gets the request back has not sent it.
        let sent = error.message().is_none();
        Trouble::of(error.error(), sent)
    })?;
    let (parts, body) = answer.into_parts();
    match Limited::new(body, longest).collect().await {
        Ok(body) => Ok((parts, Some(body.to_bytes()))),
        Err(error) if error.is::<LengthLimitError>() => Ok((parts, None)),
        Err(_) => Err(Trouble {
            why: "the connection broke in the middle of the answer".into(),
            help: "check the network and proxies between this runner and the API server",
            passing: true,
            sent: true,
        }),
    }
}

/// As HTTP/1.1 has it: `GET /path`, `Host: host`.
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
    async fn what_may_be_dead_is_not_used_again() {
        let (ours, _theirs) = tokio::io::duplex(1 << 16);
        let handshake = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(ours)).await;
        let (sender, _connection) = handshake.expect("nobody has to answer");
        let one = |idle, failed| One {
            sender: sender.clone(),
            used: Instant::now()
                .checked_sub(idle)
                .expect("this machine is on for longer"),
            failed: Arc::new(AtomicBool::new(failed)),
        };
        assert!(one(Duration::ZERO, false).is_usable());
        assert!(
            !one(Duration::ZERO, true).is_usable(),
            "it was waited for in vain"
        );
        assert!(!one(IDLE, false).is_usable(), "it was idle for too long");
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
