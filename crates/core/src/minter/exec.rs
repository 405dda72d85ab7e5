//! A kubeconfig's exec plugin (client-go credential plugin), run once and by us.
//!
//! kube runs it three times for each client, and a failing one's standard output, which may be a credential, ends up
//! in its error.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
};
use zeroize::Zeroizing;

use super::kubeconfig::{Cluster, Exec, yaml};
use crate::{
    cluster::{ClientCertificate, Connection},
    error::Error,
    process::{environment::Environment, files},
    text::{self, harmless},
    token::Token,
};

/// Plugins talk to a cloud; those that take longer than this are broken.
const LONGEST_RUN: Duration = Duration::from_secs(30);
/// Far more than a credential needs.
const LONGEST_OUTPUT: u64 = 1 << 20;
/// Bytes of a plugin's standard error that are kept, and characters that are shown.
const LONGEST_ERROR: usize = 8 << 10;
const SHOWN: usize = 500;
const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];
/// What each answer has in it.
const WORDS_OF_THE_FORM: [&str; 7] = [
    "ExecCredential",
    "apiVersion",
    "expirationTimestamp",
    "clientCertificateData",
    "clientKeyData",
    VERSIONS[0],
    VERSIONS[1],
];

pub(super) struct Plugin {
    /// Absolute, so that a later change of PATH changes nothing.
    pub(super) program: PathBuf,
}

pub(super) struct Credential {
    pub(super) bearer: Option<Token>,
    pub(super) certificate: Option<ClientCertificate>,
}

/// The rules of `validateAuthInfo` and of the plugins' versions: they hold even for a plugin that is not run.
pub(super) fn check(config: &Exec, user: &str) -> Result<(), Error> {
    let refused = |problem: &str, step: &str| {
        let problem = format!("has an exec plugin {problem} for user `{}`", harmless(user));
        Err(Error::input("kubeconfig", problem, step))
    };
    if config.command.is_empty() {
        return refused(
            "without a `command`",
            "name the program that prints the credential",
        );
    }
    if !VERSIONS.contains(&&*config.api_version) {
        return refused(
            "with another `apiVersion` than `client.authentication.k8s.io/v1` or `v1beta1`",
            "use a version of the plugin that speaks one of the two, as kubectl does",
        );
    }
    if config.environment.iter().any(|(name, _)| name.is_empty()) {
        return refused(
            "with a variable without a name",
            "give each entry of `env` a `name`",
        );
    }
    match &*config.interactive_mode {
        "Never" | "IfAvailable" | "Always" => Ok(()),
        "" => refused(
            "without an `interactiveMode`",
            "add `interactiveMode: IfAvailable`",
        ),
        _ => refused(
            "with an unknown `interactiveMode`",
            "use `Never`, `IfAvailable` or `Always`",
        ),
    }
}

impl Plugin {
    pub(super) fn find(
        config: &Exec,
        pinned: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        if let Some(program) = pinned {
            return Ok(Self {
                program: program.to_owned(),
            });
        }
        let command = &*config.command;
        if config.interactive_mode == "Always" {
            let problem = format!(
                "has the exec plugin `{}`, which wants a person at a terminal",
                harmless(command)
            );
            return Err(Error::input(
                "kubeconfig",
                problem,
                "use a credential that a CI job can have",
            ));
        }
        let candidates = if command.contains('/') {
            vec![PathBuf::from(command)]
        } else {
            let folders = std::env::split_paths(environment.get("PATH").unwrap_or_default());
            let folders = folders.filter(|folder| folder.is_absolute());
            folders
                .map(|folder| folder.join(command))
                .filter(|path| is_executable(path))
                .collect()
        };
        let found = candidates.into_iter().find(|path| path.is_file());
        let program = found.ok_or_else(|| {
            let hint = match &*config.install_hint {
                "" => "install it, or use a kubeconfig with a token or a client certificate".into(),
                hint => harmless(hint),
            };
            Error::input(
                "kubeconfig",
                format!(
                    "has the exec plugin `{}`, which is not installed",
                    harmless(command)
                ),
                hint,
            )
        })?;
        Ok(Self {
            program: files::absolute("kubeconfig", &program)?,
        })
    }

