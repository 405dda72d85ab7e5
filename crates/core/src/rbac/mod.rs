//! RBAC rules, and Roles as YAML to paste.

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Error,
    text::{at_line, harmless},
};

mod allow;
mod given;
mod grants;
mod permission;
mod request;
mod resources;

pub(crate) use self::allow::{Allowed, is_discovery};
pub(crate) use self::permission::{FORMS, FORMS_IN_ROLE, Place, What, is_yaml_list, parse_all};
pub(crate) use self::resources::VERBS;
pub use self::{permission::Permission, request::Request};

/// A verb that Kubernetes does not have. A minter's Role grants it, next to `create`, on the tokens of one
/// ServiceAccount. The admission policy for jobs with rules then lets the minter get those tokens.
pub(crate) const MINT: &str = "mint";

/// A rule of a Role or ClusterRole (`rbac.authorization.k8s.io/v1`, `PolicyRule`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(default, rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
    #[serde(default)]
    pub(crate) verbs: Vec<String>,
}

impl From<PolicyRule> for Rule {
    fn from(rule: PolicyRule) -> Self {
        Self {
            api_groups: rule.api_groups.unwrap_or_default(),
            resources: rule.resources.unwrap_or_default(),
            resource_names: rule.resource_names.unwrap_or_default(),
            non_resource_urls: rule.non_resource_urls.unwrap_or_default(),
            verbs: rule.verbs,
        }
    }
}

impl From<&Rule> for PolicyRule {
    fn from(rule: &Rule) -> Self {
        let some = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
        Self {
            api_groups: some(&rule.api_groups),
            resources: some(&rule.resources),
            resource_names: some(&rule.resource_names),
            non_resource_urls: some(&rule.non_resource_urls),
            verbs: rule.verbs.clone(),
        }
    }
}

/// Parses the rules of a Role for one job: permissions, one permission a line, or a YAML list of rules and
/// permissions. An empty text means no rules.
///
/// # Errors
/// If the YAML is not a list, if a rule is wrong or cannot be in a Role, or if no job may get it.
pub(crate) fn parse(option: &str, text: &str) -> Result<Vec<Rule>, Error> {
    let rules = parse_any(option, text)?;
    match rules.iter().find_map(Rule::never_given) {
        Some((what, why)) => Err(Error::input(
            option,
            format!("has `{what}`, which jobs cannot get: {why}"),
            given::INSTEAD,
        )),
        None => Ok(rules),
    }
}

/// Keywords by which jobpass recognises a rule of a GitLab pipeline.
const PIPELINE_KEYWORDS: [&str; 4] = ["if", "changes", "exists", "when"];
const PIPELINE_RULES: &str = "this input holds the permissions of the token. For the rules of the pipeline, give the \
    job that extends `.jobpass` its own `rules`, or use the input `job-rules` of `handover.yml`";

fn parse_any(option: &str, text: &str) -> Result<Vec<Rule>, Error> {
    let wrong = |number: usize, problem: &str, allowed: &str| {
        Error::input(option, format!("is wrong in item {number}: {problem}"), allowed)
    };
    let example = format!(
        "write a rule as in a Role:\n\n{}\n\nor as a permission: {FORMS_IN_ROLE}",
        EXAMPLE
    );
    if !is_yaml_list(text) {
        return parse_all(option, text, FORMS_IN_ROLE, |permission| in_role(&permission));
    }
    let items = serde_yaml::from_str::<Vec<serde_yaml::Value>>(text).map_err(|error| {
        Error::input(
            option,
            format!("is not a YAML list{}", at_line(&error)),
            &*example,
        )
    })?;
    let rule = |(item, number): (&serde_yaml::Value, usize)| {
        if let Some(keyword) = PIPELINE_KEYWORDS
            .iter()
            .find(|keyword| item.get(**keyword).is_some())
        {
            let problem = format!("`{keyword}` belongs to the rules of a GitLab pipeline");
            return Err(wrong(
                number,
                &problem,
                &format!("{PIPELINE_RULES}. For permissions, {example}"),
            ));
        }
        let rule = match item.as_str() {
            Some(text) => Permission::parse(text).and_then(|permission| in_role(&permission)),
            None => serde_yaml::from_value::<Rule>(item.clone())
                .map_err(|error| harmless(&error.to_string()))
                .and_then(Rule::checked),
        };
        rule.map_err(|problem| wrong(number, &problem, &example))
    };
    items.iter().zip(1..).map(rule).collect()
}

const EXAMPLE: &str = "- apiGroups: [\"\"]\n  resources: [\"pods/exec\"]\n  resourceNames: [\"target-pod\"]\n  verbs: [\"create\"]";

