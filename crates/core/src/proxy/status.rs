//! Failures that the proxy itself reports, as the `Status` of Kubernetes.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::forward::Answer;
use crate::{rbac::Request, text::harmless};

/// The time after which client-go sends the request again, in seconds.
const RETRY_AFTER: u16 = 1;

/// A failure of a request, as `kubectl` shows it.
pub(super) struct Status {
    pub(super) code: StatusCode,
    /// The problem, as harmless text.
    pub(super) message: String,
    /// Whether the client may send the request once more.
    pub(super) again: bool,
}

impl Status {
    pub(super) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            again: false,
        }
    }

    /// The refusal of a request that `allow` does not list.
    pub(super) fn not_allowed(request: &Request) -> Self {
        let what = match &*request.path {
            "" => {
                let mut what = request.resource.clone();
                if !request.group.is_empty() {
                    what += &format!(".{}", request.group);
                }
                if !request.subresource.is_empty() {
                    what += &format!("/{}", request.subresource);
                }
                if !request.name.is_empty() {
                    what += &format!(" {}", request.name);
                }
                match &*request.namespace {
                    "" => what,
                    namespace => format!("{what} in namespace {namespace}"),
                }
            }
            path => path.to_owned(),
        };
        let message = format!(
            "jobpass refuses `{} {}`: the input `allow` of this job does not list it",
            harmless(&request.verb),
            harmless(&what)
        );
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn response(self) -> Response<Answer> {
        let reason = match self.code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            _ => "InternalError",
        };
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": reason,
            "code": self.code.as_u16(),
        });
        if self.again {
            status["details"] = json!({"retryAfterSeconds": RETRY_AFTER});
        }
        self.with(status.to_string(), "application/json")
    }

    /// The answer to a request for a discovery path. In such an answer, client-go does not decode a `Status`:
    /// client-go reports `unknown`, or the body if the body is a text (`k8s.io/client-go/rest/request.go`,
    /// `isTextResponse`).
    pub(super) fn text(self) -> Response<Answer> {
        self.with(self.message.clone(), "text/plain; charset=utf-8")
    }

    fn with(&self, body: String, content_type: &'static str) -> Response<Answer> {
        let mut response = Response::new(Answer::own(body));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.again {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER.into());
        }
        response
    }
}
