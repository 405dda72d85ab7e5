//! The command line.

mod exec;
mod expiry_test;
mod inspect;
mod later;
mod learn;
mod legacy;
mod log;
mod memory;
mod outage;
mod proxy;
mod record;
mod renew;
mod revoke;
mod rotate;
mod streams;
mod terminal;

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{cluster::Cluster, github::step::Ended, leaks::assert_absent, support};

/// A folder that contains a minter's kubeconfig.
pub(crate) struct Desk {
    pub(crate) cluster: Cluster,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::at(Cluster::start())
    }

    pub(crate) fn at(cluster: Cluster) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("minter.yaml"), support::minter(&cluster)).expect("written");
        Self { cluster, folder }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.start_with(arguments, &[])
    }

    /// Replaces `NAMESPACE` in a text by the test's namespace.
    pub(crate) fn here(&self, text: &str) -> String {
        text.replace("NAMESPACE", self.cluster.namespace())
    }

    fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        command.spawn().expect("jobpass starts")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = support::scrubbed(Command::new(support::binary("jobpass")));
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .args(arguments.iter().map(|argument| self.here(argument)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments))
    }

    pub(crate) fn mint(&self, more: &[&str]) -> Ended {
        self.run(&[&MINT, more].concat())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).expect("a folder").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        // kubectl puts its cache into `.kube` in this folder.
        names
            .filter(|name| ![".kube", "minter.yaml"].contains(&&**name) && !self.is_over(name))
            .collect()
    }

    /// Whether a file is a state file whose token is revoked.
    fn is_over(&self, name: &str) -> bool {
        let record = fs::read_to_string(self.path(name)).unwrap_or_default();
        let record = serde_json::from_str::<serde_json::Value>(&record).unwrap_or_default();
        name.ends_with(".jobpass.json") && record["receipt"]["revoked"].is_string()
    }

    fn assert_nothing_left(&self, log: &str) {
        assert!(self.cluster.anchors().is_empty(), "{log}");
        assert!(
            self.cluster
                .issued()
                .iter()
                .all(|token| !self.cluster.accepts(token)),
            "{log}"
        );
        assert!(self.left().is_empty(), "{:?}\n{log}", self.left());
    }
}

const MINT: [&str; 7] = [
    "mint",
    "--service-account",
    "scanner",
    "--namespace",
    "NAMESPACE",
    "--kubeconfig",
    "minter.yaml",
];

#[test]
fn mint_use_revoke() {
    let desk = Desk::new();
    let minted = desk
        .mint(&["--kubeconfig-file", "scan.yaml", "--duration", "10m"])
        .succeeded();
    let token = desk.cluster.issued().remove(0);
    let says = desk.here("minted a token for ServiceAccount NAMESPACE/scanner");
    assert!(minted.log.contains(&says), "{}", minted.log);
    assert!(
        support::kubectl(desk.path("scan.yaml"), &["get", "pods"])
            .status
            .success()
    );

    let revoked = desk
        .run(&[
            "revoke",
            "--kubeconfig-file",
            "scan.yaml",
            "--verify-revocation",
            "wait",
            "--output",
            "json",
        ])
        .succeeded();
    let line = revoked.log.lines().next().expect("a receipt");
    let receipt: serde_json::Value = serde_json::from_str(line).expect("one line of JSON");
    assert_eq!(receipt["proof"], "long-unauthorized");
    for log in [&minted.log, &revoked.log] {
        assert_absent(&token, "what it printed", log);
    }
    desk.assert_nothing_left(&revoked.log);
}

/// kube-apiserver prefers a client certificate to a token. So jobpass must test the token without the
/// certificate.
#[test]
fn a_client_certificate_mints_and_its_token_is_proven_dead() {
    let desk = Desk::new();
    fs::write(desk.path("minter.yaml"), desk.cluster.admin_kubeconfig()).expect("written");
    desk.mint(&["--token-file", "token"]).succeeded();
    let revoked = desk
        .run(&["revoke", "--token-file", "token", "--verify-revocation", "wait"])
        .succeeded();
    assert!(
        revoked.log.contains("the API server answers 401 to the token"),
        "{}",
        revoked.log
    );
    desk.assert_nothing_left(&revoked.log);
}

