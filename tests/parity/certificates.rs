//! Certificates of servers: kubectl and jobpass trust the same ones.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
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
use jobpass_tests::launch::tool;
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{judge::Judge, property::holds, servers::Servers};

/// The fields of a certificate.
#[derive(Debug, Clone)]
struct Claims {
    authority: &'static str,
    usage: &'static str,
    purpose: &'static str,
    time: &'static str,
}

#[derive(Debug, Clone)]
struct Case {
    root: Claims,
    intermediate: Option<Claims>,
    leaf: Claims,
    self_signed: bool,
    names: Vec<&'static str>,
    /// The certificates that the server sends after the leaf.
    sent: Vec<usize>,
    /// The certificates that both programs get as authorities.
    given: Vec<usize>,
    form: &'static str,
    asked: &'static str,
    /// Whether to try the case with kubectl itself as well, which takes longer than the judge.
    with_kubectl: bool,
}

fn claims(authority: &'static str) -> impl Strategy<Value = Claims> {
    let mostly = |usual: &'static str, others: &'static [&'static str]| prop_oneof![6 => Just(usual), 1 => select(others)];
    (
        mostly(authority, &["yes", "no", "silent", "one below"]),
        mostly("", &["signs", "encrypts"]),
        mostly("", &["server", "client", "any", "both"]),
        mostly("now", &["past", "future"]),
    )
        .prop_map(|(authority, usage, purpose, time)| Claims {
            authority,
            usage,
            purpose,
            time,
        })
}

fn case() -> impl Strategy<Value = Case> {
    let names = vec(
        select(vec![
            "127.0.0.1",
            "localhost",
            "kubernetes",
            "*.example.com",
            "k8s.example.com",
            "::1",
        ]),
        0..4,
    );
    let asked = select(vec![
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "k8s.example.com",
        "K8S.EXAMPLE.COM",
        "other",
        "a.b.example.com",
    ]);
    let form = select(vec![
        "plain", "plain", "crlf", "text", "junk", "twice", "indented",
    ]);
    let part = || btree_set(0..4_usize, 0..3).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let given = prop_oneof![2 => Just(vec![0]), 1 => Just(vec![2]), 2 => btree_set(0..4_usize, 1..3).prop_map(|set| set.into_iter().collect())];
    (
        claims("yes"),
        option::weighted(0.4, claims("yes")),
        claims("silent"),
        prop::bool::weighted(0.25),
        names,
        prop_oneof![2 => Just(vec![1]), 1 => part()],
        given,
        form,
        (asked, prop::bool::weighted(0.1)),
    )
        .prop_map(
            |(root, intermediate, leaf, self_signed, names, sent, given, form, (asked, with_kubectl))| Case {
                root,
                intermediate,
                leaf,
                self_signed,
                names: if names.is_empty() { vec![asked] } else { names },
                sent,
                given,
                form,
                asked,
                with_kubectl,
            },
        )
}

impl Claims {
    fn params(&self, name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = match self.authority {
            "yes" => IsCa::Ca(BasicConstraints::Unconstrained),
            "one below" => IsCa::Ca(BasicConstraints::Constrained(1)),
            "no" => IsCa::ExplicitNoCa,
            _ => IsCa::NoCa,
        };
        params.key_usages = match self.usage {
            "signs" => vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature],
            "encrypts" => vec![
                KeyUsagePurpose::KeyEncipherment,
                KeyUsagePurpose::DigitalSignature,
            ],
            _ => vec![],
        };
        params.extended_key_usages = match self.purpose {
            "server" => vec![ExtendedKeyUsagePurpose::ServerAuth],
            "client" => vec![ExtendedKeyUsagePurpose::ClientAuth],
            "both" => vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            "any" => vec![ExtendedKeyUsagePurpose::Any],
            _ => vec![],
        };
        let (from, to) = match self.time {
            "past" => (2020, 2021),
            "future" => (2090, 2091),
            _ => (2020, 2090),
        };
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        params
    }
}

/// A case as PEM: the given authorities, and the server's chain and key.
struct Made {
    authorities: String,
    chain: String,
    key: String,
}

