//! The permissions with which a ServiceAccount can get credentials that outlive its token. If the token of a
//! job has one of them, the token's revocation may not end the job's access.

use futures_util::future::join_all;

use super::{Verdict, review, rules::Rules};
use crate::{
    claims::account::Account,
    cluster::{Budget, Cluster},
    inputs::checks::EscapeCheck,
    rbac::Permission,
    text::harmless,
};

/// The ways in which a ServiceAccount can get credentials that outlive its token. An entry has the text that
/// follows "it may" in a warning, some verbs, and some resources: each verb on each resource opens the way.
const WAYS: &[(&str, &str, &str)] = &[
    (TOKENS, "create", "serviceaccounts/token"),
    (OTHERS, "impersonate", "serviceaccounts users groups"),
    (
        "give rights away",
        "create update patch",
        "roles rolebindings clusterroles clusterrolebindings",
    ),
    (
        "grant permissions that it does not have",
        ESCALATE,
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
const TOKENS: &str = "mint other tokens for itself";
const OTHERS: &str = "act as others";
const ESCALATE: &str = "escalate bind";
/// The modes of constrained impersonation, from Kubernetes 1.35 on. Each has the resource that kube-apiserver
/// checks for the verb `impersonate:MODE` (`pkg/endpoints/filters/impersonation/mode.go`, k8s.io/apiserver),
/// and the object name in jobpass's question. An empty name stands for all objects.
const MODES: [(&str, &str, &str); 4] = [
    ("serviceaccount", "serviceaccounts.authentication.k8s.io", ""),
    ("user-info", "users.authentication.k8s.io", ""),
    ("arbitrary-node", "nodes.authentication.k8s.io", ""),
    // In this mode, kube-apiserver checks the name `*` in place of the node's name.
    ("associated-node", "nodes.authentication.k8s.io", "*"),
];
/// The ways that a permission on a single ServiceAccount or user opens. For these ways, jobpass also asks
/// about single objects that the account's rules name (see [`Rules::names`]).
const BY_NAME: [&str; 2] = [TOKENS, OTHERS];
const IMPERSONATE: &str = "impersonate:";
/// The greatest number of permissions that a warning names for one way.
const NAMED: usize = 3;

/// The result of the escape check.
#[derive(Debug, Clone, Default)]
pub struct Escape {
    /// The ways that the account's permissions open.
    pub ways: Vec<Way>,
    /// The number of questions that the API server left unanswered, the number of all questions, and the
    /// reason for the first missing answer.
    pub(crate) unknown: Option<(usize, usize, String)>,
    /// Whether jobpass hands the token over only if every question has an answer and no way is open
    /// (`escape-check: fail`).
    pub(crate) fatal: bool,
}

/// One way in which a ServiceAccount can get credentials that outlive its token.
#[derive(Debug, Clone)]
pub struct Way {
    /// The text that follows "it may" in a warning, such as `give rights away`.
    pub may: &'static str,
    /// The permissions that open the way.
    pub by: Vec<Permission>,
}

/// A permission to ask the API server about, and the text of the way that the permission opens.
type Question = (&'static str, Permission);

/// The questions about the account's own permissions.
fn questions(service_account: &str) -> Vec<Question> {
    let mut questions = Vec::new();
    for (may, verbs, resources) in WAYS {
        for resource in resources.split(' ') {
            // A rule may allow this verb for the account's own name alone.
            let name = if *resource == *"serviceaccounts/token" {
                service_account
            } else {
                ""
            };
            let one = |verb: &str| (*may, Permission::built_in(verb, resource, name));
            questions.extend(verbs.split(' ').map(one));
        }
    }
    questions.extend(MODES.map(|(mode, resource, name)| {
        let verb = format!("{IMPERSONATE}{mode}");
        (OTHERS, Permission::built_in(&verb, resource, name))
    }));
    questions
}

/// The mode of a permission for constrained impersonation. `None` for other permissions.
fn mode(permission: &Permission) -> Option<&str> {
    permission.verb.strip_prefix(IMPERSONATE)
}

/// The questions whether `account` may send the requests of [`WAYS`], except for `impersonate`, `escalate`
/// and `bind`, while it impersonates another user in `mode`. Besides `impersonate:MODE`, kube-apiserver
/// demands the permission `impersonate-on:MODE:VERB`.
fn as_others(mode: &str, account: &Account) -> Vec<Question> {
    let is_request =
        |verb: &str| !verb.starts_with("impersonate") && !ESCALATE.split(' ').any(|rare| rare == verb);
    let questions = questions(&account.name).into_iter();
    let requests = questions.filter(|(_, permission)| is_request(&permission.verb));
    let as_others = requests.map(|(may, mut permission)| {
        permission.verb = format!("impersonate-on:{mode}:{}", permission.verb);
        (may, permission)
    });
    as_others.collect()
}

/// The questions about the single objects that the account's rules name, for the ways in [`BY_NAME`].
fn by_name(questions: &[Question], rules: &Rules) -> Vec<Question> {
    let ways = questions.iter().filter(|(may, _)| BY_NAME.contains(may));
    let named = ways.flat_map(|(may, permission)| {
        let names = rules.names(permission).into_iter();
        names.map(|name| (*may, permission.clone().named(name)))
    });
    named.filter(|question| !questions.contains(question)).collect()
}

/// The account that the questions are about, and the API server that answers them.
struct Asker<'a> {
    cluster: &'a Cluster,
    account: &'a Account,
    budget: &'a Budget,
    /// The account's rules. `None` if the API server's list of them is missing or may be incomplete.
    rules: Option<Rules>,
}

impl Asker<'_> {
    /// Answers each question from the account's rules if they decide it, and otherwise asks the API server.
    /// Adds the questions of [`by_name`].
    async fn ask(&self, mut questions: Vec<Question>) -> Vec<Answered> {
        if let Some(rules) = &self.rules {
            questions.extend(by_name(&questions, rules));
        }
        let answers = questions.into_iter().map(async |(may, permission)| {
            let (verdict, reason) = match self.rules.as_ref().and_then(|rules| rules.verdict(&permission)) {
                Some(verdict) => (verdict, String::new()),
                None => review(self.cluster, &permission, &self.account.namespace, self.budget).await,
            };
            Answered {
                may,
                permission,
                verdict,
                reason,
            }
        });
        join_all(answers).await
    }
}

/// A question with its answer.
struct Answered {
    may: &'static str,
    permission: Permission,
    verdict: Verdict,
    reason: String,
}

impl Answered {
    fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allowed
    }
}

