//! The dev cluster against recordings of real API servers: each exchange, in order, must give the same answer.
//!
//! All other tests believe what the dev cluster says; this is why they may.

mod control_plane;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jobpass_devkit::{DevCluster, Version};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

#[test]
fn kubernetes_1_36() {
    replay(Version::V1_36, include_str!("kubernetes-1.36.json"));
}

#[test]
fn kubernetes_1_27() {
    replay(Version::V1_27, include_str!("kubernetes-1.27.json"));
}

fn replay(version: Version, recording: &str) {
    let recording: Value = serde_json::from_str(recording).expect("the recording is JSON");
    // It was recorded without a controller-manager.
    let cluster = DevCluster::builder()
        .version(version)
        .controllers(false)
        .start()
        .expect("the dev cluster starts");
    cluster.apply("{kind: Namespace, apiVersion: v1, metadata: {name: contract}}");
    let mut player = Player::new(&cluster);
    let mut failures = Vec::new();
    let exchanges = recording["exchanges"]
        .as_array()
        .expect("the recording has exchanges");
    for exchange in exchanges {
        match text(&exchange["name"]) {
            // What follows is to find a success in the cache of authentications, however slow this machine is.
            "version-live" => cluster.advance(Duration::from_secs(11)),
            // The recorder waited here for the first 401: after nine seconds, when the cache had run out.
            "version-revoked" => cluster.advance(Duration::from_secs(10)),
            // Not in the exchanges, but in `revocation_seconds`: the anchor of a token that was never used was deleted.
            "secret-delete-collection" => failures.extend(player.revoke_unused()),
            _ => {}
        }
        failures.extend(player.play(exchange));
    }
    judge(exchanges, &failures);
}

fn judge(exchanges: &[Value], failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} of {} exchanges differ:\n{}",
        failures.len(),
        exchanges.len(),
        failures.join("\n")
    );
}

struct Player<'a> {
    cluster: &'a DevCluster,
    anonymous: Arc<ClientConfig>,
    admin: Arc<ClientConfig>,
    /// By the name of the exchange.
    tokens: HashMap<String, String>,
    /// By the path of the object.
    uids: HashMap<String, String>,
    next_page: String,
}

struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

impl<'a> Player<'a> {
    fn new(cluster: &'a DevCluster) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(cluster.ca_pem().as_bytes()).expect("the CA is PEM");
        roots.add(ca).expect("the CA is a certificate");
        let config = || {
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring speaks TLS")
                .with_root_certificates(roots.clone())
        };
        let kubeconfig: Value =
            serde_yaml::from_str(&cluster.admin_kubeconfig()).expect("the kubeconfig is YAML");
        let pem = |field: &str| {
            STANDARD
                .decode(text(&kubeconfig["users"][0]["user"][field]))
                .expect("the kubeconfig embeds base64")
        };
        let certificate = CertificateDer::from_pem_slice(&pem("client-certificate-data")).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(&pem("client-key-data")).expect("PEM");
        Player {
            cluster,
            anonymous: Arc::new(config().with_no_client_auth()),
            admin: Arc::new(
                config()
                    .with_client_auth_cert(vec![certificate], key)
                    .expect("the key fits"),
            ),
            tokens: HashMap::new(),
            uids: HashMap::new(),
            next_page: String::new(),
        }
    }

    /// Plays one exchange; what differs is returned as one text.
    fn play(&mut self, exchange: &Value) -> Option<String> {
        let name = text(&exchange["name"]);
        let response = self.send(name, exchange);

        let mut differences = Vec::new();
        let expected = &exchange["response"];
        compare(
            "status",
            &expected["status"],
            &json!(response.status),
            &mut differences,
        );
        for (header, value) in expected["headers"].as_object().into_iter().flatten() {
            let found = response
                .headers
                .iter()
                .find(|(name, _)| name == header)
                .map(|(_, value)| value);
            compare(
                &format!("header {header}"),
                value,
                &json!(found),
                &mut differences,
            );
        }
        let mut expected_body = expected["body"].clone();
        if let Some(uri) = expected_body.get_mut("jwks_uri") {
            // The recorded server was elsewhere.
            *uri = format!("{}/openid/v1/jwks", self.cluster.url()).into();
        }
        compare(
            "body",
            &ordered(expected_body),
            &ordered(response.body.clone()),
            &mut differences,
        );
        if let Some(expected) = exchange.get("jwt") {
            let token = text(&response.body["status"]["token"]);
            compare("jwt", expected, &decoded(token), &mut differences);
        }

        self.remember(name, exchange, &response.body);
        (!differences.is_empty()).then(|| {
            let request = &exchange["request"];
            format!(
                "{name}: {} {}\n    {}",
                text(&request["method"]),
                text(&request["path"]),
                differences.join("\n    ")
            )
        })
    }

