//! A sweep that is interrupted, not alone, or answered badly.

use std::{path::PathBuf, time::Instant};

use jobpass_devkit::{Fault, FaultKind};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn fault(broom: &Broom, method: &'static str, path: &str, times: usize, kind: FaultKind) {
    broom.cluster.inject(Fault {
        method,
        path_contains: path.into(),
        times,
        kind,
    });
}

fn answer(status: u16, body: &Value) -> FaultKind {
    FaultKind::Answer {
        status,
        headers: vec![("retry-after".into(), "0".into())],
        body: body.to_string(),
    }
}

const SWEEP: [&str; 4] = ["sweep", "--all-namespaces", "--output", "json"];

/// A sweep under way. Its lines go to a file: they are more than a pipe holds.
struct Sweep {
    child: Child,
    lines: PathBuf,
}

impl Sweep {
    fn start(broom: &Broom, name: &str) -> Self {
        let lines = broom.folder.path().join(name);
        let file = fs::File::create(&lines).expect("a file");
        let child = broom
            .command(&SWEEP)
            .stdout(file)
            .spawn()
            .expect("jobpass starts");
        Self { child, lines }
    }

    fn ended(self) -> (Ended, Vec<Value>) {
        let mut ended = Ended::of(self.child);
        ended
            .log
            .insert_str(0, &fs::read_to_string(self.lines).expect("lines"));
        let lines = json_lines(&ended.log);
        (ended, lines)
    }
}

/// 600 anchors are more than a page. The API server stops answering in the middle of the first one.
#[rstest]
fn stopped_anywhere_and_begun_again(#[values(Signal::KILL, Signal::INT, Signal::TERM)] signal: Signal) {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(600);
    let live = broom.anchor(1000, &[("lifetime", "3600s")]);
    fault(&broom, "DELETE", &name(123), 9, FaultKind::HoldAfter);
    fault(&broom, "DELETE", &name(200), 9, FaultKind::HoldBefore);
    let sweep = Sweep::start(&broom, "lines");
    // All that can be answered has been.
    broom.cluster.wait_for(PATIENCE, |requests| {
        let answered = requests
            .iter()
            .filter(|request| request.method == "DELETE" && request.status.is_some())
            .count();
        (answered >= 498).then_some(())
    });
    let begun = Instant::now();
    kill_process(Pid::from_child(&sweep.child), signal).expect("it is there");
    let (sweep, lines) = sweep.ended();
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "it took {:?} to end",
        begun.elapsed()
    );
    if signal != Signal::KILL {
        assert_eq!(
            sweep.code(),
            if signal == Signal::INT { 130 } else { 143 },
            "{}",
            sweep.log
        );
        let summary = summary(&lines);
        assert_eq!(
            (&summary["deleted"], &summary["unanswered"]),
            (&json!(498), &json!(2)),
            "{}",
            sweep.log
        );
        assert_eq!(summary["complete"], false);
    }
    assert_eq!(broom.names().len(), 102, "{}", sweep.log);

    broom.cluster.heal();
    let (again, lines) = broom.sweep(&[]);
    let log = again.succeeded().log;
    assert_eq!(summary(&lines)["deleted"], 101, "{log}");
    assert_eq!(broom.names(), [live], "{log}");
}

#[test]
fn two_at_once_do_no_harm() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(700);
    let live = broom.anchor(1000, &[("lifetime", "3600s")]);
    let sweeps = ["one", "two"].map(|name| Sweep::start(&broom, name));
    let mut deleted = 0;
    for sweep in sweeps {
        let (sweep, lines) = sweep.ended();
        let log = sweep.succeeded().log;
        assert_eq!(summary(&lines)["failed"], 0, "{log}");
        deleted += summary(&lines)["deleted"].as_u64().expect("a number");
    }
    assert_eq!(deleted, 700);
    assert_eq!(broom.names(), [live]);
}

