//! `docs/quickstart-github.md`.

use std::fs;

use jobpass_devkit::issuer::{Issuer, TokenEndpoint};
use jobpass_tests::runner::github::{Conclusion, Runner};

use super::{Reader, files};
use crate::{cluster::Cluster, leaks::assert_absent, support};

const PAGE: &str = "quickstart-github.md";

#[test]
fn with_oidc() {
    let reader = Reader::of(PAGE, "With OIDC", Cluster::trusting());
    reader.follow(|workflow| {
        let trusted = fs::read_to_string(reader.desk().join("authentication.yaml"));
        reader.cluster.trust(&trusted.expect("the page writes it"));
        run(&reader, workflow)
    });
}

#[test]
fn with_a_kubeconfig() {
    let reader = Reader::of(PAGE, "With a kubeconfig as a secret", Cluster::start());
    reader.follow(|workflow| run(&reader, workflow));
}

/// Runs the job with the secrets and variables that the reader gave to `gh`. Returns the job's log.
fn run(reader: &Reader, workflow: &str) -> String {
    let endpoint = TokenEndpoint::start(Issuer::github());
    let action = support::action();
    let kubectl = support::tool("kubectl");
    let roots = reader.folder.path().join("roots.pem");
    fs::write(&roots, endpoint.ca_pem()).expect("written");
    let mut runner = Runner::new(workflow)
        .action("jobpass/jobpass@v0.1.0", action.path())
        .id_tokens(endpoint.url(), endpoint.bearer())
        .variable("SSL_CERT_FILE", &roots.display().to_string())
        .path(kubectl.parent().expect("a folder"));
    for (name, value) in files(&reader.platform("variables")) {
        runner = runner.configuration_variable(&name, &value);
    }
    for environment in fs::read_dir(reader.platform("secrets"))
        .expect("a folder")
        .flatten()
    {
        let name = environment.file_name();
        for (secret, value) in files(&environment.path()) {
            runner = runner.environment_secret(&name.to_string_lossy(), &secret, &value);
        }
    }
    let ended = runner.run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    for secret in reader.cluster.issued() {
        assert_absent(&secret, "the log", &ended.log);
    }
    ended.log
}
