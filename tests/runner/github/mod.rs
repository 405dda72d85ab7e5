//! A GitHub runner that runs one job of a workflow (github.com/actions/runner, 2.336).
//!
//! ```no_run
//! use jobpass_tests::runner::github::{Conclusion, Runner};
//!
//! let ended = Runner::new("jobs: {greet: {steps: [{run: echo hello}]}}").run();
//! assert_eq!(ended.conclusion, Conclusion::Success);
//! assert!(ended.log.contains("hello"));
//! ```

mod command;
mod expression;
mod files;
mod job;
mod masker;
mod obey;
mod step;
#[cfg(test)]
mod tests;
mod workflow;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

pub use self::masker::Masker;
use self::workflow::{Action, Workflow};
use super::log::Raw;
use super::process::{Canceller, Mailbox};

/// The folder of the runner's command files, in the temporary folder of the job.
const COMMAND_FILES: &str = "_runner_file_commands";

/// A runner with a workflow to run.
pub struct Runner {
    workflow: Workflow,
    folder: TempDir,
    actions: BTreeMap<String, Action>,
    secrets: BTreeMap<String, String>,
    /// The secrets of each environment, which only its jobs get.
    environments: BTreeMap<String, BTreeMap<String, String>>,
    configuration: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    path: Vec<PathBuf>,
    id_tokens: Option<(String, String)>,
    times: Times,
    debug: bool,
    below_two_composites: bool,
}

/// The times for which the runner waits (`ProcessInvoker.cs`).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The time between SIGINT and SIGTERM.
    pub interrupt: Duration,
    /// The time between SIGTERM and SIGKILL.
    pub terminate: Duration,
    /// The wait for the end of a step's output, if other processes keep it open after the step's own process
    /// has ended.
    pub streams: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            interrupt: Duration::from_millis(7500),
            terminate: Duration::from_millis(2500),
            streams: Duration::from_secs(5),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    Success,
    Failure,
    Cancelled,
    Skipped,
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Conclusion::Success => "success",
            Conclusion::Failure => "failure",
            Conclusion::Cancelled => "cancelled",
            Conclusion::Skipped => "skipped",
        })
    }
}

/// A running job. Dropping this value cancels the job.
pub struct Running {
    raw: Arc<Raw>,
    canceller: Canceller,
    thread: Option<JoinHandle<Ended>>,
}

/// A finished job.
pub struct Ended {
    pub conclusion: Conclusion,
    /// The steps in the order in which they ran, including posts.
    pub steps: Vec<Step>,
    /// The job's log as GitHub shows it, with secrets masked.
    pub log: String,
    /// The unmasked output of the steps, with their commands.
    pub raw: String,
    /// The summaries of all steps, masked.
    pub summary: String,
    /// The outputs of the job. The runner drops empty outputs, and outputs with a masked value.
    pub outputs: BTreeMap<String, String>,
    folder: TempDir,
}

/// A step that the runner has finished or skipped.
#[derive(Clone, Debug)]
pub struct Step {
    /// The name. It begins with `Post ` for a post.
    pub name: String,
    pub conclusion: Conclusion,
    pub outputs: BTreeMap<String, String>,
    /// The names of the commands in the step's log that the runner carried out.
    pub commands: Vec<String>,
    /// The step's part of the job's log, with secrets masked.
    pub log: String,
}

impl Runner {
    /// Reads the workflow of the job.
    ///
    /// # Panics
    ///
    /// If the workflow is invalid, has several jobs, or uses a feature that the harness lacks.
    pub fn new(workflow: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the runner");
        for name in ["home", "temp", "tools", "workspace"] {
            fs::create_dir(folder.path().join(name)).expect("a folder of the runner");
        }
        Self {
            workflow: Workflow::parse(workflow),
            folder,
            actions: BTreeMap::new(),
            secrets: BTreeMap::new(),
            environments: BTreeMap::new(),
            configuration: BTreeMap::new(),
            variables: BTreeMap::new(),
            path: Vec::new(),
            id_tokens: None,
            times: Times::default(),
            debug: false,
            below_two_composites: false,
        }
    }

