//! The connection settings for an API server: the URL, the certificates, the proxy.

use serde::{Deserialize, Serialize};

use super::{
    Authority, Proxy,
    url::{GoUrl, server_url},
};
use crate::{error::Error, process::environment::Environment};

/// The settings for the connection to an API server. The serialised form holds no secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connection {
    /// `https://HOST[:PORT][/PATH]`.
    pub server: String,
    /// The certificate authority in PEM. Without it, jobpass trusts the authorities of this system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// The name in the server's certificate, if it differs from the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// The proxy between this machine and the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Certificates in PEM that jobpass trusts in addition to those of this system. The state does not record
    /// them: the end of the job reads them again.
    #[serde(skip)]
    pub(crate) extra_authorities: Option<String>,
}

impl Connection {
    pub(crate) fn new(input: &str, server: &str, authority: Option<Authority>) -> Result<Self, Error> {
        let server = server_url(server).ok_or_else(|| {
            Error::input(
                input,
                "names no server to which jobpass may send a credential",
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

    /// Whether the server's address is one that leads every machine to itself, such as `127.0.0.1`.
    pub(crate) fn is_loopback(&self) -> bool {
        GoUrl::parse(&self.server).is_some_and(|url| url.is_loopback())
    }

    /// Adds the user and the password of the proxy. No state records them, so they come from the environment,
    /// which may have changed. If the environment names another proxy now, jobpass does not use that proxy's
    /// credentials.
    pub(crate) fn with_credentials_of_proxy(mut self, environment: &Environment) -> Self {
        let now = Proxy::from_environment(&self.server, environment);
        self.proxy = self.proxy.map(|proxy| proxy.with_credentials_of([now]));
        self
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SERVER: &str = "https://k8s.example.com";

    fn through(proxy: Option<&str>) -> Connection {
        let mut connection = Connection::new("server", SERVER, None).expect("a server");
        let environment = Environment::default().with("https_proxy", proxy);
        connection.proxy = Proxy::from_environment(SERVER, &environment);
        connection
    }

    /// A job can change its variables before it ends. The end of the job finds a password in the environment,
    /// and sends it only to the recorded proxy. It adds no proxy.
    #[rstest]
    #[case::the_same(Some("http://u:p@proxy:3128"), Some("http://u:p@proxy:3128"), Some(("http://proxy:3128", true)))]
    #[case::another_proxy(Some("http://u:p@proxy:3128"), Some("http://u:p@evil:3128"), Some(("http://proxy:3128", false)))]
    #[case::gone(Some("http://u:p@proxy:3128"), None, Some(("http://proxy:3128", false)))]
    #[case::a_new_one(None, Some("http://u:p@evil:3128"), None)]
    fn only_the_recorded_proxy_gets_its_password(
        #[case] recorded: Option<&str>,
        #[case] now: Option<&str>,
        #[case] expected: Option<(&str, bool)>,
    ) {
        let state = serde_json::to_string(&through(recorded)).expect("JSON");
        assert!(!state.contains("u:p"), "{state}");
        let read = serde_json::from_str::<Connection>(&state).expect("a connection");
        let environment = Environment::default().with("https_proxy", now);
        let proxy = read.with_credentials_of_proxy(&environment).proxy;
        let proxy = proxy
            .as_ref()
            .map(|proxy| (proxy.url(), proxy.authorization().is_some()));
        assert_eq!(proxy, expected);
    }

    #[rstest]
    #[case("https://10.0.0.1:6443", true)]
    #[case("http://10.0.0.1:6443", false)]
    #[case("https://user:s3cret@k8s.example.com", false)]
    #[case("k8s.example.com", false)]
    fn a_credential_goes_over_tls_alone(#[case] server: &str, #[case] may: bool) {
        let connection = Connection::new("server", server, None).map(|connection| connection.server);
        assert_eq!(connection.is_ok(), may, "{connection:?}");
        let error = connection
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
