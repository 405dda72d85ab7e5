//! The admission policies. They limit a minter where RBAC cannot.
//!
//! kube-apiserver evaluates each policy alone, and a request must pass every policy that matches it. So a
//! policy makes no statement about the accounts of other set-ups, and two set-ups of one namespace do not
//! restrict each other.

use super::{
    Grant, Setup,
    manifests::{ADMISSION, RBAC},
};
use crate::{
    anchor,
    inputs::subject::MinterSubject,
    names,
    rbac::{self, Rule},
    text::{cel, in_words, quoted},
};

/// A CEL expression that must be true, and the API server's message if it is false.
type Validation = (String, String);

/// The operations of the API that change an object.
const CHANGES: &str = "\"CREATE\", \"UPDATE\", \"DELETE\"";
/// The beginning of the expression about the longest lifetime. The lifetime follows.
pub(super) const LIFETIME: &str = "object.spec.expirationSeconds <= ";
/// The beginning of the expression about the audiences. The audiences follow.
pub(super) const AUDIENCES: &str = "object.spec.audiences.all(audience, audience in ";

/// A ValidatingAdmissionPolicy.
struct Policy {
    /// The subject of the policy, such as `tokens`. It is a part of the policy's name.
    about: &'static str,
    /// The YAML comment above the policy.
    why: &'static str,
    operations: &'static str,
    /// API groups, each with its resources.
    resources: &'static [(&'static str, &'static str)],
    /// The condition for the users that the policy applies to: a name and an expression.
    users: (&'static str, String),
    validations: Vec<Validation>,
}

impl Setup {
    /// The policies of one grant, each followed by its binding.
    pub(super) fn policies(&self, grant: Grant<'_>) -> Vec<String> {
        let mut policies = vec![self.tokens(grant), self.anchors()];
        if let Grant::Jobs(rules) = grant {
            policies.extend([self.roles(rules), self.jobs()]);
        }
        policies
            .iter()
            .flat_map(|policy| self.documents(policy, grant))
            .collect()
    }

    fn tokens(&self, grant: Grant<'_>) -> Policy {
        let seconds = self.lifetime.seconds();
        let bound = "object.spec.?boundObjectRef";
        let mut validations = vec![(
            format!(
                "{bound}.?apiVersion.orValue('') == 'v1' && {bound}.?kind.orValue('') == 'Secret' && {bound}.?uid.orValue('') != ''"
            ),
            "a token must be bound to an anchor: `boundObjectRef` must name a Secret and its uid".to_owned(),
        )];
        let of_job = format!("request.name.matches('{}')", names::NAMES);
        let (others, whose) = match grant {
            Grant::Account(account) => {
                validations.push((
                    format!("{bound}.?name.orValue('').matches('{}')", names::NAMES),
                    "a token must be bound to an anchor, with a name that jobpass gives".to_owned(),
                ));
                (
                    format!("request.name != {}", cel(account)),
                    format!("a token of {account}"),
                )
            }
            Grant::Jobs(_) => {
                let given = format!(
                    "authorizer.group('').resource('serviceaccounts').subresource('token').namespace({}).name(request.name)\
                     .check('{}').allowed()",
                    cel(&self.namespace),
                    rbac::MINT
                );
                validations.push((
                    format!("{of_job} ? request.name == {bound}.?name.orValue('') : {given}"),
                    "a token must be for the job's own ServiceAccount, which has the anchor's name, or for \
                     a ServiceAccount of `jobpass setup --service-account`"
                        .to_owned(),
                ));
                (
                    format!("!{of_job}"),
                    "a token of a ServiceAccount that jobpass made for a job".to_owned(),
                )
            }
        };
        validations.push((
            format!("{others} || {LIFETIME}{seconds}"),
            format!("the lifetime of {whose} is {} at most", in_words(seconds)),
        ));
        if !self.audiences.is_empty() {
            let audiences = self.audiences.iter().map(|audience| cel(audience));
            let audiences = audiences.collect::<Vec<_>>().join(", ");
            validations.push((
                format!("{others} || {AUDIENCES}[{audiences}])"),
                format!(
                    "{whose} may only have these audiences: {}",
                    self.audiences.join(", ")
                ),
            ));
        }
        Policy {
            about: "tokens",
            why: "# RBAC can limit a minter to certain ServiceAccounts, but cannot limit the tokens that it \
                  gets. jobpass can neither list\n# nor revoke a token without an anchor, so the token \
                  can outlive its job. A request without the anchor's uid could bind\n# the token to a Secret \
                  that somebody else created with the anchor's name.\n",
            operations: "\"CREATE\"",
            resources: &[("", "\"serviceaccounts/token\"")],
            users: self.minters(),
            validations,
        }
    }

