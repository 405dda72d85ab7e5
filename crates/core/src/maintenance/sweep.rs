//! The sweep: jobpass deletes anchors whose token has expired, and anchors whose run or pipeline has ended.
//! jobpass deletes nothing else. The Secret of a legacy token is the anchor of that token.
//!
//! A sweep stores nothing. So a person may stop a sweep at any time, start it again, or run two sweeps at
//! once.

use std::{cell::Cell, time::Duration};

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    anchor::{
        Deletion, delete, held,
        list::{ListedAnchor, Page, Pages, SWEEPER},
    },
    cluster::{Budget, Cluster, Scope},
    error::{Error, Kind},
    inputs::spec::TokenType,
    process::interrupt::Interrupt,
};

/// The time for which the sweep leaves the anchor of a bound token alone after the expiry in the annotation.
/// The token may expire up to 45 s later, because jobpass mints it after it creates the anchor. The rest of
/// the time is for clocks that differ. A legacy token gets no such time.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// The age above which the sweep asks the CI platform about the run of an anchor. A younger anchor usually
/// belongs to a job that still runs.
const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// The greatest number of deletions at a time.
const CONCURRENT: usize = 32;
/// The time limit for one deletion, retries included.
const ONE_DELETION: Duration = Duration::from_secs(45);
/// The number of failed deletions at which a sweep stops.
const MAX_FAILURES: u64 = 100;
/// The time limit for outstanding answers after a signal.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// The reason for a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The token has expired. For a legacy token, the lifetime in the annotation is over.
    Expired,
    /// The CI platform says that the anchor's run or pipeline has ended.
    Ended,
}

/// The expiry of an anchor, from the anchor's own annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The token may be in use.
    Pending,
    /// The token has expired. For a legacy token, the lifetime in the annotation is over.
    Passed,
    /// The anchor has no credible expiry, or jobpass did not create it. The text is the reason.
    Unclear(&'static str),
}

/// The outcome for an anchor. An anchor whose token may be in use has no outcome.
#[derive(Debug, Clone)]
pub enum Fate {
    /// The sweep deleted the anchor. In a dry run, the sweep would have deleted it.
    Deleted(Reason),
    /// Somebody else deleted the anchor first.
    Gone(Reason),
    /// The sweep could not delete the anchor, or does not know whether it did.
    Failed(Reason, Error),
    /// The sweep left the anchor alone, because its expiry is unclear.
    Unclear(&'static str),
}

/// The result of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Anchors that the sweep has seen.
    pub seen: u64,
    /// Anchors that the sweep deleted, or would have deleted in a dry run.
    pub deleted: u64,
    /// Deleted anchors that had expired.
    pub expired: u64,
    /// Deleted anchors whose run or pipeline had ended.
    pub ended: u64,
    /// Anchors that somebody else deleted first.
    pub gone: u64,
    /// Anchors that the sweep left alone, because their tokens may be in use.
    pub kept: u64,
    /// Anchors that the sweep left alone, because their expiry is unclear.
    pub unclear: u64,
    /// Anchors whose deletion failed, or is not certain.
    pub failed: u64,
    /// Deletions without an answer when the sweep ended.
    pub unanswered: u64,
    /// Whether the sweep ran to its end. If not, it may not have seen all anchors.
    pub complete: bool,
}

/// A sweep before it runs, with the two functions that it calls.
pub struct Sweeper<A, R> {
    /// Returns, for each anchor, whether its run or pipeline has ended: `true` only if that is certain.
    pub ended: A,
    /// Receives each outcome as soon as it is known.
    pub report: R,
    /// Whether this is a dry run, which deletes nothing.
    pub dry_run: bool,
}

/// The expiry of an anchor, at the time `now` by the API server's clock. For a legacy token, the annotation
/// alone decides, even if jobpass did not create the Secret: the token itself has no expiry.
pub fn expiry(anchor: &ListedAnchor, now: Timestamp) -> Expiry {
    if anchor.token_type == TokenType::Legacy {
        return match anchor.expires.filter(|_| anchor.is_plain()) {
            None => Expiry::Unclear(
                "its annotation kubernetes.io/service-account.expiration is not a number of seconds, as in \"86400\"",
            ),
            Some(expires) if now > expires => Expiry::Passed,
            Some(_) => Expiry::Pending,
        };
    }
    match anchor.expires {
        _ if !anchor.is_ours() => Expiry::Unclear("it has the type of an anchor, but not the name of one"),
        None => Expiry::Unclear("its annotations have no credible expiry"),
        Some(expires) if now.duration_since(expires) > EXPIRY_MARGIN => Expiry::Passed,
        Some(_) => Expiry::Pending,
    }
}

