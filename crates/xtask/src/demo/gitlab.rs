//! The GitLab job, with the parts of GitLab and its runner that it needs: `include` with inputs, `extends`,
//! and the two shells of a job.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize as _;
use serde_yaml::Value;
use tokio::process::Child;

use super::{Demo, PATIENCE};
use crate::cluster::{MinterAccount, SERVICE_ACCOUNT};

const TEMPLATE: &str = "gitlab-component/templates/job.yml";

/// The script of the user's job, which uses the token.
const USER_SCRIPT: &str = "list-pods";

pub(super) async fn play(demo: &Demo<'_>, minter: &MinterAccount) -> Result<()> {
    let screen = &demo.screen;
    screen.title("A GitLab job");
    let namespace = &demo.cluster.namespace;
    screen.station(
        "defined",
        "as your pipeline would have it; the project has JOBPASS_KUBECONFIG, a variable of type File:",
    );
    screen.quote(&format!(
        "include:\n  - project: your-group/jobpass\n    ref: v{}\n    file: {TEMPLATE}\n    inputs:\n      \
         service-account: {SERVICE_ACCOUNT}\n      namespace: {namespace}\n\
         scan:\n  extends: .jobpass\n  script:\n    - {USER_SCRIPT}",
        env!("CARGO_PKG_VERSION")
    ))?;
    let job = Job::start(demo, minter)?;

    let mut script = job.start_shell(&["before_script"], &[USER_SCRIPT], &[])?;
    let log = script.log_with("HTTP ").await?;
    let token_file = job.variable("JOBPASS_TOKEN_FILE")?;
    let token = fs::read_to_string(token_file).context("jobpass handed no token over")?;
    screen.never_show(&token);
    let (minted, used) = log
        .split_once(&format!("$ {USER_SCRIPT}\n"))
        .context("the user's script did not run")?;
    screen.station("minted", "before_script mints; the log:");
    screen.quote(minted)?;
    demo.bound(&token).await?;
    for name in ["JOBPASS_TOKEN_FILE", "JOBPASS_KUBECONFIG_FILE"] {
        let path = job.variable(name)?;
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{path} has mode {mode:o} instead of 600");
    }
    screen.station(
        "handed over",
        "in two files beside the project's folder, where no file can become an artifact (mode 0600)",
    );
    ensure!(used.contains("HTTP 200"), "the user's script could not list Pods");
    screen.station("used", "the script, in the same shell, works with the token:");
    screen.quote(&format!("$ {USER_SCRIPT}\n{used}"))?;
    screen.station(
        "hidden",
        "the log has no part of the token. A default runner cannot mask a value that the job made,\n\
         so the token is in no variable and no output. The template handover.yml hands it to later jobs\n\
         as glpat-..., which every runner masks",
    );

    let whole = script.end().await?;
    ensure!(
        demo.cluster.anchors().await?.is_empty(),
        "the anchor is still there"
    );
    screen.station(
        "revoked",
        "the script is over. The guard, a process beside its shell, revokes, and the shell waits for that\n\
         (after a failure or a cancellation as well):",
    );
    screen.quote(whole.strip_prefix(&*log).unwrap_or(&whole))?;
    let log = job
        .start_shell(&["after_script"], &[], &[("CI_JOB_STATUS", "success")])?
        .end()
        .await?;
    ensure!(
        job.left_behind()?.is_empty(),
        "the job left files behind: {:?}",
        job.left_behind()?
    );
    screen.station(
        "gone",
        "no anchor is left in the cluster, no file of the token beside the project.\n\
         So after_script, the second net, had nothing to do:",
    );
    screen.quote(&log)?;
    demo.refused(&token).await
}

struct Job<'a> {
    demo: &'a Demo<'a>,
    project: PathBuf,
    /// The job's definition from the template.
    definition: Value,
    variables: Vec<(String, String)>,
}

impl<'a> Job<'a> {
    fn start(demo: &'a Demo<'a>, minter: &MinterAccount) -> Result<Self> {
        let project = demo.folder.path().join("gitlab/your-app");
        fs::create_dir_all(&project)?;
        let temp = project.with_extension("tmp");
        fs::create_dir_all(&temp)?;
        let kubeconfig = temp.join("JOBPASS_KUBECONFIG");
        fs::write(&kubeconfig, &minter.kubeconfig)?;

        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let mut variables: Vec<(String, String)> = [
            ("GITLAB_CI", "true"),
            ("CI_JOB_ID", "815"),
            ("CI_JOB_URL", "https://gitlab.com/you/your-app/-/jobs/815"),
            // The timeout in seconds. If an older runner (before 15.7) does not set it, jobpass warns.
            ("CI_JOB_TIMEOUT", "3600"),
            ("CI_PIPELINE_ID", "42"),
            ("CI_PROJECT_PATH", "you/your-app"),
            ("GITLAB_USER_LOGIN", "you"),
            ("CI_PROJECT_DIR", &text(&project)),
            ("RUNNER_TEMP_PROJECT_DIR", &text(&temp)),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let definition = definition(demo)?;
        let of_job = definition["variables"]
            .as_mapping()
            .context("the template sets no variables")?;
        let expanded = |value: &str| {
            variables.iter().fold(value.to_owned(), |value, (name, known)| {
                value.replace(&format!("${name}"), known)
            })
        };
        let of_job: Vec<_> = of_job
            .iter()
            .filter_map(|(name, value)| Some((name.as_str()?.to_owned(), expanded(value.as_str()?))))
            .collect();
        variables.extend(of_job);
        // A project variable wins over a variable of a job.
        variables.retain(|(name, _)| name != "JOBPASS_KUBECONFIG");
        variables.push(("JOBPASS_KUBECONFIG".to_owned(), text(&kubeconfig)));
        Ok(Self {
            demo,
            project,
            definition,
            variables,
        })
    }

    fn variable(&self, name: &str) -> Result<&str> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        Ok(&found.with_context(|| format!("the template sets no {name}"))?.1)
    }

