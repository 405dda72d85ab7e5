//! Sweeping: deleting the anchors that outlived their jobs, and nothing else.
//!
//! All that is known is in the cluster, so a sweep may be interrupted anywhere, begun again, or run twice at once.

use std::{cell::Cell, time::Duration};

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    anchor::{
        Deletion, delete, held,
        list::{Anchor, Page, Pages, SWEEPER},
    },
    cluster::{Budget, Cluster, Scope},
    error::{Error, Kind},
    inputs::spec::TokenType,
    process::interrupt::Interrupt,
};

/// How long after its expiry an anchor is left alone. Its token is asked for up to 45 s after the anchor was created.
const SLACK: SignedDuration = SignedDuration::from_mins(5);
/// How old an anchor must be for its pipeline to be asked about: the end of a job deletes its anchor itself.
const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// Deletions under way at a time.
const CONCURRENT: usize = 32;
/// One deletion, retries included.
const PATIENCE: Duration = Duration::from_secs(45);
/// Failed deletions after which a sweep goes no further.
const MOST_FAILURES: u64 = 100;
/// For the answers that are still on their way when the sweep is told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Why an anchor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its token has expired, or, a legacy one, was to go by now.
    Expired,
    /// The run or pipeline that it belongs to has ended, says the CI platform.
    Ended,
}

/// What is known about an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Its token may be in use.
    Pending,
    /// Its token has expired.
    Passed,
    /// It does not say when it expires, or not believably, or jobpass cannot have made it.
    Unclear(&'static str),
}

/// What became of an anchor.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It was deleted; in a dry run, it would have been.
    Deleted(Reason),
    /// It was to be deleted, and somebody else was faster.
    Gone(Reason),
    /// It should be gone, and is not, or may not be.
    Failed(Reason, Error),
    /// It was left alone, for want of knowledge.
    Unclear(&'static str),
}

/// How a sweep went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Anchors that were looked at.
    pub seen: u64,
    /// Deleted; in a dry run, would have been.
    pub deleted: u64,
    /// Of these, because they had expired.
    pub expired: u64,
    /// Of these, because their run or pipeline had ended.
    pub ended: u64,
    /// Deleted by somebody else in between.
    pub gone: u64,
    /// Left alone, as their tokens may be in use.
    pub kept: u64,
    /// Left alone, for want of knowledge.
    pub unclear: u64,
    /// Not deleted, although they should have been.
    pub failed: u64,
    /// Asked for, and not answered before the sweep was stopped.
    pub unanswered: u64,
    /// Whether all anchors were looked at.
    pub complete: bool,
}

/// What a sweep does, besides looking and deleting.
pub struct Sweeper<A, R> {
    /// Whether of each of these anchors it is certain that its run or pipeline has ended.
    pub ended: A,
    /// Told what became of an anchor, as soon as that is known; not of those that were kept.
    pub report: R,
    /// Delete nothing.
    pub dry_run: bool,
}

/// Looks at an anchor alone. A legacy token goes when its annotation says so, whoever made it: only deleting its Secret makes
/// that true.
pub fn expiry(anchor: &Anchor, now: Timestamp) -> Expiry {
    if anchor.token_type == TokenType::Legacy {
        return match anchor.expires.filter(|_| anchor.is_plain()) {
            None => Expiry::Unclear(
                "its annotation kubernetes.io/service-account.expiration is no number of seconds, as in \"86400\"",
            ),
            Some(expires) if now > expires => Expiry::Passed,
            Some(_) => Expiry::Pending,
        };
    }
    match anchor.expires {
        _ if !anchor.is_ours() => {
            Expiry::Unclear("it has the type of an anchor, but a name that jobpass gives to none")
        }
        None => Expiry::Unclear("its annotations do not say when it expires, or not believably"),
        Some(expires) if now.duration_since(expires) > SLACK => Expiry::Passed,
        Some(_) => Expiry::Pending,
    }
}

/// Whether to ask if the run or pipeline of an anchor has ended.
pub fn is_worth_asking(anchor: &Anchor, now: Timestamp) -> bool {
    anchor.is_ours()
        && anchor
            .created
            .is_some_and(|created| now.duration_since(created) > GRACE)
}

