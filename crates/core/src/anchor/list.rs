//! The anchors in a cluster, page by page.
//!
//! The Secret of a legacy token is the anchor of that token. The sweeper considers the Secret only if an
//! annotation states a lifetime, whoever created the Secret. `jobpass list` shows the Secret only if jobpass
//! made it for a job.
//!
//! The requests ask for metadata alone, and the API server selects by type. So no Secret's data leaves the
//! API server.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta},
};
use kube::core::{PartialObjectMeta, params::ListParams};
use serde::{Deserialize, Serialize};

use crate::{
    anchor::{self, legacy},
    cluster::{Answer, Budget, Call, Cluster, Scope},
    error::{Error, Kind},
    inputs::{lifetime::Lifetime, spec::TokenType},
    names::{self, is_dns_label, is_dns_subdomain},
    text::harmless,
};

/// The number of anchors on one page, the same as in kubectl. The API server may send fewer on a page.
const PAGE: u32 = 500;
/// The time limit for one page, retries included.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(45);
/// The greatest number of times in a row that jobpass resumes or restarts a list.
const RESUMPTIONS: u32 = 3;

/// An anchor in the cluster. Its annotations prove nothing: everybody who may create anchors can write them.
/// All fields are safe to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedAnchor {
    /// The namespace of the anchor and of the ServiceAccount.
    pub namespace: String,
    /// The name of the anchor.
    #[serde(rename = "anchor")]
    pub name: String,
    /// The uid of the anchor.
    pub uid: String,
    /// The type of the token: a bound token is bound to the anchor, and a legacy token is stored in it.
    #[serde(default, rename = "type")]
    pub token_type: TokenType,
    /// The platform: `github`, `gitlab` or `cli`.
    pub platform: Option<String>,
    /// The repository or project.
    pub repository: Option<String>,
    /// The id of the run or pipeline.
    pub run_id: Option<String>,
    /// The id or name of the job.
    pub job: Option<String>,
    /// The id of the job's check run on GitHub.
    pub check_run_id: Option<String>,
    /// The URL of the job.
    pub url: Option<String>,
    /// The person who started the job.
    pub requested_by: Option<String>,
    /// The ServiceAccount of the token.
    pub service_account: Option<String>,
    /// The time of the anchor's creation, by the API server's clock.
    pub created: Option<Timestamp>,
    /// The time at which the anchor's last token expires. For a legacy token, the end of its lifetime. `None`
    /// if no annotation states a plausible time.
    pub expires: Option<Timestamp>,
}

/// A page of anchors.
pub struct Page {
    /// The anchors, in the order of namespace and name.
    pub anchors: Vec<ListedAnchor>,
    /// The API server's time, by the same clock as `created`. This machine's time if the answer has no date.
    pub now: Timestamp,
}

/// The pages of a list. The list may change while jobpass reads it.
pub struct Pages<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    /// The verbs that the caller needs. If the API server refuses, the error asks an administrator for these
    /// verbs.
    verbs: &'static [&'static str],
    /// The types of Secrets that jobpass has not yet listed to the end.
    types: &'static [TokenType],
    /// Decides whether a Secret belongs to the list.
    counts: fn(&ObjectMeta, TokenType) -> bool,
    /// The only name to list.
    name: Option<&'a str>,
    limit: u32,
    /// The continue token of the next page. Empty for the first page.
    token: String,
    /// The namespace and name of the last Secret on the previous page, as [`key`] writes them.
    last: String,
    /// The namespace and name of the last Secret before jobpass restarted the list, as [`key`] writes them.
    /// The caller has all anchors up to this Secret already.
    seen: String,
    /// The number of times in a row that jobpass resumed or restarted the list without a new anchor.
    resumptions: u32,
}

