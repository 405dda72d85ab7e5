//! The templates in users' pipelines, which `gitlab-ci-local` runs. `gitlab-ci-local` masks nothing. If its
//! log lacks a text, no program has printed the text, or jobpass's own filter has masked it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use age::{secrecy::ExposeSecret as _, x25519::Identity};
use rstest::rstest;
use tempfile::TempDir;

use super::{in_namespace, revoked};
use crate::{
    cluster::Cluster,
    leaks::{self, corpus},
    support,
};

/// The GitLab example of the guide "Token Management". The template replaces the job `create_token`. (The example
/// also uploads a report of type `scan`, which GitLab does not have.)
const CREATE_TOKEN_AND_RUN_SCAN: &str = r#"
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
      dotenv-mode: plain

run_scan:
  stage: scan
  needs: [create_token]
  script:
    - echo "$SCAN_TOKEN" > token.txt
    - ./run_scan.sh token.txt
  artifacts:
    paths: [scan-results.json]
"#;

/// The pipeline of [`CREATE_TOKEN_AND_RUN_SCAN`] with a sealed token, which only a job with the identity can
/// read.
const SEALED: &str = r#"
stages:
  - scan

include:
  - local: /gitlab-component/templates/handover.yml
    inputs:
      stage: scan
      image: registry.example.com/jobpass
      service-account: scanner
      namespace: NAMESPACE
      variable: SCAN_TOKEN
      dotenv-mode: sealed
      recipient: age1...

run_scan:
  stage: scan
  extends: .create_token:use
  needs: [create_token]
  script:
    - ./run_scan.sh "$JOBPASS_TOKEN_FILE"
"#;

/// A job with a token of its own.
pub(super) const RUN_SCAN: &str = r#"
include:
  - local: /gitlab-component/templates/job.yml
    inputs:
      service-account: scanner
      namespace: NAMESPACE

run_scan:
  extends: .jobpass
  script:
    - kubectl get pods
    - ./run_scan.sh "$JOBPASS_TOKEN_FILE"
"#;

/// A scanner that calls the API with the token. `NAMESPACE` is the test's namespace.
pub(crate) const SCANNER: &str = r#"#!/bin/sh
set -eu
kubectl --kubeconfig /dev/null --server "$SERVER" --certificate-authority ca.pem --token "$(cat "$1")" \
  get pods --namespace NAMESPACE --output json > scan-results.json
echo "every Pod is scanned"
"#;

#[test]
fn create_token_and_run_scan() {
    let project = Project::with_pipeline(CREATE_TOKEN_AND_RUN_SCAN);
    let log = project.run().succeeded();
    says(
        &log,
        &[
            "`dotenv-mode: plain`: runners do not mask SCAN_TOKEN",
            "every Pod is scanned",
            &format!("create_token:revoke > jobpass: {}", revoked(&project.cluster)),
        ],
    );
    project.assert_used_and_revoked(&log);
}

#[test]
fn a_masked_token_reaches_the_scan_in_a_file() {
    let masked = CREATE_TOKEN_AND_RUN_SCAN
        .replace("      dotenv-mode: plain\n", "")
        .replace(
            "needs: [create_token]",
            "needs: [create_token]\n  extends: .create_token:use",
        )
        .replace("    - echo \"$SCAN_TOKEN\" > token.txt\n", "")
        .replace("run_scan.sh token.txt", "run_scan.sh \"$JOBPASS_TOKEN_FILE\"");
    let project = Project::with_pipeline(&masked);
    let log = project.run().succeeded();
    says(
        &log,
        &[
            "its value prefixed with `glpat-`, which makes runners mask it",
            "wrote the token from SCAN_TOKEN",
            "every Pod is scanned",
        ],
    );
    project.assert_used_and_revoked(&log);
}

#[test]
fn a_masked_token_can_be_taken_without_jobpass() {
    let masked = CREATE_TOKEN_AND_RUN_SCAN
        .replace("      dotenv-mode: plain\n", "")
        .replace("\"$SCAN_TOKEN\"", "\"${SCAN_TOKEN#glpat-}\"");
    let project = Project::with_pipeline(&masked);
    let log = project.run().succeeded();
    project.assert_used_and_revoked(&log);
}

