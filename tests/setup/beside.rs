//! Several set-ups in one namespace, a set-up that replaces another, and the moments at which each comes into
//! effect.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use jobpass_devkit::FaultKind;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Desk, MINTER, SCANNER, only_asks};
use crate::faults::api::inject;

const JOBS: [&str; 2] = ["--role-rules", "get pods\nget configmaps shared"];
const DEPLOYER: [&str; 4] = ["--service-account", "deployer", "--duration", "2h"];

fn mint(desk: &Desk, minter: &str, more: &[&str]) -> crate::github::step::Ended {
    let arguments = ["mint", "--kubeconfig", minter, "--token-file", "token"];
    let ended = desk.jobpass(&[&arguments[..], more].concat());
    if ended.code() == 0 {
        desk.jobpass(&["revoke", "--token-file", "token"]).succeeded();
    }
    ended
}

/// The test applies three set-ups for one minter, in two orders. No set-up removes a permission of another.
#[rstest]
#[case(&[&SCANNER[..], &JOBS, &DEPLOYER])]
#[case(&[&DEPLOYER[..], &SCANNER, &JOBS])]
fn each_set_up_gives_what_it_gave_alone(#[case] set_ups: &[&[&str]]) {
    let desk = Desk::new();
    for set_up in set_ups {
        desk.setup(&[set_up, &MINTER, &["--apply"]]).succeeded();
    }
    desk.setup(&[&SCANNER, &JOBS, &MINTER, &["--diff"]]).succeeded();
    desk.account("jobpass-minter");
    let jobs = ["--role-rules", "get pods"];
    for whose in [&SCANNER[..], &jobs, &DEPLOYER] {
        let minted = mint(&desk, "jobpass-minter", whose);
        assert_eq!(minted.code(), 0, "{whose:?}: {}", minted.log);
    }
    // Each account has its own longest lifetime.
    let longer = mint(
        &desk,
        "jobpass-minter",
        &[&SCANNER[..], &["--duration", "2h"]].concat(),
    );
    assert_eq!(longer.code(), 4, "{}", longer.log);
    assert!(longer.log.contains("is 1 h at most"), "{}", longer.log);
    let more = mint(
        &desk,
        "jobpass-minter",
        &["--role-rules", "get pods\nget configmaps"],
    );
    assert!(
        more.log.contains("that `jobpass setup --role-rules` listed")
            || more.log.contains("not currently held"),
        "{}",
        more.log
    );

    // The other minter for jobs may use only the accounts of jobs.
    let other = ["--minter", "serviceaccount:other-minter"];
    let refused = desk.setup(&[&JOBS, &other, &["--apply"]]);
    assert_eq!(refused.code(), 5, "{}", refused.log);
    desk.setup(&[&JOBS, &MINTER, &other, &["--apply"]]).succeeded();
    desk.account("other-minter");
    let minted = mint(&desk, "other-minter", &jobs);
    assert_eq!(minted.code(), 0, "{}", minted.log);
    let refused = mint(&desk, "other-minter", &SCANNER);
    assert_eq!(refused.code(), 4, "{}", refused.log);
    assert!(
        refused
            .log
            .contains("or for a ServiceAccount of `jobpass setup --service-account`"),
        "{}",
        refused.log
    );
}

#[test]
fn nothing_is_taken_away_unless_that_is_said() {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    let others = ["--minter", "user:jane", "--minter", "group:it's"];
    let more = [
        "--duration",
        "2h",
        "--audiences",
        "vault, https://it's.example.com",
    ];
    desk.setup(&[&SCANNER, &JOBS, &MINTER, &others, &more, &["--apply"]])
        .succeeded();
    let before = desk.cluster.requests().len();
    let less = [
        &SCANNER[..],
        &["--role-rules", "get pods"],
        &MINTER,
        &["--audiences", "vault"],
    ]
    .concat();
    let stopped = desk.setup(&[&less, &["--apply"]]);
    assert_eq!(stopped.code(), 5, "{}", stopped.log);
    for loss in [
        "user:jane can mint tokens of scanner now, but not after this set-up",
        "group:it's can mint tokens of scanner now, but not after this set-up",
        "tokens of scanner can live for 2 h now, but only for 1 h after this set-up",
        "tokens of scanner can have the audience https://it's.example.com now, but not after this set-up",
        "user:jane can mint tokens for jobs with rules now, but not after this set-up",
        "jobs with rules can get `get configmaps shared` now, but not after this set-up",
        "To remove them, add `--replace`",
    ] {
        assert!(stopped.log.contains(loss), "{loss}: {}", stopped.log);
    }
    assert!(!stopped.log.contains("jobpass-minter can"), "{}", stopped.log);
    let asked = desk.cluster.requests();
    assert!(asked[before..].iter().all(only_asks), "{asked:?}");

    // An extension for the same minters removes no permission.
    let more = ["--duration", "3h", "--minter", "user:joe"];
    desk.setup(&[&SCANNER, &JOBS, &MINTER, &others, &more, &["--apply"]])
        .succeeded();
    let replaced = desk.setup(&[&less, &["--apply", "--replace"]]).succeeded();
    let line = format!("changed    RoleBinding {namespace}/jobpass-minter-scanner: subjects\n");
    assert!(replaced.log.contains(&line), "{}", replaced.log);
    desk.setup(&[&less, &["--diff"]]).succeeded();
}

