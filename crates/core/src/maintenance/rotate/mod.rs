//! Rotating a legacy token: another one takes its place wherever it is used from, then its Secret is deleted.
//!
//! ```text
//! read the place -> find the Secret -> record the new name in it -> create the new Secret -> verify its token
//!     -> write it into the place -> say when the old one goes -> (grace) -> delete the old Secret
//! ```
//!
//! The new Secret has a new name: put into one of the same name, the token controller's token would be the same, as it
//! signs the same claims without any time in them. All that is known is in the cluster, in annotations of both Secrets,
//! so that a rotation that was stopped anywhere goes on when it is begun again.

mod earlier;
mod file;
mod place;
mod retire;
mod successor;

use std::time::Duration;

use serde::Serialize;

use self::{
    earlier::{Begun, Old, earlier, new_name},
    place::{Place, Unwritten},
};
use crate::{
    anchor::legacy::{self, EXPIRATION, Secret},
    claims::{Claims, LEGACY_ISSUER},
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    names::{self, is_dns_subdomain},
    process::interrupt::Interrupt,
    record::receipt::Proof,
    refusal::Need,
    token::Token,
};

pub use self::{place::Location, retire::Replaced};

/// All but the grace period.
pub const ROTATE: Duration = Duration::from_secs(60);
/// Writing the new token into a Secret; and so long a signal waits for that.
const WRITE: Duration = Duration::from_secs(30);
const LAST_WRITE: Duration = Duration::from_secs(2);
/// Looking whether it was written, should no answer say so.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// A rotation, known to be possible. Nothing was changed yet.
pub struct Rotation<'a> {
    cluster: &'a Cluster,
    place: Place,
    token: Token,
    namespace: String,
    account: String,
    old: Old,
    /// The new Secret, if an earlier rotation was stopped before it deleted the old one.
    begun: Option<Begun>,
}

/// What became of both.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rotated {
    /// The namespace of both Secrets and of the ServiceAccount.
    pub namespace: String,
    /// Whom the tokens speak for.
    pub service_account: String,
    /// The old Secret.
    pub old: String,
    /// The new Secret.
    pub new: String,
    /// Location the new token is.
    pub place: String,
    /// Whether an earlier rotation, which was stopped, had made it.
    pub resumed: bool,
    /// What is known about the old token.
    pub proof: Option<Proof>,
}

impl<'a> Rotation<'a> {
    /// Finds out whose token is there, and whether another can take its place.
    ///
    /// # Errors
    /// If there is none, or none of a legacy Secret that `cluster` has and this identity may read.
    pub async fn prepare(cluster: &'a Cluster, location: &Location, budget: &Budget) -> Result<Self, Error> {
        let (place, token) = Place::read(location, cluster, budget).await?;
        let claims = Claims::decode(&token)?;
        let (namespace, account, name) = parts(&claims, &place)?;
        let need = Need::rotating(&namespace, &account);
        let secret = Secret::get(cluster, &namespace, &name, &need, budget).await?;
        let Some(secret) = secret else {
            let what = format!(
                "the Secret of this token, {namespace}/{name}, is not there: the token is revoked, or another cluster's"
            );
            return Err(Error::new(Kind::Refused, what).help(
                "there is nothing to rotate. If the cluster is the right one, make a new Secret by hand, and put its token into the place",
            ));
        };
        let same = secret
            .value(legacy::KEY)
            .is_ok_and(|text| text.trim() == token.expose());
        if secret.secret_type != legacy::TYPE || !same {
            let what = format!(
                "Secret {namespace}/{name} holds another token than the one in {}",
                place.in_words()
            );
            return Err(Error::new(Kind::Claims, what).help(
                "the token is altered, forged, or another cluster's: `jobpass inspect --verify` says which",
            ));
        }
        if names::is_ours(&name) && secret.metadata.annotations.contains_key("jobpass.dev/platform") {
            let what = format!("Secret {namespace}/{name} belongs to a job, which revokes it when it ends");
            return Err(Error::new(Kind::Input, what)
                .help("nothing needs to be rotated there: each job mints its own"));
        }
        let (old, begun) = earlier(cluster, &namespace, &need, Old { name, secret }, budget).await?;
        Ok(Self {
            cluster,
            place,
            token,
            namespace,
            account,
            old,
            begun,
        })
    }

