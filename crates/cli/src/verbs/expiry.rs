//! `jobpass expiry-test`: tests how a token ends, and how a client that still uses it behaves.

use std::{
    process::{ExitCode, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use clap::{Arg, ArgMatches, Command};
use jiff::Timestamp;
use jobpass_core::{
    Error, Kind,
    claims::warnings::LEEWAY,
    cluster::{Budget, Cluster, probe::is_accepted},
    inputs::{
        flags::{self, flag},
        lifetime::{self, Lifetime},
        options::{FrontEnd, Opt},
        spec::TokenType,
    },
    life::revoke::SUCCESS_CACHE,
    process::{
        environment::Environment,
        interrupt::{Interrupt, Signal},
    },
    record::receipt::Receipt,
    text::{in_words, time},
    token::Token,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    options::command,
    session::{
        Session,
        child::Program,
        masked_output::{Masked, RefusalFlag},
        system::{exit_code, pass_on},
    },
    terminal::{
        output,
        progress::{Progress, TICK},
        screen::{GREEN, RED, Screen, YELLOW, roughly},
    },
};

/// The shortest lifetime, in seconds, for which an API server issues a token.
const SHORTEST: &str = "600";
/// The time limit for one test of the token, retries included.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// The time between two tests of the token before it ends.
const LONG_INTERVAL: Duration = Duration::from_secs(5);
/// The time between two tests of the token after jobpass revoked it.
const SHORT_INTERVAL: Duration = Duration::from_millis(250);
/// The margin by which an API server may exceed the times of its own caches.
const SLACK: Duration = Duration::from_secs(10);
/// The time for a client to stop, before jobpass kills it.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    let own = Opt::on(FrontEnd::CommandLine).filter_map(|option| match option {
        // The test itself chooses the files and verifies the revocation. Renewal and the proxy would hide the
        // end of the token. The API server refuses a token that is only for other audiences.
        Opt::TokenFile
        | Opt::KubeconfigFile
        | Opt::RenewFor
        | Opt::Proxy
        | Opt::Allow
        | Opt::Record
        | Opt::Audiences
        | Opt::VerifyRevocation
        | Opt::FailOnRevokeError => None,
        Opt::Duration => Some(flag(option).help(
            "The lifetime of the token. Without `--revoke-after`, the test takes this time, then up to 80 s \
             until the API server refuses the token, and the time of COMMAND. [default: 10m]",
        )),
        _ => Some(flag(option)),
    });
    Command::new("expiry-test")
        .about("Mint a token, let it expire or revoke it, and test that the API server and a client notice")
        .args(own)
        .arg(
            Arg::new("revoke-after")
                .long("revoke-after")
                .value_name("TIME")
                .help("Revoke the token after this time, as in `30s`, and do not wait until it expires."),
        )
        .arg(
            Arg::new("time-limit")
                .long("time-limit")
                .value_name("TIME")
                .default_value("60s")
                .help("The time limit for each of the client's two runs."),
        )
        .args([
            output::flag(),
            command::env_flag(),
            command::argument().required(false),
        ])
        .after_help(
            "COMMAND is the client under test. It runs twice, with KUBECONFIG and JOBPASS_TOKEN_FILE as in \
             `jobpass exec`. jobpass masks its output, and sends it to standard error. It must succeed \
             while the token works, and fail in time when the token does not.\nExit codes: 0 the test \
             passed; 5 the client failed too early or not at all, or the expired token still works; 7 the \
             revoked token still works.\n\nExamples:\n  jobpass expiry-test --service-account scanner \
             --namespace ci \\\n    --revoke-after 30s\n  jobpass expiry-test --service-account scanner \
             --namespace ci \\\n    -- kubectl get pods",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let given = flags::inputs(matches)?;
    let duration = flags::given(matches, Opt::Duration);
    let lifetime = Lifetime::parse(duration.as_deref().unwrap_or(SHORTEST))?;
    let time = |name| {
        let text = matches.get_one::<String>(name);
        text.map(|text| lifetime::time(name, text)).transpose()
    };
    let revoke_after = time("revoke-after")?;
    if let Some(time) = revoke_after.filter(|time| time.as_secs() >= lifetime.seconds()) {
        return Err(Error::input(
            "revoke-after",
            format!(
                "is {}, but the token has expired by then",
                in_words(time.as_secs())
            ),
            "give a shorter time, or a longer `--duration`",
        ));
    }
    if revoke_after.is_none() && TokenType::parse(&given)? == TokenType::Legacy {
        return Err(Error::input(
            Opt::Type,
            "is `legacy`, and a legacy token does not expire",
            "add `--revoke-after 30s` to test that revoking ends the token. Or leave out `type`",
        ));
    }
    let limit = time("time-limit")?.unwrap_or_default();
    let client = match command::words(matches) {
        Some(words) => Some(Client {
            program: Program::find(words, environment)?,
            variable: command::env(matches)?,
            limit,
        }),
        None => None,
    };
    let session = Session::mint(&given, lifetime, environment, &mut interrupt).await?;
    let mut test = ExpiryTest {
        session,
        client,
        progress: Progress::new(),
    };
    let result = test.run(revoke_after, &mut interrupt).await;
    test.progress.clear();
    let revoked = test.session.revoke(&mut interrupt).await;
    let result = match (result, revoked) {
        (Ok(result), Ok(_)) => result,
        (Err(error), Err(not_revoked)) => return Err(error.and_unrevoked(&not_revoked)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
    };
    if output::is_json(matches) {
        output::result(&result.json(&test.session.state.receipt).to_string())?;
    } else {
        output::result(&result.text(&test.session.state.receipt, Screen::of_stdout(environment)))?;
    }
    Ok(result
        .failure()
        .map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// The test in progress, with its session.
struct ExpiryTest<'a> {
    session: Session<'a>,
    client: Option<Client<'a>>,
    progress: Progress,
}

/// The client under test.
struct Client<'a> {
    program: Program<'a>,
    variable: Option<&'a str>,
    limit: Duration,
}

/// One run of the client.
#[derive(Clone, Copy)]
struct ClientRun {
    /// The exit code, as a shell reports it. `None` if the client did not end in time.
    exit_code: Option<u8>,
    took: Duration,
    /// Whether the client's output reported that the API server refused the token.
    reported_refusal: bool,
}

/// The end of the token.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The token expired.
    Expired,
    /// jobpass revoked the token this long after it was minted.
    Revoked(Duration),
}

