//! Whether policies hold a minter: asked with requests that they must refuse, and that change nothing and issue no token where they
//! do not.

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
    let secret = Secret {
        type_: Some("Opaque".into()),
        metadata: named(names::random_name()?),
        ..Secret::default()
    };
    Call::create_dry("create a Secret that is no anchor", Some(namespace), &secret)
}

/// To create a Role that is no job's, in a dry run.
///
/// # Errors
/// If it cannot be written, a defect.
pub(crate) fn other_role(namespace: &str) -> Result<Call, Error> {
    let role = Role {
        metadata: named("jobpass-no-job".to_owned()),
        rules: None,
    };
    Call::create_dry("create a Role that is no job's", Some(namespace), &role)
}

fn named(name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        ..ObjectMeta::default()
    }
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
    let uid = "00000000-0000-0000-0000-000000000000";
    let bound = BoundObjectReference {
        api_version: Some(Secret::api_version(&()).into()),
        kind: Some(Secret::kind(&()).into()),
        name: Some(names::random_name()?),
        uid: (!matches!(wrong, Violation::Unpinned)).then(|| uid.to_owned()),
    };
    let expiration_seconds = match wrong {
        Violation::Lifetime(seconds) => Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
        Violation::Unpinned | Violation::Account => None,
    };
    let doing = match wrong {
        Violation::Unpinned => "get a token that is bound to no anchor",
        Violation::Lifetime(_) => "get a token that lives for too long",
        Violation::Account => "get a token of another ServiceAccount",
    };
    let spec = TokenRequestSpec {
        bound_object_ref: Some(bound),
        expiration_seconds,
        audiences: Vec::new(),
    };
    Call::request_token(doing, namespace, account, spec)
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
