//! Pipelines of shell scripts.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::{Ended, Runner, Running, Status};

const PATIENCE: Duration = Duration::from_secs(30);

/// Creates a project with this pipeline. The caller must keep the folder while the pipeline runs.
fn project(pipeline: &str) -> (TempDir, Runner) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".gitlab-ci.yml"), pipeline).expect("written");
    let runner = Runner::new(folder.path());
    (folder, runner)
}

fn run(pipeline: &str) -> Ended {
    let (_folder, runner) = project(pipeline);
    runner.run()
}

fn says(ended: &Ended, job: &str, texts: &[&str]) {
    let log = &ended.job(job).log;
    for text in texts {
        assert!(log.contains(text), "no {text:?} in:\n{log}");
    }
}

fn wait(running: &Running, text: &str) {
    running.wait_for(PATIENCE, |log| log.contains(text).then_some(()));
}

#[test]
fn one_shell_for_the_script_and_another_one_after_it() {
    for shell in ["bash", "dash"] {
        let (_folder, runner) = project(
            r#"
a:
  variables: {WORD: "it's $CI_JOB_NAME", CI_DEBUG: x}
  before_script: [export A=1, 'cd /']
  script:
    - echo "A=$A $WORD $CI_JOB_STATUS $PWD"
    - |
      cat
      echo "nothing on the input"
    - false
    - echo never
  after_script:
    - echo "after <$A> $WORD $CI_JOB_STATUS ${PWD##*/}"
    - exit 9
"#,
        );
        let ended = runner.shell(shell).run();
        assert_eq!(ended.status, Status::Failed);
        says(
            &ended,
            "a",
            &[
                "$ export A=1",
                "\nA=1 it's a running /\n",
                "$ cat # collapsed multi-line command",
                "\nnothing on the input\n",
                "\nafter <> it's a failed scan\n",
                "WARNING: after_script failed, but job will continue unaffected: exit code 9",
                "ERROR: Job failed: exit code 1",
            ],
        );
        assert!(!ended.job("a").log.contains("never"));
    }
}

#[test]
fn pipes_fail_in_bash_and_after_script_can_fail_a_job() {
    let ended = run("a: {script: ['false | cat', echo never]}\n\
         b: {variables: {AFTER_SCRIPT_IGNORE_ERRORS: 'false'}, script: [echo b], after_script: [exit 3]}");
    assert_eq!(ended.job("a").status, Status::Failed);
    assert_eq!(ended.job("b").status, Status::Failed);
    says(&ended, "b", &["ERROR: Job failed: exit code 3"]);
}

#[test]
fn a_dotenv_report_goes_to_those_who_want_it() {
    let ended = run(r#"
stages: [one, two, three]
variables: {A: global}
mint:
  stage: one
  script: ['printf "A=$A-1\nB=b \nC=c\n" > r.env', echo x > file]
  artifacts: {paths: [file], reports: {dotenv: r.env}}
other:
  stage: one
  script: [echo "D=d" > r.env]
  artifacts: {reports: {dotenv: r.env}}
later: {stage: two, variables: {B: job}, script: ['echo "<$A|$B|$C|$D>"', cat file]}
some: {stage: two, dependencies: [other], script: ['echo "<$A|$B|$C|$D>"']}
need: {stage: three, needs: [mint], script: ['echo "<$A|$B|$C|$D>"']}
not: {stage: three, needs: [{job: mint, artifacts: false}], script: ['echo "<$A|$B|$C|$D>"; test ! -e file']}
"#);
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "later", &["<global-1|b|c|d>", "\nx\n"]);
    says(&ended, "some", &["<global|||d>"]);
    says(&ended, "need", &["<global-1|b|c|>"]);
    says(&ended, "not", &["<global|||>"]);
    assert_eq!(ended.job("mint").dotenv["B"], "b");
    assert_eq!(ended.job("mint").artifacts["file"], b"x\n");
}

#[test]
fn a_report_that_gitlab_refuses_fails_the_job_after_its_end() {
    let ended = run(
        "a:\n  script: ['printf \"A=1\\n\\n\" > r.env']\n  after_script: ['echo $CI_JOB_STATUS']\n  \
         artifacts: {reports: {dotenv: r.env}}\nb: {stage: deploy, script: [echo b]}",
    );
    assert_eq!(ended.job("a").status, Status::Failed);
    says(&ended, "a", &["\nsuccess\n", "400 Bad Request (Invalid Format)"]);
    assert_eq!(ended.job("b").status, Status::Skipped);
}

