//! The input `allow`: the list of the requests that the loopback proxy passes on.

use super::{
    FORMS, Permission, Place, Request, Rule, What,
    grants::{covers, names, names_resource},
    is_yaml_list, parse_all,
};
use crate::{
    error::Error,
    text::{at_line, harmless},
};

/// The paths that clients read to find the API, as the ClusterRole `system:discovery` lists them, and one
/// more. The last path leads to the cluster's public keys, and every ServiceAccount may read it
/// (`system:service-account-issuer-discovery`).
const DISCOVERY: [&str; 12] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
    "/.well-known/openid-configuration",
];

/// A list of permissions and rules, for a ServiceAccount of one namespace.
pub(crate) struct Allowed {
    entries: Vec<Entry>,
    /// The namespace of the ServiceAccount.
    own: String,
}

enum Entry {
    Permission(Permission),
    /// A rule, as in a Role in the namespace of the ServiceAccount.
    Rule(Rule),
}

impl Allowed {
    /// Parses permissions, one permission a line, or a YAML list of permissions and RBAC rules. A rule
    /// applies to the namespace `own`.
    ///
    /// # Errors
    /// If a permission or a rule is wrong, or if the YAML is not a list.
    pub(crate) fn parse(option: &str, text: &str, own: &str) -> Result<Self, Error> {
        let entries = match is_yaml_list(text) {
            true => items(option, text)?,
            false => parse_all(option, text, FORMS, |permission| {
                Ok(Entry::Permission(permission))
            })?,
        };
        Ok(Self {
            entries,
            own: own.to_owned(),
        })
    }

    /// Whether the proxy passes this request on. Even an empty list allows reading the discovery paths. No
    /// list allows a path with a part `.` or `..`.
    pub(crate) fn has(&self, request: &Request) -> bool {
        // kube-apiserver does not resolve `.` and `..` in a path, but a gateway in front of it may.
        if request.path.split('/').any(|part| matches!(part, "." | "..")) {
            return false;
        }
        let is_read = matches!(&*request.verb, "get" | "head");
        is_read && is_discovery(&request.path)
            || self.entries.iter().any(|entry| entry.allows(request, &self.own))
    }
}

/// Whether this is a path in [`DISCOVERY`].
pub(crate) fn is_discovery(path: &str) -> bool {
    DISCOVERY.iter().any(|entry| covers(entry, path))
}

fn items(option: &str, text: &str) -> Result<Vec<Entry>, Error> {
    let items = serde_yaml::from_str::<Vec<serde_yaml::Value>>(text)
        .map_err(|error| Error::input(option, format!("is not a YAML list{}", at_line(&error)), FORMS))?;
    let entry = |(item, number): (&serde_yaml::Value, usize)| {
        let entry = match item.as_str() {
            Some(text) => Permission::parse(text).map(Entry::Permission),
            None => serde_yaml::from_value::<Rule>(item.clone())
                .map_err(|error| harmless(&error.to_string()))
                .and_then(Rule::checked)
                .map(Entry::Rule),
        };
        entry.map_err(|problem| Error::input(option, format!("is wrong in item {number}: {problem}"), FORMS))
    };
    items.iter().zip(1..).map(entry).collect()
}

impl Entry {
    fn allows(&self, request: &Request, own: &str) -> bool {
        match self {
            Self::Permission(permission) => allows(permission, request, own),
            Self::Rule(rule) => request.path.is_empty() && request.namespace == own && rule.grants(request),
        }
    }
}

