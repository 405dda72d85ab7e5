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

mod place;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Serialize;
use serde_json::{Value, json};

use self::place::{Place, Unwritten};
use crate::{
    anchor::{
        delete_call,
        legacy::{self, ACCOUNT, EXPIRATION, Secret},
    },
    claims::{Claims, LEGACY_ISSUER},
    cluster::{
        Answer, Budget, Call, Cluster, objects,
        probe::{WATCH_LAG, is_accepted},
    },
    error::{Error, Kind},
    names::{self, is_dns_subdomain},
    process::interrupt::Interrupt,
    record::receipt::Proof,
    refusal::Need,
    token::Token,
};

pub use self::place::Location;

/// In a Secret that is replaced: the name of the new one. Written before that is created.
const TO: &str = "jobpass.dev/rotated-to";
/// In the new one: `NAME/UID` of the one that it replaces.
const FROM: &str = "jobpass.dev/rotated-from";
/// What the new Secret does not take over: what Kubernetes writes itself, and what holds for the old one alone.
const OWN: [&str; 6] = [
    TO,
    FROM,
    "kubernetes.io/service-account.uid",
    "kubernetes.io/legacy-token-last-used",
    "kubernetes.io/legacy-token-invalid-since",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// All but the grace period.
pub const ROTATE: Duration = Duration::from_secs(60);
/// Writing the new token into a Secret; and so long a signal waits for that.
const WRITE: Duration = Duration::from_secs(30);
const LAST_WRITE: Duration = Duration::from_secs(2);
/// Looking whether it was written, should no answer say so.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// Deleting the new Secret again.
const CLEAN_UP: Duration = Duration::from_secs(2);
/// Deleting the old Secret, and the proof.
const DELETE: Duration = Duration::from_secs(40);
/// How long an API server may take to know a new token.
const KNOWN: Duration = Duration::from_secs(10);

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

/// The Secret that is to go.
struct Old {
    name: String,
    secret: Secret,
}

/// A new Secret that is there already.
#[derive(Clone)]
enum Begun {
    /// Its token is in the place.
    Written(String),
    /// It is not, in this place.
    Made { name: String, uid: String },
}

/// The new token is where the old one was, which still works.
pub struct Replaced<'a> {
    cluster: &'a Cluster,
    old_uid: String,
    old_token: Option<Token>,
    old_created: Timestamp,
    /// When it was to go in any case.
    old_expires: Option<Timestamp>,
    /// Whether the old Secret says so.
    retired: bool,
    /// What there is to say of it.
    pub report: Rotated,
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

    /// Notes the new name in the old Secret, if nobody has changed that since it was read; or takes the note away.
    async fn record(&self, new: Option<&str>, budget: &Budget) -> Result<(), Error> {
        let mut metadata = json!({ "annotations": { TO: new } });
        if new.is_some() {
            metadata["resourceVersion"] = json!(self.old.secret.metadata.resource_version);
        }
        let patch = json!({ "metadata": metadata });
        let call = patch_call("record the rotation", &self.namespace, &self.old.name, patch)?;
        let answer = self.cluster.send(&call, budget).await?;
        match answer.status {
            200 => Ok(()),
            // By an attempt of ours whose answer was lost.
            409 if answer.repeated && self.is_recorded(new, budget).await? => Ok(()),
            409 => {
                let (namespace, name) = (&self.namespace, &self.old.name);
                let what = format!("Secret {namespace}/{name} was changed by somebody else in the meantime");
                Err(Error::new(Kind::Refused, what)
                    .help("perhaps it is being rotated already; try again in a moment"))
            }
            _ => Err(self.cluster.refused(&call, &answer, &self.need())),
        }
    }

    async fn is_recorded(&self, new: Option<&str>, budget: &Budget) -> Result<bool, Error> {
        let old = Secret::get(
            self.cluster,
            &self.namespace,
            &self.old.name,
            &self.need(),
            budget,
        )
        .await?;
        Ok(old.is_some_and(|old| old.metadata.annotations.get(TO).map(String::as_str) == new))
    }

    async fn create(&self, new: &str, budget: &Budget) -> Result<String, Error> {
        let request = objects::<core::v1::Secret>(Some(&self.namespace))
            .create(&PostParams::default(), self.manifest(new).to_string().into());
        let call = Call::new("create the new Secret", request)?;
        let answer = self.cluster.send(&call, budget).await?;
        if answer.status != 201 && !answer.is_already_exists() {
            return Err(self.cluster.refused(&call, &answer, &self.need()));
        }
        // Nobody else knows the name: what is there already is ours, from an attempt whose answer was lost.
        let secret = Secret::get(self.cluster, &self.namespace, new, &self.need(), budget).await?;
        match secret {
            Some(secret) => Ok(secret.metadata.uid),
            None => Err(
                Error::new(Kind::Refused, "the new Secret was gone as soon as it was there")
                    .help(self.need().no_account()),
            ),
        }
    }

    fn manifest(&self, new: &str) -> Value {
        let metadata = &self.old.secret.metadata;
        let carried = |texts: &BTreeMap<String, String>| {
            let mut texts = texts.clone();
            texts.retain(|key, _| !OWN.contains(&&**key));
            texts
        };
        let mut annotations = carried(&metadata.annotations);
        annotations.insert(ACCOUNT.into(), self.account.clone());
        annotations.insert(FROM.into(), from(&self.old));
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": legacy::TYPE,
            "metadata": {
                "name": new, "namespace": self.namespace, "labels": carried(&metadata.labels), "annotations": annotations,
                "ownerReferences": metadata.owner_references,
            }
        })
    }

    /// The new token: it says what it should, and the API server takes it.
    async fn verified(&self, new: &str, uid: &str, budget: &Budget) -> Result<Token, Error> {
        let filled = legacy::filled(self.cluster, &self.namespace, new, uid, &self.need(), budget).await?;
        Claims::decode(&filled.token)?.verify_legacy(&self.namespace, &self.account, new)?;
        let holder = self.cluster.with_token(&filled.token)?;
        let known = budget.at_most(KNOWN);
        let until = tokio::time::Instant::now() + KNOWN;
        while !is_accepted(&holder, &known).await?.0 {
            if tokio::time::Instant::now() >= until {
                return Err(
                    Error::new(Kind::Claims, "the API server does not take the new token (401)").help(
                        "it was not written anywhere. Legacy tokens may be switched off in this cluster",
                    ),
                );
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(filled.token)
    }

    /// Deletes the new Secret, if it was created here: asked for, or with its uid.
    async fn undo(&self, error: Error, new: &str, created: Option<Option<String>>) -> Error {
        let Some(uid) = created else { return error };
        let budget = Budget::to_the_end(CLEAN_UP);
        let delete = async || {
            let call = delete_call(&self.namespace, new, uid.as_deref())?;
            let answer = self.cluster.send(&call, &budget).await?;
            match is_deleted(&answer) {
                true => Ok(()),
                false => Err(self.cluster.refused(&call, &answer, &self.need())),
            }
        };
        let deleted = delete().await;
        match deleted {
            Ok(()) => {
                // A Secret that is created late, after all, is taken by the next rotation.
                if uid.is_some() || error.kind() == Kind::Refused {
                    let _ = self.record(None, &budget).await;
                }
                error
            }
            Err(left) => error.help(format!(
                "the old token is where it was, and works. The new Secret could not be deleted: {}; do it by hand:\n\n  \
                 kubectl delete secret {new} --namespace {}",
                left.what(),
                self.namespace
            )),
        }
    }
}

impl Replaced<'_> {
    /// Says in the old Secret that it is to go when the grace period is over, so that `jobpass sweep` deletes it if this process
    /// does not live that long. Gives how long to wait: less, if it was to go before.
    ///
    /// # Errors
    /// If that cannot be written.
    pub async fn retire(&mut self, grace: Duration) -> Result<Duration, Error> {
        let Rotated {
            namespace,
            service_account,
            old,
            new,
            ..
        } = &self.report;
        let budget = Budget::new(ROTATE);
        let holder = self.cluster;
        let (_, now) = is_accepted(holder, &budget)
            .await
            .map_err(|error| self.unfinished(&error))?;
        let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
        let end = now.checked_add(grace).unwrap_or(Timestamp::MAX);
        let end = self.old_expires.map_or(end, |expires| expires.min(end)).max(now);
        let seconds = end.duration_since(self.old_created).as_secs().max(1);
        // With the name once more: it may have been taken away in between.
        let patch = json!({ "metadata": { "annotations": { EXPIRATION: seconds.to_string(), TO: new } } });
        let call = patch_call("say in the old Secret when it goes", namespace, old, patch)
            .map_err(|error| self.unfinished(&error))?;
        let answer = self.cluster.send(&call, &budget).await;
        let answer = answer.map_err(|lost| self.unfinished(&lost.error))?;
        match answer.status {
            200 => {
                self.retired = true;
                Ok(Duration::try_from(end.duration_since(now)).unwrap_or_default())
            }
            404 if answer.is_secret_not_found() => Ok(Duration::ZERO),
            _ => {
                let need = Need::rotating(namespace, service_account);
                Err(self.unfinished(&self.cluster.refused(&call, &answer, &need)))
            }
        }
    }

    /// Deletes the old Secret, and asks once whether its token is dead.
    ///
    /// # Errors
    /// If it may still be there.
    pub async fn finish(&mut self) -> Result<(), Error> {
        let Rotated {
            namespace,
            service_account,
            old,
            ..
        } = &self.report;
        let budget = Budget::new(DELETE);
        let call =
            delete_call(namespace, old, Some(&self.old_uid)).map_err(|error| self.unfinished(&error))?;
        let answer = self.cluster.send(&call, &budget).await;
        let answer = answer.map_err(|lost| self.unfinished(&lost.error))?;
        if !is_deleted(&answer) {
            let need = Need::rotating(namespace, service_account);
            return Err(self.unfinished(&self.cluster.refused(&call, &answer, &need)));
        }
        let accepted = match &self.old_token {
            Some(token) => {
                tokio::time::sleep(WATCH_LAG).await;
                is_accepted(&self.cluster.with_token(token)?, &budget).await.ok()
            }
            None => None,
        };
        self.report.proof = Some(match accepted {
            Some((false, _)) => Proof::Unauthorized,
            _ => Proof::AnchorGone,
        });
        Ok(())
    }

    /// A failure once the new token is in place.
    pub fn unfinished(&self, error: &Error) -> Error {
        let Rotated {
            namespace,
            old,
            place,
            ..
        } = &self.report;
        let kind = match error.kind() {
            kind @ (Kind::Interrupted | Kind::Terminated) => kind,
            _ => Kind::Revoke,
        };
        let what = format!(
            "the new token is in {place}, but the old one still works: {}",
            error.what()
        );
        let unfinished = Error::new(kind, what);
        let unfinished = match error.next_step() {
            Some(help) => unfinished.help(help),
            None => unfinished,
        };
        let sweep = match self.retired {
            true => "; so does `jobpass sweep`, once it is to go",
            false => "",
        };
        unfinished.help(format!(
            "the same command again goes on from here, and deletes the old Secret{sweep}; or by hand:\n\n  \
             kubectl delete secret {old} --namespace {namespace}"
        ))
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

/// Whether an earlier rotation was stopped before its end: which Secret is to go then, and which takes its place.
async fn earlier(
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

fn from(old: &Old) -> String {
    format!("{}/{}", old.name, old.secret.metadata.uid)
}

/// The old name, and 80 random bits in the place of those of an earlier rotation.
fn new_name(old: &Old) -> Result<String, Error> {
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

fn patch_call(doing: &'static str, namespace: &str, name: &str, patch: Value) -> Result<Call, Error> {
    let secrets = objects::<core::v1::Secret>(Some(namespace));
    Call::new(
        doing,
        secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)),
    )
}

/// Or gone already, or another's by now.
fn is_deleted(answer: &Answer) -> bool {
    matches!(answer.status, 200 | 202) || answer.is_secret_not_found() || answer.is_uid_mismatch()
}
