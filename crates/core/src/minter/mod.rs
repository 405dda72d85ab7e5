//! The minter: the identity with which jobpass asks the API server for tokens.

mod exec;
mod expiry;
mod explicit;
pub mod held;
mod id_token;
mod in_cluster;
pub mod kept;
mod kubeconfig;
mod secrets;

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use self::secrets::Secrets;
use crate::{
    cluster::{Cluster, Connection, Identity, Proxy},
    error::Error,
    inputs::options::{Inputs, Opt},
    process::environment::Environment,
    token::Token,
};

/// The API server's connection settings, and the identity of the minter.
///
/// Not `Debug`: it holds credentials.
#[derive(Clone)]
pub struct Minter {
    /// The connection settings.
    pub connection: Connection,
    /// The identity.
    pub identity: Identity,
    /// The way in which the renewer and the end of the job find `identity` again.
    pub auth: Auth,
    /// The namespace that the minter's configuration names.
    pub namespace: Option<String>,
}

/// The way in which jobpass finds the minter's credential again. Part of the state; holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Auth {
    /// The user of a kubeconfig's context.
    Kubeconfig {
        /// The files, in order. Empty if the input holds the YAML itself, or base64 of it.
        paths: Vec<PathBuf>,
        /// The context that jobpass used.
        context: String,
        /// The program of the user's exec plugin, as jobpass found it while minting. `None` if no plugin ran.
        #[serde(skip_serializing_if = "Option::is_none")]
        exec: Option<PathBuf>,
    },
    /// A bearer token in a file.
    BearerTokenFile {
        /// The file.
        path: PathBuf,
    },
    /// A bearer token in an environment variable.
    BearerTokenEnv {
        /// The name of the variable.
        name: String,
    },
    /// An ID token of the job. The CI platform issues a new one on demand.
    IdToken {
        /// The audience of the ID token.
        audience: String,
        /// The endpoint for ID tokens.
        url: String,
        /// The proxy in front of the endpoint, without the user and the password.
        #[serde(skip_serializing_if = "Option::is_none")]
        proxy: Option<String>,
        /// A file of certificates that jobpass trusts for the endpoint, in addition to those of this system.
        #[serde(skip_serializing_if = "Option::is_none")]
        extra_certificates: Option<PathBuf>,
    },
    /// The ServiceAccount of the job's own Pod.
    InCluster,
}

impl Minter {
    /// Finds the minter in this order: `kubeconfig`, `server`, `$KUBECONFIG`, `~/.kube/config`, the
    /// in-cluster account.
    ///
    /// If the credential comes from an exec plugin, runs the plugin once. If it is an ID token, requests one
    /// from the CI platform.
    ///
    /// # Errors
    /// If there is no minter, if an input is wrong or contradicts another, if the minter's credential or
    /// certificates are invalid, or if the exec plugin or the request for an ID token fails.
    pub async fn resolve(inputs: &Inputs, environment: &Environment) -> Result<Self, Error> {
        let kubeconfig = inputs.get(Opt::Kubeconfig);
        if let (Some(_), Some(_)) = (kubeconfig, inputs.get(Opt::Server)) {
            return Err(Error::input(
                Opt::Server,
                "and input `kubeconfig` are both given",
                "give `kubeconfig`, or `server` with `bearer-token-file`, `bearer-token-env` or, in the GitHub Action, `oidc-audience`",
            ));
        }
        if inputs.get(Opt::Server).is_some() {
            return explicit::minter(inputs, environment).await;
        }
        for option in [
            Opt::BearerTokenFile,
            Opt::BearerTokenEnv,
            Opt::OidcAudience,
            Opt::CertificateAuthority,
        ] {
            if inputs.get(option).is_some() {
                return Err(Error::input(
                    option,
                    "is given without `server`",
                    format!(
                        "add `server`, the API server's https URL. If a kubeconfig names the API server, leave \
                         out `{option}`"
                    ),
                ));
            }
        }
        match kubeconfig::find(kubeconfig, environment)? {
            Some(found) => found.minter(inputs.get(Opt::Context), environment).await,
            None if inputs.get(Opt::Context).is_some() => Err(Error::input(
                Opt::Context,
                "is given without a kubeconfig",
                "add `kubeconfig`, or leave out `context`",
            )),
            None => in_cluster::minter(environment)?.ok_or_else(|| {
                Error::input(
                    Opt::Kubeconfig,
                    "is missing, and there is no other way to reach a cluster",
                    "give `kubeconfig` (a path, the YAML, or base64 of it), or `server` with \
                     `bearer-token-file`, `bearer-token-env` or, in the GitHub Action, `oidc-audience`, or \
                     run in a Pod with a ServiceAccount. In a CI job, check that the job gets the secret or \
                     variable: environments, protected branches and pull requests from forks limit this",
                )
            }),
        }
    }

