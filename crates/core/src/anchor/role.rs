//! The role of one job: a ServiceAccount, a Role and a RoleBinding. The anchor owns them, and they have its
//! name.
//!
//! When the anchor is gone, the cluster's garbage collector deletes the three objects, but in some clusters
//! late. So the end of the job deletes them itself.

use std::time::Duration;

use k8s_openapi::{
    api::{
        core::v1::{Secret, ServiceAccount},
        rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, core::PartialObjectMeta};

use super::deletion::{Deletion, delete_object};
use crate::{
    access::{self, Verdict},
    cluster::{Budget, Call, Cluster},
    error::Error,
    inputs::spec::Spec,
    names,
    rbac::Permission,
    refusal::RequiredPermission,
};

/// The time limit for an API server to learn of a new RoleBinding. A test cluster took 8 ms.
const IN_EFFECT: Duration = Duration::from_secs(5);

/// The result of [`create`].
pub(crate) struct Made {
    /// The uid of the ServiceAccount. `None` if the answer with the uid was lost or is not usable.
    pub(crate) account_uid: Option<String>,
    /// The warnings of the API server.
    pub(crate) warnings: Vec<String>,
}

/// Creates the ServiceAccount, the Role and the RoleBinding, owned by the anchor.
///
/// The caller may call this again. Nobody else uses the name, so an existing object comes from an earlier
/// attempt whose answer was lost.
pub(crate) async fn create(
    cluster: &Cluster,
    spec: &Spec,
    anchor_uid: &str,
    budget: &Budget,
) -> Result<Made, Error> {
    let (name, namespace) = (&*spec.service_account, &*spec.namespace);
    let metadata = || metadata(spec, anchor_uid);
    let account = ServiceAccount {
        metadata: metadata(),
        // A Pod gets a token of this account only if the Pod's own specification asks for it.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let role = Role {
        metadata: metadata(),
        rules: Some(spec.rules.iter().map(PolicyRule::from).collect()),
    };
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: RoleRef {
            api_group: Role::group(&()).into(),
            kind: Role::kind(&()).into(),
            name: name.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: ServiceAccount::kind(&()).into(),
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
            api_group: None,
        }]),
    };
    let calls = [
        Call::create("create the job's ServiceAccount", Some(namespace), &account)?,
        Call::create("create the job's Role", Some(namespace), &role)?,
        Call::create("create the job's RoleBinding", Some(namespace), &binding)?,
    ];
    let mut made = Made {
        account_uid: None,
        warnings: Vec::new(),
    };
    for (call, is_account) in calls.iter().zip([true, false, false]) {
        let answer = cluster.send(call, budget).await?;
        if answer.status != 201 && !answer.is_already_exists() {
            return Err(cluster.refused(call, &answer, &RequiredPermission::minting(spec)));
        }
        if is_account && answer.status == 201 {
            // Even without the uid, the name identifies the account: only this job uses that name.
            let account = answer.parse_with::<PartialObjectMeta<ServiceAccount>>(call, "/metadata/uid");
            let uid = account.ok().and_then(|account| account.metadata.uid);
            made.account_uid = uid.filter(|uid| names::is_identifier(uid));
        }
        made.warnings.extend(answer.warnings);
    }
    Ok(made)
}

/// The metadata of the ServiceAccount, the Role and the RoleBinding. It has the name of the anchor, and names
/// the anchor as the owner.
fn metadata(spec: &Spec, anchor_uid: &str) -> ObjectMeta {
    let name = &spec.service_account;
    let mut labels = spec.metadata.labels.clone();
    labels.insert(names::MANAGED_BY.into(), "jobpass".into());
    ObjectMeta {
        name: Some(name.clone()),
        namespace: Some(spec.namespace.clone()),
        labels: Some(labels),
        annotations: Some(spec.metadata.annotations.clone()),
        owner_references: Some(vec![OwnerReference {
            api_version: Secret::api_version(&()).into(),
            kind: Secret::kind(&()).into(),
            name: name.clone(),
            uid: anchor_uid.to_owned(),
            ..OwnerReference::default()
        }]),
        ..ObjectMeta::default()
    }
}

