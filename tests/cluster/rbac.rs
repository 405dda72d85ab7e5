//! Waits until roles and bindings are in effect. The API server learns of them by a watch, a moment after it
//! stored them.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Cluster, Server, path_of};

const GROUP: &str = "rbac.authorization.k8s.io";
const PATIENCE: Duration = Duration::from_secs(60);

impl Cluster {
    /// Waits until every earlier change to a Role and its bindings is in effect. `kind` is `Role` or
    /// `ClusterRole`. The API server learns of changes in order. So this stores a probe last, and waits until
    /// the probe is in effect.
    pub(crate) fn wait_for_rbac(&self, kind: &str) {
        let Server::Real(front) = &self.server else {
            return;
        };
        let name = format!("probe-{}", jobpass_core::names::random_name().expect("a name"));
        let namespace = (kind == "Role").then_some(&self.namespace);
        let metadata = json!({"name": name, "namespace": namespace});
        let role = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata,
            "rules": [{"apiGroups": ["example.com"], "resources": ["probes"], "verbs": ["get"]}],
        });
        let binding = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
            "subjects": [{"apiGroup": GROUP, "kind": "User", "name": name}],
        });
        let probe = [role, binding];
        for object in &probe {
            let path = format!("{}?fieldManager=tests", path_of(object));
            let (status, answer) = front.ask("APPLY", &path, Some(object));
            assert_eq!(status, 201, "{answer}");
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": name, "resourceAttributes": {
                "namespace": self.namespace, "group": "example.com", "resource": "probes", "verb": "get",
            }},
        });
        let deadline = Instant::now() + PATIENCE;
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        while front.ask("POST", path, Some(&review)).1["status"]["allowed"] != true {
            assert!(Instant::now() < deadline, "no {kind}Binding takes effect");
            // No event tells that a role is in effect.
            thread::sleep(Duration::from_millis(5));
        }
        for object in &probe {
            front.ask("DELETE", &path_of(object), None);
        }
    }
}
