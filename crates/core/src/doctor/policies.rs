//! The checks of the admission policies: whether they refuse requests that a minter must not make.

use k8s_openapi::api::core::v1::Secret;
use kube::core::params::ListParams;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Finding, Health,
    api_checks::{ApiChecks, User},
};
use crate::{
    anchor,
    cluster::{Answer, Call},
    error::{Error, Kind},
    maintenance::setup::enforcement::{self, Enforcement, Violation},
};

const TOKENS: &str = "policy for tokens";
const OTHER_SECRETS: &str = "other Secrets";
/// The findings about a token without its Secret's uid: if a policy refuses it, and if none does.
const UNPINNED: (&str, &str) = (
    "a policy refuses a token that is not bound to a Secret with its uid",
    "no policy limits this minter: it may bind a token to a Secret without naming the Secret's uid",
);

impl ApiChecks<'_> {
    /// Sends requests that the policies must refuse, and looks for a Secret that is not an anchor. The
    /// requests change nothing: some are dry runs, and one asks for a token that is bound to a Secret that
    /// does not exist.
    pub(super) async fn check_policies(&self, user: &User, findings: &mut Vec<Finding>) {
        let fix = self.setup(user);
        let (anchors, tokens, roles, others) = tokio::join!(
            self.other_secrets(&fix),
            self.unbound_tokens(&fix),
            self.other_roles(&fix),
            self.listed_secrets()
        );
        findings.extend(tokens);
        findings.push(anchors);
        findings.extend(roles);
        findings.push(others);
    }

    /// Creates a Secret that is not an anchor, in a dry run.
    async fn other_secrets(&self, fix: &str) -> Finding {
        let call = enforcement::other_secret(&self.spec.namespace);
        let refused = "a policy refuses a Secret that is not an anchor";
        let allowed = "no policy limits this minter: it may create and delete any Secret";
        self.probe("policy for anchors", call, refused, allowed, fix)
            .await
    }

    /// Creates a Role that belongs to no job, in a dry run.
    async fn other_roles(&self, fix: &str) -> Option<Finding> {
        if self.spec.rules.is_empty() {
            return None;
        }
        let call = enforcement::other_role(&self.spec.namespace);
        let refused = "a policy refuses a Role that belongs to no job";
        let allowed =
            "no policy limits this minter: it may give all its own permissions to accounts that it creates";
        Some(self.probe("policy for roles", call, refused, allowed, fix).await)
    }

    /// Requests a token that a policy must refuse. Without a policy, the API server still issues no token,
    /// because the token's Secret does not exist.
    async fn unbound_tokens(&self, fix: &str) -> Vec<Finding> {
        let namespace = &self.spec.namespace;
        let (account, violation) = match &*self.spec.rules {
            [] => (&*self.spec.service_account, Violation::Unpinned),
            // A job's own ServiceAccount does not exist yet.
            _ => (
                enforcement::DEFAULT,
                enforcement::of_default(self.cluster, namespace, self.budget).await,
            ),
        };
        let answer = match enforcement::token(namespace, account, violation) {
            Ok(call) => self.cluster.send(&call, self.budget).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return vec![Finding::new(TOKENS, Health::Unknown, error.message())],
        };
        let (refused, allowed) = match violation {
            _ if self.spec.rules.is_empty() => return about_account(&answer, account, namespace, fix),
            Violation::Account => (
                "a policy refuses a token of a ServiceAccount that was not made for a job",
                "no policy limits this minter: it may get a token of any ServiceAccount in the namespace",
            ),
            Violation::Unpinned | Violation::Lifetime(_) => UNPINNED,
        };
        vec![finding(TOKENS, &answer, refused, allowed, fix)]
    }

    /// Sends one request that a policy must refuse.
    async fn probe(
        &self,
        check: &'static str,
        call: Result<Call, Error>,
        refused: &str,
        allowed: &str,
        fix: &str,
    ) -> Finding {
        let answer = match call {
            Ok(call) => self.cluster.send(&call, self.budget).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => finding(check, &answer, refused, allowed, fix),
            Err(error) => Finding::new(check, Health::Unknown, error.message()),
        }
    }

    /// Lists the metadata of one Secret that is not an anchor, in the namespace of the anchors.
    async fn listed_secrets(&self) -> Finding {
        let others = ListParams::default()
            .fields(&format!("type!={}", anchor::TYPE))
            .limit(1);
        let call = match Call::list_metadata::<Secret>("list Secrets", Some(&self.spec.namespace), &others) {
            Ok(call) => call,
            Err(error) => return Finding::new(OTHER_SECRETS, Health::Unknown, error.message()),
        };
        match self.cluster.send(&call, self.budget).await {
            Ok(answer) => about_list(&answer, &call),
            Err(unanswered) => Finding::new(OTHER_SECRETS, Health::Unknown, unanswered.error.message()),
        }
    }
}

