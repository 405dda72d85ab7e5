//! A pipeline without a project variable and with `id_tokens`, on the GitLab runner of `tests/runner`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use jobpass_devkit::issuer::Issuer;
use jobpass_tests::runner::gitlab::{Ended, Runner, Status};
use rstest::rstest;
use tempfile::TempDir;

use super::{GITLAB, assert_minted_and_revoked_by, cluster};
use crate::{cluster::Cluster, gitlab::pipeline::SCANNER, leaks::assert_absent, support};

const PIPELINE: &str = r#"
include:
  - local: /gitlab-component/templates/job.yml
    inputs:
      service-account: scanner
      namespace: NAMESPACE
      server: SERVER
      certificate-authority: ca.pem
      bearer-token-env: KUBE_TOKEN

run_scan:
  extends: .jobpass
  id_tokens:
    KUBE_TOKEN: {aud: https://kubernetes.example.com}
  variables: {SERVER: "SERVER"}
  script:
    - kubectl get pods
    - ./run_scan.sh "$JOBPASS_TOKEN_FILE"
"#;

fn run(cluster: &Cluster, issuer: Issuer) -> (Ended, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let template = "gitlab-component/templates/job.yml";
    fs::create_dir_all(folder.path().join("gitlab-component/templates")).expect("made");
    fs::copy(support::root().join(template), folder.path().join(template)).expect("copied");
    for (name, text) in [
        (
            ".gitlab-ci.yml",
            &*PIPELINE
                .replace(": SERVER", &format!(": {}", cluster.url()))
                .replace("\"SERVER\"", &format!("\"{}\"", cluster.url()))
                .replace("NAMESPACE", cluster.namespace()),
        ),
        ("ca.pem", &cluster.ca_pem()),
        ("run_scan.sh", &SCANNER.replace("NAMESPACE", cluster.namespace())),
    ] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let scanner = folder.path().join("run_scan.sh");
    fs::set_permissions(scanner, fs::Permissions::from_mode(0o755)).expect("executable");
    let programs = [support::binary("jobpass-gitlab"), support::tool("kubectl")];
    let runner = programs
        .iter()
        .fold(Runner::new(folder.path()).issuer(issuer), |runner, program| {
            runner.path(program.parent().expect("a folder"))
        });
    let ended = runner.run();
    for job in &ended.jobs {
        for secret in cluster.issued().iter().chain(&job.id_tokens) {
            assert_absent(secret, "the log", &job.log);
        }
    }
    (ended, folder)
}

#[test]
fn a_pipeline_without_a_secret() {
    let cluster = cluster();
    let (ended, _folder) = run(&cluster, Issuer::gitlab(GITLAB));
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let log = &ended.job("run_scan").log;
    assert!(
        log.contains("every Pod is scanned") && log.contains("revoked the token"),
        "{log}"
    );
    assert_minted_and_revoked_by(&cluster, "ci:gitlab:gitlab.example.com:7", log);
    assert_eq!(ended.job("run_scan").id_tokens.len(), 1);
}

#[rstest]
#[case::project(
    Issuer::gitlab(GITLAB).claim("project_id", "99").claim("project_path", "team/fork"),
    &["project_path         team/fork", "project_id           99"]
)]
#[case::unprotected(Issuer::gitlab(GITLAB).claim("ref_protected", "false"), &["ref_protected        false"])]
#[case::audience(Issuer::gitlab(GITLAB).claim("aud", "another"), &["audience             another"])]
#[case::expired(Issuer::gitlab(GITLAB).expired(), &["It has expired"])]
#[case::unsigned(Issuer::gitlab(GITLAB).unsigned(), &["It is not signed"])]
#[case::another_gitlab(Issuer::gitlab("gitlab.evil.example.com"), &["issuer               https://gitlab.evil.example.com"])]
fn a_bad_id_token_is_refused_in_words(#[case] issuer: Issuer, #[case] texts: &[&str]) {
    let cluster = cluster();
    let (ended, _folder) = run(&cluster, issuer);
    assert_eq!(ended.status, Status::Failed);
    let log = &ended.job("run_scan").log;
    for text in texts.iter().chain(&["the API server answered 401 Unauthorized"]) {
        assert!(log.contains(text), "no `{text}` in:\n{log}");
    }
    assert!(cluster.issued().is_empty() && cluster.anchors().is_empty() && !log.contains("every Pod"));
}
