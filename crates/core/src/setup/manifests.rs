//! The objects, as a person reviews them: each with a comment that says why.

use serde_json::Value;

use super::{Minter, Setup};
use crate::{anchor, spec::in_words};

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";

impl Setup {
    /// YAML to review and to apply. The policies come before the rights that they limit.
    pub fn manifests(&self) -> String {
        let mut documents = vec![self.namespace_itself(), self.account()];
        if self.example_rights {
            documents.extend(self.example());
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

    fn account(&self) -> String {
        format!(
            "# Whom the jobs' tokens speak for. It may do what you give it, with Roles of your own. Give it nothing with which it\n\
             # could outlive its token: no Secrets, no serviceaccounts/token, no RBAC, no impersonation, no new Pods in this\n\
             # namespace, which could run as the minter.\n{}",
            self.head("v1", "ServiceAccount", &self.service_account)
        )
    }

    fn example(&self) -> [String; 2] {
        let name = format!("{}-example", self.service_account);
        [
            format!(
                "# An example of what jobs may do: look at Pods.\n{}rules:\n- apiGroups: [\"\"]\n  resources: [\"pods\"]\n  \
                 verbs: [\"get\", \"list\"]\n",
                self.rbac("Role", &name)
            ),
            format!(
                "# It is given to the jobs.\n{}",
                self.binding(&name, &subject_account(&self.namespace, &self.service_account))
            ),
        ]
    }

    fn policies(&self) -> [String; 4] {
        let seconds = self.lifetime.seconds();
        let tokens = self.policy_name("tokens");
        let anchors = self.policy_name("anchors");
        [
            format!(
                "# RBAC can say for whom the minter may ask for tokens, but not for which. A token that is bound to nothing could\n\
                 # not be revoked; one without the uid could be bound to an anchor that somebody else made under that name.\n{}\
                 spec:\n  failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n    - apiGroups: [\"\"]\n      \
                 apiVersions: [\"v1\"]\n      operations: [\"CREATE\"]\n      resources: [\"serviceaccounts/token\"]\n{}  \
                 validations:\n  - expression: {}\n    message: {}\n  - expression: {}\n    message: {}\n",
                policy_head("ValidatingAdmissionPolicy", &tokens),
                self.only_minters(),
                quoted(
                    "has(object.spec.boundObjectRef) && object.spec.boundObjectRef.kind == 'Secret' && \
                     has(object.spec.boundObjectRef.uid) && object.spec.boundObjectRef.uid != ''"
                ),
                quoted("a token must be bound to an anchor, a Secret with its uid"),
                quoted(&format!("object.spec.expirationSeconds <= {seconds}")),
                quoted(&format!("a token may live for {} at most", in_words(seconds))),
            ),
            self.policy_binding(&tokens),
            format!(
                "# The minter must create and delete Secrets, and nothing in RBAC tells anchors from others. So: only empty ones of\n\
                 # our type, which hold no secret; nothing that would keep one from being deleted at once, as the token lives on\n\
                 # until it is gone; and no other Secret is deleted, or shown by a foreground delete.\n{}\
                 spec:\n  failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n    - apiGroups: [\"\"]\n      \
                 apiVersions: [\"v1\"]\n      operations: [\"CREATE\", \"UPDATE\", \"DELETE\"]\n      resources: [\"secrets\"]\n{}  \
                 validations:\n  - expression: {}\n    message: {}\n  - expression: {}\n    message: {}\n  - expression: {}\n    \
                 message: {}\n",
                policy_head("ValidatingAdmissionPolicy", &anchors),
                self.only_minters(),
                quoted(&format!(
                    "request.operation == 'DELETE' ? oldObject.type == '{type_}' : object.type == '{type_}'",
                    type_ = anchor::TYPE
                )),
                quoted(&format!(
                    "a minter touches no Secrets but anchors, of type {}",
                    anchor::TYPE
                )),
                quoted(
                    "request.operation == 'DELETE' || (!has(object.data) && !has(object.metadata.finalizers))"
                ),
                quoted("an anchor has no data and no finalizers"),
                quoted(
                    "request.operation != 'DELETE' || ((!has(request.options.propagationPolicy) || \
                     request.options.propagationPolicy == 'Background') && (!has(request.options.orphanDependents) || \
                     !request.options.orphanDependents))"
                ),
                quoted("an anchor is deleted with propagation policy Background"),
            ),
            self.policy_binding(&anchors),
        ]
    }

    fn policy_binding(&self, policy: &str) -> String {
        format!(
            "# In force in this namespace.\n{}spec:\n  policyName: {}\n  validationActions: [\"Deny\"]\n  matchResources:\n    \
             namespaceSelector:\n      matchLabels:\n        kubernetes.io/metadata.name: {}\n",
            policy_head("ValidatingAdmissionPolicyBinding", policy),
            quoted(policy),
            quoted(&self.namespace)
        )
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
        let role = format!("jobpass-minter-{}", self.service_account);
        documents.push(format!(
            "# All that a minter needs: to make anchors and delete them, without seeing what they hold, and to ask for tokens of\n\
             # this one ServiceAccount.\n{}rules:\n- apiGroups: [\"\"]\n  resources: [\"secrets\"]\n  \
             verbs: [\"create\", \"delete\"]\n- apiGroups: [\"\"]\n  resources: [\"serviceaccounts/token\"]\n  \
             resourceNames: [{}]\n  verbs: [\"create\"]\n",
            self.rbac("Role", &role),
            quoted(&self.service_account)
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

    /// Of its own for each ServiceAccount, so that the set-ups of two do not overwrite each other. A namespace has no dots, so no
    /// two names are the same.
    fn policy_name(&self, about: &str) -> String {
        format!("jobpass-{about}.{}.{}", self.namespace, self.service_account)
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
