//! The place from which the users of a legacy token read it: a token file, a kubeconfig, or a Secret with a
//! copy.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    file::{Before, NamedBy, kubeconfig_file, replace, token_file},
    successor::patch_call,
};
use crate::{
    anchor::{self, legacy},
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    names::dns_name,
    process::files::cannot_write,
    refusal::RequiredPermission,
    text::{self, harmless},
    token::Token,
};

/// The place of a token, as the command line names it.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file that holds only the token.
    TokenFile(PathBuf),
    /// A kubeconfig. The user of its current context has the token, or names the token's file.
    KubeconfigFile(PathBuf),
    /// A Secret that holds a copy of the token.
    Secret {
        /// The Secret's namespace.
        namespace: String,
        /// The Secret's name.
        name: String,
        /// The key under which the Secret holds the token.
        key: String,
    },
}

/// A place, with the content or the resourceVersion that jobpass read from it. With these, jobpass notices a
/// later change.
pub(super) enum Place {
    File {
        named_by: NamedBy,
        path: PathBuf,
        before: Before,
        text: Zeroizing<String>,
    },
    Secret {
        namespace: String,
        name: String,
        key: String,
        version: String,
    },
}

/// A failed attempt to write the new token over the old one.
pub(super) enum WriteFailure {
    /// jobpass has not written to the place.
    Unchanged(Error),
    /// jobpass does not know which token the place holds.
    Unknown(Error),
}