/// The identity reaches the jobs as a variable of type file.
#[test]
fn a_sealed_token_reaches_the_scan_in_a_file() {
    let project = Project::with_pipeline(SEALED);
    let log = project.run().succeeded();
    says(
        &log,
        &[
            "sealed to age1",
            "wrote the token from SCAN_TOKEN",
            "every Pod is scanned",
            &format!("create_token:revoke > jobpass: {}", revoked(&project.cluster)),
        ],
    );
    project.assert_used_and_revoked(&log);
    assert!(project.files_with(&project.cluster.issued()[0]).is_empty());
}

#[test]
fn without_a_recipient_nothing_is_minted() {
    let project = Project::with_pipeline(&SEALED.replace("      recipient: age1...\n", ""));
    let log = project.run().failed();
    says(&log, &["input `recipient` is missing"]);
    assert!(project.cluster.requests().is_empty(), "{log}");
}

#[test]
fn the_token_that_was_handed_over_is_revoked_after_a_failure_too() {
    let failing =
        CREATE_TOKEN_AND_RUN_SCAN.replace("token.txt\n  artifacts", "token.txt\n    - exit 3\n  artifacts");
    let project = Project::with_pipeline(&failing);
    let log = project.run().failed();
    says(
        &log,
        &[
            "every Pod is scanned",
            "create_token:revoke > jobpass: revoked the token",
        ],
    );
    project.assert_used_and_revoked(&log);
}

/// With `needs: [create_token]`, the job in `.post` would start as soon as `create_token` ends. Without
/// `needs`, it runs after the jobs that use the token.
#[test]
fn the_token_works_until_the_last_stage_is_over() {
    let staged = CREATE_TOKEN_AND_RUN_SCAN.replace("  - scan\n\nvar", "  - scan\n  - report\n\nvar")
        + r#"
report:
  stage: report
  dependencies: [create_token]
  script:
    - echo "$SCAN_TOKEN" > token.txt
    - ./run_scan.sh token.txt
"#;
    let project = Project::with_pipeline(&staged);
    let log = project.run().succeeded();
    assert_eq!(log.matches("every Pod is scanned").count(), 2, "{log}");
    project.assert_used_and_revoked(&log);
}

#[test]
fn a_job_that_mints_and_then_fails_revokes_by_itself() {
    let failing = CREATE_TOKEN_AND_RUN_SCAN.to_owned()
        + r#"
create_token:
  script: [jobpass-gitlab mint, exit 4]
"#;
    let project = Project::with_pipeline(&failing);
    let log = project.run().failed();
    says(&log, &["create_token > jobpass: revoked the token"]);
    assert!(!log.contains("every Pod is scanned"), "{log}");
    project.assert_revoked(&log);
}

#[test]
fn a_job_gets_a_token_and_loses_it() {
    let project = Project::with_pipeline(RUN_SCAN);
    let log = project.run().succeeded();
    says(&log, &["every Pod is scanned", "jobpass: revoked the token"]);
    project.assert_used_and_revoked(&log);
}

#[test]
fn careless_scripts_show_nothing() {
    let careless = "    - export TOKEN=\"$(cat \"$JOBPASS_TOKEN_FILE\")\" CA=ca.pem\n    - sh careless.sh\n";
    let project = Project::with_pipeline(&(RUN_SCAN.to_owned() + careless));
    let log = project.run().succeeded();
    let lines = log
        .lines()
        .map(|line| line.strip_prefix("run_scan > ").unwrap_or(line));
    let log = lines.collect::<Vec<_>>().join("\n");
    corpus::assert_no_piece(&project.cluster.issued()[0], &log);
    project.assert_used_and_revoked(&log);
}

#[test]
fn a_failing_script_loses_its_token() {
    let project = Project::with_pipeline(&(RUN_SCAN.to_owned() + "    - exit 3\n"));
    let log = project.run().failed();
    says(&log, &["every Pod is scanned", "jobpass: revoked the token"]);
    project.assert_used_and_revoked(&log);
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
    let log = project.run().succeeded();
    says(&log, &["before all", "every Pod is scanned", "after all"]);
    project.assert_used_and_revoked(&log);
}

