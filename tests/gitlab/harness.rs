//! Runs the templates on the GitLab and the runner of `tests/runner`. Unlike `gitlab-ci-local`, this runner
//! masks, cancels jobs, stops jobs that take too long, and reads dotenv reports as strictly as GitLab.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use age::{secrecy::ExposeSecret as _, x25519::Identity};
use jobpass_devkit::{Fault, FaultKind};
use jobpass_tests::runner::gitlab::{Ended, Runner, Running, Status};
use rstest::rstest;
use tempfile::TempDir;

use super::{
    in_namespace,
    pipeline::{RUN_SCAN, SCANNER},
    revoked,
};
use crate::{
    access::role::{MINTER, left},
    cluster::Cluster,
    leaks, support,
};

/// A command that prints `42 asleep`, and then sleeps until the runner ends the job. (The log shows the
/// command itself earlier, but without this text.) The command is a child process, so that a signal ends it:
/// bash with an EXIT trap handles a signal only after its current command has ended.
pub(super) const ASLEEP: &str = "sh -c 'echo $((40 + 2)) asleep; exec sleep 600'";

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The GitLab example of the guide "Token Management". The template replaces the job `create_token`.
pub(super) const CREATE_TOKEN_AND_RUN_SCAN: &str = r#"
stages:
  - scan

variables:
  KUBE_NAMESPACE: NAMESPACE

include:
  - local: /gitlab-component/templates/handover.yml
    inputs:
      job-name: create_token
      stage: scan
      image: registry.example.com/jobpass
      service-account: scanner
      namespace: $KUBE_NAMESPACE
      variable: SCAN_TOKEN

run_scan:
  stage: scan
  extends: .create_token:use
  needs: [create_token]
  script:
    - ./run_scan.sh "$JOBPASS_TOKEN_FILE"
  artifacts:
    paths: [scan-results.json]
"#;

/// A project on GitLab, and the cluster that its pipeline uses.
pub(super) struct Project {
    pub(super) cluster: Cluster,
    pub(super) minter: String,
    folder: TempDir,
}

impl Project {
    pub(super) fn with_pipeline(pipeline: &str) -> Self {
        Self::at(Cluster::start(), pipeline)
    }

    pub(super) fn at(cluster: Cluster, pipeline: &str) -> Self {
        let minter = support::minter_token(&cluster);
        let folder = tempfile::tempdir().expect("a folder");
        let templates = "gitlab-component/templates";
        fs::create_dir_all(folder.path().join(templates)).expect("made");
        for template in ["job.yml", "handover.yml"] {
            let template = format!("{templates}/{template}");
            fs::copy(support::root().join(&template), folder.path().join(template)).expect("copied");
        }
        for (name, text) in [
            (".gitlab-ci.yml", in_namespace(pipeline, &cluster)),
            ("ca.pem", cluster.ca_pem()),
            ("run_scan.sh", SCANNER.replace("NAMESPACE", cluster.namespace())),
        ] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let scanner = folder.path().join("run_scan.sh");
        fs::set_permissions(scanner, fs::Permissions::from_mode(0o755)).expect("executable");
        Self {
            cluster,
            minter,
            folder,
        }
    }

    /// A runner whose images contain jobpass-gitlab and kubectl.
    pub(super) fn runner(&self) -> Runner {
        let programs = [support::binary("jobpass-gitlab"), support::tool("kubectl")];
        let runner = Runner::new(self.folder.path())
            .file(
                "JOBPASS_KUBECONFIG",
                &self.cluster.kubeconfig(&self.minter, self.cluster.namespace()),
            )
            .variable("SERVER", &self.cluster.url());
        programs.iter().fold(runner, |runner, program| {
            runner.path(program.parent().expect("a folder"))
        })
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("written");
    }

