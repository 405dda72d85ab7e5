//! `jobpass list`: the anchors in the cluster.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::Timestamp;
use jobpass_core::{
    Error, Kind,
    anchor::list::{ListedAnchor, Pages},
    cluster::{Cluster, Scope},
    json,
    maintenance::sweep::{self, Expiry},
    process::{environment::Environment, interrupt::Interrupt},
};

use crate::{
    options::scope,
    pipelines::{self, Pipelines},
    terminal::{
        output::{self, Lines},
        screen::Screen,
        table::{Layout, Row, Standing},
    },
};

/// The time between two lists of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    Command::new("list")
        .about("Show the anchors in the cluster: which pipelines have tokens, and until when")
        .args(scope::flags())
        .args(pipelines::flags())
        .arg(Arg::new("watch").long("watch").action(ArgAction::SetTrue).help(
            "Look again every 5 s, and print a row for each anchor that is new, has changed its state, or is \
             gone.",
        ))
        .arg(output::flag().help("Print text for people, or a line of JSON for each anchor."))
        .after_help(
            "States: live; expired; ended, if GitHub or GitLab says that the run or pipeline is over; \
             unclear, if the anchor does not say when it expires.\n\
             The credential needs `list` on Secrets. jobpass asks only for their metadata.\n\n\
             Example:\n  \
             jobpass list --all-namespaces",
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
    let list = List {
        cluster: &cluster,
        scope: &scope,
        pipelines: Pipelines::new(matches, environment)?,
        lines: Lines::to_stdout(),
        screen: Screen::of_stdout(environment),
        layout: None,
        json: output::is_json(matches),
    };
    tokio::select! {
        interrupted = interrupt.wait() => Err(interrupted),
        done = list.run(matches.get_flag("watch")) => done,
    }
}

struct List<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    pipelines: Pipelines,
    lines: Lines,
    screen: Screen,
    /// The layout, which the first rows decide.
    layout: Option<Layout>,
    json: bool,
}

/// The anchors that `--watch` has shown, by uid. They need memory for each anchor in the cluster, and a plain
/// list does not keep them.
type Known = HashMap<String, (ListedAnchor, Standing)>;

