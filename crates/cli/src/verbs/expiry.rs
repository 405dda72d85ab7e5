//! `jobpass expiry-test`.

use std::{
    ffi::OsString,
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
    inputs::{flags, lifetime, lifetime::Lifetime, spec::TokenType},
    life::revoke::SUCCESS_CACHE,
    process::{environment::Environment, interrupt::Interrupt},
    text::{in_words, time},
    token::Token,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    options::command,
    session::{
        Session,
        child::Program,
        masked_output::{Masked, Seen},
        signals::{exit_code, pass_on},
    },
    terminal::{
        output,
        progress::{Progress, TICK},
        screen::{GREEN, RED, Screen, YELLOW, roughly},
    },
};

/// The shortest that an API server issues.
const SHORTEST: &str = "600";
/// One question whether the token works, retries included.
const ASK: Duration = Duration::from_secs(15);
/// How often that is asked while the token is to work, and while it should not any more.
const SELDOM: Duration = Duration::from_secs(5);
const OFTEN: Duration = Duration::from_millis(250);
/// What an API server may take longer than it says it does.
const SLACK: Duration = Duration::from_secs(10);
/// A client that was told to stop has so long.
const LAST_USE: Duration = Duration::from_secs(1);

pub(crate) fn command() -> Command {
    let own = flags::flags().filter_map(|flag| match flag.get_id().as_str() {
        // Files are chosen here; a token for others cannot be tried; that it is revoked is what is tested.
        "token-file" | "kubeconfig-file" | "renew-for" | "audiences" | "verify-revocation" | "fail-on-revoke-error" => None,
        "duration" => Some(flag.help(
            "How long the token lives; without `--revoke-after`, how long the test takes, and up to a minute more [default: 10m]",
        )),
        _ => Some(flag),
    });
    Command::new("expiry-test")
        .about("Mint a token, use it, wait until it has expired or is revoked, and see whether it, and a client, stop working")
        .args(own)
        .arg(
            Arg::new("revoke-after")
                .long("revoke-after")
                .value_name("TIME")
                .help("Do not wait for the token to expire: revoke it after this time, as in `30s`"),
        )
        .arg(
            Arg::new("time-limit")
                .long("time-limit")
                .value_name("TIME")
                .default_value("60s")
                .help("How long the client may take, each time"),
        )
        .args([output::flag(), command::env(), command::words().required(false)])
        .after_help(
            "COMMAND is the client under test. It runs twice, with KUBECONFIG and JOBPASS_TOKEN_FILE as from `jobpass exec`, its \
             output masked, on standard error: it must succeed while the token works, and fail in time when it does not.\n\
             Exit codes: 0 all as it should be; 5 the client did not notice, or did not work before, or the expired token still works; \
             7 the revoked token still works.\n\n\
             Examples:\n  jobpass expiry-test --service-account scanner --namespace ci --revoke-after 30s\n  \
             jobpass expiry-test --service-account scanner --namespace ci -- kubectl get pods",
        )
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let given = flags::inputs(matches)?;
    let duration = matches
        .get_one::<String>("duration")
        .map_or(SHORTEST, String::as_str);
    let lifetime = Lifetime::parse(duration)?;
    let time = |name| {
        let text = matches.get_one::<String>(name);
        text.map(|text| lifetime::time(name, text)).transpose()
    };
    let revoke_after = time("revoke-after")?;
    if let Some(time) = revoke_after.filter(|time| time.as_secs() >= lifetime.seconds()) {
        return Err(Error::input(
            "revoke-after",
            format!(
                "is {}, when the token has expired by itself",
                in_words(time.as_secs())
            ),
            "give less, or more `--duration`",
        ));
    }
    if revoke_after.is_none() && TokenType::parse(&given)? == TokenType::Legacy {
        return Err(Error::input(
            "type",
            "is `legacy`: such a token never expires by itself, so there is nothing to wait for",
            "add `--revoke-after 30s`, to test that it ends when it is revoked; or leave out `type`",
        ));
    }
    let limit = time("time-limit")?.unwrap_or_default();
    let client = match matches.get_many::<OsString>("command") {
        Some(words) => Some(Client {
            program: Program::find(words, environment)?,
            variable: command::variable(matches)?,
            limit,
        }),
        None => None,
    };
    let session = Session::mint(&given, lifetime, environment, &mut interrupt).await?;
    let mut test = Test {
        session,
        client,
        progress: Progress::new(),
    };
    let found = test.run(revoke_after, &mut interrupt).await;
    test.progress.clear();
    let revoked = test.session.revoke(&mut interrupt).await;
    let found = match (found, revoked) {
        (Ok(found), Ok(_)) => found,
        (Err(error), Err(left)) => return Err(error.help(left.to_string())),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
    };
    if output::is_json(matches) {
        output::result(&found.json(&test.session).to_string())?;
    } else {
        output::result(&found.text(&test.session, Screen::of_stdout(environment)))?;
    }
    Ok(found
        .failure()
        .map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

struct Test<'a> {
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

/// How one run of the client went.
#[derive(Clone, Copy)]
struct Use {
    /// As a shell says it; none if it did not end in time.
    status: Option<u8>,
    took: Duration,
    /// Whether it said that it was not let in.
    said: bool,
}

/// How the token's life ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Expired,
    /// This long after it was minted.
    Revoked(Duration),
}

struct Found {
    end: End,
    /// How long after its end the API server still took the token.
    accepted: Duration,
    refused: bool,
    before: Option<Use>,
    after: Option<Use>,
}

impl Test<'_> {
    async fn run(
        &mut self,
        revoke_after: Option<Duration>,
        interrupt: &mut Interrupt,
    ) -> Result<Found, Error> {
        let minted = Instant::now();
        let token = self.session.token()?;
        let holder = self.session.cluster.with_token(&token)?;
        let before = interrupt.unless(self.before(&holder, &token)).await?;
        let (end, (refused, accepted)) = match revoke_after {
            Some(time) => {
                interrupt.unless(self.until(minted, time)).await?;
                // An API server that has just seen that it is good takes it longest.
                interrupt.unless(must_work(&holder)).await?;
                self.session.revoke_all_but_files(interrupt).await?;
                (
                    End::Revoked(time),
                    interrupt.unless(self.until_refused(&holder)).await?,
                )
            }
            None => (End::Expired, interrupt.unless(self.until_expired(&holder)).await?),
        };
        let after = interrupt.unless(self.use_client(&token)).await?;
        Ok(Found {
            end,
            accepted,
            refused,
            before,
            after,
        })
    }

    async fn before(&mut self, holder: &Cluster, token: &Token) -> Result<Option<Use>, Error> {
        must_work(holder).await?;
        let used = self.use_client(token).await?;
        match used.filter(|used| used.status != Some(0)) {
            Some(used) => {
                let what = format!("the command {}, although its token works", used.in_words());
                Err(Error::new(Kind::Claims, what).help(
                    "how it ends without one says nothing then: try it with `jobpass exec`; what it may do in the cluster is up to the \
                     ServiceAccount's Roles",
                ))
            }
            None => Ok(used),
        }
    }

    async fn until(&mut self, minted: Instant, time: Duration) -> Result<(), Error> {
        while let Some(left) = time.checked_sub(minted.elapsed()).filter(|left| !left.is_zero()) {
            let part = 1.0 - left.as_secs_f64() / time.as_secs_f64();
            let words = roughly(left.as_secs_f64().ceil() as u64);
            self.progress
                .show(part, &format!("the token works; revoked in {words}"));
            sleep(left.min(TICK)).await;
        }
        self.progress.clear();
        Ok(())
    }

    /// Whether, and when, the API server refuses a token whose anchor was deleted just now.
    async fn until_refused(&mut self, holder: &Cluster) -> Result<(bool, Duration), Error> {
        let deleted = Instant::now();
        let longest = SUCCESS_CACHE + SLACK;
        loop {
            let accepted = is_accepted(holder, &Budget::new(ASK)).await?.0;
            let age = deleted.elapsed();
            if !accepted || age > longest {
                self.progress.clear();
                return Ok((!accepted, age));
            }
            let part = age.as_secs_f64() / SUCCESS_CACHE.as_secs_f64();
            self.progress
                .show(part, "revoked; still accepted (a cache of 10 s)");
            sleep(OFTEN).await;
        }
    }

    /// The same for one that expires by itself, from now on. The API server's clock counts, which decides about expiry.
    async fn until_expired(&mut self, holder: &Cluster) -> Result<(bool, Duration), Error> {
        let receipt = &self.session.state.receipt;
        let (minted, expires) = receipt.minted.zip(receipt.expires).unwrap_or_default();
        let lifetime = whole_seconds(minted, expires);
        let longest = Duration::from_secs(LEEWAY.unsigned_abs()) + SUCCESS_CACHE + SLACK;
        let give_up = Instant::now() + lifetime + longest;
        loop {
            let (accepted, now) = is_accepted(holder, &Budget::new(ASK)).await?;
            let (left, age) = (whole_seconds(now, expires), whole_seconds(expires, now));
            if !accepted && !left.is_zero() {
                let what = format!(
                    "the API server refuses the token {} before it expires",
                    in_words(left.as_secs())
                );
                return Err(Error::new(Kind::Claims, what).help(
                    "somebody deleted its anchor or its ServiceAccount, or the API servers' clocks differ",
                ));
            }
            if !accepted || age > longest || Instant::now() > give_up {
                self.progress.clear();
                return Ok((!accepted, age));
            }
            let (part, text, pause) = match left.as_secs() {
                0 => (
                    1.0,
                    "expired; still accepted (for up to a minute)".to_owned(),
                    Duration::from_secs(1),
                ),
                seconds => (
                    1.0 - left.as_secs_f64() / lifetime.as_secs_f64().max(1.0),
                    format!("the token works; expires in {}", roughly(seconds)),
                    SELDOM.min(left),
                ),
            };
            self.progress.show(part, &text);
            sleep(pause).await;
        }
    }

    /// Runs the client, if there is one.
    async fn use_client(&mut self, token: &Token) -> Result<Option<Use>, Error> {
        let Some(client) = &self.client else {
            return Ok(None);
        };
        let seen = Seen::default();
        let (masked, streams) = Masked::start_watched(&self.session.masker(token), Seen::clone(&seen))?;
        let mut command = client
            .program
            .command(&self.session.state.files, &self.session.inputs, streams);
        if let Some(name) = client.variable {
            command.env(name, token.expose());
        }
        // Nobody is there to be asked for a password.
        command.stdin(Stdio::null()).kill_on_drop(true);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .map_err(|error| client.program.cannot_start(&error))?;
        // It holds the writing ends of the pipes.
        drop(command);
        let ended = timeout(client.limit, child.wait()).await;
        let took = started.elapsed();
        let status = match ended {
            Ok(status) => Some(status.map_err(|error| client.program.cannot_start(&error))?),
            Err(_) => {
                pass_on(Signal::TERM, &child);
                if timeout(LAST_USE, child.wait()).await.is_err() {
                    let _ = child.kill().await;
                }
                None
            }
        };
        masked.finish().await?;
        Ok(Some(Use {
            status: status.map(exit_code),
            took,
            said: seen.load(Ordering::Relaxed),
        }))
    }
}