    /// Sets the folder of the action for `uses: name`. `actions/checkout` needs none, because in this harness
    /// it does not change the workspace.
    pub fn action(mut self, name: &str, folder: &Path) -> Self {
        self.actions.insert(name.to_owned(), Action::load(folder));
        self
    }

    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a secret of an environment.
    pub fn environment_secret(mut self, environment: &str, name: &str, value: &str) -> Self {
        let secrets = self.environments.entry(environment.to_owned()).or_default();
        secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable of the repository, for the context `vars`.
    pub fn configuration_variable(mut self, name: &str, value: &str) -> Self {
        self.configuration.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable of the machine.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts a folder in front of the PATH of the machine.
    pub fn path(mut self, folder: &Path) -> Self {
        self.path.push(folder.to_owned());
        self
    }

    /// Sets the endpoint of ID tokens and its bearer token, for jobs with `permissions: {id-token: write}`.
    pub fn id_tokens(mut self, url: &str, bearer: &str) -> Self {
        self.id_tokens = Some((url.to_owned(), bearer.to_owned()));
        self
    }

    /// Empties the inputs in `with:` for post steps. Inside two nested composite actions, the real runner
    /// gives post inputs that are empty or wrong (github.com/actions/runner, issue 3514).
    pub fn below_two_composites(mut self) -> Self {
        self.below_two_composites = true;
        self
    }

    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Turns on debug mode (the secret ACTIONS_STEP_DEBUG). The log then shows outputs and state when a step
    /// sets them.
    pub fn debug(mut self) -> Self {
        self.debug = true;
        self
    }

    /// The folder in which steps run. The test must put the files into this folder, because
    /// `actions/checkout` does nothing in this harness.
    pub fn workspace(&self) -> PathBuf {
        self.folder("workspace")
    }

    /// Runs the job to its end.
    pub fn run(self) -> Ended {
        self.start().end()
    }

    pub fn start(self) -> Running {
        let (raw, mailbox) = (Arc::<Raw>::default(), Mailbox::default());
        let (canceller, log) = (mailbox.canceller(), Arc::clone(&raw));
        let thread = thread::Builder::new().name("runner".to_owned());
        let thread = thread.spawn(move || job::run(self, log, mailbox));
        Running {
            raw,
            canceller,
            thread: Some(thread.expect("a thread for the job")),
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Finds a program on the machine. A step's `env:` does not matter (`WhichUtil.cs`).
    fn which(&self, program: &str, in_front: &[PathBuf]) -> Option<PathBuf> {
        let machine = env::var_os("PATH").unwrap_or_default();
        let machine = self.path.iter().cloned().chain(env::split_paths(&machine));
        let folders = in_front.iter().cloned().chain(machine);
        folders
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    }
}

impl Running {
    /// Cancels the job, like a person in the web interface.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Waits until `what` returns a value for the unmasked output of the steps ([`Ended::raw`]).
    ///
    /// # Panics
    ///
    /// If `what` returns no value within `timeout`.
    pub fn wait_for<T>(&self, timeout: Duration, what: impl Fn(&str) -> Option<T>) -> T {
        self.raw.wait_for(timeout, what)
    }

    /// Waits for the end of the job.
    ///
    /// # Panics
    ///
    /// If the workflow uses a feature that the harness lacks.
    pub fn end(mut self) -> Ended {
        let thread = self.thread.take().expect("a job ends once");
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
    /// The step of this name.
    ///
    /// # Panics
    ///
    /// If there is no such step.
    pub fn step(&self, name: &str) -> &Step {
        let mut steps = self.steps.iter();
        steps.find(|step| step.name == name).unwrap_or_else(|| {
            let names = self.steps.iter().map(|step| &*step.name).collect::<Vec<_>>();
            panic!("no step {name:?}, only {names:?}")
        })
    }

    /// The names in RUNNER_TEMP, without the runner's own files.
    pub fn left_in_temp(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder().join("temp")).expect("RUNNER_TEMP is there");
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != COMMAND_FILES).collect()
    }

    /// The folder with the job's folders: `home`, `temp`, `tools` and `workspace`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
