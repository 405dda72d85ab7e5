//! The GitHub Action's program. The launcher in `dist/` runs `jobpass-github main` where the user's step stands and
//! `jobpass-github post` at the end of the job.
//!
//! What a runner does with commands, files and variables was read in its source (github.com/actions/runner, 2.336).

mod commands;
mod id_token;
mod job;
mod main_step;
mod post_step;
mod summary;

use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

use jobpass_core::{environment::Environment, harden, program, renew};

use crate::job::Job;

/// Runs the program and gives its exit code, a [`jobpass_core::Kind`] if it failed.
pub fn main() -> ExitCode {
    harden::harden();
    let arguments = clap::Command::new("jobpass-github")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Mints a Kubernetes ServiceAccount token for this GitHub job and revokes it at the end")
        .subcommand_required(true)
        .subcommand(
            clap::Command::new("main")
                .about("Where the step stands: mint, mask, hand over, record the state"),
        )
        .subcommand(clap::Command::new("post").about("At the end of the job: revoke what the state records"))
        .subcommand(clap::Command::new(renew::VERB).hide(true))
        .get_matches();
    let job = Job::new(std::env::vars_os().collect::<Environment>());
    program::run(
        async |mut interrupt| match arguments.subcommand_name() {
            Some("main") => main_step::run(&job, interrupt).await,
            Some(renew::VERB) => {
                let inputs = job.inputs_in_post()?;
                renew::run(stdin(), stdout(), &inputs, &job.environment, &mut interrupt).await
            }
            _ => post_step::run(&job, interrupt).await,
        },
        commands::error,
    )
}
