//! The limits on the rules that a job may request. jobpass refuses a rule through which the job or its minter
//! could get permissions that no rule lists. It also refuses a rule that leads to a token without an anchor.

use super::Rule;
use crate::text::harmless;

/// The greatest length of a verb, group, resource or name, in bytes. This is the length of the
/// longest object name in Kubernetes.
const LONGEST: usize = 253;

/// The rules that no job gets. Each entry has verbs, a group, resources and the reason. An entry without
/// verbs covers all verbs. A resource that ends in `/` stands for all its subresources.
const NEVER: &[(&[&str], &str, &[&str], &str)] = &[
    (&[], "", &["secrets"], SECRETS),
    (&[], "", &["serviceaccounts", "serviceaccounts/"], ACCOUNTS),
    (
        WRITE,
        "",
        &["pods", "pods/ephemeralcontainers", "replicationcontrollers"],
        PODS,
    ),
    (
        WRITE,
        "apps",
        &[
            "deployments",
            "statefulsets",
            "daemonsets",
            "replicasets",
            "controllerrevisions",
        ],
        PODS,
    ),
    (WRITE, "batch", &["jobs", "cronjobs"], PODS),
    (
        WRITE,
        "certificates.k8s.io",
        &["podcertificaterequests"],
        "the job could get a certificate of every ServiceAccount that runs a Pod",
    ),
];
const WRITE: &[&str] = &["create", "update", "patch"];
const RBAC: &str = "rbac.authorization.k8s.io";
const SECRETS: &str = "Secrets may hold tokens that outlive the job";
const ACCOUNTS: &str = "with access to ServiceAccounts, a job could mint a token of another ServiceAccount \
    or without an anchor, and such a token outlives the job";
const PODS: &str =
    "a Pod may run as any ServiceAccount of the namespace, including the minter, and mount any Secret";

/// The advice after jobpass has refused a rule.
pub(super) const INSTEAD: &str = "if a job needs this, create a ServiceAccount, give it a Role in a \
    namespace without anchors, and name the ServiceAccount with `service-account`";

impl Rule {
    /// The part of this rule that jobs cannot get, and the reason. `None` if they can get the whole rule.
    pub(crate) fn never_given(&self) -> Option<(String, String)> {
        let refused = |what: &str, why: &str| Some((harmless(what), why.to_owned()));
        for (what, texts) in [
            ("verb", &self.verbs),
            ("group", &self.api_groups),
            ("resource", &self.resources),
        ] {
            if let Some(text) = texts.iter().find(|text| text.contains('*')) {
                return refused(text, &format!("name each {what} on its own"));
            }
        }
        let acts_as_others =
            |verb: &&String| ["escalate", "bind"].contains(&&***verb) || verb.starts_with("impersonate");
        if let Some(verb) = self.verbs.iter().find(acts_as_others) {
            return refused(
                verb,
                "the job could act as other users, or grant permissions that the rules do not list",
            );
        }
        for group in &self.api_groups {
            for resource in &self.resources {
                if group == RBAC {
                    return refused(
                        &format!("{resource}.{RBAC}"),
                        "with access to Roles and bindings, a job could grant itself permissions that the \
                         rules do not list",
                    );
                }
                let never = NEVER.iter().find(|(verbs, of_group, resources, _)| {
                    group == of_group
                        && resources.iter().any(|never| {
                            resource == never || never.ends_with('/') && resource.starts_with(never)
                        })
                        && (verbs.is_empty() || self.verbs.iter().any(|verb| verbs.contains(&&**verb)))
                });
                if let Some((verbs, .., why)) = never {
                    let of_these = |verb: &&String| verbs.is_empty() || verbs.contains(&&***verb);
                    let verb = self.verbs.iter().find(of_these).map_or("", |verb| verb);
                    return refused(&format!("{verb} {resource}"), why);
                }
            }
        }
        None
    }

    /// Whether each verb, group, resource and name of the rule is at most [`LONGEST`] bytes long and has only
    /// harmless characters. The API server itself has neither limit.
    pub(super) fn is_plain(&self) -> bool {
        let all = [
            &self.verbs,
            &self.api_groups,
            &self.resources,
            &self.resource_names,
        ];
        all.into_iter()
            .flatten()
            .all(|text| text.len() <= LONGEST && harmless(text) == *text)
    }

    /// The resource `pods/exec` or `pods/attach`, if the rule is about every Pod. `None` if the rule names
    /// single Pods, or has neither of these resources.
    pub(crate) fn reaches_into_pods(&self) -> Option<&str> {
        let into = |resource: &&String| ["pods/exec", "pods/attach"].contains(&&***resource);
        let core = self.api_groups.iter().any(String::is_empty);
        let resource = self.resources.iter().find(into)?;
        (core && self.resource_names.is_empty()).then_some(resource)
    }

