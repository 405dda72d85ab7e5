//! How the API server is reached.

use serde::{Deserialize, Serialize};

use super::{Authority, Proxy, url::server_url};
use crate::{error::Error, process::environment::Environment};

/// How the API server is reached. Holds no secret once serialised.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connection {
    /// `https://HOST[:PORT][/PATH]`.
    pub server: String,
    /// PEM of the certificate authority; without it, the system's roots count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// The name that the server's certificate must carry, if not the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// The proxy in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Certificates that count beside the system's roots, PEM. Never recorded: found again at the end of the job.
    #[serde(skip)]
    pub(crate) extra_authorities: Option<String>,
}

impl Connection {
    pub(crate) fn new(input: &str, server: &str, authority: Option<Authority>) -> Result<Self, Error> {
        let server = server_url(server).ok_or_else(|| {
            Error::input(
                input,
                "names no server that a credential may be sent to",
                "use an https URL such as `https://10.0.0.1:6443`, without user and password",
            )
        })?;
        Ok(Self {
            server,
            certificate_authority: authority.map(|authority| authority.pem()),
            tls_server_name: None,
            proxy: None,
            extra_authorities: None,
        })
    }
}

impl Connection {
    /// The connection with the user and password of its proxy, which no state records. The environment may have changed since:
    /// another proxy does not count.
    pub(crate) fn with_credentials_of_proxy(mut self, environment: &Environment) -> Self {
        let now = Proxy::from_environment(&self.server, environment);
        self.proxy = self.proxy.map(|proxy| proxy.with_credentials_of([now]));
        self
    }
}
