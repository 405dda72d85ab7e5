//! `--type legacy`: jobpass mints and revokes the token of a Secret like any other token.

use std::fs;

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;

use super::{Desk, MINT};
use crate::{
    cluster::Cluster,
    github::{step::Ended, step::Step},
    gitlab::job::Job,
    leaks::{assert_absent, corpus},
    support,
};

const LEGACY: [&str; 4] = ["--type", "legacy", "--token-file", "token"];

fn desk() -> Desk {
    let desk = Desk::new();
    support::allow_reading(&desk.cluster);
    desk
}

impl Desk {
    fn assert_no_secret_left(&self, log: &str) {
        assert!(self.cluster.legacy_secrets().is_empty(), "{log}");
        self.assert_nothing_left(log);
    }
}

#[test]
fn made_used_and_revoked() {
    let desk = desk();
    let minted = desk
        .mint(&[&LEGACY[..], &["--duration", "20m"]].concat())
        .succeeded();
    assert!(
        minted
            .log
            .contains("never; `jobpass sweep` deletes it after 20 min"),
        "{}",
        minted.log
    );
    let secret = desk.cluster.legacy_secrets().remove(0);
    let annotations = &secret["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/service-account.expiration"], "1200");
    assert_eq!(annotations["jobpass.dev/platform"], "cli");
    let token = fs::read_to_string(desk.path("token")).expect("a token file");
    assert_eq!(token, crate::cluster::token_of(&secret));
    let state = fs::read_to_string(desk.path("token.jobpass.json")).expect("a state");
    assert!(state.contains(secret["metadata"]["name"].as_str().expect("a name")));

    let revoked = desk
        .run(&[
            "revoke",
            "--token-file",
            "token",
            "--verify-revocation",
            "wait",
            "--output",
            "json",
        ])
        .succeeded();
    let line = revoked.log.lines().next().expect("a receipt");
    let receipt: serde_json::Value = serde_json::from_str(line).expect("one line of JSON");
    assert_eq!(receipt["proof"], "long-unauthorized");
    assert!(
        receipt["swept"].is_string() && receipt.get("expires").is_none(),
        "{receipt}"
    );
    assert!(!desk.cluster.accepts(&token));
    for (place, text) in [
        ("mint's log", &minted.log),
        ("the state", &state),
        ("revoke's log", &revoked.log),
    ] {
        assert_absent(&token, place, text);
    }
    desk.assert_no_secret_left(&revoked.log);
}

#[rstest]
#[case::audiences(&["--audiences", "vault"], "input `audiences` and `type: legacy` are both given")]
#[case::renew_for(&["--renew-for", "6h"], "input `renew-for` and `type: legacy` are both given")]
#[case::rules(&["--role-rules", "get pods"], "input `role-rules` and")]
#[case::no_time(&["--duration", "0"], "the time is zero")]
fn what_makes_no_sense_is_refused_before_anything_is_asked(#[case] more: &[&str], #[case] why: &str) {
    let desk = desk();
    let before = desk.cluster.requests().len();
    let ended = desk.mint(&[&LEGACY[..], more].concat());
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    assert_eq!(desk.cluster.requests().len(), before);
}

#[test]
fn another_type_is_no_type() {
    let ended = Desk::new().mint(&["--type", "opaque", "--token-file", "t"]);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains("use `bound` or `legacy`"), "{}", ended.log);
}

#[test]
fn a_minter_that_may_not_read_secrets_is_told_what_it_takes() {
    let desk = Desk::new();
    let ended = desk.mint(&LEGACY);
    assert_eq!(ended.code(), 4, "{}", ended.log);
    for part in [
        "cannot read the Secret",
        r#"verbs: ["create", "get", "delete"]"#,
        "a token for each of its ServiceAccounts",
        "failed   the minter may not get secrets",
    ] {
        assert!(ended.log.contains(part), "{part}: {}", ended.log);
    }
    desk.assert_no_secret_left(&ended.log);
}

#[test]
fn a_service_account_that_is_not_there() {
    let desk = desk();
    let mut arguments = MINT;
    arguments[2] = "ghost";
    let ended = desk.run(&[&arguments[..], &LEGACY].concat());
    assert_eq!(ended.code(), 4, "{}", ended.log);
    let says = desk.here("check that ServiceAccount NAMESPACE/ghost exists");
    assert!(ended.log.contains(&says), "{}", ended.log);
    desk.assert_no_secret_left(&ended.log);
}