/// An anchor of the same name that was made in between belongs to somebody else.
#[test]
fn another_anchor_of_the_same_name_is_left_alone() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(1);
    fault(
        &broom,
        "DELETE",
        &name(0),
        1,
        FaultKind::CarryOutLate(Duration::from_secs(1)),
    );
    let sweep = Sweep::start(&broom, "lines");
    broom.cluster.wait_for(PATIENCE, |requests| {
        requests.iter().any(|r| r.method == "DELETE").then_some(())
    });
    broom.admin(&["delete", "secret", &name(0), "--namespace", "ci", "--wait=false"]);
    broom.anchor(0, &[("lifetime", "3600s")]);
    let (sweep, lines) = sweep.ended();
    let log = sweep.succeeded().log;
    assert_eq!(
        (&lines[0]["event"], broom.names().len()),
        (&json!("gone"), 1),
        "{log}"
    );
}

/// Pages that fail on the way: each is resumed, and nothing is passed over.
#[rstest]
#[case::a_500(answer(500, &json!({"kind": "Status", "message": "etcdserver: leader changed"})))]
#[case::a_429(answer(429, &json!({"kind": "Status", "message": "too many requests"})))]
#[case::a_lost_answer(FaultKind::DropAfter)]
#[case::a_410_without_a_token(answer(410, &json!({"kind": "Status", "reason": "Expired", "metadata": {}})))]
#[case::no_status(answer(410, &json!("gone")))]
fn a_page_that_fails_is_resumed(#[case] kind: FaultKind) {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(1100);
    let live = broom.anchor(5000, &[("lifetime", "3600s")]);
    fault(&broom, "GET", "continue=", 2, kind);
    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    assert_eq!(
        (broom.names(), &summary(&lines)["deleted"]),
        (vec![live], &json!(1100)),
        "{log}"
    );
}

#[test]
fn a_list_that_became_too_old_is_resumed_where_it_was() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(1100);
    fault(
        &broom,
        "GET",
        "continue=",
        1,
        FaultKind::CarryOutLate(Duration::from_secs(1)),
    );
    let sweep = Sweep::start(&broom, "lines");
    broom.cluster.wait_for(PATIENCE, |requests| {
        requests
            .iter()
            .any(|r| r.path.contains("continue="))
            .then_some(())
    });
    broom.cluster.dev_cluster().compact();
    let (sweep, lines) = sweep.ended();
    let log = sweep.succeeded().log;
    let pages = broom
        .cluster
        .requests()
        .into_iter()
        .filter(|request| request.method == "GET" && request.path.contains("jobpass"));
    let statuses = pages.filter_map(|request| request.status).collect::<Vec<_>>();
    assert_eq!(statuses, [200, 410, 200, 200], "{log}");
    assert_eq!(
        (broom.names().len(), &summary(&lines)["deleted"]),
        (0, &json!(1100)),
        "{log}"
    );
}

#[test]
fn a_list_that_is_always_too_old_is_given_up() {
    let broom = Broom::new();
    for number in 0..501 {
        broom.anchor(number, &[("lifetime", "24h")]);
    }
    fault(
        &broom,
        "GET",
        "continue=",
        99,
        answer(
            410,
            &json!({"kind": "Status", "reason": "Expired", "message": "too old"}),
        ),
    );
    let (swept, lines) = broom.sweep(&[]);
    assert_eq!(swept.code(), 4, "{}", swept.log);
    assert_eq!(
        (&summary(&lines)["complete"], &summary(&lines)["kept"]),
        (&json!(false), &json!(500)),
        "{}",
        swept.log
    );
}

#[test]
fn a_list_that_cannot_be_read_to_its_end_is_no_success() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(501);
    fault(
        &broom,
        "GET",
        "continue=",
        9,
        answer(503, &json!({"kind": "Status", "message": "shutting down"})),
    );
    let (swept, lines) = broom.sweep(&[]);
    assert_eq!(swept.code(), 3, "{}", swept.log);
    assert!(
        swept
            .log
            .contains("cannot list the anchors: the API server answered 503 shutting down"),
        "{}",
        swept.log
    );
    assert_eq!(
        (&summary(&lines)["complete"], &summary(&lines)["deleted"]),
        (&json!(false), &json!(500)),
        "{}",
        swept.log
    );
}

/// 40 anchors with 200 KB of annotations each: a page of them all would be 8 MB.
#[test]
fn pages_that_are_too_long_become_shorter() {
    let broom = Broom::new();
    let padding = "x".repeat(200_000);
    for number in 0..40 {
        broom.anchor(number, &[("lifetime", "600s"), ("padding", &padding)]);
    }
    broom.cluster.advance(minutes(20));
    broom.sweep(&[]).0.succeeded();
    assert!(broom.names().is_empty());
}

