//! The objects, and the requests about them (`k8s.io/apiserver/pkg/registry/generic/registry/store.go`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::request::Call;
use super::status::{Result, Status};
use super::store::{KINDS, Kind, NAMESPACES, PODS, RBAC, SECRETS, SERVICE_ACCOUNTS, Store, text};
use crate::clock::rfc3339;
use crate::random;

/// The parameters of a list.
#[derive(Default)]
struct Page {
    /// The type of the listed Secrets. `None` for all types.
    secret_type: Option<String>,
    limit: Option<usize>,
    /// The key after which the list begins.
    after: Option<String>,
}

/// The path of the collection that an object belongs to.
///
/// # Panics
///
/// If the dev cluster lacks this kind.
pub(crate) fn collection(object: &Value) -> String {
    let kind = KINDS.iter().find(|kind| object["kind"] == kind.name);
    let kind = kind.unwrap_or_else(|| panic!("the dev cluster lacks the kind of {object}"));
    let root = if kind.group.is_empty() { "api" } else { "apis" };
    let namespace = match text(object, "namespace") {
        "" => String::new(),
        namespace => format!("namespaces/{namespace}/"),
    };
    format!("/{root}/{}/{namespace}{}", kind.api_version(), kind.plural)
}

impl Call<'_> {
    pub(super) fn create(&mut self, kind: &'static Kind) -> Result<(StatusCode, Value)> {
        let mut object = self.object(kind.name, &kind.api_version())?;
        let namespace = self.target.namespace;
        self.check(kind, &object)?;
        if kind.namespaced && self.state.store.get(&NAMESPACES, "", namespace).is_none() {
            return Err(Status::not_found(&NAMESPACES, namespace));
        }
        let name = text(&object, "name").to_owned();
        if self.state.store.get(kind, namespace, &name).is_some() {
            return Err(Status::already_exists(kind, &name));
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
        }
        if kind.namespaced {
            object["metadata"]["namespace"] = namespace.into();
        }
        keep(&mut self.state.store, kind, &mut object, self.now);
        Ok((StatusCode::CREATED, typed(kind, object)))
    }

    /// Answers 501 if Kubernetes would do more than store the object. The dev cluster has no validation,
    /// owners or finalizers. In it, only the administrator may create roles and bindings.
    fn check(&self, kind: &'static Kind, object: &Value) -> Result<()> {
        let fields: &[&str] = match kind.plural {
            "secrets" => &["metadata", "type"],
            "roles" | "clusterroles" => &["metadata", "rules"],
            "rolebindings" | "clusterrolebindings" => &["metadata", "roleRef", "subjects"],
            "namespaces" | "serviceaccounts" => &["metadata"],
            _ => return Err(self.not_made_for("")),
        };
        self.allow_only(object, fields)?;
        self.allow_only(
            &object["metadata"],
            &["name", "namespace", "labels", "annotations"],
        )?;
        if kind.group == RBAC && !self.user.is_master() {
            return Err(self.not_made_for("by anybody but the administrator"));
        }
        let (name, namespace) = (text(object, "name"), text(object, "namespace"));
        if kind.namespaced == self.target.namespace.is_empty() || name.is_empty() {
            return Err(self.not_made_for("without a namespace or a name"));
        }
        if !namespace.is_empty() && namespace != self.target.namespace {
            return Err(self.not_made_for("with another namespace"));
        }
        Ok(())
    }

    pub(super) fn list(&mut self, kind: &'static Kind) -> Result<(StatusCode, Value)> {
        // Of all other kinds, Kubernetes has objects that the dev cluster lacks, so the lists would differ.
        if ![&SECRETS, &PODS].contains(&kind) {
            return Err(self.not_made_for(""));
        }
        let metadata_only = match self.header(header::ACCEPT) {
            accept if accept.starts_with("application/json;as=PartialObjectMetadataList;") => true,
            accept if !accept.contains("as=") => false,
            _ => return Err(self.not_made_for("in the format that the header Accept names")),
        };
        let namespace = self.target.namespace;
        let page = self.page(kind, namespace)?;
        let store = &self.state.store;
        let wanted = |object: &Value| {
            page.secret_type
                .as_ref()
                .is_none_or(|wanted| object["type"] == **wanted)
        };
        let mut found = store
            .scan(kind, namespace, page.after)
            .filter(|(_, object)| wanted(object));
        let mut items = Vec::new();
        let mut last = None;
        for (key, object) in found.by_ref().take(page.limit.unwrap_or(usize::MAX)) {
            items.push(match metadata_only {
                true => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]}),
                false => object.clone(),
            });
            last = Some(key);
        }
        let mut metadata = json!({"resourceVersion": store.version().to_string()});
        if let (Some(last), Some(_)) = (last, found.next()) {
            metadata["continue"] = continue_token(store.version(), last, namespace).into();
            // With a selector, the API server does not return the number of remaining objects.
            if page.secret_type.is_none() {
                metadata["remainingItemCount"] = (found.count() + 1).into();
            }
        }
        let list = match metadata_only {
            // Go writes `null` for a nil slice.
            true if items.is_empty() => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": null,
            }),
            true => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
            }),
            false => json!({
                "kind": format!("{}List", kind.name), "apiVersion": kind.api_version(), "metadata": metadata, "items": items,
            }),
        };
        Ok((StatusCode::OK, list))
    }

    fn page(&self, kind: &'static Kind, namespace: &str) -> Result<Page> {
        let mut page = Page::default();
        for (name, value) in self.parameters() {
            let value = percent_decode_str(value).decode_utf8_lossy();
            match (name, value.split_once('=')) {
                ("fieldSelector", Some(("type", wanted)))
                    if *kind == SECRETS && !wanted.contains([',', '=']) =>
                {
                    page.secret_type = Some(wanted.to_owned());
                }
                ("limit", None) => page.limit = value.parse().ok().filter(|limit| *limit > 0),
                ("continue", _) => {
                    let after = begin(&value, namespace);
                    page.after =
                        Some(after.ok_or_else(|| self.not_made_for("with an invalid continue token"))?);
                }
                _ => return Err(self.not_made_for("")),
            }
        }
        Ok(page)
    }

    pub(super) fn delete(&mut self, kind: &'static Kind) -> Result<(StatusCode, Value)> {
        let mut options = json!({});
        if !self.asked.body.is_empty() {
            options = self.object("DeleteOptions", "v1")?;
        }
        self.allow_only(&options, &["preconditions", "propagationPolicy"])?;
        self.allow_only(&options["preconditions"], &["uid"])?;
        let background = options
            .get("propagationPolicy")
            .is_none_or(|policy| policy == "Background");
        if !background || self.parameters().next().is_some() || ![&SECRETS, &NAMESPACES].contains(&kind) {
            return Err(self.not_made_for(""));
        }
        let namespace = if kind.namespaced {
            self.target.namespace
        } else {
            ""
        };
        let name = self.target.name;
        let found = self.state.store.get(kind, namespace, name);
        let mut object = found.ok_or_else(|| Status::not_found(kind, name))?.clone();
        let uid = text(&object, "uid").to_owned();
        match options["preconditions"]["uid"].as_str() {
            Some(given) if given != uid => return Err(Status::wrong_uid(kind, name, given, &uid)),
            _ => {}
        }
        self.state.store.remove(kind, namespace, name);
        if *kind == NAMESPACES {
            // The dev cluster removes the namespace's content at once. Kubernetes needs a moment for that.
            self.state.store.empty(name);
            object["metadata"]["deletionTimestamp"] = rfc3339(self.now).into();
            object["status"]["phase"] = "Terminating".into();
            return Ok((StatusCode::OK, typed(kind, object)));
        }
        let details = json!({"name": name, "kind": kind.plural, "uid": uid});
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
        Ok((StatusCode::OK, status))
    }
}

