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
    pub(crate) workflow_refs: Vec<String>,
    pub(crate) job_workflow_refs: Vec<String>,
    /// The custom properties of the repositories: names and values.
    pub(crate) properties: Vec<(String, String)>,
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
        let of_github = [
            ("workflow-ref", &wanted.workflow_refs),
            ("job-workflow-ref", &wanted.job_workflow_refs),
            ("property", &wanted.properties),
        ];
        let of_github = of_github.iter().find(|(_, values)| !values.is_empty());
        let (platform, input, ids) = match (&*wanted.repository_ids, &*wanted.project_ids) {
            ([], []) => {
                let pointless = [
                    ("owner-id", &wanted.owner_id),
                    ("issuer", &wanted.issuer),
                    ("oidc-audience", &wanted.oidc_audience),
                    ("ref", &wanted.git_ref),
                    ("environment", &wanted.environment),
                ];
                let pointless = pointless.iter().find(|(_, value)| value.is_some());
                return match (of_github, pointless) {
                    (Some((name, _)), _) => Err(Error::input(
                        name,
                        "is given without `repository-id`",
                        "add the id of the GitHub repository whose jobs may mint",
                    )),
                    (None, Some((name, _))) => Err(Error::input(
                        name,
                        "is given without `repository-id` (GitHub) or `project-id` (GitLab)",
                        "add the id of the repository or project whose jobs may mint",
                    )),
                    (None, None) => Ok(None),
                };
            }
            (ids, []) => (Platform::GitHub, "repository-id", ids),
            ([], ids) => match of_github {
                Some((name, _)) => {
                    return Err(Error::input(
                        name,
                        "is given with `project-id`, but GitLab's ID tokens have no such claim",
                        "leave it out: `ref`, `environment` and `owner-id` say which jobs of a GitLab project may mint",
                    ));
                }
                None => (Platform::GitLab, "project-id", ids),
            },
            _ => {
                return Err(Error::input(
                    "project-id",
                    "and `repository-id` are both given",
                    "give one platform at a time. Print the file for the other platform with a second \
                     command, and add its jobs here with `--minter user:NAME`. NAME is the user that the \
                     file's `username` gives them, as in `ci:gitlab:ID`",
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
                "give any text that names this cluster and no other, for example \
                 `https://kubernetes.example.com`. The jobs request their ID tokens for this audience",
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
            workflow_refs: workflow_refs("workflow-ref", &wanted.workflow_refs)?,
            job_workflow_refs: workflow_refs("job-workflow-ref", &wanted.job_workflow_refs)?,
            properties: properties(&wanted.properties)?,
        }))
    }

    /// The jobs with the same repository or project, ref and environment as in these claims of an ID token.
    /// `None` if the platform is unknown, or if a necessary claim is missing or has a wrong form.
    pub(crate) fn of(claims: &Value) -> Option<Self> {
        let text = |name: &str| {
            let text = claims[name].as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        let wanted = Wanted {
            repository_ids: text("repository_id").into_iter().collect(),
            project_ids: text("project_id").into_iter().collect(),
            issuer: text("iss"),
            // GitLab's claim `ref` lacks `refs/heads/`.
            git_ref: text("ref_path").or_else(|| text("ref")),
            environment: text("environment"),
            oidc_audience: audiences(claims).first().map(|audience| (*audience).to_owned()),
            ..Wanted::default()
        };
        Self::parse(&wanted).ok()?
    }

    /// Warns if more jobs may mint than an administrator is likely to expect.
    pub(crate) fn breadth(&self) -> Option<&'static str> {
        match (&*self.workflow_refs, &*self.job_workflow_refs) {
            _ if self.git_ref.is_some() || self.environment.is_some() => None,
            ([], []) => Some(
                "jobs of every branch may mint, and everybody who may push a branch may edit its jobs: consider `--ref \
                 refs/heads/main`, `--ref protected` or `--environment NAME`",
            ),
            ([], [_, ..]) => Some(
                "every branch may call the workflow that `--job-workflow-ref` names, with inputs of its own: consider `--ref \
                 refs/heads/main`, or `--workflow-ref` for the workflow that calls it",
            ),
            ([_, ..], _) => None,
        }
    }

    /// The user names that the API server gives to the jobs: one for each repository or project.
    pub(crate) fn users(&self) -> impl Iterator<Item = String> {
        self.ids.iter().map(|id| format!("{}{id}", self.user_prefix()))
    }

    /// The beginning of the jobs' user names, before the id of the repository or project. Two servers of one
    /// platform can give the same id to different repositories. So the beginning names the host, except for
    /// github.com and gitlab.com.
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

