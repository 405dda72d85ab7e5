//! Jobs without a stored secret. The API server accepts their ID tokens, because of the file and the objects
//! that `setup` writes.

use std::{collections::BTreeSet, fs, path::Path};

use jobpass_devkit::issuer::Issuer;
use rstest::rstest;

use super::{Desk, SCANNER};
use crate::{cluster::Cluster, github::step::Ended, leaks::assert_absent};

const AUDIENCE: [&str; 2] = ["--oidc-audience", "https://kubernetes.example.com"];
const GITHUB: &[&str] = &[
    "--repository-id",
    "2",
    "--repository-id",
    "5",
    "--owner-id",
    "1",
    "--ref",
    "refs/heads/main",
];
const ENTERPRISE: &[&str] = &[
    "--repository-id",
    "2",
    "--issuer",
    "https://github.example.com/_services/token",
    "--ref",
    "protected",
];
const GITLAB: &[&str] = &[
    "--project-id",
    "7",
    "--issuer",
    "https://gitlab.example.com",
    "--owner-id",
    "3",
    "--ref",
    "refs/heads/main",
];

const SHARED: &str = "team/shared/.github/workflows/scan.yml@refs/tags/v1";
const WORKFLOWS: &[&str] = &[
    "--repository-id",
    "2",
    "--workflow-ref",
    "team/app/.github/workflows/scan.yml@refs/heads/main",
    "--job-workflow-ref",
    SHARED,
    "--job-workflow-ref",
    "team/shared/.github/workflows/scan.yml@refs/tags/v2",
    "--property",
    "env=prod",
];

/// A cluster with a set-up from `options`, for jobs with an ID token.
struct Trusting {
    desk: Desk,
}

impl Trusting {
    fn set_up(options: &[&str]) -> Self {
        let desk = Desk::at(Cluster::trusting());
        desk.setup(&[&SCANNER, options, &AUDIENCE, &["--apply"]])
            .succeeded();
        let file = desk.printed(&[&SCANNER, options, &AUDIENCE, &["--authentication-config"]]);
        desk.cluster.trust(&file);
        fs::write(desk.folder.path().join("authentication.yaml"), file).expect("written");
        Self { desk }
    }

    fn mint(&self, issuer: &Issuer) -> Ended {
        self.run("mint", issuer, &["--token-file", "token"])
    }

    fn doctor(&self, issuer: &Issuer) -> Ended {
        self.run(
            "doctor",
            issuer,
            &["--authentication-config", "authentication.yaml"],
        )
    }

    fn run(&self, verb: &str, issuer: &Issuer, more: &[&str]) -> Ended {
        let folder = self.desk.folder.path();
        let write = |name: &str, text: &str| fs::write(Path::new(folder).join(name), text).expect("written");
        let id_token = issuer.id_token(AUDIENCE[1]);
        write("id-token", &id_token);
        write("ca.pem", &self.desk.cluster.ca_pem());
        let server = self.desk.cluster.url();
        let minter = [
            "--service-account",
            "scanner",
            "--namespace",
            self.desk.cluster.namespace(),
            "--server",
            &server,
            "--certificate-authority",
            "ca.pem",
            "--bearer-token-file",
            "id-token",
        ];
        let ended = self.desk.jobpass(&[&[verb], &minter[..], more].concat());
        assert_absent(&id_token, "what it printed", &ended.log);
        ended
    }
}

/// The API server accepts only the jobs of the set-up. Each of `others` is a claim of another job.
#[rstest]
#[case::github(GITHUB, Issuer::github(), &[
    ("repository_id", "3"),
    ("repository_owner_id", "9"),
    ("ref", "refs/heads/other"),
    ("ref", "refs/tags/main"),
])]
#[case::enterprise(
    ENTERPRISE,
    Issuer::github_enterprise("github.example.com"),
    &[("ref_protected", "false")]
)]
#[case::workflows(
    WORKFLOWS,
    Issuer::github().claim("repo_property_env", "prod").claim("job_workflow_ref", SHARED),
    &[
        ("workflow_ref", "team/app/.github/workflows/other.yml@refs/heads/main"),
        ("workflow_ref", "team/app/.github/workflows/scan.yml@refs/heads/other"),
        ("job_workflow_ref", "team/app/.github/workflows/scan.yml@refs/heads/main"),
        ("repo_property_env", "test"),
    ]
)]
#[case::gitlab(GITLAB, Issuer::gitlab("gitlab.example.com"), &[
    ("project_id", "8"),
    ("namespace_id", "4"),
    ("ref_path", "refs/tags/main"),
])]
fn jobs_are_let_in_and_others_are_not(
    #[case] options: &[&str],
    #[case] issuer: Issuer,
    #[case] others: &[(&str, &str)],
) {
    let trusting = Trusting::set_up(options);
    let cluster = &trusting.desk.cluster;
    for (claim, value) in others {
        let other = issuer.clone().claim(claim, *value);
        let refused = trusting.mint(&other);
        assert_eq!(refused.code(), 4, "{}", refused.log);
        let said = "the API server answered 401";
        assert!(refused.log.contains(said), "{}", refused.log);
        let said = format!("in the token, {claim} is {value}; the file wants ");
        says_alone(&trusting.doctor(&other), &said);
    }
    assert!(cluster.issued().is_empty());

    let doctor = trusting.doctor(&issuer).succeeded();
    assert!(
        !doctor.log.contains("doctor cannot evaluate this expression"),
        "{}",
        doctor.log
    );
    trusting.mint(&issuer).succeeded();
    let revoked = trusting
        .desk
        .jobpass(&["revoke", "--token-file", "token"])
        .succeeded();
    assert!(cluster.anchors().is_empty(), "{}", revoked.log);
    assert!(!cluster.issued().iter().any(|token| cluster.accepts(token)));
}