#[test]
fn a_cluster_that_fills_no_secrets() {
    let desk = desk();
    // The answer is the same if the token controller is switched off.
    desk.cluster.inject(Fault {
        method: "GET",
        path_contains: "/secrets/".into(),
        times: usize::MAX,
        kind: FaultKind::RewriteBody(|secret| {
            secret.as_object_mut().expect("a Secret").remove("data");
        }),
    });
    let ended = desk.mint(&LEGACY);
    assert_eq!(ended.code(), 4, "{}", ended.log);
    assert!(
        ended.log.contains("kube-controller-manager writes these tokens"),
        "{}",
        ended.log
    );
    desk.assert_no_secret_left(&ended.log);
}

/// In these cases, the Secret holds a text that is not a token, or the token of another account.
#[rstest]
#[case::opaque(|body: &mut serde_json::Value| body["data"]["token"] = "b3BhcXVl".into(), "not a JWT")]
#[case::empty(|body: &mut serde_json::Value| body["data"]["token"] = "".into(), "holds text that is not a token")]
#[case::another(|body: &mut serde_json::Value| body["data"]["token"] = another().into(), "its subject is `system:serviceaccount:elsewhere:admin`")]
fn what_is_not_as_asked_is_not_handed_over(#[case] change: fn(&mut serde_json::Value), #[case] why: &str) {
    let desk = desk();
    desk.cluster.inject(Fault {
        method: "GET",
        path_contains: "/secrets/".into(),
        times: 1,
        kind: FaultKind::RewriteBody(change),
    });
    let ended = desk.mint(&LEGACY);
    assert_eq!(ended.code(), 5, "{}", ended.log);
    assert!(ended.log.contains(why), "{}", ended.log);
    desk.assert_no_secret_left(&ended.log);
}

fn another() -> String {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = serde_json::json!({"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:elsewhere:admin"});
    STANDARD.encode(format!(
        "{}.{}.c2ln",
        part(serde_json::json!({"alg": "RS256"})),
        part(claims)
    ))
}

#[test]
fn the_policies_of_setup_refuse_it_on_purpose() {
    let desk = desk();
    fs::write(desk.path("admin.yaml"), desk.cluster.admin_kubeconfig()).expect("written");
    let setup = [
        "setup",
        "--service-account",
        "scanner",
        "--namespace",
        "NAMESPACE",
        "--minter",
        "serviceaccount:minter",
        "--apply",
        "--kubeconfig",
        "admin.yaml",
    ];
    desk.run(&setup).succeeded();
    let ended = desk.mint(&LEGACY);
    assert_eq!(ended.code(), 4, "{}", ended.log);
    assert!(ended.log.contains("do so on purpose"), "{}", ended.log);
    assert!(desk.cluster.legacy_secrets().is_empty());
}

/// A legacy token never expires. So jobpass revokes the token when the command ends, or earlier if the
/// requested lifetime ends before that.
#[test]
fn exec_ends_it_and_masks_it() {
    let desk = desk();
    fs::write(desk.path("tmp.sh"), corpus::script()).expect("written");
    fs::write(desk.path("ca.pem"), desk.cluster.ca_pem()).expect("written");
    let script = format!(
        "cp $JOBPASS_TOKEN_FILE seen; export SERVER={} CA=ca.pem; sh tmp.sh 2>&1",
        desk.cluster.url()
    );
    let ended = desk.exec(&["--type", "legacy", "--env", "TOKEN"], &script);
    assert_eq!(ended.code(), 0, "{}", ended.log);
    let token = fs::read_to_string(desk.path("seen")).expect("the script saw it");
    assert!(ended.log.contains("=== end ==="), "{}", ended.log);
    assert_eq!(corpus::pieces(&token, &ended.log), [""; 0], "{}", ended.log);
    assert!(desk.cluster.legacy_secrets().is_empty() && !desk.cluster.accepts(&token));

    let script = "cp $JOBPASS_TOKEN_FILE second; sleep 3; echo over";
    let ended = desk.exec(&["--type", "legacy", "--duration", "1s"], script);
    assert!(ended.log.contains("over"), "{}", ended.log);
    let token = fs::read_to_string(desk.path("second")).expect("the script saw it");
    assert!(!desk.cluster.accepts(&token));
}

