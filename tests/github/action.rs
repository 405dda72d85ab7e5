//! The action in users' workflows. `act`, a runner for one machine, runs them.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::{cluster::Cluster, leaks::corpus, support};

/// The GitHub example of the guide "Token Management". The action replaces `kubectl create token`.
const GENERATE_TOKEN_AND_RUN_SCAN: &str = r#"
on: push
jobs:
  scan:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5

      - name: Generate Token
        id: generate-token
        uses: jobpass/jobpass@v1
        with:
          service-account: scanner
          namespace: NAMESPACE
          kubeconfig: ${{ secrets.KUBECONFIG }}

      - name: Run Scan
        env:
          TOKEN: ${{ steps.generate-token.outputs.token }}
        run: |
          echo "$TOKEN" > token.txt
          ./run_scan.sh token.txt
"#;

/// A scanner that calls the API with the token. `$SERVER`, `$CA` and `$NAMESPACE` name the cluster.
pub(crate) const RUN_SCAN: &str = r#"#!/bin/sh
set -eu
kubectl --server "$SERVER" --certificate-authority "$CA" --token "$(cat "$1")" get pods --namespace "$NAMESPACE"
echo "scan finished"
"#;

/// A repository with a workflow, and the cluster that it uses.
pub(crate) struct Repository {
    pub(crate) cluster: Cluster,
    /// The secret `KUBECONFIG`. Empty if the repository has no secrets.
    kubeconfig: String,
    action: TempDir,
    folder: TempDir,
}

impl Repository {
    fn with_workflow(workflow: &str) -> Self {
        Self::with_workflow_and(workflow, &[])
    }

    /// Creates a repository with actions of its own in `.github/actions`, by name.
    fn with_workflow_and(workflow: &str, actions: &[(&str, &str)]) -> Self {
        let cluster = Cluster::start();
        let kubeconfig = support::minter(&cluster);
        Self::with_actions(workflow, actions, cluster, kubeconfig)
    }

    pub(crate) fn without_secrets(workflow: &str, cluster: Cluster) -> Self {
        Self::new(workflow, cluster, String::new())
    }

    fn new(workflow: &str, cluster: Cluster, kubeconfig: String) -> Self {
        Self::with_actions(workflow, &[], cluster, kubeconfig)
    }

