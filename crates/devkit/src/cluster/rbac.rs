//! Authorization by RBAC (`plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::status::{Result, Status};
use super::store::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, RBAC, ROLE_BINDINGS, ROLES, Store, text};
use super::tokens::{MASTERS, User};

/// The attributes of a request that decide its authorization.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes<'a> {
    pub(super) verb: &'a str,
    /// The path of a request that is not about a resource, such as `/version`.
    pub(super) path: Option<&'a str>,
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(super) non_resource_urls: Vec<String>,
}

/// An answer of the authorizer.
pub(super) struct Decision {
    pub(super) allowed: bool,
    pub(super) reason: String,
}

/// The rules that one binding gives to a user.
struct Grant {
    /// The reason, as in `RoleBinding "a/b" of Role "c" to User "d"`.
    text: String,
    rules: Vec<Rule>,
}

/// Refuses a request that the user may not send.
pub(super) fn demand(store: &Store, user: &User, wanted: &Attributes<'_>) -> Result<()> {
    let decision = authorize(store, user, wanted);
    if decision.allowed {
        return Ok(());
    }
    let Attributes { verb, group, .. } = wanted;
    let name = &user.name;
    if let Some(path) = wanted.path {
        let why = format!("User \"{name}\" cannot {verb} path \"{path}\"");
        return Err(Status::forbidden("", "", "", &why));
    }
    let place = match wanted.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let mut why = format!(
        "User \"{name}\" cannot {verb} resource \"{}\" in API group \"{group}\" {place}",
        wanted.qualified()
    );
    if !decision.reason.is_empty() {
        why.push_str(&format!(": {}", decision.reason));
    }
    Err(Status::forbidden(group, wanted.resource, wanted.name, &why))
}

pub(super) fn authorize(store: &Store, user: &User, wanted: &Attributes<'_>) -> Decision {
    if user.is_master() {
        return Decision {
            allowed: true,
            reason: String::new(),
        };
    }
    let (grants, errors) = grants(store, user, wanted.namespace);
    let grant = grants
        .iter()
        .find(|grant| grant.rules.iter().any(|rule| rule.allows(wanted)));
    let reason = match (grant, together(&errors)) {
        (Some(grant), _) => format!("RBAC: allowed by {}", grant.text),
        (None, None) => String::new(),
        (None, Some(errors)) => format!("rbac: RBAC: {errors}"),
    };
    Decision {
        allowed: grant.is_some(),
        reason,
    }
}

/// All rules of a user in a namespace, and one error text about all bindings whose role is missing.
pub(super) fn rules(store: &Store, user: &User, namespace: &str) -> (Vec<Rule>, Option<String>) {
    let (grants, errors) = grants(store, user, namespace);
    let rules = grants.into_iter().flat_map(|grant| grant.rules).collect();
    (rules, together(&errors))
}

/// Joins errors like `k8s.io/apimachinery/pkg/util/errors.NewAggregate`.
fn together(errors: &[String]) -> Option<String> {
    match errors {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

/// The grants of a user, and an error for each binding whose role is missing. The bindings of the whole
/// cluster come first, then those of the namespace.
fn grants(store: &Store, user: &User, namespace: &str) -> (Vec<Grant>, Vec<String>) {
    let mut grants = Vec::new();
    let mut errors = Vec::new();
    let of_cluster = store.scan(&CLUSTER_ROLE_BINDINGS, "", None);
    let of_namespace = store
        .scan(&ROLE_BINDINGS, namespace, None)
        .filter(|_| !namespace.is_empty());
    for (_, binding) in of_cluster.chain(of_namespace) {
        let Some(subject) = subject(binding, user) else {
            continue;
        };
        let role = &binding["roleRef"];
        let kind = if text(binding, "namespace").is_empty() {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        };
        match role_rules(store, role, namespace) {
            Ok(rules) => grants.push(Grant {
                text: format!(
                    "{kind} \"{}\" of {} {} to {subject}",
                    qualified(text(binding, "name"), text(binding, "namespace")),
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

/// The rules of the role that a binding refers to.
fn role_rules(store: &Store, role: &Value, namespace: &str) -> std::result::Result<Vec<Rule>, String> {
    let name = role["name"].as_str().unwrap_or_default();
    let (found, kind) = match role["kind"].as_str() {
        Some("Role") => (store.get(&ROLES, namespace, name), "role"),
        _ => (store.get(&CLUSTER_ROLES, "", name), "clusterrole"),
    };
    let role = found.ok_or_else(|| format!("{kind}.{RBAC} \"{name}\" not found"))?;
    Ok(serde_json::from_value(role["rules"].clone()).unwrap_or_default())
}

/// The first subject of a binding that names this user or one of the user's groups, as Kubernetes writes it
/// in a reason.
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
                let namespace = subject["namespace"].as_str()?;
                (user.name == format!("system:serviceaccount:{namespace}:{name}"))
                    .then(|| format!("ServiceAccount \"{name}/{namespace}\""))
            }
            _ => None,
        }
    })
}

impl Attributes<'_> {
    /// The resource, with its subresource.
    fn qualified(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

impl Rule {
    fn allows(&self, wanted: &Attributes<'_>) -> bool {
        let has =
            |values: &[String], wanted: &str| values.iter().any(|value| value == "*" || value == wanted);
        if !has(&self.verbs, wanted.verb) {
            return false;
        }
        if let Some(path) = wanted.path {
            return self.non_resource_urls.iter().any(|url| {
                url == path
                    || url
                        .strip_suffix('*')
                        .is_some_and(|prefix| path.starts_with(prefix))
            });
        }
        let of_any = format!("*/{}", wanted.subresource);
        has(&self.api_groups, wanted.group)
            && (has(&self.resources, &wanted.qualified())
                || !wanted.subresource.is_empty() && self.resources.contains(&of_any))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == wanted.name))
    }
}

fn qualified(name: &str, namespace: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        namespace => format!("{name}/{namespace}"),
    }
}

/// Adds those of Kubernetes' default roles and bindings that apply to ServiceAccounts and to the
/// administrator (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`).
pub(super) fn create_defaults(store: &mut Store) {
    const EVERYBODY: &str = "system:authenticated";
    const ACCOUNTS: &str = "system:serviceaccounts";
    let urls = |urls: &[&str]| json!([{"nonResourceURLs": urls, "verbs": ["get"]}]);
    for (name, group, rules) in [
        (
            "cluster-admin",
            MASTERS,
            json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]),
        ),
        (
            "system:basic-user",
            EVERYBODY,
            json!([
                {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
                {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
            ]),
        ),
        (
            "system:discovery",
            EVERYBODY,
            urls(&[
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
            ]),
        ),
        (
            "system:public-info-viewer",
            EVERYBODY,
            urls(&["/healthz", "/livez", "/readyz", "/version", "/version/"]),
        ),
        (
            "system:cluster-trust-bundle-discovery",
            ACCOUNTS,
            json!([{"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["get", "list", "watch"]}]),
        ),
        (
            "system:service-account-issuer-discovery",
            ACCOUNTS,
            urls(&[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ]),
        ),
    ] {
        let subjects = json!([{"kind": "Group", "apiGroup": RBAC, "name": group}]);
        let mut role = json!({"metadata": {"name": name}, "rules": rules});
        store.put(&CLUSTER_ROLES, &mut role);
        let role_ref = json!({"apiGroup": RBAC, "kind": "ClusterRole", "name": name});
        let mut binding = json!({"metadata": {"name": name}, "roleRef": role_ref, "subjects": subjects});
        store.put(&CLUSTER_ROLE_BINDINGS, &mut binding);
    }
}
