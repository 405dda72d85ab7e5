//! The events of kube-apiserver's audit log (`k8s.io/apiserver/pkg/apis/audit/v1`).

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;

use super::calls::{Call, Outcome};
use crate::rbac::Request;

/// The key of a token's id among the extra fields of a user, from Kubernetes 1.30 on.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// The key of the authorizer's decision among the annotations.
const DECISION: &str = "authorization.k8s.io/decision";
/// The prefix of the username of a ServiceAccount.
const ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// An event, with only the fields that matter for permissions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    #[serde(default)]
    stage: String,
    #[serde(default, rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    verb: String,
    #[serde(default)]
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    authentication_metadata: Metadata,
    #[serde(default)]
    response_status: Status,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    /// The verb of constrained impersonation, such as `impersonate:user-info`.
    #[serde(default)]
    impersonation_constraint: String,
}

#[derive(Deserialize, Default)]
struct Status {
    code: Option<u16>,
    #[serde(default)]
    message: String,
}

impl Event {
    /// The id of the token, as a receipt has it.
    pub(super) fn credential_id(&self) -> Option<&str> {
        self.user.extra.get(CREDENTIAL_ID)?.first()?.strip_prefix("JTI=")
    }

    /// The namespace of the ServiceAccount.
    pub(super) fn namespace(&self) -> Option<&str> {
        let (namespace, _) = self.user.username.strip_prefix(ACCOUNT)?.split_once(':')?;
        Some(namespace)
    }

    /// Whether the answer was complete at the time of this event. kube-apiserver can also log earlier events
    /// of the same request.
    pub(super) fn is_complete(&self) -> bool {
        self.stage == "ResponseComplete"
    }

    /// The calls for which the user of this event needs rights: the request, or the impersonation of another
    /// user. After an impersonation, kube-apiserver checks whether the impersonated user may make the
    /// request.
    pub(super) fn calls(&self) -> Vec<Call> {
        let Some(request) = self.request() else {
            return Vec::new();
        };
        let code = self.response_status.code;
        if let Some(user) = &self.impersonated_user {
            let constraint = &*self.authentication_metadata.impersonation_constraint;
            let rights = user.impersonation(constraint, request);
            return rights
                .into_iter()
                .map(|right| call(right, Outcome::Allowed))
                .collect();
        }
        let outcome = match (self.annotations.get(DECISION).map(String::as_str), code) {
            (Some("allow"), _) => Outcome::Allowed,
            (Some("forbid"), _) => Outcome::Denied,
            // kube-apiserver refuses an impersonation before it decides about the request.
            (_, Some(403)) => {
                let refused = refused_impersonation(&self.response_status.message);
                return vec![call(refused.unwrap_or(request), Outcome::Denied)];
            }
            (_, code) => Outcome::of(code),
        };
        vec![Call {
            has_created: code == Some(201),
            ..call(request, outcome)
        }]
    }

    /// The request, from the URI. The name in `objectRef` may be from the body, which RBAC does not see.
    fn request(&self) -> Option<Request> {
        let (path, query) = self
            .request_uri
            .split_once('?')
            .unwrap_or((&self.request_uri, ""));
        let method = match &*self.verb {
            "create" => Method::POST,
            "update" => Method::PUT,
            "patch" => Method::PATCH,
            "delete" | "deletecollection" => Method::DELETE,
            "get" | "list" | "watch" | "proxy" => Method::GET,
            verb => Method::from_bytes(verb.to_ascii_uppercase().as_bytes()).ok()?,
        };
        Request::read(&method, path, query)
    }
}

fn call(request: Request, outcome: Outcome) -> Call {
    Call {
        request,
        outcome,
        has_created: false,
    }
}

