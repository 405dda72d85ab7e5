//! What goes wrong on demand, and what the log says about it.

use serde_json::{Value, json};

use super::*;

#[test]
fn faults() {
    let it = Fixture::new();
    let create = |name: &str| it.ask(&it.admin, "POST", SECRETS, json!({"metadata": {"name": name}}));

    let body = json!({"kind": "Status", "code": 429}).to_string();
    let headers = vec![("retry-after".to_owned(), "1".to_owned())];
    it.inject(
        "POST",
        FaultKind::Answer {
            status: 429,
            headers,
            body,
        },
    );
    it.inject("POST", FaultKind::DropBefore);
    it.inject("POST", FaultKind::DropAfter);
    it.inject("POST", FaultKind::Warn("careful".to_owned()));
    it.inject(
        "POST",
        FaultKind::RewriteBody(|body| body["metadata"]["name"] = "else".into()),
    );
    let (status, head, answer) = create("answer").expect("an answer");
    assert_eq!((status, &answer["code"]), (429, &json!(429)));
    assert!(head.contains("retry-after: 1"));
    assert!(create("drop-before").is_none());
    assert!(create("drop-after").is_none());
    assert!(
        create("warn")
            .expect("an answer")
            .1
            .contains("warning: 299 - \"careful\"")
    );
    assert_eq!(
        create("rewrite").expect("an answer").2["metadata"]["name"],
        "else"
    );
    assert_eq!(create("plain").expect("an answer").0, 201);
    assert_eq!(it.names(), ["drop-after", "plain", "rewrite", "warn"]);
}

#[test]
fn held_and_late_requests() {
    let it = Fixture::new();
    let delete = |name: &str| it.send(&it.admin, "DELETE", &format!("{SECRETS}/{name}"), Value::Null);
    let seen = |name: &str| {
        let path = format!("{SECRETS}/{name}");
        it.cluster.wait_for(seconds(30), |log| {
            log.iter()
                .find(|request| request.method == "DELETE" && request.path == path)
                .cloned()
        })
    };
    for name in ["before", "after", "late"] {
        it.anchored(name);
    }
    it.inject("DELETE", FaultKind::HoldBefore);
    it.inject("DELETE", FaultKind::HoldAfter);
    it.inject("DELETE", FaultKind::CarryOutLate(Duration::from_millis(50)));

    let before = delete("before");
    let request = seen("before");
    assert_eq!(
        (request.status, request.user.as_str()),
        (None, "system:serviceaccount:kube-system:admin")
    );
    let _after = delete("after");
    seen("after");
    drop(before);
    drop({
        let late = delete("late");
        seen("late");
        late
    });
    let path = format!("{SECRETS}/late");
    let status = it.cluster.wait_for(seconds(30), |log| {
        log.iter()
            .find(|request| request.method == "DELETE" && request.path == path)?
            .status
    });
    assert_eq!(status, 200);
    assert_eq!(it.names(), ["before"]);
}

#[test]
fn the_log_holds_no_token() {
    let it = Fixture::new();
    let job = it.job_token();
    it.admin(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        json!({"spec": {"token": job}}),
    );
    let log = format!("{:#?}", it.cluster.requests());
    assert!(log.contains("tokenreviews") && !log.contains(&job) && !log.contains(&it.admin));
}

#[test]
fn a_runtime_may_be_there_already() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async { drop(DevCluster::start()) });
}
