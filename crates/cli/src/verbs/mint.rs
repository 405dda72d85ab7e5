//! `jobpass mint`.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueHint};
use jobpass_core::{
    Error,
    anchor::Origin,
    deliver::Files,
    environment::Environment,
    files, flags,
    interrupt::Interrupt,
    json,
    mint::{HandedOver, Handover, MINT, Minted, Plan},
    options::Inputs,
    renew::{self, Renewal},
    state::State,
    text::harmless,
};

use crate::terminal::{output, progress::Progress, screen::Screen};

pub(crate) fn command() -> Command {
    Command::new("mint")
        .about("Mint a token into a file, bound to an anchor that `jobpass revoke` deletes")
        .args(flags::flags().filter(|flag| flag.get_id() != "fail-on-revoke-error").map(|flag| match flag.get_id().as_str() {
            "token-file" => flag.help("Write the token to this file (mode 0600; `jobpass revoke` removes it)"),
            "kubeconfig-file" => flag.help(
                "Write a kubeconfig that uses the token to this file (mode 0600; `jobpass revoke` removes it), and the \
                 token beside it, with `.token` added, if `token-file` names no other place",
            ),
            _ => flag,
        }))
        .args([state_file(), output::flag()])
        .after_help(
            "Example:\n  jobpass mint --service-account scanner --namespace ci --token-file token\n  \
             curl --oauth2-bearer \"$(cat token)\" ...\n  jobpass revoke --token-file token",
        )
}

/// Also a flag of `revoke`.
pub(crate) fn state_file() -> Arg {
    Arg::new("state-file").long("state-file").value_name("STATE_FILE").value_hint(ValueHint::FilePath).help(
        "The record of the token, which `jobpass revoke` needs (no secret). Without it, the names of `token-file` and of \
         `kubeconfig-file` with `.jobpass.json` added",
    )
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let records = records(matches, &inputs)?;
    let Some(first) = records.first() else {
        return Err(nowhere_to_go());
    };
    for record in &records {
        // The others are beside files whose paths are looked at with the other inputs.
        if matches.contains_id("state-file") {
            files::utf8("state-file", record)?;
        }
        is_free(record)?;
    }
    let plan = Plan::make(&inputs, &here(), environment, &mut interrupt).await?;
    let state = &plan.state;
    if state.files.is_empty() {
        return Err(nowhere_to_go());
    }
    let Files {
        token_file,
        kubeconfig_file,
        ..
    } = &state.files;
    if [token_file, kubeconfig_file]
        .into_iter()
        .flatten()
        .any(|file| records.contains(file))
    {
        return Err(Error::input(
            "state-file",
            "is the same as one of the token's files",
            "give it a name of its own",
        ));
    }
    let record = |state: Option<&State>| {
        for path in &records {
            match state {
                Some(state) => state.write(path)?,
                // Not there if nothing was recorded.
                None => drop(std::fs::remove_file(path)),
            }
        }
        Ok(())
    };
    // Nothing of the token is printed, and the files are all there is.
    let handover = Handover {
        record,
        mask: |_| Ok(()),
        deliver: |minted: &Minted, state: &State| {
            minted.access.iter().for_each(output::access);
            renew::in_background(state)
        },
    };
    let origin = origin(environment);
    let minting = plan.mint(&origin, handover, &mut interrupt);
    let minting = Progress::new().during("asking for a token", MINT, minting);
    let HandedOver { state, warnings, .. } = minting.await?;
    for warning in warnings {
        output::warning(&warning);
    }
    if output::is_json(matches) {
        return output::result(&json_of(&state, first)?);
    }
    output::result(&Screen::of_stdout(environment).laid_out(&minted(&state, first)))
}

/// Whose token it is.
pub(crate) fn origin(environment: &Environment) -> Origin {
    Origin {
        platform: "cli",
        requested_by: environment.get("USER").map(str::to_owned),
        ..Origin::default()
    }
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

/// Only a token that is revoked leaves its record to the next one.
fn is_free(record: &Path) -> Result<(), Error> {
    if record.symlink_metadata().is_err() || is_over(record) {
        return Ok(());
    }
    let path = harmless(&record.to_string_lossy());
    Err(Error::input(
        "state-file",
        format!("is `{path}`, which exists already"),
        format!(
            "it belongs to another token: `jobpass revoke --state-file {path}` first, or choose another name"
        ),
    ))
}

/// Whether a record says that its token is revoked.
pub(crate) fn is_over(record: &Path) -> bool {
    State::read(record).is_ok_and(|state| state.receipt.revoked.is_some())
}

fn nowhere_to_go() -> Error {
    Error::input(
        "token-file",
        "is missing: the token has nowhere to go",
        "give `--token-file PATH` or `--kubeconfig-file PATH`; jobpass prints no token",
    )
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| ".".into())
}

/// The receipt, and where everything is.
fn json_of(state: &State, record: &Path) -> Result<String, Error> {
    let mut json = json::value(&state.receipt)?;
    json["token-file"] = json::value(&state.files.token_file)?;
    json["kubeconfig-file"] = json::value(&state.files.kubeconfig_file)?;
    json["state-file"] = json::value(&record)?;
    Ok(json.to_string())
}

fn minted(state: &State, record: &Path) -> String {
    let files = [&state.files.token_file, &state.files.kubeconfig_file];
    let files = files.into_iter().flatten();
    let files = files.map(|path| harmless(&path.to_string_lossy()));
    let ends = Renewal::in_words(state.renewal.as_ref());
    format!(
        "{}\nrevoke it with  `jobpass revoke --state-file {}`",
        state.receipt.minted_in_words(&ends, &files.collect::<Vec<_>>()),
        harmless(&record.to_string_lossy()),
    )
}
