//! Tokens that a job gets after its filter has begun: its script mints again, opens a token of another job,
//! or runs `jobpass`.

use std::fs;

use jobpass_tests::runner::gitlab::{Ended, Status};
use rstest::rstest;

use super::{
    harness::{Project, says},
    pipeline::RUN_SCAN,
};
use crate::{cluster::Cluster, leaks::corpus::pieces, support};

/// Runs a job with this script, without the variables in which the template names the token's files. Panics
/// if the job fails, or if its log shows a piece of one of the tokens.
fn run(cluster: Cluster, script: &str, shell: &str) -> (Project, Ended) {
    let (before, _) = RUN_SCAN.split_once("    - kubectl").expect("a script");
    let commands = script
        .trim()
        .lines()
        .map(|line| format!("      {}\n", line.trim()));
    let pipeline = format!(
        "{before}    - unset JOBPASS_TOKEN_FILE JOBPASS_KUBECONFIG_FILE\n    - |\n{}",
        commands.collect::<String>()
    );
    // `jobpass` is beside `jobpass-gitlab`.
    support::binary("jobpass");
    let project = Project::at(cluster, &pipeline);
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    for token in project.cluster.issued() {
        let raw = &ended.job("run_scan").raw;
        assert_eq!(pieces(&token, raw), [""; 0], "{}", ended.log());
    }
    (project, ended)
}

#[rstest]
#[case::for_this_job(
    "jobpass-gitlab mint --token-file t; cat \"$CI_PROJECT_DIR.tmp/t\"; echo \"it is $(cat \"$CI_PROJECT_DIR.tmp/t\")\""
)]
#[case::for_later_jobs(
    "jobpass-gitlab mint --dotenv later.env --dotenv-mode plain --variable LATER; . ./later.env; echo \"it is $LATER\"; \
    jobpass-gitlab revoke"
)]
#[case::of_the_command_line(
    "jobpass mint --kubeconfig \"$JOBPASS_KUBECONFIG\" --token-file t
    echo \"it is $(cat t)\"
    base64 t
    jobpass revoke --kubeconfig \"$JOBPASS_KUBECONFIG\" --token-file t"
)]
#[case::of_a_command(
    "jobpass exec --kubeconfig \"$JOBPASS_KUBECONFIG\" -- sh -c 'cat $JOBPASS_TOKEN_FILE > t'
    echo \"it is $(cat t)\""
)]
fn a_token_that_the_script_mints_is_masked(
    #[case] script: &str,
    #[values("bash", "dash", "busybox-sh")] shell: &str,
) {
    let (project, ended) = run(Cluster::start(), script, shell);
    says(&ended, "run_scan", &["it is [MASKED]"]);
    assert_eq!(project.cluster.issued().len(), 2);
    assert!(project.cluster.anchors().is_empty(), "{}", ended.log());
    let left = fs::read_dir(ended.folder().join("7001/scan.tmp")).expect("a folder");
    let left = left.flatten().map(|entry| entry.file_name());
    assert_eq!(left.collect::<Vec<_>>(), [""; 0], "{}", ended.log());
}

/// The script mints a second token, and the guard of the second token renews it.
#[test]
fn a_renewed_token_of_the_script_s_own_is_masked() {
    let script = r#"
      jobpass-gitlab mint --token-file t --renew-for 6h
      seen= tokens=0
      while [ "$tokens" -lt 5 ]; do
        token=$(cat "$CI_PROJECT_DIR.tmp/t")
        [ "$token" = "$seen" ] || { seen=$token tokens=$((tokens + 1)); echo "token $tokens: $token"; }
        sleep 0.05
      done"#;
    let (_, ended) = run(Cluster::hasty(), script, "bash");
    says(&ended, "run_scan", &["token 5: [MASKED]"]);
}

#[test]
fn a_token_that_the_script_opens_is_masked() {
    // Without the journal's path, `mint` does not announce this token to the filter.
    let script = r#"
      env -u JOBPASS_MASK_JOURNAL jobpass-gitlab mint --dotenv later.env --dotenv-mode plain --variable LATER
      export "$(grep ^LATER= later.env)"
      jobpass-gitlab open --variable LATER --token-file opened
      echo "it is $(cat "$CI_PROJECT_DIR.tmp/opened")""#;
    let (_, ended) = run(Cluster::start(), script, "bash");
    says(&ended, "run_scan", &["it is [MASKED]"]);
}

/// The filter does not start if other users can write the journal, and the script does not run without the
/// filter.
#[test]
fn a_journal_that_others_could_write_ends_the_job_before_its_script() {
    let (before, after) = RUN_SCAN.split_once("  script:").expect("a script");
    let before = before.replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      renew-for: 6h\n",
    );
    let change = "  before_script:\n    - jobpass-gitlab mint\n    - chmod 666 \"$CI_PROJECT_DIR.tmp\"/*.journal\n    \
                  - jobpass_mask=\"$(jobpass-gitlab mask --shell)\"\n    - eval \"$jobpass_mask\"\n";
    let project = Project::with_pipeline(&format!("{before}{change}  script:{after}"));
    let ended = project.ended(project.runner().start());
    assert_eq!(ended.status, Status::Failed, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &[
            "cannot trust the journal of the renewed token, `",
            "because other users may write to it (mode 666)",
            "only jobpass may change that file",
        ],
    );
    assert!(project.cluster.anchors().is_empty(), "{}", ended.log());
}
