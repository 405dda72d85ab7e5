//! The exec plugin of a kubeconfig (client-go credential plugin). jobpass runs the plugin itself, once for
//! each credential that it needs.
//!
//! The crate `kube` runs a plugin three times for each client. It also quotes the standard output of a failed
//! plugin in its error, and that output may be a credential.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_mask::Masker;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use zeroize::Zeroizing;

use super::{
    kubeconfig::{Cluster, Exec, yaml},
    secrets::Secrets,
};
use crate::{
    cluster::{ClientCertificate, Connection},
    error::Error,
    process::{environment::Environment, files, group::Group, lookup, system::is_executable},
    text::{self, harmless},
    token::Token,
};

/// The time limit of a plugin. Most plugins ask a cloud service, which answers far sooner.
const LONGEST_RUN: Duration = Duration::from_secs(30);
/// The greatest length of a plugin's output, in bytes. A credential needs far less.
const LONGEST_OUTPUT: u64 = 1 << 20;
/// The number of bytes of a plugin's standard error that jobpass keeps. jobpass shows only `SHOWN`
/// characters. It keeps far more, because it can mask a secret only if it has the secret's beginning.
const LONGEST_ERROR: usize = 64 << 10;
const SHOWN: usize = 500;
const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];
pub(super) struct Plugin {
    /// The absolute path, so that a later change of PATH has no effect.
    pub(super) program: PathBuf,
}

pub(super) struct Credential {
    pub(super) bearer: Option<Token>,
    pub(super) certificate: Option<ClientCertificate>,
}

/// Applies the rules of client-go's `validateAuthInfo`, and its rules about the versions of plugins.
/// client-go applies them even if the plugin does not run.
pub(super) fn check(config: &Exec, user: &str) -> Result<(), Error> {
    let refused = |problem: &str, step: &str| {
        let problem = format!("has, for user `{}`, an exec plugin {problem}", harmless(user));
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
            "use a version of the plugin that supports one of these two; kubectl supports no others",
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
        let command = config.command.as_str();
        if config.interactive_mode == "Always" {
            let problem = format!(
                "has the exec plugin `{}` with `interactiveMode: Always`, but jobpass runs plugins without a \
                 terminal",
                harmless(command)
            );
            return Err(Error::input(
                "kubeconfig",
                problem,
                "use a credential that needs no person. If the plugin also works without a terminal, set \
                 `interactiveMode: IfAvailable`",
            ));
        }
        let may_be_run =
            |path: &Path| lookup::is_path(command.as_ref()) || path.is_absolute() && is_executable(path);
        let found = lookup::files_of(command.as_ref(), environment)
            .into_iter()
            .find(|path| path.is_file() && may_be_run(path));
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
            let step = format!(
                "{said}\nrun `{name}` by hand with the `args` and `env` of the kubeconfig, as the same user \
                 with the same variables, but not in a CI job: it prints a credential"
            );
            let problem = format!("has the exec plugin `{name}`, which {why}");
            Error::input("kubeconfig", problem, step)
        };
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&config.arguments)
            // `environment` may differ from the variables of this process: the end of a job restores some of
            // them.
            .env_clear()
            .envs(environment.iter())
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", exec_info(config, connection, cluster))
            // A plugin that asks a person a question would otherwise wait until its time limit.
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // In a group of its own, the plugin and its children end together.
        Group::lead(&mut command);
        let mut child = command.spawn().map_err(|error| {
            failed(
                format!("cannot be started: {}", harmless(&error.to_string())),
                SILENT,
            )
        })?;
        // The plugin holds secrets of the job's environment and of the kubeconfig, so it must not outlive
        // jobpass.
        let running = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut output, mut said) = (Vec::new(), End::default());
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
                    Some(stderr) => said.read(stderr).await,
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
        let said = said.in_words(Secrets::of_run(config, cluster, environment, &output).masker());
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

/// Parses the `status` of an `ExecCredential`, in JSON or YAML as client-go does.
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
    // This drops the message of the error, because it may quote a secret.
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
    /// jobpass ignores the time. If client-go cannot parse it, jobpass must fail as well.
    #[serde(rename = "expirationTimestamp")]
    _expires: Option<jiff::Timestamp>,
}

fn credential(status: &Status) -> Result<Credential, Error> {
    let printed = |what: &str| {
        let problem = format!("has an exec plugin, which printed {what}");
        Error::input(
            "kubeconfig",
            problem,
            "check the plugin's version and configuration",
        )
    };
    let text = |secret: &Option<SecretString>| {
        secret
            .as_ref()
            .map(|secret| secret.expose_secret().to_owned())
            .filter(|text| !text.is_empty())
    };
    let bearer = match text(&status.token) {
        // A header cannot carry a token with line breaks.
        Some(token) if token.contains(['\r', '\n']) => return Err(printed("a token with line breaks")),
        Some(token) => {
            let unusable = |problem| printed(&format!("an unusable token: {problem}"));
            Some(Token::read(&token).map_err(unusable)?)
        }
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
        _ => {
            return Err(printed(
                "a client certificate without its key, or a key without its certificate",
            ));
        }
    };
    match bearer.is_some() || certificate.is_some() {
        true => Ok(Credential { bearer, certificate }),
        false => Err(printed(
            "an ExecCredential with neither a token nor a client certificate",
        )),
    }
}

