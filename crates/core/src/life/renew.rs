//! Renewing: for jobs that last longer than a token should.
//!
//! Every new token is bound to the same anchor, so that one delete ends them all. It takes the old one's place in
//! `token-file` and in the kubeconfig, which names that file as well: programs on client-go read it again every minute
//! (`transport/token_source.go`). Whoever renews holds the minter's credential for as long as that; the job's steps do not.

use std::{
    io::{self, Read},
    pin::pin,
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::Instant;

use crate::{
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    inputs::{
        checks::Checks,
        lifetime::Lifetime,
        metadata::Metadata,
        options::Inputs,
        spec::{Spec, TokenType},
    },
    life::token_request::{MINT, Minted, request_token},
    minter::Minter,
    process::{beside, environment::Environment, interrupt::Interrupt},
    record::{
        journal::{Entry, Journal},
        renewal::Renewal,
        state::State,
    },
    text::harmless,
    token::Token,
};

/// The verb that every front end has for [`in_background`].
pub const VERB: &str = "renew";

/// After this part of its life a token is renewed, as kubelets do it (`pkg/kubelet/token/token_manager.go`).
const OLD: f64 = 0.8;
/// How often it looks whether the end of the job has come.
const LOOK: Duration = Duration::from_millis(500);
/// The longest wait until a renewal that failed is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has a process of its own renew the token, until the end of the job removes the journal: this program, with [`VERB`] and the
/// state on its standard input. It inherits the variables in which the minter's credential may be. Does nothing for a token that
/// is not to be renewed.
///
/// It stays in the process group of the job, and goes with it.
///
/// # Errors
/// If it cannot be started, or ends at once: then with what it said.
pub fn in_background(state: &State) -> Result<(), Error> {
    if state.renewal.is_none() {
        return Ok(());
    }
    let json = state.json()?;
    beside::start(&[VERB], &json).map_err(|error| {
        let why = harmless(&error.to_string());
        Error::new(
            Kind::Deliver,
            format!("cannot start what renews the token: {why}"),
        )
    })
}

/// What that process does. Writes to `ready` when nothing keeps it from renewing.
///
/// # Errors
/// If it was given no state; as [`keep`]; a signal.
pub async fn run(
    mut state: impl Read,
    ready: impl io::Write,
    inputs: &Inputs,
    environment: &Environment,
    interrupt: &mut Interrupt,
) -> Result<(), Error> {
    let mut json = String::new();
    state
        .read_to_string(&mut json)
        .map_err(|error| Error::new(Kind::Internal, format!("cannot read the state: {error}")))?;
    let state = State::parse(&json)?;
    let ready = || beside::ready(ready);
    let mut kept = pin!(keep(&state, inputs, environment, ready));
    loop {
        tokio::select! {
            signal = interrupt.signal() => match signal {
                // The terminal of the step that it was started in is gone, as steps have one on some runners (`act`).
                Signal::HUP => {}
                signal => {
                    interrupt.again(signal);
                    return Err(interrupt.wait().await);
                }
            },
            kept = &mut kept => return kept,
        }
    }
}

/// Renews the token of `state` whenever it is old, until it lasts for as long as `renew-for`. What fails is written to the journal
/// and tried again. Calls `ready` when it begins.
///
/// # Errors
/// If there is nothing to renew any more: the anchor is gone, or the journal.
pub async fn keep(
    state: &State,
    inputs: &Inputs,
    environment: &Environment,
    ready: impl FnOnce(),
) -> Result<(), Error> {
    let (Some(renewal), Some(path)) = (&state.renewal, &state.files.journal) else {
        return Ok(());
    };
    let gone = || {
        Error::new(
            Kind::Revoke,
            "the token is not renewed any more: its journal is gone",
        )
    };
    let journal = Journal::open(path).map_err(|_| gone())?;
    ready();
    let removed = async {
        while journal.is_there() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        kept = whenever_old(state, renewal, &journal, inputs, environment) => kept,
        () = removed => Err(gone()),
    }
}

async fn whenever_old(
    state: &State,
    renewal: &Renewal,
    journal: &Journal,
    inputs: &Inputs,
    environment: &Environment,
) -> Result<(), Error> {
    let spec = spec(state, renewal);
    let mut minted = Instant::now();
    let end = minted + Duration::from_secs(renewal.seconds);
    let mut life = lifetime(state.receipt.minted, state.receipt.expires);
    let mut wait = life.mul_f64(OLD);
    let mut fails = false;
    // What a kubeconfig may hold.
    let mut handed_over = state.files.token().into_iter().collect::<Vec<_>>();
    while minted + life < end && Instant::now() < end {
        tokio::time::sleep(wait).await;
        let kept = match renew(state, &spec, inputs, environment).await {
            Ok(Some(new)) => keep_token(state, &new, &handed_over, journal).map(|()| new),
            Ok(None) => {
                let what = "the token is not renewed any more: its anchor is gone, so it is revoked";
                return Err(Error::new(Kind::Revoke, what));
            }
            Err(error) => Err(error),
        };
        match kept {
            Ok(new) => {
                handed_over.push(new.token);
                life = lifetime(time_of(new.claims.iat), time_of(new.claims.exp));
                minted = Instant::now();
                wait = life.mul_f64(OLD);
                fails = false;
            }
            Err(error) => {
                if !fails {
                    // Nobody but the end of the job could be told that this failed, too.
                    let _ = journal.write(&Entry::Failed {
                        at: jiff::Timestamp::now(),
                        why: harmless(&error.to_string()),
                    });
                }
                fails = true;
                wait = life.mul_f64((1.0 - OLD) / 4.0).min(PATIENCE);
            }
        }
    }
    Ok(())
}

fn time_of(seconds: Option<i64>) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(seconds?).ok()
}

