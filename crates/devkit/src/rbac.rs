//! Who may do what: `plugin/pkg/auth/authorizer/rbac` and `pkg/registry/rbac/validation`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::authn::User;
use crate::resources::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use crate::store::{Store, text};

/// What a request wants, as far as authorization looks at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    /// Only for what is no resource, such as `/version`.
    pub(crate) path: Option<String>,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    pub(crate) reason: String,
}

/// The rules that one binding gives to a user.
struct Grant {
    /// As in `RoleBinding "a/b" of Role "c" to User "d"`.
    text: String,
    rules: Vec<Rule>,
}

pub(crate) fn authorize(store: &Store, user: &User, attributes: &Attributes) -> Decision {
    // `--authorization-always-allow-paths` and the privileged group come before RBAC and give no reason.
    let always = matches!(
        attributes.path.as_deref(),
        Some("/healthz" | "/livez" | "/readyz")
    );
    if always && attributes.verb == "get" && user.name == "system:anonymous" || user.is_master() {
        return Decision {
            allowed: true,
            reason: String::new(),
        };
    }
    let (grants, errors) = grants(store, user, &attributes.namespace);
    if let Some(grant) = grants
        .iter()
        .find(|grant| grant.rules.iter().any(|rule| rule.allows(attributes)))
    {
        return Decision {
            allowed: true,
            reason: format!("RBAC: allowed by {}", grant.text),
        };
    }
    let reason = match &errors[..] {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    };
    Decision {
        allowed: false,
        reason,
    }
}

/// All rules that hold for a user in a namespace, cluster-wide ones first, and what could not be resolved.
pub(crate) fn rules(store: &Store, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
    let (grants, errors) = grants(store, user, namespace);
    (grants.into_iter().flat_map(|grant| grant.rules).collect(), errors)
}

/// The rules of the role that a binding refers to.
pub(crate) fn role_rules(store: &Store, role_ref: &Value, namespace: &str) -> Result<Vec<Rule>, String> {
    let name = role_ref["name"].as_str().unwrap_or_default();
    let (role, kind) = match role_ref["kind"].as_str() {
        Some("Role") => (store.get(&ROLES, namespace, name), "role"),
        _ => (store.get(&CLUSTER_ROLES, "", name), "clusterrole"),
    };
    let role = role.ok_or_else(|| format!("{kind}.rbac.authorization.k8s.io \"{name}\" not found"))?;
    Ok(parse_rules(role))
}

pub(crate) fn parse_rules(role: &Value) -> Vec<Rule> {
    serde_json::from_value(role["rules"].clone()).unwrap_or_default()
}

/// Refuses to let `user` give away `wanted` without having it: `ConfirmNoEscalation`.
pub(crate) fn confirm_no_escalation(
    store: &Store,
    user: &User,
    namespace: &str,
    wanted: &[Rule],
) -> Result<(), String> {
    let (held, errors) = rules(store, user, namespace);
    let missing: Vec<Rule> = wanted
        .iter()
        .flat_map(Rule::break_down)
        .filter(|rule| !held.iter().any(|held| held.covers(rule)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut texts: Vec<String> = compact(missing).iter().map(Rule::describe).collect();
    texts.sort();
    texts.dedup();
    let mut why = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        Value::from(user.name.as_str()),
        quoted(&user.groups),
        texts.join("\n"),
    );
    if !errors.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", errors.join(", ")));
    }
    Err(why)
}

fn grants(store: &Store, user: &User, namespace: &str) -> (Vec<Grant>, Vec<String>) {
    let mut grants = Vec::new();
    let mut errors = Vec::new();
    let cluster_wide = store
        .scan(&CLUSTER_ROLE_BINDINGS, None, None)
        .map(|(_, binding)| ("ClusterRoleBinding", binding));
    let namespaced = store
        .scan(&ROLE_BINDINGS, Some(namespace), None)
        .take_while(|_| !namespace.is_empty())
        .map(|(_, binding)| ("RoleBinding", binding));
    for (kind, binding) in cluster_wide.chain(namespaced) {
        let Some(subject) = subject(binding, user) else {
            continue;
        };
        let role = &binding["roleRef"];
        let name = match text(binding, "namespace") {
            "" => text(binding, "name").to_owned(),
            namespace => format!("{}/{namespace}", text(binding, "name")),
        };
        match role_rules(store, role, namespace) {
            Ok(rules) => grants.push(Grant {
                text: format!(
                    "{kind} \"{name}\" of {} {} to {subject}",
                    role["kind"].as_str().unwrap_or_default(),
                    role["name"],
                ),
                rules,
            }),
            Err(error) => errors.push(error),
        }
    }
    (grants, errors)
}