#[test]
fn a_token_that_cannot_be_minted_fails_the_job_before_its_script() {
    let wrong = RUN_SCAN.replace("service-account: scanner", "service-account: nobody");
    let project = Project::with_pipeline(&wrong);
    let log = project.run().failed();
    says(
        &log,
        &[
            "check inputs `service-account` and `namespace`",
            "jobpass: nothing to revoke",
        ],
    );
    assert!(!log.contains("every Pod is scanned"), "{log}");
    assert!(project.cluster.anchors().is_empty(), "{log}");
}

#[test]
fn without_the_program_a_job_says_what_is_missing() {
    let project = Project::with_pipeline(RUN_SCAN);
    let log = project.run_with("/usr/bin:/bin").failed();
    says(&log, &["this job's image has no program jobpass-gitlab"]);
    assert!(!log.contains("every Pod is scanned"), "{log}");
}

/// The pipelines take the templates from this repository instead of from GitLab.
#[rstest]
fn the_pipelines_of_the_readme_run(#[values(0, 1, 2, 3, 4, 5, 6, 7)] number: usize) {
    let readme = fs::read_to_string(support::root().join("gitlab-component/README.md")).expect("the README");
    let blocks = readme.split("```yaml\n").skip(1);
    let pipelines = blocks.filter_map(|block| block.split_once("```").map(|(pipeline, _)| pipeline));
    // Other blocks are parts of a pipeline.
    let pipelines = pipelines
        .filter(|pipeline| pipeline.contains("include:"))
        .collect::<Vec<_>>();
    assert_eq!(pipelines.len(), 8);
    let pipeline = pipelines[number];
    let from_gitlab = "project: your-group/jobpass\n    ref: v0.1.0\n    file: ";
    assert!(pipeline.contains(from_gitlab), "{pipeline}");
    let pipeline = pipeline.replace(from_gitlab, "local: ");
    let project = Project::with_pipeline(&pipeline.replace("namespace: ci\n", "namespace: NAMESPACE\n"));
    let log = project.run().succeeded();
    project.assert_used_and_revoked(&log);
}

/// In GitLab's catalog, the component's folder is the root of a project.
#[test]
fn the_templates_are_components() {
    let by_component = RUN_SCAN.replace(
        "local: /gitlab-component/templates/job.yml",
        "component: $CI_SERVER_FQDN/team/scan/job@$CI_COMMIT_SHA",
    );
    let project = Project::new(&by_component, "templates");
    let log = project.run().succeeded();
    project.assert_used_and_revoked(&log);
}

#[test]
fn an_input_that_cannot_be_is_refused_by_its_name() {
    let wrong = CREATE_TOKEN_AND_RUN_SCAN.replace("job-name: create_token", "job-name: 'a b'");
    let project = Project::with_pipeline(&wrong);
    let log = project.run().failed();
    says(&log, &["`job-name` input"]);
    assert!(project.cluster.requests().is_empty(), "{log}");
}

/// A temporary project on GitLab, and the cluster that its pipeline uses.
struct Project {
    cluster: Cluster,
    minter: String,
    folder: TempDir,
}

/// The results of a finished pipeline.
struct Ended {
    log: String,
    succeeded: bool,
}

impl Ended {
    fn succeeded(self) -> String {
        assert!(self.succeeded, "{}", self.log);
        self.log
    }

    fn failed(self) -> String {
        assert!(!self.succeeded, "{}", self.log);
        self.log
    }
}

impl Project {
    fn with_pipeline(pipeline: &str) -> Self {
        Self::new(pipeline, "gitlab-component/templates")
    }

