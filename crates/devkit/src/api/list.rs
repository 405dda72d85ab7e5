//! Lists, page by page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::objects::metadata_only;
use super::{Answer, Call};
use crate::decode;
use crate::resources::Resource;
use crate::selector::Selector;
use crate::status::{Result, Status};
use crate::store::Key;

impl Call<'_> {
    pub(super) fn list(&mut self, resource: &'static Resource) -> Result<Answer> {
        let selector = self.selector(resource)?;
        let namespace = self.target.namespace.as_str();
        let namespace = resource
            .is_namespaced()
            .then_some(namespace)
            .filter(|namespace| !namespace.is_empty());
        let limit = self.request.parameter("limit").parse::<usize>().unwrap_or(0);
        let after = match self.request.parameter("continue") {
            "" => None,
            token => Some(parse_continue(token, namespace)?),
        };

        let store = &self.state.store;
        let mut matching = store
            .scan(resource, namespace, after)
            .filter(|(_, object)| selector.matches(object));
        let mut items = Vec::new();
        let mut last = None;
        for (key, object) in matching
            .by_ref()
            .take(if limit == 0 { usize::MAX } else { limit })
        {
            items.push(object.clone());
            last = Some(key);
        }
        let mut metadata = json!({"resourceVersion": store.version().to_string()});
        if let (Some(last), Some(_)) = (last, matching.next()) {
            metadata["continue"] = continue_token(store.version(), last, namespace).into();
            // Counting needs no selector to be cheap for etcd; with one the API server does not say.
            if selector.is_empty() {
                metadata["remainingItemCount"] = (matching.count() + 1).into();
            }
        }
        Ok(self.show_list(resource, metadata, items))
    }

    pub(super) fn selector(&self, resource: &Resource) -> Result<Selector> {
        Selector::parse(
            resource,
            self.request.parameter("labelSelector"),
            self.request.parameter("fieldSelector"),
        )
    }

    pub(super) fn show_list(&self, resource: &Resource, metadata: Value, items: Vec<Value>) -> Answer {
        let (kind, version, items) = if self.request.wants_metadata() {
            let items = items.iter().map(metadata_only).collect();
            (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
                items,
            )
        } else {
            (format!("{}List", resource.kind), resource.api_version(), items)
        };
        Answer::json(
            200,
            json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}),
        )
    }
}

/// The same form as the API server's, `k8s.io/apiserver/pkg/storage/continue.go`: the last key behind the prefix.
fn continue_token(version: u64, last: &Key, namespace: Option<&str>) -> String {
    let start = match namespace {
        None if !last.0.is_empty() => format!("{}/{}\0", last.0, last.1),
        _ => format!("{}\0", last.1),
    };
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": start}).to_string())
}

fn parse_continue(token: &str, namespace: Option<&str>) -> Result<Key> {
    let refuse = |why: String| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| refuse("illegal base64 data at input byte 0".into()))?;
    let token: Value =
        serde_json::from_slice(&bytes).map_err(|error| refuse(decode::go_error(&error, &bytes)))?;
    let start = token["start"].as_str().unwrap_or_default().trim_end_matches('\0');
    if token["v"] != "meta.k8s.io/v1" || start.is_empty() {
        return Err(refuse(
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into(),
        ));
    }
    let (namespace, name) = match namespace {
        Some(namespace) => (namespace, start),
        None => start.split_once('/').unwrap_or(("", start)),
    };
    Ok((namespace.to_owned(), name.to_owned()))
}
