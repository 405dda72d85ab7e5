//! A kubeconfig's exec plugin (client-go credential plugin), run once and by us.
//!
//! kube runs it three times for each client, and a failing one's standard output, which may be a credential, ends up
//! in its error.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::{ExecConfig, ExecInteractiveMode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::{
    cluster::{ClientCertificate, Connection},
    error::Error,
    process::{environment::Environment, files},
    text::harmless,
    token::Token,
};

/// Plugins talk to a cloud; those that take longer than this are broken.
const LONGEST_RUN: Duration = Duration::from_secs(30);
/// Far more than a credential needs.
const LONGEST_OUTPUT: u64 = 1 << 20;

pub(super) struct Plugin {
    /// Absolute, so that a later change of PATH changes nothing.
    pub(super) program: PathBuf,
}

pub(super) struct Credential {
    pub(super) bearer: Option<Token>,
    pub(super) certificate: Option<ClientCertificate>,
}

/// `client.authentication.k8s.io/v1` and `v1beta1`.
#[derive(Deserialize)]
struct ExecCredential {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    client_key_data: Option<SecretString>,
}

impl Plugin {
    pub(super) fn find(
        config: &ExecConfig,
        pinned: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        if let Some(program) = pinned {
            return Ok(Self {
                program: program.to_owned(),
            });
        }
        let command = config.command.as_deref().unwrap_or_default();
        if matches!(config.interactive_mode, Some(ExecInteractiveMode::Always)) {
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
            folders.map(|folder| folder.join(command)).collect()
        };
        let found = candidates
            .into_iter()
            .find(|path| !command.is_empty() && path.is_file());
        let program = found.ok_or_else(|| {
            let hint = config.install_hint.as_deref().map_or_else(
                || "install it, or use a kubeconfig with a token or a client certificate".into(),
                harmless,
            );
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
        config: &ExecConfig,
        connection: &Connection,
        environment: &Environment,
    ) -> Result<Credential, Error> {
        let name = harmless(&self.program.to_string_lossy());
        let failed = |why: String| {
            let step = format!(
                "run `{name}` by hand in the same environment (what it printed is not shown, it may be a secret)"
            );
            Error::input(
                "kubeconfig",
                format!("has the exec plugin `{name}`, which {why}"),
                step,
            )
        };
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(config.args.iter().flatten())
            .env_clear()
            .envs(environment.iter());
        for variable in config.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        command.env("KUBERNETES_EXEC_INFO", exec_info(config, connection));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| failed(format!("cannot be started: {}", harmless(&error.to_string()))))?;
        let mut output = Vec::new();
        let run = async {
            if let Some(stdout) = child.stdout.take() {
                stdout.take(LONGEST_OUTPUT).read_to_end(&mut output).await?;
            }
            child.wait().await
        };
        let status = match tokio::time::timeout(LONGEST_RUN, run).await {
            Ok(status) => {
                status.map_err(|error| failed(format!("failed: {}", harmless(&error.to_string()))))?
            }
            Err(_) => {
                return Err(failed(format!(
                    "did not finish within {} s",
                    LONGEST_RUN.as_secs()
                )));
            }
        };
        if !status.success() {
            return Err(failed(format!("failed ({status})")));
        }
        let credential = serde_json::from_slice::<ExecCredential>(&output)
            .ok()
            .and_then(|credential| credential.status);
        credential
            .and_then(|status| status.credential().transpose())
            .unwrap_or_else(|| {
                Err(failed(
                    "printed no ExecCredential with a token or a client certificate".into(),
                ))
            })
    }
}

impl Status {
    fn credential(self) -> Result<Option<Credential>, Error> {
        use secrecy::ExposeSecret as _;
        let bearer = self
            .token
            .map(|token| Token::parse(token.expose_secret(), "kubeconfig"))
            .transpose()?;
        let certificate = match (self.client_certificate_data, self.client_key_data) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            _ => None,
        };
        Ok((bearer.is_some() || certificate.is_some()).then_some(Credential { bearer, certificate }))
    }
}

/// What client-go tells a plugin (`plugin/pkg/client/auth/exec/exec.go`).
fn exec_info(config: &ExecConfig, connection: &Connection) -> String {
    let mut spec = json!({ "interactive": false });
    if config.provide_cluster_info {
        spec["cluster"] = json!({ "server": connection.server });
        if let Some(pem) = &connection.certificate_authority {
            spec["cluster"]["certificate-authority-data"] = STANDARD.encode(pem).into();
        }
        if let Some(name) = &connection.tls_server_name {
            spec["cluster"]["tls-server-name"] = name.as_str().into();
        }
    }
    let version = config
        .api_version
        .as_deref()
        .unwrap_or("client.authentication.k8s.io/v1");
    json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec }).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{inputs::options::Inputs, minter::Minter};

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
        let environment = Environment::from([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("FROM_JOB", "yes")]);
        let minter = Minter::resolve(&Inputs::from([("kubeconfig", &*kubeconfig)]), &environment).await;
        (
            minter,
            std::fs::read_to_string(runs)
                .map(|runs| runs.lines().count())
                .unwrap_or(0),
        )
    }

    #[tokio::test]
    async fn it_runs_once_with_both_environments() {
        let script =
            r#"test "$FROM_KUBECONFIG$FROM_JOB" = yesyes && echo '{"status": {"token": "plugin-token"}}'"#;
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
    #[case("echo plugin-secret >&2; kill -9 $$", "failed (signal: 9")]
    #[tokio::test]
    async fn a_failure_shows_nothing_that_it_printed(#[case] script: &str, #[case] why: &str) {
        let error = resolve(script)
            .await
            .0
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(why) && !error.contains("plugin-secret"), "{error}");
    }
}
