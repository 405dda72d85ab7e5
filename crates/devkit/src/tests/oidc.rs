//! ID tokens: what kube-apiserver checks, in the order of its source, and what becomes of the claims.

use super::*;
use crate::issuer::Issuer;

const GITLAB: &str = r#"
apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: https://gitlab.example.com, audiences: [a, b], audienceMatchPolicy: MatchAny}
  claimValidationRules:
  - {claim: project_id, requiredValue: "7"}
  - {expression: claims.ref_protected == "true", message: the ref is not protected}
  claimMappings:
    username: {claim: sub, prefix: "gitlab:"}
    groups: {claim: groups_direct, prefix: "gitlab:"}
    uid: {expression: claims.user_id}
    extra:
    - {key: example.com/none, valueExpression: '"environment" in claims ? claims.environment : null'}
  userValidationRules:
  - {expression: "user.groups.all(group, group != 'gitlab:root')", message: no root}
"#;

fn trusting() -> (Fixture, Issuer) {
    let (it, issuer) = (Fixture::new(), Issuer::gitlab("gitlab.example.com"));
    it.cluster.trust(GITLAB, &[&issuer]).expect("trusted");
    (it, issuer)
}

/// What a TokenReview says.
fn review(it: &Fixture, token: &str) -> Value {
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    it.admin("POST", path, json!({"spec": {"token": token}})).1["status"].clone()
}

#[test]
fn claims_become_a_user() {
    let (it, issuer) = trusting();
    let token = issuer.claim("jti", "x").id_token("b");
    assert_eq!(
        review(&it, &token)["user"],
        json!({
            "username": "gitlab:project_path:team/scan:ref_type:branch:ref:main",
            "uid": "12",
            "groups": ["gitlab:team", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=x"]},
        })
    );
}

#[test]
fn a_bad_id_token_is_refused_and_only_a_token_review_says_why() {
    let (it, issuer) = trusting();
    let good = || issuer.clone();
    for (token, why) in [
        (
            good().id_token("c"),
            "expected audience in [\"a\" \"b\"] got [\"c\"]",
        ),
        (good().expired().id_token("a"), "token is expired"),
        (good().not_yet_valid().id_token("a"), "before the nbf"),
        (good().without("exp").id_token("a"), "token is expired"),
        (good().unsigned().id_token("a"), "unsupported algorithm"),
        (
            good().signed_by_another().id_token("a"),
            "failed to verify id token signature",
        ),
        (
            good().claim("project_id", "8").id_token("a"),
            "required claim project_id value does not match",
        ),
        (
            good().without("project_id").id_token("a"),
            "required claim project_id not present",
        ),
        (
            good().claim("ref_protected", "false").id_token("a"),
            "failed: the ref is not protected",
        ),
        (
            good().without("ref_protected").id_token("a"),
            "No such key: ref_protected",
        ),
        (
            good().without("sub").id_token("a"),
            "parse username claims \"sub\": claim not present",
        ),
        (
            good().claim("groups_direct", json!(["root"])).id_token("a"),
            "failed: no root",
        ),
        (
            Issuer::gitlab("another.example.com").id_token("a"),
            "invalid bearer token",
        ),
    ] {
        assert_eq!(it.status(&token), 401, "{why}");
        let status = review(&it, &token);
        let error = status["error"].as_str().unwrap_or_default();
        assert!(error.contains(why), "{status}");
    }
    assert_eq!(it.status(&good().id_token("a")), 200);
}

#[test]
fn an_issuer_that_is_trusted_no_more() {
    let (it, issuer) = trusting();
    let token = issuer.id_token("a");
    assert!(it.cluster.accepts(&token));
    let none = "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration}";
    it.cluster.trust(none, &[]).expect("an empty configuration");
    assert!(!it.cluster.accepts(&token));
}
