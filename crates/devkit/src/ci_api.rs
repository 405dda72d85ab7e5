//! A server with the REST API of GitHub or GitLab, over TLS. The test chooses the answers.

use std::future::pending;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::pki::Authority;

/// A running server for the API. It stops when it is dropped.
pub struct CiApi {
    url: String,
    ca_pem: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A request that the server received.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path, with the query.
    pub path: String,
    /// The header `Authorization`. Empty if the request has none.
    pub authorization: String,
}

/// An answer that the test chooses.
pub enum CiAnswer {
    /// The status, the headers and the body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// No answer. The connection stays open until the client closes it.
    Never,
}

impl CiAnswer {
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Answer(status, headers, body.to_string())
    }
}

impl CiApi {
    /// Starts a server. For each request, it calls `answer` with the path and the query.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    pub fn start(answer: impl Fn(&str) -> CiAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("the listener has an address");
        let authority = Authority::new().expect("an authority is made");
        let tls = authority.server_config(address.ip()).expect("TLS is set up");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (stop, stopped) = oneshot::channel();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(async {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("the runtime accepts the listener");
                let serving = async {
                    loop {
                        let Ok((stream, _)) = listener.accept().await else {
                            continue;
                        };
                        let (acceptor, log, answer) =
                            (acceptor.clone(), Arc::clone(&log), Arc::clone(&answer));
                        tokio::spawn(async move {
                            let Ok(stream) = acceptor.accept(stream).await else {
                                return;
                            };
                            let service = service_fn(move |request| {
                                let answer = note(&log, &request, &*answer);
                                async { respond(answer).await }
                            });
                            let http = hyper::server::conn::http1::Builder::new();
                            drop(http.serve_connection(TokioIo::new(stream), service).await);
                        });
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            url: format!("https://{address}"),
            ca_pem: authority.pem(),
            asked,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The requests that the server has received so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for CiApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn note(
    log: &Mutex<Vec<Asked>>,
    request: &Request<Incoming>,
    answer: &impl Fn(&str) -> CiAnswer,
) -> CiAnswer {
    let path = request.uri().to_string();
    let answer = answer(&path);
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    log.lock().unwrap_or_else(PoisonError::into_inner).push(Asked {
        path,
        authorization: authorization.to_owned(),
    });
    answer
}

async fn respond(answer: CiAnswer) -> Result<Response<Full<Bytes>>, http::Error> {
    let CiAnswer::Answer(status, headers, body) = answer else {
        return pending().await;
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::from(body))
}