    /// Makes a new token and puts it where the old one is. Either that succeeds, or the old one is still there and works, and
    /// no second one is.
    ///
    /// # Errors
    /// Whatever went wrong first; if the new Secret could not be deleted again, that too, with the command to do it by hand.
    pub async fn replace(self, interrupt: &mut Interrupt) -> Result<Replaced<'a>, Error> {
        let (new, made, resumed) = match self.begun.clone() {
            Some(Begun::Written(name)) => return Ok(self.replaced(name, true)),
            Some(Begun::Made { name, uid }) => (name, Some(uid), true),
            None => (new_name(&self.old)?, None, false),
        };
        let budget = Budget::new(ROTATE);
        let mut created = None;
        let work = async {
            let uid = match made {
                Some(uid) => uid,
                None => {
                    self.record(Some(&new), &budget).await?;
                    // Asked for from here on.
                    created = Some(None);
                    let uid = self.create(&new, &budget).await?;
                    created = Some(Some(uid.clone()));
                    uid
                }
            };
            self.verified(&new, &uid, &budget).await
        };
        let token = tokio::select! {
            biased;
            interrupted = interrupt.wait() => Err(interrupted),
            token = work => token,
        };
        let mut told = None;
        let written = match &token {
            Ok(token) => {
                let budget = Budget::new(WRITE);
                let mut write = std::pin::pin!(self.place.write(&self.token, token, self.cluster, &budget));
                tokio::select! {
                    written = &mut write => written,
                    // Half done, nobody would know what is there.
                    interrupted = interrupt.wait() => {
                        told = Some(interrupted.clone());
                        let written = tokio::time::timeout(LAST_WRITE, write).await;
                        written.unwrap_or(Err(Unwritten::Perhaps(interrupted)))
                    }
                }
            }
            Err(error) => Err(Unwritten::No(error.clone())),
        };
        match written {
            Ok(()) => {
                let replaced = self.replaced(new, resumed);
                match told {
                    Some(interrupted) => Err(replaced.unfinished(&interrupted)),
                    None => Ok(replaced),
                }
            }
            Err(Unwritten::No(error)) => Err(self.undo(error, &new, created).await),
            Err(Unwritten::Perhaps(error)) => Err(error.help(format!(
                "nobody knows whether the new token was written; so both work, that of Secret {0}/{1} and that of {0}/{new}. The same \
                 command again goes on from here",
                self.namespace, self.old.name
            ))),
        }
    }

    fn replaced(self, new: String, resumed: bool) -> Replaced<'a> {
        let metadata = &self.old.secret.metadata;
        let created = metadata.creation_timestamp;
        let lifetime = metadata
            .annotations
            .get(EXPIRATION)
            .and_then(|text| legacy::expiration(text));
        let token = self.old.secret.value(legacy::KEY).ok();
        Replaced {
            cluster: self.cluster,
            old_uid: metadata.uid.clone(),
            old_token: token.and_then(|text| Token::parse(&text, legacy::KEY).ok()),
            old_created: created,
            retired: lifetime.is_some(),
            old_expires: lifetime.and_then(|lifetime| created.checked_add(lifetime).ok()),
            report: Rotated {
                namespace: self.namespace,
                service_account: self.account,
                old: self.old.name,
                new,
                place: self.place.in_words(),
                resumed,
                proof: None,
            },
        }
    }

    fn need(&self) -> Need<'_> {
        Need::rotating(&self.namespace, &self.account)
    }
}

/// Namespace, ServiceAccount and Secret of a legacy token.
fn parts(claims: &Claims, place: &Place) -> Result<(String, String, String), Error> {
    let no_legacy = || {
        let what = format!("the token in {} is no legacy token", place.in_words());
        Error::new(Kind::Input, what).help(
            "it is not from a Secret of type kubernetes.io/service-account-token, so there is nothing to rotate: others expire by \
             themselves; `jobpass inspect` shows when",
        )
    };
    if claims.iss.as_deref() != Some(LEGACY_ISSUER) {
        return Err(no_legacy());
    }
    let subject = claims
        .sub
        .as_deref()
        .and_then(|sub| sub.strip_prefix("system:serviceaccount:"));
    let (namespace, account) = subject
        .and_then(|names| names.split_once(':'))
        .ok_or_else(no_legacy)?;
    let secret = claims.legacy_secret.as_deref().unwrap_or_default();
    let same = claims.is_of_secret(namespace, secret);
    if !same || ![namespace, account, secret].into_iter().all(is_dns_subdomain) {
        return Err(no_legacy());
    }
    Ok((namespace.to_owned(), account.to_owned(), secret.to_owned()))
}
