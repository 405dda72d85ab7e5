//! The deletion of a set-up: of the objects that `setup` made for it, and of the anchors of its jobs. jobpass
//! deletes no other objects.
//!
//! The minters lose their permissions first, while the policies still limit them.

use futures_util::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::{
    Resource as _,
    api::{
        batch::v1::CronJob,
        core::v1::Namespace,
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRoleBinding, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::params::{DeleteParams, Preconditions};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Grant, Setup, SetupObject,
    apply::OTHER_SERVERS,
    loss,
    manifests::example_of,
    object::{Outcome, all, for_kubectl},
    separation::is_of_setup,
};
use crate::{
    anchor::{
        Deletion, delete, held,
        list::{ListedAnchor, Pages},
    },
    cluster::{Budget, Call, Cluster, Scope},
    error::{Error, Kind},
    inputs::subject::SWEEPER,
    names::MANAGED_BY,
};

/// The administrator's consent to a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Change nothing, and report the objects that a deletion would delete. `revoke` is `true` if that
    /// deletion would revoke the tokens of jobs. Otherwise, a job with a token makes the dry run fail, as it
    /// makes the deletion fail.
    DryRun {
        /// Whether the deletion would revoke the tokens of jobs.
        revoke: bool,
    },
    /// Delete the objects, unless a token of the set-up may still work.
    NoTokens,
    /// Delete the objects, and revoke the tokens of jobs.
    Revoke,
}

impl Consent {
    /// Whether jobpass changes nothing.
    pub fn is_dry_run(self) -> bool {
        matches!(self, Self::DryRun { .. })
    }

    /// Whether the deletion may revoke the tokens of jobs. For a dry run: whether the real deletion may do
    /// so.
    fn revokes(self) -> bool {
        match self {
            Self::DryRun { revoke } => revoke,
            Self::NoTokens => false,
            Self::Revoke => true,
        }
    }
}

/// The fate of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// jobpass deleted the object, or would delete it without `DryRun`.
    Deleted,
    /// The object does not exist.
    Missing,
    /// The object stays, for this reason.
    Kept(String),
}

/// An object of the set-up or an anchor, and its fate.
pub struct Removal {
    /// The kind, such as `Role`. For an anchor, `anchor`.
    pub kind: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The fate.
    pub fate: Fate,
}

impl Setup {
    /// Deletes the objects of the set-up, and the anchors of its jobs. Reports each of them.
    ///
    /// # Errors
    /// If a token of the set-up may still work and `consent` does not cover revoking it. If somebody else may
    /// have made the RoleBinding of the minters: jobpass would leave it, and no policy would limit the
    /// minters any more. If the RoleBinding in the cluster binds a minter that this set-up does not name. In
    /// these cases, jobpass deletes nothing. Also if the API server does not answer, or refuses a request, or
    /// if `report` fails.
    pub async fn delete(
        &self,
        cluster: &Cluster,
        budget: &Budget,
        consent: Consent,
        mut report: impl FnMut(Removal) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let objects = self.objects()?;
        let found = try_join_all(objects.iter().map(|object| object.found(cluster, budget))).await?;
        let mut bindings = all::<RoleBinding, Binding>(cluster, budget).await?;
        bindings.extend(all::<ClusterRoleBinding, Binding>(cluster, budget).await?);
        let fates = self.fates(&objects, &found, &bindings);
        self.refuse_foreign_bindings(&objects, &fates)?;
        loss::refuse_deletion(self, &objects, &found)?;
        let unnamed = [
            self.unnamed_example(&bindings),
            self.unnamed_sweeper(cluster, budget).await,
        ];
        let anchors = self.anchors_of_jobs(cluster).await?;
        let live = anchors.iter().filter(|anchor| is_live(anchor)).count();
        if live > 0 && !consent.revokes() {
            return Err(self.tokens_left(live));
        }

        // The reverse of the order in which setup applies the objects: the RoleBindings of the minters come
        // first.
        let mut all = objects.iter().zip(&found).zip(&fates).rev().peekable();
        let mut unbound = false;
        while let Some(((object, found), fate)) = all.next_if(|((object, _), _)| self.binds_minters(object)) {
            if !consent.is_dry_run() {
                unbound |= remove(object, found.as_ref(), fate, cluster, budget).await?;
            }
            report(Removal::of(object, fate))?;
        }
        if unbound {
            sleep(OTHER_SERVERS).await;
        }
        // A minter may have minted another token before it lost its permissions.
        let anchors = match consent {
            Consent::DryRun { .. } => anchors,
            Consent::NoTokens | Consent::Revoke => self.anchors_of_jobs(cluster).await?,
        };
        for anchor in anchors {
            if !consent.is_dry_run() {
                revoke(&anchor, cluster, budget).await?;
            }
            report(Removal {
                kind: "anchor".into(),
                namespace: Some(anchor.namespace),
                name: anchor.name,
                fate: Fate::Deleted,
            })?;
        }
        for ((object, found), fate) in all {
            if !consent.is_dry_run() {
                remove(object, found.as_ref(), fate, cluster, budget).await?;
            }
            report(Removal::of(object, fate))?;
        }
        unnamed.into_iter().flatten().try_for_each(report)
    }

