//! `jobpass revoke`.

use clap::{ArgMatches, Command};
use jobpass_core::{Error, environment::Environment, flags, interrupt::Interrupt, revoke, state::State};

use crate::{mint, output};

pub(crate) fn command() -> Command {
    Command::new("revoke")
        .about("Revoke a token that `jobpass mint` minted, prove it, and remove its files")
        .args(flags::flags().filter(|flag| {
            let id = flag.get_id();
            ["kubeconfig", "token-file", "kubeconfig-file", "verify-revocation"]
                .iter()
                .any(|name| id == name)
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
    let path = mint::state_path(matches, &inputs)?;
    let mut state = State::read(&path)?;
    let revoked = revoke::at_end_of_job(&mut state, None, &inputs, environment, &mut interrupt).await?;
    let _ = std::fs::remove_file(&path);
    if let Some(note) = revoked.note {
        output::warning(&note);
    }
    let receipt = &state.receipt;
    if output::is_json(matches) {
        return output::result(&receipt.json());
    }
    output::result(&format!(
        "revoked the token of ServiceAccount {}/{}\n  anchor  {} is deleted\n  proof   {}",
        receipt.namespace,
        receipt.service_account,
        receipt.anchor,
        revoked.proof.sentence()
    ))
}