impl<'a> Pages<'a> {
    /// Lists the anchors of `scope` for a person. Includes a legacy token only if jobpass made it for a job.
    pub fn new(cluster: &'a Cluster, scope: &'a Scope) -> Self {
        Self {
            cluster,
            scope,
            verbs: &["list"],
            types: &[TokenType::Bound, TokenType::Legacy],
            counts: |metadata, token_type| {
                let ours = metadata.name.as_deref().is_some_and(names::is_ours);
                token_type == TokenType::Bound
                    || ours && annotation(metadata, "jobpass.dev/platform").is_some()
            },
            name: None,
            limit: PAGE,
            token: String::new(),
            last: String::new(),
            seen: String::new(),
            resumptions: 0,
        }
    }

    /// Lists one anchor, by its name.
    pub(crate) fn named(cluster: &'a Cluster, scope: &'a Scope, name: &'a str) -> Self {
        Self {
            name: Some(name),
            ..Self::new(cluster, scope)
        }
    }

    /// Lists those Secrets of legacy tokens that have neither a lifetime nor an owner. `jobpass sweep` does
    /// not delete them. While their ServiceAccounts exist, Kubernetes deletes a Secret only if the `secrets`
    /// field of an account names it, and if its token is unused for a long time
    /// (`pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go`).
    pub(crate) fn forgotten(cluster: &'a Cluster, scope: &'a Scope) -> Self {
        Self {
            types: &[TokenType::Legacy],
            counts: |metadata, _| {
                let owned = metadata
                    .owner_references
                    .as_ref()
                    .is_some_and(|owners| !owners.is_empty());
                !has_expiration(metadata) && !owned
            },
            ..Self::new(cluster, scope)
        }
    }

    /// Lists the anchors of `scope` for the sweeper. Leaves out legacy tokens without a lifetime.
    pub(crate) fn to_sweep(cluster: &'a Cluster, scope: &'a Scope) -> Self {
        Self {
            verbs: SWEEPER,
            counts: |metadata, token_type| token_type == TokenType::Bound || has_expiration(metadata),
            ..Self::new(cluster, scope)
        }
    }

    /// Returns the next page, or `None` after the last one.
    ///
    /// If the list has expired, resumes it with the continue token that the API server offers, or restarts
    /// it. If a page is too long, requests shorter pages.
    ///
    /// # Errors
    /// If the API server refuses, or gives no usable answer.
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        while let Some(token_type) = self.types.first().copied() {
            let call = self.call(token_type)?;
            let answer = self.cluster.send(&call, &Budget::new(PATIENCE)).await?;
            match answer.status {
                200 if answer.too_long && self.limit > 1 => self.limit = (self.limit / 8).max(1),
                200 => return self.page(token_type, &call, &answer).map(Some),
                410 if self.resumptions < RESUMPTIONS => {
                    self.resumptions += 1;
                    // The answer may offer a new continue token (k8s.io/apiserver,
                    // `pkg/storage/etcd3/errors.go`, `handleCompactedErrorForPaging`).
                    self.token = answer.resume_at().unwrap_or_default().to_owned();
                    if self.token.is_empty() {
                        self.seen.clone_from(&self.last);
                    }
                }
                _ => {
                    return Err(self
                        .cluster
                        .refused_to_see(&call, &answer, self.scope, self.verbs));
                }
            }
        }
        Ok(None)
    }

    fn call(&self, token_type: TokenType) -> Result<Call, Error> {
        let secret_type = match token_type {
            TokenType::Bound => anchor::TYPE,
            TokenType::Legacy => legacy::TYPE,
        };
        let name = self
            .name
            .map_or_else(String::new, |name| format!(",metadata.name={name}"));
        let mut params = ListParams::default()
            .fields(&format!("type={secret_type}{name}"))
            .limit(self.limit);
        if !self.token.is_empty() {
            params = params.continue_token(&self.token);
        }
        Call::list_metadata::<Secret>("list the anchors", self.scope.namespace(), &params)
    }

    fn page(&mut self, token_type: TokenType, call: &Call, answer: &Answer) -> Result<Page, Error> {
        let list = answer.parse::<List>(call)?;
        if list.kind != "PartialObjectMetadataList" {
            let kind = harmless(&list.kind);
            let what =
                format!("cannot list the anchors: the answer is a `{kind}`, not a PartialObjectMetadataList");
            return Err(Error::new(Kind::Unreachable, what).help(
                "check the server's URL, and the proxies in front of the server: a Kubernetes API server \
                 answers with a PartialObjectMetadataList",
            ));
        }
        let unseen = list
            .items
            .iter()
            .map(|item| &item.metadata)
            .filter(|metadata| key(metadata) > self.seen);
        let mut anchors = Vec::new();
        for metadata in unseen {
            self.resumptions = 0;
            if (self.counts)(metadata, token_type) {
                anchors.push(listed(metadata, token_type));
            }
        }
        if let Some(last) = list.items.last() {
            self.last = key(&last.metadata);
        }
        self.token = list.metadata.continue_.unwrap_or_default();
        if self.token.is_empty() {
            self.types = &self.types[1..];
            (self.last, self.seen) = (String::new(), String::new());
        }
        Ok(Page {
            anchors,
            now: answer.date.unwrap_or_else(Timestamp::now),
        })
    }
}

