//! Applying a set-up. The order is such that no minter may ever do more than its policies allow, and nobody loses anything unless
//! `replace` says so.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Part, Setup,
    enforcement::{self, Enforcement, Violation},
    loss,
    object::{Outcome, SetupObject},
    separation,
};
use crate::{
    cluster::{Budget, Call, Cluster},
    error::{Error, Kind},
    inputs::{lifetime::Lifetime, subject::MinterSubject},
    names,
};

/// How long policies may take to be in effect. An API server reads them once a second.
const IN_EFFECT: Duration = Duration::from_secs(20);
/// How long to wait after the last policy was written, for the API servers that were not asked.
const OTHERS: Duration = Duration::from_secs(2);
/// How long to wait after the last policy was written, where the administrator may not ask as a minter.
const UNSEEN: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(100);
/// The name of a group begins so, and ends in something random. The group has the minters' rights while policies are tried, and
/// nobody is in it.
pub(super) const TRYING: &str = "jobpass-setup:";

impl Setup {
    /// Makes the cluster so, and says of each object what was there before. Gives what the administrator should know.
    ///
    /// # Errors
    /// If jobs would mint. If somebody would lose something, and `replace` does not say that this is meant: then nothing is changed. If the API server
    /// refuses, or the policies do not come into effect: then nobody new is bound.
    pub async fn apply(
        &self,
        cluster: &Cluster,
        budget: &Budget,
        replace: bool,
        mut said: impl FnMut(&SetupObject, &Outcome) -> Result<(), Error>,
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
        let of_minters = |object: &SetupObject| self.parts().any(|part| object.binds(&part.role()));
        let (mut bindings, mut others) = (Vec::new(), Vec::new());
        for ((object, found), outcome) in objects.iter().zip(&found).zip(&outcomes) {
            match of_minters(object) {
                true => bindings.push((object, found.as_ref(), outcome)),
                false => others.push((object, outcome)),
            }
        }
        let changes = outcomes.iter().any(|outcome| *outcome != Outcome::Same);

        // A minter that is to be one no longer loses its rights first: soon no policy will name it.
        let mut fewer = false;
        for (binding, found, _) in &bindings {
            let staying = binding.staying(*found);
            if staying.len() < found.map_or(0, |found| subjects(found).len()) {
                fewer = true;
                binding.bind(staying, cluster, budget).await?;
            }
        }
        if fewer {
            sleep(OTHERS).await;
        }
        for (object, outcome) in &others {
            if **outcome != Outcome::Same {
                object.apply(cluster, budget).await?;
            }
            said(object, outcome)?;
        }
        let written = Instant::now();
        let unseen = match changes {
            true => self.see_policies(&bindings, written, cluster, budget).await?,
            false => None,
        };
        for (binding, _, outcome) in &bindings {
            if changes {
                binding.apply(cluster, budget).await?;
            }
            said(binding, outcome)?;
        }
        Ok(unseen)
    }

    /// Waits until the policies are in effect; as far as that can be seen. Says so if it cannot.
    async fn see_policies(
        &self,
        bindings: &[(&SetupObject, Option<&Value>, &Outcome)],
        written: Instant,
        cluster: &Cluster,
        budget: &Budget,
    ) -> Result<Option<String>, Error> {
        // With the minters' rights, so that RBAC lets the requests reach the policies.
        let group = names::random_name()?.replace("jobpass-", TRYING);
        for (binding, found, _) in bindings {
            let mut subjects = binding.staying(*found);
            subjects.push(json!({ "kind": "Group", "apiGroup": super::manifests::RBAC, "name": group }));
            binding.bind(subjects, cluster, budget).await?;
        }
        let mut tries = Vec::new();
        for part in self.parts() {
            tries.extend(self.tries(part, &group, cluster)?);
        }
        let until = Instant::now() + IN_EFFECT;
        let all = join_all(tries.iter().map(|one| one.until_held(until, budget))).await;
        let mut unseen = None;
        let mut failed = None;
        for (one, held) in tries.iter().zip(all) {
            match held {
                Ok(()) => {}
                Err(Unheld::Taken) => failed = failed.or(Some(one)),
                Err(Unheld::Unseen(why)) => unseen = unseen.or(Some(why)),
            }
        }
        if let Some(one) = failed {
            for (binding, found, _) in bindings {
                binding.bind(binding.staying(*found), cluster, budget).await?;
            }
            return Err(Error::new(
                Kind::Refused,
                format!(
                    "the policies are not in effect {} s after they were written: {} could {}",
                    IN_EFFECT.as_secs(),
                    one.who,
                    one.call.doing
                ),
            )
            .help(
                "nobody was bound who was not bound before. See whether this API server has its admission plugin \
                 ValidatingAdmissionPolicy turned off, then run the command again",
            ));
        }
        match unseen {
            None => {
                sleep_until(written + OTHERS).await;
                Ok(None)
            }
            Some(why) => {
                sleep_until(written + UNSEEN).await;
                Ok(Some(format!(
                    "whether the policies were in effect before the minters were bound could not be seen ({why}); {} s passed in \
                     between",
                    UNSEEN.as_secs()
                )))
            }
        }
    }

