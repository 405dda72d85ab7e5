//! The project's chores: `cargo xtask VERB`. Each verb for people has a module of its own, and a line in
//! `VERBS`.

#![expect(
    clippy::print_stdout,
    reason = "a chore prints what it is doing and how long it took"
)]

use std::env;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::workspace::Workspace;

pub mod bench;
mod clients;
mod cluster;
mod control_plane;
pub mod demo;
pub mod dist;
pub mod docs;
pub mod licenses;
pub mod lint;
pub mod nsswitch;
pub mod sbom;
pub mod targets;
pub mod test;
pub mod tools;
pub mod workspace;

const VERBS: &[Verb] = &[
    demo::VERB,
    dist::VERB,
    sbom::VERB,
    test::VERB,
    lint::VERB,
    docs::VERB,
    bench::VERB,
    targets::VERB,
];

/// A chore: its command line and its function.
pub struct Verb {
    pub command: fn() -> Command,
    pub run: fn(&Workspace, &ArgMatches) -> Result<()>,
}

pub fn main() -> Result<()> {
    // The demo's jobs run this verb in their own folder, which is not in the workspace.
    if env::args_os().nth(1).is_some_and(|verb| verb == demo::LIST_PODS) {
        return demo::list_pods();
    }
    let cli = Command::new("cargo xtask")
        .about("The project's chores")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(VERBS.iter().map(|verb| (verb.command)()));
    let matches = cli.get_matches();
    let workspace = Workspace::load()?;
    for verb in VERBS {
        if let Some(arguments) = matches.subcommand_matches((verb.command)().get_name()) {
            return (verb.run)(&workspace, arguments);
        }
    }
    unreachable!("clap accepts only the verbs above")
}
