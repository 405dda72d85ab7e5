//! The jobs whose ID tokens the API server accepts.

use http::Uri;
use serde_json::Value;

use crate::{
    error::Error,
    inputs::{options::Opt, setup::Wanted},
    names::{LONGEST_TEXT, number, text_of},
    text::harmless,
};

/// The issuers of github.com and gitlab.com.
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
/// The path after the host in the issuers of GitHub Enterprise Server.
const ENTERPRISE: &str = "/_services/token";

/// The jobs whose ID tokens the API server accepts.
#[derive(Debug, Clone)]
pub(crate) struct Oidc {
    pub(crate) platform: Platform,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// The ids of the repositories or projects; digits only.
    pub(crate) ids: Vec<String>,
    pub(crate) owner_id: Option<String>,
    pub(crate) git_ref: Option<Ref>,
    pub(crate) environment: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Platform {
    GitHub,
    GitLab,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ref {
    Protected,
    Named(String),
}

impl Oidc {
    pub(crate) fn parse(wanted: &Wanted) -> Result<Option<Self>, Error> {
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
                     `--minter user:NAME`, where NAME is what the file's `username` gives them, as in `ci:gitlab:ID`",
                ));
            }
        };
        let ids = ids
            .iter()
            .map(|id| number(input, id))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(audience) = &wanted.oidc_audience else {
            return Err(Error::input(
                Opt::OidcAudience,
                "is missing",
                "any text that names this cluster and no other, for example `https://kubernetes.example.com`; the jobs ask \
                 for their ID tokens with it",
            ));
        };
        let audience = text_of(Opt::OidcAudience.name(), audience)?;
        if audience.contains(' ') {
            let problem = format!("is `{audience}`: an audience has no spaces");
            return Err(Error::input(Opt::OidcAudience, problem, "give one audience"));
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

    /// The jobs of the repository or project that these claims of an ID token name. `None` for an unknown
    /// platform.
    pub(crate) fn of(claims: &Value) -> Option<Self> {
        let text = |name: &str| claims[name].as_str().map(str::to_owned);
        let wanted = Wanted {
            repository_ids: text("repository_id").into_iter().collect(),
            project_ids: text("project_id").into_iter().collect(),
            issuer: text("iss"),
            oidc_audience: audiences(claims).first().map(|audience| (*audience).to_owned()),
            ..Wanted::default()
        };
        Self::parse(&wanted).ok()?
    }

    /// The user names that the API server gives these jobs.
    pub(crate) fn users(&self) -> impl Iterator<Item = String> {
        self.ids.iter().map(|id| format!("{}{id}", self.user_prefix()))
    }

    /// The part of a user name before the id. Two platforms can give the same id to different repositories,
    /// so the prefix names the host, except for github.com and gitlab.com.
    pub(crate) fn user_prefix(&self) -> String {
        let platform = match self.platform {
            Platform::GitHub => "github",
            Platform::GitLab => "gitlab",
        };
        let host = self
            .issuer
            .trim_start_matches("https://")
            .trim_end_matches(ENTERPRISE);
        match &*self.issuer {
            GITHUB | GITLAB => format!("ci:{platform}:"),
            _ => format!("ci:{platform}:{host}:"),
        }
    }
}

/// The audiences of an ID token.
pub(crate) fn audiences(claims: &Value) -> Vec<&str> {
    match &claims["aud"] {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

impl Platform {
    fn issuer(self, given: Option<&str>) -> Result<String, Error> {
        let url = given.unwrap_or(match self {
            Self::GitHub => GITHUB,
            Self::GitLab => GITLAB,
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
        let fits = url.ends_with(ENTERPRISE) || host.starts_with("token.actions.");
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
