//! Location a legacy token is used from, and how another one takes its place there.

use std::{fs::Metadata, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    file::{kubeconfig_file, replace, token_file},
    successor::patch_call,
};
use crate::{
    anchor::{self, legacy},
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    names::dns_name,
    process::files::cannot_write,
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
                let call = patch_call(doing, namespace, name, patch).map_err(Unwritten::No)?;
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
