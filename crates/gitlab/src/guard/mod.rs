//! `jobpass-gitlab guard`: the process beside a job's shell. The guard renews the token, and revokes it when
//! the script ends or shortly before the job's timeout.
//!
//! A runner signals the process group of the shell, so the guard has a session of its own and outlives the
//! shell. But a container ends with its shell, and the guard ends with the container. So the shell waits
//! until the guard has revoked the token, and the guard revokes before the job's timeout. With
//! `revoke-after: after_script`, the shell does not wait, and no guard is left after the container has ended.

mod ending;
mod pipe;
mod shell;

use std::{
    cell::Cell,
    io::{stdin, stdout},
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::Timestamp;
use jobpass_core::{
    Error, Kind,
    inputs::{
        flags,
        options::{Inputs, Opt},
    },
    life::{
        proxy::{self, JobProxy},
        renew,
        revoke::{self, REVOKE, Revoked},
    },
    minter::held::Held,
    process::{
        beside,
        interrupt::{Interrupt, Signal},
    },
    proxy::Door,
    record::{state::State, token_files::Files},
    text::{self, harmless},
    token::Token,
};
use rustix::process::setsid;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::{
    ending::{Ending, show},
    pipe::Request,
    shell::Script,
};
use self::{pipe::Pipe, shell::Watch};
use crate::{
    job::{Job, Recorded, value},
    log, open,
    time::{self, Timeout},
};

/// The longest wait for a guard: the time limit of a revocation, and 5 s for the guard's files.
const PATIENCE: Duration = REVOKE.saturating_add(Duration::from_secs(5));
/// The wait after the first failure to revoke. Each later wait is twice as long as the one before it, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// About the longest timeout of a job in GitLab, which is one month. It stands in for a timeout that jobpass
/// does not know.
const LONGEST_JOB: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The part of the job after which the guard revokes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Script,
    AfterScript,
}

impl After {
    /// The flag `--revoke-after` of `mint`.
    pub(crate) fn flag() -> Arg {
        Arg::new("revoke-after")
            .long("revoke-after")
            .env("JOBPASS_REVOKE_AFTER")
            .hide_env_values(true)
            .value_name("REVOKE_AFTER")
            .help(
                "`script`: jobpass revokes the token as soon as the script is over, or 15 seconds before \
                 the job's timeout. `after_script`: for an `after_script` that needs the token and ends \
                 with `jobpass-gitlab revoke`, which revokes it. In a container that ends with the script, \
                 nothing else revokes the token. [default: script]",
            )
    }

    pub(crate) fn parse(matches: &ArgMatches) -> Result<Self, Error> {
        match value(matches, "revoke-after") {
            None | Some("script") => Ok(Self::Script),
            Some("after_script") => Ok(Self::AfterScript),
            Some(other) => Err(Error::input(
                "revoke-after",
                format!("is `{}`", text::wrong(other)),
                "use `script` or `after_script`",
            )),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::AfterScript => "after_script",
        }
    }
}

pub(crate) fn command() -> Command {
    let shell = Arg::new("shell")
        .long("shell")
        .value_parser(clap::value_parser!(u32));
    let end = Arg::new("end").long("end").action(ArgAction::SetTrue);
    Command::new("guard")
        .args(flags::flags())
        .args([After::flag(), shell, end])
        .hide(true)
}

/// Starts a guard for a token that this job's script uses.
///
/// # Errors
/// If the guard does not start.
pub(crate) fn start(state: &State, script: Script, after: After, inputs: &Inputs) -> Result<(), Error> {
    let arguments = arguments(script, after, inputs);
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    beside::start(&arguments, &state.json()?).map_err(|error| {
        let why = harmless(&error.to_string());
        Error::new(
            Kind::Deliver,
            format!("cannot start the process that guards the token: {why}"),
        )
        .help(beside::NEXT_STEP)
    })
}

