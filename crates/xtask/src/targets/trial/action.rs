//! The program of the action, as the launcher runs it.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jobpass_devkit::{Fault, FaultKind};

use super::{Trial, wait_until};
use crate::workspace::output;

/// The files through which a step sets its outputs, its state, variables and its summary.
const COMMANDS: [&str; 4] = [
    "GITHUB_OUTPUT",
    "GITHUB_STATE",
    "GITHUB_ENV",
    "GITHUB_STEP_SUMMARY",
];

/// Mints in `main`, and revokes in `post`.
pub(super) fn mint_and_revoke(trial: &Trial<'_>) -> Result<()> {
    let step = Step::new(trial, &[])?;
    let token = step.main_with_token()?;
    trial.list_pods(&trial.folder.path().join("temp").join(step.kubeconfig()?))?;
    ensure!(
        trial.cluster.issued() == [token],
        "the output `token` is not the only issued token"
    );
    step.post().map(drop)
}

/// Runs the action with a token that a renewer renews. The step must end although the renewer, which
/// inherited the step's environment, still runs.
pub(super) fn renewed(trial: &Trial<'_>) -> Result<()> {
    trial.issue_short_tokens();
    let step = Step::new(trial, &[("INPUT_RENEW-FOR", "3h")])?;
    let first = step.main_with_token()?;
    let kubeconfig = trial.folder.path().join("temp").join(step.kubeconfig()?);
    wait_until("the kubeconfig has the third token", || {
        let issued = trial.cluster.issued();
        let held = fs::read_to_string(&kubeconfig)?;
        Ok(issued.len() > 2 && issued[2..].iter().any(|token| held.contains(token)))
    })?;
    trial.list_pods(&kubeconfig)?;
    ensure!(
        trial.cluster.issued()[0] == first,
        "the output `token` is not the first issued token"
    );
    step.post().map(drop)
}

/// Runs the action with a proxy. A process beside the job runs the proxy, and locks the journal. `post`
/// closes the proxy. The released lock proves to `post` that the proxy is closed.
pub(super) fn proxied(trial: &Trial<'_>) -> Result<()> {
    let step = Step::new(trial, &[("INPUT_PROXY", "true")])?;
    step.main()?;
    let kubeconfig = trial.folder.path().join("temp").join(step.kubeconfig()?);
    // The proxy looks at its journal forty times a second, and must stay open.
    sleep(Duration::from_secs(1));
    trial.list_pods(&kubeconfig)?;
    let post = step.post()?;
    ensure!(
        post.contains("the job never had the token"),
        "post has no proof that the proxy is closed: {post}"
    );
    Ok(())
}

/// The trial kills `main` while the API server issues the token. `post` revokes the token, which nobody has
/// seen.
pub(super) fn killed_while_it_mints(trial: &Trial<'_>) -> Result<()> {
    trial.cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".to_owned(),
        times: 1,
        kind: FaultKind::HoldAfter,
    });
    let step = Step::new(trial, &[])?;
    let mut main = step.command("main").stdout(Stdio::null()).spawn()?;
    wait_until("the token is issued", || Ok(!trial.cluster.issued().is_empty()))?;
    main.kill()?;
    main.wait()?;
    step.post().map(drop)
}

/// A step that runs the program of the action in the folder of the trial.
struct Step<'a> {
    trial: &'a Trial<'a>,
    /// The inputs that only this step has.
    inputs: &'a [(&'a str, &'a str)],
}

impl<'a> Step<'a> {
    fn new(trial: &'a Trial<'a>, inputs: &'a [(&'a str, &'a str)]) -> Result<Self> {
        fs::create_dir(trial.folder.path().join("temp"))?;
        for name in COMMANDS {
            fs::write(trial.folder.path().join(name), "")?;
        }
        Ok(Self { trial, inputs })
    }

    /// Runs `main`, and returns its standard output.
    fn main(&self) -> Result<String> {
        // `output` would not return while a renewer held the step's standard output or error open. Programs
        // under wine always hold standard error open, so it goes to a file.
        let errors = self.trial.folder.path().join("errors");
        let main = output(self.command("main").stderr(File::create(&errors)?));
        main.with_context(|| fs::read_to_string(&errors).unwrap_or_default())
    }

    /// Runs `main`, and returns the token.
    fn main_with_token(&self) -> Result<String> {
        let main = self.main()?;
        let outputs = self.answers("GITHUB_OUTPUT")?;
        let token = value(&outputs, "token").context("no output `token`")?;
        ensure!(
            token.starts_with("eyJ") && main.contains(&format!("::add-mask::{token}")),
            "the output is not a token that is masked: {main}"
        );
        Ok(token.to_owned())
    }

    /// The name of the kubeconfig, without the folder, whose path may be a Windows path.
    fn kubeconfig(&self) -> Result<String> {
        let outputs = self.answers("GITHUB_OUTPUT")?;
        let path = value(&outputs, "kubeconfig").context("no output `kubeconfig`")?;
        Ok(path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned())
    }

    /// Runs `post`, and returns its standard output. Fails if a file, an anchor or a token that works is
    /// left.
    fn post(&self) -> Result<String> {
        let mut post = self.command("post");
        for (name, value) in self.answers("GITHUB_STATE")? {
            post.env(format!("STATE_{name}"), value);
        }
        let said = output(&mut post)?;
        // On Windows, the journal is gone only when the renewer has noticed the end of the job and closed the
        // file.
        wait_until("the job's temporary folder is empty", || {
            Ok(fs::read_dir(self.trial.folder.path().join("temp"))?
                .next()
                .is_none())
        })?;
        self.trial.nothing_is_left()?;
        Ok(said)
    }

    /// A command for `main` or `post`, with the variables that a runner sets.
    fn command(&self, part: &str) -> Command {
        let Trial { machine, folder, .. } = self.trial;
        let mut step = self.trial.program("jobpass-github");
        step.arg(part)
            .env("RUNNER_TEMP", machine.path(&folder.path().join("temp")))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_RUN_ID", "1")
            .env("INPUT_SERVICE-ACCOUNT", "scanner")
            .env(
                "INPUT_KUBECONFIG",
                machine.path(&folder.path().join("minter.yaml")),
            )
            .env("INPUT_KUBECONFIG-FILE", "true")
            .env("INPUT_EXPORT-KUBECONFIG", "true");
        step.envs(self.inputs.iter().copied());
        for name in COMMANDS {
            step.env(name, machine.path(&folder.path().join(name)));
        }
        step
    }

    /// The values that the step set through a file. A later value replaces an earlier one.
    fn answers(&self, file: &str) -> Result<Vec<(String, String)>> {
        let text = fs::read_to_string(self.trial.folder.path().join(file))?;
        let mut lines = text.lines();
        let mut values = Vec::new();
        while let Some(line) = lines.next() {
            let (name, end) = line
                .split_once("<<")
                .context("a line of the step's file has no `<<`, which begins a value")?;
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
