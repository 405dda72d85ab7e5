//! Connections to Kubernetes itself: the API server sees kubectl and jobpass as the same user, or refuses
//! both.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use jobpass_core::{
    cluster::{Budget, Cluster},
    inputs::options::{Inputs, Opt},
    maintenance::whoami::whoami,
    minter::Minter,
    process::environment::Environment,
};
use jobpass_tests::launch::{Launched, NEWEST, launch, tool};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{
    certificates::encoded,
    kubeconfigs::{Writer, style},
    property::holds,
    servers::{Kind, Servers},
};

#[derive(Debug, Clone)]
struct Case {
    server: &'static str,
    server_name: &'static str,
    authority: &'static str,
    user: &'static str,
    impersonated: &'static str,
    proxy: Option<(Kind, &'static str)>,
    style: Vec<u8>,
}

fn case() -> impl Strategy<Value = Case> {
    let mostly = |usual: &'static str, others: &'static [&'static str]| prop_oneof![2 => Just(usual), 1 => select(others)];
    let proxy = (
        select(vec![Kind::Http, Kind::Socks]),
        select(vec!["HTTPS_PROXY", "proxy-url"]),
    );
    (
        mostly(
            "https://HOST",
            &[
                "HTTPS://HOST",
                "https://HOST/",
                "https://HOST//",
                "https://HOST/prefix",
                "https://localhost:PORT",
                "https://[::1]:PORT",
            ],
        ),
        mostly(
            "",
            &["kubernetes", "kubernetes.default.svc", "KUBERNETES", "other"],
        ),
        mostly(
            "data",
            &["file", "windows", "text", "other", "other and it", "none"],
        ),
        select(vec![
            "token",
            "token",
            "file",
            "certificate",
            "certificate files",
            "both",
            "exec",
            "exec certificate",
            "wrong",
            "none",
        ]),
        mostly("", &["them"]),
        prop::option::weighted(0.4, proxy),
        style(),
    )
        .prop_map(
            |(server, server_name, authority, user, impersonated, proxy, style)| Case {
                server,
                server_name,
                authority,
                user,
                impersonated,
                proxy,
                style,
            },
        )
}

/// The control plane, and the parts of kubeconfigs for it.
struct Lab {
    _control_plane: Launched,
    folder: TempDir,
    /// The host and port, such as `127.0.0.1:PORT`.
    host: String,
    authority: String,
    other: (String, String),
    certificate: String,
    key: String,
    token: String,
    runtime: Runtime,
    /// The users as whom both programs have connected.
    users: RefCell<BTreeSet<String>>,
}

impl Lab {
    fn new() -> Self {
        let program = env::var("JOBPASS_TEST_CONTROL_PLANE");
        let program = program.as_deref().unwrap_or(NEWEST);
        let control_plane = launch(program, Path::new(env!("CARGO_TARGET_TMPDIR")), |_, _| {});
        let folder = TempDir::new().expect("a folder");
        let admin = &control_plane.kubeconfigs[0];
        let read: Value = serde_json::from_str(
            &kubectl(
                admin,
                &["config", "view", "--raw", "--output", "json"],
                &BTreeMap::new(),
            )
            .expect("read"),
        )
        .expect("JSON");
        let part = |list: &str, entry: &str, key: &str| {
            read[list][0][entry][key].as_str().expect("a text").to_owned()
        };
        let token = kubectl(admin, &["create", "token", "default"], &BTreeMap::new());
        let other = rcgen::generate_simple_self_signed(["localhost".into()]).expect("a certificate");
        let lab = Self {
            host: part("clusters", "cluster", "server").replace("https://", ""),
            authority: decoded(&part("clusters", "cluster", "certificate-authority-data")),
            certificate: decoded(&part("users", "user", "client-certificate-data")),
            key: decoded(&part("users", "user", "client-key-data")),
            token: token.expect("a token").trim().to_owned(),
            other: (other.cert.pem(), other.signing_key.serialize_pem()),
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            users: RefCell::default(),
            _control_plane: control_plane,
            folder,
        };
        let write = |name: &str, text: &str| fs::write(lab.folder.path().join(name), text).expect("written");
        write("token", &format!("{}\n", lab.token));
        write("ca.pem", &lab.authority);
        write("client.pem", &lab.certificate);
        write("client.key", &lab.key);
        let credential = |status: Value| {
            json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}).to_string()
        };
        write("token.json", &credential(json!({"token": lab.token})));
        write(
            "certificate.json",
            &credential(json!({"clientCertificateData": lab.certificate, "clientKeyData": lab.key})),
        );
        lab
    }

