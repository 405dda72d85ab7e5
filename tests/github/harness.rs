//! The action on the GitHub runner of `tests/runner`. Unlike `act`, this runner masks encodings, carries out
//! commands anywhere in a line, and signals only the launcher. It also lets later steps change the
//! environment of post, and drops outputs that contain a masked value.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_devkit::{Fault, FaultKind};
use jobpass_tests::runner::github::{Conclusion, Ended, Runner};
use rstest::rstest;
use tempfile::TempDir;

use super::action::RUN_SCAN;
use crate::{
    cluster::Cluster,
    faults::api::resign,
    leaks::{self, corpus},
    support,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The GitHub example of the guide "Token Management". The action replaces `kubectl create token`.
const GENERATE_TOKEN_AND_RUN_SCAN: &str = r#"
on: push
jobs:
  scan:
    runs-on: ubuntu-latest
    outputs:
      token: ${{ steps.generate-token.outputs.token }}
      anchor: ${{ steps.generate-token.outputs.anchor }}
    steps:
      - uses: actions/checkout@v5

      - name: Generate Token
        id: generate-token
        uses: jobpass/jobpass@v1
        with:
          service-account: scanner
          namespace: NAMESPACE
          kubeconfig: ${{ secrets.KUBECONFIG }}
          token-file: true

      - name: Run Scan
        env:
          TOKEN: ${{ steps.generate-token.outputs.token }}
        run: |
          echo "$TOKEN" > token.txt
          ./run_scan.sh token.txt
"#;

/// A runner with the workflow, and the cluster that its job uses.
struct Repository {
    cluster: Cluster,
    minter: String,
    runner: Runner,
    _action: TempDir,
}

impl Repository {
    fn with_workflow(workflow: &str) -> Self {
        let cluster = Cluster::start();
        let minter = support::minter_token(&cluster);
        let action = support::action();
        let kubectl = support::tool("kubectl");
        let kubeconfig = cluster.kubeconfig(&minter, cluster.namespace());
        let runner = Runner::new(&workflow.replace("NAMESPACE", cluster.namespace()))
            .action("jobpass/jobpass@v1", action.path())
            .secret("KUBECONFIG", &STANDARD.encode(kubeconfig))
            .variable("SERVER", &cluster.url())
            .variable("NAMESPACE", cluster.namespace())
            .path(kubectl.parent().expect("a folder"));
        let workspace = runner.workspace();
        let ca = workspace.join("ca.pem");
        fs::write(&ca, cluster.ca_pem()).expect("written");
        let scan = workspace.join("run_scan.sh");
        fs::write(&scan, RUN_SCAN).expect("written");
        fs::set_permissions(scan, fs::Permissions::from_mode(0o755)).expect("executable");
        Self {
            cluster,
            minter,
            runner: runner.variable("CA", &ca.display().to_string()),
            _action: action,
        }
    }

    fn run(self) -> (Over, Ended) {
        let over = Over {
            cluster: self.cluster,
            minter: self.minter,
        };
        let ended = self.runner.run();
        over.assert_nothing_leaked(&ended);
        (over, ended)
    }
}

/// The cluster after a job has ended, and the minter's token.
struct Over {
    cluster: Cluster,
    minter: String,
}

impl Over {
    fn assert_nothing_leaked(&self, ended: &Ended) {
        for secret in self.cluster.issued().iter().chain([&self.minter]) {
            leaks::assert_absent(secret, "the log", &ended.log);
            leaks::assert_absent(secret, "the summary", &ended.summary);
        }
    }

    fn assert_revoked(&self, ended: &Ended) {
        let issued = self.cluster.issued();
        assert_eq!(issued.len(), 1, "{}", ended.log);
        assert!(self.cluster.anchors().is_empty(), "{}", ended.log);
        assert!(!self.cluster.accepts(&issued[0]), "{}", ended.log);
        assert!(ended.left_in_temp().is_empty(), "{:?}", ended.left_in_temp());
    }
}

fn says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.log.contains(text), "no `{text}` in:\n{}", ended.log);
    }
}

