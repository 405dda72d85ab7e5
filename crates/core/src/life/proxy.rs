//! A job's loopback proxy, from its opening to its end.
//!
//! The process that runs the proxy keeps a lock on the journal while the proxy is open. To close the proxy,
//! the end of the job removes the journal, and waits until the lock is free. If somebody kills the process,
//! the kernel releases its lock.

use std::{
    io::{Read, Write},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    claims::account::Account,
    cluster::Proxy,
    error::{Error, Kind},
    inputs::{options::Inputs, proxy::Settings},
    life::renew,
    process::{beside, environment::Environment, interrupt::Interrupt, system::remove_file},
    proxy::{Door, LoopbackProxy},
    record::{
        journal::{Entry, Journal, Reader},
        state::State,
    },
    text::harmless,
    token::Token,
};

/// The time between two looks at the journal, which the end of the job removes. All connections must be
/// closed within 100 ms of the removal.
const LOOK: Duration = Duration::from_millis(25);
/// The time for which the end of the job waits until the process of a proxy releases its lock.
const CLOSING: Duration = Duration::from_secs(1);
/// The time between two checks of whether a proxy has closed.
const CLOSED: Duration = Duration::from_millis(5);

/// An open proxy of a job.
pub struct JobProxy {
    proxy: LoopbackProxy,
    journal: Journal,
    /// The time at which the input `duration` is over.
    end: Instant,
}

impl JobProxy {
    /// Opens the proxy that `state` records. The proxy sends `token` to the API server.
    ///
    /// # Errors
    /// If the state has no proxy, or if jobpass cannot create the proxy's journal. Also as
    /// [`LoopbackProxy::start`].
    pub fn open(state: &State, token: &Token) -> Result<Self, Error> {
        let (Some(settings), Some(path), Some(renewal)) =
            (&state.proxy, &state.files.journal, &state.renewal)
        else {
            return Err(Error::defect("the state records no proxy"));
        };
        let journal = Journal::create(path)?;
        let proxy = start(state, token, settings).inspect_err(|_| drop(remove_file(path)))?;
        Ok(Self {
            proxy,
            journal,
            end: Instant::now() + Duration::from_secs(renewal.seconds),
        })
    }

    /// The address of the proxy, and its bearer.
    pub fn door(&self) -> &Door {
        self.proxy.door()
    }

    /// Renews the token until the proxy must close. Returns `Ok` when the job's `duration` is over.
    ///
    /// # Errors
    /// If the anchor or the journal is gone.
    pub async fn serve(
        &self,
        state: &State,
        inputs: &Inputs,
        environment: &Environment,
    ) -> Result<(), Error> {
        let refusals = self.proxy.refusals();
        let renewal = async {
            let replace = |new: &_| self.proxy.replace_token(new);
            renew::renew_held(state, &self.journal, inputs, environment, replace, &refusals).await?;
            // The last token lasts until the end of `duration`.
            std::future::pending().await
        };
        let removed = async {
            while self.journal.is_there() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            renewed = renewal => renewed,
            () = tokio::time::sleep_until(self.end) => Ok(()),
            () = removed => {
                let path = self.journal.path();
                let what = format!("the proxy is closed: somebody removed or replaced its journal `{path}`");
                Err(Error::new(Kind::Revoke, what).help(
                    "find the command that removes files in the journal's folder, and exclude the journal",
                ))
            }
        }
    }

    /// Closes the proxy. When this returns, no connection is open.
    pub async fn close(&self) {
        self.proxy.close().await;
        self.journal.unlock();
    }
}

fn start(state: &State, token: &Token, settings: &Settings) -> Result<LoopbackProxy, Error> {
    let account = Account {
        namespace: state.receipt.namespace.clone(),
        name: state.receipt.service_account.clone(),
    };
    LoopbackProxy::start(state.for_job(), token, settings, &account)
}

/// The secrets in the [`message`] to a process that opens a proxy. The state beside them holds no secret.
#[derive(Deserialize)]
struct Secrets {
    token: SecretString,
    /// The HTTP or SOCKS proxy in front of the API server, as a URL with its user and password.
    proxy: Option<SecretString>,
}

/// The standard input of a process that opens a proxy: the state on one line, the secrets on the next.
///
/// # Errors
/// As [`State::json`].
pub fn message(state: &State, token: &Token) -> Result<Zeroizing<String>, Error> {
    let proxy = state.for_job().proxy.as_ref().and_then(Proxy::uri);
    let proxy = proxy.map(|uri| uri.to_string());
    let secrets = serde_json::json!({"token": token.expose(), "proxy": proxy});
    Ok(Zeroizing::new(format!("{}\n{secrets}\n", state.json()?)))
}

