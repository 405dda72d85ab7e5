//! The endpoint from which a GitHub job requests its ID tokens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::Issuer;
use crate::pki::Authority;
use crate::random;

/// GitHub's token endpoint for one job, over TLS. It stops when it is dropped.
pub struct TokenEndpoint {
    shared: Arc<Shared>,
    url: String,
    ca_pem: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    bearer: String,
    state: Mutex<State>,
    asked: Condvar,
}

struct State {
    issuer: Issuer,
    troubles: VecDeque<Trouble>,
    issued: Vec<String>,
    requests: usize,
}

/// A fault of the endpoint for one request.
#[derive(Clone, Debug)]
pub enum Trouble {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The endpoint waits for this time before it answers.
    Slow(Duration),
}

impl TokenEndpoint {
    /// Starts an endpoint that issues tokens as `issuer`.
    ///
    /// # Panics
    ///
    /// If the endpoint does not start.
    pub fn start(issuer: Issuer) -> Self {
        let authority = Authority::new().expect("an authority");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tls = authority.server_config(address.ip()).expect("a certificate");
        let shared = Arc::new(Shared {
            bearer: format!("request-token-{}", random::uid()),
            state: Mutex::new(State {
                issuer,
                troubles: VecDeque::new(),
                issued: Vec::new(),
                requests: 0,
            }),
            asked: Condvar::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
                tell.send(listener.local_addr().expect("an address"))
                    .expect("`start` waits for the address");
                tokio::select! {
                    () = serve(&serving, listener, TlsAcceptor::from(Arc::new(tls))) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().expect("the endpoint listens");
        Self {
            shared,
            // github.com's URL also has two slashes before `idtoken`.
            url: format!(
                "https://{address}/23//idtoken/{}/{}?api-version=2.0",
                random::uid(),
                random::uid()
            ),
            ca_pem: authority.pem(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The value of ACTIONS_ID_TOKEN_REQUEST_URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of ACTIONS_ID_TOKEN_REQUEST_TOKEN.
    pub fn bearer(&self) -> &str {
        &self.shared.bearer
    }

    /// The certificate authority, for SSL_CERT_FILE. Without it, a job does not trust the endpoint.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Issues tokens as this issuer from now on.
    pub fn issue_as(&self, issuer: Issuer) {
        self.shared.state().issuer = issuer;
    }

    /// Adds faults, one for each of the next requests.
    pub fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.shared.state().troubles.extend(troubles);
    }

    /// Every ID token that the endpoint has issued.
    pub fn issued(&self) -> Vec<String> {
        self.shared.state().issued.clone()
    }

    /// The number of requests, including failed ones.
    pub fn requests(&self) -> usize {
        self.shared.state().requests
    }

    /// Waits until at least this number of requests has arrived.
    ///
    /// # Panics
    ///
    /// If this number of requests does not arrive within a minute.
    pub fn wait_for_requests(&self, requests: usize) {
        let patience = Duration::from_secs(60);
        let waited = self
            .shared
            .asked
            .wait_timeout_while(self.shared.state(), patience, |state| state.requests < requests);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            state.requests >= requests,
            "the endpoint got only {} requests",
            state.requests
        );
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(shared: &Arc<Shared>, listener: tokio::net::TcpListener, tls: TlsAcceptor) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (shared, tls) = (Arc::clone(shared), tls.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| respond(Arc::clone(&shared), request));
            let http = hyper::server::conn::http1::Builder::new();
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let trouble = {
        let mut state = shared.state();
        state.requests += 1;
        shared.asked.notify_all();
        state.troubles.pop_front()
    };
    match trouble {
        Some(Trouble::Answer {
            status,
            headers,
            body,
        }) => return Ok(answer(status, &headers, body)),
        Some(Trouble::Slow(time)) => tokio::time::sleep(time).await,
        None => {}
    }
    let bearer = request.headers().get(header::AUTHORIZATION);
    if bearer.is_none_or(|bearer| bearer != &format!("Bearer {}", shared.bearer)) {
        return Ok(answer(401, &[], String::new()));
    }
    if request.method() != Method::GET || !request.uri().path().contains("//idtoken/") {
        return Ok(answer(404, &[], String::new()));
    }
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    let audience = parameters.find_map(|parameter| parameter.strip_prefix("audience="));
    let audience = audience.map_or_else(
        || "https://github.com/team".into(),
        |audience| percent_decode_str(audience).decode_utf8_lossy(),
    );
    let mut state = shared.state();
    let token = state.issuer.id_token(&audience);
    state.issued.push(token.clone());
    let body = json!({"count": token.len(), "value": token}).to_string();
    Ok(answer(
        200,
        &[("content-type", "application/json; charset=utf-8".to_owned())],
        body,
    ))
}

fn answer(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        let value = value.parse().expect("a header's value");
        response.headers_mut().insert(*name, value);
    }
    response
}
