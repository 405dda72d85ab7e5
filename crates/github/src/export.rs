//! KUBECONFIG for the later steps of a job (`export-kubeconfig`), and what it was before for the end of it.
//!
//! A variable that was set through GITHUB_ENV cannot be unset; kubectl takes an empty one for none.

use std::path::Path;

use jobpass_core::{
    Error,
    inputs::options::{Inputs, Opt},
    process::files::utf8,
};

use crate::job::{CommandFile, Job};

const VARIABLE: &str = "KUBECONFIG";
/// What main saves: the path that was exported, and the value of before.
const EXPORTED: &str = "exported";
const BEFORE: &str = "kubeconfig-before";

/// An export that was asked for.
pub(crate) struct Export {
    variables: CommandFile,
    saved: CommandFile,
    before: String,
}

impl Export {
    /// What the input asks for.
    ///
    /// # Errors
    /// If it is neither `true` nor `false`, or there is no kubeconfig to export.
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
                "is `true`, and `kubeconfig-file` is `false`: there is no kubeconfig to export",
                "leave out one of the two",
            ));
        }
        Ok(Some(Self {
            variables: job.file("GITHUB_ENV")?,
            saved: saved.clone(),
            before: job.environment.utf8(VARIABLE)?.unwrap_or_default().to_owned(),
        }))
    }

    /// Sets the variable for later steps.
    pub(crate) fn set(&self, kubeconfig: &Path) -> Result<(), Error> {
        let path = utf8("RUNNER_TEMP", kubeconfig)?;
        self.saved.set(&[(EXPORTED, path), (BEFORE, &self.before)])?;
        self.variables.set(&[(VARIABLE, path)])
    }
}

/// Saves that nothing is exported: what this step saves, later steps cannot set through GITHUB_ENV.
pub(crate) fn nothing(saved: &CommandFile) -> Result<(), Error> {
    saved.set(&[(EXPORTED, ""), (BEFORE, "")])
}

/// Sets the variable to what it was before, unless a later step has changed it: for the `post` of actions that stand before this
/// one, which run after it.
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