/// Whether it makes sense to ask the CI platform about the anchor's run or pipeline: jobpass may have made
/// the anchor, and the anchor is older than 5 minutes.
pub fn is_worth_asking(anchor: &ListedAnchor, now: Timestamp) -> bool {
    anchor.is_ours()
        && anchor
            .created
            .is_some_and(|created| now.duration_since(created) > GRACE)
}

impl<A, R> Sweeper<A, R>
where
    A: AsyncFnMut(&[&ListedAnchor]) -> Vec<bool>,
    R: AsyncFnMut(&ListedAnchor, &Fate) -> Result<(), Error>,
{
    /// Sweeps page by page. After a signal, the sweep starts no more deletions, and waits up to 3 s for the
    /// outstanding answers.
    ///
    /// # Errors
    /// If jobpass could not delete an anchor: the sweep still tries the others, until 100 deletions have
    /// failed. Also if jobpass cannot list the anchors, if a report fails, or after a signal: each of these
    /// ends the sweep early, and the summary counts the anchors up to then.
    pub async fn sweep(
        self,
        cluster: &Cluster,
        scope: &Scope,
        interrupt: &mut Interrupt,
    ) -> (Summary, Result<(), Error>) {
        let deletions = Deletions {
            cluster,
            scope,
            dry_run: self.dry_run,
            stop: Cell::new(false),
            unanswered: Cell::new(0),
            unsure: Cell::new(false),
        };
        let mut summary = Summary::default();
        let outcome = {
            let mut work = std::pin::pin!(self.work(&deletions, &mut summary));
            tokio::select! {
                outcome = &mut work => outcome,
                interrupted = interrupt.wait() => {
                    deletions.stop.set(true);
                    let _ = tokio::time::timeout(LAST_ANSWERS, work).await;
                    Err(interrupted)
                }
            }
        };
        summary.unanswered = deletions.unanswered.get();
        (summary, outcome)
    }

    async fn work(mut self, deletions: &Deletions<'_>, summary: &mut Summary) -> Result<(), Error> {
        let mut pages = Pages::to_sweep(deletions.cluster, deletions.scope);
        let mut first_failure = None;
        while let Some(page) = pages.next().await? {
            summary.seen += page.anchors.len() as u64;
            let to_delete = self.judge(&page, summary).await?;
            let fates = stream::iter(to_delete).map(|(anchor, reason)| async move {
                let fate = deletions.delete(anchor, reason).await?;
                Some((anchor, fate))
            });
            let mut fates = std::pin::pin!(fates.buffer_unordered(CONCURRENT));
            while let Some(fate) = fates.next().await {
                let Some((anchor, fate)) = fate else { continue };
                summary.count(&fate);
                (self.report)(anchor, &fate).await?;
                if let Fate::Failed(_, error) = fate {
                    first_failure.get_or_insert(error);
                }
                if summary.failed >= MAX_FAILURES {
                    deletions.stop.set(true);
                }
            }
            if deletions.stop.get() {
                break;
            }
        }
        summary.complete = !deletions.stop.get();
        match first_failure {
            Some(error) => Err(still_there(summary.failed, deletions.unsure.get(), &error)),
            None => Ok(()),
        }
    }

    /// Picks, from the anchors on a page, those to delete. Reports the unclear anchors, and counts those that
    /// the sweep keeps.
    async fn judge<'p>(
        &mut self,
        page: &'p Page,
        summary: &mut Summary,
    ) -> Result<Vec<(&'p ListedAnchor, Reason)>, Error> {
        let (expired, others) = page
            .anchors
            .iter()
            .partition::<Vec<_>, _>(|anchor| expiry(anchor, page.now) == Expiry::Passed);
        let (asked, young) = others
            .into_iter()
            .partition::<Vec<_>, _>(|anchor| is_worth_asking(anchor, page.now));
        let ended = (self.ended)(&asked).await;
        let mut to_delete = expired
            .into_iter()
            .map(|anchor| (anchor, Reason::Expired))
            .collect::<Vec<_>>();
        let answered = asked.into_iter().zip(ended);
        for (anchor, ended) in answered.chain(young.into_iter().map(|anchor| (anchor, false))) {
            match expiry(anchor, page.now) {
                _ if ended => to_delete.push((anchor, Reason::Ended)),
                Expiry::Unclear(why) => {
                    summary.unclear += 1;
                    (self.report)(anchor, &Fate::Unclear(why)).await?;
                }
                _ => summary.kept += 1,
            }
        }
        Ok(to_delete)
    }
}

