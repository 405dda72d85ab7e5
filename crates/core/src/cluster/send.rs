//! Sends a call, with time limits and repetitions, and reports why there is no answer.

use std::time::Duration;

use http::{HeaderValue, Uri, header};
use http_body_util::Full;
use jobpass_mask::{MARK, Masker};
use tokio::time::Instant;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

use super::{Answer, Budget, Call, Cluster, attempt_error::AttemptError, retry, transport::Exchange};
use crate::{
    error::{DEFECT, Error, Kind},
    text::{harmless, in_words},
};

/// The text that replaces a credential in a server's answer.
const REDACTED: &str = "<redacted>";
const USER_AGENT: &str = concat!("jobpass/", env!("CARGO_PKG_VERSION"));
/// The time limit for one attempt at a call.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The failure of a call that got no usable answer.
pub(crate) struct NoAnswer {
    pub(crate) error: Error,
    /// Whether the API server may have carried out the request although no usable answer came. `false` if no
    /// attempt can have reached the API server.
    pub(crate) maybe_done: bool,
}

impl Cluster {
    /// Sends a call. Repeats it as often as the budget allows: after connection errors and time-outs, after
    /// 429, 500, 502, 503 and 504, and if an admission webhook does not answer. Does not repeat it after a
    /// refusal by admission, whatever the status. The API server may carry out a repeated call more than
    /// once, and that must do no harm. Between two attempts, jobpass waits as long as a Retry-After demands,
    /// but at most 10 s.
    ///
    /// # Errors
    /// If no attempt that the budget allows gets a usable answer, or if another attempt would not help, such
    /// as after a wrong certificate.
    pub(crate) async fn send(&self, call: &Call, budget: &Budget) -> Result<Answer, NoAnswer> {
        let started = Instant::now();
        // Whether the API server may have carried out an earlier attempt.
        let mut repeated = false;
        let mut attempt = 1;
        loop {
            let outcome = tokio::time::timeout(ATTEMPT.min(budget.left()), self.attempt(call)).await;
            let (failed, retry_after) = match outcome {
                Ok(Ok((mut answer, retry_after))) => {
                    answer.repeated = repeated;
                    let Some(help) = retry::transient(answer.status, answer.denial()) else {
                        return Ok(answer);
                    };
                    let failed = AttemptError {
                        why: answer.in_words(),
                        help,
                        transient: true,
                        sent: true,
                    };
                    (failed, retry_after)
                }
                Ok(Err(failed)) => (failed, None),
                Err(_) => (no_answer_in_time(), None),
            };
            let wait = retry::pause(attempt, retry_after);
            if !failed.transient || attempt >= budget.attempts || wait >= budget.left() {
                let error = self.gave_up(call, &failed, attempt, started.elapsed(), budget);
                return Err(NoAnswer {
                    error,
                    maybe_done: repeated || failed.sent,
                });
            }
            repeated |= failed.sent;
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<(Answer, Option<Duration>), AttemptError> {
        let uri = format!("{}{}", self.connection.server, call.path());
        let uri = uri.parse::<Uri>().map_err(|error| AttemptError {
            why: error.to_string(),
            help: DEFECT,
            transient: false,
            sent: false,
        })?;
        let mut request = call.request.clone().map(Full::from);
        *request.uri_mut() = uri;
        // Lists of metadata and the public keys have media types of their own.
        let headers = request.headers_mut();
        headers
            .entry(header::ACCEPT)
            .or_insert(HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.extend(self.headers.clone());
        let exchange = Exchange {
            request,
            longest: call.longest,
        };
        let (parts, body) = self.transport.clone().oneshot(exchange).await?.into_parts();
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
        // A success may hold the token that jobpass needs. A refusal becomes a part of messages, and a server
        // may repeat the token of the request in it.
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

    /// The text of a `Warning` header, harmless (RFC 7234, section 5.5: `299 - "text"`).
    fn warning(&self, value: &HeaderValue) -> Option<String> {
        let text = self.without_bearer(&String::from_utf8_lossy(value.as_bytes()));
        let (_, quoted) = text.split_once('"')?;
        let quoted = quoted.strip_suffix('"').unwrap_or(quoted);
        Some(harmless(&quoted.replace("\\\"", "\"")))
    }

    /// Removes the bearer token from a server's text, in each form that [`Masker`] finds: the server may echo
    /// the token. [`harmless`] recognises only plain JWTs.
    pub(crate) fn without_bearer(&self, text: &str) -> String {
        let bearer = match &self.bearer {
            Some(bearer) if !text.is_empty() => bearer.expose(),
            Some(_) | None => return text.to_owned(),
        };
        // A masker ignores short secrets.
        let text = text.replace(bearer, REDACTED);
        let mut masker = Masker::new([bearer]);
        let mut masked = Vec::new();
        // A write to a vector does not fail.
        let _ = masker
            .push(text.as_bytes(), &mut masked)
            .and_then(|()| masker.finish(&mut masked));
        String::from_utf8_lossy(&masked).replace(MARK, REDACTED)
    }

    fn gave_up(
        &self,
        call: &Call,
        failed: &AttemptError,
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
                self.without_bearer(&failed.why),
                harmless(&self.connection.server),
                took.as_secs_f32(),
                in_words(budget.total.as_secs()),
            ),
        )
        .help(failed.help)
    }
}

fn no_answer_in_time() -> AttemptError {
    AttemptError {
        why: "no answer in time".into(),
        help: "check that the server is reachable from this machine and not overloaded",
        transient: true,
        sent: true,
    }
}

impl NoAnswer {
    /// A failure before jobpass sent anything.
    pub(crate) fn unsent(error: Error) -> Self {
        Self {
            error,
            maybe_done: false,
        }
    }
}

/// The plain error, for callers that may repeat their whole work and so need no `maybe_done`.
impl From<NoAnswer> for Error {
    fn from(failure: NoAnswer) -> Self {
        failure.error
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{
            Identity,
            scripted::{self, Fate},
        },
        token::Token,
    };

    fn busy() -> Fate {
        Fate::answer(503, "")
    }

    fn ok() -> Fate {
        Fate::answer(200, "{}")
    }

    /// Returns the outcome of a call, the number of requests, and the seconds that the call took.
    async fn sent(fates: Vec<Fate>, budget: Budget) -> (Result<(u16, bool), bool>, usize, u64) {
        let (cluster, log) = scripted::cluster(&Identity::default(), fates);
        let call = Call::get("ask", "/version").expect("a call");
        let started = Instant::now();
        let outcome = cluster.send(&call, &budget).await;
        let outcome = match outcome {
            Ok(answer) => Ok((answer.status, answer.repeated)),
            Err(failure) => Err(failure.maybe_done),
        };
        (outcome, log.lines().len(), started.elapsed().as_secs())
    }

    #[test]
    fn an_echo_of_the_bearer_token_is_removed_in_every_form() {
        let bearer = "an-opaque/token+of=a~proxy";
        let identity = Identity::from(Token::parse(bearer, "token").expect("a token"));
        let (cluster, _) = scripted::cluster(&identity, Vec::new());
        for form in jobpass_mask::forms(bearer) {
            let shown = cluster.without_bearer(&format!("{{\"message\": \"bad: {}\"}}", form.expose()));
            assert!(
                !shown.contains(form.expose()) && shown.starts_with("{\"message\": \"bad: "),
                "{shown}"
            );
        }
        let (cluster, _) = scripted::cluster(
            &Identity::from(Token::parse("short", "token").expect("a token")),
            Vec::new(),
        );
        assert_eq!(cluster.without_bearer("a short one"), "a <redacted> one");
    }

    /// The server chooses the debug data of a GOAWAY frame (RFC 9113, section 6.8). The error of the
    /// connection quotes these data.
    #[test]
    fn an_echo_of_the_bearer_token_in_the_end_of_a_connection_is_removed() {
        let bearer = "opaque-secret-token-1234567890";
        let identity = Identity::from(Token::parse(bearer, "token").expect("a token"));
        let (cluster, _) = scripted::cluster(&identity, Vec::new());
        let call = Call::get("ask", "/version").expect("a call");
        let failed = AttemptError {
            why: format!("connection error received: not a result of an error (b\"you sent: {bearer}\")"),
            ..no_answer_in_time()
        };
        let error = cluster.gave_up(
            &call,
            &failed,
            1,
            Duration::ZERO,
            &Budget::new(Duration::from_secs(1)),
        );
        assert!(!error.to_string().contains(bearer), "{error}");
        assert!(error.to_string().contains("you sent: <redacted>"), "{error}");
    }

    #[rstest]
    #[case::at_once(vec![ok()], Ok((200, false)), 1)]
    #[case::a_refusal_counts(vec![Fate::answer(403, "")], Ok((403, false)), 1)]
    #[case::after_an_error(vec![busy(), ok()], Ok((200, true)), 2)]
    #[case::after_a_lost_answer(vec![Fate::Lost, ok()], Ok((200, true)), 2)]
    #[case::after_silence(vec![Fate::Silence, ok()], Ok((200, true)), 2)]
    #[case::after_no_connection(vec![Fate::NotSent, ok()], Ok((200, false)), 2)]
    #[case::never_sent(vec![Fate::NotSent], Err(false), 4)]
    #[case::never_answered(vec![Fate::NotSent, Fate::Lost, Fate::NotSent, Fate::NotSent], Err(true), 4)]
    #[case::always_busy(vec![busy()], Err(true), 4)]
    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_until_it_is_answered(
        #[case] fates: Vec<Fate>,
        #[case] expected: Result<(u16, bool), bool>,
        #[case] times: usize,
    ) {
        let (outcome, sent, _) = sent(fates, Budget::new(Duration::from_secs(60))).await;
        assert_eq!((outcome, sent), (expected, times));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_outlives_the_budget() {
        let (outcome, times, seconds) = sent(vec![Fate::Silence], Budget::new(Duration::from_secs(4))).await;
        assert_eq!((outcome, times, seconds), (Err(true), 1, 4));
        let (outcome, times, seconds) = sent(vec![Fate::Silence], Budget::new(Duration::from_secs(60))).await;
        assert_eq!((outcome, times), (Err(true), 4));
        assert!(
            (40..45).contains(&seconds),
            "four times 10 s and the pauses: {seconds} s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_goes_on_to_the_end() {
        let budget = Budget::to_the_end(Duration::from_secs(60));
        let (outcome, times, seconds) = sent(vec![Fate::NotSent], budget).await;
        assert_eq!(outcome, Err(false));
        assert!(
            times > 12 && (53..60).contains(&seconds),
            "{times} times in {seconds} s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_begins_that_would_outlast_the_budget() {
        let slow = Fate::Answer(429, &[("retry-after", "8")], String::new());
        let (outcome, times, seconds) =
            sent(vec![slow.clone(), ok()], Budget::new(Duration::from_secs(5))).await;
        assert_eq!((outcome, times, seconds), (Err(true), 1, 0));
        let (outcome, times, seconds) = sent(vec![slow, ok()], Budget::new(Duration::from_secs(9))).await;
        assert_eq!((outcome, times, seconds), (Ok((200, true)), 2, 8));
    }

    #[tokio::test(start_paused = true)]
    async fn the_failure_says_how_often_and_how_long() {
        let (cluster, _) = scripted::cluster(&Identity::default(), [Fate::Silence]);
        let call = Call::get("get a token", "/version").expect("a call");
        let budget = Budget::new(Duration::from_secs(10));
        let error = cluster.send(&call, &budget).await.err().expect("no answer").error;
        insta::assert_snapshot!(error, @r"
        cannot get a token: no answer in time (https://k8s.example.com; 1 attempt in 10.0 s of 10 s allowed)

        check that the server is reachable from this machine and not overloaded
        ");
    }

    #[tokio::test]
    async fn an_echo_of_the_bearer_token_is_not_shown() {
        let bearer = Token::parse("opaque-0123456789", "token").expect("a token");
        let fate = Fate::Answer(
            403,
            &[("warning", r#"299 - "opaque-0123456789 is \"old\"""#)],
            r#"{"message":"no: opaque-0123456789"}"#.into(),
        );
        let (cluster, _) = scripted::cluster(&bearer.into(), [fate]);
        let call = Call::get("ask", "/version").expect("a call");
        let answer = cluster
            .send(&call, &Budget::new(ATTEMPT))
            .await
            .ok()
            .expect("an answer");
        assert_eq!(answer.message(), "no: <redacted>");
        assert_eq!(answer.warnings, ["<redacted> is \"old\""]);
    }
}
