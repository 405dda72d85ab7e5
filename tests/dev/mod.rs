//! The dev cluster, on which people try jobpass and the demo runs. Tests can move its clock. `tests/replay`
//! checks that Kubernetes gives the same answers.

mod answers;
mod serve;

use std::{fs, time::Duration};

use crate::{cli::Desk, cluster::Cluster, support};

/// The command `whoami`, as the holder of the copied token.
const WHOAMI: [&str; 3] = ["whoami", "--kubeconfig", "copy.yaml"];

impl Desk {
    /// Mints a token, keeps a copy of it, and returns it.
    fn mint_and_copy(&self, more: &[&str]) -> String {
        self.mint(&[&["--token-file", "token"], more].concat())
            .succeeded();
        let token = fs::read_to_string(self.path("token")).expect("a token file");
        let kubeconfig = self.cluster.kubeconfig(&token, self.cluster.namespace());
        fs::write(self.path("copy.yaml"), kubeconfig).expect("written");
        token
    }

    /// Runs jobpass as the administrator.
    fn run_as_admin(&self, arguments: &[&str]) -> String {
        let admin = support::admin(&self.cluster);
        let kubeconfig = admin.path().to_str().expect("a path");
        let ended = self.run(&[arguments, &["--kubeconfig", kubeconfig]].concat());
        ended.succeeded().log
    }
}

#[test]
fn a_token_expires_and_its_anchor_is_swept() {
    let desk = Desk::at(Cluster::dev());
    let token = desk.mint_and_copy(&["--duration", "10m"]);
    let told = desk.run(&WHOAMI).succeeded();
    let scanner = desk.here("system:serviceaccount:NAMESPACE:scanner");
    assert!(told.log.contains(&scanner), "{}", told.log);
    let listed = desk.run_as_admin(&["list", "--all-namespaces"]);
    assert!(listed.contains(" live"), "{listed}");

    // go-jose accepts the token for another minute.
    desk.cluster.advance(Duration::from_secs(650));
    assert!(desk.cluster.accepts(&token));
    desk.cluster.advance(Duration::from_secs(70));
    assert!(!desk.cluster.accepts(&token));
    assert_eq!(desk.run(&WHOAMI).code(), 4);
    let listed = desk.run_as_admin(&["list", "--all-namespaces"]);
    assert!(listed.contains(" expired"), "{listed}");

    desk.cluster.advance(Duration::from_secs(300));
    let swept = desk.run_as_admin(&["sweep", "--namespace", "NAMESPACE"]);
    assert!(swept.contains(": 1 deleted"), "{swept}");
    let listed = desk.run_as_admin(&["list", "--all-namespaces"]);
    assert!(listed.contains("no anchors in the cluster"), "{listed}");
}

#[test]
fn a_token_is_dead_ten_seconds_after_it_was_revoked() {
    let desk = Desk::at(Cluster::dev());
    desk.mint_and_copy(&["--require", "list pods", "--forbid", "delete pods"]);
    desk.run(&WHOAMI).succeeded();
    let revoke = ["revoke", "--token-file", "token"];
    desk.run(&revoke).succeeded();
    // The API server may cache the token for this long.
    desk.cluster.advance(Duration::from_secs(10));
    assert_eq!(desk.run(&WHOAMI).code(), 4);
    let again = desk.run(&revoke).succeeded();
    assert!(again.log.contains("nothing to revoke"), "{}", again.log);
}

#[test]
fn who_may_not_mint_is_told_why() {
    let desk = Desk::at(Cluster::dev());
    desk.cluster
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: NAMESPACE}}");
    let namespace = desk.cluster.namespace();
    let token = desk
        .cluster
        .service_account_token(namespace, "nobody", Duration::from_secs(600));
    fs::write(
        desk.path("minter.yaml"),
        desk.cluster.kubeconfig(&token, namespace),
    )
    .expect("written");
    let refused = desk.mint(&["--token-file", "token"]);
    assert_eq!(refused.code(), 4, "{}", refused.log);
    let unknown = desk.run(&[
        "mint",
        "--service-account",
        "nobody-else",
        "--token-file",
        "token",
    ]);
    assert_ne!(unknown.code(), 0, "{}", unknown.log);
    assert!(desk.cluster.anchors().is_empty());
}

/// The dev cluster refuses requests that it does not support. So no test can rely on an invented answer.
#[test]
#[should_panic = "the dev cluster does not answer GET /api/v1/nodes: use Kubernetes (see tests/control-plane/README.md)"]
fn a_question_that_it_does_not_know_fails_the_test() {
    let cluster = Cluster::dev();
    let (status, _) = cluster.ask("GET", "/api/v1/nodes", None);
    assert_eq!(status, 501);
}
