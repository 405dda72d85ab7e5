//! `--state-file`, and where the record of a token is without it.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, ValueHint};
use jobpass_core::{Error, inputs::options::Inputs, record::state::State};

/// `--state-file`.
pub(crate) fn flag() -> Arg {
    Arg::new("state-file").long("state-file").value_name("STATE_FILE").value_hint(ValueHint::FilePath).help(
        "The record of the token, which `jobpass revoke` needs (no secret). Without it, the names of `token-file` and of \
         `kubeconfig-file` with `.jobpass.json` added",
    )
}

/// The records of a token: one beside each of its files that is named, or where `state-file` says.
pub(crate) fn records(matches: &ArgMatches, inputs: &Inputs) -> Result<Vec<PathBuf>, Error> {
    if let Some(path) = matches.get_one::<String>("state-file") {
        return Ok(vec![here().join(path)]);
    }
    let mut records = Vec::new();
    for name in ["token-file", "kubeconfig-file"] {
        match inputs.get(name) {
            None | Some("false") => {}
            Some("true") => {
                return Err(Error::input(
                    name,
                    "is `true`",
                    "on the command line, give a path",
                ));
            }
            Some(path) => records.push(record_of(&here().join(path))),
        }
    }
    Ok(records)
}

/// The record beside a file.
pub(crate) fn record_of(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".jobpass.json");
    path.into()
}

/// Whether a record says that its token is revoked.
pub(crate) fn is_over(record: &Path) -> bool {
    State::read(record).is_ok_and(|state| state.receipt.revoked.is_some())
}

pub(crate) fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| ".".into())
}
