//! A rule and the place where it applies, compared with requests as RBAC compares them.

use super::{needs::belongs_to_everybody, report::permission};
use crate::{
    rbac::{Request, Rule},
    text::harmless,
};

/// A rule, and the place where it applies.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Granted {
    /// The namespace. `None` for the whole cluster.
    pub(super) namespace: Option<String>,
    pub(super) rule: Rule,
}

impl Granted {
    /// The rights of a rule: each verb for each resource and name, or for each path.
    pub(super) fn rights(&self) -> Vec<Self> {
        let Rule {
            api_groups,
            resources,
            resource_names,
            non_resource_urls,
            verbs,
        } = &self.rule;
        let mut rights = Vec::new();
        let mut push = |rule: Rule| {
            rights.push(Self {
                namespace: self.namespace.clone(),
                rule,
            })
        };
        for verb in verbs {
            for path in non_resource_urls {
                push(Rule {
                    non_resource_urls: vec![path.clone()],
                    verbs: vec![verb.clone()],
                    ..Rule::default()
                });
            }
            for group in api_groups {
                for resource in resources {
                    match &resource_names[..] {
                        [] => push(Rule::of(group, &[resource], &[], &[verb])),
                        names => names
                            .iter()
                            .for_each(|name| push(Rule::of(group, &[resource], &[name], &[verb]))),
                    }
                }
            }
        }
        rights
    }

    /// Whether the rule grants this right in the namespace of the right.
    pub(super) fn grants(&self, right: &Request) -> bool {
        let is_here = self
            .namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == right.namespace);
        (is_here || !right.path.is_empty()) && self.rule.grants(right)
    }

    pub(super) fn has_wildcard(&self) -> bool {
        let Rule {
            api_groups,
            resources,
            non_resource_urls,
            verbs,
            ..
        } = &self.rule;
        let all = [api_groups, resources, non_resource_urls, verbs];
        all.into_iter().flatten().any(|text| text.contains('*'))
    }

    /// Whether a default ClusterRole gives this right to every ServiceAccount.
    pub(super) fn belongs_to_everybody(&self) -> bool {
        let is_default = |right: Request| {
            // This right is from `system:cluster-trust-bundle-discovery`, which not every cluster has.
            let is_bundle =
                (&*right.group, &*right.resource) == ("certificates.k8s.io", "clustertrustbundles");
            belongs_to_everybody(&right) || is_bundle && matches!(&*right.verb, "get" | "list" | "watch")
        };
        self.namespace.is_none() && self.as_request().is_some_and(is_default)
    }

    /// The request that needs exactly this right. `self` must be one of [`Granted::rights`]. `None` if the
    /// rule lacks a part.
    fn as_request(&self) -> Option<Request> {
        let Rule {
            api_groups,
            resources,
            resource_names,
            non_resource_urls,
            verbs,
        } = &self.rule;
        let verb = verbs.first()?.clone();
        if let Some(path) = non_resource_urls.first() {
            return Some(Request {
                verb,
                path: path.clone(),
                ..Request::default()
            });
        }
        let resource = resources.first()?;
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Some(Request {
            verb,
            group: api_groups.first()?.clone(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: resource_names.first().cloned().unwrap_or_default(),
            path: String::new(),
        })
    }

    pub(super) fn shown(&self, own: Option<&str>) -> String {
        let right = self.as_request();
        harmless(&right.map_or_else(String::new, |right| permission(&right, own).to_string()))
    }
}
