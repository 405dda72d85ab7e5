//! Requests and answers without their HTTP.

use http::Method;
use serde_json::Value;

use crate::authn::User;
use crate::rbac::Attributes;
use crate::resources::SECRETS;
use crate::selector::Selector;
use crate::status::Status;

/// A request, read whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) accept: String,
    /// Without parameters.
    pub(crate) content_type: String,
    pub(crate) credential: Credential,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Credential {
    None,
    Bearer(String),
    Certificate(User),
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Json(Value),
    Text(String),
}

/// What a path and a method mean: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.
pub(crate) struct Target {
    pub(crate) version: String,
    pub(crate) attributes: Attributes,
}

impl Request {
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// Whether the client asks for `as=PartialObjectMetadata` or the list of those.
    pub(crate) fn wants_metadata(&self) -> bool {
        let first = self.accept.split(',').next().unwrap_or_default();
        first
            .split(';')
            .any(|part| part.trim().starts_with("as=PartialObjectMetadata"))
    }
}

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Answer {
            status,
            headers: Vec::new(),
            body: Body::Json(body),
        }
    }

    pub(crate) fn refusal(status: &Status) -> Self {
        Self::json(status.code().as_u16(), status.to_json())
    }

    pub(crate) fn text(status: u16, text: &str) -> Self {
        let mut answer = Answer {
            status,
            headers: Vec::new(),
            body: Body::Text(text.to_owned()),
        };
        answer.set("content-type", "text/plain; charset=utf-8");
        answer
    }

    pub(crate) fn no_such_page() -> Self {
        Self::text(404, "404 page not found\n")
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// `NewWarningHeader` in k8s.io/apimachinery/pkg/util/net.
    pub(crate) fn warn(&mut self, text: &str) {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        self.set("warning", &format!("299 - \"{text}\""));
    }
}

pub(crate) fn target(request: &Request) -> Target {
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match &parts[..] {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => {
            let attributes = Attributes {
                verb: request.method.as_str().to_lowercase(),
                path: Some(request.path.clone()),
                ..Attributes::default()
            };
            return Target {
                version: String::new(),
                attributes,
            };
        }
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        ["namespaces", namespace] => (*namespace, rest),
        _ => ("", rest),
    };
    let mut name = rest.get(1).map(|name| (*name).to_owned()).unwrap_or_default();
    let verb = match (request.method.as_str(), name.is_empty()) {
        ("GET" | "HEAD", false) => "get",
        ("GET" | "HEAD", true) if matches!(request.parameter("watch"), "true" | "1") => "watch",
        ("GET" | "HEAD", true) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", false) => "delete",
        ("DELETE", true) => "deletecollection",
        _ => "",
    };
    if matches!(verb, "list" | "watch" | "deletecollection") {
        // One object selected by its name is authorized as that object. Any resource serves to parse this selector.
        let selector = Selector::parse(&SECRETS, "", request.parameter("fieldSelector")).ok();
        name = selector
            .and_then(|selector| selector.name().map(str::to_owned))
            .unwrap_or_default();
    }
    Target {
        version: version.to_owned(),
        attributes: Attributes {
            verb: verb.to_owned(),
            path: None,
            group: group.to_owned(),
            resource: rest[0].to_owned(),
            subresource: rest.get(2).map(|part| (*part).to_owned()).unwrap_or_default(),
            namespace: namespace.to_owned(),
            name,
        },
    }
}
