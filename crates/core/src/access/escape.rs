//! The ways in which a ServiceAccount can get credentials that outlive its token. With one, revoking the
//! token is not the end.

use futures_util::future::join_all;

use super::{Verdict, review, rules::Rules};
use crate::{
    claims::account::Account,
    cluster::{Budget, Cluster},
    inputs::checks::EscapeCheck,
    rbac::Permission,
    text::harmless,
};

/// The ways, and the permissions that open each: verbs, resources.
const WAYS: &[(&str, &str, &str)] = &[
    (TOKENS, "create", "serviceaccounts/token"),
    (OTHERS, "impersonate", "serviceaccounts users groups"),
    // Constrained impersonation, from Kubernetes 1.35 on (`pkg/endpoints/filters/impersonation`,
    // k8s.io/apiserver).
    (
        OTHERS,
        "impersonate:serviceaccount",
        "serviceaccounts.authentication.k8s.io",
    ),
    (OTHERS, "impersonate:user-info", "users.authentication.k8s.io"),
    (
        OTHERS,
        "impersonate:arbitrary-node impersonate:associated-node",
        "nodes.authentication.k8s.io",
    ),
    (
        "give rights away",
        "create update patch",
        "roles rolebindings clusterroles clusterrolebindings",
    ),
    (
        "give rights that it does not have",
        "escalate bind",
        "roles clusterroles",
    ),
    (
        "read Secrets, which may hold other tokens",
        "get list watch",
        "secrets",
    ),
    ("run Pods, which get tokens of their own", "create", "pods jobs"),
    (
        "run Pods, which get tokens of their own",
        "create update patch",
        "deployments statefulsets daemonsets replicasets replicationcontrollers cronjobs",
    ),
    (
        "enter Pods, which have tokens of their own",
        "create get",
        "pods/exec pods/attach",
    ),
    (
        "enter Pods, which have tokens of their own",
        "update patch",
        "pods/ephemeralcontainers",
    ),
    (
        "enter Pods, which have tokens of their own",
        "create get",
        "nodes/proxy",
    ),
];
const TOKENS: &str = "mint itself other tokens";
const OTHERS: &str = "act as others";
/// The ways that a permission for one other account opens.
const BY_NAME: [&str; 2] = [TOKENS, OTHERS];
/// The most permissions that a sentence names for one way.
const NAMED: usize = 3;

/// The findings of the escape check.
#[derive(Debug, Clone, Default)]
pub struct Escape {
    /// The ways that are open.
    pub ways: Vec<Way>,
    /// The number of unanswered questions, the number of all questions, and the reason of the first
    /// unanswered one.
    pub(crate) unknown: Option<(usize, usize, String)>,
    /// Whether a finding is a reason to refuse the token.
    pub(crate) fatal: bool,
}

/// One way in which a ServiceAccount can outlive its token.
#[derive(Debug, Clone)]
pub struct Way {
    /// The way, as it reads after "it may".
    pub may: &'static str,
    /// The permissions that open it.
    pub by: Vec<Permission>,
}

/// The questions: each permission, with the way that it opens.
fn questions(service_account: &str) -> Vec<(&'static str, Permission)> {
    let mut questions = Vec::new();
    for (may, verbs, resources) in WAYS {
        for resource in resources.split(' ') {
            // A rule may allow it for the account's own name alone.
            let name = if *resource == *"serviceaccounts/token" {
                service_account
            } else {
                ""
            };
            let one = |verb: &str| (*may, Permission::built_in(verb, resource, name));
            questions.extend(verbs.split(' ').map(one));
        }
    }
    questions
}