    /// The RoleBinding of `--example-rights`, if this set-up does not name it.
    fn unnamed_example(&self, bindings: &[Binding]) -> Option<Removal> {
        let account = self.service_account.as_deref().filter(|_| !self.example_rights)?;
        let name = example_of(account);
        let is_example = |binding: &Binding| {
            let labels = binding.metadata.labels.iter().flatten();
            binding.metadata.namespace.as_deref() == Some(&self.namespace)
                && binding.name() == name
                && labels
                    .into_iter()
                    .any(|(name, value)| name == MANAGED_BY && value == "jobpass")
        };
        bindings.iter().any(is_example).then(|| Removal {
            kind: RoleBinding::KIND.into(),
            namespace: Some(self.namespace.clone()),
            name,
            fate: Fate::Kept(
                "this command does not name it. Add `--example-rights` to delete it, with its Role"
                    .to_owned(),
            ),
        })
    }

    /// The CronJob of a sweeper that is in the namespace, and that this set-up does not name.
    async fn unnamed_sweeper(&self, cluster: &Cluster, budget: &Budget) -> Option<Removal> {
        if self.sweeper_image.is_some() {
            return None;
        }
        let kept = Fate::Kept(
            "this command does not name it. Add `--sweeper-image IMAGE` to delete it, with its ServiceAccount and \
             its Role"
                .to_owned(),
        );
        let manifest = json!({
            "kind": CronJob::KIND, "metadata": { "name": SWEEPER, "namespace": self.namespace },
        });
        let cronjob = SetupObject::new(manifest)?;
        // An administrator who may not look at CronJobs deletes the rest all the same.
        cronjob.found(cluster, budget).await.ok()??;
        Some(Removal::of(&cronjob, &kept))
    }

    /// The fate of each object.
    fn fates(&self, objects: &[SetupObject], found: &[Option<Value>], bindings: &[Binding]) -> Vec<Fate> {
        let fates = objects.iter().zip(found).map(|(object, found)| match found {
            None => Fate::Missing,
            Some(found) => self
                .kept(object, found, bindings)
                .map_or(Fate::Deleted, Fate::Kept),
        });
        fates.collect()
    }

    /// The reason why an object stays. `None` if jobpass deletes the object.
    fn kept(&self, object: &SetupObject, found: &Value, bindings: &[Binding]) -> Option<String> {
        let manifest = object.manifest();
        let by_hand = |why: &str| {
            Some(format!(
                "{why}. If nobody needs it, delete it with `kubectl delete {}`",
                for_kubectl(&object.title())
            ))
        };
        if manifest["kind"] == Namespace::KIND {
            return by_hand("it may hold objects of others");
        }
        // `kubectl apply` of the output of setup sets no label. So an object with a name of jobpass's own and
        // exactly this content counts as made by setup. A ServiceAccount has no content to compare.
        let is_labelled = found["metadata"]["labels"][MANAGED_BY] == "jobpass";
        let is_account = manifest["kind"] == ServiceAccount::KIND;
        let has_our_name = object.name().starts_with("jobpass-") && !is_account;
        let is_ours = is_labelled || has_our_name && object.outcome(Some(found)) == Outcome::Same;
        if !is_ours {
            return by_hand("somebody else may have made it");
        }
        let own = |binding: &&Binding| {
            let namespace = binding.metadata.namespace.as_deref();
            namespace == Some(&self.namespace) && self.names(binding.name())
        };
        let needs = |binding: &&Binding| match object.name() {
            SWEEPER => {
                let namespace = binding.metadata.namespace.as_deref();
                namespace == Some(&self.namespace)
                    && is_of_setup(binding.name())
                    && !binding.subjects.is_empty()
            }
            name => is_account && binding.binds(&self.namespace, name),
        };
        let others = bindings.iter().filter(|binding| !own(binding)).filter(needs);
        need(&others.map(Binding::title).collect::<Vec<_>>()).and_then(|need| by_hand(&need))
    }

