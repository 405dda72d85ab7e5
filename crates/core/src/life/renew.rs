//! The renewal of a token, for jobs that last longer than one token should live.
//!
//! Each new token is bound to the same anchor, so that one deletion ends all of them. The renewer writes the
//! new token over the old one in `token-file` and in the kubeconfig. The kubeconfig also names `token-file`,
//! and programs that use client-go read that file again about every minute (`transport/token_source.go`). The
//! renewer has the minter's credential, so the steps of the job do not need it. A proxy that keeps the token
//! renews it in its own memory, and writes it to no file.

use std::{
    io::{self, Read},
    pin::pin,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    inputs::{
        checks::Checks,
        lifetime::Lifetime,
        metadata::Metadata,
        options::Inputs,
        spec::{Spec, TokenType},
    },
    life::{
        proxy,
        token_request::{MINT, Minted, request_token},
    },
    minter::Minter,
    process::{
        beside,
        environment::Environment,
        interrupt::{Interrupt, Signal},
    },
    record::{
        filter::FilterJournal,
        journal::{Entry, Journal},
        receipt::Receipt,
        renewal::Renewal,
        state::State,
        token_files::Files,
    },
    refusal::RequiredPermission,
    text::{self, harmless},
    token::Token,
};

/// The verb of `jobpass` and `jobpass-github` that runs [`run`]. The guard of `jobpass-gitlab` renews tokens
/// itself.
pub const VERB: &str = "renew";

/// The fraction of a token's lifetime after which jobpass renews the token, the same as in kubelets
/// (`pkg/kubelet/token/token_manager.go`).
const OLD: f64 = 0.8;
/// The pause between two looks at the journal: its absence tells the renewer that the job has ended.
const LOOK: Duration = Duration::from_millis(500);
/// The longest wait after a failed renewal before the next attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The greatest number of earlier tokens that the renewer looks for in the kubeconfig. The kubeconfig holds
/// the latest of them, unless a write failed.
const KEPT: usize = 16;

/// The shortest time between a renewal and the early renewal after a 401 of the API server.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Starts the renewer: this program with [`VERB`], and with the state on its standard input. The renewer
/// renews the token for the time of `renew-for`, or until the end of the job removes the journal. The renewer
/// inherits the variables that may hold the minter's credential. Does nothing for a token without renewal,
/// and for a token that a proxy holds and renews.
///
/// The renewer stays in the process group of the job, so a runner that kills this group also ends the
/// renewer.
///
/// # Errors
/// As [`State::json`]. Also if the renewer does not start, ends at once, or is not ready within 5 s. If the
/// renewer does not become ready, the error holds its output.
pub fn in_background(state: &State) -> Result<(), Error> {
    if state.renewal.is_none() || state.proxy.is_some() {
        return Ok(());
    }
    let json = state.json()?;
    beside::start(&[VERB], &json).map_err(|error| {
        let why = harmless(&error.to_string());
        let what = format!("cannot start the renewer of the token: {why}");
        Error::new(Kind::Deliver, what).help(beside::NEXT_STEP)
    })
}

/// Runs the renewer or the job's proxy. Writes to `ready` when the renewer or the proxy is ready.
///
/// # Errors
/// If `message` holds no state, or after a signal other than SIGHUP. Also as [`renew_until_end`] for the
/// renewer, and as [`JobProxy::open`](proxy::JobProxy::open) and [`JobProxy::serve`](proxy::JobProxy::serve)
/// for a proxy.
pub async fn run(
    message: impl Read,
    ready: impl io::Write,
    inputs: &Inputs,
    environment: &Environment,
    interrupt: &mut Interrupt,
) -> Result<(), Error> {
    let (state, token) = proxy::read(message)?;
    if let Some(token) = token {
        return proxy::run(&state, &token, ready, inputs, environment, interrupt).await;
    }
    let ready = || beside::ready(ready);
    until_signal(renew_until_end(&state, inputs, environment, ready), interrupt).await
}

