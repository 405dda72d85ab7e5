//! Deletes anchors and the objects that they own, and reads the API server's answers.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Resource,
    core::{
        PartialObjectMeta,
        params::{DeleteParams, Preconditions},
    },
};

use crate::{
    cluster::{Answer, Budget, Call, Cluster, NoAnswer, objects},
    error::{Error, Kind},
};

/// The outcome of a request to delete an object.
#[expect(
    clippy::large_enum_variant,
    reason = "one value exists for each request, and is matched at once"
)]
pub(crate) enum Deletion {
    /// The API server deleted the object.
    Done,
    /// The API server marked the object as deleted. A finalizer holds it, so it still exists.
    Held,
    /// The object does not exist, or its whole namespace does not. If `repeated`, an earlier attempt may have
    /// deleted the object: jobpass got no usable answer to that attempt.
    Gone { repeated: bool },
    /// Another object has this name: its uid differs. So the requested object is gone, and the existing one
    /// belongs to somebody else.
    AnotherUid,
    /// The API server answered something else. The object may or may not exist.
    Refused(Call, Answer),
}

/// Deletes an anchor.
///
/// The caller may repeat this: the names of anchors are random, so no other object gets the name. If the
/// caller gives a uid, the API server deletes only an object with that uid.
///
/// # Errors
/// If there is no answer.
pub(crate) async fn delete(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    uid: Option<&str>,
    budget: &Budget,
) -> Result<Deletion, NoAnswer> {
    delete_object::<Secret>(cluster, "delete the anchor", namespace, name, uid, budget).await
}

/// Deletes an object of any kind. `doing` names the request in messages, such as `delete the anchor`.
///
/// # Errors
/// If there is no answer.
pub(crate) async fn delete_object<K>(
    cluster: &Cluster,
    doing: &'static str,
    namespace: &str,
    name: &str,
    uid: Option<&str>,
    budget: &Budget,
) -> Result<Deletion, NoAnswer>
where
    K: Resource<DynamicType = ()>,
{
    let call = call::<K>(doing, namespace, name, uid).map_err(NoAnswer::unsent)?;
    let answer = cluster.send(&call, budget).await?;
    Ok(Deletion::of::<K>(call, answer))
}

