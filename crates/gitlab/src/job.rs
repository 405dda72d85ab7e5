//! What GitLab tells a job, and the folder in which the job keeps what its end needs.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use clap::ArgMatches;
use jobpass_core::{
    Error, Kind, anchor::Origin, inputs::options::Inputs, process::environment::Environment,
    record::state::State, text::harmless,
};

/// The job that this program runs in.
pub(crate) struct Job {
    pub(crate) environment: Environment,
    /// Part of file names.
    id: String,
    /// GitLab's temporary folder of the project: beside it, so that nothing in it can become an artifact.
    folder: PathBuf,
}

/// A state that was recorded, by the name of its file: enough to revoke even if what is in the file is garbled.
pub(crate) struct Recorded {
    pub(crate) path: PathBuf,
    /// `NAMESPACE/NAME`.
    pub(crate) anchor: String,
}

impl Job {
    /// # Errors
    /// If this is no job of GitLab.
    pub(crate) fn new(environment: Environment) -> Result<Self, Error> {
        let id = variable(&environment, "CI_JOB_ID")?.to_owned();
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let what = format!(
                "the variable CI_JOB_ID is `{}`, which is no job's id",
                harmless(&id)
            );
            return Err(
                Error::new(Kind::Input, what).help("something in the pipeline sets it; leave it to GitLab")
            );
        }
        let folder = match environment.utf8("RUNNER_TEMP_PROJECT_DIR")? {
            Some(folder) => folder.into(),
            None => format!("{}.tmp", variable(&environment, "CI_PROJECT_DIR")?).into(),
        };
        Ok(Self {
            environment,
            id,
            folder,
        })
    }

    /// The temporary folder, made if it is not there.
    pub(crate) fn folder(&self) -> Result<&Path, Error> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(|error| {
            let (folder, why) = (
                harmless(&self.folder.to_string_lossy()),
                harmless(&error.to_string()),
            );
            let what = format!("cannot make the job's temporary folder `{folder}`: {why}");
            Error::new(Kind::Deliver, what).help("check the permissions of the folder that the project is in")
        })?;
        Ok(&self.folder)
    }

    /// `true` for `token-file` and `kubeconfig-file`: a script cannot know an anchor's name, but it knows its job's id.
    pub(crate) fn with_file_names(&self, inputs: &Inputs) -> Result<Inputs, Error> {
        Inputs::read(|option| match (option.name, inputs.get(option.name)) {
            ("token-file", Some("true")) => Some(format!("jobpass-{}.token", self.id)),
            ("kubeconfig-file", Some("true")) => Some(format!("jobpass-{}.kubeconfig", self.id)),
            (_, value) => value.map(str::to_owned),
        })
    }

    /// Where the state of a token is recorded.
    pub(crate) fn state_file(&self, state: &State) -> PathBuf {
        let (namespace, anchor) = (&state.receipt.namespace, &state.receipt.anchor);
        self.folder
            .join(format!("jobpass-{}.{namespace}.{anchor}.json", self.id))
    }

    /// What this job recorded. A file that was being written when the job was killed goes away: what it was to record
    /// had not been begun.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        let prefix = format!("jobpass-{}.", self.id);
        let mut recorded = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else {
                continue;
            };
            if let Some((namespace, anchor)) =
                rest.strip_suffix(".json").and_then(|rest| rest.split_once('.'))
            {
                let anchor = format!("{namespace}/{anchor}");
                recorded.push(Recorded {
                    path: entry.path(),
                    anchor,
                });
            } else if rest.ends_with(".partial") {
                let _ = fs::remove_file(entry.path());
            }
        }
        recorded.sort_by(|a, b| a.path.cmp(&b.path));
        recorded
    }

    pub(crate) fn origin(&self) -> Origin {
        let get = |name| self.environment.get(name).map(str::to_owned);
        Origin {
            platform: "gitlab",
            repository: get("CI_PROJECT_PATH"),
            run_id: get("CI_PIPELINE_ID"),
            job: get("CI_JOB_ID"),
            url: get("CI_JOB_URL"),
            requested_by: get("GITLAB_USER_LOGIN"),
        }
    }
}

fn variable<'a>(environment: &'a Environment, name: &str) -> Result<&'a str, Error> {
    environment.utf8(name)?.ok_or_else(|| {
        Error::new(Kind::Input, format!("the variable {name} is not set"))
            .help("jobpass-gitlab runs in a GitLab CI job; elsewhere, use `jobpass`")
    })
}

/// The value of an option that only GitLab has. An empty one counts as absent: templates pass absent inputs so.
pub(crate) fn value<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    let value = matches.get_one::<String>(name)?.trim();
    (!value.is_empty()).then_some(value)
}
