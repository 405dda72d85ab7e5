//! The user to whom the API server maps a credential.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::api::authentication::v1::UserInfo;
use serde::Serialize;

use crate::{
    access::SelfReview,
    claims::Claims,
    cluster::{Budget, Cluster, Denial, UNANSWERED},
    error::{Error, Kind},
    maintenance::inspect::why_refused,
};

/// A user (`authentication/v1.UserInfo`).
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// The name to which RBAC grants permissions.
    pub username: String,
    /// The uid, if the user has one, as every ServiceAccount does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The groups, such as `system:authenticated`.
    pub groups: Vec<String>,
    /// Further values by name, such as the credential id. Empty if the source is the token.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl From<UserInfo> for User {
    fn from(user: UserInfo) -> Self {
        Self {
            username: user.username.unwrap_or_default(),
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }
    }
}

/// A user, and how jobpass learned the user's name.
#[derive(Debug, Clone, Serialize)]
pub struct Whoami {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// The source of the user's name.
    pub source: WhoamiSource,
}

/// The source of a user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhoamiSource {
    /// The API server, in a SelfSubjectReview.
    ApiServer,
    /// The token's own claims. The API server accepts the token, but lacks SelfSubjectReview (before
    /// Kubernetes 1.28).
    Token,
}

/// Asks the API server for the user of `cluster`'s credential.
///
/// # Errors
/// If the API server does not answer, or refuses the credential or the request. Also if neither the API
/// server nor the credential names the user.
pub async fn whoami(cluster: &Cluster, budget: &Budget) -> Result<Whoami, Error> {
    let claims = cluster.bearer().and_then(|token| Claims::decode(token).ok());
    match SelfReview::ask(cluster, budget).await? {
        SelfReview::User(user) => {
            return Ok(Whoami {
                user: user.into(),
                source: WhoamiSource::ApiServer,
            });
        }
        SelfReview::Unsupported => {}
        SelfReview::Refused(call, answer) => {
            if let Some(denial) = answer.denial() {
                return Err(answer.unexpected(&call).help(match denial {
                    Denial::Unanswered(_) => UNANSWERED.to_owned(),
                    _ => format!(
                        "no permission is missing: {} refused the request, and the message above says why. \
                         Ask the people who run the cluster to allow it",
                        denial.in_words()
                    ),
                }));
            }
            if let Some(step) = answer.refused_by_another() {
                return Err(answer.unexpected(&call).help(step));
            }
            let help = next_step(answer.status, claims.as_ref(), jiff::Timestamp::now());
            return Err(answer.unexpected(&call).help(help));
        }
    }
    // The API server has not answered 401, so it accepts the credential.
    claims
        .and_then(|claims| user_of(&claims))
        .map(|user| Whoami {
            user,
            source: WhoamiSource::Token,
        })
        .ok_or_else(|| {
            let what =
                "this API server cannot name the user of the credential, because it is older than Kubernetes 1.28 (no SelfSubjectReview)";
            Error::new(Kind::Refused, what)
                .help("jobpass can read a user only from a ServiceAccount's token, and this credential is of \
                       another kind. The user of a client certificate is the certificate's CN. The user of an \
                       OIDC token is the claim that the API server's configuration names. The user's name in \
                       the kubeconfig is only a label")
        })
}

/// The next step after a refusal. `claims` are the claims of the credential, if the credential is a token.
fn next_step(status: u16, claims: Option<&Claims>, now: jiff::Timestamp) -> Cow<'static, str> {
    match (status, claims.map(|claims| why_refused(claims, now))) {
        (401, Some(Some(why))) => {
            format!("the API server refuses the token because {why}. Use another credential").into()
        }
        (401, Some(None)) => "the token is revoked (its bound object or its ServiceAccount is gone), or \
            belongs to another cluster: `jobpass inspect --verify` tells more"
            .into(),
        (401, None) => "the credential is wrong, expired or revoked, or belongs to another cluster: check \
            the user of the kubeconfig's context"
            .into(),
        (403, _) => {
            "ClusterRole `system:basic-user` allows this request to every authenticated user. Most likely a \
             proxy did not pass the credential on, or an authorizer forbids the request: check both"
                .into()
        }
        _ => "check the server's URL: no Kubernetes API server sends this answer".into(),
    }
}

/// The user to whom kube-apiserver maps a ServiceAccount's token (`UserInfo` in
/// `k8s.io/apiserver/pkg/authentication/serviceaccount/util.go`).
fn user_of(claims: &Claims) -> Option<User> {
    let username = claims.sub.clone()?;
    let (namespace, _) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let groups = vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let account = claims.kubernetes.as_ref().and_then(|k| k.serviceaccount.as_ref());
    Some(User {
        groups,
        uid: account.and_then(|account| account.uid.clone()),
        extra: BTreeMap::new(),
        username,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::{
        Identity,
        scripted::{self, Fate},
    };

    fn claims(json: Value) -> Claims {
        serde_json::from_value(json).expect("claims")
    }

    #[rstest]
    #[case::expired(401, Some(json!({"exp": 1})), "because it has expired")]
    #[case::revoked(401, Some(json!({"exp": 9_000_000_000_i64})), "the token is revoked")]
    #[case::certificate(401, None, "the credential is wrong")]
    #[case::forbidden(403, Some(json!({"exp": 1})), "system:basic-user")]
    #[case::something_else(502, None, "check the server's URL")]
    fn a_refusal_is_explained_by_the_credential(
        #[case] status: u16,
        #[case] token: Option<Value>,
        #[case] why: &str,
    ) {
        let claims = token.map(claims);
        let help = next_step(
            status,
            claims.as_ref(),
            jiff::Timestamp::from_second(1_800_000_000).expect("a time"),
        );
        assert!(help.contains(why), "{help}");
    }

    #[rstest]
    #[case::a_webhook(
        r#"{"kind":"Status","message":"admission webhook \"a.b\" denied the request","code":403}"#,
        "admission webhook `a.b`"
    )]
    #[case::a_gateway("<html>", "a gateway, a login page or a proxy")]
    #[tokio::test]
    async fn a_webhook_is_no_gateway(#[case] body: &str, #[case] why: &str) {
        let (cluster, _) = scripted::cluster(&Identity::default(), [Fate::answer(403, body)]);
        let asked = whoami(&cluster, &Budget::new(Duration::from_secs(5))).await;
        let error = asked.expect_err("refused");
        assert!(
            error.next_step().is_some_and(|step| step.contains(why)),
            "{error}"
        );
    }

    #[rstest]
    #[case(json!({
        "sub": "system:serviceaccount:ci:scanner",
        "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "scanner", "uid": "u"}},
    }), Some("u"))]
    #[case(json!({"sub": "system:serviceaccount:ci:scanner"}), None)]
    fn a_token_names_its_user(#[case] token: Value, #[case] uid: Option<&str>) {
        let user = user_of(&claims(token)).expect("a user");
        assert_eq!(user.uid.as_deref(), uid);
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:ci",
            "system:authenticated",
        ];
        assert_eq!(user.groups, groups);
    }

    #[rstest]
    #[case(json!({"sub": "repo:team/app:ref:refs/heads/main"}))]
    #[case(json!({"sub": "system:serviceaccount:ci"}))]
    #[case(json!({}))]
    fn only_a_service_accounts_token_names_its_user(#[case] token: Value) {
        assert!(user_of(&claims(token)).is_none());
    }
}
