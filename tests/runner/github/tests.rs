//! Jobs made of shell scripts and small actions.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Conclusion, Ended, Runner, Times};

const PATIENCE: Duration = Duration::from_secs(30);

fn steps(steps: &str) -> Runner {
    let steps = steps.trim_matches('\n').lines();
    let steps = steps.map(|line| format!("      {line}\n")).collect::<String>();
    Runner::new(&format!(
        "on: push\njobs:\n  test:\n    runs-on: any\n    steps:\n{steps}"
    ))
}

/// An action with these two scripts.
fn action(post_if: &str, main: &str, post: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = format!(
        "name: a\ninputs:\n  word: {{default: none}}\n  other word: {{}}\n\
         runs: {{using: node24, main: main.mjs, post: post.mjs{post_if}}}\n"
    );
    for (name, text) in [("action.yml", &*manifest), ("main.mjs", main), ("post.mjs", post)] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.log.contains(text), "no {text:?} in:\n{}", ended.log);
    }
}

fn waits_for(text: &str) -> impl Fn(&str) -> Option<()> {
    move |log| log.contains(text).then_some(())
}

#[test]
fn what_a_step_sets_is_there_for_later_steps() {
    let ended = steps(
        r#"
- id: first
  run: |
    mkdir tools; printf '#!/bin/sh\necho found' > tools/thing; chmod +x tools/thing
    echo "$PWD/tools" >> "$GITHUB_PATH"
    printf 'A=1\nB<<X\nb1\nb2\nX\n' >> "$GITHUB_ENV"
    echo "word=out" >> "$GITHUB_OUTPUT"
    echo "::set-output name=old::way"
    echo "summary" >> "$GITHUB_STEP_SUMMARY"
- env: {A: 2, C: "${{ steps.first.outputs.word }}"}
  run: |
    thing; echo "A=$A B=$B C=$C ${{ steps.first.outputs.old }} ${{ env.C }} ${{ job.status }} $GITHUB_ACTIONS $CI"
    test ! -s "$GITHUB_ENV"
"#,
    )
    .run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    says(&ended, &["found\nA=2 B=b1\nb2 C=out way out success true true"]);
    assert_eq!(
        ended
            .step("Run mkdir tools; printf '#!/bin/sh\\necho found' > tools/thing; chmod +x tools/thing")
            .outputs
            .len(),
        2
    );
    assert_eq!(ended.summary, "summary\n");
    assert!(ended.left_in_temp().is_empty());
}

#[test]
fn files_count_although_the_step_fails_and_malformed_ones_fail_it() {
    let ended = steps(
        r#"
- run: echo A=1 >> "$GITHUB_ENV"; exit 3
- if: failure()
  name: malformed
  run: printf 'B=2\nC' >> "$GITHUB_ENV"
- if: ${{ !cancelled() }}
  run: echo "A=$A B=$B"
- run: echo never
"#,
    )
    .run();
    assert_eq!(ended.conclusion, Conclusion::Failure);
    says(
        &ended,
        &[
            "##[error]Process completed with exit code 3.",
            "##[error]Unable to process file command 'env' successfully.\n##[error]Invalid format 'C'",
            "\nA=1 B=2\n",
        ],
    );
    assert_eq!(ended.step("malformed").conclusion, Conclusion::Failure);
    assert_eq!(ended.step("Run echo never").conclusion, Conclusion::Skipped);
}

#[test]
fn commands_count_on_both_streams() {
    let ended = steps(
        r#"
- name: talks
  run: |
    echo "::error title=a::one"
    echo "  ::warning::two" >&2
    echo "said: ::error::three"
    echo "said: ##[error]four" >&2
    printf 'progress\r::notice::five\n'
- run: |
    echo "::stop-commands::word"; echo "::error::six"; echo "::word::"
    echo "::debug::sev""en"
"#,
    )
    .run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    assert_eq!(
        ended
            .step("talks")
            .commands
            .iter()
            .filter(|name| *name == "error")
            .count(),
        2
    );
    says(
        &ended,
        &[
            "##[error]one\n",
            "##[warning]two\n",
            "said: ::error::three\n",
            "##[error]four\n",
            "progress\n##[notice]five\n",
            "::stop-commands::word\n::error::six\n::word::\n",
        ],
    );
    assert!(!ended.log.contains("seven") && ended.raw.contains("seven"));
}

#[test]
fn commands_that_are_no_longer_allowed_fail_the_step() {
    let script = "- run: \"echo 'text ##[set-env name=A]b'\"\n- if: always()\n  run: echo \"<$A>\"\n";
    let ended = steps(script).run();
    assert_eq!(ended.conclusion, Conclusion::Failure);
    says(&ended, &["The `set-env` command is disabled.", "\n<>\n"]);
    let allowed = "- run: echo ACTIONS_ALLOW_UNSECURE_COMMANDS=true >> \"$GITHUB_ENV\"\n";
    let ended = steps(&(allowed.to_owned() + script)).run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    says(&ended, &["\n<b>\n"]);
}

