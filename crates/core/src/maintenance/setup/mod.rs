//! The set-up of a cluster for jobpass. A maintainer reviews the set-up and applies it.
//!
//! jobpass parses every value before it writes anything. `setup` prints the text of [`Setup::manifests`], and
//! `--diff`, `--apply` and `--delete` parse that same text. So jobpass applies exactly the objects that it
//! prints, and only adds a label to new ones.

mod apply;
mod binding;
mod credential;
mod difference;
pub(crate) mod enforcement;
mod loss;
pub(crate) mod manifests;
mod object;
mod policies;
mod removal;
mod separation;
mod sweeper;

pub use self::{
    credential::{MinterKubeconfig, Written},
    object::{Outcome, SetupObject},
    removal::{Consent, Fate, Removal},
};

use crate::{
    error::Error,
    inputs::{
        lifetime::Lifetime,
        options::Opt,
        setup::Wanted,
        spec,
        subject::{MinterSubject, account, namespace},
    },
    names::LONGEST_TEXT,
    oidc::Oidc,
    rbac::{self, Rule},
    text::harmless,
};

/// The parsed set-up of a cluster: for one ServiceAccount, for ServiceAccounts that jobpass creates for
/// single jobs, or for both.
#[derive(Debug, Clone)]
pub struct Setup {
    service_account: Option<String>,
    rules: Vec<Rule>,
    namespace: String,
    lifetime: Lifetime,
    audiences: Vec<String>,
    minters: Vec<MinterSubject>,
    oidc: Option<Oidc>,
    sweeper_image: Option<String>,
    example_rights: bool,
}

/// One grant to the minters. Each grant has its own policies, Role and RoleBinding, so that grants do not
/// affect each other.
#[derive(Clone, Copy)]
enum Grant<'a> {
    /// The minters may get tokens of this ServiceAccount.
    Account(&'a str),
    /// The minters may create ServiceAccounts for single jobs, with these rules and no others, and get tokens
    /// of these ServiceAccounts.
    Jobs(&'a [Rule]),
}

impl Setup {
    /// The `AuthenticationConfiguration`, if jobs log in with ID tokens. `--apply` cannot apply it: it is a
    /// file of the API server, not an object of the cluster.
    pub fn authentication(&self) -> Option<String> {
        self.oidc.as_ref().map(Oidc::configuration)
    }

    /// Parses the options.
    ///
    /// # Errors
    /// If a value is missing or wrong. The error has the value's name, the reason, and the allowed values.
    pub fn parse(wanted: &Wanted) -> Result<Self, Error> {
        let rules = rbac::parse(Opt::RoleRules.name(), &wanted.rules)?;
        let service_account = Some(&*wanted.service_account).filter(|name| !name.is_empty());
        let service_account = service_account
            .map(|name| account("service-account", name))
            .transpose()?;
        if service_account.is_none() && rules.is_empty() {
            let allowed = "name the ServiceAccount for which jobs get tokens. Or give `role-rules`: jobpass \
                creates a ServiceAccount for each job, and a job may ask for these rules and no others";
            return Err(Error::input(Opt::ServiceAccount, "is missing", allowed));
        }
        if service_account.is_none() && wanted.example_rights {
            let allowed = "name the ServiceAccount that all jobs share; the permissions of single jobs come from `role-rules`";
            return Err(Error::input(
                "example-rights",
                "is given without `service-account`",
                allowed,
            ));
        }
        if wanted.namespace.is_empty() {
            let allowed =
                "name a namespace that holds no other Secrets, for the ServiceAccount and the anchors";
            return Err(Error::input(Opt::Namespace, "is missing", allowed));
        }
        let namespace = namespace("namespace", &wanted.namespace)?;
        let oidc = Oidc::parse(wanted)?;
        let mut minters = Vec::new();
        for minter in &wanted.minters {
            minters.push(MinterSubject::parse(
                minter,
                &namespace,
                service_account.as_deref(),
            )?);
        }
        minters.extend(oidc.iter().flat_map(Oidc::users).map(MinterSubject::User));
        if minters.is_empty() {
            return Err(Error::input(
                "minter",
                "is missing, and so are `repository-id` and `project-id`: nobody could request a token",
                "name a minter. `--minter serviceaccount:jobpass-minter` creates an account, for which you \
                 can make a kubeconfig. `--minter user:NAME` and `--minter group:NAME` name existing users. \
                 `--repository-id ID --oidc-audience TEXT` lets the jobs of a GitHub repository mint \
                 without a stored secret, and `--project-id` those of a GitLab project",
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

    fn grants(&self) -> impl Iterator<Item = Grant<'_>> {
        let jobs = Some(&*self.rules).filter(|rules| !rules.is_empty());
        let account = self.service_account.as_deref();
        account
            .map(Grant::Account)
            .into_iter()
            .chain(jobs.map(Grant::Jobs))
    }

    /// The warnings for the maintainer.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(oidc) = &self.oidc {
            notes.push(
                "the API server must trust the issuer of the ID tokens: run the same command with \
                 `--authentication-config` in place of `--apply` and `--kubeconfig`, and give its output to the API \
                 server"
                    .to_owned(),
            );
            notes.extend(oidc.breadth().map(str::to_owned));
        }
        if let Some(resource) = self.rules.iter().find_map(Rule::reaches_into_pods) {
            notes.push(format!(
                "with `{resource}`, jobs reach every Pod in this namespace, and the token of each Pod's \
                 ServiceAccount. Name the Pod (`create {resource} NAME`), or run no Pod in this namespace \
                 that may do more than a job"
            ));
        }
        notes
    }
}

impl Grant<'_> {
    /// The name of the Role and of its RoleBinding. After `jobpass-minter`, the name for jobs has a `.`, and
    /// the name for an account has a `-`. So these names never clash.
    fn role(self) -> String {
        match self {
            Self::Account(account) => format!("jobpass-minter-{account}"),
            Self::Jobs(_) => "jobpass-minter.with-rules".to_owned(),
        }
    }
}

fn image(text: &str) -> Result<String, Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b);
    let last = text.rsplit('/').next().unwrap_or_default();
    let is_image = text.len() <= LONGEST_TEXT
        && text.bytes().all(allowed)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if is_image && (last.contains(':') || last.contains('@')) {
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