    fn remember(&mut self, name: &str, exchange: &Value, body: &Value) {
        if let Some(token) = body["status"]["token"].as_str() {
            self.tokens.insert(name.to_owned(), token.to_owned());
        }
        if let (201, Some(uid)) = (
            exchange["response"]["status"].as_u64().unwrap_or(0),
            body["metadata"]["uid"].as_str(),
        ) {
            let path = format!(
                "{}/{}",
                text(&exchange["request"]["path"]),
                text(&body["metadata"]["name"])
            );
            self.uids.insert(path, uid.to_owned());
        }
        if let Some(next) = body["metadata"]["continue"].as_str() {
            self.next_page = next.to_owned();
        }
    }

    fn send(&self, name: &str, exchange: &Value) -> Response {
        let request = &exchange["request"];
        let mut path = text(&request["path"]).to_owned();
        if name == "secret-list-next-page" {
            let recorded = path.find("continue=").expect("the recorded page has a token");
            path.replace_range(recorded.., &format!("continue={}", self.next_page));
        }
        let mut body = request["body"].clone();
        if let Some(uid) = body
            .pointer_mut("/spec/boundObjectRef/uid")
            .filter(|uid| **uid == "<uid>")
        {
            // Whatever its kind was said to be, it was the uid of this Secret.
            let bound = text(&request["body"]["spec"]["boundObjectRef"]["name"]);
            *uid = self.uid(&path, bound);
        }
        for owner in body
            .pointer_mut("/metadata/ownerReferences")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            owner["uid"] = self.uid(&path, text(&owner["name"]));
        }
        if let Some(uid) = body
            .pointer_mut("/preconditions/uid")
            .filter(|uid| **uid == "<uid>")
        {
            *uid = self.uids[&path].as_str().into();
        }
        if let Some(token) = body.pointer_mut("/spec/token").filter(|token| **token == "<jwt>") {
            *token = self.token(name).into();
        }
        let body = match &body {
            Value::Null => String::new(),
            Value::String(raw) => raw.clone(),
            body => body.to_string(),
        };

        let (tls, token) = match text(&exchange["as"]) {
            "admin" => (&self.admin, None),
            "token" => (&self.anonymous, Some(self.token(name))),
            "oidc" => (&self.anonymous, Some(control_plane::id_token(name))),
            _ => (&self.anonymous, None),
        };
        self.exchange(
            tls,
            token.as_deref(),
            &format!("{} {path}", text(&request["method"])),
            text(&request["accept"]),
            &body,
        )
    }

    /// Of a Secret in the namespace that the path is in.
    fn uid(&self, path: &str, secret: &str) -> Value {
        let namespace = path.split('/').skip_while(|part| *part != "namespaces").nth(1);
        let namespace = namespace.expect("the path is in a namespace");
        self.uids[&format!("/api/v1/namespaces/{namespace}/secrets/{secret}")]
            .as_str()
            .into()
    }

    /// A token that was never used is in no cache: it ends with its anchor.
    fn revoke_unused(&self) -> Option<String> {
        let json = "application/json";
        let anchor = "DELETE /api/v1/namespaces/contract/secrets/bound2";
        let deleted = self.exchange(&self.admin, None, anchor, json, "").status;
        let token = &self.tokens["token-bound-second"];
        let status = self
            .exchange(&self.anonymous, Some(token), "GET /version", json, "")
            .status;
        ((deleted, status) != (200, 401))
            .then(|| format!("an unused token gets {status} after its anchor's {deleted}"))
    }

    fn token(&self, name: &str) -> String {
        let bound = &self.tokens["token-bound"];
        match name {
            "whoami-garbage" => "garbage".to_owned(),
            "whoami-tampered" => {
                let (signed, signature) = bound.rsplit_once('.').expect("a JWT has three parts");
                let reversed: String = signature.chars().rev().collect();
                format!("{signed}.{reversed}")
            }
            name if name.contains("foreign") => self.tokens["token-foreign-audience"].clone(),
            _ => bound.clone(),
        }
    }

    /// HTTP as plain as it gets, so that no client library hides a difference.
    fn exchange(
        &self,
        tls: &Arc<ClientConfig>,
        token: Option<&str>,
        method_and_path: &str,
        accept: &str,
        body: &str,
    ) -> Response {
        let authorization = token
            .map(|token| format!("authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "{method_and_path} HTTP/1.1\r\nhost: devkit\r\nconnection: close\r\naccept: {accept}\r\n{authorization}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
        );
        let url = self.cluster.url();
        let address = url.strip_prefix("https://").expect("the URL is https");
        let socket = TcpStream::connect(address).expect("the dev cluster listens");
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("sockets have timeouts");
        let server = ServerName::try_from("127.0.0.1").expect("an address");
        let connection =
            ClientConnection::new(Arc::clone(tls), server).expect("the TLS configuration is complete");
        let mut stream = StreamOwned::new(connection, socket);
        stream
            .write_all(request.as_bytes())
            .expect("the dev cluster reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the dev cluster answers");

        let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP has a head");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok());
        Response {
            status: status.expect("HTTP has a status"),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: serde_json::from_str(body).unwrap_or_else(|_| body.into()),
        }
    }
}