    /// Whether a RoleBinding of this name belongs to the set-up.
    fn names(&self, binding: &str) -> bool {
        let example = self.example_rights.then_some(self.service_account.as_ref());
        let example = example.flatten().map(|account| example_of(account));
        self.grants().any(|grant| grant.role() == binding)
            || self.sweeper_image.is_some() && binding == SWEEPER
            || example.is_some_and(|example| example == binding)
    }

    /// Checks that no RoleBinding of the minters stays.
    ///
    /// # Errors
    /// If one stays.
    fn refuse_foreign_bindings(&self, objects: &[SetupObject], fates: &[Fate]) -> Result<(), Error> {
        let mut bindings = objects
            .iter()
            .zip(fates)
            .filter(|(object, _)| self.binds_minters(object));
        match bindings.find(|(_, fate)| matches!(fate, Fate::Kept(_))) {
            None => Ok(()),
            Some((object, _)) => Err(Error::new(
                Kind::Claims,
                format!(
                    "nothing was deleted: somebody else may have made {}, and no policy would limit the minters \
                     in it",
                    object.title()
                ),
            )
            .help(format!(
                "look at this RoleBinding. If nobody else needs it, delete it with `kubectl delete {}`. Then \
                 run the command again",
                for_kubectl(&object.title())
            ))),
        }
    }

    /// The anchors of this set-up's jobs.
    async fn anchors_of_jobs(&self, cluster: &Cluster) -> Result<Vec<ListedAnchor>, Error> {
        let scope = Scope::Namespace(self.namespace.clone());
        let mut pages = Pages::new(cluster, &scope);
        let mut anchors = Vec::new();
        while let Some(page) = pages.next().await? {
            anchors.extend(page.anchors.into_iter().filter(|anchor| self.is_of_a_job(anchor)));
        }
        Ok(anchors)
    }

    fn is_of_a_job(&self, anchor: &ListedAnchor) -> bool {
        let account = anchor.service_account.as_deref();
        let is_granted = self.grants().any(|grant| match grant {
            Grant::Account(name) => account == Some(name),
            Grant::Jobs(_) => account == Some(&anchor.name),
        });
        is_granted && anchor.is_ours()
    }

    fn tokens_left(&self, live: usize) -> Error {
        let tokens = match live {
            1 => "1 token".to_owned(),
            _ => format!("{live} tokens"),
        };
        let what = format!("nothing was deleted: {tokens} of this set-up may still work");
        Error::new(Kind::Claims, what).help(format!(
            "wait until the jobs of these tokens end: without the set-up, they could not revoke their tokens. \
             The token of a job that died lives until it expires. Or add `--revoke`, which revokes these tokens \
             now. `jobpass list --namespace {}` shows them",
            self.namespace
        ))
    }
}

impl Removal {
    fn of(object: &SetupObject, fate: &Fate) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let manifest = object.manifest();
        Self {
            kind: text(&manifest["kind"]).unwrap_or_default(),
            namespace: text(&manifest["metadata"]["namespace"]),
            name: object.name().to_owned(),
            fate: fate.clone(),
        }
    }
}

/// The greatest number of RoleBindings that a message names as the reason why an object stays.
const MOST_NAMED: usize = 3;

/// The reason why an object stays: the RoleBindings with these titles need it. `None` if there are no titles.
fn need(titles: &[String]) -> Option<String> {
    let named = titles[..titles.len().min(MOST_NAMED)].join(", ");
    match titles.len() {
        0 => None,
        1 => Some(format!("{named} needs it")),
        2..=MOST_NAMED => Some(format!("{named} need it")),
        all => Some(format!("{named} and {} more need it", all - MOST_NAMED)),
    }
}

/// Whether the token of an anchor may still work.
fn is_live(anchor: &ListedAnchor) -> bool {
    anchor.expires.is_none_or(|expires| expires > Timestamp::now())
}