/// Creates the namespace `default`, which every cluster has.
pub(super) fn create_default_namespace(store: &mut Store, now: i64) {
    keep(
        store,
        &NAMESPACES,
        &mut json!({"metadata": {"name": "default"}}),
        now,
    );
}

/// Adds a new object, with the defaults that the API server sets.
fn keep(store: &mut Store, kind: &Kind, object: &mut Value, now: i64) {
    object["metadata"]["uid"] = random::uid().into();
    object["metadata"]["creationTimestamp"] = rfc3339(now).into();
    if *kind == SECRETS && object["type"].is_null() {
        object["type"] = "Opaque".into();
    }
    let name = text(object, "name").to_owned();
    if *kind == NAMESPACES {
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.as_str().into();
        object["spec"]["finalizers"] = json!(["kubernetes"]);
        object["status"]["phase"] = "Active".into();
    }
    store.put(kind, object);
    if *kind == NAMESPACES {
        // In Kubernetes, the controller for ServiceAccounts creates this account.
        let mut account = json!({"metadata": {"name": "default", "namespace": name}});
        keep(store, &SERVICE_ACCOUNTS, &mut account, now);
    }
}

/// Adds `kind` and `apiVersion` to the object. The API server leaves them out in lists.
pub(super) fn typed(kind: &Kind, mut object: Value) -> Value {
    object["kind"] = kind.name.into();
    object["apiVersion"] = kind.api_version().into();
    object
}

/// A continue token in the API server's own form (`k8s.io/apiserver/pkg/storage/continue.go`): the last key
/// without the prefix. The dev cluster keeps no older versions of objects, so a page shows the current ones.
fn continue_token(version: u64, last: &str, namespace: &str) -> String {
    let start = format!("{}\0", last.strip_prefix(&prefix(namespace)).unwrap_or(last));
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": start}).to_string())
}

/// The key after which a list continues.
fn begin(token: &str, namespace: &str) -> Option<String> {
    let token: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let last = token["start"].as_str()?.strip_suffix('\0')?;
    Some(format!("{}{last}", prefix(namespace)))
}

fn prefix(namespace: &str) -> String {
    match namespace {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    }
}
