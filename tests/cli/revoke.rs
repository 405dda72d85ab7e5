//! `jobpass revoke` accepts each of the files that `mint` wrote. A second revocation does nothing.

use std::fs;

use rstest::rstest;

use super::{Desk, Ended};
use crate::leaks::assert_absent;

const BOTH: &[&str] = &["--token-file", "token", "--kubeconfig-file", "scan.yaml"];
const TOKEN: &[&str] = &["--token-file", "token"];
const KUBECONFIG: &[&str] = &["--kubeconfig-file", "scan.yaml"];
const RECORD: &[&str] = &["--state-file", "record"];

fn mint(desk: &Desk, files: &[&str]) {
    let mint = [
        "mint",
        "--service-account",
        "scanner",
        "--kubeconfig",
        "minter.yaml",
    ];
    desk.run(&[&mint, files].concat()).succeeded();
}

fn revoke(desk: &Desk, way: &[&str]) -> Ended {
    desk.run(&[&["revoke"], way].concat())
}

/// Scripts revoke at their end, and once more in a trap.
#[rstest]
#[case::by_the_first_file(BOTH, TOKEN, &[TOKEN, KUBECONFIG, BOTH])]
#[case::by_the_second_file(BOTH, KUBECONFIG, &[KUBECONFIG, TOKEN, BOTH])]
#[case::by_the_record(&["--token-file", "token", "--state-file", "record"], RECORD, &[RECORD])]
fn again_is_nothing_to_do(#[case] files: &[&str], #[case] way: &[&str], #[case] ways: &[&[&str]]) {
    let desk = Desk::new();
    mint(&desk, files);
    let revoked = revoke(&desk, way).succeeded();
    assert!(revoked.log.starts_with("revoked the token of"), "{}", revoked.log);
    assert!(desk.cluster.anchors().is_empty());
    assert!(!desk.path("token").exists() && !desk.path("scan.yaml").exists());

    let token = desk.cluster.issued().remove(0);
    let records = ["token.jobpass.json", "scan.yaml.jobpass.json", "record"];
    let records = records.map(|name| fs::read_to_string(desk.path(name)).unwrap_or_default());
    assert!(records.iter().any(|record| record.contains("\"revoked\"")));
    assert_absent(&token, "what stays", &records.concat());

    let asked = desk.cluster.requests().len();
    for again in ways {
        let again = revoke(&desk, again).succeeded();
        let namespace = desk.cluster.namespace();
        let said =
            format!("nothing to revoke: the token of ServiceAccount {namespace}/scanner was revoked at 20");
        assert!(again.log.starts_with(&said), "{}", again.log);
        assert_absent(&token, "what is printed", &again.log);
    }
    assert_eq!(
        desk.cluster.requests().len(),
        asked,
        "a second revocation must send no request"
    );
    mint(&desk, files);
    revoke(&desk, way).succeeded();
    assert!(desk.cluster.anchors().is_empty());
}

/// A wrong file name must be an error, because success would mean that the token is revoked.
#[rstest]
#[case("token-file")]
#[case("kubeconfig-file")]
#[case("state-file")]
fn what_was_never_minted_is_an_error(#[case] option: &str) {
    let desk = Desk::new();
    mint(&desk, TOKEN);
    let revoked = revoke(&desk, &[&format!("--{option}"), "tokne"]);
    assert_eq!(revoked.code(), 2, "{}", revoked.log);
    let said = format!("input `{option}` names no token: there is no state file `");
    assert!(revoked.log.contains(&said), "{}", revoked.log);
    assert_eq!(desk.cluster.anchors().len(), 1);
    revoke(&desk, TOKEN).succeeded();
}

