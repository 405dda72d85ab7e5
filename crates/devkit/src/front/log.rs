//! The log of the requests that clients sent.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lock;

/// One request, without any token.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// The number of the connection.
    pub connection: usize,
    /// Whether the request came over HTTP/2.
    pub http2: bool,
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// The user. Empty if the API server did not authenticate the request.
    pub user: String,
    /// The status of the answer. `None` while there is no answer.
    pub status: Option<u16>,
    pub body: Option<Value>,
    pub arrived: Instant,
}

#[derive(Default)]
pub(crate) struct Log {
    events: Mutex<Events>,
    changed: Condvar,
}

#[derive(Default)]
struct Events {
    requests: Vec<LoggedRequest>,
    /// The number of changes so far. When it changes, waiting tests look at the requests again.
    number: u64,
}

impl Log {
    /// Logs a request when it arrives. Returns the request's number, for `answered`.
    pub(super) fn arrived(&self, mut request: LoggedRequest) -> usize {
        // Of the requests in the tests, only a TokenReview has a token in its body.
        if let Some(token) = request
            .body
            .as_mut()
            .and_then(|body| body.pointer_mut("/spec/token"))
        {
            *token = "<redacted>".into();
        }
        let mut number = 0;
        self.change(|requests| {
            requests.push(request);
            number = requests.len() - 1;
        });
        number
    }

    pub(super) fn answered(&self, number: usize, status: u16) {
        self.change(|requests| {
            requests[number].status = Some(status);
            if status == 401 {
                requests[number].user.clear();
            }
        });
    }

    /// Wakes the waiting tests after a request that the server carried out and to which the client gets no
    /// answer.
    pub(super) fn wake(&self) {
        self.change(|_| {});
    }

    pub(super) fn requests(&self) -> Vec<LoggedRequest> {
        lock(&self.events).requests.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<LoggedRequest>)) {
        let mut events = lock(&self.events);
        change(&mut events.requests);
        events.number += 1;
        self.changed.notify_all();
    }

    /// Blocks until `what` returns a value. Calls `what` at once, and again after the log has changed.
    ///
    /// # Panics
    ///
    /// If `what` returns no value within `timeout`.
    pub(super) fn wait_for<T>(&self, timeout: Duration, what: impl Fn(&[LoggedRequest]) -> Option<T>) -> T {
        let deadline = Instant::now() + timeout;
        loop {
            // `what` may send a request to the API server, so the log is not locked meanwhile.
            let (requests, number) = {
                let events = lock(&self.events);
                (events.requests.clone(), events.number)
            };
            if let Some(found) = what(&requests) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let lines: Vec<String> = requests.iter().map(LoggedRequest::line).collect();
                panic!(
                    "the expected request did not arrive within {} s; these requests arrived:\n{}",
                    timeout.as_secs_f64(),
                    lines.join("\n")
                );
            }
            drop(
                self.changed
                    .wait_timeout_while(lock(&self.events), left, |events| events.number == number)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}

impl LoggedRequest {
    fn line(&self) -> String {
        let status = self
            .status
            .map_or_else(|| "unanswered".to_owned(), |status| status.to_string());
        format!("  {} {} by {} -> {status}", self.method, self.path, self.user)
    }
}
