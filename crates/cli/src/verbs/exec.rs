//! `jobpass exec`: a token for one command.

use std::{
    ffi::OsString,
    pin::pin,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    inputs::{flags, lifetime::Lifetime, options::Inputs, revocation::verify_revocation, spec::TokenType},
    life::renew,
    process::{environment::Environment, interrupt::Interrupt},
    text::in_words,
};
use rustix::process::Signal;
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    options::command,
    session::{
        Session,
        child::Program,
        masked_output::Masked,
        signals::{exit_code, pass_on},
    },
    terminal::output as say,
};

/// How long a command that was told to stop keeps its token. Revoking may take 5 s then, and a CI runner kills a cancelled job
/// after 7.5 s at the earliest (GitHub).
const LAST_USE: Duration = Duration::from_secs(1);

pub(crate) fn command() -> Command {
    Command::new("exec")
        .about("Run one command with a token of its own, mask what it prints, and revoke the token when it ends")
        .args(flags::flags().filter_map(|flag| match flag.get_id().as_str() {
            "token-file" | "kubeconfig-file" => None,
            "duration" => Some(flag.help(
                "How long the token may live at most, as in `30m`; also less than 10 minutes: then it is revoked after that \
                 time, whether the command has ended or not [default: 1h]",
            )),
            _ => Some(flag),
        }))
        .args([command::env(), command::words()])
        .after_help(
            "The command finds a kubeconfig in KUBECONFIG and the token in the file that JOBPASS_TOKEN_FILE names; it has no \
             other variable of jobpass. Signals are passed on; its exit status becomes that of jobpass.\n\n\
             Examples:\n  jobpass exec --service-account scanner --namespace ci -- kubectl get pods\n  \
             jobpass exec --service-account scanner --duration 30s --env K8S_AUTH_TOKEN -- ./run_scan.sh",
        )
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let given = flags::inputs(matches)?;
    verify_revocation(&given)?;
    let fail_on_revoke_error = given.flag("fail-on-revoke-error")?;
    let (lifetime, sooner) = Lifetime::parse_or_sooner(given.get("duration").unwrap_or_default())?;
    let variable = command::variable(matches)?;
    renewable(&given, sooner, variable)?;
    let sooner = match TokenType::parse(&given)? {
        TokenType::Bound => sooner,
        // It has no end of its own.
        TokenType::Legacy => sooner.or(Some(Duration::from_secs(lifetime.seconds()))),
    };
    let words = matches.get_many::<OsString>("command").into_iter().flatten();
    let program = Program::find(words, environment)?;
    let session = Session::mint(&given, lifetime, environment, &mut interrupt).await?;
    let mut run = Run { session, told: None };
    let ended = run.command(&program, variable, sooner, &mut interrupt).await;
    // It was renewed here, if it was, and no longer than the command ran.
    run.session.state.renewal = None;
    // Whatever became of the command.
    let revoked = run.revoke(&mut interrupt).await;
    let status = match ended {
        Ok((status, masked)) => finish(masked, run.told.is_some(), &mut interrupt)
            .await
            .map(|()| status),
        Err(error) => Err(error),
    };
    let status = match (status, revoked) {
        (Ok(status), Ok(())) => status,
        (Ok(status), Err(error)) if !(status.success() && fail_on_revoke_error) => {
            say::warning_of(&error);
            status
        }
        (Err(error), Err(left)) => return Err(error.help(left.to_string())),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => return Err(error),
    };
    Ok(ExitCode::from(exit_code(status)))
}

/// What is given to the command for good cannot be renewed.
fn renewable(given: &Inputs, sooner: Option<Duration>, variable: Option<&str>) -> Result<(), Error> {
    let (problem, allowed) = match (given.get("renew-for"), sooner, variable) {
        (Some(_), Some(_), _) => (
            "is given, and a `duration` of less than 10 minutes, after which the token is revoked",
            "leave out one of the two",
        ),
        (Some(_), _, Some(_)) => (
            "is given, and `env`: a variable of a command that runs cannot be changed",
            "leave out `env`, and have the command read the file that JOBPASS_TOKEN_FILE names",
        ),
        _ => return Ok(()),
    };
    Err(Error::input("renew-for", problem, allowed))
}

