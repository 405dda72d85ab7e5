//! The minter as a kubeconfig.
//!
//! Parsed here and not by kube, whose error quotes the whole text, tokens included.

mod user;

use std::path::{Path, PathBuf};

use kube::config::{Cluster, Kubeconfig};

use super::{Auth, Minter, from_base64};
use crate::{
    cluster::{Authority, Connection, Identity, Proxy},
    error::Error,
    process::{
        environment::Environment,
        files::{self, read_file},
    },
    text::harmless,
    token::Token,
};

/// A kubeconfig, merged from its files.
pub(super) struct Found {
    config: Kubeconfig,
    /// The files, absolute; empty if the YAML itself was given.
    paths: Vec<PathBuf>,
}

/// What the `kubeconfig` input says, else `$KUBECONFIG`, else `~/.kube/config` if there is one.
pub(super) fn find(input: Option<&str>, environment: &Environment) -> Result<Option<Found>, Error> {
    if let Some(text) = input {
        return path_or_text(text).map(Some);
    }
    if let Some(list) = environment.utf8("KUBECONFIG")? {
        // As kubectl does: files that do not exist are passed over (client-go, `clientcmd/loader.go`).
        let paths = std::env::split_paths(list)
            .filter(|path| path.exists())
            .collect::<Vec<_>>();
        return if paths.is_empty() {
            let allowed = "set it to the path of a kubeconfig, or unset it";
            Err(Error::input("KUBECONFIG", "names no file that exists", allowed))
        } else {
            read(&paths).map(Some)
        };
    }
    let at_home = environment
        .utf8("HOME")?
        .map(|home| Path::new(home).join(".kube/config"));
    at_home
        .filter(|path| path.exists())
        .map(|path| read(&[path]))
        .transpose()
}

/// Reads and merges kubeconfig files; the first to name something wins.
pub(super) fn read(paths: &[PathBuf]) -> Result<Found, Error> {
    let mut found = Found {
        config: Kubeconfig::default(),
        paths: Vec::new(),
    };
    for path in paths {
        let path = files::absolute("kubeconfig", path)?;
        let mut config = parse(&read_file("kubeconfig", &path)?)?;
        if let Some(folder) = path.parent() {
            make_absolute(&mut config, folder);
        }
        found.config = found.config.merge(config).map_err(|_| {
            Error::input(
                "kubeconfig",
                "has files of different kinds or apiVersions",
                "use `kind: Config`, `apiVersion: v1`",
            )
        })?;
        found.paths.push(path);
    }
    Ok(found)
}

fn path_or_text(text: &str) -> Result<Found, Error> {
    if !text.contains('\n') && Path::new(text).exists() {
        return read(&[text.into()]);
    }
    let decoded = from_base64(text).filter(|yaml| yaml.contains("clusters"));
    if decoded.is_none() && !text.contains('\n') && !text.contains(": ") && !text.starts_with('{') {
        let shown = match text {
            // Never base64 of a kubeconfig, which begins with a letter.
            path if path.starts_with(['/', '.', '~']) && path.len() < 256 => format!(" `{}`", harmless(path)),
            _ => String::new(),
        };
        return Err(Error::input(
            "kubeconfig",
            format!("{shown} is neither a file that exists, nor the YAML of a kubeconfig, nor base64 of it")
                .trim(),
            "give a path, the YAML itself, or base64 of it (the value is not shown, it might be a secret)",
        ));
    }
    Ok(Found {
        config: parse(decoded.as_deref().unwrap_or(text))?,
        paths: Vec::new(),
    })
}

fn parse(yaml: &str) -> Result<Kubeconfig, Error> {
    let config = serde_yaml::from_str::<Kubeconfig>(yaml).map_err(|error| {
        let at = error.location().map_or_else(String::new, |at| format!(" at line {}, column {}", at.line(), at.column()));
        Error::input(
            "kubeconfig",
            format!("is not a kubeconfig: it cannot be read{at}"),
            "compare it with `kubectl config view --raw --minify --flatten` (its text is not shown here, it may hold \
             secrets)",
        )
    })?;
    if config.clusters.is_empty() && config.contexts.is_empty() {
        return Err(Error::input(
            "kubeconfig",
            "is not a kubeconfig: it has neither clusters nor contexts",
            "`kubectl config view --raw --minify --flatten` prints one",
        ));
    }
    Ok(config)
}

