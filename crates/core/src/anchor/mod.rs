//! The anchor: an empty Secret that the token is bound to. Its deletion revokes the token. The anchor of a
//! [legacy] token is the Secret that holds the token.

mod deletion;
pub mod legacy;
pub mod list;
pub(crate) mod role;

pub(crate) use self::deletion::{Deletion, delete, delete_object, held};

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::PartialObjectMeta;

use crate::{
    cluster::{Answer, Budget, Call, Cluster, NoAnswer},
    error::{Error, Kind},
    inputs::spec::{Spec, TokenType},
    names::{MANAGED_BY, is_identifier, is_label_value},
    refusal::RequiredPermission,
    text::harmless,
};

/// The type of the anchor of a bound token. Nobody can change the type of a Secret. The API server can filter
/// Secrets by type.
pub const TYPE: &str = "jobpass.dev/anchor";

/// The job that an anchor belongs to, for people who look at the cluster and for the sweeper.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// `github`, `gitlab` or `cli`.
    pub platform: &'static str,
    /// The repository or project, such as `team/app`.
    pub repository: Option<String>,
    /// The id of the run or pipeline.
    pub run_id: Option<String>,
    /// The id or name of the job.
    pub job: Option<String>,
    /// The id of the job's check run on GitHub. All jobs of a matrix have the same `job`, and differ in this
    /// id.
    pub check_run_id: Option<String>,
    /// The URL of the job.
    pub url: Option<String>,
    /// The person who started the job.
    pub requested_by: Option<String>,
}

/// Creates the anchor. Returns its uid, and the API server's warnings.
///
/// If an answer is lost, an anchor with an unknown uid may exist. jobpass then deletes that anchor and
/// creates another. jobpass need not read the existing anchor to know that the anchor is its own, because
/// nobody else knows the name. So the minter needs no permission to read Secrets.
pub(crate) async fn create(
    cluster: &Cluster,
    spec: &Spec,
    origin: &Origin,
    name: &str,
    budget: &Budget,
) -> Result<(String, Vec<String>), NoAnswer> {
    let anchor = manifest(spec, origin, name);
    let call = Call::create("create the anchor", Some(&spec.namespace), &anchor).map_err(NoAnswer::unsent)?;
    let permission = RequiredPermission::minting(spec);
    // Whether an anchor with an unknown uid may exist.
    let mut unsure = false;
    for _ in 0..3 {
        let sent = cluster.send(&call, budget).await;
        let answer = sent.map_err(|lost| NoAnswer {
            maybe_done: unsure || lost.maybe_done,
            ..lost
        })?;
        unsure |= answer.repeated;
        if answer.status == 201 {
            return created(&call, &answer).map_err(|error| NoAnswer {
                error,
                maybe_done: true,
            });
        }
        if !answer.is_already_exists() {
            let error = cluster.refused(&call, &answer, &permission);
            return Err(NoAnswer {
                error,
                maybe_done: unsure || !answer.is_refusal(),
            });
        }
        // Nobody else knows the name. So an earlier attempt created the anchor, and its answer was lost on
        // this machine or at a proxy.
        unsure = true;
        let deleted = delete(cluster, &spec.namespace, name, None, budget).await;
        let deleted = deleted.map_err(|lost| NoAnswer {
            maybe_done: true,
            ..lost
        })?;
        match deleted {
            Deletion::Done | Deletion::Gone { .. } | Deletion::AnotherUid => {}
            // While a finalizer holds the anchor, every new attempt finds it again.
            Deletion::Held => {
                return Err(NoAnswer {
                    error: held(&spec.namespace, name),
                    maybe_done: true,
                });
            }
            Deletion::Refused(delete, answer) => {
                return Err(NoAnswer {
                    error: cluster.refused(&delete, &answer, &permission),
                    maybe_done: true,
                });
            }
        }
    }
    let error = Error::new(
        Kind::Unreachable,
        "cannot create the anchor: jobpass lost the API server's answers to 3 attempts",
    )
    .help("check the proxies and load balancers in front of the API server, and run the job again");
    Err(NoAnswer {
        error,
        maybe_done: true,
    })
}

