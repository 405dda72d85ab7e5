//! The refusals of the API server: `k8s.io/apimachinery/pkg/api/errors`.

use http::StatusCode;
use serde_json::{Value, json};

use super::store::Kind;

/// A refusal, in the form of the API server's `Status`.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

pub(super) type Result<T> = std::result::Result<T, Status>;

impl Status {
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized", None)
    }

    /// A 403. `group` and `resource` are empty for a path that is not a resource.
    pub(super) fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{} is forbidden: {why}", qualified(group, resource)),
            _ => format!("{} \"{name}\" is forbidden: {why}", qualified(group, resource)),
        };
        let details = details(group, resource, name);
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message, Some(details))
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(kind.group, kind.plural));
        let details = details(kind.group, kind.plural, name);
        Self::new(StatusCode::NOT_FOUND, "NotFound", message, Some(details))
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(kind.group, kind.plural));
        let details = details(kind.group, kind.plural, name);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message, Some(details))
    }

    pub(super) fn wrong_uid(kind: &Kind, name: &str, given: &str, found: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the UID in the precondition ({given}) does not match the UID in record \
             ({found}). The object might have been deleted and then recreated",
            qualified(kind.group, kind.name)
        );
        let details = details(kind.group, kind.name, name);
        Self::new(StatusCode::CONFLICT, "Conflict", message, Some(details))
    }

    /// A 501: the dev cluster does not support the request. Kubernetes can answer it.
    pub(super) fn not_made_for(what: &str) -> Self {
        let message = format!(
            "the dev cluster does not answer {what}: use Kubernetes (see tests/control-plane/README.md)"
        );
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message, None)
    }

    pub(super) fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }

    fn new(
        code: StatusCode,
        reason: &'static str,
        message: impl Into<String>,
        details: Option<Value>,
    ) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details,
        }
    }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = json!({});
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details[key] = value.into();
        }
    }
    details
}

fn qualified(group: &str, resource: &str) -> String {
    match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    }
}
