//! The minter of a kubeconfig. jobpass reads the kubeconfig as kubectl does (client-go, `tools/clientcmd`).

mod config;
mod flatten;
mod user;
pub(super) mod yaml;

use std::path::{Path, PathBuf};

use secrecy::SecretString;

pub(super) use self::config::{Cluster, Exec};
use self::config::{Config, Context, Mismatch, User};
use super::{Auth, Minter, from_base64, secrets::Secrets};
use crate::{
    cluster::{Authority, Connection, Identity, Proxy},
    error::Error,
    inputs::options::{Inputs, Opt},
    process::{environment::Environment, files, lookup, system::homes},
    text::{self, harmless},
};

/// The command that prints a kubeconfig that needs no other file. It prints the credentials, so messages
/// propose it only for a person's own machine.
const FLATTEN: &str = "kubectl config view --flatten --minify --raw --context CONTEXT_OF_MINTER";

/// A kubeconfig, merged from its files.
pub(super) struct Found {
    config: Config,
    /// The absolute paths of the files. Empty if the input holds the YAML itself, or base64 of it.
    paths: Vec<PathBuf>,
    /// The context if neither an input nor the kubeconfig names one: a cluster and a user without names.
    unnamed: Context,
}

/// The kubeconfig of the input, else of `$KUBECONFIG`, else `~/.kube/config` if it exists.
pub(super) fn find(input: Option<&str>, environment: &Environment) -> Result<Option<Found>, Error> {
    if let Some(text) = input {
        return path_or_text(text).map(Some);
    }
    if let Some(list) = environment.utf8("KUBECONFIG")? {
        let paths = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
        let found = read_those_that_exist(paths)?;
        return if found.paths.is_empty() {
            let allowed = "set it to the path of a kubeconfig, or unset it";
            Err(Error::input("KUBECONFIG", "names no file that exists", allowed))
        } else {
            Ok(Some(found))
        };
    }
    for home in homes(environment)? {
        let found = read_those_that_exist([home.join(".kube").join("config")])?;
        if !found.paths.is_empty() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The kubeconfig with which jobpass minted the token: the files of `paths`, or the input if `paths` is
/// empty.
pub(super) fn recorded(paths: &[PathBuf], inputs: &Inputs) -> Result<Found, Error> {
    let found = match paths {
        [] => find(inputs.get(Opt::Kubeconfig), &Environment::default())?,
        paths => Some(read(paths)?),
    };
    found.ok_or_else(|| {
        let problem = "is missing now, but was set when jobpass minted the token";
        Error::input(Opt::Kubeconfig, problem, "keep this input set until the job ends")
    })
}

/// Reads and merges kubeconfig files. If two files have an entry of the same name, the first file counts.
pub(super) fn read(paths: &[PathBuf]) -> Result<Found, Error> {
    let mut found = Found::empty();
    for path in paths {
        let path = files::absolute("kubeconfig", path)?;
        match files::read_bytes(files::LONGEST, &path) {
            Ok(text) => found.add(path, &text)?,
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    Ok(found)
}

/// Like [`read`], but leaves out the files that do not exist.
fn read_those_that_exist(paths: impl IntoIterator<Item = PathBuf>) -> Result<Found, Error> {
    let mut found = Found::empty();
    for path in paths {
        let path = files::absolute("KUBECONFIG", &path)?;
        match files::read_bytes(files::LONGEST, &path) {
            Ok(text) => found.add(path, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let path = text::path(path);
    let problem = format!(
        "is the file `{path}`, which cannot be read: {}",
        harmless(&error.to_string())
    );
    Error::input("kubeconfig", problem, files::READABLE)
}

fn path_or_text(text: &str) -> Result<Found, Error> {
    if !text.contains('\n') && Path::new(text).exists() {
        return read(&[text.into()]);
    }
    let decoded = decoded(text);
    if decoded.is_none() && !text.contains('\n') && !text.contains(": ") && !text.starts_with('{') {
        let shown = match text {
            // Base64 of UTF-8 text begins with none of these characters, so this is a path and not a secret.
            path if path.starts_with(['/', '.', '~']) && path.len() < 256 => format!(" `{}`", harmless(path)),
            _ => String::new(),
        };
        return Err(Error::input(
            "kubeconfig",
            format!("{shown} is neither a file that exists, nor the YAML of a kubeconfig, nor base64 of it")
                .trim(),
            "give a path, the YAML itself, or base64 of it (jobpass does not show the value unless it looks \
             like a path, because it might be a secret)",
        ));
    }
    let config = parse(decoded.as_deref().unwrap_or(text).as_bytes())?;
    if config.clusters.is_empty() && config.contexts.is_empty() {
        return Err(Error::input(
            "kubeconfig",
            "is not a kubeconfig: it has neither clusters nor contexts",
            format!(
                "on your own machine, `{FLATTEN}` prints a kubeconfig with its credentials. Give the text \
                 that it prints as this input, from a secret of the CI platform"
            ),
        ));
    }
    Ok(Found {
        config,
        ..Found::empty()
    })
}

/// Decodes a kubeconfig in base64. `None` for other text.
fn decoded(text: &str) -> Option<String> {
    from_base64(text).filter(|yaml| yaml.contains("clusters"))
}

fn parse(text: &[u8]) -> Result<Config, Error> {
    let value = yaml::to_json(text).map_err(|yaml::Unreadable(place)| {
        let place = place.map_or_else(String::new, |(line, column)| {
            format!(" at line {line}, column {column}")
        });
        refused(format!("is not a kubeconfig: jobpass cannot read it{place}"))
    })?;
    Config::parse(&value).map_err(|Mismatch(problem)| refused(problem))
}

fn refused(problem: String) -> Error {
    // The error of kubectl about two users of one name shows their tokens, even without `--raw`.
    let step = "on your own machine, check the kubeconfig with `kubectl config view`, which fails in the \
                same way. Do not run it in a job: its error may show secrets";
    Error::input("kubeconfig", problem, step)
}

/// Reads a file that the kubeconfig names.
fn referred(field: &str, path: &str) -> Result<String, Error> {
    let text = files::read_bytes(files::LONGEST, Path::new(path)).map_err(|error| {
        let (path, why) = (harmless(path), harmless(&error.to_string()));
        let problem = format!("has a `{field}` that is the file `{path}`, which cannot be read here: {why}");
        let step = format!(
            "{}. A CI job does not have the files of your machine: give it the kubeconfig that `{FLATTEN}` \
             prints there. That kubeconfig holds the content of the files, with the credentials",
            files::READABLE
        );
        Error::input("kubeconfig", problem, step)
    })?;
    // A valid file can have bytes that are not UTF-8 only in the comments around PEM, which nobody parses.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Found {
    fn empty() -> Self {
        Self {
            config: Config::default(),
            paths: Vec::new(),
            unnamed: Context::default(),
        }
    }

    fn add(&mut self, path: PathBuf, text: &[u8]) -> Result<(), Error> {
        let mut config = parse(text)?;
        if let Some(folder) = path.parent() {
            config.make_absolute(folder);
        }
        self.config.merge(config);
        self.paths.push(path);
        Ok(())
    }

    /// The minter of the context with this name, or of the current context.
    pub(super) async fn minter(self, name: Option<&str>, environment: &Environment) -> Result<Minter, Error> {
        let (name, context) = self.context(name)?;
        let cluster = self
            .cluster(context)
            .ok_or_else(|| missing("cluster", &context.cluster))?;
        let mut connection = connection(cluster, &context.cluster)?;
        connection.proxy = match &*cluster.proxy_url {
            "" => Proxy::from_environment(&connection.server, environment),
            url => Some(Proxy::parse("kubeconfig", url)?.of_kubeconfig()),
        };
        let (identity, exec) = self.identity(name, &connection, None, environment).await?;
        let namespace = Some(context.namespace.clone()).filter(|namespace| !namespace.is_empty());
        let auth = Auth::Kubeconfig {
            paths: self.paths.clone(),
            context: name.to_owned(),
            exec,
        };
        Ok(Minter {
            connection,
            identity,
            auth,
            namespace,
        })
    }

    /// The identity of a context's user, and the program of the exec plugin, if it ran. `pinned_exec` is the
    /// program that the state names, if there is one.
    pub(super) async fn identity(
        &self,
        context: &str,
        connection: &Connection,
        pinned_exec: Option<&Path>,
        environment: &Environment,
    ) -> Result<(Identity, Option<PathBuf>), Error> {
        let (_, context) = self.context(Some(context))?;
        let user = self.user(context).ok_or_else(|| missing("user", &context.user))?;
        user::identity(
            user,
            &context.user,
            connection,
            self.cluster(context),
            pinned_exec,
            environment,
        )
        .await
    }

    /// Checks that the context leads to the server of `recorded`. The context's credential may go to no other
    /// server.
    ///
    /// # Errors
    /// If the context or its cluster is missing, or if the cluster has another URL, certificate authority or
    /// TLS server name.
    pub(super) fn must_lead_to(&self, recorded: &Connection, name: &str) -> Result<(), Error> {
        let (_, context) = self.context(Some(name))?;
        let cluster = self
            .cluster(context)
            .ok_or_else(|| missing("cluster", &context.cluster))?;
        // If the cluster's entry is invalid, it names no other server, so the recorded server counts: a
        // damaged file must not keep a token alive.
        let Ok(named) = connection(cluster, &context.cluster) else {
            return Ok(());
        };
        let is_same = named.server == recorded.server
            && named.certificate_authority == recorded.certificate_authority
            && named.tls_server_name == recorded.tls_server_name;
        match is_same {
            true => Ok(()),
            false => Err(super::elsewhere("kubeconfig")),
        }
    }

    /// The secrets in the kubeconfig: the tokens and keys of all users, also in files that the kubeconfig
    /// names; the arguments, variables and configuration fields of exec plugins whose names mark them as
    /// secrets; the credentials in URLs, such as those of proxies.
    pub(super) fn credentials(&self) -> impl Iterator<Item = SecretString> {
        let users = self.config.users.values().flat_map(user::credentials);
        let clusters = self.config.clusters.values().flat_map(Secrets::of_cluster);
        users.chain(clusters)
    }

    /// The proxy of a context's cluster. `None` if there is no proxy, or if its URL is invalid.
    pub(super) fn proxy(&self, context: &str) -> Option<Proxy> {
        let (_, context) = self.context(Some(context)).ok()?;
        Proxy::parse("kubeconfig", &self.cluster(context)?.proxy_url).ok()
    }

    fn cluster(&self, context: &Context) -> Option<&Cluster> {
        self.config.clusters.get(&context.cluster)
    }

    fn user(&self, context: &Context) -> Option<&User> {
        self.config.users.get(&context.user)
    }

    fn context<'c>(&'c self, name: Option<&'c str>) -> Result<(&'c str, &'c Context), Error> {
        let choose = |step: &str| {
            let names = self
                .config
                .contexts
                .keys()
                .map(|name| harmless(name))
                .collect::<Vec<_>>();
            match names.is_empty() {
                true => "give another kubeconfig: this one has no context".into(),
                false => format!("{step}: the kubeconfig has `{}`", names.join("`, `")),
            }
        };
        let current = Some(&*self.config.current_context).filter(|name| !name.is_empty());
        // If there is no current context, kubectl uses the entries without a name.
        let unnamed = self.config.contexts.contains_key("")
            || self.config.clusters.contains_key("") && self.config.users.contains_key("");
        let Some(name) = name.or(current).or(unnamed.then_some("")) else {
            let allowed = choose("name a context with input `context`");
            return Err(Error::input("kubeconfig", "has no current-context", allowed));
        };
        match self.config.contexts.get(name) {
            Some(context) => Ok((name, context)),
            None if name.is_empty() => Ok((name, &self.unnamed)),
            None => Err(Error::input(
                "context",
                format!("is `{}`, which the kubeconfig does not have", text::wrong(name)),
                choose("name another context"),
            )),
        }
    }
}

impl Config {
    /// Makes the relative paths absolute. They begin at the kubeconfig's folder (client-go,
    /// `ResolveLocalPaths`).
    fn make_absolute(&mut self, folder: &Path) {
        let authorities = self
            .clusters
            .values_mut()
            .map(|cluster| &mut cluster.certificate_authority);
        let of_users = self.users.values_mut().flat_map(|user| {
            let command = user.exec.as_mut().map(|exec| &mut exec.command);
            let command = command.filter(|command| lookup::is_path(command.as_ref()));
            let files = [
                &mut user.client_certificate,
                &mut user.client_key,
                &mut user.token_file,
            ];
            files.into_iter().chain(command)
        });
        for path in authorities.chain(of_users).filter(|path| !path.is_empty()) {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    }
}

fn missing(what: &str, name: &str) -> Error {
    Error::input(
        "kubeconfig",
        format!("has a context whose {what} `{}` is missing", harmless(name)),
        format!(
            "correct the name in the context, or add the {what}. If it is in another kubeconfig of your \
             machine, set KUBECONFIG to both paths there: `{FLATTEN}` then prints a complete kubeconfig with \
             its credentials. Give the job the text that it prints, from a secret of the CI platform"
        ),
    )
}

fn connection(cluster: &Cluster, name: &str) -> Result<Connection, Error> {
    if cluster.insecure {
        return Err(Error::input(
            "kubeconfig",
            format!(
                "sets `insecure-skip-tls-verify` for cluster `{}`, so nobody would check the server's \
                     certificate",
                harmless(name)
            ),
            "jobpass sends no credential to a server that it cannot verify: put the cluster's CA into \
             `certificate-authority-data` instead",
        ));
    }
    let authority = match (
        &*cluster.certificate_authority_data,
        &*cluster.certificate_authority,
    ) {
        ([], "") => None,
        (data, "") => Some(String::from_utf8_lossy(data).into_owned()),
        ([], path) => Some(referred("certificate-authority", path)?),
        _ => return Err(both("certificate-authority", name)),
    };
    let authority = authority
        .map(|pem| Authority::parse("kubeconfig", &pem))
        .transpose()?;
    let connection = Connection::new("kubeconfig", &cluster.server, authority)?;
    Ok(Connection {
        tls_server_name: Some(cluster.tls_server_name.clone()).filter(|name| !name.is_empty()),
        ..connection
    })
}

fn both(field: &str, name: &str) -> Error {
    Error::input(
        "kubeconfig",
        format!("has both `{field}` and `{field}-data` for `{}`", harmless(name)),
        "remove one of the two; kubectl refuses a kubeconfig with both",
    )
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use rstest::rstest;
    use secrecy::ExposeSecret as _;

    use super::*;

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
            &Inputs::from([(Opt::Kubeconfig, kubeconfig), (Opt::Context, context)]),
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
    #[case::unknown_context(
        kubeconfig(),
        "two",
        "input `context` is `two`",
        "the kubeconfig has `nouser`, `one`"
    )]
    #[case::no_user(kubeconfig(), "nouser", "user `gone` is missing", "kubectl config view")]
    #[case::no_current(kubeconfig().replace("current-context: one", ""), "", "no current-context", "`context`")]
    #[case::http(kubeconfig().replace("https:", "http:"), "", "no server to which jobpass may send a credential", "https")]
    #[case::insecure(
        kubeconfig().replace("server:", "insecure-skip-tls-verify: true, server:"), "", "insecure-skip-tls-verify", "certificate-authority-data"
    )]
    #[case::bad_ca(
        kubeconfig().replace("server:", "certificate-authority-data: bm9uc2Vuc2U=, server:"), "", "holds no certificate", "PEM"
    )]
    #[case::malformed(kubeconfig().replace("- name: u\n  user:", "- name: u\n user: ["), "", "jobpass cannot read it at line", "kubectl config view")]
    #[case::wrong_type(kubeconfig().replace("clusters:\n- ", "clusters:\n  "), "", "`clusters` that is not a list", "kubectl config view")]
    #[case::field_of_the_file(
        kubeconfig().replace("user: {", r#"user: {auth-provider: {config: {"a\n\n::error::b": 1}}, "#),
        "", "`users[0].user.auth-provider.config.a ::error::b`", "kubectl config view"
    )]
    #[case::no_kubeconfig(format!("token: {SECRET}\n"), "", "neither clusters nor contexts", "kubectl config view")]
    #[case::a_bare_token(SECRET.to_owned(), "", "neither a file that exists", "does not show the value")]
    #[case::a_path("/nowhere/config".to_owned(), "", "`/nowhere/config`", "a path")]
    #[case::a_token_of_two_lines(kubeconfig().replace(SECRET, "\"secret-token\\nsecond\""), "", "line breaks", "one line")]
    #[case::a_token_of_blanks(kubeconfig().replace(SECRET, "\"  \""), "", "no token in `token` of user `u`: it is empty", "`tokenFile`")]
    #[case::a_token_of_words(kubeconfig().replace(SECRET, "\"secret-token x\""), "", "it has spaces", "`tokenFile`")]
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

    /// A script can print the minter's key in base64, as in the kubeconfig, or in lines of PEM. So jobpass
    /// must find both.
    #[test]
    fn keys_are_found_as_they_stand_and_as_pem_line_by_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let pem = |line: &str| format!("-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n");
        std::fs::write(folder.path().join("key.pem"), pem("bGluZS1vZi1hLWZpbGU")).expect("written");
        let data = STANDARD.encode(pem("bGluZS1vZi1kYXRh"));
        let yaml = format!(
            "{{clusters: [], contexts: [{{name: c, context: {{cluster: c, user: a}}}}], users: [{{name: a, user: {{client-key-data: {data}}}}}, \
             {{name: b, user: {{client-key: key.pem, token: a-token-of-b}}}}]}}"
        );
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, yaml).expect("written");
        let found = read(&[path]).expect("a kubeconfig");
        let mut secrets: Vec<_> = found
            .credentials()
            .map(|secret| secret.expose_secret().to_owned())
            .collect();
        secrets.sort();
        let mut expected = [&*data, "bGluZS1vZi1kYXRh", "bGluZS1vZi1hLWZpbGU", "a-token-of-b"];
        expected.sort_unstable();
        assert_eq!(secrets, expected);
    }

    /// The secrets of this test are in the kubeconfig or in a variable of the job, so scripts can read them.
    /// Addresses and settings are not secret, and stay readable.
    #[test]
    fn what_a_kubeconfig_hands_to_plugins_and_proxies_is_found_by_its_name() {
        let yaml = r#"
            clusters:
            - name: c
              cluster:
                server: https://k8s
                proxy-url: http://me:proxy%2Fpassword@p:3128
                extensions:
                - name: client.authentication.k8s.io/exec
                  extension: {audience: an-audience, client: {secret: cluster-secret}}
            - {name: d, cluster: {server: https://k8s, proxy-url: "http://proxy.example.com"}}
            contexts: []
            users:
            - name: u
              user:
                exec:
                  command: kubelogin
                  args: [get-token, --login, spn, --client-secret, flag-secret, --password=equals=secret, --server-id=6dae42f8-4368,
                    --token-cache-dir, --auth-mode, header-secret, --ca=https://me:url-secret@host/ca]
                  env:
                  - {name: AZURE_CLIENT_SECRET, value: "variable secret"}
                  - {name: AZURE_AUTHORITY_HOST, value: "https://login.microsoftonline.com/"}
                  - {name: PRIVATE_KEY, value: "-----BEGIN KEY-----\nfirst-line\nsecond-line\n-----END KEY-----\n"}
                  - {name: ACCOUNT_KEY, value: "{\"project\": \"a-project\", \"private_key\": \"json-secret\\nof-two-lines\"}"}
                  - {name: HTTPS_PROXY, value: "other:proxy-of-plugin@p"}
                  - {name: PASSWORD, value: 'back\\nslash'}
                  - {name: AWS_REGION, value: eu-central-1}
        "#;
        let inputs = Inputs::from([(Opt::Kubeconfig, yaml)]);
        let environment = Environment::from([("HTTPS_PROXY", "me:proxy-of-the-job@p:1")]);
        let found = Minter::credentials(&inputs, &environment);
        let found = found.iter().map(|secret| secret.expose_secret().to_owned());
        let mut found = found.collect::<Vec<_>>();
        found.sort_unstable();
        found.dedup();
        insta::assert_snapshot!(found.join("\n"), @r#"
        back\\nslash
        cluster-secret
        equals=secret
        first-line
        flag-secret
        header-secret
        json-secret
        me:proxy%2Fpassword
        me:proxy%2Fpassword@p:3128
        me:proxy-of-the-job
        me:proxy-of-the-job@p:1
        me:proxy/password
        me:url-secret
        me:url-secret@host
        of-two-lines
        of-two-lines"}
        other:proxy-of-plugin
        other:proxy-of-plugin@p
        proxy%2Fpassword
        proxy-of-plugin
        proxy-of-the-job
        proxy/password
        second-line
        url-secret
        variable secret
        {"project": "a-project", "private_key": "json-secret
        {"project": "a-project", "private_key": "json-secret\nof-two-lines"}
        "#);
    }
}
