//! The `jobpass setup` command for a minter that lacks permissions, as errors and `doctor` propose it.
//!
//! The command turns the user that it names into a minter. So it names the user of the refused request only
//! if that user can be a minter. If not, it names an account that `jobpass setup` creates.

use crate::{
    inputs::{
        spec::{Spec, TokenType},
        subject::MinterSubject,
    },
    json,
    rbac::Rule,
};

/// The ServiceAccounts whose tokens the minter mints.
#[derive(Clone, Copy)]
pub(crate) enum For<'a> {
    Account(&'a str),
    /// The ServiceAccounts that jobpass creates for jobs, with these rules.
    Jobs(&'a [Rule]),
}

/// The minter to propose if the user of the refused request cannot be a minter.
const NEW_MINTER: &str = "serviceaccount:jobpass-minter";

/// The warning about a minter that may do everything.
pub(crate) const MIGHTY: &str = "the minter may do everything (`* *`) in this namespace, and so may every \
                                 program in the job that finds the minter's credential";

/// The next step for a minter that may do more than mint: the command that creates a minter that can only
/// mint. For legacy tokens, there is no such command, and the step describes the account.
pub(crate) fn lesser_minter(spec: &Spec) -> String {
    let whom = match (spec.token_type, &*spec.rules) {
        (TokenType::Legacy, _) => {
            return "give the job an account that may create, get and delete Secrets and do nothing else, in a namespace that holds \
                    nothing else"
                .to_owned();
        }
        (TokenType::Bound, []) => For::Account(&spec.service_account),
        (TokenType::Bound, rules) => For::Jobs(rules),
    };
    format!(
        "make a minter that can do nothing but mint, and give its kubeconfig to the job: `{}`",
        command(&spec.namespace, whom, None)
    )
}

impl For<'_> {
    /// The beginning of a next step with the `jobpass setup` command: the inputs to check before an
    /// administrator runs the command. The command would also create an account whose name is misspelt.
    pub(crate) fn check(self) -> &'static str {
        match self {
            Self::Account(_) => "check inputs `service-account` and `namespace`. If they are right, ",
            Self::Jobs(_) => "check input `namespace`. If it is right, ",
        }
    }
}

/// The `jobpass setup` command. `user` is the user of the refused request, as the API server writes it. For a
/// minter that the command creates, it also writes the kubeconfig.
pub(crate) fn command(namespace: &str, whom: For<'_>, user: Option<&str>) -> String {
    let account = match whom {
        For::Account(account) => Some(account),
        For::Jobs(_) => None,
    };
    let (minter, kubeconfig) = match user.and_then(|user| minter(user, namespace, account)) {
        Some(minter) => (minter, ""),
        None => (NEW_MINTER.to_owned(), " --minter-kubeconfig minter.yaml"),
    };
    let whom = match whom {
        For::Account(account) => format!("--service-account {account}"),
        // The end of a job does not know the rules of the jobs.
        For::Jobs([]) => "--role-rules RULES".to_owned(),
        // `--role-rules` accepts YAML, and JSON is valid YAML.
        For::Jobs(rules) => match json::text(&rules) {
            Ok(rules) => format!("--role-rules '{}'", rules.replace('\'', r"'\''")),
            Err(_) => "--role-rules RULES".to_owned(),
        },
    };
    format!("jobpass setup {whom} --namespace {namespace} --minter {minter} --apply{kubeconfig}")
}

/// The user as a value of the option `minter`. `None` if the option or a shell does not accept it.
fn minter(user: &str, namespace: &str, account: Option<&str>) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@/".contains(&b);
    let option = match user
        .strip_prefix("system:serviceaccount:")
        .and_then(|name| name.split_once(':'))
    {
        Some((namespace, name)) => format!("serviceaccount:{namespace}/{name}"),
        None => format!("user:{user}"),
    };
    let taken = option.bytes().all(plain) && MinterSubject::parse(&option, namespace, account).is_ok();
    taken.then_some(option)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some("system:serviceaccount:ci:minter"), "serviceaccount:ci/minter")]
    #[case(Some("ci:github:2"), "user:ci:github:2")]
    #[case(None, NEW_MINTER)]
    #[case::administrator(Some("system:admin"), NEW_MINTER)]
    #[case::the_jobs_own(Some("system:serviceaccount:ci:scanner"), NEW_MINTER)]
    #[case::of_a_single_job(Some("system:serviceaccount:ci:jobpass-aaaaaaaaaaaaaaaaaaaa"), NEW_MINTER)]
    #[case::for_a_shell(Some("jane; rm -rf /"), NEW_MINTER)]
    fn who_is_named_as_the_minter(#[case] user: Option<&str>, #[case] minter: &str) {
        // An existing minter has its credential already.
        let kubeconfig = match minter {
            NEW_MINTER => " --minter-kubeconfig minter.yaml",
            _ => "",
        };
        assert_eq!(
            command("ci", For::Account("scanner"), user),
            format!(
                "jobpass setup --service-account scanner --namespace ci --minter {minter} --apply{kubeconfig}"
            )
        );
    }

    #[test]
    fn rules_are_one_argument() {
        let rules = crate::rbac::parse(
            "role-rules",
            "- {apiGroups: [''], resources: [configmaps], resourceNames: [\"it's\"], verbs: [get]}",
        );
        let command = command("ci", For::Jobs(&rules.expect("rules")), None);
        assert!(
            command.contains(r#""resourceNames":["it'\''s"],"verbs":["get"]}]' --namespace ci "#),
            "{command}"
        );
    }
}
