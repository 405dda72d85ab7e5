//! What etcd holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde_json::Value;

use crate::resources::Resource;

/// Namespace (empty for what belongs to none) and name.
pub(crate) type Key = (String, String);

/// Where an object is: the plural of its resource, and its key there.
type Place = (&'static str, Key);

/// In the order of etcd's keys, in which lists are. Objects are kept without `kind` and `apiVersion`: lists show them so, and their place says both.
#[derive(Default)]
pub(crate) struct Store {
    objects: HashMap<&'static str, BTreeMap<String, Value>>,
    by_uid: HashMap<String, Place>,
    by_owner: HashMap<String, BTreeSet<Place>>,
    version: u64,
}

impl Store {
    pub(crate) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(resource.plural)?.get(&path(namespace, name))
    }

    /// Puts `object` where its metadata says, in place of what was there, and gives it a new `resourceVersion`.
    pub(crate) fn put(&mut self, resource: &'static Resource, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let place = (resource.plural, key(&object));
        self.unindex(&place);
        for owner in owners(&object) {
            self.by_owner.entry(owner).or_default().insert(place.clone());
        }
        self.by_uid.insert(text(&object, "uid").to_owned(), place.clone());
        self.objects
            .entry(place.0)
            .or_default()
            .insert(path(&place.1.0, &place.1.1), object.clone());
        object
    }

    pub(crate) fn remove(&mut self, resource: &Resource, key: &Key) -> Option<Value> {
        let place = (resource.plural, key.clone());
        self.unindex(&place);
        self.version += 1;
        self.objects.get_mut(place.0)?.remove(&path(&key.0, &key.1))
    }

    /// The objects of a namespace, or of all, with their paths, from behind the path `after` on.
    pub(crate) fn scan<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<String>,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        let prefix = namespace.map_or_else(String::new, |namespace| format!("{namespace}/"));
        let start = match after {
            Some(path) => Bound::Excluded(path),
            None => Bound::Included(prefix.clone()),
        };
        self.objects
            .get(resource.plural)
            .into_iter()
            .flat_map(move |objects| objects.range((start.clone(), Bound::Unbounded)))
            .take_while(move |(path, _)| path.starts_with(&prefix))
    }

    pub(crate) fn has_uid(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Place> {
        self.by_owner.get(uid).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    fn unindex(&mut self, place: &Place) {
        let Some(old) = self
            .objects
            .get(place.0)
            .and_then(|objects| objects.get(&path(&place.1.0, &place.1.1)))
        else {
            return;
        };
        self.by_uid.remove(text(old, "uid"));
        for owner in owners(old) {
            if let Some(places) = self.by_owner.get_mut(&owner) {
                places.remove(place);
                if places.is_empty() {
                    self.by_owner.remove(&owner);
                }
            }
        }
    }
}

/// What follows the resource in etcd's key.
fn path(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        _ => format!("{namespace}/{name}"),
    }
}

pub(crate) fn key(object: &Value) -> Key {
    (
        text(object, "namespace").to_owned(),
        text(object, "name").to_owned(),
    )
}

/// A text field of the metadata, empty when it is not there.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The uids of the owners.
pub(crate) fn owners(object: &Value) -> Vec<String> {
    let references = object["metadata"]["ownerReferences"].as_array();
    references
        .into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
        .map(str::to_owned)
        .collect()
}
