//! The user of a kubeconfig: a token, a client certificate or an exec plugin.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{
    super::{exec, secrets::Secrets},
    Cluster, User, both, referred,
};
use crate::{
    cluster::{ClientCertificate, Connection, Identity},
    error::Error,
    process::{environment::Environment, files},
    text::harmless,
    token::Token,
};

/// The identity of a user. The precedence is that of client-go (`clientcmd/client_config.go`,
/// `plugin/pkg/client/auth/exec`): a plugin runs only if there is neither a token nor a client certificate.
pub(super) async fn identity(
    user: &User,
    name: &str,
    connection: &Connection,
    cluster: Option<&Cluster>,
    pinned_exec: Option<&Path>,
    environment: &Environment,
) -> Result<(Identity, Option<PathBuf>), Error> {
    check(user, name)?;
    let (bearer, bearer_is_in_file) = token(user, name)?;
    let mut identity = Identity {
        bearer,
        bearer_is_in_file,
        certificate: certificate(user, name)?,
        impersonate: Some(user.impersonate.clone()).filter(|user| !user.is_empty()),
        impersonate_uid: Some(user.impersonate_uid.clone()).filter(|uid| !uid.is_empty()),
        impersonate_groups: user.impersonate_groups.clone(),
        impersonate_extra: user.impersonate_extra.clone(),
    };
    if identity.bearer.is_some() || identity.certificate.is_some() {
        return Ok((identity, None));
    }
    let Some(config) = &user.exec else {
        return Err(Error::input(
            "kubeconfig",
            format!("has no credential for user `{}`", harmless(name)),
            "give the user a token, a client certificate or an exec plugin. `kubectl config view` without \
             `--raw` leaves credentials out",
        ));
    };
    let plugin = exec::Plugin::find(config, pinned_exec, environment)?;
    let credential = plugin.run(config, connection, cluster, environment).await?;
    identity.bearer = credential.bearer;
    identity.certificate = credential.certificate;
    Ok((identity, Some(plugin.program)))
}

/// Applies the rules of client-go's `validateAuthInfo`. Refuses the kinds of authentication that jobpass does
/// not support.
fn check(user: &User, name: &str) -> Result<(), Error> {
    let refused = |problem: &str, step: &str| {
        let problem = format!("has {problem} for user `{}`", harmless(name));
        Err(Error::input("kubeconfig", problem, step))
    };
    let use_others = "use a token, a client certificate or an exec plugin: jobpass supports neither \
         auth-providers nor passwords";
    if user.has_auth_provider {
        return refused("an auth-provider", use_others);
    }
    if user.has_password {
        return refused("a user name or a password", use_others);
    }
    let rest = !user.impersonate_uid.is_empty()
        || !user.impersonate_groups.is_empty()
        || !user.impersonate_extra.is_empty();
    if rest && user.impersonate.is_empty() {
        return refused(
            "`as-uid`, `as-groups` or `as-user-extra` without `as`",
            "add `as`, the user to impersonate",
        );
    }
    user.exec.as_ref().map_or(Ok(()), |exec| exec::check(exec, name))
}

/// The token of a user, and whether it comes from the token file. client-go reads that file again and again,
/// and prefers it to `token` while it can read the file.
fn token(user: &User, name: &str) -> Result<(Option<Token>, bool), Error> {
    let inline = user.token.expose_secret();
    let in_file = match &*user.token_file {
        "" => None,
        path => match referred("tokenFile", path) {
            Ok(text) if !text.trim().is_empty() => {
                return Token::read(&text)
                    .map(|token| (Some(token), true))
                    .map_err(|problem| {
                        Error::input(
                            "kubeconfig",
                            format!(
                                "has a `tokenFile` without a token for user `{}`: {problem}",
                                harmless(name)
                            ),
                            "check that a program writes the token, and nothing else, into this file",
                        )
                    });
            }
            Ok(_) => Some(Error::input(
                "kubeconfig",
                format!("has a `tokenFile` that is empty for user `{}`", harmless(name)),
                "check that a program writes the token into this file, and does so before this step",
            )),
            Err(error) => Some(error),
        },
    };
    match (inline, in_file) {
        ("", Some(error)) => Err(error),
        ("", None) => Ok((None, false)),
        // A header cannot carry a token with line breaks. kubectl fails only when it sends the token, and its
        // message does not help.
        (token, _) if token.contains(['\r', '\n']) => Err(Error::input(
            "kubeconfig",
            format!("has a token with line breaks for user `{}`", harmless(name)),
            "write the token on one line, after `token:` itself. Under `token: |`, YAML adds a line break",
        )),
        (token, _) => Token::read(token)
            .map(|token| (Some(token), false))
            .map_err(|problem| {
                Error::input(
                    "kubeconfig",
                    format!("has no token in `token` of user `{}`: {problem}", harmless(name)),
                    "write the token after `token:`, or name its file as `tokenFile`",
                )
            }),
    }
}

fn certificate(user: &User, name: &str) -> Result<Option<ClientCertificate>, Error> {
    let pem = match (&*user.client_certificate_data, &*user.client_certificate) {
        ([], "") => return Ok(None),
        (data, "") => String::from_utf8_lossy(data).into_owned(),
        ([], path) => referred("client-certificate", path)?,
        _ => return Err(both("client-certificate", name)),
    };
    let key = match (user.client_key_data.expose_secret(), &*user.client_key) {
        ("", "") => {
            let problem = format!(
                "has a client certificate without a key for user `{}`",
                harmless(name)
            );
            return Err(Error::input(
                "kubeconfig",
                problem,
                "add `client-key-data` or `client-key`",
            ));
        }
        (_, "") => user.client_key_data.clone(),
        ("", path) => referred("client-key", path)?.into(),
        _ => return Err(both("client-key", name)),
    };
    ClientCertificate::parse("kubeconfig", pem, key).map(Some)
}

/// The secrets of a user: its token, its key in base64 and in PEM, the token and the key in files that the
/// kubeconfig names, and the secrets that its exec plugin gets. Each line of a key is a separate secret,
/// because log filters mask line by line.
pub(super) fn credentials(user: &User) -> impl Iterator<Item = SecretString> {
    let own = [&user.token, &user.client_key_base64, &user.client_key_data];
    let own = own
        .into_iter()
        .map(SecretString::expose_secret)
        .map(str::to_owned);
    let files = [&user.token_file, &user.client_key]
        .into_iter()
        .filter(|path| !path.is_empty());
    let in_files = files.filter_map(|path| files::read(Path::new(path)).ok());
    let mut secrets = Secrets::default();
    for text in own.chain(in_files) {
        secrets.add_lines(&Zeroizing::new(text));
    }
    let of_plugin = user.exec.as_ref().map(Secrets::of_plugin);
    secrets.into_iter().chain(of_plugin.into_iter().flatten())
}