/// The result of a test.
struct TestResult {
    end: End,
    /// The time for which the API server accepted the token after its end.
    accepted: Duration,
    /// Whether the API server refused the token in the end.
    refused: bool,
    /// The client's run while the token worked.
    before: Option<ClientRun>,
    /// The client's run after the API server refused the token, or after the test stopped waiting for that.
    after: Option<ClientRun>,
}

impl ExpiryTest<'_> {
    /// Uses the token, waits for its end, and uses the token again.
    async fn run(
        &mut self,
        revoke_after: Option<Duration>,
        interrupt: &mut Interrupt,
    ) -> Result<TestResult, Error> {
        let minted = Instant::now();
        let token = self.session.token()?;
        let holder = self.session.state.as_job(&self.session.cluster, &token)?;
        let before = interrupt.run_until_signal(self.before(&holder, &token)).await?;
        let (end, (refused, accepted)) = match revoke_after {
            Some(time) => {
                interrupt.run_until_signal(self.until(minted, time)).await?;
                // An API server keeps a token in its cache for 10 s after it has accepted it. So the test is
                // hardest if that happens just before the revocation.
                interrupt.run_until_signal(must_work(&holder)).await?;
                self.session.revoke_and_keep_files(interrupt).await?;
                (
                    End::Revoked(time),
                    interrupt.run_until_signal(self.until_refused(&holder)).await?,
                )
            }
            None => (
                End::Expired,
                interrupt.run_until_signal(self.until_expired(&holder)).await?,
            ),
        };
        let after = interrupt.run_until_signal(self.use_client(&token)).await?;
        Ok(TestResult {
            end,
            accepted,
            refused,
            before,
            after,
        })
    }

    /// Tests that the token works, and that the client works with it.
    async fn before(&mut self, holder: &Cluster, token: &Token) -> Result<Option<ClientRun>, Error> {
        must_work(holder).await?;
        let used = self.use_client(token).await?;
        match used.filter(|used| used.exit_code != Some(0)) {
            Some(used) => {
                let what = format!("the command {}, although its token works", used.in_words());
                Err(Error::new(Kind::Claims, what).help(
                    "run the command with `jobpass exec`, and check the ServiceAccount's Roles until it \
                     succeeds. As long as it fails with the token, its failure without the token proves \
                     nothing",
                ))
            }
            None => Ok(used),
        }
    }

    /// Waits until `time` has passed since `minted`.
    async fn until(&mut self, minted: Instant, time: Duration) -> Result<(), Error> {
        while let Some(left) = time.checked_sub(minted.elapsed()).filter(|left| !left.is_zero()) {
            let part = 1.0 - left.as_secs_f64() / time.as_secs_f64();
            let words = roughly(left.as_secs_f64().ceil() as u64);
            self.progress
                .show(part, &format!("the token works; jobpass revokes it in {words}"));
            sleep(left.min(TICK)).await;
        }
        self.progress.clear();
        Ok(())
    }

    /// Whether the API server refuses a token whose anchor jobpass has just deleted, and how long that took.
    async fn until_refused(&mut self, holder: &Cluster) -> Result<(bool, Duration), Error> {
        let deleted = Instant::now();
        let longest = SUCCESS_CACHE + SLACK;
        loop {
            let accepted = is_accepted(holder, &Budget::new(TIME_LIMIT)).await?.0;
            let age = deleted.elapsed();
            if !accepted || age > longest {
                self.progress.clear();
                return Ok((!accepted, age));
            }
            let part = age.as_secs_f64() / SUCCESS_CACHE.as_secs_f64();
            self.progress.show(
                part,
                "jobpass revoked the token; the API server still accepts it from a cache (10 s)",
            );
            sleep(SHORT_INTERVAL).await;
        }
    }

    /// Whether the API server refuses the token after its expiry, and how long that took. The times are by
    /// the API server's clock, which decides the expiry.
    async fn until_expired(&mut self, holder: &Cluster) -> Result<(bool, Duration), Error> {
        let receipt = &self.session.state.receipt;
        let (minted, expires) = receipt.minted.zip(receipt.expires).unwrap_or_default();
        let lifetime = whole_seconds(minted, expires);
        let longest = Duration::from_secs(LEEWAY.unsigned_abs()) + SUCCESS_CACHE + SLACK;
        let give_up = Instant::now() + lifetime + longest;
        loop {
            let (accepted, now) = is_accepted(holder, &Budget::new(TIME_LIMIT)).await?;
            let (left, age) = (whole_seconds(now, expires), whole_seconds(expires, now));
            if !accepted && !left.is_zero() {
                let what = format!(
                    "the API server refuses the token {} before it expires",
                    in_words(left.as_secs())
                );
                return Err(Error::new(Kind::Claims, what).help(
                    "check whether somebody deleted its anchor or its ServiceAccount, and whether the clocks \
                     of the API servers differ",
                ));
            }
            if !accepted || age > longest || Instant::now() > give_up {
                self.progress.clear();
                return Ok((!accepted, age));
            }
            let (part, text, pause) = match left.as_secs() {
                0 => (
                    1.0,
                    "the token has expired; the API server still accepts it (for up to 80 s)".to_owned(),
                    Duration::from_secs(1),
                ),
                seconds => (
                    1.0 - left.as_secs_f64() / lifetime.as_secs_f64().max(1.0),
                    format!("the token works; expires in {}", roughly(seconds)),
                    LONG_INTERVAL.min(left),
                ),
            };
            self.progress.show(part, &text);
            sleep(pause).await;
        }
    }

    /// Runs the client, if there is one, until it ends or its time limit is over.
    async fn use_client(&mut self, token: &Token) -> Result<Option<ClientRun>, Error> {
        let Some(client) = &self.client else {
            return Ok(None);
        };
        let refusal = RefusalFlag::default();
        let masker = self.session.masker(token)?;
        let (masked, streams) = Masked::start_watched(&masker, RefusalFlag::clone(&refusal))?;
        let mut command = self.session.command(&client.program, streams);
        if let Some(name) = client.variable {
            command.env(name, token.expose());
        }
        // A client that asks for a password must fail, and not wait.
        command.stdin(Stdio::null()).kill_on_drop(true);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .map_err(|error| client.program.cannot_start(&error))?;
        // `command` keeps the writing ends of the pipes open. The maskers would treat it like a background
        // process that still writes.
        drop(command);
        let ended = timeout(client.limit, child.wait()).await;
        let took = started.elapsed();
        let status = match ended {
            Ok(status) => Some(status.map_err(|error| client.program.cannot_start(&error))?),
            Err(_) => {
                pass_on(Signal::Term, &child);
                if timeout(STOP_GRACE, child.wait()).await.is_err() {
                    let _ = child.kill().await;
                }
                None
            }
        };
        masked.finish().await?;
        Ok(Some(ClientRun {
            exit_code: status.map(exit_code),
            took,
            reported_refusal: refusal.load(Ordering::Relaxed),
        }))
    }
}