impl User {
    /// The rights that kube-apiserver requires before it treats a request as a request of this user
    /// (`k8s.io/apiserver/pkg/endpoints/filters/impersonation`). `constraint` is the verb of constrained
    /// impersonation, or empty. With constrained impersonation, kube-apiserver also requires a right for the
    /// request itself.
    fn impersonation(&self, constraint: &str, request: Request) -> Vec<Request> {
        let (verb, group) = match constraint {
            "" => ("impersonate", ""),
            constraint => (constraint, AUTHENTICATION),
        };
        let right = |group: &str, resource: &str, name: &str| Request {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Request::default()
        };
        let account = self
            .username
            .strip_prefix(ACCOUNT)
            .and_then(|rest| rest.split_once(':'));
        let mut rights = Vec::new();
        match (constraint.strip_prefix("impersonate:"), account) {
            (Some("arbitrary-node"), _) => {
                let node = self.username.strip_prefix("system:node:").unwrap_or_default();
                rights.push(right(group, "nodes", node));
            }
            // kube-apiserver checks this right for the name `*`, so a rule with node names does not grant it.
            (Some("associated-node"), _) => rights.push(right(group, "nodes", "")),
            (None | Some("serviceaccount"), Some((namespace, name))) => rights.push(Request {
                namespace: namespace.to_owned(),
                ..right(group, "serviceaccounts", name)
            }),
            _ => {
                rights.push(right(group, "users", &self.username));
            }
        }
        if matches!(constraint, "" | "impersonate:user-info") {
            let implied = account.map(|(namespace, _)| format!("system:serviceaccounts:{namespace}"));
            // kube-apiserver adds these groups itself.
            let is_added = |name: &&String| {
                matches!(&***name, "system:authenticated" | "system:unauthenticated")
                    || implied.is_some() && *name == "system:serviceaccounts"
                    || implied.as_ref() == Some(*name)
            };
            let groups = self.groups.iter().filter(|name| !is_added(name));
            rights.extend(groups.map(|name| right(group, "groups", name)));
            let uid = Some(&self.uid).filter(|uid| !uid.is_empty());
            rights.extend(uid.map(|uid| right(AUTHENTICATION, "uids", uid)));
            for (key, values) in &self.extra {
                rights.extend(values.iter().map(|value| Request {
                    subresource: key.clone(),
                    ..right(AUTHENTICATION, "userextras", value)
                }));
            }
        }
        if let Some(mode) = constraint.strip_prefix("impersonate:") {
            let verb = format!("impersonate-on:{mode}:{}", request.verb);
            rights.push(Request { verb, ..request });
        }
        rights
    }
}

