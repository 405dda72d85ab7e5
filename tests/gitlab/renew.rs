//! `renew-for` on GitLab: jobs that last longer than their tokens. jobpass masks each of the job's tokens in
//! the log.

use jobpass_tests::runner::gitlab::Status;
use rstest::rstest;

use super::{
    harness::{Project, says},
    job::Job,
    pipeline::RUN_SCAN,
};
use crate::{cluster::Cluster, leaks::corpus::pieces, support::assert_one_anchor_gone};

#[rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox-sh")]
fn a_long_job_shows_none_of_its_tokens(#[case] shell: &str) {
    let (before, _) = RUN_SCAN.split_once("    - kubectl").expect("a script");
    let before = before.replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      renew-for: 6h\n",
    );
    let script = r#"    - |
      seen= tokens=0
      while [ "$tokens" -lt 4 ]; do
        token=$(cat "$JOBPASS_TOKEN_FILE")
        if [ "$token" != "$seen" ]; then
          seen=$token tokens=$((tokens + 1))
          echo "token $tokens: $token"; echo "$token" | base64
          kubectl get pods > pods
        fi
        sleep 0.05
        first=${first:-$token}
      done
      echo "late: $(echo "$first" | jobpass-gitlab mask | wc -c | tr -d ' ') bytes"
"#;
    let project = Project::at(Cluster::hasty(), &(before + script));
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &[
            "token 4: [MASKED]",
            // A filter that starts after a renewal also masks the first token.
            "late: 9 bytes",
            "; renewed before then, for 6 h;",
            " renewal",
        ],
    );
    for token in project.cluster.issued() {
        assert_eq!(
            pieces(&token, &ended.job("run_scan").raw),
            [""; 0],
            "{}",
            ended.log()
        );
    }
    assert_one_anchor_gone(&project.cluster, &ended.log());
}

#[test]
fn a_token_for_later_jobs_cannot_be_renewed() {
    let cluster = Cluster::hasty();
    let job = Job::with(&cluster, &[("renew-for", "6h"), ("token-file", "true")]);
    let ended = job.run(&["mint", "--dotenv", "jobpass.env"]);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(
        ended
            .log
            .contains("input `renew-for` is given together with `dotenv`"),
        "{}",
        ended.log
    );
    assert!(cluster.issued().is_empty());
}