/// Fails if the API server refuses the token.
async fn must_work(holder: &Cluster) -> Result<(), Error> {
    if is_accepted(holder, &Budget::new(TIME_LIMIT)).await?.0 {
        return Ok(());
    }
    let what = "the API server refuses the token, which should work";
    Err(Error::new(Kind::Claims, what).help(
        "check whether somebody deleted its anchor or its ServiceAccount, and whether all API servers accept \
         it",
    ))
}

/// The time from `from` to `to`, or zero if `to` is earlier.
fn whole_seconds(from: Timestamp, to: Timestamp) -> Duration {
    let seconds = to.as_second().saturating_sub(from.as_second());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl ClientRun {
    /// The run in words.
    fn in_words(self) -> String {
        let took = self.took.as_secs_f64();
        match self.exit_code {
            Some(0) => format!("succeeded in {took:.1} s"),
            Some(status) => format!("failed in {took:.1} s with exit status {status}"),
            None => format!("did not end within {}", in_words(self.took.as_secs())),
        }
    }

    /// Whether the client failed within its time limit. A client with a dead token must do so.
    fn is_graceful(self) -> bool {
        !matches!(self.exit_code, None | Some(0))
    }

    fn json(self) -> Value {
        json!({ "status": self.exit_code, "seconds": tenths(self.took), "said-unauthorized": self.reported_refusal })
    }
}

/// Seconds, rounded to tenths.
fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

impl TestResult {
    /// The kind of the failure, if the test has failed.
    fn failure(&self) -> Option<Kind> {
        match (self.refused, self.end) {
            (false, End::Revoked(_)) => Some(Kind::Revoke),
            (false, End::Expired) => Some(Kind::Claims),
            _ => self
                .after
                .filter(|used| !used.is_graceful())
                .map(|_| Kind::Claims),
        }
    }

    /// The result as JSON.
    fn json(&self, receipt: &Receipt) -> Value {
        let (end, after) = match self.end {
            End::Expired => ("expired", None),
            End::Revoked(time) => ("revoked", Some(time.as_secs())),
        };
        json!({
            "service-account": receipt.service_account, "namespace": receipt.namespace, "credential-id": receipt.credential_id,
            "end": end, "revoked-after": after, "refused": self.refused, "accepted-for": tenths(self.accepted),
            "before": self.before.map(ClientRun::json), "after": self.after.map(ClientRun::json), "passed": self.failure().is_none(),
        })
    }

    /// The result as text for people.
    fn text(&self, receipt: &Receipt, screen: Screen) -> String {
        let (end, why) = match self.end {
            End::Expired => (
                receipt.expires.map_or_else(|| "(not known)".into(), time),
                "API servers tolerate clocks that differ by a minute, and cache a valid token for 10 s",
            ),
            End::Revoked(time) => (
                format!(
                    "after {}, a moment after a request with it",
                    in_words(time.as_secs())
                ),
                "an API server caches a valid token for 10 s",
            ),
        };
        let name = if self.end == End::Expired {
            "expired"
        } else {
            "revoked"
        };
        let accepted = tenths(self.accepted);
        let (refused, colour) = match self.refused {
            true if accepted < 1.0 => ("at once".into(), GREEN),
            true => (format!("{accepted} s later ({why})"), GREEN),
            false => (format!("not even after {accepted} s"), RED),
        };
        let mut rows = vec![screen.row(
            "token",
            &format!("ServiceAccount {}/{}", receipt.namespace, receipt.service_account),
            "",
        )];
        let mut row = |name, value: &str, colour| rows.push(screen.row(name, value, colour));
        row("used", "the API server accepts it", GREEN);
        if let Some(used) = self.before {
            row("client", &used.in_words(), GREEN);
        }
        row(name, &end, "");
        row("refused", &refused, colour);
        if let Some(used) = self.after {
            let (said, colour) = match (used.is_graceful(), used.reported_refusal) {
                (false, _) => ("so the client did not notice that its token is dead", RED),
                (true, true) => ("and reported that the API server refuses its token", GREEN),
                (true, false) => (
                    "but did not report that the API server refuses its token (401, Unauthorized)",
                    YELLOW,
                ),
            };
            row("client", &format!("{}, {said}", used.in_words()), colour);
        }
        match self.failure() {
            None => row("verdict", "passed", GREEN),
            Some(_) => row("verdict", "failed", RED),
        }
        rows.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::terminal::screen::PIPE;

    fn client_run(exit_code: Option<u8>, reported_refusal: bool) -> ClientRun {
        ClientRun {
            exit_code,
            took: Duration::from_millis(1340),
            reported_refusal,
        }
    }

    fn result(end: End, refused: bool, after: Option<ClientRun>) -> TestResult {
        TestResult {
            end,
            accepted: Duration::from_millis(9_760),
            refused,
            before: after.map(|_| client_run(Some(0), false)),
            after,
        }
    }

    const REVOKED: End = End::Revoked(Duration::from_secs(30));

    #[rstest]
    #[case::expired(End::Expired, true, None, None)]
    #[case::revoked(REVOKED, true, None, None)]
    #[case::still_accepted_after_expiry(End::Expired, false, None, Some(Kind::Claims))]
    #[case::still_accepted_after_revocation(REVOKED, false, None, Some(Kind::Revoke))]
    #[case::client_failed(REVOKED, true, Some(client_run(Some(1), true)), None)]
    #[case::client_failed_silently(REVOKED, true, Some(client_run(Some(1), false)), None)]
    #[case::client_succeeded(REVOKED, true, Some(client_run(Some(0), true)), Some(Kind::Claims))]
    #[case::client_did_not_end(REVOKED, true, Some(client_run(None, true)), Some(Kind::Claims))]
    #[case::both_failed(REVOKED, false, Some(client_run(Some(0), false)), Some(Kind::Revoke))]
    fn a_test_fails_if_the_api_server_or_the_client_did_not_notice(
        #[case] end: End,
        #[case] refused: bool,
        #[case] after: Option<ClientRun>,
        #[case] expected: Option<Kind>,
    ) {
        let result = result(end, refused, after);
        assert_eq!(result.failure(), expected);
        let receipt = receipt();
        assert_eq!(result.json(&receipt)["passed"], expected.is_none());
        let verdict = if expected.is_none() { "passed" } else { "failed" };
        assert!(result.text(&receipt, PIPE).ends_with(verdict));
    }

    fn receipt() -> Receipt {
        serde_json::from_value(json!({
            "service-account": "scanner", "namespace": "ci", "anchor": "jobpass-1f0c6e7a1f0c6e7a1f0c",
            "expires": "2026-11-26T08:00:00Z",
        }))
        .expect("a receipt")
    }

    #[test]
    fn the_result_as_text() {
        let noticed = result(REVOKED, true, Some(client_run(Some(1), true)));
        insta::assert_snapshot!(noticed.text(&receipt(), PIPE), @"
        token          ServiceAccount ci/scanner
        used           the API server accepts it
        client         succeeded in 1.3 s
        revoked        after 30 s, a moment after a request with it
        refused        9.8 s later (an API server caches a valid token for 10 s)
        client         failed in 1.3 s with exit status 1, and reported that the API server refuses its token
        verdict        passed
        ");
        let unnoticed = result(End::Expired, false, Some(client_run(None, false)));
        insta::assert_snapshot!(unnoticed.text(&receipt(), PIPE), @"
        token          ServiceAccount ci/scanner
        used           the API server accepts it
        client         succeeded in 1.3 s
        expired        2026-11-26 08:00:00 UTC
        refused        not even after 9.8 s
        client         did not end within 1 s, so the client did not notice that its token is dead
        verdict        failed
        ");
    }

    #[test]
    fn the_time_left_is_never_negative() {
        let [earlier, later] =
            [1_800_000_000, 1_800_000_090].map(|s| Timestamp::from_second(s).expect("a time"));
        assert_eq!(whole_seconds(earlier, later), Duration::from_secs(90));
        assert_eq!(whole_seconds(later, earlier), Duration::ZERO);
    }
}