/// Parses the values of the claims `workflow_ref` and `job_workflow_ref`.
fn workflow_refs(input: &'static str, texts: &[String]) -> Result<Vec<String>, Error> {
    let parse = |text: &String| {
        let text = text_of(input, text)?;
        let is_commit = |version: &str| version.len() >= 40 && version.bytes().all(|b| b.is_ascii_hexdigit());
        let is_whole = text.split_once('@').is_some_and(|(file, version)| {
            let mut parts = file.splitn(3, '/');
            let named = |part: Option<&str>| part.is_some_and(|name| !name.is_empty());
            named(parts.next())
                && named(parts.next())
                && parts
                    .next()
                    .is_some_and(|path| path.starts_with(".github/workflows/"))
                && (version.starts_with("refs/") || is_commit(version))
        });
        if is_whole && !text.contains(' ') {
            return Ok(text);
        }
        Err(Error::input(
            input,
            format!("is `{text}`, which is not the name of a workflow in an ID token"),
            "use `OWNER/REPO/.github/workflows/FILE.yml@refs/heads/BRANCH`. If jobs call the workflow by a \
             tag or a commit, write `@refs/tags/TAG` or `@COMMIT` in place of `@refs/heads/BRANCH`",
        ))
    };
    texts.iter().map(parse).collect()
}

/// The custom properties of the repositories: `NAME=VALUE`.
fn properties(texts: &[String]) -> Result<Vec<(String, String)>, Error> {
    // GitHub accepts only these characters.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-$#".contains(&b);
    let is_name = |name: &str| (1..=75).contains(&name.len()) && name.bytes().all(plain);
    let wrong = |text: &str, problem: &str| {
        Error::input(
            "property",
            format!("is `{}`{problem}", harmless(text)),
            "use `NAME=VALUE`, where NAME is the custom property as the organization defines it, without \
             `repo_property_`",
        )
    };
    let mut properties = Vec::<(String, String)>::new();
    for text in texts {
        let pair = text.split_once('=').filter(|(name, _)| is_name(name));
        let (name, value) =
            pair.ok_or_else(|| wrong(text, ", which is not a custom property with a value"))?;
        if properties.iter().any(|(known, _)| known == name) {
            return Err(wrong(
                text,
                ", but this property is given twice: give each property one value",
            ));
        }
        properties.push((name.to_owned(), text_of("property", value)?));
    }
    Ok(properties)
}

