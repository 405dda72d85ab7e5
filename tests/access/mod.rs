//! The permissions of a token, which jobpass checks before it hands the token over.

mod check;
mod escape;
mod requests;
pub(crate) mod role;

use std::{process::Stdio, time::Duration};

use jobpass_devkit::FaultKind;
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    cluster::Cluster,
    faults::api::inject,
    github::step::{Ended, Step},
    support,
};

const REVIEWS: &str = "/selfsubjectaccessreviews";

fn step(cluster: &Cluster, more: &[(&str, &str)]) -> Step {
    Step::scanner(&support::minter(cluster), more)
}

/// Injects this fault into every SelfSubjectAccessReview, which asks about one permission.
fn reviews(cluster: &Cluster, kind: FaultKind) {
    inject(cluster, "POST", REVIEWS, 999, kind);
}

/// Gives the jobs' ServiceAccount these rules, in addition to its own.
fn allow(cluster: &Cluster, rules: &str) {
    grant(cluster, "scanner", rules);
}

/// Gives a ServiceAccount these rules.
fn grant(cluster: &Cluster, account: &str, rules: &str) {
    cluster.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {account}-more, namespace: NAMESPACE}}\n\
         rules: [{rules}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {account}-more, namespace: NAMESPACE}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {account}-more}}\n\
         subjects: [{{kind: ServiceAccount, name: {account}, namespace: NAMESPACE}}]\n"
    ));
}

/// Runs main. Asserts that main fails, hands no token over, and leaves nothing behind.
fn refused(cluster: &Cluster, step: &Step, code: i32) -> Ended {
    let main = step.main();
    assert_eq!(main.code(), code, "{}", main.log);
    assert!(step.outputs().is_empty(), "{:?}", step.outputs());
    let shown = |token: &String| main.log.contains(&**token);
    assert!(!cluster.issued().iter().any(shown), "the token is in the log");
    assert!(cluster.anchors().is_empty(), "{}", main.log);
    assert!(cluster.issued().iter().all(|token| !cluster.accepts(token)));
    step.post().succeeded();
    main
}

#[test]
fn what_is_required_and_forbidden_is_shown_when_it_holds() {
    let cluster = Cluster::start();
    allow(
        &cluster,
        "{apiGroups: [\"\"], resources: [pods/exec], resourceNames: [target-pod], verbs: [create]}",
    );
    let require = "get pods\ncreate pods/exec target-pod\nget /version";
    let forbid = "create pods/exec\ncreate pods/exec other-pod\nget secrets\nget pods -n kube-system\nlist deployments.apps";
    let step = step(&cluster, &[("require", require), ("forbid", forbid)]);
    let main = step.main().succeeded();
    let row = format!(
        "  ok  require  create pods/exec target-pod  allowed  RBAC: allowed by RoleBinding \"scanner-more/{}\" of Role \"scanner-more\"",
        cluster.namespace()
    );
    assert!(main.log.contains(&row), "{}", main.log);
    assert!(
        main.log
            .contains("  ok  forbid   get pods -n kube-system      denied\n"),
        "{}",
        main.log
    );
    let summary = step.summary();
    assert!(
        summary.contains(&format!(
            "### :key: jobpass: the permissions of the token of `{}/scanner`",
            cluster.namespace()
        )),
        "{summary}"
    );
    assert!(
        summary.contains("| :white_check_mark: | forbid | `create pods/exec other-pod` | denied |  |"),
        "{summary}"
    );
    step.post().succeeded();
}

#[test]
fn what_is_missing_is_shown_as_yaml_that_is_enough() {
    let cluster = Cluster::start();
    let require = "get pods\ncreate pods/exec target-pod\nlist nodes\nget configmaps -n kube-system";
    let step = step(&cluster, &[("require", require)]);
    let main = refused(&cluster, &step, 5);
    let error = "::error title=jobpass::the token was not handed over: `create pods/exec target-pod` is \
                 required, but the API server denies it; 3 of 4 checks failed";
    assert!(main.log.contains(error), "{}", main.log);
    assert!(main.log.contains("  ok      require  get pods "), "{}", main.log);
    assert!(
        step.summary()
            .contains("| :x: | require | `list nodes` | denied |"),
        "{}",
        step.summary()
    );
    let (_, yaml) = main.log.split_once("apiVersion:").expect("YAML");
    cluster.apply(&format!("apiVersion:{yaml}"));
    step.main().succeeded();
    step.post().succeeded();
}

