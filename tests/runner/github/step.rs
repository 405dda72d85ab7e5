//! One part of a step: its process and its files. The module `obey` handles its output.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use super::Conclusion;
use super::command::Lines;
use super::files::{self, File, Files};
use super::job::{Job, Variables};
use super::workflow::{Action, Step};
use crate::runner::process::{Attendant, End, Mailbox, Manner, Stopped, Stream};
use crate::runner::random;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Main,
    Post,
}

/// A running part of a step.
pub(super) struct Execution<'a> {
    pub(super) job: &'a mut Job,
    pub(super) number: usize,
    step: &'a Step,
    condition: &'a str,
    /// The context `env`: the job's variables, and the step's own, which take precedence.
    pub(super) env: Variables,
    lines: [Lines; 2],
    pub(super) outputs: Variables,
    pub(super) commands: Vec<String>,
    pub(super) failed: bool,
    pub(super) echo: bool,
    /// The word that ends `::stop-commands::`.
    pub(super) token: Option<String>,
}

impl<'a> Execution<'a> {
    pub(super) fn new(
        job: &'a mut Job,
        number: usize,
        step: &'a Step,
        condition: &'a str,
        env: Variables,
    ) -> Self {
        Self {
            job,
            number,
            step,
            condition,
            env,
            lines: Default::default(),
            outputs: Variables::new(),
            commands: Vec::new(),
            failed: false,
            echo: false,
            token: None,
        }
    }

    /// Runs a part of a JavaScript action (`NodeScriptActionHandler.cs`).
    pub(super) fn action(
        &mut self,
        name: &str,
        action: &Action,
        stage: Stage,
        mailbox: &mut Mailbox,
    ) -> Conclusion {
        let scope = self.job.scope(&self.env);
        let mut inputs = self.job.texts(&self.step.with, &self.env);
        if stage == Stage::Post && self.job.runner.below_two_composites {
            inputs.values_mut().for_each(String::clear);
        }
        for (input, default) in action.defaults() {
            inputs
                .entry(input.to_owned())
                .or_insert_with(|| scope.text(default));
        }
        match stage {
            Stage::Main => self.show_head(name, &inputs, &[]),
            Stage::Post => self.job.show("Post job cleanup."),
        }
        let script = match (stage, action.post()) {
            (Stage::Post, Some((script, _))) => script,
            _ => action.main(),
        };
        // The real runner brings its own Node.
        let node = self.job.runner.which("node", &[]).expect("node is on PATH");
        let mut command = Command::new(node);
        command.arg(script);
        let inputs = inputs.into_iter().map(|(input, value)| {
            let input = input.replace(' ', "_").to_uppercase();
            (format!("INPUT_{input}"), value)
        });
        let end = self.run(command, inputs.collect(), mailbox);
        self.conclude(name, &end)
    }

    /// Runs a script (`ScriptHandler.cs`). A step without a script does nothing.
    pub(super) fn script(&mut self, name: &str, mailbox: &mut Mailbox) -> Conclusion {
        let Some(run) = &self.step.run else {
            self.show_head(name, &Variables::new(), &[]);
            return Conclusion::Success;
        };
        let script = self.job.scope(&self.env).text(run);
        let path = self
            .job
            .runner
            .folder("temp")
            .join(format!("{}.sh", random::uid()));
        fs::write(&path, &script).expect("RUNNER_TEMP is there");
        // The shells are those of `ScriptHandlerHelpers.cs`.
        let shell = match self.step.shell.as_deref() {
            None => "bash -e {0}",
            Some("bash") => "bash --noprofile --norc -e -o pipefail {0}",
            Some("sh") => "sh -e {0}",
            Some("python") => "python {0}",
            Some(other) => other,
        };
        let mut head = script
            .lines()
            .map(|line| format!("\x1b[36;1m{line}\x1b[0m"))
            .collect::<Vec<_>>();
        head.push(format!("shell: {shell}"));
        self.show_head(name, &Variables::new(), &head);

        let mut words = shell.split_whitespace();
        let program = words.next().expect("a shell");
        let in_front = self.job.path.iter().rev().cloned().collect::<Vec<_>>();
        let program = self
            .job
            .runner
            .which(program, &in_front)
            .expect("the shell is on PATH");
        let mut command = Command::new(program);
        command.args(words.map(|word| word.replace("{0}", &path.display().to_string())));
        let end = self.run(command, Variables::new(), mailbox);
        if end.stopped.is_none() && !end.status.success() {
            self.job.show(&format!(
                "##[error]Process completed with exit code {}.",
                code(&end)
            ));
        }
        let _ = fs::remove_file(path);
        self.conclude(name, &end)
    }

