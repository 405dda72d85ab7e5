//! The help of the command line, whose examples can be pasted from a terminal of any width.

use std::process::exit;

use clap::Command;
use jobpass_core::process::environment::Environment;

use crate::terminal::{output, screen::Screen};

/// A space at which clap does not break a line. Each printed help has plain spaces in its place.
const UNBROKEN: &str = "\u{a0}";

/// Keeps clap from breaking the examples in the help of each verb.
pub(crate) fn with_whole_examples(command: Command) -> Command {
    command.mut_subcommands(|verb| match verb.get_after_help().map(ToString::to_string) {
        None => verb,
        Some(text) => {
            let (notes, examples) = parts(&text);
            let examples = examples.replace(' ', UNBROKEN);
            verb.after_help(notes.to_owned() + &examples)
        }
    })
}

/// Splits the text below the options of a verb: its notes, and its examples with their heading.
pub(crate) fn parts(text: &str) -> (&str, &str) {
    let begin = ["Example:\n", "Examples:\n"];
    let begin = begin.into_iter().filter_map(|heading| text.find(heading)).min();
    text.split_at(begin.unwrap_or(text.len()))
}

/// Prints the help or the version, or the error about the command line, and ends the program. If it cannot
/// print, the exit code is 6, as for each output.
pub(crate) fn leave(message: &clap::Error, environment: &Environment) -> ! {
    if message.use_stderr() {
        message.exit();
    }
    let styled = message.render();
    let text = match Screen::of_stdout(environment).colours {
        true => styled.ansi().to_string(),
        false => styled.to_string(),
    };
    let printed = output::result(text.trim_end().replace(UNBROKEN, " ").as_str());
    exit(printed.map_or_else(|error| i32::from(error.kind().exit_code()), |()| 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap breaks the lines of `--help` at the width of the terminal. Nobody can paste a broken command.
    #[test]
    fn a_narrow_terminal_breaks_no_example() {
        let verb = Command::new("check").after_help(
            "A note that a narrow terminal must break into several lines.\n\nExample:\n  jobpass check --forbid 'get secrets'",
        );
        let command = with_whole_examples(Command::new("jobpass").term_width(30).subcommand(verb));
        let help = command.try_get_matches_from(["jobpass", "check", "--help"]);
        let help = help.expect_err("the help").render().to_string();
        let help = help.replace(UNBROKEN, " ");
        assert!(
            help.contains("\n  jobpass check --forbid 'get secrets'\n"),
            "{help}"
        );
        assert!(help.contains("terminal\nmust break"), "{help}");
    }
}
