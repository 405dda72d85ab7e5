//! Jobs that bring rules of their own, with a minter from `setup`.

use std::fs;

use super::{Desk, MINTER, SCANNER, SWEEPER};
use crate::{access::role::left, github::step::Step};

const RULES: [&str; 2] = ["--role-rules", "get pods\ncreate pods/exec target-pod"];

#[test]
fn a_role_for_one_job() {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    let setup = |more: &[&str]| desk.setup(&[&RULES, &MINTER, &SWEEPER, more]);
    assert_eq!(setup(&["--diff"]).code(), 5);
    setup(&["--apply"]).succeeded();
    let same = setup(&["--diff"]).succeeded();
    let line = format!("same       Role {namespace}/jobpass-minter.with-rules");
    assert!(same.log.contains(&line), "{}", same.log);
    let more = ["--role-rules", "get pods\nget configmaps", "--diff"];
    let differs = desk.setup(&[&more, &MINTER]);
    assert_eq!(differs.code(), 5, "{}", differs.log);
    let line = format!("differs    Role {namespace}/jobpass-minter.with-rules: rules[5]");
    assert!(differs.log.contains(&line), "{}", differs.log);

    let minter = desk.account("jobpass-minter");
    let doctor = [
        "doctor",
        "--namespace",
        namespace,
        "--kubeconfig",
        "jobpass-minter",
    ];
    let doctor = desk.jobpass(&[&doctor[..], &RULES].concat()).succeeded();
    for found in [
        "may manage the role of one job",
        "a policy refuses a token of a ServiceAccount that was not made for a job",
        "a policy refuses a Role that belongs to no job",
    ] {
        assert!(doctor.log.contains(found), "{found}: {}", doctor.log);
    }
    let kubeconfig = fs::read_to_string(&minter).expect("a kubeconfig");
    let step = Step::with(&[
        ("namespace", namespace),
        ("kubeconfig", &kubeconfig),
        ("role-rules", RULES[1]),
    ]);
    step.main().succeeded();
    assert_eq!(left(&desk.cluster).lines().count(), 4);
    step.post().succeeded();
    assert_eq!(left(&desk.cluster), "");
}

/// One minter serves a shared ServiceAccount and jobs with rules.
#[test]
fn both() {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    desk.setup(&[&SCANNER, &MINTER, &RULES, &["--apply"]]).succeeded();
    let minter = fs::read_to_string(desk.account("jobpass-minter")).expect("a kubeconfig");
    for input in [("service-account", "scanner"), ("role-rules", RULES[1])] {
        let step = Step::with(&[("namespace", namespace), ("kubeconfig", &minter), input]);
        step.main().succeeded();
        step.post().succeeded();
    }
    assert_eq!(left(&desk.cluster), "");
}
