use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    cluster::{
        Answer, Call, Identity,
        scripted::{self, Fate},
    },
    record::state::tests::least,
};

fn refused(status: u16) -> Deletion {
    let request = http::Request::delete("/api/v1/namespaces/ci/secrets/a").body(Vec::new());
    let call = Call::new(
        "delete the anchor",
        request.map_err(kube::core::request::Error::BuildRequest),
    );
    Deletion::Refused(call.expect("a call"), Answer::new(status, None))
}

/// `times` is the number of further deletions if the answer never changes.
#[rstest]
#[case::deleted(Deletion::Done, false, 0)]
#[case::held_by_a_finalizer(Deletion::Held, false, 0)]
#[case::of_somebody_else(Deletion::AnotherUid, true, 0)]
#[case::gone(Deletion::Gone { repeated: false }, true, 0)]
#[case::perhaps_not_there_yet(Deletion::Gone { repeated: false }, false, 3)]
#[case::the_api_server_has_just_started(refused(403), true, 2)]
#[case::its_keys_are_not_read_yet(refused(401), false, 2)]
#[case::a_policy(refused(422), true, 0)]
fn an_anchor_is_deleted_again(#[case] deletion: Deletion, #[case] is_uid_known: bool, #[case] times: usize) {
    let mut retries = Retries::new(is_uid_known);
    let waits = std::iter::from_fn(|| retries.after(&deletion));
    assert_eq!(waits.count(), times);
}

/// A refusal does not use up the waits for an anchor that may still appear.
#[test]
fn each_reason_to_wait_has_its_own_patience() {
    let mut retries = Retries::new(false);
    let gone = Deletion::Gone { repeated: false };
    assert!(retries.after(&refused(403)).is_some() && retries.after(&refused(401)).is_some());
    assert_eq!(retries.after(&refused(403)), None);
    assert_eq!(retries.after(&gone), Some(LATE_CREATION[0]));
}

const MARKED: &str = r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#;

/// To prove the deletion, jobpass deletes the anchor a second time. The error claims no more than the second
/// answer shows.
#[rstest]
#[case::a_finalizer_holds_it(
    Fate::answer(200, MARKED),
    "still exists: the API server marked it as deleted, but a finalizer holds it",
    "--output jsonpath='{.metadata.finalizers}'"
)]
#[case::it_came_back(
    Fate::answer(200, ""),
    "the anchor existed again after jobpass deleted it. jobpass deleted it a second time",
    "find out which program restores Secrets"
)]
#[case::the_minter_lost_its_permission(
    Fate::status(403, "Forbidden", "secrets", "secrets \"a\" is forbidden"),
    "jobpass cannot tell whether the anchor is gone: the API server answered 403 ",
    "jobpass setup "
)]
#[tokio::test]
async fn an_anchor_that_may_be_left_is_no_proof(
    #[case] second: Fate,
    #[case] what: &str,
    #[case] step: &str,
) {
    let (cluster, _) = scripted::cluster(&Identity::default(), [Fate::answer(200, ""), second]);
    let state = least();
    let revocation = Revocation {
        cluster: &cluster,
        state: &state,
        budget: Budget::to_the_end(REVOKE),
        deleted: &Cell::new(false),
        proxy_closed: false,
    };
    let error = revocation
        .run(ready(None), Verify::Quick)
        .await
        .expect_err("no proof");
    assert_eq!(error.kind(), Kind::Revoke);
    assert!(error.message().contains("could not prove"), "{error}");
    assert!(error.message().contains(what), "{error}");
    assert!(
        error.next_step().is_some_and(|help| help.contains(step)),
        "{error}"
    );
}

fn token(secret: &serde_json::Value) -> Token {
    let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = json!({"kubernetes.io": {"namespace": "ci", "secret": secret}});
    let token = format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(&claims));
    Token::parse(&token, "token").expect("a token")
}

/// Any step of the job can replace the token's file. A 401 to another token proves nothing.
#[rstest]
#[case::ours(json!({"name": "x", "uid": "ours"}), Some("ours"), true, true)]
#[case::of_another_anchor(json!({"name": "x", "uid": "other"}), Some("ours"), true, false)]
#[case::of_an_unknown_anchor(json!({"name": "x", "uid": "ours"}), None, true, false)]
#[case::without_a_uid(json!({"name": "x"}), None, true, false)]
#[case::bound_to_nothing(serde_json::Value::Null, Some("ours"), true, false)]
#[case::for_another_audience(json!({"name": "x", "uid": "ours"}), Some("ours"), false, false)]
fn a_401_proves_something(
    #[case] secret: serde_json::Value,
    #[case] uid: Option<&str>,
    #[case] for_api_server: bool,
    #[case] proves: bool,
) {
    let mut state = least();
    state.receipt.anchor_uid = uid.map(str::to_owned);
    state.for_api_server = for_api_server;
    assert_eq!(is_proof(&token(&secret), &state), proves);
}

#[test]
fn no_token_that_cannot_be_read_is_a_proof() {
    assert!(!is_proof(
        &Token::parse("opaque", "token").expect("a token"),
        &least()
    ));
}

#[rstest]
#[case::handed_over(true, "the token may still work")]
#[case::perhaps_never_made(false, "the anchor may exist")]
fn a_failure_names_the_command_and_keeps_the_cause(#[case] minted: bool, #[case] why: &str) {
    let mut state = least();
    state.receipt.minted = minted.then(jiff::Timestamp::now);
    let cause = Error::new(Kind::Unreachable, "no route").help("check the network");
    let error = by_hand(cause, &state);
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Revoke, "the token is not revoked: no route")
    );
    let help = error.next_step().expect("a next step");
    let command = format!("kubectl delete secret {} --namespace ci", state.receipt.anchor);
    assert!(
        help.starts_with("check the network") && help.contains(why) && help.ends_with(&command),
        "{help}"
    );
}

/// A 401 from a gateway says nothing about the token: the gateway may refuse every request.
#[rstest]
#[case::of_the_api_server(
    401,
    r#"{"kind":"Status","status":"Failure","reason":"Unauthorized","code":401}"#,
    Said::Unauthorized
)]
#[case::of_a_login_page(401, "<html>log in</html>", Said::Nothing)]
#[case::of_a_gateway(
    401,
    r#"{"type":"error","code":"Unauthorized","message":"must authenticate"}"#,
    Said::Nothing
)]
#[case::forbidden_by_a_gateway(403, "<html>blocked</html>", Said::Nothing)]
#[case::let_in(200, "{}", Said::LetIn)]
#[case::known_and_not_allowed(
    403,
    r#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}"#,
    Said::LetIn
)]
fn a_401_of_kubernetes_alone_is_a_proof(#[case] status: u16, #[case] body: &str, #[case] said: Said) {
    let answer = Answer::new(status, Some(body.as_bytes().to_vec().into()));
    assert_eq!(Said::of(&answer), said);
}
