//! The loopback proxy: an HTTPS server on 127.0.0.1 that holds the job's token, so that the job never has it.
//!
//! The job's kubeconfig names the proxy, the proxy's certificate, and a bearer that counts nowhere else. The
//! proxy passes each request on to the API server, with the token in place of the bearer:
//!
//! ```text
//! kubectl -- bearer, loopback --> proxy -- token, proxies and certificates as for the minter --> API server
//! ```
//!
//! The proxy runs on a thread of its own. When it closes, the thread drops its tasks and their sockets. So no
//! connection, watch or shell stays open.

mod bearer;
mod certificate;
mod far;
mod forward;
mod listener;
pub mod record;
mod status;

use std::{path::PathBuf, sync::Arc, thread};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

use self::{bearer::Bearer, certificate::Certificate, far::Far, forward::Forward, record::Record};
use crate::{
    cluster::{Connection, Dial, Identity, install_crypto},
    error::{Error, Kind},
    inputs::options::Opt,
    rbac::Allowed,
    text::harmless,
    token::Token,
};

/// The settings of a proxy. The state records them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The permissions beyond which the proxy passes no request, as the input `allow` gives them. Without
    /// them, the proxy passes every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
    /// The file for the record of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
}

/// The address of a proxy, and the bearer that it takes: the content of a job's kubeconfig.
#[derive(Clone)]
pub struct Door {
    /// The server on the loopback address, and its certificate authority.
    pub connection: Connection,
    /// 256 random bits.
    pub bearer: Token,
}

/// A proxy that runs. It ends when this is dropped.
pub struct LoopbackProxy {
    door: Door,
    forward: Arc<Forward>,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

impl LoopbackProxy {
    /// Starts a proxy before the API server of `connection`, with `token`. `namespace` is that of the token's
    /// ServiceAccount.
    ///
    /// # Errors
    /// If `allow` is wrong, if the file for the record cannot be created, or if no port is free.
    pub fn start(
        connection: &Connection,
        token: &Token,
        settings: &Settings,
        namespace: &str,
    ) -> Result<Self, Error> {
        install_crypto();
        let allow = settings.allow.as_deref();
        let allow = allow.map(|text| Allowed::parse(Opt::Allow.name(), text, namespace));
        // Without the minter's certificate: kube-apiserver would prefer it to the token.
        let far = Far::new(Dial::new(connection, &Identity::default())?);
        let (bearer, certificate) = (Bearer::new()?, Certificate::new()?);
        let record = settings.record.as_deref().map(Record::create).transpose()?;
        let token_of_door = bearer.token().clone();
        let forward = Arc::new(Forward::new(far, bearer, token, allow.transpose()?, record)?);

        let cannot_listen = |error: &std::io::Error| {
            let why = harmless(&error.to_string());
            Error::new(
                Kind::Deliver,
                format!("cannot listen on 127.0.0.1 for the proxy: {why}"),
            )
        };
        let (listener, address) = listener::bind().map_err(|error| cannot_listen(&error))?;
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let serving = listener::serve(listener, certificate.tls, Arc::clone(&forward));
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async {
                    tokio::select! {
                        () = serving => {}
                        _ = stopped => {}
                    }
                });
                // This drops every task with its sockets, and waits for no name lookup.
                runtime.shutdown_background();
            }
            let _ = ending.send(());
        });
        thread.map_err(|error| cannot_listen(&error))?;
        Ok(Self {
            door: Door {
                connection: Connection {
                    certificate_authority: Some(certificate.authority),
                    ..Connection::new("proxy", &format!("https://{address}"), None)?
                },
                bearer: token_of_door,
            },
            forward,
            stop: Some(stop),
            ended,
        })
    }

    /// The address and the bearer.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Replaces the token. Requests that have begun keep their own.
    ///
    /// # Errors
    /// If no header can carry the token.
    pub(crate) fn replace_token(&self, token: &Token) -> Result<(), Error> {
        self.forward.replace_token(token)
    }

    /// Notifies of each answer 401 from the API server.
    pub(crate) fn refusals(&self) -> Arc<Notify> {
        self.forward.refusals()
    }

    /// Closes the proxy. When this returns, no connection is open.
    pub async fn close(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.ended).await;
    }
}

#[cfg(test)]
mod tests;
