//! `docs/quickstart-gitlab.md`.

use std::fs;

use jobpass_devkit::issuer::Issuer;
use jobpass_tests::runner::gitlab::{Runner, Status};

use super::{Reader, files};
use crate::{cluster::Cluster, leaks::assert_absent, support};

const PAGE: &str = "quickstart-gitlab.md";

#[test]
fn with_oidc() {
    let reader = Reader::of(PAGE, "With OIDC", Cluster::trusting());
    reader.follow(|pipeline| {
        let trusted = fs::read_to_string(reader.desk().join("authentication.yaml"));
        reader.cluster.trust(&trusted.expect("the page writes it"));
        run(&reader, pipeline)
    });
}

#[test]
fn with_a_kubeconfig() {
    let reader = Reader::of(PAGE, "With a kubeconfig in a variable", Cluster::start());
    reader.follow(|pipeline| run(&reader, pipeline));
}

/// Runs the pipeline with what the reader told `glab`. Returns the log of its job.
fn run(reader: &Reader, pipeline: &str) -> String {
    let project = reader.folder.path().join("project");
    fs::create_dir(&project).expect("made");
    fs::write(project.join(".gitlab-ci.yml"), pipeline).expect("written");
    let issuer = Issuer::gitlab("gitlab.example.com").claim("project_id", "42");
    let mut runner = Runner::beside(&project, &[("your-group/jobpass", support::root())]).issuer(issuer);
    for program in [support::binary("jobpass-gitlab"), support::tool("kubectl")] {
        runner = runner.path(program.parent().expect("a folder"));
    }
    for (name, value) in files(&reader.platform("variables")) {
        runner = runner.variable(&name, &value);
    }
    for (name, value) in files(&reader.platform("files")) {
        runner = runner.file(&name, &value);
    }
    let ended = runner.run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    for secret in reader.cluster.issued() {
        assert_absent(&secret, "the log", &ended.log());
    }
    ended.log()
}