fn allows(permission: &Permission, request: &Request, own: &str) -> bool {
    if !names(&permission.verb, &request.verb) {
        return false;
    }
    match &permission.what {
        What::Path(path) => !request.path.is_empty() && covers(path, &request.path),
        What::Resource {
            group,
            resource,
            subresource,
            name,
            place,
        } => {
            request.path.is_empty()
                && names(group, &request.group)
                && names_resource(resource, subresource, request)
                && (name.is_empty() || *name == request.name)
                && match place {
                    Place::Own => request.namespace == own,
                    Place::Namespace(namespace) => request.namespace == *namespace,
                    Place::Cluster => true,
                }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use rstest::rstest;

    use super::*;

    fn has(allow: &str, method: &str, uri: &str) -> bool {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = Request::read(&method, path, query).expect("a request");
        Allowed::parse("allow", allow, "ci")
            .expect("a list")
            .has(&request)
    }

    const PODS: &str = "/api/v1/namespaces/ci/pods";
    const RULE: &str = "- apiGroups: [apps]\n  resources: [deployments, deployments/scale]\n  \
        resourceNames: [web]\n  verbs: [get, patch]";

    #[rstest]
    #[case("get pods", "GET", "/api/v1/namespaces/ci/pods/a", true)]
    #[case("get pods", "GET", PODS, false)]
    #[case("get pods", "DELETE", "/api/v1/namespaces/ci/pods/a", false)]
    #[case("get pods", "GET", "/api/v1/namespaces/other/pods/a", false)]
    #[case("get pods", "GET", "/api/v1/namespaces/ci/pods/a/log", false)]
    #[case("get pods", "GET", "/api/v1/namespaces/ci/pods%2Fa%2Flog", false)]
    #[case("get pods", "GET", "/apis/metrics.k8s.io/v1/namespaces/ci/pods/a", false)]
    #[case("get pods/log", "GET", "/api/v1/namespaces/ci/pods/a/log", true)]
    #[case("list pods", "GET", PODS, true)]
    #[case("list pods", "GET", "/api/v1/namespaces/ci/pods?watch=1", false)]
    #[case("list pods", "GET", "/api/v1/pods", false)]
    #[case("list pods -A", "GET", "/api/v1/pods", true)]
    #[case("list pods -A", "GET", PODS, true)]
    #[case("list pods -n other", "GET", "/api/v1/namespaces/other/pods", true)]
    #[case("get secrets a", "GET", "/api/v1/namespaces/ci/secrets/a", true)]
    #[case("get secrets a", "GET", "/api/v1/namespaces/ci/secrets/b", false)]
    #[case(
        "list secrets a",
        "GET",
        "/api/v1/namespaces/ci/secrets?fieldSelector=metadata.name=a",
        true
    )]
    #[case("list secrets a", "GET", "/api/v1/namespaces/ci/secrets", false)]
    #[case("list nodes", "GET", "/api/v1/nodes", true)]
    #[case("get namespaces other", "GET", "/api/v1/namespaces/other", true)]
    #[case("get namespaces other", "GET", "/api/v1/namespaces/ci", false)]
    #[case("get *", "GET", "/api/v1/namespaces/ci/pods/a/log", true)]
    #[case("get pods/*", "GET", "/api/v1/namespaces/ci/pods/a/log", false)]
    #[case("get */log", "GET", "/api/v1/namespaces/ci/pods/a/log", true)]
    #[case("* pods", "DELETE", PODS, true)]
    #[case("get /metrics", "GET", "/metrics", true)]
    #[case("get /metrics", "GET", "/metrics/cadvisor", false)]
    #[case("get /metrics*", "GET", "/metrics/cadvisor", true)]
    #[case("- list pods\n- get /logs/*", "GET", "/logs/a", true)]
    #[case(RULE, "PATCH", "/apis/apps/v1/namespaces/ci/deployments/web/scale", true)]
    #[case(RULE, "GET", "/apis/apps/v1/namespaces/ci/deployments/web", true)]
    #[case(RULE, "GET", "/apis/apps/v1/namespaces/ci/deployments/other", false)]
    #[case(RULE, "GET", "/apis/apps/v1/namespaces/ci/deployments/web/status", false)]
    #[case(RULE, "GET", "/apis/apps/v1/namespaces/other/deployments/web", false)]
    // kubectl and other clients need the discovery paths.
    #[case("get pods", "GET", "/api", true)]
    #[case("get pods", "GET", "/apis/apps/v1", true)]
    #[case("get pods", "GET", "/openapi/v3/apis/apps/v1", true)]
    #[case("get pods", "POST", "/api", false)]
    #[case("get pods", "GET", "/logs", false)]
    #[case("get pods", "GET", "/apis/../metrics", false)]
    fn only_what_is_listed_passes(
        #[case] allow: &str,
        #[case] method: &str,
        #[case] uri: &str,
        #[case] passes: bool,
    ) {
        assert_eq!(has(allow, method, uri), passes, "{allow}: {method} {uri}");
    }

    #[rstest]
    #[case("get pod", "line 1: `pod` is not a resource")]
    #[case("- verbs: [get]", "item 1: `apiGroups` is missing")]
    #[case("- {verbs: [get], nonResourceURLs: [/metrics]}", "item 1: `nonResourceURLs`")]
    fn a_list_that_is_wrong_is_a_wrong_input(#[case] allow: &str, #[case] problem: &str) {
        let error = Allowed::parse("allow", allow, "ci").err().expect("refused");
        assert!(error.message().contains(problem), "{error}");
    }
}