#[test]
fn what_the_project_sets_wins_and_files_do_not_stay() {
    let (_folder, runner) = project(
        r#"
a:
  variables: {A: job, HERE: "$CI_PROJECT_DIR.tmp|$KEY"}
  script:
    - echo "<$A|${HERE#$CI_PROJECT_DIR}>"
    - cat "$KEY"
    - test "$KEY" = "$RUNNER_TEMP_PROJECT_DIR/KEY"
    - echo A=dotenv > r.env
  artifacts: {reports: {dotenv: r.env}}
b: {stage: deploy, script: [echo "<$A>"]}
"#,
    );
    let ended = runner
        .variable("A", "project")
        .file("KEY", "line $A\nline 2\n")
        .run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    says(&ended, "a", &["<project|.tmp|", "\nline $A\nline 2\n"]);
    says(&ended, "b", &["<project>"]);
    assert!(!ended.folder().join("7001/scan.tmp/KEY").exists());
}

#[test]
fn what_runners_mask() {
    let (_folder, runner) = project(
        "a: {script: ['echo \"$WORD glpat-abc.d_e $CI_JOB_TOKEN\"', 'printf %s $WORD | base64', 'set -x; : glpat-$WORD-x']}",
    );
    let ended = runner.masked("WORD", "s3cr3t-word").run();
    says(
        &ended,
        "a",
        &["\n[MASKED] glpat-[MASKED] [MASKED]\n", "\nczNjcjN0LXdvcmQ=\n"],
    );
    let job = ended.job("a");
    assert!(!job.log.contains("s3cr3t-word") && job.raw.contains("s3cr3t-word"));
}

