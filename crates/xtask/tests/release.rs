//! Runs a release between two local repositories. A script takes the place of `gh`, and answers like GitHub's
//! API.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The files of the repository that `release.sh` reads.
const FILES: [&str; 9] = [
    "LICENSE",
    "dist/release.sh",
    "dist/kubectl_complete-jobpass",
    "dist/homebrew/jobpass.rb",
    "dist/krew/jobpass.yaml",
    "dist/catalog.gitlab-ci.yml",
    "gitlab-component/README.md",
    "gitlab-component/templates/job.yml",
    "gitlab-component/templates/handover.yml",
];

const PLATFORMS: [&str; 5] = [
    "linux-x64",
    "linux-arm64",
    "darwin-x64",
    "darwin-arm64",
    "win32-x64",
];

/// A `gh` that offers GitHub's API for Git's database, on the repository in `$ORIGIN`. Like GitHub, it signs
/// a commit only if the request names neither an author nor a committer.
const GH: &str = r#"#!/usr/bin/env bash
set -euo pipefail
export GIT_DIR=$ORIGIN
path=${2#repos/jobpass/jobpass/git/}
query=.
method=POST
while [ $# -gt 0 ]; do
  case $1 in --jq) query=$2 ;; --method) method=$2 ;; --silent) query=empty ;; esac
  shift
done
request=$(mktemp)
cat > "$request"
field() { jq --raw-output "$1" "$request"; }
echo "$method $path" >> "$CALLS"
case $path in
  blobs) answer="{\"sha\": \"$(field .content | base64 -d | git hash-object -w --stdin)\"}" ;;
  trees)
    export GIT_INDEX_FILE=$request.index
    git read-tree "$(field .base_tree)"
    jq --raw-output '.tree[] | "\(.mode) \(.sha)\t\(.path)"' "$request" | git update-index --index-info
    answer="{\"sha\": \"$(git write-tree)\"}" ;;
  commits)
    signed=$(field '(.author // .committer) == null')
    parents=$(field '.parents[] | "-p " + .')
    export GIT_AUTHOR_NAME=bot GIT_AUTHOR_EMAIL=bot@example.com GIT_COMMITTER_NAME=GitHub GIT_COMMITTER_EMAIL=noreply@github.com
    # Each request has another date.
    export GIT_COMMITTER_DATE="$((1700000000 + $(wc -l < "$CALLS"))) +0000"
    sha=$(field .message | git commit-tree "$(field .tree)" $parents)
    answer="{\"sha\": \"$sha\", \"verification\": {\"verified\": $signed, \"reason\": \"x\"}}" ;;
  refs) git update-ref "$(field .ref)" "$(field .sha)" "" ; answer='{}' ;;
  refs/heads/releases)
    git merge-base --is-ancestor refs/heads/releases "$(field .sha)"
    git update-ref refs/heads/releases "$(field .sha)"; answer='{}' ;;
esac
jq --raw-output "$query" <<< "$answer"
"#;

/// The repository of a release, the repository that it pushes to, and the uploads of the builders.
struct Release {
    folder: TempDir,
}

