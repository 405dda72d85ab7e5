//! A file that holds a legacy token: a token file or a kubeconfig.

use std::{
    fs::{File, Metadata},
    io::{ErrorKind, Result as IoResult, Write as _},
    path::Path,
};

use serde_json::Value;
use zeroize::Zeroizing;

use super::place::Place;
use crate::{
    error::Error,
    process::{
        files::{self, PARTIAL, with_suffix},
        system::{Identity, create_private, let_in_the_same, names_of, remove_file, rename},
    },
    text::{self, harmless},
    token::Token,
};

/// The input or the field that names a file.
#[derive(Clone, Copy)]
pub(super) enum NamedBy {
    /// The input `token-file`.
    TokenFile,
    /// The input `kubeconfig-file`.
    KubeconfigFile,
    /// The field `tokenFile` of the kubeconfig that the input `kubeconfig-file` names.
    Field,
}

impl NamedBy {
    /// The input or the field, for a sentence.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::TokenFile => "input `token-file`",
            Self::KubeconfigFile => "input `kubeconfig-file`",
            Self::Field => "`tokenFile` in the kubeconfig",
        }
    }

    /// The error about the file `shown`. `problem` follows the name of the file.
    fn error(self, shown: &str, problem: &str, step: impl Into<String>) -> Error {
        let (input, names) = match self {
            Self::TokenFile => ("token-file", "names"),
            Self::KubeconfigFile => ("kubeconfig-file", "names"),
            Self::Field => ("kubeconfig-file", "names a kubeconfig whose `tokenFile` is"),
        };
        Error::input(input, format!("{names} `{shown}`{problem}"), step)
    }
}

/// Reads a file that holds only a token.
pub(super) fn token_file(named_by: NamedBy, path: &Path) -> Result<(Place, Token), Error> {
    let (place, text) = read(named_by, path)?;
    let token = Token::read(&text).map_err(|why| {
        let step = match named_by {
            NamedBy::TokenFile | NamedBy::KubeconfigFile => "give the file that holds the token alone",
            NamedBy::Field => {
                "correct `tokenFile` in the kubeconfig: it must name the file that holds the token alone"
            }
        };
        named_by.error(&text::path(path), &format!(", which holds no token: {why}"), step)
    })?;
    Ok((place, token))
}

/// Reads the token of a kubeconfig's user.
pub(super) fn kubeconfig_file(path: &Path) -> Result<(Place, Token), Error> {
    let input = "kubeconfig-file";
    let (place, text) = read(NamedBy::KubeconfigFile, path)?;
    let config = serde_yaml::from_str::<Value>(&text).map_err(|error| {
        Error::input(
            input,
            format!("is not valid YAML{}", text::at_line(&error)),
            "give a kubeconfig",
        )
    })?;
    match user_token(&config) {
        Some(UserToken::File(file)) => {
            // client-go resolves the path relative to the kubeconfig, and prefers the token file to a token
            // in the kubeconfig.
            let folder = path.parent().unwrap_or(Path::new(""));
            token_file(NamedBy::Field, &folder.join(file))
        }
        Some(UserToken::Token(token)) => {
            let token = Token::read(token).map_err(|problem| {
                Error::input(
                    input,
                    format!("has an invalid `token` for the user of its current context: {problem}"),
                    "give the kubeconfig that has the legacy token, and check its `current-context`",
                )
            })?;
            if !text.contains(token.expose()) {
                let problem = "holds a token that is escaped or spans several lines: jobpass cannot replace \
                    it";
                return Err(Error::input(
                    input,
                    problem,
                    "write the token unescaped, on one line",
                ));
            }
            Ok((place, token))
        }
        None => Err(Error::input(
            input,
            "has no token: the user of its current context has neither `token` nor `tokenFile`",
            "give the kubeconfig that has the legacy token, and check its `current-context`",
        )),
    }
}

/// The token of a kubeconfig's user, or the path of the file that holds it.
enum UserToken<'a> {
    Token(&'a str),
    File(&'a str),
}

/// The token of the user of the current context.
fn user_token(config: &Value) -> Option<UserToken<'_>> {
    let named = |list: &str, name: &Value| {
        let list = config[list].as_array()?;
        list.iter().find(|item| item["name"] == *name)
    };
    let context = named("contexts", &config["current-context"])?;
    let user = &named("users", &context["context"]["user"])?["user"];
    let text = |key: &str| user[key].as_str().filter(|text| !text.trim().is_empty());
    text("tokenFile")
        .map(UserToken::File)
        .or_else(|| text("token").map(UserToken::Token))
}