/// Reads the text of [`message`], or a state without a proxy.
///
/// # Errors
/// If the text is neither of the two. The error does not quote the text.
pub fn parse(message: &str) -> Result<(State, Option<Token>), Error> {
    let (state, secrets) = message.split_once('\n').unwrap_or((message, ""));
    let mut state = State::parse(state)?;
    if state.proxy.is_none() {
        return Ok((state, None));
    }
    let secrets = serde_json::from_str::<Secrets>(secrets)
        .map_err(|_| Error::defect("the message holds no token for the proxy"))?;
    let credentials = secrets.proxy.as_ref();
    let credentials = credentials.and_then(|url| Proxy::parse("proxy", url.expose_secret()).ok());
    let connection = state.job_server.as_mut().unwrap_or(&mut state.connection);
    connection.proxy = connection
        .proxy
        .take()
        .map(|proxy| proxy.with_credentials_of([credentials]));
    Ok((state, Some(Token::parse(secrets.token.expose_secret(), "token")?)))
}

/// Starts a process that runs the proxy of `state`: this program with [`renew::VERB`]. The process ends when
/// `duration` is over, when the anchor or the journal is gone (the end of the job removes both), or after a
/// signal other than SIGHUP.
///
/// # Errors
/// As [`message`]. Also if the process does not start, ends at once, is not ready within 5 s, or does not say
/// where the proxy listens. If the process does not become ready, the error holds its output.
pub fn in_background(state: &State, token: &Token) -> Result<Door, Error> {
    beside(&[renew::VERB], state, token)
}

/// Like [`in_background`], with these arguments for this program.
///
/// # Errors
/// As [`in_background`].
pub fn beside(arguments: &[&str], state: &State, token: &Token) -> Result<Door, Error> {
    let started = beside::start_and_hear(arguments, &message(state, token)?);
    let said = started.map_err(|error| {
        let why = harmless(&error.to_string());
        let what = format!("cannot start the process that holds the proxy: {why}");
        Error::new(Kind::Deliver, what).help(beside::NEXT_STEP)
    })?;
    Door::parse(&Zeroizing::new(said))
}

/// Tells the process that started this one where the proxy listens.
///
/// # Errors
/// As [`json::text`](crate::json::text).
pub fn tell(output: impl Write, proxy: &JobProxy) -> Result<(), Error> {
    beside::ready_and_say(output, &proxy.door().json()?);
    Ok(())
}

/// The work of the process that [`in_background`] starts: opens the proxy, and runs it until its end.
///
/// # Errors
/// As [`JobProxy::open`], [`tell`] and [`JobProxy::serve`]. Also after a signal other than SIGHUP.
pub(crate) async fn run(
    state: &State,
    token: &Token,
    output: impl Write,
    inputs: &Inputs,
    environment: &Environment,
    interrupt: &mut Interrupt,
) -> Result<(), Error> {
    let proxy = JobProxy::open(state, token)?;
    tell(output, &proxy)?;
    let served = renew::until_signal(proxy.serve(state, inputs, environment), interrupt).await;
    proxy.close().await;
    served
}

/// The result of closing a proxy.
pub(crate) struct Closed {
    /// Whether the proxy is certainly closed: its process has closed it, or has ended.
    pub(crate) is_certain: bool,
    /// The entries of the journal of the proxy.
    pub(crate) journal: Vec<Entry>,
}

/// Removes the journal, so that the process that runs the proxy closes the proxy. Waits at most 2 s until the
/// proxy is closed. `None` if the state has no proxy.
pub(crate) async fn close(state: &State) -> Option<Closed> {
    let path = state.proxy.as_ref().and(state.files.journal.clone())?;
    let until = std::time::Instant::now() + CLOSING;
    let closing = tokio::task::spawn_blocking(move || {
        let mut reader = Reader::new(&path);
        let _ = remove_file(&path);
        let is_closed = || loop {
            match reader.is_locked() {
                // A step of the job has removed the journal. That closes the proxy, but without the file
                // jobpass cannot see the lock.
                None => return false,
                Some(false) => return true,
                Some(true) if std::time::Instant::now() > until => return false,
                Some(true) => std::thread::sleep(CLOSED),
            }
        };
        Closed {
            is_certain: is_closed(),
            journal: reader.news(),
        }
    });
    // A file system that does not answer must not keep jobpass from revoking.
    let closed = tokio::time::timeout(2 * CLOSING, closing).await;
    Some(closed.ok().and_then(Result::ok).unwrap_or(Closed {
        is_certain: false,
        journal: Vec::new(),
    }))
}

/// Reads the message on the standard input of a process beside the job.
///
/// # Errors
/// As [`parse`]. Also if the read fails.
pub fn read(mut input: impl Read) -> Result<(State, Option<Token>), Error> {
    let mut text = Zeroizing::new(String::new());
    input
        .read_to_string(&mut text)
        .map_err(|error| Error::defect(format!("cannot read the state: {error}")))?;
    parse(&text)
}
