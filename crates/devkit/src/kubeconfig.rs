//! The kubeconfigs for clients of a [`Front`](crate::Front).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pki::ClientCertificate;

pub(crate) fn with_token(server: &str, ca_pem: &str, token: &str, namespace: &str) -> String {
    kubeconfig(server, ca_pem, "job", json!({"token": token}), namespace)
}

pub(crate) fn with_certificate(server: &str, ca_pem: &str, client: &ClientCertificate) -> String {
    let user = json!({
        "client-certificate-data": STANDARD.encode(&client.certificate),
        "client-key-data": STANDARD.encode(&client.key),
    });
    kubeconfig(server, ca_pem, "admin", user, "default")
}

fn kubeconfig(server: &str, ca_pem: &str, name: &str, user: Value, namespace: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "devkit",
            "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca_pem)},
        }],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "devkit", "user": name, "namespace": namespace}}],
        "current-context": name,
    });
    serde_yaml::to_string(&config).expect("JSON is YAML")
}
