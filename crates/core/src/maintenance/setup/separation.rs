//! The separation of jobs and minters. A job whose ServiceAccount may mint can mint tokens for itself, and
//! these outlive the job.
//!
//! [`Setup::parse`] refuses a single set-up that allows this. This module refuses a set-up that allows it
//! together with earlier ones. It also warns if the jobs' ServiceAccount has permissions that lead to a
//! minter's token or to other credentials.

use k8s_openapi::{
    List,
    api::rbac::v1::{RoleBinding, Subject},
};
use kube::core::params::ListParams;

use super::{Grant, Setup, object::refused};
use crate::{
    access::{self, Holder},
    claims::account::Account,
    cluster::{Budget, Call, Cluster},
    error::Error,
    inputs::{
        checks::{Checks, EscapeCheck},
        options::Opt,
        subject::{JOBS_THEMSELVES, MinterSubject},
    },
};

impl Setup {
    /// Warns about permissions with which the jobs' ServiceAccount can get other credentials. The questions
    /// are those of the input `escape-check`. The warning also names a minter whose token a job may get with
    /// these permissions. jobpass asks the API server as the jobs' ServiceAccount, so the administrator needs
    /// the permission to impersonate it. Without this permission, the warning says that jobpass cannot tell.
    ///
    /// # Errors
    /// If no header can carry the name of the ServiceAccount.
    pub async fn escape_of_jobs(&self, cluster: &Cluster, budget: &Budget) -> Result<Vec<String>, Error> {
        let Some(name) = self.service_account.clone() else {
            return Ok(Vec::new());
        };
        let namespace = self.namespace.clone();
        // jobpass names no group, so kube-apiserver adds the groups of the ServiceAccount.
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let jobs = cluster.acting_as(&user, &[])?;
        let checks = Checks {
            // The sentences for `warn` propose an input of jobs, which an administrator does not have.
            escape: EscapeCheck::Fail,
            ..Checks::default()
        };
        let holder = Holder {
            namespace: namespace.clone(),
            account: Some(Account { namespace, name }),
        };
        let report = checks.ask(&jobs, &holder, &budget.at_most(access::WARN)).await;
        let mut warnings = report.warnings();
        if let (Some(warning), false) = (warnings.first_mut(), report.escape.ways.is_empty()) {
            let in_reach = |minter: &&MinterSubject| match minter {
                MinterSubject::ServiceAccount { namespace, .. } => *namespace == self.namespace,
                MinterSubject::User(_) | MinterSubject::Group(_) => false,
            };
            if let Some(minter) = self.minters.iter().find(in_reach) {
                warning.push_str(&format!(
                    ". The minter `{minter}` is in the same namespace, so a job may also get its token"
                ));
            }
            warning.push_str(
                ". Take away what the jobs do not need, or give the account these permissions in other \
                 namespaces only",
            );
        }
        Ok(warnings)
    }
}

/// Refuses a set-up that lets jobs get tokens of a minter: one of its minters is a ServiceAccount of jobs, or
/// its jobs use the ServiceAccount of a minter.
///
/// # Errors
/// If the set-up lets jobs get these tokens. The error names the account and the RoleBinding. Also if the API
/// server does not list the RoleBindings. In both cases, jobpass has changed nothing yet.
pub(super) async fn refuse(setup: &Setup, cluster: &Cluster, budget: &Budget) -> Result<(), Error> {
    for namespace in setup.namespaces() {
        let call = Call::list::<RoleBinding>("look at an object", Some(namespace), &ListParams::default())?;
        let answer = cluster.send(&call, budget).await?;
        if answer.status != 200 {
            let title = format!("RoleBinding {namespace}/*");
            return Err(refused(&title, cluster, &call, &answer));
        }
        for binding in answer.parse::<List<RoleBinding>>(&call)?.items {
            check(setup, namespace, &binding)?;
        }
    }
    Ok(())
}

