//! A ServiceAccount, a Role and a RoleBinding for one job, gone with it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use jobpass_devkit::{DevCluster, FaultKind};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::{answer, refused};
use crate::{
    cluster::Cluster,
    faults::api::inject,
    github::step::{Ended, Step},
    support,
};

/// What the minter may do besides what a minter needs: the rules of README.md, and what it passes on.
pub(crate) const MINTER: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: role-minter, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: ["serviceaccounts"], verbs: ["create", "delete"]}
- {apiGroups: [""], resources: ["serviceaccounts/token"], verbs: ["create"]}
- {apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles", "rolebindings"], verbs: ["create", "delete"]}
- {apiGroups: [""], resources: ["pods"], verbs: ["get", "list"]}
- {apiGroups: [""], resources: ["pods/exec"], verbs: ["create"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: role-minter, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: role-minter}
subjects: [{kind: ServiceAccount, name: minter, namespace: NAMESPACE}]
"#;
const RULES: &str = "get pods\ncreate pods/exec target-pod";
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster whose garbage collector is not quick: what is not deleted stays.
fn without_collector() -> Cluster {
    Cluster::on(
        DevCluster::builder()
            .controllers(false)
            .start()
            .expect("a dev cluster"),
    )
}

fn step(cluster: &Cluster, rules: &str) -> Step {
    let kubeconfig = support::minter(cluster);
    cluster.apply(MINTER);
    Step::with(&[("namespace", "ci"), ("kubeconfig", &kubeconfig), ("rules", rules)])
}

/// The objects of jobs that are there.
pub(crate) fn left(cluster: &Cluster) -> String {
    let kinds = "secrets,serviceaccounts,roles,rolebindings";
    let selector = "app.kubernetes.io/managed-by=jobpass";
    let get = [
        "get",
        kinds,
        "--namespace",
        cluster.namespace(),
        "--selector",
        selector,
        "--output",
        "name",
    ];
    let found = support::kubectl(support::admin(cluster).path(), &get);
    assert!(found.status.success(), "{found:?}");
    String::from_utf8(found.stdout).expect("text")
}

fn assert_nothing_left(cluster: &Cluster, log: &str) {
    assert_eq!(left(cluster), "", "{log}");
    assert!(
        cluster.issued().iter().all(|token| !cluster.accepts(token)),
        "{log}"
    );
}

#[rstest]
#[case::short(RULES)]
#[case::yaml(
    "- apiGroups: [\"\"]\n  resources: [pods]\n  verbs: [get]\n- apiGroups: [\"\"]\n  resources: [pods/exec]\n  resourceNames: [target-pod]\n  verbs: [create]\n"
)]
fn one_pod_of_one_scan(#[case] rules: &str) {
    let cluster = without_collector();
    let mut step = step(&cluster, rules);
    step.input("require", "get pods\ncreate pods/exec target-pod");
    step.input("forbid", "create pods/exec other-pod\nlist pods\nget secrets");
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    let anchor = step.outputs()["anchor"].clone();
    assert!(
        main.log
            .contains(&format!("minted a token for ServiceAccount ci/{anchor}")),
        "{}",
        main.log
    );
    assert_eq!(left(&cluster).lines().count(), 4, "{}", left(&cluster));

    let post = step.post().succeeded();
    assert!(
        !post.log.contains("::warning") && post.log.contains("revoked the token"),
        "{}",
        post.log
    );
    assert_nothing_left(&cluster, &post.log);
    let deleted = cluster.requests();
    let deleted = deleted
        .iter()
        .filter(|request| request.method == "DELETE")
        .collect::<Vec<_>>();
    assert!(
        deleted[0].path.contains("/rolebindings/"),
        "rights end first: {deleted:?}"
    );
}

/// One delete removes all four.
#[test]
fn all_of_it_belongs_to_the_anchor() {
    let cluster = Cluster::start();
    let step = step(&cluster, RULES);
    step.main().succeeded();
    let anchor = &step.outputs()["anchor"];
    let delete = ["delete", "secret", anchor, "--namespace", "ci"];
    assert!(
        support::kubectl(support::admin(&cluster).path(), &delete)
            .status
            .success()
    );
    assert_nothing_left(&cluster, "");
    // And when it is gone already, that is fine.
    let post = step.post().succeeded();
    assert!(
        post.log.contains("revoked the token") && !post.log.contains("::warning"),
        "{}",
        post.log
    );
}