    pub(super) async fn run(
        &self,
        config: &Exec,
        connection: &Connection,
        cluster: Option<&Cluster>,
        environment: &Environment,
    ) -> Result<Credential, Error> {
        let name = text::path(&self.program);
        let failed = |why: String, said: &str| {
            let said = match said {
                "" => "it printed nothing to its standard error".into(),
                said => format!("its standard error is: {said}"),
            };
            let step = format!("{said}\nrun `{name}` by hand in the same environment, as the same user");
            let problem = format!("has the exec plugin `{name}`, which {why}");
            Error::input("kubeconfig", problem, step)
        };
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&config.arguments)
            .env_clear()
            .envs(environment.iter())
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", exec_info(config, connection, cluster))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| failed(format!("cannot be started: {}", harmless(&error.to_string())), ""))?;
        let running = Running::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut output, mut said) = (Vec::new(), Vec::new());
        let run = async {
            let output = async {
                match stdout {
                    Some(stdout) => stdout
                        .take(LONGEST_OUTPUT)
                        .read_to_end(&mut output)
                        .await
                        .map(drop),
                    None => Ok(()),
                }
            };
            let said = async {
                match stderr {
                    Some(stderr) => read_end(stderr, &mut said).await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(output, said)?;
            child.wait().await
        };
        let run = async {
            let status = run.await?;
            running.has_ended();
            Ok::<_, std::io::Error>(status)
        };
        let status = tokio::time::timeout(LONGEST_RUN, run).await;
        let output = Zeroizing::new(output);
        let said = presentable(&said, &output, config, environment);
        let status = match status {
            Ok(status) => {
                status.map_err(|error| failed(format!("failed: {}", harmless(&error.to_string())), &said))?
            }
            Err(_) => {
                let why = format!("did not finish within {} s", LONGEST_RUN.as_secs());
                return Err(failed(why, &said));
            }
        };
        if !status.success() {
            return Err(failed(format!("failed ({status})"), &said));
        }
        let status = status_of(&output, &config.api_version).map_err(|why| failed(why.into(), &said))?;
        credential(&status)
    }
}

/// A plugin that runs, with all that it has started: they hold what the job's environment and the kubeconfig give them. Dropped before
/// the plugin has ended, it kills them.
struct Running(Cell<Option<Pid>>);

impl Running {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(Cell::new(pid.and_then(Pid::from_raw)))
    }

    fn has_ended(&self) {
        self.0.set(None);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.0.get() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// The `status` of an `ExecCredential`, JSON or YAML as client-go takes both.
fn status_of(output: &[u8], api_version: &str) -> Result<Status, &'static str> {
    const NONE: &str = "printed no ExecCredential";
    let value = match output.trim_ascii_start().starts_with(b"{") {
        true => serde_json::from_slice(output).ok(),
        false => yaml::to_json(output).ok(),
    };
    let value: Value = value.ok_or(NONE)?;
    match (value["kind"].as_str(), value["apiVersion"].as_str()) {
        (Some("ExecCredential"), Some(version)) if version == api_version => {}
        (Some("ExecCredential"), Some(_)) => {
            return Err("printed an ExecCredential of another version than the kubeconfig's `apiVersion`");
        }
        _ => return Err(NONE),
    }
    // No error of it is shown, as it may quote a secret.
    let status = serde_json::from_value::<Option<Status>>(value["status"].clone());
    status
        .ok()
        .flatten()
        .ok_or("printed an ExecCredential without a status that can be read")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    client_key_data: Option<SecretString>,
    /// Only to fail where client-go does.
    #[serde(rename = "expirationTimestamp")]
    _expires: Option<jiff::Timestamp>,
}

