//! What is kept: `k8s.io/apiserver/pkg/registry/generic/registry/store.go`.

use serde_json::{Value, json};

use super::admission::Change;
use super::{Answer, Call, stamp, typed};
use crate::controllers;
use crate::decode;
use crate::resources::{Resource, Use};
use crate::status::{Result, Status};
use crate::store::{self, text};
use crate::validate;

/// What a client says about a deletion, in the body or in the query.
#[derive(Default)]
struct DeleteOptions {
    uid: Option<String>,
    resource_version: Option<String>,
    propagation: String,
    dry_run: bool,
    /// As the object that admission sees.
    as_asked: Value,
}

impl Call<'_> {
    pub(super) fn object(&mut self, resource: &'static Resource) -> Result<Answer> {
        let in_namespace = resource.is_namespaced() && !self.target.namespace.is_empty();
        match self.target.verb.as_str() {
            "list" => self.list(resource),
            "deletecollection" if in_namespace || !resource.is_namespaced() => {
                self.delete_collection(resource)
            }
            verb if resource.is_namespaced() && !in_namespace && verb != "create" => {
                Err(Status::unknown_resource())
            }
            "create" if in_namespace || !resource.is_namespaced() => self.create(resource),
            "get" => {
                let found = self
                    .state
                    .find(resource, self.namespace(resource), &self.target.name)?
                    .clone();
                Ok(self.show(resource, 200, found))
            }
            "update" => {
                let object = self.decode(resource)?;
                self.update(resource, object)
            }
            "patch" => self.patch(resource),
            "delete" => self.delete(resource),
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn create(&mut self, resource: &'static Resource) -> Result<Answer> {
        let mut object = self.decode(resource)?;
        let namespace = self.namespace(resource).to_owned();
        match text(&object, "namespace") {
            "" => {}
            given if given == namespace => {}
            _ => return Err(other_namespace()),
        }
        self.check_namespace(resource)?;
        stamp(&mut object, &namespace, &self.now());
        validate::set_defaults(resource, &mut object)?;
        validate::validate(resource, &object, None, self.cluster.version)?;
        self.admit(resource, &object)?;
        let name = text(&object, "name").to_owned();
        self.ask_policies(resource, resource, &name, &Change::Create(&object))?;
        if self.state.store.get(resource, &namespace, &name).is_some() {
            return Err(Status::already_exists(resource, &name));
        }
        if self.dry_run() {
            return Ok(self.show(resource, 201, object));
        }
        let object = self.state.store.put(resource, object);
        if self.cluster.controllers {
            controllers::created(self.cluster, self.state, resource, &object);
        }
        Ok(self.show(resource, 201, object))
    }

    fn update(&mut self, resource: &'static Resource, mut object: Value) -> Result<Answer> {
        let (namespace, name) = (self.namespace(resource).to_owned(), self.target.name.clone());
        let given = text(&object, "name");
        if given != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        if !matches!(text(&object, "namespace"), given if given.is_empty() || given == namespace) {
            return Err(other_namespace());
        }
        let old = self.state.find(resource, &namespace, &name)?.clone();
        let refuse = |why: &str| Err(Status::conflict(resource.group, resource.plural, &name, why));
        let (given, found) = (text(&object, "uid"), text(&old, "uid"));
        if !given.is_empty() && given != found {
            return refuse(&format!(
                "Precondition failed: UID in precondition: {given}, UID in object meta: {found}"
            ));
        }
        let given = text(&object, "resourceVersion");
        if !given.is_empty() && given != text(&old, "resourceVersion") {
            return refuse(
                "the object has been modified; please apply your changes to the latest version and try again",
            );
        }
        for field in [
            "uid",
            "namespace",
            "generateName",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            match old["metadata"].get(field) {
                Some(value) => object["metadata"][field] = value.clone(),
                None => drop(
                    object["metadata"]
                        .as_object_mut()
                        .and_then(|metadata| metadata.remove(field)),
                ),
            }
        }
        if let Some(generation) = old["metadata"]["generation"].as_i64() {
            let changed = i64::from(object["spec"] != old["spec"]);
            object["metadata"]["generation"] = (generation + changed).into();
        }
        let status = old["status"].clone();
        validate::set_defaults(resource, &mut object)?;
        if !status.is_null() {
            object["status"] = status;
        }
        validate::validate(resource, &object, Some(&old), self.cluster.version)?;
        self.admit(resource, &object)?;
        let change = Change::Update {
            old: &old,
            new: &object,
        };
        self.ask_policies(resource, resource, &name, &change)?;
        if self.dry_run() {
            return Ok(self.show(resource, 200, object));
        }
        let object = self.state.store.put(resource, object);
        // The last finalizer gone, nothing keeps an object that was deleted.
        if object["metadata"]["deletionTimestamp"].is_string() && object["metadata"]["finalizers"].is_null() {
            self.state.store.remove(resource, &store::key(&object));
            if self.cluster.controllers {
                controllers::deleted(self.state, resource, &object);
            }
        }
        Ok(self.show(resource, 200, object))
    }

    fn patch(&mut self, resource: &'static Resource) -> Result<Answer> {
        // A strategic merge differs in how it joins lists; no list here has a merge key that jobpass patches.
        let known = [
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ];
        if !known.contains(&self.request.content_type.as_str()) {
            return Err(Status::unsupported_media_type());
        }
        let patch: Value = serde_json::from_slice(&self.request.body).map_err(|error| {
            Status::bad_request(format!(
                "error decoding patch: {}",
                decode::go_error(&error, &self.request.body)
            ))
        })?;
        let mut object = self
            .state
            .find(resource, self.namespace(resource), &self.target.name)?
            .clone();
        merge(&mut object, &patch);
        let validation = self.field_validation();
        let object = decode::normalize(resource, object, validation, &mut self.warnings)?;
        self.update(resource, object)
    }

    fn delete(&mut self, resource: &'static Resource) -> Result<Answer> {
        let options = self.delete_options()?;
        let (namespace, name) = (self.namespace(resource).to_owned(), self.target.name.clone());
        let object = self.state.find(resource, &namespace, &name)?.clone();
        let refuse = |what: &str, given: &str, found: &str, happened: &str| {
            let why = format!(
                "the {what} in the precondition ({given}) does not match the {what} in record ({found}). The object \
                 might have been {happened}"
            );
            Err(Status::conflict(resource.group, resource.kind, &name, &why))
        };
        match (&options.uid, text(&object, "uid")) {
            (Some(given), found) if given != found => {
                return refuse("UID", given, found, "deleted and then recreated");
            }
            _ => {}
        }
        match (&options.resource_version, text(&object, "resourceVersion")) {
            (Some(given), found) if given != found => {
                return refuse("ResourceVersion", given, found, "modified");
            }
            _ => {}
        }
        let change = Change::Delete(&object, options.as_asked.clone());
        self.ask_policies(resource, resource, &name, &change)?;
        let marked = if options.dry_run {
            None
        } else {
            self.remove(resource, &object, &options.propagation)
        };
        if let Some(marked) = marked {
            return Ok(self.show(resource, 200, marked));
        }
        if resource.use_ == Use::StoredAndReturned {
            return Ok(self.show(resource, 200, object));
        }
        let mut details = json!({"name": name, "kind": resource.plural, "uid": text(&object, "uid")});
        if !resource.group.is_empty() {
            details["group"] = resource.group.into();
        }
        Ok(Answer::json(
            200,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
        ))
    }

    fn delete_collection(&mut self, resource: &'static Resource) -> Result<Answer> {
        let options = self.delete_options()?;
        let selector = self.selector(resource)?;
        let namespace = self.namespace(resource).to_owned();
        let doomed: Vec<Value> = self
            .state
            .store
            .scan(resource, Some(&namespace), None)
            .map(|(_, object)| object)
            .filter(|object| selector.matches(object))
            .cloned()
            .collect();
        for object in &doomed {
            let change = Change::Delete(object, options.as_asked.clone());
            self.ask_policies(resource, resource, text(object, "name"), &change)?;
            if !options.dry_run {
                self.remove(resource, object, &options.propagation);
            }
        }
        let metadata = json!({"resourceVersion": self.state.store.version().to_string()});
        Ok(self.show_list(resource, metadata, doomed))
    }

    /// Deletes an object, or marks it as deleted if something has to happen first, and returns it then.
    fn remove(&mut self, resource: &'static Resource, object: &Value, propagation: &str) -> Option<Value> {
        let now = self.now();
        let marked = controllers::remove(self.state, resource, object, propagation, &now);
        if self.cluster.controllers {
            controllers::deleted(self.state, resource, object);
        }
        marked
    }

    fn delete_options(&self) -> Result<DeleteOptions> {
        let mut options = DeleteOptions {
            propagation: self.request.parameter("propagationPolicy").to_owned(),
            dry_run: self.dry_run(),
            as_asked: json!({"kind": "DeleteOptions"}),
            ..DeleteOptions::default()
        };
        if self.request.body.is_empty() {
            if !options.propagation.is_empty() {
                options.as_asked["propagationPolicy"] = options.propagation.as_str().into();
            }
            return Ok(options);
        }
        self.check_content_type()?;
        let body: Value = serde_json::from_slice(&self.request.body).map_err(|error| {
            Status::bad_request(format!(
                "couldn't get version/kind; json parse error: {}",
                decode::go_error(&error, &self.request.body)
            ))
        })?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        options.uid = text(&body["preconditions"]["uid"]);
        options.resource_version = text(&body["preconditions"]["resourceVersion"]);
        options.dry_run |= body["dryRun"]
            .as_array()
            .is_some_and(|dry_run| !dry_run.is_empty());
        if let Some(policy) = text(&body["propagationPolicy"]) {
            options.propagation = policy;
        }
        options.as_asked = body;
        options.as_asked["kind"] = "DeleteOptions".into();
        Ok(options)
    }

    pub(super) fn dry_run(&self) -> bool {
        self.request.parameter("dryRun") == "All"
    }

    /// The namespace of an object, which for a Namespace is not its own name.
    fn namespace(&self, resource: &Resource) -> &str {
        if resource.is_namespaced() {
            &self.target.namespace
        } else {
            ""
        }
    }

    fn show(&self, resource: &Resource, status: u16, object: Value) -> Answer {
        let object = if self.request.wants_metadata() {
            metadata_only(&object)
        } else {
            typed(resource, object)
        };
        Answer::json(status, object)
    }
}

pub(super) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            drop(object.as_object_mut().and_then(|object| object.remove(key)));
        } else {
            merge(&mut object[key.as_str()], value);
        }
    }
}

fn other_namespace() -> Status {
    Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    )
}
