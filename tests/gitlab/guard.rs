//! The ways in which real runners end a job. jobpass must revoke the token in each of them, unless the whole
//! container is killed and no after_script runs.

use std::{
    fs,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_tests::runner::gitlab::{Ended, Runner, Running, Status};
use rstest::rstest;

use super::{
    harness::{ASLEEP, PATIENCE, Project, says},
    pipeline::RUN_SCAN,
};
use crate::{cluster::Cluster, leaks, support};

/// The pipeline of [`RUN_SCAN`] with one more line of its script, and with more keywords for the job.
fn job(script: &str, keywords: &str) -> String {
    format!("{RUN_SCAN}    - {script}\n{keywords}")
}

fn runner(project: &Project, shell: &str, container: bool) -> Runner {
    let runner = project.runner().shell(&project.shell(shell));
    match container {
        true => runner.container(),
        false => runner,
    }
}

/// Waits for the text that the script prints just before it sleeps.
fn asleep(running: &Running) {
    running.wait_for(PATIENCE, |log| log.contains("42 asleep").then_some(()));
}

/// Waits until the anchor is gone, which may be after the job's end. Then asserts that the token is dead and
/// its files are gone.
fn assert_dies(project: &Project, ended: &Ended) {
    project
        .cluster
        .wait_for(PATIENCE, |_| project.cluster.anchors().is_empty().then_some(()));
    project.assert_revoked(ended);
}

/// The guard revokes when the script ends, before after_script runs.
#[rstest]
fn the_token_is_revoked_when_the_script_is_over(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
    #[values(false, true)] container: bool,
    #[values("true", "false")] mask_log: &str,
    #[values("echo done", "exit 3")] end: &str,
) {
    let pipeline = job(end, "").replace(
        "      namespace: NAMESPACE\n",
        &format!("      namespace: NAMESPACE\n      mask-log: '{mask_log}'\n"),
    );
    let project = Project::with_pipeline(&pipeline);
    let ended = project.ended(runner(&project, shell, container).start());
    let log = ended.log();
    let (script, after_script) = log.split_once("Running after_script").expect("after_script");
    assert!(script.contains("every Pod is scanned"), "{log}");
    assert!(script.contains("jobpass: revoked the token"), "{log}");
    assert!(
        script.contains("revoked when the script is over, at the latest at "),
        "{log}"
    );
    assert!(
        after_script.contains("nothing to revoke: the token of ServiceAccount"),
        "{log}"
    );
    assert!(!log.contains("warning"), "{log}");
    assert_eq!(ended.status == Status::Success, end == "echo done", "{log}");
    project.assert_used_and_revoked(&ended);
}

/// jobpass revokes the token before the job's timeout. At the timeout, a script on a shell executor gets a
/// signal, and a script in a container gets none.
#[rstest]
fn a_job_that_runs_into_its_timeout_loses_its_token_before(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
    #[values(false, true)] container: bool,
) {
    let project = Project::with_pipeline(&job(ASLEEP, "  timeout: 12s\n"));
    let running = runner(&project, shell, container).start();
    asleep(&running);
    running.wait_for(PATIENCE, |log| {
        log.contains("this job reaches its timeout in 3 s").then_some(())
    });
    project
        .cluster
        .wait_for(PATIENCE, |_| project.cluster.anchors().is_empty().then_some(()));
    let ended = project.ended(running);
    assert_eq!(ended.status, Status::Failed);
    says(&ended, "run_scan", &["took longer than the time-out"]);
    assert!(!ended.log().contains("after_script\n"), "{}", ended.log());
    project.assert_used_and_revoked(&ended);
}

/// RUNNER_SCRIPT_TIMEOUT ends the script before the job's timeout, so that after_script still runs.
#[test]
fn a_job_whose_time_is_split_loses_its_token_after_its_script() {
    let limits = "  variables: {RUNNER_SCRIPT_TIMEOUT: 6s, RUNNER_AFTER_SCRIPT_TIMEOUT: 1m}\n  timeout: 2m\n";
    let project = Project::with_pipeline(&job(ASLEEP, limits));
    let ended = project.ended(project.runner().start());
    assert_eq!(ended.status, Status::Failed);
    says(
        &ended,
        "run_scan",
        &["took longer than the time-out", "Running after_script"],
    );
    project.assert_revoked(&ended);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Cancel,
    Force,
    Terminate,
}

/// The runner removes the minter's kubeconfig at once, perhaps before the guard revokes the token.
#[rstest]
fn a_job_that_is_stopped_loses_its_token(
    #[values(How::Cancel, How::Force, How::Terminate)] how: How,
    #[values("bash", "dash", "busybox-sh")] shell: &str,
) {
    let project = Project::with_pipeline(&job(ASLEEP, ""));
    let running = runner(&project, shell, false).start();
    asleep(&running);
    stop(&running, how);
    let ended = project.ended(running);
    assert_eq!(ended.status == Status::Failed, how == How::Terminate);
    assert_eq!(ended.log().contains("Running after_script"), how == How::Cancel);
    assert_dies(&project, &ended);
}

fn stop(running: &Running, how: How) {
    match how {
        How::Cancel => running.cancel(),
        How::Force => running.cancel_by_force(),
        How::Terminate => running.terminate_runner(),
    }
}

/// The guard dies with its container (docs/life-of-a-token.md). After a cancellation, after_script revokes
/// the token from another container. After a cancellation by force, or if the runner gets SIGTERM, no process
/// is left that could revoke the token.
#[rstest]
fn a_container_that_is_killed_whole_leaves_its_token_to_after_script_or_to_nobody(
    #[values(How::Cancel, How::Force, How::Terminate)] how: How,
) {
    let project = Project::with_pipeline(&job(ASLEEP, ""));
    let running = runner(&project, "bash", true).start();
    asleep(&running);
    stop(&running, how);
    let ended = project.ended(running);
    if how == How::Cancel {
        says(&ended, "run_scan", &["Running after_script", "revoked the token"]);
        return project.assert_used_and_revoked(&ended);
    }
    assert!(
        project.cluster.accepts(&project.cluster.issued()[0]),
        "{}",
        ended.log()
    );
}

/// On a shell executor, the script continues without the runner. Only the guard notices the script's end.
#[rstest]
fn a_script_that_outlives_its_runner_loses_its_token_when_it_is_over(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
) {
    let script = r#""exec > /dev/null 2>&1; until test -e ../go; do sleep 0.05; done; kubectl get pods""#;
    let started = r#"sh -c 'echo $((40 + 2)) asleep'"#;
    let project = Project::with_pipeline(&job(started, &format!("    - {script}\n")));
    let running = runner(&project, shell, false).start();
    asleep(&running);
    let before = project.cluster.requests().len();
    running.kill_runner();
    let ended = project.ended(running);
    assert!(
        project.cluster.accepts(&project.cluster.issued()[0]),
        "the script still needs its token"
    );
    fs::write(ended.folder().join("7001/go"), "").expect("written");
    project.cluster.wait_for(PATIENCE, |requests| {
        let used = requests[before..]
            .iter()
            .any(|request| request.path.contains("/pods"));
        (used && project.cluster.anchors().is_empty()).then_some(())
    });
    project.cluster.wait_for(PATIENCE, |_| {
        (!project.cluster.accepts(&project.cluster.issued()[0])).then_some(())
    });
}

/// A shell that gets SIGKILL runs no trap. (bash then prints the runner's whole script, including the
/// minter's kubeconfig.)
#[rstest]
fn a_shell_that_is_killed_loses_its_token(#[values("bash", "dash", "busybox-sh")] shell: &str) {
    let script = r#""kill -9 $(exec sh -c 'echo $PPID')""#;
    let project = Project::with_pipeline(&job(script, "  after_script: [echo own]\n"));
    let ended = runner(&project, shell, false).run();
    assert_eq!(ended.status, Status::Failed);
    assert_dies(&project, &ended);
}

/// When SIGKILL ends the job's shell, bash prints the runner's whole script. The runner masks the values of
/// masked variables in it.
#[test]
fn a_minter_in_a_masked_variable_is_not_shown_when_a_shell_is_killed() {
    let script = r#""kill -9 $(exec sh -c 'echo $PPID')""#;
    let project = Project::with_pipeline(&job(script, "  after_script: [echo own]\n"));
    let kubeconfig = project
        .cluster
        .kubeconfig(&project.minter, project.cluster.namespace());
    let runner = project
        .runner()
        .masked("JOBPASS_KUBECONFIG", &STANDARD.encode(kubeconfig));
    let ended = project.ended(runner.start());
    assert_eq!(ended.status, Status::Failed);
    says(&ended, "run_scan", &["Killed", "export JOBPASS_KUBECONFIG='"]);
    assert_dies(&project, &ended);
}

/// Kills this job's guard, and no guard of another job: a container shows only its own processes.
const KILL_GUARD: &str = r#"for process in /proc/[0-9]*; do
        if tr '\0' ' ' < "$process/cmdline" | grep -q 'jobpass-gitlab guard --shell'; then kill -9 "${process#/proc/}"; fi
      done 2> /dev/null"#;

/// The shell revokes in place of its guard before it ends.
#[rstest]
fn a_guard_that_was_killed_leaves_its_token_to_the_shell(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
) {
    let project = Project::with_pipeline(&job(
        &format!("|\n      {KILL_GUARD}"),
        "  after_script: [echo own]\n",
    ));
    let ended = project.ended(runner(&project, shell, true).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let log = ended.log();
    let (script, _) = log.split_once("Running after_script").expect("after_script");
    assert!(
        script.contains(
            "warning: a program or the kernel killed the process that guarded the token: jobpass now revokes the token without that process"
        ),
        "{log}"
    );
    assert!(script.contains("jobpass: revoked the token"), "{log}");
    project.assert_used_and_revoked(&ended);
}

/// A stopped guard keeps its pipe open, like a guard that waits for an exec plugin. The shell waits for it,
/// but not forever.
#[test]
fn a_guard_that_is_late_leaves_its_token_to_the_shell() {
    let stop_guard = KILL_GUARD.replace("kill -9", "kill -STOP");
    let project = Project::with_pipeline(&job(
        &format!("|\n      {stop_guard}"),
        "  after_script: [echo own]\n",
    ));
    let ended = project.ended(runner(&project, "bash", true).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let log = ended.log();
    let (script, _) = log.split_once("Running after_script").expect("after_script");
    let warning = "warning: the process that guards the token has not answered within 45 s: jobpass now revokes the token without that process";
    assert!(
        script.contains(warning) && script.contains("jobpass: revoked the token"),
        "{log}"
    );
    project.assert_used_and_revoked(&ended);
}

#[test]
fn a_guard_that_was_killed_leaves_a_token_that_after_script_needs_to_it() {
    let pipeline = job(&format!("|\n      {KILL_GUARD}"), "").replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      revoke-after: after_script\n",
    );
    let project = Project::with_pipeline(&pipeline);
    let ended = project.ended(runner(&project, "bash", true).start());
    let log = ended.log();
    let (script, after_script) = log.split_once("Running after_script").expect("after_script");
    assert!(
        script.contains("warning: a program or the kernel killed the process that guarded the token"),
        "{log}"
    );
    assert!(!script.contains("revoked the token"), "{log}");
    assert!(after_script.contains("jobpass: revoked the token"), "{log}");
    project.assert_used_and_revoked(&ended);
}

/// Another program stands between `mint` and the shell that runs the script.
#[rstest]
fn a_token_that_another_program_minted_lives_until_the_script_is_over(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
    #[values(
        "timeout 60 jobpass-gitlab mint",
        "sh -c '(timeout 60 jobpass-gitlab mint; echo minted)'"
    )]
    mint: &str,
) {
    let own = format!(
        "  before_script:\n    - {mint}\n    - jobpass_mask=\"$(jobpass-gitlab mask --shell)\"\n    - eval \"$jobpass_mask\"\n    \
         - export KUBECONFIG=\"$JOBPASS_KUBECONFIG_FILE\"\n  after_script: [echo own]\n"
    );
    let project = Project::with_pipeline(&job("echo done", &own));
    let ended = project.ended(runner(&project, shell, false).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &["every Pod is scanned", "jobpass: revoked the token"],
    );
    project.assert_used_and_revoked(&ended);
}

