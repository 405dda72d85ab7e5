//! `cargo xtask lint`: all checks of the sources that do not run them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgMatches, Command};

use crate::Verb;
use crate::tools::{self, ACTIONLINT, CARGO_DENY, SHELLCHECK, ZIZMOR};
use crate::workspace::{Workspace, run, step};

pub const VERB: Verb = Verb { command, run: verb };

fn command() -> Command {
    Command::new("lint").about("Check format, lints, workflows, shell and dependencies")
}

fn verb(workspace: &Workspace, _: &ArgMatches) -> Result<()> {
    let cargo = |what: &str, words: &[&str]| {
        step(what, &format!("cargo {}", words.join(" ")), || {
            run(workspace.cargo().args(words))
        })
    };
    cargo("format", &["fmt", "--all", "--check"])?;
    cargo(
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    let words = ["doc", "--workspace", "--no-deps", "--all-features", "--locked"];
    step(
        "documentation",
        &format!("RUSTDOCFLAGS='-D warnings' cargo {}", words.join(" ")),
        || run(workspace.cargo().args(words).env("RUSTDOCFLAGS", "-D warnings")),
    )?;

    let bin = tools::install(workspace, &[&ACTIONLINT, &ZIZMOR, &SHELLCHECK, &CARGO_DENY])?;
    let workflows = workflows(&workspace.root)?;
    let tool = |name: &str, words: &[&str], files: &[PathBuf]| {
        let files = files
            .iter()
            .map(|file| file.to_string_lossy())
            .collect::<Vec<_>>();
        let alone = format!(
            "{} {} {}",
            bin.join(name).display(),
            words.join(" "),
            files.join(" ")
        );
        step(name, &alone, || {
            let files = files.iter().map(|file| file.as_ref());
            run(workspace
                .command(bin.join(name))
                .args(words)
                .args(files.map(OsStr::new)))
        })
    };
    // It takes one pattern only, and braces need at least two words: we have ci.yml and release.yml.
    let names = workflows
        .iter()
        .map(|file| file.to_string_lossy())
        .collect::<Vec<_>>();
    tool(ACTIONLINT.name, &[&format!("{{{}}}", names.join(","))], &[])?;
    let mut audited = workflows;
    audited.extend(["action.yml", ".github/dependabot.yml"].map(PathBuf::from));
    audited.retain(|file| workspace.root.join(file).exists());
    tool(
        ZIZMOR.name,
        &["--persona=auditor", "--offline", "--strict-collection"],
        &audited,
    )?;
    let scripts = [
        ".ci/run",
        "dist/release.sh",
        "crates/gitlab/src/mask/filter.sh",
        "crates/gitlab/src/mask/end.sh",
    ]
    .map(PathBuf::from);
    tool(SHELLCHECK.name, &[], &scripts)?;
    // It reads the crates of all platforms, of which a build fetches those of one.
    cargo("fetch every dependency", &["fetch", "--locked"])?;
    // The advisories are a git repository on GitHub; the workflow that reaches it checks them too.
    let checks = ["--offline", "check", "bans", "licenses", "sources"];
    tool(CARGO_DENY.name, &checks, &[])
}

/// The workflows in use and those that the documentation shows, relative to the root.
fn workflows(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![
        root.join(".github/workflows"),
        root.join("docs"),
        root.join("examples"),
    ];
    while let Some(dir) = todo.pop() {
        if !dir.exists() {
            continue;
        }
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yml" || extension == "yaml")
            {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                // Other YAML, such as a GitLab pipeline or a manifest, has no `jobs` at the top.
                if text.lines().any(|line| line.starts_with("jobs:")) {
                    found.push(path.strip_prefix(root)?.to_owned());
                }
            }
        }
    }
    found.sort();
    Ok(found)
}