    /// A name or path with which a runner starts this shell. Creates `busybox-sh`, which no package contains.
    pub(super) fn shell(&self, name: &str) -> String {
        if name != "busybox-sh" {
            return name.to_owned();
        }
        self.write(name, "#!/bin/sh\nexec busybox sh \"$@\"\n");
        let path = self.folder.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        path.display().to_string()
    }

    fn run(&self) -> Ended {
        self.ended(self.runner().start())
    }

    pub(super) fn ended(&self, running: Running) -> Ended {
        let ended = running.end();
        for secret in self.cluster.issued().iter().chain([&self.minter]) {
            for job in &ended.jobs {
                leaks::assert_absent(secret, &format!("the log of {}", job.name), &job.log);
            }
        }
        ended
    }

    pub(super) fn assert_used_and_revoked(&self, ended: &Ended) {
        let used = self.cluster.requests();
        let scanner = format!("system:serviceaccount:{}:scanner", self.cluster.namespace());
        assert!(
            used.iter().any(|r| r.path.contains("/pods") && r.user == scanner),
            "{}",
            ended.log()
        );
        self.assert_revoked(ended);
    }

    pub(super) fn assert_revoked(&self, ended: &Ended) {
        assert!(self.cluster.anchors().is_empty(), "{}", ended.log());
        let issued = self.cluster.issued();
        assert!(
            issued.len() == 1 && !self.cluster.accepts(&issued[0]),
            "{}",
            ended.log()
        );
        let left = files_with(ended, &issued[0]);
        assert!(left.iter().all(|name| name.ends_with(".env")), "{left:?}");
        for job in &ended.jobs {
            for (path, bytes) in &job.artifacts {
                leaks::assert_absent(&issued[0], path, &String::from_utf8_lossy(bytes));
            }
        }
    }
}

/// The files in the jobs' folders that contain a token.
fn files_with(ended: &Ended, token: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![ended.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            // A guard that still runs may have a named pipe, which would block the reader.
            } else if path.is_file()
                && String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).contains(token)
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

pub(super) fn says(ended: &Ended, job: &str, texts: &[&str]) {
    let log = &ended.job(job).log;
    for text in texts {
        assert!(log.contains(text), "no `{text}` in:\n{}", ended.log());
    }
}

#[test]
fn create_token_and_run_scan() {
    let project = Project::with_pipeline(CREATE_TOKEN_AND_RUN_SCAN);
    let ended = project.run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(
        &ended,
        "create_token",
        &["its value prefixed with `glpat-`, which makes runners mask it"],
    );
    says(&ended, "run_scan", &["every Pod is scanned"]);
    says(&ended, "create_token:revoke", &[&revoked(&project.cluster)]);
    project.assert_used_and_revoked(&ended);
    assert!(ended.job("run_scan").artifacts.contains_key("scan-results.json"));
}

/// GitLab turns the lists in the inputs `require` and `forbid` into strings in the job's variables. The job
/// that mints names the missing permission, and no job gets a token.
#[test]
fn a_token_that_may_not_do_what_is_required_is_not_handed_over() {
    let more = "SCAN_TOKEN\n      require: [get pods, create pods/exec target-pod]\n      forbid: ['* *']\n";
    let project = Project::with_pipeline(&CREATE_TOKEN_AND_RUN_SCAN.replace("SCAN_TOKEN\n", more));
    let ended = project.run();
    assert_eq!(ended.status, Status::Failed, "{}", ended.log());
    let texts = [
        "`create pods/exec target-pod` is required, but the API server denies it",
        "  ok      require  get pods ",
        "  ok      forbid   * * ",
        "resourceNames: [\"target-pod\"]",
    ];
    says(&ended, "create_token", &texts);
    assert!(!ended.log().contains("every Pod is scanned"), "{}", ended.log());
    project.assert_revoked(&ended);
}

