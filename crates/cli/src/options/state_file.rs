//! The option `--state-file`. Without it, jobpass writes state files beside the token's files.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, ValueHint};
use jobpass_core::{
    Error,
    inputs::options::{Inputs, Opt},
    record::state::State,
};

/// The flag `--state-file`.
pub(crate) fn flag() -> Arg {
    Arg::new("state-file")
        .long("state-file")
        .value_name("STATE_FILE")
        .value_hint(ValueHint::FilePath)
        .help(
            "The state file, which `jobpass revoke` needs. It holds no secret. [default: the names of \
             `token-file` and of `kubeconfig-file`, each with `.jobpass.json` added]",
        )
}

/// The state files of a token: the one that `--state-file` names, or one beside each of the token's files.
///
/// # Errors
/// If the path of one of the token's files is `true`, which only the front ends for CI platforms accept.
pub(crate) fn paths(matches: &ArgMatches, inputs: &Inputs) -> Result<Vec<PathBuf>, Error> {
    if let Some(path) = matches.get_one::<String>("state-file") {
        return Ok(vec![working_directory().join(path)]);
    }
    let mut paths = Vec::new();
    for option in [Opt::TokenFile, Opt::KubeconfigFile] {
        match inputs.get(option) {
            None | Some("false") => {}
            Some("true") => {
                return Err(Error::input(
                    option,
                    "is `true`",
                    "on the command line, give a path",
                ));
            }
            Some(path) => paths.push(beside(&working_directory().join(path))),
        }
    }
    Ok(paths)
}

/// The state file beside one of the token's files.
pub(crate) fn beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".jobpass.json");
    path.into()
}

/// Whether `state_file` records that its token is revoked. `false` if jobpass cannot read the file.
pub(crate) fn is_revoked(state_file: &Path) -> bool {
    State::read(state_file).is_ok_and(|state| state.receipt.revoked.is_some())
}

/// The folder to which relative paths refer.
pub(crate) fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| ".".into())
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use jobpass_core::inputs::flags;
    use rstest::rstest;

    use super::*;

    fn names(arguments: &[&str]) -> Result<Vec<String>, Error> {
        let matches = Command::new("mint")
            .no_binary_name(true)
            // The environment of the tests must have no effect.
            .args(flags::flags().map(|flag| flag.env(None)))
            .arg(flag())
            .try_get_matches_from(arguments)
            .expect("arguments");
        let paths = paths(&matches, &flags::inputs(&matches)?)?;
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(working_directory()).unwrap_or(path);
            path.display().to_string()
        };
        Ok(paths.iter().map(relative).collect())
    }

    #[rstest]
    #[case(&[], &[])]
    #[case(&["--token-file", "token"], &["token.jobpass.json"])]
    #[case(&["--kubeconfig-file", "/tmp/k.yaml"], &["/tmp/k.yaml.jobpass.json"])]
    #[case(&["--kubeconfig-file", "k.yaml", "--token-file", "t"], &["t.jobpass.json", "k.yaml.jobpass.json"])]
    #[case(&["--token-file", "t", "--kubeconfig-file", "false"], &["t.jobpass.json"])]
    #[case(&["--token-file", "t", "--state-file", "s.json"], &["s.json"])]
    fn a_state_file_is_beside_each_file_unless_one_is_named(
        #[case] arguments: &[&str],
        #[case] expected: &[&str],
    ) {
        assert_eq!(names(arguments).expect("paths"), expected);
    }

    #[test]
    fn a_file_called_true_is_refused() {
        assert!(names(&["--kubeconfig-file", "true"]).is_err());
    }
}
