//! `jobpass check`: asks the API server for the permissions of a token.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{allow, answer, reviews};
use crate::{cluster::Cluster, github::step::Ended, leaks::assert_absent, support};

/// A folder that contains a kubeconfig and a token of `scanner`.
struct Desk {
    cluster: Cluster,
    folder: TempDir,
    token: String,
}

impl Desk {
    fn new() -> Self {
        let cluster = Cluster::start();
        support::minter(&cluster);
        let hour = Duration::from_secs(3600);
        let token = cluster.service_account_token(cluster.namespace(), "scanner", hour);
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name, text: &str| fs::write(folder.path().join(name), text).expect("written");
        write("scan.yaml", &cluster.kubeconfig(&token, cluster.namespace()));
        write("admin.yaml", &cluster.admin_kubeconfig());
        write("token", &token);
        Self {
            cluster,
            folder,
            token,
        }
    }

    fn check(&self, arguments: &[&str]) -> Ended {
        self.check_with("", arguments)
    }

    fn check_with(&self, input: &str, arguments: &[&str]) -> Ended {
        let mut command = support::scrubbed(Command::new(support::binary("jobpass")));
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path());
        command.arg("check").args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("jobpass starts");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes())
            .expect("read");
        Ended::of(child)
    }
}

const SCAN: [&str; 2] = ["--kubeconfig", "scan.yaml"];

/// The guide "Token Management" asks these questions with `kubectl auth can-i`, in its section "Verifying
/// Token Privileges".
#[test]
fn the_questions_of_the_guide() {
    let desk = Desk::new();
    allow(
        &desk.cluster,
        "{apiGroups: [\"\"], resources: [pods/exec], resourceNames: [target-pod], verbs: [create]}",
    );
    let checked = desk.check(
        &[
            &SCAN[..],
            &[
                "get pods",
                "create pods/exec target-pod",
                "--forbid",
                "create pods/exec",
            ],
        ]
        .concat(),
    );
    let checked = checked.succeeded();
    assert!(
        checked
            .log
            .contains("ok  require  create pods/exec target-pod  allowed  RBAC: allowed by"),
        "{}",
        checked.log
    );
    assert!(
        checked
            .log
            .contains("ok  forbid   create pods/exec             denied"),
        "{}",
        checked.log
    );
}

#[rstest]
#[case::server(&["--server", "URL", "--certificate-authority", "ca.pem", "--bearer-token-file", "token", "--namespace", "NAMESPACE"])]
#[case::server_and_own_namespace(&["--server", "URL", "--certificate-authority", "ca.pem", "--bearer-token-file", "token"])]
#[case::token_in_place_of_the_user(&["--kubeconfig", "admin.yaml", "--token-file", "token", "-n", "NAMESPACE"])]
fn any_token(#[case] whose: &[&str]) {
    let desk = Desk::new();
    fs::write(desk.folder.path().join("ca.pem"), desk.cluster.ca_pem()).expect("written");
    let url = desk.cluster.url();
    let whose = whose
        .iter()
        .map(|argument| match *argument {
            "URL" => &url,
            "NAMESPACE" => desk.cluster.namespace(),
            argument => argument,
        })
        .collect::<Vec<_>>();
    desk.check(
        &[
            &whose[..],
            &["get pods", "--forbid", "get secrets", "--forbid", "delete pods"],
        ]
        .concat(),
    )
    .succeeded();
    let denied = desk.check(&[&whose[..], &["get secrets"]].concat());
    assert_eq!(denied.code(), 5, "{}", denied.log);
    let role = format!(
        "name: jobpass-require-scanner\n  namespace: {}",
        desk.cluster.namespace()
    );
    assert!(denied.log.contains(&role), "{}", denied.log);
}

#[test]
fn permissions_from_standard_input() {
    let desk = Desk::new();
    let checked = desk.check_with(
        "# the scan\nget pods\n\nget secrets\n",
        &[&SCAN[..], &["-"]].concat(),
    );
    assert_eq!(checked.code(), 5, "{}", checked.log);
    assert!(
        checked.log.contains("FAILED  require  get secrets  denied"),
        "{}",
        checked.log
    );
}

#[rstest]
#[case::nothing(&[], "there is nothing to check")]
#[case::not_quoted(&["get", "pods"], "put each permission in quotes")]
#[case::wrong(&["get pod"], "input `PERMISSION` is wrong in line 1: `pod` is not a resource: write `pods`")]
#[case::no_account(&["get pods", "--escape-check", "fail", "--kubeconfig", "admin.yaml"], "the credential is not the token of a ServiceAccount")]
fn wrong_input(#[case] arguments: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    let scan = if arguments.contains(&"--kubeconfig") {
        &[][..]
    } else {
        &SCAN
    };
    let checked = desk.check(&[scan, arguments].concat());
    assert_eq!(checked.code(), 2, "{}", checked.log);
    assert!(checked.log.contains(why), "{}", checked.log);
    assert!(desk.cluster.requests().is_empty());
}

