//! Requests that show whether policies limit a minter. The policies must refuse them. Without policies, the
//! requests still change nothing and issue no token.

use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequestSpec},
        core::v1::Secret,
        rbac::v1::Role,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource as _;

use crate::{
    access::{self, Verdict},
    cluster::{Answer, Budget, Call, Cluster, Denial},
    error::Error,
    names,
    rbac::{self, Permission},
};

/// The meaning of the API server's answer to a request that the policies must refuse.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Enforcement {
    /// A policy of `setup` refused the request.
    Enforced,
    /// No policy refused the request.
    NotEnforced,
    /// The API server gave another answer, which does not show whether a policy of `setup` would refuse.
    Unknown,
}

/// The request that creates a Secret that is not an anchor, in a dry run.
///
/// # Errors
/// If the operating system returns no random bytes, or if the Secret cannot be serialised, which is a defect.
pub(crate) fn other_secret(namespace: &str) -> Result<Call, Error> {
    let secret = Secret {
        type_: Some("Opaque".into()),
        metadata: named(names::random_name()?),
        ..Secret::default()
    };
    Call::create_dry("create a Secret that is not an anchor", Some(namespace), &secret)
}

/// The request that creates a Role that belongs to no job, in a dry run.
///
/// # Errors
/// If the Role cannot be serialised, which is a defect.
pub(crate) fn other_role(namespace: &str) -> Result<Call, Error> {
    let role = Role {
        metadata: named("jobpass-no-job".to_owned()),
        rules: None,
    };
    Call::create_dry("create a Role that belongs to no job", Some(namespace), &role)
}

fn named(name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        ..ObjectMeta::default()
    }
}

/// The account that every namespace has. kube-apiserver asks no policy about an account that does not exist.
pub(crate) const DEFAULT: &str = "default";

/// The reason why a policy must refuse a token request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// The token would be bound to a Secret by name, without the Secret's uid.
    Unpinned,
    /// The lifetime is too long. The number is that lifetime, in seconds.
    Lifetime(u64),
    /// No set-up lets the minter get tokens of the ServiceAccount.
    Account,
}

/// The violation in a request for a token of the account [`DEFAULT`]. The policy of tokens for jobs with
/// rules must refuse this request. If `minter` has the verb `mint` on the account, by another set-up or by
/// wide permissions, the policy allows the account. Then the requested token itself must break the policy.
pub(crate) async fn of_default(minter: &Cluster, namespace: &str, budget: &Budget) -> Violation {
    let mint = Permission::built_in(rbac::MINT, "serviceaccounts/token", DEFAULT);
    match access::review(minter, &mint, namespace, budget).await {
        (Verdict::Allowed, _) => Violation::Unpinned,
        (Verdict::Denied | Verdict::Unknown, _) => Violation::Account,
    }
}

/// The request for a token that is bound to a Secret that does not exist. kube-apiserver first finds the
/// account, then asks the policies, and at last looks for the Secret. So it never issues this token. A dry
/// run is not an option: for a token request, kube-apiserver ignores `dryRun`, and issues a token that works.
///
/// # Errors
/// If the operating system returns no random bytes.
pub(crate) fn token(namespace: &str, account: &str, violation: Violation) -> Result<Call, Error> {
    let doing = match violation {
        Violation::Unpinned => "get a token that is not bound to an anchor",
        Violation::Lifetime(_) => "get a token with too long a lifetime",
        Violation::Account => "get a token of another ServiceAccount",
    };
    Call::request_token(doing, namespace, account, None, spec(violation)?)
}

fn spec(violation: Violation) -> Result<TokenRequestSpec, Error> {
    let uid = "00000000-0000-0000-0000-000000000000";
    let bound = BoundObjectReference {
        api_version: Some(Secret::api_version(&()).into()),
        kind: Some(Secret::kind(&()).into()),
        name: Some(names::random_name()?),
        uid: (!matches!(violation, Violation::Unpinned)).then(|| uid.to_owned()),
    };
    let expiration_seconds = match violation {
        Violation::Lifetime(seconds) => Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
        Violation::Unpinned | Violation::Account => None,
    };
    Ok(TokenRequestSpec {
        bound_object_ref: Some(bound),
        expiration_seconds,
        audiences: Vec::new(),
    })
}

