//! Who the API server says that somebody is.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::UserInfo;
use serde::Serialize;

use crate::{
    access::SelfReview,
    claims::Claims,
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    maintenance::inspect::why_refused,
};

/// A user, as the API server sees one (`authentication/v1.UserInfo`).
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// The name that RBAC binds to.
    pub username: String,
    /// Of a ServiceAccount, its uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The groups, those that everybody has included.
    pub groups: Vec<String>,
    /// What else is known, by name: the credential id among it.
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

/// Who somebody is, and how that is known.
#[derive(Debug, Clone, Serialize)]
pub struct Whoami {
    /// Who.
    #[serde(flatten)]
    pub user: User,
    /// How.
    pub source: WhoamiSource,
}

/// How it is known who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhoamiSource {
    /// The API server said so, in a SelfSubjectReview.
    ApiServer,
    /// The API server knows no SelfSubjectReview (before Kubernetes 1.28). It takes the token, which says so itself.
    Token,
}

/// Asks the API server whom it takes `cluster`'s credential for.
///
/// # Errors
/// If there is no answer, the credential is refused, or nobody can tell.
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
            let status = answer.status;
            let what = format!(
                "cannot {}: the API server answered {status} {}",
                call.doing,
                answer.message()
            );
            let error = Error::new(Kind::Refused, what.trim_end());
            let now = jiff::Timestamp::now();
            return Err(match (status, claims.as_ref().map(|claims| why_refused(claims, now))) {
                (401, Some(Some(why))) => error.help(format!("the token is refused because {why}")),
                (401, Some(None)) => error.help(
                    "the token is revoked (its bound object or its ServiceAccount is gone), or of another cluster; \
                     `jobpass inspect --verify` tells more",
                ),
                (401, None) => error.help(
                    "the credential is wrong, expired or revoked, or of another cluster: check the user of the kubeconfig's \
                     context",
                ),
                (403, _) => error.help(
                    "everybody may ask this whom the API server knows (ClusterRole `system:basic-user`), so most likely \
                     no credential arrived, or an authorizer forbids it",
                ),
                _ => error.help("check the server's URL: this is not what a Kubernetes API server answers"),
            });
        }
    }
    // It would have answered 401 to a credential that it does not take.
    claims
        .and_then(|claims| user_of(&claims))
        .map(|user| Whoami {
            user,
            source: WhoamiSource::Token,
        })
        .ok_or_else(|| {
            let what =
                "this API server cannot say who asks (no SelfSubjectReview: Kubernetes before 1.28), though it knows";
            Error::new(Kind::Refused, what)
                .help("it is not a ServiceAccount's token either, which would say so itself: look at the kubeconfig's user")
        })
}

/// What the API server makes of a ServiceAccount's token (`pkg/serviceaccount/util.go`, `UserInfo`).
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