/// Runs `work` until its end, or until a signal other than SIGHUP.
///
/// # Errors
/// As `work`. Also after such a signal.
pub(crate) async fn until_signal(
    work: impl Future<Output = Result<(), Error>>,
    interrupt: &mut Interrupt,
) -> Result<(), Error> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            signal = interrupt.signal() => match signal {
                // On some runners (`act`) a step has a terminal. The kernel sends SIGHUP when the step ends,
                // but later steps still need the token.
                Signal::Hup => {}
                signal => {
                    interrupt.redeliver(signal);
                    return Err(interrupt.wait().await);
                }
            },
            ended = &mut work => return ended,
        }
    }
}

/// Renews the token of `state` after four fifths of each token's lifetime. Stops when a token lasts to the
/// end of `renew-for`, or when `renew-for` is over. After a failure, tries again, and writes only the first
/// of several failures in a row to the journal. Calls `ready` once, before the first wait. Does nothing for a
/// token without renewal.
///
/// # Errors
/// If the anchor is gone, or if the journal is gone or cannot be opened.
pub async fn renew_until_end(
    state: &State,
    inputs: &Inputs,
    environment: &Environment,
    ready: impl FnOnce(),
) -> Result<(), Error> {
    let (Some(_), Some(path)) = (&state.renewal, &state.files.journal) else {
        return Ok(());
    };
    let gone = || {
        let path = text::path(path);
        let what =
            format!("jobpass no longer renews the token: somebody removed or replaced its journal `{path}`");
        Error::new(Kind::Revoke, what).help(
            "the current token works until it expires. Find the command that removes files in the journal's \
             folder, and exclude the journal",
        )
    };
    let journal = Journal::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => gone(),
        _ => {
            let (path, why) = (text::path(path), harmless(&error.to_string()));
            let what = format!("cannot renew the token: cannot open its journal `{path}`: {why}");
            Error::new(Kind::Deliver, what)
                .help("check the file and its folder, and the machine's limit for open files")
        }
    })?;
    ready();
    let removed = async {
        while journal.is_there() {
            tokio::time::sleep(LOOK).await;
        }
    };
    // The tokens that the kubeconfig may hold.
    let mut handed_over = state.files.token().into_iter().collect::<Vec<_>>();
    let replace = |new: &Minted| {
        FilterJournal::announce_renewed(environment, &new.token)?;
        let write = |entry: &Entry| journal.write(entry);
        replace_token(&state.files, new, &mut handed_over, write, || journal.is_there())
    };
    let early = std::future::pending;
    tokio::select! {
        kept = renewal_loop(state, &journal, inputs, environment, replace, early) => kept,
        () = removed => Err(gone()),
    }
}

/// Like [`renew_until_end`], for a token that no file holds. `replace` gets each new token. `refusals` gives
/// a notification when the API server answers 401. jobpass then renews the token early.
///
/// # Errors
/// If the anchor is gone.
pub(crate) async fn renew_held(
    state: &State,
    journal: &Journal,
    inputs: &Inputs,
    environment: &Environment,
    mut replace: impl FnMut(&Token) -> Result<(), Error>,
    refusals: &Notify,
) -> Result<(), Error> {
    let replace = |new: &Minted| {
        replace(&new.token)?;
        // Only the receipt needs this entry, so a failed write does not matter to the job.
        let _ = journal.write(&renewed(new));
        Ok(())
    };
    let early = async || {
        tokio::time::sleep(LEAST_PAUSE).await;
        refusals.notified().await;
    };
    renewal_loop(state, journal, inputs, environment, replace, early).await
}

