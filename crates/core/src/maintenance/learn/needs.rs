//! The rights that some runs needed: those that the API server allowed, those that it denied, and those whose
//! answers show no decision.

use std::collections::BTreeSet;

use super::calls::{Call, Outcome, Runs};
use crate::{
    names::is_dns_label,
    rbac::{Request, is_discovery},
    text::harmless,
};

/// The resources that the ClusterRole `system:basic-user` lets every authenticated user create.
const ABOUT_ONESELF: [(&str, &str); 3] = [
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];
/// The paths that the ClusterRole `system:service-account-issuer-discovery` allows in addition to the
/// discovery paths.
const ISSUER: [&str; 3] = [
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
];
/// The subresources of Pods for which a `get` also needs `create`, from Kubernetes 1.35 on
/// (`AuthorizePodWebsocketUpgradeCreatePermission`).
const STREAMS: [&str; 3] = ["attach", "exec", "portforward"];
/// The greatest length of a part of a rule, in bytes: the longest name of a Kubernetes object.
const LONGEST: usize = 253;

/// The rights that some runs needed, each as the request that needs it.
#[derive(Debug, Default)]
pub struct Needs {
    /// The rights that the runs had.
    pub(super) allowed: BTreeSet<Request>,
    /// The rights that the runs lacked.
    pub(super) denied: BTreeSet<Request>,
    /// The rights for which no answer shows a decision.
    pub(super) unknown: BTreeSet<Request>,
    /// The number of requests that every ServiceAccount may make.
    pub(super) of_everybody: u64,
    /// The rights that jobpass writes into no rule: a wildcard or unsafe text could allow more.
    pub(super) unnamed: BTreeSet<Request>,
    own: Option<String>,
    /// The number of requests.
    pub(super) requests: u64,
    /// The number of files.
    pub(super) files: u64,
    /// Whether the runs changed objects for which kube-apiserver checks more than the request shows.
    pub(super) has_hidden_checks: bool,
}

impl Needs {
    /// The needs of these runs.
    pub fn of(runs: &Runs) -> Self {
        let mut needs = Self {
            requests: runs.len(),
            files: runs.files,
            own: runs.account_namespace().map(str::to_owned),
            ..Self::default()
        };
        for (call, times) in &runs.calls {
            if call.outcome == Outcome::Allowed && belongs_to_everybody(&call.request) {
                needs.of_everybody += times;
                continue;
            }
            needs.has_hidden_checks |= has_hidden_checks(&call.request);
            for right in rights(call) {
                let set = match (is_plain(&right), call.outcome) {
                    (false, _) => &mut needs.unnamed,
                    (true, Outcome::Allowed) => &mut needs.allowed,
                    (true, Outcome::Denied) => &mut needs.denied,
                    (true, Outcome::Unknown) => &mut needs.unknown,
                };
                set.insert(right);
            }
        }
        needs
    }

    /// The namespace of the ServiceAccounts that made the requests. `None` if they are in several namespaces,
    /// or if there are none.
    pub fn own_namespace(&self) -> Option<&str> {
        self.own.as_deref()
    }
}

/// The rights that a call needs.
fn rights(call: &Call) -> Vec<Request> {
    let right = without_useless_name(&call.request);
    let Request {
        verb,
        group,
        resource,
        subresource,
        ..
    } = &right;
    let is_stream = group.is_empty() && resource == "pods" && STREAMS.contains(&&**subresource);
    // kube-apiserver also requires `create` if a patch or an update creates the object (`handlers/update.go`,
    // `withAuthorization`).
    let creates_too = matches!(&**verb, "patch" | "update") && call.has_created || verb == "get" && is_stream;
    let create = creates_too.then(|| {
        without_useless_name(&Request {
            verb: "create".to_owned(),
            ..right.clone()
        })
    });
    std::iter::once(right.clone()).chain(create).collect()
}

/// Removes the name from a right that no rule can limit by name. A `create` without a subresource has the
/// name in the body, and a `deletecollection` has no name.
fn without_useless_name(request: &Request) -> Request {
    let mut right = request.clone();
    let has_none = match &*right.verb {
        "create" => right.subresource.is_empty(),
        "deletecollection" => true,
        _ => false,
    };
    if has_none {
        right.name.clear();
    }
    right
}

/// Whether every ServiceAccount has this right: to read about the API and the issuer, and to ask about
/// itself.
pub(super) fn belongs_to_everybody(request: &Request) -> bool {
    let Request {
        verb,
        group,
        resource,
        subresource,
        path,
        ..
    } = request;
    match path.is_empty() {
        false => verb == "get" && (is_discovery(path) || ISSUER.contains(&&**path)),
        true => {
            verb == "create" && subresource.is_empty() && ABOUT_ONESELF.contains(&(&**group, &**resource))
        }
    }
}

/// Whether a rule can grant this right and no other. A job chooses the paths of its requests: without this
/// check, it could request the resource `*`, and so put a wildcard into its own rules.
fn is_plain(right: &Request) -> bool {
    let Request {
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
        path,
    } = right;
    let is_free = [verb, group, resource, subresource, path]
        .iter()
        .all(|text| !text.contains('*'));
    let all = [verb, group, resource, subresource, namespace, name, path];
    let is_shown = all
        .iter()
        .all(|text| text.len() <= LONGEST && harmless(text) == **text);
    let is_whole = match path.is_empty() {
        true => !resource.is_empty() && (namespace.is_empty() || is_dns_label(namespace)),
        false => path.starts_with('/') && resource.is_empty(),
    };
    // The resource `userextras` has a key with slashes as its subresource.
    let has_slash = [verb, group, resource].iter().any(|text| text.contains('/'));
    is_free && is_shown && is_whole && !has_slash && !verb.is_empty()
}

/// Whether kube-apiserver checks rights that the request does not name: the rights that a Role or a binding
/// grants, or a right to the signer of a certificate.
fn has_hidden_checks(request: &Request) -> bool {
    let is_change = matches!(&*request.verb, "create" | "update" | "patch");
    is_change
        && matches!(
            &*request.group,
            "rbac.authorization.k8s.io" | "certificates.k8s.io"
        )
}