/// A script that the job calls ends before the job. Its end must not revoke the job's token.
#[rstest]
fn a_script_that_masks_its_own_output_takes_no_token_away(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
    #[values("true", "false")] mask_log: &str,
) {
    let pipeline = job(
        "sh own.sh",
        "    - ./run_scan.sh \"$JOBPASS_TOKEN_FILE\" && echo again\n",
    )
    .replace(
        "      namespace: NAMESPACE\n",
        &format!("      namespace: NAMESPACE\n      mask-log: '{mask_log}'\n"),
    );
    let project = Project::with_pipeline(&pipeline);
    let own = "jobpass_mask=\"$(jobpass-gitlab mask --shell)\"\neval \"$jobpass_mask\"\necho own\n";
    project.write("own.sh", own);
    let ended = project.ended(runner(&project, shell, false).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &["\nown\n", "\nagain\n", "jobpass: revoked the token"],
    );
    project.assert_used_and_revoked(&ended);
}

/// The container ends with the shell, so the shell must wait for the guard. In each case, a shell other than
/// the job's shell calls `jobpass-gitlab mask --shell`.
#[rstest]
fn a_shell_waits_for_the_guard_however_the_program_was_called(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
) {
    let own = "  before_script:\n    - jobpass-gitlab mint\n    - jobpass_mask=\"$(sh -c 'jobpass-gitlab mask --shell; true')\"\n    \
               - eval \"$jobpass_mask\"\n    - export KUBECONFIG=\"$JOBPASS_KUBECONFIG_FILE\"\n  after_script: [echo own]\n";
    let project = Project::with_pipeline(&job("echo done", own));
    let ended = project.ended(runner(&project, shell, true).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["jobpass: revoked the token"]);
    project.assert_used_and_revoked(&ended);
}