/// Waits until the API server no longer denies the first permission of the role. Without this wait, the first
/// request of a check or of the job could come too early. Returns a warning if the wait takes too long.
pub(crate) async fn in_effect(as_token: &Cluster, spec: &Spec, budget: &Budget) -> Option<String> {
    let first = Permission::of_rule(spec.rules.first()?)?;
    let wait = async {
        while let (Verdict::Denied, _) = access::review(as_token, &first, &spec.namespace, budget).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let late = tokio::time::timeout(IN_EFFECT, wait).await.is_err();
    late.then(|| {
        format!(
            "the API server still denies `{first}` to the token, {} s after it accepted the Role that \
             grants this permission. Let the job repeat its first requests if they fail with 403",
            IN_EFFECT.as_secs()
        )
    })
}

/// Deletes the RoleBinding. That takes the permissions away within milliseconds, because kube-apiserver looks
/// them up at each request. The token itself may stay in a cache of kube-apiserver for 10 s.
pub(crate) async fn unbind(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    budget: &Budget,
) -> Result<(), Error> {
    let doing = "delete the job's RoleBinding";
    delete_one::<RoleBinding>(cluster, doing, namespace, name, budget).await
}

/// Deletes the ServiceAccount, the Role and the RoleBinding at the same time, so that no deletion waits for
/// another.
pub(crate) async fn delete(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    budget: &Budget,
) -> Result<(), Error> {
    let (account, role, binding) = tokio::join!(
        delete_one::<ServiceAccount>(
            cluster,
            "delete the job's ServiceAccount",
            namespace,
            name,
            budget
        ),
        delete_one::<Role>(cluster, "delete the job's Role", namespace, name, budget),
        unbind(cluster, namespace, name, budget),
    );
    account.and(role).and(binding)
}

/// Deletes an object of the job's role by its name. The uid does not matter, because no other object has the
/// name.
async fn delete_one<K: Resource<DynamicType = ()>>(
    cluster: &Cluster,
    doing: &'static str,
    namespace: &str,
    name: &str,
    budget: &Budget,
) -> Result<(), Error> {
    match delete_object::<K>(cluster, doing, namespace, name, None, budget).await? {
        Deletion::Done | Deletion::Held | Deletion::Gone { .. } | Deletion::AnotherUid => Ok(()),
        Deletion::Refused(call, answer) => Err(answer.unexpected(&call)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{
            Identity,
            scripted::{self, Fate},
        },
        inputs::options::{Inputs, Opt},
    };

    fn spec() -> Spec {
        Spec::parse(&Inputs::from([(Opt::RoleRules, "get pods")]), None).expect("a spec")
    }

    fn created() -> Fate {
        Fate::answer(201, "{}")
    }

    fn exists() -> Fate {
        Fate::status(409, "AlreadyExists", "roles", "it already exists")
    }

    fn forbidden() -> Fate {
        Fate::status(403, "Forbidden", "roles", "no")
    }

    fn gone() -> Fate {
        Fate::status(404, "NotFound", "namespaces", "namespaces not found")
    }

    fn review(allowed: bool) -> Fate {
        Fate::answer(201, format!(r#"{{"status":{{"allowed":{allowed}}}}}"#))
    }

    fn budget() -> Budget {
        Budget::new(Duration::from_secs(45))
    }

    #[rstest]
    #[case::new(vec![created()], true, 3)]
    #[case::from_a_lost_attempt(vec![created(), exists(), created()], true, 3)]
    #[case::refused(vec![created(), forbidden()], false, 2)]
    #[tokio::test(start_paused = true)]
    async fn a_role_is_created_in_order(#[case] fates: Vec<Fate>, #[case] done: bool, #[case] times: usize) {
        let (cluster, log) = scripted::cluster(&Identity::default(), fates);
        let created = create(&cluster, &spec(), "u-1", &budget()).await;
        assert_eq!((created.is_ok(), log.lines().len()), (done, times));
        assert!(log.lines()[0].ends_with("/serviceaccounts"), "{:?}", log.lines());
    }

    #[rstest]
    #[case::all(vec![Fate::answer(200, "{}")], true)]
    #[case::gone_already(vec![gone()], true)]
    #[case::one_is_refused(vec![Fate::answer(200, "{}"), forbidden(), Fate::answer(200, "{}")], false)]
    #[tokio::test(start_paused = true)]
    async fn all_three_are_deleted(#[case] fates: Vec<Fate>, #[case] done: bool) {
        let (cluster, log) = scripted::cluster(&Identity::default(), fates);
        let deleted = delete(&cluster, "ci", "jobpass-a", &budget()).await;
        assert_eq!((deleted.is_ok(), log.lines().len()), (done, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_is_waited_for_but_not_for_long() {
        let soon = [review(false), review(false), review(true)];
        let (cluster, log) = scripted::cluster(&Identity::default(), soon);
        assert_eq!(in_effect(&cluster, &spec(), &budget()).await, None);
        assert_eq!(log.lines().len(), 3);

        let (cluster, _) = scripted::cluster(&Identity::default(), [review(false)]);
        let started = tokio::time::Instant::now();
        let warning = in_effect(&cluster, &spec(), &budget()).await.expect("a warning");
        assert_eq!(started.elapsed(), IN_EFFECT);
        assert!(
            warning.contains("`get pods`") && warning.contains("5 s"),
            "{warning}"
        );
    }

    #[test]
    fn the_anchor_owns_them() {
        let spec = spec();
        let metadata = metadata(&spec, "u-1");
        assert_eq!(metadata.name.as_ref(), Some(&spec.service_account));
        let owners = metadata.owner_references.expect("an owner");
        let owner = (&*owners[0].kind, &*owners[0].name, &*owners[0].uid);
        assert_eq!(owner, ("Secret", &*spec.service_account, "u-1"));
    }
}