    /// The secrets of `bearer-token-file`, of `bearer-token-env`, of the kubeconfig, and of the proxy that
    /// the environment names, and the token of the Pod's account as it is now. Log filters mask them. Each
    /// line is a separate secret. Leaves out files that jobpass cannot read. Runs no exec plugin.
    pub fn credentials(inputs: &Inputs, environment: &Environment) -> Vec<SecretString> {
        let bearer_tokens = [
            inputs
                .get(Opt::BearerTokenFile)
                .map(|path| Token::from_file(Opt::BearerTokenFile.name(), Path::new(path))),
            inputs
                .get(Opt::BearerTokenEnv)
                .map(|name| Token::from_env(Opt::BearerTokenEnv.name(), name, environment)),
        ];
        let bearer_tokens = bearer_tokens.into_iter().flatten().filter_map(Result::ok);
        let kubeconfig = kubeconfig::find(inputs.get(Opt::Kubeconfig), environment)
            .ok()
            .flatten();
        bearer_tokens
            .map(SecretString::from)
            .chain(kubeconfig.iter().flat_map(kubeconfig::Found::credentials))
            .chain(Secrets::of_environment(environment))
            .chain(in_cluster::bearer().ok().map(SecretString::from))
            .collect()
    }

    /// Finds the minter again, for a renewal or at the end of the job. The state names the API server, and
    /// the inputs give only the credential. So a step of the job cannot make jobpass send the credential
    /// elsewhere.
    ///
    /// # Errors
    /// If the credential is missing or invalid, if the kubeconfig or the input `server` names another API
    /// server than the state, or if the exec plugin or the request for an ID token fails.
    pub async fn from_recorded(
        connection: &Connection,
        auth: &Auth,
        inputs: &Inputs,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let mut connection = connection.clone();
        let in_environment = Proxy::from_environment(&connection.server, environment);
        let mut proxies = [in_environment, None];
        let identity = match auth {
            Auth::Kubeconfig { paths, context, exec } => {
                let found = kubeconfig::recorded(paths, inputs)?;
                found.must_lead_to(&connection, context)?;
                proxies[1] = found.proxy(context);
                found
                    .identity(context, &connection, exec.as_deref(), environment)
                    .await?
                    .0
            }
            Auth::BearerTokenFile { path } => Token::from_file(Opt::BearerTokenFile.name(), path)?.into(),
            Auth::BearerTokenEnv { name } => {
                // This parses the URL as minting does: upper case in the scheme, or a slash at the end, does
                // not make it another server.
                let server = inputs.get(Opt::Server);
                let server = server.and_then(|url| Connection::new(Opt::Server.name(), url, None).ok());
                if server.is_some_and(|other| other.server != connection.server) {
                    return Err(elsewhere("server"));
                }
                Token::from_env(Opt::BearerTokenEnv.name(), name, environment)?.into()
            }
            Auth::IdToken {
                audience,
                url,
                proxy,
                extra_certificates,
            } => {
                id_token::Source::recorded(url, proxy.as_deref(), extra_certificates.as_deref(), environment)?
                    .id_token(audience, environment)
                    .await?
                    .into()
            }
            Auth::InCluster => in_cluster::bearer()?.into(),
        };
        connection.proxy = connection.proxy.map(|proxy| proxy.with_credentials_of(proxies));
        Ok(Self {
            connection,
            identity,
            auth: auth.clone(),
            namespace: None,
        })
    }
}

/// The error for an input that names another server than the state. Somebody changed the input, or another
/// process wrote the state.
fn elsewhere(input: &str) -> Error {
    Error::input(
        input,
        "names another API server, certificate authority or TLS server name than the recorded state",
        "jobpass sent the credential to neither server. Find out who changed this input or the state after \
         jobpass minted the token",
    )
}

/// Decodes base64 that holds text, as in the `*-data` fields of kubeconfigs.
fn from_base64(text: &str) -> Option<String> {
    let compact = text.split_ascii_whitespace().collect::<String>();
    String::from_utf8(STANDARD.decode(compact).ok()?).ok()
}

impl Cluster {
    /// Prepares a connection as the minter. Sends nothing yet.
    ///
    /// # Errors
    /// If jobpass cannot use the certificates, the key, the URL of the server or the proxy, the name that the
    /// server's certificate must carry, or the name of a user to impersonate. Also if jobpass should trust
    /// this system's authorities, but the system has none.
    pub fn connect(minter: &Minter) -> Result<Self, Error> {
        Self::connect_as(&minter.connection, &minter.identity)
    }
}

impl Connection {
    /// The connection settings for `server` with its `certificate-authority`. They are for callers that
    /// already have a credential.
    ///
    /// # Errors
    /// If one of these inputs is wrong.
    pub fn of_server(inputs: &Inputs, environment: &Environment) -> Result<Self, Error> {
        explicit::connection(explicit::MINTER, inputs, environment)
    }

    /// The connection settings for `job-server` with its `job-certificate-authority`. `None` if the job uses
    /// the minter's server.
    ///
    /// # Errors
    /// If one of these inputs is wrong, or if `job-certificate-authority` is given alone.
    pub fn of_job(inputs: &Inputs, environment: &Environment) -> Result<Option<Self>, Error> {
        let [server, authority] = explicit::JOB;
        match (inputs.get(server), inputs.get(authority)) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::input(
                authority,
                "is given without `job-server`",
                "add `job-server`, the https URL of the job's API server. If the job uses the minter's server, \
                 leave out `job-certificate-authority`",
            )),
            (Some(_), _) => explicit::connection(explicit::JOB, inputs, environment).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