#[test]
fn an_expiry_test_of_what_never_expires_is_refused() {
    let desk = desk();
    let mut arguments = MINT;
    arguments[0] = "expiry-test";
    let ended = desk.run(&[&arguments[..], &["--type", "legacy"]].concat());
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains("--revoke-after 30s"), "{}", ended.log);
}

#[test]
fn a_step_of_github() {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    support::allow_reading(&cluster);
    let step = Step::scanner(&kubeconfig, &[("type", "legacy"), ("kubeconfig-file", "true")]);
    let main = step.main().succeeded();
    let token = step.token();
    assert_eq!(token, crate::cluster::token_of(&cluster.legacy_secrets()[0]));
    let shown = main.log.lines().filter(|line| !line.starts_with("::add-mask::"));
    assert_absent(&token, "the log", &shown.collect::<Vec<_>>().join("\n"));
    assert_eq!(step.outputs()["expires-at"], "");
    let post = step.post().succeeded();
    let says = format!(
        "revoked the token of ServiceAccount {}/scanner",
        cluster.namespace()
    );
    assert!(post.log.contains(&says), "{}", post.log);
    assert!(cluster.legacy_secrets().is_empty() && !cluster.accepts(&token));
    assert!(
        step.summary().contains("Would have been swept"),
        "{}",
        step.summary()
    );
    assert!(step.left_in_temp().is_empty());
}

#[test]
fn jobs_of_gitlab() {
    let cluster = Cluster::start();
    let options = [
        ("type", "legacy"),
        ("dotenv", "jobpass.env"),
        ("verify-revocation", "wait"),
    ];
    let job = Job::with(&cluster, &options);
    support::allow_reading(&cluster);
    let minted = job.mint().succeeded();
    let token = crate::cluster::token_of(&cluster.legacy_secrets()[0]);
    assert_absent(&token, "the log", &minted.log);
    let variables = job.dotenv();
    assert!(
        !variables.contains_key("JOBPASS_EXPIRES_AT"),
        "{:?}",
        variables.keys()
    );
    job.revoke("success", &["--unless-success"]).succeeded();
    let revoked: Ended = job.later().revoke("success", &["--handed-over"]).succeeded();
    assert!(
        revoked.log.contains("answers 401 to the token"),
        "{}",
        revoked.log
    );
    assert!(cluster.legacy_secrets().is_empty() && !cluster.accepts(&token));
}

/// Only the cluster can tell whether anything will ever delete the token's Secret.
#[test]
fn inspect_says_of_a_token_that_nothing_will_ever_delete_it() {
    let desk = desk();
    let secret = |more: &str| {
        desk.cluster.apply(&format!(
            "{{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {{name: by-hand, namespace: NAMESPACE, \
             annotations: {{kubernetes.io/service-account.name: scanner{more}}}}}}}"
        ));
        let secret = desk.cluster.legacy_secrets().remove(0);
        fs::write(desk.path("token"), crate::cluster::token_of(&secret)).expect("written");
    };
    let inspect = |verify: &[&str]| {
        let look = [
            "inspect",
            "--token-file",
            "token",
            "--output",
            "json",
            "--kubeconfig",
            "minter.yaml",
        ];
        let ended = desk.run(&[&look[..], verify].concat()).succeeded();
        let json: serde_json::Value = serde_json::from_str(&ended.log).expect("one line of JSON");
        let kinds = json["unusual"].as_array().expect("a list").iter();
        kinds
            .map(|unusual| unusual["kind"].as_str().expect("a word").to_owned())
            .collect::<Vec<_>>()
    };
    secret("");
    assert_eq!(inspect(&[]), ["legacy", "no-expiry"]);
    assert_eq!(inspect(&["--verify"]), ["legacy", "no-expiry", "forgotten"]);
    let admin = support::admin(&desk.cluster);
    let annotate = [
        "annotate",
        "secret",
        "by-hand",
        "--namespace",
        desk.cluster.namespace(),
        "kubernetes.io/service-account.expiration=86400",
    ];
    assert!(support::kubectl(admin.path(), &annotate).status.success());
    assert_eq!(inspect(&["--verify"]), ["legacy", "no-expiry"]);
}
