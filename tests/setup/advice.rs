//! The commands that errors and `doctor` propose. A pasted command makes a user at most a minter, and gives a
//! minter no more permissions than it needs.

use std::fs;

use rstest::rstest;

use super::Desk;
use crate::support;

#[test]
fn an_administrator_is_made_no_minter() {
    let desk = Desk::new();
    support::minter(&desk.cluster);
    let namespace = desk.cluster.namespace();
    let doctor = ["doctor", "--service-account", "scanner", "--namespace", namespace];
    let doctor = desk
        .jobpass(&[&doctor[..], &["--kubeconfig", "admin.yaml"]].concat())
        .succeeded();
    let command = format!(
        "`jobpass setup --service-account scanner --namespace {namespace} --minter serviceaccount:jobpass-minter --apply \
         --minter-kubeconfig minter.yaml`"
    );
    assert!(
        doctor
            .log
            .contains("this user may read Secrets, and a minter must not")
            && doctor.log.contains(&command),
        "{}",
        doctor.log
    );
    support::run_advice(&desk.cluster, &doctor.log);
    let bound = [
        "get",
        "rolebinding/jobpass-minter-scanner",
        "--output",
        "jsonpath={.subjects[*].name}",
    ];
    assert_eq!(desk.admin(&bound), "jobpass-minter");
}

/// A user who may list Secrets can read them.
#[rstest]
#[case(&["list"], "list")]
#[case(&["sweep"], "list-delete")]
fn a_minter_gets_no_right_to_list(#[case] verb: &[&str], #[case] verbs: &str) {
    let desk = Desk::new();
    let minter = support::minter(&desk.cluster);
    fs::write(desk.folder.path().join("minter.yaml"), minter).expect("written");
    let ask = ["--namespace", desk.cluster.namespace(), "--kubeconfig"];
    let refused = desk.jobpass(&[verb, &ask, &["minter.yaml"]].concat());
    assert_eq!(refused.code(), 4, "{}", refused.log);
    assert!(!refused.log.contains("name: minter"), "{}", refused.log);
    let (_, yaml) = refused.log.split_once("apiVersion:").expect("YAML");
    desk.cluster.apply(&format!("apiVersion:{yaml}"));

    // After pasting, a separate account has the permission, and the minter does not.
    desk.account(&format!("jobpass-secrets-{verbs}"));
    desk.cluster.wait_for_rbac("Role");
    desk.jobpass(&[verb, &ask, &[&format!("jobpass-secrets-{verbs}")]].concat())
        .succeeded();
    let refused = desk.jobpass(&[verb, &ask, &["minter.yaml"]].concat());
    assert_eq!(refused.code(), 4, "{}", refused.log);
}
