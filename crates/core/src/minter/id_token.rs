//! The minter that authenticates with the job's own ID token (OIDC). The CI platform issues ID tokens on
//! demand.
//!
//! The platform gives the job a URL and a bearer token for that URL. Later steps of the job can change
//! variables. So the end of the job reads only credentials from the environment: the bearer token, and the
//! user and password of the proxy. The URL and the proxy come from the state. jobpass uses TLS for this
//! URL and for the API server, and follows no redirect.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Auth;
use crate::{
    claims,
    cluster::{Budget, Call, Cluster, Connection, ExtraCertificates, Identity, Proxy},
    error::{Error, Kind},
    inputs::options::Opt,
    process::environment::{Environment, IdTokens},
    text,
    token::Token,
};

/// The time limit for all attempts at one ID token.
const FETCH: Duration = Duration::from_secs(20);

/// The endpoint for ID tokens, without the credential that the job has for it.
pub(super) struct Source {
    url: String,
    connection: Connection,
    path_and_query: String,
    /// A file of certificates that jobpass trusts for the endpoint, in addition to those of this system.
    extra_certificates: Option<PathBuf>,
}

impl Source {
    /// The endpoint that the environment of the job names now.
    pub(super) fn of_job(environment: &Environment) -> Result<Self, Error> {
        let IdTokens { url, variable, .. } = environment.id_tokens().ok_or_else(none_here)?;
        let mut source = Self::parse(url).ok_or_else(|| {
            Error::input(
                Opt::OidcAudience,
                format!(
                    "does not work here: the variable {variable} must hold an https URL that contains no \
                     user and no password"
                ),
                "the runner sets this variable if the job has `permissions: {id-token: write}`. Give the job \
                 this permission, and remove the step or the `env:` that sets the variable",
            )
        })?;
        source.connection.proxy = Proxy::from_environment(&source.connection.server, environment);
        source.trust(ExtraCertificates::of(environment)?);
        Ok(source)
    }

    /// The endpoint that the state names. Only the proxy's user and password come from the environment.
    pub(super) fn recorded(
        url: &str,
        proxy: Option<&str>,
        extra_certificates: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let mut source = Self::parse(url).ok_or_else(|| {
            Error::new(
                Kind::Input,
                "the recorded state names a URL for ID tokens that is not https, or that contains a user or \
                 a password",
            )
            .help(
                "jobpass sent the job's credential to no server. Find out who changed the state after \
                 jobpass minted the token",
            )
        })?;
        source.trust(extra_certificates.and_then(|path| ExtraCertificates::read(path.to_owned())));
        let now = Proxy::from_environment(&source.connection.server, environment);
        let then = proxy.map(|proxy| Proxy::parse("proxy", proxy)).transpose()?;
        source.connection.proxy = then.map(|proxy| proxy.with_credentials_of([now]));
        Ok(source)
    }

    fn trust(&mut self, extra: Option<ExtraCertificates>) {
        if let Some(extra) = extra {
            self.connection.extra_authorities = Some(extra.pem);
            self.extra_certificates = Some(extra.path);
        }
    }

    /// `None` if the text is not an https URL, or if it holds a user or a password.
    fn parse(url: &str) -> Option<Self> {
        let parsed = url.parse::<http::Uri>().ok()?;
        let authority = parsed
            .authority()
            .filter(|_| parsed.scheme_str() == Some("https"))?;
        let path_and_query = parsed.path_and_query()?.to_string();
        let server = format!("https://{authority}");
        let connection = Connection::new(Opt::OidcAudience.name(), &server, None).ok()?;
        Some(Self {
            url: url.to_owned(),
            connection,
            path_and_query,
            extra_certificates: None,
        })
    }

    /// The record with which the end of the job can get another ID token.
    pub(super) fn auth(&self, audience: &str) -> Auth {
        Auth::IdToken {
            audience: audience.to_owned(),
            url: self.url.clone(),
            proxy: self.connection.proxy.as_ref().map(|proxy| proxy.url().to_owned()),
            extra_certificates: self.extra_certificates.clone(),
        }
    }

