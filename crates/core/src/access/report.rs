//! The report about permissions: the permissions, the API server's answers, and the next steps.

use super::Escape;
use crate::{
    claims::account::Account,
    error::{Error, Kind},
    rbac::{self, Grantee, Line, Permission, Rule},
    text::{self, code},
};

/// The answers about the permissions of one token.
#[derive(Debug, Clone)]
pub struct Report {
    /// The required permissions, then the forbidden ones.
    pub findings: Vec<Finding>,
    /// The result of the escape check.
    pub escape: Escape,
    /// The user of the token.
    pub holder: Holder,
}

/// The user whose permissions the report is about.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The namespace of permissions that name no namespace.
    pub namespace: String,
    /// The ServiceAccount. `None` for any other user: the escape check is about ServiceAccounts only.
    pub account: Option<Account>,
}

/// The answer about one permission.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The permission.
    pub permission: Permission,
    /// The expected verdict.
    pub expected: Expected,
    /// The answer of the API server.
    pub verdict: Verdict,
    /// The API server's reason, or the reason why there is no answer. Harmless text.
    pub reason: String,
}

/// The verdict that a person expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The permission is required: by the input `require`, or by an argument of `jobpass check`.
    Allowed,
    /// The permission is forbidden, by the input `forbid`.
    Denied,
}

/// The answer of the API server about a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The user has the permission.
    Allowed,
    /// The user does not have the permission.
    Denied,
    /// The API server gave no answer, or an error. So neither a requirement nor a prohibition is met.
    Unknown,
}

impl Expected {
    /// The input with which a job states the expectation.
    pub fn option(self) -> &'static str {
        match self {
            Self::Allowed => "require",
            Self::Denied => "forbid",
        }
    }
}

impl Verdict {
    /// The verdict as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

impl Finding {
    /// Whether the answer is the expected one.
    pub fn holds(&self) -> bool {
        matches!(
            (self.expected, self.verdict),
            (Expected::Allowed, Verdict::Allowed) | (Expected::Denied, Verdict::Denied)
        )
    }
}

impl Report {
    /// Fails if an answer is not the expected one. With `escape-check: fail`, also fails if the escape check
    /// finds a way or lacks an answer. The error ends with the next steps.
    ///
    /// # Errors
    /// [`Kind::Claims`] if an answer contradicts the expectation, or if a fatal escape check finds a way.
    /// [`Kind::Unreachable`] if the only problem is that some answers are unknown.
    pub fn verdict(&self) -> Result<(), Error> {
        let failed = self
            .findings
            .iter()
            .filter(|finding| !finding.holds())
            .collect::<Vec<_>>();
        let escapes = match self.escape.fatal {
            true => self.warnings(),
            false => Vec::new(),
        };
        let known = failed.iter().any(|finding| finding.verdict != Verdict::Unknown)
            || self.escape.fatal && !self.escape.ways.is_empty();
        let kind = if known { Kind::Claims } else { Kind::Unreachable };
        let Some(first) = failed.first() else {
            let Some(sentence) = escapes.first() else {
                return Ok(());
            };
            let help = match known {
                true => {
                    "remove these permissions from the ServiceAccount, or give the job another ServiceAccount"
                }
                false => "try again",
            };
            return Err(Error::new(kind, sentence).help(format!(
                "{help}. With `escape-check: warn`, this is only a warning"
            )));
        };
        let wanted = match first.expected {
            Expected::Allowed => "required",
            Expected::Denied => "forbidden",
        };
        let got = match first.verdict {
            Verdict::Allowed => "allows it",
            Verdict::Denied => "denies it",
            Verdict::Unknown => "gave no verdict on it",
        };
        let mut what = format!("`{}` is {wanted}, but the API server {got}", first.permission);
        if failed.len() > 1 {
            what += &format!("; {} of {} checks failed", failed.len(), self.findings.len());
        }
        // The YAML to paste comes last, where a person finds it.
        let remedies = escapes
            .into_iter()
            .chain(self.to_know())
            .chain(self.to_take())
            .chain(self.to_grant());
        Err(remedies.fold(Error::new(kind, what), Error::help))
    }

    /// Whether the API server left a permission without an answer.
    pub(crate) fn is_partly_unknown(&self) -> bool {
        let unknown = |finding: &Finding| finding.verdict == Verdict::Unknown;
        self.findings.iter().any(unknown) || self.escape.unknown.is_some()
    }

