//! The checks about legacy tokens: whether some of them have neither a lifetime nor an owner, and whether a
//! policy refuses new ones.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{Finding, Health, api_checks::ApiChecks};
use crate::{
    access::{self, Verdict},
    anchor::{
        legacy::{ACCOUNT, EXPIRATION, TYPE},
        list::Pages,
    },
    cluster::{Call, Denial, Scope},
    error::{Error, Kind},
    names,
    rbac::Permission,
};

/// The greatest number of Secrets that a finding names.
const NAMED: usize = 5;
const CHECK: &str = "legacy tokens";
/// The time limit for the access review and all pages of the list together.
const LISTING: Duration = Duration::from_secs(10);
/// The number of pages after which doctor stops listing.
const MAX_PAGES: usize = 20;

impl ApiChecks<'_> {
    /// Names the Secrets of legacy tokens that have neither a lifetime nor an owner.
    pub(super) async fn forgotten_tokens(&self) -> Finding {
        let listed = tokio::time::timeout(LISTING, self.list_forgotten_tokens()).await;
        listed.unwrap_or_else(|_| {
            Finding::new(
                CHECK,
                Health::Unknown,
                "the API server took too long to list Secrets",
            )
        })
    }

    async fn list_forgotten_tokens(&self) -> Finding {
        let namespace = &self.spec.namespace;
        // A 403 to the list may also come from a gateway. Only an access review shows that the minter lacks
        // the permission.
        let list = Permission::built_in("list", "secrets", "");
        if let (Verdict::Denied, _) = access::review(self.cluster, &list, namespace, self.budget).await {
            let said = format!(
                "this minter may not list Secrets in namespace {namespace}, which is right. So doctor cannot \
                 look for legacy tokens"
            );
            return Finding::new(CHECK, Health::Ok, said);
        }
        let scope = Scope::Namespace(namespace.clone());
        let mut pages = Pages::forgotten(self.cluster, &scope);
        let (mut names, mut more, mut complete) = (Vec::new(), 0, false);
        for _ in 0..MAX_PAGES {
            match pages.next().await {
                Ok(Some(page)) => {
                    let room = NAMED - names.len();
                    more += page.anchors.len().saturating_sub(room);
                    names.extend(page.anchors.into_iter().take(room).map(|secret| secret.name));
                }
                Ok(None) => {
                    complete = true;
                    break;
                }
                Err(error) => return Finding::new(CHECK, Health::Unknown, error.message()),
            }
        }
        finding(namespace, &names, more, complete)
    }

    /// Creates the Secret of a legacy token, in a dry run.
    pub(super) async fn legacy_secrets(&self) -> Finding {
        let check = "policy for anchors";
        let Ok(name) = names::random_name() else {
            return Finding::new(
                check,
                Health::Unknown,
                "the operating system returned no random bytes",
            );
        };
        let annotations = BTreeMap::from([(ACCOUNT.to_owned(), self.spec.service_account.clone())]);
        let secret = Secret {
            type_: Some(TYPE.into()),
            metadata: ObjectMeta {
                name: Some(name),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            ..Secret::default()
        };
        let try_it = async || {
            let call = Call::create_dry("try a legacy Secret", Some(&self.spec.namespace), &secret)?;
            Ok::<_, Error>(self.cluster.send(&call, self.budget).await?)
        };
        match try_it().await {
            Ok(answer) if answer.status == 201 => {
                Finding::new(check, Health::Ok, "no policy refuses the Secret of a legacy token")
            }
            Ok(answer) if matches!(answer.denial(), Some(Denial::Policy(_))) => Finding::new(
                check,
                Health::Failed(Kind::Refused),
                "a policy refuses the Secrets of legacy tokens; the policies of `jobpass setup` do so on purpose",
            )
            .fix("use `type: bound`. If an old tool needs a legacy token, use a minter to which no such policy applies"),
            Ok(answer) => Finding::new(check, Health::Unknown, answer.in_words()),
            Err(error) => Finding::new(check, Health::Unknown, error.message()),
        }
    }
}

