//! `cargo xtask test`: every test there is, from nothing but Rust and Node.

use std::env;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};

use crate::Verb;
use crate::dist::{self, Profile};
use crate::tools::{self, ACT, GITLAB_CI_LOCAL, KUBECTL};
use crate::workspace::{Workspace, run, step};

pub const VERB: Verb = Verb { command, run: verb };

const LAUNCHER: &str = "tests/launcher/launch.test.mjs";

fn command() -> Command {
    Command::new("test")
        .about("Install what the tests talk to, build everything, and run every test")
        .arg(
            Arg::new("args")
                .last(true)
                .num_args(0..)
                .help("Handed on to cargo test"),
        )
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    tools::system("node", "nodejs")?;
    // gitlab-ci-local copies the project with it.
    tools::system("rsync", "rsync")?;
    let bin = tools::install(workspace, &[&ACT, &KUBECTL, &GITLAB_CI_LOCAL])?;

    // cargo test does not build the binaries of other packages, which the end-to-end tests start.
    step("build every binary", "cargo build --workspace --bins", || {
        run(workspace.cargo().args(["build", "--workspace", "--bins"]))
    })?;
    dist::dist_into(workspace, Profile::Dev, &workspace.root.join("dist"))?;

    step("test the launcher", &format!("node --test {LAUNCHER}"), || {
        run(workspace.command("node").args(["--test", LAUNCHER]))
    })?;

    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([bin.clone()].into_iter().chain(env::split_paths(&path)))
        .context("the target directory's path cannot stand in PATH")?;
    step(
        "test the workspace",
        "cargo xtask test, or cargo test --workspace with the tools on PATH",
        || {
            let mut cargo = workspace.cargo();
            cargo
                .args(["test", "--workspace"])
                .args(arguments.get_many::<String>("args").unwrap_or_default());
            run(cargo.env("PATH", path).env("JOBPASS_TOOLS", &bin))
        },
    )
}
