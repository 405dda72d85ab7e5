//! The rotation of a legacy token. A new token replaces the old one in the file or Secret that its users
//! read. Then jobpass deletes the Secret of the old token.
//!
//! ```text
//! read the place -> find the Secret -> record the new name in it -> create the new Secret
//!     -> verify its token -> write the token into the place -> set the expiry of the old Secret
//!     -> (grace) -> delete the old Secret
//! ```
//!
//! The new Secret has a new name. For a Secret of the same name, the token controller would issue a token
//! with the same claims, because a legacy token has no time of issue. Signed with an RSA key, even the token
//! would be the same.
//!
//! Annotations of both Secrets record the progress. If a rotation is interrupted, the same command continues
//! it.

mod earlier;
mod file;
mod place;
mod retire;
mod successor;

use std::time::Duration;

use serde::Serialize;

use self::{
    earlier::{EarlierRotation, OldSecret, new_name},
    place::{Place, WriteFailure},
    successor::Creation,
};
use crate::{
    anchor::legacy::{self, EXPIRATION, LegacySecret},
    claims::Claims,
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    names::{self, is_dns_subdomain},
    process::interrupt::Interrupt,
    record::{filter::FilterJournal, receipt::Proof},
    refusal::RequiredPermission,
    token::Token,
};

pub use self::{place::Location, retire::Replaced};

/// The time limit for creating and verifying the new token. Setting the expiry of the old Secret has a limit
/// of the same length.
pub const ROTATE: Duration = Duration::from_secs(60);
/// The time limit for writing the new token over the old one.
const WRITE: Duration = Duration::from_secs(30);
/// The time that a write gets to finish after a signal.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// The time limit for another look at a Secret with a copy of the token, if jobpass does not know whether it
/// wrote the new token there.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// A rotation that can go ahead: jobpass has read everything that it needs, and changed nothing yet.
pub struct Rotation<'a> {
    cluster: &'a Cluster,
    place: Place,
    token: Token,
    namespace: String,
    account: String,
    old: OldSecret,
    /// The interrupted rotation that this one continues, if there is one.
    earlier: Option<EarlierRotation>,
    /// The journal of the filter that masks the output of this process.
    filter: Option<FilterJournal>,
}

/// The report of a rotation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rotated {
    /// The namespace of the old Secret, of the new Secret and of the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount of the old token and of the new one.
    pub service_account: String,
    /// The name of the Secret of the old token.
    pub old: String,
    /// The name of the Secret of the new token.
    pub new: String,
    /// The file or Secret that holds the new token, in words.
    pub place: String,
    /// Whether this rotation continued an interrupted one, which had created the new Secret.
    pub resumed: bool,
    /// The proof that the old token is dead. `None` before [`Replaced::finish`].
    pub proof: Option<Proof>,
}

impl<'a> Rotation<'a> {
    /// Reads the token at `location`. Finds the token's Secret, and an earlier rotation of that Secret. Tells
    /// `filter` about the token.
    ///
    /// # Errors
    /// If there is no token at `location`, or if jobpass cannot replace that token. If no legacy Secret of
    /// `cluster` contains the token, or if the Secret belongs to a job. Also if the API server does not
    /// answer, if the credential of `cluster` lacks the permission to read a Secret, or if jobpass cannot
    /// write to the journal of `filter`.
    pub async fn prepare(
        cluster: &'a Cluster,
        location: &Location,
        filter: Option<FilterJournal>,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let (place, token) = Place::read(location, cluster, budget).await?;
        if let Some(filter) = &filter {
            // An interrupted rotation may have written this token, so the filter may never have seen it.
            filter.announce(&token)?;
        }
        let claims = Claims::decode(&token).ok();
        let names = claims.as_ref().and_then(names_in);
        let (namespace, account, name) = names.ok_or_else(|| not_legacy(&place))?;
        let permission = RequiredPermission::rotating(&namespace, &account);
        let secret = LegacySecret::get(cluster, &namespace, &name, &permission, budget).await?;
        let Some(secret) = secret else {
            let what = format!(
                "the Secret of this token, {namespace}/{name}, does not exist: the token is revoked, or \
                 belongs to another cluster"
            );
            return Err(Error::new(Kind::Refused, what).help(
                "check the kubeconfig. If it names the right cluster, create a new Secret by hand, and \
                 replace the old token by the token of that Secret",
            ));
        };
        let same = secret
            .value(legacy::KEY)
            .is_ok_and(|text| text.trim() == token.expose());
        if secret.secret_type != legacy::TYPE || !same {
            let what = format!(
                "Secret {namespace}/{name} does not hold the token that is in {}",
                place.in_words()
            );
            return Err(Error::new(Kind::Claims, what).help(
                "the token is revoked, altered or forged, or it belongs to another cluster. Check the \
                 kubeconfig. If it names the right cluster, somebody may have created the Secret again: \
                 write the token that the Secret holds now to that place",
            ));
        }
        if names::is_ours(&name) && secret.metadata.annotations.contains_key("jobpass.dev/platform") {
            let what = format!(
                "Secret {namespace}/{name} belongs to a job: jobpass deletes this Secret when the job ends"
            );
            return Err(Error::new(Kind::Input, what).help("do not rotate it: each job mints its own token"));
        }
        let read = async |name: &str| LegacySecret::get(cluster, &namespace, name, &permission, budget).await;
        let (old, earlier) = earlier::find(OldSecret { name, secret }, read).await?;
        Ok(Self {
            cluster,
            place,
            token,
            namespace,
            account,
            old,
            earlier,
            filter,
        })
    }

