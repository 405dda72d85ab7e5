//! The admission policies: what RBAC cannot say.
//!
//! The API server evaluates each policy by itself, and a request must pass every policy that matches it. So a policy says nothing
//! about the accounts of other set-ups, and two set-ups of one namespace take nothing away from each other.

use super::{
    Part, Setup,
    manifests::{ADMISSION, RBAC},
};
use crate::{
    anchor,
    inputs::subject::MinterSubject,
    names,
    rbac::{self, Rule},
    text::{cel, in_words, quoted},
};

/// An expression that must be true, and what is said when it is not.
type Validation = (String, String);

const CHANGES: &str = "\"CREATE\", \"UPDATE\", \"DELETE\"";
/// Before the longest lifetime, in a policy.
pub(super) const LIFETIME: &str = "object.spec.expirationSeconds <= ";
/// Before the audiences, in a policy.
pub(super) const AUDIENCES: &str = "object.spec.audiences.all(audience, audience in ";

struct Policy {
    /// `tokens`.
    about: &'static str,
    why: &'static str,
    operations: &'static str,
    /// A group, and its resources.
    resources: &'static [(&'static str, &'static str)],
    /// Whose requests it judges: a name and an expression.
    whose: (&'static str, String),
    validations: Vec<Validation>,
}

impl Setup {
    /// The policies of one part, each followed by its binding.
    pub(super) fn policies(&self, part: Part<'_>) -> Vec<String> {
        let mut policies = vec![self.tokens(part), self.anchors()];
        if let Part::Jobs(rules) = part {
            policies.extend([self.roles(rules), self.jobs()]);
        }
        policies
            .iter()
            .flat_map(|policy| self.documents(policy, part))
            .collect()
    }

    fn tokens(&self, part: Part<'_>) -> Policy {
        let seconds = self.lifetime.seconds();
        let bound = "object.spec.?boundObjectRef";
        let mut validations = vec![(
            format!(
                "{bound}.?apiVersion.orValue('') == 'v1' && {bound}.?kind.orValue('') == 'Secret' && {bound}.?uid.orValue('') != ''"
            ),
            "a token must be bound to an anchor, a Secret with its uid".to_owned(),
        )];
        let of_job = format!("request.name.matches('{}')", names::NAMES);
        let (others, whose) = match part {
            Part::Account(account) => {
                validations.push((
                    format!("{bound}.?name.orValue('').matches('{}')", names::NAMES),
                    "a token must be bound to an anchor, called as jobpass calls them".to_owned(),
                ));
                (
                    format!("request.name != {}", cel(account)),
                    format!("a token of {account}"),
                )
            }
            Part::Jobs(_) => {
                let given = format!(
                    "authorizer.group('').resource('serviceaccounts').subresource('token').namespace({}).name(request.name)\
                     .check('{}').allowed()",
                    cel(&self.namespace),
                    rbac::MINT
                );
                validations.push((
                    format!("{of_job} ? request.name == {bound}.?name.orValue('') : {given}"),
                    "a token is of a ServiceAccount that was made for its job, called as the anchor is, or of one that the minter \
                     was given"
                        .to_owned(),
                ));
                (
                    format!("!{of_job}"),
                    "a token of a ServiceAccount that was made for a job".to_owned(),
                )
            }
        };
        validations.push((
            format!("{others} || {LIFETIME}{seconds}"),
            format!("{whose} may live for {} at most", in_words(seconds)),
        ));
        if !self.audiences.is_empty() {
            let audiences = self.audiences.iter().map(|audience| cel(audience));
            let audiences = audiences.collect::<Vec<_>>().join(", ");
            validations.push((
                format!("{others} || {AUDIENCES}[{audiences}])"),
                format!("{whose} may have no audiences but {}", self.audiences.join(", ")),
            ));
        }
        Policy {
            about: "tokens",
            why: "# RBAC can say for whom the minter may ask for tokens, but not for which. A token that is bound to nothing, or to a\n\
                  # Secret that is no anchor, would be in no list and end with no job; one without the uid could be bound to an anchor\n\
                  # that somebody else made under that name.\n",
            operations: "\"CREATE\"",
            resources: &[("", "\"serviceaccounts/token\"")],
            whose: self.minters(),
            validations,
        }
    }

