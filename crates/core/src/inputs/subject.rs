//! The users, groups and ServiceAccounts that may ask for tokens.

use crate::{
    error::Error,
    names::{dns_name, is_ours, text_of},
    text::harmless,
};

/// The longest name of a ServiceAccount that `setup` accepts. Names made of it and a namespace then have at
/// most 253 characters.
pub(crate) const LONGEST_ACCOUNT: usize = 150;

/// The ServiceAccount of the sweeper, which may read every Secret of the namespace.
pub(crate) const SWEEPER: &str = "jobpass-sweeper";

pub(crate) const JOBS_THEMSELVES: &str =
    "the jobs' own ServiceAccount could then mint itself tokens that outlive its job";

/// A user, group or ServiceAccount that may ask for tokens.
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
                format!("is `{}`: {problem}", harmless(text)),
                allowed,
            ))
        };
        let forms = "use `user:NAME`, `group:NAME`, `serviceaccount:NAME` or `serviceaccount:NAMESPACE/NAME`";
        let Some((kind, name)) = text.split_once(':') else {
            return refused("it does not say what it is", forms);
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
            return refused("it does not say what it is", forms);
        }
        let name = text_of("minter", name)?;
        let accounts_of = name
            .strip_prefix("system:serviceaccounts:")
            .filter(|_| kind == "group");
        if accounts_of == Some(own_namespace) {
            return refused(JOBS_THEMSELVES, "name one account: `serviceaccount:NAME`");
        }
        // Administrators need no Role, and groups of everybody must not be minters.
        if name.starts_with("system:") && accounts_of.is_none() {
            return refused(
                "Kubernetes gives the names that begin with `system:` to whom it likes",
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
        let problem = format!("is `{name}`: so are those called that are made for single jobs");
        return Err(Error::input(input, problem, "name it differently"));
    }
    if name == SWEEPER {
        let problem =
            format!("is `{name}`: so is the sweeper called, which may read every Secret of the namespace");
        return Err(Error::input(input, problem, "name another account"));
    }
    dns_name(input, name, LONGEST_ACCOUNT, true)
}