async fn renew(
    state: &State,
    spec: &Spec,
    inputs: &Inputs,
    environment: &Environment,
) -> Result<Option<Minted>, Error> {
    let uid = state.receipt.anchor_uid.as_deref().unwrap_or_default();
    let work = async {
        // Anew each time: an ID token of a CI platform lives for minutes, what a plugin or a file gives perhaps, too.
        let minter = Minter::again(&state.connection, &state.auth, inputs, environment).await?;
        let cluster = Cluster::connect(&minter)?;
        let minted = request_token(&cluster, spec, &state.receipt.anchor, uid, &Budget::new(MINT)).await?;
        if let Some(minted) = &minted {
            minted.claims.verify(spec, uid)?;
        }
        Ok(minted)
    };
    // An exec plugin has its own limit; this one is for all of it.
    tokio::time::timeout(2 * MINT, work)
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::Unreachable, "renewing the token took too long")))
}

fn keep_token(state: &State, new: &Minted, handed_over: &[Token], journal: &Journal) -> Result<(), Error> {
    let write = |entry| {
        journal.write(&entry).map_err(|error| {
            let why = harmless(&error.to_string());
            Error::new(
                Kind::Deliver,
                format!("cannot write the journal of the token: {why}"),
            )
        })
    };
    // Before anybody can print it.
    write(Entry::Announced {
        token: new.token.clone(),
    })?;
    state.files.renew(&new.token, handed_over)?;
    // The end of the job, which has removed both, may have come in between.
    if !journal.is_there() {
        return state.files.remove();
    }
    write(Entry::Renewed {
        expires: time_of(new.claims.exp),
    })
}

/// What was asked for, but for what is made and asked once.
fn spec(state: &State, renewal: &Renewal) -> Spec {
    let receipt = &state.receipt;
    Spec {
        service_account: receipt.service_account.clone(),
        token_type: TokenType::Bound,
        rules: Vec::new(),
        namespace: receipt.namespace.clone(),
        lifetime: renewal.lifetime,
        renew_for: None,
        audiences: match state.for_api_server {
            true => Vec::new(),
            false => receipt.audiences.clone(),
        },
        checks: Checks::default(),
        metadata: Metadata::default(),
    }
}

/// As long as the API server says, by its own clock.
fn lifetime(minted: Option<jiff::Timestamp>, expires: Option<jiff::Timestamp>) -> Duration {
    let life = minted
        .zip(expires)
        .map(|(minted, expires)| expires.duration_since(minted));
    // What has no end needs no renewal; what lives for no time would be renewed without pause.
    life.map_or(Duration::from_secs(Lifetime::MOST), |life| {
        Duration::try_from(life)
            .unwrap_or_default()
            .max(Duration::from_secs(1))
    })
}