fn credential(status: &Status) -> Result<Credential, Error> {
    let printed = |what: &str| {
        let problem = format!("has an exec plugin, which printed {what}");
        Error::input(
            "kubeconfig",
            problem,
            "run it by hand, and check its version and configuration",
        )
    };
    let text = |secret: &Option<SecretString>| {
        secret
            .as_ref()
            .map(|secret| secret.expose_secret().to_owned())
            .filter(|text| !text.is_empty())
    };
    let bearer = match text(&status.token) {
        // A header cannot carry it.
        Some(token) if token.contains(['\r', '\n']) => return Err(printed("a token with line breaks")),
        Some(token) => Some(Token::parse(&token, "kubeconfig")?),
        None => None,
    };
    let certificate = status
        .client_certificate_data
        .clone()
        .filter(|text| !text.is_empty());
    let certificate = match (certificate, text(&status.client_key_data)) {
        (Some(certificate), Some(key)) => {
            Some(ClientCertificate::parse("kubeconfig", certificate, key.into())?)
        }
        (None, None) => None,
        _ => return Err(printed("a client certificate or its key, and not both")),
    };
    match bearer.is_some() || certificate.is_some() {
        true => Ok(Credential { bearer, certificate }),
        false => Err(printed(
            "an ExecCredential with neither a token nor a client certificate",
        )),
    }
}

/// Reads to the end and keeps the last part.
async fn read_end(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        into.extend_from_slice(&chunk[..read]);
        into.drain(..into.len().saturating_sub(LONGEST_ERROR));
    }
}

/// The end of a plugin's standard error, fit to be shown: without its secrets, which may be what it prints to its standard output, what
/// the kubeconfig hands to it, and variables whose names say so.
fn presentable(said: &[u8], output: &[u8], config: &Exec, environment: &Environment) -> String {
    let mut said = String::from_utf8_lossy(said).into_owned();
    let output = String::from_utf8_lossy(output);
    let is_separator = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '{' | '}' | '[' | ']');
    let printed = output
        .split(is_separator)
        .filter(|word| !WORDS_OF_THE_FORM.contains(word));
    let is_secret = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["TOKEN", "SECRET", "PASS", "KEY", "CREDENTIAL", "AUTH", "PROXY"]
            .iter()
            .any(|part| name.contains(part))
    };
    let variables = environment
        .iter()
        .filter(|(name, _)| is_secret(name))
        .map(|(_, value)| value);
    let handed = config
        .environment
        .iter()
        .filter(|(name, _)| is_secret(name))
        .map(|(_, value)| &**value);
    let mut secrets: Vec<&str> = printed.chain(variables).chain(handed).map(str::trim).collect();
    secrets.retain(|secret| secret.len() >= 8);
    // A longer one may contain a shorter one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        said = said.replace(secret, "***");
    }
    harmless_end(&said)
}

/// The first part matters less: what went wrong stands at the end.
fn harmless_end(said: &str) -> String {
    let start = said
        .char_indices()
        .rev()
        .nth(SHOWN - 1)
        .map_or(0, |(start, _)| start);
    harmless(&said[start..])
}

