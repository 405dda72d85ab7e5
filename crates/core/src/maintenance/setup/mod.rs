//! Setting a cluster up for jobpass: what a maintainer reviews and applies once.
//!
//! Every value is parsed before anything is written. What is printed is the text of [`Setup::manifests`]; what is compared
//! and applied is read from that same text, so that the two cannot differ.

pub(crate) mod advice;
mod apply;
mod chain;
mod cluster;
mod difference;
pub(crate) mod held;
mod loss;
pub(crate) mod manifests;
mod policies;

pub use self::cluster::{Object, Outcome};
use crate::{
    anchor,
    error::Error,
    inputs::spec::{self, Lifetime, dns_name},
    oidc::Oidc,
    rbac::{self, Rule},
    text::harmless,
};

/// The longest name of a ServiceAccount here: names that are made of it and a namespace stay below 253.
const LONGEST_ACCOUNT: usize = 150;
/// The account that sweeps, and so may read every Secret of the namespace.
const SWEEPER: &str = "jobpass-sweeper";
/// The longest text of any other kind.
pub(crate) const LONGEST_TEXT: usize = 256;

const JOBS_THEMSELVES: &str =
    "the jobs' own ServiceAccount could then mint itself tokens that outlive its job";

/// What was asked for, as text. Absent is empty.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Whom the jobs' tokens speak for; may be empty if jobs bring rules.
    pub service_account: String,
    /// What jobs may give to ServiceAccounts of their own, as they write it in `rules`.
    pub rules: String,
    /// Where these and the anchors are.
    pub namespace: String,
    /// The longest lifetime that a job may ask for.
    pub duration: String,
    /// The audiences that tokens may have; empty if any.
    pub audiences: String,
    /// `user:NAME`, `group:NAME`, `serviceaccount:[NAMESPACE/]NAME`.
    pub minters: Vec<String>,
    /// Ids of GitHub repositories whose jobs mint.
    pub repository_ids: Vec<String>,
    /// Ids of GitLab projects whose jobs mint.
    pub project_ids: Vec<String>,
    /// The id of the owner that these must have.
    pub owner_id: Option<String>,
    /// The issuer of the ID tokens, if it is not github.com or gitlab.com.
    pub issuer: Option<String>,
    /// The audience of the ID tokens.
    pub oidc_audience: Option<String>,
    /// `refs/...` or `protected`.
    pub git_ref: Option<String>,
    /// The environment of the jobs.
    pub environment: Option<String>,
    /// The image of the sweeper; without it, there is none.
    pub sweeper_image: Option<String>,
    /// Whether the ServiceAccount may look at Pods, as the examples do.
    pub example_rights: bool,
}

/// A cluster's set-up for one ServiceAccount, or for those that are made for single jobs, or both; parsed.
#[derive(Debug, Clone)]
pub struct Setup {
    service_account: Option<String>,
    rules: Vec<Rule>,
    namespace: String,
    lifetime: Lifetime,
    audiences: Vec<String>,
    minters: Vec<Minter>,
    oidc: Option<Oidc>,
    sweeper_image: Option<String>,
    example_rights: bool,
}

