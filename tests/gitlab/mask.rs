//! The filter, which masks the log of a job while the job writes it. It runs on the GitLab runner of
//! `tests/runner`, most often in bash, dash and busybox's sh.

use std::time::Duration;

use age::{secrecy::ExposeSecret as _, x25519::Identity};
use jobpass_tests::runner::gitlab::{Ended, Status};
use rstest::rstest;

use super::{
    harness::{ASLEEP, CREATE_TOKEN_AND_RUN_SCAN, PATIENCE, Project, says},
    pipeline::RUN_SCAN,
};
use crate::leaks::{assert_absent, corpus};

/// The pipeline of a job with this script, which finds the token in the variable TOKEN.
fn job_with(script: &str) -> String {
    let (before, _) = RUN_SCAN.split_once("    - kubectl").expect("a script");
    let commands = script.trim().lines().map(|line| format!("      {line}\n"));
    format!(
        "{before}    - export TOKEN=\"$(cat \"$JOBPASS_TOKEN_FILE\")\" CA=ca.pem\n    - |\n{}",
        commands.collect::<String>()
    )
}

fn run(script: &str, shell: &str) -> (Project, Ended) {
    let project = Project::with_pipeline(&job_with(script));
    let ended = project.ended(project.runner().shell(shell).start());
    (project, ended)
}

#[rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox-sh")]
fn careless_scripts_show_nothing(#[case] shell: &str) {
    let project = Project::with_pipeline(&job_with("sh careless.sh"));
    project.write("careless.sh", &corpus::script());
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let token = &project.cluster.issued()[0];
    corpus::assert_no_piece(token, &ended.job("run_scan").log);
    // `raw` is the log before the runner masks it.
    corpus::assert_no_piece(token, &ended.job("run_scan").raw);
    project.assert_revoked(&ended);
}

#[test]
fn the_corpus_would_find_a_log_that_is_not_masked() {
    let project = Project::with_pipeline(&job_with("sh careless.sh").replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      mask-log: 'false'\n",
    ));
    project.write("careless.sh", &corpus::script());
    let ended = project.runner().run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    corpus::assert_all_found(&project.cluster.issued()[0], &ended.job("run_scan").log);
}

/// The script prints the token in all forms of the corpus, from the variable and from the file.
#[rstest]
#[case("masked")]
#[case("plain")]
#[case("sealed")]
fn careless_scripts_show_nothing_of_a_token_that_was_handed_over(#[case] mode: &str) {
    let identity = Identity::generate();
    let mut inputs = format!("variable: SCAN_TOKEN\n      dotenv-mode: {mode}\n");
    if mode == "sealed" {
        inputs += &format!("      recipient: {}\n", identity.to_public());
    }
    let pipeline = CREATE_TOKEN_AND_RUN_SCAN
        .replace("variable: SCAN_TOKEN\n", &inputs)
        .replace(
            "    - ./run_scan.sh",
            "    - export TOKEN=\"$(cat \"$JOBPASS_TOKEN_FILE\")\" CA=ca.pem\n    - sh careless.sh\n    - ./run_scan.sh",
        );
    let project = Project::with_pipeline(&pipeline);
    project.write("careless.sh", &corpus::script());
    let runner = project
        .runner()
        .file("JOBPASS_IDENTITY", identity.to_string().expose_secret());
    let ended = project.ended(runner.start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    corpus::assert_no_piece(&project.cluster.issued()[0], &ended.job("run_scan").raw);
    project.assert_used_and_revoked(&ended);
}

/// The minter's credential is in a file that the script can read.
#[test]
fn the_minter_s_credential_is_masked_too() {
    let (project, ended) = run(
        "cat \"$JOBPASS_KUBECONFIG\"; base64 -w 0 \"$JOBPASS_KUBECONFIG\"",
        "bash",
    );
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["token: [MASKED]"]);
    assert_absent(&project.minter, "the log", &ended.job("run_scan").raw);
}

/// Traps may contain secrets, and other users of the machine must not read them.
#[rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox-sh")]
fn commands_of_a_trap_are_shown_to_no_other_user(#[case] shell: &str) {
    let look = r#"umask 0
      trap 'echo theirs' EXIT
      sed() { ls -l "$jobpass_pipe.traps" > ../seen.txt; command sed "$@"; }
"#;
    let before = "  before_script:\n    - |\n      ".to_owned()
        + look
        + "    - !reference [.jobpass, before_script]\n";
    let project = Project::with_pipeline(&(job_with("umask") + &before));
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["\n0000\n", "\ntheirs\n"]);
    let seen = std::fs::read_to_string(ended.folder().join("7001/seen.txt")).expect("what was seen");
    assert!(seen.starts_with("-rw------- "), "{seen}");
    project.assert_revoked(&ended);
}

