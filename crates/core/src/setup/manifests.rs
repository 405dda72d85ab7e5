//! The objects, as a person reviews them: each with a comment that says why.

use serde_json::Value;

use super::{Minter, Setup};
use crate::{
    anchor,
    rbac::{self, Line, Rule},
    spec::in_words,
};

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";

impl Setup {
    /// YAML to review and to apply. The policies come before the rights that they limit.
    pub fn manifests(&self) -> String {
        let mut documents = vec![self.namespace_itself()];
        if let Some(account) = &self.service_account {
            documents.push(self.account(account));
            if self.example_rights {
                documents.extend(self.example(account));
            }
        }
        documents.extend(self.policies());
        documents.extend(self.minter());
        if let Some(image) = &self.sweeper_image {
            documents.extend(self.sweeper(image));
        }
        documents.join("---\n")
    }

    fn namespace_itself(&self) -> String {
        format!(
            "# Where the ServiceAccount and the anchors are. Let it hold no other Secrets: who may delete a Secret can make the\n\
             # API server show it.\n\
             apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n",
            quoted(&self.namespace)
        )
    }

    fn account(&self, name: &str) -> String {
        format!(
            "# Whom the jobs' tokens speak for. It may do what you give it, with Roles of your own. Give it nothing with which it\n\
             # could outlive its token: no Secrets, no serviceaccounts/token, no RBAC, no impersonation, no new Pods in this\n\
             # namespace, which could run as the minter.\n{}",
            self.head("v1", "ServiceAccount", name)
        )
    }

    fn example(&self, account: &str) -> [String; 2] {
        let name = format!("{account}-example");
        [
            format!(
                "# An example of what jobs may do: look at Pods.\n{}rules:\n- apiGroups: [\"\"]\n  resources: [\"pods\"]\n  \
                 verbs: [\"get\", \"list\"]\n",
                self.rbac("Role", &name)
            ),
            format!(
                "# It is given to the jobs.\n{}",
                self.binding(&name, &subject_account(&self.namespace, account))
            ),
        ]
    }

    fn policies(&self) -> Vec<String> {
        let seconds = self.lifetime.seconds();
        let mut of_tokens = vec![
            (
                "has(object.spec.boundObjectRef) && object.spec.boundObjectRef.kind == 'Secret' && \
                 has(object.spec.boundObjectRef.uid) && object.spec.boundObjectRef.uid != ''"
                    .to_owned(),
                "a token must be bound to an anchor, a Secret with its uid".to_owned(),
            ),
            (
                format!("object.spec.expirationSeconds <= {seconds}"),
                format!("a token may live for {} at most", in_words(seconds)),
            ),
        ];
        if !self.rules.is_empty() {
            of_tokens.push(self.token_of_one_job());
        }
        let of_anchors = [
            (
                format!(
                    "request.operation == 'DELETE' ? oldObject.type == '{type_}' : object.type == '{type_}'",
                    type_ = anchor::TYPE
                ),
                format!(
                    "a minter touches no Secrets but anchors, of type {}",
                    anchor::TYPE
                ),
            ),
            (
                "request.operation == 'DELETE' || (!has(object.data) && !has(object.metadata.finalizers))".into(),
                "an anchor has no data and no finalizers".into(),
            ),
            (
                "request.operation != 'DELETE' || ((!has(request.options.propagationPolicy) || \
                 request.options.propagationPolicy == 'Background') && (!has(request.options.orphanDependents) || \
                 !request.options.orphanDependents))"
                    .into(),
                "an anchor is deleted with propagation policy Background".into(),
            ),
        ];
        let changes = "\"CREATE\", \"UPDATE\", \"DELETE\"";
        let mut policies = self.policy(
            "tokens",
            "# RBAC can say for whom the minter may ask for tokens, but not for which. A token that is bound to nothing could\n\
             # not be revoked; one without the uid could be bound to an anchor that somebody else made under that name.\n",
            "\"CREATE\"",
            &[("", "\"serviceaccounts/token\"")],
            &of_tokens,
        );
        policies.extend(self.policy(
            "anchors",
            "# The minter must create and delete Secrets, and nothing in RBAC tells anchors from others. So: only empty ones of\n\
             # our type, which hold no secret; nothing that would keep one from being deleted at once, as the token lives on\n\
             # until it is gone; and no other Secret is deleted, or shown by a foreground delete.\n",
            changes,
            &[("", "\"secrets\"")],
            &of_anchors,
        ));
        if !self.rules.is_empty() {
            policies.extend(self.policy(
                "roles",
                "# The minter must create and delete the ServiceAccounts and roles of single jobs, and nothing in RBAC tells them from\n\
                 # others. So: only what is called as anchors are, goes with its anchor, and gives rights to this one job.\n",
                changes,
                &[
                    ("", "\"serviceaccounts\""),
                    (RBAC, "\"roles\", \"rolebindings\""),
                ],
                &of_roles(),
            ));
        }
        policies
    }

