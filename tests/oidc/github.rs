//! A workflow without any secret, on the GitHub runner of `tests/runner` and in `act`.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use jobpass_devkit::issuer::{Issuer, TokenEndpoint};
use jobpass_tests::runner::github::{Conclusion, Ended, Runner};
use tempfile::TempDir;

use super::{assert_minted_and_revoked_by, cluster, revoked};
use crate::{
    cluster::Cluster,
    github::action::{RUN_SCAN, Repository as ActRepository},
    leaks::assert_absent,
    support,
};

const WORKFLOW: &str = r#"
on: push

permissions: {}

jobs:
  scan:
    runs-on: ubuntu-latest
    permissions:
      id-token: write
      contents: read
    steps:
      - uses: actions/checkout@v5

      - name: Generate Token
        id: generate-token
        uses: jobpass/jobpass@v1
        with:
          service-account: scanner
          namespace: NAMESPACE
          server: ${{ env.SERVER }}
          certificate-authority: ${{ env.CA }}
          oidc-audience: https://kubernetes.example.com

      - name: Run Scan
        env:
          TOKEN: ${{ steps.generate-token.outputs.token }}
        run: |
          echo "$TOKEN" > token.txt
          ./run_scan.sh token.txt
"#;

struct Repository {
    cluster: Cluster,
    endpoint: TokenEndpoint,
    runner: Runner,
    _action: TempDir,
}

impl Repository {
    fn new(workflow: &str, issuer: Issuer) -> Self {
        let (cluster, endpoint) = (cluster(), TokenEndpoint::start(issuer));
        let action = support::action();
        let kubectl = support::tool("kubectl");
        let files = action.path().display().to_string();
        let namespace = cluster.namespace();
        // The context `env` contains only the variables of the workflow.
        let workflow = format!(
            "env: {{SERVER: '{}', CA: {files}/ca.pem, NAMESPACE: {namespace}}}\n{}",
            cluster.url(),
            workflow.replace("namespace: NAMESPACE", &format!("namespace: {namespace}"))
        );
        fs::write(action.path().join("ca.pem"), cluster.ca_pem()).expect("written");
        fs::write(action.path().join("roots.pem"), endpoint.ca_pem()).expect("written");
        let runner = Runner::new(&workflow)
            .action("jobpass/jobpass@v1", action.path())
            .id_tokens(endpoint.url(), endpoint.bearer())
            .variable("SSL_CERT_FILE", &format!("{files}/roots.pem"))
            .path(kubectl.parent().expect("a folder"));
        let scan = runner.workspace().join("run_scan.sh");
        fs::write(&scan, RUN_SCAN).expect("written");
        fs::set_permissions(scan, fs::Permissions::from_mode(0o755)).expect("executable");
        Self {
            cluster,
            endpoint,
            runner,
            _action: action,
        }
    }

    fn run(self) -> (Cluster, TokenEndpoint, Ended) {
        let Self {
            cluster,
            endpoint,
            runner,
            _action,
        } = self;
        let ended = runner.run();
        for secret in cluster.issued().iter().chain(&endpoint.issued()) {
            assert_absent(secret, "the log", &ended.log);
            assert_absent(secret, "the summary", &ended.summary);
        }
        assert_absent(endpoint.bearer(), "the log", &ended.log);
        (cluster, endpoint, ended)
    }
}

fn says(log: &str, texts: &[&str]) {
    for text in texts {
        assert!(log.contains(text), "no `{text}` in:\n{log}");
    }
}

#[test]
fn a_workflow_without_a_secret() {
    for debug in [false, true] {
        let mut repository = Repository::new(WORKFLOW, Issuer::github());
        if debug {
            repository.runner = repository.runner.debug();
        }
        let (cluster, endpoint, ended) = repository.run();
        assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
        says(&ended.log, &["scan finished", &revoked(&cluster)]);
        assert_minted_and_revoked_by(&cluster, "ci:github:2", &ended.log);
        assert_eq!(endpoint.issued().len(), 2, "one for main, one for post");
        assert!(ended.left_in_temp().is_empty(), "{:?}", ended.left_in_temp());
    }
}

#[test]
fn what_later_steps_do_to_the_environment_does_not_keep_the_token_alive() {
    let poisoned = WORKFLOW.to_owned()
        + r#"
      - run: |
          cat >> "$GITHUB_ENV" <<END
          ACTIONS_ID_TOKEN_REQUEST_URL=https://127.0.0.1:1/x
          ACTIONS_ID_TOKEN_REQUEST_TOKEN=forged
          HTTPS_PROXY=http://127.0.0.1:1
          ALL_PROXY=http://127.0.0.1:1
          SSL_CERT_FILE=/nowhere
          SSL_CERT_DIR=/nowhere
          INPUT_OIDC-AUDIENCE=forged
          END
"#;
    let (cluster, endpoint, ended) = Repository::new(&poisoned, Issuer::github()).run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    says(&ended.log, &["revoked the token of ServiceAccount"]);
    assert_minted_and_revoked_by(&cluster, "ci:github:2", &ended.log);
    assert_eq!(endpoint.issued().len(), 2);
}

#[test]
fn a_job_without_the_permission() {
    let without = WORKFLOW.replace("      id-token: write\n", "");
    let (cluster, endpoint, ended) = Repository::new(&without, Issuer::github()).run();
    assert_eq!(ended.conclusion, Conclusion::Failure);
    says(&ended.log, &["this job may not request one", "id-token: write"]);
    assert!(endpoint.requests() == 0 && cluster.requests().is_empty());
}

#[test]
fn a_workflow_of_another_repository() {
    let another = Issuer::github().claim("repository_id", "99");
    let (cluster, _, ended) = Repository::new(WORKFLOW, another).run();
    assert_eq!(ended.conclusion, Conclusion::Failure);
    says(&ended.log, &["answered 401", "repository_id        99"]);
    assert!(cluster.issued().is_empty() && !ended.log.contains("scan finished"));
}

/// `act` lacks an endpoint for ID tokens. So the test gives the steps a URL and a bearer token, as the runner
/// would.
#[test]
fn a_workflow_without_a_secret_under_act() {
    let (cluster, endpoint) = (cluster(), TokenEndpoint::start(Issuer::github()));
    let repository = ActRepository::without_secrets(WORKFLOW, cluster);
    let roots = tempfile::NamedTempFile::new().expect("a file");
    fs::write(roots.path(), endpoint.ca_pem()).expect("written");
    let set = |act: &mut Command| {
        for (name, value) in [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", endpoint.url()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", endpoint.bearer()),
            ("SSL_CERT_FILE", &roots.path().display().to_string()),
        ] {
            act.arg("--env").arg(format!("{name}={value}"));
        }
    };
    let (log, succeeded) = repository.run_with(set);
    assert!(succeeded, "{log}");
    says(&log, &["scan finished", &revoked(&repository.cluster)]);
    assert_minted_and_revoked_by(&repository.cluster, "ci:github:2", &log);
    for token in endpoint.issued() {
        let parts = token.split('.').skip(1);
        assert!(
            parts.clone().all(|part| !log.contains(part)),
            "an ID token is in the log:\n{log}"
        );
    }
    assert_eq!(endpoint.issued().len(), 2, "{log}");
}
