//! The HTTP proxy between the job and the API server.
//!
//! kube reads no proxy variable by itself and matches NO_PROXY against the proxy's own URL, so the decision is made here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{error::Error, process::environment::Environment};

/// A proxy's URL and, apart from it and never serialised, its user and password.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proxy {
    url: String,
    #[serde(skip)]
    credentials: Option<SecretString>,
}

impl Proxy {
    /// The proxy that HTTPS_PROXY, ALL_PROXY and NO_PROXY (or their lowercase forms) ask for.
    ///
    /// # Errors
    /// If it is one that jobpass cannot use.
    pub fn from_environment(server: &str, environment: &Environment) -> Result<Option<Self>, Error> {
        let variable = |upper: &str| {
            environment
                .get(&upper.to_lowercase())
                .or(environment.get(upper))
                .unwrap_or("")
        };
        let proxied = |no_proxy: &str| {
            let matcher = Matcher::builder()
                .https("http://proxy.invalid")
                .no(no_proxy)
                .build();
            server
                .parse()
                .is_ok_and(|server| matcher.intercept(&server).is_some())
        };
        let (name, url) = match (variable("HTTPS_PROXY"), variable("ALL_PROXY")) {
            ("", "") => return Ok(None),
            ("", all) => ("ALL_PROXY", all),
            (https, _) => ("HTTPS_PROXY", https),
        };
        if proxied(variable("NO_PROXY")) {
            Self::parse(name, url).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn parse(input: &str, url: &str) -> Result<Self, Error> {
        let url = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let parsed = url.parse::<http::Uri>().ok();
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (
            parsed.as_ref().and_then(http::Uri::scheme_str),
            parsed.as_ref().and_then(http::Uri::authority),
        ) else {
            // Not shown: it may hold a password.
            return Err(Error::input(
                input,
                "names a proxy that cannot be used",
                "use `http://HOST:PORT` or `https://HOST:PORT`, with `USER:PASSWORD@` before the host if it wants one",
            ));
        };
        let (credentials, host) = match authority.as_str().rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials.into()), host),
            None => (None, authority.as_str()),
        };
        Ok(Self {
            url: format!("{scheme}://{host}"),
            credentials,
        })
    }

    /// The same proxy with the credentials of the one among `candidates` that is at the same URL.
    pub(crate) fn with_credentials_of<const N: usize>(mut self, candidates: [Option<Self>; N]) -> Self {
        let same = candidates
            .into_iter()
            .flatten()
            .find(|candidate| candidate.url == self.url);
        self.credentials = same.and_then(|same| same.credentials);
        self
    }

    /// Without user and password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it is shown, if it wants to know who asks: RFC 7617. `None` if there is nothing, or nothing that can be sent.
    pub(crate) fn authorization(&self) -> Option<http::HeaderValue> {
        let credentials = self.credentials.as_ref()?.expose_secret();
        let plain = percent_decode_str(credentials).collect::<Vec<u8>>();
        format!("Basic {}", STANDARD.encode(plain)).try_into().ok()
    }

    /// As HTTP clients want it, user and password included.
    pub fn uri(&self) -> Option<http::Uri> {
        match &self.credentials {
            Some(secret) => self
                .url
                .replacen("://", &format!("://{}@", secret.expose_secret()), 1)
                .parse()
                .ok(),
            None => self.url.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://k8s.example.com:6443", "", true)]
    #[case("https://k8s.example.com:6443", "other.example.com", false)]
    #[case("https://k8s.example.com:6443", "example.com", true)]
    #[case("https://k8s.example.com:6443", ".example.com", true)]
    #[case("https://k8s.example.com:6443", "*", true)]
    #[case("https://10.1.2.3", "10.0.0.0/8", true)]
    #[case("https://11.1.2.3", "10.0.0.0/8, 192.168.0.0/16", false)]
    fn no_proxy_is_matched_against_the_server(
        #[case] server: &str,
        #[case] no_proxy: &str,
        #[case] direct: bool,
    ) {
        let environment = Environment::from([("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", no_proxy)]);
        let proxy = Proxy::from_environment(server, &environment).expect("usable");
        assert_eq!(proxy.is_none(), direct && !no_proxy.is_empty());
    }

    #[rstest]
    #[case(&[("https_proxy", "p:3128")], Some("http://p:3128"))]
    #[case(&[("ALL_PROXY", "https://p")], Some("https://p"))]
    #[case(&[("HTTP_PROXY", "http://p")], None)]
    fn which_variable_counts(#[case] variables: &[(&str, &str)], #[case] url: Option<&str>) {
        let environment = variables
            .iter()
            .fold(Environment::default(), |e, (k, v)| e.with(k, Some(v)));
        let proxy = Proxy::from_environment("https://k8s", &environment).expect("usable");
        assert_eq!(proxy.as_ref().map(Proxy::url), url);
    }

    #[test]
    fn the_password_is_neither_in_the_state_nor_sent_to_another_proxy() {
        let proxy = Proxy::parse("HTTPS_PROXY", "http://user:pa%40ss@p:3128").expect("usable");
        assert_eq!(serde_json::to_string(&proxy).expect("JSON"), "\"http://p:3128\"");
        assert_eq!(
            proxy.uri().expect("a URI").to_string(),
            "http://user:pa%40ss@p:3128/"
        );
        let from_state = || Proxy::parse("state", "http://p:3128").expect("usable");
        let same = from_state().with_credentials_of([None, Some(proxy.clone())]);
        assert!(same.uri().expect("a URI").to_string().contains("user:"));
        let elsewhere = Proxy::parse("HTTPS_PROXY", "http://user:pa%40ss@evil:3128").expect("usable");
        assert_eq!(
            from_state().with_credentials_of([Some(elsewhere)]).uri(),
            "http://p:3128".parse().ok()
        );
    }

    #[rstest]
    #[case("socks5://p:1080")]
    #[case("http://user:secret@")]
    fn a_proxy_that_cannot_be_used_is_refused_unseen(#[case] url: &str) {
        let error = Proxy::parse("HTTPS_PROXY", url)
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("input `HTTPS_PROXY` names a proxy") && !error.contains("secret"),
            "{error}"
        );
    }
}
