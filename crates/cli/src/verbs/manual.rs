//! `jobpass completions` and `jobpass man`: completion scripts and manual pages. jobpass generates both from
//! the definition of its own command line.

use std::{
    fs::{create_dir_all, write},
    io,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;
use jobpass_core::{
    Error,
    text::{self, harmless},
};

use super::page;
use crate::terminal::output;

/// The verb `completions`.
pub(crate) fn completions_command() -> Command {
    Command::new("completions")
        .about("Print or write a shell completion script")
        .args([
            Arg::new("shell")
                .value_name("SHELL")
                .value_parser(value_parser!(Shell))
                .required(true)
                .help("The shell that reads the script."),
            Arg::new("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::FilePath)
                .help("The file that gets the script; without it, jobpass prints the script."),
        ])
        .after_help(
            "Examples:\n  \
             source <(jobpass completions bash)\n  \
             jobpass completions bash ~/.local/share/bash-completion/completions/jobpass\n  \
             jobpass completions zsh ~/.zfunc/_jobpass    # with fpath+=~/.zfunc\n  \
             jobpass completions fish ~/.config/fish/completions/jobpass.fish",
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

/// Prints the completion script of `command`, or writes it to a file.
pub(crate) fn completions(matches: &ArgMatches, mut command: Command) -> Result<(), Error> {
    let mut script = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut command, "jobpass", &mut script);
    }
    let Some(file) = matches.get_one::<PathBuf>("file") else {
        return output::result(String::from_utf8_lossy(&script).trim_end());
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    create_dir_all(folder)
        .and_then(|()| write(file, script))
        .map_err(|error| unwritable("FILE", "the completion script", file, &error))
}

/// Writes the manual pages of `command` and its verbs to a folder, or prints the page of `command`.
pub(crate) fn man(matches: &ArgMatches, command: Command) -> Result<(), Error> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = matches.get_one::<PathBuf>("folder") else {
        // A write to memory does not fail.
        let page = page::of(&command).unwrap_or_default();
        return output::result(String::from_utf8_lossy(&page).trim_end());
    };
    let pages = [&command].into_iter().chain(command.get_subcommands());
    create_dir_all(folder)
        .and_then(|()| {
            for command in pages {
                let name = command.get_display_name().unwrap_or(command.get_name());
                write(folder.join(format!("{name}.1")), page::of(command)?)?;
            }
            Ok(())
        })
        .map_err(|error| unwritable("FOLDER", "the manual pages", folder, &error))
}

/// The error for an argument whose path jobpass cannot write to.
fn unwritable(argument: &str, what: &str, path: &Path, error: &io::Error) -> Error {
    let (path, why) = (text::path(path), harmless(&error.to_string()));
    Error::input(
        argument,
        format!("is `{path}`, where jobpass cannot write {what}: {why}"),
        "name a place in which this user may create folders and files",
    )
}

#[cfg(test)]
mod tests {
    use jobpass_core::Kind;

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
        // A folder cannot be below a file.
        let error = man(&matches("/dev/null/at all"), command).expect_err("refused");
        assert_eq!(error.kind(), Kind::Input);
        assert!(
            error.message().starts_with(
                "input `FOLDER` is `/dev/null/at all`, where jobpass cannot write the manual pages"
            ),
            "{error}"
        );
    }

    /// The variables, the exit codes and the examples have sections of their own, as `man-pages(7)` names
    /// them.
    #[test]
    fn a_page_has_what_people_look_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let pages = folder.path().join("share/man/man1");
        let to = pages.to_str().expect("text");
        man(
            &man_command().get_matches_from(["man", to]),
            crate::verbs::command(),
        )
        .expect("written");
        let page = std::fs::read_to_string(pages.join("jobpass-check.1")).expect("a page");
        for part in [
            ".SH ENVIRONMENT\n",
            "\\fBJOBPASS_SERVER\\fR\nThe value of \\-\\-server, if that flag is absent.\n",
            "\\fBKUBECONFIG\\fR\n",
            ".SH \"EXIT STATUS\"\n.PP\nExit codes: 0 ",
            ".TP\n\\fB4\\fR\nrefused by the API server\n",
            ".SH EXAMPLES\n.nf\njobpass check \\-\\-kubeconfig scan.yaml",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("TMPDIR"), "`check` runs no command");
    }

    #[test]
    fn a_completion_script_offers_the_words_of_an_option_and_gets_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("completions/jobpass");
        let words = ["completions", "bash", file.to_str().expect("text")];
        completions(
            &completions_command().get_matches_from(words),
            crate::verbs::command(),
        )
        .expect("written");
        let script = std::fs::read_to_string(file).expect("a script");
        for words in ["bound legacy", "fail warn off", "off quick wait", "true false"] {
            assert!(script.contains(&format!("compgen -W \"{words}\"")), "{words}");
        }
    }
}
