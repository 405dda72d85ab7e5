//! `jobpass mint`: mints a token into a file. The token works until it expires, or until `jobpass revoke`.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    inputs::{
        flags::{self, flag},
        options::{FrontEnd, Opt},
    },
    json,
    life::{
        mint::{HandedOver, Handover, Plan},
        proxy, renew,
        token_request::{MINT, Minted},
    },
    process::{environment::Environment, files, interrupt::Interrupt},
    record::{renewal::Renewal, state::State},
    text,
};

use crate::{
    options::state_file::{self, is_revoked, working_directory},
    session::origin::origin,
    terminal::{output, progress::Progress, screen::Screen},
};

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    let options = Opt::on(FrontEnd::CommandLine).filter(|option| *option != Opt::FailOnRevokeError);
    Command::new("mint")
        .about("Mint a token into a file. `jobpass revoke` revokes it")
        .args(options.map(|option| {
            match option {
            Opt::Duration => flag(option).help(
                "The longest time that the token may live: `30m`, `1h`, `1h30m`, `900s` or `900` (seconds); \
                 at least 10 minutes. `jobpass revoke` ends it sooner. [default: 1h]",
            ),
            Opt::TokenFile => flag(option).help(
                "Write the token to this file, with mode 0600; `jobpass revoke` removes the file.",
            ),
            Opt::KubeconfigFile => flag(option).help(
                "Write a kubeconfig that holds the token to this file, with mode 0600; `jobpass revoke` \
                 removes the file. With `renew-for`, jobpass also writes the token alone to a file: the \
                 token file, or one with the kubeconfig's name and `.token` at the end.",
            ),
            _ => flag(option),
        }
        }))
        .args([state_file::flag(), output::flag()])
        .after_help(
            "Example:\n  \
             jobpass mint --service-account scanner --kubeconfig-file scan.yaml\n  \
             kubectl --kubeconfig scan.yaml get pods\n  \
             jobpass revoke --kubeconfig-file scan.yaml",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let state_files = state_file::paths(matches, &inputs)?;
    let Some(first) = state_files.first() else {
        return Err(no_file());
    };
    for state_file in &state_files {
        // Without `--state-file`, the state files are beside the token's files, and `Plan::make` checks the
        // paths of those files.
        if matches.contains_id("state-file") {
            files::utf8("state-file", state_file)?;
        }
        is_free(state_file, matches.contains_id("state-file"))?;
    }
    let plan = Plan::make(&inputs, &working_directory(), environment, &mut interrupt).await?;
    let state = &plan.state;
    if state.files.is_empty() {
        return Err(no_file());
    }
    if files_of(state).any(|file| state_files.contains(file)) {
        return Err(Error::input(
            "state-file",
            "is the same as one of the token's files",
            "give the state file a name of its own with `--state-file`",
        ));
    }
    let record = |state: Option<&State>| {
        for path in &state_files {
            match state {
                Some(state) => state.write(path)?,
                // The file may not exist yet.
                None => drop(std::fs::remove_file(path)),
            }
        }
        Ok(())
    };
    // jobpass prints no part of the token, so there is nothing to mask.
    let handover = Handover {
        revoked_by: None,
        record,
        open: Box::new(proxy::in_background),
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
    output::result(&Screen::of_stdout(environment).laid_out(&in_words(&state, first)))
}

/// Refuses to overwrite a state file, unless its token is revoked. `named`: the user gave `--state-file`.
fn is_free(state_file: &Path, named: bool) -> Result<(), Error> {
    if state_file.symlink_metadata().is_err() || is_revoked(state_file) {
        return Ok(());
    }
    let path = text::path(state_file);
    let is = match named {
        true => "is",
        false => "is not given, so jobpass chose a file beside the token's files:",
    };
    Err(Error::input(
        "state-file",
        format!("{is} `{path}`, which exists already"),
        format!(
            "if this is the state of another token, run `jobpass revoke --state-file {path}` first. \
             Otherwise, give another path with `--state-file`"
        ),
    ))
}

fn no_file() -> Error {
    Error::input(
        Opt::TokenFile,
        "is missing: jobpass would have no file for the token",
        "give `--kubeconfig-file PATH` or, without `--proxy`, `--token-file PATH`, because jobpass does not print \
         tokens",
    )
}

/// The files that hold or use the token.
fn files_of(state: &State) -> impl Iterator<Item = &PathBuf> {
    [&state.files.token_file, &state.files.kubeconfig_file]
        .into_iter()
        .flatten()
}

/// The receipt, with the paths of the files.
fn json_of(state: &State, state_file: &Path) -> Result<String, Error> {
    let mut json = json::value(&state.receipt)?;
    json["token-file"] = json::value(&state.files.token_file)?;
    json["kubeconfig-file"] = json::value(&state.files.kubeconfig_file)?;
    json["state-file"] = json::value(&state_file)?;
    Ok(json.to_string())
}

/// The receipt in words, and the command that revokes the token.
fn in_words(state: &State, state_file: &Path) -> String {
    let files = files_of(state).map(|path| text::path(path));
    let ends = Renewal::in_words(state.renewal.as_ref());
    format!(
        "{}\nrevoke it with  `jobpass revoke --state-file {}`",
        state.receipt.minted_in_words(&ends, &files.collect::<Vec<_>>()),
        text::path(state_file),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn state(receipt: &str) -> String {
        format!(
            r#"{{"connection":{{"server":"https://10.0.0.1:6443"}},"auth":{{"kind":"in-cluster"}},"receipt":{{"service-account":"scanner",
            "namespace":"ci","anchor":"jobpass-1f0c6e7a1f0c6e7a1f0c"{receipt}}},"for-api-server":true,"files":{{"token-file":"/tmp/token"}}}}"#
        )
    }

    #[test]
    fn only_the_state_file_of_a_revoked_token_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token.jobpass.json");
        is_free(&path, true).expect("it does not exist");
        for text in [&state(""), "{}", ""] {
            fs::write(&path, text).expect("written");
            assert!(is_free(&path, true).is_err(), "{text}");
        }
        fs::write(&path, state(r#","revoked":"2026-11-26T07:30:00Z""#)).expect("written");
        is_free(&path, true).expect("its token is revoked");
    }

    #[test]
    fn the_result_names_the_files_and_the_command_that_revokes() {
        let minted =
            r#","minted":"2026-11-26T07:00:00Z","expires":"2026-11-26T08:00:00Z","credential-id":"b7f2""#;
        let state = State::parse(&state(minted)).expect("a state");
        let state_file = Path::new("/tmp/token.jobpass.json");
        insta::assert_snapshot!(in_words(&state, state_file), @"
        minted a token for ServiceAccount ci/scanner
          bound to       anchor jobpass-1f0c6e7a1f0c6e7a1f0c
          expires        2026-11-26 08:00:00 UTC, after 1 h
          credential id  b7f2
          handed over    /tmp/token
        revoke it with  `jobpass revoke --state-file /tmp/token.jobpass.json`
        ");
        insta::assert_snapshot!(json_of(&state, state_file).expect("JSON"), @r#"{"anchor":"jobpass-1f0c6e7a1f0c6e7a1f0c","credential-id":"b7f2","expires":"2026-11-26T08:00:00Z","kubeconfig-file":null,"minted":"2026-11-26T07:00:00Z","namespace":"ci","service-account":"scanner","state-file":"/tmp/token.jobpass.json","token-file":"/tmp/token"}"#);
    }
}