/// The API server answers 401 to the ID token of each case. doctor finds the cause in the file that
/// configures the API server, or in the token.
#[test]
fn what_does_not_fit_is_named() {
    let trusting = Trusting::set_up(GITHUB);
    for (issuer, said) in [
        (
            Issuer::github().claim("aud", "another"),
            "the token has another; the file wants https://kubernetes.example.com",
        ),
        (
            Issuer::github_enterprise("github.example.com"),
            "the token has https://github.example.com/_services/token; the file wants \
             https://token.actions.githubusercontent.com",
        ),
        (
            Issuer::github().expired(),
            "ID token of https://token.actions.githubusercontent.com for https://kubernetes.example.com, expired 1 min",
        ),
    ] {
        let refused = trusting.mint(&issuer);
        assert_eq!(refused.code(), 4, "{}", refused.log);
        says_alone(&trusting.doctor(&issuer), said);
    }
}

/// Asserts that doctor names this fault and the API server's refusal, and no other fault.
#[track_caller]
fn says_alone(doctor: &Ended, said: &str) {
    assert_eq!(doctor.code(), 4, "{}", doctor.log);
    let failed = doctor.log.lines().filter(|line| line.starts_with("failed "));
    let failed = failed.filter(|line| !line.contains("the API server answered 401"));
    let failed = failed.collect::<Vec<_>>();
    assert!(matches!(*failed, [line] if line.contains(said)), "{}", doctor.log);
}

/// The file of `setup` uses only claims that do not depend on the form of GitHub's `sub`.
#[test]
fn every_form_of_a_subject_is_let_in() {
    let trusting = Trusting::set_up(GITHUB);
    for subject in [
        "repo:team/app:ref:refs/heads/main",
        "repo:team@1/app@2:ref:refs/heads/main",
        "repository_owner:team:repository_visibility:private",
    ] {
        let issuer = Issuer::github().claim("sub", subject);
        trusting.doctor(&issuer).succeeded();
    }
}

/// The ID tokens of github.com contain the id of the job's check run, which differs even between the jobs of
/// a matrix. The audit log shows this id.
#[test]
fn the_audit_log_names_the_job() {
    let trusting = Trusting::set_up(GITHUB);
    trusting.doctor(&Issuer::github()).succeeded();
    // The ID tokens of a GitHub Enterprise Server do not have this id.
    trusting
        .doctor(&Issuer::github().without("check_run_id"))
        .succeeded();
    let events = trusting.desk.cluster.audit().into_iter();
    let jobs = events.filter(|event| event["user"]["username"] == "ci:github:2");
    let jobs = jobs.map(|event| {
        let extra = &event["user"]["extra"];
        assert_eq!(extra["jobpass.dev/run-id"][0], "77", "{extra}");
        let id = extra["jobpass.dev/check-run-id"][0].as_str();
        id.map(str::to_owned)
    });
    let expected = [None, Some("51725241954".to_owned())];
    assert_eq!(jobs.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
}

/// Only jobs with an environment have the claim `environment`.
#[test]
fn a_job_outside_of_the_environment_is_refused() {
    let options = ["--repository-id", "2", "--environment", "production"];
    let issuer = Issuer::github();
    let trusting = Trusting::set_up(&options);
    assert_eq!(trusting.mint(&issuer).code(), 4);
    trusting
        .mint(&issuer.claim("environment", "production"))
        .succeeded();
}
