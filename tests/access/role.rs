//! A ServiceAccount, a Role and a RoleBinding for one job. jobpass deletes them when the job ends.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use jobpass_devkit::FaultKind;
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::{answer, refused};
use crate::{
    cluster::Cluster,
    faults::api::inject,
    github::step::{Ended, Step},
    support,
};

/// The rules of a minter for jobs, from docs/minter.md, and the rules that the minter grants.
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

fn step(cluster: &Cluster, rules: &str) -> Step {
    let kubeconfig = support::minter(cluster);
    cluster.apply(MINTER);
    let namespace = cluster.namespace();
    Step::with(&[
        ("namespace", namespace),
        ("kubeconfig", &kubeconfig),
        ("role-rules", rules),
    ])
}

/// The objects that jobpass made for jobs, and that still exist. Unlike the objects of `setup`, they have the
/// names of anchors.
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
    let found = String::from_utf8(found.stdout).expect("text");
    let of_jobs = found.lines().filter(|line| {
        let name = line.split_once('/').map_or("", |(_, name)| name);
        name.strip_prefix("jobpass-")
            .is_some_and(|random| random.len() == 20)
    });
    of_jobs.map(|line| format!("{line}\n")).collect()
}

/// Waits until the garbage collector has deleted the objects that jobpass did not delete itself.
fn assert_nothing_left(cluster: &Cluster, log: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !left(cluster).is_empty() {
        assert!(Instant::now() < deadline, "{}\n{log}", left(cluster));
        // No event tells that the garbage collector has finished.
        thread::sleep(Duration::from_millis(100));
    }
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
    let cluster = Cluster::start();
    let mut step = step(&cluster, rules);
    step.input("require", "get pods\ncreate pods/exec target-pod");
    step.input("forbid", "create pods/exec other-pod\nlist pods\nget secrets");
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    let anchor = step.outputs()["anchor"].clone();
    let minted = format!(
        "minted a token for ServiceAccount {}/{anchor}",
        cluster.namespace()
    );
    assert!(main.log.contains(&minted), "{}", main.log);
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
    // Nothing was left for the garbage collector.
    for kind in ["/secrets/", "/serviceaccounts/", "/roles/"] {
        assert!(
            deleted.iter().any(|request| request.path.contains(kind)),
            "{kind}: {deleted:?}"
        );
    }
}

/// The anchor owns the other three objects, so Kubernetes deletes them with the anchor.
#[test]
fn all_of_it_belongs_to_the_anchor() {
    let cluster = Cluster::start();
    let step = step(&cluster, RULES);
    step.main().succeeded();
    let anchor = &step.outputs()["anchor"];
    let delete = ["delete", "secret", anchor, "--namespace", cluster.namespace()];
    assert!(
        support::kubectl(support::admin(&cluster).path(), &delete)
            .status
            .success()
    );
    assert_nothing_left(&cluster, "");
    // post finds nothing to delete, and succeeds.
    let post = step.post().succeeded();
    assert!(
        post.log.contains("revoked the token") && !post.log.contains("::warning"),
        "{}",
        post.log
    );
}

/// After the revocation, an API server may accept the token from its cache for up to 10 s. During that time,
/// the token has no permissions.
#[test]
fn a_token_that_is_remembered_has_no_rights_left() {
    let cluster = Cluster::start();
    let mut step = step(&cluster, "get pods");
    step.input("kubeconfig-file", "true");
    step.main().succeeded();
    let kubeconfig = tempfile::tempdir().expect("a folder");
    let copy = kubeconfig.path().join("copy");
    let token = step.token();
    std::fs::write(&copy, cluster.kubeconfig(&token, cluster.namespace())).expect("written");
    let pod = format!("/api/v1/namespaces/{}/pods/p", cluster.namespace());
    let get = ["get", "--raw", &pod];
    let get = || String::from_utf8(support::kubectl(&copy, &get).stderr).expect("text");
    assert!(get().contains("NotFound"), "{}", get());
    let post = step.post().succeeded();
    assert!(get().contains("Forbidden"), "{}\n{}", get(), post.log);
    cluster.wait_until_refused(&token);
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
    let cluster = Cluster::start();
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

/// The test kills jobpass while jobpass creates the last object. The API server creates that object after the
/// anchor is gone, and the garbage collector deletes it.
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
    let cluster = Cluster::start();
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

/// jobpass deletes the anchor at once, even if it cannot delete the other objects.
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
            .contains("the cluster's garbage collector deletes the rest of the role"),
        "{}",
        post.log
    );
    assert_nothing_left(&cluster, &post.log);
}

/// The API server creates an object, but its answer is lost. jobpass finds the object, and uses it.
#[rstest]
#[case("/serviceaccounts")]
#[case("/roles")]
#[case("/rolebindings")]
fn an_answer_is_lost(#[case] path: &'static str) {
    let cluster = Cluster::start();
    let step = step(&cluster, RULES);
    inject(&cluster, "POST", path, 1, FaultKind::DropAfter);
    step.main().succeeded();
    let post = step.post().succeeded();
    assert_nothing_left(&cluster, &post.log);
}

/// In each case the minter lacks one rule. The error has the command with which an administrator adds the
/// rule.
#[rstest]
#[case::accounts("serviceaccounts\"]", "cannot create the job's ServiceAccount")]
#[case::roles("roles\", \"rolebindings", "cannot create the job's Role")]
#[case::tokens("serviceaccounts/token", "cannot get a token")]
#[case::given("pods/exec", "attempting to grant RBAC permissions not currently held")]
fn what_a_minter_lacks_is_a_command_for_an_administrator(#[case] without: &str, #[case] what: &str) {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let fewer = MINTER.lines().filter(|line| !line.contains(without));
    cluster.apply(&fewer.collect::<Vec<_>>().join("\n"));
    let step = Step::with(&[
        ("namespace", cluster.namespace()),
        ("kubeconfig", &kubeconfig),
        ("role-rules", RULES),
    ]);
    let main = refused(&cluster, &step, 4);
    assert_nothing_left(&cluster, &main.log);
    assert!(main.log.contains(what), "{}", main.log);
    support::run_advice(&cluster, &main.log);
    step.main().succeeded();
    step.post().succeeded();
    assert_nothing_left(&cluster, "");
}

#[rstest]
#[case::both(
    "service-account",
    "scanner",
    "input `role-rules` and input `service-account` are both given"
)]
#[case::beyond(
    "role-rules",
    "get pods -n other",
    "input `role-rules` is wrong in line 1: `get pods -n other` reaches beyond the namespace"
)]
#[case::no_rule(
    "role-rules",
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

/// The state is damaged, so jobpass knows only the anchor's name.
#[test]
fn a_garbled_state_is_enough() {
    let cluster = Cluster::start();
    let mut step = step(&cluster, RULES);
    step.main().succeeded();
    step.env("STATE_jobpass", "{");
    let post = step.post().succeeded();
    assert_nothing_left(&cluster, &post.log);
}

/// The API server learns of the binding late. jobpass hands the token over only when its permissions are in
/// effect.
#[test]
fn a_role_that_is_not_in_effect_yet_is_waited_for() {
    let cluster = Cluster::start();
    let step = step(&cluster, RULES);
    let denied = || answer(201, serde_json::json!({ "status": { "allowed": false } }));
    inject(&cluster, "POST", "/selfsubjectaccessreviews", 2, denied());
    let main = step.main().succeeded();
    assert!(!main.log.contains("::warning"), "{}", main.log);
    step.post().succeeded();
}