/// The questions about single objects that the rules name.
fn by_name(questions: &[(&'static str, Permission)], rules: &Rules) -> Vec<(&'static str, Permission)> {
    let ways = questions.iter().filter(|(may, _)| BY_NAME.contains(may));
    let named = ways.flat_map(|(may, permission)| {
        let names = rules.names(permission).into_iter();
        names.map(|name| (*may, permission.clone().named(name)))
    });
    named.filter(|question| !questions.contains(question)).collect()
}

impl Escape {
    /// Asks the API server as `account`: for its rules, and then each question that the rules leave open.
    pub(super) async fn find(
        cluster: &Cluster,
        account: &Account,
        check: EscapeCheck,
        budget: &Budget,
    ) -> Self {
        let mut questions = questions(&account.name);
        let rules = Rules::list(cluster, &account.namespace, budget).await;
        if let Some(rules) = &rules {
            questions.extend(by_name(&questions, rules));
        }
        let answers = questions.iter().map(async |(_, permission)| {
            match rules.as_ref().and_then(|rules| rules.verdict(permission)) {
                Some(verdict) => (verdict, String::new()),
                None => review(cluster, permission, &account.namespace, budget).await,
            }
        });
        let answers = join_all(answers).await;
        Self::of(questions, answers, check)
    }

    fn of(
        questions: Vec<(&'static str, Permission)>,
        answers: Vec<(Verdict, String)>,
        check: EscapeCheck,
    ) -> Self {
        let mut escape = Self {
            fatal: check == EscapeCheck::Fail,
            ..Self::default()
        };
        let asked = questions.len();
        for ((may, permission), (verdict, reason)) in questions.into_iter().zip(answers) {
            match verdict {
                Verdict::Denied => {}
                Verdict::Unknown => {
                    let (unknown, _, first) = escape.unknown.take().unwrap_or((0, 0, reason));
                    escape.unknown = Some((unknown + 1, asked, first));
                }
                Verdict::Allowed => match escape.ways.iter_mut().find(|way| way.may == may) {
                    Some(way) => way.by.push(permission),
                    None => escape.ways.push(Way {
                        may,
                        by: vec![permission],
                    }),
                },
            }
        }
        escape
    }

    /// The findings about `account`, one sentence each.
    pub(super) fn sentences(&self, account: &Account) -> Vec<String> {
        let mut sentences = Vec::new();
        if !self.ways.is_empty() {
            let ways = self
                .ways
                .iter()
                .map(Way::to_string)
                .collect::<Vec<_>>()
                .join("; ");
            sentences.push(format!(
                "ServiceAccount {account} can outlive its token: it may {ways}"
            ));
        }
        if let Some((unknown, asked, reason)) = &self.unknown {
            sentences.push(format!(
                "whether ServiceAccount {account} can outlive its token is not known: {unknown} of {asked} \
                 questions got no answer: {}",
                harmless(reason)
            ));
        }
        sentences
    }
}

/// `read Secrets, which may hold other tokens (get, list secrets)`.
impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut targets: Vec<(String, Vec<&str>)> = Vec::new();
        for permission in self.by.iter().take(NAMED) {
            let target = permission.target();
            match targets.iter_mut().find(|(known, _)| *known == target) {
                Some((_, verbs)) => verbs.push(&permission.verb),
                None => targets.push((target, vec![&permission.verb])),
            }
        }
        let targets = targets
            .iter()
            .map(|(target, verbs)| format!("{} {target}", verbs.join(", ")));
        let more = if self.by.len() > NAMED { ", ..." } else { "" };
        write!(
            f,
            "{} ({}{more})",
            self.may,
            targets.collect::<Vec<_>>().join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_permissions_that_a_person_could_write() {
        let questions = questions("scanner");
        for (_, permission) in &questions {
            assert_eq!(
                Permission::parse(&permission.to_string()).as_ref(),
                Ok(permission)
            );
        }
        let shown = questions
            .iter()
            .map(|(_, permission)| permission.to_string())
            .collect::<Vec<_>>();
        for asked in [
            "create serviceaccounts/token scanner",
            "impersonate:user-info users.authentication.k8s.io",
            "create nodes/proxy",
            "bind clusterroles.rbac.authorization.k8s.io",
            "create cronjobs.batch",
        ] {
            assert!(
                shown.iter().any(|shown| shown == asked),
                "{asked} is not among {shown:?}"
            );
        }
    }

    fn account() -> Account {
        Account {
            namespace: "ci".into(),
            name: "scanner".into(),
        }
    }

    fn found(allowed: &[&str], check: EscapeCheck) -> Escape {
        let questions = questions("scanner");
        let answers = questions
            .iter()
            .map(|(_, permission)| match permission.to_string() {
                shown if allowed.contains(&&*shown) => (Verdict::Allowed, String::new()),
                _ => (Verdict::Denied, String::new()),
            });
        let answers = answers.collect();
        Escape::of(questions, answers, check)
    }

    #[test]
    fn nothing_found_is_no_noise() {
        assert!(found(&[], EscapeCheck::Warn).sentences(&account()).is_empty());
    }

    #[test]
    fn what_was_found_is_said_once_with_the_permissions() {
        let allowed = [
            "get secrets",
            "list secrets",
            "create pods",
            "create jobs.batch",
            "patch deployments.apps",
            "update deployments.apps",
        ];
        insta::assert_snapshot!(found(&allowed, EscapeCheck::Warn).sentences(&account()).join("\n"), @"ServiceAccount ci/scanner can outlive its token: it may read Secrets, which may hold other tokens (get, list secrets); run Pods, which get tokens of their own (create pods; create jobs.batch; update deployments.apps, ...)");
    }

    #[test]
    fn an_unanswered_question_is_no_denial() {
        let questions = questions("scanner");
        let answers = vec![(Verdict::Unknown, "no answer in time".to_owned()); questions.len()];
        let sentences = Escape::of(questions, answers, EscapeCheck::Warn).sentences(&account());
        assert!(
            sentences[0].contains("is not known: 55 of 55 questions got no answer: no answer in time"),
            "{sentences:?}"
        );
    }
}