/// Starts a guard that keeps the token in a proxy.
///
/// # Errors
/// If the guard does not start.
pub(crate) fn start_with_proxy(
    state: &State,
    token: &Token,
    script: Script,
    after: After,
    inputs: &Inputs,
) -> Result<Door, Error> {
    let arguments = arguments(script, after, inputs);
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    proxy::beside(&arguments, state, token)
}

fn arguments(script: Script, after: After, inputs: &Inputs) -> Vec<String> {
    // A person may have given these options to `mint` as flags. The state or a variable holds every other
    // option for the end of a job.
    let same = [Opt::VerifyRevocation, Opt::FailOnRevokeError];
    let same = same
        .iter()
        .filter_map(|option| Some((*option, inputs.get(*option)?)));
    let same = same.map(|(name, value)| format!("--{name}={value}"));
    let shell = script.pid.to_string();
    let arguments = ["guard", "--shell", &*shell, "--revoke-after", after.word()];
    arguments.map(str::to_owned).into_iter().chain(same).collect()
}

/// Runs the guard. With `--end`, tells the guards of this job that its shell is about to end.
pub(crate) async fn run(matches: &ArgMatches, job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
    let inputs = flags::inputs_at_end(matches)?;
    if matches.get_flag("end") {
        // The script may have set JOBPASS_REVOKE_AFTER to a wrong value.
        let after = After::parse(matches).unwrap_or(After::Script);
        return end(job, &inputs, after, &mut interrupt).await;
    }
    let shell = matches.get_one::<u32>("shell").copied().unwrap_or_default();
    // This fails if a person started the guard from a terminal: the guard then leads a process group already.
    let _ = setsid();
    let (state, token) = proxy::read(stdin())?;
    let pipe = Pipe::make(job.file_of(&state, "guard"));
    let held = Held::of(&state.auth, &inputs, &job.environment);
    let proxy = token.map(|token| JobProxy::open(&state, &token)).transpose()?;
    let mut guard = Guard {
        job,
        state,
        inputs,
        held,
        proxy,
        after: After::parse(matches)?,
        shell: Watch::new(shell),
        pipe,
    };
    let why = guard.watch(&mut interrupt).await?;
    guard.revoke(why, &mut interrupt).await;
    Ok(())
}

/// Sends a request to the guards of this job, and waits until they have carried it out, but no longer than
/// [`PATIENCE`]. Returns the pipes of the guards that have not carried it out.
pub(crate) fn tell(job: &Job, request: Request) -> Vec<PathBuf> {
    pipe::tell(job.files("guard").into_iter(), request, PATIENCE)
}

/// Reads the results that this job's guards recorded, and removes the records. Returns only revocations, for
/// the caller to show in the log.
pub(crate) fn endings(job: &Job) -> Vec<Ending> {
    let endings = job.files("over").into_iter().filter_map(|path| {
        let ending = Ending::read(&path);
        let _ = std::fs::remove_file(path);
        ending.filter(Ending::is_revoked)
    });
    endings.collect()
}

/// Tells the job's guards that the shell is about to end, and shows their results. Calls [`stand_in`] for
/// each guard that does not answer. Also removes the files that `jobpass-gitlab open` wrote. The container
/// may end right after this function, and then no process can revoke.
async fn end(job: &Job, inputs: &Inputs, after: After, interrupt: &mut Interrupt) -> Result<(), Error> {
    for pipe in tell(job, Request::Over) {
        stand_in(job, &pipe, inputs, after, interrupt).await;
    }
    let mut failures = Vec::new();
    for path in job.files("over") {
        let Some(mut ending) = Ending::read(&path).filter(|ending| !ending.is_shown()) else {
            continue;
        };
        failures.extend(ending.show().err());
        ending.write(&path);
        if ending.is_revoked() {
            // This removes the mark that the job has begun to mint. The record of the revocation replaces the
            // mark. If the job has an `after_script` of its own, nothing else removes the mark.
            job.had_begun();
        }
    }
    open::close(job);
    match failures.pop() {
        Some(last) if inputs.flag(Opt::FailOnRevokeError).unwrap_or(true) => {
            failures.iter().for_each(log::error);
            Err(last)
        }
        last => {
            failures.iter().chain(&last).for_each(log::warning);
            Ok(())
        }
    }
}