#[test]
fn stages_and_when() {
    let ended = run(r#"
revoke: {stage: .post, when: always, script: [echo revoke]}
deploy: {stage: deploy, script: [echo deploy]}
clean: {stage: deploy, when: on_failure, script: [echo clean]}
fails: {script: [exit 1]}
may: {stage: build, allow_failure: true, script: [exit 1]}
hand: {stage: build, when: manual, script: [exit 1]}
first: {stage: .pre, script: [echo first]}
"#);
    let ran = ended
        .jobs
        .iter()
        .filter(|job| job.status != Status::Skipped)
        .map(|job| &*job.name);
    assert_eq!(
        ran.collect::<Vec<_>>(),
        ["first", "may", "fails", "clean", "revoke"]
    );
    assert_eq!(ended.status, Status::Failed);
}

#[test]
fn a_cancellation_ends_the_script_and_kills_the_token_but_after_script_runs() {
    let (_folder, runner) = project(
        r#"
a:
  script:
    - echo left > "$HOME/left"; echo kept > kept
    - sh -c 'trap "echo child terminated; exit" TERM; echo ready; while :; do sleep 0.01; done'
  after_script:
    - ls "$HOME" kept; echo "$CI_JOB_STATUS, token $CI_JOB_TOKEN."
    - until test -e "$GO"; do sleep 0.01; done
revoke: {stage: .post, when: always, script: [echo never]}
"#,
    );
    let outside = tempfile::tempdir().expect("a folder");
    let go = outside.path().join("go");
    let runner = runner.variable("GO", &go.display().to_string());
    let running = runner.new_container_after_cancel().start();
    wait(&running, "\nready");
    running.cancel();
    let token = running.wait_for(PATIENCE, |log| {
        let (_, rest) = log.split_once("canceled, token ")?;
        Some(rest.split_once('.')?.0.to_owned())
    });
    assert!(token.starts_with("glcbt-") && !running.accepts(&token));
    fs::write(&go, "").expect("written");
    let ended = running.end();
    assert_eq!(ended.status, Status::Canceled);
    says(
        &ended,
        "a",
        &["child terminated", "\nkept\n", "canceled, token [MASKED]."],
    );
    assert!(!ended.job("a").log.contains("left\n"), "{}", ended.job("a").log);
    assert_eq!(ended.job("revoke").status, Status::Canceled);
}

#[test]
fn who_ignores_a_cancellation_is_killed() {
    let (_folder, runner) = project(
        "a: {script: [\"sh -c \\\"trap '' TERM; echo ready; while :; do sleep 0.05; done\\\"\"], after_script: ['echo $CI_JOB_STATUS']}",
    );
    let running = runner.grace(Duration::from_millis(100)).start();
    wait(&running, "\nready");
    running.cancel();
    let ended = running.end();
    assert_eq!(ended.job("a").status, Status::Canceled);
    says(&ended, "a", &["\ncanceled\n"]);
}

#[test]
fn after_the_jobs_timeout_there_is_no_after_script() {
    let ended = run(r#"
a: {timeout: 200ms, script: [exec sleep 600], after_script: [echo after]}
b:
  variables: {RUNNER_SCRIPT_TIMEOUT: 200ms, RUNNER_AFTER_SCRIPT_TIMEOUT: 1m}
  script: [exec sleep 600]
  after_script: ['echo "after $CI_JOB_STATUS"']
"#);
    assert!(!ended.job("a").log.contains("after\n"));
    assert_eq!(ended.job("a").status, Status::Failed);
    says(&ended, "b", &["\nafter timedout\n"]);
}

#[test]
fn who_keeps_the_log_open_keeps_the_job_until_its_timeout() {
    let ended = run("a: {timeout: 500ms, script: ['sleep 600 &', echo done]}");
    assert_eq!(ended.job("a").status, Status::Failed);
    says(&ended, "a", &["\ndone\n"]);
}

#[test]
fn templates() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        (
            "t.yml",
            r#"
spec:
  inputs:
    name: {default: .part}
    word: {}
    rules: {type: array, default: [{if: $CI_COMMIT_TAG}, {if: $CI_COMMIT_BRANCH}]}
    level: {default: low, options: [low, high]}
---
"$[[ inputs.name ]]":
  rules: $[[ inputs.rules ]]
  variables: &v {WORD: "<$[[ inputs.word ]]>", LEVEL: "$[[ inputs.level ]]"}
  before_script: &b [echo before, echo before again]
  after_script: [echo after]
"$[[ inputs.name ]]:other":
  variables: {<<: *v, LEVEL: other}
  before_script: *b
"#,
        ),
        (
            ".gitlab-ci.yml",
            r#"
default: {before_script: [echo default]}
include: [{local: /t.yml, inputs: {word: $THING}}, {local: t.yml, inputs: {name: second, word: w, rules: [{when: never}]}}]
variables: {THING: thing}
a:
  extends: .part
  variables: {MORE: more}
  script: ['echo "$WORD $LEVEL $MORE"']
b:
  variables: !reference [".part:other", variables]
  before_script: [echo first, !reference [.part, before_script]]
  script: ['echo "$WORD $LEVEL"']
c: {script: [echo c]}
d: {rules: [{if: $NONE}], script: [echo d]}
"#,
        ),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    // The second include defines jobs without a script. So this pipeline is only read, and does not run.
    let ended = Runner::new(folder.path());
    let names = ended.config.jobs.iter().map(|job| &*job.name).collect::<Vec<_>>();
    assert_eq!(names, ["second", "second:other", "a", "b", "c", "d"]);
    fs::write(
        folder.path().join(".gitlab-ci.yml"),
        files[1].1.replace(
            ", {local: t.yml, inputs: {name: second, word: w, rules: [{when: never}]}}",
            "",
        ),
    )
    .expect("written");
    let ended = Runner::new(folder.path()).run();
    assert_eq!(ended.status, Status::Success, "{}", ended.log());
    assert_eq!(ended.jobs.len(), 3);
    says(
        &ended,
        "a",
        &["\nbefore again\n", "\n<thing> low more\n", "\nafter\n"],
    );
    says(
        &ended,
        "b",
        &["\nfirst\n", "\nbefore again\n", "\n<thing> other\n"],
    );
    says(&ended, "c", &["\ndefault\n"]);
}

#[test]
fn id_tokens_are_masked_variables_of_the_job_that_asks() {
    let ended = run(r#"
a:
  id_tokens: {KUBE_TOKEN: {aud: https://k8s.example.com}, TWO: {aud: [x, y]}}
  script: ['echo "<$KUBE_TOKEN>"', 'echo "$TWO" | cut -d. -f2 | tr _- /+ | base64 -di 2>/dev/null; true']
b: {script: ['echo "<$KUBE_TOKEN>"']}
"#);
    says(
        &ended,
        "a",
        &["<[MASKED]>", "\"aud\":[\"x\",\"y\"]", "\"project_id\":\"7\""],
    );
    says(&ended, "b", &["<>"]);
    assert_eq!(ended.job("a").id_tokens.len(), 2);
}