/// Something that answers with whole Secrets is no API server.
#[test]
fn only_metadata_is_taken() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(1);
    fault(
        &broom,
        "GET",
        "/secrets",
        1,
        FaultKind::RewriteBody(|body| body["kind"] = "SecretList".into()),
    );
    let swept = broom.sweep(&[]).0;
    assert_eq!(swept.code(), 3, "{}", swept.log);
    assert!(
        swept.log.contains("with more than their metadata"),
        "{}",
        swept.log
    );
    assert_eq!(broom.names().len(), 1);
}

#[test]
fn what_could_not_be_deleted_is_said_in_the_exit_code() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(3);
    let refused = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message":
        "secrets \"x\" is forbidden: User \"system:serviceaccount:ops:sweeper\" cannot delete resource \"secrets\""});
    fault(&broom, "DELETE", &name(1), 1, answer(403, &refused));
    let (swept, lines) = broom.sweep(&[]);
    assert_eq!(swept.code(), 7, "{}", swept.log);
    assert!(
        swept.log.contains(
            "jobpass: 1 anchor is still there: cannot delete the anchor: the API server answered 403"
        ),
        "{}",
        swept.log
    );
    assert!(
        swept.log.contains("verbs: [\"list\", \"delete\"]"),
        "{}",
        swept.log
    );
    assert_eq!(
        (&summary(&lines)["deleted"], &summary(&lines)["failed"]),
        (&json!(2), &json!(1)),
        "{}",
        swept.log
    );
    let failed = lines
        .iter()
        .find(|line| line["event"] == "failed")
        .expect("a failure");
    assert_eq!(failed["anchor"], name(1));
    assert_eq!(broom.names(), [name(1)]);
    broom.sweep(&[]).0.succeeded();
}

#[test]
fn an_anchor_that_a_finalizer_holds_is_not_called_deleted() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(1);
    let hold = "{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}";
    broom.admin(&[
        "patch",
        "secret",
        &name(0),
        "--namespace",
        "ci",
        "--type",
        "merge",
        "--patch",
        hold,
    ]);
    for _ in 0..2 {
        let (swept, lines) = broom.sweep(&[]);
        assert_eq!(
            (swept.code(), &summary(&lines)["failed"]),
            (7, &json!(1)),
            "{}",
            swept.log
        );
        assert!(swept.log.contains("a finalizer holds it"), "{}", swept.log);
    }
}

/// The YAML that a 403 shows is what it takes.
#[rstest]
#[case::a_namespace(&["sweep", "--namespace", "ci"])]
#[case::the_cluster(&["sweep", "--all-namespaces"])]
#[case::to_list(&["list", "--namespace", "ci"])]
fn a_403_shows_the_role_that_is_missing(#[case] arguments: &[&str]) {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(1);
    for kind in ["clusterrolebinding", "clusterrole"] {
        broom.admin(&["delete", kind, "jobpass-sweeper", "--wait=false"]);
    }
    let refused = broom.run(arguments);
    assert_eq!(refused.code(), 4, "{}", refused.log);
    let yaml = refused.log.find("apiVersion:").map(|start| &refused.log[start..]);
    let file = broom.folder.path().join("role.yaml");
    write(&file, yaml.expect("a role"));
    broom.admin(&["apply", "--filename", file.to_str().expect("text")]);
    broom.run(arguments).succeeded();
}

#[test]
fn a_reader_who_does_not_read_keeps_no_signal_from_being_obeyed() {
    let broom = Broom::new();
    broom.cluster.dev_cluster().leave_behind(1500);
    let mut sweep = broom.start(&SWEEP);
    // 600 bytes a line: the pipe is full, and the queue as well.
    broom.cluster.wait_for(PATIENCE, |requests| {
        (requests.iter().filter(|r| r.method == "DELETE").count() > 100).then_some(())
    });
    kill_process(Pid::from_child(&sweep), Signal::TERM).expect("it is there");
    let begun = Instant::now();
    let status = sweep.wait().expect("it ends");
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "it took {:?} to end",
        begun.elapsed()
    );
    assert_eq!(status.code(), Some(143));
    assert!(!broom.names().is_empty(), "it deleted without saying so");
}
