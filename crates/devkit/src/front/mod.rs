//! A front: the proxy that clients connect to. It speaks TLS and HTTP as kube-apiserver does, logs the
//! requests, and injects faults for tests. A real API server or the dev cluster behind the front answers. The
//! faults and the log are the same for both.

mod dev;
mod fault;
mod log;
mod serve;
mod upstream;

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Response;
use hyper::body::Bytes;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

pub use self::fault::{Fault, FaultKind};
use self::log::Log;
pub use self::log::LoggedRequest;
use self::upstream::Upstream;
use crate::asked::Asked;
use crate::cluster::Cluster;
use crate::kubeconfig;
use crate::pki::{Authority, ClientCertificate};
use crate::transcript::{Answer, Asker, Exchange};

/// A running proxy in front of a real API server or a dev cluster. When it is dropped, it closes all its
/// connections.
pub struct Front {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: ServerConfig,
    url: String,
    ca_pem: String,
    admin: ClientCertificate,
    state: State,
}

enum State {
    Up(Serving),
    /// The socket keeps the port, but does not listen.
    Down(TcpSocket),
    Changing,
}

/// The thread with all connections. Dropping this value closes them.
struct Serving {
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The address and the protocols of a [`Front`].
#[derive(Clone, Copy)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) http2: bool,
}

/// The state that the connections and the [`Front`] share.
struct Shared {
    backend: Backend,
    log: Log,
    faults: Mutex<Vec<Fault>>,
    /// The tokens from the answers to all TokenRequests.
    issued: Mutex<Vec<String>>,
    /// The user of each bearer token that a real API server has accepted.
    users: Mutex<HashMap<String, String>>,
    /// The time that the front adds to each `Date` header.
    ahead: Mutex<Duration>,
    /// The change to the answer to every successful TokenRequest.
    reissue: Mutex<Option<fn(&mut Value)>>,
    /// Bearers that no API server has issued, each with the token that takes its place.
    stand_ins: Mutex<HashMap<String, String>>,
}

/// The server behind the front.
enum Backend {
    Dev(Arc<Cluster>),
    Api(Arc<Upstream>),
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            http2: true,
        }
    }
}

impl Front {
    /// Starts in front of the API server of an administrator's kubeconfig. The front has an administrator
    /// certificate of its own. For requests with this certificate, the front uses the kubeconfig's
    /// credential. It passes every bearer token on, unless [`Front::accept`] replaces the token.
    ///
    /// # Errors
    ///
    /// If the kubeconfig cannot be read, if its server is not `https`, if it lacks the certificates or the
    /// key, or if no port is free.
    pub fn before(kubeconfig: &Path, http2: bool) -> Result<Self> {
        let upstream = Upstream::new(kubeconfig)?;
        let listen = Listen {
            http2,
            ..Listen::default()
        };
        Self::start(listen, Backend::Api(Arc::new(upstream)))
    }

    /// Starts in front of a dev cluster.
    pub(crate) fn of(listen: Listen, cluster: Arc<Cluster>) -> Result<Self> {
        Self::start(listen, Backend::Dev(cluster))
    }

    fn start(listen: Listen, backend: Backend) -> Result<Self> {
        let socket = bind(listen.address)?;
        let address = socket.local_addr()?;
        let authority = Authority::new()?;
        let mut tls = authority.server_config(address.ip())?;
        if listen.http2 {
            tls.alpn_protocols.insert(0, b"h2".to_vec());
        }
        let host = if address.ip().is_unspecified() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            address.ip()
        };
        let url = format!("https://{}", SocketAddr::new(host, address.port()));
        let shared = Arc::new(Shared {
            backend,
            log: Log::default(),
            faults: Mutex::default(),
            issued: Mutex::default(),
            users: Mutex::default(),
            ahead: Mutex::default(),
            reissue: Mutex::default(),
            stand_ins: Mutex::default(),
        });