/// The first subject of a binding that means this user.
fn subject(binding: &Value, user: &User) -> Option<String> {
    binding["subjects"].as_array()?.iter().find_map(|subject| {
        let name = subject["name"].as_str()?;
        match subject["kind"].as_str()? {
            "User" => (name == user.name).then(|| format!("User \"{name}\"")),
            "Group" => user
                .groups
                .iter()
                .any(|group| group == name)
                .then(|| format!("Group \"{name}\"")),
            "ServiceAccount" => {
                let namespace = subject["namespace"]
                    .as_str()
                    .unwrap_or_else(|| text(binding, "namespace"));
                (user.name == format!("system:serviceaccount:{namespace}:{name}"))
                    .then(|| format!("ServiceAccount \"{name}/{namespace}\""))
            }
            _ => None,
        }
    })
}

impl Rule {
    fn allows(&self, wanted: &Attributes) -> bool {
        if !has(&self.verbs, &wanted.verb) {
            return false;
        }
        if let Some(path) = &wanted.path {
            return self.non_resource_urls.iter().any(|url| url_covers(url, path));
        }
        let resource = match wanted.subresource.as_str() {
            "" => wanted.resource.clone(),
            subresource => format!("{}/{subresource}", wanted.resource),
        };
        has(&self.api_groups, &wanted.group)
            && self.resources.iter().any(|held| resource_covers(held, &resource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&wanted.name))
    }

    /// `ruleCovers` of `k8s.io/component-helpers/auth/rbac/validation`.
    fn covers(&self, other: &Rule) -> bool {
        other.verbs.iter().all(|verb| has(&self.verbs, verb))
            && other.api_groups.iter().all(|group| has(&self.api_groups, group))
            && other
                .resources
                .iter()
                .all(|wanted| self.resources.iter().any(|held| resource_covers(held, wanted)))
            && other
                .non_resource_urls
                .iter()
                .all(|wanted| self.non_resource_urls.iter().any(|held| url_covers(held, wanted)))
            && (self.resource_names.is_empty()
                || !other.resource_names.is_empty()
                    && other
                        .resource_names
                        .iter()
                        .all(|name| self.resource_names.contains(name)))
    }

    /// Into rules of one verb and one thing each.
    fn break_down(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for verb in &self.verbs {
            let verbs = vec![verb.clone()];
            for (group, resource) in self
                .api_groups
                .iter()
                .flat_map(|group| self.resources.iter().map(move |resource| (group, resource)))
            {
                let rule = Rule {
                    verbs: verbs.clone(),
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..Rule::default()
                };
                if self.resource_names.is_empty() {
                    rules.push(rule);
                } else {
                    rules.extend(self.resource_names.iter().map(|name| Rule {
                        resource_names: vec![name.clone()],
                        ..rule.clone()
                    }));
                }
            }
            rules.extend(self.non_resource_urls.iter().map(|url| Rule {
                verbs: verbs.clone(),
                non_resource_urls: vec![url.clone()],
                ..Rule::default()
            }));
        }
        rules
    }

    /// `CompactString` in pkg/apis/rbac/v1.
    fn describe(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| format!("{name}:{}", quoted(values)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// Joins rules that differ in their verbs only.
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut compacted: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = compacted.iter_mut().find(|other| {
            rule.non_resource_urls.is_empty()
                && Rule {
                    verbs: rule.verbs.clone(),
                    ..(**other).clone()
                } == rule
        });
        match same {
            Some(other) => other.verbs.extend(rule.verbs),
            None => compacted.push(rule),
        }
    }
    compacted
}

fn has(values: &[String], wanted: &str) -> bool {
    values.iter().any(|value| value == "*" || value == wanted)
}

fn resource_covers(held: &str, wanted: &str) -> bool {
    held == "*"
        || held == wanted
        || held
            .strip_prefix("*/")
            .is_some_and(|held| wanted.split_once('/').is_some_and(|(_, wanted)| held == wanted))
}

fn url_covers(held: &str, wanted: &str) -> bool {
    held == wanted
        || held
            .strip_suffix('*')
            .is_some_and(|prefix| wanted.starts_with(prefix))
}

/// Go's `%q` of a slice.
pub(crate) fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|value| Value::from(value.as_str()).to_string())
        .collect();
    format!("[{}]", values.join(" "))
}
