//! Handing the token over in files that nobody else can read.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    cluster::Connection,
    error::{Error, Kind},
    inputs::options::Inputs,
    process::files::{PARTIAL, cannot_write, put, utf8, with_suffix, write_new},
    record::{
        journal::{self, Entry},
        receipt::Receipt,
    },
    text::harmless,
    token::Token,
};

/// Where the token goes. Recorded in the state before the first byte is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Files {
    /// The token alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A kubeconfig.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig_file: Option<PathBuf>,
    /// Whether it holds the token itself, and does not name `token_file`.
    #[serde(default)]
    pub embed_token: bool,
    /// The [journal] of a token that is renewed, beside `token_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<PathBuf>,
}

impl Files {
    /// Which files `token-file`, `kubeconfig-file` and `embed-token` ask for. `folder` is where relative paths begin.
    ///
    /// # Errors
    /// If one exists already, its folder does not, its path is not UTF-8, or there is no kubeconfig to put the token into.
    pub fn plan(inputs: &Inputs, folder: &Path, anchor: &str) -> Result<Self, Error> {
        let path = |input, suffix| match inputs.get(input) {
            None | Some("false") => Ok(None),
            Some("true") => {
                let path = folder.join(format!("{anchor}.{suffix}"));
                utf8(input, &path)?;
                Ok(Some(path))
            }
            Some(path) => free(input, folder.join(path)).map(Some),
        };
        let kubeconfig_file = path("kubeconfig-file", "kubeconfig")?;
        let embed_token = inputs.flag("embed-token")?;
        if embed_token && kubeconfig_file.is_none() {
            return Err(Error::input(
                "embed-token",
                "is `true`, and there is no kubeconfig to put the token into",
                "add `kubeconfig-file`, or leave `embed-token` out",
            ));
        }
        // The kubeconfig names the token's file, so that there is one place to remove.
        let named = kubeconfig_file.as_ref().filter(|_| !embed_token);
        let beside = || named.map(|path| with_suffix(path, ".token"));
        let token_file = match path("token-file", "token")? {
            Some(path) => Some(path),
            None => beside().map(|path| free("kubeconfig-file", path)).transpose()?,
        };
        if token_file.is_some() && token_file == kubeconfig_file {
            return Err(Error::input(
                "kubeconfig-file",
                "is the same as `token-file`",
                "give each a name of its own",
            ));
        }
        let journal = match (&token_file, inputs.get("renew-for")) {
            (_, None) => None,
            (Some(path), Some(_)) => Some(free("token-file", with_suffix(path, ".journal"))?),
            (None, Some(_)) => {
                return Err(Error::input(
                    "renew-for",
                    "is given, and there is no file in which a new token could take the place of the old one",
                    "add `token-file`, or `kubeconfig-file` without `embed-token`",
                ));
            }
        };
        if embed_token && journal.is_some() {
            return Err(Error::input(
                "embed-token",
                "is `true`, and `renew-for` is given: programs read a kubeconfig once",
                "leave out `embed-token`: they read the token's file again when it is renewed",
            ));
        }
        Ok(Self {
            token_file,
            kubeconfig_file,
            embed_token,
            journal,
        })
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.token_file.is_none() && self.kubeconfig_file.is_none()
    }

    /// Writes them, each at once and as a whole, readable by this user only.
    ///
    /// # Errors
    /// If one cannot be written, or something is in its place meanwhile; nothing is overwritten, and what was written
    /// is removed again.
    pub fn write(&self, token: &Token, connection: &Connection, receipt: &Receipt) -> Result<(), Error> {
        let kubeconfig = match &self.kubeconfig_file {
            Some(_) => Zeroizing::new(self.kubeconfig(token, connection, receipt)?),
            None => Zeroizing::default(),
        };
        // First, so that a filter that begins later knows this token, too.
        let announced = Zeroizing::new(journal::line(&Entry::Announced { token: token.clone() })?);
        let all = [
            (&self.journal, &**announced),
            (&self.token_file, token.expose()),
            (&self.kubeconfig_file, &**kubeconfig),
        ];
        let mut written = Vec::new();
        for (path, content) in all {
            let Some(path) = path else { continue };
            put(path, content).inspect_err(|_| {
                for path in &written {
                    let _ = std::fs::remove_file(path);
                }
            })?;
            written.push(path);
        }
        Ok(())
    }

