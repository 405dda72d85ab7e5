//! A command that gets the token.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use jobpass_core::{
    Error, Kind, inputs::options::Inputs, process::environment::Environment, record::token_files::Files,
    text::harmless,
};
use rustix::fs::{Access, access};
use tokio::process::Command;

use super::masked_output::Streams;

/// A program that is there, and its arguments.
pub(crate) struct Program<'a> {
    name: &'a OsStr,
    path: PathBuf,
    arguments: Vec<&'a OsString>,
}

impl<'a> Program<'a> {
    /// Looks where a shell would.
    ///
    /// # Errors
    /// If nothing of that name can be run.
    pub(crate) fn find(
        mut words: impl Iterator<Item = &'a OsString>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let name = words.next().map(OsString::as_os_str).unwrap_or_default();
        let can_run = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
        let path = if name.as_encoded_bytes().contains(&b'/') {
            Some(PathBuf::from(name)).filter(can_run)
        } else {
            let folders = std::env::split_paths(environment.get("PATH").unwrap_or_default());
            folders.map(|folder| folder.join(name)).find(can_run)
        };
        let shown = harmless(&name.to_string_lossy());
        let path = path.ok_or_else(|| {
            Error::input(
                "COMMAND",
                format!("is `{shown}`, which is no program that can be run"),
                "give a path, or a name that is on PATH; what a shell has to read goes into one: `-- sh -c '...'`",
            )
        })?;
        Ok(Self {
            name,
            path,
            arguments: words.collect(),
        })
    }

    /// It gets neither the options of jobpass nor the minter's credential.
    pub(crate) fn command(&self, files: &Files, inputs: &Inputs, streams: Streams) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(self.name).args(&self.arguments);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"JOBPASS_"))
        {
            command.env_remove(name);
        }
        if let Some(name) = inputs.get("bearer-token-env") {
            command.env_remove(name);
        }
        for (name, path) in [
            ("KUBECONFIG", &files.kubeconfig_file),
            ("JOBPASS_TOKEN_FILE", &files.token_file),
        ] {
            command.env(name, path.as_deref().unwrap_or(Path::new("")));
        }
        command.stdout(streams.output).stderr(streams.error);
        command
    }

    pub(crate) fn cannot_start(&self, error: &std::io::Error) -> Error {
        let (path, why) = (
            harmless(&self.path.to_string_lossy()),
            harmless(&error.to_string()),
        );
        Error::new(Kind::Deliver, format!("cannot run `{path}`: {why}"))
            .help("check that it is a program for this machine, and that its interpreter is there")
    }
}
