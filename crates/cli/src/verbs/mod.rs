//! The verbs of the command line.

mod check;
mod doctor;
mod exec;
mod expiry;
mod inspect;
mod learn;
mod list;
mod manual;
mod mint;
mod page;
mod revoke;
mod rotate;
mod setup;
mod sweep;
mod whoami;

use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    inputs::flags::{self, EXIT_CODES},
    life::renew,
    process::{environment::Environment, interrupt::Interrupt},
};

use crate::terminal::output;

/// The verbs. Each `match` on a verb names all of them, so that a verb without an arm does not compile.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Mint,
    Exec,
    Revoke,
    Inspect,
    List,
    Sweep,
    Rotate,
    Check,
    Learn,
    Setup,
    Doctor,
    ExpiryTest,
    Whoami,
    Version,
    Completions,
    Man,
    /// The process that renews a token or holds a proxy. `mint` starts it in the background. The help,
    /// completions and manual pages do not show it.
    Renew,
}

/// The verbs in the order of `--help`.
pub(crate) const VERBS: [Verb; 17] = [
    Verb::Mint,
    Verb::Exec,
    Verb::Revoke,
    Verb::Inspect,
    Verb::List,
    Verb::Sweep,
    Verb::Rotate,
    Verb::Check,
    Verb::Learn,
    Verb::Setup,
    Verb::Doctor,
    Verb::ExpiryTest,
    Verb::Whoami,
    Verb::Version,
    Verb::Completions,
    Verb::Man,
    Verb::Renew,
];

impl Verb {
    /// The verb's name, options and help.
    pub(crate) fn command(self) -> Command {
        match self {
            Self::Mint => mint::command(),
            Self::Exec => exec::command(),
            Self::Revoke => revoke::command(),
            Self::Inspect => inspect::command(),
            Self::List => list::command(),
            Self::Sweep => sweep::command(),
            Self::Rotate => rotate::command(),
            Self::Check => check::command(),
            Self::Learn => learn::command(),
            Self::Setup => setup::command(),
            Self::Doctor => doctor::command(),
            Self::ExpiryTest => expiry::command(),
            Self::Whoami => whoami::command(),
            Self::Version => Command::new("version")
                .about("Print the version of jobpass")
                .after_help("Example:\n  jobpass version"),
            Self::Completions => manual::completions_command(),
            Self::Man => manual::man_command(),
            Self::Renew => Command::new(renew::VERB).args(flags::flags()).hide(true),
        }
    }

    /// Runs the verb, and returns its exit code. `exec` returns the exit code of its command.
    pub(crate) async fn run(
        self,
        matches: &ArgMatches,
        environment: &Environment,
        mut interrupt: Interrupt,
    ) -> Result<ExitCode, Error> {
        match self {
            Self::Exec => return exec::run(matches, environment, interrupt).await,
            Self::Inspect => return inspect::run(matches, environment, interrupt).await,
            Self::ExpiryTest => return expiry::run(matches, environment, interrupt).await,
            Self::Mint => mint::run(matches, environment, interrupt).await,
            Self::Revoke => revoke::run(matches, environment, interrupt).await,
            Self::List => list::run(matches, environment, interrupt).await,
            Self::Sweep => sweep::run(matches, environment, interrupt).await,
            Self::Rotate => rotate::run(matches, environment, interrupt).await,
            Self::Check => check::run(matches, environment, interrupt).await,
            Self::Learn => learn::run(matches, environment, interrupt).await,
            Self::Setup => setup::run(matches, environment, interrupt).await,
            Self::Doctor => doctor::run(matches, environment, interrupt).await,
            Self::Whoami => whoami::run(matches, environment, interrupt).await,
            // `jobpass --version` prints the same.
            Self::Version => output::result(concat!("jobpass ", env!("CARGO_PKG_VERSION"))),
            Self::Completions => manual::completions(matches, command()),
            Self::Man => manual::man(matches, command()),
            Self::Renew => {
                let inputs = flags::inputs_at_end(matches)?;
                renew::run(stdin(), stdout(), &inputs, environment, &mut interrupt).await
            }
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// The command line, without the hidden verb.
pub(crate) fn command() -> Command {
    let verbs = VERBS.map(Verb::command);
    Command::new("jobpass")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Kubernetes ServiceAccount tokens that belong to one CI job")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(output::log_format())
        .subcommands(verbs.into_iter().filter(|verb| !verb.is_hide_set()))
}

#[cfg(test)]
mod tests {
    use super::VERBS;

    #[test]
    fn the_table_has_every_verb() {
        let numbers = VERBS.map(|verb| verb as usize);
        assert!(numbers.into_iter().eq(0..=super::Verb::Renew as usize));
    }

    #[test]
    fn the_help_of_every_verb_has_an_example() {
        let command = super::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = verb.get_name();
            assert!(
                help.contains("Example") && help.contains(&format!("jobpass {name}")),
                "{name}"
            );
            // A terminal breaks longer lines, and nobody can paste a broken command.
            let (_, examples) = help.split_once("Example").unwrap_or_default();
            let longest = examples.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(80), "{name}");
        }
    }
}
