//! The resources of Kubernetes itself. jobpass uses this list to find misspelt names. No rule grants anything
//! on a misspelt name, except a rule with `*`. So a `forbid` with that name would pass and check nothing.

/// The API groups, each with its namespaced and its cluster-scoped resources (`kubectl api-resources`, 1.36).
/// `users` and `groups` exist only for `impersonate`.
const BUILT_IN: &[(&str, &str, &str)] = &[
    (
        "",
        "bindings configmaps endpoints events limitranges persistentvolumeclaims pods podtemplates \
         replicationcontrollers resourcequotas secrets serviceaccounts services",
        "componentstatuses groups namespaces nodes persistentvolumes users",
    ),
    (
        "admissionregistration.k8s.io",
        "",
        "mutatingadmissionpolicies mutatingadmissionpolicybindings mutatingwebhookconfigurations \
         validatingadmissionpolicies validatingadmissionpolicybindings validatingwebhookconfigurations",
    ),
    ("apiextensions.k8s.io", "", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "", "apiservices"),
    (
        "apps",
        "controllerrevisions daemonsets deployments replicasets statefulsets",
        "",
    ),
    // Except for the two reviews, these names exist only for impersonation.
    (
        "authentication.k8s.io",
        "serviceaccounts",
        "selfsubjectreviews tokenreviews groups nodes uids userextras users",
    ),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews",
    ),
    ("autoscaling", "horizontalpodautoscalers", ""),
    ("batch", "cronjobs jobs", ""),
    (
        "certificates.k8s.io",
        "podcertificaterequests",
        "certificatesigningrequests clustertrustbundles",
    ),
    ("coordination.k8s.io", "leases", ""),
    ("discovery.k8s.io", "endpointslices", ""),
    ("events.k8s.io", "events", ""),
    (
        "flowcontrol.apiserver.k8s.io",
        "",
        "flowschemas prioritylevelconfigurations",
    ),
    (
        "networking.k8s.io",
        "ingresses networkpolicies",
        "ingressclasses ipaddresses servicecidrs",
    ),
    ("node.k8s.io", "", "runtimeclasses"),
    ("policy", "poddisruptionbudgets", ""),
    (
        "rbac.authorization.k8s.io",
        "rolebindings roles",
        "clusterrolebindings clusterroles",
    ),
    (
        "resource.k8s.io",
        "resourceclaims resourceclaimtemplates",
        "deviceclasses resourceslices",
    ),
    ("scheduling.k8s.io", "", "priorityclasses"),
    (
        "storage.k8s.io",
        "csistoragecapacities",
        "csidrivers csinodes storageclasses volumeattachments volumeattributesclasses",
    ),
];

/// The subresources of Kubernetes' own resources, of all resources together.
pub(super) const SUBRESOURCES: &[&str] = &[
    "*",
    "approval",
    "attach",
    "binding",
    "checkpoint",
    "configz",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "healthz",
    "log",
    "metrics",
    "pods",
    "portforward",
    "proxy",
    "resize",
    "scale",
    "stats",
    "status",
    "token",
];

/// The verbs for Kubernetes' own resources.
pub(crate) const VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "bind",
    "escalate",
    "approve",
    "sign",
    "attest",
    "use",
    "*",
];

/// Whether a verb is `impersonate:MODE`, or `impersonate-on:MODE:VERB`.
pub(super) fn is_constrained_impersonation(verb: &str) -> bool {
    let (kind, mode) = verb.split_once(':').unwrap_or_default();
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    match kind {
        "impersonate" => plain(mode),
        "impersonate-on" => mode
            .split_once(':')
            .is_some_and(|(mode, verb)| plain(mode) && plain(verb)),
        _ => false,
    }
}

/// A resource of Kubernetes itself.
#[derive(Clone, Copy)]
pub(super) struct BuiltIn {
    pub(super) group: &'static str,
    pub(super) of_cluster: bool,
}

/// Finds a resource by its plural. Without a group, takes the first group that has the resource, as kubectl
/// does.
pub(super) fn find(plural: &str, group: Option<&str>) -> Option<BuiltIn> {
    let named = |names: &str| names.split(' ').any(|name| name == plural);
    let mut groups = BUILT_IN
        .iter()
        .filter(|(known, ..)| group.is_none_or(|group| group == *known));
    groups.find_map(|(group, namespaced, of_cluster)| {
        let found = |of_cluster| BuiltIn { group, of_cluster };
        match (named(namespaced), named(of_cluster)) {
            (true, _) => Some(found(false)),
            (_, true) => Some(found(true)),
            _ => None,
        }
    })
}

/// The plural of a resource that a person wrote in the singular.
pub(super) fn plural_of(singular: &str, group: Option<&str>) -> Option<String> {
    let stem = singular.strip_suffix('y').map(|stem| format!("{stem}ies"));
    let candidates = [Some(format!("{singular}s")), Some(format!("{singular}es")), stem];
    candidates
        .into_iter()
        .flatten()
        .find(|plural| find(plural, group).is_some())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("pods", None, Some(("", false)))]
    #[case("nodes", None, Some(("", true)))]
    #[case("deployments", None, Some(("apps", false)))]
    #[case("deployments", Some("apps"), Some(("apps", false)))]
    #[case("deployments", Some(""), None)]
    #[case("events", None, Some(("", false)))]
    #[case("events", Some("events.k8s.io"), Some(("events.k8s.io", false)))]
    #[case("serviceaccounts", Some("authentication.k8s.io"), Some(("authentication.k8s.io", false)))]
    #[case("pod", None, None)]
    fn a_resource_is_found_where_kubectl_finds_it(
        #[case] plural: &str,
        #[case] group: Option<&str>,
        #[case] expected: Option<(&str, bool)>,
    ) {
        let found = find(plural, group).map(|found| (found.group, found.of_cluster));
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case("pod", None, Some("pods"))]
    #[case("ingress", None, Some("ingresses"))]
    #[case("networkpolicy", Some("networking.k8s.io"), Some("networkpolicies"))]
    #[case("pod", Some("apps"), None)]
    #[case("widget", None, None)]
    #[case("y", None, None)]
    fn a_singular_is_answered_with_its_plural(
        #[case] singular: &str,
        #[case] group: Option<&str>,
        #[case] plural: Option<&str>,
    ) {
        assert_eq!(plural_of(singular, group).as_deref(), plural);
    }

    /// KEP-5284: `impersonate:MODE` for the user to act as, `impersonate-on:MODE:VERB` for the request.
    #[rstest]
    #[case("impersonate:user-info", true)]
    #[case("impersonate-on:serviceaccount:list", true)]
    #[case("impersonate:", false)]
    #[case("impersonate-on:serviceaccount", false)]
    #[case("impersonate-on:serviceaccount:", false)]
    #[case("impersonate:User", false)]
    #[case("impersonate", false)]
    #[case("get:user", false)]
    fn verbs_of_constrained_impersonation(#[case] verb: &str, #[case] is_one: bool) {
        assert_eq!(is_constrained_impersonation(verb), is_one);
    }
}
