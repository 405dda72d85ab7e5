//! Jobs that bring rules, by a minter that `setup` made for them.

use std::fs;

use super::{Desk, kubectl};
use crate::{
    access::role::left,
    github::step::{Ended, Step},
};

const RULES: &str = "get pods\ncreate pods/exec target-pod";

/// `setup` with these options in place of a ServiceAccount.
fn setup(desk: &Desk, more: &[&str]) -> Ended {
    let common = [
        "setup",
        "--namespace",
        "ci",
        "--minter",
        "serviceaccount:jobpass-minter",
    ];
    desk.jobpass(&[&common[..], more, &["--kubeconfig", "admin.yaml"]].concat())
}

#[test]
fn a_role_for_one_job_and_no_other() {
    let desk = Desk::new();
    let rules = ["--rules", RULES];
    let missing = setup(&desk, &[&rules[..], &["--diff"]].concat());
    assert_eq!(missing.code(), 5, "{}", missing.log);
    setup(&desk, &[&rules[..], &super::SWEEPER, &["--apply"]].concat()).succeeded();
    let same = setup(&desk, &[&rules[..], &super::SWEEPER, &["--diff"]].concat()).succeeded();
    assert!(
        same.log.contains("same       Role ci/jobpass-minter.with-rules"),
        "{}",
        same.log
    );
    let more = ["--rules", "get pods\nget secrets", "--diff"];
    let differs = setup(&desk, &more);
    assert_eq!(differs.code(), 5, "{}", differs.log);
    let line = "differs    Role ci/jobpass-minter.with-rules: rules[5]";
    assert!(differs.log.contains(line), "{}", differs.log);

    let minter = desk.account("jobpass-minter");
    let doctor = ["doctor", "--namespace", "ci", "--kubeconfig", "jobpass-minter"];
    let doctor = desk.jobpass(&[&doctor[..], &rules].concat()).succeeded();
    assert!(
        doctor.log.contains("may make a role for one job"),
        "{}",
        doctor.log
    );
    let kubeconfig = fs::read_to_string(&minter).expect("a kubeconfig");
    let step = Step::with(&[("namespace", "ci"), ("kubeconfig", &kubeconfig), ("rules", RULES)]);
    step.main().succeeded();
    let job = step.outputs()["anchor"].clone();
    assert_eq!(left(&desk.cluster).lines().count(), 4);

    // What a minter could do with the rights alone, policies keep it from.
    let create = ["create", "--validate=false", "--filename", "-"];
    let owner =
        |name: &str| format!("ownerReferences: [{{apiVersion: v1, kind: Secret, name: {name}, uid: u}}]");
    let role = |name: &str, owner: &str| {
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: {name}, {owner}}}, rules: [{{apiGroups: [''], \
             resources: [pods], verbs: [get]}}]}}"
        )
    };
    let binding = |name: &str, role: &str, account: &str| {
        let owner = owner(name);
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: {name}, {owner}}}, roleRef: {{apiGroup: \
             rbac.authorization.k8s.io, kind: Role, name: {role}}}, subjects: [{{kind: ServiceAccount, name: {account}, namespace: \
             ci}}]}}"
        )
    };
    let free = "jobpass-aaaaaaaaaaaaaaaaaaaa";
    let token = |account| {
        [
            "create",
            "token",
            account,
            "--bound-object-kind",
            "Secret",
            "--bound-object-name",
            &job,
        ]
    };
    let uid = desk.cluster.anchors()[0]["metadata"]["uid"]
        .as_str()
        .expect("a uid")
        .to_owned();
    let uid = ["--bound-object-uid", &*uid];
    let delete = |kind, name| vec!["delete", kind, name, "--wait=false"];
    let of_job = "made for its job, called as the anchor is";
    let single = "but those of single jobs";
    for (arguments, manifest, why) in [
        (
            [&token("jobpass-minter")[..], &uid].concat(),
            String::new(),
            of_job,
        ),
        (
            [&token("jobpass-sweeper")[..], &uid].concat(),
            String::new(),
            of_job,
        ),
        (delete("rolebinding", "jobpass-sweeper"), String::new(), single),
        (delete("role", "jobpass-minter.with-rules"), String::new(), single),
        (delete("serviceaccount", "jobpass-minter"), String::new(), single),
        (create.to_vec(), role("for-ever", &owner("for-ever")), single),
        (create.to_vec(), role(free, "labels: {}"), "owned by its anchor"),
        (
            create.to_vec(),
            role(free, &owner("another")),
            "owned by its anchor",
        ),
        (
            create.to_vec(),
            binding(free, &job, "jobpass-sweeper"),
            "gives the job's Role to the job's ServiceAccount",
        ),
        (
            create.to_vec(),
            binding(free, &job, free),
            "gives the job's Role to the job's ServiceAccount",
        ),
    ] {
        let (done, said) = kubectl(&minter, &arguments, &manifest);
        assert!(!done && said.contains(why), "{arguments:?} {manifest}: {said}");
    }
    assert!(kubectl(&minter, &[&token(&job)[..], &uid].concat(), "").0);

    step.post().succeeded();
    assert_eq!(left(&desk.cluster), "");
}

/// One minter, for a ServiceAccount that all jobs share and for jobs with rules.
#[test]
fn both() {
    let desk = Desk::new();
    desk.setup(&[&super::MINTER, &["--rules", RULES, "--apply"]])
        .succeeded();
    let minter = fs::read_to_string(desk.account("jobpass-minter")).expect("a kubeconfig");
    for input in [("service-account", "scanner"), ("rules", RULES)] {
        let step = Step::with(&[("namespace", "ci"), ("kubeconfig", &minter), input]);
        step.main().succeeded();
        step.post().succeeded();
    }
    assert_eq!(left(&desk.cluster), "");
}
