//! The one place that talks to the API server: time limits, retries, and what an answer means to a person.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Uri, header};
use http_body_util::Full;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::{dial::Dial, pool::Connections, trouble::Trouble};
use crate::{
    claims::{Claims, account::Account},
    error::{Error, Kind},
    names,
    text::{harmless, in_words},
    token::Token,
};

mod answer;
mod authority;
mod budget;
mod call;
mod connection;
mod denial;
mod dial;
mod identity;
mod pem;
mod pool;
pub mod probe;
mod proxy;
mod scope;
mod trouble;
mod url;

pub(crate) use self::{
    answer::Answer,
    authority::Authority,
    call::{Call, objects},
    denial::Denial,
};
pub use self::{
    budget::Budget,
    connection::Connection,
    identity::{ClientCertificate, Identity},
    proxy::Proxy,
    scope::Scope,
};

const USER_AGENT: &str = concat!("jobpass/", env!("CARGO_PKG_VERSION"));
const API_SERVER: &str = "the API server";
/// One attempt at one call.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);
/// The longest that a server's Retry-After is obeyed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10);

/// An API server and someone who asks it.
pub struct Cluster {
    /// As texts call it: `the API server`.
    name: &'static str,
    connections: Arc<Connections>,
    /// Whether a client certificate goes with the connections.
    certified: bool,
    /// Who asks.
    headers: HeaderMap,
    connection: Connection,
    bearer: Option<Token>,
}

/// No answer at all.
pub(crate) struct Unanswered {
    pub(crate) error: Error,
    /// Whether the request may have been carried out nevertheless. If no connection was ever made, it was not.
    pub(crate) maybe_done: bool,
}

impl Cluster {
    /// The ServiceAccount that asks, if it is one.
    pub fn account(&self) -> Option<Account> {
        Account::of(self.bearer.as_ref()?)
    }

    /// Whether the token that it shows is bound to an anchor: a job was given it, and no minter has such a one.
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
    /// If the certificate authority cannot be used.
    pub fn connect_with(connection: &Connection, token: &Token) -> Result<Self, Error> {
        Self::connect_as(connection, &token.clone().into())
    }

