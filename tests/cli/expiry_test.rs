//! `jobpass expiry-test`: a token stops working, and its client stops with it.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use jobpass_devkit::LoggedRequest;
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Desk;
use crate::{cluster::Cluster, github::step::Ended, leaks::assert_absent, support};

const TEST: [&str; 7] = [
    "expiry-test",
    "--service-account",
    "scanner",
    "--namespace",
    "NAMESPACE",
    "--kubeconfig",
    "minter.yaml",
];
const PATIENCE: Duration = Duration::from_secs(60);
/// The time limit from a signal to the end of jobpass.
const GRACE: Duration = Duration::from_secs(6);

impl Desk {
    fn start_test(&self, options: &[&str], script: &str) -> Child {
        let tools = support::tool("kubectl");
        let tools = tools.parent().expect("a folder").display();
        let script = format!("PATH={tools}:$PATH\n{script}");
        std::fs::create_dir_all(self.path("tmp")).expect("made");
        let client = ["--", "sh", "-c", &script];
        self.start_with(
            &[&TEST, options, &client].concat(),
            &[("TMPDIR", &*self.path("tmp").to_string_lossy())],
        )
    }

    /// Waits until jobpass has tested the token this many times.
    fn wait_until_asked(&self, times: usize) {
        self.cluster.wait_for(PATIENCE, |requests| {
            let asked = requests
                .iter()
                .filter(|r| r.path == "/version" && r.status.is_some());
            (asked.count() >= times).then_some(())
        });
    }

    /// Waits until jobpass has deleted the anchor, and the API server has then accepted the token from its
    /// cache.
    fn wait_until_revoked(&self) {
        self.cluster.wait_for(PATIENCE, |requests| {
            let deleted = requests
                .iter()
                .position(|r| r.method == "DELETE" && r.status == Some(200))?;
            let taken = |r: &LoggedRequest| r.path == "/version" && r.status == Some(200);
            requests[deleted..].iter().any(taken).then_some(())
        });
    }

    fn assert_no_trace(&self, log: &str) {
        std::fs::remove_dir(self.path("tmp")).expect("an empty folder");
        self.assert_nothing_left(log);
        let token = &self.cluster.issued()[0];
        assert_absent(token, "what it printed", log);
    }
}

fn result(ended: &Ended) -> Value {
    let line = ended.log.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{}", ended.log))).expect("a line of JSON")
}

/// The test of the guide "Token Management", but with a token that jobpass revokes after 1 s. The guide waits
/// for 30 s.
#[test]
fn a_revoked_token_and_its_client_stop_working() {
    let desk = Desk::new();
    let test = desk.start_test(
        &["--revoke-after", "1s", "--output", "json"],
        "cat \"$JOBPASS_TOKEN_FILE\"; kubectl get pods",
    );
    let ended = Ended::of(test).succeeded();
    let found = result(&ended);
    assert_eq!(found["end"], "revoked");
    assert_eq!(
        (&found["refused"], &found["passed"]),
        (&true.into(), &true.into())
    );
    // The API server has cached the token, because the client used it just before.
    assert!(found["accepted-for"].as_f64() > Some(0.0), "{found}");
    assert_eq!(found["before"]["status"], 0);
    assert_eq!(found["after"]["status"], 1);
    assert_eq!(found["after"]["said-unauthorized"], true);
    assert!(ended.log.contains("[MASKED]"), "{}", ended.log);
    desk.assert_no_trace(&ended.log);
}

/// The token expires by the API server's clock. The API server still accepts it for a minute after that.
#[test]
fn an_expired_token_stops_working() {
    let desk = Desk::at(Cluster::hasty());
    let test = desk.start_test(&["--output", "json"], "kubectl get pods");
    let ended = Ended::of(test).succeeded();
    let found = result(&ended);
    assert_eq!(found["end"], "expired");
    assert!(found["accepted-for"].as_f64() >= Some(60.0), "{found}");
    assert_eq!(found["after"]["status"], 1);
    desk.assert_no_trace(&ended.log);
}