    /// Of any ServiceAccount in the namespace, RBAC says: what those of jobs are called is not known before.
    fn token_of_one_job(&self) -> (String, String) {
        let of_job = format!(
            "(request.name.matches('{}') && request.name == object.spec.boundObjectRef.name)",
            anchor::NAMES
        );
        let message = "a token is of a ServiceAccount that was made for its job, called as the anchor is";
        match &self.service_account {
            Some(account) => (
                format!("request.name == {} || {of_job}", cel(account)),
                format!("{message}, or of {account}"),
            ),
            None => (of_job, message.to_owned()),
        }
    }

    /// A policy and its binding. `validations` are expressions and what is said when they are not true.
    fn policy(
        &self,
        about: &str,
        why: &str,
        operations: &str,
        resources: &[(&str, &str)],
        validations: &[(String, String)],
    ) -> Vec<String> {
        // Of its own for each ServiceAccount, so that the set-ups of two do not overwrite each other. A namespace has no dots, so
        // no two names are the same.
        let account = self.service_account.iter().map(|account| format!(".{account}"));
        let name = format!(
            "jobpass-{about}.{}{}",
            self.namespace,
            account.collect::<String>()
        );
        let resources = resources.iter().map(|(group, resources)| {
            format!(
                "    - apiGroups: [\"{group}\"]\n      apiVersions: [\"v1\"]\n      operations: [{operations}]\n      \
                 resources: [{resources}]\n"
            )
        });
        let validations = validations.iter().map(|(expression, message)| {
            format!(
                "  - expression: {}\n    message: {}\n",
                quoted(expression),
                quoted(message)
            )
        });
        vec![
            format!(
                "{why}{}spec:\n  failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n{}{}  validations:\n{}",
                policy_head("ValidatingAdmissionPolicy", &name),
                resources.collect::<String>(),
                self.only_minters(),
                validations.collect::<String>(),
            ),
            format!(
                "# In force in this namespace.\n{}spec:\n  policyName: {}\n  validationActions: [\"Deny\"]\n  matchResources:\n    \
                 namespaceSelector:\n      matchLabels:\n        kubernetes.io/metadata.name: {}\n",
                policy_head("ValidatingAdmissionPolicyBinding", &name),
                quoted(&name),
                quoted(&self.namespace)
            ),
        ]
    }