    fn anchors(&self) -> Policy {
        Policy {
            about: "anchors",
            why: "# The minter must create and delete Secrets, and nothing in RBAC tells anchors from others. So: only empty ones of\n\
                  # our type, which hold no secret; nothing that would keep one from being deleted at once, as the token lives on\n\
                  # until it is gone; and no other Secret is deleted, or shown by a foreground delete.\n",
            operations: CHANGES,
            resources: &[("", "\"secrets\"")],
            whose: self.minters(),
            validations: vec![
                (
                    format!(
                        "(request.operation == 'DELETE' ? oldObject : object).type == '{}'",
                        anchor::TYPE
                    ),
                    format!(
                        "a minter touches no Secrets but anchors, of type {}",
                        anchor::TYPE
                    ),
                ),
                (
                    called_as_anchors(),
                    "a minter touches no Secrets but anchors, called as jobpass calls them".into(),
                ),
                (
                    "request.operation == 'DELETE' || !has(object.data)".into(),
                    "an anchor has no data".into(),
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
            why: "# The minter must create and delete the ServiceAccounts and roles of single jobs, and nothing in RBAC tells them from\n\
                  # others. So: only what is called as anchors are, goes with its anchor, and gives this one job what was listed. Else\n\
                  # a minter could give an account of its own what it has itself, which no policy for minters would hold.\n",
            operations: CHANGES,
            resources: &[
                ("", "\"serviceaccounts\""),
                (RBAC, "\"roles\", \"rolebindings\""),
            ],
            whose: self.minters(),
            validations: vec![
                (
                    called_as_anchors(),
                    "a minter touches no ServiceAccounts and roles but those of single jobs, called as their anchors are".into(),
                ),
                (
                    "request.operation == 'DELETE' || (object.metadata.?ownerReferences.orValue([]).size() == 1 && \
                     object.metadata.ownerReferences.all(owner, owner.apiVersion == 'v1' && owner.kind == 'Secret' && \
                     owner.name == object.metadata.name && !owner.?blockOwnerDeletion.orValue(false)))"
                        .into(),
                    "what is made for a job is owned by its anchor and nothing else, so that it goes with it".into(),
                ),
                no_finalizers("what is made for a job"),
                in_background("what is made for a job"),
                (
                    of(
                        "roles",
                        format!(
                            "object.rules.all(rule, rule.verbs.all(verb, rule.apiGroups.all(group, rule.resources.all(resource, \
                             rule.?resourceNames.orValue(['']).all(name, {given})))))"
                        ),
                    ),
                    "a job's Role holds nothing but what `jobpass setup --rules` listed".into(),
                ),
                (
                    of(
                        "rolebindings",
                        "object.roleRef.kind == 'Role' && object.roleRef.name == object.metadata.name".into(),
                    ),
                    "a job's RoleBinding gives the job's own Role".into(),
                ),
                (
                    of(
                        "rolebindings",
                        "object.?subjects.orValue([]).size() == 1 && object.subjects.all(subject, subject.kind == \
                         'ServiceAccount' && subject.name == object.metadata.name && subject.namespace == \
                         object.metadata.namespace)"
                            .into(),
                    ),
                    "a job's RoleBinding gives rights to the job's own ServiceAccount".into(),
                ),
            ],
        }
    }

    /// The accounts that a minter can make are nobody that it names.
    fn jobs(&self) -> Policy {
        let users = format!(
            "^system:serviceaccount:{}:{}",
            self.namespace,
            names::NAMES.trim_start_matches('^')
        );
        Policy {
            about: "jobs",
            why: "# The ServiceAccounts that are made for jobs are no minters, whatever they should come to be given.\n",
            operations: CHANGES,
            resources: &[
                (
                    "",
                    "\"secrets\", \"serviceaccounts\", \"serviceaccounts/token\"",
                ),
                (RBAC, "\"roles\", \"rolebindings\""),
            ],
            whose: (
                "jobs",
                format!("request.userInfo.username.matches('{users}')"),
            ),
            validations: vec![(
                "false".into(),
                "a ServiceAccount that was made for a job touches no Secrets, ServiceAccounts, tokens, Roles and RoleBindings"
                    .into(),
            )],
        }
    }

    /// Everybody else, the sweeper and the cluster's controllers among them, is not limited.
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

    /// A policy and its binding.
    fn documents(&self, policy: &Policy, part: Part<'_>) -> [String; 2] {
        let name = self.policy_name(policy.about, part);
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
        let (whose, condition) = &policy.whose;
        [
            format!(
                "{}{}spec:\n  failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n{}  matchConditions:\n  - name: {whose}\n    \
                 expression: {}\n  validations:\n{}",
                policy.why,
                head("ValidatingAdmissionPolicy", &name),
                resources.collect::<String>(),
                quoted(condition),
                validations.collect::<String>(),
            ),
            format!(
                "# In force in this namespace.\n{}spec:\n  policyName: {}\n  validationActions: [\"Deny\"]\n  matchResources:\n    \
                 namespaceSelector:\n      matchLabels:\n        kubernetes.io/metadata.name: {}\n",
                head("ValidatingAdmissionPolicyBinding", &name),
                quoted(&name),
                quoted(&self.namespace)
            ),
        ]
    }

    /// A namespace has no dots, so no two names are the same.
    pub(super) fn policy_name(&self, about: &str, part: Part<'_>) -> String {
        let account = match part {
            Part::Account(account) => format!(".{account}"),
            Part::Jobs(_) => String::new(),
        };
        format!("jobpass-{about}.{}{account}", self.namespace)
    }
}

impl Rule {
    /// Whether this rule gives `verb`, `group`, `resource` and `name`; an empty name is all.
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

/// `generateName` is refused as well, because a name that the API server generates can look like one of ours.
fn called_as_anchors() -> String {
    format!(
        "request.name.matches('{}') && (request.operation == 'DELETE' || !has(object.metadata.generateName))",
        names::NAMES
    )
}

fn no_finalizers(what: &str) -> Validation {
    (
        "request.operation == 'DELETE' || !has(object.metadata.finalizers)".into(),
        format!("{what} has no finalizers"),
    )
}

fn in_background(what: &str) -> Validation {
    (
        "request.operation != 'DELETE' || (request.options.?propagationPolicy.orValue('Background') == 'Background' && \
         !request.options.?orphanDependents.orValue(false))"
            .into(),
        format!("{what} is deleted with propagation policy Background"),
    )
}

fn head(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: {ADMISSION}\nkind: {kind}\nmetadata:\n  name: {}\n",
        quoted(name)
    )
}
