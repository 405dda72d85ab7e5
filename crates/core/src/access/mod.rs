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
use serde::Deserialize;
use serde_json::json;

#[cfg(test)]
pub(crate) use self::rules::RulesReview;
pub use self::{
    escape::{Escape, Way},
    report::{Expected, Finding, Report, Verdict},
};
use crate::{
    claims::Claims,
    cluster::{Budget, Call, Cluster},
    error::Error,
    inputs::{options::Inputs, spec::is_dns_label},
    rbac::{Permission, parse_all},
    text::harmless,
    token::Token,
};

/// For what would be a warning only.
const WARN: Duration = Duration::from_secs(8);

/// What is to be asked about a token.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// What it must be allowed.
    pub require: Vec<Permission>,
    /// What it must not be allowed.
    pub forbid: Vec<Permission>,
    /// Whether to look for ways in which its ServiceAccount can outlive it.
    pub escape: EscapeCheck,
}

/// What to do about a ServiceAccount that can outlive its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapeCheck {
    /// Refuse the token.
    Fail,
    /// Say so.
    #[default]
    Warn,
    /// Do not look.
    Off,
}

/// Whom the questions are about.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The namespace that they are about unless they say otherwise.
    pub namespace: String,
    /// The ServiceAccount, if it is one; other users have no tokens that they could outlive.
    pub account: Option<Account>,
}

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// The account that a token speaks for.
    pub(crate) fn of(token: &Token) -> Option<Self> {
        let subject = Claims::decode(token).ok()?.sub?;
        let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let plain = is_dns_label(namespace) && name.split('.').all(is_dns_label);
        plain.then(|| Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

/// `NAMESPACE/NAME`.
impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Checks {
    /// Parses the inputs.
    ///
    /// # Errors
    /// The first line that is wrong; or what cannot be asked at all.
    pub fn parse(inputs: &Inputs) -> Result<Self, Error> {
        let permissions = |option| parse_all(option, inputs.get(option).unwrap_or_default(), Ok);
        let (require, forbid) = (permissions("require")?, permissions("forbid")?);
        // `*` asks whether everything is allowed: forbidding that forbids next to nothing, unless it is meant.
        let vague = forbid
            .iter()
            .find(|permission| matches!(permission.wildcards(), (true, false) | (false, true)));
        if let Some(vague) = vague {
            return Err(Error::input(
                "forbid",
                format!("has `{vague}`, which only forbids to have everything that `*` stands for"),
                "write each permission on a line of its own: `get secrets`, `list secrets`; `* *` forbids to be an \
                 administrator",
            ));
        }
        let escape = match inputs.get("escape-check") {
            Some("fail") => EscapeCheck::Fail,
            Some("warn") | None => EscapeCheck::Warn,
            Some("off") => EscapeCheck::Off,
            Some(other) => {
                let problem = format!("is `{}`", harmless(other));
                return Err(Error::input(
                    "escape-check",
                    problem,
                    "use `fail`, `warn` or `off`",
                ));
            }
        };
        // Only the API server itself can be asked with a token; one for others gets 401 from it.
        let asked = [("require", &require), ("forbid", &forbid)];
        let asked = asked.into_iter().find(|(_, permissions)| !permissions.is_empty());
        if let (Some((option, _)), true) = (asked, inputs.get("audiences").is_some()) {
            return Err(Error::input(
                option,
                "and input `audiences` are both given: the API server answers no question of a token that is for others",
                "leave out one of the two, or mint a second token",
            ));
        }
        Ok(Self {
            require,
            forbid,
            escape,
        })
    }

    /// More that must be allowed, as it stands in the input `option`.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn also_require(&mut self, option: &str, text: &str) -> Result<(), Error> {
        self.require.extend(parse_all(option, text, Ok)?);
        Ok(())
    }

    /// Whether there is anything to ask about a ServiceAccount's token.
    pub(crate) fn is_empty(&self) -> bool {
        self.require.is_empty() && self.forbid.is_empty() && self.escape == EscapeCheck::Off
    }

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
    let call = Call {
        doing: "ask what the token may do",
        method: http::Method::POST,
        path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".into(),
        body: Some(json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": permission.question(namespace),
        })),
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
