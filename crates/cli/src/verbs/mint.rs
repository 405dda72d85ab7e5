//! `jobpass mint`.

use std::path::Path;

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    inputs::flags,
    json,
    life::{
        mint::{HandedOver, Handover, Plan},
        renew,
        token_request::{MINT, Minted},
    },
    process::{environment::Environment, files, interrupt::Interrupt},
    record::{renewal::Renewal, state::State, token_files::Files},
    text::harmless,
};

use crate::{
    options::state_file::{self, here, is_over, records},
    session::origin::origin,
    terminal::{output, progress::Progress, screen::Screen},
};

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
        .args([state_file::flag(), output::flag()])
        .after_help(
            "Example:\n  jobpass mint --service-account scanner --namespace ci --token-file token\n  \
             curl --oauth2-bearer \"$(cat token)\" ...\n  jobpass revoke --token-file token",
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

fn nowhere_to_go() -> Error {
    Error::input(
        "token-file",
        "is missing: the token has nowhere to go",
        "give `--token-file PATH` or `--kubeconfig-file PATH`; jobpass prints no token",
    )
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
