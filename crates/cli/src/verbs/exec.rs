//! `jobpass exec`: mints a token for one command, and revokes the token when the command ends.

use std::{
    pin::pin,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    inputs::{
        flags::{self, flag},
        lifetime::Lifetime,
        options::{FrontEnd, Inputs, Opt},
        revocation::verify_revocation,
        spec::TokenType,
    },
    life::renew,
    process::{
        environment::Environment,
        interrupt::{Interrupt, Signal, cannot_listen},
    },
    text::in_words,
};
use tokio::{process::Child, time::sleep};

use crate::{
    options::command,
    session::{
        Session,
        child::Program,
        masked_output::Masked,
        system::{UserSignals, exit_code, pass_on, send},
    },
    terminal::output,
};

/// The time for which a command may go on using its token after jobpass told it to stop.
///
/// After that, revoking may take 5 s. GitHub sends a cancelled job a second signal after 7.5 s, and kills it
/// after 10 s.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    Command::new("exec")
        .about("Run one command with a token of its own, mask its output, and revoke the token when it ends")
        .args(Opt::on(FrontEnd::CommandLine).filter_map(|option| match option {
            Opt::TokenFile | Opt::KubeconfigFile => None,
            Opt::Duration => Some(flag(option).help(
                "The longest time that the token may live, as in `30m`. If it is less than 10 minutes, \
                 jobpass revokes the token after that time, even if the command still runs. With `--proxy`, the \
                 time after which the proxy closes. [default: 1h]",
            )),
            _ => Some(flag(option)),
        }))
        .args([command::env_flag(), command::argument()])
        .after_help(
            "KUBECONFIG names a kubeconfig for the command, and JOBPASS_TOKEN_FILE the file with the token. \
             JOBPASS_MASK_JOURNAL names the journal with which jobpass masks the tokens that the command mints \
             itself. The command gets no other variable of jobpass. jobpass passes signals on to the command, and \
             exits with the command's exit status. With `--proxy`, the command gets no token and no \
             JOBPASS_TOKEN_FILE: the kubeconfig names a proxy in jobpass itself.\n\n\
             Examples:\n  \
             jobpass exec --service-account scanner --namespace ci -- kubectl get pods\n  \
             jobpass exec --service-account scanner --duration 30s \\\n    --env K8S_AUTH_TOKEN -- \
             ./run_scan.sh\n  \
             jobpass exec --service-account scanner --proxy -- helm upgrade app ./chart",
        )
}

/// Runs the verb. The exit code is that of the command.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let given = flags::inputs(matches)?;
    verify_revocation(&given)?;
    let fail_on_revoke_error = given.flag(Opt::FailOnRevokeError)?;
    let (lifetime, sooner) = Lifetime::parse_or_sooner(given.get(Opt::Duration).unwrap_or_default())?;
    let variable = command::env(matches)?;
    can_be_renewed(&given, sooner, variable)?;
    let expires = match TokenType::parse(&given)? {
        // With a proxy, the token does not expire in time: the proxy renews it.
        TokenType::Bound => !given.flag(Opt::Proxy)?,
        TokenType::Legacy => false,
    };
    let revoke_after = revoke_after(expires, lifetime, sooner);
    let program = Program::find(command::words(matches).into_iter().flatten(), environment)?;
    let session = Session::mint(&given, lifetime, environment, &mut interrupt).await?;
    let mut run = Run {
        session,
        stop_signal: None,
    };
    let ended = run
        .command(&program, variable, revoke_after, &mut interrupt)
        .await;
    // This process renewed the token until the command ended. With the renewal in the state, a note could say
    // that the renewer stopped too early.
    run.session.state.renewal = None;
    // jobpass revokes the token even if the command did not start.
    let revoked = run.revoke(&mut interrupt).await;
    let status = match ended {
        Ok((status, masked)) => finish(masked, run.stop_signal.is_some(), &mut interrupt)
            .await
            .map(|()| status),
        Err(error) => Err(error),
    };
    let status = conclude(status, revoked, fail_on_revoke_error, output::warning_of)?;
    Ok(ExitCode::from(exit_code(status)))
}

/// The time after which jobpass revokes the token even if the command still runs.
///
/// A legacy token does not expire, and a proxy renews its token. So jobpass revokes them at the end of the
/// lifetime.
fn revoke_after(expires: bool, lifetime: Lifetime, sooner: Option<Duration>) -> Option<Duration> {
    let end = (!expires).then(|| Duration::from_secs(lifetime.seconds()));
    sooner.or(end)
}