/// The finding about Secrets that have neither a lifetime nor an owner: `names` are the first ones, and
/// `more` is the number of the others. `complete` says whether doctor listed all pages.
fn finding(namespace: &str, names: &[String], more: usize, complete: bool) -> Finding {
    if names.is_empty() {
        return match complete {
            true => {
                let said = format!("every legacy token in namespace {namespace} has an expiry or an owner");
                Finding::new(CHECK, Health::Ok, said)
            }
            false => {
                let said = format!("namespace {namespace} holds more Secrets than doctor looks at");
                Finding::new(CHECK, Health::Unknown, said)
            }
        };
    }
    let names = names.join(", ");
    let more = match (more, complete) {
        (0, true) => String::new(),
        (more, true) => format!(", and {more} more"),
        (more, false) => format!(", and {more} more at least"),
    };
    let said = format!(
        "in namespace {namespace}, these Secrets of legacy tokens have neither an expiry nor an owner: \
         {names}{more}"
    );
    Finding::new(CHECK, Health::Warning, said).fix(format!(
        "such a token never expires, and `jobpass sweep` does not delete its Secret. Delete the unused \
         tokens: the label kubernetes.io/legacy-token-last-used shows the last use. Replace the others with \
         `jobpass rotate`, and give each an expiry, so that `jobpass sweep` deletes it:\n\n  kubectl \
         annotate secret NAME --namespace {namespace} {EXPIRATION}=SECONDS_AFTER_CREATION"
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{
            Budget, Identity,
            scripted::{self, Fate},
        },
        inputs::{
            options::{Inputs, Opt},
            spec::Spec,
        },
    };

    #[rstest]
    #[case::none(&[], 0, true, "ok: every legacy token in namespace ci has an expiry or an owner")]
    #[case::none_so_far(&[], 0, false, "unknown: namespace ci holds more Secrets than doctor looks at")]
    #[case::two(&["a", "b"], 0, true, "warning: in namespace ci, these Secrets of legacy tokens have neither an expiry nor an owner: a, b")]
    #[case::many(&["a"], 7, true, "warning: in namespace ci, these Secrets of legacy tokens have neither an expiry nor an owner: a, and 7 more")]
    #[case::endless(&["a"], 7, false, "warning: in namespace ci, these Secrets of legacy tokens have neither an expiry nor an owner: a, and 7 more at least")]
    fn legacy_tokens_are_named(
        #[case] names: &[&str],
        #[case] more: usize,
        #[case] complete: bool,
        #[case] expected: &str,
    ) {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let finding = finding("ci", &names, more, complete);
        assert_eq!(format!("{}: {}", finding.health.word(), finding.said), expected);
    }

    /// Only an access review shows that the minter lacks the permission. A gateway refuses with the same
    /// status.
    #[rstest]
    #[case::may_not(false, "ok: this minter may not list Secrets in namespace ci, which is right")]
    #[case::a_gateway(true, "unknown: cannot list the anchors: the API server answered 403")]
    #[tokio::test]
    async fn a_minter_may_not_list_secrets(#[case] allowed: bool, #[case] expected: &str) {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let review =
            format!(r#"{{"kind":"SelfSubjectAccessReview","spec":{{}},"status":{{"allowed":{allowed}}}}}"#);
        let fates = [Fate::answer(201, review), Fate::answer(403, "<html>")];
        let (cluster, _) = scripted::cluster(&Identity::default(), fates);
        let budget = Budget::new(Duration::from_secs(10));
        let finding = ApiChecks::new(&cluster, &spec, &budget).forgotten_tokens().await;
        let said = format!("{}: {}", finding.health.word(), finding.said);
        assert!(said.starts_with(expected), "{said}");
    }
}