/// The findings from the request for a token of the jobs' ServiceAccount that a policy must refuse.
/// kube-apiserver first looks for that account, so its answer also shows whether the account exists.
fn about_account(answer: &Answer, account: &str, namespace: &str, fix: &str) -> Vec<Finding> {
    let exists = "ServiceAccount";
    if answer.missing() == Some("serviceaccounts") {
        let said = format!("{account} does not exist in namespace {namespace}");
        let fix = format!(
            "check inputs `service-account` and `namespace`, or create it with `kubectl create \
             serviceaccount {account} --namespace {namespace}`"
        );
        return vec![Finding::new(exists, Health::Failed(Kind::Refused), said).fix(fix)];
    }
    let (refused, allowed) = UNPINNED;
    let policy = finding(TOKENS, answer, refused, allowed, fix);
    match Enforcement::by(answer) {
        Enforcement::Enforced | Enforcement::NotEnforced => {
            vec![
                Finding::new(exists, Health::Ok, format!("{account} exists")),
                policy,
            ]
        }
        Enforcement::Unknown => vec![policy],
    }
}

/// The finding about one request that a policy must refuse.
fn finding(check: &'static str, answer: &Answer, refused: &str, allowed: &str, fix: &str) -> Finding {
    match Enforcement::by(answer) {
        Enforcement::Enforced => Finding::new(check, Health::Ok, refused),
        Enforcement::NotEnforced => Finding::new(check, Health::Warning, allowed).fix(fix),
        // kube-apiserver does not answer these requests with 501.
        Enforcement::Unknown if answer.status == 501 => Finding::new(
            check,
            Health::Unknown,
            "the server does not support the request with which doctor looks for a policy (501). It is not a \
             whole Kubernetes: jobpass's own dev cluster, for example, has no policies",
        ),
        Enforcement::Unknown => Finding::new(check, Health::Unknown, answer.in_words()),
    }
}

/// The finding about the list of the Secrets that are not anchors.
fn about_list(answer: &Answer, call: &Call) -> Finding {
    let others = match answer.status {
        200 => answer.parse::<List>(call),
        403 if answer.is_forbidden() => {
            let said = "this minter may not list Secrets, which is right. So doctor cannot tell whether the \
                        namespace holds Secrets other than anchors";
            return Finding::new(OTHER_SECRETS, Health::Ok, said);
        }
        _ => return Finding::new(OTHER_SECRETS, Health::Unknown, answer.in_words()),
    };
    let holds = match others {
        Ok(list) if list.items.is_empty() => "holds only anchors",
        Ok(_) => "holds other Secrets",
        Err(error) => return Finding::new(OTHER_SECRETS, Health::Unknown, error.message()),
    };
    let said = format!("this minter may list Secrets, so it can read them, and the namespace {holds}");
    Finding::new(OTHER_SECRETS, Health::Warning, said).fix(
        "remove `list` from the minter's role, and keep no other Secrets in the namespace of the anchors",
    )
}

