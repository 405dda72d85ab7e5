//! `jobpass-gitlab revoke`: in `after_script`, or in a job of stage `.post`.

use std::fs;

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    inputs::{flags, options::Inputs},
    life::revoke::{self, Revoked},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    record::{
        receipt::{Proof, Receipt},
        state::State,
    },
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
    report(&state.receipt, existed, revoked);
    Ok(())
}

fn report(receipt: &Receipt, existed: bool, Revoked { proof, notes, .. }: Revoked) {
    let (namespace, anchor) = (&receipt.namespace, &receipt.anchor);
    if existed {
        log::say(&format!("jobpass: {}", receipt.revoked_in_words()));
    } else {
        log::say(&format!(
            "jobpass: anchor {namespace}/{anchor} is gone, and with it the token, if there was one"
        ));
    }
    for note in notes {
        log::warning(&Error::new(Kind::Revoke, note));
    }
    if proof == Proof::NotAsked {
        log::say("  (set `verify-revocation: quick` or `wait` to have it proven)");
    }
}

/// A state from the anchor's name alone. Where the API server is, is then what the inputs say.
async fn reconstruct(
    job: &Job,
    inputs: &Inputs,
    anchor: &str,
    uid: Option<&str>,
    interrupt: &mut Interrupt,
) -> Result<State, Error> {
    let minter = tokio::select! {
        interrupted = interrupt.wait() => Err(interrupted),
        minter = Minter::resolve(inputs, &job.environment) => minter,
    };
    let state = minter.and_then(|minter| State::of_anchor(&minter, anchor, uid));
    let mut state = state.map_err(|error| by_hand(&error, anchor, &job.environment))?;
    state.for_api_server = inputs.get("audiences").is_none();
    // A template that has no rules for jobs hands on an empty list.
    state.role = inputs.get("rules").is_some_and(|rules| rules != "[]");
    state.receipt.service_account = harmless(inputs.get("service-account").unwrap_or_default());
    Ok(state)
}

/// The command that does it without jobpass.
fn by_hand(cause: &Error, anchor: &str, environment: &Environment) -> Error {
    let is_name = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let named = anchor
        .split_once('/')
        .filter(|(namespace, name)| is_name(namespace) && is_name(name));
    let command = match named {
        Some((namespace, name)) => format!("kubectl delete secret {name} --namespace {namespace}"),
        None => format!(
            "kubectl delete secrets --all-namespaces --selector app.kubernetes.io/managed-by=jobpass,jobpass.dev/run-id={}",
            harmless(environment.get("CI_PIPELINE_ID").unwrap_or("PIPELINE_ID"))
        ),
    };
    let error = Error::new(
        Kind::Revoke,
        format!("the token is not revoked: {}", cause.what()),
    );
    let error = match cause.to_string().split_once("\n\n") {
        Some((_, help)) => error.help(help),
        None => error,
    };
    error.help(format!(
        "until then the token works; revoke it by hand:\n\n  {command}"
    ))
}
