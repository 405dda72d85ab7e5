//! What a person or a program reads.

use std::io::{Write as _, stderr, stdout};

use clap::{Arg, ArgMatches};
use jobpass_core::{Error, Kind};

/// `--output text|json`.
pub(crate) fn flag() -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("Print for people, or one line of JSON")
}

pub(crate) fn is_json(matches: &ArgMatches) -> bool {
    matches
        .get_one::<String>("output")
        .is_some_and(|format| format == "json")
}

/// Prints the result.
pub(crate) fn result(text: &str) -> Result<(), Error> {
    let written = stdout()
        .write_all(format!("{text}\n").as_bytes())
        .and_then(|()| stdout().flush());
    written.map_err(|error| Error::new(Kind::Deliver, format!("cannot write to standard output: {error}")))
}

/// Prints a failure; that this may fail as well changes nothing.
pub(crate) fn error(error: &Error) {
    let _ = stderr().write_all(format!("jobpass: {error}\n").as_bytes());
}

/// Prints something that is not a failure.
pub(crate) fn warning(text: &str) {
    let _ = stderr().write_all(format!("jobpass: warning: {text}\n").as_bytes());
}

/// Prints what happened, where standard output belongs to somebody else.
pub(crate) fn note(text: &str) {
    let _ = stderr().write_all(format!("jobpass: {text}\n").as_bytes());
}

pub(crate) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