    /// Creates the project. `templates` is the folder of the component's templates.
    fn new(pipeline: &str, templates: &str) -> Self {
        let cluster = Cluster::start();
        let minter = support::minter_token(&cluster);
        let folder = tempfile::tempdir().expect("a folder");
        let project = folder.path().join("scan");
        let kubeconfig = cluster.kubeconfig(&minter, cluster.namespace());
        let identity = Identity::generate();
        let pipeline = in_namespace(pipeline, &cluster).replace("age1...", &identity.to_public().to_string());
        let identity = identity.to_string().expose_secret().to_owned();
        let files = [
            (".gitlab-ci.yml", pipeline),
            (".gitignore", ".gitlab-ci-local*\n".to_owned()),
            ("ca.pem", cluster.ca_pem()),
            ("run_scan.sh", SCANNER.replace("NAMESPACE", cluster.namespace())),
            ("careless.sh", corpus::script()),
            // The project's CI/CD settings contain the minter's kubeconfig and an identity, as variables of
            // type file.
            (
                ".gitlab-ci-local-variables.yml",
                serde_json::json!({
                    "JOBPASS_KUBECONFIG": { "type": "file", "values": { "*": kubeconfig } },
                    "JOBPASS_IDENTITY": { "type": "file", "values": { "*": identity } },
                    "SERVER": cluster.url(),
                })
                .to_string(),
            ),
        ];
        fs::create_dir_all(project.join(templates)).expect("made");
        for (name, text) in files {
            fs::write(project.join(name), text).expect("written");
        }
        fs::set_permissions(project.join("run_scan.sh"), fs::Permissions::from_mode(0o755))
            .expect("executable");
        for template in ["job.yml", "handover.yml"] {
            let from = support::root().join("gitlab-component/templates").join(template);
            fs::copy(from, project.join(templates).join(template)).expect("copied");
        }
        let project = Self {
            cluster,
            minter,
            folder,
        };
        project.git("init --quiet --initial-branch=main");
        project.git("add .");
        project.git("-c user.name=t -c user.email=t@example.com commit --quiet --message scan");
        // gitlab-ci-local needs an address for the project, but sends nothing to it.
        project.git("remote add origin https://gitlab.example.com/team/scan.git");
        project.git("update-ref refs/remotes/origin/main HEAD");
        project.git("symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main");
        project
    }

    /// Runs the pipeline to its end, with jobpass-gitlab and kubectl on PATH.
    fn run(&self) -> Ended {
        let program = support::binary("jobpass-gitlab");
        let folders =
            [&program, &support::tool("kubectl")].map(|path| path.parent().expect("a folder").to_owned());
        let path = std::env::var("PATH").unwrap_or_default();
        let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path)));
        self.run_with(path.expect("a PATH").to_str().expect("text"))
    }

    fn run_with(&self, path: &str) -> Ended {
        let mut pipeline = support::scrubbed(Command::new(support::tool("gitlab-ci-local")));
        pipeline
            .current_dir(self.folder.path().join("scan"))
            // With --shell-isolation, gitlab-ci-local removes a job's files before after_script, including
            // the dotenv report.
            .args(["--force-shell-executor", "--color=false"])
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null());
        let output = pipeline.output().expect("gitlab-ci-local starts");
        let log =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        // gitlab-ci-local pads names to the length of the longest one.
        let log = log.lines().map(without_padding).collect::<Vec<_>>().join("\n");
        for secret in self.cluster.issued().iter().chain([&self.minter]) {
            leaks::assert_absent(secret, "the log", &log);
        }
        Ended {
            log,
            succeeded: output.status.success(),
        }
    }

    fn assert_used_and_revoked(&self, log: &str) {
        let used = self.cluster.requests();
        let scanner = format!("system:serviceaccount:{}:scanner", self.cluster.namespace());
        assert!(
            used.iter().any(|r| r.path.contains("/pods") && r.user == scanner),
            "{log}"
        );
        self.assert_revoked(log);
    }

    fn assert_revoked(&self, log: &str) {
        let issued = self.cluster.issued();
        assert_eq!(issued.len(), 1, "{log}");
        assert!(self.cluster.anchors().is_empty(), "{log}");
        assert!(!self.cluster.accepts(&issued[0]), "{log}");
        let left = self.files_with(&issued[0]);
        assert!(
            left.iter()
                .all(|name| name.ends_with("token.txt") || name.ends_with(".env")),
            "{left:?}"
        );
    }

    /// The files that contain a token.
    fn files_with(&self, token: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).contains(token) {
                    found.push(path.display().to_string());
                }
            }
        }
        found
    }

    fn git(&self, arguments: &str) {
        let status = support::scrubbed(Command::new("git"))
            .current_dir(self.folder.path().join("scan"))
            .args(arguments.split(' '))
            .status();
        assert!(status.expect("git starts").success(), "{arguments}");
    }
}

fn without_padding(line: &str) -> String {
    match line.split_once(" > ") {
        Some((job, text)) => format!("{} > {text}", job.trim_end()),
        None => line.to_owned(),
    }
}

fn says(log: &str, texts: &[&str]) {
    for text in texts {
        assert!(log.contains(text), "no `{text}` in:\n{log}");
    }
}