/// The modes of constrained impersonation that the account may use. Empty if it may impersonate without a
/// mode: the way [`OTHERS`] is then open, whatever the answers about modes.
fn open_modes(answered: &[Answered]) -> Vec<String> {
    let others = answered
        .iter()
        .filter(|one| one.may == OTHERS && one.is_allowed());
    let modes = others.map(|one| mode(&one.permission).map(str::to_owned));
    let mut modes = modes.collect::<Option<Vec<_>>>().unwrap_or_default();
    modes.dedup();
    modes
}

/// Adds the answers about each mode. A mode counts as denied if the API server allows none of the requests of
/// [`WAYS`] in it: with that mode alone, the account gains nothing that outlives its token.
fn constrain<'a>(
    answered: &mut Vec<Answered>,
    in_modes: impl IntoIterator<Item = (&'a String, Vec<Answered>)>,
) {
    for (open, in_mode) in in_modes {
        if !in_mode.iter().any(Answered::is_allowed) {
            let of_mode = |one: &&mut Answered| mode(&one.permission) == Some(open);
            for one in answered.iter_mut().filter(of_mode) {
                one.verdict = Verdict::Denied;
            }
        }
        answered.extend(in_mode.into_iter().map(|one| Answered { may: OTHERS, ..one }));
    }
}

impl Escape {
    /// Finds the open ways. First asks the API server for the rules of `account`. Then asks about each
    /// permission that the rules do not decide.
    pub(super) async fn find(
        cluster: &Cluster,
        account: &Account,
        check: EscapeCheck,
        budget: &Budget,
    ) -> Self {
        let asker = Asker {
            cluster,
            account,
            budget,
            rules: Rules::list(cluster, &account.namespace, budget).await,
        };
        let mut answered = asker.ask(questions(&account.name)).await;
        let modes = open_modes(&answered);
        let in_modes = modes.iter().map(|mode| asker.ask(as_others(mode, account)));
        let in_modes = join_all(in_modes).await;
        constrain(&mut answered, modes.iter().zip(in_modes));
        Self::of(answered, check)
    }

    fn of(answered: Vec<Answered>, check: EscapeCheck) -> Self {
        let mut escape = Self {
            fatal: check == EscapeCheck::Fail,
            ..Self::default()
        };
        let asked = answered.len();
        for one in answered {
            match one.verdict {
                Verdict::Denied => {}
                Verdict::Unknown => {
                    let (unknown, _, first) = escape.unknown.take().unwrap_or((0, 0, one.reason));
                    escape.unknown = Some((unknown + 1, asked, first));
                }
                Verdict::Allowed => match escape.ways.iter_mut().find(|way| way.may == one.may) {
                    Some(way) => way.by.push(one.permission),
                    None => escape.ways.push(Way {
                        may: one.may,
                        by: vec![one.permission],
                    }),
                },
            }
        }
        escape
    }

    /// The result about `account`: one sentence with all open ways, and one about questions without an
    /// answer. Empty if there are neither.
    pub(super) fn sentences(&self, account: &Account) -> Vec<String> {
        let mut sentences = Vec::new();
        if !self.ways.is_empty() {
            let ways = self
                .ways
                .iter()
                .map(Way::to_string)
                .collect::<Vec<_>>()
                .join("; ");
            let step = match self.fatal {
                true => "",
                false => ". Take away what the jobs do not need, or accept it with `escape-check: off`",
            };
            sentences.push(format!(
                "ServiceAccount {account} can outlive its token: it may {ways}{step}"
            ));
        }
        if let Some((unknown, asked, reason)) = &self.unknown {
            sentences.push(format!(
                "jobpass cannot tell whether ServiceAccount {account} can outlive its token: {unknown} of \
                 {asked} questions to the API server got no answer: {}",
                harmless(reason)
            ));
        }
        sentences
    }
}

