//! The new Secret. jobpass records the name of the new Secret in the old one. Then jobpass creates the new
//! Secret, and verifies the token in it. After a failure, jobpass deletes the new Secret.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core;
use kube::core::params::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    Rotation,
    earlier::{ROTATED_FROM, ROTATED_TO, from},
};
use crate::{
    anchor::{
        self, Deletion, delete_object,
        legacy::{self, ACCOUNT, LegacySecret},
    },
    claims::Claims,
    cluster::{Budget, Call, Cluster, objects, probe::is_accepted},
    error::{Error, Kind},
    refusal::RequiredPermission,
    token::Token,
};

/// The annotations and labels that jobpass does not copy to the new Secret. Kubernetes or kubectl writes
/// them, or they describe only the old Secret.
const NOT_CARRIED_OVER: [&str; 6] = [
    ROTATED_TO,
    ROTATED_FROM,
    "kubernetes.io/service-account.uid",
    "kubernetes.io/legacy-token-last-used",
    "kubernetes.io/legacy-token-invalid-since",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// The time limit for deleting the new Secret after a failure.
const CLEAN_UP: Duration = Duration::from_secs(2);
/// The time limit for an API server to accept a new token. Some replicas learn of a new Secret late.
const KNOWN: Duration = Duration::from_secs(10);

/// The outcome of this rotation's request to create the new Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Creation {
    /// This rotation has not sent the request.
    NotRequested,
    /// The API server refused the request, or never got it.
    NotDone,
    /// The API server has created the new Secret, or may still create it.
    Unknown,
    /// The API server has created the new Secret. The uid is `None` until jobpass has read the Secret.
    Done(Option<String>),
}