/// Paths in a kubeconfig are relative to it (client-go, `clientcmd/loader.go`, `ResolveLocalPaths`).
fn make_absolute(config: &mut Kubeconfig, folder: &Path) {
    let clusters = config
        .clusters
        .iter_mut()
        .filter_map(|named| named.cluster.as_mut());
    let users = config
        .auth_infos
        .iter_mut()
        .filter_map(|named| named.auth_info.as_mut());
    let paths = clusters.filter_map(|cluster| cluster.certificate_authority.as_mut());
    let paths = paths.chain(users.flat_map(|user| {
        let command = user
            .exec
            .as_mut()
            .and_then(|exec| exec.command.as_mut())
            .filter(|command| command.contains('/'));
        [
            user.client_certificate.as_mut(),
            user.client_key.as_mut(),
            user.token_file.as_mut(),
            command,
        ]
        .into_iter()
        .flatten()
    }));
    for path in paths.filter(|path| !path.is_empty()) {
        *path = folder.join(&*path).to_string_lossy().into_owned();
    }
}

impl Found {
    /// The minter of one context; without a name, of the current one.
    pub(super) async fn minter(self, name: Option<&str>, environment: &Environment) -> Result<Minter, Error> {
        let (name, context) = self.context(name)?;
        let cluster = self
            .cluster(&context)
            .ok_or_else(|| missing("cluster", &context.cluster))?;
        let mut connection = connection(cluster, &context.cluster)?;
        connection.proxy = match &cluster.proxy_url {
            Some(url) if !url.is_empty() => Some(Proxy::parse("kubeconfig", url)?),
            _ => Proxy::from_environment(&connection.server, environment)?,
        };
        let (identity, exec) = self.identity(&name, &connection, None, environment).await?;
        let namespace = context.namespace.filter(|namespace| !namespace.is_empty());
        Ok(Minter {
            connection,
            identity,
            auth: Auth::Kubeconfig {
                paths: self.paths,
                context: name,
                exec,
            },
            namespace,
        })
    }

    /// Who the user of a context is, whatever its cluster. `pinned_exec` is the exec plugin's program, if that is known
    /// already.
    pub(super) async fn identity(
        &self,
        context: &str,
        connection: &Connection,
        pinned_exec: Option<&Path>,
        environment: &Environment,
    ) -> Result<(Identity, Option<PathBuf>), Error> {
        let (_, context) = self.context(Some(context))?;
        let user = context.user.as_deref().unwrap_or_default();
        let info = self.config.auth_infos.iter().find(|named| named.name == user);
        let info = info
            .and_then(|named| named.auth_info.as_ref())
            .ok_or_else(|| missing("user", user))?;
        user::identity(info, user, connection, pinned_exec, environment).await
    }

    /// The tokens and keys of all its users, as they stand in it; those in files of their own, too.
    pub(super) fn credentials(&self) -> impl Iterator<Item = Token> {
        let users = self
            .config
            .auth_infos
            .iter()
            .filter_map(|named| named.auth_info.as_ref());
        users.flat_map(user::credentials)
    }

    /// The proxy that the cluster of a context names, if it can be used.
    pub(super) fn proxy(&self, context: &str) -> Option<Proxy> {
        let (_, context) = self.context(Some(context)).ok()?;
        Proxy::parse("kubeconfig", self.cluster(&context)?.proxy_url.as_deref()?).ok()
    }

    fn cluster(&self, context: &kube::config::Context) -> Option<&Cluster> {
        self.config
            .clusters
            .iter()
            .find(|named| named.name == context.cluster)?
            .cluster
            .as_ref()
    }

    fn context(&self, name: Option<&str>) -> Result<(String, kube::config::Context), Error> {
        let names = || {
            let names = self
                .config
                .contexts
                .iter()
                .map(|context| harmless(&context.name))
                .collect::<Vec<_>>();
            format!(
                "it has {}",
                if names.is_empty() {
                    "none".into()
                } else {
                    format!("`{}`", names.join("`, `"))
                }
            )
        };
        let Some(name) = name.or(self
            .config
            .current_context
            .as_deref()
            .filter(|name| !name.is_empty()))
        else {
            let allowed = format!("name one with input `context`: {}", names());
            return Err(Error::input("kubeconfig", "has no current-context", allowed));
        };
        let context = self.config.contexts.iter().find(|context| context.name == name);
        match context.and_then(|named| named.context.clone()) {
            Some(context) => Ok((name.to_owned(), context)),
            None => Err(Error::input(
                "context",
                format!("is `{}`, which the kubeconfig does not have", harmless(name)),
                names(),
            )),
        }
    }
}