/// Formats a way like `read Secrets, which may hold other tokens (get, list secrets)`.
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
    use rstest::rstest;

    use super::*;

    #[test]
    fn questions_are_permissions_that_a_person_could_write() {
        let mut questions = questions("scanner");
        questions.extend(as_others("user-info", &account()));
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
            "impersonate-on:user-info:create serviceaccounts/token scanner",
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

    /// Answers a question for an account that has only the permissions in `allowed`.
    fn answer((may, permission): Question, allowed: &[&str]) -> Answered {
        let verdict = match allowed.contains(&&*permission.to_string()) {
            true => Verdict::Allowed,
            false => Verdict::Denied,
        };
        Answered {
            may,
            permission,
            verdict,
            reason: String::new(),
        }
    }

    fn found(allowed: &[&str], check: EscapeCheck) -> Escape {
        let answer = |question| answer(question, allowed);
        let mut answered = questions("scanner").into_iter().map(answer).collect::<Vec<_>>();
        let modes = open_modes(&answered);
        let in_modes = modes.iter().map(|mode| {
            let questions = as_others(mode, &account()).into_iter();
            (mode, questions.map(answer).collect())
        });
        constrain(&mut answered, in_modes.collect::<Vec<_>>());
        Escape::of(answered, check)
    }

    const DEPUTY: &str = "impersonate:serviceaccount serviceaccounts.authentication.k8s.io";

    #[rstest]
    #[case::no_request(&[DEPUTY], "")]
    #[case::harmless_requests(&[DEPUTY, "impersonate-on:serviceaccount:list pods"], "")]
    #[case::requests_of_another_mode(&[DEPUTY, "impersonate-on:user-info:get secrets"], "")]
    #[case::nobody_to_impersonate(&["impersonate-on:serviceaccount:get secrets"], "")]
    #[case::secrets(
        &[DEPUTY, "impersonate-on:serviceaccount:get secrets"],
        "act as others (impersonate:serviceaccount serviceaccounts.authentication.k8s.io; \
         impersonate-on:serviceaccount:get secrets)"
    )]
    #[case::tokens_of_a_node(
        &[
            "impersonate:associated-node nodes.authentication.k8s.io *",
            "impersonate-on:associated-node:create serviceaccounts/token scanner",
        ],
        "act as others (impersonate:associated-node nodes.authentication.k8s.io *; \
         impersonate-on:associated-node:create serviceaccounts/token scanner)"
    )]
    #[case::without_constraints(&["impersonate users", DEPUTY], "act as others (impersonate users; \
         impersonate:serviceaccount serviceaccounts.authentication.k8s.io)")]
    fn acting_as_others_counts_where_it_leads_out(#[case] allowed: &[&str], #[case] way: &str) {
        let escape = found(allowed, EscapeCheck::Warn);
        let ways = escape.ways.iter().map(Way::to_string).collect::<Vec<_>>();
        assert_eq!(ways.join("; "), way);
    }

    #[test]
    fn an_unknown_request_as_others_is_no_denial() {
        let deputy = |question| answer(question, &[DEPUTY]);
        let mut answered = questions("scanner").into_iter().map(deputy).collect::<Vec<_>>();
        let modes = open_modes(&answered);
        let in_mode = as_others("serviceaccount", &account()).into_iter().map(deputy);
        let in_mode = in_mode.map(|one| Answered {
            verdict: Verdict::Unknown,
            reason: "no answer in time".into(),
            ..one
        });
        constrain(&mut answered, [(&modes[0], in_mode.collect())]);
        let escape = Escape::of(answered, EscapeCheck::Fail);
        assert!(escape.ways.is_empty());
        let sentences = escape.sentences(&account()).concat();
        assert!(
            sentences.contains("questions to the API server got no answer: no answer in time"),
            "{sentences}"
        );
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
        insta::assert_snapshot!(found(&allowed, EscapeCheck::Warn).sentences(&account()).join("\n"), @"ServiceAccount ci/scanner can outlive its token: it may read Secrets, which may hold other tokens (get, list secrets); run Pods, which get tokens of their own (create pods; create jobs.batch; update deployments.apps, ...). Take away what the jobs do not need, or accept it with `escape-check: off`");
    }

    #[test]
    fn an_unanswered_question_is_no_denial() {
        let unknown = questions("scanner").into_iter().map(|question| Answered {
            verdict: Verdict::Unknown,
            reason: "no answer in time".into(),
            ..answer(question, &[])
        });
        let sentences = Escape::of(unknown.collect(), EscapeCheck::Warn).sentences(&account());
        assert!(
            sentences[0].contains(
                "can outlive its token: 55 of 55 questions to the API server got no answer: no answer in time"
            ),
            "{sentences:?}"
        );
    }
}
