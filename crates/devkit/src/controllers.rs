//! What a cluster does by itself: garbage collection, the ends of namespaces, legacy tokens.
//!
//! In a real cluster this takes some milliseconds; here it has happened when the answer arrives. The answer shows the
//! object as it was before, as in a real cluster.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::cluster::{Cluster, State};
use crate::jwt::{self, SigningKey};
use crate::random;
use crate::resources::{NAMESPACES, RESOURCES, Resource, SECRETS, SERVICE_ACCOUNTS};
use crate::store::{self, owners, text};
use crate::validate::{ACCOUNT_NAME, ACCOUNT_UID, LEGACY_TOKEN};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";

/// Takes an object out of the store, or marks it as deleted if finalizers hold it, and returns it then.
pub(crate) fn remove(
    state: &mut State,
    resource: &'static Resource,
    object: &Value,
    propagation: &str,
    now: &str,
) -> Option<Value> {
    let mut object = object.clone();
    let metadata = &mut object["metadata"];
    let finalizer = match propagation {
        "Foreground" => Some(FOREGROUND),
        "Orphan" => Some(ORPHAN),
        _ => None,
    };
    if let Some(finalizer) = finalizer {
        let mut finalizers = metadata["finalizers"].as_array().cloned().unwrap_or_default();
        if !finalizers.contains(&json!(finalizer)) {
            finalizers.push(finalizer.into());
        }
        metadata["finalizers"] = finalizers.into();
    }
    if metadata["finalizers"].is_null() && resource != &NAMESPACES {
        state.store.remove(resource, &store::key(&object));
        return None;
    }
    if metadata["deletionTimestamp"].is_null() {
        metadata["deletionTimestamp"] = now.into();
        if resource == &NAMESPACES {
            object["status"]["phase"] = "Terminating".into();
        } else {
            metadata["deletionGracePeriodSeconds"] = 0.into();
        }
    }
    Some(state.store.put(resource, object))
}

/// Follows up a new object.
pub(crate) fn created(cluster: &Cluster, state: &mut State, resource: &'static Resource, object: &Value) {
    if resource == &NAMESPACES {
        let account = json!({"metadata": {
            "name": "default",
            "namespace": text(object, "name"),
            "uid": random::uid(),
            "creationTimestamp": text(object, "creationTimestamp"),
        }});
        state.store.put(&SERVICE_ACCOUNTS, account);
    }
    if resource == &SECRETS && object["type"] == LEGACY_TOKEN {
        fill_legacy_token(cluster, state, object.clone());
    }
    let owners = owners(object);
    if !owners.is_empty() && !owners.iter().any(|owner| state.store.has_uid(owner)) {
        state.store.remove(resource, &store::key(object));
    }
}

/// Follows up the deletion of an object, done or only asked for.
pub(crate) fn deleted(state: &mut State, resource: &'static Resource, object: &Value) {
    let (namespace, name) = store::key(object);
    if let Some(marked) = state.store.get(resource, &namespace, &name).cloned() {
        if resource == &NAMESPACES {
            state.store.remove(resource, &(namespace, name.clone()));
            empty_namespace(state, &name);
            return;
        }
        let finalizers = marked["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if finalizers.contains(&json!(ORPHAN)) {
            release(state, text(&marked, "uid"));
        }
        let left: Vec<Value> = finalizers
            .into_iter()
            .filter(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN)
            .collect();
        if left.is_empty() {
            state.store.remove(resource, &store::key(&marked));
        } else {
            let mut marked = marked;
            marked["metadata"]["finalizers"] = left.into();
            state.store.put(resource, marked);
            return;
        }
    }
    if resource == &SERVICE_ACCOUNTS {
        let tokens: Vec<Value> = state
            .store
            .scan(&SECRETS, Some(&namespace), None)
            .map(|(_, secret)| secret)
            .filter(|secret| {
                secret["type"] == LEGACY_TOKEN && secret["metadata"]["annotations"][ACCOUNT_NAME] == name
            })
            .cloned()
            .collect();
        for token in tokens {
            state.store.remove(&SECRETS, &store::key(&token));
        }
    }
    collect(state, text(object, "uid"));
}