    /// The permissions with their verdicts, one line each. Empty if the report is about no permission.
    pub fn text(&self) -> String {
        let rows = self.findings.iter().map(|finding| {
            [
                if finding.holds() { "ok" } else { "FAILED" }.to_owned(),
                finding.expected.option().to_owned(),
                finding.permission.to_string(),
                finding.verdict.word().to_owned(),
                finding.reason.clone(),
            ]
        });
        let rows = rows.collect::<Vec<_>>();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2), width(3)];
        let line = |row: &[String; 5]| {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}  "));
            format!("  {}{}", cells.collect::<String>(), row[4])
                .trim_end()
                .to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The report in Markdown: a table of the permissions, then the warnings of the escape check. Empty if
    /// there are neither.
    pub fn markdown(&self) -> String {
        let mut markdown = String::new();
        if !self.findings.is_empty() {
            markdown += "| | | Asked | The cluster says | Its reason |\n|---|---|---|---|---|\n";
        }
        for finding in &self.findings {
            let mark = if finding.holds() {
                ":white_check_mark:"
            } else {
                ":x:"
            };
            let reason = if finding.reason.is_empty() {
                String::new()
            } else {
                code(&finding.reason)
            };
            markdown += &format!(
                "| {mark} | {} | {} | {} | {reason} |\n",
                finding.expected.option(),
                code(&finding.permission.to_string()),
                finding.verdict.word(),
            );
        }
        for sentence in self.warnings() {
            markdown += &format!("\n> [!WARNING]\n> {}\n", text::markdown(&sentence));
        }
        markdown
    }

    /// The result of the escape check: one sentence with all open ways, and one about questions without an
    /// answer. Empty if there are neither.
    pub fn warnings(&self) -> Vec<String> {
        let account = self.holder.account.as_ref();
        account.map_or_else(Vec::new, |account| self.escape.sentences(account))
    }

    /// The roles and their bindings that grant the required permissions, as YAML to apply. There is one Role
    /// for each namespace in which a required permission is denied, and a ClusterRole if only a ClusterRole
    /// can grant a denied permission. `None` if no required permission is denied.
    fn to_grant(&self) -> Option<String> {
        let own = &*self.holder.namespace;
        let required = self
            .findings
            .iter()
            .filter(|finding| finding.expected == Expected::Allowed);
        let required = required.map(|finding| (&finding.permission, finding.verdict == Verdict::Denied));
        let required = required.collect::<Vec<_>>();
        let mut places = Vec::new();
        for (permission, missing) in &required {
            let place = rbac::namespace_of(permission, own);
            if *missing && !places.contains(&place) {
                places.push(place);
            }
        }
        let account = self.holder.account.as_ref();
        let grantee = match account {
            Some(Account { namespace, name }) => Grantee::ServiceAccount { namespace, name },
            None => Grantee::User("THE USER'S NAME"),
        };
        // All reports about an account use the same name for the Role, and `kubectl apply` replaces its
        // rules. So the manifest lists all required permissions: the missing ones alone would take away what
        // the manifest of an earlier report granted.
        let whom = account.map_or("user", |account| account.name.get(..200).unwrap_or(&account.name));
        let manifests = places.into_iter().map(|place| {
            let here = required
                .iter()
                .copied()
                .filter(|(permission, _)| rbac::namespace_of(permission, own) == place);
            let name = match (place, account) {
                (None, Some(account)) => format!("jobpass-require:{}:{whom}", account.namespace),
                _ => format!("jobpass-require-{whom}"),
            };
            rbac::role_yaml(&name, place, &rbac::lines(here), &grantee)
        });
        let manifests = manifests.collect::<Vec<_>>();
        let mut missing = required.iter().filter(|(_, missing)| *missing);
        // A person pastes the manifest, so it must not silently give more than the permission's words say.
        let warning = missing.find_map(|(permission, _)| Rule::from(*permission).never_given());
        let warning = warning.map_or_else(String::new, |(what, why)| {
            format!("consider `{what}` well before you grant it: {why}\n\n")
        });
        let help = "an administrator of the cluster can grant the required permissions with `kubectl apply -f \
            -` and this manifest:";
        (!manifests.is_empty()).then(|| format!("{warning}{help}\n\n{}", manifests.join("\n---\n")))
    }

