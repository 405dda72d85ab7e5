//! A job: its steps in order, then the post steps of its actions (`StepsRunner.cs`, `JobExtension.cs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::expression::Scope;
use super::files::File;
use super::masker::Masker;
use super::step::{Execution, Stage};
use super::workflow::{self, Text, Texts};
use super::{Conclusion, Ended, Runner, Step};
use crate::runner::log::Raw;
use crate::runner::process::Mailbox;
use crate::runner::random;

pub(super) type Variables = BTreeMap<String, String>;

/// A running job.
pub(super) struct Job {
    pub(super) runner: Runner,
    pub(super) raw: Arc<Raw>,
    pub(super) masker: Masker,
    /// The job's log as GitHub shows it, with secrets masked.
    pub(super) log: String,
    pub(super) status: Conclusion,
    /// The variables that all later steps get.
    pub(super) env: Variables,
    /// The folders that steps put in front of PATH, the newest one last.
    pub(super) path: Vec<PathBuf>,
    /// The state that each step saved for its post, by the number of the step.
    pub(super) states: Vec<Variables>,
    pub(super) summary: String,
    /// The context `github`, without the parts of single steps.
    github: Variables,
    /// The context `steps`.
    steps: Map<String, Value>,
    ended: Vec<Step>,
    /// The numbers of the steps that have a post step. The runner begins with the last one.
    posts: Vec<usize>,
}

pub(super) fn run(runner: Runner, raw: Arc<Raw>, mut mailbox: Mailbox) -> Ended {
    let (_, definition) = runner.workflow.job();
    let definition = definition.clone();
    let mut job = Job::new(runner, raw, definition.steps.len());
    job.env = job.texts(&job.runner.workflow.env, &Variables::new());
    let env = job.texts(&definition.env, &job.env);
    job.env.extend(env);

    for (number, step) in definition.steps.iter().enumerate() {
        job.stage(number, step, Stage::Main, &mut mailbox);
    }
    while let Some(number) = job.posts.pop() {
        job.stage(number, &definition.steps[number], Stage::Post, &mut mailbox);
    }
    if mailbox.is_cancelled() {
        job.status = Conclusion::Cancelled;
    }
    let outputs = job.outputs(&definition.outputs);
    Ended {
        conclusion: job.status,
        steps: job.ended,
        log: job.log,
        raw: job.raw.text(),
        summary: job.summary,
        outputs,
        folder: job.runner.folder,
    }
}

