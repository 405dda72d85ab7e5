//! The request for a token that is bound to an anchor.

use std::time::Duration;

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequestSpec},
    core::v1::Secret,
};
use kube::Resource as _;

use crate::{
    access::Report,
    claims::Claims,
    cluster::{Budget, Call, Cluster},
    error::{Error, Kind},
    inputs::spec::Spec,
    refusal::RequiredPermission,
    token::Token,
};

/// The time limit for all requests of minting together: the anchor, the role, the token, and the questions
/// about its permissions. Also the time limit for the request of a renewal.
pub const MINT: Duration = Duration::from_secs(45);

/// A token from the API server, with the facts about it.
pub struct Minted {
    /// The token. In a hand-over with a proxy, the bearer of the proxy.
    pub token: Token,
    /// The claims of the token.
    pub claims: Claims,
    /// The permissions of the token. `None` if jobpass did not ask for them.
    pub access: Option<Report>,
    /// Warnings for a person, including the warnings of the API server. Harmless text.
    pub warnings: Vec<String>,
}

/// The error if somebody deleted the ServiceAccount and created another with its name.
pub(crate) fn another_account(spec: &Spec) -> Error {
    let (namespace, account) = (&spec.namespace, &spec.service_account);
    Error::new(
        Kind::Refused,
        format!(
            "somebody deleted ServiceAccount {namespace}/{account} after this job began, and created \
            another with its name"
        ),
    )
    .help(
        "jobpass did not hand over a token of the new account. All tokens of the old account are dead. \
        Find out who replaced the account, and run the job again",
    )
}

/// Requests a token for the ServiceAccount. With `account_uid`, kube-apiserver refuses an account with
/// another uid, from Kubernetes 1.34 on. `permission` decides the next step after a refusal. Returns `None`
/// if the anchor is gone. The caller may repeat the request: the token in a lost answer is bound to the same
/// anchor, and dies with the anchor.
pub(crate) async fn request_token(
    cluster: &Cluster,
    spec: &Spec,
    anchor: &str,
    uid: &str,
    account_uid: Option<&str>,
    permission: &RequiredPermission<'_>,
    budget: &Budget,
) -> Result<Option<Minted>, Error> {
    let request = TokenRequestSpec {
        audiences: spec.audiences.clone(),
        bound_object_ref: Some(BoundObjectReference {
            api_version: Some(Secret::api_version(&()).into()),
            kind: Some(Secret::kind(&()).into()),
            name: Some(anchor.to_owned()),
            uid: Some(uid.to_owned()),
        }),
        expiration_seconds: Some(i64::try_from(spec.lifetime.seconds()).unwrap_or(i64::MAX)),
    };
    let (namespace, account) = (&spec.namespace, &spec.service_account);
    let call = Call::request_token("get a token", namespace, account, account_uid, request)?;
    let answer = cluster.send(&call, budget).await?;
    if answer.is_secret_not_found() {
        return Ok(None);
    }
    if answer.is_another_account() {
        return Err(another_account(spec));
    }
    if answer.status != 201 {
        return Err(cluster.refused(&call, &answer, permission));
    }
    let token = answer.token(&call)?;
    let claims = Claims::of_issued(&token)?;
    Ok(Some(Minted {
        token,
        claims,
        access: None,
        warnings: answer.warnings,
    }))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{
            Identity,
            scripted::{self, Fate},
        },
        inputs::options::{Inputs, Opt},
    };

    /// A token whose claims are `{"sub":"a"}`.
    const TOKEN: &str = "e30.eyJzdWIiOiJhIn0.c2ln";

    async fn request(fate: Fate) -> Result<Option<Minted>, Error> {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let (cluster, log) = scripted::cluster(&Identity::default(), [fate]);
        let (permission, budget) = (RequiredPermission::minting(&spec), Budget::new(MINT));
        let minted = request_token(
            &cluster,
            &spec,
            "jobpass-a",
            "u-1",
            Some("s"),
            &permission,
            &budget,
        )
        .await;
        assert_eq!(
            log.lines(),
            ["POST /api/v1/namespaces/ci/serviceaccounts/scanner/token"]
        );
        minted
    }

    fn token(text: &str) -> String {
        format!(r#"{{"kind":"TokenRequest","status":{{"token":"{text}"}}}}"#)
    }

    #[tokio::test]
    async fn a_token_comes_with_its_claims_and_the_warnings_of_the_api_server() {
        let warning = &[(
            "warning",
            r#"299 - "requested expiration of 86400 seconds shortened""#,
        )];
        let minted = request(Fate::Answer(201, warning, token(TOKEN))).await;
        let minted = minted.expect("no failure").expect("a token");
        assert_eq!(
            (minted.token.expose(), minted.claims.sub.as_deref()),
            (TOKEN, Some("a"))
        );
        assert_eq!(
            minted.warnings,
            ["requested expiration of 86400 seconds shortened"]
        );
    }

    /// A missing anchor means that the token is revoked. A missing account is an error.
    #[tokio::test]
    async fn a_missing_anchor_is_no_failure() {
        let missing = request(Fate::status(
            404,
            "NotFound",
            "secrets",
            "secrets \"jobpass-a\" not found",
        ))
        .await;
        assert!(missing.expect("no failure").is_none());
    }

    #[rstest]
    #[case::no_account(Fate::status(404, "NotFound", "serviceaccounts", "not found"), Kind::Refused)]
    #[case::not_allowed(
        Fate::status(403, "Forbidden", "serviceaccounts", "cannot create"),
        Kind::Refused
    )]
    #[case::not_created(Fate::answer(200, token(TOKEN)), Kind::Refused)]
    #[case::no_token(Fate::answer(201, token("")), Kind::Claims)]
    #[case::two_lines(Fate::answer(201, token("a\\nb")), Kind::Claims)]
    #[case::no_claims(Fate::answer(201, token("opaque")), Kind::Claims)]
    #[case::another_answer(Fate::answer(201, r#"{"kind":"Status"}"#), Kind::Unreachable)]
    #[tokio::test]
    async fn an_answer_without_a_token_is_a_failure(#[case] fate: Fate, #[case] kind: Kind) {
        let error = request(fate).await.err().expect("a failure");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.next_step().is_some(), "{error}");
    }

    // Answers of kube-apiserver 1.37, with short names.
    const ANOTHER_ACCOUNT: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"scanner\": the UID in the token request (a) does not match the UID of the service account (b)","reason":"Conflict","details":{"name":"scanner","group":"authentication.k8s.io","kind":"TokenRequest"},"code":409}"#;
    const ANOTHER_SECRET: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on Secret \"jobpass-a\": the UID in the bound object reference (a) does not match the UID in record. The object might have been deleted and then recreated","reason":"Conflict","details":{"name":"jobpass-a","kind":"Secret"},"code":409}"#;

    #[rstest]
    #[case::account(
        ANOTHER_ACCOUNT,
        "somebody deleted ServiceAccount ci/scanner after this job began"
    )]
    #[case::anchor(ANOTHER_SECRET, "cannot get a token: the API server answered 409")]
    #[tokio::test]
    async fn an_account_that_was_made_anew_is_told_apart(#[case] body: &'static str, #[case] said: &str) {
        let requested = request(Fate::answer(409, body)).await;
        let error = requested.err().expect("refused").to_string();
        assert!(error.starts_with(said), "{error}");
    }
}
