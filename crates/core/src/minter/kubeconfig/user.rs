//! The user of a kubeconfig: a token, a client certificate or an exec plugin.

use std::path::{Path, PathBuf};

use kube::config::AuthInfo;
use secrecy::{ExposeSecret as _, SecretString};

use super::super::{exec, from_base64};
use crate::{
    cluster::{ClientCertificate, Connection, Identity},
    error::Error,
    process::{environment::Environment, files::read_file},
    text::harmless,
    token::Token,
};

pub(super) async fn identity(
    info: &AuthInfo,
    name: &str,
    connection: &Connection,
    pinned_exec: Option<&Path>,
    environment: &Environment,
) -> Result<(Identity, Option<PathBuf>), Error> {
    let unsupported = |what: &str| {
        let problem = format!(
            "has {what} for user `{}`, which Kubernetes does not support any more",
            harmless(name)
        );
        Err(Error::input(
            "kubeconfig",
            problem,
            "use a token, a client certificate or an exec plugin",
        ))
    };
    if info.auth_provider.is_some() {
        return unsupported("an auth-provider");
    }
    if info.username.is_some() {
        return unsupported("a user name and password");
    }
    if info.impersonate_uid.is_some() || info.impersonate_user_extra.is_some() {
        let problem = format!("has `as-uid` or `as-user-extra` for user `{}`", harmless(name));
        return Err(Error::input(
            "kubeconfig",
            problem,
            "of impersonation, jobpass supports `as` and `as-groups`",
        ));
    }
    let mut identity = Identity {
        impersonate: info.impersonate.clone(),
        impersonate_groups: info.impersonate_groups.clone().unwrap_or_default(),
        ..Identity::default()
    };
    let token = info
        .token
        .as_ref()
        .map(|token| token.expose_secret())
        .filter(|token| !token.is_empty());
    // client-go reads the file again and again, and its content wins (`clientcmd/api/types.go`, `TokenFile`).
    identity.bearer = match (info.token_file.as_deref().filter(|path| !path.is_empty()), token) {
        (Some(path), _) => Some(Token::parse(
            &read_file("kubeconfig", Path::new(path))?,
            "kubeconfig",
        )?),
        (None, Some(token)) => Some(Token::parse(token, "kubeconfig")?),
        (None, None) => None,
    };
    let certificate = match (&info.client_certificate_data, &info.client_certificate) {
        (Some(data), _) if !data.is_empty() => Some(base64_field("client-certificate-data", data)?),
        (_, Some(path)) if !path.is_empty() => Some(read_file("kubeconfig", Path::new(path))?),
        _ => None,
    };
    let key = match (
        info.client_key_data.as_ref().map(SecretString::expose_secret),
        &info.client_key,
    ) {
        (Some(data), _) if !data.is_empty() => Some(base64_field("client-key-data", data)?),
        (_, Some(path)) if !path.is_empty() => Some(read_file("kubeconfig", Path::new(path))?),
        _ => None,
    };
    identity.certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate {
            certificate,
            key: key.into(),
        }),
        (None, None) => None,
        _ => {
            let problem = format!("has half of a client certificate for user `{}`", harmless(name));
            return Err(Error::input(
                "kubeconfig",
                problem,
                "it needs the certificate and its key",
            ));
        }
    };
    match &info.exec {
        Some(config) if identity.bearer.is_none() && identity.certificate.is_none() => {
            let plugin = exec::Plugin::find(config, pinned_exec, environment)?;
            let credential = plugin.run(config, connection, environment).await?;
            Ok((
                Identity {
                    bearer: credential.bearer,
                    certificate: credential.certificate,
                    ..identity
                },
                Some(plugin.program),
            ))
        }
        _ if identity.bearer.is_none() && identity.certificate.is_none() => Err(Error::input(
            "kubeconfig",
            format!("has no credential for user `{}`", harmless(name)),
            "it needs a token, a client certificate or an exec plugin; `kubectl config view` without `--raw` leaves \
             them out",
        )),
        _ => Ok((identity, None)),
    }
}

/// Its token and its key, in each way in which a file can hold them: a key is masked line by line.
pub(super) fn credentials(info: &AuthInfo) -> impl Iterator<Item = Token> {
    let own = [&info.token, &info.client_key_data];
    let own = own
        .into_iter()
        .flatten()
        .map(|secret| secret.expose_secret().to_owned());
    let files = [&info.token_file, &info.client_key].into_iter().flatten();
    let in_files = files.filter_map(|path| crate::process::files::read(Path::new(path)).ok());
    let decoded = info
        .client_key_data
        .as_ref()
        .and_then(|data| from_base64(data.expose_secret()));
    let texts: Vec<_> = own.chain(in_files).chain(decoded).collect();
    let lines = texts
        .into_iter()
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let secret = lines.filter(|line| !line.starts_with("-----"));
    secret.filter_map(|line| Token::parse(&line, "kubeconfig").ok())
}

pub(super) fn base64_field(field: &str, data: &str) -> Result<String, Error> {
    from_base64(data).ok_or_else(|| {
        let problem = format!("has a `{field}` that is not base64");
        Error::input("kubeconfig", problem, "`kubectl config view --raw` prints it")
    })
}