#[test]
fn generate_token_and_run_scan() {
    let repository = Repository::with_workflow(GENERATE_TOKEN_AND_RUN_SCAN);
    let (over, ended) = repository.run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    let namespace = over.cluster.namespace();
    let revoked = format!("revoked the token of ServiceAccount {namespace}/scanner");
    says(&ended, &["scan finished", &revoked]);
    over.assert_revoked(&ended);
    assert!(
        ended.summary.contains("### :key: jobpass: token revoked"),
        "{}",
        ended.summary
    );
    assert!(
        ended.summary.contains("\"check-run-id\":\"51725241954\""),
        "{}",
        ended.summary
    );
    // All commands of the launcher and the program are masks.
    let commands = &ended.step("Generate Token").commands;
    assert!(
        commands.iter().all(|command| command == "add-mask"),
        "{commands:?}"
    );
    assert!(
        ended.step("Post Generate Token").commands.is_empty(),
        "{}",
        ended.log
    );
    // The token does not leave the job as an output.
    assert_eq!(ended.outputs.keys().collect::<Vec<_>>(), ["anchor"]);
}

/// In debug mode, the runner prints outputs and state.
#[test]
fn nothing_leaks_in_debug_mode() {
    let mut repository = Repository::with_workflow(GENERATE_TOKEN_AND_RUN_SCAN);
    repository.runner = repository.runner.debug();
    let (over, ended) = repository.run();
    says(
        &ended,
        &[
            "##[debug]Set output token = ***",
            "##[debug]Save intra-action state jobpass",
        ],
    );
    over.assert_revoked(&ended);
}

/// The step is below two composite actions, so post gets no inputs.
#[test]
fn post_gets_no_inputs() {
    let strict = GENERATE_TOKEN_AND_RUN_SCAN.replace(
        "          token-file: true\n",
        "          fail-on-revoke-error: true\n",
    ) + "      - run: while ! test -e go-on; do sleep 0.1; done\n";
    for forbidden in [false, true] {
        let mut repository = Repository::with_workflow(&strict);
        repository.runner = repository.runner.below_two_composites();
        let go_on = repository.runner.workspace().join("go-on");
        let running = repository.runner.start();
        let over = Over {
            cluster: repository.cluster,
            minter: repository.minter,
        };
        running.wait_for(PATIENCE, |log| log.contains("scan finished").then_some(()));
        if forbidden {
            support::forbid_minter(&over.cluster);
        }
        fs::write(go_on, "").expect("written");
        let ended = running.end();
        over.assert_nothing_leaked(&ended);
        if forbidden {
            assert_eq!(ended.conclusion, Conclusion::Failure, "{}", ended.log);
            says(&ended, &["the token is not revoked", "403"]);
        } else {
            assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
            says(&ended, &["revoked the token"]);
            over.assert_revoked(&ended);
        }
    }
}

/// The runner keeps the file into which main wrote the minter's credential, so jobpass must overwrite the
/// credential.
#[test]
fn later_steps_find_no_credential_of_the_minter_on_disk() {
    let looking = GENERATE_TOKEN_AND_RUN_SCAN.to_owned()
        + r#"
      - run: |
          cd "$RUNNER_TEMP/_runner_file_commands"
          grep -q minter-kubeconfig save_state_*
          while grep -q '"users"' save_state_*; do :; done
          test "$(stat --format %a $(grep -l minter-kubeconfig save_state_*))" = 600
          echo "nothing is left"
"#;
    let (over, ended) = Repository::with_workflow(&looking).run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    says(&ended, &["nothing is left", "revoked the token"]);
    let files = fs::read_dir(ended.folder().join("temp/_runner_file_commands")).expect("the runner's files");
    for file in files.flatten() {
        let text = fs::read_to_string(file.path()).expect("a file of the runner");
        leaks::assert_absent(&over.minter, &file.path().display().to_string(), &text);
    }
    over.assert_revoked(&ended);
}

#[test]
fn a_later_step_fails() {
    let failing = GENERATE_TOKEN_AND_RUN_SCAN.to_owned() + "      - run: exit 3\n";
    let (over, ended) = Repository::with_workflow(&failing).run();
    assert_eq!(ended.conclusion, Conclusion::Failure);
    says(&ended, &["scan finished", "revoked the token"]);
    over.assert_revoked(&ended);
}

#[test]
fn main_fails() {
    let wrong = GENERATE_TOKEN_AND_RUN_SCAN.replace("service-account: scanner", "service-account: nobody");
    let (over, ended) = Repository::with_workflow(&wrong).run();
    assert_eq!(ended.conclusion, Conclusion::Failure);
    says(
        &ended,
        &[
            "cannot get a token: the API server answered 403",
            "Post job cleanup.",
        ],
    );
    assert_eq!(ended.step("Run Scan").conclusion, Conclusion::Skipped);
    assert!(
        over.cluster.issued().is_empty() && over.cluster.anchors().is_empty(),
        "{}",
        ended.log
    );
}

