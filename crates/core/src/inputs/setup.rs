//! The options of `jobpass setup`.

/// The options, as strings. An absent option is empty or `None`.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The ServiceAccount of the jobs' tokens. Empty if jobs get tokens only by `role-rules`.
    pub service_account: String,
    /// The only rules that jobs may ask for, in the form of the option `role-rules`.
    pub rules: String,
    /// The namespace of the ServiceAccounts and the anchors.
    pub namespace: String,
    /// The longest lifetime that a job may request.
    pub duration: String,
    /// The audiences that tokens may have. If empty, tokens may have any audience.
    pub audiences: String,
    /// The minters: `user:NAME`, `group:NAME`, `serviceaccount:[NAMESPACE/]NAME`.
    pub minters: Vec<String>,
    /// The ids of the GitHub repositories whose jobs may mint.
    pub repository_ids: Vec<String>,
    /// The ids of the GitLab projects whose jobs may mint.
    pub project_ids: Vec<String>,
    /// The id that the owner of the GitHub repositories or GitLab projects must have.
    pub owner_id: Option<String>,
    /// The issuer of the ID tokens, if the platform is not github.com or gitlab.com.
    pub issuer: Option<String>,
    /// The audience of the ID tokens.
    pub oidc_audience: Option<String>,
    /// The Git ref of the jobs: `refs/...` or `protected`.
    pub git_ref: Option<String>,
    /// The deployment environment of the jobs.
    pub environment: Option<String>,
    /// The GitHub workflows whose jobs may mint: `OWNER/REPO/.github/workflows/FILE@REF`.
    pub workflow_refs: Vec<String>,
    /// The reusable GitHub workflows whose jobs may mint: `OWNER/REPO/.github/workflows/FILE@REF`.
    pub job_workflow_refs: Vec<String>,
    /// The custom properties of the GitHub repositories: `NAME=VALUE`.
    pub properties: Vec<String>,
    /// The container image of the sweeper. If absent, the set-up has no sweeper.
    pub sweeper_image: Option<String>,
    /// Whether `setup` lets the ServiceAccount read Pods, as an example of permissions.
    pub example_rights: bool,
}