/// The job's own after_script replaces that of the template.
#[rstest]
fn an_own_after_script_keeps_no_token_alive(
    #[values("bash", "busybox-sh")] shell: &str,
    #[values(false, true)] container: bool,
) {
    let project = Project::with_pipeline(&job("echo done", "  after_script: [echo own]\n"));
    let ended = project.ended(runner(&project, shell, container).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["jobpass: revoked the token", "\nown\n"]);
    project.assert_used_and_revoked(&ended);
    let left = fs::read_dir(ended.folder().join("7001/scan.tmp"))
        .expect("a folder")
        .flatten();
    let left = left.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // A file `.over` stays, because the template's `after_script` would need it. A later job that mints on
    // this runner removes the file when it is a day old.
    let left = left.filter(|name| name.starts_with("jobpass-") && !name.ends_with(".over"));
    assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
}

/// The job's own before_script replaces that of the template, so no command mints. Only the end of the job
/// can report the missing token.
#[test]
fn an_own_before_script_mints_no_token_and_is_told_what_to_write() {
    let project = Project::with_pipeline(&job("echo done", "  before_script: [echo own]\n").replace(
        "    - kubectl get pods\n    - ./run_scan.sh \"$JOBPASS_TOKEN_FILE\"\n",
        "",
    ));
    let ended = project.ended(project.runner().start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let texts = [
        "warning: nothing to revoke: this job has no record of a token",
        "\n  before_script:\n    - !reference [.jobpass, before_script]\n",
        "\n  after_script:\n    # your own commands, then\n    - !reference [.jobpass, after_script]\n",
        "--selector jobpass.dev/run-id=77,jobpass.dev/job=7001",
    ];
    says(&ended, "run_scan", &texts);
    assert!(project.cluster.issued().is_empty());
}

/// A job can combine the `!reference` that jobpass recommends with one to the project's `default`.
#[test]
fn the_scripts_of_a_project_s_default_stay_with_a_reference() {
    let own = "  before_script:\n    - !reference [default, before_script]\n    - !reference [.jobpass, before_script]\n";
    let pipeline = format!(
        "default: {{before_script: [echo of the project]}}\n{}",
        job("echo done", own)
    );
    let project = Project::with_pipeline(&pipeline);
    let ended = project.ended(project.runner().start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &["\nof the project\n", "every Pod is scanned"],
    );
    project.assert_used_and_revoked(&ended);
}

#[rstest]
fn a_token_that_after_script_needs_lives_until_it_is_over(
    #[values("bash", "dash", "busybox-sh")] shell: &str,
    #[values(false, true)] container: bool,
) {
    let own = "  after_script:\n    - jobpass_mask=\"$(jobpass-gitlab mask --shell)\"\n    - eval \"$jobpass_mask\"\n    - \
               ./run_scan.sh \"$JOBPASS_TOKEN_FILE\" && cat \"$JOBPASS_TOKEN_FILE\"\n    - !reference [.jobpass, after_script]\n";
    let pipeline = job("echo done", own).replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      revoke-after: after_script\n",
    );
    let project = Project::with_pipeline(&pipeline);
    let ended = project.ended(runner(&project, shell, container).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let log = &ended.job("run_scan").log;
    let (script, after_script) = log.split_once("Running after_script").expect("after_script");
    let says = match container {
        true => {
            "`jobpass-gitlab revoke` in after_script revokes it, and nothing else does if the container ends with the script"
        }
        false => "revoked when after_script is over, at the latest at ",
    };
    assert!(script.contains(says), "{log}");
    assert_eq!(script.contains("at the latest"), !container, "{log}");
    assert!(!script.contains("revoked the token"), "{log}");
    assert!(
        after_script.contains("every Pod is scanned") && after_script.contains("[MASKED]"),
        "{log}"
    );
    assert!(after_script.contains("jobpass: revoked the token"), "{log}");
    project.assert_used_and_revoked(&ended);
}

/// The guard ends with the container, and the job's own after_script does not revoke. So the token stays
/// alive, as the log has warned.
#[test]
fn a_token_that_after_script_needs_outlives_a_container_in_which_nothing_revokes_it() {
    let pipeline = job("echo done", "  after_script: [echo own]\n").replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      revoke-after: after_script\n",
    );
    let project = Project::with_pipeline(&pipeline);
    let ended = project.ended(runner(&project, "bash", true).start());
    says(&ended, "run_scan", &["and nothing else does", "\nown\n"]);
    assert!(
        project.cluster.accepts(&project.cluster.issued()[0]),
        "{}",
        ended.log()
    );
}