/// Renews the token when it is old, or when the future of `early` ends. `replace` hands the new token over.
async fn renewal_loop<E: Future<Output = ()>>(
    state: &State,
    journal: &Journal,
    inputs: &Inputs,
    environment: &Environment,
    mut replace: impl FnMut(&Minted) -> Result<(), Error>,
    mut early: impl FnMut() -> E,
) -> Result<(), Error> {
    let Some(renewal) = &state.renewal else {
        return Ok(());
    };
    let spec = spec(state, renewal);
    let life = lifetime(state.receipt.minted, state.receipt.expires);
    let mut schedule = Schedule::new(Instant::now(), life, Duration::from_secs(renewal.seconds));
    while !schedule.is_over(Instant::now()) {
        tokio::select! {
            () = tokio::time::sleep(schedule.wait) => {}
            () = early() => {}
        }
        let renewed = match renew(state, &spec, inputs, environment).await {
            Ok(Some(new)) => replace(&new).map(|()| new),
            Ok(None) => {
                let what = "jobpass no longer renews the token: its anchor is gone, so the token is revoked";
                let Receipt {
                    namespace, anchor, ..
                } = &state.receipt;
                return Err(Error::new(Kind::Revoke, what).help(format!(
                    "find out who deleted the Secret {namespace}/{anchor}: a command of this job, a sweep, \
                     or an administrator"
                )));
            }
            Err(error) => Err(error),
        };
        match renewed {
            Ok(new) => {
                let life = lifetime(time_of(new.claims.iat), time_of(new.claims.exp));
                schedule.renewed(Instant::now(), life);
            }
            Err(error) => {
                if schedule.failed() {
                    // If this write fails as well, there is no other way to report the failure.
                    let _ = journal.write(&Entry::Failed {
                        at: jiff::Timestamp::now(),
                        why: harmless(&error.to_string()),
                    });
                }
            }
        }
    }
    Ok(())
}

/// The times at which jobpass renews a token.
struct Schedule {
    /// The end of `renew-for`, or of a proxy's `duration`.
    end: Instant,
    minted: Instant,
    /// The lifetime of the last token.
    life: Duration,
    /// The time until the next attempt.
    wait: Duration,
    /// Whether the last attempt failed.
    fails: bool,
}

impl Schedule {
    fn new(now: Instant, life: Duration, renew_for: Duration) -> Self {
        Self {
            end: now + renew_for,
            minted: now,
            life,
            wait: life.mul_f64(OLD),
            fails: false,
        }
    }

    /// Whether no renewal is left: the last token lasts until `end`, or `end` has come.
    fn is_over(&self, now: Instant) -> bool {
        self.minted + self.life >= self.end || now >= self.end
    }

    fn renewed(&mut self, now: Instant, life: Duration) {
        *self = Self {
            end: self.end,
            ..Self::new(now, life, Duration::ZERO)
        };
    }

    /// Plans the next attempt after a failure. If each attempt fails without delay, at least four come before
    /// the token expires. Returns whether this is the first failure in a row.
    fn failed(&mut self) -> bool {
        self.wait = self.life.mul_f64((1.0 - OLD) / 4.0).min(LONGEST_WAIT);
        !std::mem::replace(&mut self.fails, true)
    }
}

fn time_of(seconds: Option<i64>) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(seconds?).ok()
}

async fn renew(
    state: &State,
    spec: &Spec,
    inputs: &Inputs,
    environment: &Environment,
) -> Result<Option<Minted>, Error> {
    let uid = state.receipt.anchor_uid.as_deref().unwrap_or_default();
    let work = async {
        // This finds the minter again each time, because an ID token or a plugin's credential may live only
        // for minutes.
        let minter = Minter::from_recorded(&state.connection, &state.auth, inputs, environment).await?;
        let cluster = Cluster::connect(&minter)?;
        let (anchor, account) = (
            &state.receipt.anchor,
            state.receipt.service_account_uid.as_deref(),
        );
        let permission = RequiredPermission::renewing(&spec.namespace, &spec.service_account, state.role);
        let budget = Budget::new(MINT);
        let minted = request_token(&cluster, spec, anchor, uid, account, &permission, &budget).await?;
        if let Some(minted) = &minted {
            minted.claims.verify(spec, uid, account)?;
        }
        Ok(minted)
    };
    // An exec plugin has a limit of its own. This limit covers all steps.
    tokio::time::timeout(2 * MINT, work).await.unwrap_or_else(|_| {
        let what = format!("renewing the token took longer than {} s", (2 * MINT).as_secs());
        let error = Error::new(Kind::Unreachable, what);
        Err(error.help(
            "check the source of the minter's credential (an exec plugin, or the CI platform's endpoint for \
             ID tokens), and the connection to the API server",
        ))
    })
}

