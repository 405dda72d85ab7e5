//! `jobpass revoke`.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    inputs::{flags, options::Inputs},
    life::revoke,
    process::{environment::Environment, interrupt::Interrupt},
    record::{receipt::Receipt, state::State},
    text::harmless,
};

use crate::{
    options::state_file,
    terminal::{output, progress::Progress, screen::Screen},
};

pub(crate) fn command() -> Command {
    Command::new("revoke")
        .about("Revoke a token that `jobpass mint` minted, prove it, and remove its files")
        .args(flags::flags().filter_map(|flag| match flag.get_id().as_str() {
            "token-file" => Some(flag.help("The file that `jobpass mint` wrote the token to")),
            "kubeconfig-file" => Some(flag.help("The file that `jobpass mint` wrote the kubeconfig to")),
            "kubeconfig" => Some(flag.help(
                "The minter's kubeconfig, if it was given to `jobpass mint` as text; a path is recorded in the state, and \
                 counts",
            )),
            "verify-revocation" => Some(flag),
            _ => None,
        }))
        .args([state_file::flag(), output::flag()])
        .after_help("Example:\n  jobpass revoke --token-file token --verify-revocation wait")
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs_at_end(matches)?;
    jobpass_core::inputs::revocation::verify_revocation(&inputs)?;
    let path = record(matches, &inputs)?;
    let mut state = State::read(&path)?;
    if state.receipt.revoked.is_some() {
        return say(
            matches,
            environment,
            &state.receipt,
            &state.receipt.revoked_before_in_words(),
        );
    }
    let revoked = revoke::at_end_of_job(&mut state, None, &inputs, environment, &mut interrupt);
    let revoked = Progress::new()
        .during("revoking, and proving it", revoke::REVOKE, revoked)
        .await?;
    conclude(&path, &state);
    if let Some(note) = revoked.note {
        output::warning(&note);
    }
    say(
        matches,
        environment,
        &state.receipt,
        &state.receipt.revoked_in_words(),
    )
}

fn say(matches: &ArgMatches, environment: &Environment, receipt: &Receipt, words: &str) -> Result<(), Error> {
    match output::is_json(matches) {
        true => output::result(&receipt.json()?),
        false => output::result(&Screen::of_stdout(environment).laid_out(words)),
    }
}

/// The record of the token that is meant.
fn record(matches: &ArgMatches, inputs: &Inputs) -> Result<PathBuf, Error> {
    let records = state_file::records(matches, inputs)?;
    let Some(first) = records.first() else {
        let allowed =
            "say which token: `--token-file`, `--kubeconfig-file` or `--state-file`, as it was minted";
        return Err(Error::input("token-file", "is missing", allowed));
    };
    let there = records.iter().filter(|path| path.symlink_metadata().is_ok());
    // A record of a token that was revoked before must not stand for one that works.
    let (over, open): (Vec<_>, Vec<_>) = there.partition(|path| state_file::is_over(path));
    let anchor = |path: &Path| State::read(path).map(|state| state.receipt.anchor);
    if let [first, second] = open[..]
        && anchor(first)? != anchor(second)?
    {
        return Err(Error::input(
            "kubeconfig-file",
            "names another token than `token-file`",
            "revoke one after the other",
        ));
    }
    open.into_iter().chain(over).next().cloned().ok_or_else(|| {
        let given = |name: &&str| inputs.get(name).is_some();
        let name = match matches.contains_id("state-file") {
            true => "state-file",
            false => ["token-file", "kubeconfig-file"].into_iter().find(given).unwrap_or("token-file"),
        };
        Error::input(
            name,
            format!("names no token: there is no record `{}`", harmless(&first.to_string_lossy())),
            "nothing was minted under that name from here, or its record was removed; `jobpass list --all-namespaces` shows which tokens \
             there are, `kubectl delete secret ANCHOR --namespace NAMESPACE` revokes one",
        )
    })
}

/// The records stay, so that revoking once more, by whichever file, is known to be nothing to do.
fn conclude(path: &Path, state: &State) {
    let files = [&state.files.token_file, &state.files.kubeconfig_file];
    let others = files
        .into_iter()
        .flatten()
        .map(|file| state_file::record_of(file));
    let of_this_token = |record: &PathBuf| {
        State::read(record).is_ok_and(|other| other.receipt.anchor == state.receipt.anchor)
    };
    for record in others.filter(of_this_token).chain([path.to_owned()]) {
        // One that still says nothing of it has the anchor deleted once more.
        let _ = state.write(&record);
    }
}
