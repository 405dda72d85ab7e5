//! What an earlier rotation, which was stopped, has left behind.

use crate::{
    anchor::legacy::Secret,
    cluster::{Budget, Cluster},
    error::Error,
    names::{self, is_dns_subdomain},
    refusal::Need,
};

/// In a Secret that is replaced: the name of the new one. Written before that is created.
pub(super) const TO: &str = "jobpass.dev/rotated-to";
/// In the new one: `NAME/UID` of the one that it replaces.
pub(super) const FROM: &str = "jobpass.dev/rotated-from";

/// The Secret that is to go.
pub(super) struct Old {
    pub(super) name: String,
    pub(super) secret: Secret,
}

/// A new Secret that is there already.
#[derive(Clone)]
pub(super) enum Begun {
    /// Its token is in the place.
    Written(String),
    /// It is not, in this place.
    Made { name: String, uid: String },
}

/// Whether an earlier rotation was stopped before its end: which Secret is to go then, and which takes its place.
pub(super) async fn earlier(
    cluster: &Cluster,
    namespace: &str,
    need: &Need<'_>,
    found: Old,
    budget: &Budget,
) -> Result<(Old, Option<Begun>), Error> {
    let annotations = &found.secret.metadata.annotations;
    // The place has the new token, and the old Secret is still there.
    if let Some((name, uid)) = annotations.get(FROM).and_then(|from| from.split_once('/'))
        && is_dns_subdomain(name)
        && let Some(secret) = Secret::get(cluster, namespace, name, need, budget).await?
        && secret.metadata.uid == uid
        && secret.metadata.annotations.get(TO) == Some(&found.name)
    {
        let old = Old {
            name: name.to_owned(),
            secret,
        };
        return Ok((old, Some(Begun::Written(found.name))));
    }
    // The place has the old one, and the new Secret is there: another place may have its token already.
    if let Some(name) = annotations.get(TO).filter(|name| is_dns_subdomain(name))
        && let Some(secret) = Secret::get(cluster, namespace, name, need, budget).await?
        && secret.metadata.annotations.get(FROM) == Some(&from(&found))
    {
        let begun = Begun::Made {
            name: name.clone(),
            uid: secret.metadata.uid,
        };
        return Ok((found, Some(begun)));
    }
    Ok((found, None))
}

pub(super) fn from(old: &Old) -> String {
    format!("{}/{}", old.name, old.secret.metadata.uid)
}

/// The old name, and 80 random bits in the place of those of an earlier rotation.
pub(super) fn new_name(old: &Old) -> Result<String, Error> {
    const RANDOM: usize = 16;
    let name = &*old.name;
    let earlier = old.secret.metadata.annotations.contains_key(FROM);
    let base = name.len().checked_sub(RANDOM + 1).filter(|_| earlier);
    let base = base.and_then(|at| name.get(..at)).unwrap_or(name);
    let base = base.get(..200).unwrap_or(base).trim_end_matches(['-', '.']);
    let random = names::random_name()?;
    let random = &random[random.len() - RANDOM..];
    Ok(format!("{base}-{random}"))
}
