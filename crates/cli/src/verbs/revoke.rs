//! `jobpass revoke`: revokes the token in the files of `jobpass mint`, or the token of an anchor.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueHint};
use jobpass_core::{
    Error,
    inputs::{
        flags::{self, flag},
        options::{Inputs, Opt},
        revocation::verify_revocation,
    },
    life::revoke::{self, AnchorName},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    record::{receipt::Receipt, state::State},
    text,
};

use crate::{
    options::{connection, state_file},
    session::folder::remove_journal_left_beside,
    terminal::{output, progress::Progress, screen::Screen},
};

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    Command::new("revoke")
        .about("Revoke a token of `jobpass mint`, prove that it is dead, and remove its files; or revoke the token of an anchor")
        .arg(
            Arg::new("anchor")
                .value_name("ANCHOR")
                .value_hint(ValueHint::Other)
                .conflicts_with("state-file")
                .help(
                    "The anchor of the token, as `jobpass list` shows it: NAMESPACE/NAME. Without it, the \
                     options name the token by a file of `jobpass mint`.",
                ),
        )
        .args([
            flag(Opt::TokenFile).help("The file to which `jobpass mint` wrote the token."),
            flag(Opt::KubeconfigFile).help("The file to which `jobpass mint` wrote the kubeconfig."),
            flag(Opt::VerifyRevocation),
        ])
        .args([state_file::flag(), output::flag()])
        .next_help_heading("Cluster, for ANCHOR")
        .args(connection::flags())
        .mut_arg(Opt::Kubeconfig.name(), |kubeconfig| {
            kubeconfig.help(
                "The kubeconfig of somebody who may delete the anchor. For a token of `jobpass mint`: the \
                 minter's kubeconfig, if `jobpass mint` got it as text. If `jobpass mint` got a path, the \
                 state file contains this path, and this option has no effect.",
            )
        })
        .after_help(
            "Exit code 4: the ANCHOR does not exist. Exit code 7: the token is not revoked, or jobpass could \
             not prove that it is. Or the token is revoked, but jobpass could not remove one of its files.\n\n\
             Examples:\n  \
             jobpass revoke --token-file token --verify-revocation wait\n  \
             jobpass revoke ci/jobpass-abcdefghijklmnopqrst --kubeconfig admin.yaml",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs_at_end(matches)?;
    verify_revocation(&inputs)?;
    if let Some(anchor) = matches.get_one::<String>("anchor") {
        return by_anchor(matches, &inputs, anchor, environment, interrupt).await;
    }
    // The state file names the server and the credential, so these options have no effect.
    let inputs = connection::OF_SERVER
        .into_iter()
        .fold(inputs, |inputs, option| inputs.without(option));
    let state_files = state_file::paths(matches, &inputs)?;
    let Some(first) = state_files.first() else {
        let allowed =
            "name the token by the `--token-file`, `--kubeconfig-file` or `--state-file` of `jobpass mint`";
        return Err(Error::input(Opt::TokenFile, "is missing", allowed));
    };
    let existing = state_files.iter().filter(|path| path.symlink_metadata().is_ok());
    let candidates = existing.map(|path| Candidate {
        path: path.clone(),
        state: State::read(path),
    });
    let Some(Candidate { path, state }) = choose(candidates.collect())? else {
        return Err(no_state_file(matches, &inputs, first));
    };
    let mut state = state?;
    if state.receipt.revoked.is_some() {
        let words = state.receipt.revoked_before_in_words();
        return print(matches, environment, &state.receipt, &words);
    }
    let revoked = revoke::at_end_of_job(&mut state, None, &inputs, environment, &mut interrupt);
    let revoked = Progress::new()
        .during("revoking the token", revoke::REVOKE, revoked)
        .await?;
    write_receipt(&path, &state);
    remove_journal_left_beside(&path);
    for note in &revoked.notes {
        output::warning(note);
    }
    let words = state.receipt.revoked_in_words();
    print(matches, environment, &state.receipt, &words)
}

/// Revokes the token of an anchor that `jobpass list` shows.
async fn by_anchor(
    matches: &ArgMatches,
    inputs: &Inputs,
    anchor: &str,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let anchor = AnchorName::parse(anchor)?;
    let files = [Opt::TokenFile, Opt::KubeconfigFile].into_iter();
    let mut files = files.filter(|option| flags::is_flag(matches, *option));
    if let Some(file) = files.next() {
        return Err(Error::input(
            file,
            "and ANCHOR are both given",
            "name the token by one of them",
        ));
    }
    let work = async {
        let minter = Minter::resolve(inputs, environment).await?;
        revoke::by_anchor(minter, &anchor, inputs).await
    };
    let work = Progress::new().during("revoking the token", revoke::REVOKE, work);
    let (receipt, revoked) = tokio::select! {
        interrupted = interrupt.wait() => Err(interrupted),
        revoked = work => revoked,
    }?;
    for note in &revoked.notes {
        output::warning(note);
    }
    print(matches, environment, &receipt, &receipt.revoked_in_words())
}

