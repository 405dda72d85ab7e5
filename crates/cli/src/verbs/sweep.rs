//! `jobpass sweep`: deletes the anchors whose jobs could not delete them.

use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    anchor::list::ListedAnchor,
    cluster::{Cluster, Scope},
    json,
    maintenance::sweep::{Fate, Reason, Summary, Sweeper},
    process::{environment::Environment, interrupt::Interrupt},
};
use serde_json::json;

use crate::{
    options::scope,
    pipelines::{self, Pipelines},
    terminal::{
        output::{self, Lines},
        screen::Screen,
        table,
    },
};

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    Command::new("sweep")
        .about(
            "Delete expired anchors, anchors of ended runs and pipelines, and legacy tokens past their \
             expiry annotation",
        )
        .args(scope::flags())
        .args(pipelines::flags())
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Delete nothing, and print the anchors that jobpass would delete."),
        )
        .arg(
            output::flag()
                .help("Print text for people, or a line of JSON for each deletion and one at the end."),
        )
        .after_help(
            "`sweep` looks at one namespace, or at all with --all-namespaces. An anchor counts as expired 5 \
             min after its token has expired. Without a token for GitHub or GitLab, `sweep` cannot see that \
             a run or pipeline has ended. Kubernetes deletes the objects that an anchor owns. `sweep` \
             also deletes a Secret of a legacy token, whoever created it, if it is older than the number of \
             seconds in its annotation kubernetes.io/service-account.expiration.\nThe credential \
             needs `list` and `delete` on Secrets. You can run `sweep` at any time, even several at once.\n\
             Exit code 0: nothing is left to delete. Exit code 7: anchors are left, and the output names \
             them.\n\nExample:\n  jobpass sweep --all-namespaces --github-token-env GITHUB_TOKEN --dry-run",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let (minter, scope) = scope::resolve(matches, environment, &mut interrupt).await?;
    let cluster = Cluster::connect(&minter)?;
    let mut pipelines = Pipelines::new(matches, environment)?;
    let (json, dry_run) = (output::is_json(matches), matches.get_flag("dry-run"));
    let (lines, screen) = (Lines::to_stdout(), Screen::of_stdout(environment));
    let started = Instant::now();
    let sweeper = Sweeper {
        ended: async |anchors: &[&ListedAnchor]| pipelines.ended(anchors).await,
        report: async |anchor: &ListedAnchor, fate: &Fate| {
            let line = if json {
                json_of(anchor, fate, dry_run)?
            } else {
                screen.laid_out(&sentence(anchor, fate, dry_run))
            };
            lines.print(line + "\n").await
        },
        dry_run,
    };
    let (summary, outcome) = sweeper.sweep(&cluster, &scope, &mut interrupt).await;
    for warning in pipelines.warnings() {
        output::warning(&warning);
    }
    let seconds = started.elapsed().as_secs_f64();
    let last = if json {
        summary_json(&summary, dry_run, seconds)?
    } else {
        screen.laid_out(&summary_sentence(&summary, &scope, dry_run, seconds))
    };
    let printed = async {
        lines.print(last + "\n").await?;
        lines.close().await
    };
    let printed = match &outcome {
        // The reader of the pipe may have stopped reading.
        Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Terminated) => {
            let _ = tokio::time::timeout(output::LAST_WORDS, printed).await;
            Ok(())
        }
        _ => tokio::select! {
            interrupted = interrupt.wait() => Err(interrupted),
            printed = printed => printed,
        },
    };
    outcome.and(printed)
}

/// The line of text for an anchor.
fn sentence(anchor: &ListedAnchor, fate: &Fate, dry_run: bool) -> String {
    let name = format!("{}/{}", anchor.namespace, anchor.name);
    let why = |reason: &Reason| match reason {
        Reason::Expired => "expired",
        Reason::Ended => "its run has ended",
    };
    let deleted = if dry_run { "would delete" } else { "deleted" };
    let (what, why) = match fate {
        Fate::Deleted(reason) => (deleted, why(reason)),
        Fate::Gone(reason) => ("gone already", why(reason)),
        Fate::Failed(_, error) => ("not deleted", error.message()),
        Fate::Unclear(why) => ("left", *why),
    };
    let of = anchor
        .repository
        .as_ref()
        .map_or_else(String::new, |repository| format!(" of {repository}"));
    format!("{what} {name} ({}{of}): {why}", table::pipeline(anchor))
}

