//! The handling of one request: authentication, authorization, and the answer.

use http::{Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::rbac::{self, Attributes};
use super::status::{Result, Status};
use super::store::{KINDS, SERVICE_ACCOUNTS};
use super::tokens::{self, User};
use super::{Cluster, State};
use crate::asked::Asked;

/// The status and the body of an answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// Whether the authentication came from the cache.
    pub(crate) remembered: bool,
}

/// A request whose user is known.
pub(super) struct Call<'a> {
    pub(super) asked: &'a Asked,
    pub(super) state: &'a mut State,
    /// The cluster's time, in seconds since 1970.
    pub(super) now: i64,
    pub(super) user: &'a User,
    pub(super) target: &'a Attributes<'a>,
    query: &'a str,
}

/// Authenticates, authorizes and answers a request.
pub(crate) fn answer(cluster: &Cluster, asked: &Asked) -> Answer {
    let mut state = cluster.state();
    let (user, remembered) = match tokens::authenticate(&mut state, &asked.by, cluster.clock.now()) {
        Ok(known) => known,
        Err(refusal) => return Answer::refusal(&refusal, false),
    };
    let (path, query) = asked.uri.split_once('?').unwrap_or((&asked.uri, ""));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let target = target(&asked.method, path, &parts);
    let mut call = Call {
        asked,
        now: cluster.clock.unix_seconds(),
        user: &user,
        target: &target,
        query,
        state: &mut state,
    };
    match call.answer() {
        Ok((status, body)) => Answer {
            status,
            body,
            remembered,
        },
        Err(refusal) => Answer::refusal(&refusal, remembered),
    }
}

impl Answer {
    fn refusal(status: &Status, remembered: bool) -> Self {
        Self {
            status: status.code,
            body: status.to_json(),
            remembered,
        }
    }
}

/// Derives the attributes from the path and the method:
/// `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.
fn target<'r>(method: &Method, path: &'r str, parts: &[&'r str]) -> Attributes<'r> {
    let (group, rest) = match parts {
        ["api", "v1", rest @ ..] if !rest.is_empty() => ("", rest),
        ["apis", group, "v1", rest @ ..] if !rest.is_empty() => (*group, rest),
        _ => {
            return Attributes {
                verb: match *method {
                    Method::GET => "get",
                    Method::POST => "post",
                    Method::PUT => "put",
                    Method::DELETE => "delete",
                    _ => "patch",
                },
                path: Some(path),
                ..Attributes::default()
            };
        }
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        ["namespaces", namespace] => (*namespace, rest),
        _ => ("", rest),
    };
    let part = |at: usize| rest.get(at).copied().unwrap_or_default();
    Attributes {
        verb: match (method, part(1)) {
            (&Method::GET, "") => "list",
            (&Method::GET, _) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::DELETE, "") => "deletecollection",
            (&Method::DELETE, _) => "delete",
            _ => "patch",
        },
        path: None,
        group,
        resource: part(0),
        subresource: part(2),
        namespace,
        name: part(1),
    }
}

impl Call<'_> {
    fn answer(&mut self) -> Result<(StatusCode, Value)> {
        rbac::demand(&self.state.store, self.user, self.target)?;
        let target = self.target;
        if target.path.is_some() {
            return match (target.verb, target.path) {
                ("get", Some("/version")) => Ok((StatusCode::OK, version())),
                _ => Err(self.not_made_for("")),
            };
        }
        match (target.group, target.resource) {
            ("authentication.k8s.io", "selfsubjectreviews") if target.verb == "create" => self.who_am_i(),
            ("authorization.k8s.io", "selfsubjectaccessreviews") if target.verb == "create" => self.may_i(),
            ("authorization.k8s.io", "selfsubjectrulesreviews") if target.verb == "create" => self.my_rules(),
            _ => {
                let kind = KINDS
                    .iter()
                    .find(|kind| (kind.group, kind.plural) == (target.group, target.resource));
                let kind = kind.ok_or_else(|| self.not_made_for(""))?;
                match (target.verb, target.subresource) {
                    ("create", "") => self.create(kind),
                    ("list", "") => self.list(kind),
                    ("delete", "") => self.delete(kind),
                    ("create", "token") if **kind == SERVICE_ACCOUNTS => self.request_token(),
                    _ => Err(self.not_made_for("")),
                }
            }
        }
    }

    /// Returns a 501 for a request that only Kubernetes can answer. `what` describes the request beyond its
    /// method and path, such as `with the field owner`.
    pub(super) fn not_made_for(&self, what: &str) -> Status {
        Status::not_made_for(format!("{} {} {what}", self.asked.method, self.asked.uri).trim())
    }

    /// Parses the object in the body, and removes its `kind` and `apiVersion`.
    pub(super) fn object(&self, kind: &str, api_version: &str) -> Result<Value> {
        let content_type = self.header(header::CONTENT_TYPE);
        let object = serde_json::from_slice::<Map<String, Value>>(&self.asked.body);
        let (true, Ok(mut object)) = (content_type == "application/json", object) else {
            let what = "with a body that is not a JSON object, or not of the type application/json";
            return Err(self.not_made_for(what));
        };
        for (field, expected) in [("kind", kind), ("apiVersion", api_version)] {
            if object.remove(field).is_some_and(|given| given != expected) {
                return Err(self.not_made_for(&format!("with another {field} than {expected}")));
            }
        }
        Ok(object.into())
    }

    /// Refuses fields that the dev cluster does not support.
    pub(super) fn allow_only(&self, object: &Value, fields: &[&str]) -> Result<()> {
        let mut given = object
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, _)| &**field);
        match given.find(|field| !fields.contains(field)) {
            Some(field) => Err(self.not_made_for(&format!("with the field {field}"))),
            None => Ok(()),
        }
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        let value = self.asked.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The name and the value of each parameter, in their order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

fn version() -> Value {
    let (major, minor) = ("1", "37");
    json!({
        "major": major, "minor": minor,
        "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": "36",
        "gitVersion": format!("v{major}.{minor}.0-jobpass-devkit"), "gitCommit": "0", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "gc", "platform": "linux/amd64",
    })
}
