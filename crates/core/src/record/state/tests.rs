use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::PathBuf};

use jiff::Timestamp;
use rstest::rstest;

use super::*;
use crate::{
    cluster::{Identity, Proxy},
    inputs::{lifetime::Lifetime, options::Opt},
    record::receipt::Proof,
};

/// The states that jobpass 0.1 recorded for [`states`], one state a line. This golden file never changes:
/// later versions must revoke the tokens of these states.
const OF_0_1: &str = include_str!("0.1.jsonl");

const ANCHOR: &str = "jobpass-1f0c6e7a1f0c6e7a1f0c";

fn path(text: &str) -> PathBuf {
    text.into()
}

fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().expect("a time"))
}

/// A state without its optional parts.
pub(crate) fn least() -> State {
    State {
        connection: Connection {
            server: "https://10.0.0.1:6443".into(),
            certificate_authority: None,
            tls_server_name: None,
            proxy: None,
            extra_authorities: None,
        },
        auth: Auth::InCluster,
        job_server: None,
        receipt: Receipt::new("scanner", "ci", ANCHOR),
        for_api_server: true,
        role: false,
        renewal: None,
        proxy: None,
        files: Files::default(),
        options: BTreeMap::new(),
        environment: BTreeMap::new(),
    }
}

/// A state with all parts that jobpass 0.1 recorded.
fn most() -> State {
    State {
        connection: Connection {
            server: "https://kube.example.com/clusters/a".into(),
            certificate_authority: Some(
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(),
            ),
            tls_server_name: Some("kube.internal".into()),
            proxy: Some(proxy("http://proxy.example.com:3128")),
            extra_authorities: None,
        },
        auth: Auth::Kubeconfig {
            paths: vec![path("/home/ci/.kube/config"), path("/home/ci/caf\u{e9}/config")],
            context: "ci \"quoted\"".into(),
            exec: Some(path("/usr/local/bin/aws")),
        },
        job_server: None,
        receipt: Receipt {
            service_account: "scanner".into(),
            service_account_uid: None,
            namespace: "ci".into(),
            anchor: ANCHOR.into(),
            anchor_uid: Some("3d1f2b0e-6a55-4a0f-9d8a-0c3c5a3d3f11".into()),
            audiences: vec!["vault".into(), "https://kubernetes.default.svc".into()],
            check_run_id: None,
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
        proxy: None,
        files: Files {
            token_file: Some(path("/tmp/a token")),
            kubeconfig_file: Some(path("/tmp/\u{1f511}.kubeconfig")),
            journal: Some(path("/tmp/a token.journal")),
        },
        // jobpass 0.1 recorded no options.
        options: BTreeMap::new(),
        environment: PINNED_VARIABLES
            .iter()
            .map(|name| ((*name).into(), format!("/usr/bin:/{name}")))
            .collect(),
    }
}

fn proxy(url: &str) -> Proxy {
    serde_json::from_value(url.into()).expect("a proxy")
}

/// A state for each kind of authentication, and for each proof of jobpass 0.1.
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
            extra_certificates: None,
        },
        Auth::IdToken {
            audience: "kubernetes".into(),
            url: "https://token.example.com/".into(),
            proxy: Some("http://proxy.example.com:3128".into()),
            extra_certificates: None,
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

fn value(state: &State) -> serde_json::Value {
    serde_json::to_value(state).expect("JSON")
}

/// The states as JSON, without the password of a proxy, which no state records.
fn values(states: impl IntoIterator<Item = State>) -> Vec<serde_json::Value> {
    states.into_iter().map(|state| value(&state)).collect()
}

fn changed(change: impl FnOnce(&mut serde_json::Value)) -> Result<State, Error> {
    let mut json = serde_json::from_str(&most().json().expect("JSON")).expect("JSON");
    change(&mut json);
    State::parse(&json.to_string())
}

#[test]
fn what_is_recorded_is_what_is_read() {
    // Versions after 0.1 also record a server for the job.
    let later = State {
        job_server: Some(most().connection),
        ..least()
    };
    let states = || states().into_iter().chain([later.clone()]);
    let read = states().map(|state| State::parse(&state.json().expect("JSON")).expect("a state"));
    assert_eq!(values(read), values(states()));
}

#[test]
fn states_of_0_1_are_read_as_they_were_recorded() {
    let read = OF_0_1.lines().map(|line| State::parse(line).expect("a state"));
    assert_eq!(values(read), values(states()));
}

#[test]
fn the_end_of_the_job_obeys_what_was_asked_for_when_the_token_was_minted() {
    let inputs = Inputs::from([
        (Opt::ServiceAccount, "a"),
        (Opt::VerifyRevocation, "wait"),
        (Opt::Duration, "2h"),
    ]);
    let minter = Minter {
        connection: least().connection,
        identity: Identity::default(),
        auth: Auth::InCluster,
        namespace: None,
    };
    let spec = Spec::parse(&inputs, None).expect("a spec");
    let state =
        State::new(&minter, &spec, &inputs, "/tmp".as_ref(), &Environment::default()).expect("a state");
    let read = State::parse(&state.json().expect("JSON")).expect("a state");
    let options = [("fail-on-revoke-error", "false"), ("verify-revocation", "wait")];
    assert_eq!(
        read.options,
        BTreeMap::from(options.map(|(name, value)| (name.into(), value.into())))
    );
}

#[test]
fn the_version_is_recorded() {
    let json = least().json().expect("JSON");
    assert!(json.starts_with(&format!("{{\"version\":{VERSION},")), "{json}");
}

/// A later version may add a field to the state, or to an object in it.
#[rstest]
#[case("")]
#[case("/connection")]
#[case("/auth")]
#[case("/receipt")]
#[case("/renewal")]
#[case("/files")]
fn a_field_that_a_later_jobpass_added_is_ignored(#[case] place: &str) {
    let read = changed(|json| json.pointer_mut(place).expect("it is there")["new"] = 1.into());
    assert_eq!(value(&read.expect("a state")), value(&most()));
}

#[test]
fn a_state_of_a_later_version_is_refused_with_what_revokes_it() {
    // A later version may change other fields as well.
    let read = changed(|json| {
        json["version"] = (VERSION + 1).into();
        json["auth"] = "another way".into();
    });
    let error = read.err().expect("refused");
    assert_eq!(error.kind(), Kind::Revoke);
    assert!(error.message().contains("version 2"), "{error}");
    let by_hand = format!("kubectl delete secret {ANCHOR} --namespace ci");
    assert!(error.to_string().ends_with(&by_hand), "{error}");
}

#[test]
fn no_command_is_proposed_that_a_state_could_have_made_up() {
    let read = changed(|json| {
        json["version"] = 2.into();
        json["receipt"]["anchor"] = "x; rm -rf /".into();
    });
    let error = read.err().expect("refused").to_string();
    assert!(!error.contains("kubectl") && !error.contains("rm"), "{error}");
}

#[rstest]
#[case::nothing("")]
#[case::no_state("{}")]
#[case::half(&OF_0_1[..100])]
#[case::no_number(r#"{"version": "1", "receipt": {"namespace": "ci", "anchor": "a"}}"#)]
fn what_is_no_state_is_not_read(#[case] json: &str) {
    let error = State::parse(json).err().expect("refused");
    assert_eq!(error.kind(), Kind::Revoke);
    assert!(
        error.message().starts_with("the recorded state cannot be read"),
        "{error}"
    );
}

/// A state decides which server gets the minter's credential.
#[test]
fn a_state_that_others_may_have_written_is_not_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state");
    least().write(&path).expect("written");
    assert!(State::read(&path).is_ok());
    for mode in [0o620, 0o602, 0o666] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        let error = State::read(&path).err().expect("refused");
        assert_eq!(error.kind(), Kind::Revoke);
        assert!(error.message().contains("may write to it"), "{error}");
    }
}

/// Each input for a path refuses text that is not UTF-8 earlier. If an input did not, the error of the state
/// would keep jobpass from writing an empty record.
#[test]
fn a_path_that_is_not_utf8_is_an_error_and_never_an_empty_state() {
    let latin = || PathBuf::from(OsStr::from_bytes(b"/tmp/caf\xe9"));
    let in_files = State {
        files: Files {
            token_file: Some(latin()),
            ..Files::default()
        },
        ..least()
    };
    let in_auth = State {
        auth: Auth::BearerTokenFile { path: latin() },
        ..least()
    };
    let folder = tempfile::tempdir().expect("a folder");
    for state in [in_files, in_auth] {
        assert!(state.json().is_err());
        assert!(state.write(&folder.path().join("state")).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