#[test]
fn the_job_is_cancelled_while_it_uses_the_token() {
    let waiting = GENERATE_TOKEN_AND_RUN_SCAN.to_owned() + "      - run: exec sleep 600\n";
    let Repository {
        cluster,
        minter,
        runner,
        _action,
    } = Repository::with_workflow(&waiting);
    let running = runner.start();
    running.wait_for(PATIENCE, |log| log.contains("scan finished").then_some(()));
    running.cancel();
    let ended = running.end();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    says(&ended, &["revoked the token"]);
    let over = Over { cluster, minter };
    over.assert_nothing_leaked(&ended);
    over.assert_revoked(&ended);
}

/// The runner sends SIGINT to the launcher alone, and the launcher passes it on. jobpass cleans up and ends
/// before the runner's SIGTERM, which comes 7.5 s later.
#[test]
fn the_job_is_cancelled_while_it_mints() {
    for kind in [FaultKind::HoldBefore, FaultKind::HoldAfter] {
        let Repository {
            cluster,
            minter,
            runner,
            _action,
        } = Repository::with_workflow(GENERATE_TOKEN_AND_RUN_SCAN);
        cluster.inject(Fault {
            method: "POST",
            path_contains: "/token".into(),
            times: 1,
            kind,
        });
        let running = runner.start();
        cluster.wait_for(PATIENCE, |requests| {
            let asked = requests.iter().any(|r| r.path.ends_with("/token"));
            asked.then_some(())
        });
        running.cancel();
        let ended = running.end();
        assert_eq!(ended.conclusion, Conclusion::Cancelled);
        says(
            &ended,
            &["interrupted", "The operation was canceled.", "Post job cleanup."],
        );
        assert!(cluster.anchors().is_empty(), "{}", ended.log);
        assert!(cluster.issued().iter().all(|token| !cluster.accepts(token)));
        Over { cluster, minter }.assert_nothing_leaked(&ended);
    }
}

/// The later step does not name the kubeconfig. kubectl finds it in the variable KUBECONFIG.
#[test]
fn later_steps_use_an_exported_kubeconfig() {
    let workflow = r#"
on: push
jobs:
  scan:
    runs-on: ubuntu-latest
    steps:
      - uses: jobpass/jobpass@v1
        with:
          service-account: scanner
          namespace: NAMESPACE
          kubeconfig: ${{ secrets.KUBECONFIG }}
          export-kubeconfig: true
      - run: kubectl auth whoami && kubectl get pods
"#;
    let (over, ended) = Repository::with_workflow(workflow).run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    let account = format!("system:serviceaccount:{}:scanner", over.cluster.namespace());
    says(&ended, &[&account]);
    over.assert_revoked(&ended);
}

/// The step prints the token in forms that only jobpass and the runner together mask.
#[test]
fn a_careless_step_shows_nothing() {
    let careless = GENERATE_TOKEN_AND_RUN_SCAN.to_owned()
        + r#"
      - name: careless
        shell: bash
        env:
          TOKEN: ${{ steps.generate-token.outputs.token }}
        run: |
          echo "my token is $TOKEN"
          echo "{\"token\": \"$TOKEN\"}" >&2
          printf %s "$TOKEN" | base64 --wrap=0; echo
          echo "$TOKEN" | base64 --wrap=0; echo
          printf 'a:%s' "$TOKEN" | base64 --wrap=0; echo
          printf 'a%s' "$TOKEN" | base64 --wrap=0; echo
          echo "$TOKEN" | cut -d. -f2
          echo "$TOKEN" | cut -d. -f3
          env
          cat "${{ steps.generate-token.outputs.token-file }}"
          echo "Bearer $TOKEN" >> "$GITHUB_STEP_SUMMARY"
          set -x
          true "$TOKEN" ${{ steps.generate-token.outputs.token }}
"#;
    let (over, ended) = Repository::with_workflow(&careless).run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    over.assert_revoked(&ended);
    let log = &ended.step("careless").log;
    assert!(
        log.contains("my token is ***\n") && log.contains("TOKEN=***\n"),
        "{log}"
    );
    // Without masks, the log would show all of these forms. So the check can fail.
    let token = &over.cluster.issued()[0];
    let payload = token.split('.').nth(1).expect("a payload").to_owned();
    for form in [
        token.clone(),
        payload,
        STANDARD.encode(token),
        STANDARD.encode(format!("{token}\n")),
        STANDARD.encode(format!("a:{token}")),
        STANDARD.encode(format!("a{token}")),
    ] {
        assert!(ended.raw.contains(&form), "{form} is not in what the step wrote");
    }
    // If other text precedes the token, this part of the base64 still depends only on the token.
    for shift in 1..3 {
        let inner = STANDARD.encode(&token[shift..]);
        assert!(!log.contains(&inner[..inner.len() / 2]), "{log}");
    }
}

