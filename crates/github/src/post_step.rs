//! `jobpass-github post`: the end of the job, whatever happened in it.
//!
//! Later steps could change every variable but `STATE_*`: where to connect to comes from the state alone.

use jobpass_core::{
    Error, Kind,
    inputs::options::Inputs,
    life::revoke::{self, Revoked},
    minter::Minter,
    process::interrupt::Interrupt,
    record::{
        receipt::{Proof, Receipt},
        state::State,
    },
    text::harmless,
};

use crate::{
    commands::{self, say},
    job::Job,
    summary,
};

pub(crate) async fn run(job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
    let inputs = job.inputs_in_post()?;
    let (recorded, anchor) = (job.state("jobpass"), job.state("anchor"));
    if recorded.is_none() && anchor.is_none() {
        say("jobpass: nothing to revoke: main left nothing behind");
        return Ok(());
    }
    let state = match State::parse(recorded.unwrap_or_default()) {
        Ok(state) => Ok(state),
        Err(error) => {
            commands::warning(&error);
            reconstruct(job, &inputs, anchor, &mut interrupt)
                .await
                .map_err(|cause| lost(job, &cause))
        }
    };
    let outcome = match state {
        Ok(state) => revoke(job, &inputs, state, interrupt).await,
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if !inputs.flag("fail-on-revoke-error").unwrap_or(true) => {
            commands::warning(&error);
            Ok(())
        }
        outcome => outcome,
    }
}

async fn revoke(job: &Job, inputs: &Inputs, mut state: State, mut interrupt: Interrupt) -> Result<(), Error> {
    match revoke::at_end_of_job(&mut state, None, inputs, &job.environment, &mut interrupt).await {
        Ok(revoked) => {
            report(job, &state.receipt, revoked);
            Ok(())
        }
        Err(error) => {
            summary::not_revoked(job, &state.receipt, &error);
            Err(error)
        }
    }
}

fn report(job: &Job, receipt: &Receipt, Revoked { proof, notes, .. }: Revoked) {
    if receipt.minted.is_none() {
        say(&format!(
            "jobpass: anchor {}/{} is gone; no token was handed over",
            receipt.namespace, receipt.anchor
        ));
    } else {
        say(&format!("jobpass: {}", receipt.revoked_in_words()));
        summary::revoked(job, receipt);
    }
    for note in notes {
        commands::warning(&Error::new(Kind::Revoke, note));
    }
    if proof == Proof::NotAsked {
        say("  (set `verify-revocation: quick` or `wait` to have it proven)");
    }
}

/// From the anchor's name, which is recorded apart.
async fn reconstruct(
    job: &Job,
    inputs: &Inputs,
    anchor: Option<&str>,
    interrupt: &mut Interrupt,
) -> Result<State, Error> {
    let minter = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        minter = Minter::resolve(inputs, &job.environment) => minter?,
    };
    let mut state = State::of_anchor(&minter, anchor.unwrap_or_default(), None)?;
    state.role = inputs.get("rules").is_some();
    Ok(state)
}

fn lost(job: &Job, cause: &Error) -> Error {
    let run = harmless(job.environment.get("GITHUB_RUN_ID").unwrap_or("RUN_ID"));
    Error::new(Kind::Revoke, format!("it is not known what to revoke: {}", cause.what())).help(format!(
        "if main minted a token, it works until it expires (a legacy one: for ever); find and delete this run's anchors by hand:\n\n  \
         kubectl delete secrets --all-namespaces --selector app.kubernetes.io/managed-by=jobpass,jobpass.dev/run-id={run}"
    ))
}
