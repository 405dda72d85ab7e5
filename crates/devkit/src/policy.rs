//! The roles with which a cluster starts.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::rbac::Rule;
use crate::resources::Version;

#[derive(Deserialize)]
struct Entry {
    role: String,
    #[serde(default)]
    groups: Vec<String>,
    rules: Vec<Rule>,
    /// Roles whose rules this one has too. Real clusters aggregate by label.
    #[serde(default)]
    includes: Vec<String>,
}

/// ClusterRoles and their bindings.
pub(crate) fn objects(version: Version) -> Vec<Value> {
    let entries: Vec<Entry> =
        serde_yaml::from_str(include_str!("policy.yaml")).expect("policy.yaml is as above");
    let mut objects = Vec::new();
    for entry in &entries {
        let parts = entries
            .iter()
            .filter(|part| part.role == entry.role || entry.includes.contains(&part.role));
        let mut rules: Vec<Rule> = parts.flat_map(|part| &part.rules).cloned().collect();
        if version < Version::V1_36 && entry.role == "system:service-account-issuer-discovery" {
            for rule in &mut rules {
                rule.non_resource_urls.retain(|url| !url.ends_with('/'));
            }
        }
        let metadata = json!({
            "name": entry.role,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        });
        let api = "rbac.authorization.k8s.io";
        objects.push(json!({
            "kind": "ClusterRole",
            "apiVersion": format!("{api}/v1"),
            "metadata": metadata,
            "rules": rules,
        }));
        if !entry.groups.is_empty() {
            let subjects: Vec<Value> = entry
                .groups
                .iter()
                .map(|group| json!({"kind": "Group", "apiGroup": api, "name": group}))
                .collect();
            objects.push(json!({
                "kind": "ClusterRoleBinding",
                "apiVersion": format!("{api}/v1"),
                "metadata": metadata,
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": entry.role},
                "subjects": subjects,
            }));
        }
    }
    objects
}
