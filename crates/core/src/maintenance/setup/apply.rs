//! Applies a set-up to a cluster.
//!
//! A new minter gets its permissions only after jobpass has seen that the policies are in effect. If jobpass
//! cannot see that, it waits for 10 s instead. Without `replace`, no minter loses its binding, a longer
//! lifetime or an audience, and no job loses a rule that it may ask for. jobpass overwrites other changes to
//! the objects of a set-up.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use k8s_openapi::api::rbac::v1::Subject;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Grant, Setup,
    binding::MinterBinding,
    enforcement::{self, Enforcement, Violation},
    loss,
    manifests::RBAC,
    object::{Outcome, SetupObject},
    separation,
};
use crate::{
    cluster::{Budget, Call, Cluster},
    error::{Error, Kind},
    inputs::{lifetime::Lifetime, subject::MinterSubject},
    names,
};

/// The time limit for the policies to come into effect. An API server reads them once a second.
const IN_EFFECT: Duration = Duration::from_secs(20);
/// The wait after the last write of a policy, or after the removal of a permission. It gives the API servers
/// that no probe reached the time to read the change.
pub(super) const OTHER_SERVERS: Duration = Duration::from_secs(2);
/// The wait after the last write of a policy, if no probe is possible, for example because the administrator
/// has no permission to impersonate a minter.
const UNSEEN: Duration = Duration::from_secs(10);
/// The pause between two attempts at one probe.
const PAUSE: Duration = Duration::from_millis(100);
/// The beginning of the name of a group for the probes; the rest is random. The group has the minters'
/// permissions while the probes run, and no user belongs to it.
pub(super) const PROBE_GROUP: &str = "jobpass-setup:";

impl Setup {
    /// Applies the set-up, and reports the earlier state of each object. Returns a warning for the
    /// administrator, if there is one.
    ///
    /// # Errors
    /// If a job could get a minter's token, or if a minter or job would lose a permission and `replace` is
    /// not set: jobpass then changes nothing. If the policies do not come into effect: jobpass then binds no
    /// new minter. Also if the API server does not answer, or refuses a request, or if `report` fails.
    pub async fn apply(
        &self,
        cluster: &Cluster,
        budget: &Budget,
        replace: bool,
        mut report: impl FnMut(&SetupObject, &Outcome) -> Result<(), Error>,
    ) -> Result<Option<String>, Error> {
        separation::refuse(self, cluster, budget).await?;
        let objects = self.objects()?;
        let found = try_join_all(objects.iter().map(|object| object.found(cluster, budget))).await?;
        let outcomes = objects.iter().zip(&found);
        let outcomes = outcomes.map(|(object, found)| object.outcome(found.as_ref()));
        let outcomes = outcomes.collect::<Vec<_>>();
        if !replace {
            loss::refuse(self, &objects, &found)?;
        }
        let (mut bindings, mut others) = (Vec::new(), Vec::new());
        for ((object, found), outcome) in objects.iter().zip(&found).zip(&outcomes) {
            match self.binds_minters(object) {
                true => bindings.push(MinterBinding::new(object, found.as_ref(), outcome)?),
                false => others.push((object, outcome)),
            }
        }
        let changes = outcomes.iter().any(|outcome| *outcome != Outcome::Same);

        // A removed minter loses its permissions first, because soon no policy will name it.
        for binding in bindings.iter().filter(|binding| binding.removes_some()) {
            binding.bind(&binding.staying(), cluster, budget).await?;
        }
        if bindings.iter().any(MinterBinding::removes_some) {
            sleep(OTHER_SERVERS).await;
        }
        for (object, outcome) in &others {
            if **outcome != Outcome::Same {
                object.apply(cluster, budget).await?;
            }
            report(object, outcome)?;
        }
        let written = Instant::now();
        let unseen = match changes {
            true => {
                self.wait_for_policies(&bindings, written, cluster, budget)
                    .await?
            }
            false => None,
        };
        for MinterBinding { object, outcome, .. } in &bindings {
            if changes {
                object.apply(cluster, budget).await?;
            }
            report(object, outcome)?;
        }
        Ok(unseen)
    }

