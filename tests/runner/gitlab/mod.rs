//! GitLab with one runner that runs a pipeline, job by job (GitLab 19, gitlab-runner 19.4, shell executor).
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
    /// Of the project's CI/CD settings.
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

/// A pipeline that runs. Dropping it cancels it.
pub struct Running {
    raw: Arc<Raw>,
    tokens: Tokens,
    canceller: Canceller,
    thread: Option<JoinHandle<Ended>>,
}

/// A pipeline that is over.
pub struct Ended {
    pub status: Status,
    /// In the order in which they ran; last those that did not.
    pub jobs: Vec<Job>,
    folder: TempDir,
}

/// A job that is over, or did not run.
pub struct Job {
    pub name: String,
    pub status: Status,
    /// As a person sees it.
    pub log: String,
    /// What the scripts wrote: nothing in it is masked.
    pub raw: String,
    /// The `id_tokens` that it had.
    pub id_tokens: Vec<String>,
    /// What it handed to later jobs as a dotenv report.
    pub dotenv: BTreeMap<String, String>,
    /// The files that it uploaded, by their paths in the project.
    pub artifacts: BTreeMap<String, Vec<u8>>,
}

/// The job tokens that work now.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<BTreeSet<String>>>);

impl Tokens {
    fn set<T>(&self, change: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Runner {
    /// For the pipeline that `.gitlab-ci.yml` in this folder defines. Each job works on a copy of the folder.
    ///
    /// # Panics
    ///
    /// If GitLab would not create that pipeline, or it uses something that the harness does not know.
    pub fn new(project: &Path) -> Self {
        Self {
            config: Config::load(project),
            project: project.to_owned(),
            folder: tempfile::tempdir().expect("a folder for the runner"),
            variables: Variables::new(),
            issuer: Issuer::gitlab("gitlab.example.com"),
            path: Vec::new(),
            shell: "bash".to_owned(),
            // `graceful_kill_timeout`
            grace: Duration::from_secs(600),
            new_container: false,
            proxy_exec: false,
            container: false,
        }
    }

    /// A variable of the project.
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.with(name, value, Kind::Plain)
    }

    /// A masked variable of the project.
    ///
    /// # Panics
    ///
    /// If GitLab could not mask it.
    pub fn masked(self, name: &str, value: &str) -> Self {
        assert!(
            value.len() >= 8 && !value.contains(char::is_whitespace),
            "GitLab masks one word of 8 characters or more"
        );
        self.with(name, value, Kind::Masked)
    }

    /// A variable of the project of type file.
    pub fn file(self, name: &str, value: &str) -> Self {
        self.with(name, value, Kind::File)
    }

    fn with(mut self, name: &str, value: &str, kind: Kind) -> Self {
        let value = value.to_owned();
        self.variables.insert(name.to_owned(), Variable { value, kind });
        self
    }

    /// Who signs the `id_tokens` of jobs, if not a GitLab that says what is true.
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuer = issuer;
        self
    }

    /// A folder to have in front of the PATH of every image.
    pub fn path(mut self, folder: &Path) -> Self {
        self.path.push(folder.to_owned());
        self
    }

    /// What runs the scripts, if not bash.
    pub fn shell(mut self, shell: &str) -> Self {
        self.shell = shell.to_owned();
        self
    }

    /// How long a cancelled script may go on before it is killed (`graceful_kill_timeout`).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// After a cancellation, `after_script` runs in a new container: it has the project's folders, and nothing else that
    /// the script left.
    pub fn new_container_after_cancel(mut self) -> Self {
        self.new_container = true;
        self
    }

    /// The shells run below the runner's `proxy-exec`, which masks what `::add-mask::` says (17.10 and newer).
    pub fn proxy_exec(mut self) -> Self {
        self.proxy_exec = true;
        self
    }

    /// Each shell runs in a container of its own: all its processes end with it, and it is stopped by killing all of them, with no
    /// signal before. (Linux namespaces of processes and users, through `unshare`.)
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
    /// Cancels the pipeline, as a person does in the web interface.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Cancels the pipeline as a GitLab below 17.0 does, or an administrator by force: the job is over at once.
    pub fn cancel_by_force(&self) {
        self.canceller.stop(Stop::Force);
    }

    /// Sends SIGTERM to the runner, as a machine does that goes down.
    pub fn terminate_runner(&self) {
        self.canceller.stop(Stop::Terminate);
    }

    /// Sends SIGKILL to the runner. What it has started goes on.
    pub fn kill_runner(&self) {
        self.canceller.stop(Stop::Kill);
    }

    /// Waits until `what` finds something in what the scripts of all jobs wrote so far. See [`Job::raw`].
    ///
    /// # Panics
    ///
    /// When it has found nothing after `timeout`.
    pub fn wait_for<T>(&self, timeout: Duration, what: impl Fn(&str) -> Option<T>) -> T {
        self.raw.wait_for(timeout, what)
    }

    /// Whether GitLab would let this `CI_JOB_TOKEN` in now.
    pub fn accepts(&self, job_token: &str) -> bool {
        self.tokens.set(|tokens| tokens.contains(job_token))
    }

    /// Waits for the end of the pipeline.
    ///
    /// # Panics
    ///
    /// When the pipeline does something that the harness does not know.
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
    /// When there is none.
    pub fn job(&self, name: &str) -> &Job {
        let mut jobs = self.jobs.iter();
        jobs.find(|job| job.name == name)
            .unwrap_or_else(|| panic!("no job {name:?}"))
    }

    /// The logs of all jobs, as a person sees them.
    pub fn log(&self) -> String {
        self.jobs
            .iter()
            .map(|job| format!("== {} ({})\n{}", job.name, job.status, job.log))
            .collect()
    }

    /// The folder with all that the jobs left: in it a folder for each job's number, with the project and its `.tmp`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
