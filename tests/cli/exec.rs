//! `jobpass exec`: one command with a token of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    process::Child,
};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::Desk;
use crate::{
    access::role::{MINTER, left},
    github::step::Ended,
    leaks::{assert_absent, corpus},
    support,
};

const EXEC: [&str; 7] = [
    "exec",
    "--service-account",
    "scanner",
    "--namespace",
    "NAMESPACE",
    "--kubeconfig",
    "minter.yaml",
];

impl Desk {
    pub(super) fn exec(&self, options: &[&str], script: &str) -> Ended {
        Ended::of(self.start_exec(options, script))
    }

    pub(super) fn start_exec(&self, options: &[&str], script: &str) -> Child {
        let tools = support::tool("kubectl");
        let path = format!(
            "PATH={}:$PATH\n{script}",
            tools.parent().expect("a folder").display()
        );
        fs::create_dir_all(self.path("tmp")).expect("made");
        self.start_with(
            &[&EXEC, options, &["--", "sh", "-c", &path]].concat(),
            &[
                ("TMPDIR", &*self.path("tmp").to_string_lossy()),
                ("JOBPASS_CONTEXT", "job"),
            ],
        )
    }

    /// Asserts that the token is dead and that all of its files are gone.
    pub(super) fn assert_all_gone(&self, log: &str) {
        assert_eq!(
            fs::read_dir(self.path("tmp")).expect("a folder").count(),
            0,
            "{log}"
        );
        fs::remove_dir(self.path("tmp")).expect("empty");
        self.assert_nothing_left(log);
    }
}

/// jobpass revokes the token, but cannot remove one of its files. The error must not say that the token may
/// still work: nobody needs to revoke it again.
#[rstest]
#[case::token(&["--renew-for", "2h"], "$JOBPASS_TOKEN_FILE")]
#[case::journal(&["--renew-for", "2h"], "$JOBPASS_TOKEN_FILE.journal")]
#[case::journal_of_a_proxy(&["--proxy"], "$KUBECONFIG.journal")]
fn a_file_that_stays_is_no_token_that_works(#[case] options: &[&str], #[case] file: &str) {
    let desk = Desk::new();
    let ended = desk.exec(options, &format!("rm \"{file}\" && mkdir \"{file}\""));
    let says = "the token is revoked, but jobpass cannot remove `";
    assert!(ended.log.contains(says), "{}", ended.log);
    assert!(!ended.log.contains("may still work"), "{}", ended.log);
    fs::remove_dir_all(desk.path("tmp")).expect("removed");
    desk.assert_nothing_left(&ended.log);
}

#[rstest]
#[case("kubectl get pods", 0)]
#[case("exit 5", 5)]
#[case("kill -TERM $$", 143)]
fn the_command_uses_the_token_and_its_status_is_kept(#[case] script: &str, #[case] code: i32) {
    let desk = Desk::new();
    let ended = desk.exec(&[], script);
    assert_eq!(ended.code(), code, "{}", ended.log);
    let says = desk.here("revoked the token of ServiceAccount NAMESPACE/scanner");
    assert!(ended.log.contains(&says), "{}", ended.log);
    let scanner = desk.here("system:serviceaccount:NAMESPACE:scanner");
    let used = desk.cluster.requests();
    let by_scanner = used.iter().any(|r| r.path.contains("/pods") && r.user == scanner);
    assert_eq!(by_scanner, script.contains("kubectl"));
    desk.assert_all_gone(&ended.log);
}

#[test]
fn it_gets_files_for_itself_alone_and_no_option_of_jobpass() {
    let desk = Desk::new();
    let look = r#"ls -ld "$(dirname "$KUBECONFIG")" "$KUBECONFIG" "$JOBPASS_TOKEN_FILE" | cut -c1-10; env | grep ^JOBPASS | cut -d= -f1 | sort; echo "[$TOKEN]""#;
    let ended = desk.exec(&["--env", "TOKEN"], look);
    assert!(
        ended.log.starts_with(
            "drwx------\n-rw-------\n-rw-------\nJOBPASS_MASK_JOURNAL\nJOBPASS_TOKEN_FILE\n[[MASKED]]\n"
        ),
        "{}",
        ended.log
    );
    desk.assert_all_gone(&ended.log);
}

/// jobpass shows the permissions to the person on standard error. They do not get into the command's output.
#[test]
fn a_role_for_one_command() {
    let desk = Desk::new();
    desk.cluster.apply(MINTER);
    let options = [
        "--role-rules",
        "get pods",
        "--require",
        "get pods",
        "--forbid",
        "list pods",
    ];
    let exec = [&["exec"], &EXEC[3..], &options, &["--", "echo", "done"]].concat();
    let ended = desk.run(&exec).succeeded();
    assert!(ended.log.starts_with("done\n"), "{}", ended.log);
    assert!(
        ended.log.contains("  ok  forbid   list pods  denied\n"),
        "{}",
        ended.log
    );
    assert_eq!(left(&desk.cluster), "", "{}", ended.log);
    desk.assert_nothing_left(&ended.log);
}