/// The guard waits for as long as after_script could run, and then revokes the token.
#[test]
fn a_token_that_after_script_needs_does_not_outlive_a_job_without_one() {
    let pipeline = job(ASLEEP, "  variables: {RUNNER_AFTER_SCRIPT_TIMEOUT: 1s}\n").replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      revoke-after: after_script\n",
    );
    let project = Project::with_pipeline(&pipeline);
    let running = project.runner().start();
    asleep(&running);
    running.cancel_by_force();
    let ended = project.ended(running);
    assert_dies(&project, &ended);
}

/// Changes that a script makes to its environment do not reach the guard.
#[rstest]
#[case("rm -rf \"$CI_PROJECT_DIR.tmp\"")]
#[case("export SSL_CERT_FILE=/nowhere PATH=/usr/bin:/bin CI_JOB_ID=1; unset JOBPASS_KUBECONFIG")]
#[case("cd /")]
#[case("trap - EXIT")]
#[case("trap '' TERM HUP INT; exec sh -c 'echo $((40 + 2)) the end'")]
#[case("rm -f \"$JOBPASS_KUBECONFIG\"")]
#[case(": > \"$JOBPASS_KUBECONFIG\"")]
#[case("sed -i 's/token: .*/token: another/' \"$JOBPASS_KUBECONFIG\"")]
fn a_script_that_changes_its_surroundings_loses_its_token(
    #[case] script: &str,
    #[values("bash", "busybox-sh")] shell: &str,
) {
    let own = "  after_script: [echo own]\n";
    let project = Project::with_pipeline(&job(&serde_json::to_string(script).expect("text"), own));
    let ended = project.ended(runner(&project, shell, false).start());
    assert_dies(&project, &ended);
}