    fn with_actions(workflow: &str, actions: &[(&str, &str)], cluster: Cluster, kubeconfig: String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, manifest) in actions {
            let action = folder.path().join(".github/actions").join(name);
            fs::create_dir_all(&action).expect("made");
            fs::write(action.join("action.yml"), manifest).expect("written");
        }
        let workflows = folder.path().join(".github/workflows");
        fs::create_dir_all(&workflows).expect("made");
        let workflow = workflow.replace("NAMESPACE", cluster.namespace());
        fs::write(workflows.join("scan.yml"), workflow).expect("written");
        fs::write(folder.path().join("ca.pem"), cluster.ca_pem()).expect("written");
        fs::write(
            folder.path().join(".secrets"),
            format!("KUBECONFIG={}\n", STANDARD.encode(&kubeconfig)),
        )
        .expect("written");
        fs::write(folder.path().join("careless.sh"), corpus::script()).expect("written");
        let script = folder.path().join("run_scan.sh");
        fs::write(&script, RUN_SCAN).expect("written");
        make_executable(&script);
        let repository = Self {
            cluster,
            kubeconfig,
            action: support::action(),
            folder,
        };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.git(&["add", "."]);
        repository.git(&[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "commit",
            "--quiet",
            "--message",
            "scan",
        ]);
        repository
    }

    fn start(&self) -> Child {
        self.start_with(|_| {})
    }

    fn start_with(&self, more: impl FnOnce(&mut Command)) -> Child {
        let tools = support::tool("act");
        let mut act = support::scrubbed(Command::new(&tools));
        act.current_dir(self.folder.path()).args([
            "push",
            "-P",
            "ubuntu-latest=-self-hosted",
            "--pull=false",
        ]);
        act.args([
            "--action-offline-mode",
            "--no-cache-server",
            "--secret-file",
            ".secrets",
            "--local-repository",
        ]);
        act.arg(format!("jobpass/jobpass@v1={}", self.action.path().display()));
        for (name, value) in [
            ("SERVER", self.cluster.url()),
            ("NAMESPACE", self.cluster.namespace().to_owned()),
            ("CA", self.folder.path().join("ca.pem").display().to_string()),
        ] {
            act.arg("--env").arg(format!("{name}={value}"));
        }
        more(&mut act);
        let path = std::env::var("PATH").unwrap_or_default();
        act.env(
            "PATH",
            format!("{}:{path}", tools.parent().unwrap_or(Path::new("")).display()),
        );
        // act must use neither the caches nor the home folder of this machine.
        act.env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join(".cache"));
        act.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        act.spawn().expect("act starts")
    }

    /// Runs the workflow to its end. Returns its log, and whether it succeeded.
    fn run(&self) -> (String, bool) {
        self.ended(self.start())
    }

    /// Like [`Repository::run`], with more arguments for `act`.
    pub(crate) fn run_with(&self, more: impl FnOnce(&mut Command)) -> (String, bool) {
        self.ended(self.start_with(more))
    }

    fn ended(&self, act: Child) -> (String, bool) {
        let output = act.wait_with_output().expect("act ends");
        let log =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        self.assert_nothing_leaked(&log);
        (log, output.status.success())
    }

    fn assert_nothing_leaked(&self, log: &str) {
        for token in self.cluster.issued() {
            for part in token.split('.').skip(1) {
                assert!(!log.contains(part), "a part of the token is in the log:\n{log}");
            }
        }
        let lines = self.kubeconfig.lines();
        let minter = lines.filter_map(|line| line.trim().strip_prefix("token: "));
        for minter in minter {
            assert!(!log.contains(minter), "the minter's token is in the log:\n{log}");
        }
    }

    fn assert_revoked(&self, log: &str) {
        let issued = self.cluster.issued();
        assert_eq!(issued.len(), 1, "{log}");
        assert!(
            self.cluster.anchors().is_empty() && !self.cluster.accepts(&issued[0]),
            "{log}"
        );
    }

    fn git(&self, arguments: &[&str]) {
        let status = Command::new("git")
            .current_dir(self.folder.path())
            .args(arguments)
            .status();
        assert!(status.expect("git starts").success());
    }
}

#[test]
fn generate_token_and_run_scan() {
    let repository = Repository::with_workflow(GENERATE_TOKEN_AND_RUN_SCAN);
    let (log, succeeded) = repository.run();
    assert!(succeeded, "{log}");
    let namespace = repository.cluster.namespace();
    let revoked = format!("revoked the token of ServiceAccount {namespace}/scanner");
    assert!(log.contains("scan finished") && log.contains(&revoked), "{log}");
    repository.assert_revoked(&log);
    let scanner = format!("system:serviceaccount:{namespace}:scanner");
    let used = repository.cluster.requests();
    assert!(
        used.iter().any(|r| r.path.contains("/pods") && r.user == scanner),
        "{used:?}"
    );
}

/// A company's login action calls jobpass, and a team's login action calls the company's. Below two composite
/// actions, GitHub's runner gives post no inputs, or wrong ones.
#[test]
fn two_composite_actions_deep() {
    let workflow = GENERATE_TOKEN_AND_RUN_SCAN
        .replace("uses: jobpass/jobpass@v1", "uses: ./.github/actions/team")
        .replace("          service-account: scanner\n", "");
    let repository = Repository::with_workflow_and(&workflow, &[("team", TEAM), ("login", LOGIN)]);
    let (log, succeeded) = repository.run();
    assert!(succeeded, "{log}");
    assert!(
        log.contains("scan finished") && log.contains("revoked the token"),
        "{log}"
    );
    repository.assert_revoked(&log);
}

const TEAM: &str = r#"
name: team
description: Logs the team's jobs in
inputs:
  namespace: {required: true, description: Namespace}
  kubeconfig: {required: true, description: Kubeconfig}
outputs:
  token: {description: Token, value: "${{ steps.login.outputs.token }}"}
runs:
  using: composite
  steps:
    - uses: ./.github/actions/login
      id: login
      with:
        account: scanner
        namespace: ${{ inputs.namespace }}
        kubeconfig: ${{ inputs.kubeconfig }}