/// To see whether the policies for jobs with rules are in effect, `setup` requests a token of the account
/// `default`, which every namespace has, and expects a refusal. In this test, the minter may get tokens of
/// `default`, so the request must break another rule of the policy.
#[test]
fn jobs_can_have_rules_beside_the_account_default() {
    let desk = Desk::new();
    let account = ["--service-account", "default"];
    let rules = ["--role-rules", "get pods", "--apply"];
    desk.setup(&[&account, &MINTER, &rules]).succeeded();
}

/// An earlier set-up lets the minter get tokens of `default`.
#[test]
fn jobs_can_have_rules_beside_a_set_up_for_the_account_default() {
    let desk = Desk::new();
    for what in [["--service-account", "default"], ["--role-rules", "get pods"]] {
        desk.setup(&[&what, &MINTER, &["--apply"]]).succeeded();
    }
}

/// No ServiceAccount of jobs may become a minter, because a job could then mint tokens that outlive it.
/// jobpass refuses this in one command, so it must also refuse it in two.
#[test]
fn no_job_of_one_set_up_mints_by_another() {
    let desk = Desk::new();
    let namespace = desk.cluster.namespace();
    desk.setup(&[&SCANNER, &MINTER, &["--apply"]]).succeeded();
    let before = desk.cluster.requests().len();
    let group = format!("group:system:serviceaccounts:{namespace}");
    let elsewhere = desk.cluster.other_namespace("elsewhere");
    let account = format!("serviceaccount:{namespace}/scanner");
    let of_minter = ["--service-account", "jobpass-minter"];
    let scanner = ["--minter", "serviceaccount:scanner"];
    let other = ["--minter", "serviceaccount:other-minter"];
    let in_another = |minter: &str| {
        let setup = ["setup", "--namespace", &elsewhere, "--minter", minter];
        desk.jobpass(&[&setup[..], &JOBS, &["--apply", "--kubeconfig", "admin.yaml"]].concat())
    };
    let refused = [
        desk.setup(&[&JOBS, &scanner, &["--apply", "--replace"]]),
        desk.setup(&[&DEPLOYER, &scanner, &["--apply"]]),
        desk.setup(&[&of_minter, &other, &["--apply"]]),
        in_another(&account),
        in_another(&group),
    ];
    for refused in refused {
        assert_eq!(refused.code(), 2, "{}", refused.log);
        let why = format!("RoleBinding {namespace}/jobpass-minter-scanner");
        assert!(
            refused.log.contains(&why) && refused.log.contains("tokens for itself that outlive the job"),
            "{}",
            refused.log
        );
    }
    let asked = desk.cluster.requests();
    assert!(asked[before..].iter().all(only_asks), "{asked:?}");

    // The command in a job's error does not make the job a minter either.
    desk.account("jobpass-minter");
    let by = ["mint", "--namespace", namespace, "--kubeconfig"];
    let minted = [&by[..], &["jobpass-minter", "--kubeconfig-file", "job"], &SCANNER].concat();
    desk.jobpass(&minted).succeeded();
    for asked in [&JOBS, &of_minter] {
        let refused = desk.jobpass(&[&by[..], &["job", "--token-file", "loot"], asked].concat());
        assert_eq!(refused.code(), 4, "{}", refused.log);
        assert!(
            refused
                .log
                .contains("--minter serviceaccount:jobpass-minter --apply")
                && refused.log.contains("use the minter's own"),
            "{}",
            refused.log
        );
        let doctor = desk.jobpass(&[&["doctor"], &by[1..], &["job"], asked].concat());
        assert!(
            doctor
                .log
                .contains("--minter serviceaccount:jobpass-minter --apply")
                && !doctor.log.contains("/scanner --apply"),
            "{}",
            doctor.log
        );
    }
}