/// Revokes the token in place of a guard that is late or was killed. If `after_script` is to revoke, only
/// warns.
async fn stand_in(job: &Job, pipe: &Path, inputs: &Inputs, after: After, interrupt: &mut Interrupt) {
    let (recorded, over) = (pipe.with_extension("json"), pipe.with_extension("over"));
    let is_ours = |other: &Recorded| other.is_ours && other.path == recorded;
    if over.exists() || !job.recorded().iter().any(is_ours) {
        return;
    }
    let Ok(mut state) = State::read(&recorded) else {
        return;
    };
    let (what, look) = match pipe.exists() {
        true => (
            format!(
                "the process that guards the token has not answered within {} s",
                PATIENCE.as_secs()
            ),
            "check the connection to the API server and, if the minter's kubeconfig has one, its exec \
             plugin. Also look for a command of the job that stops processes (`kill -STOP`)",
        ),
        false => (
            "a program or the kernel killed the process that guarded the token".to_owned(),
            "look for a command of the job that kills processes (`kill -9`, `pkill`), and for a memory limit",
        ),
    };
    let warn = |then: &str| Error::new(Kind::Revoke, format!("{what}{then}")).help(look);
    match after {
        After::Script => log::warning(&warn(": jobpass now revokes the token without that process")),
        After::AfterScript => {
            let help =
                "end `after_script` with `jobpass-gitlab revoke`: perhaps nothing else revokes the token";
            return log::warning(&warn("").help(help));
        }
    }
    let outcome = revoke::at_end_of_job(&mut state, None, inputs, &job.environment, interrupt).await;
    record(job, &state, outcome);
}

/// Records the result of a revocation. After a failure, keeps the state for another attempt.
fn record(job: &Job, state: &State, outcome: Result<Revoked, Error>) {
    let revoked = outcome.is_ok();
    Ending::new(state.receipt.clone(), outcome).write(&job.file_of(state, "over"));
    if revoked {
        let _ = std::fs::remove_file(job.state_file(state));
    }
}

struct Guard<'a> {
    job: &'a Job,
    state: State,
    inputs: Inputs,
    /// The minter's credential, kept in memory. The runner may remove the credential's files before the guard
    /// needs them, and a script may change them.
    held: Option<Held>,
    /// The proxy that keeps the token, if the input `proxy` is `true`.
    proxy: Option<JobProxy>,
    after: After,
    shell: Watch,
    pipe: Pipe,
}

/// The reason for revoking the token.
enum Why {
    Over,
    /// The job reaches its timeout in this time. In a container, no process is left after the timeout.
    Timeout(Duration),
    AfterScriptTimeout,
    Told,
}