/// The job in `.post` learns of the role from its own inputs, because the report names only the anchor.
#[test]
fn a_role_for_one_pipeline_is_gone_with_its_token() {
    let rules = "role-rules: [get pods, {apiGroups: [''], resources: [pods], verbs: [list]}]";
    let project =
        Project::with_pipeline(&CREATE_TOKEN_AND_RUN_SCAN.replace("service-account: scanner", rules));
    project.cluster.apply(MINTER);
    let ended = project.run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["every Pod is scanned"]);
    assert!(!ended.log().contains("jobpass: warning"), "{}", ended.log());
    project.assert_revoked(&ended);
    assert_eq!(left(&project.cluster), "");
    let requests = project.cluster.requests();
    let deleted = |kind: &str| {
        requests
            .iter()
            .any(|r| r.method == "DELETE" && r.path.contains(kind))
    };
    assert!(
        ["/rolebindings/", "/roles/", "/serviceaccounts/"]
            .into_iter()
            .all(deleted),
        "{requests:?}"
    );
}

#[test]
fn a_token_in_plain() {
    let plain = CREATE_TOKEN_AND_RUN_SCAN
        .replace("SCAN_TOKEN\n", "SCAN_TOKEN\n      dotenv-mode: plain\n")
        .replace("  extends: .create_token:use\n", "")
        .replace(
            "- ./run_scan.sh \"$JOBPASS_TOKEN_FILE\"",
            "- echo \"$SCAN_TOKEN\" > token.env && ./run_scan.sh token.env",
        );
    let project = Project::with_pipeline(&plain);
    let ended = project.run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    project.assert_used_and_revoked(&ended);
}

#[test]
fn the_token_that_was_handed_over_is_revoked_after_a_failure_too() {
    let failing = CREATE_TOKEN_AND_RUN_SCAN.replace("\"\n  artifacts", "\"\n    - exit 3\n  artifacts");
    let project = Project::with_pipeline(&failing);
    let ended = project.run();
    assert_eq!(ended.status, Status::Failed);
    says(
        &ended,
        "run_scan",
        &["every Pod is scanned", "ERROR: Job failed: exit code 3"],
    );
    project.assert_used_and_revoked(&ended);
}

/// A job of a later stage gets the token and the artifacts of earlier stages. It runs only if the earlier
/// stages succeed.
#[rstest]
#[case("true", Status::Success)]
#[case("false", Status::Skipped)]
fn a_job_of_a_later_stage_waits_for_the_earlier_ones(#[case] result: &str, #[case] expected: Status) {
    let pipeline = CREATE_TOKEN_AND_RUN_SCAN
        .replace("  - scan\n\nvar", "  - build\n  - test\n  - scan\n\nvar")
        .replace("      stage: scan\n", "      stage: build\n")
        .replace("  needs: [create_token]\n", "")
        .replace("  script:\n", "  script:\n    - cat built.txt\n")
        + &format!(
            r#"
build:
  stage: build
  script: [echo "it is built" > built.txt]
  artifacts: {{paths: [built.txt]}}

unit_tests:
  stage: test
  script: ["{result}"]
"#
        );
    let project = Project::with_pipeline(&pipeline);
    let ended = project.run();
    assert_eq!(ended.job("run_scan").status, expected, "{}", ended.log());
    if expected == Status::Success {
        says(&ended, "run_scan", &["it is built", "every Pod is scanned"]);
    }
    project.assert_revoked(&ended);
}

/// Without `needs`, a job in the stage of the job that mints has no token. Its error tells
/// the user to put it into a later stage.
#[test]
fn a_job_of_the_same_stage_needs_the_job_that_mints() {
    let pipeline = CREATE_TOKEN_AND_RUN_SCAN.replace("  needs: [create_token]\n", "");
    let project = Project::with_pipeline(&pipeline);
    let ended = project.run();
    assert_eq!(ended.job("run_scan").status, Status::Failed, "{}", ended.log());
    let texts = [
        "no earlier job handed over",
        "put this job into a later stage than the job that mints",
    ];
    says(&ended, "run_scan", &texts);
    project.assert_revoked(&ended);
}

