//! Objects, and who may do what with them.

use serde_json::{Value, json};

use super::*;

#[test]
fn owned_objects_go_with_their_last_owner() {
    let it = Fixture::new();
    let owner = |name: &str| {
        it.anchored(name);
        let (_, anchor) = it.admin("GET", &format!("{SECRETS}/{name}"), Value::Null);
        json!({"apiVersion": "v1", "kind": "Secret", "name": name, "uid": anchor["metadata"]["uid"]})
    };
    let owned = |name: &str, owners: Value| {
        let body = json!({"metadata": {"name": name, "ownerReferences": owners}, "rules": []});
        assert_eq!(it.admin("POST", ROLES, body).0, 201);
    };
    let exists = |name: &str| it.admin("GET", &format!("{ROLES}/{name}"), Value::Null).0 == 200;
    let delete = |name: &str, policy: &str| {
        let options = json!({"propagationPolicy": policy});
        assert_eq!(it.admin("DELETE", &format!("{SECRETS}/{name}"), options).0, 200);
    };
    let (a, b, c) = (owner("a"), owner("b"), owner("c"));
    owned("of-a", json!([a]));
    owned("of-both", json!([a, b]));
    owned("of-c", json!([c]));

    delete("a", "Background");
    assert_eq!((exists("of-a"), exists("of-both")), (false, true));
    delete("b", "Foreground");
    assert!(!exists("of-both"));
    delete("c", "Orphan");
    assert!(exists("of-c"));
    assert!(it.names().is_empty());

    owned("late", json!([a]));
    assert!(!exists("late"), "its owner was gone before it came");
}

/// As in the recording of a real control plane, at the moment before the garbage collector comes.
#[test]
fn a_foreground_deletion_shows_the_object() {
    let it = Fixture::with(
        DevCluster::builder()
            .controllers(false)
            .start()
            .expect("it starts"),
    );
    it.anchored("a");
    let (status, marked) = it.admin(
        "DELETE",
        &format!("{SECRETS}/a"),
        json!({"propagationPolicy": "Foreground"}),
    );
    assert_eq!((status, &marked["type"]), (200, &json!("jobpass.dev/anchor")));
    let metadata = &marked["metadata"];
    assert!(metadata["deletionTimestamp"].is_string());
    assert_eq!(metadata["deletionGracePeriodSeconds"], 0);
    assert_eq!(metadata["finalizers"], json!(["foregroundDeletion"]));
}

#[test]
fn a_namespace_takes_its_content_along() {
    let it = Fixture::new();
    let token = it.anchored("a");
    let (status, namespace) = it.admin("DELETE", "/api/v1/namespaces/ci", Value::Null);
    assert_eq!(
        (status, &namespace["status"]["phase"]),
        (200, &json!("Terminating"))
    );
    assert_eq!(it.admin("GET", "/api/v1/namespaces/ci", Value::Null).0, 404);
    assert!(it.names().is_empty());
    assert!(!it.cluster.accepts(&token));
}

#[test]
fn what_is_immutable_stays() {
    let it = Fixture::new();
    let secret = json!({"metadata": {"name": "a"}, "immutable": true, "data": {"x": "eQ=="}});
    assert_eq!(it.admin("POST", SECRETS, secret).0, 201);
    let path = format!("{SECRETS}/a");
    for (patch, field) in [
        (json!({"type": "other"}), "type"),
        (json!({"immutable": false}), "immutable"),
        (json!({"data": {"x": null}}), "data"),
    ] {
        let (status, refusal) = it.admin("PATCH", &path, patch);
        assert_eq!(
            (status, &refusal["details"]["causes"][0]["field"]),
            (422, &json!(field))
        );
    }
    let (status, patched) = it.admin("PATCH", &path, json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!((status, &patched["metadata"]["labels"]["a"]), (200, &json!("b")));
    let mut stale = patched;
    stale["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(it.admin("PUT", &path, stale).0, 409);
}

#[test]
fn pages_cover_all_namespaces_once() {
    let it = Fixture::new();
    for namespace in ["ci", "default", "kube-system"] {
        for name in ["a", "b"] {
            it.cluster.apply(&format!(
                "{{kind: Secret, apiVersion: v1, metadata: {{name: {name}, namespace: {namespace}}}}}"
            ));
        }
    }
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let (_, page) = it.admin(
            "GET",
            &format!("/api/v1/secrets?limit=4&continue={next}"),
            Value::Null,
        );
        let metadata = page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| &item["metadata"]);
        seen.extend(metadata.map(|item| format!("{}/{}", item["namespace"], item["name"])));
        let Some(token) = page["metadata"]["continue"].as_str() else {
            break;
        };
        assert_eq!(page["metadata"]["remainingItemCount"], 2);
        next = token.to_owned();
    }
    assert_eq!(seen.len(), 6);
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[test]
fn rights_are_as_narrow_as_their_rules() {
    let it = Fixture::new();
    let job = it.job_token();
    it.cluster.apply(
        r#"
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: job, namespace: ci}
rules:
- {apiGroups: [""], resources: [serviceaccounts/token], verbs: [create], resourceNames: [job]}
- {apiGroups: [""], resources: ["*/log"], verbs: [get]}
- {apiGroups: [""], resources: [secrets], verbs: [create, delete]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [create]}
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: job, namespace: ci}
roleRef: {kind: Role, name: job}
subjects: [{kind: ServiceAccount, name: job}]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: {name: dangling, namespace: ci}
roleRef: {kind: Role, name: gone}
subjects: [{kind: Group, name: system:serviceaccounts}]
"#,
    );
    let ask = |method, path: &str, body| it.ask(&job, method, path, body).expect("an answer");
    let can = |verb: &str, resource: &str, subresource: &str, name: &str| {
        let wanted = json!({"namespace": "ci", "verb": verb, "resource": resource, "subresource": subresource, "name": name});
        let review = json!({"spec": {"resourceAttributes": wanted}});
        ask(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            review,
        )
        .2["status"]["allowed"]
            == true
    };
    assert!(can("create", "serviceaccounts", "token", "job"));
    assert!(!can("create", "serviceaccounts", "token", "default"));
    assert!(!can("create", "serviceaccounts", "token", ""));
    assert!(can("get", "pods", "log", ""));
    assert!(!can("get", "pods", "", ""));
    assert!(!can("*", "secrets", "", ""));

    let (status, _, refusal) = ask("GET", SECRETS, Value::Null);
    assert_eq!(status, 403);
    let message = refusal["message"].as_str().expect("a message");
    assert!(
        message.ends_with(r#"in the namespace "ci": RBAC: role.rbac.authorization.k8s.io "gone" not found"#)
    );

    let role = |rules: Value| json!({"metadata": {"name": "new"}, "rules": rules});
    let held =
        json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"], "resourceNames": ["x"]}]);
    assert_eq!(ask("POST", ROLES, role(held)).0, 201);
    let more = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete", "get", "list"]}]);
    let (status, _, refusal) = ask("POST", ROLES, role(more));
    assert_eq!(status, 403);
    let message = refusal["message"].as_str().expect("a message");
    assert!(message.contains(r#"not currently held:"#), "{message}");
    assert!(
        message.contains(r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#),
        "{message}"
    );
    let bindings = ROLES.replace("roles", "rolebindings");
    let binding = json!({"metadata": {"name": "up"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": []});
    assert_eq!(ask("POST", &bindings, binding).0, 403);
}
