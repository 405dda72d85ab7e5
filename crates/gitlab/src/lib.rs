//! For GitLab jobs. `jobpass-gitlab mint` stands in `before_script` or in a job of its own, `jobpass-gitlab revoke` in
//! `after_script` or in a job of stage `.post`; `jobpass-gitlab open` is for jobs that get the token from another one.
//!
//! A job on a default runner cannot mask a value that it made itself: nothing here prints any part of a token, and
//! `jobpass-gitlab mask` takes out of the job's log what the job's own commands print.

mod dotenv;
mod job;
mod log;
mod mask;
mod mint;
mod open;
mod proxy_exec;
mod revoke;
mod sealed;

use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    environment::Environment,
    flags::{self, EXIT_CODES},
    harden,
    interrupt::Interrupt,
    program, renew,
};

use crate::job::Job;

/// Runs the program and gives its exit code, a [`jobpass_core::Kind`] if it failed.
pub fn main() -> ExitCode {
    harden::harden();
    let matches = command().get_matches();
    let environment = std::env::vars_os().collect::<Environment>();
    if let Some(("mask", matches)) = matches.subcommand() {
        let masked = Job::new(environment).and_then(|job| mask::run(matches, &job));
        return masked.map_or_else(
            |error| {
                log::error(&error);
                ExitCode::from(error.kind().exit_code())
            },
            |()| ExitCode::SUCCESS,
        );
    }
    program::run(
        async |interrupt| verb(&matches, environment, interrupt).await,
        log::error,
    )
}

fn command() -> Command {
    Command::new("jobpass-gitlab")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Kubernetes ServiceAccount tokens that belong to one GitLab job or pipeline")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            mint::command(),
            revoke::command(),
            open::command(),
            mask::command(),
            Command::new(renew::VERB).args(flags::flags()).hide(true),
        ])
}

async fn verb(matches: &ArgMatches, environment: Environment, mut interrupt: Interrupt) -> Result<(), Error> {
    let job = Job::new(environment)?;
    match matches.subcommand() {
        Some(("mint", matches)) => mint::run(matches, &job, interrupt).await,
        Some(("revoke", matches)) => revoke::run(matches, &job, interrupt).await,
        Some((renew::VERB, matches)) => {
            let inputs = flags::inputs_at_end(matches)?;
            renew::run(stdin(), stdout(), &inputs, &job.environment, &mut interrupt).await
        }
        Some((_, matches)) => open::run(matches, &job),
        None => Ok(()),
    }
}
