//! The names of runs on GitHub and GitLab, and the requests and responses about these runs.

use jiff::Timestamp;
use jobpass_core::anchor::list::ListedAnchor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::Deserialize;

/// A CI platform.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Platform {
    GitHub,
    GitLab,
}

/// A run of a workflow, or a pipeline. Each field is safe in the path of a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Run {
    repository: String,
    id: u64,
}

/// A response about a run, with the fields that both platforms send.
pub(super) struct Answer {
    status: Option<String>,
    updated: Option<Timestamp>,
}

impl Answer {
    /// Parses a response. `None` if the response is not about this run. GitHub sends `null` for a status that
    /// is not known yet.
    pub(super) fn of(run: &Run, body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            id: u64,
            status: Option<String>,
            updated_at: Option<String>,
        }
        let body = serde_json::from_slice::<Body>(body)
            .ok()
            .filter(|body| body.id == run.id)?;
        Some(Self {
            status: body.status,
            updated: body.updated_at.and_then(|time| time.parse().ok()),
        })
    }
}

impl Platform {
    /// The platform's name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
        }
    }

    /// The platform's name in annotations and flags.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
        }
    }

    /// The URL of the platform's public site.
    pub(super) fn default_url(self) -> &'static str {
        match self {
            Self::GitHub => "https://github.com",
            Self::GitLab => "https://gitlab.com",
        }
    }

    /// The URL of a site's REST API. github.com and GHE.com have a separate host for it. GitHub Enterprise
    /// Server and GitLab have a path for it.
    pub(super) fn api(self, site: &Url) -> String {
        let (url, host) = (
            site.as_str().trim_end_matches('/'),
            site.host_str().unwrap_or_default(),
        );
        match self {
            Self::GitHub if host == "github.com" || host.ends_with(".ghe.com") => {
                url.replacen("https://", "https://api.", 1)
            }
            Self::GitHub => format!("{url}/api/v3"),
            Self::GitLab => format!("{url}/api/v4"),
        }
    }

    /// The run in the annotations of an anchor. `None` if the annotations cannot be those of a run on this
    /// platform.
    pub(super) fn run(self, anchor: &ListedAnchor) -> Option<Run> {
        let repository = anchor.repository.as_deref()?;
        let parts = repository.split('/').collect::<Vec<_>>();
        // Neither GitHub nor GitLab (`Gitlab::PathRegex`) allows other characters in a path.
        let plain = |part: &&str| {
            !matches!(*part, "" | "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let right_depth = match self {
            Self::GitHub => parts.len() == 2,
            Self::GitLab => parts.len() >= 2,
        };
        (right_depth && parts.iter().all(plain)).then_some(())?;
        Some(Run {
            repository: repository.to_owned(),
            id: anchor.run_id.as_deref()?.parse().ok()?,
        })
    }

    /// The path of a run in the REST API.
    pub(super) fn path(self, Run { repository, id }: &Run) -> String {
        match self {
            Self::GitHub => format!("/repos/{repository}/actions/runs/{id}"),
            Self::GitLab => {
                let project = utf8_percent_encode(repository, NON_ALPHANUMERIC);
                format!("/projects/{project}/pipelines/{id}")
            }
        }
    }

    /// The end of the run, if the run has ended. Uses `updated_at`, because the run cannot have ended later.
    ///
    /// The end of one job would not do, because GitHub cannot find a job by the name that the job itself
    /// knows, and a job may hand its token to later jobs.
    pub(super) fn ended(self, answer: &Answer) -> Option<Timestamp> {
        let ended: &[&str] = match self {
            Self::GitHub => &["completed"],
            Self::GitLab => &["success", "failed", "canceled", "skipped"],
        };
        let status = answer.status.as_deref()?;
        ended.contains(&status).then_some(answer.updated).flatten()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(Platform::GitHub, "https://github.com/", "https://api.github.com")]
    #[case(Platform::GitHub, "https://octo.ghe.com", "https://api.octo.ghe.com")]
    #[case(
        Platform::GitHub,
        "https://github.example.com:8443",
        "https://github.example.com:8443/api/v3"
    )]
    #[case(Platform::GitHub, "https://notghe.com", "https://notghe.com/api/v3")]
    #[case(
        Platform::GitLab,
        "https://example.com/gitlab/",
        "https://example.com/gitlab/api/v4"
    )]
    fn the_url_of_the_api(#[case] platform: Platform, #[case] site: &str, #[case] api: &str) {
        assert_eq!(platform.api(&Url::parse(site).expect("a URL")), api);
    }

    fn anchor(repository: &str, run_id: &str) -> ListedAnchor {
        let anchor = json!({"namespace": "ci", "anchor": "jobpass-a", "uid": "u", "repository": repository, "run-id": run_id});
        serde_json::from_value(anchor).expect("an anchor")
    }

    #[rstest]
    #[case(Platform::GitHub, "team/app", "77", Some("/repos/team/app/actions/runs/77"))]
    #[case(
        Platform::GitLab,
        "team/sub/app.x",
        "12",
        Some("/projects/team%2Fsub%2Fapp%2Ex/pipelines/12")
    )]
    #[case(Platform::GitHub, "team/sub/app", "77", None)]
    #[case(Platform::GitHub, "team/..", "77", None)]
    #[case(Platform::GitHub, "team/app?x=", "77", None)]
    #[case(Platform::GitLab, "team/../app", "12", None)]
    #[case(Platform::GitLab, "app", "12", None)]
    #[case(Platform::GitLab, "team/app%2f..", "12", None)]
    #[case(Platform::GitHub, "team/app", "77/../../x", None)]
    #[case(Platform::GitHub, "team/app", "-1", None)]
    fn an_anchor_chooses_no_path_other_than_that_of_a_run(
        #[case] platform: Platform,
        #[case] repository: &str,
        #[case] run_id: &str,
        #[case] path: Option<&str>,
    ) {
        let run = platform.run(&anchor(repository, run_id));
        assert_eq!(run.map(|run| platform.path(&run)).as_deref(), path);
    }

    #[rstest]
    #[case(
        Platform::GitHub,
        r#"{"id":7,"status":"completed","updated_at":"2026-11-24T10:00:00Z"}"#,
        true
    )]
    #[case(
        Platform::GitHub,
        r#"{"id":7,"status":"in_progress","updated_at":"2026-11-24T10:00:00Z"}"#,
        false
    )]
    #[case(
        Platform::GitHub,
        r#"{"id":7,"status":"success","updated_at":"2026-11-24T10:00:00Z"}"#,
        false
    )]
    #[case(
        Platform::GitLab,
        r#"{"id":7,"status":"canceled","updated_at":"2026-11-24T10:00:00.123+02:00"}"#,
        true
    )]
    #[case(
        Platform::GitLab,
        r#"{"id":7,"status":"canceling","updated_at":"2026-11-24T10:00:00Z"}"#,
        false
    )]
    #[case(
        Platform::GitLab,
        r#"{"id":7,"status":"manual","updated_at":"2026-11-24T10:00:00Z"}"#,
        false
    )]
    #[case(
        Platform::GitLab,
        r#"{"id":8,"status":"success","updated_at":"2026-11-24T10:00:00Z"}"#,
        false
    )]
    #[case(Platform::GitLab, r#"{"id":7,"status":"success"}"#, false)]
    #[case(Platform::GitLab, r#"{"id":7,"status":"success","updated_at":null}"#, false)]
    #[case(
        Platform::GitHub,
        r#"{"id":7,"status":null,"updated_at":"2026-11-24T10:00:00Z"}"#,
        false
    )]
    #[case(Platform::GitLab, "<html>", false)]
    fn only_a_certain_end_counts(#[case] platform: Platform, #[case] body: &str, #[case] ended: bool) {
        let run = Run {
            repository: "team/app".into(),
            id: 7,
        };
        let answer = Answer::of(&run, body.as_bytes());
        assert_eq!(answer.and_then(|answer| platform.ended(&answer)).is_some(), ended);
    }
}