    /// The rules that grant the forbidden permissions that the token has, as YAML. If the API server's reason
    /// names the role, the command that edits the role stands beside the rule. `None` if the token has no
    /// forbidden permission.
    fn to_take(&self) -> Option<String> {
        let too_much = self.findings.iter();
        let too_much = too_much
            .filter(|finding| finding.expected == Expected::Denied && finding.verdict == Verdict::Allowed);
        let rules = |finding: &Finding| {
            let rule = Line {
                rule: (&finding.permission).into(),
                missing: false,
            };
            let edit = role(&finding.reason)
                .map(|command| format!("   # {command}"))
                .unwrap_or_default();
            let yaml = rbac::rules_yaml(&[rule]);
            let (first, rest) = yaml.split_once('\n').unwrap_or((&yaml, ""));
            format!("{first}{edit}\n{rest}")
        };
        let (of_roles, of_others) = too_much.partition::<Vec<_>, _>(|finding| names_role(&finding.reason));
        let by_role = "the token must not have the permissions below. Take them out of the role that the \
            reason names: remove the rule, or narrow the rule if it grants more than this:";
        let by_other = "the token must not have the permissions below. No reason names a role, so another \
            authorizer than RBAC may allow them, for example a webhook. Look for the authorizers in the \
            flags `--authorization-mode` and `--authorization-config` of kube-apiserver, and at the roles of \
            the ServiceAccount at your cloud provider:";
        let parts = [(by_role, of_roles), (by_other, of_others)].into_iter();
        let parts = parts
            .filter(|(_, findings)| !findings.is_empty())
            .map(|(help, findings)| {
                let rules = findings.into_iter().map(rules).collect::<Vec<_>>();
                format!("{help}\n\n{}", rules.join("\n"))
            });
        let parts = parts.collect::<Vec<_>>();
        (!parts.is_empty()).then(|| parts.join("\n"))
    }

    fn to_know(&self) -> Option<String> {
        let unknown = self
            .findings
            .iter()
            .any(|finding| finding.verdict == Verdict::Unknown);
        unknown.then(|| {
            "jobpass cannot tell whether a permission marked `unknown` is allowed, so the check fails. Try again. \
             After a 401, use another credential: `jobpass whoami` tells more about this one"
                .to_owned()
        })
    }
}

/// Whether the reason of RBAC names a role, with any name.
fn names_role(reason: &str) -> bool {
    reason.contains(" of Role \"") || reason.contains(" of ClusterRole \"")
}