/// The verbs that a sweeper needs for Secrets.
pub(crate) const SWEEPER: &[&str] = &["list", "delete"];

/// A list of metadata. Unlike `ObjectList` of kube-core, it may lack `items`: Go writes `null` for an empty
/// list.
#[derive(Deserialize)]
pub(crate) struct List {
    kind: String,
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<PartialObjectMeta<Secret>>,
}

/// The text by which the API server sorts a list: `NAMESPACE/NAME`.
fn key(metadata: &ObjectMeta) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    Some(metadata.annotations.as_ref()?.get(key)?)
}

/// Whether a Secret has the annotation that limits the life of a legacy token.
fn has_expiration(metadata: &ObjectMeta) -> bool {
    annotation(metadata, legacy::EXPIRATION).is_some()
}

fn listed(metadata: &ObjectMeta, token_type: TokenType) -> ListedAnchor {
    let noted = |key: &str| annotation(metadata, &format!("jobpass.dev/{key}"));
    let shown = |text: Option<&str>| text.map(harmless).filter(|text| !text.is_empty());
    let named = |text: &Option<String>| harmless(text.as_deref().unwrap_or_default());
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    let expires = |created: Timestamp| match token_type {
        TokenType::Bound => expires(created, noted("lifetime"), noted("expires-at")),
        TokenType::Legacy => {
            let after = legacy::expiration(annotation(metadata, legacy::EXPIRATION)?)?;
            created.checked_add(after).ok()
        }
    };
    ListedAnchor {
        token_type,
        namespace: named(&metadata.namespace),
        name: named(&metadata.name),
        uid: named(&metadata.uid),
        platform: shown(noted("platform")),
        repository: shown(noted("repository")),
        run_id: shown(noted("run-id")),
        job: shown(noted("job")),
        check_run_id: shown(noted("check-run-id")),
        url: shown(noted("url")),
        requested_by: shown(noted("requested-by")),
        service_account: shown(match token_type {
            TokenType::Bound => noted("service-account"),
            TokenType::Legacy => annotation(metadata, legacy::ACCOUNT),
        }),
        created,
        expires: created.and_then(expires),
    }
}

/// The time at which an anchor's last token expires, from two annotations. The later time counts.
///
/// `lifetime` counts from the anchor's creation, by the API server's clock. `at` is a time by the clock of
/// the machine that minted.
///
/// The result is at least ten minutes after the creation, because no token lives for a shorter time. `None`
/// if neither annotation is valid, or if the time is beyond the longest lifetime.
fn expires(created: Timestamp, lifetime: Option<&str>, at: Option<&str>) -> Option<Timestamp> {
    let after = |seconds: u64| {
        created
            .checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?))
            .ok()
    };
    let counted = lifetime.and_then(|text| after(Lifetime::parse(text).ok()?.seconds()));
    let noted = at.and_then(|text| text.parse::<Timestamp>().ok());
    let expires = counted.max(noted)?.max(after(Lifetime::LEAST)?);
    (expires <= after(Lifetime::MOST)?).then_some(expires)
}