    fn anchors(&self) -> Policy {
        Policy {
            about: "anchors",
            why: "# The minter creates and deletes Secrets, and RBAC cannot tell anchors from other \
                  Secrets. So this policy allows only\n# empty Secrets of the anchors' type. It allows no \
                  finalizers: with one, a token works for up to a minute after the\n# deletion of its \
                  anchor. It allows only background deletion: to any other deletion, the API server answers \
                  with the\n# content of the Secret.\n",
            operations: CHANGES,
            resources: &[("", "\"secrets\"")],
            users: self.minters(),
            validations: vec![
                (
                    format!(
                        "(request.operation == 'DELETE' ? oldObject : object).type == '{}'",
                        anchor::TYPE
                    ),
                    format!(
                        "a minter may only touch anchors: Secrets of type {}",
                        anchor::TYPE
                    ),
                ),
                (
                    named_after_anchor(),
                    "a minter may only touch anchors: Secrets with a name that jobpass gives".into(),
                ),
                (
                    "request.operation == 'DELETE' || !has(object.data)".into(),
                    "an anchor must have no data".into(),
                ),
                no_finalizers("an anchor"),
                in_background("an anchor"),
            ],
        }
    }

    fn roles(&self, rules: &[Rule]) -> Policy {
        let of = |resource: &str, expression: String| {
            format!(
                "request.operation == 'DELETE' || request.resource.resource != '{resource}' || ({expression})"
            )
        };
        let given = rules.iter().map(Rule::given_in_cel);
        let given = given.collect::<Vec<_>>().join(" || ");
        Policy {
            about: "roles",
            why: "# The minter creates and deletes ServiceAccounts and roles for single jobs, and RBAC \
                  cannot tell them from others. So\n# this policy allows only objects that are named after \
                  an anchor, are deleted with it, and give one job only the listed\n# rules. Otherwise a \
                  minter could give its own permissions to a new account, which no policy would limit.\n",
            operations: CHANGES,
            resources: &[
                ("", "\"serviceaccounts\""),
                (RBAC, "\"roles\", \"rolebindings\""),
            ],
            users: self.minters(),
            validations: vec![
                (
                    named_after_anchor(),
                    "a minter may only touch ServiceAccounts and roles that are named after an anchor".into(),
                ),
                (
                    "request.operation == 'DELETE' || (object.metadata.?ownerReferences.orValue([]).size() == 1 && \
                     object.metadata.ownerReferences.all(owner, owner.apiVersion == 'v1' && owner.kind == 'Secret' && \
                     owner.name == object.metadata.name && !owner.?blockOwnerDeletion.orValue(false)))"
                        .into(),
                    "an object that jobpass makes for a job must be owned by its anchor and nothing else, so that it is deleted with the anchor".into(),
                ),
                no_finalizers("an object that jobpass makes for a job"),
                in_background("an object that jobpass makes for a job"),
                (
                    of(
                        "roles",
                        format!(
                            "object.rules.all(rule, rule.verbs.all(verb, rule.apiGroups.all(group, rule.resources.all(resource, \
                             rule.?resourceNames.orValue(['']).all(name, {given})))))"
                        ),
                    ),
                    "a job's Role may only hold rules that `jobpass setup --role-rules` listed".into(),
                ),
                (
                    of(
                        "rolebindings",
                        "object.roleRef.kind == 'Role' && object.roleRef.name == object.metadata.name".into(),
                    ),
                    "a job's RoleBinding must refer to the job's own Role".into(),
                ),
                (
                    of(
                        "rolebindings",
                        "object.?subjects.orValue([]).size() == 1 && object.subjects.all(subject, subject.kind == \
                         'ServiceAccount' && subject.name == object.metadata.name && subject.namespace == \
                         object.metadata.namespace)"
                            .into(),
                    ),
                    "a job's RoleBinding must name the job's own ServiceAccount as its only subject".into(),
                ),
            ],
        }
    }

    /// The policy for the accounts that minters create for jobs. A job's account is not a minter, so the
    /// minters' policies do not limit it.
    fn jobs(&self) -> Policy {
        let users = format!(
            "^system:serviceaccount:{}:{}",
            self.namespace,
            names::NAMES.trim_start_matches('^')
        );
        Policy {
            about: "jobs",
            why: "# A ServiceAccount that jobpass makes for a job must never mint, whatever permissions it gets.\n",
            operations: CHANGES,
            resources: &[
                (
                    "",
                    "\"secrets\", \"serviceaccounts\", \"serviceaccounts/token\"",
                ),
                (RBAC, "\"roles\", \"rolebindings\""),
            ],
            users: (
                "jobs",
                format!("request.userInfo.username.matches('{users}')"),
            ),
            validations: vec![(
                "false".into(),
                "a ServiceAccount that jobpass made for a job may not touch Secrets, ServiceAccounts, tokens, Roles or RoleBindings"
                    .into(),
            )],
        }
    }