impl Release {
    fn new() -> Self {
        let release = Self {
            folder: TempDir::new().expect("a folder"),
        };
        for file in FILES {
            let to = release.path("work").join(file);
            fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file), to).expect("copied");
        }
        let gh = release.path("gh");
        fs::write(&gh, GH).expect("written");
        fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).expect("set");
        release.git(&["init", "--quiet", "--initial-branch", "main"]);
        release.git(&["init", "--quiet", "--bare", "../origin"]);
        release.git(&["remote", "add", "origin", "../origin"]);
        release.source("one");
        for platform in PLATFORMS {
            release.built(platform, "0.1.0", platform);
        }
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
        self.git(&["add", "source"]);
        self.git(&[&["add"], &FILES[..]].concat());
        self.git(&["commit", "--quiet", "--message", content]);
        self.git(&["push", "--quiet", "origin", "main"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Creates the uploads of a platform's builder.
    fn built(&self, platform: &str, version: &str, program: &str) {
        let folder = self.path(&format!("work/built/action-{platform}"));
        let suffix = if platform == "win32-x64" { ".exe" } else { "" };
        let file = format!("jobpass-github-{platform}{suffix}");
        let assets = self.path(&format!("work/built/assets-{platform}"));
        fs::create_dir_all(&assets).expect("made");
        fs::write(assets.join(format!("jobpass-{platform}{suffix}")), program).expect("written");
        fs::write(assets.join("licenses.txt"), "licences").expect("written");
        fs::write(assets.join(format!("compiler-{platform}.txt")), "rustc 1.95.0").expect("written");
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
        let path = std::env::var("PATH").expect("a path");
        script
            .arg("dist/release.sh")
            .args(words)
            .current_dir(self.path("work"))
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("GITHUB_REPOSITORY", "jobpass/jobpass")
            .env("ORIGIN", self.path("origin"))
            .env("CALLS", self.path("calls"));
        script.output().expect("bash runs")
    }

    /// The requests to GitHub since the last call of this function.
    fn asked(&self) -> Vec<String> {
        let calls = self.path("calls");
        let asked = fs::read_to_string(&calls).unwrap_or_default();
        drop(fs::remove_file(calls));
        asked.lines().map(str::to_owned).collect()
    }

    /// Runs the workflow's steps: collects, commits, and signs.
    fn run(&self, version: &str) -> String {
        for platform in PLATFORMS {
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
        let signed = succeeded(&self.script(&["sign", version, &commit]));
        // The next job of the workflow also begins with a fresh checkout.
        self.git(&["reset", "--quiet", "--hard"]);
        self.git(&["fetch", "--quiet", "--tags", "origin"]);
        assert_eq!(self.git(&["rev-parse", version]), signed);
        assert_eq!(
            self.git(&["log", "-1", "--format=%T %P", &signed]),
            self.git(&["log", "-1", "--format=%T %P", &commit])
        );
        signed
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
fn a_second_run_finds_the_same_commit() {
    let release = Release::new();
    let source = release.git(&["rev-parse", "HEAD"]);
    let first = release.run("v0.1.0");
    let asked = release.asked();
    assert_eq!(
        asked[asked.len() - 4..],
        ["POST trees", "POST commits", "POST refs", "POST refs"]
    );
    assert_eq!(release.run("v0.1.0"), first);
    assert!(release.asked().is_empty());
    assert_eq!(release.git(&["rev-parse", &format!("{first}^")]), source);
    let files = release.git(&["ls-tree", "-r", &first, "--", "dist"]);
    for file in [
        "100755 blob",
        "dist/bin/jobpass-github-linux-arm64",
        "dist/bin/jobpass-github-win32-x64.exe",
        "dist/checksums.json",
        "dist/licenses.txt",
    ] {
        assert!(files.contains(file), "{file}: {files}");
    }
    assert!(
        !release
            .git(&["ls-tree", "-r", "--name-only", &source, "--", "dist"])
            .contains("bin/")
    );
}

/// A step that fails leaves a part of the release on GitHub.
#[test]
fn a_second_run_finishes_what_the_first_one_began() {
    let release = Release::new();
    let first = release.run("v0.1.0");
    release.git(&["push", "--quiet", "origin", ":refs/tags/v0.1.0"]);
    release.git(&["tag", "--delete", "v0.1.0"]);
    release.asked();
    assert_eq!(release.run("v0.1.0"), first);
    assert_eq!(release.asked(), ["POST refs"]);
}

#[test]
fn a_tag_of_something_else_is_left_alone() {
    let release = Release::new();
    release.git(&["push", "--quiet", "origin", "main:refs/tags/v0.1.0"]);
    succeeded(&release.script(&["collect", "v0.1.0", "built", "assets"]));
    let commit = succeeded(&release.script(&["commit", "v0.1.0"]));
    let output = release.script(&["sign", "v0.1.0", &commit]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("which is not this release"),
        "{said}"
    );
    assert!(release.asked().is_empty());
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
fn published_files_have_checksums_and_manifests_with_digests() {
    let release = Release::new();
    release.run("v0.1.0");
    let sums = fs::read_to_string(release.path("work/assets/SHA256SUMS")).expect("written");
    release.run("v0.1.0");
    let again = fs::read_to_string(release.path("work/assets/SHA256SUMS")).expect("written");
    assert_eq!(sums, again);
    let digest = |name: &str| {
        let line = sums.lines().find(|line| line.split("  ").nth(1) == Some(name));
        line.expect(name).split("  ").next().expect("a digest").to_owned()
    };
    for platform in PLATFORMS {
        let archive = digest(&format!("jobpass-{platform}.tar.gz"));
        for manifest in ["jobpass.rb", "jobpass.yaml"] {
            // Homebrew does not run on Windows.
            if manifest == "jobpass.rb" && platform == "win32-x64" {
                continue;
            }
            digest(manifest);
            let manifest = fs::read_to_string(release.path("work/assets").join(manifest)).expect("written");
            let (_, after) = manifest
                .split_once(&format!("/jobpass-{platform}.tar.gz"))
                .expect(platform);
            let line = after.lines().nth(1).expect("a line");
            assert!(line.contains("sha256") && line.contains(&archive), "{manifest}");
        }
    }
    for name in [
        "jobpass-github-win32-x64.exe",
        "jobpass-linux-x64",
        "licenses.txt",
    ] {
        digest(name);
    }
    assert!(!sums.contains("jobpass-github-linux-x64.tar.gz"));
}

#[test]
fn the_notes_have_checksums_compilers_and_images() {
    let release = Release::new();
    release.run("v0.1.0");
    let notes = succeeded(&release.script(&["notes", "assets", "jobpass=sha256:abc"]));
    for part in [
        "ghcr.io/jobpass/jobpass@sha256:abc",
        "  jobpass-linux-x64.tar.gz\n",
        "rustc 1.95.0",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn the_component_is_published_in_the_catalogs_layout() {
    let release = Release::new();
    release.git(&[
        "init",
        "--quiet",
        "--bare",
        "--initial-branch",
        "main",
        "../catalog",
    ]);
    let catalog = |version: &str| succeeded(&release.script(&["catalog", version, "../catalog"]));
    let refs = || release.git(&["ls-remote", "../catalog"]);
    catalog("v0.1.0");
    let first = refs();
    assert!(
        first.contains("refs/heads/main") && first.contains("refs/tags/0.1.0"),
        "{first}"
    );
    assert_eq!(catalog("v0.1.0"), "the catalog has 0.1.0");
    assert_eq!(refs(), first);
    // Another run that begins from nothing makes the same commit.
    release.git(&[
        "init",
        "--quiet",
        "--bare",
        "--initial-branch",
        "main",
        "../again",
    ]);
    succeeded(&release.script(&["catalog", "v0.1.0", "../again"]));
    assert_eq!(release.git(&["ls-remote", "../again"]), first);

    release.source("two");
    catalog("v0.2.0");
    release.git(&["fetch", "--quiet", "../catalog", "main"]);
    assert_eq!(
        release.git(&["ls-tree", "-r", "--name-only", "FETCH_HEAD"]),
        ".gitlab-ci.yml\nLICENSE\nREADME.md\ntemplates/handover.yml\ntemplates/job.yml"
    );
    assert_eq!(release.git(&["rev-list", "--count", "FETCH_HEAD"]), "2");
    let readme = release.git(&["show", "FETCH_HEAD:README.md"]);
    assert!(
        !readme.contains("](../") && !readme.contains("- project: "),
        "{readme}"
    );
    assert!(
        readme.contains("  - component: $CI_SERVER_FQDN/jobpass/jobpass/job@0.2.0\n    inputs:\n"),
        "{readme}"
    );
    assert!(
        readme.contains("](https://github.com/jobpass/jobpass/blob/v0.2.0/docs/minter.md"),
        "{readme}"
    );
}

/// The builder of one platform must not be able to make the binaries of another platform.
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
        (
            checksums,
            &*two,
            "do not name jobpass-github-linux-x64 of version 0.1.0 alone",
        ),
        (
            checksums,
            &another_file,
            "do not name jobpass-github-linux-x64 of version 0.1.0 alone",
        ),
        (
            checksums,
            &line_break,
            "do not name jobpass-github-linux-x64 of version 0.1.0 alone",
        ),
        (
            checksums,
            &later,
            "do not name jobpass-github-linux-x64 of version 0.1.0 alone",
        ),
        (
            checksums,
            "{",
            "do not name jobpass-github-linux-x64 of version 0.1.0 alone",
        ),
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
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{file}: {said}");
    }
}