/// Reads a file that jobpass can replace without changing any other file.
fn read(named_by: NamedBy, path: &Path) -> Result<(Place, Zeroizing<String>), Error> {
    // A person may give a secret in place of a path.
    let shown = match path.exists() {
        true => text::path(path),
        false => text::wrong(&path.to_string_lossy()),
    };
    let unreadable = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::InvalidData => "it is not text".to_owned(),
            _ => harmless(&error.to_string()),
        };
        let step = match named_by {
            NamedBy::TokenFile => "give the file that holds the token, and check its permissions",
            NamedBy::KubeconfigFile => {
                "give the kubeconfig that has the legacy token, and check the file's permissions"
            }
            NamedBy::Field => "correct `tokenFile` in the kubeconfig, or make that file readable",
        };
        named_by.error(&shown, &format!(", which cannot be read: {why}"), step)
    };
    let before = path.symlink_metadata().map_err(unreadable)?;
    if before.is_symlink() {
        let step = "name the linked file itself: jobpass would replace the link by a new file, and leave the \
             linked file unchanged";
        return Err(named_by.error(&shown, ", which is a symbolic link", step));
    }
    let text = files::read(path).map(Zeroizing::new).map_err(unreadable)?;
    if names_of(path).map_err(unreadable)? > 1 {
        let step = "remove the other hard links: they would keep the old token";
        return Err(named_by.error(&shown, ", a file with more than one hard link", step));
    }
    // If an earlier rotation was killed while it wrote, the partial file contains a token that still works.
    let partial = with_suffix(path, PARTIAL);
    if partial.symlink_metadata().is_ok() {
        let problem = ": another rotation of this file is running, or was killed while it wrote";
        let step = format!(
            "wait until the other rotation has ended, and run this command again. If no rotation is running, \
             remove the unfinished file `{}`",
            text::path(&partial)
        );
        return Err(named_by.error(&shown, problem, step));
    }
    let place = Place::File {
        named_by,
        path: path.to_owned(),
        before: Before {
            identity: Identity::at(path).map_err(unreadable)?,
            metadata: before,
        },
        text: text.clone(),
    };
    Ok((place, text))
}

/// The identity and the metadata of a file, from the time when jobpass read it.
pub(super) struct Before {
    identity: Identity,
    metadata: Metadata,
}

/// Replaces the file by a new one with the same mode and owner, unless somebody has changed it. On Windows,
/// only the owner can read the new file.
pub(super) fn replace(path: &Path, before: &Before, old: &str, new: &str) -> IoResult<()> {
    // The next rotation looks for this name. If the file exists already, another rotation has created it.
    let partial = with_suffix(path, PARTIAL);
    let file = create_private(&partial)?;
    let written = write(file, &before.metadata, new).and_then(|()| {
        if Identity::at(path)? != before.identity || *Zeroizing::new(files::read(path)?) != *old {
            return Err(std::io::Error::other(
                "another program changed the file after jobpass had read it",
            ));
        }
        rename(&partial, path)
    });
    if written.is_err() {
        let _ = remove_file(&partial);
    }
    written
}

/// Writes the file and closes it: Windows does not rename a file that is still open.
fn write(mut file: File, before: &Metadata, text: &str) -> IoResult<()> {
    let_in_the_same(&file, before)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use rstest::rstest;

    use super::*;

    fn before(path: &Path) -> Before {
        Before {
            identity: Identity::at(path).expect("there"),
            metadata: path.symlink_metadata().expect("there"),
        }
    }

    #[rstest]
    #[case::token("user: {token: a}", Some("token a"))]
    #[case::file("user: {tokenFile: f}", Some("file f"))]
    #[case::the_file_is_preferred("user: {token: a, tokenFile: f}", Some("file f"))]
    #[case::empty_file("user: {token: a, tokenFile: ''}", Some("token a"))]
    #[case::certificate("user: {client-certificate: c}", None)]
    #[case::no_user("", None)]
    fn the_user_of_the_current_context_decides(#[case] user: &str, #[case] expected: Option<&str>) {
        let config = format!(
            "current-context: this\n\
             contexts: [{{name: other, context: {{user: other}}}}, {{name: this, context: {{user: me}}}}]\n\
             users: [{{name: other, user: {{token: wrong}}}}, {{name: me, {user}}}]"
        );
        let config = serde_yaml::from_str(&config).expect("YAML");
        let found = user_token(&config).map(|token| match token {
            UserToken::Token(token) => format!("token {token}"),
            UserToken::File(file) => format!("file {file}"),
        });
        assert_eq!(found.as_deref(), expected);
    }

    /// The message names the wrong token file, and the field of the kubeconfig that names this file.
    #[rstest]
    #[case::not_there(
        None,
        "cannot be read: ",
        "correct `tokenFile` in the kubeconfig, or make that file readable"
    )]
    #[case::empty(
        Some(""),
        "holds no token: it is empty",
        "correct `tokenFile` in the kubeconfig"
    )]
    fn a_wrong_token_file_of_a_kubeconfig_is_named(
        #[case] content: Option<&str>,
        #[case] why: &str,
        #[case] step: &str,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scan.yaml");
        let config = "current-context: a\n\
             contexts: [{name: a, context: {user: a}}]\n\
             users: [{name: a, user: {tokenFile: legacy}}]";
        std::fs::write(&path, config).expect("written");
        let file = folder.path().join("legacy");
        if let Some(content) = content {
            std::fs::write(&file, content).expect("written");
        }
        let error = kubeconfig_file(&path).map(|_| ()).expect_err("refused");
        let said = "input `kubeconfig-file` names a kubeconfig whose `tokenFile` is `";
        assert!(error.message().starts_with(said), "{error}");
        assert!(
            error.message().contains(&format!("legacy`, which {why}")),
            "{error}"
        );
        assert!(
            error.next_step().is_some_and(|help| help.starts_with(step)),
            "{error}"
        );
    }

    #[test]
    fn a_replaced_file_keeps_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "old").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("a mode");
        let before = before(&path);
        replace(&path, &before, "old", "new").expect("replaced");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "new");
        let after = path.symlink_metadata().expect("there");
        assert_eq!(after.mode(), before.metadata.mode());
        assert_ne!(after.ino(), before.metadata.ino());
    }

    #[test]
    fn a_file_that_somebody_else_changed_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "theirs").expect("written");
        let before = before(&path);
        let error = replace(&path, &before, "old", "new").expect_err("changed");
        assert!(error.to_string().contains("another program"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "theirs");
        assert_eq!(folder.path().read_dir().expect("a folder").count(), 1);
    }
}