/// An API server that goes on accepting the token, as it does for 10 s, finds no rights.
#[test]
fn a_token_that_is_remembered_has_no_rights_left() {
    let cluster = without_collector();
    let mut step = step(&cluster, "get pods");
    step.input("kubeconfig-file", "true");
    step.main().succeeded();
    let kubeconfig = tempfile::tempdir().expect("a folder");
    let copy = kubeconfig.path().join("copy");
    std::fs::write(&copy, cluster.kubeconfig(&step.token(), "ci")).expect("written");
    let get = ["get", "--raw", "/api/v1/namespaces/ci/pods/p"];
    let get = || String::from_utf8(support::kubectl(&copy, &get).stderr).expect("text");
    assert!(get().contains("NotFound"), "{}", get());
    let post = step.post().succeeded();
    assert!(get().contains("Forbidden"), "{}\n{}", get(), post.log);
    cluster.advance(Duration::from_secs(11));
    assert!(
        get().contains("Unauthorized") || get().contains("logged in"),
        "{}",
        get()
    );
}

#[rstest]
fn killed_at_any_station(
    #[values(
        "/serviceaccounts",
        "/roles",
        "/rolebindings",
        "/token",
        "/selfsubjectaccessreviews"
    )]
    path: &'static str,
    #[values(false, true)] carried_out: bool,
    #[values(Signal::KILL, Signal::TERM)] signal: Signal,
) {
    let cluster = without_collector();
    let step = step(&cluster, RULES);
    let kind = if carried_out {
        FaultKind::HoldAfter
    } else {
        FaultKind::HoldBefore
    };
    inject(&cluster, "POST", path, 1, kind);
    let main = step.start("main", Stdio::piped());
    cluster.wait_for(PATIENCE, |requests| {
        requests
            .iter()
            .any(|request| request.method == "POST" && request.path.ends_with(path))
            .then_some(())
    });
    let begun = Instant::now();
    kill_process(Pid::from_child(&main), signal).expect("main is there");
    let main = Ended::of(main);
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "main took {:?} to end",
        begun.elapsed()
    );
    if signal == Signal::TERM {
        assert_nothing_left(&cluster, &main.log);
    }
    let post = step.post().succeeded();
    assert_nothing_left(&cluster, &format!("{}{}", main.log, post.log));
}

/// Killed while it makes the last of them: the API server makes it when the anchor is gone, and its collector sees that.
#[test]
fn what_comes_into_being_later_is_collected() {
    let cluster = Cluster::start();
    let step = step(&cluster, RULES);
    inject(
        &cluster,
        "POST",
        "/rolebindings",
        1,
        FaultKind::CarryOutLate(Duration::from_millis(500)),
    );
    let main = step.start("main", Stdio::piped());
    cluster.wait_for(PATIENCE, |requests| {
        requests
            .iter()
            .any(|r| r.path.ends_with("/rolebindings"))
            .then_some(())
    });
    kill_process(Pid::from_child(&main), Signal::KILL).expect("main is there");
    let main = Ended::of(main);
    let post = step.post().succeeded();
    cluster.wait_for(PATIENCE, |requests| {
        requests
            .iter()
            .any(|r| r.path.ends_with("/rolebindings") && r.status.is_some())
            .then_some(())
    });
    assert_nothing_left(&cluster, &format!("{}{}", main.log, post.log));
}

#[rstest]
#[case("/rolebindings/")]
#[case("/roles/")]
#[case("/serviceaccounts/")]
#[case("/secrets/")]
fn post_is_killed_and_run_again(#[case] path: &'static str) {
    let cluster = without_collector();
    let step = step(&cluster, RULES);
    step.main().succeeded();
    inject(&cluster, "DELETE", path, 1, FaultKind::HoldAfter);
    let post = step.start("post", Stdio::piped());
    cluster.wait_for(PATIENCE, |requests| {
        requests
            .iter()
            .any(|r| r.method == "DELETE" && r.path.contains(path))
            .then_some(())
    });
    kill_process(Pid::from_child(&post), Signal::KILL).expect("post is there");
    Ended::of(post);
    let post = step.post().succeeded();
    assert_nothing_left(&cluster, &post.log);
}

/// The anchor does not wait for what cannot be deleted.
#[test]
fn a_role_that_stays_does_not_keep_the_token_alive() {
    let cluster = Cluster::start();
    let step = step(&cluster, RULES);
    step.main().succeeded();
    let refusal = || {
        answer(
            403,
            serde_json::json!({ "kind": "Status", "message": "no deleting", "reason": "Forbidden" }),
        )
    };
    inject(&cluster, "DELETE", "/rolebindings/", 9, FaultKind::HoldBefore);
    inject(&cluster, "DELETE", "/roles/", 9, refusal());
    let post = step.start("post", Stdio::piped());
    cluster.wait_for(PATIENCE, |_| cluster.anchors().is_empty().then_some(()));
    assert!(cluster.issued().iter().all(|token| !cluster.accepts(token)));
    let post = Ended::of(post).succeeded();
    assert!(post.log.contains("revoked the token"), "{}", post.log);
    assert!(
        post.log
            .contains("the cluster's garbage collector deletes what is left"),
        "{}",
        post.log
    );
    assert_nothing_left(&cluster, &post.log);
}

