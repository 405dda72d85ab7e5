//! The command line for people who maintain pipelines, and for CI platforms that have no front end of their own.

mod asker;
mod check;
mod doctor;
mod exec;
mod expiry_test;
mod inspect;
mod list;
mod manual;
mod mint;
mod output;
mod pipelines;
mod progress;
mod revoke;
mod rotate;
mod scope;
mod screen;
mod session;
mod setup;
mod sweep;
mod table;
mod whoami;

use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

use clap::Command;
use jobpass_core::{
    environment::Environment,
    flags::{self, EXIT_CODES},
    harden, program, renew,
};

/// Runs the program and gives its exit code, a [`jobpass_core::Kind`] if it failed.
pub fn main() -> ExitCode {
    harden::harden();
    // A verb for jobpass itself, which nobody completes or looks up.
    let renew = Command::new(renew::VERB).args(flags::flags()).hide(true);
    let matches = command().subcommand(renew).get_matches();
    let (verb, matches) = matches.subcommand().unwrap_or(("", &matches));
    let done = |()| ExitCode::SUCCESS;
    let environment = std::env::vars_os().collect::<Environment>();
    output::log_as(matches, &environment);
    program::run(
        async |mut interrupt| match verb {
            "check" => check::run(matches, &environment, interrupt).await.map(done),
            "exec" => exec::run(matches, &environment, interrupt).await,
            "expiry-test" => expiry_test::run(matches, &environment, interrupt).await,
            "completions" => manual::completions(matches, command()).map(done),
            "man" => manual::man(matches, command()).map(done),
            "inspect" => inspect::run(matches, &environment, interrupt).await,
            "whoami" => whoami::run(matches, &environment, interrupt).await.map(done),
            "mint" => mint::run(matches, &environment, interrupt).await.map(done),
            "list" => list::run(matches, &environment, interrupt).await.map(done),
            "rotate" => rotate::run(matches, &environment, interrupt).await.map(done),
            "sweep" => sweep::run(matches, &environment, interrupt).await.map(done),
            "doctor" => doctor::run(matches, &environment, interrupt).await.map(done),
            "setup" => setup::run(matches, &environment, interrupt).await.map(done),
            renew::VERB => {
                let inputs = flags::inputs_at_end(matches)?;
                renew::run(stdin(), stdout(), &inputs, &environment, &mut interrupt)
                    .await
                    .map(done)
            }
            _ => revoke::run(matches, &environment, interrupt).await.map(done),
        },
        output::error,
    )
}

fn command() -> Command {
    Command::new("jobpass")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Kubernetes ServiceAccount tokens that belong to one CI job")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(output::log_format())
        .subcommands([
            mint::command(),
            exec::command(),
            revoke::command(),
            inspect::command(),
            list::command(),
            sweep::command(),
            rotate::command(),
            check::command(),
            setup::command(),
            doctor::command(),
            expiry_test::command(),
            whoami::command(),
        ])
        .subcommands(manual::commands())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_verb_shows_how_it_is_used() {
        let command = super::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = verb.get_name();
            assert!(
                help.contains("Example") && help.contains(&format!("jobpass {name}")),
                "{name}"
            );
        }
    }
}
