//! What a refusal means, and what to do about it.

use super::{Answer, Call, Cluster, denial::Denial};
use crate::{
    anchors::Scope,
    error::{Error, Kind},
    rbac::{self, Grantee, Line},
    spec::{Spec, TokenType},
    state::State,
    text::harmless,
};

/// The permission that a call needs, to name the rule that is missing.
pub(crate) struct Need<'a> {
    namespace: &'a str,
    whose: Whose<'a>,
    /// Which rule of the minter's Role it is.
    rule: Rule,
}

/// Whom the token is for.
#[derive(Clone, Copy)]
enum Whose<'a> {
    Account(&'a str),
    /// An account that is made for the job, with these rules.
    Job(&'a [rbac::Rule]),
    /// A legacy token, made or rotated: this is done with Secrets for it.
    Legacy(&'a str, &'static [&'static str]),
}

/// The rules of [`rbac::Rule::of_minter`], in its order.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Anchors,
    Tokens,
    /// The job's own account, role and binding.
    Accounts,
    Roles,
    /// What the job's role gives: all that follow.
    Given,
}

impl<'a> Need<'a> {
    pub(crate) fn anchors(spec: &'a Spec) -> Self {
        Self::of(spec, Rule::Anchors)
    }

    /// To put the legacy token of an account into the place of another.
    pub(crate) fn rotating(namespace: &'a str, account: &'a str) -> Self {
        Self {
            namespace,
            whose: Whose::Legacy(account, &["create", "get", "patch", "delete"]),
            rule: Rule::Anchors,
        }
    }

    pub(crate) fn tokens(spec: &'a Spec) -> Self {
        Self::of(spec, Rule::Tokens)
    }

    /// To make an object of the job's role.
    pub(crate) fn role(spec: &'a Spec, kind: &str) -> Self {
        Self::of(
            spec,
            if kind == "ServiceAccount" {
                Rule::Accounts
            } else {
                Rule::Roles
            },
        )
    }

    /// To delete the anchor, when all that is left is the state.
    pub(crate) fn revoking(state: &'a State) -> Self {
        let receipt = &state.receipt;
        Self {
            namespace: &receipt.namespace,
            whose: if state.role {
                Whose::Job(&[])
            } else {
                Whose::Account(&receipt.service_account)
            },
            rule: Rule::Anchors,
        }
    }

    fn of(spec: &'a Spec, rule: Rule) -> Self {
        let whose = match (spec.token_type, spec.rules.is_empty()) {
            (TokenType::Legacy, _) => Whose::Legacy(&spec.service_account, &["create", "get", "delete"]),
            (TokenType::Bound, true) => Whose::Account(&spec.service_account),
            (TokenType::Bound, false) => Whose::Job(&spec.rules),
        };
        // All that a legacy token takes is one rule.
        let rule = match whose {
            Whose::Legacy(..) => Rule::Anchors,
            _ => rule,
        };
        Self {
            namespace: &spec.namespace,
            whose,
            rule,
        }
    }

    /// What it means that the account is not there.
    pub(crate) fn no_account(&self) -> String {
        let (Whose::Account(account) | Whose::Legacy(account, _)) = self.whose else {
            return "something deleted it as soon as it was made".into();
        };
        format!(
            "there is no ServiceAccount `{account}` in namespace `{0}`: check inputs `service-account` and `namespace`, or \
             `kubectl create serviceaccount {account} --namespace {0}`",
            self.namespace
        )
    }

    /// The minter's Role and its binding, to paste.
    fn yaml(&self, subject: Option<&str>) -> String {
        // Of its own for each account, and for each set of rules, so that applying it takes nothing away that another Role gives.
        let (name, rules) = match self.whose {
            Whose::Account(account) => (
                format!("jobpass-mint-{}", account.get(..200).unwrap_or(account)),
                rbac::Rule::of_minter(Some(account), &[]),
            ),
            Whose::Job(given) => (
                format!("jobpass-mint-rules-{}", digest(given)),
                rbac::Rule::of_minter(None, given),
            ),
            Whose::Legacy(_, verbs) => (
                format!("jobpass-secrets-{}", verbs.join("-")),
                vec![rbac::Rule::of("", &["secrets"], &[], verbs)],
            ),
        };
        let lines = rules.into_iter().enumerate();
        let lines = lines.map(|(index, rule)| Line {
            rule,
            missing: index.min(Rule::Given as usize) == self.rule as usize,
        });
        let lines = lines.collect::<Vec<_>>();
        let minter = Grantee::user(subject.unwrap_or("THE MINTER'S USER NAME"));
        rbac::role_yaml(&name, Some(self.namespace), &lines, &minter)
    }
}

impl Cluster {
    /// The error for an answer that is not the one that was hoped for.
    pub(crate) fn refused(&self, call: &Call, answer: &Answer, need: &Need<'_>) -> Error {
        let message = answer.message();
        let error = plain(call, answer);
        // A policy that refuses legacy tokens does so on purpose: below.
        let on_purpose =
            |denial: &Denial<'_>| matches!((denial, need.whose), (Denial::Policy(_), Whose::Legacy(..)));
        if let Some(denial) = answer.denial().filter(|denial| !on_purpose(denial)) {
            return error.help(denial.help(&call.method, need.namespace));
        }
        match answer.status {
            401 => error.help(self.unauthorized()),
            403 if message.contains("attempting to grant RBAC permissions not currently held") => {
                let need = Need { rule: Rule::Given, ..*need };
                error.help(format!(
                    "who makes a Role can only put into it what they may do themselves; the message above lists what the minter \
                     lacks. Two ways out: it gets these rights, too (`kubectl apply -f -`, below); or it may give away rights that \
                     it does not have, any in this namespace:\n\n{}\n\n{}",
                    rbac::rules_yaml(&[Line {
                        rule: rbac::Rule::of("rbac.authorization.k8s.io", &["roles"], &[], &["escalate", "bind"]),
                        missing: false,
                    }]),
                    need.yaml(user(&message))
                ))
            }
            403 if matches!(need.whose, Whose::Legacy(..)) => error.help(format!(
                "for a legacy token, a Secret must be read. This gives what it takes and no more (`kubectl apply -f -`), but it is \
                 much: who may make and read Secrets gets at all that are in the namespace, and at a token for each of its \
                 ServiceAccounts; so the namespace should hold nothing else. A bound token (`type: bound`) needs none of this:\n\n{}",
                need.yaml(user(&message))
            )),
            403 => error.help(format!(
                "check {}; if {} right, this gives the minter what it needs and no more (`kubectl apply -f -`):\n\n{}",
                match need.whose {
                    Whose::Job(_) => "input `namespace`",
                    _ => "inputs `service-account` and `namespace`",
                },
                match need.whose {
                    Whose::Job(_) => "it is",
                    _ => "they are",
                },
                need.yaml(user(&message))
            )),
            404 if message.starts_with("namespaces ") => error.help(format!(
                "there is no namespace `{0}`: check input `namespace`, or `kubectl create namespace {0}`",
                need.namespace
            )),
            404 if message.starts_with("serviceaccounts ") => error.help(need.no_account()),
            404 => error.help("check the server's URL: this one does not know what every Kubernetes API server knows"),
            422 if matches!(need.whose, Whose::Legacy(..)) && message.contains("ValidatingAdmissionPolicy") => error.help(
                "an admission policy refused it. Those that `jobpass setup` writes do so on purpose: they hold a minter to empty \
                 anchors and bound tokens, and a legacy token is neither. Use `type: bound`; or, where old tooling cannot do \
                 without, a minter of its own to which no such policy applies, in a namespace of its own",
            ),
            422 => error.help(
                "the API server or an admission policy refused the request as it is; the message above says why",
            ),
            _ => error.help("this answer is unexpected; if it comes again, please report it"),
        }
    }

    /// The same for who lists anchors, or sweeps them: `verbs` is what that takes, on Secrets.
    pub(crate) fn refused_to_see(
        &self,
        call: &Call,
        answer: &Answer,
        scope: &Scope,
        verbs: &[&str],
    ) -> Error {
        let error = plain(call, answer);
        if let Some(denial) = answer.denial() {
            return error.help(denial.help(&call.method, ""));
        }
        match answer.status {
            401 => error.help(self.unauthorized()),
            403 => error.help(format!(
                "this gives what it needs and no more (`kubectl apply -f -`); who may list Secrets can read them, so give it to \
                 nobody else:\n\n{}",
                sweeper_role(scope, verbs, user(&answer.message()))
            )),
            _ => error.help("check the server's URL; if this answer comes again, please report it"),
        }
    }
}

fn plain(call: &Call, answer: &Answer) -> Error {
    let (status, message) = (answer.status, answer.message());
    let what = format!(
        "cannot {}: the API server answered {status} {message}",
        call.doing
    );
    Error::new(Kind::Refused, what.trim_end())
}

fn sweeper_role(scope: &Scope, verbs: &[&str], user: Option<&str>) -> String {
    let namespace = match scope {
        Scope::Namespace(namespace) => Some(&**namespace),
        Scope::Cluster => None,
    };
    let secrets = Line {
        rule: rbac::Rule::of("", &["secrets"], &[], verbs),
        missing: false,
    };
    let sweeper = Grantee::user(user.unwrap_or("THE USER NAME"));
    rbac::role_yaml("jobpass-sweeper", namespace, &[secrets], &sweeper)
}

/// The first bytes of their SHA-256, in hexadecimal.
fn digest(rules: &[rbac::Rule]) -> String {
    let rules = serde_json::to_vec(rules).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, &rules);
    let bytes = digest.as_ref().iter().take(4);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The user that a Forbidden message names, if it is one that can stand in YAML.
fn user(message: &str) -> Option<&str> {
    let (_, rest) = message
        .split_once("User \"")
        .or_else(|| message.split_once("user \""))?;
    let (user, _) = rest.split_once('"')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/#+=|".contains(c);
    (!user.is_empty() && user.chars().all(plain) && user == harmless(user)).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Inputs;

    #[test]
    fn the_missing_rule_is_yaml_to_paste() {
        let message = "secrets is forbidden: User \"system:serviceaccount:ci:minter\" cannot create resource";
        let inputs = Inputs::from([("service-account", "scanner"), ("namespace", "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        insta::assert_snapshot!(Need::anchors(&spec).yaml(user(message)), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: jobpass-mint-scanner
          namespace: ci
        rules:
        - apiGroups: [""]   # this rule is missing
          resources: ["secrets"]
          verbs: ["create", "delete"]
        - apiGroups: [""]
          resources: ["serviceaccounts/token"]
          resourceNames: ["scanner"]
          verbs: ["create"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: jobpass-mint-scanner
          namespace: ci
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: jobpass-mint-scanner
        subjects:
        - kind: ServiceAccount
          name: minter
          namespace: ci
        "#);
    }

    #[test]
    fn what_a_sweeper_needs_is_yaml_to_paste() {
        let ci = Scope::Namespace("ci".into());
        let verbs = ["list", "delete"];
        insta::assert_snapshot!(sweeper_role(&ci, &verbs, Some("system:serviceaccount:ops:sweeper")), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: jobpass-sweeper
          namespace: ci
        rules:
        - apiGroups: [""]
          resources: ["secrets"]
          verbs: ["list", "delete"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: jobpass-sweeper
          namespace: ci
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: jobpass-sweeper
        subjects:
        - kind: ServiceAccount
          name: sweeper
          namespace: ops
        "#);
        insta::assert_snapshot!(sweeper_role(&Scope::Cluster, &["list"], None), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: jobpass-sweeper
        rules:
        - apiGroups: [""]
          resources: ["secrets"]
          verbs: ["list"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: jobpass-sweeper
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: jobpass-sweeper
        subjects:
        - kind: User
          name: "THE USER NAME"
          apiGroup: rbac.authorization.k8s.io
        "#);
    }

    #[test]
    fn a_user_name_cannot_write_yaml_of_its_own() {
        assert_eq!(user("User \"ci:github:2\" cannot"), Some("ci:github:2"));
        assert_eq!(user("User \"x\\\"\\n- kind: Group\" cannot"), None);
        assert_eq!(user("nothing of the kind"), None);
    }
}