const SILENT: &str = "it printed nothing to its standard error";

/// The end of a plugin's standard error.
#[derive(Default)]
struct End {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl End {
    async fn read(&mut self, mut from: impl AsyncRead + Unpin) -> std::io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            self.bytes.extend_from_slice(&chunk[..read]);
            let surplus = self.bytes.len().saturating_sub(LONGEST_ERROR);
            self.bytes.drain(..surplus);
            self.is_cut |= surplus > 0;
        }
    }

    /// The end of the standard error without secrets, as a message shows it. A plugin's last lines say why it
    /// failed.
    fn in_words(&self, masker: Option<Masker>) -> String {
        let Some(mut masker) = masker else {
            return "jobpass does not show its standard error: the plugin got or printed more text than \
                    jobpass can search for secrets"
                .into();
        };
        // If the text is cut, its first line lacks its beginning, so the masker would not find a secret in
        // that line.
        let line = |bytes: &[u8]| {
            bytes
                .iter()
                .position(|byte| b"\r\n".contains(byte))
                .unwrap_or(bytes.len())
        };
        let from = if self.is_cut { line(&self.bytes) } else { 0 };
        let mut masked = Vec::new();
        // A write to a vector does not fail.
        let _ = masker
            .push(&self.bytes[from..], &mut masked)
            .and_then(|()| masker.finish(&mut masked));
        match &*text::harmless_end(&String::from_utf8_lossy(&masked), SHOWN) {
            "" if self.is_cut => "jobpass does not show its standard error: the last line is too long".into(),
            "" => SILENT.into(),
            said => format!("its standard error is: {said}"),
        }
    }
}