    /// Requests a new ID token, and masks it.
    pub(super) async fn id_token(&self, audience: &str, environment: &Environment) -> Result<Token, Error> {
        if audience.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Error::input(
                Opt::OidcAudience,
                format!("is `{}`: an audience has no spaces", text::wrong(audience)),
                "give one audience that the API server's AuthenticationConfiguration lists under `audiences`",
            ));
        }
        let IdTokens { bearer, mask, .. } = environment.id_tokens().ok_or_else(none_here)?;
        let token = self.fetch(audience, bearer).await?;
        let (mask, masked) = (*mask, token.clone());
        // Masking runs on a thread of its own: a log that nobody reads must not delay the reaction to a
        // signal.
        tokio::task::spawn_blocking(move || mask(&masked))
            .await
            .map_err(|_| Error::defect("jobpass panicked while it masked the ID token"))??;
        Ok(token)
    }

    async fn fetch(&self, audience: &str, bearer: &Token) -> Result<Token, Error> {
        #[derive(Deserialize)]
        struct IdToken {
            value: SecretString,
        }
        let joint = if self.path_and_query.contains('?') {
            '&'
        } else {
            '?'
        };
        let path = format!(
            "{}{joint}audience={}",
            self.path_and_query,
            percent_encoded(audience)
        );
        let call = Call::get("get the job's ID token", &path)?;
        let platform = "the CI platform's token endpoint";
        let endpoint = Cluster::other(platform, &self.connection, &Identity::from(bearer.clone()))?;
        let answer = endpoint
            .send(&call, &Budget::new(FETCH))
            .await
            .map_err(|unanswered| {
                Error::new(unanswered.error.kind(), unanswered.error.message()).help(
                    "the ID token comes from the CI platform, not from the cluster. Check the platform's \
                     status page, and that this runner can reach the platform (HTTPS_PROXY, NO_PROXY). Its \
                     certificate must come from an authority of this system or of NODE_EXTRA_CA_CERTS",
                )
            })?;
        if answer.status != 200 {
            return Err(answer.unexpected(&call).help(
                "check that the job may ask for ID tokens (on GitHub, `permissions: {id-token: write}`), and \
                 that it still runs: the job's credential for this endpoint ends with the job",
            ));
        }
        let no_token = || {
            Error::new(
                Kind::Unreachable,
                format!("cannot {}: the answer holds no ID token", call.doing),
            )
            .help(
                "another program may have answered instead of the CI platform: check the proxies between \
                 this runner and the platform",
            )
        };
        let answer: IdToken = answer.parse(&call).map_err(|_| no_token())?;
        let token =
            Token::parse(answer.value.expose_secret(), Opt::OidcAudience.name()).map_err(|_| no_token())?;
        claims::part::<serde_json::Value>(&token, 1).map_err(|_| no_token())?;
        Ok(token)
    }
}

fn none_here() -> Error {
    Error::input(
        Opt::OidcAudience,
        "does not work here: no CI platform offers this job an ID token",
        "use the GitHub Action, in a job with `permissions: {id-token: write}`. Elsewhere, put the credential \
         into a variable or a file: `bearer-token-env` or `bearer-token-file`",
    )
}

/// All characters except the unreserved ones (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn environment(url: &str) -> Environment {
        let id_tokens = IdTokens {
            url: url.into(),
            variable: "ID_TOKEN_URL",
            bearer: Token::parse("request-token", "x").expect("a token"),
            mask: |_| Ok(()),
        };
        Environment::from([("HTTPS_PROXY", "http://me:secret@p:3128")]).with_id_tokens(Some(id_tokens))
    }

    #[test]
    fn the_state_pins_url_and_proxy_and_holds_no_secret() {
        let url = "https://pipelines.example.com/23//idtoken/a/b?api-version=2.0";
        let source = Source::of_job(&environment(url)).expect("a source");
        assert_eq!(source.connection.server, "https://pipelines.example.com");
        assert_eq!(source.path_and_query, "/23//idtoken/a/b?api-version=2.0");
        let state = serde_json::to_string(&source.auth("k8s")).expect("JSON");
        assert_eq!(
            state,
            format!(r#"{{"kind":"id-token","audience":"k8s","url":"{url}","proxy":"http://p:3128"}}"#)
        );
        let moved = environment("https://evil.example.com/").with("HTTPS_PROXY", Some("http://evil:1"));
        let again = Source::recorded(url, Some("http://p:3128"), None, &moved).expect("a source");
        let proxy = again.connection.proxy.as_ref().map(Proxy::url);
        assert_eq!(
            (&*again.connection.server, proxy),
            ("https://pipelines.example.com", Some("http://p:3128"))
        );
    }

    #[rstest]
    #[case("http://pipelines.example.com/x")]
    #[case("https://user:secret@pipelines.example.com/x")]
    #[case("/x")]
    #[case("")]
    fn the_bearer_goes_nowhere_but_over_tls(#[case] url: &str) {
        let now = environment(url);
        for (source, said) in [
            (
                Source::of_job(&now),
                "the variable ID_TOKEN_URL must hold an https URL",
            ),
            (
                Source::recorded(url, None, None, &now),
                "the recorded state names a URL for ID tokens that is not https",
            ),
        ] {
            let error = source.map(|_| ()).expect_err("refused").to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn audiences_are_encoded() {
        assert_eq!(
            percent_encoded("https://k8s.example.com/a b&c"),
            "https%3A%2F%2Fk8s.example.com%2Fa%20b%26c"
        );
    }
}
