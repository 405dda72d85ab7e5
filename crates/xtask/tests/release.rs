//! Runs a release between two local repositories, without the steps that need GitHub.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The repository of a release, the repository that it pushes to, and the uploads of the builders.
struct Release {
    folder: TempDir,
}

impl Release {
    fn new() -> Self {
        let release = Self {
            folder: TempDir::new().expect("a folder"),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/release.sh");
        let dist = release.path("work/dist");
        fs::create_dir_all(&dist).expect("made");
        fs::copy(script, dist.join("release.sh")).expect("copied");
        release.git(&["init", "--quiet", "--initial-branch", "main"]);
        release.git(&["init", "--quiet", "--bare", "../origin"]);
        release.git(&["remote", "add", "origin", "../origin"]);
        release.source("one");
        release.built("linux-x64", "0.1.0", "a program");
        release.built("linux-arm64", "0.1.0", "another program");
        release
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args([
            "-c",
            "user.name=somebody",
            "-c",
            "user.email=somebody@example.com",
        ]);
        succeeded(
            &git.args(words)
                .current_dir(self.path("work"))
                .output()
                .expect("git runs"),
        )
    }

    /// Creates the source commit of a release.
    fn source(&self, content: &str) -> String {
        fs::write(self.path("work/source"), content).expect("written");
        self.git(&["add", "source", "dist/release.sh"]);
        self.git(&["commit", "--quiet", "--message", content]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Creates the upload of a platform's builder.
    fn built(&self, platform: &str, version: &str, program: &str) {
        let folder = self.path(&format!("work/built/action-{platform}"));
        let file = format!("jobpass-github-{platform}");
        fs::create_dir_all(folder.join("bin")).expect("made");
        fs::write(folder.join("bin").join(&file), program).expect("written");
        let sha256: String = Sha256::digest(program)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let checksums = json!({"version": version, "binaries": {platform: {"file": file, "sha256": sha256}}});
        fs::write(folder.join("checksums.json"), checksums.to_string()).expect("written");
    }

    fn script(&self, words: &[&str]) -> Output {
        let mut script = Command::new("bash");
        script
            .arg("dist/release.sh")
            .args(words)
            .current_dir(self.path("work"));
        script.output().expect("bash runs")
    }

    /// Runs the workflow's steps: collects, commits, and pushes.
    fn run(&self, version: &str) -> String {
        succeeded(&self.script(&["collect", "built", "assets"]));
        let fetched = Command::new("git")
            .args([
                "fetch",
                "--quiet",
                "origin",
                "+refs/heads/releases:refs/remotes/origin/releases",
            ])
            .current_dir(self.path("work"))
            .output();
        drop(fetched);
        let commit = succeeded(&self.script(&["commit", version]));
        let branch = format!("{commit}:refs/heads/releases");
        self.git(&[
            "push",
            "--quiet",
            "origin",
            &format!("refs/tags/{version}"),
            &branch,
        ]);
        // The runner's next checkout does the same.
        self.git(&["reset", "--quiet", "--hard"]);
        commit
    }
}

fn succeeded(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_second_run_makes_the_same_commit_and_pushes_it_again() {
    let release = Release::new();
    let source = release.git(&["rev-parse", "HEAD"]);
    let first = release.run("v0.1.0");
    assert_eq!(release.run("v0.1.0"), first);
    assert_eq!(release.git(&["rev-parse", &format!("{first}^")]), source);
    let files = release.git(&["ls-tree", "-r", &first, "--", "dist"]);
    for file in [
        "100755 blob",
        "dist/bin/jobpass-github-linux-arm64",
        "dist/checksums.json",
    ] {
        assert!(files.contains(file), "{file}: {files}");
    }
    assert_eq!(
        release.git(&["ls-tree", "-r", "--name-only", &source, "--", "dist"]),
        "dist/release.sh"
    );
}

#[test]
fn the_branch_of_all_releases_only_grows() {
    let release = Release::new();
    let first = release.run("v0.1.0");
    let source = release.source("two");
    let second = release.run("v0.2.0");
    assert_eq!(release.run("v0.2.0"), second);
    assert_eq!(
        release.git(&["rev-parse", &format!("{second}^1"), &format!("{second}^2")]),
        format!("{source}\n{first}")
    );
    assert_eq!(
        release.git(&["ls-remote", "origin", "refs/heads/releases"]),
        format!("{second}\trefs/heads/releases")
    );
}

#[test]
fn what_is_published_has_checksums() {
    let release = Release::new();
    fs::create_dir(release.path("work/assets")).expect("made");
    fs::write(release.path("work/assets/jobpass-linux-x64"), "the command line").expect("written");
    release.run("v0.1.0");
    let sums = fs::read_to_string(release.path("work/assets/SHA256SUMS")).expect("written");
    let names: Vec<_> = sums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!(
        names,
        [
            "jobpass-github-linux-arm64",
            "jobpass-github-linux-x64",
            "jobpass-linux-x64"
        ]
    );
}

#[test]
fn what_differs_from_its_digest_is_refused() {
    for (change, why) in [
        (
            ("action-linux-x64/bin/jobpass-github-linux-x64", "swapped"),
            "a binary is not the one that its builder named",
        ),
        (
            ("action-linux-x64/bin/jobpass-github-plan9", "more"),
            "a binary has no digest",
        ),
    ] {
        let release = Release::new();
        fs::write(release.path("work/built").join(change.0), change.1).expect("written");
        let output = release.script(&["collect", "built", "assets"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
    let release = Release::new();
    release.built("darwin-arm64", "0.2.0", "a later program");
    let output = release.script(&["collect", "built", "assets"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("different versions"));
}