    /// The same server, asked with nothing but `token`: over the same connections, unless a client certificate goes with them,
    /// which would win over it.
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
            connections: Arc::clone(&self.connections),
            certified: false,
            headers: identity.headers()?,
            connection: self.connection.clone(),
            bearer: identity.bearer,
        })
    }

    /// The same server, asked as somebody else, which takes the right to impersonate them.
    ///
    /// # Errors
    /// If a name cannot stand in a header.
    pub(crate) fn acting_as(&self, user: &str, groups: &[&str]) -> Result<Self, Error> {
        let value =
            |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(|error| dial::unusable(&error));
        let mut headers = self.headers.clone();
        headers.insert("impersonate-user", value(user)?);
        headers.remove("impersonate-group");
        for group in groups {
            headers.append("impersonate-group", value(group)?);
        }
        Ok(Self {
            name: self.name,
            connections: Arc::clone(&self.connections),
            certified: self.certified,
            headers,
            connection: self.connection.clone(),
            bearer: self.bearer.clone(),
        })
    }

    /// The bearer token that is shown to it, if one is.
    pub fn bearer(&self) -> Option<&Token> {
        self.bearer.as_ref()
    }

    /// Its URL.
    pub fn server(&self) -> &str {
        &self.connection.server
    }

    /// A server that is no API server, but is asked in the same way: within the same limits, through the same proxies, never
    /// redirected.
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

    pub(crate) fn connect_as(connection: &Connection, identity: &Identity) -> Result<Self, Error> {
        install_crypto();
        Ok(Self {
            name: API_SERVER,
            connections: Arc::new(Connections::new(Dial::new(connection, identity)?)),
            certified: identity.certificate.is_some(),
            headers: identity.headers()?,
            connection: connection.clone(),
            bearer: identity.bearer.clone(),
        })
    }

    /// Sends a call until it is answered, as often as the budget allows: after connection errors, 429 (its Retry-After obeyed up
    /// to 10 s) and 500, 502, 503, 504. Every call that jobpass makes can be repeated: see where it is made.
    ///
    /// # Errors
    /// If there is no answer, or only such ones, within the attempts and the budget.
    pub(crate) async fn send(&self, call: &Call, budget: &Budget) -> Result<Answer, Unanswered> {
        let started = Instant::now();
        let mut repeated = false;
        for attempt in 1.. {
            let outcome = match tokio::time::timeout(ATTEMPT.min(budget.left()), self.attempt(call)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Trouble {
                    why: "no answer in time".into(),
                    help: "check that the API server is reachable from this runner and not overloaded",
                    passing: true,
                    sent: true,
                }),
            };
            let (trouble, wait) = match outcome {
                Ok((mut answer, retry_after)) => {
                    answer.repeated = repeated;
                    let help = match (answer.status, answer.denial()) {
                        (429 | 500 | 502 | 503 | 504, None) => {
                            "the API server has a problem of its own; run the job again later"
                        }
                        (_, Some(Denial::Unanswered(_))) => denial::UNANSWERED,
                        // A webhook that refuses does so again, whatever status it picks.
                        _ => return Ok(answer),
                    };
                    (
                        Trouble {
                            why: answer.in_words(),
                            help,
                            passing: true,
                            sent: true,
                        },
                        retry_after,
                    )
                }
                Err(trouble) => (trouble, None),
            };
            let wait = wait.unwrap_or_else(|| backoff(attempt)).min(LONGEST_RETRY_AFTER);
            if !trouble.passing || attempt >= budget.attempts || wait >= budget.left() {
                let error = self.gave_up(call, &trouble, attempt, started.elapsed(), budget);
                return Err(Unanswered {
                    error,
                    maybe_done: repeated || trouble.sent,
                });
            }
            repeated |= trouble.sent;
            tokio::time::sleep(wait).await;
        }
        unreachable!("the loop returns at the last attempt")
    }

    async fn attempt(&self, call: &Call) -> Result<(Answer, Option<Duration>), Trouble> {
        let uri = format!("{}{}", self.connection.server, call.path());
        let uri = uri.parse::<Uri>().map_err(|error| Trouble {
            why: error.to_string(),
            help: "this is a defect",
            passing: false,
            sent: false,
        })?;
        let mut request = call.request.clone().map(Full::from);
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers
            .entry(header::ACCEPT)
            .or_insert(HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.extend(self.headers.clone());
        let (parts, body) = self.connections.send(&request, call.longest).await?;
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let retry_after = header(header::RETRY_AFTER)
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let warnings = parts
            .headers
            .get_all(header::WARNING)
            .iter()
            .filter_map(|value| self.warning(value))
            .collect();
        let date = header(header::DATE).and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        let body = body.map(|body| Zeroizing::new(body.to_vec()));
        let body = match parts.status.is_success() {
            true => body,
            false => body.map(|body| {
                Zeroizing::new(self.without_bearer(&String::from_utf8_lossy(&body)).into_bytes())
            }),
        };
        let mut answer = Answer::new(parts.status.as_u16(), body);
        answer.from = self.name;
        answer.warnings = warnings;
        answer.date = date.map(|date| date.timestamp());
        Ok((answer, retry_after))
    }

    /// RFC 7234, section 5.5: `299 - "text"`.
    fn warning(&self, value: &HeaderValue) -> Option<String> {
        let text = self.without_bearer(&String::from_utf8_lossy(value.as_bytes()));
        let (_, quoted) = text.split_once('"')?;
        Some(harmless(&quoted.trim_end_matches('"').replace("\\\"", "\"")))
    }

    /// A server may echo what it was sent. JWTs are recognised wherever text is shown; a bearer need not be one.
    pub(crate) fn without_bearer(&self, text: &str) -> String {
        match &self.bearer {
            Some(bearer) => text.replace(bearer.expose(), "<redacted>"),
            None => text.to_owned(),
        }
    }

    fn gave_up(
        &self,
        call: &Call,
        trouble: &Trouble,
        attempts: u32,
        took: Duration,
        budget: &Budget,
    ) -> Error {
        let proxy = self.connection.proxy.as_ref().map_or_else(String::new, |p| {
            format!(" through the proxy {}", harmless(p.url()))
        });
        let times = if attempts == 1 {
            "1 attempt".into()
        } else {
            format!("{attempts} attempts")
        };
        Error::new(
            Kind::Unreachable,
            format!(
                "cannot {}: {} ({}{proxy}; {times} in {:.1} s of {} allowed)",
                call.doing,
                trouble.why,
                harmless(&self.connection.server),
                took.as_secs_f32(),
                in_words(budget.total.as_secs()),
            ),
        )
        .help(trouble.help)
    }
}

/// Ring does the cryptography of every TLS connection of this process.
pub fn install_crypto() {
    // Fails if it is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// 0.25 s, 0.5 s, 1 s, ... with up to half of it added, so that the jobs of one pipeline do not come back in step.
fn backoff(attempt: u32) -> Duration {
    let mut byte = [0];
    // Without randomness the wait is merely not spread.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
    let base = (Duration::from_millis(250) * 2_u32.pow((attempt - 1).min(8))).min(LONGEST_BACKOFF);
    base + base.mul_f32(f32::from(byte[0]) / 512.0)
}

impl Unanswered {
    /// Takes a failure from before anything was sent.
    pub(crate) fn unsent(error: Error) -> Self {
        Self {
            error,
            maybe_done: false,
        }
    }
}

/// For callers to whom no answer is just a failure.
impl From<Unanswered> for Error {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.error
    }
}