/// The information about the cluster that client-go gives a plugin (`plugin/pkg/client/auth/exec/exec.go`).
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

    /// Runs a plugin that gets the secrets of these tests. The plugin prints `said` to its standard error,
    /// then runs `script`.
    async fn resolve_with(said: &[u8], script: &str) -> (Result<Minter, Error>, usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("runs");
        // `sh` reads this script. A program of its own could not start while the fork of another test still
        // has its file open for writing (ETXTBSY).
        std::fs::write(
            folder.path().join("plugin.sh"),
            format!("echo run >> runs\ncat said >&2\n{script}"),
        )
        .expect("written");
        std::fs::write(folder.path().join("said"), said).expect("written");
        let kubeconfig = format!(
            "current-context: c\ncontexts:\n- {{name: c, context: {{cluster: c, user: u}}}}\n\
             clusters:\n- {{name: c, cluster: {{server: 'https://k8s', proxy-url: 'http://me:{PROXY_PASSWORD}@p:3128'}}}}\n\
             users:\n- name: u\n  user:\n    exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, \
             args: [-c, 'cd {0} && . ./plugin.sh', {ARGUMENT}], interactiveMode: Never, provideClusterInfo: true, \
             env: [{{name: FROM_KUBECONFIG, value: 'yes'}}, {{name: NAMELESS, value: '{VARIABLE}'}}]}}\n",
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

    async fn resolve(script: &str) -> (Result<Minter, Error>, usize) {
        resolve_with(b"", script).await
    }

    const ARGUMENT: &str = "plugin-secret-of-an-argument";
    const ARGUMENT_VALUE: &str = "plugin?secret=of&a=flag";
    const VARIABLE: &str = "plugin-secret of a \"variable\"/+";
    const PROXY_PASSWORD: &str = "plugin-secret-of%2fthe%21proxy";
    const CONFIGURED: &str = "plugin-secret-of-the-cluster";

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
        r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"plugin-secret x"}}'"#,
        "printed an unusable token: it has spaces"
    )]
    #[case(
        "echo plugin-secret; echo NoCredentialProviders: plugin-secret, $A_PASSWORD >&2; kill -9 $$",
        "NoCredentialProviders: [MASKED], [MASKED]"
    )]
    #[case(
        "echo NoArgument: $0, $NAMELESS >&2; exit 1",
        "NoArgument: [MASKED], [MASKED]"
    )]
    #[case(
        "echo NoProxy: $KUBERNETES_EXEC_INFO >&2; exit 1",
        "\"proxy-url\":\"http://[MASKED]"
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

    /// Each case is a secret that a plugin gets. The plugin may print it in any form, anywhere in a line.
    #[rstest]
    #[case(ARGUMENT)]
    #[case(ARGUMENT_VALUE)]
    #[case(VARIABLE)]
    #[case(PROXY_PASSWORD)]
    #[case("plugin-secret-of/the!proxy")]
    #[case("me:plugin-secret-of/the!proxy")]
    #[case(CONFIGURED)]
    #[case("plugin-secret-of-the-job")]
    #[case("plugin-secret-in-a-url")]
    #[case("token: plugin-secret-of-a-file")]
    fn no_form_of_what_a_plugin_is_handed_is_shown(#[case] secret: &str) {
        let config = Exec {
            arguments: vec![ARGUMENT.into(), format!("--pass={ARGUMENT_VALUE}")],
            environment: vec![("NAMELESS".into(), VARIABLE.into())],
            ..Exec::default()
        };
        let mut cluster = Cluster::default();
        cluster.proxy_url = format!("http://me:{PROXY_PASSWORD}@p:3128");
        cluster.plugin_configuration = Some(json!({"of": [CONFIGURED]}));
        let environment = Environment::from([
            ("A_PASSWORD", "plugin-secret-of-the-job"),
            ("DATABASE", "postgres://me:plugin-secret-in-a-url@db/x"),
            (
                "JOBPASS_KUBECONFIG",
                "users:\n- user:\n    token: plugin-secret-of-a-file\n",
            ),
        ]);
        let masker = Secrets::of_run(&config, Some(&cluster), &environment, b"").masker();
        let forms = jobpass_mask::forms(secret);
        for form in forms.iter().map(jobpass_mask::Form::expose) {
            let said = End {
                bytes: format!("no access: {form}\n{form} {form}\nsee above").into(),
                is_cut: false,
            };
            let words = said.in_words(masker.clone());
            let is_shown = words.split_whitespace().any(|word| word == form.trim());
            assert!(!is_shown && !words.contains(form), "{form}: {words}");
            assert!(words.contains("no access: [MASKED]"), "{form}: {words}");
        }
    }

    #[tokio::test]
    async fn a_key_in_the_standard_output_is_not_shown_line_by_line() {
        let status = r#"{"clientKeyData": "-----BEGIN KEY-----\nMIIplugin-secret-1\nMIIplugin\/secret\u002b2\n-----END KEY-----\n"}"#;
        let scripts = [status, &status[..status.len() - 20]].map(|printed| {
            format!("cat <<'X'\n{{\"kind\": \"ExecCredential\", \"status\": {printed}}}\nX\nexit 1\n")
        });
        let said = b"bad key:\n-----BEGIN KEY-----\nMIIplugin-secret-1\nMIIplugin\\/secret\\u002b2\n";
        for script in &scripts {
            let error = resolve_with(said, script)
                .await
                .0
                .err()
                .expect("refused")
                .to_string();
            assert!(
                error.contains("bad key:") && !error.contains("MIIplugin"),
                "{error}"
            );
        }
        let said = b"bad key: MIIplugin/secret+2";
        let error = resolve_with(said, &scripts[0])
            .await
            .0
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains("bad key: [MASKED]"), "{error}");
    }

    /// The error shows only the end of the plugin's standard error. A credential that begins before that end
    /// must stay secret.
    #[tokio::test]
    async fn the_tail_of_a_credential_is_not_shown() {
        let jwt = format!("eyJhbGciOi.{}.c2lnbmF0dXJl", "tail".repeat(300));
        let key = format!(
            "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----",
            "tailtailtail\n".repeat(100)
        );
        let longest = "tail".repeat(20 << 10);
        for said in [&jwt, &key, &longest] {
            for after in ["", "\nwhat went wrong"] {
                let error = resolve_with(format!("said {said}{after}").as_bytes(), "exit 1")
                    .await
                    .0;
                let error = error.map(|_| ()).expect_err("refused").to_string();
                assert!(!error.contains("tail") && error.contains(after.trim()), "{error}");
            }
        }
    }

    /// A masker for the 20,000 secrets that the plugin prints would need too much time and memory.
    #[tokio::test]
    async fn what_cannot_be_searched_is_not_shown() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo plugin-secret-$i; i=$((i + 1)); done; exit 1";
        let error = resolve_with(b"plugin-secret-9", script).await.0;
        let error = error.map(|_| ()).expect_err("refused").to_string();
        assert!(
            error.contains("does not show its standard error: ") && !error.contains("plugin-secret"),
            "{error}"
        );
    }

    /// After a signal or after 30 s, no process with the job's environment is left.
    #[tokio::test]
    async fn what_a_plugin_has_started_ends_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [started, alive] = ["started", "alive"].map(|name| {
            let pipe = folder.path().join(name);
            mkfifoat(CWD, &pipe, Mode::RWXU).expect("a pipe");
            pipe
        });
        // The child holds the other end of the pipe while it lives.
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
