//! One job: its variables, its two shells, and its uploads (`common/build.go`).

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::config::{self, duration};
use super::dotenv;
use super::masker;
use super::script::script;
use super::variables::{Kind, Variable, Variables, expand, plain};
use super::{Job, Runner, Status, Tokens};
use crate::runner::log::Raw;
use crate::runner::process::{Attendant, End, Mailbox, Manner, Stop, Stopped, Stream};
use crate::runner::random;

/// The default of RUNNER_AFTER_SCRIPT_TIMEOUT.
const AFTER_SCRIPT_TIMEOUT: Duration = Duration::from_secs(300);

/// The values that a job gets from the pipeline.
pub(super) struct Surroundings<'a> {
    pub(super) runner: &'a Runner,
    pub(super) raw: &'a Raw,
    pub(super) tokens: &'a Tokens,
    pub(super) number: usize,
    /// The dotenv variables of earlier jobs.
    pub(super) inherited: Variables,
    /// The artifacts of earlier jobs.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

/// A running job.
struct Build<'a> {
    definition: &'a config::Job,
    surroundings: &'a Surroundings<'a>,
    folder: PathBuf,
    project: PathBuf,
    variables: Variables,
    token: String,
    begin: Instant,
    started: jiff::Timestamp,
    container: usize,
    raw: Raw,
    cancelled: bool,
    ending: bool,
}

/// The way in which the script ended.
enum Outcome {
    Success,
    Failed(String),
    Canceled,
    /// RUNNER_SCRIPT_TIMEOUT ended the script, and there is time for after_script.
    TimedOut,
    /// The job's timeout ended the script, and there is no time for after_script.
    OutOfTime,
    /// A cause outside of the job ended the script, and there is no time for after_script.
    Stopped(Stop),
}

pub(super) fn run(definition: &config::Job, surroundings: &Surroundings<'_>, mailbox: &mut Mailbox) -> Job {
    let mut build = Build::prepare(definition, surroundings);
    let tokens = surroundings.tokens;
    tokens.set(|tokens| tokens.insert(build.token.clone()));
    let mut outcome = build.script(mailbox);
    if let Some(failure) = build.after_script(&outcome, mailbox)
        && matches!(outcome, Outcome::Success)
    {
        outcome = Outcome::Failed(failure);
    }
    if build.cancelled {
        outcome = Outcome::Canceled;
    }
    let (dotenv, artifacts) = match build.upload(&outcome) {
        Ok(uploaded) => uploaded,
        Err(refusal) => {
            build.say(&format!("ERROR: {refusal}"));
            if matches!(outcome, Outcome::Success) {
                outcome = Outcome::Failed("exit code 1".to_owned());
            }
            Default::default()
        }
    };
    // A runner that was killed removes nothing.
    if !matches!(outcome, Outcome::Stopped(Stop::Kill)) {
        build.clean_up();
    }
    tokens.set(|tokens| tokens.remove(&build.token));
    let (status, last) = match outcome {
        Outcome::Success => (Status::Success, "Job succeeded".to_owned()),
        Outcome::Failed(why) => (Status::Failed, format!("ERROR: Job failed: {why}")),
        Outcome::Canceled => (Status::Canceled, "ERROR: Job failed: canceled".to_owned()),
        Outcome::Stopped(Stop::Force) => (Status::Canceled, "ERROR: Job failed: canceled".to_owned()),
        Outcome::Stopped(how) => (
            Status::Failed,
            format!("ERROR: Job failed (system failure): {how:?}"),
        ),
        Outcome::TimedOut | Outcome::OutOfTime => (
            Status::Failed,
            "ERROR: Job failed: execution took longer than the time-out".to_owned(),
        ),
    };
    build.say(&last);
    let raw = build.raw.text();
    let masked = build
        .variables
        .values()
        .filter(|variable| variable.kind == Kind::Masked);
    let (shown, added) = match surroundings.runner.proxy_exec {
        true => masker::added(&raw),
        false => (raw.clone(), Vec::new()),
    };
    let id_tokens = definition.id_tokens.iter();
    let id_tokens = id_tokens.filter_map(|(name, _)| Some(build.variables.get(name)?.value.clone()));
    Job {
        name: definition.name.clone(),
        status,
        id_tokens: id_tokens.collect(),
        log: masker::mask(&shown, masked.map(|variable| &*variable.value).chain(added)),
        raw,
        dotenv,
        artifacts,
    }
}

