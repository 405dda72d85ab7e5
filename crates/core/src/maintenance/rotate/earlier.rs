//! The traces of an earlier rotation that was stopped, in the annotations of both Secrets.

use crate::{
    anchor::legacy::Secret,
    cluster::{Budget, Cluster},
    error::Error,
    names::{self, is_dns_subdomain},
    refusal::Need,
};

/// The annotation of the old Secret with the name of the new one. It is written before the new Secret is
/// created.
pub(super) const ROTATED_TO: &str = "jobpass.dev/rotated-to";
/// The annotation of the new Secret with `NAME/UID` of the old one.
pub(super) const ROTATED_FROM: &str = "jobpass.dev/rotated-from";

/// The Secret of the token that is replaced.
pub(super) struct OldSecret {
    pub(super) name: String,
    pub(super) secret: Secret,
}

/// A rotation that was stopped after it created the new Secret.
#[derive(Clone)]
pub(super) enum EarlierRotation {
    /// The token of this new Secret is in the place.
    Written(String),
    /// The old token is still in this place. Another place may already have the new one.
    Created { name: String, uid: String },
}

/// Finds the Secret to replace and an earlier rotation of it. `found` is the Secret of the token that is in
/// the place.
pub(super) async fn find(
    cluster: &Cluster,
    namespace: &str,
    need: &Need<'_>,
    found: OldSecret,
    budget: &Budget,
) -> Result<(OldSecret, Option<EarlierRotation>), Error> {
    let annotations = &found.secret.metadata.annotations;
    // The place has the new token, and the old Secret still exists.
    if let Some((name, uid)) = annotations
        .get(ROTATED_FROM)
        .and_then(|from| from.split_once('/'))
        && is_dns_subdomain(name)
        && let Some(secret) = Secret::get(cluster, namespace, name, need, budget).await?
        && secret.metadata.uid == uid
        && secret.metadata.annotations.get(ROTATED_TO) == Some(&found.name)
    {
        let old = OldSecret {
            name: name.to_owned(),
            secret,
        };
        return Ok((old, Some(EarlierRotation::Written(found.name))));
    }
    // The place has the old token, and the new Secret exists.
    if let Some(name) = annotations.get(ROTATED_TO).filter(|name| is_dns_subdomain(name))
        && let Some(secret) = Secret::get(cluster, namespace, name, need, budget).await?
        && secret.metadata.annotations.get(ROTATED_FROM) == Some(&from(&found))
    {
        let earlier = EarlierRotation::Created {
            name: name.clone(),
            uid: secret.metadata.uid,
        };
        return Ok((found, Some(earlier)));
    }
    Ok((found, None))
}

/// The value of [`ROTATED_FROM`] in the Secret that replaces `old`.
pub(super) fn from(old: &OldSecret) -> String {
    format!("{}/{}", old.name, old.secret.metadata.uid)
}

/// The name of the new Secret: the old name and 80 random bits, which replace those of an earlier rotation.
pub(super) fn new_name(old: &OldSecret) -> Result<String, Error> {
    const RANDOM: usize = 16;
    let name = &*old.name;
    let earlier = old.secret.metadata.annotations.contains_key(ROTATED_FROM);
    let base = name.len().checked_sub(RANDOM + 1).filter(|_| earlier);
    let base = base.and_then(|at| name.get(..at)).unwrap_or(name);
    let base = base.get(..200).unwrap_or(base).trim_end_matches(['-', '.']);
    let random = names::random_name()?;
    let random = &random[random.len() - RANDOM..];
    Ok(format!("{base}-{random}"))
}
