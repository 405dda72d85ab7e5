//! The command that `exec` and `expiry-test` run, and its `--env`.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, value_parser};
use jobpass_core::Error;

/// Also a flag of `expiry-test`.
pub(crate) fn env() -> Arg {
    Arg::new("env")
        .long("env")
        .value_name("NAME")
        .help("Also give the command the token in this variable, for tools that take it from nowhere else")
}

/// The command, also of `expiry-test`.
pub(crate) fn words() -> Arg {
    Arg::new("command")
        .value_name("COMMAND")
        .value_parser(value_parser!(OsString))
        .num_args(1..)
        .required(true)
        .last(true)
        .help("The command and its arguments")
}

/// The name of the variable that `--env` asks for.
pub(crate) fn variable(matches: &ArgMatches) -> Result<Option<&str>, Error> {
    let Some(name) = matches.get_one::<String>("env") else {
        return Ok(None);
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| !c.is_ascii_digit());
    match is_name && !["KUBECONFIG", "JOBPASS_TOKEN_FILE", "PATH"].contains(&&**name) {
        true => Ok(Some(name)),
        false => Err(Error::input(
            "env",
            "is no name of a variable that can hold the token (it is not shown, it might be the token)",
            "give the variable's name, for example `--env K8S_AUTH_TOKEN`",
        )),
    }
}