#[test]
fn a_job_that_mints_and_then_fails_revokes_by_itself() {
    let failing =
        CREATE_TOKEN_AND_RUN_SCAN.to_owned() + "\ncreate_token:\n  script: [jobpass-gitlab mint, exit 4]\n";
    let project = Project::with_pipeline(&failing);
    let ended = project.run();
    says(&ended, "create_token", &["revoked the token"]);
    assert_eq!(ended.job("run_scan").status, Status::Skipped);
    project.assert_revoked(&ended);
}

/// A careless job prints the variable. The sealed text in it does not show the token, so runners need not
/// mask it.
#[test]
fn a_careless_job_shows_nothing_of_a_sealed_token() {
    let identity = Identity::generate();
    let recipient = identity.to_public();
    let inputs = format!("SCAN_TOKEN\n      dotenv-mode: sealed\n      recipient: {recipient}\n");
    let sealed = CREATE_TOKEN_AND_RUN_SCAN
        .replace("SCAN_TOKEN\n", &inputs)
        .replace(
            "  script:\n",
            r#"  script:
    - echo "my token is $SCAN_TOKEN"
    - echo "$SCAN_TOKEN" | base64 -d | tr -c '[:print:]' '.'
    - env
"#,
        );
    let project = Project::with_pipeline(&sealed);
    let runner = project
        .runner()
        .file("JOBPASS_IDENTITY", identity.to_string().expose_secret());
    let ended = project.ended(runner.start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &["age-encryption.org/v1", "every Pod is scanned"],
    );
    project.assert_used_and_revoked(&ended);
    assert!(files_with(&ended, &project.cluster.issued()[0]).is_empty());
}

/// A careless job prints the variable. Its value begins with `glpat-`, and runners mask the text after that.
#[test]
fn a_careless_job_shows_nothing() {
    let careless = CREATE_TOKEN_AND_RUN_SCAN
        .replace("SCAN_TOKEN\n", "SCAN_TOKEN\n      mask-log: 'false'\n")
        .replace(
            "  script:\n",
            r#"  script:
    - echo "my token is $SCAN_TOKEN"
    - |
      printf '{"token": "%s"}\n' "$SCAN_TOKEN" >&2
      printf %s "$SCAN_TOKEN" | cut -c 1-40; printf 'glpat-'; printf '%s\n' "${SCAN_TOKEN#glpat-}"
    - env
    - (set -x; true "$SCAN_TOKEN")
"#,
        );
    let project = Project::with_pipeline(&careless);
    let ended = project.run();
    says(
        &ended,
        "run_scan",
        &[
            "my token is glpat-[MASKED]\n",
            "{\"token\": \"glpat-[MASKED]\"}\n",
            "SCAN_TOKEN=glpat-[MASKED]\n",
            "true glpat-[MASKED]\n",
        ],
    );
    project.assert_used_and_revoked(&ended);
    // Without the runner's masks, the log shows the token. So the check can fail.
    assert!(ended.job("run_scan").raw.contains(&project.cluster.issued()[0]));
}

#[rstest]
#[case("bash")]
#[case("dash")]
fn a_job_gets_a_token_and_loses_it(#[case] shell: &str) {
    let project = Project::with_pipeline(RUN_SCAN);
    let ended = project.ended(project.runner().shell(shell).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["every Pod is scanned", "revoked the token"]);
    project.assert_used_and_revoked(&ended);
}

#[test]
fn a_failing_script_loses_its_token() {
    let project = Project::with_pipeline(&(RUN_SCAN.to_owned() + "    - exit 3\n"));
    let ended = project.run();
    assert_eq!(ended.status, Status::Failed);
    says(&ended, "run_scan", &["every Pod is scanned", "revoked the token"]);
    project.assert_used_and_revoked(&ended);
}