/// The minter's credential comes from files, in three ways. These files are gone before the guard needs them.
#[rstest]
#[case::a_bearer_token_file(&[
    ("JOBPASS_SERVER", "$SERVER"),
    ("JOBPASS_CERTIFICATE_AUTHORITY", "ca.pem"),
    ("JOBPASS_BEARER_TOKEN_FILE", "$MINTER_TOKEN"),
])]
#[case::several_files(&[("KUBECONFIG", "$MINTER_CLUSTER:$MINTER_USER")])]
#[case::a_token_file_of_a_kubeconfig(&[("KUBECONFIG", "$MINTER_CLUSTER:$MINTER_USER_OF_FILE")])]
fn a_job_whose_minter_s_files_are_gone_loses_its_token(#[case] variables: &[(&str, &str)]) {
    let script = "rm -f \"$MINTER_TOKEN\" \"$MINTER_CLUSTER\" \"$MINTER_USER\" \"$MINTER_USER_OF_FILE\"";
    let own = "  after_script: [echo own]\n";
    let project = Project::with_pipeline(&job(&serde_json::to_string(script).expect("text"), own));
    let kubeconfig = project
        .cluster
        .kubeconfig(&project.minter, project.cluster.namespace());
    let mut cluster: serde_json::Value = serde_yaml::from_str(&kubeconfig).expect("YAML");
    let mut user = serde_json::json!({"users": cluster["users"].take()});
    let runner = project
        .runner()
        .variable("JOBPASS_KUBECONFIG", "")
        .file("MINTER_TOKEN", &project.minter)
        .file("MINTER_CLUSTER", &cluster.to_string())
        .file("MINTER_USER", &user.to_string());
    user["users"][0]["user"] = serde_json::json!({"tokenFile": "MINTER_TOKEN"});
    let runner = runner.file("MINTER_USER_OF_FILE", &user.to_string());
    let runner = variables
        .iter()
        .fold(runner, |runner, (name, value)| runner.variable(name, value));
    let ended = project.ended(runner.start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &["jobpass: revoked the token", "\nown\n"]);
    assert_dies(&project, &ended);
}

