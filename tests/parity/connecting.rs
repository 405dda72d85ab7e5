//! Connections of jobpass and of kubectl itself: both programs connect in the same way, or neither connects.

use std::{collections::BTreeMap, fs};

use jobpass_core::{
    inputs::options::{Inputs, Opt},
    minter::Minter,
    process::environment::{Environment, IdTokens},
    token::Token,
};
use proptest::{prelude::*, sample::select};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    certificates::{connected, encoded, kubectl},
    kubeconfigs::Fixtures,
    property::holds,
    servers::{Kind, Servers},
};

#[derive(Debug, Clone)]
struct Case {
    /// The host. 0.0.0.0 leads to this machine, but Go does not treat it as a loopback address.
    host: &'static str,
    path: &'static str,
    server_name: &'static str,
    proxy: Option<(Kind, &'static str)>,
    from: &'static str,
    no_proxy: &'static str,
    asks: bool,
    user: &'static str,
}

fn case() -> impl Strategy<Value = Case> {
    let proxy = prop_oneof![
        1 => Just(None),
        5 => (select(vec![Kind::Http, Kind::Https, Kind::Socks]), select(vec!["", "me:pa%40ss@", "me:wrong@", "me@"])).prop_map(Some),
    ];
    (
        prop_oneof![3 => Just("0.0.0.0"), 1 => select(vec!["127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"])],
        select(vec!["", "/", "/prefix", "//a//b/"]),
        select(vec!["", "", "kubernetes", "other"]),
        proxy,
        prop_oneof![3 => select(vec!["HTTPS_PROXY", "proxy-url"]), 1 => select(vec!["https_proxy", "HTTP_PROXY", "ALL_PROXY"])],
        prop_oneof![3 => Just(""), 1 => select(vec!["*", "0.0.0.0", "0.0.0.0/0", "0.0.0.0:PORT", "0.0.0.0:1", ".example.com", "127.0.0.0/8"])],
        prop::bool::weighted(0.3),
        select(vec!["token", "certificate", "exec", "file", "impersonation", "none"]),
    )
        .prop_map(|(host, path, server_name, proxy, from, no_proxy, asks, user)| Case {
            host,
            path,
            server_name,
            proxy,
            from,
            no_proxy,
            asks,
            user,
        })
}

impl Case {
    fn user(&self, fixtures: &Fixtures) -> Value {
        match self.user {
            "token" => json!({"token": "a-token"}),
            "certificate" => json!({
                "client-certificate-data": encoded(&fixtures.certificate), "client-key-data": encoded(&fixtures.key),
            }),
            "exec" => json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin.sh", "interactiveMode": "IfAvailable",
                "provideClusterInfo": true,
            }}),
            "file" => json!({"tokenFile": "token"}),
            "impersonation" => json!({
                "token": "a-token", "as": "them", "as-uid": "1", "as-groups": ["a", "b"], "as-user-extra": {"x/Y": ["1", "2"]},
            }),
            _ => json!({}),
        }
    }
}

#[test]
fn connections() {
    let folder = TempDir::new().expect("a folder");
    let fixtures = Fixtures::write(folder.path());
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let names = ["localhost", "kubernetes"].map(|name| SanType::DnsName(name.try_into().expect("a name")));
    let addresses =
        ["0.0.0.0", "127.0.0.1"].map(|text| SanType::IpAddress(text.parse().expect("an address")));
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.into_iter().chain(addresses).collect();
    let chain = params.signed_by(&key, &authority).expect("a certificate").pem();
    let key = key.serialize_pem();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");

    holds("connections", 100, &case(), |case| {
        let servers = Servers::start();
        let port = servers.api_server(&chain, &key, &fixtures.authority);
        let mut environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let mut cluster = json!({
            "server": format!("https://{}:{port}{}", case.host, case.path), "certificate-authority-data": encoded(&authority.pem()),
            "tls-server-name": case.server_name,
        });
        if let Some((kind, credentials)) = case.proxy {
            let at = servers.proxy(kind, case.asks, &chain, &key);
            let scheme = match kind {
                Kind::Http => "http",
                Kind::Https => "https",
                Kind::Socks => "socks5",
            };
            let url = format!("{scheme}://{credentials}127.0.0.1:{at}");
            match case.from {
                "proxy-url" => cluster["proxy-url"] = url.into(),
                variable => drop(environment.insert(variable.to_owned(), url)),
            }
        }
        if !case.no_proxy.is_empty() {
            environment.insert(
                "NO_PROXY".into(),
                case.no_proxy.replace("PORT", &port.to_string()),
            );
        }
        let config = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": case.user(&fixtures)}],
        });
        let path = folder.path().join("config");
        fs::write(&path, config.to_string()).expect("written");

        let kubectl = kubectl(&path, &environment);
        let by_kubectl = servers.take();
        let jobpass = runtime.block_on(connected(&path.to_string_lossy(), &environment));
        let by_jobpass = servers.take();
        match (&kubectl, &jobpass) {
            // Both programs may repeat failed attempts, so this does not compare the requests.
            (Err(_), Err(_)) => None,
            (Ok(()), Ok(())) if by_kubectl == by_jobpass => None,
            _ => Some(format!(
                "kubectl: {kubectl:?} by {by_kubectl:#?}\njobpass: {jobpass:?} by {by_jobpass:#?}"
            )),
        }
    });
}

/// A GitHub Enterprise Server whose certificate comes from a private authority. The runner's guide recommends
/// NODE_EXTRA_CA_CERTS for it (github.com/actions/runner, docs/checks/sslcert.md).
#[test]
fn node_extra_ca_certs_counts_for_id_tokens() {
    let folder = TempDir::new().expect("a folder");
    let certified = rcgen::generate_simple_self_signed(["localhost".into()]).expect("a certificate");
    let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let file = folder.path().join("corporate.pem");
    fs::write(&file, &chain).expect("written");
    let servers = Servers::start();
    let port = servers.api_server(&chain, &key, &chain);
    let environment = |variables: &[(&str, &str)]| {
        let all = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Environment::from_iter(all).with_id_tokens(Some(IdTokens {
            url: format!("https://localhost:{port}/token?v=1"),
            variable: "ACTIONS_ID_TOKEN_REQUEST_URL",
            bearer: Token::parse("request-token", "test").expect("a token"),
            mask: |_| Ok(()),
        }))
    };
    let inputs = Inputs::from([(Opt::Server, "https://k8s"), (Opt::OidcAudience, "kubernetes")]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let resolve = |environment| runtime.block_on(Minter::resolve(&inputs, &environment));
    let file = file.to_string_lossy();
    let minter = resolve(environment(&[("NODE_EXTRA_CA_CERTS", &*file)])).map_err(|error| error.to_string());
    let minter = minter.expect("the certificate counts");
    assert_eq!(
        minter.identity.bearer.expect("an ID token").expose(),
        "e30.e30.c2ln"
    );
    assert!(resolve(environment(&[])).is_err());
    // The file in the state counts, not the file that a later step names.
    let poisoned = environment(&[("NODE_EXTRA_CA_CERTS", "/nowhere")]);
    let again = runtime.block_on(Minter::from_recorded(
        &minter.connection,
        &minter.auth,
        &inputs,
        &poisoned,
    ));
    assert!(again.is_ok());
}
