//! The recording of a real control plane: a controller-manager, a trusted OIDC issuer, admission policies.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobpass_devkit::DevCluster;
use jobpass_devkit::issuer::Issuer;
use serde_json::{Value, json};

use super::{Player, compare, decoded, judge, ordered, text};

const AUDIENCE: &str = "https://kubernetes.example.com";

/// What the recorded API server was started with.
const AUTHENTICATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://token.actions.githubusercontent.com
    audiences: [https://kubernetes.example.com]
  claimValidationRules:
  - expression: claims.repository_owner_id == "1"
    message: another owner
  - expression: claims.ref == "refs/heads/main"
    message: another ref
  claimMappings:
    username:
      expression: '"ci:github:" + claims.repository_id'
    groups:
      expression: '["ci:github"]'
    extra:
    - key: jobpass.dev/run-id
      valueExpression: claims.run_id
"#;

const BEFORE: &str = "
{kind: ServiceAccount, apiVersion: v1, metadata: {name: scanner, namespace: record}}
";

/// What the user of the ID token was given between two exchanges: the least that a minter needs, and to make Roles.
const MINTER: &str = r#"
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: minter, namespace: record}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create, delete]}
- {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [scanner], verbs: [create]}
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: minter, namespace: record}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: minter}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "ci:github:2"}]
"#;

const MAY_MAKE_ROLES: &str = r#"
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: roles, namespace: record}
rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [create]}]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: roles, namespace: record}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: roles}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "ci:github:2"}]
"#;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

/// The ID token with which an exchange was played. The recorder's had no `jti`.
pub(super) fn id_token(exchange: &str) -> String {
    let issuer = Issuer::github().without("jti");
    let issuer = match exchange {
        "oidc-wrong-audience" => return issuer.id_token("https://elsewhere.example.com"),
        "oidc-wrong-owner" => issuer.claim("repository_owner_id", "9"),
        "oidc-wrong-ref" => issuer.claim("ref", "refs/heads/other"),
        "oidc-expired" => issuer.expired(),
        "oidc-missing-claim" => issuer.without("repository_id"),
        "oidc-not-yet-valid" => issuer.not_yet_valid(),
        _ => issuer,
    };
    issuer.id_token(AUDIENCE)
}

#[test]
fn control_plane_1_36() {
    let recording: Value =
        serde_json::from_str(include_str!("control-plane-1.36.json")).expect("the recording is JSON");
    let cluster = DevCluster::start();
    cluster
        .trust(AUTHENTICATION, &[&Issuer::github()])
        .expect("the configuration is as kube-apiserver takes it");
    cluster.apply(BEFORE);
    let mut player = Player::new(&cluster);
    let facts = &recording["facts"];
    let exchanges = recording["exchanges"].as_array().expect("exchanges");
    let mut failures = Vec::new();
    for exchange in exchanges {
        // What the recorder did in between, without writing it down.
        match text(&exchange["name"]) {
            "anchor-create" => failures.extend(legacy_tokens(&cluster, &player, facts)),
            "oidc-anchor-create" => cluster.apply(MINTER),
            "oidc-role-escalation-refused" => cluster.apply(MAY_MAKE_ROLES),
            "foreground-delete-returns-object" => {
                for policy in ["jobpass-tokens", "jobpass-anchors"] {
                    assert_eq!(
                        status(&player, &format!("DELETE {POLICIES}/{policy}"), None, ""),
                        200
                    );
                }
                let probe = json!({"metadata": {"name": "probe"}, "type": "jobpass.dev/anchor"});
                let created = status(
                    &player,
                    "POST /api/v1/namespaces/record/secrets",
                    None,
                    &probe.to_string(),
                );
                assert_eq!(created, 201);
            }
            _ => {}
        }
        failures.extend(player.play(exchange));
        if exchange["name"] == "job-token" {
            // So that the API server remembers it.
            let token = player.tokens["job-token"].clone();
            assert_eq!(status(&player, "GET /version", Some(&token), ""), 200);
        }
        if exchange["name"] == "anchor-delete" {
            failures.extend(owned_objects(&cluster, &player));
        }
    }
    judge(exchanges, &failures);
}

/// `legacy_*` of the recording's facts.
fn legacy_tokens(cluster: &DevCluster, player: &Player<'_>, facts: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut check = |fact: &str, found: &Value| {
        compare(fact, &ordered(facts[fact].clone()), found, &mut differences);
    };
    let legacy = || cluster.secrets("record").remove(0);
    let secret = legacy();
    let data = secret["data"].as_object().expect("data");
    check("legacy_data_keys", &json!(data.keys().collect::<Vec<_>>()));
    check("legacy_annotations_after", &secret["metadata"]["annotations"]);
    let token = STANDARD.decode(text(&data["token"])).expect("base64");
    let token = String::from_utf8(token).expect("a JWT");
    check("legacy_claims", &decoded(&token)["claims"]);
    let live = status(player, "GET /version", Some(&token), "");
    check("legacy_status_live", &json!(live));
    check("legacy_labels_after_use", &legacy()["metadata"]["labels"]);

    let secrets = "/api/v1/namespaces/record/secrets";
    let orphan = json!({
        "metadata": {"name": "orphan", "annotations": {"kubernetes.io/service-account.name": "nobody"}},
        "type": "kubernetes.io/service-account-token",
    });
    assert_eq!(
        status(player, &format!("POST {secrets}"), None, &orphan.to_string()),
        201
    );
    assert_eq!(status(player, &format!("GET {secrets}/orphan"), None, ""), 404);
    assert_eq!(status(player, &format!("DELETE {secrets}/legacy"), None, ""), 200);
    // `legacy_seconds_until_401`: as long as the cache of authentications remembers it.
    assert_eq!(status(player, "GET /version", Some(&token), ""), 200);
    cluster.advance(Duration::from_secs(10));
    assert_eq!(status(player, "GET /version", Some(&token), ""), 401);
    differences
}

/// `owned_objects_gone_after_seconds`, `used_token_401_after_seconds`.
fn owned_objects(cluster: &DevCluster, player: &Player<'_>) -> Option<String> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/record";
    let left = [
        "/api/v1/namespaces/record/serviceaccounts/job".to_owned(),
        format!("{rbac}/roles/job"),
        format!("{rbac}/rolebindings/job"),
    ]
    .into_iter()
    .find(|path| status(player, &format!("GET {path}"), None, "") != 404);
    let token = player.tokens["job-token"].clone();
    assert_eq!(status(player, "GET /version", Some(&token), ""), 200);
    cluster.advance(Duration::from_secs(10));
    assert_eq!(status(player, "GET /version", Some(&token), ""), 401);
    left.map(|path| format!("{path} is there without its owner"))
}

/// Of a request by the administrator, or with a token.
fn status(player: &Player<'_>, method_and_path: &str, token: Option<&str>, body: &str) -> u16 {
    let tls = if token.is_some() {
        &player.anonymous
    } else {
        &player.admin
    };
    player
        .exchange(tls, token, method_and_path, "application/json", body)
        .status
}