#[test]
fn a_token_for_others_is_proven_dead_by_its_anchor() {
    let desk = Desk::new();
    desk.mint(&["--token-file", "token", "--audiences", "vault"])
        .succeeded();
    let revoked = desk
        .run(&["revoke", "--token-file", "token", "--verify-revocation", "wait"])
        .succeeded();
    assert!(
        revoked
            .log
            .contains("the anchor has been gone for more than 10 s"),
        "{}",
        revoked.log
    );
    desk.assert_nothing_left(&revoked.log);
}

#[rstest]
#[case::nowhere(&[], "input `token-file` is missing")]
#[case::state_alone(&["--state-file", "state"], "input `token-file` is missing")]
#[case::chosen_name(&["--token-file", "true"], "on the command line, give a path")]
#[case::same(&["--token-file", "t", "--kubeconfig-file", "t"], "the same as `token-file`")]
#[case::same_as_state(&["--token-file", "t", "--state-file", "t"], "the same as one of the token's files")]
#[case::duration(&["--token-file", "t", "--duration", "30s"], "less than 10 minutes")]
#[case::secret_in_argv(&["--token-file", "t", "--kubeconfig", "{clusters: []}"], "names no file that exists")]
fn wrong_input_is_refused_before_anything_is_asked(#[case] more: &[&str], #[case] why: &str) {
    let desk = Desk::new();
    let arguments = match more.contains(&"--kubeconfig") {
        true => [&MINT[..5], more].concat(),
        false => [&MINT[..], more].concat(),
    };
    let ended = desk.run(&arguments);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert!(desk.cluster.requests().is_empty());
    desk.assert_nothing_left(&ended.log);
}

#[test]
fn a_second_token_does_not_take_the_place_of_the_first() {
    let desk = Desk::new();
    desk.mint(&["--token-file", "token"]).succeeded();
    let again = desk.mint(&["--token-file", "token"]);
    assert_eq!(again.code(), 2, "{}", again.log);
    assert!(again.log.contains("which exists already"), "{}", again.log);
    desk.run(&["revoke", "--token-file", "token"]).succeeded();
    desk.mint(&["--token-file", "token"]).succeeded();
    desk.run(&["revoke", "--token-file", "token"]).succeeded();
}

#[rstest]
fn stopped_while_minting(
    #[values(Signal::KILL, Signal::INT, Signal::TERM)] signal: Signal,
    #[values("/secrets", "/token")] path: &'static str,
) {
    let desk = Desk::new();
    desk.cluster.inject(Fault {
        method: "POST",
        path_contains: path.into(),
        times: 1,
        kind: FaultKind::HoldAfter,
    });
    let mint = desk.start(&[&MINT[..], &["--token-file", "token"]].concat());
    desk.cluster.wait_for(Duration::from_secs(60), |_| match path {
        "/secrets" => (!desk.cluster.anchors().is_empty()).then_some(()),
        _ => (!desk.cluster.issued().is_empty()).then_some(()),
    });
    kill_process(Pid::from_child(&mint), signal).expect("it is there");
    let mut log = Ended::of(mint).log;
    if signal == Signal::KILL || !desk.left().is_empty() {
        log += &desk.run(&["revoke", "--token-file", "token"]).succeeded().log;
    }
    desk.assert_nothing_left(&log);
}

#[test]
fn an_interrupted_proof_does_not_say_that_the_token_lives() {
    let desk = Desk::new();
    desk.mint(&["--token-file", "token"]).succeeded();
    let revoke = desk.start(&["revoke", "--token-file", "token", "--verify-revocation", "wait"]);
    desk.cluster.wait_for(Duration::from_secs(60), |requests| {
        requests
            .iter()
            .any(|r| r.path == "/version" && r.status.is_some())
            .then_some(())
    });
    kill_process(Pid::from_child(&revoke), Signal::INT).expect("it is there");
    let revoke = Ended::of(revoke);
    assert_eq!(revoke.code(), 7, "{}", revoke.log);
    assert!(
        revoke
            .log
            .contains("jobpass could not prove that the token is dead: interrupted"),
        "{}",
        revoke.log
    );
    assert!(desk.cluster.anchors().is_empty());
}