impl Platform {
    fn issuer(self, given: Option<&str>) -> Result<String, Error> {
        let url = given.unwrap_or(match self {
            Self::GitHub => GITHUB,
            Self::GitLab => GITLAB,
        });
        let allowed = match self {
            Self::GitHub => {
                "GitHub Enterprise Server uses `https://HOST/_services/token`. GitHub with data residency \
                 uses `https://token.actions.NAME.ghe.com`. For github.com, leave this input out"
            }
            Self::GitLab => {
                "give the URL of the GitLab instance, `https://HOST`. For gitlab.com, leave this input out"
            }
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
            return refused("this is not the https URL of an issuer");
        };
        let fits = url.ends_with(ENTERPRISE) || host.starts_with("token.actions.");
        if fits != (self == Self::GitHub) {
            return refused(match self {
                Self::GitHub => "GitHub does not issue ID tokens under this URL",
                Self::GitLab => "GitLab does not issue ID tokens under this URL",
            });
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
                "use `refs/heads/BRANCH`, `refs/tags/TAG`, or `protected` for all refs that the platform \
                 protects",
            ));
        }
        Ok(Self::Named(name))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn github() -> Wanted {
        Wanted {
            repository_ids: vec!["2".into()],
            oidc_audience: Some("k8s".into()),
            ..Wanted::default()
        }
    }

    /// The user names of the jobs whose ID tokens have these claims. `jobpass setup` writes them into
    /// bindings and policies.
    #[rstest]
    #[case::github(json!({"iss": GITHUB, "aud": "k8s", "repository_id": "2"}), Some("ci:github:2"))]
    #[case::gitlab(json!({"iss": GITLAB, "aud": ["k8s", "vault"], "project_id": "7"}), Some("ci:gitlab:7"))]
    #[case::self_managed(
        json!({"iss": "https://gitlab.example.com", "aud": "k8s", "project_id": "7"}),
        Some("ci:gitlab:gitlab.example.com:7")
    )]
    #[case::enterprise_server(
        json!({"iss": "https://ghes.example.com/_services/token", "aud": "k8s", "repository_id": "2"}),
        Some("ci:github:ghes.example.com:2")
    )]
    #[case::without_an_id(json!({"iss": GITHUB, "aud": "k8s"}), None)]
    #[case::without_an_audience(json!({"iss": GITHUB, "repository_id": "2"}), None)]
    #[case::of_a_service_account(json!({"iss": "https://kubernetes.default.svc", "aud": ["k8s"]}), None)]
    #[case::another_platform(json!({"iss": "https://ci.example.com", "aud": "k8s", "repository_id": "2"}), None)]
    #[case::a_name_for_an_id(json!({"iss": GITHUB, "aud": "k8s", "repository_id": "team/app"}), None)]
    #[case::two_platforms(json!({"iss": GITHUB, "aud": "k8s", "repository_id": "2", "project_id": "7"}), None)]
    fn the_users_of_an_id_token(#[case] claims: Value, #[case] user: Option<&str>) {
        let users = Oidc::of(&claims).map(|oidc| oidc.users().collect::<Vec<_>>());
        assert_eq!(users, user.map(|user| vec![user.to_owned()]));
    }

    #[rstest]
    #[case(Platform::GitHub, None, Ok(GITHUB))]
    #[case(Platform::GitLab, None, Ok(GITLAB))]
    #[case(
        Platform::GitLab,
        Some("https://gitlab.example.com/"),
        Ok("https://gitlab.example.com")
    )]
    #[case(
        Platform::GitHub,
        Some("https://token.actions.corp.ghe.com"),
        Ok("https://token.actions.corp.ghe.com")
    )]
    #[case(Platform::GitHub, Some(GITLAB), Err("GitHub does not issue"))]
    #[case(Platform::GitLab, Some(GITHUB), Err("GitLab does not issue"))]
    #[case(
        Platform::GitLab,
        Some("https://ghes.example.com/_services/token"),
        Err("GitLab does not issue")
    )]
    #[case(Platform::GitLab, Some("http://gitlab.example.com"), Err("not the https URL"))]
    #[case(
        Platform::GitLab,
        Some("https://user@gitlab.example.com"),
        Err("not the https URL")
    )]
    #[case(
        Platform::GitLab,
        Some("https://gitlab.example.com/?a"),
        Err("not the https URL")
    )]
    fn an_issuer_is_that_of_its_platform(
        #[case] platform: Platform,
        #[case] given: Option<&str>,
        #[case] expected: Result<&str, &str>,
    ) {
        match (platform.issuer(given), expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url, expected),
            (Err(error), Err(why)) => assert!(error.message().contains(why), "{error}"),
            (issuer, expected) => panic!("{issuer:?} instead of {expected:?}"),
        }
    }

    #[rstest]
    #[case("protected", Some(Ref::Protected))]
    #[case("refs/heads/main", Some(Ref::Named("refs/heads/main".into())))]
    #[case("refs/tags/v1", Some(Ref::Named("refs/tags/v1".into())))]
    #[case("main", None)]
    #[case("refs/heads", None)]
    #[case("refs/heads/a b", None)]
    #[case("heads/main", None)]
    fn a_ref_is_whole(#[case] text: &str, #[case] expected: Option<Ref>) {
        assert_eq!(Ref::parse(text).ok(), expected);
    }

    /// An option about jobs is wrong without jobs: it would limit nothing.
    #[rstest]
    #[case::owner("owner-id", Wanted { owner_id: Some("3".into()), ..Wanted::default() })]
    #[case::issuer("issuer", Wanted { issuer: Some(GITLAB.into()), ..Wanted::default() })]
    #[case::audience("oidc-audience", Wanted { oidc_audience: Some("k8s".into()), ..Wanted::default() })]
    #[case::a_ref("ref", Wanted { git_ref: Some("protected".into()), ..Wanted::default() })]
    #[case::environment("environment", Wanted { environment: Some("production".into()), ..Wanted::default() })]
    fn an_option_about_jobs_needs_the_jobs(#[case] option: &str, #[case] wanted: Wanted) {
        let error = Oidc::parse(&wanted).expect_err("refused").to_string();
        assert!(
            error.starts_with(&format!("input `{option}` is given without")),
            "{error}"
        );
        assert!(
            Oidc::parse(&Wanted::default())
                .expect("nothing is wrong")
                .is_none()
        );
        let with_jobs = Wanted {
            repository_ids: github().repository_ids,
            oidc_audience: github().oidc_audience,
            issuer: None,
            ..wanted
        };
        assert!(Oidc::parse(&with_jobs).expect("nothing is wrong").is_some());
    }
}
