//! Setting a cluster up for jobpass: what a maintainer reviews and applies once.
//!
//! Every value is parsed before anything is written. What is printed is the text of [`Setup::manifests`]; what is compared
//! and applied is read from that same text, so that the two cannot differ.

mod authentication;
mod cluster;
mod difference;
mod manifests;

use http::Uri;

pub use self::cluster::{Object, Outcome};
pub use self::manifests::names;
use crate::{
    error::Error,
    spec::{Lifetime, is_dns_label},
    text::harmless,
};

/// The longest name of a ServiceAccount here: names that are made of it and a namespace stay below 253.
const LONGEST_ACCOUNT: usize = 150;
/// The longest text of any other kind.
const LONGEST_TEXT: usize = 256;

/// What was asked for, as text. Absent is empty.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Whom the jobs' tokens speak for.
    pub service_account: String,
    /// Where it and the anchors are.
    pub namespace: String,
    /// The longest lifetime that a job may ask for.
    pub duration: String,
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

/// A cluster's set-up for one ServiceAccount, parsed.
#[derive(Debug, Clone)]
pub struct Setup {
    service_account: String,
    namespace: String,
    lifetime: Lifetime,
    minters: Vec<Minter>,
    oidc: Option<Oidc>,
    sweeper_image: Option<String>,
    example_rights: bool,
}

