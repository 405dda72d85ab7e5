//! The API server: its connections, the requests to it with their time limits and retries, and its answers.

use http::HeaderMap;

use self::{pool::Pool, transport::Transport};
use crate::{
    claims::{Claims, account::Account},
    error::Error,
    names,
    token::Token,
};

mod answer;
mod attempt_error;
mod authority;
mod budget;
mod call;
mod connection;
mod denial;
mod dial;
mod extra_certificates;
mod identity;
mod pem;
mod pool;
pub mod probe;
mod proxy;
mod retry;
mod scope;
#[cfg(test)]
pub(crate) mod scripted;
mod send;
mod transport;
mod url;

#[cfg(test)]
pub(crate) use self::answer::TokenRequest;
pub(crate) use self::{
    answer::Answer,
    attempt_error::AttemptError,
    authority::Authority,
    call::{Call, objects},
    denial::{Denial, UNANSWERED},
    dial::{Dial, Failure, Offer, Stream},
    send::NoAnswer,
};
pub use self::{
    budget::Budget,
    connection::Connection,
    extra_certificates::ExtraCertificates,
    identity::{ClientCertificate, Identity},
    proxy::Proxy,
    scope::Scope,
};

const API_SERVER: &str = "the API server";

/// An API server, and the identity that sends requests to it.
pub struct Cluster {
    /// The server's name in messages, such as `the API server`.
    name: &'static str,
    transport: Transport,
    /// Whether the connections carry a client certificate.
    certified: bool,
    /// The headers that state the identity in each request.
    headers: HeaderMap,
    connection: Connection,
    bearer: Option<Token>,
}

impl Cluster {
    /// The ServiceAccount that the bearer token names. `None` if it names none, or if there is no bearer
    /// token.
    pub fn account(&self) -> Option<Account> {
        Account::of(self.bearer.as_ref()?)
    }

    /// Whether the bearer token is bound to a Secret with the name of an anchor. Only jobs have tokens of
    /// this kind: a minter has another credential.
    pub(crate) fn asks_as_a_job(&self) -> bool {
        let claims = self
            .bearer
            .as_ref()
            .and_then(|bearer| Claims::decode(bearer).ok());
        let bound = claims.as_ref().and_then(Claims::bound_to);
        bound.is_some_and(|(kind, name)| kind == "Secret" && names::is_ours(name))
    }

    /// Prepares a connection as the holder of `token`.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub fn connect_with(connection: &Connection, token: &Token) -> Result<Self, Error> {
        Self::connect_as(connection, &token.clone().into())
    }

    /// Returns the same server with `token` as the only credential. Both share their connections, unless
    /// these carry a client certificate: kube-apiserver would prefer the certificate to the token.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub fn with_token(&self, token: &Token) -> Result<Self, Error> {
        if self.certified {
            return Self::connect_with(&self.connection, token);
        }
        let identity = Identity::from(token.clone());
        Ok(Self {
            name: self.name,
            transport: self.transport.clone(),
            certified: false,
            headers: identity.headers()?,
            connection: self.connection.clone(),
            bearer: identity.bearer,
        })
    }

    /// Returns the same server, for requests as `user` in `groups`. The identity needs the permission to
    /// impersonate this user and these groups. If the identity impersonates a user already, `user` and
    /// `groups` replace everything that it sends about that user.
    ///
    /// # Errors
    /// If a header cannot carry one of the names.
    pub(crate) fn acting_as(&self, user: &str, groups: &[&str]) -> Result<Self, Error> {
        let own = self.headers.iter();
        let own = own.filter(|(name, _)| !name.as_str().starts_with("impersonate-"));
        let mut headers = own
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<HeaderMap>();
        headers.insert("impersonate-user", identity::header_of(user)?);
        for group in groups {
            headers.append("impersonate-group", identity::header_of(group)?);
        }
        Ok(Self {
            name: self.name,
            transport: self.transport.clone(),
            certified: self.certified,
            headers,
            connection: self.connection.clone(),
            bearer: self.bearer.clone(),
        })
    }

    /// The bearer token of the requests.
    pub fn bearer(&self) -> Option<&Token> {
        self.bearer.as_ref()
    }

    /// The URL of the server.
    pub fn server(&self) -> &str {
        &self.connection.server
    }

    /// Prepares a connection to another server than the minter's API server: the endpoint for ID tokens, or
    /// the API server that the job uses. Messages call this server `name`. The same limits apply as for the
    /// minter's API server. jobpass follows no redirect.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub(crate) fn other(
        name: &'static str,
        connection: &Connection,
        identity: &Identity,
    ) -> Result<Self, Error> {
        Ok(Self {
            name,
            ..Self::connect_as(connection, identity)?
        })
    }

    /// Prepares a connection with the credentials of `identity`. Sends nothing yet.
    ///
    /// # Errors
    /// As [`Dial::new`], or if a header cannot carry the identity.
    pub(crate) fn connect_as(connection: &Connection, identity: &Identity) -> Result<Self, Error> {
        install_crypto();
        Ok(Self {
            name: API_SERVER,
            transport: Transport::new(Pool::new(Dial::new(connection, identity)?)),
            certified: identity.certificate.is_some(),
            headers: identity.headers()?,
            connection: connection.clone(),
            bearer: identity.bearer.clone(),
        })
    }
}

/// Makes `ring` the cryptography library of every TLS connection of this process.
pub fn install_crypto() {
    // This fails only if a provider is installed already. That provider is ring as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::a_jobs(json!({"secret": {"name": "jobpass-aaaaaaaaaaaaaaaaaaaa", "uid": "u"}}), true)]
    #[case::bound_to_another_secret(json!({"secret": {"name": "mine", "uid": "u"}}), false)]
    #[case::a_pods(json!({"pod": {"name": "jobpass-aaaaaaaaaaaaaaaaaaaa", "uid": "u"}}), false)]
    #[case::unbound(json!({}), false)]
    fn a_job_asks_with_a_token_that_is_bound_to_an_anchor(
        #[case] bound: serde_json::Value,
        #[case] expected: bool,
    ) {
        let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let claims = json!({"iss": "https://k", "exp": 1, "kubernetes.io": bound});
        let token = format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(&claims));
        let token = Token::parse(&token, "token").expect("a token");
        let (cluster, _) = scripted::cluster(&token.into(), []);
        assert_eq!(cluster.asks_as_a_job(), expected);
    }

    #[test]
    fn another_user_has_nothing_of_the_user_before() {
        let identity = Identity {
            bearer: Some(Token::parse("t0ken", "token").expect("a token")),
            impersonate: Some("jane".into()),
            impersonate_uid: Some("u-1".into()),
            impersonate_groups: vec!["a".into()],
            impersonate_extra: [("team".into(), vec!["x".into()])].into(),
            ..Identity::default()
        };
        let (cluster, _) = scripted::cluster(&identity, []);
        let other = cluster.acting_as("minter", &["b"]).expect("names");
        let mut headers = other.headers.iter().collect::<Vec<_>>();
        headers.sort_by_key(|(name, _)| name.as_str());
        let headers = headers
            .into_iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")));
        assert_eq!(
            headers.collect::<Vec<_>>(),
            [
                "authorization: Bearer t0ken",
                "impersonate-group: b",
                "impersonate-user: minter"
            ]
        );
    }

    #[test]
    fn nobody_without_a_token_asks_as_a_job() {
        assert!(!scripted::cluster(&Identity::default(), []).0.asks_as_a_job());
    }
}
