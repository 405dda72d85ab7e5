//! The GitHub Action's program. The launcher in `dist/` runs `jobpass-github main` as the user's step, and
//! `jobpass-github post` at the end of the job.
//!
//! This crate follows the runner's source for commands, files and variables (github.com/actions/runner,
//! 2.336).

#![warn(missing_docs)]

mod commands;
mod export;
mod forget;
mod id_token;
mod job;
mod main_step;
mod post_step;
mod summary;

use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

use clap::Command;
use jobpass_core::{
    Error,
    life::renew,
    process::{environment::Environment, harden, interrupt::Interrupt, program},
};

use crate::job::Job;

/// The verbs of the program. Each `match` names all of them, so that a verb without an arm does not compile.
#[derive(Clone, Copy)]
enum Verb {
    Main,
    Post,
    Renew,
    Forget,
}

const VERBS: [Verb; 4] = [Verb::Main, Verb::Post, Verb::Renew, Verb::Forget];

impl Verb {
    fn command(self) -> Command {
        match self {
            Self::Main => Command::new("main")
                .about("As the user's step: mint a token, mask it, hand it over, and record the state"),
            Self::Post => Command::new("post").about(
                "At the end of the job: revoke the token that the \
                                                      state records",
            ),
            Self::Renew => Command::new(renew::VERB).hide(true),
            Self::Forget => Command::new(forget::VERB).hide(true),
        }
    }

    async fn run(self, job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
        match self {
            Self::Main => main_step::run(job, interrupt).await,
            Self::Post => post_step::run(job, interrupt).await,
            Self::Renew => {
                let inputs = job.inputs_in_post(None)?;
                renew::run(stdin(), stdout(), &inputs, &job.environment, &mut interrupt).await
            }
            Self::Forget => forget::run(stdin(), stdout()),
        }
    }
}

/// Runs the program and returns its exit code. After a failure, the exit code is the number of the error's
/// [`jobpass_core::Kind`].
pub fn main() -> ExitCode {
    harden::harden();
    let arguments = Command::new("jobpass-github")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Mints a Kubernetes ServiceAccount token for this GitHub job, and revokes the token when the \
            job ends",
        )
        .subcommand_required(true)
        .subcommands(VERBS.map(Verb::command))
        .get_matches();
    let given = arguments.subcommand_name();
    let verb = VERBS
        .into_iter()
        .find(|verb| given == Some(verb.command().get_name()));
    let job = Job::new(std::env::vars_os().collect::<Environment>());
    program::run(
        async |interrupt| match verb {
            Some(verb) => verb.run(&job, interrupt).await,
            None => Err(Error::defect("the command line names no verb")),
        },
        commands::error,
    )
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
                .eq(0..=Verb::Forget as usize)
        );
        let mut names = VERBS.map(|verb| verb.command().get_name().to_owned());
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