/// The YAML of docs/minter.md gives the minter all permissions that it needs. It gives the job those that the
/// examples use.
#[test]
fn the_rbac_by_hand_is_enough() {
    let page = fs::read_to_string(support::root().join("docs/minter.md")).expect("docs/minter.md");
    let blocks = page
        .split("```yaml\n")
        .filter_map(|rest| rest.split_once("```").map(|(yaml, _)| yaml));
    let rbac = blocks
        .filter(|yaml| yaml.contains("kind: RoleBinding"))
        .collect::<Vec<_>>();
    let [minter, with_rules] = rbac[..] else {
        panic!("two blocks of RBAC in docs/minter.md")
    };
    let rbac = format!("{minter}---\n{with_rules}");
    let desk = Desk::new();
    let namespace = desk.cluster.other_namespace("readme");
    fs::write(
        desk.path("rbac.yaml"),
        rbac.replace("ci}", "NAMESPACE}")
            .replace("name: ci", "name: NAMESPACE")
            .replace("NAMESPACE", &namespace),
    )
    .expect("written");
    let admin = support::admin(&desk.cluster);
    let applied = support::kubectl(
        admin.path(),
        &[
            "apply",
            "--filename",
            desk.path("rbac.yaml").to_str().expect("text"),
        ],
    );
    assert!(applied.status.success(), "{applied:?}");
    let minter = desk
        .cluster
        .service_account_token(&namespace, "jobpass-minter", Duration::from_secs(3600));
    fs::write(
        desk.path("readme.yaml"),
        desk.cluster.kubeconfig(&minter, &namespace),
    )
    .expect("written");

    let whose = [
        &["--service-account", "scanner"][..],
        &[
            "--role-rules",
            "get pods",
            "--role-rules",
            "list pods",
            "--role-rules",
            "create pods/exec target-pod",
        ],
        &[
            "--role-rules",
            "- {apiGroups: [''], resources: [pods], verbs: [get]}",
        ],
    ];
    for whose in whose {
        let mint = [
            "mint",
            "--kubeconfig",
            "readme.yaml",
            "--kubeconfig-file",
            "scan.yaml",
        ];
        desk.run(&[&mint, whose].concat()).succeeded();
        let get = support::kubectl(desk.path("scan.yaml"), &["get", "pods", "a-pod"]);
        let answer = String::from_utf8_lossy(&get.stderr);
        assert!(answer.contains("NotFound"), "{answer}");
        desk.run(&["revoke", "--kubeconfig-file", "scan.yaml"])
            .succeeded();
        assert!(desk.cluster.anchors().is_empty());
    }
}

/// Many client libraries ignore `tokenFile`, so the kubeconfig must contain the token.
#[test]
fn a_kubeconfig_holds_the_token() {
    let desk = Desk::new();
    let minted = desk.mint(&["--kubeconfig-file", "scan.yaml"]).succeeded();
    assert_eq!(
        desk.left().len(),
        2,
        "the kubeconfig and the state: {:?}",
        desk.left()
    );
    let token = desk.cluster.issued().remove(0);
    let kubeconfig = fs::read_to_string(desk.path("scan.yaml")).expect("a kubeconfig");
    assert!(kubeconfig.contains(&token));
    let state = fs::read_to_string(desk.path("scan.yaml.jobpass.json")).expect("a state");
    for (place, text) in [("the log", &minted.log), ("the state", &state)] {
        assert_absent(&token, place, text);
    }
    assert!(
        support::kubectl(desk.path("scan.yaml"), &["get", "pods"])
            .status
            .success()
    );
    let revoked = desk
        .run(&[
            "revoke",
            "--kubeconfig-file",
            "scan.yaml",
            "--verify-revocation",
            "wait",
        ])
        .succeeded();
    assert!(
        revoked.log.contains("answers 401 to the token"),
        "{}",
        revoked.log
    );
    desk.assert_nothing_left(&revoked.log);
}