    /// Requests that the policies of one part must refuse, as each minter of it.
    fn tries(&self, part: Part<'_>, group: &str, cluster: &Cluster) -> Result<Vec<Try>, Error> {
        let namespace = &self.namespace;
        let mut tries = Vec::new();
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
            match part {
                // In a way that only the policy of this account refuses, and this version of it.
                Part::Account(account) => calls.push(enforcement::token(namespace, account, self.wrong())?),
                // The same; every namespace has this account, and no job is given it.
                Part::Jobs(_) => calls.extend([
                    enforcement::token(namespace, "default", Violation::Account)?,
                    enforcement::other_role(namespace)?,
                ]),
            }
            for call in calls {
                tries.push(Try {
                    who: minter.to_string(),
                    cluster: cluster.acting_as(&user, &groups)?,
                    call,
                });
            }
        }
        if let Part::Jobs(_) = part {
            let user = format!("system:serviceaccount:{namespace}:{}", names::random_name()?);
            tries.push(Try {
                who: "a job's ServiceAccount".into(),
                cluster: cluster.acting_as(&user, &[group])?,
                call: enforcement::other_secret(namespace)?,
            });
        }
        Ok(tries)
    }

    fn wrong(&self) -> Violation {
        match self.lifetime.seconds() {
            // No API server takes more.
            Lifetime::MOST => Violation::Unpinned,
            seconds => Violation::Lifetime(seconds + 1),
        }
    }
}

/// A request that a policy must refuse, as a minter.
struct Try {
    /// `user:jane`.
    who: String,
    cluster: Cluster,
    call: Call,
}

enum Unheld {
    Taken,
    /// And why.
    Unseen(String),
}

impl Try {
    async fn until_held(&self, until: Instant, budget: &Budget) -> Result<(), Unheld> {
        loop {
            let unheld = match self.cluster.send(&self.call, budget).await {
                Ok(answer) => match Enforcement::by(&answer) {
                    Enforcement::Enforced => return Ok(()),
                    Enforcement::NotEnforced => Unheld::Taken,
                    Enforcement::Unknown => {
                        let message = answer.message();
                        // The account of a new namespace is made by a controller, and RBAC takes a moment, too.
                        let soon = answer.status == 404
                            || answer.status == 403
                                && message.contains(" cannot ")
                                && !message.contains("cannot impersonate");
                        let why = Unheld::Unseen(format!("{} {message}", answer.status));
                        if !soon {
                            return Err(why);
                        }
                        why
                    }
                },
                Err(unanswered) => return Err(Unheld::Unseen(unanswered.error.what().to_owned())),
            };
            if Instant::now() + BETWEEN >= until {
                return Err(unheld);
            }
            sleep(BETWEEN).await;
        }
    }
}

impl SetupObject {
    /// Whether it is the RoleBinding of this name.
    fn binds(&self, role: &str) -> bool {
        let wanted = self.manifest();
        wanted["kind"] == "RoleBinding" && wanted["metadata"]["name"] == role
    }

    /// The subjects of a RoleBinding that it had already and is to keep.
    fn staying(&self, found: Option<&Value>) -> Vec<Value> {
        let had = found.map(subjects).unwrap_or_default();
        let wanted = subjects(self.manifest());
        wanted
            .into_iter()
            .filter(|subject| had.iter().any(|had| loss::same_subject(had, subject)))
            .cloned()
            .collect()
    }

    /// Makes these the subjects of a RoleBinding.
    async fn bind(&self, subjects: Vec<Value>, cluster: &Cluster, budget: &Budget) -> Result<(), Error> {
        let mut wanted = self.manifest().clone();
        wanted["subjects"] = subjects.into();
        self.with(wanted).apply(cluster, budget).await.map(|_| ())
    }
}

pub(super) fn subjects(binding: &Value) -> Vec<&Value> {
    binding["subjects"].as_array().into_iter().flatten().collect()
}