impl Location {
    /// Parses `NAMESPACE/NAME` of a Secret with a copy of the token, and the key of the copy.
    ///
    /// # Errors
    /// If the namespace is missing, or if the namespace, the name or the key is not valid for a Secret.
    pub fn secret(secret: &str, key: &str) -> Result<Self, Error> {
        let allowed = "give NAMESPACE/NAME, as in `--secret scans/cluster-token`";
        let Some((namespace, name)) = secret.split_once('/') else {
            let problem = format!("is `{}`, without a namespace", harmless(secret));
            return Err(Error::input("secret", problem, allowed));
        };
        // `k8s.io/apimachinery/pkg/util/validation/validation.go`, `IsConfigMapKey`.
        let is_key = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if key.is_empty() || key.len() > 253 || !key.bytes().all(is_key) {
            let problem = format!("is `{}`, which is not a valid key of a Secret", harmless(key));
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
    /// If jobpass cannot read the place, if the place has no token, or if jobpass cannot replace the token
    /// there.
    pub(super) async fn read(
        location: &Location,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<(Self, Token), Error> {
        match location {
            Location::TokenFile(path) => token_file(NamedBy::TokenFile, path),
            Location::KubeconfigFile(path) => kubeconfig_file(path),
            Location::Secret { namespace, name, key } => {
                let (place, text) = read_secret(namespace, name, key, cluster, budget).await?;
                let token = Token::read(&text).map_err(|problem| {
                    Error::input(
                        "key",
                        format!(
                            "is `{}`, and the Secret has no token under this key: {problem}",
                            harmless(key)
                        ),
                        "give the key under which the Secret holds the token",
                    )
                })?;
                Ok((place, token))
            }
        }
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Self::File { path, .. } => format!("file {}", text::path(path)),
            Self::Secret {
                namespace, name, key, ..
            } => format!("Secret {namespace}/{name}, key {key}"),
        }
    }

    /// Replaces `old` by `new`, and changes nothing else. The change is atomic.
    pub(super) async fn write(
        &self,
        old: &Token,
        new: &Token,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<(), WriteFailure> {
        match self {
            Self::File {
                named_by,
                path,
                before,
                text,
            } => {
                let replaced = Zeroizing::new(text.replace(old.expose(), new.expose()));
                replace(path, before, text, &replaced).map_err(|error| {
                    let error = cannot_write(path, &error);
                    WriteFailure::Unchanged(error.help(format!(
                        "check that {} names a file that this user may replace",
                        named_by.in_words()
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
                let call = patch_call(doing, namespace, name, patch).map_err(WriteFailure::Unchanged)?;
                let answer = match cluster.send(&call, budget).await {
                    Ok(answer) => answer,
                    Err(lost) if !lost.maybe_done => return Err(WriteFailure::Unchanged(lost.error)),
                    Err(lost) => return self.read_again(new, cluster, lost.error).await,
                };
                match answer.status {
                    200 => Ok(()),
                    // An earlier attempt, whose answer was lost, may have written the new token.
                    409 if answer.repeated => self.read_again(new, cluster, changed(namespace, name)).await,
                    409 => Err(WriteFailure::Unchanged(changed(namespace, name))),
                    _ => Err(WriteFailure::Unchanged(cluster.refused(
                        &call,
                        &answer,
                        &RequiredPermission::rotating(namespace, ""),
                    ))),
                }
            }
        }
    }

    /// Reads the Secret again after a lost answer, to see whether it holds the new token.
    async fn read_again(&self, new: &Token, cluster: &Cluster, error: Error) -> Result<(), WriteFailure> {
        let Self::Secret {
            namespace, name, key, ..
        } = self
        else {
            return Err(WriteFailure::Unchanged(error));
        };
        let budget = Budget::new(super::LOOK);
        match read_secret(namespace, name, key, cluster, &budget).await {
            Ok((_, text)) if text.trim() == new.expose() => Ok(()),
            // The API server refused the resourceVersion, so it cannot carry out the lost request later.
            Ok(_) if error.kind() == Kind::Refused => Err(WriteFailure::Unchanged(error)),
            _ => Err(WriteFailure::Unknown(error)),
        }
    }
}

fn changed(namespace: &str, name: &str) -> Error {
    let what = format!("somebody else changed Secret {namespace}/{name} after jobpass had read it");
    Error::new(Kind::Refused, what).help(
        "jobpass has not overwritten the change. Find out who changes the Secret, and run the same command \
         again",
    )
}

async fn read_secret(
    namespace: &str,
    name: &str,
    key: &str,
    cluster: &Cluster,
    budget: &Budget,
) -> Result<(Place, Zeroizing<String>), Error> {
    let permission = RequiredPermission::rotating(namespace, "");
    let secret = legacy::LegacySecret::get(cluster, namespace, name, &permission, budget).await?;
    copy_in(secret, namespace, name, key)
}

/// The text of the copy in a Secret, with its place. Refuses a Secret that jobpass must not change.
fn copy_in(
    secret: Option<legacy::LegacySecret>,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<(Place, Zeroizing<String>), Error> {
    let wrong = |problem: &str, allowed: &str| {
        Error::input("secret", format!("is `{namespace}/{name}`{problem}"), allowed)
    };
    let Some(secret) = secret else {
        return Err(wrong(
            ", which does not exist",
            "check its namespace and its name",
        ));
    };
    if [legacy::TYPE, anchor::TYPE].contains(&&*secret.secret_type) {
        return Err(wrong(
            ", which is an anchor or a token's own Secret, and not a copy: the new token comes in a new \
             Secret, and a Pod that mounts this one would keep the old token",
            "name the file or the Secret that the users of the token read: `--token-file`, \
             `--kubeconfig-file`, or `--secret` with a copy",
        ));
    }
    if secret.immutable {
        return Err(wrong(
            ", which is immutable",
            "replace it by another Secret by hand",
        ));
    }
    let text = secret.value(key).map_err(|why| {
        Error::input(
            "key",
            format!("is `{key}`: the Secret {why}"),
            "give the key under which the Secret holds the token",
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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case("scans/cluster-token", "token", "")]
    #[case("scans/cluster-token", "kube.config_1-a", "")]
    #[case("cluster-token", "token", "without a namespace")]
    #[case("scans/", "token", "input `secret`")]
    #[case("Scans/a", "token", "input `secret`")]
    #[case("scans/a/b", "token", "input `secret`")]
    #[case("scans/a", "", "not a valid key")]
    #[case("scans/a", "a/b", "not a valid key")]
    fn a_secret_is_named_by_namespace_and_name(#[case] secret: &str, #[case] key: &str, #[case] why: &str) {
        match (Location::secret(secret, key), why) {
            (Ok(Location::Secret { namespace, name, .. }), "") => {
                assert_eq!((&*namespace, &*name), ("scans", "cluster-token"));
            }
            (Err(error), why) => assert!(!why.is_empty() && error.to_string().contains(why), "{error}"),
            (parsed, _) => panic!("{parsed:?}"),
        }
    }

    #[rstest]
    #[case::copy(json!({}), "")]
    #[case::its_own_secret(json!({"type": "kubernetes.io/service-account-token"}), "a token's own Secret")]
    #[case::an_anchor(json!({"type": "jobpass.dev/anchor"}), "which is an anchor")]
    #[case::immutable(json!({"immutable": true}), "which is immutable")]
    #[case::another_key(json!({"data": {"other": "YQ=="}}), "input `key` is `token`: the Secret has no such key")]
    #[case::no_base64(json!({"data": {"token": "?"}}), "holds no base64")]
    #[case::gone(Value::Null, "which does not exist")]
    fn only_a_copy_that_may_be_changed_is_a_place(#[case] more: Value, #[case] why: &str) {
        let mut secret = json!({
            "type": "Opaque", "data": {"token": "YQ=="},
            "metadata": {"uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-11-24T10:00:00Z"},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            secret[key] = value.clone();
        }
        let secret = (!more.is_null()).then(|| serde_json::from_value(secret).expect("a Secret"));
        match copy_in(secret, "scans", "copy", "token") {
            Ok((Place::Secret { version, .. }, text)) => {
                assert_eq!((why, &*version, &**text), ("", "7", "a"));
            }
            Ok(_) => panic!("a file"),
            Err(error) => assert!(!why.is_empty() && error.to_string().contains(why), "{error}"),
        }
    }
}
