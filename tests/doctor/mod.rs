//! `jobpass doctor`. Most tests have a cluster or an input with one fault, and doctor must name that fault.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jobpass_devkit::{Fault, FaultKind, issuer::Issuer};
use rstest::rstest;
use tempfile::TempDir;

use crate::{
    cluster::Cluster,
    github::step::{Ended, Step},
    gitlab::job::Job,
    leaks::{self, assert_absent},
    support,
};

/// A cluster with a minter, and a folder with its credential.
struct Patient {
    cluster: Cluster,
    folder: TempDir,
    token: String,
}

impl Patient {
    fn new() -> Self {
        let cluster = Cluster::start();
        let token = support::minter_token(&cluster);
        let folder = tempfile::tempdir().expect("a folder");
        let patient = Self {
            cluster,
            folder,
            token,
        };
        patient.write("admin.yaml", &patient.cluster.admin_kubeconfig());
        patient.write("ca.pem", &patient.cluster.ca_pem());
        patient.write("token", &patient.token);
        patient
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("written");
    }

    fn set_up(&self) {
        let minter = [
            "--minter",
            "serviceaccount:minter",
            "--apply",
            "--kubeconfig",
            "admin.yaml",
        ];
        self.jobpass("setup", &minter).succeeded();
    }

    fn jobpass(&self, verb: &str, more: &[&str]) -> Ended {
        let mut command = support::scrubbed(Command::new(support::binary("jobpass")));
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path());
        command
            .args([
                verb,
                "--service-account",
                "scanner",
                "--namespace",
                self.cluster.namespace(),
            ])
            .args(more);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ended::of(command.spawn().expect("jobpass starts"))
    }

    fn doctor(&self, more: &[&str]) -> Ended {
        let server = self.cluster.url();
        let minter = [
            "--server",
            &server,
            "--certificate-authority",
            "ca.pem",
            "--bearer-token-file",
            "token",
        ];
        let ended = self.jobpass("doctor", &[&minter, more].concat());
        assert_absent(&self.token, "what doctor printed", &ended.log);
        let secrets = self.cluster.secrets(self.cluster.namespace());
        assert!(self.cluster.issued().is_empty() && secrets.is_empty());
        ended
    }
}

/// Whether a line of the output has this result and this text for a check.
fn says(ended: &Ended, result: &str, check: &str, said: &str) -> bool {
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(" ")
    };
    ended
        .log
        .lines()
        .any(|line| words(line).starts_with(&format!("{result} {check} {said}")))
}

#[track_caller]
fn assert_says(ended: &Ended, result: &str, check: &str, said: &str) {
    assert!(
        says(ended, result, check, said),
        "{result} {check} {said}\n{}",
        ended.log
    );
}

#[test]
fn all_is_well() {
    let patient = Patient::new();
    patient.set_up();
    let doctor = patient.doctor(&[]).succeeded();
    assert!(
        !doctor.log.contains("warning") && !doctor.log.contains('\u{1b}'),
        "{}",
        doctor.log
    );
    let minter = format!("system:serviceaccount:{}:minter", patient.cluster.namespace());
    assert_says(&doctor, "ok", "user", &minter);
    assert_says(
        &doctor,
        "ok",
        "policy for tokens",
        "a policy refuses a token that is not bound",
    );
    assert_says(
        &doctor,
        "ok",
        "policy for anchors",
        "a policy refuses a Secret that is not an anchor",
    );
    assert_says(&doctor, "ok", "other Secrets", "this minter may not list");
    let last = doctor.log.lines().last();
    assert_eq!(last, Some("Minting should work."), "{}", doctor.log);

    let json = patient.doctor(&["--output", "json"]).succeeded();
    let json: serde_json::Value = serde_json::from_str(&json.log).expect("JSON");
    assert_eq!(json["passed"], true);
    assert_eq!(json["findings"][0]["check"], "configuration");
}

