//! `jobpass-github post`: the end of the job, whatever happened in it.
//!
//! Later steps could change every variable but `STATE_*`: where to connect to comes from the state alone.

use jobpass_core::{
    Error, Kind,
    inputs::options::{Inputs, Opt},
    life::revoke,
    process::interrupt::Interrupt,
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
    let inputs = job.inputs_in_post()?;
    let (anchor, run_id) = (job.state(ANCHOR).unwrap_or_default(), job.run_id());
    let state = match job.state(STATE) {
        Some(NOTHING) => {
            say("jobpass: nothing to revoke: main left nothing behind");
            return Ok(());
        }
        None if anchor.is_empty() => Err(lost(&gone(), anchor, run_id)),
        recorded => match State::parse(recorded.unwrap_or_default()) {
            Ok(state) => Ok(state),
            Err(error) => {
                commands::warning(&error);
                State::reconstruct(anchor, None, &inputs, &job.environment, run_id, &mut interrupt).await
            }
        },
    };
    let outcome = match state {
        Ok(state) => revoke(job, &inputs, state, interrupt).await,
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

async fn revoke(job: &Job, inputs: &Inputs, mut state: State, mut interrupt: Interrupt) -> Result<(), Error> {
    let revoked = revoke::at_end_of_job(&mut state, None, inputs, &job.environment, &mut interrupt).await;
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
