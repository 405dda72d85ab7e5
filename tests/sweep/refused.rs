//! A user who may not list anchors. The error shows how to create an account that may.

use super::*;

impl Broom {
    /// Runs jobpass as a user without permissions, and applies the YAML that its error shows. Then runs
    /// jobpass as `account`, which that YAML creates.
    fn run_as_shown(&self, arguments: &[&str], home: &str, account: &str) -> Ended {
        self.cluster
            .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: NAMESPACE}}");
        self.wield(self.cluster.namespace(), "nobody");
        let refused = self.run(arguments);
        assert_eq!(refused.code(), 4, "{}", refused.log);
        let yaml = refused.log.find("apiVersion:").map(|start| &refused.log[start..]);
        self.cluster.apply(yaml.expect("an account"));
        self.wield(home, account);
        self.run(arguments).succeeded()
    }
}

#[rstest]
#[case("sweep", "jobpass-secrets-list-delete", 0)]
#[case("list", "jobpass-secrets-list", 1)]
fn in_a_namespace(#[case] verb: &str, #[case] account: &str, #[case] left: usize) {
    let broom = Broom::of(Cluster::start());
    broom.leave_behind(1);
    let here = broom.cluster.namespace();
    let ended = broom.run_as_shown(&[verb, "--namespace", here], here, account);
    assert_eq!(broom.names().len(), left, "{}", ended.log);
}

/// This test needs a cluster on which no other test has anchors.
#[test]
fn in_the_cluster() {
    let broom = Broom::of(Cluster::dev());
    for (namespace, number) in [("a-b", 1), ("a", 2), ("c", 3)] {
        broom.secret(namespace, &name(number), &[("lifetime", "600s")]);
    }
    broom.cluster.move_date(minutes(20));
    let sweep = ["sweep", "--all-namespaces"];
    let swept = broom.run_as_shown(&sweep, "default", "jobpass-secrets-list-delete");
    assert!(broom.names().is_empty(), "{}", swept.log);
    assert!(
        swept.log.contains("looked at 3 anchors in the cluster"),
        "{}",
        swept.log
    );
}
