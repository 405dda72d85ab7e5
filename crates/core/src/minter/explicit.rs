//! The minter as `server`, `certificate-authority` and a bearer token, or a job's own ID token.

use std::path::Path;

use super::{Auth, Minter, from_base64, id_token};
use crate::{
    cluster::{Authority, Connection, Proxy},
    error::Error,
    inputs::options::{Inputs, Opt},
    process::{
        environment::Environment,
        files::{self, read_file},
    },
    token::Token,
};

/// The inputs that name the minter's server.
pub(super) const MINTER: [Opt; 2] = [Opt::Server, Opt::CertificateAuthority];
/// The inputs that name the job's.
pub(super) const JOB: [Opt; 2] = [Opt::JobServer, Opt::JobCertificateAuthority];

/// A server and its certificate authority, by the names of the inputs.
pub(super) fn connection(
    [server, authority]: [Opt; 2],
    inputs: &Inputs,
    environment: &Environment,
) -> Result<Connection, Error> {
    let url = inputs.get(server).unwrap_or_default();
    let authority = inputs
        .get(authority)
        .map(|text| certificate_authority(authority.name(), text))
        .transpose()?;
    let mut connection = Connection::new(server.name(), url, authority)?;
    connection.proxy = Proxy::from_environment(&connection.server, environment);
    Ok(connection)
}

pub(super) async fn minter(inputs: &Inputs, environment: &Environment) -> Result<Minter, Error> {
    let connection = connection(MINTER, inputs, environment)?;
    let minter = |connection, bearer: Token, auth| {
        Ok(Minter {
            connection,
            identity: bearer.into(),
            auth,
            namespace: None,
        })
    };
    let ways = [Opt::BearerTokenFile, Opt::BearerTokenEnv, Opt::OidcAudience];
    let mut given = ways.into_iter().filter_map(|way| Some((way, inputs.get(way)?)));
    let Some((way, value)) = given.next() else {
        return Err(Error::input(
            Opt::Server,
            "is given without a credential",
            "add `bearer-token-env`, the name of an environment variable that holds a bearer token: in GitLab, `id_tokens: \
             {KUBE_TOKEN: {aud: AUDIENCE}}` in the job puts its ID token into one. Or add `bearer-token-file`. In the GitHub Action, \
             `oidc-audience` authenticates with the job's own ID token",
        ));
    };
    if let Some((other, _)) = given.next() {
        return Err(Error::input(
            way,
            format!("and input `{other}` are both given"),
            "give the one that holds the minter's token",
        ));
    }
    match way {
        Opt::BearerTokenFile => {
            let path = files::absolute(way.name(), Path::new(value))?;
            minter(
                connection,
                Token::from_file(way.name(), &path)?,
                Auth::BearerTokenFile { path },
            )
        }
        Opt::BearerTokenEnv => {
            let name = value.to_owned();
            minter(
                connection,
                Token::from_env(way.name(), value, environment)?,
                Auth::BearerTokenEnv { name },
            )
        }
        _ => {
            let source = id_token::Source::of_job(environment)?;
            let id_token = source.id_token(value, environment).await?;
            minter(connection, id_token, source.auth(value))
        }
    }
}

/// A path, PEM, or base64 of PEM.
fn certificate_authority(input: &str, text: &str) -> Result<Authority, Error> {
    let pem = match from_base64(text).filter(|pem| pem.contains("-----BEGIN")) {
        Some(pem) => pem,
        None if text.contains("-----BEGIN") => text.to_owned(),
        None => read_file(input, Path::new(text))?,
    };
    Authority::parse(input, &pem)
}