#[test]
fn careless_scripts_show_nothing() {
    let desk = Desk::new();
    fs::write(desk.path("tmp.sh"), corpus::script()).expect("written");
    fs::write(desk.path("ca.pem"), desk.cluster.ca_pem()).expect("written");
    let script = format!("export SERVER={} CA=ca.pem; sh tmp.sh 2>&1", desk.cluster.url());
    let ended = desk.exec(&["--env", "TOKEN"], &script);
    assert_eq!(ended.code(), 0, "{}", ended.log);
    corpus::assert_no_piece(&desk.cluster.issued()[0], &ended.log);
    // Without jobpass, the same command shows the token. So the check can fail.
    let token = desk.cluster.issued()[0].clone();
    fs::write(desk.path("token"), &token).expect("written");
    let script = format!("export TOKEN=$(cat token) JOBPASS_TOKEN_FILE=token; {script}");
    let plain = support::scrubbed(std::process::Command::new("sh"))
        .arg("-c")
        .arg(script)
        .current_dir(desk.path("."))
        .output();
    corpus::assert_all_found(
        &token,
        &String::from_utf8_lossy(&plain.expect("sh starts").stdout),
    );
}

#[test]
fn the_minter_s_credential_is_masked_too() {
    let desk = Desk::new();
    let ended = desk.exec(&[], "cat minter.yaml");
    assert!(ended.log.contains("token: [MASKED]"), "{}", ended.log);
    let kubeconfig = fs::read_to_string(desk.path("minter.yaml")).expect("a kubeconfig");
    let minter = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: "))
        .expect("a bearer");
    assert_absent(minter, "the log", &ended.log);
}

/// The guide "Token Management" tests with a token of 30 s. No API server issues a token for so short a time,
/// so jobpass revokes the token after that time. In this test, the time is 1 s.
#[test]
fn less_than_a_minute_can_be_a_lifetime() {
    let desk = Desk::new();
    let script = "kubectl get pods && echo works; while kubectl get pods 2> /dev/null; do sleep 0.1; done; echo refused; exit 9";
    let ended = desk.exec(&["--duration", "1s"], script);
    assert_eq!(ended.code(), 9, "{}", ended.log);
    assert!(
        ended.log.contains("works\n") && ended.log.contains("refused\n"),
        "{}",
        ended.log
    );
    assert!(
        ended
            .log
            .contains("jobpass revoked its token: the token's lifetime of 1 s is over"),
        "{}",
        ended.log
    );
    desk.assert_all_gone(&ended.log);
}

/// jobpass passes a signal on to the command, and the command decides how it ends.
#[rstest]
#[case(Signal::INT, "INT")]
#[case(Signal::TERM, "TERM")]
#[case(Signal::HUP, "HUP")]
#[case(Signal::QUIT, "QUIT")]
#[case(Signal::USR1, "USR1")]
#[case(Signal::USR2, "USR2")]
fn signals_are_passed_on(#[case] signal: Signal, #[case] name: &str) {
    let desk = Desk::new();
    let script = format!("trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.05; done");
    let mut child = desk.start_exec(&[], &script);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    kill_process(Pid::from_child(&child), signal).expect("it is there");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("text");
    let ended = Ended::of(child);
    assert_eq!(
        (ended.code(), &*rest),
        (3, &*format!("got {name}\n")),
        "{}",
        ended.log
    );
    desk.assert_all_gone(&ended.log);
}

/// jobpass passes a signal on even while it waits for an answer about the token.
#[test]
fn a_signal_during_a_timed_revocation_reaches_the_command() {
    let desk = Desk::new();
    let script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = desk.start_exec(&["--duration", "1s", "--verify-revocation", "wait"], script);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    lines.read_line(&mut String::new()).expect("a line");
    // For 10 s, jobpass checks whether the anchor is gone.
    desk.cluster
        .wait_for(std::time::Duration::from_secs(30), |requests| {
            (requests.iter().filter(|r| r.method == "DELETE").count() > 1).then_some(())
        });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("text");
    let ended = Ended::of(child);
    assert_eq!((ended.code(), &*rest), (3, "got it\n"), "{}", ended.log);
}

/// Nobody reads the output, so jobpass could wait for a reader forever. After SIGTERM, jobpass revokes the
/// token and ends.
#[test]
fn output_that_nobody_reads_keeps_nothing() {
    let desk = Desk::new();
    let mut child = desk.start_exec(&[], "echo ready; exec yes");
    let mut lines = BufReader::with_capacity(6, child.stdout.take().expect("a pipe"));
    lines.read_line(&mut String::new()).expect("a line");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
    let status = child.wait().expect("it ends");
    assert!(!status.success());
    assert!(desk.cluster.anchors().is_empty());
    drop(lines);
}

