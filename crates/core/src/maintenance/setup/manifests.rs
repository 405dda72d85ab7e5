//! The objects as YAML for a reviewer. The comment above each object says what the object is for.

use super::{Grant, Setup};
use crate::{
    inputs::subject::{MinterSubject, SWEEPER},
    rbac::{self, Line, Rule},
    text::quoted,
};

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
pub(super) const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// The name of the Role and the RoleBinding that `--example-rights` writes for an account.
pub(super) fn example_of(account: &str) -> String {
    format!("{account}-example")
}

impl Setup {
    /// The YAML to review and to apply. The RoleBindings of the minters come last, after the policies that
    /// limit them.
    pub fn manifests(&self) -> String {
        let mut documents = vec![self.namespace_itself()];
        if let Some(account) = &self.service_account {
            documents.push(self.account(account));
            if self.example_rights {
                documents.extend(self.example(account));
            }
        }
        documents.extend(self.minters_accounts());
        documents.extend(self.grants().flat_map(|grant| self.policies(grant)));
        documents.extend(self.grants().map(|grant| self.minters_role(grant)));
        if let Some(image) = &self.sweeper_image {
            documents.extend(self.sweeper(image));
        }
        documents.extend(self.grants().map(|grant| self.minters_binding(grant)));
        documents.join("---\n")
    }

    fn namespace_itself(&self) -> String {
        format!(
            "# The namespace of the ServiceAccount and the anchors. Keep no other Secrets in it: a user who may delete a Secret\n\
             # can make the API server return its content.\n\
             apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n",
            quoted(&self.namespace)
        )
    }

    fn account(&self, name: &str) -> String {
        format!(
            "# The ServiceAccount of the jobs' tokens. Give it permissions with Roles of your own. A job must get no access that\n\
             # outlives its token: give it no permission on Secrets, on serviceaccounts/token or on RBAC objects, and none to\n\
             # impersonate. Let it create no Pods in this namespace, because they could run as the minter.\n{}",
            self.head("v1", "ServiceAccount", name)
        )
    }

    fn example(&self, account: &str) -> [String; 2] {
        let name = example_of(account);
        [
            format!(
                "# An example of permissions for jobs: read Pods.\n{}rules:\n- apiGroups: [\"\"]\n  resources: [\"pods\"]\n  \
                 verbs: [\"get\", \"list\"]\n",
                self.rbac("Role", &name)
            ),
            format!(
                "# Gives the example to the jobs' ServiceAccount.\n{}",
                self.binding(&name, &subject_account(&self.namespace, account))
            ),
        ]
    }

    fn minters_accounts(&self) -> impl Iterator<Item = String> {
        let own = self.minters.iter().filter_map(|minter| match minter {
            MinterSubject::ServiceAccount { namespace, name } if *namespace == self.namespace => Some(name),
            _ => None,
        });
        own.map(|name| {
            format!(
                "# The minter. The CI platform stores a kubeconfig with a token of this account. Give that token an expiry, and replace it before then.\n{}",
                self.head("v1", "ServiceAccount", name)
            )
        })
    }

    fn minters_role(&self, grant: Grant<'_>) -> String {
        let why = match grant {
            Grant::Account(_) => format!(
                "# All permissions of a minter: create and delete anchors without reading Secrets, and create tokens of this one\n\
                 # ServiceAccount. `{}` is not a verb of Kubernetes: it tells the policy for jobs with rules that the minter may get\n\
                 # tokens of this account.\n",
                rbac::MINT
            ),
            Grant::Jobs(_) => {
                "# All permissions of a minter for jobs with rules: create and delete anchors without reading Secrets, create tokens,\n\
                 # and create and delete the ServiceAccounts and roles of single jobs. The policies limit all of these. The minter\n\
                 # also holds every rule that jobs may get, because Kubernetes lets it grant only permissions that it has.\n"
                    .into()
            }
        };
        let rules = match grant {
            Grant::Account(account) => Rule::of_minter(account),
            Grant::Jobs(given) => Rule::of_minter_for_jobs(given),
        };
        let rules = rules.into_iter().map(|rule| Line { rule, missing: false });
        format!(
            "{why}{}rules:\n{}\n",
            self.rbac("Role", &grant.role()),
            rbac::rules_yaml(&rules.collect::<Vec<_>>())
        )
    }

    fn minters_binding(&self, grant: Grant<'_>) -> String {
        let subjects = self.minters.iter().map(|minter| match minter {
            MinterSubject::ServiceAccount { namespace, name } => subject_account(namespace, name),
            MinterSubject::User(name) => subject("User", name),
            MinterSubject::Group(name) => subject("Group", name),
        });
        let why = match self.oidc {
            Some(_) => {
                "# The minters. The names of CI jobs come from the claim mappings of the API server's AuthenticationConfiguration.\n"
            }
            None => "# The minters.\n",
        };
        format!(
            "{why}{}",
            self.binding(&grant.role(), &subjects.collect::<String>())
        )
    }

    fn sweeper(&self, image: &str) -> [String; 4] {
        let name = SWEEPER;
        let namespace = quoted(&self.namespace);
        [
            format!(
                "# Deletes the anchors of jobs whose runners died. Use this account for nothing else: a user who may list Secrets can\n\
                 # read them.\n{}",
                self.head("v1", "ServiceAccount", name)
            ),
            format!(
                "# The least permissions that the sweeper needs, only in this namespace.\n{}rules:\n- apiGroups: [\"\"]\n  \
                 resources: [\"secrets\"]\n  verbs: [\"list\", \"delete\"]\n",
                self.rbac("Role", name)
            ),
            format!(
                "# Gives the Role to the sweeper.\n{}",
                self.binding(name, &subject_account(&self.namespace, name))
            ),
            format!(
                "# Sweeps every ten minutes, never twice at once. The Pod meets the Pod Security Standard `restricted`.\n{}spec:\n  \
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

    /// The first lines of an object in the set-up's namespace.
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

    /// A RoleBinding, which has the name of its Role.
    fn binding(&self, role: &str, subjects: &str) -> String {
        format!(
            "{}roleRef:\n  apiGroup: {RBAC}\n  kind: Role\n  name: {}\nsubjects:\n{subjects}",
            self.rbac("RoleBinding", role),
            quoted(role)
        )
    }
}

/// A user or a group, as the subject of a RoleBinding.
fn subject(kind: &str, name: &str) -> String {
    format!("- kind: {kind}\n  apiGroup: {RBAC}\n  name: {}\n", quoted(name))
}

/// A ServiceAccount, as the subject of a RoleBinding.
fn subject_account(namespace: &str, name: &str) -> String {
    format!(
        "- kind: ServiceAccount\n  name: {}\n  namespace: {}\n",
        quoted(name),
        quoted(namespace)
    )
}
