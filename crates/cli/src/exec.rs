//! `jobpass exec`: a token for one command.

mod command;
mod output;

use std::{
    ffi::OsString,
    fs,
    io::{IsTerminal as _, stdin},
    os::unix::{fs::DirBuilderExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use clap::{Arg, ArgMatches, Command, value_parser};
use jobpass_core::{
    Error, Kind, anchor,
    cluster::Cluster,
    environment::Environment,
    flags,
    interrupt::Interrupt,
    mint::{self, Handover, Minted},
    minter::Minter,
    options::Inputs,
    revoke,
    spec::{Lifetime, Spec, in_words, verify_revocation},
    state::State,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use self::{command::Program, output::Masked};
use crate::{mint::origin, output as say};

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
        .arg(
            Arg::new("env")
                .long("env")
                .value_name("NAME")
                .help("Also give the command the token in this variable, for tools that take it from nowhere else"),
        )
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .value_parser(value_parser!(OsString))
                .num_args(1..)
                .required(true)
                .last(true)
                .help("The command and its arguments"),
        )
        .after_help(
            "The command finds a kubeconfig in KUBECONFIG and the token in the file that JOBPASS_TOKEN_FILE names; it has no \
             other variable of jobpass. Signals are passed on; its exit status becomes that of jobpass.\n\
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
    let variable = matches
        .get_one::<String>("env")
        .map(|name| command::variable(name))
        .transpose()?;
    let words = matches.get_many::<OsString>("command").into_iter().flatten();
    let program = Program::find(words, environment)?;
    let folder = Folder::make()?;
    let inputs = folder.with_file_names(&given, lifetime)?;
    Spec::parse(&inputs, None)?;
    let minter = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        minter = Minter::resolve(&inputs, environment) => minter?,
    };
    let spec = Spec::parse(&inputs, minter.namespace.as_deref())?;
    let state = State::new(&minter, &spec, &inputs, &folder.0, environment)?;
    let cluster = Cluster::connect(&minter)?;
    let state_file = folder.0.join("state.json");
    let record = |state: Option<&State>| match state {
        Some(state) => state.write(&state_file),
        None => fs::remove_file(&state_file).or(Ok(())),
    };
    let handover = Handover {
        record,
        mask: |_| Ok(()),
        deliver: |minted: &Minted, _: &State| {
            minted.access.iter().for_each(say::access);
            Ok(())
        },
    };
    let (state, warnings) = mint::mint(
        &cluster,
        &spec,
        &origin(environment),
        state,
        handover,
        &mut interrupt,
    )
    .await?;
    for warning in warnings {
        say::warning(&warning);
    }

    let mut session = Session {
        state,
        state_file: &state_file,
        inputs: &inputs,
        environment,
        told: None,
        revoked: false,
    };
    let ended = session.run(program, variable, sooner, &mut interrupt).await;
    // Whatever became of the command.
    let revoked = session.revoke(&mut interrupt).await;
    let status = match ended {
        Ok((status, masked)) => finish(masked, session.told.is_some(), &mut interrupt)
            .await
            .map(|()| status),
        Err(error) => Err(error),
    };
    let status = match (status, revoked) {
        (Ok(status), Ok(())) => status,
        (Ok(status), Err(error)) if !(status.success() && fail_on_revoke_error) => {
            say::warning(&error.to_string());
            status
        }
        (Err(error), Err(left)) => return Err(error.help(left.to_string())),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => return Err(error),
    };
    Ok(exit_code(status))
}

/// The token's life while the command runs.
struct Session<'a> {
    state: State,
    state_file: &'a Path,
    inputs: &'a Inputs,
    environment: &'a Environment,
    /// The signal with which the command was told to stop.
    told: Option<Signal>,
    revoked: bool,
}