/// A minter has its credential before the set-up, and sends requests all the time. They must never succeed.
#[rstest]
#[case::for_an_account(&SCANNER, &["serviceaccounts/scanner/token", "secrets?dryRun=All"])]
#[case::for_jobs(&JOBS, &["serviceaccounts/default/token", "secrets?dryRun=All", "roles?dryRun=All"])]
fn no_minter_may_do_more_at_any_moment(#[case] what: &[&str], #[case] paths: &[&str]) {
    let desk = Desk::new();
    desk.cluster.apply(
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: scanner, namespace: NAMESPACE}}\n---\n\
         {apiVersion: v1, kind: ServiceAccount, metadata: {name: jobpass-minter, namespace: NAMESPACE}}\n---\n\
         {apiVersion: v1, kind: ServiceAccount, metadata: {name: second-minter, namespace: NAMESPACE}}",
    );
    let second = ["--minter", "serviceaccount:second-minter"];
    let done = AtomicBool::new(false);
    let (done, desk) = (&done, &desk);
    thread::scope(|scope| {
        let mut attacks = Vec::new();
        for minter in ["jobpass-minter", "second-minter"] {
            let token = desk.token(minter);
            attacks.extend(paths.iter().map(|path| {
                let token = token.clone();
                scope.spawn(move || attack(desk, &token, path, done))
            }));
        }
        // The test applies the set-up for one minter, adds a second minter, and removes the first.
        desk.setup(&[what, &MINTER, &["--apply"]]).succeeded();
        desk.setup(&[what, &MINTER, &second, &["--apply"]]).succeeded();
        desk.setup(&[what, &second, &["--apply", "--replace"]])
            .succeeded();
        done.store(true, Ordering::Relaxed);
        for attack in attacks {
            let (refused, by_policy) = attack.join().expect("nothing was granted");
            assert!(refused > by_policy && by_policy > 0, "{refused} {by_policy}");
        }
    });
}

/// Sends a request again and again until `done` is true, and panics if one succeeds. Returns the number of
/// refusals, and the number of refusals by a policy.
fn attack(desk: &Desk, token: &str, path: &str, done: &AtomicBool) -> (usize, usize) {
    let root = if path.starts_with("roles") {
        "apis/rbac.authorization.k8s.io"
    } else {
        "api"
    };
    let path = format!("/{root}/v1/namespaces/{}/{path}", desk.cluster.namespace());
    let body = json!({ "metadata": { "name": "loot" }, "rules": [], "spec": {} });
    let body = match path.ends_with("/token") {
        true => json!({ "spec": { "expirationSeconds": 172_800 } }),
        false => body,
    };
    let headers = [("content-type", "application/json")];
    let (mut refused, mut by_policy) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let (status, answer) = desk
            .cluster
            .ask_with(token, "POST", &path, &headers, &body.to_string());
        assert!(matches!(status, 403 | 422), "{path}: {status} {answer}");
        refused += 1;
        by_policy += usize::from(status == 422);
    }
    (refused, by_policy)
}

#[test]
fn nobody_is_bound_to_policies_that_do_nothing() {
    let desk = Desk::new();
    // An API server without policies answers like this.
    let created = FaultKind::Answer {
        status: 201,
        headers: Vec::new(),
        body: "{}".into(),
    };
    inject(&desk.cluster, "POST", "/secrets?dryRun=All", 999, created);
    let stopped = desk.setup(&[&SCANNER, &MINTER, &["--apply"]]);
    assert_eq!(stopped.code(), 4, "{}", stopped.log);
    assert!(
        stopped
            .log
            .contains("could create a Secret that is not an anchor")
            && stopped.log.contains("jobpass gave no new minter its permissions"),
        "{}",
        stopped.log
    );
    let bound = [
        "get",
        "rolebinding/jobpass-minter-scanner",
        "--output",
        "jsonpath={.subjects}",
    ];
    assert_eq!(desk.admin(&bound), "");
}

/// An administrator who may not impersonate has to wait, and jobpass says why.
#[test]
fn an_administrator_who_may_not_impersonate_waits() {
    let desk = Desk::new();
    desk.cluster.apply(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE-half-an-administrator}
rules:
- apiGroups: ["", rbac.authorization.k8s.io, admissionregistration.k8s.io]
  resources: [namespaces, serviceaccounts, roles, rolebindings, validatingadmissionpolicies, validatingadmissionpolicybindings]
  verbs: ["*"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-half-an-administrator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-half-an-administrator}
subjects: [{kind: ServiceAccount, name: half, namespace: NAMESPACE}]
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: half, namespace: NAMESPACE}}
"#,
    );
    std::fs::rename(desk.account("half"), desk.folder.path().join("admin.yaml")).expect("moved");
    let begun = std::time::Instant::now();
    let applied = desk.setup(&[&SCANNER, &MINTER, &["--apply"]]).succeeded();
    assert!(
        applied
            .log
            .contains("could not see whether the policies were in effect")
            && applied.log.contains("cannot impersonate"),
        "{}",
        applied.log
    );
    assert!(begun.elapsed() > Duration::from_secs(10), "{:?}", begun.elapsed());
    let (_, binding) = desk.cluster.ask(
        "GET",
        &format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings/jobpass-minter-scanner",
            desk.cluster.namespace()
        ),
        None,
    );
    let names = binding["subjects"].as_array().expect("a list").iter();
    let names = names.map(|subject| &subject["name"]).collect::<Vec<&Value>>();
    assert_eq!(names, ["jobpass-minter"]);
}
