//! The quick starts of the documents. A test runs the commands of a page, and changes only the namespace.

mod github;
mod gitlab;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{cluster::Cluster, support};

/// A `gh` and a `glab` that store secrets and variables as files, in the folders `secrets/`, `variables/` and
/// `files/`.
const PLATFORM: &str = r#"#!/bin/sh
set -eu
platform="$(dirname "$0")/platform"
fail() { echo "${0##*/}: cannot do this here: $*" >&2; exit 1; }
case "${0##*/} $*" in
"gh api repos/{owner}/{repo} --jq .id")
  echo 2 ;;
"gh api --method PUT repos/{owner}/{repo}/environments/"*)
  mkdir -p "$platform/secrets/${4##*/}" ;;
"gh secret set "*" --env "*)
  test $# = 5 && cat > "$platform/secrets/$5/$3" ;;
"gh variable set "*)
  test $# = 3 && cat > "$platform/variables/$3" ;;
"glab variable set "*" --value "*)
  test $# = 5 && printf %s "$5" > "$platform/variables/$3" ;;
"glab variable set "*" --type file" | "glab variable set "*" --type file --protected")
  cat > "$platform/files/$3" ;;
*) fail "$*" ;;
esac
"#;

/// A part of a page, and the folder in which a reader follows it.
struct Reader {
    cluster: Cluster,
    folder: TempDir,
    blocks: Vec<Block>,
}

/// A fenced block.
struct Block {
    language: String,
    text: String,
}

/// The result of a block of a page: the output of its commands, or the log of its job.
type Seen = String;

impl Reader {
    /// Reads the sections of a page below this heading. Replaces the page's namespace `ci` with the test's.
    fn of(page: &str, heading: &str, cluster: Cluster) -> Self {
        let page = fs::read_to_string(support::root().join("docs").join(page)).expect("the page");
        let (_, part) = page
            .split_once(&format!("\n## {heading}\n"))
            .expect("the heading");
        let part = part.split("\n## ").next().unwrap_or_default();
        let namespace = cluster.namespace();
        let blocks = fenced(part)
            .into_iter()
            .map(|block| Block {
                text: in_namespace(&block.text, namespace),
                ..block
            })
            .collect();
        let folder = tempfile::tempdir().expect("a folder");
        let reader = Self {
            cluster,
            folder,
            blocks,
        };
        for name in ["secrets", "variables", "files"] {
            fs::create_dir_all(reader.platform(name)).expect("made");
        }
        for name in ["gh", "glab"] {
            let program = reader.folder.path().join("bin").join(name);
            fs::write(&program, PLATFORM).expect("written");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        fs::create_dir(reader.desk()).expect("made");
        fs::write(
            reader.desk().join("admin.yaml"),
            reader.cluster.admin_kubeconfig(),
        )
        .expect("written");
        reader
    }

    /// The folder in which the commands run.
    fn desk(&self) -> PathBuf {
        self.folder.path().join("desk")
    }

    /// The folder in which `gh` and `glab` store values of this kind.
    fn platform(&self, kind: &str) -> PathBuf {
        self.folder.path().join("bin/platform").join(kind)
    }

    /// Follows the page from its first to its last block. `job` runs the workflow or the pipeline.
    ///
    /// # Panics
    /// If a command fails, if a line of a text block is not in the result of the block above, or if the job's
    /// token still works.
    fn follow(&self, job: impl Fn(&str) -> Seen) {
        let mut seen = Seen::new();
        let mut jobs = 0;
        for Block { language, text } in &self.blocks {
            match language.as_str() {
                "sh" => seen = self.sh(text),
                "yaml" => {
                    seen = job(text);
                    jobs += 1;
                }
                "text" => {
                    for line in text.lines() {
                        assert!(seen.contains(line), "no `{line}` in:\n{seen}");
                    }
                }
                other => panic!("a block of {other}"),
            }
        }
        assert_eq!(jobs, 1, "each part of a page has one job");
        self.assert_revoked(&seen);
    }

    fn sh(&self, script: &str) -> Seen {
        let mut path = vec![self.folder.path().join("bin")];
        for program in [support::binary("jobpass"), support::tool("kubectl")] {
            path.push(program.parent().expect("a folder").to_owned());
        }
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let output = support::scrubbed(Command::new("sh"))
            .args(["-e", "-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.desk())
            .env("PATH", env::join_paths(path).expect("a PATH"))
            .env("HOME", self.folder.path())
            .output()
            .expect("sh starts");
        let seen = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{script}\n{seen}");
        seen
    }

    /// Panics unless the API server issued exactly one token to a job, and accepts it no longer.
    fn assert_revoked(&self, log: &str) {
        let scanner = format!("system:serviceaccount:{}:scanner", self.cluster.namespace());
        let requests = self.cluster.requests();
        assert!(
            requests
                .iter()
                .any(|r| r.path.contains("/pods") && r.user == scanner),
            "no job used its token\n{log}"
        );
        assert!(self.cluster.anchors().is_empty(), "{log}");
        let issued = self.cluster.issued();
        let of_jobs = issued
            .iter()
            .filter(|token| subject(token).as_deref() == Some(&*scanner));
        let of_jobs = of_jobs.collect::<Vec<_>>();
        assert!(of_jobs.len() == 1 && !self.cluster.accepts(of_jobs[0]), "{log}");
    }
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).expect("a folder").flatten();
    let named = files.map(|file| {
        let text = fs::read_to_string(file.path()).expect("a file");
        (file.file_name().to_string_lossy().into_owned(), text)
    });
    named.collect()
}

fn subject(token: &str) -> Option<String> {
    let token = jobpass_core::token::Token::parse(token, "token").ok()?;
    jobpass_core::claims::Claims::decode(&token).ok()?.sub
}

fn in_namespace(text: &str, namespace: &str) -> String {
    let mut result = String::new();
    let mut word = String::new();
    for character in text.chars().chain([' ']) {
        if character.is_alphanumeric() || "_-.".contains(character) {
            word.push(character);
            continue;
        }
        result += if word == "ci" { namespace } else { &word };
        word.clear();
        result.push(character);
    }
    result.pop();
    result
}

fn fenced(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indentation = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let inside = inside.map(|line| format!("{}\n", line.get(indentation..).unwrap_or_default()));
        blocks.push(Block {
            language: language.to_owned(),
            text: inside.collect(),
        });
    }
    blocks
}
