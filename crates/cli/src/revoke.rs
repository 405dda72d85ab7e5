//! `jobpass revoke`.

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error, environment::Environment, flags, interrupt::Interrupt, revoke, state::State, text::harmless,
};

use crate::{mint, output, progress::Progress, screen::Screen};

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
        .args([mint::state_file(), output::flag()])
        .after_help("Example:\n  jobpass revoke --token-file token --verify-revocation wait")
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs_at_end(matches)?;
    jobpass_core::spec::verify_revocation(&inputs)?;
    let path = mint::state_path(matches, &inputs)?.ok_or_else(|| {
        let allowed =
            "say which token: `--token-file`, `--kubeconfig-file` or `--state-file`, as it was minted";
        Error::input("token-file", "is missing", allowed)
    })?;
    if path.symlink_metadata().is_err() {
        let path = harmless(&path.to_string_lossy());
        return Err(Error::input(
            "token-file",
            format!("has no recorded state: there is no `{path}`"),
            "the token is revoked already, or was minted under another name; what there is:\n\n  \
             kubectl get secrets --all-namespaces --selector app.kubernetes.io/managed-by=jobpass",
        ));
    }
    let mut state = State::read(&path)?;
    let revoked = revoke::at_end_of_job(&mut state, None, &inputs, environment, &mut interrupt);
    let revoked = Progress::new()
        .during("revoking, and proving it", revoke::REVOKE, revoked)
        .await?;
    let _ = std::fs::remove_file(&path);
    if let Some(note) = revoked.note {
        output::warning(&note);
    }
    let receipt = &state.receipt;
    if output::is_json(matches) {
        return output::result(&receipt.json());
    }
    output::result(&Screen::of_stdout(environment).laid_out(&receipt.revoked_in_words()))
}