/// The predefined variables that GitLab knows when it creates the pipeline.
pub(super) fn predefined(job: &config::Job) -> Variables {
    plain([
        ("CI", "true"),
        ("GITLAB_CI", "true"),
        ("CI_COMMIT_BRANCH", "main"),
        ("CI_COMMIT_REF_NAME", "main"),
        ("CI_COMMIT_SHA", "0123456789abcdef0123456789abcdef01234567"),
        ("CI_DEFAULT_BRANCH", "main"),
        ("CI_JOB_NAME", &job.name),
        ("CI_JOB_STAGE", &job.stage),
        ("CI_PIPELINE_ID", "77"),
        ("CI_PIPELINE_SOURCE", "push"),
        ("CI_PROJECT_ID", "7"),
        ("CI_PROJECT_PATH", "team/scan"),
        ("CI_SERVER_FQDN", "gitlab.example.com"),
        ("CI_SERVER_URL", "https://gitlab.example.com"),
        ("GITLAB_USER_LOGIN", "someone"),
    ])
}

impl<'a> Build<'a> {
    fn prepare(definition: &'a config::Job, surroundings: &'a Surroundings<'a>) -> Self {
        let runner = surroundings.runner;
        let folder = runner.folder.path().join(surroundings.number.to_string());
        let project = folder.join("scan");
        copy(&runner.project, &project);
        for (path, bytes) in &surroundings.files {
            let path = project.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, bytes).expect("an artifact can be written");
        }
        let token = format!("glcbt-64_{}", random::uid().replace('-', ""));
        let mut build = Self {
            definition,
            surroundings,
            variables: Variables::new(),
            token,
            begin: Instant::now(),
            started: jiff::Timestamp::now(),
            container: 0,
            raw: Raw::default(),
            cancelled: false,
            ending: false,
            folder,
            project,
        };
        build.variables = build.variables();
        build
    }

    /// The variables of the job. A project variable takes precedence over one of a dotenv report, which takes
    /// precedence over one of the job.
    fn variables(&self) -> Variables {
        let Surroundings { runner, number, .. } = self.surroundings;
        let (project, temp) = (self.project.display().to_string(), self.temp());
        let url = format!("https://gitlab.example.com/team/scan/-/jobs/{number}");
        let mut variables = predefined(self.definition);
        variables.extend(plain([
            ("CI_JOB_ID", &*number.to_string()),
            ("CI_JOB_URL", &url),
            ("CI_PROJECT_DIR", &project),
            ("RUNNER_TEMP_PROJECT_DIR", &temp),
            ("CI_JOB_STARTED_AT", &self.started.to_string()),
            (
                "CI_JOB_TIMEOUT",
                &self.definition.timeout.as_secs_f64().ceil().to_string(),
            ),
        ]));
        let token = Variable {
            value: self.token.clone(),
            kind: Kind::Masked,
        };
        variables.insert("CI_JOB_TOKEN".to_owned(), token);
        let issuer = runner.issuer.clone().claim("job_id", number.to_string());
        for (name, audiences) in &self.definition.id_tokens {
            let value = match &audiences[..] {
                [audience] => issuer.id_token(audience),
                several => issuer.clone().claim("aud", several).id_token(""),
            };
            let kind = Kind::Masked;
            variables.insert(name.clone(), Variable { value, kind });
        }
        variables.extend(runner.config.variables.clone());
        variables.extend(self.definition.variables.clone());
        variables.extend(self.surroundings.inherited.clone());
        variables.extend(runner.variables.clone());
        expand(&mut variables, |name| format!("{temp}/{name}"));
        variables
    }

    fn script(&mut self, mailbox: &mut Mailbox) -> Outcome {
        let left = self.time_left();
        let own = self.limit("RUNNER_SCRIPT_TIMEOUT");
        let timeout = own.map_or(left, |own| own.min(left));
        let end = self.shell(&self.definition.script, "running", timeout, mailbox);
        match end.stopped {
            Some(Stopped::Cancelled) => Outcome::Canceled,
            Some(Stopped::FromOutside(how)) => Outcome::Stopped(how),
            Some(Stopped::TimedOut) if timeout < left => Outcome::TimedOut,
            Some(Stopped::TimedOut) => Outcome::OutOfTime,
            None if end.status.success() => Outcome::Success,
            None => Outcome::Failed(format!("exit code {}", code(&end))),
        }
    }

    /// Runs after_script in a new shell, which the script's shell cannot affect. Returns a failure only if it
    /// fails the job.
    fn after_script(&mut self, outcome: &Outcome, mailbox: &mut Mailbox) -> Option<String> {
        let status = match outcome {
            Outcome::Success => "success",
            Outcome::Failed(_) => "failed",
            Outcome::Canceled => "canceled",
            Outcome::TimedOut => "timedout",
            Outcome::OutOfTime | Outcome::Stopped(_) => return None,
        };
        if self.definition.after_script.is_empty() {
            return None;
        }
        if self.cancelled && self.surroundings.runner.new_container {
            self.container += 1;
        }
        self.ending = true;
        self.say("Running after_script");
        let own = self.limit("RUNNER_AFTER_SCRIPT_TIMEOUT");
        let timeout = own.unwrap_or(AFTER_SCRIPT_TIMEOUT).min(self.time_left());
        let end = self.shell(&self.definition.after_script, status, timeout, mailbox);
        if end.stopped.is_none() && end.status.success() {
            return None;
        }
        let why = format!("exit code {}", code(&end));
        let counts = self.variables.get("AFTER_SCRIPT_IGNORE_ERRORS");
        if counts.is_some_and(|ignore| ignore.value == "false") {
            return Some(why);
        }
        self.say(&format!(
            "WARNING: after_script failed, but job will continue unaffected: {why}"
        ));
        None
    }

    fn shell(&mut self, commands: &[String], status: &str, timeout: Duration, mailbox: &mut Mailbox) -> End {
        let runner = self.surroundings.runner;
        let mut variables = self.variables.clone();
        variables.extend(plain([("CI_JOB_STATUS", status)]));
        let container = self.folder.join(format!("container-{}", self.container));
        let (home, tmp) = (container.join("home"), container.join("tmp"));
        for folder in [&home, &tmp] {
            fs::create_dir_all(folder).expect("made");
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let path = runner.path.iter().cloned().chain(env::split_paths(&path));
        let mut shell = Command::new(&runner.shell);
        if runner.container {
            shell = Command::new("unshare");
            shell
                .args([
                    "--user",
                    "--map-root-user",
                    "--pid",
                    "--mount-proc",
                    "--fork",
                    "--kill-child",
                ])
                .arg(&runner.shell);
        }
        if runner.proxy_exec {
            // The shell's parent looks like the runner: its name is `gitlab-runner-helper`, and one of its
            // arguments is `proxy-exec`.
            shell = Command::new("sh");
            shell
                .arg0("gitlab-runner-helper")
                .args(["-c", "\"$1\"", "proxy-exec", &runner.shell]);
        }
        shell
            .current_dir(&container)
            .env_clear()
            .env("PATH", env::join_paths(path).expect("folders can stand in PATH"))
            .env("HOME", home)
            .env("TMPDIR", tmp);
        let signals = [(Signal::TERM, runner.grace)];
        let manner = Manner {
            merged: true,
            input: &script(
                &variables,
                &self.temp(),
                &self.project.display().to_string(),
                commands,
            ),
            group: true,
            timeout: Some(timeout),
            signals: if runner.container { &[] } else { &signals },
            // If a process holds the log open, the job waits for it.
            linger: None,
        };
        mailbox.run(shell, &manner, self).expect("the shell starts")
    }

    /// Uploads the artifacts after after_script. Returns GitLab's reason for refusing a report.
    #[expect(clippy::type_complexity, reason = "variables, and files by path")]
    fn upload(
        &mut self,
        outcome: &Outcome,
    ) -> Result<(BTreeMap<String, String>, BTreeMap<String, Vec<u8>>), String> {
        let due = match &*self.definition.artifacts_when {
            "always" => true,
            "on_failure" => !matches!(outcome, Outcome::Success),
            _ => matches!(outcome, Outcome::Success),
        };
        let (mut variables, mut artifacts) = (BTreeMap::new(), BTreeMap::new());
        if !due {
            return Ok((variables, artifacts));
        }
        for path in &self.definition.paths {
            self.collect(path, &mut artifacts);
        }
        for path in &self.definition.dotenv {
            let mut reports = BTreeMap::new();
            self.collect(path, &mut reports);
            for report in reports.into_values() {
                let report = dotenv::parse(&report);
                variables.extend(report.map_err(|why| {
                    format!("Uploading artifacts as \"dotenv\" to coordinator... 400 Bad Request ({why})")
                })?);
            }
        }
        Ok((variables, artifacts))
    }

    /// Adds the files at a path of the project. Does not support patterns.
    fn collect(&self, path: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        let found = self.project.join(path);
        if found.is_dir() {
            for entry in fs::read_dir(&found).expect("a folder").flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.collect(&format!("{}/{name}", path.trim_end_matches('/')), files);
            }
        } else if let Ok(bytes) = fs::read(&found) {
            files.insert(path.to_owned(), bytes);
        } else {
            self.say(&format!("WARNING: {path}: no matching files"));
        }
    }

    /// Removes the files of the variables of type *File*.
    fn clean_up(&self) {
        let files = self
            .variables
            .iter()
            .filter(|(_, variable)| variable.kind == Kind::File);
        for (name, _) in files {
            let _ = fs::remove_file(Path::new(&self.temp()).join(name));
        }
    }

    /// The temporary folder, next to the project's folder.
    fn temp(&self) -> String {
        format!("{}.tmp", self.project.display())
    }

    fn time_left(&self) -> Duration {
        self.definition.timeout.saturating_sub(self.begin.elapsed())
    }

    fn limit(&self, variable: &str) -> Option<Duration> {
        self.variables
            .get(variable)
            .map(|variable| duration(&variable.value))
    }

    /// Writes a line of the runner to the log.
    fn say(&self, line: &str) {
        self.raw.push(format!("{line}\n").as_bytes());
        self.surroundings.raw.push(format!("{line}\n").as_bytes());
    }
}

impl Attendant for Build<'_> {
    fn output(&mut self, _: Stream, bytes: &[u8]) {
        self.raw.push(bytes);
        self.surroundings.raw.push(bytes);
    }

    /// Stops the script, and lets after_script run. GitLab refuses the job's own token from now on.
    fn cancelled(&mut self) -> bool {
        self.surroundings.tokens.set(|tokens| tokens.remove(&self.token));
        self.cancelled = true;
        !self.ending
    }
}

fn code(end: &End) -> i32 {
    let signal = end.status.signal().unwrap_or_default();
    end.status.code().unwrap_or(128 + signal)
}

/// Copies a folder with its files and their modes.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("the project is there").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("copied");
        }
    }
}