/// Hands the new token over in place of one of `handed_over`, and adds the new token to `handed_over`.
/// `write` adds an entry to the journal, and `is_there` says whether the journal still exists.
fn replace_token(
    files: &Files,
    new: &Minted,
    handed_over: &mut Vec<Token>,
    write: impl Fn(&Entry) -> io::Result<()>,
    is_there: impl Fn() -> bool,
) -> Result<(), Error> {
    let write = |entry| {
        write(&entry).map_err(|error| {
            let why = harmless(&error.to_string());
            let what = format!("cannot write the journal of the token: {why}");
            Error::new(Kind::Deliver, what).help("check the free space in the folder of the journal")
        })
    };
    // Log filters must know the token before any process can print it.
    write(Entry::Announced {
        token: new.token.clone(),
    })?;
    files.renew(&new.token, handed_over)?;
    // The kubeconfig now holds this token, even if the entry below cannot be written.
    if handed_over.len() == KEPT {
        handed_over.remove(0);
    }
    handed_over.push(new.token.clone());
    // The end of the job may have removed the journal and the token's file in between. Then the call above
    // has written the token's file again.
    if !is_there() {
        return files.remove();
    }
    write(renewed(new))
}

fn renewed(new: &Minted) -> Entry {
    Entry::Renewed {
        expires: time_of(new.claims.exp),
    }
}

/// The spec of each new token: that of the first token, without the rules, checks and metadata, which only
/// minting needs.
fn spec(state: &State, renewal: &Renewal) -> Spec {
    let receipt = &state.receipt;
    Spec {
        service_account: receipt.service_account.clone(),
        token_type: TokenType::Bound,
        rules: Vec::new(),
        namespace: receipt.namespace.clone(),
        lifetime: renewal.lifetime,
        renew_for: None,
        proxy: None,
        audiences: match state.for_api_server {
            true => Vec::new(),
            false => receipt.audiences.clone(),
        },
        checks: Checks::default(),
        metadata: Metadata::default(),
    }
}