    fn kubeconfig(&self, token: &Token, connection: &Connection, receipt: &Receipt) -> Result<String, Error> {
        let user = match &self.token_file {
            Some(file) if !self.embed_token => AuthInfo {
                token_file: Some(utf8("token-file", file)?.to_owned()),
                ..AuthInfo::default()
            },
            _ => AuthInfo {
                token: Some(token.expose().into()),
                ..AuthInfo::default()
            },
        };
        let certificate_authority = connection.certificate_authority.as_ref();
        let cluster = Cluster {
            server: Some(connection.server.clone()),
            certificate_authority_data: certificate_authority.map(|pem| STANDARD.encode(pem)),
            tls_server_name: connection.tls_server_name.clone(),
            ..Cluster::default()
        };
        let context = Context {
            cluster: NAME.into(),
            user: Some(receipt.service_account.clone()),
            namespace: Some(receipt.namespace.clone()),
            ..Context::default()
        };
        let config = Kubeconfig {
            api_version: Some("v1".into()),
            kind: Some("Config".into()),
            current_context: Some(NAME.into()),
            clusters: vec![NamedCluster {
                name: NAME.into(),
                cluster: Some(cluster),
                ..NamedCluster::default()
            }],
            auth_infos: vec![NamedAuthInfo {
                name: receipt.service_account.clone(),
                auth_info: Some(user),
                ..NamedAuthInfo::default()
            }],
            contexts: vec![NamedContext {
                name: NAME.into(),
                context: Some(context),
                ..NamedContext::default()
            }],
            ..Kubeconfig::default()
        };
        // Not what is wrong with it: the text may hold the token.
        serde_yaml::to_string(&config)
            .map_err(|_| Error::new(Kind::Internal, "cannot write the kubeconfig as YAML"))
    }

    /// Puts a new token in the place of the old one.
    ///
    /// # Errors
    /// If it cannot be written: then the old one is still there.
    pub(crate) fn renew(&self, token: &Token) -> Result<(), Error> {
        let Some(path) = &self.token_file else {
            return Ok(());
        };
        let partial = with_suffix(path, PARTIAL);
        let _ = std::fs::remove_file(&partial);
        write_new(&partial, token.expose())
            .and_then(|()| std::fs::rename(&partial, path))
            .map_err(|error| cannot_write(path, &error))
    }

    /// Writes `token_file` only.
    ///
    /// # Errors
    /// As [`Files::write`].
    pub fn write_token(&self, token: &Token) -> Result<(), Error> {
        match &self.token_file {
            Some(path) => put(path, token.expose()),
            None => Ok(()),
        }
    }

    /// The token, as it was delivered.
    pub fn token(&self) -> Option<Token> {
        let text = match (&self.token_file, &self.kubeconfig_file) {
            (Some(path), _) => crate::process::files::read(path).ok()?,
            (None, Some(path)) => embedded(&crate::process::files::read(path).ok()?)?,
            (None, None) => return None,
        };
        Token::parse(&text, "token-file").ok()
    }

    /// Removes them, partly written ones too. Those that are not there are fine.
    ///
    /// # Errors
    /// If one is there and stays.
    pub fn remove(&self) -> Result<(), Error> {
        let files = [&self.journal, &self.token_file, &self.kubeconfig_file];
        let files = files.into_iter().flatten();
        let mut failure = Ok(());
        for file in files.flat_map(|path| [path.clone(), with_suffix(path, PARTIAL)]) {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let (path, why) = (harmless(&file.to_string_lossy()), harmless(&error.to_string()));
                    failure = Err(Error::new(Kind::Revoke, format!("cannot remove `{path}`: {why}")));
                }
                _ => {}
            }
        }
        failure
    }
}

/// The cluster and the context in a kubeconfig of ours.
const NAME: &str = "jobpass";