        Ok(Self {
            state: State::Up(Serving::start(Arc::clone(&shared), socket, tls.clone())?),
            shared,
            address,
            tls,
            url,
            ca_pem: authority.pem(),
            admin: authority.client()?,
        })
    }

    /// Closes all connections and refuses new ones, like an API server that restarts.
    ///
    /// # Panics
    ///
    /// If another program takes the port.
    pub fn go_down(&mut self) {
        // This closes the old socket, so that a new one can have its address.
        self.state = State::Changing;
        self.state = State::Down(bind(self.address).expect("the same port"));
    }

    /// Listens again after [`Front::go_down`].
    ///
    /// # Panics
    ///
    /// If the front is not down, or if it cannot listen.
    pub fn come_back(&mut self) {
        let State::Down(socket) = std::mem::replace(&mut self.state, State::Changing) else {
            panic!("the front is not down");
        };
        let serving = Serving::start(Arc::clone(&self.shared), socket, self.tls.clone());
        self.state = State::Up(serving.expect("the front listens"));
    }

    /// The `https` URL of the address.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The certificate of the front's certificate authority, in PEM.
    pub fn ca_pem(&self) -> String {
        self.ca_pem.clone()
    }

    /// A kubeconfig with a client certificate of the administrator.
    pub fn admin_kubeconfig(&self) -> String {
        kubeconfig::with_certificate(&self.url, &self.ca_pem, &self.admin)
    }

    /// A kubeconfig with a bearer token.
    pub fn kubeconfig(&self, token: &str, namespace: &str) -> String {
        kubeconfig::with_token(&self.url, &self.ca_pem, token, namespace)
    }

    /// Every token that the API server has issued to a client of the front, even if the answer did not
    /// arrive.
    pub fn issued(&self) -> Vec<String> {
        lock(&self.shared.issued).clone()
    }

    /// The requests that have arrived over the network so far.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.requests()
    }

    /// Waits until `what` returns a value for the requests so far.
    ///
    /// # Panics
    ///
    /// If `what` returns no value within `timeout`.
    pub fn wait_for<T>(&self, timeout: Duration, what: impl Fn(&[LoggedRequest]) -> Option<T>) -> T {
        self.shared.log.wait_for(timeout, what)
    }

    /// Injects a fault. If several faults match a request, the one that was injected first takes effect.
    pub fn inject(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Removes every fault, so that later requests meet none.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Moves the `Date` header of all later answers to clients forward. jobpass computes the age of an object
    /// with this header. The API server's own clock does not move, so the lifetimes of tokens stay the same.
    pub fn move_date(&self, by: Duration) {
        *lock(&self.shared.ahead) += by;
    }

    /// Changes the answer to every successful TokenRequest from now on. [`Front::issued`] has the tokens of
    /// the changed answers.
    pub fn reissue(&self, rewrite: fn(&mut Value)) {
        *lock(&self.shared.reissue) = Some(rewrite);
    }

    /// Accepts `bearer` in place of `token` from now on, so that a test can choose each character of a token.
    pub fn accept(&self, bearer: &str, token: &str) {
        lock(&self.shared.stand_ins).insert(bearer.to_owned(), token.to_owned());
    }

    /// Sends a request to the API server as its administrator. The request meets no fault and is not in the
    /// log. Returns the status, and the body if it is JSON.
    ///
    /// # Panics
    ///
    /// If a real API server is behind the front, and the front is down or the API server does not answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        json(&self.send(Asked::by_admin(method, path, body)))
    }

    /// Sends a request with a token, any headers and any body. The request meets no fault and is not in the
    /// log.
    ///
    /// # Panics
    ///
    /// As [`Front::ask`].
    pub fn ask_with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let by = Asker::Bearer(token.to_owned());
        let headers = headers.iter().copied();
        json(&self.send(Asked::new(by, method, path, headers, body.to_owned())))
    }

    /// The user of a token. `None` if the API server refuses the token. The API server's cache has no part in
    /// the answer, and no later request gets this answer from the cache.
    ///
    /// # Panics
    ///
    /// If a dev cluster is behind the front, if the front is down, or if the API server does not answer.
    pub fn user_of(&self, token: &str, audience: &str) -> Option<String> {
        let upstream = Arc::clone(self.upstream());
        let (token, audience) = (token.to_owned(), audience.to_owned());
        self.block_on(async move { upstream.user(&token, &audience).await })
            .unwrap_or_else(|error| panic!("cannot review a token: {error:#}"))
    }

    /// The status with which the API server answers `GET /version` with this token now. The request meets no
    /// fault and is not in the log.
    ///
    /// # Panics
    ///
    /// As [`Front::ask`].
    pub fn status_for(&self, token: &str) -> u16 {
        self.ask_with(token, "GET", "/version", &[], "").0
    }

    /// Sends a request from a transcript. The request meets no fault and is not in the log.
    ///
    /// # Panics
    ///
    /// As [`Front::ask`].
    pub fn play(&self, exchange: &Exchange) -> Answer {
        Answer::of(&self.send(Asked::of(exchange)))
    }

    fn send(&self, asked: Asked) -> Response<Bytes> {
        let upstream = match &self.shared.backend {
            Backend::Dev(cluster) => return dev::carry_out(cluster, &asked).map(Bytes::from),
            Backend::Api(upstream) => Arc::clone(upstream),
        };
        let what = format!("{} {}", asked.method, asked.uri);
        self.block_on(async move { upstream.ask(&asked).await })
            .unwrap_or_else(|error| panic!("cannot {what}: {error:#}"))
    }

    fn upstream(&self) -> &Arc<Upstream> {
        match &self.shared.backend {
            Backend::Api(upstream) => upstream,
            Backend::Dev(_) => panic!("`user_of` needs a real API server behind the front"),
        }
    }

    /// Runs a future on the front's own thread. Blocks the current thread until the future ends.
    fn block_on<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> T {
        let State::Up(serving) = &self.state else {
            panic!("the front is down");
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        serving
            .runtime
            .spawn(async move { drop(sender.send(what.await)) });
        receiver.recv().expect("the front runs until it is dropped")
    }
}

impl Serving {
    fn start(shared: Arc<Shared>, socket: TcpSocket, tls: ServerConfig) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        // The runtime has a thread of its own, because the caller may already be in a runtime.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            socket.listen(1024)?
        };
        let handle = runtime.handle().clone();
        let serving = serve::serve(shared, listener, tls);
        let thread = std::thread::Builder::new()
            .name("front".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serving => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A socket that has an address, but does not listen yet.
fn bind(address: SocketAddr) -> Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(address)
        .with_context(|| format!("failed to listen on {address}"))?;
    Ok(socket)
}

fn json(answer: &Response<Bytes>) -> (u16, Value) {
    let body = serde_json::from_slice(answer.body()).unwrap_or_default();
    (answer.status().as_u16(), body)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
