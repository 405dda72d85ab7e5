//! `docs/quickstart-gitlab.md`.

use std::{fs, process::Command};

use jobpass_devkit::issuer::Issuer;
use jobpass_tests::runner::gitlab::{Runner, Status};

use super::{Reader, fenced, files};
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

/// A job fetches the program as gitlab-component/README.md says. A folder stands in for the package registry.
#[test]
fn a_program_that_the_job_fetches() {
    let cluster = Cluster::start();
    let minter = support::minter(&cluster);
    let page = fs::read_to_string(support::root().join("gitlab-component/README.md")).expect("the page");
    let (_, part) = page
        .split_once("\n## Getting the program into the image\n")
        .expect("the section");
    let job = fenced(part).into_iter().find(|block| block.language == "yaml");
    let job = job.expect("the section has a job").text;
    let folder = tempfile::tempdir().expect("a folder");
    let (registry, image) = (folder.path().join("registry"), folder.path().join("bin"));
    for folder in [&registry, &image] {
        fs::create_dir(folder).expect("made");
    }
    let program = registry.join("jobpass-gitlab-linux-x64");
    fs::copy(support::binary("jobpass-gitlab"), &program).expect("copied");
    let digest = Command::new("sha256sum")
        .arg(&program)
        .output()
        .expect("sha256sum");
    let digest = String::from_utf8(digest.stdout).expect("text")[..64].to_owned();
    let include = format!(
        "include: [{{local: job.yml, inputs: {{service-account: scanner, namespace: {}}}}}]\n",
        cluster.namespace()
    );
    for (digest, expected) in [(digest, Status::Success), ("0".repeat(64), Status::Failed)] {
        let project = tempfile::tempdir().expect("a folder");
        let template = support::root().join("gitlab-component/templates/job.yml");
        fs::copy(template, project.path().join("job.yml")).expect("copied");
        let address = "$CI_API_V4_URL/projects/$CI_PROJECT_ID/packages/generic/jobpass/0.1.0";
        assert!(job.contains(address) && job.contains(&"0".repeat(64)), "{job}");
        let job = job
            .replace(address, &format!("file://{}", registry.display()))
            .replace(&"0".repeat(64), &digest)
            .replace("/usr/local/bin", &image.display().to_string());
        fs::write(project.path().join(".gitlab-ci.yml"), format!("{include}{job}")).expect("written");
        let kubectl = support::tool("kubectl");
        let ended = Runner::new(project.path())
            .file("JOBPASS_KUBECONFIG", &minter)
            .path(kubectl.parent().expect("a folder"))
            .path(&image)
            .run();
        assert_eq!(ended.status, expected, "{}", ended.log());
        let revoked = ended.log().contains("revoked the token of");
        assert_eq!(revoked, expected == Status::Success, "{}", ended.log());
    }
    let issued = cluster.issued();
    assert!(issued.len() == 1 && !cluster.accepts(&issued[0]));
    assert!(cluster.anchors().is_empty());
}

/// Runs the pipeline with the variables that the reader gave to `glab`. Returns the log of its job.
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