#[test]
fn a_token_that_cannot_be_minted_fails_the_job_before_its_script() {
    let wrong = RUN_SCAN.replace("service-account: scanner", "service-account: nobody");
    let project = Project::with_pipeline(&wrong);
    let ended = project.run();
    assert_eq!(ended.status, Status::Failed);
    says(
        &ended,
        "run_scan",
        &[
            "check inputs `service-account` and `namespace`",
            "jobpass: nothing to revoke",
        ],
    );
    assert!(!ended.log().contains("every Pod is scanned"), "{}", ended.log());
    assert!(project.cluster.anchors().is_empty());
}

#[rstest]
fn a_cancelled_job_loses_its_token(#[values(false, true)] new_container: bool) {
    let project = Project::with_pipeline(&format!("{RUN_SCAN}    - {ASLEEP}\n"));
    let mut runner = project.runner();
    if new_container {
        runner = runner.new_container_after_cancel();
    }
    let running = runner.start();
    running.wait_for(PATIENCE, |log| log.contains("42 asleep").then_some(()));
    running.cancel();
    let ended = project.ended(running);
    assert_eq!(ended.status, Status::Canceled);
    says(&ended, "run_scan", &["every Pod is scanned", "revoked the token"]);
    project.assert_used_and_revoked(&ended);
}

#[test]
fn a_job_that_is_cancelled_while_it_mints_leaves_nothing() {
    let project = Project::with_pipeline(RUN_SCAN);
    project.cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".into(),
        times: 1,
        kind: FaultKind::HoldAfter,
    });
    let running = project.runner().start();
    support::wait_for_tokens(&project.cluster, 1);
    running.cancel();
    let ended = project.ended(running);
    assert_eq!(ended.job("run_scan").status, Status::Canceled);
    project.assert_revoked(&ended);
}

/// Jobs in `.post` do not run in a cancelled pipeline, as gitlab-component/README.md says.
#[test]
fn a_token_that_was_handed_over_outlives_a_cancelled_pipeline() {
    let waiting =
        CREATE_TOKEN_AND_RUN_SCAN.replace("\"\n  artifacts", &format!("\"\n    - {ASLEEP}\n  artifacts"));
    let project = Project::with_pipeline(&waiting);
    let running = project.runner().start();
    running.wait_for(PATIENCE, |log| log.contains("42 asleep").then_some(()));
    running.cancel();
    let ended = project.ended(running);
    assert_eq!(ended.job("create_token:revoke").status, Status::Canceled);
    let token = &project.cluster.issued()[0];
    assert!(project.cluster.accepts(token), "{}", ended.log());
    let left = files_with(&ended, token);
    assert!(left.iter().all(|name| name.ends_with(".env")), "{left:?}");
}

/// A project variable takes precedence over a variable of a report. So later jobs would not get the token.
#[test]
fn a_variable_of_the_project_keeps_the_token_from_being_minted() {
    let project = Project::with_pipeline(CREATE_TOKEN_AND_RUN_SCAN);
    let ended = project.ended(project.runner().variable("SCAN_TOKEN", "other").start());
    assert_eq!(ended.job("create_token").status, Status::Failed);
    says(
        &ended,
        "create_token",
        &["`variable` is `SCAN_TOKEN`, a variable that this job already has"],
    );
    assert!(project.cluster.issued().is_empty());
}

#[test]
fn parts_of_the_template_fit_into_a_job_with_scripts_of_its_own() {
    let parts = RUN_SCAN.replace(
        "  extends: .jobpass\n",
        r#"  variables: !reference [.jobpass, variables]
  before_script:
    - echo "before all"
    - !reference [.jobpass, before_script]
  after_script:
    - !reference [.jobpass, after_script]
    - echo "after all"
"#,
    );
    let project = Project::with_pipeline(&parts);
    let ended = project.run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &["before all", "every Pod is scanned", "after all"],
    );
    project.assert_used_and_revoked(&ended);
}