/// The line of JSON for an anchor.
fn json_of(anchor: &ListedAnchor, fate: &Fate, dry_run: bool) -> Result<String, Error> {
    let mut json = json::value(anchor)?;
    let deleted = if dry_run { "would-delete" } else { "deleted" };
    let (event, reason) = match fate {
        Fate::Deleted(reason) => (deleted, json!(reason)),
        Fate::Gone(reason) => ("gone", json!(reason)),
        Fate::Failed(reason, _) => ("failed", json!(reason)),
        Fate::Unclear(why) => ("unclear", json!(why)),
    };
    json["event"] = event.into();
    json["reason"] = reason;
    if let Fate::Failed(_, error) = fate {
        json["error"] = error.message().into();
    }
    json["time"] = now();
    Ok(json.to_string())
}

/// The last line of JSON.
fn summary_json(summary: &Summary, dry_run: bool, seconds: f64) -> Result<String, Error> {
    let mut json = json::value(summary)?;
    json["event"] = "summary".into();
    json["dry-run"] = dry_run.into();
    json["seconds"] = ((seconds * 1000.0).round() / 1000.0).into();
    json["time"] = now();
    Ok(json.to_string())
}

/// The time in a line of JSON.
fn now() -> serde_json::Value {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
        .into()
}

/// The last line of text.
fn summary_sentence(summary: &Summary, scope: &Scope, dry_run: bool, seconds: f64) -> String {
    let deleted = if dry_run { "would be deleted" } else { "deleted" };
    let some = |numbers: &[(u64, &str)]| {
        let some = numbers.iter().filter(|(number, _)| *number > 0);
        some.map(|(number, what)| format!("{number} {what}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let why = some(&[
        (summary.expired, "expired"),
        (summary.ended, "whose run has ended"),
    ]);
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    let others = some(&[
        (summary.gone, "gone already"),
        (summary.kept, "kept"),
        (summary.unclear, "unclear and left"),
        (summary.failed, "failed"),
        (summary.unanswered, "without an answer"),
    ]);
    let others = if others.is_empty() {
        others
    } else {
        format!(", {others}")
    };
    let anchors = if summary.seen == 1 { "anchor" } else { "anchors" };
    let rest = if summary.complete {
        ""
    } else {
        "; jobpass did not look at the rest"
    };
    let (seen, scope) = (summary.seen, scope.in_words());
    let deleted = format!("{} {deleted}{why}{others}", summary.deleted);
    format!("looked at {seen} {anchors} in {scope} in {seconds:.1} s: {deleted}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor() -> ListedAnchor {
        serde_json::from_value(json!({
            "namespace": "ci", "anchor": "jobpass-a", "uid": "u", "platform": "github", "repository": "team/app", "run-id": "77",
        }))
        .expect("an anchor")
    }

    #[test]
    fn each_fate_has_its_own_line() {
        let refused = || Error::new(Kind::Refused, "no").help("ask somebody");
        let fates = [
            (Fate::Deleted(Reason::Expired), false),
            (Fate::Deleted(Reason::Ended), true),
            (Fate::Gone(Reason::Ended), false),
            (Fate::Failed(Reason::Expired, refused()), false),
            (Fate::Unclear("it does not say when it expires"), false),
        ];
        let lines = fates.map(|(fate, dry_run)| {
            let json = json_of(&anchor(), &fate, dry_run).expect("JSON");
            let json = serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
            let fields = ["event", "reason", "error"].map(|name| json[name].to_string());
            format!("{}\n  {}", sentence(&anchor(), &fate, dry_run), fields.join(" "))
        });
        insta::assert_snapshot!(lines.join("\n"), @r#"
        deleted ci/jobpass-a (github run 77 of team/app): expired
          "deleted" "expired" null
        would delete ci/jobpass-a (github run 77 of team/app): its run has ended
          "would-delete" "ended" null
        gone already ci/jobpass-a (github run 77 of team/app): its run has ended
          "gone" "ended" null
        not deleted ci/jobpass-a (github run 77 of team/app): no
          "failed" "expired" "no"
        left ci/jobpass-a (github run 77 of team/app): it does not say when it expires
          "unclear" "it does not say when it expires" null
        "#);
    }

    #[test]
    fn the_summary_counts_only_what_happened() {
        let scope = Scope::Namespace("ci".into());
        let quiet = Summary {
            seen: 1,
            complete: true,
            ..Summary::default()
        };
        insta::assert_snapshot!(summary_sentence(&quiet, &scope, false, 0.26), @"looked at 1 anchor in namespace `ci` in 0.3 s: 0 deleted");
        let busy = Summary {
            seen: 12,
            deleted: 5,
            expired: 2,
            ended: 3,
            gone: 1,
            kept: 2,
            unclear: 1,
            failed: 2,
            unanswered: 1,
            complete: false,
        };
        insta::assert_snapshot!(summary_sentence(&busy, &Scope::Cluster, true, 3.0), @"looked at 12 anchors in the cluster in 3.0 s: 5 would be deleted (2 expired, 3 whose run has ended), 1 gone already, 2 kept, 1 unclear and left, 2 failed, 1 without an answer; jobpass did not look at the rest");
    }
}