impl<A, R> Sweeper<A, R>
where
    A: AsyncFnMut(&[&Anchor]) -> Vec<bool>,
    R: AsyncFnMut(&Anchor, &Fate) -> Result<(), Error>,
{
    /// Sweeps, page by page. Once interrupted, it begins no deletion, and ends within 4 s.
    ///
    /// # Errors
    /// The first that kept it from deleting what it should have; the summary says how far it came.
    pub async fn sweep(
        self,
        cluster: &Cluster,
        scope: &Scope,
        interrupt: &mut Interrupt,
    ) -> (Summary, Result<(), Error>) {
        let broom = Broom {
            cluster,
            scope,
            dry_run: self.dry_run,
            stop: Cell::new(false),
            under_way: Cell::new(0),
        };
        let mut summary = Summary::default();
        let outcome = {
            let mut work = std::pin::pin!(self.work(&broom, &mut summary));
            tokio::select! {
                outcome = &mut work => outcome,
                interrupted = interrupt.wait() => {
                    broom.stop.set(true);
                    let _ = tokio::time::timeout(LAST_ANSWERS, work).await;
                    Err(interrupted)
                }
            }
        };
        summary.unanswered = broom.under_way.get();
        (summary, outcome)
    }

    async fn work(mut self, broom: &Broom<'_>, summary: &mut Summary) -> Result<(), Error> {
        let mut pages = Pages::to_sweep(broom.cluster, broom.scope);
        let mut first_failure = None;
        while let Some(page) = pages.next().await? {
            summary.seen += page.anchors.len() as u64;
            let doomed = self.judge(&page, summary).await?;
            let deletions = stream::iter(doomed).map(|(anchor, reason)| async move {
                let fate = broom.delete(anchor, reason).await?;
                Some((anchor, fate))
            });
            let mut deletions = std::pin::pin!(deletions.buffer_unordered(CONCURRENT));
            while let Some(deletion) = deletions.next().await {
                let Some((anchor, fate)) = deletion else { continue };
                summary.count(&fate);
                (self.report)(anchor, &fate).await?;
                if let Fate::Failed(_, error) = fate {
                    first_failure.get_or_insert(error);
                }
                if summary.failed >= MOST_FAILURES {
                    broom.stop.set(true);
                }
            }
            if broom.stop.get() {
                break;
            }
        }
        summary.complete = !broom.stop.get();
        match first_failure {
            Some(error) => Err(still_there(summary.failed, &error)),
            None => Ok(()),
        }
    }

    /// The anchors of a page that are to go.
    async fn judge<'p>(
        &mut self,
        page: &'p Page,
        summary: &mut Summary,
    ) -> Result<Vec<(&'p Anchor, Reason)>, Error> {
        let (expired, others) = page
            .anchors
            .iter()
            .partition::<Vec<_>, _>(|anchor| expiry(anchor, page.now) == Expiry::Passed);
        let (asked, young) = others
            .into_iter()
            .partition::<Vec<_>, _>(|anchor| is_worth_asking(anchor, page.now));
        let ended = (self.ended)(&asked).await;
        let mut doomed = expired
            .into_iter()
            .map(|anchor| (anchor, Reason::Expired))
            .collect::<Vec<_>>();
        let answered = asked.into_iter().zip(ended);
        for (anchor, ended) in answered.chain(young.into_iter().map(|anchor| (anchor, false))) {
            match expiry(anchor, page.now) {
                _ if ended => doomed.push((anchor, Reason::Ended)),
                Expiry::Unclear(why) => {
                    summary.unclear += 1;
                    (self.report)(anchor, &Fate::Unclear(why)).await?;
                }
                _ => summary.kept += 1,
            }
        }
        Ok(doomed)
    }
}

struct Broom<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    dry_run: bool,
    /// No deletion is begun any more.
    stop: Cell<bool>,
    /// Deletions that were asked for and not answered.
    under_way: Cell<u64>,
}

impl Broom<'_> {
    /// `None` if the sweep is to stop.
    async fn delete(&self, anchor: &Anchor, reason: Reason) -> Option<Fate> {
        if self.stop.get() {
            return None;
        }
        if self.dry_run {
            return Some(Fate::Deleted(reason));
        }
        self.under_way.set(self.under_way.get() + 1);
        let budget = Budget::new(PATIENCE);
        let Anchor {
            namespace, name, uid, ..
        } = anchor;
        let deletion = delete(self.cluster, namespace, name, Some(uid), &budget).await;
        self.under_way.set(self.under_way.get() - 1);
        Some(match deletion {
            Ok(Deletion::Done | Deletion::Gone { repeated: true }) => Fate::Deleted(reason),
            Ok(Deletion::Gone { repeated: false } | Deletion::AnotherUid) => Fate::Gone(reason),
            Ok(Deletion::Held) => Fate::Failed(reason, held(namespace, name)),
            Ok(Deletion::Refused(call, answer)) => {
                let error = self.cluster.refused_to_see(&call, &answer, self.scope, SWEEPER);
                Fate::Failed(reason, error)
            }
            Err(unanswered) => Fate::Failed(reason, unanswered.error),
        })
    }
}

fn still_there(number: u64, first: &Error) -> Error {
    let what = match number {
        1 => format!("1 anchor is still there: {}", first.what()),
        _ => format!("{number} anchors are still there; the first: {}", first.what()),
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
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::live("2026-11-24T10:00:00Z", Expiry::Pending)]
    #[case::expired_just_now("2026-11-24T11:05:00Z", Expiry::Pending)]
    #[case::expired("2026-11-24T11:05:01Z", Expiry::Passed)]
    fn an_anchor_goes_five_minutes_after_its_expiry(#[case] now: &str, #[case] expected: Expiry) {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let expires = Some(time("2026-11-24T11:00:00Z"));
        assert_eq!(
            expiry(
                &Anchor {
                    expires,
                    ..named("jobpass-abcdefghijklmnopqrst")
                },
                time(now)
            ),
            expected
        );
    }

    #[rstest]
    #[case::another_name("database", Some("2020-01-01T00:00:00Z"))]
    #[case::no_expiry("jobpass-abcdefghijklmnopqrst", None)]
    fn what_is_left_for_want_of_knowledge(#[case] name: &str, #[case] expires: Option<&str>) {
        let expires = expires.map(|text| text.parse().expect("a time"));
        let expiry = expiry(
            &Anchor {
                expires,
                ..named(name)
            },
            Timestamp::now(),
        );
        assert!(matches!(expiry, Expiry::Unclear(_)), "{expiry:?}");
    }

    fn named(name: &str) -> Anchor {
        serde_json::from_value(serde_json::json!({ "namespace": "ci", "anchor": name, "uid": "u" }))
            .expect("an anchor")
    }
}
