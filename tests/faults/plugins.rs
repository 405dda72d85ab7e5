//! Credential plugins. Scripts print the recorded output of `aws-iam-authenticator` 0.6.13 and `kubelogin`
//! 0.2.13, because building these programs takes minutes.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rstest::rstest;
use tempfile::TempDir;

use crate::{cluster::Cluster, github::step::Step, leaks::assert_absent, support};

/// A kubeconfig whose user has the plugin `script`. Also returns the folder of the plugin.
fn kubeconfig(cluster: &Cluster, script: &str, version: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("plugin");
    fs::write(&plugin, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("executable");
    let token = support::minter_token(cluster);
    let with_token = cluster.kubeconfig(&token, cluster.namespace());
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/{version}, command: {}, args: [token, -i, my-cluster], interactiveMode: Never}}",
        plugin.display()
    );
    let with_plugin = with_token.replace(&format!("token: {token}"), &exec);
    assert_ne!(with_plugin, with_token, "{with_token}");
    (folder, with_plugin)
}

#[rstest]
#[case::aws_without_credentials(
    r"printf 'could not get token: NoCredentialProviders: no valid providers in chain. Deprecated.\n\tFor verbose messaging see aws.Config.CredentialsChainVerboseErrors\n' >&2",
    "could not get token: NoCredentialProviders: no valid providers in chain. Deprecated."
)]
#[case::azure_without_credentials(
    "echo 'Error: failed to create azidentity credential: client ID cannot be empty' >&2",
    "Error: failed to create azidentity credential: client ID cannot be empty"
)]
#[case::azure_out_of_reach(
    r#"printf 'Error: failed to get token: ClientSecretCredential: unable to resolve an endpoint: server response error:\n Get "https://login.microsoftonline.com/t/v2.0/.well-known/openid-configuration?": dial tcp: lookup login.microsoftonline.com: no such host\n' >&2"#,
    "dial tcp: lookup login.microsoftonline.com: no such host"
)]
fn the_words_of_a_plugin_that_fails_are_shown(#[case] script: &str, #[case] words: &str) {
    let cluster = Cluster::start();
    let script = format!("echo 'secret-of-the-plugin'; {script}; exit 1");
    let (folder, kubeconfig) = kubeconfig(&cluster, &script, "v1beta1");
    let main = Step::scanner(&kubeconfig, &[]).main();
    assert_eq!(main.code(), 2, "{}", main.log);
    let plugin = folder.path().join("plugin");
    for text in [words, &plugin.to_string_lossy()] {
        assert!(main.log.contains(text), "no `{text}` in:\n{}", main.log);
    }
    assert_absent("secret-of-the-plugin", "the log", &main.log);
    assert!(cluster.anchors().is_empty() && cluster.issued().is_empty());
}

/// `aws-iam-authenticator` answers in the requested version, with additional fields.
#[rstest]
fn a_plugin_that_answers_mints_and_revokes(#[values("v1", "v1beta1")] version: &str) {
    let cluster = Cluster::start();
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(14);
    let script = format!(
        r#"version=${{KUBERNETES_EXEC_INFO#*apiVersion\":\"}}
printf '{{"kind":"ExecCredential","apiVersion":"%s","spec":{{"interactive":false}},"status":{{"expirationTimestamp":"{}","token":"%s"}}}}\n' "${{version%%\"*}}" "$PLUGIN_TOKEN""#,
        expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    );
    let (_folder, kubeconfig) = kubeconfig(&cluster, &script, version);
    let mut step = Step::scanner(&kubeconfig, &[]);
    step.env("PLUGIN_TOKEN", &support::minter_token(&cluster));
    step.main().succeeded();
    assert!(cluster.accepts(&step.token()));
    step.post().succeeded();
    assert!(cluster.anchors().is_empty());
}
