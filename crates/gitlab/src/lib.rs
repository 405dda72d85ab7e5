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
    Error, Kind,
    inputs::flags::{self, EXIT_CODES},
    life::renew,
    process::{environment::Environment, harden, interrupt::Interrupt, program},
};

use crate::job::Job;

/// What the program can do. Each `match` on it names all of them, so that none is run in another one's place.
#[derive(Clone, Copy)]
enum Verb {
    Mint,
    Revoke,
    Open,
    Mask,
    Renew,
}

const VERBS: [Verb; 5] = [Verb::Mint, Verb::Revoke, Verb::Open, Verb::Mask, Verb::Renew];

impl Verb {
    fn command(self) -> Command {
        match self {
            Self::Mint => mint::command(),
            Self::Revoke => revoke::command(),
            Self::Open => open::command(),
            Self::Mask => mask::command(),
            Self::Renew => Command::new(renew::VERB).args(flags::flags()).hide(true),
        }
    }

    async fn run(self, matches: &ArgMatches, job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
        match self {
            Self::Mint => mint::run(matches, job, interrupt).await,
            Self::Revoke => revoke::run(matches, job, interrupt).await,
            Self::Open => open::run(matches, job),
            Self::Mask => mask::run(matches, job),
            Self::Renew => {
                let inputs = flags::inputs_at_end(matches)?;
                renew::run(stdin(), stdout(), &inputs, &job.environment, &mut interrupt).await
            }
        }
    }
}

/// Runs the program and gives its exit code, a [`jobpass_core::Kind`] if it failed.
pub fn main() -> ExitCode {
    harden::harden();
    let matches = command().get_matches();
    let environment = std::env::vars_os().collect::<Environment>();
    let given = matches.subcommand().and_then(|(name, matches)| {
        let verb = VERBS.into_iter().find(|verb| verb.command().get_name() == name)?;
        Some((verb, matches))
    });
    // Without signal handlers: a signal ends it as it would any filter.
    if let Some((Verb::Mask, matches)) = given {
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
        async |interrupt| match given {
            Some((verb, matches)) => verb.run(matches, &Job::new(environment)?, interrupt).await,
            None => Err(Error::new(Kind::Internal, "the command line names no verb")),
        },
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
        .subcommands(VERBS.map(Verb::command))
}