/// The deletions of one sweep.
struct Deletions<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    dry_run: bool,
    /// Whether the sweep must start no more deletions.
    stop: Cell<bool>,
    /// The number of deletions without an answer.
    unanswered: Cell<u64>,
    /// Whether a failed deletion may have deleted its anchor.
    unsure: Cell<bool>,
}

impl Deletions<'_> {
    /// Deletes an anchor. `None` if the sweep must start no more deletions.
    async fn delete(&self, anchor: &ListedAnchor, reason: Reason) -> Option<Fate> {
        if self.stop.get() {
            return None;
        }
        if self.dry_run {
            return Some(Fate::Deleted(reason));
        }
        self.unanswered.set(self.unanswered.get() + 1);
        let budget = Budget::new(ONE_DELETION);
        let ListedAnchor {
            namespace, name, uid, ..
        } = anchor;
        let deletion = delete(self.cluster, namespace, name, Some(uid), &budget).await;
        self.unanswered.set(self.unanswered.get() - 1);
        Some(match deletion {
            Ok(Deletion::Done | Deletion::Gone { repeated: true }) => Fate::Deleted(reason),
            Ok(Deletion::Gone { repeated: false } | Deletion::AnotherUid) => Fate::Gone(reason),
            Ok(Deletion::Held) => Fate::Failed(reason, held(namespace, name)),
            Ok(Deletion::Refused(call, answer)) => {
                self.unsure.set(self.unsure.get() || !answer.is_refusal());
                let error = self.cluster.refused_to_see(&call, &answer, self.scope, SWEEPER);
                Fate::Failed(reason, error)
            }
            Err(unanswered) => {
                self.unsure.set(self.unsure.get() || unanswered.maybe_done);
                Fate::Failed(reason, unanswered.error)
            }
        })
    }
}

/// The error for anchors that the sweep should have deleted. `unsure` says whether one of them may be gone.
fn still_there(number: u64, unsure: bool, first: &Error) -> Error {
    let why = first.message();
    let what = match (number, unsure) {
        (1, false) => format!("1 anchor is still there: {why}"),
        (1, true) => format!("1 anchor may still be there: {why}"),
        (_, false) => format!("{number} anchors are still there; the first: {why}"),
        (_, true) => format!("{number} anchors may still be there; the first: {why}"),
    };
    let error = Error::new(Kind::Revoke, what);
    match first.next_step() {
        Some(help) => error.help(help),
        None => error,
    }
}

