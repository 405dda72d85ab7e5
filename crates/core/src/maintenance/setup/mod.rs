//! Setting a cluster up for jobpass: what a maintainer reviews and applies once.
//!
//! Every value is parsed before anything is written. What is printed is the text of [`Setup::manifests`]; what is compared
//! and applied is read from that same text, so that the two cannot differ.

mod apply;
mod difference;
pub(crate) mod enforcement;
mod loss;
pub(crate) mod manifests;
mod object;
mod policies;
mod separation;

pub use self::object::{Outcome, SetupObject};

use crate::{
    error::Error,
    inputs::{
        lifetime::Lifetime,
        setup::Wanted,
        spec,
        subject::{MinterSubject, account, namespace},
    },
    names::LONGEST_TEXT,
    oidc::Oidc,
    rbac::{self, Rule},
    text::harmless,
};

/// A cluster's set-up for one ServiceAccount, or for those that are made for single jobs, or both; parsed.
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

/// What minters are given. Each has policies, a Role and a RoleBinding of its own, and leaves those of the others alone.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Tokens of this ServiceAccount.
    Account(&'a str),
    /// ServiceAccounts for single jobs, with these rights at most, and their tokens.
    Jobs(&'a [Rule]),
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
