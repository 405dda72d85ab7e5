//! The table of options as command-line flags and `JOBPASS_*` variables.

use clap::{Arg, ArgAction, ArgMatches, ValueHint, parser::ValueSource};

use crate::{
    error::Error,
    inputs::options::{Inputs, OPTIONS},
};

/// What [`crate::Kind`] means as an exit code, for `--help`.
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

/// A flag for each option, in the table's order; its value may also stand in a variable.
pub fn flags() -> impl Iterator<Item = Arg> {
    OPTIONS.iter().map(|option| {
        let help = match option.default {
            Some(default) => format!("{} [default: {default}]", option.help),
            None => option.help.to_owned(),
        };
        // Not clap's own default: an option that is set to nothing must not silently become it.
        let flag = Arg::new(option.name)
            .long(option.name)
            .env(variable(option.name))
            .hide_env_values(true);
        let hint = match option.name {
            "kubeconfig" | "certificate-authority" => ValueHint::FilePath,
            name if name.ends_with("-file") => ValueHint::FilePath,
            _ => ValueHint::Other,
        };
        let flag = flag.help(help).value_name(upper(option.name)).value_hint(hint);
        // What has several lines may also be given line by line; a YAML list begins with a hyphen.
        let of_many = [
            "require",
            "forbid",
            "rules",
            "anchor-labels",
            "anchor-annotations",
        ];
        if of_many.contains(&option.name) {
            flag.action(ArgAction::Append).allow_hyphen_values(true)
        } else {
            flag
        }
    })
}

/// What the flags and variables say.
///
/// # Errors
/// As [`Inputs::read`]; and if a kubeconfig itself, not its path, was given as a flag: every process of the machine can
/// read another's arguments.
pub fn inputs(matches: &ArgMatches) -> Result<Inputs, Error> {
    no_secret_in_argv(matches)?;
    Inputs::read(|option| value(matches, option.name))
}

/// The same at the end of a job: an option that became empty is no reason not to revoke.
///
/// # Errors
/// If a kubeconfig itself was given as a flag.
pub fn inputs_at_end(matches: &ArgMatches) -> Result<Inputs, Error> {
    no_secret_in_argv(matches)?;
    Inputs::read(|option| value(matches, option.name).filter(|value| !value.trim().is_empty()))
}

fn no_secret_in_argv(matches: &ArgMatches) -> Result<(), Error> {
    match value(matches, "kubeconfig") {
        Some(text)
            if matches.value_source("kubeconfig") == Some(ValueSource::CommandLine)
                && !std::path::Path::new(&text).exists() =>
        {
            // Shown only if it cannot be anything but a path.
            let is_path = text.len() < 256
                && [".yaml", ".yml", ".conf", "config"]
                    .iter()
                    .any(|end| text.ends_with(end));
            let shown = if is_path {
                format!("`{}` ", crate::text::harmless(&text))
            } else {
                String::new()
            };
            Err(Error::input(
                "kubeconfig",
                format!("{shown}was given as a flag, and names no file that exists"),
                "give a path; or put the YAML, or base64 of it, into the variable JOBPASS_KUBECONFIG (other processes can \
                 read a command's flags)",
            ))
        }
        _ => Ok(()),
    }
}

fn value(matches: &ArgMatches, name: &str) -> Option<String> {
    // A verb may have some of the flags only.
    let values = matches.try_get_many::<String>(name).ok().flatten()?;
    Some(values.map(String::as_str).collect::<Vec<_>>().join("\n"))
}

/// The environment variable of a flag or option: `JOBPASS_TOKEN_FILE` for `token-file`.
pub fn variable(option: &str) -> String {
    format!("JOBPASS_{}", upper(option))
}

fn upper(option: &str) -> String {
    option.to_uppercase().replace('-', "_")
}