/// The guard has two secrets, the token and the minter's credential. The job's own programs must find neither
/// in the guard's arguments, variables and open files.
#[test]
fn a_guard_shows_nothing_of_the_token() {
    // This skips the programs of other jobs. Tokens of the same second begin with the same claims, so part of
    // another job's token would look like part of this one.
    let look = r#"for process in /proc/[0-9]*; do
        case "$(readlink "$process/exe")" in *jobpass-gitlab*) ;; *) continue;; esac
        tr '\0' '\n' < "$process/environ" | grep -qxF "CI_PROJECT_DIR=$CI_PROJECT_DIR" || continue
        tr '\0' '\n' < "$process/cmdline"; tr '\0' '\n' < "$process/environ"; ls -l "$process/fd"
      done > ../proc.txt 2> /dev/null
      grep -q -e '^guard$' ../proc.txt"#;
    let project = Project::with_pipeline(&job(&format!("|\n      {look}"), ""));
    let ended = project.ended(project.runner().start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let seen = fs::read_to_string(ended.folder().join("7001/proc.txt")).expect("what was seen");
    for secret in [&project.cluster.issued()[0], &project.minter] {
        leaks::assert_absent(secret, "/proc", &seen);
    }
    project.assert_used_and_revoked(&ended);
}

#[test]
fn no_token_is_asked_for_longer_than_the_job_has_left() {
    let project = Project::with_pipeline(&job("echo done", "  timeout: 20m\n"));
    let ended = project.ended(project.runner().start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "run_scan", &[", after 19 min 5"]);
    project.assert_used_and_revoked(&ended);
}

/// With CI_DEBUG_TRACE, the log shows the minter's kubeconfig before any script runs. jobpass can only warn.
#[test]
fn a_minter_that_the_runner_wrote_into_the_log_is_told() {
    let project = Project::with_pipeline(&job("echo done", "  variables: {CI_DEBUG_TRACE: 'true'}\n"));
    let ended = project.ended(project.runner().start());
    let texts = [
        "warning: CI_DEBUG_TRACE is on: the runner wrote every variable",
        "credential in JOBPASS_KUBECONFIG",
        "Erase job log",
    ];
    says(&ended, "run_scan", &texts);
    project.assert_used_and_revoked(&ended);
}

/// The job's log names the cause. `fail-on-revoke-error` decides whether the job fails.
#[rstest]
#[case("false", "warning", Status::Success)]
#[case("true", "error", Status::Failed)]
fn a_guard_that_cannot_revoke_says_so(#[case] fail: &str, #[case] level: &str, #[case] status: Status) {
    let script = "sh -c 'echo $((40 + 2)) asleep; until test -e ../go; do sleep 0.05; done'";
    let pipeline = job(script, "").replace(
        "      namespace: NAMESPACE\n",
        &format!("      namespace: NAMESPACE\n      fail-on-revoke-error: '{fail}'\n"),
    );
    let project = Project::with_pipeline(&pipeline);
    let running = project.runner().start();
    asleep(&running);
    support::forbid_minter(&project.cluster);
    let go = running.wait_for(PATIENCE, |log| {
        let (_, rest) = log.split_once("file ")?;
        Some(rest.split_once("/scan.tmp/")?.0.to_owned())
    });
    fs::write(format!("{go}/go"), "").expect("written");
    let ended = project.ended(running);
    let log = ended.log();
    assert_eq!(ended.status, status, "{log}");
    let (script, after_script) = log.split_once("Running after_script").expect("after_script");
    let line = format!("{level}: the token is not revoked: ");
    assert!(
        script.contains(&line) && script.contains("kubectl delete secret jobpass-"),
        "{log}"
    );
    assert!(
        after_script.contains(&line),
        "after_script must try once more: {log}"
    );
}