fn created(call: &Call, answer: &Answer) -> Result<(String, Vec<String>), Error> {
    let anchor = answer.parse_with::<PartialObjectMeta<Secret>>(call, "/metadata/uid")?;
    match anchor.metadata.uid.filter(|uid| is_identifier(uid)) {
        Some(uid) => Ok((uid, answer.warnings.clone())),
        None => Err(Error::new(
            Kind::Claims,
            "the API server returned an invalid uid for the anchor",
        )
        .help(
            "check the server's URL, and the proxies in front of it: a Kubernetes API server answers with a \
             valid uid",
        )),
    }
}

fn manifest(spec: &Spec, origin: &Origin, name: &str) -> Secret {
    // The last renewal may mint a token at the end of `renew-for`.
    let renewed = spec.renew_for.map_or(0, |time| time.as_secs());
    let seconds = i64::try_from(spec.lifetime.seconds() + renewed).unwrap_or(i64::MAX);
    // The annotations `lifetime` and `expires-at` state the same time. A wrong clock of this machine makes
    // only `expires-at` wrong: `lifetime` counts from the creation, by the API server's clock.
    let expires = jiff::Timestamp::now()
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap_or(jiff::Timestamp::MAX);
    let facts = [
        ("platform", Some(origin.platform.to_owned())),
        ("repository", origin.repository.clone()),
        ("run-id", origin.run_id.clone()),
        ("job", origin.job.clone()),
        ("check-run-id", origin.check_run_id.clone()),
        ("url", origin.url.clone()),
        ("requested-by", origin.requested_by.clone()),
        ("service-account", Some(spec.service_account.clone())),
        ("lifetime", Some(format!("{seconds}s"))),
        (
            "expires-at",
            Some(expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ),
    ];
    let facts = facts
        .into_iter()
        .filter_map(|(key, value)| Some((format!("jobpass.dev/{key}"), harmless(&value?))));
    let mut annotations = facts.collect::<BTreeMap<_, _>>();
    // People select anchors by these facts. So each becomes a label, unless a label cannot hold the value.
    let selectable = ["platform", "run-id", "job", "check-run-id", "service-account"];
    let selectable = selectable.map(|key| format!("jobpass.dev/{key}"));
    let mut labels = annotations.clone();
    labels.retain(|key, value| selectable.contains(key) && !value.is_empty() && is_label_value(value));
    labels.insert(MANAGED_BY.into(), "jobpass".into());
    labels.extend(spec.metadata.labels.clone());
    annotations.extend(spec.metadata.annotations.clone());
    let secret_type = match spec.token_type {
        TokenType::Bound => TYPE,
        TokenType::Legacy => {
            annotations.insert(legacy::ACCOUNT.into(), spec.service_account.clone());
            annotations.insert(legacy::EXPIRATION.into(), seconds.to_string());
            legacy::TYPE
        }
    };
    Secret {
        type_: Some(secret_type.into()),
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(spec.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{
            Identity,
            scripted::{self, Fate},
        },
        inputs::options::{Inputs, Opt},
    };

    #[test]
    fn what_somebody_wants_on_it_is_on_it() {
        let inputs = Inputs::from([
            (Opt::ServiceAccount, "scanner"),
            (Opt::AnchorLabels, "team=payments"),
            (Opt::AnchorAnnotations, "example.com/contact=Jane Doe"),
        ]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let anchor = manifest(&spec, &Origin::default(), "jobpass-a");
        assert_eq!(anchor.labels()["team"], "payments");
        assert_eq!(anchor.labels()[MANAGED_BY], "jobpass");
        assert_eq!(anchor.annotations()["example.com/contact"], "Jane Doe");
        assert_eq!(anchor.annotations()["jobpass.dev/lifetime"], "3600s");
    }

    #[test]
    fn what_is_no_label_stays_an_annotation() {
        let spec = Spec::parse(&Inputs::from([(Opt::ServiceAccount, "scanner")]), None).expect("a spec");
        let origin = Origin {
            platform: "github",
            repository: Some("team/app".into()),
            run_id: Some("77".into()),
            job: Some("build (linux)\n".into()),
            check_run_id: Some("51725241954".into()),
            ..Origin::default()
        };
        let anchor = manifest(&spec, &origin, "jobpass-a");
        assert_eq!(anchor.type_.as_deref(), Some(TYPE));
        let labels = [
            ("app.kubernetes.io/managed-by", "jobpass"),
            ("jobpass.dev/check-run-id", "51725241954"),
            ("jobpass.dev/platform", "github"),
            ("jobpass.dev/run-id", "77"),
            ("jobpass.dev/service-account", "scanner"),
        ];
        assert_eq!(
            *anchor.labels(),
            labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        );
        assert_eq!(anchor.annotations()["jobpass.dev/job"], "build (linux)");
        assert_eq!(anchor.annotations()["jobpass.dev/check-run-id"], "51725241954");
        assert_eq!(anchor.annotations()["jobpass.dev/repository"], "team/app");
        assert_eq!((anchor.data, anchor.string_data), (None, None));
    }

    const CREATED: &str = r#"{"kind":"Secret","metadata":{"name":"a","uid":"u-1"}}"#;

    fn created() -> Fate {
        Fate::answer(201, CREATED)
    }

    fn exists() -> Fate {
        Fate::status(409, "AlreadyExists", "secrets", "secrets \"a\" already exists")
    }

    fn deleted() -> Fate {
        Fate::answer(200, r#"{"kind":"Status","status":"Success"}"#)
    }

    /// The answer to a deletion if a finalizer holds the Secret.
    fn marked() -> Fate {
        Fate::answer(
            200,
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a","deletionTimestamp":"2026-11-24T10:00:00Z"}}"#,
        )
    }

    /// Returns the uid, or whether an anchor may exist. Also returns the methods of the requests.
    async fn creation(fates: Vec<Fate>) -> (Result<String, bool>, String) {
        let spec = Spec::parse(&Inputs::from([(Opt::ServiceAccount, "scanner")]), None).expect("a spec");
        let (cluster, log) = scripted::cluster(&Identity::default(), fates);
        let budget = Budget::new(std::time::Duration::from_secs(45));
        let created = create(&cluster, &spec, &Origin::default(), "jobpass-a", &budget).await;
        let lines = log.lines();
        let methods = lines.iter().filter_map(|line| line.split(' ').next());
        let outcome = created.map(|(uid, _)| uid).map_err(|lost| lost.maybe_done);
        (outcome, methods.collect::<Vec<_>>().join(" "))
    }

    #[rstest]
    #[case::at_once(vec![created()], Ok("u-1"), "POST")]
    #[case::repeated(vec![Fate::Lost, created()], Ok("u-1"), "POST POST")]
    #[case::it_exists_from_a_lost_attempt(
        vec![Fate::Lost, exists(), deleted(), created()],
        Ok("u-1"),
        "POST POST DELETE POST"
    )]
    #[case::a_proxy_repeated_it(vec![exists(), deleted(), created()], Ok("u-1"), "POST DELETE POST")]
    #[case::answers_keep_getting_lost(
        vec![exists(), deleted(), exists(), deleted(), exists(), deleted()],
        Err(true),
        "POST DELETE POST DELETE POST DELETE"
    )]
    #[case::refused(vec![Fate::status(403, "Forbidden", "secrets", "no")], Err(false), "POST")]
    #[case::refused_after_a_lost_attempt(
        vec![Fate::Lost, Fate::status(403, "Forbidden", "secrets", "no")],
        Err(true),
        "POST POST"
    )]
    #[case::refused_by_something_in_between(vec![Fate::answer(403, "<html>")], Err(true), "POST")]
    #[case::it_may_not_be_deleted(
        vec![exists(), Fate::status(403, "Forbidden", "secrets", "no")],
        Err(true),
        "POST DELETE"
    )]
    #[case::a_finalizer_holds_it(vec![exists(), marked()], Err(true), "POST DELETE")]
    #[case::never_sent(vec![Fate::NotSent], Err(false), "POST POST POST POST")]
    #[case::never_answered(vec![Fate::Lost], Err(true), "POST POST POST POST")]
    #[case::no_uid(vec![Fate::answer(201, r#"{"metadata":{}}"#)], Err(true), "POST")]
    #[case::a_uid_of_another_kind(vec![Fate::answer(201, r#"{"metadata":{"uid":"a b"}}"#)], Err(true), "POST")]
    #[tokio::test(start_paused = true)]
    async fn an_anchor_is_created_once(
        #[case] fates: Vec<Fate>,
        #[case] expected: Result<&str, bool>,
        #[case] methods: &str,
    ) {
        let (outcome, sent) = creation(fates).await;
        assert_eq!(
            (outcome.as_deref().map_err(|maybe| *maybe), &*sent),
            (expected, methods)
        );
    }
}
