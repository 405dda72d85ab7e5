//! What was asked of the cluster.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One request, without any token.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// The same for all that came over the same connection.
    pub connection: usize,
    /// Whether it came over HTTP/2.
    pub http2: bool,
    pub method: String,
    /// With the query.
    pub path: String,
    /// Empty when the request was not let in.
    pub user: String,
    /// None while there is no answer.
    pub status: Option<u16>,
    pub body: Option<Value>,
}

#[derive(Default)]
pub(crate) struct Log {
    requests: Mutex<Vec<LoggedRequest>>,
    changed: Condvar,
}

impl Log {
    /// Writes down a request when it arrives. The number is for `answered`.
    pub(crate) fn arrived(&self, mut request: LoggedRequest) -> usize {
        // The one request body of the API that holds a token: a TokenReview.
        if let Some(token) = request
            .body
            .as_mut()
            .and_then(|body| body.pointer_mut("/spec/token"))
        {
            *token = "<redacted>".into();
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(request);
        self.changed.notify_all();
        requests.len() - 1
    }

    pub(crate) fn answered(&self, number: usize, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests[number].status = Some(status);
        self.changed.notify_all();
    }

    /// Lets those who wait look again: something was carried out that will not be answered.
    pub(crate) fn wake(&self) {
        let _requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Blocks until `what` finds something, which it is asked whenever a request arrives or is answered.
    ///
    /// # Panics
    ///
    /// When it has found nothing after `timeout`.
    pub(crate) fn wait_for<T>(&self, timeout: Duration, what: impl Fn(&[LoggedRequest]) -> Option<T>) -> T {
        let deadline = Instant::now() + timeout;
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = what(&requests) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let lines: Vec<String> = requests.iter().map(LoggedRequest::line).collect();
                drop(requests);
                panic!(
                    "nothing of the kind within {} s; the requests were:\n{}",
                    timeout.as_secs_f64(),
                    lines.join("\n")
                );
            }
            requests = self
                .changed
                .wait_timeout(requests, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
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
