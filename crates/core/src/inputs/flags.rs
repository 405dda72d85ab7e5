//! The options as command-line flags and as `JOBPASS_*` variables.

use std::{ffi::OsStr, path::Path};

use clap::{
    Arg, ArgAction, ArgMatches, Command, ValueHint,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
    parser::ValueSource,
};

use crate::{
    error::Error,
    inputs::options::{FrontEnd, Inputs, Opt, Value},
    text::harmless,
};

/// The exit codes of [`crate::Kind`], for `--help` and for the manual page.
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

After 3 to 6, 130 and 143, jobpass has revoked the token, unless the message says otherwise.";

/// A flag for each option of the command line, in the order of [`Opt::ALL`].
pub fn flags() -> impl Iterator<Item = Arg> {
    Opt::on(FrontEnd::CommandLine).map(flag)
}

/// The flag of an option. The option's variable may also give the value.
pub fn flag(option: Opt) -> Arg {
    let help = match (option, option.default()) {
        // Other processes can read the flags of this process.
        (Opt::Kubeconfig, _) => format!(
            "The path of the minter's kubeconfig; the variable {} may also hold the YAML itself, or base64 \
             of it.",
            variable(option.name())
        ),
        (_, Some(default)) => format!("{} [default: {default}]", option.help()),
        (_, None) => option.help().to_owned(),
    };
    // clap does not get the default: an option that is set to nothing must not silently become the default.
    let flag = Arg::new(option.name())
        .long(option.name())
        .env(variable(option.name()))
        .hide_env_values(true)
        .help(help)
        .value_name(upper(option.name()));
    // kubectl has the same short flag for the namespace.
    let flag = match option {
        Opt::Namespace => flag.short('n'),
        // `--proxy -- COMMAND` must work: the flag needs no value.
        Opt::Proxy => flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        // PEM begins with hyphens.
        Opt::CertificateAuthority | Opt::JobCertificateAuthority => flag.allow_hyphen_values(true),
        _ => flag,
    };
    match option.value() {
        Value::File => flag.value_hint(ValueHint::FilePath),
        // Each flag may hold one line, and a YAML list begins with a hyphen.
        Value::Lines => flag.action(ArgAction::Append).allow_hyphen_values(true),
        Value::Flag => flag
            .value_parser(Words(&["true", "false"]))
            .hide_possible_values(true),
        // The help of the option lists the words.
        Value::Choice(words) => flag.value_parser(Words(words)).hide_possible_values(true),
        Value::Text => flag.value_hint(ValueHint::Other),
    }
}

/// The words that a shell offers for an option. clap also accepts any other word: [`Inputs`] refuses it with
/// an error that explains the words, which clap's error does not.
#[derive(Clone)]
struct Words(&'static [&'static str]);