fn in_role(permission: &Permission) -> Result<Rule, String> {
    match &permission.what {
        What::Resource {
            place: Place::Own, ..
        } => Ok(permission.into()),
        _ => Err(format!(
            "`{permission}` reaches beyond the namespace, and the Role of a job grants permissions in its \
             own namespace only"
        )),
    }
}

/// A rule in a manifest that people read.
pub(crate) struct Line {
    pub(crate) rule: Rule,
    /// Whether the account lacks this rule today. A comment in the manifest then marks the rule.
    pub(crate) missing: bool,
}

/// The subject of a binding.
pub(crate) enum Grantee<'a> {
    ServiceAccount { namespace: &'a str, name: &'a str },
    User(&'a str),
}

impl Rule {
    /// A rule about resources of one group.
    pub(crate) fn of(group: &str, resources: &[&str], names: &[&str], verbs: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            api_groups: vec![group.to_owned()],
            resources: owned(resources),
            resource_names: owned(names),
            non_resource_urls: Vec::new(),
            verbs: owned(verbs),
        }
    }

    /// The rules of a minter for the tokens of one ServiceAccount.
    pub(crate) fn of_minter(account: &str) -> Vec<Self> {
        vec![
            Self::of("", &["secrets"], &[], &["create", "delete"]),
            Self::of("", &["serviceaccounts/token"], &[account], &["create", MINT]),
        ]
    }

    /// The rules of a minter that creates a ServiceAccount and a Role for each job. They include `given`, the
    /// rules that a job may get, because Kubernetes lets an account grant only permissions that it has.
    pub(crate) fn of_minter_for_jobs(given: &[Self]) -> Vec<Self> {
        let changes = ["create", "delete"];
        let roles = ["roles", "rolebindings"];
        let mut rules = vec![
            Self::of("", &["secrets"], &[], &changes),
            Self::of("", &["serviceaccounts/token"], &[], &["create"]),
            Self::of("", &["serviceaccounts"], &[], &changes),
            Self::of("rbac.authorization.k8s.io", &roles, &[], &changes),
        ];
        rules.extend_from_slice(given);
        rules
    }

    /// Refuses a rule that the API server would refuse in a Role (`pkg/apis/rbac/validation`). Also refuses a
    /// rule with an empty object name, and a rule whose text jobpass does not show.
    fn checked(self) -> Result<Self, String> {
        if !self.non_resource_urls.is_empty() {
            return Err("`nonResourceURLs` cannot be in a Role, because they belong to no namespace".into());
        }
        let needed = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
        ];
        if let Some((name, _)) = needed.into_iter().find(|(_, values)| values.is_empty()) {
            return Err(format!("`{name}` is missing or empty"));
        }
        if self.resource_names.iter().any(String::is_empty) {
            return Err("`resourceNames` has an empty name".into());
        }
        if !self.is_plain() {
            return Err("it has a value that is too long, or characters that jobpass does not show".into());
        }
        Ok(self)
    }

    fn yaml(&self, mark: &str) -> String {
        // JSON is valid YAML, and all its strings have quotes.
        let rows = [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
            ("verbs", &self.verbs),
        ];
        let rows = rows.into_iter().filter(|(_, values)| !values.is_empty());
        let rows = rows.map(|(name, values)| {
            let values = values.iter().map(|value| Value::from(value.as_str()).to_string());
            format!("{name}: [{}]", values.collect::<Vec<_>>().join(", "))
        });
        let mut rows = rows.collect::<Vec<_>>();
        if let Some(first) = rows.first_mut() {
            first.push_str(mark);
        }
        format!("- {}", rows.join("\n  "))
    }
}

/// Makes the rule that grants a permission.
impl From<&Permission> for Rule {
    fn from(permission: &Permission) -> Self {
        let verbs = [&*permission.verb];
        match &permission.what {
            What::Path(path) => Self {
                non_resource_urls: vec![path.clone()],
                verbs: vec![permission.verb.clone()],
                ..Self::default()
            },
            What::Resource {
                group,
                resource,
                subresource,
                name,
                ..
            } => {
                let resource = match &**subresource {
                    "" => resource.clone(),
                    subresource => format!("{resource}/{subresource}"),
                };
                let names = [&**name];
                Self::of(
                    group,
                    &[&resource],
                    if name.is_empty() { &[] } else { &names },
                    &verbs,
                )
            }
        }
    }
}

/// The rules that grant all of these permissions. The `bool` says whether the permission is missing today.
/// Merges rules that differ only in their verbs.
pub(crate) fn lines<'a>(permissions: impl Iterator<Item = (&'a Permission, bool)>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (permission, missing) in permissions {
        let rule = Rule::from(permission);
        let same = lines.iter_mut().find(|line| {
            let verbs = line.rule.verbs.clone();
            line.missing == missing
                && line.rule
                    == Rule {
                        verbs,
                        ..rule.clone()
                    }
        });
        match same {
            Some(line) => line.rule.verbs.extend(rule.verbs),
            None => lines.push(Line { rule, missing }),
        }
    }
    lines
}

