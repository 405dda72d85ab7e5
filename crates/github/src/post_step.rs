//! `jobpass-github post`: the end of the job, whatever happened in it.
//!
//! Later steps could change every variable but `STATE_*`: where to connect to comes from the state alone.

use jobpass_core::{
    Error, Kind,
    inputs::options::{Inputs, Opt},
    life::revoke,
    process::{environment::Environment, interrupt::Interrupt},
    record::state::{State, lost},
};

use crate::{
    commands::{self, say},
    export,
    job::{ANCHOR, Job, NOTHING, STATE},
    summary,
};

pub(crate) async fn run(job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
    if let Err(error) = export::undo(job) {
        commands::warning(&error);
    }
    let (anchor, run_id) = (job.state(ANCHOR).unwrap_or_default(), job.run_id());
    let recorded = match job.state(STATE) {
        Some(NOTHING) => {
            say("jobpass: nothing to revoke: main left nothing behind");
            return Ok(());
        }
        recorded => State::parse(recorded.unwrap_or_default()),
    };
    let known = recorded.as_ref().ok();
    let inputs = job.inputs_in_post(known)?;
    let environment = job.environment.clone();
    let (inputs, environment) = match job.kept() {
        Some(kept) => kept.restore(known.map(|state| &state.auth), inputs, environment),
        None => (inputs, environment),
    };
    let state = match recorded {
        Ok(state) => Ok(state),
        Err(_) if anchor.is_empty() && job.state(STATE).is_none() => Err(lost(&gone(), anchor, run_id)),
        Err(error) => {
            commands::warning(&error);
            State::reconstruct(anchor, None, &inputs, &environment, run_id, &mut interrupt).await
        }
    };
    let outcome = match state {
        Ok(state) => revoke(job, &inputs, &environment, state, interrupt).await,
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if !inputs.flag(Opt::FailOnRevokeError).unwrap_or(true) => {
            commands::warning(&error);
            Ok(())
        }
        outcome => outcome,
    }
}

async fn revoke(
    job: &Job,
    inputs: &Inputs,
    environment: &Environment,
    mut state: State,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let revoked = revoke::at_end_of_job(&mut state, None, inputs, environment, &mut interrupt).await;
    let receipt = &state.receipt;
    let revoked = revoked.inspect_err(|error| summary::not_revoked(job, receipt, error))?;
    let handed_over = receipt.minted.is_some();
    say(&format!("jobpass: {}", receipt.ended_in_words(handed_over)));
    if handed_over {
        summary::revoked(job, receipt);
    }
    for note in revoked.notes {
        commands::warning(&Error::new(Kind::Revoke, note));
    }
    Ok(())
}

/// Main records that there is nothing before it does anything else: without that, nothing is known.
fn gone() -> Error {
    Error::new(Kind::Revoke, "no state reached the end of the job").help(
        "main was killed before it could record one, or something between the runner and this step has removed what main saved",
    )
}