fn print(
    matches: &ArgMatches,
    environment: &Environment,
    receipt: &Receipt,
    words: &str,
) -> Result<(), Error> {
    match output::is_json(matches) {
        true => output::result(&receipt.json()?),
        false => output::result(&Screen::of_stdout(environment).laid_out(words)),
    }
}

/// A state file that exists, and the state in it.
struct Candidate {
    path: PathBuf,
    state: Result<State, Error>,
}

/// Chooses the state file of the token to revoke. A state file whose token is revoked comes last, because it
/// may belong to an earlier token.
///
/// # Errors
/// If the state files belong to two tokens that may both live, or if jobpass cannot compare them.
fn choose(candidates: Vec<Candidate>) -> Result<Option<Candidate>, Error> {
    let is_revoked =
        |candidate: &Candidate| matches!(&candidate.state, Ok(state) if state.receipt.revoked.is_some());
    let (revoked, live): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_revoked);
    if let [first, second] = &live[..] {
        let anchor = |candidate: &Candidate| match &candidate.state {
            Ok(state) => Ok(state.receipt.anchor.clone()),
            Err(error) => Err(error.clone()),
        };
        if anchor(first)? != anchor(second)? {
            return Err(Error::input(
                Opt::KubeconfigFile,
                "names another token than `token-file`",
                "revoke the two tokens with two commands",
            ));
        }
    }
    Ok(live.into_iter().chain(revoked).next())
}

/// The error if the token that the options name has no state file.
fn no_state_file(matches: &ArgMatches, inputs: &Inputs, path: &Path) -> Error {
    let is_given = |option: &Opt| inputs.get(*option).is_some();
    let name = match matches.contains_id("state-file") {
        true => "state-file",
        false => [Opt::TokenFile, Opt::KubeconfigFile]
            .into_iter()
            .find(is_given)
            .unwrap_or(Opt::TokenFile)
            .name(),
    };
    Error::input(
        name,
        format!("names no token: there is no state file `{}`", text::path(path)),
        "check the path: jobpass minted no token with this path in this folder, or somebody removed the \
         token's state file. As an administrator, list the tokens with `jobpass list --all-namespaces`, and \
         revoke one with `jobpass revoke ANCHOR`",
    )
}

/// Writes the receipt to all state files of the token. The state files stay, so a second revocation by any of
/// the token's files does nothing.
fn write_receipt(path: &Path, state: &State) {
    let files = [&state.files.token_file, &state.files.kubeconfig_file];
    let others = files.into_iter().flatten().map(|file| state_file::beside(file));
    let of_this_token = |state_file: &PathBuf| {
        State::read(state_file).is_ok_and(|other| other.receipt.anchor == state.receipt.anchor)
    };
    for state_file in others.filter(of_this_token).chain([path.to_owned()]) {
        // After a failed write, `jobpass revoke` with this file revokes the token once more, which does no
        // harm.
        let _ = state.write(&state_file);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const A: &str = "jobpass-aaaaaaaaaaaaaaaaaaaa";
    const B: &str = "jobpass-bbbbbbbbbbbbbbbbbbbb";

    /// A state file for a test. Without an anchor, jobpass cannot read its state.
    fn candidate(path: &str, anchor: &str, revoked: bool) -> Candidate {
        let revoked = match revoked {
            true => r#","revoked":"2026-11-26T07:30:00Z""#,
            false => "",
        };
        let state = match anchor {
            "" => State::parse("{}"),
            anchor => State::parse(&format!(
                r#"{{"connection":{{"server":"https://10.0.0.1:6443"}},"auth":{{"kind":"in-cluster"}},"receipt":{{
                "service-account":"scanner","namespace":"ci","anchor":"{anchor}"{revoked}}},"for-api-server":true}}"#
            )),
        };
        assert_eq!(state.is_ok(), !anchor.is_empty());
        Candidate {
            path: path.into(),
            state,
        }
    }

    #[rstest]
    #[case::none(&[], Ok(None))]
    #[case::one(&[("t", A, false)], Ok(Some("t")))]
    #[case::two_of_one_token(&[("t", A, false), ("k", A, false)], Ok(Some("t")))]
    #[case::two_tokens(&[("t", A, false), ("k", B, false)], Err(()))]
    #[case::an_older_token_is_revoked(&[("t", A, true), ("k", B, false)], Ok(Some("k")))]
    #[case::both_are_revoked(&[("t", A, true), ("k", B, true)], Ok(Some("t")))]
    #[case::one_cannot_be_read(&[("t", A, false), ("k", "", false)], Err(()))]
    #[case::a_live_one_that_cannot_be_read(&[("t", A, true), ("k", "", false)], Ok(Some("k")))]
    fn a_token_that_may_live_is_chosen(
        #[case] candidates: &[(&str, &str, bool)],
        #[case] expected: Result<Option<&str>, ()>,
    ) {
        let candidates = candidates
            .iter()
            .map(|(path, anchor, revoked)| candidate(path, anchor, *revoked));
        let chosen = choose(candidates.collect());
        let chosen = chosen
            .map(|chosen| chosen.map(|chosen| chosen.path))
            .map_err(|_| ());
        assert_eq!(chosen, expected.map(|path| path.map(PathBuf::from)));
    }
}
