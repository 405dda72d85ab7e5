//! `cargo xtask lint`: all checks that read the sources without running them.

mod embedded;
mod examples;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgMatches, Command};

use self::examples::{Files, Inputs};
use crate::Verb;
use crate::licenses;
use crate::tools::{
    self, ACTIONLINT, CARGO_DENY, CARGO_MACHETE, CHECK_JSONSCHEMA, HADOLINT, KUBERNETES_VALIDATE, LYCHEE,
    SHELLCHECK, TYPOS, Tool, ZIZMOR,
};
use crate::workspace::{Workspace, run, step};

pub const VERB: Verb = Verb { command, run: verb };

fn command() -> Command {
    Command::new("lint").about("Check format, lints, workflows, shell, examples and dependencies")
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

    let bin = tools::install(
        workspace,
        &[
            &ACTIONLINT,
            &ZIZMOR,
            &SHELLCHECK,
            &CHECK_JSONSCHEMA,
            &KUBERNETES_VALIDATE,
            &HADOLINT,
            &LYCHEE,
            &TYPOS,
            &CARGO_DENY,
            &CARGO_MACHETE,
        ],
    )?;
    let folder = workspace.target.join("lint");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let sources = step("find examples and scripts", "cargo xtask lint", || {
        Sources::find(&workspace.root, &folder)
    })?;
    let tool = |tool: &Tool, words: &[&str], files: &[&PathBuf]| {
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        let program = bin.join(tool.name);
        let alone = format!("{} {} {}", program.display(), words.join(" "), files.join(" "));
        step(tool.name, &alone, || {
            run(workspace
                .command(&program)
                .args(words)
                .args(files.iter().map(|file| &**file)))
        })
    };
    let examples = &sources.examples;
    let workflows: Vec<_> = sources.workflows.iter().chain(&examples.workflows).collect();
    // shellcheck checks the scripts below, each in a file of its own.
    tool(&ACTIONLINT, &["-shellcheck="], &workflows)?;
    let audited: Vec<_> = sources.workflows.iter().chain(&sources.audited).collect();
    let strictest = ["--persona=auditor", "--offline", "--strict-collection"];
    tool(&ZIZMOR, &strictest, &audited)?;
    // An example names a release of jobpass by its tag, because nobody knows the commit before the release.
    let config = folder.join("zizmor.yml");
    let pins = "rules: {unpinned-uses: {config: {policies: {jobpass/*: ref-pin, '*': hash-pin}}}}\n";
    fs::write(&config, pins).with_context(|| format!("cannot write {}", config.display()))?;
    let config = format!("--config={}", config.display());
    let example_workflows: Vec<_> = examples.workflows.iter().collect();
    tool(&ZIZMOR, &[&config, "--offline"], &example_workflows)?;
    let schema = |name: &str, files: &[&PathBuf]| tool(&CHECK_JSONSCHEMA, &["--builtin-schema", name], files);
    schema("vendor.github-actions", &[&PathBuf::from("action.yml")])?;
    schema("vendor.github-workflows", &workflows)?;
    schema("vendor.dependabot", &[&PathBuf::from(".github/dependabot.yml")])?;
    tool(
        &CHECK_JSONSCHEMA,
        &[
            "--builtin-schema",
            "vendor.gitlab-ci",
            "--data-transform",
            "gitlab-ci",
        ],
        &[&PathBuf::from("dist/catalog.gitlab-ci.yml")]
            .into_iter()
            .chain(&examples.pipelines)
            .collect::<Vec<_>>(),
    )?;
    tool(
        &KUBERNETES_VALIDATE,
        &["--strict"],
        &examples.manifests.iter().collect::<Vec<_>>(),
    )?;
    tool(&SHELLCHECK, &[], &sources.scripts.iter().collect::<Vec<_>>())?;
    // An example may use variables that other examples of its page set, which SC2154 would report.
    tool(
        &SHELLCHECK,
        &["--shell=sh", "--exclude=SC2154"],
        &examples.scripts.iter().collect::<Vec<_>>(),
    )?;
    let dockerfile = PathBuf::from("dist/Dockerfile");
    let dockerfiles: Vec<_> = [&dockerfile].into_iter().chain(&examples.dockerfiles).collect();
    tool(&HADOLINT, &[], &dockerfiles)?;
    // This checks no links to other sites, because that needs a network.
    tool(
        &LYCHEE,
        &["--offline", "--include-fragments", "--no-progress"],
        &sources.markdown.iter().collect::<Vec<_>>(),
    )?;
    tool(&TYPOS, &["--format", "brief"], &[])?;
    // cargo-deny reads the crates of all platforms. A build fetches only those of one platform.
    cargo("fetch every dependency", &["fetch", "--locked"])?;
    step("licence texts of all crates", "cargo xtask lint", || {
        licenses::texts(workspace).map(drop)
    })?;
    tool(&CARGO_MACHETE, &["--skip-target-dir"], &[])?;
    // The advisories are a git repository on GitHub. The workflow checks them, because its machine reaches
    // GitHub.
    let checks = ["--offline", "check", "bans", "licenses", "sources"];
    tool(&CARGO_DENY, &checks, &[])
}

/// The files for all linters except Rust's.
struct Sources {
    workflows: Vec<PathBuf>,
    /// The files for zizmor, in addition to the workflows.
    audited: Vec<PathBuf>,
    /// The shell scripts, including the scripts in workflows and templates, each in a file of its own.
    scripts: Vec<PathBuf>,
    markdown: Vec<PathBuf>,
    examples: Files,
}

impl Sources {
    /// Finds the files below `root`. Writes the scripts in workflows and templates, and the examples in
    /// Markdown, to `folder`.
    fn find(root: &Path, folder: &Path) -> Result<Self> {
        let read = |path: &Path| {
            fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {}", path.display()))
        };
        let workflows = listed(root, ".github/workflows", "yml")?;
        let templates = listed(root, "gitlab-component/templates", "yml")?;
        let mut markdown = listed(root, "", "md")?;
        for other in ["docs", "gitlab-component"] {
            markdown.extend(listed(root, other, "md")?);
        }
        let mut scripts = [
            ".ci/run",
            "dist/images.sh",
            "dist/kubectl_complete-jobpass",
            "dist/release.sh",
            "crates/gitlab/src/mask/filter.sh",
            "crates/gitlab/src/mask/end.sh",
        ]
        .map(PathBuf::from)
        .to_vec();
        let mut inputs = Inputs {
            action: embedded::inputs(&read(Path::new("action.yml"))?)?,
            templates: serde_json::Map::new(),
        };
        for path in workflows.iter().chain(&templates) {
            let text = read(path)?;
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if let Some(spec) = embedded::spec(&text)? {
                inputs.templates.insert(name.to_owned(), spec);
            }
            for (number, script) in embedded::scripts(&text)?.iter().enumerate() {
                let path = folder.join(format!("{name}-{number}.sh"));
                fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
                scripts.push(path);
            }
        }
        let mut examples = Files::default();
        for path in &markdown {
            examples::write(
                &read(path)?,
                &path.to_string_lossy(),
                folder,
                &inputs,
                &mut examples,
            )?;
        }
        let mut audited = ["action.yml", ".github/dependabot.yml"]
            .map(PathBuf::from)
            .to_vec();
        audited.retain(|file| root.join(file).exists());
        Ok(Self {
            workflows,
            audited,
            scripts,
            markdown,
            examples,
        })
    }
}

/// The files of a folder with this extension, relative to the root.
fn listed(root: &Path, folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let dir = root.join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path.strip_prefix(root)?.to_owned());
        }
    }
    found.sort();
    Ok(found)
}
