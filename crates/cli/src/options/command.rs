//! The command that `exec` and `expiry-test` run, and the flag `--env`.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, value_parser};
use jobpass_core::{Error, record::filter::FilterJournal};

/// The variables that `--env` must not name: the command needs PATH, and jobpass sets the others for it.
const TAKEN: [&str; 6] = [
    "KUBECONFIG",
    "JOBPASS_TOKEN_FILE",
    FilterJournal::VARIABLE,
    // With `--proxy`.
    "NO_PROXY",
    "no_proxy",
    "PATH",
];

/// The flag `--env`.
pub(crate) fn env_flag() -> Arg {
    Arg::new("env").long("env").value_name("NAME").help(
        "Also put the token into this environment variable of the command, for tools that cannot read it \
         from a file.",
    )
}

/// The argument `COMMAND`.
pub(crate) fn argument() -> Arg {
    Arg::new("command")
        .value_name("COMMAND")
        .value_parser(value_parser!(OsString))
        .num_args(1..)
        .required(true)
        .last(true)
        .help("The command and its arguments.")
}

/// The words of `COMMAND`: the program, and its arguments.
pub(crate) fn words(matches: &ArgMatches) -> Option<impl Iterator<Item = &OsString>> {
    matches.get_many::<OsString>("command")
}

/// The variable that `--env` names.
///
/// # Errors
/// If the value is not a valid name of a variable, or is one of [`TAKEN`].
pub(crate) fn env(matches: &ArgMatches) -> Result<Option<&str>, Error> {
    let Some(name) = matches.get_one::<String>("env") else {
        return Ok(None);
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| !c.is_ascii_digit());
    match is_name && !TAKEN.contains(&&**name) {
        true => Ok(Some(name)),
        false => Err(Error::input(
            "env",
            "is not the name of a variable that can hold the token (jobpass does not show the value, \
             because it might be the token)",
            "give the name of a variable, for example `--env K8S_AUTH_TOKEN`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("K8S_AUTH_TOKEN", true)]
    #[case("_t1", true)]
    #[case("1T", false)]
    #[case("", false)]
    #[case("TOKEN=x", false)]
    #[case("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", false)]
    #[case("PATH", false)]
    #[case("KUBECONFIG", false)]
    #[case("JOBPASS_TOKEN_FILE", false)]
    #[case("JOBPASS_MASK_JOURNAL", false)]
    #[case("NO_PROXY", false)]
    #[case("no_proxy", false)]
    fn env_names_a_free_variable(#[case] name: &str, #[case] free: bool) {
        let command = Command::new("exec").arg(env_flag());
        let matches = command
            .try_get_matches_from(["exec", "--env", name])
            .expect("arguments");
        match env(&matches) {
            Ok(found) => assert!(free && found == Some(name)),
            Err(error) => assert!(
                !free && (name.is_empty() || !error.to_string().contains(name)) || TAKEN.contains(&name)
            ),
        }
    }
}