/// Deletes an object whose fate is [`Fate::Deleted`]. Returns `true` if the API server deleted the object, or
/// if the object was gone already.
async fn remove(
    object: &SetupObject,
    found: Option<&Value>,
    fate: &Fate,
    cluster: &Cluster,
    budget: &Budget,
) -> Result<bool, Error> {
    let (Fate::Deleted, Some(found)) = (fate, found) else {
        return Ok(false);
    };
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: found["metadata"]["uid"].as_str().map(str::to_owned),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    let request = object.objects().delete(object.name(), &params);
    let call = Call::new("delete an object", request)?;
    let answer = cluster.send(&call, budget).await?;
    match answer.status {
        200 | 202 => Ok(true),
        404 if answer.is_not_found() => Ok(true),
        // Somebody else has deleted the object, and made another one of this name.
        409 if answer.is_uid_mismatch() => Ok(false),
        _ => {
            let what = format!("cannot delete {}: {}", object.title(), answer.in_words());
            let error = Error::new(Kind::Refused, what);
            Err(match answer.status {
                401 => error.help(cluster.unauthorized_to_administer()),
                _ => error.help(
                    "the message above says why. The objects that jobpass deleted earlier are gone. Correct \
                     the cause, and run the command again",
                ),
            })
        }
    }
}

/// Deletes an anchor.
async fn revoke(anchor: &ListedAnchor, cluster: &Cluster, budget: &Budget) -> Result<(), Error> {
    let ListedAnchor {
        namespace, name, uid, ..
    } = anchor;
    match delete(cluster, namespace, name, Some(uid), budget).await? {
        Deletion::Done | Deletion::Gone { .. } | Deletion::AnotherUid => Ok(()),
        Deletion::Held => Err(held(namespace, name)),
        Deletion::Refused(call, answer) => {
            let error = answer.unexpected(&call).into_unrevoked();
            Err(match answer.status {
                401 => error.help(cluster.unauthorized_to_administer()),
                _ => error,
            })
        }
    }
}

/// A RoleBinding or a ClusterRoleBinding, with only its name and its subjects.
#[derive(Deserialize)]
struct Binding {
    metadata: ObjectMeta,
    #[serde(default)]
    subjects: Vec<k8s_openapi::api::rbac::v1::Subject>,
}

impl Binding {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn title(&self) -> String {
        match &self.metadata.namespace {
            Some(namespace) => format!("RoleBinding {namespace}/{}", self.name()),
            None => format!("ClusterRoleBinding {}", self.name()),
        }
    }