fn free(input: &str, path: PathBuf) -> Result<PathBuf, Error> {
    let shown = harmless(utf8(input, &path)?);
    if path.symlink_metadata().is_ok() {
        let problem = format!("is `{shown}`, which exists already");
        return Err(Error::input(
            input,
            problem,
            "jobpass overwrites nothing: choose another name, or remove it first",
        ));
    }
    match path.parent() {
        Some(folder) if folder.is_dir() => Ok(path),
        _ => Err(Error::input(
            input,
            format!("is `{shown}`, whose folder does not exist"),
            "create the folder first",
        )),
    }
}

/// The token in a kubeconfig of ours.
fn embedded(kubeconfig: &str) -> Option<String> {
    let config = serde_yaml::from_str::<serde_json::Value>(kubeconfig).ok()?;
    Some(config.pointer("/users/0/user/token")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, symlink},
        },
    };

    use super::*;

    fn plan(folder: &Path, token_file: &str, kubeconfig_file: &str) -> Result<Files, Error> {
        let inputs = Inputs::from([("token-file", token_file), ("kubeconfig-file", kubeconfig_file)]);
        Files::plan(&inputs, folder, "jobpass-a")
    }

    #[test]
    fn names_are_absolute_and_below_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| Some(folder.path().join(name));
        let files = plan(folder.path(), "true", "true").expect("a plan");
        assert_eq!(
            (files.token_file, files.kubeconfig_file),
            (at("jobpass-a.token"), at("jobpass-a.kubeconfig"))
        );
        let files = plan(folder.path(), "", "k").expect("a plan");
        assert_eq!(
            (files.token_file, files.kubeconfig_file),
            (at("k.token"), at("k"))
        );
        assert!(plan(folder.path(), "false", "").expect("a plan").is_empty());
    }

    #[test]
    fn a_path_that_cannot_be_recorded_is_a_wrong_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
        std::fs::create_dir(&folder).expect("made");
        for (token_file, kubeconfig_file) in [("token", ""), ("true", ""), ("", "k"), ("", "true")] {
            let error = plan(&folder, token_file, kubeconfig_file).expect_err("refused");
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.what().ends_with("which is not UTF-8"), "{error}");
        }
        let elsewhere = tempfile::tempdir().expect("a folder");
        let path = elsewhere.path().join("token");
        assert!(plan(&folder, path.to_str().expect("UTF-8"), "").is_ok());
        assert!(plan(&folder, "", "").is_ok(), "nothing is in the folder");
    }

    #[test]
    fn what_exists_is_never_overwritten_or_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("taken"), "mine").expect("written");
        symlink("/nowhere", folder.path().join("link")).expect("linked");
        for name in ["taken", "link"] {
            let error = plan(folder.path(), name, "").expect_err("refused").to_string();
            assert!(error.contains("exists already"), "{error}");
        }
        assert!(
            plan(folder.path(), "gone/t", "")
                .expect_err("refused")
                .to_string()
                .contains("folder does not exist")
        );

        // Taken between plan and write.
        let files = plan(folder.path(), "late", "").expect("a plan");
        symlink(folder.path().join("taken"), folder.path().join("late")).expect("linked");
        let token = Token::parse("eyJ.a.b", "token").expect("a token");
        let error = put(files.token_file.as_deref().expect("a path"), token.expose()).expect_err("refused");
        assert_eq!(error.kind(), Kind::Deliver);
        assert_eq!(
            std::fs::read_to_string(folder.path().join("taken")).expect("read"),
            "mine"
        );
        let left = std::fs::read_dir(folder.path()).expect("read").count();
        assert_eq!(left, 3, "no partial file is left");
    }

    #[test]
    fn files_are_private_and_go_away_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = plan(folder.path(), "t", "").expect("a plan");
        let path = files.token_file.clone().expect("a path");
        put(&path, "secret").expect("written");
        assert_eq!(
            std::fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        write_new(&with_suffix(&path, PARTIAL), "sec").expect("written");
        files.remove().expect("removed");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
        files.remove().expect("nothing to remove is fine");
    }
}
