//! The rules that apply to a token in a namespace. One answer of the API server lists all of them.

use k8s_openapi::api::authorization::v1::{
    ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};

use super::Verdict;
use crate::{
    cluster::{Budget, Call, Cluster},
    rbac::{Permission, Place, What},
};

/// The greatest number of object names about which jobpass asks for one permission.
const MOST_NAMES: usize = 8;

/// All rules about resources, from the RoleBindings of one namespace and from the ClusterRoleBindings.
pub(super) struct Rules(Vec<ResourceRule>);

impl Rules {
    /// Lists the rules of the identity of `cluster`. `None` if there is no usable answer, or if the list may
    /// be incomplete. It is incomplete if an authorizer failed, or if one is a webhook: a webhook cannot list
    /// its rules.
    pub(super) async fn list(cluster: &Cluster, namespace: &str, budget: &Budget) -> Option<Self> {
        let question = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(namespace.to_owned()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let call = Call::create("ask for the rules", None, &question).ok()?;
        let answer = cluster.send(&call, budget).await.ok()?;
        match answer.status {
            201 => {
                let review = answer.parse_with::<SelfSubjectRulesReview>(&call, "/status/incomplete");
                Self::of(review.ok()?.status?)
            }
            _ => None,
        }
    }

    fn of(status: SubjectRulesReviewStatus) -> Option<Self> {
        let complete = !status.incomplete && status.evaluation_error.is_none_or(|error| error.is_empty());
        complete.then_some(Self(status.resource_rules))
    }

    /// The verdict of the rules on a permission. `None` if only a review can tell.
    ///
    /// A rule from a RoleBinding grants nothing on cluster-scoped objects, and the list does not say where a
    /// rule comes from. So a rule that matches decides only for the namespace itself.
    pub(super) fn verdict(&self, permission: &Permission) -> Option<Verdict> {
        let What::Resource { name, place, .. } = &permission.what else {
            return None;
        };
        let named = |rule: &ResourceRule| match rule.resource_names.as_deref() {
            // A rule without names is about all objects.
            None | Some([]) => true,
            Some(names) => names.contains(name),
        };
        match (self.about(permission).any(named), place) {
            (false, _) => Some(Verdict::Denied),
            (true, Place::Own) => Some(Verdict::Allowed),
            (true, _) => None,
        }
    }

    /// The names of single objects for which a rule grants the permission, at most [`MOST_NAMES`].
    pub(super) fn names(&self, permission: &Permission) -> Vec<&str> {
        let named = self.about(permission);
        let names = named.flat_map(|rule| rule.resource_names.iter().flatten());
        let mut names = names.map(String::as_str).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        names.truncate(MOST_NAMES);
        names
    }

    /// The rules for a permission, whatever object names they list. Kubernetes matches in the same way
    /// (`pkg/apis/rbac/v1/evaluation_helpers.go`).
    fn about(&self, permission: &Permission) -> impl Iterator<Item = &ResourceRule> {
        let (combined, any_with_subresource, asked) = match &permission.what {
            What::Resource {
                group,
                resource,
                subresource,
                ..
            } => match &**subresource {
                "" => (resource.clone(), None, Some(group)),
                subresource => (
                    format!("{resource}/{subresource}"),
                    Some(format!("*/{subresource}")),
                    Some(group),
                ),
            },
            What::Path(_) => (String::new(), None, None),
        };
        let has = |texts: &[String], text: &str| texts.iter().any(|known| known == "*" || known == text);
        let any_has = move |texts: &Option<Vec<String>>, text: &str| {
            texts.as_deref().is_some_and(|texts| has(texts, text))
        };
        self.0.iter().filter(move |rule| {
            let resources = || rule.resources.iter().flatten();
            asked.is_some_and(|group| any_has(&rule.api_groups, group))
                && has(&rule.verbs, &permission.verb)
                && (any_has(&rule.resources, &combined)
                    || any_with_subresource
                        .as_ref()
                        .is_some_and(|any| resources().any(|resource| resource == any)))
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rules(rule: &str) -> Rules {
        Rules(vec![serde_json::from_str(rule).expect("a rule")])
    }

    const DENIED: Option<Verdict> = Some(Verdict::Denied);
    const ALLOWED: Option<Verdict> = Some(Verdict::Allowed);
    /// The verdict on a permission that the rules do not decide.
    const UNCERTAIN: Option<Verdict> = None;

    #[rstest]
    #[case::plain(
        r#"{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}"#,
        "get pods",
        ALLOWED
    )]
    #[case::another_verb(
        r#"{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}"#,
        "list pods",
        DENIED
    )]
    #[case::another_resource(
        r#"{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}"#,
        "get secrets",
        DENIED
    )]
    #[case::another_group(
        r#"{"apiGroups":["apps"],"resources":["pods"],"verbs":["get"]}"#,
        "get pods",
        DENIED
    )]
    #[case::any_verb(
        r#"{"apiGroups":[""],"resources":["pods"],"verbs":["*"]}"#,
        "get pods",
        ALLOWED
    )]
    #[case::any_group(
        r#"{"apiGroups":["*"],"resources":["jobs"],"verbs":["create"]}"#,
        "create jobs.batch",
        ALLOWED
    )]
    #[case::any_resource(
        r#"{"apiGroups":[""],"resources":["*"],"verbs":["get"]}"#,
        "get secrets",
        ALLOWED
    )]
    #[case::any_resource_has_subresources(
        r#"{"apiGroups":[""],"resources":["*"],"verbs":["create"]}"#,
        "create serviceaccounts/token a",
        ALLOWED
    )]
    #[case::subresource(
        r#"{"apiGroups":[""],"resources":["serviceaccounts/token"],"verbs":["create"]}"#,
        "create serviceaccounts/token a",
        ALLOWED
    )]
    #[case::not_the_object_itself(
        r#"{"apiGroups":[""],"resources":["serviceaccounts"],"verbs":["create"]}"#,
        "create serviceaccounts/token a",
        DENIED
    )]
    #[case::not_its_subresource(
        r#"{"apiGroups":[""],"resources":["pods/exec"],"verbs":["create"]}"#,
        "create pods",
        DENIED
    )]
    #[case::of_all_resources(
        r#"{"apiGroups":[""],"resources":["*/token"],"verbs":["create"]}"#,
        "create serviceaccounts/token a",
        ALLOWED
    )]
    #[case::another_of_all(
        r#"{"apiGroups":[""],"resources":["*/tokens"],"verbs":["create"]}"#,
        "create serviceaccounts/token a",
        DENIED
    )]
    #[case::only_subresources(
        r#"{"apiGroups":[""],"resources":["*/token"],"verbs":["create"]}"#,
        "create pods",
        DENIED
    )]
    #[case::its_name(
        r#"{"apiGroups":[""],"resources":["serviceaccounts/token"],"resourceNames":["a"],"verbs":["create"]}"#,
        "create serviceaccounts/token a",
        ALLOWED
    )]
    #[case::another_name(
        r#"{"apiGroups":[""],"resources":["serviceaccounts/token"],"resourceNames":["b"],"verbs":["create"]}"#,
        "create serviceaccounts/token a",
        DENIED
    )]
    #[case::only_by_name(
        r#"{"apiGroups":[""],"resources":["secrets"],"resourceNames":["b"],"verbs":["get"]}"#,
        "get secrets",
        DENIED
    )]
    #[case::outside_of_namespaces(
        r#"{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"]}"#,
        "impersonate users",
        UNCERTAIN
    )]
    #[case::not_outside_either(
        r#"{"apiGroups":[""],"resources":["users"],"verbs":["get"]}"#,
        "impersonate users",
        DENIED
    )]
    #[case::everything(
        r#"{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}"#,
        "get secrets",
        ALLOWED
    )]
    #[case::nothing("{}", "get secrets", DENIED)]
    fn rules_are_read_as_kubernetes_reads_them(
        #[case] rule: &str,
        #[case] permission: &str,
        #[case] verdict: Option<Verdict>,
    ) {
        let permission = Permission::parse(permission).expect(permission);
        assert_eq!(rules(rule).verdict(&permission), verdict);
    }

    #[test]
    fn the_names_of_single_objects_are_bounded() {
        let names = (10..40)
            .map(|n| format!(r#""a{n}""#))
            .collect::<Vec<_>>()
            .join(",");
        let rules = rules(&format!(
            r#"{{"apiGroups":[""],"resources":["users"],"resourceNames":[{names},"a10"],"verbs":["impersonate"]}}"#
        ));
        let names = |permission| {
            rules
                .names(&Permission::parse(permission).expect(permission))
                .join(" ")
        };
        assert_eq!(names("impersonate users"), "a10 a11 a12 a13 a14 a15 a16 a17");
        assert_eq!(names("impersonate groups"), "");
    }

    #[rstest]
    #[case(r#"{"resourceRules":[],"nonResourceRules":[],"incomplete":false}"#, true)]
    #[case(r#"{"incomplete":false}"#, true)]
    #[case(r#"{"resourceRules":[],"incomplete":true}"#, false)]
    #[case(
        r#"{"resourceRules":[],"incomplete":false,"evaluationError":"role.rbac.authorization.k8s.io \"x\" not found"}"#,
        false
    )]
    fn only_a_complete_list_tells_what_is_denied(#[case] status: &str, #[case] complete: bool) {
        let status = serde_json::from_str(status).expect("a status");
        assert_eq!(Rules::of(status).is_some(), complete);
    }
}