    /// Writes the start of a step's log (`Handler.cs`, `PrintActionDetails`).
    fn show_head(&mut self, name: &str, inputs: &Variables, script: &[String]) {
        let run = self.step.run.as_deref().and_then(|run| run.lines().next());
        let what = self.step.uses.as_deref().or(run).unwrap_or(name);
        let mut head = vec![format!("##[group]Run {what}")];
        head.extend_from_slice(script);
        for (title, values) in [("with:", inputs), ("env:", &self.env)] {
            let mut lines = values
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| format!("  {name}: {value}"))
                .peekable();
            if lines.peek().is_some() {
                head.push(title.to_owned());
                head.extend(lines);
            }
        }
        head.push("##[endgroup]".to_owned());
        for line in head {
            self.job.show(&line);
        }
    }

    fn run(&mut self, mut command: Command, inputs: Variables, mailbox: &mut Mailbox) -> End {
        let temp = self.job.runner.folder("temp");
        let files = Files::create(&temp).expect("RUNNER_TEMP is there");
        command
            .current_dir(self.job.runner.workspace())
            .env_clear()
            .envs(self.environment(inputs, &files));
        let times = self.job.runner.times;
        let manner = Manner {
            merged: false,
            input: "",
            group: false,
            timeout: self.step.timeout(),
            signals: &[(Signal::INT, times.interrupt), (Signal::TERM, times.terminate)],
            linger: Some(times.streams),
        };
        let end = mailbox
            .run(command, &manner, self)
            .expect("the step's program starts");
        for rest in 0..self.lines.len() {
            if let Some(line) = self.lines[rest].end() {
                self.line(&line);
            }
        }
        self.process_files(&files);
        end
    }

    /// The variables of the process. If a name occurs twice, the later variable counts (`ActionRunner.cs`,
    /// `Handler.cs`, `ProcessInvoker.cs`).
    fn environment(&self, inputs: Variables, files: &Files) -> Variables {
        let runner = &self.job.runner;
        let mut all = Variables::new();
        let mut set = |name: &str, value: String| drop(all.insert(name.to_owned(), value));
        set("HOME", runner.folder("home").display().to_string());
        set("PATH", joined(runner.path.iter().cloned(), env::var("PATH").ok()));
        set("CI", "true".to_owned());
        all.extend(runner.variables.clone());
        all.extend(self.env.clone());
        let state = &self.job.states[self.number];
        all.extend(
            state
                .iter()
                .map(|(name, value)| (format!("STATE_{name}"), value.clone())),
        );
        all.extend(inputs);
        if !self.job.path.is_empty() {
            let rest = all.get("PATH").cloned();
            all.insert(
                "PATH".to_owned(),
                joined(self.job.path.iter().rev().cloned(), rest),
            );
        }
        let paths = File::ALL.map(|file| (file, files.path(file)));
        all.extend(self.job.context_variables(self.step, &paths));
        if let Some((url, bearer)) = &runner.id_tokens
            && runner.workflow.may_ask_for_id_token()
        {
            all.insert("ACTIONS_ID_TOKEN_REQUEST_URL".to_owned(), url.clone());
            all.insert("ACTIONS_ID_TOKEN_REQUEST_TOKEN".to_owned(), bearer.clone());
        }
        all.insert("GITHUB_ACTIONS".to_owned(), "true".to_owned());
        all
    }

    fn conclude(&mut self, name: &str, end: &End) -> Conclusion {
        match end.stopped {
            Some(Stopped::Cancelled) => {
                self.job.show("##[error]The operation was canceled.");
                return Conclusion::Cancelled;
            }
            Some(Stopped::TimedOut) => {
                let minutes = self.step.timeout().unwrap_or_default().as_secs_f64() / 60.0;
                self.job.show(&format!(
                    "##[error]The action '{name}' has timed out after {minutes} minutes."
                ));
                return Conclusion::Failure;
            }
            // A GitHub job cannot stop in this way.
            Some(Stopped::FromOutside(_)) | None => {}
        }
        match end.status.success() && !self.failed {
            true => Conclusion::Success,
            false => Conclusion::Failure,
        }
    }

    /// Reads the command files, however the process ended (`FileCommandManager.cs`, `ProcessFiles`).
    fn process_files(&mut self, files: &Files) {
        for file in File::ALL {
            if let Err(problem) = self.process_file(file, files) {
                let name = file.name();
                self.job.show(&format!(
                    "##[error]Unable to process file command '{name}' successfully."
                ));
                self.job.show(&format!("##[error]{problem}"));
                self.failed = true;
            }
        }
    }

    fn process_file(&mut self, file: File, files: &Files) -> Result<(), String> {
        match file {
            File::Path => self.prepend(&files.text(file)?),
            File::Summary => match files.summary() {
                Ok(text) => {
                    for line in text.lines() {
                        self.job.summary += &self.job.masker.mask(line);
                        self.job.summary.push('\n');
                    }
                }
                // This error does not fail the step.
                Err(error) => self.job.show(&format!("##[error]{error}")),
            },
            File::Env | File::State | File::Output => {
                let (values, problem) = files::values(&files.text(file)?);
                for (name, value) in values {
                    self.set(file, &name, value);
                }
                return problem.map_or(Ok(()), Err);
            }
        }
        Ok(())
    }
}

impl Attendant for Execution<'_> {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.job.raw.push(bytes);
        let lines = self.lines[usize::from(stream == Stream::Error)].push(bytes);
        for line in lines {
            self.line(&line);
        }
    }

    /// Evaluates the condition again (`StepsRunner.cs`). If it still holds, as `always()` does, the step
    /// continues.
    fn cancelled(&mut self) -> bool {
        self.job.status = Conclusion::Cancelled;
        !self.job.scope(&self.env).condition(self.condition)
    }
}

fn joined(in_front: impl Iterator<Item = PathBuf>, rest: Option<String>) -> String {
    let rest = rest.unwrap_or_default();
    let all = env::join_paths(in_front.chain(env::split_paths(&rest))).expect("folders can stand in PATH");
    all.to_string_lossy().into_owned()
}

fn code(end: &End) -> i32 {
    let signal = end.status.signal().unwrap_or_default();
    end.status.code().unwrap_or(128 + signal)
}
