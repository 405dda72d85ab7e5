//! What the API server says when it refuses: `k8s.io/apimachinery/pkg/api/errors`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::resources::Resource;

/// One refusal, with everything that ends up in a `Status` object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Value>,
    /// With which a list can be resumed.
    next: Option<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Status>;

impl Status {
    pub(crate) fn unauthorized() -> Self {
        Self::bare(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::bare(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// `handleCompactedErrorForPaging` in k8s.io/apiserver/pkg/storage/etcd3.
    pub(crate) fn continue_too_old(next: &str) -> Self {
        let why = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                   without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
                   results. Continuing with the provided token results in an inconsistent list - objects that were created, \
                   modified, or deleted between the time the first chunk was returned and now may show up in the list.";
        Status {
            next: Some(next.to_owned()),
            ..Self::bare(StatusCode::GONE, "Expired", why)
        }
    }

    /// A path inside a known API group that is no resource of it.
    pub(crate) fn unknown_resource() -> Self {
        Self::bare(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(json!({}))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::bare(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(json!({}))
    }

    pub(crate) fn unsupported_media_type() -> Self {
        Self::bare(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/merge-patch+json, application/strategic-merge-patch+json",
        )
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::about(
            StatusCode::NOT_FOUND,
            "NotFound",
            message,
            resource.group,
            resource.plural,
            name,
        )
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::about(
            StatusCode::CONFLICT,
            "AlreadyExists",
            message,
            resource.group,
            resource.plural,
            name,
        )
    }

    /// `kind` is what stands for the resource: its plural or, in some places of Kubernetes, its kind.
    pub(crate) fn conflict(group: &str, kind: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            qualified(group, kind)
        );
        Self::about(StatusCode::CONFLICT, "Conflict", message, group, kind, name)
    }

    pub(crate) fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let resource_text = qualified(group, resource);
        let message = match name {
            "" => format!("{resource_text} is forbidden: {why}"),
            name => format!("{resource_text} \"{name}\" is forbidden: {why}"),
        };
        Self::about(StatusCode::FORBIDDEN, "Forbidden", message, group, resource, name)
    }

    /// A refusal by a `ValidatingAdmissionPolicy` (`validating/dispatcher.go`): forbidden, with another reason and code.
    pub(crate) fn denied(group: &str, resource: &str, name: &str, why: &str, reason: Option<&str>) -> Self {
        let (code, reason) = match reason {
            Some("Forbidden") => (StatusCode::FORBIDDEN, "Forbidden"),
            Some("Unauthorized") => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Some("RequestEntityTooLarge") => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        };
        let mut status = Self {
            code,
            reason,
            ..Self::forbidden(group, resource, name, why)
        };
        if let Some(details) = &mut status.details {
            details["causes"] = json!([{"message": why}]);
        }
        status
    }

    pub(crate) fn forbidden_path(why: &str) -> Self {
        Self::bare(StatusCode::FORBIDDEN, "Forbidden", format!("forbidden: {why}")).with_details(json!({}))
    }

    pub(crate) fn invalid(group: &str, kind: &str, name: &str, problems: &[Problem]) -> Self {
        let texts: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.field, problem.message))
            .collect();
        let text = match &texts[..] {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {text}", qualified(group, kind));
        let mut status = Self::about(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            message,
            group,
            kind,
            name,
        );
        let causes: Vec<Value> = problems
            .iter()
            .map(|problem| json!({"reason": problem.reason, "message": problem.message, "field": problem.field}))
            .collect();
        if let Some(details) = &mut status.details {
            details["causes"] = causes.into();
        }
        status
    }

    pub(crate) fn code(&self) -> StatusCode {
        self.code
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        if let Some(next) = &self.next {
            status["metadata"]["continue"] = next.as_str().into();
        }
        status
    }

    fn bare(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Status {
            code,
            reason,
            message: message.into(),
            details: None,
            next: None,
        }
    }

    fn about(
        code: StatusCode,
        reason: &'static str,
        message: String,
        group: &str,
        kind: &str,
        name: &str,
    ) -> Self {
        let mut details = json!({});
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details[key] = value.into();
            }
        }
        Self::bare(code, reason, message).with_details(details)
    }

    fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
}

/// One field that validation refuses: `k8s.io/apimachinery/pkg/util/validation/field`.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    field: String,
    reason: &'static str,
    message: String,
}

impl Problem {
    /// `value` is shown as Go's `%#v` would show it, which for strings and numbers is how JSON does.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::new(
            field,
            "FieldValueInvalid",
            format!("Invalid value: {value}: {why}"),
        )
    }

    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Self::new(field, "FieldValueRequired", message)
    }

    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {why}"))
    }

    pub(crate) fn too_long(field: impl Into<String>, most: usize) -> Self {
        Self::new(
            field,
            "FieldValueTooLong",
            format!("Too long: may not be more than {most} bytes"),
        )
    }

    fn new(field: impl Into<String>, reason: &'static str, message: String) -> Self {
        Problem {
            field: field.into(),
            reason,
            message,
        }
    }
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}