/// Answers that are lost: what is there already is ours.
#[rstest]
#[case("/serviceaccounts")]
#[case("/roles")]
#[case("/rolebindings")]
fn an_answer_is_lost(#[case] path: &'static str) {
    let cluster = without_collector();
    let step = step(&cluster, RULES);
    inject(&cluster, "POST", path, 1, FaultKind::DropAfter);
    step.main().succeeded();
    let post = step.post().succeeded();
    assert_nothing_left(&cluster, &post.log);
}

/// A minter that lacks each of the rules in turn, until the YAML of the error is pasted.
#[rstest]
#[case::accounts(
    "serviceaccounts\"]",
    "cannot create the job's ServiceAccount",
    "resources: [\"serviceaccounts\"]"
)]
#[case::roles(
    "roles\", \"rolebindings",
    "cannot create the job's Role",
    "resources: [\"roles\", \"rolebindings\"]"
)]
#[case::tokens(
    "serviceaccounts/token",
    "cannot get a token",
    "resources: [\"serviceaccounts/token\"]"
)]
#[case::given(
    "pods/exec",
    "attempting to grant RBAC permissions not currently held",
    "resources: [\"pods/exec\"]"
)]
fn a_missing_permission_is_shown_as_yaml(#[case] without: &str, #[case] what: &str, #[case] rule: &str) {
    let cluster = Cluster::start();
    let step = step(&cluster, RULES);
    let fewer = MINTER
        .lines()
        .filter(|line| !line.contains(without))
        .collect::<Vec<_>>()
        .join("\n");
    cluster.apply(&fewer);
    let main = refused(&cluster, &step, 4);
    assert_nothing_left(&cluster, &main.log);
    let marked = format!(
        "- apiGroups: [\"{}\"]   # this rule is missing\n  {rule}",
        if without.contains("roles") {
            "rbac.authorization.k8s.io"
        } else {
            ""
        }
    );
    for text in [what, &marked] {
        assert!(main.log.contains(text), "no `{text}` in:\n{}", main.log);
    }
    assert!(
        without != "pods/exec" || main.log.contains("verbs: [\"escalate\", \"bind\"]"),
        "{}",
        main.log
    );
    let (_, yaml) = main.log.split_once("apiVersion:").expect("YAML");
    cluster.apply(&format!("apiVersion:{yaml}"));
    step.main().succeeded();
    step.post().succeeded();
    assert_nothing_left(&cluster, "");
}

#[rstest]
#[case::both(
    "service-account",
    "scanner",
    "input `rules` and input `service-account` are both given"
)]
#[case::beyond(
    "rules",
    "get pods -n other",
    "input `rules` is wrong in line 1: `get pods -n other` reaches beyond the namespace"
)]
#[case::no_rule(
    "rules",
    "- {resources: [pods], verbs: [get]}",
    "`apiGroups` is missing or empty"
)]
fn a_wrong_input_is_named_and_nothing_is_asked(#[case] input: &str, #[case] value: &str, #[case] why: &str) {
    let cluster = Cluster::start();
    let mut step = step(&cluster, RULES);
    step.input(input, value);
    let main = refused(&cluster, &step, 2);
    assert!(main.log.contains(why), "{}", main.log);
    assert!(cluster.requests().is_empty());
}

/// The state is lost, and the anchor's name is all that is known.
#[test]
fn a_garbled_state_is_enough() {
    let cluster = without_collector();
    let mut step = step(&cluster, RULES);
    step.main().succeeded();
    step.env("STATE_jobpass", "{");
    let post = step.post().succeeded();
    assert_nothing_left(&cluster, &post.log);
}

/// The API server learns late of the binding: the token is handed over when it is of use.
#[test]
fn a_role_that_is_not_in_effect_yet_is_waited_for() {
    let cluster = without_collector();
    let step = step(&cluster, RULES);
    let denied = || answer(201, serde_json::json!({ "status": { "allowed": false } }));
    inject(&cluster, "POST", "/selfsubjectaccessreviews", 2, denied());
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    step.post().succeeded();
}
