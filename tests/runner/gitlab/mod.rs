//! GitLab with a runner. It runs a pipeline, one job after the other (GitLab 19, gitlab-runner 19.4, shell
//! executor).
//!
//! ```no_run
//! use jobpass_tests::runner::gitlab::{Runner, Status};
//!
//! # let project = std::path::Path::new("project");
//! std::fs::write(project.join(".gitlab-ci.yml"), "greet: {script: [echo hello]}")?;
//! let ended = Runner::new(project).run();
//! assert_eq!(ended.status, Status::Success);
//! assert!(ended.job("greet").log.contains("hello"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod config;
mod dotenv;
mod inputs;
mod job;
mod masker;
mod pipeline;
mod script;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use self::config::Config;
use self::variables::{Kind, Variable, Variables};
use super::log::Raw;
use super::process::{Canceller, Mailbox, Stop};
use jobpass_devkit::issuer::Issuer;

/// A project and the runner for its pipeline.
pub struct Runner {
    config: Config,
    project: PathBuf,
    folder: TempDir,
    /// The variables of the project's CI/CD settings.
    variables: Variables,
    issuer: Issuer,
    path: Vec<PathBuf>,
    shell: String,
    grace: Duration,
    new_container: bool,
    proxy_exec: bool,
    container: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Success,
    Failed,
    Canceled,
    Skipped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Success => "success",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
            Status::Skipped => "skipped",
        })
    }
}

/// A running pipeline. Dropping this value cancels the pipeline.
pub struct Running {
    raw: Arc<Raw>,
    tokens: Tokens,
    canceller: Canceller,
    thread: Option<JoinHandle<Ended>>,
}

/// A finished pipeline.
pub struct Ended {
    pub status: Status,
    /// The jobs in the order in which they ran. The jobs that did not run come last.
    pub jobs: Vec<Job>,
    folder: TempDir,
}

/// A job that has ended, or that did not run.
pub struct Job {
    pub name: String,
    pub status: Status,
    /// The job's log as GitLab shows it, with secrets masked.
    pub log: String,
    /// The unmasked log: the output of the scripts, and the runner's own lines.
    pub raw: String,
    /// The job's ID tokens.
    pub id_tokens: Vec<String>,
    /// The variables of the job's dotenv report.
    pub dotenv: BTreeMap<String, String>,
    /// The files that the job uploaded, by their paths in the project.
    pub artifacts: BTreeMap<String, Vec<u8>>,
}

/// The job tokens that GitLab accepts now.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<BTreeSet<String>>>);

impl Tokens {
    fn set<T>(&self, change: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Runner {
    /// Creates a runner for the pipeline in this folder's `.gitlab-ci.yml`. Each job works on a copy of the
    /// folder.
    ///
    /// # Panics
    ///
    /// If GitLab would not create the pipeline, or if the pipeline uses a feature that the harness lacks.
    pub fn new(project: &Path) -> Self {
        Self::beside(project, &[])
    }

    /// Like [`Runner::new`], on a GitLab with other projects, from which the pipeline can include files.
    /// `others` contains the path on GitLab and the local folder of each.
    ///
    /// # Panics
    ///
    /// Like [`Runner::new`].
    pub fn beside(project: &Path, others: &[(&str, &Path)]) -> Self {
        Self {
            config: Config::load(project, others),
            project: project.to_owned(),
            folder: tempfile::tempdir().expect("a folder for the runner"),
            variables: Variables::new(),
            issuer: Issuer::gitlab("gitlab.example.com"),
            path: Vec::new(),
            shell: "bash".to_owned(),
            // This is the default of `graceful_kill_timeout`.
            grace: Duration::from_secs(600),
            new_container: false,
            proxy_exec: false,
            container: false,
        }
    }

    /// Adds a project variable.
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.with(name, value, Kind::Plain)
    }

    /// Adds a masked project variable.
    ///
    /// # Panics
    ///
    /// If GitLab cannot mask the value.
    pub fn masked(self, name: &str, value: &str) -> Self {
        assert!(
            value.len() >= 8 && !value.contains(char::is_whitespace),
            "GitLab masks one word of 8 characters or more"
        );
        self.with(name, value, Kind::Masked)
    }

    /// Adds a project variable of type *File*.
    pub fn file(self, name: &str, value: &str) -> Self {
        self.with(name, value, Kind::File)
    }

    fn with(mut self, name: &str, value: &str, kind: Kind) -> Self {
        let value = value.to_owned();
        self.variables.insert(name.to_owned(), Variable { value, kind });
        self
    }

    /// Sets the issuer of the jobs' ID tokens. The default issues tokens for a push to `main` of `team/scan`.
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuer = issuer;
        self
    }

