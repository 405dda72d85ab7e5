//! What a token may do, asked with the token itself before it is handed over.
//!
//! Each permission is one SelfSubjectAccessReview, all at the same time. *Allowed*, *denied* and *unknown* are three answers:
//! a question that failed is never taken for a "no", nor for a "yes". Whether the ServiceAccount can outlive its token is many
//! questions, which one SelfSubjectRulesReview answers where that is complete.

mod escape;
mod report;
mod rules;

use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::json;

use crate::{
    cluster::{Budget, Call, Cluster, objects},
    inputs::checks::{Checks, EscapeCheck},
    rbac::Permission,
    text::harmless,
};

#[cfg(test)]
pub(crate) use self::rules::RulesReview;
pub use self::{
    escape::{Escape, Way},
    report::{Expected, Finding, Holder, Report, Verdict},
};

/// For what would be a warning only.
const WARN: Duration = Duration::from_secs(8);

impl Checks {
    /// Asks the API server, as whoever `cluster` speaks for: all questions at the same time.
    pub async fn ask(&self, cluster: &Cluster, holder: &Holder, budget: &Budget) -> Report {
        let required = self
            .require
            .iter()
            .map(|permission| (permission.clone(), Expected::Allowed));
        let forbidden = self
            .forbid
            .iter()
            .map(|permission| (permission.clone(), Expected::Denied));
        let expected = required.chain(forbidden).collect::<Vec<_>>();
        let asked = expected
            .iter()
            .map(|(permission, _)| review(cluster, permission, &holder.namespace, budget));
        // A warning is not worth all of the time.
        let patience = match self.escape {
            EscapeCheck::Warn => budget.at_most(WARN),
            _ => *budget,
        };
        let escape = async {
            match &holder.account {
                Some(account) if self.escape != EscapeCheck::Off => {
                    Escape::find(cluster, account, self.escape, &patience).await
                }
                _ => Escape::default(),
            }
        };
        let (answers, escape) = tokio::join!(join_all(asked), escape);
        let findings = expected.into_iter().zip(answers);
        let findings = findings.map(|((permission, expected), (verdict, reason))| Finding {
            permission,
            expected,
            verdict,
            reason,
        });
        Report {
            findings: findings.collect(),
            escape,
            holder: holder.clone(),
        }
    }
}

/// A SelfSubjectAccessReview.
#[derive(Deserialize)]
pub(crate) struct Review {
    status: Status,
}

/// `SubjectAccessReviewStatus`. Without an opinion of any authorizer, an error of one of them means that nobody knows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    allowed: bool,
    #[serde(default)]
    denied: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    evaluation_error: String,
}

/// One review: what the API server answers, and its reason.
pub(crate) async fn review(
    cluster: &Cluster,
    permission: &Permission,
    namespace: &str,
    budget: &Budget,
) -> (Verdict, String) {
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": permission.question(namespace),
    });
    let request =
        objects::<SelfSubjectAccessReview>(None).create(&PostParams::default(), body.to_string().into());
    let call = match Call::new("ask what the token may do", request) {
        Ok(call) => call,
        Err(error) => return (Verdict::Unknown, error.what().to_owned()),
    };
    let answer = match cluster.send(&call, budget).await {
        Ok(answer) => answer,
        Err(unanswered) => return (Verdict::Unknown, unanswered.error.what().to_owned()),
    };
    let why = match answer.status {
        201 => String::new(),
        401 => {
            "the API server answered 401 to the token: it is expired, revoked, or for other audiences".into()
        }
        status => format!("the API server answered {status} {}", answer.message()),
    };
    if answer.status != 201 {
        return (Verdict::Unknown, why.trim_end().to_owned());
    }
    let status = match answer.parse::<Review>(&call) {
        Ok(review) => review.status,
        Err(error) => return (Verdict::Unknown, error.what().to_owned()),
    };
    let shown = |text: &str| harmless(&cluster.without_bearer(text));
    match status {
        Status {
            allowed: true,
            reason,
            ..
        } => (Verdict::Allowed, shown(&reason)),
        Status {
            denied: true, reason, ..
        } => (Verdict::Denied, shown(&reason)),
        Status {
            evaluation_error,
            reason,
            ..
        } if evaluation_error.is_empty() => (Verdict::Denied, shown(&reason)),
        Status { evaluation_error, .. } => (Verdict::Unknown, shown(&evaluation_error)),
    }
}
