//! `cargo xtask test`: every test there is, from nothing but Rust and Node.

use std::env;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};

use crate::Verb;
use crate::dist;
use crate::tools::{self, ACT, GITLAB_CI_LOCAL, KUBECTL, KUBERNETES_VALIDATE};
use crate::workspace::{Workspace, run, step};

pub const VERB: Verb = Verb { command, run: verb };

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
    tools::node()?;
    // gitlab-ci-local copies the project with it.
    tools::system("rsync", "rsync")?;
    // Shells that images have instead of bash, and what careless scripts print tokens with.
    for (program, package) in [
        ("dash", "dash"),
        ("busybox", "busybox"),
        ("curl", "curl"),
        ("hexdump", "bsdextrautils"),
        ("jq", "jq"),
        ("openssl", "openssl"),
        ("xxd", "xxd"),
    ] {
        tools::system(program, package)?;
    }
    let bin = tools::install(
        workspace,
        &[&ACT, &KUBECTL, &KUBERNETES_VALIDATE, &GITLAB_CI_LOCAL],
    )?;

    // All targets, as the tests start programs of other packages, which cargo test alone would not build.
    let build = ["build", "--workspace", "--all-targets"];
    step("build everything", &format!("cargo {}", build.join(" ")), || {
        run(workspace.cargo().args(build))
    })?;
    let binary = workspace.target.join("debug").join(dist::BINARY);
    step(
        "put the binary where the launcher looks",
        "cargo xtask dist --profile dev",
        || dist::place(&binary, &workspace.root.join("dist")),
    )?;

    let node = ["--test", "--test-reporter=spec", "tests/launcher/launch.test.mjs"];
    step("test the launcher", &format!("node {}", node.join(" ")), || {
        run(workspace.command("node").args(node))
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
