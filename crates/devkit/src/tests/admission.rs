//! What the recorded policies do not show.

use super::*;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: small}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets]}
  variables:
  - {name: size, expression: "has(object.data) ? size(object.data) : 0"}
  validations:
  - expression: variables.size <= 1
    messageExpression: "'it has ' + string(variables.size) + ' keys'"
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: in-ci}
spec:
  policyName: small
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ci}}}
"#;

fn secret(keys: &[&str]) -> Value {
    let data: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), json!("eA==")))
        .collect();
    json!({"metadata": {"generateName": "s-"}, "data": data})
}

#[test]
fn variables_messages_and_selectors() {
    let it = Fixture::new();
    it.cluster.apply(POLICY);
    let (status, refusal) = it.admin("POST", SECRETS, secret(&["a", "b"]));
    assert_eq!((status, &refusal["reason"]), (403, &json!("Forbidden")));
    let message = refusal["message"].as_str().expect("a message");
    assert!(
        message.ends_with("'small' with binding 'in-ci' denied request: it has 2 keys"),
        "{message}"
    );
    assert_eq!(it.admin("POST", SECRETS, secret(&["a"])).0, 201);
    let elsewhere = SECRETS.replace("/ci/", "/default/");
    assert_eq!(it.admin("POST", &elsewhere, secret(&["a", "b"])).0, 201);
}

#[test]
fn an_update_is_looked_at_too() {
    let it = Fixture::new();
    it.cluster.apply(POLICY);
    let (_, created) = it.admin("POST", SECRETS, secret(&["a"]));
    let path = format!(
        "{SECRETS}/{}",
        created["metadata"]["name"].as_str().expect("a name")
    );
    assert_eq!(it.admin("PATCH", &path, json!({"data": {"b": "eA=="}})).0, 403);
    assert_eq!(it.admin("PATCH", &path, json!({"data": {"a": "eQ=="}})).0, 200);
}

#[test]
fn an_expression_without_a_value_fails_closed_unless_ignored() {
    for (policy, status) in [("Fail", 422), ("Ignore", 201)] {
        let it = Fixture::new();
        let broken = POLICY.replace("variables.size <= 1", "object.none == 1").replace(
            "spec:\n  match",
            &format!("spec:\n  failurePolicy: {policy}\n  match"),
        );
        it.cluster.apply(&broken);
        assert_eq!(it.admin("POST", SECRETS, secret(&["a"])).0, status, "{policy}");
    }
}

#[test]
fn a_warning_refuses_nothing() {
    let it = Fixture::new();
    it.cluster.apply(&POLICY.replace("[Deny]", "[Warn]"));
    let (status, head, _) = it
        .ask(&it.admin, "POST", SECRETS, secret(&["a", "b"]))
        .expect("an answer");
    assert!(status == 201 && head.contains("it has 2 keys"), "{head}");
}

#[test]
fn an_expression_that_is_none_is_refused() {
    let it = Fixture::new();
    let policy = json!({"metadata": {"name": "x"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "resources": ["secrets"]}]},
        "validations": [{"expression": "objekt.x == 1"}],
    }});
    let (status, refusal) = it.admin("POST", POLICIES, policy);
    let message = refusal["message"].as_str().expect("a message");
    assert!(
        status == 422
            && message.contains("spec.validations[0].expression: Invalid value")
            && message.contains("objekt"),
        "{message}"
    );
}