/// Builds the request, with background propagation. Foreground propagation would set a finalizer: the object
/// would exist until the garbage collector has deleted the objects that it owns.
fn call<K>(doing: &'static str, namespace: &str, name: &str, uid: Option<&str>) -> Result<Call, Error>
where
    K: Resource<DynamicType = ()>,
{
    let preconditions = Preconditions {
        uid: uid.map(str::to_owned),
        resource_version: None,
    };
    let params = DeleteParams {
        preconditions: uid.is_some().then_some(preconditions),
        ..DeleteParams::background()
    };
    Call::new(doing, objects::<K>(Some(namespace)).delete(name, &params))
}

impl Deletion {
    fn of<K: Resource<DynamicType = ()>>(call: Call, answer: Answer) -> Self {
        let is_missing = |kind: &str| kind == K::plural(&()) || kind == "namespaces";
        match answer.status {
            200 | 202 if is_held::<K>(&answer) => Self::Held,
            200 | 202 => Self::Done,
            _ if answer.missing().is_some_and(is_missing) => Self::Gone {
                repeated: answer.repeated,
            },
            _ if answer.is_uid_mismatch() => Self::AnotherUid,
            _ => Self::Refused(call, answer),
        }
    }
}

/// Whether the API server answered with the object, marked as deleted. After a finished deletion, the API
/// server answers with a Status, or with the object as it was before.
fn is_held<K: Resource<DynamicType = ()>>(answer: &Answer) -> bool {
    let object = serde_json::from_slice::<PartialObjectMeta<K>>(&answer.body);
    object.is_ok_and(|object| {
        let is_object = object.types.is_some_and(|types| types.kind == K::kind(&()));
        is_object && object.metadata.deletion_timestamp.is_some()
    })
}

/// The failure for a Secret with the outcome [`Deletion::Held`]. The command in its next step prints no data,
/// because the Secret of a legacy token contains that token.
pub(crate) fn held(namespace: &str, name: &str) -> Error {
    let what = format!(
        "Secret {namespace}/{name} still exists: the API server marked it as deleted, but a finalizer holds it"
    );
    Error::new(Kind::Revoke, what).help(format!(
        "jobpass sets no finalizers. This command shows the finalizer; remove it from the Secret:\n\n  \
         kubectl get secret {name} --namespace {namespace} --output jsonpath='{{.metadata.finalizers}}'"
    ))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServiceAccount;
    use rstest::rstest;

    use super::*;

    fn outcome<K: Resource<DynamicType = ()>>(status: u16, body: &str) -> &'static str {
        let call = call::<K>("delete the anchor", "ci", "a", Some("u")).expect("a call");
        let answer = Answer::new(status, Some(body.as_bytes().to_vec().into()));
        match Deletion::of::<K>(call, answer) {
            Deletion::Done => "done",
            Deletion::Held => "held",
            Deletion::Gone { .. } => "gone",
            Deletion::AnotherUid => "another uid",
            Deletion::Refused(..) => "refused",
        }
    }

    // The constants below are answers of kube-apiserver 1.37, with short names. Objects lack the members that
    // jobpass does not read.
    const SUCCESS: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","kind":"secrets","uid":"u"}}"#;
    const MARKED: &str = r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a","uid":"u","deletionTimestamp":"2026-11-24T10:00:00Z","deletionGracePeriodSeconds":0,"finalizers":["example.com/hold"]},"type":"jobpass.dev/anchor"}"#;
    const AS_IT_WAS: &str =
        r#"{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"a","uid":"u"}}"#;
    const GONE: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets \"a\" not found","reason":"NotFound","details":{"name":"a","kind":"secrets"},"code":404}"#;
    const NAMESPACE_GONE: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"namespaces \"ci\" not found","reason":"NotFound","details":{"name":"ci","kind":"namespaces"},"code":404}"#;
    const NO_SUCH_PATH: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}"#;
    const UID_CONFLICT: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on Secret \"a\": the UID in the precondition (u) does not match the UID in record (v). The object might have been deleted and then recreated","reason":"Conflict","details":{"name":"a","kind":"Secret"},"code":409}"#;
    /// From the storage, if another process replaces the object after kube-apiserver first compared the uid.
    const LATE_UID_CONFLICT: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on secrets \"a\": StorageError: invalid object, Code: 4, Key: /registry/secrets/ci/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: u, UID in object meta: v","reason":"Conflict","details":{"name":"a","kind":"secrets"},"code":409}"#;
    const OTHER_CONFLICT: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on secrets \"a\": the object has been modified; please apply your changes to the latest version and try again","reason":"Conflict","details":{"name":"a","kind":"secrets"},"code":409}"#;
    const FORBIDDEN: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets \"a\" is forbidden: User \"u\" cannot delete resource \"secrets\" in API group \"\" in the namespace \"ci\"","reason":"Forbidden","details":{"name":"a","kind":"secrets"},"code":403}"#;
    const WEBHOOK_SAYS_GONE: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"w\" denied the request: secrets not found","reason":"NotFound","details":{"name":"a","kind":"secrets"},"code":404}"#;

    #[rstest]
    #[case::deleted(200, SUCCESS, "done")]
    #[case::deleted_without_a_word(200, "", "done")]
    #[case::accepted(202, SUCCESS, "done")]
    #[case::a_finalizer_holds_it(200, MARKED, "held")]
    #[case::gone(404, GONE, "gone")]
    #[case::with_its_namespace(404, NAMESPACE_GONE, "gone")]
    #[case::not_an_api_server(404, "<html>", "refused")]
    #[case::no_such_path(404, NO_SUCH_PATH, "refused")]
    #[case::a_webhook_cannot_say_that(404, WEBHOOK_SAYS_GONE, "refused")]
    #[case::another_uid(409, UID_CONFLICT, "another uid")]
    #[case::another_uid_since_then(409, LATE_UID_CONFLICT, "another uid")]
    #[case::a_race(409, OTHER_CONFLICT, "refused")]
    #[case::forbidden(403, FORBIDDEN, "refused")]
    #[case::unauthorized(401, "", "refused")]
    #[case::policy(422, "", "refused")]
    fn what_an_answer_says_about_the_anchor(#[case] status: u16, #[case] body: &str, #[case] expected: &str) {
        assert_eq!(outcome::<Secret>(status, body), expected);
    }

    #[test]
    fn an_account_is_answered_as_it_was() {
        assert_eq!(outcome::<ServiceAccount>(200, AS_IT_WAS), "done");
        assert_eq!(
            outcome::<ServiceAccount>(404, GONE),
            "refused",
            "that is a Secret"
        );
    }

    #[test]
    fn the_uid_is_a_precondition() {
        let with = call::<Secret>("delete", "ci", "a", Some("u-1")).expect("a call");
        assert_eq!(
            String::from_utf8_lossy(with.body()),
            r#"{"propagationPolicy":"Background","preconditions":{"uid":"u-1"}}"#
        );
        let without = call::<Secret>("delete", "ci", "a", None).expect("a call");
        assert_eq!(
            String::from_utf8_lossy(without.body()),
            r#"{"propagationPolicy":"Background"}"#
        );
    }
}
