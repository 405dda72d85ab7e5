//! A kubeconfig of the minter, for the CI platform to store.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequestSpec;
use zeroize::Zeroizing;

use super::Setup;
use crate::{
    claims::Claims,
    cluster::{Budget, Call, Cluster, Connection},
    error::{Error, Kind},
    inputs::{
        lifetime::{self, Lifetime},
        subject::MinterSubject,
    },
    process::files,
    record::kubeconfig,
    text::{self, in_words},
};

/// The name of the option.
const OPTION: &str = "minter-kubeconfig";
const NO_KUBECONFIG: &str = "jobpass applied all objects, and wrote no kubeconfig";

/// The kubeconfig of the minter that `setup` creates, before jobpass writes it.
pub struct MinterKubeconfig {
    path: PathBuf,
    /// The lifetime to request, in seconds.
    lifetime: u64,
    namespace: String,
    account: String,
}

/// A written kubeconfig.
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// The namespace of the minter.
    pub namespace: String,
    /// The ServiceAccount of the minter.
    pub account: String,
    /// The expiry of the token in the kubeconfig.
    pub expires: Timestamp,
    /// The time from the token's issue to its expiry, in seconds.
    pub lifetime: u64,
    /// Warnings for the administrator. Harmless text.
    pub warnings: Vec<String>,
}

impl Setup {
    /// Plans the kubeconfig of the minter at `path`, with a token that lives for `lifetime`. Creates the
    /// folder of the kubeconfig.
    ///
    /// # Errors
    /// If not exactly one of the minters is a ServiceAccount that this set-up creates, or if the lifetime is
    /// wrong. If anything other than an earlier kubeconfig of this minter is at `path`, or if jobpass cannot
    /// create the folder.
    pub fn minter_kubeconfig(&self, path: PathBuf, lifetime: &str) -> Result<MinterKubeconfig, Error> {
        let lifetime = match lifetime::time("minter-lifetime", lifetime)?.as_secs() {
            seconds @ Lifetime::LEAST..=Lifetime::MOST => seconds,
            _ => {
                return Err(Error::input(
                    "minter-lifetime",
                    format!(
                        "is `{}`: no API server issues a token with this lifetime",
                        text::harmless(lifetime)
                    ),
                    "use `10m` or more, and not more than 2^32 seconds, for example `720h`",
                ));
            }
        };
        let own = self.minters.iter().filter_map(|minter| match minter {
            MinterSubject::ServiceAccount { namespace, name } if *namespace == self.namespace => Some(name),
            _ => None,
        });
        let [account] = own.collect::<Vec<_>>()[..] else {
            return Err(Error::input(
                OPTION,
                "is given, but this set-up does not create exactly one ServiceAccount for a minter",
                "name one minter that setup creates, for example `--minter serviceaccount:jobpass-minter`. Other \
                 minters have credentials of their own: jobs with ID tokens need no kubeconfig",
            ));
        };
        let planned = MinterKubeconfig {
            path,
            lifetime,
            namespace: self.namespace.clone(),
            account: account.clone(),
        };
        if planned.path.symlink_metadata().is_ok() && !planned.is_earlier(&planned.path) {
            return Err(Error::input(
                OPTION,
                format!(
                    "is `{}`: this path exists, and jobpass did not write it for this minter",
                    text::path(&planned.path)
                ),
                "choose another path",
            ));
        }
        files::make_folder(OPTION, &planned.path)?;
        Ok(planned)
    }
}

impl MinterKubeconfig {
    /// Whether the file is an earlier kubeconfig of this minter. jobpass replaces no other file: another file
    /// could be the administrator's own kubeconfig.
    fn is_earlier(&self, path: &Path) -> bool {
        let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        let Ok(text) = files::read(path).map(Zeroizing::new) else {
            return false;
        };
        let has = |line: String| text.lines().any(|other| other.trim() == line);
        is_file
            && has(format!("current-context: {}", kubeconfig::NAME))
            && has(format!("user: {}", self.account))
            && has(format!("namespace: {}", self.namespace))
    }

    /// Requests the token, and writes the kubeconfig. Creates a new file with mode 0600, or replaces an
    /// earlier kubeconfig as a whole. Writes the token to no other place. `connection` is the connection of
    /// the administrator's kubeconfig to the API server.
    ///
    /// # Errors
    /// If the API server issues no token with an expiry, or if jobpass cannot write the file. The error says
    /// that jobpass applied all objects.
    pub async fn write(
        self,
        cluster: &Cluster,
        connection: &Connection,
        budget: &Budget,
    ) -> Result<Written, Error> {
        let written = self.request_and_write(cluster, connection, budget).await;
        written.map_err(|error| error.explained(NO_KUBECONFIG.into()))
    }