/// The runner masks only whole values. jobpass cannot make it mask pieces of the token.
#[test]
fn careless_scripts_show_no_form() {
    let careless = GENERATE_TOKEN_AND_RUN_SCAN.to_owned() + corpus::STEP;
    let repository = Repository::with_workflow(&careless);
    fs::write(
        repository.runner.workspace().join("careless.sh"),
        corpus::script(),
    )
    .expect("written");
    let (over, ended) = repository.run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    let token = &over.cluster.issued()[0];
    corpus::assert_no_form(token, &ended.log);
    corpus::assert_all_found(token, &ended.raw);
    over.assert_revoked(&ended);
}

#[test]
fn what_later_steps_do_to_the_environment_does_not_keep_the_token_alive() {
    let poisoned = GENERATE_TOKEN_AND_RUN_SCAN.to_owned()
        + r#"
      - run: |
          mkdir bin
          for name in node jobpass-github sh; do printf '#!/bin/sh\necho hijacked\n' > bin/$name; done
          chmod +x bin/*
          echo "$PWD/bin" >> "$GITHUB_PATH"
          cat >> "$GITHUB_ENV" <<END
          PATH=/nowhere
          HTTPS_PROXY=http://127.0.0.1:1
          https_proxy=http://127.0.0.1:1
          KUBECONFIG=/nowhere
          SSL_CERT_FILE=/nowhere
          LD_PRELOAD=/nowhere.so
          NODE_OPTIONS=--require=/nowhere
          RUNNER_TEMP=/nowhere
          GITHUB_STATE=/nowhere
          STATE_jobpass=forged
          STATE_anchor=NAMESPACE/forged
          INPUT_KUBECONFIG=forged
          END
"#;
    let (over, ended) = Repository::with_workflow(&poisoned).run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    says(
        &ended,
        &["Can't store NODE_OPTIONS", "revoked the token of ServiceAccount"],
    );
    let post = &ended.step("Post Generate Token").log;
    assert!(!post.contains("hijacked"), "{post}");
    over.assert_revoked(&ended);
}

/// The log shows text from the server. The text must give the runner no command, and jobpass must shorten it.
#[rstest]
#[case::message("/secrets", |y: String| FaultKind::Answer {
    status: 422,
    headers: Vec::new(),
    body: serde_json::json!({"kind": "Status", "message": HOSTILE.to_owned() + &y.repeat(1_000_000), "code": 422}).to_string(),
}, &["add-mask", "error"])]
#[case::warning("/token", |y: String| FaultKind::Warn(HOSTILE.replace(|c: char| c.is_control(), " ") + &y.repeat(12_000)), &["add-mask", "warning"])]
#[case::service_account("/token", |_| FaultKind::RewriteBody(|answer| {
    resign(answer, "/sub", (HOSTILE.to_owned() + &"y".repeat(500_000)).into());
}), &["add-mask", "error"])]
fn a_server_cannot_command_the_runner(
    #[case] path: &str,
    #[case] kind: fn(String) -> FaultKind,
    #[case] commands: &[&str],
) {
    let repository = Repository::with_workflow(GENERATE_TOKEN_AND_RUN_SCAN);
    repository.cluster.inject(Fault {
        method: "POST",
        path_contains: path.into(),
        times: 1,
        kind: kind("y".to_owned()),
    });
    let (_, ended) = repository.run();
    let main = ended.step("Generate Token");
    let mut obeyed = main.commands.clone();
    obeyed.dedup();
    assert_eq!(obeyed, commands, "{}", main.log);
    assert!(
        main.log.len() < 10_000 && !main.log.contains('\u{1b}'),
        "{}",
        main.log
    );
    assert!(!main.outputs.contains_key("name"));
}

const HOSTILE: &str = "x ##[set-env name=A]b \r::set-output name=name::c \x1b[1m##[add-mask]e\n::error::d";