impl Summary {
    fn count(&mut self, fate: &Fate) {
        match fate {
            Fate::Deleted(reason) => {
                self.deleted += 1;
                match reason {
                    Reason::Expired => self.expired += 1,
                    Reason::Ended => self.ended += 1,
                }
            }
            Fate::Gone(_) => self.gone += 1,
            Fate::Failed(..) => self.failed += 1,
            Fate::Unclear(_) => self.unclear += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const OURS: &str = "jobpass-abcdefghijklmnopqrst";

    #[rstest]
    #[case::live("2026-11-24T10:00:00Z", Expiry::Pending)]
    #[case::expired_just_now("2026-11-24T11:05:00Z", Expiry::Pending)]
    #[case::expired("2026-11-24T11:05:01Z", Expiry::Passed)]
    fn an_anchor_is_expired_five_minutes_after_its_expiry(#[case] now: &str, #[case] expected: Expiry) {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let expires = Some(time("2026-11-24T11:00:00Z"));
        assert_eq!(
            expiry(
                &ListedAnchor {
                    expires,
                    ..named(OURS)
                },
                time(now)
            ),
            expected
        );
    }

    #[rstest]
    #[case::another_name("database", Some("2020-01-01T00:00:00Z"))]
    #[case::no_expiry("jobpass-abcdefghijklmnopqrst", None)]
    fn an_anchor_with_an_unclear_expiry_stays(#[case] name: &str, #[case] expires: Option<&str>) {
        let expires = expires.map(|text| text.parse().expect("a time"));
        let expiry = expiry(
            &ListedAnchor {
                expires,
                ..named(name)
            },
            Timestamp::now(),
        );
        assert!(matches!(expiry, Expiry::Unclear(_)), "{expiry:?}");
    }

    const NOW: &str = "2026-11-24T12:00:00Z";

    fn anchor(name: &str, created: &str, expires: &str, more: serde_json::Value) -> ListedAnchor {
        let mut json = json!({
            "namespace": "ci", "anchor": name, "uid": "u",
            "created": format!("2026-11-24T{created}:00Z"), "expires": format!("2026-11-24T{expires}:00Z"),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            json[key] = value.clone();
        }
        serde_json::from_value(json).expect("an anchor")
    }

    /// Each case judges a page with one anchor. `has_ended` is the CI platform's answer about the anchor's
    /// run. `asks` tells whether the sweep asks the platform.
    #[rstest]
    #[case::live(anchor(OURS, "11:58", "13:00", json!({})), false, false, "kept")]
    #[case::young(anchor(OURS, "11:55", "13:00", json!({})), true, false, "kept")]
    #[case::running(anchor(OURS, "11:54", "13:00", json!({})), false, true, "kept")]
    #[case::ended(anchor(OURS, "11:54", "13:00", json!({})), true, true, "ended")]
    #[case::expired(anchor(OURS, "10:00", "11:54", json!({})), true, false, "expired")]
    #[case::unclear(anchor(OURS, "11:00", "13:00", json!({"expires": null})), false, true, "unclear")]
    #[case::unclear_but_ended(anchor(OURS, "11:00", "13:00", json!({"expires": null})), true, true, "ended")]
    #[case::not_ours(anchor("database", "10:00", "11:00", json!({})), true, false, "unclear")]
    #[case::without_a_date(anchor(OURS, "10:00", "13:00", json!({"created": null})), true, false, "kept")]
    #[case::legacy(anchor("app", "10:00", "11:59", json!({"type": "legacy"})), true, false, "expired")]
    #[case::live_legacy(anchor("app", "10:00", "12:01", json!({"type": "legacy"})), true, false, "kept")]
    #[case::unclear_legacy(anchor("app", "10:00", "12:01", json!({"type": "legacy", "expires": null})), true, false, "unclear")]
    fn an_anchor_is_judged(
        #[case] anchor: ListedAnchor,
        #[case] has_ended: bool,
        #[case] asks: bool,
        #[case] expected: &str,
    ) {
        let mut asked = 0;
        let page = Page {
            anchors: vec![anchor],
            now: NOW.parse().expect("a time"),
        };
        let mut summary = Summary::default();
        let mut sweeper = Sweeper {
            ended: async |anchors: &[&ListedAnchor]| {
                asked += anchors.len();
                vec![has_ended; anchors.len()]
            },
            report: async |_: &ListedAnchor, _: &Fate| Ok(()),
            dry_run: false,
        };
        let judged = sweeper.judge(&page, &mut summary).now_or_never();
        let judged = judged.expect("nothing to wait for").expect("reported");
        for (_, reason) in judged {
            summary.count(&Fate::Deleted(reason));
        }
        let counts = [
            ("kept", summary.kept),
            ("unclear", summary.unclear),
            ("expired", summary.expired),
            ("ended", summary.ended),
        ];
        let counted = counts
            .into_iter()
            .filter(|(_, count)| *count == 1)
            .map(|(name, _)| name);
        assert_eq!(counted.collect::<Vec<_>>(), [expected]);
        assert_eq!(asked == 1, asks);
    }

    #[test]
    fn every_fate_is_counted_once() {
        let error = || Error::new(Kind::Refused, "no");
        let fates = [
            Fate::Deleted(Reason::Expired),
            Fate::Deleted(Reason::Ended),
            Fate::Gone(Reason::Expired),
            Fate::Failed(Reason::Ended, error()),
            Fate::Unclear("x"),
        ];
        let mut summary = Summary::default();
        fates.iter().for_each(|fate| summary.count(fate));
        let expected = Summary {
            deleted: 2,
            expired: 1,
            ended: 1,
            gone: 1,
            failed: 1,
            unclear: 1,
            ..Summary::default()
        };
        assert_eq!(summary, expected);
    }

    #[rstest]
    #[case(1, false, "1 anchor is still there: no")]
    #[case(2, false, "2 anchors are still there; the first: no")]
    #[case(1, true, "1 anchor may still be there: no")]
    #[case(2, true, "2 anchors may still be there; the first: no")]
    fn the_first_failure_says_what_to_do(#[case] number: u64, #[case] unsure: bool, #[case] what: &str) {
        let error = still_there(
            number,
            unsure,
            &Error::new(Kind::Refused, "no").help("ask for it"),
        );
        assert_eq!(
            (error.kind(), error.message(), error.next_step()),
            (Kind::Revoke, what, Some("ask for it"))
        );
    }

    fn named(name: &str) -> ListedAnchor {
        serde_json::from_value(json!({ "namespace": "ci", "anchor": name, "uid": "u" })).expect("an anchor")
    }
}
