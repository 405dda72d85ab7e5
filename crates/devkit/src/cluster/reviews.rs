//! The reviews with which users ask for their own identity and permissions (`pkg/registry/authentication`,
//! `pkg/registry/authorization`).

use http::StatusCode;
use serde_json::{Value, json};

use super::rbac::{self, Attributes, Rule};
use super::request::Call;
use super::status::Result;
use crate::clock::rfc3339;

const AUTHENTICATION: &str = "authentication.k8s.io/v1";
const AUTHORIZATION: &str = "authorization.k8s.io/v1";

impl Call<'_> {
    pub(super) fn who_am_i(&self) -> Result<(StatusCode, Value)> {
        const KIND: &str = "SelfSubjectReview";
        self.allow_only(&self.object(KIND, AUTHENTICATION)?, &["metadata"])?;
        if self.user.is_master() {
            return Err(self.not_made_for("by the administrator, whose certificate has an id"));
        }
        let review = json!({
            "kind": KIND, "apiVersion": AUTHENTICATION,
            "metadata": {"creationTimestamp": rfc3339(self.now)}, "status": {"userInfo": self.user.to_json()},
        });
        Ok((StatusCode::CREATED, review))
    }

    pub(super) fn may_i(&self) -> Result<(StatusCode, Value)> {
        const KIND: &str = "SelfSubjectAccessReview";
        let mut review = self.object(KIND, AUTHORIZATION)?;
        self.allow_only(&review, &["metadata", "spec"])?;
        let mut spec = review["spec"].take();
        self.allow_only(&spec, &["resourceAttributes"])?;
        let attributes = &mut spec["resourceAttributes"];
        self.allow_only(
            attributes,
            &["namespace", "verb", "group", "resource", "subresource", "name"],
        )?;
        if let Some(fields) = attributes.as_object_mut() {
            fields.retain(|_, value| value != "");
        }
        let text = |field: &str| spec["resourceAttributes"][field].as_str().unwrap_or_default();
        let wanted = Attributes {
            verb: text("verb"),
            path: None,
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
        };
        let decision = rbac::authorize(&self.state.store, self.user, &wanted);
        let mut status = json!({"allowed": decision.allowed});
        if !decision.reason.is_empty() {
            status["reason"] = decision.reason.into();
        }
        Ok((StatusCode::CREATED, reviewed(KIND, &spec, &status)))
    }

    pub(super) fn my_rules(&self) -> Result<(StatusCode, Value)> {
        const KIND: &str = "SelfSubjectRulesReview";
        let review = self.object(KIND, AUTHORIZATION)?;
        self.allow_only(&review, &["metadata", "spec"])?;
        let Some(namespace) = review["spec"]["namespace"].as_str().filter(|it| !it.is_empty()) else {
            return Err(self.not_made_for("without a namespace"));
        };
        let (rules, error) = rbac::rules(&self.state.store, self.user, namespace);
        let (urls, resources): (Vec<Rule>, Vec<Rule>) = rules
            .into_iter()
            .partition(|rule| !rule.non_resource_urls.is_empty());
        // A missing role gives no rules, so the list is complete.
        let mut status = json!({"resourceRules": resources, "nonResourceRules": urls, "incomplete": false});
        if let Some(error) = error {
            status["evaluationError"] = error.into();
        }
        // Kubernetes leaves the `spec` of this answer empty.
        Ok((StatusCode::CREATED, reviewed(KIND, &json!({}), &status)))
    }
}

fn reviewed(kind: &str, spec: &Value, status: &Value) -> Value {
    json!({"kind": kind, "apiVersion": AUTHORIZATION, "metadata": {}, "spec": spec, "status": status})
}