/// The script prints more lines than a pipe holds, to both streams and from child processes.
#[rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox-sh")]
fn nothing_is_lost_and_the_order_is_kept(
    #[case] shell: &str,
    #[values("", "exit 3", "false", "printf 'no line break'; exit 4")] end: &str,
) {
    let script = format!(
        "i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; echo \"error $i\" >&2; i=$((i+1)); done; seq 1 30000\n{end}"
    );
    let project = Project::with_pipeline(&job_with(&script));
    let masked = project.ended(project.runner().shell(&project.shell(shell)).start());
    let unmasked = Project::with_pipeline(&job_with(&script).replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      mask-log: 'false'\n",
    ));
    let unmasked = unmasked.ended(unmasked.runner().shell(&unmasked.shell(shell)).start());
    let said = |ended: &Ended| {
        let log = ended.job("run_scan").raw.clone();
        let (_, said) = log.split_once("line 0\n").expect("a first line");
        let (said, rest) = said.split_once("jobpass: revoked the token").expect("an end");
        (
            said.to_owned(),
            rest.split_once("ERROR").map(|(_, why)| why.to_owned()),
        )
    };
    assert_eq!(said(&masked), said(&unmasked));
    assert_eq!(masked.status, unmasked.status);
    project.assert_revoked(&masked);
}

/// A process may outlive the script, and print later. jobpass neither waits for it, nor stops it.
#[rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox-sh")]
fn what_runs_in_the_background_does_not_keep_the_job(#[case] shell: &str) {
    let background = "mkfifo ../done\n(while [ -e ca.pem ]; do echo tick; sleep 0.02; done; echo x > ../done) &\necho over";
    let after = "  after_script:\n    - !reference [.jobpass, after_script]\n    - 'sleep 0.3; rm ca.pem; read line < ../done; rm ../done; echo \"it lived with $line\"'\n";
    let project = Project::with_pipeline(&(job_with(background) + after));
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["over", "it lived with x"]);
    project.assert_revoked(&ended);
}

#[rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox-sh")]
fn a_filter_that_dies_stops_the_job_and_says_so(#[case] shell: &str) {
    let kill = r#"
echo before
for process in /proc/[0-9]*; do
  if [ "$(readlink "$process/exe")" = "$jobpass_program" ] && grep -q "$jobpass_mark" "$process/cmdline"; then
    kill -9 "${process#/proc/}"
  fi
done
sleep 0.3
echo "never shown $TOKEN""#;
    let project = Project::with_pipeline(&job_with(kill));
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    assert_eq!(ended.status, Status::Failed, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &[
            "before",
            "the filter that masks this job's log has ended (status 137)",
            "revoked the token",
        ],
    );
    assert!(!ended.log().contains("never shown"), "{}", ended.log());
    project.assert_revoked(&ended);
}

#[rstest]
#[case("bash")]
#[case("dash")]
fn a_job_that_is_cancelled_shows_what_it_said(#[case] shell: &str) {
    let project = Project::with_pipeline(&job_with(&format!("echo \"at work with $TOKEN\"\n{ASLEEP}")));
    let running = project.runner().shell(shell).start();
    running.wait_for(PATIENCE, |log| log.contains("42 asleep").then_some(()));
    running.cancel();
    let ended = project.ended(running);
    assert_eq!(ended.status, Status::Canceled);
    says(
        &ended,
        "run_scan",
        &["at work with [MASKED]", "revoked the token"],
    );
    project.assert_revoked(&ended);
}

/// Most of these scripts would keep a simpler filter from ending: one that is a job of the shell, or one that
/// waits for the end of its input. The others change settings of the shell on which a filter may rely.
#[rstest]
#[case("sleep 0.2 & sleep 0.3 & wait; echo waited", &["waited"])]
#[case("sleep 30 & sleep 0.1; kill $!; wait $! || echo \"killed $?\"", &["killed 143"])]
#[case("for job in $(jobs -p); do kill -9 $job; done; echo none", &["none"])]
#[case("exec 3>&1 4>&2 > build.log 2>&1; echo hidden", &[])]
#[case("exec 3>&1; exec > /dev/null; echo hidden; echo shown >&3", &["shown"])]
#[case("sleep 2 & exec >&-", &[])]
#[case("IFS='\n'; echo 'odd words'", &["odd words"])]
#[case("set -u; echo strict", &["strict"])]
#[case("sleep 2 & jobpass_mask=\"$(jobpass-gitlab mask --shell)\"; eval \"$jobpass_mask\"; echo \"twice $TOKEN\"", &["twice [MASKED]"])]
fn no_script_keeps_the_job_from_ending(
    #[case] script: &str,
    #[case] shown: &[&str],
    #[values("bash", "dash", "busybox-sh")] shell: &str,
) {
    let project = Project::with_pipeline(&(job_with(script) + "  timeout: 30s\n"));
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", shown);
    assert!(!ended.log().contains("hidden\n"), "{}", ended.log());
    project.assert_revoked(&ended);
}