#[test]
fn masks_hold_from_then_on_and_keep_values_inside_the_job() {
    let runner = Runner::new(
        r#"
jobs:
  test:
    outputs:
      free: ${{ steps.s.outputs.free }}
      secret: <${{ steps.s.outputs.secret }}>
      empty: ${{ steps.s.outputs.none }}
    steps:
      - id: s
        run: |
          echo "before s3cr3t-word"
          echo "::add-mask::s3cr3t-word%0A{"
          echo "secret=s3cr3t-word" >> "$GITHUB_OUTPUT"
          echo "free=word" >> "$GITHUB_OUTPUT"
          echo "of s3cr3t-word" >> "$GITHUB_STEP_SUMMARY"
      - env: {WORD: "${{ steps.s.outputs.secret }}", TOKEN: "${{ secrets.A }}"}
        run: |
          echo "after $WORD"; printf %s "$WORD" | base64; echo "{ $TOKEN ${{ github.token }}"
"#,
    );
    let ended = runner.secret("A", "of the repository").debug().run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    says(
        &ended,
        &[
            "before s3cr3t-word\n",
            "after ***\n***\n*** *** ***\n",
            "  TOKEN: ***\n  WORD: ***\n",
            "##[debug]Set output secret = ***\n",
            "##[warning]Skip output 'secret' since it may contain secret.",
        ],
    );
    assert_eq!(ended.outputs, [("free".to_owned(), "word".to_owned())].into());
    assert_eq!(ended.summary, "of ***\n");
}

const MAIN: &str = r#"
import fs from "node:fs";
fs.appendFileSync(process.env.GITHUB_STATE, `word<<X\n${process.env.INPUT_WORD}\nX\n`);
console.log(`main ${process.env.INPUT_WORD} <${process.env["INPUT_OTHER_WORD"]}>`);
if (process.env.INPUT_WORD === "crash") process.exit(3);
"#;

const POST: &str = r#"
const e = process.env;
console.log(`post of ${e.STATE_word}: now ${e.INPUT_WORD}, ${e.GITHUB_RUN_ID}, ${e.PATH.split(":")[0]}, ${e.HTTPS_PROXY}, ${e.NODE_OPTIONS}`);
if (e.STATE_word === "fails") process.exit(4);
"#;

#[test]
fn an_action_is_called_again_at_the_end_in_the_world_that_later_steps_made() {
    let action = action("", MAIN, POST);
    let ended = steps(
        r#"
- {uses: a/a@v1, with: {word: "${{ env.WORD || 'first' }}"}}
- {uses: a/a@v1, with: {other word: x}}
- {uses: a/a@v1, if: failure()}
- run: |
    printf 'WORD=later\nGITHUB_RUN_ID=1\nSTATE_word=forged\nINPUT_WORD=forged\nHTTPS_PROXY=http://x\nNODE_OPTIONS=--bad\nPATH=/nowhere\n' >> "$GITHUB_ENV"
    echo /poison >> "$GITHUB_PATH"
- run: echo still
"#,
    )
    .action("a/a@v1", action.path())
    .run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    says(
        &ended,
        &[
            "main first <>",
            "main none <x>",
            "##[error]Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.",
            "post of none: now none, 77, /poison, http://x, undefined",
            "post of first: now later, 77, /poison, http://x, undefined",
        ],
    );
    let posts = ended.log.split("Post job cleanup.\n").skip(1).collect::<Vec<_>>();
    assert!(
        posts.len() == 2 && posts[0].starts_with("post of none"),
        "{posts:?}"
    );
}

#[test]
fn post_runs_although_main_crashed_and_fails_the_job_if_it_fails() {
    let action_ = action("", MAIN, POST);
    let run = |word: &str, folder: &Path| {
        let step = format!("- {{uses: a/a@v1, with: {{word: {word}}}}}\n- run: echo later");
        steps(&step).action("a/a@v1", folder).run()
    };
    let ended = run("crash", action_.path());
    assert_eq!(ended.conclusion, Conclusion::Failure);
    says(&ended, &["post of crash"]);
    assert_eq!(ended.step("Run echo later").conclusion, Conclusion::Skipped);

    let ended = run("fails", action_.path());
    assert_eq!(ended.step("Run echo later").conclusion, Conclusion::Success);
    assert_eq!(ended.step("Post Run a/a@v1").conclusion, Conclusion::Failure);
    assert_eq!(ended.conclusion, Conclusion::Failure);

    let on_success = action(", post-if: success()", MAIN, POST);
    let ended = run("crash", on_success.path());
    assert_eq!(ended.step("Post Run a/a@v1").conclusion, Conclusion::Skipped);
}

