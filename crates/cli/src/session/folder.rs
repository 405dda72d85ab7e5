//! The folder that holds the files of a session.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jobpass_core::{
    Error, Kind,
    inputs::{
        lifetime::Lifetime,
        options::{Inputs, Opt},
    },
    names,
    process::files::{self, TEMP, anybody_may_rename_in, create_private_folder},
    record::filter::FilterJournal,
    text::{self, harmless},
};

use crate::terminal::output;

/// The name of the state file.
const STATE: &str = "state.json";

/// Removes the journal that a killed session left beside its state file.
pub(crate) fn remove_journal_left_beside(state_file: &Path) {
    if state_file.file_name().is_some_and(|name| name == STATE) {
        let _ = fs::remove_file(state_file.with_file_name(FilterJournal::NAME));
    }
}

/// A folder that only this user can read. jobpass removes it at the end of the session, unless the folder
/// holds the state of a token that is not revoked.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Creates a folder in `TMPDIR` (on Windows: `TEMP`).
    pub(super) fn make() -> Result<Self, Error> {
        let temp = Some(std::env::temp_dir()).filter(|temp| !temp.as_os_str().is_empty());
        Self::make_in(&temp.unwrap_or_else(|| "/tmp".into()))
    }

    fn make_in(parent: &Path) -> Result<Self, Error> {
        let parent = files::absolute(TEMP, parent)?;
        if anybody_may_rename_in(&parent) {
            let problem = format!(
                "{TEMP} is {}, in which every user of this machine can replace the folder that jobpass \
                 creates",
                text::path(&parent)
            );
            let help = "set TMPDIR to a folder in which only this user can write, or to a folder with the \
                sticky bit. On most systems, /tmp has that bit";
            return Err(Error::new(Kind::Input, problem).help(help));
        }
        let folder = parent.join(names::random_name()?);
        create_private_folder(&folder).map_err(|error| {
            let (folder, why) = (text::path(&parent), harmless(&error.to_string()));
            let problem = format!("cannot create a folder in `{folder}`: {why}");
            Error::new(Kind::Deliver, problem).help(format!(
                "set {TEMP} to a folder that this user may write to, with free space"
            ))
        })?;
        Ok(Self(folder))
    }

    /// The path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of the state file.
    pub(super) fn state_file(&self) -> PathBuf {
        self.0.join(STATE)
    }

    /// The inputs with `lifetime`, and with paths in this folder for the token's files.
    pub(super) fn with_file_names(&self, inputs: &Inputs, lifetime: Lifetime) -> Result<Inputs, Error> {
        let (token, kubeconfig) = (self.0.join("token"), self.0.join("kubeconfig"));
        let inputs = inputs
            .clone()
            .with(Opt::KubeconfigFile, files::utf8(TEMP, &kubeconfig)?)
            .with(Opt::Duration, lifetime.seconds().to_string());
        Ok(match inputs.flag(Opt::Proxy)? {
            // A proxy keeps the token in memory, and no file holds it.
            true => inputs,
            false => inputs.with(Opt::TokenFile, files::utf8(TEMP, &token)?),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // `state.partial` exists if jobpass wrote it, but could not rename it to the state file.
        for file in ["state.partial", FilterJournal::NAME] {
            let _ = fs::remove_file(self.0.join(file));
        }
        let state_file = self.state_file();
        if fs::remove_dir(&self.0).is_err() && state_file.exists() {
            output::note(&format!(
                "the token may still work: revoke it with `jobpass revoke --state-file {}`",
                text::path(&state_file)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_its_user_can_read_a_folder_and_the_session_removes_it() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::make_in(temp.path()).expect("made");
        let path = folder.path().to_owned();
        let mode = path.metadata().expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(path.join("state.partial"), "{").expect("written");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_name_of_a_folder_is_shown_as_harmless_text() {
        let temp = tempfile::tempdir().expect("a folder");
        let error = Folder::make_in(&temp.path().join("gone\n::error::")).err();
        let error = error.expect("it is not there").message().to_owned();
        assert!(
            error.contains("gone ::error::") && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn a_parent_in_which_anybody_can_rename_the_folder_is_refused() {
        let temp = tempfile::tempdir().expect("a folder");
        for (mode, is_taken) in [(0o777, false), (0o1777, true), (0o775, true), (0o700, true)] {
            fs::set_permissions(temp.path(), fs::Permissions::from_mode(mode)).expect("set");
            let made = Folder::make_in(temp.path());
            assert_eq!(made.is_ok(), is_taken, "{mode:o}");
            let Err(error) = made else { continue };
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().contains("sticky bit"), "{error}");
        }
    }

    #[test]
    fn a_state_that_is_left_is_kept() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::make_in(temp.path()).expect("made");
        let state_file = folder.state_file();
        fs::write(&state_file, "{}").expect("written");
        drop(folder);
        assert!(state_file.exists());
    }

    #[test]
    fn the_token_s_files_are_in_the_folder_and_other_inputs_stay() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::make_in(temp.path()).expect("made");
        let given = Inputs::from([
            (Opt::Namespace, "ci"),
            (Opt::TokenFile, "elsewhere"),
            (Opt::Duration, "30s"),
        ]);
        let lifetime = Lifetime::parse("10m").expect("a lifetime");
        let inputs = folder.with_file_names(&given, lifetime).expect("inputs");
        let file = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(inputs.get(Opt::TokenFile), Some(&*file("token")));
        assert_eq!(inputs.get(Opt::KubeconfigFile), Some(&*file("kubeconfig")));
        assert_eq!(
            (inputs.get(Opt::Namespace), inputs.get(Opt::Duration)),
            (Some("ci"), Some("600"))
        );
    }
}