    /// The condition for minters. Policies with this condition limit no other users, such as the sweeper and
    /// the cluster's controllers.
    fn minters(&self) -> (&'static str, String) {
        let mut users = Vec::new();
        let mut groups = Vec::new();
        for minter in &self.minters {
            match minter {
                MinterSubject::User(name) => users.push(cel(name)),
                MinterSubject::Group(name) => groups.push(cel(name)),
                MinterSubject::ServiceAccount { namespace, name } => {
                    users.push(cel(&format!("system:serviceaccount:{namespace}:{name}")));
                }
            }
        }
        let mut conditions = Vec::new();
        if !users.is_empty() {
            conditions.push(format!("request.userInfo.username in [{}]", users.join(", ")));
        }
        if !groups.is_empty() {
            conditions.push(format!(
                "(has(request.userInfo.groups) && request.userInfo.groups.exists(group, group in [{}]))",
                groups.join(", ")
            ));
        }
        ("minters", conditions.join(" || "))
    }

    /// The YAML of a policy and of its binding.
    fn documents(&self, policy: &Policy, grant: Grant<'_>) -> [String; 2] {
        let name = self.policy_name(policy.about, grant);
        let resources = policy.resources.iter().map(|(group, resources)| {
            format!(
                "    - apiGroups: [\"{group}\"]\n      apiVersions: [\"v1\"]\n      operations: [{}]\n      \
                 resources: [{resources}]\n",
                policy.operations
            )
        });
        let validations = policy.validations.iter().map(|(expression, message)| {
            format!(
                "  - expression: {}\n    message: {}\n",
                quoted(expression),
                quoted(message)
            )
        });
        let (users, condition) = &policy.users;
        [
            format!(
                "{}{}spec:\n  failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n{}  matchConditions:\n  - name: {users}\n    \
                 expression: {}\n  validations:\n{}",
                policy.why,
                head("ValidatingAdmissionPolicy", &name),
                resources.collect::<String>(),
                quoted(condition),
                validations.collect::<String>(),
            ),
            format!(
                "# Applies the policy in this namespace.\n{}spec:\n  policyName: {}\n  validationActions: [\"Deny\"]\n  matchResources:\n    \
                 namespaceSelector:\n      matchLabels:\n        kubernetes.io/metadata.name: {}\n",
                head("ValidatingAdmissionPolicyBinding", &name),
                quoted(&name),
                quoted(&self.namespace)
            ),
        ]
    }

    /// The name of a policy and of its binding. It is unique, because no namespace has a dot in its name.
    pub(super) fn policy_name(&self, about: &str, grant: Grant<'_>) -> String {
        let account = match grant {
            Grant::Account(account) => format!(".{account}"),
            Grant::Jobs(_) => String::new(),
        };
        format!("jobpass-{about}.{}{account}", self.namespace)
    }
}

impl Rule {
    /// A CEL expression that tells whether this rule allows `verb`, `group`, `resource` and `name`. An empty
    /// name means all objects.
    fn given_in_cel(&self) -> String {
        let list = |texts: &[String]| {
            let texts = texts.iter().map(|text| cel(text)).collect::<Vec<_>>();
            format!("[{}]", texts.join(", "))
        };
        let mut given = format!(
            "verb in {} && group in {} && resource in {}",
            list(&self.verbs),
            list(&self.api_groups),
            list(&self.resources)
        );
        if !self.resource_names.is_empty() {
            given += &format!(" && name in {}", list(&self.resource_names));
        }
        format!("({given})")
    }
}

/// The expression for objects that are named after an anchor. It refuses `generateName`: the API server could
/// generate a name that looks like an anchor's.
fn named_after_anchor() -> String {
    format!(
        "request.name.matches('{}') && (request.operation == 'DELETE' || !has(object.metadata.generateName))",
        names::NAMES
    )
}

fn no_finalizers(what: &str) -> Validation {
    (
        "request.operation == 'DELETE' || !has(object.metadata.finalizers)".into(),
        format!("{what} must have no finalizers"),
    )
}

fn in_background(what: &str) -> Validation {
    (
        "request.operation != 'DELETE' || (request.options.?propagationPolicy.orValue('Background') == 'Background' && \
         !request.options.?orphanDependents.orValue(false))"
            .into(),
        format!("{what} must be deleted with propagation policy Background"),
    )
}

fn head(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: {ADMISSION}\nkind: {kind}\nmetadata:\n  name: {}\n",
        quoted(name)
    )
}