#[test]
fn what_minting_works_without_is_a_warning() {
    let patient = Patient::new();
    let doctor = patient.doctor(&[]).succeeded();
    assert_says(
        &doctor,
        "warning",
        "policy for tokens",
        "no policy limits this minter",
    );
    assert_says(
        &doctor,
        "warning",
        "policy for anchors",
        "no policy limits this minter",
    );
    let fix = format!(
        "--minter serviceaccount:{}/minter --apply",
        patient.cluster.namespace()
    );
    assert!(doctor.log.contains(&fix), "{}", doctor.log);

    // An administrator sees more findings.
    let admin = patient
        .jobpass("doctor", &["--kubeconfig", "admin.yaml"])
        .succeeded();
    assert_says(&admin, "warning", "other Secrets", "this minter may list Secrets");
    assert_says(&admin, "ok", "credential", "client certificate, expires in");
}

#[test]
fn a_missing_rule() {
    let patient = Patient::new();
    support::forbid_minter(&patient.cluster);
    let doctor = patient.doctor(&[]);
    assert_eq!(doctor.code(), 4, "{}", doctor.log);
    for (check, rule) in [
        ("may create anchors", "create secrets"),
        ("may delete anchors", "delete secrets"),
        ("may create tokens", "create serviceaccounts/token scanner"),
    ] {
        let said = format!(
            "the minter may not {rule} in namespace {}",
            patient.cluster.namespace()
        );
        assert_says(&doctor, "failed", check, &said);
    }
    // The proposed command corrects the fault.
    patient.set_up();
    patient.doctor(&[]).succeeded();
}

#[test]
fn no_such_service_account() {
    let patient = Patient::new();
    let admin = support::admin(&patient.cluster);
    let namespace = patient.cluster.namespace();
    let deleted = support::kubectl(
        admin.path(),
        &["delete", "serviceaccount", "scanner", "--namespace", namespace],
    );
    assert!(deleted.status.success());
    let doctor = patient.doctor(&[]);
    assert_eq!(doctor.code(), 4, "{}", doctor.log);
    let said = format!("scanner does not exist in namespace {namespace}");
    assert_says(&doctor, "failed", "ServiceAccount", &said);
}

#[test]
fn clocks_that_differ_and_a_token_that_is_over_by_one_of_them() {
    let mut patient = Patient::new();
    patient.cluster.move_date(Duration::from_secs(600));
    let doctor = patient.doctor(&[]).succeeded();
    assert!(
        doctor
            .log
            .contains("this machine's clock is 10 min behind the API server's")
            || doctor
                .log
                .contains("this machine's clock is 9 min 59 s behind the API server's"),
        "{}",
        doctor.log
    );
    // By this machine's clock the token is valid, and the API server refuses it. The API server's own clock
    // cannot move, so the test deletes the ServiceAccount instead. The API server has not cached the token.
    patient.cluster.move_date(Duration::from_secs(7200));
    let (namespace, lifetime) = (patient.cluster.namespace(), Duration::from_secs(3600));
    patient.token = patient
        .cluster
        .service_account_token(namespace, "minter", lifetime);
    patient.write("token", &patient.token);
    let minter = format!("/api/v1/namespaces/{namespace}/serviceaccounts/minter");
    assert_eq!(patient.cluster.ask("DELETE", &minter, None).0, 200);
    let doctor = patient.doctor(&[]);
    assert_eq!(doctor.code(), 4, "{}", doctor.log);
    assert_says(&doctor, "ok", "credential", "token of system:serviceaccount:");
    assert_says(&doctor, "warning", "clock", "this machine's clock is 2 h ");
    assert_says(&doctor, "failed", "user", "the API server answered 401");
}

#[test]
fn an_older_kubernetes() {
    let patient = Patient::new();
    let fault = |method, path: &str, kind| {
        patient.cluster.inject(Fault {
            method,
            path_contains: path.into(),
            times: 1,
            kind,
        });
    };
    fault(
        "GET",
        "/version",
        FaultKind::RewriteBody(|version| {
            version["minor"] = "27".into();
            version["gitVersion"] = "v1.27.16".into();
        }),
    );
    let body = r#"{"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "details": {},
        "message": "the server could not find the requested resource", "code": 404}"#;
    fault(
        "POST",
        "selfsubjectreviews",
        FaultKind::Answer {
            status: 404,
            headers: vec![],
            body: body.into(),
        },
    );
    let doctor = patient.doctor(&[]).succeeded();
    assert_says(&doctor, "warning", "version", "Kubernetes 1.27");
    assert_says(&doctor, "unknown", "user", "the API server cannot name the user");
}