/// The token's life while the command runs.
struct Run<'a> {
    session: Session<'a>,
    /// The signal with which the command was told to stop.
    told: Option<Signal>,
}

impl Run<'_> {
    /// Runs the command to its end. A token that has to go sooner is revoked here.
    async fn command(
        &mut self,
        program: &Program<'_>,
        variable: Option<&str>,
        sooner: Option<Duration>,
        interrupt: &mut Interrupt,
    ) -> Result<(ExitStatus, Masked), Error> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Error::new(Kind::Internal, format!("cannot listen for signals: {error}")))
        };
        let mut user_1 = listen(SignalKind::user_defined1())?;
        let mut user_2 = listen(SignalKind::user_defined2())?;
        let token = self.session.token()?;
        let (masked, streams) = Masked::start(&self.session.masker(&token))?;
        let mut command = program.command(&self.session.state.files, &self.session.inputs, streams);
        if let Some(name) = variable {
            command.env(name, token.expose());
        }
        let mut child = command.spawn().map_err(|error| program.cannot_start(&error))?;
        // It holds the writing ends of the pipes.
        drop(command);
        // What is over sooner than anything else decides when the token goes.
        let mut over = Box::pin(sleep(sooner.unwrap_or(Duration::MAX)));
        let (state, inputs) = (self.session.state.clone(), self.session.inputs.clone());
        let environment = self.session.environment;
        let mut renewing = pin!(renew::keep(&state, &inputs, environment, || ()));
        let mut renews = state.renewal.is_some();
        let mut why = sooner.map(|time| format!("its {} are over", in_words(time.as_secs())));
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.map_err(|error| program.cannot_start(&error))?;
                    return Ok((status, masked));
                }
                signal = interrupt.signal() => {
                    interrupt.obeyed();
                    self.tell(signal, &child);
                    if !self.session.is_revoked() {
                        over = Box::pin(sleep(LAST_USE));
                        why = Some("it was told to stop".to_owned());
                    }
                }
                _ = user_1.recv() => pass_on(Signal::USR1, &child),
                _ = user_2.recv() => pass_on(Signal::USR2, &child),
                kept = &mut renewing, if renews && !self.session.is_revoked() => {
                    renews = false;
                    match kept {
                        Ok(()) => say::note("the token is not renewed any more: its last one lasts until `renew-for` is over"),
                        Err(error) => say::warning_of(&error),
                    }
                }
                () = &mut over, if !self.session.is_revoked() && why.is_some() => {
                    let why = why.take().unwrap_or_default();
                    match self.revoke(interrupt).await {
                        Ok(()) => say::warning(&format!("the command still runs, and its token is revoked: {why}")),
                        // It is tried once more at the end.
                        Err(error) => say::warning_of(&error),
                    }
                    if let Some(signal) = interrupt.obeyed().filter(|_| self.told.is_none()) {
                        self.tell(signal, &child);
                    }
                }
            }
        }
    }

    fn tell(&mut self, signal: Signal, child: &Child) {
        pass_on(signal, child);
        self.told = Some(signal);
    }

    async fn revoke(&mut self, interrupt: &mut Interrupt) -> Result<(), Error> {
        if let Some(signal) = self.told.filter(|_| !self.session.is_revoked()) {
            interrupt.again(signal);
        }
        let revoked = self.session.revoke(interrupt).await;
        // One that it did not come to is no new signal for the command.
        interrupt.forget();
        if let Some(revoked) = revoked? {
            let revoked = revoked.proof.sentence();
            say::note(&format!(
                "{}: {revoked}",
                self.session.state.receipt.revoked_in_short()
            ));
        }
        Ok(())
    }
}

/// Waits for the last of what the command printed, but not against a signal: perhaps nobody reads it.
async fn finish(masked: Masked, told: bool, interrupt: &mut Interrupt) -> Result<(), Error> {
    let patience = if told { LAST_USE } else { Duration::MAX };
    tokio::select! {
        finished = masked.finish() => finished,
        _ = interrupt.signal() => Ok(()),
        () = sleep(patience) => Ok(()),
    }
}