impl Rotation<'_> {
    /// Records the name of the new Secret in the old one, unless somebody has changed the old one since
    /// jobpass read it. With `None`, removes the record.
    pub(super) async fn record(&self, new: Option<&str>, budget: &Budget) -> Result<(), Error> {
        let mut metadata = json!({ "annotations": { ROTATED_TO: new } });
        if new.is_some() {
            metadata["resourceVersion"] = json!(self.old.secret.metadata.resource_version);
        }
        let patch = json!({ "metadata": metadata });
        let call = patch_call("record the rotation", &self.namespace, &self.old.name, patch)?;
        let answer = self.cluster.send(&call, budget).await?;
        match answer.status {
            200 => Ok(()),
            // An earlier attempt, whose answer was lost, has written the record.
            409 if answer.repeated && self.is_recorded(new, budget).await? => Ok(()),
            409 => {
                let (namespace, name) = (&self.namespace, &self.old.name);
                let what =
                    format!("somebody else changed Secret {namespace}/{name} after jobpass had read it");
                Err(Error::new(Kind::Refused, what)
                    .help("another rotation may be running: run the same command again in a moment"))
            }
            _ => Err(self.cluster.refused(&call, &answer, &self.permission())),
        }
    }

    async fn is_recorded(&self, new: Option<&str>, budget: &Budget) -> Result<bool, Error> {
        let old = LegacySecret::get(
            self.cluster,
            &self.namespace,
            &self.old.name,
            &self.permission(),
            budget,
        )
        .await?;
        Ok(old.is_some_and(|old| old.metadata.annotations.get(ROTATED_TO).map(String::as_str) == new))
    }

    /// Creates the new Secret and returns its uid. Keeps `creation` up to date, because a signal can end this
    /// function at any time.
    pub(super) async fn create(
        &self,
        new: &str,
        creation: &mut Creation,
        budget: &Budget,
    ) -> Result<String, Error> {
        let request = objects::<core::v1::Secret>(Some(&self.namespace))
            .create(&PostParams::default(), self.manifest(new).to_string().into());
        let call = Call::new("create the new Secret", request)?;
        *creation = Creation::Unknown;
        let answer = self.cluster.send(&call, budget).await.map_err(|lost| {
            if !lost.maybe_done {
                *creation = Creation::NotDone;
            }
            lost.error
        })?;
        if answer.status != 201 && !answer.is_already_exists() {
            if !answer.repeated && answer.is_refusal() {
                *creation = Creation::NotDone;
            }
            return Err(self.cluster.refused(&call, &answer, &self.permission()));
        }
        *creation = Creation::Done(None);
        // Nobody else knows the name. So an existing Secret comes from an earlier attempt whose answer was
        // lost.
        let secret =
            LegacySecret::get(self.cluster, &self.namespace, new, &self.permission(), budget).await?;
        match secret {
            Some(secret) => {
                *creation = Creation::Done(Some(secret.metadata.uid.clone()));
                Ok(secret.metadata.uid)
            }
            None => Err(Error::new(
                Kind::Refused,
                "another program deleted the new Secret right after jobpass created it",
            )
            .help(self.permission().no_secret())),
        }
    }

    /// The new Secret. It has the owners of the old one, and its labels and annotations except
    /// [`NOT_CARRIED_OVER`].
    fn manifest(&self, new: &str) -> Value {
        let metadata = &self.old.secret.metadata;
        let carried = |texts: &BTreeMap<String, String>| {
            let mut texts = texts.clone();
            texts.retain(|key, _| !NOT_CARRIED_OVER.contains(&&**key));
            texts
        };
        let mut annotations = carried(&metadata.annotations);
        annotations.insert(ACCOUNT.into(), self.account.clone());
        annotations.insert(ROTATED_FROM.into(), from(&self.old));
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": legacy::TYPE,
            "metadata": {
                "name": new, "namespace": self.namespace, "labels": carried(&metadata.labels), "annotations": annotations,
                "ownerReferences": metadata.owner_references,
            }
        })
    }

    /// Returns the token of the new Secret, once jobpass has verified its claims and the API server accepts
    /// it.
    pub(super) async fn verified(&self, new: &str, uid: &str, budget: &Budget) -> Result<Token, Error> {
        let filled = legacy::filled(
            self.cluster,
            &self.namespace,
            new,
            uid,
            &self.permission(),
            budget,
        )
        .await?;
        Claims::of_legacy_secret(&filled.token, &self.namespace, new)?.verify_legacy(
            &self.namespace,
            &self.account,
            new,
        )?;
        let holder = self.cluster.with_token(&filled.token)?;
        let known = budget.at_most(KNOWN);
        let until = tokio::time::Instant::now() + KNOWN;
        while !is_accepted(&holder, &known).await?.0 {
            if tokio::time::Instant::now() >= until {
                let help = format!(
                    "{} still holds the old token. Find out whether this cluster refuses legacy tokens",
                    self.place.in_words()
                );
                let what = "the API server does not accept the new token (401)";
                return Err(Error::new(Kind::Claims, what).help(help));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(filled.token)
    }

    /// Deletes the new Secret after `error`, if this rotation may have created the Secret.
    pub(super) async fn undo(&self, error: Error, new: &str, creation: Creation) -> Error {
        let budget = Budget::to_the_end(CLEAN_UP);
        let (uid, is_created) = match creation {
            Creation::NotRequested => return error,
            Creation::NotDone => {
                let _ = self.record(None, &budget).await;
                return error;
            }
            Creation::Unknown => (None, false),
            Creation::Done(uid) => (uid, true),
        };
        let permission = self.permission();
        let doing = "delete the new Secret";
        let deletion = delete(self.cluster, doing, new, uid.as_deref(), &permission, &budget).await;
        let namespace = &self.namespace;
        let (what, help) = match deletion {
            Ok(()) => {
                // If the outcome is unknown, the API server may still create the Secret late. The record
                // stays, so that the next rotation finds the Secret.
                if is_created {
                    let _ = self.record(None, &budget).await;
                }
                return error;
            }
            // `kubectl delete` would wait for the finalizer.
            Err(NotDeleted::Held(left)) => (
                format!("jobpass could not delete the new Secret: {}", left.message()),
                left.next_step().unwrap_or_default().to_owned(),
            ),
            Err(NotDeleted::Failed(left)) if is_created => (
                format!("jobpass could not delete the new Secret: {}", left.message()),
                format!(
                    "delete the new Secret by hand, because its token never expires:\n\n  kubectl delete \
                     secret {new} --namespace {namespace}"
                ),
            ),
            Err(NotDeleted::Failed(left)) => (
                format!(
                    "jobpass could not make sure that no new Secret is left: {}",
                    left.message()
                ),
                format!(
                    "if Secret {namespace}/{new} exists, delete it, because its token never expires:\n\n  \
                     kubectl delete secret {new} --namespace {namespace} --ignore-not-found"
                ),
            ),
        };
        let what = format!("the old token is still in place and works. {what}");
        error.and_unrevoked(&Error::new(Kind::Revoke, what).help(help))
    }
}

/// The request that patches a Secret.
pub(super) fn patch_call(
    doing: &'static str,
    namespace: &str,
    name: &str,
    patch: Value,
) -> Result<Call, Error> {
    let secrets = objects::<core::v1::Secret>(Some(namespace));
    Call::new(
        doing,
        secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)),
    )
}

