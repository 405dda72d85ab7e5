//! Tokens for GitLab jobs. `jobpass-gitlab mint` runs in `before_script` or in a job of its own. A guard
//! beside the job's shell revokes the token when the script ends. Without a guard,
//! `jobpass-gitlab revoke` revokes it in `after_script` or in a job of stage `.post`. Jobs that get the token
//! from another job use `jobpass-gitlab open`.
//!
//! A job cannot make a default runner mask a token as the API server issued it. So on a default runner, this
//! program prints no part of a token, and `jobpass-gitlab mask` removes the token from the output of the
//! job's own commands.

#![warn(missing_docs)]

mod dotenv;
mod guard;
mod job;
mod log;
mod mask;
mod mint;
mod named_pipe;
mod open;
mod process;
mod proxy_exec;
mod revoke;
mod sealed;
mod time;

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    inputs::flags::EXIT_CODES,
    process::{environment::Environment, harden, interrupt::Interrupt, program},
};

use crate::job::Job;

/// The verbs of the program. Each `match` on a verb names all of them, so that a verb without an arm does not
/// compile.
#[derive(Clone, Copy)]
enum Verb {
    Mint,
    Revoke,
    Open,
    Mask,
    Guard,
}

const VERBS: [Verb; 5] = [Verb::Mint, Verb::Revoke, Verb::Open, Verb::Mask, Verb::Guard];

impl Verb {
    fn command(self) -> Command {
        match self {
            Self::Mint => mint::command(),
            Self::Revoke => revoke::command(),
            Self::Open => open::command(),
            Self::Mask => mask::command(),
            Self::Guard => guard::command(),
        }
    }

    async fn run(self, matches: &ArgMatches, job: &Job, interrupt: Interrupt) -> Result<(), Error> {
        match self {
            Self::Mint => mint::run(matches, job, interrupt).await,
            Self::Revoke => revoke::run(matches, job, interrupt).await,
            Self::Open => open::run(matches, job),
            Self::Mask => mask::run(matches, job),
            Self::Guard => guard::run(matches, job, interrupt).await,
        }
    }
}

/// Runs the program and returns its exit code. After a failure, the exit code is the number of the error's
/// [`jobpass_core::Kind`].
pub fn main() -> ExitCode {
    harden::harden();
    let matches = command().get_matches();
    let environment = std::env::vars_os().collect::<Environment>();
    let given = matches.subcommand().and_then(|(name, matches)| {
        let verb = VERBS.into_iter().find(|verb| verb.command().get_name() == name)?;
        Some((verb, matches))
    });
    // `mask` runs without signal handlers, so that a signal ends it like any other filter.
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
            None => Err(Error::defect("the command line names no verb")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_verb_under_its_own_name() {
        assert!(
            VERBS
                .map(|verb| verb as usize)
                .into_iter()
                .eq(0..=Verb::Guard as usize)
        );
        // This fails if two verbs have one name, or if flags contradict each other.
        command().debug_assert();
    }
}