impl Job {
    fn new(mut runner: Runner, raw: Arc<Raw>, steps: usize) -> Self {
        let token = format!("ghs_{}", random::uid().replace('-', ""));
        runner.secrets.insert("GITHUB_TOKEN".to_owned(), token.clone());
        let environment = &runner.workflow.job().1.environment.0;
        if let Some(secrets) = runner.environments.remove(environment) {
            runner.secrets.extend(secrets);
        }
        let mut masker = Masker::default();
        for secret in runner.secrets.values() {
            masker.add(secret.trim());
        }
        if let Some((_, bearer)) = &runner.id_tokens {
            masker.add(bearer);
        }
        let workspace = runner.workspace().display().to_string();
        let (job, _) = runner.workflow.job();
        let github = [
            ("token", &*token),
            ("actor", "someone"),
            ("api_url", "https://api.github.com"),
            ("event_name", "push"),
            ("job", job),
            ("ref", "refs/heads/main"),
            ("ref_name", "main"),
            ("repository", "team/app"),
            ("repository_owner", "team"),
            ("run_attempt", "1"),
            ("run_id", "77"),
            ("run_number", "7"),
            ("server_url", "https://github.com"),
            ("sha", "0123456789abcdef0123456789abcdef01234567"),
            ("triggering_actor", "someone"),
            ("workflow", &runner.workflow.name.0),
            ("workspace", &workspace),
        ];
        let github = github.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            github: github.into(),
            runner,
            raw,
            masker,
            log: String::new(),
            status: Conclusion::Success,
            env: Variables::new(),
            path: Vec::new(),
            states: vec![Variables::new(); steps],
            summary: String::new(),
            steps: Map::new(),
            ended: Vec::new(),
            posts: Vec::new(),
        }
    }

    /// Runs the main part or the post of a step, if the condition of that part holds.
    fn stage(&mut self, number: usize, step: &workflow::Step, stage: Stage, mailbox: &mut Mailbox) {
        if mailbox.is_cancelled() {
            self.status = Conclusion::Cancelled;
        }
        let uses = step.uses.as_deref();
        // In this harness, a checkout does not change the workspace.
        let uses = uses.filter(|uses| !uses.starts_with("actions/checkout"));
        let action = uses.map(|uses| {
            let known = self.runner.actions.get(uses);
            known
                .unwrap_or_else(|| panic!("no folder was given for the action {uses}"))
                .clone()
        });
        let post = action.as_ref().and_then(|action| action.post());
        let (name, condition) = match (stage, &post) {
            (Stage::Post, Some((_, condition))) => (format!("Post {}", step.name()), (*condition).to_owned()),
            _ => (step.name(), step.condition.0.clone()),
        };
        let mut env = self.env.clone();
        env.extend(self.texts(&step.env, &self.env));

        let from = self.log.len();
        let mut outcome = Conclusion::Skipped;
        let (mut outputs, mut commands) = (Variables::new(), Vec::new());
        if self.scope(&env).condition(&condition) {
            // This registers the post before main runs, so that the post also runs if main fails.
            if stage == Stage::Main && post.is_some() {
                self.posts.push(number);
            }
            let mut execution = Execution::new(self, number, step, &condition, env);
            outcome = match &action {
                Some(action) => execution.action(&name, action, stage, mailbox),
                None => execution.script(&name, mailbox),
            };
            (outputs, commands) = (execution.outputs, execution.commands);
        }
        let conclusion = match outcome {
            Conclusion::Failure if step.continue_on_error && stage == Stage::Main => Conclusion::Success,
            outcome => outcome,
        };
        self.status = match (self.status, conclusion) {
            (Conclusion::Cancelled, _) | (_, Conclusion::Cancelled) => Conclusion::Cancelled,
            (_, Conclusion::Failure) => Conclusion::Failure,
            (status, _) => status,
        };
        if let (Some(id), Stage::Main) = (&step.id, stage) {
            let context = json!({
                "outputs": outputs,
                "outcome": outcome.to_string(),
                "conclusion": conclusion.to_string(),
            });
            self.steps.insert(id.clone(), context);
        }
        self.ended.push(Step {
            name,
            conclusion,
            outputs,
            commands,
            log: self.log[from..].to_owned(),
        });
    }

    /// The outputs of the job. The runner evaluates them last (`JobExtension.cs`, `FinalizeJob`).
    fn outputs(&mut self, definitions: &Texts) -> Variables {
        let mut outputs = Variables::new();
        for (name, value) in self.texts(definitions, &self.env) {
            if value.is_empty() {
                self.debug(&format!("Skip output '{name}' since it's empty"));
            } else if self.masker.mask(&value) != value {
                self.show(&format!(
                    "##[warning]Skip output '{name}' since it may contain secret."
                ));
            } else {
                outputs.insert(name, value);
            }
        }
        outputs
    }

    /// Evaluates the expressions in these texts. `env` is the context of that name.
    pub(super) fn texts(&self, texts: &Texts, env: &Variables) -> Variables {
        let scope = self.scope(env);
        texts
            .iter()
            .map(|(name, Text(text))| (name.clone(), scope.text(text)))
            .collect()
    }

    pub(super) fn scope(&self, env: &Variables) -> Scope {
        let runner = self.runner_context();
        let contexts = json!({
            "github": self.github,
            "env": env,
            "secrets": self.runner.secrets,
            "vars": self.runner.configuration,
            "steps": self.steps,
            "runner": runner,
            "job": {"check_run_id": 51_725_241_954_u64, "status": self.status.to_string()},
        });
        Scope {
            contexts,
            status: self.status,
        }
    }

    fn runner_context(&self) -> Variables {
        let folder = |name| self.runner.folder(name).display().to_string();
        let mut context = Variables::from(
            [
                ("name", "harness".to_owned()),
                ("os", "Linux".to_owned()),
                ("arch", "X64".to_owned()),
                ("environment", "self-hosted".to_owned()),
                ("temp", folder("temp")),
                ("tool_cache", folder("tools")),
                ("workspace", self.runner.folder.path().display().to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if self.runner.debug {
            context.insert("debug".to_owned(), "1".to_owned());
        }
        context
    }

    /// The contexts `github` and `runner`, as variables for a step's process (`GitHubContext.cs`,
    /// `RunnerContext.cs`).
    pub(super) fn context_variables(&self, step: &workflow::Step, files: &[(File, PathBuf)]) -> Variables {
        let exported = self.github.iter().filter(|(name, _)| *name != "token");
        let mut variables = exported
            .map(|(name, value)| (format!("GITHUB_{}", name.to_uppercase()), value.clone()))
            .collect::<Variables>();
        let runner = self.runner_context();
        variables.extend(
            runner
                .into_iter()
                .map(|(name, value)| (format!("RUNNER_{}", name.to_uppercase()), value)),
        );
        let id = step.id.clone().unwrap_or_else(|| "__run".to_owned());
        variables.insert("GITHUB_ACTION".to_owned(), id);
        for (file, path) in files {
            let name = format!("GITHUB_{}", file.name().to_uppercase());
            variables.insert(name, path.display().to_string());
        }
        variables
    }

    /// Masks text, and adds it to the log.
    pub(super) fn show(&mut self, text: &str) {
        self.log += &self.masker.mask(text);
        self.log.push('\n');
    }

    pub(super) fn debug(&mut self, text: &str) {
        if self.runner.debug {
            self.show(&format!("##[debug]{text}"));
        }
    }
}