/// The reason why a Secret may still exist.
pub(super) enum NotDeleted {
    /// A finalizer holds the Secret.
    Held(Error),
    /// The API server refused the deletion, or did not answer.
    Failed(Error),
}

impl From<NotDeleted> for Error {
    fn from(reason: NotDeleted) -> Self {
        match reason {
            NotDeleted::Held(error) | NotDeleted::Failed(error) => error,
        }
    }
}

/// Deletes a Secret. Succeeds also if the Secret is gone, or if another Secret (another uid) now has its name.
pub(super) async fn delete(
    cluster: &Cluster,
    doing: &'static str,
    name: &str,
    uid: Option<&str>,
    permission: &RequiredPermission<'_>,
    budget: &Budget,
) -> Result<(), NotDeleted> {
    let namespace = permission.namespace();
    let deletion = delete_object::<core::v1::Secret>(cluster, doing, namespace, name, uid, budget);
    match deletion.await.map_err(|lost| NotDeleted::Failed(lost.error))? {
        Deletion::Done | Deletion::Gone { .. } | Deletion::AnotherUid => Ok(()),
        Deletion::Held => Err(NotDeleted::Held(anchor::held(namespace, name))),
        Deletion::Refused(call, answer) => {
            Err(NotDeleted::Failed(cluster.refused(&call, &answer, permission)))
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    use rstest::rstest;

    use super::{
        super::{earlier::OldSecret, place::Place},
        *,
    };
    use crate::cluster::{
        Identity,
        scripted::{self, Fate, Log},
    };

    const OLD: &str = "PATCH /api/v1/namespaces/ci/secrets/old";
    const DELETE: &str = "DELETE /api/v1/namespaces/ci/secrets/new";

    /// A Secret of the namespace `ci`.
    fn secret(uid: &str, annotations: Value, data: Value) -> Value {
        json!({
            "kind": "Secret", "apiVersion": "v1", "type": legacy::TYPE, "data": data,
            "metadata": {
                "uid": uid, "resourceVersion": "7", "creationTimestamp": "2026-11-24T10:00:00Z",
                "labels": { "team": "a" }, "annotations": annotations,
            },
        })
    }

    fn found(uid: &str, annotations: Value) -> Fate {
        Fate::answer(200, secret(uid, annotations, json!({})).to_string())
    }

    fn rotation(cluster: &Cluster) -> Rotation<'_> {
        let annotations = json!({
            ACCOUNT: "another", ROTATED_FROM: "older/u-0", "kubernetes.io/service-account.uid": "u", "example.com/a": "b",
        });
        let old = serde_json::from_value(secret("u-1", annotations, json!({}))).expect("a Secret");
        Rotation {
            cluster,
            place: Place::Secret {
                namespace: "scans".into(),
                name: "copy".into(),
                key: "token".into(),
                version: "1".into(),
            },
            token: Token::parse("old-token", "token").expect("a token"),
            namespace: "ci".into(),
            account: "scanner".into(),
            old: OldSecret {
                name: "old".into(),
                secret: old,
            },
            earlier: None,
            filter: None,
        }
    }

    fn script(fates: impl IntoIterator<Item = Fate>) -> (Cluster, Log) {
        scripted::cluster(&Identity::default(), fates)
    }

    fn conflict() -> Fate {
        Fate::status(409, "Conflict", "secrets", "the object has been modified")
    }

    fn forbidden() -> Fate {
        Fate::status(403, "Forbidden", "secrets", "cannot patch")
    }

    fn gone() -> Fate {
        Fate::status(404, "NotFound", "secrets", "not found")
    }

    fn budget() -> Budget {
        Budget::new(Duration::from_secs(60))
    }

    /// Two rotations of one Secret would both create a successor. So the second must see the record of the
    /// first.
    #[rstest]
    #[case::recorded(vec![found("u-1", json!({}))], Ok(()))]
    #[case::by_somebody_else(vec![conflict()], Err("somebody else changed"))]
    #[case::by_an_attempt_whose_answer_was_lost(
        vec![Fate::Lost, conflict(), found("u-1", json!({ROTATED_TO: "new"}))],
        Ok(())
    )]
    #[case::by_somebody_else_after_a_lost_attempt(
        vec![Fate::Lost, conflict(), found("u-1", json!({ROTATED_TO: "theirs"}))],
        Err("somebody else changed")
    )]
    #[case::not_allowed(vec![forbidden()], Err("cannot record the rotation"))]
    #[tokio::test(start_paused = true)]
    async fn the_new_name_is_recorded_before_the_secret_is_created(
        #[case] fates: Vec<Fate>,
        #[case] expected: Result<(), &str>,
    ) {
        let (cluster, log) = script(fates);
        let recorded = rotation(&cluster).record(Some("new"), &budget()).await;
        match (recorded, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(why)) => assert!(error.message().contains(why), "{error}"),
            (recorded, expected) => panic!("{recorded:?} instead of {expected:?}"),
        }
        let (line, body) = log.requests().swap_remove(0);
        assert_eq!(line, OLD);
        // Without the resourceVersion, the API server would overwrite another rotation's record.
        assert!(body.contains(r#""resourceVersion":"7""#), "{body}");
    }

    fn done(uid: &str) -> Creation {
        Creation::Done(Some(uid.to_owned()))
    }

    /// If jobpass later fails, it must know whether a Secret with a token can exist.
    #[rstest]
    #[case::created(vec![Fate::answer(201, "{}"), found("u-2", json!({}))], Ok("u-2"), done("u-2"))]
    #[case::by_an_attempt_whose_answer_was_lost(
        vec![Fate::Lost, Fate::status(409, "AlreadyExists", "secrets", "exists"), found("u-2", json!({}))],
        Ok("u-2"),
        done("u-2")
    )]
    #[case::deleted_at_once(
        vec![Fate::answer(201, "{}"), gone()],
        Err("deleted the new Secret right after jobpass created it"),
        Creation::Done(None)
    )]
    #[case::not_readable(
        vec![Fate::answer(201, "{}"), forbidden()],
        Err("403"),
        Creation::Done(None)
    )]
    #[case::not_allowed(vec![forbidden()], Err("cannot create the new Secret"), Creation::NotDone)]
    #[case::not_allowed_after_a_lost_attempt(
        vec![Fate::Lost, forbidden()],
        Err("cannot create the new Secret"),
        Creation::Unknown
    )]
    #[case::refused_by_a_proxy(
        vec![Fate::answer(403, "<html>")],
        Err("cannot create the new Secret"),
        Creation::Unknown
    )]
    #[tokio::test(start_paused = true)]
    async fn the_new_secret_is_known_by_its_uid(
        #[case] fates: Vec<Fate>,
        #[case] expected: Result<&str, &str>,
        #[case] known: Creation,
    ) {
        let (cluster, _) = script(fates);
        let mut creation = Creation::NotRequested;
        let created = rotation(&cluster).create("new", &mut creation, &budget()).await;
        match (created, expected) {
            (Ok(uid), Ok(expected)) => assert_eq!(uid, expected),
            (Err(error), Err(why)) => assert!(error.message().contains(why), "{error}"),
            (created, expected) => panic!("{created:?} instead of {expected:?}"),
        }
        assert_eq!(creation, known);
    }

    #[test]
    fn the_new_secret_takes_over_what_people_wrote_on_the_old_one() {
        let (cluster, _) = script([gone()]);
        let manifest = rotation(&cluster).manifest("new");
        let metadata = &manifest["metadata"];
        assert_eq!(metadata["labels"], json!({ "team": "a" }));
        let annotations = json!({ ACCOUNT: "scanner", ROTATED_FROM: "old/u-1", "example.com/a": "b" });
        assert_eq!(metadata["annotations"], annotations);
    }

    /// Builds a legacy token of this Secret, and the API server's answer with the Secret.
    fn filled(secret_name: &str) -> (String, Fate) {
        let claims = json!({
            "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ci:scanner",
            "kubernetes.io/serviceaccount/namespace": "ci", "kubernetes.io/serviceaccount/secret.name": secret_name,
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.c2ln", part(&json!({})), part(&claims));
        let data = json!({ "token": STANDARD.encode(&token) });
        let fate = Fate::answer(200, secret("u-2", json!({}), data).to_string());
        (token, fate)
    }

    fn unauthorized() -> Fate {
        Fate::status(401, "Unauthorized", "", "Unauthorized")
    }

    /// Some API servers learn of a new Secret late. jobpass never sends a token that belongs to another
    /// Secret.
    #[rstest]
    #[case::at_once("new", vec![Fate::answer(200, "{}")], Ok(2))]
    #[case::late("new", vec![unauthorized(), unauthorized(), Fate::answer(200, "{}")], Ok(4))]
    #[case::never("new", vec![unauthorized()], Err((Kind::Claims, "does not accept the new token")))]
    #[case::of_a_gateway("new", vec![Fate::answer(401, "<html>")], Err((Kind::Unreachable, "cannot ask whether the token works")))]
    #[case::of_another_secret("other", vec![], Err((Kind::Claims, "does not hold the token that jobpass requested")))]
    #[tokio::test(start_paused = true)]
    async fn a_token_is_written_only_once_it_works(
        #[case] secret_name: &str,
        #[case] answers: Vec<Fate>,
        #[case] expected: Result<usize, (Kind, &str)>,
    ) {
        let (token, fate) = filled(secret_name);
        let (cluster, log) = script([fate].into_iter().chain(answers));
        let started = tokio::time::Instant::now();
        match (
            rotation(&cluster).verified("new", "u-2", &budget()).await,
            expected,
        ) {
            (Ok(verified), Ok(requests)) => {
                assert_eq!((verified.expose(), log.lines().len()), (&*token, requests));
            }
            (Err(error), Err((kind, why))) => {
                assert_eq!(error.kind(), kind, "{error}");
                assert!(error.message().contains(why), "{error}");
            }
            (verified, expected) => panic!("{:?} instead of {expected:?}", verified.map(|_| ())),
        }
        assert!(started.elapsed() <= KNOWN + Duration::from_secs(1));
    }

    /// jobpass removes the record in the old Secret only if no new Secret can appear any more. Otherwise the
    /// record lets the next rotation find a Secret that appears late.
    #[rstest]
    #[case::not_requested(Creation::NotRequested, vec![], &[])]
    #[case::not_created(Creation::NotDone, vec![], &[OLD])]
    #[case::perhaps_created(Creation::Unknown, vec![gone()], &[DELETE])]
    #[case::created(Creation::Done(None), vec![Fate::answer(200, "{}")], &[DELETE, OLD])]
    #[case::created_with_a_known_uid(done("u-2"), vec![Fate::answer(200, "{}")], &[DELETE, OLD])]
    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_new_secret_is_deleted(
        #[case] creation: Creation,
        #[case] fates: Vec<Fate>,
        #[case] requests: &[&str],
    ) {
        let (cluster, log) = script(fates.into_iter().chain([Fate::answer(200, "{}")]));
        let error = rotation(&cluster)
            .undo(Error::new(Kind::Refused, "it failed"), "new", creation)
            .await;
        assert_eq!(
            (error.kind(), error.message(), error.next_step()),
            (Kind::Refused, "it failed", None)
        );
        assert_eq!(log.lines(), requests);
    }

    /// The API server's answer to the deletion of a Secret that a finalizer holds.
    fn marked() -> Fate {
        let secret = json!({
            "kind": "Secret", "apiVersion": "v1",
            "metadata": { "name": "new", "uid": "u-2", "deletionTimestamp": "2026-11-24T10:00:00Z" },
        });
        Fate::answer(200, secret.to_string())
    }

    const BY_HAND: &str = "kubectl delete secret new --namespace ci";
    const IF_IT_EXISTS: &str = "kubectl delete secret new --namespace ci --ignore-not-found";
    const FINALIZER: &str =
        "kubectl get secret new --namespace ci --output jsonpath='{.metadata.finalizers}'";

    /// The token of the new Secret never expires. So if the new Secret may exist, jobpass exits with the code
    /// for a token that is not revoked.
    #[rstest]
    #[case::created(
        done("u-2"),
        forbidden(),
        "could not delete the new Secret: cannot delete the new",
        BY_HAND
    )]
    #[case::not_readable(
        Creation::Done(None),
        forbidden(),
        "could not delete the new Secret: ",
        BY_HAND
    )]
    #[case::perhaps_created(
        Creation::Unknown,
        forbidden(),
        "could not make sure that no new",
        IF_IT_EXISTS
    )]
    #[case::held(done("u-2"), marked(), "new Secret: Secret ci/new still exists: ", FINALIZER)]
    #[case::perhaps_created_and_held(Creation::Unknown, marked(), "Secret ci/new still exists: ", FINALIZER)]
    #[tokio::test(start_paused = true)]
    async fn a_new_secret_that_stays_is_named_with_the_command_that_helps(
        #[case] creation: Creation,
        #[case] fate: Fate,
        #[case] what: &str,
        #[case] command: &str,
    ) {
        let (cluster, log) = script([fate]);
        let error = rotation(&cluster)
            .undo(Error::new(Kind::Refused, "it failed"), "new", creation)
            .await;
        assert_eq!((error.kind(), error.message()), (Kind::Revoke, "it failed"));
        let help = error.next_step().expect("a next step");
        let works = "the old token is still in place and works. jobpass could not ";
        assert!(help.starts_with(works) && help.contains(what), "{help}");
        assert!(help.ends_with(&format!("\n\n  {command}")), "{help}");
        assert!(log.lines().iter().all(|line| line == DELETE), "{:?}", log.lines());
    }
}
