//! `jobpass completions` and `jobpass man`: completion scripts and manual pages. jobpass makes them from its
//! own command line.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;
use jobpass_core::{
    Error, Kind,
    text::{self, harmless},
};

use crate::terminal::output;

/// The verb `completions`.
pub(crate) fn completions_command() -> Command {
    Command::new("completions")
        .about("Print a shell completion script")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .value_parser(value_parser!(Shell))
                .required(true)
                .help("The shell that reads the script."),
        )
        .after_help(
            "Examples:\n  \
             jobpass completions bash > ~/.local/share/bash-completion/completions/jobpass\n  \
             jobpass completions zsh > ~/.zfunc/_jobpass    # with fpath+=~/.zfunc\n  \
             jobpass completions fish > ~/.config/fish/completions/jobpass.fish",
        )
}

/// The verb `man`.
pub(crate) fn man_command() -> Command {
    Command::new("man")
        .about("Write the manual pages to a folder, or print the page of jobpass")
        .arg(
            Arg::new("folder")
                .value_name("FOLDER")
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::DirPath)
                .help(
                    "The folder to which jobpass writes a page for each verb. Without it, jobpass prints \
                       its own page.",
                ),
        )
        .after_help(
            "Examples:\n  jobpass man | man -l -\n  jobpass man ~/.local/share/man/man1 && man jobpass-exec",
        )
}

/// Prints the completion script of `command`.
pub(crate) fn completions(matches: &ArgMatches, mut command: Command) -> Result<(), Error> {
    let mut script = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut command, "jobpass", &mut script);
    }
    output::result(String::from_utf8_lossy(&script).trim_end())
}

/// Writes the manual pages of `command`, or prints the first one.
pub(crate) fn man(matches: &ArgMatches, command: Command) -> Result<(), Error> {
    let Some(folder) = matches.get_one::<PathBuf>("folder") else {
        let mut page = Vec::new();
        // A write to memory does not fail.
        let _ = clap_mangen::Man::new(command.disable_help_subcommand(true)).render(&mut page);
        return output::result(String::from_utf8_lossy(&page).trim_end());
    };
    clap_mangen::generate_to(command, folder).map_err(|error| {
        let (folder, why) = (text::path(folder), harmless(&error.to_string()));
        Error::new(
            Kind::Deliver,
            format!("cannot write manual pages to `{folder}`: {why}"),
        )
        .help("name a folder that exists and that this user may write to")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_that_a_person_uses_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().to_str().expect("text");
        let matches = |folder: &str| man_command().get_matches_from(["man", folder]);
        man(&matches(folder), crate::verbs::command()).expect("written");
        let has_page = |verb: &str| PathBuf::from(folder).join(format!("jobpass-{verb}.1")).exists();
        let command = crate::verbs::command();
        for verb in command.get_subcommands().map(Command::get_name) {
            assert!(has_page(verb), "{verb}");
        }
        assert!(!has_page("renew"));
        let error = man(&matches("/nowhere/at all"), command).expect_err("refused");
        assert_eq!(error.kind(), Kind::Deliver);
        assert!(
            error
                .message()
                .starts_with("cannot write manual pages to `/nowhere/at all`"),
            "{error}"
        );
    }
}