impl Session<'_> {
    /// Runs the command to its end. A token that has to go sooner is revoked here.
    async fn run(
        &mut self,
        program: Program<'_>,
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
        let token = self.state.files.token().ok_or_else(|| {
            Error::new(
                Kind::Deliver,
                "the token's file is gone before the command could use it",
            )
        })?;
        let mut secrets = Minter::credentials(self.inputs, self.environment);
        secrets.push(token.clone());
        let (masked, streams) = Masked::start(&secrets)?;
        let mut command = program.command(&self.state.files, self.inputs, streams);
        if let Some(name) = variable {
            command.env(name, token.expose());
        }
        let mut child = command.spawn().map_err(|error| program.cannot_start(&error))?;
        // It holds the writing ends of the pipes.
        drop(command);
        // What is over sooner than anything else decides when the token goes.
        let mut over = Box::pin(sleep(sooner.unwrap_or(Duration::MAX)));
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
                    if !self.revoked {
                        over = Box::pin(sleep(LAST_USE));
                        why = Some("it was told to stop".to_owned());
                    }
                }
                _ = user_1.recv() => pass_on(Signal::USR1, &child),
                _ = user_2.recv() => pass_on(Signal::USR2, &child),
                () = &mut over, if !self.revoked && why.is_some() => {
                    let why = why.take().unwrap_or_default();
                    match self.revoke(interrupt).await {
                        Ok(()) => say::warning(&format!("the command still runs, and its token is revoked: {why}")),
                        // It is tried once more at the end.
                        Err(error) => say::warning(&error.to_string()),
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

    /// Once is enough.
    async fn revoke(&mut self, interrupt: &mut Interrupt) -> Result<(), Error> {
        if self.revoked {
            return Ok(());
        }
        if let Some(signal) = self.told {
            interrupt.again(signal);
        }
        let revoked =
            revoke::at_end_of_job(&mut self.state, None, self.inputs, self.environment, interrupt).await?;
        let _ = fs::remove_file(self.state_file);
        self.revoked = true;
        if let Some(note) = revoked.note {
            say::warning(&note);
        }
        say::note(&format!(
            "revoked the token of ServiceAccount {}/{}: {}",
            self.state.receipt.namespace,
            self.state.receipt.service_account,
            revoked.proof.sentence()
        ));
        Ok(())
    }
}

/// Waits for the last of what the command printed, but not against a signal: perhaps nobody reads it.
async fn finish(masked: Masked, told: bool, interrupt: &mut Interrupt) -> Result<(), Error> {
    let finished = tokio::task::spawn_blocking(move || masked.finish());
    let patience = if told { LAST_USE } else { Duration::MAX };
    tokio::select! {
        finished = finished => finished.unwrap_or(Ok(())),
        _ = interrupt.signal() => Ok(()),
        () = sleep(patience) => Ok(()),
    }
}

/// A terminal sends SIGINT and SIGQUIT to the command by itself.
fn pass_on(signal: Signal, child: &Child) {
    if [Signal::INT, Signal::QUIT].contains(&signal) && stdin().is_terminal() {
        return;
    }
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// As a shell says it: 128 and the signal that ended the command.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// A folder for the token, that nobody else can look into. What is recorded stays in it if the token is not revoked.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Error> {
        let temp = Some(std::env::temp_dir()).filter(|temp| !temp.as_os_str().is_empty());
        let temp = std::path::absolute(temp.unwrap_or_else(|| "/tmp".into())).unwrap_or_default();
        let folder = temp.join(anchor::random_name()?);
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| {
            Error::new(
                Kind::Deliver,
                format!("cannot make a folder in {}: {error}", temp.display()),
            )
            .help("set TMPDIR to a folder that this user may write to")
        })?;
        Ok(Self(folder))
    }

    fn with_file_names(&self, inputs: &Inputs, lifetime: Lifetime) -> Result<Inputs, Error> {
        let file = |name: &str| Some(self.0.join(name).to_string_lossy().into_owned());
        Inputs::read(|option| match option.name {
            "token-file" => file("token"),
            "kubeconfig-file" => file("kubeconfig"),
            "duration" => Some(lifetime.seconds().to_string()),
            name => inputs.get(name).map(str::to_owned),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Where the state was being written when the disk was full.
        let _ = fs::remove_file(self.0.join("state.partial"));
        let state = self.0.join("state.json");
        if fs::remove_dir(&self.0).is_err() && state.exists() {
            say::note(&format!(
                "what it takes to revoke is still there: jobpass revoke --state-file {}",
                state.display()
            ));
        }
    }
}