impl List<'_> {
    async fn run(mut self, watch: bool) -> Result<(), Error> {
        let mut known = watch.then(Known::new);
        let shown = self.round(known.as_mut()).await?;
        if shown == 0 && !self.json {
            self.lines
                .print(format!("no anchors in {}\n", self.scope.in_words()))
                .await?;
        }
        while let Some(known) = &mut known {
            tokio::time::sleep(WATCH_INTERVAL).await;
            if let Err(error) = self.round(Some(known)).await {
                // The API server may soon be reachable again.
                if error.kind() != Kind::Unreachable {
                    return Err(error);
                }
                output::warning(error.message());
            }
        }
        for warning in self.pipelines.warnings() {
            output::warning(&warning);
        }
        self.lines.close().await
    }

    /// Lists the anchors once. Prints all of them, or those that differ from `known`. Returns the number of
    /// the printed anchors, without those that are gone.
    async fn round(&mut self, mut known: Option<&mut Known>) -> Result<usize, Error> {
        let mut pages = Pages::new(self.cluster, self.scope);
        let mut shown = 0;
        let mut gone = known
            .as_deref()
            .map(|known| known.keys().cloned().collect::<HashSet<_>>());
        let mut now = Timestamp::now();
        while let Some(page) = pages.next().await? {
            now = page.now;
            let mut news = Vec::new();
            for (anchor, standing) in self.standings(page.anchors, now).await {
                if let (Some(known), Some(gone)) = (&mut known, &mut gone) {
                    gone.remove(&anchor.uid);
                    let before = known.insert(anchor.uid.clone(), (anchor.clone(), standing));
                    if before.is_some_and(|(_, before)| before == standing) {
                        continue;
                    }
                }
                news.push((anchor, standing));
            }
            shown += news.len();
            self.show(&news, now).await?;
        }
        if let (Some(known), Some(gone)) = (known, gone) {
            let gone = gone
                .iter()
                .filter_map(|uid| known.remove(uid))
                .map(|(anchor, _)| (anchor, Standing::Gone));
            self.show(&gone.collect::<Vec<_>>(), now).await?;
        }
        Ok(shown)
    }

    /// Returns the anchors with their states.
    async fn standings(
        &mut self,
        anchors: Vec<ListedAnchor>,
        now: Timestamp,
    ) -> Vec<(ListedAnchor, Standing)> {
        let asked = anchors
            .iter()
            .filter(|anchor| {
                sweep::expiry(anchor, now) != Expiry::Passed && sweep::is_worth_asking(anchor, now)
            })
            .collect::<Vec<_>>();
        let ended = self.pipelines.ended(&asked).await;
        let ended = asked
            .iter()
            .zip(ended)
            .filter(|(_, ended)| *ended)
            .map(|(anchor, _)| anchor.uid.clone());
        let ended = ended.collect::<HashSet<_>>();
        anchors
            .into_iter()
            .map(|anchor| {
                let standing = standing(&anchor, now, ended.contains(&anchor.uid));
                (anchor, standing)
            })
            .collect()
    }

    /// Prints the anchors.
    async fn show(&mut self, anchors: &[(ListedAnchor, Standing)], now: Timestamp) -> Result<(), Error> {
        if anchors.is_empty() {
            return Ok(());
        }
        let text = if self.json {
            anchors
                .iter()
                .map(|(anchor, standing)| json_of(anchor, *standing))
                .collect::<Result<_, _>>()?
        } else {
            let rows = anchors
                .iter()
                .map(|(anchor, standing)| Row::new(anchor, *standing, now))
                .collect::<Vec<_>>();
            let mut text = String::new();
            let layout = self.layout.get_or_insert_with(|| {
                let layout = Layout::new(self.screen, &rows);
                text = layout.header();
                layout
            });
            rows.iter().fold(text, |text, row| text + &layout.row(row))
        };
        self.lines.print(text).await
    }
}

/// The state of an anchor. `ended` is `true` if the anchor's run or pipeline has ended.
fn standing(anchor: &ListedAnchor, now: Timestamp, ended: bool) -> Standing {
    match sweep::expiry(anchor, now) {
        Expiry::Passed => Standing::Expired,
        _ if ended => Standing::Ended,
        // `sweep` waits for some time after a token's expiry before it counts the anchor as expired.
        Expiry::Pending if anchor.expires.is_some_and(|expires| expires <= now) => Standing::Expired,
        Expiry::Pending => Standing::Live,
        Expiry::Unclear(_) => Standing::Unclear,
    }
}

/// The line of JSON for an anchor.
fn json_of(anchor: &ListedAnchor, standing: Standing) -> Result<String, Error> {
    let mut json = json::value(anchor)?;
    json["state"] = standing.word().into();
    Ok(format!("{json}\n"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::live("13:00:00", false, "live")]
    #[case::expired_just_now("12:00:00", false, "expired")]
    #[case::long_expired("10:00:00", false, "expired")]
    #[case::its_run_has_ended("13:00:00", true, "ended")]
    #[case::long_expired_and_its_run_has_ended("10:00:00", true, "expired")]
    #[case::no_expiry("", false, "unclear")]
    #[case::no_expiry_and_its_run_has_ended("", true, "ended")]
    fn the_state_of_an_anchor(#[case] expires: &str, #[case] ended: bool, #[case] expected: &str) {
        let mut anchor = json!({
            "namespace": "ci", "anchor": "jobpass-aaaaaaaaaaaaaaaaaaaa", "uid": "u", "created": "2026-11-24T09:00:00Z",
        });
        if !expires.is_empty() {
            anchor["expires"] = format!("2026-11-24T{expires}Z").into();
        }
        let anchor = serde_json::from_value(anchor).expect("an anchor");
        let now = "2026-11-24T12:00:00Z".parse().expect("a time");
        assert_eq!(standing(&anchor, now, ended).word(), expected);
    }
}
