//! `jobpass-github post`: the end of the job, after success, failure or cancellation.
//!
//! Later steps can change most variables, but not the values in `STATE_*` that main saved. So if jobpass can
//! read the state, it sends the revocation only to the API server that the state names. Otherwise, the inputs
//! of the action name the API server.

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
    let left = Left::of(job.state(STATE), anchor);
    let known = match &left {
        Left::Nothing => {
            say("jobpass: nothing to revoke: the main step left no token");
            return Ok(());
        }
        Left::State(state) => Some(&**state),
        Left::Garbled(_) | Left::Unknown => None,
    };
    let inputs = job.inputs_in_post(known)?;
    let environment = job.environment.clone();
    let (inputs, environment) = match job.kept() {
        Some(kept) => kept.restore(known.map(|state| &state.auth), inputs, environment),
        None => (inputs, environment),
    };
    let state = match left {
        Left::State(state) => Ok(*state),
        Left::Garbled(error) => {
            commands::warning(&error);
            State::reconstruct(anchor, None, &inputs, &environment, run_id, &mut interrupt).await
        }
        Left::Nothing | Left::Unknown => Err(lost(&gone(), anchor, run_id)),
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

/// The records that main left for post.
enum Left {
    /// main recorded that there is no token, and no object for one.
    Nothing,
    /// main recorded a state.
    State(Box<State>),
    /// jobpass cannot read the state that main recorded, for this reason. The anchor's name may be known.
    Garbled(Error),
    /// There is no record, so there may be a token.
    Unknown,
}

impl Left {
    /// Reads the records: the `state` and the `anchor` that main saved.
    fn of(state: Option<&str>, anchor: &str) -> Self {
        match state {
            Some(NOTHING) => Self::Nothing,
            None if anchor.is_empty() => Self::Unknown,
            state => match State::parse(state.unwrap_or_default()) {
                Ok(state) => Self::State(Box::new(state)),
                Err(error) => Self::Garbled(error),
            },
        }
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
    summary::recorded(job, &state);
    let revoked = revoked.inspect_err(|error| match receipt.revoked {
        // jobpass revoked the token, and could not remove one of its files.
        Some(_) => summary::revoked(job, receipt),
        None => summary::not_revoked(job, receipt, error),
    })?;
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

/// The error for a missing record. If there is nothing to revoke, main records that. So a missing record does
/// not prove that there is no token, because the runner may have lost the record.
fn gone() -> Error {
    let what = "the record that the action's main step leaves for the end of the job is missing";
    Error::new(Kind::Revoke, what).help(
        "look at the log of the action's main step first. Either that step ended before it could write the \
         record, or the runner lost the record. The log says why the step ended, unless the runner killed it",
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const RECORDED: &str = r#"{"version":1,"connection":{"server":"https://10.0.0.1:6443"},"auth":{"kind":"in-cluster"},
        "receipt":{"service-account":"scanner","namespace":"ci","anchor":"jobpass-1f0c6e7a1f0c6e7a1f0c"},
        "for-api-server":true,"files":{}}"#;

    /// An absent record does not prove that there is no token. If post took it as a proof, a job could end
    /// silently with a token that works.
    #[rstest]
    #[case::nothing(Some(NOTHING), "", "nothing")]
    #[case::nothing_any_more(Some(NOTHING), "ci/jobpass-1f0c6e7a1f0c6e7a1f0c", "nothing")]
    #[case::a_token(Some(RECORDED), "ci/jobpass-1f0c6e7a1f0c6e7a1f0c", "state")]
    #[case::a_token_alone(Some(RECORDED), "", "state")]
    #[case::half(Some(&RECORDED[..90]), "ci/jobpass-1f0c6e7a1f0c6e7a1f0c", "garbled")]
    #[case::half_alone(Some(&RECORDED[..90]), "", "garbled")]
    #[case::only_the_anchor(None, "ci/jobpass-1f0c6e7a1f0c6e7a1f0c", "garbled")]
    #[case::main_was_killed_at_once(None, "", "unknown")]
    fn what_main_left_decides_what_post_does(
        #[case] state: Option<&str>,
        #[case] anchor: &str,
        #[case] expected: &str,
    ) {
        let left = match Left::of(state, anchor) {
            Left::Nothing => "nothing",
            Left::State(_) => "state",
            Left::Garbled(_) => "garbled",
            Left::Unknown => "unknown",
        };
        assert_eq!(left, expected);
    }
}