/// If a signal reaches a child of bash before the child starts its program, bash runs the shell's trap in
/// that child.
#[test]
fn children_that_are_killed_at_once_do_not_end_the_masking() {
    let script = "i=0; while [ $i -lt 40 ]; do sleep 5 & kill $!; wait $! || true; i=$((i+1)); done; echo \"the end $TOKEN\"";
    let (project, ended) = run(script, "bash");
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["the end [MASKED]"]);
    project.assert_revoked(&ended);
}

#[rstest]
#[case("set -u")]
#[case("set -eux; set -o noclobber")]
#[case("trap 'echo \"cleaned up $?\"' EXIT")]
fn what_a_shell_has_set_before_stays(
    #[case] before: &str,
    #[values("bash", "dash", "busybox-sh")] shell: &str,
) {
    let pipeline = RUN_SCAN.split_once("  script:").expect("a script").0.replace(
        "  extends: .jobpass\n",
        &format!(
            "  variables: !reference [.jobpass, variables]\n  before_script:\n    - {}\n    - !reference [.jobpass, \
             before_script]\n  after_script: !reference [.jobpass, after_script]\n  script: [echo at work, exit 5]\n",
            serde_json::to_string(before).expect("text")
        ),
    );
    let project = Project::with_pipeline(&(pipeline + "  timeout: 30s\n"));
    let ended = project.ended(project.runner().shell(&project.shell(shell)).start());
    says(&ended, "run_scan", &["at work", "exit code 5"]);
    assert_eq!(
        before.starts_with("trap"),
        ended.log().contains("cleaned up 5"),
        "{}",
        ended.log()
    );
    project.assert_revoked(&ended);
}

/// jobpass shows an unfinished line without waiting for its end.
#[test]
fn progress_is_shown_while_it_is_made() {
    let project = Project::with_pipeline(&job_with(
        "sh -c 'printf \"Downloading $((40 + 2))%%\"; exec sleep 600'",
    ));
    let running = project.runner().start();
    running.wait_for(Duration::from_secs(30), |log| {
        log.contains("Downloading 42%").then_some(())
    });
    running.cancel();
    project.ended(running);
}

#[test]
fn a_script_with_an_exit_trap_of_its_own_ends_the_masking_in_it() {
    let (project, ended) = run(
        "trap 'echo \"cleaning up $TOKEN\"; jobpass_end' EXIT\nexit 7",
        "dash",
    );
    says(&ended, "run_scan", &["cleaning up [MASKED]", "exit code 7"]);
    project.assert_revoked(&ended);
}

#[test]
fn a_runner_that_reads_add_mask_is_told_and_no_other() {
    let project = Project::with_pipeline(&job_with("echo \"with $TOKEN\""));
    let ended = project.ended(project.runner().start());
    let token = &project.cluster.issued()[0];
    assert!(!ended.job("run_scan").raw.contains("add-mask"));
    assert_absent(token, "the log", &ended.job("run_scan").raw);

    let project = Project::with_pipeline(&job_with("echo \"with $TOKEN\""));
    let ended = project.ended(project.runner().proxy_exec().start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let token = &project.cluster.issued()[0];
    let raw = &ended.job("run_scan").raw;
    assert!(raw.contains(&format!("::add-mask::{token}\n")), "{}", ended.log());
    assert!(!ended.log().contains("add-mask"), "{}", ended.log());
    project.assert_revoked(&ended);
}

/// Some programs run for the whole job. Their arguments and environments must not show the token. The test
/// skips the programs of other jobs: tokens of the same second begin with the same claims.
#[test]
fn the_filter_shows_nothing_in_proc() {
    let look = r#"
for process in /proc/[0-9]*; do
  case "$(readlink "$process/exe")" in *jobpass-gitlab*) ;; *) continue;; esac
  tr '\0' '\n' < "$process/environ" | grep -qxF "CI_PROJECT_DIR=$CI_PROJECT_DIR" || continue
  tr '\0' '\n' < "$process/cmdline"; tr '\0' '\n' < "$process/environ"
done > ../proc.txt 2> /dev/null
grep -q -e '^--pipe$' ../proc.txt"#;
    let (project, ended) = run(look, "bash");
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let seen = std::fs::read_to_string(ended.folder().join("7001/proc.txt")).expect("what was seen");
    for secret in [&project.cluster.issued()[0], &project.minter] {
        assert_absent(secret, "/proc", &seen);
    }
}

#[test]
fn without_a_token_there_is_nothing_to_mask() {
    let job = super::job::Job::without_minter(&[]);
    let ended = job.run(&["mask", "--shell"]);
    assert_eq!(ended.code(), 2, "{}", ended.log);
    assert!(ended.log.contains("there is nothing to mask"), "{}", ended.log);
    let off = job.run(&["mask", "--shell", "--mask-log", "false"]);
    assert!(off.code() == 0 && !off.log.contains("mask --pipe"), "{}", off.log);
    let wrong = job.run(&["mask", "--mask-log", "yes"]);
    assert!(
        wrong.code() == 2 && wrong.log.contains("use `true` or `false`"),
        "{}",
        wrong.log
    );
}