/// The command's exit status, or the failure that replaces it.
///
/// If the command ran, a failure to revoke replaces only a success, and only if `fail-on-revoke-error` is
/// `true`. Otherwise jobpass logs the failure as a warning.
fn conclude(
    ended: Result<ExitStatus, Error>,
    revoked: Result<(), Error>,
    fail_on_revoke_error: bool,
    warn: impl FnOnce(&Error),
) -> Result<ExitStatus, Error> {
    match (ended, revoked) {
        (Ok(status), Ok(())) => Ok(status),
        (Ok(status), Err(error)) if status.success() && fail_on_revoke_error => Err(error),
        (Ok(status), Err(error)) => {
            warn(&error);
            Ok(status)
        }
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(not_revoked)) => Err(error.and_unrevoked(&not_revoked)),
    }
}

/// Refuses `renew-for` together with an option that makes renewal impossible.
fn can_be_renewed(given: &Inputs, sooner: Option<Duration>, variable: Option<&str>) -> Result<(), Error> {
    let (problem, allowed) = match (given.get(Opt::RenewFor), sooner, variable) {
        (Some(_), Some(_), _) => (
            "is given with a `duration` of less than 10 minutes, after which jobpass revokes the token",
            "leave out `renew-for`, or give a `duration` of at least 10 minutes",
        ),
        (Some(_), _, Some(_)) => (
            "is given with `env`, but jobpass cannot change a variable of a running command",
            "leave out `env`, and let the command read the file that JOBPASS_TOKEN_FILE names",
        ),
        _ => return Ok(()),
    };
    Err(Error::input(Opt::RenewFor, problem, allowed))
}

/// A command with its token, until both have ended.
struct Run<'a> {
    session: Session<'a>,
    /// The last signal that told the command to stop.
    stop_signal: Option<Signal>,
}

impl Run<'_> {
    /// Runs the command to its end, and renews the token meanwhile. Revokes the token earlier if its lifetime
    /// is over, or [`STOP_GRACE`] after a signal has told the command to stop.
    async fn command(
        &mut self,
        program: &Program<'_>,
        variable: Option<&str>,
        revoke_after: Option<Duration>,
        interrupt: &mut Interrupt,
    ) -> Result<(ExitStatus, Masked), Error> {
        let mut user_signals = UserSignals::listen().map_err(|error| cannot_listen(&error))?;
        let token = self.session.token()?;
        let (masked, streams) = Masked::start(&self.session.masker(&token)?)?;
        let mut command = self.session.command(program, streams);
        if let Some(name) = variable {
            command.env(name, token.expose());
        }
        let mut child = command.spawn().map_err(|error| program.cannot_start(&error))?;
        // `command` keeps the writing ends of the pipes open. The maskers would treat it like a background
        // process that still writes.
        drop(command);
        let mut time_to_revoke = Box::pin(sleep(revoke_after.unwrap_or(Duration::MAX)));
        let (state, inputs) = (self.session.state.clone(), self.session.inputs.clone());
        let environment = self.session.environment;
        let proxy = self.session.proxy.clone();
        let mut renewal = pin!(async {
            match &proxy {
                Some(proxy) => proxy.serve(&state, &inputs, environment).await,
                None => renew::renew_until_end(&state, &inputs, environment, || ()).await,
            }
        });
        let mut is_renewed = state.renewal.is_some();
        let mut reason =
            revoke_after.map(|time| format!("the token's lifetime of {} is over", in_words(time.as_secs())));
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.map_err(|error| program.cannot_start(&error))?;
                    return Ok((status, masked));
                }
                signal = interrupt.signal() => {
                    interrupt.take_handled();
                    self.stop(signal, &child);
                    if !self.session.is_revoked() {
                        time_to_revoke = Box::pin(sleep(STOP_GRACE));
                        reason = Some("a signal told the command to stop".to_owned());
                    }
                }
                signal = user_signals.next() => send(signal, &child),
                renewed = &mut renewal, if is_renewed && !self.session.is_revoked() => {
                    is_renewed = false;
                    match renewed {
                        // The proxy's time is over. `time_to_revoke` ends at the same time, and then jobpass
                        // revokes the token.
                        Ok(()) if proxy.is_some() => {}
                        Ok(()) => output::note("jobpass no longer renews the token, because the last one is \
                                                valid to the end of `renew-for`"),
                        Err(error) => {
                            if let Some(proxy) = &proxy {
                                proxy.close().await;
                            }
                            output::warning_of(&error);
                        }
                    }
                }
                () = &mut time_to_revoke, if !self.session.is_revoked() && reason.is_some() => {
                    let reason = reason.take().unwrap_or_default();
                    match self.revoke(interrupt).await {
                        Ok(()) => output::warning(&format!("the command still runs, but jobpass revoked its \
                            token: {reason}")),
                        // At the end of the command, jobpass tries a second time.
                        Err(error) => output::warning_of(&error),
                    }
                    if let Some(signal) = interrupt.take_handled().filter(|_| self.stop_signal.is_none()) {
                        self.stop(signal, &child);
                    }
                }
            }
        }
    }

    /// Tells the command to stop.
    fn stop(&mut self, signal: Signal, child: &Child) {
        pass_on(signal, child);
        self.stop_signal = Some(signal);
    }

    /// Revokes the token, unless an earlier call did. If a signal has already told the command to stop,
    /// jobpass has less time for revoking.
    async fn revoke(&mut self, interrupt: &mut Interrupt) -> Result<(), Error> {
        if let Some(signal) = self.stop_signal.filter(|_| !self.session.is_revoked()) {
            interrupt.redeliver(signal);
        }
        let revoked = self.session.revoke(interrupt).await;
        // If revoking ended first, the signal must not reach the command a second time.
        interrupt.discard_redelivered();
        if let Some(revoked) = revoked? {
            let revoked = revoked.proof.sentence();
            output::note(&format!(
                "{}: {revoked}",
                self.session.state.receipt.revoked_in_short()
            ));
        }
        Ok(())
    }
}