impl TypedValueParser for Words {
    type Value = String;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, flag, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

/// Reads the inputs from the flags and variables.
///
/// # Errors
/// As [`Inputs::read`]. Also if the flag `--kubeconfig` names no existing file: its value may then be the
/// kubeconfig itself, and every process of the machine can read the arguments of others.
pub fn inputs(matches: &ArgMatches) -> Result<Inputs, Error> {
    no_secret_in_argv(matches)?;
    Inputs::read(FrontEnd::CommandLine, |option| given(matches, option))
}

/// Reads the inputs at the end of a job. An empty option counts as absent: an error about it would keep
/// jobpass from revoking the token.
///
/// # Errors
/// If the flag `--kubeconfig` names no existing file.
pub fn inputs_at_end(matches: &ArgMatches) -> Result<Inputs, Error> {
    no_secret_in_argv(matches)?;
    Inputs::read(FrontEnd::CommandLine, |option| {
        given(matches, option).filter(|value| !value.trim().is_empty())
    })
}

/// The value of one flag or of its variable, without the default. `None` also if the command line has no such
/// flag.
pub fn given(matches: &ArgMatches, option: Opt) -> Option<String> {
    let values = matches.try_get_many::<String>(option.name()).ok().flatten()?;
    Some(values.map(String::as_str).collect::<Vec<_>>().join("\n"))
}

/// Whether the value comes from the flag, and not from the variable.
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
        // The error shows the value only if the value looks like a path.
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
            format!("{shown}comes from a flag, and names no file that exists"),
            format!(
                "give a path. Or put the YAML, or base64 of it, into the variable {}: other processes can \
                 read a command's flags",
                variable(option.name())
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn matches(arguments: &[&str]) -> ArgMatches {
        // The variables of the machine that runs the tests must have no effect.
        let flags = flags().map(|flag| flag.env(None::<&str>));
        let words = ["jobpass"].iter().chain(arguments);
        Command::new("jobpass").args(flags).get_matches_from(words)
    }

    #[test]
    fn each_option_has_a_flag_and_a_variable_of_its_name() {
        let flags = flags().collect::<Vec<_>>();
        for (flag, option) in flags.iter().zip(Opt::on(FrontEnd::CommandLine)) {
            assert_eq!(flag.get_long(), Some(option.name()));
            assert_eq!(
                flag.get_env().and_then(|name| name.to_str()),
                Some(&*variable(option.name()))
            );
        }
        assert_eq!(flags.len(), Opt::on(FrontEnd::CommandLine).count());
        assert_eq!(variable("token-file"), "JOBPASS_TOKEN_FILE");
    }

    #[rstest]
    fn a_certificate_may_be_a_word_of_its_own(
        #[values(Opt::CertificateAuthority, Opt::JobCertificateAuthority)] option: Opt,
    ) {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let matches = matches(&[&format!("--{}", option.name()), pem]);
        assert_eq!(given(&matches, option).as_deref(), Some(pem));
    }

    #[test]
    fn lines_may_be_flags_of_their_own() {
        let matches = matches(&["--require", "get pods", "--require", "- list pods"]);
        assert_eq!(
            given(&matches, Opt::Require).as_deref(),
            Some("get pods\n- list pods")
        );
        assert!(is_flag(&matches, Opt::Require) && !is_flag(&matches, Opt::Forbid));
    }

    /// A template passes an absent option as an empty one. Before minting, an empty option is an error: it
    /// may come from a variable that this job lacks. At the end of the job, such an error would keep jobpass
    /// from revoking the token.
    #[test]
    fn an_empty_option_is_an_error_only_before_the_token_is_minted() {
        let matches = matches(&["--duration", " "]);
        assert!(inputs(&matches).is_err());
        assert_eq!(
            inputs_at_end(&matches).expect("inputs").get(Opt::Duration),
            Some("1h")
        );
    }

    /// Every process of the machine can read the flags of a command. The error must not show the credential
    /// again, because the log shows the error.
    #[rstest]
    #[case::yaml("users: [{user: {token: s3cret}}]", None)]
    #[case::base64("czNjcmV0", None)]
    #[case::a_path_that_is_wrong("s3cret/config", Some("`s3cret/config`"))]
    #[case::long_text_that_ends_like_a_path(&format!("{}.yaml", "s3cret".repeat(50)), None)]
    fn a_credential_that_is_given_as_a_flag_is_refused_and_not_shown(
        #[case] text: &str,
        #[case] shown: Option<&str>,
    ) {
        for read in [inputs, inputs_at_end] {
            let error = read(&matches(&["--kubeconfig", text]))
                .map(|_| ())
                .expect_err("refused")
                .to_string();
            assert!(error.contains("JOBPASS_KUBECONFIG"), "{error}");
            match shown {
                Some(shown) => assert!(error.contains(shown), "{error}"),
                None => assert!(
                    !error.contains("s3cret") && !error.contains("czNjcmV0"),
                    "{error}"
                ),
            }
        }
    }

    #[test]
    fn a_path_that_exists_is_a_kubeconfig() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("anything");
        std::fs::write(&path, "").expect("written");
        let path = path.to_str().expect("text");
        let inputs = inputs(&matches(&["--kubeconfig", path])).expect("inputs");
        assert_eq!(inputs.get(Opt::Kubeconfig), Some(path));
    }
}