/// The lifetime of a token, measured by the API server's clock.
fn lifetime(minted: Option<jiff::Timestamp>, expires: Option<jiff::Timestamp>) -> Duration {
    let life = minted
        .zip(expires)
        .map(|(minted, expires)| expires.duration_since(minted));
    // A token that never expires needs no renewal. A lifetime of zero would mean renewing without a pause.
    life.map_or(Duration::from_secs(Lifetime::MOST), |life| {
        Duration::try_from(life)
            .unwrap_or_default()
            .max(Duration::from_secs(1))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::record::state::tests::least;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The write to the journal fails after the kubeconfig got the second token. The next renewal still finds
    /// the second token in the kubeconfig.
    #[test]
    fn a_kubeconfig_is_renewed_after_a_failed_entry() {
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        let token = |name: &str| Token::parse(&format!("eyJ.a.{name}"), "token").expect("a token");
        let minted = |name: &str| Minted {
            token: token(name),
            claims: serde_json::from_str("{}").expect("claims"),
            access: None,
            warnings: Vec::new(),
        };
        let files = Files {
            kubeconfig_file: Some(kubeconfig.clone()),
            ..Files::default()
        };
        std::fs::write(&kubeconfig, "token: eyJ.a.first").expect("written");
        let mut handed_over = vec![token("first")];
        let full = |entry: &Entry| match entry {
            Entry::Renewed { .. } => Err(io::ErrorKind::StorageFull.into()),
            Entry::Announced { .. } | Entry::Failed { .. } => Ok(()),
        };
        let failed = replace_token(&files, &minted("second"), &mut handed_over, full, || true);
        assert_eq!(failed.expect_err("full").kind(), Kind::Deliver);
        let renewed = replace_token(&files, &minted("third"), &mut handed_over, |_| Ok(()), || true);
        renewed.expect("renewed");
        let text = std::fs::read_to_string(&kubeconfig).expect("a file");
        assert_eq!(text, "token: eyJ.a.third");
    }

    #[rstest]
    #[case::gone(|_: &Path| (), "somebody removed or replaced its journal `")]
    #[case::a_folder(|path: &Path| std::fs::create_dir(path).expect("created"), "cannot open its journal `")]
    #[tokio::test]
    async fn a_missing_journal_is_told_apart_from_one_that_cannot_be_opened(
        #[case] change: fn(&Path),
        #[case] said: &str,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal");
        change(&journal);
        let mut state = least();
        state.renewal = Some(Renewal {
            lifetime: Lifetime::SHORTEST,
            seconds: 3600,
        });
        state.files.journal = Some(journal.clone());
        let renewed = renew_until_end(&state, &Inputs::default(), &Environment::default(), || ()).await;
        let error = renewed.expect_err("no journal");
        assert!(error.message().contains(said), "{error}");
        assert!(error.message().contains(&text::path(&journal)), "{error}");
        assert!(error.next_step().is_some(), "{error}");
    }

    #[test]
    fn a_token_is_renewed_after_four_fifths_of_its_life_until_one_lasts_to_the_end() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(begun, 60 * MINUTE, 150 * MINUTE);
        assert_eq!(schedule.wait, 48 * MINUTE);
        let mut now = begun;
        let mut renewals = 0;
        while !schedule.is_over(now) {
            now += schedule.wait;
            schedule.renewed(now, 60 * MINUTE);
            renewals += 1;
        }
        // The renewals happen after 48 and 96 minutes. The last token lasts until minute 156.
        assert_eq!((renewals, now - begun), (2, 96 * MINUTE));
    }

    #[rstest]
    #[case::lasts_anyway(60, 60, 0, true)]
    #[case::lasts_too_short(59, 60, 0, false)]
    #[case::the_end_has_come_while_it_failed(10, 60, 60, true)]
    #[case::there_is_time_left_although_it_has_expired(10, 60, 59, false)]
    fn renewing_ends(#[case] life: u32, #[case] renew_for: u32, #[case] after: u32, #[case] over: bool) {
        let now = Instant::now();
        let schedule = Schedule::new(now, life * MINUTE, renew_for * MINUTE);
        assert_eq!(schedule.is_over(now + after * MINUTE), over);
    }

    #[rstest]
    #[case::short_life(10 * MINUTE, 30 * Duration::from_secs(1))]
    #[case::shorter(2 * MINUTE, Duration::from_secs(6))]
    #[case::long_life(24 * 60 * MINUTE, Duration::from_secs(30))]
    fn a_failure_is_said_once_and_tried_again_before_the_token_expires(
        #[case] life: Duration,
        #[case] wait: Duration,
    ) {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, life, 48 * 60 * MINUTE);
        assert!(schedule.failed(), "the first one");
        let rounded = Duration::from_millis(schedule.wait.as_millis().try_into().expect("short"));
        assert!(rounded.abs_diff(wait) <= Duration::from_millis(1), "{rounded:?}");
        assert!(!schedule.failed(), "the second one");
        schedule.renewed(now, life);
        assert!(schedule.failed(), "the first one after a success");
    }

    #[rstest]
    #[case::as_the_server_says(Some(0), Some(600), 600)]
    #[case::no_time(Some(600), Some(600), 1)]
    #[case::less_than_no_time(Some(600), Some(0), 1)]
    #[case::no_end(Some(0), None, Lifetime::MOST)]
    fn lifetimes(#[case] minted: Option<i64>, #[case] expires: Option<i64>, #[case] seconds: u64) {
        let life = lifetime(time_of(minted), time_of(expires));
        assert_eq!(life, Duration::from_secs(seconds));
    }
}
