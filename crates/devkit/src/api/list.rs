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
            token => Some(self.resume(token, namespace)?),
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
            metadata["continue"] = continue_token(store.version().cast_signed(), last, namespace).into();
            // Counting needs no selector to be cheap for etcd; with one the API server does not say.
            if selector.is_empty() {
                metadata["remainingItemCount"] = (matching.count() + 1).into();
            }
        }
        Ok(self.show_list(resource, metadata, items))
    }

    /// The path behind which a page begins. Older versions are not kept: a page shows what is there now.
    fn resume(&self, token: &str, namespace: Option<&str>) -> Result<String> {
        let (version, last) = parse_continue(token, namespace)?;
        if version >= 0 && version < self.state.compacted.cast_signed() {
            return Err(Status::continue_too_old(&continue_token(-1, &last, namespace)));
        }
        Ok(last)
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

/// The same form as the API server's, `k8s.io/apiserver/pkg/storage/continue.go`: the last key behind the prefix. Version -1
/// is what is there now.
fn continue_token(version: i64, last: &str, namespace: Option<&str>) -> String {
    let prefix = namespace.map_or(0, |namespace| namespace.len() + 1);
    let start = format!("{}\0", &last[prefix..]);
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": start}).to_string())
}

fn parse_continue(token: &str, namespace: Option<&str>) -> Result<(i64, String)> {
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
    let last = match namespace {
        Some(namespace) => format!("{namespace}/{start}"),
        None => start.to_owned(),
    };
    Ok((token["rv"].as_i64().unwrap_or_default(), last))
}