/// An action that does not pass SIGINT on to its child. A child that got the signal would print
/// `child interrupted`.
const STUBBORN: &str = r#"
import { spawn } from "node:child_process";
process.on("SIGINT", () => console.log("interrupted"));
process.on("SIGTERM", () => { console.log("terminated"); process.exitCode = 1; child.kill("SIGKILL"); });
const child = spawn("sh", ["-c", "trap 'echo child interrupted' INT; echo ready; while :; do sleep 0.05; done"], { stdio: ["ignore", "inherit", "inherit"] });
child.on("exit", () => process.exit());
"#;

#[test]
fn a_cancellation_signals_node_alone_first_gently_then_not() {
    let action = action("", STUBBORN, POST);
    let times = Times {
        interrupt: Duration::from_millis(300),
        streams: Duration::from_millis(300),
        ..Times::default()
    };
    let running = steps("- uses: a/a@v1\n- run: echo never\n- {if: always(), run: echo ever}")
        .action("a/a@v1", action.path())
        .times(times)
        .start();
    running.wait_for(PATIENCE, waits_for("ready"));
    running.cancel();
    let ended = running.end();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    says(
        &ended,
        &[
            "interrupted\nterminated\n##[error]The operation was canceled.",
            "Post job cleanup.\npost of undefined",
        ],
    );
    assert!(!ended.log.contains("child interrupted"));
    assert_eq!(ended.step("Run echo never").conclusion, Conclusion::Skipped);
    assert_eq!(ended.step("Run echo ever").conclusion, Conclusion::Success);
}

#[test]
fn who_ignores_all_signals_is_killed() {
    let times = Times {
        interrupt: Duration::from_millis(50),
        terminate: Duration::from_millis(50),
        streams: Duration::from_millis(50),
    };
    let deaf = "- run: trap '' INT TERM; echo A=1 >> $GITHUB_ENV; echo ready; while :; do sleep 0.05; done\n- {if: always(), run: 'echo \"<$A>\"'}";
    let running = steps(deaf).times(times).start();
    running.wait_for(PATIENCE, waits_for("ready"));
    running.cancel();
    let ended = running.end();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    says(&ended, &["<1>"]);
}

#[test]
fn a_step_that_has_to_run_in_any_case_is_not_cancelled() {
    let script = "- {name: always, if: always(), run: 'echo ready; until test -e go; do sleep 0.01; done; echo done'}\n- run: echo never";
    let runner = steps(script);
    let go = runner.workspace().join("go");
    let running = runner.start();
    running.wait_for(PATIENCE, waits_for("ready"));
    running.cancel();
    fs::write(go, "").expect("written");
    let ended = running.end();
    assert_eq!(ended.step("always").conclusion, Conclusion::Success);
    assert_eq!(ended.step("Run echo never").conclusion, Conclusion::Skipped);
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
}

#[test]
fn a_step_that_takes_too_long_fails() {
    let ended = steps(
        "- {name: slow, timeout-minutes: 0.005, run: exec sleep 600}\n- {if: failure(), run: echo after}",
    )
    .run();
    assert_eq!(ended.step("slow").conclusion, Conclusion::Failure);
    says(
        &ended,
        &[
            "The action 'slow' has timed out after 0.005 minutes.",
            "\nafter\n",
        ],
    );
}

#[test]
fn who_keeps_a_stream_open_does_not_keep_the_job() {
    let times = Times {
        streams: Duration::from_millis(100),
        ..Times::default()
    };
    let begin = Instant::now();
    let ended = steps("- run: sleep 20 & echo $! > pid\n- run: kill $(cat pid)")
        .times(times)
        .run();
    assert_eq!(ended.conclusion, Conclusion::Success, "{}", ended.log);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn id_tokens_are_for_jobs_with_the_permission() {
    for (permissions, expected) in [
        ("{id-token: write}", "<https://x>"),
        ("{contents: read}", "<>"),
        ("write-all", "<https://x>"),
    ] {
        let workflow = format!(
            "permissions: {permissions}\njobs: {{a: {{steps: [{{run: 'echo \"<$ACTIONS_ID_TOKEN_REQUEST_URL> $ACTIONS_ID_TOKEN_REQUEST_TOKEN\"'}}]}}}}"
        );
        let ended = Runner::new(&workflow).id_tokens("https://x", "bearer-word").run();
        says(&ended, &[expected]);
        assert!(!ended.log.contains("bearer-word"));
    }
}
