//! The users, groups and ServiceAccounts that may request tokens.

use crate::{
    error::Error,
    names::{dns_name, is_ours, text_of},
    text,
};

/// The greatest length of a ServiceAccount's name that `setup` accepts. It leaves room for the names that
/// `setup` builds from a namespace and an account: Kubernetes allows at most 253 characters.
pub(crate) const LONGEST_ACCOUNT: usize = 150;

/// The sweeper's ServiceAccount. It may read every Secret of the namespace.
pub(crate) const SWEEPER: &str = "jobpass-sweeper";

pub(crate) const JOBS_THEMSELVES: &str =
    "the jobs' own ServiceAccount could then mint tokens for itself that outlive the job";

/// A user, group or ServiceAccount that may request tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MinterSubject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl MinterSubject {
    pub(crate) fn parse(
        text: &str,
        own_namespace: &str,
        service_account: Option<&str>,
    ) -> Result<Self, Error> {
        let refused = |problem: &str, allowed: &str| {
            Err(Error::input(
                "minter",
                format!("is `{}`: {problem}", text::wrong(text)),
                allowed,
            ))
        };
        let forms = "use `user:NAME`, `group:NAME`, `serviceaccount:NAME` or `serviceaccount:NAMESPACE/NAME`";
        let Some((kind, name)) = text.split_once(':') else {
            return refused(
                "it does not begin with `user:`, `group:` or `serviceaccount:`",
                forms,
            );
        };
        if kind == "serviceaccount" {
            let (space, name) = name.split_once('/').unwrap_or((own_namespace, name));
            let (space, name) = (namespace("minter", space)?, account("minter", name)?);
            if space == own_namespace && Some(&*name) == service_account {
                return refused(JOBS_THEMSELVES, "name another account for the minter");
            }
            return Ok(Self::ServiceAccount {
                namespace: space,
                name,
            });
        }
        if !matches!(kind, "user" | "group") {
            return refused(
                "it does not begin with `user:`, `group:` or `serviceaccount:`",
                forms,
            );
        }
        let name = text_of("minter", name)?;
        let accounts_of = name
            .strip_prefix("system:serviceaccounts:")
            .filter(|_| kind == "group");
        if accounts_of == Some(own_namespace) {
            return refused(JOBS_THEMSELVES, "name one account: `serviceaccount:NAME`");
        }
        // Administrators need no Role. A group of all users must not be a minter.
        if name.starts_with("system:") && accounts_of.is_none() {
            return refused(
                "names that begin with `system:` belong to Kubernetes",
                "name the minter itself; a ServiceAccount is `serviceaccount:NAMESPACE/NAME`",
            );
        }
        Ok(match kind {
            "user" => Self::User(name),
            _ => Self::Group(name),
        })
    }
}

/// Writes the subject as the option `minter` accepts it.
impl std::fmt::Display for MinterSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::ServiceAccount { namespace, name } => write!(f, "serviceaccount:{namespace}/{name}"),
        }
    }
}

pub(crate) fn namespace(input: &str, name: &str) -> Result<String, Error> {
    dns_name(input, name, 63, false)
}

pub(crate) fn account(input: &str, name: &str) -> Result<String, Error> {
    if is_ours(name) {
        let problem = format!("is `{name}`: jobpass gives names of this form to the accounts of single jobs");
        return Err(Error::input(input, problem, "choose another name"));
    }
    if name == SWEEPER {
        let problem =
            format!("is `{name}`, the sweeper's name: the sweeper may read every Secret of the namespace");
        return Err(Error::input(input, problem, "name another account"));
    }
    dns_name(input, name, LONGEST_ACCOUNT, true)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(text: &str) -> Result<MinterSubject, Error> {
        MinterSubject::parse(text, "ci", Some("scanner"))
    }

    /// `setup` proposes commands that contain a parsed subject. So the text of the subject must be a value
    /// that the option accepts.
    #[rstest]
    #[case("user:jane doe", "user:jane doe")]
    #[case("user:ci:github:2", "user:ci:github:2")]
    #[case("group:platform", "group:platform")]
    #[case("serviceaccount:minter", "serviceaccount:ci/minter")]
    #[case("serviceaccount:runners/scanner", "serviceaccount:runners/scanner")]
    #[case(
        "group:system:serviceaccounts:runners",
        "group:system:serviceaccounts:runners"
    )]
    fn a_subject_is_written_as_it_is_read(#[case] text: &str, #[case] written: &str) {
        let subject = parse(text).expect("a subject");
        assert_eq!(subject.to_string(), written);
        assert_eq!(parse(written).expect("a subject"), subject);
    }

    /// A job that is its own minter can mint tokens that outlive it.
    #[rstest]
    #[case("serviceaccount:scanner")]
    #[case("serviceaccount:ci/scanner")]
    #[case("group:system:serviceaccounts:ci")]
    fn jobs_are_not_their_own_minters(#[case] text: &str) {
        let error = parse(text).expect_err("refused");
        assert!(error.message().contains(JOBS_THEMSELVES), "{error}");
    }

    /// Names of Kubernetes' own components, of all users, or of accounts in another form.
    #[rstest]
    #[case("user:system:admin")]
    #[case("user:system:serviceaccount:ci:scanner")]
    #[case("user:system:serviceaccounts:runners")]
    #[case("group:system:masters")]
    #[case("group:system:serviceaccounts")]
    fn names_of_kubernetes_are_refused(#[case] text: &str) {
        let error = parse(text).expect_err("refused");
        assert!(error.message().contains("begin with `system:`"), "{error}");
    }

    #[rstest]
    #[case::of_a_job("jobpass-aaaaaaaaaaaaaaaaaaaa")]
    #[case::sweeper(SWEEPER)]
    #[case::upper_case("Minter")]
    #[case::too_long(&"a".repeat(LONGEST_ACCOUNT + 1))]
    fn an_account_has_a_name_that_is_free(#[case] name: &str) {
        assert!(account("minter", name).is_err());
        assert!(parse(&format!("serviceaccount:{name}")).is_err());
    }

    #[test]
    fn the_longest_name_of_an_account_is_accepted() {
        assert!(account("minter", &"a".repeat(LONGEST_ACCOUNT)).is_ok());
    }
}