/// What minters are given. Each has policies, a Role and a RoleBinding of its own, and leaves those of the others alone.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Tokens of this ServiceAccount.
    Account(&'a str),
    /// ServiceAccounts for single jobs, with these rights at most, and their tokens.
    Jobs(&'a [Rule]),
}

/// Somebody who may ask for tokens.
#[derive(Debug, Clone, PartialEq)]
enum Minter {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl Setup {
    /// The `AuthenticationConfiguration`, if jobs are let in with ID tokens. It is no object of the cluster but a file of the
    /// API server, so nothing can apply it.
    pub fn authentication(&self) -> Option<String> {
        self.oidc.as_ref().map(Oidc::configuration)
    }

    /// Parses what was asked for.
    ///
    /// # Errors
    /// The first value that is missing or wrong: its name, what is wrong with it, what is allowed.
    pub fn parse(wanted: &Wanted) -> Result<Self, Error> {
        let rules = rbac::parse("rules", &wanted.rules)?;
        let service_account = Some(&*wanted.service_account).filter(|name| !name.is_empty());
        let service_account = service_account
            .map(|name| account("service-account", name))
            .transpose()?;
        if service_account.is_none() && rules.is_empty() {
            let allowed = "name the ServiceAccount that the jobs' tokens speak for; or give `rules`, what jobs may give to \
                           ServiceAccounts that are made for them";
            return Err(Error::input("service-account", "is missing", allowed));
        }
        if service_account.is_none() && wanted.example_rights {
            let allowed = "it is for a ServiceAccount that all jobs share; what those of single jobs may do is in `rules`";
            return Err(Error::input(
                "example-rights",
                "is given without `service-account`",
                allowed,
            ));
        }
        if wanted.namespace.is_empty() {
            let allowed =
                "name the namespace of the ServiceAccount and the anchors; it should hold no other Secrets";
            return Err(Error::input("namespace", "is missing", allowed));
        }
        let namespace = namespace("namespace", &wanted.namespace)?;
        let oidc = Oidc::parse(wanted)?;
        let mut minters = Vec::new();
        for minter in &wanted.minters {
            minters.push(Minter::parse(minter, &namespace, service_account.as_deref())?);
        }
        minters.extend(oidc.iter().flat_map(Oidc::users).map(Minter::User));
        if minters.is_empty() {
            return Err(Error::input(
                "minter",
                "is missing, and so are `repository-id` and `project-id`: nobody could ask for a token",
                "say who does: `--minter serviceaccount:jobpass-minter` makes an account for a kubeconfig; `user:NAME` and \
                 `group:NAME` are there already; `--repository-id ID --oidc-audience TEXT` lets the jobs of a GitHub \
                 repository in without a secret, `--project-id` those of a GitLab project",
            ));
        }
        Ok(Self {
            service_account,
            rules,
            namespace,
            lifetime: Lifetime::parse(&wanted.duration)?,
            audiences: spec::audiences(&wanted.audiences)?,
            minters,
            oidc,
            sweeper_image: wanted.sweeper_image.as_deref().map(image).transpose()?,
            example_rights: wanted.example_rights,
        })
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let jobs = Some(&*self.rules).filter(|rules| !rules.is_empty());
        let account = self.service_account.as_deref();
        account.map(Part::Account).into_iter().chain(jobs.map(Part::Jobs))
    }

    /// What a maintainer should know before using it.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(oidc) = &self.oidc {
            notes.push(
                "the API server has to trust the issuer as well: the same command with `--authentication-config` prints the \
                 file for that"
                    .to_owned(),
            );
            if oidc.git_ref.is_none() && oidc.environment.is_none() {
                notes.push(
                    "jobs of every branch are let in, and who may push a branch may edit its workflow: consider `--ref \
                     refs/heads/main`, `--ref protected` or `--environment NAME`"
                        .to_owned(),
                );
            }
        }
        if let Some(resource) = self.rules.iter().find_map(Rule::reaches_into_pods) {
            notes.push(format!(
                "with `{resource}`, jobs reach every Pod of this namespace, and the token of the ServiceAccount that it runs as: name \
                 the Pod (`create {resource} NAME`), or let none run here that may do more than a job"
            ));
        }
        if self.sweeper_image.is_none() {
            notes.push(
                "there is no sweeper: anchors of runners that died stay, without a working token once it expired; give \
                 `--sweeper-image IMAGE` for a CronJob that deletes them"
                    .to_owned(),
            );
        }
        notes
    }
}

impl Part<'_> {
    /// The Role, and its RoleBinding. No ServiceAccount makes the first of the second.
    fn role(self) -> String {
        match self {
            Self::Account(account) => format!("jobpass-minter-{account}"),
            Self::Jobs(_) => "jobpass-minter.with-rules".to_owned(),
        }
    }
}

impl Minter {
    fn parse(text: &str, own_namespace: &str, service_account: Option<&str>) -> Result<Self, Error> {
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
        // Administrators need no Role, and everybody is no minter.
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

/// As the option `minter` takes it.
impl std::fmt::Display for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::ServiceAccount { namespace, name } => write!(f, "serviceaccount:{namespace}/{name}"),
        }
    }
}

fn namespace(input: &str, name: &str) -> Result<String, Error> {
    dns_name(input, name, 63, false)
}

fn account(input: &str, name: &str) -> Result<String, Error> {
    if anchor::is_ours(name) {
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

/// An id as platforms give them; a text nevertheless.
pub(crate) fn number(input: &str, text: &str) -> Result<String, Error> {
    let text = text.trim();
    if (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') {
        return Ok(text.to_owned());
    }
    Err(Error::input(
        input,
        format!("is `{}`, which is not an id", harmless(text)),
        "ids are numbers, as names can be given up and taken by somebody else: `gh api repos/OWNER/REPO --jq \
         '.id, .owner.id'`; in GitLab, below the project's or group's name",
    ))
}

/// Text of one line, as it is.
pub(crate) fn text_of(input: &str, text: &str) -> Result<String, Error> {
    if !text.is_empty() && text.len() <= LONGEST_TEXT && harmless(text) == text {
        return Ok(text.to_owned());
    }
    Err(Error::input(
        input,
        format!("is `{}`, which cannot stand here", harmless(text)),
        format!("use 1 to {LONGEST_TEXT} visible characters, without spaces at the ends or two in a row"),
    ))
}

fn image(text: &str) -> Result<String, Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b);
    let last = text.rsplit('/').next().unwrap_or_default();
    let is_one = text.len() <= LONGEST_TEXT
        && text.bytes().all(allowed)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if is_one && (last.contains(':') || last.contains('@')) {
        return Ok(text.to_owned());
    }
    Err(Error::input(
        "sweeper-image",
        format!(
            "is `{}`, which is not an image with a tag or a digest",
            harmless(text)
        ),
        "use `REGISTRY/NAME:TAG` or, better, `REGISTRY/NAME@sha256:DIGEST`",
    ))
}

#[cfg(test)]
mod tests;