/// The missing right, from the message of kube-apiserver: `users "jane" is forbidden: User "me" cannot
/// impersonate resource "users" in API group "" at the cluster scope`. Constrained impersonation has another
/// verb.
fn refused_impersonation(message: &str) -> Option<Request> {
    let (object, why) = message.split_once(" is forbidden: User ")?;
    let (_, what) = why.split_once(" cannot ")?;
    let (verb, what) = what.split_once(" resource ")?;
    if !verb.starts_with("impersonate") || verb.contains(' ') {
        return None;
    }
    let (what, _) = what.split_once(" at the cluster scope").unwrap_or((what, ""));
    let mut quoted = what.split('"').skip(1).step_by(2);
    let (resource, group) = (quoted.next()?, quoted.next()?);
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Some(Request {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: quoted.next().unwrap_or_default().into(),
        name: object.split('"').nth(1).unwrap_or_default().into(),
        path: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn calls(event: serde_json::Value) -> Vec<String> {
        let event: Event = serde_json::from_value(event).expect("an event");
        let show = |call: Call| {
            let Request {
                verb,
                group,
                resource,
                subresource,
                namespace,
                name,
                path,
            } = call.request;
            let outcome = call.outcome;
            format!(
                "{outcome:?} {verb} {group}/{resource}/{subresource} {namespace} {name} {path}{}",
                call.has_created
            )
        };
        event.calls().into_iter().map(show).collect()
    }

    const PODS: &str = "/api/v1/namespaces/ci/pods?limit=500";

    #[rstest]
    #[case("list", PODS, Some("allow"), 200, "Allowed list /pods/ ci  false")]
    #[case("list", PODS, Some("forbid"), 403, "Denied list /pods/ ci  false")]
    // A quota or an admission policy refused the request after RBAC had allowed it.
    #[case("create", PODS, Some("allow"), 403, "Allowed create /pods/ ci  false")]
    #[case("list", PODS, None, 429, "Unknown list /pods/ ci  false")]
    #[case("create", PODS, Some("allow"), 201, "Allowed create /pods/ ci  true")]
    #[case(
        "watch",
        "/api/v1/pods?watch=1&fieldSelector=metadata.name%3Da",
        None,
        200,
        "Allowed watch /pods/  a false"
    )]
    #[case(
        "deletecollection",
        PODS,
        None,
        200,
        "Allowed deletecollection /pods/ ci  false"
    )]
    #[case("head", "/metrics", None, 200, "Allowed head //   /metricsfalse")]
    fn an_event_is_a_request_and_a_decision(
        #[case] verb: &str,
        #[case] uri: &str,
        #[case] decision: Option<&str>,
        #[case] code: u16,
        #[case] expected: &str,
    ) {
        let annotations = decision
            .map(|decision| json!({DECISION: decision}))
            .unwrap_or(json!({}));
        let event = json!({"verb": verb, "requestURI": uri, "annotations": annotations,
            "objectRef": {"name": "from the body"}, "responseStatus": {"code": code}});
        assert_eq!(calls(event), [expected]);
    }

    #[rstest]
    #[case(
        json!({"username": "system:serviceaccount:ci:other",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"]}),
        "",
        &["impersonate /serviceaccounts/ ci other"]
    )]
    #[case(
        json!({"username": "jane", "groups": ["dev", "system:authenticated"], "uid": "7",
            "extra": {"scopes": ["view"]}}),
        "",
        &[
            "impersonate /users/  jane",
            "impersonate /groups/  dev",
            "impersonate authentication.k8s.io/uids/  7",
            "impersonate authentication.k8s.io/userextras/scopes  view",
        ]
    )]
    #[case(
        json!({"username": "jane", "groups": ["system:authenticated"]}),
        "impersonate:user-info",
        &[
            "impersonate:user-info authentication.k8s.io/users/  jane",
            "impersonate-on:user-info:list /pods/ ci ",
        ]
    )]
    #[case(
        json!({"username": "system:serviceaccount:ci:other"}),
        "impersonate:serviceaccount",
        &[
            "impersonate:serviceaccount authentication.k8s.io/serviceaccounts/ ci other",
            "impersonate-on:serviceaccount:list /pods/ ci ",
        ]
    )]
    fn a_request_as_another_user_needs_the_impersonation(
        #[case] user: serde_json::Value,
        #[case] constraint: &str,
        #[case] expected: &[&str],
    ) {
        let event = json!({"verb": "list", "requestURI": PODS, "impersonatedUser": user,
            "authenticationMetadata": {"impersonationConstraint": constraint},
            "annotations": {DECISION: "forbid"}, "responseStatus": {"code": 403}});
        let expected = expected.iter().map(|right| format!("Allowed {right} false"));
        assert_eq!(calls(event), expected.collect::<Vec<_>>());
    }

    #[rstest]
    #[case(
        "serviceaccounts \"default\" is forbidden: User \"system:serviceaccount:ci:scanner\" cannot impersonate \
         resource \"serviceaccounts\" in API group \"\" in the namespace \"kube-system\"",
        "impersonate /serviceaccounts/ kube-system default"
    )]
    #[case(
        "userextras.authentication.k8s.io is forbidden: User \"system:serviceaccount:ci:imp\" cannot \
         impersonate:user-info resource \"userextras\" in API group \"authentication.k8s.io\" at the cluster \
         scope: extra.key: Invalid value: \"scopes\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        "impersonate:user-info authentication.k8s.io/userextras/  "
    )]
    fn a_refused_impersonation_is_denied_and_the_request_is_not(
        #[case] message: &str,
        #[case] expected: &str,
    ) {
        let status = json!({"code": 403, "message": message});
        let event = json!({"verb": "list", "requestURI": PODS, "responseStatus": status});
        assert_eq!(calls(event), [format!("Denied {expected} false")]);
    }
}
