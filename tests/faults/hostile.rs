//! Attacks by a later step of the job, through variables, changed inputs and files. Also unexpected answers
//! of API servers.

use std::{fs, process::Command, time::Duration};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;

use super::api::set_finalizers;
use crate::{cluster::Cluster, github::step::Step, support};

fn minted(cluster: &Cluster) -> Step {
    let kubeconfig = support::minter(cluster);
    let files = [("token-file", "true"), ("kubeconfig-file", "true")];
    let step = Step::scanner(&kubeconfig, &files);
    step.main().succeeded();
    step
}

fn assert_revoked(cluster: &Cluster, log: &str) {
    assert!(cluster.anchors().is_empty(), "{log}");
    assert!(
        cluster.issued().iter().all(|token| !cluster.accepts(token)),
        "{log}"
    );
}

#[test]
fn state_that_main_did_not_save_cannot_be_forged() {
    let evil = Cluster::start();
    support::minter(&evil);
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let forged = {
        let step = Step::scanner(&evil.kubeconfig("x.y.z", evil.namespace()), &[]);
        // The state that main records before its first request is enough to revoke.
        step.main();
        fs::read_to_string(step.file("state"))
            .expect("a state")
            .replace("jobpass=", "")
    };
    let forged = forged
        .lines()
        .find(|line| line.contains("connection"))
        .expect("a recorded state")
        .to_owned();
    let before = evil.requests().len();

    let mut step = Step::scanner(&kubeconfig, &[("duration", "30s")]);
    assert_eq!(step.main().code(), 2);
    let anchor = format!("{}/jobpass-abcdefghijklmnopqrst", cluster.namespace());
    step.later("STATE_jobpass", &forged)
        .later("STATE_anchor", &anchor);
    let post = step.post().succeeded();
    assert_eq!(
        post.log,
        "jobpass: nothing to revoke: the main step left no token\n"
    );
    assert_eq!(
        evil.requests().len(),
        before,
        "the minter's credential went elsewhere"
    );
}

#[rstest]
#[case::pipe("mkfifo \"$1\"", false)]
#[case::endless("ln -s /dev/zero \"$1\"", false)]
#[case::folder("mkdir \"$1\"", true)]
fn something_else_in_place_of_a_file_does_not_stop_post(
    #[case] put: &str,
    #[case] stays: bool,
    #[values("", ".journal")] suffix: &str,
) {
    let cluster = Cluster::start();
    let files = [("token-file", "true"), ("renew-for", "2h")];
    let step = Step::scanner(&support::minter(&cluster), &files);
    step.main().succeeded();
    let file = step.outputs()["token-file"].clone() + suffix;
    fs::remove_file(&file).expect("removed");
    let status = Command::new("sh")
        .args(["-c", put, "sh", &file])
        .status()
        .expect("sh starts");
    assert!(status.success());
    let post = step.post().succeeded();
    assert_revoked(&cluster, &post.log);
    let says = format!("the token is revoked, but jobpass cannot remove `{file}`: ");
    assert_eq!(post.log.contains(&says), stays, "{}", post.log);
    let summary = fs::read_to_string(step.file("summary")).expect("a summary");
    assert!(!summary.contains("may still work"), "{summary}");
}

#[test]
fn another_token_in_its_file_proves_nothing() {
    let cluster = Cluster::start();
    let step = minted(&cluster);
    let token_file = &step.outputs()["token-file"];
    let altered = format!("{}A", step.token());
    fs::write(token_file, altered).expect("written");
    let anchor = &step.outputs()["anchor"];
    set_finalizers(&cluster, anchor, &["example.com/hold"]);
    let post = step.post().succeeded();
    assert!(
        post.log.contains("could not prove") && !post.log.contains("revoked the token"),
        "{}",
        post.log
    );
    set_finalizers(&cluster, anchor, &[]);
}

#[rstest]
#[case("ALL_PROXY", "socks5://127.0.0.1:1")]
#[case("HTTPS_PROXY", "nonsense://")]
fn a_proxy_variable_of_a_later_step_changes_nothing(#[case] name: &str, #[case] value: &str) {
    let cluster = Cluster::start();
    let mut step = minted(&cluster);
    step.later(name, value);
    let post = step.post().succeeded();
    assert_revoked(&cluster, &post.log);
}

