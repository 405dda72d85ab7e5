//! Mints and revokes on the dev cluster with the programs of a target.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jobpass_devkit::{DevCluster, cli::MANIFESTS};
use tempfile::TempDir;

use super::Runner;
use crate::workspace::output;

/// The files through which a step of GitHub Actions answers.
const COMMANDS: [&str; 4] = [
    "GITHUB_OUTPUT",
    "GITHUB_STATE",
    "GITHUB_ENV",
    "GITHUB_STEP_SUMMARY",
];

/// The longest time in which the renewer sees that the job is over.
const RENEWER_ENDS: Duration = Duration::from_secs(10);

/// Runs the command line and the action, as a person and as a runner do.
pub(super) fn run(machine: &Runner, programs: &Path) -> Result<()> {
    let cluster = DevCluster::start();
    cluster.apply(MANIFESTS);
    let minter = cluster.service_account_token("ci", "jobpass-minter", Duration::from_secs(3600));
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("minter.yaml"),
        cluster.kubeconfig(&minter, "ci"),
    )?;
    let trial = Trial {
        machine,
        programs,
        folder,
    };
    trial.command_line()?;
    trial.action()
}

struct Trial<'a> {
    machine: &'a Runner,
    programs: &'a Path,
    folder: TempDir,
}

impl Trial<'_> {
    fn program(&self, name: &str) -> Command {
        let mut command = self.machine.command(self.programs, name);
        command.current_dir(&self.folder);
        command
    }

    fn command_line(&self) -> Result<()> {
        let minter = ["--kubeconfig", "minter.yaml"];
        output(
            self.program("jobpass")
                .args(["mint", "--service-account", "scanner"])
                .args(minter)
                .args(["--token-file", "token", "--kubeconfig-file", "kubeconfig"]),
        )?;
        let whoami = output(
            self.program("jobpass")
                .args(["whoami", "--kubeconfig", "kubeconfig"]),
        )?;
        ensure!(
            whoami.contains("scanner"),
            "the token is not the one of `scanner`: {whoami}"
        );
        // `whoami` has just used the token, so the API server remembers it for 10 seconds.
        let revoked = output(
            self.program("jobpass")
                .args(["revoke", "--token-file", "token"])
                .args(["--verify-revocation", "wait"]),
        )?;
        ensure!(
            revoked.contains("401"),
            "no proof that the token is dead: {revoked}"
        );
        ensure!(
            !self.folder.path().join("token").exists(),
            "the token's file is left"
        );

        // jobpass finds the command on PATH, masks its output, and ends with its exit code.
        let exec = self
            .program("jobpass")
            .args(["exec", "--service-account", "scanner"])
            .args(minter)
            .args(["--env", "TOKEN", "--"])
            .args(self.machine.shell(
                "echo the token is $TOKEN; exit 3",
                "echo the token is %TOKEN%& exit 3",
            ))
            .output()?;
        let said = String::from_utf8_lossy(&exec.stdout);
        ensure!(
            exec.status.code() == Some(3) && said.contains("the token is [MASKED]"),
            "exec ended with {}: {said}{}",
            exec.status,
            String::from_utf8_lossy(&exec.stderr)
        );
        Ok(())
    }

    /// Runs the action with a token that a renewer renews. The step must end although the renewer, which
    /// inherited the step's environment, still runs.
    fn action(&self) -> Result<()> {
        let temp = self.folder.path().join("temp");
        fs::create_dir(&temp)?;
        for name in COMMANDS {
            fs::write(self.folder.path().join(name), "")?;
        }
        // `output` would not return while a renewer held the step's standard output or error open. Programs
        // under wine always hold standard error open, so it goes to a file.
        let errors = File::create(self.folder.path().join("errors"))?;
        let main = output(self.step("main", &temp).stderr(errors))?;
        ensure!(main.contains("::add-mask::"), "the step masks nothing: {main}");
        let outputs = self.answers("GITHUB_OUTPUT")?;
        let token = value(&outputs, "token").context("no output `token`")?;
        ensure!(
            token.starts_with("eyJ") && main.contains(&format!("::add-mask::{token}")),
            "the output is not a token that is masked"
        );
        let mut post = self.step("post", &temp);
        for (name, value) in self.answers("GITHUB_STATE")? {
            post.env(format!("STATE_{name}"), value);
        }
        let post = output(&mut post)?;
        ensure!(post.contains("revoked"), "the token is not revoked: {post}");
        // On Windows, the journal is gone only when the renewer has noticed the end of the job and closed the
        // file.
        let end = Instant::now() + RENEWER_ENDS;
        while fs::read_dir(&temp)?.next().is_some() {
            ensure!(Instant::now() < end, "the action leaves files or its renewer");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// A step as the runner starts it.
    fn step(&self, verb: &str, temp: &Path) -> Command {
        let mut step = self.program("jobpass-github");
        step.arg(verb)
            .env("RUNNER_TEMP", self.machine.path(temp))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_RUN_ID", "1")
            .env("INPUT_SERVICE-ACCOUNT", "scanner")
            .env(
                "INPUT_KUBECONFIG",
                self.machine.path(&self.folder.path().join("minter.yaml")),
            )
            .env("INPUT_KUBECONFIG-FILE", "true")
            .env("INPUT_EXPORT-KUBECONFIG", "true");
        if self.machine.runs_its_own_programs() {
            step.env("INPUT_RENEW-FOR", "3h");
        }
        for name in COMMANDS {
            step.env(name, self.machine.path(&self.folder.path().join(name)));
        }
        step
    }

    /// The values that the step set through a file. A later value replaces an earlier one.
    fn answers(&self, file: &str) -> Result<Vec<(String, String)>> {
        let text = fs::read_to_string(self.folder.path().join(file))?;
        let mut lines = text.lines();
        let mut values = Vec::new();
        while let Some(line) = lines.next() {
            let (name, end) = line.split_once("<<").context("a line that begins no value")?;
            let value = lines.by_ref().take_while(|line| *line != end).collect::<Vec<_>>();
            values.push((name.to_owned(), value.join("\n")));
        }
        Ok(values)
    }
}

fn value<'a>(values: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let of_this_name = values.iter().rev().find(|(known, _)| known == name);
    of_this_name.map(|(_, value)| value.as_str())
}
