//! Tests that serde can read an API server's answers if the lists and maps in them are `null` or absent.

use k8s_openapi::{
    List,
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicy,
        authorization::v1::{SelfSubjectAccessReview, SelfSubjectRulesReview},
        core::v1::Secret,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::core::{PartialObjectMeta, Status};
use serde_json::Value;

use crate::json::remove_nulls;

const METADATA: &str = r#"{"name":"a","namespace":"ci","uid":"u","resourceVersion":"1",
    "creationTimestamp":"2026-11-24T10:00:00Z","labels":{"a":"b"},"annotations":{"a":"b"},
    "ownerReferences":[{"name":"o"}],"finalizers":["f"],"managedFields":[{"manager":"m"}]}"#;

/// Whether a member of Kubernetes' answers is a list or a map.
fn is_list_or_map(name: &str, member: &Value) -> bool {
    let maps = ["labels", "annotations", "data", "extra", "matchLabels"];
    member.is_array() || maps.contains(&name) || name.starts_with("authentication.kubernetes.io/")
}

/// Asserts that serde can read an answer as a `T` without its lists and maps. Sets them to `null`, or leaves
/// them out: first all of them, then each one alone.
fn assert_read<T: for<'de> serde::Deserialize<'de>>(answer: &str) {
    fn empty(value: &mut Value, number: &mut usize, which: usize, leave_out: bool) {
        match value {
            Value::Object(members) => members.retain(|name, member| {
                if is_list_or_map(name, member) {
                    *number += 1;
                    if which == 0 || which == *number {
                        *member = Value::Null;
                        return !leave_out;
                    }
                }
                empty(member, number, which, leave_out);
                true
            }),
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| empty(item, number, which, leave_out)),
            _ => {}
        }
    }
    let answer = answer.replace("METADATA", METADATA);
    let full: Value = serde_json::from_str(&answer).expect("JSON");
    let mut count = 0;
    empty(&mut full.clone(), &mut count, usize::MAX, false);
    assert!(count > 0, "nothing to empty in {answer}");
    for (which, leave_out) in (0..=count).flat_map(|which| [(which, false), (which, true)]) {
        let mut value = full.clone();
        empty(&mut value, &mut 0, which, leave_out);
        let text = value.to_string();
        let mut json = text.clone().into_bytes();
        remove_nulls(&mut json);
        let read = serde_json::from_slice::<T>(&json);
        assert!(
            read.is_ok(),
            "{}: {:?} in {text}",
            std::any::type_name::<T>(),
            read.err()
        );
    }
}

#[test]
fn answers_may_have_null_for_every_list_and_map() {
    assert_read::<PartialObjectMeta<Secret>>(r#"{"kind":"Secret","metadata":METADATA,"data":{"a":"YQ=="}}"#);
    assert_read::<crate::anchor::list::List>(
        r#"{"kind":"PartialObjectMetadataList","metadata":{"continue":"x"},"items":[{"metadata":METADATA}]}"#,
    );
    assert_read::<Status>(
        r#"{"kind":"Status","metadata":{"continue":"x"},"status":"Failure","reason":"Expired","details":{"causes":[{"message":"m"}]}}"#,
    );
    assert_read::<crate::anchor::legacy::LegacySecret>(
        r#"{"kind":"Secret","type":"t","metadata":METADATA,"data":{"token":"YQ=="},"immutable":true}"#,
    );
    assert_read::<crate::cluster::TokenRequest>(
        r#"{"kind":"TokenRequest","metadata":METADATA,"spec":{"audiences":["a"]},"status":{"token":"t"}}"#,
    );
    assert_read::<SelfSubjectAccessReview>(
        r#"{"kind":"SelfSubjectAccessReview","metadata":METADATA,"status":{"allowed":true,"reason":"r"}}"#,
    );
    assert_read::<SelfSubjectRulesReview>(
        r#"{"kind":"SelfSubjectRulesReview","metadata":METADATA,"status":{"incomplete":false,"nonResourceRules":[{"verbs":["get"],
           "nonResourceURLs":["/version"]}],"resourceRules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"],
           "resourceNames":["a"]}]}}"#,
    );
    assert_read::<crate::access::AnyVersion>(
        r#"{"kind":"SelfSubjectReview","metadata":METADATA,"status":{"userInfo":{"username":"u","uid":"i","groups":["g"],
           "extra":{"authentication.kubernetes.io/credential-id":["JTI=1"]}}}}"#,
    );
    assert_read::<List<RoleBinding>>(
        r#"{"kind":"RoleBindingList","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[
           {"metadata":METADATA,"subjects":[{"kind":"User","name":"u"}],"roleRef":{"kind":"Role","name":"r"}}]}"#,
    );
    assert_read::<Role>(
        r#"{"kind":"Role","apiVersion":"rbac.authorization.k8s.io/v1","metadata":METADATA,"rules":[{"verbs":["get"],
           "apiGroups":[""],"resources":["pods"],"resourceNames":["a"]}]}"#,
    );
    assert_read::<ValidatingAdmissionPolicy>(
        r#"{"kind":"ValidatingAdmissionPolicy","apiVersion":"admissionregistration.k8s.io/v1","metadata":METADATA,"spec":{
           "validations":[{"expression":"true"}],"matchConditions":[{"name":"m","expression":"true"}]}}"#,
    );
    assert_read::<crate::maintenance::inspect::Keys>(
        r#"{"keys":[{"kid":"a","kty":"EC","crv":"P-256","x":"x","y":"y"}]}"#,
    );
}
