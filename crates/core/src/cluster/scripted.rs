//! A `Transport` with prepared answers. Tests use it in place of an API server.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use tower::service_fn;

use super::{
    API_SERVER, Cluster, Connection, Identity,
    attempt_error::AttemptError,
    transport::{Exchange, Reply, Transport},
};

/// The fate of one request.
#[derive(Clone)]
pub(crate) enum Fate {
    /// The server answers with this status, these headers and this body.
    Answer(u16, &'static [(&'static str, &'static str)], String),
    /// The request never leaves this machine.
    NotSent,
    /// jobpass sends the request, and the connection breaks.
    Lost,
    /// jobpass sends the request, and no answer comes.
    Silence,
}

impl Fate {
    pub(crate) fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer(status, &[], body.into())
    }

    /// A Status as kube-apiserver writes it.
    pub(crate) fn status(code: u16, reason: &str, kind: &str, message: &str) -> Self {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
            "details": { "name": "a", "kind": kind }, "code": code,
        });
        Self::answer(code, status.to_string())
    }
}

/// The requests that arrived, such as `POST /path`, each with its body.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(String, String)>>>);

impl Log {
    fn add(&self, line: String, body: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((line, body));
    }

    /// The requests, as `POST /path`, in their order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|(line, _)| line).collect()
    }

    /// The lines, each with the body of its request.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A cluster whose first request meets the first fate, and so on. All requests after the last fate meet that
/// fate again.
pub(crate) fn cluster(identity: &Identity, fates: impl IntoIterator<Item = Fate>) -> (Cluster, Log) {
    let mut fates = fates.into_iter().collect::<VecDeque<_>>();
    answering(identity, move |_| {
        let fate = match fates.len() {
            1 => fates.front().cloned(),
            _ => fates.pop_front(),
        };
        fate.expect("a fate for each request")
    })
}

/// A cluster in which `fate` decides the fate of each request, such as `POST /path`.
pub(crate) fn answering(
    identity: &Identity,
    fate: impl FnMut(&str) -> Fate + Send + 'static,
) -> (Cluster, Log) {
    let fate = Arc::new(Mutex::new(fate));
    let log = Log::default();
    let server = log.clone();
    let transport = service_fn(move |exchange: Exchange| {
        let (fate, log) = (Arc::clone(&fate), server.clone());
        async move {
            let longest = exchange.longest;
            let (parts, body) = exchange.request.into_parts();
            let body = body
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
            let line = format!("{} {path}", parts.method);
            log.add(line.clone(), String::from_utf8_lossy(&body).into_owned());
            let fate = fate.lock().unwrap_or_else(PoisonError::into_inner)(&line);
            let broken = |sent| AttemptError {
                why: "the connection failed".into(),
                help: "check the network",
                transient: true,
                sent,
            };
            match fate {
                Fate::Answer(status, headers, body) => {
                    let reply = headers.iter().fold(
                        http::Response::builder().status(status),
                        |reply, (name, value)| reply.header(*name, *value),
                    );
                    let body = Some(Bytes::from(body)).filter(|body| body.len() <= longest);
                    let reply: Reply = reply.body(body).expect("a reply");
                    Ok(reply)
                }
                Fate::NotSent => Err(broken(false)),
                Fate::Lost => Err(broken(true)),
                Fate::Silence => std::future::pending().await,
            }
        }
    });
    let connection = Connection::new("server", "https://k8s.example.com", None).expect("a server");
    let cluster = Cluster {
        name: API_SERVER,
        transport: Transport::new(transport),
        certified: false,
        headers: identity.headers().expect("headers"),
        connection,
        bearer: identity.bearer.clone(),
    };
    (cluster, log)
}