/// What client-go tells a plugin (`plugin/pkg/client/auth/exec/exec.go`).
fn exec_info(config: &Exec, connection: &Connection, cluster: Option<&Cluster>) -> String {
    let mut spec = json!({ "interactive": false });
    if config.provide_cluster_info {
        spec["cluster"] = json!({ "server": connection.server });
        if let Some(pem) = &connection.certificate_authority {
            spec["cluster"]["certificate-authority-data"] = STANDARD.encode(pem).into();
        }
        if let Some(name) = &connection.tls_server_name {
            spec["cluster"]["tls-server-name"] = name.as_str().into();
        }
        if let Some(url) = cluster
            .map(|cluster| &*cluster.proxy_url)
            .filter(|url| !url.is_empty())
        {
            spec["cluster"]["proxy-url"] = url.into();
        }
        if let Some(configuration) = cluster.and_then(|cluster| cluster.plugin_configuration.as_ref()) {
            spec["cluster"]["config"] = configuration.clone();
        }
    }
    json!({ "apiVersion": config.api_version, "kind": "ExecCredential", "spec": spec }).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        fs::{CWD, Mode, OFlags, mkfifoat, open},
    };

    use super::*;
    use crate::{
        inputs::options::{Inputs, Opt},
        minter::Minter,
    };

    async fn resolve(script: &str) -> (Result<Minter, Error>, usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("runs");
        // A shell script and not a binary: `sh` reads it, so that no test races with another's fork over a file that
        // is still open for writing (ETXTBSY).
        std::fs::write(
            folder.path().join("plugin.sh"),
            format!("echo run >> runs\n{script}"),
        )
        .expect("written");
        let kubeconfig = format!(
            "current-context: c\ncontexts:\n- {{name: c, context: {{cluster: c, user: u}}}}\n\
             clusters:\n- {{name: c, cluster: {{server: 'https://k8s'}}}}\n\
             users:\n- name: u\n  user:\n    exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, \
             args: [-c, 'cd {0} && . ./plugin.sh'], env: [{{name: FROM_KUBECONFIG, value: 'yes'}}], interactiveMode: Never}}\n",
            folder.path().display()
        );
        let environment = Environment::from([
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("FROM_JOB", "yes"),
            ("A_PASSWORD", "plugin-secret-of-the-job"),
        ]);
        let minter = Minter::resolve(&Inputs::from([(Opt::Kubeconfig, &*kubeconfig)]), &environment).await;
        (
            minter,
            std::fs::read_to_string(runs)
                .map(|runs| runs.lines().count())
                .unwrap_or(0),
        )
    }

    #[tokio::test]
    async fn it_runs_once_with_both_environments() {
        let script = r#"test "$FROM_KUBECONFIG$FROM_JOB" = yesyes && echo '{"apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential", "status": {"token": "plugin-token"}}'"#;
        let (minter, runs) = resolve(script).await;
        assert_eq!(
            minter
                .expect("a minter")
                .identity
                .bearer
                .expect("a bearer")
                .expose(),
            "plugin-token"
        );
        assert_eq!(runs, 1);
    }

    #[rstest]
    #[case(
        "echo '{\"status\": {\"token\": \"plugin-secret\"}}'; exit 3",
        "failed (exit status: 3)"
    )]
    #[case("echo plugin-secret", "printed no ExecCredential")]
    #[case("echo '{\"status\": {}}'", "printed no ExecCredential")]
    #[case(
        "echo apiVersion: client.authentication.k8s.io/v1beta1; echo kind: ExecCredential",
        "of another version"
    )]
    #[case(
        "echo apiVersion: client.authentication.k8s.io/v1; echo kind: ExecCredential; echo 'status: {}'",
        "neither a token nor"
    )]
    #[case(
        "echo plugin-secret; echo NoCredentialProviders: plugin-secret, $A_PASSWORD >&2; kill -9 $$",
        "NoCredentialProviders: ***, ***"
    )]
    #[tokio::test]
    async fn a_failure_shows_standard_error_and_no_secret(#[case] script: &str, #[case] why: &str) {
        let error = resolve(script)
            .await
            .0
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(why) && !error.contains("plugin-secret"), "{error}");
    }

    /// Whoever stops waiting, at a signal or after 30 s, leaves nothing behind that has the job's environment.
    #[tokio::test]
    async fn what_a_plugin_has_started_ends_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [started, alive] = ["started", "alive"].map(|name| {
            let pipe = folder.path().join(name);
            mkfifoat(CWD, &pipe, Mode::RWXU).expect("a pipe");
            pipe
        });
        // The child holds the other end for as long as it lives.
        let reader = open(&alive, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("opened");
        let script = format!(
            "sh -c 'echo > {}; exec sleep 600' 3> {} & wait",
            started.display(),
            alive.display()
        );
        let started = tokio::task::spawn_blocking(move || std::fs::read(started));
        tokio::select! {
            _ = resolve(&script) => panic!("it does not end by itself"),
            started = started => drop(started.expect("read").expect("it has started")),
        }
        let patience = Timespec::try_from(Duration::from_secs(20)).expect("a time");
        let mut end = [PollFd::new(&reader, PollFlags::empty())];
        poll(&mut end, Some(&patience)).expect("polled");
        assert!(end[0].revents().contains(PollFlags::HUP), "it is still there");
    }
}