    /// Starts one shell, as the runner does. It runs sections of the definition, and then the user's
    /// commands.
    fn start_shell(&self, sections: &[&str], commands: &[&str], more: &[(&str, &str)]) -> Result<Shell<'_>> {
        let gate = self.demo.folder.path().join("gitlab/gate");
        let mut script = String::from("set -e\nexec 2>&1\n");
        let defined = sections
            .iter()
            .filter_map(|section| self.definition[*section].as_sequence());
        for command in defined
            .flatten()
            .filter_map(Value::as_str)
            .chain(commands.iter().copied())
        {
            let (first, collapsed) = match command.trim_end().split_once('\n') {
                Some((first, _)) => (first, " # collapsed multi-line command"),
                None => (command, ""),
            };
            let shown = format!("$ {first}{collapsed}").replace('\'', r"'\''");
            script += &format!("printf '%s\\n' '{shown}'\n{command}\n");
        }
        script += &format!("until test -e '{}'; do sleep 0.05; done\n", gate.display());
        let log = self
            .demo
            .folder
            .path()
            .join(format!("gitlab/{}.log", sections.join("-")));
        let mut shell = self.demo.job_command("sh", &self.project)?;
        // A runner's shell leads a process group, and forks a child for the script (`shells/bash.go`). The
        // guard recognises the job's shell by both, and ignores the shell of the demo's user.
        shell
            .process_group(0)
            .arg("-c")
            .arg(format!(": | eval '{}'", script.replace('\'', r"'\''")))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .kill_on_drop(true);
        let child = shell.spawn().context("cannot start the shell of the job")?;
        Ok(Shell {
            job: self,
            child,
            log,
            gate,
        })
    }

    /// The files in the project's folder and in the job's temporary folder, without JOBPASS_KUBECONFIG, which
    /// the runner wrote.
    fn left_behind(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for folder in [self.project.clone(), self.project.with_extension("tmp")] {
            for entry in fs::read_dir(folder)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        names.retain(|name| name != "JOBPASS_KUBECONFIG");
        Ok(names)
    }
}

/// A running shell. It waits for the demo before it ends.
struct Shell<'a> {
    job: &'a Job<'a>,
    child: Child,
    log: PathBuf,
    gate: PathBuf,
}

impl Shell<'_> {
    /// Waits until the log has this text, and returns the log.
    async fn log_with(&mut self, text: &str) -> Result<String> {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log)?;
            // If the log ends with a line break, it contains the whole line.
            if log.contains(text) && log.ends_with('\n') {
                return Ok(log);
            }
            if let Some(status) = self.child.try_wait()? {
                self.failed(status)?;
            }
            ensure!(begun.elapsed() < PATIENCE, "the job's log did not show `{text}`");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets the shell end. Returns the whole log.
    async fn end(mut self) -> Result<String> {
        fs::write(&self.gate, "")?;
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("the job's shell did not end within {} s", PATIENCE.as_secs()))??;
        if !status.success() {
            self.failed(status)?;
        }
        Ok(fs::read_to_string(&self.log)?)
    }

    fn failed(&self, status: ExitStatus) -> Result<()> {
        let screen = &self.job.demo.screen;
        if let Ok(token) = fs::read_to_string(self.job.variable("JOBPASS_TOKEN_FILE")?) {
            screen.never_show(&token);
        }
        screen.quote(&fs::read_to_string(&self.log)?)?;
        bail!("the shell of the job ended with {status}")
    }
}

/// The hidden job of the template, with the user's inputs and the template's defaults inserted.
fn definition(demo: &Demo<'_>) -> Result<Value> {
    let template = fs::read_to_string(demo.workspace.root.join(TEMPLATE))
        .with_context(|| format!("cannot read {TEMPLATE}"))?;
    let (_, body) = template
        .split_once("\n---\n")
        .context("the template has no header")?;
    let header = serde_yaml::Deserializer::from_str(&template)
        .next()
        .context("the template is empty")?;
    let header = Value::deserialize(header).context("the template's header is not YAML")?;
    let given = [
        ("service-account", SERVICE_ACCOUNT),
        ("namespace", &demo.cluster.namespace),
    ];
    let mut body = body.to_owned();
    let inputs = header["spec"]["inputs"]
        .as_mapping()
        .context("the template has no inputs")?;
    for (name, input) in inputs {
        let name = name.as_str().unwrap_or_default();
        let given = given
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned());
        // GitLab writes a string as it is, and a list as JSON.
        let default = match &input["default"] {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(serde_json::to_string(other)?),
        };
        let value = given.or(default);
        let value = value.with_context(|| format!("the template has no default for `{name}`"))?;
        body = body.replace(&format!("$[[ inputs.{name} ]]"), &value);
    }
    let jobs: Value = serde_yaml::from_str(&body).context("the template is not YAML")?;
    jobs.get(".jobpass")
        .cloned()
        .context("the template has no job .jobpass")
}
