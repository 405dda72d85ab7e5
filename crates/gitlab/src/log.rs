//! The job's log. GitLab shows it with colours. Only runners with `proxy_exec` let a job add values to mask.

use std::io::{Write as _, stderr, stdout};

use jobpass_core::{Error, access::Report, process::files::cannot_print};

/// The colour of the runner's own errors.
const RED: &str = "\x1b[31;1m";
/// The colour of the runner's own warnings.
const YELLOW: &str = "\x1b[0;33m";
/// The end of a coloured text.
const PLAIN: &str = "\x1b[0;m";

/// Shows a failure: its message in one line and in colour, then the next step as plain lines, which a person
/// can copy.
pub(crate) fn error(error: &Error) {
    annotate(RED, "error", error);
}

/// Shows a problem that does not fail the job.
pub(crate) fn warning(warning: &Error) {
    annotate(YELLOW, "warning", warning);
}

fn annotate(colour: &str, level: &str, error: &Error) {
    let _ = stderr().write_all(annotation(colour, level, error).as_bytes());
}

fn annotation(colour: &str, level: &str, error: &Error) -> String {
    let help = error.next_step();
    let help = help.map_or_else(String::new, |help| format!("\n{help}\n\n"));
    format!("{colour}jobpass: {level}: {}{PLAIN}\n{help}", error.message())
}

/// Writes lines to the log. Returns whether the write succeeded. A failed write does not fail the job.
pub(crate) fn say(lines: &str) -> bool {
    stdout().write_all(format!("{lines}\n").as_bytes()).is_ok()
}

/// Writes text for a program that reads standard output: commands for the job's shell, or `::add-mask::`
/// lines for the runner. A failed write is an error, unlike in [`say`], because the reader would miss the
/// text.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let written = stdout()
        .write_all(text.as_bytes())
        .and_then(|()| stdout().flush());
    written.map_err(|error| cannot_print(&error))
}

/// Shows the permissions of the token, if an input asked about some.
pub(crate) fn access(report: &Report) {
    if !report.findings.is_empty() {
        say(&format!(
            "jobpass: the permissions of the token\n{}",
            report.text()
        ));
    }
}

#[cfg(test)]
mod tests {
    use jobpass_core::Kind;

    use super::*;

    /// The colour ends before the next step, which a person copies.
    #[test]
    fn the_line_of_a_failure_is_coloured_and_its_help_is_not() {
        let error = Error::new(Kind::Refused, "it failed");
        assert_eq!(
            annotation(RED, "error", &error),
            "\u{1b}[31;1mjobpass: error: it failed\u{1b}[0;m\n"
        );
        let with_help = annotation(YELLOW, "warning", &error.help("run:\n\n  kubectl get pods"));
        assert!(
            with_help.ends_with("\u{1b}[0;m\n\nrun:\n\n  kubectl get pods\n\n"),
            "{with_help:?}"
        );
    }
}