    /// Puts a folder in front of the PATH of every image.
    pub fn path(mut self, folder: &Path) -> Self {
        self.path.push(folder.to_owned());
        self
    }

    /// Sets the shell for the scripts. The default is bash.
    pub fn shell(mut self, shell: &str) -> Self {
        self.shell = shell.to_owned();
        self
    }

    /// Sets the time after which the runner kills a cancelled script (`graceful_kill_timeout`).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Runs `after_script` in a new container after a cancellation. The container has the project's folders,
    /// and nothing else that the script left.
    pub fn new_container_after_cancel(mut self) -> Self {
        self.new_container = true;
        self
    }

    /// Runs the shells below the runner's `proxy-exec`, which masks the values of `::add-mask::` (17.10 and
    /// newer).
    pub fn proxy_exec(mut self) -> Self {
        self.proxy_exec = true;
        self
    }

    /// Runs each shell in a container of its own. When the shell ends, SIGKILL ends all other processes of
    /// the container, without an earlier signal. (This uses Linux namespaces for processes and users, through
    /// `unshare`.)
    pub fn container(mut self) -> Self {
        self.container = true;
        self
    }

    /// Runs the pipeline to its end.
    pub fn run(self) -> Ended {
        self.start().end()
    }

    pub fn start(self) -> Running {
        let (raw, tokens, mailbox) = (Arc::<Raw>::default(), Tokens::default(), Mailbox::default());
        let (canceller, log, valid) = (mailbox.canceller(), Arc::clone(&raw), tokens.clone());
        let thread = thread::Builder::new().name("runner".to_owned());
        let thread = thread.spawn(move || pipeline::run(self, &log, &valid, mailbox));
        Running {
            raw,
            tokens,
            canceller,
            thread: Some(thread.expect("a thread for the pipeline")),
        }
    }
}

impl Running {
    /// Cancels the pipeline, like a person in the web interface.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Cancels the pipeline as a GitLab before 17.0 does, or an administrator by force: the job ends at once.
    pub fn cancel_by_force(&self) {
        self.canceller.stop(Stop::Force);
    }

    /// Sends SIGTERM to the runner, like a machine that shuts down.
    pub fn terminate_runner(&self) {
        self.canceller.stop(Stop::Terminate);
    }

    /// Sends SIGKILL to the runner. The processes of the job continue.
    pub fn kill_runner(&self) {
        self.canceller.stop(Stop::Kill);
    }

    /// Waits until `what` returns a value for the unmasked output of all jobs so far ([`Job::raw`]).
    ///
    /// # Panics
    ///
    /// If `what` returns no value within `timeout`.
    pub fn wait_for<T>(&self, timeout: Duration, what: impl Fn(&str) -> Option<T>) -> T {
        self.raw.wait_for(timeout, what)
    }

    /// Whether GitLab accepts this `CI_JOB_TOKEN` now.
    pub fn accepts(&self, job_token: &str) -> bool {
        self.tokens.set(|tokens| tokens.contains(job_token))
    }

    /// Waits for the end of the pipeline.
    ///
    /// # Panics
    ///
    /// If the pipeline uses a feature that the harness lacks.
    pub fn end(mut self) -> Ended {
        let thread = self.thread.take().expect("a pipeline ends once");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.canceller.cancel();
            drop(thread.join());
        }
    }
}

impl Ended {
    /// The job of this name.
    ///
    /// # Panics
    ///
    /// If there is no such job.
    pub fn job(&self, name: &str) -> &Job {
        let mut jobs = self.jobs.iter();
        jobs.find(|job| job.name == name)
            .unwrap_or_else(|| panic!("no job {name:?}"))
    }

    /// The logs of all jobs as GitLab shows them.
    pub fn log(&self) -> String {
        self.jobs
            .iter()
            .map(|job| format!("== {} ({})\n{}", job.name, job.status, job.log))
            .collect()
    }

    /// The folder with one folder for each job, named by the job's number. A job's folder contains the
    /// project and its `.tmp`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
