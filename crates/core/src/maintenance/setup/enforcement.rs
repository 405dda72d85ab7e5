//! Whether policies hold a minter: asked with requests that they must refuse, and that change nothing and issue no token where they
//! do not.

use serde_json::{Value, json};

use crate::{
    cluster::{Answer, Call, Denial},
    error::Error,
    names,
};

/// What the answer to such a request says.
pub(crate) enum Enforcement {
    /// A policy of a set-up refused it.
    Enforced,
    /// Nothing refused it.
    NotEnforced,
    /// Somebody else refused it, so that nobody knows.
    Unknown,
}

/// To create a Secret that is no anchor, in a dry run.
///
/// # Errors
/// If the system has no randomness.
pub(crate) fn other_secret(namespace: &str) -> Result<Call, Error> {
    let metadata = json!({ "name": names::random_name()? });
    Ok(post(
        "create a Secret that is no anchor",
        format!("/api/v1/namespaces/{namespace}/secrets?dryRun=All"),
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata }),
    ))
}

/// To create a Role that is no job's, in a dry run.
pub(crate) fn other_role(namespace: &str) -> Call {
    post(
        "create a Role that is no job's",
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles?dryRun=All"),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "jobpass-no-job" }, "rules": [],
        }),
    )
}

/// What is wrong with a token.
#[derive(Clone, Copy)]
pub(crate) enum Violation {
    /// It is bound to a Secret without its uid.
    Unpinned,
    /// Its lifetime, in seconds.
    Lifetime(u64),
    /// The account, which the minter was not given.
    Account,
}

/// To get a token that is bound to a Secret that does not exist, which no API server issues: it asks its policies after it has
/// found the account, and before it looks for the Secret. A dry run would be no help: it issues a live token.
///
/// # Errors
/// If the system has no randomness.
pub(crate) fn token(namespace: &str, account: &str, wrong: Violation) -> Result<Call, Error> {
    let mut bound = json!({ "apiVersion": "v1", "kind": "Secret", "name": names::random_name()? });
    if !matches!(wrong, Violation::Unpinned) {
        bound["uid"] = "00000000-0000-0000-0000-000000000000".into();
    }
    let mut spec = json!({ "boundObjectRef": bound });
    if let Violation::Lifetime(seconds) = wrong {
        spec["expirationSeconds"] = seconds.into();
    }
    let doing = match wrong {
        Violation::Unpinned => "get a token that is bound to no anchor",
        Violation::Lifetime(_) => "get a token that lives for too long",
        Violation::Account => "get a token of another ServiceAccount",
    };
    Ok(post(
        doing,
        format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"),
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec }),
    ))
}

fn post(doing: &'static str, path: String, body: Value) -> Call {
    Call {
        doing,
        method: http::Method::POST,
        path,
        body: Some(body),
    }
}

impl Enforcement {
    pub(crate) fn by(answer: &Answer) -> Self {
        match answer.status {
            201 => Self::NotEnforced,
            404 if answer.is_secret_not_found() => Self::NotEnforced,
            // Of several policies that refuse a request, the API server names one.
            _ if answer.denial().is_some_and(Denial::is_of_setup) => Self::Enforced,
            _ => Self::Unknown,
        }
    }
}
