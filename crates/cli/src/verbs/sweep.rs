//! `jobpass sweep`.

use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    anchor::list::Anchor,
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

pub(crate) fn command() -> Command {
    Command::new("sweep")
        .about("Delete the anchors that have expired, or whose run or pipeline has ended, and what they own; legacy tokens as they say")
        .args(scope::flags())
        .args(pipelines::flags())
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Delete nothing; say what would be deleted"),
        )
        .arg(output::flag().help("Print for people, or a line of JSON for each deletion and one at the end"))
        .after_help(
            "Sweeps one namespace, unless --all-namespaces is given. An anchor has expired when its token has, and 5 min have \
             passed since. Without a token for GitHub or GitLab, only that counts. The Secret of a legacy token goes so many seconds after its creation as \
             its annotation kubernetes.io/service-account.expiration says, whoever made it.\n\
             It needs `list` and `delete` on Secrets. Run it as often as you like, also twice at once.\n\
             Exit code 0: nothing is left that should be gone. 7: something is, and the message says what.\n\n\
             Example:\n  jobpass sweep --all-namespaces --github-token-env GITHUB_TOKEN --dry-run",
        )
}

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
    let begun = Instant::now();
    let sweeper = Sweeper {
        ended: async |anchors: &[&Anchor]| pipelines.ended(anchors).await,
        report: async |anchor: &Anchor, fate: &Fate| {
            let line = if json {
                record(anchor, fate, dry_run)?
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
    let seconds = begun.elapsed().as_secs_f64();
    let last = if json {
        record_of(&summary, dry_run, seconds)?
    } else {
        screen.laid_out(&in_a_sentence(&summary, &scope, dry_run, seconds))
    };
    let said = async {
        lines.print(last + "\n").await?;
        lines.close().await
    };
    let said = match &outcome {
        // Nobody may be reading any more.
        Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Terminated) => {
            let _ = tokio::time::timeout(output::LAST_WORDS, said).await;
            Ok(())
        }
        _ => tokio::select! {
            interrupted = interrupt.wait() => Err(interrupted),
            said = said => said,
        },
    };
    outcome.and(said)
}

fn sentence(anchor: &Anchor, fate: &Fate, dry_run: bool) -> String {
    let name = format!("{}/{}", anchor.namespace, anchor.name);
    let why = |reason: &Reason| match reason {
        Reason::Expired => "expired",
        Reason::Ended => "its run has ended",
    };
    let deleted = if dry_run { "would delete" } else { "deleted" };
    let (what, why) = match fate {
        Fate::Deleted(reason) => (deleted, why(reason)),
        Fate::Gone(reason) => ("gone already", why(reason)),
        Fate::Failed(_, error) => ("not deleted", error.what()),
        Fate::Unclear(why) => ("left", *why),
    };
    let of = anchor
        .repository
        .as_ref()
        .map_or_else(String::new, |repository| format!(" of {repository}"));
    format!("{what} {name} ({}{of}): {why}", table::pipeline(anchor))
}

fn record(anchor: &Anchor, fate: &Fate, dry_run: bool) -> Result<String, Error> {
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
        json["error"] = error.what().into();
    }
    json["time"] = now();
    Ok(json.to_string())
}

fn record_of(summary: &Summary, dry_run: bool, seconds: f64) -> Result<String, Error> {
    let mut json = json::value(summary)?;
    json["event"] = "summary".into();
    json["dry-run"] = dry_run.into();
    json["seconds"] = ((seconds * 1000.0).round() / 1000.0).into();
    json["time"] = now();
    Ok(json.to_string())
}

fn now() -> serde_json::Value {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
        .into()
}

fn in_a_sentence(summary: &Summary, scope: &Scope, dry_run: bool, seconds: f64) -> String {
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
        (summary.unanswered, "asked for and not answered"),
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
        "; the rest was not looked at"
    };
    let (seen, scope) = (summary.seen, scope.in_words());
    let deleted = format!("{} {deleted}{why}{others}", summary.deleted);
    format!("looked at {seen} {anchors} in {scope} in {seconds:.1} s: {deleted}{rest}")
}
