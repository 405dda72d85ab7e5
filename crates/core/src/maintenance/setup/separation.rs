//! The separation of jobs and minters. A job whose ServiceAccount may mint can mint itself tokens that
//! outlive it.
//!
//! [`Setup::parse`] refuses one set-up that does this. This module refuses a set-up that does it together
//! with earlier ones.

use serde_json::Value;

use super::{Grant, Setup, apply::subjects, object::SetupObject};
use crate::{
    cluster::{Budget, Cluster},
    error::Error,
    inputs::{
        options::Opt,
        subject::{JOBS_THEMSELVES, MinterSubject},
    },
};

/// Refuses a set-up whose minter is a ServiceAccount that jobs get tokens of, or whose jobs get tokens of a
/// minter.
///
/// # Errors
/// Names the account and the RoleBinding, before anything is changed. Also if the API server does not list
/// the RoleBindings.
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
                .find(|minter| minter.is_minted_by(namespace, name))
            {
                return Err(Error::input(
                    "minter",
                    format!(
                        "is `{minter}`, and RoleBinding {namespace}/{name} gives jobs its tokens: {JOBS_THEMSELVES}"
                    ),
                    "name another account for the minter",
                ));
            }
            // The set-up's own bindings were checked when it was parsed.
            let own = namespace == setup.namespace && setup.grants().any(|grant| grant.role() == name);
            let Some(account) = setup
                .service_account
                .as_deref()
                .filter(|_| !own && is_of_setup(name))
            else {
                continue;
            };
            if subjects
                .iter()
                .any(|subject| is_account(subject, &setup.namespace, account))
            {
                return Err(Error::input(
                    Opt::ServiceAccount,
                    format!(
                        "is `{account}`, and RoleBinding {namespace}/{name} makes it a minter: {JOBS_THEMSELVES}"
                    ),
                    "name another account for the jobs, or remove it from that RoleBinding first",
                ));
            }
        }
    }
    Ok(())
}

/// Whether `setup` wrote the RoleBinding of this name.
fn is_of_setup(binding: &str) -> bool {
    binding == Grant::Jobs(&[]).role() || binding.starts_with(&Grant::Account("").role())
}

fn is_account(subject: &Value, namespace: &str, name: &str) -> bool {
    subject["kind"] == "ServiceAccount" && subject["namespace"] == namespace && subject["name"] == name
}

impl Setup {
    /// The set-up's own namespace, and those of its minters.
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

/// The beginning of the group of all ServiceAccounts of a namespace.
const ACCOUNTS_OF: &str = "system:serviceaccounts:";

impl MinterSubject {
    /// Whether the RoleBinding of this name gives jobs the tokens of this minter.
    fn is_minted_by(&self, in_namespace: &str, binding: &str) -> bool {
        match self {
            Self::ServiceAccount { namespace, name } => {
                namespace == in_namespace && binding == Grant::Account(name).role()
            }
            Self::Group(name) => name.strip_prefix(ACCOUNTS_OF) == Some(in_namespace) && is_of_setup(binding),
            Self::User(_) => false,
        }
    }
}
