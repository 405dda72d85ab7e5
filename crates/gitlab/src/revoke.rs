//! `jobpass-gitlab revoke`: in `after_script`, or in a job of stage `.post`.

use std::fs;

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    inputs::{flags, options::Inputs},
    life::revoke,
    process::interrupt::Interrupt,
    record::state::State,
    text::harmless,
    token::Token,
};

use crate::{
    dotenv::{self, ANCHOR, ANCHOR_UID},
    job::{Job, Recorded},
    log, sealed,
};

pub(crate) fn command() -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("revoke")
        .about("Revoke every token that this job minted, prove it, and remove the files")
        .args(flags::flags().filter(|flag| {
            let of_minting = [
                "namespace",
                "duration",
                "type",
                "renew-for",
                "require",
                "forbid",
                "escape-check",
                "anchor-labels",
                "anchor-annotations",
                "token-file",
                "kubeconfig-file",
            ];
            !of_minting.contains(&flag.get_id().as_str())
        }))
        .args([dotenv::variable_flag(), sealed::identity_flag()])
        .args([
            switch(
                "handed-over",
                "Revoke the token that an earlier job handed over instead (JOBPASS_ANCHOR of its dotenv report)",
            ),
            switch(
                "unless-success",
                "Revoke only if CI_JOB_STATUS is not `success`: for the after_script of a job that hands its token on",
            )
            .conflicts_with("handed-over"),
        ])
        .after_help("Example:\n  jobpass-gitlab revoke --verify-revocation wait")
}

pub(crate) async fn run(matches: &ArgMatches, job: &Job, interrupt: Interrupt) -> Result<(), Error> {
    let inputs = flags::inputs_at_end(matches)?;
    let failures = if matches.get_flag("handed-over") {
        handed_over(matches, job, &inputs, interrupt).await
    } else if matches.get_flag("unless-success") && job.environment.get("CI_JOB_STATUS") == Some("success") {
        hand_on(job)
    } else {
        recorded(job, &inputs, interrupt).await
    };
    if inputs.flag("fail-on-revoke-error").unwrap_or(true) {
        let mut failures = failures;
        let last = failures.pop();
        failures.iter().for_each(log::error);
        return last.map_or(Ok(()), Err);
    }
    failures.iter().for_each(log::warning);
    Ok(())
}

/// What this job recorded, one after the other; a failure keeps no other from being revoked.
async fn recorded(job: &Job, inputs: &Inputs, mut interrupt: Interrupt) -> Vec<Error> {
    let recorded = job.recorded();
    if recorded.is_empty() {
        log::say("jobpass: nothing to revoke: this job recorded no state, so it created nothing");
    }
    let mut failures = Vec::new();
    for Recorded { path, anchor } in recorded {
        let state = match State::read(&path) {
            Ok(state) => Ok(state),
            Err(error) => {
                log::warning(&error);
                reconstruct(job, inputs, &anchor, None, &mut interrupt).await
            }
        };
        let outcome = match state {
            Ok(state) => {
                let existed = state.receipt.minted.is_some();
                revoke(job, inputs, state, existed, None, &mut interrupt).await
            }
            Err(error) => Err(error),
        };
        // What is not revoked yet can be tried again.
        match outcome {
            Ok(()) => drop(fs::remove_file(path)),
            Err(error) => failures.push(error),
        }
    }
    failures
}

/// The job succeeded, and its token lives on in other jobs.
fn hand_on(job: &Job) -> Vec<Error> {
    let mut failures = Vec::new();
    for Recorded { path, anchor } in job.recorded() {
        if let Ok(state) = State::read(&path) {
            failures.extend(state.files.remove().err());
        }
        let _ = fs::remove_file(path);
        log::say(&format!(
            "jobpass: this job succeeded: its token (anchor {}) goes on to later jobs, until `revoke --handed-over`",
            harmless(&anchor)
        ));
    }
    failures
}

/// What the dotenv report of an earlier job says.
async fn handed_over(
    matches: &ArgMatches,
    job: &Job,
    inputs: &Inputs,
    mut interrupt: Interrupt,
) -> Vec<Error> {
    let Some(anchor) = job.environment.get(ANCHOR) else {
        log::say(&format!(
            "jobpass: nothing to revoke: no {ANCHOR} reached this job, so the job that mints handed nothing over"
        ));
        return Vec::new();
    };
    let uid = job.environment.get(ANCHOR_UID);
    // Without it, and without the identity that opens a sealed one, the proof is that the anchor is gone.
    let token = dotenv::variable(matches)
        .ok()
        .and_then(|name| dotenv::handed_over(name, matches, &job.environment)?.ok());
    let outcome = match reconstruct(job, inputs, anchor, uid, &mut interrupt).await {
        Ok(state) => revoke(job, inputs, state, true, token, &mut interrupt).await,
        Err(error) => Err(error),
    };
    outcome.err().into_iter().collect()
}

async fn revoke(
    job: &Job,
    inputs: &Inputs,
    mut state: State,
    existed: bool,
    handed_over: Option<Token>,
    interrupt: &mut Interrupt,
) -> Result<(), Error> {
    let revoked = revoke::at_end_of_job(&mut state, handed_over, inputs, &job.environment, interrupt).await?;
    log::say(&format!("jobpass: {}", state.receipt.ended_in_words(existed)));
    for note in revoked.notes {
        log::warning(&Error::new(Kind::Revoke, note));
    }
    Ok(())
}

/// A state from the anchor's name alone.
async fn reconstruct(
    job: &Job,
    inputs: &Inputs,
    anchor: &str,
    uid: Option<&str>,
    interrupt: &mut Interrupt,
) -> Result<State, Error> {
    let run_id = job.environment.get("CI_PIPELINE_ID");
    State::reconstruct(anchor, uid, inputs, &job.environment, run_id, interrupt).await
}
