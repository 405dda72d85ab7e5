//! The command that uses the token.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use jobpass_core::{
    Error, Kind,
    inputs::options::{Inputs, Opt},
    process::{environment::Environment, lookup},
    record::token_files::Files,
    text::{self, harmless},
};
use tokio::process::Command;

use super::{masked_output::Streams, system};

/// An existing program, and its arguments.
pub(crate) struct Program<'a> {
    name: &'a OsStr,
    path: PathBuf,
    arguments: Vec<&'a OsString>,
}

impl<'a> Program<'a> {
    /// Finds the program of a command line as a shell does: by its path, or by its name in the folders of
    /// `PATH`.
    ///
    /// # Errors
    /// If there is no such program, or if this user may not execute it.
    pub(crate) fn find(
        mut words: impl Iterator<Item = &'a OsString>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let name = words.next().map(OsString::as_os_str).unwrap_or_default();
        let files = lookup::files_of(name, environment);
        let path = files.into_iter().find(|path| system::can_run(path));
        let shown = harmless(&name.to_string_lossy());
        let path = path.ok_or_else(|| {
            Error::input(
                "COMMAND",
                format!("is `{shown}`, which is not a program that jobpass can run"),
                "give a path, or the name of a program on PATH. For shell syntax, run a shell: `-- sh -c \
                 '...'`",
            )
        })?;
        Ok(Self {
            name,
            path,
            arguments: words.collect(),
        })
    }

    /// Builds the command with its environment. KUBECONFIG and JOBPASS_TOKEN_FILE name the files of the
    /// token. Removes all other variables of jobpass, and the variable of the minter's bearer token. With a
    /// proxy, adds 127.0.0.1 to NO_PROXY.
    pub(crate) fn command(&self, files: &Files, inputs: &Inputs, streams: Streams) -> Command {
        let mut command = Command::new(&self.path);
        system::name(&mut command, self.name);
        command.args(&self.arguments);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"JOBPASS_"))
        {
            command.env_remove(name);
        }
        if let Some(name) = inputs.get(Opt::BearerTokenEnv) {
            command.env_remove(name);
        }
        for (name, path) in [
            ("KUBECONFIG", &files.kubeconfig_file),
            ("JOBPASS_TOKEN_FILE", &files.token_file),
        ] {
            command.env(name, path.as_deref().unwrap_or(Path::new("")));
        }
        if inputs.get(Opt::Proxy) == Some("true") {
            // Clients that are not written in Go would send their requests for 127.0.0.1 to the proxy that
            // HTTPS_PROXY names.
            for name in ["NO_PROXY", "no_proxy"] {
                let others = std::env::var(name).unwrap_or_default();
                let separator = if others.is_empty() { "" } else { "," };
                command.env(name, format!("{others}{separator}127.0.0.1"));
            }
        }
        command.stdout(streams.output).stderr(streams.error);
        command
    }

    /// The error for a program that does not start.
    pub(crate) fn cannot_start(&self, error: &std::io::Error) -> Error {
        let (path, why) = (text::path(&self.path), harmless(&error.to_string()));
        Error::new(Kind::Deliver, format!("cannot run `{path}`: {why}"))
            .help("check that it is a program for this machine, and that its interpreter is installed")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

    use super::*;

    /// A folder with the program `tool`, the folder `tools`, and the file `notes`, which nobody can execute.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, mode) in [("tool", 0o755), ("notes", 0o644)] {
            let path = folder.path().join(name);
            fs::write(&path, "#!/bin/sh\n").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        }
        fs::create_dir(folder.path().join("tools")).expect("made");
        folder
    }

    #[test]
    fn a_program_is_found_by_its_path_or_by_its_name_on_path() {
        let folder = folder();
        let in_folder = |name: &str| folder.path().join(name).display().to_string();
        let environment = Environment::default().with("PATH", Some(&format!("/nowhere:{}", in_folder(""))));
        let finds = |name: &str| Program::find([OsString::from(name)].iter(), &environment).is_ok();
        assert!(finds("tool") && finds(&in_folder("tool")));
        assert!(
            !finds("notes") && !finds(&in_folder("notes")),
            "it cannot be executed"
        );
        assert!(!finds("tools") && !finds(&in_folder("tools")), "it is a folder");
        assert!(!finds("gone") && !finds("./tool"), "it does not exist");
        assert!(Program::find([].iter(), &environment).is_err());
    }

    #[test]
    fn the_command_gets_the_files_and_not_the_credential_of_the_minter() {
        let inputs = Inputs::from([(Opt::BearerTokenEnv, "MINTER")]);
        let files = Files {
            token_file: Some("/tmp/a token".into()),
            ..Files::default()
        };
        let streams = Streams {
            output: Stdio::null(),
            error: Stdio::null(),
        };
        let words = ["sh", "-c", "exit"].map(OsString::from);
        let program = Program {
            name: &words[0],
            path: "/bin/sh".into(),
            arguments: words[1..].iter().collect(),
        };
        let command = program.command(&files, &inputs, streams);
        let variable = |name: &str| {
            let found = command
                .as_std()
                .get_envs()
                .find(|(variable, _)| **variable == *name);
            found.map(|(_, value)| value)
        };
        assert_eq!(variable("MINTER"), Some(None), "it is removed");
        assert_eq!(
            variable("JOBPASS_TOKEN_FILE"),
            Some(Some("/tmp/a token".as_ref()))
        );
        // Without a kubeconfig of its own, the command must not use the minter's.
        assert_eq!(variable("KUBECONFIG"), Some(Some("".as_ref())));
    }
}
