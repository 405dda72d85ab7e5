//! The variables that the runner gives a step, and the files through which the step answers.

use std::path::{Path, PathBuf};

use jobpass_core::{
    Error, Kind,
    anchor::Origin,
    inputs::options::{FrontEnd, Inputs, Opt},
    minter::kept::Kept,
    names::random_name,
    process::{environment::Environment, files},
    record::{filter::FilterJournal, state::State},
    text::harmless,
};

use crate::{forget::FORGOTTEN, id_token};

/// The name under which main saves the state.
pub(crate) const STATE: &str = "jobpass";
/// The saved state if there is nothing to revoke. An absent state would not prove that.
pub(crate) const NOTHING: &str = "none";
/// The name under which main saves the anchor as `NAMESPACE/NAME`. With the anchor, post can revoke even if
/// the state is damaged.
pub(crate) const ANCHOR: &str = "anchor";

/// The name under which main saves a [`Kept::Kubeconfig`].
const KUBECONFIG: &str = "minter-kubeconfig";
/// The name under which main saves a [`Kept::Bearer`].
const BEARER: &str = "minter-bearer";

/// The job that this step belongs to.
pub(crate) struct Job {
    pub(crate) environment: Environment,
}

impl Job {
    pub(crate) fn new(environment: Environment) -> Self {
        // An earlier step may have set this variable. On GitHub, no log filter of jobpass runs: the runner
        // masks the log.
        let environment = environment.with(FilterJournal::VARIABLE, None);
        let id_tokens = id_token::source(&environment);
        Self {
            environment: environment.with_id_tokens(id_tokens),
        }
    }

    /// The inputs of the step: variables named `INPUT_` and the input's name in upper case, with its hyphens
    /// (`Handler.cs`, `AddInputsToEnvironment`).
    pub(crate) fn inputs(&self) -> Result<Inputs, Error> {
        for option in Opt::on(FrontEnd::Action) {
            self.environment.utf8(&variable(option))?;
        }
        Inputs::read(FrontEnd::Action, |option| self.input(option))
    }

    /// The inputs in post. The runner evaluates them again, with the values of later steps. If a composite
    /// action uses jobpass, and is itself a step of another composite action, an input such as
    /// `${{ inputs.server }}` is then empty or wrong (actions/runner, issue 3514). So the values in `recorded`
    /// take precedence, and an empty input counts as absent.
    pub(crate) fn inputs_in_post(&self, recorded: Option<&State>) -> Result<Inputs, Error> {
        Inputs::read(FrontEnd::Action, |option| {
            let recorded = recorded.and_then(|state| state.options.get(option.name()).cloned());
            recorded.or_else(|| self.input(option).filter(|value| !value.trim().is_empty()))
        })
    }

    /// The credential that the runner keeps for post.
    pub(crate) fn kept(&self) -> Option<Kept> {
        // If the runner read the saved file too late, the value contains only the characters that replace the
        // credential.
        let saved = |name| self.state(name).filter(|text| !text.starts_with(FORGOTTEN));
        let kubeconfig = saved(KUBECONFIG).map(|text| Kept::Kubeconfig(text.to_owned().into()));
        kubeconfig.or_else(|| Some(Kept::Bearer(saved(BEARER)?.to_owned().into())))
    }

    fn input(&self, option: Opt) -> Option<String> {
        self.environment.raw(&variable(option)).map(str::to_owned)
    }

    /// A value that an earlier part of the same action saved.
    pub(crate) fn state(&self, name: &str) -> Option<&str> {
        self.environment.get(&format!("STATE_{name}"))
    }

    /// The folder for files that the runner deletes at the end of the job.
    pub(crate) fn temp(&self) -> Result<PathBuf, Error> {
        self.variable("RUNNER_TEMP").map(PathBuf::from)
    }