/// Somebody who may ask for tokens.
#[derive(Debug, Clone, PartialEq)]
enum Minter {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

/// The jobs whose ID tokens are let in.
#[derive(Debug, Clone)]
struct Oidc {
    platform: Platform,
    issuer: String,
    audience: String,
    /// Of repositories or projects; digits only.
    ids: Vec<String>,
    owner_id: Option<String>,
    git_ref: Option<Ref>,
    environment: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Platform {
    GitHub,
    GitLab,
}

#[derive(Debug, Clone, PartialEq)]
enum Ref {
    Protected,
    Named(String),
}

impl Setup {
    /// Parses what was asked for.
    ///
    /// # Errors
    /// The first value that is missing or wrong: its name, what is wrong with it, what is allowed.
    pub fn parse(wanted: &Wanted) -> Result<Self, Error> {
        if wanted.service_account.is_empty() {
            let allowed = "name the ServiceAccount that the jobs' tokens speak for";
            return Err(Error::input("service-account", "is missing", allowed));
        }
        if wanted.namespace.is_empty() {
            let allowed =
                "name the namespace of the ServiceAccount and the anchors; it should hold no other Secrets";
            return Err(Error::input("namespace", "is missing", allowed));
        }
        let service_account = account("service-account", &wanted.service_account)?;
        let namespace = namespace("namespace", &wanted.namespace)?;
        let oidc = Oidc::parse(wanted)?;
        let mut minters = Vec::new();
        for minter in &wanted.minters {
            minters.push(Minter::parse(minter, &namespace, &service_account)?);
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
            namespace,
            lifetime: Lifetime::parse(&wanted.duration)?,
            minters,
            oidc,
            sweeper_image: wanted.sweeper_image.as_deref().map(image).transpose()?,
            example_rights: wanted.example_rights,
        })
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

impl Minter {
    fn parse(text: &str, own_namespace: &str, service_account: &str) -> Result<Self, Error> {
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
            if space == own_namespace && name == service_account {
                return refused(
                    "the jobs' own ServiceAccount could then mint itself tokens that outlive its job",
                    "name another account for the minter",
                );
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
        // Administrators need no Role, and everybody is no minter.
        if name.starts_with("system:") && !(kind == "group" && name.starts_with("system:serviceaccounts:")) {
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

impl Oidc {
    fn parse(wanted: &Wanted) -> Result<Option<Self>, Error> {
        let (platform, input, ids) = match (&*wanted.repository_ids, &*wanted.project_ids) {
            ([], []) => {
                let pointless = [
                    ("owner-id", &wanted.owner_id),
                    ("issuer", &wanted.issuer),
                    ("oidc-audience", &wanted.oidc_audience),
                    ("ref", &wanted.git_ref),
                    ("environment", &wanted.environment),
                ];
                return match pointless.iter().find(|(_, value)| value.is_some()) {
                    Some((name, _)) => Err(Error::input(
                        name,
                        "is given without `repository-id` (GitHub) or `project-id` (GitLab)",
                        "add the id of the repository or project whose jobs it is about",
                    )),
                    None => Ok(None),
                };
            }
            (ids, []) => (Platform::GitHub, "repository-id", ids),
            ([], ids) => (Platform::GitLab, "project-id", ids),
            _ => {
                return Err(Error::input(
                    "project-id",
                    "and `repository-id` are both given",
                    "one platform at a time: print the second one's file with a second command, and add its jobs here with \
                     `--minter user:ci:gitlab:ID`",
                ));
            }
        };
        let ids = ids
            .iter()
            .map(|id| number(input, id))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(audience) = &wanted.oidc_audience else {
            return Err(Error::input(
                "oidc-audience",
                "is missing",
                "any text that names this cluster and no other, for example `https://kubernetes.example.com`; the jobs ask \
                 for their ID tokens with it",
            ));
        };
        let audience = text_of("oidc-audience", audience)?;
        if audience.contains(' ') {
            let problem = format!("is `{audience}`: an audience has no spaces");
            return Err(Error::input("oidc-audience", problem, "give one audience"));
        }
        Ok(Some(Self {
            platform,
            issuer: platform.issuer(wanted.issuer.as_deref())?,
            audience,
            ids,
            owner_id: wanted
                .owner_id
                .as_deref()
                .map(|id| number("owner-id", id))
                .transpose()?,
            git_ref: wanted.git_ref.as_deref().map(Ref::parse).transpose()?,
            environment: wanted
                .environment
                .as_deref()
                .map(|name| text_of("environment", name))
                .transpose()?,
        }))
    }

    /// What the API server calls these jobs.
    fn users(&self) -> impl Iterator<Item = String> {
        self.ids
            .iter()
            .map(|id| format!("{}{id}", self.platform.user_prefix()))
    }
}

impl Platform {
    /// Before the id, in the names of users.
    fn user_prefix(self) -> &'static str {
        match self {
            Self::GitHub => "ci:github:",
            Self::GitLab => "ci:gitlab:",
        }
    }

    fn issuer(self, given: Option<&str>) -> Result<String, Error> {
        let url = given.unwrap_or(match self {
            Self::GitHub => "https://token.actions.githubusercontent.com",
            Self::GitLab => "https://gitlab.com",
        });
        let allowed = match self {
            Self::GitHub => {
                "on GitHub Enterprise Server it is `https://HOST/_services/token`; with data residency, \
                 `https://token.actions.NAME.ghe.com`; without this option, github.com's"
            }
            Self::GitLab => "it is the URL of the GitLab, `https://HOST`; without this option, gitlab.com's",
        };
        let refused = |problem: &str| {
            Err(Error::input(
                "issuer",
                format!("is `{}`: {problem}", harmless(url)),
                allowed,
            ))
        };
        let url = url.trim_end_matches('/');
        let uri = url.parse::<Uri>().ok();
        let host = uri
            .as_ref()
            .filter(|uri| uri.scheme_str() == Some("https"))
            .and_then(Uri::host);
        let (Some(host), false) = (host, url.contains(['?', '#', '@']) || url.len() > LONGEST_TEXT) else {
            return refused("this is no https URL that can be one");
        };
        let fits = url.ends_with("/_services/token") || host.starts_with("token.actions.");
        if fits != (self == Self::GitHub) {
            return refused("no such platform issues ID tokens under this URL");
        }
        Ok(url.to_owned())
    }
}

impl Ref {
    fn parse(text: &str) -> Result<Self, Error> {
        if text == "protected" {
            return Ok(Self::Protected);
        }
        let name = text_of("ref", text)?;
        if name.contains(' ') || !name.strip_prefix("refs/").is_some_and(|rest| rest.contains('/')) {
            return Err(Error::input(
                "ref",
                format!("is `{name}`, which is not the whole name of a ref"),
                "use `refs/heads/BRANCH`, `refs/tags/TAG`, or `protected` for all that the platform protects",
            ));
        }
        Ok(Self::Named(name))
    }
}

fn namespace(input: &str, name: &str) -> Result<String, Error> {
    if is_dns_label(name) && name.len() <= 63 {
        return Ok(name.to_owned());
    }
    Err(Error::input(
        input,
        format!("has `{}`: no namespace can be called that", harmless(name)),
        "use at most 63 lowercase letters, digits and `-`, with a letter or digit at both ends",
    ))
}

fn account(input: &str, name: &str) -> Result<String, Error> {
    if name.split('.').all(is_dns_label) && name.len() <= LONGEST_ACCOUNT {
        return Ok(name.to_owned());
    }
    Err(Error::input(
        input,
        format!(
            "has `{}`: no ServiceAccount can be called that here",
            harmless(name)
        ),
        format!(
            "use at most {LONGEST_ACCOUNT} lowercase letters, digits, `-` and `.`, with a letter or digit at both ends"
        ),
    ))
}

/// An id as platforms give them; a text nevertheless.
fn number(input: &str, text: &str) -> Result<String, Error> {
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
fn text_of(input: &str, text: &str) -> Result<String, Error> {
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