#[test]
fn what_becomes_of_the_cluster_in_the_kubeconfig_changes_nothing() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    fs::write(&path, support::minter(&cluster)).expect("written");
    let step = Step::scanner(path.to_str().expect("text"), &[]);
    step.main().succeeded();
    let text = fs::read_to_string(&path).expect("read");
    let spoiled = text.replace(
        "server:",
        "insecure-skip-tls-verify: true\n    proxy-url: socks5://x\n    server:",
    );
    assert_ne!(text, spoiled);
    fs::write(&path, spoiled).expect("written");
    let post = step.post().succeeded();
    assert_revoked(&cluster, &post.log);
}

/// The API server answers 503 to the first eight attempts to delete the anchor.
#[test]
fn an_api_server_that_is_away_for_a_while_at_the_end_is_waited_for() {
    let cluster = Cluster::start();
    let step = minted(&cluster);
    let away = FaultKind::Answer {
        status: 503,
        headers: vec![("retry-after".into(), "0".into())],
        body: "away".into(),
    };
    cluster.inject(Fault {
        method: "DELETE",
        path_contains: "/secrets/".into(),
        times: 8,
        kind: away,
    });
    let post = step.post().succeeded();
    assert_revoked(&cluster, &post.log);
}

#[test]
fn an_api_server_that_has_just_started_is_asked_again() {
    let cluster = Cluster::start();
    let step = minted(&cluster);
    let body = "{\"kind\":\"Status\",\"message\":\"role not found\",\"reason\":\"Forbidden\",\"code\":403}";
    let forbidden = FaultKind::Answer {
        status: 403,
        headers: vec![],
        body: body.into(),
    };
    cluster.inject(Fault {
        method: "DELETE",
        path_contains: "/secrets/".into(),
        times: 1,
        kind: forbidden,
    });
    let post = step.post().succeeded();
    assert_revoked(&cluster, &post.log);
}

#[test]
fn a_conflict_that_is_not_about_the_uid_is_no_revocation() {
    let cluster = Cluster::start();
    let step = minted(&cluster);
    let body = "{\"kind\":\"Status\",\"message\":\"admission webhook denied the request\",\"reason\":\"Conflict\",\"code\":409}";
    let conflict = FaultKind::Answer {
        status: 409,
        headers: vec![],
        body: body.into(),
    };
    cluster.inject(Fault {
        method: "DELETE",
        path_contains: "/secrets/".into(),
        times: 9,
        kind: conflict,
    });
    let post = step.post().succeeded();
    assert!(
        post.log
            .contains("::warning title=jobpass::the token is not revoked"),
        "{}",
        post.log
    );
}

/// After an answer that jobpass does not expect, an anchor may exist. jobpass must delete it.
#[rstest]
#[case::proxy_timeout(524)]
#[case::request_timeout(408)]
#[case::not_created(200)]
fn an_unforeseen_answer_leaves_no_anchor(#[case] status: u16) {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let step = Step::scanner(&kubeconfig, &[]);
    // A proxy may forward the request and still answer it itself.
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/secrets".into(),
        times: 1,
        kind: FaultKind::AnswerAfter { status },
    });
    let main = step.main();
    assert_ne!(main.code(), 0);
    assert!(cluster.anchors().is_empty(), "{}", main.log);
}

#[test]
fn a_name_that_is_taken_meanwhile_is_not_removed() {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let step = Step::scanner(&kubeconfig, &[("token-file", "mine")]);
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".into(),
        times: 1,
        kind: FaultKind::HoldAfter,
    });
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".into(),
        times: 1,
        kind: FaultKind::CarryOutLate(Duration::ZERO),
    });
    let main = step.start("main", std::process::Stdio::piped());
    cluster.wait_for(Duration::from_secs(60), |_| {
        (!cluster.issued().is_empty()).then_some(())
    });
    fs::write(step.temp().join("mine"), "somebody else's").expect("written");
    let main = crate::github::step::Ended::of(main);
    assert_eq!(main.code(), 6, "{}", main.log);
    assert_eq!(
        fs::read_to_string(step.temp().join("mine")).expect("still there"),
        "somebody else's"
    );
    assert_revoked(&cluster, &main.log);
}

#[test]
fn text_in_a_token_starts_no_workflow_command() {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let step = Step::scanner(&kubeconfig, &[]);
    let rewrite: fn(&mut serde_json::Value) =
        |answer| crate::faults::api::resign(answer, "/jti", "x\n::stop-commands::y\n##[error]z".into());
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".into(),
        times: 1,
        kind: FaultKind::RewriteBody(rewrite),
    });
    let main = step.main();
    assert_eq!(main.code(), 5, "{}", main.log);
    assert!(
        !main.log.contains("stop-commands") && !main.log.contains("##["),
        "{}",
        main.log
    );
}
