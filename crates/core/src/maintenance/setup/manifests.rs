//! The objects, as a person reviews them: each with a comment that says why.

use super::{Part, Setup};
use crate::{
    inputs::subject::{MinterSubject, SWEEPER},
    rbac::{self, Line, Rule},
    text::quoted,
};

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
pub(super) const ADMISSION: &str = "admissionregistration.k8s.io/v1";

impl Setup {
    /// YAML to review and to apply. The RoleBindings of minters come last, behind the policies that limit what they give.
    pub fn manifests(&self) -> String {
        let mut documents = vec![self.namespace_itself()];
        if let Some(account) = &self.service_account {
            documents.push(self.account(account));
            if self.example_rights {
                documents.extend(self.example(account));
            }
        }
        documents.extend(self.minters_accounts());
        documents.extend(self.parts().flat_map(|part| self.policies(part)));
        documents.extend(self.parts().map(|part| self.minters_role(part)));
        if let Some(image) = &self.sweeper_image {
            documents.extend(self.sweeper(image));
        }
        documents.extend(self.parts().map(|part| self.minters_binding(part)));
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

    fn minters_accounts(&self) -> impl Iterator<Item = String> {
        let own = self.minters.iter().filter_map(|minter| match minter {
            MinterSubject::ServiceAccount { namespace, name } if *namespace == self.namespace => Some(name),
            _ => None,
        });
        own.map(|name| {
            format!(
                "# The minter. What the CI keeps is a kubeconfig with a token of it: let that expire, and renew it.\n{}",
                self.head("v1", "ServiceAccount", name)
            )
        })
    }

    fn minters_role(&self, part: Part<'_>) -> String {
        let why = match part {
            Part::Account(_) => format!(
                "# All that a minter needs: to make anchors and delete them, without seeing what they hold, and to ask for tokens of\n\
                 # this one ServiceAccount. The verb `{}` is none of Kubernetes: by it, the policy for jobs with rules knows that the\n\
                 # minter was given this account.\n",
                rbac::MINT
            ),
            Part::Jobs(_) => {
                "# All that a minter needs for jobs with rules: to make anchors and delete them, without seeing what they hold; to ask\n\
                 # for tokens; to make the ServiceAccounts and roles of single jobs and delete them, all of which the policies narrow\n\
                 # down; and whatever jobs may be given, as nobody can give what they do not have.\n"
                    .into()
            }
        };
        let rules = match part {
            Part::Account(account) => Rule::of_minter(account),
            Part::Jobs(given) => Rule::of_minter_for_jobs(given),
        };
        let rules = rules.into_iter().map(|rule| Line { rule, missing: false });
        format!(
            "{why}{}rules:\n{}\n",
            self.rbac("Role", &part.role()),
            rbac::rules_yaml(&rules.collect::<Vec<_>>())
        )
    }

    fn minters_binding(&self, part: Part<'_>) -> String {
        let subjects = self.minters.iter().map(|minter| match minter {
            MinterSubject::ServiceAccount { namespace, name } => subject_account(namespace, name),
            MinterSubject::User(name) => subject("User", name),
            MinterSubject::Group(name) => subject("Group", name),
        });
        let why = match self.oidc {
            Some(_) => {
                "# Who mints. The names of CI jobs come from the claim mappings of the API server's AuthenticationConfiguration.\n"
            }
            None => "# Who mints.\n",
        };
        format!(
            "{why}{}",
            self.binding(&part.role(), &subjects.collect::<String>())
        )
    }

    fn sweeper(&self, image: &str) -> [String; 4] {
        let name = SWEEPER;
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
