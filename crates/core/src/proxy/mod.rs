//! The loopback proxy: an HTTPS server on 127.0.0.1 that holds the job's token, so that the job never has it.
//!
//! The job's kubeconfig names the proxy, the proxy's certificate, and a bearer that only this proxy accepts.
//! The proxy passes each request on to the API server, with the token in place of the bearer:
//!
//! ```text
//! kubectl -- bearer, loopback --> proxy -- token, HTTP proxy and CA of the cluster --> API server
//! ```
//!
//! The proxy runs on a thread of its own. When the proxy closes, the thread drops its tasks and their
//! sockets. So no connection, watch or shell stays open.

mod bearer;
mod certificate;
mod far;
mod forward;
mod listener;
pub mod record;
mod status;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::{Notify, oneshot, watch};
use zeroize::Zeroizing;

use self::{bearer::Bearer, certificate::Certificate, far::Far, forward::Forward, record::Record};
use crate::{
    claims::account::Account,
    cluster::{Connection, Dial, Identity, install_crypto},
    error::{Error, Kind},
    inputs::{options::Opt, proxy::Settings},
    json,
    rbac::Allowed,
    text::harmless,
    token::Token,
};

/// The address of a proxy, and the bearer that it accepts: the content of a job's kubeconfig.
#[derive(Clone)]
pub struct Door {
    /// The server on the loopback address, and its certificate authority.
    pub connection: Connection,
    /// The bearer: 256 random bits.
    pub bearer: Token,
}

/// A [`Door`] as one process sends it to another.
#[derive(Deserialize)]
struct Told {
    connection: Connection,
    bearer: SecretString,
}

impl Door {
    /// The door as one line of JSON. The line holds the bearer: only the parent process may get it.
    ///
    /// # Errors
    /// As [`json::text`].
    pub(crate) fn json(&self) -> Result<Zeroizing<String>, Error> {
        let (connection, bearer) = (&self.connection, self.bearer.expose());
        let told = serde_json::json!({"connection": connection, "bearer": bearer});
        json::text(&told).map(Zeroizing::new)
    }

    /// Reads the text of [`Door::json`].
    ///
    /// # Errors
    /// If [`Door::json`] did not write the text. The error does not quote the text.
    pub(crate) fn parse(json: &str) -> Result<Self, Error> {
        let told = serde_json::from_str::<Told>(json)
            .map_err(|_| Error::defect("the proxy did not say where it listens"))?;
        Ok(Self {
            connection: told.connection,
            bearer: Token::parse(told.bearer.expose_secret(), "proxy")?,
        })
    }
}

/// A running proxy. Dropping this value closes the proxy.
pub struct LoopbackProxy {
    door: Door,
    forward: Arc<Forward>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    /// The thread closes this channel when it has dropped all connections.
    ended: watch::Receiver<()>,
}

impl LoopbackProxy {
    /// Starts a proxy in front of the API server of `connection`. The proxy sends `token` with each request.
    /// `account` is the token's ServiceAccount.
    ///
    /// # Errors
    /// If `allow` is wrong, if jobpass cannot use the server's certificates or create the file for the
    /// record, if the operating system returns no random bytes, or if no port or no thread is free.
    pub fn start(
        connection: &Connection,
        token: &Token,
        settings: &Settings,
        account: &Account,
    ) -> Result<Self, Error> {
        install_crypto();
        let allow = settings.allow.as_deref();
        let allow = allow.map(|text| Allowed::parse(Opt::Allow.name(), text, &account.namespace));
        // This connection lacks the minter's client certificate, which kube-apiserver would prefer to the
        // token.
        let far = Far::new(Dial::new(connection, &Identity::default())?);
        let (bearer, certificate) = (Bearer::new()?, Certificate::new()?);
        let record = settings.record.as_deref();
        let record = record.map(|path| Record::create(path, account)).transpose()?;
        let token_of_door = bearer.token().clone();
        let forward = Arc::new(Forward::new(far, bearer, token, allow.transpose()?, record)?);

        let (listener, address) = listener::bind().map_err(|error| cannot_start(&error))?;
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = watch::channel(());
        let (starting, started) = mpsc::sync_channel(1);
        let serving = listener::serve(listener, certificate.tls, Arc::clone(&forward));
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(starting.send(Err(error))),
            };
            drop(starting.send(Ok(())));
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
            // This drops every task with its sockets. It does not wait for a name lookup that still runs.
            runtime.shutdown_background();
            drop(ending);
        });
        thread.map_err(|error| cannot_start(&error))?;
        let started = started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("its thread ended")));
        started.map_err(|error| cannot_start(&error))?;
        Ok(Self {
            door: Door {
                connection: Connection {
                    certificate_authority: Some(certificate.authority),
                    ..Connection::new("proxy", &format!("https://{address}"), None)?
                },
                bearer: token_of_door,
            },
            forward,
            stop: Mutex::new(Some(stop)),
            ended,
        })
    }

    /// The address of the proxy, and its bearer.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Replaces the token. Requests that have begun keep the earlier token.
    ///
    /// # Errors
    /// If no header can carry the token.
    pub(crate) fn replace_token(&self, token: &Token) -> Result<(), Error> {
        self.forward.replace_token(token)
    }

    /// Returns a [`Notify`] that wakes the renewer when the API server answers 401. Several answers may give
    /// one notification.
    pub(crate) fn refusals(&self) -> Arc<Notify> {
        self.forward.refusals()
    }

    /// Closes the proxy. When this returns, no connection is open.
    pub async fn close(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        // The thread closes the channel when it ends, so the result is an error.
        let _ = self.ended.clone().changed().await;
    }
}

fn cannot_start(error: &io::Error) -> Error {
    let why = harmless(&error.to_string());
    Error::new(
        Kind::Deliver,
        format!("cannot start the proxy on 127.0.0.1: {why}"),
    )
    .help("check this machine's limits for ports, open files and threads")
}

#[cfg(test)]
mod tests;