async fn must_work(holder: &Cluster) -> Result<(), Error> {
    if is_accepted(holder, &Budget::new(ASK)).await?.0 {
        return Ok(());
    }
    let what = "the API server refuses the token, which should work";
    Err(Error::new(Kind::Claims, what)
        .help("somebody deleted its anchor or its ServiceAccount, or the API servers do not agree about it"))
}

/// Zero if `to` is before `from`.
fn whole_seconds(from: Timestamp, to: Timestamp) -> Duration {
    let seconds = to.as_second().saturating_sub(from.as_second());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl Use {
    fn in_words(self) -> String {
        let took = self.took.as_secs_f64();
        match self.status {
            Some(0) => format!("succeeded in {took:.1} s"),
            Some(status) => format!("failed in {took:.1} s with exit status {status}"),
            None => format!("did not end within {}", in_words(self.took.as_secs())),
        }
    }

    /// As a client should be whose token is refused.
    fn is_graceful(self) -> bool {
        !matches!(self.status, None | Some(0))
    }

    fn json(self) -> Value {
        json!({ "status": self.status, "seconds": tenths(self.took), "said-unauthorized": self.said })
    }
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

impl Found {
    /// Why it is not as it should be, if it is not.
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

    fn json(&self, session: &Session<'_>) -> Value {
        let receipt = &session.state.receipt;
        let (end, after) = match self.end {
            End::Expired => ("expired", None),
            End::Revoked(time) => ("revoked", Some(time.as_secs())),
        };
        json!({
            "service-account": receipt.service_account, "namespace": receipt.namespace, "credential-id": receipt.credential_id,
            "end": end, "revoked-after": after, "refused": self.refused, "accepted-for": tenths(self.accepted),
            "before": self.before.map(Use::json), "after": self.after.map(Use::json), "passed": self.failure().is_none(),
        })
    }

    fn text(&self, session: &Session<'_>, screen: Screen) -> String {
        let receipt = &session.state.receipt;
        let (end, why) = match self.end {
            End::Expired => (
                receipt.expires.map_or_else(|| "(not known)".into(), time),
                "API servers let clocks differ by a minute, and remember for 10 s that a token was good",
            ),
            End::Revoked(time) => (
                format!(
                    "after {}, having been used the moment before",
                    in_words(time.as_secs())
                ),
                "an API server remembers for 10 s that a token was good",
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
            false => (format!("not even {accepted} s later"), RED),
        };
        let mut rows = vec![screen.row(
            "token",
            &format!("ServiceAccount {}/{}", receipt.namespace, receipt.service_account),
            "",
        )];
        let mut row = |name, value: &str, colour| rows.push(screen.row(name, value, colour));
        row("used", "the API server takes it", GREEN);
        if let Some(used) = self.before {
            row("client", &used.in_words(), GREEN);
        }
        row(name, &end, "");
        row("refused", &refused, colour);
        if let Some(used) = self.after {
            let (said, colour) = match (used.is_graceful(), used.said) {
                (false, _) => ("so it did not notice that its token is good for nothing", RED),
                (true, true) => ("and said that it was not let in", GREEN),
                (true, false) => (
                    "but did not say that it was not let in (401, Unauthorized)",
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