/// The API server lists bindings, and so rules, in the order of a Go map: any.
fn ordered(mut body: Value) -> Value {
    for field in ["resourceRules", "nonResourceRules"] {
        if let Some(rules) = body
            .pointer_mut(&format!("/status/{field}"))
            .and_then(Value::as_array_mut)
        {
            rules.sort_by_key(Value::to_string);
        }
    }
    body
}

/// A JWT in the form of the recording.
fn decoded(token: &str) -> Value {
    let parts: Vec<Value> = token
        .split('.')
        .take(2)
        .map(|part| {
            URL_SAFE_NO_PAD
                .decode(part)
                .ok()
                .and_then(|json| serde_json::from_slice(&json).ok())
        })
        .map(|part| part.expect("a JWT is JSON in base64"))
        .collect();
    let time = |name: &str| parts[1][name].as_i64().unwrap_or_default();
    json!({
        "header": parts[0],
        "claims": parts[1],
        "lifetime_seconds": time("exp") - time("iat"),
        "nbf_minus_iat": time("nbf") - time("iat"),
    })
}

fn compare(path: &str, expected: &Value, actual: &Value, differences: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, expected) in expected {
                match actual.get(key) {
                    Some(actual) => compare(&format!("{path}.{key}"), expected, actual, differences),
                    None => differences.push(format!("{path}.{key}: {expected} is missing")),
                }
            }
            for (key, actual) in actual.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                differences.push(format!("{path}.{key}: {actual} is too much"));
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                compare(&format!("{path}[{index}]"), expected, actual, differences);
            }
        }
        (Value::String(pattern), Value::String(text)) if fits(pattern, text) => {}
        (Value::String(time), Value::Number(_)) if matches!(time.as_str(), "<exp>" | "<iat>" | "<nbf>") => {}
        _ if expected == actual => {}
        _ => differences.push(format!(
            "{path}:\n        expected {expected}\n        got      {actual}"
        )),
    }
}

/// Whether a text is as recorded, with placeholders such as `<uid>` standing for what they say.
fn fits(pattern: &str, text: &str) -> bool {
    let placeholder = pattern
        .find('<')
        .and_then(|start| Some((start, start + pattern[start..].find('>')? + 1)));
    let Some((start, end)) = placeholder else {
        return pattern == text;
    };
    let (before, rest) = (&pattern[..start], &pattern[end..]);
    let Some(text) = text.strip_prefix(before) else {
        return false;
    };
    let is_value: fn(&str) -> bool = match &pattern[start + 1..end - 1] {
        "uid" => |text| text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'),
        "time" => |text| text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T',
        "rand" => |text| {
            text.len() == 5
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        },
        "rv" => |text| text.bytes().all(|byte| byte.is_ascii_digit()),
        "jwt" => |text| text.split('.').count() == 3,
        _ => |_| true,
    };
    // The shortest value first; no placeholder can be empty.
    (1..=text.len())
        .filter(|length| text.is_char_boundary(*length))
        .any(|length| is_value(&text[..length]) && fits(rest, &text[length..]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
