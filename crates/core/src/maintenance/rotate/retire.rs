//! The end of the old token: the grace period, the deletion of its Secret, and the proof.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    ROTATE, Rotated,
    earlier::ROTATED_TO,
    successor::{delete, patch_call},
};
use crate::{
    anchor::legacy::EXPIRATION,
    cluster::{
        Budget, Cluster,
        probe::{WATCH_LAG, is_accepted},
    },
    error::{Error, Kind},
    record::receipt::Proof,
    refusal::RequiredPermission,
    token::Token,
};

/// The time limit for deleting the old Secret and for the proof.
const DELETE: Duration = Duration::from_secs(40);

/// A rotation that has written the new token over the old one. The old token still works.
pub struct Replaced<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) old_uid: String,
    pub(super) old_token: Option<Token>,
    pub(super) old_created: Timestamp,
    /// The expiry that the old Secret had when jobpass read it.
    pub(super) old_expires: Option<Timestamp>,
    /// Whether the old Secret has an expiry: it had one when jobpass read it, or [`Replaced::retire`] set it.
    pub(super) retired: bool,
    /// The report for a person or a program.
    pub report: Rotated,
}

impl Replaced<'_> {
    /// Gives the old Secret an expiry at the end of the grace period. So `jobpass sweep` deletes the Secret
    /// even if this process ends early. Returns the time to wait. It is shorter than `grace` if the Secret
    /// had an earlier expiry, and zero if the Secret is gone.
    ///
    /// # Errors
    /// If the API server does not answer, or jobpass cannot write the expiry.
    pub async fn retire(&mut self, grace: Duration) -> Result<Duration, Error> {
        let Rotated {
            namespace,
            service_account,
            old,
            new,
            ..
        } = &self.report;
        let budget = Budget::new(ROTATE);
        let holder = self.cluster;
        let (_, now) = is_accepted(holder, &budget)
            .await
            .map_err(|error| self.unfinished(&error))?;
        let end = end(now, grace, self.old_expires);
        let seconds = end.duration_since(self.old_created).as_secs().max(1);
        // This writes the new Secret's name once more, because another rotation that failed may have removed
        // it.
        let patch =
            json!({ "metadata": { "annotations": { EXPIRATION: seconds.to_string(), ROTATED_TO: new } } });
        let call = patch_call("set the expiry of the old Secret", namespace, old, patch)
            .map_err(|error| self.unfinished(&error))?;
        let answer = self.cluster.send(&call, &budget).await;
        let answer = answer.map_err(|lost| self.unfinished(&lost.error))?;
        match answer.status {
            200 => {
                self.retired = true;
                Ok(Duration::try_from(end.duration_since(now)).unwrap_or_default())
            }
            404 if answer.is_secret_not_found() => Ok(Duration::ZERO),
            _ => {
                let permission = RequiredPermission::rotating(namespace, service_account);
                Err(self.unfinished(&self.cluster.refused(&call, &answer, &permission)))
            }
        }
    }

    /// Deletes the old Secret, and asks the API server once whether it still accepts the old token.
    ///
    /// # Errors
    /// If the Secret may still exist.
    pub async fn finish(&mut self) -> Result<(), Error> {
        let Rotated {
            namespace,
            service_account,
            old,
            ..
        } = &self.report;
        let budget = Budget::new(DELETE);
        let permission = RequiredPermission::rotating(namespace, service_account);
        let doing = "delete the old Secret";
        delete(
            self.cluster,
            doing,
            old,
            Some(&self.old_uid),
            &permission,
            &budget,
        )
        .await
        .map_err(|left| self.unfinished(&left.into()))?;
        let accepted = match &self.old_token {
            Some(token) => {
                tokio::time::sleep(WATCH_LAG).await;
                match self.cluster.with_token(token) {
                    Ok(holder) => is_accepted(&holder, &budget).await.ok(),
                    // The Secret is gone, so this is no failure of the rotation.
                    Err(_) => None,
                }
            }
            None => None,
        };
        self.report.proof = Some(match accepted {
            Some((false, _)) => Proof::Unauthorized,
            _ => Proof::AnchorGone,
        });
        Ok(())
    }

    /// The error for a failure that came after jobpass wrote the new token over the old one.
    pub fn unfinished(&self, error: &Error) -> Error {
        let Rotated {
            namespace,
            old,
            place,
            ..
        } = &self.report;
        let kind = match error.kind() {
            kind @ (Kind::Interrupted | Kind::Terminated) => kind,
            _ => Kind::Revoke,
        };
        let what = format!(
            "the new token is in {place}, but the old one may still work: {}",
            error.message()
        );
        let unfinished = Error::new(kind, what);
        let unfinished = match error.next_step() {
            Some(help) => unfinished.help(help),
            None => unfinished,
        };
        let sweep = match self.retired {
            true => ". `jobpass sweep` deletes the old Secret after its expiry",
            false => "",
        };
        unfinished.help(format!(
            "run the same command again: it continues from here and deletes the old Secret{sweep}. Or \
             delete the old Secret by hand:\n\n  kubectl delete secret {old} --namespace {namespace}"
        ))
    }
}

/// The end of the grace period, or the expiry of the old Secret if that is earlier. Never before `now`.
fn end(now: Timestamp, grace: Duration, old_expires: Option<Timestamp>) -> Timestamp {
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    let end = now.checked_add(grace).unwrap_or(Timestamp::MAX);
    old_expires.map_or(end, |expires| expires.min(end)).max(now)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::grace_alone(300, None, 300)]
    #[case::none(0, None, 0)]
    #[case::an_earlier_expiry(300, Some(100), 100)]
    #[case::a_later_expiry(300, Some(900), 300)]
    #[case::expired_already(300, Some(-900), 0)]
    fn the_old_secret_expires_after_the_grace_period_or_earlier(
        #[case] grace: u64,
        #[case] expires: Option<i64>,
        #[case] expected: i64,
    ) {
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000 + seconds);
        let end = end(at(0), Duration::from_secs(grace), expires.map(at));
        assert_eq!(end.duration_since(at(0)).as_secs(), expected);
    }

    #[test]
    fn a_grace_period_without_end_is_the_end_of_time() {
        assert_eq!(end(Timestamp::UNIX_EPOCH, Duration::MAX, None), Timestamp::MAX);
    }
}
