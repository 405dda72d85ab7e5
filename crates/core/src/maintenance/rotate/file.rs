//! A file that holds a legacy token: a token file or a kubeconfig.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{Result as IoResult, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
};

use serde_json::Value;
use zeroize::Zeroizing;

use super::place::Place;
use crate::{
    error::Error,
    process::files::{self, PARTIAL, read_file, with_suffix},
    text::harmless,
    token::Token,
};

pub(super) fn token_file(input: &'static str, path: &Path) -> Result<(Place, Token), Error> {
    let (place, text) = read(input, path)?;
    let token = Token::parse(&text, input)?;
    Ok((place, token))
}

pub(super) fn kubeconfig_file(path: &Path) -> Result<(Place, Token), Error> {
    let input = "kubeconfig-file";
    let (place, text) = read(input, path)?;
    let config = serde_yaml::from_str::<Value>(&text).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line());
        Error::input(input, format!("is no YAML (line {line})"), "give a kubeconfig")
    })?;
    match of_user(&config) {
        Some(Holding::File(file)) => {
            // As client-go does: relative to the kubeconfig, and before a token beside it.
            let folder = path.parent().unwrap_or(Path::new(""));
            token_file(input, &folder.join(file))
        }
        Some(Holding::Token(token)) => {
            let token = Token::parse(token, input)?;
            if !text.contains(token.expose()) {
                let problem =
                    "holds its token in a form in which it cannot be replaced: broken into lines, or escaped";
                return Err(Error::input(input, problem, "write it in one line"));
            }
            Ok((place, token))
        }
        None => Err(Error::input(
            input,
            "has no token: the user of its current context has neither `token` nor `tokenFile`",
            "give the kubeconfig that has the legacy token; set `current-context` if it has several",
        )),
    }
}

enum Holding<'a> {
    Token(&'a str),
    File(&'a str),
}

/// What the user of the current context has.
fn of_user(config: &Value) -> Option<Holding<'_>> {
    let named = |list: &str, name: &Value| {
        let list = config[list].as_array()?;
        list.iter().find(|item| item["name"] == *name)
    };
    let context = named("contexts", &config["current-context"])?;
    let user = &named("users", &context["context"]["user"])?["user"];
    let text = |key: &str| user[key].as_str().filter(|text| !text.trim().is_empty());
    text("tokenFile")
        .map(Holding::File)
        .or_else(|| text("token").map(Holding::Token))
}

/// A file that can be replaced without anything else changing.
fn read(input: &'static str, path: &Path) -> Result<(Place, Zeroizing<String>), Error> {
    let shown = harmless(&path.to_string_lossy());
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
        let allowed = "name the file itself: what replaced the link would part it from the file, and nobody said that the file \
                       may change";
        return Err(Error::input(input, problem, allowed));
    }
    let text = read_file(input, path).map(Zeroizing::new)?;
    if before.nlink() > 1 {
        let problem = format!("names `{shown}`, which has other names (hard links)");
        return Err(Error::input(
            input,
            problem,
            "only one name would get the new token: remove the others",
        ));
    }
    // Killed while it wrote, an earlier rotation leaves a token there, which would go on working.
    let partial = with_suffix(path, PARTIAL);
    if partial.symlink_metadata().is_ok() {
        let problem =
            format!("names `{shown}`, beside which another rotation writes, or was killed while it wrote");
        let allowed = format!(
            "if none runs, remove what it left: `{}`",
            harmless(&partial.to_string_lossy())
        );
        return Err(Error::input(input, problem, allowed));
    }
    let place = Place::File {
        input,
        path: path.to_owned(),
        before,
        text: text.clone(),
    };
    Ok((place, text))
}

/// A new file of the same mode and owner takes the place of the old one, if that is still what it was.
pub(super) fn replace(path: &Path, before: &Metadata, old: &str, new: &str) -> IoResult<()> {
    // Of a name that the next rotation looks for; if it is there by now, it is somebody else's.
    let partial = with_suffix(path, PARTIAL);
    let mut file = create(&partial)?;
    let written = write(&mut file, before, new).and_then(|()| {
        let now = path.symlink_metadata()?;
        let same = (now.dev(), now.ino()) == (before.dev(), before.ino());
        if !same || *Zeroizing::new(files::read(path)?) != *old {
            return Err(std::io::Error::other("somebody else changed it in the meantime"));
        }
        std::fs::rename(&partial, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn create(partial: &Path) -> IoResult<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(partial)
}

fn write(file: &mut File, before: &Metadata, text: &str) -> IoResult<()> {
    let owner = |now: &File| now.metadata().map(|now| (now.uid(), now.gid()));
    if owner(file)? != (before.uid(), before.gid()) {
        fchown(&*file, Some(before.uid()), Some(before.gid()))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(before.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