#[rstest]
#[case::goes_on("kubectl get pods || true", "did not notice")]
#[case::hangs("kubectl get pods || exec sleep 600", "did not end within 2 s")]
fn a_client_that_does_not_notice_fails_the_test(#[case] script: &str, #[case] why: &str) {
    let desk = Desk::new();
    let test = desk.start_test(&["--revoke-after", "1s", "--time-limit", "2s"], script);
    let ended = Ended::of(test);
    assert_eq!(ended.code(), 5, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    desk.assert_no_trace(&ended.log);
}

#[test]
fn a_client_that_fails_with_a_good_token_proves_nothing() {
    let desk = Desk::new();
    let ended = Ended::of(desk.start_test(&["--revoke-after", "1s"], "exit 3"));
    assert_eq!(ended.code(), 5, "{}", ended.log);
    assert!(
        ended.log.contains("exit status 3, although its token works"),
        "{}",
        ended.log
    );
    desk.assert_no_trace(&ended.log);
}

/// Another person revokes the token during the test.
#[test]
fn a_token_that_ends_too_soon_is_said() {
    let desk = Desk::new();
    let test = desk.start_test(&[], "true");
    desk.wait_until_asked(2);
    let admin = support::admin(&desk.cluster);
    let deleted = support::kubectl(
        admin.path(),
        &[
            "delete",
            "secrets",
            "--all",
            "--namespace",
            desk.cluster.namespace(),
        ],
    );
    assert!(deleted.status.success(), "{deleted:?}");
    let ended = Ended::of(test);
    assert_eq!(ended.code(), 5, "{}", ended.log);
    assert!(ended.log.contains("before it expires"), "{}", ended.log);
    desk.assert_no_trace(&ended.log);
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The client is running.
    Client,
    /// jobpass waits for the time at which it revokes.
    Wait,
    /// jobpass waits until the token expires.
    Expiry,
    /// jobpass has deleted the anchor, and the API server still accepts the token.
    Revoked,
}

#[rstest]
fn a_signal_leaves_no_token(
    #[values(Moment::Client, Moment::Wait, Moment::Expiry, Moment::Revoked)] moment: Moment,
    #[values(Signal::KILL, Signal::INT, Signal::TERM)] signal: Signal,
) {
    let desk = Desk::new();
    let (options, script): (&[&str], _) = match moment {
        Moment::Client => (&[], "kubectl get pods; trap '' INT TERM; exec sleep 10"),
        Moment::Wait => (&["--revoke-after", "5m"], "kubectl get pods"),
        Moment::Expiry => (&[], "kubectl get pods"),
        Moment::Revoked => (&["--revoke-after", "1s"], "kubectl get pods"),
    };
    let test = desk.start_test(options, script);
    match moment {
        Moment::Client | Moment::Wait => desk.cluster.wait_for(PATIENCE, |requests| {
            let got = |r: &LoggedRequest| r.path.contains("/pods") && r.status.is_some();
            requests.iter().any(got).then_some(())
        }),
        Moment::Expiry => desk.wait_until_asked(2),
        Moment::Revoked => desk.wait_until_revoked(),
    }
    let begun = Instant::now();
    kill_process(Pid::from_child(&test), signal).expect("it is there");
    let ended = Ended::of(test);
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    let code = 128 + signal.as_raw();
    assert_eq!(ended.code(), code, "{}", ended.log);
    if signal == Signal::KILL {
        let folder = std::fs::read_dir(desk.path("tmp"));
        let folder = folder.expect("a folder").flatten().next().expect("its folder");
        let state = folder.path().join("state.json");
        desk.run(&["revoke", "--state-file", &state.to_string_lossy()])
            .succeeded();
        std::fs::remove_file(state).expect("it says that the token is revoked");
        std::fs::remove_dir(folder.path()).expect("nothing but the folder is left");
    }
    desk.assert_no_trace(&ended.log);
}

#[rstest]
#[case(&["--revoke-after", "10m"], "the token has expired by then")]
#[case(&["--revoke-after", "0s"], "which jobpass cannot use as a duration")]
#[case(&["--time-limit", "soon"], "which jobpass cannot use as a duration")]
#[case(&["--duration", "30s"], "less than 10 minutes")]
#[case(&["--env", "1", "--", "true"], "input `env` is not the name of a variable")]
#[case(&["--", "no-such-program"], "not a program that jobpass can run")]
fn wrong_input_creates_nothing(#[case] more: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    let ended = desk.run(&[&TEST, more].concat());
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert!(desk.cluster.requests().is_empty());
}