impl ListedAnchor {
    /// Whether jobpass may have made the anchor for a job.
    pub fn is_ours(&self) -> bool {
        let made = self.token_type == TokenType::Bound || self.platform.is_some();
        names::is_ours(&self.name) && made && self.is_plain()
    }

    /// Whether Kubernetes allows an object with this name, namespace and uid.
    pub(crate) fn is_plain(&self) -> bool {
        is_dns_subdomain(&self.name) && is_dns_label(&self.namespace) && names::is_identifier(&self.uid)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cluster::{
        Identity,
        scripted::{self, Fate},
    };

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    const CREATED: &str = "2026-11-24T10:00:00Z";

    #[rstest]
    #[case::as_written(Some("3600s"), Some("2026-11-24T11:00:00Z"), Some("2026-11-24T11:00:00Z"))]
    #[case::a_runner_that_is_an_hour_behind(
        Some("3600s"),
        Some("2026-11-24T10:00:00Z"),
        Some("2026-11-24T11:00:00Z")
    )]
    #[case::a_runner_that_is_ahead(Some("3600s"), Some("2026-11-24T12:00:00Z"), Some("2026-11-24T12:00:00Z"))]
    #[case::only_the_lifetime(Some("1h"), None, Some("2026-11-24T11:00:00Z"))]
    #[case::only_the_time(None, Some("2026-11-24T11:00:00Z"), Some("2026-11-24T11:00:00Z"))]
    #[case::garbage_beside_it(Some("x"), Some("2026-11-24T11:00:00Z"), Some("2026-11-24T11:00:00Z"))]
    #[case::before_it_was_created(None, Some("1970-01-01T00:00:00Z"), Some("2026-11-24T10:10:00Z"))]
    #[case::shorter_than_any(Some("1s"), None, None)]
    #[case::longer_than_any(None, Some("9999-01-01T00:00:00Z"), None)]
    #[case::overflow(Some("99999999999999s"), None, None)]
    #[case::nothing(None, None, None)]
    #[case::empty(Some(""), Some(""), None)]
    fn when_an_anchor_expires(
        #[case] lifetime: Option<&str>,
        #[case] noted: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(expires(at(CREATED), lifetime, noted), expected.map(at));
    }

    #[test]
    fn hostile_metadata_becomes_harmless_text() {
        let metadata: ObjectMeta = serde_json::from_value(serde_json::json!({
            "namespace": "ci", "name": "jobpass-abcdefghijklmnopqrst", "uid": "u-1", "creationTimestamp": CREATED,
            "annotations": {
                "jobpass.dev/job": "x\u{1b}]8;;https://evil\u{7}\r\n::error::y", "jobpass.dev/platform": " ",
                "jobpass.dev/lifetime": "3600s", "kubectl.kubernetes.io/last-applied-configuration": "{}",
            }
        }))
        .expect("metadata");
        let anchor = listed(&metadata, TokenType::Bound);
        assert_eq!(anchor.job.as_deref(), Some("x ]8;;https://evil ::error::y"));
        assert_eq!(anchor.platform, None);
        assert_eq!(anchor.expires, Some(at("2026-11-24T11:00:00Z")));
        assert!(anchor.is_ours());
        assert!(
            !ListedAnchor {
                name: "db-password".into(),
                ..anchor.clone()
            }
            .is_ours()
        );
        assert!(
            !ListedAnchor {
                namespace: "ci/../kube-system".into(),
                ..anchor
            }
            .is_ours()
        );
    }

    /// A page of anchors `jobpass-NAME`.
    fn page(names: &[&str], next: &str) -> Fate {
        let items = names.iter().map(|name| {
            let metadata =
                serde_json::json!({ "namespace": "ci", "name": format!("jobpass-{name}"), "uid": "u" });
            serde_json::json!({ "metadata": metadata })
        });
        let list = serde_json::json!({
            "kind": "PartialObjectMetadataList", "metadata": { "continue": next }, "items": items.collect::<Vec<_>>(),
        });
        Fate::answer(200, list.to_string())
    }

    fn expired(resume_at: &str) -> Fate {
        let status = serde_json::json!({
            "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "metadata": { "continue": resume_at },
        });
        Fate::answer(410, status.to_string())
    }

    /// Returns the names on all pages or the kind of the error. Also returns the limit and the continue token
    /// of each request.
    async fn listed_from(fates: Vec<Fate>) -> (Result<String, Kind>, Vec<String>) {
        let (cluster, log) = scripted::cluster(&Identity::default(), fates);
        let scope = Scope::Namespace("ci".into());
        // This list holds Secrets of one type only.
        let mut pages = Pages {
            types: &[TokenType::Bound],
            ..Pages::new(&cluster, &scope)
        };
        let mut names = Vec::new();
        let outcome = loop {
            match pages.next().await {
                Ok(Some(page)) => names.extend(page.anchors.into_iter().map(|anchor| anchor.name)),
                Ok(None) => break Ok(names.join(" ").replace("jobpass-", "")),
                Err(error) => break Err(error.kind()),
            }
        };
        let asked = log.lines().into_iter().map(|line| {
            let (_, query) = line.split_once("&limit=").expect("a limit");
            query.to_owned()
        });
        (outcome, asked.collect())
    }

    #[rstest]
    #[case::one_page(vec![page(&["a", "b"], "")], Ok("a b"), &["500"])]
    #[case::two_pages(vec![page(&["a"], "x"), page(&["b"], "")], Ok("a b"), &["500", "500&continue=x"])]
    #[case::none(vec![Fate::answer(200, r#"{"kind":"PartialObjectMetadataList","items":null}"#)], Ok(""), &["500"])]
    #[case::resumed(
        vec![page(&["a"], "x"), expired("y"), page(&["b"], "")],
        Ok("a b"),
        &["500", "500&continue=x", "500&continue=y"]
    )]
    #[case::restarted(
        vec![page(&["a"], "x"), expired(""), page(&["a", "b"], "")],
        Ok("a b"),
        &["500", "500&continue=x", "500"]
    )]
    #[case::restarted_for_ever(vec![expired("")], Err(Kind::Refused), &["500", "500", "500", "500"])]
    #[case::too_long(
        vec![Fate::answer(200, "x".repeat(5 << 20)), page(&["a"], "")],
        Ok("a"),
        &["500", "62"]
    )]
    #[case::too_long_for_ever(
        vec![Fate::answer(200, "x".repeat(5 << 20))],
        Err(Kind::Unreachable),
        &["500", "62", "7", "1"]
    )]
    #[case::more_than_metadata(
        vec![Fate::answer(200, r#"{"kind":"SecretList","items":[]}"#)],
        Err(Kind::Unreachable),
        &["500"]
    )]
    #[case::refused(vec![Fate::status(403, "Forbidden", "secrets", "no")], Err(Kind::Refused), &["500"])]
    #[tokio::test(start_paused = true)]
    async fn a_list_is_read_to_its_end(
        #[case] fates: Vec<Fate>,
        #[case] expected: Result<&str, Kind>,
        #[case] asked: &[&str],
    ) {
        let (outcome, log) = listed_from(fates).await;
        assert_eq!(
            (outcome.as_deref().map_err(|kind| *kind), log),
            (expected, asked.iter().map(|it| (*it).to_owned()).collect())
        );
    }
}
