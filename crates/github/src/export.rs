//! KUBECONFIG for the later steps of a job (`export-kubeconfig`). The end of the job restores the earlier
//! value of the variable.
//!
//! No step can unset a variable that a step set through GITHUB_ENV. If the variable had no value before, the
//! end of the job sets an empty one, because kubectl treats an empty variable as absent.

use std::path::Path;

use jobpass_core::{
    Error,
    inputs::options::{Inputs, Opt},
    process::files::utf8,
};

use crate::job::{CommandFile, Job};

const VARIABLE: &str = "KUBECONFIG";
/// The name under which main saves the path of the exported kubeconfig.
const EXPORTED: &str = "exported";
/// The name under which main saves the earlier value of KUBECONFIG.
const BEFORE: &str = "kubeconfig-before";

/// A requested export of KUBECONFIG to the later steps of the job.
pub(crate) struct Export {
    variables: CommandFile,
    saved: CommandFile,
    before: String,
}

impl Export {
    /// Reads the input `export-kubeconfig`. `None` if it is `false` or absent.
    ///
    /// # Errors
    /// If the input is neither `true` nor `false`, or if there is no kubeconfig to export. Also if the runner
    /// names no file for variables, or if KUBECONFIG is not UTF-8.
    pub(crate) fn plan(
        job: &Job,
        inputs: &Inputs,
        saved: &CommandFile,
        kubeconfig: Option<&Path>,
    ) -> Result<Option<Self>, Error> {
        if !inputs.flag(Opt::ExportKubeconfig)? {
            return Ok(None);
        }
        if kubeconfig.is_none() {
            return Err(Error::input(
                Opt::ExportKubeconfig,
                "is `true`, but `kubeconfig-file` is `false`, so there is no kubeconfig to export",
                "leave out one of these two inputs",
            ));
        }
        Ok(Some(Self {
            variables: job.file("GITHUB_ENV")?,
            saved: saved.clone(),
            before: job.environment.utf8(VARIABLE)?.unwrap_or_default().to_owned(),
        }))
    }

    /// Sets KUBECONFIG for later steps, and saves its earlier value for post.
    pub(crate) fn set(&self, kubeconfig: &Path) -> Result<(), Error> {
        let path = utf8("RUNNER_TEMP", kubeconfig)?;
        self.saved.set(&[(EXPORTED, path), (BEFORE, &self.before)])?;
        self.variables.set(&[(VARIABLE, path)])
    }
}

/// Saves that main exported nothing. Without a saved value, a later step could set one through GITHUB_ENV.
pub(crate) fn nothing(saved: &CommandFile) -> Result<(), Error> {
    saved.set(&[(EXPORTED, ""), (BEFORE, "")])
}

/// Restores the earlier value of KUBECONFIG, unless a later step has changed the variable. The post steps of
/// earlier actions still run, and need the earlier value.
pub(crate) fn undo(job: &Job) -> Result<(), Error> {
    let exported = job.state(EXPORTED).filter(|path| !path.is_empty());
    match exported {
        Some(path) if job.environment.get(VARIABLE) == Some(path) => {
            let before = job.state(BEFORE).unwrap_or_default();
            job.file("GITHUB_ENV")?.set(&[(VARIABLE, before)])
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jobpass_core::process::environment::Environment;
    use rstest::rstest;

    use super::*;

    /// A job with these variables, and the folder of its file commands.
    fn job(variables: &[(&str, &str)]) -> (Job, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = ["GITHUB_ENV", "GITHUB_STATE"]
            .into_iter()
            .fold(Environment::default(), |environment, name| {
                environment.with(name, folder.path().join(name).to_str())
            });
        let environment = variables.iter().fold(environment, |environment, (name, value)| {
            environment.with(name, Some(value))
        });
        (Job::new(environment), folder)
    }

    /// The values that the step set through a file command: `NAME=VALUE`, one value a line.
    fn set(folder: &tempfile::TempDir, file: &str) -> Vec<String> {
        let text = fs::read_to_string(folder.path().join(file)).unwrap_or_default();
        let lines = text.lines().collect::<Vec<_>>();
        let values = lines.chunks(3).map(|chunk| {
            let name = chunk[0].split_once("<<").expect("a value").0;
            format!("{name}={}", chunk[1])
        });
        values.collect()
    }

    fn inputs(export: &str) -> Inputs {
        Inputs::from([(Opt::ExportKubeconfig, export)])
    }

    #[rstest]
    #[case::not_asked_for("", Some("/tmp/k"), Ok(false))]
    #[case::switched_off("false", Some("/tmp/k"), Ok(false))]
    #[case::asked_for("true", Some("/tmp/k"), Ok(true))]
    #[case::without_a_kubeconfig("true", None, Err("there is no kubeconfig to export"))]
    #[case::another_word("yes", Some("/tmp/k"), Err("input `export-kubeconfig` is `yes`"))]
    fn an_export_is_asked_for(
        #[case] export: &str,
        #[case] kubeconfig: Option<&str>,
        #[case] expected: Result<bool, &str>,
    ) {
        let (job, _folder) = job(&[]);
        let saved = job.file("GITHUB_STATE").expect("a file");
        let plan = Export::plan(&job, &inputs(export), &saved, kubeconfig.map(Path::new));
        match (plan, expected) {
            (Ok(plan), Ok(expected)) => assert_eq!(plan.is_some(), expected),
            (Err(error), Err(why)) => assert!(error.message().contains(why), "{error}"),
            (plan, expected) => panic!("{:?} instead of {expected:?}", plan.map(|_| ())),
        }
    }

    #[test]
    fn later_steps_get_the_kubeconfig_and_the_end_gets_the_earlier_value() {
        let (job, folder) = job(&[("KUBECONFIG", "/home/ci/config")]);
        let saved = job.file("GITHUB_STATE").expect("a file");
        let export = Export::plan(&job, &inputs("true"), &saved, Some(Path::new("/tmp/k")));
        let export = export.expect("a plan").expect("an export");
        export.set(Path::new("/tmp/k")).expect("set");
        assert_eq!(set(&folder, "GITHUB_ENV"), ["KUBECONFIG=/tmp/k"]);
        assert_eq!(
            set(&folder, "GITHUB_STATE"),
            ["exported=/tmp/k", "kubeconfig-before=/home/ci/config"]
        );
    }

    /// If a later step has changed the variable, the new value stays.
    #[rstest]
    #[case::as_it_was("/tmp/k", Some("/tmp/k"), "/home/ci/config", &["KUBECONFIG=/home/ci/config"])]
    #[case::not_set_before("/tmp/k", Some("/tmp/k"), "", &["KUBECONFIG="])]
    #[case::of_a_later_step("/tmp/k", Some("/tmp/other"), "/home/ci/config", &[])]
    #[case::taken_away("/tmp/k", None, "/home/ci/config", &[])]
    #[case::nothing_was_exported("", None, "", &[])]
    fn the_end_undoes_only_what_main_did(
        #[case] exported: &str,
        #[case] now: Option<&str>,
        #[case] before: &str,
        #[case] expected: &[&str],
    ) {
        let (job, folder) = job(&[("STATE_exported", exported), ("STATE_kubeconfig-before", before)]);
        let job = Job::new(job.environment.clone().with(VARIABLE, now));
        undo(&job).expect("undone");
        assert_eq!(set(&folder, "GITHUB_ENV"), expected);
    }
}