fn missing(what: &str, name: &str) -> Error {
    Error::input(
        "kubeconfig",
        format!("has a context whose {what} `{}` is not there", harmless(name)),
        "`kubectl config view --raw --minify --flatten` prints a kubeconfig that is complete",
    )
}

fn connection(cluster: &Cluster, name: &str) -> Result<Connection, Error> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(Error::input(
            "kubeconfig",
            format!("says `insecure-skip-tls-verify` for cluster `{}`", harmless(name)),
            "jobpass sends no credential to a server that it cannot verify: put the cluster's CA into \
             `certificate-authority-data` instead",
        ));
    }
    let authority = match (
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
    ) {
        (Some(data), _) if !data.is_empty() => Some(user::base64_field("certificate-authority-data", data)?),
        (_, Some(path)) if !path.is_empty() => Some(read_file("kubeconfig", Path::new(path))?),
        _ => None,
    };
    let authority = authority
        .map(|pem| Authority::parse("kubeconfig", pem))
        .transpose()?;
    let server = cluster.server.as_deref().unwrap_or_default();
    let connection = Connection::new("kubeconfig", server, authority)?;
    Ok(Connection {
        tls_server_name: cluster.tls_server_name.clone().filter(|name| !name.is_empty()),
        ..connection
    })
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use rstest::rstest;

    use super::*;
    use crate::inputs::options::Inputs;

    const SECRET: &str = "c2VjcmV0LXRva2VuLXRoYXQtbXVzdC1ub3QtYXBwZWFy";

    fn kubeconfig() -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
             clusters:\n- name: c\n  cluster: {{server: 'https://k8s:6443/'}}\n\
             users:\n- name: u\n  user: {{token: {SECRET}}}\n\
             contexts:\n- name: one\n  context: {{cluster: c, user: u, namespace: ci}}\n\
             - name: nouser\n  context: {{cluster: c, user: gone}}\n"
        )
    }

    async fn resolve(kubeconfig: &str, context: &str) -> Result<Minter, Error> {
        Minter::resolve(
            &Inputs::from([("kubeconfig", kubeconfig), ("context", context)]),
            &Environment::default(),
        )
        .await
    }

    async fn refused(kubeconfig: &str, context: &str) -> String {
        let error = resolve(kubeconfig, context)
            .await
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(
            !error.contains("c2VjcmV0") && !error.contains("secret-token"),
            "{error}"
        );
        error
    }

    #[rstest]
    #[case::yaml(|yaml: String| yaml)]
    #[case::base64(|yaml: String| STANDARD.encode(yaml))]
    #[case::wrapped_base64(|yaml: String| {
        STANDARD.encode(yaml).as_bytes().chunks(76).map(|l| String::from_utf8_lossy(l) + "\n").collect()
    })]
    #[tokio::test]
    async fn inline(#[case] write: fn(String) -> String) {
        let minter = resolve(&write(kubeconfig()), "").await.expect("a minter");
        assert_eq!(minter.connection.server, "https://k8s:6443");
        assert_eq!(minter.namespace.as_deref(), Some("ci"));
        assert_eq!(minter.identity.bearer.expect("a bearer").expose(), SECRET);
        assert_eq!(
            minter.auth,
            Auth::Kubeconfig {
                paths: vec![],
                context: "one".into(),
                exec: None
            }
        );
    }

    #[tokio::test]
    async fn a_file_with_paths_relative_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(
            &path,
            kubeconfig().replace(&format!("token: {SECRET}"), "tokenFile: here/token"),
        )
        .expect("written");
        std::fs::create_dir(folder.path().join("here")).expect("made");
        std::fs::write(folder.path().join("here/token"), format!("{SECRET}\n")).expect("written");
        let minter = resolve(&path.to_string_lossy(), "").await.expect("a minter");
        assert_eq!(minter.identity.bearer.expect("a bearer").expose(), SECRET);
        assert_eq!(
            minter.auth,
            Auth::Kubeconfig {
                paths: vec![path],
                context: "one".into(),
                exec: None
            }
        );
    }

    #[tokio::test]
    async fn kubeconfig_variable_merges_files_and_passes_over_missing_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        std::fs::write(
            &first,
            "current-context: one\ncontexts:\n- {name: one, context: {cluster: c, user: u}}\n",
        )
        .expect("written");
        std::fs::write(&second, kubeconfig()).expect("written");
        let list = std::env::join_paths([&first, &folder.path().join("gone"), &second]).expect("a list");
        let environment = Environment::from([("KUBECONFIG", list.to_str().expect("text"))]);
        let minter = Minter::resolve(&Inputs::default(), &environment)
            .await
            .expect("a minter");
        assert_eq!(
            (minter.connection.server.as_str(), minter.namespace),
            ("https://k8s:6443", None)
        );
    }

    #[rstest]
    #[case::unknown_context(kubeconfig(), "two", "input `context` is `two`", "it has `one`, `nouser`")]
    #[case::no_user(kubeconfig(), "nouser", "user `gone` is not there", "kubectl config view")]
    #[case::no_current(kubeconfig().replace("current-context: one", ""), "", "no current-context", "`context`")]
    #[case::http(kubeconfig().replace("https:", "http:"), "", "no server that a credential may be sent to", "https")]
    #[case::insecure(
        kubeconfig().replace("server:", "insecure-skip-tls-verify: true, server:"), "", "insecure-skip-tls-verify", "certificate-authority-data"
    )]
    #[case::bad_ca(
        kubeconfig().replace("server:", "certificate-authority-data: bm9uc2Vuc2U=, server:"), "", "holds no certificate", "PEM"
    )]
    #[case::malformed(kubeconfig().replace("- name: u\n  user:", "- name: u\n user: ["), "", "cannot be read at line", "kubectl config view")]
    #[case::wrong_type(kubeconfig().replace("clusters:\n- ", "clusters:\n  "), "", "cannot be read", "kubectl config view")]
    #[case::no_kubeconfig(format!("token: {SECRET}\n"), "", "neither clusters nor contexts", "kubectl config view")]
    #[case::a_bare_token(SECRET.to_owned(), "", "neither a file that exists", "not shown")]
    #[case::a_path("/nowhere/config".to_owned(), "", "`/nowhere/config`", "a path")]
    #[case::a_token_of_two_lines(kubeconfig().replace(SECRET, "\"secret-token\\nsecond\""), "", "line breaks", "one line")]
    #[tokio::test]
    async fn refusals_name_the_input_and_show_no_secret(
        #[case] kubeconfig: String,
        #[case] context: &str,
        #[case] problem: &str,
        #[case] step: &str,
    ) {
        let error = refused(&kubeconfig, context).await;
        let (what, help) = error.split_once("\n\n").expect("a next step");
        assert!(what.contains(problem) && help.contains(step), "{error}");
    }

    /// Each is a way in which a script can print what the minter shows the API server.
    #[test]
    fn keys_are_found_as_they_stand_and_as_pem_line_by_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let pem = |line: &str| format!("-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n");
        std::fs::write(folder.path().join("key.pem"), pem("bGluZS1vZi1hLWZpbGU")).expect("written");
        let data = STANDARD.encode(pem("bGluZS1vZi1kYXRh"));
        let yaml = format!(
            "{{clusters: [], contexts: [{{name: c, context: {{cluster: c, user: a}}}}], users: [{{name: a, user: {{client-key-data: {data}}}}}, \
             {{name: b, user: {{client-key: key.pem, token: a-token}}}}]}}"
        );
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, yaml).expect("written");
        let found = read(&[path]).expect("a kubeconfig");
        let mut secrets: Vec<_> = found
            .credentials()
            .map(|secret| secret.expose().to_owned())
            .collect();
        secrets.sort();
        let mut expected = [&*data, "bGluZS1vZi1kYXRh", "bGluZS1vZi1hLWZpbGU", "a-token"];
        expected.sort_unstable();
        assert_eq!(secrets, expected);
    }
}