/// Notes the day on which a legacy token was used: `legacyTokenLastUsed` in pkg/serviceaccount/legacy.go.
pub(crate) fn used(state: &mut State, token: &str, now: i64) {
    let Some(claims) = jwt::claims(token) else { return };
    let claim = |name: &str| claims[format!("kubernetes.io/serviceaccount/{name}")].as_str();
    let (Some(namespace), Some(name)) = (claim("namespace"), claim("secret.name")) else {
        return;
    };
    let Some(mut secret) = state.store.get(&SECRETS, namespace, name).cloned() else {
        return;
    };
    let today = &rfc3339(now)[..10];
    if secret["metadata"]["labels"][LAST_USED] != today {
        secret["metadata"]["labels"][LAST_USED] = today.into();
        state.store.put(&SECRETS, secret);
    }
}

/// Deletes what has no other owner left, and what that owned.
fn collect(state: &mut State, uid: &str) {
    let mut gone = vec![uid.to_owned()];
    while let Some(uid) = gone.pop() {
        for (plural, (namespace, name)) in state.store.owned_by(&uid) {
            let Some(resource) = RESOURCES.iter().find(|resource| resource.plural == plural) else {
                continue;
            };
            let Some(object) = state.store.get(resource, &namespace, &name).cloned() else {
                continue;
            };
            if owners(&object).iter().any(|owner| state.store.has_uid(owner)) {
                continue;
            }
            state.store.remove(resource, &(namespace, name));
            gone.push(text(&object, "uid").to_owned());
        }
    }
}

/// Takes the owner out of everything that it owned.
fn release(state: &mut State, uid: &str) {
    for (plural, (namespace, name)) in state.store.owned_by(uid) {
        let Some(resource) = RESOURCES.iter().find(|resource| resource.plural == plural) else {
            continue;
        };
        let Some(mut object) = state.store.get(resource, &namespace, &name).cloned() else {
            continue;
        };
        if let Some(references) = object["metadata"]["ownerReferences"].as_array_mut() {
            references.retain(|reference| reference["uid"] != uid);
        }
        state.store.put(resource, object);
    }
}

fn empty_namespace(state: &mut State, namespace: &str) {
    for resource in RESOURCES.iter().filter(|resource| resource.is_namespaced()) {
        let objects: Vec<Value> = state
            .store
            .scan(resource, Some(namespace), None)
            .map(|(_, object)| object)
            .cloned()
            .collect();
        for object in objects {
            state.store.remove(resource, &store::key(&object));
            collect(state, text(&object, "uid"));
        }
    }
}

/// The token controller: fills a Secret of the legacy type, or deletes it when its ServiceAccount does not exist.
fn fill_legacy_token(cluster: &Cluster, state: &mut State, mut secret: Value) {
    let (namespace, name) = store::key(&secret);
    let annotations = &secret["metadata"]["annotations"];
    let account = annotations[ACCOUNT_NAME].as_str().unwrap_or_default().to_owned();
    let uid = state
        .store
        .get(&SERVICE_ACCOUNTS, &namespace, &account)
        .map(|account| text(account, "uid").to_owned());
    let Some(uid) = uid.filter(|uid| {
        annotations[ACCOUNT_UID]
            .as_str()
            .is_none_or(|wanted| wanted == uid)
    }) else {
        state.store.remove(&SECRETS, &(namespace, name));
        return;
    };
    let claims = json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": name,
        "kubernetes.io/serviceaccount/service-account.name": account,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
    });
    let token = SigningKey::shared().sign(&claims);
    for (key, value) in [
        ("token", &token),
        ("namespace", &namespace),
        ("ca.crt", &cluster.ca_pem),
    ] {
        secret["data"][key] = STANDARD.encode(value).into();
    }
    secret["metadata"]["annotations"][ACCOUNT_UID] = uid.into();
    state.store.put(&SECRETS, secret);
}
