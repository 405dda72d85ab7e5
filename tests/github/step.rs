//! One step with the action. Like a runner, it starts `jobpass-github main`, and later `jobpass-github post`,
//! with a runner's command files and variables.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use crate::support;

/// A step with `with:` inputs and the job's variables.
pub(crate) struct Step {
    folder: TempDir,
    inputs: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    /// The variables that later steps wrote to GITHUB_ENV.
    later: Vec<(String, String)>,
}

/// The results of a finished part of a step.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Step {
    pub(crate) fn with(inputs: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("temp")).expect("RUNNER_TEMP");
        for file in ["output", "state", "summary", "env"] {
            fs::write(folder.path().join(file), "").expect("a command file");
        }
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            folder,
            inputs: inputs.iter().map(owned).collect(),
            variables: Vec::new(),
            later: Vec::new(),
        }
    }

    /// The step of most tests: a token for `scanner`, in the namespace of the kubeconfig.
    pub(crate) fn scanner(kubeconfig: &str, more: &[(&str, &str)]) -> Self {
        let inputs = [("service-account", "scanner"), ("kubeconfig", kubeconfig)];
        Self::with(&[&inputs, more].concat())
    }

    /// Sets a variable from now on. It takes precedence over all other variables of that name.
    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable for post, as a later step would through GITHUB_ENV. A saved state of that name takes
    /// precedence.
    pub(crate) fn later(&mut self, name: &str, value: &str) -> &mut Self {
        self.later.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Changes the value of an input from now on.
    pub(crate) fn input(&mut self, name: &str, value: &str) {
        self.inputs.retain(|(known, _)| known != name);
        self.inputs.push((name.to_owned(), value.to_owned()));
    }

    /// Makes every input empty from now on.
    pub(crate) fn forget_inputs(&mut self) {
        for (_, value) in &mut self.inputs {
            value.clear();
        }
    }

    /// The current value of an input.
    pub(crate) fn value(&self, name: &str) -> &str {
        let input = self.inputs.iter().find(|(known, _)| known == name);
        &input.expect("an input").1
    }

    /// Runs main to its end.
    pub(crate) fn main(&self) -> Ended {
        Ended::of(self.start("main", Stdio::piped()))
    }

    /// Runs post to its end, with the state that main recorded.
    pub(crate) fn post(&self) -> Ended {
        Ended::of(self.start("post", Stdio::piped()))
    }

    pub(crate) fn start(&self, part: &str, stdout: Stdio) -> Child {
        let mut command = self.command(part, support::binary("jobpass-github"), stdout);
        command.arg(part).spawn().expect("jobpass-github starts")
    }

    /// A command that runs `program` for a part of the action, with the runner's environment.
    pub(crate) fn command(&self, part: &str, program: impl AsRef<std::ffi::OsStr>, stdout: Stdio) -> Command {
        let mut command = support::scrubbed(Command::new(program));
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        command.process_group(0);
        command.env("RUNNER_TEMP", self.temp());
        for (variable, file) in [
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_STATE", "state"),
            ("GITHUB_ENV", "env"),
            ("GITHUB_STEP_SUMMARY", "summary"),
        ] {
            command.env(variable, self.file(file));
        }
        for (name, value) in [
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "team/app"),
            ("GITHUB_RUN_ID", "77"),
            ("GITHUB_JOB", "scan"),
            ("GITHUB_ACTOR", "someone"),
        ] {
            command.env(name, value);
        }
        command.envs(
            self.inputs
                .iter()
                .map(|(name, value)| (format!("INPUT_{}", name.to_uppercase()), value)),
        );
        if part == "post" {
            command.envs(self.later.iter().map(|(name, value)| (name, value)));
            command.envs(
                self.state()
                    .iter()
                    .map(|(name, value)| (format!("STATE_{name}"), value)),
            );
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn outputs(&self) -> BTreeMap<String, String> {
        parse(&self.read("output"))
    }

    pub(crate) fn token(&self) -> String {
        self.outputs().remove("token").expect("an output `token`")
    }

    pub(crate) fn state(&self) -> BTreeMap<String, String> {
        parse(&self.read("state"))
    }

    /// The variables that main set for later steps, in GITHUB_ENV.
    pub(crate) fn exported(&self) -> BTreeMap<String, String> {
        parse(&self.read("env"))
    }

    pub(crate) fn summary(&self) -> String {
        self.read("summary")
    }

    pub(crate) fn temp(&self) -> PathBuf {
        self.folder.path().join("temp")
    }

    /// The names in RUNNER_TEMP.
    pub(crate) fn left_in_temp(&self) -> Vec<String> {
        let names = fs::read_dir(self.temp()).expect("RUNNER_TEMP").flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        read(&self.file(name))
    }
}

impl Ended {
    pub(crate) fn of(child: Child) -> Self {
        let output = child.wait_with_output().expect("it ends");
        let log =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Self {
            status: output.status,
            log,
        }
    }

    /// The exit code. For a process that a signal ended, 128 plus the signal's number.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code(), 0, "{}", self.log);
        self
    }
}

/// Reads a file. If a test has replaced it by a pipe, returns an empty text.
fn read(path: &Path) -> String {
    let mut text = String::new();
    if path.is_file() {
        fs::File::open(path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .expect("a command file");
    }
    text
}

/// Parses a command file as `FileCommandManager.cs` does: `NAME<<DELIMITER`, the lines of the value,
/// `DELIMITER`. The last value of a name counts.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").expect("NAME<<DELIMITER");
        let value = lines
            .by_ref()
            .take_while(|line| *line != delimiter)
            .collect::<Vec<_>>();
        values.insert(name.to_owned(), value.join("\n"));
    }
    values
}