#[test]
fn what_is_forbidden_and_allowed_names_the_role() {
    let cluster = Cluster::start();
    let step = step(&cluster, &[("forbid", "delete pods\nget pods")]);
    let main = refused(&cluster, &step, 5);
    let edit = format!(
        "# kubectl edit role scanner --namespace {}\n",
        cluster.namespace()
    );
    for text in [
        "`get pods` is forbidden, but the API server allows it",
        "FAILED  forbid  get pods ",
        &edit,
    ] {
        assert!(main.log.contains(text), "no `{text}` in:\n{}", main.log);
    }
}

/// A failed review proves nothing, so neither `require` nor `forbid` holds.
#[rstest]
#[case::forbidden(answer(403, json!({ "kind": "Status", "message": "no questions", "reason": "Forbidden" })), "answered 403 no questions")]
#[case::unauthorized(answer(401, json!({ "kind": "Status", "message": "Unauthorized", "reason": "Unauthorized" })), "answered 401: the credential is wrong, expired or revoked")]
#[case::something_else(answer(201, json!({ "kind": "Review" })), "does not come from a Kubernetes API server")]
#[case::no_authorizer(FaultKind::RewriteBody(|body| body["status"] = json!({ "allowed": false, "evaluationError": "webhook: no route to host" })), "webhook: no route to host")]
fn what_nobody_knows_does_not_pass(
    #[case] kind: FaultKind,
    #[case] why: &str,
    #[values("require", "forbid")] option: &str,
) {
    let cluster = Cluster::start();
    let step = step(&cluster, &[(option, "get pods")]);
    reviews(&cluster, kind);
    let main = refused(&cluster, &step, 3);
    for text in [
        why,
        "get pods  unknown",
        "jobpass cannot tell whether a permission marked `unknown` is allowed",
    ] {
        assert!(main.log.contains(text), "no `{text}` in:\n{}", main.log);
    }
}

fn answer(status: u16, body: serde_json::Value) -> FaultKind {
    FaultKind::Answer {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

/// The API server answers no review before all have arrived. So jobpass must not wait for one answer before
/// it sends the next review.
#[test]
fn ten_permissions_are_asked_at_the_same_time() {
    let cluster = Cluster::start();
    let permissions = (0..10).map(|n| format!("get pods pod-{n}\n")).collect::<String>();
    let step = step(&cluster, &[("require", &permissions), ("escape-check", "off")]);
    reviews(&cluster, FaultKind::HoldBefore);
    let main = step.start("main", Stdio::piped());
    cluster.wait_for(Duration::from_secs(60), |requests| {
        let open = requests
            .iter()
            .filter(|request| request.path.ends_with(REVIEWS) && request.status.is_none());
        (open.count() == 10).then_some(())
    });
    kill_process(Pid::from_child(&main), Signal::TERM).expect("main is there");
    let main = Ended::of(main);
    assert_eq!(main.code(), 143, "{}", main.log);
    assert!(cluster.anchors().is_empty());
}

#[rstest]
#[case::wrong_line(
    "require",
    "get pods\nget pod",
    "input `require` is wrong in line 2: `pod` is not a resource: write `pods`"
)]
#[case::vague("forbid", "* secrets", "input `forbid` has `* secrets`")]
#[case::word("escape-check", "maybe", "use `fail`, `warn` or `off`")]
fn a_wrong_input_is_named_and_nothing_is_asked(#[case] input: &str, #[case] value: &str, #[case] why: &str) {
    let cluster = Cluster::start();
    let main = refused(&cluster, &step(&cluster, &[(input, value)]), 2);
    assert!(main.log.contains(why), "{}", main.log);
    assert!(cluster.requests().is_empty());
}

#[test]
fn a_token_for_others_cannot_be_asked() {
    let cluster = Cluster::start();
    let main = refused(
        &cluster,
        &step(&cluster, &[("audiences", "vault"), ("require", "get pods")]),
        2,
    );
    assert!(
        main.log
            .contains("input `require` and input `audiences` are both given"),
        "{}",
        main.log
    );
    assert!(cluster.requests().is_empty());
}