/// Waits until jobpass has written the output of the command. A signal ends the wait, because perhaps nobody
/// reads the output any more. If a signal stopped the command, waits no longer than [`STOP_GRACE`].
async fn finish(masked: Masked, was_stopped: bool, interrupt: &mut Interrupt) -> Result<(), Error> {
    let limit = if was_stopped { STOP_GRACE } else { Duration::MAX };
    tokio::select! {
        finished = masked.finish() => finished,
        _ = interrupt.signal() => Ok(()),
        () = sleep(limit) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use jobpass_core::Kind;
    use rstest::rstest;

    use super::*;

    #[rstest]
    // Each case lists the exit status of the command, whether jobpass revoked the token,
    // `fail-on-revoke-error`, the expected exit code or failure, and whether jobpass warns.
    #[case(Some(0), true, true, Ok(0), false)]
    #[case(Some(3), true, true, Ok(3), false)]
    #[case(Some(0), false, true, Err("not revoked"), false)]
    #[case(Some(0), false, false, Ok(0), true)]
    #[case(Some(3), false, true, Ok(3), true)]
    #[case(Some(3), false, false, Ok(3), true)]
    #[case(None, true, true, Err("cannot run"), false)]
    #[case(None, false, true, Err("cannot run\n\nnot revoked"), false)]
    #[case(None, false, false, Err("cannot run\n\nnot revoked"), false)]
    fn a_failure_to_revoke_replaces_only_a_success(
        #[case] exit_code: Option<i32>,
        #[case] revoked: bool,
        #[case] fail_on_revoke_error: bool,
        #[case] expected: Result<i32, &str>,
        #[case] warns: bool,
    ) {
        let ended = exit_code
            .map(|code| ExitStatus::from_raw(code << 8))
            .ok_or_else(|| Error::new(Kind::Deliver, "cannot run"));
        let revoked = match revoked {
            true => Ok(()),
            false => Err(Error::new(Kind::Revoke, "not revoked")),
        };
        let mut warned = false;
        let concluded = conclude(ended, revoked, fail_on_revoke_error, |_| warned = true);
        let concluded = concluded
            .map(|status| status.code().unwrap_or(-1))
            .map_err(|error| error.to_string());
        assert_eq!(concluded, expected.map_err(str::to_owned));
        assert_eq!(warned, warns);
    }

    #[rstest]
    #[case(true, "1h", None)]
    #[case(true, "30s", Some(30))]
    #[case(false, "1h", Some(3600))]
    #[case(false, "30s", Some(30))]
    fn a_token_that_does_not_expire_in_time_is_revoked(
        #[case] expires: bool,
        #[case] duration: &str,
        #[case] seconds: Option<u64>,
    ) {
        let (lifetime, sooner) = Lifetime::parse_or_sooner(duration).expect("a duration");
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(revoke_after(expires, lifetime, sooner), expected);
    }

    #[rstest]
    #[case(None, Some(30), Some("TOKEN"), true)]
    #[case(Some("3h"), None, None, true)]
    #[case(Some("3h"), Some(30), None, false)]
    #[case(Some("3h"), None, Some("TOKEN"), false)]
    fn a_variable_and_a_token_that_is_revoked_sooner_cannot_be_renewed(
        #[case] renew_for: Option<&str>,
        #[case] sooner: Option<u64>,
        #[case] variable: Option<&str>,
        #[case] allowed: bool,
    ) {
        let inputs = Inputs::from([(Opt::RenewFor, renew_for.unwrap_or_default())]);
        let sooner = sooner.map(Duration::from_secs);
        assert_eq!(can_be_renewed(&inputs, sooner, variable).is_ok(), allowed);
    }
}