#[rstest]
#[case(&["--server", "https://127.0.0.1:1", "--bearer-token-file", "token"], 3, "failed reachable cannot reach")]
#[case(&["--server", "https://127.0.0.1:1", "--bearer-token-env", "NONE"], 2, "failed configuration input `bearer-token-env`")]
#[case(&[], 2, "failed configuration input `kubeconfig` is missing")]
fn nobody_is_reached(#[case] more: &[&str], #[case] code: i32, #[case] said: &str) {
    let patient = Patient::new();
    let doctor = patient.jobpass("doctor", more);
    assert_eq!(doctor.code(), code, "{}", doctor.log);
    let log = doctor.log.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(log.contains(said), "{}", doctor.log);
}

#[test]
fn another_certificate_authority() {
    let patient = Patient::new();
    patient.write("ca.pem", &Cluster::start().ca_pem());
    let doctor = patient.doctor(&[]);
    assert_eq!(doctor.code(), 3, "{}", doctor.log);
    assert!(
        doctor
            .log
            .contains("does not come from a trusted certificate authority"),
        "{}",
        doctor.log
    );
    assert!(
        doctor.log.contains("as `certificate-authority`"),
        "{}",
        doctor.log
    );
}

#[test]
fn an_id_token_that_is_over() {
    let mut patient = Patient::new();
    // The test builds jobpass before it signs the token, because the text says how long ago the token
    // expired.
    support::binary("jobpass");
    patient.token = Issuer::github().expired().id_token("k8s");
    patient.write("token", &patient.token);
    let doctor = patient.doctor(&[]);
    assert_eq!(doctor.code(), 4, "{}", doctor.log);
    let said = "ID token of https://token.actions.githubusercontent.com for k8s, expired 1 min";
    assert_says(&doctor, "failed", "credential", said);
}