    /// Everybody else, the sweeper and the cluster's controllers among them, is not limited.
    fn only_minters(&self) -> String {
        let mut users = Vec::new();
        let mut groups = Vec::new();
        for minter in &self.minters {
            match minter {
                Minter::User(name) => users.push(cel(name)),
                Minter::Group(name) => groups.push(cel(name)),
                Minter::ServiceAccount { namespace, name } => {
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
        let condition = quoted(&conditions.join(" || "));
        format!("  matchConditions:\n  - name: minters\n    expression: {condition}\n")
    }

    fn minter(&self) -> Vec<String> {
        let mut documents = Vec::new();
        let own = self.minters.iter().filter_map(|minter| match minter {
            Minter::ServiceAccount { namespace, name } if *namespace == self.namespace => Some(name),
            _ => None,
        });
        documents.extend(own.map(|name| {
            format!(
                "# The minter. What the CI keeps is a kubeconfig with a token of it: let that expire, and renew it.\n{}",
                self.head("v1", "ServiceAccount", name)
            )
        }));
        // No ServiceAccount makes the second of the first.
        let role = match &self.service_account {
            Some(account) => format!("jobpass-minter-{account}"),
            None => "jobpass-minter.with-rules".to_owned(),
        };
        let why = match self.rules.is_empty() {
            true => {
                "# All that a minter needs: to make anchors and delete them, without seeing what they hold, and to ask for tokens of\n\
                 # this one ServiceAccount.\n"
            }
            false => {
                "# All that a minter needs: to make anchors and delete them, without seeing what they hold; to ask for tokens; to\n\
                 # make the ServiceAccounts and roles of single jobs and delete them, all of which the policies narrow down; and\n\
                 # whatever jobs may be given, as nobody can give what they do not have.\n"
            }
        };
        let rules = Rule::of_minter(self.service_account.as_deref(), &self.rules);
        let rules = rules.into_iter().map(|rule| Line { rule, missing: false });
        documents.push(format!(
            "{why}{}rules:\n{}\n",
            self.rbac("Role", &role),
            rbac::rules_yaml(&rules.collect::<Vec<_>>())
        ));
        let subjects = self.minters.iter().map(|minter| match minter {
            Minter::ServiceAccount { namespace, name } => subject_account(namespace, name),
            Minter::User(name) => subject("User", name),
            Minter::Group(name) => subject("Group", name),
        });
        let why = match self.oidc {
            Some(_) => {
                "# Who mints. The names of CI jobs come from the claim mappings of the API server's AuthenticationConfiguration.\n"
            }
            None => "# Who mints.\n",
        };
        documents.push(format!(
            "{why}{}",
            self.binding(&role, &subjects.collect::<String>())
        ));
        documents
    }

    fn sweeper(&self, image: &str) -> [String; 4] {
        let name = "jobpass-sweeper";
        let namespace = quoted(&self.namespace);
        [
            format!(
                "# Deletes the anchors of jobs whose runners died. Give this account to nothing else: who may list Secrets can\n\
                 # read them.\n{}",
                self.head("v1", "ServiceAccount", name)
            ),
            format!(
                "# The least that it needs, in this namespace alone.\n{}rules:\n- apiGroups: [\"\"]\n  \
                 resources: [\"secrets\"]\n  verbs: [\"list\", \"delete\"]\n",
                self.rbac("Role", name)
            ),
            format!(
                "# It is given to the sweeper.\n{}",
                self.binding(name, &subject_account(&self.namespace, name))
            ),
            format!(
                "# Every ten minutes, never two at once, as a Pod that the Pod Security Standard `restricted` lets in.\n{}spec:\n  \
                 schedule: \"*/10 * * * *\"\n  concurrencyPolicy: Forbid\n  jobTemplate:\n    spec:\n      backoffLimit: 0\n      \
                 activeDeadlineSeconds: 540\n      template:\n        spec:\n          serviceAccountName: {name}\n          \
                 restartPolicy: Never\n          securityContext:\n            runAsNonRoot: true\n            seccompProfile:\n              \
                 type: RuntimeDefault\n          containers:\n          - name: sweep\n            image: {}\n            \
                 imagePullPolicy: IfNotPresent\n            \
                 args: [\"sweep\", \"--namespace\", {namespace}, \"--output\", \"json\"]\n            securityContext:\n              \
                 allowPrivilegeEscalation: false\n              readOnlyRootFilesystem: true\n              capabilities:\n                \
                 drop: [\"ALL\"]\n            resources:\n              requests:\n                cpu: 50m\n                \
                 memory: 32Mi\n              limits:\n                memory: 64Mi\n",
                self.head("batch/v1", "CronJob", name),
                quoted(image)
            ),
        ]
    }

    fn head(&self, version: &str, kind: &str, name: &str) -> String {
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {}\n  namespace: {}\n",
            quoted(name),
            quoted(&self.namespace)
        )
    }

    fn rbac(&self, kind: &str, name: &str) -> String {
        self.head(&format!("{RBAC}/v1"), kind, name)
    }

    /// Role and RoleBinding have the same name.
    fn binding(&self, role: &str, subjects: &str) -> String {
        format!(
            "{}roleRef:\n  apiGroup: {RBAC}\n  kind: Role\n  name: {}\nsubjects:\n{subjects}",
            self.rbac("RoleBinding", role),
            quoted(role)
        )
    }
}

/// What a minter may make of RBAC, and of ServiceAccounts.
fn of_roles() -> [(String, String); 3] {
    [
        (
            format!("request.name.matches('{}')", anchor::NAMES),
            "a minter touches no ServiceAccounts and roles but those of single jobs, called as their anchors are".into(),
        ),
        (
            "request.operation == 'DELETE' || (has(object.metadata.ownerReferences) && \
             object.metadata.ownerReferences.exists(owner, owner.kind == 'Secret' && owner.name == object.metadata.name))"
                .into(),
            "what is made for a job is owned by its anchor, so that it goes with it".into(),
        ),
        (
            "request.operation == 'DELETE' || request.resource.resource != 'rolebindings' || (object.roleRef.kind == 'Role' && \
             object.roleRef.name == object.metadata.name && object.subjects.all(subject, subject.kind == 'ServiceAccount' && \
             subject.name == object.metadata.name && subject.namespace == object.metadata.namespace))"
                .into(),
            "a job's RoleBinding gives the job's Role to the job's ServiceAccount".into(),
        ),
    ]
}

fn policy_head(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: {ADMISSION}\nkind: {kind}\nmetadata:\n  name: {}\n",
        quoted(name)
    )
}

fn subject(kind: &str, name: &str) -> String {
    format!("- kind: {kind}\n  apiGroup: {RBAC}\n  name: {}\n", quoted(name))
}

fn subject_account(namespace: &str, name: &str) -> String {
    format!(
        "- kind: ServiceAccount\n  name: {}\n  namespace: {}\n",
        quoted(name),
        quoted(namespace)
    )
}

/// As it stands in YAML: JSON is YAML, nothing in a quoted text can end it, and none is taken for a number or `null`.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// As it stands in a CEL expression. What it is made of has no control characters.
pub(super) fn cel(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
