//! The stored objects, as in etcd.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use serde_json::Value;

/// One kind of objects.
#[derive(Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) name: &'static str,
    pub(super) namespaced: bool,
}

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) static NAMESPACES: Kind = kind("", "namespaces", "Namespace", false);
pub(super) static SERVICE_ACCOUNTS: Kind = kind("", "serviceaccounts", "ServiceAccount", true);
pub(super) static SECRETS: Kind = kind("", "secrets", "Secret", true);
pub(super) static PODS: Kind = kind("", "pods", "Pod", true);
pub(super) static ROLES: Kind = kind(RBAC, "roles", "Role", true);
pub(super) static ROLE_BINDINGS: Kind = kind(RBAC, "rolebindings", "RoleBinding", true);
pub(super) static CLUSTER_ROLES: Kind = kind(RBAC, "clusterroles", "ClusterRole", false);
pub(super) static CLUSTER_ROLE_BINDINGS: Kind =
    kind(RBAC, "clusterrolebindings", "ClusterRoleBinding", false);

/// The kinds that the dev cluster has.
pub(super) static KINDS: [&Kind; 8] = [
    &NAMESPACES,
    &SERVICE_ACCOUNTS,
    &SECRETS,
    &PODS,
    &ROLES,
    &ROLE_BINDINGS,
    &CLUSTER_ROLES,
    &CLUSTER_ROLE_BINDINGS,
];

const fn kind(group: &'static str, plural: &'static str, name: &'static str, namespaced: bool) -> Kind {
    Kind {
        group,
        plural,
        name,
        namespaced,
    }
}

impl Kind {
    pub(super) fn api_version(&self) -> String {
        match self.group {
            "" => "v1".to_owned(),
            group => format!("{group}/v1"),
        }
    }
}

/// The objects in the order of etcd's keys, which is also the order of lists. The store keeps them without
/// `kind` and `apiVersion`, as lists show them.
#[derive(Default)]
pub(super) struct Store {
    objects: HashMap<&'static str, BTreeMap<String, Value>>,
    version: u64,
}

impl Store {
    pub(super) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(kind.plural)?.get(&key(namespace, name))
    }

    /// Stores an object under its name, and gives it a new `resourceVersion`.
    pub(super) fn put(&mut self, kind: &Kind, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let key = key(text(object, "namespace"), text(object, "name"));
        self.objects
            .entry(kind.plural)
            .or_default()
            .insert(key, object.clone());
    }

    pub(super) fn remove(&mut self, kind: &Kind, namespace: &str, name: &str) {
        self.version += 1;
        if let Some(objects) = self.objects.get_mut(kind.plural) {
            objects.remove(&key(namespace, name));
        }
    }

    /// Removes all objects of a namespace.
    pub(super) fn empty(&mut self, namespace: &str) {
        self.version += 1;
        let prefix = key(namespace, "");
        for objects in self.objects.values_mut() {
            objects.retain(|key, _| !key.starts_with(&prefix));
        }
    }

    /// The objects of one kind in a namespace, each with its key. With `after`, only the objects after this
    /// key. An empty namespace means all namespaces.
    pub(super) fn scan<'a>(
        &'a self,
        kind: &Kind,
        namespace: &str,
        after: Option<String>,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        let prefix = match namespace {
            "" => String::new(),
            namespace => key(namespace, ""),
        };
        let start = match after {
            Some(key) => Bound::Excluded(key),
            None => Bound::Included(prefix.clone()),
        };
        self.objects
            .get(kind.plural)
            .into_iter()
            .flat_map(move |objects| objects.range((start.clone(), Bound::Unbounded)))
            .take_while(move |(key, _)| key.starts_with(&prefix))
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

/// The part of etcd's key that follows the kind.
fn key(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        _ => format!("{namespace}/{name}"),
    }
}

/// A string field of the metadata. Empty if the field is missing.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}