/// A list of metadata. For an empty list, the API server may send `null` as `items`.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(status, Some(body.as_bytes().to_vec().into()))
    }

    const NO_ACCOUNT: &str = r#"{"kind":"Status","message":"serviceaccounts \"scanner\" not found","reason":"NotFound","details":{"name":"scanner","kind":"serviceaccounts"},"code":404}"#;
    const NO_SECRET: &str = r#"{"kind":"Status","message":"secrets \"jobpass-a\" not found","reason":"NotFound","details":{"name":"jobpass-a","kind":"secrets"},"code":404}"#;
    const POLICY: &str = r#"{"kind":"Status","message":"serviceaccounts \"scanner\" is forbidden: ValidatingAdmissionPolicy 'jobpass-tokens.ci.scanner' with binding 'jobpass-tokens.ci.scanner' denied request: no","reason":"Invalid","details":{"name":"scanner","kind":"serviceaccounts","causes":[{"message":"ValidatingAdmissionPolicy 'jobpass-tokens.ci.scanner' with binding 'jobpass-tokens.ci.scanner' denied request: no"}]},"code":422}"#;
    const RBAC: &str = r#"{"kind":"Status","message":"serviceaccounts \"scanner\" is forbidden: User \"jane\" cannot create","reason":"Forbidden","details":{"name":"scanner","kind":"serviceaccounts"},"code":403}"#;

    #[rstest]
    #[case::no_account(404, NO_ACCOUNT, "failed ServiceAccount")]
    #[case::no_policy(404, NO_SECRET, "ok ServiceAccount, warning policy for tokens")]
    #[case::issued(201, "{}", "ok ServiceAccount, warning policy for tokens")]
    #[case::policy(422, POLICY, "ok ServiceAccount, ok policy for tokens")]
    #[case::rbac(403, RBAC, "unknown policy for tokens")]
    #[case::not_a_whole_kubernetes(501, "{}", "unknown policy for tokens")]
    #[case::no_such_path(404, "404 page not found", "unknown policy for tokens")]
    fn a_request_for_an_unbound_token_shows_account_and_policy(
        #[case] status: u16,
        #[case] body: &str,
        #[case] expected: &str,
    ) {
        let findings = about_account(&answer(status, body), "scanner", "ci", "an administrator runs it");
        let words = findings.iter().map(|finding| {
            let is_fixed = matches!(finding.health, Health::Warning | Health::Failed(_));
            assert_eq!(!finding.fix.is_empty(), is_fixed, "{}", finding.said);
            format!("{} {}", finding.health.word(), finding.check)
        });
        assert_eq!(words.collect::<Vec<_>>().join(", "), expected);
    }

    #[rstest]
    #[case::may_not(403, RBAC, "ok", "may not list Secrets, which is right")]
    #[case::a_gateway(403, "<html>", "unknown", "the API server answered 403")]
    #[case::only_anchors(200, r#"{"items":[]}"#, "warning", "holds only anchors")]
    #[case::null(200, r#"{"items":null}"#, "warning", "holds only anchors")]
    #[case::others(
        200,
        r#"{"items":[{"metadata":{"name":"a"}}],"new":1}"#,
        "warning",
        "holds other Secrets"
    )]
    #[case::no_list(200, "<html>", "unknown", "does not come from a Kubernetes API server")]
    #[case::trouble(500, "", "unknown", "the API server answered 500")]
    fn a_minter_that_lists_secrets_is_a_warning(
        #[case] status: u16,
        #[case] body: &str,
        #[case] health: &str,
        #[case] said: &str,
    ) {
        let call = Call::get("list Secrets", "/api/v1/namespaces/ci/secrets").expect("a call");
        let finding = about_list(&answer(status, body), &call);
        assert_eq!(finding.health.word(), health);
        assert!(finding.said.contains(said), "{}", finding.said);
    }
}
