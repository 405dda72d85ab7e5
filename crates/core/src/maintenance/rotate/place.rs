//! Location a legacy token is used from, and how another one takes its place there.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{Result as IoResult, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    anchor::{self, legacy},
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    names::dns_name,
    process::files::{self, PARTIAL, cannot_write, read_file, with_suffix},
    refusal::Need,
    text::harmless,
    token::Token,
};

/// Location to look for the token.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file that holds it alone.
    TokenFile(PathBuf),
    /// A kubeconfig: the user of its current context has it, or names the file that does.
    KubeconfigFile(PathBuf),
    /// A Secret that holds a copy.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key under which it is.
        key: String,
    },
}

/// A place, as it was read.
pub(super) enum Place {
    File {
        /// The option that named it.
        input: &'static str,
        path: PathBuf,
        before: Metadata,
        text: Zeroizing<String>,
    },
    Secret {
        namespace: String,
        name: String,
        key: String,
        version: String,
    },
}

/// How writing went wrong.
pub(super) enum Unwritten {
    /// The old token is still there.
    No(Error),
    /// Nobody knows which is there.
    Perhaps(Error),
}

impl Location {
    /// Parses `NAMESPACE/NAME` and the key.
    ///
    /// # Errors
    /// If no Secret can be called that, or have such a key.
    pub fn secret(secret: &str, key: &str) -> Result<Self, Error> {
        let allowed = "give NAMESPACE/NAME, as in `--secret scans/cluster-token`";
        let Some((namespace, name)) = secret.split_once('/') else {
            let problem = format!("is `{}`, without a namespace", harmless(secret));
            return Err(Error::input("secret", problem, allowed));
        };
        // `pkg/apis/core/validation/validation.go`, `IsConfigMapKey`.
        let is_key = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if key.is_empty() || key.len() > 253 || !key.bytes().all(is_key) {
            let problem = format!("is `{}`: no Secret has a key like that", harmless(key));
            return Err(Error::input(
                "key",
                problem,
                "give the key under which the Secret holds the token",
            ));
        }
        Ok(Self::Secret {
            namespace: dns_name("secret", namespace, 63, false)?,
            name: dns_name("secret", name, 253, true)?,
            key: key.to_owned(),
        })
    }
}

impl Place {
    /// Reads the token.
    ///
    /// # Errors
    /// If there is none, or none that another one could take the place of.
    pub(super) async fn read(
        location: &Location,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<(Self, Token), Error> {
        match location {
            Location::TokenFile(path) => token_file("token-file", path),
            Location::KubeconfigFile(path) => kubeconfig_file(path),
            Location::Secret { namespace, name, key } => {
                let (place, text) = read_secret(namespace, name, key, cluster, budget).await?;
                let token = Token::parse(&text, "key")?;
                Ok((place, token))
            }
        }
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Self::File { path, .. } => format!("file {}", harmless(&path.to_string_lossy())),
            Self::Secret {
                namespace, name, key, ..
            } => format!("Secret {namespace}/{name}, key {key}"),
        }
    }

    /// Puts `new` where `old` was, and changes nothing else; as a whole or not at all.
    pub(super) async fn write(
        &self,
        old: &Token,
        new: &Token,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<(), Unwritten> {
        match self {
            Self::File {
                input,
                path,
                before,
                text,
            } => {
                let replaced = Zeroizing::new(text.replace(old.expose(), new.expose()));
                replace(path, before, text, &replaced).map_err(|error| {
                    let error = cannot_write(path, &error);
                    Unwritten::No(error.help(format!(
                        "see that input `{input}` names a file that this user may replace"
                    )))
                })
            }
            Self::Secret {
                namespace,
                name,
                key,
                version,
            } => {
                let patch = json!({
                    "metadata": { "resourceVersion": version },
                    "data": { key: STANDARD.encode(new.expose()) },
                });
                let doing = "write the new token into the Secret";
                let call = super::patch_call(doing, namespace, name, patch).map_err(Unwritten::No)?;
                let answer = match cluster.send(&call, budget).await {
                    Ok(answer) => answer,
                    Err(lost) if !lost.maybe_done => return Err(Unwritten::No(lost.error)),
                    Err(lost) => return self.look(new, cluster, lost.error).await,
                };
                match answer.status {
                    200 => Ok(()),
                    // Perhaps by an attempt of ours whose answer was lost.
                    409 if answer.repeated => self.look(new, cluster, changed(namespace, name)).await,
                    409 => Err(Unwritten::No(changed(namespace, name))),
                    _ => Err(Unwritten::No(cluster.refused(
                        &call,
                        &answer,
                        &Need::rotating(namespace, ""),
                    ))),
                }
            }
        }
    }

    /// Whether it was written, where no answer says so.
    async fn look(&self, new: &Token, cluster: &Cluster, error: Error) -> Result<(), Unwritten> {
        let Self::Secret {
            namespace, name, key, ..
        } = self
        else {
            return Err(Unwritten::No(error));
        };
        let budget = Budget::new(super::LOOK);
        match read_secret(namespace, name, key, cluster, &budget).await {
            Ok((_, text)) if text.trim() == new.expose() => Ok(()),
            // Refused for its resourceVersion, it cannot be carried out later.
            Ok(_) if error.kind() == Kind::Refused => Err(Unwritten::No(error)),
            _ => Err(Unwritten::Perhaps(error)),
        }
    }
}

fn changed(namespace: &str, name: &str) -> Error {
    let what = format!("Secret {namespace}/{name} was changed by somebody else in the meantime");
    Error::new(Kind::Refused, what).help("nothing of it was overwritten; look who changes it, and try again")
}

async fn read_secret(
    namespace: &str,
    name: &str,
    key: &str,
    cluster: &Cluster,
    budget: &Budget,
) -> Result<(Place, Zeroizing<String>), Error> {
    let need = Need::rotating(namespace, "");
    let secret = legacy::Secret::get(cluster, namespace, name, &need, budget).await?;
    let wrong = |problem: &str, allowed: &str| {
        Error::input("secret", format!("is `{namespace}/{name}`{problem}"), allowed)
    };
    let Some(secret) = secret else {
        return Err(wrong(", which is not there", "check its namespace and its name"));
    };
    if [legacy::TYPE, anchor::TYPE].contains(&&*secret.secret_type) {
        return Err(wrong(
            ", which is the token's own Secret, and no copy: a new token needs a new name, and whoever mounts this one would go on \
             with the old",
            "say where the token is used from: `--token-file`, `--kubeconfig-file`, or a Secret that holds a copy",
        ));
    }
    if secret.immutable {
        return Err(wrong(
            ", which is immutable",
            "make another Secret in its place, by hand",
        ));
    }
    let text = secret.value(key).map_err(|why| {
        Error::input(
            "key",
            format!("is `{key}`: the Secret {why}"),
            "give the key under which it holds the token",
        )
    })?;
    let place = Place::Secret {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        version: secret.metadata.resource_version,
    };
    Ok((place, text))
}

fn token_file(input: &'static str, path: &Path) -> Result<(Place, Token), Error> {
    let (place, text) = read(input, path)?;
    let token = Token::parse(&text, input)?;
    Ok((place, token))
}

fn kubeconfig_file(path: &Path) -> Result<(Place, Token), Error> {
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
fn replace(path: &Path, before: &Metadata, old: &str, new: &str) -> IoResult<()> {
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
