//! Whether jobs would mint, by what this set-up gives and others gave: one command refuses that when it is parsed, and several must not
//! come to the same.

use serde_json::Value;

use super::{Part, Setup, apply::subjects, object::SetupObject};
use crate::{
    cluster::{Budget, Cluster},
    error::Error,
    inputs::subject::{JOBS_THEMSELVES, MinterSubject},
};

/// Refuses a set-up whose minter is a ServiceAccount that jobs get tokens of, or whose jobs get tokens of a minter.
///
/// # Errors
/// Says which, before anything is changed. Or the API server does not list the RoleBindings.
pub(super) async fn refuse(setup: &Setup, cluster: &Cluster, budget: &Budget) -> Result<(), Error> {
    for namespace in setup.namespaces() {
        let bindings = SetupObject::bindings(namespace, cluster, budget).await?;
        for binding in &bindings {
            let name = binding["metadata"]["name"].as_str().unwrap_or_default();
            let subjects = subjects(binding);
            if subjects.is_empty() {
                continue;
            }
            if let Some(minter) = setup
                .minters
                .iter()
                .find(|minter| minter.is_given(namespace, name))
            {
                return Err(Error::input(
                    "minter",
                    format!(
                        "is `{minter}`, and RoleBinding {namespace}/{name} gives jobs its tokens: {JOBS_THEMSELVES}"
                    ),
                    "name another account for the minter",
                ));
            }
            // What this set-up binds itself, it has parsed.
            let own = namespace == setup.namespace && setup.parts().any(|part| part.role() == name);
            let Some(account) = setup
                .service_account
                .as_deref()
                .filter(|_| !own && is_of_set_up(name))
            else {
                continue;
            };
            if subjects
                .iter()
                .any(|subject| is_account(subject, &setup.namespace, account))
            {
                return Err(Error::input(
                    "service-account",
                    format!("is `{account}`, a minter by RoleBinding {namespace}/{name}: {JOBS_THEMSELVES}"),
                    "name another account for the jobs, or take it out of that RoleBinding first",
                ));
            }
        }
    }
    Ok(())
}

fn is_of_set_up(binding: &str) -> bool {
    binding == Part::Jobs(&[]).role() || binding.starts_with(&Part::Account("").role())
}

fn is_account(subject: &Value, namespace: &str, name: &str) -> bool {
    subject["kind"] == "ServiceAccount" && subject["namespace"] == namespace && subject["name"] == name
}

impl Setup {
    /// Its own, and those of its minters.
    fn namespaces(&self) -> Vec<&str> {
        let of_minters = self.minters.iter().filter_map(|minter| match minter {
            MinterSubject::ServiceAccount { namespace, .. } => Some(&**namespace),
            MinterSubject::Group(name) => name.strip_prefix(ACCOUNTS_OF).filter(|name| !name.is_empty()),
            MinterSubject::User(_) => None,
        });
        let mut namespaces = of_minters.chain([&*self.namespace]).collect::<Vec<_>>();
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }
}

/// The group of all ServiceAccounts of a namespace begins so.
const ACCOUNTS_OF: &str = "system:serviceaccounts:";

impl MinterSubject {
    /// Whether a set-up's RoleBinding of this name is for tokens of this minter.
    fn is_given(&self, in_namespace: &str, binding: &str) -> bool {
        match self {
            Self::ServiceAccount { namespace, name } => {
                namespace == in_namespace && binding == Part::Account(name).role()
            }
            Self::Group(name) => {
                name.strip_prefix(ACCOUNTS_OF) == Some(in_namespace) && is_of_set_up(binding)
            }
            Self::User(_) => false,
        }
    }
}
