//! A GitLab job without a runner. Tests run the commands of the templates one by one, with the job's
//! variables and folders.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use crate::{cluster::Cluster, github::step::Ended, leaks, support};

/// A job with its variables.
pub(crate) struct Job {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Job {
    /// A job whose project has the minter's kubeconfig in a variable.
    pub(crate) fn with(cluster: &Cluster, options: &[(&str, &str)]) -> Self {
        let mut job = Self::without_minter(&[("namespace", cluster.namespace())]);
        job.options(options);
        job.set("JOBPASS_KUBECONFIG", &STANDARD.encode(support::minter(cluster)));
        job
    }

    pub(crate) fn without_minter(options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("scan")).expect("the project");
        let mut job = Self {
            folder,
            variables: BTreeMap::new(),
        };
        let project = job.project().display().to_string();
        for (name, value) in [
            ("CI_PROJECT_DIR", &*project),
            ("CI_PROJECT_PATH", "team/scan"),
            ("CI_PIPELINE_ID", "77"),
            ("CI_JOB_ID", "7001"),
            ("CI_JOB_URL", "https://gitlab.example.com/team/scan/-/jobs/7001"),
            ("GITLAB_USER_LOGIN", "someone"),
        ] {
            job.set(name, value);
        }
        job.options(&[("service-account", "scanner")]);
        job.options(options);
        job
    }

    /// A later job of the same pipeline. It has another id, the same settings and options, and the variables
    /// from this job's dotenv report.
    pub(crate) fn later(&self) -> Self {
        let mut later = Self::without_minter(&[]);
        let own = ["CI_PROJECT_DIR", "CI_JOB_ID", "CI_JOB_STATUS"];
        let same = self
            .variables
            .iter()
            .filter(|(name, _)| !own.contains(&name.as_str()));
        later
            .variables
            .extend(same.map(|(name, value)| (name.clone(), value.clone())));
        later.set("CI_JOB_ID", "7002");
        later.variables.remove("JOBPASS_DOTENV");
        later.variables.extend(self.dotenv());
        later
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn options(&mut self, options: &[(&str, &str)]) {
        for (name, value) in options {
            self.set(
                &format!("JOBPASS_{}", name.to_uppercase().replace('-', "_")),
                value,
            );
        }
    }

    pub(crate) fn mint(&self) -> Ended {
        self.run(&["mint"])
    }

    /// Runs the command of after_script, with the job's status.
    pub(crate) fn revoke(&self, status: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(&[&["revoke"], arguments].concat());
        command.env("CI_JOB_STATUS", status);
        Ended::of(command.spawn().expect("jobpass-gitlab starts"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("jobpass-gitlab starts")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = support::scrubbed(Command::new(support::binary("jobpass-gitlab")));
        command
            .current_dir(self.project())
            .args(arguments)
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.folder.path().join("scan")
    }

    /// The temporary folder of the job.
    pub(crate) fn temp(&self) -> PathBuf {
        self.folder.path().join("scan.tmp")
    }

    /// The names in the job's temporary folder. Empty if there is no folder.
    pub(crate) fn left_in_temp(&self) -> Vec<String> {
        names(&self.temp())
    }

    /// The names in the project's folder.
    pub(crate) fn left_in_project(&self) -> Vec<String> {
        names(&self.project())
    }

    /// The paths of the recorded states.
    pub(crate) fn states(&self) -> Vec<PathBuf> {
        let names = self.left_in_temp().into_iter();
        let states = names.filter(|name| name.ends_with(".json"));
        states.map(|name| self.temp().join(name)).collect()
    }

    /// The path of the only recorded state.
    pub(crate) fn state_file(&self) -> PathBuf {
        let mut states = self.states();
        assert_eq!(states.len(), 1, "{states:?}");
        states.remove(0)
    }

    /// The report `jobpass.env`, read as GitLab reads it (`parse_dotenv_artifact_service.rb`).
    pub(crate) fn dotenv(&self) -> BTreeMap<String, String> {
        let path = self.project().join("jobpass.env");
        let Ok(text) = fs::read_to_string(&path) else {
            return BTreeMap::new();
        };
        assert_eq!(mode(&path), 0o600);
        assert!(text.len() < 5 * 1024, "{} bytes", text.len());
        let variables = text.lines().map(|line| {
            let (key, value) = line.split_once('=').expect("KEY=value");
            assert!(
                key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
                "{key}"
            );
            (key.trim().to_owned(), value.trim().to_owned())
        });
        let variables = variables.collect::<BTreeMap<_, _>>();
        assert!(variables.len() <= 20);
        variables
    }

    /// Asserts that neither the program's output nor the recorded states contain any form of a token that the
    /// cluster issued, or the value of JOBPASS_KUBECONFIG.
    pub(crate) fn assert_nothing_leaked(&self, cluster: &Cluster, said: &Ended) {
        let mut places = vec![("the log".to_owned(), said.log.clone())];
        for name in self
            .left_in_temp()
            .into_iter()
            .filter(|name| name.ends_with(".json"))
        {
            let state = fs::read_to_string(self.temp().join(&name)).expect("a state");
            places.push((name, state));
        }
        for (place, text) in &places {
            for token in cluster.issued() {
                leaks::assert_absent(&token, place, text);
            }
            if let Some(kubeconfig) = self.variables.get("JOBPASS_KUBECONFIG") {
                assert!(!text.contains(kubeconfig), "{place}:\n{text}");
            }
        }
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect::<Vec<_>>();
    names.sort();
    names
}