    fn kubeconfig(&self, case: &Case, proxy: Option<&str>) -> Vec<u8> {
        let port = self.host.rsplit(':').next().unwrap_or_default();
        let mut cluster = json!({
            "server": case.server.replace("HOST", &self.host).replace("PORT", port), "tls-server-name": case.server_name,
        });
        let authorities = match case.authority {
            "windows" => self.authority.replace('\n', "\r\n"),
            "text" => format!("# the cluster's\n{}\n", self.authority),
            "other" => self.other.0.clone(),
            "other and it" => format!("{}{}", self.other.0, self.authority),
            _ => self.authority.clone(),
        };
        match case.authority {
            "none" => {}
            "file" => cluster["certificate-authority"] = "ca.pem".into(),
            _ => cluster["certificate-authority-data"] = encoded(&authorities).into(),
        }
        if let Some(url) = proxy {
            cluster["proxy-url"] = url.into();
        }
        let exec = |file: &str| {
            json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [self.folder.path().join(file)],
                "interactiveMode": "Never",
            }})
        };
        let mut user = match case.user {
            "token" => json!({"token": self.token}),
            "file" => json!({"tokenFile": "token"}),
            "certificate" => json!({
                "client-certificate-data": encoded(&self.certificate), "client-key-data": encoded(&self.key),
            }),
            "certificate files" => json!({"client-certificate": "client.pem", "client-key": "client.key"}),
            "both" => json!({
                "token": self.token, "client-certificate": "client.pem", "client-key": "client.key",
            }),
            "exec" => exec("token.json"),
            "exec certificate" => exec("certificate.json"),
            "wrong" => json!({"token": "not-a-token"}),
            _ => json!({}),
        };
        if !case.impersonated.is_empty() {
            user["as"] = case.impersonated.into();
        }
        let config = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}],
        });
        Writer::new(&case.style).document(&config)
    }

    fn compare(&self, case: &Case) -> Option<String> {
        let servers = Servers::start();
        let mut environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let mut proxy = None;
        if let Some((kind, from)) = case.proxy {
            let port = servers.proxy(kind, false, &self.other.0, &self.other.1);
            let scheme = if kind == Kind::Socks { "socks5" } else { "http" };
            let url = format!("{scheme}://127.0.0.1:{port}");
            match from {
                "proxy-url" => proxy = Some(url),
                variable => drop(environment.insert(variable.to_owned(), url)),
            }
        }
        let path = self.folder.path().join("config");
        fs::write(&path, self.kubeconfig(case, proxy.as_deref())).expect("written");
        let by_kubectl = kubectl(
            &path,
            &[
                "auth",
                "whoami",
                "--output",
                "jsonpath={.status.userInfo.username}",
            ],
            &environment,
        );
        let way_of_kubectl = servers.take();
        let by_jobpass = self.runtime.block_on(user(&path, environment));
        let way_of_jobpass = servers.take();
        match (&by_kubectl, &by_jobpass) {
            // Both programs may repeat failed attempts, so this does not compare the requests.
            (Err(_), Err(_)) => None,
            (Ok(one), Ok(other)) if one == other && way_of_kubectl.first() == way_of_jobpass.first() => {
                self.users.borrow_mut().insert(one.clone());
                None
            }
            _ => Some(format!(
                "kubectl: {by_kubectl:?} by {way_of_kubectl:?}\njobpass: {by_jobpass:?} by {way_of_jobpass:?}"
            )),
        }
    }
}

#[test]
fn users_of_kubernetes() {
    let lab = Lab::new();
    holds("users of Kubernetes", 120, &case(), |case| lab.compare(case));
    let users: Vec<_> = lab.users.into_inner().into_iter().collect();
    assert_eq!(
        users,
        [
            "kubernetes-admin",
            "system:serviceaccount:default:default",
            "them"
        ]
    );
}

fn kubectl(
    kubeconfig: &Path,
    words: &[&str],
    environment: &BTreeMap<String, String>,
) -> Result<String, String> {
    let output = Command::new(tool("kubectl"))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(words)
        .env_clear()
        .envs(environment)
        .env("HOME", kubeconfig.parent().expect("a folder"))
        .stdin(Stdio::null())
        .output()
        .expect("kubectl runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// The user as which jobpass connects.
async fn user(kubeconfig: &Path, environment: BTreeMap<String, String>) -> Result<String, String> {
    let variables = environment
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_iter(variables);
    let inputs = Inputs::from([(Opt::Kubeconfig, &*kubeconfig.to_string_lossy())]);
    let ask = async {
        let minter = Minter::resolve(&inputs, &environment).await?;
        whoami(&Cluster::connect(&minter)?, &Budget::new(Duration::from_secs(10))).await
    };
    let answer = ask.await.map_err(|error| error.to_string())?;
    Ok(answer.user.username)
}

fn decoded(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    String::from_utf8(bytes.expect("base64")).expect("PEM")
}
