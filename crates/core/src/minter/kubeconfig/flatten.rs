//! Reduces a kubeconfig to one context, as a kubeconfig of its own.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Cluster, Context, Exec, Found, User, config::PLUGIN_CONFIGURATION};
use crate::process::files;

impl Found {
    /// The context with its cluster and user, as JSON on one line. `None` if one of the three is missing.
    pub(in super::super) fn only(&self, context: &str) -> Option<String> {
        let (name, context) = self.context(Some(context)).ok()?;
        let Context {
            cluster,
            user,
            namespace,
        } = context;
        let config = json!({
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": cluster, "user": user, "namespace": namespace}}],
            "clusters": [{"name": cluster, "cluster": of_cluster(self.cluster(context)?)}],
            "users": [{"name": user, "user": of_user(self.user(context)?)}],
        });
        Some(config.to_string())
    }

    /// The kubeconfig, with the content of each file in place of its path. The path of a file that jobpass
    /// cannot read stays.
    pub(in super::super) fn with_files(mut self) -> Self {
        for cluster in self.config.clusters.values_mut() {
            if let Some(content) = take(&mut cluster.certificate_authority) {
                cluster.certificate_authority_data = content;
            }
        }
        for user in self.config.users.values_mut() {
            if let Some(content) = take(&mut user.client_certificate) {
                user.client_certificate_data = content;
            }
            if let Some(content) = take(&mut user.client_key) {
                user.client_key_base64 = STANDARD.encode(&content).into();
                user.client_key_data = lossy(&content).into();
            }
            // An empty file does not win over the `token` field.
            let token = take(&mut user.token_file).map(|content| lossy(&content).trim().to_owned());
            if let Some(token) = token.filter(|token| !token.is_empty()) {
                user.token = token.into();
            }
        }
        self
    }
}

/// Reads the file at `path`, and empties `path` if jobpass could read the file.
fn take(path: &mut String) -> Option<Vec<u8>> {
    let content = match &**path {
        "" => None,
        path => files::read_bytes(files::LONGEST, Path::new(path)).ok(),
    };
    content.inspect(|_| path.clear())
}

fn lossy(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}

fn of_cluster(cluster: &Cluster) -> Value {
    let extension = cluster.plugin_configuration.iter();
    let extensions = extension.map(|value| json!({"name": PLUGIN_CONFIGURATION, "extension": value}));
    json!({
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure,
        "certificate-authority": cluster.certificate_authority,
        "certificate-authority-data": STANDARD.encode(&cluster.certificate_authority_data),
        "proxy-url": cluster.proxy_url,
        "extensions": extensions.collect::<Vec<_>>(),
    })
}

fn of_user(user: &User) -> Value {
    json!({
        "client-certificate": user.client_certificate,
        "client-certificate-data": STANDARD.encode(&user.client_certificate_data),
        "client-key": user.client_key,
        "client-key-data": user.client_key_base64.expose_secret(),
        "token": user.token.expose_secret(),
        "tokenFile": user.token_file,
        "as": user.impersonate,
        "as-uid": user.impersonate_uid,
        "as-groups": user.impersonate_groups,
        "as-user-extra": user.impersonate_extra,
        "exec": user.exec.as_ref().map(of_exec),
    })
}

fn of_exec(exec: &Exec) -> Value {
    let variables = exec.environment.iter();
    let variables = variables.map(|(name, value)| json!({"name": name, "value": value}));
    json!({
        "command": exec.command,
        "args": exec.arguments,
        "env": variables.collect::<Vec<_>>(),
        "apiVersion": exec.api_version,
        "installHint": exec.install_hint,
        "provideClusterInfo": exec.provide_cluster_info,
        "interactiveMode": exec.interactive_mode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kubeconfig with the fields that jobpass reads, except `insecure-skip-tls-verify` and paths of files.
    const ALL: &str = r#"
current-context: b
clusters:
- {name: a, cluster: {server: "https://a:6443"}}
- name: c
  cluster:
    server: https://c:6443
    tls-server-name: inside
    proxy-url: http://me:proxy-password@p:3128
    certificate-authority-data: Y2E=
    extensions: [{name: client.authentication.k8s.io/exec, extension: {region: here}}]
users:
- {name: a, user: {token: token-of-a}}
- name: u
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
    token: token-of-u
    as: somebody
    as-uid: id
    as-groups: [one, two]
    as-user-extra: {scopes: [three]}
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: plugin
      args: [get, token]
      env: [{name: KEY, value: "a \"value\" /of\n it"}]
      provideClusterInfo: true
      installHint: get it
      interactiveMode: Never
contexts:
- {name: a, context: {cluster: a, user: a}}
- {name: b, context: {cluster: c, user: u, namespace: ci}}
"#;

    fn found(yaml: &str) -> Found {
        super::super::path_or_text(yaml).expect("a kubeconfig")
    }

    #[test]
    fn nothing_of_the_context_is_lost_and_nothing_of_others_is_there() {
        let only = found(ALL).only("b").expect("a kubeconfig");
        assert!(
            !only.contains('\n') && !only.contains("token-of-a") && !only.contains("https://a"),
            "{only}"
        );
        let given: Value = super::super::yaml::to_json(ALL.as_bytes()).expect("YAML");
        let written: Value = serde_json::from_str(&only).expect("JSON");
        for (list, field) in [
            ("clusters", "cluster"),
            ("users", "user"),
            ("contexts", "context"),
        ] {
            let (given, written) = (&given[list][1], &written[list][0]);
            assert_eq!(given["name"], written["name"]);
            for (name, value) in given[field].as_object().expect("fields") {
                assert_eq!(written[field][name], *value, "{list}: {name}");
            }
        }
        // jobpass reads the written kubeconfig as the same one.
        assert_eq!(found(&only).only("b").as_ref(), Some(&only));
    }

    #[test]
    fn files_are_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in [
            ("ca", "ca"),
            ("cert", "cert"),
            ("key", "key"),
            ("token", " token-of-u\n"),
            ("empty", "\n"),
        ] {
            std::fs::write(folder.path().join(name), content).expect("written");
        }
        let yaml = ALL
            .replace("certificate-authority-data: Y2E=", "certificate-authority: ca")
            .replace("client-certificate-data: Y2VydA==", "client-certificate: cert")
            .replace("client-key-data: a2V5", "client-key: key");
        let path = folder.path().join("kubeconfig");
        let expected = found(ALL).only("b");
        for token in [
            "tokenFile: token",
            "tokenFile: token, token: other",
            "tokenFile: empty, token: token-of-u",
        ] {
            let token = token.replace(", ", "\n    ");
            std::fs::write(&path, yaml.replace("token: token-of-u", &token)).expect("written");
            let found = super::super::read(std::slice::from_ref(&path)).expect("a kubeconfig");
            assert_eq!(found.with_files().only("b"), expected, "{token}");
        }
    }
}