    /// The parts of this rule that `allowed` does not cover, each with one verb, group, resource and name.
    pub(crate) fn beyond(&self, allowed: &[Self]) -> Vec<Self> {
        let names = match &*self.resource_names {
            [] => vec![None],
            names => names.iter().map(Some).collect(),
        };
        let mut beyond = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    for name in &names {
                        let covers = |rule: &Self| {
                            rule.api_groups.contains(group)
                                && rule.resources.contains(resource)
                                && rule.verbs.contains(verb)
                                && (rule.resource_names.is_empty()
                                    || name.is_some_and(|name| rule.resource_names.contains(name)))
                        };
                        if !allowed.iter().any(covers) {
                            let names = name.map(|name| &**name);
                            beyond.push(Self::of(group, &[resource], names.as_slice(), &[verb]));
                        }
                    }
                }
            }
        }
        beyond
    }

    /// The rule in short, for messages: `get,list deployments.apps web`. Several resources stand one after
    /// another, with semicolons between them.
    pub(crate) fn in_short(&self) -> String {
        let mut parts = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                let resource = match (&**group, resource.split_once('/')) {
                    ("", _) => resource.clone(),
                    (group, None) => format!("{resource}.{group}"),
                    (group, Some((resource, sub))) => format!("{resource}.{group}/{sub}"),
                };
                let names = self.resource_names.join(" ");
                parts.push(format!("{} {resource} {names}", self.verbs.join(",")));
            }
        }
        harmless(parts.join("; ").trim_end())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::parse;

    #[rstest]
    #[case::any_verb("* pods", "name each verb on its own")]
    #[case::any_resource("get *", "name each")]
    #[case::any_subresource(
        "- {apiGroups: [''], resources: ['*/token'], verbs: [create]}",
        "name each resource on its own"
    )]
    #[case::any_group(
        "- {apiGroups: ['*'], resources: [widgets], verbs: [get]}",
        "name each group on its own"
    )]
    #[case(
        "get secrets",
        "`get secrets`, which jobs cannot get: Secrets may hold tokens"
    )]
    #[case("create secrets", "`create secrets`")]
    #[case("list serviceaccounts", "`list serviceaccounts`")]
    #[case("create serviceaccounts/token scanner", "`create serviceaccounts/token`")]
    #[case(
        "- {apiGroups: [apps, ''], resources: [pods/log, serviceaccounts/token], verbs: [create]}",
        "`create serviceaccounts/token`"
    )]
    #[case("get roles", "`roles.rbac.authorization.k8s.io`")]
    #[case("delete rolebindings", "`rolebindings.rbac.authorization.k8s.io`")]
    #[case("impersonate serviceaccounts", "`impersonate`")]
    #[case(
        "- {apiGroups: [authentication.k8s.io], resources: [users], verbs: ['impersonate:user-info']}",
        "`impersonate:user-info`"
    )]
    #[case("- {apiGroups: [x.example], resources: [y], verbs: [get, bind]}", "`bind`")]
    #[case("create pods", "a Pod may run as any ServiceAccount")]
    #[case("patch pods", "`patch pods`")]
    #[case("update pods/ephemeralcontainers", "`update pods/ephemeralcontainers`")]
    #[case("create jobs", "`create jobs`")]
    #[case("patch deployments.apps web", "`patch deployments`")]
    #[case(
        "- {apiGroups: [certificates.k8s.io], resources: [podcertificaterequests], verbs: [create]}",
        "a certificate of every ServiceAccount"
    )]
    #[case(
        "- {apiGroups: [''], resources: [pods], verbs: [\"get\\nget\"]}",
        "characters that jobpass does not show"
    )]
    fn what_no_job_is_given(#[case] text: &str, #[case] why: &str) {
        let error = parse("role-rules", text).expect_err(text).to_string();
        assert!(
            error.starts_with("input `role-rules` ") && error.contains(why),
            "{error}"
        );
    }

    #[rstest]
    #[case("get pods")]
    #[case("create pods/exec")]
    #[case("delete pods")]
    #[case("get deployments.apps")]
    #[case("update deployments.apps/scale")]
    #[case("- {apiGroups: [''], resources: [configmaps], resourceNames: ['a:b'], verbs: [create, patch]}")]
    #[case("- {apiGroups: [secrets.example.com], resources: [secrets], verbs: [get]}")]
    fn what_jobs_are_given(#[case] text: &str) {
        parse("role-rules", text).expect(text);
    }

    #[rstest]
    #[case("get pods", "get pods", "")]
    #[case("get pods web", "get pods", "")]
    #[case("get pods", "get pods web", "get pods")]
    #[case("get pods web\nget pods db", "get pods web", "get pods db")]
    #[case(
        "- {apiGroups: ['', apps], resources: [pods, deployments], verbs: [get, list]}",
        "get pods\nlist pods\nget deployments\nlist deployments",
        "get deployments, list deployments, get pods.apps, list pods.apps"
    )]
    fn what_is_beyond(#[case] rules: &str, #[case] allowed: &str, #[case] beyond: &str) {
        let (rules, allowed) = (
            parse("role-rules", rules).expect(rules),
            parse("role-rules", allowed).expect(allowed),
        );
        let found = rules
            .iter()
            .flat_map(|rule| rule.beyond(&allowed))
            .map(|rule| rule.in_short());
        assert_eq!(found.collect::<Vec<_>>().join(", "), beyond);
    }
}
