//! The options as command-line flags and `JOBPASS_*` variables.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, ValueHint, parser::ValueSource};

use crate::{
    error::Error,
    inputs::options::{FrontEnd, Inputs, Opt, Value},
    text::harmless,
};

/// The exit codes of [`crate::Kind`], for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0         done
  1         a defect
  2         wrong input; nothing was created
  3         API server unreachable
  4         refused by the API server
  5         the token is not what was asked for
  6         the token could not be handed over
  7         not revoked, or not proven
  130, 143  stopped by a signal

After 3 to 6, 130 and 143, what existed was revoked, unless the message says otherwise.";

/// A flag for each option of the command line, in the table's order.
pub fn flags() -> impl Iterator<Item = Arg> {
    Opt::on(FrontEnd::CommandLine).map(flag)
}

/// The flag of an option. Its value may also come from its variable.
pub fn flag(option: Opt) -> Arg {
    let help = match (option, option.default()) {
        // Other processes can read a flag.
        (Opt::Kubeconfig, _) => format!(
            "Path of the minter's kubeconfig; the variable {} may also hold the YAML itself, or base64 of it.",
            variable(option.name())
        ),
        (_, Some(default)) => format!("{} [default: {default}]", option.help()),
        (_, None) => option.help().to_owned(),
    };
    // Not clap's own default: an option that is set to nothing must not silently become it.
    let flag = Arg::new(option.name())
        .long(option.name())
        .env(variable(option.name()))
        .hide_env_values(true)
        .help(help)
        .value_name(upper(option.name()));
    match option.value() {
        Value::File => flag.value_hint(ValueHint::FilePath),
        // Each line may be a flag of its own; a YAML list begins with a hyphen.
        Value::Lines => flag.action(ArgAction::Append).allow_hyphen_values(true),
        Value::Text | Value::Flag | Value::Choice(_) => flag.value_hint(ValueHint::Other),
    }
}

/// The inputs that the flags and variables give.
///
/// # Errors
/// As [`Inputs::read`]. Also if a flag holds a kubeconfig instead of its path, because every process of the
/// machine can read the arguments of others.
pub fn inputs(matches: &ArgMatches) -> Result<Inputs, Error> {
    no_secret_in_argv(matches)?;
    Inputs::read(FrontEnd::CommandLine, |option| given(matches, option))
}

/// The inputs at the end of a job. An empty option counts as absent: it is not a reason to leave the token
/// unrevoked.
///
/// # Errors
/// If a flag holds a kubeconfig instead of its path.
pub fn inputs_at_end(matches: &ArgMatches) -> Result<Inputs, Error> {
    no_secret_in_argv(matches)?;
    Inputs::read(FrontEnd::CommandLine, |option| {
        given(matches, option).filter(|value| !value.trim().is_empty())
    })
}

/// The value of one flag, or of its variable, without the default. `None` also if the verb does not have the
/// flag.
pub fn given(matches: &ArgMatches, option: Opt) -> Option<String> {
    let values = matches.try_get_many::<String>(option.name()).ok().flatten()?;
    Some(values.map(String::as_str).collect::<Vec<_>>().join("\n"))
}

/// Whether an option was given as a flag, and not by its variable.
pub fn is_flag(matches: &ArgMatches, option: Opt) -> bool {
    let given = matches.try_contains_id(option.name()).unwrap_or(false);
    given && matches.value_source(option.name()) == Some(ValueSource::CommandLine)
}

/// The environment variable of a flag or option: `JOBPASS_TOKEN_FILE` for `token-file`.
pub fn variable(option: &str) -> String {
    format!("JOBPASS_{}", upper(option))
}

fn upper(option: &str) -> String {
    option.to_uppercase().replace('-', "_")
}

fn no_secret_in_argv(matches: &ArgMatches) -> Result<(), Error> {
    let secrets =
        Opt::on(FrontEnd::CommandLine).filter(|option| option.is_secret() && is_flag(matches, *option));
    for option in secrets {
        let text = given(matches, option).unwrap_or_default();
        if Path::new(&text).exists() {
            continue;
        }
        // The value is shown only if it is certainly a path.
        let is_path = text.len() < 256
            && [".yaml", ".yml", ".conf", "config"]
                .iter()
                .any(|end| text.ends_with(end));
        let shown = if is_path {
            format!("`{}` ", harmless(&text))
        } else {
            String::new()
        };
        return Err(Error::input(
            option,
            format!("{shown}was given as a flag, and names no file that exists"),
            format!(
                "give a path; or put the YAML, or base64 of it, into the variable {} (other processes can read a command's \
                 flags)",
                variable(option.name())
            ),
        ));
    }
    Ok(())
}
