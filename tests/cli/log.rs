//! The log on standard error as lines of JSON, beside the result on standard output.

use std::fs;

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use serde_json::Value;

use super::{Desk, MINT};
use crate::{leaks::assert_absent, support};

impl Desk {
    /// Runs jobpass with its log as JSON. Returns the exit code, the standard output, and each line of the
    /// log.
    fn logged(&self, arguments: &[&str]) -> (i32, String, Vec<Value>) {
        let child = self.start_with(arguments, &[("JOBPASS_LOG_FORMAT", "json")]);
        let output = child.wait_with_output().expect("jobpass ends");
        let [result, log] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
        let minter = fs::read_to_string(self.path("minter.yaml")).expect("a kubeconfig");
        let (_, minter) = minter.split_once("token: ").expect("a token");
        let minter = minter
            .lines()
            .next()
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
        for secret in self.cluster.issued().iter().chain([&minter]) {
            assert_absent(secret, "the log", &log);
            assert_absent(secret, "the result", &result);
        }
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
        let lines = lines.collect::<Vec<_>>();
        for line in &lines {
            let time = line["time"].as_str().expect("a time");
            assert!(
                time.len() > 19 && time.contains('T') && time.ends_with('Z'),
                "{line}"
            );
        }
        (output.status.code().expect("an exit code"), result, lines)
    }
}

#[test]
fn what_happened_and_what_a_token_may_do() {
    let desk = Desk::new();
    let exec = [
        &["exec"],
        &MINT[1..],
        &[
            "--escape-check",
            "off",
            "--require",
            "get pods",
            "--",
            "sh",
            "-c",
            "echo its own words >&2",
        ],
    ];
    let child = desk.start_with(&exec.concat(), &[("JOBPASS_LOG_FORMAT", "json")]);
    let output = child.wait_with_output().expect("jobpass ends");
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success() && log.contains("its own words"), "{log}");
    let lines = log.lines().filter(|line| *line != "its own words");
    let lines = lines
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .collect::<Vec<_>>();
    assert_eq!(lines[0]["access"]["checks"][0]["permission"], "get pods", "{log}");
    let last = lines.last().expect("a line");
    let message = last["message"].as_str().expect("text");
    assert!(
        last["level"] == "info" && message.starts_with("revoked the token"),
        "{last}"
    );
    assert!(last.get("kind").is_none() && last.get("help").is_none(), "{last}");
}

#[rstest]
#[case::input(&["setup", "--service-account", "scanner", "--namespace", "NAMESPACE"], 2, "input")]
#[case::refused(&["mint", "--service-account", "other", "--namespace", "NAMESPACE", "--kubeconfig", "minter.yaml", "--token-file", "t"], 4, "refused")]
#[case::unreachable(
    &["mint", "--service-account", "scanner", "--server", "https://127.0.0.1:1", "--bearer-token-env", "HOME", "--token-file", "t"],
    3,
    "unreachable"
)]
fn a_failure_is_one_line(#[case] arguments: &[&str], #[case] code: i32, #[case] kind: &str) {
    let (status, result, lines) = Desk::new().logged(arguments);
    let [line] = &*lines else { panic!("{lines:?}") };
    assert_eq!((status, &*result), (code, ""), "{line}");
    assert_eq!(
        (&line["level"], &line["kind"], &line["exit-code"]),
        (&"error".into(), &kind.into(), &code.into()),
        "{line}"
    );
    let message = line["message"].as_str().expect("text");
    assert!(!message.contains('\n') && line["help"].is_string(), "{line}");
}

#[test]
fn warnings_are_lines_and_the_result_is_none_of_them() {
    let setup = [
        "setup",
        "--service-account",
        "scanner",
        "--namespace",
        "NAMESPACE",
        "--minter",
        "user:jane",
    ];
    let (status, result, lines) = Desk::new().logged(&setup);
    assert!(status == 0 && result.contains("kind: Namespace"), "{result}");
    assert!(lines.len() == 1 && lines[0]["level"] == "warning", "{lines:?}");
}

/// The text of an API server stays within one line of the log. jobpass removes the bearer token from the
/// text.
#[test]
fn a_server_that_repeats_what_it_was_sent() {
    let desk = Desk::new();
    let bearer = support::minter_token(&desk.cluster);
    let message = format!("no: {bearer}\n{{\"level\":\"info\"}}\u{1b}[2J");
    let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": 403});
    desk.cluster.inject(Fault {
        method: "POST",
        path_contains: "/secrets".into(),
        times: 1,
        kind: FaultKind::Answer {
            status: 403,
            headers: vec![],
            body: body.to_string(),
        },
    });
    fs::write(desk.path("bearer"), &bearer).expect("written");
    fs::write(desk.path("ca.pem"), desk.cluster.ca_pem()).expect("written");
    let server = desk.cluster.url();
    let minter = [
        "--server",
        &server,
        "--certificate-authority",
        "ca.pem",
        "--bearer-token-file",
        "bearer",
    ];
    let mint = [
        "mint",
        "--service-account",
        "scanner",
        "--namespace",
        "NAMESPACE",
        "--token-file",
        "t",
    ];
    let (_, _, lines) = desk.logged(&[&mint[..], &minter].concat());
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines[0].to_string();
    assert_absent(&bearer, "the log", &line);
    assert!(line.contains("<redacted>") && !line.contains("\\u001b"), "{line}");
}