    /// Waits until the policies are in effect. Returns a warning if the probes could not tell.
    async fn wait_for_policies(
        &self,
        bindings: &[MinterBinding<'_>],
        written: Instant,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<Option<String>, Error> {
        // The group gets the minters' permissions. RBAC would otherwise refuse the probes before a policy
        // sees them.
        let group = names::random_name()?.replace("jobpass-", PROBE_GROUP);
        for binding in bindings {
            let mut subjects = binding.staying();
            subjects.push(Subject {
                kind: "Group".into(),
                api_group: Some(RBAC.into()),
                name: group.clone(),
                namespace: None,
            });
            binding.bind(&subjects, cluster, budget).await?;
        }
        let mut probes = Vec::new();
        for grant in self.grants() {
            probes.extend(self.probes(grant, &group, cluster, budget).await?);
        }
        let until = Instant::now() + IN_EFFECT;
        let all = join_all(probes.iter().map(|probe| probe.until_refused(until, budget))).await;
        let mut unseen = None;
        let mut failed = None;
        for (probe, refused) in probes.iter().zip(all) {
            match refused {
                Ok(()) => {}
                Err(NotRefused::Allowed) => failed = failed.or(Some(probe)),
                Err(NotRefused::Unknown(why)) => unseen = unseen.or(Some(why)),
            }
        }
        if let Some(probe) = failed {
            for binding in bindings {
                binding.bind(&binding.staying(), cluster, budget).await?;
            }
            return Err(Error::new(
                Kind::Refused,
                format!(
                    "the policies were still not in effect {} s after jobpass wrote them: {} could {}",
                    IN_EFFECT.as_secs(),
                    probe.minter,
                    probe.call.doing
                ),
            )
            .help(
                "jobpass gave no new minter its permissions. Check whether the admission plugin ValidatingAdmissionPolicy \
                 is turned off in this API server, then run the command again",
            ));
        }
        match unseen {
            None => {
                sleep_until(written + OTHER_SERVERS).await;
                Ok(None)
            }
            Some(why) => {
                sleep_until(written + UNSEEN).await;
                Ok(Some(format!(
                    "jobpass could not see whether the policies were in effect before it gave the \
                     minters their permissions ({why}). It waited for {} s",
                    UNSEEN.as_secs()
                )))
            }
        }
    }

    /// The probes of one grant: for each minter, the requests that the grant's policies must refuse.
    async fn probes(
        &self,
        grant: Grant<'_>,
        group: &str,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<Vec<Probe>, Error> {
        let namespace = &self.namespace;
        let mut probes = Vec::new();
        for minter in &self.minters {
            let (user, of) = match minter {
                MinterSubject::User(name) => (name.clone(), None),
                MinterSubject::Group(name) => (group.to_owned(), Some(&**name)),
                MinterSubject::ServiceAccount { namespace, name } => {
                    (format!("system:serviceaccount:{namespace}:{name}"), None)
                }
            };
            let groups = [group].into_iter().chain(of).collect::<Vec<_>>();
            let mut calls = vec![enforcement::other_secret(namespace)?];
            match grant {
                // An earlier version of this policy with a longer lifetime would allow this request.
                Grant::Account(account) => {
                    calls.push(enforcement::token(namespace, account, self.violation())?)
                }
                Grant::Jobs(_) => {
                    let violation = match self.service_account.as_deref() {
                        // RBAC may not know this set-up's own binding yet.
                        Some(enforcement::DEFAULT) => Violation::Unpinned,
                        _ => {
                            let minter = cluster.acting_as(&user, &groups)?;
                            enforcement::of_default(&minter, namespace, budget).await
                        }
                    };
                    calls.extend([
                        enforcement::token(namespace, enforcement::DEFAULT, violation)?,
                        enforcement::other_role(namespace)?,
                    ]);
                }
            }
            for call in calls {
                probes.push(Probe {
                    minter: minter.to_string(),
                    cluster: cluster.acting_as(&user, &groups)?,
                    call,
                });
            }
        }
        if let Grant::Jobs(_) = grant {
            let user = format!("system:serviceaccount:{namespace}:{}", names::random_name()?);
            probes.push(Probe {
                minter: "a job's ServiceAccount".into(),
                cluster: cluster.acting_as(&user, &[group])?,
                call: enforcement::other_secret(namespace)?,
            });
        }
        Ok(probes)
    }

    /// The violation for a probe: a lifetime that is one second longer than the policy allows. An earlier
    /// version of the policy that allows a longer lifetime does not refuse it. If the policy allows the
    /// longest possible lifetime, the violation is a missing uid, which every version refuses.
    fn violation(&self) -> Violation {
        match self.lifetime.seconds() {
            // No API server issues a token with a longer lifetime.
            Lifetime::MOST => Violation::Unpinned,
            seconds => Violation::Lifetime(seconds + 1),
        }
    }
}

/// A request that a policy must refuse. jobpass sends it as a minter, or as a job's ServiceAccount.
struct Probe {
    /// The minter, such as `user:jane`, or the words "a job's ServiceAccount".
    minter: String,
    cluster: Cluster,
    call: Call,
}

/// The reason why jobpass did not see a policy refuse the probe.
enum NotRefused {
    /// The API server allowed the request.
    Allowed,
    /// The probe got no answer, or an answer that does not show whether a policy refused it. The text is the
    /// answer or the error.
    Unknown(String),
}

impl Probe {
    /// Sends the request again and again until a policy refuses it. Gives up at `until`, or after an answer
    /// that will not change.
    async fn until_refused(&self, until: Instant, budget: &Budget) -> Result<(), NotRefused> {
        loop {
            let not_refused = match self.cluster.send(&self.call, budget).await {
                Ok(answer) => match Enforcement::by(&answer) {
                    Enforcement::Enforced => return Ok(()),
                    Enforcement::NotEnforced => NotRefused::Allowed,
                    Enforcement::Unknown => {
                        let message = answer.message();
                        // A controller creates the account a moment after the namespace. RBAC also sees a new
                        // binding only after a moment.
                        let transient = answer.status == 404
                            || answer.status == 403
                                && message.contains(" cannot ")
                                && !message.contains("cannot impersonate");
                        let why = NotRefused::Unknown(format!("{} {message}", answer.status));
                        if !transient {
                            return Err(why);
                        }
                        why
                    }
                },
                Err(unanswered) => return Err(NotRefused::Unknown(unanswered.error.message().to_owned())),
            };
            if Instant::now() + PAUSE >= until {
                return Err(not_refused);
            }
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests;