/// A state file of a revoked token must not hide a token that works.
#[test]
fn a_token_that_works_is_meant_before_one_that_is_revoked() {
    let desk = Desk::new();
    mint(&desk, TOKEN);
    revoke(&desk, TOKEN).succeeded();
    mint(&desk, KUBECONFIG);
    let revoked = revoke(&desk, BOTH).succeeded();
    assert!(revoked.log.starts_with("revoked the token of"), "{}", revoked.log);
    assert!(desk.cluster.anchors().is_empty());

    mint(&desk, TOKEN);
    mint(&desk, KUBECONFIG);
    let of_two = revoke(&desk, BOTH);
    assert_eq!(of_two.code(), 2, "{}", of_two.log);
    let said = "input `kubeconfig-file` names another token than `token-file`";
    assert!(of_two.log.contains(said), "{}", of_two.log);
    assert_eq!(desk.cluster.anchors().len(), 2);
    for way in [TOKEN, KUBECONFIG] {
        revoke(&desk, way).succeeded();
    }
    assert!(desk.cluster.anchors().is_empty());
}

/// The only anchor of the test, written as `NAMESPACE/NAME`, like `jobpass list` shows it.
fn anchor(desk: &Desk) -> String {
    let anchors = desk.cluster.anchors();
    let name = anchors[0]["metadata"]["name"].as_str().expect("a name");
    format!("{}/{name}", desk.cluster.namespace())
}

fn revoke_anchor(desk: &Desk, anchor: &str, kubeconfig: &str) -> Ended {
    fs::write(desk.path("admin.yaml"), desk.cluster.admin_kubeconfig()).expect("written");
    desk.run(&["revoke", anchor, "--kubeconfig", kubeconfig])
}

/// An administrator may list Secrets, so jobpass looks for the anchor first. A minter may not: only the
/// answer to the deletion tells jobpass whether the anchor existed.
#[rstest]
#[case::an_administrator("admin.yaml", "the API server lists no Secret of this name and type")]
#[case::a_minter("minter.yaml", "the API server answered 404")]
fn an_anchor_is_revoked_and_a_slip_of_the_hand_is_not(#[case] kubeconfig: &str, #[case] why: &str) {
    let desk = Desk::new();
    mint(&desk, TOKEN);
    let ours = anchor(&desk);
    let last = if ours.ends_with('a') { "b" } else { "a" };
    let slip = format!("{}{last}", &ours[..ours.len() - 1]);
    let refused = revoke_anchor(&desk, &slip, kubeconfig);
    assert_eq!(refused.code(), 4, "{}", refused.log);
    let said = format!("there is no anchor {slip}, so jobpass revoked nothing: {why}");
    assert!(refused.log.contains(&said), "{}", refused.log);
    assert_eq!(desk.cluster.anchors().len(), 1);

    let revoked = revoke_anchor(&desk, &ours, kubeconfig).succeeded();
    assert!(revoked.log.contains("revoked the token"), "{}", revoked.log);
    let seen = !revoked.log.contains("may not list Secrets");
    assert_eq!(seen, kubeconfig == "admin.yaml", "{}", revoked.log);
    assert!(desk.cluster.anchors().is_empty());
    assert_absent(&desk.cluster.issued()[0], "what it printed", &revoked.log);
    assert_eq!(revoke_anchor(&desk, &ours, kubeconfig).code(), 4);
    // With the state file, `revoke` succeeds although the anchor is gone.
    revoke(&desk, TOKEN).succeeded();
}

#[test]
fn a_secret_that_is_no_anchor_stays() {
    let desk = Desk::new();
    let name = "jobpass-aaaaaaaaaaaaaaaaaaaa";
    let secret =
        format!("{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: NAMESPACE}}}}");
    desk.cluster.apply(&secret);
    let refused = revoke_anchor(&desk, &desk.here(&format!("NAMESPACE/{name}")), "admin.yaml");
    assert_eq!(refused.code(), 4, "{}", refused.log);
    let deletions = desk.cluster.requests();
    assert!(deletions.iter().all(|asked| asked.method != "DELETE"));
    let refused = revoke_anchor(&desk, "NAMESPACE/database", "admin.yaml");
    assert_eq!(refused.code(), 2, "{}", refused.log);
}