impl Enforcement {
    /// Tells from an answer whether the policies limit the minter.
    pub(crate) fn by(answer: &Answer) -> Self {
        match answer.status {
            201 => Self::NotEnforced,
            404 if answer.is_secret_not_found() => Self::NotEnforced,
            // kube-apiserver names one of the policies that refuse a request.
            _ if answer.denial().is_some_and(Denial::is_of_setup) => Self::Enforced,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::*;
    use crate::cluster::{
        Identity,
        scripted::{self, Fate},
    };

    const NOT_FOUND: &str = r#"{"kind":"Status","message":"secrets \"a\" not found","reason":"NotFound","details":{"name":"a","kind":"secrets"},"code":404}"#;
    const NO_ACCOUNT: &str = r#"{"kind":"Status","message":"serviceaccounts \"a\" not found","reason":"NotFound","details":{"name":"a","kind":"serviceaccounts"},"code":404}"#;
    const RBAC: &str = r#"{"kind":"Status","message":"secrets is forbidden: User \"m\" cannot create","reason":"Forbidden","details":{"kind":"secrets"},"code":403}"#;

    fn policy(name: &str) -> String {
        let message = format!("ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: no");
        format!(
            r#"{{"kind":"Status","message":"secrets \"a\" is forbidden: {message}","reason":"Invalid","details":{{"name":"a","kind":"secrets","causes":[{{"message":"{message}"}}]}},"code":422}}"#
        )
    }

    #[rstest]
    #[case::policy_of_setup(422, policy("jobpass-anchors.ci.scanner"), Enforcement::Enforced)]
    #[case::another_policy(422, policy("needs-team"), Enforcement::Unknown)]
    #[case::created(201, "{}".into(), Enforcement::NotEnforced)]
    #[case::after_the_policies(404, NOT_FOUND.into(), Enforcement::NotEnforced)]
    #[case::before_the_policies(404, NO_ACCOUNT.into(), Enforcement::Unknown)]
    #[case::rbac(403, RBAC.into(), Enforcement::Unknown)]
    #[case::unauthorized(401, String::new(), Enforcement::Unknown)]
    #[case::trouble(503, String::new(), Enforcement::Unknown)]
    fn only_a_policy_of_setup_is_enforcement(
        #[case] status: u16,
        #[case] body: String,
        #[case] expected: Enforcement,
    ) {
        let answer = Answer::new(status, Some(body.into_bytes().into()));
        assert_eq!(Enforcement::by(&answer), expected);
    }

    /// With the verb `mint` on the account, the policy of tokens for jobs with rules allows a sound token of
    /// the account.
    #[rstest]
    #[case::of_no_set_up(r#"{"allowed":false}"#, Violation::Account)]
    #[case::of_another_set_up(r#"{"allowed":true}"#, Violation::Unpinned)]
    #[tokio::test]
    async fn a_token_of_default_violates_what_the_policy_limits(
        #[case] status: &str,
        #[case] expected: Violation,
    ) {
        let review = format!(r#"{{"kind":"SelfSubjectAccessReview","spec":{{}},"status":{status}}}"#);
        let (minter, log) = scripted::cluster(&Identity::default(), [Fate::answer(201, review)]);
        let budget = Budget::new(Duration::from_secs(5));
        assert_eq!(of_default(&minter, "ci", &budget).await, expected);
        let (_, question) = &log.requests()[0];
        let question = serde_json::from_str::<serde_json::Value>(question).expect("JSON");
        let asked = &question["spec"]["resourceAttributes"];
        assert_eq!(
            (&asked["verb"], &asked["name"], &asked["namespace"]),
            (&"mint".into(), &"default".into(), &"ci".into())
        );
    }

    #[rstest]
    #[case(Violation::Unpinned, false, None)]
    #[case(Violation::Account, true, None)]
    #[case(Violation::Lifetime(3601), true, Some(3601))]
    fn a_token_violates_one_rule(
        #[case] violation: Violation,
        #[case] pinned: bool,
        #[case] seconds: Option<i64>,
    ) {
        let spec = spec(violation).expect("a spec");
        let bound = spec.bound_object_ref.expect("an anchor");
        assert_eq!(bound.kind.as_deref(), Some("Secret"));
        assert!(bound.name.is_some_and(|name| names::is_ours(&name)));
        assert_eq!((bound.uid.is_some(), spec.expiration_seconds), (pinned, seconds));
    }
}