/// The namespace of a Role that can grant the permission. `None` if only a ClusterRole can.
pub(crate) fn namespace_of<'a>(permission: &'a Permission, own: &'a str) -> Option<&'a str> {
    match &permission.what {
        What::Resource {
            place: Place::Own, ..
        } => Some(own),
        What::Resource {
            place: Place::Namespace(namespace),
            ..
        } => Some(namespace),
        What::Resource {
            place: Place::Cluster,
            ..
        }
        | What::Path(_) => None,
    }
}

/// A list of rules as YAML.
pub(crate) fn rules_yaml(lines: &[Line]) -> String {
    let rule = |line: &Line| {
        line.rule.yaml(if line.missing {
            "   # this rule is missing"
        } else {
            ""
        })
    };
    lines.iter().map(rule).collect::<Vec<_>>().join("\n")
}

/// A Role and its RoleBinding as YAML, or a ClusterRole and its ClusterRoleBinding.
pub(crate) fn role_yaml(
    name: &str,
    namespace: Option<&str>,
    lines: &[Line],
    grantee: &Grantee<'_>,
) -> String {
    let (prefix, metadata) = match namespace {
        Some(namespace) => (
            "",
            format!("metadata:\n  name: {name}\n  namespace: {namespace}\n"),
        ),
        None => ("Cluster", format!("metadata:\n  name: {name}\n")),
    };
    let subject = match grantee {
        Grantee::ServiceAccount { namespace, name } => {
            format!("- kind: ServiceAccount\n  name: {name}\n  namespace: {namespace}")
        }
        Grantee::User(name) => format!(
            "- kind: User\n  name: {}\n  apiGroup: rbac.authorization.k8s.io",
            Value::from(*name)
        ),
    };
    let rules = rules_yaml(lines);
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {prefix}Role\n{metadata}rules:\n{rules}\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {prefix}RoleBinding\n{metadata}\
         roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {prefix}Role\n  name: {name}\nsubjects:\n{subject}"
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const EXEC: &str = "[{\"apiGroups\":[\"\"],\"resources\":[\"pods/exec\"],\"resourceNames\":[\"target-pod\"],\"verbs\":[\"create\"]}]";

    #[rstest]
    #[case::lines("create pods/exec target-pod")]
    #[case::rules(EXAMPLE)]
    #[case::json(EXEC)]
    #[case::list("- create pods/exec target-pod")]
    fn the_same_rule(#[case] text: &str) {
        let rules = parse("role-rules", text).expect(text);
        assert_eq!(serde_json::to_string(&rules).expect("JSON"), EXEC);
    }

    #[rstest]
    #[case(
        "get pods -n other",
        "line 1: `get pods -n other` reaches beyond the namespace"
    )]
    #[case(
        "# two\nget pods\n\nlist nodes",
        "line 4: `list nodes` reaches beyond the namespace"
    )]
    #[case("get pod", "line 1: `pod` is not a resource: write `pods`")]
    #[case("- get pods\n- get /metrics", "item 2: `get /metrics` reaches beyond")]
    #[case(
        "- {apiGroup: [\"\"], resources: [pods], verbs: [get]}",
        "item 1: unknown field `apiGroup`"
    )]
    #[case(
        "- {resources: [pods], verbs: [get]}",
        "item 1: `apiGroups` is missing or empty"
    )]
    #[case(
        "- {apiGroups: [\"\"], resources: [pods]}",
        "item 1: `verbs` is missing or empty"
    )]
    #[case(
        "- {nonResourceURLs: [/metrics], verbs: [get]}",
        "item 1: `nonResourceURLs` cannot be in a Role"
    )]
    #[case(
        "- {if: $CI_COMMIT_BRANCH}",
        "item 1: `if` belongs to the rules of a GitLab pipeline"
    )]
    #[case("- apiGroups: [", "is not a YAML list")]
    fn what_no_role_can_hold(#[case] text: &str, #[case] why: &str) {
        let error = parse("role-rules", text).expect_err(text).to_string();
        assert!(
            error.starts_with("input `role-rules` is") && error.contains(why),
            "{error}"
        );
        assert!(!error.contains("-A]"), "it offers what it refuses: {error}");
    }

    #[test]
    fn nothing_is_no_rule() {
        assert!(
            parse("role-rules", "[]").expect("nothing").is_empty()
                && parse("role-rules", "").expect("nothing").is_empty()
        );
    }
}
