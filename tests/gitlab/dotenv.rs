//! GitLab's rules for dotenv reports. If the report would break one, jobpass must fail before it mints. If
//! only the token breaks one, jobpass must revoke the token.

use std::{fs, os::unix::fs::symlink};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;

use super::{
    job::Job,
    life::{assert_dead, says},
};

use crate::cluster::Cluster;

/// The file that marks that a job has begun to mint. The end of the job removes it.
const BEGUN: &str = "jobpass-7001.begun";

#[rstest]
#[case::key("dashed-key=1\n", &[], "whose line 1 is not `KEY=value`")]
#[case::no_value("A=1\nB\n", &[], "whose line 2 is not `KEY=value`")]
#[case::no_key("=1\n", &[], "whose line 1 is not `KEY=value`")]
#[case::export("export A=1\n", &[], "whose line 1 is not `KEY=value`")]
#[case::comment("# who wrote this\n", &[], "whose line 1 is a comment")]
#[case::blank("A=1\n\nB=2\n", &[], "whose line 2 is blank")]
#[case::taken("JOBPASS_TOKEN=1\n", &[], "which sets JOBPASS_TOKEN already")]
#[case::another_anchor("JOBPASS_ANCHOR=ci/x\n", &[], "which sets JOBPASS_ANCHOR already")]
#[case::same_name("A=1\n", &[("variable", "A")], "which sets A already")]
#[case::dashed("", &[("variable", "SCAN-TOKEN")], "input `variable` is `SCAN-TOKEN`: no variable can have this name")]
#[case::digit("", &[("variable", "1ST")], "input `variable` is `1ST`: no variable can have this name")]
#[case::own("", &[("variable", "JOBPASS_ANCHOR")], "which jobpass uses for something else")]
#[case::option("", &[("variable", "JOBPASS_TOKEN_FILE")], "which jobpass uses for something else")]
#[case::set_already("", &[("variable", "CI_PIPELINE_ID")], "a variable that this job already has")]
#[case::mode("", &[("dotenv-mode", "base64")], "input `dotenv-mode` is `base64`")]
#[case::no_recipient("", &[("dotenv-mode", "sealed")], "input `recipient` is missing")]
#[case::recipient("", &[("dotenv-mode", "sealed"), ("recipient", "age1x")], "input `recipient` is not an age public key")]
#[case::ssh("", &[("dotenv-mode", "sealed"), ("recipient", "ssh-ed25519 AAAA")], "input `recipient` is not an age public key")]
#[case::not_sealed("", &[("recipient", "age1x")], "input `recipient` is given, but `dotenv-mode` is not `sealed`")]
#[case::identity("", &[("variable", "JOBPASS_IDENTITY")], "which jobpass uses for something else")]
#[case::no_folder("", &[("dotenv", "no/such/jobpass.env")], "whose folder does not exist")]
#[case::outside("", &[("dotenv", "../jobpass.env")], "outside of the project's folder")]
#[case::folder("", &[("dotenv", ".")], "outside of the project's folder")]
fn a_report_that_gitlab_would_refuse(
    #[case] existing: &str,
    #[case] options: &[(&str, &str)],
    #[case] problem: &str,
) {
    let mut job = refusing(problem);
    job.job.options(options);
    if !existing.is_empty() {
        fs::write(job.job.project().join("jobpass.env"), existing).expect("written");
    }
    job.assert_refused();
    assert_eq!(
        fs::read_to_string(job.job.project().join("jobpass.env")).unwrap_or_default(),
        existing
    );
}

#[test]
fn a_report_with_too_many_variables() {
    let job = refusing("which would have 21 variables");
    let full = (0..16).map(|n| format!("A{n}=1\n")).collect::<String>();
    fs::write(job.job.project().join("jobpass.env"), full).expect("written");
    job.assert_refused();
}

#[test]
fn a_report_with_too_much_text() {
    for size in [5080, 5120, 100_000] {
        let job = refusing("GitLab accepts reports of less than 5120");
        let full = format!("A={}\n", "x".repeat(size));
        fs::write(job.job.project().join("jobpass.env"), full).expect("written");
        job.assert_refused();
    }
}

#[test]
fn a_report_that_is_no_file() {
    let job = refusing("which is not a regular file");
    symlink("/etc/passwd", job.job.project().join("jobpass.env")).expect("linked");
    job.assert_refused();
    let job = refusing("which is not a regular file");
    fs::create_dir(job.job.project().join("jobpass.env")).expect("made");
    job.assert_refused();
    let job = refusing("which is not text");
    fs::write(job.job.project().join("jobpass.env"), b"A=\xff\n").expect("written");
    job.assert_refused();
}

#[test]
fn lines_of_other_commands_stay() {
    let cluster = Cluster::start();
    let minting = Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    // The file has no line break at its end, has quotes that GitLab takes literally, and is readable for all
    // users.
    fs::write(minting.project().join("jobpass.env"), "VERSION=1.2\nNAME=\"a b\"").expect("written");
    minting.mint().succeeded();
    let variables = minting.dotenv();
    assert_eq!((&*variables["VERSION"], &*variables["NAME"]), ("1.2", "\"a b\""));
    assert_eq!(variables.len(), 9);
    minting.revoke("failed", &[]).succeeded();
    assert_dead(&cluster);
}

/// Only the cluster knows how long the token will be.
#[test]
fn a_token_that_does_not_fit_is_revoked() {
    let cluster = Cluster::start();
    let minting = Job::with(&cluster, &[("dotenv", "jobpass.env"), ("token-file", "true")]);
    let existing = format!("A={}\n", "x".repeat(4600));
    fs::write(minting.project().join("jobpass.env"), &existing).expect("written");
    let mint = minting.mint();
    assert_eq!(mint.code(), 6, "{}", mint.log);
    says(&mint, &["GitLab accepts reports of less than 5120"]);
    assert_eq!(cluster.issued().len(), 1);
    assert_dead(&cluster);
    assert_eq!(minting.left_in_temp(), [BEGUN]);
    assert_eq!(
        fs::read_to_string(minting.project().join("jobpass.env")).expect("the report"),
        existing
    );
}

/// In mode `masked`, jobpass hands over no token that a runner would mask only in part.
#[test]
fn a_token_that_runners_would_not_mask_is_revoked() {
    let cluster = Cluster::start();
    cluster.inject(Fault {
        method: "POST",
        path_contains: "/token".into(),
        times: 1,
        kind: FaultKind::RewriteBody(|body| {
            let token = format!("{}~", body["status"]["token"].as_str().unwrap_or_default());
            body["status"]["token"] = token.into();
        }),
    });
    let minting = Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    let mint = minting.mint();
    assert_ne!(mint.code(), 0, "{}", mint.log);
    minting.assert_nothing_leaked(&cluster, &mint);
    assert_dead(&cluster);
    assert!(minting.left_in_project().is_empty());
}

/// A job that jobpass must refuse.
struct Refusing {
    cluster: Cluster,
    job: Job,
    problem: String,
}

fn refusing(problem: &str) -> Refusing {
    let cluster = Cluster::start();
    let job = Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    Refusing {
        cluster,
        job,
        problem: problem.to_owned(),
    }
}

impl Refusing {
    fn assert_refused(&self) {
        let mint = self.job.mint();
        assert_eq!(mint.code(), 2, "{}", mint.log);
        says(&mint, &[&self.problem]);
        assert!(self.cluster.requests().is_empty(), "{}", mint.log);
        assert_eq!(self.job.left_in_temp(), [BEGUN]);
    }
}
