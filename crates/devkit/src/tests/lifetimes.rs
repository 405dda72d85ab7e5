//! How long a token lives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

#[test]
fn a_used_token_outlives_its_anchor_for_ten_seconds_after_its_first_use() {
    let it = Fixture::new();
    let token = it.anchored("a");
    assert_eq!(it.status(&token), 200);
    it.cluster.advance(seconds(6));
    // A hit, which must not prolong the entry.
    assert_eq!(it.status(&token), 200);
    assert_eq!(it.admin("DELETE", &format!("{SECRETS}/a"), Value::Null).0, 200);
    assert!(!it.cluster.accepts(&token));
    assert_eq!(it.status(&token), 200);
    it.cluster.advance(seconds(5));
    assert_eq!(it.status(&token), 401);
}

#[test]
fn a_recreated_anchor_does_not_revive_a_token() {
    let it = Fixture::new();
    let token = it.anchored("a");
    it.admin("DELETE", &format!("{SECRETS}/a"), Value::Null);
    it.anchored("a");
    assert!(!it.cluster.accepts(&token));
}

#[test]
fn an_expired_token_gets_a_minute_of_leeway() {
    let it = Fixture::new();
    let token = it.cluster.service_account_token("ci", "job", seconds(600));
    it.cluster.advance(seconds(658));
    assert!(it.cluster.accepts(&token));
    it.cluster.advance(seconds(4));
    assert!(!it.cluster.accepts(&token));
}

#[test]
fn a_marked_anchor_keeps_its_token_alive_for_a_minute() {
    let it = Fixture::new();
    let token = it.anchored("a");
    let path = format!("{SECRETS}/a");
    assert_eq!(
        it.admin(
            "PATCH",
            &path,
            json!({"metadata": {"finalizers": ["example.com/x"]}})
        )
        .0,
        200
    );
    let (status, marked) = it.admin("DELETE", &path, Value::Null);
    assert_eq!((status, &marked["kind"]), (200, &json!("Secret")));
    assert!(it.cluster.accepts(&token));
    it.cluster.advance(seconds(63));
    assert!(!it.cluster.accepts(&token));
    assert_eq!(
        it.admin("PATCH", &path, json!({"metadata": {"finalizers": null}}))
            .0,
        200
    );
    assert!(it.names().is_empty());
}

#[test]
fn longer_tokens_are_shortened_with_a_warning() {
    let it = Fixture::with(
        DevCluster::builder()
            .max_token_lifetime(seconds(900))
            .start()
            .expect("it starts"),
    );
    let path = "/api/v1/namespaces/ci/serviceaccounts/job/token";
    let request = json!({"spec": {"expirationSeconds": 3600}});
    let (status, head, answer) = it.ask(&it.admin, "POST", path, request).expect("an answer");
    assert_eq!((status, &answer["spec"]["expirationSeconds"]), (201, &json!(900)));
    assert!(
        head.contains("warning: 299 - \"requested expiration of 3600 seconds shortened to 900 seconds\""),
        "{head}"
    );
}

#[test]
fn legacy_tokens_live_as_long_as_their_secret() {
    let it = Fixture::new();
    let create = |name: &str, account: &str| {
        let annotations = json!({"kubernetes.io/service-account.name": account});
        let secret = json!({
            "metadata": {"name": name, "annotations": annotations},
            "type": "kubernetes.io/service-account-token",
        });
        assert_eq!(it.admin("POST", SECRETS, secret).0, 201);
    };
    create("orphan", "nobody");
    create("legacy", "job");
    assert_eq!(it.names(), ["legacy"]);
    let secret = &it.cluster.secrets("ci")[0];
    let token = STANDARD
        .decode(secret["data"]["token"].as_str().expect("a token"))
        .expect("base64");
    let token = String::from_utf8(token).expect("a JWT");
    assert_eq!(it.status(&token), 200);
    assert!(
        it.cluster.secrets("ci")[0]["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"].is_string()
    );
    it.admin("DELETE", &format!("{SECRETS}/legacy"), Value::Null);
    assert!(!it.cluster.accepts(&token));
}