    fn binds(&self, namespace: &str, account: &str) -> bool {
        self.subjects.iter().any(|subject| {
            subject.kind == ServiceAccount::KIND
                && subject.namespace.as_deref() == Some(namespace)
                && subject.name == account
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{
            Identity,
            scripted::{self, Fate as Reply},
        },
        inputs::setup::Wanted,
    };

    fn setup() -> Setup {
        let wanted = Wanted {
            service_account: "scanner".into(),
            namespace: "ci".into(),
            duration: "1h".into(),
            minters: vec!["serviceaccount:minter".into()],
            sweeper_image: Some("registry.example.com/jobpass:0.1.0".into()),
            example_rights: true,
            ..Wanted::default()
        };
        Setup::parse(&wanted).expect("parsed")
    }

    /// A RoleBinding in the namespace `ci` that names the ServiceAccount `account` of that namespace.
    fn binding(name: &str, account: &str) -> Binding {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "ci" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "ci", "name": account }],
        }))
        .expect("a RoleBinding")
    }

    fn labelled(mut manifest: Value) -> Value {
        manifest["metadata"]["labels"] = json!({ MANAGED_BY: "jobpass" });
        manifest
    }

    fn changed(mut manifest: Value) -> Value {
        manifest["rules"] = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
        manifest
    }

    /// The titles of the objects that stay.
    fn staying(found: fn(Value) -> Value, bindings: &[Binding]) -> Vec<String> {
        let setup = setup();
        let objects = setup.objects().expect("YAML");
        let found = objects
            .iter()
            .map(|object| Some(found(object.manifest().clone())));
        let fates = setup.fates(&objects, &found.collect::<Vec<_>>(), bindings);
        let all = objects.iter().zip(fates);
        let kept = all.filter(|(_, fate)| matches!(fate, Fate::Kept(_)));
        kept.map(|(object, _)| object.title()).collect()
    }

    /// The reason why the jobs' account stays, if these RoleBindings name it.
    #[rstest]
    #[case::one(&["a"], "RoleBinding ci/a needs it. ")]
    #[case::all(&["a", "b", "c"], "RoleBinding ci/a, RoleBinding ci/b, RoleBinding ci/c need it. ")]
    #[case::more(&["a", "b", "c", "d", "e"], "RoleBinding ci/a, RoleBinding ci/b, RoleBinding ci/c and 2 more need it. ")]
    fn all_that_need_an_account_are_named(#[case] names: &[&str], #[case] expected: &str) {
        let setup = setup();
        let objects = setup.objects().expect("YAML");
        let is_account = |object: &&SetupObject| object.title() == ACCOUNTS[0];
        let account = objects.iter().find(is_account).expect("the account");
        let found = labelled(account.manifest().clone());
        let bindings = names.iter().map(|name| binding(name, "scanner"));
        let kept = setup.kept(account, &found, &bindings.collect::<Vec<_>>());
        assert!(
            kept.as_deref().is_some_and(|why| why.starts_with(expected)),
            "{kept:?}"
        );
    }

    /// Only `setup --apply` labels the RoleBinding of `--example-rights`. Without the label, the option would
    /// not delete the RoleBinding either.
    #[rstest]
    #[case::of_this_account("scanner-example", "jobpass", false, true)]
    #[case::named_by_the_command("scanner-example", "jobpass", true, false)]
    #[case::of_somebody_else("scanner-example", "helm", false, false)]
    #[case::of_another_account("other-example", "jobpass", false, false)]
    fn the_example_rights_that_stay_are_named(
        #[case] name: &str,
        #[case] manager: &str,
        #[case] example_rights: bool,
        #[case] is_named: bool,
    ) {
        let setup = Setup {
            example_rights,
            ..setup()
        };
        let mut binding = binding(name, "scanner");
        binding.metadata.labels = Some([(MANAGED_BY.to_owned(), manager.to_owned())].into());
        let left = setup.unnamed_example(&[binding]);
        assert_eq!(left.is_some(), is_named);
        if let Some(left) = left {
            assert_eq!((&*left.kind, &*left.name), ("RoleBinding", name));
            assert!(
                matches!(&left.fate, Fate::Kept(why) if why.contains("Add `--example-rights`")),
                "{:?}",
                left.fate
            );
        }
    }

    const NAMESPACE: &str = "Namespace ci";
    const ACCOUNTS: [&str; 3] = [
        "ServiceAccount ci/scanner",
        "ServiceAccount ci/minter",
        "ServiceAccount ci/jobpass-sweeper",
    ];

    #[rstest]
    #[case::all_is_of_setup(&[], &[NAMESPACE])]
    #[case::its_own_bindings(&["jobpass-minter-scanner=minter", "scanner-example=scanner", "jobpass-sweeper=jobpass-sweeper"], &[NAMESPACE])]
    #[case::the_jobs_have_rights(&["other=scanner"], &[NAMESPACE, ACCOUNTS[0]])]
    #[case::another_set_up(&["jobpass-minter-other=minter"], &[
        NAMESPACE, ACCOUNTS[1], ACCOUNTS[2], "Role ci/jobpass-sweeper", "RoleBinding ci/jobpass-sweeper", "CronJob ci/jobpass-sweeper",
    ])]
    fn nothing_is_deleted_that_others_need(#[case] bindings: &[&str], #[case] expected: &[&str]) {
        let bindings = bindings.iter().filter_map(|text| text.split_once('='));
        let bindings = bindings.map(|(name, account)| binding(name, account));
        assert_eq!(staying(labelled, &bindings.collect::<Vec<_>>()), expected);
    }

    /// `kubectl apply` sets no label. So an account without a label may have existed before the set-up.
    #[test]
    fn without_a_label_the_name_and_the_content_decide() {
        let example = ["Role ci/scanner-example", "RoleBinding ci/scanner-example"];
        let accounts = [
            NAMESPACE,
            ACCOUNTS[0],
            example[0],
            example[1],
            ACCOUNTS[1],
            ACCOUNTS[2],
        ];
        assert_eq!(staying(|manifest| manifest, &[]), accounts);
        let changed = staying(changed, &[]);
        assert!(
            changed.contains(&"Role ci/jobpass-minter-scanner".to_owned()),
            "{changed:?}"
        );
    }

    /// jobpass must not delete a policy before the minters have lost their permissions.
    #[test]
    fn a_foreign_binding_of_minters_stops_everything() {
        let setup = setup();
        let objects = setup.objects().expect("YAML");
        let fates = |fate: Fate| objects.iter().map(|_| fate.clone()).collect::<Vec<_>>();
        assert!(
            setup
                .refuse_foreign_bindings(&objects, &fates(Fate::Deleted))
                .is_ok()
        );
        let error = setup.refuse_foreign_bindings(&objects, &fates(Fate::Kept("x".into())));
        assert_eq!(error.expect_err("refused").kind(), Kind::Claims);
        let last = objects.last().expect("objects");
        assert!(setup.binds_minters(last), "the last object is deleted first");
    }

    #[rstest]
    #[case::of_the_account("scanner", true)]
    #[case::of_another("other", false)]
    #[case::of_a_job_with_rules("jobpass-aaaaaaaaaaaaaaaaaaaa", false)]
    fn the_anchors_of_other_set_ups_stay(#[case] account: &str, #[case] ours: bool) {
        let anchor = json!({
            "namespace": "ci", "anchor": "jobpass-aaaaaaaaaaaaaaaaaaaa", "uid": "u", "service-account": account,
        });
        let anchor = serde_json::from_value(anchor).expect("an anchor");
        assert_eq!(setup().is_of_a_job(&anchor), ours);
    }

    /// A job of the account `scanner` has a token, and the namespace has a sweeper. No other object exists.
    fn cluster_with_a_job() -> (Cluster, scripted::Log) {
        scripted::answering(&Identity::default(), |request| {
            let anchor = json!({ "metadata": {
                "namespace": "ci", "name": "jobpass-aaaaaaaaaaaaaaaaaaaa", "uid": "u",
                "annotations": { "jobpass.dev/service-account": "scanner" },
            }});
            let path = request.split_once('?').map_or(request, |(path, _)| path);
            let list = |items: &[Value]| {
                let list = json!({ "kind": "PartialObjectMetadataList", "metadata": {}, "items": items });
                Reply::answer(200, list.to_string())
            };
            match path.rsplit('/').next() {
                Some("rolebindings" | "clusterrolebindings") => list(&[]),
                Some("secrets") if request.contains("jobpass.dev") => list(&[anchor]),
                Some("secrets") => list(&[]),
                Some("jobpass-sweeper") if path.contains("/cronjobs/") => Reply::answer(200, "{}"),
                _ => Reply::status(404, "NotFound", "x", "not found"),
            }
        })
    }

    /// A dry run fails if the deletion would fail because a token may still work. Otherwise it names the
    /// objects that the deletion deletes, and the sweeper that the deletion leaves.
    #[rstest]
    #[case::the_job_keeps_its_token(false, None)]
    #[case::the_job_loses_its_token(true, Some(["anchor jobpass-aaaaaaaaaaaaaaaaaaaa", "CronJob jobpass-sweeper"]))]
    #[tokio::test]
    async fn a_dry_run_says_what_the_deletion_does(
        #[case] revoke: bool,
        #[case] expected: Option<[&str; 2]>,
    ) {
        let setup = Setup {
            sweeper_image: None,
            ..setup()
        };
        let (cluster, log) = cluster_with_a_job();
        let mut left = Vec::new();
        let report = |removal: Removal| {
            if removal.fate != Fate::Missing {
                left.push((format!("{} {}", removal.kind, removal.name), removal.fate));
            }
            Ok(())
        };
        let budget = Budget::new(Duration::from_secs(5));
        let done = setup
            .delete(&cluster, &budget, Consent::DryRun { revoke }, report)
            .await;
        match expected {
            Some(expected) => {
                done.expect("a dry run");
                let names = left.iter().map(|(name, _)| &**name).collect::<Vec<_>>();
                assert_eq!(names, expected);
                assert_eq!(left[0].1, Fate::Deleted);
                let kept =
                    matches!(&left[1].1, Fate::Kept(why) if why.contains("Add `--sweeper-image IMAGE`"));
                assert!(kept, "{:?}", left[1].1);
            }
            None => {
                let error = done.expect_err("a token may still work");
                assert_eq!(error.kind(), Kind::Claims);
                assert!(
                    error
                        .message()
                        .starts_with("nothing was deleted: 1 token of this set-up may still work"),
                    "{error}"
                );
                assert!(left.is_empty(), "{left:?}");
            }
        }
        assert!(
            log.lines().iter().all(|line| line.starts_with("GET ")),
            "{:?}",
            log.lines()
        );
    }
}