    /// Creates a new token, and writes it over the old one. Leaves out the steps that an interrupted rotation
    /// has done. After a failure, the old token still works. jobpass deletes the new Secret if this call
    /// created it and its token is certainly not in the place.
    ///
    /// # Errors
    /// The first failure, or the signal that stopped the rotation. If the new Secret may be left, the error
    /// says how to remove it.
    pub async fn replace(self, interrupt: &mut Interrupt) -> Result<Replaced<'a>, Error> {
        let (new, existing, resumed) = match self.earlier.clone() {
            Some(EarlierRotation::Written(name)) => return Ok(self.replaced(name, true)),
            Some(EarlierRotation::Created { name, uid }) => (name, Some(uid), true),
            None => (new_name(&self.old)?, None, false),
        };
        let budget = Budget::new(ROTATE);
        let mut creation = Creation::NotRequested;
        let work = async {
            let uid = match existing {
                Some(uid) => uid,
                None => {
                    self.record(Some(&new), &budget).await?;
                    self.create(&new, &mut creation, &budget).await?
                }
            };
            self.verified(&new, &uid, &budget).await
        };
        let token = tokio::select! {
            biased;
            interrupted = interrupt.wait() => Err(interrupted),
            token = work => token,
        };
        let token = token.and_then(|token| match &self.filter {
            Some(filter) => filter.announce(&token).map(|()| token),
            None => Ok(token),
        });
        let mut signal = None;
        let written = match &token {
            Ok(token) => {
                let budget = Budget::new(WRITE);
                let mut write = std::pin::pin!(self.place.write(&self.token, token, self.cluster, &budget));
                tokio::select! {
                    written = &mut write => written,
                    // The write gets time to finish. If jobpass stopped it halfway, nobody would know which
                    // token is in the place.
                    interrupted = interrupt.wait() => {
                        signal = Some(interrupted.clone());
                        let written = tokio::time::timeout(LAST_WRITE, write).await;
                        written.unwrap_or(Err(WriteFailure::Unknown(interrupted)))
                    }
                }
            }
            Err(error) => Err(WriteFailure::Unchanged(error.clone())),
        };
        match written {
            Ok(()) => {
                let replaced = self.replaced(new, resumed);
                match signal {
                    Some(interrupted) => Err(replaced.unfinished(&interrupted)),
                    None => Ok(replaced),
                }
            }
            Err(WriteFailure::Unchanged(error)) => Err(self.undo(error, &new, creation).await),
            Err(WriteFailure::Unknown(error)) => Err(error.help(format!(
                "jobpass cannot tell whether it wrote the new token. So the tokens of Secret {0}/{1} and of \
                 Secret {0}/{new} both work. Run the same command again: it continues from here",
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

    fn permission(&self) -> RequiredPermission<'_> {
        RequiredPermission::rotating(&self.namespace, &self.account)
    }
}

/// The namespace, the ServiceAccount and the Secret of a legacy token. `None` if the token is not a legacy
/// token.
fn names_in(claims: &Claims) -> Option<(String, String, String)> {
    let subject = claims.sub.as_deref()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, account) = subject.split_once(':')?;
    let secret = claims.legacy_secret.as_deref()?;
    let is_legacy = claims.is_of_secret(namespace, secret)
        && [namespace, account, secret].into_iter().all(is_dns_subdomain);
    is_legacy.then(|| (namespace.to_owned(), account.to_owned(), secret.to_owned()))
}

fn not_legacy(place: &Place) -> Error {
    let what = format!("the token in {} is not a legacy token", place.in_words());
    Error::new(Kind::Input, what).help(
        "only the token of a Secret of type kubernetes.io/service-account-token needs rotation. Tokens \
         from a TokenRequest expire: `jobpass inspect` shows when",
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::legacy("sub", json!("system:serviceaccount:ci:scanner"), true)]
    #[case::user("sub", json!("jane"), false)]
    #[case::no_account("sub", json!("system:serviceaccount:ci"), false)]
    #[case::another_namespace("sub", json!("system:serviceaccount:default:scanner"), false)]
    #[case::bound("iss", json!("https://kubernetes.default.svc"), false)]
    #[case::no_secret("kubernetes.io/serviceaccount/secret.name", Value::Null, false)]
    #[case::a_path("kubernetes.io/serviceaccount/secret.name", json!("../pods"), false)]
    fn only_a_legacy_token_names_its_secret(#[case] claim: &str, #[case] value: Value, #[case] legacy: bool) {
        let mut claims = json!({
            "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ci:scanner",
            "kubernetes.io/serviceaccount/namespace": "ci", "kubernetes.io/serviceaccount/secret.name": "scanner-token",
        });
        claims[claim] = value;
        let claims = serde_json::from_value::<Claims>(claims).expect("claims");
        let names = ("ci".to_owned(), "scanner".to_owned(), "scanner-token".to_owned());
        assert_eq!(names_in(&claims), legacy.then_some(names));
    }
}
