//! The request for a token that is bound to an anchor.

use std::time::Duration;

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequestSpec},
    core::v1::Secret,
};
use kube::Resource as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::{
    access::Report,
    claims::Claims,
    cluster::{Budget, Call, Cluster},
    error::{Error, Kind},
    inputs::spec::Spec,
    refusal::RequiredPermission,
    token::Token,
};

/// The anchor and the TokenRequest together.
pub const MINT: Duration = Duration::from_secs(45);

/// A token, verified, before it is handed over.
pub struct Minted {
    /// The token.
    pub token: Token,
    /// What it says of itself.
    pub claims: Claims,
    /// What it may do, as far as that was asked.
    pub access: Option<Report>,
    /// What the person should know, the server's warnings included; harmless text.
    pub warnings: Vec<String>,
}

/// The answer to a TokenRequest. Unlike the type of k8s-openapi, it holds the token in memory that is wiped, and cannot be printed.
#[derive(Deserialize)]
pub(crate) struct TokenRequest {
    status: TokenRequestStatus,
}

#[derive(Deserialize)]
struct TokenRequestStatus {
    token: SecretString,
}

/// `None` if the anchor is gone. Repeating it is safe: should an answer be lost, the token in it is bound to the same anchor and
/// dies with it.
pub(crate) async fn request_token(
    cluster: &Cluster,
    spec: &Spec,
    anchor: &str,
    uid: &str,
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
    let call = Call::request_token("get a token", &spec.namespace, &spec.service_account, request)?;
    let answer = cluster.send(&call, budget).await?;
    if answer.is_secret_not_found() {
        return Ok(None);
    }
    if answer.status != 201 {
        return Err(cluster.refused(&call, &answer, &RequiredPermission::minting(spec)));
    }
    let token = answer.parse::<TokenRequest>(&call)?.status.token;
    let token = Token::parse(token.expose_secret(), "token")
        .map_err(|_| Error::new(Kind::Claims, "the API server's answer holds no token"))?;
    let claims = Claims::decode(&token)?;
    Ok(Some(Minted {
        token,
        claims,
        access: None,
        warnings: answer.warnings,
    }))
}