"#;

const LOGIN: &str = r#"
name: login
description: Logs jobs in
inputs:
  account: {required: true, description: ServiceAccount}
  namespace: {required: true, description: Namespace}
  kubeconfig: {required: true, description: Kubeconfig}
outputs:
  token: {description: Token, value: "${{ steps.jobpass.outputs.token }}"}
runs:
  using: composite
  steps:
    - uses: jobpass/jobpass@v1
      id: jobpass
      with:
        service-account: ${{ inputs.account }}
        namespace: ${{ inputs.namespace }}
        kubeconfig: ${{ inputs.kubeconfig }}
        fail-on-revoke-error: true
"#;

#[test]
fn a_later_step_fails() {
    let failing = GENERATE_TOKEN_AND_RUN_SCAN.to_owned() + "      - run: exit 3\n";
    let repository = Repository::with_workflow(&failing);
    let (log, succeeded) = repository.run();
    assert!(!succeeded && log.contains("revoked the token"), "{log}");
    repository.assert_revoked(&log);
}

#[test]
fn main_fails() {
    let wrong = GENERATE_TOKEN_AND_RUN_SCAN.replace("service-account: scanner", "service-account: nobody");
    let repository = Repository::with_workflow(&wrong);
    let (log, succeeded) = repository.run();
    assert!(
        !succeeded && log.contains("cannot get a token: the API server answered 403"),
        "{log}"
    );
    assert!(!log.contains("scan finished"), "{log}");
    assert!(
        repository.cluster.issued().is_empty() && repository.cluster.anchors().is_empty(),
        "{log}"
    );
}

#[test]
fn the_job_is_cancelled() {
    // After the scan has listed Pods, the job runs a step that takes long.
    let waiting = GENERATE_TOKEN_AND_RUN_SCAN.to_owned() + "      - run: sleep 600\n";
    let repository = Repository::with_workflow(&waiting);
    let act = repository.start();
    let group = Pid::from_child(&act);
    repository.cluster.wait_for(Duration::from_secs(120), |requests| {
        requests
            .iter()
            .any(|r| r.path.contains("/pods") && r.status == Some(200))
            .then_some(())
    });
    kill_process_group(group, Signal::INT).expect("act is there");
    let (log, _) = repository.ended(act);
    repository.assert_revoked(&log);
}

#[test]
fn careless_scripts_show_no_form() {
    let with_file = GENERATE_TOKEN_AND_RUN_SCAN.replace(
        "          namespace: NAMESPACE\n",
        "          namespace: NAMESPACE\n          token-file: true\n",
    );
    let repository = Repository::with_workflow(&(with_file + corpus::STEP));
    let (log, succeeded) = repository.run();
    assert!(succeeded, "{log}");
    corpus::assert_no_form(&repository.cluster.issued()[0], &log);
    repository.assert_revoked(&log);
}

/// The renewer outlives its step and ends with the job.
#[test]
fn a_long_job_has_a_token_that_works() {
    let workflow = r#"
on: push
jobs:
  scan:
    runs-on: ubuntu-latest
    steps:
      - uses: jobpass/jobpass@v1
        id: jobpass
        with:
          service-account: scanner
          namespace: NAMESPACE
          kubeconfig: ${{ secrets.KUBECONFIG }}
          kubeconfig-file: true
          renew-for: 6h
      - env:
          KUBECONFIG: ${{ steps.jobpass.outputs.kubeconfig }}
          TOKEN_FILE: ${{ steps.jobpass.outputs.token-file }}
        run: |
          first=$(cat "$TOKEN_FILE")
          while [ "$(cat "$TOKEN_FILE")" = "$first" ]; do sleep 0.1; done
          kubectl get pods && echo "the second token works"
"#;
    let cluster = Cluster::hasty();
    let kubeconfig = support::minter(&cluster);
    let repository = Repository::new(workflow, cluster, kubeconfig);
    let (log, succeeded) = repository.run();
    assert!(succeeded, "{log}");
    for says in ["the second token works", " renewal"] {
        assert!(log.contains(says), "no `{says}` in:\n{log}");
    }
    support::assert_one_anchor_gone(&repository.cluster, &log);
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made executable");
}
