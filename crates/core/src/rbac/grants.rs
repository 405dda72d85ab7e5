//! The decision of RBAC whether a rule grants a request (`pkg/apis/rbac/v1/evaluation_helpers.go`).

use super::{Request, Rule};

impl Rule {
    /// Whether the rule grants a request in the namespace in which the rule counts. A path belongs to no
    /// namespace, so a rule about paths counts everywhere.
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

/// Whether an entry names this value.
pub(super) fn names(entry: &str, value: &str) -> bool {
    entry == "*" || entry == value
}

/// Whether `RESOURCE/SUBRESOURCE` names the resource of a request. `*` alone also names every subresource, and
/// `*/SUBRESOURCE` names that of every resource. Nothing names all subresources of one resource
/// (`ResourceMatches`).
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
