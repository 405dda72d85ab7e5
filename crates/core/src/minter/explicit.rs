//! The minter as `server`, `certificate-authority` and a bearer token, or a job's own ID token.

use std::path::Path;

use super::{Auth, Authority, Connection, Minter, Proxy, from_base64, oidc, read_file};
use crate::{environment::Environment, error::Error, options::Inputs, text::harmless, token::Token};

pub(super) async fn minter(inputs: &Inputs, environment: &Environment) -> Result<Minter, Error> {
    let server = inputs.get("server").unwrap_or_default();
    let authority = inputs
        .get("certificate-authority")
        .map(certificate_authority)
        .transpose()?;
    let mut connection = Connection::new("server", server, authority)?;
    connection.proxy = Proxy::from_environment(&connection.server, environment)?;
    let minter = |connection, bearer: Token, auth| {
        Ok(Minter {
            connection,
            identity: bearer.into(),
            auth,
            namespace: None,
        })
    };
    let ways = ["bearer-token-file", "bearer-token-env", "oidc-audience"];
    let mut given = ways.into_iter().filter_map(|way| Some((way, inputs.get(way)?)));
    let Some((way, value)) = given.next() else {
        return Err(Error::input(
            "server",
            "is given without a credential",
            "add `oidc-audience`, to authenticate with the job's own ID token; or `bearer-token-env`, the name of an \
             environment variable that holds a bearer token; or `bearer-token-file`",
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
        "bearer-token-file" => {
            let path = std::path::absolute(value).unwrap_or_else(|_| value.into());
            minter(connection, from_file(&path)?, Auth::BearerTokenFile { path })
        }
        "bearer-token-env" => {
            let name = value.to_owned();
            minter(
                connection,
                from_env(value, environment)?,
                Auth::BearerTokenEnv { name },
            )
        }
        _ => {
            let source = oidc::Source::of_job(environment)?;
            let id_token = source.id_token(value, environment).await?;
            minter(connection, id_token, source.auth(value))
        }
    }
}

pub(super) fn from_file(path: &Path) -> Result<Token, Error> {
    Token::parse(&read_file("bearer-token-file", path)?, "bearer-token-file")
}

pub(super) fn from_env(name: &str, environment: &Environment) -> Result<Token, Error> {
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
        // Probably the token itself, put where its variable's name belongs: do not show it.
        return Err(Error::input(
            "bearer-token-env",
            "is not the name of an environment variable",
            "give the variable's name, not the token; for example `bearer-token-env: KUBE_TOKEN`",
        ));
    }
    let Some(text) = environment.get(name) else {
        return Err(Error::input(
            "bearer-token-env",
            format!(
                "names the environment variable `{}`, which is not set",
                harmless(name)
            ),
            "set it for this step; in a pull request from a fork, secrets are empty",
        ));
    };
    Token::parse(text, "bearer-token-env")
}

/// A path, PEM, or base64 of PEM.
fn certificate_authority(text: &str) -> Result<Authority, Error> {
    let input = "certificate-authority";
    let pem = match from_base64(text).filter(|pem| pem.contains("-----BEGIN")) {
        Some(pem) => pem,
        None if text.contains("-----BEGIN") => text.to_owned(),
        None => read_file(input, Path::new(text))?,
    };
    Authority::parse(input, pem)
}
