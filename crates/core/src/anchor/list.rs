//! The anchors that are in a cluster, found page by page.
//!
//! Among them are the Secrets of legacy tokens that say when they are to go, whoever made them.
//!
//! Only their metadata is asked for, and the API server picks them out by their type: nothing that is in a Secret leaves it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta},
};
use kube::{api::ListParams, core::PartialObjectMeta};
use serde::{Deserialize, Serialize};

use crate::{
    anchor::{self, legacy},
    cluster::{Answer, Budget, Call, Cluster, Scope},
    error::{Error, Kind},
    inputs::{lifetime::Lifetime, spec::TokenType},
    names::{self, is_dns_label, is_dns_subdomain},
    text::harmless,
};

/// As kubectl does. Smaller only where a page would be too long.
const PAGE: u32 = 500;
/// One page, retries included.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(45);
/// How often in a row a list may have to be resumed or begun anew.
const RESUMPTIONS: u32 = 3;

/// An anchor as it is in the cluster. Whoever may create anchors writes their annotations: all texts are harmless, none
/// is to be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedAnchor {
    /// Its namespace, and the ServiceAccount's.
    pub namespace: String,
    /// Its name.
    #[serde(rename = "anchor")]
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is an anchor for a bound token, or holds a legacy one.
    #[serde(default, rename = "type")]
    pub token_type: TokenType,
    /// `github`, `gitlab`, `cli`.
    pub platform: Option<String>,
    /// The repository or project.
    pub repository: Option<String>,
    /// The id of the run or pipeline.
    pub run_id: Option<String>,
    /// The id or name of the job.
    pub job: Option<String>,
    /// Where to look at it.
    pub url: Option<String>,
    /// Who started it.
    pub requested_by: Option<String>,
    /// Whom the token speaks for.
    pub service_account: Option<String>,
    /// When it was created, by the API server's clock.
    pub created: Option<Timestamp>,
    /// When no token that is bound to it can be valid any more, or a legacy token is to go, if its annotations say so.
    pub expires: Option<Timestamp>,
}

/// Some of the anchors.
pub struct Page {
    /// In the order of namespace and name.
    pub anchors: Vec<ListedAnchor>,
    /// The time by the API server's clock, which `created` and lifetimes follow; this machine's if it did not say.
    pub now: Timestamp,
}

/// The pages of a list that may be changed while it is read.
pub struct Pages<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    /// What the list is for, to name what it needs: the verbs of a rule.
    verbs: &'static [&'static str],
    /// The types of Secrets that are still to be listed, one after the other.
    types: &'static [TokenType],
    /// Which of them count.
    counts: fn(&ObjectMeta, TokenType) -> bool,
    limit: u32,
    /// Where the next page begins; none at the beginning.
    token: String,
    /// The key of the last anchor that was answered.
    last: String,
    /// What was seen before the list had to be begun anew: the keys up to this one.
    seen: String,
    /// How often in a row, without anything new, it was resumed or begun anew.
    resumptions: u32,
}

impl<'a> Pages<'a> {
    /// The anchors of `scope`, to look at: legacy tokens only if jobpass made them for a job.
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
            limit: PAGE,
            token: String::new(),
            last: String::new(),
            seen: String::new(),
            resumptions: 0,
        }
    }

    /// The Secrets of legacy tokens that nothing will ever delete: they neither say when they are to go, nor belong to anything.
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

    /// The anchors of `scope`, to delete some. Legacy tokens that do not say when they are to go are not among them.
    pub(crate) fn to_sweep(cluster: &'a Cluster, scope: &'a Scope) -> Self {
        Self {
            verbs: SWEEPER,
            counts: |metadata, token_type| token_type == TokenType::Bound || has_expiration(metadata),
            ..Self::new(cluster, scope)
        }
    }

    /// The next page; `None` after the last.
    ///
    /// A list that has grown too old for the API server is resumed where it was, as the server offers, or begun anew.
    ///
    /// # Errors
    /// If there is no usable answer, or the API server refuses.
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        while let Some(token_type) = self.types.first().copied() {
            let call = self.call(token_type)?;
            let answer = self.cluster.send(&call, &Budget::new(PATIENCE)).await?;
            match answer.status {
                200 if answer.too_long && self.limit > 1 => self.limit = (self.limit / 8).max(1),
                200 => return self.page(token_type, &call, &answer).map(Some),
                410 if self.resumptions < RESUMPTIONS => {
                    self.resumptions += 1;
                    // `k8s.io/apiserver/pkg/storage/etcd3/errors.go`, `handleCompactedErrorForPaging`
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
        let mut params = ListParams::default()
            .fields(&format!("type={secret_type}"))
            .limit(self.limit);
        if !self.token.is_empty() {
            params = params.continue_token(&self.token);
        }
        Call::list_metadata::<Secret>("list the anchors", self.scope.namespace(), &params)
    }

    fn page(&mut self, token_type: TokenType, call: &Call, answer: &Answer) -> Result<Page, Error> {
        let list = answer.parse::<List>(call)?;
        if list.kind != "PartialObjectMetadataList" {
            let what = "cannot list the anchors: the server answered with more than their metadata";
            return Err(Error::new(Kind::Unreachable, what)
                .help("check the server's URL: no Kubernetes API server does that"));
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

/// What a sweeper may do with Secrets.
pub(crate) const SWEEPER: &[&str] = &["list", "delete"];

/// A list of metadata. Unlike kube-core's `ObjectList`, it may lack `items`: Go writes `null` where there are none.
#[derive(Deserialize)]
pub(crate) struct List {
    kind: String,
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<PartialObjectMeta<Secret>>,
}

/// The API server lists in the order of these.
fn key(metadata: &ObjectMeta) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    Some(metadata.annotations.as_ref()?.get(key)?)
}

/// Whether a Secret says when it is to go.
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

/// The later of what the annotations say: the lifetime counted from the creation, which is by one clock alone, and the
/// time that the minting machine's clock gave.
///
/// Nothing that no token can have: sooner than ten minutes after the creation becomes ten minutes, and what is later than
/// the longest lifetime counts as not said.
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
    /// Whether jobpass can have made it, for a job.
    pub fn is_ours(&self) -> bool {
        let made = self.token_type == TokenType::Bound || self.platform.is_some();
        names::is_ours(&self.name) && made && self.is_plain()
    }

    /// Whether its names are some that an object can have.
    pub(crate) fn is_plain(&self) -> bool {
        is_dns_subdomain(&self.name) && is_dns_label(&self.namespace) && names::is_identifier(&self.uid)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

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
}
