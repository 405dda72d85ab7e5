//! The decision of RBAC whether a rule grants a request (`pkg/apis/rbac/v1/evaluation_helpers.go`).

use super::{Request, Rule};

impl Rule {
    /// Whether the rule grants a request. Does not compare namespaces: the caller knows the namespace of the
    /// rule's Role, and a path has no namespace.
    pub(crate) fn grants(&self, request: &Request) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|entry| names(entry, value));
        if !has(&self.verbs, &request.verb) {
            return false;
        }
        if !request.path.is_empty() {
            return self
                .non_resource_urls
                .iter()
                .any(|entry| covers(entry, &request.path));
        }
        let mut resources = self
            .resources
            .iter()
            .map(|resource| resource.split_once('/').unwrap_or((resource, "")));
        has(&self.api_groups, &request.group)
            && resources.any(|(resource, subresource)| names_resource(resource, subresource, request))
            && (self.resource_names.is_empty() || self.resource_names.contains(&request.name))
    }
}

/// Whether an entry of a rule matches this value. `*` matches every value.
pub(super) fn names(entry: &str, value: &str) -> bool {
    entry == "*" || entry == value
}

/// Whether `RESOURCE/SUBRESOURCE` in a rule matches the resource of a request (`ResourceMatches`). `*` alone
/// also matches every subresource, and `*/log` matches `log` of every resource. `pods/*` matches nothing.
pub(super) fn names_resource(resource: &str, subresource: &str, request: &Request) -> bool {
    if (resource, subresource) == ("*", "") {
        return true;
    }
    names(resource, &request.resource) && subresource == request.subresource
}

/// Whether a path, which may end in `*`, covers the path of a request (`NonResourceURLMatches`).
pub(super) fn covers(entry: &str, path: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => entry == path,
    }
}
