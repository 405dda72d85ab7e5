//! The permissions of a token. jobpass asks about them with the token itself before it hands the token over.
//!
//! Each permission takes one SelfSubjectAccessReview; jobpass sends all of them at the same time. An answer
//! is *allowed*, *denied* or *unknown*: a request that fails proves neither a "yes" nor a "no". The escape
//! check (input `escape-check`) has about 55 questions. One SelfSubjectRulesReview answers most of them, if
//! its list is complete.

mod escape;
mod report;
mod rules;
mod user;

use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SubjectAccessReviewStatus};

use crate::{
    cluster::{Budget, Call, Cluster},
    inputs::checks::{Checks, EscapeCheck},
    rbac::Permission,
    text::harmless,
};

#[cfg(test)]
pub(crate) use self::user::AnyVersion;
pub(crate) use self::user::SelfReview;
pub use self::{
    escape::{Escape, Way},
    report::{Expected, Finding, Holder, Report, Verdict},
};

/// The time limit for reviews that can only lead to a warning.
pub(crate) const WARN: Duration = Duration::from_secs(8);

impl Checks {
    /// Asks the API server about each required and forbidden permission, as the identity of `cluster`. The
    /// escape check runs at the same time.
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
        // Answers that can only become a warning must not use up the whole budget.
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

/// Asks about one permission. Returns the verdict with the API server's reason. If there is no verdict,
/// returns [`Verdict::Unknown`] with the cause.
pub(crate) async fn review(
    cluster: &Cluster,
    permission: &Permission,
    namespace: &str,
    budget: &Budget,
) -> (Verdict, String) {
    let question = SelfSubjectAccessReview {
        spec: permission.question(namespace),
        ..SelfSubjectAccessReview::default()
    };
    let call = match Call::create("ask about a permission", None, &question) {
        Ok(call) => call,
        Err(error) => return (Verdict::Unknown, error.message().to_owned()),
    };
    let answer = match cluster.send(&call, budget).await {
        Ok(answer) => answer,
        Err(unanswered) => return (Verdict::Unknown, unanswered.error.message().to_owned()),
    };
    match answer.status {
        201 => {}
        401 => {
            let why = "the API server answered 401: the credential is wrong, expired or revoked, or belongs to \
                 another cluster or audience";
            return (Verdict::Unknown, why.to_owned());
        }
        _ => return (Verdict::Unknown, answer.in_words()),
    }
    let review = answer.parse_with::<SelfSubjectAccessReview>(&call, "/status/allowed");
    match review {
        Ok(review) => {
            let (verdict, reason) = verdict(review.status.unwrap_or_default());
            (verdict, harmless(&cluster.without_bearer(&reason)))
        }
        Err(error) => (Verdict::Unknown, error.message().to_owned()),
    }
}

/// The verdict in an answer, and its reason. The verdict is unknown if one authorizer failed and no other
/// decided.
fn verdict(status: SubjectAccessReviewStatus) -> (Verdict, String) {
    let reason = status.reason.unwrap_or_default();
    let error = status.evaluation_error.filter(|error| !error.is_empty());
    match (status.allowed, status.denied, error) {
        (true, _, _) => (Verdict::Allowed, reason),
        (false, Some(true), _) | (false, _, None) => (Verdict::Denied, reason),
        (false, _, Some(error)) => (Verdict::Unknown, error),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::allowed(r#"{"allowed":true,"reason":"r"}"#, Verdict::Allowed, "r")]
    #[case::allowed_in_spite_of_an_error(r#"{"allowed":true,"evaluationError":"e"}"#, Verdict::Allowed, "")]
    #[case::no_opinion(r#"{"allowed":false}"#, Verdict::Denied, "")]
    #[case::denied(
        r#"{"allowed":false,"denied":true,"reason":"r","evaluationError":"e"}"#,
        Verdict::Denied,
        "r"
    )]
    #[case::an_authorizer_failed(
        r#"{"allowed":false,"reason":"r","evaluationError":"e"}"#,
        Verdict::Unknown,
        "e"
    )]
    #[case::no_error(r#"{"allowed":false,"evaluationError":""}"#, Verdict::Denied, "")]
    fn a_failed_authorizer_is_no_denial(
        #[case] status: &str,
        #[case] expected: Verdict,
        #[case] reason: &str,
    ) {
        let status = serde_json::from_str(status).expect("a status");
        assert_eq!(verdict(status), (expected, reason.to_owned()));
    }
}