    /// The id of the workflow run.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.environment.get("GITHUB_RUN_ID")
    }

    /// The id of the job's check run. GitHub Enterprise Server and runners older than September 2025 may not
    /// provide it.
    fn check_run_id(&self) -> Option<&str> {
        // A person may give any text as this input, and the id becomes a part of a URL.
        let id = self.environment.get("INPUT_CHECK-RUN-ID")?.trim();
        ((1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())).then_some(id)
    }

    pub(crate) fn origin(&self) -> Origin {
        let get = |name| self.environment.get(name).map(str::to_owned);
        let check_run_id = self.check_run_id();
        let url = || {
            let job = check_run_id.map_or_else(String::new, |id| format!("/job/{id}"));
            Some(format!(
                "{}/{}/actions/runs/{}{job}",
                get("GITHUB_SERVER_URL")?,
                get("GITHUB_REPOSITORY")?,
                get("GITHUB_RUN_ID")?
            ))
        };
        Origin {
            platform: "github",
            repository: get("GITHUB_REPOSITORY"),
            run_id: get("GITHUB_RUN_ID"),
            job: get("GITHUB_JOB"),
            check_run_id: check_run_id.map(str::to_owned),
            url: url(),
            requested_by: get("GITHUB_ACTOR"),
        }
    }

    /// The file that `variable` names. Through such files, a step sets outputs and variables, saves state and
    /// writes its summary.
    pub(crate) fn file(&self, variable: &'static str) -> Result<CommandFile, Error> {
        Ok(CommandFile {
            variable,
            path: self.variable(variable)?.into(),
        })
    }

    fn variable(&self, name: &str) -> Result<&str, Error> {
        self.environment.utf8(name)?.ok_or_else(|| {
            Error::new(Kind::Input, format!("the environment variable {name} is not set")).help(
                "use jobpass-github only in a step of a GitHub Actions job. Elsewhere, use `jobpass` \
                       or `jobpass-gitlab`",
            )
        })
    }
}

fn variable(option: Opt) -> String {
    format!("INPUT_{}", option.name().to_uppercase())
}

/// One of the runner's file commands (`FileCommandManager.cs`).
#[derive(Clone)]
pub(crate) struct CommandFile {
    variable: &'static str,
    path: PathBuf,
}

impl CommandFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets values. Each has a random delimiter, so that no value can contain the delimiter and set another
    /// value.
    pub(crate) fn set(&self, values: &[(&str, &str)]) -> Result<(), Error> {
        let mut lines = String::new();
        for (name, value) in values {
            let delimiter = random_name()?;
            lines += &format!("{name}<<{delimiter}\n{value}\n{delimiter}\n");
        }
        self.append(&lines)
    }

    /// Saves a credential for post, or saves that there is none. Without a saved value, a later step could
    /// set one through GITHUB_ENV.
    pub(crate) fn keep(&self, kept: Option<&Kept>) -> Result<(), Error> {
        let (kubeconfig, bearer) = match kept {
            Some(Kept::Kubeconfig(text)) => (text.as_str(), ""),
            Some(Kept::Bearer(text)) => ("", text.as_str()),
            None => ("", ""),
        };
        self.set(&[(KUBECONFIG, kubeconfig), (BEARER, bearer)])
    }

    pub(crate) fn append(&self, text: &str) -> Result<(), Error> {
        // The runner creates its files readable for everybody, and keeps them until the job ends
        // (`FileCommandManager.cs`). So `append` first makes the file private. In a container, the file may
        // belong to another user, who can still read it. `append` writes in one go, because the runner fails
        // a step with an incomplete value.
        files::append(&self.path, text).map_err(|error| {
            let why = harmless(&error.to_string());
            Error::new(
                Kind::Deliver,
                format!("cannot write to the file that {} names: {why}", self.variable),
            )
            .help("check the free space of the runner, and the permissions of the file")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_several_lines_stay_one_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("output");
        let job = Job::new(Environment::from([(
            "GITHUB_OUTPUT",
            path.to_str().expect("text"),
        )]));
        job.file("GITHUB_OUTPUT")
            .and_then(|file| file.set(&[("a", "x\nEOF\nb=c"), ("d", "e")]))
            .expect("written");
        let text = std::fs::read_to_string(path).expect("read");
        let lines = text.lines().collect::<Vec<_>>();
        let delimiter = lines[0].strip_prefix("a<<").expect("a delimiter");
        assert_eq!(lines[1..5], ["x", "EOF", "b=c", delimiter]);
        assert!(lines[5].starts_with("d<<") && lines[5] != format!("d<<{delimiter}"));
    }
}
