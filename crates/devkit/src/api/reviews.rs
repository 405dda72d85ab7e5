//! Questions about tokens and rights: `pkg/registry/authentication` and `pkg/registry/authorization`.

use serde_json::{Value, json};

use super::{Answer, Call, authenticate_token, empty_metadata, typed};
use crate::authn::ISSUER;
use crate::rbac::{self, Attributes, Rule};
use crate::resources::{
    Resource, SELF_SUBJECT_ACCESS_REVIEWS, SELF_SUBJECT_REVIEWS, SELF_SUBJECT_RULES_REVIEWS, TOKEN_REVIEWS,
    Version,
};
use crate::status::{Problem, Result, Status};

impl Call<'_> {
    pub(super) fn token_review(&mut self) -> Result<Answer> {
        let review = self.decode(&TOKEN_REVIEWS)?;
        let token = match review["spec"]["token"].as_str() {
            Some(token) if !token.is_empty() => token.to_owned(),
            _ => {
                return Err(Status::bad_request(
                    "token is required for TokenReview in authentication",
                ));
            }
        };
        let audiences: Vec<String> = match review["spec"]["audiences"].as_array() {
            Some(asked) if !asked.is_empty() => asked
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => vec![ISSUER.to_owned()],
        };
        let status = match authenticate_token(self.cluster, self.state, &token, &audiences) {
            Ok(known) => {
                json!({"authenticated": true, "user": known.user.to_json(), "audiences": known.audiences})
            }
            Err(why) => json!({"user": {}, "error": why}),
        };
        Ok(self.reviewed(&TOKEN_REVIEWS, review["spec"].clone(), status))
    }

    pub(super) fn self_subject_review(&mut self) -> Result<Answer> {
        self.decode(&SELF_SUBJECT_REVIEWS)?;
        let review = json!({
            "metadata": {"creationTimestamp": self.now()},
            "status": {"userInfo": self.user.to_json()},
        });
        Ok(Answer::json(201, typed(&SELF_SUBJECT_REVIEWS, review)))
    }

    pub(super) fn self_subject_access_review(&mut self) -> Result<Answer> {
        let review = self.decode(&SELF_SUBJECT_ACCESS_REVIEWS)?;
        let spec = &review["spec"];
        let text = |part: &str, field: &str| spec[part][field].as_str().unwrap_or_default().to_owned();
        let wanted = match (
            spec["resourceAttributes"].is_object(),
            spec["nonResourceAttributes"].is_object(),
        ) {
            (true, false) => {
                let text = |field| text("resourceAttributes", field);
                Attributes {
                    verb: text("verb"),
                    path: None,
                    group: text("group"),
                    resource: text("resource"),
                    subresource: text("subresource"),
                    namespace: text("namespace"),
                    name: text("name"),
                }
            }
            (false, true) => Attributes {
                verb: text("nonResourceAttributes", "verb"),
                path: Some(text("nonResourceAttributes", "path")),
                ..Attributes::default()
            },
            (both, _) => return Err(one_of_two(both, self.cluster.version)),
        };
        let decision = rbac::authorize(&self.state.store, self.user, &wanted);
        let mut status = json!({"allowed": decision.allowed});
        if !decision.reason.is_empty() {
            status["reason"] = decision.reason.into();
        }
        Ok(self.reviewed(&SELF_SUBJECT_ACCESS_REVIEWS, spec.clone(), status))
    }

    pub(super) fn self_subject_rules_review(&mut self) -> Result<Answer> {
        let review = self.decode(&SELF_SUBJECT_RULES_REVIEWS)?;
        let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (rules, errors) = rbac::rules(&self.state.store, self.user, namespace);
        let (urls, resources): (Vec<Rule>, Vec<Rule>) = rules
            .into_iter()
            .partition(|rule| !rule.non_resource_urls.is_empty());
        let mut status =
            json!({"resourceRules": resources, "nonResourceRules": urls, "incomplete": !errors.is_empty()});
        if !errors.is_empty() {
            status["evaluationError"] = errors.join(", ").into();
        }
        // The answer does not repeat the question.
        Ok(self.reviewed(&SELF_SUBJECT_RULES_REVIEWS, json!({}), status))
    }

    fn reviewed(&self, resource: &Resource, spec: Value, status: Value) -> Answer {
        let review = json!({"metadata": empty_metadata(self.cluster), "spec": spec, "status": status});
        Answer::json(201, typed(resource, review))
    }
}

/// The kind is missing in this refusal, in Kubernetes too.
fn one_of_two(both: bool, version: Version) -> Status {
    let problem = if both {
        let why = "cannot be specified in combination with resourceAttributes";
        Problem::invalid("spec.nonResourceAttributes", &json!("nonResourceAttributes"), why)
    } else {
        let none = if version >= Version::V1_36 {
            Value::Null
        } else {
            json!("null")
        };
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        Problem::invalid("spec.resourceAttributes", &none, why)
    };
    Status::invalid(SELF_SUBJECT_ACCESS_REVIEWS.group, "", "", &[problem])
}
