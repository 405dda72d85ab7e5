//! A sweep that ends early, one that runs beside another, and one that gets wrong answers.

use std::{path::PathBuf, time::Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
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

/// A running sweep. Its output goes to a file, because a pipe could not hold it.
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

/// The 510 anchors are more than a page. The API server stops answering in the middle of the first page.
#[rstest]
fn stopped_anywhere_and_begun_again(#[values(Signal::KILL, Signal::INT, Signal::TERM)] signal: Signal) {
    let broom = Broom::new();
    broom.leave_behind(510);
    let live = broom.anchor(1000, &[("lifetime", "7200s")]);
    fault(&broom, "DELETE", &name(123), 9, FaultKind::HoldAfter);
    fault(&broom, "DELETE", &name(200), 9, FaultKind::HoldBefore);
    let sweep = Sweep::start(&broom, "lines");
    // All answers that can still arrive have arrived.
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
    assert_eq!(broom.names().len(), 12, "{}", sweep.log);

    broom.cluster.heal();
    let (again, lines) = broom.sweep(&[]);
    let log = again.succeeded().log;
    assert_eq!(summary(&lines)["deleted"], 11, "{log}");
    assert_eq!(broom.names(), [live], "{log}");
}

#[test]
fn two_at_once_do_no_harm() {
    let broom = Broom::new();
    broom.leave_behind(510);
    let live = broom.anchor(1000, &[("lifetime", "7200s")]);
    let sweeps = ["one", "two"].map(|name| Sweep::start(&broom, name));
    let mut deleted = 0;
    for sweep in sweeps {
        let (sweep, lines) = sweep.ended();
        let log = sweep.succeeded().log;
        assert_eq!(summary(&lines)["failed"], 0, "{log}");
        deleted += summary(&lines)["deleted"].as_u64().expect("a number");
    }
    assert_eq!(deleted, 510);
    assert_eq!(broom.names(), [live]);
}

/// An anchor that has the same name but is newer belongs to somebody else.
#[test]
fn another_anchor_of_the_same_name_is_left_alone() {
    let broom = Broom::new();
    broom.leave_behind(1);
    // The API server gets the sweep's deletion only when another deletion arrives.
    fault(&broom, "DELETE", "/secrets/", 2, FaultKind::together(2));
    let sweep = Sweep::start(&broom, "lines");
    broom.cluster.wait_for(PATIENCE, |requests| {
        requests.iter().any(|r| r.method == "DELETE").then_some(())
    });
    let namespace = broom.cluster.namespace();
    let old = format!("/api/v1/namespaces/{namespace}/secrets/{}", name(0));
    assert_eq!(broom.cluster.ask("DELETE", &old, None).0, 200);
    broom.anchor(0, &[("lifetime", "7200s")]);
    broom.admin(&[
        "delete",
        "secret",
        "no-such",
        "--ignore-not-found",
        "--namespace",
        namespace,
    ]);
    let (sweep, lines) = sweep.ended();
    let log = sweep.succeeded().log;
    assert_eq!(
        (&lines[0]["event"], broom.names().len()),
        (&json!("gone"), 1),
        "{log}"
    );
}

/// The sweep resumes a page that fails. It misses no anchor, and judges none twice.
#[test]
fn a_page_that_fails_is_resumed() {
    let broom = Broom::new();
    broom.leave_behind(1100);
    let live = broom.anchor(5000, &[("lifetime", "7200s")]);
    let status = |message: &str| json!({"kind": "Status", "message": message});
    let anew = json!({"kind": "Status", "reason": "Expired", "metadata": {}});
    for kind in [
        answer(500, &status("etcdserver: leader changed")),
        answer(429, &status("too many requests")),
        FaultKind::DropAfter,
        // The list is too old, and the API server offers no continue token.
        answer(410, &anew),
        answer(410, &json!("gone")),
    ] {
        let what = format!("{kind:?}");
        broom.cluster.heal();
        fault(&broom, "GET", "continue=", 2, kind);
        let (swept, lines) = broom.sweep(&["--dry-run"]);
        let log = swept.succeeded().log;
        let mut found = lines
            .iter()
            .filter(|line| line["event"] == "would-delete")
            .map(|line| line["anchor"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>();
        found.sort();
        assert_eq!(found, (0..1100).map(name).collect::<Vec<_>>(), "{what}: {log}");
    }

    // An API server that cannot continue the old list offers to continue the list as it is now
    // (`k8s.io/apiserver/pkg/storage/etcd3/errors.go`, `handleCompactedErrorForPaging`).
    let path = format!(
        "/api/v1/namespaces/{}/secrets?fieldSelector=type%3Djobpass.dev%2Fanchor&limit=500",
        broom.cluster.namespace()
    );
    let (_, page) = broom.cluster.ask("GET", &path, None);
    let next = page["metadata"]["continue"].as_str().expect("more pages");
    let next = URL_SAFE_NO_PAD.decode(next).expect("base64");
    let mut next = serde_json::from_slice::<Value>(&next).expect("JSON");
    next["rv"] = (-1).into();
    let next = URL_SAFE_NO_PAD.encode(next.to_string());
    let expired = json!({"kind": "Status", "reason": "Expired", "metadata": {"continue": next}});
    fault(&broom, "GET", "continue=", 1, answer(410, &expired));
    let before = broom.cluster.requests().len();
    let (swept, lines) = broom.sweep(&[]);
    let log = swept.succeeded().log;
    let requests = broom.cluster.requests();
    let pages = requests[before..]
        .iter()
        .filter(|request| request.method == "GET" && request.path.contains("jobpass"));
    let statuses = pages.filter_map(|request| request.status).collect::<Vec<_>>();
    assert_eq!(statuses, [200, 410, 200, 200], "{log}");
    assert_eq!(
        (broom.names(), &summary(&lines)["deleted"]),
        (vec![live], &json!(1100)),
        "{log}"
    );
}

#[test]
fn a_list_that_is_always_too_old_is_given_up() {
    let broom = Broom::new();
    each(501, |number| drop(broom.anchor(number, &[("lifetime", "24h")])));
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
    broom.leave_behind(501);
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

/// The anchors have 200 KB of annotations each. One page with all 40 would be 8 MB.
#[test]
fn pages_that_are_too_long_become_shorter() {
    let broom = Broom::new();
    let padding = "x".repeat(200_000);
    let noted = [("lifetime", "600s"), ("padding", &*padding)];
    each(40, |number| drop(broom.anchor(number, &noted)));
    broom.cluster.move_date(minutes(20));
    broom.sweep(&[]).0.succeeded();
    assert!(broom.names().is_empty());
}

/// A server that answers with whole Secrets is not an API server.
#[test]
fn only_metadata_is_taken() {
    let broom = Broom::new();
    broom.leave_behind(1);
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
        swept
            .log
            .contains("the answer is a `SecretList`, not a PartialObjectMetadataList"),
        "{}",
        swept.log
    );
    assert_eq!(broom.names().len(), 1);
}

#[test]
fn what_could_not_be_deleted_is_said_in_the_exit_code() {
    let broom = Broom::new();
    broom.leave_behind(3);
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
    broom.leave_behind(1);
    let hold = "{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}";
    broom.admin(&[
        "patch",
        "secret",
        &name(0),
        "--namespace",
        broom.cluster.namespace(),
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

#[test]
fn a_reader_who_does_not_read_keeps_no_signal_from_being_obeyed() {
    let broom = Broom::new();
    broom.leave_behind(400);
    let mut sweep = broom.start(&SWEEP);
    // A line has 600 bytes, so the pipe and the queue are full.
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
