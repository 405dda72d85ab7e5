//! Renewing: for jobs that last longer than a token should.
//!
//! Every new token is bound to the same anchor, so that one delete ends them all. It takes the old one's place in
//! `token-file`: a kubeconfig that names such a file is enough for programs on client-go, which read it again every minute
//! (`transport/token_source.go`). Whoever renews holds the minter's credential for as long as that; the job's steps do not.

use std::{
    io::{self, Read, Write as _},
    path::Path,
    pin::pin,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    access::Checks,
    cluster::{Budget, Cluster},
    environment::Environment,
    error::{Error, Kind},
    interrupt::Interrupt,
    journal::{self, Entry, Journal, Reader},
    mint::{MINT, Minted, request_token},
    minter::Minter,
    options::Inputs,
    spec::{Lifetime, Spec, TokenType, in_words},
    state::State,
    text::{harmless, time},
};

/// The verb that every front end has for [`in_background`].
pub const VERB: &str = "renew";

/// After this part of its life a token is renewed, as kubelets do it (`pkg/kubelet/token/token_manager.go`).
const OLD: f64 = 0.8;
/// How long the process that renews may take until it is ready.
const STARTING: Duration = Duration::from_secs(5);
/// The longest wait until a renewal that failed is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a token is renewed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Renewal {
    /// What is asked for each time.
    pub(crate) lifetime: Lifetime,
    /// How long.
    pub(crate) seconds: u64,
}

impl Renewal {
    /// As it reads after when the token expires.
    pub fn in_words(this: Option<&Self>) -> String {
        this.map_or_else(String::new, |renewal| {
            format!("; renewed before, for {}", in_words(renewal.seconds))
        })
    }
}

/// Has a process of its own renew the token, until the end of the job stops it: this program, with [`VERB`] and the state on its
/// standard input. It inherits the variables in which the minter's credential may be. Does nothing for a token that is not to be
/// renewed.
///
/// It stays in the process group of the job, and goes with it.
///
/// # Errors
/// If it cannot be started.
pub fn in_background(state: &State) -> Result<(), Error> {
    let Some(journal) = state.files.journal.as_ref().filter(|_| state.renewal.is_some()) else {
        return Ok(());
    };
    start(state, journal).map_err(|error| {
        let why = harmless(&error.to_string());
        Error::new(
            Kind::Deliver,
            format!("cannot start what renews the token: {why}"),
        )
    })
}

fn start(state: &State, journal: &Path) -> io::Result<()> {
    let mut renewer = Command::new(std::env::current_exe()?)
        .arg(VERB)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = renewer.stdin.take() {
        stdin.write_all(state.json().as_bytes())?;
    }
    // Until it has the journal, it could end with whatever started this process.
    let started = Instant::now();
    while !journal::has_writer(journal) {
        if let Some(status) = renewer.try_wait()? {
            return Err(io::Error::other(format!("it ended at once ({status})")));
        }
        if started.elapsed() > STARTING {
            renewer.kill()?;
            renewer.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// What that process does.
///
/// # Errors
/// If it was given no state; as [`keep`]; a signal.
pub async fn run(
    mut state: impl Read,
    inputs: &Inputs,
    environment: &Environment,
    interrupt: &mut Interrupt,
) -> Result<(), Error> {
    let mut json = String::new();
    state
        .read_to_string(&mut json)
        .map_err(|error| Error::new(Kind::Internal, format!("cannot read the state: {error}")))?;
    let state = State::parse(&json)?;
    let mut kept = pin!(keep(&state, inputs, environment));
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

/// Renews the token of `state` whenever it is old, until `renew-for` is over. What fails is written to the journal and tried
/// again.
///
/// # Errors
/// If there is nothing to renew any more.
pub async fn keep(state: &State, inputs: &Inputs, environment: &Environment) -> Result<(), Error> {
    let (Some(renewal), Some(path)) = (&state.renewal, &state.files.journal) else {
        return Ok(());
    };
    let over = || Error::new(Kind::Revoke, "the token is not renewed any more: it is revoked");
    let mut journal = Journal::open(path).map_err(|_| over())?;
    let spec = spec(state, renewal);
    let started = Instant::now();
    let mut life = lifetime(state.receipt.minted, state.receipt.expires);
    let mut minted = started;
    let mut wait = life.mul_f64(OLD);
    let mut fails = false;
    let end = started + Duration::from_secs(renewal.seconds);
    while minted + life < end && Instant::now() < end {
        tokio::time::sleep(wait).await;
        let renewed = renew(state, &spec, inputs, environment).await;
        if !journal.is_there() {
            return Err(over());
        }
        let kept = match renewed {
            Ok(Some(new)) => keep_token(state, &new, &mut journal).map(|()| new),
            Ok(None) => return Err(over()),
            Err(error) => Err(error),
        };
        match kept {
            Ok(new) => {
                let at = |seconds: Option<i64>| jiff::Timestamp::from_second(seconds?).ok();
                life = lifetime(at(new.claims.iat), at(new.claims.exp));
                minted = Instant::now();
                wait = life.mul_f64(OLD);
                fails = false;
            }
            Err(error) => {
                if !fails {
                    // Nobody but the end of the job could be told that this failed, too.
                    let _ = journal.write(&Entry::Failed {
                        at: jiff::Timestamp::now(),
                        why: error.what().to_owned(),
                    });
                }
                fails = true;
                wait = life.mul_f64(1.0 - OLD).mul_f64(0.25).min(PATIENCE);
            }
        }
    }
    Ok(())
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

fn keep_token(state: &State, new: &Minted, journal: &mut Journal) -> Result<(), Error> {
    let entry = Entry::Renewed {
        token: new.token.clone(),
        expires: new
            .claims
            .exp
            .and_then(|exp| jiff::Timestamp::from_second(exp).ok()),
    };
    // Before anybody can print it.
    journal.write(&entry).map_err(|error| {
        let why = harmless(&error.to_string());
        Error::new(
            Kind::Deliver,
            format!("cannot write the journal of the token: {why}"),
        )
    })?;
    state.files.renew(&new.token)
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

/// Ends what renews the token of `state` in the background: a token that was renewed after this would be bound to an anchor that
/// is gone. Completes the receipt, and gives what a person should know.
pub(crate) async fn stop(state: &mut State) -> Option<String> {
    let journal = state.files.journal.as_ref()?;
    let was_there = journal::stop_writer(journal).await;
    let receipt = &mut state.receipt;
    let mut failed = None;
    for entry in Reader::new(journal.clone()).news() {
        match entry {
            Entry::Renewed { expires, .. } => {
                receipt.renewed += 1;
                receipt.expires = expires;
                failed = None;
            }
            Entry::Failed { at, why } => {
                failed = Some(format!("the token was not renewed from {} on: {why}", time(at)));
            }
        }
    }
    let expired = receipt
        .expires
        .filter(|expires| *expires < jiff::Timestamp::now());
    match (failed, expired) {
        (None, Some(expired)) if !was_there && state.renewal.is_some() => Some(format!(
            "the token expired at {}: what renews it had ended before the job did, because something stopped it, or because \
             `renew-for` was over",
            time(expired)
        )),
        (failed, _) => failed,
    }
}
