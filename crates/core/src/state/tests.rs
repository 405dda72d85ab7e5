use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::{minter::Proxy, receipt::Proof, spec::Lifetime};

/// The states that jobpass 0.1 recorded, one a line, as its code wrote them: the states of [`states`]. A golden file: what is in
/// it stays as it is for as long as any later version is to revoke it.
const OF_0_1: &str = include_str!("0.1.jsonl");

fn path(text: &str) -> PathBuf {
    text.into()
}

fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().expect("a time"))
}

/// A state with nothing in it that may be left out.
fn least() -> State {
    State {
        connection: Connection {
            server: "https://10.0.0.1:6443".into(),
            certificate_authority: None,
            tls_server_name: None,
            proxy: None,
        },
        auth: Auth::InCluster,
        receipt: Receipt::new("scanner", "ci", "jobpass-1f0c6e7a1f0c6e7a1f0c"),
        for_api_server: true,
        role: false,
        renewal: None,
        files: Files::default(),
        environment: BTreeMap::new(),
    }
}

/// A state with everything in it.
fn most() -> State {
    State {
        connection: Connection {
            server: "https://kube.example.com/clusters/a".into(),
            certificate_authority: Some(
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(),
            ),
            tls_server_name: Some("kube.internal".into()),
            proxy: Some(proxy("http://proxy.example.com:3128")),
        },
        auth: Auth::Kubeconfig {
            paths: vec![path("/home/ci/.kube/config"), path("/home/ci/caf\u{e9}/config")],
            context: "ci \"quoted\"".into(),
            exec: Some(path("/usr/local/bin/aws")),
        },
        receipt: Receipt {
            service_account: "scanner".into(),
            namespace: "ci".into(),
            anchor: "jobpass-1f0c6e7a1f0c6e7a1f0c".into(),
            anchor_uid: Some("3d1f2b0e-6a55-4a0f-9d8a-0c3c5a3d3f11".into()),
            audiences: vec!["vault".into(), "https://kubernetes.default.svc".into()],
            credential_id: Some("b7f2a2a4-4d0e-4e7e-8b1c-5d5f0f3b7f10".into()),
            minted: time("2026-11-26T07:00:00Z"),
            renewed: 3,
            expires: time("2026-11-26T08:00:00Z"),
            swept: time("2026-11-26T09:00:00Z"),
            revoked: time("2026-11-26T07:30:00.123456789Z"),
            proof: Some(Proof::LongUnauthorized),
        },
        for_api_server: false,
        role: true,
        renewal: Some(Renewal {
            lifetime: Lifetime::parse("10m").expect("a lifetime"),
            seconds: 7200,
        }),
        files: Files {
            token_file: Some(path("/tmp/a token")),
            kubeconfig_file: Some(path("/tmp/\u{1f511}.kubeconfig")),
            embed_token: true,
            journal: Some(path("/tmp/a token.journal")),
        },
        environment: PINNED_VARIABLES
            .iter()
            .map(|name| ((*name).into(), format!("/usr/bin:/{name}")))
            .collect(),
    }
}

fn proxy(url: &str) -> Proxy {
    serde_json::from_value(url.into()).expect("a proxy")
}

/// A state for each way to authenticate, and for each proof.
fn states() -> Vec<State> {
    let auths = [
        Auth::Kubeconfig {
            paths: Vec::new(),
            context: "default".into(),
            exec: None,
        },
        Auth::BearerTokenFile {
            path: path("/run/secrets/token"),
        },
        Auth::BearerTokenEnv {
            name: "KUBE_TOKEN".into(),
        },
        Auth::IdToken {
            audience: "kubernetes".into(),
            url: "https://token.example.com/?api-version=2.0".into(),
            proxy: None,
        },
        Auth::IdToken {
            audience: "kubernetes".into(),
            url: "https://token.example.com/".into(),
            proxy: Some("http://proxy.example.com:3128".into()),
        },
    ];
    let proofs = [
        Proof::Unauthorized,
        Proof::AnchorLongGone,
        Proof::AnchorGone,
        Proof::NotAsked,
    ];
    let with_auth = auths.map(|auth| State { auth, ..least() });
    let with_proof = proofs.map(|proof| State {
        receipt: Receipt {
            proof: Some(proof),
            ..least().receipt
        },
        ..least()
    });
    [least(), most()]
        .into_iter()
        .chain(with_auth)
        .chain(with_proof)
        .collect()
}

#[test]
fn states_of_0_1_are_read_as_they_were_recorded() {
    let read = OF_0_1.lines().map(|line| State::parse(line).expect("a state"));
    let read = read.map(|state| state.json().expect("JSON")).collect::<Vec<_>>();
    let then = states()
        .iter()
        .map(|state| state.json().expect("JSON"))
        .collect::<Vec<_>>();
    assert_eq!(read, then);
}