/// Checks one RoleBinding of a namespace.
fn check(setup: &Setup, namespace: &str, binding: &RoleBinding) -> Result<(), Error> {
    let name = binding.metadata.name.as_deref().unwrap_or_default();
    let subjects = binding.subjects.as_deref().unwrap_or_default();
    if subjects.is_empty() {
        return Ok(());
    }
    let minted_by = |minter: &&MinterSubject| minter.is_minted_by(namespace, name);
    if let Some(minter) = setup.minters.iter().find(minted_by) {
        return Err(Error::input(
            "minter",
            format!(
                "is `{minter}`, and RoleBinding {namespace}/{name} gives jobs its tokens: {JOBS_THEMSELVES}"
            ),
            "name another account for the minter",
        ));
    }
    // `Setup::parse` checked the set-up's own bindings already.
    let own = namespace == setup.namespace && setup.grants().any(|grant| grant.role() == name);
    match setup.service_account.as_deref() {
        Some(account)
            if !own
                && is_of_setup(name)
                && subjects
                    .iter()
                    .any(|subject| is_account(subject, &setup.namespace, account)) =>
        {
            Err(Error::input(
                Opt::ServiceAccount,
                format!(
                    "is `{account}`, and RoleBinding {namespace}/{name} makes it a minter: {JOBS_THEMSELVES}"
                ),
                "name another account for the jobs, or remove it from that RoleBinding first",
            ))
        }
        _ => Ok(()),
    }
}

/// Whether this is a name that `setup` gives to a RoleBinding of minters.
pub(super) fn is_of_setup(binding: &str) -> bool {
    binding == Grant::Jobs(&[]).role() || binding.starts_with(&Grant::Account("").role())
}

fn is_account(subject: &Subject, namespace: &str, name: &str) -> bool {
    subject.kind == "ServiceAccount"
        && subject.namespace.as_deref() == Some(namespace)
        && subject.name == name
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

/// The beginning of the name of the group of all ServiceAccounts of a namespace. The namespace follows.
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

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::inputs::setup::Wanted;

    /// In each case, a set-up lets `minter` get tokens of the ServiceAccount `ci/jobs`. The cluster has the
    /// RoleBinding `binding` in `namespace`. It binds the ServiceAccount `subject` of `ci`, or nobody if
    /// `subject` is empty.
    #[rstest]
    #[case::somebody_else("serviceaccount:m", "ci", "jobpass-minter-jobs", "m", "")]
    #[case::others_stay("serviceaccount:m", "ci", "jobpass-minter-other", "n", "")]
    #[case::not_ours("serviceaccount:m", "ci", "edit", "jobs", "")]
    #[case::the_minter_is_minted(
        "serviceaccount:m",
        "ci",
        "jobpass-minter-m",
        "n",
        "input `minter` is `serviceaccount:ci/m`"
    )]
    #[case::in_its_own_namespace(
        "serviceaccount:runners/m",
        "runners",
        "jobpass-minter-m",
        "n",
        "input `minter`"
    )]
    #[case::of_that_name_elsewhere("serviceaccount:runners/m", "ci", "jobpass-minter-m", "n", "")]
    #[case::one_of_its_group(
        "group:system:serviceaccounts:runners",
        "runners",
        "jobpass-minter-x",
        "n",
        "input `minter`"
    )]
    #[case::its_group_for_rules(
        "group:system:serviceaccounts:runners",
        "runners",
        "jobpass-minter.with-rules",
        "n",
        "input `minter`"
    )]
    #[case::the_job_mints(
        "user:jane",
        "ci",
        "jobpass-minter-other",
        "jobs",
        "input `service-account` is `jobs`"
    )]
    #[case::the_job_mints_by_rules(
        "user:jane",
        "ci",
        "jobpass-minter.with-rules",
        "jobs",
        "input `service-account`"
    )]
    #[case::nobody_mints("serviceaccount:m", "ci", "jobpass-minter-m", "", "")]
    fn no_job_mints(
        #[case] minter: &str,
        #[case] namespace: &str,
        #[case] binding: &str,
        #[case] subject: &str,
        #[case] why: &str,
    ) {
        let wanted = Wanted {
            service_account: "jobs".into(),
            namespace: "ci".into(),
            duration: "1h".into(),
            minters: vec![minter.into()],
            ..Wanted::default()
        };
        let setup = Setup::parse(&wanted).expect("parsed");
        assert!(setup.namespaces().contains(&namespace) || why.is_empty());
        let subjects = match subject {
            "" => json!([]),
            name => json!([{ "kind": "ServiceAccount", "namespace": "ci", "name": name }]),
        };
        let binding = json!({
            "metadata": { "name": binding }, "subjects": subjects,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": binding },
        });
        let binding = serde_json::from_value(binding).expect("a RoleBinding");
        match check(&setup, namespace, &binding) {
            Ok(()) => assert_eq!(why, ""),
            Err(error) => assert!(!why.is_empty() && error.to_string().starts_with(why), "{error}"),
        }
    }
}