/// The guard keeps trying. The job does not wait for it, and no other process of the job revokes the token.
#[test]
fn a_guard_that_cannot_revoke_goes_on_trying() {
    let script = "sh -c 'echo $((40 + 2)) asleep; until test -e ../go; do sleep 0.05; done'";
    let project = Project::with_pipeline(&job(script, "  after_script: [echo own]\n"));
    let running = project.runner().start();
    asleep(&running);
    support::forbid_minter(&project.cluster);
    let go = running.wait_for(PATIENCE, |log| {
        let (_, rest) = log.split_once("file ")?;
        Some(rest.split_once("/scan.tmp/")?.0.to_owned())
    });
    fs::write(format!("{go}/go"), "").expect("written");
    let begun = Instant::now();
    let ended = project.ended(running);
    assert!(begun.elapsed() < Duration::from_secs(40), "{}", ended.log());
    says(
        &ended,
        "run_scan",
        &["warning: the token is not revoked: ", "\nown\n"],
    );
    assert!(project.cluster.accepts(&project.cluster.issued()[0]));
    // A later job may write a file with the same name.
    let file = ended.folder().join("7001/scan.tmp/jobpass-7001.token");
    fs::write(&file, "of a later job").expect("written");
    support::minter_token(&project.cluster);
    assert_dies(&project, &ended);
    assert!(file.exists());
}

/// Another process may have written the state, and named another server in it. That server must get no
/// credential.
#[test]
fn a_state_that_others_can_write_is_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = Cluster::start();
    let job = super::job::Job::with(&cluster, &[("dotenv", "jobpass.env")]);
    job.mint().succeeded();
    let before = cluster.requests().len();
    fs::set_permissions(job.state_file(), fs::Permissions::from_mode(0o622)).expect("set");
    let revoke = job.revoke("failed", &["--fail-on-revoke-error", "true"]);
    assert_eq!(revoke.code(), 7, "{}", revoke.log);
    assert!(
        revoke
            .log
            .contains("belongs to another user, or another user can write to it"),
        "{}",
        revoke.log
    );
    assert!(
        revoke.log.contains("kubectl delete secret jobpass-"),
        "{}",
        revoke.log
    );
    assert_eq!(cluster.requests().len(), before, "jobpass must send no request");
}

/// The guard keeps the token. The job reaches the API server through a proxy, which closes when the script
/// ends.
#[rstest]
fn a_job_behind_a_proxy_has_no_token(#[values(false, true)] container: bool) {
    let (before, _) = RUN_SCAN.split_once("    - kubectl").expect("a script");
    let before = before.replace(
        "      namespace: NAMESPACE\n",
        "      namespace: NAMESPACE\n      proxy: 'true'\n      allow: [list pods]\n",
    );
    let script = r#"    - kubectl get pods
    - kubectl get configmaps || echo "narrow"
    - cat "$KUBECONFIG"
    - test ! -e "$JOBPASS_TOKEN_FILE"
    - cp "$KUBECONFIG" "$CI_PROJECT_DIR.tmp/copy"
  after_script:
    - "! kubectl --kubeconfig \"$CI_PROJECT_DIR.tmp/copy\" get pods"
    - rm "$CI_PROJECT_DIR.tmp/copy"
"#;
    let project = Project::with_pipeline(&(before + script));
    let ended = project.ended(runner(&project, "bash", container).start());
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    let says_all = [
        "token: [MASKED]",
        "jobpass refuses `list configmaps in namespace",
        "narrow",
        "the proxy that held the token is closed: the job never had the token",
        "was refused",
    ];
    says(&ended, "run_scan", &says_all);
    project.assert_used_and_revoked(&ended);
}
