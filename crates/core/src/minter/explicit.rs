//! The minter of the inputs `server` and `certificate-authority`, with a bearer token or the job's own ID
//! token.

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
/// The inputs that name the job's server.
pub(super) const JOB: [Opt; 2] = [Opt::JobServer, Opt::JobCertificateAuthority];

/// The connection settings of a server, from the inputs for its URL and its certificate authority.
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
            "add one of these:\n\n  `bearer-token-env`: the environment variable that holds a bearer token. \
             In GitLab, `id_tokens: {KUBE_TOKEN: {aud: AUDIENCE}}` puts the job's ID token into \
             KUBE_TOKEN\n  `bearer-token-file`: a file that holds a bearer token\n  `oidc-audience` (GitHub \
             Action only): the job's own ID token",
        ));
    };
    if let Some((other, _)) = given.next() {
        return Err(Error::input(
            way,
            format!("and input `{other}` are both given"),
            "keep the input for the credential that the API server accepts, and leave out the other",
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

/// Reads the certificate authority from a path, from PEM, or from base64 of PEM.
fn certificate_authority(input: &str, text: &str) -> Result<Authority, Error> {
    let pem = match from_base64(text).filter(|pem| pem.contains("-----BEGIN")) {
        Some(pem) => pem,
        None if text.contains("-----BEGIN") => text.to_owned(),
        None => read_file(input, Path::new(text))?,
    };
    Authority::parse(input, &pem)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    async fn resolve(given: &[(Opt, &str)]) -> Result<Minter, Error> {
        let server = Inputs::from([(Opt::Server, "https://k8s.example.com")]);
        let inputs = given
            .iter()
            .fold(server, |inputs, (option, value)| inputs.with(*option, *value));
        minter(&inputs, &Environment::from([("TOKEN", "t0ken")])).await
    }

    #[rstest]
    #[case::none(&[], "input `server` is given without a credential")]
    #[case::two(&[(Opt::BearerTokenFile, "/a"), (Opt::BearerTokenEnv, "A")], "input `bearer-token-file` and input `bearer-token-env` are both given")]
    #[case::two_others(&[(Opt::BearerTokenEnv, "A"), (Opt::OidcAudience, "k8s")], "input `bearer-token-env` and input `oidc-audience` are both given")]
    #[case::of_no_ci_platform(&[(Opt::OidcAudience, "k8s")], "input `oidc-audience`")]
    #[case::not_set(&[(Opt::BearerTokenEnv, "ANOTHER")], "input `bearer-token-env`")]
    #[case::no_file(&[(Opt::BearerTokenFile, "/nowhere")], "input `bearer-token-file`")]
    #[tokio::test]
    async fn a_server_comes_with_one_credential(#[case] given: &[(Opt, &str)], #[case] why: &str) {
        let error = resolve(given).await.err().expect("refused");
        assert!(error.message().starts_with(why), "{error}");
    }

    /// The end of the job must find the credential again, even if it runs in another folder.
    #[tokio::test]
    async fn the_path_of_a_credential_is_recorded_in_full() {
        let file = tempfile::NamedTempFile::new_in(".").expect("a file");
        std::fs::write(file.path(), "of-file").expect("written");
        let name = file
            .path()
            .file_name()
            .and_then(|name| name.to_str())
            .expect("text");
        let minter = resolve(&[(Opt::BearerTokenFile, name)]).await.expect("a minter");
        let Auth::BearerTokenFile { path } = minter.auth else {
            panic!("{:?}", minter.auth);
        };
        assert!(path.is_absolute() && path.ends_with(name), "{path:?}");
        assert_eq!(minter.identity.bearer.expect("a bearer").expose(), "of-file");
    }

    #[tokio::test]
    async fn a_certificate_authority_is_a_path_or_pem_or_base64_of_it() {
        use base64::{Engine as _, engine::general_purpose::STANDARD};

        let made = rcgen::generate_simple_self_signed(["a".into()]).expect("a certificate");
        let pem = made.cert.pem();
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &pem).expect("written");
        let path = file.path().display().to_string();
        let mut read = Vec::new();
        for text in [&path, &pem, &STANDARD.encode(&pem)] {
            let minter = resolve(&[(Opt::BearerTokenEnv, "TOKEN"), (Opt::CertificateAuthority, text)]).await;
            read.push(
                minter
                    .expect("a minter")
                    .connection
                    .certificate_authority
                    .expect("an authority"),
            );
        }
        assert!(
            read.iter()
                .all(|authority| *authority == read[0] && authority.contains("BEGIN")),
            "{read:?}"
        );
        for wrong in [
            "/nowhere",
            "bm8gUEVN",
            "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----",
        ] {
            let error = resolve(&[(Opt::BearerTokenEnv, "TOKEN"), (Opt::CertificateAuthority, wrong)]).await;
            let error = error.err().expect("refused");
            assert!(
                error.message().starts_with("input `certificate-authority`"),
                "{error}"
            );
        }
    }
}
