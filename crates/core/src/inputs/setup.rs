//! The options of `jobpass setup`, as text.

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