#[test]
fn a_relative_folder_for_temporary_files_will_do() {
    let desk = Desk::new();
    fs::create_dir(desk.path("here")).expect("made");
    let arguments = [&EXEC[..], &["--", "sh", "-c", "ls \"$KUBECONFIG\""]].concat();
    let ended = Ended::of(desk.start_with(&arguments, &[("TMPDIR", "here")]));
    assert_eq!(ended.code(), 0, "{}", ended.log);
    assert_eq!(fs::read_dir(desk.path("here")).expect("a folder").count(), 0);
}

/// A command that ignores SIGTERM continues, but jobpass revokes its token.
#[test]
fn a_command_that_does_not_stop_loses_its_token() {
    let desk = Desk::new();
    let script =
        "trap '' TERM; echo ready; while [ -e \"$JOBPASS_TOKEN_FILE\" ]; do sleep 0.05; done; echo went on";
    let mut child = desk.start_exec(&[], script);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    lines.read_line(&mut String::new()).expect("a line");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("text");
    let ended = Ended::of(child);
    assert_eq!((ended.code(), &*rest), (0, "went on\n"), "{}", ended.log);
    assert!(
        ended
            .log
            .contains("jobpass revoked its token: a signal told the command to stop"),
        "{}",
        ended.log
    );
    desk.assert_all_gone(&ended.log);
}

/// A process may outlive the command. jobpass neither waits for it, nor ends it by SIGPIPE.
#[test]
fn what_it_leaves_in_the_background_is_not_waited_for() {
    let desk = Desk::new();
    let script =
        "mkfifo done; (while [ -e minter.yaml ]; do echo tick; sleep 0.02; done; echo x > done) & echo over";
    let ended = desk.exec(&[], script);
    assert_eq!(ended.code(), 0, "{}", ended.log);
    fs::remove_file(desk.path("minter.yaml")).expect("there");
    // The writer opens the pipe only if it still runs.
    assert_eq!(fs::read_to_string(desk.path("done")).expect("it lived"), "x\n");
}

/// After SIGKILL, the files that `revoke` needs are still there.
#[test]
fn a_kill_leaves_the_state() {
    let desk = Desk::new();
    let mut child = desk.start_exec(&[], "echo ready; sleep 600 & echo $!; wait");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let (mut line, mut sleeper) = (String::new(), String::new());
    lines.read_line(&mut line).expect("a line");
    lines.read_line(&mut sleeper).expect("a line");
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    let folder = fs::read_dir(desk.path("tmp"))
        .expect("a folder")
        .flatten()
        .next()
        .expect("its folder");
    assert_eq!(
        folder.metadata().expect("there").permissions().mode() & 0o777,
        0o700
    );
    let state = folder.path().join("state.json");
    let revoked = desk.run(&["revoke", "--state-file", &state.to_string_lossy()]);
    assert_eq!(revoked.code(), 0, "{}", revoked.log);
    assert!(desk.cluster.anchors().is_empty() && !desk.cluster.accepts(&desk.cluster.issued()[0]));
    let sleeper = sleeper
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid");
    kill_process(sleeper, Signal::KILL).expect("it is there");
}

#[rstest]
#[case(&["--", "no-such-program"], "input `COMMAND` is `no-such-program`")]
#[case(&["--", "./minter.yaml"], "not a program that jobpass can run")]
#[case(&["--duration", "0", "--", "true"], "the time is zero")]
#[case(&["--env", "A B", "--", "true"], "input `env` is not the name of a variable")]
#[case(&["--verify-revocation", "maybe", "--", "true"], "use `off`, `quick` or `wait`")]
#[case(&[], "<COMMAND>...")]
fn what_cannot_be_run_creates_nothing(#[case] arguments: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    let ended = desk.run(&[&EXEC, arguments].concat());
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert!(desk.cluster.requests().is_empty());
}

#[rstest]
#[case("false", "true", 0)]
#[case("true", "true", 7)]
#[case("true", "exit 3", 3)]
fn a_token_that_cannot_be_revoked_is_said(#[case] fail: &str, #[case] script: &str, #[case] code: i32) {
    let desk = Desk::new();
    desk.cluster.inject(Fault {
        method: "DELETE",
        path_contains: "/secrets/".into(),
        times: 9,
        kind: FaultKind::Answer {
            status: 403,
            headers: Vec::new(),
            body: serde_json::json!({"kind": "Status", "reason": "Forbidden", "message": "no", "code": 403})
                .to_string(),
        },
    });
    let ended = desk.exec(&["--fail-on-revoke-error", fail], script);
    assert_eq!(ended.code(), code, "{}", ended.log);
    assert!(
        ended.log.contains("kubectl delete secret jobpass-"),
        "{}",
        ended.log
    );
}
