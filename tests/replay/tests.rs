//! The comparison finds each difference, and finds nothing else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobpass_devkit::transcript::Answer;
use rstest::rstest;
use serde_json::{Value, json};

use crate::compare::{Clocks, Names, compare};

const UIDS: [&str; 4] = [
    "11111111-1111-4111-8111-111111111111",
    "22222222-2222-4222-8222-222222222222",
    "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
    "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
];

/// The differences between these answers. The clock of Kubernetes is 1,000 seconds ahead, and Kubernetes
/// takes two seconds to answer.
fn differences(dev: Value, real: Value, names: &mut Names) -> Vec<String> {
    let answer = |body| Answer {
        status: 200,
        body,
        ..Answer::default()
    };
    let clocks = Clocks {
        dev: 5000,
        real: 6000..=6002,
    };
    let found = compare(&answer(dev), &answer(real), clocks, names);
    found.into_iter().map(|difference| difference.place).collect()
}

#[rstest]
#[case::null_for_an_empty_list(json!({"items": []}), json!({"items": null}), &["body.items"])]
#[case::another_text(json!({"message": "secrets \"a\" not found"}), json!({"message": "secret a not found"}), &["body.message"])]
#[case::what_is_missing(json!({"status": {}}), json!({"status": {"reason": "RBAC"}}), &["body.status.reason"])]
#[case::what_is_too_much(json!({"metadata": {"selfLink": ""}}), json!({"metadata": {}}), &["body.metadata.selfLink"])]
#[case::one_more_item(json!({"items": [1]}), json!({"items": [1, 2]}), &["body.items"])]
#[case::another_order(json!({"items": ["a", "b"]}), json!({"items": ["b", "a"]}), &["body.items[0]", "body.items[1]"])]
#[case::no_time(json!({"metadata": {"creationTimestamp": null}}), json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}), &["body.metadata.creationTimestamp"])]
#[case::a_longer_life(
    json!({"expirationTimestamp": "1970-01-01T01:33:20Z"}),
    json!({"expirationTimestamp": "1970-01-01T01:51:00Z"}),
    &["body.expirationTimestamp"]
)]
#[case::who_changed_it(json!({"metadata": {}}), json!({"metadata": {"managedFields": [{}]}}), &[])]
#[case::when_it_was_made(
    json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}),
    json!({"metadata": {"creationTimestamp": "2026-02-02T00:00:00Z"}}),
    &[]
)]
#[case::a_life_as_long(
    json!({"expirationTimestamp": "1970-01-01T01:33:20Z"}),
    json!({"expirationTimestamp": "1970-01-01T01:50:01Z"}),
    &[]
)]
#[case::rules_in_any_order(json!({"resourceRules": ["a", "b"]}), json!({"resourceRules": ["b", "a"]}), &[])]
#[case::versions(json!({"metadata": {"resourceVersion": "7"}}), json!({"metadata": {"resourceVersion": "431"}}), &[])]
fn two_answers(#[case] dev: Value, #[case] real: Value, #[case] expected: &[&str]) {
    assert_eq!(differences(dev, real, &mut Names::default()), expected);
}

#[test]
fn statuses_and_headers() {
    let answer = |status, headers: &[(&str, &str)]| Answer {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        body: Value::Null,
    };
    let clocks = Clocks { dev: 0, real: 0..=0 };
    let dev = answer(200, &[("content-type", "text/plain")]);
    let real = answer(
        201,
        &[("content-type", "application/json"), ("warning", "299 - \"x\"")],
    );
    let found = compare(&dev, &real, clocks, &mut Names::default());
    let places: Vec<_> = found.iter().map(|difference| &*difference.place).collect();
    assert_eq!(places, ["status", "header content-type", "header warning"]);
}

/// Two uids that are paired must occur together everywhere.
#[test]
fn uids_stand_for_each_other() {
    let mut names = Names::default();
    let object = |uid: &str| json!({"metadata": {"uid": uid}});
    assert_eq!(differences(object(UIDS[0]), object(UIDS[2]), &mut names), [""; 0]);
    assert_eq!(
        names.translate(&format!("uid {} here", UIDS[0])),
        format!("uid {} here", UIDS[2])
    );
    let message = |uid: &str| json!({"message": format!("the UID ({uid}) does not match")});
    assert_eq!(
        differences(message(UIDS[0]), message(UIDS[2]), &mut names),
        [""; 0]
    );
    assert_eq!(
        differences(message(UIDS[0]), message(UIDS[3]), &mut names),
        ["body.message"]
    );
    assert_eq!(
        differences(message(UIDS[1]), message(UIDS[2]), &mut names),
        ["body.message"]
    );
}

#[test]
fn tokens_are_compared_by_their_claims() {
    let token = |claims: Value| {
        let part = URL_SAFE_NO_PAD.encode(claims.to_string());
        json!({"status": {"token": format!("e30.{part}.signature")}})
    };
    let claims = |now: i64, life: i64, uid: &str| {
        token(
            json!({"iat": now, "exp": now + life, "jti": UIDS[1], "kubernetes.io": {"secret": {"uid": uid}}}),
        )
    };
    let mut names = Names::default();
    assert!(names.translate(UIDS[0]) == UIDS[0]);
    let same = differences(claims(5000, 600, UIDS[0]), claims(6001, 600, UIDS[2]), &mut names);
    assert_eq!(same, [""; 0]);
    let longer = differences(claims(5000, 600, UIDS[0]), claims(6001, 660, UIDS[2]), &mut names);
    assert_eq!(longer, ["body.status.token(claims).exp"]);
    let elsewhere = differences(claims(5000, 600, UIDS[0]), claims(6001, 600, UIDS[3]), &mut names);
    assert_eq!(elsewhere, ["body.status.token(claims).kubernetes.io.secret.uid"]);
}