/// The command that edits the role in a reason such as `RBAC: allowed by RoleBinding "reader/ci" of Role
/// "reader" to ...`.
fn role(reason: &str) -> Option<String> {
    let quoted = |before: &str| {
        let (_, rest) = reason.split_once(before)?;
        rest.split_once('"').map(|(name, _)| name)
    };
    let plain = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    if let Some(name) = quoted(" of ClusterRole \"").filter(|name| plain(name)) {
        return Some(format!("kubectl edit clusterrole {name}"));
    }
    let name = quoted(" of Role \"").filter(|name| plain(name))?;
    let (_, namespace) = quoted("RoleBinding \"")?
        .rsplit_once('/')
        .filter(|(_, namespace)| plain(namespace))?;
    Some(format!("kubectl edit role {name} --namespace {namespace}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: &[(Expected, &str, Verdict, &str)]) -> Report {
        let findings = findings
            .iter()
            .map(|(expected, permission, verdict, reason)| Finding {
                permission: Permission::parse(permission).expect(permission),
                expected: *expected,
                verdict: *verdict,
                reason: (*reason).to_owned(),
            });
        Report {
            findings: findings.collect(),
            escape: Escape::default(),
            holder: Holder {
                namespace: "ci".into(),
                account: Some(Account {
                    namespace: "ci".into(),
                    name: "scanner".into(),
                }),
            },
        }
    }

    const REASON: &str =
        "RBAC: allowed by RoleBinding \"scanner/ci\" of Role \"scanner\" to ServiceAccount \"scanner/ci\"";

    #[test]
    fn what_fails_is_shown_with_what_would_change_it() {
        let report = report(&[
            (Expected::Allowed, "get pods", Verdict::Allowed, REASON),
            (
                Expected::Allowed,
                "create pods/exec target-pod",
                Verdict::Denied,
                "",
            ),
            (Expected::Allowed, "list nodes", Verdict::Denied, ""),
            (Expected::Denied, "get secrets", Verdict::Allowed, REASON),
            (Expected::Denied, "delete pods", Verdict::Denied, ""),
        ]);
        let error = report
            .verdict()
            .expect_err("refused")
            .reporting(report.text(), report.markdown());
        assert_eq!(error.kind(), Kind::Claims);
        insta::assert_snapshot!(error, @r#"
        the token was not handed over: `create pods/exec target-pod` is required, but the API server denies it; 3 of 5 checks failed

          ok      require  get pods                     allowed  RBAC: allowed by RoleBinding "scanner/ci" of Role "scanner" to ServiceAccount "scanner/ci"
          FAILED  require  create pods/exec target-pod  denied
          FAILED  require  list nodes                   denied
          FAILED  forbid   get secrets                  allowed  RBAC: allowed by RoleBinding "scanner/ci" of Role "scanner" to ServiceAccount "scanner/ci"
          ok      forbid   delete pods                  denied

        the token must not have the permissions below. Take them out of the role that the reason names: remove the rule, or narrow the rule if it grants more than this:

        - apiGroups: [""]   # kubectl edit role scanner --namespace ci
          resources: ["secrets"]
          verbs: ["get"]

        an administrator of the cluster can grant the required permissions with `kubectl apply -f -` and this manifest:

        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: jobpass-require-scanner
          namespace: ci
        rules:
        - apiGroups: [""]
          resources: ["pods"]
          verbs: ["get"]
        - apiGroups: [""]   # this rule is missing
          resources: ["pods/exec"]
          resourceNames: ["target-pod"]
          verbs: ["create"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: jobpass-require-scanner
          namespace: ci
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: jobpass-require-scanner
        subjects:
        - kind: ServiceAccount
          name: scanner
          namespace: ci
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: jobpass-require:ci:scanner
        rules:
        - apiGroups: [""]   # this rule is missing
          resources: ["nodes"]
          verbs: ["list"]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: jobpass-require:ci:scanner
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: jobpass-require:ci:scanner
        subjects:
        - kind: ServiceAccount
          name: scanner
          namespace: ci
        "#);
        insta::assert_snapshot!(report.markdown(), @r#"
        | | | Asked | The cluster says | Its reason |
        |---|---|---|---|---|
        | :white_check_mark: | require | `get pods` | allowed | `RBAC: allowed by RoleBinding "scanner/ci" of Role "scanner" to ServiceAccount "scanner/ci"` |
        | :x: | require | `create pods/exec target-pod` | denied |  |
        | :x: | require | `list nodes` | denied |  |
        | :x: | forbid | `get secrets` | allowed | `RBAC: allowed by RoleBinding "scanner/ci" of Role "scanner" to ServiceAccount "scanner/ci"` |
        | :white_check_mark: | forbid | `delete pods` | denied |  |
        "#);
    }

    /// In the namespace of the minter, whoever may create Pods can act as the minter.
    #[test]
    fn a_permission_that_leads_further_is_not_proposed_without_a_word() {
        let warning = "consider `create pods` well before you grant it: a Pod may run as any ServiceAccount";
        for (permission, warns) in [("create pods", true), ("list pods", false)] {
            let report = report(&[(Expected::Allowed, permission, Verdict::Denied, "")]);
            let error = report.verdict().expect_err("refused").to_string();
            assert!(error.contains("kubectl apply -f -"), "{error}");
            assert_eq!(error.contains(warning), warns, "{error}");
        }
    }

    #[test]
    fn what_nobody_knows_does_not_pass() {
        for expected in [Expected::Allowed, Expected::Denied] {
            let report = report(&[(expected, "get pods", Verdict::Unknown, "no answer in time")]);
            let error = report
                .verdict()
                .expect_err("refused")
                .reporting(report.text(), report.markdown());
            assert_eq!(error.kind(), Kind::Unreachable);
            assert!(
                error.to_string().contains("no answer in time") && !error.to_string().contains("kind:"),
                "{error}"
            );
        }
    }

    /// Only RBAC names a role. Other authorizers give another reason or none.
    #[test]
    fn a_permission_that_no_role_grants_sends_nobody_to_a_role() {
        let report = report(&[
            (Expected::Denied, "get secrets", Verdict::Allowed, REASON),
            (
                Expected::Denied,
                "list nodes",
                Verdict::Allowed,
                "Access granted by the cloud",
            ),
            (Expected::Denied, "delete pods", Verdict::Allowed, ""),
        ]);
        let help = report.to_take().expect("a step");
        let (by_role, by_other) = help.split_once("No reason names a role").expect(&help);
        assert!(
            by_role.contains("\"secrets\"") && by_role.contains("that the reason names"),
            "{help}"
        );
        assert!(
            by_other.contains("\"nodes\"") && by_other.contains("\"pods\""),
            "{help}"
        );
        assert!(!by_other.contains("\"secrets\""), "{help}");
    }

    #[test]
    fn a_hostile_reason_yields_no_command() {
        assert_eq!(
            role("RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"edit\" to").as_deref(),
            Some("kubectl edit clusterrole edit")
        );
        assert_eq!(
            role("allowed by RoleBinding \"a/b\" of Role \"x; rm -rf /\" to"),
            None
        );
        assert_eq!(role("no reason"), None);
    }
}
