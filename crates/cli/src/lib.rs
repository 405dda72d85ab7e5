//! The command line, for people who maintain pipelines, and for CI platforms without a front end of their
//! own.
//!
//! Each module is a layer: it uses only modules that are listed below it.

#![warn(missing_docs)]

mod verbs;

mod session;

mod options;
mod pipelines;
mod terminal;

use std::process::ExitCode;

use jobpass_core::{
    Error,
    process::{environment::Environment, harden, program},
};

use crate::{
    terminal::{help, output},
    verbs::{VERBS, Verb},
};

/// Runs the program and returns its exit code. After a failure, the exit code is the number of the error's
/// [`jobpass_core::Kind`].
pub fn main() -> ExitCode {
    harden::harden();
    let environment = std::env::vars_os().collect::<Environment>();
    let command = help::with_whole_examples(verbs::command()).subcommand(Verb::Renew.command());
    let matches = command
        .try_get_matches()
        .unwrap_or_else(|message| help::leave(&message, &environment));
    let given = matches.subcommand().and_then(|(name, matches)| {
        let verb = VERBS.into_iter().find(|verb| verb.command().get_name() == name)?;
        Some((verb, matches))
    });
    output::set_log_format(given.map_or(&matches, |(_, matches)| matches), &environment);
    program::run(
        async |interrupt| match given {
            Some((verb, matches)) => verb.run(matches, &environment, interrupt).await,
            None => Err(Error::defect("the command line names no verb")),
        },
        output::error,
    )
}