impl Guard<'_> {
    /// Waits for a reason to revoke, and renews the token meanwhile.
    ///
    /// # Errors
    /// If the renewal cannot begin, or if `mint` cannot learn the address of the proxy.
    async fn watch(&mut self, interrupt: &mut Interrupt) -> Result<Why, Error> {
        let Self {
            job,
            state,
            inputs,
            proxy,
            after,
            shell,
            pipe,
            ..
        } = self;
        let now = Timestamp::now();
        let timeout = Timeout::of(&job.environment, now);
        let left = timeout.map_or(LONGEST_JOB, |timeout| time::until(timeout.deadline(), now));
        let deadline = Instant::now() + left;
        let mut end_of_after_script = None;
        let is_ready = Cell::new(state.renewal.is_none() || proxy.is_some());
        let ready = || {
            is_ready.set(true);
            beside::ready(stdout());
        };
        match proxy {
            Some(proxy) => proxy::tell(stdout(), proxy)?,
            None if is_ready.get() => beside::ready(stdout()),
            None => {}
        }
        let mut renewing = pin!(async {
            match proxy {
                Some(proxy) => {
                    let served = proxy.serve(state, inputs, &job.environment).await;
                    proxy.close().await;
                    served
                }
                None => renew::renew_until_end(state, inputs, &job.environment, ready).await,
            }
        });
        let mut renews = true;
        loop {
            let script_runs = end_of_after_script.is_none();
            let limit = end_of_after_script.map_or(deadline, |end: Instant| end.min(deadline));
            tokio::select! {
                () = shell.ended(), if script_runs => match after {
                    After::Script => return Ok(Why::Over),
                    After::AfterScript => {
                        end_of_after_script = Some(Instant::now() + time::of_after_script(&job.environment));
                    }
                },
                request = pipe.request() => match (request, *after) {
                    (Request::Revoke, _) => return Ok(Why::Told),
                    (Request::Over, After::Script) => return Ok(Why::Over),
                    // The script's shell ends, and another shell runs `after_script`.
                    (Request::Over, After::AfterScript) if script_runs => pipe.let_go(),
                    (Request::Over, After::AfterScript) => return Ok(Why::Over),
                },
                () = sleep_until(limit) => return Ok(match timeout {
                    Some(timeout) if limit == deadline => Why::Timeout(timeout.margin()),
                    _ => Why::AfterScriptTimeout,
                }),
                signal = interrupt.signal() => match signal {
                    Signal::Hup => {}
                    // A machine that shuts down sends all its processes a signal.
                    _ => return Ok(Why::Told),
                },
                kept = &mut renewing, if renews => {
                    renews = false;
                    // Later failures are in the journal, and the end of the job shows them.
                    if !is_ready.get() {
                        kept?;
                    }
                }
            }
        }
    }

    /// Revokes the token, and records the result. After a failure, tries again until the token has expired,
    /// another process has revoked it, or a signal arrives. The job does not wait for the repetitions.
    async fn revoke(mut self, why: Why, interrupt: &mut Interrupt) {
        let state_file = self.job.state_file(&self.state);
        // A missing file proves nothing about the token: the script may have removed the file.
        let was_recorded = state_file.exists();
        let say = |line: &str| {
            for filter in self.job.files("log") {
                pipe::say(&filter, line);
            }
        };
        if let Some(line) = why.announcement() {
            say(&line);
        }
        if let Some(proxy) = &self.proxy {
            proxy.close().await;
        }
        let outcome = self.attempt(interrupt, false).await;
        if let (Err(_), Some(line)) = (&outcome, why.failure()) {
            say(line);
        }
        record(self.job, &self.state, outcome);
        self.pipe.close();
        // The token is dead, even if jobpass could not remove one of its files.
        if self.state.receipt.revoked.is_some() {
            return;
        }
        // Later attempts remove no files, because a later job may have files with the same names.
        self.state.files = Files::default();
        let mut pause = FIRST_PAUSE;
        loop {
            // If the state file is gone, another process has revoked the token, or somebody has removed the
            // folder. One more attempt covers both.
            let is_told = stopped_within(pause, interrupt).await;
            let is_last = is_told || was_recorded && !state_file.exists();
            pause = (pause * 2).min(LONGEST_PAUSE);
            let receipt = &self.state.receipt;
            let works_until = receipt.expires.or(receipt.swept);
            if works_until.is_none_or(|end| end < Timestamp::now()) {
                return;
            }
            let outcome = self.attempt(interrupt, true).await;
            let revoked = outcome.is_ok();
            if revoked && (state_file.exists() || !was_recorded) {
                record(self.job, &self.state, outcome);
            }
            if revoked || is_last {
                return;
            }
        }
    }

    /// Revokes with the minter's credential from its files or variables, which may be newer than the one in
    /// memory. If that fails, revokes with the credential in memory.
    ///
    /// The job waits for the first attempt. So in that attempt, an API server that did not answer gets no
    /// second request. In later attempts (`again`) the API server gets one, because a script may have changed
    /// the kubeconfig, so that it names a proxy that does not work.
    async fn attempt(&mut self, interrupt: &mut Interrupt, again: bool) -> Result<Revoked, Error> {
        let environment = &self.job.environment;
        let found = revoke::at_end_of_job(&mut self.state, None, &self.inputs, environment, interrupt).await;
        match (found, &self.held) {
            (Err(error), Some(held))
                if self.state.receipt.revoked.is_none() && (again || error.cause() != Kind::Unreachable) =>
            {
                let auth = std::mem::replace(&mut self.state.auth, held.auth.clone());
                let outcome =
                    revoke::at_end_of_job(&mut self.state, None, &held.inputs, &held.environment, interrupt)
                        .await;
                self.state.auth = auth;
                outcome
            }
            (outcome, _) => outcome,
        }
    }
}

