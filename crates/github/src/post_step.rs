//! `jobpass-github post`: the end of the job, whatever happened in it.
//!
//! Later steps could change every variable but `STATE_*`: where to connect to comes from the state alone.

use std::time::Duration;

use jobpass_core::{
    Error, Kind,
    claims::Claims,
    cluster::{Budget, Cluster},
    interrupt::Interrupt,
    minter::Minter,
    options::Inputs,
    receipt::Proof,
    revoke::{self, Revoked},
    spec::{Spec, verify_revocation},
    state::{PINNED_VARIABLES, State},
    text::harmless,
    token::Token,
};

use crate::{
    commands::{self, say},
    job::Job,
    summary,
};

/// Deleting, proving with `wait`, retries: all of it.
const REVOKE: Duration = Duration::from_secs(40);
/// What is left of it once the job is told to stop.
const HURRY: Duration = Duration::from_secs(5);

pub(crate) async fn run(job: &Job, interrupt: Interrupt) -> Result<(), Error> {
    let inputs = job.inputs_in_post()?;
    let (recorded, anchor) = (job.state("jobpass"), job.state("anchor"));
    let outcome = match (recorded, anchor) {
        (None, None) => {
            say("jobpass: nothing to revoke: main recorded no state, so it created nothing");
            return Ok(());
        }
        (recorded, anchor) => match State::parse(recorded.unwrap_or_default()) {
            Ok(state) => revoke(job, &inputs, state, interrupt).await,
            Err(error) => {
                commands::warning(&error);
                match reconstruct(job, &inputs, anchor).await {
                    Ok(state) => revoke(job, &inputs, state, interrupt).await,
                    Err(cause) => Err(lost(job, &cause)),
                }
            }
        },
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
    // Read it for the proof, then remove it whatever happens next.
    let token = delivered_token(&state);
    let removed = state.files.remove();
    let environment = PINNED_VARIABLES
        .iter()
        .fold(job.environment.clone(), |environment, name| {
            environment.with(name, state.environment.get(*name).map(String::as_str))
        });
    let work = async {
        let minter = Minter::again(&state.connection, &state.auth, inputs, &environment).await;
        let minter = minter.map_err(|error| revoke::by_hand(error, &state))?;
        let cluster = Cluster::connect(&minter).map_err(|error| revoke::by_hand(error, &state))?;
        let verify = verify_revocation(inputs).unwrap_or(revoke::Verify::Quick);
        revoke::revoke(&cluster, &state, token.as_ref(), verify, Budget::new(REVOKE)).await
    };
    let revoked = tokio::select! {
        revoked = work => revoked,
        interrupted = async {
            let interrupted = interrupt.wait().await;
            tokio::time::sleep(HURRY).await;
            interrupted
        } => Err(revoke::by_hand(interrupted, &state)),
    };
    let revoked = match revoked {
        Ok(revoked) => revoked,
        Err(error) => {
            summary::not_revoked(job, &state, &error);
            return Err(error);
        }
    };
    report(job, &mut state, revoked);
    removed
}

fn report(job: &Job, state: &mut State, Revoked { proof, note }: Revoked) {
    state.receipt.revoked = Some(jiff::Timestamp::now());
    state.receipt.proof = Some(proof);
    let receipt = &state.receipt;
    if receipt.minted.is_none() {
        say(&format!(
            "jobpass: anchor {}/{} is gone; no token was handed over",
            receipt.namespace, receipt.anchor
        ));
    } else {
        say(&format!(
            "jobpass: revoked the token of ServiceAccount {}/{}\n  anchor  {} is deleted\n  proof   {}",
            receipt.namespace,
            receipt.service_account,
            receipt.anchor,
            proof.sentence()
        ));
        summary::revoked(job, receipt);
    }
    if let Some(note) = note {
        commands::warning(&Error::new(Kind::Revoke, note));
    }
    if proof == Proof::NotAsked {
        say("  (set `verify-revocation: quick` or `wait` to have it proven)");
    }
}

/// The token from its file, if it still is ours: a later step may have put something else there.
fn delivered_token(state: &State) -> Option<Token> {
    let token = state.files.token()?;
    let claims = Claims::decode(&token).ok()?;
    let anchor = claims.kubernetes?.secret?.uid;
    (anchor.is_some() && anchor == state.receipt.anchor_uid).then_some(token)
}

/// A state that can revoke, from the anchor's name alone; where to connect to can then only come from the inputs.
async fn reconstruct(job: &Job, inputs: &Inputs, anchor: Option<&str>) -> Result<State, Error> {
    let unknown = || Error::new(Kind::Revoke, "the anchor's name was not recorded either");
    let (namespace, anchor) = anchor
        .and_then(|anchor| anchor.split_once('/'))
        .ok_or_else(unknown)?;
    let is_ours = anchor
        .strip_prefix("jobpass-")
        .is_some_and(|random| random.bytes().all(|b| b.is_ascii_alphanumeric()));
    let namespace = Some(namespace).filter(|_| is_ours).ok_or_else(unknown)?;
    let minter = Minter::resolve(inputs, &job.environment).await?;
    let mut spec = Spec::parse(inputs, minter.namespace.as_deref())?;
    spec.namespace = namespace.to_owned();
    let mut state = State::new(
        &minter,
        &spec,
        &Inputs::default(),
        std::path::Path::new("."),
        &job.environment,
    )?;
    state.receipt.anchor = anchor.to_owned();
    Ok(state)
}

fn lost(job: &Job, cause: &Error) -> Error {
    let run = harmless(job.environment.get("GITHUB_RUN_ID").unwrap_or("RUN_ID"));
    Error::new(Kind::Revoke, format!("it is not known what to revoke: {}", cause.what())).help(format!(
        "if main minted a token, it works until it expires; find and delete this run's anchors by hand:\n\n  \
         kubectl delete secrets --all-namespaces --field-selector type=jobpass.dev/anchor --selector jobpass.dev/run-id={run}"
    ))
}
