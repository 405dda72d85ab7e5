//! The job's log. GitLab shows it with colours, and does not mask values that the job itself made.

use std::io::{Write as _, stderr, stdout};

use jobpass_core::{Error, Kind, access::Report};

/// The colours of the runner's own messages.
const RED: &str = "\x1b[31;1m";
const YELLOW: &str = "\x1b[0;33m";
const PLAIN: &str = "\x1b[0;m";

/// Shows a failure: its one line in colour, then what to do, as plain lines that can be copied.
pub(crate) fn error(error: &Error) {
    annotate(RED, "error", error);
}

/// Shows something that does not fail the job.
pub(crate) fn warning(warning: &Error) {
    annotate(YELLOW, "warning", warning);
}

fn annotate(colour: &str, level: &str, error: &Error) {
    let mut lines = format!("{colour}jobpass: {level}: {}{PLAIN}\n", error.message());
    if let Some(help) = error.next_step() {
        lines += &format!("\n{help}\n\n");
    }
    let _ = stderr().write_all(lines.as_bytes());
}

/// Writes lines to the log. A log that cannot be written to fails no job. Gives whether it could.
pub(crate) fn say(lines: &str) -> bool {
    stdout().write_all(format!("{lines}\n").as_bytes()).is_ok()
}

/// Writes text that a script evaluates or stores.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let written = stdout()
        .write_all(text.as_bytes())
        .and_then(|()| stdout().flush());
    written.map_err(|error| Error::new(Kind::Deliver, format!("cannot write to standard output: {error}")))
}

/// Shows the permissions that `require` and `forbid` asked about.
pub(crate) fn access(report: &Report) {
    if !report.findings.is_empty() {
        say(&format!("jobpass: what the token may do\n{}", report.text()));
    }
}