/// Waits for `pause`, or until a signal arrives that must end the guard. Returns whether such a signal
/// arrived.
async fn stopped_within(pause: Duration, interrupt: &mut Interrupt) -> bool {
    let end = Instant::now() + pause;
    loop {
        tokio::select! {
            () = sleep_until(end) => return false,
            signal = interrupt.signal() => if signal != Signal::Hup {
                return true;
            },
        }
    }
}

impl Why {
    /// The line for the log before the revocation, if the script is still running.
    fn announcement(&self) -> Option<String> {
        let margin = self.time_left()?.as_secs();
        Some(format!(
            "jobpass: this job reaches its timeout in {margin} s: jobpass revokes the token now, because the \
             runner may end all processes of the job at the timeout\n"
        ))
    }

    /// The line for the log after a failed revocation, if [`Why::announcement`] had one.
    fn failure(&self) -> Option<&'static str> {
        self.time_left().map(|_| {
            "jobpass: warning: jobpass could not revoke the token yet. The token works until a later attempt \
             succeeds, or until it expires\n"
        })
    }

    /// The time before the job's timeout. `None` if another reason ends the token.
    fn time_left(&self) -> Option<Duration> {
        match self {
            Self::Timeout(margin) => Some(*margin),
            Self::Over | Self::AfterScriptTimeout | Self::Told => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use jobpass_core::record::receipt::Proof;
    use rstest::rstest;

    use super::*;
    use crate::job::tests::{job, matches};

    const RECORDED: &str = r#"{"version":1,"connection":{"server":"https://10.0.0.1:6443"},"auth":{"kind":"in-cluster"},
        "receipt":{"service-account":"scanner","namespace":"ci","anchor":"jobpass-1f0c6e7a1f0c6e7a1f0c"},
        "for-api-server":true,"files":{}}"#;

    fn revoked() -> Result<Revoked, Error> {
        Ok(Revoked {
            proof: Proof::AnchorGone,
            left_alone: false,
            notes: Vec::new(),
        })
    }

    fn failed() -> Result<Revoked, Error> {
        Err(Error::new(Kind::Revoke, "no route"))
    }

    /// A job in `folder` that has recorded a state.
    fn recorded(folder: &Path) -> (Job, State) {
        let job = job(folder, &[]);
        let state = State::parse(RECORDED).expect("a state");
        state.write(&job.state_file(&state)).expect("written");
        (job, state)
    }

    #[rstest]
    #[case::by_default(&[], Ok("script"))]
    #[case::empty(&["--revoke-after", ""], Ok("script"))]
    #[case::script(&["--revoke-after", "script"], Ok("script"))]
    #[case::after_script(&["--revoke-after", "after_script"], Ok("after_script"))]
    #[case::another(&["--revoke-after", "job"], Err("input `revoke-after` is `job`"))]
    fn the_part_of_the_job_after_which_the_guard_revokes(
        #[case] arguments: &[&str],
        #[case] expected: Result<&str, &str>,
    ) {
        let after = After::parse(&matches(command(), arguments)).map(After::word);
        assert_eq!(
            after.as_ref().map_err(|error| error.message()),
            expected.as_ref().map_err(|why| *why)
        );
    }

    /// At the end of the job's time, the script still runs, so the log must say why its token no longer
    /// works.
    #[rstest]
    #[case::the_script_is_over(Why::Over, false)]
    #[case::after_script_is_over(Why::AfterScriptTimeout, false)]
    #[case::revoke_asked(Why::Told, false)]
    #[case::timeout(Why::Timeout(Duration::from_secs(15)), true)]
    fn only_a_script_that_still_runs_is_told(#[case] why: Why, #[case] is_told: bool) {
        let before = why.announcement();
        assert_eq!((before.is_some(), why.failure().is_some()), (is_told, is_told));
        let said = "timeout in 15 s: jobpass revokes the token now";
        assert!(before.is_none_or(|line| line.contains(said)));
    }

    /// Without the state, nobody could try again after a failure.
    #[rstest]
    #[case::revoked(revoked(), false)]
    #[case::failed(failed(), true)]
    fn a_failure_keeps_the_state(#[case] outcome: Result<Revoked, Error>, #[case] keeps: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let (job, state) = recorded(folder.path());
        record(&job, &state, outcome);
        assert_eq!(job.state_file(&state).exists(), keeps);
        assert!(job.file_of(&state, "over").exists());
        assert_eq!(endings(&job).len(), usize::from(!keeps), "only revocations count");
        assert!(!job.file_of(&state, "over").exists());
    }

    /// `fail-on-revoke-error` decides whether the shell fails. The shell shows each result once.
    #[rstest]
    #[case::revoked(revoked(), "true", Ok(()))]
    #[case::failed(failed(), "true", Err("no route"))]
    #[case::failed_and_ignored(failed(), "false", Ok(()))]
    fn the_end_of_the_shell_shows_the_results(
        #[case] outcome: Result<Revoked, Error>,
        #[case] fails: &str,
        #[case] expected: Result<(), &str>,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (job, state) = recorded(folder.path());
        let is_revoked = outcome.is_ok();
        job.begin();
        record(&job, &state, outcome);
        let inputs = Inputs::from([(Opt::FailOnRevokeError, fails)]);
        let ended = block_on(async |interrupt| end(&job, &inputs, After::Script, interrupt).await);
        assert_eq!(
            ended.as_ref().map_err(|error| error.message()),
            expected.as_ref().map_err(|why| *why)
        );
        assert_eq!(
            job.had_begun(),
            !is_revoked,
            "the record of a revocation replaces the mark"
        );
        let again = block_on(async |interrupt| end(&job, &inputs, After::Script, interrupt).await);
        assert!(again.is_ok(), "the result was shown already");
    }

    /// This machine is not a Pod, so each attempt to revoke fails, and leaves a record of the failure.
    #[rstest]
    #[case::a_guard_that_was_killed(After::Script, 0o600, false, true)]
    #[case::after_script_revokes(After::AfterScript, 0o600, false, false)]
    #[case::the_guard_has_ended(After::Script, 0o600, true, false)]
    #[case::a_state_that_others_can_write(After::Script, 0o622, false, false)]
    fn the_shell_revokes_only_its_own_token_and_once(
        #[case] after: After,
        #[case] mode: u32,
        #[case] is_over: bool,
        #[case] attempts: bool,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (job, state) = recorded(folder.path());
        let (file, over) = (job.state_file(&state), job.file_of(&state, "over"));
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
        if is_over {
            fs::write(&over, "").expect("written");
        }
        let pipe = job.file_of(&state, "guard");
        let inputs = Inputs::from([(Opt::FailOnRevokeError, "false")]);
        block_on(async |interrupt| stand_in(&job, &pipe, &inputs, after, interrupt).await);
        assert_eq!(
            Ending::read(&over).is_some_and(|ending| !ending.is_revoked()),
            attempts
        );
        assert!(file.exists());
    }

    fn block_on<T>(work: impl AsyncFnOnce(&mut Interrupt) -> T) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().expect("a runtime").block_on(async {
            let mut interrupt = Interrupt::listen().expect("signals");
            work(&mut interrupt).await
        })
    }
}
