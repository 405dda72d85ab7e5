//! A file that holds a legacy token: a token file or a kubeconfig.

use std::{
    fs::{File, Metadata},
    io::{Result as IoResult, Write as _},
    path::Path,
};

use serde_json::Value;
use zeroize::Zeroizing;

use super::place::Place;
use crate::{
    error::Error,
    process::{
        files::{self, PARTIAL, read_file, with_suffix},
        system::{Identity, create_private, let_in_the_same, names_of, remove_file, rename},
    },
    text::{self, harmless},
    token::Token,
};

/// Reads a file that holds only a token.
pub(super) fn token_file(input: &'static str, path: &Path) -> Result<(Place, Token), Error> {
    let (place, text) = read(input, path)?;
    let token = Token::parse(&text, input)?;
    Ok((place, token))
}

/// Reads the token of a kubeconfig's user.
pub(super) fn kubeconfig_file(path: &Path) -> Result<(Place, Token), Error> {
    let input = "kubeconfig-file";
    let (place, text) = read(input, path)?;
    let config = serde_yaml::from_str::<Value>(&text).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line());
        Error::input(input, format!("is not YAML (line {line})"), "give a kubeconfig")
    })?;
    match user_token(&config) {
        Some(UserToken::File(file)) => {
            // client-go resolves the path relative to the kubeconfig, and prefers the token file to a token
            // in the kubeconfig.
            let folder = path.parent().unwrap_or(Path::new(""));
            token_file(input, &folder.join(file))
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
fn read(input: &'static str, path: &Path) -> Result<(Place, Zeroizing<String>), Error> {
    let shown = text::path(path);
    let unreadable = |error: std::io::Error| {
        let why = harmless(&error.to_string());
        Error::input(
            input,
            format!("names `{shown}`, which cannot be read: {why}"),
            "give the file that holds the token",
        )
    };
    let before = path.symlink_metadata().map_err(unreadable)?;
    if before.is_symlink() {
        let problem = format!("names `{shown}`, which is a symbolic link");
        let allowed = "name the linked file itself: jobpass would replace the link by a new file, and leave the \
             linked file unchanged";
        return Err(Error::input(input, problem, allowed));
    }
    let text = read_file(input, path).map(Zeroizing::new)?;
    if names_of(path).map_err(unreadable)? > 1 {
        let problem = format!("names `{shown}`, a file with more than one hard link");
        return Err(Error::input(
            input,
            problem,
            "remove the other hard links: they would keep the old token",
        ));
    }
    // If an earlier rotation was killed while it wrote, the partial file contains a token that still works.
    let partial = with_suffix(path, PARTIAL);
    if partial.symlink_metadata().is_ok() {
        let problem = format!(
            "names `{shown}`: another rotation of this file is running, or was killed while it wrote"
        );
        let allowed = format!(
            "if no rotation is running, remove the unfinished file `{}`",
            text::path(&partial)
        );
        return Err(Error::input(input, problem, allowed));
    }
    let place = Place::File {
        input,
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