#[test]
fn what_nobody_knows_is_neither_yes_nor_no() {
    let desk = Desk::new();
    fs::write(
        desk.folder.path().join("scan.yaml"),
        desk.cluster
            .kubeconfig("opaque-and-unknown-token", desk.cluster.namespace()),
    )
    .expect("written");
    let checked = desk.check(&[&SCAN[..], &["get pods"]].concat());
    assert_eq!(checked.code(), 3, "{}", checked.log);
    assert!(
        checked.log.contains(
            "get pods  unknown  the API server answered 401: the credential is wrong, expired or revoked"
        ),
        "{}",
        checked.log
    );
}

#[test]
fn every_form_says_the_same() {
    let desk = Desk::new();
    allow(
        &desk.cluster,
        "{apiGroups: [\"\"], resources: [secrets], verbs: [get]}",
    );
    let ask = [
        "get pods",
        "get secrets",
        "list nodes",
        "--forbid",
        "get secrets",
        "--output",
    ];
    let form = |form| {
        let checked = desk.check(&[&SCAN[..], &ask, &[form]].concat());
        assert_eq!(checked.code(), 5, "{}", checked.log);
        checked.log
    };
    let json_text = form("json");
    let json: Value = serde_json::from_str(json_text.lines().next().expect("a line")).expect("JSON");
    let check = |n: usize| {
        json!([
            json["checks"][n]["check"],
            json["checks"][n]["permission"],
            json["checks"][n]["answer"],
            json["checks"][n]["passed"]
        ])
    };
    assert_eq!(check(0), json!(["require", "get pods", "allowed", true]));
    assert_eq!(check(2), json!(["require", "list nodes", "denied", false]));
    assert_eq!(check(3), json!(["forbid", "get secrets", "allowed", false]));
    let namespace = desk.cluster.namespace();
    assert_eq!(
        (&json["passed"], &json["service-account"]),
        (&json!(false), &json!(format!("{namespace}/scanner")))
    );
    assert_eq!(json["escape"][0]["by"], json!(["get secrets"]));

    assert!(form("markdown").contains("| :x: | forbid | `get secrets` | allowed | `RBAC: allowed by"));
    let junit = form("junit");
    let allowed = format!(
        "<testcase classname=\"forbid\" name=\"get secrets\"><failure message=\"allowed\">RBAC: allowed by RoleBinding \
         &quot;scanner-more/{namespace}&quot;"
    );
    for line in [
        "<testsuites tests=\"4\" failures=\"2\" errors=\"0\">",
        "<testcase classname=\"require\" name=\"get pods\"/>",
        "<testcase classname=\"require\" name=\"list nodes\"><failure message=\"denied\"></failure></testcase>",
        &allowed,
    ] {
        assert!(junit.contains(line), "no `{line}` in:\n{junit}");
    }
    let outlives = format!("jobpass: warning: ServiceAccount {namespace}/scanner can outlive its token");
    assert!(form("text").contains(&outlives));
}

/// The API server's reason may contain any text, such as the token from the request.
#[test]
fn a_server_that_echoes_the_token_does_not_get_it_shown() {
    let desk = Desk::new();
    let opaque = "an-opaque-token-of-some-length";
    for token in [opaque, &desk.token] {
        fs::write(desk.folder.path().join("token"), token).expect("written");
        let reason = format!("RBAC: allowed to {token}\n::error::x ##[error]y <script>");
        reviews(
            &desk.cluster,
            answer(201, json!({ "status": { "allowed": true, "reason": reason } })),
        );
        for form in ["text", "json", "markdown", "junit"] {
            let ask = [
                "--kubeconfig",
                "admin.yaml",
                "--token-file",
                "token",
                "--forbid",
                "get pods",
                "--output",
                form,
            ];
            let checked = desk.check(&ask);
            assert_eq!(checked.code(), 5, "{}", checked.log);
            assert_absent(token, form, &checked.log);
            assert!(
                checked.log.contains("allowed to") && !checked.log.contains("##["),
                "{}",
                checked.log
            );
            assert!(
                form != "junit" || !checked.log.contains("<script>"),
                "{}",
                checked.log
            );
        }
    }
}
