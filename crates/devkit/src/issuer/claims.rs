//! The claims about one job in the ID tokens of CI platforms.

use serde_json::{Map, Value, json};

/// The claims of docs.github.com, "OpenID Connect reference". GitHub writes numbers as strings.
pub(super) fn github(server: &str, subject: &str) -> Map<String, Value> {
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let workflow = "team/app/.github/workflows/scan.yml@refs/heads/main";
    object(json!({
        "sub": subject,
        "actor": "someone",
        "actor_id": "12",
        "base_ref": "",
        "check_run_id": "51725241954",
        "enterprise": null,
        "event_name": "push",
        "head_ref": "",
        "job_workflow_ref": workflow,
        "job_workflow_sha": sha,
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "ref_type": "branch",
        "repository": "team/app",
        "repository_id": "2",
        "repository_owner": "team",
        "repository_owner_id": "1",
        "repository_visibility": "private",
        "run_attempt": "1",
        "run_id": "77",
        "run_number": "7",
        "runner_environment": if server == "https://github.com" { "github-hosted" } else { "self-hosted" },
        "sha": sha,
        "workflow": "scan",
        "workflow_ref": workflow,
        "workflow_sha": sha,
    }))
}

/// The claims of docs.gitlab.com, "ID tokens". GitLab writes all ids except the runner's as strings.
pub(super) fn gitlab(host: &str) -> Map<String, Value> {
    let sha = "0123456789abcdef0123456789abcdef01234567";
    object(json!({
        "sub": "project_path:team/scan:ref_type:branch:ref:main",
        "ci_config_ref_uri": format!("{host}/team/scan//.gitlab-ci.yml@refs/heads/main"),
        "ci_config_sha": sha,
        "groups_direct": ["team"],
        "job_id": "1",
        "namespace_id": "3",
        "namespace_path": "team",
        "pipeline_id": "77",
        "pipeline_source": "push",
        "project_id": "7",
        "project_path": "team/scan",
        "project_visibility": "private",
        "ref": "main",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "ref_type": "branch",
        "runner_environment": "self-hosted",
        "runner_id": 1,
        "sha": sha,
        "user_access_level": "developer",
        "user_email": "someone@example.com",
        "user_id": "12",
        "user_identities": [],
        "user_login": "someone",
    }))
}

fn object(claims: Value) -> Map<String, Value> {
    match claims {
        Value::Object(claims) => claims,
        _ => Map::new(),
    }
}