/// Whatever the API server answers, doctor shows neither the bearer token nor control characters.
#[test]
fn a_server_that_repeats_what_it_was_sent() {
    const BEARER: &str = "not-a-jwt-but-a-secret-all-the-same";
    let mut patient = Patient::new();
    patient.token = BEARER.into();
    patient.write("token", BEARER);
    let answer = |path: &str, status, body: String| {
        patient.cluster.inject(Fault {
            method: if path == "/version" { "GET" } else { "POST" },
            path_contains: path.into(),
            times: usize::MAX,
            kind: FaultKind::Answer {
                status,
                headers: vec![],
                body,
            },
        });
    };
    let version = format!(r#"{{"major": "1", "minor": "36", "gitVersion": "v{BEARER}\u001b[2J"}}"#);
    answer("/version", 200, version);
    answer(
        "selfsubjectreviews",
        201,
        format!(r#"{{"status": {{"userInfo": {{"username": "{BEARER}"}}}}}}"#),
    );
    let unsure = format!(r#"{{"status": {{"allowed": false, "evaluationError": "{BEARER}\n::error::x"}}}}"#);
    answer("selfsubjectaccessreviews", 201, unsure);
    let doctor = patient.doctor(&[]);
    assert_says(&doctor, "ok", "user", "<redacted>");
    let said = format!(
        "create serviceaccounts/token scanner in namespace {}: <redacted>",
        patient.cluster.namespace()
    );
    assert_says(&doctor, "unknown", "may create tokens", &said);
    assert!(
        !doctor.log.contains('\u{1b}') && !doctor.log.contains("\n::"),
        "{}",
        doctor.log
    );
}

#[test]
fn the_action_looks_by_itself_when_minting_fails() {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let token = support::minter_token(&cluster);
    support::forbid_minter(&cluster);
    let refused = Step::scanner(&kubeconfig, &[]).main();
    assert_eq!(refused.code(), 4, "{}", refused.log);
    let first = refused
        .log
        .find("::error title=jobpass::cannot create the anchor")
        .expect("the first error");
    let found = refused
        .log
        .find("`jobpass doctor` finds these problems from this machine")
        .expect("a diagnosis");
    assert!(first < found, "{}", refused.log);
    assert!(
        refused
            .log
            .contains("failed   the minter may not create serviceaccounts/token scanner"),
        "{}",
        refused.log
    );
    assert_absent(&token, "the log", &leaks::github::shown(&refused.log));
}

#[test]
fn so_do_the_gitlab_component_and_the_command_line() {
    let patient = Patient::new();
    let job = Job::with(&patient.cluster, &[("token-file", "true")]);
    support::forbid_minter(&patient.cluster);
    let server = patient.cluster.url();
    let minter = [
        "--server",
        &server,
        "--certificate-authority",
        "ca.pem",
        "--bearer-token-file",
        "token",
    ];
    let mint = patient.jobpass("mint", &[&minter[..], &["--token-file", "scan"]].concat());
    let exec = patient.jobpass("exec", &[&minter[..], &["--", "true"]].concat());
    for refused in [job.mint(), mint, exec] {
        assert_eq!(refused.code(), 4, "{}", refused.log);
        let found = "failed   the minter may not create serviceaccounts/token scanner";
        assert!(refused.log.contains(found), "{}", refused.log);
        assert_absent(&patient.token, "the log", &refused.log);
    }
}

/// An API server may refuse one request and then stop answering. The diagnosis must not delay the job for
/// long.
#[test]
fn the_action_does_not_look_for_long() {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    support::forbid_minter(&cluster);
    cluster.inject(Fault {
        method: "GET",
        path_contains: "/version".into(),
        times: 100,
        kind: FaultKind::HoldBefore,
    });
    support::binary("jobpass-github");
    let begun = Instant::now();
    let refused = Step::scanner(&kubeconfig, &[]).main();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(refused.code(), 4, "{}", refused.log);
    assert!(
        refused
            .log
            .contains("::error title=jobpass::cannot create the anchor"),
        "{}",
        refused.log
    );
}

#[test]
fn legacy_tokens_that_nothing_will_ever_delete_are_named() {
    let patient = Patient::new();
    let legacy = |name: &str, more: &str| {
        patient.cluster.apply(&format!(
            "{{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {{name: {name}, namespace: NAMESPACE, \
             annotations: {{kubernetes.io/service-account.name: scanner{more}}}}}}}"
        ));
    };
    let finds = |result: &str, said: &str| {
        let ended = patient
            .jobpass("doctor", &["--kubeconfig", "admin.yaml"])
            .succeeded();
        assert_says(&ended, result, "legacy tokens", said);
    };
    let namespace = patient.cluster.namespace();
    patient.write(
        "minter.yaml",
        &patient.cluster.kubeconfig(&patient.token, namespace),
    );
    let none = format!("every legacy token in namespace {namespace} has an expiry or an owner");
    finds("ok", &none);
    legacy("goes", ", kubernetes.io/service-account.expiration: \"86400\"");
    finds("ok", &none);
    (0..7).for_each(|number| legacy(&format!("stays-{number}"), ""));
    finds(
        "warning",
        &format!(
            "in namespace {namespace}, these Secrets of legacy tokens have neither an expiry nor an owner: stays-0, stays-1, stays-2, stays-3, stays-4, and 2 more"
        ),
    );
    // The minter lacks the permission to list Secrets.
    let asked = patient.jobpass("doctor", &["--kubeconfig", "minter.yaml"]);
    assert_says(&asked, "ok", "legacy tokens", "this minter may not list Secrets");
}

#[test]
fn what_a_legacy_token_takes_is_looked_at() {
    let patient = Patient::new();
    let finds = |code: i32, result: &str, check: &str, said: &str| {
        let ended = patient.doctor(&["--type", "legacy"]);
        assert_eq!(ended.code(), code, "{}", ended.log);
        assert_says(&ended, result, check, said);
    };
    let no = format!(
        "the minter may not get secrets in namespace {}",
        patient.cluster.namespace()
    );
    finds(4, "failed", "may read Secrets", &no);
    support::allow_reading(&patient.cluster);
    finds(
        0,
        "ok",
        "policy for anchors",
        "no policy refuses the Secret of a legacy token",
    );
    patient.set_up();
    finds(
        4,
        "failed",
        "policy for anchors",
        "a policy refuses the Secrets of legacy tokens",
    );
}