    async fn request_and_write(
        self,
        cluster: &Cluster,
        connection: &Connection,
        budget: &Budget,
    ) -> Result<Written, Error> {
        let (namespace, account) = (&self.namespace, &self.account);
        let request = TokenRequestSpec {
            expiration_seconds: Some(i64::try_from(self.lifetime).unwrap_or(i64::MAX)),
            ..TokenRequestSpec::default()
        };
        let call = Call::request_token("get a token of the minter", namespace, account, None, request)?;
        let answer = cluster.send(&call, budget).await?;
        if answer.status != 201 {
            let what = format!(
                "cannot get a token of ServiceAccount {namespace}/{account}: {}",
                answer.in_words()
            );
            let error = Error::new(Kind::Refused, what);
            if let Some(step) = answer.refused_by_another() {
                return Err(error.help(step));
            }
            return Err(match (answer.status, answer.denial()) {
                (401, _) => error.help(cluster.unauthorized_to_administer()),
                (_, Some(denial)) => error.help(format!(
                    "no permission is missing: {} refused the token, and the message above says why. Correct \
                     the cause, and run the command again",
                    denial.in_words()
                )),
                (403, None) => error.help(format!(
                    "run the command again as a user who may `create serviceaccounts/token {account}` in \
                     namespace {namespace}"
                )),
                _ => error.help("the message above says why. Correct the cause, and run the command again"),
            });
        }
        let token = answer.token(&call)?;
        let claims = Claims::of_issued(&token)?;
        let (Some(issued), Some(until)) = (claims.iat, claims.exp) else {
            return Err(Error::new(
                Kind::Claims,
                format!("the API server's token for {namespace}/{account} has no expiry or no time of issue"),
            )
            .help("check the server's URL: every token that Kubernetes issues on request has both"));
        };
        let lifetime = u64::try_from(until - issued).unwrap_or_default();
        let mut warnings = answer.warnings;
        // A server may round the lifetime, but not by a whole minute.
        if lifetime + 60 < self.lifetime {
            warnings.push(format!(
                "the API server issues tokens for {} at most, and not for {}: replace this kubeconfig before \
                 it expires",
                in_words(lifetime),
                in_words(self.lifetime)
            ));
        }
        if connection.is_loopback() {
            warnings.push(format!(
                "the server in this kubeconfig is `{}`, so it works on this machine alone. Write the address \
                 that the runners use into the kubeconfig: `kubectl config set-cluster {} --server \
                 https://ADDRESS:6443 --kubeconfig FILE`",
                connection.server,
                kubeconfig::NAME
            ));
        }
        let yaml = kubeconfig::yaml(connection, namespace, account, &token, None).map(Zeroizing::new)?;
        let written = match self.path.symlink_metadata() {
            Ok(_) if self.is_earlier(&self.path) => files::replace(&self.path, &yaml),
            // This overwrites no file that somebody created in the meantime.
            _ => files::put(&self.path, &yaml),
        };
        written.map_err(|error| {
            error.help(format!(
                "the API server issued a token for the minter, but jobpass could not store it: nobody has \
                 it, and it expires in {}",
                in_words(lifetime)
            ))
        })?;
        warnings.extend(files::is_open_to_others(&self.path));
        Ok(Written {
            path: self.path,
            namespace: self.namespace,
            account: self.account,
            expires: Timestamp::from_second(until).unwrap_or_default(),
            lifetime,
            warnings,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::inputs::setup::Wanted;

    fn setup(minters: &[&str]) -> Setup {
        let wanted = Wanted {
            service_account: "scanner".into(),
            namespace: "ci".into(),
            duration: "1h".into(),
            minters: minters.iter().map(|&minter| minter.into()).collect(),
            ..Wanted::default()
        };
        Setup::parse(&wanted).expect("parsed")
    }

    #[rstest]
    #[case::one(&["serviceaccount:minter"], "720h", "")]
    #[case::beside_others(&["user:jane", "serviceaccount:ci/minter", "serviceaccount:runners/runner"], "10m", "")]
    #[case::no_account(&["user:jane", "group:ci"], "720h", "input `minter-kubeconfig` is given")]
    #[case::an_account_of_others(&["serviceaccount:runners/runner"], "720h", "input `minter-kubeconfig` is given")]
    #[case::two(&["serviceaccount:a", "serviceaccount:b"], "720h", "input `minter-kubeconfig` is given")]
    #[case::short(&["serviceaccount:minter"], "9m", "input `minter-lifetime` is `9m`: no API server")]
    #[case::long(&["serviceaccount:minter"], "9999999h", "input `minter-lifetime` is")]
    #[case::no_time(&["serviceaccount:minter"], "30d", "input `minter-lifetime` is `30d`")]
    fn a_kubeconfig_is_for_the_one_account_that_setup_creates(
        #[case] minters: &[&str],
        #[case] lifetime: &str,
        #[case] why: &str,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        match setup(minters).minter_kubeconfig(folder.path().join("minter.yaml"), lifetime) {
            Ok(planned) => assert_eq!((&*planned.account, why), ("minter", "")),
            Err(error) => assert!(!why.is_empty() && error.to_string().starts_with(why), "{error}"),
        }
    }

    /// The administrator may type the path of another kubeconfig by mistake.
    #[rstest]
    #[case::earlier("minter", "ci", true)]
    #[case::of_another_minter("other", "ci", false)]
    #[case::of_another_namespace("minter", "other", false)]
    fn no_other_file_is_replaced(#[case] account: &str, #[case] namespace: &str, #[case] replaced: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yaml");
        let plan = |path: &Path| setup(&["serviceaccount:minter"]).minter_kubeconfig(path.to_owned(), "720h");
        let connection = Connection::new("server", "https://a", None).expect("a server");
        let token = crate::token::Token::parse("t", "token").expect("a token");
        let yaml = kubeconfig::yaml(&connection, namespace, account, &token, None).expect("YAML");
        std::fs::write(&path, yaml).expect("written");
        assert_eq!(plan(&path).is_ok(), replaced);
        std::fs::write(&path, "apiVersion: v1\ncurrent-context: admin\n").expect("written");
        assert!(plan(&path).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).expect("a link");
        assert!(plan(&link).is_err());
    }
}
