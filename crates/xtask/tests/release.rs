//! Runs a release between two local repositories. Leaves out the steps that need GitHub.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
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
        for platform in ["linux-x64", "linux-arm64"] {
            self.built(platform, version.trim_start_matches('v'), platform);
        }
        succeeded(&self.script(&["collect", version, "built", "assets"]));
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
    let assets = release.path("work/built/assets-linux-x64");
    fs::create_dir(&assets).expect("made");
    fs::write(assets.join("jobpass-linux-x64"), "the command line").expect("written");
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

/// One builder must not be able to make the binaries of the others.
#[test]
fn a_builder_makes_the_files_of_its_own_platform_alone() {
    let binary = "action-linux-x64/bin/jobpass-github-linux-x64";
    let claim = |binaries: Value| json!({"version": "0.1.0", "binaries": binaries}).to_string();
    let digest = "0".repeat(64);
    let of = |file: &str| json!({"file": file, "sha256": digest});
    let two = claim(
        json!({"linux-x64": of("jobpass-github-linux-x64"), "linux-arm64": of("jobpass-github-linux-x64")}),
    );
    let another_file = claim(json!({"linux-x64": of("../../release.sh")}));
    let line_break =
        claim(json!({"linux-x64": {"file": "jobpass-github-linux-x64", "sha256": format!("{digest}\n")}}));
    let later =
        json!({"version": "0.2.0", "binaries": {"linux-x64": of("jobpass-github-linux-x64")}}).to_string();
    let checksums = "action-linux-x64/checksums.json";
    for (file, content, why) in [
        (binary, "swapped", "is not the one that its builder named"),
        (
            "action-linux-x64/bin/evil",
            "more",
            "made something else than jobpass-github-linux-x64",
        ),
        (checksums, &*two, "is not about its binary of version 0.1.0"),
        (checksums, &another_file, "is not about its binary"),
        (checksums, &line_break, "is not about its binary"),
        (checksums, &later, "is not about its binary"),
        (checksums, "{", "is not about its binary"),
        (
            "assets-linux-arm64/jobpass-linux-x64",
            "swapped",
            "which is not a file of its platform",
        ),
        (
            "assets-linux-x64/SHA256SUMS",
            "",
            "which is not a file of its platform",
        ),
    ] {
        let release = Release::new();
        let path = release.path("work/built").join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, content).expect("written");
        let output = release.script(&["collect", "v0.1.0", "built", "assets"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(why), "{file}: {said}");
    }
}