impl Case {
    fn make(&self, keys: &[KeyPair; 4]) -> Made {
        let root = self
            .root
            .params("root")
            .self_signed(&keys[0])
            .expect("a certificate");
        let root_params = self.root.params("root");
        let of_root = || Issuer::from_params(&root_params, &keys[0]);
        let intermediate = self.intermediate.as_ref().map(|claims| {
            let params = claims.params("intermediate");
            let certificate = params.signed_by(&keys[1], &of_root()).expect("a certificate");
            (certificate, params)
        });
        let mut params = self.leaf.params("leaf");
        let san = |name: &&str| match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().expect("a name")),
        };
        params.subject_alt_names = self.names.iter().map(san).collect();
        let leaf = match (&intermediate, self.self_signed) {
            (_, true) => params.self_signed(&keys[2]),
            (None, false) => params.signed_by(&keys[2], &of_root()),
            (Some((_, above)), false) => params.signed_by(&keys[2], &Issuer::from_params(above, &keys[1])),
        }
        .expect("a certificate");
        let other = self
            .root
            .params("other")
            .self_signed(&keys[3])
            .expect("a certificate");
        let intermediate = intermediate.map_or_else(|| other.pem(), |(certificate, _)| certificate.pem());
        let all = [root.pem(), intermediate, leaf.pem(), other.pem()].map(|pem| pem.replace('\r', ""));
        let pick = |which: &[usize]| which.iter().map(|index| &*all[*index]).collect::<String>();
        let given = pick(&self.given);
        let authorities = match self.form {
            "crlf" => given.replace('\n', "\r\n"),
            "text" => format!(
                "# caf\u{e9}\nsubject=CN = root\n{}\nafter",
                given.replace("-----BEGIN", "\nissuer: x\n-----BEGIN")
            ),
            "junk" => format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{given}"),
            "twice" => format!("{given}{given}"),
            "indented" => given.replace('\n', "\n "),
            _ => given,
        };
        Made {
            authorities,
            chain: format!("{}{}", all[2], pick(&self.sent)),
            key: keys[2].serialize_pem(),
        }
    }
}

struct Lab {
    judge: Judge,
    keys: [KeyPair; 4],
    runtime: Runtime,
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self {
            judge: Judge::start(),
            keys: [(); 4].map(|()| KeyPair::generate().expect("a key")),
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            folder: TempDir::new().expect("a folder"),
        }
    }

    /// Whether jobpass connects. The error says how kubectl differs from jobpass.
    fn compare(&self, case: &Case) -> Result<bool, String> {
        let made = case.make(&self.keys);
        let mut judged = self.judge.trusts(&made.authorities, &made.chain, case.asked);
        let servers = Servers::start();
        let port = servers.api_server(&made.chain, &made.key, &made.chain);
        let config = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "a-token"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "tls-server-name": case.asked,
                "certificate-authority-data": encoded(&made.authorities),
            }}],
        });
        if case.with_kubectl {
            let path = self.folder.path().join("config");
            fs::write(&path, config.to_string()).expect("written");
            let connected = kubectl(&path, &BTreeMap::new());
            if judged.is_ok() != connected.is_ok() {
                return Err(format!("the judge says {judged:?}, kubectl {connected:?}"));
            }
            judged = connected;
        }
        let connected = self
            .runtime
            .block_on(connected(&config.to_string(), &BTreeMap::new()));
        match (judged, connected) {
            (Ok(()), Ok(())) => Ok(true),
            (Err(_), Err(_)) => Ok(false),
            (Ok(()), Err(why)) => Err(format!("only kubectl trusts it, jobpass says: {why}")),
            (Err(why), Ok(())) => Err(format!("only jobpass trusts it, kubectl says: {why}")),
        }
    }
}

#[test]
fn certificates() {
    let lab = Lab::new();
    holds("certificates", 400, &case(), |case| lab.compare(case).err());
}

/// The only given authority is the server's own certificate, as `openssl s_client` shows it.
#[test]
fn a_certificate_that_is_given_itself() {
    let lab = Lab::new();
    let claims = |authority, time| Claims {
        authority,
        usage: "",
        purpose: "",
        time,
    };
    let connects = |leaf: Claims, self_signed, asked| {
        let case = Case {
            root: claims("yes", "now"),
            intermediate: None,
            leaf,
            self_signed,
            names: vec!["kubernetes"],
            sent: vec![],
            given: vec![2],
            form: "plain",
            asked,
            with_kubectl: true,
        };
        lab.compare(&case).expect("no difference")
    };
    assert!(connects(claims("silent", "now"), false, "kubernetes"));
    assert!(connects(claims("yes", "now"), true, "kubernetes"));
    assert!(!connects(claims("yes", "now"), true, "other"));
    assert!(!connects(claims("yes", "past"), true, "kubernetes"));
}

/// Connects with kubectl.
pub(crate) fn kubectl(kubeconfig: &Path, environment: &BTreeMap<String, String>) -> Result<(), String> {
    let output = Command::new(tool("kubectl"))
        .args(["auth", "whoami", "--kubeconfig"])
        .arg(kubeconfig)
        .env_clear()
        .envs(environment)
        .env("HOME", kubeconfig.parent().expect("a folder"))
        .stdin(Stdio::null())
        .output()
        .expect("kubectl runs");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

pub(crate) fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Connects with jobpass.
pub(crate) async fn connected(
    kubeconfig: &str,
    environment: &BTreeMap<String, String>,
) -> Result<(), String> {
    let variables = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_iter(variables);
    let inputs = Inputs::from([(Opt::Kubeconfig, kubeconfig)]);
    let ask = async {
        let minter = Minter::resolve(&inputs, &environment).await?;
        whoami(&Cluster::connect(&minter)?, &Budget::new(Duration::from_secs(10))).await
    };
    ask.await.map(drop).map_err(|error| error.to_string())
}
