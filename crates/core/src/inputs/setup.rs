//! The options of `jobpass setup`, as text.

/// The options, as text. An absent option is empty.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The ServiceAccount of the jobs' tokens. It may be empty if jobs bring rules.
    pub service_account: String,
    /// The most that jobs may grant in `rules`, written as there.
    pub rules: String,
    /// The namespace of the ServiceAccounts and the anchors.
    pub namespace: String,
    /// The longest lifetime that a job may ask for.
    pub duration: String,
    /// The audiences that tokens may have. If it is empty, they may have any.
    pub audiences: String,
    /// The minters: `user:NAME`, `group:NAME`, `serviceaccount:[NAMESPACE/]NAME`.
    pub minters: Vec<String>,
    /// The ids of the GitHub repositories whose jobs mint.
    pub repository_ids: Vec<String>,
    /// The ids of the GitLab projects whose jobs mint.
    pub project_ids: Vec<String>,
    /// The id of the owner that these repositories or projects must have.
    pub owner_id: Option<String>,
    /// The issuer of the ID tokens, if it is not github.com or gitlab.com.
    pub issuer: Option<String>,
    /// The audience of the ID tokens.
    pub oidc_audience: Option<String>,
    /// The ref of the jobs: `refs/...` or `protected`.
    pub git_ref: Option<String>,
    /// The environment of the jobs.
    pub environment: Option<String>,
    /// The GitHub workflows whose jobs mint: `OWNER/REPO/.github/workflows/FILE@REF`.
    pub workflow_refs: Vec<String>,
    /// The reusable GitHub workflows whose jobs mint, in the same form.
    pub job_workflow_refs: Vec<String>,
    /// The custom properties of the GitHub repositories: `NAME=VALUE`.
    pub properties: Vec<String>,
    /// The image of the sweeper. Without it, there is no sweeper.
    pub sweeper_image: Option<String>,
    /// Whether the ServiceAccount may look at Pods, as the examples do.
    pub example_rights: bool,
}
